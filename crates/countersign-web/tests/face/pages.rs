//! The pages over a real registry: every link leads somewhere, caches tell the truth, strangers are told how to enter.

use std::collections::{BTreeSet, VecDeque};

use countersign_formats::Ecosystem;
use countersign_registry::Deletion;
use countersign_registry::model::{Action, Actor, Visibility};
use countersign_testkit::packages::{Sdist, Wheel};
use http::Method;

use crate::house::{House, house, house_with};

/// What browsers send.
const BROWSER: (&str, &str) = (
    "accept",
    "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8",
);

async fn furnished() -> House {
    let house = house().await;
    let wheel = Wheel::new("Sample_Thing", "1.0")
        .readme("# Sample\n\n<script>alert(1)</script>\n\n[inside](#sample) ![far](https://far.example/x.png)\n")
        .requires("other>=1")
        .build();
    house.upload(&wheel).await.expect(200);
    house
        .upload(&Sdist::new("Sample_Thing", "1.0").build())
        .await
        .expect(200);
    house
        .upload(&Wheel::new("Sample_Thing", "1.1rc1").build())
        .await
        .expect(200);
    house.published("other", "2.0").await;
    house
}

/// Addresses of this site that a page links to.
fn links(page: &str) -> BTreeSet<String> {
    let attributes = page.split("href=\"").skip(1).chain(
        page.split("action=\"")
            .skip(1)
            .filter(|rest| rest.split('>').next().unwrap().contains("method=\"get\"")),
    );
    attributes
        .filter_map(|rest| rest.split('"').next())
        .filter(|address| address.starts_with('/'))
        .map(|address| {
            address
                .split('#')
                .next()
                .unwrap()
                .replace("&#38;", "&")
                .replace("&amp;", "&")
        })
        .collect()
}

#[tokio::test]
async fn every_link_of_every_page_leads_somewhere() {
    let house = furnished().await;
    let (mut seen, mut waiting) = (
        BTreeSet::new(),
        VecDeque::from(["/".to_owned(), "/search?q=a".to_owned()]),
    );
    while let Some(path) = waiting.pop_front() {
        if !seen.insert(path.clone()) {
            continue;
        }
        let answer = house.get_with(&path, &[BROWSER]).await;
        // Pages of one's own lead to the sign-in page.
        if answer.status.as_u16() == 303 {
            assert!(path.starts_with("/account"), "{path}");
            waiting.push_back(answer.header("location").to_owned());
            continue;
        }
        assert_eq!(answer.status.as_u16(), 200, "{path}");
        if answer.header("content-type").starts_with("text/html") && !path.starts_with("/pypi/") {
            waiting.extend(links(answer.text()));
        }
    }
    for path in [
        "/project/pypi/sample-thing/",
        "/project/pypi/sample-thing/1.0/",
        "/log/event/0",
        "/help/errors",
        "/log/1/checkpoint",
    ] {
        assert!(seen.contains(path), "nobody links to {path}: {seen:#?}");
    }
    assert!(
        seen.iter().any(|path| path.ends_with(".tlog-proof"))
            && seen.iter().any(|path| path.ends_with(".whl"))
    );
}

#[tokio::test]
async fn pages_carry_their_policy_and_are_not_sent_twice() {
    let house = furnished().await;
    for path in [
        "/",
        "/project/pypi/sample-thing/",
        "/project/pypi/sample-thing/1.0/",
        "/log/",
        "/help/",
    ] {
        let answer = house.get(path).await.expect(200);
        assert!(
            answer
                .header("content-security-policy")
                .starts_with("default-src 'none'; style-src 'self'"),
            "{path}"
        );
        assert_eq!(answer.header("content-type"), "text/html; charset=utf-8");
        let etag = answer.header("etag").to_owned();
        let again = house
            .get_with(path, &[("if-none-match", &format!("\"x\", W/{etag}"))])
            .await
            .expect(304);
        assert!(again.body.is_empty());
        house
            .get_with(path, &[("if-none-match", "\"x\"")])
            .await
            .expect(200);
        let head = house.ask(Method::HEAD, path, &[], "").await.expect(200);
        assert_eq!((head.body.len(), head.header("etag")), (0, etag.as_str()));
    }
    let css = links(house.get("/").await.text())
        .into_iter()
        .find(|link| link.ends_with(".css"))
        .unwrap();
    let css = house.get(&css).await.expect(200);
    assert!(css.header("cache-control").contains("immutable"));
}

#[tokio::test]
async fn a_description_is_shown_and_disarmed() {
    let house = furnished().await;
    let page = house.get("/project/pypi/sample-thing/").await.expect(200);
    let text = page.text();
    assert!(
        text.contains("<h3 id=\"readme-sample\">Sample</h3>"),
        "{text}"
    );
    assert!(text.contains("href=\"https://far.example/x.png\""));
    assert!(!text.contains("<script") && !text.contains("<img"));
    let release = house
        .get("/project/pypi/sample-thing/1.0/")
        .await
        .expect(200);
    assert!(release.text().contains("href=\"/project/pypi/other/\""));
    assert!(
        release
            .text()
            .contains("sample_<wbr>thing-<wbr>1.<wbr>0.<wbr>tar.<wbr>gz")
    );
}

#[tokio::test]
async fn other_spellings_of_an_address_lead_to_the_one() {
    let house = furnished().await;
    for (path, target) in [
        ("/project/pypi/Sample.Thing/", "/project/pypi/sample-thing/"),
        (
            "/project/pypi/Sample.Thing/1.0/",
            "/project/pypi/sample-thing/1.0/",
        ),
        ("/project/pypi/sample-thing", "/project/pypi/sample-thing/"),
        (
            "/project/pypi/sample-thing/1.0",
            "/project/pypi/sample-thing/1.0/",
        ),
        ("/log", "/log/"),
        ("/help/errors/", "/help/errors"),
        ("/search/?q=a&page=2", "/search?q=a&page=2"),
    ] {
        let answer = house.get(path).await;
        assert!(answer.status.is_redirection(), "{path}: {}", answer.status);
        assert_eq!(answer.header("location"), target, "{path}");
    }
}

