//! What is signed: statements about files (in-toto), and what they say (predicates).

use std::collections::BTreeMap;
use std::fmt;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::{Limits, Refusal, Step};
use crate::oidc::strict_object_within;

/// The version of a statement's form.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StatementVersion {
    /// `https://in-toto.io/Statement/v0.1`
    V0_1,
    /// `https://in-toto.io/Statement/v1`
    V1,
}

/// A digest by the name of its algorithm; the value is lower-case hex.
pub type Digest = (String, String);

/// One thing that a statement is about.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StatementSubject {
    /// Its name; empty where it has none.
    pub name: String,
    /// Digests by the names of their algorithms, in lower-case hex.
    pub digests: BTreeMap<String, String>,
}

/// What kind of saying a predicate is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum PredicateKind {
    /// How it was built: SLSA provenance, version 1.
    SlsaV1,
    /// How it was built: SLSA provenance, version 0.2.
    SlsaV0_2,
    /// That a publisher uploaded it, as Python indexes know it.
    IndexPublish,
    /// That a registry took it, as npm says it.
    NpmPublish,
    /// That a registry released it (in-toto).
    Release,
    /// What somebody verified about it (SLSA).
    Vsa,
    /// Anything else: kept, shown by its type, never called verified.
    Unknown,
}

impl PredicateKind {
    /// The kind of a predicate type.
    pub fn of(predicate_type: &str) -> Self {
        match predicate_type {
            "https://slsa.dev/provenance/v1" => Self::SlsaV1,
            "https://slsa.dev/provenance/v0.2" => Self::SlsaV0_2,
            "https://github.com/npm/attestation/tree/main/specs/publish/v0.1" => Self::NpmPublish,
            "https://in-toto.io/attestation/release/v0.1"
            | "https://in-toto.io/attestation/release/v0.2" => Self::Release,
            "https://slsa.dev/verification_summary/v1" => Self::Vsa,
            other if is_index_publish(other) => Self::IndexPublish,
            _ => Self::Unknown,
        }
    }

    /// Whether registries make it: nobody who uploads may.
    pub fn is_made_by_registries(self) -> bool {
        matches!(self, Self::NpmPublish | Self::Release | Self::Vsa)
    }

    /// Whether it says how the file was built.
    pub fn is_provenance(self) -> bool {
        matches!(self, Self::SlsaV1 | Self::SlsaV0_2)
    }
}

/// `https://docs.HOST/attestations/publish/v1`: each index names its own documentation.
fn is_index_publish(text: &str) -> bool {
    text.strip_prefix("https://docs.")
        .and_then(|rest| rest.strip_suffix("/attestations/publish/v1"))
        .is_some_and(|host| {
            !host.is_empty()
                && host
                    .bytes()
                    .all(|byte| byte.is_ascii_alphanumeric() || b".-".contains(&byte))
        })
}

/// What SLSA provenance says that can be held against a certificate. The build wrote it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Slsa {
    /// The builder.
    pub builder: String,
    /// The build type.
    pub build_type: String,
    /// The repository: an `https` URL.
    pub repository: Option<String>,
    /// The ref.
    pub reference: Option<String>,
    /// The workflow file, as a path in the repository.
    pub path: Option<String>,
    /// The commit.
    pub commit: Option<String>,
    /// The run.
    pub invocation: Option<String>,
    /// Members of the build's parameters that are not known for its build type.
    pub unknown_parameters: Vec<String>,
}

/// What a statement says about its subjects.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Predicate {
    /// How it was built.
    Slsa(Slsa),
    /// A publisher's upload; it says nothing more.
    IndexPublish,
    /// A registry took it.
    NpmPublish {
        /// The name of the package.
        name: String,
        /// Its version.
        version: String,
        /// The registry.
        registry: String,
    },
    /// A registry released it.
    Release {
        /// The package URL, where it is said.
        purl: Option<String>,
        /// The registry's own number of the package, where it is said.
        package_id: Option<String>,
    },
    /// What somebody verified.
    Vsa {
        /// Who.
        verifier: String,
        /// When, as it is written (RFC 3339).
        time: String,
        /// What.
        resource: String,
        /// Whether it passed.
        passed: bool,
        /// The levels.
        levels: Vec<String>,
    },
    /// Something of a known type that has not its form, and why. [`verify`](super::verify) refuses it unless told not
    /// to look.
    Malformed(Box<Refusal>),
    /// Something else.
    Unknown,
}

