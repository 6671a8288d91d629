//! Trusted publishing: issuers, publishers and their tests, a project's policy, what its owners should know.

mod view;

use std::collections::BTreeMap;

use axum::Json;
use axum::body::Body;
use axum::extract::{Path, State};
use axum::response::{IntoResponse, Response};
use countersign_registry::model::{Actor, TrustLevel};
use countersign_registry::oidc::Provider;
use countersign_registry::{Act, Error, Kind, NewPublisher, PolicyChange, Wanted};
use http::{HeaderMap, StatusCode};
use serde::{Deserialize, Deserializer};
use utoipa::ToSchema;

use self::view::{
    FailedExchanges, Issuers, Notices, Policy, Providers, Publisher, PublisherCheck, Publishers,
    RuleView, TokenTest,
};
use super::approvals::Request;
use super::view::Problem;
use super::{Answer, body, ecosystem, json, named, project_named, secret_body};
use crate::error::Refusal;
use crate::request_log::Noted;
use crate::site::Site;

/// A publisher to be.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct NewPublisherBody {
    /// Name or URL of an issuer, as listed at `/api/v1/issuers`.
    issuer: String,
    /// What `/api/v1/providers` lists for the issuer's provider.
    #[serde(default)]
    fields: BTreeMap<String, String>,
    /// Further rules over claims; all must hold.
    #[serde(default)]
    claims: Vec<RuleView>,
    /// Allow a project that does not exist yet: its first publication makes it, and the caller owns it.
    #[serde(default)]
    pending: bool,
}

/// An identity token to be tried.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct TokenToTest {
    /// The token as the CI system gives it. It is not used up.
    token: String,
}

/// What to change of a policy; what is left out stays.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct PolicyBody {
    /// Refuse API tokens.
    trusted_only: Option<bool>,
    /// The environment that every workflow must run in; null for none.
    #[serde(default, deserialize_with = "said")]
    #[schema(value_type = Option<String>)]
    environment: Option<Option<String>>,
    /// `none`, `token`, `workflow` or `provenance`.
    minimum_trust: Option<String>,
}

/// Tells null from absent.
fn said<'de, D: Deserializer<'de>>(reader: D) -> Result<Option<Option<String>>, D::Error> {
    Option::<String>::deserialize(reader).map(Some)
}

/// The response with what the log line says of it.
fn noted(mut response: Response, actor: &Actor, system: &'static str, project: String) -> Response {
    response.extensions_mut().insert(Noted {
        actor: Some(actor.name().to_owned()),
        ecosystem: Some(system),
        project: Some(project),
        ..Noted::default()
    });
    response
}

/// CI systems, with what a person is asked to register a publisher
#[utoipa::path(get, path = "/api/v1/providers", tag = "publishers",
    responses((status = OK, body = Providers), (status = "default", body = Problem, content_type = "application/problem+json")))]
pub(super) async fn providers(State(site): State<Site>) -> Answer {
    let items = Provider::ALL.iter().copied().map(Into::into).collect();
    json(&site, &Providers { items })
}

/// Issuers whose identity tokens are taken
#[utoipa::path(get, path = "/api/v1/issuers", tag = "publishers",
    responses((status = OK, body = Issuers), (status = "default", body = Problem, content_type = "application/problem+json")))]
pub(super) async fn issuers(State(site): State<Site>, headers: HeaderMap) -> Answer {
    let actor = site.viewer(&headers).await.map_err(Refusal::problem)?;
    let issuers = site
        .registry
        .issuers(&actor)
        .await
        .map_err(Refusal::problem)?;
    let items = issuers.into_iter().map(Into::into).collect();
    json(&site, &Issuers { items })
}

/// The publishers of a project
#[utoipa::path(get, path = "/api/v1/projects/{ecosystem}/{name}/publishers", tag = "publishers", security(("token" = [])),
    params(("ecosystem" = String, Path), ("name" = String, Path)),
    responses((status = OK, body = Publishers), (status = "default", body = Problem, content_type = "application/problem+json")))]
