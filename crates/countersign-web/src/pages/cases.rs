//! What of a project is withheld, and what the scanner found in its files: for its own people, who object here.

use askama::Template;
use axum::Router;
use axum::body::Body;
use axum::extract::Path;
use axum::response::Response;
use axum::routing::{get, post};
use countersign_registry::model::{Case, FileState, FoundIn};

use super::guest::{Member, refused};
use super::phrase::Told as _;
use super::settings::{Addressed, ecosystem, path_of};
use super::visit::Frame;
use crate::Site;
use crate::error::Refusal;

pub(super) fn routes() -> Router<Site> {
    let at = |rest: &str| format!("/projects/{{ecosystem}}/{{name}}/settings{rest}");
    Router::new()
        .route(&at("/cases"), get(show))
        .route(&at("/cases/appeal"), post(appeal))
}

#[derive(Template)]
#[template(path = "account/cases.html")]
struct CasesPage<'a> {
    frame: &'a Frame,
    place: &'static str,
    said: Option<&'static str>,
    to_appeal: String,
    name: &'a str,
    open: Vec<Case>,
    past: Vec<Case>,
    findings: Vec<FoundIn>,
}

/// Who withheld it, as its people are told.
fn cause_in_words(case: &Case) -> &'static str {
    match case.cause.as_str() {
        "reports" => "after reports",
        "scan" => "by the scanner",
        "feed" => "because its bytes are known",
        "names" => "because of its name",
        _ => "by the operator",
    }
}

/// What became of a file, and how loud that is.
fn state_in_words(found: &FoundIn) -> (&'static str, &'static str) {
    match found.state {
        FileState::Live => ("", "served"),
        FileState::Staged => ("", "waits for the log"),
        FileState::Held => ("warn", "held, never served"),
        FileState::Quarantined => ("danger", "withheld"),
        FileState::Removed => ("", "deleted"),
    }
}

async fn show(member: Member, Path((system, name)): Addressed) -> Result<Response, Refusal> {
    let system = ecosystem(&system)?;
    let (registry, actor) = (&member.site.registry, &member.actor);
    // A project of which everything is held is seen by nobody else, and by its people here.
    let cases = registry.cases_of(actor, system, &name).await;
    let (open, past) = cases
        .map_err(refused)?
        .into_iter()
        .partition(|case| case.closed.is_none());
    Ok(member.page(&CasesPage {
        frame: &member.frame,
        place: "/account/projects",
        said: member.said(),
        to_appeal: format!("{}/cases/appeal", path_of(system, &name)),
        name: &name,
        open,
        past,
        findings: registry
            .findings_of(actor, system, &name)
            .await
            .map_err(refused)?,
    }))
}

async fn appeal(
    member: Member,
    Path((system, name)): Addressed,
    body: Body,
) -> Result<Response, Refusal> {
    let form = member.fields(body).await?;
    let system = ecosystem(&system)?;
    let (case, text) = (form.get("case"), form.get("text"));
    let outcome = member
        .site
        .registry
        .appeal(&member.actor, system, &name, case, text)
        .await;
    let back = format!("{}/cases", path_of(system, &name));
    member.done(outcome, &back, "appealed").await
}
