//! Tiny writers of zip, tar, wheels and sdists, able to write them wrongly on purpose.
#![allow(dead_code)] // each test binary uses a part

use std::io::{Cursor, Write};

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use countersign_formats::{Artifact, Ecosystem, Limits, Manifest, Rejection, format};
use flate2::{Compression, Crc, write::DeflateEncoder, write::GzEncoder};
use sha2::{Digest, Sha256};

/// One member of a zip, with the lies it tells.
#[derive(Clone)]
pub struct Entry {
    pub name: Vec<u8>,
    pub local_name: Option<Vec<u8>>,
    pub data: Vec<u8>,
    pub deflate: bool,
    pub method: Option<u16>,
    pub flags: u16,
    pub mode: u32,
    pub size: Option<u32>,
    pub crc: Option<u32>,
    pub local_crc: Option<u32>,
    pub local_extra: Vec<u8>,
    pub central_extra: Vec<u8>,
    /// Appended to the packed data and counted in it.
    pub packed_tail: Vec<u8>,
    /// Cut from the end of the packed data.
    pub packed_cut: usize,
    /// Put before the local header.
    pub gap: Vec<u8>,
    pub no_central: bool,
    pub offset: Option<u32>,
}

impl Entry {
    pub fn new(name: impl AsRef<[u8]>, data: impl Into<Vec<u8>>) -> Self {
        let name = name.as_ref().to_vec();
        let mode = if name.ends_with(b"/") {
            0o040_755
        } else {
            0o100_644
        };
        Self {
            flags: if name.is_ascii() { 0 } else { 0x800 },
            name,
            local_name: None,
            data: data.into(),
            deflate: true,
            method: None,
            mode,
            size: None,
            crc: None,
            local_crc: None,
            local_extra: Vec::new(),
            central_extra: Vec::new(),
            packed_tail: Vec::new(),
            packed_cut: 0,
            gap: Vec::new(),
            no_central: false,
            offset: None,
        }
    }

    pub fn with(mut self, change: impl FnOnce(&mut Self)) -> Self {
        change(&mut self);
        self
    }
}

pub fn crc(data: &[u8]) -> u32 {
    let mut crc = Crc::new();
    crc.update(data);
    crc.sum()
}

/// A zip archive of these members.
pub fn zip(entries: &[Entry]) -> Vec<u8> {
    let (mut out, mut central, mut count) = (Vec::new(), Vec::new(), 0_u16);
    for entry in entries {
        out.extend(&entry.gap);
        let offset = entry.offset.unwrap_or(out.len() as u32);
        let deflated = entry.deflate && !entry.data.is_empty();
        let mut packed = if deflated {
            let mut encoder = DeflateEncoder::new(Vec::new(), Compression::best());
            encoder.write_all(&entry.data).unwrap();
            encoder.finish().unwrap()
        } else {
            entry.data.clone()
        };
        packed.truncate(packed.len() - entry.packed_cut);
        packed.extend(&entry.packed_tail);
        let method = entry.method.unwrap_or(if deflated { 8 } else { 0 });
        let crc32 = entry.crc.unwrap_or_else(|| crc(&entry.data));
        let size = entry.size.unwrap_or(entry.data.len() as u32);
        let common = |crc32: u32, name: &[u8], extra: &[u8]| {
            let mut bytes = Vec::new();
            bytes.extend(20_u16.to_le_bytes());
            bytes.extend(entry.flags.to_le_bytes());
            bytes.extend(method.to_le_bytes());
            bytes.extend([0, 0, 0x21, 0]);
            bytes.extend(crc32.to_le_bytes());
            bytes.extend((packed.len() as u32).to_le_bytes());
            bytes.extend(size.to_le_bytes());
            bytes.extend((name.len() as u16).to_le_bytes());
            bytes.extend((extra.len() as u16).to_le_bytes());
            bytes
        };
        let local_name = entry.local_name.as_ref().unwrap_or(&entry.name);
        out.extend(b"PK\x03\x04");
        out.extend(common(
            entry.local_crc.unwrap_or(crc32),
            local_name,
            &entry.local_extra,
        ));
        out.extend(local_name);
        out.extend(&entry.local_extra);
        out.extend(&packed);
        if entry.no_central {
            continue;
        }
        count = count.wrapping_add(1);
        central.extend(b"PK\x01\x02\x14\x03");
        central.extend(common(crc32, &entry.name, &entry.central_extra));
        central.extend([0; 6]);
        central.extend((entry.mode << 16).to_le_bytes());
        central.extend(offset.to_le_bytes());
        central.extend(&entry.name);
        central.extend(&entry.central_extra);
    }
    let offset = out.len() as u32;
    out.extend(&central);
    out.extend(b"PK\x05\x06\0\0\0\0");
    out.extend(count.to_le_bytes());
    out.extend(count.to_le_bytes());
    out.extend((central.len() as u32).to_le_bytes());
    out.extend(offset.to_le_bytes());
    out.extend([0, 0]);
    out
}

