//! The log's signing keys, and how every key is kept: files of their own, apart from the database, readable by their
//! owner alone.

use std::io::{self, Write};
use std::path::Path;

use countersign_trust::checkpoint::Checkpoint;
use countersign_trust::note::{KeyName, MlDsaKey, SignerKey, VerifierKey};

use crate::error::{Error, Kind, Result};
use crate::model::Time;
use crate::seams::Random;

/// The keys that sign one log's checkpoints. No `Debug`: they are secrets.
pub struct LogKeys {
    origin: String,
    ed25519: SignerKey,
    ml_dsa: MlDsaKey,
}

impl LogKeys {
    /// New keys for the log with this origin (scheme-less URL such as `packages.example/log/1`).
    ///
    /// # Errors
    /// `log-origin` where the origin can not be a key name.
    pub fn generate(origin: &str, random: &dyn Random) -> Result<Self> {
        let name = key_name(origin)?;
        Ok(Self {
            origin: origin.to_owned(),
            ed25519: SignerKey::generate(name.clone(), random.bytes32()),
            ml_dsa: MlDsaKey::generate(name, random.bytes32()),
        })
    }

    /// Reads the keys of shard `shard` from a folder.
    ///
    /// # Errors
    /// `log-key-missing`, `log-key-damaged`.
    pub fn load(folder: &Path, shard: u64) -> Result<Self> {
        Self::load_named(folder, &shard.to_string())
    }

    /// [`LogKeys::load`] of a log whose keys' files are named for something else than a shard.
    pub(crate) fn load_named(folder: &Path, log: &str) -> Result<Self> {
        let read = |file: String| {
            let path = folder.join(file);
            std::fs::read_to_string(&path).map_err(|source| {
                Error::new(Kind::Unavailable, "log-key-missing", format!("The log's key {} can not be read: {source}.", path.display()))
                    .remedy("Put the key back from where you keep it, or run `countersignd init` for a new registry.")
                    .because(source)
            })
        };
        let damaged = |file: &str, source: String| {
            Error::new(
                Kind::Unavailable,
                "log-key-damaged",
                format!(
                    "The log's key {} is damaged: {source}.",
                    folder.join(file).display()
                ),
            )
            .remedy("Put the key back from where you keep it.")
        };
        let (classic, lattice) = file_names(log);
        let ed25519 = SignerKey::parse_private(read(classic.clone())?.trim_end())
            .map_err(|source| damaged(&classic, source.to_string()))?;
        let ml_dsa = MlDsaKey::parse_private(read(lattice.clone())?.trim_end())
            .map_err(|source| damaged(&lattice, source.to_string()))?;
        if ed25519.name() != ml_dsa.name() {
            return Err(damaged(
                &lattice,
                format!(
                    "it is named {}, the other {}",
                    ml_dsa.name().as_str(),
                    ed25519.name().as_str()
                ),
            ));
        }
        Ok(Self {
            origin: ed25519.name().as_str().to_owned(),
            ed25519,
            ml_dsa,
        })
    }

    /// Writes the keys into a folder (made with mode 0700) as files of mode 0600, synced. Never overwrites.
    ///
    /// # Errors
    /// `log-key-exists`, or where the folder can not be written.
    pub fn save(&self, folder: &Path, shard: u64) -> Result<()> {
        self.save_named(folder, &shard.to_string())
    }

    /// [`LogKeys::save`], the files named for something else than a shard.
    pub(crate) fn save_named(&self, folder: &Path, log: &str) -> Result<()> {
        let failed = |source: io::Error| {
            if source.kind() == io::ErrorKind::AlreadyExists {
                return Error::new(
                    Kind::Conflict,
                    "log-key-exists",
                    format!("{} holds a log key already.", folder.display()),
                )
                .remedy(
                    "A log's key is never replaced. Use another data folder for another registry.",
                );
            }
            Error::unavailable(
                "log-key-unwritten",
                format!(
                    "The log's key can not be written to {}: {source}.",
                    folder.display()
                ),
            )
            .because(source)
        };
        let (classic, lattice) = file_names(log);
        write_secret(folder, &classic, &self.ed25519.private_text()).map_err(failed)?;
        write_secret(folder, &lattice, &self.ml_dsa.private_text()).map_err(failed)
    }

