//! Attestations to bundles and back, documents, and what a registry signs itself.

use serde_json::{Value, json};

use super::*;
use crate::base64_encode;

#[test]
fn real_bundles_become_attestations_and_bundles_again_without_loss() {
    let limits = Limits::default();
    let mut converted = 0;
    for entry in index().bundles {
        let bundle = Bundle::parse(&entry.bytes(), &limits).unwrap();
        let Ok(attestation) = Attestation::from_bundle(&bundle) else {
            assert!(!entry.name.starts_with("pep740"), "{}", entry.name);
            continue;
        };
        converted += 1;
        let back = attestation.to_bundle();
        assert_eq!(back.payload(), bundle.payload());
        assert_eq!(back.signature(), bundle.signature());
        assert_eq!(back.signer(), bundle.signer());
        let material = |bundle: &Bundle| bundle.inner().verification_material.clone();
        assert_eq!(material(back).tlog_entries, material(&bundle).tlog_entries);
        assert_eq!(
            material(back).timestamp_verification_data,
            material(&bundle).timestamp_verification_data
        );
        // The entries are the received ones, byte for byte.
        let received: Value = serde_json::from_slice(bundle.raw()).unwrap();
        let written: Value = serde_json::from_slice(attestation.raw()).unwrap();
        assert_eq!(
            written["verification_material"]["transparency_entries"],
            received["verificationMaterial"]["tlogEntries"]
        );
        let again = Attestation::from_bundle(back).unwrap();
        assert_eq!(again.raw(), attestation.raw());
        if entry.expect == "pass" && bundle.version() == Version::V0_3 {
            entry.verify_bytes(back.raw()).unwrap();
        }
    }
    assert!(converted >= 15, "{converted}");
}

#[test]
fn what_an_attestation_object_has_no_place_for_is_refused_not_dropped() {
    let limits = Limits::default();
    for name in [
        "rustrepo-cosign-v3-blob",
        "slsa-npm-provenance-npm-test-cli-v1-prega.tgz.json-0",
        "rustrepo-github-private-attestation.sigstore.json",
        "sigstorejs-bundleV01-full-cert-chain.sigstore",
    ] {
        let bundle = Bundle::parse(&entry(name).bytes(), &limits).unwrap();
        let refusal = Attestation::from_bundle(&bundle).unwrap_err();
        assert!(refusal.sentence.contains("no place"), "{name}: {refusal}");
    }
    // Timestamps have one, by the pending addition.
    let name = "rustrepo-conda-attestation-rekor2.sigstore.json";
    let bundle = Bundle::parse(&entry(name).bytes(), &limits).unwrap();
    let attestation = Attestation::from_bundle(&bundle).unwrap();
    let written: Value = serde_json::from_slice(attestation.raw()).unwrap();
    assert_eq!(
        written["verification_material"]["timestamps"]
            .as_array()
            .unwrap()
            .len(),
        1
    );
    entry(name)
        .verify_bytes(attestation.to_bundle().raw())
        .unwrap();
}

fn attestation() -> Value {
    let bytes = entry("pep740-prov-sampleproject-4.0.0.tar.gz.provenance-0").bytes();
    let bundle = Bundle::parse(&bytes, &Limits::default()).unwrap();
    serde_json::from_slice(Attestation::from_bundle(&bundle).unwrap().raw()).unwrap()
}

#[test]
fn attestations_are_read_as_python_wraps_them_and_in_no_other_way() {
    let limits = Limits::default();
    let wrap = |width: usize, end: &str| {
        let mut value = attestation();
        let text = value["envelope"]["statement"].as_str().unwrap().to_owned();
        let lines: Vec<&str> = (0..text.len())
            .step_by(width)
            .map(|at| &text[at..(at + width).min(text.len())])
            .collect();
        value["envelope"]["statement"] = Value::from(lines.join("\n") + end);
        Attestation::parse(value.to_string().as_bytes(), &limits)
    };
    wrap(76, "\n").unwrap();
    for (width, end) in [(76, ""), (64, "\n"), (76, "\n\n"), (76, " \n")] {
        assert!(wrap(width, end).is_err(), "{width} {end:?}");
    }
    for (place, new) in [
        ("/version", json!(2)),
        ("/verification_material/transparency_entries", json!([])),
        ("/verification_material/certificate", json!("")),
        ("/envelope/signature", json!("?")),
    ] {
        let mut value = attestation();
        *value.pointer_mut(place).unwrap() = new;
        let refusal = Attestation::parse(value.to_string().as_bytes(), &limits).unwrap_err();
        assert_eq!(refusal.step, Step::Parse, "{place}");
    }
    let mut value = attestation();
    value["surprise"] = json!(1);
    assert!(Attestation::parse(value.to_string().as_bytes(), &limits).is_err());
}

#[test]
fn lists_and_provenance_objects_keep_each_attestation_as_it_was() {
    let limits = Limits::default();
    // Spaces and order as some client wrote them.
    let one = attestation()
        .to_string()
        .replace("\"version\":1", "\"version\" : 1");
    let list = format!("[ {one},\n{one} ]");
    let read = Attestation::parse_list(list.as_bytes(), &limits).unwrap();
    assert_eq!(read.len(), 2);
    assert_eq!(read[0].raw(), one.as_bytes());
    let publisher = json!({"kind": "GitHub", "repository": "pypa/sampleproject"});
    let bundles = [(publisher.clone(), vec![read[0].raw()])];
    let document = Provenance::render(&bundles).unwrap();
    let provenance = Provenance::parse(&document, &limits).unwrap();
    assert_eq!(provenance.bundles[0].publisher, publisher);
    assert_eq!(provenance.bundles[0].attestations[0].raw(), one.as_bytes());
    assert!(Provenance::render(&[(publisher, vec![b"{".as_slice()])]).is_err());
}

