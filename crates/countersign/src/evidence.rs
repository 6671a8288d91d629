//! What a registry hands out about a file, and what a folder holds that it was saved to. Nothing here is believed: each
//! part is held against keys and digests by [`crate::examine`].

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use countersign_formats::{format, purl};
use countersign_trust::digest::Sha256;
use countersign_trust::proof::MAX_PROOF_BYTES;
use countersign_trust::sigstore::{
    Attestation, Bundle, Limits, Provenance, Refusal, npm_attestations,
};
use serde::{Deserialize, Serialize};

use crate::bundle;
use crate::failure::{Exit, Failure, Result};
use crate::remote::Remote;
use crate::trusted::write_whole;
use crate::verify::{self, file_path};

/// The longest answer about attestations, in bytes.
const MOST_ANSWER: usize = 32 << 20;
/// Files of a release that are asked for at a time.
const AT_A_TIME: usize = 10;
/// The most files of one release.
const MOST_FILES: usize = 5000;
/// The most attestations of one file.
const MOST_ATTESTATIONS: usize = 64;
/// What the names of saved attestations end with.
const SAVED: &str = ".attestations.json";
/// What the names of saved proofs end with.
const PROOF: &str = ".tlog-proof";

/// An attestation, as far as it can be read.
pub struct Piece {
    /// SHA-256 of its bytes as received: what the log names.
    pub digest: Sha256,
    /// The evidence in it, or why it can not be read.
    pub bundle: std::result::Result<Bundle, Refusal>,
}

/// What is said about one file.
pub struct FileEvidence {
    /// Its identifier.
    pub purl: String,
    /// Its name, as in the identifier.
    pub filename: String,
    /// The SHA-256 that it is said to have.
    pub sha256: Sha256,
    /// Its attestations.
    pub pieces: Vec<Piece>,
    said: SaidFile,
}

/// The answer of `GET /api/v1/attestations/{purl}`, as far as it is used; saved in the same form.
#[derive(Serialize, Deserialize)]
struct Answer {
    files: Vec<SaidFile>,
    #[serde(default)]
    total: usize,
}

#[derive(Clone, Serialize, Deserialize)]
struct SaidFile {
    purl: String,
    filename: String,
    sha256: String,
    attestations: Vec<SaidAttestation>,
}

#[derive(Clone, Serialize, Deserialize)]
struct SaidAttestation {
    form: String,
    /// SHA-256 of the bytes; they are asked for by it where the answer leaves them out.
    digest: String,
    raw: Option<String>,
}

impl Piece {
    fn of_bundle(raw: &[u8], limits: &Limits) -> Self {
        Self {
            digest: Sha256::of(raw),
            bundle: Bundle::parse(raw, limits),
        }
    }

    fn of_attestation(attestation: &Attestation) -> Self {
        Self {
            digest: Sha256::of(attestation.raw()),
            bundle: Ok(attestation.to_bundle().clone()),
        }
    }

    fn of(said: &SaidAttestation) -> Self {
        let raw = said.raw.as_deref().unwrap_or_default().as_bytes();
        let limits = Limits::default();
        match said.form.as_str() {
            "pep740" => match Attestation::parse(raw, &limits) {
                Ok(attestation) => Self::of_attestation(&attestation),
                Err(refusal) => Self {
                    digest: Sha256::of(raw),
                    bundle: Err(refusal),
                },
            },
            _ => Self::of_bundle(raw, &limits),
        }
    }
}

impl FileEvidence {
    /// Of another answer than what was asked for nothing is taken.
    fn of(said: SaidFile) -> std::result::Result<Self, String> {
        let named = purl::parse(&said.purl).map_err(|refused| refused.message)?;
        let (Some(version), Some(filename)) = (&named.version, &named.filename) else {
            return Err(format!("{:?} names no file", said.purl));
        };
        let normal = purl::file_purl(named.ecosystem, &named.name_key, version, filename);
        if normal != said.purl || *filename != said.filename {
            return Err(format!("{:?} is not in its normal form", said.purl));
        }
        if said.attestations.len() > MOST_ATTESTATIONS {
            return Err(format!("{} has too many attestations", said.purl));
        }
        let sha256 = said
            .sha256
            .parse()
            .map_err(|_| format!("{:?} is no SHA-256", said.sha256))?;
        Ok(Self {
            purl: said.purl.clone(),
            filename: said.filename.clone(),
            sha256,
            pieces: said.attestations.iter().map(Piece::of).collect(),
            said,
        })
    }

