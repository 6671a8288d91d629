use http::Method;

use crate::house::house;

const JSON: &str = "application/vnd.pypi.simple.v1+json";
const HTML: &str = "application/vnd.pypi.simple.v1+html";
const PIP: &str = "application/vnd.pypi.simple.v1+json, application/vnd.pypi.simple.v1+html; q=0.1, text/html; q=0.01";

#[tokio::test]
async fn a_project_page_comes_in_the_form_the_client_prefers() {
    let house = house().await;
    let (package, path) = house.published("Sample.Package", "1.0").await;
    for (accept, content_type) in [
        (PIP, JSON),
        (JSON, JSON),
        (HTML, HTML),
        ("text/html", "text/html; charset=utf-8"),
        ("*/*", "text/html; charset=utf-8"),
        ("application/vnd.pypi.simple.latest+json", JSON),
    ] {
        // Twice: from the database and from memory.
        for _ in 0..2 {
            let answer = house
                .get_with("/pypi/simple/sample-package/", &[("accept", accept)])
                .await
                .expect(200);
            assert_eq!(answer.header("content-type"), content_type, "{accept}");
            assert_eq!(answer.header("vary"), "Accept");
            assert_eq!(answer.header("cache-control"), "max-age=600, public");
            assert_eq!(
                answer.header("content-length"),
                answer.body.len().to_string()
            );
            assert!(answer.header("x-pypi-last-serial").parse::<u64>().is_ok());
            assert!(answer.header("etag").starts_with('"'));
            assert!(
                answer.text().contains(&package.filename) && answer.text().contains(&path),
                "{}",
                answer.text()
            );
        }
    }
    let page = house
        .get_with("/pypi/simple/sample-package/", &[("accept", JSON)])
        .await
        .json();
    assert_eq!(page["meta"]["api-version"], "1.4");
    assert_eq!(page["name"], "sample-package");
    assert_eq!(page["files"][0]["hashes"]["sha256"], package.sha256());
}

#[tokio::test]
async fn an_accept_header_that_nothing_fits_gets_406_with_the_choices() {
    let house = house().await;
    house.published("sample", "1.0").await;
    for path in ["/pypi/simple/sample/", "/pypi/simple/"] {
        let answer = house
            .get_with(path, &[("accept", "image/png")])
            .await
            .expect(406);
        assert!(
            answer.text().contains(JSON) && answer.text().contains("/help/errors#not-acceptable"),
            "{}",
            answer.text()
        );
    }
}

#[tokio::test]
async fn the_format_parameter_chooses_too() {
    let house = house().await;
    house.published("sample", "1.0").await;
    let answer = house
        .get(&format!("/pypi/simple/sample/?format={JSON}"))
        .await
        .expect(200);
    assert_eq!(answer.header("content-type"), JSON);
}

#[tokio::test]
async fn other_spellings_move_to_the_normal_one() {
    let house = house().await;
    house.published("sample-package", "1.0").await;
    for path in [
        "/pypi/simple/Sample_Package/",
        "/pypi/simple/sample-package",
        "/pypi/simple/sample.-.package",
        "/pypi/simple/sample%2Dpackage/",
    ] {
        let answer = house.get(path).await.expect(301);
        assert_eq!(
            answer.header("location"),
            "/pypi/simple/sample-package/",
            "{path}"
        );
    }
    let answer = house
        .get("/pypi/simple/Sample_Package?format=x")
        .await
        .expect(301);
    assert_eq!(
        answer.header("location"),
        "/pypi/simple/sample-package/?format=x"
    );
    assert_eq!(
        house
            .get("/pypi/simple")
            .await
            .expect(301)
            .header("location"),
        "/pypi/simple/"
    );
}

#[tokio::test]
async fn unknown_projects_and_impossible_names_are_404_so_that_clients_ask_the_next_index() {
    let house = house().await;
    for path in [
        "/pypi/simple/nothing/",
        "/pypi/simple/%E2%84%AAelvin/",
        "/pypi/simple/-x-/",
        "/pypi/simple/a%2Fb/",
    ] {
        let answer = house.get(path).await.expect(404);
        assert_eq!(
            answer.header("content-type"),
            "text/plain; charset=utf-8",
            "{path}"
        );
        assert!(
            answer.text().contains("#project-unknown"),
            "{path} {}",
            answer.text()
        );
        assert_eq!(answer.header("cache-control"), "no-store");
    }
}

