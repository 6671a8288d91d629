//! What is published.

use axum::extract::rejection::QueryRejection;
use axum::extract::{Path, Query, State};
use countersign_registry::{Error, Kind};
use serde::Deserialize;
use utoipa::IntoParams;

use super::log::Window;
use super::view::{Events, File, Problem, Project, ProjectPage, ReleaseWithFiles};
use super::{Answer, ecosystem, json, query_refused};
use crate::error::{Refusal, shown};
use crate::site::Site;

/// Most rows of one page.
const MOST_ROWS: u64 = 100;

#[derive(Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub(super) struct Search {
    /// Words of the name or the summary; empty: everything.
    #[serde(default)]
    q: String,
    /// Number of the first row, from 0.
    #[serde(default)]
    offset: u64,
    /// Rows, at most 100.
    #[serde(default = "twenty")]
    limit: u64,
}

fn twenty() -> u64 {
    20
}

/// Search projects
#[utoipa::path(get, path = "/api/v1/projects", tag = "projects", params(Search),
    responses((status = OK, body = ProjectPage), (status = "default", body = Problem, content_type = "application/problem+json")))]
pub(super) async fn search(
    State(site): State<Site>,
    search: Result<Query<Search>, QueryRejection>,
) -> Answer {
    let Query(search) = search.map_err(|rejection| query_refused(&rejection))?;
    if search.q.chars().any(char::is_control) {
        let message = format!(
            "The search text {} holds control characters.",
            shown(&search.q)
        );
        let error = Error::new(Kind::Rejected, "query-malformed", message);
        return Err(Refusal::problem(
            error.remedy("Search for words of a name or a summary."),
        ));
    }
    let limit = search.limit.clamp(1, MOST_ROWS);
    let page = site
        .registry
        .search(&search.q, search.offset, limit)
        .await
        .map_err(Refusal::problem)?;
    let items = page.items.into_iter().map(Into::into).collect();
    json(
        &site,
        &ProjectPage {
            items,
            total: page.total,
            offset: page.offset,
            limit: page.limit,
        },
    )
}

/// One project
#[utoipa::path(get, path = "/api/v1/projects/{ecosystem}/{name}", tag = "projects",
    params(("ecosystem" = String, Path, description = "pypi"), ("name" = String, Path, description = "Any spelling")),
    responses((status = OK, body = Project), (status = "default", body = Problem, content_type = "application/problem+json")))]
pub(super) async fn project(
    State(site): State<Site>,
    Path((system, name)): Path<(String, String)>,
) -> Answer {
    let project = site
        .registry
        .project(ecosystem(&system)?, &name)
        .await
        .map_err(Refusal::problem)?;
    json(&site, &Project::from(project))
}

/// One release with its files
#[utoipa::path(get, path = "/api/v1/projects/{ecosystem}/{name}/releases/{version}", tag = "projects",
    params(("ecosystem" = String, Path), ("name" = String, Path), ("version" = String, Path, description = "Any spelling")),
    responses((status = OK, body = ReleaseWithFiles), (status = "default", body = Problem, content_type = "application/problem+json")))]
pub(super) async fn release(
    State(site): State<Site>,
    Path((system, name, version)): Path<(String, String, String)>,
) -> Answer {
    let release = site
        .registry
        .release(ecosystem(&system)?, &name, &version)
        .await
        .map_err(Refusal::problem)?;
    json(&site, &ReleaseWithFiles::new(release, site.url()))
}

/// One file of a release
#[utoipa::path(get, path = "/api/v1/projects/{ecosystem}/{name}/releases/{version}/files/{filename}", tag = "projects",
    params(("ecosystem" = String, Path), ("name" = String, Path), ("version" = String, Path), ("filename" = String, Path)),
    responses((status = OK, body = File), (status = "default", body = Problem, content_type = "application/problem+json")))]
pub(super) async fn file(
    State(site): State<Site>,
    Path((system, name, version, filename)): Path<(String, String, String, String)>,
) -> Answer {
    let release = site
        .registry
        .release(ecosystem(&system)?, &name, &version)
        .await
        .map_err(Refusal::problem)?;
    let Some(file) = release
        .files
        .into_iter()
        .find(|file| file.filename == filename)
    else {
        return Err(Refusal::problem(no_such_file(&name, &version, &filename)));
    };
    json(&site, &File::new(file, site.url()))
}

/// The release does not hold the file.
pub(super) fn no_such_file(name: &str, version: &str, filename: &str) -> Error {
    let message = format!(
        "Release {} of {} has no file {}.",
        shown(version),
        shown(name),
        shown(filename)
    );
    Error::new(Kind::NotFound, "file-unknown", message)
}

/// What happened to one project, newest first
#[utoipa::path(get, path = "/api/v1/projects/{ecosystem}/{name}/events", tag = "log",
    params(("ecosystem" = String, Path), ("name" = String, Path), Window),
    responses((status = OK, body = Events), (status = "default", body = Problem, content_type = "application/problem+json")))]
pub(super) async fn events(
    State(site): State<Site>,
    Path((system, name)): Path<(String, String)>,
    window: Result<Query<Window>, QueryRejection>,
) -> Answer {
    let Query(window) = window.map_err(|rejection| query_refused(&rejection))?;
    let project = (ecosystem(&system)?, name.as_str());
    let events = site
        .registry
        .events(Some(project), window.before, window.limit())
        .await
        .map_err(Refusal::problem)?;
    json(&site, &Events::new(events, window.limit()))
}
