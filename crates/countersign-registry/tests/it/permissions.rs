//! Privilege escalation through every role × act × credential: the cells are made from the table of permissions, the
//! answers come from the real verbs.

use std::sync::Arc;

use countersign_formats::Ecosystem;
use countersign_registry::model::{
    Action, Actor, CallerOrigin, FactorId, Identity, Level, Membership, Presented, ProjectStatus,
    PublisherId, Role, Scope, SessionId, Strength, TrustLevel, Workflow,
};
use countersign_registry::oidc::Provider;
use countersign_registry::{
    Act, Deletion, Error, Need, NewException, NewToken, PERMISSIONS, Permission, PolicyChange,
    Registry, Wanted, Who, Wish,
};
use countersign_testkit::packages::Wheel;
use countersign_trust::digest::Sha256;
use sqlx::Connection;

use crate::kit::TestRegistry;
use crate::on_both_databases;

const PYPI: Ecosystem = Ecosystem::Pypi;

impl TestRegistry {
    /// A user who is signed in, by a row as sign-in writes it: what a session may do is tested here, not how it begins.
    pub async fn session(&self, user: &str, level: Level, fresh: bool) -> Actor {
        let now = self.registry_now() * 1_000_000;
        signed_in(&self.database, &self.registry, now, user, (level, fresh)).await
    }

    /// A passkey as a row: whoever has one is hard to phish.
    pub async fn give_passkey(&self, user: &str) {
        let mut connection = self.connection().await;
        sqlx::query(
            "INSERT INTO factors (id, account_id, kind, label, credential_key, secret, last_step, wrong, created_at, confirmed_at) \
             VALUES ($1, (SELECT id FROM accounts WHERE name = $2), 'passkey', 'key', $1, '', 0, 0, 1, 1)",
        )
        .bind(uuid::Uuid::new_v4().to_string())
        .bind(user.to_owned())
        .execute(&mut connection)
        .await
        .unwrap();
        connection.close().await.unwrap();
    }
}

/// A session at a registry on this database, at a time in microseconds.
pub async fn signed_in(
    database: &str,
    registry: &Registry,
    now: i64,
    user: &str,
    (level, fresh): (Level, bool),
) -> Actor {
    let cookie = uuid::Uuid::new_v4().to_string();
    let mut connection = sqlx::AnyConnection::connect(database).await.unwrap();
    sqlx::query(
        "INSERT INTO sessions (id, secret_hash, account_id, level, way, created_at, seen_at, expires_at, fresh_until) \
         VALUES ($1, $2, (SELECT id FROM accounts WHERE name = $3), $4, 'test', $5, $5, $6, $7)",
    )
    .bind(uuid::Uuid::new_v4().to_string())
    .bind(Sha256::of(cookie.as_bytes()).to_string())
    .bind(user.to_owned())
    .bind(level.as_str())
    .bind(now)
    .bind(now + 12 * 3_600_000_000)
    .bind(fresh.then_some(now + 900_000_000))
    .execute(&mut connection)
    .await
    .unwrap();
    connection.close().await.unwrap();
    registry
        .authenticate(Presented::Session(cookie))
        .await
        .unwrap()
}

/// With what somebody comes.
#[derive(Clone, Copy, Debug, PartialEq)]
enum With {
    Nothing,
    Token(Action),
    /// A token that manages another project.
    Elsewhere,
    Session(Level, bool),
}

const EVERY_WAY: &[With] = &[
    With::Nothing,
    With::Token(Action::Read),
    With::Token(Action::Publish),
    With::Token(Action::Manage),
    With::Elsewhere,
    With::Session(Level::Password, false),
    With::Session(Level::Password, true),
    With::Session(Level::TwoFactor, true),
    With::Session(Level::Phishproof, false),
    With::Session(Level::Phishproof, true),
];

async fn caller(test: &TestRegistry, user: &str, with: With) -> Actor {
    match with {
        With::Nothing => Actor::anonymous(),
        With::Token(action) => test.token(user, action, None).await,
        With::Elsewhere => test.token(user, Action::Manage, Some("other")).await,
        With::Session(level, fresh) => test.session(user, level, fresh).await,
    }
}

