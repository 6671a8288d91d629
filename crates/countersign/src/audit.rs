//! Auditing a whole log: every entry is fetched, every tile and the root recomputed, and the promises that a registry
//! makes about its entries are checked. And showing entries, each held against the signed root first.

use std::collections::HashMap;

use countersign_trust::checkpoint::VerifiedCheckpoint;
use countersign_trust::digest::Sha256;
use countersign_trust::leaf::{self, Leaf, LeafKind, ParsedLeaf, identifier_hash};
use countersign_trust::note::MAX_NOTE_BYTES;
use countersign_trust::tlog::{self, EntriesId, Frontier, TileId, decode_entries};
use serde::Serialize;

use crate::failure::{Exit, Failure, Result};
use crate::remote::Remote;
use crate::trusted::{Pinned, Seen};

/// The longest bundle: 256 entries, each with its two bytes of length.
const MOST_BUNDLE: usize = 256 * (2 + 65_535);
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
    /// Entries of kinds that this version does not know.
    pub skipped: u64,
    /// Size of the checkpoint that was seen last time and that this log continues.
    pub continues: Option<u64>,
}

/// Fetches and verifies the newest checkpoint, and holds it against the one seen last.
///
/// # Errors
/// Exit 3 for a signature that is wrong, a log that shrank, or two roots for one size (both are kept as evidence).
pub fn newest(
    pinned: &Pinned,
    remote: &Remote,
    seen: &Seen,
) -> Result<(Vec<u8>, VerifiedCheckpoint, Option<VerifiedCheckpoint>)> {
    let note = remote.get(&format!("{}checkpoint", pinned.log_path()), MAX_NOTE_BYTES)?;
    let checkpoint = pinned.open_checkpoint(&note)?;
    let last = seen.last(pinned)?;
    if let Some(last) = &last {
        let contradiction = if checkpoint.size() < last.size() {
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

/// Audits the log. `progress` is told how many of how many entries were checked.
///
/// # Errors
/// Exit 3 with the first thing that does not hold.
pub fn audit(
    pinned: &Pinned,
    remote: &Remote,
    seen: &Seen,
    progress: &dyn Fn(u64, u64),
) -> Result<Audited> {
    let (note, checkpoint, last) = newest(pinned, remote, seen)?;
    let size = checkpoint.size();
    if size > MOST_ENTRIES {
        return Err(Failure::new(
            Exit::Environment,
            "log-too-long",
            format!("The log has {size} entries, more than one pass in memory can hold."),
        ));
    }
    let mut frontier = Frontier::empty();
    let mut hashes = Vec::new();
    let mut promises = Promises::default();
    for id in tlog::entries_for_growth(0, size) {
        let bundle = remote.get(&format!("{}{}", pinned.log_path(), id.path()), MOST_BUNDLE)?;
        let entries = entries_of(id, &bundle)?;
        for (offset, entry) in entries.iter().enumerate() {
            let index = id.first_entry() + offset as u64;
            let hash = tlog::leaf_hash(entry);
            frontier.append(hash);
            hashes.push(hash);
            promises.take(index, entry)?;
            // The tree that was seen last time must stand unchanged at the beginning of this one.
            if let Some(last) = last
                .as_ref()
                .filter(|last| last.size() == index + 1 && last.root() != frontier.root())
            {
                let kept = seen.keep_evidence(&note)?;
                return Err(Failure::unverified(
                    "forked",
                    format!(
                        "The log {} is not the continuation of what you saw at {} entries.",
                        pinned.origin,
                        last.size()
                    ),
                )
                .remedy(format!(
                    "Its signed contradiction is kept in {}.",
                    kept.display()
                )));
            }
        }
        progress(frontier.size(), size);
    }
    if frontier.root() != checkpoint.root() {
        return Err(Failure::unverified(
            "root",
            format!(
                "The entries of {} have the root {}, its checkpoint says {}.",
                pinned.origin,
                frontier.root(),
                checkpoint.root()
            ),
        ));
    }
    tiles_hold(pinned, remote, &hashes)?;
    seen.remember(&note)?;
    Ok(Audited {
        origin: pinned.origin.clone(),
        size,
        root: checkpoint.root().to_hex(),
        files: promises.files,
        skipped: promises.skipped,
        continues: last.map(|last| last.size()),
    })
}

fn entries_of(id: EntriesId, bundle: &[u8]) -> Result<Vec<&[u8]>> {
    let entries = decode_entries(bundle)
        .map_err(|error| Failure::unverified("bundle", format!("{}: {error}.", id.path())))?;
    if entries.len() != usize::from(id.width) {
        return Err(Failure::unverified(
            "bundle",
            format!(
                "{} holds {} entries, not {}.",
                id.path(),
                entries.len(),
                id.width
            ),
        ));
    }
    Ok(entries)
}

/// Every tile that the log serves must be what its entries make.
fn tiles_hold(pinned: &Pinned, remote: &Remote, hashes: &[Sha256]) -> Result<()> {
    let nothing: HashMap<TileId, Vec<u8>> = HashMap::new();
    let tiles = tlog::grow(0, hashes, &nothing)
        .map_err(|error| Failure::new(Exit::Environment, "tiles", error.to_string()))?;
    for (id, bytes) in tiles {
        let served = remote.get(
            &format!("{}{}", pinned.log_path(), id.path()),
            id.byte_length(),
        )?;
        if served != bytes {
            return Err(Failure::unverified(
                "tile",
                format!("The tile {} is not what the log's entries make.", id.path()),
            ));
        }
    }
    Ok(())
}

/// What every registry promises about its entries.
#[derive(Default)]
struct Promises {
    files: u64,
    skipped: u64,
    /// The digest and place of every identifier.
    digests: HashMap<Sha256, (Sha256, u64)>,
    /// The last leaf of every project: its sequence number and index.
    projects: HashMap<String, (u64, u64)>,
}

impl Promises {
    fn take(&mut self, index: u64, entry: &[u8]) -> Result<()> {
        let broken = |code: &'static str, why: String| {
            Failure::unverified(code, format!("Entry {index} of the log: {why}."))
        };
        let leaf = match leaf::parse(entry).map_err(|error| broken("leaf", error.to_string()))? {
            ParsedLeaf::Known(leaf) => leaf,
            ParsedLeaf::Skipped { .. } => {
                self.skipped += 1;
                return Ok(());
            }
        };
        if (index == 0) != (leaf.kind == LeafKind::LogGenesis) {
            return Err(broken(
                "genesis",
                format!(
                    "it is of kind {}, and a log begins with its one {}",
                    leaf.kind,
                    LeafKind::LogGenesis
                ),
            ));
        }
        self.one_digest(index, &leaf)
            .map_err(|why| broken("two-digests", why))?;
        self.unbroken_chain(index, &leaf)
            .map_err(|why| broken("chain", why))
    }

    fn one_digest(&mut self, index: u64, leaf: &Leaf) -> std::result::Result<(), String> {
        if leaf.kind != LeafKind::FilePublished {
            return Ok(());
        }
        self.files += 1;
        let subject = leaf.subject.as_deref().unwrap_or_default();
        let digest = leaf
            .sha256()
            .ok_or("it publishes a file without a SHA-256")?;
        match self
            .digests
            .insert(identifier_hash(subject), (digest, index))
        {
            Some((other, at)) => Err(format!(
                "it publishes {subject} as {digest}, which entry {at} published already as {other}"
            )),
            None => Ok(()),
        }
    }

    /// A project's leaves are numbered without gaps, and each names the one before, so that none can be hidden.
    fn unbroken_chain(&mut self, index: u64, leaf: &Leaf) -> std::result::Result<(), String> {
        let (Some(subject), Some(sequence)) = (&leaf.subject, leaf.sequence) else {
            return Ok(());
        };
        let project = subject
            .split(['@', '?'])
            .next()
            .unwrap_or(subject)
            .to_owned();
        let before = self.projects.insert(project.clone(), (sequence, index));
        match before {
            Some((number, at)) if sequence != number + 1 || leaf.previous != Some(at) => {
                Err(format!(
                    "it is number {sequence} of {project}, after number {number} at entry {at}"
                ))
            }
            // Without a leaf before in this log, an earlier log may hold it.
            None if leaf.previous.is_some() => Err(format!(
                "it names entry {:?} as the one before of {project}, which it is not",
                leaf.previous
            )),
            _ => Ok(()),
        }
    }
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
    remote: &Remote,
    seen: &Seen,
    from: u64,
    count: u64,
) -> Result<(VerifiedCheckpoint, Vec<Entry>)> {
    let (note, checkpoint, last) = newest(pinned, remote, seen)?;
    let size = checkpoint.size();
    let mut reader = Reader {
        pinned,
        remote,
        size,
        tiles: HashMap::new(),
        bundles: HashMap::new(),
    };
    if let Some(last) = last
        .as_ref()
        .filter(|last| last.size() > 0 && last.size() < size)
    {
        reader.continues(last, &checkpoint, seen, &note)?;
    }
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
    seen.remember(&note)?;
    Ok((checkpoint, shown))
}

/// Reads tiles and bundles of one size of a log, each once.
struct Reader<'a> {
    pinned: &'a Pinned,
    remote: &'a Remote,
    size: u64,
    tiles: HashMap<TileId, Vec<u8>>,
    bundles: HashMap<u64, Vec<Vec<u8>>>,
}

impl Reader<'_> {
    fn load(&mut self, needed: Vec<TileId>) -> Result<()> {
        for id in needed {
            if !self.tiles.contains_key(&id) {
                let bytes = self.remote.get(
                    &format!("{}{}", self.pinned.log_path(), id.path()),
                    id.byte_length(),
                )?;
                self.tiles.insert(id, bytes);
            }
        }
        Ok(())
    }

    fn continues(
        &mut self,
        last: &VerifiedCheckpoint,
        now: &VerifiedCheckpoint,
        seen: &Seen,
        note: &[u8],
    ) -> Result<()> {
        self.load(tlog::tiles_needed_for_consistency(last.size(), self.size))?;
        let proof =
            tlog::consistency_proof(last.size(), self.size, &self.tiles).map_err(tiles_failed)?;
        tlog::verify_consistency(last.size(), last.root(), self.size, now.root(), &proof).or_else(|error| {
            let kept = seen.keep_evidence(note)?;
            Err(Failure::unverified("forked", format!("The log {} is not the continuation of what you saw at {} entries: {error}.", self.pinned.origin, last.size()))
                .remedy(format!("Its signed contradiction is kept in {}.", kept.display())))
        })
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
            let bundle = self.remote.get(
                &format!("{}{}", self.pinned.log_path(), id.path()),
                MOST_BUNDLE,
            )?;
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
