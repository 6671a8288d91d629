//! Names, verifier keys and signer keys of signed notes.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use ed25519_dalek::Signer as _;
use ml_dsa::{KeyInit as _, Keypair as _, MlDsa44, Signer as _};

use super::NoteSignature;
use crate::digest::Sha256;
use crate::{base64_decode, base64_encode, cosignature};

const PRIVATE_PREFIX: &str = "PRIVATE+KEY+";
const ML_DSA_44_PUBLIC_BYTES: usize = 1312;

/// Why a key's text or name is refused. Never repeats secret parts.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum KeyError {
    /// Empty, longer than 255 bytes, or with a space, a plus sign or a control character.
    #[error(
        "{name:?} is not a key name: 1 to 255 bytes without spaces, plus signs or control characters"
    )]
    Name {
        /// The beginning of what was given.
        name: String,
    },
    /// Not `name+id+base64`.
    #[error("not a key: expected NAME+ID+BASE64 with an ID of 8 lower-case hexadecimal digits")]
    Format,
    /// A signature type that this software does not know.
    #[error(
        "signature type 0x{found:02x} is not supported: only Ed25519 (0x01), Ed25519 cosignatures (0x04) and ML-DSA-44 (0x06)"
    )]
    Type {
        /// The type byte.
        found: u8,
    },
    /// The key material has a wrong length or is no valid key.
    #[error("the key material is not a valid key of its type")]
    Material,
    /// The id is not that of this name and key.
    #[error(
        "the key id does not belong to this name and key: it should be {expected:08x}. Was the key copied whole?"
    )]
    Id {
        /// The right id.
        expected: u32,
    },
}

/// Name of a key: by convention a URL without scheme, such as `packages.example/log/1`.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct KeyName(String);

impl KeyName {
    /// Checks a name: not empty, at most 255 bytes, no Unicode space, no `+`, no control character.
    ///
    /// # Errors
    /// [`KeyError::Name`].
    pub fn new(name: &str) -> Result<Self, KeyError> {
        let bad = |c: char| c == '+' || c.is_whitespace() || c.is_control();
        if name.is_empty() || name.len() > 255 || name.contains(bad) {
            return Err(KeyError::Name {
                name: name.chars().take(80).collect(),
            });
        }
        Ok(Self(name.to_owned()))
    }

    /// The name.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for KeyName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl FromStr for KeyName {
    type Err = KeyError;

    fn from_str(name: &str) -> Result<Self, Self::Err> {
        Self::new(name)
    }
}

/// What a key signs and how (the type byte of c2sp.org/signed-note).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum KeyType {
    /// 0x01: Ed25519 over the note's text.
    Ed25519,
    /// 0x04: timestamped Ed25519 cosignature of a checkpoint.
    Ed25519Cosignature,
    /// 0x06: timestamped ML-DSA-44 cosignature of a checkpoint or subtree.
    MlDsa44,
}

impl KeyType {
    /// The type byte.
    #[must_use]
    pub fn byte(self) -> u8 {
        match self {
            Self::Ed25519 => 0x01,
            Self::Ed25519Cosignature => 0x04,
            Self::MlDsa44 => 0x06,
        }
    }

    fn from_byte(byte: u8) -> Result<Self, KeyError> {
        match byte {
            0x01 => Ok(Self::Ed25519),
            0x04 => Ok(Self::Ed25519Cosignature),
            0x06 => Ok(Self::MlDsa44),
            found => Err(KeyError::Type { found }),
        }
    }
}

#[derive(Clone)]
enum PublicKey {
    Ed25519(ed25519_dalek::VerifyingKey),
    MlDsa44(Arc<ml_dsa::VerifyingKey<MlDsa44>>),
}

/// A public key with its name and type, written as a *vkey*: `name+id+base64(type ‖ key)`.
#[derive(Clone)]
pub struct VerifierKey {
    name: KeyName,
    key_id: u32,
    key_type: KeyType,
    material: Arc<[u8]>,
    public: PublicKey,
}

