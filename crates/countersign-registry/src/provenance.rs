//! Build provenance: what stands behind a file, kept, shown, and never silently lost.

mod changes;

use countersign_formats::Ecosystem;
use countersign_trust::digest::Sha256;
use serde::Serialize;

use crate::Registry;
use crate::error::{Error, Result};
use crate::fetch::Document;
use crate::model::{Actor, FileProvenance, RegistryKey, SourceTuple, TrustLevel, TrustRootSummary};

/// An exception to open.
#[derive(Clone, Debug)]
pub struct NewException {
    /// The level that may be published while it is open.
    pub level: TrustLevel,
    /// How long, in hours: 1 to 168.
    pub hours: u32,
    /// Why; shown to everybody.
    pub reason: String,
}

/// A move to declare.
#[derive(Clone, Debug)]
pub struct NewMove {
    /// Where to.
    pub to: SourceTuple,
    /// How long the first publication from there may take to come, in hours: 1 to 720.
    pub hours: u32,
    /// Why; shown to everybody.
    pub reason: String,
}

/// An identity whose attestations are taken with API tokens.
#[derive(Clone, Debug)]
pub struct NewIdentity {
    /// The issuer's URL.
    pub issuer: String,
    /// The repository's URL.
    pub repository: String,
    /// The path of the build file, where one is demanded.
    pub workflow: Option<String>,
}

/// What adding attestations to a file did.
#[derive(Clone, Debug, Serialize)]
pub struct Added {
    /// The file.
    pub purl: String,
    /// SHA-256 of each attestation that was added, hex; empty where all were there already.
    pub digests: Vec<String>,
    /// Index of the leaf that names them; `None` where nothing was added.
    pub leaf: Option<u64>,
}

fn unfinished() -> Error {
    Error::internal("provenance", "this verb is being written")
}

impl Registry {
    /// What is known of a file's build. Serves what is served: withheld files are unknown here too.
    ///
    /// # Errors
    /// `project-unknown`, `file-unknown`.
    pub async fn file_provenance(&self, _purl: &str) -> Result<FileProvenance> {
        Err(unfinished())
    }

    /// The same for every file of a release.
    ///
    /// # Errors
    /// `project-unknown`, `version-unknown`.
    pub async fn release_provenance(
        &self,
        _ecosystem: Ecosystem,
        _project: &str,
        _version: &str,
    ) -> Result<Vec<FileProvenance>> {
        Err(unfinished())
    }

    /// The same by SHA-256, for those of the digests that are files here; at most 100 at a time.
    ///
    /// # Errors
    /// `too-many-digests`.
    pub async fn provenance_by_digest(&self, _digests: &[Sha256]) -> Result<Vec<FileProvenance>> {
        Err(unfinished())
    }

    /// A file's provenance object of the Python integrity API (PEP 740), its attestations byte for byte as received.
    ///
    /// # Errors
    /// `project-unknown`, `file-unknown`, `provenance-none`.
    pub async fn integrity_document(
        &self,
        _project: &str,
        _version: &str,
        _filename: &str,
    ) -> Result<Document> {
        Err(unfinished())
    }

    /// Adds attestations to a published file: a JSON list as the upload form has it.
    ///
    /// # Errors
    /// As [`Registry::publish`]; `file-unknown`.
    pub async fn add_attestations(
        &self,
        _actor: &Actor,
        _purl: &str,
        _attestations: &str,
    ) -> Result<Added> {
        Err(unfinished())
    }

    /// The trust roots in use, the built-in ones first.
    ///
    /// # Errors
    /// Where the database fails.
    pub async fn trust_roots(&self) -> Result<Vec<TrustRootSummary>> {
        Err(unfinished())
    }

    /// Adds a private Sigstore by its `trusted_root.json`, or replaces that of the same name.
    ///
    /// # Errors
    /// `operator-needed`, `trust-root-invalid`.
    pub async fn add_trust_root(
        &self,
        _actor: &Actor,
        _name: &str,
        _document: &str,
    ) -> Result<TrustRootSummary> {
        Err(unfinished())
    }

    /// Removes a trust root. What was held against it stays, with its digest.
    ///
    /// # Errors
    /// `operator-needed`, `trust-root-unknown`.
    pub async fn remove_trust_root(&self, _actor: &Actor, _name: &str) -> Result<()> {
        Err(unfinished())
    }

    /// Refreshes the roots that have a TUF repository. Those that fail say so in their `problem`.
    ///
    /// # Errors
    /// `operator-needed`.
    pub async fn refresh_trust_roots(&self, _actor: &Actor) -> Result<Vec<TrustRootSummary>> {
        Err(unfinished())
    }

    /// The keys that the registry's own attestations are signed with, the one in use first.
    ///
    /// # Errors
    /// Where the database fails.
    pub async fn attestation_keys(&self) -> Result<Vec<RegistryKey>> {
        Err(unfinished())
    }

    /// Looks whether the sources that are due are still there; the number looked at.
    ///
    /// # Errors
    /// Where the database fails.
    pub async fn recheck_sources(&self) -> Result<u64> {
        Err(unfinished())
    }

    /// Holds attestations that are due against the roots of today; the number held.
    ///
    /// # Errors
    /// Where the database fails.
    pub async fn reverify_attestations(&self) -> Result<u64> {
        Err(unfinished())
    }
}
