//! A log's signed head (c2sp.org/tlog-checkpoint): origin, size, root.

use crate::digest::Sha256;
use crate::note::{
    KeyType, MlDsaKey, NoteError, SignedNote, SignerKey, VerifiedSignature, VerifierKey,
};
use crate::{base64_encode, base64_hash, canonical_decimal, cosignature};

/// The most extension lines that are read.
const MAX_EXTENSIONS: usize = 16;

/// Why a checkpoint is malformed or not to be believed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CheckpointError {
    /// The note around it.
    #[error(transparent)]
    Note(#[from] NoteError),
    /// Not the lines of a checkpoint.
    #[error("not a checkpoint: {reason}")]
    Format {
        /// Which line is wrong, and how.
        reason: &'static str,
    },
    /// The checkpoint of another log.
    #[error("the checkpoint is of the log {found:?}, expected {expected:?}")]
    Origin {
        /// What was asked for.
        expected: String,
        /// What the checkpoint says.
        found: String,
    },
    /// Known witnesses signed, but not the log itself.
    #[error("the log {origin:?} itself has not signed the checkpoint with a known key")]
    NotSignedByLog {
        /// The log.
        origin: String,
    },
}

/// Origin, size and root of a log's tree. Unsigned: belief comes from [`open`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Checkpoint {
    /// The log's identity, by convention its URL without scheme.
    pub origin: String,
    /// Number of leaves.
    pub size: u64,
    /// Merkle root over these leaves.
    pub root: Sha256,
    /// Extension lines, which others' logs may have; ours never has any, since ML-DSA cosignatures do not cover them.
    pub extensions: Vec<String>,
}

impl Checkpoint {
    /// A checkpoint without extension lines. `origin` must be one non-empty line of text.
    #[must_use]
    pub fn new(origin: impl Into<String>, size: u64, root: Sha256) -> Self {
        Self {
            origin: origin.into(),
            size,
            root,
            extensions: Vec::new(),
        }
    }

    /// The text that is signed: three lines (and extension lines, if any).
    #[must_use]
    pub fn to_note_text(&self) -> String {
        let mut text = format!(
            "{}\n{}\n{}\n",
            self.origin,
            self.size,
            base64_encode(&self.root.0)
        );
        for line in &self.extensions {
            text.push_str(line);
            text.push('\n');
        }
        text
    }

    /// Reads the text of a checkpoint; [`Checkpoint::to_note_text`] gives the same bytes back.
    ///
    /// # Errors
    /// [`CheckpointError::Format`].
    pub fn parse(text: &str) -> Result<Self, CheckpointError> {
        let refuse = |reason| CheckpointError::Format { reason };
        let body = text
            .strip_suffix('\n')
            .ok_or(refuse("the last line is not terminated"))?;
        let mut lines = body.split('\n');
        let origin = lines
            .next()
            .filter(|line| !line.is_empty())
            .ok_or(refuse("the origin line is empty"))?;
        let size = lines
            .next()
            .and_then(canonical_decimal)
            .ok_or(refuse("the second line is not a decimal size"))?;
        let root = lines
            .next()
            .and_then(base64_hash)
            .ok_or(refuse("the third line is not a base64 SHA-256 root"))?;
        let extensions: Vec<String> = lines.map(str::to_owned).collect();
        if extensions.len() > MAX_EXTENSIONS {
            return Err(refuse("more than 16 extension lines"));
        }
        if extensions.iter().any(String::is_empty) {
            return Err(refuse("an extension line is empty"));
        }
        Ok(Self {
            origin: origin.to_owned(),
            size,
            root,
            extensions,
        })
    }

