//! What is written for other tools, held against their own schemas (`tests/data/README.md`).

use std::path::PathBuf;

use serde_json::{Value, json};

use crate::{CARGO_LOCK, Desk, advisory};
use countersign_testkit::sarif;
use countersign_testkit::schema::Schemas;

/// CycloneDX 1.6, by its address.
pub(crate) const CYCLONEDX: &str = "http://cyclonedx.org/schema/bom-1.6.schema.json";
/// SPDX 2.3.
pub(crate) const SPDX: &str = "http://spdx.org/rdf/terms/2.3";
/// What we write of SARIF.
const SARIF: &str = "";

/// The schemas of this repository.
pub(crate) fn schemas() -> Schemas {
    let folder = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/data/schemas");
    let read = |entry: std::io::Result<std::fs::DirEntry>| {
        let text = std::fs::read_to_string(entry.unwrap().path()).unwrap();
        serde_json::from_str(&text).unwrap()
    };
    Schemas::new(std::fs::read_dir(folder).unwrap().map(read).collect())
}

#[track_caller]
pub(crate) fn holds(schemas: &Schemas, schema: &str, document: &Value, what: &str) {
    let faults = schemas.faults(schema, document);
    assert!(faults.is_empty(), "{what}: {faults:#?}");
}

/// A lock file of every kind, with what is odd in each: no digest, past a registry, several files, scopes, local ones.
fn locks() -> Vec<(&'static str, String)> {
    let (a, b) = ("a".repeat(64), "b".repeat(64));
    let integrity = format!("sha512-{}==", "q".repeat(85) + "g");
    let node = json!({"lockfileVersion": 3, "packages": {
        "": {"dependencies": {"@s/thing": "1", "far": "*"}},
        "node_modules/@s/thing": {"version": "1.0.0", "resolved": "https://r.example.test/@s/thing/-/thing-1.0.0.tgz", "integrity": integrity, "dependencies": {"bare": "1"}},
        "node_modules/far": {"version": "1.0.0", "resolved": "git+ssh://git@git.example.test/far.git#0011"},
        "node_modules/bare": {"version": "1.0.0-rc.1+b d", "resolved": "https://r.example.test/some where/bare-1.0.0.tgz"},
    }})
    .to_string()
    .replace("+b d", "");
    let python = "[[package]]\nname = \"some-thing\"\nversion = \"1.1\"\n";
    vec![
        ("Cargo.lock", format!("{CARGO_LOCK}\n[[package]]\nname = \"far\"\nversion = \"1.0.0+build.1\"\nsource = \"git+https://git.example.test/far?branch=a%20b#0011\"\n")),
        ("requirements.txt", format!("Some_Thing==1.1 --hash=sha256:{a} --hash=sha256:{b}\nbare==2.0\n")),
        ("uv.lock", format!("version = 1\nrequires-python = \">=3.9\"\n{python}source = {{ registry = \"https://i.example.test\" }}\nsdist = {{ url = \"https://i.example.test/some thing-1.1.tar.gz\", hash = \"sha256:{a}\" }}\nwheels = [{{ url = \"https://i.example.test/some_thing-1.1-py3-none-any.whl\", hash = \"sha256:{b}\" }}]\n[[package]]\nname = \"app\"\nversion = \"0.1\"\nsource = {{ virtual = \".\" }}\ndependencies = [{{ name = \"some-thing\" }}]\n")),
        ("poetry.lock", format!("{python}files = [{{file = \"some_thing-1.1.tar.gz\", hash = \"sha256:{a}\"}}]\n[metadata]\nlock-version = \"2.1\"\n")),
        ("Pipfile.lock", format!("{{\"default\":{{\"some-thing\":{{\"version\":\"==1.1\",\"hashes\":[\"sha256:{a}\"]}}}}}}")),
        ("pylock.toml", format!("lock-version = \"1.0\"\n[[packages]]\nname = \"some-thing\"\nversion = \"1.1\"\nsdist = {{ name = \"some_thing-1.1.tar.gz\", hashes = {{ sha256 = \"{a}\" }} }}\n")),
        ("package-lock.json", node.clone()),
        ("npm-shrinkwrap.json", node),
        ("pnpm-lock.yaml", format!("lockfileVersion: '9.0'\npackages:\n  '@s/thing@1.0.0':\n    resolution: {{integrity: {integrity}}}\n")),
        ("yarn.lock", format!("# yarn lockfile v1\n\n\"@s/thing@^1\":\n  version \"1.0.0\"\n  resolved \"https://r.example.test/@s/thing/-/thing-1.0.0.tgz#00\"\n  integrity {integrity}\n")),
        ("later/yarn.lock", "__metadata:\n  version: 8\n\n\"@s/thing@npm:^1\":\n  version: 1.0.0\n  resolution: \"@s/thing@npm:1.0.0\"\n  checksum: 10c0/00\n  languageName: node\n  linkType: hard\n".to_owned()),
    ]
}

