//! Python's: requirements with hashes (as `pip`, `pip-tools` and `uv` write them), `uv.lock`, `pylock.toml` (PEP 751).

use std::collections::BTreeMap;
use std::str::FromStr;

use serde::Deserialize;

use super::{Digest, Entry, LockedFile, MAX_ENTRIES, Origin, is_hex, malformed, plain, read_toml};
use crate::pypi::{name, requirement, version};
use crate::rejection::quoted;
use crate::{Ecosystem, Rejection};

fn digest(text: &str) -> Option<&str> {
    let hex = text.strip_prefix("sha256:")?;
    is_sha256(hex).then_some(hex)
}

fn is_sha256(hex: &str) -> bool {
    is_hex(hex, 32)
}

/// The last part of an address or path.
fn last(address: &str) -> Option<String> {
    let path = address.split(['?', '#']).next().unwrap_or_default();
    let name = path.rsplit(['/', '\\']).next().unwrap_or_default();
    // The characters of distribution names that addresses escape.
    let name = name
        .replace("%2B", "+")
        .replace("%2b", "+")
        .replace("%21", "!");
    (!name.is_empty() && !name.contains('%')).then_some(name)
}

// ---- requirements ----

pub(super) fn requirements(text: &str) -> Result<Vec<Entry>, Rejection> {
    let mut index = None;
    let mut entries = Vec::new();
    for (number, line) in logical_lines(text) {
        let refuse = |why: String| {
            malformed(format!("line {number}: {why}"))
                .with_remedy("Every line names one version and its SHA-256 hashes, as `uv pip compile --generate-hashes` writes them.")
        };
        if line.starts_with('-') {
            let (option, value) = line
                .split_once(['=', ' '])
                .map_or((&*line, ""), |(option, value)| (option, value.trim()));
            match option {
                "-i" | "--index-url" => index = Some(plain(value)),
                "--require-hashes" | "--no-binary" | "--only-binary" | "--prefer-binary"
                | "--pre" | "--trusted-host" | "--use-feature" => {}
                _ => {
                    return Err(refuse(format!(
                        "the option {} is not followed",
                        quoted(option)
                    )));
                }
            }
            continue;
        }
        if entries.len() >= MAX_ENTRIES {
            return Err(malformed(format!("it has more than {MAX_ENTRIES} entries")));
        }
        entries.push(required(&line, index.as_ref()).map_err(refuse)?);
    }
    Ok(entries)
}

/// Lines without comments, those that go on joined; with the number of their first.
fn logical_lines(text: &str) -> Vec<(usize, String)> {
    let mut lines = Vec::new();
    let mut open: Option<(usize, String)> = None;
    for (at, raw) in text.lines().enumerate() {
        let bare = match raw.trim_start().starts_with('#') {
            true => "",
            false => raw.split_once(" #").map_or(raw, |(line, _)| line),
        };
        let (number, mut line) = open.take().unwrap_or((at + 1, String::new()));
        match bare.trim_end().strip_suffix('\\') {
            Some(more) => {
                line.push_str(more);
                line.push(' ');
                open = Some((number, line));
            }
            None => {
                line.push_str(bare);
                lines.push((number, line.trim().to_owned()));
            }
        }
    }
    lines.extend(open.map(|(number, line)| (number, line.trim().to_owned())));
    lines.retain(|(_, line)| !line.is_empty());
    lines
}

