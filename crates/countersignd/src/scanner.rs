//! Starts a worker for each file that waits for its scan: a process of its own, that gets the bytes through a pipe.

use std::path::{Path, PathBuf};
use std::process::{ExitStatus, Stdio};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use bytes::Bytes;
use countersign_registry::scan::{Outcome, ScanRequest};
use countersign_registry::{Registry, ScanFault, Scanner};
use futures::future::BoxFuture;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::process::Command;
use tokio::sync::Mutex;

use crate::config::Config;
use crate::failure::Failure;
use crate::scan_worker::{self, BAD_RULES, LARGEST_PREPARED, YARA, is_yara};

/// The longest answer of a worker, in bytes.
const LONGEST_ANSWER: u64 = 8 << 20;
/// The longest complaint of a worker that is kept, in bytes.
const LONGEST_COMPLAINT: u64 = 4 << 10;
/// A worker that has not answered by then is killed.
const PATIENCE: Duration = Duration::from_secs(300);
/// How often it is looked whether something waits.
const LOOK: Duration = Duration::from_secs(1);

/// Workers, one a file.
pub struct Workers {
    rules: PathBuf,
    prepared: Mutex<Option<Prepared>>,
}

/// Files of rules, and what a worker made of them.
struct Prepared {
    files: Vec<RuleFile>,
    bytes: Bytes,
}

/// A file of rules, as it was when it was looked at.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord)]
struct RuleFile {
    path: PathBuf,
    size: u64,
    changed: Option<SystemTime>,
}

/// Why rules are not ready.
enum Unready {
    /// They can not be used.
    Rules(String),
    /// It is not known whether they can.
    Fault(ScanFault),
}

impl From<Unready> for ScanFault {
    fn from(unready: Unready) -> Self {
        match unready {
            Unready::Rules(why) => Self(format!("the rules can not be used: {why}")),
            Unready::Fault(fault) => fault,
        }
    }
}

fn fault(what: &str) -> impl FnOnce(std::io::Error) -> ScanFault {
    let what = what.to_owned();
    move |error| ScanFault(format!("{what}: {error}"))
}

impl Workers {
    /// Rules of the operator's own are read from `scan.rules`.
    pub fn new(config: &Config) -> Arc<Self> {
        Arc::new(Self {
            rules: config.scan_rules.clone(),
            prepared: Mutex::default(),
        })
    }

    /// Are the rules good? How many files of them there are besides those that come along.
    ///
    /// # Errors
    /// Files of rules that can not be used, with the way out; and a worker that does not work here.
    pub async fn check(&self) -> Result<usize, Failure> {
        let folder = self.rules.display();
        match self.prepare().await {
            Ok((files, _)) => Ok(files.len()),
            Err(Unready::Rules(why)) => {
                let way_out = if YARA {
                    format!("Mend the file, or take it out of {folder}.")
                } else {
                    format!(
                        "Mend the file, or take it out of {folder}. Files of YARA rules (.yar, .yara) take a countersignd that was built \
                         with them: cargo build --release -p countersignd --features yara"
                    )
                };
                let why = why.trim_end_matches('.');
                let told = format!("The scanner's rules can not be used: {why}.");
                Err(Failure::usage("scan-rules", told).remedy(way_out))
            }
            Err(Unready::Fault(ScanFault(why))) => Err(Failure::environment(
                "scanner",
                format!("The scanner does not work here: {}.", why.trim_end_matches('.')),
            )
            .remedy(
                "It takes Linux with Landlock and seccomp, and the right to use them. Until then files that wait for their scan are \
                 not served; scan.enabled = false does without.",
            )),
        }
    }

    /// The files of rules there are, in order.
    fn rules(&self) -> std::io::Result<Vec<RuleFile>> {
        let mut files = Vec::new();
        match std::fs::read_dir(&self.rules) {
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(files),
            Err(error) => return Err(error),
            Ok(entries) => {
                for entry in entries {
                    let path = entry?.path();
                    if path.extension().is_some_and(|ending| ending == "toml") || is_yara(&path) {
                        let of = std::fs::metadata(&path)?;
                        files.push(RuleFile {
                            size: of.len(),
                            changed: of.modified().ok(),
                            path,
                        });
                    }
                }
            }
        }
        files.sort();
        Ok(files)
    }

    /// The files of rules, and what they were made into: once, and again when one of them changes.
    async fn prepare(&self) -> Result<(Vec<RuleFile>, Bytes), Unready> {
        let files = self
            .rules()
            .map_err(fault("the folder of rules can not be read"))
            .map_err(Unready::Fault)?;
        let mut prepared = self.prepared.lock().await;
        if let Some(known) = prepared.as_ref().filter(|known| known.files == files) {
            return Ok((files, known.bytes.clone()));
        }
        if let Some(file) = files.iter().find(|file| !YARA && is_yara(&file.path)) {
            let path = file.path.display();
            return Err(Unready::Rules(format!("{path}: this build has no YARA")));
        }
        let mut arguments = vec!["--prepare".into()];
        arguments.extend(named(files.iter().map(|file| file.path.as_path())));
        let ended = run(&arguments, Vec::new(), LARGEST_PREPARED)
            .await
            .map_err(Unready::Fault)?;
        if ended.status.code() == Some(i32::from(BAD_RULES)) {
            return Err(Unready::Rules(ended.complaint));
        }
        let bytes = Bytes::from(ended.answer().map_err(Unready::Fault)?);
        *prepared = Some(Prepared {
            files: files.clone(),
            bytes: bytes.clone(),
        });
        Ok((files, bytes))
    }

