//! The writer: what it publishes can be read at every moment, and the faults of another writer (reference/tuf.md, 1.5) are not
//! its own.

use proptest::prelude::*;

use super::*;
use crate::tuf::repository::{
    INDEX, Published, Standing, Standings, Why, check_target, redivide, wanted_bits,
};
use crate::tuf::{Delegated, DelegatedRole, Fault, RoleKeys, Scope, Snapshot};

const A: &str = "pypi/attrs";
const B: &str = "pypi/black";

fn world() -> World {
    World::new(2, &[(A, "attrs 1"), (B, "black 1")])
}

/// Everything that is in the world, as a client finds it, and nothing besides.
fn finds_all(world: &World, trusted: Trusted, files: &Files) -> Trusted {
    let mut client = refreshed(trusted, world.now, files).unwrap();
    for (path, bytes) in &world.contents {
        let target = found(&mut client, path, files).unwrap();
        assert_eq!(target, Some(TargetFile::of(bytes)), "{path}");
    }
    assert_eq!(found(&mut client, "pypi/absent", files).unwrap(), None);
    client.trusted().clone()
}

#[test]
fn fault_1_the_timestamp_is_the_one_file_that_is_replaced_and_the_last() {
    let mut world = world();
    let commit = world.change(|draft, repository| {
        let name = repository.role_for("pypi/new").unwrap();
        let contents = BTreeMap::from([("pypi/new".to_owned(), TargetFile::of(b"new"))]);
        draft.bin(&name, contents).unwrap();
    });
    let (last, others) = commit.writes.split_last().unwrap();
    assert_eq!(last.file, "timestamp.json");
    assert!(last.replaces());
    assert!(others.iter().all(|write| !write.replaces()));
    assert!(
        others
            .iter()
            .all(|write| write.file.starts_with(&format!("{}.", write.version)))
    );
}

#[test]
fn faults_1_and_3_a_reader_in_the_middle_of_a_write_sees_the_old_state_or_the_new_one() {
    let mut world = world();
    let mut files = world.files.clone();
    let kept = finds_all(&world, world.trusted(), &files);
    let before = tests_copy(&world);
    world.publish(&[
        (A, Some("attrs 2")),
        (B, None),
        ("pypi/click", Some("click 1")),
    ]);
    // The commit's own order is in no map: draft it again.
    let commit = before
        .drafted(|draft, repository| {
            let mut names: Vec<String> = [A, B, "pypi/click"]
                .iter()
                .map(|path| repository.role_for(path).unwrap())
                .collect();
            names.sort();
            names.dedup();
            for name in names {
                draft.bin(&name, of_bin(&world.contents, 2, &name)).unwrap();
            }
        })
        .unwrap();
    let last = commit.writes.len() - 1;
    for (at, write) in commit.writes.iter().enumerate() {
        files.insert(write.file.clone(), write.bytes.clone());
        let (seen, since) = if at == last {
            (&world, &world)
        } else {
            (&before, &before)
        };
        finds_all(seen, world.trusted(), &files);
        finds_all(since, kept.clone(), &files);
    }
}

#[test]
fn fault_2_a_draft_publishes_nothing_and_one_that_was_lost_is_drafted_again() {
    let world = world();
    let draft = || {
        world
            .drafted(|draft, repository| {
                let name = repository.role_for(A).unwrap();
                draft.bin(&name, of_bin(&world.contents, 2, &name)).unwrap();
            })
            .unwrap()
    };
    let (one, two) = (draft(), draft());
    assert_eq!(one.writes, two.writes);
    assert_eq!(world.repository.version(), 1);
    assert_eq!(one.repository.version(), 2);
}

#[test]
fn fault_3_no_file_is_named_before_it_is_written() {
    let mut world = World::new(1, &[]);
    let commit = world.change(|draft, _| {
        draft.renew_index();
        draft.bin("bins-1", BTreeMap::new()).unwrap();
    });
    let order: Vec<&str> = commit
        .writes
        .iter()
        .map(|write| write.role.as_str())
        .collect();
    assert_eq!(order, ["bins-1", INDEX, "snapshot", "timestamp"]);
}

