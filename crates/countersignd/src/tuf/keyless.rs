//! Signers by an identity at the command line: what they are to sign goes out as files, and comes back as Sigstore bundles.

use std::fs;
use std::path::{Path, PathBuf};

use countersign_trust::tuf::bundle::Bundle;
use countersign_trust::tuf::{Key, file_stem};
use serde_json::json;

use super::{file_failure, read_file, refused, write_file};
use crate::cli::Common;
use crate::failure::Failure;
use crate::report;

/// What the source of a signer by identity begins with.
const SCHEME: &str = "sigstore:";
/// The longest source, in bytes.
const MAX_SOURCE: usize = 2_048;

/// A signer by identity, `sigstore:IDENTITY?issuer=URL`; nothing for another source.
///
/// # Errors
/// `tuf-key-source` where identity or issuer is missing.
pub(super) fn source(source: &str) -> Result<Option<Key>, Failure> {
    let Some(rest) = source.strip_prefix(SCHEME) else {
        return Ok(None);
    };
    match rest.rsplit_once("?issuer=") {
        Some((identity, issuer))
            if !identity.is_empty()
                && issuer.strip_prefix("https://").is_some_and(|host| !host.is_empty())
                && source.len() <= MAX_SOURCE
                && !source.contains(char::is_control) =>
        {
            Ok(Some(Key::keyless(identity, issuer)))
        }
        _ => Err(
            Failure::usage("tuf-key-source", format!("{source:?} names no identity.")).remedy(
                "Write sigstore:IDENTITY?issuer=https://…, both exactly as they will stand in the certificate.",
            ),
        ),
    }
}

/// May a plan list these keys? Identities only where it says that it wants them (`identities = true`): python-tuf, go-tuf and tough
/// read no document that lists one, and who can not read a root never gets past it.
///
/// # Errors
/// `tuf-identities`.
pub(super) fn allowed<'a>(
    keys: impl IntoIterator<Item = &'a Key>,
    wanted: bool,
) -> Result<(), Failure> {
    if wanted || keys.into_iter().all(|key| key.identity().is_none()) {
        return Ok(());
    }
    let message = "The plan lists identities (Sigstore). python-tuf, go-tuf and tough read no document that lists one: a client that \
                   is made with them stops at such a root for good.";
    Err(Failure::usage("tuf-identities", message).remedy(
        "Leave the identities out. Or, where every client is tuf-js or Countersign's own, write `identities = true` at the plan's head.",
    ))
}

/// Writes what an identity is to sign into a folder, which is made where it is not there, a file for each document.
///
/// # Errors
/// Where a file can not be written or is there already.
pub(super) fn write_payloads(
    common: &Common,
    bundle: &Bundle,
    key: &Key,
    folder: &Path,
) -> Result<(), Failure> {
    let failed = |source| file_failure(folder, &source);
    fs::create_dir_all(folder).map_err(failed)?;
    let mut files = Vec::new();
    for (name, role, payload) in bundle.asked_of(key) {
        let file = folder.join(format!("{}.{}.payload", file_stem(&name), file_stem(&role)));
        write_file(&file, &payload, true)?;
        files.push(file);
    }
    if common.json {
        report::json(&json!({ "payloads": files }));
        return Ok(());
    }
    for file in &files {
        report::line(&format!("Wrote {}.", file.display()));
    }
    report::line(if files.is_empty() {
        "Nothing in it asks for this identity, or all has its signature already."
    } else {
        "Sign each as a file (not as a statement) with any client of Sigstore; then tuf sign … --signed BUNDLE, for each of them."
    });
    Ok(())
}

/// Takes in what an identity signed. Repository and role of each document that was.
///
/// # Errors
/// `tuf-sigstore-bundle` where there is nothing to take in; a bundle that is not good.
pub(super) fn take(
    bundle: &mut Bundle,
    key: &Key,
    files: &[PathBuf],
) -> Result<Vec<(String, String)>, Failure> {
    if files.is_empty() {
        return Err(
            Failure::usage("tuf-sigstore-bundle", "An identity signs elsewhere.").remedy(
                "Write what is to be signed with --payloads DIR, and give the Sigstore bundles back with --signed FILE.",
            ),
        );
    }
    let mut signed = Vec::new();
    for file in files {
        let taken = bundle.sign_keyless(key, &read_file(file)?);
        signed.extend(taken.map_err(|why| {
            let mut failure = refused(&why);
            failure.message = format!("{}: {}", file.display(), failure.message);
            failure
        })?);
    }
    Ok(signed)
}
