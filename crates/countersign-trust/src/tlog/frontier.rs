//! The compact range of a growing tree: all that is needed to append and to know the root.

use super::{EMPTY_ROOT, node_hash};
use crate::digest::Sha256;

/// The roots of the perfect subtrees that make up a tree, from left (largest) to right: one per set bit of its size.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Frontier {
    size: u64,
    hashes: Vec<Sha256>,
}

impl Frontier {
    /// The tree without leaves.
    #[must_use]
    pub fn empty() -> Self {
        Self {
            size: 0,
            hashes: Vec::new(),
        }
    }

    /// A stored frontier, or `None` when the number of hashes does not fit the size. Whether they are the right ones
    /// shows in [`Frontier::root`].
    #[must_use]
    pub fn from_parts(size: u64, hashes: Vec<Sha256>) -> Option<Self> {
        (hashes.len() == size.count_ones() as usize).then_some(Self { size, hashes })
    }

    /// Number of leaves.
    #[must_use]
    pub fn size(&self) -> u64 {
        self.size
    }

    /// The hashes, for storage next to the size.
    #[must_use]
    pub fn hashes(&self) -> &[Sha256] {
        &self.hashes
    }

    /// Appends a leaf, given its [`super::leaf_hash`].
    ///
    /// # Panics
    /// At 2^64 - 1 leaves.
    pub fn append(&mut self, leaf_hash: Sha256) {
        let mut hash = leaf_hash;
        // Each trailing one of the size is a perfect subtree as large as what has been built so far.
        for _ in 0..self.size.trailing_ones() {
            let left = self.hashes.pop().expect("one hash per set bit of the size");
            hash = node_hash(&left, &hash);
        }
        self.hashes.push(hash);
        self.size = self
            .size
            .checked_add(1)
            .expect("a log never has 2^64 leaves");
    }

    /// Merkle root of the tree.
    #[must_use]
    pub fn root(&self) -> Sha256 {
        self.hashes
            .iter()
            .rev()
            .copied()
            .reduce(|right, left| node_hash(&left, &right))
            .unwrap_or(EMPTY_ROOT)
    }
}

impl Default for Frontier {
    fn default() -> Self {
        Self::empty()
    }
}
