//! What is known of each CI system: its issuer, claims, and what a person is asked.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::{Algorithm, Claims, Refused, Rule};

/// A CI system that signs OpenID Connect tokens.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Provider {
    /// GitHub Actions, also of GitHub Enterprise Server.
    Github,
    /// GitLab CI, also self-managed.
    Gitlab,
    /// Service accounts of Google Cloud.
    Google,
    /// CircleCI.
    Circleci,
    /// Buildkite.
    Buildkite,
    /// Forgejo Actions, as on Codeberg.
    Forgejo,
    /// ActiveState.
    Activestate,
    /// Any other OpenID Connect issuer.
    Generic,
}

impl Provider {
    /// All of them.
    pub const ALL: [Self; 8] = [
        Self::Github,
        Self::Gitlab,
        Self::Google,
        Self::Circleci,
        Self::Buildkite,
        Self::Forgejo,
        Self::Activestate,
        Self::Generic,
    ];

    /// The word for it in configuration, commands and the API.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Github => "github",
            Self::Gitlab => "gitlab",
            Self::Google => "google",
            Self::Circleci => "circleci",
            Self::Buildkite => "buildkite",
            Self::Forgejo => "forgejo",
            Self::Activestate => "activestate",
            Self::Generic => "generic",
        }
    }

    /// Its name as people write it.
    pub fn title(self) -> &'static str {
        match self {
            Self::Github => "GitHub Actions",
            Self::Gitlab => "GitLab CI/CD",
            Self::Google => "Google Cloud",
            Self::Circleci => "CircleCI",
            Self::Buildkite => "Buildkite",
            Self::Forgejo => "Forgejo Actions",
            Self::Activestate => "ActiveState",
            Self::Generic => "OpenID Connect",
        }
    }

    /// The built-in issuer URL.
    pub fn issuer(self) -> Option<&'static str> {
        None
    }

    /// Whether an issuer URL is one of this provider's own.
    pub fn owns_issuer(self, _url: &str) -> bool {
        false
    }

    /// The algorithms that its issuers are pinned to.
    pub fn algorithms(self) -> &'static [Algorithm] {
        &[Algorithm::Rs256]
    }

    /// The longest time from `iat` to `exp`, in seconds.
    pub fn longest_life(self) -> i64 {
        3600
    }

    /// Whether its tokens always carry `jti`.
    pub fn has_jti(self) -> bool {
        false
    }

    /// What a person is asked.
    pub fn fields(self) -> &'static [Field] {
        &[]
    }

    /// The claim by which registrations are looked up.
    pub fn lookup_claim(self) -> Option<&'static str> {
        None
    }

    /// The claims with immutable ids.
    pub fn pinned_claims(self) -> &'static [&'static str] {
        &[]
    }

    /// The normalised value of the look-up claim.
    pub fn lookup_of(self, _claims: &Claims) -> Option<String> {
        None
    }
}

impl std::fmt::Display for Provider {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.as_str())
    }
}

impl std::str::FromStr for Provider {
    type Err = Refused;

    fn from_str(text: &str) -> Result<Self, Refused> {
        Self::ALL
            .into_iter()
            .find(|provider| provider.as_str() == text)
            .ok_or_else(|| {
                Refused::new(
                    "publisher-invalid",
                    format!("{} is not a known provider", super::quoted(text)),
                    format!("use one of {}", Self::ALL.map(Self::as_str).join(", ")),
                )
            })
    }
}

/// One thing that a person is asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct Field {
    /// Its name in commands and the API.
    pub name: &'static str,
    /// Its name in forms.
    pub label: &'static str,
    /// What it is, in a sentence.
    pub help: &'static str,
    /// An example.
    pub example: &'static str,
    /// Whether it must be given.
    pub required: bool,
}

/// What a person gave.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Asked {
    /// Texts by field name.
    #[serde(default)]
    pub fields: BTreeMap<String, String>,
    /// Further rules over claims.
    #[serde(default)]
    pub claims: Vec<Rule>,
}

/// A registration: an issuer and rules over the claims of its tokens.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Registration {
    /// The kind of CI system.
    pub provider: Provider,
    /// The issuer, byte for byte.
    pub issuer: String,
    /// The fields as they were understood.
    pub fields: BTreeMap<String, String>,
    /// What is asked of a token's claims; never empty.
    pub rules: Vec<Rule>,
    /// The normalised value of the look-up claim; "" where every token of the issuer is to be asked.
    pub lookup: String,
    /// What people see: `octo/sample, release.yml, environment release`.
    pub label: String,
    /// The environment that is asked for.
    pub environment: Option<String>,
    /// What is allowed but unwise.
    pub warnings: Vec<String>,
}

/// Checks and normalises what a person gave.
pub fn register(
    _provider: Provider,
    _issuer: &str,
    _asked: &Asked,
) -> Result<Registration, Refused> {
    Err(Refused::new("oidc-not-yet", "not yet", "wait"))
}

/// Where the provider can be asked for the immutable ids: an `https` URL.
pub fn identity_question(_registration: &Registration) -> Option<String> {
    None
}

/// Reads the provider's answer: claim name to id.
pub fn identity_answer(
    _registration: &Registration,
    _body: &[u8],
) -> Result<BTreeMap<String, String>, Refused> {
    Err(Refused::new("oidc-not-yet", "not yet", "wait"))
}

/// The claims that are kept with a token and a file: what was built where, nothing personal.
pub fn snapshot(
    _provider: Provider,
    _claims: &Claims,
    _rules: &[Rule],
) -> BTreeMap<String, String> {
    BTreeMap::new()
}

/// The environment that the token carries, if the provider has the notion.
pub fn environment(_provider: Provider, _claims: &BTreeMap<String, String>) -> Option<String> {
    None
}
