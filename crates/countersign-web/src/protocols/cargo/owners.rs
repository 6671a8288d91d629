//! `cargo owner`: people who own a crate, and teams of the organisation that owns it.
//!
//! What cargo calls an owner is the role `owner` of a person here. A team is never an owner: as with the public
//! registry, it may publish and yank and changes no owners, which is the role `maintainer`.

use axum::body::Body;
use axum::extract::{Path, State};
use axum::response::Response;
use countersign_formats::cargo::api::{self, Owner, OwnerView};
use countersign_registry::model::{Actor, Role};
use countersign_registry::{Error, Kind};
use http::HeaderMap;

use super::{SYSTEM, done, json, noting, number};
use crate::body::whole;
use crate::error::{Refusal, shown};
use crate::site::Site;

/// Longest request body.
const LONGEST: usize = 64 << 10;

/// `cargo owner --list`.
pub(super) async fn list(
    State(site): State<Site>,
    Path(name): Path<String>,
) -> Result<Response, Refusal> {
    let project = site
        .registry
        .project(SYSTEM, &name)
        .await
        .map_err(Refusal::cargo)?;
    let teams = site
        .registry
        .teams_on(SYSTEM, &name)
        .await
        .map_err(Refusal::cargo)?;
    let people = project
        .people
        .into_iter()
        .filter(|(_, role)| *role == Role::Owner)
        .map(|(login, _)| view(login, None));
    let teams = teams.into_iter().map(|team| {
        view(
            format!("{}:{}", team.organisation, team.team),
            Some(format!("team, {}", team.role.as_str())),
        )
    });
    let owners: Vec<OwnerView> = people.chain(teams).collect();
    Ok(noting(json(api::owners(&owners)), &name))
}

/// cargo wants a number for each, and shows it to nobody.
fn view(login: String, name: Option<String>) -> OwnerView {
    OwnerView {
        id: number(&login),
        login,
        name,
    }
}

/// `cargo owner --add`.
pub(super) async fn add(
    State(site): State<Site>,
    Path(name): Path<String>,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, Refusal> {
    change(&site, &name, &headers, body, true).await
}

/// `cargo owner --remove`.
pub(super) async fn remove(
    State(site): State<Site>,
    Path(name): Path<String>,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, Refusal> {
    change(&site, &name, &headers, body, false).await
}

async fn change(
    site: &Site,
    name: &str,
    headers: &HeaderMap,
    body: Body,
    adds: bool,
) -> Result<Response, Refusal> {
    let actor = site.actor(headers).await.map_err(Refusal::cargo)?;
    let bytes = whole(body, LONGEST).await.map_err(Refusal::cargo)?;
    let owners = api::owners_request(&bytes).map_err(Refusal::cargo)?;
    let mut told: Vec<String> = Vec::new();
    for owner in &owners {
        match change_one(site, &actor, name, owner, adds).await {
            Ok(sentence) => told.push(sentence),
            // What was done before stays done, so it is said.
            Err(mut error) => {
                if !told.is_empty() {
                    error.message = format!("{} {}", told.join(" "), error.message);
                }
                return Err(Refusal::cargo(error));
            }
        }
    }
    Ok(done(
        json(api::ok_saying(&told.join(" "))),
        actor.name(),
        name,
    ))
}

async fn change_one(
    site: &Site,
    actor: &Actor,
    name: &str,
    owner: &Owner,
    adds: bool,
) -> Result<String, Error> {
    match owner {
        Owner::User(user) => {
            let role = adds.then_some(Role::Owner);
            site.registry
                .set_role(actor, SYSTEM, name, user, role)
                .await?;
            Ok(if adds {
                format!("{user} owns {name} now, without having to accept.")
            } else {
                format!("{user} has no role on {name} any more.")
            })
        }
        Owner::Team {
            host: Some(host), ..
        } => Err(Error::new(
            Kind::Rejected,
            "owner-invalid",
            format!(
                "{} is elsewhere; only teams of this registry's own organisations can own.",
                shown(host)
            ),
        )
        .remedy("Write ORGANISATION:TEAM, with the organisation that owns the crate here.")),
        Owner::Team {
            host: None,
            organisation,
            team,
        } => {
            let role = adds.then_some(Role::Maintainer);
            site.registry
                .set_role_of_team(actor, SYSTEM, name, organisation, team, role)
                .await?;
            Ok(if adds {
                format!(
                    "The team {organisation}:{team} publishes and yanks {name} now; owners stay the organisation's."
                )
            } else {
                format!("The team {organisation}:{team} has no role on {name} any more.")
            })
        }
    }
}
