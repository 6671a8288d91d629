//! OpenID Connect tokens of CI systems, as Trusted Publishing uses them (`docs/spec/trusted-publishing.md`).
//!
//! The way of a token: [`Unverified::parse`] reads it within limits and believes nothing; its issuer is looked up
//! in an allow list by the caller; [`verify`] holds it against that issuer's [`Jwks`] and the [`Demands`] of this
//! registry; [`evaluate`] holds the claims against the rules of a [`Registration`].
//!
//! Nothing here knows the time, the network or a database: documents and `now` are handed in.

mod claims;
mod identity;
mod keys;
mod preset;
mod registration;
mod rules;
pub mod source;
mod token;

#[cfg(test)]
mod tests;

use std::fmt;

use serde::{Deserialize, Serialize};

pub use claims::Claims;
pub(crate) use claims::strict_object_within;
pub use identity::{MAX_IDENTITY_BYTES, identity_answer, identity_question};
pub use keys::{Discovery, Jwks, discovery_url};
pub(crate) use preset::pages;
pub use preset::{Field, Provider, environment, is_personal, snapshot};
pub use registration::{Asked, Registration, register};
pub(crate) use rules::fits;
pub use rules::{Rule, Test, evaluate, matches};
pub use source::{Forge, source};
pub use token::{Demands, Unverified, Verified, verify};

/// The longest token that is read, in bytes.
pub const MAX_TOKEN_BYTES: usize = 16 * 1024;
/// The longest discovery document that is read, in bytes.
pub const MAX_DISCOVERY_BYTES: usize = 64 * 1024;
/// The longest key set that is read, in bytes.
pub const MAX_JWKS_BYTES: usize = 256 * 1024;
/// How far the clocks of an issuer and of this registry may differ, in seconds.
pub const LEEWAY: i64 = 30;

/// A signature algorithm that an issuer may be pinned to (RFC 7518 section 3.1, RFC 8037 section 3.1).
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Serialize, Deserialize)]
pub enum Algorithm {
    /// RSASSA-PKCS1-v1_5 with SHA-256.
    #[serde(rename = "RS256")]
    Rs256,
    /// ECDSA on P-256 with SHA-256.
    #[serde(rename = "ES256")]
    Es256,
    /// Ed25519.
    #[serde(rename = "EdDSA")]
    EdDsa,
}

impl Algorithm {
    /// All that can be pinned. HMAC and `none` are no members on purpose.
    pub const ALL: [Self; 3] = [Self::Rs256, Self::Es256, Self::EdDsa];

    /// The name in the header of a token.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Rs256 => "RS256",
            Self::Es256 => "ES256",
            Self::EdDsa => "EdDSA",
        }
    }
}

impl fmt::Display for Algorithm {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl std::str::FromStr for Algorithm {
    type Err = Refused;

    /// The name exactly as RFC 7518 writes it; no other case is accepted.
    fn from_str(text: &str) -> Result<Self, Refused> {
        Self::ALL
            .into_iter()
            .find(|algorithm| algorithm.as_str() == text)
            .ok_or_else(|| {
                Refused::new(
                    "oidc-algorithm-refused",
                    format!("{} is not an accepted signature algorithm", quoted(text)),
                    "use RS256, ES256 or EdDSA",
                )
            })
    }
}

/// Why a token, key set, discovery document or registration is refused.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refused {
    /// A stable kebab-case code.
    pub code: &'static str,
    /// What was wrong, with which value.
    pub message: String,
    /// The way out.
    pub remedy: String,
    /// The claims or fields that differed, where that is known.
    pub differences: Vec<Difference>,
}

impl Refused {
    pub(crate) fn new(
        code: &'static str,
        message: impl Into<String>,
        remedy: impl Into<String>,
    ) -> Self {
        Self {
            code,
            message: message.into(),
            remedy: remedy.into(),
            differences: Vec::new(),
        }
    }

    pub(crate) fn with(mut self, difference: Difference) -> Self {
        self.differences.push(difference);
        self
    }
}

impl fmt::Display for Refused {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}; {}", self.message, self.remedy)
    }
}

impl std::error::Error for Refused {}

/// One claim (or field) and what was asked of it. Also says what matched, in tests of tokens.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Difference {
    /// The name of the claim, or of the field of a registration.
    pub claim: String,
    /// What was asked, as a person reads it.
    pub expected: String,
    /// What the token carries; `None` where it carries nothing.
    pub seen: Option<String>,
    /// Whether it is as it should be.
    pub matched: bool,
    /// What to change, and where.
    pub advice: Option<String>,
}

/// Foreign text as a message may show it: what is not visible ASCII is escaped (control characters, look-alikes), and
/// all after 120 characters is cut.
pub(crate) fn escaped(text: &str) -> String {
    let mut out = String::new();
    for (at, character) in text.chars().enumerate() {
        if at == 120 {
            out.push('…');
            break;
        }
        if character == ' ' || character.is_ascii_graphic() {
            out.push(character);
        } else {
            out.extend(character.escape_unicode());
        }
    }
    out
}

/// Foreign text in a sentence.
pub(crate) fn quoted(text: &str) -> String {
    format!("`{}`", escaped(text))
}
