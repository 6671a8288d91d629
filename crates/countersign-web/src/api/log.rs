//! What happened, in the log's order.

use axum::extract::rejection::QueryRejection;
use axum::extract::{Query, State};
use serde::Deserialize;
use utoipa::IntoParams;

use super::view::{Events, Problem};
use super::{Answer, json, query_refused};
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
