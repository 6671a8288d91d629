//! Auditing a whole log: every entry is read, every tile and the root recomputed, and the promises that a registry makes
//! about its entries are checked. And showing entries, each held against the signed root first.
//!
//! [`scan`](self) reads bundles with several threads, each of which hashes and parses what it read; one thread puts the
//! results together in their order. What is kept of an entry is a few bytes ([`promises`]), and the progress is written
//! down ([`progress`]), so that an audit goes on where one was cut off, and the next one reads only what is new. Belief
//! comes at the end alone: from the root over everything, those parts included, that the log signed.

mod map;
mod progress;
mod promises;
mod scan;
mod service;
mod show;
mod source;
mod table;

use std::time::Instant;

use countersign_trust::checkpoint::VerifiedCheckpoint;
use serde::Serialize;

pub use map::MapAudited;
pub use service::{ServiceAudited, audit_service};
pub use show::{Entry, Which, entries, published};
pub use source::Source;

use crate::failure::{Exit, Failure, Result};
use crate::trusted::{Pinned, Seen};

use self::map::MapCheck;
use self::progress::Progress;

/// Logs above this many entries are for a monitor with a database, not for one pass in memory.
const MOST_ENTRIES: u64 = 200_000_000;

/// What an audit found when all is well.
#[derive(Debug, Serialize)]
pub struct Audited {
    /// The log.
    pub origin: String,
    /// Number of entries.
    pub size: u64,
    /// Merkle root, hex.
    pub root: String,
    /// Entries that bind a file to a digest.
    pub files: u64,
    /// Projects that entries are about.
    pub projects: u64,
    /// Entries of kinds that this version does not know.
    pub skipped: u64,
    /// The newest map that the log commits to, made again from the entries.
    pub map: MapAudited,
    /// Size of the checkpoint that was seen last time and that this log continues.
    pub continues: Option<u64>,
    /// How many entries an earlier audit on this machine had read already.
    pub read_before: u64,
    /// How long it took, in seconds.
    pub seconds: f64,
}

/// How to audit.
#[derive(Clone, Copy, Debug, Default)]
pub struct Options {
    /// Read everything again, also what an earlier audit has read.
    pub full: bool,
    /// How many threads read; by default as many as suits the source.
    pub threads: Option<usize>,
}

/// Fetches and verifies the newest checkpoint, and holds it against the one seen last.
///
/// # Errors
/// Exit 3 for a signature that is wrong, a log that shrank, or two roots for one size (both are kept as evidence).
pub fn newest(
    pinned: &Pinned,
    source: &Source,
    seen: &Seen,
) -> Result<(Vec<u8>, VerifiedCheckpoint, Option<VerifiedCheckpoint>)> {
    let note = source.checkpoint()?;
    let checkpoint = pinned.open_checkpoint(&note)?;
    let last = seen.last(pinned)?;
    if let Some(last) = &last {
        let contradiction = if checkpoint.size() < last.size() && !source.may_lag() {
            Some((
                "rolled-back",
                format!(
                    "it has {} entries, and you have seen it with {}",
                    checkpoint.size(),
                    last.size()
                ),
            ))
        } else if checkpoint.size() == last.size() && checkpoint.root() != last.root() {
            Some((
                "forked",
                format!(
                    "it signed two roots for {} entries: {} and {}",
                    last.size(),
                    last.root(),
                    checkpoint.root()
                ),
            ))
        } else {
            None
        };
        if let Some((code, why)) = contradiction {
            let kept = seen.keep_evidence(&note)?;
            return Err(Failure::unverified(
                code,
                format!("The log {} contradicts itself: {why}.", pinned.origin),
            )
            .remedy(format!(
                "Its signed contradiction is kept in {}. Show it to others who use this registry.",
                kept.display()
            )));
        }
    }
    Ok((note, checkpoint, last))
}

