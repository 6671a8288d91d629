use std::cmp::Ordering;
use std::io::{Cursor, Write as _};

use super::*;
use serde_json::{Value, json};

fn record(value: Value) -> Record {
    Record::from_value(value).unwrap()
}

fn affected(ecosystem: &str, ranges: Value, versions: Value) -> Affected {
    serde_json::from_value(json!({
        "package": {"ecosystem": ecosystem, "name": "thing"}, "ranges": ranges, "versions": versions,
    }))
    .unwrap()
}

fn range(kind: &str, events: Value) -> Value {
    json!([{"type": kind, "events": events}])
}

#[test]
fn orders_as_the_reference_vectors_say() {
    let folder = concat!(
        env!("CARGO_MANIFEST_DIR"),
        "/../../../shared/vectors/versions"
    );
    let mut compared = 0;
    for (file, ecosystem) in [
        ("pypi-versions.txt", "PyPI"),
        ("pypi-versions-generated.txt", "PyPI"),
        ("semver-versions.txt", "crates.io"),
        ("semver-versions.txt", "npm"),
    ] {
        let text = std::fs::read_to_string(format!("{folder}/{file}")).unwrap();
        for line in text.lines() {
            let words: Vec<_> = line.split_whitespace().collect();
            let [a, sign, b] = words[..] else { continue };
            let point = |text| Point::ecosystem(ecosystem, text);
            let (Some(a), Some(b)) = (point(a), point(b)) else {
                continue;
            };
            let expected = match sign {
                "<" => Ordering::Less,
                ">" => Ordering::Greater,
                "=" | "==" => Ordering::Equal,
                _ => continue,
            };
            assert_eq!(a.compare(&b), Some(expected), "{ecosystem}: {line}");
            compared += 1;
        }
    }
    assert!(compared > 12_000, "{compared}");
}

#[test]
fn ranges_begin_and_end_where_they_say() {
    use Verdict::{Affected as Yes, NotAffected as No, Unknown};
    let introduced = |v: &str| json!({"introduced": v});
    let fixed = |v: &str| json!({"fixed": v});
    let last = |v: &str| json!({"last_affected": v});
    for (ecosystem, ranges, versions, cases) in [
        (
            "PyPI",
            range("ECOSYSTEM", json!([introduced("0"), fixed("1.2")])),
            json!([]),
            // What was built of a version has its flaws; a pre-release of the mend does not have the mend.
            &[
                ("1.1", Yes),
                ("1.2rc1", Yes),
                ("1.2", No),
                ("1.2.0", No),
                ("1.1+cu118", Yes),
                ("not-a-version", Unknown),
            ][..],
        ),
        (
            "PyPI",
            // Events in any order, two stretches.
            range(
                "ECOSYSTEM",
                json!([fixed("3"), introduced("2"), fixed("1.5"), introduced("1")]),
            ),
            json!([]),
            &[
                ("0.9", No),
                ("1", Yes),
                ("1.4.9", Yes),
                ("1.5", No),
                ("2.0", Yes),
                ("2.9", Yes),
                ("3.0", No),
            ],
        ),
        (
            "PyPI",
            range("ECOSYSTEM", json!([introduced("0"), last("1.0")])),
            json!([]),
            &[
                ("1.0", Yes),
                ("1.0+local", Yes),
                ("1.0.post1", No),
                ("1.1", No),
            ],
        ),
        (
            "crates.io",
            range("SEMVER", json!([introduced("0.0.0-0"), fixed("1.2.3")])),
            json!([]),
            &[
                ("0.1.0", Yes),
                ("1.2.3-alpha", Yes),
                ("1.2.3", No),
                ("1.2.3+build", No),
                ("1.2", Yes),
                ("weird", Unknown),
            ],
        ),
        (
            "npm",
            range(
                "SEMVER",
                json!([introduced("1.0.0"), fixed("1.0.0"), introduced("2.0.0")]),
            ),
            json!([]),
            &[
                ("1.0.0", No),
                ("1.5.0", No),
                ("2.0.0", Yes),
                ("99.0.0", Yes),
            ],
        ),
        (
            "npm",
            range("SEMVER", json!([introduced("0"), {"limit": "2.0.0"}])),
            json!([]),
            &[("1.9.9", Yes), ("2.0.0", No)],
        ),
        (
            "npm",
            range("SEMVER", json!([introduced("0"), {"limit": "*"}])),
            json!([]),
            &[("7.0.0", Yes)],
        ),
        (
            "PyPI",
            json!([]),
            json!(["1.0", "2004d"]),
            // Listed versions match however they are spelt, and as written where they are no versions today.
            &[
                ("1.0", Yes),
                ("1.0.0", Yes),
                ("2004d", Yes),
                ("1.1", No),
                ("2005a", No),
            ],
        ),
        (
            "PyPI",
            range("ECOSYSTEM", json!([introduced("1.x"), fixed("2")])),
            json!(["1.1"]),
            &[("1.1", Yes), ("1.5", Unknown), ("3", Unknown)],
        ),
        (
            "Debian:12",
            range("ECOSYSTEM", json!([introduced("0"), fixed("1.2-3")])),
            json!(["1.2-1"]),
            &[("1.2-1", Yes), ("1.2-2", Unknown), ("1.2-3", Unknown)],
        ),
        (
            "Debian:12",
            range("ECOSYSTEM", json!([introduced("0")])),
            json!([]),
            &[("anything", Yes)],
        ),
        (
            "Go",
            range("SEMVER", json!([introduced("0"), fixed("1.2.0")])),
            json!([]),
            &[("v1.1.9", Yes), ("v1.2.0", No)],
        ),
        (
            "npm",
            range("BY-THE-MOON", json!([introduced("0")])),
            json!([]),
            &[("1.0.0", Unknown)],
        ),
        (
            "npm",
            range("GIT", json!([introduced("0")])),
            json!([]),
            &[("1.0.0", Unknown)],
        ),
        (
            "npm",
            range("GIT", json!([introduced("0")])),
            json!(["1.0.0"]),
            &[("1.0.0", Yes), ("1.0.1", No)],
        ),
    ] {
        let affected = affected(ecosystem, ranges, versions);
        for (version, expected) in cases {
            assert_eq!(
                affected.judge(version),
                *expected,
                "{ecosystem} {version} of {affected:?}"
            );
        }
    }
}

