//! Tokens minted from good identities: what they are good for, and what a project may ask besides.

use std::time::{Duration, Instant};

use countersign_testkit::claims;
use countersign_testkit::http;
use serde_json::{Value, json};

use super::{REPOSITORY, Stage, WORKFLOW, refused, release, token_of};

#[test]
fn a_minted_token_is_good_for_its_own_projects_only() {
    let stage = Stage::start();
    stage.project_with_publisher("sample", &[]);
    let token = stage.minted();
    let ada = stage.server.token("ada", &[]).unwrap();
    let theirs = stage.server.publish(&release("others", "1.0"), &ada);
    theirs.unwrap().expect_status(200).unwrap();
    for project in ["others", "brand-new"] {
        let answer = stage
            .server
            .publish(&release(project, "2.0"), &token)
            .unwrap();
        assert_eq!(answer.status, 403, "{project}: {}", answer.text());
    }
    assert_eq!(stage.server.project("brand-new").unwrap(), None);
    let own = stage.server.publish(&release("sample", "2.0"), &token);
    own.unwrap().expect_status(200).unwrap();
}

#[test]
fn a_minted_token_changes_neither_publishers_nor_policies_nor_tokens() {
    let stage = Stage::start();
    let id = stage.project_with_publisher("sample", &[]);
    let authorization = format!("Bearer {}", stage.minted());
    let project = "/api/v1/projects/pypi/sample";
    let publisher = json!({"issuer": "company", "fields": {
        "owner": "mallory", "repository": "sample", "workflow": WORKFLOW,
    }})
    .to_string();
    let policy = json!({"trusted_only": false}).to_string();
    for (method, path, body) in [
        ("POST", format!("{project}/publishers"), publisher.as_str()),
        ("DELETE", format!("{project}/publishers/{id}"), ""),
        ("PUT", format!("{project}/policy"), policy.as_str()),
        ("GET", format!("{project}/publishers/failures"), ""),
        ("GET", "/api/v1/tokens".to_owned(), ""),
    ] {
        let headers = [
            ("Authorization", authorization.as_str()),
            ("Content-Type", "application/json"),
        ];
        let url = format!("{}{path}", stage.server.url());
        let answer = http::request(method, &url, &headers, body.as_bytes()).unwrap();
        assert_eq!(answer.status, 403, "{method} {path}: {}", answer.text());
    }
    assert_eq!(stage.publisher(&["list", "sample"])[0]["id"], id.as_str());
}

#[test]
fn a_minted_token_ends_with_its_publisher() {
    let stage = Stage::start();
    let id = stage.project_with_publisher("sample", &[]);
    let token = stage.minted();
    let publish = |version: &str| {
        stage
            .server
            .publish(&release("sample", version), &token)
            .unwrap()
    };
    publish("1.1").expect_status(200).unwrap();
    stage
        .server
        .run(&["admin", "publisher", "remove", "sample", &id])
        .unwrap();
    let answer = publish("1.2");
    assert_eq!(answer.status, 403, "{}", answer.text());
    refused(
        &stage.mint(&stage.identity(&stage.claims())),
        "publisher-none",
    );
}

#[test]
fn where_only_trusted_publishing_is_allowed_an_api_token_is_refused() {
    let stage = Stage::start();
    stage.project_with_publisher("sample", &[]);
    let ada = stage.server.token("ada", &[]).unwrap();
    let policy = ["admin", "project", "policy", "sample", "--trusted-only"];
    stage.server.run(&[&policy[..], &["on"]].concat()).unwrap();
    let answer = stage
        .server
        .publish(&release("sample", "1.1"), &ada)
        .unwrap();
    assert_eq!(answer.status, 403, "{}", answer.text());
    assert!(
        answer.text().contains("trusted-publishing-only"),
        "{}",
        answer.text()
    );
    let by_workflow = stage
        .server
        .publish(&release("sample", "1.1"), &stage.minted());
    by_workflow.unwrap().expect_status(200).unwrap();
    stage.server.run(&[&policy[..], &["off"]].concat()).unwrap();
    stage.let_tokens_publish_to("sample");
    let again = stage.server.publish(&release("sample", "1.2"), &ada);
    again.unwrap().expect_status(200).unwrap();
}

