//! Organisations: members, teams, namespaces, invitations.

use axum::Json;
use axum::body::Body;
use axum::extract::{Path, State};
use axum::response::IntoResponse;
use countersign_registry::model::{Membership, Role};
use countersign_registry::{Act, Wanted};
use countersign_trust::digest::Sha256;
use http::{HeaderMap, StatusCode};
use serde::Deserialize;
use utoipa::ToSchema;

use super::approvals::Request;
use super::view::{
    InvitationView, Invitations, OrganisationRow, OrganisationView, Organisations, Problem,
    ProjectNames, ProposalView, Proposals,
};
use super::{Answer, body, ecosystem, json, malformed, named};
use crate::error::Refusal;
use crate::site::Site;

/// An organisation to be.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct NewOrganisation {
    /// Its name, in the one name space of users and organisations.
    name: String,
    /// Its name for people; its name where it is left out.
    display_name: Option<String>,
}

/// Whom to invite.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct NewInvitation {
    user: String,
    /// `owner`, `manager` or `member` (the default).
    #[serde(default = "member")]
    standing: String,
}

fn member() -> String {
    Membership::Member.as_str().to_owned()
}

/// An invitation.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct TakenInvitation {
    /// Its id, or the secret of the mailed link.
    invitation: String,
}

/// Somebody's standing.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct NewStanding {
    /// `owner`, `manager` or `member`.
    standing: String,
}

/// An owner who is to be one no longer.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct OwnerRemoval {
    remove_owner: String,
}

/// A role of a team.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct NewTeamRole {
    /// `maintainer`, `publisher` or `security`; teams are never owners.
    role: String,
}

fn done() -> Answer {
    Ok(StatusCode::NO_CONTENT.into_response())
}

fn wanted(act: Act, also: &'static [Act], organisation: &str, what: &str) -> Wanted {
    Wanted {
        act,
        also,
        on: None,
        subject: format!("organisation {}: {what}", named(organisation)),
    }
}

/// The caller's organisations
#[utoipa::path(get, path = "/api/v1/organisations", tag = "organisations", security(("token" = [])),
    responses((status = OK, body = Organisations), (status = "default", body = Problem, content_type = "application/problem+json")))]
pub(super) async fn list(State(site): State<Site>, headers: HeaderMap) -> Answer {
    let actor = site.actor(&headers).await.map_err(Refusal::problem)?;
    let organisations = site
        .registry
        .organisations(&actor)
        .await
        .map_err(Refusal::problem)?;
    let items = organisations.into_iter().map(Into::into).collect();
    json(&site, &Organisations { items })
}

/// Make an organisation; its name is taken for ever
#[utoipa::path(post, path = "/api/v1/organisations", tag = "organisations", security(("token" = [])),
    request_body = NewOrganisation,
    responses((status = CREATED, body = OrganisationRow), (status = "default", body = Problem, content_type = "application/problem+json")))]
pub(super) async fn create(State(site): State<Site>, headers: HeaderMap, content: Body) -> Answer {
    site.actor(&headers).await.map_err(Refusal::problem)?;
    let NewOrganisation { name, display_name } = body(content).await?;
    let display = display_name.as_deref().unwrap_or(&name);
    let what = format!("made, shown as {}", named(display));
    let request = Request::of(
        &site,
        &headers,
        wanted(Act::CreateOrganisation, &[], &name, &what),
    )
    .await?;
    let outcome = site
        .registry
        .create_organisation(&request.actor, &name, display, None)
        .await;
    let made = request.told(outcome).await?;
    Ok((StatusCode::CREATED, Json(OrganisationRow::from(made))).into_response())
}

/// An organisation, as its members see it
#[utoipa::path(get, path = "/api/v1/organisations/{organisation}", tag = "organisations", security(("token" = [])),
    params(("organisation" = String, Path)),
    responses((status = OK, body = OrganisationView), (status = "default", body = Problem, content_type = "application/problem+json")))]
