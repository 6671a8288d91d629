//! Trusted publishing through the front door: the exchange in the clients' own words, its management, and what pages
//! say of the origin of files.

use countersign_registry::model::{Action, Actor, Role, TrustLevel, Visibility};
use countersign_registry::{NewException, OutsideError};
use countersign_testkit::http::basic_authorization;
use countersign_testkit::packages::{Sdist, Wheel};
use http::Method;
use serde_json::{Value, json};

use crate::house::{Answer, House, house, house_with};
use crate::issuer::{AUDIENCE, URL, claims, claims_with, signed};
use crate::people::{Things, body_for, description, guarded};
use crate::request_log::Lines;

const MINT: &str = "/_/oidc/mint-token";
const PUBLISHERS: &str = "/api/v1/projects/pypi/sample/publishers";

impl House {
    /// Lets `release.yml` of `octo/sample` publish the project `sample`, which alice owns; returns the publisher.
    pub async fn with_publisher(&self) -> Value {
        self.published("sample", "0.1").await;
        self.call(Method::POST, PUBLISHERS, &registration("{}"))
            .await
            .expect(201)
            .json()
    }

    async fn mint(&self, token: &str) -> Answer {
        self.ask(
            Method::POST,
            MINT,
            &[("content-type", "application/json")],
            json!({ "token": token }).to_string(),
        )
        .await
    }

    /// An upload token for `sample`.
    pub async fn minted(&self) -> String {
        let answer = self.mint(&signed(&claims())).await.expect(200);
        answer.json()["token"].as_str().unwrap().to_owned()
    }

    async fn upload_as(&self, token: &str, wheel: &Wheel) -> Answer {
        let package = wheel.build();
        let basic = basic_authorization("__token__", token);
        self.upload_with(&package, &package.form(), &[("authorization", &basic)])
            .await
    }

    pub async fn call_as(&self, token: &str, method: Method, path: &str, body: &str) -> Answer {
        let bearer = format!("Bearer {token}");
        self.ask(method, path, &[("authorization", &bearer)], body.to_owned())
            .await
    }
}

/// The body that registers `release.yml` of `octo/sample`, with other members (an object) in it.
fn registration(more: &str) -> String {
    let mut body = json!({
        "issuer": "github",
        "fields": {
            "owner": "octo",
            "repository": "sample",
            "workflow": "release.yml",
            "environment": "release",
        },
    });
    let more: Value = serde_json::from_str(more).unwrap();
    let members = body.as_object_mut().unwrap();
    members.extend(more.as_object().unwrap().clone());
    body.to_string()
}

/// What every refusal of the exchange looks like, for all clients that print it.
#[track_caller]
fn assert_refused(answer: &Answer, status: u16, code: &str) -> Value {
    assert_eq!(answer.status.as_u16(), status, "{}", answer.text());
    assert_eq!(answer.header("content-type"), "application/json");
    assert_eq!(answer.header("cache-control"), "no-store");
    assert_eq!(answer.header("access-control-allow-origin"), "");
    let body = answer.json();
    assert_eq!(body["message"], "Token request failed", "{body}");
    let errors = body["errors"].as_array().unwrap();
    assert!(!errors.is_empty(), "{body}");
    for error in errors {
        assert_eq!(error["code"], code, "{body}");
        assert!(
            error["description"]
                .as_str()
                .is_some_and(|text| text.len() > 20),
            "{body}"
        );
    }
    let description = errors[0]["description"].as_str().unwrap();
    assert!(
        description.contains(&format!("/help/errors#{code}")),
        "{description}"
    );
    // The same as RFC 9457 has it.
    assert_eq!(
        (body["status"].as_u64(), &body["code"]),
        (Some(u64::from(status)), &code.into())
    );
    assert_eq!(body["request"], answer.header("x-request-id"));
    body
}

