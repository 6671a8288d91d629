//! Timestamped statements about a checkpoint (c2sp.org/tlog-cosignature): "as of this time, this is the largest
//! consistent tree of this log that I have seen". Ed25519 (type 0x04) and ML-DSA-44 (type 0x06).

use crate::checkpoint::Checkpoint;
use crate::digest::Sha256;
use crate::note::{KeyType, MlDsaKey, NoteSignature, SignerKey, VerifierKey};

/// Why nothing was signed, or why a cosignature is not believed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CosignatureError {
    /// The key does not cosign.
    #[error("the key {key} is not of a cosignature type (0x04 or 0x06)")]
    NotACosigner {
        /// Name of the key.
        key: String,
    },
    /// Origins longer than 255 bytes do not fit into an ML-DSA cosignature.
    #[error("the log's origin has {found} bytes; an ML-DSA cosignature takes 1 to 255")]
    Origin {
        /// Length in bytes.
        found: usize,
    },
    /// Times above 2^63 - 1, or a time with a subtree that does not start at 0.
    #[error("the time {time} cannot be stated in this cosignature")]
    Time {
        /// Seconds since 1970 UTC.
        time: u64,
    },
    /// ML-DSA found no signature; astronomically rare.
    #[error("ML-DSA-44 signing failed")]
    Signing,
    /// The line belongs to another key.
    #[error("the signature line is not by the key {key}")]
    OtherKey {
        /// Name of the expected key.
        key: String,
    },
    /// The signature does not fit key and checkpoint.
    #[error("the cosignature by {key} is wrong")]
    Wrong {
        /// Name of the key.
        key: String,
    },
}

/// Cosigns a checkpoint with a cosigner's Ed25519 key at `time`, in seconds since 1970 UTC.
///
/// # Errors
/// [`CosignatureError::NotACosigner`] for a log's key, [`CosignatureError::Time`].
pub fn sign_ed25519(
    key: &SignerKey,
    checkpoint: &Checkpoint,
    time: u64,
) -> Result<NoteSignature, CosignatureError> {
    if key.verifier().key_type() != KeyType::Ed25519Cosignature {
        return Err(CosignatureError::NotACosigner {
            key: key.name().to_string(),
        });
    }
    check_time(time)?;
    let signature = key.sign_raw(ed25519_message(&checkpoint.to_note_text(), time).as_bytes());
    Ok(key.line(timestamped(time, &signature)))
}

/// Cosigns a checkpoint with an ML-DSA-44 key at `time`, in seconds since 1970 UTC. With the log's own key this is
/// the log's own signature.
///
/// # Errors
/// [`CosignatureError::Origin`], [`CosignatureError::Time`], [`CosignatureError::Signing`].
pub fn sign_ml_dsa(
    key: &MlDsaKey,
    checkpoint: &Checkpoint,
    time: u64,
) -> Result<NoteSignature, CosignatureError> {
    let subtree = Subtree {
        start: 0,
        end: checkpoint.size,
        hash: checkpoint.root,
    };
    sign_subtree(key, &checkpoint.origin, &subtree, time)
}

/// The leaves from `start` up to, not including, `end`, with the root over them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Subtree {
    /// First leaf.
    pub start: u64,
    /// One past the last leaf.
    pub end: u64,
    /// Merkle root over these leaves.
    pub hash: Sha256,
}

/// Cosigns a subtree of the log `origin` with an ML-DSA-44 key. `time` must be 0 unless the subtree starts at 0.
///
/// # Errors
/// [`CosignatureError::Origin`], [`CosignatureError::Time`], [`CosignatureError::Signing`].
pub fn sign_subtree(
    key: &MlDsaKey,
    origin: &str,
    subtree: &Subtree,
    time: u64,
) -> Result<NoteSignature, CosignatureError> {
    let message = ml_dsa_message(key.name().as_str(), origin, subtree, time)?;
    let signature = key.sign_raw(&message).ok_or(CosignatureError::Signing)?;
    Ok(key.line(timestamped(time, &signature)))
}

/// Checks one signature line against a checkpoint and gives the time it states, in seconds since 1970 UTC (0: none).
///
/// # Errors
/// [`CosignatureError`], among them [`CosignatureError::Wrong`].
pub fn verify(
    key: &VerifierKey,
    checkpoint: &Checkpoint,
    line: &NoteSignature,
) -> Result<u64, CosignatureError> {
    if *key.name() != line.name || key.key_id() != line.key_id {
        return Err(CosignatureError::OtherKey {
            key: key.name().to_string(),
        });
    }
    let wrong = CosignatureError::Wrong {
        key: key.name().to_string(),
    };
    let (time, signature) = line
        .signature
        .split_first_chunk::<8>()
        .ok_or(wrong.clone())?;
    let time = u64::from_be_bytes(*time);
    check_time(time)?;
    let message = match key.key_type() {
        KeyType::Ed25519 => {
            return Err(CosignatureError::NotACosigner {
                key: key.name().to_string(),
            });
        }
        KeyType::Ed25519Cosignature => {
            ed25519_message(&checkpoint.to_note_text(), time).into_bytes()
        }
        KeyType::MlDsa44 => {
            let subtree = Subtree {
                start: 0,
                end: checkpoint.size,
                hash: checkpoint.root,
            };
            ml_dsa_message(key.name().as_str(), &checkpoint.origin, &subtree, time)?
        }
    };
    key.verify_raw(&message, signature).map_err(|_| wrong)?;
    Ok(time)
}

