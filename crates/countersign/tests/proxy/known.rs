//! What is known to be bad about what passes: told by the proxy, shown by npm, and refused where the user says so.

use std::process::Command;

use countersign_testkit::clients::Clients;
use countersign_testkit::node::{Node, NodeHome};
use countersign_testkit::packages::Wheel;
use serde_json::{Value, json};

use crate::clients::{Scene, pip, through};

fn record(id: &str, ecosystem: &str, name: &str, score: Option<&str>) -> Value {
    let severity: Vec<Value> = score
        .map(|score| json!({"type": "CVSS_V3", "score": score}))
        .into_iter()
        .collect();
    json!({
        "id": id, "modified": "2026-01-01T00:00:00Z", "summary": format!("{name} reads too far"), "severity": severity,
        "affected": [{"package": {"ecosystem": ecosystem, "name": name},
            "ranges": [{"type": if ecosystem == "npm" { "SEMVER" } else { "ECOSYSTEM" }, "events": [{"introduced": "0"}, {"fixed": "1.0.1"}]}]}],
    })
}

const HIGH: &str = "CVSS:3.1/AV:N/AC:L/PR:N/UI:N/S:U/C:H/I:N/A:N";

#[test]
fn what_passes_is_looked_up_and_unmodified_clients_are_told() {
    let scene = Scene::new();
    scene.publish(Wheel::new("thing", "1.0.1"));
    let clients = Clients::get().unwrap();
    let target = |name: &str| scene.user.path(name);
    // The registry's own feed, without a word from the user.
    let issue = [
        "advisories",
        "issue",
        "pypi:thing",
        "--summary",
        "Reads too far",
        "--affected",
        "1.0",
    ];
    let id = String::from_utf8(scene.server.run(&issue).unwrap().stdout).unwrap();
    scene.server.rest().unwrap();
    let told = format!(
        "thing 1.0 is known to be bad (unrated, {}): Reads too far",
        id.trim()
    );
    let ran = through(
        &scene.user,
        &[],
        &pip(&clients, &target("pip"), "thing==1.0"),
    );
    let passed_on = "1 known vulnerability was passed on";
    let ran = ran.expect(0, &["Successfully installed thing-1.0", &told, passed_on]);
    assert_eq!(ran.err.matches(id.trim()).count(), 1, "{ran:#?}");
    let ran = through(
        &scene.user,
        &[],
        &pip(&clients, &target("pip-2"), "thing==1.0.1"),
    );
    let ran = ran.expect(0, &["Successfully installed"]);
    assert!(!ran.err.contains("known"), "{ran:#?}");

    // A database of others.
    let feed = scene.user.path("feed.json");
    let records = json!([
        record("PYSEC-2026-7", "PyPI", "thing", Some(HIGH)),
        record("GHSA-aaaa-bbbb-cccc", "npm", "left", None),
    ]);
    std::fs::write(&feed, records.to_string()).unwrap();
    let told = "thing 1.0 is known to be bad (high 7.5, PYSEC-2026-7, fixed in 1.0.1)";
    // Refused, with the reason in pip's own words; not below the grade, and not what is passed over.
    let refuse = |grade: &'static str, more: &[&'static str], wanted: &str, name: &str| {
        let feed = feed.to_str().unwrap();
        let options = [&["--refuse-known", grade, "--advisories", feed][..], more].concat();
        through(&scene.user, &options, &pip(&clients, &target(name), wanted))
    };
    let ran = refuse("high", &[], "thing==1.0", "pip-3");
    assert_ne!(ran.code, 0, "{ran:#?}");
    let said: Vec<&str> = ran
        .err
        .lines()
        .chain(ran.out.lines())
        .filter(|line| {
            !line.starts_with("countersign proxy: ") && line.contains("known-vulnerable")
        })
        .collect();
    assert!(!said.is_empty(), "{ran:#?}");
    assert!(!target("pip-3").exists());
    refuse("critical", &[], "thing==1.0", "pip-4").expect(0, &["Successfully installed", told]);
    let passed = ["--ignore", "PYSEC-2026-7:not used:2999-01-01"];
    refuse("any", &passed, "thing==1.0", "pip-5").expect(0, &["Successfully installed"]);
    refuse("any", &[], "thing==1.0.1", "pip-6").expect(0, &["Successfully installed"]);
    // Where it can not be looked up, nothing is let through; told alone it does not stop anybody.
    let nowhere = ["--advisories", "nowhere.json"];
    let ran = refuse("any", &nowhere, "thing==1.0.1", "pip-7");
    assert_ne!(ran.code, 0, "{ran:#?}");
    through(
        &scene.user,
        &nowhere,
        &pip(&clients, &target("pip-8"), "thing==1.0"),
    )
    .expect(0, &["Successfully installed", "nothing is looked up"]);

    // npm shows it itself.
    let site = format!("{}/npm/", scene.server.url());
    let home = NodeHome::new(&site, Some(&scene.token)).unwrap();
    let package = home.folder("left").unwrap();
    let manifest = json!({"name": "left", "version": "1.0.0", "license": "MIT"});
    std::fs::write(package.join("package.json"), manifest.to_string()).unwrap();
    home.done(Node::Npm, &package, &["publish"]).unwrap();
    home.set_token(None).unwrap();
    let app = home.folder("app").unwrap();
    let manifest = "{\"name\":\"app\",\"version\":\"1.0.0\"}";
    std::fs::write(app.join("package.json"), manifest).unwrap();
    let npm = |cache: &str| home.command(Node::Npm, &app, &["install", "left", "--cache", cache]);
    let ran = through(
        &scene.user,
        &["--advisories", feed.to_str().unwrap()],
        &npm("one"),
    )
    .expect(0, &["added 1 package"]);
    let shown = "left 1.0.0 is known to be bad (unrated, GHSA-aaaa-bbbb-cccc, fixed in 1.0.1)";
    let notices: Vec<&str> = ran
        .err
        .lines()
        .filter(|line| line.starts_with("npm notice") && line.contains(shown))
        .collect();
    assert_eq!(notices.len(), 1, "{ran:#?}");
    std::fs::remove_dir_all(app.join("node_modules")).unwrap();
    let options = [
        "--refuse-known",
        "low",
        "--advisories",
        feed.to_str().unwrap(),
    ];
    let refused = |inner: &Command| through(&scene.user, &options, inner);
    let ran = refused(&npm("two"));
    assert_ne!(ran.code, 0, "{ran:#?}");
    assert!(
        ran.err.contains("npm error") && ran.err.contains("known-vulnerable"),
        "{ran:#?}"
    );
}
