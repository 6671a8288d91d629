//! Where anybody reports something of this registry, and looks what became of it.

use askama::Template;
use axum::Router;
use axum::body::Body;
use axum::extract::Path;
use axum::response::Response;
use axum::routing::get;
use countersign_registry::model::{Report, ReportKind, Reporting};
use countersign_registry::{Error, Kind};

use super::guest::{Guest, go, refused};
use super::phrase::Told as _;
use super::visit::Frame;
use crate::Site;
use crate::error::{Refusal, status_of};

pub(super) fn routes() -> Router<Site> {
    Router::new()
        .route("/report", get(show).post(send))
        .route("/report/{ticket}", get(state))
}

#[derive(Template)]
#[template(path = "account/report.html")]
struct ReportPage<'a> {
    frame: &'a Frame,
    fault: Option<&'a Error>,
    purl: &'a str,
    evidence: &'a str,
    text: &'a str,
    /// Word, label, whether it is chosen.
    kinds: Vec<(&'static str, &'static str, bool)>,
}

fn kinds(chosen: &str) -> Vec<(&'static str, &'static str, bool)> {
    let kinds = ReportKind::ALL.iter();
    kinds
        .map(|kind| (kind.as_str(), kind.title(), kind.as_str() == chosen))
        .collect()
}

#[derive(Template)]
#[template(path = "account/report_state.html")]
struct StatePage<'a> {
    frame: &'a Frame,
    report: Report,
}

async fn show(guest: Guest) -> Result<Response, Refusal> {
    guest
        .site
        .registry
        .may_read(&guest.actor)
        .map_err(refused)?;
    Ok(guest.page(&ReportPage {
        frame: &guest.frame,
        fault: None,
        purl: guest.query.get("purl"),
        evidence: "",
        text: "",
        kinds: kinds(""),
    }))
}

async fn send(guest: Guest, body: Body) -> Result<Response, Refusal> {
    let form = guest.fields(body).await?;
    guest
        .site
        .registry
        .may_read(&guest.actor)
        .map_err(refused)?;
    let kind = form
        .get("kind")
        .parse()
        .map_err(|why: String| Error::new(Kind::Rejected, "report-kind", format!("{why}.")));
    let outcome = match kind {
        Err(error) => Err(error),
        Ok(kind) => {
            let reporting = Reporting {
                purl: form.get("purl"),
                kind,
                evidence: form.get("evidence"),
                text: form.get("text"),
            };
            guest
                .site
                .registry
                .report(&guest.actor, &reporting, &guest.origin)
                .await
        }
    };
    Ok(match outcome {
        Ok(report) => go(&format!("/report/{}", report.ticket)),
        Err(error) => guest.page_as(
            status_of(&error),
            &ReportPage {
                frame: &guest.frame,
                fault: Some(&error),
                purl: form.get("purl"),
                evidence: form.get("evidence"),
                text: form.get("text"),
                kinds: kinds(form.get("kind")),
            },
        ),
    })
}

async fn state(guest: Guest, Path(ticket): Path<String>) -> Result<Response, Refusal> {
    let report = guest
        .site
        .registry
        .report_state(&ticket)
        .await
        .map_err(refused)?;
    Ok(guest.page(&StatePage {
        frame: &guest.frame,
        report,
    }))
}
