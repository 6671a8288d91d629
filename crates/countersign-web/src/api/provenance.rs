//! What a project is remembered for, what its owners say beforehand, and whose Sigstore this registry believes.

use axum::Json;
use axum::body::Body;
use axum::extract::{Path, State};
use axum::response::IntoResponse;
use countersign_registry::model::{
    ProvenanceChange, SourceTuple, TrustLevel, TrustRootSummary, TrustedIdentity,
};
use countersign_registry::{Act, NewException, NewIdentity, NewMove, Wanted};
use http::{HeaderMap, StatusCode};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::approvals::Request;
use super::attestations::SourceView;
use super::people::done;
use super::view::Problem;
use super::{Answer, body, ecosystem, json, malformed, named, project_named};
use crate::error::Refusal;
use crate::site::Site;

/// What a project is remembered for.
#[derive(Serialize, ToSchema)]
pub(super) struct Remembered {
    /// The highest level that its publications reached: `none`, `token`, `workflow` or `provenance`.
    level: &'static str,
    /// Where they come from, once that is known.
    source: Option<SourceView>,
    source_since: Option<String>,
    /// Departures from it, newest first.
    changes: Vec<ChangeView>,
    /// Identities whose attestations are taken with API tokens.
    identities: Vec<IdentityView>,
}

/// A departure from what a project is remembered for.
#[derive(Serialize, ToSchema)]
pub(super) struct ChangeView {
    id: String,
    /// `exception`, `move`, `rename` or `loss`.
    kind: &'static str,
    /// For an exception and a loss: down to which level.
    level: Option<&'static str>,
    from: Option<SourceView>,
    to: Option<SourceView>,
    /// In its opener's words.
    reason: String,
    /// A user name, `operator` or `registry`.
    by: String,
    opened: String,
    /// From when it holds.
    starts: String,
    ends: String,
    /// The second owner, where one was needed.
    confirmed_by: Option<String>,
    closed: Option<String>,
    /// How many publications used it.
    uses: u64,
    used: Option<String>,
    /// `waiting`, `open`, `over` or `closed`.
    state: &'static str,
}

impl From<ProvenanceChange> for ChangeView {
    fn from(change: ProvenanceChange) -> Self {
        Self {
            id: change.id,
            kind: change.kind.as_str(),
            level: change.level.map(TrustLevel::as_str),
            from: change.from.map(Into::into),
            to: change.to.map(Into::into),
            reason: change.reason,
            by: change.by,
            opened: change.opened.rfc3339(),
            starts: change.starts.rfc3339(),
            ends: change.ends.rfc3339(),
            confirmed_by: change.confirmed_by,
            closed: change.closed.map(|at| at.rfc3339()),
            uses: change.uses,
            used: change.used.map(|at| at.rfc3339()),
            state: change.state,
        }
    }
}

/// An identity whose attestations are taken with API tokens.
#[derive(Serialize, ToSchema)]
pub(super) struct IdentityView {
    id: String,
    issuer: String,
    repository: String,
    /// The build file that certificates must name, where one is demanded.
    workflow: Option<String>,
    created: String,
    by: String,
}

impl From<TrustedIdentity> for IdentityView {
    fn from(identity: TrustedIdentity) -> Self {
        Self {
            id: identity.id,
            issuer: identity.issuer,
            repository: identity.repository,
            workflow: identity.workflow,
            created: identity.created.rfc3339(),
            by: identity.by,
        }
    }
}

/// What a project is remembered for, and every departure from it
#[utoipa::path(get, path = "/api/v1/projects/{ecosystem}/{name}/provenance", tag = "provenance",
    params(("ecosystem" = String, Path), ("name" = String, Path)),
    responses((status = OK, body = Remembered), (status = "default", body = Problem, content_type = "application/problem+json")))]
pub(super) async fn remembered(
    State(site): State<Site>,
    Path((system, name)): Path<(String, String)>,
) -> Answer {
    let known = site
        .registry
        .project_provenance(ecosystem(&system)?, &name)
        .await
        .map_err(Refusal::problem)?;
    json(
        &site,
        &Remembered {
            level: known.level.as_str(),
            source: known.source.map(Into::into),
            source_since: known.source_since.map(|at| at.rfc3339()),
            changes: known.changes.into_iter().map(Into::into).collect(),
            identities: known.identities.into_iter().map(Into::into).collect(),
        },
    )
}

/// An exception.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct ExceptionBody {
    /// The level down to which files are taken: `none`, `token` or `workflow`.
    level: String,
    /// For how long: 1 to 168.
    hours: u32,
    /// Shown to everybody.
    reason: String,
}

