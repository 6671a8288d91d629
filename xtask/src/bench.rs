//! `cargo xtask bench`: the figures that the project promises, measured beside nginx, pypiserver and devpi.
//!
//! Every server is pinned to core 0, the load to core 1, all on loopback, request logs off on all sides. Compared are
//! neighbours in time; on a shared machine only ratios and requests per server CPU second mean anything, and each JSON
//! line says how many cores strangers took (`strangers`) while it was measured.

mod attested;
mod ecosystems;
mod exchange;
mod load;
mod log_service;
mod machine;
mod map;
mod proxied;
mod report;
mod server;
mod sign_in;
mod sigstore;
mod trust;
mod tuf;

use std::fs;
use std::path::PathBuf;
use std::process::Command;

use anyhow::{Context, Result, ensure};
use clap::{Args, ValueEnum};
use countersign_testkit::http;
use countersign_testkit::packages::Wheel;
use serde_json::{Value, json};

use self::load::{Corpus, Effort, Publishing, Read, Target, duel, median, read};
use self::report::{Figure, Goal, Report};
use self::server::{Instance, Server};
use crate::arch::root;

const HTML: &str = "text/html";
const JSON: &str = "application/vnd.pypi.simple.v1+json";

/// Which figures.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Part {
    /// Project pages against nginx, by length of the page and number of projects.
    Pages,
    /// Downloads against nginx.
    Files,
    /// Publishing against pypiserver and devpi.
    Publish,
    /// npm: publishing against Verdaccio, packuments and `npm ci` against nginx.
    Npm,
    /// Cargo: publishing against cargo-http-registry, the index and `cargo fetch` against nginx.
    Cargo,
    /// Memory, start-up, binary size.
    Memory,
    /// Memory and start-up with the map of a million files, and making it anew. Only where it is named.
    Map,
    /// Exchanges of identity tokens against their bare cost, and in a storm of bad ones.
    Exchange,
    /// Signing in beside argon2 alone, and readers while others guess passwords.
    SignIn,
    /// What two attestations cost at upload.
    AttestedUpload,
    /// The log of a service on PostgreSQL: entries a second, and from an entry to its witnessed proof.
    LogService,
    /// Verifications of attestations against their bare cost, and beside other libraries.
    Sigstore,
    /// All of the next six: what it takes that nobody has to be believed.
    Trust,
    /// Proofs that a core checks.
    Proofs,
    /// Entries of a log that a core audits.
    Audit,
    /// Signing for a registry elsewhere at 100,000 artifacts, by RSTUF's API on PostgreSQL, beside bare python-tuf.
    TufService,
    /// What a client moves that needs 30 of 700,000 projects and remembers nothing.
    TufCold,
    /// A lone publish with a witness.
    Witnessed,
    /// What the verifying proxy adds to an install.
    Proxied,
}

impl Part {
    /// What needs no corpus of packages.
    const ALONE: [Self; 10] = [
        Self::Map,
        Self::Exchange,
        Self::SignIn,
        Self::AttestedUpload,
        Self::Sigstore,
        Self::Proofs,
        Self::Audit,
        Self::TufService,
        Self::TufCold,
        Self::LogService,
    ];
    /// What needs the corpus, and not the registry that is filled with it.
    const APART: [Self; 4] = [Self::Npm, Self::Cargo, Self::Witnessed, Self::Proxied];
    const TRUST: [Self; 6] = [
        Self::Proofs,
        Self::Audit,
        Self::TufService,
        Self::TufCold,
        Self::Witnessed,
        Self::Proxied,
    ];
}

