//! Zip (APPNOTE 6.3.9), of which one layout is accepted: local header and data of every member one
//! after the other from offset 0, then the central directory in the same order, then the end
//! record, which is the end of the file. No gaps, overlaps, comments, second opinions.

use std::{
    collections::HashSet,
    io::{BufRead, BufReader, Read, SeekFrom, Take},
};

use flate2::Crc;

use super::{
    Budget, Member, MemberKind, Summary, Visitor, fault, inflate::Inflate, path, read_exact,
    read_rejection,
};
use crate::{Limits, ReadSeek, Rejection, rejection::quoted};

const END: usize = 22;
const LOCATOR: usize = 20;
const END64: usize = 56;
const CENTRAL: usize = 46;
const LOCAL: usize = 30;
/// In a 32-bit field: the true value stands in the ZIP64 extra field.
const MASKED: u64 = 0xffff_ffff;

const FLAG_DESCRIPTOR: u16 = 0x0008;
const FLAG_UTF8: u16 = 0x0800;
/// Bits 1 and 2 say how hard the compressor tried.
const FLAGS_HARMLESS: u16 = 0x0006 | FLAG_UTF8;

/// What an ecosystem tolerates beyond the one layout.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Rules {
    /// Sizes and checksum after the data instead of before, as streaming writers have it. Only with
    /// signature, and when both agree with the central directory.
    pub data_descriptors: bool,
}

/// Where the central directory is and how many records it has.
struct Directory {
    offset: u64,
    size: u64,
    count: u64,
}

/// One record of the central directory.
struct Record<'a> {
    name: &'a [u8],
    flags: u16,
    method: u16,
    crc: u32,
    packed: u64,
    size: u64,
    offset: u64,
    mode: u32,
}

/// Checks a whole archive of `size` bytes and shows each member to `visit`, in order.
///
/// # Errors
/// Refuses everything but the one layout, sizes or checksums that do not hold, and archives beyond
/// the limits.
pub fn check(
    bytes: &mut dyn ReadSeek,
    size: u64,
    limits: &Limits,
    rules: Rules,
    visit: &mut Visitor<'_>,
) -> Result<Summary, Rejection> {
    let directory = directory(bytes, size, limits)?;
    // Bounded by `max_directory` in `directory`.
    let mut central = vec![0; directory.size as usize];
    seek(bytes, directory.offset)?;
    read_exact(bytes, &mut central)?;
    seek(bytes, 0)?;
    let mut input = BufReader::with_capacity(64 << 10, bytes);
    let mut budget = Budget::new(limits, size);
    let mut tree = path::Tree::default();
    let mut summary = Summary::default();
    let mut rest = central.as_slice();
    let mut offset = 0;
    for _ in 0..directory.count {
        let record = record(&mut rest)?;
        let (name, slash) = path::check(record.name, limits.max_member_path)?;
        let kind = kind(&record, name, slash, rules)?;
        tree.insert(name, kind)?;
        if record.offset != offset {
            return Err(Rejection::new(
                "archive-layout",
                format!(
                    "{} does not begin where the member before it ends.",
                    quoted(name)
                ),
            ));
        }
        let (header, wide) = local(&mut input, &record, name)?;
        let data = offset + header;
        if data
            .checked_add(record.packed)
            .is_none_or(|end| end > directory.offset)
        {
            return Err(Rejection::new(
                "archive-layout",
                format!(
                    "The data of {} runs into the central directory.",
                    quoted(name)
                ),
            ));
        }
        let member = Member {
            path: name,
            kind,
            size: record.size,
        };
        let mut reader = MemberReader::new(&mut input, &record, name, &mut budget);
        visit(&member, &mut reader)?;
        reader.finish()?;
        offset = data + record.packed;
        if record.flags & FLAG_DESCRIPTOR != 0 {
            offset += descriptor(&mut input, &record, name, wide)?;
        }
        summary.members += 1;
        summary.unpacked += record.size;
    }
    if !rest.is_empty() {
        return Err(layout("The central directory is longer than its records."));
    }
    if offset != directory.offset {
        return Err(layout(
            "There is data between the last member and the central directory.",
        ));
    }
    Ok(summary)
}

