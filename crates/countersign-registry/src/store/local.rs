//! SQLite in the thread that asks.
//!
//! `sqlx` gives each connection to a file a thread of its own, and every statement goes there and back: two wake-ups that
//! cost several times what a look-up by key does. A publish asks some thirty small questions, so here they are answered
//! where they are asked. What may wait long (another process that holds the file) goes to a blocking thread; a commit,
//! with its sync, tells the runtime beforehand.
//!
//! Everything still speaks `sqlx::Any`: a [`Link`], a [`Writer`] and a [`Near`] are executors of it, so that one text of
//! SQL serves both databases.

use std::borrow::Cow;
use std::collections::HashMap;
use std::fmt;
use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use futures::future::BoxFuture;
use futures::stream::{self, BoxStream};
use futures::{FutureExt, StreamExt};
use rusqlite::types::ValueRef;
use rusqlite::{Connection, OpenFlags};
use sqlx::any::{
    Any, AnyArguments, AnyQueryResult, AnyRow, AnyStatement, AnyTypeInfo, AnyTypeInfoKind, AnyValue,
};
use sqlx::error::{DatabaseError, ErrorKind};
use sqlx::sqlite::SqliteConnectOptions;
use sqlx::{AnyPool, Describe, Either, Execute, Executor, SqlStr};
use sqlx_core::any::{AnyColumn, AnyValueKind};
use tokio::runtime::{Handle, RuntimeFlavor};
use tokio::sync::OwnedMutexGuard;

/// How long another process may hold the file before a writer gives up.
const PATIENCE: Duration = Duration::from_secs(10);

/// Statements kept ready per connection: about as many as a busy server uses.
const STATEMENTS: usize = 256;

/// From here on a statement is worth a word in the log.
const SLOW: Duration = Duration::from_secs(1);

/// Connections for reading beside the writer's.
const READERS: usize = 2;

type Outcome<T> = Result<T, sqlx::Error>;
type Step = Either<AnyQueryResult, AnyRow>;

/// The connections of one process to one file.
pub(super) struct Local {
    /// The one writer. Whoever wants to write waits here, first come, first served, instead of polling a busy file.
    writer: Arc<tokio::sync::Mutex<Session>>,
    readers: Vec<Mutex<Session>>,
}

/// A connection, with the forms of the statements that it knows.
struct Session {
    /// Nothing once the store was closed.
    connection: Option<Connection>,
    forms: HashMap<String, Form>,
}

/// What does not change from one run of a statement to the next.
#[derive(Clone)]
struct Form {
    /// For each place of the statement the number of its value, from 0.
    places: Arc<[usize]>,
    /// Names and positions of the columns, without values.
    row: AnyRow,
}

/// What a statement did.
struct Done {
    rows: Vec<AnyRow>,
    affected: u64,
}

/// A statement with its values. `None`: several statements without any.
struct Request {
    text: SqlStr,
    values: Option<Vec<AnyValueKind>>,
}

impl Request {
    fn of<'q>(mut query: impl Execute<'q, Any>) -> Outcome<Self> {
        let values = query.take_arguments().map_err(sqlx::Error::Encode)?;
        Ok(Self {
            values: values.map(|AnyArguments { values }| values.0),
            text: query.sql(),
        })
    }
}

impl Local {
    /// Opens the file that a `sqlite:` address names; it exists already.
    pub(super) fn open(address: &str, writer: &str, reader: &str) -> Outcome<Self> {
        let options = SqliteConnectOptions::from_str(address)?;
        let path: PathBuf = options.get_filename().to_owned();
        let readers = (0..READERS)
            .map(|_| Session::open(&path, reader, PATIENCE).map(Mutex::new))
            .collect::<Outcome<_>>()?;
        Ok(Self {
            writer: Arc::new(tokio::sync::Mutex::new(Session::open(
                &path,
                writer,
                Duration::ZERO,
            )?)),
            readers,
        })
    }

    /// Takes the writer's turn, and holds it until the answer is dropped.
    pub(super) async fn turn(&self) -> impl Send + use<> {
        self.writer.clone().lock_owned().await
    }

    async fn begin(&self) -> Outcome<Begun> {
        let session = self.writer.clone().lock_owned().await;
        let begin = |session: &mut Session| {
            let connection = session.connection()?;
            if !connection.is_autocommit() {
                // A rollback failed before.
                connection.execute_batch("ROLLBACK").map_err(refused)?;
            }
            connection.execute_batch("BEGIN IMMEDIATE").map_err(refused)
        };
        let (session, begun) = patiently(session, begin).await?;
        begun.map(|()| Begun {
            session,
            open: true,
        })
    }

