//! The programs of the C2SP ecosystem, which are written in Go: Tessera's `fsck` and `hammer`, its log on a folder
//! (`posix-oneshot`), the witness `litewitness`, and a program of ours that is made of the parts of Go's checksum-database client. Pinned with their checksums in `go-programs/`, built once per pin set below the
//! target folder from the module proxy that this machine's Go is set up for.

use std::fs;
use std::io::{BufRead as _, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use sha2::{Digest as _, Sha256};
use tempfile::TempDir;

use crate::machine::{Leash, free_port, lock, run, target_folder};

/// Asks for these programs: their build takes minutes on a small machine.
pub const VARIABLE: &str = "COUNTERSIGN_GO_PROGRAMS";

const START_LIMIT: Duration = Duration::from_secs(60);

/// What is built of one module.
struct Module {
    name: &'static str,
    go_mod: &'static str,
    go_sum: &'static str,
    packages: &'static [&'static str],
    /// The program, where it is one of ours.
    source: Option<&'static str>,
}

const MODULES: [Module; 3] = [
    Module {
        name: "tessera",
        go_mod: include_str!("../go-programs/tessera/go.mod"),
        go_sum: include_str!("../go-programs/tessera/go.sum"),
        packages: &[
            "github.com/transparency-dev/tessera/cmd/fsck",
            "github.com/transparency-dev/tessera/cmd/examples/posix-oneshot",
            "github.com/transparency-dev/tessera/internal/hammer",
        ],
        source: None,
    },
    Module {
        name: "torchwood",
        go_mod: include_str!("../go-programs/torchwood/go.mod"),
        go_sum: include_str!("../go-programs/torchwood/go.sum"),
        packages: &["filippo.io/torchwood/cmd/litewitness"],
        source: None,
    },
    Module {
        name: "checksum-database",
        go_mod: include_str!("../go-programs/checksum-database/go.mod"),
        go_sum: include_str!("../go-programs/checksum-database/go.sum"),
        packages: &["."],
        source: Some(include_str!("../go-programs/checksum-database/main.go")),
    },
];

/// The folder of the built programs.
#[derive(Debug)]
pub struct GoPrograms {
    bin: PathBuf,
}

impl GoPrograms {
    /// Finds or builds them. `None`, and a line on standard error, where nobody asked for them or there is no Go.
    pub fn get() -> Result<Option<Self>> {
        if std::env::var_os(VARIABLE).is_none_or(|value| value.is_empty()) {
            eprintln!(
                "SKIPPED: the Go programs of the C2SP ecosystem ({VARIABLE}=1 asks for them)"
            );
            return Ok(None);
        }
        let Some(go) = go() else {
            eprintln!("SKIPPED: there is no Go to build the programs of the C2SP ecosystem with");
            return Ok(None);
        };
        let version = run(Command::new(&go).arg("version"))?;
        let mut hash = Sha256::new();
        hash.update(&version.stdout);
        for module in &MODULES {
            for part in [module.go_mod, module.go_sum, &module.packages.join(" ")] {
                hash.update(part);
            }
            hash.update(module.source.unwrap_or_default());
        }
        let folder = target_folder().join("clients");
        fs::create_dir_all(&folder)?;
        let name = format!("go-{}", hex::encode(&hash.finalize()[..8]));
        let folder = folder.canonicalize()?.join(name);
        let _lock = lock(&folder.with_extension("lock"))?;
        let bin = folder.join("bin");
        if !folder.join("complete").is_file() {
            if folder.exists() {
                fs::remove_dir_all(&folder)
                    .with_context(|| format!("cannot clear {}", folder.display()))?;
            }
            fs::create_dir_all(&bin)?;
            eprintln!("building Go programs in {}", folder.display());
            for module in &MODULES {
                let place = folder.join(module.name);
                fs::create_dir(&place)?;
                fs::write(place.join("go.mod"), module.go_mod)?;
                fs::write(place.join("go.sum"), module.go_sum)?;
                if let Some(source) = module.source {
                    fs::write(place.join("main.go"), source)?;
                }
                let mut build = Command::new(&go);
                build
                    .args(["build", "-mod=readonly", "-o"])
                    .arg(&bin)
                    .args(module.packages)
                    .env("GOFLAGS", "")
                    .env("GOTOOLCHAIN", "local")
                    .current_dir(&place);
                run(&mut build).with_context(|| format!("cannot build {}", module.name))?;
            }
            fs::write(folder.join("complete"), "")?;
        }
        Ok(Some(Self { bin }))
    }

    /// One of the programs, with no variable of this machine but its path.
    pub fn command(&self, program: &str) -> Command {
        let mut command = Command::new(self.bin.join(program));
        command.env_clear();
        if let Some(path) = std::env::var_os("PATH") {
            command.env("PATH", path);
        }
        command
    }
}

