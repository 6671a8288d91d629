//! What happened, in the log's order.

use axum::body::Body;
use axum::extract::rejection::QueryRejection;
use axum::extract::{Path, Query, State};
use http::{HeaderMap, HeaderValue, Method};
use serde::Deserialize;
use utoipa::IntoParams;

use super::view::{Events, Problem};
use super::{Answer, ecosystem, json, query_refused};
use crate::answer::{Keep, Stored};
use crate::error::Refusal;
use crate::site::Site;

/// Most events of one page.
const MOST_EVENTS: u64 = 200;

#[derive(Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub(super) struct Window {
    /// Only events with a smaller leaf index.
    pub(super) before: Option<u64>,
    /// How many, at most 200.
    #[serde(default)]
    limit: Option<u64>,
}

impl Window {
    pub(super) fn limit(&self) -> u64 {
        self.limit.unwrap_or(50).clamp(1, MOST_EVENTS)
    }
}

/// What happened, newest first
#[utoipa::path(get, path = "/api/v1/log/events", tag = "log", params(Window),
    responses((status = OK, body = Events), (status = "default", body = Problem, content_type = "application/problem+json")))]
pub(super) async fn events(
    State(site): State<Site>,
    window: Result<Query<Window>, QueryRejection>,
) -> Answer {
    let Query(window) = window.map_err(|rejection| query_refused(&rejection))?;
    let events = site
        .registry
        .events(None, window.before, window.limit())
        .await
        .map_err(Refusal::problem)?;
    json(&site, &Events::new(events, window.limit()))
}

#[derive(Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub(super) struct After {
    /// Number of leaves, from the first, that the reader knows and that may be left out.
    #[serde(default)]
    after: u64,
}

/// All leaves of a project, and what proves that there are no others
///
/// A text that is verified offline (`docs/spec/completeness.md`). For a project that nobody has, the tiles of the map below
/// `/log/1/map/` prove that.
#[utoipa::path(get, path = "/api/v1/log/completeness/{ecosystem}/{name}", tag = "log",
    params(("ecosystem" = String, Path), ("name" = String, Path, description = "Any spelling"), After),
    responses((status = OK, body = String, content_type = "text/plain"), (status = "default", body = Problem, content_type = "application/problem+json")))]
pub(super) async fn completeness(
    State(site): State<Site>,
    Path((system, name)): Path<(String, String)>,
    after: Result<Query<After>, QueryRejection>,
    method: Method,
    headers: HeaderMap,
) -> Answer {
    let Query(After { after }) = after.map_err(|rejection| query_refused(&rejection))?;
    let document = site
        .registry
        .completeness(ecosystem(&system)?, &name, after)
        .await
        .map_err(Refusal::problem)?;
    Ok(Stored {
        bytes: document.bytes.clone(),
        etag: &document.etag,
        content_type: HeaderValue::from_static("text/plain; charset=utf-8"),
        keep: Keep::Seconds,
        negotiated: false,
        public: site.is_public(),
    }
    .answer(&method, &headers)
    .map(Body::from))
}