pub(super) async fn show(
    State(site): State<Site>,
    Path(name): Path<String>,
    headers: HeaderMap,
) -> Answer {
    let actor = site.actor(&headers).await.map_err(Refusal::problem)?;
    let detail = site
        .registry
        .organisation(&actor, &name)
        .await
        .map_err(Refusal::problem)?;
    json(&site, &OrganisationView::from(detail))
}

/// End an organisation that owns nothing any more
#[utoipa::path(delete, path = "/api/v1/organisations/{organisation}", tag = "organisations", security(("token" = [])),
    params(("organisation" = String, Path)),
    responses((status = NO_CONTENT, description = "Ended"), (status = "default", body = Problem, content_type = "application/problem+json")))]
pub(super) async fn remove(
    State(site): State<Site>,
    Path(name): Path<String>,
    headers: HeaderMap,
) -> Answer {
    let wanted = wanted(Act::RemoveOrganisation, &[], &name, "it ends");
    let request = Request::of(&site, &headers, wanted).await?;
    let outcome = site
        .registry
        .remove_organisation(&request.actor, &name)
        .await;
    request.told(outcome).await?;
    done()
}

/// Invite somebody
#[utoipa::path(post, path = "/api/v1/organisations/{organisation}/invitations", tag = "organisations", security(("token" = [])),
    request_body = NewInvitation, params(("organisation" = String, Path)),
    responses((status = CREATED, body = InvitationView), (status = "default", body = Problem, content_type = "application/problem+json")))]
pub(super) async fn invite(
    State(site): State<Site>,
    Path(name): Path<String>,
    headers: HeaderMap,
    content: Body,
) -> Answer {
    site.actor(&headers).await.map_err(Refusal::problem)?;
    let NewInvitation { user, standing } = body(content).await?;
    let standing: Membership = standing.parse().map_err(malformed)?;
    let what = format!("{} is invited as {}", named(&user), standing.as_str());
    let wanted = wanted(Act::ManageMembers, &[Act::ManageManagers], &name, &what);
    let request = Request::of(&site, &headers, wanted).await?;
    let outcome = site
        .registry
        .invite(&request.actor, &name, &user, standing)
        .await;
    // The secret is for whoever is invited, by mail.
    let (_, invitation) = request.told(outcome).await?;
    let shown = InvitationView::from(invitation);
    Ok((StatusCode::CREATED, Json(shown)).into_response())
}

/// Invitations of the caller
#[utoipa::path(get, path = "/api/v1/me/invitations", tag = "organisations", security(("token" = [])),
    responses((status = OK, body = Invitations), (status = "default", body = Problem, content_type = "application/problem+json")))]
pub(super) async fn invitations(State(site): State<Site>, headers: HeaderMap) -> Answer {
    let actor = site.actor(&headers).await.map_err(Refusal::problem)?;
    let invitations = site
        .registry
        .invitations(&actor)
        .await
        .map_err(Refusal::problem)?;
    let items = invitations.into_iter().map(Into::into).collect();
    json(&site, &Invitations { items })
}

/// Accept an invitation
#[utoipa::path(post, path = "/api/v1/invitations/accept", tag = "organisations", security(("token" = [])),
    request_body = TakenInvitation,
    responses((status = OK, body = OrganisationRow), (status = "default", body = Problem, content_type = "application/problem+json")))]
pub(super) async fn accept(State(site): State<Site>, headers: HeaderMap, content: Body) -> Answer {
    let actor = site.actor(&headers).await.map_err(Refusal::problem)?;
    let TakenInvitation { invitation } = super::secret_body(content).await?;
    let open = site
        .registry
        .invitations(&actor)
        .await
        .map_err(Refusal::problem)?;
    let subject = match open.iter().find(|open| open.id == invitation) {
        Some(open) => format!(
            "join the organisation {} as {}",
            named(&open.organisation),
            open.standing.as_str()
        ),
        // By the secret of its link, which is shown to nobody: its digest tells it from others.
        None => format!(
            "by the link with the digest {}",
            Sha256::of(invitation.as_bytes())
        ),
    };
    let wanted = Wanted {
        act: Act::AnswerInvitation,
        also: &[],
        on: None,
        subject,
    };
    let request = Request::of(&site, &headers, wanted).await?;
    let outcome = site
        .registry
        .accept_invitation(&request.actor, &invitation)
        .await;
    let joined = request.told(outcome).await?;
    json(&site, &OrganisationRow::from(joined))
}

