//! How an error of the core is answered: kind to status in one place, the text in the caller's dialect in another.
//!
//! Handlers return a [`Refusal`]; the pipeline words it at the very end, when the request's id is at hand, so that
//! every error body carries the id and the link to the page that explains its code.

use std::sync::Arc;

use axum::body::Body;
use axum::response::{IntoResponse, Response};
use countersign_registry::oidc::Difference;
use countersign_registry::{Error, Kind};
use http::header::{ACCEPT, CACHE_CONTROL, CONTENT_TYPE, RETRY_AFTER, WWW_AUTHENTICATE};
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode};
use hyper::ext::ReasonPhrase;
use serde_json::{Map, Value, json};

pub use crate::error_codes::{ERROR_CODES, ErrorCode};
pub(crate) use crate::error_codes::{explained_at, is_about_provenance};

/// Longest reason phrase in characters; some clients and proxies refuse long status lines.
const LONGEST_REASON: usize = 200;
/// Longest `Accept` header looked at, in bytes.
const LONGEST_ACCEPT: usize = 1_024;

/// The form in which a caller reads errors.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Dialect {
    /// Installers and people: plain text.
    Text,
    /// Our own API: RFC 9457.
    Problem,
    /// The Python upload endpoint: the reason phrase, and the body by `Accept`; authentication failures are 403
    /// (401 makes some tools prompt) and conflicts 400 (what `--skip-existing` looks for).
    Upload,
    /// The exchange of identity tokens: `{"message", "errors": […]}`, which publishing clients print, with the members
    /// of RFC 9457 beside them. What is wrong with a token is 422, whatever its kind.
    Exchange,
    /// npm and its kin: `{"error"}`, which they print, with the members of RFC 9457 beside it.
    Npm,
    /// cargo: `{"errors": [{"detail"}]}`, of which it prints each detail, with the members of RFC 9457 beside it. Who
    /// lacks a token is told where `cargo login` gets one.
    Cargo,
}

/// An error with the dialect it is to be told in.
#[derive(Debug)]
pub struct Refusal {
    /// What went wrong. Boxed, because most results are none.
    pub error: Box<Error>,
    /// For whom it is worded.
    pub dialect: Dialect,
    /// The request for an approval that was made for the caller; callers of our API are told where to answer it.
    pub approval: Option<Box<Value>>,
}

impl Refusal {
    /// For whoever reads that dialect.
    pub fn new(error: impl Into<Error>, dialect: Dialect) -> Self {
        Self {
            error: Box::new(error.into()),
            dialect,
            approval: None,
        }
    }

    /// For installers and people.
    pub fn text(error: impl Into<Error>) -> Self {
        Self::new(error, Dialect::Text)
    }

    /// For callers of our API.
    pub fn problem(error: impl Into<Error>) -> Self {
        Self::new(error, Dialect::Problem)
    }

    /// For publishing clients.
    pub fn upload(error: impl Into<Error>) -> Self {
        Self::new(error, Dialect::Upload)
    }

    /// For clients that exchange an identity token.
    pub fn exchange(error: impl Into<Error>) -> Self {
        Self::new(error, Dialect::Exchange)
    }

    /// For npm.
    pub fn npm(error: impl Into<Error>) -> Self {
        Self::new(error, Dialect::Npm)
    }

    /// For cargo.
    pub fn cargo(error: impl Into<Error>) -> Self {
        Self::new(error, Dialect::Cargo)
    }

    /// The status this is answered with.
    pub fn status(&self) -> StatusCode {
        match (self.dialect, status_of(&self.error)) {
            (Dialect::Upload, StatusCode::UNAUTHORIZED) => StatusCode::FORBIDDEN,
            (Dialect::Upload, StatusCode::CONFLICT) => StatusCode::BAD_REQUEST,
            // What npm's own registry says, and what tools that publish many packages look for.
            (Dialect::Npm, StatusCode::CONFLICT) if self.error.code == "file-exists" => {
                StatusCode::FORBIDDEN
            }
            (Dialect::Exchange, status) if exchanged_status(&self.error, status) => status,
            (Dialect::Exchange, _) => StatusCode::UNPROCESSABLE_ENTITY,
            (Dialect::Npm, _) if self.approval.is_some() => StatusCode::UNAUTHORIZED,
            (_, status) => status,
        }
    }
}

