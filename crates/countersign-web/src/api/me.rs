//! What belongs to the caller's own account: sessions, factors, addresses, notices, all data.

use axum::body::Body;
use axum::extract::{Extension, Path, State};
use axum::response::IntoResponse;
use countersign_registry::model::{Actor, CallerOrigin, FactorId, Identity, SessionId, Time};
use countersign_registry::{
    AccountNotice, AddressSummary, Demand, FactorNeed, FactorSummary, LinkedIdentity, Security,
    SessionSummary,
};
use http::{HeaderMap, StatusCode};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::view::{Problem, ScopeView};
use super::{Answer, body, json, kept_by_nobody};
use crate::error::Refusal;
use crate::site::Site;

/// Who is calling, and with what.
#[derive(Serialize, ToSchema)]
pub(super) struct Me {
    /// `account` or `workflow`.
    kind: String,
    name: String,
    /// Id of the token; null in a session.
    credential: Option<String>,
    /// What the token may; null in a session.
    scope: Option<ScopeView>,
    /// Null for tokens.
    session: Option<SessionState>,
}

/// How far a session goes.
#[derive(Serialize, ToSchema)]
pub(super) struct SessionState {
    /// `password`, `two-factor` or `phishproof`.
    level: String,
    /// Until when its holder counts as having proved themselves just now.
    fresh_until: Option<String>,
    /// The account is an operator's.
    operator: bool,
}

impl From<Actor> for Me {
    fn from(actor: Actor) -> Self {
        let kind = match &actor.identity {
            Identity::Anonymous => "anonymous",
            Identity::Account { .. } => "account",
            Identity::Workflow(_) => "workflow",
            Identity::System { .. } => "system",
        };
        Self {
            kind: kind.to_owned(),
            name: actor.name().to_owned(),
            credential: actor.credential.map(|id| id.0),
            scope: actor.scope.map(Into::into),
            session: actor.session.map(|session| SessionState {
                level: session.level.as_str().to_owned(),
                fresh_until: session.fresh_until.map(Time::rfc3339),
                operator: session.operator,
            }),
        }
    }
}

/// A session.
#[derive(Serialize, ToSchema)]
pub(super) struct SessionView {
    id: String,
    /// The one that asks.
    current: bool,
    level: String,
    /// By what its holder signed in.
    way: String,
    /// From where it began, while that is kept.
    address: Option<String>,
    agent: Option<String>,
    created: String,
    /// When last used, to the minute.
    seen: String,
    expires: String,
}

impl From<SessionSummary> for SessionView {
    fn from(session: SessionSummary) -> Self {
        Self {
            id: session.id.0,
            current: session.current,
            level: session.level.as_str().to_owned(),
            way: session.way,
            address: session.address,
            agent: session.agent,
            created: session.created.rfc3339(),
            seen: session.seen.rfc3339(),
            expires: session.expires.rfc3339(),
        }
    }
}

/// Sessions.
#[derive(Serialize, ToSchema)]
pub(super) struct Sessions {
    items: Vec<SessionView>,
}

/// How many ended.
#[derive(Serialize, ToSchema)]
pub(super) struct Ended {
    ended: u64,
}

/// A factor. Never its secret.
#[derive(Serialize, ToSchema)]
pub(super) struct FactorView {
    id: String,
    /// `passkey`, `security-key` or `totp`.
    kind: String,
    label: String,
    created: String,
    last_used: Option<String>,
    /// Until when it is locked, after wrong codes.
    locked_until: Option<String>,
    /// Since when it is locked for good, because there seems to be a copy.
    cloned: Option<String>,
}

impl From<FactorSummary> for FactorView {
    fn from(factor: FactorSummary) -> Self {
        Self {
            id: factor.id.0,
            kind: factor.kind,
            label: factor.label,
            created: factor.created.rfc3339(),
            last_used: factor.last_used.map(Time::rfc3339),
            locked_until: factor.locked_until.map(Time::rfc3339),
            cloned: factor.cloned.map(Time::rfc3339),
        }
    }
}

/// A link to a sign-in provider.
#[derive(Serialize, ToSchema)]
pub(super) struct IdentityView {
    id: String,
    issuer: String,
    label: String,
    created: String,
    last_used: Option<String>,
}

impl From<LinkedIdentity> for IdentityView {
    fn from(identity: LinkedIdentity) -> Self {
        Self {
            id: identity.id,
            issuer: identity.issuer,
            label: identity.label,
            created: identity.created.rfc3339(),
            last_used: identity.last_used.map(Time::rfc3339),
        }
    }
}

/// A factor that the account needs and does not have.
#[derive(Serialize, ToSchema)]
pub(super) struct DemandView {
    /// `second-factor` or `phishproof`.
    need: &'static str,
    /// From when on it is refused what needs it.
    by: String,
    /// Why, as a clause.
    why: String,
}

