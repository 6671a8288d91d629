//! Incidents: the records that everybody reads, and what an operator does about one.

use axum::body::Body;
use axum::extract::rejection::QueryRejection;
use axum::extract::{Path, Query, State};
use axum::response::IntoResponse;
use countersign_registry::model::Time;
use countersign_registry::{
    Error, Incident, IncidentChange, IncidentMoment, IncidentSummary, Kind, NewIncident,
    Revocation, Rewind, RewindStep, Stop, Subject, Touched, Window,
};
use http::{HeaderMap, StatusCode};
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use super::view::Problem;
use super::{Answer, body, json, kept_by_nobody, query_refused};
use crate::error::Refusal;
use crate::site::Site;

/// An incident in a list.
#[derive(Serialize, ToSchema)]
pub(super) struct IncidentView {
    id: String,
    title: String,
    /// From when on it is about.
    began: String,
    opened: String,
    /// Since when everybody reads it.
    public: Option<String>,
    closed: Option<String>,
    /// Its page.
    page: String,
}

/// Incidents, newest first.
#[derive(Serialize, ToSchema)]
pub(super) struct IncidentList {
    items: Vec<IncidentView>,
    /// Why nothing can be published now, where that is so.
    standstill: Option<StopView>,
}

/// Something that happened.
#[derive(Serialize, ToSchema)]
pub(super) struct MomentView {
    at: String,
    /// `update`, or the kind of the log's entry.
    kind: String,
    /// The operator's words in Markdown, or a purl.
    text: String,
    /// Index in the log.
    leaf: Option<u64>,
}

/// An incident, whole.
#[derive(Serialize, ToSchema)]
pub(super) struct IncidentDetail {
    #[serde(flatten)]
    head: IncidentView,
    /// In Markdown.
    summary: String,
    /// Package URLs of what it is about.
    about: Vec<String>,
    /// Oldest first.
    timeline: Vec<MomentView>,
}

/// An incident to open.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct OpenIncident {
    title: String,
    #[serde(default)]
    summary: String,
    /// Package URLs of projects, releases or files.
    #[serde(default)]
    about: Vec<String>,
    /// Show it to everybody.
    #[serde(default)]
    public: bool,
}

/// What is said further.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct ChangeIncident {
    text: String,
    #[serde(default)]
    about: Vec<String>,
    /// Show it to everybody from now on.
    #[serde(default)]
    public: bool,
    /// It is over.
    #[serde(default)]
    close: bool,
}

/// Whose doings, and when.
#[derive(Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
pub(super) struct Asked {
    /// `user:NAME`, `token:ID`, `session:ID`, `publisher:ID`, `workflow:TEXT`, `issuer:URL`, `address:IP` or `project:ECOSYSTEM:NAME`.
    subject: String,
    /// From when on, RFC 3339.
    since: Option<String>,
    /// Until when, RFC 3339.
    until: Option<String>,
}

/// One thing that somebody did.
#[derive(Serialize, ToSchema)]
pub(super) struct TouchedView {
    event: String,
    at: String,
    kind: String,
    purl: String,
    file: Option<String>,
    sha256: Option<String>,
    /// Index in the log; none for what gets no entry.
    leaf: Option<u64>,
    actor: Option<String>,
    credential: Option<String>,
    account: Option<String>,
}

/// What somebody did.
#[derive(Serialize, ToSchema)]
pub(super) struct TraceView {
    subject: String,
    items: Vec<TouchedView>,
    /// As `ECOSYSTEM:KEY`.
    projects: Vec<String>,
    /// There was more.
    more: bool,
}

/// Something that takes no changes.
#[derive(Serialize, ToSchema)]
pub(super) struct StopView {
    /// `registry`, `organisation`, `project` or `account`.
    scope: String,
    name: String,
    reason: String,
    since: String,
}

/// What takes no changes.
#[derive(Serialize, ToSchema)]
pub(super) struct StopList {
    items: Vec<StopView>,
}

/// What to freeze, or to free.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Freeze {
    /// `user:NAME`, `project:ECOSYSTEM:NAME`, `organisation:NAME` or `registry`.
    subject: String,
    frozen: bool,
    /// Told to everybody whom it stops.
    #[serde(default)]
    reason: String,
}

/// Whose credentials to end.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Revoke {
    /// As for a trace; or `organisation:NAME`, or `registry` for all.
    subject: String,
    /// Only what was made from then on, RFC 3339.
    made_since: Option<String>,
    /// Only what was made before then.
    made_until: Option<String>,
    /// Told to everybody whose they are.
    reason: String,
    /// Do it; else it is counted.
    #[serde(default)]
    apply: bool,
}

