//! All SQL. One text for SQLite and PostgreSQL through `sqlx::Any`; house dialect: TEXT and BIGINT only.
//!
//! Methods are named for the questions and facts of the domain. [`Tx`] is the only way to write; nothing here
//! touches the network besides the database, and no transaction is ever open while something else waits.

mod advisories;
mod beats;
mod console;
mod curating;
mod device;
mod examining;
mod incidents;
mod insider;
mod keys;
mod local;
mod log_service;
mod mail;
mod map;
mod moderation;
mod names;
mod npm;
mod organisations;
mod people;
mod privacy;
mod provenance;
mod publishing;
mod reading;
mod recovery;
mod scanning;
mod service;
mod sign_in;
mod staging;
mod stars;
mod trusted;
mod tuf;
mod veil;
mod whole;

use std::str::FromStr;
use std::sync::Arc;
use std::time::Duration;

use sqlx::any::{AnyConnectOptions, AnyPoolOptions, AnyRow};
use sqlx::{AnyPool, AssertSqlSafe, Row};

pub(crate) use advisories::{AdvisoryRow, ExemptionRow, FeedRow, OWN_FEED};
pub(crate) use beats::{
    DocumentRow, DueDocument, Head, LeafFacts, NewEvent, NumberedLeaf, ProjectState,
};
pub use console::{LeakReport, Withheld};
pub(crate) use curating::{CuratedFile, CuratedProject};
pub(crate) use device::DeviceRow;
pub(crate) use incidents::{
    CredentialMatch, IncidentRow, Marks, RevokeWhere, StopRow, TraceRow, Whose,
};
pub use insider::Tampering;
pub(crate) use keys::{KeyRow, KeyTable};
use local::{Link, Local, Near, Writer};
pub(crate) use log_service::{LogServiceHead, LogServiceRow};
pub(crate) use mail::{AccountNoticeRow, AddressRow, DomainRow, MailRow, MailSecretRow, NewMail};
pub(crate) use map::{LogPlace, MapState, MappedLeaf};
pub(crate) use moderation::{NewCase, NewReport};
pub(crate) use names::NamedProject;
pub use names::{MissingName, NameException, NameFacts, NameList, ProhibitedName};
pub(crate) use organisations::{
    ApprovalRow, InvitationRow, OrganisationRow, OwnedProject, ProposalKind, ProposalRow, TeamRow,
};
pub(crate) use people::{CredentialRow, NewCredential};
pub use provenance::ChangeFacts;
pub(crate) use provenance::{
    AttestationRow, AttestedFile, ChangeRow, CheckedSource, IdentityRow, OwnSubject,
    SourceCheckRow, TrustRootRow,
};
pub(crate) use publishing::{
    FileFacts, NamespaceFacts, NewFile, NewProject, ProjectFacts, PublishFacts,
};
#[cfg(test)]
pub(crate) use publishing::{IdentifierFacts, ReleaseFacts};
pub(crate) use reading::{DistTag, FileExtras, FileRow, ReleaseRow, ecosystem};
pub(crate) use recovery::RecoveryRow;
pub(crate) use scanning::{SCAN_FAILED, ScanJob};
pub(crate) use service::{PendingRow, ServiceRow, TaskRow};
pub(crate) use sign_in::{
    CeremonyRow, FactorFacts, FactorRow, LinkedRow, NewSession, PasswordRow, PersonRow, SessionRow,
    SignUpRow,
};
pub(crate) use staging::StagedRow;
pub(crate) use trusted::{
    FailureRow, IssuerRow, NoticeRow, PolicyFacts, PublisherRow, ServicePublisherRow,
};
pub(crate) use tuf::{ALL_PLACES, TufFileRow, TufPublication, TufTargetRow};
pub(crate) use veil::{PrivateProject, Seen, Veiled};
pub(crate) use whole::{Column, TABLES};

use crate::error::{Error, Kind, Result};
use crate::model::Time;

/// Which database stands behind.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Backend {
    /// A file beside the server; one writer at a time.
    Sqlite,
    /// A server shared by any number of `countersignd`.
    Postgres,
}

