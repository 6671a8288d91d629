//! `Cargo.lock`.

use serde::Deserialize;

use super::{Digest, Entry, LockedFile, Origin, is_hex, malformed, plain, read_toml};
use crate::cargo::inspect::filename;
use crate::cargo::{name, version};
use crate::rejection::quoted;
use crate::{Ecosystem, Rejection};

#[derive(Deserialize)]
struct CargoLock {
    version: Option<u64>,
    #[serde(default)]
    package: Vec<Package>,
}

#[derive(Deserialize)]
struct Package {
    name: String,
    version: String,
    source: Option<String>,
    checksum: Option<String>,
}

pub(super) fn lock(text: &str) -> Result<Vec<Entry>, Rejection> {
    let lock: CargoLock = read_toml(text)?;
    if lock
        .version
        .is_some_and(|version| !(1..=4).contains(&version))
    {
        return Err(malformed(format!(
            "it is of version {}; known are 1 to 4",
            lock.version.unwrap_or_default()
        )));
    }
    lock.package.into_iter().map(entry).collect()
}

fn entry(package: Package) -> Result<Entry, Rejection> {
    let of = |why: String| malformed(format!("package {}: {why}", quoted(&package.name)));
    let name_key = name::key(&package.name).map_err(|refused| of(refused.message))?;
    let version = version::parse(&package.version).map_err(|refused| of(refused.message))?;
    let origin = match package.source.as_deref() {
        None => Origin::Local("the workspace".to_owned()),
        Some(source) if source.starts_with("registry+") || source.starts_with("sparse+") => {
            let (_, address) = source.split_once('+').unwrap_or_default();
            Origin::Index(Some(plain(address)))
        }
        Some(source) => Origin::Elsewhere(plain(source)),
    };
    let files = match &package.checksum {
        None => Vec::new(),
        Some(checksum) if is_hex(checksum, 32) => vec![LockedFile {
            filename: Some(filename(&package.name, &package.version)),
            digest: Digest::Sha256(checksum.clone()),
            url: None,
        }],
        Some(checksum) => return Err(of(format!("{} is no SHA-256", quoted(checksum)))),
    };
    Ok(Entry {
        ecosystem: Ecosystem::Cargo,
        name_key,
        version: Some(version.canonical().to_owned()),
        origin,
        unhashed: files.is_empty(),
        files,
        undigested: false,
    })
}