#[test]
fn fault_4_a_new_online_key_signs_only_after_the_root_that_names_it() {
    let mut world = world();
    let mut kept = finds_all(&world, world.trusted(), &world.files);
    let before = Keys::new();
    let new_key = Key::of(&ed25519(25)).unwrap();
    let old_root = world.repository.root().clone();

    // A root without the old key, while the old key's timestamp is what is published: no client would go on.
    let mut hasty = world.keys.plan();
    hasty.roles.get_mut("timestamp").unwrap().0 = vec![new_key.clone()];
    let hasty = world.keys.root(&hasty, Some((&old_root, &before)));
    let mut draft = world
        .repository
        .draft(NOW, &world.lifetimes, world.keys.online());
    assert_eq!(draft.root(&hasty, false).unwrap_err().fault, Fault::Unasked);

    // A key that no root names signs nothing.
    world.keys.timestamp = Box::new(ed25519(25));
    assert_eq!(world.drafted(|_, _| {}).unwrap_err().fault, Fault::Unsigned);

    // Both named; then the new one signs; then the old one goes. Clients go on at every step.
    let mut both = world.keys.plan();
    let old_key = Key::of(&*before.timestamp).unwrap();
    both.roles.get_mut("timestamp").unwrap().0 = vec![old_key, new_key];
    for plan in [both, world.keys.plan()] {
        let root = world
            .keys
            .root(&plan, Some((world.repository.root(), &before)));
        let commit = world.drafted(|draft, _| draft.root(&root, false).unwrap());
        let commit = commit.unwrap();
        for write in &commit.writes {
            world.files.insert(write.file.clone(), write.bytes.clone());
            kept = finds_all(&world, kept, &world.files);
            finds_all(&world, world.trusted(), &world.files);
        }
        world.repository = commit.repository;
    }
    assert_eq!(world.repository.root().roles["timestamp"].keyids.len(), 1);
}

#[test]
fn fault_5_two_commits_that_follow_the_same_one_say_so() {
    let mut world = world();
    let sign = |path: &'static str| {
        move |draft: &mut Draft<'_>, repository: &Repository| {
            let name = repository.role_for(path).unwrap();
            let contents = BTreeMap::from([(path.to_owned(), TargetFile::of(b"x"))]);
            draft.bin(&name, contents).unwrap();
        }
    };
    let one = world.drafted(sign("pypi/one")).unwrap();
    let two = world.drafted(sign("pypi/two")).unwrap();
    // Both would write version 2 of the snapshot, differently; the caller publishes what follows the newest only.
    assert_eq!((one.follows, two.follows), (1, 1));
    assert_ne!(one.writes, two.writes);
    world.put(&one);
    assert_ne!(two.follows, world.repository.version());
}

#[test]
fn fault_7_a_role_whose_key_nobody_else_uses_can_be_removed() {
    let role = |name: &str, key: &Key| DelegatedRole {
        name: name.to_owned(),
        keys: RoleKeys::new(vec![key.id()], 1),
        terminating: true,
        scope: Scope::Paths(vec![format!("{name}/*")]),
    };
    let (one, two) = (
        Key::of(&ed25519(41)).unwrap(),
        Key::of(&ed25519(42)).unwrap(),
    );
    let mut it = delegations(
        vec![
            (role("acme", &one), vec![one.clone()]),
            (role("emca", &two), vec![two.clone()]),
        ],
        &ed25519(7),
    )
    .unwrap();
    assert!(it.remove("acme"));
    assert!(!it.remove("acme"));
    assert!(!it.keys.contains_key(&one.id()) && it.keys.contains_key(&two.id()));
    assert!(it.keys_of("emca").is_some() && it.keys_of("acme").is_none());
}

