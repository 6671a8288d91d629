//! The attacks of PEP 458, appendix A, and those that the specification adds, against the client.

use serde_json::Value;

use super::*;
use crate::tuf::{Fault, Snapshot, Timestamp};

const A: &str = "pypi/attrs";
const B: &str = "pypi/black";

fn world() -> World {
    World::new(1, &[(A, "attrs 1"), (B, "black 1")])
}

/// The file of the bin that a path is in, now.
fn bin_file(world: &World, path: &str) -> String {
    let role = world.repository.role_for(path).unwrap();
    let version = world.repository.standings()[role.as_str()].meta.version;
    format!("{version}.{role}.json")
}

fn fault<T: std::fmt::Debug>(result: Result<T, Refusal>) -> Fault {
    result.unwrap_err().fault
}

#[test]
fn arbitrary_installation_bytes_that_nobody_signed_are_refused() {
    let world = world();
    let mut client = refreshed(world.trusted(), NOW, &world.files).unwrap();
    let target = found(&mut client, A, &world.files).unwrap().unwrap();
    target.check(A, b"attrs 1").unwrap();
    for other in ["attrs 2", "attrs 1 ", "attrs ", ""] {
        assert_eq!(fault(target.check(A, other.as_bytes())), Fault::Mismatch);
    }
}

#[test]
fn arbitrary_installation_metadata_of_a_key_that_nobody_named_is_refused() {
    let world = world();
    let thief = ed25519(99);
    let mut files = world.files.clone();
    let name = bin_file(&world, A);
    let evil = forged::<Targets>("bin", &files[&name], &[&thief], |bin| {
        bin.targets.insert(A.to_owned(), TargetFile::of(b"evil"));
    });
    files.insert(name, evil);
    let mut client = refreshed(world.trusted(), NOW, &files).unwrap();
    let before = client.trusted().clone();
    assert_eq!(fault(found(&mut client, A, &files)), Fault::Unsigned);
    // Nothing of it stays: the honest file is taken afterwards.
    assert_eq!(client.trusted().targets.get(A), before.targets.get(A));
    assert!(found(&mut client, A, &world.files).unwrap().is_some());
}

#[test]
fn a_signature_that_stands_twice_counts_once() {
    let world = world();
    let root: Value = serde_json::from_slice(&world.files["1.root.json"]).unwrap();
    let mut twice = root.clone();
    let first = root["signatures"][0].clone();
    twice["signatures"] = Value::Array(vec![first.clone(), first.clone()]);
    let bytes = twice.to_string().into_bytes();
    let refusal = Client::begin(Trusted::root(bytes), NOW, Limits::default());
    assert_eq!(fault(refusal), Fault::Malformed);
    twice["signatures"] = Value::Array(vec![first]);
    let bytes = twice.to_string().into_bytes();
    let refusal = Client::begin(Trusted::root(bytes), NOW, Limits::default());
    assert_eq!(fault(refusal), Fault::Unsigned);
}

#[test]
fn one_key_under_two_ids_counts_once() {
    let key = Key::of(&ed25519(1)).unwrap();
    let mut plan = Keys::new().plan();
    plan.development = true;
    let mut root = plan.root(None).unwrap();
    root.keys.insert("alias".to_owned(), key.clone());
    let role = root.roles.get_mut("root").unwrap();
    role.keyids = vec![key.id(), "alias".to_owned()];
    let mut envelope = Envelope::unsigned(root);
    envelope.sign("root", &ed25519(1)).unwrap();
    let mut copy = envelope.signatures[0].clone();
    copy.keyid = "alias".to_owned();
    envelope.signatures.push(copy);
    let refusal = Client::begin(Trusted::root(envelope.to_bytes()), NOW, Limits::default());
    assert_eq!(fault(refusal), Fault::Unsigned);
}

