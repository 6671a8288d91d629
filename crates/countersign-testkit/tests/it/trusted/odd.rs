//! Values that nobody expects, in every place: they are refused or taken, and break nothing.

use countersign_testkit::http;
use countersign_testkit::server::Database;
use serde_json::{Value, json};

use super::{Stage, release, token_of};

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