fn layout(message: &str) -> Rejection {
    Rejection::new("archive-layout", message)
        .with_remedy("Build the archive with a plain tool such as `python -m build` or `uv build`.")
}

fn seek(bytes: &mut dyn ReadSeek, offset: u64) -> Result<(), Rejection> {
    bytes
        .seek(SeekFrom::Start(offset))
        .map(|_| ())
        .map_err(|error| Rejection::unreadable(&error))
}

fn directory(bytes: &mut dyn ReadSeek, size: u64, limits: &Limits) -> Result<Directory, Rejection> {
    let tail = size.min((END + LOCATOR + END64) as u64);
    if tail < END as u64 {
        return Err(Rejection::new(
            "archive-not-zip",
            "The file is too short to be a zip archive.",
        ));
    }
    seek(bytes, size - tail)?;
    // At most 98 bytes.
    let mut buffer = vec![0; tail as usize];
    read_exact(bytes, &mut buffer)?;
    let (before, end) = buffer.split_at(buffer.len() - END);
    if !end.starts_with(b"PK\x05\x06") || u16_at(end, 20) != 0 {
        return Err(Rejection::new(
            "archive-not-zip",
            "The file does not end with the end record of a zip archive: it is not a zip archive, has data after it, or has a comment.",
        ));
    }
    if u16_at(end, 4) != 0 || u16_at(end, 6) != 0 || u16_at(end, 8) != u16_at(end, 10) {
        return Err(layout("The archive claims to span several disks."));
    }
    let mut directory = Directory {
        count: u64::from(u16_at(end, 10)),
        size: u64::from(u32_at(end, 12)),
        offset: u64::from(u32_at(end, 16)),
    };
    let mut directory_end = size - END as u64;
    if before.len() >= LOCATOR && before[before.len() - LOCATOR..].starts_with(b"PK\x06\x07") {
        let (end64, locator) = before.split_at(before.len() - LOCATOR);
        let at = directory_end.checked_sub((LOCATOR + END64) as u64);
        if end64.len() != END64
            || !end64.starts_with(b"PK\x06\x06")
            || at != Some(u64_at(locator, 8))
        {
            return Err(layout(
                "The ZIP64 end record is not where its locator says, right before it.",
            ));
        }
        if u32_at(locator, 4) != 0
            || u32_at(locator, 16) != 1
            || u32_at(end64, 16) != 0
            || u32_at(end64, 20) != 0
        {
            return Err(layout("The archive claims to span several disks."));
        }
        if u64_at(end64, 4) != 44 || u64_at(end64, 24) != u64_at(end64, 32) {
            return Err(layout("The ZIP64 end record has extra data or two counts."));
        }
        let wide = Directory {
            count: u64_at(end64, 32),
            size: u64_at(end64, 40),
            offset: u64_at(end64, 48),
        };
        let agree = |narrow: u64, mask: u64, wide: u64| narrow == mask || narrow == wide;
        if !agree(directory.count, 0xffff, wide.count)
            || !agree(directory.size, MASKED, wide.size)
            || !agree(directory.offset, MASKED, wide.offset)
        {
            return Err(layout("The end record and the ZIP64 end record disagree."));
        }
        directory = wide;
        directory_end -= (LOCATOR + END64) as u64;
    }
    if directory.offset.checked_add(directory.size) != Some(directory_end) {
        return Err(layout(
            "The central directory does not end where the end record begins.",
        ));
    }
    if directory.count > limits.max_entries as u64 {
        return Err(Rejection::new(
            "archive-too-many-members",
            format!(
                "The archive has {} members; at most {} are accepted.",
                directory.count, limits.max_entries
            ),
        ));
    }
    if directory.size > limits.max_directory {
        return Err(Rejection::new(
            "archive-directory-too-large",
            format!(
                "The central directory has {} bytes; at most {} are accepted.",
                directory.size, limits.max_directory
            ),
        ));
    }
    Ok(directory)
}

