//! `countersign install-check`.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use countersign::exposure::{self, Exposure};
use countersign::failure::plain;
use countersign::remote::Remote;
use countersign::trusted::TrustFile;
use countersign::{Exit, Failure};
use countersign_formats::lock::Origin;
use serde::Deserialize;
use serde_json::{Value, json};

use super::audit::{exposures, named, table};
use super::{line, remote, trust_path};
use crate::cli::{Common, InstallCheck};

/// The longest answer about a release, in bytes.
const MOST_ANSWER: usize = 8 << 20;

/// Tells what is known about what would be installed, and installs it where a command is given.
pub fn run(common: &Common, options: &InstallCheck) -> Result<(), Failure> {
    let scratch = tempfolder()?;
    let outcome = checked(common, options, &scratch);
    // What stays is only room.
    let _ = std::fs::remove_dir_all(&scratch);
    outcome?;
    if options.command.is_empty() {
        return Ok(());
    }
    let (program, arguments) = split(&options.command)?;
    let status = Command::new(program)
        .args(arguments)
        .status()
        .map_err(|error| no_tool(program, &error))?;
    if status.success() {
        return Ok(());
    }
    std::process::exit(status.code().unwrap_or(1));
}

fn split(command: &[String]) -> Result<(&str, &[String]), Failure> {
    command
        .split_first()
        .map(|(program, arguments)| (program.as_str(), arguments))
        .ok_or_else(|| Failure::new(Exit::Usage, "no-command", "There is no command."))
}

fn no_tool(program: &str, error: &std::io::Error) -> Failure {
    Failure::new(
        Exit::Environment,
        "no-tool",
        format!("{program} can not be run: {error}."),
    )
}

fn tempfolder() -> Result<PathBuf, Failure> {
    let name = format!(
        "countersign-check-{}-{:x}",
        std::process::id(),
        rand::random::<u64>()
    );
    let folder = std::env::temp_dir().join(name);
    std::fs::create_dir(&folder)
        .map_err(|error| Failure::new(Exit::Environment, "temporary", error.to_string()))?;
    Ok(folder)
}

fn checked(common: &Common, options: &InstallCheck, scratch: &Path) -> Result<(), Failure> {
    let asked = match options.lockfiles.is_empty() {
        true => resolved(&options.command, scratch)?,
        false => None,
    };
    // What was resolved lies elsewhere; the project is here.
    let elsewhere = asked.is_some();
    let paths = match asked {
        Some(path) => vec![path],
        None => named(&options.lockfiles)?,
    };
    let (_, mut exposures) = exposures(common, &options.advisories, &paths, &[])?;
    if options.reach {
        for exposure in &mut exposures {
            match elsewhere {
                true => exposure.survey_from(Path::new("."), &options.packages),
                false => exposure.survey(&options.packages),
            }
        }
    }
    let trust = TrustFile::load(&trust_path(common)?)?;
    let registry = match trust.registry(common.registry.as_ref()) {
        Ok(pinned) if !options.advisories.offline => Some(remote(common, &pinned.url)?),
        _ => None,
    };
    let mut withheld = Vec::new();
    if let Some(registry) = &registry {
        for exposure in &exposures {
            withheld.extend(held_back(exposure, registry)?);
        }
    }
    let vulnerable: usize = exposures.iter().map(|e| e.counted().count()).sum();
    if common.json {
        let files: Vec<Value> = exposures.iter().map(Exposure::json).collect();
        line(&json!({"checked": {"lockfiles": files, "withheld": withheld}}).to_string());
    } else {
        exposures.iter().for_each(table);
        for (purl, why) in &withheld {
            line(&format!(
                "  ✗  withheld       {}: {}",
                plain(purl),
                plain(why)
            ));
        }
    }
    if vulnerable + withheld.len() == 0 {
        return Ok(());
    }
    if options.warn {
        eprintln!(
            "countersign: {vulnerable} known vulnerabilities and {} withheld releases would be installed.",
            withheld.len()
        );
        return Ok(());
    }
    Err(Failure::unverified(
        "install-check",
        format!(
            "{vulnerable} known vulnerabilities and {} withheld releases would be installed; nothing was.",
            withheld.len()
        ),
    )
    .remedy("Take other versions, or add --warn to install all the same."))
}

/// What the registry holds back of what would be installed, and why.
fn held_back(exposure: &Exposure, registry: &Remote) -> Result<Vec<(String, String)>, Failure> {
    #[derive(Deserialize)]
    struct Told {
        #[serde(default)]
        artifacts: Vec<ToldFile>,
    }
    #[derive(Deserialize)]
    struct ToldFile {
        state: String,
    }
    let mut held = Vec::new();
    for (at, entry) in exposure.lock.entries.iter().enumerate() {
        let Some(version) = &entry.version else {
            continue;
        };
        match &entry.origin {
            Origin::Index(None) => {}
            Origin::Index(Some(address)) if address.contains(registry.site()) => {}
            _ => continue,
        }
        let escape = |text: &str| {
            let text: String = url::form_urlencoded::byte_serialize(text.as_bytes()).collect();
            text.replace('+', "%20")
        };
        let path = format!(
            "/api/v1/projects/{}/{}/releases/{}",
            entry.ecosystem,
            escape(entry.name_key.as_str()),
            escape(version)
        );
        let told = match registry.find(&path, MOST_ANSWER) {
            Ok(told) => told,
            // That is an answer about the release; who asks is not known well enough for a 401.
            Err(failure) if failure.message.contains(" answers 403") => {
                held.push((exposure.purl(at), failure.message));
                continue;
            }
            Err(failure) => return Err(failure),
        };
        let told = told.and_then(|body| serde_json::from_slice::<Told>(&body).ok());
        let state = told
            .iter()
            .flat_map(|told| &told.artifacts)
            .find(|file| file.state != "live");
        if let Some(file) = state {
            held.push((
                exposure.purl(at),
                format!("the registry says that it is {}", file.state),
            ));
        }
    }
    Ok(held)
}

