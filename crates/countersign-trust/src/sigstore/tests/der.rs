//! Certificates and timestamps that would take long to read.

use serde_json::{Value, json};

use super::*;
use crate::base64_encode;

const SAMPLE: &str = "pep740-prov-sampleproject-4.0.0.tar.gz.provenance-0";
const STAMPED: &str = "rustrepo-conda-attestation-rekor2.sigstore.json";

fn value(tag: u8, content: &[u8]) -> Vec<u8> {
    let length = content.len();
    let mut all = vec![tag];
    match length {
        0..=0x7f => all.push(length as u8),
        _ => all.extend([0x82, (length >> 8) as u8, length as u8]),
    }
    all.extend(content);
    all
}

/// Members of a name, each another one, in the order that takes longest to sort.
fn members(count: usize) -> Vec<u8> {
    let member = |at: usize| {
        let id = [0x55, 0x80 | (at >> 7) as u8, (at & 0x7f) as u8];
        value(0x30, &[value(0x06, &id), vec![0x05, 0x00]].concat())
    };
    (128..128 + count).rev().flat_map(member).collect()
}

/// A certificate that is DER as far as a subject of these sets.
fn certificate(sets: &[Vec<u8>]) -> Vec<u8> {
    let algorithm = hex::decode("300a06082a8648ce3d040302").unwrap();
    let time = |text: &[u8]| value(0x17, text);
    let validity = [time(b"250101000000Z"), time(b"350101000000Z")].concat();
    let names: Vec<u8> = sets.iter().flat_map(|set| value(0x31, set)).collect();
    let mut point = hex::decode("3059301306072a8648ce3d020106082a8648ce3d030107034200").unwrap();
    point.push(4);
    point.extend([0x11; 64]);
    let body = [
        value(0xa0, &[2, 1, 2]),
        vec![2, 1, 5],
        algorithm.clone(),
        value(0x30, b""),
        value(0x30, &validity),
        value(0x30, &names),
        point,
    ]
    .concat();
    let signature = value(0x03, &hex::decode("003006020101020101").unwrap());
    value(0x30, &[value(0x30, &body), algorithm, signature].concat())
}

fn with(name: &str, place: &str, bytes: &[u8]) -> Result<Bundle, Refusal> {
    let entry = entry(name);
    let mut document: Value = serde_json::from_slice(&entry.bytes()).unwrap();
    *document.pointer_mut(place).unwrap() = json!(base64_encode(bytes));
    Bundle::parse(document.to_string().as_bytes(), &Limits::default())
}

const CERTIFICATE: &str = "/verificationMaterial/certificate/rawBytes";
const STAMP: &str =
    "/verificationMaterial/timestampVerificationData/rfc3161Timestamps/0/signedTimestamp";

#[test]
fn a_set_of_many_members_is_refused_before_it_is_sorted() {
    let many = certificate(&[members(17)]);
    let refusal = with(SAMPLE, CERTIFICATE, &many).unwrap_err();
    assert_eq!(refusal.step, Step::Parse);
    assert!(refusal.sentence.contains("set of too many"), "{refusal}");
    assert!(refusal.expected.unwrap().contains("16 members"));
    assert_eq!(Claims::parse(&many).unwrap_err().step, Step::Parse);
    // As many as are allowed reach the decoder, which finds that the certificate names nobody.
    let few = certificate(&[members(16)]);
    with(SAMPLE, CERTIFICATE, &few).unwrap();
    assert_eq!(Claims::parse(&few).unwrap_err().step, Step::Chain);
    // Within an extension's octets, in a sequence, and in what a timestamp has.
    let octets = value(0x30, &value(0x04, &value(0x30, &value(0x31, &members(17)))));
    with(SAMPLE, CERTIFICATE, &octets).unwrap_err();
    let broken = [value(0x30, &value(0x31, &members(17))), vec![0xff]].concat();
    let octets = value(0x30, &value(0x04, &broken));
    assert_eq!(
        with(SAMPLE, CERTIFICATE, &octets).unwrap_err().step,
        Step::Parse
    );
    for tag in [0x31, 0xa0, 0xa1] {
        let set = value(0x30, &value(tag, &members(17)));
        let refusal = with(STAMPED, STAMP, &set).unwrap_err();
        assert_eq!(refusal.step, Step::Parse, "{tag:x}");
    }
    let sequence = value(0x30, &members(65));
    with(STAMPED, STAMP, &sequence).unwrap_err();
}

#[test]
fn giants_and_depths_of_certificates_and_timestamps_are_refused() {
    for (name, place, most) in [(SAMPLE, CERTIFICATE, 4096), (STAMPED, STAMP, 8192)] {
        let giant = value(0x04, &vec![0; most - 3]);
        let refusal = with(name, place, &giant).unwrap_err();
        assert_eq!(refusal.step, Step::Parse);
        assert_eq!(refusal.expected.unwrap(), format!("at most {most} bytes"));
        let mut deep = Vec::new();
        for _ in 0..1000 {
            deep = value(0x30, &deep);
        }
        deep.truncate(deep.len().min(most));
        assert_eq!(with(name, place, &deep).unwrap_err().step, Step::Parse);
    }
}

#[test]
fn what_is_no_der_is_refused_at_the_step_that_needs_it() {
    for bytes in [
        &[0x30][..],
        &[0x30, 0x05, 0x00],
        &[0x30, 0x80, 0x00, 0x00],
        &[0x1f, 0x81, 0x00],
        &[0x30, 0x84, 0, 0, 0, 1, 0],
        b"neither this",
    ] {
        let refusal = with(SAMPLE, CERTIFICATE, bytes).unwrap_err();
        assert_eq!(refusal.step, Step::Chain, "{bytes:?}");
        let refusal = with(STAMPED, STAMP, bytes).unwrap_err();
        assert_eq!(refusal.step, Step::Time, "{bytes:?}");
    }
}

#[test]
fn the_longest_certificate_that_gets_to_the_decoder_has_small_sets_only() {
    let mut sets = Vec::new();
    while certificate(&sets).len() < 3900 {
        sets.push(members(16));
    }
    let longest = certificate(&sets);
    assert!(longest.len() <= 4096);
    crate::sigstore::der::certificate(&longest).unwrap();
    assert!(Claims::parse(&longest).is_err());
    // One member more in one of its sets, and it does not.
    sets[0] = members(17);
    let refusal = crate::sigstore::der::certificate(&certificate(&sets)).unwrap_err();
    assert_eq!(refusal.step, Step::Parse);
}
