//! Bad input, by name, and what the refusal says.

use serde_json::{Value, json};

use super::*;
use crate::base64_encode;

const SAMPLE: &str = "pep740-prov-sampleproject-4.0.0.tar.gz.provenance-0";

fn document() -> Value {
    serde_json::from_slice(&entry(SAMPLE).bytes()).unwrap()
}

/// The refusal of the sample after a change of its document.
fn refused(change: impl FnOnce(&mut Value)) -> Refusal {
    let mut document = document();
    change(&mut document);
    entry(SAMPLE)
        .verify_bytes(document.to_string().as_bytes())
        .unwrap_err()
}

fn verify_as(
    subject: &Subject<'_>,
    root: &TrustRoot,
    demands: &Demands,
) -> Result<Verified, Refusal> {
    let bundle = Bundle::parse(&entry(SAMPLE).bytes(), &demands.limits).unwrap();
    verify(&bundle, subject, root, demands)
}

fn digest() -> (String, String) {
    let digest = entry(SAMPLE).digest.unwrap();
    let (algorithm, hex) = digest.split_once(':').unwrap();
    (algorithm.to_owned(), hex.to_owned())
}

#[test]
fn a_bundle_for_another_file_names_both_digests() {
    let subject = Subject::digest(&format!("sha256:{}", "0".repeat(64))).unwrap();
    let refusal = verify_as(&subject, &TrustRoot::public_good(), &Demands::default()).unwrap_err();
    assert_eq!(refusal.step, Step::Subject);
    assert_eq!(refusal.code, "attestation-subject-mismatch");
    assert!(refusal.expected.unwrap().starts_with("sha256:0000"));
    assert_eq!(refusal.seen.unwrap(), entry(SAMPLE).digest.unwrap());
}

#[test]
fn a_bundle_for_another_version_or_distribution_names_both_names() {
    let exact = Subject {
        name: NameRule::Exact("sampleproject-4.0.1.tar.gz"),
        digests: vec![digest()],
    };
    let refusal = verify_as(&exact, &TrustRoot::public_good(), &Demands::default()).unwrap_err();
    assert_eq!(refusal.step, Step::Subject);
    assert_eq!(
        refusal.expected.as_deref(),
        Some("sampleproject-4.0.1.tar.gz")
    );
    assert_eq!(refusal.seen.as_deref(), Some("sampleproject-4.0.0.tar.gz"));
    // A name that is written in another way and parses to the same file is the caller's rule to take.
    let fits = |name: &str| name.eq_ignore_ascii_case("SampleProject-4.0.0.tar.gz");
    let rule = Subject {
        name: NameRule::Fits {
            expected: "SampleProject-4.0.0.tar.gz",
            fits: &fits,
        },
        digests: vec![digest()],
    };
    verify_as(&rule, &TrustRoot::public_good(), &Demands::default()).unwrap();
}

#[test]
fn a_digest_of_an_algorithm_that_the_statement_lacks_is_not_taken_for_a_match() {
    let subject = Subject::digest(&format!("sha512:{}", "0".repeat(128))).unwrap();
    let refusal = verify_as(&subject, &TrustRoot::public_good(), &Demands::default()).unwrap_err();
    assert_eq!(refusal.step, Step::Subject);
    let nothing = Subject {
        name: NameRule::Any,
        digests: Vec::new(),
    };
    let refusal = verify_as(&nothing, &TrustRoot::public_good(), &Demands::default()).unwrap_err();
    assert_eq!(refusal.step, Step::Subject);
}

