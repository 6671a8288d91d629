//! npm's, pnpm's and both of Yarn's.

use std::collections::BTreeMap;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::Deserialize;
use serde::de::{self, MapAccess, Visitor};

use super::yaml::{self, Node};
use super::{Digest, Entry, LockedFile, MAX_ENTRIES, Origin, malformed, plain};
use crate::npm::name::PackageName;
use crate::npm::version;
use crate::rejection::quoted;
use crate::{Ecosystem, Rejection};

/// The SHA-512 of an integrity (SRI), in hex. Of several digests the first of that kind counts.
fn sha512(integrity: &str) -> Option<String> {
    let mut parts = integrity.split_ascii_whitespace();
    let digest = parts.find_map(|part| part.strip_prefix("sha512-"))?;
    let digest = digest.split('?').next()?;
    let bytes = STANDARD.decode(digest).ok()?;
    (bytes.len() == 64).then(|| bytes.iter().map(|byte| format!("{byte:02x}")).collect())
}

/// Is this where a registry has the tarball of this package and version? Then its address.
fn registry_of(address: &str, name: &PackageName, version: &str) -> Option<String> {
    let bare = address.split(['#', '?']).next()?;
    if !bare.starts_with("https://") && !bare.starts_with("http://") {
        return None;
    }
    let decoded = bare
        .replace("%2f", "/")
        .replace("%2F", "/")
        .replace("%40", "@");
    let registry = decoded.strip_suffix(&name.tarball_path(version));
    // Some registries write the scope a second time, before the tarball's name.
    let scoped = || {
        let scope = name.scope()?;
        let twice = format!("{name}/-/{scope}/{}", name.tarball(version));
        decoded.strip_suffix(&twice)
    };
    registry.or_else(scoped).map(plain)
}

fn entry(
    written: &str,
    version: Option<&str>,
    origin: Origin,
    integrity: Option<&str>,
) -> Result<Entry, Rejection> {
    let of = |why: String| malformed(format!("package {}: {why}", quoted(written)));
    let name = PackageName::parse(written).map_err(|refused| of(refused.message))?;
    let version = match version {
        Some(text) => match version::parse(text) {
            Ok(version) => Some(version.canonical().to_owned()),
            // What is past a registry may call itself as it likes.
            Err(_) if !matches!(origin, Origin::Index(_)) => None,
            Err(refused) => return Err(of(refused.message)),
        },
        None if matches!(origin, Origin::Index(_)) => {
            return Err(of("it has no version".to_owned()));
        }
        None => None,
    };
    let files: Vec<LockedFile> = integrity
        .and_then(sha512)
        .map(|hex| LockedFile {
            filename: version.as_deref().map(|version| name.tarball(version)),
            digest: Digest::Sha512(hex),
            url: None,
        })
        .into_iter()
        .collect();
    Ok(Entry {
        ecosystem: Ecosystem::Npm,
        name_key: name.key(),
        version,
        origin,
        unhashed: files.is_empty(),
        files,
        undigested: false,
    })
}

// ---- package-lock.json ----

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct PackageLock {
    lockfile_version: u64,
    #[serde(default)]
    packages: Packages,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Package {
    name: Option<String>,
    version: Option<String>,
    resolved: Option<Resolved>,
    integrity: Option<String>,
    #[serde(default)]
    link: bool,
    #[serde(default)]
    in_bundle: bool,
}

/// npm writes `false` for some links.
#[derive(Deserialize)]
#[serde(untagged)]
enum Resolved {
    Address(String),
    Other(de::IgnoredAny),
}

/// In the order of the file, none twice.
#[derive(Default)]
struct Packages(Vec<(String, Package)>);

impl<'de> Deserialize<'de> for Packages {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct InOrder;
        impl<'de> Visitor<'de> for InOrder {
            type Value = Packages;

            fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str("packages")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Packages, A::Error> {
                let mut seen = std::collections::HashSet::new();
                let mut packages = Vec::new();
                while let Some(entry) = map.next_entry::<String, Package>()? {
                    if packages.len() > MAX_ENTRIES {
                        return Err(de::Error::custom("it has too many packages"));
                    }
                    if !seen.insert(entry.0.clone()) {
                        return Err(de::Error::custom("it has a place twice"));
                    }
                    packages.push(entry);
                }
                Ok(Packages(packages))
            }
        }
        deserializer.deserialize_map(InOrder)
    }
}