/// Takes the next record off the central directory.
fn record<'a>(rest: &mut &'a [u8]) -> Result<Record<'a>, Rejection> {
    let short = || layout("The central directory has fewer records than it says.");
    let header = rest.get(..CENTRAL).ok_or_else(short)?;
    if !header.starts_with(b"PK\x01\x02") {
        return Err(short());
    }
    let (name_length, extra_length, comment_length) = (
        usize::from(u16_at(header, 28)),
        usize::from(u16_at(header, 30)),
        usize::from(u16_at(header, 32)),
    );
    let after_name = CENTRAL + name_length;
    let name = rest.get(CENTRAL..after_name).ok_or_else(short)?;
    let extra = rest
        .get(after_name..after_name + extra_length)
        .ok_or_else(short)?;
    if comment_length != 0 || u16_at(header, 34) != 0 {
        return Err(layout("A member has a comment or stands on another disk."));
    }
    let mut record = Record {
        name,
        flags: u16_at(header, 8),
        method: u16_at(header, 10),
        crc: u32_at(header, 16),
        packed: u64::from(u32_at(header, 20)),
        size: u64::from(u32_at(header, 24)),
        offset: u64::from(u32_at(header, 42)),
        mode: u32_at(header, 38) >> 16,
    };
    extra_fields(
        extra,
        name,
        &mut [&mut record.size, &mut record.packed, &mut record.offset],
    )?;
    *rest = &rest[after_name + extra_length..];
    Ok(record)
}

/// Reads extra fields: ZIP64 replaces those `values` that are masked, in their order, and must hold
/// exactly these. Returns whether there was a ZIP64 field.
fn extra_fields(mut extra: &[u8], name: &[u8], values: &mut [&mut u64]) -> Result<bool, Rejection> {
    let mut seen = HashSet::new();
    while !extra.is_empty() {
        let header = extra
            .get(..4)
            .ok_or_else(|| layout("An extra field is cut off."))?;
        let (id, length) = (u16_at(header, 0), usize::from(u16_at(header, 2)));
        let mut data = extra
            .get(4..4 + length)
            .ok_or_else(|| layout("An extra field overruns its header."))?;
        extra = &extra[4 + length..];
        if !seen.insert(id) {
            return Err(layout("A member has the same extra field twice."));
        }
        match id {
            // Bazel's archiver repeats both sizes of a local header here without need. Whoever reads
            // either pair reads the same numbers, so that this is harmless where they agree.
            0x0001 if matches!(values, [size, packed] if repeats(data, **size, **packed)) => {}
            0x0001 => {
                for value in values.iter_mut().filter(|value| ***value == MASKED) {
                    if data.len() < 8 {
                        return Err(layout("A ZIP64 extra field is too short."));
                    }
                    **value = u64_at(data, 0);
                    data = &data[8..];
                }
                if !data.is_empty() {
                    return Err(layout(
                        "A ZIP64 extra field holds values that the header does not ask for.",
                    ));
                }
            }
            // Info-ZIP's Unicode path: some readers prefer it to the name.
            0x7075 if data.get(5..) != Some(name) => {
                return Err(layout("A member's Unicode path differs from its name."));
            }
            _ => {}
        }
    }
    Ok(seen.contains(&0x0001))
}

/// Whether a ZIP64 field holds just the two sizes that the header already gives.
fn repeats(data: &[u8], size: u64, packed: u64) -> bool {
    data.len() == 16
        && size != MASKED
        && packed != MASKED
        && (u64_at(data, 0), u64_at(data, 8)) == (size, packed)
}

