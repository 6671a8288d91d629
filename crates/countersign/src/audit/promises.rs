//! What every registry promises about its entries, checked one after the other within little memory.
//!
//! Of a file are kept the first 8 bytes of its identifier's hash and the index of its entry (4 bytes). Equal identifiers
//! have equal beginnings, so none is missed; unequal ones that share theirs, by chance or made so, are told apart by
//! reading both entries again. Of a project are kept its whole hash and its last leaf. In tables of the standard library
//! this makes 19 to 39 bytes for a file and 92 to 184 for a project: 10 million files of 700,000 projects take about
//! 390 MB, and for a moment half as much again while a table grows or was just read back.

use std::collections::HashMap;
use std::hash::{BuildHasherDefault, Hasher};

use countersign_trust::digest::Sha256;
use countersign_trust::leaf::{self, LeafKind, MapRoot, ParsedLeaf, identifier_hash};
use countersign_trust::map::{Entry, ProjectState, project_key, project_of};

use crate::failure::{Failure, Result};

/// Hashes are as good as random already; their first bytes are all that a table needs.
#[derive(Default)]
pub(super) struct Ready(u64);

impl Hasher for Ready {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, bytes: &[u8]) {
        for chunk in bytes.as_chunks::<8>().0.iter().take(1) {
            self.0 = u64::from_le_bytes(*chunk);
        }
    }

    fn write_u64(&mut self, number: u64) {
        self.0 = number;
    }

    // The length that slices and arrays put before their bytes says nothing.
    fn write_usize(&mut self, _: usize) {}
}

type Table<K, V> = HashMap<K, V, BuildHasherDefault<Ready>>;

/// What one entry says, as far as the promises are concerned.
#[derive(Clone, Debug)]
pub(super) enum Noted {
    /// Of a kind that this version does not know.
    Skipped,
    /// Known.
    Leaf {
        /// Whether it is the one that a log begins with.
        genesis: bool,
        /// Whether that continues an earlier log.
        continues: bool,
        /// The hash of the identifier that it binds to a digest.
        file: Option<Sha256>,
        /// For what is about a project: its hash, the number in its chain, and the leaf before.
        chain: Option<Link>,
        /// The map that it commits to.
        map: Option<MapRoot>,
    },
}

#[derive(Clone, Copy, Debug)]
pub(super) struct Link {
    project: Sha256,
    sequence: u64,
    previous: Option<u64>,
}

/// The failure of an entry.
pub(super) fn broken(code: &'static str, index: u64, why: &str) -> Failure {
    Failure::unverified(code, format!("Entry {index} of the log: {why}."))
}

/// Reads an entry by itself; needs nothing of the others, so any thread may do it.
pub(super) fn note(index: u64, entry: &[u8]) -> Result<Noted> {
    let leaf =
        match leaf::parse(entry).map_err(|error| broken("leaf", index, &error.to_string()))? {
            ParsedLeaf::Known(leaf) => leaf,
            ParsedLeaf::Skipped { .. } => return Ok(Noted::Skipped),
        };
    let subject = leaf.subject.as_deref();
    let file = (leaf.kind == LeafKind::FilePublished)
        .then(|| identifier_hash(subject.unwrap_or_default()));
    let chain = subject.zip(leaf.sequence).map(|(subject, sequence)| Link {
        project: project_key(project_of(subject)),
        sequence,
        previous: leaf.previous,
    });
    Ok(Noted::Leaf {
        genesis: leaf.kind == LeafKind::LogGenesis,
        continues: leaf.predecessor.is_some(),
        file,
        chain,
        map: leaf.map,
    })
}

impl Noted {
    /// What goes into the map for the file that it publishes; `hash` is the leaf's.
    pub fn map_entry(&self, hash: Sha256) -> Option<Entry> {
        match self {
            Self::Leaf {
                file: Some(key), ..
            } => Some(Entry {
                key: *key,
                value: hash,
            }),
            _ => None,
        }
    }

    /// The map that it commits to.
    pub fn map(&self) -> Option<MapRoot> {
        match self {
            Self::Leaf { map, .. } => *map,
            Self::Skipped => None,
        }
    }
}

/// Reads an entry again.
pub(super) type Again<'a> = &'a dyn Fn(u64) -> Result<Vec<u8>>;

/// Stands where no map was compared.
const NO_MAP: MapRoot = MapRoot {
    covers: 0,
    root: countersign_trust::map::EMPTY_MAP,
};