/// [`verify`] for a line of a note whose text is not parsed yet.
pub(crate) fn verify_note_text(
    key: &VerifierKey,
    text: &str,
    signature: &[u8],
) -> Result<u64, CosignatureError> {
    let wrong = || CosignatureError::Wrong {
        key: key.name().to_string(),
    };
    let checkpoint = Checkpoint::parse(text).map_err(|_| wrong())?;
    let line = NoteSignature {
        name: key.name().clone(),
        key_id: key.key_id(),
        signature: signature.to_vec(),
    };
    verify(key, &checkpoint, &line)
}

fn check_time(time: u64) -> Result<(), CosignatureError> {
    if i64::try_from(time).is_err() {
        return Err(CosignatureError::Time { time });
    }
    Ok(())
}

/// `timestamped_signature`.
fn timestamped(time: u64, signature: &[u8]) -> Vec<u8> {
    let mut blob = time.to_be_bytes().to_vec();
    blob.extend_from_slice(signature);
    blob
}

fn ed25519_message(text: &str, time: u64) -> String {
    format!("cosignature/v1\ntime {time}\n{text}")
}

/// `cosigned_message`, in the encoding of RFC 8446 section 3.
fn ml_dsa_message(
    cosigner: &str,
    origin: &str,
    subtree: &Subtree,
    time: u64,
) -> Result<Vec<u8>, CosignatureError> {
    check_time(time)?;
    if subtree.start != 0 && time != 0 {
        return Err(CosignatureError::Time { time });
    }
    let mut message = b"subtree/v1\n\0".to_vec();
    let push_short = |message: &mut Vec<u8>, text: &str| {
        let length = u8::try_from(text.len()).ok().filter(|length| *length > 0);
        message.push(length.ok_or(CosignatureError::Origin { found: text.len() })?);
        message.extend_from_slice(text.as_bytes());
        Ok(())
    };
    // Key names are 1 to 255 bytes by their type, so only the origin can be out of range.
    push_short(&mut message, cosigner)?;
    message.extend_from_slice(&time.to_be_bytes());
    push_short(&mut message, origin)?;
    message.extend_from_slice(&subtree.start.to_be_bytes());
    message.extend_from_slice(&subtree.end.to_be_bytes());
    message.extend_from_slice(&subtree.hash.0);
    Ok(message)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::note::{Ed25519Role, KeyName};

    fn checkpoint() -> Checkpoint {
        Checkpoint::new("log.example", 7, Sha256::of(b"root"))
    }

    #[test]
    fn both_kinds_sign_and_verify_and_bind_the_checkpoint_and_the_time() {
        let name = KeyName::new("witness.example/w1").unwrap();
        let ed = SignerKey::from_seed(name.clone(), Ed25519Role::Cosigner, [1; 32]);
        let pq = MlDsaKey::generate(name, [2; 32]);
        let lines = [
            (
                ed.verifier(),
                sign_ed25519(&ed, &checkpoint(), 1_679_315_147).unwrap(),
                72,
            ),
            (
                pq.verifier(),
                sign_ml_dsa(&pq, &checkpoint(), 1_679_315_147).unwrap(),
                2428,
            ),
        ];
        for (key, line, length) in &lines {
            assert_eq!(line.signature.len(), *length);
            assert_eq!(verify(key, &checkpoint(), line), Ok(1_679_315_147));
            assert_eq!(NoteSignature::parse_line(&line.to_string()).unwrap(), *line);
            for other in [
                Checkpoint {
                    size: 8,
                    ..checkpoint()
                },
                Checkpoint {
                    origin: "log.example2".into(),
                    ..checkpoint()
                },
                Checkpoint {
                    root: Sha256::of(b""),
                    ..checkpoint()
                },
            ] {
                assert!(matches!(
                    verify(key, &other, line),
                    Err(CosignatureError::Wrong { .. })
                ));
            }
            for position in [0, 7, 8, 40, length - 1] {
                let mut bad = line.clone();
                bad.signature[position] ^= 1;
                assert!(verify(key, &checkpoint(), &bad).is_err());
            }
            let mut short = line.clone();
            short.signature.truncate(5);
            assert!(verify(key, &checkpoint(), &short).is_err());
        }
        assert!(matches!(
            verify(&lines[0].0, &checkpoint(), &lines[1].1),
            Err(CosignatureError::OtherKey { .. })
        ));
    }

    #[test]
    fn what_cannot_be_stated_is_not_signed() {
        let name = KeyName::new("w.example").unwrap();
        let log = SignerKey::generate(name.clone(), [1; 32]);
        assert!(matches!(
            sign_ed25519(&log, &checkpoint(), 1),
            Err(CosignatureError::NotACosigner { .. })
        ));
        let pq = MlDsaKey::generate(name, [2; 32]);
        assert!(matches!(
            sign_ml_dsa(&pq, &checkpoint(), 1 << 63),
            Err(CosignatureError::Time { .. })
        ));
        let subtree = Subtree {
            start: 8,
            end: 13,
            hash: Sha256::of(b""),
        };
        assert!(matches!(
            sign_subtree(&pq, "o", &subtree, 1),
            Err(CosignatureError::Time { .. })
        ));
        assert!(sign_subtree(&pq, "o", &subtree, 0).is_ok());
        assert!(matches!(
            sign_subtree(&pq, "", &subtree, 0),
            Err(CosignatureError::Origin { found: 0 })
        ));
    }

    #[test]
    fn the_ml_dsa_message_has_the_layout_of_the_specification() {
        let subtree = Subtree {
            start: 1,
            end: 2,
            hash: Sha256([9; 32]),
        };
        let message = ml_dsa_message("ab", "log", &subtree, 0).unwrap();
        let mut expected = b"subtree/v1\n\0\x02ab".to_vec();
        expected.extend([0; 8]);
        expected.extend(b"\x03log");
        expected.extend([0, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 2]);
        expected.extend([9; 32]);
        assert_eq!(message, expected);
    }
}