/// Options of `bench`.
#[derive(Debug, Args)]
pub struct Options {
    /// Only these figures.
    #[arg(long, value_delimiter = ',')]
    only: Vec<Part>,
    /// Short runs: for a look, not for the record.
    #[arg(long)]
    quick: bool,
    /// How many projects the large registry has; making 100,000 takes minutes the first time and is kept.
    #[arg(long, value_name = "N", default_value_t = 5_000)]
    projects: u32,
    /// The same as --projects 100000.
    #[arg(long)]
    full: bool,
    /// How many files the registry has whose map is measured; making them takes long the first time, and they are kept.
    #[arg(long, value_name = "N", default_value_t = 1_000_000)]
    files: u32,
    /// The server to measure [default: built with --release]
    #[arg(long, value_name = "FILE")]
    binary: Option<PathBuf>,
    /// The client whose witness is used [default: built with --release]
    #[arg(long, value_name = "FILE")]
    client: Option<PathBuf>,
    /// The load scripts [default: ../shared/bench beside the checkout]
    #[arg(long, value_name = "DIR")]
    scripts: Option<PathBuf>,
    /// Leave pypiserver, devpi and other libraries out.
    #[arg(long)]
    no_peers: bool,
}

struct Bench {
    binary: PathBuf,
    home: PathBuf,
    corpus: Corpus,
    quick: bool,
    peers: bool,
    projects: u32,
    report: Report,
}

/// Measures and prints: JSON lines on standard output, the table on standard error.
///
/// # Errors
/// Where something can not be measured. A missed goal is said, and is no error.
pub fn run(options: &Options) -> Result<()> {
    let target =
        std::env::var_os("CARGO_TARGET_DIR").map_or_else(|| root().join("target"), PathBuf::from);
    let home = target.join("bench");
    fs::create_dir_all(&home)?;
    let home = home.canonicalize()?;
    let mut only = options.only.clone();
    if only.contains(&Part::Trust) {
        only.retain(|part| *part != Part::Trust);
        only.extend(Part::TRUST);
    }
    let wanted = |part: Part| only.is_empty() || only.contains(&part);
    let all_of = |parts: &[Part]| !only.is_empty() && only.iter().all(|part| parts.contains(part));
    let mut report = Report::default();
    // They need no server.
    if wanted(Part::Proofs) {
        trust::proofs(options.quick, &mut report)?;
    }
    if wanted(Part::Audit) {
        trust::audit(options.binary.as_deref(), &home, options.quick, &mut report)?;
    }
    if wanted(Part::Sigstore) {
        let vectors = root().join("../shared/vectors/sigstore");
        sigstore::measure(
            &home,
            &vectors,
            options.quick,
            !options.no_peers,
            &mut report,
        )?;
    }
    if all_of(&[Part::Sigstore, Part::Proofs, Part::Audit]) {
        conclude(&report);
        return Ok(());
    }
    let binary = match &options.binary {
        Some(binary) => binary.clone(),
        None => {
            let status = Command::new("cargo")
                .args(["build", "--release", "--package", "countersignd"])
                .current_dir(root())
                .status()?;
            ensure!(status.success(), "the release build failed");
            target.join("release/countersignd")
        }
    };
    let binary = binary
        .canonicalize()
        .with_context(|| format!("{} is not there", binary.display()))?;
    // These need none of the corpus that the others publish.
    if wanted(Part::Exchange) {
        exchange::measure(&binary, &home, options.quick, &mut report)?;
    }
    if wanted(Part::SignIn) {
        sign_in::measure(&binary, &home, options.quick, &mut report)?;
    }
    if wanted(Part::AttestedUpload) {
        attested::measure(&binary, &home, options.quick, &mut report)?;
    }
    let (quick, peers) = (options.quick, !options.no_peers);
    if wanted(Part::TufService) {
        tuf::service(&binary, &home, quick, peers, &mut report)?;
    }
    if wanted(Part::TufCold) {
        tuf::cold(&binary, &home, quick, peers, &mut report)?;
    }
    if only.contains(&Part::Map) {
        map::measure(&binary, &home, options.files, quick, &mut report)?;
    }
    if wanted(Part::LogService) {
        let client = match &options.client {
            Some(client) => client.clone(),
            None => {
                let status = Command::new("cargo")
                    .args(["build", "--release", "--package", "countersign"])
                    .current_dir(root())
                    .status()?;
                ensure!(status.success(), "the release build failed");
                target.join("release/countersign")
            }
        };
        let client = client
            .canonicalize()
            .with_context(|| format!("{} is not there", client.display()))?;
        log_service::measure(&binary, &client, &home, quick, &mut report)?;
    }
    if all_of(&Part::ALONE) {
        conclude(&report);
        return Ok(());
    }
    let scripts = options
        .scripts
        .clone()
        .unwrap_or_else(|| root().join("../shared/bench"));
    let mut bench = Bench {
        binary,
        corpus: Corpus::prepare(&scripts, &home)?,
        home,
        quick: options.quick,
        peers: !options.no_peers,
        projects: if options.full {
            100_000
        } else {
            options.projects
        },
        report,
    };
    if wanted(Part::Npm) {
        bench.npm()?;
    }
    if wanted(Part::Cargo) {
        bench.cargo()?;
    }
    if wanted(Part::Witnessed) {
        bench.witnessed()?;
    }
    if wanted(Part::Proxied) {
        bench.proxied()?;
    }
    if all_of(&[&Part::ALONE[..], &Part::APART].concat()) {
        conclude(&bench.report);
        return Ok(());
    }
    // Whatever is measured of reading needs the registry that publishing fills.
    let ours = bench.filled(wanted(Part::Publish))?;
    if wanted(Part::Pages) || wanted(Part::Files) {
        let served = ours.serve()?;
        if wanted(Part::Pages) {
            bench.pages(&served)?;
        }
        if wanted(Part::Files) {
            bench.files(&served)?;
        }
    }
    if wanted(Part::Publish) && bench.peers {
        bench.peer_publishing()?;
    }
    if wanted(Part::Pages) || wanted(Part::Memory) {
        bench.large(&ours, wanted(Part::Pages), wanted(Part::Memory))?;
    }
    conclude(&bench.report);
    Ok(())
}

