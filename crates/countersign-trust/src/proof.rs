//! Proof files (c2sp.org/tlog-proof): a leaf's place, its path to the root, and the signed root, in one text that is
//! checked offline.

use std::fmt;

use crate::checkpoint::{self, CheckpointError, VerifiedCheckpoint};
use crate::digest::Sha256;
use crate::note::{MAX_NOTE_BYTES, VerifierKey};
use crate::tlog::{self, MAX_PROOF_HASHES, VerifyError};
use crate::{base64_decode, base64_encode, base64_hash, canonical_decimal};

/// The longest proof file that is parsed, in bytes.
pub const MAX_PROOF_BYTES: usize = MAX_NOTE_BYTES + 128 * 1024;
/// The most extra data that is read, in bytes.
pub const MAX_EXTRA_BYTES: usize = 64 * 1024;

/// Characters of a hash in base64.
const HASH_LINE: usize = 44;
const HEADER: &str = "c2sp.org/tlog-proof@v1";

/// Why a proof is malformed or does not hold.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ProofError {
    /// Not a proof file.
    #[error("not a tlog proof: {reason}")]
    Format {
        /// Which part is wrong, and how.
        reason: &'static str,
    },
    /// The checkpoint in it.
    #[error(transparent)]
    Checkpoint(#[from] CheckpointError),
    /// The leaf is not at its place in the checkpoint's tree.
    #[error("the entry is not in the log at index {index}: {reason}")]
    Inclusion {
        /// The claimed index.
        index: u64,
        /// What does not fit.
        reason: VerifyError,
    },
}

/// A proof file. Nothing about it is believed until [`TlogProof::verify`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TlogProof {
    /// Data for the application, never authenticated: do not trust it.
    pub extra: Option<Vec<u8>>,
    /// Index of the leaf.
    pub index: u64,
    /// Inclusion proof, from the leaf's sibling up to the root's child.
    pub hashes: Vec<Sha256>,
    /// The signed checkpoint, verbatim.
    pub checkpoint: String,
}

impl TlogProof {
    /// Reads a proof file. The checkpoint within is taken as it is.
    ///
    /// # Errors
    /// [`ProofError::Format`].
    pub fn parse(proof: &[u8]) -> Result<Self, ProofError> {
        let refuse = |reason| ProofError::Format { reason };
        if proof.len() > MAX_PROOF_BYTES {
            return Err(refuse("longer than 640 KiB"));
        }
        let proof = std::str::from_utf8(proof).map_err(|_| refuse("not UTF-8"))?;
        // Line by line: to look for the empty one first would be to read all twice.
        let mut rest = proof;
        if next_line(&mut rest)? != HEADER {
            return Err(refuse("the first line is not c2sp.org/tlog-proof@v1"));
        }
        let mut line = next_line(&mut rest)?;
        let mut extra = None;
        if let Some(encoded) = line.strip_prefix("extra ") {
            let data = base64_decode(encoded).ok_or(refuse("the extra data is not base64"))?;
            if data.len() > MAX_EXTRA_BYTES {
                return Err(refuse("more than 64 KiB of extra data"));
            }
            extra = Some(data);
            line = next_line(&mut rest)?;
        }
        let index = line
            .strip_prefix("index ")
            .and_then(canonical_decimal)
            .ok_or(refuse("the index line is not `index` and a decimal number"))?;
        let mut hashes = Vec::with_capacity(24);
        loop {
            // A hash's line is 44 characters long; there is no need to look for its end.
            let hash = match rest.split_at_checked(HASH_LINE) {
                Some((line, after)) if after.starts_with('\n') && !line.starts_with('\n') => {
                    rest = &after[1..];
                    base64_hash(line)
                }
                _ => match next_line(&mut rest)? {
                    "" => break,
                    _ => None,
                },
            };
            if hashes.len() == MAX_PROOF_HASHES {
                return Err(refuse("more than 63 hashes"));
            }
            hashes.push(hash.ok_or(refuse("a hash line is not the base64 of 32 bytes"))?);
        }
        Ok(Self {
            extra,
            index,
            hashes,
            checkpoint: rest.to_owned(),
        })
    }

    /// Checks that `leaf` (the entry's bytes, rebuilt from what the caller knows and never taken from the proof)
    /// stands in the log `origin`: the checkpoint is signed by the log and no line of the known `keys` is wrong, and
    /// the path leads from the leaf to its root. Whether enough witnesses signed is for [`crate::policy`] to judge on
    /// the result.
    ///
    /// # Errors
    /// [`ProofError`].
    pub fn verify(
        &self,
        leaf: &[u8],
        keys: &[VerifierKey],
        origin: &str,
    ) -> Result<VerifiedCheckpoint, ProofError> {
        let verified = checkpoint::open(self.checkpoint.as_bytes(), keys, origin)?;
        tlog::verify_inclusion(
            tlog::leaf_hash(leaf),
            self.index,
            verified.size(),
            &self.hashes,
            verified.root(),
        )
        .map_err(|reason| ProofError::Inclusion {
            index: self.index,
            reason,
        })?;
        Ok(verified)
    }
}

/// The line that `rest` begins with, which it loses.
fn next_line<'a>(rest: &mut &'a str) -> Result<&'a str, ProofError> {
    let (line, after) = rest.split_once('\n').ok_or(ProofError::Format {
        reason: "no empty line before the checkpoint",
    })?;
    *rest = after;
    Ok(line)
}

