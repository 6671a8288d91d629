//! TUF: signing for a registry elsewhere by RSTUF's API, beside bare python-tuf doing the same steps; and what a client with
//! an empty memory moves.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use anyhow::{Context, Result, anyhow, ensure};
use base64::Engine as _;
use countersign_testkit::http::{self, Connection};
use countersign_testkit::postgres::PostgresServer;
use countersign_trust::digest::Sha256;
use countersign_trust::sigstore::Ed25519Signer;
use countersign_trust::tuf::ceremony::{Pending, RootPlan};
use countersign_trust::tuf::client::{Client, Look, Trusted};
use countersign_trust::tuf::{Key, Limits};
use serde_json::{Value, json};

use super::exchange::{Pinned, Times};
use super::load::LOAD_CORE;
use super::machine::{Meter, load_average};
use super::report::{Figure, Goal, Report};
use super::server::{Instance, SERVER_CORE, Server, checked, environment};

const BINS: u32 = 16_384;
const DAY: i64 = 86_400;
/// Artifacts of one request while a repository is filled.
const FILL: u32 = 10_000;

/// The same steps with python-tuf and nothing around it: the bins that change, snapshot and timestamp are signed, and written with
/// syncs. `rate.py FOLDER EXISTING BINS BATCH ROUNDS` prints artifacts per second.
const BARE: &str = "\
import hashlib, os, sys, time
from datetime import datetime, timedelta, timezone
from securesystemslib.signer import CryptoSigner
from tuf.api.metadata import Metadata, MetaFile, Snapshot, SuccinctRoles, TargetFile, Targets, Timestamp
from tuf.api.serialization.json import JSONSerializer
folder, existing, bins, batch, rounds = sys.argv[1], *map(int, sys.argv[2:])
os.makedirs(folder, exist_ok=True)
signer = CryptoSigner.generate_ed25519()
roles = SuccinctRoles([signer.public_key.keyid], 1, bins.bit_length() - 1, 'bins')
end = datetime.now(timezone.utc).replace(microsecond=0) + timedelta(days=1)
held = {name: Metadata(Targets(version=1, expires=end)) for name in roles.get_roles()}
snapshot, timestamp = Metadata(Snapshot(expires=end)), Metadata(Timestamp(expires=end))
for name in held:
    snapshot.signed.meta[name + '.json'] = MetaFile(version=1)
def put(number):
    path = 'pypi/project-%08d/file-%d.tar.gz' % (number, number)
    digest = hashlib.sha256(str(number).encode()).hexdigest()
    name = roles.get_role_for_target(path)
    held[name].signed.targets[path] = TargetFile(1000 + number, {'sha256': digest}, path)
    return name
def write(name, metadata):
    metadata.sign(signer)
    with open(os.path.join(folder, name), 'wb') as file:
        file.write(metadata.to_bytes(JSONSerializer(compact=True)))
        file.flush()
        os.fsync(file.fileno())
for number in range(existing):
    put(number)
next_one, begin, cpu = existing, time.perf_counter(), time.process_time()
for _ in range(rounds):
    touched = {put(number) for number in range(next_one, next_one + batch)}
    next_one += batch
    for name in touched:
        held[name].signed.version += 1
        write('%d.%s.json' % (held[name].signed.version, name), held[name])
        snapshot.signed.meta[name + '.json'] = MetaFile(version=held[name].signed.version)
    snapshot.signed.version += 1
    write('%d.snapshot.json' % snapshot.signed.version, snapshot)
    timestamp.signed.version += 1
    timestamp.signed.snapshot_meta = MetaFile(version=snapshot.signed.version)
    write('timestamp.json.part', timestamp)
    os.rename(os.path.join(folder, 'timestamp.json.part'), os.path.join(folder, 'timestamp.json'))
print(batch * rounds / (time.perf_counter() - begin), batch * rounds / (time.process_time() - cpu))
";