impl VerifierKey {
    fn new(name: KeyName, key_type: KeyType, material: &[u8]) -> Result<Self, KeyError> {
        let public = match key_type {
            KeyType::Ed25519 | KeyType::Ed25519Cosignature => {
                let bytes: &[u8; 32] = material.try_into().map_err(|_| KeyError::Material)?;
                let key = ed25519_dalek::VerifyingKey::from_bytes(bytes)
                    .map_err(|_| KeyError::Material)?;
                PublicKey::Ed25519(key)
            }
            KeyType::MlDsa44 => {
                if material.len() != ML_DSA_44_PUBLIC_BYTES {
                    return Err(KeyError::Material);
                }
                let key = ml_dsa::VerifyingKey::<MlDsa44>::new_from_slice(material)
                    .map_err(|_| KeyError::Material)?;
                PublicKey::MlDsa44(Arc::new(key))
            }
        };
        let key_id = key_id(&name, key_type, material);
        Ok(Self {
            name,
            key_id,
            key_type,
            material: material.into(),
            public,
        })
    }

    /// The name that signature lines carry.
    #[must_use]
    pub fn name(&self) -> &KeyName {
        &self.name
    }

    /// The short id that signature lines carry.
    #[must_use]
    pub fn key_id(&self) -> u32 {
        self.key_id
    }

    /// The type.
    #[must_use]
    pub fn key_type(&self) -> KeyType {
        self.key_type
    }

    /// The raw public key: 32 bytes for Ed25519, 1,312 for ML-DSA-44. Two vkeys of one raw key are the same key.
    #[must_use]
    pub fn public_bytes(&self) -> &[u8] {
        &self.material
    }

    /// Checks the bytes of a signature line (after the key id) against a note's text. For cosignatures gives the
    /// stated time in seconds since 1970 UTC.
    ///
    /// # Errors
    /// [`WrongSignature`], also when the key signs checkpoints only and the text is none.
    pub(crate) fn verify(
        &self,
        text: &str,
        signature: &[u8],
    ) -> Result<Option<u64>, WrongSignature> {
        match self.key_type {
            KeyType::Ed25519 => self.verify_raw(text.as_bytes(), signature).map(|()| None),
            KeyType::Ed25519Cosignature | KeyType::MlDsa44 => {
                cosignature::verify_note_text(self, text, signature)
                    .map(Some)
                    .map_err(|_| WrongSignature)
            }
        }
    }

    /// Checks a bare signature over a message.
    pub(crate) fn verify_raw(
        &self,
        message: &[u8],
        signature: &[u8],
    ) -> Result<(), WrongSignature> {
        use ml_dsa::Verifier as _;
        match &self.public {
            PublicKey::Ed25519(key) => {
                let signature =
                    ed25519_dalek::Signature::from_slice(signature).map_err(|_| WrongSignature)?;
                // Strict: refuses keys and signatures for which more than one message could be claimed.
                key.verify_strict(message, &signature)
                    .map_err(|_| WrongSignature)
            }
            PublicKey::MlDsa44(key) => {
                let signature = ml_dsa::Signature::<MlDsa44>::try_from(signature)
                    .map_err(|_| WrongSignature)?;
                key.verify(message, &signature).map_err(|_| WrongSignature)
            }
        }
    }
}

/// A signature does not belong to key and message.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the signature does not belong to this key and message")]
pub(crate) struct WrongSignature;

impl PartialEq for VerifierKey {
    fn eq(&self, other: &Self) -> bool {
        self.name == other.name
            && self.key_type == other.key_type
            && self.material == other.material
    }
}

impl Eq for VerifierKey {}

impl fmt::Debug for VerifierKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "VerifierKey({}+{:08x}, {:?})",
            self.name, self.key_id, self.key_type
        )
    }
}

impl fmt::Display for VerifierKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut key = vec![self.key_type.byte()];
        key.extend_from_slice(&self.material);
        write!(
            f,
            "{}+{:08x}+{}",
            self.name,
            self.key_id,
            base64_encode(&key)
        )
    }
}