/// The database.
#[derive(Clone)]
pub struct Store {
    read: AnyPool,
    near: Near,
    write: Writer,
    backend: Backend,
}

/// A write transaction. Dropped without [`Tx::commit`], it is rolled back.
pub struct Tx {
    inner: Box<Link>,
    backend: Backend,
}

static MIGRATOR: sqlx::migrate::Migrator = sqlx::migrate!();

impl Store {
    /// Connects to `sqlite://PATH` (made if missing) or `postgres://…`.
    ///
    /// SQLite runs in WAL mode with `synchronous=FULL`: a commit that was acknowledged survives power loss. It gets
    /// one connection for writing, so that writers queue fairly here instead of polling a busy file (`local`).
    ///
    /// # Errors
    /// `database-url` for a scheme that is neither; `database-unreachable` where the server or file can not be opened.
    pub async fn connect(url: &str) -> Result<Self> {
        sqlx::any::install_default_drivers();
        let backend = if url.starts_with("sqlite:") {
            Backend::Sqlite
        } else if url.starts_with("postgres:") || url.starts_with("postgresql:") {
            Backend::Postgres
        } else {
            let scheme = url.split(':').next().unwrap_or_default();
            return Err(Error::new(
                Kind::Rejected,
                "database-url",
                format!("A database URL can not begin with {scheme:?}."),
            )
            .remedy("Use sqlite://PATH or postgres://USER@HOST/NAME."));
        };
        let address = match backend {
            Backend::Sqlite if !url.contains('?') => format!("{url}?mode=rwc"),
            _ => url.to_owned(),
        };
        let options = AnyConnectOptions::from_str(&address).map_err(|source| {
            Error::new(
                Kind::Rejected,
                "database-url",
                "The database URL can not be read.",
            )
            .remedy("Use sqlite://PATH or postgres://USER@HOST/NAME.")
            .because(source)
        })?;
        // A writer keeps the pages that it works on, and folds its log into the file less often than SQLite's default: most
        // pages of one publish are those of the next.
        let writer = "PRAGMA journal_mode=WAL; PRAGMA synchronous=FULL; PRAGMA foreign_keys=ON; PRAGMA temp_store=MEMORY; \
                      PRAGMA cache_size=-32000; PRAGMA journal_size_limit=67108864; PRAGMA wal_autocheckpoint=4000;";
        let reader = "PRAGMA query_only=ON; PRAGMA temp_store=MEMORY; PRAGMA cache_size=-8000;";
        let pool = |connections: u32| {
            AnyPoolOptions::new()
                .max_connections(connections)
                .min_connections(1)
                .acquire_timeout(Duration::from_secs(10))
                // A server may have restarted; the file beside us has not.
                .test_before_acquire(backend == Backend::Postgres)
                .idle_timeout(Duration::from_secs(600))
                .after_connect(move |connection, _| {
                    Box::pin(async move {
                        let settings = match backend {
                            Backend::Sqlite => {
                                "PRAGMA journal_mode=WAL; PRAGMA synchronous=FULL; PRAGMA busy_timeout=10000; \
                                 PRAGMA foreign_keys=ON; PRAGMA temp_store=MEMORY; PRAGMA cache_size=-8000; \
                                 PRAGMA journal_size_limit=67108864;"
                            }
                            // A commit that was acknowledged is on disk, whatever the server's default is.
                            Backend::Postgres => "SET synchronous_commit = on; SET timezone = 'UTC';",
                        };
                        sqlx::raw_sql(settings).execute(&mut *connection).await?;
                        Ok(())
                    })
                })
        };
        let read = pool(4)
            .connect_with(options.clone())
            .await
            .map_err(failed)?;
        let (near, write) = match backend {
            Backend::Sqlite => {
                let opened = move || Local::open(&address, writer, reader);
                let local = tokio::task::spawn_blocking(opened)
                    .await
                    .map_err(|source| Error::internal("a task broke off", source))?
                    .map_err(failed)?;
                let local = Arc::new(local);
                (Near::Local(local.clone()), Writer::Local(local))
            }
            Backend::Postgres => {
                let write = pool(12).connect_with(options).await.map_err(failed)?;
                (Near::Remote(read.clone()), Writer::Remote(write))
            }
        };
        Ok(Self {
            read,
            near,
            write,
            backend,
        })
    }

