//! `countersign sbom`.

use std::path::{Path, PathBuf};

use countersign::sbom::{Bill, Form, Subject};
use countersign::trusted::TrustFile;
use countersign::{Exit, Failure, exposure};
use serde_json::json;

use super::audit::{named, timestamp};
use super::{line, notes, remote, trust_path};
use crate::cli::{Common, Sbom, SbomForm};

/// Writes a bill of materials.
pub fn run(common: &Common, options: &Sbom) -> Result<(), Failure> {
    let paths = named(&options.lockfiles)?;
    let mut bill = Bill::new();
    for path in &paths {
        let (_, lock, graph) = exposure::read(path)?;
        bill.add(&lock, &graph);
    }
    let note = notes(common);
    if options.ask {
        let trust = TrustFile::load(&trust_path(common)?)?;
        let pinned = trust.registry(common.registry.as_ref())?;
        let known = bill.ask(&remote(common, &pinned.url)?)?;
        note(&format!(
            "{known} of {} packages are the registry's, by their digests.",
            bill.len()
        ));
    }
    let form = match options.form {
        SbomForm::Cyclonedx => Form::CycloneDx,
        SbomForm::Spdx => Form::Spdx,
    };
    let document = bill.document(
        form,
        &Subject {
            name: options.name.clone().unwrap_or_else(|| folder(&paths)),
            version: options.project_version.clone(),
            time: timestamp(),
        },
    );
    let text = format!("{document:#}");
    match &options.output {
        None => line(&text),
        Some(path) => {
            std::fs::write(path, format!("{text}\n")).map_err(|error| {
                Failure::new(
                    Exit::Usage,
                    "file-unwritable",
                    format!("{} can not be written: {error}.", path.display()),
                )
            })?;
            if common.json {
                line(
                    &json!({"sbom": {"path": path.display().to_string(), "components": bill.len()}})
                        .to_string(),
                );
            } else {
                line(&format!("✓ {}: {} packages", path.display(), bill.len()));
            }
        }
    }
    Ok(())
}

/// The name of the folder in which the first lock file lies.
fn folder(paths: &[PathBuf]) -> String {
    let first = paths
        .first()
        .and_then(|path| std::fs::canonicalize(path).ok());
    first
        .as_deref()
        .and_then(Path::parent)
        .and_then(Path::file_name)
        .map_or("project".to_owned(), |name| {
            name.to_string_lossy().into_owned()
        })
}
