//! This registry held against the Principles: the last run that its operator stored, and public registries beside it.

use askama::Template;
use axum::Router;
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use countersign_registry::{Error, Kind, Result};
use http::{HeaderName, header};

use super::slashless;
use super::visit::{Answer, Frame, Page, Visit};
use crate::Site;
use crate::assessment::{AssessmentSource, ShownAssessment, ShownComparison};
use crate::error::Refusal;

pub(super) fn routes() -> Router<Site> {
    Router::new()
        .route("/assessment", get(show))
        .route("/assessment/", get(slashless))
        .route("/assessment/badge.svg", get(show_badge))
        .route("/assessment.json", get(show_json))
        .route("/assessment/registries", get(show_registries))
        .route("/assessment/registries/", get(slashless))
}

#[derive(Template)]
#[template(path = "assessment.html")]
struct AssessmentPage<'a> {
    frame: &'a Frame,
    run: Option<ShownAssessment>,
    /// Whether there is a page of other registries to lead to.
    compared: bool,
}

#[derive(Template)]
#[template(path = "assessment_registries.html")]
struct RegistriesPage<'a> {
    frame: &'a Frame,
    table: ShownComparison,
}

/// Asks the source, which may read files.
async fn ask<T: Send + 'static>(
    visit: &Visit,
    question: impl FnOnce(&dyn AssessmentSource) -> Option<T> + Send + 'static,
) -> Result<Option<T>> {
    let Some(source) = visit.site.face.assessments.clone() else {
        return Ok(None);
    };
    tokio::task::spawn_blocking(move || question(source.as_ref()))
        .await
        .map_err(|error| Error::internal("the assessment could not be read", error))
}

fn none_stored() -> Error {
    Error::new(
        Kind::NotFound,
        "assessment-missing",
        "The operator of this registry has published no assessment.",
    )
    .remedy("Operators store one with `countersignd assess --store`; anyone can make one with `countersign assess URL`.")
}

/// `GET /assessment`. A run ages, so it is rendered for each visit.
async fn show(visit: Visit) -> Response {
    let outcome = async {
        let run = ask(&visit, |source| source.last()).await?;
        let page = AssessmentPage {
            frame: &visit.frame,
            run,
            compared: visit.site.face.assessments.is_some(),
        };
        Page::render(&page).map(Answer::from)
    };
    let outcome = outcome.await;
    visit.answer(outcome)
}

/// `GET /assessment/registries`.
async fn show_registries(visit: Visit) -> Response {
    let outcome = async {
        let table = ask(&visit, |source| Some(source.comparison())).await?;
        let table = table.ok_or_else(none_stored)?;
        visit
            .cached(0, async {
                let frame = &visit.frame;
                Page::render(&RegistriesPage { frame, table })
            })
            .await
    };
    let outcome = outcome.await;
    visit.answer(outcome)
}

/// `GET /assessment.json`: the run as it was stored.
async fn show_json(visit: Visit) -> Result<Response, Refusal> {
    let run = stored(&visit).await?;
    Ok(file(&visit, "application/json", run.json))
}

/// `GET /assessment/badge.svg`.
async fn show_badge(visit: Visit) -> Result<Response, Refusal> {
    let run = stored(&visit).await?;
    Ok(file(&visit, "image/svg+xml", run.badge.into_bytes()))
}

async fn stored(visit: &Visit) -> Result<ShownAssessment, Refusal> {
    ask(visit, |source| source.last())
        .await
        .and_then(|run| run.ok_or_else(none_stored))
        .map_err(Refusal::text)
}

