//! Curation: yanking, deleting, status.

use axum::body::Body;
use axum::extract::{Path, State};
use countersign_registry::model::ProjectStatus;
use countersign_registry::{Act, Deletion, Error, Kind, Wanted};
use http::HeaderMap;
use serde::Deserialize;
use utoipa::{IntoParams, ToSchema};

use super::approvals::Request;
use super::people::done;
use super::read::no_such_file;
use super::view::Problem;
use super::{Answer, body, ecosystem, malformed, named, project_named};
use crate::error::Refusal;
use crate::site::Site;

/// Why.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Reason {
    /// Shown to everybody; may be empty.
    #[serde(default)]
    reason: String,
}

/// A new status.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct NewStatus {
    /// `active`, `archived`, `quarantined` or `deprecated`.
    status: String,
    /// Shown to everybody.
    reason: Option<String>,
}

/// Who sees a project.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct NewVisibility {
    /// `public` or `private`.
    visibility: String,
}

/// Yank a release: installers skip it unless it is asked for exactly
#[utoipa::path(post, path = "/api/v1/projects/{ecosystem}/{name}/releases/{version}/yank", tag = "curation",
    security(("token" = [])), request_body = Reason,
    params(("ecosystem" = String, Path), ("name" = String, Path), ("version" = String, Path)),
    responses((status = NO_CONTENT, description = "Yanked"), (status = "default", body = Problem, content_type = "application/problem+json")))]
pub(super) async fn yank(
    State(site): State<Site>,
    Path((system, name, version)): Path<(String, String, String)>,
    headers: HeaderMap,
    content: Body,
) -> Answer {
    let actor = site.actor(&headers).await.map_err(Refusal::problem)?;
    let Reason { reason } = body(content).await?;
    let system = ecosystem(&system)?;
    site.registry
        .yank(&actor, system, &name, &version, &reason)
        .await
        .map_err(Refusal::problem)?;
    Ok(done(&actor, name))
}

/// Take a yank back
#[utoipa::path(delete, path = "/api/v1/projects/{ecosystem}/{name}/releases/{version}/yank", tag = "curation",
    security(("token" = [])),
    params(("ecosystem" = String, Path), ("name" = String, Path), ("version" = String, Path)),
    responses((status = NO_CONTENT, description = "No longer yanked"), (status = "default", body = Problem, content_type = "application/problem+json")))]
pub(super) async fn unyank(
    State(site): State<Site>,
    Path((system, name, version)): Path<(String, String, String)>,
    headers: HeaderMap,
) -> Answer {
    let actor = site.actor(&headers).await.map_err(Refusal::problem)?;
    site.registry
        .unyank(&actor, ecosystem(&system)?, &name, &version)
        .await
        .map_err(Refusal::problem)?;
    Ok(done(&actor, name))
}

/// What to ask about.
#[derive(Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub(super) struct DeletionQuery {
    /// A release; else the project.
    version: Option<String>,
    /// A file.
    file: Option<String>,
}

/// What would be deleted.
#[derive(serde::Serialize, ToSchema)]
pub(super) struct DeletionOutlook {
    /// Names of the files.
    files: Vec<String>,
    /// The rules that hold here, in sentences.
    policy: Vec<String>,
}

/// Whether something may be deleted now; nothing is deleted
#[utoipa::path(get, path = "/api/v1/projects/{ecosystem}/{name}/deletion", tag = "curation", security(("token" = [])),
    params(("ecosystem" = String, Path), ("name" = String, Path), DeletionQuery),
    responses((status = OK, body = DeletionOutlook), (status = "default", body = Problem, content_type = "application/problem+json")))]
pub(super) async fn deletion(
    State(site): State<Site>,
    Path((system, name)): Path<(String, String)>,
    query: Result<axum::extract::Query<DeletionQuery>, axum::extract::rejection::QueryRejection>,
    headers: HeaderMap,
) -> Answer {
    let axum::extract::Query(query) = query.map_err(|error| super::query_refused(&error))?;
    let actor = site.actor(&headers).await.map_err(Refusal::problem)?;
    let what = match (&query.file, &query.version) {
        (Some(file), _) => Deletion::File(file),
        (None, Some(version)) => Deletion::Release(version),
        (None, None) => Deletion::Project,
    };
    let files = site
        .registry
        .may_delete(&actor, ecosystem(&system)?, &name, what)
        .await
        .map_err(Refusal::problem)?;
    let policy = site.registry.deletion_policy();
    super::json(&site, &DeletionOutlook { files, policy })
}

/// Delete a project; its name and file names are never used again by others
#[utoipa::path(delete, path = "/api/v1/projects/{ecosystem}/{name}", tag = "curation", security(("token" = [])),
    params(("ecosystem" = String, Path), ("name" = String, Path)),
    responses((status = NO_CONTENT, description = "Deleted"), (status = "default", body = Problem, content_type = "application/problem+json")))]
pub(super) async fn delete_project(
    State(site): State<Site>,
    Path((system, name)): Path<(String, String)>,
    headers: HeaderMap,
) -> Answer {
    delete(&site, &headers, &system, name, Deletion::Project).await
}

/// Delete a release
#[utoipa::path(delete, path = "/api/v1/projects/{ecosystem}/{name}/releases/{version}", tag = "curation",
    security(("token" = [])),
    params(("ecosystem" = String, Path), ("name" = String, Path), ("version" = String, Path)),
    responses((status = NO_CONTENT, description = "Deleted"), (status = "default", body = Problem, content_type = "application/problem+json")))]