impl FromStr for VerifierKey {
    type Err = KeyError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let (name, key_id, key_type, material) = parse_key_text(text)?;
        let key = Self::new(name, key_type, &material)?;
        if key.key_id != key_id {
            return Err(KeyError::Id {
                expected: key.key_id,
            });
        }
        Ok(key)
    }
}

/// What an Ed25519 signer is for; the same bytes must never serve both.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ed25519Role {
    /// Signs notes, as a log does: type 0x01.
    Log,
    /// Cosigns checkpoints, as a witness does: type 0x04.
    Cosigner,
}

impl Ed25519Role {
    fn key_type(self) -> KeyType {
        match self {
            Self::Log => KeyType::Ed25519,
            Self::Cosigner => KeyType::Ed25519Cosignature,
        }
    }
}

/// An Ed25519 secret key with its name. Its text is Go's: `PRIVATE+KEY+name+id+base64(type ‖ seed)`.
pub struct SignerKey {
    key: ed25519_dalek::SigningKey,
    verifier: VerifierKey,
}

impl SignerKey {
    /// The log key of a seed, which must come from a cryptographic random source.
    #[must_use]
    pub fn generate(name: KeyName, seed: [u8; 32]) -> Self {
        Self::from_seed(name, Ed25519Role::Log, seed)
    }

    /// The key of a seed for either role.
    #[must_use]
    pub fn from_seed(name: KeyName, role: Ed25519Role, seed: [u8; 32]) -> Self {
        let key = ed25519_dalek::SigningKey::from_bytes(&seed);
        let verifier = VerifierKey::new(name, role.key_type(), key.verifying_key().as_bytes())
            .expect("the public half of an Ed25519 key is a valid key");
        Self { key, verifier }
    }

    /// Reads the private text.
    ///
    /// # Errors
    /// [`KeyError`]; also for private keys of other types than Ed25519.
    pub fn parse_private(text: &str) -> Result<Self, KeyError> {
        let (name, key_id, key_type, seed) = parse_private_text(text)?;
        let role = match key_type {
            KeyType::Ed25519 => Ed25519Role::Log,
            KeyType::Ed25519Cosignature => Ed25519Role::Cosigner,
            KeyType::MlDsa44 => {
                return Err(KeyError::Type {
                    found: key_type.byte(),
                });
            }
        };
        let key = Self::from_seed(name, role, seed);
        if key.verifier.key_id != key_id {
            return Err(KeyError::Id {
                expected: key.verifier.key_id,
            });
        }
        Ok(key)
    }

    /// The private text: a secret.
    #[must_use]
    pub fn private_text(&self) -> String {
        private_text(&self.verifier, &self.key.to_bytes())
    }

    /// The public half.
    #[must_use]
    pub fn verifier(&self) -> VerifierKey {
        self.verifier.clone()
    }

    /// The name.
    #[must_use]
    pub fn name(&self) -> &KeyName {
        &self.verifier.name
    }

    /// Signs a note's text as a log does (type 0x01).
    ///
    /// # Panics
    /// On a cosigner's key, which must only sign through [`cosignature`]: its signatures carry a time.
    #[must_use]
    pub fn sign_text(&self, text: &str) -> NoteSignature {
        assert_eq!(
            self.verifier.key_type,
            KeyType::Ed25519,
            "cosigner keys do not sign plain notes"
        );
        self.line(self.sign_raw(text.as_bytes()))
    }

    pub(crate) fn sign_raw(&self, message: &[u8]) -> Vec<u8> {
        self.key.sign(message).to_bytes().to_vec()
    }

    pub(crate) fn line(&self, signature: Vec<u8>) -> NoteSignature {
        NoteSignature {
            name: self.verifier.name.clone(),
            key_id: self.verifier.key_id,
            signature,
        }
    }
}

/// Says which key it is, never the secret.
impl fmt::Debug for SignerKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "SignerKey({}+{:08x}, secret)",
            self.verifier.name, self.verifier.key_id
        )
    }
}

