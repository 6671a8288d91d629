//! What attestations cost at upload: the server's CPU time for an upload with two of them, less that for one without.

use std::fs;
use std::path::Path;

use anyhow::{Context, Result, ensure};
use countersign_testkit::claims;
use countersign_testkit::packages::{Package, Wheel};
use countersign_testkit::server::publish;
use countersign_testkit::sigstore::{Identity, PrivateSigstore, statements};
use serde_json::{Value, json};

use super::exchange::Pinned;
use super::load::{LOAD_CORE, median};
use super::machine::Meter;
use super::report::{Figure, Goal, Report};
use super::server::{Instance, Server};

const FORGE: &str = "https://github.com";
const ISSUER: &str = "https://token.actions.githubusercontent.com";

/// Releases of one project before the next begins, so that long project pages do not weigh in.
const RELEASES: usize = 25;

/// Measures and adds the figure.
///
/// # Errors
/// Where an upload is refused, or anything can not be measured.
pub(super) fn measure(binary: &Path, home: &Path, quick: bool, report: &mut Report) -> Result<()> {
    let _pinned = Pinned::to(LOAD_CORE)?;
    let (rounds, projects) = if quick { (3, 2) } else { (9, 8) };
    let data = home.join("attested");
    let instance = Instance::make(binary, &data)?;
    let token = fs::read_to_string(data.join("bench-token"))?;
    let sigstore = PrivateSigstore::new("bench");
    let root = sigstore.write_trusted_root(&data)?;
    let root = root.to_str().context("the folder's name is text")?;
    instance.administer(&["trust-root", "add", "bench", root])?;
    let server = instance.serve()?;
    let job = claims::github("octo/sample", "release.yml");
    let identity = Identity::github(ISSUER, FORGE, &job);
    let stage = Stage {
        server,
        token: token.trim().to_owned(),
    };
    eprintln!("bench: uploads with two attestations, beside uploads without");
    let (mut with, mut without, mut strangers) = (Vec::new(), Vec::new(), Vec::new());
    for round in 0..rounds {
        let count = projects * RELEASES;
        let mut plain = Vec::with_capacity(count);
        let mut attested = Vec::with_capacity(count);
        for project in 0..projects {
            let (bare, full) = (
                format!("bare-{round}-{project}"),
                format!("full-{round}-{project}"),
            );
            for name in [&bare, &full] {
                stage.upload(&Wheel::new(name, "0.1").build(), None)?;
            }
            let subject = format!("pypi:{full}");
            let words = ["provenance", "policy", &subject, "--trust"];
            let repository = format!("{FORGE}/octo/sample");
            let words = [&words[..], &[&repository, "--issuer", ISSUER]].concat();
            instance.administer(&words)?;
            for release in 0..RELEASES {
                let version = format!("1.{release}");
                plain.push((Wheel::new(&bare, &version).build(), None));
                let package = Wheel::new(&full, &version).build();
                let (name, bytes) = (&package.filename, &package.bytes);
                let both = [
                    statements::pypi_publish(name, bytes),
                    statements::slsa_v1(name, bytes, &identity),
                ];
                let signed: Vec<Value> = both
                    .iter()
                    .map(|statement| sigstore.sign_attestation(&identity, statement))
                    .collect();
                attested.push((package, Some(Value::from(signed).to_string())));
            }
        }
        // Which comes first changes with each round.
        let mut sets = [(&attested, &mut with), (&plain, &mut without)];
        if round % 2 == 1 {
            sets.reverse();
        }
        for (uploads, found) in sets {
            let meter = Meter::start(stage.server.pid());
            for (package, attestations) in uploads {
                stage.upload(package, attestations.as_deref())?;
            }
            let seen = meter.stop();
            found.push(seen.cpu * 1e3 / count as f64);
            strangers.push(seen.strangers);
        }
    }
    let more: Vec<f64> = with
        .iter()
        .zip(&without)
        .map(|(with, without)| with - without)
        .collect();
    report.add(Figure {
        name: "upload with two attestations, more CPU than without",
        ours: median(with.iter().copied()),
        unit: "ms CPU",
        theirs: Some(("without, ms CPU", median(without.iter().copied()))),
        score: median(more.iter().copied()),
        goal: Goal::AtMost(1.5),
        more: json!({
            "more_ms": more.iter().map(|ms| (ms * 1e3).round() / 1e3).collect::<Vec<_>>(),
            "uploads_each": projects * RELEASES, "rounds": rounds, "strangers": median(strangers),
        }),
    });
    Ok(())
}

struct Stage {
    server: Server,
    token: String,
}

impl Stage {
    fn upload(&self, package: &Package, attestations: Option<&str>) -> Result<()> {
        let fields: Vec<(&str, &str)> = attestations
            .map(|text| ("attestations", text))
            .into_iter()
            .collect();
        let answer = publish(&self.server.upload, package, &self.token, &fields)?;
        ensure!(
            answer.status == 200,
            "{} was refused: {}",
            package.filename,
            answer.text()
        );
        Ok(())
    }
}