fn full() -> Value {
    json!({
        "schema_version": "1.7.5", "id": "GHSA-aaaa-bbbb-cccc", "modified": "2026-01-02T03:04:05.678Z",
        "published": "2026-01-01T00:00:00Z", "aliases": ["CVE-2026-1"], "summary": "A flaw", "details": "Long.",
        "severity": [{"type": "CVSS_V3", "score": "CVSS:3.1/AV:N/AC:L/PR:N/UI:N/S:U/C:H/I:H/A:H"}, {"type": "New", "score": "x"}],
        "affected": [{
            "package": {"ecosystem": "PyPI", "name": "Thing_One", "purl": "pkg:pypi/thing-one", "later": 1},
            "ranges": [{"type": "ECOSYSTEM", "events": [{"introduced": "0"}, {"fixed": "1.2"}, {"new-event": "1"}], "database_specific": {"x": 1}}],
            "versions": ["1.0", "1.1"],
            "ecosystem_specific": {"affects": {"functions": ["thing::run"]}},
        }],
        "references": [{"type": "WEB", "url": "https://example.test/w"}, {"type": "ADVISORY", "url": "https://example.test/a"}],
        "credits": [{"name": "Someone", "contact": ["x"], "type": "FINDER"}],
        "database_specific": {"severity": "HIGH"}, "of-tomorrow": [1, {"a": null}],
    })
}

#[test]
fn what_is_not_known_comes_back_as_it_was() {
    let read = record(full());
    let back: Value = serde_json::from_str(&read.to_json()).unwrap();
    assert_eq!(back, full());
    assert_eq!(read.affected[0].functions(), ["thing::run"]);
    assert_eq!(read.about(Ecosystem::Pypi, "thing.one").count(), 1);
    assert_eq!(read.about(Ecosystem::Npm, "thing.one").count(), 0);
}

