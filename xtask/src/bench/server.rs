//! The servers under test: ours, nginx, pypiserver, devpi. Each is pinned to core 0, listens on a loopback port of its
//! own, logs no requests, and ends with its [`Server`].

use std::fs::{self, File};
use std::io::{BufRead as _, BufReader};
use std::net::{TcpListener, TcpStream};
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use base64::Engine as _;
use countersign_testkit::http;

use super::machine;

/// Where servers run; the load runs on core 1.
pub(super) const SERVER_CORE: &str = "0";

/// How long a server may take to come up or to go.
const PATIENCE: Duration = Duration::from_secs(60);

/// A running server.
pub(super) struct Server {
    pub(super) name: &'static str,
    child: Child,
    /// `http://127.0.0.1:PORT`
    pub(super) url: String,
    /// From its start until it answered.
    pub(super) ready_after: Duration,
    /// Where uploads go.
    pub(super) upload: String,
    /// The header line that lets a publisher in.
    pub(super) authorization: Option<String>,
}

impl Server {
    /// The process that was started, whose tree is measured.
    pub(super) fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Resident memory now, in MB.
    pub(super) fn resident_mb(&self) -> f64 {
        machine::resident_mb(self.pid())
    }

    fn start(name: &'static str, port: u16, mut command: Command, log: &Path) -> Result<Self> {
        let out = File::options().create(true).append(true).open(log)?;
        command
            .stdin(Stdio::null())
            .stdout(out.try_clone()?)
            .stderr(out);
        // A group of its own, so that Ctrl-C reaches us alone and we end it in order.
        command.process_group(0);
        let begin = Instant::now();
        let child = command
            .spawn()
            .with_context(|| format!("cannot start {command:?}"))?;
        let mut server = Self {
            name,
            child,
            url: format!("http://127.0.0.1:{port}"),
            ready_after: Duration::ZERO,
            upload: String::new(),
            authorization: None,
        };
        loop {
            if let Some(status) = server.child.try_wait()? {
                bail!("{name} ended with {status}; its log is {}", log.display());
            }
            if TcpStream::connect(("127.0.0.1", port)).is_ok()
                && http::get(&format!("{}/", server.url)).is_ok_and(|answer| answer.status < 500)
            {
                break;
            }
            ensure!(
                begin.elapsed() < PATIENCE,
                "{name} does not answer; its log is {}",
                log.display()
            );
            std::thread::sleep(Duration::from_millis(2));
        }
        server.ready_after = begin.elapsed();
        Ok(server)
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let group = format!("-{}", self.child.id());
        let signal = |name: &str| {
            Command::new("kill")
                .args([name, "--", &group])
                .stderr(Stdio::null())
                .status()
        };
        // What can not be ended here has ended already.
        let _ = signal("-TERM");
        let begin = Instant::now();
        while begin.elapsed() < Duration::from_secs(10) {
            if matches!(self.child.try_wait(), Ok(Some(_))) {
                return;
            }
            std::thread::sleep(Duration::from_millis(10));
        }
        let _ = signal("-KILL");
        let _ = self.child.wait();
    }
}

fn pinned(program: impl AsRef<std::ffi::OsStr>) -> Command {
    let mut command = Command::new("taskset");
    command.args(["-c", SERVER_CORE]).arg(program);
    command
}

fn free_port() -> Result<u16> {
    Ok(TcpListener::bind(("127.0.0.1", 0))?.local_addr()?.port())
}

pub(super) fn checked(command: &mut Command) -> Result<String> {
    let output = command
        .stdin(Stdio::null())
        .output()
        .with_context(|| format!("cannot start {command:?}"))?;
    ensure!(
        output.status.success(),
        "{command:?} ended with {}\n{}{}",
        output.status,
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    );
    Ok(String::from_utf8_lossy(&output.stdout).trim().to_owned())
}

/// A registry of ours on disk.
pub(super) struct Instance {
    binary: PathBuf,
    pub(super) data: PathBuf,
    port: u16,
    token: String,
}

impl Instance {
    /// Makes a new one in `data`, which is emptied first, with a user and a token.
    ///
    /// # Errors
    /// Where `init` or the administration fails.
    pub(super) fn make(binary: &Path, data: &Path) -> Result<Self> {
        Self::make_on(binary, data, None)
    }