fn required(line: &str, index: Option<&String>) -> Result<Entry, String> {
    let mut parts = line.split(" --");
    let head = parts.next().unwrap_or_default().trim();
    let mut files = Vec::new();
    let mut unhashed = true;
    for option in parts {
        let option = option.trim();
        let hash = option
            .strip_prefix("hash")
            .and_then(|rest| rest.strip_prefix(['=', ' ']))
            .ok_or_else(|| format!("the option --{} is not followed", plain(option)))?
            .trim();
        let algorithm = hash.split(':').next().unwrap_or_default();
        match digest(hash) {
            Some(hex) => {
                unhashed = false;
                files.push(LockedFile {
                    filename: None,
                    digest: Digest::Sha256(hex.to_owned()),
                    url: None,
                });
            }
            None if ["sha384", "sha512"].contains(&algorithm) => {}
            None => return Err(format!("{} is no SHA-256 hash", quoted(hash))),
        }
    }
    let elsewhere = head
        .split(';')
        .next()
        .unwrap_or_default()
        .split_once('@')
        .map(|(name, address)| (name.trim(), address.trim()));
    if let Some((written, address)) = elsewhere {
        let written = written.split('[').next().unwrap_or_default().trim();
        return Ok(Entry {
            ecosystem: Ecosystem::Pypi,
            name_key: name::key(written).map_err(|refused| refused.message)?,
            version: None,
            origin: Origin::Elsewhere(plain(address)),
            files,
            unhashed,
            undigested: false,
        });
    }
    let wanted = requirement::parse(head).map_err(|refused| refused.message)?;
    let pinned = wanted
        .specifier
        .strip_prefix("===")
        .or_else(|| wanted.specifier.strip_prefix("=="))
        .map(str::trim)
        .filter(|text| !text.contains(['*', ',']))
        .ok_or_else(|| format!("{} is not pinned to one version", quoted(head)))?;
    Ok(Entry {
        ecosystem: Ecosystem::Pypi,
        version: Some(canonical(pinned)?),
        name_key: wanted.name_key,
        origin: Origin::Index(index.cloned()),
        files,
        unhashed,
        undigested: false,
    })
}

/// The normal form. Builds of one's own (`1.0+cu118`) may stand in a lock file, though nobody publishes them.
fn canonical(text: &str) -> Result<String, String> {
    match version::parse(text) {
        Ok(version) => Ok(version.canonical().to_owned()),
        Err(refused) if refused.code == "version-local" => pep440_rs::Version::from_str(text)
            .map(|version| version.to_string())
            .map_err(|_| refused.message),
        Err(refused) => Err(refused.message),
    }
}

// ---- uv.lock and pylock.toml ----

#[derive(Deserialize)]
struct UvLock {
    version: u64,
    #[serde(default)]
    package: Vec<UvPackage>,
}

#[derive(Deserialize)]
struct UvPackage {
    name: String,
    version: Option<String>,
    source: BTreeMap<String, toml::Value>,
    sdist: Option<UvFile>,
    #[serde(default)]
    wheels: Vec<UvFile>,
}

#[derive(Deserialize)]
struct UvFile {
    url: Option<String>,
    path: Option<String>,
    filename: Option<String>,
    hash: Option<String>,
}

pub(super) fn uv(text: &str) -> Result<Vec<Entry>, Rejection> {
    let lock: UvLock = read_toml(text)?;
    if lock.version != 1 {
        return Err(malformed(format!(
            "it is of version {}; known is 1",
            lock.version
        )));
    }
    lock.package
        .into_iter()
        .map(|package| {
            let said = |key: &str| match package.source.get(key) {
                Some(toml::Value::String(text)) => Some(plain(text)),
                Some(_) => Some(key.to_owned()),
                None => None,
            };
            let local = ["virtual", "editable", "directory", "path"]
                .iter()
                .find_map(|key| said(key));
            let origin = if let Some(index) = said("registry") {
                Origin::Index(Some(index))
            } else if let Some(place) = local {
                Origin::Local(place)
            } else if let Some(place) = said("git").or_else(|| said("url")) {
                Origin::Elsewhere(place)
            } else {
                return Err(malformed(format!(
                    "{} is from nowhere that is known",
                    quoted(&package.name)
                )));
            };
            let files = package.sdist.into_iter().chain(package.wheels);
            let files = files.map(|file| {
                let named = file.filename.or_else(|| {
                    let place = file.url.as_deref().or(file.path.as_deref());
                    place.and_then(last)
                });
                Named {
                    filename: named,
                    sha256: file.hash.as_deref().and_then(digest).map(str::to_owned),
                    url: file.url.as_deref().map(plain),
                }
            });
            entry(&package.name, package.version.as_deref(), origin, files)
        })
        .collect()
}

