//! What every registry promises about its entries, checked one after the other within little memory.
//!
//! Of a file are kept the first 8 bytes of its identifier's hash and the index of its entry (4 bytes). Equal identifiers
//! have equal beginnings, so none is missed; unequal ones that share theirs, by chance or made so, are told apart by
//! reading both entries again. Of a project are kept its whole hash and its last leaf. With the tables ([`super::table`])
//! this makes 18 to 36 bytes for a file and 98 to 196 for a project: 10 million files of 700,000 projects take about
//! 310 MB, and for a moment half as much again while a table grows.

use std::hint::black_box;

use countersign_trust::digest::Sha256;
use countersign_trust::leaf::{
    self, LeafKind, MapRoot, ParsedBorrowed, ParsedLeaf, identifier_hashes,
};
use countersign_trust::map::{Entry, ProjectState, project_keys, project_of};

use super::table::{Table, beginning};
use crate::failure::{Failure, Result};

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
    /// Where the project stands, once it was looked for and found.
    place: Option<u32>,
}

/// The failure of an entry.
pub(super) fn broken(code: &'static str, index: u64, why: &str) -> Failure {
    Failure::unverified(code, format!("Entry {index} of the log: {why}."))
}

/// Reads entries by themselves; needs nothing of the others, so any thread may do it. `first` is the index of the first.
pub(super) fn note(first: u64, entries: &[&[u8]]) -> Result<Vec<Noted>> {
    // The hashes come when all that is hashed together is known.
    const LATER: Sha256 = Sha256([0; 32]);
    let mut noted = Vec::with_capacity(entries.len());
    let mut files = Vec::with_capacity(entries.len());
    let mut projects = Vec::with_capacity(entries.len());
    for (index, entry) in (first..).zip(entries) {
        let parsed = leaf::parse_borrowed(entry);
        let leaf = match parsed.map_err(|error| broken("leaf", index, &error.to_string()))? {
            ParsedBorrowed::Known(leaf) => leaf,
            ParsedBorrowed::Skipped { .. } => {
                noted.push(Noted::Skipped);
                continue;
            }
        };
        let file = leaf
            .subject
            .filter(|_| leaf.kind == LeafKind::FilePublished);
        files.extend(file);
        let chain = leaf.subject.zip(leaf.sequence).map(|(subject, sequence)| {
            projects.push(project_of(subject));
            Link {
                project: LATER,
                sequence,
                previous: leaf.previous,
                place: None,
            }
        });
        noted.push(Noted::Leaf {
            genesis: leaf.kind == LeafKind::LogGenesis,
            continues: leaf.has_predecessor(),
            file: file.map(|_| LATER),
            chain,
            map: leaf.map(),
        });
    }
    let mut places = noted.iter_mut().filter_map(|noted| match noted {
        Noted::Leaf { file, .. } => file.as_mut(),
        Noted::Skipped => None,
    });
    identifier_hashes(files, |key| {
        if let Some(place) = places.next() {
            *place = key;
        }
    });
    let mut places = noted.iter_mut().filter_map(|noted| match noted {
        Noted::Leaf { chain, .. } => chain.as_mut(),
        Noted::Skipped => None,
    });
    project_keys(projects, |key| {
        if let Some(link) = places.next() {
            link.project = key;
        }
    });
    Ok(noted)
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

/// A project and its last leaf.
#[derive(Debug)]
struct Project {
    key: Sha256,
    /// What the map says of it, with the last leaf.
    state: ProjectState,
    /// The index of that leaf.
    at: u64,
}

/// So many chains grow abreast.
const ABREAST: usize = 16;

/// What was promised by the entries so far.
#[derive(Debug, Default)]
pub(super) struct Promises {
    /// Entries so far.
    entries: u64,
    skipped: u64,
    /// The first entry of each beginning of an identifier's hash.
    files: Table,
    /// Further entries with such a beginning, of other identifiers.
    alike: Vec<(u64, u32)>,
    projects: Vec<Project>,
    /// Which of the projects has a hash.
    places: Table,
    /// Leaves that the chains of their projects do not have yet.
    unchained: Vec<(u32, Sha256)>,
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

    /// What the map says of every project whose key is wanted. Only after [`Promises::settle`].
    pub fn map_entries(&self, wanted: impl Fn(&Sha256) -> bool) -> impl Iterator<Item = Entry> {
        let projects = self.projects.iter();
        projects
            .filter(move |project| wanted(&project.key))
            .map(|project| Entry {
                key: project.key,
                value: project.state.value(),
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

    /// Looks for what is known of the files and projects of these entries, for all of them at once, so that none waits for
    /// memory by itself.
    pub fn foresee(&self, entries: &mut [Noted]) {
        let mut seen = 0;
        for noted in entries {
            let Noted::Leaf { file, chain, .. } = noted else {
                continue;
            };
            if let Some(file) = file {
                let first = self.files.find(beginning(&file.0), |_| true);
                seen ^= first.unwrap_or_default();
            }
            if let Some(link) = chain {
                link.place = self.place(&link.project);
            }
        }
        black_box(seen);
    }

    fn place(&self, project: &Sha256) -> Option<u32> {
        self.places.find(beginning(&project.0), |place| {
            self.projects[place as usize].key == *project
        })
    }

    /// Brings the chains of the projects up to the entries that were taken.
    pub fn settle(&mut self) {
        let unchained = std::mem::take(&mut self.unchained);
        let mut rest = unchained.as_slice();
        while let [(first, _), others @ ..] = rest {
            // Of one project each leaf waits for the one before.
            let mut now = 1;
            let mut projects = [*first; ABREAST];
            for (project, _) in others.iter().take(ABREAST - 1) {
                if projects[..now].contains(project) {
                    break;
                }
                projects[now] = *project;
                now += 1;
            }
            let (abreast, later) = rest.split_at(now);
            let mut made = [ProjectState::NONE; ABREAST];
            let mut places = made.iter_mut();
            let steps = abreast.iter();
            let steps = steps.map(|(at, hash)| (&self.projects[*at as usize].state, hash));
            ProjectState::each_followed_by(steps, |state| {
                if let Some(place) = places.next() {
                    *place = state;
                }
            });
            for ((at, _), made) in abreast.iter().zip(made) {
                // The leaf was counted when it was taken.
                self.projects[*at as usize].state.chain = made.chain;
            }
            rest = later;
        }
        self.unchained = unchained;
        self.unchained.clear();
    }

    /// Takes the next entry; `hash` is its leaf hash. To be settled before it is written or the map is made.
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
            self.one_digest(index, beginning(&file.0), again)?;
        }
        match chain {
            Some(link) => self.unbroken(index, link, hash, again),
            None => Ok(()),
        }
    }

    /// Each identifier is published once, and so has one digest.
    fn one_digest(&mut self, index: u64, file: u64, again: Again<'_>) -> Result<()> {
        let at = u32::try_from(index).map_err(|_| broken("index", index, "the log is too long"))?;
        let Some(first) = self.files.find(file, |_| true) else {
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
        let known = link.place.or_else(|| self.place(&link.project));
        let place = match known {
            Some(place) => place,
            None => {
                let place = u32::try_from(self.projects.len())
                    .map_err(|_| broken("index", index, "the log has too many projects"))?;
                self.places.insert(beginning(&link.project.0), place);
                self.projects.push(Project {
                    key: link.project,
                    state: ProjectState {
                        // Without a leaf before in this log, an earlier log may hold it; its chain is not to be had here.
                        count: link.sequence.saturating_sub(1),
                        ..ProjectState::NONE
                    },
                    at: u64::MAX,
                });
                place
            }
        };
        let project = &mut self.projects[place as usize];
        let before = (project.at != u64::MAX).then_some((project.state.count, project.at));
        project.at = index;
        project.state.count += 1;
        self.unchained.push((place, *hash));
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
        for (file, at) in self.files.iter().chain(self.alike.iter().copied()) {
            let mut record = [0; 12];
            // As the first version wrote them: from the last byte to the first.
            record[..8].copy_from_slice(&file.to_le_bytes());
            record[8..].copy_from_slice(&at.to_be_bytes());
            out(&record)?;
        }
        for Project { key, state, at } in &self.projects {
            let mut record = [0; 80];
            record[..32].copy_from_slice(key.as_bytes());
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
            let file = u64::from_le_bytes(*record.first_chunk()?);
            let at = u32::from_be_bytes(*record.last_chunk()?);
            if number < files {
                if read.files.find(file, |_| true).is_some() {
                    return None;
                }
                read.files.insert(file, at);
            } else {
                read.alike.push((file, at));
            }
        }
        read.projects.reserve(projects);
        read.places.reserve(projects);
        for record in rest.as_chunks::<80>().0 {
            let key = Sha256(*record.first_chunk()?);
            let state = ProjectState {
                chain: Sha256(*record[32..].first_chunk()?),
                count: u64::from_be_bytes(*record[64..].first_chunk()?),
            };
            let at = u64::from_be_bytes(*record.last_chunk()?);
            if read.place(&key).is_some() {
                return None;
            }
            let place = u32::try_from(read.projects.len()).ok()?;
            read.places.insert(beginning(&key.0), place);
            read.projects.push(Project { key, state, at });
        }
        Some(read)
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
