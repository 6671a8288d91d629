//! The programs of the C2SP ecosystem, unmodified, against our log and our witness. They are built with Go where somebody asks
//! for it ([`countersign_testkit::go::VARIABLE`]), and skipped loudly elsewhere.

use std::fs;
use std::net::TcpListener;
use std::path::Path;

use countersign_testkit::go::{GoPrograms, Litewitness, judged};
use countersign_testkit::packages::Wheel;
use countersign_testkit::server::{ServerOptions, TestServer};
use countersign_trust::checkpoint::{self, Checkpoint};
use countersign_trust::note::{KeyName, KeyType, SignerKey, VerifierKey};
use countersign_trust::policy::Policy;
use countersign_trust::tlog::{encode_entries, leaf_hash, node_hash};

use crate::user::User;
use crate::witness::Running;

/// What Tessera's `fsck` says of the log at this address.
fn fsck(programs: &GoPrograms, folder: &Path, url: &str) -> String {
    let mut command = programs.command("fsck");
    let address = format!("--storage_url={url}");
    command.args([&address, "--public_key=log.vkey", "--ui=false"]);
    // It ends with 0 whatever it finds.
    judged(&mut command, folder).unwrap().1
}

fn free_address() -> String {
    let free = TcpListener::bind("127.0.0.1:0").unwrap();
    free.local_addr().unwrap().to_string()
}

/// Starts our witness in this user's home, for the log with this key.
fn witness(user: &User, address: &str, log: &str) -> Running {
    let keys = [
        "--json", "witness", "serve", "--key", "key", "--state", "state",
    ];
    let rest = ["--listen", address, "--log-key", log];
    Running::of(&mut user.command(&[&keys[..], &rest].concat(), &[]))
}

#[test]
fn litewitness_cosigns_our_log_and_tesseras_tools_find_it_whole_until_it_is_not() {
    let Some(programs) = GoPrograms::get().unwrap() else {
        return;
    };
    let lite = Litewitness::start(&programs, "lite.example/1").unwrap();
    let watcher = User::new();
    let own = Running::init(&watcher).remove(1);
    let address = free_address();
    let policy = watcher.path("policy");
    let text = format!(
        "witness lite {} {}\nwitness own {own} http://{address}\ngroup both all lite own\nquorum both\n",
        lite.key(),
        lite.url()
    );
    fs::write(&policy, text).unwrap();
    let mut server = TestServer::init(ServerOptions {
        configuration: format!("log.policy = {policy:?}\n"),
        ..ServerOptions::default()
    })
    .unwrap();
    let key = server.verifier_keys()[0].clone();
    let parsed: VerifierKey = key.parse().unwrap();
    lite.meet(parsed.name().as_str(), &key).unwrap();
    let _running = witness(&watcher, &address, &key);
    server.serve().unwrap();
    let token = server.publisher("ada").unwrap();
    for version in ["1.0", "2.0", "3.0"] {
        let package = Wheel::new("thing", version).build();
        let answer = server.publish(&package, &token).unwrap();
        answer.expect_status(200).unwrap();
    }
    server.rest().unwrap();
    // What everybody is told: both have cosigned what is shown, with keys of either kind.
    let told = server
        .get("/.well-known/countersign.json")
        .unwrap()
        .json()
        .unwrap();
    let policy = Policy::parse(told["log"]["policy"].as_str().unwrap().as_bytes()).unwrap();
    let note = server.get("/log/1/checkpoint").unwrap().body;
    let open = policy.open(&note, parsed.name().as_str()).unwrap();
    assert_eq!(policy.witnesses_of(&open), ["lite", "own"]);
    assert_eq!(own.key_type(), KeyType::MlDsa44);

    fs::write(watcher.path("log.vkey"), &key).unwrap();
    let home = watcher.path(".");
    let whole = format!("Successfully fsck'd log with size {}", open.size());
    let url = format!("{}/log/1/", server.url());
    let said = fsck(&programs, &home, &url);
    assert!(said.contains(&whole), "{said}");
    // Its load tool, which reads at random and whole, and verifies what it read. Our log takes no entries of strangers, so
    // nothing is written; it goes on until it is told to end, and calls that a failure.
    let mut hammer = programs.command("hammer");
    hammer
        .arg(format!("--log_url={url}"))
        .arg(format!("--log_public_key={key}"))
        .args(["--show_ui=false", "--max_read_ops=200", "--max_runtime=3s"]);
    let (_, said) = judged(&mut hammer, &home).unwrap();
    assert!(said.contains("Max runtime reached"), "{said}");
    for fault in ["rror", "ailed to"] {
        let of_time = |line: &&str| line.contains(fault);
        assert_eq!(said.lines().find(of_time), None, "{said}");
    }

    // The same from the folder, and with one byte of it changed.
    server.stop().unwrap();
    let log = server.data().join("blobs/log/1");
    let url = format!("file://{}/", log.display());
    let said = fsck(&programs, &home, &url);
    assert!(said.contains(&whole), "{said}");
    for tile in [
        format!("tile/0/000.p/{}", open.size()),
        format!("tile/entries/000.p/{}", open.size()),
    ] {
        let path = log.join(tile);
        let bytes = fs::read(&path).unwrap();
        let mut spoiled = bytes.clone();
        let middle = spoiled.len() / 2;
        spoiled[middle] ^= 1;
        fs::write(&path, spoiled).unwrap();
        let said = fsck(&programs, &home, &url);
        assert!(!said.contains("Successfully"), "{}: {said}", path.display());
        fs::write(&path, bytes).unwrap();
    }
}

/// Runs what is made of the parts of Go's checksum-database client.
fn checksum_database(programs: &GoPrograms, folder: &Path, words: [&str; 3]) -> (bool, String) {
    let mut command = programs.command("checksum-database");
    judged(command.args(words), folder).unwrap()
}