#[test]
fn freeze_an_old_state_is_good_until_it_expires_and_not_a_second_longer() {
    let world = world();
    let kept = refreshed(world.trusted(), NOW, &world.files)
        .unwrap()
        .trusted()
        .clone();
    let end = NOW + DAY;
    // The same timestamp again is no error.
    refreshed(kept.clone(), end - 1, &world.files).unwrap();
    assert_eq!(fault(refreshed(kept, end, &world.files)), Fault::Expired);
    assert_eq!(
        fault(refreshed(world.trusted(), end, &world.files)),
        Fault::Expired
    );
}

#[test]
fn freeze_each_role_has_an_end_of_its_own() {
    let world = world();
    // Timestamps that are renewed for ever do not help: snapshot, index, bins and root end too.
    for (days, expired) in [(8, "snapshot"), (31, "index"), (60, "bins"), (366, "root")] {
        let mut later = World {
            now: NOW + days * DAY,
            ..tests_copy(&world)
        };
        later.lifetimes.snapshot.renew_before = 0;
        let keys = Keys::new();
        let old = &later.files["timestamp.json"];
        let renewed = forged::<Timestamp>("timestamp", old, &[&*keys.timestamp], |stamp| {
            stamp.version += 1;
            stamp.expires = later.now + DAY;
        });
        later.files.insert("timestamp.json".to_owned(), renewed);
        if expired != "snapshot" && expired != "root" {
            let name = "1.snapshot.json".to_owned();
            let signer = [&*keys.snapshot];
            let renewed = forged::<Snapshot>("snapshot", &later.files[&name], &signer, |it| {
                it.version = 2;
                it.expires = later.now + DAY;
            });
            let meta = crate::tuf::MetaFile::of(2, &renewed);
            later.files.insert("2.snapshot.json".to_owned(), renewed);
            let old = &later.files["timestamp.json"];
            let renewed = forged::<Timestamp>("timestamp", old, &[&*keys.timestamp], |stamp| {
                stamp.snapshot = meta;
            });
            later.files.insert("timestamp.json".to_owned(), renewed);
        }
        let outcome = refreshed(later.trusted(), later.now, &later.files)
            .and_then(|mut client| found(&mut client, A, &later.files));
        let refusal = outcome.unwrap_err();
        assert_eq!(refusal.fault, Fault::Expired, "{refusal}");
        let role = if expired == "bins" { "index" } else { expired };
        assert!(refusal.what.starts_with(role), "{refusal}");
    }
}

#[test]
fn extraneous_dependencies_what_a_document_says_is_signed_with_it() {
    let world = World::new(1, &[(A, "{\"requires\":[\"idna\"]}")]);
    let mut client = refreshed(world.trusted(), NOW, &world.files).unwrap();
    let target = found(&mut client, A, &world.files).unwrap().unwrap();
    let more = b"{\"requires\":[\"idna\",\"evil\"]}";
    assert_eq!(fault(target.check(A, more)), Fault::Mismatch);
}

#[test]
fn mix_and_match_a_bin_of_another_snapshot_is_refused() {
    let mut world = world();
    let old_bin = world.files[&bin_file(&world, A)].clone();
    let first = world.files.clone();
    world.publish(&[(A, Some("attrs 2"))]);
    let mut files = world.files.clone();
    files.insert(bin_file(&world, A), old_bin);
    let mut client = refreshed(world.trusted(), NOW, &files).unwrap();
    assert_eq!(fault(found(&mut client, A, &files)), Fault::Version);
    // And the other way round: a newer bin than the snapshot knows.
    let mut files = first;
    let role = world.repository.role_for(A).unwrap();
    let newer = world.files[&bin_file(&world, A)].clone();
    files.insert(format!("1.{role}.json"), newer);
    let mut client = refreshed(world.trusted(), NOW, &files).unwrap();
    assert_eq!(fault(found(&mut client, A, &files)), Fault::Version);
}

#[test]
fn mix_and_match_one_session_sees_one_snapshot() {
    let mut world = World::new(4, &[(A, "attrs 1"), (B, "black 1")]);
    let mut client = refreshed(world.trusted(), NOW, &world.files).unwrap();
    let first = found(&mut client, A, &world.files).unwrap().unwrap();
    world.publish(&[(A, Some("attrs 2")), (B, Some("black 2"))]);
    // The files of the old snapshot are there still, and the session goes on with them.
    let second = found(&mut client, B, &world.files).unwrap().unwrap();
    assert_eq!(first, TargetFile::of(b"attrs 1"));
    assert_eq!(second, TargetFile::of(b"black 1"));
}

