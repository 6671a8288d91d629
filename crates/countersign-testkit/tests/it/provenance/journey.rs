//! What a maintainer sees of it when all is well.

use std::fs;

use countersign_testkit::clients::{Clients, both_outputs};
use countersign_testkit::packages::Sdist;
use countersign_testkit::runner::Runner;
use serde_json::json;

use super::Stage;
use crate::trusted::{REPOSITORY, WORKFLOW, release};

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
        assert_eq!(bundle["publisher"]["kind"], "GitHub");
        assert_eq!(bundle["publisher"]["repository"], REPOSITORY);
        assert_eq!(bundle["publisher"]["workflow"], WORKFLOW);
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
