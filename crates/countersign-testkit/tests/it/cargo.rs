//! The unmodified cargo against the registry: it publishes, resolves, yanks, changes owners, logs in, and says in its
//! own words what was refused.

use std::path::Path;
use std::process::Output;

use countersign_testkit::cargo::Cargo;
use countersign_testkit::clients::both_outputs;
use countersign_testkit::http::{self, Response};
use countersign_testkit::packages::tar::{TarArchive, TarHeader};
use countersign_testkit::packages::{Crate, framed};
use countersign_testkit::runner::Runner;
use countersign_testkit::server::{ServerOptions, TestServer};
use serde_json::{Value, json};

use crate::trusted::Stage;

fn server() -> TestServer {
    TestServer::start(ServerOptions::default()).unwrap()
}

fn succeeded(output: &Output) -> String {
    let said = both_outputs(output);
    assert!(output.status.success(), "{said}");
    said
}

fn refused(output: &Output) -> String {
    let said = both_outputs(output);
    assert!(!output.status.success(), "{said}");
    said
}

fn holds(said: &str, what: &[&str]) {
    for text in what {
        assert!(said.contains(text), "{text:?} is missing in\n{said}");
    }
}

/// Sends a body where cargo sends its own.
fn put(server: &TestServer, token: &str, body: &[u8]) -> Response {
    let url = format!("{}/cargo/api/v1/crates/new", server.url());
    http::request("PUT", &url, &[("Authorization", token)], body).unwrap()
}

fn index(server: &TestServer, path: &str) -> Vec<Value> {
    let answer = server.get(&format!("/cargo/index/{path}")).unwrap();
    let text = answer.expect_status(200).unwrap().text();
    text.lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect()
}

const LEAF: &str =
    "pub fn leaf() -> u32 { 7 }\n\n#[cfg(feature = \"extra\")]\npub fn extra() -> u32 { 70 }\n";

#[test]
fn crates_that_depend_on_each_other_are_published_added_and_built() {
    let server = server();
    let token = server.publisher("ada").unwrap();
    let cargo = Cargo::at(&server.url()).unwrap().with_token(&token);
    let leaf = cargo
        .package(
            "leaf",
            "0.3.1",
            "rust-version = \"1.70\"\n[features]\ndefault = []\nextra = []",
            LEAF,
        )
        .unwrap();
    let said = succeeded(&cargo.publish(&leaf, &[]).unwrap());
    // cargo waits until the index has it, and says so.
    holds(&said, &["Published leaf v0.3.1 at registry `countersign`"]);

    let branch = cargo
        .package(
            "branch",
            "1.0.0",
            "[dependencies]\nrenamed = { package = \"leaf\", version = \"0.3\", registry = \"countersign\" }\n\
             [features]\nmore = [\"renamed/extra\"]\nhard = [\"dep:opt\"]\n\
             [dependencies.opt]\npackage = \"leaf\"\nversion = \"0.3.1\"\nregistry = \"countersign\"\noptional = true",
            "pub fn branch() -> u32 { renamed::leaf() + 1 }\n",
        )
        .unwrap();
    succeeded(&cargo.publish(&branch, &[]).unwrap());
    let entry = &index(&server, "br/an/branch")[0];
    assert_eq!(entry["vers"], "1.0.0");
    assert_eq!(entry["v"], 2, "{entry}");
    assert_eq!(entry["features2"], json!({"hard": ["dep:opt"]}), "{entry}");
    for dependency in entry["deps"].as_array().unwrap() {
        // Of this same registry, which the index says by saying nothing.
        assert!(
            dependency.get("registry").is_none_or(Value::is_null),
            "{dependency}"
        );
        assert_eq!(dependency["package"], "leaf");
    }
    assert_eq!(index(&server, "le/af/leaf")[0]["rust_version"], "1.70");
    assert!(entry["pubtime"].as_str().unwrap().ends_with('Z'), "{entry}");

    // Somebody else, who reads without a token.
    let other = Cargo::at(&server.url()).unwrap();
    let program = other
        .package(
            "program",
            "0.0.0",
            "",
            "pub fn all() -> u32 { branch::branch() }\n",
        )
        .unwrap();
    let added = succeeded(
        &other
            .run(
                &program,
                &[
                    "add",
                    "branch",
                    "--registry",
                    "countersign",
                    "--features",
                    "more",
                ],
            )
            .unwrap(),
    );
    holds(&added, &["branch v1.0.0"]);
    succeeded(&other.run(&program, &["build"]).unwrap());
    let lock = std::fs::read_to_string(program.join("Cargo.lock")).unwrap();
    let source = format!("sparse+{}/cargo/index/", server.url());
    assert_eq!(lock.matches(&source).count(), 2, "{lock}");
    assert_eq!(lock.matches("checksum = ").count(), 2, "{lock}");

    // By the lock file alone, with nothing kept.
    other.forget().unwrap();
    succeeded(&other.run(&program, &["fetch", "--locked"]).unwrap());
    succeeded(
        &other
            .run(&program, &["build", "--locked", "--offline"])
            .unwrap(),
    );
    let info = succeeded(
        &other
            .run(&program, &["info", "leaf", "--registry", "countersign"])
            .unwrap(),
    );
    holds(&info, &["leaf", "0.3.1", "rust-version: 1.70", "MIT"]);
}