#[test]
fn bills_of_every_lock_file_hold_by_the_official_schemas() {
    let schemas = schemas();
    let desk = Desk::new();
    let locks = locks();
    for (name, text) in &locks {
        desk.write(name, text);
        let bill = desk.json(0, &["sbom", "--name", "app", name]);
        assert!(!bill["components"].as_array().unwrap().is_empty(), "{name}");
        holds(&schemas, CYCLONEDX, &bill, name);
        let bill = desk.json(0, &["sbom", "--form", "spdx", name]);
        assert!(bill["packages"].as_array().unwrap().len() > 1, "{name}");
        holds(&schemas, SPDX, &bill, name);
    }
    // All in one, with a version; and of nothing at all.
    let all: Vec<&str> = locks.iter().map(|(name, _)| *name).collect();
    let version = ["sbom", "--project-version", "1.0"];
    holds(
        &schemas,
        CYCLONEDX,
        &desk.json(0, &[&version[..], &all].concat()),
        "all",
    );
    let form = ["sbom", "--form", "spdx"];
    holds(
        &schemas,
        SPDX,
        &desk.json(0, &[&form[..], &all].concat()),
        "all",
    );
    desk.write("empty/Cargo.lock", "version = 4\n");
    holds(
        &schemas,
        CYCLONEDX,
        &desk.json(0, &["sbom", "empty/Cargo.lock"]),
        "none",
    );
    holds(
        &schemas,
        SPDX,
        &desk.json(0, &["sbom", "--form", "spdx", "empty/Cargo.lock"]),
        "none",
    );
    // The schemas do refuse something.
    let mut wrong = desk.json(0, &["sbom", "Cargo.lock"]);
    wrong["components"][0]["scope"] = json!("somewhere");
    assert!(!schemas.faults(CYCLONEDX, &wrong).is_empty());
    let mut wrong = desk.json(0, &["sbom", "--form", "spdx", "Cargo.lock"]);
    wrong["packages"][0]["SPDXID"] = Value::Null;
    assert!(!schemas.faults(SPDX, &wrong).is_empty());
}

#[test]
fn sarif_has_only_what_the_standard_knows() {
    let schemas = schemas();
    let desk = Desk::new();
    let holds_by_text = |document: &Value, what: &str| {
        holds(&schemas, SARIF, document, what);
        let faults = sarif::faults(document);
        assert!(faults.is_empty(), "{what}: {faults:#?}");
    };
    desk.write("Cargo.lock", &locks()[0].1);
    // A path and words that would be something else in SARIF.
    let odd = "o d{\u{e9}}[1]:/Cargo.lock";
    desk.write(odd, &locks()[0].1);
    desk.write("src/main.rs", "fn main() { outer::go() }\n");
    let events = json!([{"introduced": "0"}, {"fixed": "1.0.2"}]);
    let mut rated = advisory("R-1", "crates.io", "inner", &events);
    rated["severity"] =
        json!([{"type": "CVSS_V3", "score": "CVSS:3.1/AV:N/AC:L/PR:N/UI:N/S:U/C:H/I:H/A:H"}]);
    rated["summary"] = json!("In {0} and [here](1) it is flawed");
    rated["aliases"] = json!(["CVE-2026-1"]);
    let address = "https://e.example.test/\u{fc} a?b=[1]|{0}%#c#d";
    rated["references"] = json!([{"type": "ADVISORY", "url": address}]);
    let bare = json!({
        "id": "R-2", "modified": "2026-01-02T03:04:05Z",
        "affected": [{"package": {"ecosystem": "crates.io", "name": "outer"}, "ranges": [{"type": "SEMVER", "events": [{"introduced": "one"}]}]}],
    });
    desk.write("db.json", json!([rated, bare]).to_string());
    let words = ["audit", "--advisories", "db.json", "--sarif"];
    for more in [
        &[][..],
        &["--reach"],
        &["--ignore", "R-1:not used:2999-01-01"],
    ] {
        let document = desk.json(
            i32::from(!more.contains(&"--ignore")) * 3,
            &[&words[..], more].concat(),
        );
        assert!(document["runs"][0]["results"].as_array().unwrap().len() > 2);
        holds_by_text(&document, &format!("{more:?}"));
        let rules = document["runs"][0]["tool"]["driver"]["rules"].as_array();
        let rule = rules.unwrap().iter().find(|rule| rule["id"] == "R-1");
        assert_eq!(
            rule.unwrap()["helpUri"],
            "https://e.example.test/%C3%BC%20a?b=%5B1%5D%7C%7B0%7D%25#c%23d"
        );
    }
    let document = desk.json(3, &[&words[..], &["Cargo.lock", odd]].concat());
    holds_by_text(&document, "two files");
    let uri = &document["runs"][0]["artifacts"][1]["location"]["uri"];
    assert_eq!(*uri, "o%20d%7B%C3%A9%7D%5B1%5D%3A/Cargo.lock");
    desk.write("db.json", "[]");
    desk.write("Cargo.lock", CARGO_LOCK);
    holds_by_text(&desk.json(0, &words), "nothing known");
}
