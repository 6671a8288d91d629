//! Is this file what the log says it is? Needs the file, its proof and a pinned key; no network.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::fs::File;
use std::io::{Read, Seek, SeekFrom};
use std::path::Path;
use std::sync::{Mutex, PoisonError};

use countersign_formats::{Artifact, Ecosystem, Limits, Manifest, Rejection, format, npm, purl};
use countersign_trust::digest::{Digests, Hasher, Sha256};
use countersign_trust::leaf::{self, Algorithm, Leaf, LeafKind};
use countersign_trust::policy::{self, PolicyError};
use countersign_trust::proof::{MAX_PROOF_BYTES, TlogProof};
use serde::Serialize;

use crate::failure::{Exit, Failure, Result, plain};
use crate::remote::Remote;
use crate::trusted::{Pinned, TrustFile};

/// A file of this machine, measured.
pub struct Measured {
    /// Its name; of an npm tarball the one that registries give it.
    pub filename: String,
    /// SHA-256 of its bytes.
    pub sha256: Sha256,
    /// SHA-512 of the same bytes, lower-case hex: the one digest that npm's provenance names.
    pub sha512: Option<String>,
    /// Its length in bytes.
    pub size: u64,
    /// The identifier that these bytes claim for themselves, from the metadata within; the error says why there is none.
    pub claims: std::result::Result<String, String>,
}

impl Measured {
    /// The identifier that is looked for: what was asked for, else what the bytes claim; else why there is none.
    pub fn wanted<'a>(&'a self, asked: Option<&'a str>) -> std::result::Result<&'a str, String> {
        match (asked, &self.claims) {
            (Some(asked), _) => Ok(asked),
            (None, Ok(claims)) => Ok(claims.as_str()),
            (None, Err(why)) => Err(format!(
                "its own metadata do not say what it is ({why}); name it with --purl if you know"
            )),
        }
    }

    /// What of it the log is asked about.
    pub fn bytes(&self) -> Bytes<'_> {
        Bytes {
            filename: &self.filename,
            sha256: &self.sha256,
            sha512: self.sha512.as_deref(),
            size: Some(self.size),
        }
    }
}

fn unreadable(path: &Path, error: &std::io::Error) -> Failure {
    Failure::new(
        Exit::Usage,
        "file-unreadable",
        format!("{} can not be read: {error}.", path.display()),
    )
}

/// Opens a file and hashes it to its end, with SHA-256 and SHA-512. The third is its length in bytes.
///
/// # Errors
/// Exit 2 for a file that can not be read.
pub fn hashed(path: &Path) -> Result<(File, Digests, u64)> {
    let failed = |error: std::io::Error| unreadable(path, &error);
    let mut file = File::open(path).map_err(failed)?;
    let mut hasher = Hasher::new(true);
    let mut piece = vec![0; 256 << 10];
    loop {
        let count = file.read(&mut piece).map_err(failed)?;
        if count == 0 {
            break;
        }
        hasher.update(&piece[..count]);
    }
    let (digests, size) = hasher.finish();
    Ok((file, digests, size))
}

/// Hashes a file and reads from its metadata what it is.
///
/// # Errors
/// Exit 2 for a file that can not be read.
pub fn measure(path: &Path) -> Result<Measured> {
    inspect(path).map(|(measured, _)| measured)
}

/// As [`measure`], with all that the archive says about itself.
///
/// # Errors
/// Exit 2 for a file that can not be read.
pub fn inspect(path: &Path) -> Result<(Measured, std::result::Result<Manifest, Rejection>)> {
    let (mut file, digests, size) = hashed(path)?;
    file.seek(SeekFrom::Start(0))
        .map_err(|error| unreadable(path, &error))?;
    let filename = path
        .file_name()
        .map_or_else(String::new, |name| name.to_string_lossy().into_owned());
    // A wide limit on size: the file is here already, and inspection never reads it into memory as a whole.
    let limits = Limits {
        max_file_size: u64::MAX,
        ..Limits::default()
    };
    // What no ecosystem's packages are called like is refused in the words of the oldest.
    let ecosystem = Ecosystem::of_filename(&filename).unwrap_or(Ecosystem::Pypi);
    let filename = match ecosystem {
        Ecosystem::Npm => {
            let mut artifact = Artifact {
                filename: &filename,
                size,
                bytes: &mut file,
            };
            // `npm pack` names a tarball otherwise than registries do. Where it can not be read, its inspection says why.
            let named = npm::tarball_name(&mut artifact, &limits);
            file.seek(SeekFrom::Start(0))
                .map_err(|error| unreadable(path, &error))?;
            named.unwrap_or(filename)
        }
        Ecosystem::Pypi | Ecosystem::Cargo => filename,
    };
    let manifest = format(ecosystem).inspect(
        &mut Artifact {
            filename: &filename,
            size,
            bytes: &mut file,
        },
        &limits,
    );
    let claims = manifest
        .as_ref()
        .map(|manifest| {
            purl::file_purl(
                manifest.ecosystem,
                &manifest.name_key,
                &manifest.version_canonical,
                &filename,
            )
        })
        .map_err(|rejection| rejection.message.clone());
    let measured = Measured {
        filename,
        sha256: digests.sha256,
        sha512: digests.sha512_hex(),
        size,
        claims,
    };
    Ok((measured, manifest))
}