/// A tar header with a right checksum.
pub fn tar_header(name: &str, size: u64, kind: u8, mode: u32, link: &str) -> Vec<u8> {
    let mut block = vec![0; 512];
    block[..name.len()].copy_from_slice(name.as_bytes());
    block[100..108].copy_from_slice(format!("{mode:07o}\0").as_bytes());
    block[124..136].copy_from_slice(format!("{size:011o}\0").as_bytes());
    block[136..148].copy_from_slice(b"00000000000\0");
    block[148..156].fill(b' ');
    block[156] = kind;
    block[157..157 + link.len()].copy_from_slice(link.as_bytes());
    block[257..265].copy_from_slice(b"ustar\x0000");
    let sum: u32 = block.iter().map(|byte| u32::from(*byte)).sum();
    block[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
    block
}

/// Header, data and padding of a regular file.
pub fn tar_file(name: &str, data: &[u8]) -> Vec<u8> {
    let mut out = tar_header(name, data.len() as u64, b'0', 0o644, "");
    out.extend(data);
    out.resize(out.len().next_multiple_of(512), 0);
    out
}

/// The members, an end marker, and gzip around it.
pub fn tar_gz(members: &[Vec<u8>]) -> Vec<u8> {
    let mut tar = members.concat();
    tar.extend([0; 1024]);
    gzip(&tar)
}

pub fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::default());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

pub const METADATA: &str = "Metadata-Version: 2.1\nName: Sample.Pkg\nVersion: 1.0\nSummary: A sample\nRequires-Python: >=3.8\n\
    Requires-Dist: requests[socks]>=2 ; extra == 'net'\nProvides-Extra: net\nProject-URL: Home, https://example.org/a,b\n\
    Keywords: one,two words\nClassifier: Topic :: Security\n\n# Sample\n\nLong text.\n";
pub const WHEEL: &str =
    "Wheel-Version: 1.0\nGenerator: test\nRoot-Is-Purelib: true\nTag: py3-none-any\n";
pub const WHEEL_NAME: &str = "sample_pkg-1.0-py3-none-any.whl";
pub const SDIST_NAME: &str = "sample_pkg-1.0.tar.gz";

/// A wheel under construction: its files without RECORD.
pub struct Wheel {
    pub info: String,
    pub files: Vec<(String, Vec<u8>)>,
    /// Lines put after the true ones of RECORD.
    pub record_tail: String,
    /// Changes the true RECORD.
    pub edit_record: fn(String) -> String,
}

impl Default for Wheel {
    fn default() -> Self {
        Self {
            info: "sample_pkg-1.0.dist-info".to_owned(),
            files: vec![("sample_pkg/__init__.py".to_owned(), b"x = 1\n".to_vec())],
            record_tail: String::new(),
            edit_record: |record| record,
        }
    }
}

impl Wheel {
    pub fn file(mut self, path: &str, data: impl Into<Vec<u8>>) -> Self {
        let path = path.replace("INFO", &self.info);
        self.files.retain(|(known, _)| *known != path);
        self.files.push((path, data.into()));
        self
    }

    /// Metadata and WHEEL, if they are not there yet.
    pub fn usual(mut self) -> Self {
        for (name, text) in [("METADATA", METADATA), ("WHEEL", WHEEL)] {
            let path = format!("{}/{name}", self.info);
            if !self.files.iter().any(|(known, _)| *known == path) {
                self.files.push((path, text.as_bytes().to_vec()));
            }
        }
        self
    }

    pub fn entries(&self) -> Vec<Entry> {
        let mut record = String::new();
        let mut entries = Vec::new();
        for (path, data) in &self.files {
            let digest = URL_SAFE_NO_PAD.encode(Sha256::digest(data));
            record.push_str(&format!("{path},sha256={digest},{}\n", data.len()));
            entries.push(Entry::new(path, data.clone()));
        }
        record.push_str(&format!("{}/RECORD,,\n{}", self.info, self.record_tail));
        entries.push(Entry::new(
            format!("{}/RECORD", self.info),
            (self.edit_record)(record),
        ));
        entries
    }

    pub fn bytes(&self) -> Vec<u8> {
        zip(&self.entries())
    }
}

/// A plain sdist with this PKG-INFO.
pub fn sdist(metadata: &str) -> Vec<u8> {
    tar_gz(&[
        tar_header("sample_pkg-1.0/", 0, b'5', 0o755, ""),
        tar_file("sample_pkg-1.0/PKG-INFO", metadata.as_bytes()),
        tar_file("sample_pkg-1.0/setup.py", b"pass\n"),
    ])
}

pub fn inspect_with(filename: &str, bytes: &[u8], limits: &Limits) -> Result<Manifest, Rejection> {
    let mut artifact = Artifact {
        filename,
        size: bytes.len() as u64,
        bytes: &mut Cursor::new(bytes),
    };
    format(Ecosystem::Pypi).inspect(&mut artifact, limits)
}

pub fn inspect(filename: &str, bytes: &[u8]) -> Result<Manifest, Rejection> {
    inspect_with(filename, bytes, &Limits::default())
}

/// The code of the refusal, or `accepted`.
pub fn verdict<T>(result: &Result<T, Rejection>) -> &'static str {
    result
        .as_ref()
        .map_or_else(|rejection| rejection.code, |_| "accepted")
}
