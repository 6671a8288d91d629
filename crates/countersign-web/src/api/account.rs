//! The caller and the caller's tokens.

use axum::extract::{Path, State};
use axum::response::IntoResponse;
use countersign_registry::model::Identity;
use countersign_registry::{Error, Kind};
use http::{HeaderMap, StatusCode};

use super::view::{Caller, Problem, Tokens};
use super::{Answer, json};
use crate::error::Refusal;
use crate::request_log::{Noted, holds_token};
use crate::site::Site;

/// Who am I
#[utoipa::path(get, path = "/api/v1/whoami", tag = "account", security(("token" = [])),
    responses((status = OK, body = Caller), (status = "default", body = Problem, content_type = "application/problem+json")))]
pub(super) async fn whoami(State(site): State<Site>, headers: HeaderMap) -> Answer {
    let actor = site.actor(&headers).await.map_err(Refusal::problem)?;
    json(&site, &Caller::from(actor))
}

/// The caller's tokens
#[utoipa::path(get, path = "/api/v1/tokens", tag = "account", security(("token" = [])),
    responses((status = OK, body = Tokens), (status = "default", body = Problem, content_type = "application/problem+json")))]
pub(super) async fn tokens(State(site): State<Site>, headers: HeaderMap) -> Answer {
    let actor = site.actor(&headers).await.map_err(Refusal::problem)?;
    let user = match &actor.identity {
        Identity::Account { name, .. } => Some(name.clone()),
        Identity::Anonymous | Identity::Workflow(_) | Identity::System { .. } => None,
    };
    let tokens = site
        .registry
        .tokens(&actor, user.as_deref())
        .await
        .map_err(Refusal::problem)?;
    json(
        &site,
        &Tokens {
            items: tokens.into_iter().map(Into::into).collect(),
        },
    )
}

/// Revoke a token of the caller, given by its id or its hint
#[utoipa::path(delete, path = "/api/v1/tokens/{token}", tag = "account", security(("token" = [])),
    params(("token" = String, Path, description = "Id or hint")),
    responses((status = NO_CONTENT, description = "Revoked, with effect at once"),
        (status = "default", body = Problem, content_type = "application/problem+json")))]
pub(super) async fn revoke_token(
    State(site): State<Site>,
    Path(token): Path<String>,
    headers: HeaderMap,
) -> Answer {
    let actor = site.actor(&headers).await.map_err(Refusal::problem)?;
    if holds_token(&token) {
        let error = Error::new(
            Kind::Rejected,
            "token-in-address",
            "The address holds a token itself; proxies and logs keep addresses. Nothing was revoked.",
        );
        return Err(Refusal::problem(error.remedy(
            "Take the token's id or hint from GET /api/v1/tokens and send that; take a new token instead of this one.",
        )));
    }
    site.registry
        .revoke_token(&actor, &token, false)
        .await
        .map_err(Refusal::problem)?;
    Ok(StatusCode::NO_CONTENT.into_response())
}

/// End the token that this request is sent with
#[utoipa::path(delete, path = "/api/v1/token", tag = "account", security(("token" = [])),
    responses((status = NO_CONTENT, description = "Ended, with effect at once"),
        (status = "default", body = Problem, content_type = "application/problem+json")))]
pub(super) async fn end_token(State(site): State<Site>, headers: HeaderMap) -> Answer {
    let actor = site.actor(&headers).await.map_err(Refusal::problem)?;
    site.registry
        .end_token(&actor)
        .await
        .map_err(Refusal::problem)?;
    let mut ended = StatusCode::NO_CONTENT.into_response();
    ended.extensions_mut().insert(Noted {
        actor: Some(actor.name().to_owned()),
        ..Noted::default()
    });
    Ok(ended)
}