#[tokio::test]
async fn an_identity_token_becomes_an_upload_token_that_publishes_and_is_given_back() {
    let house = house().await;
    let publisher = house.with_publisher().await;
    assert_eq!(publisher["provider"], "github");
    assert_eq!(publisher["pinned"]["repository_id"], "74", "{publisher}");
    let audience = house.get("/_/oidc/audience").await.expect(200);
    assert_eq!(audience.json(), json!({ "audience": AUDIENCE }));
    assert_eq!(audience.header("cache-control"), "no-store");

    let before = crate::issuer::now();
    let answer = house.mint(&signed(&claims())).await.expect(200);
    assert_eq!(answer.header("cache-control"), "no-store");
    assert_eq!(answer.header("access-control-allow-origin"), "");
    let minted = answer.json();
    assert_eq!(minted["success"], true);
    assert_eq!(minted["projects"], json!(["sample"]));
    assert_eq!(minted["warnings"], json!([]));
    let lives = minted["expires"].as_i64().unwrap() - before;
    assert!((900..1_000).contains(&lives), "{lives}");
    let token = minted["token"].as_str().unwrap();

    let who = house
        .call_as(token, Method::GET, "/api/v1/whoami", "")
        .await
        .expect(200)
        .json();
    assert_eq!(who["kind"], "workflow", "{who}");
    let wheel = Wheel::new("sample", "1.0");
    house.upload_as(token, &wheel).await.expect(200);
    let file = format!(
        "/api/v1/projects/pypi/sample/releases/1.0/files/{}",
        wheel.build().filename
    );
    let origin = house.get(&file).await.expect(200).json()["origin"].take();
    assert_eq!(origin["provider"], "github", "{origin}");
    assert_eq!(origin["issuer"], URL);
    assert_eq!(
        origin["source"]["repository"],
        "https://github.com/octo/sample"
    );
    assert_eq!(
        origin["source"]["commit"],
        "7b1fd5d2f37f4e5fa65a7b5d1c6d2e1f0a9b8c7d"
    );
    let text = origin.to_string();
    assert!(
        !text.contains("mona-the-person") && !text.contains("1234567"),
        "the origin names a person: {text}"
    );

    house
        .call_as(token, Method::DELETE, "/api/v1/token", "")
        .await
        .expect(204);
    house
        .upload_as(token, &Wheel::new("sample", "1.1"))
        .await
        .expect(403);
}

#[tokio::test]
async fn uv_gives_its_token_back_where_it_expects_to_and_other_tokens_stay() {
    let house = house().await;
    house.with_publisher().await;
    let token = house.minted().await;
    let burn = async |text: &str| {
        let body = json!({ "token": text }).to_string();
        let answer = house
            .ask(Method::POST, "/_/oidc/burn-token", &[], body)
            .await
            .expect(202);
        assert_eq!(
            (answer.body.len(), answer.header("cache-control")),
            (0, "no-store")
        );
    };
    burn(&token).await;
    house
        .upload_as(&token, &Wheel::new("sample", "1.0"))
        .await
        .expect(403);
    // Again, nonsense, and the token of a person: all the same to whoever asks.
    burn(&token).await;
    burn("csgn_w_nonsense").await;
    burn(&house.token).await;
    house
        .call(Method::GET, "/api/v1/whoami", "")
        .await
        .expect(200);
}

#[tokio::test]
async fn each_refusal_names_the_claim_that_differed_what_was_expected_and_what_was_seen() {
    let house = house().await;
    house.with_publisher().await;
    let past = crate::issuer::now() - 3_600;
    let mut expired = claims();
    for (claim, at) in [("iat", past), ("nbf", past), ("exp", past + 300)] {
        expired[claim] = at.into();
    }
    for (claims, code, claim, expected, seen) in [
        (
            claims_with("environment", "staging".into()),
            "publisher-mismatch",
            "environment",
            "release",
            json!("staging"),
        ),
        (
            claims_with("environment", Value::Null),
            "publisher-mismatch",
            "environment",
            "release",
            Value::Null,
        ),
        (
            claims_with("repository_owner_id", "10".into()),
            "publisher-mismatch",
            "repository_owner_id",
            "9",
            json!("10"),
        ),
        (
            claims_with("event_name", "pull_request_target".into()),
            "publisher-mismatch",
            "event_name",
            "pull_request_target",
            json!("pull_request_target"),
        ),
        (
            claims_with("aud", "https://elsewhere.example/pypi".into()),
            "oidc-audience-wrong",
            "aud",
            AUDIENCE,
            json!("https://elsewhere.example/pypi"),
        ),
    ] {
        let token = signed(&claims);
        let answer = house.mint(&token).await;
        let body = assert_refused(&answer, 422, code);
        let found = body["errors"].as_array().unwrap()[1..]
            .iter()
            .find(|error| error["claim"] == claim)
            .unwrap_or_else(|| panic!("no word about {claim}: {body}"));
        assert!(
            found["expected"].as_str().unwrap().contains(expected),
            "{found}"
        );
        assert_eq!(found["seen"], seen, "{found}");
        let description = found["description"].as_str().unwrap();
        assert!(
            description.contains(claim) && description.contains(expected),
            "{description}"
        );
        assert!(
            description.starts_with("Claim ") && description.ends_with('.'),
            "{description}"
        );
        let signature = token.rsplit('.').next().unwrap();
        assert!(
            !answer.text().contains(signature),
            "the token is in the answer"
        );
    }
    for (claims, code) in [
        (expired, "oidc-expired"),
        (
            claims_with("repository", "octo/other".into()),
            "publisher-none",
        ),
        (
            claims_with("iss", "https://issuer.example".into()),
            "issuer-unknown",
        ),
        (claims_with("jti", Value::Null), "oidc-claim-missing"),
    ] {
        assert_refused(&house.mint(&signed(&claims)).await, 422, code);
    }
}