/// What a record is, if it is something acceptable.
fn kind(
    record: &Record<'_>,
    name: &str,
    slash: bool,
    rules: Rules,
) -> Result<MemberKind, Rejection> {
    let rejection =
        |code, why: &str| Rejection::new(code, format!("The member {} {why}.", quoted(name)));
    let refused = |code, why: String| Err(rejection(code, &why));
    let descriptor = if rules.data_descriptors {
        FLAG_DESCRIPTOR
    } else {
        0
    };
    if record.flags & FLAG_DESCRIPTOR & !descriptor != 0 {
        let why = "has its sizes after its data (a data descriptor)";
        return Err(rejection("archive-data-descriptor", why)
            .with_remedy("Write the archive to a file and not to a pipe."));
    }
    if record.flags & !(FLAGS_HARMLESS | descriptor) != 0 {
        return refused(
            "archive-flags",
            format!("is encrypted or has unknown flags ({:#06x})", record.flags),
        );
    }
    if record.flags & FLAG_UTF8 == 0 && !name.is_ascii() {
        return refused(
            "archive-member-name",
            "has a non-ASCII name that is not marked as UTF-8".to_owned(),
        );
    }
    if record.method != 0 && record.method != 8 {
        return refused(
            "archive-compression",
            format!(
                "is compressed by method {}; only stored and deflated members are accepted",
                record.method
            ),
        );
    }
    if record.method == 0 && record.packed != record.size {
        return refused(
            "archive-layout",
            "is stored with two different sizes".to_owned(),
        );
    }
    let file_type = record.mode & 0o170_000;
    let expected = if slash { 0o040_000 } else { 0o100_000 };
    if file_type != 0 && file_type != expected {
        return refused(
            "archive-member-type",
            format!("is a link or special file (mode {:o})", record.mode),
        );
    }
    if !slash && record.mode & 0o7000 != 0 {
        return refused(
            "archive-member-mode",
            format!("is setuid, setgid or sticky (mode {:o})", record.mode),
        );
    }
    if slash {
        if record.size != 0 {
            return refused("archive-layout", "is a directory with data".to_owned());
        }
        return Ok(MemberKind::Directory);
    }
    Ok(MemberKind::File)
}

/// Reads the local header and holds it against the central record. Returns its length and whether
/// it has ZIP64 sizes.
fn local(input: &mut impl Read, record: &Record<'_>, name: &str) -> Result<(u64, bool), Rejection> {
    let differs = || {
        Rejection::new(
            "archive-header-mismatch",
            format!(
                "The local header of {} differs from the central directory.",
                quoted(name)
            ),
        )
        .with_remedy("Readers disagree which one counts: build the archive again.")
    };
    let mut header = [0; LOCAL];
    read_exact(input, &mut header)?;
    if !header.starts_with(b"PK\x03\x04") {
        return Err(differs());
    }
    let mut local_name = vec![0; usize::from(u16_at(&header, 26))];
    read_exact(input, &mut local_name)?;
    let mut extra = vec![0; usize::from(u16_at(&header, 28))];
    read_exact(input, &mut extra)?;
    let mut packed = u64::from(u32_at(&header, 18));
    let mut size = u64::from(u32_at(&header, 22));
    let wide = extra_fields(&extra, &local_name, &mut [&mut size, &mut packed])?;
    if local_name != record.name
        || u16_at(&header, 6) != record.flags
        || u16_at(&header, 8) != record.method
    {
        return Err(differs());
    }
    let (crc, sizes) = (u32_at(&header, 14), (packed, size));
    let told = (record.crc, (record.packed, record.size));
    let deferred = record.flags & FLAG_DESCRIPTOR != 0 && crc == 0 && sizes == (0, 0);
    if !deferred && (crc, sizes) != told {
        return Err(differs());
    }
    Ok(((LOCAL + local_name.len() + extra.len()) as u64, wide))
}

