//! A registry whose process ends by SIGKILL in the middle of a commit of TUF: at a publish, a ceremony, a change of an online key.
//! Whatever was under way is there wholly or not at all; python-tuf, which remembers what it saw before, goes on.

use std::collections::HashMap;
use std::os::unix::process::ExitStatusExt as _;

use countersign_testkit::clients::Clients;
use countersign_testkit::packages::Wheel;
use countersign_testkit::server::Database;
use countersign_testkit::tuf::Keep;
use serde_json::Value;

use crate::house::{House, index_of};

/// What was ever seen as a version of the timestamp.
#[derive(Default)]
struct Seen(HashMap<u64, String>);

impl Seen {
    /// A version has one content, for ever.
    fn look(&mut self, house: &House) {
        let text = house.metadata("pypi", "timestamp.json");
        let read: Value = serde_json::from_str(&text).unwrap();
        let version = read["signed"]["version"].as_u64().unwrap();
        let known = self.0.entry(version).or_insert_with(|| text.clone());
        assert_eq!(*known, text);
    }
}

/// Publishes while the server is killed at the system call of this number (each thread counts for itself), or else after its answer.
fn killed_at(house: &mut House, keep: &Keep, seen: &mut Seen, call: &str, numbers: &[u32]) {
    let mut kills = 0;
    for number in numbers {
        let project = format!("{call}-{number}");
        let wheel = Wheel::new(&project, "1.0").build();
        seen.look(house);
        let faults = house
            .server
            .with_faults(&format!("{call}:signal=KILL:when={number}"))
            .unwrap();
        let answer = house.server.publish(&wheel, &house.token);
        let told = answer.is_ok_and(|answer| answer.expect_status(200).is_ok());
        kills += u32::from(!told);
        // Before strace is told to end: that of a process which is half gone waits for ever.
        house.server.kill().unwrap();
        drop(faults);
        house.server.serve().unwrap();
        seen.look(house);
        // What was there before is, with a memory of before.
        let path = index_of("first");
        let known = house.python.ask(keep, Some(&path), None).unwrap();
        assert_eq!(known.sha256(), house.index("first"));
        if told {
            let path = index_of(&project);
            let there = house.python.ask(keep, Some(&path), None).unwrap();
            assert_eq!(there.sha256(), house.index(&project));
        }
        // The same again is acknowledged, and signed by then.
        let again = house.server.publish(&wheel, &house.token).unwrap();
        again.expect_status(200).unwrap();
        house.both_see(keep, &project);
        seen.look(house);
    }
    assert!(kills > 0, "{call}");
}

#[test]
fn a_registry_that_is_killed_while_it_signs_goes_on() {
    let clients = Clients::get().unwrap();
    let mut house = House::new(&clients, Database::Sqlite);
    let keep = house.pinned("pypi");
    house.publish("first", "1.0");
    house.both_see(&keep, "first");
    let mut seen = Seen::default();
    killed_at(&mut house, &keep, &mut seen, "pwrite64", &[1, 4, 9, 16]);
    killed_at(&mut house, &keep, &mut seen, "fsync", &[1, 2]);

    // Commands beside it: a key that changes at once, and a ceremony that takes the roots.
    house.people(&["alice", "bob"]);
    for number in [1, 5, 12] {
        let rotate = ["tuf", "rotate-online", "bins"];
        let inject = format!("pwrite64:signal=KILL:when={number}");
        let done = house.server.run_with_faults(&rotate, &inject).unwrap();
        let killed = done.status.signal() == Some(9);
        assert!(killed || done.status.success(), "{done:?}");
        seen.look(&house);
        house.publish("first", &format!("2.{number}"));
        house.both_see(&keep, "first");
    }
    let bundle = house.ceremony_bundle(1, &["alice", "bob"]);
    house.sign(&bundle, &["alice", "bob"]);
    let publish = [
        "tuf",
        "publish",
        "--yes",
        "--bundle",
        bundle.to_str().unwrap(),
    ];
    let mut kills = 0;
    for number in [1, 3, 8, 17, 30] {
        let inject = format!("pwrite64:signal=KILL:when={number}");
        let done = house.server.run_with_faults(&publish, &inject).unwrap();
        seen.look(&house);
        house.publish("first", &format!("3.{number}"));
        house.both_come_to_see(&keep, "first");
        if done.status.success() {
            break;
        }
        assert_eq!(done.status.signal(), Some(9), "{done:?}");
        kills += 1;
    }
    assert!(kills > 1, "{kills}");
    house.server.run(&publish).unwrap();
    house.both_follow(&keep, "first", 2);
    assert_eq!(house.status()["development"], false);
    seen.look(&house);

    // A key that people put in the place of another: killed while it is got ready, and while that is published.
    let bundle = house.person("timestamp.json");
    let file = bundle.to_str().unwrap();
    let rotate = ["tuf", "rotate-online", "timestamp", "--bundle", file];
    let mut kills = 0;
    for number in [1, 4, 9, 16, 40] {
        let inject = format!("pwrite64:signal=KILL:when={number}");
        let done = house.server.run_with_faults(&rotate, &inject).unwrap();
        seen.look(&house);
        house.publish("first", &format!("4.{number}"));
        house.both_see(&keep, "first");
        // The file is the last that is written: where it is, all before it is.
        if bundle.exists() {
            break;
        }
        assert_eq!(done.status.signal(), Some(9), "{done:?}");
        kills += 1;
    }
    assert!(kills > 0);
    if !bundle.exists() {
        house.server.run(&rotate).unwrap();
    }
    house.sign(&bundle, &["alice", "bob"]);
    let publish = ["tuf", "publish", "--yes", "--bundle", file];
    let mut kills = 0;
    for number in [1, 6, 14, 30] {
        let inject = format!("pwrite64:signal=KILL:when={number}");
        let done = house.server.run_with_faults(&publish, &inject).unwrap();
        seen.look(&house);
        house.publish("first", &format!("5.{number}"));
        house.both_come_to_see(&keep, "first");
        if done.status.success() {
            break;
        }
        assert_eq!(done.status.signal(), Some(9), "{done:?}");
        kills += 1;
    }
    assert!(kills > 0);
    house.server.run(&publish).unwrap();
    house.both_follow(&keep, "first", 3);
    seen.look(&house);
}

#[test]
fn a_registry_on_postgres_that_is_killed_while_it_signs_goes_on() {
    let clients = Clients::get().unwrap();
    let mut house = House::new(&clients, Database::Postgres);
    let keep = house.pinned("pypi");
    house.publish("first", "1.0");
    house.both_see(&keep, "first");
    let mut seen = Seen::default();
    killed_at(&mut house, &keep, &mut seen, "sendto", &[4, 12, 20, 40]);
}
