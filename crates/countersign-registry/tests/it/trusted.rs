//! Trusted publishing: identity tokens of a real issuer over TLS, exchanged, used, refused.

use std::collections::BTreeMap;
use std::sync::LazyLock;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use countersign_formats::Ecosystem;
use countersign_registry::model::{
    Action, Actor, CallerOrigin, Identity, Level, Presented, Role, TrustLevel,
};
use countersign_registry::oidc::{Provider, Rule, Test};
use countersign_registry::{
    Error, Kind, Minted, NewIssuer, NewPublisher, PolicyChange, PublisherSummary, Registry,
};
use countersign_testkit::authority::Authority;
use countersign_testkit::claims::{self, Claims};
use countersign_testkit::issuer::{Document, Fault, Issuer, KeyId, OidcServer, Signing};
use countersign_testkit::packages::{Package, Wheel};
use countersign_trust::leaf::LeafKind;

use crate::kit::{TestRegistry, from, refused};
use crate::on_both_databases;

const PYPI: Ecosystem = Ecosystem::Pypi;
const AUDIENCE: &str = "http://localhost:8417/pypi";

/// One server for all tests of this process; each test has issuers of its own on it.
static SERVER: LazyLock<OidcServer> = LazyLock::new(|| {
    std::thread::spawn(|| OidcServer::start().unwrap())
        .join()
        .unwrap()
});
static NUMBER: AtomicU64 = AtomicU64::new(0);

pub fn wheel(name: &str, version: &str) -> Package {
    Wheel::new(name, version).build()
}

/// An issuer of that preset, admitted. Its name is its path.
pub async fn issuer(test: &TestRegistry, provider: Provider) -> (String, Issuer) {
    let name = format!(
        "{}-{}",
        provider.as_str(),
        NUMBER.fetch_add(1, Ordering::Relaxed)
    );
    let path = name.clone();
    let issuer = tokio::task::spawn_blocking(move || SERVER.issuer(&path).unwrap())
        .await
        .unwrap();
    let new = NewIssuer {
        name: name.clone(),
        url: issuer.url(),
        provider,
        ca_pem: Some(Authority::of_this_process().unwrap().pem().to_owned()),
    };
    test.registry
        .add_issuer(&Actor::operator(), new)
        .await
        .unwrap();
    (name, issuer)
}

fn fields(pairs: &[(&str, &str)]) -> BTreeMap<String, String> {
    pairs
        .iter()
        .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()))
        .collect()
}

pub fn github(issuer: &str, project: &str, more: &[(&str, &str)]) -> NewPublisher {
    let mut given = fields(&[
        ("owner", "octo"),
        ("repository", "sample"),
        ("workflow", "release.yml"),
    ]);
    given.extend(fields(more));
    NewPublisher {
        ecosystem: PYPI,
        project: project.to_owned(),
        issuer: issuer.to_owned(),
        fields: given,
        claims: Vec::new(),
        pending: false,
        pending_for: None,
    }
}

fn pending(issuer: &str, project: &str) -> NewPublisher {
    NewPublisher {
        pending: true,
        ..github(issuer, project, &[])
    }
}

pub fn release() -> Claims {
    claims::github("octo/sample", "release.yml")
}

fn token(issuer: &Issuer, claims: &Claims) -> String {
    issuer.token(AUDIENCE, claims).unwrap()
}

pub async fn minted(
    registry: &Registry,
    issuer: &Issuer,
    claims: &Claims,
) -> Result<(Actor, Minted), Error> {
    let minted = registry.exchange(PYPI, &token(issuer, claims)).await?;
    let actor = registry
        .authenticate(Presented::Token(minted.token.clone()))
        .await?;
    Ok((actor, minted))
}

/// A project `sample` of ada's, with a publisher of that issuer.
pub struct Sample {
    pub ada: Actor,
    pub name: String,
    pub issuer: Issuer,
    pub publisher: PublisherSummary,
}

pub async fn sample(test: &TestRegistry, more: &[(&str, &str)]) -> Sample {
    let ada = test.user("ada").await;
    test.publish(&ada, &wheel("sample", "0.1")).await.unwrap();
    let (name, issuer) = issuer(test, Provider::Github).await;
    let publisher = test
        .registry
        .add_publisher(&ada, github(&name, "sample", more))
        .await
        .unwrap();
    Sample {
        ada,
        name,
        issuer,
        publisher,
    }
}

/// As when a person says it: the sentence names each of these.
#[track_caller]
fn says(error: &Error, words: &[&str]) {
    let text = format!("{} {:?}", error.text(), error.differences);
    for word in words {
        assert!(text.contains(word), "{word} is not in: {text}");
    }
}

