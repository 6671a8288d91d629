//! Identity tokens that are not what they should be, and tokens minted from good ones that are used for more.

use std::time::{SystemTime, UNIX_EPOCH};

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use countersign_testkit::claims::{self, Claims};
use countersign_testkit::http;
use countersign_testkit::issuer::{KeyId, Signing};
use countersign_testkit::server::{Database, ServerOptions};
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

/// Values of every kind that JSON has, and texts that databases and pages stumble over.
fn odd_values() -> Vec<Value> {
    vec![
        Value::Null,
        json!(0),
        json!(-1),
        json!(1.5e300),
        json!(u64::MAX),
        json!(true),
        json!([]),
        json!(["a", {"b": [null]}]),
        json!({}),
        json!({"release": "release"}),
        json!(""),
        json!(" "),
        json!("\u{0}"),
        json!("a\u{0}b\r\nX: y"),
        json!("\u{202e}gnp.exe"),
        json!("'; DROP TABLE publishers; --"),
        json!("<script>alert(1)</script>"),
        json!("*"),
        json!("x".repeat(3000)),
        json!("\u{1f980}".repeat(300)),
    ]
}

/// Every claim with every odd value.
fn odd_claims_are_refused_or_taken(database: Database) {
    let stage = Stage::on(database);
    stage.project_with_publisher("sample", &[]);
    let odd = odd_values();
    let names = [
        "repository",
        "repository_owner",
        "repository_owner_id",
        "repository_id",
        "workflow_ref",
        "job_workflow_ref",
        "event_name",
        "environment",
        "ref",
        "sha",
        "run_id",
        "runner_environment",
        "sub",
        "jti",
        "iat",
        "nbf",
        "exp",
        "iss",
        "aud",
        "a claim that nobody knows",
    ];
    let mut minted = 0;
    for name in names {
        for value in &odd {
            let claims = stage.claims().set(name, value.clone());
            let answer = stage.mint(&stage.identity(&claims));
            let text = answer.text();
            match answer.status {
                200 => {
                    minted += 1;
                    let version = format!("2.{minted}");
                    let package = release("sample", &version);
                    let upload = stage.server.publish(&package, &token_of(answer));
                    let upload = upload.unwrap();
                    assert_eq!(upload.status, 200, "{name} {value}: {}", upload.text());
                    let page = format!("/project/pypi/sample/{version}/");
                    let page = stage.server.get(&page).unwrap();
                    assert_eq!(page.status, 200, "{name} {value}: {}", page.text());
                    assert!(!page.text().contains("<script>alert"), "{name}");
                }
                422 => assert!(
                    answer.json().unwrap()["errors"][0]["code"].is_string(),
                    "{name} {value}: {text}"
                ),
                other => panic!("{name} {value}: {other} {text}"),
            }
        }
    }
    assert!(minted > 20, "{minted}");
    let failures = stage.publisher(&["failures", "sample"]);
    assert!(!failures.as_array().unwrap().is_empty());
    assert!(!stage.server.logs().contains("panicked"));
    stage.server.run(&["doctor"]).unwrap();
}

#[test]
fn odd_claims_are_refused_or_taken_but_break_nothing_on_sqlite() {
    odd_claims_are_refused_or_taken(Database::Sqlite);
}

#[test]
fn odd_claims_are_refused_or_taken_but_break_nothing_on_postgres() {
    odd_claims_are_refused_or_taken(Database::Postgres);
}

/// Every part of a registration, of a policy and of a tested token with every odd value, by the JSON API.
fn odd_requests_are_refused_or_taken(database: Database) {
    let stage = Stage::on(database);
    stage.project_with_publisher("sample", &[]);
    let manage = stage.server.token("ada", &["--action", "manage"]).unwrap();
    let authorization = format!("Bearer {manage}");
    let ask = |method: &str, path: &str, body: &Value| {
        let headers = [
            ("Authorization", authorization.as_str()),
            ("Content-Type", "application/json"),
        ];
        let url = format!("{}/api/v1/projects/pypi/sample/{path}", stage.server.url());
        let answer = http::request(method, &url, &headers, body.to_string().as_bytes()).unwrap();
        let fine = answer.status < 500 && answer.status != 401;
        assert!(
            fine,
            "{method} {path} {body}: {} {}",
            answer.status,
            answer.text()
        );
        if answer.status >= 400 {
            assert!(
                answer.json().unwrap()["code"].is_string(),
                "{}",
                answer.text()
            );
        }
        answer
    };
    let good = json!({
        "issuer": "company",
        "fields": {"owner": "octo", "repository": "sample", "workflow": "other.yml"},
        "claims": [{"claim": "ref", "test": "pattern", "value": "refs/tags/v*"}],
    });
    let publishers = [
        "/issuer",
        "/fields",
        "/fields/owner",
        "/fields/repository",
        "/fields/workflow",
        "/fields/environment",
        "/claims",
        "/claims/0",
        "/claims/0/claim",
        "/claims/0/test",
        "/claims/0/value",
        "/pending",
    ];
    for place in publishers {
        for value in odd_values() {
            let mut body = good.clone();
            let (parent, name) = place.rsplit_once('/').unwrap();
            match body.pointer_mut(parent).unwrap() {
                Value::Object(members) => _ = members.insert(name.to_owned(), value),
                list => list[0] = value,
            }
            ask("POST", "publishers", &body);
        }
    }
    for name in ["trusted_only", "environment", "minimum_trust"] {
        for value in odd_values() {
            ask("PUT", "policy", &json!({name: value}));
        }
    }
    for value in odd_values() {
        ask("POST", "publishers/test", &json!({"token": value}));
    }
    let mut last = good;
    last["fields"]["workflow"] = json!("last.yml");
    assert_eq!(ask("POST", "publishers", &last).status, 201);
    let listed = stage.publisher(&["list", "sample"]);
    assert!(listed.to_string().contains("last.yml"), "{listed}");
    assert!(!stage.server.logs().contains("panicked"));
    stage.server.run(&["doctor"]).unwrap();
}

#[test]
fn odd_requests_are_refused_or_taken_but_break_nothing_on_sqlite() {
    odd_requests_are_refused_or_taken(Database::Sqlite);
}

#[test]
fn odd_requests_are_refused_or_taken_but_break_nothing_on_postgres() {
    odd_requests_are_refused_or_taken(Database::Postgres);
}