#[test]
fn absurd_records_are_refused_with_the_reason() {
    let with = |change: &dyn Fn(&mut Value)| {
        let mut value = full();
        change(&mut value);
        Record::parse(value.to_string().as_bytes()).map(|_| ())
    };
    with(&|_| {}).unwrap();
    // Some databases write null for empty lists.
    with(&|v| v["aliases"] = Value::Null).unwrap();
    for (change, why) in [
        (
            &(|v: &mut Value| v["id"] = json!("../../etc/passwd")) as &dyn Fn(&mut Value),
            "identifier",
        ),
        (&|v| v["id"] = json!("A<script>"), "identifier"),
        (&|v| v["modified"] = json!("yesterday"), "`modified`"),
        (
            &|v| v["withdrawn"] = json!("2026-01-01T00:00:00+01:00"),
            "`withdrawn`",
        ),
        (
            &|v| v["affected"][0]["ranges"][0]["events"] = json!([{"fixed": "1"}]),
            "begins nowhere",
        ),
        (
            &|v| v["affected"][0]["ranges"][0]["events"] = json!([]),
            "begins nowhere",
        ),
        (
            &|v| {
                v["affected"][0]["ranges"][0]["events"] = json!([{"introduced": "0", "fixed": "1"}])
            },
            "none, or two",
        ),
        (
            &|v| v["affected"][0]["ranges"][0]["events"] = json!([{}]),
            "none, or two",
        ),
        (
            &|v| v["affected"][0]["ranges"][0]["events"] = json!([{"introduced": ""}]),
            "empty",
        ),
        (
            &|v| {
                v["affected"][0]["ranges"][0]["events"] = json!([{"introduced": "9".repeat(5000)}])
            },
            "too long",
        ),
        (
            &|v| {
                v["affected"][0]["ranges"][0]["events"] =
                    Value::Array(vec![json!({"introduced": "0"}); 10_001])
            },
            "events",
        ),
        (
            &|v| v["affected"][0]["versions"] = Value::Array(vec![json!("1"); 100_001]),
            "versions",
        ),
        (
            &|v| v["affected"][0]["package"]["name"] = json!("a\nb"),
            "name",
        ),
        (
            &|v| v["affected"] = Value::Array(vec![json!({}); 20_001]),
            "packages",
        ),
        (&|v| v["affected"] = json!("all"), "invalid type"),
    ] {
        let refused = with(change).unwrap_err();
        assert_eq!(refused.code, "osv-malformed");
        assert!(refused.message.contains(why), "{why}: {refused}");
    }
    let deep = format!(
        "{{\"id\":\"A-1\",\"modified\":\"2026-01-01T00:00:00Z\",\"x\":{}",
        "[".repeat(100_000)
    );
    assert!(Record::parse(deep.as_bytes()).is_err());
    assert!(Record::parse(&full().to_string().as_bytes()[..200]).is_err());
}

#[test]
fn severities_are_those_of_the_vectors_and_absence_is_not_zero() {
    let rated = |severity: Value, word: Value| {
        let mut value = full();
        value["severity"] = severity;
        value["database_specific"] = json!({"severity": word});
        let read = record(value);
        Rating::of(&read, &read.affected[0])
    };
    let v2 = json!({"type": "CVSS_V2", "score": "AV:N/AC:L/Au:N/C:P/I:P/A:P"});
    let v3 = json!({"type": "CVSS_V3", "score": "CVSS:3.1/AV:N/AC:L/PR:N/UI:N/S:U/C:H/I:H/A:H"});
    let v4 = json!({"type": "CVSS_V4", "score": "CVSS:4.0/AV:N/AC:L/AT:N/PR:N/UI:N/VC:N/VI:N/VA:L/SC:N/SI:N/SA:N"});
    let rating = rated(json!([v2]), Value::Null);
    assert_eq!((rating.score, rating.grade), (Some(7.5), Grade::High));
    let rating = rated(json!([v2, v3]), Value::Null);
    assert_eq!((rating.score, rating.grade), (Some(9.8), Grade::Critical));
    let rating = rated(json!([v3, v4]), Value::Null);
    assert_eq!((rating.score, rating.grade), (Some(6.9), Grade::Medium));
    // An unreadable vector is no zero.
    let rating = rated(
        json!([{"type": "CVSS_V3", "score": "CVSS:3.1/AV:Q"}]),
        Value::Null,
    );
    assert_eq!(rating, Rating::UNRATED);
    assert_eq!(rated(json!([]), json!("MODERATE")).grade, Grade::Medium);
    assert_eq!(rated(json!([]), json!("purple")), Rating::UNRATED);
    assert!(Grade::Unrated > Grade::Low && Grade::Unrated != Grade::None);
}

