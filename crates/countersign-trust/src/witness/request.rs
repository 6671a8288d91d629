//! Requests to a witness, read within limits and written back byte for byte.

use std::fmt;

use super::Refusal;
use crate::checkpoint::Checkpoint;
use crate::cosignature::Subtree;
use crate::digest::Sha256;
use crate::note::SignedNote;
use crate::tlog::{MAX_PROOF_HASHES, is_subtree};
use crate::{base64_encode, base64_hash, canonical_decimal};

/// The longest request that is read, in bytes: 63 hashes and a checkpoint with 64 post-quantum signatures fit.
pub const MAX_REQUEST_BYTES: usize = 256 * 1024;

/// A request for a cosignature of a checkpoint. Nothing about it is believed yet.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AddCheckpoint {
    old_size: u64,
    evidence: Evidence,
}

impl AddCheckpoint {
    /// A request: the tree of `old_size` leaves is a prefix of the checkpoint's by this proof.
    ///
    /// # Errors
    /// [`Refusal::Malformed`] when the note is no checkpoint or the proof is too long.
    pub fn new(old_size: u64, proof: Vec<Sha256>, checkpoint: &[u8]) -> Result<Self, Refusal> {
        Ok(Self {
            old_size,
            evidence: Evidence::new(proof, checkpoint)?,
        })
    }

    /// Reads a request's body.
    ///
    /// # Errors
    /// [`Refusal::Malformed`], [`Refusal::OldAboveNew`].
    pub fn parse(body: &[u8]) -> Result<Self, Refusal> {
        let (head, note) = head_and_note(body)?;
        let mut lines = head.split('\n');
        let old_size = lines
            .next()
            .and_then(|line| line.strip_prefix("old "))
            .and_then(canonical_decimal)
            .ok_or_else(|| Refusal::malformed("the first line is not `old` and a decimal size"))?;
        let request = Self::new(old_size, hashes(lines)?, note.as_bytes())?;
        if old_size > request.evidence.checkpoint.size {
            return Err(Refusal::OldAboveNew {
                old: old_size,
                new: request.evidence.checkpoint.size,
            });
        }
        Ok(request)
    }

    /// The size that the witness is said to have seen.
    #[must_use]
    pub fn old_size(&self) -> u64 {
        self.old_size
    }

    /// The consistency proof from the old size.
    #[must_use]
    pub fn proof(&self) -> &[Sha256] {
        &self.evidence.proof
    }

    /// The checkpoint. Unverified.
    #[must_use]
    pub fn checkpoint(&self) -> &Checkpoint {
        &self.evidence.checkpoint
    }

    /// The checkpoint with its signature lines. Unverified.
    #[must_use]
    pub fn note(&self) -> &SignedNote {
        &self.evidence.note
    }
}

/// The body of the request.
impl fmt::Display for AddCheckpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "old {}", self.old_size)?;
        write!(f, "{}", self.evidence)
    }
}

/// A request for a cosignature of a subtree. Nothing about it is believed yet.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SignSubtree {
    subtree: Subtree,
    evidence: Evidence,
}

impl SignSubtree {
    /// A request: the subtree is part of the checkpoint's tree by this proof.
    ///
    /// # Errors
    /// [`Refusal::Malformed`] when the note is no checkpoint, the proof is too long, or there is no such subtree.
    pub fn new(subtree: Subtree, proof: Vec<Sha256>, checkpoint: &[u8]) -> Result<Self, Refusal> {
        let evidence = Evidence::new(proof, checkpoint)?;
        let size = evidence.checkpoint.size;
        if !is_subtree(subtree.start, subtree.end) || subtree.end > size {
            return Err(Refusal::malformed(format!(
                "{}..{} is no subtree of a tree of {size} leaves",
                subtree.start, subtree.end
            )));
        }
        Ok(Self { subtree, evidence })
    }

