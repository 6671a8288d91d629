//! python-tuf and tuf-js, unmodified, follow a running registry from its first root through all that happens to it.

use countersign_testkit::clients::Clients;
use countersign_testkit::server::Database;
use countersign_trust::digest::Sha256;

use crate::house::House;

#[test]
fn python_tuf_and_tuf_js_follow_a_registry_on_sqlite() {
    follow(Database::Sqlite);
}

#[test]
fn python_tuf_and_tuf_js_follow_a_registry_on_postgres() {
    follow(Database::Postgres);
}

fn follow(database: Database) {
    let clients = Clients::get().unwrap();
    let mut house = House::new(&clients, database);
    let keep = house.pinned("pypi");
    house.publish("thing", "1.0");
    let first = house.both_see(&keep, "thing");
    assert_eq!(first[0], 1);
    let absent = house
        .python
        .ask(&keep, Some("pypi/nothing/index.json"), None);
    assert!(format!("{absent:?}").contains("sha256: None"), "{absent:?}");

    // The other repositories, by the root of roots.
    let roots = house.pinned("roots");
    for ecosystem in ["cargo", "npm", "pypi"] {
        let path = format!("{ecosystem}/root.json");
        let root = house.metadata(ecosystem, "1.root.json");
        for client in [&mut house.python, &mut house.javascript] {
            let told = client.ask(&roots, Some(&path), None).unwrap();
            assert_eq!(told.sha256(), Sha256::of(root.as_bytes()).to_hex());
        }
        let own = house.pinned(ecosystem);
        for client in [&mut house.python, &mut house.javascript] {
            client.ask(&own, None, None).unwrap().versions();
        }
    }

    // What is answered is signed: no waiting.
    house.publish("thing", "2.0");
    let path = crate::house::index_of("thing");
    let told = house.python.ask(&keep, Some(&path), None).unwrap();
    assert_eq!(told.sha256(), house.index("thing"));
    let before = house.index("thing");
    house.yank("thing", "1.0");
    let second = house.both_see(&keep, "thing");
    assert_ne!(house.index("thing"), before);
    assert!(second[1] > first[1], "{first:?} {second:?}");

    // An online key of its own accord; then people take over, and change.
    house.server.run(&["tuf", "rotate-online", "bins"]).unwrap();
    house.both_see(&keep, "thing");
    house.people(&["alice", "bob", "carol"]);
    house.ceremony(1, &["alice", "bob"], &[]);
    house.both_follow(&keep, "thing", 2);
    house.ceremony(2, &["bob", "carol"], &["alice", "bob"]);
    house.both_follow(&keep, "thing", 3);
    // The root names the key of the timestamp; that of the index is named by the targets.
    for role in ["timestamp", "index"] {
        let bundle = house.person(&format!("{role}.json"));
        let file = bundle.to_str().unwrap();
        let words = ["tuf", "rotate-online", role, "--bundle", file];
        house.server.run(&words).unwrap();
        // Got ready is not yet published, and a registry in this state goes on.
        house.publish("thing", &format!("3.{}", role.len()));
        house.both_see(&keep, "thing");
        house.sign_and_publish(&bundle, &["bob", "carol"]);
        house.both_follow(&keep, "thing", 4);
    }
    house.publish("other", "1.0");
    let last = house.both_see(&keep, "other");
    // Whoever slept all the time.
    let late = house.pinned("pypi");
    assert_eq!(house.both_see(&late, "other"), last);
    assert_eq!(house.both_see(&late, "thing"), last);
}