#[test]
fn the_parts_of_gos_checksum_database_client_follow_our_log_and_refuse_another() {
    let Some(programs) = GoPrograms::get().unwrap() else {
        return;
    };
    let mut server = TestServer::init(ServerOptions::default()).unwrap();
    server.serve().unwrap();
    let token = server.publisher("ada").unwrap();
    let publish = |version: &str| {
        let package = Wheel::new("thing", version).build();
        let answer = server.publish(&package, &token).unwrap();
        answer.expect_status(200).unwrap();
        server.rest().unwrap();
    };
    let home = User::new();
    let folder = home.path(".");
    let key = server.verifier_keys()[0].clone();
    let url = format!("{}/log/1", server.url());
    let run = |url: &str, key: &str, state: &str| {
        checksum_database(&programs, &folder, [url, key, state])
    };
    let refused = |url: &str, key: &str, state: &str, why: &str| {
        let (good, said) = run(url, key, state);
        assert!(!good && said.contains(why), "{why}: {said}");
    };
    publish("1.0");
    let (good, said) = run(&url, &key, "state");
    let first = "follows nothing, all records are in it";
    assert!(good && said.contains(first), "{said}");
    let seen = fs::read_to_string(home.path("state")).unwrap();
    let size = seen.lines().nth(1).unwrap().to_owned();
    publish("2.0");
    publish("3.0");
    let (good, said) = run(&url, &key, "state");
    let next = format!("follows size {size}, all records are in it");
    assert!(good && said.contains(&next), "{said}");
    // The tree that was seen first, once more; and another key under the same name.
    fs::create_dir(home.path("old")).unwrap();
    fs::write(home.path("old/checkpoint"), &seen).unwrap();
    let old = format!("file://{}", home.path("old").display());
    refused(&old, &key, "state", "the log has shrunk");
    let name = key.parse::<VerifierKey>().unwrap().name().clone();
    let stranger = SignerKey::generate(name, [9; 32]).verifier().to_string();
    refused(&url, &stranger, "fresh", "no verifiable signatures");
}

/// Writes a log with two records at this folder, as one who has its key can.
fn two_records(folder: &Path, key: &SignerKey, records: [&str; 2]) {
    let [left, right] = records.map(|record| leaf_hash(record.as_bytes()));
    let root = node_hash(&left, &right);
    let checkpoint = Checkpoint::new(key.name().as_str(), 2, root).sign(key, None);
    for (path, bytes) in [
        ("checkpoint", checkpoint.into_bytes()),
        ("tile/0/000.p/2", [left.0, right.0].concat()),
        ("tile/entries/000.p/2", encode_entries(&records).unwrap()),
    ] {
        let path = folder.join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, bytes).unwrap();
    }
}

#[test]
fn the_model_client_sees_another_history_a_changed_record_and_a_changed_tile() {
    let Some(programs) = GoPrograms::get().unwrap() else {
        return;
    };
    let home = User::new();
    let key = SignerKey::generate(KeyName::new("forked.example/log").unwrap(), [8; 32]);
    let verifier = key.verifier().to_string();
    let url = format!("file://{}", home.path("log").display());
    let run = || checksum_database(&programs, &home.path("."), [&url, &verifier, "state"]);
    let refused = |why: &str| {
        let (good, said) = run();
        assert!(!good && said.contains(why), "{why}: {said}");
    };
    two_records(&home.path("log"), &key, ["one", "two"]);
    let (good, said) = run();
    assert!(good, "{said}");
    two_records(&home.path("log"), &key, ["one", "another"]);
    refused("another history");
    two_records(&home.path("log"), &key, ["one", "two"]);
    for (path, why) in [
        ("tile/entries/000.p/2", "not the one in the tree"),
        ("tile/0/000.p/2", "inconsistent tile"),
    ] {
        let path = home.path("log").join(path);
        let bytes = fs::read(&path).unwrap();
        let mut spoiled = bytes.clone();
        *spoiled.last_mut().unwrap() ^= 1;
        fs::write(&path, spoiled).unwrap();
        refused(why);
        fs::write(&path, bytes).unwrap();
    }
}

#[test]
fn a_log_of_tessera_has_our_witness_cosign_as_it_grows() {
    let Some(programs) = GoPrograms::get().unwrap() else {
        return;
    };
    let user = User::new();
    let own = Running::init(&user).remove(0);
    assert_eq!(own.key_type(), KeyType::Ed25519Cosignature);
    let origin = "tessera.example/log";
    let key = SignerKey::generate(KeyName::new(origin).unwrap(), [7; 32]);
    fs::write(user.path("log.key"), key.private_text()).unwrap();
    let address = free_address();
    let _running = witness(&user, &address, &key.verifier().to_string());
    let text = format!("witness own {own} http://{address}\nquorum own\n");
    fs::write(user.path("policy"), text).unwrap();
    fs::create_dir(user.path("entries")).unwrap();
    let grow = |name: &str| {
        fs::write(user.path("entries").join(name), name).unwrap();
        let mut command = programs.command("posix-oneshot");
        command.args([
            "--storage_dir=log",
            "--private_key=log.key",
            "--witness_policy_file=policy",
        ]);
        command.arg(format!("--entries=entries/{name}"));
        let (good, said) = judged(&mut command, &user.path(".")).unwrap();
        assert!(good, "{said}");
        let note = fs::read(user.path("log/checkpoint")).unwrap();
        let open = checkpoint::open(&note, &[key.verifier(), own.clone()], origin).unwrap();
        (open.size(), open.cosignatures().count())
    };
    assert_eq!(grow("one"), (1, 1));
    assert_eq!(grow("two"), (2, 1));
}