    /// Nothing but the file itself: what is checked against a proof alone.
    pub fn bare(purl: &str, filename: &str, sha256: Sha256) -> Self {
        let said = SaidFile {
            purl: purl.to_owned(),
            filename: filename.to_owned(),
            sha256: sha256.to_hex(),
            attestations: Vec::new(),
        };
        Self {
            purl: purl.to_owned(),
            filename: filename.to_owned(),
            sha256,
            pieces: Vec::new(),
            said,
        }
    }

    /// Writes what was said about the file, and its proof, into a folder.
    ///
    /// # Errors
    /// Exit 1 where the folder can not be written.
    pub fn save(&self, folder: &Path, proof: &[u8]) -> Result<()> {
        let answer = Answer {
            files: vec![self.said.clone()],
            total: 1,
        };
        let json = serde_json::to_vec_pretty(&answer)
            .map_err(|error| Failure::new(Exit::Environment, "write", error.to_string()))?;
        write_whole(&beside(folder, &self.filename, SAVED), &json)?;
        write_whole(&beside(folder, &self.filename, PROOF), proof)
    }
}

/// A place in a folder for what belongs to a file. Names come from identifiers, which hold no path.
fn beside(folder: &Path, filename: &str, end: &str) -> PathBuf {
    folder.join(format!("{filename}{end}"))
}

/// Where evidence comes from.
pub enum Source<'a> {
    /// A registry on the network.
    Registry(&'a Remote),
    /// A folder that it was saved to.
    Folder(&'a Path),
}

impl Source<'_> {
    /// What is said about a file, or about each file of a release; nothing where it is not known.
    ///
    /// # Errors
    /// Exit 5 for a registry that does not answer as it should, 2 for a folder that does not.
    pub fn files(&self, wanted: &str) -> Result<Vec<FileEvidence>> {
        match self {
            Self::Registry(remote) => asked(remote, wanted),
            Self::Folder(folder) => saved(folder, wanted),
        }
    }

    /// The proof of a file.
    ///
    /// # Errors
    /// As [`Source::files`].
    pub fn proof(&self, filename: &str, sha256: &Sha256) -> Result<Option<Vec<u8>>> {
        match self {
            Self::Registry(remote) => remote.find(
                &format!("{}{PROOF}", file_path(sha256, filename)),
                MAX_PROOF_BYTES,
            ),
            Self::Folder(folder) => {
                let path = beside(folder, filename, PROOF);
                path.exists().then(|| verify::proof_file(&path)).transpose()
            }
        }
    }
}

fn asked(remote: &Remote, wanted: &str) -> Result<Vec<FileEvidence>> {
    let encoded: String = url::form_urlencoded::byte_serialize(wanted.as_bytes())
        .collect::<String>()
        .replace('+', "%20");
    let mut files = Vec::new();
    loop {
        let path = format!(
            "/api/v1/attestations/{encoded}?offset={}&limit={AT_A_TIME}",
            files.len()
        );
        let Some(body) = remote.find(&path, MOST_ANSWER)? else {
            return Ok(files);
        };
        let unusable = |why: String| {
            Failure::new(
                Exit::Unreachable,
                "answer",
                format!(
                    "{} does not say what is known of {wanted}: {why}.",
                    remote.site()
                ),
            )
        };
        let answer: Answer =
            serde_json::from_slice(&body).map_err(|error| unusable(error.to_string()))?;
        let (count, total) = (answer.files.len(), answer.total);
        for mut said in answer.files {
            for attestation in said.attestations.iter_mut().take(MOST_ATTESTATIONS) {
                fetch(remote, attestation)?;
            }
            files.push(FileEvidence::of(said).map_err(unusable)?);
        }
        if files.len() > MOST_FILES {
            return Err(unusable(format!("it has more than {MOST_FILES} files")));
        }
        if count == 0 || files.len() >= total {
            return only_wanted(files, wanted).map_err(unusable);
        }
    }
}

/// Gets the bytes of an attestation that an answer only names.
fn fetch(remote: &Remote, attestation: &mut SaidAttestation) -> Result<()> {
    if attestation.raw.is_some() {
        return Ok(());
    }
    let Ok(digest) = attestation.digest.parse::<Sha256>() else {
        return Ok(());
    };
    let path = format!("/api/v1/attestations/by-digest/{digest}");
    let body = remote.find(&path, Limits::default().bytes)?;
    attestation.raw = body.and_then(|body| String::from_utf8(body).ok());
    Ok(())
}