/// What was shown.
#[derive(Debug, Serialize)]
pub struct Verified {
    /// The identifier that these bytes have in the log.
    pub purl: String,
    /// SHA-256 of the file.
    pub sha256: String,
    /// Its length in bytes.
    pub size: u64,
    /// When it was published, as the log says.
    pub published: String,
    /// The log.
    pub origin: String,
    /// Index of the file's leaf.
    pub leaf: u64,
    /// Number of entries when the checkpoint was signed.
    pub log_size: u64,
    /// The names and ids of the keys that signed.
    pub signed_by: Vec<String>,
    /// The witnesses of the pinned policy that cosigned, where it asks for some.
    pub witnesses: Option<Vec<String>>,
}

/// Checks a measured file against a proof.
///
/// The leaf that the proof carries is believed in nothing: it must say exactly what the file is, and it must be in
/// the log. `expected` is the identifier the caller wants; without it the file's own metadata decides.
///
/// # Errors
/// Exit 3 with what does not hold; exit 2 when the log of the proof is not pinned.
pub fn check(
    file: &Measured,
    proof: &[u8],
    trust: &TrustFile,
    expected: Option<&str>,
) -> Result<Verified> {
    let (bytes, wanted) = (file.bytes(), file.wanted(expected));
    logged(&bytes, wanted, proof, trust, &Proofs::default()).map(|(verified, _)| verified)
}

/// What is known of a file's bytes.
pub struct Bytes<'a> {
    /// The file's name, for messages.
    pub filename: &'a str,
    /// SHA-256 of its bytes.
    pub sha256: &'a Sha256,
    /// SHA-512 of the bytes themselves, lower-case hex; `None` where they are not at hand. Never what somebody says of them.
    pub sha512: Option<&'a str>,
    /// Its length; `None` where the bytes are not at hand, only their digest.
    pub size: Option<u64>,
}

/// Proofs of the logs that a trust file pins: what one proof of a log has shown, its policy and its checkpoint's signatures,
/// is not looked at again for the next.
#[derive(Default)]
pub struct Proofs(Mutex<BTreeMap<String, policy::Proofs>>);

/// Checks that the log holds just these bytes under the identifier that is wanted, and gives the log's entry. Where
/// nobody knows what is wanted the error says why.
///
/// # Errors
/// As [`check`].
pub fn logged(
    bytes: &Bytes<'_>,
    wanted: std::result::Result<&str, String>,
    proof: &[u8],
    trust: &TrustFile,
    proofs: &Proofs,
) -> Result<(Verified, Leaf)> {
    let refused = |code: &'static str, why: String| {
        Failure::unverified(
            code,
            format!("{} does not verify: {why}.", plain(bytes.filename)),
        )
    };
    let proof = TlogProof::parse(proof).map_err(|error| refused("proof", error.to_string()))?;
    let pinned = pinned_log(&proof, trust)?;
    let entry = proof
        .extra
        .as_deref()
        .ok_or_else(|| refused("proof", "the proof carries no log entry".to_owned()))?;
    let leaf = leaf::parse(entry)
        .map_err(|error| refused("leaf", error.to_string()))?
        .known()
        .ok_or_else(|| {
            refused(
                "leaf",
                "the log entry is of a kind that this version does not know".to_owned(),
            )
        })?;
    let mut proofs = proofs.0.lock().unwrap_or_else(PoisonError::into_inner);
    let proofs = match proofs.entry(pinned.origin.clone()) {
        Entry::Occupied(known) => known.into_mut(),
        Entry::Vacant(new) => {
            new.insert(policy::Proofs::new(pinned.policy()?, pinned.origin.clone()))
        }
    };
    let checkpoint = proofs
        .verify(&proof, entry)
        .map_err(|error| match error {
            PolicyError::Quorum { .. } => refused("quorum", error.to_string())
                .remedy("Without its witnesses a log can show you another history than it shows others. Ask for a newer proof; if it stays so, ask the registry's operators."),
            other => refused("proof", other.to_string()),
        })?;
    let policy = proofs.policy();
    says_the_same(bytes, &leaf, wanted).map_err(|why| refused("mismatch", why).remedy("Do not use this file. Whoever gave it to you gave you something else than the registry published."))?;
    let verified = Verified {
        purl: leaf.subject.clone().unwrap_or_default(),
        sha256: bytes.sha256.to_hex(),
        size: leaf.size.unwrap_or_default(),
        published: leaf::format_time(leaf.time).unwrap_or_default(),
        origin: pinned.origin.clone(),
        leaf: proof.index,
        log_size: checkpoint.size(),
        signed_by: checkpoint
            .signatures()
            .iter()
            .map(|line| format!("{}+{:08x}", line.key.name(), line.key.key_id()))
            .collect(),
        witnesses: (!policy.quorum_met(Vec::<&str>::new())).then(|| {
            let cosigned = policy.witnesses_of(&checkpoint);
            cosigned.into_iter().map(plain).collect()
        }),
    };
    Ok((verified, leaf))
}

