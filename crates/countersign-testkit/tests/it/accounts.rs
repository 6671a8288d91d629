//! Accounts in a real browser, with a passkey of its own: coming in by a link, signing in, proving it again.

use std::path::Path;
use std::time::{Duration, Instant};

use countersign_testkit::browser::Browser;
use countersign_testkit::packages::Wheel;
use countersign_testkit::server::{ServerOptions, TestServer};
use serde_json::json;

/// A browser that holds passkeys, and whose person says yes.
pub(crate) fn browser_with_passkeys() -> Browser {
    let browser = Browser::start().unwrap();
    browser.devtools("WebAuthn.enable", json!({})).unwrap();
    let options = json!({"options": {
        "protocol": "ctap2", "transport": "internal", "hasResidentKey": true, "hasUserVerification": true,
        "isUserVerified": true, "automaticPresenceSimulation": true,
    }});
    browser
        .devtools("WebAuthn.addVirtualAuthenticator", options)
        .unwrap();
    browser
}

pub(crate) fn server() -> TestServer {
    TestServer::start(ServerOptions {
        named: true,
        ..ServerOptions::default()
    })
    .unwrap()
}

/// The link that the command line prints for a new user.
pub(crate) fn enrolment(server: &TestServer, user: &str, options: &[&str]) -> String {
    let email = format!("{user}@example.org");
    let mut arguments = vec!["admin", "user", "create", user, "--email", &email];
    arguments.extend_from_slice(options);
    let output = server.run(&arguments).unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    text.split_whitespace()
        .find(|word| word.contains("/enrol/"))
        .unwrap_or_else(|| panic!("no link in {text}"))
        .to_owned()
}

pub(crate) fn wait_for(browser: &Browser, path: &str) {
    let begin = Instant::now();
    loop {
        let url = browser.url().unwrap();
        if url.split(['?', '#']).next().unwrap().ends_with(path) {
            return;
        }
        assert!(
            begin.elapsed() < Duration::from_secs(90),
            "still at {url} instead of {path}: {}",
            browser.find("main").unwrap().text().unwrap()
        );
        std::thread::sleep(Duration::from_millis(50));
    }
}

pub(crate) fn enrol(browser: &Browser, link: &str) {
    browser.goto(link).unwrap();
    browser
        .find("form[data-passkey=create] button[type=submit]")
        .unwrap()
        .click()
        .unwrap();
    wait_for(browser, "/account");
}

#[test]
fn somebody_comes_in_by_a_link_and_signs_in_with_nothing_but_a_passkey() {
    let server = server();
    let browser = browser_with_passkeys();
    let link = enrolment(&server, "ada", &[]);
    enrol(&browser, &link);
    assert_eq!(browser.find("h1").unwrap().text().unwrap(), "ada");
    browser
        .find("form[action='/sign-out'] button")
        .unwrap()
        .click()
        .unwrap();
    wait_for(&browser, "/sign-in");

    // The link is used up.
    browser.goto(&link).unwrap();
    assert!(
        browser
            .find(".failure")
            .unwrap()
            .text()
            .unwrap()
            .contains("link-unknown")
    );

    // A page of one's own leads to the sign-in page and, by the passkey, back. The browser may offer the passkey by
    // itself before anybody presses the button.
    browser
        .goto(&format!("{}/account/tokens", server.url()))
        .unwrap();
    if browser.url().unwrap().contains("/sign-in") {
        let button = browser.find("form[data-passkey=get] button[type=submit]");
        if let Ok(button) = button {
            // The page may be gone already, which is what is waited for.
            let _ = button.click();
        }
    }
    wait_for(&browser, "/account/tokens");

    // A token is made in a fresh session and works.
    browser
        .find("#label")
        .unwrap()
        .send_keys("from the browser")
        .unwrap();
    browser
        .find("form[action='/account/tokens'] button[type=submit]")
        .unwrap()
        .click()
        .unwrap();
    let token = browser.find("#secret").unwrap().text().unwrap();
    assert!(token.starts_with("csgn_u_"), "{token}");
    let package = Wheel::new("by-hand", "1.0").build();
    server
        .publish(&package, &token)
        .unwrap()
        .expect_status(200)
        .unwrap();
    let settings = format!("{}/projects/pypi/by-hand/settings", server.url());
    browser.goto(&settings).unwrap();
    assert_eq!(browser.find("h1").unwrap().text().unwrap(), "by-hand");
}

