//! What is known to be bad about packages.

use axum::body::Body;
use axum::extract::{Path, State};
use axum::response::IntoResponse;
use countersign_formats::purl;
use countersign_registry::{
    AdvisoryExemption, Concern, DownloadWarning, Error, Kind, NewExemption,
};
use http::header::{CACHE_CONTROL, CONTENT_TYPE};
use http::{HeaderMap, StatusCode};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::incidents::time;
use super::view::Problem;
use super::{Answer, body, json, kept_by_nobody};
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

/// Something that is served in spite of an advisory.
#[derive(Serialize, ToSchema)]
pub(super) struct ExemptionView {
    id: String,
    ecosystem: &'static str,
    project: String,
    /// One version alone; null: all.
    version: Option<String>,
    advisory: String,
    reason: String,
    made: String,
    /// When it ends by itself; null: when an operator ends it.
    until: Option<String>,
}

impl From<AdvisoryExemption> for ExemptionView {
    fn from(one: AdvisoryExemption) -> Self {
        Self {
            id: one.id,
            ecosystem: one.ecosystem.as_str(),
            project: one.project,
            version: one.version,
            advisory: one.advisory,
            reason: one.reason,
            made: one.made.rfc3339(),
            until: one.until.map(|until| until.rfc3339()),
        }
    }
}

/// Exemptions that hold.
#[derive(Serialize, ToSchema)]
pub(super) struct ExemptionList {
    /// What is not served because of advisories: `never`, `malware`, or how bad at least.
    block: &'static str,
    /// The newest first.
    items: Vec<ExemptionView>,
}

/// An exemption to make.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct MakeExemption {
    /// Package URL of a project, or of one release of it.
    purl: String,
    /// The advisory that is not to count.
    advisory: String,
    /// Why; everybody reads it on the release's page.
    reason: String,
    /// When it ends by itself, RFC 3339; without it, when an operator ends it.
    until: Option<String>,
}

/// An exemption that was made.
#[derive(Serialize, ToSchema)]
pub(super) struct MadeExemption {
    id: String,
}

/// Whether those whom an advisory concerns are told.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct WarnDownloaders {
    /// Without it, it is only said whom it would be.
    #[serde(default)]
    tell: bool,
}

/// Whom an advisory concerns because of what they downloaded.
#[derive(Serialize, ToSchema)]
pub(super) struct WarningView {
    /// Such as `pypi:demo 1.0`.
    releases: Vec<String>,
    /// User names of those who are to be told, or were now.
    accounts: Vec<String>,
    /// How many were told before.
    before: u64,
    /// Whether they were told now.
    told: bool,
}

impl WarningView {
    fn of(warning: DownloadWarning, told: bool) -> Self {
        Self {
            releases: warning.releases,
            accounts: warning.accounts,
            before: warning.before,
            told,
        }
    }
}

/// What is served in spite of an advisory
#[utoipa::path(get, path = "/api/v1/operator/advisories/exemptions", tag = "operator", security(("session" = [])),
    responses((status = OK, body = ExemptionList), (status = "default", body = Problem, content_type = "application/problem+json")))]
pub(super) async fn exemptions(State(site): State<Site>, headers: HeaderMap) -> Answer {
    let actor = site.actor(&headers).await.map_err(Refusal::problem)?;
    let found = site.registry.advisory_exemptions(&actor).await;
    let items = found
        .map_err(Refusal::problem)?
        .into_iter()
        .map(Into::into)
        .collect();
    let block = site.registry.settings().advisories.block.as_str();
    let told = json(&site, &ExemptionList { block, items })?;
    Ok(kept_by_nobody(StatusCode::OK, told))
}

/// Serve a project, or a release of it, in spite of an advisory
#[utoipa::path(post, path = "/api/v1/operator/advisories/exemptions", tag = "operator", security(("session" = [])), request_body = MakeExemption,
    responses((status = CREATED, body = MadeExemption), (status = "default", body = Problem, content_type = "application/problem+json")))]
pub(super) async fn exempt(State(site): State<Site>, headers: HeaderMap, content: Body) -> Answer {
    let actor = site.actor(&headers).await.map_err(Refusal::problem)?;
    let wanted: MakeExemption = body(content).await?;
    let named =
        purl::parse(&wanted.purl).map_err(|refused| Refusal::problem(Error::from(refused)))?;
    let new = NewExemption {
        ecosystem: named.ecosystem,
        project: named.name_key.as_str().to_owned(),
        version: named.version,
        advisory: wanted.advisory,
        reason: wanted.reason,
        until: wanted.until.as_deref().map(time).transpose()?,
    };
    let id = site
        .registry
        .exempt_from_advisory(&actor, &new)
        .await
        .map_err(Refusal::problem)?;
    let told = json(&site, &MadeExemption { id })?;
    Ok(kept_by_nobody(StatusCode::CREATED, told))
}

/// End an exemption
#[utoipa::path(delete, path = "/api/v1/operator/advisories/exemptions/{id}", tag = "operator", security(("session" = [])),
    params(("id" = String, Path)),
    responses((status = NO_CONTENT, description = "It counts again"), (status = "default", body = Problem, content_type = "application/problem+json")))]
pub(super) async fn end_exemption(
    State(site): State<Site>,
    Path(id): Path<String>,
    headers: HeaderMap,
) -> Answer {
    let actor = site.actor(&headers).await.map_err(Refusal::problem)?;
    site.registry
        .end_exemption(&actor, &id)
        .await
        .map_err(Refusal::problem)?;
    Ok(StatusCode::NO_CONTENT.into_response())
}

/// Say who downloaded what an advisory about malware means, or tell them
#[utoipa::path(post, path = "/api/v1/operator/advisories/{id}/warning", tag = "operator", security(("session" = [])), request_body = WarnDownloaders,
    params(("id" = String, Path, description = "The advisory")),
    responses((status = OK, body = WarningView), (status = "default", body = Problem, content_type = "application/problem+json")))]
pub(super) async fn warn_downloaders(
    State(site): State<Site>,
    Path(id): Path<String>,
    headers: HeaderMap,
    content: Body,
) -> Answer {
    let actor = site.actor(&headers).await.map_err(Refusal::problem)?;
    let WarnDownloaders { tell } = body(content).await?;
    let warning = site
        .registry
        .warn_downloaders(&actor, &id, tell)
        .await
        .map_err(Refusal::problem)?;
    let told = json(&site, &WarningView::of(warning, tell))?;
    Ok(kept_by_nobody(StatusCode::OK, told))
}