#[tokio::test]
async fn a_token_that_is_none_or_was_used_or_is_signed_by_somebody_else_is_refused() {
    let house = house().await;
    house.with_publisher().await;
    let token = signed(&claims());
    house.mint(&token).await.expect(200);
    assert_refused(&house.mint(&token).await, 422, "oidc-replayed");
    for text in [
        "",
        "x",
        "a.b.c",
        "csgn_u_0123456789abcdefghijklmnopqrstuvwxyz",
    ] {
        assert_refused(&house.mint(text).await, 422, "oidc-token-malformed");
    }
    let other = signed(&claims());
    let (message, _) = other.rsplit_once('.').unwrap();
    let (_, signature) = token.rsplit_once('.').unwrap();
    let mixed = format!("{message}.{signature}");
    assert_refused(&house.mint(&mixed).await, 422, "oidc-signature-wrong");
    let long = "x".repeat(17 << 10);
    assert_refused(&house.mint(&long).await, 422, "oidc-token-too-large");
}

#[tokio::test]
async fn what_is_no_request_for_a_token_is_refused_and_never_repeated() {
    let house = house().await;
    let secret = "eyJhbGciOiJub25lIn0.secret-part.x";
    for body in [
        String::new(),
        "{".to_owned(),
        format!("\"{secret}\""),
        format!("[\"{secret}\"]"),
        format!("{{\"token\": [\"{secret}\"]}}"),
        format!("{{\"features\": \"{secret}\"}}"),
        format!("token={secret}"),
    ] {
        for path in [MINT, "/_/oidc/burn-token"] {
            let answer = house.ask(Method::POST, path, &[], body.clone()).await;
            assert_refused(&answer, 422, "json-malformed");
            assert!(!answer.text().contains("secret-part"), "{}", answer.text());
        }
    }
    let large = json!({ "token": "x", "more": "x".repeat(40 << 10) }).to_string();
    let answer = house.ask(Method::POST, MINT, &[], large).await;
    assert_refused(&answer, 413, "json-too-large");
    let single = json!({ "token": "x", "features": ["single-use-token"] }).to_string();
    let answer = house.ask(Method::POST, MINT, &[], single).await;
    let body = assert_refused(&answer, 422, "oidc-feature");
    assert!(
        body["detail"]
            .as_str()
            .unwrap()
            .contains("single-use-token")
    );
}

#[tokio::test]
async fn the_body_counts_and_not_what_its_type_is_said_to_be() {
    let house = house().await;
    house.with_publisher().await;
    // Early clients send no type, and curl says that everything is a form.
    for content_type in [
        None,
        Some("application/json"),
        Some("application/x-www-form-urlencoded"),
    ] {
        let headers: Vec<_> = content_type
            .map(|value| ("content-type", value))
            .into_iter()
            .collect();
        let body = json!({ "token": signed(&claims()), "features": ["multi-use-token"] });
        house
            .ask(Method::POST, MINT, &headers, body.to_string())
            .await
            .expect(200);
    }
}