/// A statement: what it is about, and what it says.
#[derive(Clone, Debug, PartialEq)]
pub struct Statement {
    /// The version of its form.
    pub version: StatementVersion,
    /// What it is about; never empty.
    pub subjects: Vec<StatementSubject>,
    /// The type of what it says.
    pub predicate_type: String,
    /// What it says, as far as it is understood.
    pub predicate: Predicate,
    /// What it says, whole.
    pub value: Value,
}

impl Statement {
    /// Reads a statement.
    ///
    /// # Errors
    ///
    /// At [`Step::Statement`]: no JSON within `limits`, a name twice, another `_type`, no subjects, a subject
    /// without a digest, digests that are not lower-case hex of their algorithm's length. A predicate of a known type
    /// that has not its form is [`Predicate::Malformed`].
    pub fn parse(bytes: &[u8], limits: &Limits) -> Result<Self, Refusal> {
        let refuse = |sentence: String| Refusal::new(Step::Statement, sentence);
        let mut document = strict_object_within(bytes, limits.depth, limits.values)
            .map_err(|why| refuse(format!("the statement is refused: {why}")))?;
        let version = match document.get("_type").and_then(Value::as_str) {
            Some("https://in-toto.io/Statement/v1") => StatementVersion::V1,
            Some("https://in-toto.io/Statement/v0.1") => StatementVersion::V0_1,
            other => {
                return Err(refuse("the statement is of no known type".to_owned())
                    .expected("https://in-toto.io/Statement/v1")
                    .seen(other.unwrap_or("nothing")));
            }
        };
        let subjects = match document.get("subject") {
            Some(Value::Array(list)) if !list.is_empty() => {
                if list.len() > limits.subjects {
                    return Err(refuse("the statement has too many subjects".to_owned())
                        .expected(format!("at most {}", limits.subjects))
                        .seen(list.len().to_string()));
                }
                list.iter().map(subject).collect::<Result<Vec<_>, _>>()?
            }
            _ => {
                return Err(Refusal::new(
                    Step::Subject,
                    "the statement is about nothing: it has no subject",
                ));
            }
        };
        let Some(Value::String(predicate_type)) = document.remove("predicateType") else {
            return Err(refuse("the statement has no `predicateType`".to_owned()));
        };
        let value = document.remove("predicate").unwrap_or(Value::Null);
        Ok(Self {
            version,
            subjects,
            predicate: Predicate::parse(&predicate_type, &value)
                .unwrap_or_else(|refusal| Predicate::Malformed(Box::new(refusal))),
            predicate_type,
            value,
        })
    }

    /// What kind of saying it is.
    pub fn kind(&self) -> PredicateKind {
        PredicateKind::of(&self.predicate_type)
    }
}

fn subject(value: &Value) -> Result<StatementSubject, Refusal> {
    let refuse = |sentence: &str| Refusal::new(Step::Statement, sentence.to_owned());
    let name = match value.get("name") {
        None | Some(Value::Null) => String::new(),
        Some(Value::String(name)) => name.clone(),
        Some(_) => return Err(refuse("the name of a subject is no text")),
    };
    let Some(Value::Object(digests)) = value.get("digest") else {
        return Err(refuse("a subject has no digests"));
    };
    let mut read = BTreeMap::new();
    for (algorithm, digest) in digests {
        let length = match algorithm.as_str() {
            "sha256" => Some(64),
            "sha384" => Some(96),
            "sha512" => Some(128),
            _ => None,
        };
        let Value::String(text) = digest else {
            return Err(refuse("a digest of a subject is no text").seen(algorithm));
        };
        let hex = text
            .bytes()
            .all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'));
        if length.is_some_and(|length| text.len() != length || !hex) {
            return Err(refuse("a digest of a subject is not in its form")
                .expected(format!("{algorithm}: lower-case hex"))
                .seen(text));
        }
        read.insert(algorithm.clone(), text.clone());
    }
    if read.is_empty() {
        return Err(refuse("a subject has no digests"));
    }
    Ok(StatementSubject {
        name,
        digests: read,
    })
}

