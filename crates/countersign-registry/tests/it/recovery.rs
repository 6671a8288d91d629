//! Getting back into an account, and getting into somebody else's.

use std::time::Duration;

use countersign_formats::Ecosystem;
use countersign_registry::model::{Action, Actor, Level, Presented, Role, Time};
use countersign_registry::{
    DeletePolicy, Deletion, DomainReport, Enrolling, OutsideError, PolicyChange,
};
use countersign_testkit::packages::Wheel;

use crate::kit::{TestRegistry, from, refused};
use crate::on_both_databases;

const BEGIN: &str = "/recovery/begin";
const PROOF: &str = "/recovery/proof";
const STOP: &str = "/recovery/stop";
const FINISH: &str = "/recovery/finish";

const WAIT: Duration = Duration::from_secs(72 * 3_600);

impl TestRegistry {
    /// Asks for the mail that begins a recovery, and waits until the work behind the answer is done.
    async fn asks_to_recover(&self, who: &str) {
        self.registry.begin_recovery(who, &from(1)).await.unwrap();
        self.registry.ways_back_written().await;
    }

    /// A person with two proved addresses, `NAME@example.org` and `NAME@work.example`.
    async fn person_with_two(&self, name: &str) -> Actor {
        let person = self.person(name).await;
        let second = format!("{name}@work.example");
        self.registry.add_address(&person, &second).await.unwrap();
        let link = self.link(&second, "/account/verify-address").await;
        self.registry.verify_address(&link, None).await.unwrap();
        person
    }

    async fn case_of(&self, name: &str) -> String {
        self.asks_to_recover(name).await;
        let link = self.link(&format!("{name}@example.org"), BEGIN).await;
        self.registry.open_recovery(&link, None).await.unwrap().0
    }

    async fn proved_twice(&self, name: &str) -> String {
        let case = self.case_of(name).await;
        let second = format!("{name}@work.example");
        self.registry
            .ask_recovery_proof(&case, &second)
            .await
            .unwrap();
        let link = self.link(&second, PROOF).await;
        self.registry.give_recovery_proof(&link).await.unwrap();
        case
    }