#[tokio::test]
async fn what_changes_is_seen_at_once() {
    let house = furnished().await;
    let (project, release) = (
        "/project/pypi/sample-thing/",
        "/project/pypi/sample-thing/1.0/",
    );
    assert!(!house.get(release).await.text().contains("Reason:"));
    let operator = Actor::operator();
    let pypi = Ecosystem::Pypi;
    house
        .registry
        .yank(
            &operator,
            pypi,
            "sample-thing",
            "1.0",
            "smells of <b>fire</b>",
        )
        .await
        .unwrap();
    for path in [project, release] {
        let page = house.get(path).await.expect(200);
        assert!(page.text().contains("smells of &#60;b&#62;fire"), "{path}");
    }
    house
        .registry
        .delete(&operator, pypi, "sample-thing", Deletion::Release("1.1rc1"))
        .await
        .unwrap();
    let page = house.get(project).await.expect(200);
    assert!(page.text().contains("/project/pypi/sample-thing/1.0/"));
    house
        .registry
        .quarantine(&operator, pypi, "sample-thing", None, "looked at")
        .await
        .unwrap();
    for path in [project, release] {
        let page = house.get(path).await.expect(200);
        assert!(
            page.text().contains("may be harmful") && !page.text().contains("pip install"),
            "{path}"
        );
        for link in links(page.text()) {
            let answer = house.get(&link).await;
            let own = link.starts_with("/account") && answer.status == 303;
            assert!(own || answer.status == 200, "{link}: {}", answer.status);
        }
    }
}

#[tokio::test]
async fn errors_are_pages_for_browsers_and_text_for_others() {
    let house = furnished().await;
    for (path, status, code) in [
        ("/project/pypi/unknown/", 404, "project-unknown"),
        ("/project/pypi/sample-thing/9.9/", 404, "release-unknown"),
        ("/project/pypi/%2e%2e%2f/", 404, "page-not-found"),
        ("/project/elsewhere/x/", 404, "page-not-found"),
        ("/log/event/999999", 404, "leaf-unknown"),
        ("/log/event/18446744073709551615", 404, "page-not-found"),
        ("/log/event/9223372036854775807", 404, "leaf-unknown"),
        ("/log/event/x", 404, "page-not-found"),
        ("/log/?before=x", 400, "query-malformed"),
        ("/log/?project=x", 400, "query-malformed"),
        ("/search?page=0", 400, "query-malformed"),
        ("/search?q=a&q=b", 400, "query-malformed"),
        ("/no/such/page", 404, "no-such-page"),
    ] {
        let text = house.get(path).await;
        assert_eq!(
            (text.status.as_u16(), text.header("content-type")),
            (status, "text/plain; charset=utf-8"),
            "{path}: {}",
            text.text()
        );
        let page = house.get_with(path, &[BROWSER]).await.expect(status);
        assert_eq!(
            page.header("content-type"),
            "text/html; charset=utf-8",
            "{path}"
        );
        assert!(
            page.header("content-security-policy")
                .contains("style-src 'self'"),
            "{path}"
        );
        assert!(
            page.text().contains(&format!("/help/errors#{code}")),
            "{path}: {}",
            page.text()
        );
        assert!(page.text().contains(page.header("x-request-id")), "{path}");
    }
}

#[tokio::test]
async fn searching_finds_and_survives_anything() {
    let house = furnished().await;
    let page = house.get("/search?q=sample").await.expect(200);
    assert!(
        page.text().contains("href=\"/project/pypi/sample-thing/\"")
            && !page.text().contains("pypi/other/")
    );
    for odd in [
        "",
        "%25",
        "_",
        "%27%3B--",
        "%00",
        "%22%3E%3Cscript%3E",
        "%F0%9F%98%80",
        "%ff%fe",
        "AND+OR+NOT+(",
        "%5C",
        "*",
    ] {
        let page = house.get(&format!("/search?q={odd}")).await.expect(200);
        assert!(!page.text().contains("<script"), "{odd}");
    }
    house
        .get(&format!("/search?q={}", "x".repeat(5_000)))
        .await
        .expect(200);
}

#[tokio::test]
async fn a_restricted_instance_lets_a_browser_in_with_a_token() {
    let house = house_with(|settings, _| settings.visibility = Visibility::Restricted).await;
    house.published("sample", "1.0").await;
    let stranger = house.get_with("/", &[BROWSER]).await.expect(401);
    assert!(stranger.header("www-authenticate").starts_with("Basic "));
    assert_eq!(stranger.header("content-type"), "text/html; charset=utf-8");
    assert!(!stranger.text().contains("sample"));
    let css = links(stranger.text())
        .into_iter()
        .find(|link| link.ends_with(".css"))
        .unwrap();
    house.get(&css).await.expect(200);
    let token = house.token_for("bob", Action::Read).await;
    let basic = countersign_testkit::http::basic_authorization("bob", &token);
    for path in [
        "/",
        "/project/pypi/sample/",
        "/project/pypi/sample/1.0/",
        "/log/",
        "/search?q=sample",
        "/help/",
    ] {
        let page = house
            .get_with(path, &[BROWSER, ("authorization", &basic)])
            .await
            .expect(200);
        assert!(
            page.header("cache-control").starts_with("private"),
            "{path}"
        );
        assert!(page.header("vary").contains("Authorization"), "{path}");
    }
}
