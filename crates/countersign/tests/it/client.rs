//! Verifying and auditing against a real server, honest and not.

use std::fs;
use std::path::Path;
use std::process::Command;

use countersign_testkit::packages::{Package, Wheel};
use countersign_testkit::server::{ServerOptions, TestServer};

use crate::user::User;

fn publish(server: &TestServer, token: &str, name: &str) -> Package {
    let package = Wheel::new(name, "1.0").build();
    server
        .publish(&package, token)
        .unwrap()
        .expect_status(200)
        .unwrap();
    package
}

fn copied(from: &Path, to: &Path) {
    let status = Command::new("cp")
        .arg("-a")
        .arg(from)
        .arg(to)
        .status()
        .unwrap();
    assert!(status.success());
}

#[test]
fn pinning_asks_first_and_refuses_other_keys_for_a_pinned_log() {
    let server = TestServer::start(ServerOptions::default()).unwrap();
    let user = User::new();
    let url = server.url();
    user.run(&["trust", "add", &url])
        .expect(2, &["nobody to ask", "--yes", &server.verifier_keys()[0]]);
    assert!(!user.path("home/trust.toml").exists());
    user.run(&["verify", "thing.whl"]).expect(2, &["thing.whl"]);
    user.run(&["log", "audit"])
        .expect(2, &["No registry is pinned yet", "trust add URL"]);
    user.run(&["trust", "add", &url, "--yes"])
        .expect(0, &["Pinned in"]);
    user.run(&["trust", "list"])
        .expect(0, &[&server.verifier_keys()[0]]);

    let file = user.path("home/trust.toml");
    let text = fs::read_to_string(&file).unwrap();
    let swapped = text.replacen(
        "keys = [",
        "keys = [\n  \"example.com/foo+530d903a+AekyeRrm56hApGFkyQR4ZCbV54Id2LKaANYcrnKv3U2k\",",
        1,
    );
    assert_ne!(text, swapped);
    fs::write(&file, swapped).unwrap();
    user.run(&["trust", "add", &url, "--yes"])
        .expect(3, &["other keys than those you pinned", "--replace"]);
    user.run(&["trust", "add", &url, "--yes", "--replace"])
        .expect(0, &[]);
    user.run(&["trust", "add", "http://127.0.0.1:1", "--yes"])
        .expect(5, &["127.0.0.1:1"]);
}

#[test]
fn a_published_file_verifies_online_and_offline_and_everything_else_does_not() {
    let server = TestServer::start(ServerOptions::default()).unwrap();
    let token = server.publisher("ada").unwrap();
    let (thing, other) = (
        publish(&server, &token, "thing"),
        publish(&server, &token, "other"),
    );
    let user = User::of(&server);

    fs::write(user.path(&thing.filename), &thing.bytes).unwrap();
    user.run(&["verify", &thing.filename]).expect(
        0,
        &["is pkg:pypi/thing@1.0?file_name=thing-1.0-py3-none-any.whl"],
    );
    user.run(&["verify", "--offline", &thing.filename])
        .expect(2, &["--offline forbids"]);
    let (thing_name, other_name) = (
        user.download(&server, &thing),
        user.download(&server, &other),
    );
    drop(server);

    user.run(&["verify", "--offline", &thing_name])
        .expect(0, &["✓"]);
    let json = user
        .run(&["--json", "verify", "--offline", &thing_name])
        .expect(0, &[]);
    let json: serde_json::Value = serde_json::from_str(&json.out).unwrap();
    assert_eq!(json["verified"]["sha256"], thing.sha256());

    // Another file's proof.
    let proof = format!("{other_name}.tlog-proof");
    user.run(&["verify", "--offline", &thing_name, "--proof", &proof])
        .expect(3, &["SHA-256"]);
    // Changed bytes.
    let mut bytes = thing.bytes.clone();
    let last = bytes.len() - 1;
    bytes[last] ^= 1;
    fs::write(user.path(&thing_name), bytes).unwrap();
    user.run(&["verify", "--offline", &thing_name])
        .expect(3, &["Do not use this file"]);
    // The right bytes under a name that promises something else.
    fs::write(user.path("other-2.0-py3-none-any.whl"), &other.bytes).unwrap();
    user.run(&[
        "verify",
        "--offline",
        "other-2.0-py3-none-any.whl",
        "--proof",
        &proof,
    ])
    .expect(3, &[]);
    // A changed proof: every line of it counts.
    let text = fs::read_to_string(user.path(&proof)).unwrap();
    for (line, from) in text.lines().enumerate().filter(|(_, line)| line.len() > 12) {
        let middle = from.len() / 2;
        let middle = (middle..from.len())
            .find(|at| from.is_char_boundary(*at) && from.as_bytes()[*at].is_ascii_alphanumeric());
        let Some(middle) = middle else { continue };
        let swapped = if from.as_bytes()[middle] == b'A' {
            "B"
        } else {
            "A"
        };
        let mut changed: Vec<String> = text.lines().map(str::to_owned).collect();
        changed[line].replace_range(middle..=middle, swapped);
        fs::write(user.path("changed.proof"), changed.join("\n") + "\n").unwrap();
        let ran = user.run(&[
            "verify",
            "--offline",
            &other_name,
            "--proof",
            "changed.proof",
        ]);
        assert!([2, 3].contains(&ran.code), "line {line}: {ran:#?}");
    }
    user.run(&[
        "verify",
        "--offline",
        &other_name,
        "--purl",
        "pkg:pypi/other@1.0?file_name=elsewhere.whl",
    ])
    .expect(3, &["elsewhere.whl"]);
    user.run(&["verify", "--offline", &other_name])
        .expect(0, &[]);
    user.run(&["verify", &other_name, "--proof", "https://127.0.0.1:1/x"])
        .expect(5, &[]);
}

