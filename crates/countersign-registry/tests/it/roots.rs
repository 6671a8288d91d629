//! Whose Sigstore is believed: refreshed through TUF, or not at all.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use aws_lc_rs::signature::{Ed25519KeyPair, KeyPair};
use countersign_registry::model::{Actor, Time, TrustRootSummary};
use countersign_registry::{Outside, OutsideAnswer, OutsideError, OutsideRequest, RootRepository};
use countersign_testkit::sigstore::PrivateSigstore;
use countersign_trust::digest::Sha256;
use countersign_trust::sigstore::TrustRoot;
use futures::future::BoxFuture;
use serde_json::{Value, json};

use crate::kit::{Database, TestRegistry, refused};
use crate::on_both_databases;

const BASE: &str = "https://tuf.example";

/// A TUF repository in memory, with one key for all roles.
struct Repository {
    key: Ed25519KeyPair,
    files: Mutex<HashMap<String, Vec<u8>>>,
    silent: Mutex<bool>,
}

/// Which part of a new version is spoilt.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Spoilt {
    Nothing,
    /// The document is another than the metadata say.
    Target,
    /// A byte of the signed metadata is another.
    Signature,
    /// The timestamp ended yesterday.
    Expired,
    /// All is signed by somebody else.
    Stranger,
}

impl Repository {
    fn new(seed: u8) -> Self {
        Self {
            key: Ed25519KeyPair::from_seed_unchecked(&[seed; 32]).unwrap(),
            files: Mutex::default(),
            silent: Mutex::new(false),
        }
    }

    fn signed(&self, signed: &Value) -> Vec<u8> {
        // Keys of objects are sorted, there are no blanks, and no text here has anything to be escaped.
        let text = signed.to_string();
        let signature = hex::encode(self.key.sign(text.as_bytes()).as_ref());
        json!({"signed": signed, "signatures": [{"keyid": "k", "sig": signature}]})
            .to_string()
            .into_bytes()
    }

    fn root(&self) -> Vec<u8> {
        let role = json!({"keyids": ["k"], "threshold": 1});
        let public = hex::encode(self.key.public_key().as_ref());
        self.signed(&json!({
            "_type": "root", "spec_version": "1.0.31", "version": 1, "expires": "2099-01-01T00:00:00Z",
            "consistent_snapshot": false,
            "keys": {"k": {"keytype": "ed25519", "scheme": "ed25519", "keyval": {"public": public}}},
            "roles": {"root": role, "timestamp": role, "snapshot": role, "targets": role},
        }))
    }

    /// Publishes a document as that version of everything.
    fn publish(&self, version: u64, document: &str, spoilt: Spoilt, now: i64) {
        let until = |seconds: i64| {
            let text = Time(0).plus_seconds(seconds).rfc3339();
            format!("{}Z", &text[..19])
        };
        let expires = until(now + 30 * 86_400);
        let timestamp_ends = match spoilt {
            Spoilt::Expired => until(now - 86_400),
            _ => expires.clone(),
        };
        let stranger = Self::new(99);
        let who = match spoilt {
            Spoilt::Stranger => &stranger,
            _ => self,
        };
        let meta = json!({"version": version});
        let targets = who.signed(&json!({
            "_type": "targets", "spec_version": "1.0.31", "version": version, "expires": expires,
            "targets": {"trusted_root.json": {
                "length": document.len(), "hashes": {"sha256": Sha256::of(document.as_bytes()).to_string()},
            }},
        }));
        let snapshot = who.signed(&json!({
            "_type": "snapshot", "spec_version": "1.0.31", "version": version, "expires": expires,
            "meta": {"targets.json": meta},
        }));
        let timestamp = who.signed(&json!({
            "_type": "timestamp", "spec_version": "1.0.31", "version": version, "expires": timestamp_ends,
            "meta": {"snapshot.json": meta},
        }));
        let mut document = document.as_bytes().to_vec();
        if spoilt == Spoilt::Target {
            let at = document.len() / 2;
            document[at] ^= 1;
        }
        let mut files = self.files.lock().unwrap();
        files.insert("targets/trusted_root.json".to_owned(), document);
        files.insert("targets.json".to_owned(), targets);
        files.insert("snapshot.json".to_owned(), snapshot);
        let timestamp = match spoilt {
            Spoilt::Signature => String::from_utf8(timestamp)
                .unwrap()
                .replace("\"spec_version\":\"1.0.31\"", "\"spec_version\":\"1.0.30\"")
                .into_bytes(),
            _ => timestamp,
        };
        files.insert("timestamp.json".to_owned(), timestamp);
    }
}

