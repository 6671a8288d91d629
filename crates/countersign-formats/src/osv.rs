//! Advisories in the form of OSV (schema 1.7): what is known to be bad about which versions of a package.
//!
//! [`Record`] is one advisory. What this version does not know of it, such as new fields, types and ecosystems, is kept and
//! written back. [`Affected::judge`] says whether a version is meant, in three words: a version that can not be compared is
//! *unknown*, never *not affected*. [`Rating`] is the severity; a record without one is unrated, which is not zero. [`import`] reads
//! bulk data, [`Index`] finds what there is about a package.
//!
//! Names of ecosystems are OSV's own (`PyPI`, `crates.io`, `npm`), and text, since there are more than this registry serves.

pub mod import;
mod index;
mod judge;
mod order;
mod record;
mod semver_range;
mod severity;

pub use index::{Advisory, Builder, Finding, Index, Rule, Rules};
pub use judge::Verdict;
pub use order::Point;
pub use record::{
    Affected, Credit, Event, MAX_ID, MAX_RECORD, Package, Range, Record, Reference, Severity,
};
pub use severity::{Grade, Rating};

use crate::{Ecosystem, format};

/// The name by which OSV knows an ecosystem.
#[must_use]
pub const fn ecosystem_name(ecosystem: Ecosystem) -> &'static str {
    match ecosystem {
        Ecosystem::Pypi => "PyPI",
        Ecosystem::Cargo => "crates.io",
        Ecosystem::Npm => "npm",
    }
}

/// Which of ours an OSV name stands for, with or without what follows a colon (`Debian:12`).
#[must_use]
pub fn ecosystem_of(name: &str) -> Option<Ecosystem> {
    let base = base(name);
    Ecosystem::ALL
        .iter()
        .copied()
        .find(|ecosystem| ecosystem_name(*ecosystem) == base)
}

/// An ecosystem's name without what follows the colon: a release of a distribution, a repository.
fn base(name: &str) -> &str {
    name.split_once(':').map_or(name, |(base, _)| base)
}

/// Under what a package is found: spellings that its ecosystem holds for the same give the same text.
#[must_use]
pub fn package_key(ecosystem: &str, name: &str) -> String {
    let base = base(ecosystem);
    let name = match ecosystem_of(base) {
        // A name that the ecosystem would not take today may still stand in an old advisory.
        Some(known) => format(known)
            .name_key(name)
            .map_or_else(|_| name.to_owned(), |key| key.as_str().to_owned()),
        None if base == "NuGet" => name.to_ascii_lowercase(),
        None => name.to_owned(),
    };
    format!("{base}\u{1f}{name}")
}

#[cfg(test)]
mod tests;