/// An ML-DSA-44 (FIPS 204) secret key with its name. Signs checkpoints as cosignatures of type 0x06: for a log under
/// the log's own name, for a witness under the witness's.
///
/// Its text is of our own making, in the shape of Go's: `PRIVATE+KEY+name+id+base64(0x06 ‖ seed)`.
pub struct MlDsaKey {
    seed: [u8; 32],
    key: Box<ml_dsa::SigningKey<MlDsa44>>,
    verifier: VerifierKey,
}

impl MlDsaKey {
    /// The key of a seed, which must come from a cryptographic random source.
    #[must_use]
    pub fn generate(name: KeyName, seed: [u8; 32]) -> Self {
        let key = Box::new(ml_dsa::SigningKey::<MlDsa44>::from_seed(&seed.into()));
        let verifier = VerifierKey::new(name, KeyType::MlDsa44, &key.verifying_key().encode())
            .expect("the public half of an ML-DSA-44 key is a valid key");
        Self {
            seed,
            key,
            verifier,
        }
    }

    /// Reads the private text.
    ///
    /// # Errors
    /// [`KeyError`]; also for private keys of other types.
    pub fn parse_private(text: &str) -> Result<Self, KeyError> {
        let (name, key_id, key_type, seed) = parse_private_text(text)?;
        if key_type != KeyType::MlDsa44 {
            return Err(KeyError::Type {
                found: key_type.byte(),
            });
        }
        let key = Self::generate(name, seed);
        if key.verifier.key_id != key_id {
            return Err(KeyError::Id {
                expected: key.verifier.key_id,
            });
        }
        Ok(key)
    }

    /// The private text: a secret.
    #[must_use]
    pub fn private_text(&self) -> String {
        private_text(&self.verifier, &self.seed)
    }

    /// The public half.
    #[must_use]
    pub fn verifier(&self) -> VerifierKey {
        self.verifier.clone()
    }

    /// The name.
    #[must_use]
    pub fn name(&self) -> &KeyName {
        &self.verifier.name
    }

    /// A deterministic signature with empty context, or `None` when rejection sampling found none.
    pub(crate) fn sign_raw(&self, message: &[u8]) -> Option<Vec<u8>> {
        self.key
            .try_sign(message)
            .ok()
            .map(|signature| signature.encode().to_vec())
    }

    pub(crate) fn line(&self, signature: Vec<u8>) -> NoteSignature {
        NoteSignature {
            name: self.verifier.name.clone(),
            key_id: self.verifier.key_id,
            signature,
        }
    }
}

/// Says which key it is, never the secret.
impl fmt::Debug for MlDsaKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "MlDsaKey({}+{:08x}, secret)",
            self.verifier.name, self.verifier.key_id
        )
    }
}

/// SHA-256(name ‖ LF ‖ type ‖ public key), first four bytes, big-endian.
fn key_id(name: &KeyName, key_type: KeyType, material: &[u8]) -> u32 {
    let hash = Sha256::of_parts(&[name.0.as_bytes(), b"\n", &[key_type.byte()], material]);
    let [a, b, c, d, ..] = hash.0;
    u32::from_be_bytes([a, b, c, d])
}

/// `name+id+base64(type ‖ material)`. Base64 may hold plus signs, the other two may not.
fn parse_key_text(text: &str) -> Result<(KeyName, u32, KeyType, Vec<u8>), KeyError> {
    // The longest key is an ML-DSA-44 one of about 2 kB.
    if text.len() > 4096 {
        return Err(KeyError::Format);
    }
    let mut parts = text.splitn(3, '+');
    let (Some(name), Some(id), Some(encoded)) = (parts.next(), parts.next(), parts.next()) else {
        return Err(KeyError::Format);
    };
    let name = KeyName::new(name)?;
    if id.len() != 8
        || !id
            .bytes()
            .all(|b| b.is_ascii_digit() || (b'a'..=b'f').contains(&b))
    {
        return Err(KeyError::Format);
    }
    let key_id = u32::from_str_radix(id, 16).map_err(|_| KeyError::Format)?;
    let blob = base64_decode(encoded).ok_or(KeyError::Format)?;
    let (key_type, material) = blob.split_first().ok_or(KeyError::Format)?;
    Ok((
        name,
        key_id,
        KeyType::from_byte(*key_type)?,
        material.to_vec(),
    ))
}

