//! Journeys of people through the pages, in a real browser with passkeys of its own and real mail.

use std::time::{Duration, Instant};

use countersign_testkit::browser::{Browser, Element};
use countersign_testkit::http;
use countersign_testkit::packages::Wheel;
use countersign_testkit::server::{ServerOptions, TestServer};
use countersign_testkit::smtp::{Manners, SmtpServer};
use serde_json::{Value, json};

use crate::accounts::{browser_with_passkeys, enrol, enrolment, server, wait_for};

const PASSWORD: &str = "seven clocks without a hand";

/// A server whose mail arrives.
fn server_with_mail() -> (TestServer, SmtpServer) {
    let smtp = SmtpServer::start(Manners::default()).unwrap();
    let server = TestServer::start(ServerOptions {
        named: true,
        configuration: format!(
            "mail.server = \"plain://127.0.0.1:{}\"\nmail.from = \"registry@example.org\"\nsign_in.breach_service = \"off\"\n",
            smtp.port()
        ),
        ..ServerOptions::default()
    })
    .unwrap();
    (server, smtp)
}

/// The link below a page that a mail holds.
fn link(smtp: &SmtpServer, to: &str, page: &str) -> String {
    let text = smtp.wait_for(to, page).unwrap().text();
    let at = text.find(page).unwrap();
    let start = text[..at].rfind("http").unwrap();
    let rest = &text[start..];
    let end = rest.find(|c: char| c.is_whitespace() || c == '<' || c == '"');
    rest[..end.unwrap_or(rest.len())].replace("&amp;", "&")
}

/// Does something with an element, found anew where the page was exchanged between finding and using it.
fn on<T>(browser: &Browser, selector: &str, act: impl Fn(&Element<'_>) -> anyhow::Result<T>) -> T {
    let begin = Instant::now();
    loop {
        match act(&browser.find(selector).unwrap()) {
            Ok(value) => return value,
            Err(error) => assert!(
                format!("{error:#}").contains("stale element")
                    && begin.elapsed() < Duration::from_secs(60),
                "{selector}: {error:#}"
            ),
        }
    }
}

fn click(browser: &Browser, selector: &str) {
    on(browser, selector, |element| element.click());
}

fn fill(browser: &Browser, selector: &str, text: &str) {
    on(browser, selector, |field| {
        field.clear()?;
        field.send_keys(text)
    });
}

fn shown(browser: &Browser, selector: &str) -> String {
    on(browser, selector, |element| element.text())
}

/// Opens what is folded away, as a person does before typing into it.
fn unfold(browser: &Browser) {
    let all = "for (const one of document.querySelectorAll('details')) one.open = true";
    browser.execute(all, &[]).unwrap();
}

fn sign_out(browser: &Browser, server: &TestServer) {
    browser.goto(&format!("{}/account", server.url())).unwrap();
    click(browser, "form[action='/sign-out'] button");
    wait_for(browser, "/sign-in");
}

fn by_password(browser: &Browser, server: &TestServer, user: &str) {
    browser.goto(&format!("{}/sign-in", server.url())).unwrap();
    fill(browser, "#user", user);
    fill(browser, "#password", PASSWORD);
    click(browser, "form[action='/sign-in'] button");
}

/// The code that an app makes of this secret now.
fn app_code(browser: &Browser, secret: &str) -> String {
    let script = "return (async (text) => {
        const bits = [...text.replace(/[ =]/g, '')].map((c) => 'ABCDEFGHIJKLMNOPQRSTUVWXYZ234567'.indexOf(c).toString(2).padStart(5, '0')).join('');
        const bytes = new Uint8Array(bits.match(/.{8}/g).map((byte) => parseInt(byte, 2)));
        const key = await crypto.subtle.importKey('raw', bytes, { name: 'HMAC', hash: 'SHA-1' }, false, ['sign']);
        const counter = new DataView(new ArrayBuffer(8));
        counter.setBigUint64(0, BigInt(Math.floor(Date.now() / 30000)));
        const mac = new DataView(await crypto.subtle.sign('HMAC', key, counter));
        const at = mac.getUint8(19) & 15;
        return String((mac.getUint32(at) & 0x7fffffff) % 1000000).padStart(6, '0');
    })(arguments[0])";
    let code = browser.execute(script, &[json!(secret)]).unwrap();
    code.as_str().unwrap().to_owned()
}