/// What python-tuf's own client moves for these paths. `cold.py URL FOLDER PATH…` prints requests and bytes.
const COLD: &str = "\
import os, sys
from tuf.ngclient import Updater
from tuf.ngclient.urllib3_fetcher import Urllib3Fetcher
class Counting(Urllib3Fetcher):
    requests = moved = 0
    def _fetch(self, url):
        Counting.requests += 1
        for piece in super()._fetch(url):
            Counting.moved += len(piece)
            yield piece
url, folder, paths = sys.argv[1], sys.argv[2], sys.argv[3:]
os.makedirs(folder, exist_ok=True)
root = open(sys.argv[2] + '.root.json', 'rb').read()
updater = Updater(folder, url + '/', fetcher=Counting(), bootstrap=root)
updater.refresh()
for path in paths:
    assert updater.get_targetinfo(path) is not None, path
print(Counting.requests, Counting.moved)
";

/// A service whose ceremony was held.
struct Service {
    server: Server,
    authority: String,
    token: String,
    root: Vec<u8>,
}

fn now() -> Result<i64> {
    let since = SystemTime::now().duration_since(UNIX_EPOCH)?;
    Ok(i64::try_from(since.as_secs())?)
}

fn path_of(number: u32) -> String {
    format!("pypi/project-{number:08}/file-{number}.tar.gz")
}

fn artifact(number: u32) -> Value {
    let digest = Sha256::of(number.to_string().as_bytes()).to_hex();
    json!({"path": path_of(number), "info": {"length": 1000 + number, "hashes": {"sha256": digest}}})
}

/// The online key as the registry shows it: PEM.
fn online_key(pem: &str) -> Result<Key> {
    let text: String = pem
        .lines()
        .filter(|line| !line.starts_with("-----"))
        .collect();
    let spki = base64::engine::general_purpose::STANDARD.decode(text)?;
    Key::from_spki(&spki).map_err(|why| anyhow!("{why}"))
}

/// A root that two people signed.
fn root(online: &Key, now: i64) -> Result<Vec<u8>> {
    let refused = |why| anyhow!("{why}");
    let signers = [
        Ed25519Signer::new(&[1; 32]).map_err(|why| anyhow!("{why}"))?,
        Ed25519Signer::new(&[2; 32]).map_err(|why| anyhow!("{why}"))?,
    ];
    let mut people = Vec::new();
    for signer in &signers {
        people.push(Key::of(signer).map_err(refused)?);
    }
    let mut roles = BTreeMap::from([("root".to_owned(), (people, 2))]);
    for role in ["timestamp", "snapshot", "targets"] {
        roles.insert(role.to_owned(), (vec![online.clone()], 1));
    }
    let plan = RootPlan {
        expires: now + 365 * DAY,
        roles,
        development: true,
    };
    let mut pending = Pending::root(plan.root(None).map_err(refused)?, None).map_err(refused)?;
    for signer in &signers {
        pending.sign(signer).map_err(refused)?;
    }
    pending.finish(now).map_err(refused)
}

impl Service {
    fn begin(instance: &Instance) -> Result<Self> {
        let pem = instance.data.join("online.pem");
        let file = pem.display().to_string();
        instance.run(&["tuf", "service", "create", "bench", "--public-key", &file])?;
        let token = instance.run(&["tuf", "service", "token", "bench"])?;
        let root = root(&online_key(&fs::read_to_string(&pem)?)?, now()?)?;
        let server = instance.serve()?;
        let authority = server.url.trim_start_matches("http://").to_owned();
        let service = Self {
            server,
            authority,
            token,
            root,
        };
        let days = |days: u32| json!({ "expiration": days });
        let ceremony = json!({
            "settings": {"roles": {
                "root": days(365), "targets": days(365), "snapshot": days(7), "timestamp": days(1),
                "bins": {"expiration": 30, "number_of_delegated_bins": BINS},
            }},
            "metadata": {"root": serde_json::from_slice::<Value>(&service.root)?},
        });
        service.call("bootstrap/", &ceremony)?;
        Ok(service)
    }

    fn message(&self, path: &str, body: &Value) -> Vec<u8> {
        let body = body.to_string();
        format!(
            "POST /service/tuf/bench/api/v1/{path} HTTP/1.1\r\nHost: {}\r\nAuthorization: Bearer {}\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\r\n{body}",
            self.authority,
            self.token,
            body.len()
        )
        .into_bytes()
    }