/// The file's text.
impl fmt::Display for TlogProof {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{HEADER}")?;
        if let Some(extra) = &self.extra {
            writeln!(f, "extra {}", base64_encode(extra))?;
        }
        writeln!(f, "index {}", self.index)?;
        for hash in &self.hashes {
            writeln!(f, "{}", base64_encode(&hash.0))?;
        }
        write!(f, "\n{}", self.checkpoint)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::checkpoint::Checkpoint;
    use crate::note::{KeyName, MlDsaKey, SignerKey};
    use crate::tlog::{Frontier, grow, inclusion_proof};
    use std::collections::HashMap;

    const ORIGIN: &str = "packages.example/log/1";

    fn entry(index: u64) -> Vec<u8> {
        format!("entry {index}").into_bytes()
    }

    fn proof_of(index: u64, size: u64, with_ml_dsa: bool) -> (TlogProof, Vec<VerifierKey>) {
        let hashes: Vec<Sha256> = (0..size)
            .map(|index| tlog::leaf_hash(&entry(index)))
            .collect();
        let none: HashMap<_, Vec<u8>> = HashMap::new();
        let tiles: HashMap<_, _> = grow(0, &hashes, &none).unwrap().into_iter().collect();
        let mut frontier = Frontier::empty();
        hashes.iter().for_each(|hash| frontier.append(*hash));
        let name = KeyName::new(ORIGIN).unwrap();
        let (ed, pq) = (
            SignerKey::generate(name.clone(), [1; 32]),
            MlDsaKey::generate(name, [2; 32]),
        );
        let checkpoint = Checkpoint::new(ORIGIN, size, frontier.root());
        let checkpoint = checkpoint.sign(&ed, with_ml_dsa.then_some((&pq, 1_763_700_000)));
        let hashes = inclusion_proof(index, size, &tiles).unwrap();
        let keys = vec![ed.verifier(), pq.verifier()];
        (
            TlogProof {
                extra: None,
                index,
                hashes,
                checkpoint,
            },
            keys,
        )
    }

    #[test]
    fn a_proof_round_trips_as_text_and_verifies() {
        for (index, size) in [(0, 1), (0, 2), (256, 300), (299, 300), (511, 512)] {
            let (mut proof, keys) = proof_of(index, size, true);
            let read = TlogProof::parse(proof.to_string().as_bytes()).unwrap();
            assert_eq!(read, proof);
            assert_eq!(
                read.verify(&entry(index), &keys, ORIGIN)
                    .unwrap()
                    .signatures()
                    .len(),
                2
            );
            assert!(matches!(
                read.verify(b"other", &keys, ORIGIN),
                Err(ProofError::Inclusion { .. })
            ));
            assert!(matches!(
                read.verify(&entry(index), &keys, "other"),
                Err(ProofError::Checkpoint(_))
            ));
            proof.extra = Some(vec![0, 1, 2]);
            assert_eq!(
                TlogProof::parse(proof.to_string().as_bytes()).unwrap(),
                proof
            );
        }
    }

    #[test]
    fn no_change_of_a_single_byte_survives() {
        // One signature only: of two, either may become unknown and the other still vouches for the same text.
        let (proof, keys) = proof_of(70, 300, false);
        let text = proof.to_string().into_bytes();
        for position in 0..text.len() {
            for change in [0x01, 0x02, 0x20, 0x40, 0x80] {
                let mut bad = text.clone();
                bad[position] ^= change;
                let accepted = TlogProof::parse(&bad)
                    .is_ok_and(|read| read.verify(&entry(70), &keys, ORIGIN).is_ok());
                assert!(!accepted, "byte {position} changed by {change:#x}");
            }
            let mut shorter = text.clone();
            shorter.remove(position);
            let accepted = TlogProof::parse(&shorter)
                .is_ok_and(|read| read.verify(&entry(70), &keys, ORIGIN).is_ok());
            // Removing one of two equal neighbours is the same removal twice, never a valid proof.
            assert!(!accepted, "byte {position} removed");
        }
    }

    #[test]
    fn the_checkpoint_begins_after_the_empty_line_however_long_its_origin_is() {
        let (proof, _) = proof_of(70, 300, false);
        for length in 1..100 {
            let origin = "o".repeat(length);
            let checkpoint = proof.checkpoint.replacen(ORIGIN, &origin, 1);
            let proof = TlogProof {
                checkpoint,
                ..proof.clone()
            };
            let read = TlogProof::parse(proof.to_string().as_bytes());
            assert_eq!(read.unwrap(), proof);
        }
    }

    #[test]
    fn malformed_files_are_refused() {
        let good = proof_of(1, 3, false).0.to_string();
        for bad in [
            good.replace("@v1", "@v2"),
            good.replace("index 1", "index 01"),
            good.replace("index 1", "index 1\nindex 1"),
            good.replace("index 1", "extra !\nindex 1"),
            good.replace("index 1", "index 1\nAAAA"),
            good.replace(
                "index 1\n",
                &format!(
                    "index 1\n{}",
                    format!("{}\n", base64_encode(&[0; 32])).repeat(62)
                ),
            ),
            good.replace("index 1\n", ""),
            good.replace("\n\n", "\n"),
            format!("{HEADER}\n\n"),
            String::new(),
        ] {
            assert!(TlogProof::parse(bad.as_bytes()).is_err(), "{bad}");
        }
    }
}
