//! The page of a request that failed: what was wrong, the way out, and the id to quote.

use askama::Template;
use countersign_registry::{Error, Kind, Result};
use http::StatusCode;

use super::visit::{Frame, Page};

#[derive(Template)]
#[template(path = "failure.html")]
struct FailurePage<'a> {
    frame: &'a Frame,
    status: u16,
    title: &'static str,
    message: &'a str,
    remedy: Option<&'a str>,
    code: &'a str,
    request_id: Option<&'a str>,
}

/// The HTTP status of a branch of errors.
pub(super) fn status(kind: Kind) -> StatusCode {
    match kind {
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

fn title(status: StatusCode) -> &'static str {
    match status {
        StatusCode::UNAUTHORIZED => "Sign in to read",
        StatusCode::FORBIDDEN => "Not allowed",
        StatusCode::NOT_FOUND => "Nothing here",
        StatusCode::SERVICE_UNAVAILABLE => "Not just now",
        StatusCode::TOO_MANY_REQUESTS => "Too many requests",
        StatusCode::INTERNAL_SERVER_ERROR => "That went wrong",
        _ => "That did not work",
    }
}

/// Renders the page of an error.
pub(super) fn page(frame: &Frame, status: StatusCode, error: &Error, request_id: Option<&str>) -> Result<Page> {
    Page::render(&FailurePage {
        frame,
        status: status.as_u16(),
        title: title(status),
        message: &error.message,
        remedy: error.remedy.as_deref(),
        code: &error.code,
        request_id,
    })
}

/// There is no page at this address.
pub(super) fn no_such_page(path: &str) -> Error {
    let shown: String = path.chars().filter(|c| !c.is_control()).take(120).collect();
    Error::new(Kind::NotFound, "page-not-found", format!("There is no page at {shown}."))
        .remedy("Check the address, search for the project, or begin at the front page.")
}

#[cfg(test)]
pub(super) fn samples() -> Vec<(&'static str, String)> {
    let errors = [
        ("error-401", Error::new(Kind::Unauthenticated, "credentials-missing", "This registry shows its packages to known users only.").remedy("Give any user name and, as the password, a token with the read action.")),
        ("error-403", Error::new(Kind::Denied, "read-denied", "The token csgn_u_…x7Qa of user \"robot\" lacks the read action.").remedy("Ask the operator for a token that may read.")),
        ("error-404", no_such_page("/project/pypi/\u{202e}<script>alert(1)</script>/")),
        ("error-500", Error::internal("the database answered nonsense", std::io::Error::other("secret detail"))),
        ("error-503", Error::unavailable("log-standing-still", "The log has not moved for 20 seconds.")),
    ];
    errors
        .into_iter()
        .map(|(name, error)| {
            let view = FailurePage {
                frame: &Frame::sample(),
                status: status(error.kind).as_u16(),
                title: title(status(error.kind)),
                message: &error.message,
                remedy: error.remedy.as_deref(),
                code: &error.code,
                request_id: Some("0199f3d2-6c1e-7a52-9d0c-3a1f5b7c9e11"),
            };
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
}