#[tokio::test]
async fn other_methods_and_other_sites_get_the_same_form_of_refusal() {
    let house = house().await;
    for (method, path, allowed) in [
        (Method::GET, MINT, "POST"),
        (Method::PUT, MINT, "POST"),
        (Method::GET, "/_/oidc/github/mint-token", "POST"),
        (Method::GET, "/_/oidc/burn-token", "POST"),
        (Method::POST, "/_/oidc/audience", "GET,HEAD"),
    ] {
        let answer = house.ask(method, path, &[], "").await;
        assert_refused(&answer, 405, "method-not-allowed");
        assert_eq!(answer.header("allow"), allowed);
    }
    let answer = house.get("/_/oidc/other").await;
    assert_refused(&answer, 404, "no-such-page");
    let answer = house.ask(Method::HEAD, "/_/oidc/audience", &[], "").await;
    assert_eq!((answer.status.as_u16(), answer.body.len()), (200, 0));
    // Early releases of the publishing action ask elsewhere, and are heard.
    let early = json!({ "token": "x" }).to_string();
    let answer = house
        .ask(Method::POST, "/_/oidc/github/mint-token", &[], early)
        .await;
    assert_refused(&answer, 422, "oidc-token-malformed");
    let body = json!({ "token": signed(&claims()) }).to_string();
    let from_a_page = [("origin", "https://evil.example")];
    let answer = house.ask(Method::POST, MINT, &from_a_page, body).await;
    assert_refused(&answer, 403, "cross-site");
}

#[tokio::test]
async fn an_issuer_that_is_down_is_told_as_such_and_its_token_is_good_later() {
    let house = house().await;
    house.with_publisher().await;
    *house.issuer.down.lock().unwrap() = Some(OutsideError::Unreachable("refused".into()));
    let fresh = house_with(|_, _| {}).await;
    *fresh.issuer.down.lock().unwrap() = Some(OutsideError::Unreachable("refused".into()));
    let answer = fresh.mint(&signed(&claims())).await;
    let body = assert_refused(&answer, 503, "issuer-unreachable");
    assert_eq!(answer.header("retry-after"), "30");
    assert!(body["remedy"].as_str().unwrap().contains("again"), "{body}");
    // Whose keys are known already is not stopped by it.
    house.mint(&signed(&claims())).await.expect(200);
}

#[tokio::test]
async fn switched_off_it_is_403_with_a_message_and_discovery_finds_nothing() {
    let house = house_with(|settings, _| settings.trusted_publishing.enabled = false).await;
    let audience = house.get("/_/oidc/audience").await;
    let body = assert_refused(&audience, 403, "trusted-publishing-off");
    assert!(body["message"].is_string());
    let mint = house.mint(&signed(&claims())).await;
    assert_refused(&mint, 403, "trusted-publishing-off");
    let discovery = house
        .get("/.well-known/pytp?discover=%2Fpypi%2Flegacy%2F")
        .await
        .expect(404);
    assert_eq!(discovery.header("content-type"), "application/problem+json");
    let help = house.get("/help/trusted-publishing").await.expect(200);
    assert!(help.text().contains("Switched off here"));
}

#[tokio::test]
async fn discovery_leads_from_the_upload_address_to_the_exchange() {
    const OWN: &str = "application/vnd.pypi.pytp.v1+json";
    let house = house().await;
    for discover in ["%2Fpypi%2Flegacy%2F", "/pypi/legacy/", "/pypi/legacy"] {
        let path = format!("/.well-known/pytp?discover={discover}");
        let found = house.get_with(&path, &[("accept", OWN)]).await.expect(200);
        assert_eq!(found.header("content-type"), OWN);
        assert_eq!(found.header("cache-control"), "no-store");
        let found = found.json();
        assert_eq!(
            found["audience-endpoint"],
            "http://localhost:8417/_/oidc/audience"
        );
        assert_eq!(
            found["token-mint-endpoint"],
            "http://localhost:8417/_/oidc/mint-token"
        );
        assert_eq!(found["features"], found["default-features"]);
        for endpoint in ["audience-endpoint", "token-mint-endpoint"] {
            let path = found[endpoint].as_str().unwrap();
            let path = path.strip_prefix("http://localhost:8417").unwrap();
            assert_ne!(house.get(path).await.status, 404, "{path}");
        }
    }
    let path = "/.well-known/pytp?discover=/pypi/legacy/";
    for (accept, status) in [
        ("", 200),
        ("*/*", 200),
        ("application/json", 200),
        ("text/html", 406),
    ] {
        let headers = [("accept", accept)];
        let headers = if accept.is_empty() {
            &headers[..0]
        } else {
            &headers
        };
        house.get_with(path, headers).await.expect(status);
    }
    for (path, status) in [
        ("/.well-known/pytp?discover=/other/", 404),
        ("/.well-known/pytp?discover=", 404),
        ("/.well-known/pytp", 400),
    ] {
        let answer = house.get(path).await.expect(status);
        assert_eq!(
            answer.header("content-type"),
            "application/problem+json",
            "{path}"
        );
    }
}