/// What was promised by the entries so far.
#[derive(Debug, Default)]
pub(super) struct Promises {
    /// Entries so far.
    entries: u64,
    skipped: u64,
    /// The first entry of each beginning of an identifier's hash.
    files: Table<u64, u32>,
    /// Further entries with such a beginning, of other identifiers.
    alike: Vec<(u64, u32)>,
    /// The last leaf of every project: what the map says of the project then, and the leaf's index.
    projects: Table<[u8; 32], (ProjectState, u64)>,
    /// Whether the log continues an earlier one.
    continues: bool,
    /// The newest map that was compared.
    mapped: Option<MapRoot>,
}

impl Promises {
    pub fn files(&self) -> u64 {
        (self.files.len() + self.alike.len()) as u64
    }

    pub fn projects(&self) -> u64 {
        self.projects.len() as u64
    }

    pub fn skipped(&self) -> u64 {
        self.skipped
    }

    /// What the map says of every project.
    pub fn map_entries(&self) -> impl Iterator<Item = Entry> {
        self.projects.iter().map(|(key, (state, _))| Entry {
            key: Sha256(*key),
            value: state.value(),
        })
    }

    /// Why these entries alone do not make the map, if they do not.
    pub fn unmappable(&self) -> Option<&'static str> {
        if self.continues {
            return Some("it also covers the earlier log that this one continues");
        }
        (self.skipped > 0).then_some("it covers entries of kinds that this version does not know")
    }

    /// The newest map that was compared.
    pub fn mapped(&self) -> Option<MapRoot> {
        self.mapped
    }

    /// A map was compared.
    pub fn remember_map(&mut self, map: MapRoot) {
        self.mapped = Some(map);
    }

    /// Takes the next entry; `hash` is its leaf hash.
    pub fn take(&mut self, noted: &Noted, hash: &Sha256, again: Again<'_>) -> Result<()> {
        let index = self.entries;
        self.entries += 1;
        let Noted::Leaf {
            genesis,
            continues,
            file,
            chain,
            ..
        } = noted
        else {
            self.skipped += 1;
            return Ok(());
        };
        if (index == 0) != *genesis {
            let why = if *genesis {
                "it is a genesis, and a log has one, at its beginning"
            } else {
                "a log begins with its genesis"
            };
            return Err(broken("genesis", index, why));
        }
        self.continues |= *continues;
        if let Some(file) = file {
            let first = file.0.first_chunk();
            let first = first.map_or(0, |first| u64::from_le_bytes(*first));
            self.one_digest(index, first, again)?;
        }
        match chain {
            Some(link) => self.unbroken(index, link, hash, again),
            None => Ok(()),
        }
    }

    /// Each identifier is published once, and so has one digest.
    fn one_digest(&mut self, index: u64, file: u64, again: Again<'_>) -> Result<()> {
        let at = u32::try_from(index).map_err(|_| broken("index", index, "the log is too long"))?;
        let Some(first) = self.files.get(&file).copied() else {
            self.files.insert(file, at);
            return Ok(());
        };
        let alike = self.alike.iter().filter(|(other, _)| *other == file);
        let others: Vec<u32> = std::iter::once(first)
            .chain(alike.map(|(_, at)| *at))
            .collect();
        let (subject, digest) = published(index, again)?;
        for other in others {
            let (before, its) = published(u64::from(other), again)?;
            if before == subject {
                let why = format!(
                    "it publishes {subject} as {digest}, which entry {other} published already as {its}"
                );
                return Err(broken("two-digests", index, &why));
            }
        }
        self.alike.push((file, at));
        Ok(())
    }

    /// A project's leaves are numbered without gaps, and each names the one before, so that none can be hidden.
    fn unbroken(&mut self, index: u64, link: &Link, hash: &Sha256, again: Again<'_>) -> Result<()> {
        let (state, at) = self.projects.entry(link.project.0).or_insert((
            ProjectState {
                // Without a leaf before in this log, an earlier log may hold it; its chain is not to be had here.
                count: link.sequence.saturating_sub(1),
                ..ProjectState::NONE
            },
            u64::MAX,
        ));
        let before = (*at != u64::MAX).then_some((state.count, *at));
        *at = index;
        *state = state.followed_by(hash);
        let why = match before {
            Some((number, at)) if link.sequence != number + 1 || link.previous != Some(at) => {
                let sequence = link.sequence;
                format!(
                    "it is number {sequence} of its project, after number {number} at entry {at}"
                )
            }
            // Without a leaf before in this log, an earlier log may hold it.
            None if link.previous.is_some() => {
                format!(
                    "it names entry {:?} as the one before, which is not",
                    link.previous
                )
            }
            _ => return Ok(()),
        };
        let subject = match leaf::parse(&again(index)?) {
            Ok(ParsedLeaf::Known(leaf)) => leaf.subject.unwrap_or_default(),
            _ => String::new(),
        };
        Err(broken("chain", index, &format!("{why} ({subject})")))
    }

    /// The tables as bytes, for [`Promises::read`].
    pub fn write(&self, out: &mut impl FnMut(&[u8]) -> std::io::Result<()>) -> std::io::Result<()> {
        let counts = [
            self.entries,
            self.skipped,
            self.files.len() as u64,
            self.alike.len() as u64,
            self.projects.len() as u64,
        ];
        for count in counts {
            out(&count.to_be_bytes())?;
        }
        let alike = self.alike.iter().map(|(file, at)| (file, at));
        for (file, at) in self.files.iter().chain(alike) {
            let mut record = [0; 12];
            record[..8].copy_from_slice(&file.to_be_bytes());
            record[8..].copy_from_slice(&at.to_be_bytes());
            out(&record)?;
        }
        for (project, (state, at)) in &self.projects {
            let mut record = [0; 80];
            record[..32].copy_from_slice(project);
            record[32..64].copy_from_slice(state.chain.as_bytes());
            record[64..72].copy_from_slice(&state.count.to_be_bytes());
            record[72..].copy_from_slice(&at.to_be_bytes());
            out(&record)?;
        }
        out(&[u8::from(self.continues), u8::from(self.mapped.is_some())])?;
        let mapped = self.mapped.unwrap_or(NO_MAP);
        out(&mapped.covers.to_be_bytes())?;
        out(mapped.root.as_bytes())
    }

    /// What [`Promises::write`] wrote; `None` for anything else.
    pub fn read(bytes: &[u8]) -> Option<Self> {
        let (counts, rest) = bytes.split_first_chunk::<40>()?;
        let count = |at: usize| {
            let chunk = counts[at * 8..].first_chunk::<8>();
            chunk.map_or(0, |chunk| u64::from_be_bytes(*chunk))
        };
        let (entries, skipped) = (count(0), count(1));
        let (files, alike, projects) = (
            usize::try_from(count(2)).ok()?,
            usize::try_from(count(3)).ok()?,
            usize::try_from(count(4)).ok()?,
        );
        let records = files.checked_add(alike)?.checked_mul(12)?;
        let (records, rest) = rest.split_at_checked(records)?;
        let (rest, tail) = rest.split_at_checked(projects.checked_mul(80)?)?;
        let (flags, map) = tail.split_first_chunk::<2>()?;
        let (covers, root) = map.split_first_chunk::<8>()?;
        let map = MapRoot {
            covers: u64::from_be_bytes(*covers),
            root: Sha256(root.try_into().ok()?),
        };
        let mut read = Self {
            entries,
            skipped,
            continues: flags[0] == 1,
            mapped: (flags[1] == 1).then_some(map),
            ..Self::default()
        };
        read.files.reserve(files);
        for (number, record) in records.as_chunks::<12>().0.iter().enumerate() {
            let file = u64::from_be_bytes(*record.first_chunk()?);
            let at = u32::from_be_bytes(*record.last_chunk()?);
            if number < files {
                read.files.insert(file, at);
            } else {
                read.alike.push((file, at));
            }
        }
        read.projects.reserve(projects);
        for record in rest.as_chunks::<80>().0 {
            let state = ProjectState {
                chain: Sha256(*record[32..].first_chunk()?),
                count: u64::from_be_bytes(*record[64..].first_chunk()?),
            };
            let at = u64::from_be_bytes(*record.last_chunk()?);
            read.projects.insert(*record.first_chunk()?, (state, at));
        }
        (read.files.len() == files && read.projects.len() == projects).then_some(read)
    }

    /// How many entries were taken.
    pub fn entries(&self) -> u64 {
        self.entries
    }
}

/// What an entry publishes, and as what.
fn published(index: u64, again: Again<'_>) -> Result<(String, Sha256)> {
    let unread = || broken("leaf", index, "it is not what it was a moment ago");
    match leaf::parse(&again(index)?) {
        Ok(ParsedLeaf::Known(leaf)) => {
            let digest = leaf.sha256().ok_or_else(unread)?;
            Ok((leaf.subject.ok_or_else(unread)?, digest))
        }
        _ => Err(unread()),
    }
}