fn conclude(report: &Report) {
    let (table, missed) = report.table();
    eprintln!("\n{table}");
    if !missed.is_empty() {
        eprintln!("Missed: {}.", missed.join(", "));
    }
}

impl Bench {
    fn effort(&self, connections: u32) -> Effort {
        if self.quick {
            Effort {
                seconds: 1,
                connections,
                rounds: 3,
            }
        } else {
            Effort {
                seconds: 3,
                connections,
                rounds: 5,
            }
        }
    }

    /// Our registry with the corpus published over HTTP; the figures of that are kept if `measured`.
    fn filled(&mut self, measured: bool) -> Result<Instance> {
        let instance = Instance::make(&self.binary, &self.home.join("ours"))?;
        let server = instance.serve()?;
        let sync = machine::sync_time(&self.home)?;
        let publish = |kind, range, publishers| {
            let seconds = 120;
            self.corpus.publish(
                &server,
                Publishing {
                    kind,
                    range,
                    publishers,
                    seconds,
                },
            )
        };
        eprintln!("bench: publishing to ours");
        let lone = publish("pkg", (0, 600), 1)?;
        let sync_after = machine::sync_time(&self.home)?;
        let eight = publish("pkg", (600, 2_000), 8)?;
        let many = publish("many", (0, 1_000), 1)?;
        publish("big", (0, 1), 1)?;
        if !measured {
            return Ok(instance);
        }
        let sync_ms = (sync + sync_after).as_secs_f64() * 1e3 / 2.0;
        self.report.add(Figure {
            name: "lone publisher's median wait less its CPU, in disk syncs",
            ours: lone.median_ms,
            unit: "ms",
            theirs: Some(("one fdatasync, ms", sync_ms)),
            score: (lone.median_ms - lone.cpu_ms_each).max(0.0) / sync_ms,
            goal: Goal::AtMost(10.0),
            more: json!({"cpu_ms_each": lone.cpu_ms_each, "p99_ms": lone.p99_ms, "per_s": lone.per_second,
                "fifths_per_s": lone.fifths, "sent": lone.sent, "strangers": lone.strangers}),
        });
        for (name, run) in [
            ("publishing, 1 publisher", &lone),
            ("publishing, 8 publishers", &eight),
        ] {
            self.report.add(Figure {
                name,
                ours: run.per_second,
                unit: "/s",
                theirs: None,
                score: run.cpu_ms_each,
                goal: Goal::None,
                more: json!({"score_is": "server CPU ms each", "median_ms": run.median_ms, "p99_ms": run.p99_ms,
                    "fifths_per_s": run.fifths, "sent": run.sent, "strangers": run.strangers}),
            });
        }
        let (first, last) = (many.fifths.first().copied(), many.fifths.last().copied());
        self.report.add(Figure {
            name: "the last fifth of 1,000 releases of a project / the first",
            ours: last.unwrap_or(f64::NAN),
            unit: "/s",
            theirs: first.map(|first| ("the first fifth", first)),
            score: last.unwrap_or(f64::NAN) / first.unwrap_or(f64::NAN),
            goal: Goal::AtLeast(0.7),
            more: json!({"fifths_per_s": many.fifths, "cpu_ms_each": many.cpu_ms_each, "sent": many.sent,
                "strangers": many.strangers}),
        });
        Ok(instance)
    }