#[tokio::test]
async fn a_client_that_has_the_page_gets_304_with_the_same_headers() {
    let house = house().await;
    house.published("sample", "1.0").await;
    let first = house
        .get_with("/pypi/simple/sample/", &[("accept", PIP)])
        .await
        .expect(200);
    let etag = first.header("etag").to_owned();
    for tags in [
        etag.clone(),
        format!("W/{etag}"),
        format!("\"x\", {etag}"),
        "*".to_owned(),
    ] {
        let answer = house
            .get_with(
                "/pypi/simple/sample/",
                &[("accept", PIP), ("if-none-match", &tags)],
            )
            .await
            .expect(304);
        assert!(answer.body.is_empty());
        for name in ["etag", "vary", "cache-control", "x-pypi-last-serial"] {
            assert_eq!(answer.header(name), first.header(name));
        }
    }
    house
        .get_with(
            "/pypi/simple/sample/",
            &[("accept", PIP), ("if-none-match", "\"old\"")],
        )
        .await
        .expect(200);
    house.published("sample", "2.0").await;
    let answer = house
        .get_with(
            "/pypi/simple/sample/",
            &[("accept", PIP), ("if-none-match", &etag)],
        )
        .await
        .expect(200);
    assert!(
        answer.text().contains("2.0"),
        "a publish that was answered is readable at once"
    );
}

#[tokio::test]
async fn head_tells_the_length_and_sends_nothing() {
    let house = house().await;
    house.published("sample", "1.0").await;
    for path in ["/pypi/simple/", "/pypi/simple/sample/", "/pypi/sample/json"] {
        let whole = house.get(path).await.expect(200);
        for _ in 0..2 {
            let head = house.ask(Method::HEAD, path, &[], "").await.expect(200);
            assert!(head.body.is_empty());
            assert_eq!(
                head.header("content-length"),
                whole.body.len().to_string(),
                "{path}"
            );
            assert_eq!(head.header("etag"), whole.header("etag"));
        }
    }
}

#[tokio::test]
async fn the_list_of_projects_comes_in_both_forms() {
    let house = house().await;
    house.published("sample", "1.0").await;
    let answer = house
        .get_with("/pypi/simple/", &[("accept", JSON)])
        .await
        .expect(200);
    assert_eq!(answer.json()["projects"][0]["name"], "sample");
    assert!(
        house
            .get("/pypi/simple/")
            .await
            .expect(200)
            .text()
            .contains("href")
    );
}

#[tokio::test]
async fn legacy_json_is_served_at_both_addresses() {
    let house = house().await;
    let (package, _) = house.published("Sample", "1.0").await;
    for path in [
        "/pypi/sample/json",
        "/pypi/pypi/sample/json",
        "/pypi/SAMPLE/1.0/json",
        "/pypi/pypi/sample/1.0.0/json",
    ] {
        let answer = house.get(path).await.expect(200);
        assert_eq!(answer.header("content-type"), "application/json", "{path}");
        let body = answer.json();
        assert_eq!(body["info"]["version"], "1.0", "{path}");
        assert_eq!(
            body["urls"][0]["digests"]["sha256"],
            package.sha256(),
            "{path}"
        );
    }
    house.get("/pypi/nothing/json").await.expect(404);
    house.get("/pypi/sample/9.9/json").await.expect(404);
    house.get("/pypi/sample/nonsense/json").await.expect(404);
}

#[tokio::test]
async fn another_method_is_405_and_says_what_is_allowed() {
    let house = house().await;
    let answer = house
        .ask(Method::PUT, "/pypi/simple/sample/", &[], "")
        .await
        .expect(405);
    assert_eq!(answer.header("allow"), "GET,HEAD");
    assert!(answer.text().contains("#method-not-allowed"));
}

#[tokio::test]
async fn yanked_releases_say_so_at_once() {
    let house = house().await;
    house.published("sample", "1.0").await;
    let bearer = format!("Bearer {}", house.token);
    house
        .ask(
            Method::POST,
            "/api/v1/projects/pypi/sample/releases/1.0/yank",
            &[("authorization", &bearer)],
            r#"{"reason":"broken on Tuesdays"}"#,
        )
        .await
        .expect(204);
    // Memory may be believed for a moment, the change must come by itself.
    for attempt in 0.. {
        let page = house
            .get_with("/pypi/simple/sample/", &[("accept", JSON)])
            .await
            .json();
        if page["files"][0]["yanked"] == "broken on Tuesdays" {
            break;
        }
        assert!(attempt < 100, "{page}");
        tokio::time::sleep(std::time::Duration::from_millis(20)).await;
    }
}
