//! Public keys as metadata lists them.

use serde_json::{Map, Value, json};
use sigstore_verify::crypto::{SigningScheme, VerificationKey};
use sigstore_verify::types::{DerPublicKey, SignatureBytes};

use super::canonical::{self, Text};
use super::{Fault, Refusal};
use crate::digest::Sha256;
use crate::sigstore::Signs;

/// Kind and scheme of a signer by identity, as securesystemslib calls them.
const KEYLESS: (&str, &str) = ("sigstore-oidc", "Fulcio");
/// What stands before the 32 bytes of an Ed25519 key in DER (RFC 8410).
const ED25519_SPKI: [u8; 12] = [
    0x30, 0x2a, 0x30, 0x05, 0x06, 0x03, 0x2b, 0x65, 0x70, 0x03, 0x21, 0x00,
];
/// What stands before the 65 bytes of an uncompressed P-256 point in DER (RFC 5480).
const P256_SPKI: [u8; 26] = [
    0x30, 0x59, 0x30, 0x13, 0x06, 0x07, 0x2a, 0x86, 0x48, 0xce, 0x3d, 0x02, 0x01, 0x06, 0x08, 0x2a,
    0x86, 0x48, 0xce, 0x3d, 0x03, 0x01, 0x07, 0x03, 0x42, 0x00,
];

/// A key as it stands in metadata. One of an unknown kind can be listed, but no signature of it counts.
#[derive(Clone, Debug, PartialEq)]
pub struct Key {
    fields: Map<String, Value>,
    /// The key (DER) and how it signs, where both are known.
    known: Option<(Vec<u8>, SigningScheme)>,
}

impl Key {
    /// Reads a key object.
    ///
    /// # Errors
    /// [`Fault::Malformed`] where `keytype`, `scheme` or `keyval` is missing.
    pub(super) fn read(what: &str, value: &Value) -> Result<Self, Refusal> {
        let malformed = || {
            Refusal::malformed(
                what,
                "a key is no object with `keytype`, `scheme`, `keyval`",
            )
        };
        let fields = value.as_object().ok_or_else(malformed)?;
        let text = |name: &str| fields.get(name)?.as_str();
        let (Some(kind), Some(scheme), Some(keyval)) = (
            text("keytype"),
            text("scheme"),
            fields.get("keyval").and_then(Value::as_object),
        ) else {
            return Err(malformed());
        };
        if canonical::canonical_json(value).is_none() {
            return Err(Refusal::malformed(
                what,
                "a number in a key is no integer of 64 bits",
            ));
        }
        let public = keyval.get("public").and_then(Value::as_str);
        Ok(Self {
            known: public.and_then(|public| known(kind, scheme, public)),
            fields: fields.clone(),
        })
    }

    /// The key of a signer: Ed25519 or P-256.
    ///
    /// # Errors
    /// [`Fault::Malformed`] for a key of another kind, or one that its keeper does not show.
    pub fn of(signer: &dyn Signs) -> Result<Self, Refusal> {
        let spki = signer
            .public_key()
            .map_err(|error| Refusal::malformed("key", error.to_string()))?;
        Self::from_spki(&spki)
    }

    /// A public key in DER (SubjectPublicKeyInfo): Ed25519 or P-256.
    ///
    /// # Errors
    /// [`Fault::Malformed`] for a key of another kind.
    pub fn from_spki(spki: &[u8]) -> Result<Self, Refusal> {
        let value = if let Some(raw) = spki.strip_prefix(&ED25519_SPKI) {
            json!({"keytype": "ed25519", "scheme": "ed25519", "keyval": {"public": hex::encode(raw)}})
        } else if spki.starts_with(&P256_SPKI) {
            let pem = pem(spki);
            json!({"keytype": "ecdsa", "scheme": "ecdsa-sha2-nistp256", "keyval": {"public": pem}})
        } else {
            return Err(Refusal::malformed(
                "key",
                "a key is neither Ed25519 nor P-256; clients know no other that is good",
            ));
        };
        let key = Self::read("key", &value)?;
        if key.known.is_none() {
            return Err(Refusal::malformed("key", "a public key can not be used"));
        }
        Ok(key)
    }

    /// A signer by an identity that an issuer of identity tokens vouches for, through Sigstore ([`super::keyless`]). No threshold
    /// counts it.
    #[must_use]
    pub fn keyless(identity: &str, issuer: &str) -> Self {
        let text = |text: &str| Value::from(text);
        let keyval = Map::from_iter([
            ("identity".to_owned(), text(identity)),
            ("issuer".to_owned(), text(issuer)),
        ]);
        Self {
            fields: Map::from_iter([
                ("keytype".to_owned(), text(KEYLESS.0)),
                ("scheme".to_owned(), text(KEYLESS.1)),
                ("keyval".to_owned(), Value::Object(keyval)),
            ]),
            known: None,
        }
    }

