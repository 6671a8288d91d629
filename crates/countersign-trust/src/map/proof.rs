//! What a client checks: a path from an entry to the root.

use std::fmt;

use super::{Entry, bit_of, inner_node};
use crate::canonical_decimal;
use crate::digest::Sha256;

/// The longest proof that is parsed, in bytes.
pub const MAX_MAP_PROOF_BYTES: usize = 32 * 1024;

const HEADER: &str = "countersign-map-proof/v1";

/// Why a proof of the map is malformed or does not hold.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum MapProofError {
    /// Not a proof.
    #[error("not a proof of the map: {reason}")]
    Format {
        /// Which part is wrong, and how.
        reason: &'static str,
    },
    /// The entry does not stand where the key's bits lead.
    #[error("the entry of the proof, {found}, does not stand on the way to {key}")]
    Place {
        /// The key in question.
        key: Sha256,
        /// The key of the proof's entry.
        found: Sha256,
    },
    /// The path leads to another root.
    #[error("the proof leads to the root {found}, not to {expected}")]
    Root {
        /// The root that is believed.
        expected: Sha256,
        /// What the proof gives.
        found: Sha256,
    },
}

/// What the map says of one key, or that it says nothing. Nothing of it is believed until [`MapProof::verify`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MapProof {
    /// The entry where the key's bits lead: its own, or another one where it has none. None in an empty map only.
    pub found: Option<Entry>,
    /// The nodes on the way from the root down: the bit at which each branches, and the side that was not taken.
    pub path: Vec<(u8, Sha256)>,
}

impl MapProof {
    /// Reads a proof.
    ///
    /// # Errors
    /// [`MapProofError::Format`].
    pub fn parse(proof: &[u8]) -> Result<Self, MapProofError> {
        let refuse = |reason| MapProofError::Format { reason };
        if proof.len() > MAX_MAP_PROOF_BYTES {
            return Err(refuse("longer than 32 KiB"));
        }
        let text = std::str::from_utf8(proof)
            .ok()
            .and_then(|text| text.strip_suffix('\n'))
            .ok_or(refuse("not UTF-8 lines"))?;
        let mut lines = text.split('\n');
        if lines.next() != Some(HEADER) {
            return Err(refuse("the first line is not countersign-map-proof/v1"));
        }
        let hash = |word: &str| word.parse::<Sha256>().ok();
        let found = match lines.next() {
            Some("none") => None,
            Some(line) => Some(
                line.strip_prefix("entry ")
                    .and_then(|rest| rest.split_once(' '))
                    .and_then(|(key, value)| {
                        Some(Entry {
                            key: hash(key)?,
                            value: hash(value)?,
                        })
                    })
                    .ok_or(refuse("the second line is neither `none` nor an entry"))?,
            ),
            None => return Err(refuse("the second line is missing")),
        };
        let mut path: Vec<(u8, Sha256)> = Vec::new();
        for line in lines {
            let (bit, sibling) = line
                .strip_prefix("node ")
                .and_then(|rest| rest.split_once(' '))
                .and_then(|(bit, sibling)| {
                    let bit = u8::try_from(canonical_decimal(bit)?).ok()?;
                    Some((bit, hash(sibling)?))
                })
                .ok_or(refuse("a line is not `node`, a bit and a hash"))?;
            if path.last().is_some_and(|(above, _)| *above >= bit) {
                return Err(refuse("the bits do not ascend"));
            }
            path.push((bit, sibling));
        }
        if found.is_none() && !path.is_empty() {
            return Err(refuse("an empty map has no nodes"));
        }
        Ok(Self { found, path })
    }

    /// What the map of that root says of a key: its value, or `None` where the key is not in the map.
    ///
    /// # Errors
    /// [`MapProofError::Place`], [`MapProofError::Root`]; [`MapProofError::Format`] where it was built with bits that
    /// do not ascend.
    pub fn verify(&self, root: &Sha256, key: &Sha256) -> Result<Option<Sha256>, MapProofError> {
        let ascending = self
            .path
            .is_sorted_by(|(above, _), (below, _)| above < below);
        if !ascending {
            return Err(MapProofError::Format {
                reason: "the bits do not ascend",
            });
        }
        let mut node = super::EMPTY_MAP;
        if let Some(found) = self.found {
            // Else a proof could lead somebody who asks for one key into the side of another.
            if self
                .path
                .iter()
                .any(|(bit, _)| bit_of(&found.key, *bit) != bit_of(key, *bit))
            {
                return Err(MapProofError::Place {
                    key: *key,
                    found: found.key,
                });
            }
            node = found.node();
            for (bit, sibling) in self.path.iter().rev() {
                node = if bit_of(key, *bit) {
                    inner_node(*bit, sibling, &node)
                } else {
                    inner_node(*bit, &node, sibling)
                };
            }
        }
        if node != *root {
            return Err(MapProofError::Root {
                expected: *root,
                found: node,
            });
        }
        Ok(self
            .found
            .filter(|found| found.key == *key)
            .map(|found| found.value))
    }
}

impl fmt::Display for MapProof {
    /// The one text of this proof, as [`MapProof::parse`] takes it.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{HEADER}")?;
        match &self.found {
            Some(entry) => writeln!(f, "entry {} {}", entry.key, entry.value)?,
            None => writeln!(f, "none")?,
        }
        for (bit, sibling) in &self.path {
            writeln!(f, "node {bit} {sibling}")?;
        }
        Ok(())
    }
}
