use http::Method;

use crate::house::{house, house_with};

#[tokio::test]
async fn health_says_that_publishing_works() {
    let house = house().await;
    let answer = house.get("/healthz").await.expect(200);
    assert_eq!(answer.json()["ok"], true);
    assert_eq!(answer.header("cache-control"), "no-store");
}

#[tokio::test]
async fn metrics_count_requests_and_publishes() {
    let house = house().await;
    house.published("sample", "1.0").await;
    for _ in 0..3 {
        house.get("/pypi/simple/sample/").await.expect(200);
    }
    house.get("/pypi/simple/nothing/").await.expect(404);
    let text = house.get("/metrics").await.expect(200).text().to_owned();
    for line in [
        "countersign_requests_total{route=\"index\",status=\"200\"} 3",
        "countersign_requests_total{route=\"index\",status=\"404\"} 1",
        "countersign_requests_total{route=\"upload\",status=\"200\"} 1",
        "countersign_publish_seconds_count 1",
        "countersign_healthy 1",
    ] {
        assert!(text.lines().any(|found| found == line), "{line}\n{text}");
    }
    assert!(text.contains("countersign_checkpoint_age_seconds "));
}

#[tokio::test]
async fn security_txt_follows_its_rfc() {
    let house = house().await;
    let answer = house.get("/.well-known/security.txt").await.expect(200);
    assert_eq!(answer.header("content-type"), "text/plain; charset=utf-8");
    let field = |name: &str| {
        let prefix = format!("{name}: ");
        answer
            .text()
            .lines()
            .find_map(|line| line.strip_prefix(&prefix).map(str::to_owned))
            .unwrap_or_default()
    };
    assert_eq!(field("Contact"), "mailto:security@example.org");
    assert_eq!(
        field("Canonical"),
        "http://localhost:8417/.well-known/security.txt"
    );
    assert!(
        field("Expires").ends_with("T00:00:00Z") && field("Expires").starts_with("20"),
        "{}",
        field("Expires")
    );
    assert_eq!(field("Preferred-Languages"), "en");
    assert_eq!(
        field("Policy"),
        "http://localhost:8417/policies/vulnerability-disclosure"
    );
    let fixed = house_with(|_, face| {
        face.security_contact
            .push("https://example.org/\nPolicy: x".into());
        face.security_txt.expires = Some("2027-06-30".parse().unwrap());
        face.security_txt.encryption = Some("https://example.org/key".into());
    })
    .await;
    let answer = fixed.get("/.well-known/security.txt").await.expect(200);
    assert_eq!(
        answer.text(),
        "Contact: mailto:security@example.org\nContact: https://example.org/ Policy: x\n\
         Expires: 2027-06-30T00:00:00Z\nEncryption: https://example.org/key\nPreferred-Languages: en\n\
         Policy: http://localhost:8417/policies/vulnerability-disclosure\n\
         Canonical: http://localhost:8417/.well-known/security.txt\n"
    );
    let without = house_with(|_, face| face.security_contact.clear()).await;
    without.get("/.well-known/security.txt").await.expect(404);
}

