//! Faults, in the manner of a table: each kind of write fails, or fails although it was done, and the database goes
//! away between any two steps. Every time the publisher hears that it was not the publisher's fault, nothing is half
//! done, and the identical retry gets its receipt once the fault is gone.

use std::fmt;
use std::ops::Range;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use bytes::Bytes;
use countersign_formats::Ecosystem;
use countersign_registry::{Blobs, DocumentKey, Kind, Registry};
use countersign_testkit::packages::Wheel;
use futures::future::BoxFuture;
use futures::stream::BoxStream;
use object_store::memory::InMemory;
use object_store::path::Path;
use object_store::{
    CopyOptions, GetOptions, GetResult, ListResult, MultipartUpload, ObjectMeta, ObjectStore,
    PutMultipartOptions, PutOptions, PutPayload, PutResult, Result as Stored,
};
use sqlx::Connection;

use crate::kit::{Database, TestRegistry, publish, refused};
use crate::on_both_databases;

/// What is written, by its path.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Put {
    Artifact,
    Entries,
    PartialTile,
    FullTile,
    Document,
    Checkpoint,
}

impl Put {
    fn of(path: &Path) -> Self {
        let path = path.as_ref();
        if path.starts_with("artifacts/") {
            Self::Artifact
        } else if path.starts_with("documents/") {
            Self::Document
        } else if path.ends_with("/checkpoint") {
            Self::Checkpoint
        } else if path.contains("/tile/entries/") {
            Self::Entries
        } else if path.contains(".p/") {
            Self::PartialTile
        } else {
            Self::FullTile
        }
    }
}

type Meanwhile = Arc<dyn Fn() -> BoxFuture<'static, ()> + Send + Sync>;

/// What happens at a put.
#[derive(Clone)]
enum Fault {
    Fails,
    FailsAfterwards,
    /// Something happens elsewhere just before; the put itself succeeds.
    Meanwhile(Meanwhile),
}

/// Memory that fails where it is told to.
struct Faulty {
    inner: Arc<InMemory>,
    plan: Mutex<Option<(Put, Fault)>>,
    hits: Mutex<u32>,
}

impl Faulty {
    fn over(inner: Arc<InMemory>) -> Arc<Self> {
        Arc::new(Self {
            inner,
            plan: Mutex::default(),
            hits: Mutex::default(),
        })
    }

    fn new() -> Arc<Self> {
        Self::over(Arc::new(InMemory::new()))
    }

    fn plan(&self, put: Put, fault: Fault) {
        *self.hits.lock().unwrap() = 0;
        *self.plan.lock().unwrap() = Some((put, fault));
    }

    /// Ends the fault and says how often it struck.
    fn mend(&self) -> u32 {
        *self.plan.lock().unwrap() = None;
        *self.hits.lock().unwrap()
    }

    fn struck(&self, path: &Path) -> Option<Fault> {
        let plan = self.plan.lock().unwrap();
        let (put, fault) = plan.as_ref()?;
        if *put != Put::of(path) {
            return None;
        }
        *self.hits.lock().unwrap() += 1;
        Some(fault.clone())
    }
}

impl fmt::Debug for Faulty {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("faulty memory")
    }
}

impl fmt::Display for Faulty {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("faulty memory")
    }
}

fn broken() -> object_store::Error {
    object_store::Error::Generic {
        store: "faulty",
        source: "the test wants it so".into(),
    }
}

type Answer<'a, T> = Pin<Box<dyn Future<Output = Stored<T>> + Send + 'a>>;

