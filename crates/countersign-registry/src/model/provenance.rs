//! Nouns of build provenance (`docs/spec/provenance.md`).

use std::collections::BTreeMap;

use countersign_formats::Ecosystem;
use serde::{Deserialize, Serialize};

use super::{Time, TrustLevel};

/// The source that a project is remembered for: who vouched for the workflow, and for which repository.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct SourceTuple {
    /// The issuer of the workflow's identity, as in its tokens and certificates.
    pub issuer: String,
    /// The repository: an `https` URL without a final slash.
    pub repository: String,
    /// The immutable id of the repository, where the provider tells it.
    pub repository_id: Option<String>,
    /// The immutable id of its owner, where the provider tells it.
    pub owner_id: Option<String>,
}

/// What the registry found of an attestation when it took it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Verdict {
    /// Everything was checked and holds: cryptography, log, time, subject, identity, and what the statement says.
    Confirmed,
    /// Cryptography, log, time, subject and identity hold; the predicate is of a type that is not known here, and
    /// nothing is said about what it means.
    Kept,
}

impl Verdict {
    /// The stored and shown word.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Confirmed => "confirmed",
            Self::Kept => "kept",
        }
    }
}

impl std::str::FromStr for Verdict {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "confirmed" => Ok(Self::Confirmed),
            "kept" => Ok(Self::Kept),
            other => Err(format!("{other:?} is not a verdict on an attestation")),
        }
    }
}

/// Who made an attestation.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Maker {
    /// Whoever uploaded the file.
    Uploader,
    /// This registry, with its own key.
    Registry,
}

impl Maker {
    /// The stored and shown word.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Uploader => "uploader",
            Self::Registry => "registry",
        }
    }
}

impl std::str::FromStr for Maker {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "uploader" => Ok(Self::Uploader),
            "registry" => Ok(Self::Registry),
            other => Err(format!("{other:?} is no maker of attestations")),
        }
    }
}

/// The form in which an attestation's bytes came and are kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum AttestationForm {
    /// A PEP 740 attestation object.
    Pep740,
    /// A Sigstore bundle.
    Bundle,
}

impl AttestationForm {
    /// The stored and shown word.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Pep740 => "pep740",
            Self::Bundle => "bundle",
        }
    }
}

impl std::str::FromStr for AttestationForm {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "pep740" => Ok(Self::Pep740),
            "bundle" => Ok(Self::Bundle),
            other => Err(format!("{other:?} is no form of attestations")),
        }
    }
}

/// An attestation as pages and the API show it.
#[derive(Clone, Debug, Serialize)]
pub struct AttestationDetail {
    /// SHA-256 of its bytes, hex: what the log's leaf names.
    pub digest: String,
    /// Who made it.
    pub maker: Maker,
    /// The form of `body`.
    pub form: AttestationForm,
    /// The statement's predicate type.
    pub predicate_type: String,
    /// SHA-256 of the statement's bytes, hex.
    pub statement_digest: String,
    /// What was found when it was taken.
    pub verdict: Verdict,
    /// Claims of the certificate, by their names in `docs/spec/provenance.md`; empty for the registry's own.
    pub claims: BTreeMap<String, String>,
    /// Links and facts for people, read from claims and log entry.
    pub shown: ShownProvenance,
    /// When it was signed, by the evidence in it.
    pub signed: Time,
    /// When the registry took or made it.
    pub taken: Time,
    /// SHA-256 of the trust root's document that it was held against; none for the registry's own.
    pub root_digest: Option<String>,
    /// The last time it was held against the roots of that day, where that was done since.
    pub rechecked: Option<Time>,
    /// Why it failed then; none where it held.
    pub recheck_problem: Option<String>,
    /// What is known of its source now.
    pub source_state: Option<SourceState>,
    /// The bytes, as received.
    #[serde(skip)]
    pub body: String,
    /// The publisher as the Python integrity API shows it (JSON object as text); none for the registry's own.
    #[serde(skip)]
    pub publisher: Option<String>,
}

/// What pages show of an attestation, for people.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ShownProvenance {
    /// The CI system in words, such as `GitHub Actions`.
    pub builder: Option<String>,
    /// The issuer of the identity.
    pub issuer: Option<String>,
    /// Who signed: the certificate's subject.
    pub signer: Option<String>,
    /// The repository's URL.
    pub repository: Option<String>,
    /// The commit.
    pub commit: Option<String>,
    /// The commit's page.
    pub commit_url: Option<String>,
    /// The ref that was built.
    pub reference: Option<String>,
    /// Path of the build file in the repository.
    pub build_file: Option<String>,
    /// The build file's page at that commit.
    pub build_file_url: Option<String>,
    /// The run's page.
    pub run_url: Option<String>,
    /// `github-hosted`, `self-hosted`.
    pub runner: Option<String>,
    /// What started the run.
    pub trigger: Option<String>,
    /// The deployment environment.
    pub environment: Option<String>,
    /// The transparency log's entry: the index in its log.
    pub log_index: Option<u64>,
    /// The log entry's page, for logs that have pages.
    pub log_url: Option<String>,
    /// The SLSA build level that is claimed and was confirmed by the certificate.
    pub slsa_level: Option<u8>,
}

/// What the periodic look at an attestation's source found.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct SourceState {
    /// `there`, `gone` or `unknown`.
    pub state: String,
    /// In words.
    pub detail: String,
    /// When it was last looked at.
    pub checked: Option<Time>,
}

