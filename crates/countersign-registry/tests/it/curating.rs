use std::time::Duration;

use countersign_formats::Ecosystem;
use countersign_registry::model::{Actor, FileState, ProjectStatus, Role};
use countersign_registry::{DeletePolicy, Deletion, DocumentKey, Registry};
use countersign_testkit::packages::{Package, Sdist, Wheel};
use countersign_trust::leaf::LeafKind;

use crate::kit::{TestRegistry, refused};
use crate::on_both_databases;

const PYPI: Ecosystem = Ecosystem::Pypi;

/// How long another process may go on serving what was withheld, and some more for a busy machine.
const FRESH: Duration = Duration::from_millis(260);

fn renderings(project: &str, version: &str) -> [DocumentKey; 4] {
    [
        DocumentKey::Index(PYPI, project.into()),
        DocumentKey::SimpleHtml(PYPI, project.into()),
        DocumentKey::LegacyJson(project.into()),
        DocumentKey::LegacyRelease(project.into(), version.into()),
    ]
}

async fn text(registry: &Registry, key: DocumentKey) -> String {
    let document = registry.document(&key).await.unwrap();
    String::from_utf8(document.bytes.to_vec()).unwrap()
}

/// The version that lists and the legacy JSON show.
async fn latest(test: &TestRegistry, project: &str) -> String {
    let listed = test.registry.search(project, 0, 10).await.unwrap();
    let listed = listed
        .items
        .into_iter()
        .find(|found| found.key == project)
        .unwrap();
    listed.latest
}

async fn published(test: &TestRegistry, actor: &Actor, version: &str) -> Package {
    let wheel = Wheel::new("demo", version).build();
    test.publish(actor, &wheel).await.unwrap();
    wheel
}

