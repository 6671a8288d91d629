//! npm and pip-audit, unmodified, see the advisories that the registry serves.

use std::process::Output;

use countersign_testkit::cargo::Cargo;
use countersign_testkit::clients::{Clients, both_outputs};
use countersign_testkit::http;
use countersign_testkit::node::{Node, NodeHome};
use countersign_testkit::packages::Wheel;
use countersign_testkit::schema;
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
    // pnpm 11 and newer takes an advisory for none if its number is a text.
    let bulk = || {
        let answer = http::request(
            "POST",
            &format!("{}/npm/-/npm/v1/security/advisories/bulk", server.url()),
            &[("Content-Type", "application/json")],
            br#"{"left": ["1.0.0"]}"#,
        );
        let told: Value = answer.unwrap().expect_status(200).unwrap().json().unwrap();
        told["left"][0]["id"].as_u64().unwrap()
    };
    assert!(bulk() < 1 << 48 && bulk() == bulk());
    // The older question, with the tree of a lock file.
    let tree = json!({
        "name": "app", "version": "1.0.0", "requires": {"left": "1.0.0"},
        "dependencies": {"mid": {"version": "3.0.0", "dependencies": {"left": {"version": "1.0.0", "dev": true}}}},
    });
    for path in ["audits/quick", "audits"] {
        let answer = http::request(
            "POST",
            &format!("{}/npm/-/npm/v1/security/{path}", server.url()),
            &[("Content-Type", "application/json")],
            tree.to_string().as_bytes(),
        );
        let told: Value = answer.unwrap().expect_status(200).unwrap().json().unwrap();
        let one = &told["advisories"]["GHSA-aaaa-bbbb-cccc"];
        assert_eq!(
            (
                &one["module_name"],
                &one["severity"],
                &one["patched_versions"]
            ),
            (&json!("left"), &json!("critical"), &json!(">=1.0.1")),
            "{told}"
        );
        assert_eq!(one["findings"][0]["paths"], json!(["mid>left"]));
        assert_eq!(told["metadata"]["vulnerabilities"]["critical"], 1);
        assert_eq!(told["metadata"]["totalDependencies"], 2);
        assert_eq!(told["actions"][0]["resolves"][0]["path"], "mid>left");
    }

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
    let told = of_json();
    let ids: Vec<&str> = told
        .as_array()
        .unwrap()
        .iter()
        .filter_map(|one| one["id"].as_str())
        .collect();
    assert_eq!(ids, ["PYSEC-2026-7", id.as_str()]);
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
    assert_eq!(schema::osv().faults(schema::OSV, &record), [""; 0]);
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

/// Asks until the answer is this one: what another process changed is seen within a moment.
fn until(server: &TestServer, path: &str, status: u16) {
    for _ in 0..600 {
        if server.get(path).unwrap().status == status {
            return;
        }
        std::thread::sleep(std::time::Duration::from_millis(50));
    }
    panic!("{path} is never answered with {status}");
}

