//! The caller and the caller's tokens.

use std::time::Duration;

use axum::body::Body;
use axum::extract::{Path, State};
use axum::response::IntoResponse;
use countersign_registry::model::{Action, Identity, Network};
use countersign_registry::{Act, Error, Kind, NewToken, Wanted};
use http::{HeaderMap, StatusCode};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::approvals::Request;
use super::view::{Caller, Problem, TokenView, Tokens};
use super::{Answer, body, ecosystem, json, kept_by_nobody, malformed, named};
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

/// A token to be.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct NewTokenBody {
    /// What its owner calls it.
    #[serde(default)]
    label: String,
    /// `read`, `publish` or `manage`; each includes the ones before.
    action: String,
    /// Only this ecosystem.
    ecosystem: Option<String>,
    /// Only this project.
    project: Option<String>,
    /// Only names that begin with this.
    namespace: Option<String>,
    /// Only from these networks, such as `192.0.2.0/24`.
    #[serde(default)]
    networks: Vec<String>,
    /// How many days it lives; 30 where it is left out.
    days: Option<u64>,
}

/// A token, with its secret: shown once.
#[derive(Serialize, ToSchema)]
pub(super) struct MadeToken {
    /// The token.
    token: String,
    #[serde(flatten)]
    summary: TokenView,
}

/// Make a token of the caller. Its secret is shown once
#[utoipa::path(post, path = "/api/v1/tokens", tag = "account", security(("token" = [])),
    request_body = NewTokenBody,
    responses((status = CREATED, body = MadeToken), (status = "default", body = Problem, content_type = "application/problem+json")))]
pub(super) async fn create_token(
    State(site): State<Site>,
    headers: HeaderMap,
    content: Body,
) -> Answer {
    let actor = site.actor(&headers).await.map_err(Refusal::problem)?;
    let new: NewTokenBody = body(content).await?;
    let ecosystem = new.ecosystem.as_deref().map(ecosystem).transpose()?;
    let action: Action = new.action.parse().map_err(malformed)?;
    let days = new.days.unwrap_or(30);
    let networks = new
        .networks
        .iter()
        .map(|network| network.parse::<Network>().map_err(malformed))
        .collect::<Result<Vec<_>, _>>()?;
    // All that limits it is part of what its owner consents to.
    let mut subject = format!("{} for {days} days: {}", named(&new.label), action.as_str());
    for (name, limit) in [
        ("ecosystem", ecosystem.map(|ecosystem| ecosystem.as_str())),
        ("project", new.project.as_deref()),
        ("namespace", new.namespace.as_deref()),
    ] {
        if let Some(limit) = limit {
            subject.push_str(&format!(", {name} {}", named(limit)));
        }
    }
    for network in &networks {
        subject.push_str(&format!(", from {network}"));
    }
    let wanted = Wanted {
        act: Act::MakeTokens,
        also: &[],
        on: None,
        subject,
    };
    let request = Request::of(&site, &headers, wanted).await?;
    let outcome = site
        .registry
        .create_token(
            &request.actor,
            NewToken {
                user: actor.name().to_owned(),
                ecosystem,
                project: new.project,
                namespace: new.namespace,
                networks,
                action,
                expires: Duration::from_secs(days.saturating_mul(86_400)),
                label: new.label,
            },
        )
        .await;
    let (token, summary) = request.told(outcome).await?;
    let made = MadeToken {
        token,
        summary: summary.into(),
    };
    Ok(kept_by_nobody(StatusCode::CREATED, json(&site, &made)?))
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
