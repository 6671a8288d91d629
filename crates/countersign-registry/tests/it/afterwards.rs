//! What is looked at again after a file was published, and what the registry has still to say of it.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use countersign_formats::Ecosystem;
use countersign_registry::model::{Actor, Maker, SourceState};
use countersign_registry::{NewIdentity, Outside, OutsideAnswer, OutsideError, OutsideRequest};
use countersign_testkit::claims::{self, Claims};
use countersign_testkit::packages::Package;
use countersign_testkit::sigstore::{Identity, PrivateSigstore, statements};
use futures::future::BoxFuture;
use serde_json::Value;

use crate::kit::{Database, TestRegistry};
use crate::on_both_databases;
use crate::trusted::wheel;

const PYPI: Ecosystem = Ecosystem::Pypi;
const HOUR: Duration = Duration::from_secs(3_600);
const ISSUER: &str = "https://token.actions.githubusercontent.com";
const FORGE: &str = "https://github.com";

/// The forges, as a test says they answer. What it says nothing of can not be reached.
#[derive(Default)]
struct Forges {
    said: Mutex<Vec<(String, Result<(), OutsideError>)>>,
    asked: Mutex<Vec<String>>,
}

impl Forges {
    /// Addresses that begin so answer so from now on.
    fn say(&self, beginning: &str, answer: Result<(), OutsideError>) {
        let mut said = self.said.lock().unwrap();
        said.retain(|(other, _)| other != beginning);
        said.push((beginning.to_owned(), answer));
    }

    /// What was asked since the last time.
    fn asked(&self) -> Vec<String> {
        std::mem::take(&mut *self.asked.lock().unwrap())
    }
}

impl Outside for Forges {
    fn get<'a>(
        &'a self,
        request: OutsideRequest<'a>,
    ) -> BoxFuture<'a, Result<OutsideAnswer, OutsideError>> {
        self.asked.lock().unwrap().push(request.url.to_owned());
        let said = self.said.lock().unwrap();
        let answer = said
            .iter()
            .find(|(beginning, _)| request.url.starts_with(beginning.as_str()))
            .map_or_else(
                || Err(OutsideError::Unreachable("nobody is there".to_owned())),
                |(_, answer)| answer.clone(),
            )
            .map(|()| OutsideAnswer {
                body: b"a page".to_vec(),
                max_age: None,
            });
        Box::pin(async move { answer })
    }

    fn post<'a>(
        &'a self,
        request: OutsideRequest<'a>,
        _: &'a str,
    ) -> BoxFuture<'a, Result<OutsideAnswer, OutsideError>> {
        self.get(request)
    }
}

/// A registry whose way outside is the test's, with a project that takes attestations of jobs on the public forge.
struct Stage {
    test: TestRegistry,
    forges: Arc<Forges>,
    sigstore: PrivateSigstore,
    ada: Actor,
}

fn job() -> Claims {
    claims::github("octo/sample", "release.yml")
}

async fn stage(database: Database) -> Stage {
    let forges = Arc::new(Forges::default());
    let test = TestRegistry::with_outside(database, forges.clone(), |_| {}).await;
    let sigstore = PrivateSigstore::new("afterwards");
    let operator = Actor::operator();
    test.registry
        .add_trust_root(&operator, "ours", &sigstore.trusted_root_json())
        .await
        .unwrap();
    let ada = test.user("ada").await;
    test.publish(&ada, &wheel("sample", "0.1")).await.unwrap();
    let stage = Stage {
        test,
        forges,
        sigstore,
        ada,
    };
    stage.trust("octo/sample").await;
    stage
}

impl Stage {
    async fn trust(&self, repository: &str) {
        let named = NewIdentity {
            issuer: ISSUER.to_owned(),
            repository: format!("{FORGE}/{repository}"),
            workflow: None,
        };
        self.test
            .registry
            .trust_identity(&self.ada, PYPI, "sample", named)
            .await
            .unwrap();
    }

    /// Publishes a version with one attestation of that job on the public forge.
    async fn publish(&self, version: &str, job: &Claims) -> Package {
        self.publish_from(FORGE, version, job).await
    }

    async fn publish_from(&self, host: &str, version: &str, job: &Claims) -> Package {
        let package = wheel("sample", version);
        let identity = Identity::github(ISSUER, host, job);
        let statement = statements::pypi_publish(&package.filename, &package.bytes);
        let sent = self.sigstore.sign_attestation(&identity, &statement);
        let mut form = package.form();
        form.push(("attestations", Value::from(vec![sent]).to_string()));
        self.test
            .publish_with(&self.ada, &package, form)
            .await
            .unwrap();
        package
    }

