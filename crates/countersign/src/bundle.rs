//! Does a Sigstore bundle hold for a file or digest? Offline; who signed is told, not judged.

use std::fs::File;
use std::io::Read;
use std::path::Path;

use countersign_trust::sigstore::{
    Bundle, Claim, Demands, LoggedEntry, NameRule, Predicate, RootUsed, Signer, Subject,
    TimeEvidence, TrustRoot, TrustedKeys, Verified, VerifiedSigner,
};
use serde::Serialize;

use crate::failure::{Exit, Failure, Result};
use crate::verify::hashed;

/// Reads a file whole, up to a limit in bytes.
///
/// # Errors
/// Exit 2 for a file that can not be read or is longer.
pub fn read(path: &Path, most: usize) -> Result<Vec<u8>> {
    let unreadable = |why: String| {
        Failure::new(
            Exit::Usage,
            "file-unreadable",
            format!("{} can not be read: {why}.", path.display()),
        )
    };
    let file = File::open(path).map_err(|error| unreadable(error.to_string()))?;
    let mut bytes = Vec::new();
    file.take(most as u64 + 1)
        .read_to_end(&mut bytes)
        .map_err(|error| unreadable(error.to_string()))?;
    if bytes.len() > most {
        return Err(unreadable(format!("it has more than {most} bytes")));
    }
    Ok(bytes)
}

/// A file of this machine as the subject of a bundle: sha256 and sha512, whatever its name.
///
/// # Errors
/// Exit 2 for a file that can not be read.
pub fn subject_of(path: &Path) -> Result<Subject<'static>> {
    let (_, digests, _) = hashed(path)?;
    Ok(Subject::file(NameRule::Any, &digests))
}

/// A trust root from a file, or those that this version knows: the public-good instance and GitHub's.
///
/// # Errors
/// Exit 2 for a file that can not be read or is no trust root.
pub fn trust_root(path: Option<&Path>) -> Result<TrustRoot> {
    let Some(path) = path else {
        return Ok(TrustRoot::merge([
            TrustRoot::public_good(),
            TrustRoot::github(),
        ]));
    };
    let json = read(path, 1 << 20)?;
    let name = path.display().to_string();
    TrustRoot::from_json(&name, &json).map_err(|refusal| Failure {
        exit: Exit::Usage,
        ..Failure::from(refusal)
    })
}

/// Keys from a file: a list as npm registries serve it, whose signatures must be logged, or one public key in PEM,
/// which counts under whatever name the bundle has for it.
///
/// # Errors
/// Exit 2 for a file that can not be read or has no keys.
pub fn keys(path: Option<&Path>, bundle: &Bundle) -> Result<TrustedKeys> {
    let (Some(path), Signer::Key(hint)) = (path, bundle.signer()) else {
        return Ok(TrustedKeys::default());
    };
    let bytes = read(path, 1 << 20)?;
    let keys = match std::str::from_utf8(&bytes) {
        Ok(text) if text.trim_start().starts_with("-----BEGIN") => {
            TrustedKeys::from_pem(hint, text, false)
        }
        _ => TrustedKeys::from_json(&bytes),
    };
    keys.map_err(|refusal| Failure {
        exit: Exit::Usage,
        ..Failure::from(refusal)
    })
}

/// What was shown.
#[derive(Debug, Serialize)]
pub struct Held {
    /// What it is about: digests that were compared.
    pub digests: Vec<String>,
    /// The names of the statement's subjects.
    pub subjects: Vec<String>,
    /// The type of the statement; `None` where the file's bytes were signed.
    pub predicate_type: Option<String>,
    /// Whether the statement's type is one that is understood, and has its form.
    pub understood: bool,
    /// The name in the certificate.
    pub identity: Option<String>,
    /// The issuer of that identity.
    pub issuer: Option<String>,
    /// The known key that signed.
    pub key: Option<String>,
    /// All that the certificate says, by name.
    pub claims: Option<std::collections::BTreeMap<Claim, String>>,
    /// When, and who says so.
    pub times: Vec<TimeEvidence>,
    /// The transparency log entries.
    pub entries: Vec<LoggedEntry>,
    /// The trust root that was leant on.
    pub root: Option<RootUsed>,
}

/// Verifies a bundle's bytes for a subject.
///
/// # Errors
/// Exit 3 with the step that failed.
pub fn check(
    bundle: &Bundle,
    subject: &Subject<'_>,
    root: &TrustRoot,
    demands: &Demands,
) -> Result<(Held, Verified)> {
    let verified = countersign_trust::sigstore::verify(bundle, subject, root, demands)?;
    let claims = verified.claims();
    let statement = verified.statement.as_ref();
    let held = Held {
        digests: subject
            .digests
            .iter()
            .map(|(algorithm, hex)| format!("{algorithm}:{hex}"))
            .collect(),
        subjects: statement.map_or_else(Vec::new, |statement| {
            let names = statement.subjects.iter();
            names.map(|subject| subject.name.clone()).collect()
        }),
        predicate_type: statement.map(|statement| statement.predicate_type.clone()),
        understood: statement.is_none_or(|statement| {
            !matches!(
                statement.predicate,
                Predicate::Unknown | Predicate::Malformed(_)
            )
        }),
        identity: claims.map(|claims| claims.san.as_str().to_owned()),
        issuer: claims.and_then(|claims| claims.issuer().map(str::to_owned)),
        key: match &verified.signer {
            VerifiedSigner::Key(hint) => Some(hint.clone()),
            VerifiedSigner::Certificate(_) => None,
        },
        claims: claims.map(|claims| claims.values.clone()),
        times: verified.times.clone(),
        entries: verified.entries.clone(),
        root: verified.root.clone(),
    };
    Ok((held, verified))
}
