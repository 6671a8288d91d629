//! Verifying Sigstore bundles: beside the Python and JavaScript libraries on the same bundle, and beside the bare cost
//! of the signatures in it. Everything is per second of the processor's time of one thread, on one core, with the trust
//! root ready; a bundle is parsed anew each time.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, ensure};
use serde_json::{Value, json};

use super::report::{Figure, Goal, Report};
use super::server::{checked, environment};

/// A publish attestation of Python: certificate, promise and checkpoint of the first log, envelope.
const BUNDLE: &str = "bundles/pep740-prov-sampleproject-4.0.0.tar.gz.provenance-0.sigstore.json";
const DIGEST: &str = "sha256:0ace7980f82c5815ede4cd7bf9f6693684cec2ae47b9b7ade9add533b8627c6b";

/// Counts with the library from PyPI.
const PYTHON: &str = "\
import json, logging, sys, time
from pathlib import Path
from sigstore.models import Bundle, TrustedRoot
from sigstore.verify import Verifier, policy
logging.disable(logging.CRITICAL)
root, bundle, seconds = sys.argv[1], Path(sys.argv[2]).read_text(), float(sys.argv[3])
verifier = Verifier(trusted_root=TrustedRoot.from_file(root))
def one():
    verifier.verify_dsse(Bundle.from_json(bundle), policy.UnsafeNoOp())
one()
best = 0.0
for _ in range(5):
    begin, count = time.thread_time(), 0
    while time.thread_time() - begin < seconds / 5:
        one()
        count += 1
    best = max(best, count / (time.thread_time() - begin))
print(json.dumps({'warm': best}))
";

/// Counts with npm's library.
const JAVASCRIPT: &str = "\
const fs = require('fs');
const { bundleFromJSON } = require('@sigstore/bundle');
const { Verifier, toSignedEntity, toTrustMaterial } = require('@sigstore/verify');
const { TrustedRoot } = require('@sigstore/protobuf-specs');
const [root, bundle, seconds] = process.argv.slice(-3);
const trust = toTrustMaterial(TrustedRoot.fromJSON(JSON.parse(fs.readFileSync(root))));
const verifier = new Verifier(trust, {});
const text = fs.readFileSync(bundle, 'utf8');
const one = () => verifier.verify(toSignedEntity(bundleFromJSON(JSON.parse(text))));
const cpu = () => process.cpuUsage().user + process.cpuUsage().system;
one();
let best = 0;
for (let run = 0; run < 5; run++) {
  const begin = cpu();
  let count = 0;
  while (cpu() - begin < Number(seconds) * 200000) { one(); count++; }
  best = Math.max(best, count * 1e6 / (cpu() - begin));
}
console.log(JSON.stringify({ warm: best }));
";

/// Measures and adds the figures of verification.
///
/// # Errors
/// Where a library does not take the bundle, or anything can not be measured.
pub(super) fn measure(
    home: &Path,
    vectors: &Path,
    quick: bool,
    peers: bool,
    report: &mut Report,
) -> Result<()> {
    let (root, bundle) = (vectors.join("trusted_root_prod.json"), vectors.join(BUNDLE));
    ensure!(bundle.is_file(), "{} is not there", bundle.display());
    let seconds = if quick { "1" } else { "5" };
    let ours = told(
        Command::new(example()?)
            .args([&root, &bundle])
            .args([DIGEST, seconds]),
    )?;
    let value = |name: &str| ours[name].as_f64().context("the counter told no number");
    // What is in the bundle: envelope, promise, checkpoint and certificate log on P-256; the authority's on P-384.
    let bare = 1.0 / (4.0 / value("p256")? + 1.0 / value("p384")?);
    report.add(Figure {
        name: "sigstore: against its bare signatures",
        ours: value("warm")?,
        unit: "/CPU s",
        theirs: Some(("bare", bare)),
        score: bare / value("warm")?,
        goal: Goal::AtMost(2.0),
        more: json!({
            "with the root parsed each time": value("cold")?,
            "parsing alone": value("parse")?,
            "P-256": value("p256")?,
            "P-384": value("p384")?,
        }),
    });
    if !peers {
        return Ok(());
    }
    let script = home.join("sigstore_rate.py");
    std::fs::write(&script, PYTHON)?;
    let python = environment(home, "sigstore", &["sigstore==4.5.1"])?.join("bin/python");
    let theirs = told(
        Command::new(python)
            .arg(&script)
            .args([&root, &bundle])
            .arg(seconds),
    )?;
    beside(
        "sigstore: against Python",
        "Python",
        &ours,
        &theirs,
        2.5,
        report,
    )?;
    let folder = javascript(home)?;
    std::fs::write(folder.join("rate.js"), JAVASCRIPT)?;
    let theirs = told(
        Command::new("node")
            .arg("rate.js")
            .args([&root, &bundle])
            .arg(seconds)
            .current_dir(&folder),
    )?;
    beside(
        "sigstore: against JavaScript",
        "JavaScript",
        &ours,
        &theirs,
        15.0,
        report,
    )
}

fn beside(
    name: &'static str,
    library: &'static str,
    ours: &Value,
    theirs: &Value,
    goal: f64,
    report: &mut Report,
) -> Result<()> {
    let rate = |told: &Value| told["warm"].as_f64().context("the counter told no number");
    let (ours, theirs) = (rate(ours)?, rate(theirs)?);
    report.add(Figure {
        name,
        ours,
        unit: "/CPU s",
        theirs: Some((library, theirs)),
        score: ours / theirs,
        goal: Goal::AtLeast(goal),
        more: json!({}),
    });
    Ok(())
}

/// The last line of what a counter prints, as JSON.
fn told(command: &mut Command) -> Result<Value> {
    let text = checked(command)?;
    let line = text.lines().last().context("a counter printed nothing")?;
    Ok(serde_json::from_str(line)?)
}

/// Our counter, built as releases are.
fn example() -> Result<PathBuf> {
    let root = crate::arch::root();
    checked(
        Command::new("cargo")
            .args(["build", "--release", "--package", "countersign-trust"])
            .args(["--example", "sigstore_rate"])
            .current_dir(&root),
    )?;
    let target =
        std::env::var_os("CARGO_TARGET_DIR").map_or_else(|| root.join("target"), PathBuf::from);
    Ok(target.join("release/examples/sigstore_rate"))
}

fn javascript(home: &Path) -> Result<PathBuf> {
    let folder = home.join("npm-sigstore");
    if !folder.join("node_modules/sigstore").exists() {
        std::fs::create_dir_all(&folder)?;
        std::fs::write(folder.join("package.json"), "{\"private\":true}")?;
        let install = [
            "install",
            "--no-audit",
            "--no-fund",
            "--silent",
            "sigstore@4",
        ];
        checked(Command::new("npm").args(install).current_dir(&folder))?;
    }
    Ok(folder)
}
