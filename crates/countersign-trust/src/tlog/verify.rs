//! Checking proofs. One recursion serves all kinds, since each is a special case of a subtree's consistency with the
//! tree around it: inclusion is that of a subtree of one leaf, plain consistency that of a subtree that starts at 0.

use super::{EMPTY_ROOT, is_subtree, node_hash, split_point};
use crate::digest::Sha256;

/// Why a proof does not hold.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum VerifyError {
    /// The leaf, subtree or older tree is not within the tree.
    #[error("leaves {start}..{end} are not a subtree within a tree of {size} leaves")]
    Range {
        /// First leaf.
        start: u64,
        /// One past the last leaf.
        end: u64,
        /// Size of the tree.
        size: u64,
    },
    /// Nothing can be proven about the empty tree: it is a prefix of every tree, so a caller that starts from size 0
    /// has nothing to verify and must not ask.
    #[error("a consistency proof from the empty tree proves nothing")]
    FromEmpty,
    /// Too few or too many hashes.
    #[error("the proof has {found} hashes, which is a wrong number for this position and size")]
    Length {
        /// Number of hashes given.
        found: usize,
    },
    /// The proof leads to another root, or the older root does not follow from it.
    #[error("the proof leads to the root {computed}, expected {expected}")]
    Root {
        /// Where the proof leads.
        computed: Sha256,
        /// What was expected.
        expected: Sha256,
    },
}

/// Checks that the leaf with this hash is number `index` of the tree with `size` leaves and this root
/// (RFC 9162 section 2.1.3.2).
///
/// # Errors
/// [`VerifyError`].
pub fn verify_inclusion(
    leaf_hash: Sha256,
    index: u64,
    size: u64,
    proof: &[Sha256],
    root: Sha256,
) -> Result<(), VerifyError> {
    if index >= size {
        return Err(VerifyError::Range {
            start: index,
            end: index.saturating_add(1),
            size,
        });
    }
    check(index, index + 1, size, proof, leaf_hash, root)
}

/// Checks that the tree of `size1` leaves is a prefix of the tree of `size2` leaves (RFC 9162 section 2.1.4.2).
///
/// # Errors
/// [`VerifyError`]; [`VerifyError::FromEmpty`] if `size1` is 0.
pub fn verify_consistency(
    size1: u64,
    root1: Sha256,
    size2: u64,
    root2: Sha256,
    proof: &[Sha256],
) -> Result<(), VerifyError> {
    if size1 == 0 {
        return Err(VerifyError::FromEmpty);
    }
    if size1 > size2 {
        return Err(VerifyError::Range {
            start: 0,
            end: size1,
            size: size2,
        });
    }
    check(0, size1, size2, proof, root1, root2)
}

/// Checks that a leaf is number `index` of the log by its place in the subtree [start, end) with this root.
///
/// # Errors
/// [`VerifyError`].
pub fn verify_subtree_inclusion(
    leaf_hash: Sha256,
    index: u64,
    start: u64,
    end: u64,
    proof: &[Sha256],
    root: Sha256,
) -> Result<(), VerifyError> {
    if !is_subtree(start, end) || index < start || index >= end {
        return Err(VerifyError::Range {
            start,
            end,
            size: end,
        });
    }
    verify_inclusion(leaf_hash, index - start, end - start, proof, root)
}

/// Checks that the subtree [start, end) is part of the tree of `size` leaves
/// (draft-ietf-plants-merkle-tree-certs section 4.4). An empty subtree is part of every tree that reaches it.
///
/// # Errors
/// [`VerifyError`].
pub fn verify_subtree_consistency(
    start: u64,
    end: u64,
    size: u64,
    proof: &[Sha256],
    subtree_root: Sha256,
    root: Sha256,
) -> Result<(), VerifyError> {
    if end > size || (start != end && !is_subtree(start, end)) {
        return Err(VerifyError::Range { start, end, size });
    }
    if start == end {
        if !proof.is_empty() {
            return Err(VerifyError::Length { found: proof.len() });
        }
        return expect_root(subtree_root, EMPTY_ROOT);
    }
    check(start, end, size, proof, subtree_root, root)
}

/// 0 ≤ start < end ≤ size and [start, end) is a subtree (a single leaf and a prefix always are).
fn check(
    start: u64,
    end: u64,
    size: u64,
    proof: &[Sha256],
    subtree_root: Sha256,
    root: Sha256,
) -> Result<(), VerifyError> {
    let wrong_length = VerifyError::Length { found: proof.len() };
    let mut rest = proof;
    let (known, whole) =
        follow(start, end, size, Some(subtree_root), &mut rest).ok_or(wrong_length.clone())?;
    if !rest.is_empty() {
        return Err(wrong_length);
    }
    expect_root(known, subtree_root)?;
    expect_root(whole, root)
}

fn expect_root(computed: Sha256, expected: Sha256) -> Result<(), VerifyError> {
    if computed == expected {
        Ok(())
    } else {
        Err(VerifyError::Root { computed, expected })
    }
}

/// Mirrors the generation of the proof (RFC 6962 section 2.1.2, generalised to subtrees) and gives the root of
/// [start, end) and that of the whole. `known` is the root of [start, end) as long as its place in the tree is not
/// split; once it is, the proof itself brings its parts. Each level of the tree takes the last of the remaining
/// hashes, so that the depth is at most 64. `None`: too few hashes.
fn follow(
    start: u64,
    end: u64,
    size: u64,
    known: Option<Sha256>,
    proof: &mut &[Sha256],
) -> Option<(Sha256, Sha256)> {
    if start == 0 && end == size {
        let root = match known {
            Some(root) => root,
            None => take_last(proof)?,
        };
        return Some((root, root));
    }
    let split = split_point(size);
    let sibling = take_last(proof)?;
    if end <= split {
        let (sub, left) = follow(start, end, split, known, proof)?;
        Some((sub, node_hash(&left, &sibling)))
    } else if start >= split {
        let (sub, right) = follow(start - split, end - split, size - split, known, proof)?;
        Some((sub, node_hash(&sibling, &right)))
    } else {
        // A subtree that reaches over the split starts at 0: the left half is a part of it.
        let (sub, right) = follow(0, end - split, size - split, None, proof)?;
        Some((node_hash(&sibling, &sub), node_hash(&sibling, &right)))
    }
}

fn take_last(proof: &mut &[Sha256]) -> Option<Sha256> {
    let (last, rest) = proof.split_last()?;
    *proof = rest;
    Some(*last)
}
