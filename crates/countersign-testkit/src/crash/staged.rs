//! The crash test of staged publishing: versions are staged, approved and rejected at the same time, the server is killed
//! with SIGKILL at random moments, and owes every answer that it ever gave.
//!
//! After every kill: what was acknowledged as staged waits, with its bytes, and is not in the log; what was acknowledged as
//! approved is published, served and logged, once; what was acknowledged as rejected is not, and never will be. What a
//! kill cut off is either as before or done, and the same request again leads to the same end. At the end everything
//! that waits is approved, and `doctor` finds nothing.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use rand::rngs::StdRng;
use rand::{Rng as _, SeedableRng as _};
use serde_json::Value;
use sha2::{Digest as _, Sha256};

use super::{CrashPlan, grown, line, locked};
use crate::fsck::CheckedLog;
use crate::http::{self, Response};
use crate::packages::NpmPackage;
use crate::person::SignedIn;
use crate::server::{ServerOptions, TestServer};

/// Versions of one package; fewer than may wait at a time.
const VERSIONS: usize = 20;
/// How many wait before no more are staged.
const MOST_WAITING: usize = 60;
/// Threads that approve and reject.
const ANSWERERS: u32 = 3;
/// How long a leaf may take after a restart.
const LOGGED_WITHIN: Duration = Duration::from_secs(60);
/// How long the last run waits for what it must have seen.
const SEEN_WITHIN: Duration = Duration::from_secs(120);

/// What happened.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct StagedReport {
    /// Kills survived.
    pub kills: u32,
    /// Versions whose staging was acknowledged.
    pub staged: usize,
    /// Of these, published at the end.
    pub approved: usize,
    /// Of these, rejected.
    pub rejected: usize,
    /// Requests without an answer, by what a look after the restart showed: nothing had happened, it was done.
    pub cut_off: (usize, usize),
}

impl std::fmt::Display for StagedReport {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(
            f,
            "{} kills, {} versions staged, {} approved and all published, {} rejected and none published; of the answers \
             that were cut off {} had not happened and {} had",
            self.kills, self.staged, self.approved, self.rejected, self.cut_off.0, self.cut_off.1
        )
    }
}

/// How far a version has come, as its sender knows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    /// To be staged; perhaps sent already.
    Sent,
    Waiting,
    /// Asked for, perhaps more than once.
    Approving,
    Approved,
    Rejecting,
    Rejected,
}

#[derive(Debug, Clone)]
struct Item {
    number: usize,
    sha256: String,
    id: String,
    state: State,
    /// Somebody is at it.
    busy: bool,
}

impl Item {
    fn new(number: usize) -> Self {
        Self {
            number,
            sha256: package(number).build().sha256(),
            id: String::new(),
            state: State::Sent,
            busy: false,
        }
    }

    fn project(&self) -> String {
        format!("staged-{}", self.number / VERSIONS)
    }

    fn version(&self) -> String {
        format!("1.{}.0", self.number)
    }

    /// What its person will say; some wait to the end.
    fn answer(&self) -> Option<State> {
        match self.number % 5 {
            0 => Some(State::Rejecting),
            4 => None,
            _ => Some(State::Approving),
        }
    }
}

fn package(number: usize) -> NpmPackage {
    let filler = format!("{number} ").repeat(number % 40 * 100);
    let name = format!("staged-{}", number / VERSIONS);
    NpmPackage::new(&name, &format!("1.{number}.0")).file("filler.txt", filler)
}

/// What all threads share.
struct Desk {
    items: Mutex<Vec<Item>>,
    faults: Mutex<Vec<String>>,
    stop: AtomicBool,
    url: String,
    token: String,
    person: SignedIn,
}

impl Desk {
    /// The first item that `wanted` likes, taken.
    fn take(&self, wanted: impl Fn(&Item) -> bool) -> Option<Item> {
        let mut items = locked(&self.items);
        let item = items.iter_mut().find(|item| !item.busy && wanted(item))?;
        item.busy = true;
        Some(item.clone())
    }

    fn put_back(&self, item: Item) {
        let number = item.number;
        locked(&self.items)[number] = Item {
            busy: false,
            ..item
        };
    }