#[test]
fn rollback_of_the_timestamp_is_refused_also_after_a_restart() {
    let mut world = world();
    let old = world.files.clone();
    world.publish(&[(A, Some("attrs 2"))]);
    let client = refreshed(world.trusted(), NOW, &world.files).unwrap();
    let kept = serde_json::to_string(client.trusted()).unwrap();
    let kept: Trusted = serde_json::from_str(&kept).unwrap();
    assert_eq!(&kept, client.trusted());
    assert_eq!(fault(refreshed(kept.clone(), NOW, &old)), Fault::Rollback);
    // Even where the newer one that was seen is over by now.
    let late = NOW + 2 * DAY;
    assert_eq!(fault(refreshed(kept, late, &old)), Fault::Rollback);
}

#[test]
fn rollback_of_the_snapshot_by_the_timestamps_key_alone_is_refused() {
    let mut world = world();
    world.publish(&[(A, Some("attrs 2"))]);
    let kept = refreshed(world.trusted(), NOW, &world.files)
        .unwrap()
        .trusted()
        .clone();
    let meta = crate::tuf::MetaFile::of(1, &world.files["1.snapshot.json"]);
    let mut files = world.files.clone();
    let stamp = &files["timestamp.json"];
    let evil = forged::<Timestamp>("timestamp", stamp, &[&*world.keys.timestamp], |stamp| {
        stamp.version = 99;
        stamp.snapshot = meta;
    });
    files.insert("timestamp.json".to_owned(), evil);
    assert_eq!(fault(refreshed(kept, NOW, &files)), Fault::Rollback);
}

/// Timestamp and snapshot as the thief of both keys makes them.
fn by_thief(world: &World, change: impl FnOnce(&mut Snapshot)) -> Files {
    let mut files = world.files.clone();
    let version = world.repository.version();
    let name = files
        .keys()
        .filter(|name| name.ends_with(".snapshot.json"))
        .max_by_key(|name| name.split('.').next().unwrap().parse::<u64>().unwrap())
        .unwrap()
        .clone();
    let signer = [&*world.keys.snapshot];
    let snapshot = forged::<Snapshot>("snapshot", &files[&name], &signer, |snapshot| {
        snapshot.version += 1;
        change(snapshot);
    });
    let number = Envelope::<Snapshot>::parse("snapshot", &snapshot, &Limits::default())
        .unwrap()
        .document
        .version;
    let meta = crate::tuf::MetaFile::of(number, &snapshot);
    files.insert(format!("{number}.snapshot.json"), snapshot);
    let signer = [&*world.keys.timestamp];
    let stamp = forged::<Timestamp>("timestamp", &files["timestamp.json"], &signer, |stamp| {
        stamp.version = version + 1;
        stamp.snapshot = meta;
    });
    files.insert("timestamp.json".to_owned(), stamp);
    files
}

#[test]
fn rollback_of_one_bin_within_a_newer_snapshot_is_refused() {
    let mut world = world();
    world.publish(&[(A, Some("attrs 2"))]);
    let kept = refreshed(world.trusted(), NOW, &world.files)
        .unwrap()
        .trusted()
        .clone();
    let role = world.repository.role_for(A).unwrap();
    let files = by_thief(&world, |snapshot| {
        let meta = snapshot.meta.get_mut(&format!("{role}.json")).unwrap();
        meta.version = 1;
    });
    assert_eq!(fault(refreshed(kept.clone(), NOW, &files)), Fault::Rollback);
    let files = by_thief(&world, |snapshot| {
        snapshot.meta.remove(&format!("{role}.json"));
    });
    assert_eq!(fault(refreshed(kept, NOW, &files)), Fault::Rollback);
}

