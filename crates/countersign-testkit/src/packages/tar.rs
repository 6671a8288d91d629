//! A tar writer that can lie, for the same reason as [`super::zip`]. Without overrides it writes ustar with fixed
//! owner, mode and time.

use std::io::Write as _;

use flate2::{Compression, GzBuilder};

/// One 512-byte header, field by field. `Default` is a regular empty file with mode 0644.
#[derive(Debug, Clone)]
pub struct TarHeader {
    /// At most 100 bytes.
    pub name: Vec<u8>,
    /// Put before the name with a slash by readers; at most 155 bytes.
    pub prefix: Vec<u8>,
    /// Permission bits.
    pub mode: u32,
    /// The twelve bytes of the size field; `None` means octal of `size`.
    pub raw_size: Option<[u8; 12]>,
    /// Bytes that follow.
    pub size: u64,
    /// `0` file, `5` directory, `2` symlink, and so on.
    pub kind: u8,
    /// Target of a link.
    pub link: Vec<u8>,
    /// Magic and version, 8 bytes.
    pub magic: [u8; 8],
    /// Writes a checksum that is wrong.
    pub bad_checksum: bool,
}

/// Magic of POSIX ustar.
pub const USTAR: [u8; 8] = *b"ustar\x0000";
/// Magic of GNU tar.
pub const GNU: [u8; 8] = *b"ustar  \0";

impl Default for TarHeader {
    fn default() -> Self {
        Self {
            name: Vec::new(),
            prefix: Vec::new(),
            mode: 0o644,
            raw_size: None,
            size: 0,
            kind: b'0',
            link: Vec::new(),
            magic: USTAR,
            bad_checksum: false,
        }
    }
}

impl TarHeader {
    /// A header of that name and type flag without data.
    pub fn new(name: impl AsRef<[u8]>, kind: u8) -> Self {
        Self {
            name: name.as_ref().to_vec(),
            kind,
            ..Self::default()
        }
    }

    /// The 512 bytes.
    ///
    /// # Panics
    /// If a field is longer than the format allows.
    pub fn to_bytes(&self) -> [u8; 512] {
        let mut block = [0u8; 512];
        let mut put = |at: usize, room: usize, bytes: &[u8]| {
            assert!(
                bytes.len() <= room,
                "{} bytes in a field of {room}",
                bytes.len()
            );
            block[at..at + bytes.len()].copy_from_slice(bytes);
        };
        put(0, 100, &self.name);
        put(100, 8, format!("{:07o}\0", self.mode).as_bytes());
        put(108, 8, b"0000000\0");
        put(116, 8, b"0000000\0");
        match &self.raw_size {
            Some(raw) => put(124, 12, raw),
            None => put(124, 12, format!("{:011o}\0", self.size).as_bytes()),
        }
        put(136, 12, b"00000000000\0");
        put(148, 8, b"        ");
        put(156, 1, &[self.kind]);
        put(157, 100, &self.link);
        put(257, 8, &self.magic);
        put(345, 155, &self.prefix);
        let sum: u32 =
            block.iter().map(|byte| u32::from(*byte)).sum::<u32>() + u32::from(self.bad_checksum);
        block[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
        block
    }
}

/// A tar stream being written.
#[derive(Debug, Clone, Default)]
pub struct TarArchive {
    /// What stands so far.
    pub bytes: Vec<u8>,
}

impl TarArchive {
    /// Adds a header and data padded with zeros.
    pub fn entry(mut self, header: &TarHeader, data: &[u8]) -> Self {
        self.bytes.extend_from_slice(&header.to_bytes());
        self.bytes.extend_from_slice(data);
        self.bytes.resize(self.bytes.len().next_multiple_of(512), 0);
        self
    }

    /// Adds a regular file; a name over 100 bytes goes through a PAX `path` record.
    pub fn file(self, name: impl AsRef<[u8]>, data: &[u8]) -> Self {
        let name = name.as_ref();
        if name.len() > 100 {
            let short = TarHeader {
                size: data.len() as u64,
                ..TarHeader::new(&name[..100], b'0')
            };
            return self.pax(b'x', &[("path", name)]).entry(&short, data);
        }
        self.entry(
            &TarHeader {
                size: data.len() as u64,
                ..TarHeader::new(name, b'0')
            },
            data,
        )
    }

    /// Adds a PAX header, `x` for the next entry or `g` for all.
    pub fn pax(self, kind: u8, records: &[(&str, &[u8])]) -> Self {
        let mut data = Vec::new();
        for (key, value) in records {
            let rest = key.len() + value.len() + 3;
            let mut length = rest + 1;
            while length.to_string().len() + rest != length {
                length = length.to_string().len() + rest;
            }
            data.extend_from_slice(format!("{length} {key}=").as_bytes());
            data.extend_from_slice(value);
            data.push(b'\n');
        }
        let header = TarHeader {
            size: data.len() as u64,
            ..TarHeader::new("PaxHeader", kind)
        };
        self.entry(&header, &data)
    }

    /// Adds a GNU long name (a header of type `L`).
    pub fn gnu_long_name(self, name: &[u8]) -> Self {
        let header = TarHeader {
            size: name.len() as u64,
            magic: GNU,
            ..TarHeader::new("././@LongLink", b'L')
        };
        self.entry(&header, name)
    }

    /// Adds the two zero blocks that end an archive.
    pub fn end(mut self) -> Self {
        self.bytes.resize(self.bytes.len() + 1024, 0);
        self
    }

    /// One gzip member around it, without name and time.
    pub fn gzip(&self) -> Vec<u8> {
        gzip(&self.bytes)
    }
}

/// One gzip member without name and time.
pub fn gzip(data: &[u8]) -> Vec<u8> {
    let mut encoder = GzBuilder::new()
        .mtime(0)
        .write(Vec::new(), Compression::default());
    encoder
        .write_all(data)
        .and_then(|()| encoder.finish())
        .expect("writing to memory cannot fail")
}
