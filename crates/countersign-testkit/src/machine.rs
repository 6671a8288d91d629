//! What the kit needs of the machine: folders, ports, locks, and commands whose failure says what happened.

use std::ffi::OsStr;
use std::fs::{self, File};
use std::io::{BufRead as _, BufReader};
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{ChildStderr, Command, Output, Stdio};
use std::sync::Mutex;

use anyhow::{Context, Result, bail};

/// The folder of build products, where what is made once (client environments, downloads) is kept between runs.
pub(crate) fn target_folder() -> PathBuf {
    match std::env::var_os("CARGO_TARGET_DIR") {
        Some(folder) => PathBuf::from(folder),
        None => Path::new(env!("CARGO_MANIFEST_DIR")).join("../../target"),
    }
}

/// A loopback port for a server that starts now or starts again later. It is none of those that the kernel gives to whoever asks for any
/// port or connects, so nobody takes it while the server is down; and this process gives it out once.
pub fn free_port() -> Result<u16> {
    static NEXT: Mutex<Option<u16>> = Mutex::new(None);
    const FIRST: u16 = 10_000;
    // As Linux has it from the start.
    let range = fs::read_to_string("/proc/sys/net/ipv4/ip_local_port_range").unwrap_or_default();
    let first_given = range.split_whitespace().next();
    let end: u16 = first_given
        .and_then(|port| port.parse().ok())
        .unwrap_or(32_768);
    let mut next = NEXT
        .lock()
        .unwrap_or_else(std::sync::PoisonError::into_inner);
    for _ in FIRST..end {
        // Processes beside this one begin elsewhere.
        let port = match *next {
            Some(port) if port < end => port,
            Some(_) => FIRST,
            None => rand::random_range(FIRST..end),
        };
        *next = Some(port + 1);
        if TcpListener::bind(("127.0.0.1", port)).is_ok() {
            return Ok(port);
        }
    }
    let listener = TcpListener::bind(("127.0.0.1", 0)).context("no free loopback port")?;
    Ok(listener.local_addr()?.port())
}

/// Writes a program's standard error to ours, line by line. Were ours handed to it, it might make it non-blocking, as Node does, and
/// the test program would end at its first line that does not fit into the pipe.
pub fn pass_on(errors: ChildStderr) {
    std::thread::spawn(move || {
        for line in BufReader::new(errors).lines().map_while(Result::ok) {
            eprintln!("{line}");
        }
    });
}

/// Waits for an exclusive lock on `path` and holds it until the returned file is dropped.
pub(crate) fn lock(path: &Path) -> Result<File> {
    if let Some(folder) = path.parent() {
        fs::create_dir_all(folder).with_context(|| format!("cannot make {}", folder.display()))?;
    }
    let file = File::options()
        .create(true)
        .truncate(false)
        .write(true)
        .open(path)
        .with_context(|| format!("cannot open the lock {}", path.display()))?;
    file.lock()
        .with_context(|| format!("cannot lock {}", path.display()))?;
    Ok(file)
}

/// Runs a command to its end; an error holds both of its outputs.
pub(crate) fn run(command: &mut Command) -> Result<Output> {
    let output = output_of(command)?;
    if !output.status.success() {
        bail!(
            "{command:?} ended with {}\n{}",
            output.status,
            both_outputs(&output)
        );
    }
    Ok(output)
}

/// Runs a command to its end whatever its exit code is.
pub(crate) fn output_of(command: &mut Command) -> Result<Output> {
    command
        .stdin(Stdio::null())
        .output()
        .with_context(|| format!("cannot start {command:?}"))
}

/// Standard output and standard error, one after the other, as text.
pub fn both_outputs(output: &Output) -> String {
    format!(
        "{}{}",
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    )
}

/// The first of `candidates` that exists as a file.
pub(crate) fn first_existing(candidates: impl IntoIterator<Item = PathBuf>) -> Option<PathBuf> {
    candidates.into_iter().find(|path| path.is_file())
}

/// User and group number of an account of this machine, by `id`.
pub(crate) fn account(name: impl AsRef<OsStr>) -> Option<(u32, u32)> {
    let number = |flag: &str| {
        let output = Command::new("id")
            .arg(flag)
            .arg("--")
            .arg(name.as_ref())
            .output()
            .ok()?;
        output.status.success().then(|| {
            String::from_utf8_lossy(&output.stdout)
                .trim()
                .parse::<u32>()
                .ok()
        })?
    };
    Some((number("-u")?, number("-g")?))
}

/// Whether this process runs as root, whom PostgreSQL refuses to serve.
pub(crate) fn is_root() -> bool {
    Command::new("id")
        .arg("-u")
        .output()
        .is_ok_and(|output| output.stdout.trim_ascii() == b"0")
}

/// Ends a process that this one started if this one dies first, even by SIGKILL: a watcher in a session of its own waits
/// for the end of a pipe whose other end only we hold.
#[derive(Debug)]
pub(crate) struct Leash {
    watcher: std::process::Child,
}

impl Leash {
    /// Ties the process `pid` (and `folder`, which is removed with it) to this one.
    pub(crate) fn tie(pid: u32, folder: Option<&Path>) -> Result<Self> {
        let script = "cat >/dev/null; kill -TERM \"$1\"; sleep 2; kill -KILL \"$1\"; [ -z \"$2\" ] || rm -rf \"$2\"";
        let watcher = Command::new("setsid")
            .args(["sh", "-c", script, "testkit-leash", &pid.to_string()])
            .arg(folder.unwrap_or(Path::new("")))
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .context("cannot start `setsid` (Debian package util-linux)")?;
        Ok(Self { watcher })
    }
}

impl Drop for Leash {
    /// Unties: whoever holds the process ends it now. The watcher must go before the process's number can be reused.
    fn drop(&mut self) {
        // Errors would mean that it is gone already.
        let _ = self.watcher.kill();
        let _ = self.watcher.wait();
    }
}