/// A file as a lock file names it.
#[derive(Default)]
struct Named {
    filename: Option<String>,
    sha256: Option<String>,
    url: Option<String>,
}

fn entry(
    written: &str,
    version: Option<&str>,
    origin: Origin,
    files: impl Iterator<Item = Named>,
) -> Result<Entry, Rejection> {
    let of = |why: String| malformed(format!("package {}: {why}", quoted(written)));
    let name_key = name::key(written).map_err(|refused| of(refused.message))?;
    let version = version.map(canonical).transpose().map_err(of)?;
    if version.is_none() && matches!(origin, Origin::Index(_)) {
        return Err(of("it has no version".to_owned()));
    }
    let mut known = Vec::new();
    let mut unhashed = false;
    for Named {
        filename,
        sha256,
        url,
    } in files
    {
        let filename = filename.filter(|name| !name.is_empty() && !name.contains(['/', '\\']));
        match sha256 {
            Some(sha256) => known.push(LockedFile {
                filename,
                digest: Digest::Sha256(sha256),
                url,
            }),
            None => unhashed = true,
        }
    }
    unhashed |= known.is_empty();
    Ok(Entry {
        ecosystem: Ecosystem::Pypi,
        name_key,
        version,
        origin,
        files: known,
        unhashed,
        undigested: false,
    })
}

#[derive(Deserialize)]
#[serde(rename_all = "kebab-case")]
struct Pylock {
    lock_version: String,
    #[serde(default)]
    packages: Vec<PylockPackage>,
}

#[derive(Deserialize)]
struct PylockPackage {
    name: String,
    version: Option<String>,
    index: Option<String>,
    vcs: Option<PylockPlace>,
    directory: Option<PylockPlace>,
    archive: Option<PylockFile>,
    sdist: Option<PylockFile>,
    #[serde(default)]
    wheels: Vec<PylockFile>,
}

#[derive(Deserialize)]
struct PylockPlace {
    url: Option<String>,
    path: Option<String>,
}

#[derive(Deserialize)]
struct PylockFile {
    name: Option<String>,
    url: Option<String>,
    path: Option<String>,
    #[serde(default)]
    hashes: BTreeMap<String, String>,
}

impl PylockFile {
    fn known(self) -> Named {
        let place = self.url.as_deref().or(self.path.as_deref());
        let sha256 = self
            .hashes
            .iter()
            .find(|(algorithm, hex)| algorithm.as_str() == "sha256" && is_sha256(hex))
            .map(|(_, hex)| hex.clone());
        Named {
            filename: self.name.clone().or_else(|| place.and_then(last)),
            sha256,
            url: self.url.as_deref().map(plain),
        }
    }

    fn place(&self) -> Option<String> {
        self.url.as_deref().or(self.path.as_deref()).map(plain)
    }
}

pub(super) fn pylock(text: &str) -> Result<Vec<Entry>, Rejection> {
    let lock: Pylock = read_toml(text)?;
    if lock.lock_version.split('.').next() != Some("1") {
        return Err(malformed(format!(
            "it is of version {}; known is 1",
            quoted(&lock.lock_version)
        )));
    }
    lock.packages
        .into_iter()
        .map(|package| {
            let place = |place: &PylockPlace| {
                let place = place.url.as_deref().or(place.path.as_deref());
                plain(place.unwrap_or("somewhere"))
            };
            let origin = if let Some(vcs) = &package.vcs {
                Origin::Elsewhere(place(vcs))
            } else if let Some(folder) = &package.directory {
                Origin::Local(place(folder))
            } else if let Some(archive) = &package.archive {
                Origin::Elsewhere(archive.place().unwrap_or_else(|| "somewhere".to_owned()))
            } else {
                Origin::Index(package.index.as_deref().map(plain))
            };
            let files = package
                .archive
                .into_iter()
                .chain(package.sdist)
                .chain(package.wheels)
                .map(PylockFile::known);
            entry(&package.name, package.version.as_deref(), origin, files)
        })
        .collect()
}