/// What was ended, or would be.
#[derive(Serialize, ToSchema)]
pub(super) struct RevocationView {
    tokens: usize,
    sessions: usize,
    workflow_tokens: usize,
    people: Vec<String>,
    applied: bool,
}

/// Whose doings to take back.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct TakeBack {
    subject: String,
    /// RFC 3339.
    since: String,
    until: Option<String>,
    /// Shown beside what is withheld.
    reason: String,
    /// Do it; else it is listed.
    #[serde(default)]
    apply: bool,
}

/// One step of it.
#[derive(Serialize, ToSchema)]
pub(super) struct StepView {
    event: String,
    what: String,
    /// `planned`, `done`, `already`, `refused` or `by-hand`.
    state: &'static str,
    note: Option<String>,
}

/// What takes it back.
#[derive(Serialize, ToSchema)]
pub(super) struct RewindView {
    steps: Vec<StepView>,
    more: bool,
}

impl IncidentView {
    fn of(site: &Site, one: IncidentSummary) -> Self {
        Self {
            page: format!("{}/incidents/{}", site.registry.settings().site(), one.id),
            id: one.id,
            title: one.title,
            began: one.began.rfc3339(),
            opened: one.opened.rfc3339(),
            public: one.public.map(Time::rfc3339),
            closed: one.closed.map(Time::rfc3339),
        }
    }
}

impl IncidentDetail {
    fn of(site: &Site, one: Incident) -> Self {
        Self {
            head: IncidentView::of(site, one.head),
            summary: one.summary,
            about: one.about,
            timeline: one.timeline.into_iter().map(MomentView::from).collect(),
        }
    }
}

impl From<IncidentMoment> for MomentView {
    fn from(moment: IncidentMoment) -> Self {
        Self {
            at: moment.at.rfc3339(),
            kind: moment.kind,
            text: moment.text,
            leaf: moment.leaf,
        }
    }
}

impl From<Touched> for TouchedView {
    fn from(one: Touched) -> Self {
        Self {
            event: one.event,
            at: one.at.rfc3339(),
            kind: one.kind,
            purl: one.purl,
            file: one.file,
            sha256: one.sha256,
            leaf: one.leaf.map(|(_, index)| index),
            actor: one.actor.or(Some(one.by)),
            credential: one.credential,
            account: one.account,
        }
    }
}

impl From<Stop> for StopView {
    fn from(stop: Stop) -> Self {
        Self {
            scope: stop.scope,
            name: stop.name,
            reason: stop.reason,
            since: stop.since.rfc3339(),
        }
    }
}

impl From<Revocation> for RevocationView {
    fn from(told: Revocation) -> Self {
        Self {
            tokens: told.tokens,
            sessions: told.sessions,
            workflow_tokens: told.workflow_tokens,
            people: told.people,
            applied: told.applied,
        }
    }
}

impl From<Rewind> for RewindView {
    fn from(rewind: Rewind) -> Self {
        let step = |step: RewindStep| StepView {
            event: step.event,
            what: step.what,
            state: step.state.as_str(),
            note: step.note,
        };
        Self {
            steps: rewind.steps.into_iter().map(step).collect(),
            more: rewind.more,
        }
    }
}

fn subject(text: &str) -> Result<Subject, Refusal> {
    text.parse().map_err(|why: String| {
        let error = Error::new(Kind::Rejected, "subject-unfit", format!("{why}."));
        Refusal::problem(error.remedy("Write it like user:ann or project:pypi:demo."))
    })
}

pub(super) fn time(text: &str) -> Result<Time, Refusal> {
    let at: Option<jiff::Timestamp> = text.parse().ok();
    at.map(|at| Time(at.as_microsecond())).ok_or_else(|| {
        let shown: String = text.chars().take(40).collect();
        let error = Error::new(
            Kind::Rejected,
            "query-malformed",
            format!("{shown:?} is no time."),
        );
        Refusal::problem(error.remedy("Write it like 2026-11-22T09:00:00Z."))
    })
}

fn window(since: Option<&str>, until: Option<&str>) -> Result<Window, Refusal> {
    Ok(Window {
        since: since.map_or(Ok(Time(0)), time)?,
        until: until.map(time).transpose()?,
    })
}

/// What went wrong here: incidents that are public
#[utoipa::path(get, path = "/api/v1/incidents", tag = "moderation",
    responses((status = OK, body = IncidentList), (status = "default", body = Problem, content_type = "application/problem+json")))]
