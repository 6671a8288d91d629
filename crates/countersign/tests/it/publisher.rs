//! `countersign publisher …` with a user's token.

use std::fs;

use countersign_testkit::claims;

use crate::stage::{REPOSITORY, Stage, WORKFLOW, built, only_masked};
use crate::user::User;

#[test]
fn publishers_are_added_listed_checked_and_removed() {
    let stage = Stage::start();
    stage.issuer("company", "github");
    built(&stage.ada.path("."), "sample", "1.0");
    stage
        .manage(&["publish", "dist/sample-1.0.tar.gz"])
        .expect(0, &[]);
    stage
        .manage(&["publisher", "list", "sample"])
        .expect(0, &["No publisher yet"]);
    let added = stage.register_workflow(
        "sample",
        "company",
        &["--environment", "release", "--claim", "ref~refs/tags/v*"],
    );
    let id = added["id"].as_str().unwrap();
    stage.manage(&["publisher", "list", "pypi:sample"]).expect(
        0,
        &[
            id,
            "octo/sample",
            "never used yet",
            "rule: ref fits refs/tags/v*",
            "pinned: repository_owner_id is 65001",
            "pinned: repository_id is 74001",
        ],
    );
    stage
        .manage(&["publisher", "check", "sample", id])
        .expect(0, &["✓"]);
    // The account was deleted, and somebody else took its name.
    stage.oidc.answer_github_repository(REPOSITORY, 666, 777);
    stage
        .manage(&["publisher", "check", "sample", id])
        .expect(4, &["✗", "65001", "666"]);
    stage
        .manage(&["publisher", "remove", "sample", id])
        .expect(0, &["Removed from pypi:sample"]);
    stage
        .manage(&["publisher", "remove", "sample", id])
        .expect(4, &[]);
    stage
        .manage(&["publisher", "list", "sample"])
        .expect(0, &["No publisher yet"]);
}

#[test]
fn wrong_input_is_refused_field_by_field() {
    let stage = Stage::start();
    stage.issuer("company", "github");
    let add = |options: &[&str]| {
        stage.manage(&[&["publisher", "add", "sample", "--pending"], options].concat())
    };
    add(&[
        "--issuer",
        "company",
        "--owner",
        "octo cat",
        "--repository",
        "sample",
        "--workflow",
        "release.txt",
    ])
    .expect(4, &["✗ owner", "octo cat", "✗ workflow", "release.txt"]);
    add(&["--issuer", "nobody", "--owner", "octo"]).expect(4, &["nobody"]);
    add(&[
        "--issuer",
        "company",
        "--owner",
        "octo",
        "--field",
        "owner=other",
    ])
    .expect(2, &["owner is given twice"]);
    add(&["--issuer", "company", "--claim", "sub"]).expect(2, &["NAME=VALUE"]);
    stage
        .manage(&["publisher", "list", "gopher:x"])
        .expect(2, &["gopher", "pypi"]);
    let url = stage.server.url();
    stage
        .ada
        .run(&[
            "--registry",
            &url,
            "--ca",
            stage.ca(),
            "publisher",
            "list",
            "sample",
        ])
        .expect(2, &["COUNTERSIGN_TOKEN is not set"]);
    User::new()
        .run(&["publisher", "fields", "gitlab"])
        .expect(0, &["GitLab", "namespace", "project"]);
}

#[test]
fn a_token_is_tested_rule_by_rule_and_is_still_good_afterwards() {
    let stage = Stage::start();
    let company = stage.issuer("company", "github");
    built(&stage.ada.path("."), "sample", "1.0");
    stage
        .manage(&["publish", "dist/sample-1.0.tar.gz"])
        .expect(0, &[]);
    stage.register_workflow("sample", "company", &["--environment", "release"]);
    let test = ["publisher", "test", "sample", "--token-file", "token.jwt"];
    let write = |claims| {
        fs::write(
            stage.ada.path("token.jwt"),
            company.token(&stage.audience(), &claims).unwrap(),
        )
        .unwrap()
    };

    write(claims::github(REPOSITORY, WORKFLOW));
    stage.manage(&test).expect(
        4,
        &[
            "✓ repository",
            "✗ environment: expected release (in any case), not in the token",
            "This token would be refused",
        ],
    );
    write(claims::github_in_environment(
        REPOSITORY, WORKFLOW, "release",
    ));
    for _ in 0..2 {
        stage
            .manage(&test)
            .expect(0, &["✓ environment", "This token would publish."]);
    }
    stage
        .manage(&[
            "publish",
            "--id-token-file",
            "token.jwt",
            "dist/sample-1.0-py3-none-any.whl",
        ])
        .expect(0, &["Published: "]);
    stage
        .manage(&["publisher", "list", "sample"])
        .expect(0, &["used last 20"]);
}

