//! What metadata says of one target file, and files held against that.

use std::collections::BTreeMap;

use serde_json::Value;
use sha2::Digest as _;

use super::canonical::{self, Fields, Text};
use super::documents::{Extra, Object};
use super::{Fault, Refusal};

/// The algorithms that carry trust here, the first ones preferred in file names, and how long their digests are in bytes.
pub(super) const ALGORITHMS: [(&str, usize); 5] = [
    ("sha256", 32),
    ("sha512", 64),
    ("sha384", 48),
    ("blake2b-256", 32),
    ("blake2b", 64),
];

/// Length and digests of a file.
#[derive(Clone, Debug, PartialEq, Default)]
pub struct TargetFile {
    /// Length in bytes.
    pub length: u64,
    /// Digests in hexadecimal by the names of their algorithms, as `sha256`.
    pub hashes: BTreeMap<String, String>,
    /// What else stands there, as `custom`.
    pub extra: Extra,
}

impl TargetFile {
    /// A file by its SHA-256.
    #[must_use]
    pub fn new(length: u64, sha256: crate::digest::Sha256) -> Self {
        Self {
            length,
            hashes: BTreeMap::from([("sha256".to_owned(), sha256.to_hex())]),
            extra: Extra::default(),
        }
    }

    /// A file from its bytes, by SHA-256.
    #[must_use]
    pub fn of(bytes: &[u8]) -> Self {
        Self::new(bytes.len() as u64, crate::digest::Sha256::of(bytes))
    }

    /// Reads what [`TargetFile::to_json`] writes, and what stands in metadata for a target.
    ///
    /// # Errors
    /// [`Fault::Malformed`].
    pub fn from_json(path: &str, text: &str) -> Result<Self, Refusal> {
        let object = crate::oidc::strict_object_within(text.as_bytes(), 24, 1 << 16)
            .map_err(|why| Refusal::malformed(path, why))?;
        Self::read(path, path, Value::Object(object))
    }

    /// As it stands in metadata, as JSON.
    #[must_use]
    pub fn to_json(&self) -> String {
        let mut out = String::new();
        self.write(&mut out, Text::Json);
        out
    }

    /// The digest that the file's name begins with where snapshots are consistent: SHA-256 where there is one.
    #[must_use]
    pub fn digest(&self) -> Option<&str> {
        ALGORITHMS
            .iter()
            .find_map(|(algorithm, _)| self.hashes.get(*algorithm))
            .or_else(|| self.hashes.values().next())
            .map(String::as_str)
    }

    pub(super) fn read(what: &str, path: &str, value: Value) -> Result<Self, Refusal> {
        let mut object = Object::of(what, value)?;
        let file = Self {
            length: object.number("length")?,
            hashes: object.hashes("hashes")?.unwrap_or_default(),
            extra: object.rest()?,
        };
        if file.hashes.is_empty() {
            return Err(Refusal::malformed(
                what,
                format!("target {} has no hashes", crate::oidc::quoted(path)),
            ));
        }
        Ok(file)
    }

    pub(super) fn write(&self, out: &mut String, how: Text) {
        if self.extra.is_empty() {
            out.push_str("{\"hashes\":");
            hashes(out, &self.hashes, how);
            out.push_str(",\"length\":");
            out.push_str(&self.length.to_string());
            out.push('}');
            return;
        }
        let mut fields = Fields::with(self.extra.map(), how);
        let mut text = String::new();
        hashes(&mut text, &self.hashes, how);
        fields.written("hashes", text);
        fields.number("length", self.length);
        fields.finish(out);
    }

    /// The names under which a repository may have the file: with consistent snapshots a digest stands before the last
    /// part of the path, the preferred one first.
    #[must_use]
    pub fn names(&self, path: &str, consistent: bool) -> Vec<String> {
        if !consistent {
            return vec![path.to_owned()];
        }
        let (folder, name) = match path.rsplit_once('/') {
            Some((folder, name)) => (format!("{folder}/"), name),
            None => (String::new(), path),
        };
        let known = ALGORITHMS
            .iter()
            .filter_map(|(algorithm, _)| self.hashes.get(*algorithm));
        let mut names: Vec<String> = Vec::new();
        for hash in known.chain(self.hashes.values()) {
            // A digest is part of a path: only hexadecimal is.
            let name = format!("{folder}{hash}.{name}");
            if hash.bytes().all(|byte| byte.is_ascii_hexdigit()) && !names.contains(&name) {
                names.push(name);
            }
        }
        names
    }

