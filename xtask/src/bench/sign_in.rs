//! Signing in: what it costs beside the one hash that nobody can do without, and what guessing does to readers.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::Write as _;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, anyhow, ensure};
use argon2::{Algorithm, Argon2, Params, Version};
use countersign_testkit::http::Connection;
use countersign_testkit::packages::Wheel;
use serde_json::{Value, json};

use super::exchange::{Pinned, Times, paced};
use super::load::{LOAD_CORE, median};
use super::machine::Meter;
use super::report::{Figure, Goal, Report};
use super::server::{Instance, Server};

const PASSWORD: &str = "seven clocks without a hand";

/// Guesses per second of the storm.
const STORM: u32 = 1_000;

/// Reads of an index page per second while their waits are compared.
const PACE: u32 = 200;

/// Connections of the guessers, and of the readers.
const GUESSERS: usize = 4;
const READERS: usize = 4;

/// Measures and adds the figures of signing in.
///
/// # Errors
/// Where somebody with the right password is kept out, a guess lets anybody in, or anything can not be measured.
pub(super) fn measure(binary: &Path, home: &Path, quick: bool, report: &mut Report) -> Result<()> {
    let _pinned = Pinned::to(LOAD_CORE)?;
    let stage = Stage::set_up(binary, home)?;
    beside_argon2(&stage, quick, report)?;
    readers_in_a_storm(&stage, quick, report)
}

fn beside_argon2(stage: &Stage, quick: bool, report: &mut Report) -> Result<()> {
    let (rounds, count) = if quick { (3, 20) } else { (9, 60) };
    let (mut ours, mut bare, mut apart, mut strangers) =
        (Vec::new(), Vec::new(), Vec::new(), Vec::new());
    eprintln!("bench: signing in, beside bare hashes");
    for _ in 0..rounds {
        let meter = Meter::start(stage.server.pid());
        let signed_in = stage.sign_ins(count)?;
        strangers.push(meter.stop().strangers);
        let hashes = hash_times(count)?;
        apart.push(signed_in.median() - hashes.median());
        ours.push(signed_in.median());
        bare.push(hashes.median());
    }
    report.add(Figure {
        name: "signing in by password, less argon2, median ms",
        ours: median(ours.iter().copied()),
        unit: "ms",
        theirs: Some(("argon2 alone, ms", median(bare.iter().copied()))),
        score: median(apart.iter().copied()),
        goal: Goal::AtMost(2.0),
        more: json!({
            "apart_ms": apart.iter().map(|ms| (ms * 1e3).round() / 1e3).collect::<Vec<_>>(),
            "rounds": rounds, "sign_ins_each": count, "strangers": median(strangers),
        }),
    });
    Ok(())
}

