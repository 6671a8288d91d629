//! Sigstore bundles and PEP 740 attestations: read strictly, verified offline (`docs/spec/provenance.md`).
//!
//! The way of an attestation: [`Bundle::parse`] or [`Attestation::parse`] reads it within [`Limits`] and believes
//! nothing; [`verify`] holds it against a [`TrustRoot`], the [`Subject`] it is said to be about and the [`Demands`] of
//! the caller; [`compare`] holds the certificate's [`Claims`] against the publisher that minted the upload's token;
//! [`cross_check`] holds what the build wrote against the certificate; a consumer asks an [`IdentityPolicy`].
//!
//! Signatures, chains and proofs are checked by the `sigstore-verify` library. What it leaves open is checked here:
//! strict JSON and base64, one subject and its name, predicate types, malformed extensions, and every number that
//! stands twice in a log entry (the list is at [`verify`]).
//!
//! Nothing here is handed the time: a signature is as old as its evidence says. (The library does look at the clock,
//! only to refuse evidence from the future and keys whose time has not begun.)

mod attestation;
mod bundle;
mod claims;
mod der;
mod document;
pub mod dsse;
mod identity;
mod keys;
mod policy;
mod policy_file;
mod root;
mod sign;
mod statement;
mod verify;

#[cfg(test)]
mod tests;

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::oidc::{Difference, escaped};

pub use attestation::Attestation;
pub use bundle::{Bundle, Signer, Version};
pub use claims::{Claim, Claims, San};
pub use document::{NpmAttestation, Provenance, ProvenanceBundle, npm_attestations, publisher};
pub use identity::{compare, cross_check};
pub use keys::{TrustedKey, TrustedKeys};
pub use policy::{Allowed, IdentityPolicy};
pub use policy_file::{
    MAX_POLICY, PolicyFile, PolicyFileError, PolicyRegistry, PrivateNames, ProjectPolicy, Said,
    Unlisted, Wanted,
};
pub use root::{RootUsed, TrustRoot};
pub use sign::{Ed25519Signer, P256Signer, Signs, key_hint, sign_statement};
pub use statement::{
    Digest, Predicate, PredicateKind, Slsa, Statement, StatementSubject, StatementVersion,
};
pub use verify::{
    Demands, LoggedEntry, NameRule, Subject, TimeEvidence, TimeSource, Verified, VerifiedSigner,
    verify,
};

/// The payload type of in-toto statements in DSSE envelopes.
pub const IN_TOTO: &str = "application/vnd.in-toto+json";

/// How much of a stranger's document is read. The defaults hold every bundle of the public corpus.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Limits {
    /// The longest bundle or attestation, in bytes.
    pub bytes: usize,
    /// The longest trust root, provenance object or list of attestations, in bytes.
    pub document_bytes: usize,
    /// How many log entries a bundle may have.
    pub entries: usize,
    /// How many RFC 3161 timestamps a bundle may have.
    pub timestamps: usize,
    /// How many certificates a chain may have.
    pub certificates: usize,
    /// How many attestations a list or document may have.
    pub attestations: usize,
    /// How many subjects a statement may have.
    pub subjects: usize,
    /// How deep a statement may be nested.
    pub depth: usize,
    /// How many JSON values a statement may have.
    pub values: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            bytes: 128 * 1024,
            document_bytes: 1024 * 1024,
            entries: 4,
            timestamps: 4,
            certificates: 6,
            attestations: 16,
            subjects: 1024,
            depth: 24,
            values: 16 * 1024,
        }
    }
}

/// The steps of the verification, in their order (`docs/spec/provenance.md`).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Step {
    /// Reading the bundle or attestation.
    Parse,
    /// When it was signed: timestamps of authorities and logs.
    Time,
    /// The certificate, up to an authority of the trust root.
    Chain,
    /// The certificate's entry in a certificate transparency log.
    Sct,
    /// The entry in the transparency log: that it is there.
    LogInclusion,
    /// The signed head of the log.
    LogCheckpoint,
    /// The entry in the transparency log: that it is about this signature.
    LogEntry,
    /// The signature itself.
    Signature,
    /// Reading the signed statement.
    Statement,
    /// What the statement is about: name and digests.
    Subject,
    /// What the statement says: type and form.
    Predicate,
    /// Who signed, held against who was to sign.
    Identity,
    /// What the build wrote, held against its certificate.
    CrossCheck,
}

