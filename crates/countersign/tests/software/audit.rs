//! `countersign audit`.

use serde_json::{Value, json};

use crate::{CARGO_LOCK, Desk, advisory};

fn inner() -> Value {
    let mut inner = advisory(
        "RUSTSEC-2026-1",
        "crates.io",
        "inner",
        &json!([{"introduced": "0.0.0-0"}, {"fixed": "1.0.2"}]),
    );
    inner["aliases"] = json!(["CVE-2026-1"]);
    inner
}

/// Findings of one lock file, by identifier and version.
fn ids(audited: &Value) -> Vec<String> {
    let files = audited["audited"]["lockfiles"].as_array().unwrap();
    let findings = files
        .iter()
        .flat_map(|file| file["findings"].as_array().unwrap());
    findings
        .map(|finding| {
            format!(
                "{} {} {} {}",
                finding["id"].as_str().unwrap(),
                finding["purl"].as_str().unwrap(),
                finding["verdict"].as_str().unwrap(),
                finding["severity"].as_str().unwrap()
            )
        })
        .collect()
}

#[test]
fn what_is_known_is_told_with_the_way_and_the_fix() {
    let desk = Desk::new();
    desk.write("Cargo.lock", CARGO_LOCK);
    // As osv-scanner keeps it, but for the zip; the same flaw under another name, with a severity.
    desk.write("db/osv-scanner/crates.io/a.json", inner().to_string());
    let mut twin = advisory(
        "GHSA-aaaa-bbbb-cccc",
        "crates.io",
        "inner",
        &json!([{"introduced": "0"}, {"fixed": "1.0.2"}]),
    );
    twin["aliases"] = json!(["CVE-2026-1"]);
    twin["severity"] =
        json!([{"type": "CVSS_V3", "score": "CVSS:3.1/AV:N/AC:L/PR:N/UI:N/S:U/C:H/I:H/A:H"}]);
    desk.write("db/osv-scanner/crates.io/b.json", twin.to_string());
    desk.write("db/broken.json", "{");
    let audited = desk.json(3, &["--json", "audit", "--advisories", "db"]);
    assert_eq!(
        ids(&audited),
        ["GHSA-aaaa-bbbb-cccc pkg:cargo/inner@1.0.0 affected critical"]
    );
    let finding = &audited["audited"]["lockfiles"][0]["findings"][0];
    assert_eq!(finding["aliases"], json!(["CVE-2026-1", "RUSTSEC-2026-1"]));
    assert_eq!(finding["fixed"], "1.0.2");
    assert_eq!(
        finding["way"],
        json!(["pkg:cargo/outer@2.1.0", "pkg:cargo/inner@1.0.0"])
    );
    assert_eq!(audited["audited"]["databases"][0]["refused"], 1);
    let text = desk.text(3, &["audit", "--advisories", "db"]);
    for part in [
        "critical 9.8",
        "fixed in 1.0.2",
        "by outer 2.1.0 > inner 1.0.0",
    ] {
        assert!(text.contains(part), "{part}: {text}");
    }
    // Passed over under any of its names, but not for ever.
    let passed = [
        "audit",
        "--advisories",
        "db",
        "--ignore",
        "CVE-2026-1:not used: by us:2999-01-01",
    ];
    assert!(desk.text(0, &passed).contains("not used: by us"));
    let ended = [
        "audit",
        "--advisories",
        "db",
        "--ignore",
        "CVE-2026-1:not used:2020-01-01",
    ];
    desk.text(3, &ended);
    for bad in ["CVE-2026-1", "CVE-2026-1::2999-01-01", "CVE-2026-1:x:soon"] {
        desk.text(2, &["audit", "--advisories", "db", "--ignore", bad]);
    }
}