/// Decline an invitation, or take it back
#[utoipa::path(delete, path = "/api/v1/invitations/{id}", tag = "organisations", security(("token" = [])),
    params(("id" = String, Path)),
    responses((status = NO_CONTENT, description = "Ended"), (status = "default", body = Problem, content_type = "application/problem+json")))]
pub(super) async fn end_invitation(
    State(site): State<Site>,
    Path(id): Path<String>,
    headers: HeaderMap,
) -> Answer {
    let wanted = Wanted {
        act: Act::AnswerInvitation,
        also: &[Act::ManageMembers, Act::ManageManagers],
        on: None,
        subject: format!("end the invitation {}", named(&id)),
    };
    let request = Request::of(&site, &headers, wanted).await?;
    let outcome = site.registry.end_invitation(&request.actor, &id).await;
    request.told(outcome).await?;
    done()
}

/// Give a member another standing
#[utoipa::path(put, path = "/api/v1/organisations/{organisation}/members/{user}", tag = "organisations", security(("token" = [])),
    request_body = NewStanding, params(("organisation" = String, Path), ("user" = String, Path)),
    responses((status = NO_CONTENT, description = "Changed"), (status = "default", body = Problem, content_type = "application/problem+json")))]
pub(super) async fn set_member(
    State(site): State<Site>,
    Path((name, user)): Path<(String, String)>,
    headers: HeaderMap,
    content: Body,
) -> Answer {
    site.actor(&headers).await.map_err(Refusal::problem)?;
    let NewStanding { standing } = body(content).await?;
    let standing: Membership = standing.parse().map_err(malformed)?;
    let what = format!("{} becomes {}", named(&user), standing.as_str());
    let wanted = wanted(Act::ManageMembers, &[Act::ManageManagers], &name, &what);
    let request = Request::of(&site, &headers, wanted).await?;
    let outcome = site
        .registry
        .set_standing(&request.actor, &name, &user, Some(standing))
        .await;
    request.told(outcome).await?;
    done()
}

/// Remove a member; with one's own name, leave
#[utoipa::path(delete, path = "/api/v1/organisations/{organisation}/members/{user}", tag = "organisations", security(("token" = [])),
    params(("organisation" = String, Path), ("user" = String, Path)),
    responses((status = NO_CONTENT, description = "Removed"), (status = "default", body = Problem, content_type = "application/problem+json")))]
pub(super) async fn remove_member(
    State(site): State<Site>,
    Path((name, user)): Path<(String, String)>,
    headers: HeaderMap,
) -> Answer {
    let what = format!("{} leaves it", named(&user));
    let also = &[Act::ManageManagers, Act::LeaveOrganisation];
    let wanted = wanted(Act::ManageMembers, also, &name, &what);
    let request = Request::of(&site, &headers, wanted).await?;
    let outcome = site
        .registry
        .set_standing(&request.actor, &name, &user, None)
        .await;
    request.told(outcome).await?;
    done()
}

/// Ask for the removal of an owner who is the last one that is hard to phish
#[utoipa::path(post, path = "/api/v1/organisations/{organisation}/proposals", tag = "organisations", security(("token" = [])),
    request_body = OwnerRemoval, params(("organisation" = String, Path)),
    responses((status = CREATED, body = ProposalView), (status = "default", body = Problem, content_type = "application/problem+json")))]