#[test]
fn what_is_blocked_is_refused_in_the_words_of_pip_npm_and_cargo_until_it_is_exempt() {
    let server = TestServer::start(ServerOptions {
        configuration: "advisories.block = \"malware\"\nadvisories.keep_downloaders = \"30d\"\n"
            .to_owned(),
        ..ServerOptions::default()
    })
    .unwrap();
    let token = server.publisher("ada").unwrap();
    let wheel = Wheel::new("shaky", "1.0").build();
    server.publish(&wheel, &token).unwrap();
    let token_npm = server.token("ada", &["--action", "manage"]).unwrap();
    let home = NodeHome::new(&format!("{}/npm/", server.url()), Some(&token_npm)).unwrap();
    let package = home.folder("left").unwrap();
    let manifest = json!({"name": "left", "version": "1.0.0", "license": "MIT"});
    std::fs::write(package.join("package.json"), manifest.to_string()).unwrap();
    let output = home.run(Node::Npm, &package, &["publish"]).unwrap();
    assert!(output.status.success(), "{}", both_outputs(&output));
    let cargo = Cargo::at(&server.url()).unwrap().with_token(&token);
    let leaf = cargo
        .package("leaf", "0.3.1", "", "pub fn leaf() {}\n")
        .unwrap();
    let output = cargo.publish(&leaf, &[]).unwrap();
    assert!(output.status.success(), "{}", both_outputs(&output));

    let clients = Clients::get().unwrap();
    let app = home.folder("app").unwrap();
    let manifest = json!({"name": "app", "version": "1.0.0", "private": true, "dependencies": {"left": "1.0.0"}});
    std::fs::write(app.join("package.json"), manifest.to_string()).unwrap();
    let dependency = "[dependencies]\nleaf = { version = \"0.3\", registry = \"countersign\" }";
    let program = cargo.package("program", "0.0.0", dependency, "").unwrap();
    let target = tempfile::tempdir().unwrap();
    let pip = || {
        clients
            .pip_install(
                &server.simple_url(),
                &["shaky"],
                target.path(),
                &["--no-deps"],
            )
            .unwrap()
    };
    let npm = || {
        drop(std::fs::remove_dir_all(app.join("node_modules")));
        home.run(
            Node::Npm,
            &app,
            &[
                "install",
                "--no-audit",
                "--prefer-online",
                "--cache",
                "fresh",
            ],
        )
        .unwrap()
    };
    let fetch = || {
        cargo.forget().unwrap();
        cargo.run(&program, &["fetch"]).unwrap()
    };
    let good = |output: &Output| assert!(output.status.success(), "{}", both_outputs(output));
    // Served before, so that it lies in memory; npm, with its token, is remembered for it.
    good(&npm());
    drop(std::fs::remove_dir_all(app.join("fresh")));

    let issue = |project: &str| {
        let said = server
            .run(&[
                "advisories",
                "issue",
                project,
                "--summary",
                "It sends keys away",
                "--malware",
            ])
            .unwrap();
        String::from_utf8(said.stdout).unwrap().trim().to_owned()
    };
    let ids = [issue("pypi:shaky"), issue("npm:left"), issue("cargo:leaf")];
    let place = format!("/files/{}/{}", wheel.sha256(), wheel.filename);
    until(&server, &place, 403);
    until(&server, "/npm/left/-/left-1.0.0.tgz", 403);
    until(&server, "/cargo/api/v1/crates/leaf/0.3.1/download", 403);
    // pip shows nothing of an answer but its status; who looks at the address that it names reads the rest.
    let said = both_outputs(&pip());
    assert!(said.contains("403 Client Error"), "{said}");
    let told = String::from_utf8(server.get(&place).unwrap().body).unwrap();
    assert!(
        told.contains("It sends keys away") && told.contains(&ids[0]),
        "{told}"
    );
    for (output, id) in [npm(), fetch()].iter().zip(&ids[1..]) {
        let said = both_outputs(output);
        assert!(
            !output.status.success() && said.contains("It sends keys away") && said.contains(id),
            "{said}"
        );
    }
    // Whom it concerns: first whom it would tell, then told, once.
    let warn = |more: &[&str]| -> Value {
        let said = server
            .run(&[&["advisories", "warn", &ids[1], "--json"][..], more].concat())
            .unwrap();
        serde_json::from_slice(&said.stdout).unwrap()
    };
    let mut found = warn(&[]);
    for _ in 0..600 {
        if found["accounts"] == json!(["ada"]) {
            break;
        }
        std::thread::sleep(std::time::Duration::from_millis(50));
        found = warn(&[]);
    }
    assert_eq!(found["accounts"], json!(["ada"]), "{found}");
    assert_eq!(warn(&["--apply"])["accounts"], json!(["ada"]));
    assert_eq!(warn(&["--apply"])["told_before"], 1);

    for (project, id) in ["pypi:shaky", "npm:left", "cargo:leaf"].iter().zip(&ids) {
        let arguments = [
            "advisories",
            "exempt",
            project,
            "--advisory",
            id,
            "--reason",
            "looked at: it does not",
        ];
        server.run(&arguments).unwrap();
    }
    until(&server, &place, 200);
    until(&server, "/npm/left/-/left-1.0.0.tgz", 200);
    until(&server, "/cargo/api/v1/crates/leaf/0.3.1/download", 200);
    for output in [pip(), npm(), fetch()] {
        good(&output);
    }
}