#[test]
fn rollback_of_the_root_is_refused() {
    let world = world();
    let mut files = world.files.clone();
    files.insert("2.root.json".to_owned(), files["1.root.json"].clone());
    assert_eq!(
        fault(refreshed(world.trusted(), NOW, &files)),
        Fault::Rollback
    );
}

#[test]
fn slow_retrieval_is_judged_by_the_moment_at_which_the_client_began() {
    // To give up on a slow answer is the caller's. What the client owes it: a length to stop at, and a time that stays.
    let world = world();
    let mut client = Client::begin(world.trusted(), NOW + DAY - 1, Limits::default()).unwrap();
    while let Some(request) = client.wanted().unwrap() {
        assert!(request.most > 0);
        client
            .give(&request, world.files.get(&request.file).map(Vec::as_slice))
            .unwrap();
    }
    assert!(client.is_fresh());
}

#[test]
fn endless_data_ends_at_the_length_that_each_request_names() {
    let world = world();
    let limits = Limits::default();
    for (role, limit) in [
        ("root", limits.root_bytes),
        ("timestamp", limits.timestamp_bytes),
        ("snapshot", limits.snapshot_bytes),
        ("targets", limits.targets_bytes),
    ] {
        let outcome = refreshed_by(world.trusted(), NOW, |request| {
            if request.role != role {
                return world.files.get(&request.file).cloned();
            }
            // Where the metadata says the length, not even the limit is read.
            assert!(request.most <= limit, "{request:?}");
            let most = usize::try_from(request.most).unwrap();
            Some(vec![b' '; most + 1])
        });
        assert_eq!(fault(outcome), Fault::Limit, "{role}");
    }
    let mut client = refreshed(world.trusted(), NOW, &world.files).unwrap();
    let target = found(&mut client, A, &world.files).unwrap().unwrap();
    let mut check = crate::tuf::TargetCheck::new(A, &target).unwrap();
    check.take(b"attrs").unwrap();
    assert_eq!(fault(check.take(b" 1 and on and on")), Fault::Mismatch);
}

#[test]
fn a_malicious_mirror_is_left_for_another_one_in_the_middle_of_a_refresh() {
    let mut world = world();
    let stale = world.files.clone();
    world.publish(&[(A, Some("attrs 2"))]);
    let kept = refreshed(world.trusted(), NOW, &world.files)
        .unwrap()
        .trusted()
        .clone();
    world.publish(&[(A, Some("attrs 3"))]);
    let mut client = Client::begin(kept, NOW, Limits::default()).unwrap();
    while let Some(request) = client.wanted().unwrap() {
        // The first mirror is stale, the second answers garbage, the third has nothing but roots.
        let before = client.trusted().clone();
        if request.role != "root" {
            if request.role == "timestamp" {
                let answer = stale.get(&request.file).map(Vec::as_slice);
                assert_eq!(fault(client.give(&request, answer)), Fault::Rollback);
            }
            let garbage = client.give(&request, Some(b"<html>not found</html>"));
            assert!([Fault::Malformed, Fault::Mismatch].contains(&fault(garbage)));
            assert_eq!(fault(client.give(&request, None)), Fault::Missing);
        }
        assert_eq!(client.trusted(), &before);
        client
            .give(&request, world.files.get(&request.file).map(Vec::as_slice))
            .unwrap();
    }
    let target = found(&mut client, A, &world.files).unwrap();
    assert_eq!(target, Some(TargetFile::of(b"attrs 3")));
}

#[test]
fn wrong_software_one_project_is_not_served_for_another() {
    let world = world();
    let mut client = refreshed(world.trusted(), NOW, &world.files).unwrap();
    let target = found(&mut client, B, &world.files).unwrap().unwrap();
    assert_eq!(fault(target.check(B, b"attrs 1")), Fault::Mismatch);
    // Paths are the letters that were signed, not what they might mean.
    for other in [
        "pypi/Attrs",
        "pypi%2Fattrs",
        "pypi//attrs",
        "pypi/./attrs",
        "pypi/attrs/",
    ] {
        assert_eq!(found(&mut client, other, &world.files).unwrap(), None);
    }
}