/// A policy says what the software does: turn the setting, and the page says something else.
#[tokio::test]
async fn policies_are_filled_from_what_is_enforced_dated_and_linked_from_every_page() {
    let own = "Reviewed: 2026-11-02\n\n# House rules\n\nOf {{operator}}.\n".to_owned();
    let house = house_with(|settings, face| {
        settings.delete = countersign_registry::DeletePolicy::Never;
        face.operator = Some("the Example Foundation".into());
        face.policies = countersign_web::Policies::read(&[("house-rules".into(), own)]).unwrap();
    })
    .await;
    let front = house.get("/").await.expect(200);
    for link in ["/policies/", "/policies/vulnerability-disclosure"] {
        assert!(front.text().contains(&format!("href=\"{link}\"")), "{link}");
    }
    let list = house.get("/policies/").await.expect(200);
    assert!(
        list.text()
            .contains("House rules</a> <span class=\"sub\">reviewed 2026-11-02")
    );
    for policy in house.get("/.well-known/countersign.json").await.json()["policies"]
        .as_array()
        .unwrap()
    {
        let name = policy["name"].as_str().unwrap();
        let page = house.get(&format!("/policies/{name}")).await.expect(200);
        assert!(!page.text().contains("{{"), "{name}");
        let words = match policy["reviewed"].as_str() {
            Some(day) => format!("reviewed {day}."),
            None => "has not reviewed it yet".to_owned(),
        };
        assert!(page.text().contains(&words), "{name}");
    }
    let said = house.get("/policies/house-rules").await.expect(200);
    assert!(said.text().contains("Of the Example Foundation."));
    let recovery = house.get("/policies/account-recovery").await.expect(200);
    let enforced = house.registry.recovery_policy();
    assert!(
        recovery
            .text()
            .contains(&format!("<h2>{} hours of waiting", enforced.wait_hours))
    );
    let moved = house.get("/help/recovery").await.expect(308);
    assert_eq!(moved.header("location"), "/policies/account-recovery");
    house.get("/policies/nothing").await.expect(404);
}

#[tokio::test]
async fn the_page_on_deletion_is_what_the_configuration_enforces() {
    use countersign_registry::DeletePolicy;
    let week = std::time::Duration::from_secs(7 * 86_400);
    let npm = DeletePolicy::preset("npm-like").unwrap();
    for (policy, on_page, asked) in [
        (DeletePolicy::Never, "Only the operator deletes.", ""),
        (
            DeletePolicy::Always,
            "may delete what they published at any time",
            "projects at any time.",
        ),
        (
            DeletePolicy::Within(week),
            "until 7 days after it was published",
            "within 168 hours",
        ),
        (
            npm,
            "fewer than 300 times in 7 days",
            "fewer than 300 times in 7 days",
        ),
    ] {
        let house = house_with(|settings, _| settings.delete = policy).await;
        let page = house.get("/policies/deletion").await.expect(200);
        let text = page.text().split_whitespace().collect::<Vec<_>>().join(" ");
        assert!(text.contains(on_page), "{on_page}: {text}");
        house.published("sample", "0.1").await;
        let bearer = format!("Bearer {}", house.token);
        let path = "/api/v1/projects/pypi/sample/deletion?version=0.1";
        let told = house.get_with(path, &[("authorization", &bearer)]).await;
        if asked.is_empty() {
            assert_eq!(told.expect(403).json()["code"], "deletion-closed");
            continue;
        }
        let told = told.expect(200).json();
        let mut sentences = told["policy"].as_array().unwrap().iter();
        assert!(sentences.any(|one| one.as_str().unwrap().contains(asked)));
        assert_eq!(told["files"][0], "sample-0.1-py3-none-any.whl");
        // It was a question.
        house.get("/pypi/simple/sample/").await.expect(200);
    }
}

#[tokio::test]
async fn the_well_known_file_tells_clients_where_to_begin() {
    let house = house().await;
    let body = house
        .get("/.well-known/countersign.json")
        .await
        .expect(200)
        .json();
    assert_eq!(body["log"]["origin"], "localhost:8417/log/1");
    assert_eq!(body["log"]["url"], "http://localhost:8417/log/1/");
    assert_eq!(body["log"]["earlier"], serde_json::json!([]));
    assert_eq!(body["visibility"], "public");
    let key = body["log"]["verifier_keys"][0].as_str().unwrap();
    assert!(key.starts_with("localhost:8417/log/1+"), "{key}");
    let signers = body["attestation_keys"].as_array().unwrap();
    assert_eq!(signers.len(), 1);
    assert!(signers[0]["hint"].as_str().unwrap().starts_with("SHA256:"));
    assert!(
        signers[0]["pem"]
            .as_str()
            .unwrap()
            .starts_with("-----BEGIN PUBLIC KEY-----\n")
    );
    assert_eq!(signers[0]["until"], serde_json::Value::Null);
    let policy = house.get("/help/provenance/policy.md").await.expect(200);
    assert_eq!(
        policy.text(),
        include_str!("../../../../docs/spec/provenance.md")
    );
    assert_eq!(
        body["endpoints"]["pypi"]["upload"],
        "http://localhost:8417/pypi/legacy/"
    );
}

