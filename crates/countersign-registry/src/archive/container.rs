//! The file that a backup is: a plain POSIX tar, so that it can be looked into with any tool, ended by a *seal*, a
//! member that holds the SHA-256 of every byte before it. A backup without its seal, or with a byte changed anywhere,
//! is refused before anything is written.
//!
//! Written and read by hand: we read back only what we write (regular files, short names, no extensions), so every
//! other trick of the format is an error here instead of something to be careful about.

use std::fs::File;
use std::io::{BufReader, BufWriter, Read, Write};
use std::path::{Path, PathBuf};

use countersign_trust::digest::Sha256;
use sha2::Digest;

use crate::error::{Error, Kind, Result};

/// Tar's unit.
const BLOCK: usize = 512;

/// Tar counts a member's size in eleven octal digits.
const MOST: u64 = 0o77_777_777_777;

/// Name of the last member.
const SEAL: &str = "seal";

/// First words of the seal.
const SEAL_WORDS: &str = "countersign-backup-seal/v1 sha256:";

/// A backup that is being written, under a name of its own until it is whole.
pub(super) struct Writer {
    out: BufWriter<File>,
    hash: sha2::Sha256,
    written: u64,
    target: PathBuf,
    partial: PathBuf,
    /// Bytes of the member at hand that are still to come, then its padding.
    open: u64,
    padding: usize,
    seconds: u64,
    finished: bool,
}

impl Drop for Writer {
    /// A backup that broke off leaves nothing behind.
    fn drop(&mut self) {
        if !self.finished
            && let Err(error) = std::fs::remove_file(&self.partial)
        {
            tracing::warn!(%error, path = %self.partial.display(), "an unfinished backup could not be removed");
        }
    }
}

impl Writer {
    /// Begins `FILE.partial`, readable by its owner alone: a backup holds e-mail addresses and hashes of tokens.
    pub(super) fn create(target: &Path, seconds: u64) -> Result<Self> {
        if target.exists() {
            return Err(Error::new(
                Kind::Conflict,
                "backup-exists",
                format!("{} is there already.", target.display()),
            )
            .remedy("Give another file name; a backup is never overwritten."));
        }
        let mut name = target.as_os_str().to_owned();
        name.push(".partial");
        let partial = PathBuf::from(name);
        let mut options = std::fs::OpenOptions::new();
        options.write(true).create(true).truncate(true);
        #[cfg(unix)]
        std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
        let file = options
            .open(&partial)
            .map_err(|source| unwritten(&partial, source))?;
        Ok(Self {
            out: BufWriter::with_capacity(1 << 20, file),
            hash: sha2::Sha256::new(),
            written: 0,
            target: target.to_owned(),
            partial,
            open: 0,
            padding: 0,
            seconds,
            finished: false,
        })
    }

    /// Writes a whole member.
    pub(super) fn member(&mut self, name: &str, bytes: &[u8]) -> Result<()> {
        self.begin(name, bytes.len() as u64)?;
        self.piece(bytes)?;
        self.end()
    }

    /// Begins a member of a size that is known.
    pub(super) fn begin(&mut self, name: &str, size: u64) -> Result<()> {
        let header = header(name, size, self.seconds)?;
        self.raw(&header)?;
        self.open = size;
        self.padding = padding(size);
        Ok(())
    }

    /// Some of its bytes.
    pub(super) fn piece(&mut self, bytes: &[u8]) -> Result<()> {
        self.open = self.open.checked_sub(bytes.len() as u64).ok_or_else(|| {
            Error::internal("a member of the backup outgrew its size", "tar".to_owned())
        })?;
        self.raw(bytes)
    }

    /// How many bytes the member at hand still wants.
    pub(super) fn wanting(&self) -> u64 {
        self.open
    }

    /// Ends a member.
    pub(super) fn end(&mut self) -> Result<()> {
        if self.open != 0 {
            return Err(Error::internal(
                "a member of the backup is shorter than its size",
                self.open.to_string(),
            ));
        }
        let padding = std::mem::take(&mut self.padding);
        self.raw(&[0; BLOCK][..padding])
    }

    /// Seals, syncs and gives the file its name. Returns its size in bytes.
    pub(super) fn finish(mut self) -> Result<u64> {
        let digest = Sha256(self.hash.clone().finalize().into());
        let seal = format!("{SEAL_WORDS}{digest}\n");
        self.member(SEAL, seal.as_bytes())?;
        self.raw(&[0; 2 * BLOCK])?;
        let partial = self.partial.clone();
        let failed = |source| unwritten(&partial, source);
        self.out.flush().map_err(failed)?;
        self.out.get_ref().sync_all().map_err(failed)?;
        std::fs::rename(&self.partial, &self.target).map_err(failed)?;
        self.finished = true;
        let folder = match self.target.parent() {
            Some(folder) if !folder.as_os_str().is_empty() => folder,
            _ => Path::new("."),
        };
        File::open(folder)
            .and_then(|folder| folder.sync_all())
            .map_err(failed)?;
        Ok(self.written)
    }