impl Step {
    /// All steps, in their order.
    pub const ALL: [Self; 13] = [
        Self::Parse,
        Self::Time,
        Self::Chain,
        Self::Sct,
        Self::LogInclusion,
        Self::LogCheckpoint,
        Self::LogEntry,
        Self::Signature,
        Self::Statement,
        Self::Subject,
        Self::Predicate,
        Self::Identity,
        Self::CrossCheck,
    ];

    /// The name, as in JSON and messages.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Parse => "parse",
            Self::Time => "time",
            Self::Chain => "chain",
            Self::Sct => "sct",
            Self::LogInclusion => "log-inclusion",
            Self::LogCheckpoint => "log-checkpoint",
            Self::LogEntry => "log-entry",
            Self::Signature => "signature",
            Self::Statement => "statement",
            Self::Subject => "subject",
            Self::Predicate => "predicate",
            Self::Identity => "identity",
            Self::CrossCheck => "cross-check",
        }
    }

    /// The stable code of a refusal at this step.
    pub fn code(self) -> &'static str {
        match self {
            Self::Parse => "attestation-malformed",
            Self::Time => "attestation-time-unproven",
            Self::Chain => "attestation-certificate-refused",
            Self::Sct => "attestation-sct-invalid",
            Self::LogInclusion => "attestation-not-logged",
            Self::LogCheckpoint => "attestation-checkpoint-invalid",
            Self::LogEntry => "attestation-log-entry-mismatch",
            Self::Signature => "attestation-signature-invalid",
            Self::Statement => "attestation-statement-malformed",
            Self::Subject => "attestation-subject-mismatch",
            Self::Predicate => "attestation-predicate-refused",
            Self::Identity => "attestation-identity-mismatch",
            Self::CrossCheck => "attestation-contradicts-certificate",
        }
    }
}

impl fmt::Display for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// Why a bundle or attestation is not accepted: the first step that failed. Foreign text in it is escaped and cut.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refusal {
    /// The step that failed.
    pub step: Step,
    /// A stable kebab-case code, one for each step: [`Step::code`].
    pub code: &'static str,
    /// What was to be there, where that can be said.
    pub expected: Option<String>,
    /// What was there instead.
    pub seen: Option<String>,
    /// What is wrong, as a sentence without its full stop.
    pub sentence: String,
    /// All claims that were compared, where claims were compared.
    pub differences: Vec<Difference>,
}

impl Refusal {
    /// A refusal at a step, with a sentence without its full stop.
    pub fn new(step: Step, sentence: impl Into<String>) -> Self {
        Self {
            step,
            code: step.code(),
            expected: None,
            seen: None,
            sentence: sentence.into(),
            differences: Vec::new(),
        }
    }

    pub(crate) fn expected(mut self, expected: impl AsRef<str>) -> Self {
        self.expected = Some(escaped(expected.as_ref()));
        self
    }

    pub(crate) fn seen(mut self, seen: impl AsRef<str>) -> Self {
        self.seen = Some(escaped(seen.as_ref()));
        self
    }
}

impl Refusal {
    /// The step, what is wrong, and what was expected and seen, without the compared claims.
    pub fn message(&self) -> String {
        let mut text = format!("step {}: {}", self.step, self.sentence);
        for (name, value) in [("expected", &self.expected), ("seen", &self.seen)] {
            if let Some(value) = value {
                text.push_str(&format!("; {name} {value}"));
            }
        }
        text
    }
}

impl fmt::Display for Refusal {
    /// The message, and the claims that differ.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message())?;
        for difference in self.differences.iter().filter(|row| !row.matched) {
            write!(
                f,
                "; {}: expected {}, seen {}",
                difference.claim,
                difference.expected,
                difference.seen.as_deref().unwrap_or("nothing")
            )?;
        }
        Ok(())
    }
}

impl std::error::Error for Refusal {}