#[test]
fn fault_8_versions_are_counted_from_what_was_published_and_old_files_are_told() {
    let mut world = world();
    let role = world.repository.role_for(A).unwrap();
    // A file that lies about is no version.
    world
        .files
        .insert(format!("900.{role}.json"), b"junk".to_vec());
    world.publish(&[(A, Some("attrs 2"))]);
    let second = world.files["2.snapshot.json"].clone();
    world.publish(&[(A, Some("attrs 3"))]);
    assert_eq!(world.repository.standings()[role.as_str()].meta.version, 3);
    let names: Vec<&str> = world.files.keys().map(String::as_str).collect();
    let read = |bytes: &[u8]| {
        Envelope::<Snapshot>::parse("snapshot", bytes, &Limits::default())
            .unwrap()
            .document
    };
    let newest = read(&world.files["3.snapshot.json"]);
    let expendable = world.repository.expendable(names.clone(), &[&newest]);
    let mut wanted = vec![
        format!("1.{role}.json"),
        format!("2.{role}.json"),
        "1.snapshot.json".to_owned(),
        "2.snapshot.json".to_owned(),
    ];
    wanted.sort();
    assert_eq!(expendable, wanted);
    // Somebody still reads the second snapshot.
    let second = read(&second);
    let expendable = world.repository.expendable(names, &[&newest, &second]);
    wanted.retain(|name| name.starts_with("1."));
    assert_eq!(expendable, wanted);
    for name in expendable
        .into_iter()
        .map(str::to_owned)
        .collect::<Vec<_>>()
    {
        world.files.remove(&name);
    }
    finds_all(&world, world.trusted(), &world.files);
}

#[test]
fn fault_11_targets_that_clients_would_understand_differently_are_refused() {
    let good = TargetFile::of(b"x");
    for path in ["a", "pypi/simple", "ünï/c", "a b", "@scope/name"] {
        check_target(path, &good).unwrap();
    }
    let long = "a".repeat(1025);
    for path in [
        "",
        "/a",
        "a/",
        "a//b",
        "../a",
        "a/../b",
        "a/./b",
        ".",
        "a\\b",
        "a\nb",
        "a?b",
        "a#b",
        "a%2fb",
        "\u{1f600}",
        "a\u{0}",
        long.as_str(),
    ] {
        assert!(check_target(path, &good).is_err(), "{path:?}");
    }
    let with = |algorithm: &str, hash: &str| {
        let mut file = TargetFile::default();
        file.hashes.insert(algorithm.to_owned(), hash.to_owned());
        file
    };
    let hash = "0".repeat(64);
    check_target("a", &with("blake2b-256", &hash)).unwrap();
    for (algorithm, hash) in [
        ("md5", "0".repeat(32)),
        ("sha256", "0".repeat(63)),
        ("sha256", "0".repeat(128)),
        ("sha512", "0".repeat(64)),
        ("sha256", "A".repeat(64)),
        ("sha256", "g".repeat(64)),
    ] {
        assert!(check_target("a", &with(algorithm, &hash)).is_err());
    }
    assert!(check_target("a", &TargetFile::default()).is_err());
    let mut endless = good;
    endless.length = u64::MAX;
    assert!(check_target("a", &endless).is_err());
    // The draft asks too.
    let mut world = world();
    let name = world.repository.role_for("../etc").unwrap();
    let mut draft = world
        .repository
        .draft(NOW, &world.lifetimes, world.keys.online());
    let contents = BTreeMap::from([("../etc".to_owned(), TargetFile::of(b"x"))]);
    assert!(draft.bin(&name, contents).is_err());
    world.publish(&[]);
}

#[test]
fn a_target_in_another_bin_than_its_own_is_refused() {
    let world = world();
    let own = world.repository.role_for(A).unwrap();
    let other = (0..4)
        .map(|bin| bin_name(2, bin))
        .find(|name| *name != own)
        .unwrap();
    let mut draft = world
        .repository
        .draft(NOW, &world.lifetimes, world.keys.online());
    let contents = BTreeMap::from([(A.to_owned(), TargetFile::of(b"x"))]);
    let refusal = draft.bin(&other, contents).unwrap_err();
    assert_eq!(refusal.fault, Fault::Unasked);
    assert!(draft.bin("bins-9", BTreeMap::new()).is_err());
}

