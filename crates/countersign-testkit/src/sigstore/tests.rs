//! What the kit signs is held against a verifier that knows nothing of it.

use sigstore_verify::trust_root::TrustedRoot;
use sigstore_verify::types::Bundle;
use sigstore_verify::{
    PublicKeyVerificationPolicy, VerificationPolicy, VerificationResult, Verifier,
};

use super::*;
use crate::claims;

const ISSUER: &str = "https://token.example.org";
const HOST: &str = "https://git.example.org";
const FILE: &[u8] = b"not really a distribution";
/// In November 2026.
const TIME: i64 = 1_795_262_399;

fn identity() -> Identity {
    let job = claims::github_in_environment("octo/sample", "release.yml", "release");
    Identity::github(ISSUER, HOST, &job)
}

fn checked(root: &PrivateSigstore, bundle: &Value) -> Result<VerificationResult, String> {
    let root = TrustedRoot::from_json(&root.trusted_root_json()).unwrap();
    let verifier = Verifier::new(&root).unwrap();
    let bundle = Bundle::from_json(&bundle.to_string()).map_err(|error| error.to_string())?;
    let policy = VerificationPolicy::any_identity();
    verifier
        .verify(FILE, &bundle, &policy)
        .map_err(|error| error.to_string())
}

fn all_signings<'a>(of: &'a PrivateSigstore, identity: &Identity) -> Vec<Signing<'a>> {
    let formats = [Format::V01, Format::V02, Format::V03];
    let older = [Logged::V1, Logged::V1Intoto]
        .into_iter()
        .flat_map(|logged| formats.map(|format| (logged, format)));
    older
        .chain([(Logged::V2, Format::V03)])
        .map(|(logged, format)| of.signing(identity).at(TIME).logged(logged).format(format))
        .collect()
}

#[test]
fn the_real_verifier_accepts_every_form_and_reads_the_identity() {
    let sigstore = PrivateSigstore::new("forms");
    let identity = identity();
    let statement = statements::slsa_v1("sample-1.0.tar.gz", FILE, &identity);
    for signing in all_signings(&sigstore, &identity) {
        for bundle in [signing.statement(&statement), signing.artifact(FILE)] {
            let result = checked(&sigstore, &bundle)
                .unwrap_or_else(|error| panic!("{signing:?}: {error}\n{bundle:#}"));
            assert!(
                result.certificate_verified() && result.sct_verified() && result.tlog_verified()
            );
            assert_eq!(result.issuer(), Some(ISSUER));
            let certificate = result.certificate().unwrap();
            let read = serde_json::to_value(format!("{:?}", certificate.ci_claims)).unwrap();
            for (number, text) in identity.extensions.range(9..) {
                assert!(
                    read.to_string().contains(text),
                    ".{number} {text} is not in {read}"
                );
            }
            let times: Vec<i64> = result
                .verified_timestamps()
                .iter()
                .map(|time| time.as_second())
                .collect();
            assert_eq!(times, [TIME]);
        }
    }
}

#[test]
fn the_real_verifier_accepts_signatures_by_a_named_key() {
    let sigstore = PrivateSigstore::new("keys");
    let purl = "pkg:npm/sample@1.0.0";
    let statement = statements::npm_publish(purl, "sample", "1.0.0", "https://registry.test", FILE);
    let root = TrustedRoot::from_json(&sigstore.trusted_root_json()).unwrap();
    let verifier = Verifier::new(&root).unwrap();
    let pem = sigstore.public_key_pem("SHA256:key");
    let key = sigstore_verify::types::DerPublicKey::from_pem(&pem).unwrap();
    for logged in [Logged::V1, Logged::V2] {
        let signing = sigstore
            .signing_by_key("SHA256:key")
            .at(TIME)
            .logged(logged);
        let bundle = Bundle::from_json(&signing.statement(&statement).to_string()).unwrap();
        let policy = PublicKeyVerificationPolicy::new(key.clone());
        verifier.verify(FILE, &bundle, &policy).unwrap();
    }
}

