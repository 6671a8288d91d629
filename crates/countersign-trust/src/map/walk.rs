//! Looking up and changing the map where it lies: in tiles that somebody else fetches.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use super::tile::Slot;
use super::{EMPTY_MAP, Entry, MapProof, OutOfOrder, Tile, TileError, TileId};
use crate::digest::Sha256;

/// Why a walk can not be finished.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum WalkError {
    /// A tile is not what it is called.
    #[error("the tile {id}: {reason}")]
    Tile {
        /// Which.
        id: TileId,
        /// What is wrong with it.
        reason: TileError,
    },
    /// A tile on the way was not handed in.
    #[error("the tile {0} is missing")]
    Missing(TileId),
}

/// What a change of the map makes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Applied {
    /// The new root.
    pub root: Sha256,
    /// Tiles to store before the root is shown, with their bytes.
    pub written: Vec<(TileId, Vec<u8>)>,
    /// Tiles that only older roots need.
    pub superseded: Vec<TileId>,
}

/// A way through the tiles of one root to a number of keys. It does no reading: [`Walk::wanted`] says which tiles are
/// needed next, [`Walk::supply`] takes them, until nothing more is wanted.
#[derive(Debug)]
pub struct Walk {
    root: Sha256,
    keys: BTreeSet<Sha256>,
    tiles: HashMap<TileId, Tile>,
}

impl Walk {
    /// Towards `keys`, in the map of that root.
    #[must_use]
    pub fn new(root: Sha256, keys: impl IntoIterator<Item = Sha256>) -> Self {
        Self {
            root,
            keys: keys.into_iter().collect(),
            tiles: HashMap::new(),
        }
    }

    fn top(&self) -> Option<TileId> {
        (self.root != EMPTY_MAP).then_some(TileId {
            level: 0,
            root: self.root,
        })
    }

    /// The tiles that are needed next, each with the prefix of its keys. Empty when the walk is at its end.
    #[must_use]
    pub fn wanted(&self) -> BTreeMap<TileId, Vec<u8>> {
        let mut wanted = BTreeMap::new();
        for key in &self.keys {
            let (mut at, mut prefix) = (self.top(), Vec::new());
            while let Some(id) = at {
                let Some(tile) = self.tiles.get(&id) else {
                    wanted.insert(id, prefix);
                    break;
                };
                at = None;
                if let Some((byte, Slot::Below(root))) = tile.follow(key, &mut Vec::new()) {
                    prefix.push(byte);
                    at = Some(TileId {
                        level: id.level + 1,
                        root,
                    });
                }
            }
        }
        wanted
    }

    /// Takes a tile that was wanted.
    ///
    /// # Errors
    /// [`WalkError::Tile`].
    pub fn supply(&mut self, id: TileId, prefix: &[u8], bytes: &[u8]) -> Result<(), WalkError> {
        let tile =
            Tile::parse(id, prefix, bytes).map_err(|reason| WalkError::Tile { id, reason })?;
        self.tiles.insert(id, tile);
        Ok(())
    }

    /// Proves what the map says of a key.
    ///
    /// # Errors
    /// [`WalkError::Missing`] where the walk is not at its end.
    pub fn prove(&self, key: &Sha256) -> Result<MapProof, WalkError> {
        let mut path = Vec::new();
        let mut at = self.top();
        while let Some(id) = at {
            let tile = self.tiles.get(&id).ok_or(WalkError::Missing(id))?;
            match tile.follow(key, &mut path) {
                Some((_, Slot::Below(root))) => {
                    at = Some(TileId {
                        level: id.level + 1,
                        root,
                    });
                }
                Some((_, Slot::Entry(entry))) => {
                    return Ok(MapProof {
                        found: Some(entry),
                        path,
                    });
                }
                None => return Err(WalkError::Missing(id)),
            }
        }
        Ok(MapProof { found: None, path })
    }

    /// Puts entries into the map; one that is there already gets the new value. Their keys must be among those that
    /// the walk leads to.
    ///
    /// # Errors
    /// [`WalkError::Missing`] where the walk is not at its end.
    pub fn apply(&self, entries: &BTreeMap<Sha256, Sha256>) -> Result<Applied, WalkError> {
        // Where a slot points below, the byte before it is bound by the tile below alone: a tile with a changed byte has the
        // same root, and only the next one on the way does not fit. So nothing is built on half a walk.
        let asked_for = |key: &Sha256| self.keys.contains(key);
        if let Some((id, _)) = self.wanted().first_key_value() {
            return Err(WalkError::Missing(*id));
        }
        if let (false, Some(id)) = (entries.keys().all(asked_for), self.top()) {
            return Err(WalkError::Missing(id));
        }
        let entries: Vec<Entry> = entries
            .iter()
            .map(|(key, value)| Entry {
                key: *key,
                value: *value,
            })
            .collect();
        let mut change = Change {
            tiles: &self.tiles,
            written: Vec::new(),
            superseded: Vec::new(),
        };
        let root = if entries.is_empty() {
            self.root
        } else {
            change.tile(0, self.top(), &entries)?
        };
        // A change that changes nothing would otherwise call its own tiles superseded.
        let kept: BTreeSet<TileId> = change.written.iter().map(|(id, _)| *id).collect();
        change.superseded.retain(|id| !kept.contains(id));
        Ok(Applied {
            root,
            written: change.written,
            superseded: change.superseded,
        })
    }
}

