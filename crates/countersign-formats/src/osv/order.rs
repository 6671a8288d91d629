//! Places in the order of an ecosystem's versions.

use std::cmp::Ordering;
use std::str::FromStr;

use crate::{Ecosystem, Version, VersionOrder, npm};

use super::ecosystem_of;

/// The longest version that is compared, in bytes.
const MAX_VERSION: usize = 512;

/// A version's place. Only places of the same order are compared.
#[derive(Debug, Clone)]
pub struct Point(VersionOrder);

impl Point {
    /// The place of a version that is asked about. What a builder added to it does not count: `1.0+cu118` is `1.0`, and
    /// has its flaws.
    ///
    /// None where there is no order that is known for the ecosystem, or the text is no version of it.
    #[must_use]
    pub fn asked(ecosystem: &str, text: &str) -> Option<Self> {
        match Self::ecosystem(ecosystem, text)? {
            Self(VersionOrder::Pep440(version)) if version.is_local() => {
                Some(Self(VersionOrder::Pep440(version.without_local())))
            }
            point => Some(point),
        }
    }

    /// The place by the ecosystem's own order.
    #[must_use]
    pub fn ecosystem(ecosystem: &str, text: &str) -> Option<Self> {
        if text.len() > MAX_VERSION {
            return None;
        }
        match ecosystem_of(ecosystem)? {
            Ecosystem::Pypi => pep440_rs::Version::from_str(text)
                .ok()
                .filter(|_| text.is_ascii())
                .map(|version| Self(VersionOrder::Pep440(version))),
            Ecosystem::Npm => npm::version::parse(text)
                .map(Self::from)
                .ok()
                .or_else(|| Self::semver(text)),
            Ecosystem::Cargo => Self::semver(text),
        }
    }

    /// The place by Semantic Versioning, whatever the ecosystem. Advisories write `v1.2` and `1` too.
    #[must_use]
    pub fn semver(text: &str) -> Option<Self> {
        if text.len() > MAX_VERSION {
            return None;
        }
        let text = text.trim();
        let text = text.strip_prefix(['v', 'V']).unwrap_or(text);
        let version = semver::Version::parse(text).ok().or_else(|| {
            let end = text.find(['-', '+']).unwrap_or(text.len());
            let (numbers, rest) = text.split_at(end);
            let parts: Vec<&str> = numbers.split('.').collect();
            let number = |part: &str| part.parse::<u64>().ok();
            let (major, minor, patch) = match parts[..] {
                [major] => (number(major)?, 0, 0),
                [major, minor] => (number(major)?, number(minor)?, 0),
                [major, minor, patch] => (number(major)?, number(minor)?, number(patch)?),
                _ => return None,
            };
            semver::Version::parse(&format!("{major}.{minor}.{patch}{rest}")).ok()
        })?;
        Some(Self(VersionOrder::Semver(version)))
    }

    /// The order of two places; none where they are of different orders.
    #[must_use]
    pub fn compare(&self, other: &Self) -> Option<Ordering> {
        match (&self.0, &other.0) {
            (VersionOrder::Pep440(a), VersionOrder::Pep440(b)) => Some(a.cmp(b)),
            (VersionOrder::Semver(a), VersionOrder::Semver(b)) => Some(a.cmp_precedence(b)),
            _ => None,
        }
    }
}

impl From<Version> for Point {
    fn from(version: Version) -> Self {
        Self(version.order)
    }
}