impl IntoResponse for Refusal {
    fn into_response(self) -> Response {
        let mut response = Response::new(Body::empty());
        *response.status_mut() = self.status();
        response.extensions_mut().insert(Arc::new(self));
        response
    }
}

/// The status of an error: what its code says in [`ERROR_CODES`], else what its kind says.
pub fn status_of(error: &Error) -> StatusCode {
    let by_code = crate::error_codes::find(&error.code).and_then(|entry| entry.status);
    if let Some(status) = by_code.and_then(|status| StatusCode::from_u16(status).ok()) {
        return status;
    }
    match error.kind {
        Kind::Unauthenticated => StatusCode::UNAUTHORIZED,
        Kind::Denied => StatusCode::FORBIDDEN,
        Kind::NotFound => StatusCode::NOT_FOUND,
        Kind::Conflict => StatusCode::CONFLICT,
        Kind::Rejected => StatusCode::BAD_REQUEST,
        Kind::TooLarge => StatusCode::PAYLOAD_TOO_LARGE,
        Kind::Limited => StatusCode::TOO_MANY_REQUESTS,
        Kind::Unavailable => StatusCode::SERVICE_UNAVAILABLE,
        Kind::Internal => StatusCode::INTERNAL_SERVER_ERROR,
    }
}

/// Whether an error of the exchange keeps its own status: trouble that is not the token's. Clients of the exchange know
/// 403 as "switched off here", and take 5xx and 429 as worth another try.
fn exchanged_status(error: &Error, status: StatusCode) -> bool {
    status.is_server_error()
        || matches!(
            status,
            StatusCode::UNAUTHORIZED | StatusCode::TOO_MANY_REQUESTS
        )
        || matches!(
            &*error.code,
            "trusted-publishing-off"
                | "cross-site"
                | "method-not-allowed"
                | "no-such-page"
                | "json-too-large"
        )
}

/// Nothing answers at this address.
pub(crate) fn no_such_page(path: &str) -> Error {
    Error::new(
        Kind::NotFound,
        "no-such-page",
        format!("Nothing answers at {}.", shown(path)),
    )
    .remedy("The addresses of this registry are listed at /.well-known/countersign.json.")
}

/// The address is right and the method is not.
pub(crate) fn method_not_allowed(method: &http::Method, path: &str) -> Error {
    let message = format!("{} is not available at {}.", method.as_str(), shown(path));
    Error::new(Kind::Rejected, "method-not-allowed", message)
        .remedy("The Allow header says what is.")
}

/// A credential is needed and none came.
pub(crate) fn credentials_missing() -> Error {
    Error::new(Kind::Unauthenticated, "credentials-missing", "This needs a token, and the request carried none.")
        .remedy("Send the token as the password (user name __token__), or as \"Authorization: Bearer TOKEN\".")
}

/// A foreign value as it may stand in a message: at most 80 characters, control characters escaped, tokens masked.
pub(crate) fn shown(value: &str) -> String {
    let mut text = String::from("\"");
    for (count, c) in crate::request_log::masked(value).chars().enumerate() {
        if count == 80 {
            text.push('…');
            break;
        }
        // Bidirectional and other invisible marks can make a message read as something else.
        if c.is_control()
            || matches!(c, '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}' | '\u{feff}')
        {
            text.extend(c.escape_default());
        } else {
            text.push(c);
        }
    }
    text.push('"');
    text
}