#[test]
fn wrong_software_a_bin_may_speak_for_its_own_paths_only() {
    let world = World::new(4, &[(A, "attrs 1"), (B, "black 1")]);
    let (of_a, of_b) = (
        world.repository.role_for(A).unwrap(),
        world.repository.role_for(B).unwrap(),
    );
    assert_ne!(of_a, of_b);
    // The bin of B, served for the bin of A: it is signed by the right key, and holds nothing that A's bin is asked for.
    let mut files = world.files.clone();
    let evil = forged::<Targets>(
        "bin",
        &files[&format!("1.{of_b}.json")],
        &[&*world.keys.bins],
        |bin| {
            bin.targets.insert(A.to_owned(), TargetFile::of(b"evil"));
        },
    );
    files.insert(format!("1.{of_b}.json"), evil);
    let mut client = refreshed(world.trusted(), NOW, &files).unwrap();
    found(&mut client, B, &files).unwrap();
    assert_eq!(
        found(&mut client, A, &files).unwrap(),
        Some(TargetFile::of(b"attrs 1"))
    );
}

#[test]
fn compromise_of_one_root_key_is_not_enough_for_anything() {
    let world = world();
    let thief = ed25519(99);
    let root = &world.files["1.root.json"];
    let evil = forged::<Root>("root", root, &[&*world.keys.root[0], &thief], |root| {
        let key = Key::of(&thief).unwrap();
        root.version = 2;
        let role = root.roles.get_mut("root").unwrap();
        role.keyids.push(key.id());
        root.keys.insert(key.id(), key);
    });
    let mut files = world.files.clone();
    files.insert("2.root.json".to_owned(), evil);
    let mut client = Client::begin(world.trusted(), NOW, Limits::default()).unwrap();
    let request = client.wanted().unwrap().unwrap();
    let outcome = client.give(&request, files.get(&request.file).map(Vec::as_slice));
    assert_eq!(fault(outcome), Fault::Unsigned);
    assert_eq!(client.trusted(), &world.trusted());
}

#[test]
fn compromise_of_the_timestamps_key_can_not_change_a_target() {
    let world = world();
    let signer = [&*world.keys.timestamp];
    let mut files = world.files.clone();
    let snapshot = forged::<Snapshot>("snapshot", &files["1.snapshot.json"], &signer, |it| {
        it.version = 2;
    });
    let meta = crate::tuf::MetaFile::of(2, &snapshot);
    files.insert("2.snapshot.json".to_owned(), snapshot);
    let stamp = forged::<Timestamp>("timestamp", &files["timestamp.json"], &signer, |stamp| {
        stamp.version = 2;
        stamp.snapshot = meta;
    });
    files.insert("timestamp.json".to_owned(), stamp);
    assert_eq!(
        fault(refreshed(world.trusted(), NOW, &files)),
        Fault::Unsigned
    );
}

#[test]
fn compromise_of_the_bins_key_alone_changes_nothing_that_a_snapshot_does_not_list() {
    let world = world();
    let role = world.repository.role_for(A).unwrap();
    let mut files = world.files.clone();
    let old = &world.files[&bin_file(&world, A)];
    let evil = forged::<Targets>("bin", old, &[&*world.keys.bins], |bin| {
        bin.version = 2;
        bin.targets.insert(A.to_owned(), TargetFile::of(b"evil"));
    });
    files.insert(format!("2.{role}.json"), evil);
    let mut client = refreshed(world.trusted(), NOW, &files).unwrap();
    assert_eq!(
        found(&mut client, A, &files).unwrap(),
        Some(TargetFile::of(b"attrs 1"))
    );
}