pub(super) fn package_lock(text: &str) -> Result<Vec<Entry>, Rejection> {
    let lock: PackageLock =
        serde_json::from_str(text).map_err(|error| malformed(error.to_string()))?;
    if !(2..=3).contains(&lock.lockfile_version) {
        return Err(malformed(format!(
            "it is of the form {}; known are 2 and 3",
            lock.lockfile_version
        ))
        .with_remedy(
            "npm 7 and later write it: npm install --package-lock-only --lockfile-version 3",
        ));
    }
    let mut entries = Vec::new();
    for (place, package) in lock.packages.0 {
        let named = place.rsplit_once("node_modules/").map(|(_, name)| name);
        // The project itself and its workspaces; their names may be anything.
        let Some(named) = named else { continue };
        let name = package.name.as_deref().unwrap_or(named);
        let resolved = match &package.resolved {
            Some(Resolved::Address(address)) => Some(address.as_str()),
            Some(Resolved::Other(_)) | None => None,
        };
        let origin = match resolved {
            _ if package.link => Origin::Local(plain(resolved.unwrap_or(&place))),
            None if package.in_bundle => {
                Origin::Local(format!("in the tarball of {}", plain(&place)))
            }
            Some(file) if file.starts_with("file:") => Origin::Local(plain(file)),
            None => Origin::Index(None),
            Some(address) => {
                let registry = PackageName::parse(name).ok().and_then(|name| {
                    registry_of(
                        address,
                        &name,
                        package.version.as_deref().unwrap_or_default(),
                    )
                });
                match registry {
                    Some(registry) => Origin::Index(Some(registry)),
                    None => Origin::Elsewhere(plain(address)),
                }
            }
        };
        let integrity = package.integrity.as_deref();
        entries.push(entry(name, package.version.as_deref(), origin, integrity)?);
    }
    Ok(entries)
}

// ---- pnpm-lock.yaml ----

pub(super) fn pnpm(text: &str) -> Result<Vec<Entry>, Rejection> {
    let lock = yaml::parse(text).map_err(malformed)?;
    let form = lock.text("lockfileVersion").unwrap_or_default();
    let major = form.split('.').next().unwrap_or_default();
    if !["6", "9"].contains(&major) {
        return Err(malformed(format!(
            "it is of the form {}; known are 6 and 9",
            quoted(form)
        )));
    }
    let none = BTreeMap::new();
    let packages = lock.get("packages").and_then(Node::map).unwrap_or(&none);
    packages
        .iter()
        .map(|(key, package)| {
            // `/name@1.0.0(peer@2.0.0)` in form 6, `name@1.0.0` in form 9.
            let bare = key.strip_prefix('/').unwrap_or(key);
            let bare = bare.split_once('(').map_or(bare, |(bare, _)| bare);
            let at = bare.char_indices().skip(1).find(|(_, c)| *c == '@');
            let (name, version) = match at {
                Some((at, _)) => (&bare[..at], Some(&bare[at + 1..])),
                None => (bare, None),
            };
            let name = package.text("name").unwrap_or(name);
            let version = package.text("version").or(version);
            let resolution = package.get("resolution");
            let said = |key: &str| resolution.and_then(|resolution| resolution.text(key));
            let plainly = version.is_some_and(|version| version::parse(version).is_ok());
            let origin = match (said("tarball"), said("directory"), said("repo")) {
                (_, Some(folder), _) => Origin::Local(plain(folder)),
                (_, _, Some(repository)) => Origin::Elsewhere(format!(
                    "{}#{}",
                    plain(repository),
                    plain(said("commit").unwrap_or_default())
                )),
                (Some(file), ..) if file.starts_with("file:") => Origin::Local(plain(file)),
                (Some(address), ..) => {
                    let registry = PackageName::parse(name)
                        .ok()
                        .and_then(|name| registry_of(address, &name, version.unwrap_or_default()));
                    match registry {
                        Some(registry) => Origin::Index(Some(registry)),
                        None => Origin::Elsewhere(plain(address)),
                    }
                }
                (None, None, None) if plainly => Origin::Index(None),
                (None, None, None) => Origin::Elsewhere(plain(version.unwrap_or(key))),
            };
            entry(name, version, origin, said("integrity"))
        })
        .collect()
}

// ---- yarn.lock ----