    /// Identity and issuer, of a signer by those.
    #[must_use]
    pub fn identity(&self) -> Option<(&str, &str)> {
        let text = |name: &str| self.field(name).and_then(Value::as_str);
        if (text("keytype")?, text("scheme")?) != KEYLESS {
            return None;
        }
        let keyval = self.field("keyval")?;
        Some((
            keyval.get("identity")?.as_str()?,
            keyval.get("issuer")?.as_str()?,
        ))
    }

    /// The key's id: SHA-256 of the canonical key object.
    #[must_use]
    pub fn id(&self) -> String {
        Sha256::of(self.written(Text::Canonical).as_bytes()).to_hex()
    }

    /// A field of the key object, as in `x-owner`.
    #[must_use]
    pub fn field(&self, name: &str) -> Option<&Value> {
        self.fields.get(name)
    }

    /// The kind, as in `ed25519`.
    #[must_use]
    pub fn kind(&self) -> &str {
        self.fields
            .get("keytype")
            .and_then(Value::as_str)
            .unwrap_or_default()
    }

    /// The public key (DER), where its kind is known. Two ids of one key have the same.
    #[must_use]
    pub fn spki(&self) -> Option<&[u8]> {
        self.known.as_ref().map(|(spki, _)| spki.as_slice())
    }

    /// Did this key make this signature (hexadecimal) of these bytes?
    #[must_use]
    pub fn verifies(&self, payload: &[u8], signature: &str) -> bool {
        let Some((spki, scheme)) = &self.known else {
            return false;
        };
        let Ok(signature) = hex::decode(signature) else {
            return false;
        };
        VerificationKey::from_spki_with_scheme(&DerPublicKey::new(spki.clone()), *scheme)
            .and_then(|key| key.verify(payload, &SignatureBytes::new(signature)))
            .is_ok()
    }

    pub(super) fn written(&self, how: Text) -> String {
        let mut out = String::new();
        // A key with another number than an integer was not read.
        if canonical::object(&mut out, &self.fields, how).is_none() {
            out.clear();
        }
        out
    }
}

fn known(kind: &str, scheme: &str, public: &str) -> Option<(Vec<u8>, SigningScheme)> {
    let scheme = match (kind, scheme) {
        ("ed25519", "ed25519") => SigningScheme::Ed25519,
        // The older spelling of the kind names the curve.
        ("ecdsa" | "ecdsa-sha2-nistp256", "ecdsa-sha2-nistp256") => SigningScheme::EcdsaP256Sha256,
        ("rsa", "rsassa-pss-sha256") => SigningScheme::RsaPssSha256,
        _ => return None,
    };
    let public = public.trim();
    let spki = if public.starts_with("-----BEGIN") {
        DerPublicKey::from_pem(public).ok()?.as_bytes().to_vec()
    } else {
        let raw = hex::decode(public).ok()?;
        match (scheme, raw.len()) {
            (SigningScheme::Ed25519, 32) => [ED25519_SPKI.as_slice(), raw.as_slice()].concat(),
            (SigningScheme::EcdsaP256Sha256, 65) => [P256_SPKI.as_slice(), raw.as_slice()].concat(),
            _ => return None,
        }
    };
    let key = DerPublicKey::new(spki.clone());
    VerificationKey::from_spki_with_scheme(&key, scheme).ok()?;
    Some((spki, scheme))
}

/// PEM as every library writes it: 64 characters a line.
fn pem(spki: &[u8]) -> String {
    let text = crate::base64_encode(spki);
    let mut out = String::from("-----BEGIN PUBLIC KEY-----\n");
    let mut rest = text.as_str();
    while !rest.is_empty() {
        let (line, after) = rest.split_at(rest.len().min(64));
        out.push_str(line);
        out.push('\n');
        rest = after;
    }
    out.push_str("-----END PUBLIC KEY-----\n");
    out
}

/// Signs with a signer, in hexadecimal.
pub(super) fn signed_by(signer: &dyn Signs, payload: &[u8], what: &str) -> Result<String, Refusal> {
    let signature = signer
        .sign(payload)
        .map_err(|error| Refusal::new(Fault::Unsigned, what, error.to_string()))?;
    Ok(hex::encode(signature))
}
