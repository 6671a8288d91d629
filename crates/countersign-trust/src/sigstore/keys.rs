//! Keys that both sides know: of registries that sign what they publish.

use sigstore_verify::crypto::KeyAlgorithm;
use sigstore_verify::types::DerPublicKey;

use super::{Refusal, Step};

/// One known key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TrustedKey {
    /// The name by which bundles call it.
    pub hint: String,
    /// The key (DER, SubjectPublicKeyInfo): P-256, P-384 or Ed25519.
    pub spki: Vec<u8>,
    /// The last second, since 1970, at which it may have signed; `None` where it has not ended.
    pub until: Option<i64>,
    /// Whether its signatures must be in a transparency log of the trust root. Those of a registry with a log of its
    /// own need not.
    pub logged: bool,
}

/// Known keys, by name.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TrustedKeys(Vec<TrustedKey>);

impl TrustedKeys {
    /// Takes keys.
    ///
    /// # Errors
    ///
    /// At [`Step::Signature`]: two keys of one name, a key of an unknown kind.
    pub fn new(keys: Vec<TrustedKey>) -> Result<Self, Refusal> {
        for (at, key) in keys.iter().enumerate() {
            let refuse =
                |sentence: &str| Refusal::new(Step::Signature, sentence.to_owned()).seen(&key.hint);
            if keys[..at].iter().any(|before| before.hint == key.hint) {
                return Err(refuse("two trusted keys have one name"));
            }
            KeyAlgorithm::from_spki(&DerPublicKey::new(key.spki.clone()))
                .map_err(|_| refuse("a trusted key is of no known kind"))?;
        }
        Ok(Self(keys))
    }

    /// Reads one key from PEM (`BEGIN PUBLIC KEY`) under a name of the caller's choice.
    ///
    /// # Errors
    ///
    /// At [`Step::Parse`] where it is no such PEM, and as [`TrustedKeys::new`].
    pub fn from_pem(hint: &str, pem: &str, logged: bool) -> Result<Self, Refusal> {
        let key = DerPublicKey::from_pem(pem).map_err(|error| {
            Refusal::new(
                Step::Parse,
                format!(
                    "the key is no public key in PEM: {}",
                    crate::oidc::escaped(&error.to_string())
                ),
            )
        })?;
        Self::new(vec![TrustedKey {
            hint: hint.to_owned(),
            spki: key.as_bytes().to_vec(),
            until: None,
            logged,
        }])
    }

    /// Reads a list of keys as npm serves it: `{"keys":[{"keyid"|"keyId", "key"|"publicKey":{"rawBytes"}, "expires"|
    /// "publicKey":{"validFor":{"end"}}, …}]}`. Their signatures must be in a transparency log.
    ///
    /// # Errors
    ///
    /// At [`Step::Parse`] where it is no such list, and as [`TrustedKeys::new`].
    pub fn from_json(bytes: &[u8]) -> Result<Self, Refusal> {
        let document = crate::oidc::strict_object_within(bytes, 8, 4096)
            .map_err(|why| Refusal::new(Step::Parse, format!("the list of keys: {why}")))?;
        let refuse = |sentence: &str| Refusal::new(Step::Parse, sentence.to_owned());
        let list = document
            .get("keys")
            .and_then(|keys| keys.as_array())
            .ok_or_else(|| refuse("the list of keys has no `keys`"))?;
        let mut keys: Vec<TrustedKey> = Vec::new();
        for entry in list {
            let text = |names: &[&str]| names.iter().find_map(|name| entry.pointer(name)?.as_str());
            let hint = text(&["/keyid", "/keyId"])
                .ok_or_else(|| refuse("a key of the list has no `keyid`"))?;
            let spki = text(&["/key", "/publicKey/rawBytes"])
                .and_then(crate::base64_decode)
                .ok_or_else(|| refuse("a key of the list is not base64 of a public key"))?;
            let until = match text(&["/expires", "/publicKey/validFor/end"]) {
                Some(end) => Some(
                    end.parse::<jiff::Timestamp>()
                        .map_err(|_| refuse("the end of a key of the list is no time").seen(end))?
                        .as_second(),
                ),
                None => None,
            };
            let key = TrustedKey {
                hint: hint.to_owned(),
                spki,
                until,
                logged: true,
            };
            // One key stands once for each of its uses.
            if !keys.contains(&key) {
                keys.push(key);
            }
        }
        Self::new(keys)
    }

    /// The key of that name.
    pub fn get(&self, hint: &str) -> Option<&TrustedKey> {
        self.0.iter().find(|key| key.hint == hint)
    }

    /// All keys.
    pub fn all(&self) -> &[TrustedKey] {
        &self.0
    }
}
