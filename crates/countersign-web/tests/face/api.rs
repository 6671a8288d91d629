use countersign_registry::model::Action;
use http::Method;

use crate::house::{Answer, House, house};

impl House {
    pub async fn call(&self, method: Method, path: &str, body: &str) -> Answer {
        let bearer = format!("Bearer {}", self.token);
        self.ask(method, path, &[("authorization", &bearer)], body.to_owned())
            .await
    }
}

#[tokio::test]
async fn projects_releases_and_files_can_be_looked_up() {
    let house = house().await;
    let (package, path) = house.published("Sample", "1.0").await;
    house.published("other", "2.0").await;
    let found = house
        .get("/api/v1/projects?q=samp")
        .await
        .expect(200)
        .json();
    assert_eq!(
        (found["total"].as_u64(), &found["items"][0]["key"]),
        (Some(1), &"sample".into())
    );
    let page = house
        .get("/api/v1/projects?limit=1&offset=1")
        .await
        .expect(200)
        .json();
    assert_eq!(
        (
            page["total"].as_u64(),
            page["items"].as_array().map(Vec::len)
        ),
        (Some(2), Some(1))
    );
    let project = house
        .get("/api/v1/projects/pypi/SAMPLE")
        .await
        .expect(200)
        .json();
    assert_eq!(project["name"], "Sample");
    assert_eq!(project["people"][0]["user"], "alice");
    assert_eq!(project["releases"][0]["version"], "1.0");
    let release = house
        .get("/api/v1/projects/pypi/sample/releases/1.0")
        .await
        .expect(200)
        .json();
    assert_eq!(release["artifacts"][0]["sha256"], package.sha256());
    let file = house
        .get(&format!(
            "/api/v1/projects/pypi/sample/releases/1.0/files/{}",
            package.filename
        ))
        .await
        .expect(200)
        .json();
    assert_eq!(file["url"], format!("http://localhost:8417{path}"));
    assert_eq!(
        file["proof_url"],
        format!("http://localhost:8417{path}.tlog-proof")
    );
}

