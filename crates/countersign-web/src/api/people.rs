//! Who may what on a project: roles, teams' roles, and what takes two persons or a waiting time.

use axum::Json;
use axum::body::Body;
use axum::extract::{Path, State};
use axum::response::{IntoResponse, Response};
use countersign_registry::model::{Actor, Role};
use countersign_registry::{Act, Error, Kind, Wanted, Wish};
use http::{HeaderMap, StatusCode};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::approvals::Request;
use super::view::{Problem, ProposalView, Proposals};
use super::{Answer, body, ecosystem, json, malformed, named, project_named};
use crate::error::Refusal;
use crate::request_log::Noted;
use crate::site::Site;

/// A role.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct NewRole {
    /// `owner`, `maintainer`, `publisher` or `security`; teams are never owners.
    role: String,
}

/// Somebody's role.
#[derive(Serialize, ToSchema)]
pub(super) struct RoleRow {
    user: String,
    role: String,
}

/// Who works on a project.
#[derive(Serialize, ToSchema)]
pub(super) struct Roles {
    items: Vec<RoleRow>,
}

/// What an owner asks for that takes more than one owner's word: one of the two.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct NewProposal {
    /// The user or organisation that is to get the project.
    transfer_to: Option<String>,
    /// The owner who is to be one no longer.
    remove_owner: Option<String>,
}

/// Done, with what the log line says of it.
pub(super) fn done(actor: &Actor, project: String) -> Response {
    let mut response = StatusCode::NO_CONTENT.into_response();
    response.extensions_mut().insert(Noted {
        actor: Some(actor.name().to_owned()),
        project: Some(project),
        ..Noted::default()
    });
    response
}

/// Who works on a project
#[utoipa::path(get, path = "/api/v1/projects/{ecosystem}/{name}/roles", tag = "people",
    params(("ecosystem" = String, Path), ("name" = String, Path)),
    responses((status = OK, body = Roles), (status = "default", body = Problem, content_type = "application/problem+json")))]
pub(super) async fn roles(
    State(site): State<Site>,
    Path((system, name)): Path<(String, String)>,
    headers: HeaderMap,
) -> Answer {
    site.viewer(&headers).await.map_err(Refusal::problem)?;
    let project = site
        .registry
        .project(ecosystem(&system)?, &name)
        .await
        .map_err(Refusal::problem)?;
    let items = project
        .people
        .into_iter()
        .map(|(user, role)| RoleRow {
            user,
            role: role.as_str().to_owned(),
        })
        .collect();
    json(&site, &Roles { items })
}

/// Give a user a role on a project
#[utoipa::path(put, path = "/api/v1/projects/{ecosystem}/{name}/roles/{user}", tag = "people", security(("token" = [])),
    request_body = NewRole, params(("ecosystem" = String, Path), ("name" = String, Path), ("user" = String, Path)),
    responses((status = NO_CONTENT, description = "Given"), (status = "default", body = Problem, content_type = "application/problem+json")))]
pub(super) async fn set_role(
    State(site): State<Site>,
    Path((system, name, user)): Path<(String, String, String)>,
    headers: HeaderMap,
    content: Body,
) -> Answer {
    site.actor(&headers).await.map_err(Refusal::problem)?;
    let NewRole { role } = body(content).await?;
    let role: Role = role.parse().map_err(malformed)?;
    let (system, project) = project_named(&system, &name)?;
    let wanted = Wanted {
        act: Act::ManageRoles,
        also: &[],
        on: Some((system, name.clone())),
        subject: format!("{project}: {} becomes {}", named(&user), role.as_str()),
    };
    let request = Request::of(&site, &headers, wanted).await?;
    let outcome = site
        .registry
        .set_role(&request.actor, system, &name, &user, Some(role))
        .await;
    request.told(outcome).await?;
    Ok(done(&request.actor, name))
}

/// Take a user's role on a project away; with one's own name, leave it
#[utoipa::path(delete, path = "/api/v1/projects/{ecosystem}/{name}/roles/{user}", tag = "people", security(("token" = [])),
    params(("ecosystem" = String, Path), ("name" = String, Path), ("user" = String, Path)),
    responses((status = NO_CONTENT, description = "Taken away"), (status = "default", body = Problem, content_type = "application/problem+json")))]