    /// The signed note: an Ed25519 line and, if `ml_dsa` gives a key and the time in seconds since 1970 UTC, an
    /// ML-DSA-44 line. Should the latter fail, the note carries the former alone: ML-DSA's libraries are young, and
    /// a log must not stop for them.
    ///
    /// The caller answers for consistency: never two checkpoints of one origin that are not prefixes of each other.
    #[must_use]
    pub fn sign(&self, key: &SignerKey, ml_dsa: Option<(&MlDsaKey, u64)>) -> String {
        let text = self.to_note_text();
        let mut note = format!("{text}\n{}", key.sign_text(&text));
        if let Some(line) =
            ml_dsa.and_then(|(key, time)| cosignature::sign_ml_dsa(key, self, time).ok())
        {
            note.push_str(&line.to_string());
        }
        note
    }
}

/// A checkpoint that its own log signed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct VerifiedCheckpoint {
    checkpoint: Checkpoint,
    signatures: Vec<VerifiedSignature>,
}

impl VerifiedCheckpoint {
    /// What was signed.
    #[must_use]
    pub fn checkpoint(&self) -> &Checkpoint {
        &self.checkpoint
    }

    /// Number of leaves.
    #[must_use]
    pub fn size(&self) -> u64 {
        self.checkpoint.size
    }

    /// Merkle root.
    #[must_use]
    pub fn root(&self) -> Sha256 {
        self.checkpoint.root
    }

    /// Every verified line, the log's and the witnesses'.
    #[must_use]
    pub fn signatures(&self) -> &[VerifiedSignature] {
        &self.signatures
    }

    /// The verified cosignatures of others than the log.
    pub fn cosignatures(&self) -> impl Iterator<Item = &VerifiedSignature> {
        let origin = self.checkpoint.origin.as_str();
        self.signatures
            .iter()
            .filter(move |line| !is_log_key(&line.key, origin))
    }
}

/// Reads a signed checkpoint of the log `origin`: at least one key of the log (named like the origin, Ed25519 0x01 or
/// ML-DSA-44 0x06) among `keys` must have signed, and no line of any of the `keys` may be wrong. Keys of witnesses
/// among `keys` are checked and reported but not demanded; quorums are [`crate::policy`]'s matter.
///
/// # Errors
/// [`CheckpointError`].
pub fn open(
    note: &[u8],
    keys: &[VerifierKey],
    origin: &str,
) -> Result<VerifiedCheckpoint, CheckpointError> {
    let note = SignedNote::parse(note)?;
    let checkpoint = Checkpoint::parse(note.text())?;
    if checkpoint.origin != origin {
        return Err(CheckpointError::Origin {
            expected: origin.to_owned(),
            found: checkpoint.origin.chars().take(255).collect(),
        });
    }
    let signatures = note.verify(keys)?.signatures().to_vec();
    if !signatures.iter().any(|line| is_log_key(&line.key, origin)) {
        return Err(CheckpointError::NotSignedByLog {
            origin: origin.to_owned(),
        });
    }
    Ok(VerifiedCheckpoint {
        checkpoint,
        signatures,
    })
}