#[test]
fn a_namespace_with_its_own_keys_comes_before_the_bins_and_keeps_its_paths() {
    let mut world = world();
    let owner = ed25519(50);
    let key = Key::of(&owner).unwrap();
    let role = DelegatedRole {
        name: "acme".to_owned(),
        keys: RoleKeys::new(vec![key.id()], 1),
        terminating: true,
        scope: Scope::Paths(vec!["pypi/acme-*".to_owned()]),
    };
    let document = Targets {
        delegations: Some(delegations(vec![(role, vec![key])], &*world.keys.index).unwrap()),
        ..Targets::empty(2, NOW + 365 * DAY)
    };
    let mut pending =
        Pending::targets("targets", document, "root", world.repository.root()).unwrap();
    pending.sign(&*world.keys.targets).unwrap();
    let top = pending.finish(NOW).unwrap();
    let contents = BTreeMap::from([("pypi/acme-lib".to_owned(), TargetFile::of(b"lib"))]);
    // The delegation without its document would make clients fail.
    let refusal = world.drafted(|draft, _| draft.targets(&top).unwrap());
    assert_eq!(refusal.unwrap_err().fault, Fault::Missing);
    world.change(|draft, _| {
        draft.targets(&top).unwrap();
        draft
            .sign_role("acme", contents, 30 * DAY, &[&owner])
            .unwrap();
    });
    world
        .contents
        .insert("pypi/acme-lib".to_owned(), b"lib".to_vec());
    finds_all(&world, world.trusted(), &world.files);
    assert_eq!(world.repository.role_for("pypi/acme-lib").unwrap(), "acme");
    // Other keys for a role need another document, in the same commit.
    let other = Key::of(&ed25519(51)).unwrap();
    let mut changed = world.repository.targets().unwrap().clone();
    changed.version = 3;
    let delegations = changed.delegations.as_mut().unwrap();
    let Delegated::Listed(roles) = &mut delegations.roles else {
        panic!("roles are listed");
    };
    roles[0].keys.keyids = vec![other.id()];
    delegations.keys.insert(other.id(), other);
    let mut pending =
        Pending::targets("targets", changed, "root", world.repository.root()).unwrap();
    pending.sign(&*world.keys.targets).unwrap();
    let top = pending.finish(NOW).unwrap();
    let refusal = world.drafted(|draft, _| draft.targets(&top).unwrap());
    assert_eq!(refusal.unwrap_err().fault, Fault::Unsigned);
    // Nobody else speaks for its paths: not the bins, not another key.
    let mut draft = world
        .repository
        .draft(NOW, &world.lifetimes, world.keys.online());
    let evil = BTreeMap::from([("pypi/acme-evil".to_owned(), TargetFile::of(b"evil"))]);
    for bin in 0..4 {
        assert!(draft.bin(&bin_name(2, bin), evil.clone()).is_err());
    }
    let refusal = draft.sign_role("acme", evil, DAY, &[&ed25519(8)]);
    assert_eq!(refusal.unwrap_err().fault, Fault::Unsigned);
}

#[test]
fn another_division_is_one_commit_that_clients_with_a_memory_follow() {
    let mut world = world();
    for at in 0..50 {
        world
            .contents
            .insert(format!("pypi/project-{at}"), vec![at]);
    }
    world.divide(4, None);
    let mut kept = finds_all(&world, world.trusted(), &world.files);
    for bits in [5, 8, 9, 3] {
        world.divide(bits, None);
        kept = finds_all(&world, kept, &world.files);
        finds_all(&world, world.trusted(), &world.files);
        assert_eq!(world.repository.bins().unwrap().bit_length, bits);
    }
    // What was listed once stays listed, or a client would believe that it is attacked.
    assert!(world.repository.standings().contains_key("bins-1ff"));
    assert!(
        world
            .repository
            .due(NOW, &world.lifetimes, "")
            .iter()
            .all(|due| due.role != "bins-1ff")
    );
}

#[test]
fn a_division_of_which_a_bin_is_missing_is_not_published() {
    let world = world();
    let refusal = world.drafted(|draft, _| {
        draft.divide(3).unwrap();
        for bin in 0..7 {
            let name = bin_name(3, bin);
            draft.bin(&name, of_bin(&world.contents, 3, &name)).unwrap();
        }
    });
    assert_eq!(refusal.unwrap_err().fault, Fault::Missing);
}