impl Predicate {
    fn parse(predicate_type: &str, value: &Value) -> Result<Self, Refusal> {
        match PredicateKind::of(predicate_type) {
            PredicateKind::SlsaV1 => slsa_v1(value).map(Self::Slsa),
            PredicateKind::SlsaV0_2 => slsa_v0_2(value).map(Self::Slsa),
            PredicateKind::IndexPublish => match value {
                Value::Null => Ok(Self::IndexPublish),
                Value::Object(members) if members.is_empty() => Ok(Self::IndexPublish),
                _ => Err(
                    Refusal::new(Step::Predicate, "a publish attestation says nothing more")
                        .expected("null or {}")
                        .seen(value.to_string()),
                ),
            },
            PredicateKind::NpmPublish => Ok(Self::NpmPublish {
                name: text(value, "/name")?,
                version: text(value, "/version")?,
                registry: text(value, "/registry")?,
            }),
            PredicateKind::Release => Ok(Self::Release {
                purl: optional(value, "/purl")?,
                package_id: match value.get("packageId") {
                    Some(Value::Number(number)) => Some(number.to_string()),
                    _ => optional(value, "/packageId")?,
                },
            }),
            PredicateKind::Vsa => {
                let result = text(value, "/verificationResult")?;
                let levels = match value.get("verifiedLevels") {
                    None | Some(Value::Null) => Vec::new(),
                    Some(Value::Array(list)) => list
                        .iter()
                        .map(|level| level.as_str().map(str::to_owned))
                        .collect::<Option<_>>()
                        .ok_or_else(|| absent("/verifiedLevels"))?,
                    Some(_) => return Err(absent("/verifiedLevels")),
                };
                Ok(Self::Vsa {
                    verifier: text(value, "/verifier/id")?,
                    time: text(value, "/timeVerified")?,
                    resource: text(value, "/resourceUri")?,
                    passed: match result.as_str() {
                        "PASSED" => true,
                        "FAILED" => false,
                        other => {
                            return Err(Refusal::new(
                                Step::Predicate,
                                "the verification has no known result",
                            )
                            .expected("PASSED or FAILED")
                            .seen(other));
                        }
                    },
                    levels,
                })
            }
            PredicateKind::Unknown => Ok(Self::Unknown),
        }
    }
}

fn absent(place: &str) -> Refusal {
    Refusal::new(
        Step::Predicate,
        format!("the predicate has not the form of its type at {place}"),
    )
}

fn text(value: &Value, place: &str) -> Result<String, Refusal> {
    optional(value, place)?.ok_or_else(|| absent(place))
}

fn optional(value: &Value, place: &str) -> Result<Option<String>, Refusal> {
    match value.pointer(place) {
        None | Some(Value::Null) => Ok(None),
        Some(Value::String(text)) => Ok(Some(text.clone())),
        Some(_) => Err(absent(place)),
    }
}

/// Build types of GitHub's own runner: what a workflow is, and which parameters it knows.
const GITHUB_WORKFLOW: [&str; 2] = [
    "https://actions.github.io/buildtypes/workflow/v1",
    "https://slsa-framework.github.io/github-actions-buildtypes/workflow/v1",
];