pub(super) async fn publishers(
    State(site): State<Site>,
    Path((system, name)): Path<(String, String)>,
    headers: HeaderMap,
) -> Answer {
    let actor = site.actor(&headers).await.map_err(Refusal::problem)?;
    let publishers = site
        .registry
        .publishers(&actor, ecosystem(&system)?, &name)
        .await
        .map_err(Refusal::problem)?;
    let items = publishers.into_iter().map(Into::into).collect();
    json(&site, &Publishers { items })
}

/// Register a publisher: a workflow that may publish without a stored secret
#[utoipa::path(post, path = "/api/v1/projects/{ecosystem}/{name}/publishers", tag = "publishers", security(("token" = [])),
    request_body = NewPublisherBody, params(("ecosystem" = String, Path), ("name" = String, Path)),
    responses((status = CREATED, body = Publisher), (status = "default", body = Problem, content_type = "application/problem+json")))]
pub(super) async fn add_publisher(
    State(site): State<Site>,
    Path((system, name)): Path<(String, String)>,
    headers: HeaderMap,
    content: Body,
) -> Answer {
    site.actor(&headers).await.map_err(Refusal::problem)?;
    let NewPublisherBody {
        issuer,
        fields,
        claims,
        pending,
    } = body(content).await?;
    let (system, project) = project_named(&system, &name)?;
    // All rules are part of what an owner consents to.
    let mut subject = format!("{project}: a publisher of {}", named(&issuer));
    for (field, value) in &fields {
        subject.push_str(&format!(", {} {}", named(field), named(value)));
    }
    if !claims.is_empty() {
        let rules = serde_json::to_string(&claims).map_err(|source| {
            Refusal::problem(Error::internal(
                "rules could not be written as JSON",
                source,
            ))
        })?;
        subject.push_str(&format!(", claims {rules}"));
    }
    if pending {
        subject.push_str(", pending");
    }
    let claims = claims
        .into_iter()
        .map(TryInto::try_into)
        .collect::<Result<_, Error>>()
        .map_err(Refusal::problem)?;
    let new = NewPublisher {
        ecosystem: system,
        project: name.clone(),
        issuer,
        fields,
        claims,
        pending_for: None,
        pending,
    };
    let wanted = Wanted {
        act: Act::ManagePublishers,
        also: &[],
        on: Some((system, name.clone())),
        subject,
    };
    let request = Request::of(&site, &headers, wanted).await?;
    let outcome = site.registry.add_publisher(&request.actor, new).await;
    let publisher = request.told(outcome).await?;
    let created = (StatusCode::CREATED, Json(Publisher::from(publisher))).into_response();
    Ok(noted(created, &request.actor, system.as_str(), name))
}

/// Remove a publisher; its tokens end at once
#[utoipa::path(delete, path = "/api/v1/projects/{ecosystem}/{name}/publishers/{id}", tag = "publishers", security(("token" = [])),
    params(("ecosystem" = String, Path), ("name" = String, Path), ("id" = String, Path)),
    responses((status = NO_CONTENT, description = "Removed"), (status = "default", body = Problem, content_type = "application/problem+json")))]
pub(super) async fn remove_publisher(
    State(site): State<Site>,
    Path((system, name, id)): Path<(String, String, String)>,
    headers: HeaderMap,
) -> Answer {
    let (system, project) = project_named(&system, &name)?;
    let wanted = Wanted {
        act: Act::ManagePublishers,
        also: &[],
        on: Some((system, name.clone())),
        subject: format!("{project}: the publisher {} is removed", named(&id)),
    };
    let request = Request::of(&site, &headers, wanted).await?;
    let outcome = site
        .registry
        .remove_publisher(&request.actor, system, &name, &id)
        .await;
    request.told(outcome).await?;
    let gone = StatusCode::NO_CONTENT.into_response();
    Ok(noted(gone, &request.actor, system.as_str(), name))
}

