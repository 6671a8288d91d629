//! The crash test: the real server takes concurrent publishes, is killed with SIGKILL at random moments (also while it
//! starts), starts again, and owes everything it ever acknowledged.
//!
//! After every kill: each file acknowledged since the kill before is served with its digest, stands in the log at the
//! index that was acknowledged, and its proof holds; no file is served, nor listed, without a leaf; no identifier has
//! two digests; the log is the old log with leaves appended, bit for bit, and extends every checkpoint seen. Every third
//! upload brings an attestation: it is named by the file's leaf and served byte for byte. At the end all of it again for
//! all files, and `doctor` finds nothing.

mod staged;

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use rand::rngs::StdRng;
use rand::{Rng as _, SeedableRng as _};
use sha2::{Digest as _, Sha256};

use crate::claims;
use crate::fsck::{CheckedLog, Checkpoint};
use crate::http;
use crate::packages::{Package, Wheel, escape};
use crate::server::{Database, ServerOptions, TestServer, publish};
use crate::sigstore::{Identity, PrivateSigstore, statements};

pub use staged::{StagedReport, run_staged};

/// Releases of one project before the publishers go on to the next one.
const RELEASES_PER_PROJECT: u64 = 40;
/// Projects whose uploads bring attestations, and how many uploads there are to one of theirs.
const ATTESTED_PROJECTS: u64 = 3;
const ATTESTED_EVERY: u64 = 3;
/// Who their certificates name.
const ISSUER: &str = "https://token.actions.githubusercontent.com";
const FORGE: &str = "https://github.com";
const REPOSITORY: &str = "octo/crash";

/// Files acknowledged in earlier rounds that are looked at again in each round.
const SAMPLE: usize = 8;

/// What to do.
#[derive(Debug, Clone)]
pub struct CrashPlan {
    /// How many times the server is killed.
    pub kills: u32,
    /// On which database.
    pub database: Database,
    /// How many publish at the same time.
    pub publishers: u32,
    /// Seed of the moments and of the files; the same seed tries the same moments.
    pub seed: u64,
    /// The longest time that a server runs before it is killed, measured from when it is ready.
    pub longest_run: Duration,
}

impl CrashPlan {
    /// Six publishers, runs of up to 0.4 seconds.
    pub fn new(database: Database, kills: u32) -> Self {
        Self {
            kills,
            database,
            publishers: 6,
            seed: 1,
            longest_run: Duration::from_millis(400),
        }
    }
}

/// What happened.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct CrashReport {
    /// Kills survived.
    pub kills: u32,
    /// Of these, while the server was starting.
    pub kills_while_starting: u32,
    /// Files whose publish was acknowledged; all of them are there.
    pub acknowledged: u64,
    /// Publishes that a kill cut off before their answer; each was repeated until acknowledged.
    pub cut_off: u64,
    /// Leaves of the log at the end.
    pub leaves: u64,
    /// Distinct checkpoints that clients saw; the log extends each.
    pub checkpoints: u64,
    /// Median of the times from start to ready.
    pub median_start: Duration,
    /// The longest.
    pub longest_start: Duration,
}

impl std::fmt::Display for CrashReport {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(
            f,
            "{} kills ({} while starting), {} acknowledged files all there, {} publishes cut off and repeated, \
             {} leaves, {} checkpoints all extended, ready again after {:.2} s (median), {:.2} s (longest)",
            self.kills,
            self.kills_while_starting,
            self.acknowledged,
            self.cut_off,
            self.leaves,
            self.checkpoints,
            self.median_start.as_secs_f64(),
            self.longest_start.as_secs_f64()
        )
    }
}

/// A publish that the server has acknowledged.
#[derive(Debug, Clone)]
struct Acknowledged {
    project: String,
    filename: String,
    sha256: String,
    leaf: u64,
    /// What was sent beside it.
    attestation: Option<String>,
}

/// A file, with what is sent beside it.
#[derive(Debug)]
struct Upload {
    package: Package,
    attestation: Option<String>,
}

