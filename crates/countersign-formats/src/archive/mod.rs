//! Archives, read strictly: each format has one layout, which is what a simple writer makes, and
//! anything that two readers could understand differently is refused. Members are streamed once,
//! their sizes and checksums proven on the way; nothing is written to disk or held as a whole.

pub mod gzip;
mod inflate;
pub(crate) mod path;
pub mod tar;
pub mod zip;

use std::io::{self, Read, SeekFrom};

use crate::{Artifact, Limits, Rejection};

/// What a member is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum MemberKind {
    /// A regular file.
    File,
    /// A directory.
    Directory,
    /// A symbolic link; its target is proven to stay inside the archive's top directory.
    Symlink,
}

/// A member of an archive, as its header describes it and the checker has proven it.
#[derive(Debug, Clone, Copy)]
pub struct Member<'a> {
    /// Path with forward slashes, without one at the end.
    pub path: &'a str,
    /// What it is.
    pub kind: MemberKind,
    /// Unpacked size in bytes.
    pub size: u64,
}

/// What is called for each member, with its unpacked bytes. It need not read them all; the checker
/// does so afterwards. Read errors are to be turned into rejections by [`read_rejection`].
pub type Visitor<'v> = dyn FnMut(&Member<'_>, &mut dyn Read) -> Result<(), Rejection> + 'v;

/// What a whole archive amounts to.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Summary {
    /// Number of members, directories included.
    pub members: u64,
    /// Sum of the members' sizes in bytes.
    pub unpacked: u64,
}

/// Turns an error of a member's reader into what it stands for: the archive's fault as the checker
/// worded it, or our own failure to read.
pub fn read_rejection(error: &io::Error) -> Rejection {
    if let Some(rejection) = error
        .get_ref()
        .and_then(|inner| inner.downcast_ref::<Rejection>())
    {
        return rejection.clone();
    }
    match error.kind() {
        io::ErrorKind::UnexpectedEof => {
            Rejection::new("archive-truncated", "The archive ends too early.")
                .with_remedy("Build it again, and upload the whole file.")
        }
        _ => Rejection::unreadable(error),
    }
}

/// Reads a member that has to fit into memory.
///
/// # Errors
/// Refuses more than `max` bytes, and passes on the checker's faults.
pub fn read_member(
    member: &Member<'_>,
    reader: &mut dyn Read,
    max: u64,
) -> Result<Vec<u8>, Rejection> {
    let mut bytes = Vec::new();
    reader
        .take(max.saturating_add(1))
        .read_to_end(&mut bytes)
        .map_err(|error| read_rejection(&error))?;
    if bytes.len() as u64 > max {
        return Err(Rejection::new(
            "archive-member-too-large",
            format!(
                "{} is larger than the {max} bytes that are read of such a file.",
                crate::rejection::quoted(member.path)
            ),
        ));
    }
    Ok(bytes)
}

/// An error that carries a rejection through `io::Read`.
fn fault(rejection: Rejection) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, rejection)
}

/// Counts unpacked bytes against the limits, so that a bomb is refused while it expands.
struct Budget {
    max: u64,
    ratio_floor: u64,
    max_ratio: u64,
    packed: u64,
    used: u64,
}

impl Budget {
    fn new(limits: &Limits, packed: u64) -> Self {
        Self {
            max: limits.max_unpacked,
            ratio_floor: limits.ratio_floor,
            max_ratio: limits.max_ratio,
            packed,
            used: 0,
        }
    }

    fn spend(&mut self, bytes: u64) -> Result<(), Rejection> {
        self.used = self.used.saturating_add(bytes);
        if self.used > self.max {
            return Err(Rejection::new(
                "archive-too-large",
                format!("The archive unpacks to more than {} bytes.", self.max),
            )
            .with_remedy(
                "Leave large data out of the package, or ask the operator to raise the limit.",
            ));
        }
        if self.used > self.ratio_floor && self.used >= self.packed.saturating_mul(self.max_ratio) {
            return Err(Rejection::new(
                "archive-ratio",
                format!(
                    "The archive of {} bytes unpacks to {} times its size or more.",
                    self.packed, self.max_ratio
                ),
            )
            .with_remedy(
                "Such archives are decompression bombs or hold data that should be generated.",
            ));
        }
        Ok(())
    }
}

/// Fills `buffer` or says that the archive ends too early.
fn read_exact(reader: &mut (impl Read + ?Sized), buffer: &mut [u8]) -> Result<(), Rejection> {
    reader
        .read_exact(buffer)
        .map_err(|error| read_rejection(&error))
}

/// The refusal of a file that is two archives at once.
pub(crate) fn polyglot(other: &str) -> Rejection {
    Rejection::new(
        "archive-polyglot",
        format!("The file is a valid {other} archive as well."),
    )
    .with_remedy("Readers disagree about such files: build it again with a plain tool.")
}

/// Refuses a gzipped tar in which zip readers, which look for an end record near the end of a file, would find one.
pub(crate) fn refuse_zip_at_end(artifact: &mut Artifact<'_>) -> Result<(), Rejection> {
    const REACH: u64 = 65_535 + 22;
    let start = artifact.size.saturating_sub(REACH);
    let mut tail = Vec::new();
    artifact
        .bytes
        .seek(SeekFrom::Start(start))
        .and_then(|_| artifact.bytes.take(REACH).read_to_end(&mut tail))
        .map_err(|error| Rejection::unreadable(&error))?;
    for at in 0..tail.len().saturating_sub(21) {
        if !tail[at..].starts_with(b"PK\x05\x06") {
            continue;
        }
        // By chance these four bytes stand in one of 65,000 archives; a directory before them does not.
        let size = u64::from(u32::from_le_bytes([
            tail[at + 12],
            tail[at + 13],
            tail[at + 14],
            tail[at + 15],
        ]));
        let count = u16::from_le_bytes([tail[at + 10], tail[at + 11]]);
        let Some(directory) = (start + at as u64).checked_sub(size) else {
            continue;
        };
        let mut signature = [0; 4];
        artifact
            .bytes
            .seek(SeekFrom::Start(directory))
            .and_then(|_| artifact.bytes.read_exact(&mut signature))
            .map_err(|error| Rejection::unreadable(&error))?;
        if signature == *b"PK\x01\x02" || (count == 0 && size == 0) {
            return Err(polyglot("zip"));
        }
    }
    Ok(())
}