/// Words a refusal for its caller.
pub(crate) fn render(
    refusal: &Refusal,
    site: &str,
    headers: &HeaderMap,
    request_id: &str,
) -> Response {
    let status = refusal.status();
    let error: &Error = &refusal.error;
    let link = format!("{site}{}", explained_at(&error.code));
    let title = status.canonical_reason().unwrap_or("Error");
    let form = match refusal.dialect {
        Dialect::Text => Form::Text,
        Dialect::Problem => Form::Problem,
        Dialect::Upload => upload_form(headers),
        Dialect::Exchange => Form::Exchange,
        Dialect::Npm => Form::Npm,
        Dialect::Cargo => Form::Cargo,
    };
    let (content_type, body) = match form {
        Form::Text => (
            "text/plain; charset=utf-8",
            format!("{}\n\nMore: {link}\nRequest: {request_id}\n", error.text()),
        ),
        Form::Html => (
            "text/html; charset=utf-8",
            format!(
                "<!DOCTYPE html>\n<html lang=\"en\"><head><meta charset=\"utf-8\"><title>{status}</title></head>\
                 <body><h1>{status}</h1><p>{}</p><p>More: <a href=\"{}\">{}</a></p><p>Request: {request_id}</p></body></html>\n",
                escape_html(&error.text()),
                escape_html(&link),
                escape_html(&link),
            ),
        ),
        // Publishing clients print `code` and nothing else, so the sentence stands in it.
        Form::Json => (
            "application/json",
            json!({
                "message": format!("{} More: {link} (request {request_id})", error.text()),
                "code": format!("{} {}", status.as_u16(), error.message),
                "title": title,
            })
            .to_string(),
        ),
        Form::Problem => {
            let mut members = problem(error, status, &link, request_id);
            if let Some(approval) = &refusal.approval {
                members.insert("approval".to_owned(), approval.as_ref().clone());
            }
            (
                "application/problem+json",
                Value::Object(members).to_string(),
            )
        }
        Form::Exchange => {
            let mut members = problem(error, status, &link, request_id);
            members.insert("message".to_owned(), "Token request failed".into());
            members.insert("errors".to_owned(), reasons(error, &link).into());
            ("application/json", Value::Object(members).to_string())
        }
        Form::Cargo => {
            let mut members = problem(error, status, &link, request_id);
            members.insert("errors".to_owned(), details(error, &link).into());
            ("application/json", Value::Object(members).to_string())
        }
        Form::Npm => {
            let mut members = problem(error, status, &link, request_id);
            if let Some(approval) = &refusal.approval {
                return step_up(error, approval, request_id);
            }
            // npm prints the one, its `stage` and pnpm the other.
            let text = format!("{} More: {link}", error.text());
            members.insert("message".to_owned(), text.as_str().into());
            members.insert("error".to_owned(), text.into());
            ("application/json", Value::Object(members).to_string())
        }
    };
    let mut response = Response::new(Body::from(body));
    *response.status_mut() = status;
    let out = response.headers_mut();
    out.insert(CONTENT_TYPE, HeaderValue::from_static(content_type));
    out.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    match status {
        // npm prints what we say only where no scheme is named; else it guesses.
        StatusCode::UNAUTHORIZED if refusal.dialect == Dialect::Npm => {}
        StatusCode::UNAUTHORIZED if asks_for_token(&error.code) => {
            out.insert(WWW_AUTHENTICATE, challenge(refusal.dialect, site));
        }
        StatusCode::SERVICE_UNAVAILABLE => {
            // The log and the database are back in seconds; another host takes longer.
            let wait = if error.code == "issuer-unreachable" {
                "30"
            } else {
                "5"
            };
            out.insert(RETRY_AFTER, HeaderValue::from_static(wait));
        }
        StatusCode::TOO_MANY_REQUESTS => {
            // A program that waits to be let in may ask again at its pace.
            let wait = if error.code == "login-too-fast" {
                "5"
            } else {
                "30"
            };
            out.insert(RETRY_AFTER, HeaderValue::from_static(wait));
        }
        _ => {}
    }
    if refusal.dialect == Dialect::Upload {
        response
            .extensions_mut()
            .insert(reason_phrase(&error.message));
    }
    response
}

/// What makes npm's clients ask for a second factor by way of the browser; old ones get the way in words. Both are told
/// it in the header that npm prints, too.
fn step_up(error: &Error, approval: &Value, request_id: &str) -> Response {
    let text = error.text();
    let address = |name: &str| {
        approval
            .get(name)
            .and_then(Value::as_str)
            .unwrap_or_default()
    };
    let (kind, body) = match approval.get("byBrowser").and_then(Value::as_bool) {
        Some(false) => (
            "text/plain; charset=utf-8",
            format!("{text}\nRequest: {request_id}\n"),
        ),
        _ => {
            let (page, done) = (address("authUrl"), address("doneUrl"));
            (
                "application/json",
                json!({"authUrl": page, "doneUrl": done, "code": error.code, "error": text, "message": text})
                    .to_string(),
            )
        }
    };
    let mut response = Response::new(Body::from(body));
    *response.status_mut() = StatusCode::UNAUTHORIZED;
    let out = response.headers_mut();
    out.insert(CONTENT_TYPE, HeaderValue::from_static(kind));
    out.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    out.insert(WWW_AUTHENTICATE, HeaderValue::from_static("OTP"));
    notify_npm(&mut response, &text);
    response
}