fn is_log_key(key: &VerifierKey, origin: &str) -> bool {
    key.name().as_str() == origin && matches!(key.key_type(), KeyType::Ed25519 | KeyType::MlDsa44)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::note::{Ed25519Role, KeyName};

    const ORIGIN: &str = "packages.example/log/1";

    fn keys() -> (SignerKey, MlDsaKey) {
        let name = KeyName::new(ORIGIN).unwrap();
        (
            SignerKey::generate(name.clone(), [1; 32]),
            MlDsaKey::generate(name, [2; 32]),
        )
    }

    #[test]
    fn a_signed_checkpoint_opens_with_either_key_alone_and_with_both() {
        let (ed, pq) = keys();
        let checkpoint = Checkpoint::new(ORIGIN, 42, Sha256::of(b"root"));
        let note = checkpoint.sign(&ed, Some((&pq, 1_763_700_000)));
        for keys in [
            vec![ed.verifier()],
            vec![pq.verifier()],
            vec![pq.verifier(), ed.verifier()],
        ] {
            let open = open(note.as_bytes(), &keys, ORIGIN).unwrap();
            assert_eq!(
                (open.checkpoint(), open.signatures().len()),
                (&checkpoint, keys.len())
            );
            assert_eq!(open.cosignatures().count(), 0);
        }
        let note = checkpoint.sign(&ed, None);
        assert!(open(note.as_bytes(), &[ed.verifier()], ORIGIN).is_ok());
        assert!(matches!(
            open(note.as_bytes(), &[pq.verifier()], ORIGIN),
            Err(CheckpointError::Note(NoteError::NoKnownSignature { .. }))
        ));
    }

    /// The very note of this test was opened with Go's note package and transparency-dev/formats (both lines) and with
    /// Python's cryptography (the ML-DSA line); both signatures are deterministic.
    #[test]
    fn the_signed_bytes_are_those_that_other_implementations_verified() {
        let (ed, pq) = keys();
        let note =
            Checkpoint::new(ORIGIN, 42, Sha256::of(b"root")).sign(&ed, Some((&pq, 1_763_700_000)));
        let expected = "9a05b871c09669b5606d7ea9521b7ac9a39ca24c7addccff889c31a55e6faabd";
        assert_eq!(Sha256::of(note.as_bytes()).to_hex(), expected);
    }

    #[test]
    fn another_origin_or_a_witness_alone_is_not_enough() {
        let (ed, _) = keys();
        let checkpoint = Checkpoint::new(ORIGIN, 42, Sha256::of(b"root"));
        let note = checkpoint.sign(&ed, None);
        assert!(matches!(
            open(note.as_bytes(), &[ed.verifier()], "x"),
            Err(CheckpointError::Origin { .. })
        ));

        let witness = SignerKey::from_seed(
            KeyName::new("w.example").unwrap(),
            Ed25519Role::Cosigner,
            [7; 32],
        );
        let mut note = SignedNote::parse(note.as_bytes()).unwrap();
        note.add_signature(cosignature::sign_ed25519(&witness, &checkpoint, 5).unwrap())
            .unwrap();
        let text = note.to_string();
        assert!(matches!(
            open(text.as_bytes(), &[witness.verifier()], ORIGIN),
            Err(CheckpointError::NotSignedByLog { .. })
        ));
        let both = open(
            text.as_bytes(),
            &[witness.verifier(), ed.verifier()],
            ORIGIN,
        )
        .unwrap();
        assert_eq!(
            both.cosignatures()
                .map(|line| line.time)
                .collect::<Vec<_>>(),
            [Some(5)]
        );
    }

    #[test]
    fn an_origin_too_long_for_ml_dsa_keeps_the_ed25519_line() {
        let (ed, pq) = keys();
        let note = Checkpoint::new("o".repeat(300), 1, Sha256::of(b"")).sign(&ed, Some((&pq, 1)));
        assert_eq!(
            SignedNote::parse(note.as_bytes())
                .unwrap()
                .signatures()
                .len(),
            1
        );
    }

    #[test]
    fn text_round_trips_and_deviations_are_refused() {
        let good = "o\n10\nCsUYapGGPo4dkMgIAUqom/Xajj7h2fB2MPA3j2jxq2I=\n";
        assert_eq!(Checkpoint::parse(good).unwrap().to_note_text(), good);
        let extended = format!("{good}extension\n");
        assert_eq!(
            Checkpoint::parse(&extended).unwrap().extensions,
            ["extension"]
        );
        assert_eq!(
            Checkpoint::parse(&extended).unwrap().to_note_text(),
            extended
        );
        for bad in [
            good.replace("10", "010"),
            good.replace("10", "+10"),
            good.replace("10", "18446744073709551616"),
            good.replace("o\n", "\n"),
            good.replace('=', ""),
            good.replace("CsUY", "CsU="),
            good.replace("2I=", "2J="),
            good.trim_end().to_owned(),
            format!("{good}\n"),
            format!("{good}{}", "x\n".repeat(17)),
        ] {
            assert!(Checkpoint::parse(&bad).is_err(), "{bad:?}");
        }
    }
}