pub(super) async fn propose(
    State(site): State<Site>,
    Path(name): Path<String>,
    headers: HeaderMap,
    content: Body,
) -> Answer {
    site.actor(&headers).await.map_err(Refusal::problem)?;
    let OwnerRemoval { remove_owner } = body(content).await?;
    let what = format!("{} is to be an owner no longer", named(&remove_owner));
    let wanted = wanted(Act::ManageManagers, &[Act::Propose], &name, &what);
    let request = Request::of(&site, &headers, wanted).await?;
    let outcome = site
        .registry
        .propose_leaving(&request.actor, &name, &remove_owner)
        .await;
    let proposal = request.told(outcome).await?;
    Ok((StatusCode::CREATED, Json(ProposalView::from(proposal))).into_response())
}

/// Make a team
#[utoipa::path(put, path = "/api/v1/organisations/{organisation}/teams/{team}", tag = "organisations", security(("token" = [])),
    params(("organisation" = String, Path), ("team" = String, Path)),
    responses((status = NO_CONTENT, description = "Made"), (status = "default", body = Problem, content_type = "application/problem+json")))]
pub(super) async fn create_team(
    State(site): State<Site>,
    Path((name, team)): Path<(String, String)>,
    headers: HeaderMap,
) -> Answer {
    let what = format!("the team {} is made", named(&team));
    let wanted = wanted(Act::ManageTeams, &[], &name, &what);
    let request = Request::of(&site, &headers, wanted).await?;
    let outcome = site
        .registry
        .create_team(&request.actor, &name, &team)
        .await;
    request.told(outcome).await?;
    done()
}

/// Remove a team, with its roles
#[utoipa::path(delete, path = "/api/v1/organisations/{organisation}/teams/{team}", tag = "organisations", security(("token" = [])),
    params(("organisation" = String, Path), ("team" = String, Path)),
    responses((status = NO_CONTENT, description = "Removed"), (status = "default", body = Problem, content_type = "application/problem+json")))]
pub(super) async fn remove_team(
    State(site): State<Site>,
    Path((name, team)): Path<(String, String)>,
    headers: HeaderMap,
) -> Answer {
    let what = format!("the team {} ends", named(&team));
    let wanted = wanted(Act::ManageTeams, &[], &name, &what);
    let request = Request::of(&site, &headers, wanted).await?;
    let outcome = site
        .registry
        .remove_team(&request.actor, &name, &team)
        .await;
    request.told(outcome).await?;
    done()
}

/// Put a member into a team
#[utoipa::path(put, path = "/api/v1/organisations/{organisation}/teams/{team}/members/{user}", tag = "organisations",
    security(("token" = [])), params(("organisation" = String, Path), ("team" = String, Path), ("user" = String, Path)),
    responses((status = NO_CONTENT, description = "In it"), (status = "default", body = Problem, content_type = "application/problem+json")))]
pub(super) async fn add_to_team(
    State(site): State<Site>,
    Path(which): Path<(String, String, String)>,
    headers: HeaderMap,
) -> Answer {
    in_team(&site, &headers, which, true).await
}

/// Take a member out of a team
#[utoipa::path(delete, path = "/api/v1/organisations/{organisation}/teams/{team}/members/{user}", tag = "organisations",
    security(("token" = [])), params(("organisation" = String, Path), ("team" = String, Path), ("user" = String, Path)),
    responses((status = NO_CONTENT, description = "Out of it"), (status = "default", body = Problem, content_type = "application/problem+json")))]
pub(super) async fn take_from_team(
    State(site): State<Site>,
    Path(which): Path<(String, String, String)>,
    headers: HeaderMap,
) -> Answer {
    in_team(&site, &headers, which, false).await
}

async fn in_team(
    site: &Site,
    headers: &HeaderMap,
    (name, team, user): (String, String, String),
    inside: bool,
) -> Answer {
    let verb = if inside { "joins" } else { "leaves" };
    let what = format!("{} {verb} the team {}", named(&user), named(&team));
    let wanted = wanted(Act::ManageTeams, &[], &name, &what);
    let request = Request::of(site, headers, wanted).await?;
    let outcome = site
        .registry
        .set_team_member(&request.actor, &name, &team, &user, inside)
        .await;
    request.told(outcome).await?;
    done()
}

