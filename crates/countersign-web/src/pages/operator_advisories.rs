//! The console's page of advisories: what is not served because of them, what is all the same, and telling those who downloaded
//! something that turned out to do harm.

use askama::Template;
use axum::Router;
use axum::body::Body;
use axum::response::Response;
use axum::routing::{get, post};
use countersign_formats::Ecosystem;
use countersign_registry::{
    AdvisoryExemption, AdvisoryFeedState, DownloadWarning, Error, FeedProblem, Kind, NewExemption,
};

use super::guest::Member;
use super::links;
use super::phrase::Told as _;
use super::visit::Frame;
use crate::Site;
use crate::error::{Refusal, shown};

/// The page.
pub(super) const ADVISORIES: &str = "/operator/advisories";
/// At most so many accounts and releases of a warning are named.
const SHOWN: usize = 200;
/// The longest that an exemption is made for with the form, in days.
const LONGEST: i64 = 3_650;

pub(super) fn routes() -> Router<Site> {
    Router::new()
        .route(ADVISORIES, get(show).post(exempt))
        .route("/operator/advisories/end", post(end))
        .route("/operator/advisories/warn", post(warn))
}

#[derive(Template)]
#[template(path = "account/operator_advisories.html")]
struct AdvisoriesPage<'a> {
    frame: &'a Frame,
    place: &'static str,
    said: Option<&'static str>,
    tab: &'static str,
    block: &'static str,
    exemptions: Vec<AdvisoryExemption>,
    feeds: Vec<AdvisoryFeedState>,
    problems: Vec<FeedProblem>,
    keeps: bool,
    /// The advisory that was asked about.
    asked: String,
    warning: Option<DownloadWarning>,
    /// How many more it concerns than are named.
    unnamed: usize,
    /// Why there is no answer.
    fault: Option<String>,
}

/// `ECOSYSTEM:NAME`, or just a name of Python's.
pub(super) fn project_named(text: &str) -> Result<(Ecosystem, &str), Error> {
    let Some((ecosystem, name)) = text.split_once(':') else {
        return Ok((Ecosystem::Pypi, text));
    };
    let ecosystem = ecosystem.parse().map_err(|_| {
        let message = format!("There is no ecosystem {}.", shown(ecosystem));
        Error::new(Kind::Rejected, "ecosystem-unknown", message)
            .remedy("Write it like pypi:demo, cargo:demo or npm:demo.")
    })?;
    Ok((ecosystem, name.trim()))
}

async fn page(member: &Member) -> Result<Response, Error> {
    let (registry, actor) = (&member.site.registry, &member.actor);
    let exemptions = registry.advisory_exemptions(actor).await?;
    let asked = member.query.get("warn").to_owned();
    let (mut warning, mut fault, mut unnamed) = (None, None, 0);
    if !asked.is_empty() {
        match registry.warn_downloaders(actor, &asked, false).await {
            Ok(mut found) => {
                unnamed = found.accounts.len().saturating_sub(SHOWN);
                found.accounts.truncate(SHOWN);
                found.releases.truncate(SHOWN);
                warning = Some(found);
            }
            Err(error) if matches!(error.kind, Kind::Rejected | Kind::NotFound) => {
                fault = Some(error.message);
            }
            Err(error) => return Err(error),
        }
    }
    Ok(member.page(&AdvisoriesPage {
        frame: &member.frame,
        place: "/operator",
        said: member.said(),
        tab: ADVISORIES,
        block: registry.settings().advisories.block.as_str(),
        exemptions,
        feeds: registry.advisory_feeds().await?,
        problems: registry.advisory_problems().await?,
        keeps: registry.keeps_downloaders(),
        asked,
        warning,
        unnamed,
        fault,
    }))
}

async fn show(member: Member) -> Result<Response, Refusal> {
    match page(&member).await {
        Ok(response) => Ok(response),
        Err(error) => member.not_done(error, ADVISORIES).await,
    }
}

async fn exempt(member: Member, body: Body) -> Result<Response, Refusal> {
    let form = member.fields(body).await?;
    let outcome = async {
        let (ecosystem, name) = project_named(form.get("project"))?;
        let registry = &member.site.registry;
        let until = match form.some("days") {
            None => None,
            Some(days) => {
                let days = days
                    .parse()
                    .ok()
                    .filter(|days| (1..=LONGEST).contains(days));
                let days: i64 = days.ok_or_else(|| {
                    Error::new(
                        Kind::Rejected,
                        "exemption-until",
                        format!("The days of an exemption are a number from 1 to {LONGEST}."),
                    )
                    .remedy("Leave it empty, if it shall hold until you end it.")
                })?;
                Some(registry.now().plus_seconds(days * 86_400))
            }
        };
        let new = NewExemption {
            ecosystem,
            project: name.to_owned(),
            version: form.some("version").map(str::to_owned),
            advisory: form.get("advisory").to_owned(),
            reason: form.get("why").to_owned(),
            until,
        };
        registry.exempt_from_advisory(&member.actor, &new).await
    }
    .await;
    member.done(outcome, ADVISORIES, "exempted").await
}

async fn end(member: Member, body: Body) -> Result<Response, Refusal> {
    let form = member.fields(body).await?;
    let outcome = member
        .site
        .registry
        .end_exemption(&member.actor, form.get("id"))
        .await;
    member.done(outcome, ADVISORIES, "exemption-ended").await
}

async fn warn(member: Member, body: Body) -> Result<Response, Refusal> {
    let form = member.fields(body).await?;
    let outcome = member
        .site
        .registry
        .warn_downloaders(&member.actor, form.get("advisory"), true)
        .await;
    member.done(outcome, ADVISORIES, "downloaders-told").await
}
