//! Addresses, notices and the outbox, and what people try with them.

use std::time::Duration;

use countersign_formats::Ecosystem;
use countersign_registry::model::{
    AccountId, Action, Actor, EmailAddress, Identity, Level, Role, SessionFacts, SessionId,
    Strength, Time,
};
use countersign_registry::{Clock, MailKind, Message, PostError};

use crate::kit::{TestRegistry, refused};
use crate::on_both_databases;

impl TestRegistry {
    /// A user with a proved address `NAME@example.org`, signed in with a passkey just now.
    pub async fn person(&self, name: &str) -> Actor {
        let email = format!("{name}@example.org");
        let user = self
            .registry
            .create_user(&Actor::operator(), name, Some(&email), false)
            .await
            .unwrap();
        self.execute_text(format!(
            "UPDATE account_emails SET verified_at = {} WHERE account_id = '{}'",
            self.clock.now().0,
            user.id
        ))
        .await;
        self.session_of(user.id, name).await
    }

    /// A session of an account, signed in with a passkey just now.
    async fn session_of(&self, id: AccountId, name: &str) -> Actor {
        self.execute_text(format!(
            "INSERT INTO sessions (id, secret_hash, account_id, level, way, created_at, seen_at, expires_at, fresh_until) \
             VALUES ('{id}', 'of {id}', '{id}', 'phishproof', 'passkey', 1, {max}, {max}, {max})",
            max = i64::MAX
        ))
        .await;
        let session = SessionId(id.to_string());
        Actor {
            identity: Identity::Account {
                id,
                name: name.to_owned(),
            },
            strength: Strength::Phishproof,
            consent: None,
            session: Some(SessionFacts {
                id: session,
                level: Level::Phishproof,
                fresh_until: Some(Time(i64::MAX)),
                operator: false,
            }),
            ..Actor::anonymous()
        }
    }

