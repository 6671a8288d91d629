//! Where the files of a log are read: from its registry, or from a folder that holds a copy of them.

use std::fs::File;
use std::io::{self, Read};
use std::path::PathBuf;

use countersign_trust::note::MAX_NOTE_BYTES;
use countersign_trust::tlog::{EntriesId, TileId, decode_entries};

use crate::failure::{Exit, Failure, Result};
use crate::remote::Remote;
use crate::trusted::Pinned;

/// The longest bundle: 256 entries, each with its two bytes of length.
const MOST_BUNDLE: usize = 256 * (2 + 65_535);

/// A log's files (c2sp.org/tlog-tiles).
pub enum Source {
    /// At the registry, below this path.
    Registry {
        /// The registry.
        remote: Remote,
        /// The log's path, with slashes at both ends.
        path: String,
    },
    /// In a folder with the same paths below it. It may be behind the registry.
    Folder(PathBuf),
}

impl Source {
    /// The log of a pinned registry.
    #[must_use]
    pub fn registry(pinned: &Pinned, remote: Remote) -> Self {
        Self::Registry {
            remote,
            path: pinned.log_path(),
        }
    }

    /// Whether an older state than the newest is to be expected.
    #[must_use]
    pub fn may_lag(&self) -> bool {
        matches!(self, Self::Folder(_))
    }

    /// How many threads read from it best: a network wants more requests under way, a disk only hands for the work.
    pub(super) fn threads(&self) -> usize {
        match self {
            Self::Registry { .. } => 8,
            Self::Folder(_) => std::thread::available_parallelism().map_or(1, usize::from),
        }
    }

    /// The signed checkpoint, not verified.
    pub(super) fn checkpoint(&self) -> Result<Vec<u8>> {
        let mut bytes = Vec::new();
        self.read("checkpoint", MAX_NOTE_BYTES, &mut bytes)?;
        Ok(bytes)
    }

    /// A tile. For a partial one the full one at its place is as good: logs may delete partial tiles once it is there.
    pub(super) fn tile(&self, id: TileId) -> Result<Vec<u8>> {
        let mut bytes = Vec::new();
        let full = id.full();
        self.either(id.path(), full.path(), full.byte_length(), &mut bytes)?;
        if bytes.len() == id.full().byte_length() {
            bytes.truncate(id.byte_length());
        }
        Ok(bytes)
    }

    /// A bundle of entries, or the full one at its place.
    pub(super) fn bundle(&self, id: EntriesId) -> Result<Vec<u8>> {
        let mut bytes = Vec::new();
        self.bundle_into(id, &mut bytes)?;
        Ok(bytes)
    }

    /// The same in the place of what was in `into`.
    pub(super) fn bundle_into(&self, id: EntriesId, into: &mut Vec<u8>) -> Result<()> {
        let full = EntriesId { width: 256, ..id };
        self.either(id.path(), full.path(), MOST_BUNDLE, into)
    }

    fn either(&self, name: String, full: String, most: usize, into: &mut Vec<u8>) -> Result<()> {
        match self.read(&name, most, into) {
            Err(failure) if name != full && failure.exit != Exit::Verification => {
                self.read(&full, most, into).map_err(|_| failure)
            }
            read => read,
        }
    }

    fn read(&self, name: &str, most: usize, into: &mut Vec<u8>) -> Result<()> {
        into.clear();
        match self {
            Self::Registry { remote, path } => {
                *into = remote.get(&format!("{path}{name}"), most)?;
                Ok(())
            }
            Self::Folder(folder) => {
                let path = folder.join(name);
                let unreadable = |error: io::Error| {
                    Failure::new(
                        Exit::Unreachable,
                        "mirror",
                        format!("{} can not be read: {error}.", path.display()),
                    )
                    .remedy("Is the copy of the log complete?")
                };
                let file = File::open(&path).map_err(unreadable)?;
                let length = file.metadata().map_err(unreadable)?.len();
                if length > most as u64 {
                    return Err(Failure::unverified(
                        "mirror",
                        format!(
                            "{} has {length} bytes, more than any such file.",
                            path.display()
                        ),
                    ));
                }
                into.reserve(length as usize + 1);
                file.take(most as u64)
                    .read_to_end(into)
                    .map_err(unreadable)?;
                Ok(())
            }
        }
    }
}

/// The entries of a bundle; of a full one that stands for a partial one, those that are asked for.
pub(super) fn entries_of(id: EntriesId, bundle: &[u8]) -> Result<Vec<&[u8]>> {
    let mut entries = decode_entries(bundle)
        .map_err(|error| Failure::unverified("bundle", format!("{}: {error}.", id.path())))?;
    let width = usize::from(id.width);
    if entries.len() == 256 {
        entries.truncate(width);
    }
    if entries.len() != width {
        return Err(Failure::unverified(
            "bundle",
            format!(
                "{} holds {} entries, not {width}.",
                id.path(),
                entries.len()
            ),
        ));
    }
    Ok(entries)
}
