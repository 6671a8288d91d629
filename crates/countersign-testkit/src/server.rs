//! The real `countersignd`, run as a process on a temporary folder and a free loopback port, with the database and
//! the blob store a test asks for; to be stopped, killed, started again, and asked as any client asks.

use std::fs::{self, File};
use std::io::{BufRead as _, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use serde_json::Value;
use tempfile::TempDir;

use crate::authority::{Authority, TlsFiles};
use crate::fsck::{self, CheckedLog, LogKey};
use crate::http::{self, Response, basic_authorization, multipart};
use crate::machine::{Leash, both_outputs, free_port, lock, output_of, run};
use crate::packages::Package;
use crate::postgres;
use crate::s3::S3Server;
use crate::strace;

/// Names the `countersignd` to test. Without it the one of this build is made up to date and used.
pub const VARIABLE: &str = "COUNTERSIGN_TEST_SERVER";

const START_LIMIT: Duration = Duration::from_secs(60);
const STOP_LIMIT: Duration = Duration::from_secs(40);

/// Which database the server uses.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Database {
    /// A file in the data folder.
    #[default]
    Sqlite,
    /// A fresh database of [`crate::postgres`].
    Postgres,
}

impl std::str::FromStr for Database {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "sqlite" => Ok(Self::Sqlite),
            "postgres" => Ok(Self::Postgres),
            other => Err(format!("{other:?} is neither sqlite nor postgres")),
        }
    }
}

/// Where the server keeps artifacts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum BlobStore {
    /// A folder in the data folder.
    #[default]
    Files,
    /// A bucket of a [`S3Server`] of this process.
    S3,
}

/// How to make a [`TestServer`]. `Default` is SQLite, files, and the configuration's defaults.
#[derive(Debug, Clone, Default)]
pub struct ServerOptions {
    /// Which database.
    pub database: Database,
    /// Which blob store.
    pub blobs: BlobStore,
    /// Further lines of `countersign.toml`, such as `delete = "always"`.
    pub configuration: String,
    /// The address of a database of the test's own, instead of [`Self::database`].
    pub database_url: Option<String>,
    /// Puts the data folder of the serving process on a file system of its own with this many bytes to spare; needs
    /// the right to mount (root, as in CI). Commands run beside it still see the folder as `init` left it.
    pub room: Option<u64>,
    /// Records the system calls of `serve` (not of `init`) into [`TestServer::system_calls`].
    pub record_system_calls: bool,
    /// The instance is called `localhost` instead of by its address: passkeys need a name.
    pub named: bool,
    /// Serves by TLS, certified by [`Authority::of_this_process`], at `https://localhost:PORT`.
    pub tls: bool,
    /// Further variables of the server and of the commands beside it, such as `HTTPS_PROXY`.
    pub variables: Vec<(String, String)>,
}

/// An instance of the registry; running, unless stopped or killed. Dropping it kills the process and removes its data.
#[derive(Debug)]
pub struct TestServer {
    process: Option<(Child, Leash)>,
    binary: PathBuf,
    port: u16,
    key: LogKey,
    verifier_keys: Vec<String>,
    options: ServerOptions,
    ready_after: Duration,
    s3: Option<Arc<S3Server>>,
    tls: Option<TlsFiles>,
    folder: TempDir,
}

/// Another serving process of an instance; see [`TestServer::second`]. Dropping it kills it.
#[derive(Debug)]
pub struct SecondProcess {
    child: Child,
    _leash: Leash,
    url: String,
}

impl SecondProcess {
    /// Its own base URL, without a slash at its end. Links in what it serves name the instance's URL.
    pub fn url(&self) -> &str {
        &self.url
    }

    /// Where it takes uploads.
    pub fn upload_url(&self) -> String {
        format!("{}/pypi/legacy/", self.url)
    }
}

