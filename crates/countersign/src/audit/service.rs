//! Auditing a log that is kept for a registry elsewhere, whose entries are whatever that registry sends: the tree, the
//! signatures that a policy asks for, that it only grew, and one digest for each identifier.

use std::collections::HashMap;
use std::time::Instant;

use countersign_trust::checkpoint::{self, VerifiedCheckpoint};
use countersign_trust::digest::Sha256;
use countersign_trust::entry::read_digest_entry;
use countersign_trust::policy::Policy;
use countersign_trust::tlog::{self, EntriesId, Frontier, TileId};
use serde::Serialize;

use super::promises::broken;
use super::scan::same;
use super::source::{Source, entries_of};
use crate::failure::{Exit, Failure, Result};
use crate::trusted::Seen;

/// Logs above this many entries are for a monitor with a database, not for one pass in memory.
const MOST_ENTRIES: u64 = 50_000_000;
/// Entries of a whole bundle.
const BUNDLE: u64 = 256;

/// What an audit of such a log found when all is well.
#[derive(Debug, Serialize)]
pub struct ServiceAudited {
    /// The log.
    pub origin: String,
    /// Number of entries.
    pub size: u64,
    /// Merkle root, hex.
    pub root: String,
    /// Entries that bind an identifier to a digest.
    pub identifiers: u64,
    /// Who cosigned, of the policy's witnesses.
    pub witnesses: Vec<String>,
    /// Size of the checkpoint that was seen last time and that this log continues.
    pub continues: Option<u64>,
    /// How long it took, in seconds.
    pub seconds: f64,
}

/// Opens the checkpoint seen last. It was believed before, perhaps under another policy: the log's signature is enough.
fn remembered(
    policy: &Policy,
    origin: &str,
    seen: &Seen,
    note: &[u8],
) -> Result<VerifiedCheckpoint> {
    let keys = policy.keys_for(origin).map_err(|error| error.to_string());
    keys.and_then(|keys| {
        checkpoint::open(note, &keys, origin).map_err(|error| error.to_string())
    })
    .map_err(|error| {
        Failure::unverified(
            "seen",
            format!("The checkpoint of {origin} that was seen here last does not hold: {error}."),
        )
        .remedy(format!(
            "It lies in {}. If this policy's log is not the one that you used before, move it away.",
            seen.path().display()
        ))
    })
}

/// Audits the one log of a policy. All of it is read each time. `tell` is told how many of how many entries were checked.
///
/// # Errors
/// Exit 3 with the first thing that does not hold; exit 5 where the log can not be read to its end.
pub fn audit_service(
    policy: &Policy,
    origin: &str,
    source: &Source,
    seen: &Seen,
    tell: &dyn Fn(u64, u64),
) -> Result<ServiceAudited> {
    let began = Instant::now();
    let note = source.checkpoint()?;
    let checkpoint = policy.open(&note, origin).map_err(|error| {
        Failure::unverified(
            "checkpoint",
            format!("The checkpoint of {origin} does not hold under the policy: {error}."),
        )
        .remedy("If the log's keys or witnesses changed, pin its new policy once you know why.")
    })?;
    let last = seen
        .note()?
        .map(|note| remembered(policy, origin, seen, &note));
    let last = last.transpose()?;
    let size = checkpoint.size();
    if size > MOST_ENTRIES {
        return Err(Failure::new(
            Exit::Environment,
            "log-too-long",
            format!("The log has {size} entries, more than one pass in memory can hold."),
        ));
    }
    let contradicts = |code: &'static str, why: String| -> Failure {
        let at = match seen.keep_evidence(&note) {
            Ok(path) => format!("is kept in {}", path.display()),
            Err(error) => format!("can not be kept ({error})"),
        };
        Failure::unverified(code, format!("The log {origin} contradicts itself: {why}.")).remedy(
            format!("Its signed contradiction {at}. Show it to others who use this log."),
        )
    };
    let older = last.as_ref().is_some_and(|last| last.size() > size);
    if let (Some(last), true, false) = (&last, older, source.may_lag()) {
        let why = format!(
            "it has {size} entries, and you have seen it with {}",
            last.size()
        );
        return Err(contradicts("rolled-back", why));
    }
    let last = last.filter(|last| last.size() <= size);
    let mut scan = Scan::default();
    for bundle in 0..size.div_ceil(BUNDLE) {
        scan.bundle(source, bundle, size, last.as_ref())?;
        tell(scan.tree.size(), size);
    }
    if let Some((at, root)) = &scan.then
        && let Some(last) = &last
        && *root != last.root()
    {
        let why = format!(
            "at {at} entries its root was {}, and is {root} now",
            last.root()
        );
        return Err(contradicts("forked", why));
    }
    if scan.tree.root() != checkpoint.root() {
        return Err(Failure::unverified(
            "root",
            format!(
                "The entries of {origin} have the root {}, its checkpoint says {}.",
                scan.tree.root(),
                checkpoint.root()
            ),
        ));
    }
    scan.upper_tiles(source, size)?;
    if !older {
        seen.remember(&note)?;
    }
    let witnesses = policy.witnesses_of(&checkpoint);
    Ok(ServiceAudited {
        origin: origin.to_owned(),
        size,
        root: checkpoint.root().to_hex(),
        identifiers: scan.identifiers.len() as u64,
        witnesses: witnesses.into_iter().map(str::to_owned).collect(),
        continues: last.map(|last| last.size()),
        seconds: began.elapsed().as_secs_f64(),
    })
}

