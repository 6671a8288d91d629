//! Advisories: imported whole or not at all, judged by the order of versions, shown at once.

use std::io::Write as _;
use std::path::{Path, PathBuf};

use countersign_formats::Ecosystem;
use countersign_registry::model::Actor;
use countersign_registry::{AdvisoryFeed, AdvisoryImport, DocumentKey, Error, NewAdvisory};
use countersign_testkit::packages::Wheel;
use serde_json::{Value, json};

use crate::kit::{TestRegistry, refused};
use crate::on_both_databases;

const PYPI: Ecosystem = Ecosystem::Pypi;

/// A record about versions of `demo` from 1.0 on and before 2.0.
fn record(id: &str, modified: &str, package: &str) -> Value {
    json!({
        "schema_version": "1.7.0", "id": id, "modified": modified, "summary": format!("{id} of {package}"),
        "affected": [{
            "package": {"ecosystem": "PyPI", "name": package},
            "ranges": [{"type": "ECOSYSTEM", "events": [{"introduced": "1.0"}, {"fixed": "2.0"}]}],
        }],
        "future_field": {"kept": true},
    })
}

fn written(folder: &Path, name: &str, records: &[Value]) -> PathBuf {
    let path = folder.join(name);
    let mut file = std::fs::File::create(&path).unwrap();
    file.write_all(Value::from(records).to_string().as_bytes())
        .unwrap();
    path
}

async fn import(test: &TestRegistry, path: &Path, shrink: bool) -> Result<AdvisoryImport, Error> {
    let feed = AdvisoryFeed {
        name: "osv".to_owned(),
        path: path.to_owned(),
        accept_shrinkage: shrink,
    };
    let registry = &test.registry;
    registry
        .import_advisories(&Actor::operator(), &feed, &mut |_, _| {})
        .await
}

async fn known(test: &TestRegistry, version: &str) -> Vec<String> {
    let concerns = test.registry.concerns(PYPI, "demo", version).await.unwrap();
    concerns
        .into_iter()
        .map(|concern| concern.advisory.id)
        .collect()
}

async fn legacy(test: &TestRegistry, version: Option<&str>) -> Value {
    let registry = &test.registry;
    let document = registry
        .legacy_json_with_advisories("demo", version)
        .await
        .unwrap();
    serde_json::from_slice(&document.bytes).unwrap()
}

