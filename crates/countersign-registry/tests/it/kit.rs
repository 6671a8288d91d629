//! A registry in this process: a real database, real blobs, a clock that the test turns.

use std::net::{IpAddr, Ipv4Addr};
use std::path::Path;
use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use countersign_formats::Ecosystem;
use countersign_formats::pypi::upload::UploadForm;
use countersign_registry::model::{Action, Actor, CallerOrigin, Presented, Receipt, Time};
use countersign_registry::{
    Beating, Blobs, Clock, DocumentKey, DomainIntel, DomainReport, Error, Form, Kind, LogKeys,
    Message, NewToken, Outside, OutsideAnswer, OutsideError, OutsideRequest, Post, PostError,
    Registry, Seams, Settings, Store, SystemRandom,
};
use countersign_testkit::packages::Package;
use countersign_testkit::{http, postgres};
use countersign_trust::note::VerifierKey;
use countersign_trust::proof::TlogProof;
use tokio::sync::OnceCell;

/// Which database a test runs on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Database {
    Sqlite,
    Postgres,
}

/// Something that a test takes: a registry, or the database to make one on.
pub trait Given {
    async fn on(database: Database) -> Self;
}

impl Given for Database {
    async fn on(database: Database) -> Self {
        database
    }
}

impl Given for TestRegistry {
    async fn on(database: Database) -> Self {
        Self::new(database).await
    }
}

/// Runs one test body on both databases. It takes a `TestRegistry`, or the `Database` to make its own on.
#[macro_export]
macro_rules! on_both_databases {
    ($($(#[$meta:meta])* async fn $name:ident($given:ident: $kind:ident) $body:block)*) => {$(
        mod $name {
            #[allow(unused_imports)]
            use super::*;
            use $crate::kit::Given;

            async fn body($given: $crate::kit::$kind) $body

            $(#[$meta])*
            #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn sqlite() {
                body(<$crate::kit::$kind>::on($crate::kit::Database::Sqlite).await).await;
            }

            $(#[$meta])*
            #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn postgres() {
                body(<$crate::kit::$kind>::on($crate::kit::Database::Postgres).await).await;
            }
        }
    )*};
}

/// A caller from one of 256 networks.
pub fn from(network: u8) -> CallerOrigin {
    CallerOrigin {
        address: IpAddr::V4(Ipv4Addr::new(10, 0, network, 7)),
        agent: "browser".to_owned(),
    }
}

/// A clock that runs with the machine's, plus what the test adds; or stands still but for that.
#[derive(Default)]
pub struct TurnedClock {
    added: AtomicI64,
    /// Where it stands; 0 while it runs.
    held: AtomicI64,
}

impl Clock for TurnedClock {
    fn now(&self) -> Time {
        let runs = match self.held.load(Ordering::SeqCst) {
            0 => countersign_registry::SystemClock.now().0,
            held => held,
        };
        Time(runs + self.added.load(Ordering::SeqCst))
    }
}

/// The way outside: real HTTPS, to hosts that the test kit's authority certifies. The server's own way (`countersignd`)
/// is tested where it is.
pub struct World;

impl Outside for World {
    fn get<'a>(
        &'a self,
        request: OutsideRequest<'a>,
    ) -> futures::future::BoxFuture<'a, Result<OutsideAnswer, OutsideError>> {
        asked(request, "GET", String::new())
    }

    fn post<'a>(
        &'a self,
        request: OutsideRequest<'a>,
        form: &'a str,
    ) -> futures::future::BoxFuture<'a, Result<OutsideAnswer, OutsideError>> {
        asked(request, "POST", form.to_owned())
    }
}

fn asked(
    request: OutsideRequest<'_>,
    method: &'static str,
    body: String,
) -> futures::future::BoxFuture<'static, Result<OutsideAnswer, OutsideError>> {
    let (url, most) = (request.url.to_owned(), request.most);
    let mut headers: Vec<(String, String)> = request
        .headers
        .iter()
        .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()))
        .collect();
    if method == "POST" {
        headers.push((
            "Content-Type".to_owned(),
            "application/x-www-form-urlencoded".to_owned(),
        ));
    }
    Box::pin(async move {
        let answer = tokio::task::spawn_blocking(move || {
            let headers: Vec<(&str, &str)> = headers
                .iter()
                .map(|(name, value)| (name.as_str(), value.as_str()))
                .collect();
            http::request(method, &url, &headers, body.as_bytes())
        })
        .await
        .unwrap()
        .map_err(|error| OutsideError::Unreachable(error.to_string()))?;
        match answer.status {
            200 if answer.body.len() > most => Err(OutsideError::TooLarge(most)),
            200 => Ok(OutsideAnswer {
                body: answer.body,
                max_age: None,
            }),
            300..400 => Err(OutsideError::Redirected(
                answer.header("location").unwrap_or_default().to_owned(),
            )),
            status => Err(OutsideError::Status(status)),
        }
    })
}