impl Outside for Repository {
    fn get<'a>(
        &'a self,
        request: OutsideRequest<'a>,
    ) -> BoxFuture<'a, Result<OutsideAnswer, OutsideError>> {
        let path = request.url.strip_prefix("https://tuf.example/").unwrap();
        let answer = match self.files.lock().unwrap().get(path) {
            _ if *self.silent.lock().unwrap() => {
                Err(OutsideError::Unreachable("no connection".to_owned()))
            }
            Some(body) => Ok(OutsideAnswer {
                body: body.clone(),
                max_age: None,
            }),
            None => Err(OutsideError::Status(404)),
        };
        Box::pin(std::future::ready(answer))
    }

    fn post<'a>(
        &'a self,
        _: OutsideRequest<'a>,
        _: &'a str,
    ) -> BoxFuture<'a, Result<OutsideAnswer, OutsideError>> {
        Box::pin(std::future::ready(Err(OutsideError::Status(405))))
    }
}

async fn with(repository: &Arc<Repository>, database: Database) -> TestRegistry {
    let root = repository.root();
    TestRegistry::with_outside(database, repository.clone(), |settings| {
        settings.builtin_trust_roots = vec!["public-good".to_owned()];
        settings.root_repositories = vec![RootRepository {
            name: "public-good".to_owned(),
            url: BASE.to_owned(),
            root,
        }];
    })
    .await
}

async fn only_root(test: &TestRegistry) -> TrustRootSummary {
    let mut roots = test.registry.trust_roots().await.unwrap();
    assert_eq!(roots.len(), 1, "{roots:?}");
    roots.pop().unwrap()
}

/// Leaves that say that the registry believes others from now on.
async fn changes(test: &TestRegistry) -> usize {
    test.settled().await;
    let logged = test.registry.events(None, None, 50).await.unwrap();
    let changes = logged.iter().filter(|event| event.kind == "policy-changed");
    changes.count()
}

fn digest(document: &str) -> String {
    Sha256::of(document.as_bytes()).to_string()
}

fn inside() -> String {
    Sha256::of(TrustRoot::pinned_documents()[0].1).to_string()
}

