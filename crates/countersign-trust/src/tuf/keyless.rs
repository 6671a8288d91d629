//! Signers by an identity instead of a key: securesystemslib's `sigstore-oidc`, scheme `Fulcio`. What such a signer signed comes as a
//! bundle that any client of Sigstore makes over the signed bytes.
//!
//! tuf-js takes such a key for one that did not sign; python-tuf, go-tuf and tough read no document that lists one. So no threshold
//! counts it here either ([`super::Authority::judge`]), and it is for repositories whose clients all read on. What it gives: people who
//! are known by their identity stand by a document, and everybody can check that they do.

use serde_json::Value;

use super::key::Key;
use super::{Fault, Refusal, Signature};
use crate::digest::Sha256;
use crate::oidc::quoted;
use crate::sigstore::{self, Claims, Demands, Limits, Subject, TrustRoot};

/// Checks that the owner of this identity signed these bytes, offline.
///
/// # Errors
/// [`Fault::Unasked`] where somebody else signed, [`Fault::Unsigned`] for all else, with what does not hold.
pub fn verify(
    key: &Key,
    payload: &[u8],
    signature: &Signature,
    roots: &TrustRoot,
) -> Result<(), Refusal> {
    let refuse = |why: String| Refusal::new(Fault::Unsigned, "signature", why);
    let failed = |why: sigstore::Refusal| refuse(why.message());
    let asked = key
        .identity()
        .ok_or_else(|| refuse("the key is no identity".to_owned()))?;
    let bundle = signature.bundle.as_ref().ok_or_else(|| {
        refuse(format!(
            "{} gave no Sigstore bundle with it",
            quoted(asked.0)
        ))
    })?;
    let bundle = sigstore::Bundle::parse(bundle.to_string().as_bytes(), &Limits::default());
    let bundle = bundle.map_err(failed)?;
    if hex::encode(bundle.signature()) != signature.sig {
        return Err(refuse("the bundle is of another signature".to_owned()));
    }
    // Whoever it is: the message is about that before it is about anything else.
    by(asked, bundle.unverified_claims().map_err(failed)?.as_ref())?;
    let digest = format!("sha256:{}", Sha256::of(payload).to_hex());
    let subject = Subject::digest(&digest).map_err(failed)?;
    let verified = sigstore::verify(&bundle, &subject, roots, &Demands::default());
    let verified = verified.map_err(failed)?;
    if verified.statement.is_some() {
        return Err(refuse(
            "a statement was signed, and not the document itself".to_owned(),
        ));
    }
    by(asked, verified.claims())
}

/// Is this who was asked?
fn by((identity, issuer): (&str, &str), claims: Option<&Claims>) -> Result<(), Refusal> {
    let refuse = |why: String| Refusal::new(Fault::Unasked, "signature", why);
    let claims = claims.ok_or_else(|| refuse("a key signed, and no identity".to_owned()))?;
    let (name, vouched) = (claims.san.as_str(), claims.issuer().unwrap_or_default());
    if (name, vouched) == (identity, issuer) {
        return Ok(());
    }
    Err(refuse(format!(
        "{} of {} signed; {} of {} was asked",
        quoted(name),
        quoted(vouched),
        quoted(identity),
        quoted(issuer)
    )))
}

/// The signature that a bundle holds, as the identity's.
///
/// # Errors
/// [`Fault::Malformed`] where it is no bundle.
pub fn signature(key: &Key, bundle: &[u8]) -> Result<Signature, Refusal> {
    let malformed = |why: String| Refusal::malformed("bundle", why);
    let read = sigstore::Bundle::parse(bundle, &Limits::default());
    let read = read.map_err(|why| malformed(why.message()))?;
    let value: Value = serde_json::from_slice(bundle).map_err(|why| malformed(why.to_string()))?;
    Ok(Signature {
        keyid: key.id(),
        // securesystemslib writes base64 and reads the bundle alone; clients who do not know the kind of key still ask for hexadecimal.
        sig: hex::encode(read.signature()),
        bundle: Some(value),
    })
}