/// This machine's Go.
fn go() -> Option<PathBuf> {
    let usual = PathBuf::from("/usr/local/go/bin/go");
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path)
        .map(|folder| folder.join("go"))
        .chain([usual])
        .find(|candidate| candidate.is_file())
}

/// A running `litewitness` with a key of its own, which an `ssh-agent` holds for it.
#[derive(Debug)]
pub struct Litewitness {
    url: String,
    key: String,
    folder: TempDir,
    /// The agent and the witness.
    children: Vec<(Child, Leash)>,
}

impl Litewitness {
    /// Starts one called `name`; it knows no log yet.
    pub fn start(programs: &GoPrograms, name: &str) -> Result<Self> {
        let folder = tempfile::Builder::new().prefix("csgn-lite-").tempdir()?;
        let (socket, key) = (folder.path().join("s"), folder.path().join("key"));
        run(Command::new("ssh-keygen")
            .args(["-q", "-t", "ed25519", "-N", "", "-C", "", "-f"])
            .arg(&key))
        .context("ssh-keygen is needed (Debian: openssh-client)")?;
        let print = run(Command::new("ssh-keygen").arg("-lf").arg(&key))?;
        let print = String::from_utf8(print.stdout)?;
        let print = print
            .split_whitespace()
            .find(|word| word.starts_with("SHA256:"))
            .context("ssh-keygen names no fingerprint")?;
        let mut children = Vec::new();
        let agent = Command::new("ssh-agent")
            .args(["-D", "-a"])
            .arg(&socket)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .context("cannot start ssh-agent")?;
        let leash = Leash::tie(agent.id(), None)?;
        children.push((agent, leash));
        let begin = Instant::now();
        while !socket.exists() {
            ensure!(begin.elapsed() < START_LIMIT, "ssh-agent opens no socket");
            std::thread::sleep(Duration::from_millis(5));
        }
        run(Command::new("ssh-add")
            .arg("-q")
            .arg(&key)
            .env("SSH_AUTH_SOCK", &socket))?;
        let address = format!("127.0.0.1:{}", free_port()?);
        let mut witness = programs
            .command("litewitness")
            .args(["-name", name, "-key", print, "-listen", &address])
            .arg("-db")
            .arg(folder.path().join("db"))
            .arg("-ssh-agent")
            .arg(&socket)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()?;
        let leash = Leash::tie(witness.id(), None)?;
        let said = witness.stderr.take().context("its output was piped")?;
        children.push((witness, leash));
        let key = verifier_key(said)?;
        let begin = Instant::now();
        while std::net::TcpStream::connect(&address).is_err() {
            ensure!(begin.elapsed() < START_LIMIT, "litewitness does not listen");
            std::thread::sleep(Duration::from_millis(5));
        }
        Ok(Self {
            url: format!("http://{address}"),
            key,
            folder,
            children,
        })
    }

    /// Where it takes checkpoints.
    pub fn url(&self) -> &str {
        &self.url
    }

    /// Its verifier key.
    pub fn key(&self) -> &str {
        &self.key
    }

    /// Lets it know a log, as `witnessctl add-log` and `add-key` do (which need a module that the proxy does not always have).
    pub fn meet(&self, origin: &str, key: &str) -> Result<()> {
        let script = "import sqlite3, sys\n\
                      db, origin, key, root = sys.argv[1:]\n\
                      with sqlite3.connect(db, timeout=30) as db:\n    \
                      db.execute('INSERT INTO log VALUES (?, 0, ?)', (origin, root))\n    \
                      db.execute('INSERT INTO key VALUES (?, ?)', (origin, key))\n";
        // The root of the empty tree: SHA-256 of nothing.
        let root = "47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU=";
        let mut python = Command::new("python3");
        python
            .args(["-c", script])
            .arg(self.folder.path().join("db"));
        run(python.args([origin, key, root])).map(drop)
    }
}

impl Drop for Litewitness {
    fn drop(&mut self) {
        for (child, _) in &mut self.children {
            // An error would mean that it is gone already.
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

/// The key that a litewitness names when it starts. What it says later is read and dropped, so that it never waits for a reader.
fn verifier_key(said: std::process::ChildStderr) -> Result<String> {
    let mut lines = BufReader::new(said).lines();
    let mut heard = Vec::new();
    for line in lines.by_ref() {
        let line = line?;
        if let Some((_, key)) = line.split_once("vkey=") {
            let key = key.trim().trim_matches('"').to_owned();
            std::thread::spawn(move || lines.for_each(drop));
            return Ok(key);
        }
        heard.push(line);
    }
    bail!("litewitness named no key:\n{}", heard.join("\n"))
}

/// Runs a program that checks or reads, and gives whether it was content with what it said.
pub fn judged(command: &mut Command, folder: &Path) -> Result<(bool, String)> {
    let output = crate::machine::output_of(command.current_dir(folder))?;
    Ok((
        output.status.success(),
        crate::machine::both_outputs(&output),
    ))
}
