//! Roots that people sign one after the other.

use super::*;
use crate::tuf::Fault;
use crate::tuf::ceremony::{Change, changes};

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
    let mut one = Pending::read_root(&file, None).unwrap();
    assert!(one.sign(&*keys.root[2]).unwrap());
    assert!(!one.sign(&*keys.root[2]).unwrap());
    let mut two = Pending::read_root(&file, None).unwrap();
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
    let refusal = Pending::read_root(&bad, None).unwrap_err();
    assert_eq!(refusal.fault, Fault::Unsigned);
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
