//! The attestations that stand beside a file: what signing tools leave there (`FILE.publish.attestation`,
//! `FILE.slsa.attestation`; for npm's tarballs the one bundle `FILE.sigstore` or `FILE.sigstore.json`), and what an upload
//! takes along. They are looked at here only far enough not to send what is about another file; the registry verifies them.

use std::fs::File;
use std::io::Read as _;
use std::path::{Path, PathBuf};

use countersign_formats::Ecosystem;
use countersign_trust::sigstore::{Attestation, Bundle, Limits, Statement};

use crate::failure::plain;
use crate::verify::Measured;

/// What the name of an attestation ends with.
pub(crate) const SUFFIX: &str = ".attestation";
/// What the name of a bundle ends with.
pub(crate) const BUNDLES: [&str; 2] = [".sigstore", ".sigstore.json"];

/// An attestation that is sent with its file.
pub(crate) struct Attached {
    pub path: PathBuf,
    pub predicate_type: String,
    /// As it was read.
    raw: Vec<u8>,
}

impl Attached {
    /// Its text, byte for byte as it was read.
    pub(crate) fn text(&self) -> String {
        String::from_utf8_lossy(&self.raw).into_owned()
    }
}

/// Reads the attestations that stand beside a file, by the order of their names. The error says which of them is unfit,
/// and why.
pub(crate) fn beside(
    path: &Path,
    file: &Measured,
    ecosystem: Ecosystem,
) -> Result<Vec<Attached>, String> {
    let ends: &[&str] = match ecosystem {
        Ecosystem::Npm => &BUNDLES,
        Ecosystem::Pypi | Ecosystem::Cargo => &[SUFFIX],
    };
    let folder = match path.parent() {
        Some(folder) if !folder.as_os_str().is_empty() => folder,
        _ => Path::new("."),
    };
    let own = path.file_name().unwrap_or_default().to_string_lossy();
    let start = format!("{own}.");
    let unreadable = |error| format!("{} can not be read: {error}", folder.display());
    let mut names = Vec::new();
    for entry in folder.read_dir().map_err(unreadable)? {
        let name = entry.map_err(unreadable)?.file_name();
        let Some(name) = name.to_str() else { continue };
        if name.starts_with(&start) && ends.iter().any(|end| name.ends_with(end)) {
            names.push(name.to_owned());
        }
    }
    names.sort_unstable();
    let mut attached: Vec<Attached> = Vec::new();
    for name in names {
        let path = path.with_file_name(name);
        let one =
            read(&path, file, ecosystem).map_err(|why| format!("{}: {why}", path.display()))?;
        if ecosystem == Ecosystem::Npm
            && let Some(other) = attached.first()
        {
            return Err(format!(
                "{} and {} both are bundles, of which a tarball has one",
                other.path.display(),
                one.path.display()
            ));
        }
        if let Some(other) = attached
            .iter()
            .find(|other| other.predicate_type == one.predicate_type)
        {
            return Err(format!(
                "{} and {} are both of the type {}, of which a file has one",
                other.path.display(),
                one.path.display(),
                plain(&one.predicate_type)
            ));
        }
        attached.push(one);
    }
    Ok(attached)
}

fn read(path: &Path, file: &Measured, ecosystem: Ecosystem) -> Result<Attached, String> {
    let limits = Limits::default();
    let mut bytes = Vec::new();
    File::open(path)
        .and_then(|opened| {
            // One byte more than may be read, so that too much is seen as such.
            opened.take(limits.bytes as u64 + 1).read_to_end(&mut bytes)
        })
        .map_err(|error| error.to_string())?;
    let statement = match ecosystem {
        Ecosystem::Npm => Bundle::parse(&bytes, &limits),
        Ecosystem::Pypi | Ecosystem::Cargo => {
            Attestation::parse(&bytes, &limits).map(|attestation| attestation.to_bundle().clone())
        }
    }
    .and_then(|bundle| bundle.unverified_statement(&limits))
    .map_err(|refusal| refusal.to_string())?
    .ok_or("it signs no statement")?;
    about(&statement, file, ecosystem)?;
    Ok(Attached {
        path: path.to_owned(),
        predicate_type: statement.predicate_type,
        raw: bytes,
    })
}

/// Whether the statement is about the bytes of the file. The rule for its name is the registry's.
fn about(statement: &Statement, file: &Measured, ecosystem: Ecosystem) -> Result<(), String> {
    // npm's clients name a tarball by the digest that lock files have.
    let (kind, called, own) = match ecosystem {
        Ecosystem::Npm => ("sha512", "SHA-512", file.sha512.clone().unwrap_or_default()),
        Ecosystem::Pypi | Ecosystem::Cargo => ("sha256", "SHA-256", file.sha256.to_hex()),
    };
    let stated: Vec<&str> = statement
        .subjects
        .iter()
        .filter_map(|subject| subject.digests.get(kind))
        .map(String::as_str)
        .collect();
    if stated.contains(&&*own) {
        return Ok(());
    }
    Err(format!(
        "it is about other bytes: {} has the {called} {own}, the statement says {}",
        file.filename,
        plain(stated.first().copied().unwrap_or("none"))
    ))
}

/// The form's field: the attestations as a JSON list, each byte for byte as it was read.
pub(crate) fn field(attached: &[Attached]) -> Option<String> {
    if attached.is_empty() {
        return None;
    }
    let each: Vec<_> = attached.iter().map(Attached::text).collect();
    Some(format!("[{}]", each.join(",")))
}
