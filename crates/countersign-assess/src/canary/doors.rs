//! Somebody with a browser: cookies, the token of the last form, and a passkey in software.

use super::software::Passkey;
use crate::script::{Answer, Request, Script, Stop, Told};

/// A password that is in no list: fixed, so that a recording replays.
pub(super) const PASSWORD: &str = "seven clocks without a hand, and one of brass";

/// One person at one browser.
pub(super) struct Visitor {
    /// Their user name.
    pub(super) name: String,
    /// Their address.
    pub(super) email: String,
    cookies: Vec<(String, String)>,
    form: String,
    network: u8,
    /// Where they say that they come from, as a proxy would.
    pub(super) pretends: Option<&'static str>,
    /// Their passkey, once they have one.
    pub(super) key: Option<Passkey>,
}

fn encoded(text: &str) -> String {
    url::form_urlencoded::byte_serialize(text.as_bytes()).collect()
}

impl Visitor {
    /// Somebody new, on a network of their own.
    pub(super) fn new(script: &Script<'_>, name: &str) -> Self {
        // Networks differ by person, so that one canary's guesses do not count against another one.
        let network = script
            .check
            .bytes()
            .chain(name.bytes())
            .fold(7_u8, |sum, byte| sum.wrapping_mul(31).wrapping_add(byte));
        let check: String = script
            .check
            .chars()
            .filter(char::is_ascii_alphanumeric)
            .collect();
        let name = format!("{name}-{}", check.to_lowercase());
        Self {
            email: format!("{name}@{}-canary.example", check.to_lowercase()),
            name,
            cookies: Vec::new(),
            form: String::new(),
            network,
            pretends: None,
            key: None,
        }
    }

    /// The same person at another browser, elsewhere.
    pub(super) fn elsewhere(&self, network: u8) -> Self {
        Self {
            name: self.name.clone(),
            email: self.email.clone(),
            cookies: Vec::new(),
            form: String::new(),
            network,
            pretends: None,
            key: self.key.clone(),
        }
    }

    fn keep(&mut self, answer: &Answer) {
        for (_, cookie) in answer
            .headers
            .iter()
            .filter(|(name, _)| name == "set-cookie")
        {
            let Some((name, rest)) = cookie.split_once('=') else {
                continue;
            };
            let value = rest.split(';').next().unwrap_or_default();
            self.cookies.retain(|(known, _)| known != name);
            if !value.is_empty() {
                self.cookies.push((name.to_owned(), value.to_owned()));
            }
        }
        if let Some(token) = between(&answer.text(), "name=\"form\" value=\"", "\"") {
            self.form = token;
        }
    }

    fn dressed(&self, mut request: Request) -> Request {
        request.network = self.network;
        if !self.cookies.is_empty() {
            let all: Vec<String> = self
                .cookies
                .iter()
                .map(|(name, value)| format!("{name}={value}"))
                .collect();
            request = request.header("cookie", all.join("; "));
        }
        if let Some(from) = self.pretends {
            request = request
                .header("x-forwarded-for", from)
                .header("x-real-ip", from);
        }
        request
    }