#[test]
fn the_key_of_bins_changes_bin_by_bin_without_any_ceremony() {
    let mut world = world();
    let mut kept = finds_all(&world, world.trusted(), &world.files);
    let old = Key::of(&*world.keys.bins).unwrap().id();
    world.keys.bins = Box::new(ed25519(28));
    let new = Key::of(&*world.keys.bins).unwrap().id();
    let due = world.repository.due(NOW, &world.lifetimes, &new);
    assert_eq!(due.iter().filter(|due| due.why == Why::Key).count(), 4);
    for bin in 0..4 {
        let name = bin_name(2, bin);
        let contents = of_bin(&world.contents, 2, &name);
        world.change(|draft, _| draft.bin(&name, contents).unwrap());
        kept = finds_all(&world, kept, &world.files);
        finds_all(&world, world.trusted(), &world.files);
        let keyids = &world.repository.bins().unwrap().keys.keyids;
        assert!(keyids.contains(&new));
        assert_eq!(keyids.contains(&old), bin < 3);
    }
    let due = world.repository.due(NOW, &world.lifetimes, &new);
    assert!(due.iter().all(|due| due.why != Why::Key));
}

#[test]
fn what_is_due_is_a_function_of_time_and_renewing_it_in_time_keeps_clients_going() {
    let mut world = world();
    let bins_key = Key::of(&*world.keys.bins).unwrap().id();
    // Once a day instead of once an hour, so that the test is short.
    world.lifetimes.timestamp.renew_before = 3_600;
    let mut kept = world.trusted();
    assert_eq!(world.repository.due(NOW, &world.lifetimes, &bins_key), []);
    let mut renewed = std::collections::BTreeSet::new();
    while world.now < NOW + 120 * DAY {
        world.now = world.repository.next_renewal(&world.lifetimes).unwrap();
        let due = world.repository.due(world.now, &world.lifetimes, &bins_key);
        let online: Vec<String> = due
            .iter()
            .filter(|due| !due.offline)
            .map(|due| due.role.clone())
            .collect();
        assert!(!online.is_empty());
        renewed.extend(online.iter().cloned());
        let contents = world.contents.clone();
        world.change(move |draft, repository| {
            for role in online {
                if repository.bins().unwrap().number(&role).is_some() {
                    draft.bin(&role, of_bin(&contents, 2, &role)).unwrap();
                } else if role == INDEX {
                    draft.renew_index();
                }
            }
        });
        kept = finds_all(&world, kept, &world.files);
    }
    assert_eq!(renewed.len(), 3 + 4);
    // People are asked in time for what is theirs.
    let due = world
        .repository
        .due(NOW + 276 * DAY, &world.lifetimes, &bins_key);
    let offline: Vec<&str> = due
        .iter()
        .filter(|due| due.offline)
        .map(|due| due.role.as_str())
        .collect();
    assert_eq!(offline, ["root", "targets"]);
}

#[test]
fn bins_do_not_end_all_at_once() {
    let world = World::new(8, &[]);
    let ends: std::collections::BTreeSet<i64> = world
        .repository
        .standings()
        .iter()
        .filter(|(role, _)| role.starts_with("bins-"))
        .map(|(_, standing)| (standing.expires - NOW) / DAY)
        .collect();
    assert!(ends.len() >= 18, "{ends:?}");
    assert!(ends.iter().all(|day| (20..=40).contains(day)), "{ends:?}");
}

#[test]
fn what_was_published_is_opened_again_from_its_files() {
    let mut world = world();
    world.publish(&[(A, Some("attrs 2"))]);
    let standings = world.repository.standings().clone();
    let newest = |stem: &str| {
        let version = match stem {
            "snapshot" => 2,
            role => standings[role].meta.version,
        };
        world.files[&format!("{version}.{stem}.json")].as_slice()
    };
    let index = newest(INDEX);
    let published = Published {
        root: &world.files["1.root.json"],
        targets: newest("targets"),
        index: Some(index),
        snapshot: newest("snapshot"),
        timestamp: &world.files["timestamp.json"],
    };
    // As rows keep them.
    let kept: Standings = standings
        .iter()
        .map(|(role, standing)| {
            let text = serde_json::to_string(&**standing).unwrap();
            (
                role.clone(),
                serde_json::from_str::<Standing>(&text).unwrap().into(),
            )
        })
        .collect();
    assert_eq!(kept, standings);
    let opened = Repository::open(&published, kept).unwrap();
    assert_eq!(opened, world.repository);
    // What was kept must be what is published.
    let mut lost = standings.clone();
    lost.remove("bins-0");
    assert!(Repository::open(&published, lost).is_err());
    let mut older = standings.clone();
    std::sync::Arc::make_mut(older.get_mut("bins-0").unwrap())
        .meta
        .version = 77;
    assert!(Repository::open(&published, older).is_err());
    let mut more = standings.clone();
    let extra = more["bins-0"].clone();
    more.insert("bins-9".into(), extra);
    assert!(Repository::open(&published, more).is_err());
    let other = Published {
        snapshot: &world.files["1.snapshot.json"],
        ..published
    };
    assert!(Repository::open(&other, standings).is_err());
}