/// A mail server in this process: keeps what it was handed, or refuses it for a while.
#[derive(Default)]
pub struct Mailbox {
    taken: Mutex<Vec<Message>>,
    refusal: Mutex<Option<PostError>>,
    /// Take the mail and then say that it failed: what a connection that breaks after the last dot looks like.
    pub forgetful: std::sync::atomic::AtomicBool,
}

impl Mailbox {
    /// Refuses from now on; `None`: takes again.
    pub fn refuse(&self, why: Option<PostError>) {
        *self.refusal.lock().unwrap() = why;
    }

    /// Every mail to an address, oldest first.
    pub fn to(&self, address: &str) -> Vec<Message> {
        let taken = self.taken.lock().unwrap();
        taken
            .iter()
            .filter(|message| message.to().as_str() == address)
            .cloned()
            .collect()
    }

    /// How many mails were taken.
    pub fn count(&self) -> usize {
        self.taken.lock().unwrap().len()
    }
}

impl Post for Mailbox {
    fn send<'a>(
        &'a self,
        message: &'a Message,
    ) -> futures::future::BoxFuture<'a, Result<(), PostError>> {
        let answer = match self.refusal.lock().unwrap().clone() {
            Some(why) => Err(why),
            None => {
                self.taken.lock().unwrap().push(message.clone());
                if self.forgetful.load(Ordering::SeqCst) {
                    Err(PostError::Later("the connection broke".to_owned()))
                } else {
                    Ok(())
                }
            }
        };
        Box::pin(std::future::ready(answer))
    }
}

/// Domains as the test has them; unknown ones are well.
#[derive(Default)]
pub struct Domains(
    pub Mutex<std::collections::HashMap<String, Result<DomainReport, OutsideError>>>,
);

impl DomainIntel for Domains {
    fn look_up<'a>(
        &'a self,
        domain: &'a str,
    ) -> futures::future::BoxFuture<'a, Result<DomainReport, OutsideError>> {
        let known = self.0.lock().unwrap().get(domain).cloned();
        let answer = known.unwrap_or_else(|| {
            Ok(DomainReport {
                exists: Some(true),
                takes_mail: Some(true),
                ..DomainReport::default()
            })
        });
        Box::pin(std::future::ready(answer))
    }
}

pub struct TestRegistry {
    pub registry: Registry,
    pub mailbox: Arc<Mailbox>,
    pub domains: Arc<Domains>,
    pub clock: Arc<TurnedClock>,
    pub folder: tempfile::TempDir,
    pub database: String,
    blobs: Blobs,
    outside: Arc<dyn Outside>,
    beating: Option<Beating>,
    /// Every checkpoint that a check has seen; each must be a beginning of each later one.
    pub(crate) seen: Mutex<Vec<String>>,
}

/// A SQLite database with our tables and nothing in them: a copy of one that this process made.
async fn migrated_file(folder: &Path) -> String {
    static PREPARED: OnceCell<Vec<u8>> = OnceCell::const_new();
    // The last connection that is closed leaves everything in the one file.
    let make = || async {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("countersign.db");
        let url = format!("sqlite://{}", path.display());
        let store = Store::connect(&url).await.unwrap();
        store.migrate().await.unwrap();
        store.close().await;
        std::fs::read(path).unwrap()
    };
    let path = folder.join("countersign.db");
    std::fs::write(&path, PREPARED.get_or_init(make).await).unwrap();
    format!("sqlite://{}", path.display())
}

/// A PostgreSQL database with our tables and nothing in them.
async fn migrated() -> String {
    let runtime = tokio::runtime::Handle::current();
    let migrate = move |url: &str| {
        Ok(runtime.block_on(async {
            let store = Store::connect(url).await?;
            store.migrate().await?;
            store.close().await;
            Ok::<_, Error>(())
        })?)
    };
    tokio::task::spawn_blocking(|| postgres::prepared_database(migrate))
        .await
        .unwrap()
        .unwrap()
}

