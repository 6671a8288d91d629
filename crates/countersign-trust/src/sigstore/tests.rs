//! Tests against real bundles of the public corpus (`../shared/vectors/sigstore`) and mutations of them.

mod bad_input;
mod conversion;
mod corpus;
mod der;
mod identity;
mod mutation;
mod oracles;
mod providers;

use std::path::{Path, PathBuf};

use serde::Deserialize;

use super::*;

/// One bundle of the corpus.
#[derive(Clone, Deserialize)]
struct Entry {
    name: String,
    bundle: String,
    digest: Option<String>,
    root: String,
    expect: String,
    key: Option<String>,
}

#[derive(Deserialize)]
struct Index {
    bundles: Vec<Entry>,
    mutants: Vec<Entry>,
}

fn vectors() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../shared/vectors/sigstore")
}

fn index() -> Index {
    serde_json::from_slice(&std::fs::read(vectors().join("index.json")).unwrap()).unwrap()
}

fn staging() -> TrustRoot {
    let json = std::fs::read(vectors().join("trusted_root_staging.json")).unwrap();
    TrustRoot::from_json("staging", &json).unwrap()
}

fn root(name: &str) -> TrustRoot {
    match name {
        "prod" => TrustRoot::public_good(),
        "github" => TrustRoot::github(),
        "staging" => staging(),
        other => panic!("no root {other}"),
    }
}

fn npm_keys() -> TrustedKeys {
    TrustedKeys::from_json(&std::fs::read(vectors().join("npm_keys.json")).unwrap()).unwrap()
}

impl Entry {
    fn bytes(&self) -> Vec<u8> {
        std::fs::read(vectors().join(&self.bundle)).unwrap()
    }

    fn demands(&self) -> Demands {
        Demands {
            // GitHub's release attestation is about several commits and files.
            one_subject: !self.name.contains("github-private"),
            keys: if self.key.is_some() {
                npm_keys()
            } else {
                TrustedKeys::default()
            },
            ..Demands::default()
        }
    }

    fn verify_bytes(&self, bytes: &[u8]) -> Result<Verified, Refusal> {
        let demands = self.demands();
        let bundle = Bundle::parse(bytes, &demands.limits)?;
        let digest = self
            .digest
            .clone()
            .unwrap_or_else(|| message_digest(&self.bytes()));
        let subject = Subject::digest(&digest)?;
        verify(&bundle, &subject, &root(&self.root), &demands)
    }

    fn verify(&self) -> Result<Verified, Refusal> {
        self.verify_bytes(&self.bytes())
    }
}

/// The digest that a bundle of a file's bytes carries: the file itself is not in the corpus, its signature covers it.
fn message_digest(bundle: &[u8]) -> String {
    let bundle: serde_json::Value = serde_json::from_slice(bundle).unwrap();
    let digest = &bundle["messageSignature"]["messageDigest"]["digest"];
    let bytes = crate::base64_decode(digest.as_str().unwrap()).unwrap();
    format!("sha256:{}", hex::encode(bytes))
}

fn entry(name: &str) -> Entry {
    let index = index();
    let found = index
        .bundles
        .iter()
        .chain(&index.mutants)
        .find(|entry| entry.name == name);
    found.unwrap_or_else(|| panic!("no {name}")).clone()
}
