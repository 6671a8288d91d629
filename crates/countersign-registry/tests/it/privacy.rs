//! What an account can ask to be told and to be forgotten, and what stays.

use std::net::IpAddr;
use std::time::Duration;

use countersign_formats::Ecosystem;
use countersign_registry::DocumentKey;
use countersign_registry::model::{Action, Actor, CallerOrigin, Level, Presented, Role};
use countersign_testkit::packages::{NpmPackage, Wheel};
use countersign_trust::leaf::LeafKind;

use crate::ecosystems::publish_npm;
use crate::kit::{TestRegistry, from, refused};
use crate::on_both_databases;

/// Every text of every row of the database that is no part of the log.
async fn all_texts(test: &TestRegistry) -> String {
    use sqlx::{Connection, Row};
    let mut connection = test.connection().await;
    let mut texts = String::new();
    for sql in [
        "SELECT name || ' ' || name_key || ' ' || COALESCE(display_name, '') AS t FROM accounts",
        "SELECT address AS t FROM account_emails",
        "SELECT address AS t FROM pending_addresses",
        "SELECT address || data AS t FROM mails",
        "SELECT address AS t FROM mail_secrets",
        "SELECT data AS t FROM account_notices",
        "SELECT address AS t FROM recovery_cases",
        "SELECT label || hint AS t FROM credentials",
        "SELECT detail AS t FROM events",
        "SELECT body AS t FROM leaves",
        "SELECT leaf AS t FROM outbox",
        "SELECT name_hash AS t FROM retired_names",
    ] {
        for row in sqlx::query(sql).fetch_all(&mut connection).await.unwrap() {
            texts.push_str(&row.get::<String, _>("t"));
            texts.push('\n');
        }
    }
    connection.close().await.unwrap();
    texts
}

