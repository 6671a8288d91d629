//! Approvals: exactly what was consented to, once, for two minutes. The consent itself is a passkey's (see `sign_in`);
//! here it is written as the ceremony writes it.

use std::time::Duration;

use countersign_formats::Ecosystem;
use countersign_registry::model::{Action, Actor, Level, TrustLevel};
use countersign_registry::{
    Act, Answer, Approval, Deletion, NewToken, PERMISSIONS, PolicyChange, Wanted,
};
use countersign_testkit::packages::Wheel;
use sqlx::Connection;

use crate::kit::{TestRegistry, refused};
use crate::on_both_databases;

const PYPI: Ecosystem = Ecosystem::Pypi;

impl TestRegistry {
    /// What a passkey's consent leaves.
    pub async fn consent(&self, approval: &Approval) {
        let now = self.registry_now() * 1_000_000;
        let mut connection = self.connection().await;
        let done =
            sqlx::query("UPDATE approvals SET granted_at = $2, granted_until = $3 WHERE id = $1")
                .bind(approval.id.clone())
                .bind(now)
                .bind(now + 120_000_000)
                .execute(&mut connection)
                .await
                .unwrap();
        assert_eq!(done.rows_affected(), 1);
        connection.close().await.unwrap();
    }

    async fn asked(&self, actor: &Actor, act: &str, purl: &str, digest: Option<&str>) -> Approval {
        self.registry
            .request_approval(actor, act, purl, digest)
            .await
            .unwrap()
    }
}