    /// The same, on this database.
    ///
    /// # Errors
    /// As [`Instance::make`].
    pub(super) fn make_on(binary: &Path, data: &Path, database: Option<&str>) -> Result<Self> {
        if data.exists() {
            fs::remove_dir_all(data)?;
        }
        fs::create_dir_all(data)?;
        let port = free_port()?;
        let database =
            database.map_or_else(String::new, |database| format!("database = {database:?}\n"));
        fs::write(
            data.join("countersign.toml"),
            format!(
                "url = \"http://127.0.0.1:{port}\"\nlisten = \"127.0.0.1:{port}\"\n{database}\n[log]\nrequests = false\nfilter = \"warn\"\n"
            ),
        )?;
        let mut instance = Self {
            binary: binary.to_owned(),
            data: data.to_owned(),
            port,
            token: String::new(),
        };
        checked(instance.command().arg("init"))?;
        checked(instance.command().args([
            "admin",
            "user",
            "create",
            "bench",
            "--email",
            "bench@example.org",
        ]))?;
        instance.token = checked(
            instance
                .command()
                .args(["admin", "token", "create", "--user", "bench"]),
        )?;
        fs::write(data.join("bench-token"), &instance.token)?;
        Ok(instance)
    }

    /// One that [`Instance::make`] made before.
    ///
    /// # Errors
    /// Where it is not whole.
    pub(super) fn reopen(binary: &Path, data: &Path) -> Result<Self> {
        let text = fs::read_to_string(data.join("countersign.toml"))?;
        let port = text
            .lines()
            .find_map(|line| {
                line.strip_prefix("listen = \"127.0.0.1:")?
                    .strip_suffix('"')?
                    .parse()
                    .ok()
            })
            .context("its configuration has no port")?;
        Ok(Self {
            binary: binary.to_owned(),
            data: data.to_owned(),
            port,
            token: fs::read_to_string(data.join("bench-token"))?,
        })
    }

    /// The token of its publisher.
    pub(super) fn token(&self) -> &str {
        &self.token
    }

    /// Adds lines to its configuration.
    ///
    /// # Errors
    /// Where the file can not be written.
    pub(super) fn configure(&self, lines: &str) -> Result<()> {
        let path = self.data.join("countersign.toml");
        let text = fs::read_to_string(&path)?;
        Ok(fs::write(path, format!("{text}{lines}"))?)
    }

    fn command(&self) -> Command {
        let mut command = Command::new(&self.binary);
        command.arg("--data").arg(&self.data).env_remove("RUST_LOG");
        command
    }

    /// Runs `countersignd …` on it.
    ///
    /// # Errors
    /// Where that is refused.
    pub(super) fn run(&self, words: &[&str]) -> Result<String> {
        checked(self.command().args(words))
    }

    /// Runs `countersignd admin …` on it.
    ///
    /// # Errors
    /// Where that is refused.
    pub(super) fn administer(&self, words: &[&str]) -> Result<String> {
        self.command_of("admin", words)
    }

    /// Runs `countersignd GROUP …` on it.
    ///
    /// # Errors
    /// Where that is refused.
    pub(super) fn command_of(&self, group: &str, words: &[&str]) -> Result<String> {
        checked(self.command().arg(group).args(words))
    }

    /// Publishes a folder by `countersignd import`.
    ///
    /// # Errors
    /// Where a file is refused.
    pub(super) fn import(&self, folder: &Path) -> Result<()> {
        checked(
            self.command()
                .arg("import")
                .arg(folder)
                .args(["--parallel", "64"]),
        )?;
        Ok(())
    }

    /// Serves it, pinned.
    ///
    /// # Errors
    /// Where it does not come up.
    pub(super) fn serve(&self) -> Result<Server> {
        self.serve_by(pinned(&self.binary))
    }

    /// Serves it on all cores.
    ///
    /// # Errors
    /// Where it does not come up.
    pub(super) fn serve_unpinned(&self) -> Result<Server> {
        self.serve_by(Command::new(&self.binary))
    }

    fn serve_by(&self, mut command: Command) -> Result<Server> {
        let log = File::options()
            .create(true)
            .append(true)
            .open(self.data.join("serve.log"))?;
        command
            .arg("--data")
            .arg(&self.data)
            .arg("serve")
            .env_remove("RUST_LOG");
        command
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(log)
            .process_group(0);
        let begin = Instant::now();
        let mut child = command
            .spawn()
            .with_context(|| format!("cannot start {command:?}"))?;
        let said = child.stdout.take().context("its output was piped")?;
        let secret =
            base64::engine::general_purpose::STANDARD.encode(format!("__token__:{}", self.token));
        let url = format!("http://127.0.0.1:{}", self.port);
        let mut server = Server {
            name: "countersign",
            child,
            upload: format!("{url}/pypi/legacy/"),
            url,
            ready_after: Duration::ZERO,
            authorization: Some(format!("Authorization: Basic {secret}")),
        };
        let mut line = String::new();
        BufReader::new(said).read_line(&mut line)?;
        server.ready_after = begin.elapsed();
        ensure!(
            line.starts_with("countersignd serves"),
            "countersignd did not come up; its log is {}",
            self.data.join("serve.log").display()
        );
        Ok(server)
    }
}