#[test]
fn an_index_finds_what_concerns_a_version() {
    let mut builder = Builder::default();
    builder.add(&record(full()));
    let mut withdrawn = full();
    withdrawn["id"] = json!("GHSA-with-draw-nnnn");
    withdrawn["withdrawn"] = json!("2026-02-01T00:00:00Z");
    builder.add(&record(withdrawn));
    let mut older = full();
    older["modified"] = json!("2025-01-02T03:04:05Z");
    older["affected"][0]["versions"] = json!(["5.0"]);
    builder.add(&record(older));
    for (id, name) in [("MAL-2026-1", "evil"), ("RUSTSEC-2026-1", "zz")] {
        builder.add(&record(json!({
            "id": id, "modified": "2026-01-01T00:00:00Z",
            "affected": [{"package": {"ecosystem": "npm", "name": name}, "ranges": range("SEMVER", json!([{"introduced": "0"}]))}],
        })));
    }
    let index = builder.finish();
    let index = Index::from_bytes(index.as_bytes().to_vec()).unwrap();
    assert_eq!(index.packages(), 3);
    for name in ["thing-one", "Thing.One"] {
        let rules = index.package("PyPI", name).unwrap();
        let found = rules.findings("1.1");
        assert_eq!(
            found.len(),
            1,
            "the withdrawn one and the older copy are gone"
        );
        assert_eq!(found[0].rule.advisory.id, "GHSA-aaaa-bbbb-cccc");
        assert_eq!(
            found[0].rule.advisory.url.as_deref(),
            Some("https://example.test/a")
        );
        assert_eq!(found[0].rule.advisory.rating.score, Some(9.8));
        // An event of tomorrow's schema makes what lies outside the list unknown; the older copy would say affected.
        assert_eq!(rules.findings("5.0")[0].verdict, Verdict::Unknown);
    }
    let rules = index.project(Ecosystem::Npm, "evil").unwrap();
    let found = rules.findings("0.0.1");
    assert!(found[0].rule.advisory.malware);
    assert_eq!(found[0].rule.advisory.rating.grade, Grade::Critical);
    assert!(index.project(Ecosystem::Npm, "zz").is_some());
    assert!(index.project(Ecosystem::Npm, "z").is_none());
    assert!(index.package("PyPI", "evil").is_none());
    assert_eq!(
        Index::from_bytes(b"other\n".to_vec()).unwrap_err().code,
        "osv-index"
    );
}

#[test]
fn the_fix_is_the_first_one_after_the_version() {
    let mut builder = Builder::default();
    builder.add(&record(json!({
        "id": "X-1", "modified": "2026-01-01T00:00:00Z",
        "affected": [{
            "package": {"ecosystem": "crates.io", "name": "some_crate"},
            "ranges": range("SEMVER", json!([
                {"introduced": "0.0.0-0"}, {"fixed": "1.0.5"}, {"introduced": "2.0.0"}, {"fixed": "2.3.0"},
            ])),
        }],
    })));
    let index = builder.finish();
    let rules = index.project(Ecosystem::Cargo, "some-crate").unwrap();
    let fix = |version: &str| {
        rules
            .findings(version)
            .first()
            .and_then(|f| f.fixed.clone())
    };
    assert_eq!(fix("1.0.1").as_deref(), Some("1.0.5"));
    assert_eq!(fix("2.0.1").as_deref(), Some("2.3.0"));
    assert_eq!(rules.findings("1.0.5"), []);
}

/// A zip as databases write it: stored members.
fn zip(members: &[(&str, &[u8])]) -> Vec<u8> {
    let mut out = Vec::new();
    let mut central = Vec::new();
    for (name, bytes) in members {
        let mut crc = flate2::Crc::new();
        crc.update(bytes);
        let at = u32::try_from(out.len()).unwrap();
        let size = u32::try_from(bytes.len()).unwrap();
        let mut header = Vec::new();
        header.extend(20u16.to_le_bytes());
        header.extend([0; 2 + 2]);
        header.extend([0; 2]);
        header.extend(0x21u16.to_le_bytes());
        header.extend(crc.sum().to_le_bytes());
        header.extend(size.to_le_bytes());
        header.extend(size.to_le_bytes());
        header.extend(u16::try_from(name.len()).unwrap().to_le_bytes());
        header.extend(0u16.to_le_bytes());
        out.extend(b"PK\x03\x04");
        out.extend(&header);
        out.write_all(name.as_bytes()).unwrap();
        out.extend(*bytes);
        central.extend(b"PK\x01\x02");
        central.extend(20u16.to_le_bytes());
        central.extend(&header);
        central.extend([0; 2 + 2 + 2 + 4]);
        central.extend(at.to_le_bytes());
        central.extend(name.as_bytes());
    }
    let (offset, size) = (out.len(), central.len());
    out.extend(central);
    out.extend(b"PK\x05\x06\0\0\0\0");
    let count = u16::try_from(members.len()).unwrap();
    out.extend(count.to_le_bytes());
    out.extend(count.to_le_bytes());
    out.extend(u32::try_from(size).unwrap().to_le_bytes());
    out.extend(u32::try_from(offset).unwrap().to_le_bytes());
    out.extend(0u16.to_le_bytes());
    out
}