    fn to_stage(&self) -> Option<Item> {
        if let Some(item) = self.take(|item| item.state == State::Sent) {
            return Some(item);
        }
        let mut items = locked(&self.items);
        let waiting = |item: &&Item| item.state != State::Approved && item.state != State::Rejected;
        if items.iter().filter(waiting).count() >= MOST_WAITING {
            return None;
        }
        let mut item = Item::new(items.len());
        item.busy = true;
        items.push(item.clone());
        Some(item)
    }

    /// Stages; no id where the server could not say.
    fn stage(&self, item: &Item) -> Result<Option<String>> {
        let url = format!("{}/npm/-/stage/package/{}", self.url, item.project());
        let authorization = format!("Bearer {}", self.token);
        let headers = [
            ("Authorization", authorization.as_str()),
            ("Content-Type", "application/json"),
        ];
        let body = package(item.number).request("latest").to_string();
        let Some(answer) = told(http::request("POST", &url, &headers, body.as_bytes())) else {
            return Ok(None);
        };
        ensure!(
            (200..300).contains(&answer.status),
            "staging {} {}: {} {}",
            item.project(),
            item.version(),
            answer.status,
            answer.text()
        );
        let id = answer.json()?["stageId"]
            .as_str()
            .context("acknowledged without an id")?
            .to_owned();
        Ok(Some(id))
    }

    /// Gives the person's answer; true where it was acknowledged.
    fn answer(&self, item: &Item) -> Result<bool> {
        let (path, done, end) = match item.state {
            State::Rejecting => ("/account/staged/reject", "staged-rejected", "rejected"),
            _ => ("/account/staged/approve", "staged-approved", "approved"),
        };
        let fields = [("id", item.id.as_str()), ("sha256", item.sha256.as_str())];
        let Some(answer) = told(self.person.form(path, &fields)) else {
            return Ok(false);
        };
        let place = answer.header("location").unwrap_or_default();
        if answer.status == 303 && place.ends_with(&format!("done={done}")) {
            return Ok(true);
        }
        // The first time it was done and not told: then there is nothing left to say no to.
        let Ok(seen) = self.look(item) else {
            return Ok(false);
        };
        ensure!(
            seen["state"] == end,
            "{path} of {} {} ({}): {} {place} {}",
            item.project(),
            item.version(),
            seen["state"],
            answer.status,
            answer.text()
        );
        Ok(true)
    }

    fn look(&self, item: &Item) -> Result<Value> {
        self.read(&format!("-/stage/{}", item.id))?.json()
    }

    fn read(&self, path: &str) -> Result<Response> {
        let authorization = format!("Bearer {}", self.token);
        let url = format!("{}/npm/{path}", self.url);
        http::request("GET", &url, &[("Authorization", &authorization)], b"")?.expect_status(200)
    }

    fn stage_on_and_on(&self) {
        self.on_and_on(|| {
            let mut item = self.to_stage()?;
            let outcome = self.stage(&item).map(|id| {
                if let Some(id) = id {
                    item.id = id;
                    item.state = State::Waiting;
                }
            });
            self.put_back(item);
            Some(outcome)
        });
    }

    fn answer_on_and_on(&self) {
        self.on_and_on(|| {
            let open = |item: &Item| match item.state {
                State::Waiting => item.answer().is_some(),
                state => matches!(state, State::Approving | State::Rejecting),
            };
            let mut item = self.take(open)?;
            if let (State::Waiting, Some(answer)) = (item.state, item.answer()) {
                item.state = answer;
                // Before it is sent: a look after the kill must know that it may have happened.
                locked(&self.items)[item.number].state = answer;
            }
            let outcome = self.answer(&item).map(|acknowledged| {
                if acknowledged {
                    item.state = ended(item.state);
                }
            });
            self.put_back(item);
            Some(outcome)
        });
    }

    fn on_and_on(&self, mut step: impl FnMut() -> Option<Result<()>>) {
        while !self.stop.load(Ordering::SeqCst) {
            match step() {
                Some(Ok(())) => {}
                Some(Err(fault)) => {
                    locked(&self.faults).push(format!("{fault:#}"));
                    return;
                }
                None => std::thread::sleep(Duration::from_millis(5)),
            }
        }
    }

    fn fault(&self) -> Result<()> {
        match locked(&self.faults).first() {
            Some(fault) => bail!("{fault}"),
            None => Ok(()),
        }
    }
}