#[test]
fn whoever_lacks_the_passkey_stays_outside() {
    let server = server();
    let holder = browser_with_passkeys();
    enrol(&holder, &enrolment(&server, "ada", &[]));
    let stranger = browser_with_passkeys();
    stranger.goto(&format!("{}/sign-in", server.url())).unwrap();
    stranger
        .find("form[data-passkey=get] button[type=submit]")
        .unwrap()
        .click()
        .unwrap();
    std::thread::sleep(Duration::from_secs(2));
    assert!(stranger.url().unwrap().contains("/sign-in"));
    stranger.goto(&format!("{}/account", server.url())).unwrap();
    assert!(stranger.url().unwrap().contains("/sign-in?return="));
}

#[test]
fn an_operator_proves_it_again_before_the_console_opens() {
    let server = server();
    let browser = browser_with_passkeys();
    enrol(&browser, &enrolment(&server, "root", &["--operator"]));
    browser
        .goto(&format!(
            "{}/account/confirm?return=%2Foperator",
            server.url()
        ))
        .unwrap();
    browser
        .find("form[data-passkey=get] button[type=submit]")
        .unwrap()
        .click()
        .unwrap();
    wait_for(&browser, "/operator");
    assert_eq!(browser.find("h1").unwrap().text().unwrap(), "Operator");
}

#[test]
fn pages_of_ones_own_have_no_faults_in_any_view() {
    let server = server();
    let browser = browser_with_passkeys();
    let pictures = std::env::var_os("COUNTERSIGN_PICTURES");
    let mut faults = Vec::new();
    let mut look = |browser: &Browser, path: &str| {
        let url = format!("{}{path}", server.url());
        faults.extend(browser.faults_in_all_views(&url).unwrap());
        faults.extend(browser.second_opinion(&url).unwrap());
        if let Some(folder) = &pictures {
            for (width, dark) in [(1280, false), (390, false), (1280, true), (390, true)] {
                browser.set_viewport(width, 800).unwrap();
                browser.set_dark(dark).unwrap();
                browser.goto(&url).unwrap();
                let name = format!("{}-{width}-{dark}.png", path.replace(['/', '?', '='], "_"));
                browser.screenshot(&Path::new(folder).join(name)).unwrap();
            }
        }
    };
    for path in [
        "/sign-in",
        "/sign-up",
        "/recover",
        "/forgotten",
        "/leaked",
        "/policies/",
        "/policies/vulnerability-disclosure",
        "/policies/account-recovery",
        "/policies/security-model",
        "/incidents",
        "/assessment",
        "/assessment/registries",
    ] {
        look(&browser, path);
    }
    let link = enrolment(&server, "root", &["--operator"]);
    look(&browser, link.strip_prefix(&server.url()).unwrap());
    enrol(&browser, &link);
    let token = server.token("root", &[]).unwrap();
    server
        .publish(&Wheel::new("shown", "1.0").build(), &token)
        .unwrap()
        .expect_status(200)
        .unwrap();
    for path in [
        "/account",
        "/account/security",
        "/account/tokens",
        "/account/projects",
        "/account/notices",
        "/account/data",
        "/account/confirm",
        "/login/device",
        "/projects/pypi/shown/settings",
        "/projects/pypi/shown/settings/publishers/new?issuer=github",
        "/projects/pypi/shown/settings/cases",
        "/operator",
        "/operator/users",
        "/operator/projects",
        "/operator/incidents",
        "/operator/advisories",
        "/operator/names",
        "/operator/rules",
        "/account/approvals",
    ] {
        look(&browser, path);
    }
    assert!(faults.is_empty(), "{}", faults.join("\n"));
}
