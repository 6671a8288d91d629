//! What a maintainer sees of it when all is well.

use std::fs;

use countersign_testkit::claims::{self, Claims};
use countersign_testkit::clients::{Clients, both_outputs};
use countersign_testkit::packages::Sdist;
use countersign_testkit::runner::Runner;
use countersign_testkit::sigstore::{Identity, statements};
use serde_json::json;

use super::Stage;
use crate::trusted::providers::cases;
use crate::trusted::{REPOSITORY, WORKFLOW, release, token_of};

fn succeeded(output: &std::process::Output) -> String {
    let said = both_outputs(output);
    assert!(output.status.success(), "{said}");
    said
}

#[test]
fn twine_sends_attestations_from_a_workflow_and_the_registry_serves_them_as_they_were() {
    let stage = Stage::start();
    stage.base.project_with_publisher("sample", &[]);
    let server = &stage.base.server;
    let clients = Clients::get().unwrap().trusting(server.ca_file().unwrap());
    let packages = [
        release("sample", "1.1"),
        Sdist::new("sample", "1.1").readme("# Hello\n").build(),
    ];
    let token = stage.base.minted();
    for package in &packages {
        let files = stage.written(package);
        succeeded(
            &clients
                .twine_upload(&server.upload_url(), &token, &files, &["--attestations"])
                .unwrap(),
        );
        let provenance = stage.provenance(package);
        assert_eq!(provenance["version"], 1);
        let [bundle] = &provenance["attestation_bundles"].as_array().unwrap()[..] else {
            panic!("{provenance:#}");
        };
        // The test's issuer is not the public service: its publisher is named in full.
        assert_eq!(bundle["publisher"]["kind"], "GitHub Actions");
        let named = |field: &str| bundle["publisher"][field].as_str().unwrap_or_default();
        assert!(named("repository").ends_with(&format!("/{REPOSITORY}")));
        assert_eq!(named("workflow"), format!(".github/workflows/{WORKFLOW}"));
        let sent = files[1..].iter().map(|path| {
            let text = fs::read_to_string(path).unwrap();
            serde_json::from_str::<serde_json::Value>(&text).unwrap()
        });
        let mut sent: Vec<_> = sent.collect();
        let mut served = bundle["attestations"].as_array().unwrap().clone();
        for list in [&mut sent, &mut served] {
            list.sort_by_key(ToString::to_string);
        }
        assert_eq!(served, sent);
    }
    server.checked_log().unwrap();
}

#[test]
fn uv_publishes_with_attestations_in_a_job_without_a_stored_secret() {
    let stage = Stage::start();
    stage.base.project_with_publisher("sample", &[]);
    let server = &stage.base.server;
    let clients = Clients::get().unwrap().trusting(server.ca_file().unwrap());
    let runner =
        Runner::github(&stage.base.oidc, &stage.base.company, &stage.base.claims()).unwrap();
    let package = release("sample", "1.1");
    let files = stage.written(&package);
    succeeded(
        &clients
            .uv_publish_trusted(&runner, &server.upload_url(), &files, &[])
            .unwrap(),
    );
    let provenance = stage.provenance(&package);
    let served = provenance["attestation_bundles"][0]["attestations"].as_array();
    // uv sends what its own signing would have made: the publish attestation.
    assert!(
        served.is_some_and(|served| !served.is_empty()),
        "{provenance:#}"
    );

    let index = server.simple_url();
    let (by_pip, by_uv) = (
        stage.base.folder.path().join("pip"),
        stage.base.folder.path().join("uv"),
    );
    succeeded(
        &clients
            .pip_install(&index, &["sample==1.1"], &by_pip, &[])
            .unwrap(),
    );
    succeeded(
        &clients
            .uv_pip_install(&index, &["sample==1.1"], &by_uv, &[])
            .unwrap(),
    );
    assert!(by_pip.join("sample/__init__.py").is_file());
    assert!(by_uv.join("sample/__init__.py").is_file());
}

#[test]
fn a_first_release_by_a_pending_publisher_may_have_attestations() {
    let stage = Stage::start();
    stage.base.register_pending("newcomer");
    let package = release("newcomer", "0.1");
    let answer = stage.publish_attested(&package);
    answer.expect_status(200).unwrap();
    assert!(stage.provenance(&package)["attestation_bundles"][0]["attestations"][1].is_object());
}

