//! Exchanging identity tokens: against the bare cost of what no exchange can do without (one RS256 verification and one
//! durable transaction), and while a storm of bad tokens goes on.

use std::collections::BTreeMap;
use std::path::Path;
use std::process::Command;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use anyhow::{Context, Result, anyhow, ensure};
use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::rsa::KeySize;
use aws_lc_rs::signature::{
    KeyPair as _, ParsedPublicKey, RSA_PKCS1_2048_8192_SHA256, RSA_PKCS1_SHA256, RsaKeyPair,
};
use countersign_testkit::claims;
use countersign_testkit::http::{self, Connection};
use countersign_testkit::issuer::{Document, Issuer, KeyId, OidcServer, Signing};
use serde_json::{Value, json};

use super::load::{LOAD_CORE, median};
use super::machine::Meter;
use super::report::{Figure, Goal, Report};
use super::server::{Instance, SERVER_CORE, Server};

const REPOSITORY: &str = "octo/sample";
const WORKFLOW: &str = "release.yml";

/// How many bad tokens come in a minute of the storm.
const STORM: u32 = 10_000;

/// Good exchanges per second while their waits are compared.
const PACE: u32 = 100;

/// Inserts and commits one row again and again, with SQLite's own library and nothing of ours in between. The log of
/// the database has its full length first, as that of a server has: a commit that makes a file longer costs more.
const TRANSACTIONS: &str = "\
import json, os, sqlite3, sys, time
path, count = sys.argv[1], int(sys.argv[2])
for end in ('', '-wal', '-shm'):
    if os.path.exists(path + end):
        os.remove(path + end)
db = sqlite3.connect(path, isolation_level=None)
db.execute('PRAGMA journal_mode=WAL')
db.execute('PRAGMA synchronous=FULL')
db.execute('CREATE TABLE replays (issuer TEXT, token_key TEXT, expires BIGINT, PRIMARY KEY (issuer, token_key))')
db.execute('CREATE TABLE filler (bytes BLOB)')
db.execute('INSERT INTO filler VALUES (zeroblob(8000000))')
db.execute('PRAGMA wal_checkpoint(RESTART)')
times = []
for number in range(count):
    row = ('https://issuer.example', os.urandom(32).hex(), number)
    begin = time.perf_counter()
    db.execute('BEGIN IMMEDIATE')
    db.execute('INSERT INTO replays VALUES (?, ?, ?)', row)
    db.execute('COMMIT')
    times.append((time.perf_counter() - begin) * 1e3)
print(json.dumps(times))
";

/// A distribution of times, in milliseconds.
#[derive(Debug, Clone)]
pub(super) struct Times(Vec<f64>);

impl Times {
    pub(super) fn of(mut times: Vec<f64>) -> Self {
        times.sort_by(f64::total_cmp);
        Self(times)
    }

    fn quantile(&self, part: f64) -> f64 {
        let last = self.0.len().saturating_sub(1);
        let at = (last as f64 * part).round() as usize;
        self.0.get(at).copied().unwrap_or(f64::NAN)
    }

    pub(super) fn median(&self) -> f64 {
        self.quantile(0.5)
    }

    pub(super) fn p99(&self) -> f64 {
        self.quantile(0.99)
    }

    fn mean(&self) -> f64 {
        self.0.iter().sum::<f64>() / self.0.len() as f64
    }
}

