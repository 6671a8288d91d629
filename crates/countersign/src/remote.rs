//! Talking to a registry: bounded, and told apart by what a person can do about a failure.

use std::io::Read;
use std::time::Duration;

use countersign_trust::oidc::Difference;
use reqwest::blocking::{Client, RequestBuilder};
use reqwest::header::{ACCEPT, CONTENT_TYPE, LOCATION, RETRY_AFTER};
use reqwest::{Certificate, Method, StatusCode, redirect};
use serde_json::Value;
use url::Url;

use crate::failure::{Exit, Failure, Result, plain};

/// The most bytes of an error answer that are shown.
const SHOWN: usize = 300;
/// The most bytes of an error answer that are read.
const MOST_REFUSAL: usize = 64 << 10;
/// How often a request that may be repeated is sent.
const TRIES: u32 = 5;
/// The longest wait before a repetition, whatever the registry asks for.
const LONGEST_WAIT: Duration = Duration::from_secs(60);

/// A registry on the network.
#[derive(Clone)]
pub struct Remote {
    base: Url,
    reader: Client,
    /// Never follows a redirect: what it carries is for this registry alone.
    writer: Client,
    token: Option<String>,
    /// Sent with what is read once the registry asks who reads, and not before.
    login: Option<String>,
}

/// Why an attempt did not succeed, and whether it makes sense to send the same again.
enum Attempt {
    /// The answer is no.
    Final(Box<Failure>),
    /// Nobody answered, or somebody who asks to come again; after that time, where one is named.
    Again(Box<Failure>, Option<Duration>),
}

/// The answer is no.
fn no(failure: Failure) -> Attempt {
    Attempt::Final(Box::new(failure))
}

impl Remote {
    /// The registry at `base`. `token` is sent along, for what is not public. `ca` are PEM certificates of authorities
    /// to believe besides those of this machine.
    ///
    /// # Errors
    /// Where TLS can not be set up, and for plain HTTP to another machine: a token must not cross a network in the clear.
    pub fn new(base: &Url, token: Option<String>, ca: Option<&[u8]>) -> Result<Self> {
        if token.is_some() {
            not_in_the_clear(base, "The token")?;
        }
        let certificates = match ca {
            None => Vec::new(),
            Some(pem) => authorities(pem)?,
        };
        let client = |redirects| {
            let mut builder = Client::builder()
                .user_agent(concat!("countersign/", env!("CARGO_PKG_VERSION")))
                .connect_timeout(Duration::from_secs(10))
                .timeout(Duration::from_secs(120))
                .redirect(redirects)
                .tls_certs_merge(certificates.clone());
            if is_loopback(base) {
                builder = builder.no_proxy();
            }
            builder.build().map_err(|error| {
                Failure::new(
                    Exit::Environment,
                    "http-client",
                    format!("HTTP can not be set up: {error}."),
                )
            })
        };
        Ok(Self {
            base: base.clone(),
            reader: client(redirect::Policy::default())?,
            writer: client(redirect::Policy::none())?,
            token,
            login: None,
        })
    }

    /// The same registry, with a token for reading that stays at home as long as everybody may read.
    #[must_use]
    pub fn with_login(self, login: Option<String>) -> Self {
        Self { login, ..self }
    }

    /// The same registry, addressed with another token, or none.
    ///
    /// # Errors
    /// As [`Remote::new`] for plain HTTP.
    pub fn with_token(&self, token: Option<String>) -> Result<Self> {
        if token.is_some() {
            not_in_the_clear(&self.base, "The token")?;
        }
        Ok(Self {
            token,
            ..self.clone()
        })
    }

    /// The registry's address without a trailing slash.
    pub fn site(&self) -> &str {
        self.base.as_str().trim_end_matches('/')
    }