fn robot() -> Actor {
    Actor {
        identity: Identity::Workflow(Arc::new(Workflow {
            label: "octo/demo, release.yml".into(),
            provider: Provider::Github,
            issuer: "https://issuer.example".into(),
            publishers: vec![PublisherId("nobody's".into())],
            claims: std::collections::BTreeMap::new(),
        })),
        strength: Strength::Workflow,
        scope: Some(Scope {
            ecosystem: Some(PYPI),
            project: None,
            namespace: None,
            action: Action::Publish,
            networks: Vec::new(),
        }),
        credential: None,
        session: None,
        consent: None,
    }
}

/// What the table says comes of it before the right itself is asked for; `None`: the credential will do.
fn stopped(row: &Permission, with: With, critical: bool) -> Option<&'static str> {
    let guarded = row.guarded && critical;
    match with {
        With::Nothing => Some("token-needed"),
        With::Session(level, fresh) => {
            let need = if guarded { Need::Strong } else { row.session };
            if need == Need::Strong && level < Level::Phishproof {
                Some("passkey-needed")
            } else if need > Need::SignedIn && !fresh {
                Some("step-up-needed")
            } else {
                None
            }
        }
        With::Token(_) | With::Elsewhere if guarded || row.token.is_none() => {
            Some("session-needed")
        }
        With::Token(action) if Some(action) < row.token => Some("token-action"),
        With::Elsewhere if matches!(row.who, Who::Project(_)) => Some("token-project"),
        // It may ask, about its own project.
        With::Elsewhere if row.act == Act::RequestApproval => Some("token-project"),
        With::Elsewhere => Some("token-action"),
        With::Token(_) => None,
    }
}

fn code<T>(answer: Result<T, Error>) -> String {
    answer.map_or_else(|error| error.code.into_owned(), |_| "done".to_owned())
}

/// Does it on `demo`, so that whoever may is seen to have been let in, and nothing is changed by it; the second is the
/// answer to who may. `None`: what two persons or an approval decide has scenarios of its own.
async fn on_project(
    test: &TestRegistry,
    actor: &Actor,
    act: Act,
) -> Option<(String, &'static str)> {
    let registry = &test.registry;
    let nobody = "nobody-at-all";
    Some(match act {
        Act::Publish => {
            let wheel = Wheel::new("demo", "1.0").build();
            (code(test.publish(actor, &wheel).await), "done")
        }
        Act::Yank => (
            code(registry.yank(actor, PYPI, "demo", "9.9", "").await),
            "release-unknown",
        ),
        Act::Deprecate => (
            code(registry.deprecate(actor, PYPI, "demo", "9.9", None).await),
            "release-unknown",
        ),
        Act::Delete => {
            let what = Deletion::File("demo-9.9.tar.gz");
            (
                code(registry.delete(actor, PYPI, "demo", what).await),
                "file-unknown",
            )
        }
        Act::DeleteProject => (
            code(
                registry
                    .delete(actor, PYPI, "demo", Deletion::Project)
                    .await,
            ),
            "approval-needed",
        ),
        Act::SetStatus => {
            let status = ProjectStatus::Active;
            (
                code(registry.set_status(actor, PYPI, "demo", status, None).await),
                "done",
            )
        }
        Act::Quarantine => {
            let file = Some("demo-9.9.tar.gz");
            (
                code(registry.quarantine(actor, PYPI, "demo", file, "x").await),
                "file-unknown",
            )
        }
        Act::SeeSettings => (
            code(registry.project_policy(actor, PYPI, "demo").await),
            "done",
        ),
        Act::DismissNotice => (
            code(registry.dismiss_notice(actor, PYPI, "demo", nobody).await),
            "notice-unknown",
        ),
        Act::ManageRoles => {
            let role = Some(Role::Owner);
            (
                code(registry.set_role(actor, PYPI, "demo", nobody, role).await),
                "user-unknown",
            )
        }
        Act::ManagePublishers => (
            code(registry.remove_publisher(actor, PYPI, "demo", nobody).await),
            "publisher-unknown",
        ),
        Act::ManagePolicy => {
            let wish = PolicyChange::default();
            (
                code(registry.set_project_policy(actor, PYPI, "demo", wish).await),
                "done",
            )
        }
        Act::SetVisibility => (
            code(registry.set_private(actor, PYPI, "demo", false).await),
            "done",
        ),
        Act::Propose => {
            let wish = Wish::TransferTo(nobody.to_owned());
            (
                code(registry.propose(actor, PYPI, "demo", wish).await),
                "user-unknown",
            )
        }
        Act::OpenDeparture => {
            // Nothing can be below what was never reached; whoever gets this far may open one.
            let new = NewException {
                level: TrustLevel::Provenance,
                hours: 1,
                reason: "a test".to_owned(),
            };
            (
                code(registry.open_exception(actor, PYPI, "demo", new).await),
                "change-invalid",
            )
        }
        _ => return None,
    })
}