#[test]
fn a_certificate_from_an_authority_outside_the_root_is_refused() {
    // The other instance knows neither the log nor the authority.
    let subject = Subject::digest(&entry(SAMPLE).digest.unwrap()).unwrap();
    let refusal = verify_as(&subject, &staging(), &Demands::default()).unwrap_err();
    assert_eq!(refusal.step, Step::LogInclusion);
    // With the log's key and without the authority's certificate, the chain ends nowhere.
    let mut mixed: Value = read_root("trusted_root_prod.json");
    let other: Value = read_root("trusted_root_staging.json");
    mixed["certificateAuthorities"] = other["certificateAuthorities"].clone();
    let root = TrustRoot::from_json("mixed", mixed.to_string().as_bytes()).unwrap();
    let refusal = verify_as(&subject, &root, &Demands::default()).unwrap_err();
    assert_eq!(refusal.step, Step::Chain, "{refusal}");
    // And without the certificate log's key the certificate is not known to be public.
    let mut mixed: Value = read_root("trusted_root_prod.json");
    mixed["ctlogs"] = other["ctlogs"].clone();
    let root = TrustRoot::from_json("mixed", mixed.to_string().as_bytes()).unwrap();
    let refusal = verify_as(&subject, &root, &Demands::default()).unwrap_err();
    assert_eq!(refusal.step, Step::Sct, "{refusal}");
}

fn read_root(name: &str) -> Value {
    serde_json::from_slice(&std::fs::read(vectors().join(name)).unwrap()).unwrap()
}

#[test]
fn an_authority_whose_time_was_over_does_not_vouch() {
    let subject = Subject::digest(&entry(SAMPLE).digest.unwrap()).unwrap();
    let mut root: Value = read_root("trusted_root_prod.json");
    for authority in root["certificateAuthorities"].as_array_mut().unwrap() {
        authority["validFor"] =
            json!({"start": "2021-01-01T00:00:00Z", "end": "2021-01-02T00:00:00Z"});
    }
    let root = TrustRoot::from_json("ended", root.to_string().as_bytes()).unwrap();
    let refusal = verify_as(&subject, &root, &Demands::default()).unwrap_err();
    assert_eq!(refusal.step, Step::Chain, "{refusal}");
}

#[test]
fn the_root_that_was_leant_on_is_told_among_several() {
    let subject = Subject::digest(&entry(SAMPLE).digest.unwrap()).unwrap();
    let root = TrustRoot::merge([
        TrustRoot::github(),
        staging(),
        TrustRoot::public_good(),
        TrustRoot::public_good(),
    ]);
    assert_eq!(root.used().len(), 3);
    let verified = verify_as(&subject, &root, &Demands::default()).unwrap();
    assert_eq!(verified.root.unwrap(), TrustRoot::public_good().used()[0]);
    // Its refusal, not another's, is what is said where all refuse.
    let other = Subject::digest(&format!("sha256:{}", "0".repeat(64))).unwrap();
    let refusal = verify_as(&other, &root, &Demands::default()).unwrap_err();
    assert_eq!(refusal.step, Step::Subject);
    let nobody = TrustRoot::merge([]);
    assert!(verify_as(&subject, &nobody, &Demands::default()).is_err());
}

#[test]
fn an_inclusion_proof_of_another_tree_or_log_is_refused() {
    let other: Value = serde_json::from_slice(
        &entry("pep740-prov-pypi_attestations-0.0.19.tar.gz.provenance-0").bytes(),
    )
    .unwrap();
    let place = "/verificationMaterial/tlogEntries/0/inclusionProof";
    let proof = other.pointer(place).unwrap().clone();
    let refusal = refused(|document| *document.pointer_mut(place).unwrap() = proof);
    assert_eq!(refusal.step, Step::LogInclusion, "{refusal}");
    // Only the checkpoint of another tree.
    let place = "/verificationMaterial/tlogEntries/0/inclusionProof/checkpoint";
    let checkpoint = other.pointer(place).unwrap().clone();
    let refusal = refused(|document| *document.pointer_mut(place).unwrap() = checkpoint);
    assert_eq!(refusal.step, Step::LogCheckpoint, "{refusal}");
    // The whole entry of another signature.
    let place = "/verificationMaterial/tlogEntries/0";
    let whole = other.pointer(place).unwrap().clone();
    let refusal = refused(|document| *document.pointer_mut(place).unwrap() = whole);
    assert!(
        matches!(refusal.step, Step::LogEntry | Step::Chain | Step::Time),
        "{refusal}"
    );
    // A log that the root does not know.
    let refusal = refused(|document| {
        document["verificationMaterial"]["tlogEntries"][0]["logId"]["keyId"] =
            Value::from(base64_encode(&[7; 32]));
    });
    assert_eq!(refusal.step, Step::LogInclusion);
    assert!(refusal.seen.unwrap().contains("0707"));
}

