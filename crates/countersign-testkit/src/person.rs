//! A person with a passkey: a headless browser with Chromium's virtual authenticator, which comes in by an enrolment link
//! and later says yes or no where a program asks.

use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use serde_json::json;

use crate::browser::Browser;
use crate::server::TestServer;

const PATIENCE: Duration = Duration::from_secs(20);

/// Someone with an account, a browser, and a passkey in it. The server must be called by a name
/// ([`crate::server::ServerOptions::named`]): passkeys need one.
#[derive(Debug)]
pub struct Person {
    /// The browser, signed in.
    pub browser: Browser,
    site: String,
}

impl Person {
    /// Makes the account `name` by the operator's command line and comes in by its link, with a new passkey.
    pub fn enrol(server: &TestServer, name: &str) -> Result<Self> {
        let email = format!("{name}@example.org");
        let output = server.run(&["admin", "user", "create", name, "--email", &email])?;
        let text = String::from_utf8(output.stdout)?;
        let link = text
            .split_whitespace()
            .find(|word| word.contains("/enrol/"))
            .with_context(|| format!("no link in {text}"))?;
        let browser = Browser::start()?;
        browser.devtools("WebAuthn.enable", json!({}))?;
        let options = json!({"options": {
            "protocol": "ctap2", "transport": "internal", "hasResidentKey": true, "hasUserVerification": true,
            "isUserVerified": true, "automaticPresenceSimulation": true,
        }});
        browser.devtools("WebAuthn.addVirtualAuthenticator", options)?;
        browser.goto(link)?;
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