fn ended(asked: State) -> State {
    match asked {
        State::Rejecting => State::Rejected,
        _ => State::Approved,
    }
}

/// What the server answered, if it did; a 503 says "repeat", like a broken connection.
fn told(answer: Result<Response>) -> Option<Response> {
    answer.ok().filter(|answer| answer.status != 503)
}

/// Carries out a plan; see [`super::run`].
pub fn run_staged(plan: &CrashPlan, say: &mut dyn FnMut(&str)) -> Result<StagedReport> {
    let mut server = TestServer::start(ServerOptions {
        database: plan.database,
        named: true,
        ..ServerOptions::default()
    })?;
    let person = SignedIn::enrol(&server, "ada")?;
    let desk = Arc::new(Desk {
        items: Mutex::default(),
        faults: Mutex::default(),
        stop: AtomicBool::new(false),
        url: server.url(),
        token: server.token("ada", &["--action", "publish"])?,
        person,
    });
    let mut random = StdRng::seed_from_u64(plan.seed);
    let mut report = StagedReport::default();
    let mut log = server.checked_log()?;
    for round in 1..=plan.kills {
        let outcome = (|| -> Result<()> {
            let run_for = random.random_range(Duration::ZERO..plan.longest_run);
            until_killed(&mut server, plan, &desk, run_for, round == plan.kills)?;
            report.kills += 1;
            server.serve()?;
            log = check(&server, &log, &desk, Some(&mut report))?;
            Ok(())
        })();
        outcome.with_context(|| {
            format!(
                "round {round} of the crash test of staging with seed {}",
                plan.seed
            )
        })?;
        if round % 10 == 0 || round == plan.kills {
            let items = locked(&desk.items).len();
            say(&format!("kill {round} of {}: {items} versions", plan.kills));
        }
    }
    finish(&server, &desk)?;
    check(&server, &log, &desk, None)?;
    server
        .run(&["doctor"])
        .context("doctor finds fault with what the crashes left")?;
    let items = locked(&desk.items);
    let count = |state: State| items.iter().filter(|item| item.state == state).count();
    report.staged = items.len();
    report.approved = count(State::Approved);
    report.rejected = count(State::Rejected);
    Ok(report)
}

fn until_killed(
    server: &mut TestServer,
    plan: &CrashPlan,
    desk: &Arc<Desk>,
    run_for: Duration,
    last: bool,
) -> Result<()> {
    desk.stop.store(false, Ordering::SeqCst);
    let mut threads = Vec::new();
    for number in 0..plan.publishers + ANSWERERS {
        let desk = desk.clone();
        let stages = number < plan.publishers;
        threads.push(std::thread::spawn(move || match stages {
            true => desk.stage_on_and_on(),
            false => desk.answer_on_and_on(),
        }));
    }
    std::thread::sleep(run_for);
    // However slow the machine is, something was approved and something rejected before it is over.
    let begin = Instant::now();
    let answered = |state: State| locked(&desk.items).iter().any(|item| item.state == state);
    while last
        && !(answered(State::Approved) && answered(State::Rejected))
        && locked(&desk.faults).is_empty()
        && begin.elapsed() < SEEN_WITHIN
    {
        std::thread::sleep(Duration::from_millis(10));
    }
    let died = !server.is_running();
    desk.stop.store(true, Ordering::SeqCst);
    server.kill()?;
    for thread in threads {
        ensure!(thread.join().is_ok(), "a thread of the test panicked");
    }
    ensure!(
        !died,
        "the server ended by itself; its log says:\n{}",
        server.logs()
    );
    desk.fault()
}

/// Brings every version to its end.
fn finish(server: &TestServer, desk: &Desk) -> Result<()> {
    let items = locked(&desk.items).clone();
    for mut item in items {
        if item.state == State::Sent {
            item.id = desk.stage(&item)?.context("staging got no answer")?;
            item.state = State::Waiting;
        }
        if item.state == State::Waiting {
            item.state = State::Approving;
        }
        if matches!(item.state, State::Approving | State::Rejecting) {
            ensure!(
                desk.answer(&item)?,
                "no answer; the server says:\n{}",
                server.logs()
            );
            item.state = ended(item.state);
        }
        desk.put_back(item);
    }
    Ok(())
}

