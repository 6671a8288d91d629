//! Gzipped tar (POSIX ustar and pax, GNU long names), of which one layout is accepted: one gzip
//! stream, regular files and directories, at most one extension header per entry, sizes that stand
//! in the header alone, zero padding, two zero blocks and nothing but zeros behind them.

use std::{
    collections::HashMap,
    io::{BufReader, Read, SeekFrom},
};

use sha2::{Digest, Sha256};

use super::{
    Budget, Member, MemberKind, Summary, Visitor, fault, gzip::GzipReader, path, read_exact,
    read_rejection,
};
use crate::{Limits, ReadSeek, Rejection, rejection::quoted};

const BLOCK: usize = 512;
/// Largest extension header. Real ones hold a path and some times.
const MAX_EXTENSION: u64 = 64 << 10;

/// What an ecosystem tolerates or demands beyond the one layout.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rules {
    /// Symbolic links whose target lies in the archive's top directory. The target must be
    /// relative, with `..` only at its beginning, and no member may lie below a link, so that
    /// neither extraction nor the order of links can lead outside.
    pub inner_symlinks: bool,
    /// The setgid bit on directories: folders shared by a group have it, and tar keeps it.
    pub setgid_directories: bool,
    /// A leading pax global header with nothing but a comment, as `git archive` writes it.
    pub global_comment: bool,
    /// `.` as a part of a path, which means nothing to any reader (`package/./index.js`).
    pub dot_parts: bool,
    /// Notes that old Node.js tools leave in pax headers, and that no reader goes by.
    pub node_notes: bool,
    /// Zeros behind the gzip stream, as tar writes them to fill a record.
    pub zero_padding: bool,
    /// A file that stands twice with the same bytes; each is shown to the visitor.
    pub same_twice: bool,
}

impl Rules {
    /// Nothing beyond the one layout.
    pub const STRICT: Rules = Rules {
        inner_symlinks: false,
        setgid_directories: false,
        global_comment: false,
        dot_parts: false,
        node_notes: false,
        zero_padding: false,
        same_twice: false,
    };
}

/// Checks a whole `.tar.gz` of `size` bytes, all of whose members must lie in one top directory, and
/// shows each member to `visit`, in order.
///
/// # Errors
/// Refuses everything but the one layout, and archives beyond the limits.
pub fn check(
    bytes: &mut dyn ReadSeek,
    size: u64,
    limits: &Limits,
    rules: Rules,
    visit: &mut Visitor<'_>,
) -> Result<Summary, Rejection> {
    bytes
        .seek(SeekFrom::Start(0))
        .map_err(|error| Rejection::unreadable(&error))?;
    let input = BufReader::with_capacity(64 << 10, bytes);
    let mut blocks = Counted {
        inner: GzipReader::new(input, rules.zero_padding)?,
        budget: Budget::new(limits, size),
    };
    let mut tree = path::Tree::default();
    let mut digests: HashMap<String, [u8; 32]> = HashMap::new();
    let mut summary = Summary::default();
    let mut top: Option<String> = None;
    let mut extension: Option<Extension> = None;
    let mut extension_bytes = 0;
    let mut first = true;
    loop {
        let mut block = [0; BLOCK];
        read_exact(&mut blocks, &mut block)?;
        if block == [0; BLOCK] {
            if extension.is_some() {
                return Err(layout("An extension header has no entry after it."));
            }
            end(&mut blocks)?;
            return Ok(summary);
        }
        let header = Header::read(&block)?;
        let at_beginning = std::mem::replace(&mut first, false);
        match header.kind {
            b'g' if rules.global_comment && at_beginning => {
                let records = pax_records(&extension_data(&mut blocks, &header)?, rules)?;
                if records.keys().any(|key| key != "comment") {
                    return Err(layout(
                        "The archive has a global extension header with more than a comment.",
                    ));
                }
                continue;
            }
            b'x' | b'L' if extension.is_some() => {
                return Err(layout("An entry has two extension headers."));
            }
            b'x' => {
                extension_bytes += header.size;
                let data = extension_data(&mut blocks, &header)?;
                extension = Some(Extension::Pax(pax_records(&data, rules)?));
            }
            b'L' => {
                extension_bytes += header.size;
                extension = Some(Extension::LongName(
                    text_field(&extension_data(&mut blocks, &header)?)?.to_vec(),
                ));
            }
            _ => {
                let entry = Entry::new(&header, extension.take(), limits, rules)?;
                one_top(&mut top, &entry.path)?;
                let file = entry.kind == MemberKind::File;
                let before = digests.get(&entry.path).filter(|_| file).copied();
                if before.is_none() {
                    tree.insert(&entry.path, entry.kind)?;
                }
                let member = Member {
                    path: &entry.path,
                    kind: entry.kind,
                    size: header.size,
                };
                let mut reader = Hashed {
                    inner: (&mut blocks).take(header.size),
                    hash: (rules.same_twice && file).then(Sha256::new),
                };
                visit(&member, &mut reader)?;
                drain(&mut reader, &entry.path)?;
                if let Some(digest) = reader.hash.map(|hash| hash.finalize().into()) {
                    if before.is_some_and(|before| before != digest) {
                        return Err(path::twice(&entry.path));
                    }
                    digests.insert(entry.path, digest);
                }
                padding(&mut blocks, header.size)?;
                summary.members += 1;
                summary.unpacked += header.size;
                if summary.members > limits.max_entries as u64 {
                    return Err(Rejection::new(
                        "archive-too-many-members",
                        format!("The archive has more than {} members.", limits.max_entries),
                    ));
                }
            }
        }
        if extension_bytes > limits.max_directory {
            return Err(Rejection::new(
                "archive-directory-too-large",
                format!(
                    "The extension headers hold more than {} bytes.",
                    limits.max_directory
                ),
            ));
        }
    }
}

