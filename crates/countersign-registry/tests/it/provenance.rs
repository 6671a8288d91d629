//! Build provenance: attestations of a private Sigstore, verified at upload, kept, served, never silently lost.

use std::time::Duration;

use countersign_formats::Ecosystem;
use countersign_registry::model::{
    Action, Actor, ChangeKind, Level, Maker, Receipt, Role, SourceTuple, TrustLevel, Verdict,
};
use countersign_registry::oidc::Provider;
use countersign_registry::{Error, LossRule, NewException, NewIdentity, NewMove, PolicyChange};
use countersign_testkit::claims::{self, Claims};
use countersign_testkit::packages::Package;
use countersign_testkit::sigstore::{Fault, Identity, Logged, PrivateSigstore, statements};
use countersign_trust::digest::Sha256;
use countersign_trust::sigstore as trust;
use serde_json::{Value, json};

use crate::kit::{TestRegistry, refused};
use crate::on_both_databases;
use crate::trusted::{Sample, github, minted, release, sample, wheel};

const PYPI: Ecosystem = Ecosystem::Pypi;

/// A project with a trusted publisher, and a Sigstore that the registry trusts.
pub struct Stage {
    pub sample: Sample,
    pub sigstore: PrivateSigstore,
}

pub async fn stage(test: &TestRegistry) -> Stage {
    let sigstore = PrivateSigstore::new("core");
    test.registry
        .add_trust_root(&Actor::operator(), "ours", &sigstore.trusted_root_json())
        .await
        .unwrap();
    Stage {
        sample: sample(test, &[]).await,
        sigstore,
    }
}

impl Stage {
    /// Who the certificate of a job names: as its token.
    pub fn identity(&self, job: &Claims) -> Identity {
        let url = self.sample.issuer.url();
        let host = url.rsplit_once('/').unwrap().0.to_owned();
        Identity::github(&url, &host, job)
    }

    pub fn repository(&self, name: &str) -> String {
        let url = self.sample.issuer.url();
        format!("{}/{name}", url.rsplit_once('/').unwrap().0)
    }

    /// A publish attestation and SLSA provenance of that job.
    pub fn both(&self, job: &Claims, package: &Package) -> Vec<Value> {
        let identity = self.identity(job);
        let statements = [
            statements::pypi_publish(&package.filename, &package.bytes),
            statements::slsa_v1(&package.filename, &package.bytes, &identity),
        ];
        statements
            .iter()
            .map(|statement| self.sigstore.sign_attestation(&identity, statement))
            .collect()
    }
}

pub async fn upload(
    test: &TestRegistry,
    actor: &Actor,
    package: &Package,
    attestations: &[Value],
) -> Result<Receipt, Error> {
    let mut form = package.form();
    form.push(("attestations", Value::from(attestations).to_string()));
    test.publish_with(actor, package, form).await
}

pub async fn robot(test: &TestRegistry, stage: &Stage, job: &Claims) -> Actor {
    minted(&test.registry, &stage.sample.issuer, job)
        .await
        .unwrap()
        .0
}

pub fn purl(package: &Package, version: &str) -> String {
    format!("pkg:pypi/sample@{version}?file_name={}", package.filename)
}

fn verified_text(bundle: &trust::Bundle) -> String {
    String::from_utf8(bundle.payload().unwrap().to_vec()).unwrap()
}

/// A project that reached provenance from `octo/sample`.
pub async fn attested(test: &TestRegistry) -> Stage {
    let stage = stage(test).await;
    let robot = robot(test, &stage, &release()).await;
    let package = wheel("sample", "1.0");
    let sent = stage.both(&release(), &package);
    upload(test, &robot, &package, &sent).await.unwrap();
    stage
}