#[test]
fn a_bundle_without_any_timestamp_is_refused() {
    let refusal = refused(|document| {
        let entry = &mut document["verificationMaterial"]["tlogEntries"][0];
        entry.as_object_mut().unwrap().remove("inclusionPromise");
    });
    assert_eq!(refusal.step, Step::Time);
    assert_eq!(refusal.code, "attestation-time-unproven");
}

#[test]
fn json_names_that_stand_twice_are_refused_wherever_they_stand() {
    let text = document().to_string();
    for name in [
        "mediaType",
        "payload",
        "sig",
        "logIndex",
        "canonicalizedBody",
        "envelope",
    ] {
        let at = text.find(&format!("\"{name}\":")).unwrap();
        let doubled = format!("{}\"{name}\":\"x\",{}", &text[..at], &text[at..]);
        let refusal = entry(SAMPLE).verify_bytes(doubled.as_bytes()).unwrap_err();
        assert_eq!(refusal.step, Step::Parse, "{name}: {refusal}");
    }
    // In the statement too, where the last one would otherwise win.
    let statement = br#"{"_type":"https://in-toto.io/Statement/v1","subject":[{"name":"a","digest":{"sha256":"x"}}],"predicateType":"a","predicateType":"b"}"#;
    let refusal = Statement::parse(statement, &Limits::default()).unwrap_err();
    assert_eq!(refusal.step, Step::Statement);
    assert!(refusal.sentence.contains("twice"), "{refusal}");
}

#[test]
fn giants_are_refused_before_they_are_read() {
    let limits = Limits::default();
    let giant = vec![b' '; limits.bytes + 1];
    let refusal = Bundle::parse(&giant, &limits).unwrap_err();
    assert_eq!(refusal.step, Step::Parse);
    assert_eq!(refusal.seen.as_deref(), Some("131073 bytes"));
    assert!(Attestation::parse(&giant, &limits).is_err());
    let refusal = refused(|document| {
        let entries = &mut document["verificationMaterial"]["tlogEntries"];
        let one = entries[0].clone();
        *entries = Value::Array(vec![one; 5]);
    });
    assert_eq!(refusal.expected.as_deref(), Some("at most 4"));
    let many = format!("[{}1]", "1,".repeat(16));
    assert!(Attestation::parse_list(many.as_bytes(), &limits).is_err());
}

#[test]
fn deep_nesting_is_refused_without_a_deep_stack() {
    let deep = "[".repeat(100_000);
    for bytes in [
        deep.clone(),
        format!("{{\"mediaType\":{deep}"),
        format!("{{\"x\":{deep}"),
    ] {
        assert_eq!(
            Bundle::parse(bytes.as_bytes(), &Limits::default())
                .unwrap_err()
                .step,
            Step::Parse
        );
        assert!(Statement::parse(bytes.as_bytes(), &Limits::default()).is_err());
        assert!(Attestation::parse(bytes.as_bytes(), &Limits::default()).is_err());
        assert!(TrustRoot::from_json("deep", bytes.as_bytes()).is_err());
    }
}

#[test]
fn encodings_that_are_not_canonical_are_refused() {
    for change in [
        |text: &str| text.trim_end_matches('=').to_owned(),
        |text: &str| format!("{text}\n"),
        |text: &str| format!(" {text}"),
        |text: &str| text.replace('+', "-"),
    ] {
        let mut applied = false;
        let refusal = entry(SAMPLE);
        let mut document = document();
        let place = document
            .pointer_mut("/dsseEnvelope/signatures/0/sig")
            .unwrap();
        let text = place.as_str().unwrap().to_owned();
        let changed = change(&text);
        if changed != text {
            applied = true;
            *place = Value::from(changed);
        }
        let result = refusal.verify_bytes(document.to_string().as_bytes());
        assert_eq!(result.is_err(), applied);
    }
    for number in ["01", "+1", "1.0", "0x1", "9223372036854775808", "-1", ""] {
        let refusal = refused(|document| {
            document["verificationMaterial"]["tlogEntries"][0]["logIndex"] = Value::from(number);
        });
        assert_eq!(refusal.step, Step::Parse, "{number}");
    }
}

