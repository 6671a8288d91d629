//! A wheel held against the sdist of its release: what a wheel brings that its sources do not have was put there by whoever built
//! it, and nobody who reads the sources sees it.

use std::collections::BTreeMap;

use countersign_formats::Ecosystem;

use super::{ScanFinding, Traits, shortened};

/// Distributions of more modules are not compared.
const MOST: usize = 2_000;
/// So much of a SHA-256 is remembered, in characters of hex. Whoever finds two modules that are alike in it gains nothing but that a
/// hint is missing.
const REMEMBERED: usize = 20;
/// The longest path that is remembered, in characters.
const LONGEST: usize = 120;
/// So many modules are named.
const NAMED: usize = 5;
/// Shown to operators, and never enough to withhold: there are build steps that write modules.
const SCORE: u32 = 40;

/// The modules of a distribution, while it is read.
pub(super) struct Modules {
    wanted: bool,
    found: BTreeMap<String, String>,
}

impl Modules {
    pub(super) fn new(ecosystem: Ecosystem) -> Self {
        Self {
            wanted: ecosystem == Ecosystem::Pypi,
            found: BTreeMap::new(),
        }
    }

    /// Learns of a member of code.
    pub(super) fn note(&mut self, path: &str, length: usize, sha256: &str) {
        let python = [".py", ".pyw", ".pth"]
            .iter()
            .any(|ending| path.ends_with(ending));
        // Installers write the first line of scripts anew, and so do builders of wheels.
        let script = path.contains(".data/scripts/");
        if !self.wanted || !python || script || length == 0 {
            return;
        }
        let digest = sha256.get(..REMEMBERED).unwrap_or(sha256);
        let path = path.chars().take(LONGEST).collect();
        self.found.insert(digest.to_owned(), path);
        if self.found.len() > MOST {
            self.found.clear();
            self.wanted = false;
        }
    }

    pub(super) fn all(self) -> BTreeMap<String, String> {
        self.found
    }
}

/// What a wheel has of modules that the sdist of its release has not; none where either is not known.
pub fn beside_source(wheel: &Traits, sdist: &Traits) -> Option<ScanFinding> {
    // Sources without a module are those of a generator, or were too many.
    if sdist.modules.is_empty() {
        return None;
    }
    let other: Vec<&str> = wheel
        .modules
        .iter()
        .filter(|(digest, _)| !sdist.modules.contains_key(*digest))
        .map(|(_, path)| path.as_str())
        .collect();
    let first = other.first()?;
    let mut named = other
        .iter()
        .take(NAMED)
        .copied()
        .collect::<Vec<_>>()
        .join("; ");
    if other.len() > NAMED {
        named.push_str(&format!(" and {} more", other.len() - NAMED));
    }
    Some(ScanFinding {
        rule: "differs-from-source".to_owned(),
        title: "Modules in the wheel that the sdist of this release does not have".to_owned(),
        score: SCORE,
        path: (*first).to_owned(),
        line: 0,
        offset: 0,
        snippet: shortened(&named),
        sha256: String::new(),
    })
}
