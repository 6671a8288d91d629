//! The attestation that the canaries carry is what the test kit's Sigstore makes of their file.

#![allow(clippy::unwrap_used)]

use countersign_assess::canary::provenance::{ISSUER, REPOSITORY, attested_file};
use countersign_testkit::claims;
use countersign_testkit::sigstore::{Identity, PrivateSigstore, statements};

/// 1 February 2026.
const MADE: i64 = 1_769_904_000;

#[test]
fn the_recorded_attestation_is_that_of_the_canary() {
    let recorded = concat!(env!("CARGO_MANIFEST_DIR"), "/data/provenance.json");
    let sigstore = PrivateSigstore::new("the canaries of countersign-assess");
    let (host, repository) = REPOSITORY.split_at("https://forge.canary.test".len());
    let job = claims::github(repository.trim_start_matches('/'), "release.yml");
    let identity = Identity::github(ISSUER, host, &job);
    let (filename, bytes) = attested_file();
    let statement = statements::slsa_v1(&filename, &bytes, &identity);
    let made = serde_json::json!({
        "trusted_root": sigstore.trusted_root(),
        "attestation": sigstore.signing(&identity).at(MADE).attestation(&statement),
    });
    let text = format!("{made:#}\n");
    if std::env::var_os("UPDATE_CANARIES").is_some() {
        std::fs::write(recorded, &text).unwrap();
        return;
    }
    assert_eq!(
        std::fs::read_to_string(recorded).unwrap(),
        text,
        "UPDATE_CANARIES=1 writes what changed in the canary or in the test kit"
    );
}
