//! Every leaf of real bundles, changed in every way: each change is refused, or the table says why it changes nothing
//! that is signed or proven.

use std::collections::BTreeSet;

use serde_json::Value;

use super::*;
use crate::base64_encode;

/// A place in a document.
#[derive(Clone, PartialEq)]
enum At {
    Name(String),
    Index(usize),
}

/// What is done to a place.
#[derive(Clone)]
enum Change {
    /// Something else stands there.
    Put(Value, &'static str),
    /// It stands there no more.
    Drop,
    /// It stands there twice.
    Twice,
}

impl Change {
    fn name(&self) -> &str {
        match self {
            Self::Put(_, name) => name,
            Self::Drop => "drop",
            Self::Twice => "twice",
        }
    }
}

/// Writes a document with one change in it.
fn write(value: &Value, place: &[At], change: &Change, out: &mut String) {
    let Some((here, below)) = place.split_first() else {
        match change {
            Change::Put(new, _) => out.push_str(&new.to_string()),
            _ => unreachable!("the parent drops and repeats"),
        }
        return;
    };
    let mut first = true;
    let mut member = |name: Option<&str>, member: &Value, at: At, out: &mut String| {
        let hit = at == *here;
        let times = match (hit && below.is_empty(), change) {
            (true, Change::Drop) => 0,
            (true, Change::Twice) => 2,
            _ => 1,
        };
        for _ in 0..times {
            if !std::mem::take(&mut first) {
                out.push(',');
            }
            if let Some(name) = name {
                out.push_str(&Value::from(name).to_string());
                out.push(':');
            }
            let whole = below.is_empty() && !matches!(change, Change::Put(..));
            if hit && !whole {
                write(member, below, change, out);
            } else {
                out.push_str(&member.to_string());
            }
        }
    };
    match value {
        Value::Object(members) => {
            out.push('{');
            for (name, value) in members {
                member(Some(name), value, At::Name(name.clone()), out);
            }
            out.push('}');
        }
        Value::Array(list) => {
            out.push('[');
            for (at, value) in list.iter().enumerate() {
                member(None, value, At::Index(at), out);
            }
            out.push(']');
        }
        leaf => out.push_str(&leaf.to_string()),
    }
}

fn shown(place: &[At]) -> String {
    place
        .iter()
        .map(|at| match at {
            At::Name(name) => format!("/{name}"),
            At::Index(index) => format!("/{index}"),
        })
        .collect()
}

/// Changes of a text: of bytes in base64, of a number, of a note, of any other.
fn changes_of_text(text: &str) -> Vec<Change> {
    let put = |text: String, name| Change::Put(Value::from(text), name);
    let mut all = vec![
        put(format!("{text}A"), "longer"),
        put(String::new(), "empty"),
    ];
    if let Ok(number) = text.parse::<u64>() {
        all.push(put((number + 1).to_string(), "plus one"));
        all.push(put(number.saturating_sub(1).to_string(), "minus one"));
        all.push(put(format!("0{text}"), "leading zero"));
        all.push(put(format!("-{text}"), "negative"));
    } else if let Some(bytes) = crate::base64_decode(text).filter(|bytes| bytes.len() > 8) {
        for part in 0..16 {
            let mut flipped = bytes.clone();
            let at = part * (bytes.len() - 1) / 15;
            flipped[at] ^= 1 << (part % 8);
            all.push(put(base64_encode(&flipped), "bit"));
        }
        let mut longer = bytes.clone();
        longer.push(0);
        all.push(put(base64_encode(&longer), "byte more"));
        all.push(put(base64_encode(&bytes[..bytes.len() - 1]), "byte less"));
        all.push(put(text.replace('=', ""), "no padding").clone());
        all.push(put(format!("{text}\n"), "line break"));
        if text.contains(['+', '/']) {
            all.push(put(
                text.replace('+', "-").replace('/', "_"),
                "url alphabet",
            ));
        }
    } else {
        // A checkpoint, or a word. Each character. The log signs before its witnesses.
        let mut lines = text.match_indices("\n\u{2014} ").map(|(at, _)| at);
        let witnesses = lines.nth(1).unwrap_or(text.len());
        for (at, character) in text.char_indices() {
            let other = if character == 'A' { 'B' } else { 'A' };
            let rest = &text[at + character.len_utf8()..];
            let name = if at > witnesses {
                "witness"
            } else {
                "character"
            };
            all.push(put(format!("{}{other}{rest}", &text[..at]), name));
        }
    }
    all.retain(|change| !matches!(change, Change::Put(new, _) if new == text));
    all
}

/// All places and all changes.
fn table(value: &Value, place: &mut Vec<At>, all: &mut Vec<(Vec<At>, Change)>) {
    if !place.is_empty() {
        all.push((place.clone(), Change::Drop));
        all.push((place.clone(), Change::Twice));
        if !value.is_null() {
            all.push((place.clone(), Change::Put(Value::Null, "null")));
        }
    }
    match value {
        Value::Object(members) => {
            for (name, value) in members {
                place.push(At::Name(name.clone()));
                table(value, place, all);
                place.pop();
            }
        }
        Value::Array(list) => {
            for (at, value) in list.iter().enumerate() {
                place.push(At::Index(at));
                table(value, place, all);
                place.pop();
            }
        }
        Value::String(text) => {
            let changes = changes_of_text(text).into_iter();
            all.extend(changes.map(|change| (place.clone(), change)));
        }
        Value::Null => {}
        other => panic!("{other} stands in no bundle"),
    }
}

/// Changes of a bundle that nothing signs or proves: the place, the change, the reason.
type Harmless = &'static [(&'static str, &'static str, &'static str)];

