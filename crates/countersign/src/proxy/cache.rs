//! Verified bytes by their SHA-256, in a folder that stays within a bound. They are verified again whenever they are
//! used, so that neither a crash nor a failing disk can make the proxy pass on others.

use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::SystemTime;

use countersign_trust::digest::Sha256;

/// The folder.
pub struct Cache {
    folder: PathBuf,
    most: u64,
    /// Bytes written since the folder was looked through.
    grown: AtomicU64,
    number: AtomicU64,
}

/// A file that is being written beside its place.
pub struct Part {
    /// The file.
    pub file: File,
    path: PathBuf,
}

impl Drop for Part {
    fn drop(&mut self) {
        // It was moved to its place, or is of no use.
        let _ = fs::remove_file(&self.path);
    }
}

impl Cache {
    /// A cache of at most so many bytes, give or take what is written at the moment.
    pub fn new(folder: &Path, most: u64) -> Self {
        let cache = Self {
            folder: folder.to_owned(),
            most,
            grown: AtomicU64::new(0),
            number: AtomicU64::new(0),
        };
        cache.make_room();
        cache
    }

    /// `whose` keeps apart what was fetched with different logins.
    fn path(&self, whose: &str, sha256: &str) -> PathBuf {
        self.folder
            .join(whose)
            .join(sha256.get(..2).unwrap_or("__"))
            .join(sha256)
    }

    /// Opens a file. Its bytes are to be held against the digest.
    pub fn open(&self, whose: &str, sha256: &str) -> Option<File> {
        let file = File::open(self.path(whose, sha256)).ok()?;
        // Only for the order in which files go; a folder that can not be written is no reason not to read.
        let _ = file.set_modified(SystemTime::now());
        Some(file)
    }

    /// The bytes of a small file, held against the digest; wrong ones are removed.
    pub fn read(&self, whose: &str, sha256: &str) -> Option<Vec<u8>> {
        let path = self.path(whose, sha256);
        let bytes = fs::read(&path).ok()?;
        if Sha256::of(&bytes).to_hex() == sha256 {
            return Some(bytes);
        }
        self.drop(whose, sha256);
        None
    }

    /// Removes what was found to be wrong.
    pub fn drop(&self, whose: &str, sha256: &str) {
        let _ = fs::remove_file(self.path(whose, sha256));
    }

    /// Keeps verified bytes. That a cache can not be written slows down, and breaks nothing.
    pub fn put(&self, whose: &str, sha256: &str, bytes: &[u8]) {
        let written = self.part().and_then(|mut part| {
            io::Write::write_all(&mut part.file, bytes)?;
            self.keep(part, whose, sha256)
        });
        if let Err(error) = written {
            eprintln!(
                "The cache {} can not be written: {error}",
                self.folder.display()
            );
        }
    }

    /// A new file beside.
    ///
    /// # Errors
    /// Where the folder can not be written.
    pub fn part(&self) -> io::Result<Part> {
        let number = self.number.fetch_add(1, Ordering::Relaxed);
        fs::create_dir_all(&self.folder)?;
        let path = self
            .folder
            .join(format!("part-{}-{number}", std::process::id()));
        let file = File::create(&path)?;
        Ok(Part { file, path })
    }

    /// Moves a verified file to its place.
    ///
    /// # Errors
    /// Where the folder can not be written.
    pub fn keep(&self, part: Part, whose: &str, sha256: &str) -> io::Result<()> {
        let path = self.path(whose, sha256);
        if let Some(folder) = path.parent() {
            fs::create_dir_all(folder)?;
        }
        let size = part.file.metadata()?.len();
        fs::rename(&part.path, &path)?;
        let grown = self.grown.fetch_add(size, Ordering::Relaxed) + size;
        if grown > self.most / 8 {
            self.grown.store(0, Ordering::Relaxed);
            self.make_room();
        }
        Ok(())
    }

    /// Removes the files that were used longest ago, until the rest is within seven eighths of the bound.
    fn make_room(&self) {
        let mut files = Vec::new();
        let mut folders = vec![self.folder.clone()];
        while let Some(folder) = folders.pop() {
            for entry in fs::read_dir(&folder).into_iter().flatten().flatten() {
                let Ok(about) = entry.metadata() else {
                    continue;
                };
                if about.is_dir() {
                    folders.push(entry.path());
                } else if let Ok(used) = about.modified() {
                    files.push((used, about.len(), entry.path()));
                }
            }
        }
        let mut size: u64 = files.iter().map(|(_, size, _)| size).sum();
        files.sort();
        for (_, length, path) in files {
            if size <= self.most - self.most / 8 {
                break;
            }
            if fs::remove_file(&path).is_ok() {
                size -= length;
            }
        }
    }
}
