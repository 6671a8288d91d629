//! Making roots, proofs and new tiles from tiles.
//!
//! Tiles are read asynchronously by the callers, so each function comes in two parts: one names the tiles that it
//! needs, the other works on tiles already read.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use super::tiles::{TILE_WIDTH, TileId, row_length, tiles_for_growth};
use super::{EMPTY_ROOT, is_subtree, node_hash, split_point};
use crate::digest::Sha256;

/// Tiles that were read.
pub trait TileSource {
    /// The bytes of a tile. For a partial tile the full tile of the same place may be given instead, as logs may
    /// delete partial tiles once the full one exists.
    fn tile(&self, id: TileId) -> Option<&[u8]>;
}

impl<V: AsRef<[u8]>, S: std::hash::BuildHasher> TileSource for HashMap<TileId, V, S> {
    fn tile(&self, id: TileId) -> Option<&[u8]> {
        self.get(&id)
            .or_else(|| self.get(&id.full()))
            .map(AsRef::as_ref)
    }
}

impl<V: AsRef<[u8]>> TileSource for BTreeMap<TileId, V> {
    fn tile(&self, id: TileId) -> Option<&[u8]> {
        self.get(&id)
            .or_else(|| self.get(&id.full()))
            .map(AsRef::as_ref)
    }
}

/// Why nothing can be made from these tiles.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TileError {
    /// A tile was not given.
    #[error("the tile {} is missing", .0.path())]
    Missing(TileId),
    /// A tile has a wrong length.
    #[error("the tile {} has {found} bytes, expected {}", .id.path(), .id.byte_length())]
    Length {
        /// Which tile.
        id: TileId,
        /// Its length in bytes.
        found: usize,
    },
    /// What was asked for is not in a tree of this size.
    #[error("leaves {start}..{end} are not a subtree within a tree of {size} leaves")]
    Range {
        /// First leaf.
        start: u64,
        /// One past the last leaf.
        end: u64,
        /// Size of the tree.
        size: u64,
    },
}

/// Leaves from `start` up to, not including, `end`, aligned so that they are a node of the tree or a right edge of it.
#[derive(Clone, Copy)]
struct Range {
    start: u64,
    end: u64,
}

impl Range {
    /// The perfect subtrees that the range is made of, from left to right, as (height, number at that height).
    fn perfect_nodes(self) -> impl Iterator<Item = (u32, u64)> {
        let mut start = self.start;
        std::iter::from_fn(move || {
            let length = self.end.checked_sub(start).filter(|length| *length > 0)?;
            let height = length.ilog2();
            let node = (height, start >> height);
            start += 1 << height;
            Some(node)
        })
    }

    fn tiles(self, size: u64) -> impl Iterator<Item = TileId> {
        self.perfect_nodes().map(move |(height, number)| {
            tile_of_node(height, number, size)
                .expect("a node of the tree lies in a tile of the tree")
                .0
        })
    }

    fn root(self, size: u64, source: &impl TileSource) -> Result<Sha256, TileError> {
        let nodes = self
            .perfect_nodes()
            .map(|(height, number)| node_from_tile(height, number, size, source));
        let nodes = nodes.collect::<Result<Vec<_>, _>>()?;
        Ok(nodes
            .into_iter()
            .rev()
            .reduce(|right, left| node_hash(&left, &right))
            .unwrap_or(EMPTY_ROOT))
    }
}

/// The tile that holds the row below a perfect node, with first and number of the hashes to combine.
fn tile_of_node(height: u32, number: u64, size: u64) -> Option<(TileId, usize, usize)> {
    let (level, within) = (height / 8, height % 8);
    let first = number.checked_shl(within)?;
    let tile = TileId::in_tree(level as u8, first / u64::from(TILE_WIDTH), size)?;
    let offset = (first % u64::from(TILE_WIDTH)) as usize;
    let count = 1usize << within;
    (offset + count <= usize::from(tile.width)).then_some((tile, offset, count))
}

fn tile_bytes(id: TileId, source: &impl TileSource) -> Result<&[u8], TileError> {
    let bytes = source.tile(id).ok_or(TileError::Missing(id))?;
    if bytes.len() != id.byte_length() && bytes.len() != id.full().byte_length() {
        return Err(TileError::Length {
            id,
            found: bytes.len(),
        });
    }
    Ok(bytes)
}

