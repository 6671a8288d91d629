//! A tile: the part of the map below one prefix of whole bytes, one byte deep.

use std::fmt;

use super::{Entry, inner_node};
use crate::digest::Sha256;

/// The longest tile: 256 slots of entries.
pub const MAX_TILE_BYTES: usize = 256 * 66;

const ENTRY: u8 = 0;
const BELOW: u8 = 1;

/// Names a tile: by its depth and the root of what is below it. Bytes that have another root are not this tile, so tiles
/// may be fetched from anywhere. (The byte of a slot that points below is bound by the tile there, whose keys have it.)
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TileId {
    /// How many bytes all keys below it share; 0 to 31.
    pub level: u8,
    /// Its root.
    pub root: Sha256,
}

impl TileId {
    /// Reads its address as [`fmt::Display`] writes it; `None` for anything else, so that each tile has one.
    #[must_use]
    pub fn parse(address: &str) -> Option<Self> {
        let mut parts = address.strip_prefix("map/")?.split('/');
        let level = crate::canonical_decimal(parts.next()?)?;
        let (folder, root) = (parts.next()?, parts.next()?);
        let id = Self {
            level: u8::try_from(level).ok().filter(|level| *level < 32)?,
            root: root.parse().ok()?,
        };
        (parts.next().is_none() && root.get(..2) == Some(folder) && id.to_string() == address)
            .then_some(id)
    }
}

impl fmt::Display for TileId {
    /// Its address below that of the log: `map/LEVEL/xx/xxxx…`, with the root in hexadecimal.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let root = self.root.to_hex();
        let folder = root.get(..2).unwrap_or_default();
        write!(f, "map/{}/{folder}/{root}", self.level)
    }
}

/// Why bytes are not the tile that was asked for.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TileError {
    /// Not a tile.
    #[error("not a map tile: {reason}")]
    Format {
        /// What is wrong.
        reason: &'static str,
    },
    /// A tile, but another one.
    #[error("the tile's root is {found}, not {expected}")]
    Root {
        /// What was asked for.
        expected: Sha256,
        /// What the bytes are.
        found: Sha256,
    },
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Slot {
    /// The only key with that byte.
    Entry(Entry),
    /// Two or more keys: the tile of that root, one level down.
    Below(Sha256),
}

/// A tile in memory: slots by the next byte of the key, ascending.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Tile {
    pub(super) level: u8,
    pub(super) slots: Vec<(u8, Slot)>,
}

impl Tile {
    /// Reads the tile `id`, of which all keys begin with `prefix`.
    ///
    /// # Errors
    /// [`TileError`].
    pub fn parse(id: TileId, prefix: &[u8], bytes: &[u8]) -> Result<Self, TileError> {
        let refuse = |reason| TileError::Format { reason };
        if bytes.len() > MAX_TILE_BYTES {
            return Err(refuse("longer than 256 entries"));
        }
        if id.level > 31 || prefix.len() != usize::from(id.level) {
            return Err(refuse("its level does not fit its place"));
        }
        let hash = |bytes: &[u8; 32]| Sha256(*bytes);
        let (mut slots, mut rest) = (Vec::new(), bytes);
        while let Some(([byte, kind], after)) = rest.split_first_chunk::<2>() {
            if slots.last().is_some_and(|(before, _)| before >= byte) {
                return Err(refuse("its slots do not ascend"));
            }
            let (first, after) = after
                .split_first_chunk::<32>()
                .ok_or(refuse("it is cut off"))?;
            rest = after;
            let slot = match *kind {
                ENTRY => {
                    let (second, after) = after
                        .split_first_chunk::<32>()
                        .ok_or(refuse("it is cut off"))?;
                    rest = after;
                    let stands_here = first
                        .strip_prefix(prefix)
                        .is_some_and(|rest| rest.first() == Some(byte));
                    if !stands_here {
                        return Err(refuse("a key stands where it does not belong"));
                    }
                    Slot::Entry(Entry {
                        key: hash(first),
                        value: hash(second),
                    })
                }
                BELOW if id.level < 31 => Slot::Below(hash(first)),
                _ => return Err(refuse("a slot is neither an entry nor a tile below")),
            };
            slots.push((*byte, slot));
        }
        if !rest.is_empty() {
            return Err(refuse("it is cut off"));
        }
        let tile = Self {
            level: id.level,
            slots,
        };
        match tile.slots.as_slice() {
            [] => return Err(refuse("it is empty")),
            // One entry alone stands in the tile above, unless there is none.
            [(_, Slot::Entry(_))] if id.level > 0 => {
                return Err(refuse("a single entry has no tile of its own"));
            }
            _ => {}
        }
        let found = tile.root();
        if found != id.root {
            return Err(TileError::Root {
                expected: id.root,
                found,
            });
        }
        Ok(tile)
    }