impl ObjectStore for Faulty {
    fn put_opts<'life0, 'life1, 'async_trait>(
        &'life0 self,
        location: &'life1 Path,
        payload: PutPayload,
        opts: PutOptions,
    ) -> Answer<'async_trait, PutResult>
    where
        'life0: 'async_trait,
        'life1: 'async_trait,
        Self: 'async_trait,
    {
        Box::pin(async move {
            match self.struck(location) {
                Some(Fault::Fails) => return Err(broken()),
                Some(Fault::FailsAfterwards) => {
                    self.inner.put_opts(location, payload, opts).await?;
                    return Err(broken());
                }
                Some(Fault::Meanwhile(meanwhile)) => meanwhile().await,
                None => {}
            }
            self.inner.put_opts(location, payload, opts).await
        })
    }

    fn put_multipart_opts<'life0, 'life1, 'async_trait>(
        &'life0 self,
        location: &'life1 Path,
        opts: PutMultipartOptions,
    ) -> Answer<'async_trait, Box<dyn MultipartUpload>>
    where
        'life0: 'async_trait,
        'life1: 'async_trait,
        Self: 'async_trait,
    {
        Box::pin(async move {
            if self.struck(location).is_some() {
                return Err(broken());
            }
            self.inner.put_multipart_opts(location, opts).await
        })
    }

    fn get_opts<'life0, 'life1, 'async_trait>(
        &'life0 self,
        location: &'life1 Path,
        options: GetOptions,
    ) -> Answer<'async_trait, GetResult>
    where
        'life0: 'async_trait,
        'life1: 'async_trait,
        Self: 'async_trait,
    {
        self.inner.get_opts(location, options)
    }

    fn get_ranges<'life0, 'life1, 'life2, 'async_trait>(
        &'life0 self,
        location: &'life1 Path,
        ranges: &'life2 [Range<u64>],
    ) -> Answer<'async_trait, Vec<Bytes>>
    where
        'life0: 'async_trait,
        'life1: 'async_trait,
        'life2: 'async_trait,
        Self: 'async_trait,
    {
        self.inner.get_ranges(location, ranges)
    }

    fn delete_stream(
        &self,
        locations: BoxStream<'static, Stored<Path>>,
    ) -> BoxStream<'static, Stored<Path>> {
        self.inner.delete_stream(locations)
    }

    fn list(&self, prefix: Option<&Path>) -> BoxStream<'static, Stored<ObjectMeta>> {
        self.inner.list(prefix)
    }

    fn list_with_delimiter<'life0, 'life1, 'async_trait>(
        &'life0 self,
        prefix: Option<&'life1 Path>,
    ) -> Answer<'async_trait, ListResult>
    where
        'life0: 'async_trait,
        'life1: 'async_trait,
        Self: 'async_trait,
    {
        self.inner.list_with_delimiter(prefix)
    }

    fn copy_opts<'life0, 'life1, 'life2, 'async_trait>(
        &'life0 self,
        from: &'life1 Path,
        to: &'life2 Path,
        options: CopyOptions,
    ) -> Answer<'async_trait, ()>
    where
        'life0: 'async_trait,
        'life1: 'async_trait,
        'life2: 'async_trait,
        Self: 'async_trait,
    {
        self.inner.copy_opts(from, to, options)
    }
}

/// A registry over faulty memory whose publishers wait for `wait` only.
async fn impatient(database: Database, faulty: &Arc<Faulty>, wait: Duration) -> TestRegistry {
    TestRegistry::with_blobs(database, Blobs::from_store(faulty.clone()), |settings| {
        settings.log_wait = wait;
    })
    .await
}

/// One row of the table.
async fn strike(test: &TestRegistry, faulty: &Faulty, put: Put, fault: Fault, name: &str) {
    let ann = test
        .token("ann", countersign_registry::model::Action::Publish, None)
        .await;
    let wheel = Wheel::new(name, "1.0").build();
    let what = format!("{put:?} of {name}");
    faulty.plan(put, fault);
    let answer = test.publish(&ann, &wheel).await;
    if put == Put::Checkpoint {
        // The copy beside the tiles is the last step: the file is in the log already, and its publisher hears of it.
        test.check_receipt(&answer.unwrap(), &wheel);
    } else {
        let error = answer.unwrap_err();
        assert_eq!(error.kind, Kind::Unavailable, "{what}: {error:?}");
        let expected = if put == Put::Artifact {
            "blobs-unreachable"
        } else {
            "log-stands-still"
        };
        assert_eq!(error.code, expected, "{what}: {error:?}");
        assert!(error.remedy.is_some());
        refused(test.index(name).await, "project-unknown");
        let file = test.registry.file(&wheel.sha256(), &wheel.filename).await;
        refused(
            file,
            if put == Put::Artifact {
                "file-unknown"
            } else {
                "file-pending"
            },
        );
        assert!(
            !test
                .text(DocumentKey::SimpleIndexJson)
                .await
                .unwrap()
                .contains(name)
        );
        if put != Put::Artifact {
            let health = test.registry.health().await;
            assert!(!health.ok && health.log_backlog > 0, "{what}: {health:?}");
        }
    }
    assert!(faulty.mend() > 0, "{what} was never written");
    let receipt = test.publish(&ann, &wheel).await.unwrap();
    test.check_receipt(&receipt, &wheel);
    assert_eq!(receipt.repeated, put != Put::Artifact, "{what}");
    assert!(test.index(name).await.unwrap().contains(&wheel.sha256()));
    let file = test
        .registry
        .file(&wheel.sha256(), &wheel.filename)
        .await
        .unwrap();
    assert_eq!(file.memory.as_deref(), Some(&wheel.bytes[..]));
    test.check().await;
    let health = test.registry.health().await;
    assert!(health.ok, "{what}: {health:?}");
}