/// Ask issuer and provider again whether a publisher can work
#[utoipa::path(post, path = "/api/v1/projects/{ecosystem}/{name}/publishers/{id}/check", tag = "publishers", security(("token" = [])),
    params(("ecosystem" = String, Path), ("name" = String, Path), ("id" = String, Path)),
    responses((status = OK, body = PublisherCheck), (status = "default", body = Problem, content_type = "application/problem+json")))]
pub(super) async fn check_publisher(
    State(site): State<Site>,
    Path((system, name, id)): Path<(String, String, String)>,
    headers: HeaderMap,
) -> Answer {
    let actor = site.actor(&headers).await.map_err(Refusal::problem)?;
    let check = site
        .registry
        .check_publisher(&actor, ecosystem(&system)?, &name, &id)
        .await
        .map_err(Refusal::problem)?;
    json(&site, &PublisherCheck::from(check))
}

/// Try an identity token against the publishers of a project, rule by rule; it is not used up
#[utoipa::path(post, path = "/api/v1/projects/{ecosystem}/{name}/publishers/test", tag = "publishers", security(("token" = [])),
    request_body = TokenToTest, params(("ecosystem" = String, Path), ("name" = String, Path)),
    responses((status = OK, body = TokenTest), (status = "default", body = Problem, content_type = "application/problem+json")))]
pub(super) async fn test_token(
    State(site): State<Site>,
    Path((system, name)): Path<(String, String)>,
    headers: HeaderMap,
    content: Body,
) -> Answer {
    let actor = site.actor(&headers).await.map_err(Refusal::problem)?;
    let TokenToTest { token } = secret_body(content).await?;
    let test = site
        .registry
        .test_token(&actor, ecosystem(&system)?, &name, &token)
        .await
        .map_err(Refusal::problem)?;
    json(&site, &TokenTest::from(test))
}

/// The last exchanges for a project that failed
#[utoipa::path(get, path = "/api/v1/projects/{ecosystem}/{name}/publishers/failures", tag = "publishers", security(("token" = [])),
    params(("ecosystem" = String, Path), ("name" = String, Path)),
    responses((status = OK, body = FailedExchanges), (status = "default", body = Problem, content_type = "application/problem+json")))]
pub(super) async fn failures(
    State(site): State<Site>,
    Path((system, name)): Path<(String, String)>,
    headers: HeaderMap,
) -> Answer {
    let actor = site.actor(&headers).await.map_err(Refusal::problem)?;
    let failures = site
        .registry
        .failed_exchanges(&actor, ecosystem(&system)?, &name)
        .await
        .map_err(Refusal::problem)?;
    let items = failures.into_iter().map(Into::into).collect();
    json(&site, &FailedExchanges { items })
}

/// The caller's publishers of projects that do not exist yet
#[utoipa::path(get, path = "/api/v1/publishers/pending", tag = "publishers", security(("token" = [])),
    responses((status = OK, body = Publishers), (status = "default", body = Problem, content_type = "application/problem+json")))]
pub(super) async fn pending(State(site): State<Site>, headers: HeaderMap) -> Answer {
    let actor = site.actor(&headers).await.map_err(Refusal::problem)?;
    let publishers = site
        .registry
        .pending_publishers(&actor)
        .await
        .map_err(Refusal::problem)?;
    let items = publishers.into_iter().map(Into::into).collect();
    json(&site, &Publishers { items })
}

/// What a project asks of those who publish it
#[utoipa::path(get, path = "/api/v1/projects/{ecosystem}/{name}/policy", tag = "publishers", security(("token" = [])),
    params(("ecosystem" = String, Path), ("name" = String, Path)),
    responses((status = OK, body = Policy), (status = "default", body = Problem, content_type = "application/problem+json")))]
pub(super) async fn policy(
    State(site): State<Site>,
    Path((system, name)): Path<(String, String)>,
    headers: HeaderMap,
) -> Answer {
    let actor = site.actor(&headers).await.map_err(Refusal::problem)?;
    let policy = site
        .registry
        .project_policy(&actor, ecosystem(&system)?, &name)
        .await
        .map_err(Refusal::problem)?;
    json(&site, &Policy::from(policy))
}

