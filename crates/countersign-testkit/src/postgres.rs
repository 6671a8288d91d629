//! Debian's PostgreSQL for tests: one server per process (or per run, see [`VARIABLE`]) on a temporary folder and a
//! loopback port of its own, with fsync on, and a fresh database for each test.
//!
//! A guard process in a session of its own holds the server; it waits for the end of a pipe whose other end only the
//! test process has. However that process ends, the guard stops the server and removes the folder.

use std::fs;
use std::os::unix::fs::{PermissionsExt as _, chown};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::Mutex;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};

use crate::machine::{account, first_existing, free_port, is_root, output_of, run};

/// When set to `postgres://USER@HOST:PORT`, that server is used and none is started: so that the test binaries of one
/// run share a server.
pub const VARIABLE: &str = "COUNTERSIGN_TEST_POSTGRES";

const USER: &str = "countersign";
const START_LIMIT: Duration = Duration::from_secs(60);

/// Of a server that may be stopped in mid-write, or measured: none.
const AS_IT_IS: &[&str] = &[];

/// Of the server of this run. Hundreds of databases are a hundred thousand files, and a checkpoint that syncs them takes minutes: there are
/// fewer. What a commit waits for is as ever.
const SHARED: &[&str] = &[
    "max_wal_size=3GB",
    "checkpoint_timeout=1h",
    // Would look into one of hundreds of databases every tenth of a second.
    "autovacuum=off",
];

/// A running server. Dropping it stops the server and removes its folder.
#[derive(Debug)]
pub struct PostgresServer {
    url: String,
    bin: PathBuf,
    folder: PathBuf,
    unprivileged: Option<(u32, u32)>,
    port: u16,
    settings: &'static [&'static str],
    /// Taken out on drop; closing it tells the guard to stop the server.
    lifeline: Option<ChildStdin>,
    guard: Option<Child>,
}

impl PostgresServer {
    /// Starts a server of its own. Takes about two seconds.
    pub fn start() -> Result<Self> {
        Self::start_with(AS_IT_IS)
    }