fn readers_in_a_storm(stage: &Stage, quick: bool, report: &mut Report) -> Result<()> {
    let (rounds, seconds) = if quick { (2, 3) } else { (5, 12) };
    for (name, guesses) in [
        (
            "index page, p99 under 1,000 guesses/s at one account",
            stage.at_one_account(500)?,
        ),
        (
            "index page, p99 under 1,000 guesses/s at many accounts",
            stage.at_many_accounts(500)?,
        ),
    ] {
        eprintln!("bench: {name}");
        // What comes before the limits are reached is hashed, and over after a moment.
        stage.storm(&guesses, &AtomicBool::new(false), Some(guesses.len() / 2))?;
        let (mut pairs, mut seen, mut strangers) = (Vec::new(), BTreeMap::new(), Vec::new());
        let mut stormed = Duration::ZERO;
        for _ in 0..rounds {
            let count = (PACE * seconds) as usize;
            let meter = Meter::start(stage.server.pid());
            let calm = stage.read(count)?;
            let over = AtomicBool::new(false);
            let begin = Instant::now();
            let (stormy, answers) = std::thread::scope(|scope| -> Result<_> {
                let storm = scope.spawn(|| stage.storm(&guesses, &over, None));
                let stormy = stage.read(count);
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
        let per_second = seen.values().sum::<u64>() as f64 / stormed.as_secs_f64();
        report.add(Figure {
            name,
            ours: median(pairs.iter().map(|pair| pair.0)),
            unit: "ms",
            theirs: Some(("without them, ms", median(pairs.iter().map(|pair| pair.1)))),
            score: median(pairs.iter().map(|pair| pair.0 / pair.1)),
            goal: Goal::AtMost(1.1),
            more: json!({
                "ratios": pairs.iter().map(|pair| (pair.0 / pair.1 * 1e3).round() / 1e3).collect::<Vec<_>>(),
                "median_ms": median(pairs.iter().map(|pair| pair.2)),
                "calm_median_ms": median(pairs.iter().map(|pair| pair.3)),
                "reads_per_s": PACE, "guesses_per_s": per_second.round(), "answers_to_guesses": seen,
                "strangers": median(strangers),
            }),
        });
    }
    Ok(())
}

/// A registry with a project and somebody who has a password.
struct Stage {
    server: Server,
    authority: String,
    /// The cookie of a visit, and the token of its forms.
    visit: String,
    token: String,
}

impl Stage {
    fn set_up(binary: &Path, home: &Path) -> Result<Self> {
        let instance = Instance::make(binary, &home.join("sign-in"))?;
        // Nothing of the network outside belongs into the figure.
        File::options()
            .append(true)
            .open(instance.data.join("countersign.toml"))?
            .write_all(b"\n[sign_in]\nbreach_service = \"off\"\n")?;
        let wheels = tempfile::Builder::new()
            .prefix("wheels-")
            .tempdir_in(home)?;
        for version in 0..10 {
            Wheel::new("bench-index", &format!("1.{version}"))
                .build()
                .write_to(wheels.path())?;
        }
        instance.import(wheels.path())?;
        let said = instance.administer(&["user", "create", "ann", "--json"])?;
        let link: Value = serde_json::from_str(&said)?;
        let secret = link["enrolment"]
            .as_str()
            .and_then(|link| link.rsplit('/').next())
            .context("no enrolment link was given")?
            .to_owned();
        let server = instance.serve()?;
        let authority = server
            .url
            .strip_prefix("http://")
            .context("the server's URL")?
            .to_owned();
        let mut stage = Self {
            server,
            authority,
            visit: String::new(),
            token: String::new(),
        };
        stage.visit(&format!("/enrol/{secret}"))?;
        let mut connection = Connection::open(&stage.authority)?;
        connection.send(&stage.form(
            "/enrol/password",
            &format!("secret={secret}&password={}", encoded(PASSWORD)),
        ))?;
        connection
            .read_response(false)?
            .expect_status(303)
            .context("the password was not set")?;
        stage.visit("/sign-in")?;
        Ok(stage)
    }

    /// Opens a page as a new visitor and keeps what its forms need.
    fn visit(&mut self, path: &str) -> Result<()> {
        let mut connection = Connection::open(&self.authority)?;
        connection.send(
            format!(
                "GET {path} HTTP/1.1\r\nHost: {}\r\nAccept: text/html\r\n\r\n",
                self.authority
            )
            .as_bytes(),
        )?;
        let page = connection.read_response(false)?.expect_status(200)?;
        let cookie = page
            .header("set-cookie")
            .context("the visitor got no cookie")?;
        cookie
            .split(';')
            .next()
            .unwrap_or_default()
            .clone_into(&mut self.visit);
        let text = page.text();
        let (_, rest) = text
            .split_once("name=\"form\" value=\"")
            .context("the page has no form")?;
        rest.split('"')
            .next()
            .unwrap_or_default()
            .clone_into(&mut self.token);
        Ok(())
    }

    fn form(&self, path: &str, fields: &str) -> Vec<u8> {
        let body = format!("form={}&{fields}", self.token);
        format!(
            "POST {path} HTTP/1.1\r\nHost: {}\r\nOrigin: {}\r\nCookie: {}\r\nAccept: text/html\r\n\
             Content-Type: application/x-www-form-urlencoded\r\nContent-Length: {}\r\n\r\n{body}",
            self.authority,
            self.server.url,
            self.visit,
            body.len()
        )
        .into_bytes()
    }

    fn guess(&self, user: &str, password: &str) -> Vec<u8> {
        self.form(
            "/sign-in",
            &format!("user={user}&password={}", encoded(password)),
        )
    }

    fn at_one_account(&self, count: usize) -> Result<Vec<Vec<u8>>> {
        Ok((0..count)
            .map(|n| self.guess("ann", &format!("guess number {n}")))
            .collect())
    }

    fn at_many_accounts(&self, count: usize) -> Result<Vec<Vec<u8>>> {
        Ok((0..count)
            .map(|n| self.guess(&format!("user-{n}"), "stolen elsewhere"))
            .collect())
    }

    /// Signs in again and again; how long each took.
    fn sign_ins(&self, count: usize) -> Result<Times> {
        let request = self.guess("ann", PASSWORD);
        let mut connection = Connection::open(&self.authority)?;
        let mut times = Vec::new();
        for _ in 0..count {
            let begin = Instant::now();
            connection.send(&request)?;
            let answer = connection.read_response(false)?;
            times.push(begin.elapsed().as_secs_f64() * 1e3);
            ensure!(
                answer.status == 303,
                "somebody with the right password was answered with {}",
                answer.status
            );
            if answer.header("connection") == Some("close") {
                connection = Connection::open(&self.authority)?;
            }
        }
        Ok(Times::of(times))
    }

    /// Reads an index page at its pace. A wait counts from when its read was due.
    fn read(&self, count: usize) -> Result<Times> {
        let request = format!(
            "GET /pypi/simple/bench-index/ HTTP/1.1\r\nHost: {}\r\nAccept: application/vnd.pypi.simple.v1+json\r\n\r\n",
            self.authority
        )
        .into_bytes();
        paced(&self.authority, READERS, Some(PACE), &vec![request; count])
    }

    /// Guesses at the storm's pace until it is over, or so many times; how often each status came back.
    fn storm(
        &self,
        guesses: &[Vec<u8>],
        over: &AtomicBool,
        most: Option<usize>,
    ) -> Result<BTreeMap<u16, u64>> {
        let begin = Instant::now();
        let one = |first: usize| -> Result<BTreeMap<u16, u64>> {
            let mut connection = Connection::open(&self.authority)?;
            let mut answers = BTreeMap::new();
            for number in (first..most.unwrap_or(usize::MAX)).step_by(GUESSERS) {
                let due = begin + Duration::from_secs_f64(number as f64 / f64::from(STORM));
                std::thread::sleep(due.saturating_duration_since(Instant::now()));
                if over.load(Ordering::Relaxed) {
                    break;
                }
                connection.send(&guesses[number % guesses.len()])?;
                let answer = connection.read_response(false)?;
                ensure!(
                    matches!(answer.status, 401 | 422 | 429 | 503),
                    "a guess was answered with {}: {:.300}",
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
        let all = std::thread::scope(|scope| {
            let threads: Vec<_> = (0..GUESSERS)
                .map(|first| scope.spawn(move || one(first)))
                .collect();
            threads
                .into_iter()
                .map(|thread| thread.join().map_err(|_| anyhow!("a guesser panicked"))?)
                .collect::<Result<Vec<_>>>()
        })?;
        let mut sum = BTreeMap::new();
        for (status, times) in all.into_iter().flatten() {
            *sum.entry(status).or_insert(0) += times;
        }
        Ok(sum)
    }
}

/// A field's value in a form; ours hold letters, digits, blanks and `-` only.
fn encoded(value: &str) -> String {
    value.replace(' ', "+")
}

/// What one hash costs with the parameters that the registry uses (its own documentation names them).
fn hash_times(count: usize) -> Result<Times> {
    let params = Params::new(19 * 1024, 2, 1, None).map_err(|error| anyhow!("{error}"))?;
    let argon2 = Argon2::new(Algorithm::Argon2id, Version::V0x13, params);
    let mut times = Vec::new();
    for _ in 0..count {
        let mut out = [0; 32];
        let begin = Instant::now();
        argon2
            .hash_password_into(PASSWORD.as_bytes(), b"sixteen bytes...", &mut out)
            .map_err(|error| anyhow!("{error}"))?;
        times.push(begin.elapsed().as_secs_f64() * 1e3);
    }
    Ok(Times::of(times))
}