/// Sends each of `requests` over so many connections and gives how long each took. With a pace (per second) a request is
/// due at its time, and its wait counts from then even if its connection was still busy.
///
/// # Errors
/// Where an answer is not 200.
pub(super) fn paced(
    authority: &str,
    connections: usize,
    pace: Option<u32>,
    requests: &[Vec<u8>],
) -> Result<Times> {
    let begin = Instant::now();
    let one = |first: usize| -> Result<Vec<f64>> {
        let mut connection = Connection::open(authority)?;
        let mut times = Vec::new();
        for number in (first..requests.len()).step_by(connections) {
            let due = pace.map_or_else(Instant::now, |pace| {
                begin + Duration::from_secs_f64(number as f64 / f64::from(pace))
            });
            std::thread::sleep(due.saturating_duration_since(Instant::now()));
            connection.send(&requests[number])?;
            connection.read_response(false)?.expect_status(200)?;
            times.push(due.elapsed().as_secs_f64() * 1e3);
        }
        Ok(times)
    };
    let all = std::thread::scope(|scope| {
        let threads: Vec<_> = (0..connections)
            .map(|first| scope.spawn(move || one(first)))
            .collect();
        threads
            .into_iter()
            .map(|thread| thread.join().map_err(|_| anyhow!("a client panicked"))?)
            .collect::<Result<Vec<_>>>()
    })?;
    Ok(Times::of(all.concat()))
}

/// Measures and adds the figures of exchanges.
///
/// # Errors
/// Where a good token is refused, a bad one accepted, or anything can not be measured.
pub(super) fn measure(binary: &Path, home: &Path, quick: bool, report: &mut Report) -> Result<()> {
    let _pinned = Pinned::to(LOAD_CORE)?;
    let stage = Stage::set_up(binary, home)?;
    // Ids are pinned, the pending project is made, and the issuer's keys are in memory after these.
    stage.exchange(&stage.good(20)?, 1, None)?;
    against_the_bare_cost(&stage, home, quick, report)?;
    in_a_storm(&stage, quick, report)
}

fn against_the_bare_cost(
    stage: &Stage,
    home: &Path,
    quick: bool,
    report: &mut Report,
) -> Result<()> {
    let (rounds, count) = if quick { (3, 100) } else { (7, 400) };
    let (mut medians, mut tails, mut busy) = (Vec::new(), Vec::new(), Vec::new());
    let (mut verifications, mut transactions) = (Vec::new(), Vec::new());
    let mut strangers = Vec::new();
    eprintln!("bench: exchanging, beside bare verifications and transactions");
    for _ in 0..rounds {
        let verification = verification_times(count)?;
        let transaction = transaction_times(home, count)?;
        let (lone, many) = (stage.good(count)?, stage.good(count)?);
        let meter = Meter::start(stage.server.pid());
        let lone = stage.exchange(&lone, 1, None)?;
        let begin = Instant::now();
        let eight = stage.exchange(&many, 8, None)?;
        let each = begin.elapsed().as_secs_f64() * 1e3 / many.len() as f64;
        strangers.push(meter.stop().strangers);
        medians.push((lone.median(), verification.median() + transaction.median()));
        tails.push((lone.p99(), verification.p99() + transaction.p99()));
        busy.push((each, verification.mean() + transaction.mean(), eight.p99()));
        verifications.push(verification.median());
        transactions.push(transaction.median());
    }
    let more = json!({
        "verification_median_ms": median(verifications), "transaction_median_ms": median(transactions),
        "strangers": median(strangers), "rounds": rounds, "exchanges_each": count,
    });
    let mut add = |name, pairs: &[(f64, f64)], more: Value| {
        report.add(Figure {
            name,
            ours: median(pairs.iter().map(|(ours, _)| *ours)),
            unit: "ms",
            theirs: Some((
                "verification + transaction, ms",
                median(pairs.iter().map(|(_, bare)| *bare)),
            )),
            score: median(pairs.iter().map(|(ours, bare)| ours / bare)),
            goal: Goal::AtMost(2.0),
            more,
        });
    };
    add("exchange, one at a time, median", &medians, more);
    add("exchange, one at a time, p99", &tails, Value::Null);
    let pairs: Vec<_> = busy.iter().map(|(each, bare, _)| (*each, *bare)).collect();
    let more = json!({
        "per_s": median(busy.iter().map(|(each, _, _)| 1e3 / each)).round(),
        "p99_ms": median(busy.iter().map(|(_, _, p99)| *p99)),
    });
    add("exchange, 8 at a time, wall time each", &pairs, more);
    Ok(())
}