#[test]
fn every_kind_of_lock_file_is_looked_up_and_what_can_not_be_compared_is_unknown() {
    const A: &str = "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa";
    let desk = Desk::new();
    let npm = |name: &str| {
        advisory(
            "GHSA-npm",
            "npm",
            name,
            &json!([{"introduced": "1.0.0"}, {"fixed": "1.0.1"}]),
        )
    };
    let python = advisory(
        "PYSEC-1",
        "PyPI",
        "Some.Thing",
        &json!([{"introduced": "0"}, {"fixed": "1.2"}]),
    );
    let odd = advisory(
        "PYSEC-2",
        "PyPI",
        "some-thing",
        &json!([{"introduced": "one"}]),
    );
    let mut withdrawn = advisory(
        "PYSEC-3",
        "PyPI",
        "some-thing",
        &json!([{"introduced": "0"}]),
    );
    withdrawn["withdrawn"] = json!("2026-02-02T00:00:00Z");
    desk.write(
        "db.json",
        json!([npm("@s/thing"), python, odd, withdrawn]).to_string(),
    );
    let node = r#"{"lockfileVersion":3,"packages":{"":{"dependencies":{"@s/thing":"1"}},"node_modules/@s/thing":{"version":"1.0.0","resolved":"https://r.example.test/@s/thing/-/thing-1.0.0.tgz","integrity":"sha512-qqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqg=="}}}"#;
    let python = [
        "PYSEC-1 pkg:pypi/some-thing@1.1 affected unrated",
        "PYSEC-2 pkg:pypi/some-thing@1.1 unknown unrated",
    ];
    let npm = ["GHSA-npm pkg:npm/%40s/thing@1.0.0 affected unrated"];
    for (name, text, expected) in [
        ("requirements.txt", format!("Some_Thing==1.1 --hash=sha256:{A}\n"), &python[..]),
        ("uv.lock", format!("version = 1\nrequires-python = \">=3.9\"\n[[package]]\nname = \"some-thing\"\nversion = \"1.1\"\nsource = {{ registry = \"https://i.example.test\" }}\nsdist = {{ url = \"https://i.example.test/some_thing-1.1.tar.gz\", hash = \"sha256:{A}\" }}\n"), &python),
        ("poetry.lock", format!("[[package]]\nname = \"some-thing\"\nversion = \"1.1\"\nfiles = [{{file = \"some_thing-1.1.tar.gz\", hash = \"sha256:{A}\"}}]\n[metadata]\nlock-version = \"2.1\"\n"), &python),
        ("Pipfile.lock", format!("{{\"default\":{{\"some-thing\":{{\"version\":\"==1.1\",\"hashes\":[\"sha256:{A}\"]}}}}}}"), &python),
        ("pylock.toml", format!("lock-version = \"1.0\"\n[[packages]]\nname = \"some-thing\"\nversion = \"1.1\"\nsdist = {{ name = \"some_thing-1.1.tar.gz\", hashes = {{ sha256 = \"{A}\" }} }}\n"), &python),
        ("package-lock.json", node.to_owned(), &npm),
        ("npm-shrinkwrap.json", node.to_owned(), &npm),
        ("pnpm-lock.yaml", "lockfileVersion: '9.0'\npackages:\n  '@s/thing@1.0.0':\n    resolution: {integrity: sha512-x}\n".to_owned(), &npm),
        ("yarn.lock", "# yarn lockfile v1\n\n\"@s/thing@^1\":\n  version \"1.0.0\"\n".to_owned(), &npm),
    ] {
        desk.write(name, text);
        let audited = desk.json(3, &["--json", "audit", "--advisories", "db.json", name]);
        assert_eq!(ids(&audited), expected, "{name}");
    }
    // A build of one's own has the flaws of what it was built of; the mend has not.
    for (version, expected) in [("1.1+cu118", 3), ("1.2", 0)] {
        desk.write("requirements.txt", format!("some-thing=={version}\n"));
        desk.text(
            expected,
            &["audit", "--advisories", "db.json", "requirements.txt"],
        );
    }
    // The odd advisory is told, and fails only where that is asked for.
    let text = desk.text(0, &["audit", "--advisories", "db.json", "requirements.txt"]);
    assert!(text.contains("nobody can say"), "{text}");
    desk.text(
        3,
        &[
            "audit",
            "--strict",
            "--advisories",
            "db.json",
            "requirements.txt",
        ],
    );
}