    /// Which database stands behind.
    pub fn backend(&self) -> Backend {
        self.backend
    }

    /// Applies every pending migration.
    ///
    /// # Errors
    /// Where a migration fails or the database was migrated by a newer version.
    pub async fn migrate(&self) -> Result<()> {
        let (pool, _turn) = match &self.write {
            Writer::Remote(pool) => (pool, None),
            Writer::Local(local) => (&self.read, Some(local.turn().await)),
        };
        MIGRATOR.run(pool).await.map_err(|source| {
            Error::new(Kind::Unavailable, "migration-failed", format!("The database could not be migrated: {source}."))
                .remedy("If it was used by a newer countersignd, run that version; else restore the last backup.")
                .because(source)
        })
    }

    /// How many migrations are pending.
    ///
    /// # Errors
    /// Where the database can not be read.
    pub async fn pending_migrations(&self) -> Result<usize> {
        let applied = if self.has_table("_sqlx_migrations").await? {
            self.count("SELECT count(*) AS n FROM _sqlx_migrations")
                .await?
        } else {
            0
        };
        let (known, applied) = (
            MIGRATOR.iter().count(),
            usize::try_from(applied).unwrap_or(usize::MAX),
        );
        known.checked_sub(applied).ok_or_else(|| {
            Error::new(
                Kind::Unavailable,
                "database-newer",
                format!("The database has {applied} migrations, this countersignd knows {known}: a newer one was here."),
            )
            .remedy("Run that version, or restore the backup from before it.")
        })
    }

    /// True where no table of ours stands in it.
    ///
    /// # Errors
    /// Where the database can not be read.
    pub async fn is_empty(&self) -> Result<bool> {
        Ok(!self.has_table("instance").await?)
    }

    async fn has_table(&self, name: &str) -> Result<bool> {
        let text = match self.backend {
            Backend::Sqlite => {
                "SELECT count(*) AS n FROM sqlite_master WHERE type = 'table' AND name = $1"
            }
            Backend::Postgres => {
                "SELECT count(*) AS n FROM pg_tables WHERE schemaname = ANY (current_schemas(false)) AND tablename = $1"
            }
        };
        let row = sqlx::query(text)
            .bind(name)
            .fetch_one(&self.read)
            .await
            .map_err(failed)?;
        Ok(row.try_get::<i64, _>("n").map_err(failed)? > 0)
    }

    async fn count(&self, text: &'static str) -> Result<i64> {
        let row = sqlx::query(text)
            .fetch_one(&self.near)
            .await
            .map_err(failed)?;
        row.try_get("n").map_err(failed)
    }

    /// Opens a write transaction. On SQLite it holds the one write lock from the start.
    ///
    /// # Errors
    /// `database-unreachable`, `disk-full`.
    pub async fn write(&self) -> Result<Tx> {
        let inner = self.write.begin().await.map_err(|error| {
            let error = failed(error);
            // Writers of this process queue before SQLite; whoever kept the file locked for as long as the busy
            // timeout is another program, and the caller is not to wait for it once more.
            if error.code == WRITE_CONFLICT {
                return Error::unavailable(
                    "database-unreachable",
                    "The registry's database is locked by another program.",
                )
                .because(error);
            }
            error
        })?;
        Ok(Tx {
            inner: Box::new(inner),
            backend: self.backend,
        })
    }

    /// Answers at once where the database answers.
    ///
    /// # Errors
    /// `database-unreachable`.
    pub async fn ping(&self) -> Result<()> {
        sqlx::query("SELECT 1 AS n")
            .fetch_one(&self.read)
            .await
            .map_err(failed)
            .map(|_| ())
    }

    /// Closes every connection; on SQLite this also folds the write-ahead log into the file.
    pub async fn close(&self) {
        self.read.close().await;
        match &self.write {
            Writer::Remote(pool) => pool.close().await,
            Writer::Local(local) => local.close().await,
        }
    }

