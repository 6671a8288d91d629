//! Entries, each proved against the signed root before it is shown; and that one signed tree continues another.

use std::collections::HashMap;

use countersign_trust::checkpoint::VerifiedCheckpoint;
use countersign_trust::digest::Sha256;
use countersign_trust::leaf::{self, LeafKind, ParsedLeaf};
use countersign_trust::proof::TlogProof;
use countersign_trust::tlog::{self, EntriesId, TileId};
use serde::Serialize;

use super::source::{Source, entries_of};
use crate::evidence;
use crate::failure::{Exit, Failure, Result};
use crate::remote::Remote;
use crate::trusted::{Pinned, Seen};

/// Checks that the tree of `now` continues that of `last`, from tiles alone.
///
/// # Errors
/// Exit 3 where it does not; the newer checkpoint is kept as evidence.
pub(super) fn continues(
    pinned: &Pinned,
    source: &Source,
    seen: &Seen,
    last: &VerifiedCheckpoint,
    now: &VerifiedCheckpoint,
    note: &[u8],
) -> Result<()> {
    // Everything continues the empty tree; two roots of one size were told apart before.
    if last.size() == 0 || last.size() == now.size() {
        return Ok(());
    }
    let mut reader = Reader::new(source, now.size());
    reader.load(tlog::tiles_needed_for_consistency(last.size(), now.size()))?;
    let proof =
        tlog::consistency_proof(last.size(), now.size(), &reader.tiles).map_err(tiles_failed)?;
    let held = tlog::verify_consistency(last.size(), last.root(), now.size(), now.root(), &proof);
    held.or_else(|error| {
        let kept = seen.keep_evidence(note)?;
        Err(Failure::unverified(
            "forked",
            format!(
                "The log {} is not the continuation of what you saw at {} entries: {error}.",
                pinned.origin,
                last.size()
            ),
        )
        .remedy(format!(
            "Its signed contradiction is kept in {}.",
            kept.display()
        )))
    })
}

/// One entry as shown, after it was held against the signed root.
#[derive(Debug, Serialize)]
pub struct Entry {
    /// Its index.
    pub index: u64,
    /// Its text.
    pub text: String,
}

/// Which entries are meant.
#[derive(Clone, Debug)]
pub enum Which {
    /// So many of the newest.
    Newest(u64),
    /// From this index on, so many.
    From(u64, u64),
    /// Those that publish these files: index and purl.
    Published(Vec<(u64, String)>),
}

/// Asks a registry where the file of a purl, or each file of a release, stands in its log. Not believed: it only says
/// where to look.
///
/// # Errors
/// Exit 2 for what names no file or release, exit 4 where the registry knows none.
pub fn published(remote: &Remote, purl: &str) -> Result<Vec<(u64, String)>> {
    if let Err(refused) = countersign_formats::purl::parse(purl) {
        return Err(Failure::new(
            Exit::Usage,
            "not-a-purl",
            format!(
                "{purl:?} is neither an index nor a purl: {}.",
                refused.message
            ),
        )
        .remedy("Name an entry's index, or what was published, as in pkg:pypi/thing@1.0"));
    }
    let evidence = evidence::Source::Registry(remote);
    let mut places = Vec::new();
    for file in evidence.files(purl)? {
        let Some(proof) = evidence.proof(&file.filename, &file.sha256)? else {
            continue;
        };
        let proof = TlogProof::parse(&proof)
            .map_err(|error| Failure::unverified("proof", format!("{}: {error}.", file.purl)))?;
        places.push((proof.index, file.purl));
    }
    if places.is_empty() {
        return Err(Failure::new(
            Exit::Refused,
            "not-published",
            format!("{} knows no published file of {purl}.", remote.site()),
        ));
    }
    places.sort_unstable();
    Ok(places)
}

