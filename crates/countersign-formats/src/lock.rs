//! Lock files: what a program uses today, with the digests of the bytes. Read are requirements with hashes (as `pip`,
//! `pip-tools` and `uv` write them), `uv.lock`, `pylock.toml` (PEP 751), `poetry.lock`, `Pipfile.lock`, `package-lock.json` and
//! `npm-shrinkwrap.json` (forms 2 and 3), `pnpm-lock.yaml`, `yarn.lock` (both kinds) and `Cargo.lock`.
//!
//! What such a file names is somebody's wish, not a fact: a reader that is in doubt refuses, naming line or package.

mod cargo;
mod graph;
mod npm;
mod python;
mod yaml;

use std::collections::BTreeSet;
use std::fmt;

use crate::rejection::quoted;
use crate::{Ecosystem, NameKey, Rejection};

pub use graph::{Graph, graph};

/// The longest lock file that is read, in bytes.
pub const MAX_LOCK: usize = 32 << 20;
/// The most entries of one lock file.
const MAX_ENTRIES: usize = 20_000;
/// The most files of one entry.
const MAX_FILES: usize = 4096;

/// The kinds of lock files that are read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LockKind {
    /// `requirements.txt`, every line with a version and hashes.
    Requirements,
    /// `uv.lock`.
    Uv,
    /// `pylock.toml` (PEP 751).
    Pylock,
    /// `poetry.lock`.
    Poetry,
    /// `Pipfile.lock`.
    Pipenv,
    /// `package-lock.json` or `npm-shrinkwrap.json`, forms 2 and 3.
    Npm,
    /// `pnpm-lock.yaml`.
    Pnpm,
    /// `yarn.lock` of Yarn 1.
    YarnClassic,
    /// `yarn.lock` of Yarn 2 and later.
    YarnBerry,
    /// `Cargo.lock`.
    Cargo,
}

impl LockKind {
    /// The kind as messages name it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Requirements => "requirements with hashes",
            Self::Uv => "uv.lock",
            Self::Pylock => "pylock.toml",
            Self::Poetry => "poetry.lock",
            Self::Pipenv => "Pipfile.lock",
            Self::Npm => "package-lock.json",
            Self::Pnpm => "pnpm-lock.yaml",
            Self::YarnClassic => "yarn.lock (v1)",
            Self::YarnBerry => "yarn.lock",
            Self::Cargo => "Cargo.lock",
        }
    }

    /// Whose packages it names.
    pub fn ecosystem(self) -> Ecosystem {
        match self {
            Self::Requirements | Self::Uv | Self::Pylock | Self::Poetry | Self::Pipenv => {
                Ecosystem::Pypi
            }
            Self::Npm | Self::Pnpm | Self::YarnClassic | Self::YarnBerry => Ecosystem::Npm,
            Self::Cargo => Ecosystem::Cargo,
        }
    }
}

/// Where an entry's bytes come from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Origin {
    /// An index of packages, where the file says which.
    Index(Option<String>),
    /// Somewhere else, past any index: an address, a repository.
    Elsewhere(String),
    /// This machine: the project itself, a folder beside it.
    Local(String),
}

/// The digest by which a lock file knows a file: lower-case hex.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum Digest {
    /// SHA-256.
    Sha256(String),
    /// SHA-512, as npm's clients have it.
    Sha512(String),
}

impl fmt::Display for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Sha256(hex) => write!(f, "sha256:{hex}"),
            Self::Sha512(hex) => write!(f, "sha512:{hex}"),
        }
    }
}

/// A file that may be installed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LockedFile {
    /// Its name, where the lock file says it.
    pub filename: Option<String>,
    /// Its digest.
    pub digest: Digest,
    /// Where it is fetched from, where the lock file says so beside naming an index.
    pub url: Option<String>,
}

/// One project at one version.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// Whose rules hold for it.
    pub ecosystem: Ecosystem,
    /// The project.
    pub name_key: NameKey,
    /// The version in normal form; none where what is local has none.
    pub version: Option<String>,
    /// Where it comes from.
    pub origin: Origin,
    /// The files that may be installed; without a digest a file is not among them.
    pub files: Vec<LockedFile>,
    /// Whether a file is named without a digest that the log knows.
    pub unhashed: bool,
    /// Whether that is how this kind of lock file is: Yarn's later ones have digests of archives that Yarn itself packs.
    pub undigested: bool,
}

/// A lock file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LockFile {
    /// Its kind.
    pub kind: LockKind,
    /// What it names, in its order; what stands there twice stands here once.
    pub entries: Vec<Entry>,
}

