//! A compact JWS (RFC 7515 section 7.1) that carries claims (RFC 7519), and what is asked of it.

use super::{Algorithm, Claims, Jwks, Refused};

/// A token as it came: read within limits, nothing believed.
#[derive(Clone)]
pub struct Unverified {
    issuer: String,
    key_id: Option<String>,
    claims: Claims,
}

impl Unverified {
    /// Reads a compact JWS.
    pub fn parse(_text: &str) -> Result<Self, Refused> {
        Err(Refused::new("oidc-not-yet", "not yet", "wait"))
    }

    /// The issuer that the token names; unverified, only good for choosing keys.
    pub fn issuer(&self) -> &str {
        &self.issuer
    }

    /// The id of the key that the token names.
    pub fn key_id(&self) -> Option<&str> {
        self.key_id.as_deref()
    }

    /// The unverified claims, for messages to whoever sent the token only.
    pub fn claims(&self) -> &Claims {
        &self.claims
    }
}

/// A token that its issuer signed, for this registry, for now.
#[derive(Clone, Debug)]
pub struct Verified {
    /// All claims.
    pub claims: Claims,
    /// `iat`, in seconds since 1970.
    pub issued: i64,
    /// `exp`, in seconds since 1970.
    pub expires: i64,
    /// What may be seen only once per issuer: `jti:` or `jwt:` and a hash in hex.
    pub replay_key: String,
}

/// What is asked of a token besides a good signature.
#[derive(Clone, Copy, Debug)]
pub struct Demands<'a> {
    /// The issuer, byte for byte.
    pub issuer: &'a str,
    /// The one audience, byte for byte.
    pub audience: &'a str,
    /// The algorithms that this issuer is pinned to.
    pub algorithms: &'a [Algorithm],
    /// The longest time from `iat` to `exp`, in seconds.
    pub longest_life: i64,
    /// Whether this issuer always sends `jti`.
    pub jti_required: bool,
}

/// Checks the signature and the registered claims.
pub fn verify(
    _token: &Unverified,
    _keys: &Jwks,
    _demands: &Demands<'_>,
    _now: i64,
) -> Result<Verified, Refused> {
    Err(Refused::new("oidc-not-yet", "not yet", "wait"))
}