fn layout(message: &str) -> Rejection {
    Rejection::new("archive-layout", message).with_remedy(
        "Build the archive with the ecosystem's own tool, such as `uv build` or `cargo package`.",
    )
}

/// The unpacked stream, counted against the budget.
struct Counted<R> {
    inner: GzipReader<R>,
    budget: Budget,
}

impl<R: std::io::BufRead> Read for Counted<R> {
    fn read(&mut self, out: &mut [u8]) -> std::io::Result<usize> {
        let read = self.inner.read(out)?;
        self.budget.spend(read as u64).map_err(fault)?;
        Ok(read)
    }
}

/// A member's bytes, hashed where they are to be compared.
struct Hashed<R> {
    inner: std::io::Take<R>,
    hash: Option<Sha256>,
}

impl<R: Read> Read for Hashed<R> {
    fn read(&mut self, out: &mut [u8]) -> std::io::Result<usize> {
        let read = self.inner.read(out)?;
        if let Some(hash) = &mut self.hash {
            hash.update(&out[..read]);
        }
        Ok(read)
    }
}

/// Reads what the visitor left of a member.
fn drain(reader: &mut Hashed<impl Read>, path: &str) -> Result<(), Rejection> {
    let mut scratch = [0; 16 << 10];
    while reader.inner.limit() > 0 {
        let read = reader
            .read(&mut scratch)
            .map_err(|error| read_rejection(&error))?;
        if read == 0 {
            return Err(Rejection::new(
                "archive-truncated",
                format!("The archive ends in the middle of {}.", quoted(path)),
            ));
        }
    }
    Ok(())
}

fn padding(blocks: &mut impl Read, size: u64) -> Result<(), Rejection> {
    // Less than a block, whatever the size.
    let length = (size.next_multiple_of(BLOCK as u64) - size) as usize;
    let mut bytes = [0; BLOCK];
    read_exact(blocks, &mut bytes[..length])?;
    if bytes.iter().any(|b| *b != 0) {
        return Err(layout("The padding after a member is not zero."));
    }
    Ok(())
}

/// After one zero block: a second one, then zeros in whole blocks until the gzip stream ends.
fn end(blocks: &mut impl Read) -> Result<(), Rejection> {
    let mut total = 0_u64;
    let mut scratch = [0; 16 << 10];
    loop {
        let read = blocks
            .read(&mut scratch)
            .map_err(|error| read_rejection(&error))?;
        if read == 0 {
            break;
        }
        total += read as u64;
        if scratch[..read].iter().any(|b| *b != 0) {
            return Err(Rejection::new(
                "archive-trailing-data",
                "There is data after the end of the tar archive.",
            ));
        }
    }
    if total == 0 || !total.is_multiple_of(BLOCK as u64) {
        return Err(layout(
            "The archive does not end with two whole zero blocks.",
        ));
    }
    Ok(())
}

fn one_top(top: &mut Option<String>, path: &str) -> Result<(), Rejection> {
    let first = path.split('/').next().unwrap_or(path);
    let top = top.get_or_insert_with(|| first.to_owned());
    if top != first {
        return Err(Rejection::new(
            "archive-top-directory",
            format!(
                "The archive has more than one top directory: {} and {}.",
                quoted(top),
                quoted(first)
            ),
        ));
    }
    Ok(())
}

/// A header block, its checksum proven.
struct Header<'a> {
    block: &'a [u8; BLOCK],
    kind: u8,
    size: u64,
    gnu: bool,
}

