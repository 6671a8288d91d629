//! Advisories: imported whole or not at all, judged by the order of versions, shown at once.

use std::io::Write as _;
use std::path::{Path, PathBuf};

use countersign_formats::Ecosystem;
use countersign_formats::osv::{Grade, Record};
use countersign_registry::model::{Actor, Cause, Order, Portion, Presented, Time};
use countersign_registry::{
    AdvisoryBlock, AdvisoryFeed, AdvisoryImport, Deletion, DocumentKey, Error, NewAdvisory,
    NewExemption, Reader, Registry, reading_as,
};
use countersign_testkit::packages::{Package, Wheel};
use countersign_testkit::schema::{OSV, osv};
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

impl TestRegistry {
    /// What the doctor says about one thing.
    async fn diagnosis(&self, id: &str) -> String {
        let keys = self.folder.path().join("keys");
        let registry = &self.registry;
        let found = registry.doctor(Some(&keys), false, &mut |_, _| {}).await;
        found.into_iter().find(|one| one.id == id).unwrap().what
    }
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
        assert!(first.starts_with("x_") && second.ends_with("-2"), "{first} {second}");
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
        assert_eq!(known(&test, "1.5").await, std::slice::from_ref(&first));
        test.publish(&ann, &Wheel::new("demo", "1.5").build()).await.unwrap();
        assert!(!test.text(DocumentKey::Index(PYPI, "demo".into())).await.unwrap().contains(&first));
    }

    async fn what_is_issued_here_holds_by_the_official_schema(test: TestRegistry) {
        let (ann, operator) = (test.user("ann").await, Actor::operator());
        let registry = &test.registry;
        let names = [(PYPI, "demo"), (Ecosystem::Cargo, "serde_demo"), (Ecosystem::Npm, "@acme/demo")];
        for (ecosystem, project) in names {
            for (versions, details, malware) in [(&["1.5.0"][..], "", true), (&[], "# What\n\nIt *reads* too far", false)] {
                let new = NewAdvisory {
                    ecosystem,
                    project: project.to_owned(),
                    versions: versions.iter().map(|version| (*version).to_owned()).collect(),
                    summary: "It sends \"variables\" away".to_owned(),
                    details: details.to_owned(),
                    malware,
                };
                let id = registry.issue_advisory(&operator, &new).await.unwrap();
                if ecosystem == PYPI {
                    registry.withdraw_advisory(&operator, &id).await.unwrap();
                }
            }
        }
        // Of quarantines: a file, a release, a project, one that is over.
        for (name, version) in [("filed", "1.0"), ("released", "1.0"), ("whole", "1.0"), ("over", "1.0")] {
            test.publish(&ann, &Wheel::new(name, version).build()).await.unwrap();
        }
        let malware = Order { reason: "sends tokens away", cause: Cause::Malware, freeze: false };
        let file = Wheel::new("filed", "1.0").build().filename;
        for (name, portion) in [
            ("filed", Portion::File(&file)),
            ("released", Portion::Release("1.0")),
            ("whole", Portion::Project),
            ("over", Portion::Release("1.0")),
        ] {
            registry.withhold(&operator, PYPI, name, portion, malware).await.unwrap();
        }
        registry.serve_again(&operator, PYPI, "over", Portion::Release("1.0")).await.unwrap();
        let (schemas, own) = (osv(), registry.own_advisories().await.unwrap());
        assert_eq!(own.len(), 10);
        for (id, _, text) in &own {
            let record: Value = serde_json::from_str(text).unwrap();
            let faults = schemas.faults(OSV, &record);
            assert!(faults.is_empty(), "{id}: {faults:#?} of {record:#}");
            // It does refuse what is wrong.
            for (place, wrong) in [("/id", json!("demo-1")), ("/modified", json!("yesterday")), ("/affected/0/package/ecosystem", json!("pypi"))] {
                let mut record = record.clone();
                *record.pointer_mut(place).unwrap() = wrong;
                assert!(!schemas.faults(OSV, &record).is_empty(), "{place} of {id}");
            }
        }
        let withdrawn = own.iter().filter(|(_, _, text)| text.contains("\"withdrawn\""));
        assert_eq!(withdrawn.count(), 3);
    }

    async fn a_feed_of_the_settings_is_read_again_when_its_files_change_and_refused_once(database: Database) {
        let folder = tempfile::tempdir().unwrap();
        let all = |count: u32, modified: &str| -> Vec<Value> {
            (0..count).map(|number| record(&format!("PYSEC-{number}"), modified, "demo")).collect()
        };
        let path = folder.path().join("all.json");
        let named = path.clone();
        let test = TestRegistry::with(database, |settings| {
            settings.advisories.feeds = vec![("osv".to_owned(), named)];
        }).await;
        // Nobody fetched it yet.
        refused(test.registry.refresh_advisories().await, "advisories-unreadable");
        assert_eq!(test.registry.advisory_problems().await.unwrap()[0].feed, "osv");
        written(folder.path(), "all.json", &all(30, "2026-01-01T00:00:00Z"));
        test.registry.refresh_advisories().await.unwrap();
        assert_eq!(known(&test, "1.5").await.len(), 30);
        assert!(test.registry.advisory_problems().await.unwrap().is_empty());
        let state = test.registry.advisories_state().await.unwrap();
        test.registry.refresh_advisories().await.unwrap();
        assert_eq!(test.registry.advisories_state().await.unwrap(), state, "nothing changed");
        // Half of it is gone: told, and not read again before it changes.
        written(folder.path(), "all.json", &all(15, "2026-02-01T00:00:00Z"));
        refused(test.registry.refresh_advisories().await, "advisories-shrank");
        refused(test.registry.refresh_advisories().await, "advisories-refused");
        assert_eq!(known(&test, "1.5").await.len(), 30);
        let told = test.registry.advisory_problems().await.unwrap();
        assert!(told[0].problem.contains("has 15 now"), "{told:?}");
        let diagnosis = test.diagnosis("advisories").await;
        assert!(diagnosis.contains("not taken") && diagnosis.contains("osv"), "{diagnosis}");
        // The operator believes it.
        import(&test, &path, true).await.unwrap();
        assert_eq!(known(&test, "1.5").await.len(), 15);
        test.registry.refresh_advisories().await.unwrap();
        assert!(test.diagnosis("advisories").await.contains("15 advisories of one feed"));
        test.check().await;
    }

    async fn a_folder_of_many_records_counts_the_bad_ones_and_a_part_that_is_cut_off_refuses_all(test: TestRegistry) {
        let folder = tempfile::tempdir().unwrap();
        let mut absurd = record("PYSEC-2", "2026-01-01T00:00:00Z", "demo");
        absurd["affected"][0]["ranges"][0]["events"] = json!([{"fixed": "1"}]);
        let mut long = record("PYSEC-3", "2026-01-01T00:00:00Z", "demo");
        long["affected"][0]["package"]["name"] = json!("n".repeat(600));
        let below = folder.path().join("deeper");
        std::fs::create_dir(&below).unwrap();
        for (name, one) in [("1.json", record("PYSEC-1", "2026-01-01T00:00:00Z", "demo")), ("2.json", absurd), ("3.json", long)] {
            std::fs::write(below.join(name), one.to_string()).unwrap();
        }
        std::fs::write(below.join("notes.txt"), "no record").unwrap();
        let done = import(&test, folder.path(), false).await.unwrap();
        assert_eq!((done.records, done.written, done.refused), (1, 1, 2), "{done:?}");
        let reasons: Vec<&str> = done.reasons.iter().map(|(_, why)| why.as_str()).collect();
        assert!(reasons.iter().any(|why| why.contains("begins nowhere")), "{reasons:?}");
        assert!(reasons.iter().any(|why| why.contains("500 bytes")), "{reasons:?}");
        let newer = record("PYSEC-1", "2026-02-01T00:00:00Z", "other").to_string();
        std::fs::write(below.join("1.json"), newer).unwrap();
        std::fs::write(below.join("4.json"), "{\"id\": \"PYSEC-4\", \"mod").unwrap();
        let refusal = refused(import(&test, folder.path(), false).await, "osv-malformed");
        assert!(refusal.message.contains("4.json"), "{refusal}");
        assert_eq!(known(&test, "1.5").await, ["PYSEC-1"]);
    }

    async fn a_quarantine_for_malware_is_an_advisory_until_it_is_undone(test: TestRegistry) {
        let (ann, operator) = (test.user("ann").await, Actor::operator());
        for (name, version) in [("demo", "1.0"), ("demo", "2.0"), ("other", "1.0"), ("hidden", "1.0")] {
            test.publish(&ann, &Wheel::new(name, version).build()).await.unwrap();
        }
        let registry = &test.registry;
        let malware = Order { reason: "sends tokens away", cause: Cause::Malware, freeze: false };
        let release = Portion::Release("2.0");
        registry.withhold(&operator, PYPI, "demo", release, malware).await.unwrap();
        registry.withhold(&operator, PYPI, "demo", release, malware).await.unwrap();
        let own = registry.own_advisories().await.unwrap();
        assert_eq!(own.len(), 1, "one case, one advisory");
        let record = Record::parse(own[0].2.as_bytes()).unwrap();
        assert!(record.is_malware() && record.summary.unwrap().contains("sends tokens away"));
        assert_eq!((known(&test, "2.0").await.len(), known(&test, "1.0").await.len()), (1, 0));
        // A suspicion is no advisory; nor is what not everybody may see, nor what its own people withhold.
        registry.withhold(&operator, PYPI, "other", Portion::Project, Order::because("odd")).await.unwrap();
        registry.set_private(&operator, PYPI, "hidden", true).await.unwrap();
        registry.withhold(&operator, PYPI, "hidden", Portion::Project, malware).await.unwrap();
        registry.withhold(&ann, PYPI, "demo", Portion::Release("1.0"), malware).await.unwrap();
        assert_eq!(registry.own_advisories().await.unwrap().len(), 1);
        // Undone: withdrawn, and newer than what others have.
        registry.serve_again(&operator, PYPI, "demo", release).await.unwrap();
        assert!(known(&test, "2.0").await.is_empty());
        let (_, modified, text) = registry.own_advisories().await.unwrap().remove(0);
        assert!(text.contains("\"withdrawn\"") && modified > own[0].1, "{modified} {}", own[0].1);
        // Deleted: it stays.
        registry.withhold(&operator, PYPI, "demo", release, malware).await.unwrap();
        registry.delete(&operator, PYPI, "demo", Deletion::Release("2.0")).await.unwrap();
        assert_eq!(known(&test, "2.0").await.len(), 1);
        // Known bytes are no suspicion.
        let bad = Wheel::new("third", "1.0").build();
        test.publish(&ann, &bad).await.unwrap();
        let digests = [(bad.sha256(), "Stealer.A".to_owned())];
        registry.learn_bad_digests(&operator, &digests, "list", false).await.unwrap();
        let concerns = registry.concerns(PYPI, "third", "1.0").await.unwrap();
        assert!(concerns[0].advisory.summary.contains("Stealer.A"), "{concerns:?}");
        test.check().await;
    }

    async fn what_the_operator_blocks_is_refused_with_a_way_out_unless_it_is_exempt(test: TestRegistry) {
        let (ann, operator) = (test.user("ann").await, Actor::operator());
        let (bad, good) = (Wheel::new("demo", "1.5").build(), Wheel::new("demo", "2.0").build());
        for wheel in [&bad, &good] {
            test.publish(&ann, wheel).await.unwrap();
        }
        let folder = tempfile::tempdir().unwrap();
        let mut high = record("PYSEC-1", "2026-01-01T00:00:00Z", "demo");
        high["severity"] = json!([{"type": "CVSS_V3", "score": "CVSS:3.1/AV:N/AC:L/PR:N/UI:N/S:U/C:H/I:N/A:N"}]);
        let path = written(folder.path(), "all.json", &[high]);
        import(&test, &path, false).await.unwrap();
        let under = async |block: AdvisoryBlock| {
            let change = |settings: &mut countersign_registry::Settings| settings.advisories.block = block;
            test.reopened_where(test.blobs(), change).await.unwrap()
        };
        let served = async |registry: &Registry, wheel: &Package| {
            registry.file(&wheel.sha256(), &wheel.filename).await
        };
        // Not unless the operator says so; not what is only bad, where malware alone is minded; not below the severity.
        for block in [AdvisoryBlock::Never, AdvisoryBlock::Malware, AdvisoryBlock::From(Grade::Critical)] {
            served(&under(block).await, &bad).await.unwrap();
        }
        let strict = under(AdvisoryBlock::From(Grade::High)).await;
        let error = refused(served(&strict, &bad).await, "release-advised-against");
        assert!(error.message.contains("PYSEC-1") && error.message.contains("severity high"), "{error}");
        assert!(error.remedy.as_deref().unwrap_or_default().contains("2.0"), "{error}");
        refused(strict.metadata(&bad.sha256(), &bad.filename).await, "release-advised-against");
        served(&strict, &good).await.unwrap();
        // Memory does not outlive what becomes known.
        let malware = NewAdvisory {
            ecosystem: PYPI,
            project: "demo".to_owned(),
            versions: vec!["2.0".to_owned()],
            summary: "It reads keys".to_owned(),
            details: String::new(),
            malware: true,
        };
        let id = strict.issue_advisory(&operator, &malware).await.unwrap();
        let error = refused(served(&strict, &good).await, "release-advised-against");
        assert!(error.message.contains("malware: It reads keys"), "{error}");
        // An exemption, with its reason, for the version and the advisory that it names.
        let mut new = NewExemption {
            ecosystem: PYPI,
            project: "Demo".to_owned(),
            version: Some("2.0.0".to_owned()),
            advisory: "PYSEC-1".to_owned(),
            reason: "we do not parse foreign input with it".to_owned(),
            until: None,
        };
        refused(strict.exempt_from_advisory(&ann, &new).await, "operator-needed");
        strict.exempt_from_advisory(&operator, &new).await.unwrap();
        refused(served(&strict, &good).await, "release-advised-against");
        new.advisory.clone_from(&id);
        new.version = Some("2.0".to_owned());
        let exemption = strict.exempt_from_advisory(&operator, &new).await.unwrap();
        served(&strict, &good).await.unwrap();
        assert_eq!(strict.advisory_exemptions(&operator).await.unwrap().len(), 2);
        strict.end_exemption(&operator, &exemption).await.unwrap();
        refused(strict.end_exemption(&operator, &exemption).await, "exemption-unknown");
        refused(served(&strict, &good).await, "release-advised-against");
        // One that ends by itself, and is told from what is blocked.
        new.until = Some(Time(0));
        refused(strict.exempt_from_advisory(&operator, &new).await, "exemption-until");
        new.until = Some(strict.now().plus_seconds(3_600));
        strict.exempt_from_advisory(&operator, &new).await.unwrap();
        let before = strict.advisories_state().await.unwrap();
        served(&strict, &good).await.unwrap();
        let standing = strict.advisory_standing(PYPI, "demo", "2.0").await.unwrap();
        assert!(standing.blocked.is_empty() && standing.exempt[0].1.until == new.until, "{standing:?}");
        strict.look_after_accounts().await.unwrap();
        served(&strict, &good).await.unwrap();
        test.turn_clock(std::time::Duration::from_secs(3_601));
        // Its time is over, whether or not anybody has looked since.
        let standing = strict.advisory_standing(PYPI, "demo", "2.0").await.unwrap();
        assert_eq!((standing.blocked.len(), standing.exempt.len()), (1, 0));
        strict.look_after_accounts().await.unwrap();
        refused(served(&strict, &good).await, "release-advised-against");
        assert_ne!(strict.advisories_state().await.unwrap(), before, "pages are made anew");
        let standing = strict.advisory_standing(PYPI, "demo", "2.0").await.unwrap();
        assert_eq!((standing.blocked.len(), standing.exempt.len()), (1, 0));
        let ended = test.count("SELECT count(*) AS n FROM events WHERE kind = 'advisory-exemption-ended'").await;
        assert_eq!(ended, 2);
        new.until = None;
        strict.withdraw_advisory(&operator, &id).await.unwrap();
        served(&strict, &good).await.unwrap();
        new.reason = " ".to_owned();
        refused(strict.exempt_from_advisory(&operator, &new).await, "reason");
        new.reason = "x".to_owned();
        new.advisory = "NONE-1".to_owned();
        refused(strict.exempt_from_advisory(&operator, &new).await, "advisory-unknown");
        test.check().await;
    }

    async fn whoever_downloaded_malware_is_told_once_if_the_operator_keeps_that_and_says_so(database: Database) {
        let test = TestRegistry::with(database, |settings| {
            settings.advisories.keep_downloaders = Some(std::time::Duration::from_secs(30 * 86_400));
        }).await;
        let (ann, operator) = (test.user("ann").await, Actor::operator());
        let (bad, good) = (Wheel::new("demo", "1.5").build(), Wheel::new("demo", "2.0").build());
        for wheel in [&bad, &good] {
            test.publish(&ann, wheel).await.unwrap();
        }
        let registry = &test.registry;
        let download = async |reader: Reader, wheel: &Package| {
            reading_as(reader, async {
                let file = registry.file(&wheel.sha256(), &wheel.filename).await.unwrap();
                registry.note_downloader(&file).await;
            }).await;
        };
        let mut zoe = Actor::anonymous();
        for name in ["bob", "eve", "zoe"] {
            let actor = test.person(name).await;
            zoe.clone_from(&actor);
            let wheel = if name == "zoe" { &good } else { &bad };
            download(Reader::known(actor), wheel).await;
        }
        download(Reader::with(Presented::Nothing, None), &bad).await;
        let issue = async |malware: bool| {
            let new = NewAdvisory {
                ecosystem: PYPI,
                project: "demo".to_owned(),
                versions: vec!["1.5".to_owned()],
                summary: "It reads keys".to_owned(),
                details: String::new(),
                malware,
            };
            registry.issue_advisory(&operator, &new).await.unwrap()
        };
        let (id, flaw) = (issue(true).await, issue(false).await);
        refused(registry.warn_downloaders(&ann, &id, true).await, "operator-needed");
        refused(registry.warn_downloaders(&operator, &flaw, true).await, "advisory-not-malware");
        refused(registry.warn_downloaders(&operator, "NONE-1", true).await, "advisory-unknown");
        // A dry run tells nobody.
        for _ in 0..2 {
            let found = registry.warn_downloaders(&operator, &id, false).await.unwrap();
            assert_eq!((found.accounts, found.before), (vec!["bob".to_owned(), "eve".to_owned()], 0));
            assert_eq!(found.releases, ["pypi:demo 1.5"]);
        }
        registry.warn_downloaders(&operator, &id, true).await.unwrap();
        let again = registry.warn_downloaders(&operator, &id, true).await.unwrap();
        assert_eq!((again.accounts.len(), again.before), (0, 2));
        test.post().await;
        let mails = test.mailbox.to("bob@example.org");
        let told: Vec<_> = mails.iter().filter(|mail| mail.text.contains("pypi:demo 1.5")).collect();
        assert_eq!(told.len(), 1, "of {} mails", mails.len());
        assert!(told[0].text.contains(&id) && !test.mailbox.to("zoe@example.org").iter().any(|mail| mail.text.contains(&id)));
        // It is the account's own, and goes with it.
        let export = registry.export_account(&zoe).await.unwrap();
        assert_eq!(export["tables"]["downloaders"].as_array().unwrap().len(), 1);
        registry.erase_account(&zoe, "zoe").await.unwrap();
        test.check().await;
        // Kept no longer than the operator set; where it is not kept, not at all.
        assert_eq!(registry.forget_downloaders().await.unwrap(), 0);
        let other = test.reopened_where(test.blobs(), |settings| settings.advisories.keep_downloaders = None).await.unwrap();
        refused(other.warn_downloaders(&operator, &id, false).await, "downloaders-not-kept");
        test.turn_clock(std::time::Duration::from_secs(32 * 86_400));
        assert_eq!(registry.forget_downloaders().await.unwrap(), 2);
        download(Reader::known(test.user("may").await), &bad).await;
        registry.flush_downloaders().await.unwrap();
        assert_eq!(other.forget_downloaders().await.unwrap(), 1);
    }
}