    /// The same work for pypiserver and devpi, in less time: they slow down as they fill.
    fn peer_publishing(&mut self) -> Result<()> {
        let seconds = if self.quick { 5 } else { 20 };
        let ours = self.report.value("publishing, 8 publishers");
        for name in ["pypiserver", "devpi"] {
            let data = tempfile::Builder::new()
                .prefix("peer-")
                .tempdir_in(&self.home)?;
            eprintln!("bench: publishing to {name}");
            let folder = data.path().join("data");
            let server = match name {
                "pypiserver" => server::pypiserver(&self.home, &folder)?,
                _ => server::devpi(&self.home, &folder)?,
            };
            let publish = |kind, range, publishers| {
                self.corpus.publish(
                    &server,
                    Publishing {
                        kind,
                        range,
                        publishers,
                        seconds,
                    },
                )
            };
            let lone = publish("pkg", (0, 600), 1)?;
            let eight = publish("pkg", (600, 2_000), 8)?;
            let many = publish("many", (0, 1_000), 1)?;
            let memory = server.resident_mb();
            self.report.add(Figure {
                name: if name == "devpi" { "8 publishers, ours / devpi" } else { "8 publishers, ours / pypiserver" },
                ours,
                unit: "/s",
                theirs: Some((server.name, eight.per_second)),
                score: ours / eight.per_second,
                goal: if name == "devpi" { Goal::AtLeast(10.0) } else { Goal::None },
                more: json!({"lone_per_s": lone.per_second, "lone_median_ms": lone.median_ms, "cpu_ms_each": eight.cpu_ms_each,
                    "many_fifths_per_s": many.fifths, "many_sent": many.sent, "sent": eight.sent, "memory_mb": memory,
                    "strangers": eight.strangers}),
            });
        }
        Ok(())
    }

    /// Serves with nginx what ours answers to these paths, byte for byte.
    fn mirror(
        &self,
        ours: &Server,
        folder: &str,
        paths: &[String],
        accept: &str,
    ) -> Result<(Server, Vec<String>)> {
        let folder = self.home.join(folder);
        let ending = match accept {
            JSON => "json",
            HTML => "html",
            _ => "bin",
        };
        fs::create_dir_all(folder.join("www"))?;
        let mut theirs = Vec::new();
        for (place, path) in paths.iter().enumerate() {
            let answer = http::request(
                "GET",
                &format!("{}{path}", ours.url),
                &[("Accept", accept)],
                b"",
            )?
            .expect_status(200)?;
            let name = format!("{place}.{ending}");
            fs::write(folder.join("www").join(&name), &answer.body)?;
            theirs.push(format!("/{name}"));
        }
        Ok((server::nginx(&folder)?, theirs))
    }