on_both_databases! {
    async fn every_write_may_fail_or_seem_to_and_nothing_is_lost_or_half_done(database: Database) {
        let faulty = Faulty::new();
        let test = impatient(database, &faulty, Duration::from_secs(1)).await;
        let ann = test.user("ann").await;
        test.publish(&ann, &Wheel::new("filler", "1.0").build()).await.unwrap();
        for (put, name) in [
            (Put::Artifact, "artifact"),
            (Put::Entries, "entries"),
            (Put::PartialTile, "partial-tile"),
            (Put::Document, "document"),
            (Put::Checkpoint, "checkpoint"),
        ] {
            strike(&test, &faulty, put, Fault::Fails, &format!("{name}-failed")).await;
            strike(&test, &faulty, put, Fault::FailsAfterwards, &format!("{name}-persisted")).await;
        }
        test.fill_log("filler", "1.0", 255).await;
        strike(&test, &faulty, Put::FullTile, Fault::Fails, "full-tile-failed").await;
        test.fill_log("filler", "1.0", 511).await;
        strike(&test, &faulty, Put::FullTile, Fault::FailsAfterwards, "full-tile-persisted").await;
    }

    async fn a_log_that_stands_still_says_so_in_time_and_the_retry_is_the_same_publication(database: Database) {
        let faulty = Faulty::new();
        let test = impatient(database, &faulty, Duration::from_millis(300)).await;
        let ann = test.user("ann").await;
        let wheel = Wheel::new("demo", "1.0").build();
        faulty.plan(Put::PartialTile, Fault::Fails);
        for _ in 0..2 {
            // It answers while the log stands still, however busy the machine is.
            let publish = tokio::time::timeout(Duration::from_secs(120), test.publish(&ann, &wheel));
            let error = refused(publish.await.unwrap(), "log-stands-still");
            assert!(error.message.contains("The file is safe"), "{error}");
        }
        faulty.mend();
        let receipt = test.publish(&ann, &wheel).await.unwrap();
        assert!(receipt.repeated);
        test.check_receipt(&receipt, &wheel);
        test.check().await;
    }

    async fn the_log_moves_on_by_itself_when_the_fault_is_gone(database: Database) {
        let faulty = Faulty::new();
        let test = impatient(database, &faulty, Duration::from_millis(300)).await;
        let ann = test.user("ann").await;
        let wheel = Wheel::new("demo", "1.0").build();
        faulty.plan(Put::Entries, Fault::Fails);
        refused(test.publish(&ann, &wheel).await, "log-stands-still");
        faulty.mend();
        // Nobody publishes, nobody retries.
        test.settled().await;
        assert!(test.index("demo").await.unwrap().contains(&wheel.sha256()));
        assert!(test.registry.health().await.ok);
        test.check().await;
    }

    async fn a_restart_finishes_the_beat_that_a_fault_broke_off(database: Database) {
        let faulty = Faulty::new();
        let mut test = impatient(database, &faulty, Duration::from_millis(300)).await;
        let ann = test.user("ann").await;
        for (number, put) in (0..).zip([Put::Entries, Put::PartialTile, Put::Document, Put::Checkpoint]) {
            let wheel = Wheel::new("demo", &format!("{number}.0")).build();
            faulty.plan(put, Fault::Fails);
            if let Err(error) = test.publish(&ann, &wheel).await {
                assert_eq!(error.code, "log-stands-still");
            }
            test.stop_heartbeat().await;
            assert!(faulty.mend() > 0);
            test.start_anew().await;
            // Opening alone did it: there is nothing left to settle.
            assert_eq!(test.registry.health().await.log_backlog, 0);
            assert!(test.index("demo").await.unwrap().contains(&wheel.sha256()));
            test.check().await;
        }
    }

    async fn what_a_dying_process_numbered_another_one_serves(database: Database) {
        let memory = Arc::new(InMemory::new());
        let test = impatient(database, &Faulty::over(memory.clone()), Duration::from_secs(10)).await;
        let ann = test.user("ann").await;
        test.publish(&ann, &Wheel::new("demo", "1.0").build()).await.unwrap();
        let dying = Faulty::over(memory);
        let other = test.reopened_over(Blobs::from_store(dying.clone())).await;
        dying.plan(Put::PartialTile, Fault::Fails);
        let beating = other.start();
        let wheel = Wheel::new("demo", "2.0").build();
        // It numbers the leaf and can not write the tile; the healthy one, which was not asked, does.
        let receipt = publish(&other, &ann, &wheel).await.unwrap();
        test.check_receipt(&receipt, &wheel);
        beating.stop().await;
        other.store().close().await;
        test.check().await;
    }

    async fn two_heartbeats_on_one_database_do_each_others_work_and_no_harm(test: TestRegistry) {
        let ann = test.user("ann").await;
        let other = test.reopened().await.unwrap();
        let beating = other.start();
        let wheels: Vec<_> = (0..30).map(|number| Wheel::new("demo", &format!("1.{number}")).build()).collect();
        let tasks: Vec<_> = wheels
            .iter()
            .enumerate()
            .map(|(number, wheel)| {
                let registry = if number % 2 == 0 { test.registry.clone() } else { other.clone() };
                let (ann, wheel) = (ann.clone(), wheel.clone());
                tokio::spawn(async move {
                    tokio::time::sleep(Duration::from_millis(number as u64 / 6 * 40)).await;
                    publish(&registry, &ann, &wheel).await
                })
            })
            .collect();
        for (wheel, task) in wheels.iter().zip(tasks) {
            test.check_receipt(&task.await.unwrap().unwrap(), wheel);
        }
        tokio::time::sleep(Duration::from_millis(260)).await;
        for registry in [&test.registry, &other] {
            let key = DocumentKey::Index(Ecosystem::Pypi, "demo".into());
            let index = registry.document(&key).await.unwrap();
            let index = String::from_utf8_lossy(&index.bytes).into_owned();
            assert!(wheels.iter().all(|wheel| index.contains(&wheel.sha256())));
        }
        test.check().await;
        beating.stop().await;
        other.store().close().await;
    }

    async fn what_readers_see_of_the_log_never_shrinks(test: TestRegistry) {
        let ann = test.user("ann").await;
        let other = test.reopened().await.unwrap();
        let beating = other.start();
        let stop = Arc::new(std::sync::atomic::AtomicBool::new(false));
        let watchers: Vec<_> = [test.registry.clone(), other.clone()]
            .into_iter()
            .map(|registry| {
                let stop = stop.clone();
                tokio::spawn(async move {
                    let mut seen = 0;
                    while !stop.load(std::sync::atomic::Ordering::SeqCst) {
                        let size = registry.checkpoint(1).await.unwrap().serial;
                        assert!(size >= seen, "{size} after {seen}");
                        seen = size;
                        tokio::time::sleep(Duration::from_millis(1)).await;
                    }
                })
            })
            .collect();
        for number in 0..24 {
            let registry = if number % 2 == 0 { &test.registry } else { &other };
            publish(registry, &ann, &Wheel::new("demo", &format!("1.{number}")).build()).await.unwrap();
        }
        stop.store(true, std::sync::atomic::Ordering::SeqCst);
        for watcher in watchers {
            watcher.await.unwrap();
        }
        beating.stop().await;
        other.store().close().await;
        // What another process did is seen here within the time of a look.
        tokio::time::sleep(Duration::from_millis(300)).await;
        test.check().await;
    }
}