/// Holds a checkpoint that came with something else against the one seen last, and remembers the newer one. An older one
/// does where the one seen last continues it: what is asked for may come from a cache.
///
/// # Errors
/// Exit 3 for a signature that is wrong, or two trees of which none continues the other (kept as evidence).
pub fn follow(
    pinned: &Pinned,
    source: &Source,
    seen: &Seen,
    note: &[u8],
) -> Result<VerifiedCheckpoint> {
    let checkpoint = pinned.open_checkpoint(note)?;
    let last = seen.last(pinned)?;
    match &last {
        Some(last) if last.size() == checkpoint.size() => {
            if last.root() != checkpoint.root() {
                let kept = seen.keep_evidence(note)?;
                return Err(Failure::unverified(
                    "forked",
                    format!(
                        "The log {} contradicts itself: it signed two roots for {} entries.",
                        pinned.origin,
                        last.size()
                    ),
                )
                .remedy(format!(
                    "Its signed contradiction is kept in {}. Show it to others who use this registry.",
                    kept.display()
                )));
            }
        }
        Some(last) if last.size() > checkpoint.size() => {
            show::continues(pinned, source, seen, &checkpoint, last, note)?;
        }
        Some(last) => {
            show::continues(pinned, source, seen, last, &checkpoint, note)?;
            seen.remember(note)?;
        }
        None => seen.remember(note)?,
    }
    Ok(checkpoint)
}

/// Audits the log. `tell` is told how many of how many entries were checked.
///
/// # Errors
/// Exit 3 with the first thing that does not hold; exit 5 where the log can not be read to its end. In that case what was
/// read is remembered, and the next audit goes on from there.
pub fn audit(
    pinned: &Pinned,
    source: &Source,
    seen: &Seen,
    options: Options,
    tell: &dyn Fn(u64, u64),
) -> Result<Audited> {
    let began = Instant::now();
    let (note, checkpoint, last) = newest(pinned, source, seen)?;
    let size = checkpoint.size();
    if size > MOST_ENTRIES {
        return Err(Failure::new(
            Exit::Environment,
            "log-too-long",
            format!("The log has {size} entries, more than one pass in memory can hold."),
        ));
    }
    let older = last.as_ref().is_some_and(|last| last.size() > size);
    let last = last.filter(|last| last.size() <= size);
    if let Some(last) = &last {
        show::continues(pinned, source, seen, last, &checkpoint, &note)?;
    }
    let place = Progress::place(&pinned.origin)?;
    let mut progress = if options.full {
        Progress::default()
    } else {
        Progress::load(&place, &pinned.origin, size)
    };
    let mut map = MapCheck::open(&place, &progress.promises)?;
    if map.is_none() {
        progress = Progress::default();
        map = MapCheck::open(&place, &progress.promises)?;
    }
    // With nothing read there is nothing to be lost.
    let mut map = map.ok_or_else(|| {
        Failure::new(
            Exit::Environment,
            "audit-progress",
            "The audit's file of the map is lost.",
        )
    })?;
    map.look(source, size, &progress.promises);
    let read_before = progress.position();
    let outcome = scan::scan(
        source,
        &mut progress,
        &mut map,
        size,
        options.threads,
        tell,
        &mut |progress| progress.save(&place, &pinned.origin),
    );
    let outcome = outcome.and_then(|root| {
        if root == checkpoint.root() {
            return Ok(());
        }
        Err(Failure::unverified(
            "root",
            format!(
                "The entries of {} have the root {root}, its checkpoint says {}.",
                pinned.origin,
                checkpoint.root()
            ),
        ))
    });
    if let Err(failure) = outcome {
        if failure.exit != Exit::Verification {
            return Err(failure);
        }
        // What was read may be a part of what does not hold.
        Progress::forget(&place);
        return Err(match (read_before, &failure.remedy) {
            (1.., None) => failure.remedy(format!(
                "{read_before} entries were read by an earlier audit; the next one reads everything again."
            )),
            _ => failure,
        });
    }
    if !older {
        seen.remember(&note)?;
    }
    Ok(Audited {
        origin: pinned.origin.clone(),
        size,
        root: checkpoint.root().to_hex(),
        files: progress.promises.files(),
        projects: progress.promises.projects(),
        skipped: progress.promises.skipped(),
        map: map.outcome(),
        continues: last.map(|last| last.size()),
        read_before,
        seconds: began.elapsed().as_secs_f64(),
    })
}
