//! A registry with a witness, both real: what a stolen log key, a second history and an old backup come to.

use std::fs;
use std::net::TcpListener;
use std::process::Command;

use countersign_testkit::packages::{Package, Wheel};
use countersign_testkit::server::{ServerOptions, TestServer};
use countersign_testkit::smtp::{Manners, SmtpServer};
use countersign_trust::checkpoint::Checkpoint;
use countersign_trust::digest::Sha256;
use countersign_trust::leaf::Leaf;
use countersign_trust::note::{SignedNote, SignerKey};
use countersign_trust::proof::TlogProof;
use countersign_trust::tlog;
use countersign_trust::witness::AddCheckpoint;

use crate::monitor::covered;
use crate::stub::{Answer, Stub};
use crate::user::User;
use crate::witness::Running;

/// A server whose log shows nothing that its witness has not cosigned.
struct Scene {
    server: TestServer,
    witness: Running,
    token: String,
    _watcher: User,
}

impl Scene {
    fn set() -> Self {
        let watcher = User::new();
        let key = Running::init(&watcher).remove(0);
        let free = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = free.local_addr().unwrap().to_string();
        drop(free);
        let policy = watcher.path("policy");
        let text = format!("witness west {key} http://{address}\nquorum west\n");
        fs::write(&policy, text).unwrap();
        let mut server = TestServer::init(ServerOptions {
            configuration: format!("log.policy = {policy:?}\n"),
            ..ServerOptions::default()
        })
        .unwrap();
        let log = server.verifier_keys()[0].clone();
        let arguments = [
            "--json",
            "witness",
            "serve",
            "--key",
            "key",
            "--state",
            "state",
            "--listen",
            &address,
            "--log-key",
            &log,
        ];
        let witness = Running::of(&mut watcher.command(&arguments, &[]));
        server.serve().unwrap();
        server.user("ada").unwrap();
        let token = server.token("ada", &[]).unwrap();
        Self {
            server,
            witness,
            token,
            _watcher: watcher,
        }
    }

    fn publish(&self, name: &str) -> Package {
        let package = Wheel::new(name, "1.0").build();
        let answer = self.server.publish(&package, &self.token).unwrap();
        answer.expect_status(200).unwrap();
        package
    }

    /// What a thief of the log's key holds.
    fn stolen_key(&self) -> SignerKey {
        let text = fs::read_to_string(self.server.data().join("keys/log-1.ed25519")).unwrap();
        SignerKey::parse_private(text.trim_end()).unwrap()
    }
}

/// Another history, in which another file is published, signed with the log's own key.
fn forged(key: &SignerKey, package: &Package, size: u64) -> TlogProof {
    let purl = format!("pkg:pypi/evil@1.0?file_name={}", package.filename);
    let digest = package.sha256().parse().unwrap();
    let leaf = Leaf::file_published(&purl, digest, package.bytes.len() as u64, 1, 1, None);
    let entry = leaf.to_text().unwrap().into_bytes();
    let mut hashes = vec![tlog::leaf_hash(&entry)];
    hashes.extend((1..size).map(|index| tlog::leaf_hash(&index.to_be_bytes())));
    let none = std::collections::HashMap::<tlog::TileId, Vec<u8>>::new();
    let tiles: std::collections::HashMap<_, _> =
        tlog::grow(0, &hashes, &none).unwrap().into_iter().collect();
    let root = tlog::root(size, &tiles).unwrap();
    TlogProof {
        extra: Some(entry),
        index: 0,
        hashes: tlog::inclusion_proof(0, size, &tiles).unwrap(),
        checkpoint: Checkpoint::new(key.name().as_str(), size, root).sign(key, None),
    }
}