#[test]
fn a_stranger_signs_up_by_mail_and_gets_a_passkey_and_an_account() {
    let (server, smtp) = server_with_mail();
    let browser = browser_with_passkeys();
    browser.goto(&format!("{}/sign-up", server.url())).unwrap();
    fill(&browser, "#user", "ada");
    fill(&browser, "#email", "ada@example.org");
    click(&browser, "form[action='/sign-up'] button");
    assert_eq!(shown(&browser, "h1"), "Look into your mail");
    let link = link(&smtp, "ada@example.org", "/enrol");
    enrol(&browser, &link);
    assert_eq!(shown(&browser, "h1"), "ada");
    let page = shown(&browser, "main");
    assert!(
        page.contains("ada@example.org") && page.contains("Proved"),
        "{page}"
    );

    // The way back in: begun by mail, told by mail, and stopped by the link in that mail.
    sign_out(&browser, &server);
    browser.goto(&format!("{}/recover", server.url())).unwrap();
    fill(&browser, "#who", "ada");
    click(&browser, "form[action='/recover'] button");
    let begin = crate::people::link(&smtp, "ada@example.org", "/recovery/begin");
    browser.goto(&begin).unwrap();
    click(&browser, "form[action='/recovery/begin'] button");
    wait_for(&browser, "/recovery/case");
    assert_eq!(shown(&browser, "h1"), "One proof more");
    let case = browser.url().unwrap();
    let stop = crate::people::link(&smtp, "ada@example.org", "/recovery/stop");
    browser.goto(&stop).unwrap();
    click(&browser, "form[action='/recovery/stop'] button");
    assert_eq!(shown(&browser, "h1"), "It is stopped");
    browser.goto(&case).unwrap();
    assert_eq!(
        browser.count(".failure").unwrap(),
        1,
        "{}",
        shown(&browser, "main")
    );
}

#[test]
fn password_app_and_recovery_codes_and_an_act_that_waits_for_the_passkey() {
    let (server, _smtp) = server_with_mail();
    let browser = browser_with_passkeys();
    let account = |path: &str| format!("{}/account{path}", server.url());
    browser.goto(&enrolment(&server, "ada", &[])).unwrap();
    unfold(&browser);
    fill(&browser, "#password", PASSWORD);
    click(&browser, "form[action='/enrol/password'] button");
    wait_for(&browser, "/account");

    // The app: a picture to scan, and the same as text.
    browser.goto(&account("/security")).unwrap();
    click(&browser, "form[action='/account/security/totp'] button");
    assert!(
        browser
            .find("svg.qr path")
            .unwrap()
            .attribute("d")
            .unwrap()
            .unwrap()
            .len()
            > 1_000
    );
    unfold(&browser);
    let secret = shown(&browser, "#secret");
    let code = app_code(&browser, &secret);
    fill(&browser, "#code", &code);
    click(
        &browser,
        "form[action='/account/security/totp/confirm'] button",
    );
    wait_for(&browser, "/account/security");

    click(&browser, "form[action='/account/security/codes'] button");
    let codes: Vec<String> = shown(&browser, "#codes")
        .lines()
        .map(str::to_owned)
        .collect();
    assert!(codes.len() >= 8, "{codes:?}");
    browser.goto(&account("/security")).unwrap();
    fill(&browser, "#label", "Laptop");
    click(&browser, "form[data-passkey=create] button[type=submit]");
    wait_for(&browser, "/account/security");
    browser.find(".banner.info").unwrap();
    assert!(shown(&browser, "main").contains("Laptop"));

    // Without any script: password, then a code; a wrong one is said beside the form, a used one is good no longer.
    sign_out(&browser, &server);
    browser.set_page_scripts(false).unwrap();
    by_password(&browser, &server, "ada");
    wait_for(&browser, "/sign-in/factor");
    fill(&browser, "#code", "000000");
    click(&browser, "#code ~ button, form:has(#code) button");
    browser.find("#fault[role=alert]").unwrap();
    fill(&browser, "#recovery", &codes[0]);
    click(&browser, "form:has(#recovery) button");
    wait_for(&browser, "/account");
    sign_out(&browser, &server);
    by_password(&browser, &server, "ada");
    wait_for(&browser, "/sign-in/factor");
    fill(&browser, "#recovery", &codes[0]);
    click(&browser, "form:has(#recovery) button");
    browser.find("#fault[role=alert]").unwrap();
    fill(&browser, "#recovery", &codes[1]);
    click(&browser, "form:has(#recovery) button");
    wait_for(&browser, "/account");
    browser.set_page_scripts(true).unwrap();

    // Signed in by a password: what takes a passkey waits for it with all that was typed, and is done then.
    browser.goto(&account("/projects")).unwrap();
    unfold(&browser);
    fill(&browser, "#org-name", "orchard");
    fill(&browser, "#org-display", "The Orchard");
    click(&browser, "form[action='/account/organisations'] button");
    wait_for(&browser, "/org/orchard");
    server.user("bob").unwrap();
    fill(&browser, "#invite-user", "bob");
    fill_select(&browser, "#invite-as", "owner");
    click(&browser, "form[action='/org/orchard/invite'] button");
    wait_for(&browser, "/account/confirm");
    assert!(shown(&browser, "main").contains("kept for five minutes"));
    click(&browser, "form[data-passkey=get] button[type=submit]");
    wait_for(&browser, "/org/orchard");
    assert!(browser.url().unwrap().contains("done=invited"));
    assert!(
        shown(&browser, "main").contains("bob as owner"),
        "{}",
        shown(&browser, "main")
    );
}

