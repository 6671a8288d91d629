//! For operators who are signed in: users, the rule on factors, critical projects, recoveries, namespaces. No token is an
//! operator's; scripts use the command line on the machine.

use axum::Json;
use axum::body::Body;
use axum::extract::{Path, State};
use axum::response::IntoResponse;
use countersign_registry::model::{Actor, Time};
use countersign_registry::{Error, FactorNeed, FactorPolicy, Kind, UserSummary};
use http::{HeaderMap, StatusCode};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::me::need;
use super::recovery::Case;
use super::view::{NamespaceView, Problem};
use super::{Answer, body, ecosystem, json, kept_by_nobody};
use crate::error::Refusal;
use crate::site::Site;

/// A user.
#[derive(Serialize, ToSchema)]
pub(super) struct UserView {
    id: String,
    name: String,
    /// The main address.
    email: Option<String>,
    operator_since: Option<String>,
    created: String,
    /// Since when frozen.
    frozen: Option<String>,
    /// The one-time secret of the enrolment link; only in the answer to the creation.
    #[serde(skip_serializing_if = "Option::is_none")]
    enrolment: Option<String>,
}

impl From<UserSummary> for UserView {
    fn from(user: UserSummary) -> Self {
        Self {
            id: user.id.0,
            name: user.name,
            email: user.email,
            operator_since: user.operator_since.map(Time::rfc3339),
            created: user.created.rfc3339(),
            frozen: user.disabled.map(Time::rfc3339),
            enrolment: user.enrolment,
        }
    }
}

/// Users.
#[derive(Serialize, ToSchema)]
pub(super) struct Users {
    items: Vec<UserView>,
}

/// A user to be.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct NewUser {
    name: String,
    email: Option<String>,
    #[serde(default)]
    operator: bool,
}

/// Frozen or not.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Frozen {
    frozen: bool,
}

/// The rule on factors.
#[derive(Serialize, ToSchema)]
pub(super) struct FactorRule {
    /// Of everybody with a role on a project: `nothing`, `second-factor` or `phishproof`.
    maintainers: &'static str,
    /// Of everybody with a role on a critical project.
    critical: &'static str,
    /// So many days an account has to comply.
    grace_days: u32,
}

/// A new rule on factors.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct NewFactorRule {
    /// `nothing`, `second-factor` or `phishproof`; what is left out stays.
    maintainers: Option<String>,
    critical: Option<String>,
    grace_days: Option<u32>,
    /// Why it is lowered; stands in the log. Not needed to raise it.
    reason: Option<String>,
}

/// Critical or not.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Critical {
    critical: bool,
}

/// Cases of recovery.
#[derive(Serialize, ToSchema)]
pub(super) struct Cases {
    items: Vec<Case>,
}

/// Namespaces.
#[derive(Serialize, ToSchema)]
pub(super) struct Namespaces {
    items: Vec<NamespaceView>,
}

/// Whose a namespace is.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Reservation {
    /// Null frees it.
    organisation: Option<String>,
}

async fn caller(site: &Site, headers: &HeaderMap) -> Result<Actor, Refusal> {
    site.actor(headers).await.map_err(Refusal::problem)
}

fn done(outcome: countersign_registry::Result<()>) -> Answer {
    outcome.map_err(Refusal::problem)?;
    Ok(StatusCode::NO_CONTENT.into_response())
}

/// Every user
#[utoipa::path(get, path = "/api/v1/operator/users", tag = "operator", security(("session" = [])),
    responses((status = OK, body = Users), (status = "default", body = Problem, content_type = "application/problem+json")))]
pub(super) async fn users(State(site): State<Site>, headers: HeaderMap) -> Answer {
    let actor = caller(&site, &headers).await?;
    let users = site
        .registry
        .users(&actor)
        .await
        .map_err(Refusal::problem)?;
    let items = users.into_iter().map(Into::into).collect();
    Ok(kept_by_nobody(
        StatusCode::OK,
        json(&site, &Users { items })?,
    ))
}

