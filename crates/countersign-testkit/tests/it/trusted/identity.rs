//! Identity tokens that are not what they should be, and publishers that they do not fit.

use std::time::{SystemTime, UNIX_EPOCH};

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use countersign_testkit::claims::{self, Claims};
use countersign_testkit::http;
use countersign_testkit::issuer::{KeyId, Signing};
use countersign_testkit::server::ServerOptions;
use serde_json::{Value, json};

use super::{OWNER_ID, REPOSITORY, Stage, WORKFLOW, differing, refused, release, token_of};

fn now() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
    i64::try_from(since.as_secs()).unwrap()
}

#[test]
fn an_identity_token_is_good_once() {
    let stage = Stage::start();
    stage.project_with_publisher("sample", &[]);
    let identity = stage.identity(&stage.claims());
    token_of(stage.mint(&identity));
    refused(&stage.mint(&identity), "oidc-replayed");
    // The id alone makes it the same token, however else it differs.
    let claims = stage.claims().set("jti", "one-and-the-same");
    token_of(stage.mint(&stage.identity(&claims)));
    let again = stage.identity(&claims.set("run_attempt", "3"));
    refused(&stage.mint(&again), "oidc-replayed");
    token_of(stage.mint(&stage.identity(&stage.claims())));
}

#[test]
fn forged_signatures_are_refused_whatever_the_header_says() {
    let stage = Stage::start();
    stage.project_with_publisher("sample", &[]);
    let forged = |signing, key: &KeyId| {
        let claims = stage.claims();
        let token = stage
            .company
            .token_signed(&stage.audience, &claims, signing, key);
        stage.mint(&token.unwrap())
    };
    let current = KeyId::Current;
    // Without a signature it is no signed token at all; with another's, the algorithm is what is wrong.
    refused(&forged(Signing::Unsigned, &current), "oidc-token-malformed");
    let genuine = stage.identity(&stage.claims());
    let rest = genuine.split_once('.').unwrap().1;
    let none = URL_SAFE_NO_PAD.encode(r#"{"alg":"none","typ":"JWT"}"#);
    refused(
        &stage.mint(&format!("{none}.{rest}")),
        "oidc-algorithm-refused",
    );
    refused(
        &forged(Signing::PublicKeyAsSecret, &current),
        "oidc-algorithm-refused",
    );
    refused(
        &forged(Signing::ForeignKey, &current),
        "oidc-signature-wrong",
    );
    // The registry pins GitHub to RS256, so the same issuer's other key does not count either.
    refused(&forged(Signing::Es256, &current), "oidc-algorithm-refused");
    let other = KeyId::Named("not-a-key".to_owned());
    refused(&forged(Signing::Rs256, &other), "oidc-key-unknown");
    token_of(forged(Signing::Rs256, &current));
}

#[test]
fn tokens_for_others_and_of_other_times_are_refused() {
    let stage = Stage::start();
    stage.project_with_publisher("sample", &[]);
    let try_with = |claims: Claims| stage.mint(&stage.identity(&claims));
    let good = || stage.claims();

    for audience in [
        json!("https://packages.example.org/pypi"),
        json!([stage.audience]),
        json!([stage.audience, "https://packages.example.org/pypi"]),
        json!(format!("{}/", stage.audience)),
        json!(stage.server.url()),
    ] {
        let answer = try_with(good().set("aud", audience));
        refused(&answer, "oidc-audience-wrong");
        assert_eq!(differing(&answer, "aud").0, stage.audience);
    }
    refused(&try_with(good().without("aud")), "oidc-claim-missing");
    refused(&try_with(good().without("exp")), "oidc-claim-missing");
    refused(&try_with(good().without("iat")), "oidc-claim-missing");
    refused(&try_with(good().without("jti")), "oidc-claim-missing");
    let expired = good()
        .set("iat", now() - 900)
        .set("nbf", now() - 900)
        .set("exp", now() - 300);
    refused(&try_with(expired), "oidc-expired");
    let early = good().set("nbf", now() + 300);
    refused(&try_with(early), "oidc-not-yet-valid");
    let long = good().set("exp", now() + 30 * 24 * 3600);
    refused(&try_with(long), "oidc-lifetime-too-long");
    let elsewhere = good().set("iss", "https://issuer.example.org");
    refused(&try_with(elsewhere), "issuer-unknown");
    token_of(try_with(good()));
}

#[test]
fn what_is_no_token_is_refused_in_the_same_shape() {
    let stage = Stage::start();
    for text in ["", "x", "a.b.c", "a.b", "....", "é.é.é"] {
        refused(&stage.mint(text), "oidc-token-malformed");
    }
    let mut long = stage.identity(&stage.claims().set("filler", "x".repeat(12_500)));
    refused(&stage.mint(&long), "oidc-token-too-large");
    long = "x".repeat(3 << 20);
    let answer = stage.mint(&long);
    assert!(
        matches!(answer.status, 413 | 422),
        "{} {}",
        answer.status,
        answer.text()
    );
    assert!(answer.json().unwrap()["errors"][0]["code"].is_string());
}

#[test]
fn neither_identity_tokens_nor_minted_ones_reach_the_log_or_an_error() {
    let stage = Stage::with(ServerOptions {
        configuration: "[log]\nfilter = \"trace\"\n".to_owned(),
        ..ServerOptions::default()
    });
    stage.project_with_publisher("sample", &[]);
    let good = stage.identity(&stage.claims());
    let minted = token_of(stage.mint(&good));
    let mut answers = vec![stage.mint(&good)];
    let bad = stage.identity(&claims::github(REPOSITORY, "test.yml"));
    answers.push(stage.mint(&bad));
    let bent = format!("{bad}x");
    answers.push(stage.mint(&bent));
    answers.push(
        stage
            .server
            .publish(&release("others", "1.0"), &minted)
            .unwrap(),
    );
    let said: Vec<String> = answers.iter().map(http::Response::text).collect();
    let log = stage.server.logs();
    assert!(
        log.contains("/_/oidc/mint-token") && log.contains("TRACE"),
        "what is said at the lowest level is not in the log"
    );
    for secret in [&good, &minted, &bad, &bent] {
        // Of an identity token its signature is the secret part.
        let basic = http::basic_authorization("__token__", secret);
        let basic = basic.rsplit(' ').next().unwrap();
        let secret = secret.rsplit('.').next().unwrap();
        assert!(!log.contains(secret), "a token is in the log");
        assert!(!log.contains(basic), "a token is in the log, encoded");
        for text in &said {
            assert!(!text.contains(secret), "a token is in an answer: {text}");
        }
    }
}

#[test]
fn a_recreated_owner_is_refused() {
    let stage = Stage::start();
    stage.project_with_publisher("sample", &[]);
    let other = stage
        .claims()
        .set("repository_owner_id", "65002")
        .set("repository_id", "74002");
    let answer = stage.mint(&stage.identity(&other));
    refused(&answer, "publisher-mismatch");
    let (expected, seen) = differing(&answer, "repository_owner_id");
    assert_eq!((expected, seen), (OWNER_ID.to_string(), json!("65002")));
}

#[test]
fn a_recreated_repository_of_the_same_owner_is_refused() {
    let stage = Stage::start();
    stage.project_with_publisher("sample", &[]);
    let other = stage.claims().set("repository_id", "74002");
    let answer = stage.mint(&stage.identity(&other));
    refused(&answer, "publisher-mismatch");
    assert_eq!(differing(&answer, "repository_id").1, json!("74002"));
}

#[test]
fn ids_that_the_provider_does_not_tell_are_learnt_from_the_first_token() {
    let stage = Stage::start();
    stage
        .oidc
        .answer(&format!("/api/v3/repos/{REPOSITORY}"), None);
    stage.project_with_publisher("sample", &[]);
    let before = stage.publisher(&["list", "sample"]);
    assert_eq!(before[0]["pinned"], json!({}));
    assert!(!before[0]["pin_by"].is_null(), "{before}");
    token_of(stage.mint(&stage.identity(&stage.claims())));
    let after = stage.publisher(&["list", "sample"]);
    assert_eq!(
        after[0]["pinned"]["repository_owner_id"],
        OWNER_ID.to_string().as_str()
    );
    assert_eq!(after[0]["pin_by"], Value::Null);
    let recreated = stage.claims().set("repository_owner_id", "65002");
    refused(
        &stage.mint(&stage.identity(&recreated)),
        "publisher-mismatch",
    );
}

#[test]
fn a_renamed_repository_is_refused_until_its_new_name_is_registered() {
    let stage = Stage::start();
    stage.project_with_publisher("sample", &[]);
    let renamed = claims::github("octo/renamed", WORKFLOW);
    let answer = stage.mint(&stage.identity(&renamed));
    let error = refused(&answer, "publisher-none");
    let text = error["description"].as_str().unwrap();
    assert!(text.contains("octo/renamed"), "{text}");
}

#[test]
fn pull_requests_and_events_that_strangers_cause_are_refused() {
    let stage = Stage::start();
    stage.project_with_publisher("sample", &[]);
    let answer = stage.mint(&stage.identity(&claims::github_pull_request(REPOSITORY, WORKFLOW)));
    refused(&answer, "publisher-mismatch");
    for event in ["pull_request_target", "workflow_run"] {
        let claims = claims::github_on_base_branch(REPOSITORY, WORKFLOW, event);
        let answer = stage.mint(&stage.identity(&claims));
        refused(&answer, "publisher-mismatch");
        assert_eq!(differing(&answer, "event_name").1, json!(event));
    }
}

#[test]
fn a_job_outside_the_required_environment_is_refused_with_the_line_to_add() {
    let stage = Stage::start();
    stage.project_with_publisher("sample", &["--environment", "release"]);
    let answer = stage.mint(&stage.identity(&stage.claims()));
    refused(&answer, "publisher-mismatch");
    let (expected, seen) = differing(&answer, "environment");
    assert!(expected.contains("release"), "{expected}");
    assert_eq!(seen, Value::Null);
    assert!(
        answer.text().contains("environment: release"),
        "{}",
        answer.text()
    );
    let inside = claims::github_in_environment(REPOSITORY, WORKFLOW, "release");
    token_of(stage.mint(&stage.identity(&inside)));
}

#[test]
fn the_environment_of_gitlab_is_compared_in_its_exact_case() {
    let stage = Stage::start();
    let gitlab = stage.oidc.issuer("").unwrap();
    let host = stage.oidc.url().strip_prefix("https://").unwrap();
    stage.oidc.answer_gitlab_project("group/sample", 72, 20);
    let ca = gitlab.ca_file().to_str().unwrap().to_owned();
    let url = gitlab.url();
    let add = ["admin", "issuer", "add", "our-gitlab", "--url", &url];
    let as_gitlab = ["--preset", "gitlab", "--ca", &ca];
    stage.server.run(&[&add[..], &as_gitlab].concat()).unwrap();
    let token = stage.server.token("ada", &[]).unwrap();
    let first = stage.server.publish(&release("sample", "1.0"), &token);
    first.unwrap().expect_status(200).unwrap();
    let whose = ["--field", "namespace=group", "--field", "project=sample"];
    let what = [
        "--field",
        "workflow=.gitlab-ci.yml",
        "--environment",
        "Release",
    ];
    let add = ["add", "sample", "--issuer", "our-gitlab"];
    stage.publisher(&[&add[..], &whose, &what].concat());
    let mint = |environment: Option<&str>| {
        let claims = claims::gitlab(host, "group/sample", environment);
        stage.mint(&gitlab.token(&stage.audience, &claims).unwrap())
    };
    for wrong in [Some("release"), None] {
        let answer = mint(wrong);
        refused(&answer, "publisher-mismatch");
        assert_eq!(
            differing(&answer, "environment"),
            ("Release".to_owned(), json!(wrong))
        );
    }
    token_of(mint(Some("Release")));
}

#[test]
fn a_self_hosted_runner_is_refused_where_only_the_providers_are_allowed() {
    let stage = Stage::start();
    stage.project_with_publisher("sample", &["--runner", "github-hosted"]);
    let claims = claims::github_self_hosted(REPOSITORY, WORKFLOW);
    let answer = stage.mint(&stage.identity(&claims));
    refused(&answer, "publisher-mismatch");
    assert_eq!(
        differing(&answer, "runner_environment"),
        ("github-hosted".to_owned(), json!("self-hosted"))
    );
    token_of(stage.mint(&stage.identity(&stage.claims())));
}

#[test]
fn a_called_workflow_is_a_constraint_of_its_own() {
    let stage = Stage::start();
    let shared = "octo/shared/.github/workflows/publish.yml@refs/tags/v2";
    stage.project_with_publisher(
        "sample",
        &[
            "--called-workflow",
            "octo/shared/.github/workflows/publish.yml",
        ],
    );
    let calling = |called: &str| {
        let claims = claims::github_reusable(REPOSITORY, WORKFLOW, called);
        stage.mint(&stage.identity(&claims))
    };
    token_of(calling(shared));
    let answer = calling("mallory/shared/.github/workflows/publish.yml@refs/tags/v2");
    refused(&answer, "publisher-mismatch");
    differing(&answer, "job_workflow_ref");
    // Called by another workflow of the same repository.
    let claims = claims::github_reusable(REPOSITORY, "test.yml", shared);
    refused(&stage.mint(&stage.identity(&claims)), "publisher-mismatch");
}

#[test]
fn the_owners_see_the_last_refusals_and_can_test_a_token_without_using_it_up() {
    let stage = Stage::start();
    stage.project_with_publisher("sample", &["--environment", "release"]);
    let outside = stage.identity(&stage.claims());
    refused(&stage.mint(&outside), "publisher-mismatch");
    let failures = stage.publisher(&["failures", "sample"]);
    assert_eq!(failures[0]["code"], "publisher-mismatch");
    assert!(
        failures[0]["differences"]
            .to_string()
            .contains("environment"),
        "{failures}"
    );
    let file = stage.folder.path().join("token.jwt");
    let test = |identity: &str| {
        std::fs::write(&file, identity).unwrap();
        let command = ["--json", "admin", "publisher", "test", "sample"];
        let token = ["--token-file", file.to_str().unwrap()];
        let output = stage.server.try_run(&[&command[..], &token].concat());
        let output = output.unwrap();
        let told: Value = serde_json::from_slice(&output.stdout).unwrap();
        (output.status.code(), told)
    };
    let (exit, told) = test(&outside);
    assert_eq!((exit, told["verdict"].as_str()), (Some(4), Some("refused")));
    let rules = told["publishers"][0]["rules"].as_array().unwrap();
    let differing: Vec<&Value> = rules
        .iter()
        .filter(|rule| rule["matched"] == false)
        .collect();
    assert_eq!(differing.len(), 1, "{told}");
    assert_eq!(differing[0]["claim"], "environment");
    assert!(rules.len() > 3);

    let inside = claims::github_in_environment(REPOSITORY, WORKFLOW, "release");
    let inside = stage.identity(&inside);
    for _ in 0..2 {
        let (exit, told) = test(&inside);
        assert_eq!(
            (exit, told["verdict"].as_str()),
            (Some(0), Some("would-publish"))
        );
    }
    token_of(stage.mint(&inside));
}
