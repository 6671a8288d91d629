//! Search, yank and unyank, and the provenance of a version.

use axum::body::Body;
use axum::extract::rejection::QueryRejection;
use axum::extract::{Path, Query, State};
use axum::response::Response;
use countersign_formats::cargo::api::{self, FoundCrate};
use countersign_formats::format;
use countersign_registry::{Error, Kind};
use http::{HeaderMap, HeaderValue, Method};
use serde::Deserialize;

use super::{SYSTEM, done, json, key_of, noting};
use crate::answer::{Keep, Stored};
use crate::error::Refusal;
use crate::site::Site;

/// Most crates in one answer, and how many where the question does not say.
const MOST: u64 = 100;
const USUAL: u64 = 10;

#[derive(Deserialize)]
pub(super) struct Question {
    #[serde(default)]
    q: String,
    per_page: Option<u64>,
    page: Option<u64>,
}

/// `cargo search`.
pub(super) async fn search(
    State(site): State<Site>,
    query: Result<Query<Question>, QueryRejection>,
) -> Result<Response, Refusal> {
    let Query(Question { q, per_page, page }) = query.map_err(|rejection| {
        let message = format!("The query can not be read: {}.", rejection.body_text());
        Refusal::cargo(Error::new(Kind::Rejected, "query-malformed", message))
    })?;
    let limit = per_page.unwrap_or(USUAL).clamp(1, MOST);
    let offset = page.unwrap_or(1).saturating_sub(1).saturating_mul(limit);
    let found = site
        .registry
        .search_in(SYSTEM, &q, offset.min(1 << 40), limit)
        .await
        .map_err(Refusal::cargo)?;
    let crates: Vec<FoundCrate> = found
        .items
        .into_iter()
        .map(|project| FoundCrate {
            name: project.name,
            max_version: project.latest,
            description: Some(project.summary).filter(|text| !text.is_empty()),
        })
        .collect();
    Ok(json(api::search(&crates, found.total)))
}

/// `cargo yank`.
pub(super) async fn yank(
    State(site): State<Site>,
    Path((name, version)): Path<(String, String)>,
    headers: HeaderMap,
) -> Result<Response, Refusal> {
    let actor = site.actor(&headers).await.map_err(Refusal::cargo)?;
    site.registry
        .yank(&actor, SYSTEM, &name, &version, "")
        .await
        .map_err(Refusal::cargo)?;
    Ok(done(json(api::ok()), actor.name(), &name))
}

/// `cargo yank --undo`.
pub(super) async fn unyank(
    State(site): State<Site>,
    Path((name, version)): Path<(String, String)>,
    headers: HeaderMap,
) -> Result<Response, Refusal> {
    let actor = site.actor(&headers).await.map_err(Refusal::cargo)?;
    site.registry
        .unyank(&actor, SYSTEM, &name, &version)
        .await
        .map_err(Refusal::cargo)?;
    Ok(done(json(api::ok()), actor.name(), &name))
}

/// The provenance of a version: the form that Python's index has for it (PEP 740), which no Cargo registry had before.
pub(super) async fn provenance(
    State(site): State<Site>,
    Path((name, version)): Path<(String, String)>,
    method: Method,
    headers: HeaderMap,
) -> Result<Response, Refusal> {
    let key = key_of(&name)?;
    let parsed = format(SYSTEM).version(&version).map_err(Refusal::cargo)?;
    let file = site
        .registry
        .named_file(SYSTEM, &key, &format!("{name}-{version}.crate"))
        .await
        .map_err(Refusal::cargo)?;
    let document = site
        .registry
        .provenance_document(SYSTEM, key.as_str(), parsed.canonical(), &file.filename)
        .await
        .map_err(Refusal::cargo)?;
    let response = Stored {
        bytes: document.bytes.clone(),
        etag: &document.etag,
        content_type: HeaderValue::from_static("application/json"),
        keep: Keep::Minutes,
        negotiated: false,
        public: site.is_public(),
    }
    .answer(&method, &headers);
    Ok(noting(response.map(Body::from), key.as_str()))
}
