//! What a client checks: proofs against their checkpoints, and the whole log. And a lone publish that waits for a witness.

use std::fs;
use std::io::{BufRead as _, BufReader};
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Instant;

use anyhow::{Context, Result, ensure};
use countersign_testkit::http;
use serde_json::{Value, json};

use super::Bench;
use super::load::{LOAD_CORE, Publishing};
use super::machine::load_average;
use super::report::{Figure, Goal, Report};
use super::server::{Instance, Server, checked};

/// The client: beside the server that is measured, or built as releases are.
///
/// # Errors
/// Where it can not be built.
pub(super) fn client(server: &Path) -> Result<PathBuf> {
    let beside = server.with_file_name("countersign");
    if beside.is_file() {
        return Ok(beside);
    }
    built(None)
}

fn built(example: Option<&str>) -> Result<PathBuf> {
    let root = crate::arch::root();
    let target =
        std::env::var_os("CARGO_TARGET_DIR").map_or_else(|| root.join("target"), PathBuf::from);
    let mut command = Command::new("cargo");
    command.args(["build", "--release", "--locked", "--package", "countersign"]);
    let program = match example {
        Some(example) => {
            command.args(["--example", example]);
            target.join("release/examples").join(example)
        }
        None => target.join("release/countersign"),
    };
    checked(command.current_dir(&root))?;
    Ok(program)
}

/// Proofs in a second of one core.
///
/// # Errors
/// Where anything can not be measured.
pub(super) fn proofs(quick: bool, report: &mut Report) -> Result<()> {
    let size = if quick { "65536" } else { "1048576" };
    let text = checked(Command::new(built(Some("proofs"))?).arg(size))?;
    let told: Value = serde_json::from_str(text.lines().last().context("nothing was told")?)?;
    let rate = |name: &str| told[name].as_f64().unwrap_or(f64::NAN);
    for (name, which, goal) in [
        (
            "proofs, each with a checkpoint of its own and one witness",
            "fresh",
            5_000.0,
        ),
        (
            "proofs under a checkpoint that was verified",
            "verified",
            300_000.0,
        ),
    ] {
        report.add(Figure {
            name,
            ours: rate(which),
            unit: "/CPU s",
            theirs: None,
            score: rate(which),
            goal: Goal::AtLeast(goal),
            more: json!({"verified_each_alone": rate("verified_each_alone"), "proof_alone": rate("proof_alone"), "reading_alone": rate("reading_alone"),
                "log_size": rate("log_size"), "load": load_average()}),
        });
    }
    Ok(())
}

/// Entries of a log in a folder that one thread audits in a second.
///
/// # Errors
/// Where anything can not be measured.
pub(super) fn audit(
    server: Option<&Path>,
    home: &Path,
    quick: bool,
    report: &mut Report,
) -> Result<()> {
    let entries: u32 = if quick { 300_000 } else { 2_000_000 };
    let folder = home.join(format!("log-{entries}"));
    if !folder.join("home/trust.toml").exists() {
        eprintln!("bench: writing a log of {entries} entries");
        checked(
            Command::new(built(Some("write_log"))?)
                .arg(&folder)
                .arg(entries.to_string())
                .arg((entries / 20).to_string()),
        )?;
    }
    let client = server.map_or_else(|| built(None), client)?;
    let mut rates = Vec::new();
    for _ in 0..3 {
        let (begin, before) = (Instant::now(), super::machine::children_seconds());
        checked(
            Command::new("taskset")
                .args(["-c", LOAD_CORE])
                .arg(&client)
                .args(["log", "audit", "--full", "--threads", "1", "--mirror"])
                .arg(&folder)
                .env("COUNTERSIGN_HOME", folder.join("home")),
        )?;
        let cpu = super::machine::children_seconds() - before;
        rates.push((
            f64::from(entries) / cpu,
            f64::from(entries) / begin.elapsed().as_secs_f64(),
        ));
    }
    let best = rates.iter().map(|(rate, _)| *rate).fold(0.0, f64::max);
    report.add(Figure {
        name: "audit of a log in a folder",
        ours: best,
        unit: "entries/CPU s",
        theirs: None,
        score: best,
        goal: Goal::AtLeast(1e6),
        more: json!({"entries": entries, "wall_per_s": rates.iter().map(|(_, wall)| wall.round()).collect::<Vec<_>>(),
            "load": load_average()}),
    });
    Ok(())
}

/// A witness of a log, on this machine.
struct Witness(Child);

impl Drop for Witness {
    fn drop(&mut self) {
        // What has ended already can not be ended.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

impl Bench {
    /// A lone publish, answered when the log and a witness on this machine signed it.
    ///
    /// # Errors
    /// Where anything can not be measured.
    pub(super) fn witnessed(&mut self) -> Result<()> {
        let client = client(&self.binary)?;
        let place = self.home.join("witness");
        if place.exists() {
            fs::remove_dir_all(&place)?;
        }
        fs::create_dir_all(&place)?;
        let ours = |words: &[&str]| {
            let mut command = Command::new(&client);
            command
                .current_dir(&place)
                .env("COUNTERSIGN_HOME", place.join("home"))
                .args(["--json"])
                .args(words);
            command
        };
        let said = checked(&mut ours(&[
            "witness",
            "init",
            "--name",
            "witness.example/w1",
            "--key",
            "key",
            "--state",
            "state",
        ]))?;
        let said: Value = serde_json::from_str(&said)?;
        let key = said["verifier_keys"][0].as_str().context("no key")?;
        let free = TcpListener::bind(("127.0.0.1", 0))?.local_addr()?;
        let instance = Instance::make(&self.binary, &self.home.join("ours-witnessed"))?;
        let log = {
            let server = instance.serve()?;
            let about =
                http::get(&format!("{}/.well-known/countersign.json", server.url))?.json()?;
            let keys = about["log"]["verifier_keys"]
                .as_array()
                .or_else(|| about["verifier_keys"].as_array());
            let first = keys.and_then(|keys| keys.first()?.as_str().map(str::to_owned));
            first.context("the registry names no keys of its log")?
        };
        fs::write(
            instance.data.join("log-policy"),
            format!("witness west {key} http://{free}\nquorum west\n"),
        )?;
        instance.configure("policy = \"log-policy\"\n")?;
        let listen = free.to_string();
        let mut serving = ours(&[
            "witness",
            "serve",
            "--key",
            "key",
            "--state",
            "state",
            "--listen",
            &listen,
            "--log-key",
            &log,
        ]);
        let mut child = serving
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()?;
        let out = child.stdout.take().context("its output was piped")?;
        let _witness = Witness(child);
        BufReader::new(out).read_line(&mut String::new())?;
        let server: Server = instance.serve()?;
        let count = if self.quick { 100 } else { 400 };
        let run = self.corpus.publish(
            &server,
            Publishing {
                kind: "pkg",
                range: (0, count),
                publishers: 1,
                seconds: 120,
            },
        )?;
        ensure!(run.sent == u64::from(count), "some were not published");
        self.report.add(Figure {
            name: "lone publish with a local witness, median",
            ours: run.median_ms,
            unit: "ms",
            theirs: None,
            score: run.median_ms,
            goal: Goal::AtMost(100.0),
            more: json!({"p99_ms": run.p99_ms, "cpu_ms_each": run.cpu_ms_each, "sent": run.sent,
                "strangers": run.strangers, "load": load_average()}),
        });
        Ok(())
    }
}
