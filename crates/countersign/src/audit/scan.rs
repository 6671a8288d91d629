//! Reading all bundles of a log, in their order, with several threads, or with the one that is there.

use std::sync::mpsc::{Receiver, sync_channel};
use std::thread;
use std::time::{Duration, Instant};

use countersign_trust::digest::Sha256;
use countersign_trust::tlog::{self, EntriesId, TileId};

use super::map::MapCheck;
use super::progress::Progress;
use super::promises::{self, Noted, broken};
use super::source::{Source, entries_of};
use crate::failure::{Exit, Failure, Result};

/// How many checked bundles each thread may be ahead.
const AHEAD: usize = 4;
/// How often the progress is written down.
const SAVED_EVERY: Duration = Duration::from_secs(30);
/// Entries of a whole bundle.
const BUNDLE: u64 = 256;

/// A bundle whose tile is what its entries make.
struct Checked {
    hashes: Vec<Sha256>,
    /// The root over it, if it is whole.
    root: Option<Sha256>,
    noted: Vec<Noted>,
}

/// Reads everything after `progress` up to `size` entries and gives the root of all of them. `save` is called from time
/// to time, and at the end of the whole bundles, with a progress from which one can go on.
pub(super) fn scan(
    source: &Source,
    progress: &mut Progress,
    map: &mut MapCheck,
    size: u64,
    threads: Option<usize>,
    tell: &dyn Fn(u64, u64),
    save: &mut dyn FnMut(&Progress) -> Result<()>,
) -> Result<Sha256> {
    let first = progress.position() / BUNDLE;
    let bundles = size.div_ceil(BUNDLE);
    let threads = threads.unwrap_or_else(|| source.threads()).clamp(1, 64);
    thread::scope(|scope| {
        // A second thread beside a single reader would only hand bundles from one to the other.
        let readers = if threads == 1 { 0 } else { threads };
        // Bundle n is read by thread n modulo their number, so that results are taken in turn and none waits for long.
        let queues: Vec<Receiver<Result<Checked>>> = (0..readers as u64)
            .map(|number| {
                let (send, receive) = sync_channel(AHEAD);
                scope.spawn(move || {
                    let mut bytes = Vec::new();
                    for bundle in (first + number..bundles).step_by(readers) {
                        let checked = check(source, bundle, size, &mut bytes);
                        let failed = checked.is_err();
                        // Nobody takes it: something failed elsewhere.
                        if send.send(checked).is_err() || failed {
                            return;
                        }
                    }
                });
                receive
            })
            .collect();
        let mut bytes = Vec::new();
        let mut next = |bundle: u64| match (bundle - first).checked_rem(readers as u64) {
            // A reader that ends without a word has panicked.
            Some(queue) => queues[queue as usize].recv().unwrap_or_else(|_| {
                let why = "A thread of the audit ended too early; this is a bug.";
                Err(Failure::new(Exit::Environment, "audit", why))
            }),
            None => check(source, bundle, size, &mut bytes),
        };
        let mut last = Vec::new();
        let mut saved = (progress.position(), Instant::now());
        for bundle in first..bundles {
            let checked = next(bundle);
            let whole = !matches!(&checked, Ok(Checked { root: None, .. }));
            let due = checked.is_err() || !whole || saved.1.elapsed() > SAVED_EVERY;
            // What is not whole yet is read again the next time, so the progress ends before it.
            if due && progress.position() > saved.0 {
                map.flush()?;
                save(progress)?;
                saved = (progress.position(), Instant::now());
            }
            let mut checked = checked?;
            let again = |index: u64| entry(source, index, size);
            progress.promises.foresee(&mut checked.noted);
            for (noted, hash) in checked.noted.iter().zip(&checked.hashes) {
                map.before(&mut progress.promises)?;
                map.passes(progress.promises.entries(), noted.map())?;
                progress.promises.take(noted, hash, &again)?;
                if let Some(entry) = noted.map_entry(*hash) {
                    map.push(entry)?;
                }
            }
            progress.promises.settle();
            match checked.root {
                Some(root) => {
                    for (id, row) in progress.push(root) {
                        same(source, id, &row)?;
                    }
                }
                None => last = checked.hashes,
            }
            tell(progress.position(), size);
        }
        for (id, row) in progress.edge(size) {
            same(source, id, row)?;
        }
        if progress.position().is_multiple_of(BUNDLE) && progress.position() > saved.0 {
            map.flush()?;
            save(progress)?;
        }
        progress
            .root(size, &last)
            .map_err(|error| Failure::unverified("tile", error.to_string()))
    })
}

/// Reads a bundle and its tile, hashes and parses. The bundle is read into `bytes`, whose memory serves for the next one too.
fn check(source: &Source, bundle: u64, size: u64, bytes: &mut Vec<u8>) -> Result<Checked> {
    let missing = || broken("bundle", bundle * BUNDLE, "the log has no such bundle");
    let id = EntriesId::in_log(bundle, size).ok_or_else(missing)?;
    source.bundle_into(id, bytes)?;
    let entries = entries_of(id, bytes)?;
    let hashes: Vec<Sha256> = tlog::leaf_hashes(&entries);
    let tile = TileId::in_tree(0, bundle, size).ok_or_else(missing)?;
    same(source, tile, &hashes)?;
    let whole = Some(&hashes).filter(|_| !tile.is_partial());
    Ok(Checked {
        root: whole.and_then(|hashes| tlog::row_root(hashes)),
        noted: promises::note(id.first_entry(), &entries)?,
        hashes,
    })
}

/// Every tile that the log serves must be what its entries make.
pub(super) fn same(source: &Source, id: TileId, made: &[Sha256]) -> Result<()> {
    let tile = source.tile(id)?;
    let (served, rest) = tile.as_chunks::<32>();
    let equal = |(served, made): (&[u8; 32], &Sha256)| *served == made.0;
    if rest.is_empty() && served.len() == made.len() && served.iter().zip(made).all(equal) {
        return Ok(());
    }
    Err(Failure::unverified(
        "tile",
        format!("The tile {} is not what the log's entries make.", id.path()),
    ))
}

/// One entry, read once more.
fn entry(source: &Source, index: u64, size: u64) -> Result<Vec<u8>> {
    let gone = || broken("bundle", index, "it is no longer there");
    let id = EntriesId::in_log(index / BUNDLE, size).ok_or_else(gone)?;
    let bytes = source.bundle(id)?;
    let entries = entries_of(id, &bytes)?;
    let entry = entries.get((index % BUNDLE) as usize).ok_or_else(gone)?;
    Ok(entry.to_vec())
}
