//! The page of a request that failed: what was wrong, the way out, and the id to quote.

use askama::Template;
use axum::body::Body;
use axum::response::Response;
use countersign_registry::{Error, Kind};
use http::{HeaderMap, HeaderValue, StatusCode, header};

use super::visit::{CONTENT_SECURITY_POLICY, Frame, Page};
use crate::Site;
use crate::error::{Dialect, Refusal, quality_of, shown};

#[derive(Template)]
#[template(path = "failure.html")]
struct FailurePage<'a> {
    frame: &'a Frame,
    status: u16,
    title: &'static str,
    message: &'a str,
    remedy: Option<&'a str>,
    code: &'a str,
    request_id: &'a str,
}

impl<'a> FailurePage<'a> {
    fn new(frame: &'a Frame, status: StatusCode, error: &'a Error, request_id: &'a str) -> Self {
        Self {
            frame,
            status: status.as_u16(),
            title: title(status),
            message: &error.message,
            remedy: error.remedy.as_deref(),
            code: &error.code,
            request_id,
        }
    }
}

fn title(status: StatusCode) -> &'static str {
    match status {
        StatusCode::UNAUTHORIZED => "Sign in to read",
        StatusCode::FORBIDDEN => "Not allowed",
        StatusCode::NOT_FOUND => "Nothing here",
        StatusCode::GONE => "No longer here",
        StatusCode::SERVICE_UNAVAILABLE => "Not just now",
        StatusCode::TOO_MANY_REQUESTS => "Too many requests",
        StatusCode::INTERNAL_SERVER_ERROR => "That went wrong",
        _ => "That did not work",
    }
}

/// Gives an error that was worded as text the form of a page, when a browser asked. Status and all
/// headers that say what to do next stay as they are.
pub(super) fn dress(
    response: &mut Response,
    site: &Site,
    asked: &HeaderMap,
    refusal: &Refusal,
    request_id: &str,
) {
    if refusal.dialect != Dialect::Text || !is_browser(asked) {
        return;
    }
    let frame = Frame::of(site);
    let view = FailurePage::new(&frame, response.status(), &refusal.error, request_id);
    match Page::render(&view) {
        Ok(page) => {
            *response.body_mut() = Body::from(page.html);
            let headers = response.headers_mut();
            headers.remove(header::CONTENT_LENGTH);
            headers.insert(
                header::CONTENT_TYPE,
                HeaderValue::from_static("text/html; charset=utf-8"),
            );
            headers.insert(
                header::CONTENT_SECURITY_POLICY,
                HeaderValue::from_static(CONTENT_SECURITY_POLICY),
            );
        }
        // The text says the same; that it could not be dressed is for the log.
        Err(error) => {
            tracing::error!(target: "countersign", request = request_id, "the page of an error: {error:?}");
        }
    }
}

/// Whether HTML is what the caller likes best. Installers take HTML too, but at a small weight.
fn is_browser(asked: &HeaderMap) -> bool {
    let accept = asked
        .get(header::ACCEPT)
        .and_then(|value| value.to_str().ok())
        .unwrap_or_default();
    accept.contains("text/html") && quality_of(accept, "text", "html") == 1_000
}

/// There is no page at this address.
pub(super) fn no_such_page(path: &str) -> Error {
    Error::new(
        Kind::NotFound,
        "page-not-found",
        format!("There is no page at {}.", shown(path)),
    )
    .remedy("Check the address, search for the project, or begin at the front page.")
}

#[cfg(test)]
pub(super) fn samples() -> Vec<(&'static str, String)> {
    use crate::error::status_of;
    let errors = [
        (
            "error-401",
            Error::new(
                Kind::Unauthenticated,
                "credentials-missing",
                "This registry shows its packages to known users only.",
            )
            .remedy("Give any user name and, as the password, a token with the read action."),
        ),
        (
            "error-403",
            Error::new(
                Kind::Denied,
                "token-not-for-this",
                "The token csgn_u_…x7Qa of user \"robot\" lacks the read action.",
            )
            .remedy("Ask the operator for a token that may read."),
        ),
        (
            "error-404",
            no_such_page("/project/pypi/\u{202e}<script>alert(1)</script>/"),
        ),
        (
            "error-500",
            Error::internal(
                "the database answered nonsense",
                std::io::Error::other("secret detail"),
            ),
        ),
        (
            "error-503",
            Error::unavailable("log-stands-still", "The log has not moved for 20 seconds."),
        ),
    ];
    let id = "0199f3d2-6c1e-7a52-9d0c-3a1f5b7c9e11";
    errors
        .into_iter()
        .map(|(name, error)| {
            let frame = Frame::sample();
            let view = FailurePage::new(&frame, status_of(&error), &error, id);
            (name, view.render().unwrap())
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_cause_of_an_internal_error_stays_in_the_log() {
        let pages = samples();
        let (_, page) = pages.iter().find(|(name, _)| *name == "error-500").unwrap();
        assert!(!page.contains("secret detail"));
        assert!(page.contains("0199f3d2-6c1e-7a52-9d0c-3a1f5b7c9e11"));
    }

    #[test]
    fn an_address_that_turns_the_writing_around_is_shown_escaped() {
        let message = no_such_page("/a\u{202e}b").message;
        assert!(message.contains("\\u{202e}"), "{message}");
    }

    #[test]
    fn only_who_likes_html_best_is_a_browser() {
        let asks = |accept: &str| {
            is_browser(&HeaderMap::from_iter([(
                header::ACCEPT,
                accept.parse().unwrap(),
            )]))
        };
        assert!(asks(
            "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8"
        ));
        assert!(!asks(
            "application/vnd.pypi.simple.v1+json, application/vnd.pypi.simple.v1+html; q=0.1, text/html; q=0.01"
        ));
        assert!(!asks("*/*"));
        assert!(!is_browser(&HeaderMap::new()));
    }
}
