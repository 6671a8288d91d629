//! Packages of canaries: small wheels, and the form that uploads them.

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use sha2::{Digest as _, Sha256};

use crate::script::{Answer, Request, Script, Told};

/// What is uploaded.
pub(super) struct Wheel {
    /// The project, normalised with hyphens.
    pub(super) project: String,
    /// The version.
    pub(super) version: String,
    /// The file's name.
    pub(super) filename: String,
    /// The archive.
    pub(super) bytes: Vec<u8>,
}

impl Wheel {
    /// A wheel whose one module holds this text.
    pub(super) fn new(project: &str, version: &str, text: &str) -> Self {
        Self::depending(project, version, text, "")
    }

    /// The same, which depends on another project as `requirement` says.
    pub(super) fn depending(project: &str, version: &str, text: &str, requirement: &str) -> Self {
        let needs = match requirement {
            "" => String::new(),
            some => format!("Requires-Dist: {some}\n"),
        };
        let module = project.replace('-', "_");
        let info = format!("{module}-{version}.dist-info");
        let mut members = vec![
            (format!("{module}.py"), format!("{text}\n")),
            (
                format!("{info}/METADATA"),
                format!("Metadata-Version: 2.1\nName: {project}\nVersion: {version}\nSummary: A canary\n{needs}"),
            ),
            (
                format!("{info}/WHEEL"),
                "Wheel-Version: 1.0\nGenerator: countersign-assess\nRoot-Is-Purelib: true\nTag: py3-none-any\n"
                    .to_owned(),
            ),
        ];
        let mut record = String::new();
        for (name, text) in &members {
            let digest = URL_SAFE_NO_PAD.encode(Sha256::digest(text.as_bytes()));
            record.push_str(&format!("{name},sha256={digest},{}\n", text.len()));
        }
        record.push_str(&format!("{info}/RECORD,,\n"));
        members.push((format!("{info}/RECORD"), record));
        Self {
            filename: format!("{module}-{version}-py3-none-any.whl"),
            project: project.to_owned(),
            version: version.to_owned(),
            bytes: stored_zip(&members),
        }
    }

    /// SHA-256 of the archive, hex.
    pub(super) fn sha256(&self) -> String {
        hex::encode(Sha256::digest(&self.bytes))
    }

    /// Uploads it with a token, as Python's clients do.
    pub(super) fn publish<'a>(&self, script: &mut Script<'a>, token: &str) -> Told<&'a Answer> {
        self.publish_with(script, token, "")
    }

    /// The same with attestations: a list of PEP 740, or none.
    pub(super) fn publish_with<'a>(
        &self,
        script: &mut Script<'a>,
        token: &str,
        attestations: &str,
    ) -> Told<&'a Answer> {
        let digest = self.sha256();
        let mut fields = vec![
            (":action", "file_upload"),
            ("protocol_version", "1"),
            ("metadata_version", "2.1"),
            ("name", &self.project),
            ("version", &self.version),
            ("filetype", "bdist_wheel"),
            ("pyversion", "py3"),
            ("sha256_digest", &digest),
        ];
        if !attestations.is_empty() {
            fields.push(("attestations", attestations));
        }
        upload(script, token, &fields, &self.filename, &self.bytes)
    }
}

/// The sources of a release.
pub(super) struct Sdist {
    project: String,
    version: String,
    filename: String,
    bytes: Vec<u8>,
}

impl Sdist {
    /// The sources from which [`Wheel::new`] with the same words is built.
    pub(super) fn new(project: &str, version: &str, text: &str) -> Self {
        let module = project.replace('-', "_");
        let top = format!("{module}-{version}");
        let members = [
            (
                format!("{top}/PKG-INFO"),
                format!(
                    "Metadata-Version: 2.1\nName: {project}\nVersion: {version}\nSummary: A canary\n"
                ),
            ),
            (
                format!("{top}/pyproject.toml"),
                format!("[project]\nname = \"{project}\"\nversion = \"{version}\"\n"),
            ),
            (format!("{top}/{module}.py"), format!("{text}\n")),
        ];
        Self {
            filename: format!("{top}.tar.gz"),
            project: project.to_owned(),
            version: version.to_owned(),
            bytes: stored_gzip(&tar(&members)),
        }
    }

    /// Uploads it with a token, as Python's clients do.
    pub(super) fn publish<'a>(&self, script: &mut Script<'a>, token: &str) -> Told<&'a Answer> {
        let digest = hex::encode(Sha256::digest(&self.bytes));
        let fields = [
            (":action", "file_upload"),
            ("protocol_version", "1"),
            ("metadata_version", "2.1"),
            ("name", &self.project),
            ("version", &self.version),
            ("filetype", "sdist"),
            ("pyversion", "source"),
            ("sha256_digest", &digest),
        ];
        upload(script, token, &fields, &self.filename, &self.bytes)
    }
}

