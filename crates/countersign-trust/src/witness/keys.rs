//! A witness's own keys.

use crate::note::{Ed25519Role, KeyError, KeyName, KeyType, MlDsaKey, SignerKey, VerifierKey};

/// Why a text is not the keys of a witness. Never repeats secret parts.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum WitnessKeyError {
    /// A line is no private key.
    #[error("line {line}: {reason}")]
    Key {
        /// Number of the line, from 1.
        line: usize,
        /// What is wrong.
        reason: KeyError,
    },
    /// An Ed25519 key that signs as a log does.
    #[error(
        "line {line}: this Ed25519 key is of type 0x01, a log's; a witness signs with type 0x04"
    )]
    LogKey {
        /// Number of the line, from 1.
        line: usize,
    },
    /// Two keys of one type.
    #[error("line {line}: a second key of the same type")]
    Twice {
        /// Number of the line, from 1.
        line: usize,
    },
    /// Keys with different names.
    #[error("line {line}: all keys of a witness have one name, and this one is called {name}")]
    Name {
        /// Number of the line, from 1.
        line: usize,
        /// Name of the key.
        name: String,
    },
    /// No key at all.
    #[error("there is no key")]
    Empty,
}

/// A witness: one name, and an Ed25519 key, an ML-DSA-44 key, or both.
#[derive(Debug)]
pub struct Witness {
    pub(super) ed25519: Option<SignerKey>,
    pub(super) ml_dsa: Option<MlDsaKey>,
}

impl Witness {
    /// A witness with both keys, from two independent seeds, which must come from a cryptographic random source.
    #[must_use]
    pub fn generate(name: &KeyName, ed25519_seed: [u8; 32], ml_dsa_seed: [u8; 32]) -> Self {
        Self {
            ed25519: Some(SignerKey::from_seed(
                name.clone(),
                Ed25519Role::Cosigner,
                ed25519_seed,
            )),
            ml_dsa: Some(MlDsaKey::generate(name.clone(), ml_dsa_seed)),
        }
    }

    /// Reads private keys, one a line (`PRIVATE+KEY+…`); empty lines and lines that begin with `#` are left out.
    ///
    /// # Errors
    /// [`WitnessKeyError`].
    pub fn parse_private(text: &str) -> Result<Self, WitnessKeyError> {
        let (mut ed25519, mut ml_dsa) = (None, None);
        let mut name: Option<KeyName> = None;
        for (number, line) in text.lines().enumerate() {
            let (line, text) = (number + 1, line.trim());
            if text.is_empty() || text.starts_with('#') {
                continue;
            }
            let found = match SignerKey::parse_private(text) {
                Ok(key) if key.verifier().key_type() != KeyType::Ed25519Cosignature => {
                    return Err(WitnessKeyError::LogKey { line });
                }
                Ok(key) => {
                    let found = key.name().clone();
                    if ed25519.replace(key).is_some() {
                        return Err(WitnessKeyError::Twice { line });
                    }
                    found
                }
                // Only a well-formed key of another type is refused for its type.
                Err(KeyError::Type { .. }) => {
                    let key = MlDsaKey::parse_private(text)
                        .map_err(|reason| WitnessKeyError::Key { line, reason })?;
                    let found = key.name().clone();
                    if ml_dsa.replace(key).is_some() {
                        return Err(WitnessKeyError::Twice { line });
                    }
                    found
                }
                Err(reason) => return Err(WitnessKeyError::Key { line, reason }),
            };
            if name.as_ref().is_some_and(|name| *name != found) {
                return Err(WitnessKeyError::Name {
                    line,
                    name: found.to_string(),
                });
            }
            name = Some(found);
        }
        if name.is_none() {
            return Err(WitnessKeyError::Empty);
        }
        Ok(Self { ed25519, ml_dsa })
    }

    /// The private keys, one a line: a secret.
    #[must_use]
    pub fn private_text(&self) -> String {
        let texts = [
            self.ed25519.as_ref().map(SignerKey::private_text),
            self.ml_dsa.as_ref().map(MlDsaKey::private_text),
        ];
        texts.into_iter().flatten().map(|key| key + "\n").collect()
    }

    /// The public keys.
    #[must_use]
    pub fn verifiers(&self) -> Vec<VerifierKey> {
        let keys = [
            self.ed25519.as_ref().map(SignerKey::verifier),
            self.ml_dsa.as_ref().map(MlDsaKey::verifier),
        ];
        keys.into_iter().flatten().collect()
    }

    /// Whether it can sign subtrees, which takes an ML-DSA key.
    #[must_use]
    pub fn signs_subtrees(&self) -> bool {
        self.ml_dsa.is_some()
    }
}
