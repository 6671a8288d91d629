//! Timestamps as of RFC 3161.

use sha2::{Digest as _, Sha256};

use super::certificates::{Stamper, signature_algorithm};
use super::der;
use super::keys::EcKey;

const SHA256: &str = "2.16.840.1.101.3.4.2.1";
const TIMESTAMP_INFO: &str = "1.2.840.113549.1.9.16.1.4";

/// The answer of a timestamp authority about some bytes at a second since 1970.
pub(super) fn stamp(key: &EcKey, stamper: &Stamper, bytes: &[u8], seconds: i64) -> Vec<u8> {
    let sha256 = || der::sequence(&[der::oid(SHA256)]);
    let serial = &Sha256::digest([bytes, &seconds.to_be_bytes()].concat())[..8];
    let info = der::sequence(&[
        der::small_integer(1),
        // Sigstore's policy for timestamps.
        der::oid("1.3.6.1.4.1.57264.2"),
        der::sequence(&[sha256(), der::octets(&Sha256::digest(bytes))]),
        der::integer(serial),
        der::generalized_time(seconds),
        der::sequence(&[der::small_integer(1)]),
    ]);
    let attribute =
        |kind: &str, value: Vec<u8>| der::sequence(&[der::oid(kind), der::set(vec![value])]);
    // What binds the signature to its certificate (RFC 5816).
    let certificate = der::octets(&Sha256::digest(&stamper.certificate));
    let signing_certificate = der::sequence(&[der::sequence(&[der::sequence(&[certificate])])]);
    let attributes = der::set(vec![
        attribute("1.2.840.113549.1.9.3", der::oid(TIMESTAMP_INFO)),
        attribute("1.2.840.113549.1.9.4", der::octets(&Sha256::digest(&info))),
        attribute("1.2.840.113549.1.9.16.2.47", signing_certificate),
    ]);
    let signature = key.sign(&attributes);
    // The signature is over a SET; the message has the same content under an implicit tag.
    let mut implicit = attributes;
    implicit[0] = 0xa0;
    let signer = der::sequence(&[
        der::small_integer(1),
        stamper.issuer_and_serial.clone(),
        sha256(),
        implicit,
        signature_algorithm(),
        der::octets(&signature),
    ]);
    let content = der::sequence(&[
        der::oid(TIMESTAMP_INFO),
        der::context(0, &der::octets(&info)),
    ]);
    let signed = der::sequence(&[
        der::small_integer(3),
        der::set(vec![sha256()]),
        content,
        der::context(0, &stamper.certificate),
        der::set(vec![signer]),
    ]);
    let token = der::sequence(&[der::oid("1.2.840.113549.1.7.2"), der::context(0, &signed)]);
    der::sequence(&[der::sequence(&[der::small_integer(0)]), token])
}
