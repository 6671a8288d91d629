//! `countersign verify --bundle`, and the entry point of the sigstore-conformance suite.

use std::path::Path;

use countersign::bundle::{self, Held};
use countersign::failure::plain;
use countersign::{Exit, Failure};
use countersign_trust::leaf::format_time;
use countersign_trust::sigstore::{
    Bundle, Demands, Limits, Signer, Subject, TrustRoot, TrustedKeys,
};
use serde_json::json;

use super::line;
use crate::cli::{Common, ConformanceVerify, Verify};

/// Checks one bundle.
pub fn run(
    common: &Common,
    options: &Verify,
    path: &Path,
    file: Option<&Path>,
) -> Result<(), Failure> {
    let (bundle, limits) = parsed(path)?;
    let subject = match (file, &options.digest) {
        (Some(file), _) => bundle::subject_of(file)?,
        (None, Some(digest)) => subject(digest)?,
        (None, None) => {
            return Err(Failure::new(
                Exit::Usage,
                "no-digest",
                "There is neither a file nor --digest to hold the bundle against.",
            ));
        }
    };
    let demands = Demands {
        keys: bundle::keys(options.keys.as_deref(), &bundle)?,
        one_subject: false,
        well_formed: false,
        limits,
        ..Demands::default()
    };
    let root = bundle::trust_root(options.trusted_root.as_deref())?;
    let (held, _) = bundle::check(&bundle, &subject, &root, &demands)?;
    if common.json {
        line(&json!({ "verified": held }).to_string());
    } else {
        show(path, &held);
    }
    Ok(())
}

fn parsed(path: &Path) -> Result<(Bundle, Limits), Failure> {
    // Bundles of private files hold whole images of statements; a user's own file may be larger than an upload.
    let limits = Limits {
        bytes: 4 << 20,
        ..Limits::default()
    };
    let bytes = bundle::read(path, limits.bytes)?;
    Ok((Bundle::parse(&bytes, &limits)?, limits))
}

fn subject(digest: &str) -> Result<Subject<'static>, Failure> {
    Subject::digest(digest).map_err(|refusal| Failure {
        exit: Exit::Usage,
        ..Failure::from(refusal)
    })
}

fn show(path: &Path, held: &Held) {
    let told = |text: &str| line(&plain(text));
    told(&format!(
        "✓ {} holds for {}",
        path.display(),
        held.digests.join(", ")
    ));
    match (&held.identity, &held.key) {
        (Some(identity), _) => told(&format!(
            "    signed by {identity}, as {} says",
            held.issuer.as_deref().unwrap_or("nobody")
        )),
        (None, Some(key)) => told(&format!("    signed with the key {key}")),
        (None, None) => {}
    }
    if let Some(predicate_type) = &held.predicate_type {
        let understood = if held.understood {
            ""
        } else {
            " (which this version does not understand)"
        };
        told(&format!(
            "    says {predicate_type}{understood} about {}",
            held.subjects.join(", ")
        ));
    }
    for entry in &held.entries {
        let proven = if entry.included {
            "entry"
        } else {
            "promised as entry"
        };
        let index = match entry.index {
            Some(index) => index.to_string(),
            None => "(nothing proves which)".to_owned(),
        };
        told(&format!("    {proven} {index} of {}", entry.log));
    }
    for time in &held.times {
        let when = format_time(time.seconds.saturating_mul(1_000_000))
            .unwrap_or_else(|| time.seconds.to_string());
        told(&format!("    signed at or before {when}"));
    }
    if let Some(root) = &held.root {
        told(&format!(
            "    under the trust root {} (sha256:{})",
            root.name, root.digest
        ));
    }
    told("    Who signed is told, not judged: compare it with whom you expect.");
}

/// `conformance verify-bundle`: as [`run`], and the signer must be who is asked for.
pub fn conformance(options: &ConformanceVerify) -> Result<(), Failure> {
    let (bundle, limits) = parsed(&options.bundle)?;
    let subject = if options.artifact.starts_with("sha256:") {
        subject(&options.artifact)?
    } else {
        bundle::subject_of(Path::new(&options.artifact))?
    };
    let root = match &options.trusted_root {
        Some(path) => bundle::trust_root(Some(path))?,
        None => TrustRoot::public_good(),
    };
    let keys = match (&options.key, bundle.signer()) {
        (Some(path), Signer::Key(hint)) => {
            let pem = String::from_utf8_lossy(&bundle::read(path, 1 << 20)?).into_owned();
            TrustedKeys::from_pem(hint, &pem, true)?
        }
        _ => TrustedKeys::default(),
    };
    let demands = Demands {
        keys,
        one_subject: false,
        well_formed: false,
        limits,
        ..Demands::default()
    };
    let (held, _) = bundle::check(&bundle, &subject, &root, &demands)?;
    match (&options.certificate_identity, &options.key) {
        (Some(identity), _) => {
            let issuer = options.certificate_oidc_issuer.as_ref();
            if held.identity.as_ref() != Some(identity) || held.issuer.as_ref() != issuer {
                return Err(Failure::unverified(
                    "other-identity",
                    format!(
                        "The bundle is signed by {:?} of {:?}.",
                        held.identity, held.issuer
                    ),
                ));
            }
        }
        (None, _) if held.key.is_none() => {
            return Err(Failure::unverified(
                "no-key",
                "The bundle is signed with a certificate, not with the key.",
            ));
        }
        (None, _) => {}
    }
    line(&json!({ "verified": held }).to_string());
    Ok(())
}