// ---- poetry.lock and Pipfile.lock ----

#[derive(Deserialize)]
struct PoetryLock {
    metadata: PoetryMetadata,
    #[serde(default)]
    package: Vec<PoetryPackage>,
}

#[derive(Deserialize)]
#[serde(rename_all = "kebab-case")]
struct PoetryMetadata {
    lock_version: String,
    /// Where forms before 2.0 have the files.
    #[serde(default)]
    files: BTreeMap<String, Vec<PoetryFile>>,
}

#[derive(Deserialize)]
struct PoetryPackage {
    name: String,
    version: String,
    #[serde(default)]
    files: Vec<PoetryFile>,
    source: Option<PoetrySource>,
}

#[derive(Deserialize, Clone)]
struct PoetryFile {
    file: String,
    hash: String,
}

#[derive(Deserialize)]
struct PoetrySource {
    #[serde(rename = "type")]
    kind: Option<String>,
    url: String,
}

pub(super) fn poetry(text: &str) -> Result<Vec<Entry>, Rejection> {
    let lock: PoetryLock = read_toml(text)?;
    let form = &lock.metadata.lock_version;
    if !["1", "2"].contains(&form.split('.').next().unwrap_or_default()) {
        return Err(malformed(format!(
            "it is of the form {}; known are 1 and 2",
            quoted(form)
        )));
    }
    let elsewhere = &lock.metadata.files;
    lock.package
        .into_iter()
        .map(|package| {
            let origin = match &package.source {
                None => Origin::Index(None),
                Some(source) => match source.kind.as_deref() {
                    None | Some("legacy") => Origin::Index(Some(plain(&source.url))),
                    Some("directory" | "file") => Origin::Local(plain(&source.url)),
                    Some(_) => Origin::Elsewhere(plain(&source.url)),
                },
            };
            let files = match package.files.is_empty() {
                true => elsewhere.get(&package.name).cloned().unwrap_or_default(),
                false => package.files,
            };
            let files = files.into_iter().map(|file| {
                let sha256 = digest(&file.hash).map(str::to_owned);
                Named {
                    filename: Some(file.file),
                    sha256,
                    url: None,
                }
            });
            entry(&package.name, Some(&package.version), origin, files)
        })
        .collect()
}

#[derive(Deserialize)]
struct PipfileLock {
    #[serde(default)]
    default: BTreeMap<String, PipfilePackage>,
    #[serde(default)]
    develop: BTreeMap<String, PipfilePackage>,
}

#[derive(Deserialize)]
struct PipfilePackage {
    version: Option<String>,
    #[serde(default)]
    hashes: Vec<String>,
    git: Option<String>,
    file: Option<String>,
    path: Option<String>,
}

pub(super) fn pipenv(text: &str) -> Result<Vec<Entry>, Rejection> {
    let lock: PipfileLock =
        serde_json::from_str(text).map_err(|error| malformed(error.to_string()))?;
    lock.default
        .into_iter()
        .chain(lock.develop)
        .map(|(name, package)| {
            let past = package.git.as_ref().or(package.file.as_ref());
            let origin = match (past, &package.path) {
                (Some(place), _) => Origin::Elsewhere(plain(place)),
                (None, Some(path)) => Origin::Local(plain(path)),
                (None, None) => Origin::Index(None),
            };
            let pinned = package.version.as_deref().map(|version| {
                version
                    .strip_prefix("===")
                    .or_else(|| version.strip_prefix("=="))
                    .unwrap_or(version)
                    .trim()
            });
            let files = package.hashes.iter().map(|hash| Named {
                sha256: digest(hash).map(str::to_owned),
                ..Named::default()
            });
            entry(&name, pinned, origin, files)
        })
        .collect()
}
