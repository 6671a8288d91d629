//! Signed notes (c2sp.org/signed-note): a text, an empty line, signature lines.
//!
//! A [`SignedNote`] is only well-formed; a [`Verified`] is what remains after known keys were checked.

mod keys;

use std::fmt;

pub use keys::{Ed25519Role, KeyError, KeyName, KeyType, MlDsaKey, SignerKey, VerifierKey};

use crate::{base64_decode, base64_encode};

/// The longest signed note that is parsed, in bytes: room for 64 post-quantum signature lines and a long text.
pub const MAX_NOTE_BYTES: usize = 512 * 1024;
/// The most signature lines that a note may carry; the specification asks readers to take at least 16.
pub const MAX_SIGNATURES: usize = 64;

/// Begins each signature line: U+2014 and a space.
const DASH: &str = "\u{2014} ";

/// Why a note is malformed or not to be believed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NoteError {
    /// Longer than [`MAX_NOTE_BYTES`].
    #[error("the signed note has {found} bytes; at most {MAX_NOTE_BYTES} are read")]
    TooLong {
        /// Length in bytes.
        found: usize,
    },
    /// Not UTF-8, or a control character other than LF.
    #[error("the signed note is not UTF-8 text free of control characters")]
    NotText,
    /// No empty line between text and signatures, or the text is not terminated.
    #[error("the signed note has no empty line followed by signature lines")]
    NoSignatures,
    /// More than [`MAX_SIGNATURES`] signature lines.
    #[error("the signed note has more than {MAX_SIGNATURES} signature lines")]
    TooManySignatures,
    /// A line after the last empty line that is no signature line.
    #[error("malformed signature line: {line:?}")]
    MalformedSignature {
        /// The beginning of the line.
        line: String,
    },
    /// A line of a known key does not verify. The whole note is refused.
    #[error("the signature by the known key {name}+{key_id:08x} is wrong")]
    BadSignature {
        /// Name of the key.
        name: String,
        /// Key id.
        key_id: u32,
    },
    /// None of the known keys signed.
    #[error("none of the known keys signed the note; it carries signatures by {found}")]
    NoKnownSignature {
        /// The signers that the note names.
        found: String,
    },
}

/// One signature line, not verified.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NoteSignature {
    /// Name of the key that is said to have signed.
    pub name: KeyName,
    /// Short id of that key.
    pub key_id: u32,
    /// The bytes after the key id; their meaning depends on the key's type.
    pub signature: Vec<u8>,
}

impl NoteSignature {
    /// Reads one line, with or without its final LF.
    ///
    /// # Errors
    /// [`NoteError::MalformedSignature`].
    pub fn parse_line(line: &str) -> Result<Self, NoteError> {
        let refuse = || NoteError::MalformedSignature {
            line: line.chars().take(80).collect(),
        };
        let rest = line
            .strip_suffix('\n')
            .unwrap_or(line)
            .strip_prefix(DASH)
            .ok_or_else(refuse)?;
        let (name, encoded) = rest.split_once(' ').ok_or_else(refuse)?;
        let name = KeyName::new(name).map_err(|_| refuse())?;
        let blob = base64_decode(encoded).ok_or_else(refuse)?;
        let (key_id, signature) = blob.split_first_chunk::<4>().ok_or_else(refuse)?;
        if signature.is_empty() {
            return Err(refuse());
        }
        Ok(Self {
            name,
            key_id: u32::from_be_bytes(*key_id),
            signature: signature.to_vec(),
        })
    }
}

/// The whole line, with its final LF.
impl fmt::Display for NoteSignature {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut blob = self.key_id.to_be_bytes().to_vec();
        blob.extend_from_slice(&self.signature);
        writeln!(f, "{DASH}{} {}", self.name, base64_encode(&blob))
    }
}

/// A well-formed signed note. Nothing about it is believed until [`SignedNote::verify`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SignedNote {
    text: String,
    signatures: Vec<NoteSignature>,
}

impl SignedNote {
    /// A note of `text` with `signatures`.
    ///
    /// # Errors
    /// When the text does not end in LF or has control characters, or when there are no or too many signatures.
    pub fn new(text: impl Into<String>, signatures: Vec<NoteSignature>) -> Result<Self, NoteError> {
        let text = text.into();
        if !is_note_text(&text) {
            return Err(NoteError::NotText);
        }
        if signatures.is_empty() {
            return Err(NoteError::NoSignatures);
        }
        if signatures.len() > MAX_SIGNATURES {
            return Err(NoteError::TooManySignatures);
        }
        Ok(Self { text, signatures })
    }