/// Give a team a role on a namespace
#[utoipa::path(put, path = "/api/v1/organisations/{organisation}/namespaces/{ecosystem}/{prefix}/teams/{team}", tag = "organisations",
    security(("token" = [])), request_body = NewTeamRole,
    params(("organisation" = String, Path), ("ecosystem" = String, Path), ("prefix" = String, Path), ("team" = String, Path)),
    responses((status = NO_CONTENT, description = "Given"), (status = "default", body = Problem, content_type = "application/problem+json")))]
pub(super) async fn set_namespace_role(
    State(site): State<Site>,
    Path(which): Path<(String, String, String, String)>,
    headers: HeaderMap,
    content: Body,
) -> Answer {
    site.actor(&headers).await.map_err(Refusal::problem)?;
    let NewTeamRole { role } = body(content).await?;
    let role: Role = role.parse().map_err(malformed)?;
    on_namespace(&site, &headers, which, Some(role)).await
}

/// Take a team's role on a namespace away
#[utoipa::path(delete, path = "/api/v1/organisations/{organisation}/namespaces/{ecosystem}/{prefix}/teams/{team}", tag = "organisations",
    security(("token" = [])),
    params(("organisation" = String, Path), ("ecosystem" = String, Path), ("prefix" = String, Path), ("team" = String, Path)),
    responses((status = NO_CONTENT, description = "Taken away"), (status = "default", body = Problem, content_type = "application/problem+json")))]
pub(super) async fn remove_namespace_role(
    State(site): State<Site>,
    Path(which): Path<(String, String, String, String)>,
    headers: HeaderMap,
) -> Answer {
    on_namespace(&site, &headers, which, None).await
}

async fn on_namespace(
    site: &Site,
    headers: &HeaderMap,
    (name, system, prefix, team): (String, String, String, String),
    role: Option<Role>,
) -> Answer {
    let system = ecosystem(&system)?;
    let change = role.map_or("loses the role".to_owned(), |role| {
        format!("becomes {}", role.as_str())
    });
    let what = format!(
        "the team {} {change} on the namespace {} of {system}",
        named(&team),
        named(&prefix)
    );
    let wanted = wanted(Act::ManageNamespaces, &[], &name, &what);
    let request = Request::of(site, headers, wanted).await?;
    let outcome = site
        .registry
        .set_namespace_role(&request.actor, &name, system, &prefix, &team, role)
        .await;
    request.told(outcome).await?;
    done()
}

/// Projects that the caller has a role on
#[utoipa::path(get, path = "/api/v1/me/projects", tag = "account", security(("token" = [])),
    responses((status = OK, body = ProjectNames), (status = "default", body = Problem, content_type = "application/problem+json")))]
pub(super) async fn own_projects(State(site): State<Site>, headers: HeaderMap) -> Answer {
    let actor = site.actor(&headers).await.map_err(Refusal::problem)?;
    let projects = site
        .registry
        .own_projects(&actor)
        .await
        .map_err(Refusal::problem)?;
    let items = projects.into_iter().map(Into::into).collect();
    json(&site, &ProjectNames { items })
}

/// Transfers that wait for the caller
#[utoipa::path(get, path = "/api/v1/me/transfers", tag = "account", security(("token" = [])),
    responses((status = OK, body = Proposals), (status = "default", body = Problem, content_type = "application/problem+json")))]
pub(super) async fn transfers(State(site): State<Site>, headers: HeaderMap) -> Answer {
    let actor = site.actor(&headers).await.map_err(Refusal::problem)?;
    let proposals = site
        .registry
        .transfers_to_me(&actor)
        .await
        .map_err(Refusal::problem)?;
    json(&site, &Proposals::from(proposals))
}
