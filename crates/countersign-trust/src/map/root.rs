//! The root over entries in the order of their keys.

use super::{EMPTY_MAP, Entry, inner};
use crate::digest::{Sha256, digests};

/// The root over entries in the order of their keys, without keeping them: the nodes on the way to the newest entry are
/// all that is held.
#[derive(Debug, Default)]
pub struct RootBuilder {
    /// The newest key and its node.
    newest: Option<(Sha256, Sha256)>,
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

/// A node that is still to be hashed, of two others.
struct Planned {
    bit: u8,
    left: u32,
    right: u32,
}

/// Nodes by their numbers, and which of them are to be hashed at which height above those that are known.
#[derive(Default)]
struct Plan {
    /// Hashes of the nodes that are known.
    known: Vec<Sha256>,
    planned: Vec<Planned>,
    /// For each planned node its height, 0 for those of known nodes alone.
    heights: Vec<u8>,
}

impl Plan {
    fn height_above(&self, node: u32) -> u8 {
        let planned = (node as usize).checked_sub(self.known.len());
        planned.map_or(0, |at| self.heights[at] + 1)
    }

    /// The node over two others. All known ones must be there.
    fn inner(&mut self, bit: u8, left: u32, right: u32) -> u32 {
        // Bits ascend on the way down, so there are at most 256 heights.
        let height = self.height_above(left).max(self.height_above(right));
        self.heights.push(height);
        self.planned.push(Planned { bit, left, right });
        (self.known.len() + self.planned.len() - 1) as u32
    }

    /// The hashes of all nodes. Those of one height do not need each other, so they are hashed together.
    fn carried_out(self) -> Vec<Sha256> {
        let Self {
            known: mut nodes,
            planned,
            heights,
        } = self;
        let known = nodes.len();
        let mut ends = [0_usize; 257];
        for height in &heights {
            ends[usize::from(*height) + 1] += 1;
        }
        for height in 1..ends.len() {
            ends[height] += ends[height - 1];
        }
        let (mut at, mut order) = (ends, vec![0_u32; planned.len()]);
        for (number, height) in (0_u32..).zip(&heights) {
            let place = &mut at[usize::from(*height)];
            order[*place] = number;
            *place += 1;
        }
        nodes.resize(known + planned.len(), EMPTY_MAP);
        let mut made = Vec::new();
        for range in ends.windows(2).take_while(|range| range[0] < order.len()) {
            let level = &order[range[0]..range[1]];
            let messages = level.iter().map(|number| {
                let Planned { bit, left, right } = &planned[*number as usize];
                inner(*bit, &nodes[*left as usize], &nodes[*right as usize])
            });
            made.clear();
            digests(messages, |node| made.push(node));
            for (number, node) in level.iter().zip(&made) {
                nodes[known + *number as usize] = *node;
            }
        }
        nodes
    }
}

/// Most entries that are planned at once: some 200 bytes each.
const PLANNED_AT_ONCE: usize = 1 << 14;

impl RootBuilder {
    /// Adds the next entry.
    ///
    /// # Errors
    /// [`OutOfOrder`].
    pub fn push(&mut self, entry: Entry) -> Result<(), OutOfOrder> {
        if let Some((newest, node)) = &self.newest {
            let bit = branching(newest, &entry.key)?;
            let mut left = *node;
            while let Some((above, sibling)) = self.open.pop_if(|(above, _)| *above > bit) {
                left = super::inner_node(above, &sibling, &left);
            }
            self.open.push((bit, left));
        }
        self.newest = Some((entry.key, entry.node()));
        Ok(())
    }

    /// Adds the next entries, as [`RootBuilder::push`] does one by one; in less time where they are many.
    ///
    /// # Errors
    /// [`OutOfOrder`]; the builder is of no use afterwards.
    pub fn extend(&mut self, entries: &[Entry]) -> Result<(), OutOfOrder> {
        for entries in entries.chunks(PLANNED_AT_ONCE) {
            self.extend_by_plan(entries)?;
        }
        Ok(())
    }

    fn extend_by_plan(&mut self, entries: &[Entry]) -> Result<(), OutOfOrder> {
        let Some((last, others)) = entries.split_last() else {
            return Ok(());
        };
        let mut plan = Plan::default();
        plan.known.reserve(self.open.len() + 1 + entries.len());
        plan.known.extend(self.open.iter().map(|(_, node)| *node));
        let mut open: Vec<(u8, u32)> = self.open.iter().map(|(bit, _)| *bit).zip(0..).collect();
        let before = self.newest.take();
        plan.known.extend(before.map(|(_, node)| node));
        let mut newest = (plan.known.len() as u32).wrapping_sub(1);
        let mut key = before.map(|(key, _)| key);
        let leaves = entries.iter().map(Entry::message);
        digests(leaves, |node| plan.known.push(node));
        for entry in others.iter().chain([last]) {
            if let Some(before) = key.replace(entry.key) {
                let bit = branching(&before, &entry.key)?;
                let mut left = newest;
                while let Some((above, sibling)) = open.pop_if(|(above, _)| *above > bit) {
                    left = plan.inner(above, sibling, left);
                }
                open.push((bit, left));
            }
            newest = newest.wrapping_add(1);
        }
        let nodes = plan.carried_out();
        let node = |number: u32| nodes[number as usize];
        self.open = open.into_iter().map(|(bit, at)| (bit, node(at))).collect();
        self.newest = Some((last.key, node(newest)));
        Ok(())
    }

    /// The root over all that was added.
    #[must_use]
    pub fn root(&self) -> Sha256 {
        let Some((_, newest)) = self.newest else {
            return EMPTY_MAP;
        };
        let open = self.open.iter().rev();
        open.fold(newest, |right, (bit, left)| {
            super::inner_node(*bit, left, &right)
        })
    }
}

/// The first bit in which two keys differ, of which the second must follow the first.
fn branching(one: &Sha256, next: &Sha256) -> Result<u8, OutOfOrder> {
    let words = |key: &Sha256| -> [u64; 4] {
        let words = key.0.as_chunks::<8>().0;
        std::array::from_fn(|at| u64::from_be_bytes(words[at]))
    };
    for (at, (a, b)) in (0_u8..4).zip(words(one).into_iter().zip(words(next))) {
        if a != b {
            let within = (a ^ b).leading_zeros() as u8;
            return if a < b {
                Ok(at * 64 + within)
            } else {
                Err(OutOfOrder { key: *next })
            };
        }
    }
    Err(OutOfOrder { key: *next })
}