fn import_zip(bytes: &[u8]) -> Result<(import::Report, Vec<String>), Rejection> {
    let mut ids = Vec::new();
    let report = import::archive(&mut Cursor::new(bytes), bytes.len() as u64, &mut |record| {
        ids.push(record.id);
        Ok(())
    })?;
    Ok((report, ids))
}

use crate::Rejection;

#[test]
fn a_bulk_zip_is_read_and_bad_records_are_told() {
    let good = full().to_string();
    let mut withdrawn = full();
    withdrawn["id"] = json!("W-1");
    withdrawn["withdrawn"] = json!("2026-02-01T00:00:00Z");
    let mut absurd = full();
    absurd["affected"][0]["ranges"][0]["events"] = json!([{"fixed": "1"}]);
    let enormous = vec![b' '; MAX_RECORD + 1];
    let bytes = zip(&[
        ("GHSA-aaaa-bbbb-cccc.json", good.as_bytes()),
        ("W-1.json", withdrawn.to_string().as_bytes()),
        ("cut.json", &good.as_bytes()[..100]),
        ("absurd.json", absurd.to_string().as_bytes()),
        ("enormous.json", &enormous),
        ("README.md", b"no record"),
    ]);
    let (report, ids) = import_zip(&bytes).unwrap();
    assert_eq!(ids, ["GHSA-aaaa-bbbb-cccc", "W-1"]);
    assert_eq!(
        (report.records, report.withdrawn, report.refused),
        (2, 1, 3)
    );
    let told: Vec<&str> = report
        .reasons
        .iter()
        .map(|(place, _)| place.as_str())
        .collect();
    assert_eq!(told, ["cut.json", "absurd.json", "enormous.json"]);
    assert!(report.reasons[1].1.contains("begins nowhere"));
    // Cut off, or with a bit turned, the whole is refused.
    assert!(import_zip(&bytes[..bytes.len() - 30]).is_err());
    let mut turned = bytes.clone();
    turned[60] ^= 1;
    assert!(import_zip(&turned).is_err());
    assert!(import_zip(b"PK").is_err());
}

#[test]
fn documents_of_several_shapes_are_read() {
    let (one, list) = (full().to_string(), json!([full(), full()]).to_string());
    let lines = format!("{one}\n{one}\n{one}\n");
    let answer = json!({"vulns": [full()]}).to_string();
    for (text, expected) in [(&one, 1), (&list, 2), (&lines, 3), (&answer, 1)] {
        let mut seen = 0;
        let report = import::document("x.json", text.as_bytes(), &mut |_| {
            seen += 1;
            Ok(())
        })
        .unwrap();
        assert_eq!((report.records, seen), (expected, expected));
    }
    let mut nothing = |_| Ok(());
    let cut = format!("{one}\n{one}\n{}", &one[..50]);
    for text in ["", "nonsense", "{}", "[1]", "[{}", &one[..50], &cut] {
        let refused = import::document("x", text.as_bytes(), &mut nothing).unwrap_err();
        assert_eq!(refused.code, "osv-malformed", "{text}");
    }
    // As one of many files a document may hold nothing of use, and must be whole all the same.
    let told = import::part("x", b"{}", &mut nothing).unwrap();
    assert_eq!((told.records, told.refused), (0, 1));
    assert!(import::part("x", cut.as_bytes(), &mut nothing).is_err());
    // One of several that can not be used is told, the others are taken.
    let mixed = format!("[{one}, {{\"id\": \"\"}}]");
    let report = import::document("x", mixed.as_bytes(), &mut nothing).unwrap();
    assert_eq!((report.records, report.refused), (1, 1));
}