fn fill_select(browser: &Browser, selector: &str, value: &str) {
    click(browser, &format!("{selector} option[value='{value}']"));
}

#[test]
fn an_organisation_is_made_and_somebody_is_invited_and_accepts() {
    let server = server();
    let (ada, bob) = (browser_with_passkeys(), browser_with_passkeys());
    enrol(&ada, &enrolment(&server, "ada", &[]));
    enrol(&bob, &enrolment(&server, "bob", &[]));
    ada.goto(&format!("{}/account/projects", server.url()))
        .unwrap();
    unfold(&ada);
    fill(&ada, "#org-name", "orchard");
    fill(&ada, "#org-display", "The Orchard");
    click(&ada, "form[action='/account/organisations'] button");
    wait_for(&ada, "/org/orchard");

    // A name that nobody has: the form comes back as it was typed, with what is wrong and a way to the field.
    fill(&ada, "#invite-user", "bobb");
    fill_select(&ada, "#invite-as", "manager");
    click(&ada, "form[action='/org/orchard/invite'] button");
    wait_for(&ada, "/org/orchard");
    let fault = ada.find("#fault[role=alert] a").unwrap();
    assert_eq!(fault.attribute("href").unwrap().unwrap(), "#invite-user");
    let field = ada.find("#invite-user").unwrap();
    assert_eq!(field.attribute("value").unwrap().unwrap(), "bobb");
    assert_eq!(field.attribute("aria-invalid").unwrap().unwrap(), "true");
    assert_eq!(
        ada.count("#invite-as option[value=manager][selected]")
            .unwrap(),
        1
    );
    assert!(ada.accessibility_faults().unwrap().is_empty());
    fill(&ada, "#invite-user", "bob");
    click(&ada, "form[action='/org/orchard/invite'] button");
    assert!(shown(&ada, ".banner.info").contains("on its way"));

    bob.goto(&format!("{}/account/projects", server.url()))
        .unwrap();
    click(&bob, "form[action='/account/invitations/accept'] button");
    wait_for(&bob, "/org/orchard");
    assert!(
        shown(&bob, "main").contains("you are manager"),
        "{}",
        shown(&bob, "main")
    );

    // Faults on organisations' pages, too.
    let faults = ada
        .faults_in_all_views(&format!("{}/org/orchard", server.url()))
        .unwrap();
    assert!(faults.is_empty(), "{}", faults.join("\n"));
}

#[test]
fn an_approval_shows_what_it_is_for_and_is_good_for_that_once() {
    let server = server();
    let browser = browser_with_passkeys();
    enrol(&browser, &enrolment(&server, "ada", &[]));
    let token = server.token("ada", &[]).unwrap();
    let package = Wheel::new("gone-soon", "1.0").build();
    server
        .publish(&package, &token)
        .unwrap()
        .expect_status(200)
        .unwrap();
    let settings = format!("{}/projects/pypi/gone-soon/settings", server.url());

    // A name typed wrongly stops it; nothing typed is lost.
    browser.goto(&settings).unwrap();
    fill(&browser, "#delete-name", "gone-son");
    click(&browser, "form[action$='/delete'] button");
    assert!(shown(&browser, "#fault").contains("type the project's name"));
    fill(&browser, "#delete-name", "gone-soon");
    click(&browser, "form[action$='/delete'] button");
    wait_for(&browser, "/account/approvals");
    let page = shown(&browser, "main");
    assert!(
        page.contains("pkg:pypi/gone-soon") && page.contains("waiting"),
        "{page}"
    );
    click(&browser, "form[data-passkey=get] button[type=submit]");
    wait_for(&browser, "/account/projects");
    assert!(browser.url().unwrap().contains("done=deleted"));
    assert!(server.project("gone-soon").unwrap().is_none());
    browser
        .goto(&format!("{}/account/approvals", server.url()))
        .unwrap();
    assert!(
        shown(&browser, "main").contains("used"),
        "{}",
        shown(&browser, "main")
    );
    assert_eq!(browser.count("form[data-passkey=get]").unwrap(), 0);
}

