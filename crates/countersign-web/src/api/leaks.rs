//! Reports of leaked tokens: in the protocol of secret scanners, and by anybody.

use axum::Extension;
use axum::body::Body;
use axum::extract::State;
use axum::response::{IntoResponse, Response};
use countersign_registry::model::CallerOrigin;
use countersign_registry::{LeakAnswer, Registry};
use http::header::{CACHE_CONTROL, CONTENT_TYPE};
use http::{HeaderMap, StatusCode};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::view::Problem;
use super::{Answer, secret_body};
use crate::body::whole;
use crate::error::Refusal;
use crate::site::Site;

/// Longest report of a scanner, in bytes.
const LONGEST_REPORT: usize = 1 << 20;

/// Tokens that were found.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct LeakBody {
    /// The token, or any text that holds tokens.
    token: String,
    /// Where it was found; its owner is shown it.
    #[serde(default)]
    url: String,
}

/// What became of one token.
#[derive(Serialize, ToSchema)]
pub(super) struct Reported {
    /// SHA-256 of what was reported, hex.
    token_hash: String,
    /// The type, as the reporter calls it.
    token_type: String,
    /// `true_positive` or `false_positive`.
    label: &'static str,
}

impl From<LeakAnswer> for Reported {
    fn from(answer: LeakAnswer) -> Self {
        Self {
            token_hash: answer.token_hash,
            token_type: answer.token_type,
            label: answer.label,
        }
    }
}

fn answered(status: StatusCode, answers: Vec<LeakAnswer>) -> Answer {
    let items: Vec<Reported> = answers.into_iter().map(Into::into).collect();
    let text = serde_json::to_vec(&items).map_err(|error| {
        Refusal::problem(countersign_registry::Error::internal(
            "an answer could not be written as JSON",
            error,
        ))
    })?;
    let headers = [
        (CONTENT_TYPE, "application/json"),
        (CACHE_CONTROL, "no-store"),
    ];
    Ok((status, headers, text).into_response())
}

/// `POST /_/secrets/disclose-token`: a secret scanner's report, in GitHub's partner protocol. The signature is over the
/// raw body.
pub(super) async fn disclose(
    State(site): State<Site>,
    headers: HeaderMap,
    content: Body,
) -> Answer {
    let body = whole(content, LONGEST_REPORT)
        .await
        .map_err(Refusal::problem)?;
    let registry: &Registry = &site.registry;
    let header = |name: &str| {
        headers
            .get(name)
            .and_then(|value| value.to_str().ok())
            .map(str::to_owned)
    };
    let answers = registry
        .disclose(&header, &body)
        .await
        .map_err(Refusal::problem)?;
    answered(StatusCode::OK, answers)
}

/// Report leaked tokens; to hold one is reason enough to end it
#[utoipa::path(post, path = "/api/v1/secrets/report", tag = "account",
    request_body = LeakBody,
    responses((status = ACCEPTED, body = [Reported]), (status = "default", body = Problem, content_type = "application/problem+json")))]
pub(super) async fn report(
    State(site): State<Site>,
    Extension(origin): Extension<CallerOrigin>,
    content: Body,
) -> Result<Response, Refusal> {
    let LeakBody { token, url } = secret_body(content).await?;
    let answers = site
        .registry
        .report_leak(&token, &url, &origin)
        .await
        .map_err(Refusal::problem)?;
    answered(StatusCode::ACCEPTED, answers)
}