    fn start_with(settings: &'static [&'static str]) -> Result<Self> {
        let bin = binaries()?;
        let folder = tempfile::Builder::new()
            .prefix("countersign-postgres-")
            .tempdir()?
            .keep();
        let unprivileged = if is_root() {
            let owner = account("postgres").or_else(|| account("nobody")).context(
                "PostgreSQL refuses to run as root, and there is neither a user `postgres` nor `nobody` to run it as",
            )?;
            fs::set_permissions(&folder, fs::Permissions::from_mode(0o700))?;
            chown(&folder, Some(owner.0), Some(owner.1))?;
            Some(owner)
        } else {
            None
        };
        let data = folder.join("data");
        let mut initdb = as_user(unprivileged, &bin.join("initdb"));
        initdb.args([
            "--auth=trust",
            "--encoding=UTF8",
            "--locale=C",
            "--no-sync",
            "--username",
            USER,
            "-D",
        ]);
        run(initdb.arg(&data).current_dir(&folder))
            .context("cannot make a PostgreSQL data folder")?;

        let mut last = None;
        for _ in 0..5 {
            match Self::start_on(&bin, &folder, unprivileged, free_port()?, settings) {
                Ok(server) => return Ok(server),
                Err(error) => last = Some(error),
            }
        }
        // The guards of failed attempts leave the folder to us.
        let _ = fs::remove_dir_all(&folder);
        Err(last.context("no attempt was made")?)
    }

    fn start_on(
        bin: &Path,
        folder: &Path,
        unprivileged: Option<(u32, u32)>,
        port: u16,
        settings: &'static [&'static str],
    ) -> Result<Self> {
        let log = folder.join("log");
        let mut postgres = as_user(unprivileged, &bin.join("postgres"));
        postgres
            .arg("-D")
            .arg(folder.join("data"))
            .arg("-p")
            .arg(port.to_string());
        let always = [
            "listen_addresses=127.0.0.1",
            "unix_socket_directories=",
            "max_connections=400",
            "fsync=on",
            "synchronous_commit=on",
            "shared_buffers=64MB",
            "log_min_messages=warning",
            "max_locks_per_transaction=256",
        ];
        for setting in always.iter().chain(settings) {
            postgres.arg("-c").arg(setting);
        }
        // The guard: server in the background; when our end of the pipe closes, an immediate shutdown (nothing is written out that goes
        // anyway), then the folder goes.
        // If the server ends by itself, the guard says so by ending too, and leaves the folder with its log.
        let script = "folder=$1; log=$2; shift 2; \"$@\" >\"$log\" 2>&1 </dev/null & server=$!; \
                      ( while kill -0 $server 2>/dev/null; do sleep 1; done; kill $$ 2>/dev/null ) & watch=$!; \
                      cat >/dev/null; kill $watch; kill -QUIT $server; wait $server; rm -rf \"$folder\"";
        let mut guard = Command::new("setsid");
        guard
            .args(["--wait", "sh", "-c", script, "postgres-guard"])
            .arg(folder)
            .arg(&log);
        guard.arg(postgres.get_program()).args(postgres.get_args());
        guard
            .current_dir(folder)
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::null());
        let mut guard = guard
            .spawn()
            .context("cannot start `setsid` (Debian package util-linux)")?;
        let lifeline = guard.stdin.take();

        let url = format!("postgres://{USER}@127.0.0.1:{port}");
        let begin = Instant::now();
        loop {
            let mut ready = Command::new(bin.join("pg_isready"));
            ready.args(["-q", "-h", "127.0.0.1", "-p", &port.to_string()]);
            if output_of(&mut ready)?.status.success() {
                return Ok(Self {
                    url,
                    bin: bin.to_owned(),
                    folder: folder.to_owned(),
                    unprivileged,
                    port,
                    settings,
                    lifeline,
                    guard: Some(guard),
                });
            }
            let ended = guard.try_wait()?.is_some();
            if ended || begin.elapsed() > START_LIMIT {
                let why = if ended {
                    "ended at once"
                } else {
                    "did not answer within 60 seconds"
                };
                let said = fs::read_to_string(&log).unwrap_or_default();
                bail!("PostgreSQL on port {port} {why}; its log says:\n{said}");
            }
            std::thread::sleep(Duration::from_millis(30));
        }
    }

    /// The server's address without a database name.
    pub fn url(&self) -> &str {
        &self.url
    }

    /// Stops the server at once, as a crash does (its own recovery runs at the next start); connections break.
    pub fn stop_at_once(&mut self) -> Result<()> {
        let mut stop = as_user(self.unprivileged, &self.bin.join("pg_ctl"));
        stop.args(["stop", "-m", "immediate", "-w", "-D"])
            .arg(self.folder.join("data"));
        run(stop.current_dir(&self.folder))?;
        // The guard ends when its server has; only then may its pipe be closed, or it would remove the folder.
        if let Some(mut guard) = self.guard.take() {
            guard.wait()?;
        }
        self.lifeline = None;
        Ok(())
    }

    /// Starts the server again after [`Self::stop_at_once`], on the same port with the same data.
    pub fn start_again(&mut self) -> Result<()> {
        ensure!(self.guard.is_none(), "the server runs already");
        let mut started = Self::start_on(
            &self.bin,
            &self.folder,
            self.unprivileged,
            self.port,
            self.settings,
        )?;
        (self.lifeline, self.guard) = (started.lifeline.take(), started.guard.take());
        // What is left of `started` holds no process and must not clear the folder.
        started.folder = PathBuf::new();
        Ok(())
    }

    /// Makes an empty database and returns its URL.
    pub fn fresh_database(&self) -> Result<String> {
        make_database(&self.bin, &self.url, None)
    }
}