#[test]
fn a_split_view_or_forged_checkpoint_by_a_stolen_log_key_is_refused_for_want_of_witnesses() {
    let scene = Scene::set();
    scene.publish("thing");
    let (alice, bob) = (User::of(&scene.server), User::of(&scene.server));
    // Pinned before there was a policy, or by a careless hand.
    let careless = User::of(&scene.server);
    let file = careless.path("home/trust.toml");
    let pins: toml::Table = fs::read_to_string(&file).unwrap().parse().unwrap();
    let mut pins = pins;
    let registry = pins["registry"].as_array_mut().unwrap()[0]
        .as_table_mut()
        .unwrap();
    assert!(
        registry
            .remove("policy")
            .unwrap()
            .as_str()
            .unwrap()
            .contains("quorum west")
    );
    fs::write(&file, pins.to_string()).unwrap();

    let package = Wheel::new("thing", "1.0").build();
    let name = alice.download(&scene.server, &package);
    let seen = alice.run(&["verify", "--offline", &name]);
    seen.expect(0, &["cosigned by west: the quorum that you pinned"]);
    alice.run(&["log", "audit"]).expect(0, &["holds"]);

    // The thief shows Bob another history of the same length.
    let evil = Wheel::new("evil", "1.0").build();
    let genuine = scene
        .server
        .get("/log/1/checkpoint")
        .unwrap()
        .expect_status(200)
        .unwrap();
    let genuine = SignedNote::parse(&genuine.body).unwrap();
    let size: u64 = genuine.text().lines().nth(1).unwrap().parse().unwrap();
    let mut proof = forged(&scene.stolen_key(), &evil, size);
    for user in [&bob, &careless] {
        fs::write(user.path(&evil.filename), &evil.bytes).unwrap();
        fs::write(
            user.path(&format!("{}.tlog-proof", evil.filename)),
            proof.to_string(),
        )
        .unwrap();
    }
    let without = careless.run(&["verify", "--offline", &evil.filename]);
    without.expect(0, &["no witnesses are pinned"]);
    let refused = bob.run(&["--json", "verify", "--offline", &evil.filename]);
    refused.expect(3, &["quorum"]);

    // The witness does not cosign it, whatever it is told to have seen.
    for old in [0, size] {
        let request = AddCheckpoint::new(old, Vec::new(), proof.checkpoint.as_bytes()).unwrap();
        let (status, _) = scene.witness.add(&request.to_string());
        assert!(matches!(status, 409 | 422), "{status}");
    }
    // A cosignature of the genuine history says nothing of this one.
    for line in genuine.signatures() {
        if line.name.as_str() == "w.example/1" {
            proof.checkpoint.push_str(&line.to_string());
        }
    }
    let beside = bob.path(&format!("{}.tlog-proof", evil.filename));
    fs::write(beside, proof.to_string()).unwrap();
    bob.run(&["verify", "--offline", &evil.filename])
        .expect(3, &["does not verify"]);

    // The true file with its witness's line taken away.
    let beside = alice.path(&format!("{name}.tlog-proof"));
    let whole = fs::read_to_string(&beside).unwrap();
    let lines = whole.lines().filter(|line| !line.contains("w.example/1"));
    let stripped: String = lines.map(|line| format!("{line}\n")).collect();
    assert!(stripped.len() < whole.len());
    fs::write(&beside, stripped).unwrap();
    alice
        .run(&["verify", "--offline", &name])
        .expect(3, &["quorum"]);
    assert_eq!(Sha256::of(&package.bytes).to_hex(), package.sha256());
}

#[test]
fn a_database_that_was_put_back_does_not_fork_the_log_that_a_witness_saw() {
    let mut scene = Scene::set();
    scene.publish("thing");
    scene.server.stop().unwrap();
    let data = scene.server.data();
    let backup = data.with_file_name("backup");
    let copied = Command::new("cp")
        .arg("-a")
        .args([&data, &backup])
        .status()
        .unwrap();
    assert!(copied.success());
    scene.server.serve().unwrap();
    scene.publish("later");
    scene.server.stop().unwrap();
    fs::rename(&data, data.with_file_name("newer")).unwrap();
    // Database, tiles and checkpoint are of one age: nothing on this machine tells that leaves are lost.
    fs::rename(&backup, &data).unwrap();
    let refused = scene.server.serve().unwrap_err();
    assert!(
        format!("{refused:#}").contains("The witness west has cosigned"),
        "{refused:#}"
    );
    let told = scene.server.try_run(&["--json", "doctor"]).unwrap();
    let told = String::from_utf8_lossy(&told.stdout).into_owned();
    assert!(
        told.contains("leaves of this log that are not in it"),
        "{told}"
    );
}

#[test]
fn a_monitor_takes_a_log_that_its_witnesses_saw_long_ago_for_one_that_is_held_back() {
    let scene = Scene::set();
    scene.publish("thing");
    covered(&scene.server, 1);
    let user = User::of(&scene.server);
    let hook = Stub::start(|_, _| Answer::status(204, ""));
    let post = SmtpServer::start(Manners::default()).unwrap();
    let smtp = format!("smtp://127.0.0.1:{}", post.port());
    let url = hook.url();
    let look = |max_age: &str| {
        let watch = ["log", "monitor", "--once", "pkg:pypi/thing", "--max-age"];
        let tell = ["--webhook", &url, "--mail", "ada@example.org", "--smtp"];
        user.run(&[&watch[..], &[max_age], &tell, &[&smtp]].concat())
    };
    look("1h").expect(0, &["proves that these are all"]);
    // The log rests, and time goes on: whoever asks for a word of the last second has none soon.
    let begin = std::time::Instant::now();
    let frozen = loop {
        let ran = look("1s");
        if ran.code != 0 || begin.elapsed().as_secs() > 60 {
            break ran;
        }
    };
    frozen.expect(3, &["too few of its witnesses saw it of late"]);
    assert!(hook.seen().last().unwrap().contains("log-frozen"));
    let alarm = post
        .wait_for("ada@example.org", "too few of its witnesses")
        .unwrap();
    assert!(alarm.header("Subject").unwrap().starts_with("ALARM"));
    look("1h").expect(0, &[]);
    // Without witnesses there is nobody whose word could be old.
    let careless = User::of(&scene.server);
    let file = careless.path("home/trust.toml");
    let mut pins: toml::Table = fs::read_to_string(&file).unwrap().parse().unwrap();
    let registry = pins["registry"].as_array_mut().unwrap()[0].as_table_mut();
    registry.unwrap().remove("policy").unwrap();
    fs::write(&file, pins.to_string()).unwrap();
    let watch = [
        "log",
        "monitor",
        "--once",
        "pkg:pypi/thing",
        "--max-age",
        "1s",
    ];
    careless
        .run(&watch)
        .expect(0, &["proves that these are all"]);
}
