//! What a registry signs itself: statements under a key that its readers know.

use ed25519_dalek::Signer as _;
use p256::ecdsa::signature::Signer as _;
use p256::pkcs8::EncodePublicKey as _;
use serde_json::json;

use super::{Bundle, IN_TOTO, Limits, Refusal, Statement, Step, dsse};
use crate::base64_encode;

/// Something that signs. Signing is deterministic: no randomness is asked for. Several threads may ask it.
pub trait Signs: Send + Sync {
    /// The name by which readers know the key.
    fn hint(&self) -> &str;
    /// The public key (DER, SubjectPublicKeyInfo).
    ///
    /// # Errors
    ///
    /// At [`Step::Signature`] where the key can not be written down.
    fn public_key(&self) -> Result<Vec<u8>, Refusal>;
    /// A signature of these bytes; of ECDSA in DER.
    ///
    /// # Errors
    ///
    /// At [`Step::Signature`] where the key's keeper does not sign.
    fn sign(&self, message: &[u8]) -> Result<Vec<u8>, Refusal>;
}

/// The name of a key that has no other: `SHA256:` and the base64 of its digest.
pub fn key_hint(spki: &[u8]) -> String {
    let text = base64_encode(crate::digest::Sha256::of(spki).as_bytes());
    format!("SHA256:{}", text.trim_end_matches('='))
}

fn refuse(what: impl std::fmt::Display) -> Refusal {
    Refusal::new(Step::Signature, format!("the key does not sign: {what}"))
}

/// A P-256 key in memory; signatures are those of RFC 6979. The kind that the clients of all ecosystems verify.
pub struct P256Signer {
    key: p256::ecdsa::SigningKey,
    hint: String,
}

impl P256Signer {
    /// Takes the secret number, 32 bytes in big-endian order. The name of the key is `SHA256:` and its digest.
    ///
    /// # Errors
    ///
    /// At [`Step::Signature`] for a number that is no secret of the curve (zero, or not below its order).
    pub fn new(secret: &[u8; 32]) -> Result<Self, Refusal> {
        let key = p256::ecdsa::SigningKey::from_slice(secret).map_err(refuse)?;
        let mut signer = Self {
            key,
            hint: String::new(),
        };
        signer.hint = key_hint(&signer.public_key()?);
        Ok(signer)
    }
}

impl Signs for P256Signer {
    fn hint(&self) -> &str {
        &self.hint
    }

    fn public_key(&self) -> Result<Vec<u8>, Refusal> {
        let document = self.key.verifying_key().to_public_key_der();
        Ok(document.map_err(refuse)?.as_bytes().to_vec())
    }

    fn sign(&self, message: &[u8]) -> Result<Vec<u8>, Refusal> {
        let signature: p256::ecdsa::DerSignature = self.key.try_sign(message).map_err(refuse)?;
        Ok(signature.as_bytes().to_vec())
    }
}

/// What stands before the 32 bytes of an Ed25519 key in DER (RFC 8410).
const ED25519_SPKI: [u8; 12] = [
    0x30, 0x2a, 0x30, 0x05, 0x06, 0x03, 0x2b, 0x65, 0x70, 0x03, 0x21, 0x00,
];

/// An Ed25519 key in memory.
pub struct Ed25519Signer {
    key: ed25519_dalek::SigningKey,
    hint: String,
}

impl Ed25519Signer {
    /// Takes the seed. The name of the key is `SHA256:` and its digest.
    ///
    /// # Errors
    ///
    /// At [`Step::Signature`] where the public key can not be written down.
    pub fn new(seed: &[u8; 32]) -> Result<Self, Refusal> {
        let mut signer = Self {
            key: ed25519_dalek::SigningKey::from_bytes(seed),
            hint: String::new(),
        };
        signer.hint = key_hint(&signer.public_key()?);
        Ok(signer)
    }
}

impl Signs for Ed25519Signer {
    fn hint(&self) -> &str {
        &self.hint
    }

    fn public_key(&self) -> Result<Vec<u8>, Refusal> {
        let mut spki = ED25519_SPKI.to_vec();
        spki.extend_from_slice(self.key.verifying_key().as_bytes());
        Ok(spki)
    }

    fn sign(&self, message: &[u8]) -> Result<Vec<u8>, Refusal> {
        Ok(self
            .key
            .try_sign(message)
            .map_err(refuse)?
            .to_bytes()
            .to_vec())
    }
}

/// Signs a statement: a bundle of version 0.3 that names the key, without a log entry of a Sigstore log.
///
/// # Errors
///
/// At [`Step::Statement`] for what is no statement, [`Step::Signature`] where the key's keeper does not sign.
pub fn sign_statement(statement: &[u8], signer: &dyn Signs) -> Result<Bundle, Refusal> {
    let limits = Limits {
        bytes: usize::MAX / 2,
        ..Limits::default()
    };
    Statement::parse(statement, &limits)?;
    let signature = signer.sign(&dsse::pae(IN_TOTO, statement))?;
    let bundle = json!({
        "mediaType": "application/vnd.dev.sigstore.bundle.v0.3+json",
        "verificationMaterial": { "publicKey": { "hint": signer.hint() } },
        "dsseEnvelope": {
            "payload": base64_encode(statement),
            "payloadType": IN_TOTO,
            "signatures": [{ "sig": base64_encode(&signature), "keyid": signer.hint() }],
        },
    });
    Bundle::parse(bundle.to_string().as_bytes(), &limits)
}