impl Upload {
    fn send(&self, url: &str, token: &str) -> Result<http::Response> {
        let list = self.attestation.as_ref().map(|one| format!("[{one}]"));
        let fields: Vec<(&str, &str)> = list
            .as_deref()
            .map(|list| ("attestations", list))
            .into_iter()
            .collect();
        publish(url, &self.package, token, &fields)
    }
}

/// Makes the uploads.
struct Maker {
    sigstore: PrivateSigstore,
    identity: Identity,
}

impl Maker {
    /// Some projects whose owner names an identity of a private Sigstore, which the server trusts.
    fn set_up(server: &TestServer, token: &str) -> Result<Self> {
        let maker = Self {
            sigstore: PrivateSigstore::new("crash"),
            identity: Identity::github(ISSUER, FORGE, &claims::github(REPOSITORY, "release.yml")),
        };
        let folder = tempfile::tempdir()?;
        let root = maker.sigstore.write_trusted_root(folder.path())?;
        let root = root.to_str().context("the folder's name is text")?;
        server.run(&["admin", "trust-root", "add", "crash", root])?;
        let repository = format!("{FORGE}/{REPOSITORY}");
        for number in 0..ATTESTED_PROJECTS {
            let project = format!("attested-{number}");
            let first = Wheel::new(&project, "0.1").build();
            publish(&server.upload_url(), &first, token, &[])?.expect_status(200)?;
            let subject = format!("pypi:{project}");
            let words = ["admin", "provenance", "policy", &subject];
            let named = ["--trust", &repository, "--issuer", ISSUER];
            server.run(&[words, named].concat())?;
        }
        Ok(maker)
    }

    fn upload(&self, number: u64) -> Upload {
        if !number.is_multiple_of(ATTESTED_EVERY) {
            return Upload {
                package: package(number),
                attestation: None,
            };
        }
        let project = format!("attested-{}", number / ATTESTED_EVERY % ATTESTED_PROJECTS);
        let package = Wheel::new(&project, &format!("1.{number}")).build();
        let statement = statements::pypi_publish(&package.filename, &package.bytes);
        let signed = self.sigstore.sign_attestation(&self.identity, &statement);
        Upload {
            package,
            attestation: Some(signed.to_string()),
        }
    }
}

/// What publishers and the observer share.
#[derive(Debug, Default)]
struct Witnessed {
    acknowledged: Mutex<Vec<Acknowledged>>,
    /// Publishes without an answer, to be repeated with the same bytes.
    unanswered: Mutex<VecDeque<Upload>>,
    /// Notes of checkpoints seen since the last check.
    checkpoints: Mutex<Vec<String>>,
    /// Anything that must never happen.
    faults: Mutex<Vec<String>>,
    next: AtomicU64,
    cut_off: AtomicU64,
    stop: AtomicBool,
}