#[test]
fn a_lock_file_that_leads_elsewhere_is_told() {
    let desk = Desk::new();
    desk.write("db.json", inner().to_string());
    let lock = CARGO_LOCK.replace("1.0.0", "1.0.2")
        + "\n[[package]]\nname = \"far\"\nversion = \"1.0.0\"\nsource = \"git+https://git.example.test/far#0011\"\n\
           \n[[package]]\nname = \"bare\"\nversion = \"1.0.0\"\nsource = \"sparse+https://index.example.test/\"\n\
           \n[[package]]\nname = \"moved\"\nversion = \"1.0.0\"\nsource = \"sparse+http://evil.example.test/\"\nchecksum = \"cccccccccccccccccccccccccccccccccccccccccccccccccccccccccccccccc\"\n";
    desk.write("Cargo.lock", lock);
    let audited = desk.json(0, &["--json", "audit", "--advisories", "db.json"]);
    let warnings = audited["audited"]["lockfiles"][0]["warnings"]
        .as_array()
        .unwrap();
    let told: Vec<String> = warnings
        .iter()
        .map(|w| {
            format!(
                "{} {}",
                w["code"].as_str().unwrap(),
                w["purl"].as_str().unwrap()
            )
        })
        .collect();
    assert_eq!(
        told,
        [
            "git-dependency pkg:cargo/far@1.0.0",
            "no-integrity pkg:cargo/bare@1.0.0",
            "in-the-clear pkg:cargo/moved@1.0.0",
            "other-host pkg:cargo/moved@1.0.0",
        ]
    );
    desk.text(3, &["audit", "--strict", "--advisories", "db.json"]);
    let evil = [
        "--json",
        "audit",
        "--advisories",
        "db.json",
        "--host",
        "evil.example.test",
    ];
    let audited = desk.json(0, &evil);
    let warnings = audited["audited"]["lockfiles"][0]["warnings"].to_string();
    assert!(
        warnings.contains("index.example.test, not from evil.example.test"),
        "{warnings}"
    );
}

#[test]
fn a_file_that_comes_from_elsewhere_than_the_others_of_its_index_is_told() {
    const A: &str = "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa";
    let desk = Desk::new();
    desk.write("db.json", inner().to_string());
    let package = |name: &str, site: &str| {
        format!(
            "[[package]]\nname = \"{name}\"\nversion = \"1.0\"\nsource = {{ registry = \"https://i.example.test/simple\" }}\nsdist = {{ url = \"{site}/{name}-1.0.tar.gz\", hash = \"sha256:{A}\" }}\n"
        )
    };
    let head = "version = 1\nrequires-python = \">=3.9\"\n";
    let all = [
        package("one", "https://files.example.test"),
        package("two", "https://files.example.test"),
        package("three", "http://evil.example.test"),
        package("four", "https://i.example.test/files"),
    ];
    desk.write("uv.lock", format!("{head}{}", all.concat()));
    let audit = ["--json", "audit", "--advisories", "db.json", "uv.lock"];
    let told = |audited: &Value| -> Vec<String> {
        let warnings = audited["audited"]["lockfiles"][0]["warnings"].as_array();
        let told = warnings.unwrap().iter();
        told.map(|w| {
            format!(
                "{} {}",
                w["code"].as_str().unwrap(),
                w["purl"].as_str().unwrap()
            )
        })
        .collect()
    };
    assert_eq!(
        told(&desk.json(0, &audit)),
        [
            "in-the-clear pkg:pypi/three@1.0",
            "other-host pkg:pypi/three@1.0"
        ]
    );
    desk.write("uv.lock", format!("{head}{}", all[..2].concat()));
    assert!(told(&desk.json(0, &audit)).is_empty());
}