    fn open(&self) -> Result<Connection> {
        let mut connection = Connection::open(&self.authority)?;
        connection.patience(Duration::from_secs(600))?;
        Ok(connection)
    }

    fn call(&self, path: &str, body: &Value) -> Result<()> {
        let mut connection = self.open()?;
        connection.send(&self.message(path, body))?;
        connection.read_response(false)?.expect_status(202)?;
        Ok(())
    }

    /// Lists so many artifacts in one commit; how long that commit took.
    fn fill(&self, count: u32) -> Result<Duration> {
        let mut connection = self.open()?;
        for first in (0..count).step_by(FILL as usize) {
            let items: Vec<Value> = (first..count.min(first + FILL)).map(artifact).collect();
            let body = json!({"artifacts": items, "publish_artifacts": false});
            connection.send(&self.message("artifacts/", &body))?;
            connection.read_response(false)?.expect_status(202)?;
        }
        let begin = Instant::now();
        connection.send(&self.message("artifacts/publish/", &json!({})))?;
        connection.read_response(false)?.expect_status(202)?;
        Ok(begin.elapsed())
    }

    /// Adds artifacts, `batch` in a request, over so many connections. The wait of each request in milliseconds, and the wall
    /// time in seconds.
    fn add(&self, first: u32, batch: u32, requests: u32, connections: u32) -> Result<(Times, f64)> {
        let messages: Vec<Vec<u8>> = (0..requests)
            .map(|request| {
                let from = first + request * batch;
                let items: Vec<Value> = (from..from + batch).map(artifact).collect();
                self.message("artifacts/", &json!({ "artifacts": items }))
            })
            .collect();
        let one = |place: usize| -> Result<Vec<f64>> {
            let mut connection = self.open()?;
            let mut waits = Vec::new();
            for message in messages.iter().skip(place).step_by(connections as usize) {
                let begin = Instant::now();
                connection.send(message)?;
                connection.read_response(false)?.expect_status(202)?;
                waits.push(begin.elapsed().as_secs_f64() * 1e3);
            }
            Ok(waits)
        };
        let begin = Instant::now();
        let waits = std::thread::scope(|scope| {
            let threads: Vec<_> = (0..connections as usize)
                .map(|place| scope.spawn(move || one(place)))
                .collect();
            threads
                .into_iter()
                .map(|thread| thread.join().map_err(|_| anyhow!("a client panicked"))?)
                .collect::<Result<Vec<_>>>()
        })?;
        let wall = begin.elapsed().as_secs_f64();
        self.knows(first + batch * requests - 1)?;
        Ok((Times::of(waits.concat()), wall))
    }

    /// A client with an empty memory finds it.
    fn knows(&self, number: u32) -> Result<()> {
        self.cold(&[path_of(number)], false).map(|_| ())
    }

    /// What a client with an empty memory moves to find these: requests, and bytes of bodies as they cross the wire.
    fn cold(&self, paths: &[String], packed: bool) -> Result<(u32, u64)> {
        let refused = |why| anyhow!("{why}");
        let (mut requests, mut moved) = (0, 0);
        let mut fetch = |file: &str| -> Result<Option<Vec<u8>>> {
            let address = format!("{}/service/tuf/bench/metadata/{file}", self.server.url);
            let headers: &[(&str, &str)] = if packed {
                &[("Accept-Encoding", "gzip")]
            } else {
                &[]
            };
            let answer = http::request("GET", &address, headers, b"")?;
            requests += 1;
            if answer.status == 404 {
                return Ok(None);
            }
            let zipped = answer.header("content-encoding") == Some("gzip");
            let body = answer.expect_status(200)?.body;
            moved += body.len() as u64;
            if !zipped {
                return Ok(Some(body));
            }
            let mut plain = Vec::new();
            std::io::Read::read_to_end(
                &mut flate2::read::GzDecoder::new(body.as_slice()),
                &mut plain,
            )?;
            Ok(Some(plain))
        };
        let trusted = Trusted::root(self.root.clone());
        let mut client = Client::begin(trusted, now()?, Limits::default()).map_err(refused)?;
        while let Some(request) = client.wanted().map_err(refused)? {
            let answer = fetch(&request.file)?;
            client.give(&request, answer.as_deref()).map_err(refused)?;
        }
        for path in paths {
            loop {
                match client.look(path).map_err(refused)? {
                    Look::Fetch(request) => {
                        let answer = fetch(&request.file)?;
                        client.give(&request, answer.as_deref()).map_err(refused)?;
                    }
                    Look::Found { .. } => break,
                    Look::Absent => return Err(anyhow!("{path} is not listed")),
                }
            }
        }
        Ok((requests, moved))
    }
}