    fn raw(&mut self, bytes: &[u8]) -> Result<()> {
        self.hash.update(bytes);
        self.written += bytes.len() as u64;
        self.out
            .write_all(bytes)
            .map_err(|source| unwritten(&self.partial, source))
    }
}

fn unwritten(path: &Path, source: std::io::Error) -> Error {
    Error::unavailable(
        "backup-unwritten",
        format!(
            "The backup {} can not be written: {source}.",
            path.display()
        ),
    )
    .remedy("Give a file name in a folder that this user may write to, with enough room.")
    .because(source)
}

/// A backup that is being read. What it hands out may be believed only after [`Reader::check`] has passed.
pub(super) struct Reader {
    input: BufReader<File>,
    path: PathBuf,
    hash: sha2::Sha256,
    open: u64,
    padding: usize,
}

impl Reader {
    /// Opens a backup.
    pub(super) fn open(path: &Path) -> Result<Self> {
        let file = File::open(path).map_err(|source| {
            Error::new(
                Kind::NotFound,
                "backup-unreadable",
                format!("The backup {} can not be opened: {source}.", path.display()),
            )
            .remedy("Give the file that `countersignd backup` wrote.")
            .because(source)
        })?;
        Ok(Self {
            input: BufReader::with_capacity(256 << 10, file),
            path: path.to_owned(),
            hash: sha2::Sha256::new(),
            open: 0,
            padding: 0,
        })
    }

    /// Reads the whole file and holds it against its seal. `progress` is told bytes done and bytes in all.
    pub(super) fn check(path: &Path, progress: &mut dyn FnMut(u64, u64)) -> Result<()> {
        let mut reader = Self::open(path)?;
        let all = reader
            .input
            .get_ref()
            .metadata()
            .map_or(0, |meta| meta.len());
        let mut done = 0;
        let mut buffer = vec![0; 64 << 10];
        loop {
            let before = reader.hash.clone();
            let Some((name, size)) = reader.next()? else {
                return Err(reader.damaged("it has no seal; its writing was cut short"));
            };
            if name != SEAL {
                loop {
                    let read = reader.read(&mut buffer)?;
                    if read == 0 {
                        break;
                    }
                    done += read as u64;
                    progress(done, all);
                }
                continue;
            }
            let digest = Sha256(before.finalize().into());
            let seal = reader.whole(size, 4_096)?;
            reader.read(&mut [0])?;
            if seal != format!("{SEAL_WORDS}{digest}\n").as_bytes() {
                return Err(reader.damaged("its bytes are not those that its seal names"));
            }
            // The end of a tar, and nothing after it.
            let mut rest = Vec::new();
            (&mut reader.input)
                .take(3 * BLOCK as u64)
                .read_to_end(&mut rest)
                .map_err(|source| reader.damaged(&source.to_string()))?;
            if rest.len() != 2 * BLOCK || rest.iter().any(|byte| *byte != 0) {
                return Err(reader.damaged("something stands after its seal"));
            }
            return Ok(());
        }
    }

    /// The next member: name and size. Skips what is left of the one before.
    pub(super) fn next(&mut self) -> Result<Option<(String, u64)>> {
        let mut rest = [0; 8_192];
        while self.read(&mut rest)? > 0 {}
        let mut block = [0; BLOCK];
        match self.input.read_exact(&mut block) {
            Ok(()) => {}
            Err(source) if source.kind() == std::io::ErrorKind::UnexpectedEof => return Ok(None),
            Err(source) => return Err(self.damaged(&source.to_string())),
        }
        if block == [0; BLOCK] {
            return Ok(None);
        }
        self.hash.update(block);
        let (name, size) = parse(&block)
            .ok_or_else(|| self.damaged("one of its headers is not one that a backup has"))?;
        self.open = size;
        self.padding = padding(size);
        Ok(Some((name, size)))
    }

    /// Some bytes of the member at hand; 0 at its end.
    pub(super) fn read(&mut self, buffer: &mut [u8]) -> Result<usize> {
        let most = usize::try_from(self.open)
            .unwrap_or(usize::MAX)
            .min(buffer.len());
        if most == 0 {
            if self.open == 0 && self.padding > 0 {
                let mut zeros = [0; BLOCK];
                let padding = std::mem::take(&mut self.padding);
                let cut = self.damaged("it is cut short");
                self.input
                    .read_exact(&mut zeros[..padding])
                    .map_err(|source| cut.because(source))?;
                if zeros[..padding].iter().any(|byte| *byte != 0) {
                    return Err(self.damaged("something stands between its members"));
                }
                self.hash.update(&zeros[..padding]);
            }
            return Ok(0);
        }
        let read = self
            .input
            .read(&mut buffer[..most])
            .map_err(|source| self.damaged(&source.to_string()))?;
        if read == 0 {
            return Err(self.damaged("it is cut short"));
        }
        self.hash.update(&buffer[..read]);
        self.open -= read as u64;
        Ok(read)
    }

