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
        const BOUNDARY: &str = "canary-7d1f0c5e";
        let mut body = Vec::new();
        let digest = self.sha256();
        for (name, value) in [
            (":action", "file_upload"),
            ("protocol_version", "1"),
            ("metadata_version", "2.1"),
            ("name", &self.project),
            ("version", &self.version),
            ("filetype", "bdist_wheel"),
            ("pyversion", "py3"),
            ("sha256_digest", &digest),
        ] {
            body.extend(
                format!("--{BOUNDARY}\r\nContent-Disposition: form-data; name=\"{name}\"\r\n\r\n{value}\r\n").bytes(),
            );
        }
        body.extend(
            format!(
                "--{BOUNDARY}\r\nContent-Disposition: form-data; name=\"content\"; filename=\"{}\"\r\nContent-Type: application/octet-stream\r\n\r\n",
                self.filename
            )
            .bytes(),
        );
        body.extend(&self.bytes);
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
