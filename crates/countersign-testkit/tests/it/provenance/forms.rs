//! On both databases: the forms in which a signature may be logged, and the bundles that no upload may bring.

use countersign_testkit::server::Database;
use countersign_testkit::sigstore::{Format, Logged, statements};
use serde_json::{Value, json};

use super::Stage;
use crate::trusted::{self, release};

#[test]
fn every_kind_of_log_entry_is_taken_and_served_as_it_was() {
    entries_are_taken(Database::Sqlite);
}

#[test]
fn every_kind_of_log_entry_is_taken_and_served_as_it_was_on_postgresql() {
    entries_are_taken(Database::Postgres);
}

fn entries_are_taken(database: Database) {
    let stage = Stage::on(trusted::Stage::on(database));
    stage.base.project_with_publisher("sample", &[]);
    let identity = stage.workflow();
    for (version, logged) in [
        ("1.1", Logged::V1),
        ("1.2", Logged::V1Intoto),
        ("1.3", Logged::V2),
    ] {
        let package = release("sample", version);
        let (name, bytes) = (&package.filename, &package.bytes);
        let sent = [
            statements::pypi_publish(name, bytes),
            statements::slsa_v1(name, bytes, &identity),
        ]
        .map(|statement| {
            let signing = stage.sigstore.signing(&identity).logged(logged);
            signing.attestation(&statement)
        });
        let attestations = json!(sent).to_string();
        let answer = stage.publish(&package, &stage.base.minted(), &attestations);
        assert_eq!(answer.status, 200, "{logged:?}: {}", answer.text());
        let provenance = stage.provenance(&package);
        let served = provenance["attestation_bundles"][0]["attestations"].as_array();
        let served = served.unwrap();
        assert!(
            served.len() == 2 && sent.iter().all(|one| served.contains(one)),
            "{logged:?}: {provenance:#}"
        );
        // Once more is the same; and another project's file is not covered by it.
        let again = stage.publish(&package, &stage.base.minted(), &attestations);
        assert_eq!(again.status, 200, "{logged:?}: {}", again.text());
        let other = release("sample", "9.9");
        let refused = stage.publish(&other, &stage.base.minted(), &attestations);
        assert_eq!(refused.status, 400);
        assert!(refused.text().contains("attestation-subject-mismatch"));
        assert!(!stage.has(&other));
    }
    stage.base.server.checked_log().unwrap();
}

#[test]
fn bundles_of_any_version_and_keyed_ones_are_no_attestations_for_an_upload() {
    let stage = Stage::start();
    stage.base.project_with_publisher("sample", &[]);
    let package = release("sample", "1.1");
    let statement = statements::pypi_publish(&package.filename, &package.bytes);
    let identity = stage.workflow();
    let bundle = |format| {
        let signing = stage.sigstore.signing(&identity).format(format);
        signing.statement(&statement)
    };
    let keyed = stage
        .sigstore
        .signing_by_key("SHA256:key")
        .statement(&statement);
    // What a keyed bundle would be in the words of an attestation: the key's name where the certificate stands.
    let mut disguised = stage.sigstore.sign_attestation(&identity, &statement);
    disguised["verification_material"]["certificate"] = Value::from("U0hBMjU2OmtleQ==");
    for (case, document, code) in [
        ("0.1", bundle(Format::V01), "attestation-malformed"),
        ("0.2", bundle(Format::V02), "attestation-malformed"),
        ("0.3", bundle(Format::V03), "attestation-malformed"),
        ("a key", keyed, "attestation-malformed"),
        ("a key's name", disguised, "attestation-certificate-refused"),
    ] {
        let sent = json!([document]).to_string();
        let answer = stage.publish(&package, &stage.base.minted(), &sent);
        assert_eq!(answer.status, 400, "{case}: {}", answer.text());
        assert!(answer.text().contains(code), "{case}: {}", answer.text());
        assert!(!stage.has(&package), "{case}");
    }
    stage.publish_attested(&package).expect_status(200).unwrap();
}
