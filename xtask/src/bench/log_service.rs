//! The log of a service, through HTTP, on PostgreSQL: how many entries a second become durable, integrated and signed, and how
//! long an entry takes to its witnessed proof. Server, database, witness and load share the machine's cores.

use std::fs;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, anyhow, ensure};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use countersign_testkit::http::Connection;
use countersign_testkit::postgres::PostgresServer;
use serde_json::json;

use super::exchange::{Times, paced};
use super::machine::Meter;
use super::report::{Figure, Goal, Report};
use super::server::{Instance, Server, checked};

/// Entries of a request where many are sent.
const BATCH: u64 = 256;
/// Connections that send them.
const CONNECTIONS: usize = 64;
/// Entries of a second where the wait counts.
const PACE: u32 = 1_000;

/// A witness of ours, which ends with it.
struct Witness(Child);

impl Drop for Witness {
    fn drop(&mut self) {
        // What can not be ended here has ended already.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// A witness's public key and the address that it will have.
fn witness_keys(client: &Path, home: &Path) -> Result<(String, String)> {
    let folder = home.join("witness");
    if folder.exists() {
        fs::remove_dir_all(&folder)?;
    }
    fs::create_dir_all(&folder)?;
    let text = checked(
        Command::new(client)
            .current_dir(&folder)
            .args(["witness", "init", "--name", "bench.example/w1"])
            .args(["--key", "key", "--state", "state"]),
    )?;
    let key = text
        .split_whitespace()
        .find(|word| word.starts_with("bench.example/w1+"))
        .context("the witness shows no key")?;
    let port = std::net::TcpListener::bind("127.0.0.1:0")?.local_addr()?;
    Ok((key.to_owned(), port.to_string()))
}

fn witness(client: &Path, home: &Path, address: &str, keys: &[String]) -> Result<Witness> {
    let mut command = Command::new(client);
    command
        .current_dir(home.join("witness"))
        .args(["witness", "serve", "--key", "key", "--state", "state"])
        .args(["--listen", address])
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null());
    for key in keys {
        command.args(["--log-key", key]);
    }
    let witness = Witness(command.spawn()?);
    let begin = Instant::now();
    while std::net::TcpStream::connect(address).is_err() {
        ensure!(
            begin.elapsed() < Duration::from_secs(20),
            "the witness does not answer"
        );
        std::thread::sleep(Duration::from_millis(10));
    }
    Ok(witness)
}

/// A service's log with its token.
fn service(instance: &Instance, name: &str, more: &[&str]) -> Result<(String, Vec<String>)> {
    let mut words = vec!["service", "create", name];
    words.extend(more);
    let keys = instance.command_of("log", &words)?;
    let token = instance.command_of("log", &["service", "token", name])?;
    Ok((token, keys.lines().map(str::to_owned).collect()))
}

fn request(authority: &str, token: &str, numbers: std::ops::Range<u64>, proof: &str) -> Vec<u8> {
    let entries: Vec<_> = numbers
        .map(|number| {
            // About as long as what a registry says of a file.
            let text =
                format!("file {number:012} sha256:{number:064x} size 123456 project sample\n");
            json!({"data": STANDARD.encode(text)})
        })
        .collect();
    let body = json!({"entries": entries, "proof": proof}).to_string();
    format!(
        "POST /api/v1/service/log/entries HTTP/1.1\r\nHost: {authority}\r\nAuthorization: Bearer {token}\r\nContent-Type: application/json\r\n\
         Content-Length: {}\r\n\r\n{body}",
        body.len()
    )
    .into_bytes()
}

/// Measures and adds the figures of services' logs.
///
/// # Errors
/// Where an entry is refused, or anything can not be measured.
pub(super) fn measure(
    binary: &Path,
    client: &Path,
    home: &Path,
    quick: bool,
    report: &mut Report,
) -> Result<()> {
    let postgres = PostgresServer::start()?;
    let database = postgres.fresh_database()?;
    let instance = Instance::make_on(binary, &home.join("log-service"), Some(&database))?;
    let (token, _) = service(
        &instance,
        "many",
        &["--unwitnessed", "--interval-ms", "200"],
    )?;
    let (key, address) = witness_keys(client, home)?;
    let policy = home.join("witness/policy");
    fs::write(
        &policy,
        format!("witness bench {key} http://{address}\nquorum bench\n"),
    )?;
    let policy = policy.display().to_string();
    let (witnessed, keys) = service(&instance, "witnessed", &["--policy", &policy])?;
    let _witness = witness(client, home, &address, &keys)?;
    let server = instance.serve_unpinned()?;
    let authority = server
        .url
        .strip_prefix("http://")
        .context("the server's URL")?
        .to_owned();
    many(&server, &authority, &token, quick, report)?;
    waits(&server, &authority, &witnessed, quick, report)
}

/// As many as go.
fn many(
    server: &Server,
    authority: &str,
    token: &str,
    quick: bool,
    report: &mut Report,
) -> Result<()> {
    let seconds = if quick { 4 } else { 20 };
    eprintln!("bench: appending to a service's log");
    let next = AtomicU64::new(0);
    let done = AtomicU64::new(0);
    let meter = Meter::start(server.pid());
    let begin = Instant::now();
    let end = begin + Duration::from_secs(seconds);
    let one = || -> Result<()> {
        let mut connection = Connection::open(authority)?;
        connection.patience(Duration::from_secs(60))?;
        while Instant::now() < end {
            let first = next.fetch_add(BATCH, Ordering::Relaxed);
            connection.send(&request(authority, token, first..first + BATCH, "none"))?;
            connection.read_response(false)?.expect_status(200)?;
            done.fetch_add(BATCH, Ordering::Relaxed);
        }
        Ok(())
    };
    std::thread::scope(|scope| {
        let threads: Vec<_> = (0..CONNECTIONS).map(|_| scope.spawn(one)).collect();
        threads
            .into_iter()
            .try_for_each(|thread| thread.join().map_err(|_| anyhow!("a client panicked"))?)
    })?;
    let wall = begin.elapsed().as_secs_f64();
    let seen = meter.stop();
    let per_second = done.load(Ordering::Relaxed) as f64 / wall;
    report.add(Figure {
        name: "log service, entries durable, integrated and signed",
        ours: per_second,
        unit: "/s",
        theirs: None,
        score: per_second,
        goal: Goal::AtLeast(10_000.0),
        more: json!({"entries": done.load(Ordering::Relaxed), "seconds": wall, "batch": BATCH, "connections": CONNECTIONS, "checkpoints_ms": 200,
            "server_cpu_s": seen.cpu, "strangers": seen.strangers}),
    });
    Ok(())
}

/// A thousand a second, ten to a request, each with its witnessed proof.
fn waits(
    server: &Server,
    authority: &str,
    token: &str,
    quick: bool,
    report: &mut Report,
) -> Result<()> {
    const TOGETHER: u64 = 10;
    let seconds = if quick { 4 } else { 20 };
    eprintln!("bench: from an entry to its witnessed proof");
    let count = u64::from(PACE) / TOGETHER * seconds;
    let requests: Vec<Vec<u8>> = (0..count)
        .map(|number| {
            let first = number * TOGETHER;
            request(authority, token, first..first + TOGETHER, "file")
        })
        .collect();
    let meter = Meter::start(server.pid());
    // Each waits for a second at most and something: so many connections that one is always free.
    let pace = PACE / u32::try_from(TOGETHER)?;
    let times: Times = paced(authority, 192, Some(pace), &requests)?;
    let seen = meter.stop();
    report.add(Figure {
        name: "log service, entry to witnessed proof at 1,000/s, p99",
        ours: times.p99(),
        unit: "ms",
        theirs: None,
        score: times.p99(),
        goal: Goal::AtMost(1_300.0),
        more: json!({"median_ms": times.median(), "per_s": PACE, "entries_each": TOGETHER, "checkpoints_ms": 1_000,
            "server_cpu_s": seen.cpu, "strangers": seen.strangers}),
    });
    Ok(())
}
