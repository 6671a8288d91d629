//! The queue of scans: what is found is kept, what is bad is withheld, and what waits is served by the end of its scan alone.

use std::io::Cursor;
use std::sync::Mutex;

use countersign_formats::Ecosystem;
use countersign_registry::model::{Actor, Portion};
use countersign_registry::scan::{Outcome, Rules, ScanRequest, scan};
use countersign_registry::{Error, ScanFault, ScanHold, Scanner};
use countersign_testkit::packages::{Package, Sdist, Wheel};
use countersign_trust::leaf::LeafKind;
use futures::future::BoxFuture;

use crate::kit::TestRegistry;
use crate::on_both_databases;

const PYPI: Ecosystem = Ecosystem::Pypi;

fn refused<T: std::fmt::Debug>(outcome: Result<T, Error>, code: &str) -> Error {
    let error = outcome.expect_err(code);
    assert_eq!(error.code, code, "{error}");
    error
}

/// The real rules in this process; or a scanner that dies as often as it is told.
#[derive(Default)]
struct Here(Mutex<u32>);

impl Scanner for Here {
    fn scan<'a>(
        &'a self,
        request: &'a ScanRequest,
        bytes: bytes::Bytes,
    ) -> BoxFuture<'a, Result<Outcome, ScanFault>> {
        let mut deaths = self.0.lock().unwrap();
        if *deaths > 0 {
            *deaths -= 1;
            return Box::pin(std::future::ready(Err(ScanFault(
                "it was killed".to_owned(),
            ))));
        }
        let outcome = scan(
            &Rules::own().unwrap(),
            None,
            request,
            &mut Cursor::new(bytes),
        );
        Box::pin(std::future::ready(
            outcome.map_err(|refused| ScanFault(refused.to_string())),
        ))
    }
}

async fn scanned(test: &TestRegistry, scanner: &Here) -> usize {
    let mut count = 0;
    while test.registry.scan_next(scanner).await.unwrap() {
        count += 1;
    }
    count
}

fn bad(name: &str, version: &str) -> Package {
    Wheel::new(name, version)
        .file(
            "thing_init.pth",
            "import os, subprocess; subprocess.Popen(['true'])\n",
        )
        .build()
}

fn purl(package: &Package, name: &str, version: &str) -> String {
    format!("pkg:pypi/{name}@{version}?file_name={}", package.filename)
}