    /// Looks at a page.
    pub(super) fn get<'a>(&mut self, script: &mut Script<'a>, path: &str) -> Told<&'a Answer> {
        let request = self.dressed(Request::get(script.target.address(path)));
        let answer = script.http(request)?;
        self.keep(answer);
        Ok(answer)
    }

    /// Sends a form of the page before.
    pub(super) fn post<'a>(
        &mut self,
        script: &mut Script<'a>,
        path: &str,
        fields: &[(&str, &str)],
    ) -> Told<&'a Answer> {
        let mut body = format!("form={}", encoded(&self.form));
        for (name, value) in fields {
            body.push_str(&format!("&{name}={}", encoded(value)));
        }
        let request = Request::send("POST", script.target.address(path), body)
            .header("content-type", "application/x-www-form-urlencoded");
        let answer = script.http(self.dressed(request))?;
        self.keep(answer);
        Ok(answer)
    }

    /// Asks for an account; the mail that comes. `None`: none came.
    pub(super) fn ask_for_account(&mut self, script: &mut Script<'_>) -> Told<Option<String>> {
        self.get(script, "/sign-up")?;
        let (name, email) = (self.name.clone(), self.email.clone());
        let asked = self.post(script, "/sign-up", &[("user", &name), ("email", &email)])?;
        if !asked.good() {
            return Err(Stop::Unknown(format!(
                "Nobody can make an account here ({}), so that the canaries have none.",
                asked.status
            )));
        }
        let mail = script.mail(&email, "/enrol")?;
        Ok(mail.and_then(|text| link(text, "/enrol")))
    }

    /// Makes an account with a password by the link of the mail.
    pub(super) fn sign_up(&mut self, script: &mut Script<'_>) -> Told<()> {
        let secret = self.account_link(script)?;
        let fields = [("secret", secret.as_str()), ("password", PASSWORD)];
        let entered = self.post(script, "/enrol/password", &fields)?;
        self.inside(script, entered)
    }

    /// Makes an account with a passkey by the link of the mail.
    pub(super) fn sign_up_with_passkey(&mut self, script: &mut Script<'_>) -> Told<()> {
        let secret = self.account_link(script)?;
        let asked = self
            .post(script, "/enrol/passkey/options", &[("secret", &secret)])?
            .json();
        let mut key = Passkey::new(script.target, &self.name);
        let credential = key
            .create(&asked)
            .ok_or_else(|| {
                Stop::Unknown(
                    "The registry asks for no passkey that the software could make.".to_owned(),
                )
            })?
            .to_string();
        let fields = [
            ("secret", secret.as_str()),
            ("ceremony", asked["ceremony"].as_str().unwrap_or_default()),
            ("credential", &credential),
            ("label", "canary"),
        ];
        let entered = self.post(script, "/enrol/passkey", &fields)?;
        self.key = Some(key);
        self.inside(script, entered)
    }

    fn account_link(&mut self, script: &mut Script<'_>) -> Told<String> {
        let link = self.ask_for_account(script)?;
        let link = link.ok_or_else(|| {
            Stop::Unknown("No mail came with which to make the account.".to_owned())
        })?;
        self.get(script, &link)?;
        secret_of(&link)
            .ok_or_else(|| Stop::Unknown("The mail has no link with a secret.".to_owned()))
    }

    fn inside(&mut self, script: &mut Script<'_>, entered: &Answer) -> Told<()> {
        let home = entered.header("location").unwrap_or_default().to_owned();
        if !matches!(entered.status, 302 | 303) {
            return Err(Stop::Unknown(format!(
                "The canary's account could not be made ({}).",
                entered.status
            )));
        }
        if home.starts_with("/sign-in") {
            self.sign_in(script, PASSWORD)?;
        }
        self.get(script, "/account").map(drop)
    }

    /// Signs in with a password.
    pub(super) fn sign_in<'a>(
        &mut self,
        script: &mut Script<'a>,
        password: &str,
    ) -> Told<&'a Answer> {
        self.get(script, "/sign-in")?;
        let name = self.name.clone();
        self.post(
            script,
            "/sign-in",
            &[("user", &name), ("password", password)],
        )
    }

    /// Signs in with the passkey; `verified` is whether the key says that it checked its holder.
    pub(super) fn sign_in_with_passkey<'a>(
        &mut self,
        script: &mut Script<'a>,
        verified: bool,
    ) -> Told<&'a Answer> {
        self.get(script, "/sign-in")?;
        let asked = self.post(script, "/sign-in/passkey/options", &[])?.json();
        let credential = self
            .key
            .as_mut()
            .and_then(|key| key.get(&asked, verified))
            .ok_or_else(|| Stop::Unknown("The registry asks for no passkey.".to_owned()))?
            .to_string();
        let fields = [
            ("ceremony", asked["ceremony"].as_str().unwrap_or_default()),
            ("credential", &credential),
            ("return", "/account"),
        ];
        self.post(script, "/sign-in/passkey", &fields)
    }

    /// Says yes, with the passkey, to the newest request that waits for it.
    pub(super) fn approve(&mut self, script: &mut Script<'_>) -> Told<()> {
        let page = self.get(script, "/account/approvals")?.text();
        let Some(id) = between(&page, "name=\"id\" value=\"", "\"") else {
            return Ok(());
        };
        let asked = self
            .post(script, "/account/approvals/options", &[("id", &id)])?
            .json();
        let Some(credential) = self.key.as_mut().and_then(|key| key.get(&asked, true)) else {
            return Ok(());
        };
        let credential = credential.to_string();
        let fields = [
            ("id", id.as_str()),
            ("ceremony", asked["ceremony"].as_str().unwrap_or_default()),
            ("credential", &credential),
        ];
        self.post(script, "/account/approvals/grant", &fields)
            .map(drop)
    }

    /// Makes a token by the form; or what the registry says instead.
    pub(super) fn token(
        &mut self,
        script: &mut Script<'_>,
        action: &str,
        project: &str,
    ) -> Told<Result<String, String>> {
        self.get(script, "/account/tokens")?;
        let fields = [
            ("label", "canary"),
            ("action", action),
            ("project", project),
            ("days", "7"),
        ];
        let made = self.post(script, "/account/tokens", &fields)?;
        let text = made.text();
        let secret = between(&text, "<code id=\"secret\" class=\"all\">", "</code>");
        Ok(secret.filter(|_| made.good()).ok_or(text))
    }
}

/// Has somebody come in? The answer leads to the account and not back to the door.
pub(super) fn came_in(answer: &Answer) -> bool {
    matches!(answer.status, 302 | 303)
        && answer
            .header("location")
            .is_some_and(|to| !to.starts_with("/sign-in") && !to.starts_with("/enrol"))
}

/// What stands between two texts.
pub(super) fn between(text: &str, before: &str, after: &str) -> Option<String> {
    let (_, rest) = text.split_once(before)?;
    Some(rest.split_once(after)?.0.to_owned())
}

/// The first link of a mail that leads to this path.
pub(super) fn link(mail: &str, path: &str) -> Option<String> {
    mail.split_whitespace()
        .find(|word| word.starts_with("http") && word.contains(path))
        .map(str::to_owned)
}

/// The secret of a link: after `secret=`, or its last part.
pub(super) fn secret_of(link: &str) -> Option<String> {
    let url = url::Url::parse(link).ok()?;
    url.query_pairs()
        .find(|(name, _)| name == "secret")
        .map(|(_, value)| value.into_owned())
        .or_else(|| url.path_segments()?.next_back().map(str::to_owned))
        .filter(|secret| !secret.is_empty())
}