/// The same for an organisation that owns a project.
async fn on_organisation(
    test: &TestRegistry,
    actor: &Actor,
    act: Act,
) -> Option<(String, &'static str)> {
    let registry = &test.registry;
    let nobody = "nobody-at-all";
    Some(match act {
        Act::SeeOrganisation => (code(registry.organisation(actor, "acme").await), "done"),
        Act::ManageMembers => (
            code(
                registry
                    .invite(actor, "acme", nobody, Membership::Member)
                    .await,
            ),
            "user-unknown",
        ),
        Act::ManageManagers => (
            code(
                registry
                    .invite(actor, "acme", nobody, Membership::Owner)
                    .await,
            ),
            "user-unknown",
        ),
        Act::ManageTeams => (
            code(registry.remove_team(actor, "acme", nobody).await),
            "team-unknown",
        ),
        Act::ManageNamespaces => (
            code(
                registry
                    .set_namespace_role(actor, "acme", PYPI, "acme", nobody, None)
                    .await,
            ),
            "team-unknown",
        ),
        Act::RemoveOrganisation => (
            code(registry.remove_organisation(actor, "acme").await),
            "organisation-owns-projects",
        ),
        _ => return None,
    })
}

/// The same for what is the account's own.
async fn on_own(test: &TestRegistry, actor: &Actor, act: Act) -> Option<(String, &'static str)> {
    let registry = &test.registry;
    Some(match act {
        Act::SeeTokens => (code(registry.tokens(actor, Some("owner")).await), "done"),
        Act::MakeTokens => {
            let new = NewToken {
                expires: std::time::Duration::ZERO,
                ..NewToken::new("owner", Action::Read)
            };
            (
                code(registry.create_token(actor, new).await),
                "token-lifetime",
            )
        }
        Act::CreateOrganisation => (
            code(registry.create_organisation(actor, "-", "x", None).await),
            "user-name",
        ),
        Act::Star => (
            code(registry.set_star(actor, PYPI, "nobodys", true).await),
            "project-unknown",
        ),
        Act::SeePending => (code(registry.pending_publishers(actor).await), "done"),
        Act::RequestApproval => (
            code(
                registry
                    .request_approval(actor, "nonsense", "pkg:pypi/demo", None)
                    .await,
            ),
            "approval-act",
        ),
        Act::Approve => (code(registry.approvals(actor).await), "done"),
        Act::AnswerInvitation => (
            code(registry.accept_invitation(actor, "nobody-at-all").await),
            "invitation-unknown",
        ),
        Act::ManageSessions => {
            let id = SessionId("nobody's".to_owned());
            (
                code(registry.revoke_session(actor, &id).await),
                "session-unknown",
            )
        }
        Act::ManageFactors => {
            let id = FactorId("nobody's".to_owned());
            let origin = CallerOrigin {
                address: std::net::IpAddr::from([10, 0, 0, 1]),
                agent: "browser".to_owned(),
            };
            (
                code(registry.remove_factor(actor, &id, &origin).await),
                "factor-unknown",
            )
        }
        Act::ManageAddresses => (
            code(registry.add_address(actor, "no address").await),
            "email-address",
        ),
        Act::ExportAccount => (code(registry.export_account(actor).await), "done"),
        Act::EraseAccount => (
            code(registry.erase_account(actor, "somebody-else").await),
            "erase-confirm",
        ),
        _ => return None,
    })
}