/// Adds the figures of the service: at 100,000 artifacts, on PostgreSQL.
///
/// # Errors
/// Where anything can not be measured.
pub(super) fn service(
    binary: &Path,
    home: &Path,
    quick: bool,
    peers: bool,
    report: &mut Report,
) -> Result<()> {
    let postgres = PostgresServer::start()?;
    let database = postgres.fresh_database()?;
    let instance = Instance::make_on(binary, &home.join("ours-tuf"), Some(&database))?;
    let service = Service::begin(&instance)?;
    let existing = if quick { 10_000 } else { 100_000 };
    eprintln!("bench: listing {existing} artifacts");
    let filled = service.fill(existing)?;
    let _pinned = Pinned::to(LOAD_CORE)?;
    let rounds = if quick { 10 } else { 40 };
    let meter = Meter::start(service.server.pid());
    let (waits, wall) = service.add(existing, 100, rounds, 1)?;
    let (batch, seen) = (f64::from(100 * rounds) / wall, meter.stop());
    let mut next = existing + 100 * rounds;
    report.add(Figure {
        name: "TUF service: adding in batches of 100, one client",
        ours: batch,
        unit: "artifacts/s",
        theirs: Some(("RSTUF, as measured before", 6.0)),
        score: batch,
        goal: Goal::AtLeast(1_000.0),
        more: json!({"median_ms": waits.median(), "p99_ms": waits.p99(), "cpu_ms_each_artifact": seen.cpu * 1e3 / f64::from(100 * rounds),
            "strangers": seen.strangers, "existing": existing, "bins": BINS, "load": load_average(),
            "first_commit_of_all_s": filled.as_secs_f64()}),
    });
    let requests = if quick { 500 } else { 2_000 };
    let meter = Meter::start(service.server.pid());
    let (waits, wall) = service.add(next, 1, requests, 50)?;
    let (single, seen) = (f64::from(requests) / wall, meter.stop());
    next += requests;
    report.add(Figure {
        name: "TUF service: adding singly, 50 clients",
        ours: single,
        unit: "artifacts/s",
        theirs: Some(("RSTUF, as measured before", 0.65)),
        score: single,
        goal: Goal::AtLeast(200.0),
        more: json!({"median_ms": waits.median(), "p99_ms": waits.p99(), "cpu_ms_each_artifact": seen.cpu * 1e3 / f64::from(requests),
            "strangers": seen.strangers, "load": load_average()}),
    });
    let lone = if quick { 50 } else { 200 };
    let meter = Meter::start(service.server.pid());
    let (waits, _) = service.add(next, 1, lone, 1)?;
    let seen = meter.stop();
    report.add(Figure {
        name: "TUF service: a lone artifact, until it is in what is served, median",
        ours: waits.median(),
        unit: "ms",
        theirs: Some(("RSTUF, as measured before", 3_100.0)),
        score: waits.median(),
        goal: Goal::AtMost(50.0),
        more: json!({"p99_ms": waits.p99(), "cpu_ms_each": seen.cpu * 1e3 / f64::from(lone), "strangers": seen.strangers,
            "load": load_average()}),
    });
    drop(service);
    if !peers {
        return Ok(());
    }
    let python = python(home)?;
    let script = home.join("tuf_rate.py");
    fs::write(&script, BARE)?;
    let bare = |batch: u32, rounds: u32| -> Result<f64> {
        let work = tempfile::Builder::new()
            .prefix("python-tuf-")
            .tempdir_in(home)?;
        let text = checked(
            Command::new("taskset")
                .args(["-c", SERVER_CORE])
                .arg(&python)
                .arg(&script)
                .arg(work.path())
                .args([existing, BINS, batch, rounds].map(|number| number.to_string())),
        )?;
        let first = text.split_whitespace().next();
        Ok(first.context("python-tuf told nothing")?.parse()?)
    };
    for (name, ours, theirs) in [
        (
            "TUF service / bare python-tuf, batches of 100",
            batch,
            bare(100, rounds)?,
        ),
        (
            "TUF service with 50 clients / bare python-tuf, singly",
            single,
            bare(1, lone)?,
        ),
    ] {
        report.add(Figure {
            name,
            ours,
            unit: "artifacts/s",
            theirs: Some(("python-tuf", theirs)),
            score: ours / theirs,
            goal: Goal::AtLeast(3.0),
            more: json!({"load": load_average()}),
        });
    }
    Ok(())
}