impl Drop for PostgresServer {
    fn drop(&mut self) {
        drop(self.lifeline.take());
        match self.guard.take() {
            // An error would mean that the guard is gone already.
            Some(mut guard) => _ = guard.wait(),
            // Stopped before, so nobody else removes the folder.
            None if self.folder.is_absolute() => _ = fs::remove_dir_all(&self.folder),
            None => {}
        }
    }
}

/// Makes an empty database on the server of this run (started at the first call, stopped when the process ends) and
/// returns its URL, `postgres://USER@HOST:PORT/NAME`.
pub fn fresh_database() -> Result<String> {
    on_the_server(|bin, url| make_database(bin, url, None))
}

/// Makes a copy of the database that `prepare` made of an empty one, at the first call in this process; `prepare` leaves
/// no connection behind. A copy takes a tenth of the time of all migrations.
///
/// Each process has one such database: `prepare` must always do the same.
pub fn prepared_database(prepare: impl FnOnce(&str) -> Result<()>) -> Result<String> {
    static PREPARED: Mutex<Option<String>> = Mutex::new(None);
    let mut prepared = PREPARED
        .lock()
        .unwrap_or_else(std::sync::PoisonError::into_inner);
    let template = match &*prepared {
        Some(name) => name.clone(),
        None => {
            let url = fresh_database()?;
            prepare(&url)?;
            let name = url.rsplit('/').next().unwrap_or_default().to_owned();
            prepared.insert(name).clone()
        }
    };
    drop(prepared);
    on_the_server(|bin, url| make_database(bin, url, Some(&template)))
}

fn on_the_server(make: impl FnOnce(&Path, &str) -> Result<String>) -> Result<String> {
    static SERVER: Mutex<Option<PostgresServer>> = Mutex::new(None);
    if let Ok(url) = std::env::var(VARIABLE)
        && !url.is_empty()
    {
        return make(&binaries()?, url.trim_end_matches('/')).with_context(|| {
            format!("the server named by {VARIABLE}={url} does not serve us; unset it to start one")
        });
    }
    let (bin, url) = {
        let mut server = SERVER
            .lock()
            .unwrap_or_else(std::sync::PoisonError::into_inner);
        let server = match &mut *server {
            Some(server) => server,
            none => none.insert(PostgresServer::start_with(SHARED)?),
        };
        (server.bin.clone(), server.url.clone())
    };
    make(&bin, &url)
}

fn make_database(bin: &Path, url: &str, template: Option<&str>) -> Result<String> {
    static COUNTER: AtomicU32 = AtomicU32::new(0);
    let name = format!(
        "t{}_{}_{:08x}",
        std::process::id(),
        COUNTER.fetch_add(1, Ordering::Relaxed),
        rand::random::<u32>()
    );
    let mut create = Command::new(bin.join("createdb"));
    create
        .arg("--maintenance-db")
        .arg(format!("{url}/postgres"));
    if let Some(template) = template {
        create.arg("--template").arg(template);
    }
    create.arg(&name);
    run(&mut create).with_context(|| format!("cannot make the database {name}"))?;
    Ok(format!("{url}/{name}"))
}

/// The folder with `postgres` and `initdb`: Debian's newest, or what is on PATH.
fn binaries() -> Result<PathBuf> {
    let mut folders: Vec<PathBuf> = match fs::read_dir("/usr/lib/postgresql") {
        Ok(entries) => entries
            .flatten()
            .map(|entry| entry.path().join("bin"))
            .collect(),
        Err(_) => Vec::new(),
    };
    let version = |path: &PathBuf| -> u32 {
        path.parent()
            .and_then(Path::file_name)
            .and_then(|name| name.to_str()?.parse().ok())
            .unwrap_or(0)
    };
    folders.sort_by_key(|path| std::cmp::Reverse(version(path)));
    folders.extend(std::env::split_paths(
        &std::env::var_os("PATH").unwrap_or_default(),
    ));
    let postgres = first_existing(folders.into_iter().map(|folder| folder.join("postgres")))
        .context(
            "PostgreSQL is not installed: tests of the registry run on it as well as on SQLite. \
         On Debian: apt-get install --no-install-recommends postgresql",
        )?;
    let folder = postgres
        .parent()
        .context("a file stands in a folder")?
        .to_owned();
    ensure!(
        folder.join("initdb").is_file(),
        "{} has postgres but no initdb",
        folder.display()
    );
    Ok(folder)
}