    /// Reads what is committed: by the writer's connection where nobody writes, since it knows the file's pages.
    fn read(&self, request: &Request, most: usize) -> Outcome<Done> {
        if let Ok(mut session) = self.writer.try_lock() {
            let idle = session.connection()?.is_autocommit();
            if idle {
                match session.run(request, most) {
                    Err(error) if is_busy(&error) => {}
                    other => return other,
                }
            }
        }
        let free = self
            .readers
            .iter()
            .find_map(|reader| reader.try_lock().ok());
        let mut reader: MutexGuard<'_, Session> = match (free, self.readers.first()) {
            (Some(free), _) => free,
            (None, Some(first)) => first.lock().unwrap_or_else(PoisonError::into_inner),
            (None, None) => return Err(sqlx::Error::PoolClosed),
        };
        reader.run(request, most)
    }

    async fn write(&self, request: Request, most: usize) -> Outcome<Done> {
        let session = self.writer.clone().lock_owned().await;
        let (_, done) = patiently(session, move |session| session.run(&request, most)).await?;
        done
    }

    /// Closes every connection; the last one folds the write-ahead log into the file.
    pub(super) async fn close(&self) {
        for reader in &self.readers {
            reader
                .lock()
                .unwrap_or_else(PoisonError::into_inner)
                .close();
        }
        let mut writer = self.writer.clone().lock_owned().await;
        in_place(|| writer.close());
    }
}

impl Session {
    fn open(path: &Path, settings: &str, patience: Duration) -> Outcome<Self> {
        let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
        let connection = Connection::open_with_flags(path, flags).map_err(refused)?;
        connection.busy_timeout(PATIENCE).map_err(refused)?;
        connection.execute_batch(settings).map_err(refused)?;
        connection.busy_timeout(patience).map_err(refused)?;
        connection.set_prepared_statement_cache_capacity(STATEMENTS);
        Ok(Self {
            connection: Some(connection),
            forms: HashMap::new(),
        })
    }

    fn connection(&self) -> Outcome<&Connection> {
        self.connection.as_ref().ok_or(sqlx::Error::PoolClosed)
    }

    fn close(&mut self) {
        self.forms.clear();
        if let Some(connection) = self.connection.take()
            && let Err((_, error)) = connection.close()
        {
            tracing::warn!(%error, "the database was not closed in order");
        }
    }

    /// Runs a statement to its end, or until it gave `most` rows.
    fn run(&mut self, request: &Request, most: usize) -> Outcome<Done> {
        let begin = Instant::now();
        let done = self.step(request, most)?;
        let elapsed = begin.elapsed();
        if elapsed >= SLOW {
            tracing::warn!(
                statement = request.text.as_str(),
                ?elapsed,
                "a slow statement"
            );
        } else {
            tracing::debug!(target: "countersign_registry::sql", statement = request.text.as_str(), rows = done.rows.len(),
                affected = done.affected, ?elapsed);
        }
        Ok(done)
    }

