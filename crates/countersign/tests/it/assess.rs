//! Registries held against the Principles from outside: one of ours, one that lacks what it should have.

use std::fs;

use countersign_testkit::server::{ServerOptions, TestServer};
use serde_json::Value;

use crate::stub::{Answer, Stub};
use crate::user::{Ran, User};

fn json(ran: &Ran) -> Value {
    serde_json::from_str(&ran.out).unwrap()
}

fn result(made: &Value, id: &str) -> String {
    let checks = made["checks"].as_array().unwrap();
    assert_eq!(checks.len(), 39);
    let check = checks.iter().find(|check| check["id"] == id).unwrap();
    check["result"].as_str().unwrap().to_owned()
}

/// A registry of somebody else: a page to sign in without passkeys, a stale security.txt, no feed worth the name.
fn foreign() -> Stub {
    Stub::start(|_, request| {
        let path = request.split(' ').nth(1).unwrap_or_default().to_owned();
        match path.as_str() {
            "/login" => Answer::status(200, "<main>Your password, please</main>"),
            "/.well-known/security.txt" => Answer::status(
                200,
                "Contact: mailto:x@example.org\nExpires: 2020-01-01T00:00:00Z\n",
            ),
            "/osv/" => Answer::status(200, r#"[{"id": "X-1"}]"#),
            "/project/thing" => Answer::status(200, "<a href=\"/report\">Report</a>"),
            _ => Answer::status(404, "nothing"),
        }
    })
}

#[test]
fn a_foreign_registry_fails_what_it_lacks_and_nothing_is_guessed() {
    let stub = foreign();
    let user = User::new();
    let profile = user.path("registry.toml");
    fs::write(
        &profile,
        "name = \"Elsewhere\"\n[places]\nsign_in = \"/login\"\nosv_feed = \"/osv/\"\npackage_page = \"/project/thing\"\n",
    )
    .unwrap();
    let (report, badge) = (user.path("report.md"), user.path("badge.svg"));
    let words = [
        "assess",
        &stub.url(),
        "--profile",
        profile.to_str().unwrap(),
        "--markdown",
        report.to_str().unwrap(),
        "--badge",
        badge.to_str().unwrap(),
        "--json",
        "--roadmap",
    ];
    let ran = user.run(&words).expect(0, &[]);
    let made = json(&ran);
    for (id, expected) in [
        ("AN2.2", "fail"),
        ("GC1.1a", "fail"),
        ("GC3.3", "fail"),
        ("GC2.2a", "pass"),
        ("AN1.1", "unknown"),
        ("CL1.1", "unknown"),
    ] {
        assert_eq!(result(&made, id), expected, "{id}");
    }
    assert_eq!(made["level"], 0);
    assert_eq!(made["tracks"]["GC"]["level"], 0);
    assert!(!made["roadmap"].as_array().unwrap().is_empty());
    let text = fs::read_to_string(&report).unwrap();
    assert!(text.contains("Elsewhere") && text.contains("GC1.1a"));
    assert!(fs::read_to_string(&badge).unwrap().contains("level 0"));
    // It came under its own name, sent nothing but reads, and asked for nothing twice.
    let seen = stub.seen();
    assert!(
        seen.iter()
            .all(|request| request.starts_with("GET ") && request.contains("countersign-assess/"))
    );
    let mut paths: Vec<&str> = seen
        .iter()
        .map(|request| request.split(' ').nth(1).unwrap())
        .collect();
    paths.sort_unstable();
    let asked = paths.len();
    paths.dedup();
    assert_eq!(paths.len(), asked, "{paths:?}");

    // Nothing changed since the same run.
    let before = user.path("before.json");
    fs::write(&before, &ran.out).unwrap();
    let again = user.run(&[&words[..4], &["--since", before.to_str().unwrap()]].concat());
    again.expect(0, &["Nothing changed", "Elsewhere", "level 0 of 3"]);
}

#[test]
fn canaries_are_made_with_consent_only_and_bad_input_is_named() {
    let stub = foreign();
    let user = User::new();
    let url = stub.url();
    user.run(&["assess", &url, "--allow-canary"])
        .expect(2, &["COUNTERSIGN_ASSESS_TOKEN"]);
    assert!(stub.seen().is_empty());
    let token = [("COUNTERSIGN_ASSESS_TOKEN", "a token of sixteen characters")];
    user.run_with(&["assess", &url, "--allow-canary"], &token)
        .expect(4, &["does not consent", "404"]);
    assert!(
        stub.seen()
            .iter()
            .all(|request| request.starts_with("GET "))
    );
    let wrong = user.path("wrong.toml");
    fs::write(&wrong, "[documents.\"AN9.9\"]\nat = \"/x\"\n").unwrap();
    user.run(&["assess", &url, "--profile", wrong.to_str().unwrap()])
        .expect(2, &["AN9.9"]);
    user.run(&["assess", &url, "--since", wrong.to_str().unwrap()])
        .expect(2, &["no assessment"]);
    user.run(&["assess"]).expect(2, &["URL"]);
    user.run(&["assess", "http://127.0.0.1:9"])
        .expect(5, &["can not be reached"]);
    user.run(&["assess", "explain", "an2.1"])
        .expect(0, &["AN2.1", "level 2", "canary"]);
    user.run(&["assess", "explain", "XX"])
        .expect(2, &["\"XX\"", "GC3.3"]);
    let all = json(&user.run(&["--json", "assess", "explain"]).expect(0, &[]));
    assert_eq!(all["checks"].as_array().unwrap().len(), 39);
}

#[test]
fn our_own_registry_shows_its_log_from_outside() {
    let server = TestServer::start(ServerOptions::default()).unwrap();
    let user = User::new();
    let made = json(
        &user
            .run(&["assess", &server.url(), "--json"])
            .expect(0, &[]),
    );
    assert_eq!(result(&made, "GC3.2"), "pass", "{made}");
    assert_eq!(result(&made, "AN1.2"), "pass");
    // It offers passkeys and trusted publishing; that they work takes canaries.
    assert_eq!(result(&made, "AN2.2"), "partial");
    assert_eq!(result(&made, "AZ3.1"), "partial");
    assert_eq!(result(&made, "AN3.3b"), "unknown");
}
