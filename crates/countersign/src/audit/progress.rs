//! How far an audit has come: what is needed to go on, in one file that is written whole and checked by a digest. It is
//! a memory and no proof: what it says is believed only once the log's signed root was recomputed from it.

use std::collections::HashMap;
use std::fs::{self, File};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use countersign_trust::digest::Sha256;
use countersign_trust::tlog::{self, TileError, TileId};

use super::promises::Promises;
use crate::failure::{Exit, Failure, Result};
use crate::trusted::folder;

const HEADER: &[u8] = b"countersign-audit/v2\n";
/// The file is sealed in pieces of this length, so that it never has to be in memory as a whole to be written.
const PIECE: usize = 1 << 20;

/// The seal over everything before and the next piece.
fn sealed(before: Sha256, piece: &[u8]) -> Sha256 {
    Sha256::of_parts(&[&before.0, piece])
}

/// Writes pieces, and at the end the seal over all of them.
struct Sealing {
    out: File,
    piece: Vec<u8>,
    seal: Sha256,
}

impl Sealing {
    fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        let mut rest = bytes;
        while !rest.is_empty() {
            let (now, later) = rest.split_at(rest.len().min(PIECE - self.piece.len()));
            self.piece.extend_from_slice(now);
            rest = later;
            if self.piece.len() == PIECE {
                self.turn()?;
            }
        }
        Ok(())
    }

    fn turn(&mut self) -> io::Result<()> {
        self.seal = sealed(self.seal, &self.piece);
        self.out.write_all(&self.piece)?;
        self.piece.clear();
        Ok(())
    }

    fn finish(mut self) -> io::Result<()> {
        if !self.piece.is_empty() {
            self.turn()?;
        }
        self.out.write_all(&self.seal.0)
    }
}

/// The bytes of a tile of these hashes.
fn bytes_of(row: &[Sha256]) -> Vec<u8> {
    row.iter().flat_map(|hash| hash.0).collect()
}

/// The whole bundles so far, and what they promised.
#[derive(Debug, Default)]
pub(super) struct Progress {
    pub promises: Promises,
    /// The right edge of the tree: for each level of tiles from 1 on, the hashes of the tile that is not full yet.
    rows: Vec<Vec<Sha256>>,
}

impl Progress {
    /// Where the progress of a log's audit is kept.
    ///
    /// # Errors
    /// Exit 1 without a home directory.
    pub fn place(origin: &str) -> Result<PathBuf> {
        let name = format!("{}.audit", &Sha256::of(origin.as_bytes()).to_hex()[..32]);
        Ok(folder("XDG_STATE_HOME", ".local/state")?
            .join("audits")
            .join(name))
    }

    /// How many entries were read; a multiple of 256.
    pub fn position(&self) -> u64 {
        self.promises.entries()
    }

    /// Adds the root of the next 256 leaves. Gives the tiles of levels from 1 on that are full by it.
    pub fn push(&mut self, root: Sha256) -> Vec<(TileId, Vec<Sha256>)> {
        let leaves = self.position();
        let (mut full, mut hash) = (Vec::new(), root);
        for level in 1_u8..8 {
            let at = usize::from(level) - 1;
            if self.rows.len() == at {
                self.rows.push(Vec::new());
            }
            self.rows[at].push(hash);
            if self.rows[at].len() < 256 {
                break;
            }
            let row = std::mem::take(&mut self.rows[at]);
            hash = tlog::row_root(&row).unwrap_or(tlog::EMPTY_ROOT);
            let id = TileId {
                level,
                index: (leaves >> (8 * (u32::from(level) + 1))) - 1,
                width: 256,
            };
            full.push((id, row));
        }
        full
    }