#[tokio::test]
async fn on_a_restricted_instance_a_workflow_needs_no_other_token() {
    let house = house_with(|settings, _| settings.visibility = Visibility::Restricted).await;
    house.with_publisher().await;
    house.get("/_/oidc/audience").await.expect(200);
    house
        .get("/.well-known/pytp?discover=/pypi/legacy/")
        .await
        .expect(200);
    let token = house.minted().await;
    let wheel = Wheel::new("sample", "1.0");
    house.upload_as(&token, &wheel).await.expect(200);
    house
        .call_as(&token, Method::DELETE, "/api/v1/token", "")
        .await
        .expect(204);
    // What the exchange is open to does not open anything else.
    house.get("/_/oidc/other").await.expect(401);
    for path in ["/api/v1/issuers", "/api/v1/providers", "/api/v1/token"] {
        house.get(path).await.expect(401);
    }
    let nobody = house.ask(Method::DELETE, "/api/v1/token", &[], "").await;
    nobody.expect(401);
    // A workflow's token publishes and reads nothing.
    let token = house.minted().await;
    house
        .call_as(&token, Method::GET, "/pypi/simple/sample/", "")
        .await
        .expect(403);
}

#[tokio::test]
async fn neither_the_log_nor_any_error_holds_a_token() {
    let house = house().await;
    house.with_publisher().await;
    let lines = Lines::default();
    let collecting = lines.collect();
    let good = signed(&claims());
    let bad = signed(&claims_with("environment", "staging".into()));
    let minted = house.mint(&good).await.expect(200).json();
    let refused = house.mint(&bad).await.expect(422);
    *house.issuer.down.lock().unwrap() = Some(OutsideError::Status(500));
    let test = format!("{PUBLISHERS}/test");
    let tested = house
        .call(Method::POST, &test, &json!({ "token": bad }).to_string())
        .await
        .expect(200);
    let stumbled = house
        .call(Method::POST, &test, &format!("\"{bad}\""))
        .await
        .expect(400);
    drop(collecting);
    let secrets = [
        good.rsplit('.').next().unwrap(),
        bad.rsplit('.').next().unwrap(),
        minted["token"].as_str().unwrap(),
    ];
    for secret in secrets {
        for text in [
            &lines.text(),
            refused.text(),
            tested.text(),
            stumbled.text(),
        ] {
            assert!(!text.contains(secret), "{text}");
        }
    }
    assert!(lines.text().contains(MINT), "{}", lines.text());
}

#[tokio::test]
async fn a_token_for_one_project_is_refused_for_another_in_words() {
    let house = house().await;
    house.with_publisher().await;
    house.published("other", "1.0").await;
    let token = house.minted().await;
    let answer = house
        .upload_as(&token, &Wheel::new("other", "2.0"))
        .await
        .expect(403);
    assert!(answer.text().contains("octo/sample"), "{}", answer.text());
    // And what publishers look for when they repeat themselves reads as ever.
    house
        .upload_as(&token, &Wheel::new("sample", "1.0"))
        .await
        .expect(200);
    let changed = Wheel::new("sample", "1.0").file("sample/more.py", "x = 1\n");
    let answer = house.upload_as(&token, &changed).await.expect(400);
    assert!(
        answer
            .reason
            .as_deref()
            .unwrap()
            .starts_with("File already exists"),
        "{:?}",
        answer.reason
    );
}

#[tokio::test]
async fn the_owners_hear_of_a_token_used_beside_a_publisher_and_of_a_missing_environment() {
    let house = house().await;
    house.published("sample", "0.1").await;
    let body = json!({
        "issuer": "github",
        "fields": {"owner": "octo", "repository": "sample", "workflow": "release.yml"},
    });
    house
        .call(Method::POST, PUBLISHERS, &body.to_string())
        .await
        .expect(201);
    let minted = house.mint(&signed(&claims())).await.expect(200).json();
    assert_eq!(
        minted["warnings"].as_array().map(Vec::len),
        Some(1),
        "{minted}"
    );
    let published = house
        .upload(&Wheel::new("sample", "1.0").build())
        .await
        .expect(200);
    assert!(
        published.text().contains("Warning: "),
        "{}",
        published.text()
    );
    let notices = "/api/v1/projects/pypi/sample/notices";
    let listed = house
        .call(Method::GET, notices, "")
        .await
        .expect(200)
        .json();
    let kinds: Vec<_> = listed["items"]
        .as_array()
        .unwrap()
        .iter()
        .map(|notice| notice["kind"].as_str().unwrap())
        .collect();
    assert!(kinds.contains(&"token-used-beside-publisher"), "{listed}");
    assert!(kinds.contains(&"environment-not-required"), "{listed}");
    let id = listed["items"][0]["id"].as_str().unwrap();
    let one = format!("{notices}/{id}");
    house.call(Method::DELETE, &one, "").await.expect(204);
    let left = house.call(Method::GET, notices, "").await.json();
    assert_eq!(left["items"].as_array().map(Vec::len), Some(1), "{left}");
    house.call(Method::DELETE, &one, "").await.expect(404);
}