    /// Holds bytes against length and digests.
    ///
    /// # Errors
    /// As [`TargetCheck`].
    pub fn check(&self, path: &str, bytes: &[u8]) -> Result<(), Refusal> {
        let mut check = TargetCheck::new(path, self)?;
        check.take(bytes)?;
        check.finish()
    }
}

pub(super) fn hashes(out: &mut String, of: &BTreeMap<String, String>, how: Text) {
    canonical::map(out, of, how, |hash, out| canonical::string(out, hash, how));
}

/// Digests of bytes that arrive piece by piece.
enum Hasher {
    Sha256(sha2::Sha256),
    Sha384(sha2::Sha384),
    Sha512(sha2::Sha512),
    Blake2b256(blake2::Blake2b256),
    Blake2b512(blake2::Blake2b512),
}

impl Hasher {
    fn of(algorithm: &str) -> Option<Self> {
        Some(match algorithm {
            "sha256" => Self::Sha256(sha2::Sha256::new()),
            "sha384" => Self::Sha384(sha2::Sha384::new()),
            "sha512" => Self::Sha512(sha2::Sha512::new()),
            "blake2b-256" => Self::Blake2b256(blake2::Blake2b256::new()),
            "blake2b" => Self::Blake2b512(blake2::Blake2b512::new()),
            _ => return None,
        })
    }

    fn take(&mut self, bytes: &[u8]) {
        match self {
            Self::Sha256(hasher) => hasher.update(bytes),
            Self::Sha384(hasher) => hasher.update(bytes),
            Self::Sha512(hasher) => hasher.update(bytes),
            Self::Blake2b256(hasher) => hasher.update(bytes),
            Self::Blake2b512(hasher) => hasher.update(bytes),
        }
    }

    fn finish(self) -> String {
        match self {
            Self::Sha256(hasher) => hex::encode(hasher.finalize()),
            Self::Sha384(hasher) => hex::encode(hasher.finalize()),
            Self::Sha512(hasher) => hex::encode(hasher.finalize()),
            Self::Blake2b256(hasher) => hex::encode(hasher.finalize()),
            Self::Blake2b512(hasher) => hex::encode(hasher.finalize()),
        }
    }
}

/// Holds a file that arrives piece by piece against what metadata says of it. Nothing of it may be used before
/// [`TargetCheck::finish`]; it ends at the first byte too many.
pub struct TargetCheck {
    what: String,
    left: u64,
    hashers: Vec<(Hasher, String)>,
}

impl TargetCheck {
    /// Begins.
    ///
    /// # Errors
    /// [`Fault::Mismatch`] where no digest is of a known algorithm. Those of unknown ones are not looked at.
    pub fn new(path: &str, target: &TargetFile) -> Result<Self, Refusal> {
        Self::against(path, target.length, &target.hashes, true)
    }

    pub(super) fn against(
        what: &str,
        length: u64,
        hashes: &BTreeMap<String, String>,
        needed: bool,
    ) -> Result<Self, Refusal> {
        let hashers: Vec<(Hasher, String)> = hashes
            .iter()
            .filter_map(|(algorithm, hash)| Some((Hasher::of(algorithm)?, hash.clone())))
            .collect();
        if hashers.is_empty() && (needed || !hashes.is_empty()) {
            return Err(Refusal::new(
                Fault::Mismatch,
                what,
                "none of its hashes is of a known algorithm",
            ));
        }
        Ok(Self {
            what: what.to_owned(),
            left: length,
            hashers,
        })
    }

    /// Takes a piece.
    ///
    /// # Errors
    /// [`Fault::Mismatch`] where the file is longer than it may be.
    pub fn take(&mut self, piece: &[u8]) -> Result<(), Refusal> {
        self.left = self.left.checked_sub(piece.len() as u64).ok_or_else(|| {
            Refusal::new(
                Fault::Mismatch,
                &self.what,
                "it is longer than the metadata says",
            )
        })?;
        for (hasher, _) in &mut self.hashers {
            hasher.take(piece);
        }
        Ok(())
    }

    /// Ends.
    ///
    /// # Errors
    /// [`Fault::Mismatch`] where length or a digest is another.
    pub fn finish(self) -> Result<(), Refusal> {
        if self.left > 0 {
            return Err(Refusal::new(
                Fault::Mismatch,
                &self.what,
                "it is shorter than the metadata says",
            ));
        }
        for (hasher, wanted) in self.hashers {
            let found = hasher.finish();
            if found != wanted {
                return Err(Refusal::new(
                    Fault::Mismatch,
                    &self.what,
                    format!(
                        "its digest is {found}, and the metadata says {}",
                        crate::oidc::quoted(&wanted)
                    ),
                ));
            }
        }
        Ok(())
    }
}