pub(super) fn need(need: FactorNeed) -> &'static str {
    match need {
        FactorNeed::Nothing => "nothing",
        FactorNeed::Second => "second-factor",
        FactorNeed::Phishproof => "phishproof",
    }
}

impl From<Demand> for DemandView {
    fn from(demand: Demand) -> Self {
        Self {
            need: need(demand.need),
            by: demand.by.rfc3339(),
            why: demand.why,
        }
    }
}

/// How an account can be signed in to.
#[derive(Serialize, ToSchema)]
pub(super) struct Factors {
    factors: Vec<FactorView>,
    /// When the password was changed; null: there is none.
    password_changed: Option<String>,
    /// The password stands in a collection of stolen ones and is to be changed.
    password_breached: Option<String>,
    /// How many recovery codes are left.
    recovery_codes: u64,
    identities: Vec<IdentityView>,
    missing: Option<DemandView>,
}

impl From<Security> for Factors {
    fn from(security: Security) -> Self {
        Self {
            factors: security.factors.into_iter().map(Into::into).collect(),
            password_changed: security.password_changed.map(Time::rfc3339),
            password_breached: security.password_breached.map(Time::rfc3339),
            recovery_codes: security.recovery_codes,
            identities: security.identities.into_iter().map(Into::into).collect(),
            missing: security.missing.map(Into::into),
        }
    }
}

/// What to call it.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct NewLabel {
    label: String,
}

/// An address.
#[derive(Serialize, ToSchema)]
pub(super) struct AddressView {
    id: String,
    address: String,
    /// When its holder proved it.
    verified: Option<String>,
    /// Mail goes to it first.
    main: bool,
    /// Since when it no longer counts for recovery.
    abandoned: Option<String>,
}

impl From<AddressSummary> for AddressView {
    fn from(address: AddressSummary) -> Self {
        Self {
            id: address.id,
            address: address.address,
            verified: address.verified.map(Time::rfc3339),
            main: address.primary,
            abandoned: address.abandoned.map(|(since, _)| since.rfc3339()),
        }
    }
}

/// Addresses.
#[derive(Serialize, ToSchema)]
pub(super) struct Addresses {
    items: Vec<AddressView>,
}

/// An address to be.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct NewAddress {
    address: String,
}

/// A notice.
#[derive(Serialize, ToSchema)]
pub(super) struct NoticeView {
    id: String,
    kind: String,
    title: String,
    text: String,
    /// What to do if it was not you.
    advice: String,
    at: String,
    /// From where, while that is kept.
    from: Option<String>,
    seen: Option<String>,
}

impl From<AccountNotice> for NoticeView {
    fn from(notice: AccountNotice) -> Self {
        Self {
            id: notice.id,
            kind: notice.kind,
            title: notice.title,
            text: notice.text,
            advice: notice.advice,
            at: notice.at.rfc3339(),
            from: notice.from,
            seen: notice.seen.map(Time::rfc3339),
        }
    }
}

/// Notices.
#[derive(Serialize, ToSchema)]
pub(super) struct AccountNotices {
    items: Vec<NoticeView>,
}

/// The account's name, once more, so that nothing is erased by a slip.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Erasure {
    name: String,
}

async fn caller(site: &Site, headers: &HeaderMap) -> Result<Actor, Refusal> {
    site.actor(headers).await.map_err(Refusal::problem)
}

fn done(outcome: countersign_registry::Result<()>) -> Answer {
    outcome.map_err(Refusal::problem)?;
    Ok(StatusCode::NO_CONTENT.into_response())
}

/// Who am I, and with what credential
#[utoipa::path(get, path = "/api/v1/me", tag = "account", security(("token" = []), ("session" = [])),
    responses((status = OK, body = Me), (status = "default", body = Problem, content_type = "application/problem+json")))]
pub(super) async fn me(State(site): State<Site>, headers: HeaderMap) -> Answer {
    let actor = caller(&site, &headers).await?;
    json(&site, &Me::from(actor))
}

/// The caller's sessions
#[utoipa::path(get, path = "/api/v1/me/sessions", tag = "account", security(("session" = [])),
    responses((status = OK, body = Sessions), (status = "default", body = Problem, content_type = "application/problem+json")))]
pub(super) async fn sessions(State(site): State<Site>, headers: HeaderMap) -> Answer {
    let actor = caller(&site, &headers).await?;
    let sessions = site
        .registry
        .sessions(&actor)
        .await
        .map_err(Refusal::problem)?;
    let items = sessions.into_iter().map(Into::into).collect();
    json(&site, &Sessions { items })
}