/// A list of an object's values, in the order in which a derived reader would take them.
fn listed(value: &Value, names: &[&str]) -> Value {
    names.iter().map(|name| value[*name].clone()).collect()
}

#[test]
fn lists_in_the_place_of_objects_are_refused() {
    let refuses = |document: &Value| {
        let refusal = entry(SAMPLE)
            .verify_bytes(document.to_string().as_bytes())
            .unwrap_err();
        assert_eq!(refusal.step, Step::Parse);
        assert!(refusal.sentence.contains("expected an object"), "{refusal}");
    };
    let whole = document();
    let members = [
        "mediaType",
        "verificationMaterial",
        "dsseEnvelope",
        "messageSignature",
    ];
    refuses(&listed(&whole, &members));
    for (place, members) in [
        ("/verificationMaterial/certificate", &["rawBytes"][..]),
        ("/verificationMaterial/tlogEntries/0/logId", &["keyId"]),
        (
            "/verificationMaterial/tlogEntries/0/kindVersion",
            &["kind", "version"],
        ),
        (
            "/verificationMaterial/tlogEntries/0/inclusionPromise",
            &["signedEntryTimestamp"],
        ),
        (
            "/verificationMaterial/tlogEntries/0/inclusionProof",
            &["logIndex", "rootHash", "treeSize", "hashes", "checkpoint"],
        ),
        (
            "/verificationMaterial/tlogEntries/0/inclusionProof/checkpoint",
            &["envelope"],
        ),
        ("/dsseEnvelope", &["payload", "payloadType", "signatures"]),
        ("/dsseEnvelope/signatures/0", &["sig", "keyid"]),
    ] {
        let mut changed = whole.clone();
        let hit = changed.pointer_mut(place).unwrap();
        *hit = listed(hit, members);
        refuses(&changed);
    }
    let bundle = Bundle::parse(&entry(SAMPLE).bytes(), &Limits::default()).unwrap();
    let object = Attestation::from_bundle(&bundle).unwrap();
    let object: Value = serde_json::from_slice(object.raw()).unwrap();
    let parse =
        |value: &Value| Attestation::parse(value.to_string().as_bytes(), &Limits::default());
    parse(&object).unwrap();
    let mut changed = object.clone();
    changed["envelope"] = listed(&object["envelope"], &["statement", "signature"]);
    assert!(parse(&changed).is_err());
    let list = listed(&object, &["version", "verification_material", "envelope"]);
    assert!(parse(&list).is_err());
    let provenance = json!([1, [{"publisher": null, "attestations": [object]}]]);
    assert!(Provenance::parse(provenance.to_string().as_bytes(), &Limits::default()).is_err());
    let npm = json!([[["type", whole]]]);
    assert!(npm_attestations(npm.to_string().as_bytes(), &Limits::default()).is_err());
}

/// A real bundle with more than one thing changed, and its own subject.
fn changed_twice(name: &str, change: impl FnOnce(&mut Value)) -> (Bundle, Subject<'static>) {
    let entry = entry(name);
    let mut document: Value = serde_json::from_slice(&entry.bytes()).unwrap();
    change(&mut document["verificationMaterial"]["tlogEntries"][0]);
    let bundle = Bundle::parse(document.to_string().as_bytes(), &Limits::default()).unwrap();
    let digest = entry
        .digest
        .clone()
        .unwrap_or_else(|| message_digest(&entry.bytes()));
    (bundle, Subject::digest(&digest).unwrap())
}