fn locked<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Carries out a plan. `say` gets a line now and then. The error is the first broken promise, with the round in which
/// it showed and the seed that shows it again.
pub fn run(plan: &CrashPlan, say: &mut dyn FnMut(&str)) -> Result<CrashReport> {
    let mut server = TestServer::start(ServerOptions {
        database: plan.database,
        ..ServerOptions::default()
    })?;
    let token = server.publisher("crash")?;
    let maker = Arc::new(Maker::set_up(&server, &token)?);
    let mut random = StdRng::seed_from_u64(plan.seed);
    let witnessed = Arc::new(Witnessed::default());
    let mut report = CrashReport::default();
    let mut starts = Vec::new();
    let mut log = server.checked_log()?;
    let mut all: Vec<Acknowledged> = Vec::new();
    for round in 1..=plan.kills {
        let outcome = (|| -> Result<()> {
            let run_for = random.random_range(Duration::ZERO..plan.longest_run);
            publish_until_killed(&mut server, &token, plan, &maker, &witnessed, run_for)?;
            report.kills += 1;
            if round % 7 == 0 {
                // Killed again, somewhere between exec and ready.
                drop(server.spawn()?);
                let typical = starts.last().copied().unwrap_or(Duration::from_millis(200));
                std::thread::sleep(random.random_range(Duration::ZERO..typical));
                server.kill()?;
                report.kills_while_starting += 1;
                report.kills += 1;
            }
            server.serve()?;
            starts.push(server.ready_after());
            log = check_log(&server, &log, &witnessed, &mut report)?;
            let fresh = std::mem::take(&mut *locked(&witnessed.acknowledged));
            let sample: Vec<_> = (0..SAMPLE.min(all.len()))
                .map(|_| all[random.random_range(0..all.len())].clone())
                .collect();
            against_the_log(&server, &mut log, &|log| {
                check_files(&server, log, &fresh)?;
                check_files(&server, log, &sample)?;
                check_unacknowledged(&server, log, &witnessed)?;
                check_served(&server, log)
            })?;
            all.extend(fresh);
            Ok(())
        })();
        outcome
            .with_context(|| format!("round {round} of the crash test with seed {}", plan.seed))?;
        report.acknowledged = all.len() as u64;
        if round % 10 == 0 || round == plan.kills {
            say(&format!(
                "kill {} of {}: {} files acknowledged, {} leaves",
                report.kills,
                plan.kills,
                all.len(),
                log.entries.len()
            ));
        }
        if report.kills >= plan.kills {
            break;
        }
    }
    finish(&server, &token, &witnessed, &mut log, &mut all, &mut report)?;
    starts.sort_unstable();
    report.median_start = starts.get(starts.len() / 2).copied().unwrap_or_default();
    report.longest_start = starts.last().copied().unwrap_or_default();
    Ok(report)
}

/// Repeats what was cut off until it is acknowledged, and checks everything once more.
fn finish(
    server: &TestServer,
    token: &str,
    witnessed: &Witnessed,
    log: &mut CheckedLog,
    all: &mut Vec<Acknowledged>,
    report: &mut CrashReport,
) -> Result<()> {
    let rest = std::mem::take(&mut *locked(&witnessed.unanswered));
    for upload in rest {
        let answer = upload.send(&server.upload_url(), token)?;
        all.push(
            acknowledgement(&upload, &answer).context("repeating a publish that was cut off")?,
        );
    }
    *log = check_log(server, log, witnessed, report)?;
    against_the_log(server, log, &|log| {
        check_files(server, log, all)?;
        check_served(server, log)
    })?;
    server
        .run(&["doctor"])
        .context("doctor finds fault with what the crashes left")?;
    report.acknowledged = all.len() as u64;
    report.cut_off = witnessed.cut_off.load(Ordering::SeqCst);
    report.leaves = log.entries.len() as u64;
    Ok(())
}

/// Holds what is served against the log. After a restart the server goes on with what was committed before the kill, so
/// the log may grow between our reading it and our reading a document: a fault counts only if the log has stood still.
fn against_the_log(
    server: &TestServer,
    log: &mut CheckedLog,
    check: &dyn Fn(&CheckedLog) -> Result<()>,
) -> Result<()> {
    loop {
        let Err(fault) = check(log) else {
            return Ok(());
        };
        let now = server.checked_log()?;
        ensure!(
            now.entries.starts_with(&log.entries),
            "the log was rewritten while the server ran"
        );
        if now.entries.len() == log.entries.len() {
            return Err(fault);
        }
        *log = now;
    }
}