/// Change what a project asks of those who publish it; what is left out stays
#[utoipa::path(put, path = "/api/v1/projects/{ecosystem}/{name}/policy", tag = "publishers", security(("token" = [])),
    request_body = PolicyBody, params(("ecosystem" = String, Path), ("name" = String, Path)),
    responses((status = OK, body = Policy), (status = "default", body = Problem, content_type = "application/problem+json")))]
pub(super) async fn set_policy(
    State(site): State<Site>,
    Path((system, name)): Path<(String, String)>,
    headers: HeaderMap,
    content: Body,
) -> Answer {
    site.actor(&headers).await.map_err(Refusal::problem)?;
    let PolicyBody {
        trusted_only,
        environment,
        minimum_trust,
    } = body(content).await?;
    let minimum_trust = minimum_trust
        .map(|word| word.parse::<TrustLevel>())
        .transpose()
        .map_err(|why| {
            let message = format!("{why}.");
            Refusal::problem(Error::new(Kind::Rejected, "json-malformed", message))
        })?;
    let change = PolicyChange {
        trusted_only,
        environment,
        minimum_trust,
    };
    let (system, project) = project_named(&system, &name)?;
    let mut changes = Vec::new();
    if let Some(only) = change.trusted_only {
        changes.push(format!(
            "API tokens {}",
            if only { "refused" } else { "taken" }
        ));
    }
    if let Some(environment) = &change.environment {
        let environment = environment
            .as_deref()
            .map_or("none".to_owned(), |name| format!("{name:?}"));
        changes.push(format!("environment {environment}"));
    }
    if let Some(trust) = change.minimum_trust {
        changes.push(format!("trust of {} or more", trust.as_str()));
    }
    let wanted = Wanted {
        act: Act::ManagePolicy,
        also: &[],
        on: Some((system, name.clone())),
        subject: format!("{project}: {}", changes.join(", ")),
    };
    let request = Request::of(&site, &headers, wanted).await?;
    let outcome = site
        .registry
        .set_project_policy(&request.actor, system, &name, change)
        .await;
    let policy = request.told(outcome).await?;
    let answer = json(&site, &Policy::from(policy))?;
    Ok(noted(answer, &request.actor, system.as_str(), name))
}

/// What the owners of a project should look at
#[utoipa::path(get, path = "/api/v1/projects/{ecosystem}/{name}/notices", tag = "publishers", security(("token" = [])),
    params(("ecosystem" = String, Path), ("name" = String, Path)),
    responses((status = OK, body = Notices), (status = "default", body = Problem, content_type = "application/problem+json")))]
pub(super) async fn notices(
    State(site): State<Site>,
    Path((system, name)): Path<(String, String)>,
    headers: HeaderMap,
) -> Answer {
    let actor = site.actor(&headers).await.map_err(Refusal::problem)?;
    let notices = site
        .registry
        .notices(&actor, ecosystem(&system)?, &name)
        .await
        .map_err(Refusal::problem)?;
    let items = notices.into_iter().map(Into::into).collect();
    json(&site, &Notices { items })
}

/// Put a notice away
#[utoipa::path(delete, path = "/api/v1/projects/{ecosystem}/{name}/notices/{id}", tag = "publishers", security(("token" = [])),
    params(("ecosystem" = String, Path), ("name" = String, Path), ("id" = String, Path)),
    responses((status = NO_CONTENT, description = "Put away"), (status = "default", body = Problem, content_type = "application/problem+json")))]
pub(super) async fn dismiss_notice(
    State(site): State<Site>,
    Path((system, name, id)): Path<(String, String, String)>,
    headers: HeaderMap,
) -> Answer {
    let actor = site.actor(&headers).await.map_err(Refusal::problem)?;
    let system = ecosystem(&system)?;
    site.registry
        .dismiss_notice(&actor, system, &name, &id)
        .await
        .map_err(Refusal::problem)?;
    let gone = StatusCode::NO_CONTENT.into_response();
    Ok(noted(gone, &actor, system.as_str(), name))
}
