//! What was published with provenance is not silently published without: neither by a stolen token nor from another
//! repository. Owners say beforehand what shall differ, for a time, and everybody can see it.

use countersign_testkit::claims::{self, Claims};
use countersign_testkit::http::Response;
use countersign_testkit::packages::Package;
use countersign_testkit::sigstore::statements;
use serde_json::{Value, json};

use super::Stage;
use crate::trusted::{OWNER_ID, REPOSITORY_ID, WORKFLOW, release, token_of};

/// A stage whose project `sample` had a release with attestations.
fn remembered() -> Stage {
    let stage = Stage::start();
    stage.base.project_with_publisher("sample", &[]);
    let first = stage.publish_attested(&release("sample", "1.1"));
    first.expect_status(200).unwrap();
    stage
}

impl Stage {
    /// Runs an `admin provenance` command and returns the JSON that it prints.
    fn admin(&self, arguments: &[&str]) -> Value {
        let command = [&["--json", "admin", "provenance"], arguments].concat();
        let output = self.base.server.run(&command).unwrap();
        serde_json::from_slice(&output.stdout).unwrap()
    }

    /// Registers the workflow of another repository for the project `sample`.
    fn register_other(&self, owner: &str, repository: &str) {
        let add = [
            "add",
            "sample",
            "--issuer",
            "company",
            "--workflow",
            WORKFLOW,
        ];
        let whose = ["--owner", owner, "--repository", repository];
        self.base.publisher(&[&add[..], &whose].concat());
    }

    /// Publishes with a publish attestation from a job with these claims.
    fn publish_from(&self, claims: &Claims, package: &Package) -> Response {
        let identity = self.identity(claims);
        let statement = statements::pypi_publish(&package.filename, &package.bytes);
        let attestation = self.sigstore.sign_attestation(&identity, &statement);
        let token = token_of(self.base.mint(&self.base.identity(claims)));
        self.publish(package, &token, &json!([attestation]).to_string())
    }
}

#[track_caller]
fn refused(answer: &Response, code: &str, words: &[&str]) {
    let said = answer.text();
    assert!(
        [400, 403, 409].contains(&answer.status),
        "{} {said}",
        answer.status
    );
    for word in [&[code], words].concat() {
        assert!(said.contains(word), "{word} is not in {said}");
    }
}

#[test]
fn a_stolen_token_and_a_workflow_without_attestations_publish_nothing_where_provenance_was() {
    let stage = remembered();
    let package = release("sample", "1.2");
    let stolen = stage.base.server.token("ada", &[]).unwrap();
    let by_token = stage.publish(&package, &stolen, "");
    refused(&by_token, "trust-lost", &["provenance", "token"]);
    let by_workflow = stage.publish(&package, &stage.base.minted(), "");
    refused(&by_workflow, "trust-lost", &["provenance"]);
    assert!(!stage.has(&package));
    // A new kind of file in the old release is no way around.
    let into_old = countersign_testkit::packages::Sdist::new("sample", "1.1").build();
    refused(&stage.publish(&into_old, &stolen, ""), "trust-lost", &[]);
    stage.publish_attested(&package).expect_status(200).unwrap();
}

#[test]
fn an_exception_that_was_opened_before_lets_one_level_pass_until_it_is_closed() {
    let stage = remembered();
    let reason = "the CI system is down";
    let opened = stage.admin(&[
        "exception",
        "sample",
        "--level",
        "workflow",
        "--hours",
        "2",
        "--reason",
        reason,
    ]);
    let id = opened["id"].as_str().unwrap();
    let token = stage.base.server.token("ada", &[]).unwrap();
    let by_token = stage.publish(&release("sample", "1.2"), &token, "");
    refused(&by_token, "trust-lost", &[]);
    let package = release("sample", "1.3");
    let by_workflow = stage.publish(&package, &stage.base.minted(), "");
    by_workflow.expect_status(200).unwrap();
    let shown = stage.admin(&["show", "sample"]);
    assert!(shown.to_string().contains(reason), "{shown:#}");

    stage.admin(&["close", id]);
    let after = stage.publish(&release("sample", "1.4"), &stage.base.minted(), "");
    refused(&after, "trust-lost", &[]);
    let attested = stage.publish_attested(&release("sample", "1.5"));
    attested.expect_status(200).unwrap();
    let log = stage.base.server.checked_log().unwrap();
    assert!(!log.leaves_containing(&package.filename).is_empty());
}

#[test]
fn another_source_is_refused_until_the_move_there_was_declared() {
    let stage = remembered();
    stage
        .base
        .oidc
        .answer_github_repository("elsewhere/sample", 777, 888);
    stage.register_other("elsewhere", "sample");
    let moved = claims::github("elsewhere/sample", WORKFLOW)
        .set("repository_owner_id", "777")
        .set("repository_id", "888");
    let package = release("sample", "2.0");
    let answer = stage.publish_from(&moved, &package);
    refused(
        &answer,
        "source-changed",
        &["octo/sample", "elsewhere/sample"],
    );
    assert!(!stage.has(&package));

    let url = format!("{}/elsewhere/sample", stage.base.oidc.url());
    stage.admin(&[
        "move",
        "sample",
        "--repository",
        &url,
        "--repository-id",
        "888",
        "--owner-id",
        "777",
        "--reason",
        "a new home",
    ]);
    stage
        .publish_from(&moved, &package)
        .expect_status(200)
        .unwrap();
    // From now on that is the source, and the former one is another.
    let back = stage.publish_attested(&release("sample", "2.1"));
    refused(&back, "source-changed", &["elsewhere/sample"]);
    stage
        .publish_from(&moved, &release("sample", "2.2"))
        .expect_status(200)
        .unwrap();
}

#[test]
fn a_renamed_repository_with_the_same_ids_stays_the_same_source() {
    let stage = remembered();
    stage
        .base
        .oidc
        .answer_github_repository("octo/renamed", OWNER_ID, REPOSITORY_ID);
    stage.register_other("octo", "renamed");
    let renamed = claims::github("octo/renamed", WORKFLOW);
    let package = release("sample", "1.2");
    stage
        .publish_from(&renamed, &package)
        .expect_status(200)
        .unwrap();
    let shown = stage.admin(&["show", "sample"]);
    assert!(shown.to_string().contains("octo/renamed"), "{shown:#}");
}