/// Which faults there are in bundles of a log's kind.
fn faults(logged: Logged) -> Vec<Fault> {
    use Fault::*;
    let mut faults = vec![
        ExpiredCertificate,
        NotYetValidCertificate,
        ForeignAuthority,
        NoCodeSigning,
        NoSct,
        ForeignSct,
        SctOfAnotherCertificate,
        ForeignSignature,
        ChangedStatement,
        TwoSignatures,
        NoSignature,
        OtherPayloadType,
        NoLogEntry,
        ForeignLog,
        EntryOfAnotherStatement,
        EntryOfAnotherCertificate,
        ChangedEntry,
        NoInclusionProof,
        NoCheckpoint,
        ForeignCheckpoint,
        ProofOfAnotherTree,
        ProofOfAnotherPlace,
        ForeignTimestamp,
        TimestampOfAnotherSignature,
    ];
    match logged {
        Logged::V2 => faults.push(NoTimestamp),
        Logged::V1 | Logged::V1Intoto => faults.extend([
            NoSignedEntryTimestamp,
            ForeignSignedEntryTimestamp,
            ChangedIntegratedTime,
        ]),
    }
    faults
}

#[test]
fn the_real_verifier_refuses_every_fault() {
    let sigstore = PrivateSigstore::new("faults");
    let identity = identity();
    let statement = statements::pypi_publish("sample-1.0.tar.gz", FILE);
    let mut accepted = Vec::new();
    for logged in [Logged::V1, Logged::V1Intoto, Logged::V2] {
        for fault in faults(logged) {
            let signing = sigstore
                .signing(&identity)
                .at(TIME)
                .logged(logged)
                .fault(fault);
            match checked(&sigstore, &signing.statement(&statement)) {
                Ok(_) => accepted.push(format!("{logged:?} {fault:?}")),
                Err(said) => println!("{logged:?} {fault:?}: {said}"),
            }
        }
    }
    assert_eq!(accepted, [""; 0]);
}

#[test]
fn another_private_root_refuses_all_of_it() {
    let (ours, theirs) = (PrivateSigstore::new("ours"), PrivateSigstore::new("theirs"));
    let identity = identity();
    let statement = statements::pypi_publish("sample-1.0.tar.gz", FILE);
    for signing in all_signings(&ours, &identity) {
        let bundle = signing.statement(&statement);
        checked(&ours, &bundle).unwrap();
        checked(&theirs, &bundle).unwrap_err();
    }
}

#[test]
fn the_same_seed_and_time_make_the_same_bytes() {
    let identity = identity();
    let statement = statements::pypi_publish("sample-1.0.tar.gz", FILE);
    let made = |seed: &str, time: i64| {
        let sigstore = PrivateSigstore::new(seed);
        let signing = sigstore.signing(&identity).at(time).logged(Logged::V2);
        (sigstore.trusted_root_json(), signing.statement(&statement))
    };
    assert_eq!(made("seed", TIME), made("seed", TIME));
    assert_eq!(made("seed", TIME).0, made("seed", TIME + 1).0);
    assert_ne!(made("seed", TIME).1, made("seed", TIME + 1).1);
    assert_ne!(made("seed", TIME).0, made("other", TIME).0);
}

#[test]
fn an_attestation_object_has_all_that_its_bundle_has() {
    let sigstore = PrivateSigstore::new("objects");
    let identity = identity();
    let statement = statements::pypi_publish("sample-1.0.tar.gz", FILE);
    for logged in [Logged::V1, Logged::V2] {
        let signing = sigstore.signing(&identity).at(TIME).logged(logged);
        let (bundle, object) = (
            signing.statement(&statement),
            signing.attestation(&statement),
        );
        let material = &bundle["verificationMaterial"];
        assert_eq!(
            object["verification_material"]["certificate"],
            material["certificate"]["rawBytes"]
        );
        assert_eq!(
            object["verification_material"]["transparency_entries"],
            material["tlogEntries"]
        );
        assert_eq!(
            object["envelope"]["statement"],
            bundle["dsseEnvelope"]["payload"]
        );
        let stamps = &object["verification_material"]["timestamps"];
        assert_eq!(stamps.is_array(), logged == Logged::V2);
    }
}
