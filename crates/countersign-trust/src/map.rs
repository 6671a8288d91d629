//! The map: what the log says of each identifier and each project, under one root (`docs/spec/map.md`).
//!
//! It is a function of the log's leaves, so that anyone can make it again. Its root is committed in the log by a leaf
//! of kind `map-root`. A path of some twenty hashes then proves that an identifier has exactly this leaf, that these are
//! all leaves of a project, or that either is unknown.
//!
//! - [`Replay`] makes the map from leaves, for whoever audits or starts anew.
//! - [`Tile`] and [`Walk`] are the map on disk: content-addressed tiles, of which a change rewrites a few; [`Whole`] makes
//!   them all.
//! - [`MapProof`] is what a client checks.

mod proof;
mod replay;
mod tile;
mod walk;

#[cfg(test)]
mod tests;

pub use proof::{MAX_MAP_PROOF_BYTES, MapProof, MapProofError};
pub use replay::{Replay, ReplayError};
pub use tile::{MAX_TILE_BYTES, Tile, TileError, TileId};
pub use walk::{Applied, Walk, WalkError, Whole};

use crate::digest::Sha256;

/// Root of a map without entries: SHA-256 of nothing, as for an empty tree of RFC 6962.
pub const EMPTY_MAP: Sha256 = crate::tlog::EMPTY_ROOT;

/// One entry of the map.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Entry {
    /// Where it stands: [`crate::leaf::identifier_hash`] or [`project_key`].
    pub key: Sha256,
    /// What it says: the leaf hash of an identifier's publication, or [`ProjectState::value`].
    pub value: Sha256,
}

impl Entry {
    /// Its node: SHA-256(0x00 ‖ key ‖ value).
    #[must_use]
    pub fn node(&self) -> Sha256 {
        Sha256::of_parts(&[&[0], self.key.as_bytes(), self.value.as_bytes()])
    }
}

/// An inner node: SHA-256(0x01 ‖ bit ‖ left ‖ right). `bit` is the first in which keys below it differ, counted from
/// the most significant bit of a key's first byte; those that have it unset are on the left.
#[must_use]
pub fn inner_node(bit: u8, left: &Sha256, right: &Sha256) -> Sha256 {
    Sha256::of_parts(&[&[1, bit], left.as_bytes(), right.as_bytes()])
}

/// Bit number `bit` of a key.
#[must_use]
pub fn bit_of(key: &Sha256, bit: u8) -> bool {
    let byte = key.as_bytes()[usize::from(bit / 8)];
    byte >> (7 - bit % 8) & 1 == 1
}

/// Where a project stands: SHA-256("countersign-project/v1" LF ‖ purl of the project).
#[must_use]
pub fn project_key(purl: &str) -> Sha256 {
    Sha256::of_parts(&[b"countersign-project/v1\n", purl.as_bytes()])
}

/// The project that a leaf's subject belongs to: the purl without version and file.
#[must_use]
pub fn project_of(subject: &str) -> &str {
    subject.split(['@', '?']).next().unwrap_or(subject)
}

/// All that happened to one project: how many leaves it has, and their chain.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ProjectState {
    /// Number of its leaves; the `sequence` of the newest.
    pub count: u64,
    /// Folds the hashes of its leaves in the order of their sequence.
    pub chain: Sha256,
}

impl ProjectState {
    /// A project without leaves.
    pub const NONE: Self = Self {
        count: 0,
        chain: Sha256([0; 32]),
    };

    /// With one more leaf: SHA-256("countersign-project-chain/v1" LF ‖ chain before ‖ leaf hash).
    #[must_use]
    pub fn followed_by(self, leaf_hash: &Sha256) -> Self {
        Self {
            count: self.count + 1,
            chain: Sha256::of_parts(&[
                b"countersign-project-chain/v1\n",
                self.chain.as_bytes(),
                leaf_hash.as_bytes(),
            ]),
        }
    }

    /// What the map holds: SHA-256("countersign-project-state/v1" LF ‖ count, 8 bytes big-endian ‖ chain).
    #[must_use]
    pub fn value(&self) -> Sha256 {
        Sha256::of_parts(&[
            b"countersign-project-state/v1\n",
            &self.count.to_be_bytes(),
            self.chain.as_bytes(),
        ])
    }
}

/// The root over entries in the order of their keys, without keeping them: the nodes on the way to the newest entry are
/// all that is held.
#[derive(Debug, Default)]
pub struct RootBuilder {
    newest: Option<Entry>,
    /// Finished left sides, by the bit at which their node will branch, from the top down.
    open: Vec<(u8, Sha256)>,
}

/// Entries did not come in strictly ascending order of their keys.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the key {key} does not follow the one before: entries must ascend, each key once")]
pub struct OutOfOrder {
    /// The key that came too late.
    pub key: Sha256,
}

impl RootBuilder {
    /// Adds the next entry.
    ///
    /// # Errors
    /// [`OutOfOrder`].
    pub fn push(&mut self, entry: Entry) -> Result<(), OutOfOrder> {
        if let Some(newest) = self.newest {
            let out_of_order = OutOfOrder { key: entry.key };
            if entry.key <= newest.key {
                return Err(out_of_order);
            }
            let bit = first_difference(&newest.key, &entry.key).ok_or(out_of_order)?;
            let mut left = newest.node();
            while let Some((above, sibling)) = self.open.pop_if(|(above, _)| *above > bit) {
                left = inner_node(above, &sibling, &left);
            }
            self.open.push((bit, left));
        }
        self.newest = Some(entry);
        Ok(())
    }

    /// The root over all that was added.
    #[must_use]
    pub fn root(&self) -> Sha256 {
        let Some(newest) = self.newest else {
            return EMPTY_MAP;
        };
        self.open
            .iter()
            .rev()
            .fold(newest.node(), |right, (bit, left)| {
                inner_node(*bit, left, &right)
            })
    }
}

/// The first bit in which two keys differ.
fn first_difference(one: &Sha256, other: &Sha256) -> Option<u8> {
    let pairs = one.as_bytes().iter().zip(other.as_bytes());
    (0_u8..=31).zip(pairs).find_map(|(at, (a, b))| {
        let zeros = u8::try_from((a ^ b).leading_zeros()).ok()?;
        (zeros < 8).then_some(at * 8 + zeros)
    })
}
