//! What the verifying proxy adds to an install of 100 packages, by clients whose caches are empty, when it has seen them all.

use std::fs;
use std::io::{BufRead as _, BufReader};
use std::net::TcpListener;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Instant;

use anyhow::{Context, Result, ensure};
use serde_json::json;

use super::Bench;
use super::load::{LOAD_CORE, Publishing, median};
use super::machine::{cpu_seconds, load_average};
use super::report::{Figure, Goal};
use super::server::{Instance, SERVER_CORE, checked, environment};
use super::trust;

/// A proxy that serves.
struct Proxy(Child);

impl Drop for Proxy {
    fn drop(&mut self) {
        // What has ended already can not be ended.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Seconds that a client takes, with an empty cache.
fn install(client: &str, programs: &Path, index: &str, home: &Path) -> Result<f64> {
    let place = tempfile::Builder::new()
        .prefix("client-")
        .tempdir_in(home)?;
    let into = place.path().join("into");
    let mut command = Command::new("taskset");
    command
        .args(["-c", LOAD_CORE])
        .arg(programs.join("bin").join(client));
    match client {
        "uv" => {
            command.args([
                "pip",
                "install",
                "-q",
                "--no-cache",
                "--no-config",
                "--python",
            ]);
            command.arg(programs.join("bin/python"));
        }
        _ => {
            command.args([
                "--isolated",
                "--disable-pip-version-check",
                "install",
                "-q",
                "--no-cache-dir",
                "--no-compile",
            ]);
            command.args(["--trusted-host", "127.0.0.1"]);
        }
    }
    command
        .args(["--index-url", index, "--target"])
        .arg(&into)
        .arg("perf-pkg-000");
    command
        .stdin(Stdio::null())
        .env_remove("PIP_INDEX_URL")
        .env_remove("UV_INDEX_URL");
    let begin = Instant::now();
    let output = command.output()?;
    let seconds = begin.elapsed().as_secs_f64();
    ensure!(
        output.status.success(),
        "{client} failed against {index}: {}",
        String::from_utf8_lossy(&output.stderr)
    );
    let count = fs::read_dir(&into)?
        .filter_map(Result::ok)
        .filter(|entry| entry.file_name().to_string_lossy().ends_with(".dist-info"))
        .count();
    ensure!(
        count == 100,
        "{client} installed {count} of 100 packages from {index}"
    );
    Ok(seconds)
}

impl Bench {
    /// Installs by uv and pip, from the server and through the proxy in turn.
    ///
    /// # Errors
    /// Where anything can not be measured.
    pub(super) fn proxied(&mut self) -> Result<()> {
        let programs = environment(&self.home, "clients", &["uv==0.13.8", "pip==26.3"])?;
        let instance = Instance::make(&self.binary, &self.home.join("ours-proxied"))?;
        let server = instance.serve()?;
        self.corpus.publish(
            &server,
            Publishing {
                kind: "pkg",
                range: (0, 1_000),
                publishers: 8,
                seconds: 120,
            },
        )?;
        let client = trust::client(&self.binary)?;
        let place = self.home.join("proxy");
        if place.exists() {
            fs::remove_dir_all(&place)?;
        }
        fs::create_dir_all(&place)?;
        let ours = |program: &str| {
            let mut command = Command::new(program);
            command
                .env("COUNTERSIGN_HOME", &place)
                .env("XDG_CACHE_HOME", place.join("cache"));
            command
        };
        let program = client.display().to_string();
        checked(ours(&program).args(["trust", "add", &server.url, "--yes"]))?;
        let listen = TcpListener::bind(("127.0.0.1", 0))?
            .local_addr()?
            .to_string();
        let mut command = ours("taskset");
        command
            .args(["-c", SERVER_CORE, &program, "--registry", &server.url])
            .args(["--json", "proxy", "serve", "--listen", &listen]);
        let mut child = command
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(fs::File::create(place.join("log"))?)
            .spawn()?;
        let out = child.stdout.take().context("its output was piped")?;
        let proxy = Proxy(child);
        let mut out = BufReader::new(out);
        let mut line = String::new();
        out.read_line(&mut line)?;
        // Whoever reads nothing more holds it up.
        std::thread::spawn(move || std::io::copy(&mut out, &mut std::io::sink()));
        let direct = format!("{}/pypi/simple/", server.url);
        let through = format!("http://{listen}/pypi/simple/");
        let rounds = if self.quick { 4 } else { 10 };
        for which in ["uv", "pip"] {
            let (mut ratios, mut straight, mut around) = (Vec::new(), Vec::new(), Vec::new());
            // The first of each warms the proxy up.
            install(which, &programs, &direct, &self.home)?;
            install(which, &programs, &through, &self.home)?;
            let before = cpu_seconds(proxy.0.id());
            for _ in 0..rounds {
                let one = install(which, &programs, &direct, &self.home)?;
                let other = install(which, &programs, &through, &self.home)?;
                ratios.push(other / one);
                straight.push(one);
                around.push(other);
            }
            let cpu = (cpu_seconds(proxy.0.id()) - before) / f64::from(rounds);
            let (one, other) = (median(straight.clone()), median(around));
            self.report.add(Figure {
                name: match which {
                    "uv" => "uv, 100 packages, through the proxy / direct",
                    _ => "pip, 100 packages, through the proxy / direct",
                },
                ours: other,
                unit: "s",
                theirs: Some(("direct", one)),
                score: other / one,
                goal: Goal::AtMost(1.05),
                more: json!({"median_of_ratios": median(ratios.clone()), "ratios": ratios, "proxy_cpu_s_each": cpu,
                    "load": load_average()}),
            });
        }
        Ok(())
    }
}