fn node_from_tile(
    height: u32,
    number: u64,
    size: u64,
    source: &impl TileSource,
) -> Result<Sha256, TileError> {
    let (id, offset, count) = tile_of_node(height, number, size).ok_or(TileError::Range {
        start: number << height,
        end: (number + 1) << height,
        size,
    })?;
    Ok(combine(
        &tile_bytes(id, source)?[offset * 32..(offset + count) * 32],
    ))
}

/// The ranges whose roots make up the proof that [start, end) is part of the tree: RFC 6962 section 2.1.2,
/// generalised to subtrees. `offset` is where the tree of `size` leaves at hand begins in the log.
fn proof_ranges(
    start: u64,
    end: u64,
    size: u64,
    offset: u64,
    known: bool,
    ranges: &mut Vec<Range>,
) {
    if start == 0 && end == size {
        if !known {
            ranges.push(Range {
                start: offset,
                end: offset + size,
            });
        }
        return;
    }
    let split = split_point(size);
    let (left, right) = (
        Range {
            start: offset,
            end: offset + split,
        },
        Range {
            start: offset + split,
            end: offset + size,
        },
    );
    if end <= split {
        proof_ranges(start, end, split, offset, known, ranges);
        ranges.push(right);
    } else if start >= split {
        proof_ranges(
            start - split,
            end - split,
            size - split,
            offset + split,
            known,
            ranges,
        );
        ranges.push(left);
    } else {
        proof_ranges(0, end - split, size - split, offset + split, false, ranges);
        ranges.push(left);
    }
}

fn ranges_for(start: u64, end: u64, size: u64) -> Result<Vec<Range>, TileError> {
    if end > size || !(is_subtree(start, end) || (start == 0 && end > 0)) {
        return Err(TileError::Range { start, end, size });
    }
    let mut ranges = Vec::new();
    proof_ranges(start, end, size, 0, true, &mut ranges);
    Ok(ranges)
}

fn distinct_tiles(ranges: &[Range], size: u64) -> Vec<TileId> {
    let tiles: BTreeSet<TileId> = ranges.iter().flat_map(|range| range.tiles(size)).collect();
    tiles.into_iter().collect()
}

fn roots(ranges: &[Range], size: u64, source: &impl TileSource) -> Result<Vec<Sha256>, TileError> {
    ranges
        .iter()
        .map(|range| range.root(size, source))
        .collect()
}

/// Tiles to read for [`inclusion_proof`]; none if there is no such leaf.
#[must_use]
pub fn tiles_needed_for_inclusion(index: u64, size: u64) -> Vec<TileId> {
    tiles_needed_for_subtree(index, index.saturating_add(1), size)
}

/// The proof that leaf `index` is in the tree of `size` leaves (RFC 6962 section 2.1.1).
///
/// # Errors
/// [`TileError`].
pub fn inclusion_proof(
    index: u64,
    size: u64,
    source: &impl TileSource,
) -> Result<Vec<Sha256>, TileError> {
    subtree_proof(index, index.saturating_add(1), size, source)
}

/// Tiles to read for [`consistency_proof`]; none for an empty proof.
#[must_use]
pub fn tiles_needed_for_consistency(old_size: u64, new_size: u64) -> Vec<TileId> {
    tiles_needed_for_subtree(0, old_size, new_size)
}

/// The proof that the tree of `old_size` leaves is a prefix of that of `new_size` leaves (RFC 6962 section 2.1.2).
/// Empty for `old_size` 0, as witnesses expect, and for equal sizes.
///
/// # Errors
/// [`TileError`].
pub fn consistency_proof(
    old_size: u64,
    new_size: u64,
    source: &impl TileSource,
) -> Result<Vec<Sha256>, TileError> {
    if old_size == 0 {
        return Ok(Vec::new());
    }
    subtree_proof(0, old_size, new_size, source)
}

/// Tiles to read for [`subtree_proof`]; none if there is no such subtree.
#[must_use]
pub fn tiles_needed_for_subtree(start: u64, end: u64, size: u64) -> Vec<TileId> {
    ranges_for(start, end, size)
        .map(|ranges| distinct_tiles(&ranges, size))
        .unwrap_or_default()
}