pub(super) async fn remove_role(
    State(site): State<Site>,
    Path((system, name, user)): Path<(String, String, String)>,
    headers: HeaderMap,
) -> Answer {
    let (system, project) = project_named(&system, &name)?;
    let wanted = Wanted {
        act: Act::ManageRoles,
        also: &[],
        on: Some((system, name.clone())),
        subject: format!("{project}: {} loses the role", named(&user)),
    };
    let request = Request::of(&site, &headers, wanted).await?;
    let outcome = site
        .registry
        .set_role(&request.actor, system, &name, &user, None)
        .await;
    request.told(outcome).await?;
    Ok(done(&request.actor, name))
}

/// Give a team of the owning organisation a role on a project
#[utoipa::path(put, path = "/api/v1/projects/{ecosystem}/{name}/teams/{team}", tag = "people", security(("token" = [])),
    request_body = NewRole, params(("ecosystem" = String, Path), ("name" = String, Path), ("team" = String, Path)),
    responses((status = NO_CONTENT, description = "Given"), (status = "default", body = Problem, content_type = "application/problem+json")))]
pub(super) async fn set_team_role(
    State(site): State<Site>,
    Path((system, name, team)): Path<(String, String, String)>,
    headers: HeaderMap,
    content: Body,
) -> Answer {
    site.actor(&headers).await.map_err(Refusal::problem)?;
    let NewRole { role } = body(content).await?;
    let role: Role = role.parse().map_err(malformed)?;
    team_role(&site, &headers, &system, name, &team, Some(role)).await
}

/// Take a team's role on a project away
#[utoipa::path(delete, path = "/api/v1/projects/{ecosystem}/{name}/teams/{team}", tag = "people", security(("token" = [])),
    params(("ecosystem" = String, Path), ("name" = String, Path), ("team" = String, Path)),
    responses((status = NO_CONTENT, description = "Taken away"), (status = "default", body = Problem, content_type = "application/problem+json")))]
pub(super) async fn remove_team_role(
    State(site): State<Site>,
    Path((system, name, team)): Path<(String, String, String)>,
    headers: HeaderMap,
) -> Answer {
    team_role(&site, &headers, &system, name, &team, None).await
}

async fn team_role(
    site: &Site,
    headers: &HeaderMap,
    system: &str,
    name: String,
    team: &str,
    role: Option<Role>,
) -> Answer {
    let (system, project) = project_named(system, &name)?;
    let change = role.map_or("loses the role".to_owned(), |role| {
        format!("becomes {}", role.as_str())
    });
    let wanted = Wanted {
        act: Act::ManageRoles,
        also: &[],
        on: Some((system, name.clone())),
        subject: format!("{project}: the team {} {change}", named(team)),
    };
    let request = Request::of(site, headers, wanted).await?;
    let outcome = site
        .registry
        .set_team_role(&request.actor, system, &name, team, role)
        .await;
    request.told(outcome).await?;
    Ok(done(&request.actor, name))
}

/// What waits for a second person or for its time
#[utoipa::path(get, path = "/api/v1/projects/{ecosystem}/{name}/proposals", tag = "people", security(("token" = [])),
    params(("ecosystem" = String, Path), ("name" = String, Path)),
    responses((status = OK, body = Proposals), (status = "default", body = Problem, content_type = "application/problem+json")))]
pub(super) async fn proposals(
    State(site): State<Site>,
    Path((system, name)): Path<(String, String)>,
    headers: HeaderMap,
) -> Answer {
    let actor = site.actor(&headers).await.map_err(Refusal::problem)?;
    let proposals = site
        .registry
        .proposals(&actor, ecosystem(&system)?, &name)
        .await
        .map_err(Refusal::problem)?;
    json(&site, &Proposals::from(proposals))
}

/// Ask for a transfer, or for the removal of an owner
#[utoipa::path(post, path = "/api/v1/projects/{ecosystem}/{name}/proposals", tag = "people", security(("token" = [])),
    request_body = NewProposal, params(("ecosystem" = String, Path), ("name" = String, Path)),
    responses((status = CREATED, body = ProposalView), (status = "default", body = Problem, content_type = "application/problem+json")))]