    /// Waits until the chore has looked at what is ripe.
    async fn chored(&self, wanted: impl Fn() -> bool) {
        for _ in 0..100 {
            self.registry.look_after_accounts().await.unwrap();
            self.post().await;
            if wanted() {
                return;
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    async fn deletes(
        &self,
        actor: &Actor,
        project: &str,
    ) -> Result<(), countersign_registry::Error> {
        let what = Deletion::Release("1.0");
        self.registry
            .delete(actor, Ecosystem::Pypi, project, what)
            .await
    }

    fn has_mail(&self, address: &str, path: &str) -> bool {
        self.mailbox
            .to(address)
            .iter()
            .any(|mail| mail.text.contains(path))
    }
}

on_both_databases! {
    async fn two_proofs_and_three_days_open_an_account_and_close_its_older_doors(test: TestRegistry) {
        test.person_with_two("ann").await;
        let token = test.token("ann", Action::Manage, None).await;
        test.execute("INSERT INTO passwords (account_id, hash, changed_at) SELECT id, 'x', 1 FROM accounts WHERE name = 'ann'").await;
        let case = test.proved_twice("ann").await;
        let view = test.registry.recovery_case(&case).await.unwrap();
        assert_eq!((view.proofs.len(), view.needed), (2, 2));
        for address in ["ann@example.org", "ann@work.example"] {
            test.mail_to(address).await;
            assert!(test.has_mail(address, STOP), "{address}");
        }
        test.turn_clock(WAIT - Duration::from_secs(60));
        test.chored(|| false).await;
        assert!(!test.has_mail("ann@example.org", FINISH));
        test.turn_clock(Duration::from_secs(120));
        test.chored(|| test.has_mail("ann@example.org", FINISH)).await;
        let link = test.link("ann@example.org", FINISH).await;
        let enrolment = test.registry.finish_recovery(&link).await.unwrap();
        assert!(enrolment.starts_with("csgn_s_"));
        // A browser that fails here loses nothing: the link is good until it was used, and the older doors are open.
        let former = enrolment;
        let enrolment = test.registry.finish_recovery(&link).await.unwrap();
        let by = Enrolling::Link(&former);
        refused(test.registry.password_set(by, "forty two purple wombats", &from(1), None).await.map(|_| ()), "link-unknown");
        assert_eq!(test.count("SELECT count(*) AS n FROM passwords").await, 1);
        assert_eq!(test.count("SELECT count(*) AS n FROM credentials WHERE kind = 'token' AND revoked_at IS NULL").await, 1);
        assert_eq!(test.count("SELECT count(*) AS n FROM credentials WHERE kind = 'enrolment' AND label = 'recovery' AND revoked_at IS NULL").await, 1);
        // What is made with it closes them.
        let by = Enrolling::Link(&enrolment);
        test.registry.password_set(by, "forty two purple wombats", &from(1), None).await.unwrap().unwrap();
        refused(test.registry.finish_recovery(&link).await, "link-unknown");
        assert_eq!(test.count("SELECT count(*) AS n FROM passwords WHERE hash = 'x'").await, 0);
        assert_eq!(test.count("SELECT count(*) AS n FROM credentials WHERE kind = 'token' AND revoked_at IS NULL").await, 0);
        drop(token);
        test.check().await;
    }

    async fn one_mailbox_alone_recovers_nothing(test: TestRegistry) {
        test.person_with_two("ann").await;
        let case = test.case_of("ann").await;
        // The same address again is no second proof, by whichever link.
        test.registry.ask_recovery_proof(&case, "ann@example.org").await.unwrap();
        let link = test.link("ann@example.org", PROOF).await;
        test.registry.give_recovery_proof(&link).await.unwrap();
        test.asks_to_recover("ann@example.org").await;
        let again = test.link("ann@example.org", BEGIN).await;
        let (renewed, view) = test.registry.open_recovery(&again, None).await.unwrap();
        assert_eq!((view.proofs.len(), view.ready), (1, None));
        refused(test.registry.recovery_case(&case).await, "recovery-unknown");
        test.turn_clock(WAIT);
        test.chored(|| false).await;
        assert!(!test.has_mail("ann@example.org", FINISH));
        refused(test.registry.recovery_case(&renewed).await, "recovery-unknown");
        test.check().await;
    }

    async fn links_of_a_recovery_are_good_once_and_lapse(test: TestRegistry) {
        test.person_with_two("ann").await;
        test.asks_to_recover("ann").await;
        let begin = test.link("ann@example.org", BEGIN).await;
        test.registry.open_recovery(&begin, None).await.unwrap();
        refused(test.registry.open_recovery(&begin, None).await, "link-unknown");
        refused(test.registry.give_recovery_proof(&begin).await, "link-unknown");
        refused(test.registry.finish_recovery(&begin).await, "link-unknown");
        test.asks_to_recover("ann").await;
        let late = test.link("ann@example.org", BEGIN).await;
        test.turn_clock(Duration::from_secs(3_601));
        refused(test.registry.open_recovery(&late, None).await, "link-unknown");
    }

    async fn who_asks_to_recover_learns_nothing_about_who_is_here(test: TestRegistry) {
        test.person("ann").await;
        test.registry.create_user(&Actor::operator(), "unproved", Some("unproved@example.org"), false).await.unwrap();
        for who in ["nobody", "nobody@example.org", "unproved", "unproved@example.org", "", "@", "a b", "\0"] {
            test.asks_to_recover(who).await;
        }
        test.post().await;
        assert_eq!(test.mailbox.count(), 0);
        test.asks_to_recover("ANN@example.org").await;
        let case = test.registry.open_recovery(&test.link("ann@example.org", BEGIN).await, None).await.unwrap().0;
        // Nor which other addresses an account has.
        for address in ["ben@example.org", "nobody@example.org", "nonsense"] {
            test.registry.ask_recovery_proof(&case, address).await.unwrap();
        }
        assert!(test.mail_to("ben@example.org").await.is_empty());
        refused(test.registry.recovery_case("csgn_s_nonsense").await, "recovery-unknown");
    }

    async fn everybody_concerned_can_stop_a_recovery(test: TestRegistry) {
        let ann = test.person_with_two("ann").await;
        let ben = test.person("ben").await;
        let token = test.token("ann", Action::Manage, None).await;
        test.publish(&token, &Wheel::new("demo", "1.0").build()).await.unwrap();
        test.registry.set_role(&Actor::operator(), Ecosystem::Pypi, "demo", "ben", Some(Role::Owner)).await.unwrap();
        // A co-owner, by the link.
        let case = test.proved_twice("ann").await;
        test.post().await;
        let notice = test.registry.account_notices(&ben).await.unwrap().remove(0);
        assert_eq!(notice.kind, "recovery-other");
        assert!(notice.text.contains("ann") && notice.text.contains("demo"), "{}", notice.text);
        let stop = test.link("ben@example.org", STOP).await;
        test.registry.stop_recovery(&stop).await.unwrap();
        refused(test.registry.recovery_case(&case).await, "recovery-unknown");
        refused(test.registry.stop_recovery(&stop).await, "link-unknown");
        // The holder, signed in.
        let case = test.case_of("ann").await;
        refused(test.registry.stop_own_recovery(&ben).await, "recovery-unknown");
        test.registry.stop_own_recovery(&ann).await.unwrap();
        refused(test.registry.recovery_case(&case).await, "recovery-unknown");
        refused(test.registry.stop_recovery(&test.link("ann@work.example", STOP).await).await, "link-unknown");
        test.turn_clock(WAIT);
        test.chored(|| false).await;
        assert!(!test.has_mail("ann@example.org", FINISH));
        test.check().await;
    }

    async fn only_a_co_owner_with_a_passkey_can_vouch(test: TestRegistry) {
        let ann = test.person("ann").await;
        let (ben, mal) = (test.person("ben").await, test.person("mal").await);
        let token = test.token("ann", Action::Manage, None).await;
        test.publish(&token, &Wheel::new("demo", "1.0").build()).await.unwrap();
        test.registry.set_role(&Actor::operator(), Ecosystem::Pypi, "demo", "ben", Some(Role::Owner)).await.unwrap();
        refused(test.registry.vouch_for_recovery(&ben, "ann").await, "recovery-unknown");
        let case = test.case_of("ann").await;
        refused(test.registry.vouch_for_recovery(&mal, "ann").await, "recovery-unknown");
        refused(test.registry.vouch_for_recovery(&ann, "ann").await, "recovery-unknown");
        refused(test.registry.vouch_for_recovery(&token, "ann").await, "session-needed");
        let mut weak = ben.clone();
        if let Some(session) = &mut weak.session {
            session.level = Level::TwoFactor;
        }
        refused(test.registry.vouch_for_recovery(&weak, "ann").await, "step-up-needed");
        test.execute("UPDATE accounts SET recovered_at = 1 WHERE name = 'ben'").await;
        test.registry.vouch_for_recovery(&ben, "ann").await.unwrap();
        assert!(test.registry.recovery_case(&case).await.unwrap().ready.is_some());
        test.check().await;
    }

    async fn who_was_just_recovered_vouches_for_nobody_and_undoes_nothing(database: Database) {
        let test = TestRegistry::with(database, |settings| settings.delete = DeletePolicy::Always).await;
        test.person("ann").await;
        let ben = test.person("ben").await;
        let token = test.token("ben", Action::Manage, None).await;
        test.publish(&token, &Wheel::new("demo", "1.0").build()).await.unwrap();
        test.registry.set_role(&Actor::operator(), Ecosystem::Pypi, "demo", "ann", Some(Role::Owner)).await.unwrap();
        test.case_of("ann").await;
        test.execute_text(format!("UPDATE accounts SET recovered_at = {} WHERE name = 'ben'", test.registry_now() * 1_000_000)).await;
        refused(test.registry.vouch_for_recovery(&ben, "ann").await, "recently-recovered");
        refused(test.deletes(&token, "demo").await, "recently-recovered");
        // Nor makes it others owners, nor makes what outlives the week by another door.
        let registry = &test.registry;
        refused(registry.set_role(&ben, Ecosystem::Pypi, "demo", "ann", None).await, "recently-recovered");
        refused(registry.set_role(&token, Ecosystem::Pypi, "demo", "ann", Some(Role::Publisher)).await, "recently-recovered");
        let policy = PolicyChange { trusted_only: Some(true), ..PolicyChange::default() };
        refused(registry.set_project_policy(&ben, Ecosystem::Pypi, "demo", policy).await, "recently-recovered");
        refused(registry.erase_account(&ben, "ben").await, "recently-recovered");
        test.turn_clock(Duration::from_secs(7 * 86_400 + 60));
        test.deletes(&token, "demo").await.unwrap();
    }

    async fn a_critical_project_takes_two_different_operators_more(test: TestRegistry) {
        test.person_with_two("ann").await;
        let token = test.token("ann", Action::Manage, None).await;
        test.publish(&token, &Wheel::new("demo", "1.0").build()).await.unwrap();
        test.proved_twice("ann").await;
        // It becomes critical only after the case was opened: it counts all the same.
        test.execute("UPDATE projects SET critical_at = 1").await;
        test.turn_clock(WAIT + Duration::from_secs(60));
        test.chored(|| false).await;
        assert!(!test.has_mail("ann@example.org", FINISH));
        let operator = Actor::operator();
        test.registry.approve_recovery(&operator, "ann").await.unwrap();
        let view = test.registry.approve_recovery(&operator, "ann").await.unwrap();
        assert_eq!(view.operators.1, 1);
        test.chored(|| false).await;
        assert!(!test.has_mail("ann@example.org", FINISH));
        let mut other = test.person("olga").await;
        refused(test.registry.approve_recovery(&other, "ann").await, "operator-needed");
        if let Some(session) = &mut other.session {
            session.operator = true;
        }
        test.registry.approve_recovery(&other, "ann").await.unwrap();
        test.chored(|| test.has_mail("ann@example.org", FINISH)).await;
        test.registry.finish_recovery(&test.link("ann@example.org", FINISH).await).await.unwrap();
        test.check().await;
    }

    async fn an_address_with_an_abandoned_domain_proves_nothing(test: TestRegistry) {
        test.person_with_two("ann").await;
        let case = test.case_of("ann").await;
        test.registry.ask_recovery_proof(&case, "ann@work.example").await.unwrap();
        let link = test.link("ann@work.example", PROOF).await;
        test.execute("UPDATE account_emails SET abandoned_at = 1, abandoned_why = 'gone' WHERE address = 'ann@work.example'").await;
        refused(test.registry.give_recovery_proof(&link).await, "link-unknown");
        test.asks_to_recover("ann@work.example").await;
        assert!(test.mail_to("ann@work.example").await.iter().all(|mail| !mail.text.contains(BEGIN)));
    }

    async fn an_enrolment_secret_of_a_recovery_is_no_token(test: TestRegistry) {
        test.person_with_two("ann").await;
        test.proved_twice("ann").await;
        test.turn_clock(WAIT + Duration::from_secs(60));
        test.chored(|| test.has_mail("ann@example.org", FINISH)).await;
        let enrolment = test.registry.finish_recovery(&test.link("ann@example.org", FINISH).await).await.unwrap();
        refused(test.registry.authenticate(Presented::Token(enrolment)).await, "token-not-for-this");
    }

    async fn a_domain_is_given_up_after_two_looks_a_day_apart_and_its_holder_told(test: TestRegistry) {
        let ann = test.person_with_two("ann").await;
        let gone = DomainReport { exists: Some(false), ..DomainReport::default() };
        test.domains.0.lock().unwrap().insert("work.example".to_owned(), Ok(gone));
        assert_eq!(test.registry.check_domains().await.unwrap(), 0);
        test.turn_clock(Duration::from_secs(3_600));
        assert_eq!(test.registry.check_domains().await.unwrap(), 0);
        test.turn_clock(Duration::from_secs(86_400));
        assert_eq!(test.registry.check_domains().await.unwrap(), 1);
        let last = test.mail_to("ann@example.org").await.pop().unwrap();
        assert!(last.text.contains("ann@work.example seems to be abandoned"), "{}", last.text);
        let row = test.registry.addresses(&ann).await.unwrap().pop().unwrap();
        assert!(row.abandoned.is_some());
        test.asks_to_recover("ann@work.example").await;
        assert!(test.mail_to("ann@work.example").await.iter().all(|mail| !mail.text.contains(BEGIN)));
        test.check().await;
    }

    async fn a_domain_that_was_caught_again_is_given_up_at_once(test: TestRegistry) {
        test.person_with_two("ann").await;
        let caught = DomainReport { registered: Some(Time(i64::MAX)), ..DomainReport::default() };
        test.domains.0.lock().unwrap().insert("work.example".to_owned(), Ok(caught));
        assert_eq!(test.registry.check_domains().await.unwrap(), 1);
    }

    async fn a_broken_name_service_takes_no_address_from_anybody(test: TestRegistry) {
        let ann = test.person("ann").await;
        for number in 0..6 {
            let address = format!("ann@d{number}.example");
            test.registry.add_address(&ann, &address).await.unwrap();
            let link = test.link(&address, "/account/verify-address").await;
            test.registry.verify_address(&link, None).await.unwrap();
            let gone = DomainReport { exists: Some(false), ..DomainReport::default() };
            test.domains.0.lock().unwrap().insert(format!("d{number}.example"), Ok(gone));
        }
        test.domains.0.lock().unwrap().insert("example.org".to_owned(), Err(OutsideError::Status(500)));
        for known in ["gmail.com", "googlemail.com"] {
            let gone = DomainReport { exists: Some(false), ..DomainReport::default() };
            test.domains.0.lock().unwrap().insert(known.to_owned(), Ok(gone));
        }
        for _ in 0..3 {
            assert_eq!(test.registry.check_domains().await.unwrap(), 0);
            test.turn_clock(Duration::from_secs(86_400 + 60));
        }
        assert_eq!(test.count("SELECT count(*) AS n FROM account_emails WHERE abandoned_at IS NOT NULL").await, 0);
    }

    async fn five_dead_domains_among_twenty_are_given_up_though_they_are_many(test: TestRegistry) {
        let ann = test.person("ann").await;
        for number in 0..8 {
            let address = format!("ann@d{number}.example");
            test.registry.add_address(&ann, &address).await.unwrap();
            let link = test.link(&address, "/account/verify-address").await;
            test.registry.verify_address(&link, None).await.unwrap();
            if number < 5 {
                let gone = DomainReport { exists: Some(false), ..DomainReport::default() };
                test.domains.0.lock().unwrap().insert(format!("d{number}.example"), Ok(gone));
            }
        }
        assert_eq!(test.registry.check_domains().await.unwrap(), 0);
        test.turn_clock(Duration::from_secs(86_400 + 60));
        assert_eq!(test.registry.check_domains().await.unwrap(), 5);
        test.check().await;
    }

    async fn where_the_operator_demands_it_only_proved_accounts_publish(database: Database) {
        let test = TestRegistry::with(database, |settings| settings.verified_address_to_publish = true).await;
        let operator = Actor::operator();
        test.registry.create_user(&operator, "ann", Some("ann@example.org"), false).await.unwrap();
        let token = test.token("ann", Action::Publish, None).await;
        refused(test.publish(&token, &Wheel::new("demo", "1.0").build()).await, "address-needed");
        test.execute("UPDATE account_emails SET verified_at = 1").await;
        test.publish(&token, &Wheel::new("demo", "1.0").build()).await.unwrap();
        test.check().await;
    }
}