/// End every session but this one
#[utoipa::path(delete, path = "/api/v1/me/sessions", tag = "account", security(("session" = [])),
    responses((status = OK, body = Ended), (status = "default", body = Problem, content_type = "application/problem+json")))]
pub(super) async fn end_other_sessions(State(site): State<Site>, headers: HeaderMap) -> Answer {
    let actor = caller(&site, &headers).await?;
    let ended = site
        .registry
        .revoke_other_sessions(&actor)
        .await
        .map_err(Refusal::problem)?;
    json(&site, &Ended { ended })
}

/// End a session, with effect at once
#[utoipa::path(delete, path = "/api/v1/me/sessions/{id}", tag = "account", security(("session" = [])), params(("id" = String, Path)),
    responses((status = NO_CONTENT, description = "Ended"), (status = "default", body = Problem, content_type = "application/problem+json")))]
pub(super) async fn end_session(
    State(site): State<Site>,
    Path(id): Path<String>,
    headers: HeaderMap,
) -> Answer {
    let actor = caller(&site, &headers).await?;
    done(site.registry.revoke_session(&actor, &SessionId(id)).await)
}

/// How the account can be signed in to. Factors are added with a browser
#[utoipa::path(get, path = "/api/v1/me/factors", tag = "account", security(("session" = [])),
    responses((status = OK, body = Factors), (status = "default", body = Problem, content_type = "application/problem+json")))]
pub(super) async fn factors(State(site): State<Site>, headers: HeaderMap) -> Answer {
    let actor = caller(&site, &headers).await?;
    let security = site
        .registry
        .security(&actor)
        .await
        .map_err(Refusal::problem)?;
    json(&site, &Factors::from(security))
}

/// Rename a factor
#[utoipa::path(patch, path = "/api/v1/me/factors/{id}", tag = "account", security(("session" = [])), params(("id" = String, Path)),
    request_body = NewLabel,
    responses((status = NO_CONTENT, description = "Renamed"), (status = "default", body = Problem, content_type = "application/problem+json")))]
pub(super) async fn rename_factor(
    State(site): State<Site>,
    Path(id): Path<String>,
    headers: HeaderMap,
    content: Body,
) -> Answer {
    let actor = caller(&site, &headers).await?;
    let NewLabel { label } = body(content).await?;
    let outcome = site
        .registry
        .rename_factor(&actor, &FactorId(id), &label)
        .await;
    done(outcome)
}

/// Remove a factor; in a fresh session
#[utoipa::path(delete, path = "/api/v1/me/factors/{id}", tag = "account", security(("session" = [])), params(("id" = String, Path)),
    responses((status = NO_CONTENT, description = "Removed"), (status = "default", body = Problem, content_type = "application/problem+json")))]
pub(super) async fn remove_factor(
    State(site): State<Site>,
    Path(id): Path<String>,
    Extension(origin): Extension<CallerOrigin>,
    headers: HeaderMap,
) -> Answer {
    let actor = caller(&site, &headers).await?;
    let outcome = site
        .registry
        .remove_factor(&actor, &FactorId(id), &origin)
        .await;
    done(outcome)
}

/// Remove the password; in a fresh session
#[utoipa::path(delete, path = "/api/v1/me/password", tag = "account", security(("session" = [])),
    responses((status = NO_CONTENT, description = "Removed"), (status = "default", body = Problem, content_type = "application/problem+json")))]
pub(super) async fn remove_password(
    State(site): State<Site>,
    Extension(origin): Extension<CallerOrigin>,
    headers: HeaderMap,
) -> Answer {
    let actor = caller(&site, &headers).await?;
    done(site.registry.password_remove(&actor, &origin).await)
}

/// Unlink a sign-in provider; in a fresh session
#[utoipa::path(delete, path = "/api/v1/me/identities/{id}", tag = "account", security(("session" = [])), params(("id" = String, Path)),
    responses((status = NO_CONTENT, description = "Unlinked"), (status = "default", body = Problem, content_type = "application/problem+json")))]
pub(super) async fn unlink_identity(
    State(site): State<Site>,
    Path(id): Path<String>,
    Extension(origin): Extension<CallerOrigin>,
    headers: HeaderMap,
) -> Answer {
    let actor = caller(&site, &headers).await?;
    done(site.registry.unlink_identity(&actor, &id, &origin).await)
}

/// The account's addresses
#[utoipa::path(get, path = "/api/v1/me/addresses", tag = "account", security(("session" = [])),
    responses((status = OK, body = Addresses), (status = "default", body = Problem, content_type = "application/problem+json")))]