    /// Reads a note: the text ends at the last empty line, everything after it is signature lines.
    ///
    /// # Errors
    /// [`NoteError`], for any deviation from c2sp.org/signed-note "Format" or from this reader's limits.
    pub fn parse(note: &[u8]) -> Result<Self, NoteError> {
        if note.len() > MAX_NOTE_BYTES {
            return Err(NoteError::TooLong { found: note.len() });
        }
        let note = std::str::from_utf8(note).map_err(|_| NoteError::NotText)?;
        if !is_note_text(note) {
            return Err(NoteError::NotText);
        }
        let split = note.rfind("\n\n").ok_or(NoteError::NoSignatures)?;
        let (text, lines) = (&note[..=split], &note[split + 2..]);
        if lines.is_empty() {
            return Err(NoteError::NoSignatures);
        }
        let mut signatures = Vec::new();
        for line in lines.split_inclusive('\n') {
            if signatures.len() == MAX_SIGNATURES {
                return Err(NoteError::TooManySignatures);
            }
            signatures.push(NoteSignature::parse_line(line)?);
        }
        Self::new(text, signatures)
    }

    /// The text, including its final LF and without the separating empty line. Unverified.
    #[must_use]
    pub fn text(&self) -> &str {
        &self.text
    }

    /// The signature lines in their order. Unverified.
    #[must_use]
    pub fn signatures(&self) -> &[NoteSignature] {
        &self.signatures
    }

    /// Adds a signature line at the end, unless the very same line is there already.
    ///
    /// # Errors
    /// [`NoteError::TooManySignatures`].
    pub fn add_signature(&mut self, signature: NoteSignature) -> Result<(), NoteError> {
        if self.signatures.contains(&signature) {
            return Ok(());
        }
        if self.signatures.len() == MAX_SIGNATURES {
            return Err(NoteError::TooManySignatures);
        }
        self.signatures.push(signature);
        Ok(())
    }

    /// Checks every line of a known key; lines of unknown keys are ignored, in whatever order they stand.
    ///
    /// # Errors
    /// [`NoteError::BadSignature`] when a known key's line is wrong, [`NoteError::NoKnownSignature`] when no known
    /// key signed.
    pub fn verify(&self, keys: &[VerifierKey]) -> Result<Verified<'_>, NoteError> {
        let mut signatures = Vec::new();
        for line in &self.signatures {
            // Name and id together identify a key; several configured keys may share both by accident or attack,
            // and then one that verifies is enough.
            let mut known = keys
                .iter()
                .filter(|key| *key.name() == line.name && key.key_id() == line.key_id)
                .peekable();
            if known.peek().is_none() {
                continue;
            }
            let verified = known.find_map(|key| {
                let time = key.verify(&self.text, &line.signature).ok()?;
                Some(VerifiedSignature {
                    key: key.clone(),
                    time,
                })
            });
            signatures.push(verified.ok_or_else(|| NoteError::BadSignature {
                name: line.name.to_string(),
                key_id: line.key_id,
            })?);
        }
        if signatures.is_empty() {
            let found = self
                .signatures
                .iter()
                .take(8)
                .map(|line| format!("{}+{:08x}", line.name, line.key_id));
            return Err(NoteError::NoKnownSignature {
                found: found.collect::<Vec<_>>().join(", "),
            });
        }
        Ok(Verified {
            text: &self.text,
            signatures,
        })
    }
}

/// The note as it is stored and served.
impl fmt::Display for SignedNote {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{}", self.text)?;
        self.signatures.iter().try_for_each(|line| line.fmt(f))
    }
}

/// A note's text that at least one known key signed and no known key contradicts.
#[derive(Debug, Clone)]
pub struct Verified<'a> {
    text: &'a str,
    signatures: Vec<VerifiedSignature>,
}

impl<'a> Verified<'a> {
    /// The signed text.
    #[must_use]
    pub fn text(&self) -> &'a str {
        self.text
    }

    /// The lines that verified, in the note's order.
    #[must_use]
    pub fn signatures(&self) -> &[VerifiedSignature] {
        &self.signatures
    }
}

/// A signature line that verified.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct VerifiedSignature {
    /// The key that signed.
    pub key: VerifierKey,
    /// For cosignatures, the time that the signer states, in seconds since 1970 UTC; 0 if it states none.
    pub time: Option<u64>,
}