impl<'a> Header<'a> {
    fn read(block: &'a [u8; BLOCK]) -> Result<Self, Rejection> {
        let sum: u64 = block
            .iter()
            .enumerate()
            .map(|(at, byte)| {
                if (148..156).contains(&at) {
                    32
                } else {
                    u64::from(*byte)
                }
            })
            .sum();
        if octal(&block[148..156])? != sum {
            return Err(Rejection::new(
                "archive-corrupt",
                "The checksum of a tar header is wrong.",
            ));
        }
        let gnu = match &block[257..265] {
            b"ustar\x0000" => false,
            b"ustar  \0" => true,
            _ => return Err(layout("A tar header is neither POSIX ustar nor GNU.")),
        };
        Ok(Self {
            block,
            kind: block[156],
            size: octal(&block[124..136])?,
            gnu,
        })
    }

    /// The name in the header, with the prefix where there is one.
    fn name(&self) -> Result<Vec<u8>, Rejection> {
        let name = text_field(&self.block[..100])?;
        if self.gnu {
            return Ok(name.to_vec());
        }
        // The "xstar" layout keeps two times at the end of the prefix.
        let times = &self.block[476..500];
        let xstar = self.block[475] == 0
            && times.iter().any(|b| *b != 0)
            && times.iter().all(|b| matches!(b, 0 | b' ' | b'0'..=b'7'));
        let prefix = text_field(&self.block[345..if xstar { 475 } else { 500 }])?;
        Ok(match prefix {
            [] => name.to_vec(),
            _ => [prefix, b"/", name].concat(),
        })
    }
}

/// What an extension header says about the entry after it.
enum Extension {
    Pax(HashMap<String, Vec<u8>>),
    LongName(Vec<u8>),
}

/// A member as its headers together describe it.
struct Entry {
    path: String,
    kind: MemberKind,
}

impl Entry {
    fn new(
        header: &Header<'_>,
        extension: Option<Extension>,
        limits: &Limits,
        rules: Rules,
    ) -> Result<Self, Rejection> {
        let mut name = header.name()?;
        let mut target = None;
        match extension {
            Some(Extension::LongName(long)) => name = long,
            Some(Extension::Pax(mut records)) => {
                if let Some(size) = records.get("size")
                    && decimal(size) != Some(header.size)
                {
                    return Err(Rejection::new(
                        "archive-header-mismatch",
                        "An extension header gives another size than the tar header.",
                    )
                    .with_remedy("Readers disagree which one counts: build the archive again."));
                }
                if let Some(long) = records.remove("path") {
                    name = long;
                }
                target = records.remove("linkpath");
            }
            None => {}
        }
        if rules.dot_parts {
            name = path::without_dots(&name);
        }
        let (path, slash) = path::check(&name, limits.max_member_path)?;
        let rejection =
            |code, why: &str| Rejection::new(code, format!("The member {} {why}.", quoted(path)));
        let refused = |code, why: String| Err(rejection(code, &why));
        let kind = match header.kind {
            b'0' | 0 if slash => {
                return refused(
                    "archive-member-type",
                    "is a file with the name of a directory".to_owned(),
                );
            }
            b'0' | 0 => MemberKind::File,
            b'5' => MemberKind::Directory,
            b'2' if rules.inner_symlinks && !slash => MemberKind::Symlink,
            b'1' | b'2' => {
                return Err(rejection("archive-member-type", "is a link")
                    .with_remedy("Put a copy of the file in its place."));
            }
            other => {
                return refused(
                    "archive-member-type",
                    format!("is of the type {:?}", char::from(other)),
                );
            }
        };
        if kind != MemberKind::File && header.size != 0 {
            return refused(
                "archive-layout",
                "is a directory or link with data".to_owned(),
            );
        }
        let mode = octal(&header.block[100..108])?;
        let tolerated = match kind {
            MemberKind::Directory if rules.setgid_directories => 0o2000,
            _ => 0,
        };
        if mode & 0o7000 & !tolerated != 0 && kind != MemberKind::Symlink {
            return refused(
                "archive-member-mode",
                format!("is setuid, setgid or sticky (mode {mode:o})"),
            );
        }
        if kind == MemberKind::Symlink {
            let target = match target {
                Some(target) => target,
                None => text_field(&header.block[157..257])?.to_vec(),
            };
            if !stays_inside(path, &target, limits) {
                return refused(
                    "archive-link-outside",
                    format!(
                        "links to {}, which is not plainly inside the package",
                        quoted(&String::from_utf8_lossy(&target))
                    ),
                );
            }
        } else if target.is_some() {
            return refused(
                "archive-layout",
                "has a link target but is no link".to_owned(),
            );
        }
        Ok(Self {
            path: path.to_owned(),
            kind,
        })
    }
}

/// Whether a link at `path` leads below the top directory for sure: see [`Rules::inner_symlinks`].
fn stays_inside(path: &str, target: &[u8], limits: &Limits) -> bool {
    let Ok(text) = std::str::from_utf8(target) else {
        return false;
    };
    // Directories between the link and the top one.
    let mut depth = path.matches('/').count().saturating_sub(1);
    let mut rest = text;
    while let Some(after) = rest.strip_prefix("../") {
        let Some(up) = depth.checked_sub(1) else {
            return false;
        };
        depth = up;
        rest = after;
    }
    path.contains('/') && path::check(rest.as_bytes(), limits.max_member_path).is_ok()
}