    /// The bytes that are stored and served: for each slot its byte, 0 for an entry or 1 for a tile below, then key and
    /// value, or the root below.
    #[must_use]
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(self.slots.len() * 66);
        for (byte, slot) in &self.slots {
            bytes.push(*byte);
            match slot {
                Slot::Entry(entry) => {
                    bytes.push(ENTRY);
                    bytes.extend_from_slice(entry.key.as_bytes());
                    bytes.extend_from_slice(entry.value.as_bytes());
                }
                Slot::Below(root) => {
                    bytes.push(BELOW);
                    bytes.extend_from_slice(root.as_bytes());
                }
            }
        }
        bytes
    }

    /// Its name.
    #[must_use]
    pub fn id(&self) -> TileId {
        TileId {
            level: self.level,
            root: self.root(),
        }
    }

    /// The tiles one level down, each with the byte that its keys have next.
    pub fn below(&self) -> impl Iterator<Item = (u8, TileId)> {
        self.slots.iter().filter_map(|(byte, slot)| match slot {
            Slot::Below(root) => Some((
                *byte,
                TileId {
                    level: self.level + 1,
                    root: *root,
                },
            )),
            Slot::Entry(_) => None,
        })
    }

    /// How many keys stand in it alone.
    #[must_use]
    pub fn entries(&self) -> usize {
        self.slots.len() - self.below().count()
    }

    /// The root of all that is below it.
    #[must_use]
    pub fn root(&self) -> Sha256 {
        fold(self.level, &self.nodes())
    }

    fn nodes(&self) -> Vec<(u8, Sha256)> {
        let node = |(byte, slot): &(u8, Slot)| {
            let node = match slot {
                Slot::Entry(entry) => entry.node(),
                Slot::Below(root) => *root,
            };
            (*byte, node)
        };
        self.slots.iter().map(node).collect()
    }

    /// Follows a key's bits to the slot where it would stand, and notes the siblings on the way, from the top down.
    pub(super) fn follow(&self, key: &Sha256, path: &mut Vec<(u8, Sha256)>) -> Option<(u8, Slot)> {
        let byte = *key.as_bytes().get(usize::from(self.level))?;
        let nodes = self.nodes();
        let (mut from, mut to) = (0, nodes.len());
        while let Some((within, split)) = branch(nodes.get(from..to)?) {
            let split = from + split;
            let (left, right) = (nodes.get(from..split)?, nodes.get(split..to)?);
            let bit = self.level * 8 + within;
            if byte >> (7 - within) & 1 == 1 {
                path.push((bit, fold(self.level, left)));
                from = split;
            } else {
                path.push((bit, fold(self.level, right)));
                to = split;
            }
        }
        self.slots.get(from).copied()
    }
}

/// Where slots part: the first bit of the byte in which they differ, and how many have it unset.
fn branch(nodes: &[(u8, Sha256)]) -> Option<(u8, usize)> {
    let [(first, _), .., (last, _)] = nodes else {
        return None;
    };
    let bit = u8::try_from((first ^ last).leading_zeros()).ok()?;
    let unset = nodes.partition_point(|(byte, _)| byte >> (7 - bit) & 1 == 0);
    Some((bit, unset))
}

/// The node over slots; `nodes` is never empty.
fn fold(level: u8, nodes: &[(u8, Sha256)]) -> Sha256 {
    match branch(nodes) {
        Some((bit, split)) => {
            let (left, right) = nodes.split_at(split);
            inner_node(level * 8 + bit, &fold(level, left), &fold(level, right))
        }
        None => nodes.first().map_or(super::EMPTY_MAP, |(_, node)| *node),
    }
}