on_both_databases! {
    async fn a_trust_root_is_refreshed_through_tuf_and_never_goes_back(database: Database) {
        let repository = Arc::new(Repository::new(1));
        let test = with(&repository, database).await;
        let operator = Actor::operator();
        let (first, second) = (PrivateSigstore::new("one").trusted_root_json(), PrivateSigstore::new("two").trusted_root_json());
        assert_eq!(only_root(&test).await.digest, inside());
        refused(test.registry.refresh_trust_roots(&test.user("ann").await).await, "operator-needed");

        // A repository that can not be reached leaves the copy inside the program in use, and says so.
        *repository.silent.lock().unwrap() = true;
        test.registry.refresh_trust_roots(&operator).await.unwrap();
        let root = only_root(&test).await;
        assert_eq!((root.digest, root.refreshed), (inside(), None));
        assert!(root.problem.unwrap().contains("no connection"));
        *repository.silent.lock().unwrap() = false;

        repository.publish(2, &first, Spoilt::Nothing, test.registry_now());
        test.registry.refresh_trust_roots(&operator).await.unwrap();
        let root = only_root(&test).await;
        assert_eq!((root.digest.as_str(), root.problem), (digest(&first).as_str(), None));
        assert!(root.refreshed.is_some());
        // A leaf says that others are believed now.
        assert_eq!(changes(&test).await, 1);
        // The same again: nothing happened.
        test.registry.refresh_trust_roots(&operator).await.unwrap();
        assert_eq!(only_root(&test).await.digest, digest(&first));

        // What does not verify changes nothing; the problem is named.
        for (version, spoilt, word) in [
            (3, Spoilt::Target, "integrity"),
            (4, Spoilt::Signature, "threshold"),
            (4, Spoilt::Stranger, "threshold"),
            (4, Spoilt::Expired, "expired"),
            (1, Spoilt::Nothing, "rollback"),
        ] {
            repository.publish(version, &second, spoilt, test.registry_now());
            test.registry.refresh_trust_roots(&operator).await.unwrap();
            let root = only_root(&test).await;
            assert_eq!(root.digest, digest(&first), "{spoilt:?}");
            let problem = root.problem.unwrap_or_else(|| panic!("{spoilt:?} was no problem"));
            assert!(problem.to_lowercase().contains(word), "{spoilt:?}: {problem}");
        }
        // Signed metadata of a document that is no trust root.
        repository.publish(5, "{}", Spoilt::Nothing, test.registry_now());
        test.registry.refresh_trust_roots(&operator).await.unwrap();
        assert_eq!(only_root(&test).await.digest, digest(&first));
        // And a good one is taken again.
        repository.publish(6, &second, Spoilt::Nothing, test.registry_now());
        test.registry.refresh_trust_roots(&operator).await.unwrap();
        let root = only_root(&test).await;
        assert_eq!((root.digest, root.problem), (digest(&second), None));
        assert_eq!(changes(&test).await, 2);
        test.check().await;
    }

    async fn doctor_tells_of_a_trust_root_that_was_not_refreshed_for_a_week(database: Database) {
        let repository = Arc::new(Repository::new(2));
        let test = with(&repository, database).await;
        let found = async || {
            let found = test.registry.doctor(None, false, &mut |_, _| {}).await;
            found.into_iter().find(|one| one.id == "trust-roots").unwrap()
        };
        test.registry.refresh_trust_roots(&Actor::operator()).await.unwrap();
        assert!(found().await.ok);
        test.turn_clock(Duration::from_secs(8 * 86_400));
        test.registry.refresh_trust_roots(&Actor::operator()).await.unwrap();
        let said = found().await;
        assert!(!said.ok && said.what.contains("public-good"), "{said:?}");
        repository.publish(2, &PrivateSigstore::new("one").trusted_root_json(), Spoilt::Nothing, test.registry_now());
        test.registry.refresh_trust_roots(&Actor::operator()).await.unwrap();
        assert!(found().await.ok);
    }

    async fn what_can_not_be_a_trust_root_is_not_added(test: TestRegistry) {
        let operator = Actor::operator();
        let good = PrivateSigstore::new("ours").trusted_root_json();
        for (name, document, code) in [
            ("public-good", good.as_str(), "trust-root-name"),
            ("", &good, "trust-root-name"),
            ("Ours", &good, "trust-root-name"),
            ("../x", &good, "trust-root-name"),
            ("ours", "", "trust-root-invalid"),
            ("ours", "{}", "trust-root-invalid"),
            ("ours", "[]", "trust-root-invalid"),
            ("ours", &good[..good.len() / 2], "trust-root-invalid"),
        ] {
            let error = refused(test.registry.add_trust_root(&operator, name, document).await, code);
            assert!(!error.message.contains("upload"), "{error}");
        }
        let ann = test.user("ann").await;
        refused(test.registry.add_trust_root(&ann, "ours", &good).await, "operator-needed");
        test.registry.add_trust_root(&operator, "ours", &good).await.unwrap();
        refused(test.registry.remove_trust_root(&operator, "public-good").await, "trust-root-builtin");
        test.check().await;
    }

    async fn a_built_in_root_that_the_operator_left_out_is_not_believed_even_if_it_was_refreshed(database: Database) {
        let repository = Arc::new(Repository::new(3));
        let mut test = with(&repository, database).await;
        repository.publish(2, &PrivateSigstore::new("one").trusted_root_json(), Spoilt::Nothing, test.registry_now());
        test.registry.refresh_trust_roots(&Actor::operator()).await.unwrap();
        test.stop_heartbeat().await;
        let without = test.reopened_where(test.blobs(), |settings| settings.builtin_trust_roots = Vec::new()).await.unwrap();
        assert!(without.trust_roots().await.unwrap().is_empty());
    }

    async fn a_real_bundle_is_held_against_the_root_inside_the_program_and_says_so_when_it_is_gone(database: Database) {
        let test = TestRegistry::new(database).await;
        let ann = test.user("ann").await;
        let package = countersign_testkit::packages::Wheel::new("sampleproject", "4.0.0").build();
        test.publish(&ann, &package).await.unwrap();
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../../../shared/vectors/sigstore/bundles/pep740-prov-sampleproject-4.0.0.tar.gz.provenance-0.sigstore.json");
        let bundle = std::fs::read_to_string(path).unwrap();
        let parsed: Value = serde_json::from_str(&bundle).unwrap();
        let payload: Value = serde_json::from_slice(&{
            use base64::Engine as _;
            base64::engine::general_purpose::STANDARD.decode(parsed["dsseEnvelope"]["payload"].as_str().unwrap()).unwrap()
        }).unwrap();
        let subject = payload["subject"][0]["digest"]["sha256"].as_str().unwrap();
        // As a registry would have it that took the real file, whose bytes are not here.
        let put = async |digest: &str, body: &str, id: &str| {
            let mut connection = test.connection().await;
            sqlx::query("INSERT INTO attestations (id, file_id, maker, form, digest, predicate_type, statement_digest, verdict, claims, shown, \
                 signed_at, created_at, body) SELECT $1, f.id, 'uploader', 'bundle', $2, 'x', 'x', 'confirmed', '{}', $4, 1, 1, $3 FROM files f")
                .bind(id.to_owned()).bind(digest.to_owned()).bind(body.to_owned()).bind(SHOWN.to_owned())
                .execute(&mut connection).await.unwrap();
            sqlx::Connection::close(connection).await.unwrap();
        };
        test.execute_text(format!("UPDATE files SET sha256 = '{subject}'")).await;
        put("one", &bundle, "a").await;
        let problems = async |registry: &countersign_registry::Registry| -> Vec<Option<String>> {
            registry.reverify_attestations().await.unwrap();
            let known = registry.provenance_by_digest(&[subject.parse().unwrap()]).await.unwrap();
            known.into_iter().flat_map(|file| file.attestations).filter(|one| one.digest == "one")
                .map(|one| one.recheck_problem).collect()
        };
        assert_eq!(problems(&test.registry).await, [None]);
        // Nobody is believed any more.
        test.turn_clock(Duration::from_secs(2 * 86_400));
        let none = test.reopened_where(test.blobs(), |settings| settings.builtin_trust_roots = Vec::new()).await.unwrap();
        let said = problems(&none).await;
        assert!(said[0].is_some(), "{said:?}");
        // The root is believed again: so is the bundle.
        test.turn_clock(Duration::from_secs(2 * 86_400));
        assert_eq!(problems(&test.registry).await, [None]);
    }
}

/// What pages show of it, as a row has it.
const SHOWN: &str = r#"{"builder":null,"issuer":null,"signer":null,"commit_url":null,"build_file_url":null,"repository":null,"commit":null,"reference":null,"build_file":null,"run_url":null,"runner":null,"trigger":null,"environment":null,"log_index":null,"log_url":null,"slsa_level":null}"#;