    fn pages(&mut self, ours: &Server) -> Result<()> {
        let effort = self.effort(64);
        for (name, project, accept) in [
            ("page of 10 releases, JSON, per CPU s", "perf-pkg-000", JSON),
            ("page of 10 releases, HTML, per CPU s", "perf-pkg-000", HTML),
            ("page of 1,000 releases, JSON, per CPU s", "perf-many", JSON),
            ("page of 1,000 releases, HTML, per CPU s", "perf-many", HTML),
        ] {
            let path = format!("/pypi/simple/{project}/");
            let (nginx, theirs) =
                self.mirror(ours, "nginx-pages", std::slice::from_ref(&path), accept)?;
            let rounds = duel(
                (ours, &Target::One(path.clone())),
                (&nginx, &Target::One(theirs[0].clone())),
                accept,
                effort,
                &self.home,
            )?;
            let bytes = http::request(
                "GET",
                &format!("{}{path}", ours.url),
                &[("Accept", accept)],
                b"",
            )?
            .body
            .len();
            self.against_nginx(
                name,
                &rounds,
                |read| read.per_cpu_second,
                "req/CPU s",
                0.9,
                json!({"page_bytes": bytes}),
            );
        }
        Ok(())
    }

    fn files(&mut self, ours: &Server) -> Result<()> {
        let find = |project: &str| -> Result<String> {
            let page = http::request(
                "GET",
                &format!("{}/pypi/simple/{project}/", ours.url),
                &[("Accept", JSON)],
                b"",
            )?
            .json()?;
            let url = page["files"][0]["url"]
                .as_str()
                .context("the page has no file")?;
            Ok(url.strip_prefix(&ours.url).unwrap_or(url).to_owned())
        };
        let middling = Wheel::new("bench-sixty", "1.0")
            .file("bench_sixty/noise.bin", noise(60 << 10))
            .build();
        self.upload(ours, &middling)?;
        let any = "*/*";
        for (name, project, connections) in [
            ("file of 10 KB, per CPU s", "perf-pkg-000", 64),
            ("file of 64 KiB, per CPU s", "bench-sixty", 64),
            ("file of 10 MB, MB/s", "perf-big", 8),
        ] {
            let path = find(project)?;
            let (nginx, theirs) =
                self.mirror(ours, "nginx-files", std::slice::from_ref(&path), any)?;
            let size = http::get(&format!("{}{path}", ours.url))?.body.len();
            let rounds = duel(
                (ours, &Target::One(path)),
                (&nginx, &Target::One(theirs[0].clone())),
                any,
                self.effort(connections),
                &self.home,
            )?;
            let more = json!({"file_bytes": size, "server_mb": ours.resident_mb()});
            if project == "perf-big" {
                self.against_nginx(
                    name,
                    &rounds,
                    |read| read.megabytes_per_second,
                    "MB/s",
                    0.9,
                    more.clone(),
                );
                self.against_nginx(
                    "file of 10 MB, MB per CPU s",
                    &rounds,
                    |read| read.megabytes_per_cpu_second,
                    "MB/CPU s",
                    0.35,
                    more,
                );
            } else {
                self.against_nginx(
                    name,
                    &rounds,
                    |read| read.per_cpu_second,
                    "req/CPU s",
                    0.7,
                    more,
                );
            }
        }
        Ok(())
    }