pub(super) fn berry(text: &str) -> Result<Vec<Entry>, Rejection> {
    let lock = yaml::parse(text).map_err(malformed)?;
    let none = BTreeMap::new();
    let mut entries = Vec::new();
    for (key, package) in lock.map().unwrap_or(&none) {
        if key == "__metadata" {
            continue;
        }
        let resolution = package
            .text("resolution")
            .ok_or_else(|| malformed(format!("package {}: it has no resolution", quoted(key))))?;
        let at = resolution.char_indices().skip(1).find(|(_, c)| *c == '@');
        let (name, from) = match at {
            Some((at, _)) => (&resolution[..at], &resolution[at + 1..]),
            None => {
                return Err(malformed(format!(
                    "{} is no resolution",
                    quoted(resolution)
                )));
            }
        };
        // `npm:1.0.0`, or with the address of a tarball that is not where registries have it.
        let origin = match from.split_once(':') {
            Some(("npm", rest)) if !rest.contains("::") => Origin::Index(None),
            Some(("workspace" | "link" | "portal" | "file", rest)) => Origin::Local(plain(rest)),
            // A patch of Yarn's own or of the project, over what stands in an entry of its own.
            Some(("patch", rest)) => Origin::Local(format!("a patch of {}", plain(rest))),
            _ => Origin::Elsewhere(plain(from)),
        };
        let version = package.text("version");
        let mut read = entry(name, version, origin, None)?;
        // Its checksum is of the archive that Yarn packs of what it fetched.
        read.undigested = package.text("checksum").is_some();
        entries.push(read);
    }
    Ok(entries)
}

#[derive(Default)]
struct Block<'a> {
    line: usize,
    heads: &'a str,
    version: Option<&'a str>,
    resolved: Option<&'a str>,
    integrity: Option<&'a str>,
}

pub(super) fn classic(text: &str) -> Result<Vec<Entry>, Rejection> {
    let mut blocks: Vec<Block<'_>> = Vec::new();
    for (at, raw) in text.lines().enumerate() {
        let line = raw.trim_end();
        if line.trim_start().is_empty() || line.trim_start().starts_with('#') {
            continue;
        }
        let refuse = |why: &str| malformed(format!("line {}: {why}", at + 1));
        let indent = line.len() - line.trim_start_matches(' ').len();
        if indent == 0 {
            let heads = line
                .strip_suffix(':')
                .ok_or_else(|| refuse("it is no beginning of a package"))?;
            if blocks.len() >= MAX_ENTRIES {
                return Err(malformed(format!("it has more than {MAX_ENTRIES} entries")));
            }
            blocks.push(Block {
                line: at + 1,
                heads,
                ..Block::default()
            });
            continue;
        }
        let block = blocks
            .last_mut()
            .ok_or_else(|| refuse("it belongs to no package"))?;
        if indent > 2 {
            continue;
        }
        let Some((key, value)) = line.trim_start().split_once(' ') else {
            continue;
        };
        let value = value.trim_matches('"');
        let slot = match key {
            "version" => &mut block.version,
            "resolved" => &mut block.resolved,
            "integrity" => &mut block.integrity,
            _ => continue,
        };
        if slot.replace(value).is_some() {
            return Err(refuse("it stands there twice"));
        }
    }
    blocks.iter().map(classic_entry).collect()
}

fn classic_entry(block: &Block<'_>) -> Result<Entry, Rejection> {
    let refuse = |why: &str| malformed(format!("line {}: {why}", block.line));
    let head = block.heads.split(", ").next().unwrap_or_default();
    let head = head.trim_matches('"');
    let at = head.char_indices().skip(1).find(|(_, c)| *c == '@');
    let (name, range) = match at {
        Some((at, _)) => (&head[..at], &head[at + 1..]),
        None => return Err(refuse("it names no range")),
    };
    // `alias@npm:real@^1.0.0`
    let name = match range.strip_prefix("npm:") {
        Some(real) => {
            let at = real.char_indices().skip(1).find(|(_, c)| *c == '@');
            at.map_or(real, |(at, _)| &real[..at])
        }
        None => name,
    };
    let version = block.version.ok_or_else(|| refuse("it has no version"))?;
    let origin = match block.resolved {
        None if range.starts_with("file:") || range.starts_with("link:") => {
            Origin::Local(plain(range))
        }
        None => Origin::Index(None),
        Some(file) if file.starts_with("file:") => Origin::Local(plain(file)),
        Some(address) => {
            let registry = PackageName::parse(name)
                .ok()
                .and_then(|name| registry_of(address, &name, version));
            match registry {
                Some(registry) => Origin::Index(Some(registry)),
                None => Origin::Elsewhere(plain(address)),
            }
        }
    };
    entry(name, Some(version), origin, block.integrity)
}
