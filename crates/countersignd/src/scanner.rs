//! Starts a worker for each file that waits for its scan: a process of its own, that gets the bytes through a pipe.

use std::path::PathBuf;
use std::process::Stdio;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use countersign_registry::scan::{Outcome, ScanRequest};
use countersign_registry::{Registry, ScanFault, Scanner};
use futures::future::BoxFuture;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::process::Command;

use crate::config::Config;

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
}

impl Workers {
    /// Rules of the operator's own are read from `scan-rules` in the data directory.
    pub fn new(config: &Config) -> Arc<Self> {
        Arc::new(Self {
            rules: config.data.join("scan-rules"),
        })
    }

    fn rules(&self) -> std::io::Result<Vec<PathBuf>> {
        let mut files = Vec::new();
        match std::fs::read_dir(&self.rules) {
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(files),
            Err(error) => return Err(error),
            Ok(entries) => {
                for entry in entries {
                    let path = entry?.path();
                    if path.extension().is_some_and(|ending| ending == "toml") {
                        files.push(path);
                    }
                }
            }
        }
        files.sort();
        Ok(files)
    }

    async fn look(&self, request: &ScanRequest, bytes: Bytes) -> Result<Outcome, ScanFault> {
        let fault = |what: &str| {
            let what = what.to_owned();
            move |error: std::io::Error| ScanFault(format!("{what}: {error}"))
        };
        let own = std::env::current_exe().map_err(fault("the scanner's program is unknown"))?;
        let mut command = Command::new(own);
        command.arg("scan-worker");
        for file in self
            .rules()
            .map_err(fault("the folder of rules can not be read"))?
        {
            command.arg("--rules").arg(file);
        }
        // Secrets of the server stand in its environment.
        command
            .env_clear()
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .kill_on_drop(true);
        let mut worker = command
            .spawn()
            .map_err(fault("the scanner can not be started"))?;
        let (Some(mut input), Some(output), Some(complaints)) = (
            worker.stdin.take(),
            worker.stdout.take(),
            worker.stderr.take(),
        ) else {
            return Err(ScanFault("the scanner has no pipes".to_owned()));
        };
        let mut line = serde_json::to_vec(request).map_err(|error| ScanFault(error.to_string()))?;
        line.push(b'\n');
        let write = async move {
            // A worker that gave up says why; that it reads no more says nothing.
            let _ = input.write_all(&line).await;
            let _ = input.write_all(&bytes).await;
        };
        let read = async {
            let (mut answer, mut complaint) = (Vec::new(), Vec::new());
            let (mut output, mut complaints) = (
                output.take(LONGEST_ANSWER),
                complaints.take(LONGEST_COMPLAINT),
            );
            let both = tokio::join!(
                output.read_to_end(&mut answer),
                complaints.read_to_end(&mut complaint)
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
        if !status.success() {
            let why = String::from_utf8_lossy(&complaint).trim().to_owned();
            return Err(ScanFault(format!("the scanner ended with {status}: {why}")));
        }
        serde_json::from_slice(&answer)
            .map_err(|error| ScanFault(format!("the scanner's answer can not be read: {error}")))
    }
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

/// Scans what waits, for as long as the process serves.
pub async fn keep_scanning(registry: Registry, workers: Arc<Workers>) {
    loop {
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
