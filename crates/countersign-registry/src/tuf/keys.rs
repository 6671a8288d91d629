//! Where the keys of TUF's roles are. Every key that a process uses itself is had here, and nowhere else.

use std::path::Path;

use countersign_trust::digest::Sha256;
use countersign_trust::sigstore::{Ed25519Signer, Signs};

use crate::error::{Error, Kind, Result};
use crate::keys::{read_secret, secret_or_new};

/// What the source of a key in the folder of keys begins with; its file's name follows.
const FILE: &str = "file:";
/// The one file that all keys of development are derived from: behind `#` stands which.
const SEED: &str = "tuf-development.seed";
/// What stands between the seed and the label.
const DERIVED: &[u8] = b"\ncountersign/tuf/derived-key/v1\n";

/// The key at this source, ready to sign.
///
/// # Errors
/// `tuf-key-missing`; `tuf-key-source` for a source of no known kind.
pub(crate) fn signer(source: &str, folder: &Path) -> Result<Box<dyn Signs>> {
    // A path, a variable, a token: not what this made itself.
    let elsewhere = |name: &str| name.contains('/') && !name.contains('#');
    let Some(name) = source.strip_prefix(FILE).filter(|name| !elsewhere(name)) else {
        return crate::signers::signer(source, &|_| {
            std::env::var("COUNTERSIGN_TUF_PASSPHRASE").ok()
        });
    };
    let (name, label) = match name.split_once('#') {
        Some((name, label)) => (name, Some(label)),
        None => (name, None),
    };
    let name = plain(name).ok_or_else(|| unknown(source))?;
    let secret = read_secret(folder, name).map_err(|cause| missing(folder, name, cause))?;
    match label {
        None => in_memory(&secret),
        // The seed is of fixed length, so that no two labels make the same text.
        Some(label) => in_memory(&Sha256::of(&[&secret, DERIVED, label.as_bytes()].concat()).0),
    }
}

/// Makes the seed of all keys of development in the folder of keys, or takes the one that lies there already: a start that
/// broke off goes on with its keys. A key of it has the source that [`derived`] gives.
///
/// # Errors
/// `tuf-key-missing` where the folder can not be written.
pub(crate) fn development_seed(folder: &Path, fresh: [u8; 32]) -> Result<()> {
    secret_or_new(folder, SEED, fresh).map_err(|cause| missing(folder, SEED, cause))?;
    Ok(())
}

/// The source of a key of development.
pub(crate) fn derived(repository: &str, role: &str) -> String {
    format!("{FILE}{SEED}#{repository}/{role}")
}

/// Makes a key in the folder of keys, or takes the one that lies there already under this name. Its source.
///
/// # Errors
/// `tuf-key-missing` where the folder can not be written.
pub(crate) fn in_folder(folder: &Path, name: &str, fresh: [u8; 32]) -> Result<String> {
    let file = plain(name).ok_or_else(|| unknown(name))?;
    secret_or_new(folder, file, fresh).map_err(|cause| missing(folder, file, cause))?;
    Ok(format!("{FILE}{file}"))
}

fn in_memory(secret: &[u8; 32]) -> Result<Box<dyn Signs>> {
    let signer = Ed25519Signer::new(secret)
        .map_err(|source| Error::internal("a key of TUF is unusable", source.to_string()))?;
    Ok(Box::new(signer))
}

/// A file's name that stays in its folder.
fn plain(name: &str) -> Option<&str> {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"._-".contains(&byte);
    (!name.is_empty() && !name.starts_with('.') && name.bytes().all(plain)).then_some(name)
}

fn missing(folder: &Path, name: &str, source: std::io::Error) -> Error {
    Error::new(
        Kind::Unavailable,
        "tuf-key-missing",
        format!(
            "The key {} of TUF can not be had: {source}.",
            folder.join(name).display()
        ),
    )
    .remedy("Put it back from where you keep the keys. If it is lost, give its role another key (docs/operating-tuf.md).")
    .because(source)
}

fn unknown(source: &str) -> Error {
    let shown: String = source.chars().take(60).collect();
    Error::new(
        Kind::Rejected,
        "tuf-key-source",
        format!("{shown:?} is no source of a key."),
    )
    .remedy("A key in the folder of keys is `file:NAME`, one that is derived from it `file:NAME#LABEL`.")
}
