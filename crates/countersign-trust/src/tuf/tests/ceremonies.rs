//! Roots that people sign one after the other.

use countersign_testkit::sigstore::{
    Fault as Forgery, Format, Identity, Logged, PrivateSigstore, SubjectName, statements,
};

use super::*;
use crate::sigstore::TrustRoot;
use crate::tuf::Fault;
use crate::tuf::bundle::{Bundle, Part};
use crate::tuf::ceremony::{Change, changes};

/// The Sigstore that everybody believes.
fn public() -> TrustRoot {
    TrustRoot::public_good()
}

/// A Sigstore, and Carol whom an issuer vouches for.
struct Carol {
    private: PrivateSigstore,
    root: TrustRoot,
    identity: Identity,
    key: Key,
}

const ISSUER: &str = "https://accounts.example";

impl Carol {
    fn new() -> Self {
        let private = PrivateSigstore::new("ceremonies");
        let json = private.trusted_root_json();
        Self {
            root: TrustRoot::from_json("private", json.as_bytes()).unwrap(),
            identity: person(ISSUER, "carol@example.org"),
            key: Key::keyless("carol@example.org", ISSUER),
            private,
        }
    }

    fn signs(&self, payload: &[u8]) -> String {
        self.private
            .signing(&self.identity)
            .artifact(payload)
            .to_string()
    }

    /// A first root that asks for her besides three keys of which two must sign.
    fn root(&self, keys: &Keys) -> Root {
        let mut plan = keys.plan();
        plan.roles.get_mut("root").unwrap().0.push(self.key.clone());
        plan.root(None).unwrap()
    }
}

fn person(issuer: &str, email: &str) -> Identity {
    Identity::new(issuer, SubjectName::Email(email.to_owned()))
}

#[test]
fn a_root_is_signed_by_people_on_different_days_with_copies_merged_in_any_order() {
    let keys = Keys::new();
    let plan = keys.plan();
    let mut here = Pending::root(plan.root(None).unwrap(), None).unwrap();
    let id = |at: usize| Key::of(&*keys.root[at]).unwrap().id();
    assert!(!here.status().complete());
    assert_eq!(here.status().missing().len(), 3);
    assert_eq!(here.finish(NOW).unwrap_err().fault, Fault::Unsigned);

    let file = here.to_bytes();
    let mut one = Pending::read_root(&file, None, &public()).unwrap();
    assert!(one.sign(&*keys.root[2]).unwrap());
    assert!(!one.sign(&*keys.root[2]).unwrap());
    let mut two = Pending::read_root(&file, None, &public()).unwrap();
    assert!(two.sign(&*keys.root[0]).unwrap());

    assert_eq!(here.merge(&two.to_bytes()).unwrap(), 1);
    assert_eq!(here.merge(&two.to_bytes()).unwrap(), 0);
    let (by, verdict) = here.status().demands[0].clone();
    assert_eq!((by.as_str(), verdict.signed), ("root 1", vec![id(0)]));
    let refusal = here.finish(NOW).unwrap_err();
    assert!(refusal.sentence.contains(&id(1)) && !refusal.sentence.contains(&id(0)));
    assert_eq!(here.merge(&one.to_bytes()).unwrap(), 1);
    assert!(here.status().complete() && here.status().missing().is_empty());
    let root = here.finish(NOW).unwrap();
    Repository::new(&root).unwrap();
    assert_eq!(
        here.finish(NOW + 366 * DAY).unwrap_err().fault,
        Fault::Expired
    );
}