fn parse_private_text(text: &str) -> Result<(KeyName, u32, KeyType, [u8; 32]), KeyError> {
    let rest = text.strip_prefix(PRIVATE_PREFIX).ok_or(KeyError::Format)?;
    let (name, key_id, key_type, seed) = parse_key_text(rest)?;
    Ok((
        name,
        key_id,
        key_type,
        seed.try_into().map_err(|_| KeyError::Material)?,
    ))
}

fn private_text(verifier: &VerifierKey, seed: &[u8; 32]) -> String {
    let mut blob = vec![verifier.key_type.byte()];
    blob.extend_from_slice(seed);
    format!(
        "{PRIVATE_PREFIX}{}+{:08x}+{}",
        verifier.name,
        verifier.key_id,
        base64_encode(&blob)
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn private_and_public_texts_round_trip_and_go_s_own_key_is_read() {
        // Key pair of the documentation of Go's note package.
        let go = "PRIVATE+KEY+PeterNeumann+c74f20a3+AYEKFALVFGyNhPJEMzD1QIDr+Y7hfZx09iUvxdXHKDFz";
        let key = SignerKey::parse_private(go).unwrap();
        assert_eq!(key.private_text(), go);
        assert_eq!(
            key.verifier().to_string(),
            "PeterNeumann+c74f20a3+ARpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TW"
        );

        let name = KeyName::new("log.example/1").unwrap();
        let cosigner = SignerKey::from_seed(name.clone(), Ed25519Role::Cosigner, [9; 32]);
        let read = SignerKey::parse_private(&cosigner.private_text()).unwrap();
        assert_eq!(read.verifier(), cosigner.verifier());
        assert_ne!(
            SignerKey::generate(name.clone(), [9; 32]).verifier(),
            cosigner.verifier()
        );

        let pq = MlDsaKey::generate(name, [5; 32]);
        let read = MlDsaKey::parse_private(&pq.private_text()).unwrap();
        assert_eq!(read.verifier(), pq.verifier());
        let public: VerifierKey = pq.verifier().to_string().parse().unwrap();
        assert_eq!(
            (public.key_type(), public.public_bytes().len()),
            (KeyType::MlDsa44, 1312)
        );
        assert!(SignerKey::parse_private(&pq.private_text()).is_err());
        assert!(MlDsaKey::parse_private(go).is_err());
    }

    #[test]
    fn debug_never_shows_the_secret() {
        let key = SignerKey::generate(KeyName::new("n").unwrap(), [1; 32]);
        let secret = key.private_text();
        let secret = secret.rsplit('+').next().unwrap();
        assert!(!format!("{key:?}").contains(secret));
        assert!(
            !format!(
                "{:?}",
                MlDsaKey::generate(KeyName::new("n").unwrap(), [1; 32])
            )
            .contains("0101")
        );
    }

    #[test]
    fn wrong_keys_are_refused_with_a_reason() {
        let good = "example.com/foo+530d903a+AekyeRrm56hApGFkyQR4ZCbV54Id2LKaANYcrnKv3U2k";
        let parse = |text: &str| text.parse::<VerifierKey>().unwrap_err();
        assert_eq!(
            parse(&good.replace("530d903a", "530d903b")),
            KeyError::Id {
                expected: 0x530d_903a
            }
        );
        assert_eq!(
            parse(&good.replace("530d903a", "530D903A")),
            KeyError::Format
        );
        assert_eq!(
            parse(&good.replace("+Aeky", "+Aoky")),
            KeyError::Type { found: 2 }
        );
        assert_eq!(parse(&good[..good.len() - 4]), KeyError::Material);
        assert_eq!(parse("foo"), KeyError::Format);
        assert!(matches!(
            parse(&good.replace("example.com/foo", "a b")),
            KeyError::Name { .. }
        ));
        assert!(matches!(
            parse(&good.replace("foo", "bar")),
            KeyError::Id { .. }
        ));
    }
}