const EMPTY: &str = "nothing and an empty value say the same";
const HINT: &str = "the key is named at another place too, which counts";
const ENOUGH: &str = "one proof of the time is enough, and the other still stands";
const DOUBLE: &str = "the signature covers the digest, which stands here for convenience";
const WITNESS: &str = "the root holds no keys of witnesses, so that their lines prove nothing";
const PROMISE: &str = "in bundles of version 0.1 the log's promise is enough";

fn hold(name: &str, harmless: Harmless) {
    let entry = entry(name);
    let document: Value = serde_json::from_slice(&entry.bytes()).unwrap();
    entry.verify().unwrap();
    let mut all = Vec::new();
    table(&document, &mut Vec::new(), &mut all);
    let (mut wrong, mut used, mut refused) = (BTreeSet::new(), BTreeSet::new(), 0);
    for (place, change) in &all {
        let mut text = String::new();
        write(&document, place, change, &mut text);
        let row = (shown(place), change.name().to_owned());
        let listed = harmless
            .iter()
            .position(|(at, what, _)| *at == row.0 && *what == row.1);
        match (entry.verify_bytes(text.as_bytes()), listed) {
            (Err(_), _) => refused += 1,
            (Ok(_), Some(at)) => {
                used.insert(at);
            }
            // Not all of a timestamp is signed; see the test of its every byte.
            (Ok(_), None) if row.0.ends_with("/signedTimestamp") && row.1 == "bit" => {}
            (Ok(_), None) => {
                wrong.insert(row);
            }
        }
    }
    assert!(wrong.is_empty(), "accepted: {wrong:#?}");
    assert_eq!(
        used.len(),
        harmless.len(),
        "the table lists more than happens"
    );
    assert!(refused > 200, "{refused} of {}", all.len());
}

const STAMPS: &str = "/verificationMaterial/timestampVerificationData";
const LIST: &str = "/verificationMaterial/timestampVerificationData/rfc3161Timestamps";

#[test]
fn every_change_of_a_python_attestation_is_refused() {
    hold("pep740-prov-sampleproject-4.0.0.tar.gz.provenance-0", &[]);
}

