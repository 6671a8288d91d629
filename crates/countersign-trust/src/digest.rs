//! Digests of bytes: one SHA-256, or all that the ecosystems ask for in a single pass.

mod many;

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer, de::Error as _};
use sha2::Digest as _;
use subtle::ConstantTimeEq as _;

pub(crate) use self::many::{Joined, Message, digests, joined, prefixed};

/// A SHA-256 digest (FIPS 180-4). Its text form is 64 lower-case hexadecimal digits.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Sha256(pub [u8; 32]);

/// The text is not 64 lower-case hexadecimal digits.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("not a SHA-256 digest: expected 64 lower-case hexadecimal digits, got {found:?}")]
pub struct DigestError {
    /// The beginning of what was given.
    pub found: String,
}

impl Sha256 {
    /// The digest of `bytes`.
    #[must_use]
    pub fn of(bytes: &[u8]) -> Self {
        Self(sha2::Sha256::digest(bytes).into())
    }

    /// The digest of the parts joined together.
    #[must_use]
    pub fn of_parts(parts: &[&[u8]]) -> Self {
        let mut hasher = sha2::Sha256::new();
        for part in parts {
            hasher.update(part);
        }
        Self(hasher.finalize().into())
    }

    /// The digest of a prefix and two digests: a node of a Merkle tree (RFC 9162 section 2.1.1), among others. Its bytes are
    /// always two blocks, which are put together here: half the time of hashing them in parts.
    #[must_use]
    pub(crate) fn of_joined<const P: usize>(prefix: &[u8; P], left: &Self, right: &Self) -> Self {
        joined(*prefix, left, right).digest()
    }

    /// The raw 32 bytes.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }

    /// 64 lower-case hexadecimal digits.
    #[must_use]
    pub fn to_hex(&self) -> String {
        hex::encode(self.0)
    }

    /// What 64 lower-case hexadecimal digits say; nothing for any other bytes.
    #[must_use]
    pub(crate) fn from_hex(text: &[u8]) -> Option<Self> {
        let digits: &[u8; 64] = text.try_into().ok()?;
        // Without leaving early, so that the compiler can look at many digits at once. Upper case would be a second text.
        let (mut bytes, mut wrong) = ([0; 32], false);
        let mut value = |digit: u8| {
            let decimal = digit.wrapping_sub(b'0') < 10;
            let letter = digit.wrapping_sub(b'a') < 6;
            wrong |= !(decimal | letter);
            (digit & 0xf) + if letter { 9 } else { 0 }
        };
        for (byte, [high, low]) in bytes.iter_mut().zip(digits.as_chunks::<2>().0) {
            *byte = value(*high) << 4 | value(*low);
        }
        (!wrong).then_some(Self(bytes))
    }

    /// Equality whose duration does not depend on the contents; for digests of secrets.
    #[must_use]
    pub fn ct_eq(&self, other: &Self) -> bool {
        self.0.ct_eq(&other.0).into()
    }
}

impl fmt::Display for Sha256 {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.to_hex())
    }
}

impl fmt::Debug for Sha256 {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Sha256({self})")
    }
}

impl AsRef<[u8]> for Sha256 {
    fn as_ref(&self) -> &[u8] {
        &self.0
    }
}

impl From<[u8; 32]> for Sha256 {
    fn from(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }
}

impl FromStr for Sha256 {
    type Err = DigestError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let refuse = || DigestError {
            found: text.chars().take(80).collect(),
        };
        Self::from_hex(text.as_bytes()).ok_or_else(refuse)
    }
}

impl Serialize for Sha256 {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.to_hex())
    }
}

impl<'de> Deserialize<'de> for Sha256 {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = std::borrow::Cow::<'de, str>::deserialize(deserializer)?;
        text.parse().map_err(D::Error::custom)
    }
}

/// The digests of one file that package indexes publish or are asked to check.
///
/// Only SHA-256 and SHA-512 carry trust; the others are there because clients send and show them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Digests {
    /// SHA-256.
    pub sha256: Sha256,
    /// BLAKE2b with 32 bytes of output.
    pub blake2b_256: [u8; 32],
    /// MD5; never a basis for trust.
    pub md5: [u8; 16],
    /// SHA-512, when it was asked for.
    pub sha512: Option<[u8; 64]>,
    /// SHA-1, when it was asked for; never a basis for trust.
    pub sha1: Option<[u8; 20]>,
}

impl Digests {
    /// Those that carry trust, by the names that statements give them, in lower-case hexadecimal.
    #[must_use]
    pub fn named(&self) -> Vec<(String, String)> {
        let sha512 = self.sha512_hex().map(|hex| ("sha512".to_owned(), hex));
        std::iter::once(("sha256".to_owned(), self.sha256_hex()))
            .chain(sha512)
            .collect()
    }

    /// SHA-256 in lower-case hexadecimal.
    #[must_use]
    pub fn sha256_hex(&self) -> String {
        self.sha256.to_hex()
    }

    /// BLAKE2b-256 in lower-case hexadecimal.
    #[must_use]
    pub fn blake2b_256_hex(&self) -> String {
        hex::encode(self.blake2b_256)
    }

