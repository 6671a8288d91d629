//! npm and Cargo: publishing beside their peers, index documents and whole clients beside nginx.

use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Instant;

use anyhow::{Context, Result, ensure};
use countersign_testkit::http;
use serde_json::json;

use super::Bench;
use super::load::{Corpus, LOAD_CORE, Publishing, Target, duel, median};
use super::machine::Meter;
use super::report::{Figure, Goal};
use super::server::{self, Instance, Server};

/// The packages that a client gets in the figures of whole clients: one that needs all the others.
const CLOSURE: &str = "perf-pkg-000";

/// What differs between the two.
struct Kind {
    protocol: &'static str,
    /// Where it is below our URL.
    place: &'static str,
    peer: &'static str,
    /// How much faster we are to publish.
    goal: f64,
}

const NPM: Kind = Kind {
    protocol: "npm",
    place: "/npm",
    peer: "verdaccio",
    goal: 5.0,
};

const CARGO: Kind = Kind {
    protocol: "cargo",
    place: "/cargo",
    peer: "cargo-http-registry",
    goal: 10.0,
};

impl Bench {
    /// npm's figures.
    ///
    /// # Errors
    /// Where something can not be measured.
    pub(super) fn npm(&mut self) -> Result<()> {
        let (ours, token) = self.published(&NPM)?;
        let abbreviated = "application/vnd.npm.install-v1+json";
        for (name, accept) in [
            (
                "packument of 1,000 versions, abbreviated, per CPU s",
                abbreviated,
            ),
            (
                "packument of 1,000 versions, full, per CPU s",
                "application/json",
            ),
        ] {
            self.document(&ours, name, "/npm/perf-many", accept)?;
        }
        self.client(&NPM, &ours, &token)
    }

    /// Cargo's figures.
    ///
    /// # Errors
    /// Where something can not be measured.
    pub(super) fn cargo(&mut self) -> Result<()> {
        let (ours, token) = self.published(&CARGO)?;
        self.document(
            &ours,
            "index of 1,000 versions, per CPU s",
            "/cargo/index/pe/rf/perf-many",
            "text/plain",
        )?;
        self.client(&CARGO, &ours, &token)
    }

    /// Publishes the corpus to ours and to the peer, and says how fast; ours goes on serving.
    fn published(&mut self, kind: &Kind) -> Result<(Server, String)> {
        let corpus = self.corpus.of(kind.protocol, &self.home)?;
        let folder = self.home.join(format!("ours-{}", kind.protocol));
        let instance = Instance::make(&self.binary, &folder)?;
        // The corpus' crates say nothing of their registry, which means the public one: ours stands in for it.
        instance.configure(
            "\n[cargo]\nstands_in_for = [\"https://github.com/rust-lang/crates.io-index\"]\n",
        )?;
        let mut ours = instance.serve()?;
        let token = instance.token().to_owned();
        ours.upload = format!("{}{}", ours.url, kind.place);
        ours.authorization = Some(match kind.protocol {
            "npm" => format!("Authorization: Bearer {token}"),
            _ => format!("Authorization: {token}"),
        });
        eprintln!("bench: publishing to ours by {}", kind.protocol);
        let own = measure(&corpus, kind, &ours, 120)?;
        let many = own.many.fifths.clone();
        self.report.add(Figure {
            name: match kind.protocol {
                "npm" => "npm: the last fifth of 1,000 versions / the first",
                _ => "Cargo: the last fifth of 1,000 versions / the first",
            },
            ours: many.last().copied().unwrap_or(f64::NAN),
            unit: "/s",
            theirs: many.first().map(|first| ("the first fifth", *first)),
            score: many.last().copied().unwrap_or(f64::NAN)
                / many.first().copied().unwrap_or(f64::NAN),
            goal: Goal::AtLeast(0.7),
            more: json!({"fifths_per_s": many, "cpu_ms_each": own.many.cpu_ms_each}),
        });
        if self.peers {
            let data = tempfile::Builder::new()
                .prefix("peer-")
                .tempdir_in(&self.home)?;
            eprintln!("bench: publishing to {}", kind.peer);
            let peer = match kind.protocol {
                "npm" => server::verdaccio(&self.home, data.path())?,
                _ => server::cargo_http_registry(&self.home, data.path())?,
            };
            let theirs = measure(&corpus, kind, &peer, if self.quick { 5 } else { 20 })?;
            for (name, own, other) in [
                (
                    match kind.protocol {
                        "npm" => "1 publisher, ours / Verdaccio",
                        _ => "1 publisher, ours / cargo-http-registry",
                    },
                    &own.lone,
                    &theirs.lone,
                ),
                (
                    match kind.protocol {
                        "npm" => "8 publishers, ours / Verdaccio",
                        _ => "8 publishers, ours / cargo-http-registry",
                    },
                    &own.eight,
                    &theirs.eight,
                ),
            ] {
                self.report.add(Figure {
                    name,
                    ours: own.per_second,
                    unit: "/s",
                    theirs: Some((peer.name, other.per_second)),
                    score: own.per_second / other.per_second,
                    goal: Goal::AtLeast(kind.goal),
                    more: json!({"ours_cpu_ms_each": own.cpu_ms_each, "theirs_cpu_ms_each": other.cpu_ms_each,
                        "ours_median_ms": own.median_ms, "theirs_many_fifths_per_s": theirs.many.fifths,
                        "ours_many_fifths_per_s": many, "cpu_ratio": other.cpu_ms_each / own.cpu_ms_each,
                        "strangers": own.strangers}),
                });
            }
        }
        Ok((ours, token))
    }