#[test]
fn what_is_no_longer_the_same_file_is_not_built() {
    let server = server();
    let token = server.publisher("ada").unwrap();
    put(&server, &token, &Crate::new("leaf", "1.0.0").body())
        .expect_status(200)
        .unwrap();
    let cargo = Cargo::at(&server.url()).unwrap();
    let program = cargo.package("program", "0.0.0", "", "").unwrap();
    let add = ["add", "leaf", "--registry", "countersign"];
    succeeded(&cargo.run(&program, &add).unwrap());
    succeeded(&cargo.run(&program, &["fetch"]).unwrap());
    let lock = program.join("Cargo.lock");
    let text = std::fs::read_to_string(&lock).unwrap();
    let digest = text.split("checksum = \"").nth(1).unwrap()[..64].to_owned();
    std::fs::write(&lock, text.replace(&digest, &"0".repeat(64))).unwrap();
    cargo.forget().unwrap();
    let said = refused(&cargo.run(&program, &["fetch", "--locked"]).unwrap());
    holds(
        &said,
        &["checksum for `leaf v1.0.0 (registry `countersign`)` changed between lock files"],
    );
}

#[test]
fn a_yanked_version_is_built_from_a_lock_file_and_not_chosen_anew() {
    let server = server();
    server.user("ada").unwrap();
    let token = server.token("ada", &["--action", "manage"]).unwrap();
    let cargo = Cargo::at(&server.url()).unwrap().with_token(&token);
    for version in ["1.0.0", "1.0.1"] {
        let leaf = cargo.package("leaf", version, "", LEAF).unwrap();
        succeeded(&cargo.publish(&leaf, &[]).unwrap());
    }
    let program = cargo.package("program", "0.0.0", "", "").unwrap();
    let add = ["add", "leaf@=1.0.1", "--registry", "countersign"];
    succeeded(&cargo.run(&program, &add).unwrap());
    succeeded(&cargo.run(&program, &["generate-lockfile"]).unwrap());
    let yank = ["yank", "leaf@1.0.1", "--registry", "countersign"];
    holds(
        &succeeded(&cargo.run(&program, &yank).unwrap()),
        &["Yank leaf@1.0.1"],
    );
    assert_eq!(index(&server, "le/af/leaf")[1]["yanked"], true);

    cargo.forget().unwrap();
    succeeded(&cargo.run(&program, &["build", "--locked"]).unwrap());
    std::fs::remove_file(program.join("Cargo.lock")).unwrap();
    let said = refused(&cargo.run(&program, &["generate-lockfile"]).unwrap());
    holds(&said, &["yanked"]);

    let undo = ["yank", "--undo", "leaf@1.0.1", "--registry", "countersign"];
    succeeded(&cargo.run(&program, &undo).unwrap());
    succeeded(&cargo.run(&program, &["generate-lockfile"]).unwrap());
    let unknown = ["yank", "leaf@9.9.9", "--registry", "countersign"];
    let said = refused(&cargo.run(&program, &unknown).unwrap());
    holds(
        &said,
        &[
            "404",
            "There is no version 9.9.9 of leaf here",
            "/help/errors#release-unknown",
        ],
    );
}

