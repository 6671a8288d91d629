//! Organisations, teams, invitations, what takes two persons, and tokens of limited reach.

use std::time::Duration;

use countersign_formats::Ecosystem;
use countersign_registry::model::{
    Action, Actor, Identity, Level, Membership, Network, Presented, Role,
};
use countersign_registry::{NewToken, Wish};
use countersign_testkit::packages::Wheel;
use countersign_trust::leaf::LeafKind;

use crate::kit::{TestRegistry, refused};
use crate::on_both_databases;

const PYPI: Ecosystem = Ecosystem::Pypi;
const THREE_DAYS: Duration = Duration::from_secs(72 * 3_600 + 60);

const ACME: &[(&str, Membership)] = &[
    ("head", Membership::Owner),
    ("boss", Membership::Manager),
    ("hand", Membership::Member),
];

impl TestRegistry {
    /// Somebody who has just signed in with a passkey.
    async fn strong(&self, user: &str) -> Actor {
        self.session(user, Level::Phishproof, true).await
    }

    async fn can_publish(&self, user: &str, version: &str) -> Result<(), String> {
        let token = self.token(user, Action::Publish, None).await;
        let wheel = Wheel::new("demo", version).build();
        let answer = self.publish(&token, &wheel).await;
        answer.map(|_| ()).map_err(|error| error.code.into_owned())
    }

    /// `acme` with the project `demo` and the team `release`, in which `hand` is, as maintainer.
    async fn acme(&self) -> Actor {
        self.organisation("acme", ACME).await;
        self.project_of("acme", "head", "demo").await;
        let head = self.strong("head").await;
        let registry = &self.registry;
        registry
            .create_team(&head, "acme", "release")
            .await
            .unwrap();
        registry
            .set_team_member(&head, "acme", "release", "hand", true)
            .await
            .unwrap();
        registry
            .set_team_role(&head, PYPI, "demo", "release", Some(Role::Maintainer))
            .await
            .unwrap();
        self.can_publish("hand", "2.0").await.unwrap();
        head
    }
}