#[test]
fn a_signature_of_another_document_and_of_somebody_who_was_not_asked_is_not_taken_in() {
    let keys = Keys::new();
    let mut plan = keys.plan();
    let mut pending = Pending::root(plan.root(None).unwrap(), None).unwrap();
    plan.expires += 1;
    let mut other = Pending::root(plan.root(None).unwrap(), None).unwrap();
    other.sign(&*keys.root[0]).unwrap();
    assert_eq!(
        pending.merge(&other.to_bytes()).unwrap_err().fault,
        Fault::Mismatch
    );
    let bytes = other.to_bytes();
    let read = Envelope::<Root>::parse("root", &bytes, &Limits::default()).unwrap();
    let refusal = pending.add(read.signatures[0].clone()).unwrap_err();
    assert_eq!(refusal.fault, Fault::Unsigned);
    let refusal = pending.sign(&ed25519(99)).unwrap_err();
    assert_eq!(refusal.fault, Fault::Unasked);
    assert!(pending.status().demands[0].1.signed.is_empty());
}

#[test]
fn a_file_with_a_bad_signature_is_refused_instead_of_stored() {
    let keys = Keys::new();
    let mut pending = Pending::root(keys.plan().root(None).unwrap(), None).unwrap();
    pending.sign(&*keys.root[0]).unwrap();
    let text = String::from_utf8(pending.to_bytes()).unwrap();
    let at = text.find("\"sig\":\"").unwrap() + 7;
    let mut bad = text.into_bytes();
    bad[at] = if bad[at] == b'0' { b'1' } else { b'0' };
    let refusal = Pending::read_root(&bad, None, &public()).unwrap_err();
    assert_eq!(refusal.fault, Fault::Unsigned);
}

#[test]
fn what_the_owner_of_an_identity_signed_is_verified_whenever_it_is_read() {
    let (keys, carol) = (Keys::new(), Carol::new());
    let file = Pending::root(carol.root(&keys), None).unwrap().to_bytes();
    let mut pending = Pending::read_root(&file, None, &carol.root).unwrap();
    let payload = pending.payload().to_vec();
    let by = |identity: &Identity| carol.private.signing(identity).artifact(&payload);
    let forged = |fault: Forgery| {
        let signing = carol.private.signing(&carol.identity).fault(fault);
        signing.artifact(&payload)
    };
    let elsewhere = PrivateSigstore::new("another");
    let statement = statements::pypi_publish("root.json", &payload);
    let signing = || carol.private.signing(&carol.identity);
    for (why, bundle, fault) in [
        (
            "another document",
            signing().artifact(b"another"),
            Fault::Unsigned,
        ),
        (
            "another person",
            by(&person(ISSUER, "mallory@example.org")),
            Fault::Unasked,
        ),
        (
            "another issuer",
            by(&person("https://issuer.example", "carol@example.org")),
            Fault::Unasked,
        ),
        (
            "a statement about it",
            signing().statement(&statement),
            Fault::Unsigned,
        ),
        (
            "a named key",
            carol.private.signing_by_key("carol").artifact(&payload),
            Fault::Unasked,
        ),
        (
            "another Sigstore",
            elsewhere.signing(&carol.identity).artifact(&payload),
            Fault::Unsigned,
        ),
        ("not logged", forged(Forgery::NoLogEntry), Fault::Unsigned),
        (
            "signed by another key",
            forged(Forgery::ForeignSignature),
            Fault::Unsigned,
        ),
        (
            "by an authority of the same name",
            forged(Forgery::ForeignAuthority),
            Fault::Unsigned,
        ),
    ] {
        let refusal = pending.sign_keyless(&carol.key, bundle.to_string().as_bytes());
        let refusal = refusal.unwrap_err();
        assert_eq!(refusal.fault, fault, "{why}: {refusal}");
        assert_eq!(pending.to_bytes(), file, "{why}");
    }
    let refusal = pending.sign_keyless(&carol.key, b"{}").unwrap_err();
    assert_eq!(refusal.fault, Fault::Malformed);
    let stranger = Key::keyless("dave@example.org", ISSUER);
    let good = carol.signs(&payload);
    let refusal = pending.sign_keyless(&stranger, good.as_bytes());
    assert_eq!(refusal.unwrap_err().fault, Fault::Unasked);

    // Every form that clients write.
    for (logged, format) in [
        (Logged::V2, Format::V03),
        (Logged::V1, Format::V02),
        (Logged::V1, Format::V03),
    ] {
        let mut pending = Pending::read_root(&file, None, &carol.root).unwrap();
        let bundle = signing().logged(logged).format(format).artifact(&payload);
        let bundle = bundle.to_string();
        assert!(pending.sign_keyless(&carol.key, bundle.as_bytes()).unwrap());
        assert!(!pending.sign_keyless(&carol.key, bundle.as_bytes()).unwrap());
        let read = Pending::read_root(&pending.to_bytes(), None, &carol.root).unwrap();
        assert_eq!(read, pending);
    }
    assert!(pending.sign_keyless(&carol.key, good.as_bytes()).unwrap());
    let signed = pending.to_bytes();
    // Read under another Sigstore, without its bundle, or with one of another signature it is not taken.
    let refusal = Pending::read_root(&signed, None, &public()).unwrap_err();
    assert_eq!(refusal.fault, Fault::Unsigned);
    let mut value: serde_json::Value = serde_json::from_slice(&signed).unwrap();
    let bundle = value["signatures"][0].as_object_mut().unwrap();
    let bundle = bundle.remove("bundle").unwrap();
    assert_eq!(bundle.to_string(), good);
    let refusal = Pending::read_root(value.to_string().as_bytes(), None, &carol.root);
    assert!(refusal.unwrap_err().sentence.contains("no Sigstore bundle"));
    value["signatures"][0]["bundle"] = signing().artifact(b"another");
    let refusal = Pending::read_root(value.to_string().as_bytes(), None, &carol.root);
    assert!(refusal.unwrap_err().sentence.contains("another signature"));
}