#[test]
fn the_owners_are_told_of_an_api_token_beside_a_publisher_and_of_an_unused_environment() {
    let stage = Stage::start();
    stage.project_with_publisher("sample", &[]);
    let ada = stage.server.token("ada", &[]).unwrap();
    stage
        .server
        .publish(&release("sample", "1.1"), &ada)
        .unwrap()
        .expect_status(200)
        .unwrap();
    let inside = claims::github_in_environment(REPOSITORY, WORKFLOW, "release");
    let told = stage.mint(&stage.identity(&inside)).json().unwrap();
    assert!(
        told["warnings"].to_string().contains("environment"),
        "{told}"
    );
    let command = ["--json", "admin", "project", "notices", "sample"];
    let output = stage.server.run(&command).unwrap();
    let notices: Value = serde_json::from_slice(&output.stdout).unwrap();
    let mut kinds: Vec<&str> = notices
        .as_array()
        .unwrap()
        .iter()
        .map(|notice| notice["kind"].as_str().unwrap())
        .collect();
    kinds.sort_unstable();
    assert_eq!(
        kinds,
        ["environment-not-required", "token-used-beside-publisher"]
    );
}

#[test]
fn a_project_takes_only_what_its_policy_asks_for() {
    let stage = Stage::start();
    stage.project_with_publisher("sample", &[]);
    let ada = stage.server.token("ada", &[]).unwrap();
    let policy = |change: &[&str]| {
        let command = ["admin", "project", "policy", "sample"];
        stage.server.run(&[&command[..], change].concat()).unwrap();
    };
    let publish = |version: &str, token: &str| {
        let package = release("sample", version);
        stage.server.publish(&package, token).unwrap()
    };
    let refused_as = |answer: http::Response, code: &str| {
        assert_eq!(answer.status, 403, "{}", answer.text());
        assert!(answer.text().contains(code), "{}", answer.text());
    };
    policy(&["--environment", "release"]);
    refused_as(publish("1.1", &stage.minted()), "environment-missing");
    let inside = claims::github_in_environment(REPOSITORY, WORKFLOW, "release");
    let inside = token_of(stage.mint(&stage.identity(&inside)));
    publish("1.1", &inside).expect_status(200).unwrap();

    policy(&["--environment", "none", "--minimum-trust", "workflow"]);
    refused_as(publish("1.2", &ada), "trust-too-low");
    publish("1.2", &stage.minted()).expect_status(200).unwrap();

    policy(&["--minimum-trust", "none"]);
    refused_as(publish("1.3", &ada), "trust-lost");
    stage.let_tokens_publish_to("sample");
    publish("1.3", &ada).expect_status(200).unwrap();
}

#[test]
fn every_change_of_who_may_publish_is_an_event_in_the_log() {
    let stage = Stage::start();
    let count = |kind: &str| {
        let log = stage.server.checked_log().unwrap();
        log.leaves_containing(kind).len()
    };
    // The commands write the log in processes of their own; the serving one looks for that now and then.
    let becomes = |kind: &str, wanted: usize| {
        let begin = Instant::now();
        while count(kind) != wanted && begin.elapsed() < Duration::from_secs(60) {
            std::thread::sleep(Duration::from_millis(50));
        }
        assert_eq!(count(kind), wanted, "{kind}");
    };
    // The issuer that the stage admits.
    becomes("policy-changed", 1);
    let id = stage.project_with_publisher("sample", &[]);
    becomes("publisher-changed", 1);
    let policy = ["admin", "project", "policy", "sample", "--trusted-only"];
    stage.server.run(&[&policy[..], &["on"]].concat()).unwrap();
    becomes("policy-changed", 2);
    stage
        .server
        .run(&["admin", "publisher", "remove", "sample", &id])
        .unwrap();
    becomes("publisher-changed", 2);
    stage
        .server
        .run(&["admin", "issuer", "remove", "company"])
        .unwrap();
    becomes("policy-changed", 3);
    // Nothing personal and no claim is in it.
    for word in ["octo", WORKFLOW, "65001"] {
        assert_eq!(count(word), 0, "{word}");
    }
}