/// nginx over a folder of files; `documents` of (path, content type, bytes) are written into it.
///
/// # Errors
/// Where nginx is missing (Debian: nginx-light) or does not come up.
pub(super) fn nginx(folder: &Path) -> Result<Server> {
    let port = free_port()?;
    let at = folder.display();
    fs::create_dir_all(folder.join("www"))?;
    let user = if checked(Command::new("id").arg("-u"))? == "0" {
        "user root;"
    } else {
        ""
    };
    fs::write(
        folder.join("nginx.conf"),
        format!(
            "{user} worker_processes 1; daemon off; pid {at}/nginx.pid; error_log {at}/error.log warn;\n\
             events {{ worker_connections 1024; }}\n\
             http {{\n  types {{ application/vnd.pypi.simple.v1+json json; text/html html; }}\n  default_type application/octet-stream; index index.json index.html;\n  \
             sendfile on; tcp_nopush on; keepalive_requests 100000000; access_log off;\n  \
             client_body_temp_path {at}/t1; proxy_temp_path {at}/t2; fastcgi_temp_path {at}/t3; uwsgi_temp_path {at}/t4; scgi_temp_path {at}/t5;\n  \
             open_file_cache max=20000 inactive=60s; open_file_cache_valid 60s;\n  \
             server {{ listen 127.0.0.1:{port}; root {at}/www; }}\n}}\n"
        ),
    )?;
    let mut command = pinned("nginx");
    command
        .arg("-e")
        .arg(folder.join("error.log"))
        .arg("-c")
        .arg(folder.join("nginx.conf"));
    Server::start("nginx", port, command, &folder.join("nginx.log"))
        .context("nginx is Debian's nginx-light")
}

/// A virtual environment below `home` that holds these packages.
pub(super) fn environment(home: &Path, name: &str, packages: &[&str]) -> Result<PathBuf> {
    let folder = home.join(format!("venv-{name}"));
    let done = folder.join(format!("done-{}", packages.join("-")));
    if !done.exists() {
        checked(Command::new("python3").args(["-m", "venv"]).arg(&folder))?;
        checked(
            Command::new(folder.join("bin/pip"))
                .args(["install", "--quiet"])
                .args(packages),
        )?;
        File::create(done)?;
    }
    Ok(folder)
}

/// pypiserver, which anyone may upload to.
///
/// # Errors
/// Where it can not be installed or does not come up.
pub(super) fn pypiserver(home: &Path, data: &Path) -> Result<Server> {
    let environment = environment(home, "pypiserver", &["pypiserver==2.4.1"])?;
    fs::create_dir_all(data)?;
    let port = free_port()?;
    let mut command = pinned(environment.join("bin/pypi-server"));
    command.args([
        "run",
        "-i",
        "127.0.0.1",
        "-p",
        &port.to_string(),
        "-P",
        ".",
        "-a",
        ".",
        "--disable-fallback",
    ]);
    command.args(["--backend", "simple-dir"]).arg(data);
    let mut server = Server::start("pypiserver", port, command, &home.join("pypiserver.log"))?;
    server.upload = format!("{}/", server.url);
    Ok(server)
}

