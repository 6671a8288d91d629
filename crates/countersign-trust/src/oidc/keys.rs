//! What an issuer publishes: its discovery document (OpenID Connect Discovery 1.0 section 4) and keys (RFC 7517).

use super::Refused;

/// The part of an issuer's discovery document that is used.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Discovery {
    /// The issuer, byte for byte the one that was asked for.
    pub issuer: String,
    /// Where its keys are: an `https` URL.
    pub jwks_uri: String,
}

impl Discovery {
    /// Reads a discovery document.
    pub fn parse(_bytes: &[u8], _expected_issuer: &str) -> Result<Self, Refused> {
        Err(Refused::new("oidc-not-yet", "not yet", "wait"))
    }
}

/// Where an issuer's discovery document is.
pub fn discovery_url(_issuer: &str) -> Result<String, Refused> {
    Err(Refused::new("oidc-not-yet", "not yet", "wait"))
}

/// The usable verification keys of an issuer, prepared once.
#[derive(Clone, Debug)]
pub struct Jwks {}

impl Jwks {
    /// Reads a key set.
    pub fn parse(_bytes: &[u8]) -> Result<Self, Refused> {
        Err(Refused::new("oidc-not-yet", "not yet", "wait"))
    }

    /// Whether a usable key has this id.
    pub fn has(&self, _kid: &str) -> bool {
        false
    }

    /// How many usable keys there are.
    pub fn len(&self) -> usize {
        0
    }

    /// Whether no key is usable.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}