    async fn state(&self, package: &Package, version: &str) -> Option<SourceState> {
        let purl = format!("pkg:pypi/sample@{version}?file_name={}", package.filename);
        let known = self.test.registry.file_provenance(&purl).await.unwrap();
        known
            .attestations
            .into_iter()
            .find(|one| one.maker == Maker::Uploader)
            .unwrap()
            .source_state
    }

    /// What the registry itself attested of a file: predicate types and bodies.
    async fn own_words(&self, package: &Package, version: &str) -> Vec<(String, String)> {
        let purl = format!("pkg:pypi/sample@{version}?file_name={}", package.filename);
        let known = self.test.registry.file_provenance(&purl).await.unwrap();
        known
            .attestations
            .into_iter()
            .filter(|one| one.maker == Maker::Registry)
            .map(|one| (one.predicate_type, one.body))
            .collect()
    }

    async fn look(&self) -> u64 {
        self.test.registry.recheck_sources().await.unwrap()
    }
}

on_both_databases! {
    async fn a_source_that_is_away_counts_as_gone_after_three_looks_over_three_days_and_comes_back(database: Database) {
        let stage = stage(database).await;
        let package = stage.publish("1.0", &job()).await;
        assert_eq!(stage.look().await, 0, "looked at before a day was over");
        stage.forges.say(FORGE, Ok(()));
        stage.test.turn_clock(25 * HOUR);
        assert_eq!(stage.look().await, 1);
        let commit = "7b1fd5d2f37f4e5fa65a7b5d1c6d2e1f0a9b8c7d";
        assert_eq!(stage.forges.asked(), [
            format!("{FORGE}/octo/sample/commit/{commit}"),
            format!("{FORGE}/octo/sample/blob/{commit}/.github/workflows/release.yml"),
        ]);
        let there = stage.state(&package, "1.0").await.unwrap();
        assert_eq!(there.state, "there");
        assert!(there.checked.is_some());
        assert_eq!(stage.look().await, 0, "looked at again within the week");

        // Silence and errors of the forge's own say nothing of the source.
        stage.forges.say(FORGE, Err(OutsideError::Status(503)));
        stage.test.turn_clock(8 * 24 * HOUR);
        assert_eq!(stage.look().await, 1);
        let silent = stage.state(&package, "1.0").await.unwrap();
        assert_eq!(silent.state, "there");
        assert!(silent.detail.contains("no answer"), "{}", silent.detail);

        stage.forges.say(FORGE, Err(OutsideError::Status(404)));
        for wanted in ["there", "there", "there", "gone"] {
            stage.test.turn_clock(25 * HOUR);
            assert_eq!(stage.look().await, 1);
            assert_eq!(stage.state(&package, "1.0").await.unwrap().state, wanted);
        }
        // Nothing is deleted for it.
        assert_eq!(stage.own_words(&package, "1.0").await.len(), 2);

        stage.forges.say(FORGE, Ok(()));
        stage.test.turn_clock(25 * HOUR);
        assert_eq!(stage.look().await, 1);
        assert_eq!(stage.state(&package, "1.0").await.unwrap().state, "there");
        stage.test.check().await;
    }

    async fn a_renamed_repository_is_there_and_one_that_asks_to_sign_in_is_not(database: Database) {
        let stage = stage(database).await;
        let package = stage.publish("1.0", &job()).await;
        let leads = |to: &str| Err(OutsideError::Redirected(to.to_owned()));
        stage.forges.say(FORGE, leads("https://github.com/octo/renamed/commit/0"));
        stage.test.turn_clock(25 * HOUR);
        stage.look().await;
        assert_eq!(stage.state(&package, "1.0").await.unwrap().state, "there");
        for (to, words) in [
            ("https://github.com/login?return_to=x", "sign in"),
            ("https://evil.example/secret-target", "another site"),
        ] {
            stage.forges.say(FORGE, leads(to));
            stage.test.turn_clock(8 * 24 * HOUR);
            stage.look().await;
            let state = stage.state(&package, "1.0").await.unwrap();
            assert!(state.detail.contains(words), "{}", state.detail);
            // Where an answer leads to is nobody's business here.
            assert!(!state.detail.contains("secret-target"), "{}", state.detail);
        }
        stage.test.check().await;
    }

    async fn private_repositories_are_not_asked_for(database: Database) {
        let stage = stage(database).await;
        let hidden = job().set("repository_visibility", "private");
        let package = stage.publish("1.0", &hidden).await;
        stage.test.turn_clock(25 * HOUR);
        assert_eq!(stage.look().await, 0);
        assert!(stage.state(&package, "1.0").await.is_none());
        assert_eq!(stage.forges.asked(), Vec::<String>::new());
    }

    async fn no_host_is_asked_because_an_uploader_signed_its_name(database: Database) {
        let stage = stage(database).await;
        // The certificate names a host that its issuer does not speak for.
        let named = NewIdentity {
            issuer: ISSUER.to_owned(),
            repository: "https://internal.example/octo/sample".to_owned(),
            workflow: None,
        };
        stage.test.registry.trust_identity(&stage.ada, PYPI, "sample", named).await.unwrap();
        let package = stage.publish_from("https://internal.example", "1.0", &job()).await;
        stage.test.turn_clock(25 * HOUR);
        assert_eq!(stage.look().await, 0);
        assert!(stage.state(&package, "1.0").await.is_none());
        assert_eq!(stage.forges.asked(), Vec::<String>::new());
        // Its publisher is named in full, not as one of the public forge.
        let document = stage.test.registry.integrity_document("sample", "1.0", &package.filename).await.unwrap();
        let document: Value = serde_json::from_slice(&document.bytes).unwrap();
        let publisher = &document["attestation_bundles"][0]["publisher"];
        assert_eq!(publisher["kind"], "GitHub Actions");
        assert_eq!(publisher["repository"], "https://internal.example/octo/sample");
        stage.test.check().await;
    }

    async fn a_forge_that_is_silent_is_left_alone_and_keeps_no_other_from_being_asked(database: Database) {
        let stage = stage(database).await;
        for (number, version) in ["1.0", "1.1", "1.2", "1.3", "1.4", "1.5", "1.6", "1.7", "1.8"].iter().enumerate() {
            stage.publish(version, &job().set("sha", format!("{number:040x}"))).await;
        }
        stage.test.turn_clock(25 * HOUR);
        let looked = stage.look().await;
        assert!((3..9).contains(&looked), "{looked} looks at a forge that does not answer");
        // The others come up again within the hour.
        stage.forges.say(FORGE, Ok(()));
        stage.test.turn_clock(HOUR);
        assert_eq!(stage.look().await, 9 - looked);
        stage.test.turn_clock(25 * HOUR);
        assert_eq!(stage.look().await, looked);
        stage.test.check().await;
    }

    async fn what_the_registry_could_not_attest_is_made_up_for_once_its_key_is_back(database: Database) {
        let stage = stage(database).await;
        let before = stage.publish("1.0", &job()).await;
        let key = stage.test.folder.path().join("keys/attestations-1.p256");
        let away = stage.test.folder.path().join("away");
        std::fs::rename(&key, &away).unwrap();
        let mut test = stage.test;
        test.restart().await;
        let stage = Stage { test, ..stage };
        // The log goes on without it.
        let during = stage.publish("1.1", &job()).await;
        assert_eq!(stage.own_words(&during, "1.1").await, []);
        let refusal = stage.test.registry.attest_unattested().await.unwrap_err();
        assert_eq!(refusal.code, "attestation-key-missing");
        // Sources are looked at all the same.
        stage.forges.say(FORGE, Ok(()));
        stage.test.turn_clock(25 * HOUR);
        stage.test.registry.look_after_provenance().await.unwrap_err();
        assert_eq!(stage.state(&during, "1.1").await.unwrap().state, "there");

        std::fs::rename(&away, &key).unwrap();
        assert_eq!(stage.test.registry.attest_unattested().await.unwrap(), 1);
        let types: Vec<String> = stage.own_words(&during, "1.1").await.into_iter().map(|(kind, _)| kind).collect();
        assert_eq!(types.len(), 2, "{types:?}");
        assert!(types.iter().any(|kind| kind.contains("verification_summary")), "{types:?}");
        assert_eq!(stage.test.registry.attest_unattested().await.unwrap(), 0);
        assert_eq!(stage.own_words(&before, "1.0").await.len(), 2);
        stage.test.check().await;
    }

    async fn after_another_key_took_over_everything_is_said_again_with_it(database: Database) {
        let stage = stage(database).await;
        let package = stage.publish("1.0", &job()).await;
        let old = wheel("sample", "0.1");
        let made = stage.test.registry.rotate_attestation_key(&Actor::operator()).await.unwrap();
        assert_eq!(stage.test.registry.attest_unattested().await.unwrap(), 2);
        for (package, version, wanted) in [(&old, "0.1", 1), (&package, "1.0", 2)] {
            let words = stage.own_words(package, version).await;
            let anew = words.iter().filter(|(_, body)| body.contains(&made.hint)).count();
            assert_eq!((words.len(), anew), (wanted, wanted), "{version}");
        }
        stage.test.check().await;
    }

    async fn bulk_answers_have_an_end(test: TestRegistry) {
        let registry = &test.registry;
        let digest = countersign_trust::digest::Sha256::of(b"nothing");
        assert_eq!(registry.provenance_by_digest(&[digest; 100]).await.unwrap().len(), 0);
        let refusal = registry.provenance_by_digest(&[digest; 101]).await.unwrap_err();
        assert_eq!(refusal.code, "too-many-digests");
    }
}