on_both_databases! {
    async fn an_approval_grants_exactly_one_act_on_one_thing_once(test: TestRegistry) {
        let ann = test.user("ann").await;
        let registry = &test.registry;
        for name in ["demo", "other"] {
            test.publish(&ann, &Wheel::new(name, "1.0").build()).await.unwrap();
        }
        let delete = async |actor: &Actor, name: &str| registry.delete(actor, PYPI, name, Deletion::Project).await;
        refused(delete(&ann, "demo").await, "approval-needed");
        // Asked for, not answered.
        let wanted = test.asked(&ann, "delete-project", "pkg:pypi/Demo", None).await;
        assert_eq!((wanted.purl.as_str(), wanted.state), ("pkg:pypi/demo", "waiting"));
        refused(delete(&ann, "demo").await, "approval-needed");
        test.consent(&wanted).await;
        assert_eq!(registry.approval(&ann, &wanted.id).await.unwrap().state, "granted");
        // For another project, for another person, for another act: nothing.
        refused(delete(&ann, "other").await, "approval-needed");
        test.user("bob").await;
        registry.set_role(&ann, PYPI, "demo", "bob", Some(countersign_registry::model::Role::Owner)).await.unwrap();
        refused(delete(&test.token("bob", Action::Manage, None).await, "demo").await, "approval-needed");
        // An act that fails uses nothing up.
        refused(delete(&test.token("ann", Action::Publish, None).await, "demo").await, "token-action");
        delete(&ann, "demo").await.unwrap();
        assert_eq!(registry.approval(&ann, &wanted.id).await.unwrap().state, "used");

        // Once: two at the same moment, one approval.
        for name in ["one", "two"] {
            test.publish(&ann, &Wheel::new(name, "1.0").build()).await.unwrap();
        }
        let wanted = test.asked(&ann, "delete-project", "pkg:pypi/one", None).await;
        test.consent(&wanted).await;
        let (first, second) = tokio::join!(delete(&ann, "one"), delete(&ann, "one"));
        assert!(first.is_ok() != second.is_ok());
        // Too late by a second.
        let wanted = test.asked(&ann, "delete-project", "pkg:pypi/two", None).await;
        test.consent(&wanted).await;
        test.turn_clock(Duration::from_secs(121));
        refused(delete(&ann, "two").await, "approval-needed");
        assert_eq!(registry.approval(&ann, &wanted.id).await.unwrap().state, "expired");
        test.check().await;
    }

    async fn a_token_does_with_consent_what_takes_a_session_and_nothing_beside_it(test: TestRegistry) {
        let registry = &test.registry;
        test.user("ann").await;
        test.user("bob").await;
        let wanted = |act, subject: &str| Wanted { act, also: &[], on: None, subject: subject.to_owned() };
        let acme = wanted(Act::CreateOrganisation, "organisation acme");
        let ann = test.token("ann", Action::Manage, None).await;
        refused(registry.create_organisation(&ann, "acme", "Acme", None).await, "session-needed");
        let asked = registry.request_consent(&ann, &acme).await.unwrap();
        assert_eq!((asked.act.as_str(), asked.purl.as_str()), ("create-organisation", "organisation acme"));
        refused(registry.consented(ann.clone(), &asked.id, &acme).await, "approval-waiting");
        test.consent(&asked).await;
        // Other words, another act, another token, another person.
        for other in [wanted(Act::CreateOrganisation, "organisation acme2"), wanted(Act::RemoveOrganisation, "organisation acme")] {
            refused(registry.consented(ann.clone(), &asked.id, &other).await, "approval-other");
        }
        let second = test.token("ann", Action::Manage, None).await;
        refused(registry.consented(second, &asked.id, &acme).await, "approval-other");
        let bob = test.token("bob", Action::Manage, None).await;
        refused(registry.consented(bob, &asked.id, &acme).await, "approval-unknown");
        // The code is for people; a program that guesses it gets nowhere.
        refused(registry.consented(ann.clone(), &asked.code, &acme).await, "approval-unknown");
        // Two at the same moment: one of them.
        let (one, two) = tokio::join!(
            registry.consented(ann.clone(), &asked.id, &acme),
            registry.consented(ann.clone(), &asked.id, &acme),
        );
        assert!(one.is_ok() != two.is_ok(), "{:?} {:?}", one.is_ok(), two.is_ok());
        let consented = one.or(two).unwrap();
        refused(registry.create_token(&consented, NewToken::new("ann", Action::Read)).await, "session-needed");
        refused(registry.approvals(&consented).await, "session-needed");
        registry.create_organisation(&consented, "acme", "Acme", None).await.unwrap();
        refused(registry.remove_organisation(&consented, "acme").await, "session-needed");
        refused(registry.consented(ann.clone(), &asked.id, &acme).await, "approval-over");
        assert_eq!(registry.approval(&ann, &asked.id).await.unwrap().state, "used");
        let late = registry.request_consent(&ann, &acme).await.unwrap();
        test.consent(&late).await;
        test.turn_clock(Duration::from_secs(121));
        refused(registry.consented(ann.clone(), &late.id, &acme).await, "approval-over");
        test.check().await;
    }

    async fn a_token_for_one_project_asks_for_consent_there_and_nowhere_else(test: TestRegistry) {
        let registry = &test.registry;
        test.user("ann").await;
        let about = |name: &str| Wanted {
            act: Act::ManageRoles,
            also: &[],
            on: Some((PYPI, name.to_owned())),
            subject: format!("{name}: \"bob\" becomes owner"),
        };
        let token = test.token("ann", Action::Manage, Some("mine")).await;
        let asked = registry.request_consent(&token, &about("mine")).await.unwrap();
        test.consent(&asked).await;
        assert!(registry.consented(token.clone(), &asked.id, &about("mine")).await.unwrap().consent.is_some());
        refused(registry.request_consent(&token, &about("theirs")).await, "token-project");
        // What is the account's own still takes a token for all of it.
        let own = Wanted { on: None, ..about("mine") };
        refused(registry.request_consent(&token, &own).await, "token-action");
        let tokens = Wanted { act: Act::MakeTokens, also: &[], on: None, subject: "x".to_owned() };
        refused(registry.request_consent(&token, &tokens).await, "token-action");
    }

    async fn consent_is_asked_for_by_tokens_that_manage_and_for_what_the_table_allows(test: TestRegistry) {
        let registry = &test.registry;
        test.user("ann").await;
        let wanted = |act, subject: &str| Wanted { act, also: &[], on: None, subject: subject.to_owned() };
        let ann = test.token("ann", Action::Manage, None).await;
        for row in PERMISSIONS {
            let answer = registry.request_consent(&ann, &wanted(row.act, row.word)).await;
            if row.consent {
                registry.refuse_approval(&test.session("ann", Level::Password, false).await, &answer.unwrap().id).await.unwrap();
            } else {
                refused(answer, "session-needed");
            }
        }
        let tokens = wanted(Act::MakeTokens, "x");
        let signed_in = test.session("ann", Level::Phishproof, true).await;
        refused(registry.request_consent(&signed_in, &tokens).await, "token-needed");
        refused(registry.request_consent(&test.token("ann", Action::Publish, None).await, &tokens).await, "token-action");
        refused(registry.request_consent(&Actor::anonymous(), &tokens).await, "token-needed");
        refused(registry.request_consent(&Actor::operator(), &tokens).await, "account-needed");
        for unclear in [String::new(), "x".repeat(501)] {
            refused(registry.request_consent(&ann, &wanted(Act::MakeTokens, &unclear)).await, "approval-subject");
        }
        let bent = registry.request_consent(&ann, &wanted(Act::MakeTokens, "a\u{202e}b\n")).await.unwrap();
        assert_eq!(bent.purl, "a\\u{202e}b\\n");
        test.check().await;
    }

    async fn approvals_of_others_are_not_there_and_tokens_answer_none(test: TestRegistry) {
        let (ann, eve) = (test.user("ann").await, test.user("eve").await);
        let registry = &test.registry;
        let wanted = test.asked(&ann, "delete-project", "pkg:pypi/demo", None).await;
        let eves = test.session("eve", Level::Phishproof, true).await;
        for actor in [&eve, &eves] {
            refused(registry.approval(actor, &wanted.id).await, "approval-unknown");
            refused(registry.approval(actor, &wanted.code).await, "approval-unknown");
        }
        refused(registry.refuse_approval(&eves, &wanted.id).await, "approval-unknown");
        refused(registry.approval_start(&eves, &wanted.id).await, "approval-unknown");
        for actor in [&ann, &test.token("ann", Action::Publish, None).await] {
            refused(registry.approvals(actor).await, "session-needed");
            refused(registry.refuse_approval(actor, &wanted.id).await, "session-needed");
            refused(registry.approval_start(actor, &wanted.id).await, "session-needed");
        }
        // An answer that nobody asked for is none, whatever stands in it.
        let anns = test.session("ann", Level::Phishproof, true).await;
        let origin = countersign_registry::model::CallerOrigin { address: "192.0.2.1".parse().unwrap(), agent: "test".into() };
        let answer = Answer { ceremony: wanted.id.clone(), credential: serde_json::json!({}) };
        refused(registry.approval_finish(&anns, &wanted.id, &answer, &origin).await, "ceremony-unknown");
        // By its code in person; refused, and over.
        let typed = format!(" {} ", wanted.code);
        assert_eq!(registry.approval(&anns, &typed).await.unwrap().id, wanted.id);
        registry.refuse_approval(&anns, &wanted.code).await.unwrap();
        refused(registry.refuse_approval(&anns, &wanted.id).await, "approval-over");
        refused(registry.approval_start(&anns, &wanted.id).await, "approval-over");
        let late = test.asked(&ann, "delete-project", "pkg:pypi/demo", None).await;
        test.turn_clock(Duration::from_secs(601));
        let anns = test.session("ann", Level::Phishproof, true).await;
        refused(registry.approval_start(&anns, &late.id).await, "approval-over");
        for (act, purl, digest, code) in [
            ("publish", "pkg:pypi/demo", None, "approval-act"),
            ("delete-project", "demo", None, "purl-invalid"),
            ("publish-exception", "pkg:pypi/demo", Some("ABC"), "approval-subject"),
        ] {
            refused(registry.request_approval(&ann, act, purl, digest).await, code);
        }
        for _ in 0..20 {
            test.asked(&ann, "delete-project", "pkg:pypi/demo", None).await;
        }
        refused(registry.request_approval(&ann, "delete-project", "pkg:pypi/demo", None).await, "too-many-approvals");
        test.check().await;
    }

    async fn an_owner_may_approve_one_file_below_the_demanded_trust(test: TestRegistry) {
        let ann = test.user("ann").await;
        let registry = &test.registry;
        test.publish(&ann, &Wheel::new("demo", "1.0").build()).await.unwrap();
        test.execute("UPDATE projects SET minimum_trust = 'workflow'").await;
        assert_eq!(registry.project_policy(&ann, PYPI, "demo").await.unwrap().minimum_trust, TrustLevel::Workflow);
        let (urgent, other) = (Wheel::new("demo", "1.1").build(), Wheel::new("demo", "1.2").build());
        refused(test.publish(&ann, &urgent).await, "trust-too-low");
        let purl = "pkg:pypi/demo@1.1?file_name=demo-1.1-py3-none-any.whl";
        let wanted = test.asked(&ann, "publish-exception", purl, Some(&urgent.sha256().to_string())).await;
        refused(test.publish(&ann, &urgent).await, "trust-too-low");
        test.consent(&wanted).await;
        refused(test.publish(&ann, &other).await, "trust-too-low");
        test.publish(&ann, &urgent).await.unwrap();
        assert_eq!(registry.approval(&ann, &wanted.id).await.unwrap().state, "used");
        refused(test.publish(&ann, &other).await, "trust-too-low");
        // Other bytes under the approved name are not what was approved; a maintainer's approval is none.
        test.user("bob").await;
        registry.set_role(&ann, PYPI, "demo", "bob", Some(countersign_registry::model::Role::Maintainer)).await.unwrap();
        let bob = test.token("bob", Action::Manage, None).await;
        let purl = "pkg:pypi/demo@1.2?file_name=demo-1.2-py3-none-any.whl";
        let theirs = test.asked(&bob, "publish-exception", purl, Some(&other.sha256().to_string())).await;
        test.consent(&theirs).await;
        refused(test.publish(&bob, &other).await, "trust-too-low");
        let wrong = test.asked(&ann, "publish-exception", purl, Some(&urgent.sha256().to_string())).await;
        test.consent(&wrong).await;
        refused(test.publish(&ann, &other).await, "trust-too-low");
        registry.set_project_policy(&ann, PYPI, "demo", PolicyChange { minimum_trust: Some(TrustLevel::None), ..PolicyChange::default() }).await.unwrap();
        test.publish(&ann, &other).await.unwrap();
        test.check().await;
    }
}
