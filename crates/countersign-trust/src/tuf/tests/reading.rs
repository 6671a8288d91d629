//! Documents, canonical JSON, keys, and the search through delegations.

use proptest::prelude::*;
use serde_json::{Value, json};

use super::*;
use crate::tuf::client::Look;
use crate::tuf::{
    Delegated, DelegatedRole, Delegations, Fault, MetaFile, RoleKeys, Scope, Snapshot,
    SuccinctRoles, Timestamp, canonical_json, file_stem, format_time, parse_time, role_of_stem,
};

#[test]
fn canonical_json_is_what_the_reference_implementation_writes() {
    // Expectations are the output of securesystemslib 1.6.0, `encode_canonical`.
    for (value, canonical) in [
        (
            json!({"b": 1, "a": [true, false, null]}),
            r#"{"a":[true,false,null],"b":1}"#,
        ),
        (json!("a\"b\\c"), r#""a\"b\\c""#),
        (
            json!("line\nbreak\ttab\u{0}\u{7f}"),
            "\"line\nbreak\ttab\u{0}\u{7f}\"",
        ),
        (
            json!({"é": "ü", "z": "", "Z": 0}),
            r#"{"Z":0,"z":"","é":"ü"}"#,
        ),
        (
            json!({"\u{ffee}": 1, "\u{1f600}": 2}),
            "{\"\u{ffee}\":1,\"\u{1f600}\":2}",
        ),
        (json!(-7), "-7"),
        (json!(u64::MAX), "18446744073709551615"),
        (json!({}), "{}"),
        (json!([]), "[]"),
        (json!({"a/b": {"": {}}}), r#"{"a/b":{"":{}}}"#),
    ] {
        assert_eq!(canonical_json(&value).as_deref(), Some(canonical));
    }
    assert_eq!(canonical_json(&json!(1.5)), None);
    assert_eq!(canonical_json(&json!({"a": [1e3]})), None);
}

proptest! {
    #[test]
    fn what_is_written_is_read_as_the_same(
        version in 1u64.., days in 0i64..100_000, paths in proptest::collection::btree_map("[^\\x00]{0,20}", any::<u64>(), 0..8),
        note in "[^\\x00]{0,20}",
    ) {
        let mut document = Targets::empty(version, days * DAY);
        document.extra.insert("note", json!({"text": note, "number": version})).unwrap();
        for (path, length) in paths {
            let mut file = TargetFile::new(length, crate::digest::Sha256::of(path.as_bytes()));
            file.extra.insert("custom", json!({"path": path})).unwrap();
            document.targets.insert(path, file);
        }
        let mut envelope = Envelope::unsigned(document.clone());
        envelope.sign("targets", &ed25519(1)).unwrap();
        let bytes = envelope.to_bytes();
        let read = Envelope::<Targets>::parse("targets", &bytes, &Limits::default()).unwrap();
        prop_assert_eq!(&read.document, &document);
        prop_assert_eq!(read.payload(), envelope.payload());
        prop_assert_eq!(read.to_bytes(), bytes);
    }

    #[test]
    fn names_of_files_lead_nowhere_else_and_back_to_the_role(role in ".{0,12}") {
        let stem = file_stem(&role);
        prop_assert!(!stem.contains(['/', '\\']));
        let back = role_of_stem(&stem);
        prop_assert_eq!(back.as_deref(), Some(role.as_str()));
    }

    #[test]
    fn any_bytes_are_survived(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
        let _ = Envelope::<Root>::parse("root", &bytes, &Limits::default());
        let _ = Envelope::<Snapshot>::parse("snapshot", &bytes, &Limits::default());
    }

    #[test]
    fn a_path_is_in_exactly_one_bin(path in ".{0,20}", bits in 1u8..=32) {
        let bins = SuccinctRoles { keys: RoleKeys::default(), bit_length: bits, name_prefix: "p".to_owned() };
        let bin = bins.bin_of(&path);
        prop_assert!(bin < bins.count());
        prop_assert_eq!(bins.number(&bins.name(bin)), Some(bin));
    }
}

#[test]
fn bins_have_the_names_of_tap_15() {
    let bins = |bit_length| SuccinctRoles {
        keys: RoleKeys::default(),
        bit_length,
        name_prefix: "bins".to_owned(),
    };
    assert_eq!(bins(1).name(1), "bins-1");
    assert_eq!(bins(5).name(3), "bins-03");
    assert_eq!(bins(14).name(0x3fff), "bins-3fff");
    assert_eq!(bins(32).name(7), "bins-00000007");
    for name in [
        "bins-0",
        "bins-20",
        "bins-+3",
        "bins-0003",
        "bins-1F",
        "bin-03",
        "bins03",
    ] {
        assert_eq!(bins(5).number(name), None, "{name}");
    }
}

#[test]
fn times_have_one_form() {
    assert_eq!(format_time(NOW).as_deref(), Some("2026-11-21T00:00:00Z"));
    assert_eq!(parse_time("2026-11-21T00:00:00Z"), Some(NOW));
    for text in [
        "2026-11-21T00:00:00",
        "2026-11-21T00:00:00.0Z",
        "2026-11-21 00:00:00Z",
        "2026-11-31T00:00:00Z",
        "2026-11-21T24:00:00Z",
        "2026-11-2\u{e9}T00:00:0Z",
        "",
    ] {
        assert_eq!(parse_time(text), None, "{text}");
    }
    assert_eq!(format_time(i64::MAX), None);
    assert_eq!(format_time(-1), None);
}

fn parse<T: Document>(value: &Value) -> Result<T, Refusal> {
    let envelope = json!({"signatures": [], "signed": value});
    Envelope::<T>::parse("role", envelope.to_string().as_bytes(), &Limits::default())
        .map(|envelope| envelope.document)
}

#[test]
fn documents_that_other_clients_refuse_are_refused() {
    let good = json!({"_type": "timestamp", "spec_version": "1.0.31", "version": 1,
        "expires": "2030-01-01T00:00:00Z", "meta": {"snapshot.json": {"version": 1}}, "x": {"a": 1}});
    let read: Timestamp = parse(&good).unwrap();
    assert_eq!(read.extra.get("x"), Some(&json!({"a": 1})));
    for (place, value) in [
        ("/_type", json!("snapshot")),
        ("/spec_version", json!("2.0.0")),
        ("/spec_version", json!("1")),
        ("/spec_version", json!("1.x.0")),
        ("/version", json!(0)),
        ("/version", json!(-1)),
        ("/version", json!("1")),
        ("/version", json!(1.0)),
        ("/expires", json!("2030-01-01")),
        ("/meta", json!({})),
        ("/meta/snapshot.json/version", json!(0)),
        ("/meta/snapshot.json", json!({"version": 1, "length": -1})),
        ("/meta/snapshot.json", json!({"version": 1, "hashes": {}})),
        ("/x", json!(0.5)),
    ] {
        let mut bad = good.clone();
        *bad.pointer_mut(place).unwrap() = value.clone();
        assert!(parse::<Timestamp>(&bad).is_err(), "{place} {value}");
    }
    let role =
        json!({"name": "a", "keyids": [], "threshold": 1, "terminating": false, "paths": ["*"]});
    let targets = |roles: Value| {
        json!({"_type": "targets", "spec_version": "1.0", "version": 1, "expires": "2030-01-01T00:00:00Z",
            "targets": {}, "delegations": roles})
    };
    let with = |name: &str, value: Value| {
        let mut role = role.clone();
        role[name] = value;
        targets(json!({"keys": {}, "roles": [role]}))
    };
    parse::<Targets>(&with("name", json!("b"))).unwrap();
    for bad in [
        with("name", json!("")),
        with("name", json!("snapshot")),
        with("threshold", json!(0)),
        with("keyids", json!(["a", "a"])),
        with("path_hash_prefixes", json!(["0"])),
        targets(json!({"keys": {}, "roles": [role.clone(), role.clone()]})),
        targets(json!({"keys": {}})),
        targets(json!({"keys": {}, "roles": [], "succinct_roles":
            {"keyids": [], "threshold": 1, "bit_length": 1, "name_prefix": "x"}})),
        targets(json!({"keys": {}, "succinct_roles":
            {"keyids": [], "threshold": 1, "bit_length": 33, "name_prefix": "x"}})),
        targets(json!({"keys": {"k": {"keytype": "ed25519"}}, "roles": []})),
    ] {
        assert!(parse::<Targets>(&bad).is_err(), "{bad}");
    }
}

#[test]
fn a_document_is_read_within_limits() {
    let refuse = |bytes: &[u8], limits: &Limits| {
        Envelope::<Targets>::parse("targets", bytes, limits)
            .unwrap_err()
            .fault
    };
    let deep = format!("{}{}", "[".repeat(60), "]".repeat(60));
    let deep = format!("{{\"signatures\":[],\"signed\":{deep}}}");
    assert_eq!(
        refuse(deep.as_bytes(), &Limits::default()),
        Fault::Malformed
    );
    let small = Limits {
        targets_bytes: 10,
        ..Limits::default()
    };
    assert_eq!(refuse(b"{\"signatures\":[]}", &small), Fault::Limit);
    let many: Vec<Value> = (0..300)
        .map(|at| json!({"keyid": at.to_string(), "sig": ""}))
        .collect();
    let many = json!({"signatures": many, "signed": {}}).to_string();
    assert_eq!(refuse(many.as_bytes(), &Limits::default()), Fault::Limit);
}

#[test]
fn a_pem_key_makes_canonical_text_that_is_no_json_and_the_file_still_is() {
    let world = World::new(1, &[]);
    let bytes = &world.files["1.root.json"];
    let envelope = Envelope::<Root>::parse("root", bytes, &Limits::default()).unwrap();
    assert!(envelope.payload().contains(&b'\n'));
    assert!(!bytes.contains(&b'\n'));
    assert_eq!(&envelope.to_bytes(), bytes);
}

#[test]
fn keys_of_every_kind_that_the_specification_names_verify() {
    let ed = Key::of(&ed25519(1)).unwrap();
    let p256 = Key::of(&P256Signer::new(&[2; 32]).unwrap()).unwrap();
    let sign = |signer: &dyn Signs| hex::encode(signer.sign(b"text").unwrap());
    let (by_ed, by_p256) = (sign(&ed25519(1)), sign(&P256Signer::new(&[2; 32]).unwrap()));
    assert!(ed.verifies(b"text", &by_ed) && !ed.verifies(b"texts", &by_ed));
    assert!(p256.verifies(b"text", &by_p256) && !p256.verifies(b"text", &by_ed));
    assert!(!ed.verifies(b"text", "") && !ed.verifies(b"text", "zz"));
    // The older spelling of the kind, and a point instead of PEM.
    let spki = p256.spki().unwrap();
    let old = json!({"keytype": "ecdsa-sha2-nistp256", "scheme": "ecdsa-sha2-nistp256",
        "keyval": {"public": hex::encode(&spki[26..])}});
    assert!(Key::read("key", &old).unwrap().verifies(b"text", &by_p256));
    // Of an unknown kind: listed, and never good.
    let odd =
        json!({"keytype": "sigstore-oidc", "scheme": "Fulcio", "keyval": {"identity": "a@b"}});
    let odd = Key::read("key", &odd).unwrap();
    assert!(odd.spki().is_none() && !odd.verifies(b"text", &by_ed));
}

/// A key that `openssl genrsa 2048` made, and its signature over `text` with a salt of 32 bytes.
#[test]
fn rsa_pss_verifies() {
    let der = concat!(
        "MIIBIjANBgkqhkiG9w0BAQEFAAOCAQ8AMIIBCgKCAQEA0g/3pROOQCTHnZd4u5atODAJYB2d4VIBk45b2EFyEkOObcTBLxb5",
        "vMmNTknE25o8c76rx/GajI3qx7GQm+secf0gdgDQsVb4wZIRmvDQGZ85VMDYLVLzqldRBJmaMt17QPjx4NkZQUew0nz/fVEK",
        "/i642odf5uaUwaaIcSJXdioGQeq0AT/cfbzr3xtzZ43PJ9DoWuAShnHVwsW2vzj50/095f8TpRaByM+/zk3EiEmHrEa5WpKK",
        "NH7SCPWw2J47X+WLXfiLI9cFP5xvlWZF2gc8vMTHnlLfTpU616sMQGuylhFgvWHlOcUi1vUXXil+ujnpN3y8Ye3LCQG+brNr",
        "gwIDAQAB",
    );
    let signature = concat!(
        "5132ad09e83c95b9e2865d8460321d733167f53096d84c3c9171593e6ea16caf3e3fd0ce930247b67e1e60c921a7e56d",
        "a073e207967e1ba3683fdcab34ab3a11a6dd1ba6096e1587144f41073e79d65f150fdf8115110fe3df2285aec7d3b4bf",
        "d8dac870301cdbb1090e59f71d35fa5fd22d3a07e83155fa20b3e7c02690d678f6bd16ab827c4cf2c7f0c985c9e2296f",
        "72691cc0baa93782b3fc233efc91c208796cefbe3992d65fb344260e188c9fae4947cd04ecd4ca656d6cd05b254efd14",
        "6f69350236a13d2b12f51f0a94f7a88b2ebc264cd7f851bd5bb1d96ba63c95095a476a814b6420f4b54b6fc21a0dd5b0",
        "e240f078b4eb3af92bc9ef94668fdff7",
    );
    let pem = format!("-----BEGIN PUBLIC KEY-----\n{der}\n-----END PUBLIC KEY-----\n");
    let key = json!({"keytype": "rsa", "scheme": "rsassa-pss-sha256", "keyval": {"public": pem}});
    let key = Key::read("key", &key).unwrap();
    assert!(key.verifies(b"text", signature));
    assert!(!key.verifies(b"texts", signature));
}

/// A repository of roles that delegate to each other: (delegator, role, terminating, patterns, targets).
type Graph<'a> = &'a [Edge<'a>];
type Edge<'a> = (&'a str, &'a str, bool, &'a [&'a str], &'a [&'a str]);

fn graph(graph: Graph<'_>) -> (Trusted, Files) {
    let keys = Keys::new();
    let key = Key::of(&*keys.bins).unwrap();
    let mut plan = keys.plan();
    plan.development = true;
    plan.roles
        .insert("targets".to_owned(), (vec![key.clone()], 1));
    let root = keys.root(&plan, None);
    let mut documents: BTreeMap<String, Targets> =
        BTreeMap::from([("targets".to_owned(), Targets::empty(1, NOW + DAY))]);
    for (delegator, role, terminating, patterns, targets) in graph {
        let delegations = documents
            .get_mut(*delegator)
            .unwrap()
            .delegations
            .get_or_insert_with(|| Delegations {
                keys: BTreeMap::from([(key.id(), key.clone())]),
                roles: Delegated::Listed(Vec::new()),
                extra: Extra::default(),
            });
        let Delegated::Listed(roles) = &mut delegations.roles else {
            panic!("a list was made");
        };
        roles.push(DelegatedRole {
            name: (*role).to_owned(),
            keys: RoleKeys::new(vec![key.id()], 1),
            terminating: *terminating,
            scope: Scope::Paths(patterns.iter().map(|it| (*it).to_owned()).collect()),
        });
        let document = documents
            .entry((*role).to_owned())
            .or_insert_with(|| Targets::empty(1, NOW + DAY));
        for path in *targets {
            let file = TargetFile::of(role.as_bytes());
            document.targets.insert((*path).to_owned(), file);
        }
    }
    let signed = |role: &str, document: Targets| {
        let mut envelope = Envelope::unsigned(document);
        envelope.sign(role, &*keys.bins).unwrap();
        envelope.to_bytes()
    };
    let mut files = Files::new();
    let mut meta = BTreeMap::new();
    for (role, document) in documents {
        meta.insert(format!("{role}.json"), MetaFile::version(1));
        files.insert(
            format!("1.{}.json", file_stem(&role)),
            signed(&role, document),
        );
    }
    let mut snapshot = Envelope::unsigned(Snapshot {
        version: 1,
        expires: NOW + DAY,
        meta,
        extra: Extra::default(),
    });
    snapshot.sign("snapshot", &*keys.snapshot).unwrap();
    files.insert("1.snapshot.json".to_owned(), snapshot.to_bytes());
    let mut stamp = Envelope::unsigned(Timestamp {
        version: 1,
        expires: NOW + DAY,
        snapshot: MetaFile::version(1),
        extra: Extra::default(),
    });
    stamp.sign("timestamp", &*keys.timestamp).unwrap();
    files.insert("timestamp.json".to_owned(), stamp.to_bytes());
    (Trusted::root(root), files)
}

/// The roles that are fetched for a path, and who lists it.
fn walk(of: Graph<'_>, path: &str) -> (Vec<String>, Option<String>) {
    let (trusted, files) = graph(of);
    let mut client = refreshed(trusted, NOW, &files).unwrap();
    let mut fetched = Vec::new();
    loop {
        match client.look(path).unwrap() {
            Look::Fetch(request) => {
                fetched.push(request.role.clone());
                client
                    .give(&request, files.get(&request.file).map(Vec::as_slice))
                    .unwrap();
            }
            Look::Found { role, .. } => return (fetched, Some(role)),
            Look::Absent => return (fetched, None),
        }
    }
}

#[test]
fn delegations_are_searched_deep_before_wide_and_first_before_later() {
    let all: &[&str] = &["*"];
    let tree: Graph<'_> = &[
        ("targets", "A", false, all, &[]),
        ("targets", "B", false, all, &["x"]),
        ("A", "C", false, all, &[]),
        ("A", "D", false, all, &["x"]),
    ];
    assert_eq!(
        walk(tree, "x"),
        (vec!["A".into(), "C".into(), "D".into()], Some("D".into()))
    );
    assert_eq!(walk(tree, "y").0, ["A", "C", "D", "B"]);
    assert_eq!(walk(tree, "y/z"), (Vec::new(), None));
}

#[test]
fn a_terminating_role_ends_the_search_found_or_not() {
    let all: &[&str] = &["*"];
    let tree: Graph<'_> = &[
        ("targets", "A", false, all, &[]),
        ("targets", "B", false, all, &["x"]),
        ("A", "C", true, all, &[]),
        ("A", "D", false, all, &["x"]),
    ];
    assert_eq!(walk(tree, "x"), (vec!["A".into(), "C".into()], None));
}

#[test]
fn roles_that_delegate_in_a_circle_are_asked_once() {
    let all: &[&str] = &["*"];
    let ring: Graph<'_> = &[
        ("targets", "A", false, all, &[]),
        ("A", "B", false, all, &[]),
        ("B", "A", false, all, &[]),
    ];
    assert_eq!(walk(ring, "x"), (vec!["A".into(), "B".into()], None));
}

#[test]
fn a_search_through_more_roles_than_allowed_is_no_absence() {
    let all: &[&str] = &["*"];
    let names: Vec<String> = (0..40).map(|at| format!("r{at}")).collect();
    let chain: Vec<Edge<'_>> = names
        .iter()
        .enumerate()
        .map(|(at, name)| {
            let before = at.checked_sub(1).map_or("targets", |at| names[at].as_str());
            (before, name.as_str(), false, all, &[][..])
        })
        .collect();
    let (trusted, files) = graph(&chain);
    let mut client = refreshed(trusted, NOW, &files).unwrap();
    let refusal = found(&mut client, "x", &files).unwrap_err();
    assert_eq!(refusal.fault, Fault::Limit);
}

#[test]
fn a_role_that_is_here_for_one_delegator_is_held_against_the_next_one() {
    // `release` is delegated to by A with a key that signed it, and by B with another one.
    let (trusted, mut files) = graph(&[
        ("targets", "A", false, &["a/*"], &[]),
        ("targets", "B", false, &["b/*"], &[]),
        ("A", "release", false, &["a/*"], &["a/x", "b/x"]),
        ("B", "release", false, &["b/*"], &[]),
    ]);
    let keys = Keys::new();
    let other = Key::of(&ed25519(77)).unwrap();
    let renamed = forged::<Targets>("B", &files["1.B.json"], &[&*keys.bins], |document| {
        let delegations = document.delegations.as_mut().unwrap();
        let Delegated::Listed(roles) = &mut delegations.roles else {
            panic!("a list was made");
        };
        roles[0].keys.keyids = vec![other.id()];
        delegations.keys.insert(other.id(), other.clone());
    });
    files.insert("1.B.json".to_owned(), renamed);
    let mut client = refreshed(trusted, NOW, &files).unwrap();
    assert!(found(&mut client, "a/x", &files).unwrap().is_some());
    let refusal = found(&mut client, "b/x", &files).unwrap_err();
    assert_eq!(refusal.fault, Fault::Unsigned);
}

#[test]
fn names_of_targets_carry_a_digest_in_their_last_part() {
    let mut file = TargetFile::of(b"x");
    let sha256 = file.hashes["sha256"].clone();
    assert_eq!(file.names("a/b", true), [format!("a/{sha256}.b")]);
    assert_eq!(file.names("b", true), [format!("{sha256}.b")]);
    assert_eq!(file.names("a/b", false), ["a/b"]);
    file.hashes.insert("evil".to_owned(), "../../x".to_owned());
    assert_eq!(file.names("a/b", true), [format!("a/{sha256}.b")]);
}

#[test]
fn every_known_digest_must_fit_and_one_must_be_known() {
    // blake2b-256 of "x", as Python's hashlib makes it.
    let mut file = TargetFile::of(b"x");
    file.hashes.insert("unknown".to_owned(), "00".to_owned());
    file.check("x", b"x").unwrap();
    file.hashes.insert("sha512".to_owned(), "0".repeat(128));
    assert_eq!(file.check("x", b"x").unwrap_err().fault, Fault::Mismatch);
    file.hashes.retain(|name, _| name == "unknown");
    assert_eq!(file.check("x", b"x").unwrap_err().fault, Fault::Mismatch);
}
