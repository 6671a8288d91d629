//! Bundles of log entries: up to 256 entries, each after its length as a big-endian 16-bit number
//! (c2sp.org/tlog-tiles "Log entries").

use super::tiles::{IndexPath, PathError, TILE_WIDTH};

/// The longest entry that fits into a bundle, in bytes.
pub const MAX_ENTRY_BYTES: usize = 65_535;

/// Why entries are no bundle.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum EntriesError {
    /// None, or more than 256.
    #[error("a bundle holds 1 to 256 entries")]
    Count,
    /// An entry longer than [`MAX_ENTRY_BYTES`].
    #[error("entry {position} has {bytes} bytes; at most {MAX_ENTRY_BYTES} fit into a bundle")]
    TooLong {
        /// Place within the bundle.
        position: usize,
        /// Length in bytes.
        bytes: usize,
    },
    /// The bundle ends within an entry.
    #[error("the bundle ends within entry {position}")]
    Truncated {
        /// Place within the bundle.
        position: usize,
    },
}

/// One bundle of entries; the leaves of the tile of level 0 with the same index and width.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct EntriesId {
    /// Number of the bundle.
    pub index: u64,
    /// Number of entries: 256, or 1 to 255 for a partial bundle at the right edge.
    pub width: u16,
}

impl EntriesId {
    /// The bundle number `index` of a log of `size` entries, or `None` where there is none yet.
    #[must_use]
    pub fn in_log(index: u64, size: u64) -> Option<Self> {
        let rest = size.checked_sub(index.checked_mul(u64::from(TILE_WIDTH))?)?;
        let width = rest.min(u64::from(TILE_WIDTH)) as u16;
        (width > 0).then_some(Self { index, width })
    }

    /// Index in the log of the bundle's first entry.
    #[must_use]
    pub fn first_entry(&self) -> u64 {
        self.index.saturating_mul(u64::from(TILE_WIDTH))
    }

    /// Path below the log's prefix, as in `tile/entries/x001/067` or `tile/entries/x001/067.p/70`.
    #[must_use]
    pub fn path(&self) -> String {
        format!(
            "tile/entries/{}",
            IndexPath {
                index: self.index,
                width: self.width
            }
        )
    }

    /// Reads a path; only the canonical form is taken.
    ///
    /// # Errors
    /// [`PathError`].
    pub fn parse_path(path: &str) -> Result<Self, PathError> {
        path.strip_prefix("tile/entries/")
            .and_then(IndexPath::parse)
            .map(|IndexPath { index, width }| Self { index, width })
            .ok_or_else(|| PathError {
                path: path.chars().take(64).collect(),
            })
    }
}

/// Every bundle, full or partial, that a log of `new_size` entries has and that of `old_size` had not.
#[must_use]
pub fn entries_for_growth(old_size: u64, new_size: u64) -> Vec<EntriesId> {
    if new_size <= old_size {
        return Vec::new();
    }
    (old_size / u64::from(TILE_WIDTH)..)
        .map_while(|index| EntriesId::in_log(index, new_size))
        .collect()
}

/// The bytes of a bundle.
///
/// # Errors
/// [`EntriesError::Count`], [`EntriesError::TooLong`].
pub fn encode_entries<E: AsRef<[u8]>>(entries: &[E]) -> Result<Vec<u8>, EntriesError> {
    if entries.is_empty() || entries.len() > usize::from(TILE_WIDTH) {
        return Err(EntriesError::Count);
    }
    let mut bundle = Vec::with_capacity(entries.iter().map(|entry| 2 + entry.as_ref().len()).sum());
    for (position, entry) in entries.iter().enumerate() {
        let entry = entry.as_ref();
        let length = u16::try_from(entry.len()).map_err(|_| EntriesError::TooLong {
            position,
            bytes: entry.len(),
        })?;
        bundle.extend_from_slice(&length.to_be_bytes());
        bundle.extend_from_slice(entry);
    }
    Ok(bundle)
}

/// The entries of a bundle. At most 256, so a bundle has at most 16 MiB.
///
/// # Errors
/// [`EntriesError::Count`], [`EntriesError::Truncated`].
pub fn decode_entries(bundle: &[u8]) -> Result<Vec<&[u8]>, EntriesError> {
    let mut entries = Vec::with_capacity(usize::from(TILE_WIDTH));
    let mut rest = bundle;
    while !rest.is_empty() {
        if entries.len() == usize::from(TILE_WIDTH) {
            return Err(EntriesError::Count);
        }
        let truncated = EntriesError::Truncated {
            position: entries.len(),
        };
        let (length, after) = rest.split_first_chunk::<2>().ok_or(truncated.clone())?;
        let (entry, after) = after
            .split_at_checked(usize::from(u16::from_be_bytes(*length)))
            .ok_or(truncated)?;
        entries.push(entry);
        rest = after;
    }
    if entries.is_empty() {
        return Err(EntriesError::Count);
    }
    Ok(entries)
}
