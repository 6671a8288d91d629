//! The map, made again from the entries and held against the newest root that the log commits to (`docs/spec/map.md`).
//!
//! The 64 bytes of each file's entry go to a file beside the progress; of a project its state is kept in memory with its last
//! leaf. The root is made in passes over the file, each of which holds a part of all keys, so that memory stays bounded.

use std::fs::{File, OpenOptions, TryLockError};
use std::io::{self, BufWriter, Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

use countersign_trust::digest::Sha256;
use countersign_trust::leaf::{self, MapRoot, ParsedBorrowed};
use countersign_trust::map::{Entry, RootBuilder};
use countersign_trust::tlog::EntriesId;
use serde::Serialize;

use super::promises::{Promises, broken};
use super::source::{Source, entries_of};
use super::table::beginning;
use crate::failure::{Exit, Failure, Result};

/// Entries that one pass holds: 64 MB.
const PASS: u64 = 1 << 20;
/// The newest root is looked for in so many bundles at the end of the log.
const LOOKED_AT: u64 = 64;
/// Bytes of an entry of the file: key and value.
const RECORD: u64 = 64;

/// What became of the map.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct MapAudited {
    /// How many entries the map covers that was compared; absent where none was.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub covers: Option<u64>,
    /// Its root, hex.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub root: Option<String>,
    /// Why none was compared.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub unchecked: Option<&'static str>,
}

/// The newest root and what is needed to make it again.
pub(super) struct MapCheck {
    place: PathBuf,
    file: BufWriter<File>,
    /// The newest commitment, and the index of its leaf.
    newest: Option<(u64, MapRoot)>,
    found: std::result::Result<MapRoot, &'static str>,
}