    async fn look(&self, request: &ScanRequest, bytes: Bytes) -> Result<Outcome, ScanFault> {
        let (files, prepared) = self.prepare().await?;
        let mut line = serde_json::to_vec(request).map_err(|error| ScanFault(error.to_string()))?;
        line.push(b'\n');
        let mut arguments = vec!["--prepared".into(), prepared.len().to_string().into()];
        // Those of YARA are in what was prepared.
        let others = files.iter().map(|file| file.path.as_path());
        arguments.extend(named(others.filter(|path| !is_yara(path))));
        let input = vec![Bytes::from(line), prepared, bytes];
        let answer = run(&arguments, input, LONGEST_ANSWER).await?.answer()?;
        serde_json::from_slice(&answer)
            .map_err(|error| ScanFault(format!("the scanner's answer can not be read: {error}")))
    }
}

fn named<'a>(files: impl Iterator<Item = &'a Path>) -> impl Iterator<Item = std::ffi::OsString> {
    files.flat_map(|path| ["--rules".into(), path.as_os_str().to_owned()])
}

/// How a worker ended.
struct Ended {
    status: ExitStatus,
    answer: Vec<u8>,
    complaint: String,
}

impl Ended {
    fn answer(self) -> Result<Vec<u8>, ScanFault> {
        if self.status.success() {
            return Ok(self.answer);
        }
        if self.status.code() == Some(i32::from(scan_worker::TOO_LONG)) {
            return Err(ScanFault(self.complaint));
        }
        let why = if self.complaint.is_empty() {
            "it says nothing, as when it takes more time or memory than it may"
        } else {
            &self.complaint
        };
        let status = self.status;
        Err(ScanFault(format!("the scanner ended with {status}: {why}")))
    }
}

/// Runs a worker.
async fn run(
    arguments: &[std::ffi::OsString],
    input: Vec<Bytes>,
    longest: u64,
) -> Result<Ended, ScanFault> {
    let own = std::env::current_exe().map_err(fault("the scanner's program is unknown"))?;
    let mut command = Command::new(own);
    // Secrets of the server stand in its environment.
    command
        .arg("scan-worker")
        .args(arguments)
        .env_clear()
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .kill_on_drop(true);
    let mut worker = command
        .spawn()
        .map_err(fault("the scanner can not be started"))?;
    let (Some(mut stdin), Some(stdout), Some(stderr)) = (
        worker.stdin.take(),
        worker.stdout.take(),
        worker.stderr.take(),
    ) else {
        return Err(ScanFault("the scanner has no pipes".to_owned()));
    };
    let write = async move {
        for bytes in input {
            // A worker that gave up says why; that it reads no more says nothing.
            if stdin.write_all(&bytes).await.is_err() {
                break;
            }
        }
    };
    let read = async {
        let (mut answer, mut complaint) = (Vec::new(), Vec::new());
        let (mut stdout, mut stderr) = (stdout.take(longest), stderr.take(LONGEST_COMPLAINT));
        let both = tokio::join!(
            stdout.read_to_end(&mut answer),
            stderr.read_to_end(&mut complaint)
        );
        both.0.and(both.1).map(|_| (answer, complaint))
    };
    let all = async {
        let ((), read) = tokio::join!(write, read);
        let status = worker.wait().await?;
        read.map(|(answer, complaint)| (status, answer, complaint))
    };
    let (status, answer, complaint) = tokio::time::timeout(PATIENCE, all)
        .await
        .map_err(|_| ScanFault(format!("the scanner did not answer within {PATIENCE:?}")))?
        .map_err(fault("the scanner can not be heard"))?;
    Ok(Ended {
        status,
        answer,
        complaint: String::from_utf8_lossy(&complaint).trim().to_owned(),
    })
}

impl Scanner for Workers {
    fn scan<'a>(
        &'a self,
        request: &'a ScanRequest,
        bytes: Bytes,
    ) -> BoxFuture<'a, Result<Outcome, ScanFault>> {
        Box::pin(self.look(request, bytes))
    }
}

/// Scans what waits, for as long as the process serves. While the scanner does not work no scan is begun: none of the attempts that a file
/// has is lost to it, and what waits is scanned once the rules are mended.
pub async fn keep_scanning(registry: Registry, workers: Arc<Workers>) {
    let mut told = None;
    loop {
        if let Err(failure) = workers.check().await {
            let why = failure.to_string();
            if told.as_ref() != Some(&why) {
                tracing::error!(code = failure.code, "{why}");
                told = Some(why);
            }
            tokio::time::sleep(LOOK * 5).await;
            continue;
        }
        if told.take().is_some() {
            tracing::info!("the scanner works again");
        }
        match registry.scan_next(&*workers).await {
            Ok(true) => {}
            Ok(false) => tokio::time::sleep(LOOK).await,
            Err(error) => {
                tracing::warn!(%error, "what waits for its scan could not be read; it is tried again");
                tokio::time::sleep(LOOK * 10).await;
            }
        }
    }
}