pub(super) async fn incidents(State(site): State<Site>, headers: HeaderMap) -> Answer {
    let actor = site.viewer(&headers).await.map_err(Refusal::problem)?;
    let found = site.registry.incidents(&actor).await;
    let items = found
        .map_err(Refusal::problem)?
        .into_iter()
        .map(|one| IncidentView::of(&site, one))
        .collect();
    let stop = site.registry.standstill().await.map_err(Refusal::problem)?;
    let told = json(
        &site,
        &IncidentList {
            items,
            standstill: stop.map(StopView::from),
        },
    )?;
    Ok(kept_by_nobody(StatusCode::OK, told))
}

/// One incident with its timeline
#[utoipa::path(get, path = "/api/v1/incidents/{id}", tag = "moderation", params(("id" = String, Path)),
    responses((status = OK, body = IncidentDetail), (status = "default", body = Problem, content_type = "application/problem+json")))]
pub(super) async fn incident(
    State(site): State<Site>,
    Path(id): Path<String>,
    headers: HeaderMap,
) -> Answer {
    let actor = site.viewer(&headers).await.map_err(Refusal::problem)?;
    let found = site.registry.incident(&actor, &id).await;
    let found = found.map_err(Refusal::problem)?;
    let told = json(&site, &IncidentDetail::of(&site, found))?;
    Ok(kept_by_nobody(StatusCode::OK, told))
}

/// Open an incident
#[utoipa::path(post, path = "/api/v1/operator/incidents", tag = "operator", security(("session" = [])), request_body = OpenIncident,
    responses((status = CREATED, body = IncidentDetail), (status = "default", body = Problem, content_type = "application/problem+json")))]
pub(super) async fn open(State(site): State<Site>, headers: HeaderMap, content: Body) -> Answer {
    let actor = site.actor(&headers).await.map_err(Refusal::problem)?;
    let wanted: OpenIncident = body(content).await?;
    let new = NewIncident {
        title: wanted.title,
        summary: wanted.summary,
        about: wanted.about,
        began: None,
        public: wanted.public,
    };
    let registry = &site.registry;
    let id = registry.open_incident(&actor, &new).await;
    let id = id.map_err(Refusal::problem)?;
    let made = registry.incident(&actor, &id).await;
    let made = made.map_err(Refusal::problem)?;
    let told = json(&site, &IncidentDetail::of(&site, made))?;
    Ok(kept_by_nobody(StatusCode::CREATED, told))
}

/// Say more about an incident, make it public, or close it
#[utoipa::path(post, path = "/api/v1/operator/incidents/{id}", tag = "operator", security(("session" = [])), request_body = ChangeIncident,
    params(("id" = String, Path)),
    responses((status = NO_CONTENT, description = "Done"), (status = "default", body = Problem, content_type = "application/problem+json")))]
pub(super) async fn change(
    State(site): State<Site>,
    Path(id): Path<String>,
    headers: HeaderMap,
    content: Body,
) -> Answer {
    let actor = site.actor(&headers).await.map_err(Refusal::problem)?;
    let wanted: ChangeIncident = body(content).await?;
    let change = IncidentChange {
        text: wanted.text,
        about: wanted.about,
        public: wanted.public,
        close: wanted.close,
    };
    site.registry
        .update_incident(&actor, &id, &change)
        .await
        .map_err(Refusal::problem)?;
    Ok(StatusCode::NO_CONTENT.into_response())
}

/// Everything that somebody did, or that happened to a project
#[utoipa::path(get, path = "/api/v1/operator/trace", tag = "operator", security(("session" = [])), params(Asked),
    responses((status = OK, body = TraceView), (status = "default", body = Problem, content_type = "application/problem+json")))]
pub(super) async fn trace(
    State(site): State<Site>,
    asked: Result<Query<Asked>, QueryRejection>,
    headers: HeaderMap,
) -> Answer {
    let actor = site.actor(&headers).await.map_err(Refusal::problem)?;
    let Query(asked) = asked.map_err(|rejection| query_refused(&rejection))?;
    let window = window(asked.since.as_deref(), asked.until.as_deref())?;
    let trace = site
        .registry
        .trace(&actor, &subject(&asked.subject)?, window)
        .await
        .map_err(Refusal::problem)?;
    let told = TraceView {
        subject: trace.subject,
        items: trace.events.into_iter().map(TouchedView::from).collect(),
        projects: trace.projects,
        more: trace.more,
    };
    let told = json(&site, &told)?;
    Ok(kept_by_nobody(StatusCode::OK, told))
}