/// Rows that no matrix asks about, because what they do can not be tried without doing it, and the tests that do it.
const ELSEWHERE: &[(Act, &str, &str)] = &[
    (
        Act::PublishException,
        include_str!("approvals.rs"),
        "an_owner_may_approve_one_file_below_the_demanded_trust",
    ),
    (
        Act::SeeStaged,
        include_str!("staging.rs"),
        "a_staged_version_is_out_when_a_passkey_said_yes_to_its_digest",
    ),
    (
        Act::SeePrivate,
        include_str!("visibility.rs"),
        "a_private_project_is_there_for_those_with_a_role_on_it_and_for_nobody_else",
    ),
    (
        Act::ApproveStaged,
        include_str!("staging.rs"),
        "a_staged_version_is_out_when_a_passkey_said_yes_to_its_digest",
    ),
    (
        Act::RejectStaged,
        include_str!("staging.rs"),
        "what_was_rejected_or_waited_too_long_is_never_published_and_its_bytes_go",
    ),
    (
        Act::Tag,
        include_str!("ecosystems.rs"),
        "tags_point_to_what_is_served_and_latest_is_always_there",
    ),
    (
        Act::LeaveProject,
        include_str!("permissions.rs"),
        "leaving_a_project_takes_a_role_on_it_and_a_credential_that_manages",
    ),
    (
        Act::Found,
        include_str!("trusted.rs"),
        "a_pending_publisher_",
    ),
    (
        Act::Confirm,
        include_str!("organisations.rs"),
        "the_last_owner_with_a_passkey_goes_with_a_second_persons_word_only",
    ),
    (
        Act::Cancel,
        include_str!("organisations.rs"),
        "every_owner_can_stop_a_transfer",
    ),
    (
        Act::LeaveOrganisation,
        include_str!("organisations.rs"),
        "a_teams_role_ends_with_any_edge_that_leads_to_it",
    ),
    (
        Act::RevokeTokens,
        include_str!("guards.rs"),
        "a_narrow_token_ends_itself_and_nothing_else",
    ),
    (
        Act::Operate,
        include_str!("sign_in.rs"),
        "an_operator_operates_with_a_fresh_passkey_only",
    ),
];

impl TestRegistry {
    /// Makes an organisation of these members; each is a new user.
    pub async fn organisation(&self, name: &str, members: &[(&str, Membership)]) {
        for (user, _) in members {
            self.user(user).await;
        }
        let operator = Actor::operator();
        let owner = members[0].0;
        self.registry
            .create_organisation(&operator, name, name, Some(owner))
            .await
            .unwrap();
        for (user, standing) in &members[1..] {
            let (secret, _) = self
                .registry
                .invite(&operator, name, user, *standing)
                .await
                .unwrap();
            let invited = self.session(user, Level::TwoFactor, true).await;
            self.registry
                .accept_invitation(&invited, &secret)
                .await
                .unwrap();
        }
    }

    /// Founds a project and hands it to an organisation, as a transfer does.
    pub async fn project_of(&self, organisation: &str, owner: &str, project: &str) {
        let founder = format!("founder-of-{project}");
        self.user(&founder).await;
        self.give_passkey(&founder).await;
        let token = self.token(&founder, Action::Publish, None).await;
        self.publish(&token, &Wheel::new(project, "1.0").build())
            .await
            .unwrap();
        let person = self.session(&founder, Level::Phishproof, true).await;
        let wish = Wish::TransferTo(organisation.to_owned());
        let proposal = self
            .registry
            .propose(&person, PYPI, project, wish)
            .await
            .unwrap();
        self.turn_clock(std::time::Duration::from_secs(72 * 3_600 + 60));
        let taker = self.session(owner, Level::TwoFactor, true).await;
        self.registry
            .confirm_proposal(&taker, &proposal.id)
            .await
            .unwrap();
    }
}