/// What was read so far.
struct Scan {
    tree: Frontier,
    /// Roots of whole bundles: what the tiles above them are made of.
    roots: Vec<Sha256>,
    /// Digest of an identifier, with the index of its entry and what that said.
    identifiers: HashMap<Sha256, (u64, Sha256)>,
    /// The root at the size that was seen last time.
    then: Option<(u64, Sha256)>,
}

impl Default for Scan {
    fn default() -> Self {
        Self {
            tree: Frontier::empty(),
            roots: Vec::new(),
            identifiers: HashMap::new(),
            then: None,
        }
    }
}

impl Scan {
    fn bundle(
        &mut self,
        source: &Source,
        bundle: u64,
        size: u64,
        last: Option<&VerifiedCheckpoint>,
    ) -> Result<()> {
        let missing = || broken("bundle", bundle * BUNDLE, "the log has no such bundle");
        let id = EntriesId::in_log(bundle, size).ok_or_else(missing)?;
        let bytes = source.bundle(id)?;
        let entries = entries_of(id, &bytes)?;
        let hashes = tlog::leaf_hashes(&entries);
        for ((index, entry), hash) in (id.first_entry()..).zip(entries).zip(&hashes) {
            self.tree.append(*hash);
            if last.is_some_and(|last| last.size() == self.tree.size()) {
                self.then = Some((self.tree.size(), self.tree.root()));
            }
            if let Some((Some(identifier), digest)) = read_digest_entry(entry) {
                let known = Sha256::of(identifier.as_bytes());
                let (first, said) = *self.identifiers.entry(known).or_insert((index, digest));
                if said != digest {
                    return Err(Failure::unverified(
                        "identifier-twice",
                        format!(
                            "Entry {index} gives {} another digest than entry {first} does.",
                            crate::failure::plain(identifier)
                        ),
                    ));
                }
            }
        }
        let tile = TileId::in_tree(0, bundle, size).ok_or_else(missing)?;
        same(source, tile, &hashes)?;
        if !tile.is_partial() {
            self.roots.extend(tlog::row_root(&hashes));
        }
        Ok(())
    }

    /// The tiles above the lowest ones are what these make.
    fn upper_tiles(&self, source: &Source, size: u64) -> Result<()> {
        let mut row = self.roots.clone();
        for level in 1_u8..8 {
            for (index, hashes) in (0_u64..).zip(row.chunks(BUNDLE as usize)) {
                let tile = TileId::in_tree(level, index, size)
                    .ok_or_else(|| broken("tile", index, "the log has no such tile"))?;
                same(source, tile, hashes)?;
            }
            let whole = row.chunks_exact(BUNDLE as usize);
            row = whole.filter_map(tlog::row_root).collect();
        }
        Ok(())
    }
}