#[test]
fn people_and_teams_come_and_go_as_owners() {
    let server = server();
    for name in ["ada", "bob"] {
        server.user(name).unwrap();
    }
    let token = server.token("ada", &["--action", "manage"]).unwrap();
    put(&server, &token, &Crate::new("leaf", "1.0.0").body())
        .expect_status(200)
        .unwrap();
    let cargo = Cargo::at(&server.url()).unwrap().with_token(&token);
    let owner = |more: &[&str]| {
        let arguments = [&["owner", "--registry", "countersign"], more, &["leaf"]].concat();
        cargo.run(cargo.folder(), &arguments).unwrap()
    };
    let list = || succeeded(&owner(&["--list"]));
    let alone = owner(&["--list"]).stdout;
    assert_eq!(String::from_utf8_lossy(&alone).trim_end(), "ada");
    let said = succeeded(&owner(&["--add", "bob"]));
    holds(&said, &["bob owns leaf now"]);
    holds(&list(), &["ada", "bob"]);
    succeeded(&owner(&["--remove", "bob"]));
    assert!(!list().contains("bob"));

    let said = refused(&owner(&["--add", "nobody"]));
    holds(&said, &["nobody", "/help/errors#user-unknown"]);
    let said = refused(&owner(&["--remove", "ada"]));
    holds(&said, &["last owner"]);
    let said = refused(&owner(&["--add", "github:acme:release"]));
    holds(&said, &["elsewhere", "ORGANISATION:TEAM"]);
    let said = refused(&owner(&["--add", "acme:release"]));
    holds(&said, &["No organisation owns leaf"]);
    // What was done before the refusal is told.
    let said = refused(&owner(&["--add", "bob", "--add", "nobody"]));
    holds(&said, &["bob owns leaf now", "nobody"]);

    let publishes = server.token("bob", &[]).unwrap();
    let bob = Cargo::at(&server.url()).unwrap().with_token(&publishes);
    let arguments = [
        "owner",
        "--registry",
        "countersign",
        "--remove",
        "ada",
        "leaf",
    ];
    let said = refused(&bob.run(bob.folder(), &arguments).unwrap());
    holds(&said, &["403", "This token may only publish"]);
}

#[test]
fn a_search_finds_crates_and_nothing_else() {
    let server = server();
    let token = server.publisher("ada").unwrap();
    for (name, version) in [
        ("leaf", "1.0.0"),
        ("leaflet", "2.0.0-rc.1"),
        ("root", "1.0.0"),
    ] {
        put(&server, &token, &Crate::new(name, version).body())
            .expect_status(200)
            .unwrap();
    }
    let wheel = countersign_testkit::packages::Wheel::new("leaf-of-python", "1.0").build();
    server
        .publish(&wheel, &token)
        .unwrap()
        .expect_status(200)
        .unwrap();
    let cargo = Cargo::at(&server.url()).unwrap();
    let search = [
        "search",
        "--registry",
        "countersign",
        "leaf",
        "--limit",
        "5",
    ];
    let said = succeeded(&cargo.run(cargo.folder(), &search).unwrap());
    holds(
        &said,
        &["leaf = \"1.0.0\"", "leaflet = \"2.0.0-rc.1\"", "A crate"],
    );
    assert!(!said.contains("python") && !said.contains("root"), "{said}");
    let one = [
        "search",
        "--registry",
        "countersign",
        "leaf",
        "--limit",
        "1",
    ];
    let said = succeeded(&cargo.run(cargo.folder(), &one).unwrap());
    holds(&said, &["leaf = \"1.0.0\"", "1 crates more"]);
}

#[test]
fn a_restricted_registry_asks_cargo_to_log_in_and_its_tokens_read_what_they_need() {
    let server = TestServer::start(ServerOptions {
        configuration: "visibility = \"restricted\"\n".to_owned(),
        ..ServerOptions::default()
    })
    .unwrap();
    server.user("ada").unwrap();
    let token = server.token("ada", &[]).unwrap();
    put(&server, &token, &Crate::new("leaf", "1.0.0").body())
        .expect_status(200)
        .unwrap();

    let cargo = Cargo::at(&server.url()).unwrap();
    let program = cargo.package("program", "0.0.0", "", "").unwrap();
    let add = ["add", "leaf", "--registry", "countersign"];
    let said = refused(&cargo.run(&program, &add).unwrap());
    let page = format!("{}/cargo/me", server.url());
    holds(&said, &["cargo login --registry countersign"]);
    let login = ["login", "--registry", "countersign"];
    // cargo says where tokens are to be had, unless one is handed to it at once.
    let said = refused(&cargo.run_with_input(&program, &login, "").unwrap());
    holds(&said, &[&page]);
    let said = succeeded(
        &cargo
            .run_with_input(&program, &login, &format!("{token}\n"))
            .unwrap(),
    );
    holds(&said, &["Login token for `countersign` saved"]);
    assert!(cargo.credentials().contains(&token));
    succeeded(&cargo.run(&program, &add).unwrap());
    succeeded(&cargo.run(&program, &["fetch"]).unwrap());
    let logout = ["logout", "--registry", "countersign"];
    succeeded(&cargo.run(&program, &logout).unwrap());
    assert!(!cargo.credentials().contains(&token));
    let said = refused(&cargo.run(&program, &["update"]).unwrap());
    holds(&said, &["cargo login"]);

    // A token for one crate reads what cargo reads to publish it, and nothing else of the instance.
    let narrow = server
        .token("ada", &["--ecosystem", "cargo", "--project", "branch"])
        .unwrap();
    let narrow_cargo = Cargo::at(&server.url()).unwrap().with_token(&narrow);
    let branch = narrow_cargo
        .package(
            "branch",
            "1.0.0",
            "[dependencies]\nleaf = { version = \"1\", registry = \"countersign\" }",
            "pub use leaf::version;\n",
        )
        .unwrap();
    succeeded(&narrow_cargo.publish(&branch, &[]).unwrap());
    let ask = |path: &str, token: &str| {
        let url = format!("{}{path}", server.url());
        http::request("GET", &url, &[("Authorization", token)], b"")
            .unwrap()
            .status
    };
    assert_eq!(ask("/cargo/index/le/af/leaf", &narrow), 200);
    assert_eq!(
        ask("/cargo/api/v1/crates/leaf/1.0.0/download", &narrow),
        200
    );
    for path in [
        "/cargo/api/v1/crates?q=leaf",
        "/cargo/api/v1/crates/leaf/owners",
        "/pypi/simple/",
        "/api/v1/search?q=leaf",
        "/",
    ] {
        assert_eq!(ask(path, &narrow), 403, "{path}");
    }
    // One of another ecosystem reads nothing of Cargo's.
    let python = server.token("ada", &["--project", "thing"]).unwrap();
    assert_eq!(ask("/cargo/index/le/af/leaf", &python), 403);
    assert_eq!(ask("/cargo/index/le/af/leaf", "csgn_u_wrong"), 401);
    assert_eq!(ask("/cargo/index/config.json", ""), 401);
}