#[test]
fn no_threshold_counts_an_identity_and_who_does_not_know_them_reads_on() {
    let (keys, carol) = (Keys::new(), Carol::new());
    let mut pending = Pending::root(carol.root(&keys), None).unwrap();
    pending = Pending::read_root(&pending.to_bytes(), None, &carol.root).unwrap();
    let identities = |pending: &Pending<Root>| pending.status().demands[0].1.identities.clone();
    assert_eq!(identities(&pending), [(carol.key.id(), false)]);
    // Keys that would help are three, and she is none of them.
    assert_eq!(pending.status().missing().len(), 3);
    let good = carol.signs(pending.payload());
    assert!(pending.sign_keyless(&carol.key, good.as_bytes()).unwrap());
    assert_eq!(identities(&pending), [(carol.key.id(), true)]);
    assert!(pending.sign(&*keys.root[0]).unwrap());
    assert_eq!(pending.status().demands[0].1.signed.len(), 1);
    assert_eq!(pending.finish(NOW).unwrap_err().fault, Fault::Unsigned);
    assert!(pending.sign(&*keys.root[1]).unwrap());
    let root = pending.finish(NOW).unwrap();
    Repository::new(&root).unwrap();
    Client::begin(Trusted::root(root), NOW, Limits::default()).unwrap();
}