fn in_a_storm(stage: &Stage, quick: bool, report: &mut Report) -> Result<()> {
    let (rounds, seconds) = if quick { (2, 3) } else { (5, 6) };
    let bad = stage.bad(200)?;
    let (mut pairs, mut seen, mut strangers) = (Vec::new(), BTreeMap::new(), Vec::new());
    let (mut stormed, fetched) = (Duration::ZERO, stage.issuer.requests(Document::Keys));
    eprintln!("bench: exchanging in a storm of bad tokens");
    for _ in 0..rounds {
        let count = (PACE * seconds) as usize;
        let (calm, stormy) = (stage.good(count)?, stage.good(count)?);
        let meter = Meter::start(stage.server.pid());
        let calm = stage.exchange(&calm, 4, Some(PACE))?;
        let over = AtomicBool::new(false);
        let begin = Instant::now();
        let (stormy, answers) = std::thread::scope(|scope| -> Result<_> {
            let storm = scope.spawn(|| stage.storm(&bad, &over));
            let stormy = stage.exchange(&stormy, 4, Some(PACE));
            over.store(true, Ordering::Relaxed);
            let answers = storm.join().map_err(|_| anyhow!("the storm panicked"))??;
            Ok((stormy?, answers))
        })?;
        stormed += begin.elapsed();
        strangers.push(meter.stop().strangers);
        pairs.push((stormy.p99(), calm.p99(), stormy.median(), calm.median()));
        for (status, times) in answers {
            *seen.entry(status.to_string()).or_insert(0_u64) += times;
        }
    }
    let bad_per_minute = seen.values().sum::<u64>() as f64 * 60.0 / stormed.as_secs_f64();
    report.add(Figure {
        name: "exchange, p99 under 10,000 bad tokens a minute",
        ours: median(pairs.iter().map(|pair| pair.0)),
        unit: "ms",
        theirs: Some((
            "without them, ms",
            median(pairs.iter().map(|pair| pair.1)),
        )),
        score: median(pairs.iter().map(|pair| pair.0 / pair.1)),
        goal: Goal::AtMost(2.0),
        more: json!({
            "ratios": pairs.iter().map(|pair| (pair.0 / pair.1 * 1e3).round() / 1e3).collect::<Vec<_>>(),
            "median_ms": median(pairs.iter().map(|pair| pair.2)),
            "calm_median_ms": median(pairs.iter().map(|pair| pair.3)),
            "good_per_s": PACE, "bad_per_minute": bad_per_minute.round(), "answers_to_bad": seen,
            "fetches_of_keys": stage.issuer.requests(Document::Keys) - fetched, "strangers": median(strangers),
        }),
    });
    Ok(())
}

/// A registry that knows an issuer of the kit and has one publisher there.
struct Stage {
    server: Server,
    authority: String,
    audience: String,
    issuer: Issuer,
    // Its threads answer until the end.
    _issuers: OidcServer,
}

impl Stage {
    fn set_up(binary: &Path, home: &Path) -> Result<Self> {
        let issuers = OidcServer::start()?;
        let issuer = issuers.issuer("bench")?;
        let instance = Instance::make(binary, &home.join("exchange"))?;
        let server = instance.serve()?;
        let ca = issuers.ca_file().display().to_string();
        instance.administer(&[
            "issuer",
            "add",
            "bench",
            "--url",
            &issuer.url(),
            "--preset",
            "github",
            "--ca",
            &ca,
        ])?;
        let (owner, repository) = REPOSITORY.split_once('/').unwrap_or_default();
        instance.administer(&[
            "publisher",
            "add",
            "bench-exchange",
            "--issuer",
            "bench",
            "--owner",
            owner,
            "--repository",
            repository,
            "--workflow",
            WORKFLOW,
            "--pending-for",
            "bench",
        ])?;
        let audience = http::get(&format!("{}/_/oidc/audience", server.url))?
            .expect_status(200)?
            .json()?;
        let audience = audience["audience"]
            .as_str()
            .context("the registry names no audience")?
            .to_owned();
        let authority = server
            .url
            .strip_prefix("http://")
            .context("the server's URL")?
            .to_owned();
        Ok(Self {
            server,
            authority,
            audience,
            issuer,
            _issuers: issuers,
        })
    }

