//! Real distributions of well-known projects, pinned in `corpus.txt` by file name and SHA-256, fetched once into the
//! target folder with pip's own machinery (`python/distributions.py`), never building or running what is fetched.

use std::io::{BufRead as _, BufReader};
use std::path::{Path, PathBuf};
use std::process::Stdio;

use anyhow::{Context, Result, bail};

use crate::clients::Clients;
use crate::machine::{lock, target_folder};

/// Which part of the corpus.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Corpus {
    /// About 24 files below 40 MB, native ones among them, for CI.
    Small,
    /// More than 200 files of more than 60 projects, about 400 MB.
    Whole,
}

/// One pinned file that is now on this machine.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RealDistribution {
    /// Where it is; its name is the pinned one.
    pub path: PathBuf,
    /// Lower-case hex, checked when it was fetched.
    pub sha256: String,
    /// In bytes.
    pub size: u64,
}

impl RealDistribution {
    /// Its file name.
    pub fn filename(&self) -> &str {
        self.path
            .file_name()
            .and_then(|name| name.to_str())
            .unwrap_or_default()
    }

    /// Whether it is a wheel rather than a source distribution.
    pub fn is_wheel(&self) -> bool {
        self.filename().ends_with(".whl")
    }

    /// Project name and version as the file name spells them.
    pub fn project_and_version(&self) -> (&str, &str) {
        let stem = self.filename().trim_end_matches(".tar.gz");
        if self.is_wheel() {
            let mut parts = stem.split('-');
            return (
                parts.next().unwrap_or_default(),
                parts.next().unwrap_or_default(),
            );
        }
        stem.rsplit_once('-').unwrap_or((stem, ""))
    }
}

/// Fetches what is missing of a corpus, saying each file on standard error, and returns all of it in the list's order
/// (by project, newer release first, wheel before source distribution).
pub fn real_distributions(corpus: Corpus) -> Result<Vec<RealDistribution>> {
    let manifest = Path::new(env!("CARGO_MANIFEST_DIR"));
    let list = manifest.join("corpus.txt");
    let folder = target_folder().join("corpus");
    let clients = Clients::get()?;
    let _lock = lock(&folder.join("lock"))?;
    let mut fetch = clients.script(&manifest.join("python/distributions.py"));
    fetch.arg("fetch").arg(&list).arg(&folder);
    if corpus == Corpus::Small {
        fetch.arg("ci");
    }
    let mut fetching = fetch
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .spawn()
        .context("cannot start the fetcher")?;
    let progress = fetching.stdout.take().context("its output was piped")?;
    for line in BufReader::new(progress).lines() {
        eprintln!("corpus: {}", line?);
    }
    let status = fetching.wait()?;
    if !status.success() {
        bail!(
            "the distributions listed in {} could not be fetched ({status}); see above",
            list.display()
        );
    }
    let text = std::fs::read_to_string(&list)?;
    Ok(pins(&text, corpus)
        .map(|(filename, sha256, size)| RealDistribution {
            path: folder.join(filename),
            sha256: sha256.into(),
            size,
        })
        .collect())
}

fn pins(list: &str, corpus: Corpus) -> impl Iterator<Item = (&str, &str, u64)> {
    list.lines().filter_map(move |line| {
        let mut words = line.split('#').next()?.split_whitespace();
        let pin = (words.next()?, words.next()?, words.next()?.parse().ok()?);
        (corpus == Corpus::Whole || words.any(|word| word == "ci")).then_some(pin)
    })
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use sha2::{Digest as _, Sha256};

    use super::*;

    #[test]
    fn the_list_is_as_large_as_promised() {
        let list = include_str!("../corpus.txt");
        let project = |filename: &str| {
            RealDistribution {
                path: filename.into(),
                sha256: String::new(),
                size: 0,
            }
            .project_and_version()
            .0
            .to_lowercase()
        };
        let whole: Vec<_> = pins(list, Corpus::Whole).collect();
        let projects: HashSet<_> = whole
            .iter()
            .map(|(filename, _, _)| project(filename))
            .collect();
        let native = whole
            .iter()
            .filter(|(name, _, _)| name.ends_with(".whl") && !name.ends_with("-any.whl"))
            .count();
        assert!(
            whole.len() >= 200 && projects.len() >= 60 && native >= 20,
            "{} {}",
            whole.len(),
            projects.len()
        );
        let small: Vec<_> = pins(list, Corpus::Small).collect();
        assert!((20..=30).contains(&small.len()), "{}", small.len());
        assert!(small.iter().map(|(_, _, size)| size).sum::<u64>() < 40_000_000);
    }

    #[test]
    fn the_small_set_is_fetched_with_its_pinned_digests() {
        for distribution in real_distributions(Corpus::Small).unwrap() {
            let bytes = std::fs::read(&distribution.path).unwrap();
            assert_eq!(
                hex::encode(Sha256::digest(&bytes)),
                distribution.sha256,
                "{}",
                distribution.filename()
            );
            assert_eq!(bytes.len() as u64, distribution.size);
        }
    }
}