pub(super) async fn delete_release(
    State(site): State<Site>,
    Path((system, name, version)): Path<(String, String, String)>,
    headers: HeaderMap,
) -> Answer {
    delete(&site, &headers, &system, name, Deletion::Release(&version)).await
}

/// Delete a file
#[utoipa::path(delete, path = "/api/v1/projects/{ecosystem}/{name}/releases/{version}/files/{filename}", tag = "curation",
    security(("token" = [])),
    params(("ecosystem" = String, Path), ("name" = String, Path), ("version" = String, Path), ("filename" = String, Path)),
    responses((status = NO_CONTENT, description = "Deleted"), (status = "default", body = Problem, content_type = "application/problem+json")))]
pub(super) async fn delete_file(
    State(site): State<Site>,
    Path((system, name, version, filename)): Path<(String, String, String, String)>,
    headers: HeaderMap,
) -> Answer {
    // The core finds a file by its name alone; an address that names another release is a mistake worth stopping.
    site.actor(&headers).await.map_err(Refusal::problem)?;
    let release = site
        .registry
        .release(ecosystem(&system)?, &name, &version)
        .await
        .map_err(Refusal::problem)?;
    if !release.files.iter().any(|file| file.filename == filename) {
        return Err(Refusal::problem(no_such_file(&name, &version, &filename)));
    }
    delete(&site, &headers, &system, name, Deletion::File(&filename)).await
}

async fn delete(
    site: &Site,
    headers: &HeaderMap,
    system: &str,
    name: String,
    what: Deletion<'_>,
) -> Answer {
    let (system, project) = project_named(system, &name)?;
    let (act, subject) = match what {
        Deletion::Project => (Act::DeleteProject, project),
        Deletion::Release(version) => (
            Act::Delete,
            format!("{project}: the release {}", named(version)),
        ),
        Deletion::File(file) => (Act::Delete, format!("{project}: the file {}", named(file))),
    };
    let wanted = Wanted {
        act,
        also: &[],
        on: Some((system, name.clone())),
        subject,
    };
    let request = Request::of(site, headers, wanted).await?;
    let outcome = site
        .registry
        .delete(&request.actor, system, &name, what)
        .await;
    request.told(outcome).await?;
    Ok(done(&request.actor, name))
}

/// Change a project's status
#[utoipa::path(put, path = "/api/v1/projects/{ecosystem}/{name}/status", tag = "curation", security(("token" = [])),
    request_body = NewStatus, params(("ecosystem" = String, Path), ("name" = String, Path)),
    responses((status = NO_CONTENT, description = "Changed"), (status = "default", body = Problem, content_type = "application/problem+json")))]
pub(super) async fn set_status(
    State(site): State<Site>,
    Path((system, name)): Path<(String, String)>,
    headers: HeaderMap,
    content: Body,
) -> Answer {
    site.actor(&headers).await.map_err(Refusal::problem)?;
    let NewStatus { status, reason } = body(content).await?;
    let status: ProjectStatus = status.parse().map_err(malformed)?;
    let (system, project) = project_named(&system, &name)?;
    let why = named(reason.as_deref().unwrap_or_default());
    let wanted = Wanted {
        act: Act::SetStatus,
        also: &[],
        on: Some((system, name.clone())),
        subject: format!("{project}: it becomes {}, because {why}", status.as_str()),
    };
    let request = Request::of(&site, &headers, wanted).await?;
    let outcome = site
        .registry
        .set_status(&request.actor, system, &name, status, reason.as_deref())
        .await;
    request.told(outcome).await?;
    Ok(done(&request.actor, name))
}

/// Make a project private, so that only those with a role on it see it, or public again. Its name, versions and digests stand in the public log for ever
#[utoipa::path(put, path = "/api/v1/projects/{ecosystem}/{name}/visibility", tag = "curation", security(("token" = [])),
    request_body = NewVisibility, params(("ecosystem" = String, Path), ("name" = String, Path)),
    responses((status = NO_CONTENT, description = "Changed"), (status = "default", body = Problem, content_type = "application/problem+json")))]
pub(super) async fn set_visibility(
    State(site): State<Site>,
    Path((system, name)): Path<(String, String)>,
    headers: HeaderMap,
    content: Body,
) -> Answer {
    site.actor(&headers).await.map_err(Refusal::problem)?;
    let NewVisibility { visibility } = body(content).await?;
    let private = is_private(&visibility).map_err(Refusal::problem)?;
    let (system, project) = project_named(&system, &name)?;
    let wanted = Wanted {
        act: Act::SetVisibility,
        also: &[],
        on: Some((system, name.clone())),
        subject: format!("{project}: it becomes {visibility}"),
    };
    let request = Request::of(&site, &headers, wanted).await?;
    let outcome = site
        .registry
        .set_private(&request.actor, system, &name, private)
        .await;
    request.told(outcome).await?;
    Ok(done(&request.actor, name))
}

/// What a word says of who sees a project.
pub(crate) fn is_private(word: &str) -> Result<bool, Error> {
    match word {
        "private" => Ok(true),
        "public" => Ok(false),
        _ => Err(Error::new(
            Kind::Rejected,
            "visibility-malformed",
            format!("{} is neither public nor private.", named(word)),
        )
        .remedy("Say public or private.")),
    }
}