on_both_databases! {
    async fn a_teams_role_ends_with_any_edge_that_leads_to_it(test: TestRegistry) {
        let head = test.acme().await;
        let registry = &test.registry;
        let gone = Err("role-missing".to_owned());
        // Each edge is taken away and put back by itself.
        registry.set_team_member(&head, "acme", "release", "hand", false).await.unwrap();
        assert_eq!(test.can_publish("hand", "3.0").await, gone);
        registry.set_team_member(&head, "acme", "release", "hand", true).await.unwrap();
        test.can_publish("hand", "3.0").await.unwrap();

        registry.set_team_role(&head, PYPI, "demo", "release", None).await.unwrap();
        assert_eq!(test.can_publish("hand", "4.0").await, gone);
        registry.set_team_role(&head, PYPI, "demo", "release", Some(Role::Publisher)).await.unwrap();
        test.can_publish("hand", "4.0").await.unwrap();

        // Who leaves the organisation has nothing through its teams, also after coming back as a plain member.
        let hand = test.session("hand", Level::TwoFactor, true).await;
        registry.set_standing(&hand, "acme", "hand", None).await.unwrap();
        assert_eq!(test.can_publish("hand", "5.0").await, gone);
        let (secret, _) = registry.invite(&head, "acme", "hand", Membership::Member).await.unwrap();
        registry.accept_invitation(&hand, &secret).await.unwrap();
        assert_eq!(test.can_publish("hand", "5.0").await, gone);
        registry.set_team_member(&head, "acme", "release", "hand", true).await.unwrap();
        test.can_publish("hand", "5.0").await.unwrap();

        registry.remove_team(&head, "acme", "release").await.unwrap();
        assert_eq!(test.can_publish("hand", "6.0").await, gone);
        registry.create_team(&head, "acme", "release").await.unwrap();
        assert_eq!(test.can_publish("hand", "6.0").await, gone);
        let leaves = test.check().await;
        let roles = leaves.iter().filter(|leaf| leaf.kind == LeafKind::RoleChanged).count();
        // Given once, four times taken, three times given again.
        assert_eq!(roles, 8);
    }

    async fn a_team_that_is_named_with_its_organisation_is_that_of_the_owner_or_refused(test: TestRegistry) {
        let head = test.acme().await;
        test.organisation("other", &[("chief", Membership::Owner)]).await;
        let registry = &test.registry;
        let teams = || async {
            let teams = registry.teams_on(PYPI, "Demo").await.unwrap();
            teams.into_iter().map(|one| (one.organisation, one.team, one.role)).collect::<Vec<_>>()
        };
        let release = ("acme".to_owned(), "release".to_owned(), Role::Maintainer);
        assert_eq!(teams().await, std::slice::from_ref(&release));
        let set = |organisation: &'static str, role| registry.set_role_of_team(&head, PYPI, "demo", organisation, "release", role);
        refused(set("other", None).await, "project-elsewhere");
        refused(set("nowhere", None).await, "project-elsewhere");
        assert_eq!(teams().await, [release]);
        set("ACME", None).await.unwrap();
        assert_eq!(teams().await, []);
        refused(registry.teams_on(PYPI, "nothing").await, "project-unknown");
    }

    async fn a_teams_role_does_not_outlive_a_transfer(test: TestRegistry) {
        let head = test.acme().await;
        let registry = &test.registry;
        test.user("buyer").await;
        let proposal = registry.propose(&head, PYPI, "demo", Wish::TransferTo("buyer".into())).await.unwrap();
        let buyer = test.session("buyer", Level::TwoFactor, true).await;
        // Not before its time, not for others, not without a second factor.
        refused(registry.confirm_proposal(&buyer, &proposal.id).await, "proposal-too-early");
        test.turn_clock(THREE_DAYS);
        refused(registry.confirm_proposal(&test.strong("hand").await, &proposal.id).await, "proposal-unknown");
        refused(registry.confirm_proposal(&test.session("buyer", Level::Password, true).await, &proposal.id).await, "second-factor-needed");
        let buyer = test.session("buyer", Level::TwoFactor, true).await;
        assert_eq!(registry.transfers_to_me(&buyer).await.unwrap().len(), 1);
        registry.confirm_proposal(&buyer, &proposal.id).await.unwrap();
        for user in ["hand", "head", "boss"] {
            assert_eq!(test.can_publish(user, "7.0").await, Err("role-missing".to_owned()), "{user}");
        }
        test.can_publish("buyer", "7.0").await.unwrap();
        refused(registry.confirm_proposal(&buyer, &proposal.id).await, "proposal-unknown");
        // The team has nothing to be given back.
        refused(registry.set_team_role(&buyer, PYPI, "demo", "release", Some(Role::Maintainer)).await, "project-elsewhere");
        test.check().await;
    }

    async fn every_owner_can_stop_a_transfer(test: TestRegistry) {
        let ann = test.user("ann").await;
        for user in ["bob", "eve"] {
            test.user(user).await;
        }
        test.publish(&ann, &Wheel::new("demo", "1.0").build()).await.unwrap();
        let registry = &test.registry;
        registry.set_role(&ann, PYPI, "demo", "bob", Some(Role::Owner)).await.unwrap();
        let person = test.strong("ann").await;
        let wish = || Wish::TransferTo("eve".into());
        let proposal = registry.propose(&person, PYPI, "demo", wish()).await.unwrap();
        refused(registry.propose(&person, PYPI, "demo", wish()).await, "proposal-exists");
        test.user("mallory").await;
        refused(registry.cancel_proposal(&test.strong("mallory").await, &proposal.id).await, "proposal-unknown");
        registry.cancel_proposal(&test.session("bob", Level::Password, false).await, &proposal.id).await.unwrap();
        test.turn_clock(THREE_DAYS);
        refused(registry.confirm_proposal(&test.strong("eve").await, &proposal.id).await, "proposal-unknown");
        // Who asked and was removed meanwhile asked for nothing.
        let person = test.strong("ann").await;
        let proposal = registry.propose(&person, PYPI, "demo", wish()).await.unwrap();
        registry.set_role(&test.token("bob", Action::Manage, None).await, PYPI, "demo", "ann", None).await.unwrap();
        test.turn_clock(THREE_DAYS);
        refused(registry.confirm_proposal(&test.strong("eve").await, &proposal.id).await, "proposal-void");
        test.check().await;
    }

    async fn the_last_owner_with_a_passkey_goes_with_a_second_persons_word_only(test: TestRegistry) {
        let ann = test.user("ann").await;
        test.publish(&ann, &Wheel::new("demo", "1.0").build()).await.unwrap();
        let registry = &test.registry;
        for user in ["weak", "carl", "puppet"] {
            test.user(user).await;
        }
        for user in ["weak", "carl"] {
            registry.set_role(&ann, PYPI, "demo", user, Some(Role::Owner)).await.unwrap();
        }
        test.give_passkey("ann").await;
        let weak = test.token("weak", Action::Manage, None).await;
        refused(registry.set_role(&weak, PYPI, "demo", "ann", None).await, "second-person-needed");
        refused(registry.set_role(&weak, PYPI, "demo", "ann", Some(Role::Publisher)).await, "second-person-needed");
        // An owner made for the purpose, passkey and all, is not the one who remains, nor the second person.
        registry.set_role(&weak, PYPI, "demo", "puppet", Some(Role::Owner)).await.unwrap();
        test.give_passkey("puppet").await;
        refused(registry.set_role(&weak, PYPI, "demo", "ann", None).await, "second-person-needed");
        let thief = test.strong("weak").await;
        let proposal = registry.propose(&thief, PYPI, "demo", Wish::RemoveOwner("ann".into())).await.unwrap();
        refused(registry.confirm_proposal(&test.strong("puppet").await, &proposal.id).await, "second-person-needed");
        refused(registry.confirm_proposal(&thief, &proposal.id).await, "proposal-too-early");
        // Who is to go can stop it, with the weakest session.
        registry.cancel_proposal(&test.session("ann", Level::Password, false).await, &proposal.id).await.unwrap();
        registry.set_role(&ann, PYPI, "demo", "puppet", None).await.unwrap();

        // Another owner of some days' standing confirms at once.
        test.turn_clock(THREE_DAYS);
        let thief = test.strong("weak").await;
        let proposal = registry.propose(&thief, PYPI, "demo", Wish::RemoveOwner("ann".into())).await.unwrap();
        registry.confirm_proposal(&test.strong("carl").await, &proposal.id).await.unwrap();
        refused(test.publish(&ann, &Wheel::new("demo", "2.0").build()).await, "role-missing");
        test.check().await;
    }

    async fn a_leaked_read_token_of_whoever_is_to_go_stops_no_removal(test: TestRegistry) {
        let ann = test.person("ann").await;
        test.give_passkey("ann").await;
        let ben = test.person("ben").await;
        let token = test.token("ann", Action::Manage, None).await;
        test.publish(&token, &Wheel::new("demo", "1.0").build()).await.unwrap();
        test.registry.set_role(&Actor::operator(), PYPI, "demo", "ben", Some(Role::Owner)).await.unwrap();
        let strong = test.strong("ann").await;
        let wish = Wish::RemoveOwner("ben".to_owned());
        let asked = test.registry.propose(&strong, PYPI, "demo", wish).await.unwrap();
        let reads = test.token("ben", Action::Read, None).await;
        refused(test.registry.cancel_proposal(&reads, &asked.id).await, "session-needed");
        let elsewhere = test.token("ben", Action::Manage, Some("other")).await;
        refused(test.registry.cancel_proposal(&elsewhere, &asked.id).await, "session-needed");
        test.registry.cancel_proposal(&ben, &asked.id).await.unwrap();
        drop(ann);
        test.check().await;
    }

    async fn a_manager_who_puts_an_accomplice_into_a_team_is_seen_by_the_owners(test: TestRegistry) {
        test.acme().await;
        test.person("mole").await;
        test.execute("UPDATE account_emails SET verified_at = 1").await;
        let (secret, _) = test.registry.invite(&Actor::operator(), "acme", "mole", Membership::Member).await.unwrap();
        let mole = test.strong("mole").await;
        test.registry.accept_invitation(&mole, &secret).await.unwrap();
        let boss = test.strong("boss").await;
        test.registry.set_team_member(&boss, "acme", "release", "mole", true).await.unwrap();
        let head = test.strong("head").await;
        let told = test.registry.account_notices(&head).await.unwrap();
        assert!(told.iter().any(|notice| notice.text == "mole: nothing → maintainer, on demo."), "{told:#?}");
        let told = test.registry.account_notices(&mole).await.unwrap();
        assert!(told.iter().any(|notice| notice.text == "You are now maintainer of demo."), "{told:#?}");
    }

    async fn mail_flood_by_invitations(test: TestRegistry) {
        let head = test.acme().await;
        test.person("victim").await;
        let before = test.mail_to("victim@example.org").await.len();
        for _ in 0..5 {
            test.registry.invite(&head, "acme", "victim", Membership::Member).await.unwrap();
        }
        assert_eq!(test.mail_to("victim@example.org").await.len(), before + 1);
    }

    async fn whoever_asked_for_a_removal_may_do_it_alone_after_three_days(test: TestRegistry) {
        let ann = test.user("ann").await;
        test.publish(&ann, &Wheel::new("demo", "1.0").build()).await.unwrap();
        let registry = &test.registry;
        test.user("bob").await;
        registry.set_role(&ann, PYPI, "demo", "bob", Some(Role::Owner)).await.unwrap();
        test.give_passkey("ann").await;
        let proposal = registry.propose(&test.strong("bob").await, PYPI, "demo", Wish::RemoveOwner("ann".into())).await.unwrap();
        test.turn_clock(THREE_DAYS);
        registry.confirm_proposal(&test.strong("bob").await, &proposal.id).await.unwrap();
        let people = registry.project(PYPI, "demo").await.unwrap().people;
        assert_eq!(people, [("bob".to_owned(), Role::Owner)]);
        test.check().await;
    }

    async fn the_mailed_link_of_an_invitation_is_good_for_whom_it_was_mailed_to_once(test: TestRegistry) {
        test.organisation("acme", ACME).await;
        let registry = &test.registry;
        test.person("ann").await;
        test.user("eve").await;
        let head = test.strong("head").await;
        let (_, invitation) = registry.invite(&head, "acme", "ann", Membership::Member).await.unwrap();
        let mail = test.mail_to("ann@example.org").await.pop().unwrap();
        assert!(mail.text.contains("head invites you to be member of acme at"), "{}", mail.text);
        let link = test.link("ann@example.org", "/invitation").await;
        let (ann, eve) = (test.strong("ann").await, test.strong("eve").await);
        refused(registry.invitation(&eve, &link).await, "invitation-unknown");
        refused(registry.accept_invitation(&eve, &link).await, "invitation-unknown");
        let shown = registry.invitation(&ann, &link).await.unwrap();
        assert_eq!((shown.id, shown.organisation.as_str(), shown.by.as_deref()), (invitation.id, "acme", Some("head")));
        registry.accept_invitation(&ann, &link).await.unwrap();
        refused(registry.accept_invitation(&ann, &link).await, "invitation-unknown");
        assert_eq!(test.count("SELECT count(*) AS n FROM mail_secrets WHERE purpose = 'invitation'").await, 0);
        test.check().await;
    }

    async fn invitation_token_reuse_by_others_again_or_late(test: TestRegistry) {
        test.organisation("acme", ACME).await;
        let registry = &test.registry;
        for user in ["ann", "eve"] {
            test.user(user).await;
        }
        let head = test.strong("head").await;
        let (secret, invitation) = registry.invite(&head, "acme", "ann", Membership::Member).await.unwrap();
        let eve = test.strong("eve").await;
        for which in [&secret, &invitation.id] {
            refused(registry.accept_invitation(&eve, which).await, "invitation-unknown");
            refused(registry.end_invitation(&eve, which).await, "invitation-unknown");
        }
        refused(registry.accept_invitation(&test.session("ann", Level::Password, true).await, &secret).await, "second-factor-needed");
        let ann = test.session("ann", Level::TwoFactor, true).await;
        registry.accept_invitation(&ann, &secret).await.unwrap();
        refused(registry.accept_invitation(&ann, &secret).await, "invitation-unknown");
        refused(registry.invite(&head, "acme", "ann", Membership::Owner).await, "member-exists");
        // Used once, it does not bring back who was removed.
        registry.set_standing(&head, "acme", "ann", None).await.unwrap();
        refused(registry.accept_invitation(&ann, &secret).await, "invitation-unknown");

        let (taken_back, invitation) = registry.invite(&head, "acme", "ann", Membership::Member).await.unwrap();
        registry.end_invitation(&head, &invitation.id).await.unwrap();
        refused(registry.accept_invitation(&ann, &taken_back).await, "invitation-unknown");
        let (late, _) = registry.invite(&head, "acme", "ann", Membership::Member).await.unwrap();
        test.turn_clock(Duration::from_secs(7 * 86_400 + 1));
        let ann = test.session("ann", Level::TwoFactor, true).await;
        refused(registry.accept_invitation(&ann, &late).await, "invitation-unknown");
        // What somebody invited who is no owner any more is worth nothing.
        let head = test.strong("head").await;
        let (second, _) = registry.invite(&head, "acme", "eve", Membership::Owner).await.unwrap();
        let eve = test.strong("eve").await;
        registry.accept_invitation(&eve, &second).await.unwrap();
        let (theirs, _) = registry.invite(&eve, "acme", "ann", Membership::Owner).await.unwrap();
        registry.set_standing(&head, "acme", "eve", None).await.unwrap();
        refused(registry.accept_invitation(&ann, &theirs).await, "invitation-unknown");
        test.check().await;
    }

    async fn a_manager_can_neither_invite_nor_appoint_nor_remove_an_owner(test: TestRegistry) {
        test.organisation("acme", ACME).await;
        test.user("friend").await;
        let registry = &test.registry;
        let boss = test.strong("boss").await;
        for standing in [Membership::Owner, Membership::Manager] {
            refused(registry.invite(&boss, "acme", "friend", standing).await, "membership-missing");
            refused(registry.set_standing(&boss, "acme", "hand", Some(standing)).await, "membership-missing");
        }
        refused(registry.set_standing(&boss, "acme", "boss", Some(Membership::Owner)).await, "membership-missing");
        refused(registry.set_standing(&boss, "acme", "head", None).await, "membership-missing");
        refused(registry.set_standing(&boss, "acme", "head", Some(Membership::Member)).await, "membership-missing");
        refused(registry.propose_leaving(&boss, "acme", "head").await, "membership-missing");
        registry.create_team(&boss, "acme", "release").await.unwrap();
        test.project_of("acme", "head", "demo").await;
        let (head, boss) = (test.strong("head").await, test.strong("boss").await);
        refused(registry.set_team_role(&boss, PYPI, "demo", "release", Some(Role::Maintainer)).await, "role-missing");
        refused(registry.set_team_role(&head, PYPI, "demo", "release", Some(Role::Owner)).await, "team-owner");
        refused(registry.set_standing(&head, "acme", "head", None).await, "last-owner");
        test.check().await;
    }

    async fn users_and_organisations_share_one_name_space(test: TestRegistry) {
        test.organisation("acme", ACME).await;
        let registry = &test.registry;
        let operator = Actor::operator();
        refused(registry.create_user(&operator, "Acme", None, false).await, "user-exists");
        for name in ["HEAD", "acme"] {
            refused(registry.create_organisation(&operator, name, "x", Some("boss")).await, "name-taken");
        }
        registry.remove_organisation(&test.strong("head").await, "acme").await.unwrap();
        refused(registry.create_organisation(&operator, "acme", "x", Some("boss")).await, "name-taken");
        refused(registry.create_user(&operator, "acme", None, false).await, "user-exists");
        // A user and an organisation at the same moment: one gets the name.
        let (user, organisation) = tokio::join!(
            registry.create_user(&operator, "both", None, false),
            registry.create_organisation(&operator, "both", "x", Some("boss")),
        );
        assert!(user.is_ok() != organisation.is_ok());
        test.check().await;
    }

    async fn names_in_a_namespace_are_its_organisations(test: TestRegistry) {
        test.organisation("acme", ACME).await;
        let registry = &test.registry;
        let operator = Actor::operator();
        refused(registry.reserve_namespace(&test.strong("head").await, PYPI, "acme", Some("acme")).await, "operator-needed");
        registry.reserve_namespace(&operator, PYPI, "acme", Some("acme")).await.unwrap();
        let eve = test.user("eve").await;
        for name in ["acme", "acme-tools", "Acme.Tools"] {
            refused(test.publish(&eve, &Wheel::new(name, "1.0").build()).await, "namespace-owned");
        }
        test.publish(&eve, &Wheel::new("acmetools", "1.0").build()).await.unwrap();
        let hand = test.token("hand", Action::Publish, None).await;
        refused(test.publish(&hand, &Wheel::new("acme-cli", "1.0").build()).await, "namespace-owned");
        let head = test.strong("head").await;
        registry.create_team(&head, "acme", "makers").await.unwrap();
        registry.set_team_member(&head, "acme", "makers", "hand", true).await.unwrap();
        registry.set_namespace_role(&head, "acme", PYPI, "acme", "makers", Some(Role::Publisher)).await.unwrap();
        test.publish(&hand, &Wheel::new("acme-cli", "1.0").build()).await.unwrap();
        // The organisation owns it, not its founder.
        assert_eq!(registry.project(PYPI, "acme-cli").await.unwrap().people, [("acme".to_owned(), Role::Owner)]);
        let manages = test.token("hand", Action::Manage, None).await;
        refused(registry.yank(&manages, PYPI, "acme-cli", "1.0", "").await, "role-missing");
        registry.yank(&test.token("head", Action::Manage, None).await, PYPI, "acme-cli", "1.0", "").await.unwrap();
        registry.reserve_namespace(&operator, PYPI, "acme", None).await.unwrap();
        refused(test.publish(&hand, &Wheel::new("acme-cli", "1.1").build()).await, "role-missing");
        test.check().await;
    }

    async fn race_between_removing_an_owner_and_that_owners_act(test: TestRegistry) {
        let ann = test.user("ann").await;
        test.user("bob").await;
        test.publish(&ann, &Wheel::new("demo", "1.0").build()).await.unwrap();
        let registry = &test.registry;
        for round in 0..4 {
            registry.set_role(&ann, PYPI, "demo", "bob", Some(Role::Owner)).await.unwrap();
            let bob = test.token("bob", Action::Manage, None).await;
            let guest = format!("guest-{round}");
            test.user(&guest).await;
            let (removed, acted) = tokio::join!(
                registry.set_role(&ann, PYPI, "demo", "bob", None),
                registry.set_role(&bob, PYPI, "demo", &guest, Some(Role::Maintainer)),
            );
            removed.unwrap();
            let there = registry.project(PYPI, "demo").await.unwrap().people.iter().any(|(user, _)| *user == guest);
            // Either before, and then it holds; or after, and then it was refused. The log tells the same order.
            match acted {
                Ok(()) => assert!(there),
                Err(error) => {
                    assert_eq!(error.code, "role-missing");
                    assert!(!there);
                }
            }
            refused(registry.set_role(&bob, PYPI, "demo", &guest, None).await, "role-missing");
        }
        test.check().await;
    }

    async fn a_token_is_good_within_its_scope_alone(test: TestRegistry) {
        test.user("ann").await;
        let registry = &test.registry;
        let own = test.session("ann", Level::TwoFactor, true).await;
        let new = NewToken {
            namespace: Some("Ann_Tools".into()),
            networks: vec!["192.0.2.0/24".parse::<Network>().unwrap(), "2001:db8::/32".parse().unwrap()],
            ..NewToken::new("ann", Action::Publish)
        };
        let (secret, summary) = registry.create_token(&own, new).await.unwrap();
        let expires = summary.expires.unwrap();
        assert_eq!(expires, summary.created.plus_seconds(30 * 86_400));
        let from = async |address: &str| {
            registry.authenticate_from(Presented::Token(secret.clone()), Some(address.parse().unwrap())).await
        };
        for address in ["192.0.3.1", "2001:db9::1", "::1", "::ffff:198.51.100.7"] {
            refused(from(address).await, "token-network");
        }
        refused(registry.authenticate(Presented::Token(secret.clone())).await, "token-network");
        for address in ["192.0.2.200", "2001:db8:1::1", "::ffff:192.0.2.9"] {
            from(address).await.unwrap();
        }
        let actor = from("192.0.2.1").await.unwrap();
        test.publish(&actor, &Wheel::new("ann-tools-x", "1.0").build()).await.unwrap();
        for name in ["ann-toolsx", "demo"] {
            refused(test.publish(&actor, &Wheel::new(name, "1.0").build()).await, "token-namespace");
        }
        refused(registry.yank(&actor, PYPI, "ann-tools-x", "1.0", "").await, "token-action");
        // Nobody makes or ends tokens of others, by name or by id.
        test.user("eve").await;
        let eve = test.strong("eve").await;
        refused(registry.create_token(&eve, NewToken::new("ann", Action::Read)).await, "operator-needed");
        refused(registry.tokens(&eve, Some("ann")).await, "operator-needed");
        refused(registry.revoke_token(&eve, &summary.id.0, false).await, "token-unknown");
        refused(registry.revoke_token(&eve, &summary.hint, false).await, "token-unknown");
        from("192.0.2.1").await.unwrap();
        test.check().await;
    }

    async fn ids_of_others_lead_nowhere(test: TestRegistry) {
        test.acme().await;
        let registry = &test.registry;
        let eve = test.user("eve").await;
        let person = test.strong("eve").await;
        test.publish(&eve, &Wheel::new("evil", "1.0").build()).await.unwrap();
        // A foreign id under a project of one's own, or of one's own organisation.
        registry.create_organisation(&person, "evilcorp", "Evil", None).await.unwrap();
        let head = test.strong("head").await;
        let (_, invitation) = registry.invite(&head, "acme", "eve", Membership::Member).await.unwrap();
        let (_, other) = registry.invite(&head, "acme", "founder-of-demo", Membership::Member).await.unwrap();
        refused(registry.end_invitation(&person, &other.id).await, "invitation-unknown");
        refused(registry.accept_invitation(&person, &other.id).await, "invitation-unknown");
        let proposal = registry.propose(&head, PYPI, "demo", Wish::TransferTo("boss".into())).await.unwrap();
        refused(registry.cancel_proposal(&person, &proposal.id).await, "proposal-unknown");
        refused(registry.confirm_proposal(&person, &proposal.id).await, "proposal-unknown");
        refused(registry.remove_team(&person, "evilcorp", "release").await, "team-unknown");
        refused(registry.set_team_member(&person, "evilcorp", "release", "eve", true).await, "team-unknown");
        refused(registry.dismiss_notice(&eve, PYPI, "evil", &proposal.id).await, "notice-unknown");
        refused(registry.remove_publisher(&eve, PYPI, "evil", &proposal.id).await, "publisher-unknown");
        registry.end_invitation(&person, &invitation.id).await.unwrap();
        assert!(matches!(&person.identity, Identity::Account { name, .. } if name == "eve"));
        test.check().await;
    }
}
