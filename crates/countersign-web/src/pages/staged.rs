//! What is staged and waits for a person: what it is, who sent it, from where, and what differs from what is out.

use askama::Template;
use axum::Router;
use axum::body::Body;
use axum::response::Response;
use axum::routing::{get, post};
use countersign_formats::npm::changes::Change;
use countersign_registry::StagedPublication;

use super::guest::{Member, refused};
use super::phrase::Told as _;
use super::visit::Frame;
use crate::Site;
use crate::error::Refusal;

/// The page.
const HERE: &str = "/account/staged";

pub(super) fn routes() -> Router<Site> {
    Router::new()
        .route(HERE, get(show))
        .route("/account/staged/approve", post(approve))
        .route("/account/staged/reject", post(reject))
}

/// One that waits, with the version it is compared to.
struct Waiting {
    staged: StagedPublication,
    since: Option<(String, Vec<Change>)>,
}

#[derive(Template)]
#[template(path = "account/staged.html")]
struct StagedPage<'a> {
    frame: &'a Frame,
    place: &'static str,
    said: Option<&'static str>,
    waiting: Vec<Waiting>,
}

async fn show(member: Member) -> Result<Response, Refusal> {
    let registry = &member.site.registry;
    let staged = registry.staged_publications(&member.actor).await;
    let mut waiting = Vec::new();
    for staged in staged.map_err(refused)? {
        let since = registry.staged_changes(&staged).await.map_err(refused)?;
        waiting.push(Waiting { staged, since });
    }
    Ok(member.page(&StagedPage {
        frame: &member.frame,
        place: HERE,
        said: member.said(),
        waiting,
    }))
}

/// Publishes what the page showed: this id with this digest.
async fn approve(member: Member, body: Body) -> Result<Response, Refusal> {
    let form = member.fields(body).await?;
    let (registry, approver) = (member.site.registry.clone(), member.actor.clone());
    let (id, sha256) = (form.get("id").to_owned(), form.get("sha256").to_owned());
    // In a task of its own: a browser that goes away now must not stop a publish half way.
    let approving =
        tokio::spawn(async move { registry.approve_staged(&approver, &id, Some(&sha256)).await });
    let outcome = approving.await.unwrap_or_else(|error| {
        Err(countersign_registry::Error::internal(
            "an approval ended in a panic",
            error,
        ))
    });
    member
        .done(outcome.map(drop), HERE, "staged-approved")
        .await
}

async fn reject(member: Member, body: Body) -> Result<Response, Refusal> {
    let form = member.fields(body).await?;
    let outcome = member
        .site
        .registry
        .reject_staged(&member.actor, form.get("id"))
        .await;
    member.done(outcome, HERE, "staged-rejected").await
}