#[test]
fn npms_document_is_read() {
    let entry = entry("npmcli-valid-sigstore-attestations.json-0");
    let bundle: Value = serde_json::from_slice(&entry.bytes()).unwrap();
    let document = json!({"attestations": [{"predicateType": "x", "bundle": bundle}]});
    let read = npm_attestations(document.to_string().as_bytes(), &Limits::default()).unwrap();
    assert_eq!(read.len(), 1);
    entry.verify_bytes(read[0].bundle.raw()).unwrap();
}

fn release() -> Vec<u8> {
    json!({
        "_type": "https://in-toto.io/Statement/v1",
        "subject": [{"name": "a-1.tar.gz", "digest": {"sha256": "0".repeat(64)}}],
        "predicateType": "https://in-toto.io/attestation/release/v0.2",
        "predicate": {"purl": "pkg:pypi/a@1", "packageId": "7"},
    })
    .to_string()
    .into_bytes()
}

#[test]
fn what_the_registry_signs_holds_under_its_key_and_no_other() {
    let ed25519 = Ed25519Signer::new(&[7; 32]).unwrap();
    let p256 = P256Signer::new(&[7; 32]).unwrap();
    let other = P256Signer::new(&[8; 32]).unwrap();
    let key = |signer: &dyn Signs, hint: &str| TrustedKey {
        hint: hint.to_owned(),
        spki: signer.public_key().unwrap(),
        until: None,
        logged: false,
    };
    let subject = Subject::digest(&format!("sha256:{}", "0".repeat(64))).unwrap();
    for signer in [&ed25519 as &dyn Signs, &p256] {
        let bundle = sign_statement(&release(), signer).unwrap();
        // Deterministic: the same bytes again.
        assert_eq!(
            bundle.raw(),
            sign_statement(&release(), signer).unwrap().raw()
        );
        let under = |keys: Vec<TrustedKey>| {
            let demands = Demands {
                keys: TrustedKeys::new(keys).unwrap(),
                ..Demands::default()
            };
            verify(&bundle, &subject, &TrustRoot::public_good(), &demands)
        };
        let verified = under(vec![key(signer, signer.hint())]).unwrap();
        assert_eq!(
            verified.signer,
            VerifiedSigner::Key(signer.hint().to_owned())
        );
        assert_eq!(verified.root, None);
        assert_eq!(
            verified.statement.unwrap().predicate,
            Predicate::Release {
                purl: Some("pkg:pypi/a@1".to_owned()),
                package_id: Some("7".to_owned()),
            }
        );
        assert_eq!(under(Vec::new()).unwrap_err().step, Step::Signature);
        // Another key under its name.
        let refusal = under(vec![key(&other, signer.hint())]).unwrap_err();
        assert_eq!(refusal.step, Step::Signature, "{refusal}");
        // A key whose signatures must be in a log.
        let mut logged = key(signer, signer.hint());
        logged.logged = true;
        assert_eq!(under(vec![logged]).unwrap_err().step, Step::LogInclusion);
        // A key that has ended, and nothing that proves the time.
        let mut ended = key(signer, signer.hint());
        ended.until = Some(i64::MAX);
        assert_eq!(under(vec![ended]).unwrap_err().step, Step::Time);
        // Each byte of payload and signature.
        let document: Value = serde_json::from_slice(bundle.raw()).unwrap();
        for place in ["/dsseEnvelope/payload", "/dsseEnvelope/signatures/0/sig"] {
            let text = document.pointer(place).unwrap().as_str().unwrap();
            let bytes = crate::base64_decode(text).unwrap();
            for at in 0..bytes.len() {
                let mut changed = bytes.clone();
                changed[at] ^= 1 << (at % 8);
                let mut document = document.clone();
                *document.pointer_mut(place).unwrap() = Value::from(base64_encode(&changed));
                let bundle =
                    Bundle::parse(document.to_string().as_bytes(), &Limits::default()).unwrap();
                let demands = Demands {
                    keys: TrustedKeys::new(vec![key(signer, signer.hint())]).unwrap(),
                    ..Demands::default()
                };
                let root = TrustRoot::public_good();
                assert!(
                    verify(&bundle, &subject, &root, &demands).is_err(),
                    "{place} {at}"
                );
            }
        }
    }
    assert!(P256Signer::new(&[0; 32]).is_err());
    assert!(sign_statement(b"{}", &ed25519).is_err());
}

#[test]
fn a_key_of_npm_does_not_sign_after_its_end() {
    let entry = entry("slsa-npm-provenance-npm-test-cli-v1-prega.tgz.json-0");
    let bundle = Bundle::parse(&entry.bytes(), &Limits::default()).unwrap();
    let subject = Subject::digest(entry.digest.as_deref().unwrap()).unwrap();
    let at = entry.verify().unwrap().times[0].seconds;
    let Signer::Key(hint) = bundle.signer() else {
        panic!("it is signed with a key");
    };
    for (until, holds) in [(at, true), (at - 1, false)] {
        let key = TrustedKey {
            until: Some(until),
            ..npm_keys().get(hint).unwrap().clone()
        };
        let demands = Demands {
            keys: TrustedKeys::new(vec![key]).unwrap(),
            ..Demands::default()
        };
        let result = verify(&bundle, &subject, &TrustRoot::public_good(), &demands);
        assert_eq!(result.is_ok(), holds);
    }
    // The envelope's own lengths keep type and payload apart.
    assert_eq!(dsse::pae("a", b"bc"), b"DSSEv1 1 a 2 bc");
}
