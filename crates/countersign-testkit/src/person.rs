//! A person with a passkey: a headless browser with Chromium's virtual authenticator, which comes in by an enrolment link
//! and later says yes or no where a program asks; and one without a browser, for tests that send forms by the hundred.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use serde_json::json;

use crate::browser::Browser;
use crate::http::{self, Response};
use crate::passkey::Passkey;
use crate::server::TestServer;

const PATIENCE: Duration = Duration::from_secs(60);

/// Someone with an account, a browser, and a passkey in it. The server must be called by a name
/// ([`crate::server::ServerOptions::named`]): passkeys need one.
#[derive(Debug)]
pub struct Person {
    /// The browser, signed in.
    pub browser: Browser,
    site: String,
}

/// Somebody who came in with a passkey in software and is signed in: a cookie and the token of forms. The server must be
/// called by a name, as for [`Person`].
#[derive(Clone)]
pub struct SignedIn {
    site: String,
    cookie: String,
    form: String,
    key: Arc<Mutex<Passkey>>,
}

impl std::fmt::Debug for SignedIn {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("SignedIn")
            .field("site", &self.site)
            .finish_non_exhaustive()
    }
}

/// Makes an account by the operator's command line; its enrolment link.
fn invited(server: &TestServer, name: &str) -> Result<String> {
    let email = format!("{name}@example.org");
    let output = server.run(&["admin", "user", "create", name, "--email", &email])?;
    let text = String::from_utf8(output.stdout)?;
    let link = text
        .split_whitespace()
        .find(|word| word.contains("/enrol/"))
        .with_context(|| format!("no link in {text}"))?;
    Ok(link.to_owned())
}

/// The cookie of this name that an answer sets.
fn cookie(answer: &Response, name: &str) -> Result<String> {
    let start = format!("{name}=");
    let set = answer
        .headers
        .iter()
        .filter(|(key, _)| key.eq_ignore_ascii_case("set-cookie"))
        .find(|(_, value)| value.starts_with(&start))
        .with_context(|| format!("no cookie {name} from {} {}", answer.status, answer.text()))?;
    Ok(set.1.split(';').next().unwrap_or_default().to_owned())
}

/// The token of the forms on a page.
fn form_token(page: &Response) -> Result<String> {
    let text = page.text();
    let (_, rest) = text
        .split_once("name=\"form\" value=\"")
        .context("no form on the page")?;
    Ok(rest.split('"').next().unwrap_or_default().to_owned())
}

/// Sends a form of a page.
fn send(
    site: &str,
    path: &str,
    cookie: &str,
    token: &str,
    fields: &[(&str, &str)],
) -> Result<Response> {
    let mut body = format!("form={token}");
    for (name, value) in fields {
        body.push_str(&format!("&{name}="));
        for byte in value.bytes() {
            body.push_str(&format!("%{byte:02X}"));
        }
    }
    let headers = [
        ("Cookie", cookie),
        ("Content-Type", "application/x-www-form-urlencoded"),
    ];
    http::request("POST", &format!("{site}{path}"), &headers, body.as_bytes())
}

impl SignedIn {
    /// Makes the account `name` by the operator's command line and comes in by its link, with a new passkey.
    pub fn enrol(server: &TestServer, name: &str) -> Result<Self> {
        let site = server.url();
        let link = invited(server, name)?;
        let page = http::get(&link)?.expect_status(200)?;
        let (visit, token) = (cookie(&page, "countersign-visit")?, form_token(&page)?);
        let secret = link.rsplit('/').next().unwrap_or_default();
        let asked = send(
            &site,
            "/enrol/passkey/options",
            &visit,
            &token,
            &[("secret", secret)],
        )?;
        let asked = asked.expect_status(200)?.json()?;
        let mut key = Passkey::new(&site, "localhost")?;
        let credential = key.create(&asked)?.to_string();
        let fields = [
            ("secret", secret),
            ("ceremony", asked["ceremony"].as_str().unwrap_or_default()),
            ("credential", &credential),
            ("label", "test"),
        ];
        let entered = send(&site, "/enrol/passkey", &visit, &token, &fields)?.expect_status(303)?;
        let cookie = cookie(&entered, "countersign")?;
        let account = format!("{site}/account");
        let home = http::request("GET", &account, &[("Cookie", &cookie)], b"")?;
        let form = form_token(&home.expect_status(200)?)?;
        Ok(Self {
            site,
            cookie,
            form,
            key: Arc::new(Mutex::new(key)),
        })
    }

