//! Backup, restore and replay: nothing that was acknowledged is forged, forked or silently lost.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use countersign_formats::Ecosystem;
use countersign_registry::model::{Action, Actor, Level, Role, TrustLevel};
use countersign_registry::{
    Blobs, Continued, Deletion, DocumentKey, Error, LogKeys, Registry, Restore, Restored, Seams,
    Settings, Store, Summary, SystemClock, SystemRandom, Tampering,
};
use countersign_testkit::packages::{NpmPackage, Package, Wheel};
use countersign_testkit::postgres;
use countersign_trust::checkpoint::{self, Checkpoint};
use countersign_trust::leaf;
use countersign_trust::note::VerifierKey;
use countersign_trust::proof::TlogProof;

use crate::kit::{Database, TestRegistry, publish};
use crate::on_both_databases;
use crate::permissions::signed_in;
use crate::staging::stage;

/// Somewhere to restore to.
pub struct Place {
    pub folder: tempfile::TempDir,
    pub database: String,
    pub blobs: Blobs,
    pub settings: Settings,
}

impl Place {
    pub async fn new(database: Database) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let database = match database {
            Database::Sqlite => format!("sqlite://{}", folder.path().join("db").display()),
            Database::Postgres => tokio::task::spawn_blocking(postgres::fresh_database)
                .await
                .unwrap()
                .unwrap(),
        };
        let blobs = Blobs::local(&folder.path().join("blobs"), false).unwrap();
        let settings = Settings::new(
            "http://localhost:8417".parse().unwrap(),
            folder.path().join("spool"),
        );
        Self {
            folder,
            database,
            blobs,
            settings,
        }
    }

    pub fn keys(&self) -> PathBuf {
        self.folder.path().join("keys")
    }

    fn take_keys_of(&self, test: &TestRegistry) {
        let seed = "keys/tuf-development.seed";
        std::fs::create_dir_all(self.keys()).unwrap();
        std::fs::copy(test.folder.path().join(seed), self.folder.path().join(seed)).unwrap();
        LogKeys::load(&test.folder.path().join("keys"), 1)
            .unwrap()
            .save(&self.keys(), 1)
            .unwrap();
    }

    pub async fn restore(
        &self,
        file: Option<PathBuf>,
        newest_checkpoint: Option<Vec<u8>>,
        replay: bool,
    ) -> Result<Restored, Error> {
        let store = Store::connect(&self.database).await.unwrap();
        let seams = seams();
        let plan = Restore {
            file: file.as_deref(),
            settings: &self.settings,
            store: &store,
            blobs: &self.blobs,
            keys_folder: &self.keys(),
            seams: &seams,
            newest_checkpoint,
            replay,
        };
        let outcome = Registry::restore(&plan, &mut |_, _, _| {}).await;
        store.close().await;
        outcome
    }

    pub async fn open(&self, shard: u64) -> Result<Registry, Error> {
        let store = Store::connect(&self.database).await.unwrap();
        let keys = LogKeys::load(&self.keys(), shard).unwrap();
        Registry::open(
            self.settings.clone(),
            store,
            self.blobs.clone(),
            keys,
            seams(),
        )
        .await
    }
}

fn seams() -> Seams {
    Seams {
        clock: Arc::new(SystemClock),
        random: Arc::new(SystemRandom),
        outside: Arc::new(crate::kit::World),
        post: None,
        domains: None,
    }
}

async fn back_up(test: &TestRegistry, name: &str) -> (PathBuf, Summary) {
    let file = test.folder.path().join(name);
    let summary = test
        .registry
        .backup(&file, None, &mut |_, _| {})
        .await
        .unwrap();
    (file, summary)
}

async fn index(registry: &Registry, project: &str) -> String {
    let key = DocumentKey::Index(Ecosystem::Pypi, project.to_owned());
    let document = registry.document(&key).await.unwrap();
    String::from_utf8(document.bytes.to_vec()).unwrap()
}

/// Checks a file's proof as a stranger with only the keys would; returns the size of the log it is under.
async fn prove(registry: &Registry, package: &Package, keys: &[VerifierKey], origin: &str) -> u64 {
    let document = registry
        .proof(&package.sha256(), &package.filename)
        .await
        .unwrap();
    let proof = TlogProof::parse(&document.bytes).unwrap();
    let body = proof.extra.clone().unwrap();
    let text = String::from_utf8(body.clone()).unwrap();
    assert!(
        text.contains(&format!("digest sha256:{}\n", package.sha256())),
        "{text}"
    );
    proof.verify(&body, keys, origin).unwrap();
    checkpoint::open(proof.checkpoint.as_bytes(), keys, origin)
        .unwrap()
        .size()
}