    /// Sends what is due, and waits for what the registry's own office has in its hands.
    pub async fn post(&self) {
        self.registry.send_mail().await.unwrap();
        let taken = "SELECT count(*) AS n FROM mails WHERE sent_at IS NULL AND given_up_at IS NULL AND lease_until IS NOT NULL";
        for _ in 0..500 {
            if self.count(taken).await == 0 {
                return;
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        panic!("mail stays in somebody's hands");
    }

    /// Sends what is due; the mails to an address.
    pub async fn mail_to(&self, address: &str) -> Vec<Message> {
        self.post().await;
        self.mailbox.to(address)
    }

    /// The secret of the link below this path in the newest mail to an address.
    pub async fn link(&self, address: &str, path: &str) -> String {
        let mails = self.mail_to(address).await;
        let needle = format!("{path}?secret=");
        let mail = mails.iter().rev().find(|mail| mail.text.contains(&needle));
        let mail = mail.unwrap_or_else(|| panic!("no mail to {address} leads to {path}"));
        let (_, rest) = mail.text.split_once(&needle).unwrap();
        rest.split_whitespace().next().unwrap().to_owned()
    }

    pub async fn execute_text(&self, statement: String) {
        use sqlx::Connection;
        let mut connection = self.connection().await;
        sqlx::query(sqlx::AssertSqlSafe(statement))
            .execute(&mut connection)
            .await
            .unwrap();
        connection.close().await.unwrap();
    }
}

fn stale(actor: &Actor) -> Actor {
    let mut stale = actor.clone();
    if let Some(session) = &mut stale.session {
        session.fresh_until = None;
    }
    stale
}

const VERIFY: &str = "/account/verify-address";

on_both_databases! {
    async fn an_address_is_added_by_its_link_and_old_and_new_are_told(test: TestRegistry) {
        let ann = test.person("ann").await;
        test.registry.add_address(&ann, "ann@work.example").await.unwrap();
        let listed = test.registry.addresses(&ann).await.unwrap();
        assert_eq!((listed.len(), listed[1].verified), (2, None));

        let secret = test.link("ann@work.example", VERIFY).await;
        // To look at the link does nothing.
        let link = test.registry.mail_link(MailKind::VerifyAddress, &secret).await.unwrap();
        assert_eq!((link.user.as_deref(), link.address.as_str()), (Some("ann"), "ann@work.example"));
        test.registry.mail_link(MailKind::VerifyAddress, &secret).await.unwrap();
        let proved = test.registry.verify_address(&secret, None).await.unwrap();
        assert!(!proved.primary && proved.verified.is_some());
        for address in ["ann@example.org", "ann@work.example"] {
            let mails = test.mail_to(address).await;
            let mail = mails.last().unwrap();
            assert!(mail.text.contains("The address ann@work.example was added"), "{}", mail.text);
            assert!(mail.text.contains("/account/security") && mail.html.contains("/account/security"));
        }

        test.registry.make_primary(&ann, &proved.id, None).await.unwrap();
        let listed = test.registry.addresses(&ann).await.unwrap();
        assert_eq!((listed[0].address.as_str(), listed[0].primary), ("ann@work.example", true));
        refused(test.registry.remove_address(&ann, &proved.id, None).await, "address-main");
        test.registry.remove_address(&ann, &listed[1].id, None).await.unwrap();
        // Two mails are on their way at once, and nothing says which arrives first.
        let told = test.mail_to("ann@example.org").await;
        assert!(told.iter().any(|mail| mail.text.contains("The address ann@example.org was removed")), "{}", told.last().unwrap().text);
        let kinds: Vec<String> = test.registry.account_notices(&ann).await.unwrap().into_iter().map(|notice| notice.kind).collect();
        assert_eq!(kinds, ["address-removed", "address-primary", "address-added"]);
        test.check().await;
    }

    async fn a_verification_link_is_good_once_and_for_six_hours(test: TestRegistry) {
        let ann = test.person("ann").await;
        test.registry.add_address(&ann, "a@work.example").await.unwrap();
        let first = test.link("a@work.example", VERIFY).await;
        test.registry.add_address(&ann, "a@work.example").await.unwrap();
        let second = test.link("a@work.example", VERIFY).await;
        assert_ne!(first, second);
        test.registry.verify_address(&first, None).await.unwrap();
        for used in [&first, &second] {
            refused(test.registry.verify_address(used, None).await, "link-unknown");
        }
        test.registry.add_address(&ann, "b@work.example").await.unwrap();
        let late = test.link("b@work.example", VERIFY).await;
        test.turn_clock(Duration::from_secs(6 * 3_600));
        refused(test.registry.verify_address(&late, None).await, "link-unknown");
        for nonsense in ["", "csgn_s_", "x", &first[..40]] {
            refused(test.registry.verify_address(nonsense, None).await, "link-unknown");
        }
        test.check().await;
    }

    async fn a_link_of_one_purpose_is_good_for_no_other(test: TestRegistry) {
        let ann = test.person("ann").await;
        test.registry.add_address(&ann, "a@work.example").await.unwrap();
        let secret = test.link("a@work.example", VERIFY).await;
        for kind in MailKind::ALL.iter().filter(|kind| **kind != MailKind::VerifyAddress) {
            refused(test.registry.mail_link(*kind, &secret).await, "link-unknown");
        }
        test.registry.verify_address(&secret, None).await.unwrap();
    }

    async fn a_link_of_an_address_that_was_removed_again_adds_nothing(test: TestRegistry) {
        let ann = test.person("ann").await;
        test.registry.add_address(&ann, "a@work.example").await.unwrap();
        let secret = test.link("a@work.example", VERIFY).await;
        let pending = test.registry.addresses(&ann).await.unwrap().pop().unwrap();
        test.registry.remove_address(&ann, &pending.id, None).await.unwrap();
        refused(test.registry.verify_address(&secret, None).await, "link-unknown");
        assert_eq!(test.registry.addresses(&ann).await.unwrap().len(), 1);
    }

    async fn whether_an_address_has_an_account_is_told_to_its_reader_alone(test: TestRegistry) {
        let (ann, eve) = (test.person("ann").await, test.person("mallory").await);
        test.registry.add_address(&eve, "ann@example.org").await.unwrap();
        test.registry.add_address(&eve, "nobody@example.org").await.unwrap();
        let listed = test.registry.addresses(&eve).await.unwrap();
        assert_eq!(listed.iter().filter(|row| row.verified.is_none()).count(), 2);
        let mail = test.mail_to("ann@example.org").await.pop().unwrap();
        assert!(!mail.text.contains("secret=") && mail.text.contains("belongs to an account"), "{}", mail.text);
        assert!(!mail.text.contains("mallory"));
        assert!(!test.mail_to("nobody@example.org").await.is_empty());
        assert_eq!(test.registry.addresses(&ann).await.unwrap().len(), 1);
    }

    async fn squatting_an_address_keeps_nobody_from_proving_it(test: TestRegistry) {
        let (eve, ann) = (test.person("eve").await, test.person("ann").await);
        // Pending, and unproved at an account that the operator made.
        test.registry.add_address(&eve, "new@example.org").await.unwrap();
        test.registry.create_user(&Actor::operator(), "mal", Some("other@example.org"), false).await.unwrap();
        for address in ["new@example.org", "other@example.org"] {
            test.registry.add_address(&ann, address).await.unwrap();
            let secret = test.link(address, VERIFY).await;
            test.registry.verify_address(&secret, None).await.unwrap();
        }
        assert_eq!(test.registry.addresses(&ann).await.unwrap().len(), 3);
        // And eve's own link for it is now worth nothing.
        test.registry.add_address(&eve, "new@example.org").await.unwrap();
        let last = test.mail_to("new@example.org").await.pop().unwrap();
        assert!(!last.text.contains("secret="), "{}", last.text);
        test.check().await;
    }

    async fn two_accounts_that_prove_one_address_at_once_do_not_both_get_it(test: TestRegistry) {
        let (ann, eve) = (test.person("ann").await, test.person("eve").await);
        test.registry.add_address(&ann, "shared@example.org").await.unwrap();
        let first = test.link("shared@example.org", VERIFY).await;
        test.registry.add_address(&eve, "shared@example.org").await.unwrap();
        let second = test.link("shared@example.org", VERIFY).await;
        let (one, two) = tokio::join!(
            test.registry.verify_address(&first, None),
            test.registry.verify_address(&second, None)
        );
        assert!(one.is_ok() != two.is_ok(), "{one:?} {two:?}");
        assert_eq!(test.count("SELECT count(*) AS n FROM account_emails WHERE address_key = 'shared@example.org'").await, 1);
        test.check().await;
    }

    async fn a_session_that_is_not_fresh_or_a_token_changes_no_address(test: TestRegistry) {
        let ann = test.person("ann").await;
        let token = test.token("ann", Action::Manage, None).await;
        refused(test.registry.add_address(&stale(&ann), "a@work.example").await, "step-up-needed");
        refused(test.registry.add_address(&token, "a@work.example").await, "session-needed");
        refused(test.registry.add_address(&Actor::anonymous(), "a@work.example").await, "session-needed");
        refused(test.registry.addresses(&token).await, "session-needed");
        refused(test.registry.account_notices(&token).await, "session-needed");
        test.registry.addresses(&stale(&ann)).await.unwrap();
    }

    async fn addresses_and_notices_of_others_are_out_of_reach_by_their_ids(test: TestRegistry) {
        let (ann, eve) = (test.person("ann").await, test.person("eve").await);
        test.token("ann", Action::Publish, None).await;
        let address = test.registry.addresses(&ann).await.unwrap().pop().unwrap().id;
        let notice = test.registry.account_notices(&ann).await.unwrap().pop().unwrap().id;
        refused(test.registry.make_primary(&eve, &address, None).await, "address-unknown");
        refused(test.registry.remove_address(&eve, &address, None).await, "address-unknown");
        refused(test.registry.see_account_notice(&eve, &notice).await, "notice-unknown");
        test.registry.see_account_notice(&ann, &notice).await.unwrap();
    }

    async fn a_mailbox_can_not_be_flooded_through_us(test: TestRegistry) {
        let ann = test.person("ann").await;
        for _ in 0..20 {
            test.registry.add_address(&ann, "victim@example.org").await.unwrap();
        }
        assert_eq!(test.mail_to("victim@example.org").await.len(), 5);
        for number in 0..8 {
            test.registry.add_address(&ann, &format!("{number}@example.org")).await.unwrap();
        }
        refused(test.registry.add_address(&ann, "one@too.many").await, "addresses-many");
    }

    async fn headers_can_not_be_injected_into_a_mail(test: TestRegistry) {
        let ann = test.person("ann").await;
        for hostile in [
            "a@example.org\r\nBcc: b@example.org",
            "a@example.org\nBcc: b@example.org",
            "a@example.org\0",
            "\"a\r\nBcc: b\"@example.org",
            "a b@example.org",
            "<a@example.org>",
            "a@example.org, b@example.org",
            "a@exam\rple.org",
            "a@ex\u{2028}ample.org",
            "a@b@example.org",
            "ä@example.org",
            "a@-example.org",
            "a..b@example.org",
            "@example.org",
            "a@",
        ] {
            refused(test.registry.add_address(&ann, hostile).await, "email-address");
            assert!(EmailAddress::parse(hostile).is_none());
        }
        // What comes into a subject: names and labels that people choose.
        let new = countersign_registry::NewToken {
            user: "ann".to_owned(),
            ecosystem: None,
            namespace: None, networks: Vec::new(), project: None,
            action: Action::Publish,
            expires: Duration::from_secs(86_400),
            label: "x\r\nBcc: victim@example.org\r\n\r\n<script>alert(1)</script>".to_owned(),
        };
        test.registry.create_token(&Actor::operator(), new).await.unwrap();
        let mail = test.mail_to("ann@example.org").await.pop().unwrap();
        assert!(!mail.subject().contains(['\r', '\n']));
        assert!(!mail.text.lines().any(|line| line.starts_with("Bcc:")), "{}", mail.text);
        assert!(!mail.html.contains("<script>"), "{}", mail.html);
        let forged = Message::new("1@h".into(), EmailAddress::parse("a@example.org").unwrap(), "s\r\nBcc: b", String::new(), String::new());
        assert_eq!(forged.subject(), "s  Bcc: b");
    }

    async fn a_stored_address_that_is_none_is_never_sent_to(test: TestRegistry) {
        let ann = test.person("ann").await;
        // Before there is anything to send: the office does not wait for this test.
        test.mailbox.refuse(Some(PostError::Later("not yet".to_owned())));
        test.registry.add_address(&ann, "a@work.example").await.unwrap();
        test.post().await;
        test.execute_text("UPDATE mails SET address = 'a@work.example' || char(10) || 'x', run_at = 0".replace("char(10)", "'\n'")).await;
        test.mailbox.refuse(None);
        test.post().await;
        assert_eq!(test.mailbox.count(), 0);
        assert_eq!(test.registry.mail_state(&Actor::operator()).await.unwrap().given_up, 1);
    }

    async fn mail_outlives_a_crash_between_commit_and_sending(test: TestRegistry) {
        let mut test = test;
        let ann = test.person("ann").await;
        test.mailbox.refuse(Some(PostError::Later("the server is away".to_owned())));
        test.registry.add_address(&ann, "a@work.example").await.unwrap();
        test.post().await;
        let state = test.registry.mail_state(&Actor::operator()).await.unwrap();
        assert_eq!((state.waiting, state.fault.as_deref()), (1, Some("the server is away")));
        test.restart().await;
        test.mailbox.refuse(None);
        // The one that crashed while it sent still has its lease; then it is due again.
        test.turn_clock(Duration::from_secs(600));
        let secret = test.link("a@work.example", VERIFY).await;
        test.registry.verify_address(&secret, None).await.unwrap();
        test.check().await;
    }

    async fn mail_that_went_out_without_our_knowing_goes_out_again_with_the_same_id(test: TestRegistry) {
        let ann = test.person("ann").await;
        test.mailbox.forgetful.store(true, std::sync::atomic::Ordering::SeqCst);
        test.registry.add_address(&ann, "a@work.example").await.unwrap();
        let first = test.mail_to("a@work.example").await;
        assert_eq!(first.len(), 1);
        test.mailbox.forgetful.store(false, std::sync::atomic::Ordering::SeqCst);
        test.turn_clock(Duration::from_secs(600));
        let both = test.mail_to("a@work.example").await;
        assert_eq!((both.len(), both[0].id()), (2, both[1].id()));
        // Whichever of the two is opened, it works, and ends the other.
        let old = both[0].text.split("secret=").nth(1).unwrap().split_whitespace().next().unwrap();
        test.registry.verify_address(old, None).await.unwrap();
        refused(test.registry.verify_address(&test.link("a@work.example", VERIFY).await, None).await, "link-unknown");
    }

    async fn mail_that_never_goes_out_is_given_up_and_forgotten(test: TestRegistry) {
        let ann = test.person("ann").await;
        test.mailbox.refuse(Some(PostError::Later("away".to_owned())));
        test.registry.add_address(&ann, "a@work.example").await.unwrap();
        for _ in 0..13 {
            test.post().await;
            test.turn_clock(Duration::from_secs(6 * 3_600 + 1));
        }
        let state = test.registry.mail_state(&Actor::operator()).await.unwrap();
        assert_eq!((state.waiting, state.given_up), (0, 1));
        assert_eq!(test.count("SELECT count(*) AS n FROM mails WHERE address <> '' OR data <> '{}'").await, 0);
    }

    async fn two_servers_do_not_send_one_mail_twice(test: TestRegistry) {
        let ann = test.person("ann").await;
        for number in 0..8 {
            test.registry.add_address(&ann, &format!("{number}@example.org")).await.unwrap();
        }
        let other = test.reopened().await.unwrap();
        let (one, two, three) = tokio::join!(test.registry.send_mail(), other.send_mail(), test.registry.send_mail());
        assert!(one.unwrap() + two.unwrap() + three.unwrap() <= 8);
        test.post().await;
        assert_eq!(test.mailbox.count(), 8);
        other.store().close().await;
    }

    async fn critical_changes_are_told_by_mail_and_on_the_page(test: TestRegistry) {
        let (ann, ben) = (test.person("ann").await, test.person("ben").await);
        let token = test.token("ann", Action::Manage, None).await;
        let package = countersign_testkit::packages::Wheel::new("demo", "1.0").build();
        test.publish(&token, &package).await.unwrap();
        test.registry.set_role(&Actor::operator(), Ecosystem::Pypi, "demo", "ben", Some(Role::Maintainer)).await.unwrap();
        test.registry.set_role(&Actor::operator(), Ecosystem::Pypi, "demo", "ben", None).await.unwrap();
        test.registry.revoke_token(&Actor::operator(), &token.credential.clone().unwrap().0, false).await.unwrap();
        let kinds = |notices: Vec<countersign_registry::AccountNotice>| -> Vec<String> {
            notices.into_iter().rev().map(|notice| notice.kind).collect()
        };
        let told = kinds(test.registry.account_notices(&ann).await.unwrap());
        assert_eq!(told, ["token-made", "people-changed", "people-changed", "token-revoked"]);
        assert_eq!(kinds(test.registry.account_notices(&ben).await.unwrap()), ["role-given", "role-taken"]);
        assert_eq!(test.mail_to("ann@example.org").await.len(), 4);
        assert_eq!(test.mail_to("ben@example.org").await.len(), 2);
        let advice = test.registry.account_notices(&ann).await.unwrap();
        assert!(advice.iter().all(|notice| !notice.advice.is_empty() && !notice.text.contains('{')));
        test.check().await;
    }
}