#[test]
fn an_index_that_no_promise_covers_is_not_told_and_refused_where_it_must_be_proven() {
    let (bundle, subject) = changed_twice("rustrepo-cosign-v3-blob", |entry| {
        entry.as_object_mut().unwrap().remove("inclusionPromise");
        entry["logIndex"] = Value::from("1");
    });
    let root = root(&entry("rustrepo-cosign-v3-blob").root);
    let verified = verify(&bundle, &subject, &root, &Demands::default()).unwrap();
    assert_eq!(verified.entries[0].index, None);
    let demands = Demands {
        placed: true,
        ..Demands::default()
    };
    let refusal = verify(&bundle, &subject, &root, &demands).unwrap_err();
    assert_eq!(refusal.step, Step::LogInclusion);
    assert_eq!(refusal.seen.as_deref(), Some("index 1"));
    // With the promise, and of the second version, it is proven.
    for name in [
        "rustrepo-cosign-v3-blob",
        "rustrepo-conda-attestation-rekor2.sigstore.json",
    ] {
        let (bundle, subject) = changed_twice(name, |_| {});
        let root = self::root(&entry(name).root);
        let verified = verify(&bundle, &subject, &root, &demands).unwrap();
        assert!(verified.entries[0].index.is_some());
    }
}

#[test]
fn an_entry_that_is_passed_off_as_another_logs_is_refused() {
    let name = "rustrepo-conda-attestation-rekor2.sigstore.json";
    let mut tried = 0;
    let own = changed_twice(name, |_| {});
    let id = own.0.inner().verification_material.tlog_entries[0]
        .log_id
        .key_id
        .clone();
    let staging: Value = read_root("trusted_root_staging.json");
    for log in staging["tlogs"].as_array().unwrap() {
        let other = log["logId"]["keyId"].as_str().unwrap();
        let key = crate::base64_decode(other).unwrap();
        if key == id.as_bytes() {
            continue;
        }
        let (bundle, subject) = changed_twice(name, |entry| {
            entry["logId"]["keyId"] = Value::from(other);
            let place = &mut entry["inclusionProof"]["checkpoint"]["envelope"];
            let envelope = place.as_str().unwrap();
            let origin = envelope.lines().next().unwrap();
            // A line with the other log's number, which is no signature of its key.
            let line = base64_encode(&[&key[..4], &[1; 64]].concat());
            *place = Value::from(format!("{envelope}\u{2014} {origin} {line}\n"));
        });
        let root = self::staging();
        let refusal = verify(&bundle, &subject, &root, &Demands::default()).unwrap_err();
        assert_eq!(refusal.step, Step::LogCheckpoint, "{refusal}");
        tried += 1;
    }
    assert!(tried > 0);
}

#[test]
fn entries_of_two_logs_are_each_held_against_their_own_log() {
    use countersign_testkit::sigstore::{Logged, PrivateSigstore, SubjectName, statements};
    let sigstore = PrivateSigstore::new("two logs");
    let root = TrustRoot::from_json("private", sigstore.trusted_root_json().as_bytes()).unwrap();
    let name = SubjectName::Email("ada@example.org".to_owned());
    let identity = countersign_testkit::sigstore::Identity::new("https://token.example.org", name);
    let statement = statements::pypi_publish("sample-1.0.tar.gz", b"bytes");
    let made = |logged| {
        let signing = sigstore.signing(&identity).at(1_795_262_399);
        signing.logged(logged).statement(&statement)
    };
    let mut both = made(Logged::V2);
    let older = made(Logged::V1);
    assert_eq!(both["dsseEnvelope"], older["dsseEnvelope"]);
    let material = &older["verificationMaterial"];
    assert_eq!(
        both["verificationMaterial"]["certificate"],
        material["certificate"]
    );
    let entries = both["verificationMaterial"]["tlogEntries"]
        .as_array_mut()
        .unwrap();
    entries.push(material["tlogEntries"][0].clone());
    let digest = crate::digest::Sha256::of(b"bytes").to_hex();
    let subject = Subject::digest(&format!("sha256:{digest}")).unwrap();
    let held = |document: &Value| {
        let bundle = Bundle::parse(document.to_string().as_bytes(), &Limits::default()).unwrap();
        verify(&bundle, &subject, &root, &Demands::default())
    };
    assert_eq!(held(&both).unwrap().entries.len(), 2);
    // The newer log's own line becomes garbage, while the older log signs the same text.
    for at in [0, 1] {
        let mut changed = both.clone();
        let place = &mut changed["verificationMaterial"]["tlogEntries"][at]["inclusionProof"]["checkpoint"]
            ["envelope"];
        let envelope = place.as_str().unwrap().to_owned();
        let (text, line) = envelope.rsplit_once(' ').unwrap();
        let mut bytes = crate::base64_decode(line.trim_end()).unwrap();
        *bytes.last_mut().unwrap() ^= 1;
        *place = Value::from(format!("{text} {}\n", base64_encode(&bytes)));
        assert_eq!(held(&changed).unwrap_err().step, Step::LogCheckpoint);
    }
}

