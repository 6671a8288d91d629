//! Programs that a person lets in by a browser elsewhere: who says yes, to what, how often may be asked, and that no
//! secret becomes a token twice.

use std::time::Duration;

use countersign_registry::model::{Action, Actor, CallerOrigin, Level, Presented};
use countersign_registry::{DeviceProgress, Fetched, Registry};

use crate::kit::refused;
use crate::on_both_databases;

fn origin() -> CallerOrigin {
    CallerOrigin {
        address: "192.0.2.7".parse().unwrap(),
        agent: "test".into(),
    }
}

async fn whoami(registry: &Registry, token: &str) -> Result<String, countersign_registry::Error> {
    let presented = Presented::Token(token.to_owned());
    let actor: Actor = registry.authenticate(presented).await?;
    Ok(actor.name().to_owned())
}

on_both_databases! {
    async fn a_program_that_was_let_in_holds_a_token_and_one_that_was_not_holds_nothing(test: TestRegistry) {
        test.user("ann").await;
        let registry = &test.registry;
        let ann = test.session("ann", Level::Phishproof, true).await;
        let login = registry.begin_device("client on a box", Action::Publish, &origin()).await.unwrap();
        // Its secret is no token yet.
        refused(whoami(registry, &login.device_code).await, "token-unknown");
        assert_eq!(registry.device_progress(&login.device_code).await.unwrap(), DeviceProgress::Waiting);
        registry.decide_device(&ann, &login.user_code.to_lowercase().replace('-', " "), true, &origin()).await.unwrap();
        assert!(matches!(registry.device_progress(&login.device_code).await.unwrap(), DeviceProgress::Granted { user, .. } if user == "ann"));
        assert_eq!(whoami(registry, &login.device_code).await.unwrap(), "ann");
        // Nobody decides twice, also not with no.
        refused(registry.decide_device(&ann, &login.user_code, false, &origin()).await, "login-unknown");

        let other = registry.begin_device("another", Action::Manage, &origin()).await.unwrap();
        registry.decide_device(&ann, &other.user_code, false, &origin()).await.unwrap();
        refused(registry.device_progress(&other.device_code).await, "login-denied");
        refused(whoami(registry, &other.device_code).await, "token-unknown");
        test.check().await;
    }

    async fn a_wrong_or_expired_code_lets_nobody_in(test: TestRegistry) {
        test.user("ann").await;
        let registry = &test.registry;
        let ann = test.session("ann", Level::Phishproof, true).await;
        let login = registry.begin_device("client", Action::Manage, &origin()).await.unwrap();
        for wrong in ["", "BCDF", "AAAA-AAAA", "BCDF-BCDF-B", "ÄÖÜß-ÄÖÜß"] {
            refused(registry.waiting_device(&ann, wrong).await, "login-unknown");
            refused(registry.decide_device(&ann, wrong, true, &origin()).await, "login-unknown");
        }
        refused(registry.device_progress("nothing").await, "login-unknown");
        refused(registry.device_progress(&login.user_code).await, "login-unknown");
        test.turn_clock(Duration::from_secs(601));
        let ann = test.session("ann", Level::Phishproof, true).await;
        refused(registry.decide_device(&ann, &login.user_code, true, &origin()).await, "login-unknown");
        refused(registry.device_progress(&login.device_code).await, "login-unknown");
        refused(whoami(registry, &login.device_code).await, "token-unknown");
        test.check().await;
    }

    async fn only_a_fresh_session_lets_a_program_in_and_no_token_does(test: TestRegistry) {
        let token = test.user("ann").await;
        let registry = &test.registry;
        let stale = test.session("ann", Level::Phishproof, false).await;
        let login = registry.begin_device("client", Action::Manage, &origin()).await.unwrap();
        refused(registry.decide_device(&token, &login.user_code, true, &origin()).await, "session-needed");
        refused(registry.waiting_device(&token, &login.user_code).await, "session-needed");
        refused(registry.decide_device(&stale, &login.user_code, true, &origin()).await, "step-up-needed");
        assert_eq!(registry.device_progress(&login.device_code).await.unwrap(), DeviceProgress::Waiting);
        // No needs no proof.
        registry.decide_device(&stale, &login.user_code, false, &origin()).await.unwrap();
        test.check().await;
    }

    async fn who_asks_too_often_is_told_to_wait_and_loses_nothing(test: TestRegistry) {
        test.user("ann").await;
        let registry = &test.registry;
        let ann = test.session("ann", Level::Phishproof, true).await;
        let login = registry.begin_device("client", Action::Manage, &origin()).await.unwrap();
        let web = registry.begin_web_login("npm", Action::Publish, &origin()).await.unwrap();
        for _ in 0..2 {
            assert_eq!(registry.device_progress(&login.device_code).await.unwrap(), DeviceProgress::Waiting);
            assert!(matches!(registry.fetch_login(&web.device_code, &origin()).await.unwrap(), Fetched::Waiting));
            refused(registry.device_progress(&login.device_code).await, "login-too-fast");
            refused(registry.fetch_login(&web.device_code, &origin()).await.map(drop), "login-too-fast");
            test.turn_clock(Duration::from_secs(u64::from(login.interval)));
        }
        // Two at the same moment: one is told, one is too many.
        let (first, second) = tokio::join!(registry.device_progress(&login.device_code), registry.device_progress(&login.device_code));
        assert!(first.is_ok() != second.is_ok());
        // A decision is told at once.
        registry.decide_device(&ann, &login.user_code, true, &origin()).await.unwrap();
        for _ in 0..2 {
            assert!(matches!(registry.device_progress(&login.device_code).await.unwrap(), DeviceProgress::Granted { .. }));
        }
        test.check().await;
    }

    async fn a_secret_that_stood_in_an_address_fetches_one_token_once_and_is_none_itself(test: TestRegistry) {
        test.user("ann").await;
        let registry = &test.registry;
        let ann = test.session("ann", Level::Phishproof, true).await;
        let web = registry.begin_web_login("npm/11", Action::Publish, &origin()).await.unwrap();
        let device = registry.begin_device("client", Action::Publish, &origin()).await.unwrap();
        // Neither way takes the other's secret.
        refused(registry.device_progress(&web.device_code).await, "login-unknown");
        refused(registry.fetch_login(&device.device_code, &origin()).await.map(drop), "login-unknown");
        registry.decide_device(&ann, &web.user_code, true, &origin()).await.unwrap();
        refused(registry.device_progress(&web.device_code).await, "login-unknown");
        refused(whoami(registry, &web.device_code).await, "token-unknown");
        // Two at the same moment, one token.
        let here = origin();
        let (first, second) = tokio::join!(registry.fetch_login(&web.device_code, &here), registry.fetch_login(&web.device_code, &here));
        let tokens: Vec<String> = [first, second].into_iter().filter_map(|fetched| match fetched {
            Ok(Fetched::Token(token)) => Some(token),
            _ => None,
        }).collect();
        let [token] = tokens.as_slice() else { panic!("{} tokens", tokens.len()) };
        assert_ne!(*token, web.device_code);
        assert_eq!(whoami(registry, token).await.unwrap(), "ann");
        refused(whoami(registry, &web.device_code).await, "token-unknown");
        refused(registry.fetch_login(&web.device_code, &origin()).await.map(drop), "login-unknown");
        let notices = registry.account_notices(&ann).await.unwrap();
        assert!(format!("{notices:?}").contains("npm/11"), "{notices:?}");

        let refusal = registry.begin_web_login("npm/11", Action::Publish, &origin()).await.unwrap();
        registry.decide_device(&ann, &refusal.user_code, false, &origin()).await.unwrap();
        refused(registry.fetch_login(&refusal.device_code, &origin()).await.map(drop), "login-denied");
        test.check().await;
    }
}