fn publish_until_killed(
    server: &mut TestServer,
    token: &str,
    plan: &CrashPlan,
    maker: &Arc<Maker>,
    witnessed: &Arc<Witnessed>,
    run_for: Duration,
) -> Result<()> {
    witnessed.stop.store(false, Ordering::SeqCst);
    let mut threads = Vec::new();
    for _ in 0..plan.publishers {
        let (url, token, witnessed) = (server.upload_url(), token.to_owned(), witnessed.clone());
        let maker = maker.clone();
        threads.push(std::thread::spawn(move || {
            publish_on_and_on(&url, &token, &maker, &witnessed)
        }));
    }
    let (simple, log, observed) = (server.simple_url(), server.log_url(), witnessed.clone());
    threads.push(std::thread::spawn(move || {
        while !observed.stop.load(Ordering::SeqCst) {
            observe(&simple, &log, &observed);
            std::thread::sleep(Duration::from_millis(5));
        }
    }));
    std::thread::sleep(run_for);
    let died = !server.is_running();
    // Whoever waits for an answer now is cut off; nobody begins anew against a server that is gone.
    witnessed.stop.store(true, Ordering::SeqCst);
    server.kill()?;
    for thread in threads {
        ensure!(thread.join().is_ok(), "a publisher panicked");
    }
    ensure!(
        !died,
        "the server ended by itself; its log says:\n{}",
        server.logs()
    );
    if let Some(fault) = locked(&witnessed.faults).first() {
        bail!("{fault}");
    }
    Ok(())
}

/// How long the served checkpoint may lag behind a served document. Both change in one transaction of the database; the
/// server's memory of the checkpoint follows a moment later.
const CHECKPOINT_LAG: Duration = Duration::from_secs(1);

/// Reads a project's document and then the checkpoint, as a careful client does: each leaf that the document names is
/// covered, at once or within [`CHECKPOINT_LAG`]. Answers that a kill cuts off say nothing.
fn observe(simple: &str, log: &str, witnessed: &Witnessed) {
    let project = witnessed.next.load(Ordering::SeqCst).saturating_sub(1) / RELEASES_PER_PROJECT;
    let json = [("Accept", "application/vnd.pypi.simple.v1+json")];
    let document = http::request("GET", &format!("{simple}crash-{project}/"), &json, &[])
        .and_then(|document| document.expect_status(200)?.json())
        .unwrap_or_default();
    let leaves = document["files"]
        .as_array()
        .into_iter()
        .flatten()
        .map(|file| file["_countersign"]["leaf"].as_u64());
    let needed = leaves
        .map(|leaf| leaf.map_or(u64::MAX, |leaf| leaf + 1))
        .max()
        .unwrap_or_default();
    let begin = Instant::now();
    loop {
        // When it was asked for: on a busy machine an answer may be on its way for longer than the lag.
        let asked = begin.elapsed();
        let Ok(checkpoint) = http::get(&format!("{log}/checkpoint")) else {
            return;
        };
        if checkpoint.status != 200 {
            return;
        }
        let note = checkpoint.text();
        let size = note
            .lines()
            .nth(1)
            .and_then(|size| size.parse::<u64>().ok())
            .unwrap_or_default();
        note_checkpoint(witnessed, note);
        if needed <= size {
            return;
        }
        if asked > CHECKPOINT_LAG {
            locked(&witnessed.faults).push(format!(
                "crash-{project} names leaf {}, and after {CHECKPOINT_LAG:?} the checkpoint still covers {size} leaves",
                needed.saturating_sub(1)
            ));
            return;
        }
        std::thread::sleep(Duration::from_millis(2));
    }
}

fn note_checkpoint(witnessed: &Witnessed, note: String) {
    let mut seen = locked(&witnessed.checkpoints);
    if !seen.contains(&note) {
        seen.push(note);
    }
}

fn publish_on_and_on(url: &str, token: &str, maker: &Maker, witnessed: &Witnessed) {
    while !witnessed.stop.load(Ordering::SeqCst) {
        let waiting = locked(&witnessed.unanswered).pop_front();
        let upload =
            waiting.unwrap_or_else(|| maker.upload(witnessed.next.fetch_add(1, Ordering::SeqCst)));
        match upload.send(url, token) {
            // The 503 of a log that stands still says "repeat", like a broken connection.
            Err(_) => {
                witnessed.cut_off.fetch_add(1, Ordering::SeqCst);
                locked(&witnessed.unanswered).push_back(upload);
            }
            Ok(answer) if answer.status == 503 => locked(&witnessed.unanswered).push_back(upload),
            Ok(answer) => match acknowledgement(&upload, &answer) {
                Ok(acknowledged) => {
                    if let Ok(receipt) = answer.json()
                        && let Some((_, note)) = receipt["proof"]
                            .as_str()
                            .and_then(|proof| proof.split_once("\n\n"))
                    {
                        note_checkpoint(witnessed, note.to_owned());
                    }
                    locked(&witnessed.acknowledged).push(acknowledged);
                }
                Err(error) => {
                    let name = &upload.package.filename;
                    locked(&witnessed.faults).push(format!("{name}: {error:#}"));
                    return;
                }
            },
        }
    }
}