/// Verdaccio with its cheap tokens (the default ones cost 60 ms of CPU for each request and would flatter us), and a user.
///
/// # Errors
/// Where it can not be installed or does not come up.
pub(super) fn verdaccio(home: &Path, data: &Path) -> Result<Server> {
    let installed = home.join("verdaccio-6.8.0");
    if !installed.join("done").exists() {
        fs::create_dir_all(&installed)?;
        // The override keeps out a release of a dependency that can not be installed.
        fs::write(
            installed.join("package.json"),
            r#"{"private":true,"dependencies":{"verdaccio":"6.8.0"},"overrides":{"node-fetch":"2.6.7"}}"#,
        )?;
        checked(
            Command::new("npm")
                .args(["install", "--silent", "--no-audit", "--no-fund"])
                .current_dir(&installed),
        )?;
        File::create(installed.join("done"))?;
    }
    let at = data.display();
    fs::write(
        data.join("config.yaml"),
        format!(
            "storage: {at}/storage\nauth: {{ htpasswd: {{ file: {at}/htpasswd, max_users: 100 }} }}\nuplinks: {{}}\npackages:\n  '**': {{ access: $all, publish: $authenticated }}\n\
             max_body_size: 100mb\nlog: {{ type: stdout, format: json, level: warn }}\nsecurity: {{ api: {{ jwt: {{ sign: {{ expiresIn: 30d }} }} }} }}\n"
        ),
    )?;
    let port = free_port()?;
    let mut command = pinned("node");
    command
        .arg(installed.join("node_modules/.bin/verdaccio"))
        .arg("-c")
        .arg(data.join("config.yaml"))
        .args(["-l", &format!("127.0.0.1:{port}")]);
    let mut server = Server::start("Verdaccio", port, command, &home.join("verdaccio.log"))?;
    let answer = http::request(
        "PUT",
        &format!("{}/-/user/org.couchdb.user:bench", server.url),
        &[("Content-Type", "application/json")],
        br#"{"name":"bench","password":"bench-bench"}"#,
    )?
    .expect_status(201)?
    .json()?;
    let token = answer["token"]
        .as_str()
        .context("Verdaccio gave no token")?;
    server.upload.clone_from(&server.url);
    server.authorization = Some(format!("Authorization: Bearer {token}"));
    Ok(server)
}

/// The Cargo registry of the reference, which anyone may upload to.
///
/// # Errors
/// Where it can not be built or does not come up.
pub(super) fn cargo_http_registry(home: &Path, data: &Path) -> Result<Server> {
    let root = home.join("cargo-http-registry-0.1.8");
    let binary = root.join("bin/cargo-http-registry");
    if !binary.exists() {
        checked(
            Command::new("cargo")
                .args(["install", "--quiet", "--version", "0.1.8", "--root"])
                .arg(&root)
                .arg("cargo-http-registry"),
        )?;
    }
    let port = free_port()?;
    let mut command = pinned(binary);
    command
        .args(["-a", &format!("127.0.0.1:{port}")])
        .arg(data.join("registry"));
    let log = home.join("cargo-http-registry.log");
    let mut server = Server::start("cargo-http-registry", port, command, &log)?;
    server.upload.clone_from(&server.url);
    server.authorization = Some("Authorization: none".to_owned());
    Ok(server)
}

/// devpi with one user, one index, and the session token that its own client would send (its password check costs
/// over 100 ms of CPU for each request and would flatter us).
///
/// # Errors
/// Where it can not be installed, initialised, or does not come up.
pub(super) fn devpi(home: &Path, data: &Path) -> Result<Server> {
    let environment = environment(home, "devpi", &["devpi-server==6.20.3"])?;
    checked(
        Command::new(environment.join("bin/devpi-init"))
            .arg("--serverdir")
            .arg(data)
            .arg("--no-root-pypi"),
    )?;
    let port = free_port()?;
    let mut command = pinned(environment.join("bin/devpi-server"));
    command.arg("--serverdir").arg(data);
    command.args([
        "--host",
        "127.0.0.1",
        "--port",
        &port.to_string(),
        "--offline-mode",
    ]);
    let mut server = Server::start("devpi", port, command, &home.join("devpi.log"))?;
    let json = ("Content-Type", "application/json");
    let call = |method: &str,
                path: &str,
                more: &[(&str, &str)],
                body: &str|
     -> Result<serde_json::Value> {
        let headers: Vec<(&str, &str)> =
            std::iter::once(json).chain(more.iter().copied()).collect();
        let answer = http::request(
            method,
            &format!("{}{path}", server.url),
            &headers,
            body.as_bytes(),
        )?;
        ensure!(
            answer.status < 300,
            "devpi answered {} to {method} {path}: {}",
            answer.status,
            answer.text()
        );
        answer.json()
    };
    call(
        "PUT",
        "/bench",
        &[],
        r#"{"password":"bench","email":"bench@example.org"}"#,
    )?;
    let session = call(
        "POST",
        "/+login",
        &[],
        r#"{"user":"bench","password":"bench"}"#,
    )?;
    let secret = session["result"]["password"]
        .as_str()
        .context("devpi gave no session")?;
    let token = base64::engine::general_purpose::STANDARD.encode(format!("bench:{secret}"));
    let index = r#"{"type":"stage","bases":[],"volatile":true}"#;
    call("PUT", "/bench/i", &[("X-Devpi-Auth", &token)], index)?;
    server.upload = format!("{}/bench/i/", server.url);
    server.authorization = Some(format!("X-Devpi-Auth: {token}"));
    Ok(server)
}
