//! A restricted instance shows nothing to strangers, whatever they ask for.

use countersign_registry::model::{Action, Actor, Visibility};
use countersign_testkit::packages::Wheel;
use http::Method;

use crate::house::{House, house_with};

async fn restricted() -> House {
    house_with(|settings, _| settings.visibility = Visibility::Restricted).await
}

/// Every address that the face answers, with one that it does not.
fn addresses(package_path: &str) -> Vec<String> {
    let mut all: Vec<String> = [
        "/",
        "/search?q=x",
        "/project/pypi/sample/",
        "/project/pypi/sample/1.0/",
        "/log/",
        "/log/event/0",
        "/help/",
        "/help/errors",
        "/help/publish",
        "/help/trusted-publishing",
        "/help/verify",
        "/robots.txt",
        "/favicon.ico",
        "/pypi/simple",
        "/pypi/simple/",
        "/pypi/simple/sample",
        "/pypi/simple/sample/",
        "/pypi/simple/unknown/",
        "/pypi/legacy",
        "/pypi/legacy/",
        "/pypi/sample/json",
        "/pypi/sample/1.0/json",
        "/pypi/pypi/sample/json",
        "/pypi/pypi/sample/1.0/json",
        "/log/1/checkpoint",
        "/log/1/tile/0/000.p/1",
        "/log/1/tile/entries/000.p/1",
        "/log/1/leaf/0.tlog-proof",
        "/.well-known/countersign.json",
        "/metrics",
        "/api/v1/openapi.json",
        "/api/v1/log/events",
        "/nothing/is/here",
    ]
    .map(str::to_owned)
    .to_vec();
    all.extend(["", ".metadata", ".tlog-proof"].map(|suffix| format!("{package_path}{suffix}")));
    let description: serde_json::Value =
        serde_json::from_str(countersign_web::api::openapi_json()).unwrap();
    for path in description["paths"].as_object().unwrap().keys() {
        // A service for a registry elsewhere has tokens of its own, and knows no readers (`service.rs`).
        if path.starts_with("/api/v1/service/") {
            continue;
        }
        all.push(
            path.replace("{ecosystem}", "pypi")
                .replace("{name}", "sample")
                .replace("{version}", "1.0")
                .replace(['{', '}'], ""),
        );
    }
    all
}

#[tokio::test]
async fn strangers_get_401_everywhere_and_learn_nothing() {
    let house = restricted().await;
    let (package, path) = house.published("sample", "1.0").await;
    let basic = house.basic();
    // What lies in memory is no way around the gate.
    house
        .get_with("/pypi/simple/sample/", &[("authorization", &basic)])
        .await
        .expect(200);
    house
        .get_with(&path, &[("authorization", &basic)])
        .await
        .expect(200);
    let addresses = addresses(&path);
    assert!(addresses.len() > 45, "{}", addresses.len());
    for address in addresses {
        for method in [
            Method::GET,
            Method::HEAD,
            Method::POST,
            Method::PUT,
            Method::DELETE,
            Method::OPTIONS,
        ] {
            // Each has a check of its own; who found a token, or has none yet, is heard.
            let open = ["/pypi/legacy", "/api/v1/login", "/api/v1/secrets/report"];
            // Who gets back in has nothing to show yet.
            let back = [
                "/api/v1/recovery",
                "/api/v1/recovery/password",
                "/api/v1/recovery/status",
            ];
            if method == Method::POST
                && (open.iter().any(|open| address.starts_with(open))
                    || back.contains(&address.as_str()))
            {
                continue;
            }
            for credential in ["", "Bearer nonsense", "Basic eDp5"] {
                let headers = [("authorization", credential)];
                let headers = if credential.is_empty() {
                    &headers[..0]
                } else {
                    &headers[..]
                };
                let answer = house.ask(method.clone(), &address, headers, "").await;
                assert_eq!(answer.status, 401, "{method} {address} {credential:?}");
                assert_eq!(
                    answer.header("www-authenticate"),
                    "Basic realm=\"countersign\"",
                    "{method} {address}"
                );
                let body = String::from_utf8_lossy(&answer.body);
                assert!(
                    !body.contains(&package.sha256()) && !body.contains("sample"),
                    "{method} {address} {body}"
                );
            }
        }
    }
}

#[tokio::test]
async fn readers_with_a_token_read_and_nobody_else_may_keep_what_they_read() {
    let house = restricted().await;
    let (_, path) = house.published("sample", "1.0").await;
    let reader = house.token_for("bob", Action::Read).await;
    let basic = countersign_testkit::http::basic_authorization("__token__", &reader);
    for address in [
        "/pypi/simple/",
        "/pypi/simple/sample/",
        "/pypi/sample/json",
        "/log/1/checkpoint",
        path.as_str(),
    ] {
        for _ in 0..2 {
            let answer = house
                .get_with(address, &[("authorization", &basic)])
                .await
                .expect(200);
            assert!(
                answer.header("cache-control").contains("private"),
                "{address} {}",
                answer.header("cache-control")
            );
            assert!(answer.header("vary").contains("Authorization"), "{address}");
            assert_eq!(answer.header("access-control-allow-origin"), "");
        }
    }
    house
        .get_with("/metrics", &[("authorization", &basic)])
        .await
        .expect(200);
}

#[tokio::test]
async fn health_security_contact_and_style_are_open_and_say_little() {
    let house = restricted().await;
    let health = house.get("/healthz").await.expect(200);
    assert_eq!(health.json(), serde_json::json!({"ok": true}));
    let basic = house.basic();
    assert!(
        house
            .get_with("/healthz", &[("authorization", &basic)])
            .await
            .json()["log_size"]
            .is_u64()
    );
    house.get("/.well-known/security.txt").await.expect(200);
    for policy in ["", "vulnerability-disclosure", "account-recovery"] {
        house.get(&format!("/policies/{policy}")).await.expect(200);
    }
    assert_ne!(house.get("/static/nothing.css").await.status, 401);
}

#[tokio::test]
async fn publishing_without_a_token_is_403_here_too() {
    let house = restricted().await;
    let package = Wheel::new("sample", "1.0").build();
    house
        .upload_with(&package, &package.form(), &[("authorization", "")])
        .await
        .expect(403);
    house.upload(&package).await.expect(200);
}

#[tokio::test]
async fn an_enrolment_link_opens_for_whoever_has_no_token_yet_and_a_wrong_one_says_nothing() {
    let house = restricted().await;
    let made = house
        .registry
        .create_user(&Actor::operator(), "carol", None, false)
        .await
        .unwrap();
    let path = format!("/enrol/{}", made.enrolment.unwrap());
    for _ in 0..2 {
        let page = house.get(&path).await.expect(200);
        assert!(page.text().contains("Welcome, carol"), "{}", page.text());
        assert_eq!(page.header("cache-control"), "no-store");
        assert_eq!(page.header("referrer-policy"), "same-origin");
    }
    let wrong = "/enrol/csgn_s_0123456789abcdefghijklmnopqrstuvwxyzABCDEFG";
    let refused = house.get(wrong).await.expect(401);
    assert_eq!(refused.header("www-authenticate"), "");
    assert!(!refused.text().contains("carol"), "{}", refused.text());
    for path in ["/sign-in", "/recover", "/leaked"] {
        house.get(path).await.expect(200);
    }
    for path in ["/account", "/account/security", "/operator"] {
        let answer = house.get(path).await.expect(303);
        assert!(answer.header("location").starts_with("/sign-in?return="));
    }
    for path in ["/org/any", "/projects/pypi/any/settings"] {
        house.get(path).await.expect(401);
    }
}