/// Open a time in which a project takes files of a lower level; in a session, with a passkey
#[utoipa::path(post, path = "/api/v1/projects/{ecosystem}/{name}/provenance/exceptions", tag = "provenance", security(("session" = [])),
    request_body = ExceptionBody, params(("ecosystem" = String, Path), ("name" = String, Path)),
    responses((status = CREATED, body = ChangeView), (status = "default", body = Problem, content_type = "application/problem+json")))]
pub(super) async fn open_exception(
    State(site): State<Site>,
    Path((system, name)): Path<(String, String)>,
    headers: HeaderMap,
    content: Body,
) -> Answer {
    let actor = site.actor(&headers).await.map_err(Refusal::problem)?;
    let ExceptionBody {
        level,
        hours,
        reason,
    } = body(content).await?;
    let level = level.parse().map_err(malformed)?;
    let new = NewException {
        level,
        hours,
        reason,
    };
    let opened = site
        .registry
        .open_exception(&actor, ecosystem(&system)?, &name, new)
        .await
        .map_err(Refusal::problem)?;
    Ok((StatusCode::CREATED, Json(ChangeView::from(opened))).into_response())
}

/// A move.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct MoveBody {
    /// Who vouches for the workflows of the new source.
    issuer: String,
    /// Its URL.
    repository: String,
    /// Its immutable id, where the issuer tells it.
    repository_id: Option<String>,
    /// The immutable id of its owner, where the issuer tells it.
    owner_id: Option<String>,
    /// Within how many hours the first publication from there may come: 1 to 720.
    hours: u32,
    /// Shown to everybody.
    reason: String,
}

/// Declare that a project's files will come from another source; in a session, with a passkey
#[utoipa::path(post, path = "/api/v1/projects/{ecosystem}/{name}/provenance/moves", tag = "provenance", security(("session" = [])),
    request_body = MoveBody, params(("ecosystem" = String, Path), ("name" = String, Path)),
    responses((status = CREATED, body = ChangeView), (status = "default", body = Problem, content_type = "application/problem+json")))]
pub(super) async fn declare_move(
    State(site): State<Site>,
    Path((system, name)): Path<(String, String)>,
    headers: HeaderMap,
    content: Body,
) -> Answer {
    let actor = site.actor(&headers).await.map_err(Refusal::problem)?;
    let wish: MoveBody = body(content).await?;
    let new = NewMove {
        to: SourceTuple {
            issuer: wish.issuer,
            repository: wish.repository,
            repository_id: wish.repository_id,
            owner_id: wish.owner_id,
        },
        hours: wish.hours,
        reason: wish.reason,
    };
    let declared = site
        .registry
        .declare_move(&actor, ecosystem(&system)?, &name, new)
        .await
        .map_err(Refusal::problem)?;
    Ok((StatusCode::CREATED, Json(ChangeView::from(declared))).into_response())
}

/// Confirm, as another owner of a critical project, an exception or a move that waits
#[utoipa::path(post, path = "/api/v1/provenance-changes/{id}/confirm", tag = "provenance", security(("session" = [])),
    params(("id" = String, Path)),
    responses((status = OK, body = ChangeView), (status = "default", body = Problem, content_type = "application/problem+json")))]
pub(super) async fn confirm(
    State(site): State<Site>,
    Path(id): Path<String>,
    headers: HeaderMap,
) -> Answer {
    let actor = site.actor(&headers).await.map_err(Refusal::problem)?;
    let change = site
        .registry
        .confirm_change(&actor, &id)
        .await
        .map_err(Refusal::problem)?;
    json(&site, &ChangeView::from(change))
}

/// Close an exception or a move before its end
#[utoipa::path(delete, path = "/api/v1/provenance-changes/{id}", tag = "provenance", security(("token" = [])),
    params(("id" = String, Path)),
    responses((status = NO_CONTENT, description = "Closed"), (status = "default", body = Problem, content_type = "application/problem+json")))]
pub(super) async fn close(
    State(site): State<Site>,
    Path(id): Path<String>,
    headers: HeaderMap,
) -> Answer {
    let actor = site.actor(&headers).await.map_err(Refusal::problem)?;
    site.registry
        .close_change(&actor, &id)
        .await
        .map_err(Refusal::problem)?;
    Ok(StatusCode::NO_CONTENT.into_response())
}

/// An identity to be trusted.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct IdentityBody {
    /// The issuer that the certificate must name.
    issuer: String,
    /// The repository's URL that it must name.
    repository: String,
    /// The path of the build file that it must name; left out: any of the repository.
    workflow: Option<String>,
}