on_both_databases! {
    async fn a_burst_of_yanks_is_told_stopped_and_over_in_time(test: TestRegistry) {
        let (ann, operator) = (test.user("ann").await, Actor::operator());
        let registry = &test.registry;
        for version in 1..=7 {
            published(&test, &ann, &format!("{version}.0")).await;
        }
        let yank = async |version: u32| registry.yank(&ann, PYPI, "demo", &format!("{version}.0"), "").await;
        let told = async || test.count("SELECT count(*) AS n FROM account_notices WHERE kind = 'yank-burst'").await;
        for version in 1..=4 {
            yank(version).await.unwrap();
        }
        assert_eq!(told().await, 0);
        yank(5).await.unwrap();
        assert_eq!(told().await, 1, "the owner, at the fifth");
        let error = refused(yank(6).await, "yank-burst");
        assert!(error.message.contains("5 releases of demo"), "{error}");
        // The same again is none more; taking back is never limited, and an operator goes on.
        registry.unyank(&ann, PYPI, "demo", "1.0").await.unwrap();
        refused(yank(6).await, "yank-burst");
        registry.yank(&operator, PYPI, "demo", "7.0", "").await.unwrap();
        test.turn_clock(Duration::from_secs(601));
        yank(6).await.unwrap();
        assert_eq!(told().await, 1);
        test.check().await;
    }

    async fn a_deletion_is_asked_for_without_deleting_and_says_what_it_would_say(database: Database) {
        let test = TestRegistry::with(database, |settings| {
            settings.delete = DeletePolicy::Within(Duration::from_secs(3_600));
        }).await;
        let (ann, eve, operator) = (test.user("ann").await, test.user("eve").await, Actor::operator());
        let (first, second) = (published(&test, &ann, "1.0").await, published(&test, &ann, "2.0").await);
        let registry = &test.registry;
        let would = async |actor: &Actor, what: Deletion<'_>| registry.may_delete(actor, PYPI, "Demo", what).await;
        assert_eq!(would(&ann, Deletion::Release("1")).await.unwrap(), std::slice::from_ref(&first.filename));
        assert_eq!(would(&ann, Deletion::File(&second.filename)).await.unwrap(), std::slice::from_ref(&second.filename));
        assert_eq!(would(&operator, Deletion::Project).await.unwrap().len(), 2);
        refused(would(&eve, Deletion::Release("1.0")).await, "role-missing");
        refused(would(&ann, Deletion::Release("3.0")).await, "release-unknown");
        assert!(test.index("demo").await.unwrap().contains(&first.sha256()), "nothing was deleted");
        test.turn_clock(Duration::from_secs(3_601));
        let outlook = refused(would(&ann, Deletion::Release("1.0")).await, "deletion-too-late");
        let done = refused(registry.delete(&ann, PYPI, "demo", Deletion::Release("1.0")).await, "deletion-too-late");
        assert_eq!(outlook.message, done.message);
        assert_eq!(would(&operator, Deletion::Release("1.0")).await.unwrap().len(), 1);
        test.check().await;
    }

    async fn a_yank_and_its_reason_are_in_every_rendering_at_once_and_gone_again(test: TestRegistry) {
        let ann = test.user("ann").await;
        let wheel = published(&test, &ann, "1.0").await;
        for key in renderings("demo", "1.0") {
            assert!(!text(&test.registry, key.clone()).await.contains("breaks Windows"), "{key:?}");
        }
        test.registry.yank(&ann, PYPI, "Demo", "1", "breaks Windows").await.unwrap();
        for key in renderings("demo", "1.0") {
            let text = text(&test.registry, key.clone()).await;
            assert!(text.contains("breaks Windows") && text.contains(&wheel.sha256()), "{key:?}: {text}");
        }
        // Yanked files are served to those who ask for them.
        test.registry.file(&wheel.sha256(), &wheel.filename).await.unwrap();
        test.check().await;
        test.registry.unyank(&ann, PYPI, "demo", "1.0").await.unwrap();
        for key in renderings("demo", "1.0") {
            assert!(!text(&test.registry, key.clone()).await.contains("breaks Windows"), "{key:?}");
        }
        // A yank that is not there is not taken back: nothing happened, nothing is logged.
        test.registry.unyank(&ann, PYPI, "demo", "1.0").await.unwrap();
        let leaves = test.check().await;
        let kinds: Vec<_> = leaves.iter().map(|leaf| leaf.kind).collect();
        assert_eq!(
            kinds,
            [LeafKind::LogGenesis, LeafKind::OwnerChanged, LeafKind::FilePublished, LeafKind::Yanked, LeafKind::Unyanked]
        );
        assert_eq!(leaves[3].subject.as_deref(), Some("pkg:pypi/demo@1.0"));
    }

    async fn a_reason_never_enters_the_log_and_must_be_one_line(test: TestRegistry) {
        let ann = test.user("ann").await;
        published(&test, &ann, "1.0").await;
        for reason in ["two\nlines".to_owned(), "x".repeat(501), "bell\u{7}".to_owned()] {
            refused(test.registry.yank(&ann, PYPI, "demo", "1.0", &reason).await, "reason");
        }
        test.registry.yank(&ann, PYPI, "demo", "1.0", "<b>secret & \"words\"</b>").await.unwrap();
        let html = text(&test.registry, DocumentKey::SimpleHtml(PYPI, "demo".into())).await;
        assert!(!html.contains("<b>secret"), "{html}");
        let leaves = test.check().await;
        assert!(leaves.iter().all(|leaf| !leaf.to_text().unwrap().contains("secret")));
    }

    async fn lists_show_the_newest_version_that_is_not_yanked(test: TestRegistry) {
        let ann = test.user("ann").await;
        for version in ["1.0", "2.0", "3.0rc1"] {
            published(&test, &ann, version).await;
        }
        assert_eq!(latest(&test, "demo").await, "2.0");
        test.registry.yank(&ann, PYPI, "demo", "2.0", "").await.unwrap();
        assert_eq!(latest(&test, "demo").await, "1.0");
        test.registry.yank(&ann, PYPI, "demo", "1.0", "").await.unwrap();
        assert_eq!(latest(&test, "demo").await, "3.0rc1");
        // A file for a yanked release does not bring it back.
        test.publish(&ann, &Sdist::new("demo", "2.0").build()).await.unwrap();
        assert_eq!(latest(&test, "demo").await, "3.0rc1");
        test.registry.unyank(&ann, PYPI, "demo", "1.0").await.unwrap();
        assert_eq!(latest(&test, "demo").await, "1.0");
        published(&test, &ann, "0.9").await;
        assert_eq!(latest(&test, "demo").await, "1.0");
        published(&test, &ann, "1.0.1").await;
        assert_eq!(latest(&test, "demo").await, "1.0.1");
        test.registry.delete(&ann, PYPI, "demo", Deletion::Release("1.0.1")).await.unwrap();
        assert_eq!(latest(&test, "demo").await, "1.0");
        let legacy = text(&test.registry, DocumentKey::LegacyJson("demo".into())).await;
        let legacy: serde_json::Value = serde_json::from_str(&legacy).unwrap();
        assert_eq!(legacy["info"]["version"], "1.0");
        test.check().await;
    }

    async fn owners_delete_for_three_days_and_the_operator_always(test: TestRegistry) {
        let ann = test.user("ann").await;
        let (early, late) = (published(&test, &ann, "1.0").await, published(&test, &ann, "2.0").await);
        test.turn_clock(Duration::from_secs(71 * 3_600));
        let fresh = published(&test, &ann, "3.0").await;
        test.registry.delete(&ann, PYPI, "demo", Deletion::File(&early.filename)).await.unwrap();
        test.turn_clock(Duration::from_secs(2 * 3_600));
        let error = refused(test.registry.delete(&ann, PYPI, "demo", Deletion::File(&late.filename)).await, "deletion-too-late");
        assert!(error.message.contains(&late.filename) && error.message.contains("72 hours"), "{error}");
        // One file that is too old saves the project, and nothing of it is half deleted.
        refused(test.registry.delete(&ann, PYPI, "demo", Deletion::Project).await, "deletion-too-late");
        refused(test.registry.delete(&ann, PYPI, "demo", Deletion::Release("2.0")).await, "deletion-too-late");
        let index = test.index("demo").await.unwrap();
        assert!(index.contains(&late.sha256()) && index.contains(&fresh.sha256()) && !index.contains(&early.sha256()), "{index}");
        test.check().await;
        test.registry.delete(&Actor::operator(), PYPI, "demo", Deletion::File(&late.filename)).await.unwrap();
        refused(test.registry.file(&late.sha256(), &late.filename).await, "file-removed");
        refused(test.registry.metadata(&late.sha256(), &late.filename).await, "file-removed");
        // What was published stays provable.
        test.registry.proof(&late.sha256(), &late.filename).await.unwrap();
        test.check().await;
    }

    async fn where_only_the_operator_deletes_owners_are_told_to_yank(database: Database) {
        let test = TestRegistry::with(database, |settings| settings.delete = DeletePolicy::Never).await;
        let ann = test.user("ann").await;
        let wheel = published(&test, &ann, "1.0").await;
        let error = refused(test.registry.delete(&ann, PYPI, "demo", Deletion::File(&wheel.filename)).await, "deletion-closed");
        assert!(error.text().contains("Yank"), "{error}");
        test.registry.delete(&Actor::operator(), PYPI, "demo", Deletion::Project).await.unwrap();
        test.check().await;
    }

    async fn what_is_not_there_can_not_be_changed(test: TestRegistry) {
        let ann = test.user("ann").await;
        published(&test, &ann, "1.0").await;
        let registry = &test.registry;
        refused(registry.yank(&ann, PYPI, "nothing", "1.0", "").await, "project-unknown");
        refused(registry.yank(&ann, PYPI, "demo", "9", "").await, "release-unknown");
        refused(registry.delete(&ann, PYPI, "demo", Deletion::Release("9")).await, "release-unknown");
        refused(registry.delete(&ann, PYPI, "demo", Deletion::File("demo-9.tar.gz")).await, "file-unknown");
        let operator = Actor::operator();
        refused(registry.quarantine(&operator, PYPI, "demo", Some("demo-9.tar.gz"), "").await, "file-unknown");
        refused(registry.quarantine(&operator, PYPI, "nothing", None, "").await, "project-unknown");
        refused(registry.release(PYPI, "demo", "9").await, "release-unknown");
        refused(registry.document(&DocumentKey::LegacyRelease("demo".into(), "9".into())).await, "release-unknown");
        test.check().await;
    }

    async fn quarantine_hides_a_file_at_once_and_release_brings_it_back(test: TestRegistry) {
        let (ann, operator) = (test.user("ann").await, Actor::operator());
        let (bad, good) = (published(&test, &ann, "1.0").await, published(&test, &ann, "2.0").await);
        for wheel in [&bad, &good] {
            test.registry.file(&wheel.sha256(), &wheel.filename).await.unwrap();
        }
        let before = test.index("demo").await.unwrap();
        test.registry.quarantine(&operator, PYPI, "demo", Some(&bad.filename), "steals tokens").await.unwrap();
        for key in [DocumentKey::Index(PYPI, "demo".into()), DocumentKey::SimpleHtml(PYPI, "demo".into()), DocumentKey::LegacyJson("demo".into())] {
            let text = text(&test.registry, key.clone()).await;
            assert!(!text.contains(&bad.sha256()) && text.contains(&good.sha256()), "{key:?}: {text}");
        }
        assert!(test.registry.cached_file(&bad.sha256(), &bad.filename).is_none());
        let error = refused(test.registry.file(&bad.sha256(), &bad.filename).await, "file-quarantined");
        assert!(error.message.contains("steals tokens"), "{error}");
        refused(test.registry.metadata(&bad.sha256(), &bad.filename).await, "file-quarantined");
        test.registry.file(&good.sha256(), &good.filename).await.unwrap();
        let release = test.registry.release(PYPI, "demo", "1.0").await.unwrap();
        assert_eq!(release.files[0].state, FileState::Quarantined);
        // The identical publish is no way around it.
        assert!(test.publish(&ann, &bad).await.unwrap().repeated);
        refused(test.registry.file(&bad.sha256(), &bad.filename).await, "file-quarantined");
        test.check().await;
        test.registry.release_quarantine(&operator, PYPI, "demo", Some(&bad.filename)).await.unwrap();
        test.registry.file(&bad.sha256(), &bad.filename).await.unwrap();
        let after = test.index("demo").await.unwrap();
        let files = |text: &str| serde_json::from_str::<serde_json::Value>(text).unwrap()["files"].clone();
        assert_eq!(files(&before), files(&after));
        test.check().await;
    }

    async fn quarantine_hides_a_project_and_takes_no_files(test: TestRegistry) {
        let (ann, operator) = (test.user("ann").await, Actor::operator());
        let wheel = published(&test, &ann, "1.0").await;
        test.registry.file(&wheel.sha256(), &wheel.filename).await.unwrap();
        test.registry.quarantine(&operator, PYPI, "demo", None, "under review").await.unwrap();
        let index: serde_json::Value = serde_json::from_str(&test.index("demo").await.unwrap()).unwrap();
        assert_eq!(index["project-status"]["status"], "quarantined");
        assert_eq!(index["project-status"]["reason"], "under review");
        assert_eq!(index["files"], serde_json::json!([]));
        refused(test.registry.file(&wheel.sha256(), &wheel.filename).await, "project-quarantined");
        refused(test.publish(&ann, &Wheel::new("demo", "2.0").build()).await, "project-quarantined");
        for status in [ProjectStatus::Active, ProjectStatus::Archived] {
            refused(test.registry.set_status(&ann, PYPI, "demo", status, None).await, "operator-needed");
        }
        test.check().await;
        test.registry.release_quarantine(&operator, PYPI, "demo", None).await.unwrap();
        test.registry.file(&wheel.sha256(), &wheel.filename).await.unwrap();
        assert!(test.index("demo").await.unwrap().contains(&wheel.sha256()));
        published(&test, &ann, "2.0").await;
        test.check().await;
    }

    async fn a_project_withheld_while_files_are_on_their_way_shows_none_of_them(test: TestRegistry) {
        let mut test = test;
        let (ann, operator) = (test.user("ann").await, Actor::operator());
        let first = published(&test, &ann, "1.0").await;
        test.stop_heartbeat().await;
        let registry = test.registry.clone();
        let (later, hidden) = (Wheel::new("demo", "2.0").build(), Wheel::new("demo", "3.0").build());
        let tasks: Vec<_> = [&later, &hidden]
            .into_iter()
            .map(|package| {
                let (registry, ann, package) = (registry.clone(), ann.clone(), package.clone());
                tokio::spawn(async move { crate::kit::publish(&registry, &ann, &package).await })
            })
            .collect();
        while test.count("SELECT count(*) AS n FROM files WHERE state = 'staged'").await < 2 {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        refused(test.registry.file(&later.sha256(), &later.filename).await, "file-pending");
        refused(test.registry.proof(&later.sha256(), &later.filename).await, "file-unknown");
        assert!(!test.index("demo").await.unwrap().contains(&later.sha256()));
        test.registry.quarantine(&operator, PYPI, "demo", Some(&hidden.filename), "early").await.unwrap();
        test.registry.quarantine(&operator, PYPI, "demo", None, "all of it").await.unwrap();
        test.start_anew().await;
        for task in tasks {
            task.await.unwrap().unwrap();
        }
        refused(test.registry.file(&later.sha256(), &later.filename).await, "project-quarantined");
        refused(test.registry.file(&hidden.sha256(), &hidden.filename).await, "file-quarantined");
        test.registry.release_quarantine(&operator, PYPI, "demo", None).await.unwrap();
        let index = test.index("demo").await.unwrap();
        assert!(index.contains(&first.sha256()) && index.contains(&later.sha256()) && !index.contains(&hidden.sha256()), "{index}");
        test.registry.release_quarantine(&operator, PYPI, "demo", Some(&hidden.filename)).await.unwrap();
        assert!(test.index("demo").await.unwrap().contains(&hidden.sha256()));
        test.check().await;
    }

    async fn a_reader_elsewhere_sees_withholding_within_its_freshness(test: TestRegistry) {
        let (ann, operator) = (test.user("ann").await, Actor::operator());
        let wheel = published(&test, &ann, "1.0").await;
        let elsewhere = test.reopened().await.unwrap();
        let key = DocumentKey::Index(PYPI, "demo".into());
        let warm = async || {
            elsewhere.file(&wheel.sha256(), &wheel.filename).await.unwrap();
            text(&elsewhere, key.clone()).await
        };
        assert!(warm().await.contains(&wheel.sha256()));
        test.registry.yank(&ann, PYPI, "demo", "1.0", "broken").await.unwrap();
        tokio::time::sleep(FRESH).await;
        assert!(warm().await.contains("broken"));
        test.registry.quarantine(&operator, PYPI, "demo", Some(&wheel.filename), "bad").await.unwrap();
        tokio::time::sleep(FRESH).await;
        refused(elsewhere.file(&wheel.sha256(), &wheel.filename).await, "file-quarantined");
        assert!(!text(&elsewhere, key.clone()).await.contains(&wheel.sha256()));
        test.registry.release_quarantine(&operator, PYPI, "demo", Some(&wheel.filename)).await.unwrap();
        tokio::time::sleep(FRESH).await;
        assert!(warm().await.contains(&wheel.sha256()));
        test.registry.quarantine(&operator, PYPI, "demo", None, "bad").await.unwrap();
        tokio::time::sleep(FRESH).await;
        refused(elsewhere.file(&wheel.sha256(), &wheel.filename).await, "project-quarantined");
        test.registry.delete(&operator, PYPI, "demo", Deletion::Project).await.unwrap();
        tokio::time::sleep(FRESH).await;
        refused(elsewhere.document(&key).await, "project-unknown");
        refused(elsewhere.file(&wheel.sha256(), &wheel.filename).await, "file-removed");
        test.check().await;
    }

    async fn owners_archive_deprecate_and_reactivate(test: TestRegistry) {
        let (ann, bob) = (test.user("ann").await, test.user("bob").await);
        published(&test, &ann, "1.0").await;
        test.registry.set_role(&ann, PYPI, "demo", "bob", Some(Role::Maintainer)).await.unwrap();
        refused(test.registry.set_status(&bob, PYPI, "demo", ProjectStatus::Archived, None).await, "role-missing");
        test.registry.set_status(&ann, PYPI, "demo", ProjectStatus::Archived, Some("moved on")).await.unwrap();
        assert!(test.index("demo").await.unwrap().contains("moved on"));
        refused(test.publish(&ann, &Wheel::new("demo", "2.0").build()).await, "project-archived");
        test.registry.set_status(&ann, PYPI, "demo", ProjectStatus::Deprecated, Some("use other")).await.unwrap();
        published(&test, &ann, "2.0").await;
        assert!(test.index("demo").await.unwrap().contains("\"deprecated\""));
        test.registry.set_status(&ann, PYPI, "demo", ProjectStatus::Active, None).await.unwrap();
        // Their own they may withhold, and serve again; what the operator withholds is the operator's.
        refused(test.registry.set_status(&bob, PYPI, "demo", ProjectStatus::Quarantined, None).await, "role-missing");
        test.registry.set_status(&ann, PYPI, "demo", ProjectStatus::Quarantined, None).await.unwrap();
        refused(test.publish(&ann, &Wheel::new("demo", "3.0").build()).await, "project-quarantined");
        test.registry.set_status(&ann, PYPI, "demo", ProjectStatus::Active, None).await.unwrap();
        test.registry.quarantine(&Actor::operator(), PYPI, "demo", None, "").await.unwrap();
        refused(test.registry.set_status(&ann, PYPI, "demo", ProjectStatus::Active, None).await, "operator-needed");
        refused(test.registry.set_status(&ann, PYPI, "demo", ProjectStatus::Quarantined, None).await, "operator-needed");
        let leaves = test.check().await;
        assert!(leaves.iter().any(|leaf| leaf.kind == LeafKind::Deprecated));
    }

    async fn withholding_and_publishing_at_the_same_time_both_go_through(test: TestRegistry) {
        let (ann, operator) = (test.user("ann").await, Actor::operator());
        let first = published(&test, &ann, "0.1").await;
        let (registry, withholder) = (test.registry.clone(), operator.clone());
        let filename = first.filename.clone();
        let withholding = tokio::spawn(async move {
            for round in 0..12 {
                if round % 2 == 0 {
                    registry.quarantine(&withholder, PYPI, "demo", Some(&filename), "x").await.unwrap();
                } else {
                    registry.release_quarantine(&withholder, PYPI, "demo", Some(&filename)).await.unwrap();
                }
                registry.yank(&withholder, PYPI, "demo", "0.1", &format!("{round}")).await.unwrap();
            }
        });
        let wheels: Vec<_> = (1..13).map(|number| Wheel::new("demo", &format!("{number}.0")).build()).collect();
        let answers = test.publish_at_once(wheels.iter().map(|wheel| (ann.clone(), wheel.clone()))).await;
        for (wheel, answer) in wheels.iter().zip(answers) {
            test.check_receipt(&answer.unwrap(), wheel);
        }
        withholding.await.unwrap();
        let index = test.index("demo").await.unwrap();
        assert!(wheels.iter().all(|wheel| index.contains(&wheel.sha256())));
        test.check().await;
    }
}