/// Sends the form in which a file is uploaded.
fn upload<'a>(
    script: &mut Script<'a>,
    token: &str,
    fields: &[(&str, &str)],
    filename: &str,
    bytes: &[u8],
) -> Told<&'a Answer> {
    const BOUNDARY: &str = "canary-7d1f0c5e";
    let mut body = Vec::new();
    for (name, value) in fields {
        body.extend(
            format!(
                "--{BOUNDARY}\r\nContent-Disposition: form-data; name=\"{name}\"\r\n\r\n{value}\r\n"
            )
            .bytes(),
        );
    }
    body.extend(
        format!(
            "--{BOUNDARY}\r\nContent-Disposition: form-data; name=\"content\"; filename=\"{filename}\"\r\nContent-Type: application/octet-stream\r\n\r\n"
        )
        .bytes(),
    );
    body.extend(bytes);
    body.extend(format!("\r\n--{BOUNDARY}--\r\n").bytes());
    let basic = STANDARD.encode(format!("__token__:{token}"));
    let request = Request::send("POST", script.target.address("/pypi/legacy/"), body)
        .header(
            "content-type",
            format!("multipart/form-data; boundary={BOUNDARY}"),
        )
        .header("accept", "application/json")
        .header("authorization", format!("Basic {basic}"));
    script.http(request)
}

/// A tar archive (POSIX ustar) of plain files with short names.
fn tar(members: &[(String, String)]) -> Vec<u8> {
    let mut archive = Vec::new();
    for (name, text) in members {
        let mut header = name.as_bytes().to_vec();
        header.resize(100, 0);
        header.extend(b"0000644\0");
        header.extend(b"0000000\0");
        header.extend(b"0000000\0");
        header.extend(format!("{:011o}\0", text.len()).bytes());
        header.extend(b"00000000000\0");
        // The sum is taken with blanks in its own place.
        header.extend(b"        ");
        header.push(b'0');
        header.resize(257, 0);
        header.extend(b"ustar\x0000");
        header.resize(512, 0);
        let sum: u32 = header.iter().map(|byte| u32::from(*byte)).sum();
        header.splice(148..156, format!("{sum:06o}\0 ").bytes());
        archive.extend(header);
        archive.extend(text.as_bytes());
        archive.resize(archive.len().next_multiple_of(512), 0);
    }
    archive.resize(archive.len() + 1_024, 0);
    archive
}

/// A gzip member whose blocks are stored as they are (RFC 1952, RFC 1951 section 3.2.4).
fn stored_gzip(bytes: &[u8]) -> Vec<u8> {
    let mut out = b"\x1f\x8b\x08\0\0\0\0\0\0\xff".to_vec();
    let mut blocks = bytes.chunks(0x7fff).peekable();
    while let Some(block) = blocks.next() {
        let length = u16::try_from(block.len()).unwrap_or(u16::MAX);
        out.push(u8::from(blocks.peek().is_none()));
        out.extend(length.to_le_bytes());
        out.extend((!length).to_le_bytes());
        out.extend(block);
    }
    out.extend(crc32fast::hash(bytes).to_le_bytes());
    let length = u32::try_from(bytes.len() & 0xffff_ffff).unwrap_or(u32::MAX);
    out.extend(length.to_le_bytes());
    out
}

/// A zip archive whose members are stored as they are (PKWARE's APPNOTE 4.3).
fn stored_zip(members: &[(String, String)]) -> Vec<u8> {
    let (mut archive, mut directory) = (Vec::new(), Vec::new());
    let number = |length: usize| u32::try_from(length).unwrap_or(u32::MAX).to_le_bytes();
    let short = |length: usize| u16::try_from(length).unwrap_or(u16::MAX).to_le_bytes();
    for (name, text) in members {
        let offset = archive.len();
        let mut common = Vec::new();
        for word in [20_u16, 0, 0, 0, 0x0021] {
            common.extend(word.to_le_bytes());
        }
        common.extend(crc32fast::hash(text.as_bytes()).to_le_bytes());
        common.extend(number(text.len()));
        common.extend(number(text.len()));
        common.extend(short(name.len()));
        common.extend(short(0));
        archive.extend(b"PK\x03\x04");
        archive.extend(&common);
        archive.extend(name.as_bytes());
        archive.extend(text.as_bytes());
        directory.extend(b"PK\x01\x02");
        directory.extend((3_u16 << 8 | 20).to_le_bytes());
        directory.extend(&common);
        directory.extend([0; 6]);
        directory.extend((0o100_644_u32 << 16).to_le_bytes());
        directory.extend(number(offset));
        directory.extend(name.as_bytes());
    }
    let (start, length) = (number(archive.len()), number(directory.len()));
    archive.extend(directory);
    archive.extend(b"PK\x05\x06");
    archive.extend([0; 4]);
    archive.extend(short(members.len()));
    archive.extend(short(members.len()));
    archive.extend(length);
    archive.extend(start);
    archive.extend([0; 2]);
    archive
}