fn package(number: u64) -> Package {
    let project = format!("crash-{}", number / RELEASES_PER_PROJECT);
    let filler =
        format!("{number} ").repeat(usize::try_from(number % 40).unwrap_or_default() * 100);
    Wheel::new(&project, &format!("1.{number}"))
        .file(&format!("{}/filler.txt", escape(&project)), filler)
        .build()
}

fn acknowledgement(upload: &Upload, answer: &http::Response) -> Result<Acknowledged> {
    let package = &upload.package;
    let answer = answer.clone().expect_status(200)?;
    let leaf = answer
        .header("x-countersign-leaf")
        .context("acknowledged without a leaf index")?;
    Ok(Acknowledged {
        project: package.project.clone(),
        filename: package.filename.clone(),
        sha256: package.sha256(),
        leaf: leaf
            .parse()
            .with_context(|| format!("bad leaf index {leaf:?}"))?,
        attestation: upload.attestation.clone(),
    })
}

/// The log must be the one before, and more; and extend every checkpoint that anyone saw.
fn check_log(
    server: &TestServer,
    before: &CheckedLog,
    witnessed: &Witnessed,
    report: &mut CrashReport,
) -> Result<CheckedLog> {
    let log = grown(server, before)?;
    for note in std::mem::take(&mut *locked(&witnessed.checkpoints)) {
        let seen = Checkpoint::verify(&note, server.log_key())?;
        log.check_extends(&seen)
            .context("a client saw a checkpoint that the log after the kill does not extend")?;
        report.checkpoints += 1;
    }
    Ok(log)
}

/// The log now: the one before, and more; no file is published twice in it.
fn grown(server: &TestServer, before: &CheckedLog) -> Result<CheckedLog> {
    let log = server.checked_log()?;
    ensure!(
        log.entries.starts_with(&before.entries),
        "the log does not begin with the leaves it had before the kill"
    );
    let mut published: HashMap<&str, usize> = HashMap::new();
    for (index, entry) in log.entries.iter().enumerate() {
        let text = std::str::from_utf8(entry).unwrap_or_default();
        if line(text, "kind") == Some("file-published") {
            let subject =
                line(text, "subject").context("a file-published leaf without a subject")?;
            if let Some(other) = published.insert(subject, index) {
                bail!("{subject} was published twice, in leaves {other} and {index}");
            }
        }
    }
    Ok(log)
}

fn line<'a>(leaf: &'a str, keyword: &str) -> Option<&'a str> {
    leaf.lines()
        .find_map(|line| line.strip_prefix(keyword)?.strip_prefix(' '))
}

/// Each file is listed, served with its digest, in the log where it was said to be, and provable.
fn check_files(server: &TestServer, log: &CheckedLog, files: &[Acknowledged]) -> Result<()> {
    let mut documents: BTreeMap<&str, serde_json::Value> = BTreeMap::new();
    for file in files {
        let document = match documents.get(file.project.as_str()) {
            Some(document) => document,
            None => {
                let document = server.project(&file.project)?.with_context(|| {
                    format!(
                        "{} was acknowledged, and its project is not there",
                        file.filename
                    )
                })?;
                documents.entry(&file.project).or_insert(document)
            }
        };
        check_file(server, log, file, document)
            .with_context(|| format!("acknowledged file {}", file.filename))?;
    }
    Ok(())
}

