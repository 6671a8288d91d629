//! A registry in this process: a real database, real blobs, a clock that the test turns.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

use countersign_formats::Ecosystem;
use countersign_formats::pypi::upload::UploadForm;
use countersign_registry::model::{Action, Actor, Presented, Receipt, Time};
use countersign_registry::{
    Beating, Blobs, Clock, Error, Form, LogKeys, NewToken, Registry, Seams, Settings, Store,
    SystemRandom,
};
use countersign_testkit::packages::Package;
use countersign_testkit::postgres;
use countersign_trust::note::VerifierKey;
use countersign_trust::proof::TlogProof;

/// Which database a test runs on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Database {
    Sqlite,
    Postgres,
}

/// Runs one test body on both databases.
#[macro_export]
macro_rules! on_both_databases {
    ($($(#[$meta:meta])* async fn $name:ident($registry:ident: TestRegistry) $body:block)*) => {$(
        mod $name {
            #[allow(unused_imports)]
            use super::*;

            async fn body($registry: $crate::kit::TestRegistry) $body

            $(#[$meta])*
            #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn sqlite() {
                body($crate::kit::TestRegistry::new($crate::kit::Database::Sqlite).await).await;
            }

            $(#[$meta])*
            #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn postgres() {
                body($crate::kit::TestRegistry::new($crate::kit::Database::Postgres).await).await;
            }
        }
    )*};
}

/// A clock that runs with the machine's, plus what the test adds.
pub struct TurnedClock(AtomicI64);

impl Clock for TurnedClock {
    fn now(&self) -> Time {
        Time(countersign_registry::SystemClock.now().0 + self.0.load(Ordering::SeqCst))
    }
}

pub struct TestRegistry {
    pub registry: Registry,
    pub clock: Arc<TurnedClock>,
    pub folder: tempfile::TempDir,
    pub database: String,
    beating: Option<Beating>,
}

impl TestRegistry {
    pub async fn new(database: Database) -> Self {
        Self::with(database, |_| {}).await
    }

    pub async fn with(database: Database, change: impl FnOnce(&mut Settings)) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let database = match database {
            Database::Sqlite => format!(
                "sqlite://{}",
                folder.path().join("countersign.db").display()
            ),
            Database::Postgres => tokio::task::spawn_blocking(postgres::fresh_database)
                .await
                .unwrap()
                .unwrap(),
        };
        let mut settings = Settings::new(
            "http://localhost:8417".parse().unwrap(),
            folder.path().join("spool"),
        );
        settings.log_wait = Duration::from_secs(10);
        change(&mut settings);
        let keys = LogKeys::generate("localhost:8417/log/1", &SystemRandom).unwrap();
        keys.save(&folder.path().join("keys"), 1).unwrap();
        let clock = Arc::new(TurnedClock(AtomicI64::new(0)));
        let (store, blobs, seams) = Self::parts(&database, &folder, &clock).await;
        Registry::create(&settings, &store, &blobs, &keys, &seams)
            .await
            .unwrap();
        let registry = Registry::open(settings, store, blobs, keys, seams)
            .await
            .unwrap();
        let beating = Some(registry.start());
        Self {
            registry,
            clock,
            folder,
            database,
            beating,
        }
    }

    async fn parts(
        database: &str,
        folder: &tempfile::TempDir,
        clock: &Arc<TurnedClock>,
    ) -> (Store, Blobs, Seams) {
        let store = Store::connect(database).await.unwrap();
        let blobs = Blobs::local(&folder.path().join("blobs"), false).unwrap();
        (
            store,
            blobs,
            Seams {
                clock: clock.clone(),
                random: Arc::new(SystemRandom),
            },
        )
    }

    /// Opens the same registry again, as a restarted process would.
    pub async fn reopened(&self) -> Result<Registry, Error> {
        let (store, blobs, seams) = Self::parts(&self.database, &self.folder, &self.clock).await;
        let keys = LogKeys::load(&self.folder.path().join("keys"), 1)?;
        Registry::open(self.registry.settings().clone(), store, blobs, keys, seams).await
    }

    pub fn turn_clock(&self, by: Duration) {
        self.clock
            .0
            .fetch_add(i64::try_from(by.as_micros()).unwrap(), Ordering::SeqCst);
    }

    /// Stops the heartbeat, so that a test can look at what waits.
    pub async fn stop_heartbeat(&mut self) {
        self.beating.take().unwrap().stop().await;
    }

    /// A user with a token of the widest action.
    pub async fn user(&self, name: &str) -> Actor {
        let operator = Actor::operator();
        self.registry
            .create_user(&operator, name, None, false)
            .await
            .unwrap();
        self.token(name, Action::Manage, None).await
    }

    pub async fn token(&self, user: &str, action: Action, project: Option<&str>) -> Actor {
        let new = NewToken {
            user: user.to_owned(),
            ecosystem: None,
            project: project.map(str::to_owned),
            action,
            expires: Duration::from_secs(30 * 86_400),
            label: "test".to_owned(),
        };
        let (secret, _) = self
            .registry
            .create_token(&Actor::operator(), new)
            .await
            .unwrap();
        self.registry
            .authenticate(Presented::Token(secret))
            .await
            .unwrap()
    }

    /// Publishes with the form that a client would send.
    pub async fn publish(&self, actor: &Actor, package: &Package) -> Result<Receipt, Error> {
        publish(&self.registry, actor, package).await
    }

    /// Checks a receipt's proof as a stranger would: only the keys and the bytes are known.
    pub fn check_receipt(&self, receipt: &Receipt, package: &Package) {
        let keys: Vec<VerifierKey> = self
            .registry
            .site_keys()
            .verifier_keys
            .iter()
            .map(|key| key.parse().unwrap())
            .collect();
        let proof = TlogProof::parse(receipt.proof.as_bytes()).unwrap();
        assert_eq!(proof.index, receipt.leaf);
        let body = proof.extra.clone().unwrap();
        let text = String::from_utf8(body.clone()).unwrap();
        assert!(
            text.contains(&format!("subject {}\n", receipt.purl)),
            "{text}"
        );
        assert!(
            text.contains(&format!("digest sha256:{}\n", package.sha256())),
            "{text}"
        );
        proof
            .verify(&body, &keys, &self.registry.site_keys().origin)
            .unwrap();
    }
}

pub async fn publish(
    registry: &Registry,
    actor: &Actor,
    package: &Package,
) -> Result<Receipt, Error> {
    let body = futures::stream::iter([Ok::<_, std::io::Error>(bytes::Bytes::from(
        package.bytes.clone(),
    ))]);
    let staged = registry
        .stage(actor, Ecosystem::Pypi, &package.filename, body)
        .await?;
    let form = UploadForm::from_pairs(package.form())?;
    registry
        .publish(actor, staged, Form::Pypi(Box::new(form)))
        .await
}
