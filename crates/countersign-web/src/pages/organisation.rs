//! Projects and organisations of an account: lists, invitations, members, teams, and what takes two owners.

use askama::Template;
use axum::Router;
use axum::body::Body;
use axum::extract::Path;
use axum::response::Response;
use axum::routing::{get, post};
use countersign_formats::Ecosystem;
use countersign_registry::model::{Membership, Role};
use countersign_registry::{
    Error, Invitation, Kind, OrganisationDetail, OrganisationSummary, ProjectName, Proposal,
};
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};

use super::ask::AskPage;
use super::guest::{Member, go, refused};
use super::phrase::{Told as _, moment_in_words};
use super::visit::Frame;
use crate::Site;
use crate::error::Refusal;

pub(super) fn routes() -> Router<Site> {
    Router::new()
        .route("/account/projects", get(projects))
        .route("/account/organisations", post(create))
        .route("/account/invitations/accept", post(accept))
        .route("/account/invitations/decline", post(decline))
        .route("/invitation", get(invitation))
        .route("/account/proposals/confirm", post(confirm))
        .route("/account/proposals/cancel", post(cancel))
        .route("/org/{name}", get(show))
        .route("/org/{name}/invite", post(invite))
        .route("/org/{name}/member", post(set_member))
        .route("/org/{name}/leave", post(leave))
        .route("/org/{name}/propose", post(propose))
        .route("/org/{name}/remove", post(remove))
        .route("/org/{name}/team", post(create_team))
        .route("/org/{name}/team/remove", post(remove_team))
        .route("/org/{name}/team/member", post(set_team_member))
        .route("/org/{name}/team/role", post(set_team_role))
}

const PROJECTS: &str = "/account/projects";

fn path_of(name: &str) -> String {
    format!("/org/{}", utf8_percent_encode(name, NON_ALPHANUMERIC))
}

fn malformed(why: &str) -> Refusal {
    let error = Error::new(
        Kind::Rejected,
        "form-malformed",
        format!("The form can not be read: {why}."),
    );
    refused(error.remedy("Load the page again and send the form from there."))
}

#[derive(Template)]
#[template(path = "account/projects.html")]
struct ProjectsPage<'a> {
    frame: &'a Frame,
    place: &'static str,
    said: Option<&'static str>,
    projects: Vec<ProjectName>,
    organisations: Vec<OrganisationSummary>,
    invitations: Vec<Invitation>,
    transfers: Vec<Proposal>,
}

async fn projects(member: Member) -> Result<Response, Refusal> {
    let (registry, actor) = (&member.site.registry, &member.actor);
    Ok(member.page(&ProjectsPage {
        frame: &member.frame,
        place: PROJECTS,
        said: member.said(),
        projects: registry.own_projects(actor).await.map_err(refused)?,
        organisations: registry.organisations(actor).await.map_err(refused)?,
        invitations: registry.invitations(actor).await.map_err(refused)?,
        transfers: registry.transfers_to_me(actor).await.map_err(refused)?,
    }))
}

async fn create(member: Member, body: Body) -> Result<Response, Refusal> {
    let form = member.fields(body).await?;
    let outcome = member
        .site
        .registry
        .create_organisation(&member.actor, form.get("name"), form.get("display"), None)
        .await;
    match outcome {
        Ok(made) => Ok(go(&path_of(&made.name))),
        Err(error) => member.not_done(error, PROJECTS).await,
    }
}