/// Name an identity whose attestations are taken with API tokens
#[utoipa::path(post, path = "/api/v1/projects/{ecosystem}/{name}/provenance/identities", tag = "provenance", security(("token" = [])),
    request_body = IdentityBody, params(("ecosystem" = String, Path), ("name" = String, Path)),
    responses((status = CREATED, body = IdentityView), (status = "default", body = Problem, content_type = "application/problem+json")))]
pub(super) async fn trust_identity(
    State(site): State<Site>,
    Path((system, name)): Path<(String, String)>,
    headers: HeaderMap,
    content: Body,
) -> Answer {
    site.actor(&headers).await.map_err(Refusal::problem)?;
    let IdentityBody {
        issuer,
        repository,
        workflow,
    } = body(content).await?;
    let (system, project) = project_named(&system, &name)?;
    let whose = workflow
        .as_deref()
        .map_or("any build file".to_owned(), |path| {
            format!("build file {}", named(path))
        });
    let wanted = Wanted {
        act: Act::ManagePolicy,
        also: &[],
        on: Some((system, name.clone())),
        subject: format!(
            "{project}: attestations of {} by {}, {whose}, are taken with API tokens",
            named(&repository),
            named(&issuer)
        ),
    };
    let new = NewIdentity {
        issuer,
        repository,
        workflow,
    };
    let request = Request::of(&site, &headers, wanted).await?;
    let outcome = site
        .registry
        .trust_identity(&request.actor, system, &name, new)
        .await;
    let identity = request.told(outcome).await?;
    Ok((StatusCode::CREATED, Json(IdentityView::from(identity))).into_response())
}

/// Trust an identity no longer
#[utoipa::path(delete, path = "/api/v1/projects/{ecosystem}/{name}/provenance/identities/{id}", tag = "provenance", security(("token" = [])),
    params(("ecosystem" = String, Path), ("name" = String, Path), ("id" = String, Path)),
    responses((status = NO_CONTENT, description = "No longer"), (status = "default", body = Problem, content_type = "application/problem+json")))]
pub(super) async fn distrust_identity(
    State(site): State<Site>,
    Path((system, name, id)): Path<(String, String, String)>,
    headers: HeaderMap,
) -> Answer {
    let (system, project) = project_named(&system, &name)?;
    let wanted = Wanted {
        act: Act::ManagePolicy,
        also: &[],
        on: Some((system, name.clone())),
        subject: format!(
            "{project}: attestations of the identity {} are no longer taken with API tokens",
            named(&id)
        ),
    };
    let request = Request::of(&site, &headers, wanted).await?;
    let outcome = site
        .registry
        .distrust_identity(&request.actor, system, &name, &id)
        .await;
    request.told(outcome).await?;
    Ok(done(&request.actor, name))
}

/// Trust roots.
#[derive(Serialize, ToSchema)]
pub(super) struct TrustRoots {
    items: Vec<TrustRootView>,
}

/// A trust root: whose Sigstore is believed.
#[derive(Serialize, ToSchema)]
pub(super) struct TrustRootView {
    name: String,
    /// `public-good`, `github` or `private`.
    kind: String,
    /// SHA-256 of the document in use, hex.
    digest: String,
    /// Where it is refreshed from by TUF; null: its operator replaces it.
    tuf_url: Option<String>,
    /// When it was added; null: built in.
    added: Option<String>,
    refreshed: Option<String>,
    /// Why the last refresh failed.
    problem: Option<String>,
    /// How many attestations were held against the document in use.
    attestations: u64,
}

impl From<TrustRootSummary> for TrustRootView {
    fn from(root: TrustRootSummary) -> Self {
        Self {
            name: root.name,
            kind: root.kind,
            digest: root.digest,
            tuf_url: root.tuf_url,
            added: root.added.map(|at| at.rfc3339()),
            refreshed: root.refreshed.map(|at| at.rfc3339()),
            problem: root.problem,
            attestations: root.attestations,
        }
    }
}

/// Whose Sigstore this registry believes
#[utoipa::path(get, path = "/api/v1/trust-roots", tag = "provenance",
    responses((status = OK, body = TrustRoots), (status = "default", body = Problem, content_type = "application/problem+json")))]
pub(super) async fn trust_roots(State(site): State<Site>) -> Answer {
    let roots = site
        .registry
        .trust_roots()
        .await
        .map_err(Refusal::problem)?;
    let items = roots.into_iter().map(Into::into).collect();
    json(&site, &TrustRoots { items })
}