    /// MD5 in lower-case hexadecimal.
    #[must_use]
    pub fn md5_hex(&self) -> String {
        hex::encode(self.md5)
    }

    /// SHA-512 in lower-case hexadecimal, when it was asked for.
    #[must_use]
    pub fn sha512_hex(&self) -> Option<String> {
        self.sha512.map(hex::encode)
    }

    /// SHA-1 in lower-case hexadecimal, when it was asked for.
    #[must_use]
    pub fn sha1_hex(&self) -> Option<String> {
        self.sha1.map(hex::encode)
    }
}

/// Computes [`Digests`] and the length of a stream, piece by piece.
#[derive(Clone)]
pub struct Hasher {
    sha256: sha2::Sha256,
    blake2b_256: blake2::Blake2b256,
    md5: md5::Md5,
    sha512: Option<sha2::Sha512>,
    sha1: Option<sha1::Sha1>,
    bytes: u64,
}

impl Hasher {
    /// A hasher that has seen nothing; SHA-512 only `with_sha512`, since few ecosystems want it.
    #[must_use]
    pub fn new(with_sha512: bool) -> Self {
        Self {
            sha256: sha2::Sha256::new(),
            blake2b_256: blake2::Blake2b256::new(),
            md5: md5::Md5::new(),
            sha512: with_sha512.then(sha2::Sha512::new),
            sha1: None,
            bytes: 0,
        }
    }

    /// A hasher that also computes what npm's clients hold tarballs against: SHA-512, and SHA-1 for the old ones.
    #[must_use]
    pub fn for_npm() -> Self {
        Self {
            sha1: Some(sha1::Sha1::new()),
            ..Self::new(true)
        }
    }

    /// Takes in the next piece.
    pub fn update(&mut self, piece: &[u8]) {
        self.sha256.update(piece);
        self.blake2b_256.update(piece);
        self.md5.update(piece);
        if let Some(sha512) = &mut self.sha512 {
            sha512.update(piece);
        }
        if let Some(sha1) = &mut self.sha1 {
            sha1.update(piece);
        }
        self.bytes = self.bytes.saturating_add(piece.len() as u64);
    }

    /// The digests, and the number of bytes seen.
    #[must_use]
    pub fn finish(self) -> (Digests, u64) {
        let digests = Digests {
            sha256: Sha256(self.sha256.finalize().into()),
            blake2b_256: self.blake2b_256.finalize().into(),
            md5: self.md5.finalize().into(),
            sha512: self.sha512.map(|hasher| hasher.finalize().into()),
            sha1: self.sha1.map(|hasher| hasher.finalize().into()),
        };
        (digests, self.bytes)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_node_is_the_digest_of_its_65_bytes() {
        for seed in 0..=255_u8 {
            let (left, right) = (Sha256::of(&[seed]), Sha256::of(&[seed, 1]));
            let whole = [&[seed][..], &left.0, &right.0].concat();
            assert_eq!(
                Sha256::of_joined(&[seed], &left, &right),
                Sha256::of(&whole)
            );
        }
    }

    #[test]
    fn known_answers_of_all_algorithms_in_one_pass() {
        let mut hasher = Hasher::new(true);
        hasher.update(b"a");
        hasher.update(b"bc");
        let (digests, bytes) = hasher.finish();
        assert_eq!(bytes, 3);
        assert_eq!(digests.sha256, Sha256::of(b"abc"));
        assert_eq!(
            digests.sha256_hex(),
            "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
        );
        assert_eq!(digests.md5_hex(), "900150983cd24fb0d6963f7d28e17f72");
        assert_eq!(
            digests.blake2b_256_hex(),
            "bddd813c634239723171ef3fee98579b94964e3bb1cb3e427262c8c068d52319"
        );
        assert!(
            digests
                .sha512_hex()
                .unwrap()
                .starts_with("ddaf35a193617abacc417349ae204131")
        );
        assert_eq!(Hasher::new(false).finish().0.sha512, None);
        assert_eq!(Hasher::new(true).finish().0.sha1, None);
        let mut hasher = Hasher::for_npm();
        hasher.update(b"abc");
        let (digests, _) = hasher.finish();
        assert_eq!(
            digests.sha1_hex().unwrap(),
            "a9993e364706816aba3e25717850c26c9cd0d89d"
        );
        assert!(digests.sha512.is_some());
        assert_eq!(Sha256::of_parts(&[b"a", b"", b"bc"]), Sha256::of(b"abc"));
    }

    #[test]
    fn the_text_form_is_strict_and_round_trips() {
        let digest = Sha256::of(b"abc");
        assert_eq!(digest.to_string().parse::<Sha256>().unwrap(), digest);
        assert_eq!(
            serde_json::from_str::<Sha256>(&serde_json::to_string(&digest).unwrap()).unwrap(),
            digest
        );
        for bad in [
            "",
            "ba78",
            &digest.to_hex().to_uppercase(),
            &digest.to_hex().replace('b', "g"),
            &format!(" {digest}"),
        ] {
            assert!(bad.parse::<Sha256>().is_err(), "{bad}");
        }
        assert!(digest.ct_eq(&Sha256::of(b"abc")) && !digest.ct_eq(&Sha256::of(b"abd")));
    }
}
