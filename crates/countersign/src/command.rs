//! What the commands share: output, the trust file's place, and the registry that is meant.

pub mod assess;
pub mod audit;
pub mod bundle;
pub mod entry;
pub mod fix;
pub mod install_check;
mod interrupt;
pub mod monitor;
pub mod org;
pub mod owner;
mod person;
pub mod policy;
pub mod proxy;
pub mod publish;
pub mod publisher;
pub mod report;
pub mod sbom;
pub mod session;
pub mod token;
pub mod tuf;
pub mod verify;
pub mod witness;

use std::io::{Read, Write};
use std::path::PathBuf;

use countersign::ci::variable;
use countersign::indices::Indices;
use countersign::login::{self, Credential, Logins};
use countersign::remote::Remote;
use countersign::trusted::{self, Pinned, TrustFile};
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

/// Where notes for people go: standard error. With `--json` each line there is JSON too, but for the commands to a
/// runner.
pub fn notes(common: &Common) -> impl Fn(&str) + use<> {
    let json = common.json;
    move |text: &str| {
        if json {
            eprintln!("{}", serde_json::json!({"note": text}));
        } else {
            eprintln!("{text}");
        }
    }
}

/// The user's credential at a registry: the variable, or else the login that is kept for it.
pub fn credential(url: &Url) -> Result<Option<Credential>, Failure> {
    if let Some(token) = variable(login::VARIABLE) {
        return Ok(Some(Credential {
            token,
            from: login::Whence::Variable,
        }));
    }
    let logins = Logins::load(&login::default_path()?)?;
    Ok(logins.at(url).map(login::Login::credential))
}

/// A registry that is read: the token of the variable is sent along, a login only once the registry asks for one.
pub fn remote(common: &Common, url: &Url) -> Result<Remote, Failure> {
    let ca = authorities(common)?;
    match variable(login::VARIABLE) {
        Some(token) => Remote::new(url, Some(token), ca.as_deref()),
        None => {
            let login = credential(url)?.map(|credential| credential.token);
            Ok(Remote::new(url, None, ca.as_deref())?.with_login(login))
        }
    }
}

/// The indices that a pinned registry signs.
pub fn indices(common: &Common, pinned: &Pinned) -> Result<Indices, Failure> {
    let token = credential(&pinned.url)?.map(|credential| credential.token);
    Indices::of(pinned, token, authorities(common)?.as_deref())
}

/// The registry to publish to and to manage: the one that is named, pinned or not, or the only one that is pinned, or
/// the only one with a login.
pub fn meant(common: &Common, trust: &TrustFile) -> Result<Url, Failure> {
    let Some(url) = &common.registry else {
        let failure = match trust.registry(None) {
            Ok(pinned) => return Ok(pinned.url.clone()),
            Err(failure) => failure,
        };
        let logins = Logins::load(&login::default_path()?)?;
        return match logins.only() {
            Some(login) if trust.registries.is_empty() => Ok(login.url.clone()),
            _ => Err(failure.remedy("Name it with --registry URL, or in COUNTERSIGN_REGISTRY.")),
        };
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