/// The header whose text npm prints.
pub(crate) const NPM_NOTICE: HeaderName = HeaderName::from_static("npm-notice");

/// Lets npm print a line: ASCII, and not endless.
pub(crate) fn notify_npm(response: &mut Response, text: &str) {
    let plain = text.chars().map(|c| match c {
        ' '..='~' => c,
        _ => '?',
    });
    let plain: String = plain.take(1_000).collect();
    if let Ok(value) = HeaderValue::from_str(&plain) {
        response.headers_mut().insert(NPM_NOTICE, value);
    }
}

/// Whether a token is what would help. Where it is not (a wrong password, a link that was used up), a browser must not
/// open its own window for user name and password.
/// How a caller without a good token is asked for one.
fn challenge(dialect: Dialect, site: &str) -> HeaderValue {
    let for_cargo = || {
        let url = crate::protocols::cargo::login_url(site);
        let text = countersign_formats::cargo::api::login_challenge(&url)?;
        HeaderValue::from_str(&text).ok()
    };
    let basic = HeaderValue::from_static("Basic realm=\"countersign\"");
    match dialect {
        Dialect::Cargo => for_cargo().unwrap_or(basic),
        _ => basic,
    }
}

fn asks_for_token(code: &str) -> bool {
    code.starts_with("token-")
        || matches!(
            code,
            "credentials-missing" | "sign-in-needed" | "account-disabled" | "service-token"
        )
}

/// The members of an RFC 9457 problem, with ours beside them.
fn problem(error: &Error, status: StatusCode, link: &str, request_id: &str) -> Map<String, Value> {
    let members: [(&str, Value); 7] = [
        ("type", link.into()),
        ("title", status.canonical_reason().unwrap_or("Error").into()),
        ("status", status.as_u16().into()),
        ("detail", error.message.as_str().into()),
        ("code", error.code.as_ref().into()),
        ("remedy", error.remedy.as_deref().into()),
        ("request", request_id.into()),
    ];
    let mut members: Map<String, Value> = members
        .into_iter()
        .map(|(name, value)| (name.to_owned(), value))
        .collect();
    if !error.differences.is_empty() {
        let differences = error.differences.iter().map(|difference| json!(difference));
        members.insert("differences".to_owned(), differences.collect());
    }
    members
}

/// The reasons as clients of the exchange print them, line by line, each from `code` and `description` alone: first the
/// error as a whole, then every claim that differed.
fn reasons(error: &Error, link: &str) -> Vec<Value> {
    let whole = json!({
        "code": error.code,
        "description": format!("{} More: {link}", error.text()),
    });
    let claims = error
        .differences
        .iter()
        .filter(|difference| !difference.matched)
        .map(|difference| {
            json!({
                "code": error.code,
                "description": difference_in_words(difference),
                "claim": difference.claim,
                "expected": difference.expected,
                "seen": difference.seen,
            })
        });
    std::iter::once(whole).chain(claims).collect()
}

/// The lines that cargo prints: the error, and each claim that differed.
fn details(error: &Error, link: &str) -> Vec<Value> {
    let whole = format!("{} More: {link}", error.text());
    let claims = error
        .differences
        .iter()
        .filter(|difference| !difference.matched)
        .map(difference_in_words);
    std::iter::once(whole)
        .chain(claims)
        .map(|detail| json!({ "detail": detail }))
        .collect()
}

/// One claim that differed, as a line for a person.
fn difference_in_words(difference: &Difference) -> String {
    let seen = difference
        .seen
        .as_deref()
        .map_or_else(|| "nothing".to_owned(), shown);
    let mut words = format!(
        "Claim {}: expected {}, seen {seen}.",
        difference.claim, difference.expected
    );
    if let Some(advice) = &difference.advice {
        // A clause as it comes; here it stands as a sentence of its own.
        let mut rest = advice.chars();
        words.push(' ');
        words.extend(rest.next().into_iter().flat_map(char::to_uppercase));
        words.push_str(rest.as_str());
        if !words.ends_with('.') {
            words.push('.');
        }
    }
    words
}