/// `GET /invitation?secret=…`: what the mailed link would do.
async fn invitation(member: Member) -> Result<Response, Refusal> {
    let secret = member.query.get("secret").to_owned();
    let registry = &member.site.registry;
    let invitation = registry
        .invitation(&member.actor, &secret)
        .await
        .map_err(refused)?;
    let mut facts = vec![
        ("Organisation", invitation.organisation),
        ("You would be", invitation.standing.as_str().to_owned()),
    ];
    facts.extend(invitation.by.map(|by| ("Invited by", by)));
    facts.push(("Good until", moment_in_words(invitation.expires)));
    Ok(member.page(&AskPage {
        title: "Accept the invitation?",
        text: format!(
            "You accept as {}. What you can do there depends on what its owners give you; you can leave at any time.",
            member.name
        ),
        facts,
        hidden: vec![("id", secret)],
        action: "/account/invitations/accept",
        label: "Accept",
        other: Some(("Not now", PROJECTS)),
        ..AskPage::new(&member.frame)
    }))
}

async fn accept(member: Member, body: Body) -> Result<Response, Refusal> {
    let form = member.fields(body).await?;
    let secret = form.get("id");
    let outcome = member
        .site
        .registry
        .accept_invitation(&member.actor, secret)
        .await;
    match outcome {
        Ok(joined) => Ok(go(&format!("{}?done=accepted", path_of(&joined.name)))),
        Err(error) => member.not_done(error, PROJECTS).await,
    }
}

async fn decline(member: Member, body: Body) -> Result<Response, Refusal> {
    let form = member.fields(body).await?;
    let outcome = member
        .site
        .registry
        .end_invitation(&member.actor, form.get("id"))
        .await;
    member.done(outcome, PROJECTS, "invitation-ended").await
}

async fn confirm(member: Member, body: Body) -> Result<Response, Refusal> {
    let form = member.fields(body).await?;
    let outcome = member
        .site
        .registry
        .confirm_proposal(&member.actor, form.get("id"))
        .await;
    member.done(outcome, PROJECTS, "confirmed-request").await
}

async fn cancel(member: Member, body: Body) -> Result<Response, Refusal> {
    let form = member.fields(body).await?;
    let outcome = member
        .site
        .registry
        .cancel_proposal(&member.actor, form.get("id"))
        .await;
    member.done(outcome, PROJECTS, "cancelled").await
}

#[derive(Template)]
#[template(path = "account/organisation.html")]
struct OrganisationPage<'a> {
    frame: &'a Frame,
    place: &'static str,
    said: Option<&'static str>,
    here: String,
    to_leave: String,
    to_remove: String,
    to_remove_team: String,
    org: OrganisationDetail,
    /// May the visitor manage members and teams, and owners too? The core decides; this only spares useless buttons.
    manages: bool,
    owns: bool,
    standings: Vec<(&'static str, &'static str)>,
    roles: Vec<&'static str>,
}

async fn show(member: Member, Path(name): Path<String>) -> Result<Response, Refusal> {
    let org = member
        .site
        .registry
        .organisation(&member.actor, &name)
        .await
        .map_err(refused)?;
    let here = path_of(&org.organisation.name);
    let standing = org.organisation.standing;
    let owns = standing.is_none_or(|standing| standing == Membership::Owner);
    Ok(member.page(&OrganisationPage {
        frame: &member.frame,
        place: PROJECTS,
        said: member.said(),
        to_leave: format!("{here}/leave"),
        to_remove: format!("{here}/remove"),
        to_remove_team: format!("{here}/team/remove"),
        here,
        org,
        manages: owns || standing == Some(Membership::Manager),
        owns,
        standings: Membership::ALL
            .into_iter()
            .map(|standing| (standing.as_str(), in_words(standing)))
            .collect(),
        // Teams never hold the role of an owner.
        roles: Role::ALL
            .into_iter()
            .filter(|role| *role != Role::Owner)
            .map(Role::as_str)
            .collect(),
    }))
}

fn in_words(standing: Membership) -> &'static str {
    match standing {
        Membership::Owner => "Owner: everything",
        Membership::Manager => "Manager: members and teams",
        Membership::Member => "Member: what the teams have",
    }
}

fn standing(word: &str) -> Result<Membership, Refusal> {
    word.parse().map_err(|why: String| malformed(&why))
}