    fn document(
        &mut self,
        ours: &Server,
        name: &'static str,
        path: &str,
        accept: &str,
    ) -> Result<()> {
        let path = path.to_owned();
        let (nginx, theirs) = self.mirror(
            ours,
            "nginx-ecosystems",
            std::slice::from_ref(&path),
            accept,
        )?;
        let bytes = http::request(
            "GET",
            &format!("{}{path}", ours.url),
            &[("Accept", accept)],
            b"",
        )?
        .body
        .len();
        let rounds = duel(
            (ours, &Target::One(path)),
            (&nginx, &Target::One(theirs[0].clone())),
            accept,
            self.effort(64),
            &self.home,
        )?;
        self.against_nginx(
            name,
            &rounds,
            |read| read.per_cpu_second,
            "req/CPU s",
            0.9,
            json!({"document_bytes": bytes}),
        );
        Ok(())
    }

    /// A whole client with an empty cache gets 100 packages: from us, and from nginx over the same files.
    fn client(&mut self, kind: &Kind, ours: &Server, token: &str) -> Result<()> {
        let corpus = self.corpus.of(kind.protocol, &self.home)?;
        let folder = self.home.join(format!("nginx-{}", kind.protocol));
        let nginx = server::nginx(&folder)?;
        mirror_closure(&corpus, kind, ours, &nginx, &folder)?;
        let rounds = if self.quick { 3 } else { 7 };
        let mut ratios = Vec::new();
        let (mut own, mut other) = (Vec::new(), Vec::new());
        let meter = Meter::start(ours.pid());
        for round in 0..=rounds {
            let mine = get_all(kind, ours, &self.home, token)?;
            let theirs = get_all(kind, &nginx, &self.home, token)?;
            // The first warms up.
            if round > 0 {
                ratios.push(mine / theirs);
                own.push(mine);
                other.push(theirs);
            }
        }
        let seen = meter.stop();
        self.report.add(Figure {
            name: match kind.protocol {
                "npm" => "npm ci of 100 packages, cold, ours / nginx",
                _ => "cargo fetch of 100 packages, cold, ours / nginx",
            },
            ours: median(own),
            unit: "s",
            theirs: Some(("nginx", median(other))),
            score: median(ratios.clone()),
            goal: Goal::AtMost(1.1),
            more: json!({"ratios": ratios, "server_cpu_s_each": seen.cpu / f64::from(rounds + 1),
                "strangers": seen.strangers}),
        });
        Ok(())
    }
}

struct Runs {
    lone: super::load::Published,
    eight: super::load::Published,
    many: super::load::Published,
}

fn measure(corpus: &Corpus, kind: &Kind, server: &Server, seconds: u32) -> Result<Runs> {
    let publish = |what, range, publishers| {
        corpus.publish(
            server,
            Publishing {
                kind: what,
                range,
                publishers,
                seconds,
            },
        )
    };
    let runs = Runs {
        lone: publish("pkg", (0, 500), 1)?,
        eight: publish("pkg", (500, 1_000), 8)?,
        many: publish("many", (0, 1_000), 1)?,
    };
    ensure!(
        server.name != "countersign" || runs.many.sent == 1_000,
        "{} of 1,000 versions came to our registry by {}",
        runs.many.sent,
        kind.protocol
    );
    Ok(runs)
}