/// Holds every version against what its sender knows. `report` counts what became of requests that were cut off.
fn check(
    server: &TestServer,
    before: &CheckedLog,
    desk: &Desk,
    mut report: Option<&mut StagedReport>,
) -> Result<CheckedLog> {
    let items = locked(&desk.items).clone();
    let begin = Instant::now();
    let mut seen = HashMap::new();
    for item in items.iter().filter(|item| !item.id.is_empty()) {
        let now = desk.look(item).with_context(|| {
            let (project, version) = (item.project(), item.version());
            format!("{project} {version} was acknowledged as staged")
        })?;
        ensure!(
            now["sha256"] == item.sha256.as_str(),
            "is kept with another digest: {now}"
        );
        let state = now["state"].as_str().unwrap_or_default().to_owned();
        seen.insert(item.number, state);
    }
    // What was approved may need a beat to get to the log.
    let mut log = grown(server, before)?;
    loop {
        let digests = digests(&log);
        let logged = |item: &Item| digests.contains_key(&item.sha256);
        let approved = |item: &&Item| {
            seen.get(&item.number)
                .is_some_and(|state| state == "approved")
        };
        if items.iter().filter(approved).all(logged) {
            break;
        }
        ensure!(
            begin.elapsed() < LOGGED_WITHIN,
            "an approved version is not in the log"
        );
        std::thread::sleep(Duration::from_millis(20));
        log = grown(server, &log)?;
    }
    let digests = digests(&log);
    let mut packuments: HashMap<String, Value> = HashMap::new();
    for item in &items {
        let (project, version) = (item.project(), item.version());
        let state = seen.get(&item.number).map_or("", String::as_str);
        let fits = match item.state {
            State::Sent => state.is_empty(),
            State::Waiting => state == "waiting",
            State::Approving => state == "waiting" || state == "approved",
            State::Approved => state == "approved",
            State::Rejecting => state == "waiting" || state == "rejected",
            State::Rejected => state == "rejected",
        };
        ensure!(
            fits,
            "{project} {version} is {state:?}, and its sender knows {:?}",
            item.state
        );
        if let (State::Approving | State::Rejecting, Some(report)) =
            (item.state, report.as_deref_mut())
        {
            match state {
                "waiting" => report.cut_off.0 += 1,
                _ => report.cut_off.1 += 1,
            }
        }
        let times = digests.get(&item.sha256).copied().unwrap_or_default();
        ensure!(
            times == usize::from(state == "approved"),
            "{project} {version} is {state:?} and stands {times} times in the log"
        );
        if state == "waiting" {
            let bytes = desk.read(&format!("-/stage/{}/tarball", item.id));
            let bytes = bytes.with_context(|| format!("the bytes of {project} {version}"))?;
            ensure!(
                hex::encode(Sha256::digest(&bytes.body)) == item.sha256,
                "{project} {version} waits with other bytes"
            );
        }
        if !packuments.contains_key(&project) {
            let url = format!("{}/npm/{project}", desk.url);
            let answer = http::get(&url)?;
            let packument = match answer.status {
                404 => Value::Null,
                _ => answer.expect_status(200)?.json()?,
            };
            packuments.insert(project.clone(), packument);
        }
        let listed = &packuments[&project]["versions"][&version];
        ensure!(
            listed.is_object() == (state == "approved"),
            "{project} {version} is {state:?}, and its packument says {listed}"
        );
        if state == "approved" {
            let url = listed["dist"]["tarball"].as_str().context("no tarball")?;
            let served = http::get(url)?.expect_status(200)?;
            ensure!(
                hex::encode(Sha256::digest(&served.body)) == item.sha256,
                "{project} {version} is served with other bytes"
            );
        }
    }
    Ok(log)
}

/// How often each file is published in the log, by its digest.
fn digests(log: &CheckedLog) -> HashMap<String, usize> {
    let mut found = HashMap::new();
    for entry in &log.entries {
        let text = std::str::from_utf8(entry).unwrap_or_default();
        if line(text, "kind") != Some("file-published") {
            continue;
        }
        if let Some(digest) = line(text, "digest").and_then(|all| all.strip_prefix("sha256:")) {
            *found.entry(digest.to_owned()).or_default() += 1;
        }
    }
    found
}
