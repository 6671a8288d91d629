//! Incidents: what went wrong, what was done about it, and what the log shows of it. Only those that an operator made public.

use askama::Template;
use axum::Router;
use axum::extract::Path;
use axum::response::Response;
use axum::routing::get;
use countersign_registry::model::{Actor, Time};
use countersign_registry::{Incident, IncidentMoment, IncidentSummary, Result, Stop};
use http::{HeaderValue, header};

use super::phrase::Told as _;
use super::policies::rendered;
use super::slashless;
use super::visit::{Answer, Frame, Page, Visit};
use crate::Site;

/// At most so many entries of the feed.
const FED: usize = 30;

pub(super) fn routes() -> Router<Site> {
    Router::new()
        .route("/incidents", get(list))
        .route("/incidents/", get(slashless))
        .route("/incidents/feed.atom", get(feed))
        .route("/incidents/{id}", get(show))
        .route("/incidents/{id}/", get(slashless))
}

#[derive(Template)]
#[template(path = "incidents.html")]
struct ListPage<'a> {
    frame: &'a Frame,
    /// The whole registry takes no changes, and why.
    standstill: Option<Stop>,
    incidents: Vec<IncidentSummary>,
}

/// One moment of a timeline, as it is shown.
struct Shown {
    at: Time,
    /// The operator's words, as HTML; `None` for an entry of the log.
    words: Option<String>,
    kind: String,
    subject: String,
    page: Option<String>,
}

impl From<IncidentMoment> for Shown {
    fn from(moment: IncidentMoment) -> Self {
        let said = moment.kind == "update";
        Self {
            at: moment.at,
            words: said.then(|| rendered(&moment.text)),
            page: moment.leaf.map(|index| format!("/log/event/{index}")),
            kind: moment.kind,
            subject: moment.text,
        }
    }
}

#[derive(Template)]
#[template(path = "incident.html")]
struct IncidentPage<'a> {
    frame: &'a Frame,
    head: IncidentSummary,
    summary: String,
    about: Vec<String>,
    timeline: Vec<Shown>,
}

impl<'a> IncidentPage<'a> {
    fn new(frame: &'a Frame, incident: Incident) -> Self {
        Self {
            frame,
            head: incident.head,
            summary: rendered(&incident.summary),
            about: incident.about,
            timeline: incident.timeline.into_iter().map(Shown::from).collect(),
        }
    }
}

#[derive(Template)]
#[template(path = "incidents.xml")]
struct Feed<'a> {
    frame: &'a Frame,
    updated: String,
    incidents: Vec<IncidentSummary>,
}

/// When an incident last changed in a way that the list tells.
fn changed(one: &IncidentSummary) -> Time {
    one.closed.or(one.public).unwrap_or(one.opened)
}

async fn list(visit: Visit) -> Response {
    let outcome = async {
        let registry = &visit.site.registry;
        Page::render(&ListPage {
            frame: &visit.frame,
            standstill: registry.standstill().await?,
            incidents: registry.incidents(&Actor::anonymous()).await?,
        })
        .map(Answer::from)
    }
    .await;
    visit.answer(outcome)
}

async fn show(visit: Visit, Path(id): Path<String>) -> Response {
    let outcome: Result<Answer> = async {
        let registry = &visit.site.registry;
        // An operator's draft is looked at on the console: this page is the same for everybody.
        let incident = registry.incident(&Actor::anonymous(), &id).await?;
        Page::render(&IncidentPage::new(&visit.frame, incident)).map(Answer::from)
    }
    .await;
    visit.answer(outcome)
}

/// `GET /incidents/feed.atom`, for readers of feeds (RFC 4287).
async fn feed(visit: Visit) -> Response {
    let outcome = async {
        let mut incidents = visit.site.registry.incidents(&Actor::anonymous()).await?;
        incidents.truncate(FED);
        let updated = incidents.iter().map(changed).max().unwrap_or(Time(0));
        Page::render(&Feed {
            frame: &visit.frame,
            updated: updated.rfc3339(),
            incidents,
        })
        .map(Answer::from)
    }
    .await;
    let mut response = visit.answer(outcome);
    if response.status().is_success() {
        let kind = HeaderValue::from_static("application/atom+xml; charset=utf-8");
        response.headers_mut().insert(header::CONTENT_TYPE, kind);
    }
    response
}

#[cfg(test)]
pub(super) fn samples() -> Vec<(&'static str, String)> {
    let frame = Frame::sample();
    let at = |minutes: i64| Time(1_795_239_612_345_678 + minutes * 60_000_000);
    let summary = |id: &str, title: &str, closed: bool| IncidentSummary {
        id: id.to_owned(),
        title: title.to_owned(),
        began: at(0),
        opened: at(10),
        public: Some(at(12)),
        closed: closed.then(|| at(90)),
    };
    let long = "A title that somebody wrote in haste <script>alert(1)</script> & which goes on, because at three in the morning nobody shortens \
                anything, until the line has ended twice over and the telephone rings again";
    let list = ListPage {
        frame: &frame,
        standstill: Some(Stop {
            scope: "registry".to_owned(),
            name: String::new(),
            reason: "A worm is spreading; <b>publishing</b> is stopped until tomorrow.".to_owned(),
            since: at(0),
        }),
        incidents: vec![
            summary("2026-2", long, false),
            summary(
                "2026-1",
                "solstice 4.2.1 was published by somebody else",
                true,
            ),
        ],
    };
    let empty = ListPage {
        frame: &frame,
        standstill: None,
        incidents: Vec::new(),
    };
    let moment = |minutes: i64, kind: &str, text: &str, leaf: Option<u64>| IncidentMoment {
        at: at(minutes),
        kind: kind.to_owned(),
        text: text.to_owned(),
        leaf,
    };
    let incident = Incident {
        head: summary("2026-2", long, true),
        summary: "## What we know\n\nA token was *stolen*. <img src=x onerror=alert(1)>".to_owned(),
        about: vec![
            "pkg:pypi/solstice@4.2.1".to_owned(),
            "pkg:pypi/an-extraordinarily-long-distribution-name-that-somebody-generated-from-a-template-and-never-looked-at-again".to_owned(),
        ],
        timeline: vec![
            moment(0, "file-published", "pkg:pypi/solstice@4.2.1?file_name=solstice-4.2.1-py3-none-any.whl", Some(1_284_202)),
            moment(14, "update", "We withheld it, and ended the token. مكتبة", None),
            moment(14, "quarantined", "pkg:pypi/solstice@4.2.1", Some(1_284_203)),
        ],
    };
    vec![
        ("incidents", list.render().unwrap()),
        ("incidents-none", empty.render().unwrap()),
        (
            "incident",
            IncidentPage::new(&frame, incident).render().unwrap(),
        ),
    ]
}
