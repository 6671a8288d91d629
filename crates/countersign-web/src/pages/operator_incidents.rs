//! The console's page of incidents: what somebody touched, what is frozen, and the records. Ending credentials and taking back are for
//! the command line and the API, which list first what they would do.

use askama::Template;
use axum::Router;
use axum::body::Body;
use axum::response::Response;
use axum::routing::{get, post};
use countersign_registry::{
    Error, IncidentChange, IncidentSummary, Kind, NewIncident, Stop, Subject, Trace, Window,
};

use super::guest::Member;
use super::phrase::Told as _;
use super::visit::Frame;
use crate::Site;
use crate::error::Refusal;

/// The page.
pub(super) const INCIDENTS: &str = "/operator/incidents";
/// At most so many events of a trace on the page; the command line has all.
const SHOWN: usize = 200;

pub(super) fn routes() -> Router<Site> {
    Router::new()
        .route(INCIDENTS, get(show).post(open))
        .route("/operator/incidents/update", post(update))
        .route("/operator/incidents/freeze", post(freeze))
}

#[derive(Template)]
#[template(path = "account/operator_incidents.html")]
struct IncidentsPage<'a> {
    frame: &'a Frame,
    place: &'static str,
    said: Option<&'static str>,
    tab: &'static str,
    subject: String,
    days: String,
    trace: Option<Trace>,
    /// Why there is no trace, though one was asked for.
    fault: Option<String>,
    frozen: Vec<Stop>,
    incidents: Vec<IncidentSummary>,
}

impl IncidentsPage<'_> {
    fn shown(stop: &Stop) -> String {
        match stop.scope.as_str() {
            "registry" => "The whole registry".to_owned(),
            _ => stop.name.clone(),
        }
    }
}

fn subject(text: &str) -> Result<Subject, Error> {
    text.trim().parse().map_err(|why: String| {
        Error::new(Kind::Rejected, "subject-unfit", format!("{why}."))
            .remedy("Write it like user:ann or project:pypi:demo.")
    })
}

/// What a frozen thing is called in commands and forms.
fn written(stop: &Stop) -> String {
    match stop.scope.as_str() {
        "registry" => "registry".to_owned(),
        "account" => format!("user:{}", stop.name),
        "project" => {
            let named = countersign_formats::purl::parse(&stop.name);
            named.map_or_else(
                |_| stop.name.clone(),
                |named| format!("project:{}:{}", named.ecosystem, named.name_key.as_str()),
            )
        }
        scope => format!("{scope}:{}", stop.name),
    }
}

async fn page(member: &Member) -> Result<Response, Error> {
    let (registry, actor) = (&member.site.registry, &member.actor);
    let frozen = registry.frozen(actor).await?;
    let (asked, days) = (
        member.query.get("subject").trim().to_owned(),
        member.query.get("days").trim().to_owned(),
    );
    let (mut trace, mut fault) = (None, None);
    if !asked.is_empty() {
        let back: i64 = days.parse().unwrap_or(7).clamp(1, 3_650);
        let window = Window {
            since: registry.now().plus_seconds(-back * 86_400),
            until: None,
        };
        let found = async { registry.trace(actor, &subject(&asked)?, window).await }.await;
        match found {
            Ok(mut found) => {
                // The newest count most on a page.
                found.events.reverse();
                found.more |= found.events.len() > SHOWN;
                found.events.truncate(SHOWN);
                trace = Some(found);
            }
            Err(error) if matches!(error.kind, Kind::Rejected | Kind::NotFound) => {
                fault = Some(error.message);
            }
            Err(error) => return Err(error),
        }
    }
    Ok(member.page(&IncidentsPage {
        frame: &member.frame,
        place: "/operator",
        said: member.said(),
        tab: INCIDENTS,
        subject: asked,
        days: if days.is_empty() {
            "7".to_owned()
        } else {
            days
        },
        trace,
        fault,
        frozen,
        incidents: registry.incidents(actor).await?,
    }))
}

async fn show(member: Member) -> Result<Response, Refusal> {
    match page(&member).await {
        Ok(response) => Ok(response),
        Err(error) => member.not_done(error, INCIDENTS).await,
    }
}

async fn open(member: Member, body: Body) -> Result<Response, Refusal> {
    let form = member.fields(body).await?;
    let new = NewIncident {
        title: form.get("title").to_owned(),
        summary: form.get("summary").to_owned(),
        about: form
            .get("about")
            .split_whitespace()
            .map(str::to_owned)
            .collect(),
        began: None,
        public: form.get("public") == "yes",
    };
    let outcome = member
        .site
        .registry
        .open_incident(&member.actor, &new)
        .await;
    member.done(outcome, INCIDENTS, "incident-opened").await
}

async fn update(member: Member, body: Body) -> Result<Response, Refusal> {
    let form = member.fields(body).await?;
    let change = IncidentChange {
        text: form.get("text").to_owned(),
        about: Vec::new(),
        public: form.get("do") == "publish",
        close: form.get("do") == "close",
    };
    let outcome = member
        .site
        .registry
        .update_incident(&member.actor, form.get("id"), &change)
        .await;
    member.done(outcome, INCIDENTS, "incident-updated").await
}

async fn freeze(member: Member, body: Body) -> Result<Response, Refusal> {
    let form = member.fields(body).await?;
    let frozen = form.get("do") != "free";
    let outcome = async {
        let (registry, what) = (&member.site.registry, subject(form.get("subject"))?);
        match frozen {
            true => registry.freeze(&member.actor, &what, form.get("why")).await,
            false => registry.unfreeze(&member.actor, &what).await,
        }
    }
    .await;
    let word = if frozen { "frozen" } else { "unfrozen" };
    member.done(outcome, INCIDENTS, word).await
}
