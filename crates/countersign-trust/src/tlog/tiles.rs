//! Names of tiles and their paths (c2sp.org/tlog-tiles).

use std::fmt;

/// Hashes in a full tile, and entries in a full bundle.
pub const TILE_WIDTH: u16 = 256;
/// Longest path that is parsed: 20 digits of index need 7 groups.
const MAX_PATH_BYTES: usize = 64;

/// A path that is not that of a tile.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "not the path of a tile: {path:?}. It looks like tile/0/x001/234 or, for a partial tile, tile/0/x001/234.p/70"
)]
pub struct PathError {
    /// The beginning of what was given.
    pub path: String,
}

/// One tile: a row of up to 256 hashes at a multiple of 8 levels above the leaves.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct TileId {
    /// 0 for leaf hashes, 1 for roots of 256 leaves each, and so on; at most 7 for sizes that exist.
    pub level: u8,
    /// Number of the tile within its level.
    pub index: u64,
    /// Number of hashes: 256, or 1 to 255 for a partial tile at the right edge.
    pub width: u16,
}

impl TileId {
    /// The tile number `index` of `level` in a tree of `size` leaves, or `None` where there is none yet.
    #[must_use]
    pub fn in_tree(level: u8, index: u64, size: u64) -> Option<Self> {
        let row = row_length(level, size);
        let rest = row.checked_sub(index.checked_mul(u64::from(TILE_WIDTH))?)?;
        let width = rest.min(u64::from(TILE_WIDTH)) as u16;
        (width > 0).then_some(Self {
            level,
            index,
            width,
        })
    }

    /// Whether it has fewer than 256 hashes.
    #[must_use]
    pub fn is_partial(&self) -> bool {
        self.width < TILE_WIDTH
    }

    /// The full tile at the same place.
    #[must_use]
    pub fn full(self) -> Self {
        Self {
            width: TILE_WIDTH,
            ..self
        }
    }

    /// Size of the tile in bytes.
    #[must_use]
    pub fn byte_length(&self) -> usize {
        usize::from(self.width) * 32
    }

    /// Path below the log's prefix, as in `tile/0/x001/067` or `tile/0/x001/067.p/70`.
    #[must_use]
    pub fn path(&self) -> String {
        format!(
            "tile/{}/{}",
            self.level,
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
        let parse = || {
            let (level, rest) = path.strip_prefix("tile/")?.split_once('/')?;
            let level = crate::canonical_decimal(level).filter(|level| *level <= 63)? as u8;
            let IndexPath { index, width } = IndexPath::parse(rest)?;
            Some(Self {
                level,
                index,
                width,
            })
        };
        parse().ok_or_else(|| PathError {
            path: path.chars().take(MAX_PATH_BYTES).collect(),
        })
    }
}

/// The part of a path that tiles and bundles of entries share: `x001/x234/067[.p/W]`.
pub(super) struct IndexPath {
    pub(super) index: u64,
    pub(super) width: u16,
}

impl IndexPath {
    pub(super) fn parse(path: &str) -> Option<Self> {
        if path.len() > MAX_PATH_BYTES {
            return None;
        }
        let (groups, width) = match path.split_once(".p/") {
            Some((groups, width)) => {
                let width =
                    crate::canonical_decimal(width).filter(|width| (1..256).contains(width))?;
                (groups, width as u16)
            }
            None => (path, TILE_WIDTH),
        };
        let mut index: u64 = 0;
        let count = groups.split('/').count();
        for (position, group) in groups.split('/').enumerate() {
            let digits = if position + 1 < count {
                group.strip_prefix('x')?
            } else {
                group
            };
            if digits.len() != 3 || !digits.bytes().all(|b| b.is_ascii_digit()) {
                return None;
            }
            // A leading group of zeros would be a second name for the same tile.
            if position == 0 && count > 1 && digits == "000" {
                return None;
            }
            index = index.checked_mul(1000)?.checked_add(digits.parse().ok()?)?;
        }
        Some(Self { index, width })
    }
}

impl fmt::Display for IndexPath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut groups = vec![self.index % 1000];
        let mut rest = self.index / 1000;
        while rest > 0 {
            groups.push(rest % 1000);
            rest /= 1000;
        }
        for group in groups[1..].iter().rev() {
            write!(f, "x{group:03}/")?;
        }
        write!(f, "{:03}", groups[0])?;
        if self.width < TILE_WIDTH {
            write!(f, ".p/{}", self.width)?;
        }
        Ok(())
    }
}

/// Number of hashes that a level's row has in a tree of `size` leaves.
pub(super) fn row_length(level: u8, size: u64) -> u64 {
    size.checked_shr(8 * u32::from(level)).unwrap_or(0)
}

/// Every tile, full or partial, that a tree of `new_size` leaves has and the tree of `old_size` had not, from the
/// leaves upwards. When a tile fills up, this names the full tile; partial tiles of sizes in between are not named.
#[must_use]
pub fn tiles_for_growth(old_size: u64, new_size: u64) -> Vec<TileId> {
    let mut tiles = Vec::new();
    for level in 0..8 {
        let (old, new) = (row_length(level, old_size), row_length(level, new_size));
        if new <= old {
            break;
        }
        let first = old / u64::from(TILE_WIDTH);
        tiles.extend((first..).map_while(|index| TileId::in_tree(level, index, new_size)));
    }
    tiles
}
