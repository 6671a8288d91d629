//! What somebody with a stolen token, a workflow of another repository, or one owner's session tries to publish below what
//! the project is remembered for.

use std::time::Duration;

use countersign_formats::Ecosystem;
use countersign_registry::model::{
    Action, Actor, ChangeKind, Level, ProjectStatus, Role, SourceTuple, TrustLevel,
};
use countersign_registry::oidc::Provider;
use countersign_registry::{Deletion, LossRule, NewException, NewIdentity, NewMove, NewPublisher};
use countersign_testkit::claims;
use countersign_testkit::packages::{Package, Wheel};
use countersign_testkit::sigstore::statements;
use serde_json::json;

use crate::kit::{TestRegistry, refused};
use crate::on_both_databases;
use crate::provenance::{Stage, attested, purl, robot, stage, upload};
use crate::trusted::{github, issuer, minted, release, wheel};

const PYPI: Ecosystem = Ecosystem::Pypi;

/// The registry's own name for what a project was built from before.
fn moved(stage: &Stage, repository: &str, id: Option<&str>) -> NewMove {
    NewMove {
        to: SourceTuple {
            issuer: stage.sample.issuer.url(),
            repository: stage.repository(repository),
            repository_id: id.map(str::to_owned),
            owner_id: None,
        },
        hours: 720,
        reason: "the project moved".to_owned(),
    }
}

impl TestRegistry {
    /// An approval of one file below the level, given.
    async fn approve(&self, actor: &Actor, package: &Package, version: &str) {
        let wanted = self
            .registry
            .request_approval(
                actor,
                "publish-exception",
                &purl(package, version),
                Some(&package.sha256()),
            )
            .await
            .unwrap();
        self.consent(&wanted).await;
    }

    async fn level(&self) -> TrustLevel {
        let known = self.registry.project_provenance(PYPI, "sample").await;
        known.unwrap().level
    }
}