impl TestRegistry {
    async fn reopened_over(&self, blobs: Blobs) -> Registry {
        self.reopened_where(blobs, |_| {}).await.unwrap()
    }

    /// Runs a statement on the database server, from another database of it.
    async fn on_server(url: String, statement: String) {
        let server = url.rsplit_once('/').unwrap().0;
        let mut connection = sqlx::AnyConnection::connect(&format!("{server}/postgres"))
            .await
            .unwrap();
        sqlx::raw_sql(sqlx::AssertSqlSafe(statement))
            .execute(&mut connection)
            .await
            .unwrap();
        connection.close().await.unwrap();
    }

    fn database_name(&self) -> String {
        self.database.rsplit_once('/').unwrap().1.to_owned()
    }

    /// Cuts every connection to the database; with `for_good`, it takes no new ones either.
    fn cut(&self, for_good: bool) -> Meanwhile {
        let (url, name) = (self.database.clone(), self.database_name());
        Arc::new(move || {
            let (url, name) = (url.clone(), name.clone());
            Box::pin(async move {
                if for_good {
                    let statement =
                        format!("ALTER DATABASE \"{name}\" WITH ALLOW_CONNECTIONS false");
                    Self::on_server(url.clone(), statement).await;
                }
                // Until they are gone: one that is only told to go may still take the next publisher's first statement.
                let statement = format!(
                    "SELECT pg_terminate_backend(pid, 20000) FROM pg_stat_activity WHERE datname = '{name}'"
                );
                Self::on_server(url, statement).await;
            })
        })
    }