/// What a command would install, as a lock file of ours; none for commands that can not be asked.
fn resolved(command: &[String], scratch: &Path) -> Result<Option<PathBuf>, Failure> {
    let words: Vec<&str> = command.iter().map(String::as_str).collect();
    let base = words.first().map(|program| {
        Path::new(program)
            .file_name()
            .unwrap_or_default()
            .to_string_lossy()
    });
    let failed = |why: String| {
        Failure::new(
            Exit::Environment,
            "not-resolved",
            format!("What would be installed can not be told: {why}"),
        )
        .remedy("Name a lock file instead.")
    };
    match (base.as_deref(), words.get(1).copied()) {
        (Some("pip" | "pip3"), Some("install")) => pip(&words[..1], &words[2..], scratch, failed),
        (Some(program), Some("-m"))
            if program.starts_with("python")
                && words.get(2..4) == Some(&["pip", "install"][..]) =>
        {
            pip(&words[..3], &words[4..], scratch, failed)
        }
        (Some("npm"), Some("install" | "i" | "add")) => {
            for name in ["package.json", "package-lock.json", ".npmrc"] {
                match std::fs::copy(name, scratch.join(name)) {
                    Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                        return Err(failed(format!("{name}: {error}.")));
                    }
                    _ => {}
                }
            }
            let output = Command::new(words[0])
                .args(&words[1..])
                .args([
                    "--package-lock-only",
                    "--ignore-scripts",
                    "--no-audit",
                    "--no-fund",
                ])
                .current_dir(scratch)
                .stdin(Stdio::null())
                .output()
                .map_err(|error| no_tool(words[0], &error))?;
            if !output.status.success() {
                return Err(failed(told(&output.stderr)));
            }
            Ok(Some(scratch.join("package-lock.json")))
        }
        _ => Ok(None),
    }
}

/// Of wheels only: a source would have to be built to be asked, which runs its code.
fn pip(
    program: &[&str],
    arguments: &[&str],
    scratch: &Path,
    failed: impl Fn(String) -> Failure,
) -> Result<Option<PathBuf>, Failure> {
    #[derive(Deserialize)]
    struct Report {
        #[serde(default)]
        install: Vec<Installed>,
    }
    #[derive(Deserialize)]
    struct Installed {
        metadata: Metadata,
        download_info: Option<Download>,
    }
    #[derive(Deserialize)]
    struct Metadata {
        name: String,
        version: String,
    }
    #[derive(Deserialize)]
    struct Download {
        archive_info: Option<Archive>,
    }
    #[derive(Deserialize)]
    struct Archive {
        #[serde(default)]
        hashes: std::collections::BTreeMap<String, String>,
    }
    let report = scratch.join("report.json");
    let output = Command::new(program[0])
        .args(&program[1..])
        .args([
            "install",
            "--dry-run",
            "--quiet",
            "--only-binary",
            ":all:",
            "--report",
        ])
        .arg(&report)
        .args(arguments)
        .stdin(Stdio::null())
        .output()
        .map_err(|error| no_tool(program[0], &error))?;
    if !output.status.success() {
        return Err(failed(told(&output.stderr)));
    }
    let bytes = countersign::bundle::read(&report, countersign_formats::lock::MAX_LOCK)?;
    let report: Report =
        serde_json::from_slice(&bytes).map_err(|error| failed(error.to_string()))?;
    let mut text = String::new();
    for installed in report.install {
        text.push_str(&format!(
            "{}=={}",
            installed.metadata.name, installed.metadata.version
        ));
        let archive = installed.download_info.and_then(|info| info.archive_info);
        if let Some(sha256) = archive.and_then(|archive| archive.hashes.get("sha256").cloned()) {
            text.push_str(&format!(" --hash=sha256:{sha256}"));
        }
        text.push('\n');
    }
    let path = scratch.join("requirements.txt");
    std::fs::write(&path, text).map_err(|error| failed(error.to_string()))?;
    // Read at once: names and versions are foreign text.
    exposure::read(&path)?;
    Ok(Some(path))
}

fn told(stderr: &[u8]) -> String {
    let text = String::from_utf8_lossy(stderr);
    let lines: Vec<String> = text
        .lines()
        .map(plain)
        .filter(|line| !line.trim().is_empty())
        .collect();
    lines.join(" ").chars().take(1500).collect()
}
