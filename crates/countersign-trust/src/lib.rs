//! Everything a party needs to check a Countersign registry without believing it.
//!
//! The crate is pure: no clock, no randomness, no network, no async. Times, seeds and bytes are handed in, so
//! the server, the client, a monitor and a fuzzer run the same code.
//!
//! - [`digest`]: digests of bytes, one or several at a time.
//! - [`token`]: the text form of API tokens.
//! - [`note`]: signed notes, their verifier and signer keys (C2SP signed-note).
//! - [`checkpoint`]: a log's signed head (C2SP tlog-checkpoint).
//! - [`cosignature`]: statements of witnesses about a head (C2SP tlog-cosignature).
//! - [`tlog`]: Merkle trees, tiles and proofs (RFC 6962, RFC 9162, C2SP tlog-tiles).
//! - [`proof`]: self-contained proof files (C2SP tlog-proof).
//! - [`policy`]: which logs and how many witnesses are enough (C2SP tlog-policy).
//! - [`witness`]: what a witness is asked, decides and answers (C2SP tlog-witness, `docs/spec/witness.md`).
//! - [`leaf`]: the grammar of what the log records (`docs/spec/leaf.md`).
//! - [`map`]: what the log says of each identifier and project, under one root (`docs/spec/map.md`).
//! - [`completeness`]: all leaves of one project, and that there are no others (`docs/spec/completeness.md`).
//! - [`oidc`]: tokens of CI systems, who may publish by them, and what their claims say (`docs/spec/trusted-publishing.md`).
//! - [`sigstore`]: attestations of builds, verified offline (`docs/spec/provenance.md`).
//! - [`tuf`]: The Update Framework: documents, client, writer, ceremonies (`docs/spec/tuf.md`).
#![cfg_attr(test, allow(clippy::unwrap_used))]

pub mod checkpoint;
pub mod completeness;
pub mod cosignature;
pub mod digest;
pub mod entry;
pub mod leaf;
pub mod map;
pub mod note;
pub mod oidc;
pub mod policy;
pub mod proof;
pub mod sigstore;
pub mod tlog;
pub mod token;
pub mod tuf;
pub mod witness;

/// Strict standard base64 (RFC 4648 section 4): padding required, no stray bits, so that each value has one text.
pub(crate) fn base64_decode(text: &str) -> Option<Vec<u8>> {
    use base64::Engine as _;
    base64::engine::general_purpose::STANDARD.decode(text).ok()
}

/// Standard base64 with padding (RFC 4648 section 4).
pub(crate) fn base64_encode(bytes: &[u8]) -> String {
    use base64::Engine as _;
    base64::engine::general_purpose::STANDARD.encode(bytes)
}

/// A 32-byte hash from strict base64.
pub(crate) fn base64_hash(text: &str) -> Option<digest::Sha256> {
    use base64::Engine as _;
    if text.len() != 44 {
        return None;
    }
    // As long as what 44 characters may hold, in the library's own blocks; a hash is shorter.
    let mut bytes = [0; 36];
    let length = base64::engine::general_purpose::STANDARD
        .decode_slice_unchecked(text, &mut bytes)
        .ok()?;
    let hash = bytes.first_chunk::<32>()?;
    (length == 32).then_some(digest::Sha256(*hash))
}

/// A decimal number written the one canonical way: ASCII digits, no sign, no leading zero unless it is `0`.
pub(crate) fn canonical_decimal(text: &str) -> Option<u64> {
    let canonical =
        text.bytes().all(|b| b.is_ascii_digit()) && (text == "0" || !text.starts_with('0'));
    if canonical { text.parse().ok() } else { None }
}