    /// One of their own pages.
    pub fn page(&self, path: &str) -> Result<String> {
        let url = format!("{}{path}", self.site);
        let page = http::request("GET", &url, &[("Cookie", &self.cookie)], b"")?;
        Ok(page.expect_status(200)?.text())
    }

    /// Says yes with the passkey to the request for an approval with this id.
    pub fn approve(&self, id: &str) -> Result<()> {
        let asked = self.form("/account/approvals/options", &[("id", id)])?;
        let asked = asked.expect_status(200)?.json()?;
        let mut key = self.key.lock().unwrap_or_else(PoisonError::into_inner);
        let credential = key.get(&asked)?.to_string();
        let fields = [
            ("id", id),
            ("ceremony", asked["ceremony"].as_str().unwrap_or_default()),
            ("credential", &credential),
        ];
        let granted = self.form("/account/approvals/grant", &fields)?;
        granted.expect_status(303).map(drop)
    }

    /// Sends the form of one of their own pages.
    pub fn form(&self, path: &str, fields: &[(&str, &str)]) -> Result<Response> {
        send(&self.site, path, &self.cookie, &self.form, fields)
    }
}

impl Person {
    /// Makes the account `name` by the operator's command line and comes in by its link, with a new passkey.
    pub fn enrol(server: &TestServer, name: &str) -> Result<Self> {
        let link = invited(server, name)?;
        let browser = Browser::start()?;
        browser.devtools("WebAuthn.enable", json!({}))?;
        let options = json!({"options": {
            "protocol": "ctap2", "transport": "internal", "hasResidentKey": true, "hasUserVerification": true,
            "isUserVerified": true, "automaticPresenceSimulation": true,
        }});
        browser.devtools("WebAuthn.addVirtualAuthenticator", options)?;
        browser.goto(&link)?;
        browser
            .find("form[data-passkey=create] button[type=submit]")?
            .click()?;
        let person = Self {
            browser,
            site: server.url(),
        };
        person.until("the account", || {
            Ok(person.browser.url()?.contains("/account"))
        })?;
        Ok(person)
    }

    /// Answers a program that waits to be let in, at the page that it shows; what the page says then.
    pub fn answer_login(&self, page: &str, yes: bool) -> Result<String> {
        self.browser.goto(page)?;
        let button = if yes {
            "form[action='/login/device'] button:not([name])"
        } else {
            "form[action='/login/device'] button[name=decision][value=no]"
        };
        let asked = self.browser.find("h1")?.text()?;
        self.browser.find(button)?.click()?;
        let mut told = String::new();
        self.until("the answer", || {
            told = self.browser.find("h1")?.text()?;
            Ok(told != asked)
        })?;
        Ok(told)
    }

    /// Approves with the passkey, or refuses, the request with this code; what the page said about it.
    pub fn answer_approval(&self, code: &str, yes: bool) -> Result<String> {
        self.browser
            .goto(&format!("{}/account/approvals", self.site))?;
        let list = self.browser.find("ul.things")?.text()?;
        if !list.contains(code) {
            bail!("no request with the code {code} in {list}");
        }
        // The newest stands first.
        let form = if yes {
            "/account/approvals/grant"
        } else {
            "/account/approvals/refuse"
        };
        self.browser
            .find(&format!("form[action='{form}'] button"))?
            .click()?;
        self.until("the answer", || {
            Ok(self
                .browser
                .count("form[action='/account/approvals/grant']")?
                == 0)
        })?;
        Ok(list)
    }

    fn until(&self, what: &str, mut there: impl FnMut() -> Result<bool>) -> Result<()> {
        let begin = Instant::now();
        // A page that is on its way out answers nothing useful.
        while !there().unwrap_or(false) {
            if begin.elapsed() > PATIENCE {
                bail!(
                    "waited for {what} in vain, at {}: {}",
                    self.browser.url()?,
                    self.browser.find("main")?.text()?
                );
            }
            std::thread::sleep(Duration::from_millis(50));
        }
        Ok(())
    }
}