/// Reads a lock file. The kind is told by its name, and by its content where the name says nothing.
///
/// # Errors
/// `lock-unknown` for other kinds, `lock-malformed` for what is not of its kind, is not pinned to a version, or is too much.
pub fn parse(filename: &str, bytes: &[u8]) -> Result<LockFile, Rejection> {
    if bytes.len() > MAX_LOCK {
        return Err(malformed(format!("it has more than {MAX_LOCK} bytes")));
    }
    let text = std::str::from_utf8(bytes).map_err(|_| malformed("it is not UTF-8 text"))?;
    if text.contains('\0') {
        return Err(malformed("it is not text"));
    }
    let kind = kind(filename, text)?;
    let mut entries = match kind {
        LockKind::Requirements => python::requirements(text)?,
        LockKind::Uv => python::uv(text)?,
        LockKind::Pylock => python::pylock(text)?,
        LockKind::Poetry => python::poetry(text)?,
        LockKind::Pipenv => python::pipenv(text)?,
        LockKind::Npm => npm::package_lock(text)?,
        LockKind::Pnpm => npm::pnpm(text)?,
        LockKind::YarnClassic => npm::classic(text)?,
        LockKind::YarnBerry => npm::berry(text)?,
        LockKind::Cargo => cargo::lock(text)?,
    };
    if entries.len() > MAX_ENTRIES {
        return Err(malformed(format!("it has more than {MAX_ENTRIES} entries")));
    }
    if let Some(long) = entries.iter().find(|entry| entry.files.len() > MAX_FILES) {
        return Err(malformed(format!(
            "{} has more than {MAX_FILES} files",
            long.name_key
        )));
    }
    let mut seen = BTreeSet::new();
    entries.retain(|entry| {
        let files: Vec<&Digest> = entry.files.iter().map(|file| &file.digest).collect();
        seen.insert(format!(
            "{}\n{:?}\n{:?}\n{files:?}",
            entry.name_key, entry.version, entry.origin
        ))
    });
    Ok(LockFile { kind, entries })
}

fn malformed(why: impl AsRef<str>) -> Rejection {
    Rejection::new(
        "lock-malformed",
        format!("The lock file can not be used: {}.", why.as_ref()),
    )
}

fn kind(filename: &str, text: &str) -> Result<LockKind, Rejection> {
    let lower = filename.to_ascii_lowercase();
    let line = |start: &str| text.lines().any(|line| line.starts_with(start));
    match lower.as_str() {
        "uv.lock" => return Ok(LockKind::Uv),
        "poetry.lock" => return Ok(LockKind::Poetry),
        "pipfile.lock" => return Ok(LockKind::Pipenv),
        "package-lock.json" | "npm-shrinkwrap.json" | ".package-lock.json" => {
            return Ok(LockKind::Npm);
        }
        "pnpm-lock.yaml" => return Ok(LockKind::Pnpm),
        "cargo.lock" => return Ok(LockKind::Cargo),
        "yarn.lock" if line("__metadata:") => return Ok(LockKind::YarnBerry),
        "yarn.lock" => return Ok(LockKind::YarnClassic),
        _ => {}
    }
    if lower == "pylock.toml" || (lower.starts_with("pylock.") && lower.ends_with(".toml")) {
        return Ok(LockKind::Pylock);
    }
    if line("lock-version =") && line("[[packages]]") {
        return Ok(LockKind::Pylock);
    }
    if line("requires-python =") && line("[[package]]") && !lower.contains("poetry") {
        return Ok(LockKind::Uv);
    }
    if lower.ends_with(".json") && text.contains("\"lockfileVersion\"") {
        return Ok(LockKind::Npm);
    }
    if line("lockfileVersion:") && (lower.ends_with(".yaml") || lower.ends_with(".yml")) {
        return Ok(LockKind::Pnpm);
    }
    if line("# yarn lockfile v1") {
        return Ok(LockKind::YarnClassic);
    }
    if line("__metadata:") {
        return Ok(LockKind::YarnBerry);
    }
    if line("# This file is automatically @generated by Cargo") {
        return Ok(LockKind::Cargo);
    }
    let foreign = line("[[package]]") || line("[") || text.trim_start().starts_with(['{', '[']);
    let ends = [".lock", ".json", ".toml", ".yaml", ".yml"];
    if foreign || ends.iter().any(|end| lower.ends_with(end)) {
        return Err(Rejection::new(
            "lock-unknown",
            format!("{} is not of a kind that is read.", quoted(filename)),
        )
        .with_remedy("Read are requirements with hashes, uv.lock, pylock.toml, poetry.lock, Pipfile.lock, package-lock.json, pnpm-lock.yaml, yarn.lock and Cargo.lock. Most tools export one of them, such as `uv export --format pylock.toml`."));
    }
    Ok(LockKind::Requirements)
}

/// Lower-case hex of so many bytes?
fn is_hex(text: &str, bytes: usize) -> bool {
    text.len() == bytes * 2 && text.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'))
}

/// Text from the file, fit for a line of a table.
fn plain(text: &str) -> String {
    crate::rejection::printable(text, 300)
}

fn read_toml<'a, T: serde::Deserialize<'a>>(text: &'a str) -> Result<T, Rejection> {
    toml::from_str(text).map_err(|error| malformed(error.message()))
}

#[cfg(test)]
mod tests;