on_both_databases! {
    async fn a_workflow_publishes_with_a_token_for_minutes(test: TestRegistry) {
        let sample = sample(&test, &[("environment", "release")]).await;
        let claims = claims::github_in_environment("octo/sample", "release.yml", "release");
        let (robot, minted) = minted(&test.registry, &sample.issuer, &claims).await.unwrap();
        assert!(minted.token.starts_with("csgn_w_"));
        assert_eq!(minted.projects, ["sample"]);
        let life = minted.expires.seconds() - test.registry_now();
        assert!((890..=900).contains(&life), "{life}");

        let package = wheel("sample", "1.0");
        let receipt = test.publish(&robot, &package).await.unwrap();
        test.check_receipt(&receipt, &package);
        // The identical retry gets the same receipt.
        assert_eq!(test.publish(&robot, &package).await.unwrap().leaf, receipt.leaf);

        let release = test.registry.release(PYPI, "sample", "1.0").await.unwrap();
        let file = &release.files[0];
        let origin = file.origin.as_ref().unwrap();
        assert_eq!(origin.provider, Provider::Github);
        assert_eq!(origin.issuer, sample.issuer.url());
        assert_eq!(origin.claims["repository"], "octo/sample");
        assert_eq!(origin.claims["environment"], "release");
        assert_eq!(origin.claims["sha"], claims.text("sha"));
        // Names of persons stay where they were.
        assert!(!origin.claims.values().any(|value| value.contains("octocat")), "{:?}", origin.claims);
        assert_eq!(file.uploaded_by, origin.label);
        let earlier = test.registry.release(PYPI, "sample", "0.1").await.unwrap();
        assert!(earlier.files[0].origin.is_none());

        let kinds: Vec<_> = test.registry.events(Some((PYPI, "sample")), None, 50).await.unwrap()
            .into_iter().map(|event| event.kind).collect();
        assert!(kinds.contains(&"publisher-changed".to_owned()), "{kinds:?}");
        let used = &test.registry.publishers(&sample.ada, PYPI, "sample").await.unwrap()[0];
        assert!(used.last_used.is_some());
        test.check().await;
    }

    async fn a_pending_publisher_founds_its_project_for_its_owner(test: TestRegistry) {
        let (ada, bob) = (test.user("ada").await, test.user("bob").await);
        let (name, issuer) = issuer(&test, Provider::Github).await;
        let registry = &test.registry;
        let mine = registry.add_publisher(&ada, pending(&name, "Fresh.Project")).await.unwrap();
        assert!(mine.pending.is_some());
        let other = NewPublisher {
            fields: fields(&[("owner", "octo"), ("repository", "other"), ("workflow", "release.yml")]),
            ..pending(&name, "fresh-project")
        };
        registry.add_publisher(&bob, other).await.unwrap();
        // Nothing is reserved, nothing is visible.
        refused(registry.project(PYPI, "fresh-project").await, "project-unknown");
        assert_eq!(registry.pending_publishers(&ada).await.unwrap().len(), 1);

        let (robot, minted_now) = minted(registry, &issuer, &release()).await.unwrap();
        assert_eq!(minted_now.projects, ["Fresh.Project"]);
        // The other one lost cleanly, and is told so.
        let lost = minted(registry, &issuer, &claims::github("octo/other", "release.yml")).await;
        says(&refused(lost.map(|_| ()), "pending-publisher-lost"), &["fresh-project"]);
        assert!(registry.pending_publishers(&bob).await.unwrap()[0].lost);
        assert!(registry.pending_publishers(&ada).await.unwrap().is_empty());

        test.publish(&robot, &wheel("fresh-project", "1.0")).await.unwrap();
        let project = registry.project(PYPI, "fresh-project").await.unwrap();
        assert_eq!(project.people, [("ada".to_owned(), Role::Owner)]);
        // From now on it is an ordinary publisher, and its owner manages the project.
        let (again, _) = minted(registry, &issuer, &release()).await.unwrap();
        test.publish(&again, &wheel("fresh-project", "1.1")).await.unwrap();
        assert_eq!(registry.publishers(&ada, PYPI, "fresh-project").await.unwrap().len(), 1);
        registry.yank(&ada, PYPI, "fresh-project", "1.0", "a test").await.unwrap();
        // A mint is no licence for other names.
        let elsewhere = test.publish(&again, &wheel("quite-another", "1.0")).await;
        says(&refused(elsewhere.map(|_| ()), "creation-needs-account"), &["Non-user identities cannot create new projects", "pending"]);
        test.check().await;
    }

    async fn a_pending_publisher_loses_to_a_project_that_appears_first(test: TestRegistry) {
        let (ada, bob) = (test.user("ada").await, test.user("bob").await);
        let (name, issuer) = issuer(&test, Provider::Github).await;
        test.registry.add_publisher(&ada, pending(&name, "contested")).await.unwrap();
        test.publish(&bob, &wheel("contested", "1.0")).await.unwrap();
        let late = minted(&test.registry, &issuer, &release()).await;
        says(&refused(late.map(|_| ()), "pending-publisher-lost"), &["contested", "reserve no name"]);
        let project = test.registry.project(PYPI, "contested").await.unwrap();
        assert_eq!(project.people, [("bob".to_owned(), Role::Owner)]);
        refused(test.registry.add_publisher(&ada, pending(&name, "contested")).await, "project-exists");
        test.check().await;
    }

    async fn a_pending_publisher_lapses_and_can_be_taken_back(test: TestRegistry) {
        let ada = test.user("ada").await;
        let (name, issuer) = issuer(&test, Provider::Github).await;
        let registry = &test.registry;
        let first = registry.add_publisher(&ada, pending(&name, "brief")).await.unwrap();
        let bob = test.user("bob").await;
        refused(registry.remove_publisher(&bob, PYPI, "brief", &first.id).await, "publisher-unknown");
        registry.remove_publisher(&ada, PYPI, "brief", &first.id).await.unwrap();
        refused(minted(registry, &issuer, &release()).await.map(|_| ()), "publisher-none");

        registry.add_publisher(&ada, pending(&name, "brief")).await.unwrap();
        test.turn_clock(Duration::from_secs(31 * 86_400));
        let late = minted(registry, &issuer, &later(&test, release())).await;
        refused(late.map(|_| ()), "pending-publisher-expired");
        refused(registry.project(PYPI, "brief").await, "project-unknown");
        refused(registry.add_publisher(&ada, pending(&name, "os")).await, "name-refused");
        test.check().await;
    }

    async fn an_identity_token_is_good_once(test: TestRegistry) {
        let sample = sample(&test, &[]).await;
        let token = token(&sample.issuer, &release());
        test.registry.exchange(PYPI, &token).await.unwrap();
        let again = test.registry.exchange(PYPI, &token).await;
        says(&refused(again.map(|_| ()), "oidc-replayed"), &["once", "leaked"]);
    }

    async fn a_token_replayed_for_the_same_project_is_refused_and_the_next_project_of_the_job_is_not(test: TestRegistry) {
        let ada = test.user("ada").await;
        let (name, issuer) = issuer(&test, Provider::Github).await;
        for project in ["first-of-job", "second-of-job"] {
            test.registry.add_publisher(&ada, pending(&name, project)).await.unwrap();
        }
        let origin = CallerOrigin { address: "192.0.2.1".parse().unwrap(), agent: String::new() };
        let token = token(&issuer, &release());
        let exchange = |project: &'static str| test.registry.exchange_for(PYPI, project, &token, &origin);
        let first = exchange("first-of-job").await.unwrap();
        assert_eq!(first.projects, ["first-of-job"]);
        refused(exchange("first-of-job").await.map(|_| ()), "oidc-replayed");
        // Another spelling is the same project.
        refused(exchange("First.Of_Job").await.map(|_| ()), "oidc-replayed");
        assert_eq!(exchange("second-of-job").await.unwrap().projects, ["second-of-job"]);
        refused(exchange("second-of-job").await.map(|_| ()), "oidc-replayed");
        test.check().await;
    }

    async fn of_many_exchanges_of_one_token_at_once_exactly_one_succeeds(test: TestRegistry) {
        let sample = sample(&test, &[]).await;
        // A second process on the same database.
        let other = test.reopened().await.unwrap();
        let token = token(&sample.issuer, &release());
        let tasks: Vec<_> = (0..20)
            .map(|number| {
                let registry = if number % 2 == 0 { test.registry.clone() } else { other.clone() };
                let token = token.clone();
                tokio::spawn(async move { registry.exchange(PYPI, &token).await })
            })
            .collect();
        let mut good = 0;
        for task in tasks {
            match task.await.unwrap() {
                Ok(_) => good += 1,
                Err(error) => assert_eq!(error.code, "oidc-replayed", "{error}"),
            }
        }
        assert_eq!(good, 1);
        assert_eq!(test.count("SELECT count(*) AS n FROM workflow_tokens").await, 1);
    }

    async fn two_pending_publishers_of_one_workflow_found_one_project_each_at_once(test: TestRegistry) {
        let ada = test.user("ada").await;
        let (name, issuer) = issuer(&test, Provider::Github).await;
        for project in ["alpha-thing", "beta-thing"] {
            test.registry.add_publisher(&ada, pending(&name, project)).await.unwrap();
        }
        let tasks: Vec<_> = (0..8)
            .map(|_| {
                let (registry, token) = (test.registry.clone(), token(&issuer, &release()));
                tokio::spawn(async move { registry.exchange(PYPI, &token).await.unwrap().projects })
            })
            .collect();
        for task in tasks {
            assert_eq!(task.await.unwrap(), ["alpha-thing", "beta-thing"]);
        }
        assert_eq!(test.count("SELECT count(*) AS n FROM projects").await, 2);
        test.check().await;
    }

    async fn a_recreated_owner_is_refused(test: TestRegistry) {
        let sample = sample(&test, &[]).await;
        minted(&test.registry, &sample.issuer, &release()).await.unwrap();
        let pinned = &test.registry.publishers(&sample.ada, PYPI, "sample").await.unwrap()[0];
        assert_eq!(pinned.pinned["repository_owner_id"], "65001");
        assert_eq!(pinned.pinned["repository_id"], "74001");
        assert!(pinned.pin_by.is_none());
        let squatter = release().set("repository_owner_id", "99999");
        let error = refused(minted(&test.registry, &sample.issuer, &squatter).await.map(|_| ()), "publisher-mismatch");
        says(&error, &["repository_owner_id", "65001", "99999", "deleted and made again"]);
        let repository = release().set("repository_id", "99999");
        let error = refused(minted(&test.registry, &sample.issuer, &repository).await.map(|_| ()), "publisher-mismatch");
        says(&error, &["repository_id", "74001"]);
    }

    async fn ids_that_the_provider_tells_are_pinned_at_registration(test: TestRegistry) {
        let ada = test.user("ada").await;
        test.publish(&ada, &wheel("sample", "0.1")).await.unwrap();
        let (name, issuer) = issuer(&test, Provider::Gitlab).await;
        let host = SERVER.url().trim_start_matches("https://");
        // A GitLab below a path has its interface below the same path.
        SERVER.answer(
            &format!("/{name}/api/v4/projects/group%2Fsub%2Fpinned"),
            Some(serde_json::json!({"id": 502, "path_with_namespace": "group/sub/pinned", "namespace": {"id": 501}})),
        );
        let new = NewPublisher {
            fields: fields(&[("namespace", "group/sub"), ("project", "pinned"), ("workflow", ".gitlab-ci.yml")]),
            ..github(&name, "sample", &[])
        };
        let new = NewPublisher { fields: new.fields.into_iter().filter(|(name, _)| !["owner", "repository"].contains(&name.as_str())).collect(), ..new };
        let publisher = test.registry.add_publisher(&ada, new).await.unwrap();
        assert_eq!(publisher.pinned.get("namespace_id").map(String::as_str), Some("501"), "{:?}", publisher.warnings);
        assert_eq!(publisher.pinned["project_id"], "502");
        assert!(publisher.pin_by.is_none());
        let foreign = claims::gitlab(host, "group/sub/pinned", None).set("namespace_id", "7").set("project_id", "502");
        let error = refused(minted(&test.registry, &issuer, &foreign).await.map(|_| ()), "publisher-mismatch");
        says(&error, &["namespace_id", "501"]);
    }

    async fn ids_are_learnt_from_a_first_token_within_a_time(test: TestRegistry) {
        let sample = sample(&test, &[]).await;
        assert!(sample.publisher.pin_by.is_some());
        test.turn_clock(Duration::from_secs(31 * 86_400));
        let late = minted(&test.registry, &sample.issuer, &later(&test, release())).await;
        says(&refused(late.map(|_| ()), "publisher-pin-expired"), &["octo/sample", "registers it anew"]);
    }

    async fn a_renamed_repository_and_a_stranger_fit_nothing(test: TestRegistry) {
        let sample = sample(&test, &[]).await;
        let renamed = claims::github("octo/renamed", "release.yml");
        says(&refused(minted(&test.registry, &sample.issuer, &renamed).await.map(|_| ()), "publisher-none"), &["octo/renamed"]);
        let other = claims::github("octo/sample", "other.yml");
        says(&refused(minted(&test.registry, &sample.issuer, &other).await.map(|_| ()), "publisher-mismatch"), &["workflow_ref", "release.yml", "other.yml"]);
    }

    async fn forks_and_privileged_events_are_refused(test: TestRegistry) {
        let sample = sample(&test, &[]).await;
        for (claims, word) in [
            (claims::github_pull_request("octo/sample", "release.yml"), "pull"),
            (claims::github_on_base_branch("octo/sample", "release.yml", "pull_request_target"), "pull_request_target"),
            (claims::github_on_base_branch("octo/sample", "release.yml", "workflow_run"), "workflow_run"),
        ] {
            says(&refused(minted(&test.registry, &sample.issuer, &claims).await.map(|_| ()), "publisher-mismatch"), &[word]);
        }
    }

    async fn a_missing_environment_and_a_runner_of_ones_own_are_refused(test: TestRegistry) {
        let sample = sample(&test, &[("environment", "release"), ("runner", "github-hosted")]).await;
        let error = refused(minted(&test.registry, &sample.issuer, &release()).await.map(|_| ()), "publisher-mismatch");
        says(&error, &["environment", "release"]);
        let own = claims::github_self_hosted("octo/sample", "release.yml").set("environment", "release");
        let error = refused(minted(&test.registry, &sample.issuer, &own).await.map(|_| ()), "publisher-mismatch");
        says(&error, &["runner_environment", "self-hosted"]);
    }

    async fn what_is_not_genuine_is_refused_before_anything_is_written(test: TestRegistry) {
        let sample = sample(&test, &[]).await;
        let now = test.registry_now();
        let issuer = &sample.issuer;
        let registry = &test.registry;
        let attempts = [
            (issuer.token("https://elsewhere.example/pypi", &release()).unwrap(), "oidc-audience-wrong"),
            (issuer.token(AUDIENCE, &release().set("aud", serde_json::json!([AUDIENCE]))).unwrap(), "oidc-audience-wrong"),
            (issuer.token(AUDIENCE, &release().set("aud", serde_json::json!([AUDIENCE, "other"]))).unwrap(), "oidc-audience-wrong"),
            (issuer.token(AUDIENCE, &release().set("exp", now - 3_600).set("iat", now - 4_000)).unwrap(), "oidc-expired"),
            (issuer.token(AUDIENCE, &release().set("nbf", now + 3_600)).unwrap(), "oidc-not-yet-valid"),
            (issuer.token(AUDIENCE, &release().set("exp", now + 40 * 86_400)).unwrap(), "oidc-lifetime-too-long"),
            (issuer.token(AUDIENCE, &release().without("jti")).unwrap(), "oidc-claim-missing"),
            (issuer.token_signed(AUDIENCE, &release(), Signing::Unsigned, &KeyId::Current).unwrap(), "oidc-token-malformed"),
            (issuer.token_signed(AUDIENCE, &release(), Signing::PublicKeyAsSecret, &KeyId::Current).unwrap(), "oidc-algorithm-refused"),
            (issuer.token_signed(AUDIENCE, &release(), Signing::ForeignKey, &KeyId::Current).unwrap(), "oidc-signature-wrong"),
            (issuer.token_signed(AUDIENCE, &release(), Signing::Rs256, &KeyId::Named("nobodys".into())).unwrap(), "oidc-key-unknown"),
            ("x".repeat(1 << 20), "oidc-token-too-large"),
            ("not.a.token".to_owned(), "oidc-token-malformed"),
        ];
        for (token, code) in attempts {
            refused(registry.exchange(PYPI, &token).await.map(|_| ()), code);
        }
        let unknown = SERVER.issuer("nobody-admitted").unwrap();
        let error = refused(registry.exchange(PYPI, &unknown.token(AUDIENCE, &release()).unwrap()).await.map(|_| ()), "issuer-unknown");
        says(&error, &["nobody-admitted"]);
        assert_eq!(unknown.requests(Document::Discovery), 0, "an issuer that nobody admitted was asked");
        for table in ["SELECT count(*) AS n FROM oidc_replays", "SELECT count(*) AS n FROM workflow_tokens", "SELECT count(*) AS n FROM failed_exchanges"] {
            assert_eq!(test.count(table).await, 0, "{table}");
        }
    }

    async fn a_second_issuer_with_the_same_subjects_is_another_issuer(test: TestRegistry) {
        let sample = sample(&test, &[]).await;
        let (_, twin) = issuer(&test, Provider::Github).await;
        refused(minted(&test.registry, &twin, &release()).await.map(|_| ()), "publisher-none");
        // Nor does its key speak for the first one.
        let forged = twin.token(AUDIENCE, &release().set("iss", sample.issuer.url())).unwrap();
        let code = test.registry.exchange(PYPI, &forged).await.map(|_| ()).unwrap_err().code;
        assert!(["oidc-key-unknown", "oidc-signature-wrong"].contains(&&*code), "{code}");
        minted(&test.registry, &sample.issuer, &release()).await.unwrap();
    }

    async fn keys_are_fetched_once_and_a_storm_of_unknown_ones_changes_that_by_one(test: TestRegistry) {
        let sample = sample(&test, &[]).await;
        let issuer = &sample.issuer;
        let before = issuer.requests(Document::Keys);
        for _ in 0..20 {
            minted(&test.registry, issuer, &release()).await.unwrap();
        }
        assert_eq!(issuer.requests(Document::Keys), before);
        let storm = |number: usize| issuer.token_signed(AUDIENCE, &release(), Signing::Rs256, &KeyId::Named(format!("storm-{number}"))).unwrap();
        test.turn_clock(Duration::from_secs(61));
        let tasks: Vec<_> = (0..40)
            .map(|number| {
                let (registry, token) = (test.registry.clone(), storm(number));
                tokio::spawn(async move { registry.exchange(PYPI, &token).await.map(|_| ()).unwrap_err().code })
            })
            .collect();
        for task in tasks {
            assert_eq!(task.await.unwrap(), "oidc-key-unknown");
        }
        assert_eq!(issuer.requests(Document::Keys), before + 1);
        // New keys are found at the next look, and old ones go when the issuer withdraws them.
        let old = token(issuer, &later(&test, release()));
        issuer.rotate_keys().unwrap();
        issuer.withdraw_former_keys().unwrap();
        test.turn_clock(Duration::from_secs(61));
        minted(&test.registry, issuer, &later(&test, release())).await.unwrap();
        refused(test.registry.exchange(PYPI, &old).await.map(|_| ()), "oidc-key-unknown");
    }

    async fn an_issuer_that_is_down_is_said_to_be_and_its_keys_are_good_for_a_day(test: TestRegistry) {
        let sample = sample(&test, &[]).await;
        let issuer = &sample.issuer;
        minted(&test.registry, issuer, &release()).await.unwrap();
        issuer.fail(Document::Discovery, Fault::Closed).unwrap();
        test.turn_clock(Duration::from_secs(3_700));
        minted(&test.registry, issuer, &later(&test, release())).await.unwrap();
        test.turn_clock(Duration::from_secs(86_400));
        let error = refused(minted(&test.registry, issuer, &later(&test, release())).await.map(|_| ()), "issuer-unreachable");
        assert_eq!(error.kind, Kind::Unavailable);
        says(&error, &["again"]);
        issuer.heal().unwrap();
        // Not hammered, but not for ever either.
        let asked = issuer.requests(Document::Discovery);
        refused(minted(&test.registry, issuer, &later(&test, release())).await.map(|_| ()), "issuer-unreachable");
        assert_eq!(issuer.requests(Document::Discovery), asked);
        test.turn_clock(Duration::from_secs(11));
        minted(&test.registry, issuer, &later(&test, release())).await.unwrap();
    }

    async fn an_issuer_is_admitted_only_when_its_documents_are_right(test: TestRegistry) {
        let issuer = SERVER.issuer(&format!("faulty-{}", NUMBER.fetch_add(1, Ordering::Relaxed))).unwrap();
        let new = || NewIssuer { name: "faulty".to_owned(), url: issuer.url(), provider: Provider::Generic, ca_pem: None };
        let operator = Actor::operator();
        for (document, fault) in [
            (Document::Discovery, Fault::RedirectTo("https://localhost:1/".to_owned())),
            (Document::Discovery, Fault::NamesIssuer("https://evil.example".to_owned())),
            (Document::Discovery, Fault::Oversized(70 << 10)),
            (Document::Discovery, Fault::Garbage),
            (Document::Discovery, Fault::Status(500)),
            (Document::Discovery, Fault::KeysAt("http://localhost/jwks".to_owned())),
            (Document::Keys, Fault::Oversized(300 << 10)),
            (Document::Keys, Fault::Garbage),
        ] {
            issuer.fail(document, fault.clone()).unwrap();
            let error = refused(test.registry.add_issuer(&operator, new()).await.map(|_| ()), "issuer-unreachable");
            assert!(error.message.contains("can not be had"), "{fault:?}: {error}");
            issuer.heal().unwrap();
        }
        test.registry.add_issuer(&operator, new()).await.unwrap();
        refused(test.registry.add_issuer(&operator, new()).await.map(|_| ()), "issuer-exists");
        let builtin = NewIssuer { name: "mine".to_owned(), url: Provider::Github.issuer().unwrap().to_owned(), provider: Provider::Github, ca_pem: None };
        refused(test.registry.add_issuer(&operator, builtin).await.map(|_| ()), "issuer-exists");
        let ada = test.user("ada").await;
        refused(test.registry.add_issuer(&ada, new()).await.map(|_| ()), "operator-needed");
        test.check().await;
    }

    async fn a_minted_token_ends_with_its_time_its_publisher_and_its_issuer(test: TestRegistry) {
        let sample = sample(&test, &[]).await;
        let registry = &test.registry;
        let (robot, minted_now) = minted(registry, &sample.issuer, &release()).await.unwrap();
        registry.remove_publisher(&sample.ada, PYPI, "sample", &sample.publisher.id).await.unwrap();
        says(&refused(test.publish(&robot, &wheel("sample", "1.0")).await.map(|_| ()), "publisher-not-here"), &["sample"]);
        refused(registry.exchange(PYPI, &token(&sample.issuer, &release())).await.map(|_| ()), "publisher-none");

        registry.add_publisher(&sample.ada, github(&sample.name, "sample", &[])).await.unwrap();
        // The token was minted for the publisher that is gone, not for the one that looks like it.
        refused(test.publish(&robot, &wheel("sample", "1.0")).await.map(|_| ()), "publisher-not-here");
        let (fresh, second) = minted(registry, &sample.issuer, &release()).await.unwrap();
        registry.remove_issuer(&Actor::operator(), &sample.name).await.unwrap();
        refused(test.publish(&fresh, &wheel("sample", "1.0")).await.map(|_| ()), "publisher-not-here");
        refused(registry.exchange(PYPI, &token(&sample.issuer, &release())).await.map(|_| ()), "issuer-unknown");
        assert!(registry.publishers(&sample.ada, PYPI, "sample").await.unwrap().is_empty());

        test.turn_clock(Duration::from_secs(901));
        for token in [minted_now.token, second.token] {
            let error = refused(registry.authenticate(Presented::Token(token)).await, "token-expired");
            says(&error, &["15 minutes"]);
        }
        test.check().await;
    }

    async fn a_workflow_gives_its_token_back(test: TestRegistry) {
        let sample = sample(&test, &[]).await;
        let (robot, minted) = minted(&test.registry, &sample.issuer, &release()).await.unwrap();
        test.registry.end_token(&robot).await.unwrap();
        refused(test.registry.authenticate(Presented::Token(minted.token)).await, "token-revoked");
        refused(test.registry.end_token(&Actor::anonymous()).await, "token-needed");
    }

    async fn a_minted_token_publishes_to_its_projects_and_does_nothing_else(test: TestRegistry) {
        let sample = sample(&test, &[]).await;
        test.publish(&sample.ada, &wheel("unrelated", "1.0")).await.unwrap();
        let (robot, _) = minted(&test.registry, &sample.issuer, &release()).await.unwrap();
        let registry = &test.registry;
        refused(test.publish(&robot, &wheel("unrelated", "2.0")).await.map(|_| ()), "publisher-not-here");
        refused(registry.yank(&robot, PYPI, "sample", "0.1", "").await, "token-action");
        refused(registry.set_role(&robot, PYPI, "sample", "ada", Some(Role::Maintainer)).await, "token-action");
        refused(registry.set_status(&robot, PYPI, "sample", countersign_registry::model::ProjectStatus::Archived, None).await, "token-action");
        refused(registry.delete(&robot, PYPI, "sample", countersign_registry::Deletion::Project).await, "token-action");
        refused(registry.tokens(&robot, None).await, "token-action");
        refused(registry.publishers(&robot, PYPI, "sample").await, "token-action");
        refused(registry.add_publisher(&robot, github(&sample.name, "sample", &[("environment", "x")])).await, "token-action");
        refused(registry.add_publisher(&robot, pending(&sample.name, "elsewhere")).await, "token-action");
        refused(registry.remove_publisher(&robot, PYPI, "sample", &sample.publisher.id).await, "token-action");
        refused(registry.pending_publishers(&robot).await, "token-action");
        refused(registry.set_project_policy(&robot, PYPI, "sample", PolicyChange { trusted_only: Some(false), ..PolicyChange::default() }).await, "token-action");
        refused(registry.dismiss_notice(&robot, PYPI, "sample", "x").await, "token-action");
        refused(registry.test_token(&robot, PYPI, "sample", "x").await, "token-action");
        refused(registry.failed_exchanges(&robot, PYPI, "sample").await, "token-action");
        refused(registry.create_token(&robot, countersign_registry::NewToken { user: "ada".to_owned(), ecosystem: None, namespace: None, networks: Vec::new(), project: None, action: Action::Read, expires: Duration::from_secs(60), label: String::new() }).await.map(|_| ()), "operator-needed");
        assert!(matches!(robot.identity, Identity::Workflow(_)));
        // What it is for still works.
        test.publish(&robot, &wheel("sample", "1.0")).await.unwrap();
        test.check().await;
    }

    async fn one_workflow_may_publish_many_projects_and_one_project_have_many_workflows(test: TestRegistry) {
        let sample = sample(&test, &[]).await;
        let registry = &test.registry;
        for number in 0..12 {
            let project = format!("family-{number}");
            test.publish(&sample.ada, &wheel(&project, "0.1")).await.unwrap();
            registry.add_publisher(&sample.ada, github(&sample.name, &project, &[])).await.unwrap();
        }
        let (robot, minted_now) = minted(registry, &sample.issuer, &release()).await.unwrap();
        assert_eq!(minted_now.projects.len(), 13);
        test.publish(&robot, &wheel("family-7", "1.0")).await.unwrap();
        for number in 0..12 {
            let mut new = github(&sample.name, "sample", &[]);
            new.fields.insert("workflow".to_owned(), format!("release-{number}.yml"));
            registry.add_publisher(&sample.ada, new).await.unwrap();
        }
        refused(registry.add_publisher(&sample.ada, github(&sample.name, "sample", &[])).await, "publisher-exists");
        minted(registry, &sample.issuer, &claims::github("octo/sample", "release-11.yml")).await.unwrap();
        test.check().await;
    }

    async fn a_generic_issuer_needs_rules_and_every_rule_must_hold(test: TestRegistry) {
        let ada = test.user("ada").await;
        test.publish(&ada, &wheel("sample", "0.1")).await.unwrap();
        let (name, issuer) = issuer(&test, Provider::Generic).await;
        let new = |claims: Vec<Rule>| NewPublisher { fields: BTreeMap::new(), claims, ..github(&name, "sample", &[]) };
        refused(test.registry.add_publisher(&ada, new(Vec::new())).await, "publisher-invalid");
        let rule = |claim: &str, test: Test| Rule { claim: claim.to_owned(), test };
        test.registry.add_publisher(&ada, new(vec![
            rule("sub", Test::Equal("job:release".to_owned())),
            rule("branch", Test::OneOf(vec!["main".to_owned(), "stable".to_owned()])),
            rule("tag", Test::Pattern("v*".to_owned())),
            rule("trigger", Test::NoneOf(vec!["fork".to_owned()])),
        ])).await.unwrap();
        let good = || Claims::new().set("sub", "job:release").set("branch", "main").set("tag", "v1.0");
        minted(&test.registry, &issuer, &good()).await.unwrap();
        for (claims, word) in [
            (good().set("sub", "job:releases"), "sub"),
            (good().set("branch", "feature"), "branch"),
            (good().without("branch"), "branch"),
            (good().set("tag", "1.0"), "tag"),
            (good().set("trigger", "fork"), "trigger"),
        ] {
            let error = refused(minted(&test.registry, &issuer, &claims).await.map(|_| ()), "publisher-mismatch");
            says(&error, &[word]);
        }
        // Without a jti the token itself is remembered.
        let token = issuer.token(AUDIENCE, &good().without("jti")).unwrap();
        test.registry.exchange(PYPI, &token).await.unwrap();
        refused(test.registry.exchange(PYPI, &token).await.map(|_| ()), "oidc-replayed");
    }

    async fn owners_may_refuse_tokens_demand_an_environment_and_a_trust(test: TestRegistry) {
        let sample = sample(&test, &[]).await;
        let registry = &test.registry;
        let set = async |change: PolicyChange| registry.set_project_policy(&sample.ada, PYPI, "sample", change).await;
        set(PolicyChange { trusted_only: Some(true), ..PolicyChange::default() }).await.unwrap();
        says(&refused(test.publish(&sample.ada, &wheel("sample", "1.0")).await.map(|_| ()), "trusted-publishing-only"), &["API tokens are refused"]);
        let (robot, _) = minted(registry, &sample.issuer, &release()).await.unwrap();
        test.publish(&robot, &wheel("sample", "1.0")).await.unwrap();
        set(PolicyChange { environment: Some(Some("Release".to_owned())), ..PolicyChange::default() }).await.unwrap();
        let error = refused(test.publish(&robot, &wheel("sample", "1.1")).await.map(|_| ()), "environment-missing");
        says(&error, &["environment", "Release"]);
        let (placed, _) = minted(registry, &sample.issuer, &claims::github_in_environment("octo/sample", "release.yml", "release")).await.unwrap();
        test.publish(&placed, &wheel("sample", "1.1")).await.unwrap();
        let view = set(PolicyChange { trusted_only: Some(false), environment: Some(None), minimum_trust: Some(TrustLevel::Workflow) }).await.unwrap();
        assert!(!view.trusted_only && view.environment.is_none());
        refused(test.publish(&sample.ada, &wheel("sample", "1.2")).await.map(|_| ()), "trust-too-low");
        refused(set(PolicyChange { environment: Some(Some("\n".to_owned())), ..PolicyChange::default() }).await, "policy-environment");
        set(PolicyChange { minimum_trust: Some(TrustLevel::None), ..PolicyChange::default() }).await.unwrap();
        // What the project is known for is held without any policy too.
        refused(test.publish(&sample.ada, &wheel("sample", "1.2")).await.map(|_| ()), "trust-lost");
        // Nobody's tokens of this issuer carry an environment.
        let (plain, _) = issuer(&test, Provider::Buildkite).await;
        test.publish(&sample.ada, &wheel("built", "1.0")).await.unwrap();
        let kite = NewPublisher { fields: fields(&[("organization", "octo"), ("pipeline", "release")]), ..github(&plain, "built", &[]) };
        registry.add_publisher(&sample.ada, kite).await.unwrap();
        let placed = PolicyChange { environment: Some(Some("release".to_owned())), ..PolicyChange::default() };
        refused(registry.set_project_policy(&sample.ada, PYPI, "built", placed).await, "policy-locks-out");
        // A policy that shuts everybody out is a mistake.
        test.publish(&sample.ada, &wheel("lonely", "1.0")).await.unwrap();
        let change = PolicyChange { trusted_only: Some(true), ..PolicyChange::default() };
        refused(registry.set_project_policy(&sample.ada, PYPI, "lonely", change.clone()).await, "policy-locks-out");
        let bob = test.user("bob").await;
        refused(registry.set_project_policy(&bob, PYPI, "sample", change).await, "role-missing");
        assert_eq!(test.count("SELECT count(*) AS n FROM projects WHERE key = 'sample' AND trust_level = 'workflow'").await, 1);
        test.check().await;
    }

    async fn owners_are_nudged_and_can_dismiss_it(test: TestRegistry) {
        let sample = sample(&test, &[]).await;
        let registry = &test.registry;
        let receipt = test.publish(&sample.ada, &wheel("sample", "1.0")).await.unwrap();
        assert!(receipt.warnings.iter().any(|warning| warning.contains("trusted publisher")), "{:?}", receipt.warnings);
        let claims = claims::github_in_environment("octo/sample", "release.yml", "release");
        let (robot, minted_now) = minted(registry, &sample.issuer, &claims).await.unwrap();
        assert!(minted_now.warnings[0].contains("release"), "{:?}", minted_now.warnings);
        let clean = test.publish(&robot, &wheel("sample", "1.1")).await.unwrap();
        assert!(clean.warnings.is_empty(), "{:?}", clean.warnings);
        let mut notices = registry.notices(&sample.ada, PYPI, "sample").await.unwrap();
        notices.sort_by(|a, b| a.kind.cmp(&b.kind));
        assert_eq!(notices.iter().map(|notice| notice.kind.as_str()).collect::<Vec<_>>(), ["environment-not-required", "token-used-beside-publisher"]);
        assert!(notices[1].text.contains("ada"), "{}", notices[1].text);
        registry.dismiss_notice(&sample.ada, PYPI, "sample", &notices[1].id).await.unwrap();
        refused(registry.dismiss_notice(&sample.ada, PYPI, "sample", &notices[1].id).await, "notice-unknown");
        // The workflow published meanwhile: from then on a token is not warned of but refused.
        refused(test.publish(&sample.ada, &wheel("sample", "1.2")).await.map(|_| ()), "trust-lost");
        assert_eq!(registry.notices(&sample.ada, PYPI, "sample").await.unwrap().len(), 1);
    }

    async fn the_last_failures_are_shown_to_the_owners(test: TestRegistry) {
        let sample = sample(&test, &[("environment", "release")]).await;
        let registry = &test.registry;
        // Before its ids are known, anybody could have registered this repository: the claims stay with the job.
        refused(minted(registry, &sample.issuer, &release()).await.map(|_| ()), "publisher-mismatch");
        let failures = registry.failed_exchanges(&sample.ada, PYPI, "sample").await.unwrap();
        assert_eq!(failures[0].differences[0].claim, "environment");
        assert!(failures[0].claims.is_empty() && failures[0].differences[0].seen.is_none(), "{failures:?}");
        minted(registry, &sample.issuer, &claims::github_in_environment("octo/sample", "release.yml", "release")).await.unwrap();
        test.turn_clock(Duration::from_secs(2));
        refused(minted(registry, &sample.issuer, &release()).await.map(|_| ()), "publisher-mismatch");
        let failures = registry.failed_exchanges(&sample.ada, PYPI, "sample").await.unwrap();
        assert_eq!(failures.len(), 1);
        assert_eq!((failures[0].times, failures[0].code.as_str()), (2, "publisher-mismatch"));
        assert_eq!(failures[0].differences.len(), 1);
        assert_eq!(failures[0].differences[0].claim, "environment");
        assert_eq!(failures[0].claims["repository"], "octo/sample");
        let bob = test.user("bob").await;
        refused(registry.failed_exchanges(&bob, PYPI, "sample").await, "role-missing");
    }

    async fn a_token_can_be_tested_without_using_it_up(test: TestRegistry) {
        let sample = sample(&test, &[("environment", "release")]).await;
        let registry = &test.registry;
        let poor = token(&sample.issuer, &release());
        let tested = registry.test_token(&sample.ada, PYPI, "sample", &poor).await.unwrap();
        assert_eq!(tested.verdict, "refused");
        assert_eq!(tested.refusal.unwrap().code, "publisher-mismatch");
        let rules = &tested.publishers[0].rules;
        assert!(rules.iter().any(|rule| rule.claim == "environment" && !rule.matched));
        assert!(rules.iter().any(|rule| rule.claim == "repository" && rule.matched));
        let good = token(&sample.issuer, &claims::github_in_environment("octo/sample", "release.yml", "release"));
        for _ in 0..2 {
            let tested = registry.test_token(&sample.ada, PYPI, "sample", &good).await.unwrap();
            assert_eq!(tested.verdict, "would-publish");
        }
        registry.exchange(PYPI, &good).await.unwrap();
        let garbage = registry.test_token(&sample.ada, PYPI, "sample", "garbage").await.unwrap();
        assert_eq!(garbage.refusal.unwrap().code, "oidc-token-malformed");
        let checked = registry.check_publisher(&sample.ada, PYPI, "sample", &sample.publisher.id).await.unwrap();
        assert!(checked.ok, "{:?}", checked.findings);
        sample.issuer.fail(Document::Discovery, Fault::Status(503)).unwrap();
        test.turn_clock(Duration::from_secs(2 * 86_400));
        let checked = registry.check_publisher(&sample.ada, PYPI, "sample", &sample.publisher.id).await.unwrap();
        assert!(!checked.ok && checked.findings.iter().any(|finding| finding.contains("503")), "{:?}", checked.findings);
    }

    async fn failures_tell_no_personal_claim(test: TestRegistry) {
        let sample = sample(&test, &[]).await;
        let registry = &test.registry;
        minted(registry, &sample.issuer, &release()).await.unwrap();
        registry.remove_publisher(&sample.ada, PYPI, "sample", &sample.publisher.id).await.unwrap();
        let rule = Rule { claim: "actor".to_owned(), test: Test::Equal("hubber".to_owned()) };
        let new = NewPublisher { claims: vec![rule], ..github(&sample.name, "sample", &[]) };
        registry.add_publisher(&sample.ada, new).await.unwrap();
        minted(registry, &sample.issuer, &release().set("actor", "hubber")).await.unwrap();
        let refusal = refused(minted(registry, &sample.issuer, &release()).await.map(|_| ()), "publisher-mismatch");
        says(&refusal, &["octocat"]);
        let failures = registry.failed_exchanges(&sample.ada, PYPI, "sample").await.unwrap();
        assert_eq!(failures[0].differences[0].claim, "actor");
        assert!(!format!("{failures:?}").contains("octocat"), "{failures:?}");
        assert_eq!(test.count("SELECT count(*) AS n FROM failed_exchanges WHERE differences LIKE '%octocat%' OR claims LIKE '%octocat%'").await, 0);
    }

    async fn nobody_else_comes_to_own_what_a_workflow_founds(test: TestRegistry) {
        let (ada, eve) = (test.user("ada").await, test.user("eve").await);
        let (name, issuer) = issuer(&test, Provider::Github).await;
        let registry = &test.registry;
        registry.add_publisher(&ada, pending(&name, "newlib")).await.unwrap();
        let wider = NewPublisher { fields: github(&name, "newlib", &[("visibility", "public")]).fields, ..pending(&name, "newlib") };
        let error = refused(registry.add_publisher(&eve, wider.clone()).await, "pending-publisher-disputed");
        says(&error, &["operator"]);
        // And where two came to stand side by side all the same, nothing is founded.
        registry.add_publisher(&ada, wider).await.unwrap();
        test.execute("UPDATE publishers SET account_id = (SELECT id FROM accounts WHERE name = 'eve') WHERE registration LIKE '%visibility%'").await;
        refused(minted(registry, &issuer, &release()).await.map(|_| ()), "pending-publisher-disputed");
        assert_eq!(test.count("SELECT count(*) AS n FROM projects").await, 0);
        test.execute("UPDATE publishers SET removed_at = 1, removed_why = 'removed' WHERE registration LIKE '%visibility%'").await;
        minted(registry, &issuer, &release()).await.unwrap();
        assert_eq!(test.count("SELECT count(*) AS n FROM grants g JOIN accounts a ON a.id = g.account_id WHERE a.name = 'ada'").await, 1);
        // It has published nothing yet.
        assert_eq!(test.count("SELECT count(*) AS n FROM projects WHERE trust_level = 'none'").await, 1);
    }

    async fn what_strangers_register_for_a_repository_stops_nobody(test: TestRegistry) {
        let sample = sample(&test, &[]).await;
        let eve = test.user("eve").await;
        test.registry.add_publisher(&eve, pending(&sample.name, "abcl-thing")).await.unwrap();
        test.registry.add_publisher(&eve, pending(&sample.name, "xyz-thing")).await.unwrap();
        // A look-alike of the one, and the other itself, are taken before the workflow runs.
        test.publish(&eve, &wheel("abc1-thing", "1.0")).await.unwrap();
        test.publish(&eve, &wheel("xyz-thing", "1.0")).await.unwrap();
        let (robot, minted_now) = minted(&test.registry, &sample.issuer, &release()).await.unwrap();
        assert_eq!(minted_now.projects, ["sample"]);
        assert!(minted_now.warnings.iter().any(|warning| warning.contains("abcl-thing")), "{:?}", minted_now.warnings);
        test.publish(&robot, &wheel("sample", "1.0")).await.unwrap();
        let mine = test.registry.pending_publishers(&eve).await.unwrap();
        assert_eq!(mine.iter().map(|publisher| publisher.lost).collect::<Vec<_>>(), [false, true]);
        // What is lost can be put away, once.
        test.registry.remove_publisher(&eve, PYPI, "xyz-thing", &mine[1].id).await.unwrap();
        refused(test.registry.remove_publisher(&eve, PYPI, "xyz-thing", &mine[1].id).await, "publisher-unknown");
        assert_eq!(test.registry.pending_publishers(&eve).await.unwrap().len(), 1);
        test.check().await;
    }

    async fn where_creation_is_closed_nothing_is_founded_but_for_the_operator(test: TestRegistry) {
        let ada = test.user("ada").await;
        let (name, issuer) = issuer(&test, Provider::Github).await;
        test.registry.add_publisher(&ada, pending(&name, "earlier")).await.unwrap();
        let closed = test.reopened_where(test.blobs(), |settings| settings.open_creation = false).await.unwrap();
        refused(closed.add_publisher(&ada, pending(&name, "later")).await, "creation-closed");
        refused(minted(&closed, &issuer, &release()).await.map(|_| ()), "creation-closed");
        let new = NewPublisher { pending_for: Some("ada".to_owned()), ..pending(&name, "ordered") };
        closed.add_publisher(&Actor::operator(), new).await.unwrap();
        let (_, minted_now) = minted(&closed, &issuer, &release()).await.unwrap();
        assert_eq!(minted_now.projects, ["ordered"]);
    }

    async fn a_forgejo_that_tells_no_ids_in_its_tokens_can_publish(test: TestRegistry) {
        let ada = test.user("ada").await;
        test.publish(&ada, &wheel("sample", "0.1")).await.unwrap();
        let (name, issuer) = issuer(&test, Provider::Forgejo).await;
        let answer = serde_json::json!({"id": 7, "full_name": "octo/sample", "owner": {"id": 8, "login": "octo"}});
        SERVER.answer("/api/v1/repos/octo/sample", Some(answer.clone()));
        SERVER.answer(&format!("/{name}/api/v1/repos/octo/sample"), Some(answer));
        let publisher = test.registry.add_publisher(&ada, github(&name, "sample", &[])).await.unwrap();
        assert_eq!(publisher.pinned.len(), 2, "{:?}", publisher.warnings);
        let old = claims::forgejo("octo/sample", "release.yml").without("repository_id").without("repository_owner_id");
        minted(&test.registry, &issuer, &old).await.unwrap();
        let other = claims::forgejo("octo/sample", "release.yml").set("repository_id", "7").set("repository_owner_id", "99");
        refused(minted(&test.registry, &issuer, &other).await.map(|_| ()), "publisher-mismatch");
    }

    async fn only_owners_manage_publishers(test: TestRegistry) {
        let sample = sample(&test, &[]).await;
        let bob = test.user("bob").await;
        let registry = &test.registry;
        refused(registry.add_publisher(&bob, github(&sample.name, "sample", &[])).await, "role-missing");
        refused(registry.remove_publisher(&bob, PYPI, "sample", &sample.publisher.id).await, "role-missing");
        refused(registry.publishers(&bob, PYPI, "sample").await, "role-missing");
        registry.set_role(&sample.ada, PYPI, "sample", "bob", Some(Role::Maintainer)).await.unwrap();
        assert_eq!(registry.publishers(&bob, PYPI, "sample").await.unwrap().len(), 1);
        refused(registry.add_publisher(&bob, github(&sample.name, "sample", &[])).await, "role-missing");
        let weak = test.token("ada", Action::Publish, None).await;
        refused(registry.add_publisher(&weak, github(&sample.name, "sample", &[("environment", "x")])).await, "token-action");
        let error = refused(registry.add_publisher(&sample.ada, github(&sample.name, "nothing-here", &[])).await, "project-unknown");
        says(&error, &["--pending"]);
        let invalid = refused(registry.add_publisher(&sample.ada, github(&sample.name, "sample", &[("workflow", "../../evil"), ("owner", "a b")])).await, "publisher-invalid");
        assert_eq!(invalid.differences.len(), 2, "{:?}", invalid.differences);
        refused(registry.add_publisher(&sample.ada, github("no-such-issuer", "sample", &[])).await, "issuer-unknown");
        let theirs = NewPublisher { pending_for: Some("ada".to_owned()), ..pending(&sample.name, "gift") };
        refused(registry.add_publisher(&bob, theirs.clone()).await, "operator-needed");
        let gift = registry.add_publisher(&Actor::operator(), theirs).await.unwrap();
        assert_eq!(gift.created_by, "ada");
    }

    async fn what_expired_is_forgotten_in_time_and_not_before(test: TestRegistry) {
        let sample = sample(&test, &[]).await;
        let token = token(&sample.issuer, &release());
        test.registry.exchange(PYPI, &token).await.unwrap();
        test.turn_clock(Duration::from_secs(300));
        test.registry.purge_expired().await.unwrap();
        assert_eq!(test.count("SELECT count(*) AS n FROM oidc_replays").await, 1);
        test.turn_clock(Duration::from_secs(120));
        test.registry.purge_expired().await.unwrap();
        assert_eq!(test.count("SELECT count(*) AS n FROM oidc_replays").await, 0);
        // Forgotten as a replay, and long refused as expired.
        refused(test.registry.exchange(PYPI, &token).await.map(|_| ()), "oidc-expired");
        assert_eq!(test.count("SELECT count(*) AS n FROM workflow_tokens").await, 1);
        test.turn_clock(Duration::from_secs(31 * 86_400));
        test.registry.purge_expired().await.unwrap();
        assert_eq!(test.count("SELECT count(*) AS n FROM workflow_tokens").await, 0);
    }

    async fn after_a_restore_only_tokens_issued_since_are_taken(test: TestRegistry) {
        let sample = sample(&test, &[]).await;
        let old = token(&sample.issuer, &release());
        let since = test.registry_now() + 60;
        let mut connection = test.connection().await;
        sqlx::query("INSERT INTO instance (key, value) VALUES ('identity_tokens_since', $1)")
            .bind(since.to_string())
            .execute(&mut connection)
            .await
            .unwrap();
        sqlx::Connection::close(connection).await.unwrap();
        let restored = test.reopened().await.unwrap();
        says(&refused(restored.exchange(PYPI, &old).await.map(|_| ()), "oidc-before-restore"), &["restored", "run the job again"]);
        test.turn_clock(Duration::from_secs(61));
        restored.exchange(PYPI, &token(&sample.issuer, &later(&test, release()))).await.unwrap();
    }

    async fn trusted_publishing_can_be_switched_off(database: Database) {
        let test = TestRegistry::with(database, |settings| settings.trusted_publishing.enabled = false).await;
        let error = refused(test.registry.exchange(PYPI, "x.y.z").await.map(|_| ()), "trusted-publishing-off");
        assert_eq!(error.kind, Kind::Denied);
        refused(test.registry.oidc_audience(PYPI), "trusted-publishing-off");
    }

    async fn a_workflow_does_not_read_a_restricted_registry(database: Database) {
        let test = TestRegistry::with(database, |settings| {
            settings.visibility = countersign_registry::model::Visibility::Restricted;
        }).await;
        let sample = sample(&test, &[]).await;
        let (robot, _) = minted(&test.registry, &sample.issuer, &release()).await.unwrap();
        refused(test.registry.may_read(&robot), "token-action");
        test.publish(&robot, &wheel("sample", "1.0")).await.unwrap();
    }

    async fn a_leaked_token_of_a_workflow_is_ended_and_its_owners_told(test: TestRegistry) {
        let sample = sample(&test, &[]).await;
        let (robot, minted_token) = minted(&test.registry, &sample.issuer, &release()).await.unwrap();
        test.publish(&robot, &wheel("sample", "1.0")).await.unwrap();
        let secret = minted_token.token.clone();
        let found = format!("++ curl -u __token__:{secret} https://example.org");
        let answers = test.registry.report_leak(&found, "https://paste.example/7", &from(7)).await.unwrap();
        assert_eq!((answers.len(), answers[0].label), (1, "true_positive"));
        refused(test.registry.authenticate(Presented::Token(secret.clone())).await, "token-revoked");
        // What it was let in for before is over too.
        assert!(test.publish(&robot, &wheel("sample", "1.1")).await.is_err());
        let ada = test.session("ada", Level::TwoFactor, true).await;
        let notices = test.registry.account_notices(&ada).await.unwrap();
        let notice = notices.iter().find(|notice| notice.kind == "workflow-token-leaked").expect("the owner was told");
        // Of an address that anybody wrote only the host goes into what we say.
        assert!(notice.text.contains("paste.example") && notice.text.contains("sample"), "{}", notice.text);
        assert!(!notice.text.contains("paste.example/7"), "{}", notice.text);
        assert!(!notice.text.contains(&secret));
        // Told again it is no news, and one that never was is none of ours.
        test.registry.report_leak(&found, "", &from(7)).await.unwrap();
        let leaves = test.check().await;
        let told = leaves.iter().filter(|leaf| leaf.kind == LeafKind::TokenRevokedLeaked).count();
        assert_eq!(told, 1);
        let never = format!("csgn_w_{}", &"A".repeat(secret.len() - 7));
        assert!(test.registry.report_leak(&never, "", &from(7)).await.unwrap().iter().all(|answer| answer.label != "true_positive"));
    }
}

