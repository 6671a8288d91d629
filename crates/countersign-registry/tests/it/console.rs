//! What the operator's console lists, and forms that wait for a proof.

use std::time::Duration;

use countersign_formats::Ecosystem;
use countersign_registry::model::{Action, Actor, CallerOrigin};
use countersign_registry::{Enrolling, SignedIn};
use countersign_testkit::packages::Wheel;

use crate::kit::{TestRegistry, refused};
use crate::on_both_databases;

/// Somebody who came in by a link with a password.
async fn member(test: &TestRegistry, name: &str) -> SignedIn {
    let made = test
        .registry
        .create_user(&Actor::operator(), name, None, false)
        .await
        .unwrap();
    let origin = CallerOrigin {
        address: "192.0.2.7".parse().unwrap(),
        agent: "browser".to_owned(),
    };
    let secret = made.enrolment.unwrap();
    test.registry
        .password_set(
            Enrolling::Link(&secret),
            "brown otters dislike tuesdays",
            &origin,
            None,
        )
        .await
        .unwrap()
        .unwrap()
}

on_both_databases! {
    async fn the_operator_sees_what_is_withheld_and_what_is_critical_and_nobody_else_does(test: TestRegistry) {
        test.user("alice").await;
        let alice = test.token("alice", Action::Manage, None).await;
        let (whole, file) = (Wheel::new("whole", "1.0").build(), Wheel::new("part", "1.0").build());
        test.publish(&alice, &whole).await.unwrap();
        test.publish(&alice, &file).await.unwrap();
        let (registry, operator) = (&test.registry, Actor::operator());
        assert!(registry.withheld(&operator).await.unwrap().is_empty());
        registry.quarantine(&operator, Ecosystem::Pypi, "whole", None, "It steals.").await.unwrap();
        test.turn_clock(Duration::from_secs(1));
        registry.quarantine(&alice, Ecosystem::Pypi, "part", Some(&file.filename), "A mistake.").await.unwrap();
        let found = registry.withheld(&operator).await.unwrap();
        let seen: Vec<_> = found
            .iter()
            .map(|one| (one.project.as_str(), one.file.as_deref(), one.reason.as_str(), one.own))
            .collect();
        assert_eq!(
            seen,
            [("part", Some(file.filename.as_str()), "A mistake.", true), ("whole", None, "It steals.", false)]
        );
        registry.mark_critical(&operator, Ecosystem::Pypi, "part", true).await.unwrap();
        let critical = registry.critical_projects(&operator).await.unwrap();
        assert_eq!(critical.len(), 1);
        assert!(critical[0].name == "part" && critical[0].why == "marked");
        assert!(registry.leak_reports(&operator).await.unwrap().is_empty());
        refused(registry.withheld(&alice).await, "operator-needed");
        refused(registry.critical_projects(&alice).await, "operator-needed");
        refused(registry.leak_reports(&alice).await, "operator-needed");
        refused(registry.periodic_work(&alice), "operator-needed");
        test.check().await;
    }

    async fn attack_a_held_form_is_taken_out_once_in_its_own_session_for_its_own_place_and_in_time(test: TestRegistry) {
        let (alice, mallory) = (member(&test, "alice").await, member(&test, "mallory").await);
        let registry = &test.registry;
        let hold = async || registry.hold(&alice.actor, "/here", "role=owner").await.unwrap().unwrap();
        let held = hold().await;
        assert_eq!(registry.take_held(&alice.actor, "/here", &held).await.unwrap(), "role=owner");
        refused(registry.take_held(&alice.actor, "/here", &held).await, "form-over");
        let held = hold().await;
        refused(registry.take_held(&alice.actor, "/elsewhere", &held).await, "form-over");
        let held = hold().await;
        refused(registry.take_held(&mallory.actor, "/here", &held).await, "form-over");
        let held = hold().await;
        test.turn_clock(Duration::from_secs(5 * 60));
        refused(registry.take_held(&alice.actor, "/here", &held).await, "form-over");
        refused(registry.hold(&Actor::anonymous(), "/here", "x").await, "sign-in-needed");
        assert!(registry.hold(&alice.actor, "/here", &"x".repeat(20_000)).await.unwrap().is_none());
    }
}
