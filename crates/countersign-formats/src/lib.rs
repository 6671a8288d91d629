//! What a package ecosystem owes the registry: names, versions, archives, index documents.
//!
//! Pure: no clock, network, database or randomness. One polymorphic seam, [`Format`], serves the
//! core and the clients; everything ecosystem-specific lies in a module of its own ([`cargo`], [`npm`],
//! [`pypi`]).
//! Every parser takes [`Limits`] or keeps a fixed bound, and refuses with a [`Rejection`].
#![cfg_attr(test, allow(clippy::unwrap_used))]

pub mod archive;
pub mod cargo;
mod limits;
pub mod lock;
mod manifest;
pub mod name_list;
pub mod negotiate;
pub mod npm;
pub mod osv;
pub mod purl;
pub mod pypi;
mod rejection;

use std::{
    cmp::Ordering,
    fmt,
    io::{Read, Seek, SeekFrom},
    str::FromStr,
};

use serde::{Deserialize, Serialize};

pub use limits::Limits;
pub use manifest::{Dependency, Details, Manifest};
pub use rejection::Rejection;

/// A family of packages with its own rules and clients.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Ecosystem {
    /// Python distributions.
    Pypi,
    /// Rust crates.
    Cargo,
    /// Packages for Node.js and browsers.
    Npm,
}

impl Ecosystem {
    /// All known ecosystems.
    pub const ALL: &[Ecosystem] = &[Ecosystem::Pypi, Ecosystem::Cargo, Ecosystem::Npm];

    /// The word in URLs, configuration and the database; also the purl type.
    pub const fn as_str(self) -> &'static str {
        match self {
            Ecosystem::Pypi => "pypi",
            Ecosystem::Cargo => "cargo",
            Ecosystem::Npm => "npm",
        }
    }
}

impl fmt::Display for Ecosystem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl Ecosystem {
    /// What the names of an ecosystem's packages end with.
    pub const fn endings(self) -> &'static [&'static str] {
        match self {
            Ecosystem::Pypi => &[".whl", ".tar.gz", ".zip"],
            Ecosystem::Cargo => &[".crate"],
            Ecosystem::Npm => &[".tgz"],
        }
    }

    /// The ecosystem whose packages are named like this, by the end of the name.
    pub fn of_filename(name: &str) -> Option<Self> {
        Self::ALL.iter().copied().find(|ecosystem| {
            ecosystem
                .endings()
                .iter()
                .any(|ending| name.ends_with(ending))
        })
    }
}

impl FromStr for Ecosystem {
    type Err = Rejection;

    fn from_str(text: &str) -> Result<Self, Rejection> {
        Self::ALL
            .iter()
            .copied()
            .find(|ecosystem| ecosystem.as_str() == text)
            .ok_or_else(|| {
                let known: Vec<_> = Self::ALL.iter().map(|e| e.as_str()).collect();
                Rejection::new(
                    "ecosystem-unknown",
                    format!("The ecosystem {} is not known.", rejection::quoted(text)),
                )
                .with_remedy(format!("Known: {}.", known.join(", ")))
            })
    }
}

/// The form under which two spellings of a project's name are the same project.
/// Made by [`Format::name_key`]; [`NameKey::from_stored`] is for keys that were made so before.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct NameKey(String);

impl NameKey {
    /// A key read back from our own storage; foreign text goes through [`Format::name_key`].
    pub fn from_stored(key: impl Into<String>) -> Self {
        Self(key.into())
    }

    /// The text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for NameKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl AsRef<str> for NameKey {
    fn as_ref(&self) -> &str {
        &self.0
    }
}

/// A parsed version: equality and order are the ecosystem's (`1.0` equals `1.0.0` in Python).
#[derive(Debug, Clone)]
pub struct Version {
    canonical: String,
    key: String,
    order: VersionOrder,
}

/// What versions of one ecosystem are compared by. Versions of two kinds never meet in practice; they
/// are ordered by kind, so that the order is total.
#[derive(Debug, Clone)]
enum VersionOrder {
    Pep440(pep440_rs::Version),
    /// Build metadata does not count.
    Semver(semver::Version),
}

impl Version {
    /// Normal form, for people and URLs.
    pub fn canonical(&self) -> &str {
        &self.canonical
    }

    /// Equal versions, and only they, have the same key; fit for a unique column.
    pub fn key(&self) -> &str {
        &self.key
    }

    /// Whether installers skip it unless asked.
    pub fn is_prerelease(&self) -> bool {
        match &self.order {
            VersionOrder::Pep440(version) => version.any_prerelease(),
            VersionOrder::Semver(version) => !version.pre.is_empty(),
        }
    }
}

impl PartialEq for Version {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other) == Ordering::Equal
    }
}

impl Eq for Version {}

impl PartialOrd for Version {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Version {
    fn cmp(&self, other: &Self) -> Ordering {
        match (&self.order, &other.order) {
            (VersionOrder::Pep440(a), VersionOrder::Pep440(b)) => a.cmp(b),
            (VersionOrder::Semver(a), VersionOrder::Semver(b)) => a.cmp_precedence(b),
            (VersionOrder::Pep440(_), VersionOrder::Semver(_)) => Ordering::Less,
            (VersionOrder::Semver(_), VersionOrder::Pep440(_)) => Ordering::Greater,
        }
    }
}

impl fmt::Display for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.canonical)
    }
}