/// Reads a data descriptor and returns its length.
fn descriptor(
    input: &mut impl Read,
    record: &Record<'_>,
    name: &str,
    wide: bool,
) -> Result<u64, Rejection> {
    let mut bytes = [0; 24];
    let length = if wide { 24 } else { 16 };
    read_exact(input, &mut bytes[..length])?;
    let sizes = if wide {
        (u64_at(&bytes, 8), u64_at(&bytes, 16))
    } else {
        (u64::from(u32_at(&bytes, 8)), u64::from(u32_at(&bytes, 12)))
    };
    if !bytes.starts_with(b"PK\x07\x08")
        || u32_at(&bytes, 4) != record.crc
        || sizes != (record.packed, record.size)
    {
        return Err(Rejection::new(
            "archive-header-mismatch",
            format!(
                "The data descriptor of {} differs from the central directory.",
                quoted(name)
            ),
        ));
    }
    Ok(length as u64)
}

/// Unpacks one member and proves its size and checksum.
struct MemberReader<'a, R: BufRead> {
    data: Data<Take<&'a mut R>>,
    name: &'a str,
    crc: Crc,
    got: u64,
    expected_crc: u32,
    size: u64,
    budget: &'a mut Budget,
    failure: Option<Rejection>,
}

enum Data<R> {
    Stored(R),
    Deflated(Box<Inflate<R>>),
}

impl<'a, R: BufRead> MemberReader<'a, R> {
    fn new(input: &'a mut R, record: &Record<'_>, name: &'a str, budget: &'a mut Budget) -> Self {
        let input = input.take(record.packed);
        Self {
            data: match record.method {
                0 => Data::Stored(input),
                _ => Data::Deflated(Box::new(Inflate::new(input))),
            },
            name,
            crc: Crc::new(),
            got: 0,
            expected_crc: record.crc,
            size: record.size,
            budget,
            failure: None,
        }
    }

    fn next(&mut self, out: &mut [u8]) -> Result<usize, Rejection> {
        let read = match &mut self.data {
            Data::Stored(data) => data.read(out),
            Data::Deflated(data) => data.read(out),
        }
        .map_err(|error| read_rejection(&error))?;
        self.got += read as u64;
        if self.got > self.size {
            return Err(self.wrong("unpacks to more bytes than it says"));
        }
        self.budget.spend(read as u64)?;
        self.crc.update(&out[..read]);
        Ok(read)
    }

    fn wrong(&self, why: &str) -> Rejection {
        Rejection::new(
            "archive-corrupt",
            format!("The member {} {why}.", quoted(self.name)),
        )
    }

    /// Reads what the visitor left and proves the whole.
    fn finish(mut self) -> Result<(), Rejection> {
        let mut scratch = [0; 16 << 10];
        loop {
            if let Some(failure) = self.failure.take() {
                return Err(failure);
            }
            if self.next(&mut scratch)? == 0 {
                break;
            }
        }
        let rest = match &mut self.data {
            Data::Stored(data) => data.limit(),
            Data::Deflated(data) => data.input_mut().limit(),
        };
        if rest != 0 {
            return Err(self.wrong("has bytes after its compressed data"));
        }
        if self.got != self.size || self.crc.sum() != self.expected_crc {
            return Err(self.wrong("has the wrong size or checksum"));
        }
        Ok(())
    }
}

impl<R: BufRead> Read for MemberReader<'_, R> {
    fn read(&mut self, out: &mut [u8]) -> std::io::Result<usize> {
        if out.is_empty() {
            return Ok(0);
        }
        if let Some(failure) = &self.failure {
            return Err(fault(failure.clone()));
        }
        self.next(out).map_err(|failure| {
            self.failure = Some(failure.clone());
            fault(failure)
        })
    }
}

/// Little-endian numbers at offsets that the caller has proven to exist.
fn u16_at(bytes: &[u8], at: usize) -> u16 {
    u16::from_le_bytes([bytes[at], bytes[at + 1]])
}

fn u32_at(bytes: &[u8], at: usize) -> u32 {
    u32::from(u16_at(bytes, at)) | u32::from(u16_at(bytes, at + 2)) << 16
}

fn u64_at(bytes: &[u8], at: usize) -> u64 {
    u64::from(u32_at(bytes, at)) | u64::from(u32_at(bytes, at + 4)) << 32
}