#[test]
fn cargo_prints_why_the_registry_refused() {
    let server = server();
    let token = server.publisher("ada").unwrap();
    let cargo = Cargo::at(&server.url()).unwrap().with_token(&token);
    let leaf = cargo.package("leaf", "1.0.0", "", LEAF).unwrap();
    succeeded(&cargo.publish(&leaf, &[]).unwrap());
    let said = refused(&cargo.publish(&leaf, &[]).unwrap());
    holds(
        &said,
        &["crate leaf@1.0.0 already exists on `countersign` index"],
    );

    // What only the registry can know.
    server.user("bob").unwrap();
    let stranger = server.token("bob", &[]).unwrap();
    let bob = Cargo::at(&server.url()).unwrap().with_token(&stranger);
    let taken = bob.package("leaf", "2.0.0", "", LEAF).unwrap();
    let said = refused(&bob.publish(&taken, &[]).unwrap());
    holds(
        &said,
        &[
            "status 403",
            "bob may not publish",
            "/help/errors#role-missing",
        ],
    );
    let alike = bob.package("Leaf", "1.0.0", "", LEAF).unwrap();
    refused(&bob.publish(&alike, &[]).unwrap());
    let spelled = cargo.package("LEAF", "3.0.0", "", LEAF).unwrap();
    let said = refused(&cargo.publish(&spelled, &[]).unwrap());
    holds(
        &said,
        &["status 400", "The crate is named", "name-spelling"],
    );

    for bad in [
        "csgn_u_0000000000000000000000000000000000000000000000000",
        "nonsense",
    ] {
        let wrong = Cargo::at(&server.url()).unwrap().with_token(bad);
        let other = wrong.package("other", "1.0.0", "", LEAF).unwrap();
        let said = refused(&wrong.publish(&other, &[]).unwrap());
        holds(&said, &["401", "/help/errors#token-"]);
        assert!(
            !said.contains(&bad[7.min(bad.len())..]) || bad == "nonsense",
            "{said}"
        );
    }
    let nobody = Cargo::at(&server.url()).unwrap();
    let other = nobody.package("other", "1.0.0", "", LEAF).unwrap();
    let said = refused(&nobody.publish(&other, &[]).unwrap());
    holds(
        &said,
        &["no token found", "cargo login --registry countersign"],
    );
}

/// A tar of a crate with more members.
fn archive(members: &[(&str, &str)]) -> TarArchive {
    let toml = "[package]\nname = \"leaf\"\nversion = \"1.0.0\"\nedition = \"2021\"\n";
    let mut archive = TarArchive::default().file("leaf-1.0.0/Cargo.toml", toml.as_bytes());
    for (path, data) in members {
        archive = archive.file(*path, data.as_bytes());
    }
    archive
}

