//! Index documents as they should not be: no page is made of them that lists what they do not sign, and nothing panics.

use countersign::proxy::page::{Rules, entries, page};
use countersign_formats::Ecosystem;
use countersign_testkit::mangled::mangled;
use serde_json::json;

#[test]
fn a_mangled_index_makes_a_refusal_or_a_page_of_the_files_that_it_lists() {
    let (one, two) = ("1".repeat(64), "2".repeat(64));
    let python = json!({
        "meta": {"api-version": "1.4"}, "name": "thing", "versions": ["1.0", "2.0"],
        "files": [
            {"filename": "thing-1.0-py3-none-any.whl", "url": format!("/files/{one}/thing-1.0-py3-none-any.whl"), "size": 10,
             "hashes": {"sha256": one}, "core-metadata": {"sha256": two}, "yanked": false},
            {"filename": "thing-2.0.tar.gz", "url": format!("/files/{two}/thing-2.0.tar.gz"), "size": 20,
             "hashes": {"sha256": two}},
        ],
    });
    let version = |version: &str, digest: &str| {
        json!({"name": "thing", "version": version, "dist": {
            "tarball": format!("http://127.0.0.1/npm/thing/-/thing-{version}.tgz"), "shasum": "0", "integrity": "sha512-x",
            "_countersign": {"sha256": digest, "leaf": 7, "size": 10},
        }})
    };
    let npm = json!({
        "name": "thing", "dist-tags": {"latest": "1.0.0"}, "versions": {"1.0.0": version("1.0.0", &one), "2.0.0": version("2.0.0", &two)},
        "time": {"created": "2026-01-01T00:00:00.000Z", "1.0.0": "2026-01-01T00:00:00.000Z"},
    });
    let line = |version: &str, digest: &str| {
        json!({"name": "thing", "vers": version, "deps": [], "cksum": digest, "features": {}, "yanked": false, "v": 2}).to_string()
    };
    let cargo = format!("{}\n{}\n", line("1.0.0", &one), line("2.0.0", &two));
    let rules = Rules {
        base: "http://127.0.0.1:1",
        min_age: None,
        now: 0,
        owners: None,
    };
    for (ecosystem, good) in [
        (Ecosystem::Pypi, python.to_string()),
        (Ecosystem::Npm, npm.to_string()),
        (Ecosystem::Cargo, cargo),
    ] {
        let made = page(ecosystem, "thing", good.as_bytes(), None, &rules).unwrap();
        assert_eq!(made.entries.len(), 2, "{ecosystem}");
        let (mut refused, mut pages) = (0, 0);
        for document in mangled(good.as_bytes(), 3_000) {
            let Ok(made) = page(ecosystem, "thing", &document, None, &rules) else {
                refused += 1;
                continue;
            };
            pages += 1;
            assert_eq!(
                made.entries,
                entries(ecosystem, "thing", &document).unwrap()
            );
            for entry in &made.entries {
                let digest = |byte: u8| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte);
                assert!(entry.sha256.len() == 64 && entry.sha256.bytes().all(digest));
                assert!(entry.purl.contains("thing"), "{entry:?}");
            }
        }
        assert!(
            refused > 100 && pages > 10,
            "{ecosystem}: {refused} {pages}"
        );
    }
}