    fn step(&mut self, request: &Request, most: usize) -> Outcome<Done> {
        let connection = self.connection.as_ref().ok_or(sqlx::Error::PoolClosed)?;
        let text = request.text.as_str();
        let Some(values) = &request.values else {
            connection.execute_batch(text).map_err(refused)?;
            return Ok(Done {
                rows: Vec::new(),
                affected: connection.changes(),
            });
        };
        let mut statement = connection.prepare_cached(text).map_err(refused)?;
        let known = self
            .forms
            .get(text)
            .filter(|form| form.row.columns.len() == statement.column_count());
        let form = match known {
            Some(form) => form.clone(),
            None => {
                let form = Form::of(&statement)?;
                if self.forms.len() >= 2 * STATEMENTS {
                    // Texts that grow with their lists come in many lengths.
                    self.forms.clear();
                }
                self.forms.insert(text.to_owned(), form.clone());
                form
            }
        };
        for (place, number) in form.places.iter().enumerate() {
            let place = place + 1;
            let bound = match values.get(*number) {
                None => {
                    return Err(sqlx::Error::Protocol(format!(
                        "a statement has no value for ${}",
                        number + 1
                    )));
                }
                Some(AnyValueKind::Null(_)) => {
                    statement.raw_bind_parameter(place, rusqlite::types::Null)
                }
                Some(AnyValueKind::Bool(value)) => statement.raw_bind_parameter(place, value),
                Some(AnyValueKind::SmallInt(value)) => statement.raw_bind_parameter(place, value),
                Some(AnyValueKind::Integer(value)) => statement.raw_bind_parameter(place, value),
                Some(AnyValueKind::BigInt(value)) => statement.raw_bind_parameter(place, value),
                Some(AnyValueKind::Real(value)) => statement.raw_bind_parameter(place, value),
                Some(AnyValueKind::Double(value)) => statement.raw_bind_parameter(place, value),
                Some(AnyValueKind::Text(value)) => {
                    statement.raw_bind_parameter(place, value.as_str())
                }
                Some(AnyValueKind::TextSlice(value)) => {
                    statement.raw_bind_parameter(place, &**value)
                }
                Some(AnyValueKind::Blob(value)) => {
                    statement.raw_bind_parameter(place, value.as_slice())
                }
                Some(other) => {
                    return Err(sqlx::Error::Protocol(format!(
                        "a statement has a value of an unknown kind: {other:?}"
                    )));
                }
            };
            bound.map_err(refused)?;
        }
        let columns = form.row.columns.len();
        let mut rows = Vec::new();
        let mut found = statement.raw_query();
        while rows.len() < most
            && let Some(row) = found.next().map_err(refused)?
        {
            let mut next = form.row.clone();
            next.values = Vec::with_capacity(columns);
            for column in 0..columns {
                let kind = match row.get_ref(column).map_err(refused)? {
                    ValueRef::Null => AnyValueKind::Null(AnyTypeInfoKind::Null),
                    ValueRef::Integer(value) => AnyValueKind::BigInt(value),
                    ValueRef::Real(value) => AnyValueKind::Double(value),
                    ValueRef::Text(text) => {
                        let text = std::str::from_utf8(text)
                            .map_err(|source| sqlx::Error::Decode(Box::new(source)))?;
                        AnyValueKind::Text(Arc::new(text.to_owned()))
                    }
                    ValueRef::Blob(bytes) => AnyValueKind::Blob(Arc::new(bytes.to_vec())),
                };
                next.values.push(AnyValue { kind });
            }
            rows.push(next);
        }
        drop(found);
        Ok(Done {
            rows,
            affected: connection.changes(),
        })
    }
}

impl Form {
    fn of(statement: &rusqlite::Statement<'_>) -> Outcome<Self> {
        // `$3` is a name to SQLite, whose places are numbered as the names first come.
        let places = (1..=statement.parameter_count())
            .map(|place| {
                statement
                    .parameter_name(place)
                    .and_then(|name| name.strip_prefix('$')?.parse::<usize>().ok())
                    .and_then(|number| number.checked_sub(1))
                    .ok_or_else(|| {
                        sqlx::Error::Protocol("a statement has a place without a number".to_owned())
                    })
            })
            .collect::<Outcome<_>>()?;
        let columns: Vec<AnyColumn> = statement
            .column_names()
            .into_iter()
            .enumerate()
            .map(|(ordinal, name)| AnyColumn {
                ordinal,
                name: name.to_owned().into(),
                type_info: AnyTypeInfo {
                    kind: AnyTypeInfoKind::Null,
                },
            })
            .collect();
        Ok(Self {
            places,
            row: AnyRow {
                column_names: Arc::new(
                    columns
                        .iter()
                        .map(|column| (column.name.clone(), column.ordinal))
                        .collect(),
                ),
                columns,
                values: Vec::new(),
            },
        })
    }
}

/// A write transaction that was begun; dropped before its commit, it is rolled back.
pub(super) struct Begun {
    session: OwnedMutexGuard<Session>,
    open: bool,
}

impl Begun {
    fn commit(mut self) -> Outcome<()> {
        let connection = self.session.connection()?;
        in_place(|| connection.execute_batch("COMMIT")).map_err(refused)?;
        self.open = false;
        Ok(())
    }
}

impl Drop for Begun {
    fn drop(&mut self) {
        if !self.open {
            return;
        }
        let undone = self
            .session
            .connection()
            .and_then(|connection| connection.execute_batch("ROLLBACK").map_err(refused));
        if let Err(error) = undone {
            // A commit that failed may have rolled back by itself; the next one to begin looks again.
            tracing::warn!(%error, "a transaction was not rolled back");
        }
    }
}

