//! A ZIP writer that can lie: every field of every record can be overridden, so that a test states an attack in
//! the words of the format. Without overrides it writes what a plain, careful writer writes, byte for byte the same
//! each time.

use std::io::Write as _;

use flate2::Compression;
use flate2::write::DeflateEncoder;

const LOCAL: u32 = 0x0403_4b50;
const CENTRAL: u32 = 0x0201_4b50;
const END: u32 = 0x0605_4b50;
const END64: u32 = 0x0606_4b50;
const LOCATOR64: u32 = 0x0706_4b50;
/// 1980-01-01, the earliest date the format knows.
const DATE: u16 = 0x0021;

/// One member, and what its records say of it. `None` means: the truth.
#[derive(Debug, Clone, Default)]
pub struct ZipMember {
    /// The name in the central directory, and in the local header unless [`Self::local_name`] says otherwise.
    pub name: Vec<u8>,
    /// What the member holds.
    pub data: Vec<u8>,
    /// Whether it is deflated rather than stored.
    pub deflate: bool,
    /// Another name in the local header.
    pub local_name: Option<Vec<u8>>,
    /// Bytes to stand for the compressed data.
    pub raw: Option<Vec<u8>>,
    /// Compression method in both headers.
    pub method: Option<u16>,
    /// General purpose flags in both headers.
    pub flags: u16,
    /// CRC-32 in both headers.
    pub crc: Option<u32>,
    /// Compressed size in both headers.
    pub compressed_size: Option<u32>,
    /// Uncompressed size in both headers.
    pub size: Option<u32>,
    /// Compressed size in the local header only.
    pub local_compressed_size: Option<u32>,
    /// Uncompressed size in the local header only.
    pub local_size: Option<u32>,
    /// Extra field of the local header.
    pub local_extra: Vec<u8>,
    /// Extra field of the central record.
    pub central_extra: Vec<u8>,
    /// Unix mode in the upper half; 0 means a regular file with mode 0644.
    pub external_attributes: u32,
    /// Bytes after the data, such as a data descriptor.
    pub after: Vec<u8>,
    /// Bytes before the local header.
    pub gap: Vec<u8>,
    /// Number of the disk the member begins on.
    pub disk: u16,
    /// Where the central record says that the local header is.
    pub offset: Option<u32>,
    /// Leaves the member out of the central directory.
    pub hidden: bool,
    /// Writes only the central record.
    pub phantom: bool,
}

impl ZipMember {
    /// A deflated member.
    pub fn new(name: impl AsRef<[u8]>, data: impl Into<Vec<u8>>) -> Self {
        Self {
            name: name.as_ref().to_vec(),
            data: data.into(),
            deflate: true,
            ..Self::default()
        }
    }

    /// A stored member.
    pub fn stored(name: impl AsRef<[u8]>, data: impl Into<Vec<u8>>) -> Self {
        Self {
            deflate: false,
            ..Self::new(name, data)
        }
    }
}

/// What the records at the end of a ZIP64 archive say.
#[derive(Debug, Clone, Copy)]
pub enum Zip64End {
    /// Record and locator, both true except that the record counts `extra` more entries.
    Both {
        /// Added to the true number of entries.
        extra: u64,
    },
    /// The record without its locator.
    RecordOnly,
    /// A locator that points nowhere.
    LocatorOnly,
}

/// A whole archive.
#[derive(Debug, Clone, Default)]
pub struct ZipArchive {
    /// Bytes before the first member; offsets count them.
    pub prefix: Vec<u8>,
    /// In order, the same order in the central directory.
    pub members: Vec<ZipMember>,
    /// ZIP64 records before the end record.
    pub zip64: Option<Zip64End>,
    /// Archive comment.
    pub comment: Vec<u8>,
    /// Bytes after everything.
    pub suffix: Vec<u8>,
    /// Number of this disk in the end record.
    pub disk: u16,
    /// Writes the end record twice.
    pub end_twice: bool,
}

impl ZipArchive {
    /// The member of that name, to be changed.
    ///
    /// # Panics
    /// If there is none: the test names a member that the builder did not make.
    pub fn member(&mut self, name: &str) -> &mut ZipMember {
        match self
            .members
            .iter_mut()
            .find(|member| member.name == name.as_bytes())
        {
            Some(member) => member,
            None => panic!("the archive has no member {name}"),
        }
    }