impl TestRegistry {
    pub async fn new(database: Database) -> Self {
        Self::with(database, |_| {}).await
    }

    pub async fn with(database: Database, change: impl FnOnce(&mut Settings)) -> Self {
        let folder = folder();
        let blobs = Blobs::local(&folder.path().join("blobs"), false).unwrap();
        Self::made_of(database, folder, blobs, change).await
    }

    /// One whose bytes are where the test says.
    pub async fn with_blobs(
        database: Database,
        blobs: Blobs,
        change: impl FnOnce(&mut Settings),
    ) -> Self {
        Self::made_of(database, folder(), blobs, change).await
    }

    /// One with an outside world of the test's own.
    pub async fn with_outside(
        database: Database,
        outside: Arc<dyn Outside>,
        change: impl FnOnce(&mut Settings),
    ) -> Self {
        let folder = folder();
        let blobs = Blobs::local(&folder.path().join("blobs"), false).unwrap();
        Self::made_in(database, folder, blobs, outside, change).await
    }

    async fn made_of(
        database: Database,
        folder: tempfile::TempDir,
        blobs: Blobs,
        change: impl FnOnce(&mut Settings),
    ) -> Self {
        Self::made_in(database, folder, blobs, Arc::new(World), change).await
    }

    async fn made_in(
        database: Database,
        folder: tempfile::TempDir,
        blobs: Blobs,
        outside: Arc<dyn Outside>,
        change: impl FnOnce(&mut Settings),
    ) -> Self {
        let database = match database {
            Database::Sqlite => migrated_file(folder.path()).await,
            Database::Postgres => migrated().await,
        };
        let mut settings = Settings::new(
            "http://localhost:8417".parse().unwrap(),
            folder.path().join("spool"),
        );
        settings.log_wait = Duration::from_secs(10);
        // Tests count leaves; those of the map make it themselves.
        settings.keep_map = false;
        change(&mut settings);
        let keys = LogKeys::generate("localhost:8417/log/1", &SystemRandom).unwrap();
        keys.save(&folder.path().join("keys"), 1).unwrap();
        let clock = Arc::new(TurnedClock::default());
        let (mailbox, domains) = (Arc::new(Mailbox::default()), Arc::new(Domains::default()));
        let seams = Seams {
            clock: clock.clone(),
            random: Arc::new(SystemRandom),
            outside: outside.clone(),
            post: Some(mailbox.clone()),
            domains: Some(domains.clone()),
        };
        let store = Store::connect(&database).await.unwrap();
        Registry::create(&settings, &store, &blobs, &keys, &seams)
            .await
            .unwrap();
        let registry = Registry::open(settings, store, blobs.clone(), keys, seams)
            .await
            .unwrap();
        let beating = Some(registry.start());
        Self {
            registry,
            mailbox,
            domains,
            clock,
            folder,
            database,
            blobs,
            outside,
            beating,
            seen: Mutex::default(),
        }
    }

    /// Opens the same registry again, as a restarted process would.
    pub async fn reopened(&self) -> Result<Registry, Error> {
        self.reopened_where(self.blobs.clone(), |_| {}).await
    }

    /// Opens the same registry again over other bytes or under other settings.
    pub async fn reopened_where(
        &self,
        blobs: Blobs,
        change: impl FnOnce(&mut Settings),
    ) -> Result<Registry, Error> {
        let mut settings = self.registry.settings().clone();
        change(&mut settings);
        let seams = Seams {
            clock: self.clock.clone(),
            random: Arc::new(SystemRandom),
            outside: self.outside.clone(),
            post: Some(self.mailbox.clone()),
            domains: Some(self.domains.clone()),
        };
        let store = Store::connect(&self.database).await?;
        let keys = LogKeys::load(&self.folder.path().join("keys"), 1)?;
        Registry::open(settings, store, blobs, keys, seams).await
    }

    /// Stops the heartbeat, closes the database, and starts both again: a clean restart.
    pub async fn restart(&mut self) {
        self.stop_heartbeat().await;
        self.registry.store().close().await;
        self.start_anew().await;
    }

    /// Opens the registry again and starts its heartbeat: what a next process does.
    pub async fn start_anew(&mut self) {
        self.registry = self.reopened().await.unwrap();
        self.beating = Some(self.registry.start());
    }

