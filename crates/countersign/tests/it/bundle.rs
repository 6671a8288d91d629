//! `countersign verify --bundle` with real bundles, offline.

use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::Value;

use crate::user::{CLIENT, Ran};

const SAMPLE: &str = "pep740-prov-sampleproject-4.0.0.tar.gz.provenance-0.sigstore.json";
const DIGEST: &str = "sha256:0ace7980f82c5815ede4cd7bf9f6693684cec2ae47b9b7ade9add533b8627c6b";

fn vectors() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../shared/vectors/sigstore")
}

fn bundle(name: &str) -> PathBuf {
    vectors().join("bundles").join(name)
}

fn verify(bundle: &Path, more: &[&str]) -> Ran {
    Ran::of(
        Command::new(CLIENT)
            .args(["verify", "--bundle"])
            .arg(bundle)
            .args(more)
            // Nothing is to be asked of any network.
            .env("HTTPS_PROXY", "http://127.0.0.1:9"),
    )
}

#[test]
fn a_real_bundle_holds_for_its_digest_and_tells_who_signed() {
    let ran = verify(&bundle(SAMPLE), &["--digest", DIGEST]);
    assert_eq!(ran.code, 0, "{ran:?}");
    assert!(ran.out.contains("pypa/sampleproject"), "{ran:?}");
    assert!(ran.out.contains("told, not judged"), "{ran:?}");
    let ran = verify(&bundle(SAMPLE), &["--digest", DIGEST, "--json"]);
    let told: Value = serde_json::from_str(&ran.out).unwrap();
    assert_eq!(
        told["verified"]["issuer"],
        "https://token.actions.githubusercontent.com"
    );
    assert_eq!(told["verified"]["root"]["name"], "public-good");
    assert_eq!(
        told["verified"]["claims"]["source-repository-uri"],
        "https://github.com/pypa/sampleproject"
    );
}

#[test]
fn a_bundle_for_other_bytes_a_mutant_and_another_root_end_with_three() {
    let other = format!("sha256:{}", "0".repeat(64));
    let ran = verify(&bundle(SAMPLE), &["--digest", &other]);
    assert_eq!(ran.code, 3, "{ran:?}");
    assert!(
        ran.err.contains(&other) && ran.err.contains(DIGEST),
        "{ran:?}"
    );
    let mutant = vectors().join("mutants/pep740-roothash-bitflip.json");
    let ran = verify(&mutant, &["--digest", DIGEST, "--json"]);
    assert_eq!(ran.code, 3, "{ran:?}");
    let told: Value = serde_json::from_str(&ran.err).unwrap();
    assert_eq!(told["error"]["code"], "attestation-checkpoint-invalid");
    let root = vectors().join("trusted_root_staging.json");
    let root = root.to_str().unwrap();
    let ran = verify(
        &bundle(SAMPLE),
        &["--digest", DIGEST, "--trusted-root", root],
    );
    assert_eq!(ran.code, 3, "{ran:?}");
}

#[test]
fn a_bundle_under_a_key_needs_the_key() {
    let name = bundle("slsa-npm-provenance-npm-test-cli-v1-prega.tgz.json-0.sigstore.json");
    let index: Value =
        serde_json::from_slice(&std::fs::read(vectors().join("index.json")).unwrap()).unwrap();
    let digest = index["bundles"]
        .as_array()
        .unwrap()
        .iter()
        .find(|entry| name.ends_with(entry["bundle"].as_str().unwrap()))
        .unwrap()["digest"]
        .as_str()
        .unwrap();
    let ran = verify(&name, &["--digest", digest]);
    assert_eq!(ran.code, 3, "{ran:?}");
    let keys = vectors().join("npm_keys.json");
    let ran = verify(
        &name,
        &["--digest", digest, "--keys", keys.to_str().unwrap()],
    );
    assert_eq!(ran.code, 0, "{ran:?}");
}

#[test]
fn what_can_not_be_meant_ends_with_two() {
    for more in [
        &[][..],
        &["--digest", "md5:00"],
        &["--digest", DIGEST, "--trusted-root", "/nonexistent"],
        &["--digest", DIGEST, "Cargo.toml"],
    ] {
        let ran = verify(&bundle(SAMPLE), more);
        assert_eq!(ran.code, 2, "{more:?}: {ran:?}");
    }
    let ran = verify(Path::new("/nonexistent"), &["--digest", DIGEST]);
    assert_eq!(ran.code, 2, "{ran:?}");
}
