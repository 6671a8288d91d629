//! Bundles, attestations, statements, certificates and the documents that carry them: the first byte chooses the reader.
//! Nothing panics, nothing verifies by accident, and what is read can be converted and read again.
#![no_main]

use countersign_trust::sigstore::{
    Attestation, Bundle, Claims, Demands, Limits, Provenance, Statement, Subject, TrustRoot,
    TrustedKeys, npm_attestations, verify,
};
use libfuzzer_sys::fuzz_target;

/// The digest of nothing: no bundle of the seeds is about it.
const NOTHING: &str = "sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";

fn held(bundle: &Bundle) {
    assert!(verify(
        bundle,
        &Subject::digest(NOTHING).expect("a good digest"),
        &TrustRoot::public_good(),
        &Demands::default()
    )
    .is_err());
    if let Ok(attestation) = Attestation::from_bundle(bundle) {
        let back = attestation.to_bundle();
        assert_eq!(back.payload(), bundle.payload());
        assert_eq!(back.signature(), bundle.signature());
        assert_eq!(back.signer(), bundle.signer());
        let again = Attestation::parse(attestation.raw(), &Limits::default());
        if let Ok(again) = again {
            assert_eq!(again.raw(), attestation.raw());
        }
    }
}

fuzz_target!(|data: &[u8]| {
    let Some((kind, data)) = data.split_first() else {
        return;
    };
    let limits = Limits::default();
    match kind % 9 {
        0 => {
            if let Ok(bundle) = Bundle::parse(data, &limits) {
                assert_eq!(bundle.raw(), data);
                held(&bundle);
            }
        }
        1 => {
            if let Ok(attestation) = Attestation::parse(data, &limits) {
                assert_eq!(attestation.raw(), data);
                held(attestation.to_bundle());
            }
        }
        2 => {
            if let Ok(list) = Attestation::parse_list(data, &limits) {
                assert!(list.len() <= limits.attestations);
            }
        }
        3 => {
            if let Ok(statement) = Statement::parse(data, &limits) {
                assert!(!statement.subjects.is_empty());
            }
        }
        4 => {
            if let Ok(claims) = Claims::parse(data) {
                assert!(!claims.san.as_str().contains(char::is_control));
            }
        }
        5 => drop(Provenance::parse(data, &limits)),
        6 => drop(npm_attestations(data, &limits)),
        7 => drop(TrustRoot::from_json("fuzz", data)),
        _ => drop(TrustedKeys::from_json(data)),
    }
});