/// The same claims, issued at the test's own time.
pub fn later(test: &TestRegistry, claims: Claims) -> Claims {
    let now = test.registry_now();
    claims.set("iat", now).set("nbf", now).set("exp", now + 300)
}

on_both_databases! {
    async fn a_token_is_judged_for_a_registry_elsewhere_once_and_by_its_own_rules(test: TestRegistry) {
        use countersign_registry::NewServicePublisher;
        let (registry, operator) = (&test.registry, Actor::operator());
        let (name, issuer) = issuer(&test, Provider::Github).await;
        let new = |service: &str, project: &str, workflow: &str| NewServicePublisher {
            service: service.to_owned(),
            project: project.to_owned(),
            issuer: name.clone(),
            fields: fields(&[("owner", "octo"), ("repository", "sample"), ("workflow", workflow)]),
            claims: Vec::new(),
        };
        let made = registry.add_service_publisher(&operator, new("alpha", "Some/Project", "release.yml")).await.unwrap();
        registry.add_service_publisher(&operator, new("alpha", "other", "nightly.yml")).await.unwrap();
        registry.add_service_publisher(&operator, new("beta", "theirs", "release.yml")).await.unwrap();
        refused(registry.add_service_publisher(&operator, new("alpha", "", "release.yml")).await, "service-project");
        let secret = registry.create_exchange_service_token(&operator, "alpha", "test").await.unwrap();
        refused(registry.log_service_desk(Some(&secret)).await, "service-token");
        refused(registry.exchange_service_desk(Some("csgn_s_x")).await, "service-token");
        let desk = registry.exchange_service_desk(Some(&secret)).await.unwrap();
        let audience = registry.service_audience(&desk);
        let claims = claims::github("octo/sample", "release.yml");
        let token = issuer.token(&audience, &claims).unwrap();
        refused(registry.judge_for_service(&desk, &token, Some("other")).await, "publisher-mismatch");
        let judged = registry.judge_for_service(&desk, &token, None).await.unwrap();
        assert_eq!(judged.projects, ["Some/Project"]);
        assert_eq!(judged.issuer, issuer.url());
        assert!(judged.claims.contains_key("repository"), "{:?}", judged.claims);
        refused(registry.judge_for_service(&desk, &token, None).await, "oidc-replayed");

        // For ourselves it is of no use, nor ours for them.
        let token = issuer.token(&audience, &claims).unwrap();
        refused(registry.exchange(PYPI, &token).await.map(|_| ()), "oidc-audience-wrong");
        let ours = issuer.token(AUDIENCE, &claims).unwrap();
        refused(registry.judge_for_service(&desk, &ours, None).await, "oidc-audience-wrong");
        // The repository's ids were learnt from the first token: another one of the same name is another one.
        let others = claims.clone().set("repository_id", "999");
        let token = issuer.token(&audience, &others).unwrap();
        refused(registry.judge_for_service(&desk, &token, None).await, "publisher-mismatch");
        registry.remove_service_publisher(&operator, "alpha", &made.id).await.unwrap();
        let token = issuer.token(&audience, &claims).unwrap();
        refused(registry.judge_for_service(&desk, &token, Some("Some/Project")).await, "publisher-none");
        refused(registry.remove_service_publisher(&operator, "alpha", &made.id).await, "publisher-unknown");
        test.check().await;
    }
}