/// A write transaction, in either database.
pub(super) enum Link {
    Remote(sqlx::Transaction<'static, Any>),
    Local(Begun),
}

impl Link {
    /// Makes it durable.
    pub(super) async fn commit(self) -> Outcome<()> {
        match self {
            Self::Remote(transaction) => transaction.commit().await,
            Self::Local(begun) => begun.commit(),
        }
    }
}

/// Where single statements write.
#[derive(Clone)]
pub(super) enum Writer {
    Remote(AnyPool),
    Local(Arc<Local>),
}

impl Writer {
    /// Begins a transaction. On SQLite it holds the one write lock from the start.
    pub(super) async fn begin(&self) -> Outcome<Link> {
        match self {
            Self::Remote(pool) => pool.begin_with("BEGIN").await.map(Link::Remote),
            Self::Local(local) => local.begin().await.map(Link::Local),
        }
    }
}

/// Where short questions are answered soonest. Each is answered from what is committed when it is asked; on SQLite the
/// thread that asks waits for it, so nothing that reads many rows belongs here.
#[derive(Clone)]
pub(super) enum Near {
    Remote(AnyPool),
    Local(Arc<Local>),
}

/// Runs what may block for a sync, without holding up what else this thread would do.
fn in_place<T>(act: impl FnOnce() -> T) -> T {
    let many = Handle::try_current()
        .is_ok_and(|handle| handle.runtime_flavor() == RuntimeFlavor::MultiThread);
    if many {
        tokio::task::block_in_place(act)
    } else {
        act()
    }
}

/// Runs it at once; where another process holds the file, again on a thread that may wait for it.
async fn patiently<T, F>(
    mut session: OwnedMutexGuard<Session>,
    act: F,
) -> Outcome<(OwnedMutexGuard<Session>, Outcome<T>)>
where
    T: Send + 'static,
    F: Fn(&mut Session) -> Outcome<T> + Send + 'static,
{
    match in_place(|| act(&mut session)) {
        Err(error) if is_busy(&error) => {}
        other => return Ok((session, other)),
    }
    let wait = move || {
        let set = |session: &Session, patience| {
            session
                .connection()?
                .busy_timeout(patience)
                .map_err(refused)
        };
        let done = set(&session, PATIENCE).and_then(|()| act(&mut session));
        let reset = set(&session, Duration::ZERO);
        (session, done.and_then(|done| reset.map(|()| done)))
    };
    tokio::task::spawn_blocking(wait)
        .await
        .map_err(|_| sqlx::Error::WorkerCrashed)
}

fn is_busy(error: &sqlx::Error) -> bool {
    matches!(error, sqlx::Error::Database(cause) if cause.code().as_deref() == Some("5"))
}

/// SQLite's refusal, as `sqlx` tells it.
#[derive(Debug)]
struct Refusal {
    code: i32,
    message: String,
}

fn refused(error: rusqlite::Error) -> sqlx::Error {
    match error.sqlite_error() {
        Some(cause) => sqlx::Error::Database(Box::new(Refusal {
            code: cause.extended_code,
            message: error.to_string(),
        })),
        None => sqlx::Error::Protocol(error.to_string()),
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "(code: {}) {}", self.code, self.message)
    }
}

impl std::error::Error for Refusal {}

impl DatabaseError for Refusal {
    fn message(&self) -> &str {
        &self.message
    }

    fn code(&self) -> Option<Cow<'_, str>> {
        Some(self.code.to_string().into())
    }

    fn as_error(&self) -> &(dyn std::error::Error + Send + Sync + 'static) {
        self
    }

    fn as_error_mut(&mut self) -> &mut (dyn std::error::Error + Send + Sync + 'static) {
        self
    }

    fn into_error(self: Box<Self>) -> Box<dyn std::error::Error + Send + Sync + 'static> {
        self
    }

    fn kind(&self) -> ErrorKind {
        match self.code {
            rusqlite::ffi::SQLITE_CONSTRAINT_UNIQUE
            | rusqlite::ffi::SQLITE_CONSTRAINT_PRIMARYKEY => ErrorKind::UniqueViolation,
            rusqlite::ffi::SQLITE_CONSTRAINT_FOREIGNKEY => ErrorKind::ForeignKeyViolation,
            rusqlite::ffi::SQLITE_CONSTRAINT_NOTNULL => ErrorKind::NotNullViolation,
            rusqlite::ffi::SQLITE_CONSTRAINT_CHECK => ErrorKind::CheckViolation,
            _ => ErrorKind::Other,
        }
    }
}

impl fmt::Debug for Link {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Remote(_) => "Link::Remote",
            Self::Local(_) => "Link::Local",
        })
    }
}

impl fmt::Debug for Writer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Remote(_) => "Writer::Remote",
            Self::Local(_) => "Writer::Local",
        })
    }
}

impl fmt::Debug for Near {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Remote(_) => "Near::Remote",
            Self::Local(_) => "Near::Local",
        })
    }
}

fn affected(done: Done) -> AnyQueryResult {
    AnyQueryResult {
        rows_affected: done.affected,
        last_insert_id: None,
    }
}

