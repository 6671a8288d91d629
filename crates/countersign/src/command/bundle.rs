//! The entry point of the sigstore-conformance suite.

use std::path::Path;

use countersign::bundle;
use countersign::{Exit, Failure};
use countersign_trust::sigstore::{
    Bundle, Demands, Limits, Signer, Subject, TrustRoot, TrustedKeys,
};
use serde_json::json;

use super::line;
use crate::cli::ConformanceVerify;

fn parsed(path: &Path) -> Result<(Bundle, Limits), Failure> {
    // Bundles of private files hold whole images of statements; a user's own file may be larger than an upload.
    let limits = Limits {
        bytes: 4 << 20,
        ..Limits::default()
    };
    let bytes = bundle::read(path, limits.bytes)?;
    Ok((Bundle::parse(&bytes, &limits)?, limits))
}

/// The subject that `--digest` names.
pub fn subject(digest: &str) -> Result<Subject<'static>, Failure> {
    Subject::digest(digest).map_err(|refusal| Failure {
        exit: Exit::Usage,
        ..Failure::from(refusal)
    })
}

/// `conformance verify-bundle`: a bundle's cryptography and logs, and the signer must be who is asked for.
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