#[test]
fn the_same_upload_once_more_is_the_same_and_says_so() {
    let stage = Stage::start();
    stage.base.project_with_publisher("sample", &[]);
    let package = release("sample", "1.1");
    let attestations = json!(stage.attestations(&package)).to_string();
    let once = stage.publish(&package, &stage.base.minted(), &attestations);
    let once = once.expect_status(200).unwrap().json().unwrap();
    let again = stage.publish(&package, &stage.base.minted(), &attestations);
    let again = again.expect_status(200).unwrap().json().unwrap();
    assert_eq!(again["leaf"], once["leaf"]);
    assert_eq!(again["repeated"], true);
    let log = stage.base.server.checked_log().unwrap();
    assert_eq!(log.leaves_containing(&package.filename).len(), 1);
}

#[test]
fn attestations_from_every_provider_that_certificates_name_are_taken_and_a_strangers_are_not() {
    let stage = Stage::start();
    let base = &stage.base;
    let (server, url) = (&base.server, base.oidc.url());
    let token = server.token("ada", &[]).unwrap();
    let host = url.strip_prefix("https://").unwrap();
    for case in cases(host) {
        let issuer = base.oidc.issuer(&case.issuer).unwrap();
        let at = issuer.url();
        let (identity, stranger) = {
            let of = |claims: &Claims| match case.preset {
                "github" | "forgejo" => Some(Identity::github(&at, url, claims)),
                "gitlab" => Some(Identity::gitlab(&at, claims)),
                "google" => Some(Identity::google(&at, claims)),
                "circleci" => Some(Identity::circleci(&at, claims)),
                "buildkite" => Some(Identity::buildkite(&at, claims)),
                _ => None,
            };
            let other = match case.preset {
                "github" => claims::github("octo/other", "release.yml"),
                "forgejo" => claims::forgejo("octo/other", "release.yml"),
                "gitlab" => claims::gitlab(host, "group/other", None),
                "google" => claims::google("other@sample.iam.gserviceaccount.com"),
                "circleci" => claims::circleci("another", "another"),
                _ => claims::buildkite("acme", "other"),
            };
            (of(&case.good), of(&other))
        };
        let (Some(identity), Some(stranger)) = (identity, stranger) else {
            continue;
        };
        let name = format!("our-{}", case.preset);
        let add = ["admin", "issuer", "add", &name, "--url", &at, "--preset"];
        let how = [case.preset, "--ca", issuer.ca_file().to_str().unwrap()];
        server.run(&[&add[..], &how].concat()).unwrap();
        let project = format!("by-{}", case.preset);
        let first = server.publish(&release(&project, "1.0"), &token).unwrap();
        first.expect_status(200).unwrap();
        let mut register = vec!["add", &project, "--issuer", &name];
        for field in &case.fields {
            register.extend(["--field", field]);
        }
        base.publisher(&register);
        let minted = issuer.token(&base.audience, &case.good).unwrap();
        let minted = token_of(base.mint(&minted));
        let package = release(&project, "1.1");
        let statement = statements::pypi_publish(&package.filename, &package.bytes);
        let send = |identity: &Identity| {
            let attestation = stage.sigstore.sign_attestation(identity, &statement);
            stage.publish(&package, &minted, &json!([attestation]).to_string())
        };
        let answer = send(&stranger);
        assert_eq!(answer.status, 400, "{}: {}", case.preset, answer.text());
        assert!(answer.text().contains("attestation-identity-mismatch"));
        let answer = send(&identity);
        assert_eq!(answer.status, 200, "{}: {}", case.preset, answer.text());
        let log = server.checked_log().unwrap();
        let attested = log.leaves_containing("\nattestation ");
        let leaves = log.leaves_containing(&package.filename);
        assert!(leaves.len() == 1 && attested.contains(&leaves[0]));
        // Stock clients know the publishers of these alone.
        if ["github", "gitlab", "google"].contains(&case.preset) {
            stage.provenance(&package);
        }
    }
}