    /// The archive's bytes.
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut out = self.prefix.clone();
        let mut central = Vec::new();
        let mut count = 0u16;
        for member in &self.members {
            let compressed = member.raw.clone().unwrap_or_else(|| match member.deflate {
                true => deflate(&member.data),
                false => member.data.clone(),
            });
            let method = member.method.unwrap_or(if member.deflate { 8 } else { 0 });
            let crc = member.crc.unwrap_or_else(|| crc32fast::hash(&member.data));
            let compressed_size = member.compressed_size.unwrap_or(compressed.len() as u32);
            let size = member.size.unwrap_or(member.data.len() as u32);
            out.extend_from_slice(&member.gap);
            let offset = member.offset.unwrap_or(out.len() as u32);
            if !member.phantom {
                let name = member.local_name.as_ref().unwrap_or(&member.name);
                put32(&mut out, LOCAL);
                common(&mut out, member.flags, method, crc);
                put32(
                    &mut out,
                    member.local_compressed_size.unwrap_or(compressed_size),
                );
                put32(&mut out, member.local_size.unwrap_or(size));
                put16(&mut out, name.len() as u16);
                put16(&mut out, member.local_extra.len() as u16);
                out.extend_from_slice(name);
                out.extend_from_slice(&member.local_extra);
                out.extend_from_slice(&compressed);
                out.extend_from_slice(&member.after);
            }
            if member.hidden {
                continue;
            }
            count = count.wrapping_add(1);
            put32(&mut central, CENTRAL);
            put16(&mut central, 0x0314); // made on Unix by version 2.0
            common(&mut central, member.flags, method, crc);
            put32(&mut central, compressed_size);
            put32(&mut central, size);
            put16(&mut central, member.name.len() as u16);
            put16(&mut central, member.central_extra.len() as u16);
            put16(&mut central, 0);
            put16(&mut central, member.disk);
            put16(&mut central, 0);
            put32(
                &mut central,
                if member.external_attributes == 0 {
                    0o100_644 << 16
                } else {
                    member.external_attributes
                },
            );
            put32(&mut central, offset);
            central.extend_from_slice(&member.name);
            central.extend_from_slice(&member.central_extra);
        }
        let begin = out.len();
        out.extend_from_slice(&central);
        if let Some(kind) = self.zip64 {
            self.put_zip64(
                &mut out,
                kind,
                begin as u64,
                central.len() as u64,
                u64::from(count),
            );
        }
        for _ in 0..if self.end_twice { 2 } else { 1 } {
            put32(&mut out, END);
            put16(&mut out, self.disk);
            put16(&mut out, self.disk);
            put16(&mut out, count);
            put16(&mut out, count);
            put32(&mut out, central.len() as u32);
            put32(&mut out, begin as u32);
            put16(&mut out, self.comment.len() as u16);
            out.extend_from_slice(&self.comment);
        }
        out.extend_from_slice(&self.suffix);
        out
    }

    fn put_zip64(&self, out: &mut Vec<u8>, kind: Zip64End, begin: u64, length: u64, count: u64) {
        let record_at = out.len() as u64;
        let counted = if let Zip64End::Both { extra } = kind {
            count + extra
        } else {
            count
        };
        if !matches!(kind, Zip64End::LocatorOnly) {
            put32(out, END64);
            put64(out, 44);
            put16(out, 45);
            put16(out, 45);
            put32(out, 0);
            put32(out, 0);
            put64(out, counted);
            put64(out, counted);
            put64(out, length);
            put64(out, begin);
        }
        if !matches!(kind, Zip64End::RecordOnly) {
            put32(out, LOCATOR64);
            put32(out, 0);
            put64(out, record_at);
            put32(out, 1);
        }
    }
}

/// Raw deflate data, the same bytes each time.
pub fn deflate(data: &[u8]) -> Vec<u8> {
    let mut encoder = DeflateEncoder::new(Vec::new(), Compression::default());
    encoder
        .write_all(data)
        .and_then(|()| encoder.finish())
        .expect("writing to memory cannot fail")
}

/// A ZIP64 extra field with these 64-bit values.
pub fn zip64_extra(values: &[u64]) -> Vec<u8> {
    let mut extra = Vec::new();
    put16(&mut extra, 1);
    put16(&mut extra, (values.len() * 8) as u16);
    values.iter().for_each(|value| put64(&mut extra, *value));
    extra
}

/// A data descriptor with signature.
pub fn descriptor(crc: u32, compressed_size: u32, size: u32) -> Vec<u8> {
    let mut out = Vec::new();
    [0x0807_4b50, crc, compressed_size, size]
        .into_iter()
        .for_each(|value| put32(&mut out, value));
    out
}

fn common(out: &mut Vec<u8>, flags: u16, method: u16, crc: u32) {
    put16(out, 20);
    put16(out, flags);
    put16(out, method);
    put16(out, 0);
    put16(out, DATE);
    put32(out, crc);
}

fn put16(out: &mut Vec<u8>, value: u16) {
    out.extend_from_slice(&value.to_le_bytes());
}

fn put32(out: &mut Vec<u8>, value: u32) {
    out.extend_from_slice(&value.to_le_bytes());
}

fn put64(out: &mut Vec<u8>, value: u64) {
    out.extend_from_slice(&value.to_le_bytes());
}