/// The sentence as HTTP/1.1 carries it: latin-1, no line ends, at most 200 characters.
fn reason_phrase(message: &str) -> ReasonPhrase {
    let bytes: Vec<u8> = message
        .chars()
        .take(LONGEST_REASON)
        .map(|c| match u8::try_from(u32::from(c)) {
            Ok(byte) if byte >= 0x20 && !(0x7f..0xa0).contains(&byte) => byte,
            Ok(_) => b' ',
            Err(_) => match c {
                '…' => b'.',
                '“' | '”' => b'"',
                '‘' | '’' => b'\'',
                '–' | '—' => b'-',
                _ => b'?',
            },
        })
        .collect();
    ReasonPhrase::try_from(bytes).expect("only printable latin-1 was let through")
}

#[derive(Clone, Copy, PartialEq)]
enum Form {
    Text,
    Problem,
    Json,
    Html,
    Exchange,
    Npm,
    Cargo,
}

fn upload_form(headers: &HeaderMap) -> Form {
    const OFFERS: [(Form, &str, &str); 4] = [
        (Form::Text, "text", "plain"),
        (Form::Problem, "application", "problem+json"),
        (Form::Json, "application", "json"),
        (Form::Html, "text", "html"),
    ];
    let accept = headers.get(ACCEPT).map_or(&b""[..], HeaderValue::as_bytes);
    let accept = String::from_utf8_lossy(&accept[..accept.len().min(LONGEST_ACCEPT)]);
    let mut best = (Form::Text, 0);
    for (form, kind, sub) in OFFERS {
        let quality = quality_of(&accept, kind, sub);
        if quality > best.1 {
            best = (form, quality);
        }
    }
    best.0
}

/// The q-value, in thousandths, that an `Accept` header gives a media type; the most specific range decides.
pub(crate) fn quality_of(accept: &str, kind: &str, sub: &str) -> u16 {
    let mut found = (0, 0);
    for range in accept.split(',').take(50) {
        let mut parts = range.split(';');
        let name = parts.next().unwrap_or_default().trim();
        let specific = match name.split_once('/') {
            Some(("*", "*")) => 1,
            Some((k, "*")) if k.eq_ignore_ascii_case(kind) => 2,
            Some((k, s)) if k.eq_ignore_ascii_case(kind) && s.eq_ignore_ascii_case(sub) => 3,
            _ => continue,
        };
        let quality = parts
            .filter_map(|part| part.trim().strip_prefix("q="))
            .next()
            .map_or(1_000.0, |q| {
                q.trim().parse::<f32>().unwrap_or(0.0).clamp(0.0, 1.0) * 1_000.0
            });
        if specific > found.0 {
            #[expect(
                clippy::cast_possible_truncation,
                clippy::cast_sign_loss,
                reason = "clamped to 0..=1000 above"
            )]
            let thousandths = quality.round() as u16;
            found = (specific, thousandths);
        }
    }
    found.1
}