#[test]
fn compromise_of_all_online_keys_is_healed_by_a_new_root_though_the_thief_ran_versions_forward() {
    let mut world = world();
    let far = 1 << 31;
    let role = world.repository.role_for(A).unwrap();
    // The thief's state, which a client took.
    let mut stolen = tests_copy(&world);
    let old = &world.files[&bin_file(&world, A)];
    let evil = forged::<Targets>("bin", old, &[&*world.keys.bins], |bin| {
        bin.version = far;
        bin.targets.insert(A.to_owned(), TargetFile::of(b"evil"));
    });
    stolen.files.insert(format!("{far}.{role}.json"), evil);
    let files = by_thief(&stolen, |snapshot| {
        snapshot.version = far;
        snapshot
            .meta
            .get_mut(&format!("{role}.json"))
            .unwrap()
            .version = far;
    });
    let mut victim = refreshed(world.trusted(), NOW, &files).unwrap();
    let taken = found(&mut victim, A, &files).unwrap();
    assert_eq!(taken, Some(TargetFile::of(b"evil")));
    let kept = victim.trusted().clone();

    // Recovery: new keys for all that is online, at once.
    let before = Keys::new();
    world.keys.timestamp = Box::new(ed25519(15));
    world.keys.snapshot = Box::new(ed25519(16));
    world.keys.index = Box::new(ed25519(17));
    world.keys.bins = Box::new(ed25519(18));
    let root = world
        .keys
        .root(&world.keys.plan(), Some((world.repository.root(), &before)));
    let top = world.keys.top(world.repository.root(), 2);
    let contents = world.contents.clone();
    world.change(move |draft, _| {
        draft.root(&root, true).unwrap();
        draft.targets(&top).unwrap();
        for name in ["bins-0", "bins-1"] {
            draft.bin(name, of_bin(&contents, 1, name)).unwrap();
        }
    });
    // The victim heals without anybody's hands.
    let mut healed = refreshed(kept, NOW, &world.files).unwrap();
    assert_eq!(
        found(&mut healed, A, &world.files).unwrap(),
        Some(TargetFile::of(b"attrs 1"))
    );
}

#[test]
fn an_expired_root_with_a_long_chain_of_rotations_is_followed_and_the_last_one_counts() {
    let mut world = world();
    let mut plan = world.keys.plan();
    plan.expires = NOW + DAY;
    let before = Keys::new();
    for version in 2..=40 {
        if version == 40 {
            plan.expires = NOW + 900 * DAY;
        }
        let root = world
            .keys
            .root(&plan, Some((world.repository.root(), &before)));
        world.change(|draft, _| draft.root(&root, false).unwrap());
    }
    world.now = NOW + 20 * DAY;
    world.change(|_, _| {});
    let client = refreshed(world.trusted(), world.now, &world.files).unwrap();
    assert_eq!(client.root().version, 40);
    // Without the last one all of them are over.
    let mut files = world.files.clone();
    files.remove("40.root.json");
    let refusal = refreshed(world.trusted(), world.now, &files).unwrap_err();
    assert_eq!(
        (refusal.fault, refusal.what.as_str()),
        (Fault::Expired, "root")
    );
    // More than are followed at once: what was followed is kept, and the next refresh goes on.
    let limits = Limits {
        root_rotations: 30,
        ..Limits::default()
    };
    let mut client = Client::begin(world.trusted(), world.now, limits.clone()).unwrap();
    let refusal = loop {
        match client.wanted() {
            Ok(Some(request)) => client
                .give(&request, world.files.get(&request.file).map(Vec::as_slice))
                .unwrap(),
            Ok(None) => panic!("more roots were followed than allowed"),
            Err(refusal) => break refusal,
        }
    };
    assert_eq!(refusal.fault, Fault::Limit);
    let client = refreshed(client.trusted().clone(), world.now, &world.files).unwrap();
    assert_eq!(client.root().version, 40);
}

#[test]
fn a_clock_that_is_a_year_behind_trusts_no_longer_and_one_ahead_refuses() {
    let world = world();
    let year = 365 * DAY;
    assert_eq!(
        fault(refreshed(world.trusted(), NOW + year, &world.files)),
        Fault::Expired
    );
    // Behind, nothing is over; what was seen is still the floor.
    refreshed(world.trusted(), NOW - year, &world.files).unwrap();
}

