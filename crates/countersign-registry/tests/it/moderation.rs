//! Quarantine at three levels, whom it freezes, its cases and appeals; reports and the rule that acts on them.

use countersign_formats::Ecosystem;
use countersign_registry::model::{
    Actor, Cause, FileState, Order, Portion, ProjectStatus, ReportKind, Reporting,
};
use countersign_registry::{Deletion, Error};
use countersign_testkit::packages::{Package, Wheel};
use countersign_trust::leaf::LeafKind;

use crate::kit::{TestRegistry, from};
use crate::on_both_databases;

const PYPI: Ecosystem = Ecosystem::Pypi;

fn refused<T: std::fmt::Debug>(outcome: Result<T, Error>, code: &str) -> Error {
    let error = outcome.expect_err(code);
    assert_eq!(error.code, code, "{error}");
    error
}

async fn published(test: &TestRegistry, actor: &Actor, wheel: Wheel) -> Package {
    let wheel = wheel.build();
    test.publish(actor, &wheel).await.unwrap();
    wheel
}

fn malware(purl: &'static str) -> Reporting<'static> {
    Reporting {
        purl,
        kind: ReportKind::Malware,
        evidence: "https://example.org/analysis",
        text: "It sends the environment to a server.",
    }
}

impl TestRegistry {
    fn advance(&self, seconds: u64) {
        self.turn_clock(std::time::Duration::from_secs(seconds));
    }

    async fn status(&self, name: &str) -> ProjectStatus {
        self.registry.project(PYPI, name).await.unwrap().status
    }
}

on_both_databases! {
    async fn a_release_is_withheld_as_a_whole_and_takes_no_files(test: TestRegistry) {
        let (ann, operator) = (test.user("ann").await, Actor::operator());
        let first = published(&test, &ann, Wheel::new("demo", "1.0")).await;
        let bad = published(&test, &ann, Wheel::new("demo", "2.0")).await;
        let alone = published(&test, &ann, Wheel::new("demo", "2.0").tag("py3-none-win_amd64")).await;
        let registry = &test.registry;
        registry.quarantine(&operator, PYPI, "demo", Some(&alone.filename), "by itself").await.unwrap();
        let portion = Portion::Release("2.0");
        registry.withhold(&operator, PYPI, "demo", portion, Order::because("steals tokens")).await.unwrap();
        let error = refused(registry.file(&bad.sha256(), &bad.filename).await, "file-quarantined");
        assert!(error.message.contains("steals tokens"), "{error}");
        let index = test.index("demo").await.unwrap();
        assert!(index.contains(&first.sha256()) && !index.contains(&bad.sha256()), "{index}");
        // A publish that comes after it sees it, whoever publishes.
        let late = Wheel::new("demo", "2.0").tag("py3-none-manylinux_2_17_x86_64").build();
        refused(test.publish(&ann, &late).await, "release-quarantined");
        refused(test.publish(&operator, &late).await, "release-quarantined");
        refused(registry.serve_again(&ann, PYPI, "demo", portion).await, "operator-needed");
        let cases = registry.open_cases(&operator).await.unwrap();
        assert_eq!(cases.len(), 2, "{cases:?}");
        test.check().await;
        registry.serve_again(&operator, PYPI, "demo", portion).await.unwrap();
        registry.file(&bad.sha256(), &bad.filename).await.unwrap();
        // What was withheld by itself stays so.
        refused(registry.file(&alone.sha256(), &alone.filename).await, "file-quarantined");
        refused(registry.serve_again(&operator, PYPI, "demo", portion).await, "not-quarantined");
        registry.delete(&operator, PYPI, "demo", Deletion::File(&alone.filename)).await.unwrap();
        assert!(registry.open_cases(&operator).await.unwrap().is_empty());
        let told = registry.cases_of(&ann, PYPI, "demo").await.unwrap();
        let mut outcomes: Vec<_> = told.iter().map(|case| case.outcome.clone().unwrap()).collect();
        outcomes.sort();
        assert_eq!(outcomes, ["released", "removed"]);
        let leaves = test.check().await;
        let count = |kind| leaves.iter().filter(|leaf| leaf.kind == kind).count();
        assert_eq!((count(LeafKind::Quarantined), count(LeafKind::Released)), (2, 1));
    }

    async fn whoever_published_is_frozen_until_it_is_served_again(test: TestRegistry) {
        let (ann, bob, operator) = (test.user("ann").await, test.user("bob").await, Actor::operator());
        published(&test, &ann, Wheel::new("one", "1.0")).await;
        published(&test, &ann, Wheel::new("two", "1.0")).await;
        published(&test, &bob, Wheel::new("three", "1.0")).await;
        let registry = &test.registry;
        let order = Order { reason: "stolen account", cause: Cause::Operator, freeze: true };
        refused(registry.withhold(&ann, PYPI, "one", Portion::Project, order).await, "operator-needed");
        for project in ["one", "two"] {
            registry.withhold(&operator, PYPI, project, Portion::Project, order).await.unwrap();
        }
        let next = Wheel::new("fresh", "1.0").build();
        assert!(test.publish(&ann, &next).await.is_err(), "the account is frozen");
        published(&test, &bob, Wheel::new("three", "2.0")).await;
        // Two cases hold the account; the first undone does not free it.
        registry.serve_again(&operator, PYPI, "one", Portion::Project).await.unwrap();
        assert!(test.publish(&ann, &next).await.is_err(), "the other case still holds");
        registry.serve_again(&operator, PYPI, "two", Portion::Project).await.unwrap();
        test.publish(&ann, &next).await.unwrap();
        // Whom an operator disabled for another reason, no undo opens.
        registry.disable_user(&operator, "bob", true).await.unwrap();
        registry.withhold(&operator, PYPI, "three", Portion::Project, order).await.unwrap();
        registry.serve_again(&operator, PYPI, "three", Portion::Project).await.unwrap();
        assert!(test.publish(&bob, &Wheel::new("three", "3.0").build()).await.is_err());
        test.check().await;
    }

    async fn a_case_that_waits_too_long_stays_withheld_and_its_people_may_object(test: TestRegistry) {
        let (ann, eve, operator) = (test.user("ann").await, test.user("eve").await, Actor::operator());
        let wheel = published(&test, &ann, Wheel::new("demo", "1.0")).await;
        let registry = &test.registry;
        registry.withhold(&operator, PYPI, "demo", Portion::Project, Order::because("odd")).await.unwrap();
        let case = registry.open_cases(&operator).await.unwrap().remove(0);
        refused(registry.open_cases(&ann).await, "operator-needed");
        refused(registry.appeal(&eve, PYPI, "demo", &case.id, "I want it back now").await, "role-missing");
        refused(registry.appeal(&ann, PYPI, "demo", "none", "I want it back now").await, "case-unknown");
        let short = refused(registry.appeal(&ann, PYPI, "demo", &case.id, "no").await, "text-length");
        assert!(short.remedy.unwrap().contains("more words"));
        registry.create_user(&operator, "olga", None, true).await.unwrap();
        for text in ["It does no harm.", "That is no harm.", "That is a test file."] {
            registry.appeal(&ann, PYPI, "demo", &case.id, text).await.unwrap();
        }
        let told = async || test.count("SELECT count(*) AS n FROM account_notices WHERE kind = 'case-appealed'").await;
        assert_eq!(told().await, 1, "once until they answer");
        test.advance(4 * 86_400);
        registry.look_after_cases().await.unwrap();
        registry.look_after_cases().await.unwrap();
        let case = registry.open_cases(&operator).await.unwrap().remove(0);
        assert!(case.overdue.is_some() && case.appeal.as_deref() == Some("That is a test file."), "{case:?}");
        assert_eq!(test.count("SELECT count(*) AS n FROM events WHERE kind = 'case-overdue'").await, 1);
        refused(registry.file(&wheel.sha256(), &wheel.filename).await, "project-quarantined");
        registry.answer_case(&operator, &case.id, "It is no test file.").await.unwrap();
        let case = registry.cases_of(&ann, PYPI, "demo").await.unwrap().remove(0);
        assert!(case.overdue.is_none() && case.answer.as_deref() == Some("It is no test file."), "{case:?}");
        registry.appeal(&ann, PYPI, "demo", &case.id, "It is one, see line 3.").await.unwrap();
        assert_eq!(told().await, 2);
        registry.serve_again(&operator, PYPI, "demo", Portion::Project).await.unwrap();
        refused(registry.answer_case(&operator, &case.id, "again").await, "case-unknown");
        test.check().await;
    }

    async fn reports_withhold_by_the_rule_and_never_by_number(test: TestRegistry) {
        let (ann, operator) = (test.user("ann").await, Actor::operator());
        published(&test, &ann, Wheel::new("popular", "1.0")).await;
        published(&test, &ann, Wheel::new("private", "1.0")).await;
        test.advance(8 * 86_400);
        let (rob, sam) = (test.user("rob").await, test.user("sam").await);
        let crowd = [test.user("y1").await, test.user("y2").await, test.user("y3").await];
        let registry = &test.registry;
        let nobody = Actor::anonymous();
        refused(registry.report(&nobody, &malware("pkg:pypi/nothing"), &from(1)).await, "project-unknown");
        refused(registry.report(&nobody, &malware("popular"), &from(1)).await, "purl-invalid");
        let bare = Reporting { evidence: "", ..malware("pkg:pypi/popular") };
        refused(registry.report(&nobody, &bare, &from(1)).await, "report-evidence");
        for (network, young) in crowd.iter().enumerate() {
            let report = registry.report(young, &malware("pkg:pypi/popular"), &from(network as u8)).await.unwrap();
            assert!(report.verdict.is_none());
        }
        registry.report(&nobody, &malware("pkg:pypi/popular"), &from(9)).await.unwrap();
        assert_eq!(test.status("popular").await, ProjectStatus::Active, "a crowd withholds nothing");
        registry.trust_reporter(&operator, "rob", true).await.unwrap();
        refused(registry.trust_reporter(&rob, "sam", true).await, "operator-needed");
        registry.report(&rob, &malware("pkg:pypi/popular@1.0"), &from(10)).await.unwrap();
        assert_eq!(test.status("popular").await, ProjectStatus::Active, "one trusted observer is not two");
        test.advance(8 * 86_400);
        let last = registry.report(&sam, &malware("pkg:pypi/popular"), &from(11)).await.unwrap();
        assert_eq!(test.status("popular").await, ProjectStatus::Quarantined);
        let case = registry.open_cases(&operator).await.unwrap().remove(0);
        assert_eq!(case.cause, "reports");
        // What was judged is told; served again, the same reports do not withhold it a second time.
        registry.serve_again(&operator, PYPI, "popular", Portion::Project).await.unwrap();
        registry.judge_report(&operator, &last.ticket, "unfounded", "It is a test.").await.unwrap();
        refused(registry.judge_report(&operator, &last.ticket, "confirmed", "").await, "report-unknown");
        refused(registry.judge_report(&operator, &last.ticket, "maybe", "").await, "report-verdict");
        let state = registry.report_state(&last.ticket).await.unwrap();
        assert_eq!((state.verdict.as_deref(), state.answer.as_deref()), (Some("unfounded"), Some("It is a test.")));
        registry.report(&crowd[0], &malware("pkg:pypi/popular"), &from(12)).await.unwrap();
        assert_eq!(test.status("popular").await, ProjectStatus::Active);
        let reporters = registry.reporters(&operator).await.unwrap();
        let sam = reporters.iter().find(|one| one.name == "sam").unwrap();
        assert_eq!((sam.made, sam.unfounded, sam.accuracy()), (1, 1, Some(0)));
        // A project of a day falls by one trusted word.
        published(&test, &ann, Wheel::new("newborn", "1.0")).await;
        registry.report(&rob, &malware("pkg:pypi/newborn"), &from(13)).await.unwrap();
        assert_eq!(test.status("newborn").await, ProjectStatus::Quarantined);
        test.check().await;
    }

    async fn a_flood_of_reports_is_bounded(test: TestRegistry) {
        let ann = test.user("ann").await;
        published(&test, &ann, Wheel::new("demo", "1.0")).await;
        let registry = &test.registry;
        let spam = Reporting { kind: ReportKind::Spam, evidence: "", ..malware("pkg:pypi/demo") };
        for _ in 0..10 {
            registry.report(&Actor::anonymous(), &spam, &from(0)).await.unwrap();
        }
        refused(registry.report(&Actor::anonymous(), &spam, &from(0)).await, "too-many-attempts");
        for network in 1..=40 {
            registry.report(&Actor::anonymous(), &spam, &from(network)).await.unwrap();
        }
        refused(registry.report(&Actor::anonymous(), &spam, &from(99)).await, "reports-enough");
        // Trusted reporters are heard through it.
        registry.trust_reporter(&Actor::operator(), "ann", true).await.unwrap();
        registry.report(&ann, &spam, &from(100)).await.unwrap();
        assert_eq!(registry.open_reports(&Actor::operator()).await.unwrap()[0].reporter.as_deref(), Some("ann"));
        let release = registry.release(PYPI, "demo", "1.0").await.unwrap();
        assert_eq!(release.files[0].state, FileState::Live);
    }
}