#[test]
fn other_tools_read_the_result() {
    let desk = Desk::new();
    desk.write("Cargo.lock", CARGO_LOCK);
    desk.write("db.json", inner().to_string());
    let sarif = desk.json(
        3,
        &[
            "audit",
            "--advisories",
            "db.json",
            "--sarif",
            "--vex",
            "vex.json",
        ],
    );
    let run = &sarif["runs"][0];
    assert_eq!(run["tool"]["driver"]["rules"][0]["id"], "RUSTSEC-2026-1");
    let result = &run["results"][0];
    assert_eq!(
        result["locations"][0]["physicalLocation"]["region"]["startLine"],
        10
    );
    assert_eq!(result["level"], "error");
    let vex = std::fs::read_to_string(desk.folder.path().join("vex.json")).unwrap();
    let vex: Value = serde_json::from_str(&vex).unwrap();
    assert_eq!(vex["timestamp"], "2023-11-14T22:13:20Z");
    assert_eq!(vex["statements"][0]["status"], "affected");
    assert_eq!(
        vex["statements"][0]["products"][0]["@id"],
        "pkg:cargo/inner@1.0.0"
    );
    desk.text(
        0,
        &[
            "audit",
            "--advisories",
            "db.json",
            "--ignore",
            "CVE-2026-1:unused:2999-01-01",
            "--vex",
            "vex.json",
        ],
    );
    let vex = std::fs::read_to_string(desk.folder.path().join("vex.json")).unwrap();
    let vex: Value = serde_json::from_str(&vex).unwrap();
    assert_eq!(vex["statements"][0]["status"], "not_affected");
    assert_eq!(
        vex["statements"][0]["impact_statement"],
        "unused (until 2999-01-01)"
    );
}

#[test]
fn what_was_read_is_kept_and_read_again_when_it_changes() {
    let desk = Desk::new();
    desk.write("Cargo.lock", CARGO_LOCK);
    desk.write("db.json", inner().to_string());
    let audit = ["audit", "--advisories", "db.json"];
    desk.text(3, &audit);
    let cache = desk.home().join("advisories");
    let index = std::fs::read_dir(&cache)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .find(|path| path.extension().is_some_and(|end| end == "index"))
        .unwrap();
    // A cache that was cut off or turned is no answer of "nothing known".
    let whole = std::fs::read(&index).unwrap();
    for broken in [
        &whole[..whole.len() / 2],
        b"",
        b"countersign-advisories/v1\n",
    ] {
        std::fs::write(&index, broken).unwrap();
        desk.text(3, &audit);
        assert_eq!(std::fs::read(&index).unwrap(), whole);
    }
    desk.write(
        "db.json",
        json!([
            inner(),
            advisory("X-1", "crates.io", "outer", &json!([{"introduced": "0"}]))
        ])
        .to_string(),
    );
    let audited = desk.json(3, &["--json", "audit", "--advisories", "db.json"]);
    assert_eq!(audited["audited"]["lockfiles"][0]["vulnerable"], 2);
}

#[test]
fn what_can_not_be_used_is_said() {
    let desk = Desk::new();
    desk.text(2, &["audit"]);
    desk.write("Cargo.lock", CARGO_LOCK);
    for (name, text) in [
        ("none.json", ""),
        ("cut.zip", "PK\x03\x04"),
        ("empty/x.txt", ""),
    ] {
        desk.write(name, text);
        let name = name.split('/').next().unwrap();
        let output = desk.run(&["audit", "--advisories", name]);
        assert_eq!(output.status.code(), Some(2), "{name}");
        assert!(
            String::from_utf8_lossy(&output.stderr).contains(name),
            "{name}"
        );
    }
    // Without any database nothing is said to be well.
    let output = desk.run(&["audit"]);
    assert_eq!(output.status.code(), Some(2));
    assert!(String::from_utf8_lossy(&output.stderr).contains("--advisories"));
    desk.text(2, &["audit", "--advisories", "nowhere.json"]);
    // One that is out of reach is no empty one.
    desk.text(5, &["audit", "--advisories", "http://127.0.0.1:9/all.zip"]);
}