fn verifiers(registry: &Registry) -> Vec<VerifierKey> {
    let keys = registry.site_keys().verifier_keys;
    keys.iter().map(|key| key.parse().unwrap()).collect()
}

fn wheel(name: &str, version: &str) -> Package {
    Wheel::new(name, version).build()
}

/// Where an artifact's bytes lie below the folder of blobs.
fn artifact_of(sha256: &str) -> String {
    format!("artifacts/{}/{sha256}", &sha256[..2])
}

async fn checkpoint_of(registry: &Registry, shard: u64) -> Vec<u8> {
    registry.checkpoint(shard).await.unwrap().bytes.to_vec()
}

/// Copies a folder of blobs, or what of it a filter lets through.
fn copy_folder(from: &std::path::Path, to: &std::path::Path, take: &dyn Fn(&str) -> bool) {
    for entry in std::fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let target = to.join(entry.file_name());
        if entry.file_type().unwrap().is_dir() {
            std::fs::create_dir_all(&target).unwrap();
            copy_folder(&entry.path(), &target, take);
        } else if take(&entry.path().display().to_string()) {
            std::fs::copy(entry.path(), target).unwrap();
        }
    }
}

async fn cross(from: Database, to: Database) {
    let test = TestRegistry::new(from).await;
    let ann = test.user("ann").await;
    let first = wheel("cross", "1.0");
    test.publish(&ann, &first).await.unwrap();
    test.registry
        .yank(
            &ann,
            Ecosystem::Pypi,
            "cross",
            "1.0",
            "too \"old\"\n".trim(),
        )
        .await
        .unwrap();
    test.publish(&ann, &wheel("cross", "2.0")).await.unwrap();
    let (file, _) = back_up(&test, "cross.backup").await;
    let place = Place::new(to).await;
    place.take_keys_of(&test);
    let newest = checkpoint_of(&test.registry, 1).await;
    let restored = place
        .restore(Some(file), Some(newest), false)
        .await
        .unwrap();
    assert_eq!(restored.continued, Continued::SameLog);
    assert_eq!(restored.withheld, []);
    let registry = place.open(1).await.unwrap();
    assert_eq!(
        index(&registry, "cross").await,
        index(&test.registry, "cross").await
    );
    prove(
        &registry,
        &first,
        &verifiers(&registry),
        "localhost:8417/log/1",
    )
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_backup_of_sqlite_restores_into_postgresql() {
    cross(Database::Sqlite, Database::Postgres).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_backup_of_postgresql_restores_into_sqlite() {
    cross(Database::Postgres, Database::Sqlite).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_flipped_byte_anywhere_is_refused_before_anything_is_written() {
    let test = TestRegistry::new(Database::Sqlite).await;
    let ann = test.user("ann").await;
    test.publish(&ann, &wheel("flip", "1.0")).await.unwrap();
    let (file, _) = back_up(&test, "flip.backup").await;
    let good = std::fs::read(&file).unwrap();
    let place = Place::new(Database::Sqlite).await;
    for at in (0..good.len()).step_by(good.len() / 23) {
        let mut bad = good.clone();
        bad[at] ^= 0x20;
        std::fs::write(&file, &bad).unwrap();
        let error = place
            .restore(Some(file.clone()), None, false)
            .await
            .unwrap_err();
        assert_eq!(error.code, "backup-damaged", "byte {at}: {error}");
    }
    let store = Store::connect(&place.database).await.unwrap();
    assert!(store.is_empty().await.unwrap());
    assert!(place.blobs.is_empty().await.unwrap());
}

on_both_databases! {
    async fn a_backup_taken_while_publishing_restores_to_the_same_index_and_valid_proofs(given: Database) {
        let test = TestRegistry::new(given).await;
        let ann = test.user("ann").await;
        let before = wheel("alpha", "1.0");
        test.publish(&ann, &before).await.unwrap();
        let (registry, actor) = (test.registry.clone(), ann.clone());
        let publishing = tokio::spawn(async move {
            for number in 1..12 {
                publish(&registry, &actor, &wheel("beta", &format!("1.{number}"))).await.unwrap();
            }
        });
        tokio::time::sleep(Duration::from_millis(120)).await;
        let (file, summary) = back_up(&test, "busy.backup").await;
        publishing.await.unwrap();
        assert!(summary.lacking.is_empty());
        assert!(!test.folder.path().join("busy.backup.partial").exists());

        let place = Place::new(given).await;
        let restored = place.restore(Some(file), None, false).await.unwrap();
        let Continued::NewLog { predecessor, .. } = &restored.continued else { panic!("{restored:?}") };
        assert_eq!(predecessor, "localhost:8417/log/1");
        let registry = place.open(2).await.unwrap();
        assert_eq!(index(&registry, "alpha").await, index(&test.registry, "alpha").await);
        let size = prove(&registry, &before, &verifiers(&test.registry), "localhost:8417/log/1").await;
        assert_eq!(size, summary.log_size);
        assert_eq!(restored.withheld, []);
    }

    async fn what_is_not_proven_newest_goes_on_in_a_new_log_and_old_proofs_still_hold(given: Database) {
        let test = TestRegistry::new(given).await;
        let ann = test.user("ann").await;
        let old = wheel("gamma", "1.0");
        test.publish(&ann, &old).await.unwrap();
        let token = test.registry.create_token(&Actor::operator(), countersign_registry::NewToken {
            user: "ann".into(), ecosystem: None, namespace: None, networks: Vec::new(), project: None, action: countersign_registry::model::Action::Manage,
            expires: Duration::from_secs(86_400), label: String::new(),
        }).await.unwrap().0;
        let (file, _) = back_up(&test, "old.backup").await;
        let lost = wheel("gamma", "2.0");
        test.publish(&ann, &lost).await.unwrap();
        let newer = checkpoint_of(&test.registry, 1).await;

        let place = Place::new(given).await;
        let restored = place.restore(Some(file), Some(newer), false).await.unwrap();
        let Continued::NewLog { why, .. } = &restored.continued else { panic!("{restored:?}") };
        assert!(why.contains("the given checkpoint shows"), "{why}");
        assert_eq!((restored.shard, restored.origin.as_str()), (2, "localhost:8417/log/2"));
        let registry = place.open(2).await.unwrap();
        let beating = registry.start();
        assert_eq!(registry.site_keys().earlier, [("/log/1/".to_owned(), "localhost:8417/log/1".to_owned())]);
        let genesis = registry.events(None, None, 10).await.unwrap().pop().unwrap();
        assert!(genesis.text.contains("predecessor-origin localhost:8417/log/1\n"), "{}", genesis.text);
        let frozen = checkpoint_of(&registry, 1).await;
        let actor = registry.authenticate(countersign_registry::model::Presented::Token(token)).await.unwrap();
        let next = wheel("gamma", "3.0");
        let receipt = publish(&registry, &actor, &next).await.unwrap();
        prove(&registry, &next, &verifiers(&registry), "localhost:8417/log/2").await;
        let old_keys = verifiers(&test.registry);
        prove(&registry, &old, &old_keys, "localhost:8417/log/1").await;
        assert_eq!(checkpoint_of(&registry, 1).await, frozen, "the closed log is never signed again");
        let serial = |registry: &Registry| {
            let registry = registry.clone();
            async move { registry.document(&DocumentKey::SimpleIndexJson).await.unwrap().serial }
        };
        assert!(serial(&registry).await > serial(&test.registry).await - 2, "serials never go back behind what was restored");
        // The first leaf of the project in the new log has none before it, and its sequence goes on.
        let leaf = registry.leaf_proof(2, receipt.leaf).await.unwrap();
        let body = TlogProof::parse(&leaf.bytes).unwrap().extra.unwrap();
        let leaf = leaf::parse(&body).unwrap().known().unwrap();
        assert_eq!((leaf.previous, leaf.sequence > Some(1)), (None, true));
        let second = publish(&registry, &actor, &wheel("gamma", "4.0")).await.unwrap();
        let body = TlogProof::parse(second.proof.as_bytes()).unwrap().extra.unwrap();
        assert_eq!(leaf::parse(&body).unwrap().known().unwrap().previous, Some(receipt.leaf));
        let text = index(&registry, "gamma").await;
        assert!(text.contains("gamma-1.0") && !text.contains("gamma-2.0") && text.contains("gamma-3.0"), "{text}");
        beating.stop().await;
        // And it starts again, with nothing to complain about in either log.
        let registry = place.open(2).await.unwrap();
        let found = registry.doctor(Some(&place.keys()), true, &mut |_, _| {}).await;
        let wrong: Vec<_> = found.iter().filter(|diagnosis| !diagnosis.ok).collect();
        assert!(wrong.is_empty(), "{wrong:#?}");
    }

    async fn a_file_whose_bytes_are_lacking_is_withheld_and_keeps_its_proof(given: Database) {
        let test = TestRegistry::new(given).await;
        let ann = test.user("ann").await;
        let (whole, lost) = (wheel("delta", "1.0"), wheel("delta", "2.0"));
        test.publish(&ann, &whole).await.unwrap();
        test.publish(&ann, &lost).await.unwrap();
        let digest = lost.sha256();
        let blob = test.folder.path().join("blobs/artifacts").join(&digest[..2]).join(&digest);
        std::fs::remove_file(blob).unwrap();
        let (file, summary) = back_up(&test, "lacking.backup").await;
        assert_eq!(summary.lacking, [digest]);
        let place = Place::new(given).await;
        place.take_keys_of(&test);
        let newest = checkpoint_of(&test.registry, 1).await;
        let restored = place.restore(Some(file), Some(newest), false).await.unwrap();
        assert_eq!(restored.withheld, [(lost.filename.clone(), "restore: its bytes are lacking".to_owned())]);
        let registry = place.open(1).await.unwrap();
        let text = index(&registry, "delta").await;
        assert!(text.contains("delta-1.0") && !text.contains("delta-2.0"), "{text}");
        let error = registry.file(&lost.sha256(), &lost.filename).await.unwrap_err();
        assert_eq!(error.code, "file-quarantined");
        prove(&registry, &lost, &verifiers(&registry), "localhost:8417/log/1").await;
        let events = registry.events(None, None, 5).await.unwrap();
        assert!(events.iter().any(|event| event.kind == "quarantined"), "{events:?}");
    }

    async fn an_older_backup_beside_surviving_tiles_is_replayed_and_withholds_what_it_lacks(given: Database) {
        let test = TestRegistry::new(given).await;
        let ann = test.user("ann").await;
        let (old, gone) = (wheel("epsilon", "1.0"), wheel("epsilon", "1.1"));
        test.publish(&ann, &old).await.unwrap();
        test.publish(&ann, &gone).await.unwrap();
        let (file, _) = back_up(&test, "older.backup").await;
        let later = wheel("epsilon", "2.0");
        let receipt = test.publish(&ann, &later).await.unwrap();
        let strange = wheel("zeta", "1.0");
        test.publish(&ann, &strange).await.unwrap();
        test.registry.delete(&ann, Ecosystem::Pypi, "epsilon", Deletion::File(&gone.filename)).await.unwrap();
        test.registry.yank(&ann, Ecosystem::Pypi, "epsilon", "1.0", "bad").await.unwrap();
        while test.registry.health().await.log_backlog > 0 {
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        let newest = test.registry.health().await.log_size;

        let place = Place::new(given).await;
        place.take_keys_of(&test);
        copy_folder(&test.folder.path().join("blobs"), &place.folder.path().join("blobs"), &|_| true);
        let refused = place.restore(Some(file.clone()), None, false).await.unwrap_err();
        assert_eq!(refused.code, "not-empty");
        let restored = place.restore(Some(file), None, true).await.unwrap();
        assert_eq!(restored.continued, Continued::SameLog, "{restored:?}");
        assert_eq!(restored.leaves, newest);
        assert!(restored.replayed >= 4, "{restored:?}");
        assert_eq!(restored.tombstones, 2);

        let registry = place.open(1).await.unwrap();
        let beating = registry.start();
        let text = index(&registry, "epsilon").await;
        assert!(text.contains("epsilon-1.0") && !text.contains("epsilon-1.1") && !text.contains("epsilon-2.0"), "{text}");
        assert!(text.contains("\"yanked\":\"restore"), "{text}");
        let operator = Actor::operator();
        // Other bytes never get the name.
        let other = Wheel::new("epsilon", "2.0").file("epsilon/other.py", "x = 1\n").build();
        let error = publish(&registry, &operator, &other).await.unwrap_err();
        assert_eq!(error.code, "file-exists");
        // The same bytes come home, to the leaf they have.
        let home = publish(&registry, &operator, &later).await.unwrap();
        assert_eq!(home.leaf, receipt.leaf);
        assert!(index(&registry, "epsilon").await.contains("epsilon-2.0"));
        prove(&registry, &later, &verifiers(&registry), "localhost:8417/log/1").await;
        // A name that only the log knows is nobody's until the operator gives it to someone.
        registry.create_user(&operator, "mallory", None, false).await.unwrap();
        let mallory = registry.create_token(&operator, countersign_registry::NewToken {
            user: "mallory".into(), ecosystem: None, namespace: None, networks: Vec::new(), project: None, action: countersign_registry::model::Action::Manage,
            expires: Duration::from_secs(86_400), label: String::new(),
        }).await.unwrap().0;
        let mallory = registry.authenticate(countersign_registry::model::Presented::Token(mallory)).await.unwrap();
        let error = publish(&registry, &mallory, &wheel("zeta", "9.0")).await.unwrap_err();
        assert_eq!(error.code, "role-missing");
        beating.stop().await;
        let found = registry.doctor(Some(&place.keys()), true, &mut |_, _| {}).await;
        let wrong: Vec<_> = found.iter().filter(|diagnosis| !diagnosis.ok).collect();
        assert!(wrong.is_empty(), "{wrong:#?}");
    }

    async fn what_a_project_is_remembered_for_comes_back_with_the_log(given: Database) {
        let test = TestRegistry::new(given).await;
        let stage = crate::provenance::stage(&test).await;
        let (file, _) = back_up(&test, "before.backup").await;
        let robot = crate::provenance::robot(&test, &stage, &crate::trusted::release()).await;
        let package = wheel("sample", "1.0");
        let sent = stage.both(&crate::trusted::release(), &package);
        let receipt = crate::provenance::upload(&test, &robot, &package, &sent).await.unwrap();
        let place = Place::new(given).await;
        place.take_keys_of(&test);
        copy_folder(&test.folder.path().join("blobs"), &place.folder.path().join("blobs"), &|_| true);
        let restored = place.restore(Some(file), None, true).await.unwrap();
        assert_eq!(restored.continued, Continued::SameLog, "{restored:?}");
        // The folder of keys lacks the one that signed attestations: another one does now, and the old one stays named.
        assert!(restored.notes.iter().any(|note| note.contains("attestations-1.p256")), "{:?}", restored.notes);
        let registry = place.open(1).await.unwrap();
        let beating = registry.start();
        let known = registry.project_provenance(Ecosystem::Pypi, "sample").await.unwrap();
        assert_eq!(known.level, TrustLevel::Provenance);
        // A token from before, as a thief would have kept one.
        let token = registry.create_token(&Actor::operator(), countersign_registry::NewToken {
            user: "ada".into(), ecosystem: None, namespace: None, networks: Vec::new(), project: None, action: countersign_registry::model::Action::Manage,
            expires: Duration::from_secs(86_400), label: String::new(),
        }).await.unwrap().0;
        let ada = registry.authenticate(countersign_registry::model::Presented::Token(token)).await.unwrap();
        let error = publish(&registry, &ada, &wheel("sample", "1.1")).await.unwrap_err();
        assert_eq!(error.code, "trust-lost");
        // The bytes come home to their leaf, without what stood behind them; the memory stays.
        let home = publish(&registry, &Actor::operator(), &package).await.unwrap();
        assert_eq!(home.leaf, receipt.leaf);
        registry.look_after_provenance().await.unwrap();
        let keys = registry.attestation_keys().await.unwrap();
        assert_eq!(keys.iter().filter(|key| key.until.is_none()).count(), 1);
        assert_eq!(keys.len(), 2, "{keys:?}");
        beating.stop().await;
    }

    async fn a_database_set_back_is_refused_by_serve_and_mended_by_a_replay_without_a_file(given: Database) {
        let test = TestRegistry::new(given).await;
        let ann = test.user("ann").await;
        test.publish(&ann, &wheel("eta", "1.0")).await.unwrap();
        let (file, _) = back_up(&test, "set-back.backup").await;
        let place = Place::new(given).await;
        place.take_keys_of(&test);
        let same = checkpoint_of(&test.registry, 1).await;
        place.restore(Some(file), Some(same), false).await.unwrap();
        // The world went on with the old one; its blobs are what there is.
        test.publish(&ann, &wheel("eta", "2.0")).await.unwrap();
        copy_folder(&test.folder.path().join("blobs"), &place.folder.path().join("blobs"), &|_| true);
        let error = place.open(1).await.err().unwrap();
        assert_eq!(error.code, "log-ahead");
        assert!(error.text().contains("restore --replay"), "{error}");
        let restored = place.restore(None, None, true).await.unwrap();
        assert_eq!((restored.continued, restored.replayed), (Continued::SameLog, 1));
        place.open(1).await.unwrap();
    }

    async fn a_database_set_back_under_a_running_registry_has_nothing_signed(test: TestRegistry) {
        let ann = test.user("ann").await;
        test.publish(&ann, &wheel("eta", "1.0")).await.unwrap();
        let old = checkpoint_of(&test.registry, 1).await;
        test.publish(&ann, &wheel("eta", "2.0")).await.unwrap();
        let new = checkpoint_of(&test.registry, 1).await;
        // Whoever does it takes along what would be in the way of another story.
        let note = String::from_utf8(old).unwrap();
        let head = Checkpoint::parse(&note[..=note.find("\n\n").unwrap()]).unwrap();
        let pool = sqlx::AnyPool::connect(&test.database).await.unwrap();
        sqlx::query("DELETE FROM leaves WHERE idx >= $1")
            .bind(i64::try_from(head.size).unwrap())
            .execute(&pool)
            .await
            .unwrap();
        let store = Store::connect(&test.database).await.unwrap();
        let tampering = Tampering::SetBack { shard: 1, head: &head, note: &note };
        assert_eq!(store.tamper(&tampering).await.unwrap(), 1);
        let (registry, ann) = (test.registry.clone(), ann.clone());
        let third = tokio::spawn(async move { publish(&registry, &ann, &wheel("eta", "3.0")).await });
        loop {
            let problems = test.registry.health().await.problems;
            if problems.iter().any(|problem| problem.contains("Nothing will be signed")) {
                break;
            }
            assert!(!third.is_finished(), "{problems:?}");
            tokio::task::yield_now().await;
        }
        third.abort();
        assert_eq!(checkpoint_of(&test.registry, 1).await, new);
    }

    async fn a_replay_is_refused_where_the_blob_store_is_not_ahead(given: Database) {
        let mut test = TestRegistry::new(given).await;
        let ann = test.user("ann").await;
        test.publish(&ann, &wheel("lambda", "1.0")).await.unwrap();
        test.stop_heartbeat().await;
        let store = Store::connect(&test.database).await.unwrap();
        let (empty, seams) = (Blobs::memory(), seams());
        let keys = test.folder.path().join("keys");
        let plan = Restore {
            file: None, settings: test.registry.settings(), store: &store, blobs: &empty, keys_folder: &keys,
            seams: &seams, newest_checkpoint: None, replay: true,
        };
        let error = Registry::restore(&plan, &mut |_, _, _| {}).await.unwrap_err();
        assert_eq!(error.code, "nothing-to-replay");
        test.reopened().await.unwrap();
    }

    async fn a_file_that_waited_for_the_log_at_backup_time_gets_the_leaf_that_the_tiles_have(given: Database) {
        let mut test = TestRegistry::new(given).await;
        let ann = test.user("ann").await;
        test.publish(&ann, &wheel("mu", "1.0")).await.unwrap();
        test.stop_heartbeat().await;
        let waits = wheel("mu", "2.0");
        let (registry, actor, package) = (test.registry.clone(), ann.clone(), waits.clone());
        let publishing = tokio::spawn(async move { publish(&registry, &actor, &package).await });
        while test.registry.health().await.log_backlog == 0 {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        let (file, summary) = back_up(&test, "waiting.backup").await;
        test.start_anew().await;
        let receipt = publishing.await.unwrap().unwrap();
        assert!(receipt.leaf >= summary.log_size);

        // Beside the surviving tiles it has the leaf it got.
        let place = Place::new(given).await;
        place.take_keys_of(&test);
        copy_folder(&test.folder.path().join("blobs"), &place.folder.path().join("blobs"), &|_| true);
        let restored = place.restore(Some(file.clone()), None, true).await.unwrap();
        assert_eq!((&restored.continued, restored.replayed, restored.tombstones), (&Continued::SameLog, 1, 0));
        let registry = place.open(1).await.unwrap();
        let size = registry.health().await.log_size;
        let again = publish(&registry, &Actor::operator(), &waits).await.unwrap();
        assert_eq!((again.leaf, again.repeated), (receipt.leaf, true));
        assert_eq!(registry.health().await.log_size, size, "it was not logged twice");
        assert!(index(&registry, "mu").await.contains("mu-2.0"));

        // Without them the new log takes it in.
        let place = Place::new(given).await;
        let restored = place.restore(Some(file), None, false).await.unwrap();
        assert_eq!(restored.shard, 2);
        let registry = place.open(2).await.unwrap();
        assert!(index(&registry, "mu").await.contains("mu-2.0"));
        prove(&registry, &waits, &verifiers(&registry), "localhost:8417/log/2").await;
    }

    async fn a_leaf_that_was_numbered_and_never_served_moves_to_the_new_log(given: Database) {
        let mut test = TestRegistry::new(given).await;
        let ann = test.user("ann").await;
        test.publish(&ann, &wheel("nu", "1.0")).await.unwrap();
        let before = checkpoint_of(&test.registry, 1).await;
        let package = wheel("nu", "2.0");
        test.publish(&ann, &package).await.unwrap();
        test.stop_heartbeat().await;
        // As a crash between numbering and serving leaves it.
        let keys = verifiers(&test.registry);
        let signed = checkpoint::open(&before, &keys, "localhost:8417/log/1").unwrap();
        let pool = sqlx::AnyPool::connect(&test.database).await.unwrap();
        sqlx::query("UPDATE log_head SET size = $1, root = $2, checkpoint = $3")
            .bind(i64::try_from(signed.size()).unwrap())
            .bind(signed.root().to_string())
            .bind(String::from_utf8(before).unwrap())
            .execute(&pool).await.unwrap();
        sqlx::query("UPDATE files SET state = 'staged', leaf = NULL, leaf_shard = NULL, live_at = NULL WHERE filename = $1")
            .bind(package.filename.clone()).execute(&pool).await.unwrap();
        pool.close().await;
        let (file, _) = back_up(&test, "numbered.backup").await;
        let place = Place::new(given).await;
        let restored = place.restore(Some(file), None, false).await.unwrap();
        assert_eq!((restored.shard, restored.leaves), (2, signed.size()));
        let registry = place.open(2).await.unwrap();
        prove(&registry, &package, &verifiers(&registry), "localhost:8417/log/2").await;
        let found = registry.doctor(None, true, &mut |_, _| {}).await;
        let wrong: Vec<_> = found.iter().filter(|diagnosis| !diagnosis.ok).collect();
        assert!(wrong.is_empty(), "{wrong:#?}");
    }

    async fn what_is_staged_is_in_a_backup_with_its_bytes_and_can_be_approved_after_a_restore(given: Database) {
        let test = TestRegistry::new(given).await;
        test.user("ann").await;
        let token = test.token("ann", Action::Publish, None).await;
        let kept = NpmPackage::new("kept", "1.0.0");
        let waits = stage(&test.registry, &token, &kept).await.unwrap();
        let no = stage(&test.registry, &token, &NpmPackage::new("rejected", "1.0.0")).await.unwrap();
        test.registry.reject_staged(&token, &no.id).await.unwrap();
        let lost = stage(&test.registry, &token, &NpmPackage::new("lost", "1.0.0")).await.unwrap();
        std::fs::remove_file(test.folder.path().join("blobs").join(artifact_of(&lost.sha256))).unwrap();
        let (file, summary) = back_up(&test, "staged.backup").await;
        // What was rejected is swept here; it is nothing to keep.
        assert_eq!((summary.artifacts, summary.lacking), (2, vec![lost.sha256.clone()]));

        let place = Place::new(given).await;
        let restored = place.restore(Some(file), None, false).await.unwrap();
        assert!(restored.notes.iter().any(|note| note.contains("lost 1.0.0") && note.contains(&lost.id)), "{:?}", restored.notes);
        assert!(!restored.notes.iter().any(|note| note.contains("kept")), "{:?}", restored.notes);
        let registry = place.open(2).await.unwrap();
        let beating = registry.start();
        // Sessions are in no backup.
        let now = registry.now().0;
        let strong = signed_in(&place.database, &registry, now, "ann", (Level::Phishproof, true)).await;
        assert_eq!(registry.staged_publication(&strong, &lost.id).await.unwrap().state, "bytes-lost");
        let receipt = registry.approve_staged(&strong, &waits.id, Some(&kept.build().sha256())).await.unwrap();
        assert!(!receipt.repeated);
        prove(&registry, &kept.build(), &verifiers(&registry), "localhost:8417/log/2").await;
        beating.stop().await;
    }

    async fn entries_beyond_the_surviving_checkpoint_close_the_log(given: Database) {
        let test = TestRegistry::new(given).await;
        let ann = test.user("ann").await;
        test.publish(&ann, &wheel("xi", "1.0")).await.unwrap();
        let (file, _) = back_up(&test, "beyond.backup").await;
        let before = checkpoint_of(&test.registry, 1).await;
        test.publish(&ann, &wheel("xi", "2.0")).await.unwrap();
        let place = Place::new(given).await;
        place.take_keys_of(&test);
        let blobs = place.folder.path().join("blobs");
        copy_folder(&test.folder.path().join("blobs"), &blobs, &|_| true);
        // The copy of the checkpoint is one beat behind, as a power cut may leave it.
        std::fs::write(blobs.join("log/1/checkpoint"), before).unwrap();
        let restored = place.restore(Some(file), None, true).await.unwrap();
        assert_eq!(restored.shard, 2, "{restored:?}");
    }

    async fn a_restore_that_broke_off_serves_nothing_and_begins_anew(given: Database) {
        let test = TestRegistry::new(given).await;
        let ann = test.user("ann").await;
        test.publish(&ann, &wheel("theta", "1.0")).await.unwrap();
        let (file, _) = back_up(&test, "broken.backup").await;
        let newest = checkpoint_of(&test.registry, 1).await;
        let place = Place::new(given).await;
        // Without a key the log can not go on: the restore ends in its last third.
        let error = place.restore(Some(file.clone()), Some(newest.clone()), false).await.unwrap_err();
        assert_eq!(error.code, "log-key-missing");
        place.take_keys_of(&test);
        let error = place.open(1).await.err().unwrap();
        assert_eq!(error.code, "restore-unfinished");
        let restored = place.restore(Some(file.clone()), Some(newest), false).await.unwrap();
        assert_eq!(restored.continued, Continued::SameLog);
        place.open(1).await.unwrap();
        let error = place.restore(Some(file), None, false).await.unwrap_err();
        assert_eq!(error.code, "not-empty");
    }

    async fn a_forged_checkpoint_and_foreign_tiles_are_refused(given: Database) {
        let test = TestRegistry::new(given).await;
        let ann = test.user("ann").await;
        test.publish(&ann, &wheel("iota", "1.0")).await.unwrap();
        let (file, _) = back_up(&test, "forged.backup").await;
        let stranger = TestRegistry::new(Database::Sqlite).await;
        let place = Place::new(given).await;
        place.take_keys_of(&test);
        let error = place.restore(Some(file.clone()), Some(checkpoint_of(&stranger.registry, 1).await), false).await.unwrap_err();
        assert_eq!(error.code, "checkpoint-wrong");
        let place = Place::new(given).await;
        copy_folder(&stranger.folder.path().join("blobs"), &place.folder.path().join("blobs"), &|_| true);
        let error = place.restore(Some(file), None, true).await.unwrap_err();
        assert_eq!(error.code, "log-forked");
    }

    async fn keys_go_with_a_backup_only_when_told(given: Database) {
        let test = TestRegistry::new(given).await;
        let ann = test.user("ann").await;
        test.publish(&ann, &wheel("kappa", "1.0")).await.unwrap();
        test.registry.set_role(&Actor::operator(), Ecosystem::Pypi, "kappa", "ann", Some(Role::Owner)).await.unwrap();
        let (bare, _) = back_up(&test, "bare.backup").await;
        let with = test.folder.path().join("with.backup");
        test.registry.backup(&with, Some(&test.folder.path().join("keys")), &mut |_, _| {}).await.unwrap();
        let newest = checkpoint_of(&test.registry, 1).await;
        let secret = std::fs::read(test.folder.path().join("keys/log-1.ed25519")).unwrap();
        let holds = |file: &PathBuf| {
            let bytes = std::fs::read(file).unwrap();
            bytes.windows(secret.len()).any(|window| window == secret)
        };
        assert!(!holds(&bare) && holds(&with));
        let place = Place::new(given).await;
        place.restore(Some(with), Some(newest), false).await.unwrap();
        place.open(1).await.unwrap();
    }
}