/// Bytes that can be read at any place, such as a spooled upload.
pub trait ReadSeek: Read + Seek {}

impl<T: Read + Seek + ?Sized> ReadSeek for T {}

/// A file to inspect. Never read into memory as a whole.
pub struct Artifact<'a> {
    /// The name it shall be published under.
    pub filename: &'a str,
    /// Its length in bytes; inspection fails when `bytes` holds another number.
    pub size: u64,
    /// Its bytes; inspection seeks freely and leaves the position anywhere.
    pub bytes: &'a mut dyn ReadSeek,
}

impl Artifact<'_> {
    /// Holds the length against the limit and against what was said, before anything is read.
    fn check_size(&mut self, limits: &Limits) -> Result<(), Rejection> {
        if self.size > limits.max_file_size {
            return Err(Rejection::new(
                "file-too-large",
                format!(
                    "The file has {} bytes; at most {} are accepted.",
                    self.size, limits.max_file_size
                ),
            ));
        }
        let actual = self
            .bytes
            .seek(SeekFrom::End(0))
            .map_err(|error| Rejection::unreadable(&error))?;
        if actual != self.size {
            return Err(Rejection::new(
                "file-size",
                format!(
                    "The file has {actual} bytes and not {} as was said.",
                    self.size
                ),
            ));
        }
        Ok(())
    }
}

/// A file that an index document promises: whoever downloads it can hold the bytes against this.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Promise {
    /// File name.
    pub filename: String,
    /// Where it is, as written in the document (absolute, or relative to the document).
    pub url: String,
    /// Lower-case hex.
    pub sha256: String,
    /// Length in bytes, where the document says it.
    pub size: Option<u64>,
    /// Index of the file's leaf in the log, where the document says it.
    pub leaf_index: Option<u64>,
    /// Where the offline proof is, where the document says it.
    pub proof_url: Option<String>,
}

/// What an ecosystem owes the core and the clients. Pure: no clock, no network, no database.
pub trait Format: Sync {
    /// Which one.
    fn ecosystem(&self) -> Ecosystem;
    /// The form under which two spellings are the same project; refuses what is no name.
    fn name_key(&self, name: &str) -> Result<NameKey, Rejection>;
    /// The key of a name under which a new project is to be founded: refuses also what is reserved,
    /// or too easily taken for something else.
    fn new_name(&self, name: &str) -> Result<NameKey, Rejection> {
        self.name_key(name)
    }
    /// The key of a namespace: of a name, with which those that belong together begin, or of npm's scopes.
    ///
    /// # Errors
    /// Refuses what no name can begin with.
    fn namespace_key(&self, prefix: &str) -> Result<NameKey, Rejection> {
        self.name_key(prefix)
    }
    /// The version and its place in the order of versions; refuses what may not be published.
    fn version(&self, text: &str) -> Result<Version, Rejection>;
    /// What a file has in common with every other spelling of it: in Python its name, elsewhere its version, of which it is
    /// the only file.
    ///
    /// # Errors
    /// Refuses what is no file name of the ecosystem.
    fn file_key(&self, manifest: &Manifest, _limits: &Limits) -> Result<String, Rejection> {
        Ok(manifest.version_key.clone())
    }
    /// The coarse form in which names that are easily confused are one; for similarity only.
    fn skeleton(&self, key: &NameKey) -> String {
        pypi::name::skeleton(key)
    }
    /// Reads an artifact and says what it is; believes the bytes, not the request.
    fn inspect(&self, artifact: &mut Artifact<'_>, limits: &Limits) -> Result<Manifest, Rejection>;
    /// The files an index document promises, with digests: the inverse of [`IndexView::render`].
    fn promises(&self, document: &[u8], limits: &Limits) -> Result<Vec<Promise>, Rejection>;
}

/// What the one index document of a project that is signed is rendered from; all others derive from
/// it. Each ecosystem shows other facts, so each has a view of its own.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum IndexView {
    /// See [`pypi::documents`].
    Pypi(pypi::documents::ProjectView),
    /// See [`cargo::index`]: one line a version.
    Cargo(cargo::index::IndexFile),
    /// See [`npm::documents`]: the abbreviated packument.
    Npm(npm::documents::PackageView),
}

impl IndexView {
    /// The document; [`Format::promises`] reads it back.
    pub fn render(&self) -> String {
        match self {
            IndexView::Pypi(project) => pypi::documents::project_json(project),
            IndexView::Cargo(file) => cargo::index::document(file),
            IndexView::Npm(package) => npm::documents::abbreviated(package),
        }
    }
}

/// The rules of one ecosystem.
pub fn format(ecosystem: Ecosystem) -> &'static dyn Format {
    match ecosystem {
        Ecosystem::Pypi => &pypi::Pypi,
        Ecosystem::Cargo => &cargo::Cargo,
        Ecosystem::Npm => &npm::Npm,
    }
}