#[test]
fn every_change_of_npm_provenance_is_refused() {
    hold(
        "rustrepo-sigstore.js@2.0.0-provenance.sigstore.json",
        &[
            ("/dsseEnvelope/signatures/0/keyid", "drop", EMPTY),
            (STAMPS, "drop", EMPTY),
            (
                "/verificationMaterial/tlogEntries/0/inclusionProof",
                "drop",
                PROMISE,
            ),
            (
                "/verificationMaterial/tlogEntries/0/inclusionProof",
                "null",
                PROMISE,
            ),
        ],
    );
}

#[test]
fn every_change_of_a_signed_file_is_refused() {
    hold(
        "rustrepo-cosign-v3-blob",
        &[
            ("/messageSignature/messageDigest", "drop", DOUBLE),
            ("/messageSignature/messageDigest", "null", DOUBLE),
            (STAMPS, "drop", ENOUGH),
            (STAMPS, "null", ENOUGH),
            (LIST, "drop", ENOUGH),
            (LIST, "null", ENOUGH),
            (
                "/verificationMaterial/timestampVerificationData/rfc3161Timestamps/0",
                "drop",
                ENOUGH,
            ),
            (
                "/verificationMaterial/tlogEntries/0/inclusionPromise",
                "drop",
                ENOUGH,
            ),
            (
                "/verificationMaterial/tlogEntries/0/inclusionPromise",
                "null",
                ENOUGH,
            ),
        ],
    );
}

#[test]
fn every_change_of_a_bundle_of_the_second_log_is_refused() {
    hold(
        "rustrepo-conda-attestation-rekor2.sigstore.json",
        &[(
            "/verificationMaterial/tlogEntries/0/inclusionProof/checkpoint/envelope",
            "witness",
            WITNESS,
        )],
    );
}

#[test]
fn every_change_of_a_bundle_under_a_known_key_is_refused() {
    hold(
        "slsa-npm-provenance-npm-test-cli-v1-prega.tgz.json-0",
        &[
            ("/dsseEnvelope/signatures/0/keyid", "drop", HINT),
            ("/dsseEnvelope/signatures/0/keyid", "empty", HINT),
            (STAMPS, "drop", EMPTY),
            (STAMPS, "null", EMPTY),
            (LIST, "drop", EMPTY),
            (LIST, "null", EMPTY),
        ],
    );
}

#[test]
fn every_change_of_a_bundle_with_timestamps_alone_is_refused() {
    hold("rustrepo-github-private-attestation.sigstore.json", &[]);
}

/// The parts of a DER value: where each begins, where its content begins, where it ends.
fn parts(der: &[u8], from: usize, to: usize) -> Vec<(usize, usize, usize)> {
    let (mut at, mut all) = (from, Vec::new());
    while at < to {
        let first = usize::from(der[at + 1]);
        let (head, length) = if first < 128 {
            (2, first)
        } else {
            let count = first & 127;
            let bytes = &der[at + 2..at + 2 + count];
            let length = bytes
                .iter()
                .fold(0, |sum, byte| sum << 8 | usize::from(*byte));
            (2 + count, length)
        };
        all.push((at, at + head, at + head + length));
        at += head + length;
    }
    all
}

