//! The rules as a table: facts in, the code of the refusal (or what it is) out.

use std::time::Duration;

use serde_json::json;

use super::*;
use crate::model::{AccountId, EventId, ProjectId, PublisherId, ReleaseId};
use crate::store::{IdentifierFacts, NameFacts, PolicyFacts, ProjectFacts, ReleaseFacts};

const DAY: i64 = 86_400_000_000;
const NOW: Time = Time(1_000 * DAY);

fn manifest(filetype: &str) -> Manifest {
    let empty: [&str; 0] = [];
    serde_json::from_value(json!({
        "ecosystem": "pypi", "name": "Demo", "name_key": "demo", "version": "1.0", "version_canonical": "1.0",
        "version_key": "1", "filename": "demo-1.0.tar.gz", "filetype": filetype, "python_tag": "source",
        "metadata_version": "2.1", "license_files": empty, "classifiers": empty, "project_urls": empty,
        "dependencies": empty, "provides_extra": empty, "other_fields": empty, "warnings": empty,
        "unpacked_size": 1, "member_count": 1,
    }))
    .unwrap()
}

fn account(scope: Option<Scope>) -> Actor {
    Actor {
        identity: Identity::Account {
            id: AccountId("a".into()),
            name: "ann".into(),
        },
        strength: Strength::Token,
        scope,
        credential: None,
        session: None,
        consent: None,
    }
}

fn token(project: Option<&str>, action: Action) -> Actor {
    account(Some(Scope {
        ecosystem: project.map(|_| Ecosystem::Pypi),
        project: project.map(str::to_owned),
        namespace: None,
        action,
        networks: Vec::new(),
    }))
}

fn workflow() -> Actor {
    Actor {
        identity: Identity::System { name: "workflow" },
        strength: Strength::Workflow,
        scope: None,
        credential: None,
        session: None,
        consent: None,
    }
}

fn settings() -> Settings {
    Settings::new("http://localhost".parse().unwrap(), "spool".into())
}

fn project(status: ProjectStatus, role: Option<Role>, removed: bool) -> Option<ProjectFacts> {
    Some(ProjectFacts {
        id: ProjectId("p".into()),
        name: "Demo".into(),
        status,
        removed: removed.then_some(NOW),
        roles: role.into_iter().collect(),
        critical: false,
        private: false,
        shown: true,
        name_held: false,
        publisher: None,
        has_publisher: false,
        policy: PolicyFacts::default(),
        trust: TrustLevel::None,
        source: None,
    })
}

fn active(role: Role) -> Option<ProjectFacts> {
    project(ProjectStatus::Active, Some(role), false)
}

fn release(days_ago: i64) -> ReleaseFacts {
    ReleaseFacts {
        id: ReleaseId("r".into()),
        created: Time(NOW.0 - days_ago * DAY),
        quarantined: None,
        removed: None,
        sdist: None,
        spelling: None,
    }
}

fn identifier(sha256: &str, state: Option<FileState>) -> Option<IdentifierFacts> {
    Some(IdentifierFacts {
        sha256: sha256.into(),
        file: state.map(|state| FileFacts {
            state,
            event: EventId("e".into()),
        }),
    })
}

/// What comes of a publish: `new`, `repeat`, or the code of its refusal.
fn outcome(settings: &Settings, actor: &Actor, facts: &PublishFacts, filetype: &str) -> String {
    let offer = Offer {
        level: trust_of(actor),
        source: None,
    };
    match may_publish(
        settings,
        actor,
        facts,
        &manifest(filetype),
        "ours",
        offer,
        NOW,
    ) {
        Ok(Decision::New(_)) => "new".to_owned(),
        Ok(Decision::Repeat(_)) => "repeat".to_owned(),
        Err(error) => {
            assert!(error.remedy.is_some(), "{} has no way out", error.code);
            error.code.into_owned()
        }
    }
}