impl MapCheck {
    /// Takes up the file beside the progress where that left it; `None` if it was lost meanwhile.
    ///
    /// # Errors
    /// Exit 1 where it can not be opened, or another audit is at it.
    pub fn open(progress: &Path, promises: &Promises) -> Result<Option<Self>> {
        let place = progress.with_extension("map");
        let open = || {
            if let Some(folder) = place.parent() {
                std::fs::create_dir_all(folder)?;
            }
            OpenOptions::new()
                .read(true)
                .write(true)
                .create(true)
                .truncate(false)
                .open(&place)
        };
        let mut file = open().map_err(|error| failed(&place, &error))?;
        match file.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => {
                return Err(Failure::new(
                    Exit::Environment,
                    "audit-progress",
                    "Another audit of this log is under way.",
                )
                .remedy("Let it end; it remembers what it read."));
            }
            Err(TryLockError::Error(error)) => return Err(failed(&place, &error)),
        }
        let wanted = promises.files() * RECORD;
        let length = file
            .metadata()
            .map_err(|error| failed(&place, &error))?
            .len();
        if length < wanted {
            return Ok(None);
        }
        // What was read after the progress was written down is read again.
        file.set_len(wanted)
            .and_then(|()| file.seek(SeekFrom::End(0)))
            .map_err(|error| failed(&place, &error))?;
        Ok(Some(Self {
            place,
            file: BufWriter::with_capacity(1 << 20, file),
            newest: None,
            found: Err("the end of the log commits to none"),
        }))
    }

    /// Looks for the newest commitment at the end of a log. Not believed: the scan comes past it. What can not be read ends
    /// the search; the scan says what is wrong with it.
    pub fn look(&mut self, source: &Source, size: u64, promises: &Promises) {
        let bundles = size.div_ceil(256);
        for bundle in (bundles.saturating_sub(LOOKED_AT)..bundles).rev() {
            let Some(id) = EntriesId::in_log(bundle, size) else {
                continue;
            };
            let Ok(bytes) = source.bundle(id) else { return };
            let Ok(entries) = entries_of(id, &bytes) else {
                return;
            };
            for (at, entry) in entries.iter().enumerate().rev() {
                let index = id.first_entry() + at as u64;
                let Ok(ParsedBorrowed::Known(leaf)) = leaf::parse_borrowed(entry) else {
                    continue;
                };
                let Some(map) = leaf.map() else { continue };
                if promises.mapped() == Some(map) {
                    self.found = Ok(map);
                } else if map.covers < promises.entries() {
                    self.found = Err("it was read before, and not compared; --full compares it");
                } else {
                    self.newest = Some((index, map));
                }
                return;
            }
        }
    }

    /// To be called before the entry after those that were taken is taken.
    ///
    /// # Errors
    /// Exit 3 where the map is another one than the log commits to.
    pub fn before(&mut self, promises: &mut Promises) -> Result<()> {
        let Some((index, map)) = self.newest else {
            return Ok(());
        };
        if promises.entries() != map.covers {
            return Ok(());
        }
        if let Some(why) = promises.unmappable() {
            self.found = Err(why);
            return Ok(());
        }
        promises.settle();
        let root = self.root(promises)?;
        if root != map.root {
            let why = format!(
                "it commits to a map of the root {}, and the {} entries that this map covers make {root}",
                map.root, map.covers
            );
            return Err(broken("map-root", index, &why));
        }
        promises.remember_map(map);
        self.found = Ok(map);
        Ok(())
    }

    /// To be called with what each entry says of the map, if anything.
    ///
    /// # Errors
    /// Exit 3 for a commitment that covers itself or that changed while the log was read.
    pub fn passes(&self, index: u64, said: Option<MapRoot>) -> Result<()> {
        if said.is_some_and(|said| said.covers > index) {
            return Err(broken(
                "map-root",
                index,
                "it commits to entries that come after it",
            ));
        }
        match self.newest {
            Some((at, map)) if at == index && said != Some(map) => Err(broken(
                "map-root",
                index,
                "it is not what it was a moment ago",
            )),
            _ => Ok(()),
        }
    }

    /// Takes the entry of a file.
    ///
    /// # Errors
    /// Exit 1 where it can not be written.
    pub fn push(&mut self, entry: Entry) -> Result<()> {
        let mut record = [0; RECORD as usize];
        record[..32].copy_from_slice(entry.key.as_bytes());
        record[32..].copy_from_slice(entry.value.as_bytes());
        let written = self.file.write_all(&record);
        written.map_err(|error| failed(&self.place, &error))
    }

    /// Writes down what was taken; before the progress that counts on it.
    ///
    /// # Errors
    /// Exit 1 where it can not be written.
    pub fn flush(&mut self) -> Result<()> {
        self.file
            .flush()
            .map_err(|error| failed(&self.place, &error))
    }

    /// What became of it.
    pub fn outcome(&self) -> MapAudited {
        match self.found {
            Ok(map) => MapAudited {
                covers: Some(map.covers),
                root: Some(map.root.to_hex()),
                unchecked: None,
            },
            Err(why) => MapAudited {
                covers: None,
                root: None,
                unchecked: Some(why),
            },
        }
    }

    fn root(&mut self, promises: &Promises) -> Result<Sha256> {
        self.flush()?;
        let count = promises.files() + promises.projects();
        let passes = count.div_ceil(PASS).clamp(1, 256);
        let mut builder = RootBuilder::default();
        for pass in 0..passes {
            let part = |key: &Sha256| u64::from(key.as_bytes()[0]) * passes / 256 == pass;
            // By the first byte of their keys: what is sorted at a time is then little enough to be near.
            let mut entries: Vec<Vec<Entry>> = vec![Vec::new(); 256];
            let mut keep = |entry: Entry| entries[usize::from(entry.key.0[0])].push(entry);
            promises.map_entries(part).for_each(&mut keep);
            self.read_part(part, keep)
                .map_err(|error| failed(&self.place, &error))?;
            for entries in entries {
                builder.extend(&sorted(&entries)).map_err(|error| {
                    Failure::unverified(
                        "two-digests",
                        format!("The log's map has no root: {error}."),
                    )
                })?;
            }
        }
        Ok(builder.root())
    }

    /// Hands on the file's entries whose keys are part of what is wanted.
    fn read_part(
        &mut self,
        part: impl Fn(&Sha256) -> bool,
        mut keep: impl FnMut(Entry),
    ) -> io::Result<()> {
        let file = self.file.get_mut();
        let mut left = file.seek(SeekFrom::End(0))?;
        file.seek(SeekFrom::Start(0))?;
        let mut piece = vec![0; (left as usize).min(1 << 20)];
        while left > 0 {
            let read = piece.len().min(left as usize);
            file.read_exact(&mut piece[..read])?;
            left -= read as u64;
            for record in piece[..read].as_chunks::<{ RECORD as usize }>().0 {
                let ([key, value], _) = record.as_chunks::<32>() else {
                    continue;
                };
                let entry = Entry {
                    key: Sha256(*key),
                    value: Sha256(*value),
                };
                if part(&entry.key) {
                    keep(entry);
                }
            }
        }
        Ok(())
    }
}

/// The entries in the order of their keys. What is moved while they are sorted is short: the beginnings of their keys.
fn sorted(entries: &[Entry]) -> Vec<Entry> {
    let mut order: Vec<(u64, u32)> = entries
        .iter()
        .zip(0..)
        .map(|(entry, at)| (beginning(&entry.key.0), at))
        .collect();
    order.sort_unstable_by_key(|(beginning, _)| *beginning);
    let alike = order.windows(2).any(|pair| pair[0].0 == pair[1].0);
    let mut sorted: Vec<Entry> = order.iter().map(|(_, at)| entries[*at as usize]).collect();
    if alike {
        sorted.sort_unstable();
    }
    sorted
}

fn failed(place: &Path, error: &io::Error) -> Failure {
    Failure::new(
        Exit::Environment,
        "audit-progress",
        format!("{} can not be used: {error}.", place.display()),
    )
}