/// Fetches entries of the newest log, each proved against the signed root.
///
/// # Errors
/// Exit 3 for an entry that is not in the signed tree, or that does not publish what it should; exit 2 for an index that
/// the log does not have.
pub fn entries(
    pinned: &Pinned,
    source: &Source,
    seen: &Seen,
    which: &Which,
) -> Result<(VerifiedCheckpoint, Vec<Entry>)> {
    let (note, checkpoint, last) = super::newest(pinned, source, seen)?;
    let size = checkpoint.size();
    if let Some(last) = last.as_ref().filter(|last| last.size() <= size) {
        continues(pinned, source, seen, last, &checkpoint, &note)?;
    }
    let wanted: Vec<(u64, Option<&str>)> = match which {
        Which::Newest(count) => (size.saturating_sub(*count)..size)
            .map(|index| (index, None))
            .collect(),
        Which::From(from, 1) => vec![(*from, None)],
        Which::From(from, count) => (*from..from.saturating_add(*count).min(size))
            .map(|index| (index, None))
            .collect(),
        Which::Published(places) => {
            let places = places.iter();
            places
                .map(|(index, purl)| (*index, Some(purl.as_str())))
                .collect()
        }
    };
    let mut reader = Reader::new(source, size);
    let mut shown = Vec::new();
    for (index, purl) in wanted {
        let entry = reader.entry(index)?;
        let proof = reader.inclusion(index)?;
        tlog::verify_inclusion(
            tlog::leaf_hash(&entry),
            index,
            size,
            &proof,
            checkpoint.root(),
        )
        .map_err(|error| {
            Failure::unverified(
                "inclusion",
                format!("Entry {index} is not in the signed log: {error}."),
            )
        })?;
        if let Some(purl) = purl.filter(|purl| !publishes(&entry, purl)) {
            return Err(Failure::unverified(
                "other-entry",
                format!("Entry {index} does not publish {purl}, though the registry says so."),
            ));
        }
        shown.push(Entry {
            index,
            text: String::from_utf8_lossy(&entry).into_owned(),
        });
    }
    if last.is_none_or(|last| last.size() <= size) {
        seen.remember(&note)?;
    }
    Ok((checkpoint, shown))
}

fn publishes(entry: &[u8], purl: &str) -> bool {
    let leaf = leaf::parse(entry).ok().and_then(ParsedLeaf::known);
    leaf.is_some_and(|leaf| {
        leaf.kind == LeafKind::FilePublished && leaf.subject.as_deref() == Some(purl)
    })
}

/// Reads tiles and bundles of one size of a log, each once.
struct Reader<'a> {
    source: &'a Source,
    size: u64,
    tiles: HashMap<TileId, Vec<u8>>,
    bundles: HashMap<u64, Vec<Vec<u8>>>,
}

impl<'a> Reader<'a> {
    fn new(source: &'a Source, size: u64) -> Self {
        Self {
            source,
            size,
            tiles: HashMap::new(),
            bundles: HashMap::new(),
        }
    }

    fn load(&mut self, needed: Vec<TileId>) -> Result<()> {
        for id in needed {
            if !self.tiles.contains_key(&id) {
                self.tiles.insert(id, self.source.tile(id)?);
            }
        }
        Ok(())
    }

    fn inclusion(&mut self, index: u64) -> Result<Vec<Sha256>> {
        self.load(tlog::tiles_needed_for_inclusion(index, self.size))?;
        tlog::inclusion_proof(index, self.size, &self.tiles).map_err(tiles_failed)
    }

    fn entry(&mut self, index: u64) -> Result<Vec<u8>> {
        let number = index / 256;
        let missing = || {
            Failure::new(
                Exit::Usage,
                "no-entry",
                format!("The log has no entry {index}."),
            )
        };
        if index >= self.size {
            return Err(missing());
        }
        if !self.bundles.contains_key(&number) {
            let id = EntriesId::in_log(number, self.size).ok_or_else(missing)?;
            let bundle = self.source.bundle(id)?;
            let entries = entries_of(id, &bundle)?
                .into_iter()
                .map(<[u8]>::to_vec)
                .collect();
            self.bundles.insert(number, entries);
        }
        let entry = self
            .bundles
            .get(&number)
            .and_then(|entries| entries.get((index % 256) as usize));
        entry
            .cloned()
            .ok_or_else(|| Failure::unverified("bundle", format!("The log has no entry {index}.")))
    }
}

fn tiles_failed(error: tlog::TileError) -> Failure {
    Failure::unverified("tile", format!("The log's tiles are not usable: {error}."))
}