    /// A value of the instance's own table.
    ///
    /// # Errors
    /// Where the database can not be read.
    pub async fn instance(&self, key: &str) -> Result<Option<String>> {
        let row = sqlx::query("SELECT value FROM instance WHERE key = $1")
            .bind(key)
            .fetch_optional(&self.near)
            .await
            .map_err(failed)?;
        row.map(|row| text(&row, "value")).transpose()
    }
}

impl Tx {
    /// Makes it durable. Only after this has returned may anything be acknowledged.
    ///
    /// # Errors
    /// `write-conflict` (try the whole transaction again), `database-unreachable`, `disk-full`.
    pub async fn commit(self) -> Result<()> {
        self.inner.commit().await.map_err(failed)
    }

    /// Marks a place to come back to; one at a time.
    pub(crate) async fn savepoint(&mut self) -> Result<()> {
        self.statement("SAVEPOINT publication").await
    }

    /// Keeps what was written since the savepoint.
    pub(crate) async fn keep_savepoint(&mut self) -> Result<()> {
        self.statement("RELEASE SAVEPOINT publication").await
    }

    /// Undoes what was written since the savepoint.
    pub(crate) async fn undo_savepoint(&mut self) -> Result<()> {
        self.statement("ROLLBACK TO SAVEPOINT publication").await?;
        self.keep_savepoint().await
    }

    async fn statement(&mut self, text: &'static str) -> Result<()> {
        sqlx::query(text)
            .execute(&mut *self.inner)
            .await
            .map_err(failed)
            .map(|_| ())
    }

    /// Writes a value where there is none; whichever stands then.
    pub(crate) async fn first_instance(&mut self, key: &str, value: &str) -> Result<String> {
        sqlx::query(
            "INSERT INTO instance (key, value) VALUES ($1, $2) ON CONFLICT (key) DO NOTHING",
        )
        .bind(key)
        .bind(value)
        .execute(&mut *self.inner)
        .await
        .map_err(failed)?;
        let row = sqlx::query("SELECT value FROM instance WHERE key = $1")
            .bind(key)
            .fetch_one(&mut *self.inner)
            .await
            .map_err(failed)?;
        text(&row, "value")
    }

    /// Sets a value of the instance's own table.
    pub(crate) async fn set_instance(&mut self, key: &str, value: &str) -> Result<()> {
        sqlx::query("INSERT INTO instance (key, value) VALUES ($1, $2) ON CONFLICT (key) DO UPDATE SET value = excluded.value")
            .bind(key)
            .bind(value)
            .execute(&mut *self.inner)
            .await
            .map_err(failed)?;
        Ok(())
    }
}

/// `($1,$2),($3,$4)…`: the rows of a VALUES list, numbered from `first`.
fn value_rows(rows: usize, columns: usize, first: usize) -> String {
    let mut sql = String::with_capacity(rows * columns * 5);
    let mut next = first;
    for row in 0..rows {
        sql.push_str(if row == 0 { "(" } else { ",(" });
        for column in 0..columns {
            if column > 0 {
                sql.push(',');
            }
            sql.push('$');
            sql.push_str(&next.to_string());
            next += 1;
        }
        sql.push(')');
    }
    sql
}

/// `$1,$2,$3…` numbered from `first`.
fn places(count: usize, first: usize) -> String {
    (first..first + count)
        .map(|place| format!("${place}"))
        .collect::<Vec<_>>()
        .join(",")
}

/// Marks SQL built only from our own constants and place numbers; values always travel as binds.
fn built(sql: String) -> AssertSqlSafe<String> {
    AssertSqlSafe(sql)
}

fn text(row: &AnyRow, column: &str) -> Result<String> {
    row.try_get::<String, _>(column).map_err(failed)
}

fn maybe_text(row: &AnyRow, column: &str) -> Result<Option<String>> {
    row.try_get::<Option<String>, _>(column).map_err(failed)
}

fn number(row: &AnyRow, column: &str) -> Result<i64> {
    row.try_get::<i64, _>(column).map_err(failed)
}