#[test]
fn unknown_names_versions_and_kinds_are_refused() {
    let refusal = refused(|document| document["surprise"] = Value::from(1));
    assert_eq!(refusal.step, Step::Parse);
    for media_type in [
        "application/vnd.dev.sigstore.bundle.v0.4+json",
        "application/vnd.dev.sigstore.bundle+json;version=0.9",
        "",
    ] {
        let refusal = refused(|document| document["mediaType"] = Value::from(media_type));
        assert_eq!(refusal.step, Step::Parse);
        assert_eq!(refusal.seen.as_deref(), Some(media_type));
    }
    let refusal = refused(|document| {
        document["verificationMaterial"]["tlogEntries"][0]["kindVersion"]["version"] =
            Value::from("0.0.9");
    });
    assert_eq!(refusal.seen.as_deref(), Some("dsse/0.0.9"));
}

#[test]
fn statements_of_kinds_that_are_not_taken_and_old_bundles_are_refused() {
    let subject = Subject::digest(&entry(SAMPLE).digest.unwrap()).unwrap();
    let demands = Demands {
        kinds: Some(vec![PredicateKind::SlsaV1]),
        ..Demands::default()
    };
    let refusal = verify_as(&subject, &TrustRoot::public_good(), &demands).unwrap_err();
    assert_eq!(refusal.step, Step::Predicate);
    let old = entry("sigstorejs-bundleV01-dsse-with-proof.sigstore");
    let demands = Demands {
        oldest: Version::V0_2,
        ..old.demands()
    };
    let bundle = Bundle::parse(&old.bytes(), &demands.limits).unwrap();
    let refusal = verify(&bundle, &subject, &TrustRoot::public_good(), &demands).unwrap_err();
    assert_eq!(
        (refusal.step, refusal.seen.as_deref()),
        (Step::Parse, Some("0.1"))
    );
}

#[test]
fn publish_attestations_are_known_by_their_form_whatever_the_index() {
    for (text, kind) in [
        (
            "https://docs.index.example/attestations/publish/v1",
            PredicateKind::IndexPublish,
        ),
        (
            "https://docs./attestations/publish/v1",
            PredicateKind::Unknown,
        ),
        (
            "https://docs.evil/x/attestations/publish/v1",
            PredicateKind::Unknown,
        ),
        (
            "https://docs.a@b/attestations/publish/v1",
            PredicateKind::Unknown,
        ),
        (
            "http://docs.index.example/attestations/publish/v1",
            PredicateKind::Unknown,
        ),
        ("https://slsa.dev/provenance/v1", PredicateKind::SlsaV1),
        ("https://slsa.dev/provenance/v1 ", PredicateKind::Unknown),
        ("https://slsa.dev/provenance/v0.2", PredicateKind::SlsaV0_2),
        (
            "https://slsa.dev/verification_summary/v1",
            PredicateKind::Vsa,
        ),
    ] {
        assert_eq!(PredicateKind::of(text), kind, "{text}");
    }
}

fn statement(change: impl FnOnce(&mut Value)) -> Result<Statement, Refusal> {
    let mut value = json!({
        "_type": "https://in-toto.io/Statement/v1",
        "subject": [{"name": "a-1.tar.gz", "digest": {"sha256": "0".repeat(64)}}],
        "predicateType": "https://docs.index.example/attestations/publish/v1",
        "predicate": null,
    });
    change(&mut value);
    Statement::parse(value.to_string().as_bytes(), &Limits::default())
}