#[tokio::test]
async fn publishers_are_registered_tested_checked_and_removed() {
    let house = house().await;
    let publisher = house.with_publisher().await;
    let id = publisher["id"].as_str().unwrap();
    let listed = house
        .call(Method::GET, PUBLISHERS, "")
        .await
        .expect(200)
        .json();
    assert_eq!(listed["items"][0]["id"], id);
    assert!(
        !listed["items"][0]["rules"].as_array().unwrap().is_empty(),
        "{listed}"
    );
    let check = house
        .call(Method::POST, &format!("{PUBLISHERS}/{id}/check"), "")
        .await
        .expect(200)
        .json();
    assert_eq!(
        (&check["ok"], &check["publisher"]["id"]),
        (&true.into(), &id.into()),
        "{check}"
    );

    let test = async |claims: &Value| {
        let body = json!({ "token": signed(claims) }).to_string();
        house
            .call(Method::POST, &format!("{PUBLISHERS}/test"), &body)
            .await
            .expect(200)
            .json()
    };
    let good = claims();
    for _ in 0..2 {
        let tested = test(&good).await;
        assert_eq!(tested["verdict"], "would-publish", "{tested}");
        assert_eq!(tested["publishers"][0]["matched"], true);
    }
    house.mint(&signed(&good)).await.expect(200);
    let staging = claims_with("environment", "staging".into());
    let tested = test(&staging).await;
    assert_eq!(tested["verdict"], "refused", "{tested}");
    assert_eq!(tested["refusal"]["code"], "publisher-mismatch");
    let wrong: Vec<_> = tested["publishers"][0]["rules"]
        .as_array()
        .unwrap()
        .iter()
        .filter(|rule| rule["matched"] == false)
        .collect();
    assert_eq!(wrong.len(), 1, "{tested}");
    assert_eq!(
        (&wrong[0]["claim"], &wrong[0]["seen"]),
        (&"environment".into(), &"staging".into())
    );
    assert!(wrong[0]["advice"].is_string(), "{tested}");

    house.mint(&signed(&staging)).await.expect(422);
    let failures = house
        .call(Method::GET, &format!("{PUBLISHERS}/failures"), "")
        .await
        .expect(200)
        .json();
    assert_eq!(
        failures["items"][0]["code"], "publisher-mismatch",
        "{failures}"
    );
    assert_eq!(
        failures["items"][0]["differences"][0]["claim"],
        "environment"
    );

    let one = format!("{PUBLISHERS}/{id}");
    let token = house.minted().await;
    house.call(Method::DELETE, &one, "").await.expect(204);
    house.call(Method::DELETE, &one, "").await.expect(404);
    house
        .upload_as(&token, &Wheel::new("sample", "3.0"))
        .await
        .expect(403);
    assert_refused(&house.mint(&signed(&claims())).await, 422, "publisher-none");
}