#[test]
fn every_trick_with_an_archive_is_refused_in_the_form_that_cargo_prints() {
    let server = server();
    let token = server.publisher("ada").unwrap();
    let said = json!({"name": "leaf", "vers": "1.0.0"});
    let good = archive(&[("leaf-1.0.0/src/lib.rs", "")]).end().gzip();
    let two_members = [good.clone(), archive(&[]).end().gzip()].concat();
    let other_name = json!({"name": "other", "vers": "1.0.0"});
    let with_dependency = json!({"name": "leaf", "vers": "1.0.0", "deps": [{
        "name": "serde", "version_req": "^1", "features": [], "optional": false, "default_features": true,
        "target": null, "kind": "normal", "registry": null, "explicit_name_in_toml": null,
    }]});
    let link = TarArchive::default().file(
        "leaf-1.0.0/Cargo.toml",
        b"[package]\nname = \"leaf\"\nversion = \"1.0.0\"\nedition = \"2021\"\n",
    );
    let symlink = TarHeader {
        link: b"/etc".to_vec(),
        ..TarHeader::new("leaf-1.0.0/src", b'2')
    };
    let tricks: Vec<(&str, Vec<u8>, &str)> = vec![
        ("two gzip members", framed(&said, &two_members), "archive-"),
        (
            "a path outside",
            framed(
                &said,
                &archive(&[("evil-1.0.0/src/lib.rs", "")]).end().gzip(),
            ),
            "archive-top-directory",
        ),
        (
            "a path upwards",
            framed(&said, &archive(&[("leaf-1.0.0/../../x", "")]).end().gzip()),
            "archive-member-name",
        ),
        (
            "two Cargo.toml by case",
            framed(
                &said,
                &archive(&[("leaf-1.0.0/cargo.toml", "x")]).end().gzip(),
            ),
            "archive-name-collision",
        ),
        (
            "a symbolic link",
            framed(&said, &link.entry(&symlink, b"").end().gzip()),
            "archive-member-type",
        ),
        (
            "no archive",
            framed(&said, b"not an archive"),
            "archive-not-gzip",
        ),
        (
            "another name in the request",
            framed(&other_name, &good),
            "archive-top-directory",
        ),
        (
            "a dependency that the archive lacks",
            framed(&with_dependency, &good),
            "publish-differs",
        ),
        (
            "a length that lies",
            framed(&said, &good)[..40].to_vec(),
            "publish-truncated",
        ),
        (
            "bytes behind",
            [framed(&said, &good), b"x".to_vec()].concat(),
            "publish-trailing-data",
        ),
        ("no JSON", framed(&json!([]), &good), "publish-metadata"),
        ("nothing", Vec::new(), "upload-truncated"),
    ];
    for (trick, body, code) in tricks {
        let answer = put(&server, &token, &body);
        assert!(
            (400..500).contains(&answer.status),
            "{trick}: {}",
            answer.text()
        );
        let body = answer.json().unwrap();
        let detail = body["errors"][0]["detail"].as_str().unwrap();
        let link = format!("/help/errors#{code}");
        assert!(detail.contains(&link), "{trick}: {detail}");
    }
    // Nothing of it is here.
    assert_eq!(server.get("/cargo/index/le/af/leaf").unwrap().status, 404);
    let answer = put(&server, &token, &framed(&said, &good));
    let answer = answer.expect_status(200).unwrap().json().unwrap();
    assert_eq!(
        answer["_countersign"]["purl"],
        "pkg:cargo/leaf@1.0.0?file_name=leaf-1.0.0.crate"
    );
    assert_eq!(answer["_countersign"]["repeated"], false);
    // The retry after a lost answer gets the same receipt; other bytes do not.
    let again = put(&server, &token, &framed(&said, &good));
    let again = again.expect_status(200).unwrap().json().unwrap();
    assert_eq!(again["_countersign"]["repeated"], true);
    assert_eq!(
        again["_countersign"]["leaf"],
        answer["_countersign"]["leaf"]
    );
    let other = archive(&[("leaf-1.0.0/src/lib.rs", "pub fn other() {}")])
        .end()
        .gzip();
    let answer = put(&server, &token, &framed(&said, &other));
    assert_eq!(answer.status, 409, "{}", answer.text());
    let plus = json!({"name": "leaf", "vers": "1.0.0+build"});
    let toml = b"[package]\nname = \"leaf\"\nversion = \"1.0.0+build\"\nedition = \"2021\"\n";
    let built = TarArchive::default()
        .file("leaf-1.0.0+build/Cargo.toml", toml)
        .end()
        .gzip();
    let answer = put(&server, &token, &framed(&plus, &built));
    assert!(
        (400..500).contains(&answer.status),
        "equal but for build metadata: {}",
        answer.text()
    );
}