on_both_databases! {
    async fn what_is_found_is_kept_and_what_is_bad_is_withheld(database: Database) {
        let test = TestRegistry::with(database, |settings| settings.scan.enabled = true).await;
        let (ann, eve, operator) = (test.user("ann").await, test.user("eve").await, Actor::operator());
        let good = Wheel::new("demo", "1.0").build();
        let evil = bad("demo", "2.0");
        for package in [&good, &evil] {
            test.publish(&ann, package).await.unwrap();
            test.registry.file(&package.sha256(), &package.filename).await.unwrap();
        }
        let here = Here::default();
        assert_eq!(scanned(&test, &here).await, 2);
        test.registry.file(&good.sha256(), &good.filename).await.unwrap();
        let told = refused(test.registry.file(&evil.sha256(), &evil.filename).await, "file-quarantined");
        assert!(told.message.contains(".pth"), "{told}");
        let case = test.registry.open_cases(&operator).await.unwrap().remove(0);
        assert_eq!((case.cause.as_str(), case.held), ("scan", None));
        let found = test.registry.findings_of(&ann, PYPI, "demo").await.unwrap();
        let first = found.iter().find(|one| one.finding.rule == "pth-runs-code").unwrap();
        assert!(first.finding.line == 1 && first.finding.snippet.contains("Popen") && first.finding.score >= 80, "{first:?}");
        refused(test.registry.findings_of(&eve, PYPI, "demo").await, "role-missing");
        refused(test.registry.open_findings(&ann).await, "operator-needed");
        assert!(!test.registry.open_findings(&operator).await.unwrap().is_empty());
        // A person says that it is well: it is served, and its next scan would not undo that.
        test.registry.serve_again(&operator, PYPI, "demo", Portion::File(&evil.filename)).await.unwrap();
        test.registry.dismiss_findings(&operator, &purl(&evil, "demo", "2.0")).await.unwrap();
        assert_eq!(scanned(&test, &here).await, 0);
        test.registry.file(&evil.sha256(), &evil.filename).await.unwrap();
        assert!(test.registry.open_findings(&operator).await.unwrap().is_empty());
        test.check().await;
    }

    async fn what_is_served_and_can_not_be_scanned_is_told_to_the_operator(database: Database) {
        let test = TestRegistry::with(database, |settings| settings.scan.enabled = true).await;
        let (ann, operator) = (test.user("ann").await, Actor::operator());
        let good = Wheel::new("demo", "1.0").build();
        test.publish(&ann, &good).await.unwrap();
        let here = Here(Mutex::new(3));
        for _ in 0..3 {
            assert!(test.registry.open_findings(&operator).await.unwrap().is_empty());
            assert!(test.registry.scan_next(&here).await.unwrap());
            test.turn_clock(std::time::Duration::from_secs(300));
        }
        // It waited for nothing, so it is served; but nobody may take that for a good file.
        test.registry.file(&good.sha256(), &good.filename).await.unwrap();
        let found = test.registry.open_findings(&operator).await.unwrap();
        assert!(found.len() == 1 && found[0].finding.snippet.contains("it was killed"), "{found:?}");
        assert!(test.registry.findings_of(&ann, PYPI, "demo").await.unwrap().is_empty());
        test.registry.dismiss_findings(&operator, &purl(&good, "demo", "1.0")).await.unwrap();
        assert!(test.registry.open_findings(&operator).await.unwrap().is_empty());
    }

    async fn what_waits_for_its_scan_is_never_served_before_it(database: Database) {
        let test = TestRegistry::with(database, |settings| {
            settings.scan.enabled = true;
            settings.scan.wait = ScanHold::Always;
        })
        .await;
        let (ann, operator) = (test.user("ann").await, Actor::operator());
        let good = Wheel::new("demo", "1.0").build();
        let receipt = test.publish(&ann, &good).await.unwrap();
        assert!(receipt.warnings.iter().any(|warning| warning.contains("held")), "{:?}", receipt.warnings);
        refused(test.registry.file(&good.sha256(), &good.filename).await, "file-held");
        // The scanner dies in mid-file, again and again: the file stays held, and a person decides.
        let here = Here(Mutex::new(3));
        for _ in 0..3 {
            assert!(test.registry.scan_next(&here).await.unwrap());
            refused(test.registry.file(&good.sha256(), &good.filename).await, "file-held");
            assert!(!test.registry.scan_next(&here).await.unwrap(), "it is not tried at once");
            test.turn_clock(std::time::Duration::from_secs(300));
        }
        let case = test.registry.open_cases(&operator).await.unwrap().remove(0);
        assert!(case.held.is_some() && case.reason.contains("it was killed"), "{case:?}");
        let state = test.registry.scan_of(&operator, &purl(&good, "demo", "1.0")).await.unwrap().unwrap();
        assert!(state.attempts == 3 && state.done.is_some() && state.problem.is_some(), "{state:?}");
        refused(test.registry.serve_again(&ann, PYPI, "demo", Portion::File(&good.filename)).await, "operator-needed");
        test.registry.serve_again(&operator, PYPI, "demo", Portion::File(&good.filename)).await.unwrap();
        test.registry.file(&good.sha256(), &good.filename).await.unwrap();
        // A process that dies with a scan in hand loses it; the next one ends it, and the file is served.
        let second = Wheel::new("demo", "1.1").build();
        test.publish(&ann, &second).await.unwrap();
        let here = Here::default();
        assert_eq!(scanned(&test, &here).await, 1);
        test.registry.file(&second.sha256(), &second.filename).await.unwrap();
        assert!(test.index("demo").await.unwrap().contains(&second.sha256()));
        // What is found bad stays held, and was never served.
        let evil = bad("demo", "2.0");
        test.publish(&ann, &evil).await.unwrap();
        assert_eq!(scanned(&test, &here).await, 1);
        refused(test.registry.file(&evil.sha256(), &evil.filename).await, "file-held");
        assert!(!test.index("demo").await.unwrap().contains(&evil.sha256()));
        let leaves = test.check().await;
        let count = |kind| leaves.iter().filter(|leaf| leaf.kind == kind).count();
        assert_eq!((count(LeafKind::Quarantined), count(LeafKind::Released)), (3, 2));
    }

    async fn known_bytes_are_held_and_what_is_served_with_them_is_withheld(test: TestRegistry) {
        let (ann, operator) = (test.user("ann").await, Actor::operator());
        let (known, later) = (Wheel::new("known", "1.0").build(), Wheel::new("later", "1.0").build());
        test.publish(&ann, &later).await.unwrap();
        let list = |package: &Package| vec![(package.sha256(), "MAL-0000-1".to_owned())];
        refused(test.registry.learn_bad_digests(&ann, &list(&known), "test", false).await, "operator-needed");
        let wrong = vec![("abc".to_owned(), String::new())];
        refused(test.registry.learn_bad_digests(&operator, &wrong, "test", false).await, "bad-digest");
        assert_eq!(test.registry.learn_bad_digests(&operator, &list(&known), "test", false).await.unwrap(), 0);
        assert_eq!(test.registry.learn_bad_digests(&operator, &list(&later), "test", false).await.unwrap(), 1);
        refused(test.registry.file(&later.sha256(), &later.filename).await, "file-quarantined");
        test.publish(&ann, &known).await.unwrap();
        refused(test.registry.file(&known.sha256(), &known.filename).await, "file-held");
        let cases = test.registry.open_cases(&operator).await.unwrap();
        assert!(cases.len() == 2 && cases.iter().all(|case| case.cause == "feed"), "{cases:?}");
        // A record that is withdrawn holds nothing more, and serves nothing by itself.
        test.registry.learn_bad_digests(&operator, &list(&later), "test", true).await.unwrap();
        refused(test.registry.file(&later.sha256(), &later.filename).await, "file-quarantined");
        test.registry.serve_again(&operator, PYPI, "later", Portion::File(&later.filename)).await.unwrap();
        test.registry.file(&later.sha256(), &later.filename).await.unwrap();
        test.check().await;
    }

    async fn a_wheel_with_a_module_that_its_sources_do_not_have_is_shown_in_whichever_order_they_come(database: Database) {
        let test = TestRegistry::with(database, |settings| settings.scan.enabled = true).await;
        let (ann, operator) = (test.user("ann").await, Actor::operator());
        let wheel = |version: &str, text: &str| Wheel::new("demo", version).file("demo/pay.py", text).build();
        let sdist = |version: &str, text: &str| Sdist::new("demo", version).file("demo/pay.py", text).build();
        let here = Here::default();
        for (version, sources_first) in [("1.0", true), ("2.0", false)] {
            let (evil, honest) = (wheel(version, "def pay(): steal()\n"), sdist(version, "def pay(): pass\n"));
            let both = if sources_first { [&honest, &evil] } else { [&evil, &honest] };
            for package in both {
                test.publish(&ann, package).await.unwrap();
                assert_eq!(scanned(&test, &here).await, 1);
            }
            let found = test.registry.open_findings(&operator).await.unwrap();
            let found: Vec<_> = found.iter().filter(|one| one.finding.rule == "differs-from-source").collect();
            let about = found.iter().find(|one| one.purl == purl(&evil, "demo", version)).expect(version);
            assert!(about.finding.snippet.contains("demo/pay.py"), "{about:?}");
            // It is shown, and withholds nothing.
            test.registry.file(&evil.sha256(), &evil.filename).await.unwrap();
        }
        let found = test.registry.open_findings(&operator).await.unwrap();
        assert_eq!(found.iter().filter(|one| one.finding.rule == "differs-from-source").count(), 2, "{found:?}");
        test.check().await;
    }
}