/// Whether an identifier is the wanted file, or a file of the wanted release, however its version is written.
fn is_of(said: &str, wanted: &str) -> bool {
    let (Ok(said), Ok(wanted)) = (purl::parse(said), purl::parse(wanted)) else {
        return false;
    };
    let version = |named: &purl::Purl| {
        let text = named.version.as_deref()?;
        format(named.ecosystem).version(text).ok()
    };
    said.ecosystem == wanted.ecosystem
        && said.name_key == wanted.name_key
        && version(&said) == version(&wanted)
        && (wanted.filename.is_none() || wanted.filename == said.filename)
}

/// Files that were not asked for are not taken, and none twice.
fn only_wanted(
    files: Vec<FileEvidence>,
    wanted: &str,
) -> std::result::Result<Vec<FileEvidence>, String> {
    let mut seen = BTreeSet::new();
    for file in &files {
        if !is_of(&file.purl, wanted) {
            return Err(format!("it answers about {}", file.purl));
        }
        if !seen.insert(&file.purl) {
            return Err(format!("it names {} twice", file.purl));
        }
    }
    Ok(files)
}

fn saved(folder: &Path, wanted: &str) -> Result<Vec<FileEvidence>> {
    let unusable = |path: &Path, why: &dyn std::fmt::Display| {
        Failure::new(
            Exit::Usage,
            "evidence",
            format!("The evidence in {} can not be used: {why}.", path.display()),
        )
        .remedy("Evidence is saved by `countersign verify … --save DIR`.")
    };
    let entries = fs::read_dir(folder).map_err(|error| unusable(folder, &error))?;
    let mut paths = Vec::new();
    for entry in entries {
        let path = entry.map_err(|error| unusable(folder, &error))?.path();
        if path.to_string_lossy().ends_with(SAVED) {
            paths.push(path);
        }
    }
    paths.sort();
    let mut files = Vec::new();
    for path in paths {
        let body = bundle::read(&path, MOST_ANSWER)?;
        let answer: Answer =
            serde_json::from_slice(&body).map_err(|error| unusable(&path, &error))?;
        for said in answer.files {
            if is_of(&said.purl, wanted) {
                files.push(FileEvidence::of(said).map_err(|why| unusable(&path, &why))?);
            }
        }
    }
    only_wanted(files, wanted).map_err(|why| unusable(folder, &why))
}

/// Attestations from a file: a provenance object of a Python index (PEP 740).
///
/// # Errors
/// Exit 2 for a file that can not be read, 3 for one that is no such object.
pub fn provenance(path: &Path) -> Result<Vec<Piece>> {
    let limits = Limits::default();
    let bytes = bundle::read(path, limits.document_bytes)?;
    let provenance = Provenance::parse(&bytes, &limits)?;
    Ok(provenance
        .bundles
        .iter()
        .flat_map(|bundle| &bundle.attestations)
        .map(Piece::of_attestation)
        .collect())
}

/// Attestations from a file: a Sigstore bundle, or the attestations document of an npm registry.
///
/// # Errors
/// Exit 2 for a file that can not be read, 3 for one that is neither.
pub fn bundles(path: &Path) -> Result<Vec<Piece>> {
    // Bundles of private files hold whole images of statements; a user's own file may be larger than an upload.
    let limits = Limits {
        bytes: 4 << 20,
        document_bytes: 8 << 20,
        ..Limits::default()
    };
    let bytes = bundle::read(path, limits.document_bytes)?;
    #[derive(Deserialize)]
    struct Document {
        #[serde(rename = "attestations")]
        _attestations: serde::de::IgnoredAny,
    }
    if serde_json::from_slice::<Document>(&bytes).is_err() {
        let bundle = Bundle::parse(&bytes, &limits)?;
        return Ok(vec![Piece {
            digest: bundle.digest(),
            bundle: Ok(bundle),
        }]);
    }
    Ok(npm_attestations(&bytes, &limits)?
        .into_iter()
        .map(|one| Piece {
            digest: one.bundle.digest(),
            bundle: Ok(one.bundle),
        })
        .collect())
}