    /// Fetches a path of this registry; `None` for what is not there (404, 410).
    ///
    /// # Errors
    /// [`Exit::Unreachable`], or [`Exit::Refused`] when the registry says no.
    pub fn find(&self, path: &str, most: usize) -> Result<Option<Vec<u8>>> {
        let address = format!("{}{path}", self.site());
        let ask = |token: Option<&String>| {
            let mut request = self.reader.get(&address);
            if let Some(token) = token {
                request = request.bearer_auth(token);
            }
            request.send()
        };
        let unreachable = |why: String| {
            Failure::new(Exit::Unreachable, "unreachable", format!("{address} can not be fetched: {why}."))
                .remedy("Check the address and the network; `verify --offline` needs neither once the proof is there.")
        };
        let mut answer =
            ask(self.token.as_ref()).map_err(|error| unreachable(innermost(&error)))?;
        if answer.status() == StatusCode::UNAUTHORIZED
            && let (None, Some(login)) = (&self.token, &self.login)
        {
            not_in_the_clear(&self.base, "The login")?;
            answer = ask(Some(login)).map_err(|error| unreachable(innermost(&error)))?;
        }
        let status = answer.status();
        let mut body = Vec::new();
        answer
            .take(most as u64 + 1)
            .read_to_end(&mut body)
            .map_err(|error| unreachable(error.to_string()))?;
        match status {
            StatusCode::OK if body.len() <= most => Ok(Some(body)),
            StatusCode::OK => Err(too_long(&address, most)),
            StatusCode::NOT_FOUND | StatusCode::GONE => Ok(None),
            status if status.is_client_error() => {
                let text: String = plain(&String::from_utf8_lossy(&body))
                    .chars()
                    .take(SHOWN)
                    .collect();
                let failure = Failure::new(
                    Exit::Refused,
                    "refused",
                    format!("{address} answers {status}: {text}"),
                );
                Err(if status == StatusCode::UNAUTHORIZED {
                    failure.remedy("This registry is not public: countersign login, or set COUNTERSIGN_TOKEN to a token with the read action.")
                } else {
                    failure
                })
            }
            status => Err(Failure::new(
                Exit::Unreachable,
                "unreachable",
                format!("{address} answers {status}."),
            )
            .remedy("Try again later.")),
        }
    }

    /// Fetches a file of this registry piece by piece; `false` for what is not there (404, 410).
    ///
    /// # Errors
    /// As [`Remote::find`]; more than `most` bytes; those of `sink`.
    pub fn download(
        &self,
        path: &str,
        most: u64,
        sink: &mut dyn FnMut(&[u8]) -> Result<()>,
    ) -> Result<bool> {
        let address = format!("{}{path}", self.site());
        let unreachable = |why: String| {
            Failure::new(
                Exit::Unreachable,
                "unreachable",
                format!("{address} can not be fetched: {why}."),
            )
            .remedy("Check the address and the network, then try again.")
        };
        let ask = |token: Option<&String>| {
            // The time that a line of 32 KiB/s needs.
            let patience = Duration::from_secs(120 + most / (32 << 10));
            let mut request = self.reader.get(&address).timeout(patience);
            if let Some(token) = token {
                request = request.bearer_auth(token);
            }
            request
                .send()
                .map_err(|error| unreachable(innermost(&error)))
        };
        let mut answer = ask(self.token.as_ref())?;
        if answer.status() == StatusCode::UNAUTHORIZED
            && let (None, Some(login)) = (&self.token, &self.login)
        {
            not_in_the_clear(&self.base, "The login")?;
            answer = ask(Some(login))?;
        }
        match answer.status() {
            StatusCode::OK => {}
            StatusCode::NOT_FOUND | StatusCode::GONE => return Ok(false),
            status if status.is_client_error() => {
                let said = format!("{address} answers {status}.");
                return Err(Failure::new(Exit::Refused, "refused", said));
            }
            status => return Err(unreachable(format!("the answer is {status}"))),
        }
        let mut piece = vec![0; 64 << 10];
        let mut left = most;
        loop {
            let count = answer
                .read(&mut piece)
                .map_err(|error| unreachable(error.to_string()))?;
            if count == 0 {
                return Ok(true);
            }
            left = left
                .checked_sub(count as u64)
                .ok_or_else(|| too_long(&address, usize::try_from(most).unwrap_or(usize::MAX)))?;
            sink(&piece[..count])?;
        }
    }

