//! Entries, each proved against the signed root before it is shown; and that one signed tree continues another.

use std::collections::HashMap;

use countersign_trust::checkpoint::VerifiedCheckpoint;
use countersign_trust::digest::Sha256;
use countersign_trust::tlog::{self, EntriesId, TileId};
use serde::Serialize;

use super::source::{Source, entries_of};
use crate::failure::{Exit, Failure, Result};
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

/// Fetches entries `from..to` of the newest log, each proved against the signed root.
///
/// # Errors
/// Exit 3 for an entry that is not in the signed tree.
pub fn entries(
    pinned: &Pinned,
    source: &Source,
    seen: &Seen,
    from: u64,
    count: u64,
) -> Result<(VerifiedCheckpoint, Vec<Entry>)> {
    let (note, checkpoint, last) = super::newest(pinned, source, seen)?;
    let size = checkpoint.size();
    if let Some(last) = last.as_ref().filter(|last| last.size() <= size) {
        continues(pinned, source, seen, last, &checkpoint, &note)?;
    }
    let mut reader = Reader::new(source, size);
    let mut shown = Vec::new();
    for index in from.min(size)..from.saturating_add(count).min(size) {
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
        if !self.bundles.contains_key(&number) {
            let id = EntriesId::in_log(number, self.size).ok_or_else(|| {
                Failure::new(
                    Exit::Usage,
                    "no-entry",
                    format!("The log has no entry {index}."),
                )
            })?;
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