    fn mint_request(&self, token: &str) -> Vec<u8> {
        let body = json!({"token": token}).to_string();
        format!(
            "POST /_/oidc/mint-token HTTP/1.1\r\nHost: {}\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\r\n{body}",
            self.authority,
            body.len()
        )
        .into_bytes()
    }

    /// Requests with fresh tokens that the publisher fits.
    fn good(&self, count: usize) -> Result<Vec<Vec<u8>>> {
        (0..count)
            .map(|_| {
                let claims = claims::github(REPOSITORY, WORKFLOW);
                Ok(self.mint_request(&self.issuer.token(&self.audience, &claims)?))
            })
            .collect()
    }

    /// Requests with bad tokens of five kinds in turn: garbage, a wrong signature, an unknown key, expired, replayed.
    fn bad(&self, of_each: usize) -> Result<Vec<Vec<u8>>> {
        let claims = || claims::github(REPOSITORY, WORKFLOW);
        let now = SystemTime::now().duration_since(UNIX_EPOCH)?.as_secs();
        let replayed = self.good(of_each)?;
        self.exchange(&replayed, 4, None)?;
        let mut requests = Vec::new();
        for (number, replayed) in replayed.into_iter().enumerate() {
            requests.push(self.mint_request(&format!("garbage.{number}.{}", "x".repeat(1_000))));
            let forged = self.issuer.token_signed(
                &self.audience,
                &claims(),
                Signing::ForeignKey,
                &KeyId::Current,
            );
            requests.push(self.mint_request(&forged?));
            let unknown = KeyId::Named(format!("unknown-{number}"));
            let unknown =
                self.issuer
                    .token_signed(&self.audience, &claims(), Signing::Rs256, &unknown);
            requests.push(self.mint_request(&unknown?));
            let late = claims()
                .set("iat", now - 1_000)
                .set("nbf", now - 1_000)
                .set("exp", now - 700);
            requests.push(self.mint_request(&self.issuer.token(&self.audience, &late)?));
            requests.push(replayed);
        }
        Ok(requests)
    }

    /// Exchanges these.
    fn exchange(
        &self,
        requests: &[Vec<u8>],
        connections: usize,
        pace: Option<u32>,
    ) -> Result<Times> {
        paced(&self.authority, connections, pace, requests).context("a good token was refused")
    }

    /// Sends bad tokens at the storm's pace until it is over; how often each status came back.
    fn storm(&self, bad: &[Vec<u8>], over: &AtomicBool) -> Result<BTreeMap<u16, u64>> {
        const CONNECTIONS: usize = 4;
        let begin = Instant::now();
        let one = |first: usize| -> Result<BTreeMap<u16, u64>> {
            let mut connection = Connection::open(&self.authority)?;
            let mut answers = BTreeMap::new();
            for number in (first..).step_by(CONNECTIONS) {
                let due = begin + Duration::from_secs_f64(number as f64 * 60.0 / f64::from(STORM));
                std::thread::sleep(due.saturating_duration_since(Instant::now()));
                if over.load(Ordering::Relaxed) {
                    break;
                }
                connection.send(&bad[number % bad.len()])?;
                let answer = connection.read_response(false)?;
                ensure!(
                    matches!(answer.status, 422 | 429),
                    "a bad token was answered with {}: {:.300}",
                    answer.status,
                    answer.text()
                );
                if answer.header("connection") == Some("close") {
                    connection = Connection::open(&self.authority)?;
                }
                *answers.entry(answer.status).or_insert(0) += 1;
            }
            Ok(answers)
        };
        let mut sum = BTreeMap::new();
        let all = std::thread::scope(|scope| {
            let threads: Vec<_> = (0..CONNECTIONS)
                .map(|first| scope.spawn(move || one(first)))
                .collect();
            threads
                .into_iter()
                .map(|thread| thread.join().map_err(|_| anyhow!("a client panicked"))?)
                .collect::<Result<Vec<_>>>()
        })?;
        for (status, times) in all.into_iter().flatten() {
            *sum.entry(status).or_insert(0) += times;
        }
        Ok(sum)
    }
}