/// Make a user
#[utoipa::path(post, path = "/api/v1/operator/users", tag = "operator", security(("session" = [])), request_body = NewUser,
    responses((status = CREATED, body = UserView), (status = "default", body = Problem, content_type = "application/problem+json")))]
pub(super) async fn create_user(
    State(site): State<Site>,
    headers: HeaderMap,
    content: Body,
) -> Answer {
    let actor = caller(&site, &headers).await?;
    let new: NewUser = body(content).await?;
    let user = site
        .registry
        .create_user(&actor, &new.name, new.email.as_deref(), new.operator)
        .await
        .map_err(Refusal::problem)?;
    let made = json(&site, &UserView::from(user))?;
    Ok(kept_by_nobody(StatusCode::CREATED, made))
}

/// Freeze or unfreeze a user
#[utoipa::path(put, path = "/api/v1/operator/users/{user}/frozen", tag = "operator", security(("session" = [])),
    request_body = Frozen, params(("user" = String, Path)),
    responses((status = NO_CONTENT, description = "Done"), (status = "default", body = Problem, content_type = "application/problem+json")))]
pub(super) async fn freeze(
    State(site): State<Site>,
    Path(user): Path<String>,
    headers: HeaderMap,
    content: Body,
) -> Answer {
    let actor = caller(&site, &headers).await?;
    let Frozen { frozen } = body(content).await?;
    done(site.registry.disable_user(&actor, &user, frozen).await)
}

fn rule(policy: &FactorPolicy) -> FactorRule {
    FactorRule {
        maintainers: need(policy.maintainers),
        critical: need(policy.critical),
        grace_days: policy.grace_days,
    }
}

fn wanted(word: &str) -> Result<FactorNeed, Refusal> {
    [
        FactorNeed::Nothing,
        FactorNeed::Second,
        FactorNeed::Phishproof,
    ]
    .into_iter()
    .find(|known| need(*known) == word)
    .ok_or_else(|| {
        Refusal::problem(Error::new(
            Kind::Rejected,
            "json-malformed",
            format!(
                "{} is none of nothing, second-factor, phishproof.",
                crate::error::shown(word)
            ),
        ))
    })
}

/// Which factors accounts need
#[utoipa::path(get, path = "/api/v1/operator/factor-policy", tag = "operator",
    responses((status = OK, body = FactorRule), (status = "default", body = Problem, content_type = "application/problem+json")))]
pub(super) async fn factor_policy(State(site): State<Site>, headers: HeaderMap) -> Answer {
    site.viewer(&headers).await.map_err(Refusal::problem)?;
    let policy = site
        .registry
        .factor_policy()
        .await
        .map_err(Refusal::problem)?;
    json(&site, &rule(&policy))
}

/// Raise the rule on factors; to lower it takes a reason, which stands in the log
#[utoipa::path(put, path = "/api/v1/operator/factor-policy", tag = "operator", security(("session" = [])), request_body = NewFactorRule,
    responses((status = OK, body = FactorRule), (status = "default", body = Problem, content_type = "application/problem+json")))]
pub(super) async fn set_factor_policy(
    State(site): State<Site>,
    headers: HeaderMap,
    content: Body,
) -> Answer {
    let actor = caller(&site, &headers).await?;
    let new: NewFactorRule = body(content).await?;
    let before = site
        .registry
        .factor_policy()
        .await
        .map_err(Refusal::problem)?;
    let or = |word: Option<&str>, old| word.map_or(Ok(old), wanted);
    let policy = FactorPolicy {
        maintainers: or(new.maintainers.as_deref(), before.maintainers)?,
        critical: or(new.critical.as_deref(), before.critical)?,
        grace_days: new.grace_days.unwrap_or(before.grace_days),
        ..before
    };
    let policy = site
        .registry
        .set_factor_policy(&actor, policy, new.reason.as_deref())
        .await
        .map_err(Refusal::problem)?;
    json(&site, &rule(&policy))
}