#[test]
fn the_index_is_at_one_place_and_not_sent_twice() {
    let server = server();
    let token = server.publisher("ada").unwrap();
    put(&server, &token, &Crate::new("Under_score", "1.0.0").body())
        .expect_status(200)
        .unwrap();
    let first = server.get("/cargo/index/un/de/under_score").unwrap();
    let first = first.expect_status(200).unwrap();
    let tag = first.header("etag").unwrap().to_owned();
    let url = format!("{}/cargo/index/un/de/under_score", server.url());
    let again = http::request("GET", &url, &[("If-None-Match", &tag)], b"").unwrap();
    assert_eq!(again.status, 304);
    for path in [
        "un/de/under-score",
        "un/de/Under_score",
        "UN/DE/under_score",
        "under_score",
        "no/th/nothing",
        "con fig",
        "config.json/x",
    ] {
        let answer = server
            .get(&format!("/cargo/index/{}", path.replace(' ', "%20")))
            .unwrap();
        assert_eq!(answer.status, 404, "{path}");
    }
    let config = server
        .get("/cargo/index/config.json")
        .unwrap()
        .expect_status(200)
        .unwrap()
        .json()
        .unwrap();
    assert_eq!(config["api"], format!("{}/cargo", server.url()));
    assert!(config.get("auth-required").is_none());
    let download = server
        .get("/cargo/api/v1/crates/Under_score/1.0.0/download")
        .unwrap();
    assert_eq!(
        download.expect_status(200).unwrap().body,
        Crate::new("Under_score", "1.0.0").build().bytes
    );
}

fn exchange(server: &TestServer, identity: &str) -> Response {
    let url = format!("{}/cargo/api/v1/trusted_publishing/tokens", server.url());
    let body = json!({"jwt": identity}).to_string();
    http::request(
        "POST",
        &url,
        &[("Content-Type", "application/json")],
        body.as_bytes(),
    )
    .unwrap()
}

#[test]
fn a_workflow_publishes_a_crate_as_with_the_public_registry() {
    let stage = Stage::start();
    let server = &stage.server;
    let ada = server.token("ada", &["--action", "manage"]).unwrap();
    put(server, &ada, &Crate::new("sample", "1.0.0").body())
        .expect_status(200)
        .unwrap();
    stage.register("cargo:sample", &[]);
    // The action makes the audience of the address that it is given, without the scheme.
    let site = server.url();
    let audience = format!("{}/cargo", site.strip_prefix("https://").unwrap());
    let identity = |audience: &str| stage.company.token(audience, &stage.claims()).unwrap();
    // One for Python's dialect is of no use here.
    let answer = exchange(server, &identity(&stage.audience));
    let details = answer.json().unwrap();
    assert_eq!(details["code"], "oidc-audience-wrong", "{details}");
    assert!(
        details["errors"][1]["detail"]
            .as_str()
            .unwrap()
            .contains(&audience),
        "{details}"
    );
    let minted = exchange(server, &identity(&audience))
        .expect_status(200)
        .unwrap()
        .json()
        .unwrap();
    let token = minted["token"].as_str().unwrap();

    let cargo = Cargo::at(&site)
        .unwrap()
        .with_token(token)
        .trusting(server.ca_file().unwrap());
    let sample = cargo.package("sample", "1.1.0", "", LEAF).unwrap();
    succeeded(&cargo.publish(&sample, &[]).unwrap());
    let give_back = || {
        let url = format!("{site}/cargo/api/v1/trusted_publishing/tokens");
        let bearer = format!("Bearer {token}");
        http::request("DELETE", &url, &[("Authorization", &bearer)], b"").unwrap()
    };
    give_back().expect_status(204).unwrap();
    assert_eq!(give_back().status, 401);
    let next = cargo.package("sample", "1.2.0", "", LEAF).unwrap();
    let said = refused(&cargo.publish(&next, &[]).unwrap());
    holds(&said, &["401"]);
    // What the release's page and API say of it.
    let release = server
        .get("/api/v1/projects/cargo/sample/releases/1.1.0")
        .unwrap();
    let release = release.expect_status(200).unwrap().text();
    assert!(release.contains("octo/sample"), "{release}");
}

