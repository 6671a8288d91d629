//! npm and pip-audit, unmodified, see the advisories that the registry serves.

use countersign_testkit::clients::{Clients, both_outputs};
use countersign_testkit::http;
use countersign_testkit::node::{Node, NodeHome};
use countersign_testkit::packages::Wheel;
use countersign_testkit::server::{ServerOptions, TestServer};
use serde_json::{Value, json};

#[test]
fn npm_audit_and_pip_audit_warn_of_what_was_imported_and_issued() {
    let server = TestServer::start(ServerOptions::default()).unwrap();
    let token = server.publisher("ada").unwrap();
    let folder = tempfile::tempdir().unwrap();
    let feed = folder.path().join("all.json");
    let records = json!([
        {"id": "PYSEC-2026-7", "modified": "2026-01-01T00:00:00Z", "summary": "Reads too far",
         "affected": [{"package": {"ecosystem": "PyPI", "name": "shaky"},
            "ranges": [{"type": "ECOSYSTEM", "events": [{"introduced": "0"}, {"fixed": "1.1"}]}]}]},
        {"id": "GHSA-aaaa-bbbb-cccc", "modified": "2026-01-01T00:00:00Z", "summary": "Prototype pollution",
         "severity": [{"type": "CVSS_V3", "score": "CVSS:3.1/AV:N/AC:L/PR:N/UI:N/S:U/C:H/I:H/A:H"}],
         "affected": [{"package": {"ecosystem": "npm", "name": "left"},
            "ranges": [{"type": "SEMVER", "events": [{"introduced": "0"}, {"fixed": "1.0.1"}]}]}]},
    ]);
    std::fs::write(&feed, records.to_string()).unwrap();
    let said = server
        .run(&["advisories", "import", feed.to_str().unwrap(), "--json"])
        .unwrap();
    let said: Value = serde_json::from_slice(&said.stdout).unwrap();
    assert_eq!((&said["written"], &said["refused"]), (&json!(2), &json!(0)));

    // npm.
    let token_npm = server.token("ada", &["--action", "manage"]).unwrap();
    let home = NodeHome::new(&format!("{}/npm/", server.url()), Some(&token_npm)).unwrap();
    for version in ["1.0.0", "1.0.1"] {
        let package = home.folder(&format!("left-{version}")).unwrap();
        let manifest = json!({"name": "left", "version": version, "license": "MIT"});
        std::fs::write(package.join("package.json"), manifest.to_string()).unwrap();
        let output = home.run(Node::Npm, &package, &["publish"]).unwrap();
        assert!(output.status.success(), "{}", both_outputs(&output));
    }
    let app = home.folder("app").unwrap();
    let audit = |version: &str| {
        let manifest = json!({"name": "app", "version": "1.0.0", "private": true, "dependencies": {"left": version}});
        std::fs::write(app.join("package.json"), manifest.to_string()).unwrap();
        let installed = home
            .run(Node::Npm, &app, &["install", "--no-audit"])
            .unwrap();
        assert!(installed.status.success(), "{}", both_outputs(&installed));
        let output = home.run(Node::Npm, &app, &["audit"]).unwrap();
        (output.status.success(), both_outputs(&output))
    };
    let (good, said) = audit("1.0.0");
    assert!(!good, "{said}");
    for wanted in ["left", "Prototype pollution", "critical", "left@1.0.1"] {
        assert!(said.contains(wanted), "{wanted}: {said}");
    }
    let (good, said) = audit("1.0.1");
    assert!(good && said.contains("found 0 vulnerabilities"), "{said}");

    // pip-audit asks OSV's question of any address; the address of its other source is fixed in it.
    let wheel = Wheel::new("shaky", "1.0").build();
    server.publish(&wheel, &token).unwrap();
    let clients = Clients::get().unwrap();
    let requirements = folder.path().join("requirements.txt");
    let url = format!("{}/osv/v1/query", server.url());
    let audit = |version: &str| {
        std::fs::write(&requirements, format!("shaky=={version}\n")).unwrap();
        let output = clients
            .command("pip-audit")
            .args(["--no-deps", "--disable-pip", "--progress-spinner", "off"])
            .args(["--vulnerability-service", "osv", "--osv-url", &url])
            .arg("--requirement")
            .arg(&requirements)
            .output()
            .unwrap();
        (output.status.success(), both_outputs(&output))
    };
    let (good, said) = audit("1.0");
    assert!(
        !good && said.contains("PYSEC-2026-7") && said.contains("1.1"),
        "{said}"
    );
    let (good, said) = audit("1.1");
    assert!(good && said.contains("No known vulnerabilities"), "{said}");
    let of_json = || {
        let answer = server.get("/pypi/pypi/shaky/1.0/json").unwrap();
        let answer: Value = answer.expect_status(200).unwrap().json().unwrap();
        answer["vulnerabilities"].clone()
    };
    assert_eq!(of_json()[0]["id"], "PYSEC-2026-7");
    assert_eq!(of_json()[0]["fixed_in"], json!(["1.1"]));

    // Our own word: seen by the server that runs, on its page, in its interface and in its feed.
    let said = server
        .run(&[
            "advisories",
            "issue",
            "pypi:shaky",
            "--summary",
            "Sends <b>keys</b> away",
            "--malware",
        ])
        .unwrap();
    let id = String::from_utf8(said.stdout).unwrap().trim().to_owned();
    assert_eq!(of_json()[0]["id"], id.as_str());
    let page = server.get("/project/pypi/shaky/1.0/").unwrap();
    let page = String::from_utf8(page.body).unwrap();
    assert!(
        page.contains(&id) && page.contains("malware") && !page.contains("<b>keys"),
        "{page}"
    );
    let asked = json!({"purls": ["pkg:pypi/shaky@1.0", "pkg:pypi/steady@1.0"]}).to_string();
    let answer = http::request(
        "POST",
        &format!("{}/api/v1/advisories/query", server.url()),
        &[("Content-Type", "application/json")],
        asked.as_bytes(),
    );
    let answer: Value = answer.unwrap().expect_status(200).unwrap().json().unwrap();
    assert_eq!(answer["results"][0]["advisories"][0]["id"], id.as_str());
    assert_eq!(answer["results"][1]["advisories"], json!([]));
    let record = server.get(&format!("/osv/{id}.json")).unwrap();
    let record: Value = record.expect_status(200).unwrap().json().unwrap();
    assert_eq!(record["affected"][0]["package"]["name"], "shaky");
    let list = server.get("/osv/modified_id.csv").unwrap();
    assert!(
        String::from_utf8(list.body)
            .unwrap()
            .ends_with(&format!(",{id}\n"))
    );
    // Another registry can import it.
    let zip = server.get("/osv/all.zip").unwrap();
    let other = TestServer::init(ServerOptions::default()).unwrap();
    let path = folder.path().join("own.zip");
    std::fs::write(&path, zip.body).unwrap();
    let said = other
        .run(&[
            "advisories",
            "import",
            path.to_str().unwrap(),
            "--feed",
            "neighbour",
            "--json",
        ])
        .unwrap();
    let said: Value = serde_json::from_slice(&said.stdout).unwrap();
    assert_eq!(said["written"], 1);
    let health = server.get("/healthz").unwrap();
    let health: Value = health.json().unwrap();
    assert_eq!(health["advisories"][0]["feed"], "osv");
}
