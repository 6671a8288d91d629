//! Merkle trees over log entries (RFC 6962 section 2, RFC 9162 section 2.1), their proofs and tiles
//! (c2sp.org/tlog-tiles). SHA-256 only.

mod entries;
mod frontier;
mod generate;
mod proven;
mod tiles;
mod verify;

pub use entries::{
    EntriesError, EntriesId, MAX_ENTRY_BYTES, decode_entries, encode_entries, entries_for_growth,
};
pub use frontier::Frontier;
pub use generate::{
    TileError, TileSource, consistency_proof, grow, inclusion_proof, root, subtree_proof,
    tiles_needed_for_consistency, tiles_needed_for_growth, tiles_needed_for_inclusion,
    tiles_needed_for_root, tiles_needed_for_subtree,
};
pub use proven::ProvenTree;
pub use tiles::{PathError, TILE_WIDTH, TileId, tiles_for_growth};
pub use verify::{
    VerifyError, verify_consistency, verify_inclusion, verify_subtree_consistency,
    verify_subtree_inclusion,
};

use crate::digest::{Sha256, digests, joined, prefixed};

/// The most hashes that any inclusion or consistency proof of a tree of at most 2^63 leaves has.
pub const MAX_PROOF_HASHES: usize = 63;

/// Root of the tree without leaves: SHA-256 of nothing.
pub const EMPTY_ROOT: Sha256 = Sha256([
    0xe3, 0xb0, 0xc4, 0x42, 0x98, 0xfc, 0x1c, 0x14, 0x9a, 0xfb, 0xf4, 0xc8, 0x99, 0x6f, 0xb9, 0x24,
    0x27, 0xae, 0x41, 0xe4, 0x64, 0x9b, 0x93, 0x4c, 0xa4, 0x95, 0x99, 0x1b, 0x78, 0x52, 0xb8, 0x55,
]);

/// Hash of a leaf with these bytes: SHA-256(0x00 ‖ data).
#[must_use]
pub fn leaf_hash(data: &[u8]) -> Sha256 {
    Sha256::of_parts(&[&[0x00], data])
}

/// Hash of an inner node: SHA-256(0x01 ‖ left ‖ right).
#[must_use]
pub fn node_hash(left: &Sha256, right: &Sha256) -> Sha256 {
    Sha256::of_joined(&[0x01], left, right)
}

/// The hashes of many leaves, as [`leaf_hash`] gives them one by one; in less time.
#[must_use]
pub fn leaf_hashes(leaves: &[&[u8]]) -> Vec<Sha256> {
    let mut hashes = Vec::with_capacity(leaves.len());
    let messages = leaves.iter().map(|leaf| prefixed(&[0x00], leaf));
    digests(messages, |hash| hashes.push(hash));
    hashes
}

/// Root over a row of hashes whose number is a power of two, as the 256 of a full tile: the hashes of their pairs, and of the
/// pairs of these. `None` for another number.
#[must_use]
pub fn row_root(row: &[Sha256]) -> Option<Sha256> {
    if !row.len().is_power_of_two() {
        return None;
    }
    let mut row = row.to_vec();
    while row.len() > 1 {
        let mut above = Vec::with_capacity(row.len() / 2);
        let pairs = row.as_chunks::<2>().0.iter();
        let nodes = pairs.map(|[left, right]| joined([0x01], left, right));
        digests(nodes, |hash| above.push(hash));
        row = above;
    }
    row.first().copied()
}

/// The largest power of two below `n`: where a tree of `n` leaves splits. `n` must be at least 2.
fn split_point(n: u64) -> u64 {
    debug_assert!(n >= 2, "a single leaf does not split");
    1 << (63 - (n - 1).leading_zeros())
}

/// Whether [start, end) is a subtree: not empty and `start` a multiple of the smallest power of two ≥ its length
/// (draft-ietf-plants-merkle-tree-certs section 4.1).
pub(crate) fn is_subtree(start: u64, end: u64) -> bool {
    end.checked_sub(start)
        .filter(|length| *length > 0)
        .and_then(u64::checked_next_power_of_two)
        .is_some_and(|power| start.is_multiple_of(power))
}

#[cfg(test)]
mod tests;