on_both_databases! {
    async fn what_is_imported_concerns_the_versions_that_it_means_and_shows_at_once(test: TestRegistry) {
        let ann = test.user("ann").await;
        for version in ["0.9", "1.5", "2.0"] {
            test.publish(&ann, &Wheel::new("demo", version).build()).await.unwrap();
        }
        let folder = tempfile::tempdir().unwrap();
        // Read before, so that it lies in memory.
        let before = legacy(&test, Some("1.5")).await;
        assert_eq!(before["vulnerabilities"], json!([]));
        let mut elsewhere = record("GO-1", "2026-01-01T00:00:00Z", "x");
        elsewhere["affected"][0]["package"]["ecosystem"] = json!("Go");
        let broken = json!({"id": "BAD-1"});
        let path = written(folder.path(), "all.json", &[
            record("PYSEC-1", "2026-01-01T00:00:00Z", "Demo"), elsewhere, broken,
        ]);
        let done = import(&test, &path, false).await.unwrap();
        assert_eq!((done.records, done.written, done.elsewhere, done.refused), (1, 1, 1, 1), "{done:?}");
        assert!(done.reasons[0].1.contains("modified"), "{done:?}");
        for (version, count) in [("0.9", 0), ("1.5", 1), ("1.9.1", 1), ("2.0", 0)] {
            assert_eq!(known(&test, version).await.len(), count, "{version}");
        }
        let after = legacy(&test, Some("1.5")).await;
        assert_eq!(after["vulnerabilities"][0]["id"], "PYSEC-1");
        assert_eq!(after["vulnerabilities"][0]["fixed_in"], json!(["2.0"]));
        assert_eq!(legacy(&test, None).await["vulnerabilities"], json!([]));
        // Fields that nobody knows are kept.
        let kept: Value = serde_json::from_str(&test.registry.advisory("PYSEC-1").await.unwrap()).unwrap();
        assert_eq!(kept["future_field"]["kept"], true);
        let mut found = Vec::new();
        test.registry.affected_releases(&mut |one| found.push((one.version, one.advisory))).await.unwrap();
        assert_eq!(found, [("1.5".to_owned(), "PYSEC-1".to_owned())]);
        // A release that comes later needs no new import.
        test.publish(&ann, &Wheel::new("demo", "1.6").build()).await.unwrap();
        assert_eq!(legacy(&test, Some("1.6")).await["vulnerabilities"][0]["id"], "PYSEC-1");
        // What another one needs.
        let needed = test.registry.dependency_concerns(PYPI, &["demo", "other"]).await.unwrap();
        assert_eq!((needed.len(), needed[0].affected, needed[0].releases), (1, 2, 4));

        // The same again writes nothing; what is newer counts, what is older does not, what is withdrawn matches nothing.
        let state = test.registry.advisories_state().await.unwrap();
        assert_eq!(import(&test, &path, false).await.unwrap().written, 0);
        let mut withdrawn = record("PYSEC-1", "2026-02-01T00:00:00Z", "demo");
        withdrawn["withdrawn"] = json!("2026-02-01T00:00:00Z");
        let path = written(folder.path(), "all.json", &[withdrawn]);
        let done = import(&test, &path, false).await.unwrap();
        assert_eq!((done.written, done.withdrawn), (1, 1));
        assert!(known(&test, "1.5").await.is_empty());
        assert!(test.registry.advisory("PYSEC-1").await.unwrap().contains("withdrawn"));
        assert_ne!(test.registry.advisories_state().await.unwrap(), state);
        assert_eq!(legacy(&test, Some("1.5")).await["vulnerabilities"], json!([]));
    }

    async fn a_feed_that_is_cut_off_or_lost_much_changes_nothing(test: TestRegistry) {
        let folder = tempfile::tempdir().unwrap();
        let many: Vec<Value> = (0..300)
            .map(|number| record(&format!("PYSEC-{number}"), "2026-01-01T00:00:00Z", "demo"))
            .collect();
        let path = written(folder.path(), "all.json", &many);
        assert_eq!(import(&test, &path, false).await.unwrap().written, 300);
        let newer: Vec<Value> = (0..300)
            .map(|number| record(&format!("PYSEC-{number}"), "2026-03-01T00:00:00Z", "other"))
            .collect();
        // Cut off: the first records of it are good.
        let whole = Value::from(newer).to_string();
        let cut = folder.path().join("cut.json");
        std::fs::write(&cut, &whole[..whole.len() / 2]).unwrap();
        refused(import(&test, &cut, false).await, "osv-malformed");
        let empty = folder.path().join("zip.zip");
        std::fs::write(&empty, b"PK\x03\x04 and no more").unwrap();
        assert!(import(&test, &empty, false).await.is_err());
        refused(import(&test, &folder.path().join("none"), false).await, "advisories-unreadable");
        assert_eq!(known(&test, "1.5").await.len(), 300);

        let path = written(folder.path(), "few.json", &many[..269]);
        refused(import(&test, &path, false).await, "advisories-shrank");
        assert_eq!(known(&test, "1.5").await.len(), 300);
        let done = import(&test, &path, true).await.unwrap();
        assert_eq!((done.gone, known(&test, "1.5").await.len()), (31, 269));
        let feeds = test.registry.advisory_feeds().await.unwrap();
        assert_eq!((feeds.len(), feeds[0].records), (1, 269));

        let ann = test.user("ann").await;
        let feed = AdvisoryFeed { name: "x".into(), path, accept_shrinkage: false };
        refused(test.registry.import_advisories(&ann, &feed, &mut |_, _| {}).await, "operator-needed");
    }

    async fn what_is_issued_here_counts_until_it_is_withdrawn_and_stays_in_the_feed(test: TestRegistry) {
        let operator = Actor::operator();
        let mut new = NewAdvisory {
            ecosystem: PYPI,
            project: "Demo".to_owned(),
            versions: vec!["1.5".to_owned()],
            summary: "It sends environment variables away".to_owned(),
            details: String::new(),
            malware: true,
        };
        let first = test.registry.issue_advisory(&operator, &new).await.unwrap();
        new.versions.clear();
        let second = test.registry.issue_advisory(&operator, &new).await.unwrap();
        assert_ne!(first, second);
        assert_eq!(known(&test, "1.5.0").await, [first.clone(), second.clone()]);
        assert_eq!(known(&test, "3").await, std::slice::from_ref(&second));
        let concerns = test.registry.concerns(PYPI, "demo", "3").await.unwrap();
        assert!(concerns[0].advisory.malware);
        test.registry.withdraw_advisory(&operator, &second).await.unwrap();
        test.registry.withdraw_advisory(&operator, &second).await.unwrap();
        assert!(known(&test, "3").await.is_empty());
        assert_eq!(test.registry.own_advisories().await.unwrap().len(), 2);
        refused(test.registry.withdraw_advisory(&operator, "PYSEC-1").await, "advisory-unknown");
        new.summary = "two\nlines".to_owned();
        refused(test.registry.issue_advisory(&operator, &new).await, "advisory-malformed");
        let ann = test.user("ann").await;
        refused(test.registry.issue_advisory(&ann, &new).await, "operator-needed");
        // A feed has no say over what is issued here.
        let folder = tempfile::tempdir().unwrap();
        let path = written(folder.path(), "all.json", &[record(&first, "2036-01-01T00:00:00Z", "other")]);
        assert_eq!(import(&test, &path, false).await.unwrap().written, 0);
        assert_eq!(known(&test, "1.5").await, [first]);
        test.publish(&ann, &Wheel::new("demo", "1.5").build()).await.unwrap();
        assert!(!test.text(DocumentKey::Index(PYPI, "demo".into())).await.unwrap().contains("CSGN-"));
    }
}