#[tokio::test]
async fn every_answer_of_the_router_carries_an_id_and_guards() {
    let house = house().await;
    for path in [
        "/pypi/simple/nothing/",
        "/api/v1/projects",
        "/nothing",
        "/healthz",
        "/",
    ] {
        let answer = house.get(path).await;
        let id = answer.header("x-request-id").to_owned();
        assert_eq!(id.len(), 36, "{path}");
        assert_eq!(answer.header("x-content-type-options"), "nosniff", "{path}");
        assert!(
            answer
                .header("content-security-policy")
                .contains("default-src 'none'"),
            "{path}"
        );
        if answer.status.is_client_error() {
            assert!(answer.text().contains(&id), "{path} {}", answer.text());
        }
    }
    assert_ne!(
        house.get("/nothing").await.header("x-request-id"),
        house.get("/nothing").await.header("x-request-id")
    );
}

#[tokio::test]
async fn answers_from_memory_carry_the_same_guards() {
    let house = house().await;
    let (_, path) = house.published("sample", "1.0").await;
    for path in ["/pypi/simple/sample/", &path] {
        // The first answer may fill the memory; the second comes from it.
        for _ in 0..2 {
            let answer = house.get(path).await.expect(200);
            assert_eq!(answer.header("x-content-type-options"), "nosniff", "{path}");
            assert_eq!(answer.header("referrer-policy"), "same-origin", "{path}");
            assert_eq!(answer.header("x-frame-options"), "DENY", "{path}");
            assert!(
                answer
                    .header("content-security-policy")
                    .starts_with("default-src 'none'"),
                "{path}"
            );
        }
    }
}

#[tokio::test]
async fn what_a_page_of_another_site_makes_a_browser_send_changes_nothing() {
    let house = house().await;
    house.published("sample", "1.0").await;
    let basic = house.basic();
    let yank = "/api/v1/projects/pypi/sample/releases/1.0/yank";
    for elsewhere in [
        ("origin", "https://evil.example"),
        ("origin", "null"),
        ("origin", "https://localhost:8417"),
        ("origin", "http://localhost:8417.evil.example"),
        ("sec-fetch-site", "cross-site"),
        ("sec-fetch-site", "same-site"),
    ] {
        for path in [yank, "/pypi/legacy/", "/nothing"] {
            let headers = [
                ("authorization", basic.as_str()),
                ("host", "127.0.0.1:8417"),
                elsewhere,
            ];
            let answer = house
                .ask(Method::POST, path, &headers, "{}")
                .await
                .expect(403);
            assert!(answer.text().contains("cross-site"), "{elsewhere:?} {path}");
        }
        house.get_with("/log/", &[elsewhere]).await.expect(200);
        house
            .get_with("/pypi/simple/sample/", &[elsewhere])
            .await
            .expect(200);
    }
    for here in [
        ("origin", "http://localhost:8417"),
        ("origin", "http://127.0.0.1:8417"),
        ("sec-fetch-site", "same-origin"),
        ("sec-fetch-site", "none"),
    ] {
        let headers = [
            ("authorization", basic.as_str()),
            ("host", "127.0.0.1:8417"),
            here,
        ];
        house
            .ask(Method::POST, yank, &headers, "{}")
            .await
            .expect(204);
    }
}

#[tokio::test]
async fn a_wrong_credential_does_not_stop_readers_of_a_public_instance() {
    let house = house().await;
    house.published("sample", "1.0").await;
    for path in [
        "/pypi/simple/sample/",
        "/pypi/sample/json",
        "/",
        "/log/1/checkpoint",
    ] {
        house
            .get_with(path, &[("authorization", "Basic bmV0cmM6b3RoZXI=")])
            .await
            .expect(200);
    }
}