/// The whole map from its entries, a 256th at a time: what is held is one such part.
#[derive(Debug, Default)]
pub struct Whole {
    slots: Vec<(u8, Slot)>,
}

impl Whole {
    /// Adds all entries whose keys begin with `byte`, in the order of their keys; says which tiles they make. Parts come in
    /// ascending order; one without entries may be left out.
    ///
    /// # Errors
    /// [`OutOfOrder`] for a key that does not ascend, or begins with another byte.
    pub fn add(
        &mut self,
        byte: u8,
        entries: &[Entry],
    ) -> Result<Vec<(TileId, Vec<u8>)>, OutOfOrder> {
        let before = self.slots.last().map(|(byte, _)| *byte);
        let mut last: Option<Sha256> = None;
        for Entry { key, .. } in entries {
            let follows = last.is_none_or(|last| last < *key);
            if !follows || key.as_bytes()[0] != byte || before.is_some_and(|before| before >= byte)
            {
                return Err(OutOfOrder { key: *key });
            }
            last = Some(*key);
        }
        let none = HashMap::new();
        let mut change = Change {
            tiles: &none,
            written: Vec::new(),
            superseded: Vec::new(),
        };
        let slot = match entries {
            [] => return Ok(Vec::new()),
            [entry] => Slot::Entry(*entry),
            // Nothing is looked up where nothing was before.
            entries => Slot::Below(change.tile(1, None, entries).map_err(|_| OutOfOrder {
                key: entries[0].key,
            })?),
        };
        self.slots.push((byte, slot));
        Ok(change.written)
    }

    /// The root over all that was added, and the tile at the top; an empty map has none.
    #[must_use]
    pub fn finish(self) -> (Sha256, Option<(TileId, Vec<u8>)>) {
        if self.slots.is_empty() {
            return (EMPTY_MAP, None);
        }
        let tile = Tile {
            level: 0,
            slots: self.slots,
        };
        let id = tile.id();
        (id.root, Some((id, tile.to_bytes())))
    }
}

struct Change<'a> {
    tiles: &'a HashMap<TileId, Tile>,
    written: Vec<(TileId, Vec<u8>)>,
    superseded: Vec<TileId>,
}

impl Change<'_> {
    /// Writes the tile of a level anew with entries put in, and the tiles below it; gives its root.
    fn tile(
        &mut self,
        level: u8,
        before: Option<TileId>,
        entries: &[Entry],
    ) -> Result<Sha256, WalkError> {
        let mut slots: BTreeMap<u8, Slot> = match before {
            Some(id) => {
                let tile = self.tiles.get(&id).ok_or(WalkError::Missing(id))?;
                self.superseded.push(id);
                tile.slots.iter().copied().collect()
            }
            None => BTreeMap::new(),
        };
        let byte_of = |entry: &Entry| entry.key.as_bytes()[usize::from(level)];
        for group in entries.chunk_by(|one, next| byte_of(one) == byte_of(next)) {
            let Some(first) = group.first() else { continue };
            let slot = match (slots.get(&byte_of(first)), group) {
                (None, [entry]) => Slot::Entry(*entry),
                (Some(Slot::Entry(there)), [entry]) if there.key == entry.key => {
                    Slot::Entry(*entry)
                }
                (None, group) => Slot::Below(self.tile(level + 1, None, group)?),
                (Some(Slot::Entry(there)), group) => {
                    let mut group = group.to_vec();
                    if let Err(at) = group.binary_search_by_key(&there.key, |entry| entry.key) {
                        group.insert(at, *there);
                    }
                    Slot::Below(self.tile(level + 1, None, &group)?)
                }
                (Some(Slot::Below(root)), group) => {
                    let below = TileId {
                        level: level + 1,
                        root: *root,
                    };
                    Slot::Below(self.tile(level + 1, Some(below), group)?)
                }
            };
            slots.insert(byte_of(first), slot);
        }
        let tile = Tile {
            level,
            slots: slots.into_iter().collect(),
        };
        let id = tile.id();
        self.written.push((id, tile.to_bytes()));
        Ok(id.root)
    }
}
