//! The pages of the real server in a real browser.

use countersign_testkit::browser::Browser;
use countersign_testkit::packages::Wheel;
use countersign_testkit::server::{ServerOptions, TestServer};

#[test]
fn pages_of_a_real_instance_have_no_faults_in_any_view_and_need_no_scripts() {
    let server = TestServer::start(ServerOptions::default()).unwrap();
    let token = server.publisher("ada").unwrap();
    let readme = "# Shown\n\nSome *text*, a [link](https://example.org), code:\n\n```\nlong_line(\"…………………………………………………………………………………………………………\")\n```\n\n\
                  <script>alert(1)</script>\n\n| a | b |\n|---|---|\n| 1 | 2 |\n";
    let package = Wheel::new("shown-in-browser", "1.0")
        .requires("other>=1")
        .readme(readme)
        .build();
    server
        .publish(&package, &token)
        .unwrap()
        .expect_status(200)
        .unwrap();
    store_assessment(&server);
    let browser = Browser::start().unwrap();
    browser.set_page_scripts(false).unwrap();
    browser.goto(&server.url()).unwrap();
    let field = browser.find("input[type=search], input[name=q]").unwrap();
    field.send_keys("shown\u{E007}").unwrap();
    // The front page has such a link too, and goes away under whoever presses it.
    let begin = std::time::Instant::now();
    while !browser.url().unwrap().contains("q=shown") {
        assert!(begin.elapsed() < std::time::Duration::from_secs(60));
        std::thread::sleep(std::time::Duration::from_millis(20));
    }
    browser
        .find("a[href*='shown-in-browser']")
        .unwrap()
        .click()
        .unwrap();
    assert!(
        browser
            .find("h1")
            .unwrap()
            .text()
            .unwrap()
            .contains("shown-in-browser")
    );
    let project = browser.url().unwrap();
    assert_eq!(
        browser.count("main script").unwrap(),
        0,
        "the description's script is in the page"
    );
    // What happened to the project, from its page to the feed, by keyboard alone.
    let history = "/log/?project=pypi/shown-in-browser";
    browser.goto(&format!("{}{history}", server.url())).unwrap();
    let events = browser.find("table.events").unwrap().text().unwrap();
    assert!(
        events.contains("shown-in-browser") && !events.contains("map-root"),
        "{events}"
    );
    let feed = browser.find("main a[href*='feed.atom']").unwrap();
    let feed = feed.attribute("href").unwrap().unwrap();
    browser.set_page_scripts(true).unwrap();
    let reached = "const links = [...document.querySelectorAll('a, button, input, summary, [tabindex]')].filter(of => of.tabIndex >= 0);\
                   const link = links.find(of => (of.getAttribute('href') || '').includes('feed.atom')); link.focus();\
                   const style = getComputedStyle(document.activeElement);\
                   return document.activeElement === link && (style.outlineStyle !== 'none' || style.boxShadow !== 'none')";
    assert_eq!(browser.execute(reached, &[]).unwrap(), true);
    let answer = server.get(&feed).unwrap().expect_status(200).unwrap();
    assert!(
        answer
            .header("content-type")
            .unwrap()
            .starts_with("application/atom+xml")
    );
    // As a reader of feeds parses it, in a browser.
    let parsed = "const read = new DOMParser().parseFromString(arguments[0], 'application/xml');\
                  return [read.querySelectorAll('parsererror').length, read.querySelectorAll('feed > entry').length,\
                          read.querySelectorAll('feed > entry > link[href]').length]";
    let parsed = browser.execute(parsed, &[answer.text().into()]).unwrap();
    assert_eq!(parsed[0], 0, "{parsed}");
    assert!(
        parsed[1].as_u64() > Some(0) && parsed[1] == parsed[2],
        "{parsed}"
    );
    let mut faults = Vec::new();
    for url in [
        server.url(),
        project,
        format!("{}/log", server.url()),
        format!("{}{history}", server.url()),
        format!("{}/search?q=shown", server.url()),
        format!("{}/assessment", server.url()),
        format!("{}/assessment/registries", server.url()),
    ] {
        faults.extend(browser.faults_in_all_views(&url).unwrap());
        faults.extend(browser.second_opinion(&url).unwrap());
    }
    assert!(faults.is_empty(), "{}", faults.join("\n"));
    browser
        .goto(&format!("{}/assessment", server.url()))
        .unwrap();
    let shown = browser.find("main").unwrap().text().unwrap();
    for words in ["Two factors", "Nothing was shown", "2126-02-20"] {
        assert!(shown.contains(words), "{words} is not in: {shown}");
    }
    // Evidence is folded until somebody opens it.
    let page = server.get("/assessment").unwrap();
    assert!(page.text().contains("It works as it should"));
    assert_eq!(browser.count("main script").unwrap(), 0);
    for (path, kind, words) in [
        ("/assessment/badge.svg", "image/svg+xml", "1/2"),
        ("/assessment.json", "application/json", "AN1.1"),
    ] {
        let answer = server.get(path).unwrap().expect_status(200).unwrap();
        assert_eq!(answer.header("content-type"), Some(kind));
        assert!(answer.text().contains(words), "{path}");
    }
}

/// Lays down a run as `countersignd assess --store` does.
fn store_assessment(server: &TestServer) {
    let check = |id: &str, result: &str, note: &str| {
        serde_json::json!({
            "id": id, "track": "AN", "level": 1, "title": "Two factors", "statement": "An account has two <script>x()</script>.",
            "link": "https://example.org", "result": result, "grade": (result == "pass").then_some("canary"), "note": note,
            "parts": [{"what": "It works as it should", "result": result}],
            "evidence": [{"source": "GET https://packages.example.org/a/very/long/path/that/has/no/place/to/break/at/all/whatever/one/does",
                "status": 200, "sha256": "2c26b46b68ffc68ff99b453c1d30413413422d706483bfa0f98a5e886266e7ae",
                "excerpt": "<img src=x onerror=alert(1)>", "time": "2026-11-22T00:00:00Z"}],
            "expires": (result == "pass").then_some("2126-02-20T00:00:00Z"),
        })
    };
    let run = serde_json::json!({
        "format": "countersign-assessment/v1", "principles": "0.1", "tool": "countersign-assess/0.1.0",
        "target": "https://packages.example.org", "name": null, "canaries": "on a staging copy", "time": "2026-11-22T00:00:00Z",
        "checks": [check("AN1.1", "pass", ""), check("AN1.2", "unknown", "Nothing was shown.")],
        "tracks": {"AN": {"name": "Authentication", "level": 0, "counts": {"pass": 1, "unknown": 1}}},
        "level": 0, "counts": {"pass": 1, "unknown": 1},
    });
    let folder = server.data().join("assessments");
    std::fs::create_dir_all(&folder).unwrap();
    std::fs::write(folder.join("2026-11-22T00-00-00Z.json"), run.to_string()).unwrap();
}