fn extension_data(blocks: &mut impl Read, header: &Header<'_>) -> Result<Vec<u8>, Rejection> {
    if header.size > MAX_EXTENSION {
        return Err(Rejection::new(
            "archive-layout",
            format!("An extension header of {} bytes is too large.", header.size),
        ));
    }
    let mut data = vec![0; header.size as usize];
    read_exact(blocks, &mut data)?;
    padding(blocks, header.size)?;
    Ok(data)
}

/// The records of a pax extension header, `LENGTH KEY=VALUE\n` each.
fn pax_records(mut data: &[u8], rules: Rules) -> Result<HashMap<String, Vec<u8>>, Rejection> {
    const KNOWN: &[&str] = &[
        "path", "linkpath", "mtime", "atime", "ctime", "uid", "gid", "uname", "gname", "size",
        "comment",
    ];
    // Attributes of the file on the packager's disk; extraction by installers ignores them.
    const KNOWN_PREFIXES: &[&str] = &["LIBARCHIVE.", "SCHILY.xattr.", "SCHILY.fflags"];
    const KNOWN_OTHERS: &[&str] = &[
        "SCHILY.dev",
        "SCHILY.ino",
        "SCHILY.nlink",
        "RHT.security.selinux",
    ];
    let malformed = || layout("A pax extension header is malformed.");
    let mut records = HashMap::new();
    while !data.is_empty() {
        let blank = data
            .iter()
            .take(8)
            .position(|b| *b == b' ')
            .ok_or_else(malformed)?;
        let length = decimal(&data[..blank])
            .and_then(|length| usize::try_from(length).ok())
            .ok_or_else(malformed)?;
        let record = data.get(blank + 1..length).ok_or_else(malformed)?;
        let record = record.strip_suffix(b"\n").ok_or_else(malformed)?;
        let equals = record
            .iter()
            .position(|b| *b == b'=')
            .ok_or_else(malformed)?;
        let key = std::str::from_utf8(&record[..equals]).map_err(|_| malformed())?;
        let known = KNOWN.contains(&key)
            || KNOWN_OTHERS.contains(&key)
            || KNOWN_PREFIXES.iter().any(|prefix| key.starts_with(prefix))
            || (rules.node_notes && is_node_note(key, &record[equals + 1..]));
        if !known {
            return Err(Rejection::new(
                "archive-layout",
                format!(
                    "A pax extension header has the key {}, which is not accepted.",
                    quoted(key)
                ),
            ));
        }
        if records
            .insert(key.to_owned(), record[equals + 1..].to_vec())
            .is_some()
        {
            return Err(Rejection::new(
                "archive-layout",
                format!("A pax extension header has the key {} twice.", quoted(key)),
            ));
        }
        data = &data[length..];
    }
    Ok(records)
}

/// Old Node.js tools kept the whole `package.json` in pax headers, and read back a few of their own
/// keys. Those may only say what the header says too.
fn is_node_note(key: &str, value: &[u8]) -> bool {
    match key.strip_prefix("NODETAR.") {
        Some("type") => matches!(value, b"File" | b"Directory"),
        Some("depth" | "blksize" | "blocks" | "follow") => true,
        Some(note) => note.starts_with("package.") || note.starts_with("ignoreFiles."),
        None => false,
    }
}

fn decimal(text: &[u8]) -> Option<u64> {
    if text.is_empty() || !text.iter().all(u8::is_ascii_digit) {
        return None;
    }
    std::str::from_utf8(text).ok()?.parse().ok()
}

/// A number in octal digits, with blanks before and blanks or NULs behind.
fn octal(field: &[u8]) -> Result<u64, Rejection> {
    let malformed = || layout("A number in a tar header is not octal.");
    let text = field.trim_ascii_start();
    let digits = text.iter().take_while(|b| matches!(b, b'0'..=b'7')).count();
    if text[digits..].iter().any(|b| !matches!(b, 0 | b' ')) {
        return Err(malformed());
    }
    // At most twelve digits: 36 bits.
    Ok(text[..digits]
        .iter()
        .fold(0, |sum, b| sum * 8 + u64::from(b - b'0')))
}

/// The text of a NUL-terminated field; what follows the NUL must be zero.
fn text_field(field: &[u8]) -> Result<&[u8], Rejection> {
    let end = field.iter().position(|b| *b == 0).unwrap_or(field.len());
    if field[end..].iter().any(|b| *b != 0) {
        return Err(layout("A text in a tar header has bytes after its end."));
    }
    Ok(&field[..end])
}