    /// Fetches a path of this registry that must be there.
    ///
    /// # Errors
    /// As [`Remote::find`], and [`Exit::Unreachable`] when it is not there.
    pub fn get(&self, path: &str, most: usize) -> Result<Vec<u8>> {
        self.find(path, most)?.ok_or_else(|| {
            Failure::new(
                Exit::Unreachable,
                "not-there",
                format!("{}{path} is not there.", self.site()),
            )
            .remedy("Is this the address of a Countersign registry?")
        })
    }

    /// Asks the registry's own API, and reads its JSON answer; `Value::Null` for an answer without a body.
    ///
    /// # Errors
    /// [`Exit::Refused`] with the registry's own code, words and differing claims; [`Exit::Unreachable`].
    pub fn call(&self, method: Method, path: &str, body: Option<&Value>) -> Result<Value> {
        self.call_with(method, path, body, None)
    }

    /// As [`Remote::call`], with a further header.
    ///
    /// # Errors
    /// As [`Remote::call`].
    pub fn call_with(
        &self,
        method: Method,
        path: &str,
        body: Option<&Value>,
        header: Option<(&'static str, &str)>,
    ) -> Result<Value> {
        self.attempt(&method, path, body, header)
            .map_err(|attempt| match attempt {
                Attempt::Final(failure) | Attempt::Again(failure, _) => *failure,
            })
    }

    /// As [`Remote::call`], for requests that are safe to send again: where nobody answers, or the answer is that it
    /// is too early, `body` makes the next one, up to five in all. `say` hears about each wait.
    ///
    /// # Errors
    /// As [`Remote::call`]; those of `body`.
    pub fn call_again(
        &self,
        method: Method,
        path: &str,
        mut body: impl FnMut() -> Result<Option<Value>>,
        say: &dyn Fn(&str),
    ) -> Result<Value> {
        patiently(say, || {
            let body = body().map_err(no)?;
            self.attempt(&method, path, body.as_ref(), None)
        })
    }

    /// Sends a form with a file, as publishing clients do, with this registry's token as the password, and reads the
    /// JSON answer. The same form is safe to send again, and is, as in [`Remote::call_again`]; `size` is the file's
    /// length in bytes and decides how long to wait for an answer.
    ///
    /// # Errors
    /// As [`Remote::call`]; those of `form`.
    pub fn upload(
        &self,
        path: &str,
        size: u64,
        mut form: impl FnMut() -> Result<reqwest::blocking::multipart::Form>,
        say: &dyn Fn(&str),
    ) -> Result<Value> {
        // Two minutes for the registry, and the time that a line of 32 KiB/s needs.
        let patience = Duration::from_secs(120 + size / (32 << 10));
        let address = format!("{}{path}", self.site());
        not_in_the_clear(&self.base, "The upload")?;
        patiently(say, || {
            let form = form().map_err(no)?;
            let request = self
                .writer
                .post(&address)
                .timeout(patience)
                .header(ACCEPT, "application/problem+json, application/json;q=0.9")
                .basic_auth("__token__", self.token.as_deref())
                .multipart(form);
            answered(request, &address)
        })
    }

    /// Sends a body of `size` bytes of the media type `kind` as it is, with this registry's token, and reads the JSON answer. The same body is
    /// safe to send again, and is, as in [`Remote::call_again`].
    ///
    /// # Errors
    /// As [`Remote::call`]; those of `body`.
    pub fn put(
        &self,
        path: &str,
        kind: &'static str,
        size: u64,
        mut body: impl FnMut() -> Result<reqwest::blocking::Body>,
        say: &dyn Fn(&str),
    ) -> Result<Value> {
        let patience = Duration::from_secs(120 + size / (32 << 10));
        let address = format!("{}{path}", self.site());
        not_in_the_clear(&self.base, "The upload")?;
        patiently(say, || {
            let mut request = self
                .writer
                .put(&address)
                .timeout(patience)
                .header(ACCEPT, "application/json")
                .header(CONTENT_TYPE, kind)
                .body(body().map_err(no)?);
            if let Some(token) = &self.token {
                request = request.bearer_auth(token);
            }
            answered(request, &address)
        })
    }

    fn attempt(
        &self,
        method: &Method,
        path: &str,
        body: Option<&Value>,
        header: Option<(&'static str, &str)>,
    ) -> std::result::Result<Value, Attempt> {
        let address = format!("{}{path}", self.site());
        not_in_the_clear(&self.base, "The request").map_err(no)?;
        let mut request = self
            .writer
            .request(method.clone(), &address)
            .header(ACCEPT, "application/json");
        if let Some(token) = &self.token {
            request = request.bearer_auth(token);
        }
        if let Some((name, value)) = header {
            request = request.header(name, value);
        }
        if let Some(body) = body {
            request = request
                .header(CONTENT_TYPE, "application/json")
                .body(body.to_string());
        }
        answered(request, &address)
    }
}

/// Sends a request and tells its outcome apart.
fn answered(request: RequestBuilder, address: &str) -> std::result::Result<Value, Attempt> {
    const MOST: usize = 4 << 20;
    let lost = |why: String| {
        let failure = Failure::new(
            Exit::Unreachable,
            "unreachable",
            format!("{address} does not answer: {why}."),
        )
        .remedy("Check the address and the network, then try again.");
        Attempt::Again(Box::new(failure), None)
    };
    let answer = request.send().map_err(|error| lost(innermost(&error)))?;
    let status = answer.status();
    let header = |name| {
        answer
            .headers()
            .get(name)
            .and_then(|value| value.to_str().ok())
            .map(plain)
    };
    let (wait, target) = (header(RETRY_AFTER), header(LOCATION));
    let most = if status.is_success() {
        MOST
    } else {
        MOST_REFUSAL
    };
    let mut body = Vec::new();
    answer
        .take(most as u64 + 1)
        .read_to_end(&mut body)
        .map_err(|error| lost(error.to_string()))?;
    if status.is_success() {
        if body.len() > most {
            return Err(no(too_long(address, most)));
        }
        if body.is_empty() {
            return Ok(Value::Null);
        }
        return serde_json::from_slice(&body).map_err(|error| {
            no(Failure::new(
                Exit::Unreachable,
                "answer-malformed",
                format!("{address} answers with something that is not JSON: {error}."),
            )
            .remedy("Is this the address of a Countersign registry?"))
        });
    }
    if status.is_redirection() {
        return Err(no(Failure::new(
            Exit::Unreachable,
            "redirected",
            format!(
                "{address} redirects to {}, and secrets are not sent on.",
                target.as_deref().unwrap_or("nowhere")
            ),
        )
        .remedy(
            "Give the registry's own address, with https:// and without a path.",
        )));
    }
    let mut failure = refusal(address, status, &body);
    let early = [StatusCode::REQUEST_TIMEOUT, StatusCode::TOO_MANY_REQUESTS];
    if status.is_server_error() || early.contains(&status) {
        failure.exit = Exit::Unreachable;
        let wait = wait
            .and_then(|seconds| seconds.trim().parse().ok())
            .map(Duration::from_secs);
        return Err(Attempt::Again(Box::new(failure), wait));
    }
    Err(no(failure))
}

/// Repeats what may be repeated, each time later: after 1, 2, 4 and 8 seconds, or when the registry says.
fn patiently<T>(
    say: &dyn Fn(&str),
    mut attempt: impl FnMut() -> std::result::Result<T, Attempt>,
) -> Result<T> {
    let mut wait = Duration::from_secs(1);
    for _ in 1..TRIES {
        match attempt() {
            Ok(value) => return Ok(value),
            Err(Attempt::Final(failure)) => return Err(*failure),
            Err(Attempt::Again(failure, asked)) => {
                let pause = asked
                    .unwrap_or(wait)
                    .clamp(Duration::from_secs(1), LONGEST_WAIT);
                say(&format!(
                    "{} Trying again in {} s.",
                    failure.message,
                    pause.as_secs()
                ));
                std::thread::sleep(pause);
                wait *= 2;
            }
        }
    }
    attempt().map_err(|attempt| match attempt {
        Attempt::Final(failure) | Attempt::Again(failure, _) => *failure,
    })
}

/// What a refusing answer says: as RFC 9457, as the token exchange says it, or as plain text.
fn refusal(address: &str, status: StatusCode, body: &[u8]) -> Failure {
    let parsed: Value = serde_json::from_slice(body).unwrap_or(Value::Null);
    let text = |value: &Value, name: &str| {
        value[name]
            .as_str()
            .map(|text| plain(text).chars().take(2_000).collect::<String>())
            .filter(|text| !text.is_empty())
    };
    let mut failure = if let Some(detail) = text(&parsed, "detail") {
        let code = text(&parsed, "code").unwrap_or_else(|| "refused".to_owned());
        let mut failure = Failure::new(Exit::Refused, code, detail);
        failure.remedy = text(&parsed, "remedy");
        failure.differences =
            serde_json::from_value(parsed["differences"].clone()).unwrap_or_default();
        failure.approval = parsed
            .get("approval")
            .filter(|approval| approval.is_object())
            .map(|approval| Box::new(approval.clone()));
        failure
    } else if let Some(errors) = parsed["errors"].as_array().filter(|all| !all.is_empty()) {
        exchange_refusal(errors, &text)
    } else {
        let told = text(&parsed, "message").unwrap_or_else(|| {
            plain(&String::from_utf8_lossy(body))
                .chars()
                .take(SHOWN)
                .collect()
        });
        Failure::new(
            Exit::Refused,
            "refused",
            format!("{address} answers {status}: {told}"),
        )
    };
    failure.unauthenticated = status == StatusCode::UNAUTHORIZED;
    if failure.remedy.is_none() && failure.unauthenticated {
        failure.remedy =
            Some("Log in (countersign login), or set COUNTERSIGN_TOKEN to a token of yours that may do this.".to_owned());
    }
    failure
}

/// The errors of a refused exchange: those that name a claim become differences, the others the message.
fn exchange_refusal(errors: &[Value], text: &dyn Fn(&Value, &str) -> Option<String>) -> Failure {
    let mut said: Vec<String> = Vec::new();
    let mut differences = Vec::new();
    for error in errors.iter().take(100) {
        let description = text(error, "description");
        if let Some(claim) = text(error, "claim") {
            differences.push(Difference {
                claim,
                expected: text(error, "expected").unwrap_or_else(|| "another value".to_owned()),
                seen: text(error, "seen"),
                matched: false,
                advice: text(error, "advice"),
            });
        }
        said.extend(description.filter(|line| !said.contains(line)));
    }
    let code = errors
        .first()
        .and_then(|error| text(error, "code"))
        .unwrap_or_else(|| "refused".to_owned());
    let mut failure = Failure::new(Exit::Refused, code, said.join("\n  "));
    failure.differences = differences;
    failure
}

pub(crate) fn too_long(address: &str, most: usize) -> Failure {
    Failure::new(
        Exit::Unreachable,
        "answer-too-long",
        format!("{address} answers with more than {most} bytes."),
    )
}

pub(crate) fn is_loopback(base: &Url) -> bool {
    match base.host() {
        Some(url::Host::Domain(name)) => name == "localhost" || name.ends_with(".localhost"),
        Some(url::Host::Ipv4(address)) => address.is_loopback(),
        Some(url::Host::Ipv6(address)) => address.is_loopback(),
        None => false,
    }
}

pub(crate) fn not_in_the_clear(base: &Url, what: &str) -> Result<()> {
    if base.scheme() == "https" || is_loopback(base) {
        return Ok(());
    }
    Err(Failure::new(
        Exit::Usage,
        "plain-http",
        format!("{what} would go to {base} in the clear."),
    )
    .remedy("Use the https:// address of the registry, or unset COUNTERSIGN_TOKEN where no token is needed."))
}

pub(crate) fn authorities(pem: &[u8]) -> Result<Vec<Certificate>> {
    let unusable = |why: String| {
        Failure::new(
            Exit::Usage,
            "ca-unusable",
            format!("The certificates of --ca can not be used: {why}."),
        )
        .remedy("Give a file with PEM certificates (-----BEGIN CERTIFICATE-----).")
    };
    let certificates = Certificate::from_pem_bundle(pem).map_err(|e| unusable(innermost(&e)))?;
    if certificates.is_empty() {
        return Err(unusable("there is none in the file".to_owned()));
    }
    Ok(certificates)
}

/// The cause that says most; reqwest's own sentence only repeats the address.
pub(crate) fn innermost(error: &dyn std::error::Error) -> String {
    let mut cause = error;
    while let Some(inner) = cause.source() {
        cause = inner;
    }
    cause.to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_refused_exchange_names_each_claim_once() {
        let body = br#"{"message":"Token request failed","errors":[
            {"code":"publisher-mismatch","description":"No publisher fits."},
            {"code":"publisher-mismatch","description":"No publisher fits.","claim":"environment","expected":"release","seen":null},
            {"code":"publisher-mismatch","description":"No publisher fits.","claim":"ref","expected":"refs/tags/*","seen":"refs/heads/ma\u001bin"}]}"#;
        let failure = refusal("https://x", StatusCode::UNPROCESSABLE_ENTITY, body);
        assert_eq!(
            (failure.exit, &*failure.code),
            (Exit::Refused, "publisher-mismatch")
        );
        let text = failure.to_string();
        assert_eq!(text.matches("No publisher fits.").count(), 1, "{text}");
        assert!(
            text.contains("✗ environment: expected release, not in the token"),
            "{text}"
        );
        assert!(text.contains("seen refs/heads/main"), "{text}");
    }