#[test]
fn failures_policy_and_notices_are_shown_to_owners() {
    let stage = Stage::start();
    stage.issuer("company", "github");
    built(&stage.ada.path("."), "sample", "1.0");
    stage
        .manage(&["publish", "dist/sample-1.0.tar.gz"])
        .expect(0, &[]);
    stage.register_workflow("sample", "company", &["--ref", "refs/tags/v*"]);
    stage
        .manage(&["publisher", "failures", "sample"])
        .expect(0, &["No exchange was refused lately."]);
    let runner = stage.github(&stage.claims().set("ref", "refs/heads/main"));
    built(&runner.folder(), "sample", "2.0");
    stage
        .publish(&runner, &["dist/sample-2.0.tar.gz"])
        .expect(4, &["✗ ref"]);
    stage
        .manage(&["publisher", "failures", "sample"])
        .expect(0, &["✗ ref", "refs/heads/main"]);

    stage
        .manage(&["publish", "dist/sample-1.0-py3-none-any.whl"])
        .expect(0, &["warning: "]);
    let notices = stage
        .manage(&["--json", "publisher", "notices", "sample"])
        .expect(0, &[]);
    let notices: serde_json::Value = serde_json::from_str(&notices.out).unwrap();
    let id = notices["items"][0]["id"].as_str().unwrap();
    stage
        .manage(&["publisher", "notices", "sample", "--dismiss", id])
        .expect(0, &["Dismissed"]);
    stage
        .manage(&["publisher", "notices", "sample"])
        .expect(0, &["No notices."]);

    stage
        .manage(&["publisher", "policy", "sample"])
        .expect(0, &["stored tokens         accepted", "environment  none"]);
    stage
        .manage(&[
            "publisher",
            "policy",
            "sample",
            "--trusted-only",
            "on",
            "--environment",
            "release",
        ])
        .expect(
            0,
            &["refused: only trusted publishing", "environment  release"],
        );
    built(&stage.ada.path("."), "sample", "3.0");
    stage
        .manage(&["publish", "dist/sample-3.0.tar.gz"])
        .expect(4, &["sample"]);
    stage
        .manage(&[
            "publisher",
            "policy",
            "sample",
            "--trusted-only",
            "off",
            "--environment",
            "none",
        ])
        .expect(0, &["accepted", "environment  none"]);
    stage
        .manage(&["publish", "dist/sample-3.0.tar.gz"])
        .expect(0, &[]);
}

#[test]
fn a_token_of_a_ci_identity_changes_no_publisher() {
    let stage = Stage::start();
    stage.issuer("company", "github");
    let added = stage.register_workflow("sample", "company", &["--pending"]);
    let runner = stage.github(&stage.claims());
    built(&runner.folder(), "sample", "1.0");
    let dead = only_masked(
        &stage
            .publish(&runner, &["dist/sample-1.0.tar.gz"])
            .expect(0, &[]),
    );
    let company = stage.oidc.issuer("company").unwrap();
    let identity = company.token(&stage.audience(), &stage.claims()).unwrap();
    let body = serde_json::json!({"token": identity}).to_string();
    let url = format!("{}/_/oidc/mint-token", stage.server.url());
    let headers = [("Content-Type", "application/json")];
    let minted =
        countersign_testkit::http::request("POST", &url, &headers, body.as_bytes()).unwrap();
    let minted = minted.expect_status(200).unwrap().json().unwrap();
    let alive = minted["token"].as_str().unwrap();
    let id = added["id"].as_str().unwrap();
    for token in [alive, &dead] {
        let variables = [("COUNTERSIGN_TOKEN", token), ("COUNTERSIGN_CA", stage.ca())];
        let run = |arguments: &[&str]| stage.ada.run_with(arguments, &variables);
        run(&["publisher", "remove", "sample", id]).expect(4, &[]);
        run(&["publisher", "policy", "sample", "--trusted-only", "off"]).expect(4, &[]);
        run(&[
            "publisher",
            "add",
            "sample",
            "--issuer",
            "company",
            "--owner",
            "evil",
            "--repository",
            "x",
            "--workflow",
            "r.yml",
        ])
        .expect(4, &[]);
    }
    stage
        .manage(&["publisher", "list", "sample"])
        .expect(0, &[id]);
}
