//! Keys that follow from a seed, so that the same test makes the same bytes on every machine.

use anyhow::{Context as _, Result};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use ed25519_dalek::Signer as _;
use p256::ecdsa::signature::Signer as _;
use sha2::{Digest as _, Sha256};

use super::der;

/// A P-256 key that signs with nonces made from the message (RFC 6979).
#[derive(Debug, Clone)]
pub(super) struct EcKey {
    key: p256::ecdsa::SigningKey,
}

impl EcKey {
    /// The key of that label.
    pub(super) fn of(seed: &str, label: &str) -> Self {
        let mut round = 0u32;
        loop {
            let mut hash = Sha256::new();
            hash.update(format!("{seed}\n{label}\n{round}"));
            // Fails for one digest in 2^32: those that are no number below the curve's order.
            if let Ok(key) = p256::ecdsa::SigningKey::from_slice(&hash.finalize()) {
                return Self { key };
            }
            round += 1;
        }
    }

    /// ECDSA over the message's SHA-256, in DER.
    pub(super) fn sign(&self, message: &[u8]) -> Vec<u8> {
        let signature: p256::ecdsa::Signature = self.key.sign(message);
        signature.to_der().as_bytes().to_vec()
    }

    /// The uncompressed point.
    pub(super) fn point(&self) -> Vec<u8> {
        let point = self.key.verifying_key().to_sec1_point(false);
        point.as_bytes().to_vec()
    }

    /// SubjectPublicKeyInfo.
    pub(super) fn public(&self) -> Vec<u8> {
        let algorithm = der::sequence(&[
            der::oid("1.2.840.10045.2.1"),
            der::oid("1.2.840.10045.3.1.7"),
        ]);
        der::sequence(&[algorithm, der::bits(&self.point())])
    }
}

/// The public half of a P-256 key, ours or that of whoever asks to be certified.
#[derive(Debug, Clone)]
pub(super) struct EcPublic {
    /// The uncompressed point.
    pub point: Vec<u8>,
    /// SubjectPublicKeyInfo.
    pub public: Vec<u8>,
}

impl From<&EcKey> for EcPublic {
    fn from(key: &EcKey) -> Self {
        Self {
            point: key.point(),
            public: key.public(),
        }
    }
}

impl EcPublic {
    /// Reads `-----BEGIN PUBLIC KEY-----`.
    pub(super) fn of_pem(text: &str) -> Result<Self> {
        let base64: String = text
            .lines()
            .filter(|line| !line.starts_with("-----"))
            .collect();
        let public = STANDARD.decode(base64.trim())?;
        // An uncompressed point stands at the end: a byte 4 and two numbers of 32 bytes.
        let point = public
            .len()
            .checked_sub(65)
            .map(|at| public[at..].to_vec())
            .filter(|point| point[0] == 4)
            .context("not the public key of P-256")?;
        Ok(Self { point, public })
    }
}

/// An Ed25519 key, as the newer logs have them.
#[derive(Debug, Clone)]
pub(super) struct EdKey {
    key: ed25519_dalek::SigningKey,
}

impl EdKey {
    /// The key of that label.
    pub(super) fn of(seed: &str, label: &str) -> Self {
        let secret = Sha256::digest(format!("{seed}\n{label}\n0"));
        Self {
            key: ed25519_dalek::SigningKey::from_bytes(&secret.into()),
        }
    }

    pub(super) fn sign(&self, message: &[u8]) -> Vec<u8> {
        self.key.sign(message).to_bytes().to_vec()
    }

    /// The 32 bytes alone.
    pub(super) fn raw(&self) -> [u8; 32] {
        self.key.verifying_key().to_bytes()
    }

    /// SubjectPublicKeyInfo.
    pub(super) fn public(&self) -> Vec<u8> {
        let algorithm = der::sequence(&[der::oid("1.3.101.112")]);
        der::sequence(&[algorithm, der::bits(&self.raw())])
    }
}