#[test]
fn fields_of_others_stand_in_the_timestamp_and_are_signed() {
    let world = world();
    let mut extra = Extra::default();
    extra
        .insert(
            "countersign_map_root",
            serde_json::json!({"size": 7, "root": "AAAA"}),
        )
        .unwrap();
    let commit = world
        .repository
        .draft(NOW, &world.lifetimes, world.keys.online())
        .finish(extra.clone())
        .unwrap();
    assert_eq!(commit.writes.len(), 1);
    let mut files = world.files.clone();
    files.insert("timestamp.json".to_owned(), commit.writes[0].bytes.clone());
    let client = refreshed(world.trusted(), NOW, &files).unwrap();
    assert_eq!(client.timestamp().unwrap().extra, extra);
    assert!(extra.insert("x", serde_json::json!(0.5)).is_err());
}

#[test]
fn the_division_follows_the_number_of_projects() {
    assert_eq!(wanted_bits(0), 4);
    assert_eq!(wanted_bits(1_000), 8);
    assert_eq!(wanted_bits(10_000), 10);
    assert_eq!(wanted_bits(200_000), 12);
    assert_eq!(wanted_bits(700_000), 13);
    assert_eq!(wanted_bits(5_000_000), 14);
    assert_eq!(wanted_bits(u64::MAX), 14);
    let mut bits = 4;
    let mut divisions = 0;
    for targets in 0..2_000_000u64 {
        if let Some(new) = redivide(bits, targets) {
            assert!(new > bits);
            bits = new;
            divisions += 1;
        }
    }
    assert_eq!((bits, divisions), (14, 10));
    // Fewer projects for a while divide nothing anew.
    assert_eq!(redivide(13, 100_000), None);
    assert_eq!(redivide(13, 1_000), Some(8));
}

#[test]
fn a_snapshot_of_the_finest_division_is_short_enough_for_every_client() {
    let world = World::new(14, &[(A, "attrs 1")]);
    let bytes = world.files["1.snapshot.json"].len();
    assert!(bytes < 600_000, "{bytes}");
    finds_all(&world, world.trusted(), &world.files);
    let mut draft = world
        .repository
        .draft(NOW, &world.lifetimes, world.keys.online());
    assert_eq!(draft.divide(15).unwrap_err().fault, Fault::Limit);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]
    #[test]
    fn after_any_changes_every_client_finds_what_is_there_and_no_version_has_two_contents(
        steps in proptest::collection::vec((0u8..8, 0usize..6, any::<u8>()), 1..12),
    ) {
        let mut world = world();
        let mut kept = world.trusted();
        let mut ever = world.files.clone();
        for (act, project, value) in steps {
            let path = format!("pypi/project-{project}");
            match act {
                0 => world.publish(&[(&path, None)]),
                1 => world.divide(1 + value % 5, None),
                2 => { world.change(|draft, _| draft.renew_index()); }
                3 => { world.now += i64::from(value) * 300; world.change(|_, _| {}); }
                _ => world.publish(&[(&path, Some(&value.to_string()))]),
            }
            for (name, bytes) in &world.files {
                let before = ever.insert(name.clone(), bytes.clone());
                prop_assert!(name == "timestamp.json" || before.is_none_or(|before| before == *bytes));
            }
            kept = finds_all(&world, kept, &world.files);
            finds_all(&world, world.trusted(), &world.files);
        }
    }
}