fn python(home: &Path) -> Result<std::path::PathBuf> {
    let packages = ["tuf==7.0.1", "securesystemslib[crypto]"];
    Ok(environment(home, "tuf", &packages)?.join("bin/python"))
}

/// Adds the figure of a client with an empty memory.
///
/// # Errors
/// Where anything can not be measured.
pub(super) fn cold(
    binary: &Path,
    home: &Path,
    quick: bool,
    peers: bool,
    report: &mut Report,
) -> Result<()> {
    let instance = Instance::make_on(binary, &home.join("ours-tuf-cold"), None)?;
    let service = Service::begin(&instance)?;
    let targets = if quick { 70_000 } else { 700_000 };
    eprintln!("bench: listing {targets} artifacts");
    let filled = service.fill(targets)?;
    let wanted: Vec<String> = (0..30)
        .map(|number| path_of(number * (targets / 30)))
        .collect();
    let (requests, plain) = service.cold(&wanted, false)?;
    let begin = Instant::now();
    let (_, first) = service.cold(&wanted, true)?;
    let begin = (begin, begin.elapsed());
    let (_, packed) = service.cold(&wanted, true)?;
    ensure!(first == packed, "the same files were packed differently");
    report.add(Figure {
        name: "TUF: a cold client needs 30 of 700,000 targets, compressed",
        ours: packed as f64 / 1e3,
        unit: "kB",
        theirs: Some(("as it is, kB", plain as f64 / 1e3)),
        score: packed as f64 / 1e3,
        goal: Goal::AtMost(300.0),
        more: json!({"targets": targets, "bins": BINS, "requests": requests, "first_commit_of_all_s": filled.as_secs_f64(),
            "first_packed_s": begin.1.as_secs_f64(), "memory_mb": service.server.resident_mb(), "load": load_average()}),
    });
    if !peers {
        return Ok(());
    }
    let script = home.join("tuf_cold.py");
    fs::write(&script, COLD)?;
    let work = tempfile::Builder::new()
        .prefix("python-cold-")
        .tempdir_in(home)?;
    let folder = work.path().join("trusted");
    fs::write(work.path().join("trusted.root.json"), &service.root)?;
    let text = checked(
        Command::new(python(home)?)
            .arg(&script)
            .arg(format!("{}/service/tuf/bench/metadata", service.server.url))
            .arg(&folder)
            .args(&wanted),
    )?;
    let moved: Vec<f64> = text
        .split_whitespace()
        .filter_map(|number| number.parse().ok())
        .collect();
    report.add(Figure {
        name: "TUF: the same by python-tuf, which asks for no compression",
        ours: moved.get(1).copied().unwrap_or(f64::NAN) / 1e3,
        unit: "kB",
        theirs: None,
        score: moved.get(1).copied().unwrap_or(f64::NAN) / 1e3,
        goal: Goal::None,
        more: json!({"requests": moved.first()}),
    });
    Ok(())
}