/// Ends in LF and has no control characters besides LF (the specification means those below U+0020).
fn is_note_text(text: &str) -> bool {
    text.ends_with('\n') && text.bytes().all(|b| b >= 0x20 || b == b'\n')
}

#[cfg(test)]
mod tests {
    use super::*;

    const SPEC_KEY: &str = "example.com/foo+530d903a+AekyeRrm56hApGFkyQR4ZCbV54Id2LKaANYcrnKv3U2k";
    const SPEC_NOTE: &str = "This is an example message.\n\n\u{2014} example.com/foo Uw2QOkn8srV1yJGh2VYRlL1Tnagv1YEq6TfXppzi2ONncAlTgK7Ztg1ERYNZXsYjOBH3mFXmRKuwHjG1Yu72IneyaQM=\n";

    fn signer() -> SignerKey {
        SignerKey::generate(KeyName::new("log.example/1").unwrap(), [3; 32])
    }

    #[test]
    fn the_specification_s_example_verifies() {
        let key: VerifierKey = SPEC_KEY.parse().unwrap();
        assert_eq!(key.to_string(), SPEC_KEY);
        let note = SignedNote::parse(SPEC_NOTE.as_bytes()).unwrap();
        assert_eq!(note.to_string(), SPEC_NOTE);
        let verified = note.verify(std::slice::from_ref(&key)).unwrap();
        assert_eq!(verified.text(), "This is an example message.\n");
        assert_eq!(
            verified.signatures(),
            [VerifiedSignature { key, time: None }]
        );
    }

    #[test]
    fn unknown_lines_in_any_order_are_ignored_and_a_bad_known_line_refuses_the_note() {
        let signer = signer();
        let keys = [signer.verifier()];
        let good = signer.sign_text("a\n\nb\n");
        // The same name with another id, another name with the same id, and a type nobody knows: all grease.
        let grease = [
            NoteSignature {
                key_id: good.key_id ^ 1,
                ..good.clone()
            },
            NoteSignature {
                name: KeyName::new("Grüße.example").unwrap(),
                ..good.clone()
            },
            NoteSignature {
                name: KeyName::new("x").unwrap(),
                key_id: 0,
                signature: vec![0xfa; 5000],
            },
        ];
        for position in 0..=grease.len() {
            let mut lines = grease.to_vec();
            lines.insert(position, good.clone());
            let text = SignedNote::new("a\n\nb\n", lines).unwrap().to_string();
            let note = SignedNote::parse(text.as_bytes()).unwrap();
            assert_eq!(note.verify(&keys).unwrap().text(), "a\n\nb\n");
        }
        let only_grease = SignedNote::new("a\n\nb\n", grease.to_vec()).unwrap();
        assert!(matches!(
            only_grease.verify(&keys),
            Err(NoteError::NoKnownSignature { .. })
        ));

        let mut bad = good.clone();
        bad.signature[5] ^= 1;
        let note = SignedNote::new("a\n\nb\n", vec![good, bad]).unwrap();
        assert!(matches!(
            note.verify(&keys),
            Err(NoteError::BadSignature { .. })
        ));
    }

    #[test]
    fn malformed_notes_are_refused() {
        let line = signer().sign_text("x\n").to_string();
        let good = format!("x\n\n{line}");
        assert!(SignedNote::parse(good.as_bytes()).is_ok());
        for bad in [
            String::new(),
            "x\n".to_owned(),
            "x\n\n".to_owned(),
            format!("x\n{line}"),
            good.trim_end().to_owned(),
            format!("{good}\n"),
            good.replace('x', "x\t"),
            good.replace('x', "x\r"),
            good.replace(DASH, "- "),
            good.replace("log.example/1", "log+example"),
            good.replace("log.example/1", "log\u{a0}example"),
            good.replace("log.example/1", ""),
            good.replace("== \n", "\n"),
            good.replace('=', ""),
            "x\n\n\u{2014} name AAAAAA==\n".to_owned(),
            format!("x\n\n{}", line.repeat(65)),
            format!("{}\n\n{line}", "x".repeat(MAX_NOTE_BYTES)),
        ] {
            if bad != good {
                assert!(
                    SignedNote::parse(bad.as_bytes()).is_err(),
                    "{}",
                    &bad[..bad.len().min(80)]
                );
            }
        }
        assert_eq!(SignedNote::parse(b"\xff\n\n"), Err(NoteError::NotText));
    }
}