    /// Reads a request's body.
    ///
    /// # Errors
    /// [`Refusal::Malformed`].
    pub fn parse(body: &[u8]) -> Result<Self, Refusal> {
        let (head, note) = head_and_note(body)?;
        let mut lines = head.split('\n');
        let (start, end) = lines
            .next()
            .and_then(|line| line.strip_prefix("subtree ")?.split_once(' '))
            .and_then(|(start, end)| Some((canonical_decimal(start)?, canonical_decimal(end)?)))
            .ok_or_else(|| {
                Refusal::malformed("the first line is not `subtree` and two decimal numbers")
            })?;
        let hash = lines
            .next()
            .and_then(base64_hash)
            .ok_or_else(|| Refusal::malformed("the second line is not the base64 of a hash"))?;
        let subtree = Subtree { start, end, hash };
        Self::new(subtree, hashes(lines)?, note.as_bytes())
    }

    /// The subtree to be signed.
    #[must_use]
    pub fn subtree(&self) -> Subtree {
        self.subtree
    }

    /// The proof that it is part of the checkpoint's tree.
    #[must_use]
    pub fn proof(&self) -> &[Sha256] {
        &self.evidence.proof
    }

    /// The checkpoint that is referred to. Unverified.
    #[must_use]
    pub fn checkpoint(&self) -> &Checkpoint {
        &self.evidence.checkpoint
    }

    /// That checkpoint with its signature lines. Unverified.
    #[must_use]
    pub fn note(&self) -> &SignedNote {
        &self.evidence.note
    }
}

/// The body of the request.
impl fmt::Display for SignSubtree {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "subtree {} {}", self.subtree.start, self.subtree.end)?;
        writeln!(f, "{}", base64_encode(&self.subtree.hash.0))?;
        write!(f, "{}", self.evidence)
    }
}

/// The lines before the first empty line, and the note after it.
fn head_and_note(body: &[u8]) -> Result<(&str, &str), Refusal> {
    if body.len() > MAX_REQUEST_BYTES {
        return Err(Refusal::malformed(format!(
            "longer than {MAX_REQUEST_BYTES} bytes"
        )));
    }
    let body = std::str::from_utf8(body).map_err(|_| Refusal::malformed("not UTF-8"))?;
    body.split_once("\n\n")
        .ok_or_else(|| Refusal::malformed("no empty line before the checkpoint"))
}

fn hashes<'a>(lines: impl Iterator<Item = &'a str>) -> Result<Vec<Sha256>, Refusal> {
    let mut hashes = Vec::new();
    for line in lines {
        if hashes.len() == MAX_PROOF_HASHES {
            return Err(Refusal::malformed("more than 63 proof lines"));
        }
        hashes.push(base64_hash(line).ok_or_else(|| {
            Refusal::malformed("a proof line is not the base64 of a hash of 32 bytes")
        })?);
    }
    Ok(hashes)
}

/// What both requests end with: a proof, and the checkpoint that it leads to.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Evidence {
    proof: Vec<Sha256>,
    note: SignedNote,
    checkpoint: Checkpoint,
}

impl Evidence {
    fn new(proof: Vec<Sha256>, note: &[u8]) -> Result<Self, Refusal> {
        if proof.len() > MAX_PROOF_HASHES {
            return Err(Refusal::malformed("more than 63 proof lines"));
        }
        let note =
            SignedNote::parse(note).map_err(|error| Refusal::malformed(error.to_string()))?;
        let checkpoint = Checkpoint::parse(note.text())
            .map_err(|error| Refusal::malformed(error.to_string()))?;
        Ok(Self {
            proof,
            note,
            checkpoint,
        })
    }
}

/// The lines of the proof, an empty one, and the note.
impl fmt::Display for Evidence {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for hash in &self.proof {
            writeln!(f, "{}", base64_encode(&hash.0))?;
        }
        write!(f, "\n{}", self.note)
    }
}