on_both_databases! {
    async fn an_upload_with_attestations_is_verified_logged_kept_and_served(test: TestRegistry) {
        let stage = stage(&test).await;
        let robot = robot(&test, &stage, &release()).await;
        let package = wheel("sample", "1.0");
        let sent = stage.both(&release(), &package);
        let receipt = upload(&test, &robot, &package, &sent).await.unwrap();
        test.check_receipt(&receipt, &package);

        // The leaf names both, by the SHA-256 of the very bytes that were sent.
        let leaf = test.registry.events(Some((PYPI, "sample")), None, 50).await.unwrap()
            .into_iter().find(|event| event.leaf == receipt.leaf).unwrap();
        for one in &sent {
            let digest = Sha256::of(one.to_string().as_bytes());
            assert!(leaf.text.contains(&format!("attestation sha256:{digest}\n")), "{}", leaf.text);
        }
        let known = test.registry.file_provenance(&purl(&package, "1.0")).await.unwrap();
        assert_eq!(known.level, Some(TrustLevel::Provenance));
        assert_eq!(known.source.as_ref().unwrap().repository, stage.repository("octo/sample"));
        assert_eq!(known.source.as_ref().unwrap().repository_id.as_deref(), Some("74001"));
        let theirs: Vec<_> = known.attestations.iter().filter(|one| one.maker == Maker::Uploader).collect();
        assert_eq!(theirs.len(), 2);
        let texts: Vec<String> = sent.iter().map(ToString::to_string).collect();
        for one in &theirs {
            assert_eq!(one.verdict, Verdict::Confirmed);
            assert!(texts.contains(&one.body), "not the bytes that were sent");
            assert_eq!(one.claims["source-repository-identifier"], "74001");
            assert_eq!(one.shown.commit.as_deref(), Some("7b1fd5d2f37f4e5fa65a7b5d1c6d2e1f0a9b8c7d"));
            assert_eq!(one.shown.build_file.as_deref(), Some(".github/workflows/release.yml"));
            assert_eq!(one.root_digest.as_deref(), Some(Sha256::of(stage.sigstore.trusted_root_json().as_bytes()).to_string().as_str()));
        }
        let slsa = theirs.iter().find(|one| one.predicate_type == "https://slsa.dev/provenance/v1").unwrap();
        assert_eq!(slsa.shown.slsa_level, Some(2));
        let remembered = test.registry.project_provenance(PYPI, "sample").await.unwrap();
        assert_eq!(remembered.level, TrustLevel::Provenance);

        // What Python clients fetch, and where the index says it is.
        let document = test.registry.integrity_document("sample", "1.0", &package.filename).await.unwrap();
        let parsed = trust::Provenance::parse(&document.bytes, &trust::Limits::default()).unwrap();
        assert_eq!(parsed.bundles.len(), 1);
        // The test's issuer is not the public service: its publisher is named in full.
        assert_eq!(parsed.bundles[0].publisher["kind"], "GitHub Actions");
        assert_eq!(parsed.bundles[0].attestations.len(), 2);
        let index = test.index("sample").await.unwrap();
        let url = format!("http://localhost:8417/pypi/integrity/sample/1.0/{}/provenance", package.filename);
        assert!(index.contains(&url), "{index}");
        assert_eq!(index.matches("/provenance\"").count(), 1, "the file without attestations has a link: {index}");
        let by_digest = test.registry.provenance_by_digest(&[package.sha256().parse().unwrap()]).await.unwrap();
        assert_eq!(by_digest.len(), 1);

        // The identical retry is the same, with and without them; others of the same kind are not taken.
        assert_eq!(upload(&test, &robot, &package, &sent).await.unwrap().leaf, receipt.leaf);
        assert_eq!(test.publish(&robot, &package).await.unwrap().leaf, receipt.leaf);
        let anew = stage.sigstore.signing(&stage.identity(&release())).at(test.registry_now() - 60)
            .attestation(&statements::pypi_publish(&package.filename, &package.bytes));
        let error = refused(upload(&test, &robot, &package, &[anew]).await, "attestation-exists");
        assert!(error.message.starts_with("File already exists"), "{error}");
        test.check().await;
    }

    async fn the_registry_attests_every_file_with_a_key_of_its_own(test: TestRegistry) {
        let stage = attested(&test).await;
        let keys: Vec<_> = test.registry.attestation_keys().await.unwrap();
        assert_eq!(keys.len(), 1);
        let key = |hint: &str, pem: &str| trust::TrustedKey {
            hint: hint.to_owned(),
            spki: {
                use base64::Engine as _;
                let body: String = pem.lines().filter(|line| !line.starts_with('-')).collect();
                base64::engine::general_purpose::STANDARD.decode(body).unwrap()
            },
            until: None,
            logged: false,
        };
        let demands = trust::Demands {
            keys: trust::TrustedKeys::new(vec![key(&keys[0].hint, &keys[0].pem)]).unwrap(),
            ..trust::Demands::default()
        };
        let nobody = trust::TrustRoot::merge([]);
        let plain = wheel("sample", "0.1");
        let full = wheel("sample", "1.0");
        for (package, version, wanted) in [(&plain, "0.1", 1), (&full, "1.0", 2)] {
            let known = test.registry.file_provenance(&purl(package, version)).await.unwrap();
            let ours: Vec<_> = known.attestations.iter().filter(|one| one.maker == Maker::Registry).collect();
            assert_eq!(ours.len(), wanted, "{version}");
            for one in ours {
                let bundle = trust::Bundle::parse(one.body.as_bytes(), &trust::Limits::default()).unwrap();
                let subject = trust::Subject {
                    name: trust::NameRule::Exact(&package.filename),
                    digests: vec![("sha256".to_owned(), package.sha256())],
                };
                let verified = trust::verify(&bundle, &subject, &nobody, &demands).unwrap();
                match verified.statement.unwrap().predicate {
                    trust::Predicate::Release { purl, package_id } => {
                        assert_eq!(purl.unwrap(), format!("pkg:pypi/sample@{version}"));
                        assert!(package_id.is_some());
                    }
                    trust::Predicate::Vsa { verifier, passed, levels, resource, .. } => {
                        assert_eq!(verifier, "http://localhost:8417");
                        assert!(passed);
                        assert_eq!(levels, ["SLSA_BUILD_LEVEL_2", "COUNTERSIGN_PROVENANCE"]);
                        assert!(resource.ends_with(&package.filename), "{resource}");
                        let policy = Sha256::of(test.registry.provenance_policy().as_bytes()).to_string();
                        assert!(verified_text(&bundle).contains(&format!("\"policy\":{{\"digest\":{{\"sha256\":\"{policy}\"}}")));
                    }
                    other => panic!("{other:?}"),
                }
            }
        }
        // Another key signs from now on.
        let made = test.registry.rotate_attestation_key(&Actor::operator()).await.unwrap();
        let keys = test.registry.attestation_keys().await.unwrap();
        assert_eq!((keys.len(), &keys[0].hint), (2, &made.hint));
        assert!(keys[1].until.is_some());
        let robot = robot(&test, &stage, &release()).await;
        let next = wheel("sample", "1.1");
        upload(&test, &robot, &next, &stage.both(&release(), &next)).await.unwrap();
        let known = test.registry.file_provenance(&purl(&next, "1.1")).await.unwrap();
        let ours = known.attestations.iter().find(|one| one.maker == Maker::Registry).unwrap();
        assert!(ours.body.contains(&made.hint), "{}", ours.body);
        test.check().await;
    }

    async fn every_bad_attestation_names_the_step_that_failed_and_nothing_is_published(test: TestRegistry) {
        let stage = stage(&test).await;
        let robot = robot(&test, &stage, &release()).await;
        let package = wheel("sample", "1.0");
        let (name, bytes) = (package.filename.as_str(), package.bytes.as_slice());
        let identity = stage.identity(&release());
        let statement = statements::pypi_publish(name, bytes);
        let faulty = |fault: Fault| stage.sigstore.signing(&identity).fault(fault).attestation(&statement);
        let by = |identity: &Identity| stage.sigstore.sign_attestation(identity, &statement);
        let says = |statement: &Value| stage.sigstore.sign_attestation(&identity, statement);
        let other_repository = stage.identity(&claims::github("octo/other", "release.yml").set("repository_id", "74002"));
        let other_workflow = stage.identity(&claims::github("octo/sample", "other.yml"));
        let other_run = stage.identity(&release().set("run_id", "999"));
        let made_again = stage.identity(&release().set("repository_id", "99999"));
        let slsa_of_another = statements::slsa_v1(name, bytes, &other_repository);
        let good = by(&identity);
        let table: Vec<(&str, Vec<Value>, &str)> = vec![
            ("an expired certificate", vec![faulty(Fault::ExpiredCertificate)], "attestation-certificate-refused"),
            ("a certificate that is not yet valid", vec![faulty(Fault::NotYetValidCertificate)], "attestation-certificate-refused"),
            ("a foreign authority", vec![faulty(Fault::ForeignAuthority)], "attestation-certificate-refused"),
            ("no promise of a certificate log", vec![faulty(Fault::NoSct)], "attestation-sct-invalid"),
            ("a changed statement", vec![faulty(Fault::ChangedStatement)], ""),
            ("a foreign signature", vec![faulty(Fault::ForeignSignature)], ""),
            ("another file's name", vec![says(&statements::pypi_publish("sample-2.0-py3-none-any.whl", bytes))], "attestation-subject-mismatch"),
            ("another distribution", vec![says(&statements::pypi_publish("samples-1.0-py3-none-any.whl", bytes))], "attestation-subject-mismatch"),
            ("other bytes", vec![says(&statements::pypi_publish(name, b"other"))], "attestation-subject-mismatch"),
            ("another repository", vec![by(&other_repository)], "attestation-identity-mismatch"),
            ("another workflow", vec![by(&other_workflow)], "attestation-identity-mismatch"),
            ("another run", vec![by(&other_run)], "attestation-identity-mismatch"),
            ("a repository made again", vec![by(&made_again)], "attestation-identity-mismatch"),
            ("another issuer", vec![by(&identity.clone().issued_by("https://other.example"))], "attestation-identity-mismatch"),
            ("provenance of another build", vec![says(&slsa_of_another)], "attestation-contradicts-certificate"),
            ("two of one type", vec![good.clone(), stage.sigstore.signing(&identity).at(test.registry_now() - 30).attestation(&statement)], "attestation-duplicate"),
            ("the same twice", vec![good.clone(), good.clone()], "attestation-duplicate"),
            ("three", vec![good.clone(), good.clone(), good.clone()], "attestation-malformed"),
            ("what only registries make", vec![says(&statements::about(name, bytes, "https://in-toto.io/attestation/release/v0.2", json!({"purl": "pkg:pypi/sample@1.0"})))], "attestation-predicate-refused"),
            ("another version of the form", vec![json!({"version": 2})], "attestation-malformed"),
        ];
        for (what, sent, code) in table {
            let error = upload(&test, &robot, &package, &sent).await.expect_err(what);
            assert!(error.code.starts_with("attestation"), "{what}: {error:?}");
            assert!(code.is_empty() || error.code == code, "{what}: {error:?}");
            assert!(error.message.starts_with("Invalid attestations supplied during upload"), "{what}: {error}");
            assert!(error.remedy.is_some(), "{what}");
            refused(test.registry.file_provenance(&purl(&package, "1.0")).await, "file-unknown");
        }
        let mut form = package.form();
        form.push(("attestations", "[{\"version\":1,\"version\":1}]".to_owned()));
        refused(test.publish_with(&robot, &package, form).await, "attestation-malformed");
        // The good one is good.
        upload(&test, &robot, &package, &[good]).await.unwrap();
        test.check().await;
    }

    async fn a_type_that_is_not_known_is_kept_and_never_called_confirmed(test: TestRegistry) {
        let stage = stage(&test).await;
        let robot = robot(&test, &stage, &release()).await;
        let package = wheel("sample", "1.0");
        let odd = statements::about(&package.filename, &package.bytes, "https://example.org/odd/v1", json!({"x": 1}));
        let sent = stage.sigstore.signing(&stage.identity(&release())).attestation(&odd);
        upload(&test, &robot, &package, &[sent]).await.unwrap();
        // Clients of the index refuse whole documents for a type that they do not know.
        refused(test.registry.integrity_document("sample", "1.0", &package.filename).await, "provenance-none");
        assert!(!test.index("sample").await.unwrap().contains("/provenance\""));
        let known = test.registry.file_provenance(&purl(&package, "1.0")).await.unwrap();
        assert_eq!(known.level, Some(TrustLevel::Workflow));
        assert_eq!(known.attestations[0].verdict, Verdict::Kept);
        assert_eq!(test.registry.project_provenance(PYPI, "sample").await.unwrap().level, TrustLevel::Workflow);
        test.check().await;
    }

    async fn provenance_is_not_lost_unless_an_owner_opened_an_exception_before(test: TestRegistry) {
        let stage = attested(&test).await;
        let robot = robot(&test, &stage, &release()).await;
        let bare = wheel("sample", "1.1");
        let error = refused(test.publish(&robot, &bare).await, "trust-lost");
        assert!(error.message.contains("provenance") && error.message.contains("workflow"), "{error}");
        refused(test.publish(&stage.sample.ada, &bare).await, "trust-lost");
        let new = |level| NewException { level, hours: 4, reason: "the signer is down".to_owned() };
        // No token opens one, nor a session that is not fresh or not by a passkey.
        let ask = async |actor: &Actor, level| test.registry.open_exception(actor, PYPI, "sample", new(level)).await;
        refused(ask(&stage.sample.ada, TrustLevel::Workflow).await, "session-needed");
        test.give_passkey("ada").await;
        let stale = test.session("ada", Level::Phishproof, false).await;
        refused(ask(&stale, TrustLevel::Workflow).await, "step-up-needed");
        let weak = test.session("ada", Level::TwoFactor, true).await;
        refused(ask(&weak, TrustLevel::Workflow).await, "passkey-needed");
        let ada = test.session("ada", Level::Phishproof, true).await;
        refused(ask(&ada, TrustLevel::Provenance).await, "change-invalid");
        let opened = ask(&ada, TrustLevel::Workflow).await.unwrap();
        assert_eq!(opened.state, "open");
        refused(ask(&ada, TrustLevel::Workflow).await, "change-exists");
        test.publish(&robot, &bare).await.unwrap();
        // It reaches no lower than it says, and does not lower what is remembered.
        refused(test.publish(&stage.sample.ada, &wheel("sample", "1.2")).await, "trust-lost");
        let known = test.registry.project_provenance(PYPI, "sample").await.unwrap();
        assert_eq!((known.level, known.changes[0].uses), (TrustLevel::Provenance, 1));
        test.registry.close_change(&ada, &opened.id).await.unwrap();
        refused(test.publish(&robot, &wheel("sample", "1.3")).await, "trust-lost");
        refused(test.registry.close_change(&ada, &opened.id).await, "change-unknown");
        // One that was opened for hours is over after them.
        ask(&ada, TrustLevel::Token).await.unwrap();
        test.publish(&stage.sample.ada, &wheel("sample", "1.4")).await.unwrap();
        test.turn_clock(Duration::from_secs(5 * 3_600));
        refused(test.publish(&stage.sample.ada, &wheel("sample", "1.5")).await, "trust-lost");
        // Opened and closed are in the log.
        let kinds = test.registry.events(Some((PYPI, "sample")), None, 50).await.unwrap();
        assert!(kinds.iter().filter(|event| event.kind == "policy-changed").count() >= 3);
        test.check().await;
    }

    async fn another_source_is_refused_unless_the_move_was_declared(test: TestRegistry) {
        let stage = attested(&test).await;
        let elsewhere = claims::github("octo/fork", "release.yml").set("repository_id", "74002");
        test.registry.add_publisher(&stage.sample.ada, github(&stage.sample.name, "sample", &[("repository", "fork")])).await.unwrap();
        let robot_there = robot(&test, &stage, &elsewhere).await;
        let package = wheel("sample", "1.1");
        let sent = stage.both(&elsewhere, &package);
        let error = refused(upload(&test, &robot_there, &package, &sent).await, "source-changed");
        assert!(error.message.contains("octo/sample") && error.message.contains("octo/fork"), "{error}");
        assert!(error.differences.iter().any(|row| row.claim == "repository_id" && !row.matched), "{error:?}");
        test.give_passkey("ada").await;
        let ada = test.session("ada", Level::Phishproof, true).await;
        let declare = NewMove {
            to: SourceTuple {
                issuer: stage.sample.issuer.url(),
                repository: stage.repository("octo/fork"),
                repository_id: Some("74002".to_owned()),
                owner_id: None,
            },
            hours: 24,
            reason: "the project moved".to_owned(),
        };
        test.turn_clock(Duration::from_secs(1));
        test.registry.declare_move(&ada, PYPI, "sample", declare).await.unwrap();
        upload(&test, &robot_there, &package, &sent).await.unwrap();
        let standing = test.registry.release_standing(PYPI, "sample", "1.1").await.unwrap();
        let (from, to) = standing.moved.unwrap();
        assert_eq!((from.repository, to.repository), (stage.repository("octo/sample"), stage.repository("octo/fork")));
        assert_eq!((standing.lost, standing.reason.as_deref()), (None, Some("the project moved")));
        let before = test.registry.release_standing(PYPI, "sample", "1.0").await.unwrap();
        assert_eq!((before.moved, before.lost), (None, None));
        let known = test.registry.project_provenance(PYPI, "sample").await.unwrap();
        assert_eq!(known.source.unwrap().repository, stage.repository("octo/fork"));
        // From now on the old one is elsewhere.
        let old = robot(&test, &stage, &release().set("jti", "old")).await;
        let next = wheel("sample", "1.2");
        refused(upload(&test, &old, &next, &stage.both(&release(), &next)).await, "source-changed");
        test.check().await;
    }

    async fn a_renamed_repository_with_the_same_ids_goes_on_and_is_shown(test: TestRegistry) {
        let stage = attested(&test).await;
        let renamed = claims::github("octo/renamed", "release.yml");
        test.registry.add_publisher(&stage.sample.ada, github(&stage.sample.name, "sample", &[("repository", "renamed")])).await.unwrap();
        let robot = robot(&test, &stage, &renamed).await;
        let package = wheel("sample", "1.1");
        upload(&test, &robot, &package, &stage.both(&renamed, &package)).await.unwrap();
        let known = test.registry.project_provenance(PYPI, "sample").await.unwrap();
        assert_eq!(known.source.unwrap().repository, stage.repository("octo/renamed"));
        assert_eq!(known.changes[0].kind, ChangeKind::Rename);
        assert_eq!(known.changes[0].by, "registry");
        test.check().await;
    }

    async fn where_the_operator_only_warns_a_loss_passes_and_is_told_and_shown(database: Database) {
        let test = TestRegistry::with(database, |settings| settings.provenance_loss = LossRule::Warn).await;
        let stage = attested(&test).await;
        let receipt = test.publish(&stage.sample.ada, &wheel("sample", "1.1")).await.unwrap();
        assert!(receipt.warnings.iter().any(|warning| warning.contains("provenance")), "{:?}", receipt.warnings);
        let known = test.registry.project_provenance(PYPI, "sample").await.unwrap();
        assert_eq!((known.level, known.changes[0].kind), (TrustLevel::Provenance, ChangeKind::Loss));
        let told = test.registry.account_notices(&test.session("ada", Level::TwoFactor, true).await).await.unwrap();
        assert!(told.iter().any(|notice| notice.kind == "provenance-lost"), "{told:?}");
        test.check().await;
    }

    async fn on_a_critical_project_an_exception_takes_a_second_owner_or_three_days(test: TestRegistry) {
        let stage = attested(&test).await;
        let bob = test.user("bob").await;
        test.registry.set_role(&stage.sample.ada, PYPI, "sample", "bob", Some(Role::Owner)).await.unwrap();
        for user in ["ada", "bob"] {
            test.give_passkey(user).await;
        }
        test.turn_clock(Duration::from_secs(4 * 86_400));
        let mut connection = test.connection().await;
        sqlx::query("UPDATE projects SET critical_at = 1").execute(&mut connection).await.unwrap();
        sqlx::Connection::close(connection).await.unwrap();
        let ada = test.session("ada", Level::Phishproof, true).await;
        let second = test.session("bob", Level::Phishproof, true).await;
        let new = NewException { level: TrustLevel::Token, hours: 4, reason: "a test".to_owned() };
        let opened = test.registry.open_exception(&ada, PYPI, "sample", new).await.unwrap();
        assert_eq!(opened.state, "waiting");
        refused(test.publish(&bob, &wheel("sample", "1.1")).await, "trust-lost");
        refused(test.registry.confirm_change(&ada, &opened.id).await, "second-person-needed");
        let confirmed = test.registry.confirm_change(&second, &opened.id).await.unwrap();
        assert_eq!((confirmed.state, confirmed.confirmed_by.as_deref()), ("open", Some("bob")));
        test.publish(&bob, &wheel("sample", "1.1")).await.unwrap();
        test.check().await;
    }

    async fn attestations_with_an_api_token_are_taken_of_named_identities_alone(test: TestRegistry) {
        let stage = stage(&test).await;
        let package = wheel("sample", "1.0");
        let sent = stage.both(&release(), &package);
        let ada = &stage.sample.ada;
        refused(upload(&test, ada, &package, &sent).await, "attestations-not-taken");
        let named = |repository: &str, workflow: Option<&str>| NewIdentity {
            issuer: stage.sample.issuer.url(),
            repository: stage.repository(repository),
            workflow: workflow.map(str::to_owned),
        };
        let registry = &test.registry;
        registry.trust_identity(ada, PYPI, "sample", named("octo/other", None)).await.unwrap();
        refused(upload(&test, ada, &package, &sent).await, "attestation-identity-mismatch");
        let right = registry.trust_identity(ada, PYPI, "sample", named("octo/sample", Some(".github/workflows/release.yml"))).await.unwrap();
        upload(&test, ada, &package, &sent).await.unwrap();
        let known = registry.file_provenance(&purl(&package, "1.0")).await.unwrap();
        assert_eq!(known.level, Some(TrustLevel::Provenance));
        registry.distrust_identity(ada, PYPI, "sample", &right.id).await.unwrap();
        let next = wheel("sample", "1.1");
        refused(upload(&test, ada, &next, &stage.both(&release(), &next)).await, "attestation-identity-mismatch");
        // Nobody else changes what the project trusts.
        let stranger = test.user("mallory").await;
        refused(registry.trust_identity(&stranger, PYPI, "sample", named("mallory/x", None)).await, "role-missing");
        test.check().await;
    }

    async fn attestations_are_added_later_by_the_same_source_while_the_release_is_open(test: TestRegistry) {
        let stage = stage(&test).await;
        let robot = robot(&test, &stage, &release()).await;
        let package = wheel("sample", "1.0");
        test.publish(&robot, &package).await.unwrap();
        let before = test.index("sample").await.unwrap();
        assert!(!before.contains("/provenance\""), "{before}");
        let sent = stage.both(&release(), &package);
        let purl = purl(&package, "1.0");
        let one = Value::from(vec![sent[0].clone()]).to_string();
        let added = test.registry.add_attestations(&robot, &purl, &one).await.unwrap();
        let leaf = added.leaf.unwrap();
        let event = test.registry.events(Some((PYPI, "sample")), None, 50).await.unwrap()
            .into_iter().find(|event| event.leaf == leaf).unwrap();
        assert_eq!(event.kind, "attestation-added");
        assert!(event.text.contains(&format!("attestation sha256:{}\n", added.digests[0])), "{}", event.text);
        assert!(test.index("sample").await.unwrap().contains("/provenance\""));
        // Again is nothing; by the upload form the rest comes too.
        assert_eq!(test.registry.add_attestations(&robot, &purl, &one).await.unwrap().leaf, None);
        assert!(upload(&test, &robot, &package, &sent).await.unwrap().repeated);
        let known = test.registry.file_provenance(&purl).await.unwrap();
        assert_eq!(known.attestations.iter().filter(|one| one.maker == Maker::Uploader).count(), 2);
        assert_eq!(known.level, Some(TrustLevel::Provenance));
        assert_eq!(test.registry.project_provenance(PYPI, "sample").await.unwrap().level, TrustLevel::Provenance);
        // A stranger adds nothing.
        let stranger = test.user("mallory").await;
        let refusal = test.registry.add_attestations(&stranger, &purl, &one).await.unwrap_err();
        assert!(["attestations-not-taken", "role-missing"].contains(&refusal.code.as_ref()), "{refusal:?}");
        test.check().await;
    }

    async fn provenance_can_be_demanded_as_the_least(test: TestRegistry) {
        let stage = stage(&test).await;
        let demand = PolicyChange { minimum_trust: Some(TrustLevel::Provenance), ..PolicyChange::default() };
        test.registry.set_project_policy(&stage.sample.ada, PYPI, "sample", demand).await.unwrap();
        let robot = robot(&test, &stage, &release()).await;
        let package = wheel("sample", "1.0");
        refused(test.publish(&robot, &package).await, "trust-too-low");
        upload(&test, &robot, &package, &stage.both(&release(), &package)).await.unwrap();
        test.check().await;
    }

    async fn an_attestation_whose_root_was_removed_stays_and_says_so(test: TestRegistry) {
        let stage = attested(&test).await;
        let roots = test.registry.trust_roots().await.unwrap();
        let names: Vec<_> = roots.iter().map(|root| (root.name.as_str(), root.attestations)).collect();
        assert_eq!(names, [("public-good", 0), ("github", 0), ("ours", 2)]);
        assert_eq!(test.registry.reverify_attestations().await.unwrap(), 0, "held before they were due");
        test.turn_clock(Duration::from_secs(25 * 3_600));
        assert_eq!(test.registry.reverify_attestations().await.unwrap(), 2);
        let problems = async || -> Vec<Option<String>> {
            let known = test.registry.file_provenance(&purl(&wheel("sample", "1.0"), "1.0")).await.unwrap();
            known.attestations.into_iter().filter(|one| one.maker == Maker::Uploader).map(|one| one.recheck_problem).collect()
        };
        assert_eq!(problems().await, [None, None]);
        refused(test.registry.remove_trust_root(&stage.sample.ada, "ours").await, "operator-needed");
        test.registry.remove_trust_root(&Actor::operator(), "ours").await.unwrap();
        refused(test.registry.remove_trust_root(&Actor::operator(), "ours").await, "trust-root-unknown");
        test.turn_clock(Duration::from_secs(25 * 3_600));
        assert_eq!(test.registry.reverify_attestations().await.unwrap(), 2);
        assert!(problems().await.iter().all(Option::is_some));
        let package = wheel("sample", "1.1");
        let named = NewIdentity {
            issuer: stage.sample.issuer.url(),
            repository: stage.repository("octo/sample"),
            workflow: None,
        };
        test.registry.trust_identity(&stage.sample.ada, PYPI, "sample", named).await.unwrap();
        let refusal = upload(&test, &stage.sample.ada, &package, &stage.both(&release(), &package)).await.unwrap_err();
        assert!(refusal.code.starts_with("attestation-"), "{refusal:?}");
        test.check().await;
    }

    async fn attestations_of_the_newer_log_are_taken_too(test: TestRegistry) {
        let stage = stage(&test).await;
        let robot = robot(&test, &stage, &release()).await;
        let package = wheel("sample", "1.0");
        let statement = statements::pypi_publish(&package.filename, &package.bytes);
        let sent = stage.sigstore.signing(&stage.identity(&release())).logged(Logged::V2).attestation(&statement);
        // The form has no place for a timestamp, unless the pending addition is used.
        if sent["verification_material"].get("timestamps").is_some() {
            upload(&test, &robot, &package, &[sent]).await.unwrap();
        } else {
            let refusal = upload(&test, &robot, &package, &[sent]).await.unwrap_err();
            assert_eq!(refusal.code, "attestation-time-unproven");
        }
        let _ = (Provider::Github, Action::Publish);
        test.check().await;
    }
}
