//! What a certificate of Sigstore's authority says about who signed: the names in it, and the extensions under
//! 1.3.6.1.4.1.57264.1 (fulcio, `docs/oid-info.md`).

use std::collections::BTreeMap;
use std::fmt;

use serde::{Deserialize, Serialize};
use x509_cert::Certificate;
use x509_cert::der::asn1::{ObjectIdentifier, Utf8StringRef};
use x509_cert::der::{Decode, Encode};
use x509_cert::ext::pkix::SubjectAltName;
use x509_cert::ext::pkix::name::GeneralName;

use super::{Refusal, Step};
use crate::oidc::quoted;

/// The arc of the extensions, without the number that follows.
const ARC: &str = "1.3.6.1.4.1.57264.1.";
/// The other name that carries a user name of an issuer that knows no e-mail addresses.
const OTHER_NAME: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.3.6.1.4.1.57264.1.7");
const SUBJECT_ALT_NAME: ObjectIdentifier = ObjectIdentifier::new_unwrap("2.5.29.17");
/// The longest value that is kept, in bytes.
const MAX_VALUE: usize = 4096;

macro_rules! claims {
    ($($(#[$doc:meta])* $name:ident = $number:literal, $text:literal;)*) => {
        /// One thing that a certificate says. The number is that of its extension.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[serde(rename_all = "kebab-case")]
        pub enum Claim {
            $($(#[$doc])* $name,)*
        }

        impl Claim {
            /// All, in the order of their numbers.
            pub const ALL: &[Self] = &[$(Self::$name,)*];

            /// The last number of the extension's object identifier.
            pub fn number(self) -> u32 {
                match self { $(Self::$name => $number,)* }
            }

            /// The name, as in JSON: `source-repository-uri`.
            pub fn as_str(self) -> &'static str {
                match self { $(Self::$name => $text,)* }
            }
        }
    };
}

claims! {
    /// The issuer of the identity token, in the old form.
    IssuerOld = 1, "issuer-old";
    /// The event that began the workflow (old, GitHub only).
    GithubTrigger = 2, "github-trigger";
    /// The commit (old, GitHub only).
    GithubSha = 3, "github-sha";
    /// The display name of the workflow (old, GitHub only).
    GithubWorkflow = 4, "github-workflow";
    /// `owner/repository` (old, GitHub only).
    GithubRepository = 5, "github-repository";
    /// The ref (old, GitHub only).
    GithubRef = 6, "github-ref";
    /// The issuer of the identity token.
    Issuer = 8, "issuer";
    /// The workflow that asked for the certificate, with its ref.
    BuildSignerUri = 9, "build-signer-uri";
    /// The commit of that workflow.
    BuildSignerDigest = 10, "build-signer-digest";
    /// Whose machine it ran on: `github-hosted`, `self-hosted`.
    RunnerEnvironment = 11, "runner-environment";
    /// The repository that was built.
    SourceRepositoryUri = 12, "source-repository-uri";
    /// The commit that was built.
    SourceRepositoryDigest = 13, "source-repository-digest";
    /// The ref that was built.
    SourceRepositoryRef = 14, "source-repository-ref";
    /// The number of the repository, which stays when its name is given up.
    SourceRepositoryIdentifier = 15, "source-repository-identifier";
    /// The owner of the repository.
    SourceRepositoryOwnerUri = 16, "source-repository-owner-uri";
    /// The number of the owner.
    SourceRepositoryOwnerIdentifier = 17, "source-repository-owner-identifier";
    /// The workflow file that was run first, with its ref.
    BuildConfigUri = 18, "build-config-uri";
    /// The commit of that file.
    BuildConfigDigest = 19, "build-config-digest";
    /// The event that began the build.
    BuildTrigger = 20, "build-trigger";
    /// The run.
    RunInvocationUri = 21, "run-invocation-uri";
    /// Whether the repository was public when it was signed.
    SourceRepositoryVisibility = 22, "source-repository-visibility";
    /// The deployment environment.
    DeploymentEnvironment = 23, "deployment-environment";
    /// The `sub` claim of the identity token, as it was.
    TokenSubject = 24, "token-subject";
}

impl Claim {
    fn numbered(number: u32) -> Option<Self> {
        Self::ALL
            .iter()
            .copied()
            .find(|claim| claim.number() == number)
    }

    /// The first seven are bytes as they are, the others a DER `UTF8String`.
    fn is_bare(self) -> bool {
        self.number() < 7
    }
}

impl fmt::Display for Claim {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// The name in a certificate, by its kind.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(tag = "kind", content = "value", rename_all = "kebab-case")]
pub enum San {
    /// A URI: a workflow, a service.
    Uri(String),
    /// An e-mail address: a person, a service account.
    Email(String),
    /// A user name of an issuer, `name!domain`.
    Other(String),
}

impl San {
    /// The name, whatever its kind.
    pub fn as_str(&self) -> &str {
        match self {
            Self::Uri(text) | Self::Email(text) | Self::Other(text) => text,
        }
    }
}

impl fmt::Display for San {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// What a certificate says. Only [`verify`](super::verify) makes it more than a saying.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Claims {
    /// The one name in it.
    pub san: San,
    /// Valid from, in seconds since 1970.
    pub not_before: i64,
    /// Valid until and including, in seconds since 1970.
    pub not_after: i64,
    /// The values of the extensions.
    pub values: BTreeMap<Claim, String>,
}

impl Claims {
    /// Reads a certificate.
    ///
    /// # Errors
    ///
    /// At [`Step::Chain`]: no certificate in DER, not exactly one name in it, an extension that stands twice, an
    /// extension of a known number whose value is not of its form.
    pub fn parse(der: &[u8]) -> Result<Self, Refusal> {
        let refuse = |sentence: String| Refusal::new(Step::Chain, sentence);
        super::der::certificate(der)?;
        let certificate = Certificate::from_der(der)
            .map_err(|error| refuse(format!("the certificate is malformed: {error}")))?;
        let validity = &certificate.tbs_certificate.validity;
        let seconds = |time: x509_cert::time::Time| {
            i64::try_from(time.to_unix_duration().as_secs()).unwrap_or(i64::MAX)
        };
        let mut san = None;
        let mut values = BTreeMap::new();
        let extensions = certificate
            .tbs_certificate
            .extensions
            .as_deref()
            .unwrap_or_default();
        for (at, extension) in extensions.iter().enumerate() {
            let id = extension.extn_id;
            if extensions[..at].iter().any(|before| before.extn_id == id) {
                return Err(refuse(format!(
                    "the certificate has the extension {id} twice"
                )));
            }
            let value = extension.extn_value.as_bytes();
            if id == SUBJECT_ALT_NAME {
                san = Some(name(value)?);
                continue;
            }
            let text = id.to_string();
            let Some(claim) = text
                .strip_prefix(ARC)
                .and_then(|number| number.parse().ok())
                .and_then(Claim::numbered)
            else {
                continue;
            };
            let read = if claim.is_bare() {
                std::str::from_utf8(value).ok()
            } else {
                Utf8StringRef::from_der(value)
                    .ok()
                    .map(|text| text.as_str())
            };
            let read = read
                .filter(|text| {
                    !text.is_empty() && text.len() <= MAX_VALUE && !text.contains(char::is_control)
                })
                .ok_or_else(|| {
                    refuse(format!(
                        "the certificate's extension {id} ({claim}) is malformed"
                    ))
                    .expected(if claim.is_bare() {
                        "UTF-8 text"
                    } else {
                        "a DER UTF8String"
                    })
                    .seen(hex::encode(&value[..value.len().min(40)]))
                })?;
            values.insert(claim, read.to_owned());
        }
        Ok(Self {
            san: san.ok_or_else(|| refuse("the certificate names nobody".to_owned()))?,
            not_before: seconds(validity.not_before),
            not_after: seconds(validity.not_after),
            values,
        })
    }

    /// The value of one extension.
    pub fn get(&self, claim: Claim) -> Option<&str> {
        self.values.get(&claim).map(String::as_str)
    }

    /// The issuer of the identity token: the newer extension, or the older where that is absent.
    pub fn issuer(&self) -> Option<&str> {
        self.get(Claim::Issuer)
            .or_else(|| self.get(Claim::IssuerOld))
    }

    /// The repository that was built: an `https` URL without a final slash; from the older extension for GitHub's
    /// oldest certificates.
    pub fn repository(&self) -> Option<String> {
        match (
            self.get(Claim::SourceRepositoryUri),
            self.get(Claim::GithubRepository),
        ) {
            (Some(uri), _) => Some(uri.to_owned()),
            (None, Some(name)) => Some(format!("https://github.com/{name}")),
            (None, None) => None,
        }
    }

    /// The workflow file, as a path in the repository, and the ref or commit that it was taken from.
    pub fn workflow(&self) -> Option<(&str, &str)> {
        let repository = self.get(Claim::SourceRepositoryUri)?;
        let rest = self
            .get(Claim::BuildConfigUri)?
            .strip_prefix(repository)?
            .strip_prefix('/')?;
        // GitLab writes two slashes.
        rest.strip_prefix('/').unwrap_or(rest).split_once('@')
    }
}

/// The one name.
fn name(value: &[u8]) -> Result<San, Refusal> {
    let refuse = |sentence: String| Refusal::new(Step::Chain, sentence);
    let names = SubjectAltName::from_der(value)
        .map_err(|error| refuse(format!("the certificate's name is malformed: {error}")))?;
    let [one] = names.0.as_slice() else {
        return Err(
            refuse("the certificate has not exactly one name".to_owned())
                .expected("1")
                .seen(names.0.len().to_string()),
        );
    };
    let san = match one {
        GeneralName::UniformResourceIdentifier(uri) => San::Uri(uri.to_string()),
        GeneralName::Rfc822Name(address) => San::Email(address.to_string()),
        GeneralName::OtherName(other) if other.type_id == OTHER_NAME => {
            let der = other.value.to_der().map_err(|error| {
                refuse(format!(
                    "the certificate's other name is malformed: {error}"
                ))
            })?;
            let text = Utf8StringRef::from_der(&der).map_err(|error| {
                refuse(format!(
                    "the certificate's other name is malformed: {error}"
                ))
            })?;
            San::Other(text.as_str().to_owned())
        }
        _ => {
            return Err(refuse(
                "the certificate's name is of a kind that says nothing here".to_owned(),
            )
            .expected("a URI, an e-mail address or a user name"));
        }
    };
    let text = san.as_str();
    if text.is_empty() || text.len() > MAX_VALUE || text.contains(char::is_control) {
        return Err(refuse(format!(
            "the certificate's name is malformed: {}",
            quoted(text)
        )));
    }
    Ok(san)
}