    /// The member at hand as a whole, at most `most` bytes.
    pub(super) fn whole(&mut self, size: u64, most: u64) -> Result<Vec<u8>> {
        if size > most {
            return Err(self.damaged("a member is larger than it may be"));
        }
        let mut bytes = vec![0; usize::try_from(size).unwrap_or(0)];
        let mut filled = 0;
        while filled < bytes.len() {
            filled += self.read(&mut bytes[filled..])?;
        }
        Ok(bytes)
    }

    /// An error about this backup.
    pub(super) fn damaged(&self, why: &str) -> Error {
        damaged(&self.path, why)
    }
}

/// An error about a backup that can not be used.
pub(super) fn damaged(path: &Path, why: &str) -> Error {
    Error::new(
        Kind::Rejected,
        "backup-damaged",
        format!("The backup {} is not usable: {why}.", path.display()),
    )
    .remedy("Take another copy of it, or an older backup. Nothing was restored.")
}

fn padding(size: u64) -> usize {
    usize::try_from((BLOCK as u64 - size % BLOCK as u64) % BLOCK as u64).unwrap_or(0)
}

fn checksum(block: &[u8; BLOCK]) -> u32 {
    let bytes = block.iter().enumerate();
    bytes
        .map(|(at, byte)| {
            u32::from(if (148..156).contains(&at) {
                b' '
            } else {
                *byte
            })
        })
        .sum()
}

fn header(name: &str, size: u64, seconds: u64) -> Result<[u8; BLOCK]> {
    if name.len() > 99 || size > MOST {
        return Err(Error::internal(
            "a member does not fit into a tar",
            format!("{name}, {size} bytes"),
        ));
    }
    let mut block = [0; BLOCK];
    let mut put =
        |at: usize, text: &str| block[at..at + text.len()].copy_from_slice(text.as_bytes());
    put(0, name);
    put(100, "0000600\0");
    put(108, "0000000\0");
    put(116, "0000000\0");
    put(124, &format!("{size:011o}\0"));
    put(136, &format!("{:011o}\0", seconds.min(MOST)));
    put(156, "0");
    put(257, "ustar\u{0}00");
    let sum = checksum(&block);
    block[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
    Ok(block)
}

/// Name and size, if this is a header as [`header`] writes it: everything else in it is then fixed.
fn parse(block: &[u8; BLOCK]) -> Option<(String, u64)> {
    let octal = |range: std::ops::Range<usize>| {
        let text = std::str::from_utf8(&block[range]).ok()?;
        u64::from_str_radix(text, 8).ok()
    };
    let length = block[..100].iter().position(|byte| *byte == 0)?;
    let name = std::str::from_utf8(&block[..length]).ok()?;
    let size = octal(124..135)?;
    let seconds = octal(136..147)?;
    (header(name, size, seconds).ok()? == *block).then(|| (name.to_owned(), size))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sample(folder: &Path) -> PathBuf {
        let path = folder.join("a.backup");
        let mut writer = Writer::create(&path, 1_700_000_000).unwrap();
        writer.member("manifest.json", b"{}").unwrap();
        writer
            .member("tables/x/00000000.jsonl", &[b'7'; 700])
            .unwrap();
        writer.member("empty", b"").unwrap();
        writer.finish().unwrap();
        path
    }

    #[test]
    fn what_was_written_is_read_back_and_passes_its_seal() {
        let folder = tempfile::tempdir().unwrap();
        let path = sample(folder.path());
        Reader::check(&path, &mut |_, _| {}).unwrap();
        let mut reader = Reader::open(&path).unwrap();
        let mut seen = Vec::new();
        while let Some((name, size)) = reader.next().unwrap() {
            seen.push((name, reader.whole(size, 1_000).unwrap().len()));
        }
        let names: Vec<_> = seen
            .iter()
            .map(|(name, size)| (name.as_str(), *size))
            .collect();
        assert_eq!(
            names[..3],
            [
                ("manifest.json", 2),
                ("tables/x/00000000.jsonl", 700),
                ("empty", 0)
            ]
        );
        assert_eq!(
            Writer::create(&path, 0).err().unwrap().code,
            "backup-exists"
        );
    }

    #[test]
    fn every_flipped_byte_and_every_cut_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let path = sample(folder.path());
        let good = std::fs::read(&path).unwrap();
        for at in 0..good.len() {
            let mut bad = good.clone();
            bad[at] ^= 0x01;
            std::fs::write(&path, &bad).unwrap();
            let error = Reader::check(&path, &mut |_, _| {}).unwrap_err();
            assert_eq!(error.code, "backup-damaged", "byte {at}");
        }
        for length in (0..good.len()).step_by(97) {
            std::fs::write(&path, &good[..length]).unwrap();
            assert!(
                Reader::check(&path, &mut |_, _| {}).is_err(),
                "cut at {length}"
            );
        }
    }
}
