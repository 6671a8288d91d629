//! Where an enrolment link leads, for as long as accounts have no pages of their own.

use askama::Template;
use axum::extract::State;
use axum::response::{Html, IntoResponse, Response};
use http::header;

use super::visit::{CONTENT_SECURITY_POLICY, Frame, Page};
use crate::Site;
use crate::error::Refusal;

#[derive(Template)]
#[template(path = "enrol.html")]
struct EnrolPage<'a> {
    frame: &'a Frame,
}

/// `GET /enrol/{secret}`: the same for every secret, good or not. Nobody looks at it, nothing keeps it: neither a cache
/// nor, through the referrer, another page. Open on restricted instances too, since who comes here has no token yet.
pub(super) async fn show(State(site): State<Site>) -> Result<Response, Refusal> {
    let frame = Frame::of(&site);
    let page = Page::render(&EnrolPage { frame: &frame }).map_err(Refusal::text)?;
    let headers = [
        (header::CONTENT_SECURITY_POLICY, CONTENT_SECURITY_POLICY),
        (header::CACHE_CONTROL, "no-store"),
        (header::REFERRER_POLICY, "no-referrer"),
    ];
    Ok((headers, Html(page.html)).into_response())
}

#[cfg(test)]
pub(super) fn samples() -> Vec<(&'static str, String)> {
    let frame = Frame::sample();
    vec![("enrol", EnrolPage { frame: &frame }.render().unwrap())]
}