/// What is known of one file's build.
#[derive(Clone, Debug, Serialize)]
pub struct FileProvenance {
    /// The ecosystem.
    pub ecosystem: Ecosystem,
    /// The project's name as written.
    pub project: String,
    /// Its key.
    pub key: String,
    /// The version.
    pub version: String,
    /// The file's name.
    pub filename: String,
    /// The file's identifier.
    pub purl: String,
    /// Its SHA-256, hex.
    pub sha256: String,
    /// What stands behind the file; `None` for files from before levels were kept.
    pub level: Option<TrustLevel>,
    /// The source it came from, where it is known.
    pub source: Option<SourceTuple>,
    /// Its attestations, the uploader's first, in the order in which they were taken.
    pub attestations: Vec<AttestationDetail>,
}

/// How a release stands to what was published before it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct ReleaseStanding {
    /// Less stands behind one of its files than stood behind something earlier: the level before, and this one.
    pub lost: Option<(TrustLevel, TrustLevel)>,
    /// It comes from another source than what came before: from where, to where.
    pub moved: Option<(SourceTuple, SourceTuple)>,
    /// What was said of it beforehand, or found: the reason of the exception, the move or the loss that it used.
    pub reason: Option<String>,
}

/// A departure from what a project is remembered for.
#[derive(Clone, Debug, Serialize)]
pub struct ProvenanceChange {
    /// Its id.
    pub id: String,
    /// `exception`, `move`, `rename` or `loss`.
    pub kind: ChangeKind,
    /// For an exception and a loss: the level that may be published, or was.
    pub level: Option<TrustLevel>,
    /// For a move and a rename: from where.
    pub from: Option<SourceTuple>,
    /// For a move and a rename: to where.
    pub to: Option<SourceTuple>,
    /// Why, in its opener's words.
    pub reason: String,
    /// By whom: a user name, `operator`, or `registry`.
    pub by: String,
    /// When it was opened.
    pub opened: Time,
    /// From when it holds.
    pub starts: Time,
    /// Until when it holds.
    pub ends: Time,
    /// The second owner who confirmed it.
    pub confirmed_by: Option<String>,
    /// When it was closed before its end.
    pub closed: Option<Time>,
    /// How many publications used it.
    pub uses: u64,
    /// When it was last used.
    pub used: Option<Time>,
    /// `waiting`, `open`, `over`, `closed`.
    pub state: &'static str,
}

/// Kinds of departures.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ChangeKind {
    /// A lower level, for a time.
    Exception,
    /// Another source, declared ahead.
    Move,
    /// The same ids under another name, found by the registry.
    Rename,
    /// A lower level or another source that passed because the operator chose to warn only.
    Loss,
}

impl ChangeKind {
    /// The stored and shown word.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Exception => "exception",
            Self::Move => "move",
            Self::Rename => "rename",
            Self::Loss => "loss",
        }
    }
}

impl std::str::FromStr for ChangeKind {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "exception" => Ok(Self::Exception),
            "move" => Ok(Self::Move),
            "rename" => Ok(Self::Rename),
            "loss" => Ok(Self::Loss),
            other => Err(format!("{other:?} is no departure from provenance")),
        }
    }
}

/// An identity whose attestations a project takes with API tokens.
#[derive(Clone, Debug, Serialize)]
pub struct TrustedIdentity {
    /// Its id.
    pub id: String,
    /// The issuer that the certificate must name.
    pub issuer: String,
    /// The repository's URL that it must name.
    pub repository: String,
    /// The path of the build file that it must name, where one is demanded.
    pub workflow: Option<String>,
    /// When added.
    pub created: Time,
    /// By whom.
    pub by: String,
}

/// What a project is remembered for.
#[derive(Clone, Debug, Serialize)]
pub struct ProjectProvenance {
    /// The highest level that its publications reached.
    pub level: TrustLevel,
    /// The source it came from.
    pub source: Option<SourceTuple>,
    /// Since when.
    pub source_since: Option<Time>,
    /// Exceptions, moves, renames and losses, newest first.
    pub changes: Vec<ProvenanceChange>,
    /// Identities whose attestations are taken with API tokens.
    pub identities: Vec<TrustedIdentity>,
}

/// A trust root as lists show it.
#[derive(Clone, Debug, Serialize)]
pub struct TrustRootSummary {
    /// Its name; `public-good` and `github` are built in.
    pub name: String,
    /// `public-good`, `github` or `private`.
    pub kind: String,
    /// SHA-256 of the document in use, hex.
    pub digest: String,
    /// Where it is refreshed from, by TUF.
    pub tuf_url: Option<String>,
    /// When it was added; the built-in ones are there from the start.
    pub added: Option<Time>,
    /// When it was last refreshed.
    pub refreshed: Option<Time>,
    /// Why the last refresh failed.
    pub problem: Option<String>,
    /// How many attestations were held against documents of it.
    pub attestations: u64,
}

/// A public key that the registry signs attestations with.
#[derive(Clone, Debug, Serialize)]
pub struct RegistryKey {
    /// The hint in its bundles: `SHA256:` and the base64 of the SHA-256 of its SPKI.
    pub hint: String,
    /// The key, SPKI in PEM.
    pub pem: String,
    /// Since when it signs.
    pub since: Time,
    /// Until when it signed; `None` for the one in use.
    pub until: Option<Time>,
}