/// Mark a project as critical, or take the mark away
#[utoipa::path(put, path = "/api/v1/operator/critical/{ecosystem}/{name}", tag = "operator", security(("session" = [])),
    request_body = Critical, params(("ecosystem" = String, Path), ("name" = String, Path)),
    responses((status = NO_CONTENT, description = "Done"), (status = "default", body = Problem, content_type = "application/problem+json")))]
pub(super) async fn mark_critical(
    State(site): State<Site>,
    Path((system, name)): Path<(String, String)>,
    headers: HeaderMap,
    content: Body,
) -> Answer {
    let actor = caller(&site, &headers).await?;
    let Critical { critical } = body(content).await?;
    let system = ecosystem(&system)?;
    let outcome = site
        .registry
        .mark_critical(&actor, system, &name, critical)
        .await;
    done(outcome)
}

/// Open recoveries
#[utoipa::path(get, path = "/api/v1/operator/recoveries", tag = "operator", security(("session" = [])),
    responses((status = OK, body = Cases), (status = "default", body = Problem, content_type = "application/problem+json")))]
pub(super) async fn recoveries(State(site): State<Site>, headers: HeaderMap) -> Answer {
    let actor = caller(&site, &headers).await?;
    let cases = site
        .registry
        .recoveries(&actor)
        .await
        .map_err(Refusal::problem)?;
    let items = cases.into_iter().map(Into::into).collect();
    Ok(kept_by_nobody(
        StatusCode::OK,
        json(&site, &Cases { items })?,
    ))
}

/// Agree to a recovery
#[utoipa::path(post, path = "/api/v1/operator/recoveries/{user}/approval", tag = "operator", security(("session" = [])),
    params(("user" = String, Path)),
    responses((status = OK, body = Case), (status = "default", body = Problem, content_type = "application/problem+json")))]
pub(super) async fn approve_recovery(
    State(site): State<Site>,
    Path(user): Path<String>,
    headers: HeaderMap,
) -> Answer {
    let actor = caller(&site, &headers).await?;
    let case = site
        .registry
        .approve_recovery(&actor, &user)
        .await
        .map_err(Refusal::problem)?;
    Ok(Json(Case::from(case)).into_response())
}

/// Every reserved namespace
#[utoipa::path(get, path = "/api/v1/operator/namespaces", tag = "operator", security(("session" = [])),
    responses((status = OK, body = Namespaces), (status = "default", body = Problem, content_type = "application/problem+json")))]
pub(super) async fn namespaces(State(site): State<Site>, headers: HeaderMap) -> Answer {
    let actor = caller(&site, &headers).await?;
    let namespaces = site
        .registry
        .namespaces(&actor)
        .await
        .map_err(Refusal::problem)?;
    let items = namespaces.into_iter().map(Into::into).collect();
    json(&site, &Namespaces { items })
}

/// Reserve a namespace for an organisation, or free it
#[utoipa::path(put, path = "/api/v1/operator/namespaces/{ecosystem}/{prefix}", tag = "operator", security(("session" = [])),
    request_body = Reservation, params(("ecosystem" = String, Path), ("prefix" = String, Path)),
    responses((status = NO_CONTENT, description = "Done"), (status = "default", body = Problem, content_type = "application/problem+json")))]
pub(super) async fn reserve_namespace(
    State(site): State<Site>,
    Path((system, prefix)): Path<(String, String)>,
    headers: HeaderMap,
    content: Body,
) -> Answer {
    let actor = caller(&site, &headers).await?;
    let Reservation { organisation } = body(content).await?;
    let system = ecosystem(&system)?;
    let outcome = site
        .registry
        .reserve_namespace(&actor, system, &prefix, organisation.as_deref())
        .await;
    done(outcome)
}