/// The pinned registry that the proof's checkpoint belongs to. Its origin is read unverified, to choose the keys that
/// then must have signed.
fn pinned_log<'t>(proof: &TlogProof, trust: &'t TrustFile) -> Result<&'t Pinned> {
    let origin = proof.checkpoint.lines().next().unwrap_or_default();
    trust.by_origin(origin).ok_or_else(|| {
        let shown: String = origin
            .chars()
            .filter(|c| !c.is_control())
            .take(100)
            .collect();
        Failure::new(
            Exit::Usage,
            "not-pinned",
            format!("The proof is from the log {shown:?}, and no key is pinned for it."),
        )
        .remedy("Pin the registry that you mean to trust: countersign trust add URL")
    })
}

fn says_the_same(
    bytes: &Bytes<'_>,
    leaf: &Leaf,
    wanted: std::result::Result<&str, String>,
) -> std::result::Result<(), String> {
    if leaf.kind != LeafKind::FilePublished {
        return Err(format!(
            "the log entry is of kind {}, not {}",
            leaf.kind,
            LeafKind::FilePublished
        ));
    }
    let logged = leaf.sha256().ok_or("the log entry carries no SHA-256")?;
    if logged != *bytes.sha256 {
        return Err(format!(
            "its SHA-256 is {}, the log says {}",
            bytes.sha256, logged
        ));
    }
    let mut others = leaf.digests.iter();
    let sha512 = others.find(|(algorithm, _)| *algorithm == Algorithm::Sha512);
    if let (Some(measured), Some((_, logged))) = (bytes.sha512, sha512)
        && measured != logged
    {
        return Err(format!("its SHA-512 is {measured}, the log says {logged}"));
    }
    if bytes.size.is_some_and(|size| leaf.size != Some(size)) {
        return Err(format!(
            "it has {} bytes, the log says {}",
            bytes.size.unwrap_or_default(),
            leaf.size.unwrap_or_default()
        ));
    }
    let subject = leaf.subject.as_deref().unwrap_or_default();
    let wanted = wanted?;
    if subject != wanted {
        return Err(format!(
            "it is {wanted}, and the log entry is about {subject}"
        ));
    }
    Ok(())
}

/// The SHA-512 in the entry that a proof carries, lower-case hex. Counts only where [`logged`] holds of this proof.
pub(crate) fn sha512_said(proof: &[u8]) -> Option<String> {
    let entry = TlogProof::parse(proof).ok()?.extra?;
    let leaf = leaf::parse(&entry).ok()?.known()?;
    let mut digests = leaf.digests.into_iter();
    digests
        .find(|(algorithm, _)| *algorithm == Algorithm::Sha512)
        .map(|(_, hex)| hex)
}

/// The proof that stands beside a file, as `FILE.tlog-proof`.
///
/// # Errors
/// Exit 2 when one is there but can not be read.
pub fn proof_beside(path: &Path) -> Result<Option<Vec<u8>>> {
    let mut name = path.as_os_str().to_owned();
    name.push(".tlog-proof");
    let beside = Path::new(&name);
    if beside.exists() {
        proof_file(beside).map(Some)
    } else {
        Ok(None)
    }
}

/// Reads a proof file.
///
/// # Errors
/// Exit 2 when it can not be read, or is longer than a proof can be.
pub fn proof_file(path: &Path) -> Result<Vec<u8>> {
    let fault = |why: String| {
        Failure::new(
            Exit::Usage,
            "proof-unreadable",
            format!("The proof {} can not be used: {why}.", path.display()),
        )
    };
    let mut bytes = Vec::new();
    let file = File::open(path).map_err(|error| fault(error.to_string()))?;
    file.take(MAX_PROOF_BYTES as u64 + 1)
        .read_to_end(&mut bytes)
        .map_err(|error| fault(error.to_string()))?;
    if bytes.len() > MAX_PROOF_BYTES {
        Err(fault("it is too long for a proof".to_owned()))
    } else {
        Ok(bytes)
    }
}

/// Asks a registry for the proof of just these bytes.
///
/// # Errors
/// Exit 3 when the registry knows no such file, with the digest that it has for that name where it lists one.
pub fn fetch_proof(file: &Measured, remote: &Remote) -> Result<Vec<u8>> {
    if let Some(proof) = remote.find(
        &format!("{}.tlog-proof", file_path(&file.sha256, &file.filename)),
        MAX_PROOF_BYTES,
    )? {
        return Ok(proof);
    }
    Err(Failure::unverified(
        "unknown-file",
        format!(
            "{} knows no {} with SHA-256 {}.",
            remote.site(),
            file.filename,
            file.sha256
        ),
    )
    .remedy("Do not use this file: this registry never published it, or has removed it."))
}

/// Where a registry has a file, below its address.
pub fn file_path(sha256: &Sha256, filename: &str) -> String {
    let name: String = url::form_urlencoded::byte_serialize(filename.as_bytes())
        .collect::<String>()
        .replace('+', "%20");
    format!("/files/{sha256}/{name}")
}