on_both_databases! {
    async fn a_stolen_token_publishes_nothing_below_the_level_wherever_it_tries(test: TestRegistry) {
        let stage = attested(&test).await;
        let (registry, thief) = (&test.registry, &stage.sample.ada);
        for (what, package) in [
            ("a new release", wheel("sample", "1.1")),
            ("another file of a release that has provenance", Wheel::new("sample", "1.0").tag("py3-none-manylinux_2_28_x86_64").build()),
            ("a file of a release that never had it", Wheel::new("sample", "0.1").tag("py3-none-manylinux_2_28_x86_64").build()),
            ("the name spelled otherwise", Wheel::new("Sample", "1.2").build()),
            ("a pre-release", wheel("sample", "2.0rc1")),
        ] {
            let error = test.publish(thief, &package).await.expect_err(what);
            assert_eq!(error.code, "trust-lost", "{what}: {error:?}");
        }
        // A yanked release, a deprecated project.
        registry.yank(thief, PYPI, "sample", "1.0", "bad").await.unwrap();
        refused(test.publish(thief, &Wheel::new("sample", "1.0").tag("py3-none-manylinux_2_28_x86_64").build()).await, "trust-lost");
        registry.set_status(&Actor::operator(), PYPI, "sample", ProjectStatus::Deprecated, None).await.unwrap();
        refused(test.publish(thief, &wheel("sample", "1.1")).await, "trust-lost");
        registry.set_status(&Actor::operator(), PYPI, "sample", ProjectStatus::Active, None).await.unwrap();
        // Attestations of a source of the thief's own, which a token that manages can name.
        let theirs = claims::github("mallory/sample", "release.yml").set("repository_id", "666").set("repository_owner_id", "667");
        let named = NewIdentity { issuer: stage.sample.issuer.url(), repository: stage.repository("mallory/sample"), workflow: None };
        registry.trust_identity(thief, PYPI, "sample", named).await.unwrap();
        let package = wheel("sample", "1.3");
        refused(upload(&test, thief, &package, &stage.both(&theirs, &package)).await, "source-changed");
        // What is here already is repeated, and lowers nothing.
        assert!(test.publish(thief, &wheel("sample", "1.0")).await.unwrap().repeated);
        assert_eq!(test.level().await, TrustLevel::Provenance);
        // Neither does another owner, nor a project that was given away, start anew.
        let bob = test.user("bob").await;
        registry.set_role(thief, PYPI, "sample", "bob", Some(Role::Owner)).await.unwrap();
        refused(test.publish(&bob, &wheel("sample", "1.1")).await, "trust-lost");
        // A token of a narrower kind, a new token: the same.
        let narrow = test.token("ada", Action::Publish, Some("sample")).await;
        refused(test.publish(&narrow, &wheel("sample", "1.1")).await, "trust-lost");
        test.check().await;
    }

    async fn a_project_that_was_deleted_and_comes_back_is_remembered(test: TestRegistry) {
        let stage = attested(&test).await;
        let (registry, ada) = (&test.registry, &stage.sample.ada);
        let wanted = registry.request_approval(ada, "delete-project", "pkg:pypi/sample", None).await.unwrap();
        test.consent(&wanted).await;
        registry.delete(ada, PYPI, "sample", Deletion::Project).await.unwrap();
        refused(test.publish(ada, &wheel("sample", "2.0")).await, "trust-lost");
        // Nor does somebody else take the name, by hand or by a publisher that waits for it.
        let mallory = test.user("mallory").await;
        refused(test.publish(&mallory, &wheel("sample", "2.0")).await, "role-missing");
        let pending = NewPublisher { pending: true, ..github(&stage.sample.name, "sample", &[("owner", "mallory")]) };
        assert!(registry.add_publisher(&mallory, pending).await.is_err());
        test.check().await;
    }

    async fn a_workflow_of_another_repository_reaches_no_project_but_its_own(test: TestRegistry) {
        let stage = attested(&test).await;
        let mallory = test.user("mallory").await;
        test.publish(&mallory, &wheel("other", "0.1")).await.unwrap();
        test.registry.add_publisher(&mallory, github(&stage.sample.name, "other", &[("owner", "mallory"), ("repository", "other")])).await.unwrap();
        let job = claims::github("mallory/other", "release.yml").set("repository_id", "666").set("repository_owner_id", "667");
        let theirs = robot(&test, &stage, &job).await;
        let package = wheel("sample", "1.1");
        refused(upload(&test, &theirs, &package, &stage.both(&job, &package)).await, "publisher-not-here");
        refused(test.publish(&theirs, &package).await, "publisher-not-here");
        // Attestations of the right workflow, sent by the wrong one, and those of another file.
        refused(upload(&test, &theirs, &package, &stage.both(&release(), &package)).await, "publisher-not-here");
        let own = wheel("other", "0.2");
        refused(upload(&test, &theirs, &own, &stage.both(&release(), &own)).await, "attestation-identity-mismatch");
        test.check().await;
    }

    async fn a_publisher_of_another_repository_needs_a_move_and_a_move_is_for_once(test: TestRegistry) {
        let stage = attested(&test).await;
        let (registry, ada) = (&test.registry, &stage.sample.ada);
        let fork = github(&stage.sample.name, "sample", &[("repository", "fork")]);
        let first = registry.add_publisher(ada, fork.clone()).await.unwrap();
        let job = claims::github("octo/fork", "release.yml").set("repository_id", "74002");
        let package = wheel("sample", "1.1");
        let there = robot(&test, &stage, &job).await;
        refused(upload(&test, &there, &package, &stage.both(&job, &package)).await, "source-changed");
        test.give_passkey("ada").await;
        let session = test.session("ada", Level::Phishproof, true).await;
        registry.declare_move(&session, PYPI, "sample", moved(&stage, "octo/fork", None)).await.unwrap();
        upload(&test, &there, &package, &stage.both(&job, &package)).await.unwrap();
        let known = registry.project_provenance(PYPI, "sample").await.unwrap();
        assert_eq!((known.changes[0].kind, known.changes[0].uses, known.changes[0].state), (ChangeKind::Move, 1, "over"));
        // The new repository is deleted and made again by somebody: the declared move was not to theirs.
        registry.remove_publisher(ada, PYPI, "sample", &first.id).await.unwrap();
        registry.add_publisher(ada, fork).await.unwrap();
        let again = claims::github("octo/fork", "release.yml").set("repository_id", "74003").set("jti", "again");
        let package = wheel("sample", "1.2");
        let theirs = robot(&test, &stage, &again).await;
        refused(upload(&test, &theirs, &package, &stage.both(&again, &package)).await, "source-changed");
        test.check().await;
    }

    async fn one_owner_alone_gives_up_nothing_of_a_critical_project(test: TestRegistry) {
        let stage = attested(&test).await;
        let ada = &stage.sample.ada;
        // Elsewhere an approval of one file passes, and everybody can see it.
        let urgent = wheel("sample", "1.1");
        refused(test.publish(ada, &urgent).await, "trust-lost");
        test.approve(ada, &urgent, "1.1").await;
        let receipt = test.publish(ada, &urgent).await.unwrap();
        assert!(receipt.warnings.iter().any(|warning| warning.contains("approved")), "{:?}", receipt.warnings);
        let known = test.registry.project_provenance(PYPI, "sample").await.unwrap();
        assert_eq!((known.level, known.changes[0].kind), (TrustLevel::Provenance, ChangeKind::Loss));
        let logged = test.registry.events(Some((PYPI, "sample")), None, 50).await.unwrap();
        assert!(logged.iter().any(|event| event.kind == "policy-changed"), "the loss is not in the log");
        let told = test.registry.account_notices(&test.session("ada", Level::TwoFactor, true).await).await.unwrap();
        assert!(told.iter().any(|notice| notice.kind == "provenance-lost"), "{told:?}");
        // On a critical one it does not.
        test.give_passkey("ada").await;
        test.execute("UPDATE projects SET critical_at = 1").await;
        let next = wheel("sample", "1.2");
        test.approve(ada, &next, "1.2").await;
        refused(test.publish(ada, &next).await, "trust-lost");
        // Nor where the approval is needed for the owners' own policy as well.
        test.execute("UPDATE projects SET minimum_trust = 'provenance'").await;
        refused(test.publish(ada, &next).await, "trust-lost");
        test.check().await;
    }

    async fn an_exception_ends_with_the_role_of_who_opened_it_and_lasts_as_long_as_it_says(test: TestRegistry) {
        let stage = attested(&test).await;
        let (registry, ada) = (&test.registry, &stage.sample.ada);
        let bob = test.user("bob").await;
        registry.set_role(ada, PYPI, "sample", "bob", Some(Role::Owner)).await.unwrap();
        for user in ["ada", "bob"] {
            test.give_passkey(user).await;
        }
        let new = NewException { level: TrustLevel::Token, hours: 100, reason: "a test".to_owned() };
        let bobs = test.session("bob", Level::Phishproof, true).await;
        registry.open_exception(&bobs, PYPI, "sample", new.clone()).await.unwrap();
        test.publish(&bob, &wheel("sample", "1.1")).await.unwrap();
        registry.set_role(ada, PYPI, "sample", "bob", Some(Role::Maintainer)).await.unwrap();
        refused(test.publish(&bob, &wheel("sample", "1.2")).await, "trust-lost");
        refused(test.publish(ada, &wheel("sample", "1.2")).await, "trust-lost");
        // Confirmed early, it ends as early.
        registry.set_role(ada, PYPI, "sample", "bob", Some(Role::Owner)).await.unwrap();
        test.turn_clock(Duration::from_secs(4 * 86_400 + 3_600 * 5));
        test.execute("UPDATE projects SET critical_at = 1").await;
        let adas = test.session("ada", Level::Phishproof, true).await;
        let bobs = test.session("bob", Level::Phishproof, true).await;
        let opened = registry.open_exception(&adas, PYPI, "sample", new).await.unwrap();
        let confirmed = registry.confirm_change(&bobs, &opened.id).await.unwrap();
        assert_eq!(confirmed.ends.0 - confirmed.starts.0, 100 * 3_600 * 1_000_000);
        assert!(confirmed.starts.0 < opened.starts.0);
        test.check().await;
    }

    async fn what_is_attested_later_brings_its_source_along(test: TestRegistry) {
        let stage = stage(&test).await;
        let (registry, ada) = (&test.registry, &stage.sample.ada);
        let package = wheel("sample", "1.0");
        test.publish(ada, &package).await.unwrap();
        let named = |repository: &str| NewIdentity { issuer: stage.sample.issuer.url(), repository: stage.repository(repository), workflow: None };
        registry.trust_identity(ada, PYPI, "sample", named("octo/sample")).await.unwrap();
        registry.trust_identity(ada, PYPI, "sample", named("mallory/sample")).await.unwrap();
        assert!(upload(&test, ada, &package, &stage.both(&release(), &package)).await.unwrap().repeated);
        let known = registry.project_provenance(PYPI, "sample").await.unwrap();
        assert_eq!((known.level, known.source.unwrap().repository), (TrustLevel::Provenance, stage.repository("octo/sample")));
        let theirs = claims::github("mallory/sample", "release.yml").set("repository_id", "666").set("repository_owner_id", "667");
        let next = wheel("sample", "1.1");
        refused(upload(&test, ada, &next, &stage.both(&theirs, &next)).await, "source-changed");
        test.check().await;
    }

    async fn a_project_from_before_sources_were_remembered_is_held_to_its_newest_one(test: TestRegistry) {
        let stage = stage(&test).await;
        let (registry, ada) = (&test.registry, &stage.sample.ada);
        let own = robot(&test, &stage, &release()).await;
        test.publish(&own, &wheel("sample", "1.0")).await.unwrap();
        // As migration 0010 leaves it.
        test.execute("UPDATE projects SET source = NULL, source_at = NULL").await;
        registry.add_publisher(ada, github(&stage.sample.name, "sample", &[("repository", "fork")])).await.unwrap();
        let job = claims::github("octo/fork", "release.yml").set("repository_id", "74002");
        let there = robot(&test, &stage, &job).await;
        refused(test.publish(&there, &wheel("sample", "1.1")).await, "source-changed");
        test.publish(&own, &wheel("sample", "1.1")).await.unwrap();
        assert_eq!(registry.project_provenance(PYPI, "sample").await.unwrap().source.unwrap().repository, stage.repository("octo/sample"));
        test.check().await;
    }

    async fn a_service_account_is_a_source_like_a_repository(test: TestRegistry) {
        let stage = stage(&test).await;
        let (registry, ada) = (&test.registry, &stage.sample.ada);
        let (name, google) = issuer(&test, Provider::Google).await;
        let email = "release@project.iam.gserviceaccount.com";
        let new = NewPublisher {
            fields: [("email".to_owned(), email.to_owned())].into(),
            ..github(&name, "sample", &[])
        };
        registry.add_publisher(ada, new).await.unwrap();
        let account = minted(registry, &google, &claims::google(email)).await.unwrap().0;
        test.publish(&account, &wheel("sample", "1.0")).await.unwrap();
        let known = registry.project_provenance(PYPI, "sample").await.unwrap();
        assert_eq!(known.source.unwrap().repository, format!("mailto:{email}"));
        let own = robot(&test, &stage, &release()).await;
        refused(test.publish(&own, &wheel("sample", "1.1")).await, "source-changed");
        // It moves to the repository, and back.
        test.give_passkey("ada").await;
        let session = test.session("ada", Level::Phishproof, true).await;
        registry.declare_move(&session, PYPI, "sample", moved(&stage, "octo/sample", None)).await.unwrap();
        test.publish(&own, &wheel("sample", "1.1")).await.unwrap();
        refused(test.publish(&account, &wheel("sample", "1.2")).await, "source-changed");
        let mut back = moved(&stage, "", None);
        back.to.issuer = google.url();
        back.to.repository = format!("mailto:{email}");
        registry.declare_move(&session, PYPI, "sample", back).await.unwrap();
        test.publish(&account, &wheel("sample", "1.2")).await.unwrap();
        test.check().await;
    }

    async fn where_the_operator_only_warns_a_declared_move_is_no_loss(database: Database) {
        let test = TestRegistry::with(database, |settings| settings.provenance_loss = LossRule::Warn).await;
        let stage = attested(&test).await;
        let (registry, ada) = (&test.registry, &stage.sample.ada);
        registry.add_publisher(ada, github(&stage.sample.name, "sample", &[("repository", "fork")])).await.unwrap();
        test.give_passkey("ada").await;
        let session = test.session("ada", Level::Phishproof, true).await;
        registry.declare_move(&session, PYPI, "sample", moved(&stage, "octo/fork", None)).await.unwrap();
        let job = claims::github("octo/fork", "release.yml").set("repository_id", "74002");
        let there = robot(&test, &stage, &job).await;
        let package = wheel("sample", "1.1");
        let receipt = upload(&test, &there, &package, &stage.both(&job, &package)).await.unwrap();
        assert_eq!(receipt.warnings, Vec::<String>::new());
        let known = registry.project_provenance(PYPI, "sample").await.unwrap();
        assert_eq!(known.source.unwrap().repository, stage.repository("octo/fork"));
        assert!(known.changes.iter().all(|change| change.kind != ChangeKind::Loss), "{:?}", known.changes);
        test.check().await;
    }

    async fn of_a_weak_and_a_strong_publication_at_once_the_memory_keeps_the_strong_one(test: TestRegistry) {
        let stage = stage(&test).await;
        let robot = robot(&test, &stage, &release()).await;
        let (strong, weak) = (wheel("sample", "1.0"), wheel("sample", "1.1"));
        let sent = stage.both(&release(), &strong);
        let (first, second) = tokio::join!(upload(&test, &robot, &strong, &sent), test.publish(&stage.sample.ada, &weak));
        first.unwrap();
        if let Err(error) = second {
            assert_eq!(error.code, "trust-lost");
        }
        assert_eq!(test.level().await, TrustLevel::Provenance);
        refused(test.publish(&stage.sample.ada, &wheel("sample", "1.2")).await, "trust-lost");
        test.check().await;
    }

    async fn provenance_that_says_little_is_no_level_two(test: TestRegistry) {
        let stage = stage(&test).await;
        let robot = robot(&test, &stage, &release()).await;
        let identity = stage.identity(&release());
        let package = wheel("sample", "1.0");
        let little = statements::about(&package.filename, &package.bytes, "https://slsa.dev/provenance/v1", json!({
            "buildDefinition": {"buildType": "https://example.org/build", "externalParameters": {}},
            "runDetails": {"builder": {"id": identity.extension(9)}},
        }));
        upload(&test, &robot, &package, &[stage.sigstore.sign_attestation(&identity, &little)]).await.unwrap();
        let known = test.registry.file_provenance(&purl(&package, "1.0")).await.unwrap();
        let levels: Vec<_> = known.attestations.iter().filter_map(|one| one.shown.slsa_level).collect();
        assert_eq!(levels, [1]);
        test.check().await;
    }

    async fn the_identical_retry_gets_its_receipt_whatever_is_demanded_since(test: TestRegistry) {
        let stage = stage(&test).await;
        let ada = &stage.sample.ada;
        let package = wheel("sample", "1.0");
        let receipt = test.publish(ada, &package).await.unwrap();
        test.execute("UPDATE projects SET minimum_trust = 'provenance'").await;
        assert_eq!(test.publish(ada, &package).await.unwrap().leaf, receipt.leaf);
        refused(test.publish(ada, &wheel("sample", "1.1")).await, "trust-too-low");
        // With something beside it, it is no mere retry.
        let mallory = test.user("mallory").await;
        refused(test.publish(&mallory, &package).await, "role-missing");
        test.check().await;
    }
}