fn check_file(
    server: &TestServer,
    log: &CheckedLog,
    file: &Acknowledged,
    document: &serde_json::Value,
) -> Result<()> {
    let listed = document["files"]
        .as_array()
        .context("no files in the document")?;
    let listed = listed
        .iter()
        .find(|entry| entry["filename"] == file.filename.as_str())
        .context("is not listed")?;
    ensure!(
        listed["hashes"]["sha256"] == file.sha256.as_str(),
        "is listed with another digest: {listed}"
    );
    let url = listed["url"]
        .as_str()
        .context("is listed without an address")?;
    let body = http::get(&absolute(server, url))?.expect_status(200)?.body;
    ensure!(
        hex::encode(Sha256::digest(&body)) == file.sha256,
        "is served with other bytes"
    );
    let leaf = log
        .entries
        .get(usize::try_from(file.leaf)?)
        .context("its leaf is beyond the log's end")?;
    let leaf = std::str::from_utf8(leaf)?;
    ensure!(
        leaf.contains(&file.filename)
            && leaf
                .lines()
                .any(|line| line == format!("digest sha256:{}", file.sha256)),
        "leaf {} is about something else:\n{leaf}",
        file.leaf
    );
    if let Some(attestation) = &file.attestation {
        let digest = hex::encode(Sha256::digest(attestation));
        ensure!(
            leaf.lines()
                .any(|line| line == format!("attestation sha256:{digest}")),
            "leaf {} does not name its attestation {digest}:\n{leaf}",
            file.leaf
        );
        let url = listed["provenance"]
            .as_str()
            .context("its provenance is not listed")?;
        let served = http::get(&absolute(server, url))?.expect_status(200)?;
        ensure!(
            served.text().contains(attestation.as_str()),
            "its attestation is not served as it was sent"
        );
    }
    let proof = server
        .get(&format!(
            "/files/{}/{}.tlog-proof",
            file.sha256, file.filename
        ))?
        .expect_status(200)?;
    let index = log
        .check_proof(&proof.text())
        .context("its proof does not hold")?;
    ensure!(
        index == file.leaf,
        "its proof is for leaf {index}, acknowledged was {}",
        file.leaf
    );
    Ok(())
}

/// What was never acknowledged may be there or not, but not without a leaf.
fn check_unacknowledged(
    server: &TestServer,
    log: &CheckedLog,
    witnessed: &Witnessed,
) -> Result<()> {
    for Upload { package, .. } in locked(&witnessed.unanswered).iter() {
        let sha256 = package.sha256();
        let served = server.get(&format!("/files/{sha256}/{}", package.filename))?;
        let logged = !log
            .leaves_with_line(&format!("digest sha256:{sha256}"))
            .is_empty();
        ensure!(
            logged || served.status != 200,
            "{} is served, and the log knows nothing of it",
            package.filename
        );
    }
    Ok(())
}

/// Nothing is listed that has no leaf.
fn check_served(server: &TestServer, log: &CheckedLog) -> Result<()> {
    let mut digests: HashMap<&str, usize> = HashMap::new();
    for (index, entry) in log.entries.iter().enumerate() {
        let text = std::str::from_utf8(entry).unwrap_or_default();
        if let Some(digest) = line(text, "digest").and_then(|digest| digest.strip_prefix("sha256:"))
        {
            digests.insert(digest, index);
        }
    }
    for project in server.projects()? {
        let document = server
            .project(&project)?
            .with_context(|| format!("{project} is listed and not there"))?;
        for file in document["files"]
            .as_array()
            .context("no files in the document")?
        {
            let sha256 = file["hashes"]["sha256"].as_str().unwrap_or_default();
            ensure!(
                digests.contains_key(sha256),
                "{} is listed, and no leaf has its digest {sha256}",
                file["filename"]
            );
        }
    }
    Ok(())
}

fn absolute(server: &TestServer, url: &str) -> String {
    match url.strip_prefix('/') {
        Some(path) => format!("{}/{path}", server.url()),
        None => url.to_owned(),
    }
}