#[test]
fn truncated_and_doubled_metadata_is_refused() {
    let world = world();
    for role in ["timestamp.json", "1.snapshot.json", "1.targets.json"] {
        let whole = world.files[role].clone();
        for bytes in [
            whole[..whole.len() / 2].to_vec(),
            whole[..whole.len() - 1].to_vec(),
            [whole.clone(), whole.clone()].concat(),
            Vec::new(),
        ] {
            let mut files = world.files.clone();
            files.insert(role.to_owned(), bytes);
            let fault = fault(refreshed(world.trusted(), NOW, &files));
            assert!(
                [Fault::Malformed, Fault::Mismatch, Fault::Limit].contains(&fault),
                "{role}: {fault:?}"
            );
        }
    }
    // A name that stands twice is read differently by different readers.
    let stamp = String::from_utf8(world.files["timestamp.json"].clone()).unwrap();
    let twice = stamp.replacen("\"version\":1", "\"version\":1,\"version\":1", 1);
    assert_ne!(stamp, twice);
    let mut files = world.files.clone();
    files.insert("timestamp.json".to_owned(), twice.into_bytes());
    assert_eq!(
        fault(refreshed(world.trusted(), NOW, &files)),
        Fault::Malformed
    );
}

/// Every place of a document: what leads to it.
fn places(value: &Value, here: String, out: &mut Vec<String>) {
    match value {
        Value::Object(map) => {
            for (name, inner) in map {
                let name = name.replace('~', "~0").replace('/', "~1");
                places(inner, format!("{here}/{name}"), out);
            }
        }
        Value::Array(items) => {
            for (at, inner) in items.iter().enumerate() {
                places(inner, format!("{here}/{at}"), out);
            }
        }
        _ => {}
    }
    out.push(here);
}

fn other(value: &Value) -> Vec<Value> {
    match value {
        Value::String(text) => vec![
            Value::String(format!("{text}0")),
            Value::String(String::new()),
            Value::Null,
        ],
        Value::Number(number) => {
            let number = number.as_u64().unwrap();
            vec![
                (number + 1).into(),
                0.into(),
                Value::String(number.to_string()),
            ]
        }
        Value::Bool(value) => vec![Value::Bool(!value), Value::Null],
        Value::Array(items) => vec![
            Value::Array(Vec::new()),
            Value::Array(items.iter().chain(items.first()).cloned().collect()),
        ],
        _ => vec![Value::Null, Value::Array(Vec::new()), serde_json::json!({})],
    }
}

#[test]
fn any_changed_field_of_any_document_fails_or_changes_nothing_that_is_trusted() {
    let world = world();
    let mut honest = refreshed(world.trusted(), NOW, &world.files).unwrap();
    let wanted = found(&mut honest, A, &world.files).unwrap();
    let mut tried = 0;
    let names: Vec<String> = vec![
        "timestamp.json".to_owned(),
        "1.snapshot.json".to_owned(),
        "1.targets.json".to_owned(),
        "1.index.json".to_owned(),
        bin_file(&world, A),
        "1.root.json".to_owned(),
    ];
    for name in names {
        let document: Value = serde_json::from_slice(&world.files[&name]).unwrap();
        let mut all = Vec::new();
        places(&document, String::new(), &mut all);
        for place in all.into_iter().filter(|place| !place.is_empty()) {
            for new in other(document.pointer(&place).unwrap()) {
                let mut changed = document.clone();
                *changed.pointer_mut(&place).unwrap() = new.clone();
                if changed == document {
                    continue;
                }
                tried += 1;
                let mut files = world.files.clone();
                files.insert(name.clone(), changed.to_string().into_bytes());
                let trusted = Trusted::root(files["1.root.json"].clone());
                let Ok(mut client) = refreshed(trusted, NOW, &files) else {
                    continue;
                };
                let Ok(target) = found(&mut client, A, &files) else {
                    continue;
                };
                assert_eq!(target, wanted, "{name} {place} {new}");
                assert_eq!(client.root(), honest.root(), "{name} {place} {new}");
                assert_eq!(client.timestamp(), honest.timestamp(), "{name} {place}");
                assert_eq!(client.snapshot(), honest.snapshot(), "{name} {place} {new}");
            }
        }
    }
    assert!(tried > 300, "{tried}");
}
