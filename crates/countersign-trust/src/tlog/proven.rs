//! Many proofs under one root: what one has proven, the next need not prove again.

use super::{VerifyError, node_hash, split_point, verify_inclusion};
use crate::digest::Sha256;

/// Levels below the root that are remembered: 2^15 - 1 nodes at most, some 1.3 MB.
const DEPTH: u32 = 14;

/// A node that is part of the tree for certain.
#[derive(Clone, Copy)]
struct Node {
    hash: Sha256,
    /// The place of the left half in the list; the right half follows it. 0 where they are not known.
    halves: usize,
}

/// A tree of a log by its root, with those of its upper nodes that proofs led to. The paths of any two leaves end in the
/// same nodes; whoever checks many proofs against one checkpoint hashes those once. It accepts what [`verify_inclusion`]
/// accepts, and refuses what that refuses.
pub struct ProvenTree {
    size: u64,
    /// The root is first.
    nodes: Vec<Node>,
    /// The nodes that the proof under way leads to, from the leaf up.
    path: Vec<Sha256>,
}

impl ProvenTree {
    /// The tree of a checkpoint that was verified.
    #[must_use]
    pub fn new(size: u64, root: Sha256) -> Self {
        let root = Node {
            hash: root,
            halves: 0,
        };
        Self {
            size,
            nodes: vec![root],
            path: Vec::new(),
        }
    }

    /// Checks that the leaf with this hash is number `index` (RFC 9162 section 2.1.3.2).
    ///
    /// # Errors
    /// [`VerifyError`], as [`verify_inclusion`]; of a proof whose upper part is wrong, [`VerifyError::Root`] names the node
    /// at which it left the tree.
    pub fn verify_inclusion(
        &mut self,
        leaf_hash: Sha256,
        index: u64,
        proof: &[Sha256],
    ) -> Result<(), VerifyError> {
        if index >= self.size {
            return verify_inclusion(leaf_hash, index, self.size, proof, self.nodes[0].hash);
        }
        let wrong_length = VerifyError::Length { found: proof.len() };
        let (mut place, mut depth) = (0, 0);
        let (mut index, mut size, mut rest) = (index, self.size, proof);
        // Down through what is known: the proof must say the same of it.
        while let (halves @ 1.., 2..) = (self.nodes[place].halves, size) {
            let (sibling, below) = rest.split_last().ok_or_else(|| wrong_length.clone())?;
            let (left, right) = (&self.nodes[halves].hash, &self.nodes[halves + 1].hash);
            let split = split_point(size);
            let computed = if index < split {
                (place, size) = (halves, split);
                (sibling != right).then(|| node_hash(left, sibling))
            } else {
                (place, index, size) = (halves + 1, index - split, size - split);
                (sibling != left).then(|| node_hash(sibling, right))
            };
            if let Some(computed) = computed {
                let expected = node_hash(left, right);
                return Err(VerifyError::Root { computed, expected });
            }
            (rest, depth) = (below, depth + 1);
        }
        // Which half the leaf is in, from here down: the lowest bit is the last step.
        let (mut sides, mut steps) = (0_u64, 0);
        while size > 1 {
            let split = split_point(size);
            let right = index >= split;
            (index, size) = if right {
                (index - split, size - split)
            } else {
                (index, split)
            };
            (sides, steps) = (sides << 1 | u64::from(right), steps + 1);
        }
        if rest.len() != steps {
            return Err(wrong_length);
        }
        self.path.clear();
        let mut computed = leaf_hash;
        for (step, sibling) in rest.iter().enumerate() {
            self.path.push(computed);
            computed = if sides >> step & 1 == 1 {
                node_hash(sibling, &computed)
            } else {
                node_hash(&computed, sibling)
            };
        }
        let expected = self.nodes[place].hash;
        if computed != expected {
            return Err(VerifyError::Root { computed, expected });
        }
        // All of them are part of the tree now; the upper ones are kept.
        for step in (0..steps).rev() {
            if depth == DEPTH {
                break;
            }
            depth += 1;
            let [known, sibling] =
                [self.path[step], rest[step]].map(|hash| Node { hash, halves: 0 });
            let halves = self.nodes.len();
            self.nodes[place].halves = halves;
            place = if sides >> step & 1 == 1 {
                self.nodes.extend([sibling, known]);
                halves + 1
            } else {
                self.nodes.extend([known, sibling]);
                halves
            };
        }
        Ok(())
    }
}