    fn upload(
        &self,
        ours: &Server,
        package: &countersign_testkit::packages::Package,
    ) -> Result<()> {
        let form = package.form();
        let fields: Vec<(&str, &str)> = form
            .iter()
            .map(|(name, value)| (*name, value.as_str()))
            .collect();
        let (kind, body) = http::multipart(
            &fields,
            Some(("content", &package.filename, &package.bytes)),
        );
        let line = ours.authorization.as_deref().unwrap_or_default();
        let value = line.split_once(": ").map_or("", |(_, value)| value);
        http::request(
            "POST",
            &ours.upload,
            &[("Content-Type", &kind), ("Authorization", value)],
            &body,
        )?
        .expect_status(200)?;
        Ok(())
    }

    fn against_nginx(
        &mut self,
        name: &'static str,
        rounds: &[(Read, Read)],
        value: impl Fn(&Read) -> f64,
        unit: &'static str,
        least: f64,
        more: Value,
    ) {
        let ratios: Vec<f64> = rounds
            .iter()
            .map(|(ours, theirs)| value(ours) / value(theirs))
            .collect();
        let mut all = json!({
            "ratios": ratios.iter().map(|ratio| (ratio * 1000.0).round() / 1000.0).collect::<Vec<_>>(),
            "ours_per_s": median(rounds.iter().map(|(ours, _)| ours.per_second)).round(),
            "nginx_per_s": median(rounds.iter().map(|(_, theirs)| theirs.per_second)).round(),
            "ours_p99_ms": median(rounds.iter().map(|(ours, _)| ours.p99_ms)),
            "nginx_p99_ms": median(rounds.iter().map(|(_, theirs)| theirs.p99_ms)),
            "strangers": median(rounds.iter().map(|(ours, theirs)| (ours.strangers + theirs.strangers) / 2.0)),
        });
        if let (Some(all), Value::Object(more)) = (all.as_object_mut(), more) {
            all.extend(more);
        }
        self.report.add(Figure {
            name,
            ours: median(rounds.iter().map(|(ours, _)| value(ours))),
            unit,
            theirs: Some((
                "nginx",
                median(rounds.iter().map(|(_, theirs)| value(theirs))),
            )),
            score: median(ratios),
            goal: Goal::AtLeast(least),
            more: all,
        });
    }

    /// A registry of many projects, made once by `countersignd import` and kept.
    fn many_projects(&self) -> Result<Instance> {
        let data = self.home.join(format!("projects-{}", self.projects));
        let made = data.join("bench-complete");
        if made.exists() {
            return Instance::reopen(&self.binary, &data);
        }
        eprintln!(
            "bench: making a registry of {} projects; it is kept in {}",
            self.projects,
            data.display()
        );
        let instance = Instance::make(&self.binary, &data)?;
        let wheels = tempfile::Builder::new()
            .prefix("wheels-")
            .tempdir_in(&self.home)?;
        for number in 0..self.projects {
            let folder = wheels.path().join(format!("{:03}", number / 1_000));
            fs::create_dir_all(&folder)?;
            Wheel::new(&project_name(number), "1.0")
                .build()
                .write_to(&folder)?;
        }
        let begin = std::time::Instant::now();
        instance.import(wheels.path())?;
        eprintln!("bench: imported in {:.0} s", begin.elapsed().as_secs_f64());
        fs::write(made, "")?;
        Ok(instance)
    }