fn file(visit: &Visit, content_type: &'static str, body: Vec<u8>) -> Response {
    let caching = if visit.frame.restricted {
        "private, no-cache"
    } else {
        "public, max-age=300"
    };
    let headers: [(HeaderName, &'static str); 4] = [
        (header::CONTENT_TYPE, content_type),
        (header::CACHE_CONTROL, caching),
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (
            header::CONTENT_SECURITY_POLICY,
            "default-src 'none'; style-src 'unsafe-inline'; sandbox",
        ),
    ];
    (headers, body).into_response()
}

#[cfg(test)]
pub(super) fn samples() -> Vec<(&'static str, String)> {
    use crate::assessment::{
        ComparedCheck, ComparedState, ShownCheck, ShownEvidence, ShownRegistry, ShownResult,
        ShownSurvey, ShownTrack, Tone,
    };
    let frame = &Frame::sample();
    let result = |words, sign, tone| ShownResult { words, sign, tone };
    let results = [
        result("pass", "✓", Tone::Good),
        result("partial", "~", Tone::Warn),
        result("fail", "✗", Tone::Danger),
        result("unknown", "?", Tone::Warn),
        result("not applicable", "–", Tone::Plain),
    ];
    let checks = |letters: &str| {
        (1..)
            .zip(results)
            .map(|(number, result)| ShownCheck {
                id: format!("{letters}{}.{number}", number % 3 + 1),
                title: "Two factors <b>can</b> be used".to_owned(),
                statement: "Every account can have a second factor, and people are told so."
                    .to_owned(),
                level: 1,
                result,
                rests_on: (number < 4).then_some("canary accounts and packages"),
                note: "The answer was <script>alert(1)</script>.".to_owned(),
                parts: vec![(result, "A token without the right is refused".to_owned())],
                evidence: vec![ShownEvidence {
                    source: "GET https://packages.example.org/a-path/that-goes-on-and-on-and-on-and-on-and-on-and-on-and-on".to_owned(),
                    status: Some(403),
                    sha256: "2c26b46b68ffc68ff99b453c1d30413413422d706483bfa0f98a5e886266e7ae".to_owned(),
                    excerpt: "<img src=x onerror=alert(1)>".to_owned(),
                    time: "2026-11-22T06:00:00Z".to_owned(),
                }],
                until: (number < 4).then(|| "2027-02-20".to_owned()),
            })
            .collect::<Vec<_>>()
    };
    let run = ShownAssessment {
        time: "2026-11-22T06:00:00Z".to_owned(),
        tool: "countersign-assess/0.1.0".to_owned(),
        principles: "0.1".to_owned(),
        principles_at: "https://principles.example.org".to_owned(),
        canaries: Some("on a staging copy with the same program and configuration".to_owned()),
        level: "level 1 of 3".to_owned(),
        tally: "39 checks: 30 pass, 5 fail, 4 unknown".to_owned(),
        tracks: [("AN", "Authentication"), ("CL", "Command-line tooling")]
            .map(|(letters, name)| ShownTrack {
                letters,
                name: name.to_owned(),
                level: "level 1 of 3".to_owned(),
                checks: checks(letters),
            })
            .into(),
        unknown: vec![(
            "GC3.1".to_owned(),
            "Security reviews".to_owned(),
            "Nothing was shown. It takes the operator's attestation.".to_owned(),
        )],
        json: Vec::new(),
        badge: String::new(),
    };
    let shown = |run| {
        AssessmentPage {
            frame,
            run,
            compared: true,
        }
        .render()
        .unwrap()
    };
    let table = ShownComparison {
        read: "2026-08".to_owned(),
        note: "Read from public statements.".to_owned(),
        tracks: vec!["Authentication", "General capabilities"],
        registries: vec![ShownRegistry {
            name: "A registry".to_owned(),
            source: "Its documentation".to_owned(),
            met: 20,
            apply: 39,
            levels: vec![
                ("Authentication", "level 1 of 3".to_owned()),
                ("General capabilities", "level 0 of 3".to_owned()),
            ],
        }],
        checks: vec![ComparedCheck {
            id: "AN1.1".to_owned(),
            title: "Two factors".to_owned(),
            states: results
                .iter()
                .map(|result| ComparedState {
                    registry: "A registry".to_owned(),
                    result: *result,
                    note: "Since 2022.".to_owned(),
                })
                .collect(),
        }],
        promised: "2024-03".to_owned(),
        promised_at: "A summit".to_owned(),
        promises: vec![(
            "A registry".to_owned(),
            "More".to_owned(),
            "done".to_owned(),
            String::new(),
        )],
        survey: ShownSurvey {
            year: 2022,
            note: "Not checked since.".to_owned(),
            questions: vec![(
                "Is it signed?".to_owned(),
                vec![("A registry".to_owned(), "yes".to_owned())],
            )],
        },
    };
    vec![
        ("assessment", shown(Some(run))),
        ("assessment-none", shown(None)),
        (
            "assessment-registries",
            RegistriesPage { frame, table }.render().unwrap(),
        ),
    ]
}