pub(super) async fn addresses(State(site): State<Site>, headers: HeaderMap) -> Answer {
    let actor = caller(&site, &headers).await?;
    let addresses = site
        .registry
        .addresses(&actor)
        .await
        .map_err(Refusal::problem)?;
    let items = addresses.into_iter().map(Into::into).collect();
    json(&site, &Addresses { items })
}

/// Add an address, or mail its link again; in a fresh session
#[utoipa::path(post, path = "/api/v1/me/addresses", tag = "account", security(("session" = [])), request_body = NewAddress,
    responses((status = ACCEPTED, description = "A link is mailed to it"), (status = "default", body = Problem, content_type = "application/problem+json")))]
pub(super) async fn add_address(
    State(site): State<Site>,
    headers: HeaderMap,
    content: Body,
) -> Answer {
    let actor = caller(&site, &headers).await?;
    let NewAddress { address } = body(content).await?;
    site.registry
        .add_address(&actor, &address)
        .await
        .map_err(Refusal::problem)?;
    Ok(StatusCode::ACCEPTED.into_response())
}

/// Make an address the main one; in a fresh session
#[utoipa::path(put, path = "/api/v1/me/addresses/{id}/main", tag = "account", security(("session" = [])), params(("id" = String, Path)),
    responses((status = NO_CONTENT, description = "Mail goes to it first"), (status = "default", body = Problem, content_type = "application/problem+json")))]
pub(super) async fn main_address(
    State(site): State<Site>,
    Path(id): Path<String>,
    Extension(origin): Extension<CallerOrigin>,
    headers: HeaderMap,
) -> Answer {
    let actor = caller(&site, &headers).await?;
    let outcome = site.registry.make_primary(&actor, &id, Some(&origin)).await;
    done(outcome)
}

/// Remove an address; in a fresh session
#[utoipa::path(delete, path = "/api/v1/me/addresses/{id}", tag = "account", security(("session" = [])), params(("id" = String, Path)),
    responses((status = NO_CONTENT, description = "Removed"), (status = "default", body = Problem, content_type = "application/problem+json")))]
pub(super) async fn remove_address(
    State(site): State<Site>,
    Path(id): Path<String>,
    Extension(origin): Extension<CallerOrigin>,
    headers: HeaderMap,
) -> Answer {
    let actor = caller(&site, &headers).await?;
    let outcome = site
        .registry
        .remove_address(&actor, &id, Some(&origin))
        .await;
    done(outcome)
}

/// What happened to the account
#[utoipa::path(get, path = "/api/v1/me/notices", tag = "account", security(("session" = [])),
    responses((status = OK, body = AccountNotices), (status = "default", body = Problem, content_type = "application/problem+json")))]
pub(super) async fn notices(State(site): State<Site>, headers: HeaderMap) -> Answer {
    let actor = caller(&site, &headers).await?;
    let notices = site
        .registry
        .account_notices(&actor)
        .await
        .map_err(Refusal::problem)?;
    let items = notices.into_iter().map(Into::into).collect();
    json(&site, &AccountNotices { items })
}

/// Put a notice aside
#[utoipa::path(put, path = "/api/v1/me/notices/{id}/seen", tag = "account", security(("session" = [])), params(("id" = String, Path)),
    responses((status = NO_CONTENT, description = "Seen"), (status = "default", body = Problem, content_type = "application/problem+json")))]
pub(super) async fn see_notice(
    State(site): State<Site>,
    Path(id): Path<String>,
    headers: HeaderMap,
) -> Answer {
    let actor = caller(&site, &headers).await?;
    done(site.registry.see_account_notice(&actor, &id).await)
}

/// All data that is kept of the account; in a fresh session
#[utoipa::path(get, path = "/api/v1/me/export", tag = "account", security(("session" = [])),
    responses((status = OK, content_type = "application/json", body = serde_json::Value),
        (status = "default", body = Problem, content_type = "application/problem+json")))]
pub(super) async fn export(State(site): State<Site>, headers: HeaderMap) -> Answer {
    let actor = caller(&site, &headers).await?;
    let export = site
        .registry
        .export_account(&actor)
        .await
        .map_err(Refusal::problem)?;
    Ok(kept_by_nobody(StatusCode::OK, json(&site, &export)?))
}

/// Erase the account, given its name once more; in a fresh session
#[utoipa::path(post, path = "/api/v1/me/erasure", tag = "account", security(("session" = [])), request_body = Erasure,
    responses((status = NO_CONTENT, description = "Erased"), (status = "default", body = Problem, content_type = "application/problem+json")))]
pub(super) async fn erase(State(site): State<Site>, headers: HeaderMap, content: Body) -> Answer {
    let actor = caller(&site, &headers).await?;
    let Erasure { name } = body(content).await?;
    done(site.registry.erase_account(&actor, &name).await)
}