impl Drop for SecondProcess {
    fn drop(&mut self) {
        // An error would mean that it is gone already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl TestServer {
    /// Makes an instance by `init` and serves it.
    pub fn start(options: ServerOptions) -> Result<Self> {
        let mut server = Self::init(options)?;
        server.serve()?;
        Ok(server)
    }

    /// Makes an instance by `init`, without serving it yet.
    pub fn init(options: ServerOptions) -> Result<Self> {
        let binary = binary()?;
        let folder = tempfile::Builder::new()
            .prefix("countersign-server-")
            .tempdir()?;
        let data = folder.path().join("data");
        fs::create_dir(&data)?;
        let port = free_port()?;
        let tls = match options.tls {
            true => Some(Authority::of_this_process()?.write(folder.path())?),
            false => None,
        };
        let url = base_url(tls.is_some(), options.named, port);
        let mut configuration = format!("url = {url:?}\nlisten = \"127.0.0.1:{port}\"\n");
        if let Some(files) = &tls {
            configuration.push_str(&format!(
                "tls.cert = {:?}\ntls.key = {:?}\n",
                files.certificate, files.key
            ));
        }
        let database = match (&options.database_url, options.database) {
            (Some(url), _) => Some(url.clone()),
            (None, Database::Postgres) => Some(postgres::fresh_database()?),
            (None, Database::Sqlite) => None,
        };
        if let Some(url) = database {
            configuration.push_str(&format!("database = {url:?}\n"));
        }
        let s3 = match options.blobs {
            BlobStore::Files => None,
            BlobStore::S3 => {
                configuration
                    .push_str(&format!("blobs = \"s3://{}/registry\"\n", S3Server::BUCKET));
                Some(Arc::new(S3Server::start()?))
            }
        };
        configuration.push_str(&options.configuration);
        fs::write(data.join("countersign.toml"), configuration)?;
        let mut server = Self {
            process: None,
            binary,
            port,
            // The published example key; replaced below by the instance's own.
            key: "example.com/foo+530d903a+AekyeRrm56hApGFkyQR4ZCbV54Id2LKaANYcrnKv3U2k".parse()?,
            verifier_keys: Vec::new(),
            options,
            ready_after: Duration::ZERO,
            s3,
            tls,
            folder,
        };
        let made = server.run(&["--json", "init"])?;
        let made: Value =
            serde_json::from_slice(&made.stdout).context("`init --json` printed no JSON")?;
        let keys = made["verifier_keys"]
            .as_array()
            .context("`init --json` names no verifier_keys")?;
        server.verifier_keys = keys
            .iter()
            .filter_map(Value::as_str)
            .map(str::to_owned)
            .collect();
        let ed25519 = server.verifier_keys.iter().find_map(|key| key.parse().ok());
        server.key =
            ed25519.with_context(|| format!("no Ed25519 key among {:?}", server.verifier_keys))?;
        Ok(server)
    }

    /// Starts `serve` and waits until it says that it is ready.
    pub fn serve(&mut self) -> Result<()> {
        let begin = Instant::now();
        let said = self.spawn()?;
        if let Err(silence) = await_ready(said) {
            self.kill()?;
            bail!("{silence:#}; its log says:\n{}", self.logs());
        }
        self.ready_after = begin.elapsed();
        ensure!(
            self.ready_after < START_LIMIT,
            "the server needed {:?} to become ready",
            self.ready_after
        );
        Ok(())
    }

    /// The most memory that the serving process ever had, in bytes, as the kernel counts it (Linux).
    pub fn peak_memory(&self) -> Result<u64> {
        let (child, _) = self.process.as_ref().context("the server does not run")?;
        let status = fs::read_to_string(format!("/proc/{}/status", child.id()))?;
        let line = status
            .lines()
            .find_map(|line| line.strip_prefix("VmHWM:"))
            .context("the kernel does not say how much memory it had")?;
        let kilobytes = line.trim().trim_end_matches("kB").trim();
        Ok(kilobytes.parse::<u64>()? * 1024)
    }

    /// Starts another process that serves this instance's data at a port of its own; needs PostgreSQL, because SQLite
    /// is for one process.
    pub fn second(&self) -> Result<SecondProcess> {
        let port = free_port()?;
        let log = File::options()
            .create(true)
            .append(true)
            .open(self.log_path())?;
        let mut command = Command::new(&self.binary);
        self.environment(&mut command);
        command.arg("--data").arg(self.data());
        command
            .arg("serve")
            .args(["--listen", &format!("127.0.0.1:{port}")]);
        command
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(log);
        let mut child = command
            .spawn()
            .with_context(|| format!("cannot start {}", self.binary.display()))?;
        let said = child.stdout.take().context("its output was piped")?;
        let leash = Leash::tie(child.id(), None)?;
        let second = SecondProcess {
            child,
            _leash: leash,
            url: base_url(self.tls.is_some(), self.options.named, port),
        };
        await_ready(said).with_context(|| format!("its log says:\n{}", self.logs()))?;
        Ok(second)
    }

    /// Starts `serve` without waiting for it, and returns its standard output; for tests that kill it while it starts.
    pub fn spawn(&mut self) -> Result<std::process::ChildStdout> {
        ensure!(self.process.is_none(), "the server runs already");
        let log = File::options()
            .create(true)
            .append(true)
            .open(self.log_path())?;
        let mut command = if let Some(room) = self.options.room {
            self.on_small_disk(room)?
        } else if self.options.record_system_calls {
            strace::command(&self.binary, &self.folder.path().join("strace"), 64)
        } else {
            Command::new(&self.binary)
        };
        self.environment(&mut command);
        command.arg("--data").arg(self.data()).arg("serve");
        command
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(log);
        let mut child = command
            .spawn()
            .with_context(|| format!("cannot start {}", self.binary.display()))?;
        let said = child.stdout.take().context("its output was piped")?;
        let leash = Leash::tie(child.id(), Some(self.folder.path()))?;
        self.process = Some((child, leash));
        Ok(said)
    }

    /// The server in a mount namespace of its own, in which a file system in memory with a copy of the data lies over
    /// the data folder.
    fn on_small_disk(&self, room: u64) -> Result<Command> {
        let used = run(Command::new("du").args(["-s", "-B1"]).arg(self.data()))?;
        let used = String::from_utf8_lossy(&used.stdout);
        let used: u64 = used
            .split_whitespace()
            .next()
            .unwrap_or_default()
            .parse()
            .context("du printed no size")?;
        let script = "mkdir -p \"$1\" && mount -t tmpfs -o size=\"$2\" tmpfs \"$1\" && cp -a \"$3/.\" \"$1\" && \
                      mount --bind \"$1\" \"$3\" && shift 3 && exec \"$@\"";
        let mut command = Command::new("unshare");
        command
            .args(["--mount", "sh", "-c", script, "small-disk"])
            .arg(self.folder.path().join("small"));
        command
            .arg((used + room).to_string())
            .arg(self.data())
            .arg(&self.binary);
        Ok(command)
    }

    /// Gives the file system of [`ServerOptions::room`] another size, in bytes.
    pub fn resize_disk(&self, size: u64) -> Result<()> {
        let (child, _) = self.process.as_ref().context("the server does not run")?;
        let mut remount = Command::new("nsenter");
        remount.args([
            "--mount",
            "--target",
            &child.id().to_string(),
            "mount",
            "-o",
        ]);
        run(remount.arg(format!("remount,size={size}")).arg(self.data())).map(drop)
    }

    /// The data folder as the serving process sees it (see [`ServerOptions::room`]).
    pub fn data_as_served(&self) -> Result<PathBuf> {
        let (child, _) = self.process.as_ref().context("the server does not run")?;
        let data = self.data().canonicalize()?;
        Ok(Path::new("/proc")
            .join(child.id().to_string())
            .join("root")
            .join(data.strip_prefix("/")?))
    }

    fn environment(&self, command: &mut Command) {
        for (name, _) in std::env::vars_os() {
            if name.to_string_lossy().starts_with("COUNTERSIGN_")
                || name.to_string_lossy().starts_with("AWS_")
            {
                command.env_remove(name);
            }
        }
        command.env_remove("RUST_LOG").env("RUST_BACKTRACE", "1");
        if let Some(s3) = &self.s3 {
            command.envs(s3.environment());
        }
        let variables = self.options.variables.iter();
        command.envs(variables.map(|(name, value)| (name, value)));
    }

    /// Ends the server by SIGKILL.
    pub fn kill(&mut self) -> Result<()> {
        if let Some((mut child, leash)) = self.process.take() {
            child.kill()?;
            child.wait()?;
            drop(leash);
        }
        Ok(())
    }

    /// Ends the server by SIGTERM and waits until it has finished what was under way.
    pub fn stop(&mut self) -> Result<()> {
        let Some((mut child, _leash)) = self.process.take() else {
            return Ok(());
        };
        output_of(Command::new("kill").args(["-TERM", &child.id().to_string()]))?;
        let begin = Instant::now();
        loop {
            if let Some(status) = child.try_wait()? {
                ensure!(
                    status.success(),
                    "after SIGTERM the server ended with {status}; its log says:\n{}",
                    self.logs()
                );
                return Ok(());
            }
            if begin.elapsed() > STOP_LIMIT {
                child.kill()?;
                child.wait()?;
                bail!(
                    "the server did not end within {STOP_LIMIT:?} after SIGTERM; its log says:\n{}",
                    self.logs()
                );
            }
            std::thread::sleep(Duration::from_millis(10));
        }
    }

    /// Whether the process is there.
    pub fn is_running(&mut self) -> bool {
        self.process
            .as_mut()
            .is_some_and(|(child, _)| matches!(child.try_wait(), Ok(None)))
    }

    /// Runs a command of `countersignd` on this instance, such as `["doctor"]`. A failure is an error with its outputs.
    pub fn run(&self, arguments: &[&str]) -> Result<Output> {
        let output = self.try_run(arguments)?;
        ensure!(
            output.status.success(),
            "countersignd {} ended with {}\n{}",
            arguments.join(" "),
            output.status,
            both_outputs(&output)
        );
        Ok(output)
    }

    /// Runs a command of `countersignd` on this instance, whatever its exit code is.
    pub fn try_run(&self, arguments: &[&str]) -> Result<Output> {
        let mut command = Command::new(&self.binary);
        self.environment(&mut command);
        output_of(command.arg("--data").arg(self.data()).args(arguments))
    }

    /// Runs a command of `countersignd` on this instance that meets faults, in the words of [`strace::Faults::attach`], such as
    /// `fsync:signal=KILL:when=2`; whatever becomes of it.
    pub fn run_with_faults(&self, arguments: &[&str], inject: &str) -> Result<Output> {
        let mut command = strace::injected(&self.binary, inject);
        self.environment(&mut command);
        output_of(command.arg("--data").arg(self.data()).args(arguments))
    }

    /// Makes a user.
    pub fn user(&self, name: &str) -> Result<()> {
        self.run(&[
            "admin",
            "user",
            "create",
            name,
            "--email",
            &format!("{name}@example.org"),
        ])
        .map(drop)
    }

    /// Makes a token of a user; `options` are those of `admin token create`.
    pub fn token(&self, user: &str, options: &[&str]) -> Result<String> {
        let mut arguments = vec!["admin", "token", "create", "--user", user];
        arguments.extend_from_slice(options);
        let output = self.run(&arguments)?;
        let token = String::from_utf8(output.stdout)?.trim().to_owned();
        ensure!(
            token.starts_with("csgn_") && !token.contains('\n'),
            "not a token: {token:?}"
        );
        Ok(token)
    }

    /// Makes a user and a token that may publish.
    pub fn publisher(&self, user: &str) -> Result<String> {
        self.user(user)?;
        self.token(user, &[])
    }

    /// Base URL, without a slash at its end.
    pub fn url(&self) -> String {
        base_url(self.tls.is_some(), self.options.named, self.port)
    }

    /// The certificate that its clients must be given, if it serves by TLS.
    pub fn ca_file(&self) -> Option<&Path> {
        self.tls.as_ref().map(|files| files.ca.as_path())
    }

    /// Where pip and uv read.
    pub fn simple_url(&self) -> String {
        format!("{}/pypi/simple/", self.url())
    }

    /// Where twine and uv publish.
    pub fn upload_url(&self) -> String {
        format!("{}/pypi/legacy/", self.url())
    }

    /// The log.
    pub fn log_url(&self) -> String {
        format!("{}/log/1", self.url())
    }

    /// The log's Ed25519 key, as `init` printed it.
    pub fn log_key(&self) -> &LogKey {
        &self.key
    }

    /// Every verifier key that `init` printed.
    pub fn verifier_keys(&self) -> &[String] {
        &self.verifier_keys
    }

    /// The data folder.
    pub fn data(&self) -> PathBuf {
        self.folder.path().join("data")
    }

    /// How long the last start took until the server was ready.
    pub fn ready_after(&self) -> Duration {
        self.ready_after
    }

    /// The S3 server behind it, if it uses one.
    pub fn s3(&self) -> Option<&S3Server> {
        self.s3.as_deref()
    }

    fn log_path(&self) -> PathBuf {
        self.folder.path().join("server.log")
    }

    /// What the server wrote to standard error in all its runs.
    pub fn logs(&self) -> String {
        fs::read(self.log_path())
            .map(|bytes| String::from_utf8_lossy(&bytes).into_owned())
            .unwrap_or_default()
    }

    /// The record of the server's system calls; complete after [`Self::stop`] or [`Self::kill`].
    pub fn system_calls(&self) -> Result<Vec<strace::SystemCall>> {
        let text = fs::read(self.folder.path().join("strace"))
            .context("system calls were not recorded")?;
        strace::parse(&String::from_utf8_lossy(&text))
    }

    /// Lets system calls of the running server fail until what is returned is dropped; see [`strace::Faults::attach`].
    pub fn with_faults(&self, inject: &str) -> Result<strace::Faults> {
        let (child, _) = self.process.as_ref().context("the server does not run")?;
        strace::Faults::attach(child.id(), inject)
    }

    /// GET of a path below the base URL.
    pub fn get(&self, path: &str) -> Result<Response> {
        http::get(&format!("{}{path}", self.url()))
    }

    /// Publishes as a client does, with the least form, and returns whatever the server answers, as JSON if it can.
    pub fn publish(&self, package: &Package, token: &str) -> Result<Response> {
        self.publish_with(package, token, &[])
    }

    /// As [`Self::publish`]; `fields` replace or add form fields, an empty value takes one away.
    pub fn publish_with(
        &self,
        package: &Package,
        token: &str,
        fields: &[(&str, &str)],
    ) -> Result<Response> {
        publish(&self.upload_url(), package, token, fields)
    }

    /// The simple API's JSON document of a project, or `None` if there is none.
    pub fn project(&self, name: &str) -> Result<Option<Value>> {
        let url = format!("{}{name}/", self.simple_url());
        let response = http::request(
            "GET",
            &url,
            &[("Accept", "application/vnd.pypi.simple.v1+json")],
            &[],
        )?;
        if response.status == 404 {
            return Ok(None);
        }
        response.expect_status(200)?.json().map(Some)
    }

    /// Names of all projects, by the simple API.
    pub fn projects(&self) -> Result<Vec<String>> {
        let json = [("Accept", "application/vnd.pypi.simple.v1+json")];
        let index = http::request("GET", &self.simple_url(), &json, &[])?
            .expect_status(200)?
            .json()?;
        let projects = index["projects"]
            .as_array()
            .context("the index lists no projects")?;
        Ok(projects
            .iter()
            .filter_map(|project| project["name"].as_str())
            .map(str::to_owned)
            .collect())
    }

    /// Waits until the log grows no more by itself, where it commits to a map.
    pub fn rest(&self) -> Result<()> {
        if self.options.configuration.contains("map = false") {
            return Ok(());
        }
        // Thousands of its lines say that this was asked for; the last are shown anyway.
        fsck::rest(&self.log_url())
    }

    /// Fetches and checks the whole log, once it is at rest.
    pub fn checked_log(&self) -> Result<CheckedLog> {
        self.rest()?;
        CheckedLog::fetch(&self.log_url(), &self.key)
    }
}

impl Drop for TestServer {
    fn drop(&mut self) {
        if std::thread::panicking() {
            let logs = self.logs();
            let tail: Vec<&str> = logs.lines().rev().take(30).collect();
            eprintln!(
                "the server's last log lines:\n{}",
                tail.into_iter().rev().collect::<Vec<_>>().join("\n")
            );
        }
        // An error would mean that it is gone already.
        let _ = self.kill();
    }
}

fn base_url(tls: bool, named: bool, port: u16) -> String {
    if tls {
        format!("https://localhost:{port}")
    } else if named {
        format!("http://localhost:{port}")
    } else {
        format!("http://127.0.0.1:{port}")
    }
}

/// Waits until a server says that it is ready.
fn await_ready(said: std::process::ChildStdout) -> Result<()> {
    let mut lines = BufReader::new(said).lines();
    let first = lines.next().transpose()?.unwrap_or_default();
    ensure!(
        first.starts_with("countersignd serves "),
        "the server did not become ready (it said {first:?})"
    );
    // Someone must go on reading, or the server would stand still once its pipe is full.
    std::thread::spawn(move || lines.for_each(drop));
    Ok(())
}

/// Publishes a package to an upload address; see [`TestServer::publish_with`].
pub fn publish(
    url: &str,
    package: &Package,
    token: &str,
    fields: &[(&str, &str)],
) -> Result<Response> {
    let mut form: Vec<(&str, String)> = package.form();
    for (name, value) in fields {
        form.retain(|(field, _)| field != name);
        if !value.is_empty() {
            form.push((name, (*value).to_owned()));
        }
    }
    let form: Vec<(&str, &str)> = form
        .iter()
        .map(|(name, value)| (*name, value.as_str()))
        .collect();
    let (content_type, body) =
        multipart(&form, Some(("content", &package.filename, &package.bytes)));
    let authorization = basic_authorization("__token__", token);
    let headers = [
        ("Content-Type", content_type.as_str()),
        ("Authorization", &authorization),
        ("Accept", "application/json"),
    ];
    http::request("POST", url, &headers, &body)
}

/// A program of the project that was built beside the server to test: `countersign` or `countersignd`.
///
/// # Errors
/// Where it was not built.
pub fn program(name: &str) -> Result<PathBuf> {
    let path = binary()?.with_file_name(name);
    ensure!(
        path.is_file(),
        "there is no {}: cargo build --workspace --bins --tests",
        path.display()
    );
    Ok(path)
}

/// The server to test, built once per process unless [`VARIABLE`] names one.
fn binary() -> Result<PathBuf> {
    static BUILT: Mutex<Option<PathBuf>> = Mutex::new(None);
    if let Some(path) = std::env::var_os(VARIABLE) {
        let path = PathBuf::from(path);
        ensure!(
            path.is_file(),
            "{VARIABLE} names {}, which is no file",
            path.display()
        );
        return Ok(path);
    }
    let mut built = BUILT
        .lock()
        .unwrap_or_else(std::sync::PoisonError::into_inner);
    if let Some(path) = built.as_ref() {
        return Ok(path.clone());
    }
    // target/<profile>/deps/<test> or target/<profile>/<program>
    let own = std::env::current_exe()?;
    let mut folder = own.parent().context("a program stands in a folder")?;
    if folder.ends_with("deps") {
        folder = folder.parent().context("deps stands in a folder")?;
    }
    let profile = folder
        .file_name()
        .and_then(|name| name.to_str())
        .context("no profile folder")?;
    let target = folder.parent().context("a profile stands in a folder")?;
    let _lock = lock(&target.join("testkit-server.lock"))?;
    let mut build = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    build.args(["build", "--quiet", "--package", "countersignd", "--profile"]);
    build
        .arg(if profile == "debug" { "dev" } else { profile })
        .arg("--target-dir")
        .arg(target);
    build
        .arg("--manifest-path")
        .arg(Path::new(env!("CARGO_MANIFEST_DIR")).join("../../Cargo.toml"));
    let output = output_of(&mut build)?;
    ensure!(
        output.status.success(),
        "countersignd does not build:\n{}",
        both_outputs(&output)
    );
    let path = folder.join("countersignd");
    ensure!(path.is_file(), "cargo built no {}", path.display());
    *built = Some(path.clone());
    Ok(path)
}