#[test]
fn anybody_revokes_a_token_that_leaked_and_a_program_is_let_in() {
    let server = server();
    let browser = browser_with_passkeys();
    enrol(&browser, &enrolment(&server, "ada", &[]));
    let token = server.token("ada", &[]).unwrap();
    let stranger = Browser::start().unwrap();
    stranger.goto(&format!("{}/leaked", server.url())).unwrap();
    fill(&stranger, "#tokens", &format!("password = {token}\n"));
    click(&stranger, "form[action='/leaked'] button");
    stranger.find(".banner.info[role=status]").unwrap();
    let refused = server
        .publish(&Wheel::new("late", "1.0").build(), &token)
        .unwrap();
    assert!(matches!(refused.status, 401 | 403), "{}", refused.text());
    browser
        .goto(&format!("{}/account/notices", server.url()))
        .unwrap();
    assert!(
        shown(&browser, "main").contains("leaked"),
        "{}",
        shown(&browser, "main")
    );

    let ask = |path: &str, body: &Value| {
        let url = format!("{}{path}", server.url());
        let body = body.to_string().into_bytes();
        http::request("POST", &url, &[("Content-Type", "application/json")], &body).unwrap()
    };
    let begun = ask("/api/v1/login", &json!({"client": "a program"}))
        .json()
        .unwrap();
    let code = begun["user_code"].as_str().unwrap();
    browser
        .goto(&format!("{}/login/device", server.url()))
        .unwrap();
    fill(&browser, "#code", code);
    click(&browser, "form[action='/login/device'] button");
    assert_eq!(shown(&browser, "h1"), "Let this program in?");
    assert!(shown(&browser, "main").contains(code));
    click(&browser, "form[action='/login/device'] button:not([name])");
    assert_eq!(shown(&browser, "h1"), "It is in");
    let poll = json!({"device_code": begun["device_code"]});
    let granted = ask("/api/v1/login/poll", &poll).expect_status(200).unwrap();
    assert_eq!(granted.json().unwrap()["user"], "ada");
}

#[test]
fn an_operator_looks_after_the_instance_from_the_console() {
    let server = server();
    let browser = browser_with_passkeys();
    enrol(&browser, &enrolment(&server, "root", &["--operator"]));
    let token = server.token("root", &[]).unwrap();
    let package = Wheel::new("shown", "1.0").build();
    server
        .publish(&package, &token)
        .unwrap()
        .expect_status(200)
        .unwrap();
    let console = |path: &str| format!("{}/operator{path}", server.url());
    browser.goto(&console("")).unwrap();
    let page = shown(&browser, "main");
    assert!(
        page.contains("Publishing works.") && page.contains("Periodic work"),
        "{page}"
    );
    assert!(page.contains(&server.verifier_keys()[0]), "{page}");
    click(&browser, "form[action='/operator/doctor'] button");
    assert!(
        shown(&browser, "main").contains("looked at"),
        "{}",
        shown(&browser, "main")
    );

    // A lower rule takes a reason; what was chosen is not lost.
    browser.goto(&console("/rules")).unwrap();
    fill_select(&browser, "#maintainers", "nothing");
    click(&browser, "form[action='/operator/factors'] button");
    assert!(shown(&browser, "#fault").contains("upward only"));
    assert_eq!(
        browser
            .count("#maintainers option[value=nothing][selected]")
            .unwrap(),
        1
    );
    fill(&browser, "#why", "a test house");
    click(&browser, "form[action='/operator/factors'] button");
    assert!(shown(&browser, ".banner.info").contains("The rule is set."));
    assert_eq!(
        browser
            .count("#maintainers option[value=nothing][selected]")
            .unwrap(),
        1
    );

    browser.goto(&console("/projects")).unwrap();
    fill(&browser, "#q-project", "shown");
    fill(&browser, "#q-why", "It steals.");
    click(&browser, "button[name=do][value=withhold]");
    assert!(shown(&browser, "main").contains("It steals."));
    assert!(
        server
            .project("shown")
            .unwrap()
            .is_none_or(|page| page["files"].as_array().is_none_or(Vec::is_empty))
    );
    click(&browser, "button[aria-label='Serve again: shown']");
    assert!(shown(&browser, "main").contains("Nothing is withheld."));
    fill(&browser, "#c-project", "shown");
    click(&browser, "form.panel[action='/operator/critical'] button");
    assert!(shown(&browser, "main").contains("marked"));

    browser.goto(&console("/users")).unwrap();
    unfold(&browser);
    fill(&browser, "#new-user", "carol");
    click(&browser, "form[action='/operator/users'] button");
    let link = shown(&browser, "#enrolment");
    let carol = browser_with_passkeys();
    enrol(&carol, &link);
    carol.goto(&console("")).unwrap();
    assert_eq!(carol.count(".failure").unwrap(), 1);
}
