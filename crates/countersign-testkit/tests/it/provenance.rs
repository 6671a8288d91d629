//! Build provenance from outside: a real registry that trusts a private Sigstore, unmodified clients that send and
//! check attestations, and whoever tries to pass something else off as one.

mod forms;
mod hostile;
mod journey;
mod memory;
mod pages;
mod stock;

use std::fs;
use std::path::{Path, PathBuf};

use countersign_testkit::claims::Claims;
use countersign_testkit::http::{self, Response};
use countersign_testkit::packages::Package;
use countersign_testkit::server::TestServer;
use countersign_testkit::sigstore::{Identity, PrivateSigstore, statements};
use serde_json::{Value, json};

use crate::trusted;

/// A registry with an issuer and a workflow (see [`trusted::Stage`]), whose operator has added a private Sigstore.
struct Stage {
    base: trusted::Stage,
    sigstore: PrivateSigstore,
}

impl Stage {
    fn start() -> Self {
        Self::on(trusted::Stage::start())
    }

    fn on(base: trusted::Stage) -> Self {
        let sigstore = PrivateSigstore::new("provenance");
        let root = sigstore.write_trusted_root(base.folder.path()).unwrap();
        let add = ["admin", "trust-root", "add", "private"];
        base.server
            .run(&[&add[..], &[root.to_str().unwrap()]].concat())
            .unwrap();
        Self { base, sigstore }
    }

    /// What the certificates of a job with these claims say.
    fn identity(&self, claims: &Claims) -> Identity {
        Identity::github(&self.base.company.url(), self.base.oidc.url(), claims)
    }

    /// Those of the registered workflow.
    fn workflow(&self) -> Identity {
        self.identity(&self.base.claims())
    }

    /// A publish attestation and SLSA provenance of a file, by the registered workflow.
    fn attestations(&self, package: &Package) -> [Value; 2] {
        let identity = self.workflow();
        let (name, bytes) = (&package.filename, &package.bytes);
        let publish = statements::pypi_publish(name, bytes);
        let slsa = statements::slsa_v1(name, bytes, &identity);
        [publish, slsa].map(|statement| self.sigstore.sign_attestation(&identity, &statement))
    }

    /// Publishes with these attestations, as JSON, by a token.
    fn publish(&self, package: &Package, token: &str, attestations: &str) -> Response {
        self.base
            .server
            .publish_with(package, token, &[("attestations", attestations)])
            .unwrap()
    }

    /// Publishes with both attestations of the registered workflow, by a token minted for it.
    fn publish_attested(&self, package: &Package) -> Response {
        let attestations = json!(self.attestations(package)).to_string();
        self.publish(package, &self.base.minted(), &attestations)
    }

    /// Writes a file with its attestations beside it, as signing tools do; the three paths.
    fn written(&self, package: &Package) -> [PathBuf; 3] {
        let folder = self.base.folder.path();
        let file = package.write_to(folder).unwrap();
        let [publish, slsa] = self.attestations(package);
        let beside = |kind: &str, attestation: &Value| beside(&file, kind, attestation);
        let publish = beside("publish", &publish);
        let slsa = beside("slsa", &slsa);
        [file, publish, slsa]
    }

    /// The provenance object of a file.
    fn provenance(&self, package: &Package) -> Value {
        provenance_of(&self.base.server, package)
    }

    /// Whether a project has a file of that name.
    fn has(&self, package: &Package) -> bool {
        let document = self.base.server.project(&package.project).unwrap();
        let files = document
            .as_ref()
            .and_then(|found| found["files"].as_array());
        files.is_some_and(|files| {
            files
                .iter()
                .any(|file| file["filename"] == package.filename)
        })
    }
}

/// The provenance object of a file, from the address that the simple index gives for it.
fn provenance_of(server: &TestServer, package: &Package) -> Value {
    let document = server.project(&package.project).unwrap().unwrap();
    let files = document["files"].as_array().unwrap();
    let file = files
        .iter()
        .find(|file| file["filename"] == package.filename)
        .unwrap();
    let url = file["provenance"].as_str().unwrap();
    let url = match url.starts_with('/') {
        true => format!("{}{url}", server.url()),
        false => url.to_owned(),
    };
    let accept = [("Accept", "application/vnd.pypi.integrity.v1+json")];
    let answer = http::request("GET", &url, &accept, b"").unwrap();
    answer.expect_status(200).unwrap().json().unwrap()
}

/// Writes an attestation beside a file under the name that twine, uv and `countersign publish` look for.
fn beside(file: &Path, kind: &str, attestation: &Value) -> PathBuf {
    let name = file.file_name().unwrap().to_str().unwrap();
    let path = file.with_file_name(format!("{name}.{kind}.attestation"));
    fs::write(&path, attestation.to_string()).unwrap();
    path
}
