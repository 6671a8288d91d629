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
    let browser = Browser::start().unwrap();
    browser.set_page_scripts(false).unwrap();
    browser.goto(&server.url()).unwrap();
    let field = browser.find("input[type=search], input[name=q]").unwrap();
    field.send_keys("shown\u{E007}").unwrap();
    // The front page has such a link too, and goes away under whoever presses it.
    let begin = std::time::Instant::now();
    while !browser.url().unwrap().contains("q=shown") {
        assert!(begin.elapsed() < std::time::Duration::from_secs(20));
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
    browser.set_page_scripts(true).unwrap();
    let mut faults = Vec::new();
    for url in [
        server.url(),
        project,
        format!("{}/log", server.url()),
        format!("{}/search?q=shown", server.url()),
    ] {
        faults.extend(browser.faults_in_all_views(&url).unwrap());
    }
    assert!(faults.is_empty(), "{}", faults.join("\n"));
}
