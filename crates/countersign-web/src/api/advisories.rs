//! What is known to be bad about packages.

use axum::body::Body;
use axum::extract::{Path, State};
use axum::response::IntoResponse;
use countersign_formats::purl;
use countersign_registry::{Concern, Error, Kind};
use http::header::{CACHE_CONTROL, CONTENT_TYPE};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::view::Problem;
use super::{Answer, body, json};
use crate::error::{Refusal, shown};
use crate::site::Site;

/// The most purls of one question.
const MOST_PURLS: usize = 1000;

/// What is asked.
#[derive(Deserialize, ToSchema)]
pub(super) struct AdvisoryQuery {
    /// Purls with a version (`pkg:pypi/NAME@1.0`), at most 1000.
    purls: Vec<String>,
}

/// What is known, in the order that was asked in.
#[derive(Serialize, ToSchema)]
pub(super) struct AdvisoryAnswers {
    results: Vec<AdvisoryAnswer>,
}

/// What is known about one version.
#[derive(Serialize, ToSchema)]
pub(super) struct AdvisoryAnswer {
    /// As it was asked.
    purl: String,
    advisories: Vec<KnownAdvisory>,
}

/// An advisory that concerns the version, or may.
#[derive(Serialize, ToSchema)]
pub(super) struct KnownAdvisory {
    id: String,
    aliases: Vec<String>,
    summary: String,
    modified: String,
    /// none, low, unrated, medium, high or critical.
    severity: String,
    /// From 0 to 10, where a vector gave one.
    score: Option<f64>,
    /// Whether it is about software that was made to do harm.
    malware: bool,
    /// Whether the version is meant for sure; if not, it has no place in the order of versions.
    certain: bool,
    /// The first version after it without the flaw.
    fixed: Option<String>,
    url: Option<String>,
}

impl From<Concern> for KnownAdvisory {
    fn from(concern: Concern) -> Self {
        let told = concern.advisory;
        Self {
            id: told.id,
            aliases: told.aliases,
            summary: told.summary,
            modified: told.modified,
            severity: told.rating.grade.as_str().to_owned(),
            score: told.rating.score,
            malware: told.malware,
            certain: concern.certain,
            fixed: concern.fixed,
            url: told.url,
        }
    }
}

/// One advisory, as an OSV record
#[utoipa::path(get, path = "/api/v1/advisories/{id}", tag = "advisories",
    params(("id" = String, Path, description = "Such as PYSEC-2024-1")),
    responses((status = OK, body = serde_json::Value), (status = "default", body = Problem, content_type = "application/problem+json")))]
pub(super) async fn record(State(site): State<Site>, Path(id): Path<String>) -> Answer {
    let record = site
        .registry
        .advisory(&id)
        .await
        .map_err(Refusal::problem)?;
    Ok((
        [
            (CONTENT_TYPE, "application/json"),
            (CACHE_CONTROL, "no-cache"),
        ],
        record,
    )
        .into_response())
}

/// What is known about versions of packages
#[utoipa::path(post, path = "/api/v1/advisories/query", tag = "advisories", request_body = AdvisoryQuery,
    responses((status = OK, body = AdvisoryAnswers), (status = "default", body = Problem, content_type = "application/problem+json")))]
pub(super) async fn query(State(site): State<Site>, request: Body) -> Answer {
    let asked: AdvisoryQuery = body(request).await?;
    if asked.purls.len() > MOST_PURLS {
        let message = format!("{} purls were asked about at once.", asked.purls.len());
        let error = Error::new(Kind::TooLarge, "json-too-large", message);
        return Err(Refusal::problem(
            error.remedy(format!("Ask about at most {MOST_PURLS} at once.")),
        ));
    }
    let mut results = Vec::with_capacity(asked.purls.len());
    for text in asked.purls {
        let named = purl::parse(&text).map_err(Refusal::problem)?;
        let Some(version) = &named.version else {
            let message = format!("The purl {} names no version.", shown(&text));
            let error = Error::new(Kind::Rejected, "json-malformed", message);
            return Err(Refusal::problem(
                error.remedy("Write pkg:TYPE/NAME@VERSION."),
            ));
        };
        let concerns = site
            .registry
            .concerns(named.ecosystem, named.name_key.as_str(), version)
            .await
            .map_err(Refusal::problem)?;
        results.push(AdvisoryAnswer {
            purl: text,
            advisories: concerns.into_iter().map(Into::into).collect(),
        });
    }
    json(&site, &AdvisoryAnswers { results })
}