    /// The origin line, which is also the keys' name.
    pub fn origin(&self) -> &str {
        &self.origin
    }

    /// The verifier keys: Ed25519 first, then ML-DSA-44.
    pub fn verifiers(&self) -> Vec<VerifierKey> {
        vec![self.ed25519.verifier(), self.ml_dsa.verifier()]
    }

    /// A second handle on the same keys, for the registry that [`crate::Registry::create`] opens once.
    pub(crate) fn clone_for_start(keys: &Self) -> Result<Self> {
        let again = |source: String| Error::internal("a key can not be read back", source);
        Ok(Self {
            origin: keys.origin.clone(),
            ed25519: SignerKey::parse_private(&keys.ed25519.private_text())
                .map_err(|source| again(source.to_string()))?,
            ml_dsa: MlDsaKey::parse_private(&keys.ml_dsa.private_text())
                .map_err(|source| again(source.to_string()))?,
        })
    }

    /// A checkpoint under the log's own signatures.
    pub(crate) fn sign(&self, checkpoint: &Checkpoint, now: Time) -> String {
        let seconds = u64::try_from(now.seconds()).unwrap_or(0);
        checkpoint.sign(&self.ed25519, Some((&self.ml_dsa, seconds)))
    }
}

/// Name under which the instance's own table keeps the verifier keys of a log.
pub(crate) fn verifier_key_name(shard: u64) -> String {
    format!("log_keys_{shard}")
}

fn file_names(log: &str) -> (String, String) {
    (format!("log-{log}.ed25519"), format!("log-{log}.ml-dsa-44"))
}

fn key_name(origin: &str) -> Result<KeyName> {
    KeyName::new(origin).map_err(|source| {
        Error::new(
            Kind::Rejected,
            "log-origin",
            format!("{origin:?} can not be a log's origin: {source}."),
        )
        .remedy("Give `init` a --url whose host has no spaces and no plus sign.")
    })
}

/// Writes a secret and a line end as a new file of mode 0600 into a folder (made with mode 0700), synced. Never overwrites,
/// and never leaves half a key: a crash leaves nothing, or a file beside it whose name begins with a full stop.
///
/// # Errors
/// `AlreadyExists` where there is such a file.
pub(crate) fn write_secret(folder: &Path, file: &str, secret: &str) -> io::Result<()> {
    let mut builder = std::fs::DirBuilder::new();
    builder.recursive(true);
    #[cfg(unix)]
    std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
    builder.create(folder)?;
    let mut fresh = tempfile::Builder::new();
    fresh.prefix(".new-");
    #[cfg(unix)]
    fresh.permissions(std::os::unix::fs::PermissionsExt::from_mode(0o600));
    let mut fresh = fresh.tempfile_in(folder)?;
    fresh.write_all(secret.as_bytes())?;
    fresh.write_all(b"\n")?;
    fresh.as_file().sync_all()?;
    fresh
        .persist_noclobber(folder.join(file))
        .map_err(|refused| refused.error)?;
    std::fs::File::open(folder)?.sync_all()
}

/// Reads a key of 32 bytes that [`write_secret`] wrote as hex.
///
/// # Errors
/// `NotFound`; `InvalidData` where it is not such a key.
pub(crate) fn read_secret(folder: &Path, file: &str) -> io::Result<[u8; 32]> {
    let text = std::fs::read_to_string(folder.join(file))?;
    let bytes = hex::decode(text.trim_end()).unwrap_or_default();
    bytes.try_into().map_err(|_| {
        io::Error::new(
            io::ErrorKind::InvalidData,
            "it is not 64 hexadecimal digits",
        )
    })
}

/// The key in this file, which is made of `fresh` where there is none. Where another process was a moment earlier, its key
/// is taken.
pub(crate) fn secret_or_new(folder: &Path, file: &str, fresh: [u8; 32]) -> io::Result<[u8; 32]> {
    match write_secret(folder, file, &hex::encode(fresh)) {
        Ok(()) => Ok(fresh),
        Err(source) if source.kind() == io::ErrorKind::AlreadyExists => read_secret(folder, file),
        Err(source) => Err(source),
    }
}