/// What takes no changes now
#[utoipa::path(get, path = "/api/v1/operator/freezes", tag = "operator", security(("session" = [])),
    responses((status = OK, body = StopList), (status = "default", body = Problem, content_type = "application/problem+json")))]
pub(super) async fn frozen(State(site): State<Site>, headers: HeaderMap) -> Answer {
    let actor = site.actor(&headers).await.map_err(Refusal::problem)?;
    let stops = site.registry.frozen(&actor).await;
    let items = stops
        .map_err(Refusal::problem)?
        .into_iter()
        .map(StopView::from)
        .collect();
    let told = json(&site, &StopList { items })?;
    Ok(kept_by_nobody(StatusCode::OK, told))
}

/// Freeze a user, a project, an organisation or the whole registry, or end that
#[utoipa::path(post, path = "/api/v1/operator/freezes", tag = "operator", security(("session" = [])), request_body = Freeze,
    responses((status = NO_CONTENT, description = "Done"), (status = "default", body = Problem, content_type = "application/problem+json")))]
pub(super) async fn freeze(State(site): State<Site>, headers: HeaderMap, content: Body) -> Answer {
    let actor = site.actor(&headers).await.map_err(Refusal::problem)?;
    let wanted: Freeze = body(content).await?;
    let (registry, what) = (&site.registry, subject(&wanted.subject)?);
    let done = match wanted.frozen {
        true => registry.freeze(&actor, &what, &wanted.reason).await,
        false => registry.unfreeze(&actor, &what).await,
    };
    done.map_err(Refusal::problem)?;
    Ok(StatusCode::NO_CONTENT.into_response())
}

/// Count the credentials that a query means, or end them
#[utoipa::path(post, path = "/api/v1/operator/revoke", tag = "operator", security(("session" = [])), request_body = Revoke,
    responses((status = OK, body = RevocationView), (status = "default", body = Problem, content_type = "application/problem+json")))]
pub(super) async fn revoke(State(site): State<Site>, headers: HeaderMap, content: Body) -> Answer {
    let actor = site.actor(&headers).await.map_err(Refusal::problem)?;
    let wanted: Revoke = body(content).await?;
    let made = window(wanted.made_since.as_deref(), wanted.made_until.as_deref())?;
    let what = subject(&wanted.subject)?;
    let told = site
        .registry
        .revoke_all(&actor, &what, made, &wanted.reason, wanted.apply)
        .await
        .map_err(Refusal::problem)?;
    let told = json(&site, &RevocationView::from(told))?;
    Ok(kept_by_nobody(StatusCode::OK, told))
}

/// List what takes back somebody's doings, or take them back
#[utoipa::path(post, path = "/api/v1/operator/rewind", tag = "operator", security(("session" = [])), request_body = TakeBack,
    responses((status = OK, body = RewindView), (status = "default", body = Problem, content_type = "application/problem+json")))]
pub(super) async fn rewind(State(site): State<Site>, headers: HeaderMap, content: Body) -> Answer {
    let actor = site.actor(&headers).await.map_err(Refusal::problem)?;
    let wanted: TakeBack = body(content).await?;
    let window = window(Some(&wanted.since), wanted.until.as_deref())?;
    let what = subject(&wanted.subject)?;
    let told = site
        .registry
        .rewind(&actor, &what, window, &wanted.reason, wanted.apply)
        .await
        .map_err(Refusal::problem)?;
    let told = json(&site, &RewindView::from(told))?;
    Ok(kept_by_nobody(StatusCode::OK, told))
}

/// Everything about an incident, with who acted and the log's proofs
#[utoipa::path(get, path = "/api/v1/operator/incidents/{id}/evidence", tag = "operator", security(("session" = [])),
    params(("id" = String, Path)),
    responses((status = OK, description = "As `countersignd incident export` writes it", body = serde_json::Value),
        (status = "default", body = Problem, content_type = "application/problem+json")))]
pub(super) async fn evidence(
    State(site): State<Site>,
    Path(id): Path<String>,
    headers: HeaderMap,
) -> Answer {
    let actor = site.actor(&headers).await.map_err(Refusal::problem)?;
    let evidence = site.registry.incident_evidence(&actor, &id).await;
    let told = json(&site, &evidence.map_err(Refusal::problem)?)?;
    Ok(kept_by_nobody(StatusCode::OK, told))
}