fn unsigned(row: &AnyRow, column: &str) -> Result<u64> {
    let value = number(row, column)?;
    u64::try_from(value).map_err(|source| Error::internal("a stored number is negative", source))
}

fn maybe_unsigned(row: &AnyRow, column: &str) -> Result<Option<u64>> {
    row.try_get::<Option<i64>, _>(column)
        .map_err(failed)?
        .map(|value| {
            u64::try_from(value)
                .map_err(|source| Error::internal("a stored number is negative", source))
        })
        .transpose()
}

fn time(row: &AnyRow, column: &str) -> Result<Time> {
    number(row, column).map(Time)
}

fn maybe_time(row: &AnyRow, column: &str) -> Result<Option<Time>> {
    Ok(row
        .try_get::<Option<i64>, _>(column)
        .map_err(failed)?
        .map(Time))
}

fn parsed<T: FromStr<Err = String>>(row: &AnyRow, column: &str) -> Result<T> {
    text(row, column)?
        .parse()
        .map_err(|source: String| Error::internal("a stored word is unknown", source))
}

/// What we store as BIGINT; sizes and counts stay far below 2^63.
fn signed(value: u64) -> i64 {
    i64::try_from(value).unwrap_or(i64::MAX)
}

/// The code of [`Error`]s after which the whole transaction is tried again.
pub(crate) const WRITE_CONFLICT: &str = "write-conflict";

/// Does something again where somebody else was a moment earlier ([`WRITE_CONFLICT`]), at most so many times.
///
/// # Errors
/// As what is done; [`WRITE_CONFLICT`] where others were earlier each time.
pub(crate) async fn retried<T, F>(races: usize, mut once: impl FnMut() -> F) -> Result<T>
where
    F: Future<Output = Result<T>>,
{
    for _ in 0..races {
        match once().await {
            Err(error) if error.code == WRITE_CONFLICT => {}
            other => return other,
        }
    }
    once().await
}

/// Turns a database error into ours: a lost race, a missing database, a full disk, or a bug.
fn failed(error: sqlx::Error) -> Error {
    match &error {
        sqlx::Error::Io(_)
        | sqlx::Error::PoolTimedOut
        | sqlx::Error::PoolClosed
        | sqlx::Error::WorkerCrashed
        | sqlx::Error::Tls(_) => Error::unavailable(
            "database-unreachable",
            "The registry can not reach its database.",
        )
        .because(error),
        sqlx::Error::Database(cause) => {
            let code = cause.code().unwrap_or_default().into_owned();
            // SQLite 13: database or disk is full; PostgreSQL 53100: disk full.
            let full = cause.message().contains("disk is full") || code == "13" || code == "53100";
            // PostgreSQL: serialization failure, deadlock; SQLite 5 and 6: busy, locked.
            let raced = cause.is_unique_violation()
                || matches!(code.as_str(), "40001" | "40P01" | "5" | "517" | "6");
            // PostgreSQL classes 08 (connection), 57P (shutdown), 53 (resources), 28 and 3D000 and 55000 (the server
            // lets us in no longer); SQLite: i/o error, can not open, read-only.
            let away = code.starts_with("08")
                || code.starts_with("28")
                || matches!(code.as_str(), "3D000" | "55000")
                || code.starts_with("57P")
                || code.starts_with("53")
                || matches!(code.as_str(), "10" | "14" | "8")
                || cause.message().contains("disk I/O error")
                || cause.message().contains("unable to open database");
            if full {
                Error::unavailable("disk-full", "The registry's disk is full.").because(error)
            } else if raced {
                Error::new(
                    Kind::Conflict,
                    WRITE_CONFLICT,
                    "Somebody else changed the same thing at the same moment.",
                )
                .remedy("Try again.")
                .because(error)
            } else if away {
                Error::unavailable(
                    "database-unreachable",
                    "The registry can not reach its database.",
                )
                .because(error)
            } else {
                Error::internal("a database statement failed", error)
            }
        }
        _ => Error::internal("the database answered something unexpected", error),
    }
}