#[tokio::test]
async fn errors_are_problems_with_a_code_and_a_way_out() {
    let house = house().await;
    house.published("sample", "1.0").await;
    for (method, path, body, status, code) in [
        (
            Method::GET,
            "/api/v1/projects/pypi/nothing",
            "",
            404,
            "project-unknown",
        ),
        (
            Method::GET,
            "/api/v1/projects/cpan/x",
            "",
            404,
            "ecosystem-unknown",
        ),
        (
            Method::GET,
            "/api/v1/projects/pypi/sample/releases/9",
            "",
            404,
            "release-unknown",
        ),
        (
            Method::GET,
            "/api/v1/projects/pypi/sample/releases/1.0/files/x.whl",
            "",
            404,
            "file-unknown",
        ),
        (
            Method::DELETE,
            "/api/v1/projects/pypi/sample/releases/1.0/files/x.whl",
            "",
            404,
            "file-unknown",
        ),
        (
            Method::GET,
            "/api/v1/projects?limit=many",
            "",
            400,
            "query-malformed",
        ),
        (
            Method::GET,
            "/api/v1/projects?q=a%00b",
            "",
            400,
            "query-malformed",
        ),
        (
            Method::DELETE,
            "/api/v1/tokens/csgn_u_0123456789abcdefghijklmnopqrstuvwxyz",
            "",
            400,
            "token-in-address",
        ),
        (Method::GET, "/api/v1/nothing", "", 404, "no-such-page"),
        (
            Method::PATCH,
            "/api/v1/projects",
            "",
            405,
            "method-not-allowed",
        ),
        (
            Method::POST,
            "/api/v1/projects/pypi/sample/releases/1.0/yank",
            "{",
            400,
            "json-malformed",
        ),
        (
            Method::POST,
            "/api/v1/projects/pypi/sample/releases/1.0/yank",
            r#"{"reasno":"x"}"#,
            400,
            "json-malformed",
        ),
        (
            Method::PUT,
            "/api/v1/projects/pypi/sample/roles/bob",
            r#"{"role":"king"}"#,
            400,
            "json-malformed",
        ),
        (
            Method::DELETE,
            "/api/v1/projects/pypi/sample/roles/alice",
            "",
            400,
            "last-owner",
        ),
        (
            Method::DELETE,
            "/api/v1/tokens/nothing",
            "",
            404,
            "token-unknown",
        ),
    ] {
        let answer = house.call(method.clone(), path, body).await.expect(status);
        assert_eq!(
            answer.header("content-type"),
            "application/problem+json",
            "{method} {path}"
        );
        let problem = answer.json();
        assert_eq!(problem["code"], code, "{method} {path} {problem}");
        assert_eq!(problem["status"], status);
        assert_eq!(
            problem["type"],
            format!("http://localhost:8417/help/errors#{code}")
        );
        assert!(problem["detail"].is_string() && problem["request"].is_string());
    }
    let long = format!(r#"{{"reason":"{}"}}"#, "x".repeat(100_000));
    house
        .call(
            Method::POST,
            "/api/v1/projects/pypi/sample/releases/1.0/yank",
            &long,
        )
        .await
        .expect(413);
}

#[tokio::test]
async fn changes_need_a_token_that_is_good_for_them() {
    let house = house().await;
    house.published("sample", "1.0").await;
    let changes = [
        (
            Method::POST,
            "/api/v1/projects/pypi/sample/releases/1.0/yank",
            "{}",
        ),
        (
            Method::DELETE,
            "/api/v1/projects/pypi/sample/releases/1.0/yank",
            "",
        ),
        (Method::DELETE, "/api/v1/projects/pypi/sample", ""),
        (
            Method::DELETE,
            "/api/v1/projects/pypi/sample/releases/1.0",
            "",
        ),
        (
            Method::PUT,
            "/api/v1/projects/pypi/sample/status",
            r#"{"status":"archived"}"#,
        ),
        (
            Method::PUT,
            "/api/v1/projects/pypi/sample/roles/bob",
            r#"{"role":"owner"}"#,
        ),
        (
            Method::DELETE,
            "/api/v1/projects/pypi/sample/roles/alice",
            "",
        ),
    ];
    let bob = format!("Bearer {}", house.token_for("bob", Action::Manage).await);
    for (method, path, body) in changes {
        let answer = house.ask(method.clone(), path, &[], body).await.expect(401);
        assert_eq!(
            answer.header("www-authenticate"),
            "Basic realm=\"countersign\""
        );
        house
            .ask(method.clone(), path, &[("authorization", &bob)], body)
            .await
            .expect(403);
    }
    house.get("/pypi/simple/sample/").await.expect(200);
}

#[tokio::test]
async fn yank_unyank_and_delete_show_in_the_log() {
    let house = house().await;
    let (package, path) = house.published("sample", "1.0").await;
    house.published("sample", "2.0").await;
    let yank = "/api/v1/projects/pypi/sample/releases/1.0/yank";
    house
        .call(Method::POST, yank, r#"{"reason":"broken"}"#)
        .await
        .expect(204);
    let release = house
        .get("/api/v1/projects/pypi/sample/releases/1.0")
        .await
        .json();
    assert_eq!(release["yanked_reason"], "broken");
    house.call(Method::DELETE, yank, "").await.expect(204);
    assert!(
        house
            .get("/api/v1/projects/pypi/sample/releases/1.0")
            .await
            .json()["yanked"]
            .is_null()
    );
    let file = format!(
        "/api/v1/projects/pypi/sample/releases/1.0/files/{}",
        package.filename
    );
    house.call(Method::DELETE, &file, "").await.expect(204);
    house.get(&path).await.expect(410);
    for attempt in 0.. {
        let events = house
            .get("/api/v1/projects/pypi/sample/events")
            .await
            .expect(200)
            .json();
        let kinds: Vec<&str> = events["items"]
            .as_array()
            .unwrap()
            .iter()
            .filter_map(|event| event["kind"].as_str())
            .collect();
        if kinds.len() >= 5 {
            assert!(
                events["items"]
                    .as_array()
                    .unwrap()
                    .is_sorted_by_key(|event| std::cmp::Reverse(event["leaf"].as_u64()))
            );
            break;
        }
        assert!(attempt < 100, "{events}");
        tokio::time::sleep(std::time::Duration::from_millis(20)).await;
    }
    let first = house
        .get("/api/v1/log/events?limit=2")
        .await
        .expect(200)
        .json();
    let next = first["next"].as_u64().unwrap();
    let second = house
        .get(&format!("/api/v1/log/events?limit=2&before={next}"))
        .await
        .expect(200)
        .json();
    assert!(second["items"][0]["leaf"].as_u64().unwrap() < next);
}

#[tokio::test]
async fn the_caller_sees_and_revokes_its_own_tokens() {
    let house = house().await;
    let me = house
        .call(Method::GET, "/api/v1/whoami", "")
        .await
        .expect(200)
        .json();
    assert_eq!(
        (&me["name"], &me["scope"]["action"]),
        (&"alice".into(), &"manage".into())
    );
    house.get("/api/v1/whoami").await.expect(401);
    let other = house.token_for("alice", Action::Publish).await;
    let tokens = house
        .call(Method::GET, "/api/v1/tokens", "")
        .await
        .expect(200);
    assert!(
        !tokens.text().contains(&house.token),
        "a listed token is not revealed"
    );
    let tokens = tokens.json();
    let publish = tokens["items"]
        .as_array()
        .unwrap()
        .iter()
        .find(|token| token["scope"]["action"] == "publish")
        .unwrap();
    let id = publish["id"].as_str().unwrap();
    house
        .call(Method::DELETE, &format!("/api/v1/tokens/{id}"), "")
        .await
        .expect(204);
    let answer = house
        .get_with("/api/v1/whoami", &[("authorization", &other)])
        .await
        .expect(401);
    assert_eq!(answer.json()["code"], "token-revoked");
}

#[tokio::test]
async fn roles_are_given_and_taken() {
    let house = house().await;
    house.published("sample", "1.0").await;
    house
        .call(
            Method::PUT,
            "/api/v1/projects/pypi/sample/roles/bob",
            r#"{"role":"maintainer"}"#,
        )
        .await
        .expect(204);
    let project = house.get("/api/v1/projects/pypi/sample").await.json();
    assert!(
        project["people"]
            .as_array()
            .unwrap()
            .iter()
            .any(|person| person["user"] == "bob" && person["role"] == "maintainer")
    );
    house
        .call(Method::DELETE, "/api/v1/projects/pypi/sample/roles/bob", "")
        .await
        .expect(204);
    assert_eq!(
        house.get("/api/v1/projects/pypi/sample").await.json()["people"]
            .as_array()
            .map(Vec::len),
        Some(1)
    );
}

#[tokio::test]
async fn the_description_is_served() {
    let house = house().await;
    let description = house.get("/api/v1/openapi.json").await.expect(200).json();
    assert!(description["paths"]["/api/v1/projects"]["get"].is_object());
    assert_eq!(description["info"]["title"], "Countersign");
}