#[test]
fn statements_about_nothing_or_of_no_form_are_refused() {
    let read = statement(|_| {}).unwrap();
    assert_eq!(read.predicate, Predicate::IndexPublish);
    for (step, change) in [
        (Step::Subject, json!({"subject": []})),
        (Step::Statement, json!({"subject": [{"name": "a"}]})),
        (
            Step::Statement,
            json!({"subject": [{"name": "a", "digest": {}}]}),
        ),
        (
            Step::Statement,
            json!({"subject": [{"name": "a", "digest": {"sha256": "00"}}]}),
        ),
        (
            Step::Statement,
            json!({"subject": [{"name": "a", "digest": {"sha256": "A".repeat(64)}}]}),
        ),
        (
            Step::Statement,
            json!({"subject": [{"name": 1, "digest": {"sha256": "0".repeat(64)}}]}),
        ),
        (
            Step::Statement,
            json!({"_type": "https://in-toto.io/Statement/v2"}),
        ),
        (Step::Statement, json!({"predicateType": 1})),
    ] {
        let refusal = statement(|value| {
            for (name, new) in change.as_object().unwrap() {
                value[name] = new.clone();
            }
        })
        .unwrap_err();
        assert_eq!(refusal.step, step, "{change}: {refusal}");
    }
    // A publish attestation that says more than nothing.
    let read = statement(|value| value["predicate"] = json!({"more": 1})).unwrap();
    assert!(matches!(read.predicate, Predicate::Malformed(_)));
}

#[test]
fn certificates_with_malformed_or_doubled_extensions_are_refused() {
    let bundle = Bundle::parse(&entry(SAMPLE).bytes(), &Limits::default()).unwrap();
    let Signer::Certificate(der) = bundle.signer() else {
        panic!("it is signed with a certificate");
    };
    Claims::parse(der).unwrap();
    // 1.3.6.1.4.1.57264.1.8, whose value becomes an IA5String, and becomes another known extension.
    let oid = [
        0x06, 0x0a, 0x2b, 0x06, 0x01, 0x04, 0x01, 0x83, 0xbf, 0x30, 0x01, 0x08,
    ];
    let at = der
        .windows(oid.len())
        .position(|window| window == oid)
        .unwrap();
    let mut changed = der.to_vec();
    assert_eq!(changed[at + 14], 0x0c);
    changed[at + 14] = 0x16;
    let refusal = Claims::parse(&changed).unwrap_err();
    assert_eq!(refusal.step, Step::Chain);
    assert!(refusal.sentence.contains("57264.1.8"), "{refusal}");
    let mut doubled = der.to_vec();
    doubled[at + 11] = 0x09;
    let refusal = Claims::parse(&doubled).unwrap_err();
    assert!(refusal.sentence.contains("twice"), "{refusal}");
    // Control characters would reach terminals and pages.
    let mut control = der.to_vec();
    control[at + 16] = 0x1b;
    assert!(Claims::parse(&control).is_err());
    for end in 0..der.len() {
        assert!(Claims::parse(&der[..end]).is_err());
    }
}

#[test]
fn trust_roots_of_no_form_are_refused() {
    let good: Value = read_root("trusted_root_prod.json");
    TrustRoot::from_json("x", good.to_string().as_bytes()).unwrap();
    for (place, new) in [
        ("/mediaType", json!("application/json")),
        ("/tlogs/0/publicKey/rawBytes", json!("AAAA")),
        (
            "/tlogs/0/publicKey/validFor",
            json!({"start": "2022-01-01T00:00:00Z", "end": "2021-01-01T00:00:00Z"}),
        ),
        ("/tlogs/1", good["tlogs"][0].clone()),
        (
            "/certificateAuthorities/0/certChain/certificates",
            json!([]),
        ),
        (
            "/certificateAuthorities/0/certChain/certificates/0/rawBytes",
            json!("AAAA"),
        ),
    ] {
        let mut changed = good.clone();
        *changed.pointer_mut(place).unwrap() = new;
        let refusal = TrustRoot::from_json("x", changed.to_string().as_bytes()).unwrap_err();
        assert_eq!(refusal.step, Step::Parse, "{place}");
    }
    let nobody = json!({"mediaType": good["mediaType"]});
    assert!(TrustRoot::from_json("x", nobody.to_string().as_bytes()).is_err());
}
