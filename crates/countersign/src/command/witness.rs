//! `countersign witness …`.

use std::fs::OpenOptions;
use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::sync::Arc;

use countersign::failure::plain;
use countersign::trusted::TrustFile;
use countersign::witness::service::{self, Record};
use countersign::witness::state::{self, States};
use countersign::witness::{generate, read_keys, read_logs};
use countersign::{Exit, Failure};
use countersign_trust::witness::{KnownLogs, Witness as Keys};
use serde_json::json;
use tokio::net::TcpListener;
use tokio::runtime::Builder;
use tokio::signal::unix::{SignalKind, signal};

use super::{line, trust_path};
use crate::cli::{Common, Witness, WitnessInit, WitnessServe};

/// Does it.
pub fn run(common: &Common, what: &Witness) -> Result<(), Failure> {
    match what {
        Witness::Init(options) => init(common, options),
        Witness::Serve(options) => serve(common, options),
        Witness::Keys { key } => {
            show(common, &read_keys(key)?);
            Ok(())
        }
    }
}

fn init(common: &Common, options: &WitnessInit) -> Result<(), Failure> {
    let keys = match &options.name {
        Some(name) => {
            let keys = generate(name)?;
            write_keys(&options.key, &keys)?;
            keys
        }
        None => read_keys(&options.key)?,
    };
    if let Some(key) = keys.verifiers().first() {
        state::create(&options.state, key.name())?;
    }
    show(common, &keys);
    Ok(())
}

/// Writes new keys; never over others.
fn write_keys(path: &Path, keys: &Keys) -> Result<(), Failure> {
    let written = OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(path)
        .and_then(|mut file| {
            file.write_all(keys.private_text().as_bytes())?;
            file.sync_all()
        });
    written.map_err(|error| {
        Failure::new(
            Exit::Usage,
            "witness-key",
            format!("{} can not be made: {error}.", path.display()),
        )
        .remedy("Name a file that is not there yet, or use its keys: --existing-key")
    })
}

fn show(common: &Common, keys: &Keys) {
    let keys: Vec<String> = keys.verifiers().iter().map(ToString::to_string).collect();
    if common.json {
        line(&json!({"verifier_keys": keys}).to_string());
    } else {
        keys.iter().for_each(|key| line(key));
    }
}

fn logs(common: &Common, options: &WitnessServe) -> Result<KnownLogs, Failure> {
    let mut logs = KnownLogs::new();
    for file in &options.logs {
        read_logs(&mut logs, file)?;
    }
    let refuse = |why: String| Failure::new(Exit::Usage, "witness-logs", format!("{why}."));
    for key in &options.log_keys {
        logs.add(key.name().as_str(), key.clone()).map_err(refuse)?;
    }
    if options.pinned {
        for pinned in &TrustFile::load(&trust_path(common)?)?.registries {
            for key in pinned.verifiers()? {
                logs.add(&pinned.origin, key).map_err(refuse)?;
            }
        }
    }
    if logs.is_empty() {
        return Err(
            Failure::new(Exit::Usage, "witness-logs", "There is no log to witness.")
                .remedy("Name logs with --log FILE, --log-key VKEY or --pinned."),
        );
    }
    Ok(logs)
}

fn serve(common: &Common, options: &WitnessServe) -> Result<(), Failure> {
    let states = States::open(
        &options.state,
        read_keys(&options.key)?,
        logs(common, options)?,
    )?;
    let environment = |code: &'static str, why: String| Failure::new(Exit::Environment, code, why);
    let runtime = Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .map_err(|error| environment("runtime", format!("No threads can be started: {error}.")))?;
    let json = common.json;
    let hear: service::Hear = Arc::new(move |record: &Record| tell(json, record));
    runtime.block_on(async {
        let listener = TcpListener::bind(options.listen).await.map_err(|error| {
            let why = format!("{} can not be listened on: {error}.", options.listen);
            environment("listen", why)
        })?;
        let address = listener
            .local_addr()
            .map_err(|error| environment("listen", format!("No address: {error}.")))?;
        let deaf = |error: std::io::Error| {
            environment("signals", format!("Signals can not be listened to: {error}."))
        };
        let mut interrupted = signal(SignalKind::interrupt()).map_err(deaf)?;
        let mut terminated = signal(SignalKind::terminate()).map_err(deaf)?;
        let count = states.logs();
        let keys: Vec<String> = states.witness().verifiers().iter().map(ToString::to_string).collect();
        if json {
            let ready = json!({"listening": format!("http://{address}"), "logs": count, "verifier_keys": keys});
            line(&ready.to_string());
        } else {
            keys.iter().for_each(|key| line(key));
            line(&format!("Witnessing {count} logs at http://{address}"));
        }
        service::serve(listener, states, hear, async {
            tokio::select! {
                _ = interrupted.recv() => {}
                _ = terminated.recv() => {}
            }
        })
        .await;
        Ok(())
    })
}

/// One line for each request, on standard error.
fn tell(json: bool, record: &Record) {
    let text = if json {
        json!(record).to_string()
    } else {
        // Origins and reasons hold foreign text.
        let origin = plain(record.origin.as_deref().unwrap_or("-"));
        let size = record
            .size
            .map_or_else(|| "-".to_owned(), |size| size.to_string());
        let why = record.why.as_deref().map(plain).unwrap_or_default();
        format!(
            "{} {} {origin} {size} {} {} ms {why}",
            record.time, record.call, record.status, record.milliseconds
        )
    };
    // A witness goes on where nobody reads along any longer.
    let _ = writeln!(std::io::stderr(), "{}", text.trim_end());
}