/// The script of the public registry's own action: nothing but its input `url` is changed. By hand, since it is fetched:
/// `COUNTERSIGN_TEST_CARGO_ACTION` names the folder `dist` of rust-lang/crates-io-auth-action.
#[test]
#[ignore = "needs the action's script, in the folder that COUNTERSIGN_TEST_CARGO_ACTION names"]
fn the_action_of_the_public_registry_gets_a_token_and_gives_it_back() {
    let action = std::env::var_os("COUNTERSIGN_TEST_CARGO_ACTION")
        .expect("COUNTERSIGN_TEST_CARGO_ACTION names the folder of the action's script");
    let stage = Stage::start();
    let server = &stage.server;
    let ada = server.token("ada", &["--action", "manage"]).unwrap();
    put(server, &ada, &Crate::new("sample", "1.0.0").body())
        .expect_status(200)
        .unwrap();
    stage.register("cargo:sample", &[]);
    let runner = Runner::github(&stage.oidc, &stage.company, &stage.claims()).unwrap();
    let state = stage.folder.path().join("state");
    std::fs::write(&state, "").unwrap();
    let step = |script: &str, variables: &[(&str, &str)]| {
        let mut command = std::process::Command::new("node");
        runner.apply(&mut command);
        command
            .arg(Path::new(&action).join(script))
            .env("NODE_EXTRA_CA_CERTS", server.ca_file().unwrap())
            .env("GITHUB_STATE", &state)
            .env("INPUT_URL", format!("{}/cargo", server.url()))
            .envs(variables.iter().copied());
        succeeded(&command.output().unwrap())
    };
    let said = step("main.js", &[]);
    holds(&said, &["Retrieved token successfully"]);
    let token = runner.outputs().unwrap()["token"].clone();
    let cargo = Cargo::at(&server.url())
        .unwrap()
        .with_token(&token)
        .trusting(server.ca_file().unwrap());
    let sample = cargo.package("sample", "1.1.0", "", LEAF).unwrap();
    succeeded(&cargo.publish(&sample, &[]).unwrap());
    let url = format!("{}/cargo", server.url());
    let kept = [("STATE_token", &*token), ("STATE_registryUrl", &*url)];
    holds(&step("post.js", &kept), &["Token revoked successfully"]);
    let next = cargo.package("sample", "1.2.0", "", LEAF).unwrap();
    holds(&refused(&cargo.publish(&next, &[]).unwrap()), &["401"]);
}

#[test]
fn publishers_are_seen_and_changed_in_the_words_of_the_public_registry() {
    let stage = Stage::start();
    let server = &stage.server;
    let ada = server.token("ada", &["--action", "manage"]).unwrap();
    put(server, &ada, &Crate::new("sample", "1.0.0").body())
        .expect_status(200)
        .unwrap();
    let id = stage.register("cargo:sample", &["--environment", "release"]);
    let call = |method: &str, path: &str, token: &str, body: &str| {
        let url = format!("{}/cargo/api/v1/trusted_publishing/{path}", server.url());
        http::request(
            method,
            &url,
            &[
                ("Authorization", token),
                ("Content-Type", "application/json"),
            ],
            body.as_bytes(),
        )
        .unwrap()
    };
    let list = || {
        let answer = call("GET", "github_configs?crate=sample", &ada, "");
        answer.expect_status(200).unwrap().json().unwrap()
    };
    let listed = list();
    let one = &listed["github_configs"][0];
    assert_eq!(one["crate"], "sample");
    assert_eq!(one["repository_owner"], "octo");
    assert_eq!(one["repository_name"], "sample");
    assert_eq!(one["workflow_filename"], "release.yml");
    assert_eq!(one["environment"], "release");
    assert_eq!(one["_countersign"], id.as_str());
    assert_eq!(listed["meta"]["total"], 1);
    let number = one["id"].as_u64().unwrap();
    assert!(i32::try_from(number).is_ok());

    let stranger = server.publisher("bob").unwrap();
    assert_eq!(
        call("GET", "github_configs?crate=sample", &stranger, "").status,
        403
    );
    assert_eq!(
        call("DELETE", &format!("github_configs/{number}"), &stranger, "").status,
        403
    );
    assert_eq!(call("DELETE", "github_configs/7", &ada, "").status, 404);
    call("DELETE", &format!("github_configs/{number}"), &ada, "")
        .expect_status(204)
        .unwrap();
    assert_eq!(list()["meta"]["total"], 0);
    let own = r#"{"github_config":{"crate":"sample","repository_owner":"octo","repository_name":"sample","workflow_filename":"release.yml","environment":null,"issuer":"company"}}"#;
    let added = call("POST", "github_configs", &ada, own);
    let added = added.expect_status(200).unwrap().json().unwrap();
    assert_eq!(added["github_config"]["workflow_filename"], "release.yml");
    assert_eq!(added["github_config"]["repository_owner_id"], 65001);
    assert_eq!(list()["github_configs"][0], added["github_config"]);
    let odd = r#"{"github_config":{"crate":"sample","repository_owner":"octo","repository_name":"sample","workflow_filename":"release.yml","branch":"main"}}"#;
    let answer = call("POST", "github_configs", &ada, odd);
    assert_eq!(answer.status, 400);
    assert!(
        answer.json().unwrap()["errors"][0]["detail"]
            .as_str()
            .unwrap()
            .contains("branch")
    );
}