#[tokio::test]
async fn a_registration_that_can_not_be_right_is_refused_field_by_field() {
    let house = house().await;
    house.published("sample", "0.1").await;
    let body = registration(r#"{"fields": {"owner": "octo/", "workflow": "release.txt"}}"#);
    let answer = house
        .call(Method::POST, PUBLISHERS, &body)
        .await
        .expect(400);
    assert_eq!(answer.header("content-type"), "application/problem+json");
    let problem = answer.json();
    assert_eq!(problem["code"], "publisher-invalid");
    let fields: Vec<_> = problem["differences"]
        .as_array()
        .unwrap()
        .iter()
        .map(|difference| difference["claim"].as_str().unwrap())
        .collect();
    for field in ["repository", "workflow"] {
        assert!(fields.contains(&field), "{problem}");
    }
    for (body, code) in [
        (registration(r#"{"issuer": "nobody"}"#), "issuer-unknown"),
        (registration(r#"{"owner": "octo"}"#), "json-malformed"),
        (
            registration(r#"{"claims": [{"claim": "ref", "test": "equal", "value": ["x"]}]}"#),
            "json-malformed",
        ),
    ] {
        let answer = house.call(Method::POST, PUBLISHERS, &body).await;
        let problem = answer.json();
        assert_eq!(problem["code"], code, "{problem}");
        assert!(problem.get("differences").is_none(), "{problem}");
    }
    // Only who manages the project may do it.
    let bob = house.token_for("bob", Action::Manage).await;
    house
        .call_as(&bob, Method::POST, PUBLISHERS, &registration("{}"))
        .await
        .expect(403);
}

#[tokio::test]
async fn a_pending_publisher_founds_its_project_with_the_first_token() {
    let house = house().await;
    let path = "/api/v1/projects/pypi/brand-new/publishers";
    house
        .call(Method::POST, path, &registration("{}"))
        .await
        .expect(404);
    let pending = house
        .call(Method::POST, path, &registration(r#"{"pending": true}"#))
        .await
        .expect(201)
        .json();
    assert!(pending["pending"].is_string(), "{pending}");
    let listed = house
        .call(Method::GET, "/api/v1/publishers/pending", "")
        .await
        .expect(200)
        .json();
    assert_eq!(listed["items"][0]["project"], "brand-new");
    let minted = house.mint(&signed(&claims())).await.expect(200).json();
    assert_eq!(minted["projects"], json!(["brand-new"]));
    let token = minted["token"].as_str().unwrap();
    house
        .upload_as(token, &Wheel::new("brand-new", "1.0"))
        .await
        .expect(200);
    let project = house
        .get("/api/v1/projects/pypi/brand-new")
        .await
        .expect(200)
        .json();
    assert_eq!(project["people"][0]["user"], "alice");
    let listed = house
        .call(Method::GET, "/api/v1/publishers/pending", "")
        .await
        .json();
    assert_eq!(listed["items"], json!([]));
}

#[tokio::test]
async fn a_policy_shuts_out_tokens_and_changes_only_what_is_said() {
    let house = house().await;
    house.with_publisher().await;
    let path = "/api/v1/projects/pypi/sample/policy";
    let policy = house.call(Method::GET, path, "").await.expect(200).json();
    assert_eq!(policy["trusted_only"], false, "{policy}");
    let put = async |body: &str| house.call(Method::PUT, path, body).await;
    put(r#"{"trusted_only": true, "environment": "release"}"#)
        .await
        .expect(200);
    let policy = put("{}").await.expect(200).json();
    assert_eq!(
        (&policy["trusted_only"], &policy["environment"]),
        (&true.into(), &"release".into())
    );
    let refused = house
        .upload(&Wheel::new("sample", "2.0").build())
        .await
        .expect(403);
    assert!(
        refused.text().contains("API tokens are refused"),
        "{}",
        refused.text()
    );
    let token = house.minted().await;
    house
        .upload_as(&token, &Wheel::new("sample", "2.0"))
        .await
        .expect(200);
    let policy = put(r#"{"environment": null}"#).await.expect(200).json();
    assert_eq!(
        (&policy["trusted_only"], &policy["environment"]),
        (&true.into(), &Value::Null)
    );
    put(r#"{"minimum_trust": "absolute"}"#).await.expect(400);
}

#[tokio::test]
async fn what_a_provider_asks_for_and_which_issuers_are_taken_can_be_looked_up() {
    let house = house().await;
    let providers = house.get("/api/v1/providers").await.expect(200).json();
    let providers = providers["items"].as_array().unwrap();
    let github = providers
        .iter()
        .find(|provider| provider["provider"] == "github")
        .unwrap();
    assert_eq!(github["issuer"], URL);
    let required: Vec<_> = github["fields"]
        .as_array()
        .unwrap()
        .iter()
        .filter(|field| field["required"] == true)
        .map(|field| field["name"].as_str().unwrap())
        .collect();
    assert_eq!(required, ["owner", "repository", "workflow"]);
    let issuers = house
        .call(Method::GET, "/api/v1/issuers", "")
        .await
        .expect(200)
        .json();
    assert!(
        issuers["items"]
            .as_array()
            .unwrap()
            .iter()
            .any(|issuer| issuer["url"] == URL && issuer["builtin"] == true),
        "{issuers}"
    );
    // The help page asks for the same.
    let help = house.get("/help/trusted-publishing").await.expect(200);
    for provider in providers {
        for field in provider["fields"].as_array().unwrap() {
            let name = format!("{}=", field["name"].as_str().unwrap());
            assert!(help.text().contains(&name), "{name}");
        }
    }
    assert!(help.text().contains(AUDIENCE));
}

#[tokio::test]
async fn a_minted_token_can_publish_and_give_itself_back_and_manage_nothing() {
    let house = house().await;
    let publisher = house.with_publisher().await;
    let token = house.minted().await;
    let filename = Wheel::new("sample", "0.1").build().filename;
    let kate = house.person("kate", false).await;
    let system = countersign_formats::Ecosystem::Pypi;
    house
        .registry
        .set_role(
            &Actor::operator(),
            system,
            "sample",
            "kate",
            Some(Role::Owner),
        )
        .await
        .unwrap();
    let project = house.get("/api/v1/projects/pypi/sample").await.json();
    let things = Things::of(&house, &kate, publisher["id"].as_str().unwrap()).await;
    let description = description();
    let mut tried = 0;
    for (method, path, operation) in guarded(&description) {
        // What it published it may attest, too.
        let own = ["/api/v1/whoami", "/api/v1/me", "/api/v1/token"].contains(&path.as_str())
            || path.starts_with("/api/v1/attestations/");
        if own {
            continue;
        }
        let address = things.address(&path, &filename);
        let body = body_for(&description, &operation);
        let answer = house.call_as(&token, method.clone(), &address, &body).await;
        assert_eq!(
            answer.status,
            403,
            "{method} {address} {body}: {}",
            answer.text()
        );
        tried += 1;
    }
    assert!(tried >= 70, "{tried}");
    assert_eq!(
        house.get("/api/v1/projects/pypi/sample").await.json(),
        project
    );
    let left = house.call(Method::GET, PUBLISHERS, "").await.expect(200);
    assert_eq!(left.json()["items"][0]["id"], publisher["id"]);
    // It is still good for what it is for.
    house
        .upload_as(&token, &Wheel::new("sample", "1.0"))
        .await
        .expect(200);
}

#[tokio::test]
async fn pages_say_where_files_come_from_and_verify_only_links_to_there() {
    let house = house().await;
    house.with_publisher().await;
    let token = house.minted().await;
    let wheel = Wheel::new("sample", "1.0")
        .metadata_line("Project-URL: Source, https://github.com/Octo/Sample")
        .metadata_line("Project-URL: Popular, https://github.com/somebody/popular");
    house.upload_as(&token, &wheel).await.expect(200);
    for address in ["/project/pypi/sample/", "/project/pypi/sample/1.0/"] {
        let page = house.get(address).await.expect(200);
        let page = page.text();
        for said in [
            "GitHub Actions",
            "https://github.com/octo/sample",
            "7b1fd5d2f37f",
            "release.yml",
        ] {
            assert!(page.contains(said), "{address}: {said}\n{page}");
        }
        assert_eq!(page.matches(">verified<").count(), 1, "{address}");
        assert_eq!(
            page.matches("claimed by the author").count(),
            1,
            "{address}"
        );
        assert!(!page.contains("mona-the-person"), "{address}");
    }
    // A file beside it that came by hand, as an owner said it would, takes the mark away.
    let less = NewException {
        level: TrustLevel::Token,
        hours: 1,
        reason: "by hand, once".to_owned(),
    };
    let system = countersign_formats::Ecosystem::Pypi;
    house
        .registry
        .open_exception(&Actor::operator(), system, "sample", less)
        .await
        .unwrap();
    let by_hand = Sdist::new("sample", "1.0")
        .metadata_line("Project-URL: Source, https://github.com/Octo/Sample");
    house.upload(&by_hand.build()).await.expect(200);
    let page = house.get("/project/pypi/sample/1.0/").await.expect(200);
    assert_eq!(page.text().matches(">verified<").count(), 0);
    assert!(
        page.text().contains("1 file uploaded without"),
        "{}",
        page.text()
    );
    let first = house.get("/project/pypi/sample/0.1/").await.expect(200);
    assert!(first.text().contains("uploaded without a workflow"));
}
