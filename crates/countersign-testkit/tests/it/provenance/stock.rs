//! `pypi-attestations`, unmodified, verifies what this registry serves. It knows GitHub's public address alone, so the
//! registry is made to meet a provider there: through a proxy that leads to one of the kit's.

use countersign_testkit::claims;
use countersign_testkit::clients::{Clients, both_outputs};
use countersign_testkit::issuer::OidcServer;
use countersign_testkit::server::{ServerOptions, TestServer};
use countersign_testkit::sigstore::{Identity, PrivateSigstore, statements};
use serde_json::json;

use crate::trusted::{self, release};

const GITHUB: &str = "token.actions.githubusercontent.com";

#[test]
fn pypi_attestations_verifies_the_served_provenance_and_refuses_another_repository_and_file() {
    let oidc = OidcServer::in_place_of(&[GITHUB, "api.github.com"]).unwrap();
    oidc.answer_public_github_repository("octo/sample", 65001, 74001);
    let variables = [
        ("HTTPS_PROXY", oidc.proxy().unwrap()),
        ("SSL_CERT_FILE", oidc.ca_file().to_str().unwrap().to_owned()),
    ];
    let server = TestServer::start(ServerOptions {
        tls: true,
        variables: variables
            .map(|(name, value)| (name.to_owned(), value))
            .to_vec(),
        ..ServerOptions::default()
    })
    .unwrap();
    let issuer = oidc.issuer("").unwrap();
    assert_eq!(issuer.url(), format!("https://{GITHUB}"));
    let folder = tempfile::tempdir().unwrap();
    let sigstore = PrivateSigstore::new("stock");
    let root = sigstore.write_trusted_root(folder.path()).unwrap();
    let root = root.to_str().unwrap();
    server
        .run(&["admin", "trust-root", "add", "private", root])
        .unwrap();
    server.user("ada").unwrap();
    let register = ["admin", "publisher", "add", "sample", "--issuer", "github"];
    let whose = [
        "--owner",
        "octo",
        "--repository",
        "sample",
        "--workflow",
        "release.yml",
        "--pending-for",
        "ada",
    ];
    server.run(&[&register[..], &whose].concat()).unwrap();

    let job = claims::github("octo/sample", "release.yml");
    let identity = Identity::github(&issuer.url(), "https://github.com", &job);
    let package = release("sample", "1.0");
    let (name, bytes) = (&package.filename, &package.bytes);
    let attestations = [
        statements::pypi_publish(name, bytes),
        statements::slsa_v1(name, bytes, &identity),
    ]
    .map(|statement| sigstore.sign_attestation(&identity, &statement));
    let audience = server.get("/_/oidc/audience").unwrap().json().unwrap();
    let audience = audience["audience"].as_str().unwrap().to_owned();
    let token = issuer.token(&audience, &job).unwrap();
    let token = trusted::token_of(trusted::mint_at(&server.url(), &token));
    let attestations = json!(attestations).to_string();
    server
        .publish_with(&package, &token, &[("attestations", &attestations)])
        .unwrap()
        .expect_status(200)
        .unwrap();

    let clients = Clients::get().unwrap();
    let provenance = super::provenance_of(&server, &package);
    let path = folder.path().join("provenance.json");
    std::fs::write(&path, provenance.to_string()).unwrap();
    let file = package.write_to(folder.path()).unwrap();
    let verify_under = |sigstore: &PrivateSigstore, repository: &str| {
        let output = clients.verify_provenance(sigstore, &path, repository, &file);
        output.unwrap()
    };
    let verify = |repository: &str| verify_under(&sigstore, repository);
    let ours = "https://github.com/octo/sample";
    let output = verify(ours);
    let said = both_outputs(&output);
    assert!(output.status.success() && said.contains("OK: "), "{said}");

    let output = verify("https://github.com/octo/other");
    let said = both_outputs(&output);
    assert!(
        !output.status.success() && said.contains("octo/other"),
        "{said}"
    );
    let output = verify_under(&PrivateSigstore::new("another"), ours);
    assert!(!output.status.success(), "{}", both_outputs(&output));
    let mut changed = package.bytes.clone();
    changed.push(b'\n');
    std::fs::write(&file, changed).unwrap();
    let output = verify(ours);
    assert!(!output.status.success(), "{}", both_outputs(&output));
}