#[test]
fn every_signed_byte_of_a_timestamp_is_refused() {
    for name in [
        "rustrepo-conda-attestation-rekor2.sigstore.json",
        "rustrepo-github-private-attestation.sigstore.json",
    ] {
        let entry = entry(name);
        let document: Value = serde_json::from_slice(&entry.bytes()).unwrap();
        let place =
            "/verificationMaterial/timestampVerificationData/rfc3161Timestamps/0/signedTimestamp";
        let text = document.pointer(place).unwrap().as_str().unwrap();
        let der = crate::base64_decode(text).unwrap();
        let inside = |part: (usize, usize, usize)| parts(&der, part.1, part.2);
        // TimeStampResp, then its token, then [0], then SignedData.
        let token = inside(inside(parts(&der, 0, der.len())[0])[1]);
        let signed = inside(inside(token[1])[0]);
        let stamp = inside(signed[2])[1];
        let signer = inside(inside(*signed.last().unwrap())[0]);
        let attributes = signer[3];
        let signature = *signer.last().unwrap();
        assert_eq!(der[attributes.0], 0xa0);
        assert_eq!(der[signature.0], 0x04);
        let mut refused = 0;
        for (from, to) in [
            // What is stamped, without the octets around it; the rest with its own.
            (inside(stamp)[0].1, stamp.2),
            (attributes.0, attributes.2),
            (signature.0, signature.2),
        ] {
            for at in from..to {
                let mut changed = der.clone();
                changed[at] ^= 1 << (at % 8);
                let mut document = document.clone();
                *document.pointer_mut(place).unwrap() = Value::from(base64_encode(&changed));
                let refusal = entry
                    .verify_bytes(document.to_string().as_bytes())
                    .expect_err(&format!("{name}: byte {at}"));
                assert_eq!(refusal.step, Step::Time, "{refusal}");
                refused += 1;
            }
        }
        assert!(refused > 400, "{refused}");
    }
}

/// Where a changed byte of the rest of a timestamp is accepted, by the part that it is in.
fn loose_parts(name: &str) -> (BTreeSet<&'static str>, usize) {
    let entry = entry(name);
    let document: Value = serde_json::from_slice(&entry.bytes()).unwrap();
    let place =
        "/verificationMaterial/timestampVerificationData/rfc3161Timestamps/0/signedTimestamp";
    let text = document.pointer(place).unwrap().as_str().unwrap();
    let der = crate::base64_decode(text).unwrap();
    let inside = |part: (usize, usize, usize)| parts(&der, part.1, part.2);
    let response = inside(parts(&der, 0, der.len())[0]);
    let token = inside(response[1]);
    let signed = inside(inside(token[1])[0]);
    let signer = inside(inside(*signed.last().unwrap())[0]);
    let certificates = signed[3..signed.len() - 1]
        .iter()
        .map(|part| ("certificates", *part));
    let named = [
        ("status", response[0]),
        ("content type", token[0]),
        ("version", signed[0]),
        ("digest algorithms", signed[1]),
        ("signer's version", signer[0]),
        ("signer's name", signer[1]),
        ("signer's digest algorithm", signer[2]),
        ("signature algorithm", signer[4]),
    ];
    let (mut loose, mut tried) = (BTreeSet::new(), 0);
    for (part, (from, _, to)) in named.into_iter().chain(certificates) {
        for at in from..to {
            let mut changed = der.clone();
            changed[at] ^= 1 << (at % 8);
            let mut document = document.clone();
            *document.pointer_mut(place).unwrap() = Value::from(base64_encode(&changed));
            tried += 1;
            if entry.verify_bytes(document.to_string().as_bytes()).is_ok() {
                loose.insert(part);
            }
        }
    }
    (loose, tried)
}

/// Nothing signs these: who stamped, what and when is in the parts that the signature and the root's certificate cover.
const LOOSE: [&str; 6] = [
    "certificates",
    "digest algorithms",
    "signature algorithm",
    "signer's version",
    "status",
    "version",
];

#[test]
fn what_may_change_in_a_timestamp_is_named() {
    for name in [
        "rustrepo-conda-attestation-rekor2.sigstore.json",
        "rustrepo-github-private-attestation.sigstore.json",
    ] {
        let (loose, tried) = loose_parts(name);
        assert!(tried > 100, "{tried}");
        let named = BTreeSet::from(LOOSE);
        let others: Vec<_> = loose.difference(&named).collect();
        assert!(others.is_empty(), "{name}: {others:?}");
    }
}