async fn invite(member: Member, Path(name): Path<String>, body: Body) -> Result<Response, Refusal> {
    let form = member.fields(body).await?;
    let standing = standing(form.get("standing"))?;
    let outcome = member
        .site
        .registry
        .invite(&member.actor, &name, form.get("user"), standing)
        .await;
    member.done(outcome, &path_of(&name), "invited").await
}

async fn set_member(
    member: Member,
    Path(name): Path<String>,
    body: Body,
) -> Result<Response, Refusal> {
    let form = member.fields(body).await?;
    let wanted = form.some("standing").map(standing).transpose()?;
    let outcome = member
        .site
        .registry
        .set_standing(&member.actor, &name, form.get("user"), wanted)
        .await;
    let word = if wanted.is_some() {
        "member-set"
    } else {
        "member-removed"
    };
    member.done(outcome, &path_of(&name), word).await
}

async fn leave(member: Member, Path(name): Path<String>, body: Body) -> Result<Response, Refusal> {
    member.fields(body).await?;
    let outcome = member
        .site
        .registry
        .set_standing(&member.actor, &name, &member.name, None)
        .await;
    match outcome {
        Ok(()) => Ok(go("/account/projects?done=left")),
        Err(error) => member.not_done(error, &path_of(&name)).await,
    }
}

async fn propose(
    member: Member,
    Path(name): Path<String>,
    body: Body,
) -> Result<Response, Refusal> {
    let form = member.fields(body).await?;
    let outcome = member
        .site
        .registry
        .propose_leaving(&member.actor, &name, form.get("user"))
        .await;
    member.done(outcome, &path_of(&name), "asked").await
}

async fn remove(member: Member, Path(name): Path<String>, body: Body) -> Result<Response, Refusal> {
    member.fields(body).await?;
    let outcome = member
        .site
        .registry
        .remove_organisation(&member.actor, &name)
        .await;
    match outcome {
        Ok(()) => Ok(go("/account/projects?done=deleted")),
        Err(error) => member.not_done(error, &path_of(&name)).await,
    }
}

async fn create_team(
    member: Member,
    Path(name): Path<String>,
    body: Body,
) -> Result<Response, Refusal> {
    let form = member.fields(body).await?;
    let outcome = member
        .site
        .registry
        .create_team(&member.actor, &name, form.get("team"))
        .await;
    member.done(outcome, &path_of(&name), "team-made").await
}

async fn remove_team(
    member: Member,
    Path(name): Path<String>,
    body: Body,
) -> Result<Response, Refusal> {
    let form = member.fields(body).await?;
    let outcome = member
        .site
        .registry
        .remove_team(&member.actor, &name, form.get("team"))
        .await;
    member.done(outcome, &path_of(&name), "team-removed").await
}

async fn set_team_member(
    member: Member,
    Path(name): Path<String>,
    body: Body,
) -> Result<Response, Refusal> {
    let form = member.fields(body).await?;
    let outcome = member
        .site
        .registry
        .set_team_member(
            &member.actor,
            &name,
            form.get("team"),
            form.get("user"),
            form.ticked("inside"),
        )
        .await;
    member.done(outcome, &path_of(&name), "team-changed").await
}

async fn set_team_role(
    member: Member,
    Path(name): Path<String>,
    body: Body,
) -> Result<Response, Refusal> {
    let form = member.fields(body).await?;
    let role = form
        .some("role")
        .map(str::parse::<Role>)
        .transpose()
        .map_err(|why| malformed(&why))?;
    let (registry, actor) = (&member.site.registry, &member.actor);
    let (on, team) = (form.get("on"), form.get("team"));
    let outcome = if form.get("what") == "namespace" {
        registry
            .set_namespace_role(actor, &name, Ecosystem::Pypi, on, team, role)
            .await
    } else {
        registry
            .set_team_role(actor, Ecosystem::Pypi, on, team, role)
            .await
    };
    member.done(outcome, &path_of(&name), "team-changed").await
}