fn escape_html(text: &str) -> String {
    let mut out = String::with_capacity(text.len() + 16);
    for c in text.chars() {
        match c {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            '\'' => out.push_str("&#39;"),
            c => out.push(c),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use http_body_util::BodyExt as _;

    use super::*;

    fn error() -> Error {
        Error::new(
            Kind::Conflict,
            "file-exists",
            "File already exists: “a-1.tar.gz”\r\nX: évil",
        )
        .remedy("Raise the version.")
    }

    async fn upload_body(accept: Option<&str>) -> (http::response::Parts, String) {
        let mut headers = HeaderMap::new();
        if let Some(accept) = accept {
            headers.insert(ACCEPT, accept.parse().unwrap());
        }
        let response = render(
            &Refusal::upload(error()),
            "https://reg.example",
            &headers,
            "id-1",
        );
        let (parts, body) = response.into_parts();
        let bytes = body.collect().await.unwrap().to_bytes();
        (parts, String::from_utf8(bytes.to_vec()).unwrap())
    }

    #[tokio::test]
    async fn upload_errors_come_in_the_form_the_client_asks_for() {
        for (accept, content_type) in [
            (None, "text/plain; charset=utf-8"),
            (Some("*/*"), "text/plain; charset=utf-8"),
            (
                Some("application/json;q=0.9, text/plain;q=0.8, text/html;q=0.7"),
                "application/json",
            ),
            (
                Some("application/problem+json, application/json;q=0.9"),
                "application/problem+json",
            ),
            (
                Some("text/html,application/xhtml+xml"),
                "text/html; charset=utf-8",
            ),
            (Some("image/png"), "text/plain; charset=utf-8"),
            (Some(";;;q=,,*/"), "text/plain; charset=utf-8"),
        ] {
            let (parts, body) = upload_body(accept).await;
            assert_eq!(parts.status, 400, "a duplicate is 400 for --skip-existing");
            assert_eq!(parts.headers[CONTENT_TYPE], content_type, "{accept:?}");
            assert!(body.contains("File already exists"), "{body}");
            assert!(
                body.contains("https://reg.example/help/errors#file-exists"),
                "{body}"
            );
        }
    }

    #[tokio::test]
    async fn the_json_form_says_the_sentence_in_code_which_is_all_that_some_clients_print() {
        let (_, body) = upload_body(Some("application/json")).await;
        let body: serde_json::Value = serde_json::from_str(&body).unwrap();
        assert!(
            body["code"]
                .as_str()
                .unwrap()
                .starts_with("400 File already exists")
        );
        assert_eq!(body["title"], "Bad Request");
    }

    #[tokio::test]
    async fn cargo_gets_a_detail_for_each_thing_that_is_wrong_and_the_page_to_log_in_at() {
        let headers = HeaderMap::new();
        let mut differs = error();
        differs.differences = vec![Difference {
            claim: "aud".to_owned(),
            expected: "reg.example/cargo".to_owned(),
            seen: Some("other".to_owned()),
            matched: false,
            advice: None,
        }];
        let site = "https://reg.example";
        let response = render(&Refusal::cargo(differs), site, &headers, "id-1");
        let bytes = response.into_body().collect().await.unwrap().to_bytes();
        let body: serde_json::Value = serde_json::from_slice(&bytes).unwrap();
        let detail = |at: usize| body["errors"][at]["detail"].as_str().unwrap().to_owned();
        assert!(detail(0).ends_with("More: https://reg.example/help/errors#file-exists"));
        assert_eq!(
            detail(1),
            "Claim aud: expected reg.example/cargo, seen \"other\"."
        );
        let refusal = Refusal::cargo(credentials_missing());
        let response = render(&refusal, site, &headers, "id-1");
        assert_eq!(response.status(), 401);
        assert_eq!(
            response.headers()[WWW_AUTHENTICATE],
            "Cargo login_url=\"https://reg.example/cargo/me\""
        );
    }

    #[tokio::test]
    async fn the_reason_phrase_is_one_short_latin_1_line() {
        let (parts, _) = upload_body(None).await;
        let reason = parts.extensions.get::<ReasonPhrase>().unwrap().as_bytes();
        assert_eq!(reason, b"File already exists: \"a-1.tar.gz\"  X: \xe9vil");
        assert_eq!(
            reason_phrase(&"x".repeat(900)).as_bytes().len(),
            LONGEST_REASON
        );
        assert_eq!(reason_phrase("日\u{7f}\u{85}").as_bytes(), b"?  ");
    }

    #[test]
    fn authentication_failures_are_403_for_publishers_and_401_for_readers() {
        assert_eq!(Refusal::upload(credentials_missing()).status(), 403);
        assert_eq!(Refusal::text(credentials_missing()).status(), 401);
        assert_eq!(Refusal::problem(error()).status(), 409);
    }

    #[test]
    fn the_most_specific_range_decides_the_quality() {
        assert_eq!(
            quality_of("text/*;q=0.5, */*;q=0.1, text/plain;q=0", "text", "plain"),
            0
        );
        assert_eq!(quality_of("text/*;q=0.5, */*;q=0.1", "text", "plain"), 500);
        assert_eq!(quality_of("*/*;q=0.1", "text", "plain"), 100);
        assert_eq!(quality_of("text/plain;q=nonsense", "text", "plain"), 0);
    }
}