fn slsa_v1(value: &Value) -> Result<Slsa, Refusal> {
    let mut slsa = Slsa {
        builder: text(value, "/runDetails/builder/id")?,
        build_type: text(value, "/buildDefinition/buildType")?,
        invocation: optional(value, "/runDetails/metadata/invocationId")?,
        ..Slsa::default()
    };
    let parameters = match value.pointer("/buildDefinition/externalParameters") {
        Some(Value::Object(parameters)) => parameters,
        _ => return Err(absent("/buildDefinition/externalParameters")),
    };
    let place = "/buildDefinition/externalParameters/workflow";
    if parameters.get("workflow").is_some_and(Value::is_object) {
        slsa.repository = optional(value, &format!("{place}/repository"))?;
        slsa.reference = optional(value, &format!("{place}/ref"))?;
        slsa.path = optional(value, &format!("{place}/path"))?;
    }
    if GITHUB_WORKFLOW.contains(&slsa.build_type.as_str()) {
        slsa.unknown_parameters = unknown(parameters);
    }
    if let Some(Value::Array(list)) = value.pointer("/buildDefinition/resolvedDependencies") {
        slsa.commit = list
            .iter()
            .filter(|dependency| {
                // The first is the source; where the repository is known, only its own entry counts.
                match (
                    dependency.get("uri").and_then(Value::as_str),
                    &slsa.repository,
                ) {
                    (Some(uri), Some(repository)) => uri_is(uri, repository),
                    _ => true,
                }
            })
            .find_map(|dependency| {
                let digest = dependency.get("digest")?;
                let commit = digest.get("gitCommit").or_else(|| digest.get("sha1"))?;
                commit.as_str().map(str::to_owned)
            });
    }
    Ok(slsa)
}

fn unknown(parameters: &Map<String, Value>) -> Vec<String> {
    let within = |value: &Value, known: &[&str], prefix: &str| -> Vec<String> {
        value.as_object().map_or_else(Vec::new, |members| {
            members
                .keys()
                .filter(|name| !known.contains(&name.as_str()))
                .map(|name| format!("{prefix}{name}"))
                .collect()
        })
    };
    let mut found: Vec<String> = parameters
        .keys()
        .filter(|name| !matches!(name.as_str(), "workflow" | "inputs" | "vars"))
        .cloned()
        .collect();
    if let Some(workflow) = parameters.get("workflow") {
        found.extend(within(
            workflow,
            &["ref", "repository", "path"],
            "workflow.",
        ));
    }
    found
}

/// Whether `git+https://HOST/OWNER/NAME@REF` is of that repository.
pub(super) fn uri_is(uri: &str, repository: &str) -> bool {
    let bare = uri.strip_prefix("git+").unwrap_or(uri);
    let bare = bare.rsplit_once("@refs/").map_or(bare, |(bare, _)| bare);
    let bare = bare.split_once('@').map_or(bare, |(bare, _)| bare);
    bare.strip_suffix(".git")
        .unwrap_or(bare)
        .eq_ignore_ascii_case(repository)
}

fn slsa_v0_2(value: &Value) -> Result<Slsa, Refusal> {
    let uri = optional(value, "/invocation/configSource/uri")?;
    let (repository, reference) = match uri.as_deref().map(|uri| {
        let bare = uri.strip_prefix("git+").unwrap_or(uri);
        match bare.split_once('@') {
            Some((repository, reference)) => (repository, Some(reference)),
            None => (bare, None),
        }
    }) {
        Some((repository, reference)) => (Some(repository), reference),
        None => (None, None),
    };
    Ok(Slsa {
        builder: text(value, "/builder/id")?,
        build_type: text(value, "/buildType")?,
        repository: repository.map(|text| text.strip_suffix(".git").unwrap_or(text).to_owned()),
        reference: reference.map(str::to_owned),
        path: optional(value, "/invocation/configSource/entryPoint")?,
        commit: match optional(value, "/invocation/configSource/digest/sha1")? {
            Some(commit) => Some(commit),
            None => optional(value, "/invocation/configSource/digest/gitCommit")?,
        },
        invocation: None,
        unknown_parameters: Vec::new(),
    })
}

impl fmt::Display for PredicateKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::SlsaV1 => "SLSA provenance v1",
            Self::SlsaV0_2 => "SLSA provenance v0.2",
            Self::IndexPublish => "publish attestation",
            Self::NpmPublish => "npm publish attestation",
            Self::Release => "release attestation",
            Self::Vsa => "verification summary",
            Self::Unknown => "unknown predicate",
        })
    }
}