#[test]
fn an_instance_in_the_place_of_the_public_registry_serves_its_crates_under_its_name() {
    let server = TestServer::start(ServerOptions {
        configuration:
            "[cargo]\nstands_in_for = [\"https://github.com/rust-lang/crates.io-index\"]\n"
                .to_owned(),
        ..ServerOptions::default()
    })
    .unwrap();
    let crates = tempfile::tempdir().unwrap();
    for package in [
        Crate::new("leaf", "1.0.0").build(),
        Crate::new("branch", "1.0.0")
            .manifest("[dependencies.leaf]\nversion = \"1\"")
            .file("src/lib.rs", "pub use leaf::version;\n")
            .build(),
    ] {
        package.write_to(crates.path()).unwrap();
    }
    server
        .run(&["import", crates.path().to_str().unwrap()])
        .unwrap();
    // In the archive silence means the public registry, which this one stands in for: so there is silence here too.
    let dependency = &index(&server, "br/an/branch")[0]["deps"][0];
    assert!(
        dependency.get("registry").is_none_or(Value::is_null),
        "{dependency}"
    );

    let cargo = Cargo::at(&server.url()).unwrap();
    cargo
        .configure(&format!(
            "[source.crates-io]\nreplace-with = \"mirror\"\n[source.mirror]\nregistry = \"sparse+{}/cargo/index/\"\n",
            server.url()
        ))
        .unwrap();
    let program = cargo
        .package(
            "program",
            "0.0.0",
            "[dependencies]\nbranch = \"1\"",
            "pub use branch::version;\n",
        )
        .unwrap();
    succeeded(&cargo.run(&program, &["build"]).unwrap());
    let lock = std::fs::read_to_string(Path::new(&program).join("Cargo.lock")).unwrap();
    assert_eq!(
        lock.matches("registry+https://github.com/rust-lang/crates.io-index")
            .count(),
        2,
        "{lock}"
    );
}

#[test]
fn without_standing_in_a_dependency_on_the_public_registry_stays_one() {
    let server = server();
    let crates = tempfile::tempdir().unwrap();
    Crate::new("branch", "1.0.0")
        .manifest("[dependencies.leaf]\nversion = \"1\"")
        .build()
        .write_to(crates.path())
        .unwrap();
    server
        .run(&["import", crates.path().to_str().unwrap()])
        .unwrap();
    let dependency = &index(&server, "br/an/branch")[0]["deps"][0];
    assert_eq!(
        dependency["registry"],
        "https://github.com/rust-lang/crates.io-index"
    );
}

#[test]
fn a_dependency_on_another_registry_does_not_read_like_one_on_the_same_named_crate_here() {
    let server = server();
    let token = server.publisher("ada").unwrap();
    put(&server, &token, &Crate::new("payments", "1.0.0").body())
        .expect_status(200)
        .unwrap();
    let own = format!("sparse+{}/cargo/index/", server.url());
    let evil = "sparse+https://evil.example/index/";
    let shop = Crate::new("shop", "1.0.0").manifest(&format!(
        "[dependencies.money]\npackage = \"payments\"\nversion = \"1\"\nregistry-index = {evil:?}\n\
         [dependencies.payments]\nversion = \"1\"\nregistry-index = {own:?}\n\
         [build-dependencies.serde]\nversion = \"1\""
    ));
    put(&server, &token, &shop.body())
        .expect_status(200)
        .unwrap();
    let public = "https://github.com/rust-lang/crates.io-index";
    let release = server.get("/api/v1/projects/cargo/shop/releases/1.0.0");
    let release = release.unwrap().expect_status(200).unwrap();
    let release = release.json().unwrap();
    let mut seen: Vec<(&str, Option<&str>, Option<&str>)> = release["dependencies"]
        .as_array()
        .unwrap()
        .iter()
        .map(|one| {
            let key = one["key"].as_str().unwrap();
            (key, one["registry"].as_str(), one["alias"].as_str())
        })
        .collect();
    seen.sort_unstable();
    let expected = [
        ("payments", None, None),
        ("payments", Some(evil), Some("money")),
        ("serde", Some(public), None),
    ];
    assert_eq!(seen, expected, "{release}");
    let page = server.get("/project/cargo/shop/1.0.0/").unwrap();
    let page = page.expect_status(200).unwrap().text();
    let needs = |part: &str| {
        let line = page
            .lines()
            .find(|line| line.starts_with("<li>") && line.contains(part));
        line.unwrap_or_else(|| panic!("{part}: {page}")).to_owned()
    };
    for elsewhere in [evil, public] {
        assert!(!needs(elsewhere).contains("<a "), "{}", needs(elsewhere));
    }
    assert!(needs(evil).contains("as <code>money</code>"));
    assert!(needs("<a href=\"/project/cargo/payments").contains(">payments</a>"));
}