on_both_databases! {
    async fn an_export_holds_all_that_is_kept_and_no_secret(test: TestRegistry) {
        let ann = test.person("annabel").await;
        let ben = test.person("benedict").await;
        let token = test.token("annabel", Action::Manage, None).await;
        test.token("benedict", Action::Manage, None).await;
        test.publish(&token, &Wheel::new("demo", "1.0").build()).await.unwrap();
        let export = test.registry.export_account(&ann).await.unwrap();
        let text = export.to_string();
        for part in ["annabel@example.org", "token-made", "\"accounts\"", "file-published", "demo"] {
            assert!(text.contains(part), "{part} is lacking in {text}");
        }
        assert!(!text.contains("benedict") && !text.contains("secret_hash"), "{text}");
        assert_eq!(export["tables"]["credentials"].as_array().unwrap().len(), 2);
        refused(test.registry.export_account(&token).await, "session-needed");
        let other = test.registry.export_account(&ben).await.unwrap().to_string();
        assert!(!other.contains("annabel"));
        test.check().await;
    }

    async fn an_erasure_leaves_no_trace_of_the_person_and_the_log_as_it_was(test: TestRegistry) {
        let ann = test.person("annabel").await;
        test.person("benedict").await;
        let token = test.token("annabel", Action::Manage, None).await;
        test.publish(&token, &Wheel::new("demo", "1.0").build()).await.unwrap();
        test.registry.add_address(&ann, "annabel@work.example").await.unwrap();
        test.registry.begin_recovery("annabel", &from(1)).await.unwrap();
        test.post().await;
        let before = test.check().await;
        refused(test.registry.erase_account(&ann, "annabel").await, "last-owner");
        test.registry.set_role(&Actor::operator(), Ecosystem::Pypi, "demo", "benedict", Some(Role::Owner)).await.unwrap();
        refused(test.registry.erase_account(&ann, "benedict").await, "erase-confirm");
        refused(test.registry.erase_account(&token, "annabel").await, "session-needed");
        test.registry.erase_account(&ann, "Annabel").await.unwrap();

        let after = test.check().await;
        assert_eq!(after[..before.len()], before[..]);
        // What others were told stays with them, as a letter does; nothing else names her.
        let id = match &ann.identity {
            countersign_registry::model::Identity::Account { id, .. } => id.0.clone(),
            _ => unreachable!("a person has an account"),
        };
        let texts = all_texts(&test).await;
        let own: Vec<&str> = texts.lines().filter(|line| line.to_lowercase().contains("annabel")).collect();
        assert!(own.iter().all(|line| line.contains("\"who\"") || line.contains("\"title\"")), "{own:?}");
        assert_eq!(test.count("SELECT count(*) AS n FROM events WHERE actor_kind = 'account' AND actor_salt IS NOT NULL AND actor_id IN (SELECT id FROM accounts WHERE erased_at IS NOT NULL)").await, 0);
        assert_eq!(test.count("SELECT count(*) AS n FROM events WHERE account_salt IS NOT NULL AND account_id IN (SELECT id FROM accounts WHERE erased_at IS NOT NULL)").await, 0);
        assert!(!id.is_empty());
        refused(test.registry.addresses(&Actor::anonymous()).await, "session-needed");
    }

    async fn a_packument_forgets_who_published_before_and_is_erased(test: TestRegistry) {
        let registry = &test.registry;
        let ann = test.person("annabel").await;
        let token = test.token("annabel", Action::Manage, None).await;
        publish_npm(registry, &token, &NpmPackage::new("demo", "1.0.0").request("latest")).await.unwrap();
        test.person("benedict").await;
        let operator = Actor::operator();
        registry.set_role(&operator, Ecosystem::Npm, "demo", "benedict", Some(Role::Owner)).await.unwrap();
        // She left the package before; its document is in memory as it was then.
        registry.set_role(&operator, Ecosystem::Npm, "demo", "annabel", None).await.unwrap();
        tokio::time::sleep(Duration::from_millis(260)).await;
        let packument = || test.text(DocumentKey::Packument("demo".into()));
        assert!(packument().await.unwrap().contains("annabel"));
        registry.erase_account(&ann, "annabel").await.unwrap();
        tokio::time::sleep(Duration::from_millis(260)).await;
        let after = packument().await.unwrap();
        assert!(!after.contains("annabel"), "{after}");
    }

    async fn who_erases_an_account_leaves_as_everybody_leaves(test: TestRegistry) {
        let ann = test.person("ann").await;
        let ben = test.person("ben").await;
        test.give_passkey("ann").await;
        let token = test.token("ann", Action::Manage, None).await;
        test.publish(&token, &Wheel::new("demo", "1.0").build()).await.unwrap();
        test.registry.set_role(&Actor::operator(), Ecosystem::Pypi, "demo", "ben", Some(Role::Owner)).await.unwrap();
        // Ben became an owner just now and has a password at most: a stolen session of ann does not leave it to him.
        refused(test.registry.erase_account(&ann, "ann").await, "second-person-needed");
        test.give_passkey("ben").await;
        test.turn_clock(Duration::from_secs(4 * 86_400));
        let ann = test.session("ann", Level::Phishproof, true).await;
        test.registry.erase_account(&ann, "ann").await.unwrap();
        drop(ben);
        let ben = test.session("ben", Level::Phishproof, true).await;
        let told = test.registry.account_notices(&ben).await.unwrap();
        assert!(told.iter().any(|notice| notice.text.starts_with("ann: a role → nothing")), "{told:#?}");
        let leaves = test.check().await;
        assert_eq!(leaves.last().unwrap().kind, LeafKind::OwnerChanged);
    }

    async fn nobody_becomes_who_was_here_before(test: TestRegistry) {
        let ann = test.person("ann").await;
        let token = test.token("ann", Action::Manage, None).await;
        test.registry.erase_account(&ann, "ann").await.unwrap();
        let operator = Actor::operator();
        for name in ["ann", "Ann", "ANN"] {
            refused(test.registry.create_user(&operator, name, None, false).await, "user-exists");
        }
        assert!(test.registry.users(&operator).await.unwrap().iter().all(|user| user.name != "ann"));
        // The address is free: its holder may come back under another name.
        test.registry.create_user(&operator, "ann2", Some("ann@example.org"), false).await.unwrap();
        drop(token);
        test.check().await;
    }

    async fn tokens_and_links_of_an_erased_account_are_good_for_nothing(test: TestRegistry) {
        let ann = test.person("ann").await;
        let new = countersign_registry::NewToken {
            user: "ann".to_owned(),
            ecosystem: None,
            namespace: None,
            networks: Vec::new(),
            project: None,
            action: Action::Manage,
            expires: Duration::from_secs(86_400),
            label: "x".to_owned(),
        };
        let (secret, _) = test.registry.create_token(&Actor::operator(), new).await.unwrap();
        test.registry.add_address(&ann, "a@work.example").await.unwrap();
        let link = test.link("a@work.example", "/account/verify-address").await;
        test.registry.erase_account(&ann, "ann").await.unwrap();
        refused(test.registry.authenticate(Presented::Token(secret)).await, "token-revoked");
        refused(test.registry.verify_address(&link, None).await, "link-unknown");
        test.registry.begin_recovery("ann", &from(1)).await.unwrap();
        test.registry.begin_recovery("ann@example.org", &from(1)).await.unwrap();
        tokio::time::sleep(Duration::from_millis(300)).await;
        assert!(test.mail_to("ann@example.org").await.iter().all(|mail| !mail.text.contains("/recovery/")));
        refused(test.registry.erase_account(&ann, "ann").await, "erase-confirm");
    }

    async fn where_a_client_came_from_is_kept_for_a_set_time(test: TestRegistry) {
        let ann = test.person("ann").await;
        let origin = CallerOrigin {
            address: IpAddr::from([192, 0, 2, 7]),
            agent: "Browser".to_owned(),
        };
        test.registry.add_address(&ann, "a@work.example").await.unwrap();
        let link = test.link("a@work.example", "/account/verify-address").await;
        test.registry.verify_address(&link, Some(&origin)).await.unwrap();
        let from = |notices: Vec<countersign_registry::AccountNotice>| notices[0].from.clone();
        assert_eq!(from(test.registry.account_notices(&ann).await.unwrap()).as_deref(), Some("192.0.2.7 (Browser)"));
        assert!(test.mail_to("a@work.example").await.pop().unwrap().text.contains("From: 192.0.2.7 (Browser)"));
        test.turn_clock(Duration::from_secs(29 * 86_400));
        test.registry.look_after_accounts().await.unwrap();
        assert!(from(test.registry.account_notices(&ann).await.unwrap()).is_some());
        test.turn_clock(Duration::from_secs(2 * 86_400));
        test.registry.look_after_accounts().await.unwrap();
        assert_eq!(from(test.registry.account_notices(&ann).await.unwrap()), None);
    }
}
