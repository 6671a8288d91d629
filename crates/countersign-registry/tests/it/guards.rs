//! Holes that a review found, each kept shut by a test.

use std::time::Duration;

use countersign_formats::Ecosystem;
use countersign_registry::Kind;
use countersign_registry::model::{Action, Actor, ProjectStatus, Visibility};
use countersign_testkit::packages::{Sdist, Wheel};

use crate::kit::{TestRegistry, refused};
use crate::on_both_databases;

const PYPI: Ecosystem = Ecosystem::Pypi;

on_both_databases! {
    async fn a_narrow_token_ends_itself_and_nothing_else(test: TestRegistry) {
        test.user("ann").await;
        let narrow = test.token("ann", Action::Publish, Some("demo")).await;
        refused(test.registry.tokens(&narrow, None).await, "token-action");
        let wide = test.token("ann", Action::Manage, None).await;
        let tokens = test.registry.tokens(&wide, None).await.unwrap();
        let other = tokens.iter().find(|token| Some(&token.id) == wide.credential.as_ref()).unwrap();
        refused(test.registry.revoke_token(&narrow, &other.id.0, false).await, "token-action");
        let own = narrow.credential.clone().unwrap();
        test.registry.revoke_token(&narrow, &own.0, false).await.unwrap();
        test.registry.revoke_token(&wide, &other.id.0, false).await.unwrap();
    }

    async fn tokens_of_others_do_not_exist_for_a_user(test: TestRegistry) {
        test.user("ann").await;
        let bob = test.user("bob").await;
        let ann = test.token("ann", Action::Manage, None).await;
        let foreign = ann.credential.clone().unwrap();
        let error = refused(test.registry.revoke_token(&bob, &foreign.0, false).await, "token-unknown");
        assert_eq!(error.kind, Kind::NotFound);
    }

    async fn who_holds_what_leaves_events_without_leaves(test: TestRegistry) {
        let ann = test.user("ann").await;
        let size = test.registry.health().await.log_size;
        let own = ann.credential.clone().unwrap();
        test.registry.revoke_token(&ann, &own.0, false).await.unwrap();
        assert_eq!(test.count("SELECT count(*) AS n FROM events WHERE kind = 'account-made'").await, 1);
        assert_eq!(test.count("SELECT count(*) AS n FROM events WHERE kind = 'token-made'").await, 1);
        assert_eq!(test.count("SELECT count(*) AS n FROM events WHERE kind = 'token-revoked'").await, 1);
        assert_eq!(test.registry.health().await.log_size, size);
    }

    async fn a_quarantine_gives_back_the_status_it_took(test: TestRegistry) {
        let (ann, operator) = (test.user("ann").await, Actor::operator());
        test.publish(&ann, &Wheel::new("demo", "1.0").build()).await.unwrap();
        refused(test.registry.release_quarantine(&operator, PYPI, "demo", None).await, "not-quarantined");
        test.registry.set_status(&ann, PYPI, "demo", ProjectStatus::Archived, None).await.unwrap();
        test.registry.quarantine(&operator, PYPI, "demo", None, "looks odd").await.unwrap();
        test.registry.release_quarantine(&operator, PYPI, "demo", None).await.unwrap();
        assert_eq!(test.registry.project(PYPI, "demo").await.unwrap().status, ProjectStatus::Archived);
        let file = Wheel::new("demo", "1.0").build().filename;
        refused(test.registry.release_quarantine(&operator, PYPI, "demo", Some(&file)).await, "not-quarantined");
    }

    async fn what_is_marked_private_does_not_go_public(database: Database) {
        let private = Wheel::new("inner", "1.0").metadata_line("Classifier: Private :: Do Not Upload").build();
        let open = TestRegistry::new(database).await;
        let ann = open.user("ann").await;
        refused(open.publish(&ann, &private).await, "project-restricted");
        let closed = TestRegistry::with(database, |settings| settings.visibility = Visibility::Restricted).await;
        let ann = closed.user("ann").await;
        closed.publish(&ann, &private).await.unwrap();
        let narrow = closed.token("ann", Action::Publish, Some("inner")).await;
        refused(closed.registry.may_read(&narrow), "token-project");
    }

    async fn unknown_classifiers_are_for_the_operator_only(test: TestRegistry) {
        let ann = test.user("ann").await;
        let odd = Wheel::new("demo", "1.0").metadata_line("Classifier: Topic :: Nonsense").build();
        let error = refused(test.publish(&ann, &odd).await, "classifier-unknown");
        assert!(error.message.contains("Topic :: Nonsense"), "{error}");
        test.publish(&Actor::operator(), &odd).await.unwrap();
    }

    async fn one_file_name_has_one_spelling(test: TestRegistry) {
        let ann = test.user("ann").await;
        test.publish(&ann, &Sdist::new("demo_pkg", "1.0").build()).await.unwrap();
        test.publish(&ann, &Wheel::new("demo_pkg", "1.0").build()).await.unwrap();
        let other = Wheel::new("Demo_Pkg", "1.0").build();
        let error = refused(test.publish(&ann, &other).await, "file-exists");
        assert!(error.message.starts_with("File already exists"), "{error}");
    }

    async fn health_comes_back_by_itself_when_the_fault_is_gone(test: TestRegistry) {
        let ann = test.user("ann").await;
        test.publish(&ann, &Wheel::new("demo", "1.0").build()).await.unwrap();
        let moved = test.folder.path().join("away");
        let log = test.folder.path().join("blobs/log");
        std::fs::rename(&log, &moved).unwrap();
        std::fs::write(&log, b"in the way").unwrap();
        let second = Wheel::new("demo", "2.0").build();
        let waiting = test.publish(&ann, &second);
        tokio::select! { _ = waiting => {}, () = tokio::time::sleep(Duration::from_secs(2)) => {} }
        assert!(!test.registry.health().await.ok);
        std::fs::remove_file(&log).unwrap();
        std::fs::rename(&moved, &log).unwrap();
        for _ in 0..50 {
            if test.registry.health().await.ok {
                break;
            }
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
        let health = test.registry.health().await;
        assert!(health.ok, "{:?}", health.problems);
        test.publish(&ann, &second).await.unwrap();
        test.check().await;
    }
}