    /// What the spool folder still holds.
    pub fn spooled(&self) -> usize {
        std::fs::read_dir(self.folder.path().join("spool"))
            .unwrap()
            .count()
    }

    /// From now on time passes only when the test says so: what is counted by time does not depend on how busy the machine
    /// is.
    pub fn hold_clock(&self) {
        let now = countersign_registry::SystemClock.now().0;
        self.clock.held.store(now, Ordering::SeqCst);
    }

    pub fn turn_clock(&self, by: Duration) {
        self.clock
            .added
            .fetch_add(i64::try_from(by.as_micros()).unwrap(), Ordering::SeqCst);
    }

    /// Where its bytes are.
    pub fn blobs(&self) -> Blobs {
        self.blobs.clone()
    }

    /// The registry's time, in seconds since 1970.
    pub fn registry_now(&self) -> i64 {
        self.clock.now().seconds()
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
            namespace: None,
            networks: Vec::new(),
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

    /// Publishes all at the same time, each in a task of its own.
    pub async fn publish_at_once(
        &self,
        jobs: impl IntoIterator<Item = (Actor, Package)>,
    ) -> Vec<Result<Receipt, Error>> {
        let tasks: Vec<_> = jobs
            .into_iter()
            .map(|(actor, package)| {
                let registry = self.registry.clone();
                tokio::spawn(async move { publish(&registry, &actor, &package).await })
            })
            .collect();
        let mut answers = Vec::new();
        for task in tasks {
            answers.push(task.await.unwrap());
        }
        answers
    }

    /// Publishes with a form that a test has bent.
    pub async fn publish_with(
        &self,
        actor: &Actor,
        package: &Package,
        form: Vec<(&'static str, String)>,
    ) -> Result<Receipt, Error> {
        publish_with(&self.registry, actor, package, form).await
    }

    /// A document's text.
    pub async fn text(&self, key: DocumentKey) -> Result<String, Error> {
        let document = self.registry.document(&key).await?;
        Ok(String::from_utf8(document.bytes.to_vec()).unwrap())
    }

    /// A project's index.
    pub async fn index(&self, project: &str) -> Result<String, Error> {
        self.text(DocumentKey::Index(Ecosystem::Pypi, project.into()))
            .await
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

/// A folder in memory where there is one: what is tested here is not the disk.
fn folder() -> tempfile::TempDir {
    let memory = Path::new("/dev/shm");
    if memory.is_dir() {
        return tempfile::tempdir_in(memory).unwrap();
    }
    tempfile::tempdir().unwrap()
}

/// Bytes that no compressor makes smaller, the same for the same seed.
pub fn noise(seed: u64, length: usize) -> Vec<u8> {
    let mut state = seed | 1;
    std::iter::repeat_with(|| {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state.to_le_bytes()
    })
    .flatten()
    .take(length)
    .collect()
}

/// The code of a refusal, with its text for the message of a failed test.
#[track_caller]
pub fn refused<T>(answer: Result<T, Error>, code: &str) -> Error {
    match answer {
        Ok(_) => panic!("not refused; expected {code}"),
        Err(error) => {
            assert_eq!(error.code, code, "{error:?}");
            assert!(
                error.remedy.is_some() || error.kind == Kind::NotFound,
                "{code} has no way out: {error}"
            );
            error
        }
    }
}

pub async fn publish(
    registry: &Registry,
    actor: &Actor,
    package: &Package,
) -> Result<Receipt, Error> {
    publish_with(registry, actor, package, package.form()).await
}

async fn publish_with(
    registry: &Registry,
    actor: &Actor,
    package: &Package,
    form: Vec<(&'static str, String)>,
) -> Result<Receipt, Error> {
    // In pieces, as a socket gives them.
    let pieces: Vec<_> = package
        .bytes
        .chunks(64 << 10)
        .map(|piece| Ok::<_, std::io::Error>(bytes::Bytes::copy_from_slice(piece)))
        .collect();
    let staged = registry
        .stage(
            actor,
            Ecosystem::Pypi,
            &package.filename,
            futures::stream::iter(pieces),
        )
        .await?;
    let form = UploadForm::from_pairs(form)?;
    registry
        .publish(actor, staged, Form::Pypi(Box::new(form)))
        .await
}
