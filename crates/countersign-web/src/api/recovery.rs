//! Getting back into an account: how it begins, how far it is, who vouches, who stops it. The way in itself goes by mailed
//! links and a browser.

use axum::Extension;
use axum::body::Body;
use axum::extract::{Path, State};
use axum::response::IntoResponse;
use countersign_registry::model::{CallerOrigin, Time};
use countersign_registry::{RecoveryCase, RecoveryPolicy};
use http::{HeaderMap, StatusCode};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::view::Problem;
use super::{Answer, body, json, kept_by_nobody, secret_body};
use crate::error::Refusal;
use crate::site::Site;

/// What recovery takes.
#[derive(Serialize, ToSchema)]
pub(super) struct Policy {
    /// How many proofs.
    proofs: usize,
    /// Which count: `address`, `owner`, `identity`.
    kinds: Vec<&'static str>,
    /// The waiting time, in hours.
    wait_hours: i64,
    /// How many operators must agree where the account owns a critical project.
    operators_for_critical: u64,
    /// For how many days after it the account can neither delete, hand over, nor make tokens.
    restricted_days: i64,
}

impl From<RecoveryPolicy> for Policy {
    fn from(policy: RecoveryPolicy) -> Self {
        Self {
            proofs: policy.proofs,
            kinds: policy.kinds,
            wait_hours: policy.wait_hours,
            operators_for_critical: policy.operators_for_critical,
            restricted_days: policy.restricted_days,
        }
    }
}

/// A proof.
#[derive(Serialize, ToSchema)]
pub(super) struct Proof {
    kind: String,
    at: String,
}

/// How many operators must agree, and how many have.
#[derive(Serialize, ToSchema)]
pub(super) struct Operators {
    needed: u64,
    given: u64,
}

/// A case.
#[derive(Serialize, ToSchema)]
pub(super) struct Case {
    user: String,
    /// Given so far.
    proofs: Vec<Proof>,
    /// How many proofs are needed.
    needed: usize,
    operators: Operators,
    opened: String,
    /// When the waiting time ends, once there are proofs enough.
    ready: Option<String>,
    expires: String,
}

impl From<RecoveryCase> for Case {
    fn from(case: RecoveryCase) -> Self {
        let (needed, given) = case.operators;
        let proofs = case.proofs.into_iter().map(|(kind, at)| Proof {
            kind,
            at: at.rfc3339(),
        });
        Self {
            user: case.user,
            proofs: proofs.collect(),
            needed: case.needed,
            operators: Operators { needed, given },
            opened: case.opened.rfc3339(),
            ready: case.ready.map(Time::rfc3339),
            expires: case.expires.rfc3339(),
        }
    }
}

/// Whose.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Whose {
    /// User name or address.
    who: String,
}

/// The secret of a case.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct CaseSecret {
    /// As the page of the case holds it.
    secret: String,
}

/// What recovery takes
#[utoipa::path(get, path = "/api/v1/recovery", tag = "recovery",
    responses((status = OK, body = Policy), (status = "default", body = Problem, content_type = "application/problem+json")))]
pub(super) async fn policy(State(site): State<Site>) -> Answer {
    json(&site, &Policy::from(site.registry.recovery_policy()))
}

/// Ask for the link that begins a recovery. The answer is the same whether there is such an account or not
#[utoipa::path(post, path = "/api/v1/recovery", tag = "recovery", request_body = Whose,
    responses((status = ACCEPTED, description = "If there is such an account, its addresses get mail"),
        (status = "default", body = Problem, content_type = "application/problem+json")))]
pub(super) async fn begin(
    State(site): State<Site>,
    Extension(origin): Extension<CallerOrigin>,
    content: Body,
) -> Answer {
    let Whose { who } = body(content).await?;
    site.registry
        .begin_recovery(&who, &origin)
        .await
        .map_err(Refusal::problem)?;
    Ok(StatusCode::ACCEPTED.into_response())
}

/// Ask for the link by which a new password is chosen; answered like a recovery
#[utoipa::path(post, path = "/api/v1/recovery/password", tag = "recovery", request_body = Whose,
    responses((status = ACCEPTED, description = "If there is such an account, its addresses get mail"),
        (status = "default", body = Problem, content_type = "application/problem+json")))]
pub(super) async fn reset_password(
    State(site): State<Site>,
    Extension(origin): Extension<CallerOrigin>,
    content: Body,
) -> Answer {
    let Whose { who } = body(content).await?;
    site.registry
        .begin_password_reset(&who, &origin)
        .await
        .map_err(Refusal::problem)?;
    Ok(StatusCode::ACCEPTED.into_response())
}

/// How far a recovery is
#[utoipa::path(post, path = "/api/v1/recovery/status", tag = "recovery", request_body = CaseSecret,
    responses((status = OK, body = Case), (status = "default", body = Problem, content_type = "application/problem+json")))]
pub(super) async fn status(State(site): State<Site>, content: Body) -> Answer {
    let CaseSecret { secret } = secret_body(content).await?;
    let case = site
        .registry
        .recovery_case(&secret)
        .await
        .map_err(Refusal::problem)?;
    Ok(kept_by_nobody(
        StatusCode::OK,
        json(&site, &Case::from(case))?,
    ))
}

/// Vouch for somebody's recovery, as a co-owner or operator; in a fresh session with a passkey
#[utoipa::path(post, path = "/api/v1/recovery/{user}/vouch", tag = "recovery", security(("session" = [])), params(("user" = String, Path)),
    responses((status = NO_CONTENT, description = "Vouched"), (status = "default", body = Problem, content_type = "application/problem+json")))]
pub(super) async fn vouch(
    State(site): State<Site>,
    Path(user): Path<String>,
    headers: HeaderMap,
) -> Answer {
    let actor = site.actor(&headers).await.map_err(Refusal::problem)?;
    site.registry
        .vouch_for_recovery(&actor, &user)
        .await
        .map_err(Refusal::problem)?;
    Ok(StatusCode::NO_CONTENT.into_response())
}

/// Stop a recovery of one's own account
#[utoipa::path(delete, path = "/api/v1/me/recovery", tag = "recovery", security(("session" = [])),
    responses((status = NO_CONTENT, description = "Stopped"), (status = "default", body = Problem, content_type = "application/problem+json")))]
pub(super) async fn stop(State(site): State<Site>, headers: HeaderMap) -> Answer {
    let actor = site.actor(&headers).await.map_err(Refusal::problem)?;
    site.registry
        .stop_own_recovery(&actor)
        .await
        .map_err(Refusal::problem)?;
    Ok(StatusCode::NO_CONTENT.into_response())
}
