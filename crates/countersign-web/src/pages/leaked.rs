//! Where anybody can end a token that was found: to hold it is reason enough.

use askama::Template;
use axum::Router;
use axum::body::Body;
use axum::response::Response;
use axum::routing::get;
use countersign_registry::Error;

use super::guest::Guest;
use super::phrase::counted;
use super::visit::Frame;
use crate::Site;
use crate::error::{Refusal, status_of};

pub(super) fn routes() -> Router<Site> {
    Router::new().route("/leaked", get(show).post(revoke))
}

#[derive(Template)]
#[template(path = "account/leaked.html")]
struct LeakedPage<'a> {
    frame: &'a Frame,
    fault: Option<&'a Error>,
    asked: bool,
    verdict: String,
}

async fn show(guest: Guest) -> Response {
    guest.page(&LeakedPage {
        frame: &guest.frame,
        fault: None,
        asked: false,
        verdict: String::new(),
    })
}

async fn revoke(guest: Guest, body: Body) -> Result<Response, Refusal> {
    let form = guest.fields(body).await?;
    let outcome = guest
        .site
        .registry
        .report_leak(form.raw("tokens"), form.get("url"), &guest.origin)
        .await;
    let page = |fault, verdict| LeakedPage {
        frame: &guest.frame,
        fault,
        asked: fault.is_none(),
        verdict,
    };
    Ok(match outcome {
        Err(error) => guest.page_as(status_of(&error), &page(Some(&error), String::new())),
        Ok(answers) => {
            let ours = answers
                .iter()
                .filter(|answer| answer.label == "true_positive")
                .count();
            let verdict = if ours == 0 {
                "There is no token of this registry in it.".to_owned()
            } else {
                format!(
                    "{} of this registry is good no longer. Thank you.",
                    counted(ours as u64, "token", "tokens")
                )
            };
            guest.page(&page(None, verdict))
        }
    })
}