/// What it takes to verify one RS256 signature over as many bytes as a token of GitHub has, with a key that is ready.
fn verification_times(count: usize) -> Result<Times> {
    let pair = RsaKeyPair::generate(KeySize::Rsa2048).map_err(|_| anyhow!("no RSA key"))?;
    let key = ParsedPublicKey::new(&RSA_PKCS1_2048_8192_SHA256, pair.public_key().as_ref())
        .map_err(|_| anyhow!("the RSA key does not parse"))?;
    let message = [b'x'; 1_800];
    let mut signature = vec![0; pair.public_modulus_len()];
    pair.sign(
        &RSA_PKCS1_SHA256,
        &SystemRandom::new(),
        &message,
        &mut signature,
    )
    .map_err(|_| anyhow!("RSA does not sign"))?;
    let mut times = Vec::new();
    for _ in 0..count {
        let begin = Instant::now();
        key.verify_sig(&message, &signature)
            .map_err(|_| anyhow!("a good signature does not verify"))?;
        times.push(begin.elapsed().as_secs_f64() * 1e3);
    }
    Ok(Times::of(times))
}

/// What it takes to insert a row and commit it durably, on the file system and core that the registry has.
fn transaction_times(home: &Path, count: usize) -> Result<Times> {
    let output = Command::new("taskset")
        .args(["-c", SERVER_CORE, "python3", "-c", TRANSACTIONS])
        .arg(home.join("bare-transactions.db"))
        .arg(count.to_string())
        .output()
        .context("cannot start taskset and python3")?;
    ensure!(
        output.status.success(),
        "the bare transactions failed: {}",
        String::from_utf8_lossy(&output.stderr)
    );
    Ok(Times::of(serde_json::from_slice(&output.stdout)?))
}

/// This process with all its threads on one core, until dropped.
pub(super) struct Pinned {
    before: String,
}

impl Pinned {
    /// # Errors
    /// Where `taskset` is missing.
    pub(super) fn to(core: &str) -> Result<Self> {
        let status = std::fs::read_to_string("/proc/self/status")?;
        let before = status
            .lines()
            .find_map(|line| line.strip_prefix("Cpus_allowed_list:"))
            .context("/proc/self/status does not say which cores are allowed")?
            .trim()
            .to_owned();
        pin(core)?;
        Ok(Self { before })
    }
}

impl Drop for Pinned {
    fn drop(&mut self) {
        if let Err(error) = pin(&self.before) {
            eprintln!("bench: still on one core: {error}");
        }
    }
}

fn pin(cores: &str) -> Result<()> {
    let output = Command::new("taskset")
        .args(["--all-tasks", "--cpu-list", "--pid", cores])
        .arg(std::process::id().to_string())
        .output()
        .context("cannot start taskset (Debian: util-linux)")?;
    ensure!(
        output.status.success(),
        "taskset: {}",
        String::from_utf8_lossy(&output.stderr)
    );
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantiles_are_those_of_the_sorted_times() {
        let times = Times::of((0..=100).rev().map(f64::from).collect());
        assert_eq!(
            (times.median(), times.p99(), times.mean()),
            (50.0, 99.0, 50.0)
        );
        assert!(Times::of(Vec::new()).p99().is_nan());
    }
}
