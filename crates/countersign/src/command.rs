//! What the commands share: output, the trust file's place, and the registry that is meant.

pub mod bundle;
mod interrupt;
pub mod publish;
pub mod publisher;

use std::io::{Read, Write};
use std::path::PathBuf;

use countersign::ci::variable;
use countersign::remote::Remote;
use countersign::trusted::{self, TrustFile};
use countersign::{Exit, Failure};
use url::Url;

use crate::cli::Common;

/// The most bytes of a file with certificates.
const MOST_AUTHORITIES: u64 = 1 << 20;

/// Prints a line; a reader that went away is no failure of ours.
pub fn line(text: &str) {
    let mut out = std::io::stdout().lock();
    if writeln!(out, "{text}").and_then(|()| out.flush()).is_err() {
        std::process::exit(0);
    }
}

/// Where the pins are.
pub fn trust_path(common: &Common) -> Result<PathBuf, Failure> {
    match &common.trust {
        Some(path) => Ok(path.clone()),
        None => trusted::default_path(),
    }
}

/// The certificates of `--ca`.
pub fn authorities(common: &Common) -> Result<Option<Vec<u8>>, Failure> {
    let Some(path) = &common.ca else {
        return Ok(None);
    };
    let unreadable = |why: String| {
        Failure::new(
            Exit::Usage,
            "ca-unusable",
            format!("{} can not be used: {why}.", path.display()),
        )
    };
    let file = std::fs::File::open(path).map_err(|error| unreadable(error.to_string()))?;
    let mut pem = Vec::new();
    file.take(MOST_AUTHORITIES + 1)
        .read_to_end(&mut pem)
        .map_err(|error| unreadable(error.to_string()))?;
    if pem.len() as u64 > MOST_AUTHORITIES {
        return Err(unreadable("it is too long for certificates".to_owned()));
    }
    Ok(Some(pem))
}

/// The user's token, if one is set.
pub fn stored_token() -> Option<String> {
    variable("COUNTERSIGN_TOKEN")
}

/// A registry, asked with the user's token if one is set.
pub fn remote(common: &Common, url: &Url) -> Result<Remote, Failure> {
    Remote::new(url, stored_token(), authorities(common)?.as_deref())
}

/// The registry to publish to and to manage: the one that is named, pinned or not, or the only one that is pinned.
pub fn meant(common: &Common, trust: &TrustFile) -> Result<Url, Failure> {
    let Some(url) = &common.registry else {
        let pinned = trust.registry(None).map_err(|failure| {
            failure.remedy("Name it with --registry URL, or in COUNTERSIGN_REGISTRY.")
        })?;
        return Ok(pinned.url.clone());
    };
    // The address that other clients publish to is as good: people copy it from there.
    let mut site = url.clone();
    let path = url.path().trim_end_matches('/');
    let path = path
        .strip_suffix("/pypi/legacy")
        .or_else(|| path.strip_suffix("/pypi/simple"))
        .unwrap_or(path)
        .to_owned();
    site.set_path(&path);
    site.set_query(None);
    site.set_fragment(None);
    Ok(site)
}
