//! Approvals: one act on one thing, shown in full, granted by a passkey for this and nothing else.

use askama::Template;
use axum::Router;
use axum::body::Body;
use axum::response::Response;
use axum::routing::{get, post};
use countersign_registry::Approval;
use http::StatusCode;

use super::guest::{Member, go, refused};
use super::phrase::Told as _;
use super::sign_in::{answer, for_script, question};
use super::visit::Frame;
use crate::Site;
use crate::error::Refusal;
use crate::session::own_path;

/// The page.
pub(super) const HERE: &str = "/account/approvals";

pub(super) fn routes() -> Router<Site> {
    Router::new()
        .route(HERE, get(show))
        .route("/account/approvals/options", post(options))
        .route("/account/approvals/grant", post(grant))
        .route("/account/approvals/refuse", post(refuse))
}

#[derive(Template)]
#[template(path = "account/approvals.html")]
struct ApprovalsPage<'a> {
    frame: &'a Frame,
    place: &'static str,
    said: Option<&'static str>,
    approvals: Vec<Approval>,
    /// What was sent and waits for an approval: of which, its secret, and where it leads; empty where nothing does.
    waits: (String, String, String),
}

async fn show(member: Member) -> Result<Response, Refusal> {
    let approvals = member
        .site
        .registry
        .approvals(&member.actor)
        .await
        .map_err(refused)?;
    Ok(member.page(&ApprovalsPage {
        frame: &member.frame,
        place: HERE,
        said: member.said(),
        approvals,
        waits: (
            member.query.get("for").to_owned(),
            member.query.get("held").to_owned(),
            own_path(member.query.some("onto"), ""),
        ),
    }))
}

async fn options(member: Member, body: Body) -> Result<Response, Refusal> {
    let form = member.fields(body).await.map_err(for_script)?;
    let ceremony = member
        .site
        .registry
        .approval_start(&member.actor, form.get("id"))
        .await
        .map_err(Refusal::problem)?;
    Ok(question(ceremony))
}

async fn grant(member: Member, body: Body) -> Result<Response, Refusal> {
    let form = member.fields(body).await?;
    let answer = answer(&form)?;
    let outcome = member
        .site
        .registry
        .approval_finish(&member.actor, form.get("id"), &answer, &member.origin)
        .await;
    let onto = own_path(form.some("onto"), "");
    if outcome.is_ok() && form.some("held").is_some() && !onto.is_empty() {
        // The browser sends this very form on, and what was held is taken in place of it.
        let mut response = go(&onto);
        *response.status_mut() = StatusCode::TEMPORARY_REDIRECT;
        return Ok(response);
    }
    member.done(outcome, HERE, "approved").await
}

async fn refuse(member: Member, body: Body) -> Result<Response, Refusal> {
    let form = member.fields(body).await?;
    let outcome = member
        .site
        .registry
        .refuse_approval(&member.actor, form.get("id"))
        .await;
    member.done(outcome, HERE, "refused").await
}