    /// The tiles of levels from 1 on that are not full, for a tree of `size` leaves that ends in the bundle after
    /// these.
    pub fn edge(&self, size: u64) -> Vec<(TileId, &[Sha256])> {
        let rows = self.rows.iter().zip(1_u8..);
        rows.filter_map(|(row, level)| {
            let index = size >> (8 * (u32::from(level) + 1));
            let id = TileId::in_tree(level, index, size)?;
            Some((id, row.as_slice()))
        })
        .collect()
    }

    /// The root of the tree of `size` leaves, whose last bundle, unless it is whole, has these hashes.
    pub fn root(&self, size: u64, last: &[Sha256]) -> std::result::Result<Sha256, TileError> {
        let edge = self.edge(size).into_iter();
        let mut tiles: HashMap<TileId, Vec<u8>> =
            edge.map(|(id, row)| (id, bytes_of(row))).collect();
        if let Some(id) = TileId::in_tree(0, size >> 8, size) {
            tiles.insert(id, bytes_of(last));
        }
        tlog::root(size, &tiles)
    }

    /// Writes it, all of it or nothing.
    ///
    /// # Errors
    /// Exit 1 when it can not be written.
    pub fn save(&self, place: &Path, origin: &str) -> Result<()> {
        let failed = |error: io::Error| {
            Failure::new(
                Exit::Environment,
                "audit-progress",
                format!("{} can not be written: {error}.", place.display()),
            )
        };
        if let Some(folder) = place.parent() {
            fs::create_dir_all(folder).map_err(failed)?;
        }
        let new = place.with_extension(format!("new-{}", std::process::id()));
        let written = self
            .write(&new, origin)
            .and_then(|()| fs::rename(&new, place));
        written.map_err(|error| {
            // What is left of it is of no use; the next one has another name or writes over it.
            let _ = fs::remove_file(&new);
            failed(error)
        })
    }

    fn write(&self, path: &Path, origin: &str) -> io::Result<()> {
        let mut file = Sealing {
            out: File::create(path)?,
            piece: Vec::with_capacity(PIECE),
            seal: Sha256::of(HEADER),
        };
        let mut out = |bytes: &[u8]| file.write(bytes);
        out(HEADER)?;
        out(&Sha256::of(origin.as_bytes()).0)?;
        out(&[self.rows.len() as u8])?;
        for row in &self.rows {
            out(&[row.len() as u8])?;
            for hash in row {
                out(&hash.0)?;
            }
        }
        self.promises.write(&mut out)?;
        file.finish()
    }

    /// What was saved of this log, if it is whole and within `size` entries; else the beginning.
    pub fn load(place: &Path, origin: &str, size: u64) -> Self {
        let read = fs::read(place)
            .ok()
            .and_then(|bytes| Self::read(&bytes, origin));
        read.filter(|read| read.position() <= size)
            .unwrap_or_default()
    }

    fn read(bytes: &[u8], origin: &str) -> Option<Self> {
        let (content, seal) = bytes.split_last_chunk::<32>()?;
        let pieces = content.chunks(PIECE);
        let expected = pieces.fold(Sha256::of(HEADER), sealed);
        if expected.0 != *seal {
            return None;
        }
        let rest = content.strip_prefix(HEADER)?;
        let mut rest = rest.strip_prefix(&Sha256::of(origin.as_bytes()).0)?;
        let mut take = |count: usize| {
            let (taken, after) = rest.split_at_checked(count)?;
            rest = after;
            Some(taken)
        };
        let levels = *take(1)?.first()?;
        let mut rows = Vec::new();
        for _ in 0..levels {
            let width = *take(1)?.first()?;
            let row = take(usize::from(width) * 32)?;
            rows.push(
                row.as_chunks::<32>()
                    .0
                    .iter()
                    .copied()
                    .map(Sha256)
                    .collect(),
            );
        }
        let promises = Promises::read(rest)?;
        Some(Self { promises, rows })
    }

    /// Forgets it.
    pub fn forget(place: &Path) {
        // Where it is not there, there is nothing to forget; where it can not be removed, the root tells.
        let _ = fs::remove_file(place);
    }
}
