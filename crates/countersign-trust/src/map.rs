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
mod root;
mod tile;
mod walk;

#[cfg(test)]
mod tests;

pub use proof::{MAX_MAP_PROOF_BYTES, MapProof, MapProofError};
pub use replay::{Replay, ReplayError};
pub use root::{OutOfOrder, RootBuilder};
pub use tile::{MAX_TILE_BYTES, Tile, TileError, TileId};
pub use walk::{Applied, Walk, WalkError, Whole};

use crate::digest::{Joined, Message as _, Sha256, digests, joined, prefixed};

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
        self.message().digest()
    }

    fn message(&self) -> Joined<'_, 1> {
        joined([0], &self.key, &self.value)
    }
}

/// An inner node: SHA-256(0x01 ‖ bit ‖ left ‖ right). `bit` is the first in which keys below it differ, counted from
/// the most significant bit of a key's first byte; those that have it unset are on the left.
#[must_use]
pub fn inner_node(bit: u8, left: &Sha256, right: &Sha256) -> Sha256 {
    inner(bit, left, right).digest()
}

fn inner<'a>(bit: u8, left: &'a Sha256, right: &'a Sha256) -> Joined<'a, 2> {
    joined([1, bit], left, right)
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
    Sha256::of_parts(&[PROJECT_KEY, purl.as_bytes()])
}

/// [`project_key`] of many projects, in less time. `take` gets them in their order.
pub fn project_keys<'a>(purls: impl IntoIterator<Item = &'a str>, take: impl FnMut(Sha256)) {
    let purls = purls.into_iter();
    digests(
        purls.map(|purl| prefixed(PROJECT_KEY, purl.as_bytes())),
        take,
    );
}

const PROJECT_KEY: &[u8; 23] = b"countersign-project/v1\n";

/// The project that a leaf's subject belongs to: the purl without version and file.
#[must_use]
pub fn project_of(subject: &str) -> &str {
    let end = subject.bytes().position(|byte| matches!(byte, b'@' | b'?'));
    end.and_then(|end| subject.get(..end)).unwrap_or(subject)
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
            chain: self.next_chain(leaf_hash).digest(),
        }
    }

    fn next_chain<'a>(&'a self, leaf_hash: &'a Sha256) -> Joined<'a, 29> {
        joined(*b"countersign-project-chain/v1\n", &self.chain, leaf_hash)
    }

    /// Each of the states with one more leaf, as [`ProjectState::followed_by`] makes it; in less time. `take` gets them in
    /// their order.
    pub fn each_followed_by<'a>(
        steps: impl Iterator<Item = (&'a Self, &'a Sha256)> + Clone,
        mut take: impl FnMut(Self),
    ) {
        let mut counts = steps.clone().map(|(state, _)| state.count + 1);
        let messages = steps.map(|(state, hash)| state.next_chain(hash));
        digests(messages, |chain| {
            if let Some(count) = counts.next() {
                take(Self { count, chain });
            }
        });
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
