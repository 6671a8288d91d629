//! The load: `wrk` for reading, and the shared `publish.py` for publishing, both pinned to core 1. The scripts stand
//! beside the project, in `../shared/bench`.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, Result, bail, ensure};
use serde_json::Value;

use super::machine::Meter;
use super::server::Server;

/// Where the load runs; servers run on core 0.
pub(super) const LOAD_CORE: &str = "1";

/// What a reader asks for.
#[derive(Debug, Clone)]
pub(super) enum Target {
    /// One path again and again.
    One(String),
    /// Any of these, in a random order.
    Any(Vec<String>),
}

/// What a run of `wrk` found out.
#[derive(Debug, Clone, Copy)]
pub(super) struct Read {
    pub(super) per_second: f64,
    pub(super) per_cpu_second: f64,
    pub(super) megabytes_per_second: f64,
    pub(super) megabytes_per_cpu_second: f64,
    pub(super) p99_ms: f64,
    pub(super) strangers: f64,
}

/// How long and how hard to read.
#[derive(Debug, Clone, Copy)]
pub(super) struct Effort {
    pub(super) seconds: u32,
    pub(super) connections: u32,
    pub(super) rounds: u32,
}

/// Reads from a server once.
///
/// # Errors
/// Where `wrk` is missing (Debian: wrk) or any answer was not a success.
pub(super) fn read(
    server: &Server,
    target: &Target,
    accept: &str,
    effort: Effort,
    work: &Path,
) -> Result<Read> {
    let script = work.join("wrk.lua");
    let (path, choose) = match target {
        Target::One(path) => (path.clone(), String::new()),
        Target::Any(paths) => {
            let list = work.join("wrk-paths");
            fs::write(&list, paths.join("\n"))?;
            let choose = format!(
                "local asked = {{}}\nfunction init() math.randomseed(7)\n  for line in io.lines({list:?}) do asked[#asked + 1] = \
                 wrk.format(\"GET\", line) end\nend\nfunction request() return asked[math.random(#asked)] end\n"
            );
            (paths[0].clone(), choose)
        }
    };
    let done = "function done(s, l, r) io.write(string.format('\\nFIGURES {\"requests\":%d,\"bytes\":%d,\"us\":%d,\"bad\":%d,\"p99\":%d}\\n', \
                s.requests, s.bytes, s.duration, s.errors.connect + s.errors.read + s.errors.write + s.errors.status + s.errors.timeout, \
                l:percentile(99))) end\n";
    fs::write(&script, format!("{choose}{done}"))?;
    let mut command = Command::new("taskset");
    command.args(["-c", LOAD_CORE, "wrk", "-t1", "--timeout", "30s"]);
    command
        .arg(format!("-c{}", effort.connections))
        .arg(format!("-d{}s", effort.seconds));
    command
        .arg("-H")
        .arg(format!("Accept: {accept}"))
        .arg("-s")
        .arg(&script)
        .arg(format!("{}{path}", server.url));
    let meter = Meter::start(server.pid());
    let output = command
        .stdin(Stdio::null())
        .output()
        .context("cannot start taskset and wrk (Debian packages util-linux, wrk)")?;
    let seen = meter.stop();
    let text = String::from_utf8_lossy(&output.stdout);
    let Some(line) = text.lines().find_map(|line| line.strip_prefix("FIGURES ")) else {
        bail!(
            "wrk failed on {}{path}: {text}{}",
            server.url,
            String::from_utf8_lossy(&output.stderr)
        );
    };
    let figures: Value = serde_json::from_str(line)?;
    let number = |name: &str| figures[name].as_f64().unwrap_or(0.0);
    ensure!(
        number("bad") == 0.0 && number("requests") > 0.0,
        "{} of {} answers of {} for {path} were bad",
        number("bad"),
        number("requests"),
        server.name
    );
    let (seconds, cpu) = (number("us") / 1e6, seen.cpu.max(0.01));
    Ok(Read {
        per_second: number("requests") / seconds,
        per_cpu_second: number("requests") / cpu,
        megabytes_per_second: number("bytes") / 1e6 / seconds,
        megabytes_per_cpu_second: number("bytes") / 1e6 / cpu,
        p99_ms: number("p99") / 1e3,
        strangers: seen.strangers,
    })
}

/// Two servers in turn, some rounds, after one short run of each to warm up. Neighbours in time share the machine's
/// mood, so ratios are taken within a round and their median counts.
///
/// # Errors
/// As [`read`].
pub(super) fn duel(
    ours: (&Server, &Target),
    theirs: (&Server, &Target),
    accept: &str,
    effort: Effort,
    work: &Path,
) -> Result<Vec<(Read, Read)>> {
    let warm = Effort {
        seconds: 1,
        ..effort
    };
    read(ours.0, ours.1, accept, warm, work)?;
    read(theirs.0, theirs.1, accept, warm, work)?;
    (0..effort.rounds)
        .map(|_| {
            Ok((
                read(ours.0, ours.1, accept, effort, work)?,
                read(theirs.0, theirs.1, accept, effort, work)?,
            ))
        })
        .collect()
}

/// The middle one.
pub(super) fn median(values: impl IntoIterator<Item = f64>) -> f64 {
    let mut values: Vec<f64> = values.into_iter().collect();
    values.sort_by(f64::total_cmp);
    values.get(values.len() / 2).copied().unwrap_or(f64::NAN)
}