/// The proof that the subtree [start, end) is part of the tree of `size` leaves
/// (draft-ietf-plants-merkle-tree-certs section 4.4).
///
/// # Errors
/// [`TileError`].
pub fn subtree_proof(
    start: u64,
    end: u64,
    size: u64,
    source: &impl TileSource,
) -> Result<Vec<Sha256>, TileError> {
    roots(&ranges_for(start, end, size)?, size, source)
}

/// Tiles to read for [`root`] and for [`super::Frontier::from_tiles`].
#[must_use]
pub fn tiles_needed_for_root(size: u64) -> Vec<TileId> {
    distinct_tiles(
        &[Range {
            start: 0,
            end: size,
        }],
        size,
    )
}

/// Merkle root of the tree of `size` leaves.
///
/// # Errors
/// [`TileError`].
pub fn root(size: u64, source: &impl TileSource) -> Result<Sha256, TileError> {
    Range {
        start: 0,
        end: size,
    }
    .root(size, source)
}

impl super::Frontier {
    /// The frontier of a tree of `size` leaves from the tiles of [`tiles_needed_for_root`]. Compare its root with a
    /// signed one before building on it.
    ///
    /// # Errors
    /// [`TileError`].
    pub fn from_tiles(size: u64, source: &impl TileSource) -> Result<Self, TileError> {
        let nodes = Range {
            start: 0,
            end: size,
        }
        .perfect_nodes();
        let hashes = nodes.map(|(height, number)| node_from_tile(height, number, size, source));
        let hashes = hashes.collect::<Result<Vec<_>, _>>()?;
        Ok(Self::from_parts(size, hashes).expect("one perfect node per set bit of the size"))
    }
}

/// Tiles to read for [`grow`]: the partial tile at the right edge of each level, where there is one.
#[must_use]
pub fn tiles_needed_for_growth(old_size: u64) -> Vec<TileId> {
    (0..8)
        .filter_map(|level| {
            let row = row_length(level, old_size);
            TileId::in_tree(level, row / u64::from(TILE_WIDTH), old_size)
        })
        .collect()
}

/// The contents of every new tile, in the order of [`tiles_for_growth`], when `leaf_hashes` are appended to a tree of
/// `old_size` leaves.
///
/// # Errors
/// [`TileError`] for the tiles of [`tiles_needed_for_growth`].
pub fn grow(
    old_size: u64,
    leaf_hashes: &[Sha256],
    source: &impl TileSource,
) -> Result<Vec<(TileId, Vec<u8>)>, TileError> {
    let new_size = old_size
        .checked_add(leaf_hashes.len() as u64)
        .ok_or(TileError::Range {
            start: old_size,
            end: u64::MAX,
            size: u64::MAX,
        })?;
    // The row of the level at hand from its last partial tile on, and how much of it has gone into tiles.
    let (mut row, mut used) = (Vec::new(), 0);
    let mut next_level = 0;
    let mut made: Vec<(TileId, Vec<u8>)> = Vec::new();
    for id in tiles_for_growth(old_size, new_size) {
        if id.level == next_level {
            next_level += 1;
            used = 0;
            let index = row_length(id.level, old_size) / u64::from(TILE_WIDTH);
            row = match TileId::in_tree(id.level, index, old_size) {
                Some(edge) => tile_bytes(edge, source)?[..edge.byte_length()].to_vec(),
                None => Vec::new(),
            };
            if id.level == 0 {
                row.extend(leaf_hashes.iter().flat_map(|hash| hash.0));
            } else {
                // Every tile that is filled below gives one hash here.
                let filled = made
                    .iter()
                    .filter(|(below, _)| below.level + 1 == id.level && !below.is_partial());
                row.extend(filled.flat_map(|(_, bytes)| combine(bytes).0));
            }
        }
        let end = used + id.byte_length();
        made.push((id, row[used..end].to_vec()));
        used = end;
    }
    Ok(made)
}

/// Root over a power of two of hashes.
fn combine(row: &[u8]) -> Sha256 {
    let (hashes, _) = row.as_chunks::<32>();
    let mut hashes: Vec<Sha256> = hashes.iter().copied().map(Sha256).collect();
    while hashes.len() > 1 {
        hashes = hashes
            .chunks(2)
            .map(|pair| node_hash(&pair[0], &pair[1]))
            .collect();
    }
    hashes[0]
}