#[test]
fn a_file_that_the_registry_never_published_is_a_failed_verification() {
    let server = TestServer::start(ServerOptions::default()).unwrap();
    let user = User::of(&server);
    let package = Wheel::new("thing", "1.0").build();
    package.write_to(&user.path(".")).unwrap();
    user.run(&["verify", &package.filename]).expect(
        3,
        &[
            "knows no thing-1.0-py3-none-any.whl",
            "Do not use this file",
        ],
    );
}

#[test]
fn an_audit_follows_a_growing_log_and_shows_proved_entries() {
    let server = TestServer::start(ServerOptions::default()).unwrap();
    let token = server.publisher("ada").unwrap();
    let user = User::of(&server);
    user.run(&["log", "audit"])
        .expect(0, &["✓ The log", "0 files", "seen for the first time"]);
    publish(&server, &token, "thing");
    user.run(&["log", "show"])
        .expect(0, &["kind file-published", "subject pkg:pypi/thing@1.0"]);
    publish(&server, &token, "other");
    user.run(&["log", "audit"]).expect(
        0,
        &["2 files, one digest for each", "continues what you saw"],
    );
    user.run(&["log", "show", "--from", "0", "--count", "1"])
        .expect(0, &["kind log-genesis"]);
    user.run(&["log", "show", "0"])
        .expect(0, &["kind log-genesis"]);
    let shown = user.run(&["--json", "log", "show", "pkg:pypi/thing@1.0"]);
    let shown: serde_json::Value = serde_json::from_str(&shown.expect(0, &[]).out).unwrap();
    let entries = shown["entries"].as_array().unwrap();
    assert_eq!(entries.len(), 1);
    let text = entries[0]["text"].as_str().unwrap();
    assert!(
        text.contains("subject pkg:pypi/thing@1.0?file_name=thing-1.0"),
        "{text}"
    );
    user.run(&["log", "show", "1000000"])
        .expect(2, &["no entry 1000000"]);
    user.run(&["log", "show", "thing"])
        .expect(2, &["neither an index nor a purl"]);
    user.run(&["log", "show", "pkg:pypi/nothing@1.0"])
        .expect(4, &["knows no published file"]);
}

#[test]
fn a_log_that_is_rolled_back_or_forked_is_caught_with_its_signature_as_evidence() {
    // The map's commitments would come between the leaves that this counts.
    let mut server = TestServer::start(ServerOptions {
        configuration: "log.map = false\n".to_owned(),
        ..ServerOptions::default()
    })
    .unwrap();
    let token = server.publisher("ada").unwrap();
    publish(&server, &token, "thing");
    server.stop().unwrap();
    let aside = server.data().with_file_name("aside");
    copied(&server.data(), &aside);
    server.serve().unwrap();
    publish(&server, &token, "seen-by-one");
    let user = User::of(&server);
    user.run(&["log", "audit"]).expect(0, &[]);

    server.stop().unwrap();
    fs::remove_dir_all(server.data()).unwrap();
    copied(&aside, &server.data());
    server.serve().unwrap();
    user.run(&["log", "audit"]).expect(
        3,
        &["contradicts itself", "you have seen it with", "kept in"],
    );
    publish(&server, &token, "seen-by-two");
    user.run(&["log", "audit"])
        .expect(3, &["contradicts itself", "two roots", "kept in"]);
    user.run(&["log", "show"]).expect(3, &["two roots"]);
    publish(&server, &token, "seen-by-two-later");
    user.run(&["log", "audit"])
        .expect(3, &["not the continuation", "kept in"]);
    user.run(&["log", "show"])
        .expect(3, &["not the continuation"]);
    let evidence = fs::read_dir(user.path("home/checkpoints"))
        .unwrap()
        .filter(|entry| {
            entry
                .as_ref()
                .unwrap()
                .file_name()
                .to_string_lossy()
                .contains("conflict")
        });
    assert_eq!(evidence.count(), 3);
}

#[test]
fn a_registry_in_the_place_of_another_is_not_believed() {
    let mut server = TestServer::start(ServerOptions::default()).unwrap();
    let user = User::of(&server);
    server.stop().unwrap();
    let data = server.data();
    let configuration = fs::read(data.join("countersign.toml")).unwrap();
    fs::remove_dir_all(&data).unwrap();
    fs::create_dir(&data).unwrap();
    fs::write(data.join("countersign.toml"), configuration).unwrap();
    server.run(&["init"]).unwrap();
    server.serve().unwrap();
    user.run(&["log", "audit"]).expect(3, &["does not verify"]);
    user.run(&["trust", "add", &server.url(), "--yes"])
        .expect(3, &["what an attack looks like"]);
}

#[test]
fn several_who_write_the_same_file_at_once_leave_one_of_them_whole() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("checkpoints/some.note");
    let texts: Vec<Vec<u8>> = (b'a'..=b'h').map(|byte| vec![byte; 20_000]).collect();
    std::thread::scope(|scope| {
        for text in &texts {
            scope.spawn(|| {
                for _ in 0..20 {
                    countersign::trusted::write_whole(&path, text).unwrap();
                    let there = fs::read(&path).unwrap();
                    assert!(texts.contains(&there), "{} bytes", there.len());
                }
            });
        }
    });
    let left = fs::read_dir(path.parent().unwrap()).unwrap().count();
    assert_eq!(left, 1, "something stays beside it");
}
