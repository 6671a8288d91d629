//! What a project's owners say of its provenance: exceptions, moves, and whose attestations are taken with API tokens.

use askama::Template;
use axum::Router;
use axum::body::Body;
use axum::extract::Path;
use axum::response::Response;
use axum::routing::{get, post};
use countersign_registry::model::{
    ChangeKind, ProjectProvenance, ProvenanceChange, SourceTuple, TrustLevel,
};
use countersign_registry::{NewException, NewIdentity, NewMove};

use super::guest::{Fields, Member, refused};
use super::phrase::Told as _;
use super::settings::{Addressed, ecosystem, malformed, path_of};
use super::visit::Frame;
use crate::Site;
use crate::error::Refusal;

pub(super) fn routes() -> Router<Site> {
    let at = |rest: &str| format!("/projects/{{ecosystem}}/{{name}}/settings{rest}");
    Router::new()
        .route(&at("/provenance"), get(show))
        .route(&at("/provenance/exception"), post(open_exception))
        .route(&at("/provenance/move"), post(declare_move))
        .route(&at("/provenance/confirm"), post(confirm))
        .route(&at("/provenance/close"), post(close))
        .route(&at("/provenance/identities"), post(trust))
        .route(&at("/provenance/identities/remove"), post(distrust))
}

#[derive(Template)]
#[template(path = "account/provenance.html")]
struct ProvenancePage<'a> {
    frame: &'a Frame,
    place: &'static str,
    said: Option<&'static str>,
    settings: String,
    here: String,
    to_confirm: String,
    to_close: String,
    to_remove: String,
    name: String,
    known: ProjectProvenance,
    level: &'static str,
    lower: Vec<(&'static str, &'static str)>,
    /// Those that hold or wait.
    open: Vec<ProvenanceChange>,
    past: Vec<ProvenanceChange>,
}

/// A level as these pages say it.
fn in_words(level: TrustLevel) -> &'static str {
    match level {
        TrustLevel::None => "nothing that vouches for them",
        TrustLevel::Token => "an API token",
        TrustLevel::Workflow => "a trusted publisher",
        TrustLevel::Provenance => "confirmed build provenance",
    }
}

impl ProvenancePage<'_> {
    fn level_of(&self, change: &ProvenanceChange) -> &'static str {
        change.level.map_or("", in_words)
    }

    fn title(&self, change: &ProvenanceChange) -> &'static str {
        match change.kind {
            ChangeKind::Exception => "Exception",
            ChangeKind::Move => "Move",
            ChangeKind::Rename => "Rename",
            ChangeKind::Loss => "Loss",
        }
    }
}

/// The path of the page.
fn page_of(settings: &str) -> String {
    format!("{settings}/provenance")
}

async fn show(member: Member, Path((system, name)): Addressed) -> Result<Response, Refusal> {
    let system = ecosystem(&system)?;
    let (registry, actor) = (&member.site.registry, &member.actor);
    // The policy is for whoever works on the project; asking for it first tells strangers nothing else.
    registry
        .project_policy(actor, system, &name)
        .await
        .map_err(refused)?;
    let project = registry.project(system, &name).await.map_err(refused)?;
    let mut known = registry
        .project_provenance(system, &name)
        .await
        .map_err(refused)?;
    let (open, past) = std::mem::take(&mut known.changes)
        .into_iter()
        .partition(|change| matches!(change.state, "open" | "waiting"));
    let settings = path_of(system, &project.key);
    let here = page_of(&settings);
    Ok(member.page(&ProvenancePage {
        frame: &member.frame,
        place: "/account/projects",
        said: member.said(),
        to_confirm: format!("{here}/confirm"),
        to_close: format!("{here}/close"),
        to_remove: format!("{here}/identities/remove"),
        here,
        settings,
        name: project.name,
        level: in_words(known.level),
        lower: [TrustLevel::Workflow, TrustLevel::Token, TrustLevel::None]
            .into_iter()
            .filter(|level| *level < known.level)
            .map(|level| (level.as_str(), in_words(level)))
            .collect(),
        known,
        open,
        past,
    }))
}

fn hours(form: &Fields) -> Result<u32, Refusal> {
    form.get("hours")
        .parse()
        .map_err(|_| refused(malformed("the hours are a number")))
}

async fn open_exception(
    member: Member,
    Path((system, name)): Addressed,
    body: Body,
) -> Result<Response, Refusal> {
    let form = member.fields(body).await?;
    let system = ecosystem(&system)?;
    let level = form.get("level").parse();
    let new = NewException {
        level: level.map_err(|why: String| refused(malformed(&why)))?,
        hours: hours(&form)?,
        reason: form.get("reason").to_owned(),
    };
    let outcome = member
        .site
        .registry
        .open_exception(&member.actor, system, &name, new)
        .await;
    let back = page_of(&path_of(system, &name));
    member.done(outcome, &back, "exception-opened").await
}

async fn declare_move(
    member: Member,
    Path((system, name)): Addressed,
    body: Body,
) -> Result<Response, Refusal> {
    let form = member.fields(body).await?;
    let system = ecosystem(&system)?;
    let new = NewMove {
        to: SourceTuple {
            issuer: form.get("issuer").to_owned(),
            repository: form.get("repository").to_owned(),
            repository_id: form.some("repository_id").map(str::to_owned),
            owner_id: form.some("owner_id").map(str::to_owned),
        },
        hours: hours(&form)?,
        reason: form.get("reason").to_owned(),
    };
    let outcome = member
        .site
        .registry
        .declare_move(&member.actor, system, &name, new)
        .await;
    let back = page_of(&path_of(system, &name));
    member.done(outcome, &back, "move-declared").await
}

async fn confirm(
    member: Member,
    Path((system, name)): Addressed,
    body: Body,
) -> Result<Response, Refusal> {
    let form = member.fields(body).await?;
    let back = page_of(&path_of(ecosystem(&system)?, &name));
    let outcome = member
        .site
        .registry
        .confirm_change(&member.actor, form.get("id"))
        .await;
    member.done(outcome, &back, "change-confirmed").await
}

async fn close(
    member: Member,
    Path((system, name)): Addressed,
    body: Body,
) -> Result<Response, Refusal> {
    let form = member.fields(body).await?;
    let back = page_of(&path_of(ecosystem(&system)?, &name));
    let outcome = member
        .site
        .registry
        .close_change(&member.actor, form.get("id"))
        .await;
    member.done(outcome, &back, "change-closed").await
}

async fn trust(
    member: Member,
    Path((system, name)): Addressed,
    body: Body,
) -> Result<Response, Refusal> {
    let form = member.fields(body).await?;
    let system = ecosystem(&system)?;
    let new = NewIdentity {
        issuer: form.get("issuer").to_owned(),
        repository: form.get("repository").to_owned(),
        workflow: form.some("workflow").map(str::to_owned),
    };
    let outcome = member
        .site
        .registry
        .trust_identity(&member.actor, system, &name, new)
        .await;
    let back = page_of(&path_of(system, &name));
    member.done(outcome, &back, "identity-trusted").await
}

async fn distrust(
    member: Member,
    Path((system, name)): Addressed,
    body: Body,
) -> Result<Response, Refusal> {
    let form = member.fields(body).await?;
    let system = ecosystem(&system)?;
    let outcome = member
        .site
        .registry
        .distrust_identity(&member.actor, system, &name, form.get("id"))
        .await;
    let back = page_of(&path_of(system, &name));
    member.done(outcome, &back, "identity-distrusted").await
}