    async fn heal(&self) {
        let statement = format!(
            "ALTER DATABASE \"{}\" WITH ALLOW_CONNECTIONS true",
            self.database_name()
        );
        Self::on_server(self.database.clone(), statement).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_database_server_that_goes_away_between_any_two_steps_costs_a_retry_and_nothing_else() {
    let faulty = Faulty::new();
    let test = impatient(Database::Postgres, &faulty, Duration::from_secs(1)).await;
    let ann = test.user("ann").await;
    for for_good in [false, true] {
        for (number, put) in (0..).zip([
            Put::Artifact,
            Put::Entries,
            Put::PartialTile,
            Put::Document,
            Put::Checkpoint,
        ]) {
            let wheel = Wheel::new("demo", &format!("{}.{number}", i32::from(for_good))).build();
            let done = Arc::new(AtomicBool::new(false));
            let (cut, cut_off) = (test.cut(for_good), done.clone());
            let cut: Meanwhile = Arc::new(move || {
                let (cut, cut_off) = (cut.clone(), cut_off.clone());
                Box::pin(async move {
                    cut().await;
                    cut_off.store(true, Ordering::SeqCst);
                })
            });
            faulty.plan(put, Fault::Meanwhile(cut));
            match test.publish(&ann, &wheel).await {
                Ok(receipt) => test.check_receipt(&receipt, &wheel),
                Err(error) => {
                    assert_eq!(
                        error.kind,
                        Kind::Unavailable,
                        "{put:?} {for_good}: {error:?}"
                    );
                }
            }
            // The last step's publisher finds its leaf in the rows, and may have its receipt before the server is quite away.
            let deadline = Instant::now() + Duration::from_secs(60);
            while !done.load(Ordering::SeqCst) {
                assert!(Instant::now() < deadline, "{put:?}: is not cut off");
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
            if for_good {
                let deadline = Instant::now() + Duration::from_secs(20);
                while test.registry.health().await.ok {
                    assert!(
                        Instant::now() < deadline,
                        "{put:?}: healthy without a database"
                    );
                    tokio::time::sleep(Duration::from_millis(20)).await;
                }
                test.heal().await;
            }
            assert!(faulty.mend() > 0);
            let receipt = test.publish(&ann, &wheel).await;
            let receipt = receipt.unwrap_or_else(|error| panic!("{put:?} {for_good}: {error:?}"));
            test.check_receipt(&receipt, &wheel);
            test.check().await;
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn connections_cut_again_and_again_lose_no_publication() {
    let test = TestRegistry::new(Database::Postgres).await;
    let ann = test.user("ann").await;
    let cut = test.cut(false);
    let cutting = tokio::spawn(async move {
        for _ in 0..15 {
            cut().await;
            tokio::time::sleep(Duration::from_millis(60)).await;
        }
    });
    let wheels: Vec<_> = (0..24)
        .map(|number| Wheel::new("demo", &format!("1.{number}")).build())
        .collect();
    for wheels in wheels.chunks(4) {
        let jobs = wheels.iter().map(|wheel| (ann.clone(), wheel.clone()));
        for answer in test.publish_at_once(jobs).await {
            if let Err(error) = answer {
                assert_eq!(error.kind, Kind::Unavailable, "{error:?}");
            }
        }
    }
    cutting.await.unwrap();
    for wheel in &wheels {
        let receipt = test.publish(&ann, wheel).await.unwrap();
        test.check_receipt(&receipt, wheel);
    }
    test.check().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_database_file_locked_by_another_program_is_unavailable_once_and_not_nine_times() {
    let test = TestRegistry::new(Database::Sqlite).await;
    let ann = test.user("ann").await;
    let wheel = Wheel::new("demo", "1.0").build();
    let mut other = test.connection().await;
    sqlx::raw_sql("BEGIN EXCLUSIVE")
        .execute(&mut other)
        .await
        .unwrap();
    let began = Instant::now();
    let error = refused(test.publish(&ann, &wheel).await, "database-unreachable");
    assert_eq!(error.kind, Kind::Unavailable);
    // The busy timeout is ten seconds, and the mail office, which looks every five, may have stood in line before.
    assert!(
        began.elapsed() < Duration::from_secs(26),
        "{:?}",
        began.elapsed()
    );
    sqlx::raw_sql("ROLLBACK").execute(&mut other).await.unwrap();
    other.close().await.unwrap();
    let receipt = test.publish(&ann, &wheel).await.unwrap();
    assert!(!receipt.repeated);
    test.check().await;
}