on_both_databases! {
    async fn privilege_escalation_through_every_role_act_and_credential_on_a_project(test: TestRegistry) {
        let owner = test.user("keeper").await;
        test.publish(&owner, &Wheel::new("demo", "1.0").build()).await.unwrap();
        test.publish(&owner, &Wheel::new("other", "1.0").build()).await.unwrap();
        let mut people = vec![("stranger", None)];
        people.extend(Role::ALL.map(|role| (role.as_str(), Some(role))));
        for (user, role) in &people {
            test.user(user).await;
            if role.is_some() {
                test.registry.set_role(&owner, PYPI, "demo", user, *role).await.unwrap();
            }
        }
        let mut cells = 0;
        for critical in [false, true] {
            if critical {
                test.execute("UPDATE projects SET critical_at = 9000000000000000 WHERE key = 'demo'").await;
            }
            for (user, role) in &people {
                for with in EVERY_WAY {
                    let actor = caller(&test, user, *with).await;
                    for row in PERMISSIONS {
                        let Who::Project(allowed) = row.who else { continue };
                        let Some((answer, let_in)) = on_project(&test, &actor, row.act).await else { continue };
                        let has = role.is_some_and(|role| allowed.contains(&role));
                        let expected = stopped(row, *with, critical).unwrap_or(if has { let_in } else { "role-missing" });
                        assert_eq!(answer, expected, "{user} with {with:?}: {} (critical: {critical})", row.word);
                        cells += 1;
                    }
                }
            }
            // A workflow's token publishes where its publisher is registered, and does nothing else anywhere.
            for row in PERMISSIONS.iter().filter(|row| matches!(row.who, Who::Project(_))) {
                let Some((answer, _)) = on_project(&test, &robot(), row.act).await else { continue };
                let expected = match row.act {
                    Act::Publish => "publisher-not-here",
                    _ if row.token.is_none() || (row.guarded && critical) => "session-needed",
                    _ => "token-action",
                };
                assert_eq!(answer, expected, "a workflow: {} (critical: {critical})", row.word);
            }
        }
        assert_eq!(cells, 2 * 5 * EVERY_WAY.len() * 15);
        test.check().await;
    }

    async fn privilege_escalation_through_every_standing_act_and_credential_in_an_organisation(test: TestRegistry) {
        let members = [("head", Membership::Owner), ("boss", Membership::Manager), ("hand", Membership::Member)];
        test.organisation("acme", &members).await;
        test.project_of("acme", "head", "demo").await;
        test.user("stranger").await;
        let mut people: Vec<(&str, Option<Membership>)> = members.iter().map(|(user, standing)| (*user, Some(*standing))).collect();
        people.push(("stranger", None));
        let mut cells = 0;
        for (user, standing) in &people {
            for with in EVERY_WAY {
                let actor = caller(&test, user, *with).await;
                for row in PERMISSIONS {
                    let Who::Organisation(allowed) = row.who else { continue };
                    let Some((answer, let_in)) = on_organisation(&test, &actor, row.act).await else { continue };
                    let has = standing.is_some_and(|standing| allowed.contains(&standing));
                    let expected = stopped(row, *with, false).unwrap_or(if has { let_in } else { "membership-missing" });
                    assert_eq!(answer, expected, "{user} with {with:?}: {}", row.word);
                    cells += 1;
                }
            }
        }
        assert_eq!(cells, 4 * EVERY_WAY.len() * 6);
        for row in PERMISSIONS.iter().filter(|row| matches!(row.who, Who::Organisation(_))) {
            if let Some((answer, _)) = on_organisation(&test, &robot(), row.act).await {
                let expected = if row.token.is_none() { "session-needed" } else { "token-action" };
                assert_eq!(answer, expected, "a workflow: {}", row.word);
            }
        }
        test.check().await;
    }

    async fn privilege_escalation_consent_to_one_act_is_consent_to_no_other(test: TestRegistry) {
        let owner = test.user("keeper").await;
        test.publish(&owner, &Wheel::new("demo", "1.0").build()).await.unwrap();
        test.execute("UPDATE projects SET critical_at = 9000000000000000 WHERE key = 'demo'").await;
        test.organisation("acme", &[("head", Membership::Owner)]).await;
        test.project_of("acme", "head", "theirs").await;
        let mut cells = 0;
        for consented in PERMISSIONS.iter().filter(|row| row.consent && row.act != Act::DeleteProject) {
            for (user, of_organisations) in [("keeper", false), ("head", true)] {
                let token = test.token(user, Action::Manage, None).await;
                let wanted = Wanted { act: consented.act, also: &[], on: None, subject: "all of it".to_owned() };
                let asked = test.registry.request_consent(&token, &wanted).await.unwrap();
                test.consent(&asked).await;
                let actor = test.registry.consented(token, &asked.id, &wanted).await.unwrap();
                for row in PERMISSIONS {
                    let done = match row.who {
                        Who::Project(_) if !of_organisations => on_project(&test, &actor, row.act).await,
                        Who::Organisation(_) if of_organisations => on_organisation(&test, &actor, row.act).await,
                        _ => None,
                    };
                    let Some((answer, let_in)) = done else { continue };
                    let stopped = if row.act == consented.act { None } else { stopped(row, With::Token(Action::Manage), true) };
                    assert_eq!(answer, stopped.unwrap_or(let_in), "consent to {}: {}", consented.word, row.word);
                    cells += 1;
                }
            }
        }
        assert!(cells > 200, "{cells}");
        test.check().await;
    }

    async fn what_is_the_accounts_own_is_out_of_reach_for_weaker_credentials(test: TestRegistry) {
        test.user("owner").await;
        let mut asked = std::collections::BTreeSet::new();
        for with in EVERY_WAY {
            let actor = caller(&test, "owner", *with).await;
            for row in PERMISSIONS.iter().filter(|row| row.who == Who::Account) {
                let Some((answer, let_in)) = on_own(&test, &actor, row.act).await else { continue };
                let expected = stopped(row, *with, false).unwrap_or(let_in);
                asked.insert(row.word);
                let sign_in = ["session-needed", "sign-in-needed"].contains(&answer.as_str());
                if *with == With::Nothing {
                    // Nobody in particular is told to come as somebody, or that it is the operator's.
                    assert!(sign_in || ["token-needed", "operator-needed"].contains(&answer.as_str()), "{}: {answer}", row.word);
                } else if row.act == Act::AnswerInvitation && *with == With::Session(Level::Password, true) {
                    assert_eq!(answer, "second-factor-needed");
                } else if sign_in {
                    assert_eq!(expected, "session-needed", "{with:?}: {}", row.word);
                } else {
                    assert_eq!(answer, expected, "{with:?}: {}", row.word);
                }
            }
        }
        // Every row of the table is asked about, here or in a test that is there.
        let nobody = Actor::anonymous();
        for row in PERMISSIONS {
            let elsewhere = ELSEWHERE.iter().find(|(act, _, _)| *act == row.act);
            let here = match row.who {
                Who::Project(_) => on_project(&test, &nobody, row.act).await.is_some(),
                Who::Organisation(_) => on_organisation(&test, &nobody, row.act).await.is_some(),
                Who::Account => asked.contains(row.word),
                Who::Operator => false,
            };
            match elsewhere {
                None => assert!(here, "nobody asks about {}", row.word),
                Some((_, file, name)) => {
                    assert!(!here, "{} is asked about here", row.word);
                    assert!(file.contains(&format!("fn {name}")), "{}: {name} is gone", row.word);
                }
            }
        }
        test.check().await;
    }

    async fn leaving_a_project_takes_a_role_on_it_and_a_credential_that_manages(test: TestRegistry) {
        let owner = test.user("keeper").await;
        test.publish(&owner, &Wheel::new("demo", "1.0").build()).await.unwrap();
        test.publish(&owner, &Wheel::new("other", "1.0").build()).await.unwrap();
        let row = Act::LeaveProject.permission();
        test.user("stranger").await;
        for role in Role::ALL {
            let user = role.as_str();
            test.user(user).await;
            for with in EVERY_WAY.iter().filter(|with| **with != With::Nothing) {
                test.registry.set_role(&owner, PYPI, "demo", user, Some(role)).await.unwrap();
                let actor = caller(&test, user, *with).await;
                let answer = code(test.registry.set_role(&actor, PYPI, "demo", user, None).await);
                assert_eq!(answer, stopped(row, *with, false).unwrap_or("done"), "{user} with {with:?}");
                // Nobody leaves for somebody else, and a stranger has nothing to leave.
                let stranger = caller(&test, "stranger", *with).await;
                let answer = code(test.registry.set_role(&stranger, PYPI, "demo", user, None).await);
                assert_ne!(answer, "done", "a stranger with {with:?} sent {user} away");
            }
        }
        test.check().await;
    }
}

#[test]
fn the_page_of_permissions_is_current() {
    let path = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/permissions.md");
    let page = countersign_registry::permissions_page();
    if std::env::var_os("COUNTERSIGN_WRITE_DOCS").is_some() {
        std::fs::write(&path, &page).unwrap();
    }
    assert_eq!(
        std::fs::read_to_string(&path).unwrap_or_default(),
        page,
        "run this test with COUNTERSIGN_WRITE_DOCS=1"
    );
}

#[test]
fn every_row_says_why_and_stands_where_its_act_says() {
    for row in PERMISSIONS {
        assert_eq!(row.act.permission().word, row.word);
        assert!(!row.why.is_empty() && !row.what.is_empty());
        // What a token may, the weakest session may not be refused for less than freshness.
        assert!(
            row.token.is_none() || row.session < Need::Strong,
            "{}",
            row.word
        );
        // A workflow publishes, and reads what it publishes.
        let workflows = [Act::Publish, Act::SeePrivate];
        assert!(
            !row.workflow || workflows.contains(&row.act),
            "{}",
            row.word
        );
    }
}