/// A run whose token was minted for some publisher, in that environment.
fn run(environment: Option<&str>) -> Actor {
    Actor {
        identity: Identity::Workflow(std::sync::Arc::new(Workflow {
            label: "octo/sample, release.yml".into(),
            provider: Provider::Github,
            issuer: "https://issuer.example".into(),
            publishers: vec![PublisherId("t".into())],
            claims: environment
                .map(|name| ("environment".to_owned(), name.to_owned()))
                .into_iter()
                .collect(),
        })),
        strength: Strength::Workflow,
        scope: Some(Scope {
            ecosystem: Some(Ecosystem::Pypi),
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

#[test]
fn what_owners_demand_holds_for_everybody_but_the_operator() {
    let with = |policy: PolicyFacts, publisher: bool| {
        let mut project = active(Role::Owner).unwrap();
        project.policy = policy;
        project.publisher = publisher.then(|| PublisherId("t".into()));
        PublishFacts {
            project: Some(project),
            ..PublishFacts::default()
        }
    };
    let only = PolicyFacts {
        trusted_only: Some(NOW),
        ..PolicyFacts::default()
    };
    let placed = PolicyFacts {
        environment: Some("release".into()),
        ..PolicyFacts::default()
    };
    let least = PolicyFacts {
        minimum: Some(TrustLevel::Workflow),
        ..PolicyFacts::default()
    };
    let (ann, operator) = (token(None, Action::Publish), Actor::operator());
    let none = PolicyFacts::default;
    for (actor, facts, expected) in [
        (&ann, with(none(), false), "new"),
        (&ann, with(only.clone(), true), "trusted-publishing-only"),
        (&ann, with(least.clone(), true), "trust-too-low"),
        // A person's token carries no environment.
        (&ann, with(placed.clone(), false), "environment-missing"),
        (&operator, with(placed.clone(), false), "new"),
        (&operator, with(only.clone(), false), "new"),
        (&operator, with(least.clone(), false), "new"),
        (&run(None), with(none(), true), "new"),
        (&run(None), with(none(), false), "publisher-not-here"),
        (&run(None), with(only, true), "new"),
        (&run(None), with(least, true), "new"),
        (
            &run(None),
            with(placed.clone(), true),
            "environment-missing",
        ),
        (
            &run(Some("other")),
            with(placed.clone(), true),
            "environment-missing",
        ),
        (&run(Some("Release")), with(placed, true), "new"),
        (
            &run(None),
            PublishFacts::default(),
            "creation-needs-account",
        ),
    ] {
        let seen = outcome(&settings(), actor, &facts, "sdist");
        assert_eq!(seen, expected, "{} {:?}", actor.name(), facts.project);
    }
    // A run never owns: the name of a removed project is not its to take up again.
    let mut removed = project(ProjectStatus::Active, Some(Role::Owner), true).unwrap();
    removed.publisher = Some(PublisherId("t".into()));
    let facts = PublishFacts {
        project: Some(removed),
        ..PublishFacts::default()
    };
    assert_eq!(
        outcome(&settings(), &run(None), &facts, "sdist"),
        "name-retired"
    );
}

#[test]
fn publishing_is_decided_by_role_status_and_what_is_there() {
    use FileState::{Held, Live, Quarantined, Removed, Staged};
    let (everything, robot) = (Actor::operator(), workflow());
    let ann = token(None, Action::Publish);
    let facts = |project, release, identifier| PublishFacts {
        project,
        release,
        identifier,
        names: NameFacts::default(),
        namespace: None,
        excepted: false,
        open: Vec::new(),
    };
    let stranger = || project(ProjectStatus::Active, None, false);
    let gone = |role| project(ProjectStatus::Active, role, true);
    let of = |status| project(status, Some(Role::Owner), false);
    let table: Vec<(&str, &Actor, PublishFacts, &str)> = vec![
        ("a free name", &ann, facts(None, None, None), "new"),
        (
            "a new release",
            &ann,
            facts(active(Role::Maintainer), None, None),
            "new",
        ),
        (
            "another file",
            &ann,
            facts(active(Role::Maintainer), Some(release(1)), None),
            "new",
        ),
        (
            "no role",
            &ann,
            facts(stranger(), None, None),
            "role-missing",
        ),
        (
            "no role, and the very bytes",
            &ann,
            facts(stranger(), Some(release(1)), identifier("ours", Some(Live))),
            "role-missing",
        ),
        (
            "a workflow without a role",
            &robot,
            facts(stranger(), None, None),
            "role-missing",
        ),
        (
            "a workflow and a free name",
            &robot,
            facts(None, None, None),
            "creation-needs-account",
        ),
        (
            "the operator anywhere",
            &everything,
            facts(stranger(), Some(release(99)), None),
            "new",
        ),
        (
            "archived",
            &ann,
            facts(of(ProjectStatus::Archived), None, None),
            "project-archived",
        ),
        (
            "quarantined",
            &ann,
            facts(of(ProjectStatus::Quarantined), None, None),
            "project-quarantined",
        ),
        (
            "quarantined, by the operator",
            &everything,
            facts(of(ProjectStatus::Quarantined), None, None),
            "project-quarantined",
        ),
        (
            "deprecated",
            &ann,
            facts(of(ProjectStatus::Deprecated), None, None),
            "new",
        ),
        (
            "a deleted project, by its owner",
            &ann,
            facts(gone(Some(Role::Owner)), None, None),
            "new",
        ),
        (
            "a deleted project, by a maintainer",
            &ann,
            facts(gone(Some(Role::Maintainer)), None, None),
            "name-retired",
        ),
        (
            "a deleted project, by another",
            &ann,
            facts(gone(None), None, None),
            "role-missing",
        ),
        (
            "the same bytes, live",
            &ann,
            facts(
                active(Role::Owner),
                Some(release(1)),
                identifier("ours", Some(Live)),
            ),
            "repeat",
        ),
        (
            "the same bytes, waiting",
            &ann,
            facts(
                active(Role::Owner),
                Some(release(1)),
                identifier("ours", Some(Staged)),
            ),
            "repeat",
        ),
        (
            "the same bytes, held",
            &ann,
            facts(
                active(Role::Owner),
                Some(release(1)),
                identifier("ours", Some(Held)),
            ),
            "repeat",
        ),
        (
            "the same bytes, withheld",
            &ann,
            facts(
                active(Role::Owner),
                Some(release(1)),
                identifier("ours", Some(Quarantined)),
            ),
            "repeat",
        ),
        (
            "the same bytes, late",
            &ann,
            facts(
                active(Role::Owner),
                Some(release(99)),
                identifier("ours", Some(Live)),
            ),
            "repeat",
        ),
        (
            "the same bytes, deleted",
            &ann,
            facts(
                active(Role::Owner),
                Some(release(1)),
                identifier("ours", Some(Removed)),
            ),
            "file-exists",
        ),
        (
            "the same bytes, deleted, by the operator",
            &everything,
            facts(active(Role::Owner), None, identifier("ours", Some(Removed))),
            "file-exists",
        ),
        (
            "other bytes",
            &ann,
            facts(
                active(Role::Owner),
                Some(release(1)),
                identifier("theirs", Some(Live)),
            ),
            "file-exists",
        ),
        (
            "other bytes, by the operator",
            &everything,
            facts(
                active(Role::Owner),
                Some(release(1)),
                identifier("theirs", Some(Live)),
            ),
            "file-exists",
        ),
        (
            "other bytes, known from the log alone",
            &ann,
            facts(active(Role::Owner), None, identifier("theirs", None)),
            "file-exists",
        ),
        (
            "the bytes that the log alone knows",
            &ann,
            facts(active(Role::Owner), None, identifier("ours", None)),
            "new",
        ),
        (
            "the last day",
            &ann,
            facts(active(Role::Owner), Some(release(14)), None),
            "new",
        ),
        (
            "a day later",
            &ann,
            facts(active(Role::Owner), Some(release(15)), None),
            "release-closed",
        ),
        (
            "a day later, by the operator",
            &everything,
            facts(active(Role::Owner), Some(release(15)), None),
            "new",
        ),
        (
            "a deleted version",
            &ann,
            facts(
                active(Role::Owner),
                Some(ReleaseFacts {
                    removed: Some(NOW),
                    ..release(1)
                }),
                None,
            ),
            "version-retired",
        ),
        (
            "a deleted version, by the operator",
            &everything,
            facts(
                active(Role::Owner),
                Some(ReleaseFacts {
                    removed: Some(NOW),
                    ..release(1)
                }),
                None,
            ),
            "version-retired",
        ),
        (
            "a second sdist",
            &ann,
            facts(
                active(Role::Owner),
                Some(ReleaseFacts {
                    sdist: Some("x.zip".into()),
                    ..release(1)
                }),
                None,
            ),
            "second-sdist",
        ),
        (
            "another spelling",
            &ann,
            facts(
                active(Role::Owner),
                Some(ReleaseFacts {
                    spelling: Some("Demo-1.0.tar.gz".into()),
                    ..release(1)
                }),
                None,
            ),
            "file-exists",
        ),
    ];
    let settings = settings();
    for (what, actor, facts, expected) in &table {
        assert_eq!(
            outcome(&settings, actor, facts, "sdist"),
            *expected,
            "{what}"
        );
    }
    let beside = facts(
        active(Role::Owner),
        Some(ReleaseFacts {
            sdist: Some("x.zip".into()),
            ..release(1)
        }),
        None,
    );
    assert_eq!(
        outcome(&settings, &ann, &beside, "bdist_wheel"),
        "new",
        "a wheel beside an sdist"
    );
}

#[test]
fn releases_may_be_set_to_stay_open() {
    let facts = PublishFacts {
        project: active(Role::Maintainer),
        release: Some(release(900)),
        ..PublishFacts::default()
    };
    let mut settings = settings();
    settings.release_open = None;
    let ann = token(None, Action::Publish);
    assert_eq!(outcome(&settings, &ann, &facts, "sdist"), "new");
    settings.release_open = Some(Duration::ZERO);
    assert_eq!(outcome(&settings, &ann, &facts, "sdist"), "release-closed");
}

#[test]
fn a_new_name_must_be_free_allowed_and_unlike_others() {
    let (ann, operator) = (token(None, Action::Publish), Actor::operator());
    let free = PublishFacts::default();
    let alike = PublishFacts {
        names: NameFacts {
            lookalikes: vec!["derno".into()],
            ..NameFacts::default()
        },
        ..PublishFacts::default()
    };
    let mut closed = settings();
    closed.open_creation = false;
    let mut prohibiting = settings();
    prohibiting.prohibited_names = vec!["demo".into()];
    for (settings, facts, expected) in [
        (&settings(), &alike, "name-refused"),
        (&closed, &free, "creation-closed"),
        (&prohibiting, &free, "name-refused"),
        (&settings(), &free, "new"),
    ] {
        assert_eq!(outcome(settings, &ann, facts, "sdist"), expected);
        assert_eq!(outcome(settings, &operator, facts, "sdist"), "new");
    }
    // Names are judged once: who has the project goes on publishing to it.
    let there = PublishFacts {
        project: active(Role::Maintainer),
        ..alike
    };
    assert_eq!(outcome(&prohibiting, &ann, &there, "sdist"), "new");
}

#[test]
fn a_token_reaches_as_far_as_its_scope_and_says_where_it_ends() {
    let code = |actor: &Actor, key: Option<&str>, action| {
        in_scope(actor, Ecosystem::Pypi, key, action).map_or_else(
            |error| {
                assert!(error.remedy.is_some());
                error.code.into_owned()
            },
            |()| "yes".to_owned(),
        )
    };
    for (actor, key, action, expected) in [
        (Actor::anonymous(), None, Action::Publish, "token-needed"),
        (Actor::operator(), Some("demo"), Action::Manage, "yes"),
        (account(None), Some("demo"), Action::Manage, "yes"),
        (
            token(None, Action::Read),
            None,
            Action::Publish,
            "token-action",
        ),
        (token(None, Action::Read), None, Action::Read, "yes"),
        (
            token(None, Action::Publish),
            Some("demo"),
            Action::Publish,
            "yes",
        ),
        (
            token(None, Action::Publish),
            Some("demo"),
            Action::Read,
            "yes",
        ),
        (
            token(None, Action::Publish),
            Some("demo"),
            Action::Manage,
            "token-action",
        ),
        (
            token(None, Action::Manage),
            Some("demo"),
            Action::Publish,
            "yes",
        ),
        (
            token(Some("demo"), Action::Manage),
            Some("demo"),
            Action::Manage,
            "yes",
        ),
        (
            token(Some("demo"), Action::Manage),
            Some("other"),
            Action::Manage,
            "token-project",
        ),
        // Before the first byte the project is not known yet.
        (
            token(Some("demo"), Action::Publish),
            None,
            Action::Publish,
            "yes",
        ),
    ] {
        assert_eq!(
            code(&actor, key, action),
            expected,
            "{actor:?} {key:?} {action:?}"
        );
    }
}

#[test]
fn curating_takes_the_role_and_a_token_that_manages() {
    let ask = |actor: &Actor, role: Option<Role>, act| {
        let on = On::Project {
            ecosystem: Ecosystem::Pypi,
            key: "demo",
            roles: role.into_iter().collect(),
            critical: false,
        };
        may(act, actor, on, NOW)
    };
    let (manager, publisher) = (token(None, Action::Manage), token(None, Action::Publish));
    for (actor, role, act, expected) in [
        (&manager, Some(Role::Owner), Act::Delete, "yes"),
        (&manager, Some(Role::Owner), Act::Yank, "yes"),
        (&manager, Some(Role::Maintainer), Act::Yank, "yes"),
        (
            &manager,
            Some(Role::Maintainer),
            Act::Delete,
            "role-missing",
        ),
        (&manager, Some(Role::Publisher), Act::Yank, "role-missing"),
        (&manager, Some(Role::Security), Act::Publish, "role-missing"),
        (&manager, None, Act::Yank, "role-missing"),
        (&publisher, Some(Role::Owner), Act::Yank, "token-action"),
        (&Actor::operator(), None, Act::Delete, "yes"),
        (&Actor::anonymous(), None, Act::Yank, "token-needed"),
    ] {
        let answer = ask(actor, role, act);
        let code = answer.map_or_else(|error| error.code.into_owned(), |()| "yes".to_owned());
        assert_eq!(code, expected, "{act:?}");
    }
    let error = ask(&manager, None, Act::Delete).unwrap_err();
    assert!(
        error.message.contains("owner") && error.message.contains("ann may not delete from demo"),
        "{error}"
    );
    assert!(may_operate(&manager, "x").is_err());
    may_operate(&Actor::operator(), "x").unwrap();
}

#[test]
fn deletion_follows_the_instances_policy() {
    let code = |policy, actor: &Actor, hours: Option<i64>| {
        let live = hours.map(|hours| Time(NOW.0 - hours * 3_600_000_000));
        may_delete(
            policy,
            &DeletionFacts::default(),
            actor,
            live,
            NOW,
            "demo-1.0.tar.gz",
        )
        .map_or_else(|error| error.code.into_owned(), |()| "yes".to_owned())
    };
    let (ann, operator) = (token(None, Action::Manage), Actor::operator());
    let within = DeletePolicy::Within(Duration::from_secs(72 * 3_600));
    for (policy, hours, expected) in [
        (within, Some(0), "yes"),
        (within, Some(72), "yes"),
        (within, Some(73), "deletion-too-late"),
        (within, None, "yes"),
        (DeletePolicy::Always, Some(9_999), "yes"),
        (DeletePolicy::Never, Some(0), "deletion-closed"),
        (DeletePolicy::Never, None, "deletion-closed"),
    ] {
        assert_eq!(code(policy, &ann, hours), expected, "{policy:?} {hours:?}");
        assert_eq!(code(policy, &operator, hours), "yes");
    }
}

#[test]
fn restricted_instances_are_read_by_known_callers_only() {
    for actor in [token(None, Action::Read), Actor::operator(), workflow()] {
        may_read(Visibility::Restricted, &actor).unwrap();
    }
    may_read(Visibility::Public, &Actor::anonymous()).unwrap();
    let error = may_read(Visibility::Restricted, &Actor::anonymous()).unwrap_err();
    assert_eq!(
        (error.kind, error.code.as_ref()),
        (Kind::Unauthenticated, "sign-in-needed")
    );
}

#[test]
fn a_token_that_publishes_reads_what_its_ecosystems_client_reads() {
    let read =
        |actor: &Actor, ecosystem| may_read_as_client(Visibility::Restricted, actor, ecosystem);
    let mut narrow = token(Some("demo"), Action::Publish);
    assert!(may_read(Visibility::Restricted, &narrow).is_err());
    read(&narrow, Ecosystem::Pypi).unwrap();
    // Not another ecosystem, and not by a token that publishes nothing.
    assert!(read(&narrow, Ecosystem::Cargo).is_err());
    if let Some(scope) = &mut narrow.scope {
        scope.action = Action::Read;
    }
    assert!(read(&narrow, Ecosystem::Pypi).is_err());
    read(&token(None, Action::Read), Ecosystem::Cargo).unwrap();
    assert!(read(&Actor::anonymous(), Ecosystem::Cargo).is_err());
}

#[test]
fn the_first_words_of_a_taken_name_are_those_that_clients_look_for() {
    let facts = PublishFacts {
        project: active(Role::Owner),
        identifier: identifier("theirs", Some(FileState::Live)),
        ..PublishFacts::default()
    };
    let ann = token(None, Action::Publish);
    let error = may_publish(
        &settings(),
        &ann,
        &facts,
        &manifest("sdist"),
        "ours",
        Offer {
            level: TrustLevel::Token,
            source: None,
        },
        NOW,
    )
    .unwrap_err();
    assert!(error.message.starts_with("File already exists"), "{error}");
}