fn as_user(owner: Option<(u32, u32)>, program: &Path) -> Command {
    let Some((user, group)) = owner else {
        return Command::new(program);
    };
    let mut command = Command::new("setpriv");
    command
        .arg(format!("--reuid={user}"))
        .arg(format!("--regid={group}"))
        .arg("--clear-groups")
        .arg("--")
        .arg(program);
    command
}

#[cfg(test)]
mod tests {
    use super::*;

    fn query(bin: &Path, url: &str, sql: &str) -> String {
        let mut psql = Command::new(bin.join("psql"));
        psql.arg(url).args(["-X", "-A", "-t", "-c", sql]);
        String::from_utf8(run(&mut psql).unwrap().stdout)
            .unwrap()
            .trim()
            .to_owned()
    }

    #[test]
    fn each_fresh_database_is_empty_its_own_and_durable() {
        let (first, second) = (fresh_database().unwrap(), fresh_database().unwrap());
        assert_ne!(first, second);
        let bin = binaries().unwrap();
        query(&bin, &first, "create table t (x bigint)");
        assert_eq!(
            query(
                &bin,
                &second,
                "select count(*) from pg_tables where schemaname = 'public'"
            ),
            "0"
        );
        assert_eq!(query(&bin, &first, "show fsync"), "on");
    }

    #[test]
    fn a_prepared_database_is_a_copy_of_one_that_was_prepared_once() {
        let bin = binaries().unwrap();
        let prepare = |url: &str| {
            query(&bin, url, "create table t (x bigint)");
            Ok(())
        };
        let first = prepared_database(prepare).unwrap();
        query(&bin, &first, "insert into t values (1)");
        let second = prepared_database(|_| anyhow::bail!("prepared twice")).unwrap();
        assert_eq!(query(&bin, &second, "select count(*) from t"), "0");
        assert_eq!(query(&bin, &first, "select count(*) from t"), "1");
    }

    #[test]
    fn dropping_the_server_stops_it_and_leaves_no_folder() {
        let server = PostgresServer::start().unwrap();
        let folder = query(
            &server.bin,
            &format!("{}/postgres", server.url()),
            "show data_directory",
        );
        let authority = server.url().rsplit('@').next().unwrap().to_owned();
        drop(server);
        assert!(!Path::new(&folder).exists(), "{folder} is left");
        assert!(
            std::net::TcpStream::connect(&authority).is_err(),
            "{authority} still answers"
        );
    }

    #[test]
    fn a_stopped_server_keeps_its_data_for_the_next_start() {
        let mut server = PostgresServer::start().unwrap();
        let url = server.fresh_database().unwrap();
        query(&server.bin, &url, "create table t as select 42 as x");
        server.stop_at_once().unwrap();
        let authority = server.url().rsplit('@').next().unwrap().to_owned();
        assert!(std::net::TcpStream::connect(&authority).is_err());
        server.start_again().unwrap();
        assert_eq!(query(&server.bin, &url, "select x from t"), "42");
        let folder = server.folder.clone();
        server.stop_at_once().unwrap();
        drop(server);
        assert!(!folder.exists());
    }

    #[test]
    fn a_killed_holder_leaves_no_server_behind() {
        // The guard sees only its pipe: killing the holder of the other end is the same as closing it.
        let mut server = PostgresServer::start().unwrap();
        let authority = server.url().rsplit('@').next().unwrap().to_owned();
        let (lifeline, guard) = (server.lifeline.take(), server.guard.take());
        server.folder = PathBuf::new();
        drop(server);
        assert!(std::net::TcpStream::connect(&authority).is_ok());
        drop(lifeline);
        guard.unwrap().wait().unwrap();
        assert!(std::net::TcpStream::connect(&authority).is_err());
    }
}