    #[test]
    fn a_problem_document_keeps_the_registrys_code_and_remedy() {
        let body = br#"{"detail":"File already exists.","code":"file-exists","remedy":"Raise the version."}"#;
        let failure = refusal("https://x", StatusCode::BAD_REQUEST, body);
        assert_eq!(&*failure.code, "file-exists");
        assert_eq!(failure.remedy.as_deref(), Some("Raise the version."));
        let text = refusal("https://x", StatusCode::BAD_GATEWAY, b"<html>\x1b[2J").message;
        assert_eq!(text, "https://x answers 502 Bad Gateway: <html>[2J");
    }

    #[test]
    fn secrets_go_to_another_machine_over_tls_only() {
        let url = |text: &str| Url::parse(text).unwrap();
        for good in [
            "https://registry.example",
            "http://127.0.0.1:1",
            "http://localhost",
            "http://[::1]:8",
        ] {
            assert!(not_in_the_clear(&url(good), "It").is_ok(), "{good}");
        }
        for bad in [
            "http://registry.example",
            "http://10.0.0.1",
            "http://localhost.example",
        ] {
            assert!(not_in_the_clear(&url(bad), "It").is_err(), "{bad}");
            assert!(
                Remote::new(&url(bad), Some("t".into()), None).is_err(),
                "{bad}"
            );
        }
    }

    #[test]
    fn a_file_without_certificates_is_no_authority() {
        assert!(authorities(b"nothing").is_err());
        assert!(
            authorities(b"-----BEGIN CERTIFICATE-----\n!!\n-----END CERTIFICATE-----\n").is_err()
        );
    }
}