fn steps<'e>(done: BoxFuture<'e, Outcome<Done>>) -> BoxStream<'e, Outcome<Step>> {
    stream::once(done)
        .flat_map(|done| {
            let (rows, end) = match done {
                Ok(mut done) => {
                    let rows = std::mem::take(&mut done.rows);
                    (rows, Ok(Either::Left(affected(done))))
                }
                Err(error) => (Vec::new(), Err(error)),
            };
            stream::iter(rows.into_iter().map(Either::Right).map(Ok)).chain(stream::iter([end]))
        })
        .boxed()
}

fn unprepared<'e, T: Send + 'e>() -> BoxFuture<'e, Outcome<T>> {
    let why = "statements are not prepared apart from their run";
    futures::future::ready(Err(sqlx::Error::Protocol(why.to_owned()))).boxed()
}

/// An executor over `$remote` (what `sqlx` runs the statement on) or `$local` (a future of what it did).
macro_rules! executor {
    ($kind:ty, $remote:expr, $local:expr) => {
        impl<'c> Executor<'c> for $kind {
            type Database = Any;

            fn execute<'e, 'q: 'e, E>(self, query: E) -> BoxFuture<'e, Outcome<AnyQueryResult>>
            where
                'c: 'e,
                E: 'q + Execute<'q, Any>,
            {
                match $remote(self) {
                    Ok(remote) => remote.execute(query),
                    Err(local) => {
                        let request = Request::of(query);
                        async move { $local(local, request?, usize::MAX).await.map(affected) }
                            .boxed()
                    }
                }
            }

            fn fetch_many<'e, 'q: 'e, E>(self, query: E) -> BoxStream<'e, Outcome<Step>>
            where
                'c: 'e,
                E: 'q + Execute<'q, Any>,
            {
                match $remote(self) {
                    Ok(remote) => remote.fetch_many(query),
                    Err(local) => {
                        let request = Request::of(query);
                        steps(async move { $local(local, request?, usize::MAX).await }.boxed())
                    }
                }
            }

            fn fetch_all<'e, 'q: 'e, E>(self, query: E) -> BoxFuture<'e, Outcome<Vec<AnyRow>>>
            where
                'c: 'e,
                E: 'q + Execute<'q, Any>,
            {
                match $remote(self) {
                    Ok(remote) => remote.fetch_all(query),
                    Err(local) => {
                        let request = Request::of(query);
                        async move {
                            let done: Outcome<Done> = $local(local, request?, usize::MAX).await;
                            done.map(|done| done.rows)
                        }
                        .boxed()
                    }
                }
            }

            fn fetch_optional<'e, 'q: 'e, E>(
                self,
                query: E,
            ) -> BoxFuture<'e, Outcome<Option<AnyRow>>>
            where
                'c: 'e,
                E: 'q + Execute<'q, Any>,
            {
                match $remote(self) {
                    Ok(remote) => remote.fetch_optional(query),
                    Err(local) => {
                        let request = Request::of(query);
                        async move {
                            let done: Outcome<Done> = $local(local, request?, 1).await;
                            done.map(|mut done| done.rows.pop())
                        }
                        .boxed()
                    }
                }
            }

            fn prepare_with<'e>(
                self,
                text: SqlStr,
                parameters: &'e [AnyTypeInfo],
            ) -> BoxFuture<'e, Outcome<AnyStatement>>
            where
                'c: 'e,
            {
                match $remote(self) {
                    Ok(remote) => remote.prepare_with(text, parameters),
                    Err(_) => unprepared(),
                }
            }

            fn describe<'e>(self, text: SqlStr) -> BoxFuture<'e, Outcome<Describe<Any>>>
            where
                'c: 'e,
            {
                match $remote(self) {
                    Ok(remote) => remote.describe(text),
                    Err(_) => unprepared(),
                }
            }
        }
    };
}

executor!(
    &'c mut Link,
    |link: &'c mut Link| match link {
        Link::Remote(transaction) => Ok(&mut **transaction),
        Link::Local(begun) => Err(begun),
    },
    async |begun: &mut Begun, request: Request, most| begun.session.run(&request, most)
);

executor!(
    &'c Writer,
    |writer: &'c Writer| match writer {
        Writer::Remote(pool) => Ok(pool),
        Writer::Local(local) => Err(local),
    },
    async |local: &Arc<Local>, request: Request, most| local.write(request, most).await
);

executor!(
    &'c Near,
    |near: &'c Near| match near {
        Near::Remote(pool) => Ok(pool),
        Near::Local(local) => Err(local),
    },
    async |local: &Arc<Local>, request: Request, most| local.read(&request, most)
);
