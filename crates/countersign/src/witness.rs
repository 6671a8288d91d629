//! A witness that others reach (c2sp.org/tlog-witness): [`state`] keeps what was signed, [`service`] answers. What is
//! signed is decided in [`countersign_trust::witness`] alone.

pub mod service;
pub mod state;

use std::io::Read;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use countersign_trust::note::KeyName;
use countersign_trust::witness::{KnownLogs, MAX_LOGS_BYTES, Witness};
use rand::TryRngCore;
use rand::rngs::OsRng;

use crate::failure::{Exit, Failure, Result};

/// The most bytes of a file with private keys.
const MOST_KEYS: u64 = 64 << 10;

/// New keys of both kinds, from the system's random source.
///
/// # Errors
/// Exit 1 when there is no randomness.
pub fn generate(name: &KeyName) -> Result<Witness> {
    let seed = || {
        let mut seed = [0; 32];
        OsRng
            .try_fill_bytes(&mut seed)
            .map(|()| seed)
            .map_err(|error| {
                Failure::new(
                    Exit::Environment,
                    "no-randomness",
                    format!("The system gives no randomness: {error}."),
                )
            })
    };
    Ok(Witness::generate(name, seed()?, seed()?))
}

/// Reads private keys from a file that nobody else may read.
///
/// # Errors
/// Exit 2 for a file that is missing, readable for others, or no keys.
pub fn read_keys(path: &Path) -> Result<Witness> {
    let refuse = |why: String, remedy: &str| {
        Failure::new(
            Exit::Usage,
            "witness-key",
            format!("The keys in {} can not be used: {why}.", path.display()),
        )
        .remedy(remedy.to_owned())
    };
    let make = "Make them: countersign witness init --help";
    let file = std::fs::File::open(path).map_err(|error| refuse(error.to_string(), make))?;
    let mode = file
        .metadata()
        .map_err(|error| refuse(error.to_string(), make))?
        .permissions()
        .mode();
    if mode & 0o077 != 0 {
        let why = format!(
            "others may read or write the file (mode {:o})",
            mode & 0o777
        );
        return Err(refuse(why, &format!("chmod 600 {}", path.display())));
    }
    let mut text = String::new();
    file.take(MOST_KEYS)
        .read_to_string(&mut text)
        .map_err(|error| refuse(error.to_string(), make))?;
    Witness::parse_private(&text).map_err(|error| refuse(error.to_string(), make))
}

/// Adds the logs that a file names.
///
/// # Errors
/// Exit 2 for a file that is missing or malformed.
pub fn read_logs(logs: &mut KnownLogs, path: &Path) -> Result<()> {
    let refuse = |why: String| {
        Failure::new(
            Exit::Usage,
            "witness-logs",
            format!("{} names no logs: {why}.", path.display()),
        )
        .remedy("Give a policy file (c2sp.org/tlog-policy) or a list that begins with logs/v0.")
    };
    let file = std::fs::File::open(path).map_err(|error| refuse(error.to_string()))?;
    let mut bytes = Vec::new();
    file.take(MAX_LOGS_BYTES as u64 + 1)
        .read_to_end(&mut bytes)
        .map_err(|error| refuse(error.to_string()))?;
    logs.read(&bytes).map_err(|error| refuse(error.to_string()))
}
