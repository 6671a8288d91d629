//! `countersignd scan`: what the scanner would find in files, without a registry.

use std::path::Path;
use std::time::{Duration, Instant};

use bytes::Bytes;
use countersign_formats::Ecosystem;
use countersign_registry::scan::{Outcome, ScanRequest};
use countersign_registry::{ScanFault, Scanner as _};
use serde_json::json;

use crate::cli::{Common, ScanFiles};
use crate::config::{Config, Overrides};
use crate::failure::{Exit, Failure};
use crate::report;
use crate::scanner::Workers;

/// The largest file that is read, in bytes; the worker takes no larger ones.
const LARGEST: u64 = 256 << 20;

/// Looks at each file in turn.
///
/// # Errors
/// Rules that can not be used, files that could not be looked at, and, told last, files that would be withheld.
pub async fn run(common: &Common, options: &ScanFiles) -> Result<(), Failure> {
    let config = Config::load(
        &common.data,
        common.config.as_deref(),
        &Overrides::default(),
    )?;
    let workers = Workers::new(&config);
    workers.check().await?;
    let (mut held, mut unscanned, mut bytes, mut took) = (0, 0, 0, Duration::ZERO);
    let mut told = Vec::new();
    for path in &options.files {
        let shown = path.display().to_string();
        let begin = Instant::now();
        let outcome = look(&workers, &config, path).await?;
        took += begin.elapsed();
        let value = match &outcome {
            Ok(outcome) => {
                bytes += outcome.scanned;
                let hold = outcome.score() >= config.scan.hold_at;
                held += usize::from(hold);
                json!({"file": shown, "score": outcome.score(), "held": hold,
                    "findings": outcome.findings, "scanned": outcome.scanned})
            }
            Err(ScanFault(why)) => {
                unscanned += 1;
                json!({"file": shown, "problem": why})
            }
        };
        if common.json {
            told.push(value);
        } else {
            tell(&shown, &outcome);
        }
    }
    let files = options.files.len();
    let seconds = took.as_secs_f64();
    if common.json {
        report::json(&json!({"files": told, "held": held, "unscanned": unscanned,
            "scanned": bytes, "seconds": seconds}));
    } else {
        report::line(&format!(
            "{files} files, {:.1} MB unpacked in {seconds:.1} s: {held} would be withheld, {unscanned} could not be looked at.",
            bytes as f64 / 1e6
        ));
    }
    if unscanned > 0 {
        return Err(Failure::new(
            Exit::Verification,
            "scan-failed",
            format!("{unscanned} of {files} files could not be looked at."),
        ));
    }
    if held > 0 {
        return Err(Failure::new(
            Exit::Refused,
            "scan-held",
            format!("{held} of {files} files would be withheld."),
        ));
    }
    Ok(())
}

async fn look(
    workers: &Workers,
    config: &Config,
    path: &Path,
) -> Result<Result<Outcome, ScanFault>, Failure> {
    let unusable = |why: String| {
        Failure::usage(
            "scan-file",
            format!("{} can not be scanned: {why}.", path.display()),
        )
    };
    let filename = path
        .file_name()
        .and_then(|name| name.to_str())
        .unwrap_or_default();
    let ecosystem = Ecosystem::of_filename(filename).ok_or_else(|| {
        unusable("its name is none of a package".to_owned())
            .remedy("Names end with .whl, .tar.gz, .zip, .crate or .tgz.")
    })?;
    let size = std::fs::metadata(path)
        .map_err(|error| unusable(error.to_string()))?
        .len();
    if size > LARGEST {
        return Err(unusable(format!("it has more than {LARGEST} bytes")));
    }
    let bytes = std::fs::read(path).map_err(|error| unusable(error.to_string()))?;
    let request = ScanRequest {
        ecosystem,
        filename: filename.to_owned(),
        size: bytes.len() as u64,
        previous: None,
        max_unpacked: config.limits.max_unpacked,
    };
    Ok(workers.scan(&request, Bytes::from(bytes)).await)
}

fn tell(file: &str, outcome: &Result<Outcome, ScanFault>) {
    match outcome {
        Err(ScanFault(why)) => report::line(&format!("  ?  {file}: {why}")),
        Ok(outcome) => {
            report::line(&format!("{:3}  {file}", outcome.score()));
            for finding in &outcome.findings {
                report::line(&format!(
                    "     {:3}  {} ({}), {}:{}: {}",
                    finding.score,
                    finding.title,
                    finding.rule,
                    finding.path,
                    finding.line,
                    finding.snippet
                ));
            }
        }
    }
}