pub(super) async fn propose(
    State(site): State<Site>,
    Path((system, name)): Path<(String, String)>,
    headers: HeaderMap,
    content: Body,
) -> Answer {
    site.actor(&headers).await.map_err(Refusal::problem)?;
    let (system, project) = project_named(&system, &name)?;
    let (wish, subject) = match body(content).await? {
        NewProposal {
            transfer_to: Some(to),
            remove_owner: None,
        } => {
            let subject = format!("{project}: it goes to {}", named(&to));
            (Wish::TransferTo(to), subject)
        }
        NewProposal {
            transfer_to: None,
            remove_owner: Some(user),
        } => {
            let subject = format!("{project}: {} is to be an owner no longer", named(&user));
            (Wish::RemoveOwner(user), subject)
        }
        _ => {
            let error = Error::new(
                Kind::Rejected,
                "json-malformed",
                "Name one of transfer_to and remove_owner.",
            );
            return Err(Refusal::problem(error));
        }
    };
    let wanted = Wanted {
        act: Act::Propose,
        also: &[],
        on: Some((system, name.clone())),
        subject,
    };
    let request = Request::of(&site, &headers, wanted).await?;
    let outcome = site
        .registry
        .propose(&request.actor, system, &name, wish)
        .await;
    let proposal = request.told(outcome).await?;
    Ok((StatusCode::CREATED, Json(ProposalView::from(proposal))).into_response())
}

/// An open request in words, for whoever consents to it.
async fn told(site: &Site, headers: &HeaderMap, id: &str) -> Result<String, Refusal> {
    let actor = site.actor(headers).await.map_err(Refusal::problem)?;
    let proposal = site
        .registry
        .proposal(&actor, id)
        .await
        .map_err(Refusal::problem)?;
    let (about, target) = (named(&proposal.about), named(&proposal.target));
    let what = match proposal.kind {
        "transfer" => format!("{about} goes to {target}"),
        _ => format!("{target} is to be an owner of {about} no longer"),
    };
    Ok(format!(
        "{what}, as {} asked (request {})",
        named(&proposal.by),
        proposal.id
    ))
}

/// Confirm what another owner asked for, or take over what is transferred
#[utoipa::path(post, path = "/api/v1/proposals/{id}/confirm", tag = "people", security(("token" = [])),
    params(("id" = String, Path)),
    responses((status = NO_CONTENT, description = "Done"), (status = "default", body = Problem, content_type = "application/problem+json")))]
pub(super) async fn confirm(
    State(site): State<Site>,
    Path(id): Path<String>,
    headers: HeaderMap,
) -> Answer {
    let wanted = Wanted {
        act: Act::Confirm,
        also: &[Act::AnswerInvitation, Act::ManageManagers],
        on: None,
        subject: told(&site, &headers, &id).await?,
    };
    let request = Request::of(&site, &headers, wanted).await?;
    let outcome = site.registry.confirm_proposal(&request.actor, &id).await;
    request.told(outcome).await?;
    Ok(StatusCode::NO_CONTENT.into_response())
}

/// Stop what somebody asked for
#[utoipa::path(delete, path = "/api/v1/proposals/{id}", tag = "people", security(("token" = [])),
    params(("id" = String, Path)),
    responses((status = NO_CONTENT, description = "Stopped"), (status = "default", body = Problem, content_type = "application/problem+json")))]
pub(super) async fn cancel(
    State(site): State<Site>,
    Path(id): Path<String>,
    headers: HeaderMap,
) -> Answer {
    let wanted = Wanted {
        act: Act::ManageManagers,
        also: &[],
        on: None,
        subject: format!("stop this: {}", told(&site, &headers, &id).await?),
    };
    let request = Request::of(&site, &headers, wanted).await?;
    let outcome = site.registry.cancel_proposal(&request.actor, &id).await;
    request.told(outcome).await?;
    Ok(StatusCode::NO_CONTENT.into_response())
}
