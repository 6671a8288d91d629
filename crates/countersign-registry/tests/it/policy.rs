//! Who may do what, asked through the front door. The table of all cases stands beside the rules.

use countersign_formats::Ecosystem;
use countersign_registry::model::{Action, Actor, ProjectStatus, Role};
use countersign_registry::{Deletion, Error, Kind};
use countersign_testkit::packages::Wheel;

use crate::kit::{TestRegistry, refused};
use crate::on_both_databases;

const PYPI: Ecosystem = Ecosystem::Pypi;

/// Every change there is, by a caller, on one project: what it is called, and what came of it.
async fn every_change(test: &TestRegistry, actor: &Actor) -> Vec<(&'static str, Option<Error>)> {
    let registry = &test.registry;
    let wheel = Wheel::new("demo", "1.0").build();
    vec![
        (
            "publish",
            test.publish(actor, &Wheel::new("demo", "7.0").build())
                .await
                .err(),
        ),
        (
            "yank",
            registry.yank(actor, PYPI, "demo", "1.0", "").await.err(),
        ),
        (
            "unyank",
            registry.unyank(actor, PYPI, "demo", "1.0").await.err(),
        ),
        (
            "roles",
            registry
                .set_role(actor, PYPI, "demo", "guest", None)
                .await
                .err(),
        ),
        (
            "status",
            registry
                .set_status(actor, PYPI, "demo", ProjectStatus::Active, None)
                .await
                .err(),
        ),
        (
            "delete",
            registry
                .delete(actor, PYPI, "demo", Deletion::File(&wheel.filename))
                .await
                .err(),
        ),
    ]
}

fn codes(changes: Vec<(&'static str, Option<Error>)>) -> Vec<(&'static str, String)> {
    changes
        .into_iter()
        .map(|(what, error)| {
            (
                what,
                error.map_or_else(|| "done".to_owned(), |error| error.code.into_owned()),
            )
        })
        .collect()
}

fn all(code: &str) -> Vec<(&'static str, String)> {
    ["publish", "yank", "unyank", "roles", "status", "delete"]
        .map(|what| (what, code.to_owned()))
        .to_vec()
}

on_both_databases! {
    async fn each_caller_may_do_what_its_role_and_its_token_both_allow(test: TestRegistry) {
        let owner = test.user("owner").await;
        let (maintainer, stranger) = (test.user("maintainer").await, test.user("stranger").await);
        test.user("guest").await;
        test.publish(&owner, &Wheel::new("demo", "1.0").build()).await.unwrap();
        test.publish(&owner, &Wheel::new("other", "1.0").build()).await.unwrap();
        test.registry.set_role(&owner, PYPI, "demo", "maintainer", Some(Role::Maintainer)).await.unwrap();

        assert_eq!(codes(every_change(&test, &Actor::anonymous()).await), all("token-needed"));
        assert_eq!(codes(every_change(&test, &stranger).await), all("role-missing"));
        assert_eq!(codes(every_change(&test, &test.token("owner", Action::Read, None).await).await), all("token-action"));
        // The token for another project: refused for the project's sake in every change.
        assert_eq!(codes(every_change(&test, &test.token("owner", Action::Manage, Some("other")).await).await), all("token-project"));

        let publisher = test.token("owner", Action::Publish, Some("Demo")).await;
        let mut expected = all("token-action");
        expected[0].1 = "done".into();
        assert_eq!(codes(every_change(&test, &publisher).await), expected);

        let mut expected = all("role-missing");
        for change in &mut expected[..3] {
            change.1 = "done".into();
        }
        assert_eq!(codes(every_change(&test, &maintainer).await), expected);
        assert_eq!(codes(every_change(&test, &owner).await), all("done"));
        test.check().await;
    }

    async fn every_refusal_names_the_permission_that_was_missing(test: TestRegistry) {
        let owner = test.user("owner").await;
        let stranger = test.user("stranger").await;
        test.publish(&owner, &Wheel::new("demo", "1.0").build()).await.unwrap();
        // There is no user `guest` to take a role from; only who may change roles is told so.
        for (what, error) in every_change(&test, &stranger).await {
            let error = error.unwrap();
            assert_eq!(error.kind, Kind::Denied);
            let named = error.message.contains("owner") || error.message.contains("maintainer");
            assert!(named && error.message.contains("stranger") && error.message.contains("demo"), "{what}: {error}");
            assert!(error.remedy.is_some());
        }
        let reader = test.token("owner", Action::Read, None).await;
        for (what, error) in every_change(&test, &reader).await {
            let error = error.unwrap();
            let needed = if what == "publish" { "publish" } else { "manage" };
            assert!(error.message.contains("only read") && error.message.contains(needed), "{what}: {error}");
        }
        for (what, error) in every_change(&test, &Actor::anonymous()).await {
            let error = error.unwrap();
            assert_eq!(error.kind, Kind::Unauthenticated, "{what}");
        }
        let elsewhere = test.token("owner", Action::Manage, Some("other")).await;
        for (what, error) in every_change(&test, &elsewhere).await {
            let error = error.unwrap();
            assert!(error.message.contains("other") && error.message.contains("demo"), "{what}: {error}");
        }
        test.check().await;
    }

    async fn a_token_for_one_project_may_create_it_and_no_other(test: TestRegistry) {
        test.user("ann").await;
        let narrow = test.token("ann", Action::Publish, Some("Just_This")).await;
        refused(test.publish(&narrow, &Wheel::new("something-else", "1.0").build()).await, "token-project");
        test.publish(&narrow, &Wheel::new("just.this", "1.0").build()).await.unwrap();
        test.check().await;
    }

    async fn what_the_operator_withholds_is_the_operators_alone(test: TestRegistry) {
        let (ann, bob, eve) = (test.user("ann").await, test.user("bob").await, test.user("eve").await);
        let wheel = Wheel::new("demo", "1.0").build();
        test.publish(&ann, &wheel).await.unwrap();
        test.registry.set_role(&ann, PYPI, "demo", "bob", Some(Role::Security)).await.unwrap();
        let operator = Actor::operator();
        let file = Some(wheel.filename.as_str());
        for (actor, code) in [(&eve, "role-missing"), (&Actor::anonymous(), "token-needed")] {
            for what in [None, file] {
                refused(test.registry.quarantine(actor, PYPI, "demo", what, "x").await, code);
                refused(test.registry.release_quarantine(actor, PYPI, "demo", what).await, code);
            }
        }
        for what in [None, file] {
            // The security contact's own decision is theirs and the owners' to take back.
            test.registry.quarantine(&bob, PYPI, "demo", what, "x").await.unwrap();
            test.registry.release_quarantine(&ann, PYPI, "demo", what).await.unwrap();
            // The operator's takes its place, whichever came first.
            test.registry.quarantine(&bob, PYPI, "demo", what, "x").await.unwrap();
            test.registry.quarantine(&operator, PYPI, "demo", what, "y").await.unwrap();
            for actor in [&ann, &bob] {
                refused(test.registry.release_quarantine(actor, PYPI, "demo", what).await, "operator-needed");
                refused(test.registry.quarantine(actor, PYPI, "demo", what, "x").await, "operator-needed");
            }
            test.registry.release_quarantine(&operator, PYPI, "demo", what).await.unwrap();
        }
        refused(test.publish(&bob, &Wheel::new("demo", "2.0").build()).await, "role-missing");
        test.check().await;
    }
}