    /// What depends on how many projects there are.
    fn large(&mut self, small: &Instance, pages: bool, memory: bool) -> Result<()> {
        let large = self.many_projects()?;
        if memory {
            let mut starts = Vec::new();
            for _ in 0..5 {
                starts.push(large.serve()?.ready_after.as_secs_f64());
            }
            let empty = small.serve()?.ready_after.as_secs_f64();
            self.report.add(Figure {
                name: "start-up with many projects",
                ours: median(starts.iter().copied()),
                unit: "s",
                theirs: Some(("100 projects", empty)),
                score: median(starts.iter().copied()),
                goal: Goal::AtMost(0.3),
                more: json!({"projects": self.projects, "all_s": starts}),
            });
            let server = large.serve()?;
            std::thread::sleep(std::time::Duration::from_secs(5));
            let idle = server.resident_mb();
            self.report.add(Figure {
                name: "memory, idle, many projects",
                ours: idle,
                unit: "MB",
                theirs: None,
                score: idle,
                goal: Goal::AtMost(60.0),
                more: json!({"projects": self.projects}),
            });
            let size = fs::metadata(&self.binary)?.len() as f64 / 1e6;
            self.report.add(Figure {
                name: "binary",
                ours: size,
                unit: "MB",
                theirs: None,
                score: size,
                goal: Goal::None,
                more: Value::Null,
            });
        }
        if pages {
            let (few, many) = (small.serve()?, large.serve()?);
            let few_paths = (0..100)
                .map(|number| format!("/pypi/simple/perf-pkg-{number:03}/"))
                .collect();
            let many_paths: Vec<String> = (0..self.projects)
                .map(|number| format!("/pypi/simple/{}/", project_name(number)))
                .collect();
            let effort = self.effort(64);
            let rounds = duel(
                (&many, &Target::Any(many_paths.clone())),
                (&few, &Target::Any(few_paths)),
                JSON,
                effort,
                &self.home,
            )?;
            let ratio = median(
                rounds
                    .iter()
                    .map(|(many, few)| many.per_cpu_second / few.per_cpu_second),
            );
            self.report.add(Figure {
                name: "pages at random, many projects / 100, per CPU s",
                ours: median(rounds.iter().map(|(many, _)| many.per_cpu_second)),
                unit: "req/CPU s",
                theirs: Some((
                    "100 projects",
                    median(rounds.iter().map(|(_, few)| few.per_cpu_second)),
                )),
                score: ratio,
                goal: Goal::None,
                more: json!({"projects": self.projects, "server_mb": many.resident_mb(),
                    "strangers": median(rounds.iter().map(|(many, _)| many.strangers))}),
            });
            // Side by side with nginx over as many files as a checkout should hold.
            let sample: Vec<String> = many_paths
                .iter()
                .step_by((many_paths.len() / 2_000).max(1))
                .cloned()
                .collect();
            let (nginx, theirs) = self.mirror(&many, "nginx-many", &sample, JSON)?;
            let rounds = duel(
                (&many, &Target::Any(sample)),
                (&nginx, &Target::Any(theirs)),
                JSON,
                effort,
                &self.home,
            )?;
            self.against_nginx(
                "pages at random, many projects, per CPU s",
                &rounds,
                |read| read.per_cpu_second,
                "req/CPU s",
                0.9,
                json!({"projects": self.projects}),
            );
            let one = Target::One(many_paths[many_paths.len() / 2].clone());
            let lone = read(&many, &one, JSON, effort, &self.home)?;
            self.report.add(Figure {
                name: "one page, many projects, per CPU s",
                ours: lone.per_cpu_second,
                unit: "req/CPU s",
                theirs: None,
                score: lone.per_cpu_second,
                goal: Goal::None,
                more: json!({"projects": self.projects, "strangers": lone.strangers}),
            });
        }
        Ok(())
    }
}

/// Names that no look-alike rule confuses: letters that are nobody's twin.
fn project_name(number: u32) -> String {
    let letters: String = format!("{number:06}")
        .bytes()
        .map(|digit| char::from(b"bcdfghjkpt"[usize::from(digit - b'0')]))
        .collect();
    format!("load-{letters}")
}

/// Bytes that do not compress: a Weyl sequence, mixed.
fn noise(length: usize) -> Vec<u8> {
    let mut state = 0_u64;
    (0..length)
        .map(|_| {
            state = state.wrapping_add(0x9E37_79B9_7F4A_7C15);
            let mixed = (state ^ (state >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
            (mixed >> 56) as u8
        })
        .collect()
}
