//! The console's page of names: those that are asked for and do not exist, and what is prohibited. Lists of protected names are
//! imported at the machine.

use askama::Template;
use axum::Router;
use axum::body::Body;
use axum::response::Response;
use axum::routing::{get, post};
use countersign_registry::{Error, MissingName, ProhibitedName};

use super::guest::Member;
use super::operator_advisories::project_named;
use super::phrase::{Told as _, count};
use super::visit::Frame;
use crate::Site;
use crate::error::Refusal;

/// The page.
pub(super) const NAMES: &str = "/operator/names";

pub(super) fn routes() -> Router<Site> {
    Router::new()
        .route(NAMES, get(show))
        .route("/operator/names/prohibit", post(prohibit))
        .route("/operator/names/reserve", post(reserve))
}

#[derive(Template)]
#[template(path = "account/operator_names.html")]
struct NamesPage<'a> {
    frame: &'a Frame,
    place: &'static str,
    said: Option<&'static str>,
    tab: &'static str,
    missing: Vec<MissingName>,
    prohibited: Vec<ProhibitedName>,
}

impl NamesPage<'_> {
    fn asked(missing: &MissingName) -> String {
        let days = if missing.days == 1 { "day" } else { "days" };
        format!(
            "asked for {} times on {} {days}",
            count(missing.asked),
            missing.days
        )
    }
}

async fn page(member: &Member) -> Result<Response, Error> {
    let (registry, actor) = (&member.site.registry, &member.actor);
    Ok(member.page(&NamesPage {
        frame: &member.frame,
        place: "/operator",
        said: member.said(),
        tab: NAMES,
        missing: registry.missing_names(actor).await?,
        prohibited: registry.prohibited_names(actor).await?,
    }))
}

async fn show(member: Member) -> Result<Response, Refusal> {
    match page(&member).await {
        Ok(response) => Ok(response),
        Err(error) => member.not_done(error, NAMES).await,
    }
}

async fn prohibit(member: Member, body: Body) -> Result<Response, Refusal> {
    let form = member.fields(body).await?;
    let permit = form.get("do") == "permit";
    let outcome = async {
        let (ecosystem, name) = project_named(form.get("project"))?;
        let reason = (!permit).then(|| form.get("why"));
        let registry = &member.site.registry;
        registry
            .prohibit_name(&member.actor, ecosystem, name, reason)
            .await
    }
    .await;
    let word = if permit {
        "name-permitted"
    } else {
        "name-prohibited"
    };
    member.done(outcome, NAMES, word).await
}

async fn reserve(member: Member, body: Body) -> Result<Response, Refusal> {
    let form = member.fields(body).await?;
    let outcome = async {
        let (ecosystem, name) = project_named(form.get("project"))?;
        let organisation = form.get("organisation");
        let registry = &member.site.registry;
        registry
            .reserve_namespace(&member.actor, ecosystem, name, Some(organisation))
            .await
    }
    .await;
    member.done(outcome, NAMES, "name-reserved").await
}