/// What a run of publishers found out.
#[derive(Debug, Clone)]
pub(super) struct Published {
    pub(super) per_second: f64,
    pub(super) median_ms: f64,
    pub(super) p99_ms: f64,
    /// Rates in each fifth of the run.
    pub(super) fifths: Vec<f64>,
    pub(super) cpu_ms_each: f64,
    pub(super) sent: u64,
    pub(super) strangers: f64,
}

/// Which part of the corpus to publish, and how.
#[derive(Debug, Clone, Copy)]
pub(super) struct Publishing<'a> {
    /// `pkg` (100 projects of 10 releases, about 10 KB each), `many` (one project), or `big` (10 MB).
    pub(super) kind: &'a str,
    pub(super) range: (u32, u32),
    pub(super) publishers: u32,
    pub(super) seconds: u32,
}

/// The scripts and the corpus that they made.
pub(super) struct Corpus {
    scripts: PathBuf,
    folder: PathBuf,
    protocol: &'static str,
}

impl Corpus {
    /// Makes the corpus in `home` unless it is there.
    ///
    /// # Errors
    /// Where the scripts are not beside the project, or fail.
    pub(super) fn prepare(scripts: &Path, home: &Path) -> Result<Self> {
        Self::made(scripts, home, "pypi")
    }

    /// The corpus of another ecosystem.
    ///
    /// # Errors
    /// As [`Corpus::prepare`].
    pub(super) fn of(&self, protocol: &'static str, home: &Path) -> Result<Self> {
        Self::made(&self.scripts, home, protocol)
    }

    /// Name, version and file of the newest version of each package of the kind `pkg`.
    ///
    /// # Errors
    /// Where the corpus is not whole.
    pub(super) fn newest(&self) -> Result<Vec<(String, String, String)>> {
        let text = fs::read_to_string(self.folder.join(self.protocol).join("manifest.jsonl"))?;
        let mut newest = std::collections::BTreeMap::new();
        for line in text.lines() {
            let row: Value = serde_json::from_str(line)?;
            let field = |name: &str| -> Result<String> {
                let text = row[name].as_str();
                Ok(text
                    .with_context(|| format!("a row has no {name}"))?
                    .to_owned())
            };
            if field("kind")? == "pkg" {
                // They stand in the order of versions.
                newest.insert(field("name")?, (field("version")?, field("file")?));
            }
        }
        Ok(newest
            .into_iter()
            .map(|(name, (version, file))| (name, version, file))
            .collect())
    }

    fn made(scripts: &Path, home: &Path, protocol: &'static str) -> Result<Self> {
        ensure!(
            scripts.join("publish.py").exists(),
            "the load scripts are not in {}; say where with --scripts DIR",
            scripts.display()
        );
        let folder = home.join("corpus");
        let made = folder.join(format!("made-{protocol}"));
        if !made.exists() {
            eprintln!("bench: making the corpus for {protocol}");
            let status = Command::new("python3")
                .arg(scripts.join("corpus.py"))
                .arg("--out")
                .arg(&folder)
                .args(["--eco", protocol])
                .env("PYTHONDONTWRITEBYTECODE", "1")
                .stdout(Stdio::null())
                .status()
                .context("cannot start python3")?;
            ensure!(status.success(), "corpus.py ended with {status}");
            fs::write(made, "")?;
        }
        Ok(Self {
            scripts: scripts.to_owned(),
            folder,
            protocol,
        })
    }

    /// Publishes a part of the corpus.
    ///
    /// # Errors
    /// Where any upload was refused.
    pub(super) fn publish(&self, server: &Server, what: Publishing<'_>) -> Result<Published> {
        let mut command = Command::new("python3");
        command
            .arg(self.scripts.join("publish.py"))
            .args([self.protocol, "--url", &server.upload, "--corpus"])
            .arg(&self.folder);
        command.args([
            "--label",
            server.name,
            "--kind",
            what.kind,
            "--cpu",
            LOAD_CORE,
        ]);
        command.args(["--range", &format!("{}:{}", what.range.0, what.range.1)]);
        command.args([
            "--workers",
            &what.publishers.to_string(),
            "--max-s",
            &what.seconds.to_string(),
        ]);
        command.args(["--pid", &server.pid().to_string()]);
        if let Some(authorization) = &server.authorization {
            command.args(["--header", authorization]);
        }
        command.env("PYTHONDONTWRITEBYTECODE", "1");
        let output = command
            .stdin(Stdio::null())
            .output()
            .context("cannot start python3")?;
        let text = String::from_utf8_lossy(&output.stdout);
        let Some(row) = text
            .lines()
            .rev()
            .find_map(|line| serde_json::from_str::<Value>(line).ok())
        else {
            bail!(
                "publish.py failed: {text}{}",
                String::from_utf8_lossy(&output.stderr)
            );
        };
        ensure!(
            row["ok"].as_u64() == row["sent"].as_u64() && row["sent"].as_u64() > Some(0),
            "{} refused uploads: {row}",
            server.name
        );
        let number = |name: &str| row[name].as_f64().unwrap_or(f64::NAN);
        Ok(Published {
            per_second: number("per_s"),
            median_ms: number("p50_ms"),
            p99_ms: number("p99_ms"),
            fifths: row["fifths_per_s"]
                .as_array()
                .into_iter()
                .flatten()
                .filter_map(Value::as_f64)
                .collect(),
            cpu_ms_each: number("server_cpu_ms_each"),
            sent: row["sent"].as_u64().unwrap_or(0),
            strangers: number("stranger_cores"),
        })
    }
}