#[test]
fn what_nobody_verifies_is_not_handed_on_and_nothing_makes_a_file_too_long() {
    let keys = Keys::new();
    let mut signed = Pending::root(keys.plan().root(None).unwrap(), None).unwrap();
    signed.sign(&*keys.root[0]).unwrap();
    let file = signed.to_bytes();
    // A good signature of a key, with something beside it that no client would read.
    let read = Envelope::<Root>::parse("root", &file, &Limits::default()).unwrap();
    let mut laden = read.signatures[0].clone();
    laden.bundle = Some(serde_json::json!({"x": "y".repeat(600_000)}));
    let mut pending = Pending::root(keys.plan().root(None).unwrap(), None).unwrap();
    assert!(pending.add(laden.clone()).unwrap());
    assert_eq!(pending.to_bytes(), file);
    laden.bundle = Some(serde_json::json!({"x": "y"}));
    let mut other = read.clone();
    other.signatures = vec![laden];
    let stripped = Pending::read_root(&other.to_bytes(), None, &public()).unwrap();
    assert_eq!(stripped.to_bytes(), file);
    // What is full already takes no signature more: nobody could read it.
    let mut root = keys.plan().root(None).unwrap();
    let filler = "z".repeat(511_900 - file.len());
    root.extra.insert("filler", filler.into()).unwrap();
    let mut full = Pending::root(root, None).unwrap();
    let before = full.to_bytes();
    let refusal = full
        .sign(&*keys.root[0])
        .and_then(|_| full.sign(&*keys.root[1]));
    assert_eq!(refusal.unwrap_err().fault, Fault::Limit);
    assert!(full.to_bytes().len() < 512_000 && full.to_bytes().len() >= before.len());
}

#[test]
fn a_plan_that_needs_an_identity_is_refused() {
    let (keys, carol) = (Keys::new(), Carol::new());
    let refused = |change: &dyn Fn(&mut RootPlan)| {
        let mut plan = keys.plan();
        change(&mut plan);
        plan.root(None).unwrap_err().sentence
    };
    let sentence = refused(&|plan| {
        let role = plan.roles.get_mut("root").unwrap();
        role.1 = role.0.len() as u64 + 1;
        role.0.push(carol.key.clone());
    });
    assert!(
        sentence.contains("`root` has 3 keys, and 4 must sign. Identities"),
        "{sentence}"
    );
    let alone = refused(&|plan| {
        plan.roles
            .insert("targets".to_owned(), (vec![carol.key.clone()], 1));
    });
    assert!(alone.contains("`targets` has 0 keys"), "{alone}");
    let online = refused(&|plan| {
        let role = plan.roles.get_mut("timestamp").unwrap();
        role.0.push(carol.key.clone());
    });
    assert!(online.contains("no person is asked"), "{online}");
    let twice = refused(&|plan| {
        let role = plan.roles.get_mut("root").unwrap();
        role.0.extend([carol.key.clone(), carol.key.clone()]);
    });
    assert!(twice.contains("twice"), "{twice}");
}

#[test]
fn a_bundle_is_taken_into_the_documents_of_a_ceremony_that_it_is_of() {
    let (keys, carol) = (Keys::new(), Carol::new());
    let part = || {
        let top = Targets::empty(1, NOW + DAY);
        Part::new(None, None, Some(carol.root(&keys)), Some(top)).unwrap()
    };
    let parts = ["npm", "pypi"].map(|name| (name.to_owned(), part()));
    let file = Bundle::new(BTreeMap::from(parts)).to_bytes();
    let mut bundle = Bundle::parse(&file, &carol.root).unwrap();
    let asked = bundle.asked_of(&carol.key);
    // The same root in both; of the targets nobody asks her.
    let of = |name: &str| (name.to_owned(), "root".to_owned());
    let names = asked
        .iter()
        .map(|(name, role, _)| (name.clone(), role.clone()));
    assert_eq!(names.collect::<Vec<_>>(), [of("npm"), of("pypi")]);
    let other = carol.signs(b"another");
    let refusal = bundle.sign_keyless(&carol.key, other.as_bytes());
    let refusal = refusal.unwrap_err();
    assert_eq!(refusal.fault, Fault::Unsigned);
    assert!(refusal.sentence.starts_with("the bundle is of no document"));
    let good = carol.signs(&asked[0].2);
    let signed = bundle.sign_keyless(&carol.key, good.as_bytes()).unwrap();
    assert_eq!(signed, [of("npm"), of("pypi")]);
    assert!(bundle.asked_of(&carol.key).is_empty());
    let refusal = bundle.sign_keyless(&carol.key, good.as_bytes());
    assert_eq!(refusal.unwrap_err().fault, Fault::Unasked);
    // It travels in copies, as signatures of keys do.
    let mut here = Bundle::parse(&file, &carol.root).unwrap();
    let copy = bundle.to_bytes();
    assert_eq!(
        here.merge(&copy, &public()).unwrap_err().fault,
        Fault::Unsigned
    );
    assert_eq!(here.merge(&copy, &carol.root), Ok(2));
    assert_eq!(here, bundle);
}

