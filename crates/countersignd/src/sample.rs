//! The sample package of `demo`: a small pure Python wheel, written here so that no build tool is needed.

use std::fmt::Write;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use countersign_trust::digest::Sha256;

/// The project's name.
pub const PROJECT: &str = "countersign-demo";
/// Its one version.
pub const VERSION: &str = "1.0.0";
/// The module to import.
pub const MODULE: &str = "countersign_demo";
/// What its `greet` says. The tampered copy says [`TAMPERED`], which is just as long.
pub const GREETING: &str = "hello from a countersigned package";
/// What the tampered copy would say.
pub const TAMPERED: &str = "HELLO FROM A MANIPULATED PACKAGE!!";

/// A wheel: its file name and its bytes.
pub struct Wheel {
    /// The file name.
    pub filename: String,
    /// The archive.
    pub bytes: Vec<u8>,
}

/// Builds the wheel. Always the same bytes.
pub fn wheel() -> Wheel {
    let info = format!("{MODULE}-{VERSION}.dist-info");
    let module = format!(
        "\"\"\"The sample package of countersignd demo.\"\"\"\n\n\ndef greet():\n    return \"{GREETING}\"\n"
    );
    let metadata = format!(
        "Metadata-Version: 2.1\nName: {PROJECT}\nVersion: {VERSION}\nSummary: The sample package of countersignd demo\n\
         Description-Content-Type: text/markdown\n\n# {PROJECT}\n\nPublished, installed and verified by `countersignd demo`.\n"
    );
    let marker =
        "Wheel-Version: 1.0\nGenerator: countersignd\nRoot-Is-Purelib: true\nTag: py3-none-any\n"
            .to_owned();
    let mut members = vec![
        (format!("{MODULE}.py"), module),
        (format!("{info}/METADATA"), metadata),
        (format!("{info}/WHEEL"), marker),
    ];
    let mut record = String::new();
    for (name, text) in &members {
        let digest = URL_SAFE_NO_PAD.encode(Sha256::of(text.as_bytes()).0);
        writeln!(record, "{name},sha256={digest},{}", text.len())
            .expect("writing to a String does not fail");
    }
    let record_name = format!("{info}/RECORD");
    writeln!(record, "{record_name},,").expect("writing to a String does not fail");
    members.push((record_name, record));
    Wheel {
        filename: format!("{MODULE}-{VERSION}-py3-none-any.whl"),
        bytes: stored_zip(&members),
    }
}

/// A zip archive whose members are stored as they are. (PKWARE's APPNOTE 4.3; no data descriptors, no extra fields.)
fn stored_zip(members: &[(String, String)]) -> Vec<u8> {
    let (mut archive, mut directory) = (Vec::new(), Vec::new());
    for (name, text) in members {
        let offset = number(archive.len());
        let mut common = Vec::new();
        common.extend(20_u16.to_le_bytes()); // version needed: 2.0
        common.extend(0_u16.to_le_bytes()); // flags
        common.extend(0_u16.to_le_bytes()); // method: stored
        common.extend(0_u16.to_le_bytes()); // time: midnight
        common.extend(0x0021_u16.to_le_bytes()); // date: 1980-01-01, the first there is
        common.extend(crc32fast::hash(text.as_bytes()).to_le_bytes());
        common.extend(number(text.len()).to_le_bytes()); // packed
        common.extend(number(text.len()).to_le_bytes()); // unpacked
        common.extend(
            u16::try_from(name.len())
                .expect("our names are short")
                .to_le_bytes(),
        );
        common.extend(0_u16.to_le_bytes()); // extra field
        archive.extend(b"PK\x03\x04");
        archive.extend(&common);
        archive.extend(name.as_bytes());
        archive.extend(text.as_bytes());

        directory.extend(b"PK\x01\x02");
        directory.extend((3_u16 << 8 | 20).to_le_bytes()); // made by: Unix, 2.0
        directory.extend(&common);
        directory.extend(0_u16.to_le_bytes()); // comment
        directory.extend(0_u16.to_le_bytes()); // disk
        directory.extend(0_u16.to_le_bytes()); // internal attributes
        directory.extend((0o100_644_u32 << 16).to_le_bytes()); // a plain file, rw-r--r--
        directory.extend(offset.to_le_bytes());
        directory.extend(name.as_bytes());
    }
    let count = u16::try_from(members.len()).expect("a handful of members");
    let (start, length) = (number(archive.len()), number(directory.len()));
    archive.extend(directory);
    archive.extend(b"PK\x05\x06");
    archive.extend([0; 4]); // disks
    archive.extend(count.to_le_bytes());
    archive.extend(count.to_le_bytes());
    archive.extend(length.to_le_bytes());
    archive.extend(start.to_le_bytes());
    archive.extend(0_u16.to_le_bytes()); // comment
    archive
}

fn number(length: usize) -> u32 {
    u32::try_from(length).expect("the sample is a few kilobytes")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_tampered_text_is_as_long_as_the_true_one() {
        assert_eq!(GREETING.len(), TAMPERED.len());
    }

    #[test]
    fn python_reads_the_wheel_and_finds_every_digest_right() {
        let dir = tempfile::tempdir().unwrap();
        let wheel = wheel();
        let path = dir.path().join(&wheel.filename);
        std::fs::write(&path, &wheel.bytes).unwrap();
        let script = "import sys, zipfile, hashlib, base64\n\
            z = zipfile.ZipFile(sys.argv[1]); assert z.testzip() is None\n\
            record = [n for n in z.namelist() if n.endswith('/RECORD')][0]\n\
            rows = [l.split(',') for l in z.read(record).decode().splitlines()]\n\
            assert {r[0] for r in rows} == set(z.namelist())\n\
            for name, digest, size in rows:\n\
            \x20   if digest:\n\
            \x20       data = z.read(name); assert len(data) == int(size)\n\
            \x20       assert digest == 'sha256=' + base64.urlsafe_b64encode(hashlib.sha256(data).digest()).rstrip(b'=').decode()\n";
        let output = std::process::Command::new("python3")
            .arg("-c")
            .arg(script)
            .arg(&path)
            .output()
            .unwrap();
        assert!(
            output.status.success(),
            "{}",
            String::from_utf8_lossy(&output.stderr)
        );
    }
}