/// What the client asks of us, for nginx to answer: the same bytes but for its own address.
fn mirror_closure(
    corpus: &Corpus,
    kind: &Kind,
    ours: &Server,
    nginx: &Server,
    folder: &Path,
) -> Result<()> {
    let www = folder.join("www");
    let put = |path: &str, bytes: &[u8]| -> Result<()> {
        let place = www.join(path.trim_start_matches('/'));
        fs::create_dir_all(place.parent().context("a path has a folder")?)?;
        fs::write(place, bytes)?;
        Ok(())
    };
    let get = |path: &str| -> Result<Vec<u8>> {
        Ok(http::request(
            "GET",
            &format!("{}{path}", ours.url),
            &[("Accept", "application/vnd.npm.install-v1+json, */*;q=0.1")],
            b"",
        )?
        .expect_status(200)?
        .body)
    };
    let moved = |bytes: Vec<u8>| -> Result<Vec<u8>> {
        Ok(String::from_utf8(bytes)?
            .replace(&ours.url, &nginx.url)
            .into_bytes())
    };
    if kind.protocol == "cargo" {
        put(
            "/cargo/index/config.json",
            &moved(get("/cargo/index/config.json")?)?,
        )?;
    }
    for (name, version, file) in corpus.newest()? {
        match kind.protocol {
            "npm" => {
                put(
                    &format!("/npm/{name}/index.json"),
                    &moved(get(&format!("/npm/{name}"))?)?,
                )?;
                put(
                    &format!("/npm/{name}/-/{file}"),
                    &get(&format!("/npm/{name}/-/{file}"))?,
                )?;
            }
            _ => {
                let index = format!("/cargo/index/{}/{}/{name}", &name[0..2], &name[2..4]);
                put(&index, &get(&index)?)?;
                let config: serde_json::Value =
                    serde_json::from_slice(&get("/cargo/index/config.json")?)?;
                let template = config["dl"].as_str().context("config.json has no dl")?;
                let sha256 = get(&index)?
                    .split(|byte| *byte == b'\n')
                    .filter_map(|line| serde_json::from_slice::<serde_json::Value>(line).ok())
                    .find(|line| line["vers"] == version.as_str())
                    .and_then(|line| line["cksum"].as_str().map(str::to_owned))
                    .context("the index lacks the version")?;
                let address = download_address(template, &name, &version, &sha256);
                let path = address
                    .strip_prefix(&ours.url)
                    .context("downloads are elsewhere")?;
                put(path, &get(path)?)?;
            }
        }
    }
    Ok(())
}

/// Where cargo gets a crate.
fn download_address(template: &str, name: &str, version: &str, sha256: &str) -> String {
    if !template.contains('{') {
        return format!("{template}/{name}/{version}/download");
    }
    template
        .replace("{crate}", name)
        .replace("{version}", version)
        .replace("{sha256-checksum}", sha256)
        .replace("{lowerprefix}", &format!("{}/{}", &name[0..2], &name[2..4]))
        .replace("{prefix}", &format!("{}/{}", &name[0..2], &name[2..4]))
}

/// Seconds that the client takes, with an empty cache.
fn get_all(kind: &Kind, server: &Server, home: &Path, token: &str) -> Result<f64> {
    let place = tempfile::Builder::new()
        .prefix("client-")
        .tempdir_in(home)?;
    let at = place.path();
    let mut command = Command::new("taskset");
    command.args(["-c", LOAD_CORE]);
    match kind.protocol {
        "npm" => {
            fs::write(
                at.join("package.json"),
                json!({"name": "app", "version": "1.0.0", "dependencies": {CLOSURE: "^1.0.0"}})
                    .to_string(),
            )?;
            let host = server.url.trim_start_matches("http:");
            fs::write(
                at.join(".npmrc"),
                format!(
                    "registry={}/npm/\naudit=false\nfund=false\nupdate-notifier=false\n{host}/npm/:_authToken={token}\n",
                    server.url
                ),
            )?;
            let lock = Command::new("npm")
                .args([
                    "install",
                    "--silent",
                    "--package-lock-only",
                    "--cache",
                    "lock-cache",
                ])
                .current_dir(at)
                .stdin(Stdio::null())
                .status()?;
            ensure!(
                lock.success(),
                "npm could not make a lock file against {}",
                server.name
            );
            command.args(["npm", "ci", "--silent", "--cache", "cache"]);
        }
        _ => {
            fs::create_dir_all(at.join("src"))?;
            fs::create_dir_all(at.join(".cargo"))?;
            fs::write(at.join("src/main.rs"), "fn main() {}\n")?;
            fs::write(
                at.join("Cargo.toml"),
                format!(
                    "[package]\nname = \"app\"\nversion = \"0.1.0\"\nedition = \"2021\"\n[workspace]\n[dependencies]\n{CLOSURE} = {{ version = \"1\", registry = \"perf\" }}\n"
                ),
            )?;
            fs::write(
                at.join(".cargo/config.toml"),
                format!(
                    "[registries.perf]\nindex = \"sparse+{}/cargo/index/\"\n",
                    server.url
                ),
            )?;
            command.args(["cargo", "fetch", "--quiet"]);
            command.env("CARGO_HOME", at.join("home"));
        }
    }
    command.current_dir(at).stdin(Stdio::null());
    let begin = Instant::now();
    let output = command.output()?;
    let seconds = begin.elapsed().as_secs_f64();
    ensure!(
        output.status.success(),
        "{} failed against {}: {}",
        kind.protocol,
        server.name,
        String::from_utf8_lossy(&output.stderr)
    );
    Ok(seconds)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cargo_finds_downloads_by_the_template() {
        assert_eq!(
            download_address("http://h/dl", "abcd", "1.0.0", "ff"),
            "http://h/dl/abcd/1.0.0/download"
        );
        assert_eq!(
            download_address(
                "http://h/{sha256-checksum}/{crate}-{version}.crate",
                "abcd",
                "1.0.0",
                "ff"
            ),
            "http://h/ff/abcd-1.0.0.crate"
        );
    }
}