#[test]
fn json_in_another_order_and_layout_is_the_same_document() {
    let keys = Keys::new();
    let mut pending = Pending::root(keys.plan().root(None).unwrap(), None).unwrap();
    pending.sign(&*keys.root[0]).unwrap();
    let value: serde_json::Value = serde_json::from_slice(&pending.to_bytes()).unwrap();
    let pretty = format!(
        "{{\n \"signed\": {},\n \"signatures\": {}\n}}",
        serde_json::to_string_pretty(&value["signed"]).unwrap(),
        value["signatures"]
    );
    let mut fresh = Pending::root(keys.plan().root(None).unwrap(), None).unwrap();
    assert_eq!(fresh.merge(pretty.as_bytes()).unwrap(), 1);
}

#[test]
fn a_rotation_takes_the_old_threshold_and_the_new_one() {
    let old = Keys::new();
    let root = old.root(&old.plan(), None);
    let before = Envelope::<Root>::parse("root", &root, &Limits::default())
        .unwrap()
        .document;
    let mut new = Keys::new();
    new.root = vec![
        Box::new(ed25519(31)),
        Box::new(ed25519(32)),
        Box::new(ed25519(3)),
    ];
    let mut pending =
        Pending::root(new.plan().root(Some(&before)).unwrap(), Some(&before)).unwrap();
    pending.sign(&*new.root[0]).unwrap();
    pending.sign(&*new.root[1]).unwrap();
    let status = pending.status();
    assert!(!status.complete());
    assert_eq!(status.demands[0].0, "root 1");
    assert!(!status.demands[0].1.holds() && status.demands[1].1.holds());
    // A key of both counts for both.
    pending.sign(&*new.root[2]).unwrap();
    pending.sign(&*old.root[0]).unwrap();
    let next = pending.finish(NOW).unwrap();
    let files = Files::from([("2.root.json".to_owned(), next)]);
    let mut client = Client::begin(Trusted::root(root), NOW, Limits::default()).unwrap();
    let request = client.wanted().unwrap().unwrap();
    client.give(&request, Some(&files[&request.file])).unwrap();
    assert_eq!(client.root().version, 2);

    let told = changes(Some(&before), client.root());
    let id = |signer: &dyn Signs| Key::of(signer).unwrap().id();
    for change in [
        Change::KeyAdded {
            role: "root".to_owned(),
            keyid: id(&*new.root[0]),
        },
        Change::KeyRemoved {
            role: "root".to_owned(),
            keyid: id(&*old.root[1]),
        },
    ] {
        assert!(told.contains(&change), "{told:?}");
    }
    assert_eq!(told.len(), 4, "{told:?}");
}

#[test]
fn a_plan_that_leaves_too_little_to_people_is_refused_unless_for_development() {
    let keys = Keys::new();
    let mut plan = keys.plan();
    plan.roles.get_mut("root").unwrap().1 = 1;
    assert!(plan.root(None).is_err());
    plan.development = true;
    plan.root(None).unwrap();

    let mut plan = keys.plan();
    let online = Key::of(&*keys.timestamp).unwrap();
    plan.roles.get_mut("targets").unwrap().0.push(online);
    assert!(plan.root(None).is_err());

    let mut plan = keys.plan();
    plan.roles.get_mut("snapshot").unwrap().1 = 2;
    assert!(plan.root(None).is_err());
    plan.roles.remove("snapshot");
    assert!(plan.root(None).is_err());
}
