//! Organisations and teams, as `npm org`, `npm team` and `npm access` know them. An npm scope and an organisation here
//! have nothing to do with each other by their names; the words are translated, the rights are ours.

use axum::body::Body;
use countersign_formats::Ecosystem;
use countersign_formats::npm::name::PackageName;
use countersign_registry::model::{Membership, Role};
use countersign_registry::{Act, Error, Kind, OrganisationDetail, Team, Wanted};
use serde::Deserialize;
use serde_json::{Map, Value, json};

use super::access::permission;
use super::{Answer, Call, created, done, json, noted, read_json};
use crate::error::{Refusal, shown};
use crate::protocols::npm_trust::step_up::Request;

/// npm's word for a standing.
fn word(standing: Membership) -> &'static str {
    match standing {
        Membership::Owner => "owner",
        Membership::Manager => "admin",
        Membership::Member => "developer",
    }
}

fn standing(word: &str) -> Result<Membership, Error> {
    match word {
        "owner" => Ok(Membership::Owner),
        "admin" => Ok(Membership::Manager),
        "developer" => Ok(Membership::Member),
        other => Err(Error::new(
            Kind::Rejected,
            "json-malformed",
            format!("{} is no role in an organisation.", shown(other)),
        )
        .remedy("Use owner, admin or developer.")),
    }
}

fn wanted(act: Act, also: &'static [Act], organisation: &str, what: &str) -> Wanted {
    Wanted {
        act,
        also,
        on: None,
        subject: format!("the organisation {organisation:?}: {what}"),
    }
}

#[derive(Deserialize)]
struct Someone {
    user: String,
    role: Option<String>,
}

#[derive(Deserialize)]
struct Named {
    name: String,
}

#[derive(Deserialize)]
struct Granted {
    package: String,
    permissions: Option<String>,
}

async fn detail(call: &Call<'_>, name: &str) -> Result<OrganisationDetail, Refusal> {
    let actor = call.actor().await?;
    call.site
        .registry
        .organisation(&actor, name)
        .await
        .map_err(Refusal::npm)
}

async fn team(call: &Call<'_>, name: &str, team: &str) -> Result<Team, Refusal> {
    let found = detail(call, name).await?;
    let same = |other: &Team| other.name.eq_ignore_ascii_case(team);
    found.teams.into_iter().find(same).ok_or_else(|| {
        let message = format!("The organisation has no team {}.", shown(team));
        Refusal::npm(
            Error::new(Kind::NotFound, "team-unknown", message)
                .remedy("List them with npm team ls."),
        )
    })
}

/// `{user: role}`.
pub(super) async fn members(call: &Call<'_>, name: &str) -> Answer {
    let members: Map<String, Value> = detail(call, name)
        .await?
        .members
        .into_iter()
        .map(|member| (member.user, word(member.standing).into()))
        .collect();
    Ok(json(&Value::Object(members)))
}

/// Gives a member another standing, or invites who is none yet.
pub(super) async fn set_member(call: &Call<'_>, name: &str, body: Body) -> Answer {
    let actor = call.actor().await?;
    let Someone { user, role } = read_json(body).await?;
    let standing = standing(role.as_deref().unwrap_or("developer")).map_err(Refusal::npm)?;
    let members = detail(call, name).await?.members;
    let inside = members
        .iter()
        .any(|member| member.user.eq_ignore_ascii_case(&user));
    let verb = if inside { "becomes" } else { "is invited as" };
    let what = format!("{user:?} {verb} {}", standing.as_str());
    let wanted = wanted(Act::ManageMembers, &[Act::ManageManagers], name, &what);
    let request = Request::of(call.site, call.headers, wanted).await?;
    let registry = &call.site.registry;
    let outcome = if inside {
        registry
            .set_standing(&request.actor, name, &user, Some(standing))
            .await
    } else {
        // The secret is for whoever is invited, by mail.
        registry
            .invite(&request.actor, name, &user, standing)
            .await
            .map(|_| ())
    };
    request.told(outcome).await?;
    let answer = json(&json!({
        "org": { "name": name, "size": members.len() },
        "user": user,
        "role": word(standing),
    }));
    Ok(noted(&actor, None, answer))
}

/// Removes a member; with one's own name, leaves.
pub(super) async fn remove_member(call: &Call<'_>, name: &str, body: Body) -> Answer {
    let Someone { user, .. } = read_json(body).await?;
    let what = format!("{user:?} leaves it");
    let also = &[Act::ManageManagers, Act::LeaveOrganisation];
    let request = Request::of(
        call.site,
        call.headers,
        wanted(Act::ManageMembers, also, name, &what),
    )
    .await?;
    let outcome = call
        .site
        .registry
        .set_standing(&request.actor, name, &user, None)
        .await;
    request.told(outcome).await?;
    Ok(noted(&request.actor, None, done()))
}

/// `["organisation:team"]`.
pub(super) async fn teams(call: &Call<'_>, name: &str) -> Answer {
    let found = detail(call, name).await?;
    let teams: Vec<String> = found
        .teams
        .iter()
        .map(|team| format!("{name}:{}", team.name))
        .collect();
    Ok(json(&json!(teams)))
}

/// Makes a team.
pub(super) async fn create_team(call: &Call<'_>, name: &str, body: Body) -> Answer {
    call.actor().await?;
    let Named { name: team } = read_json(body).await?;
    let what = format!("the team {team:?} is made");
    let request = Request::of(
        call.site,
        call.headers,
        wanted(Act::ManageTeams, &[], name, &what),
    )
    .await?;
    let outcome = call
        .site
        .registry
        .create_team(&request.actor, name, &team)
        .await;
    request.told(outcome).await?;
    Ok(noted(
        &request.actor,
        None,
        created(json(&json!({ "name": team }))),
    ))
}

/// Removes a team, with its roles.
pub(super) async fn remove_team(call: &Call<'_>, name: &str, team: &str) -> Answer {
    let what = format!("the team {team:?} ends");
    let request = Request::of(
        call.site,
        call.headers,
        wanted(Act::ManageTeams, &[], name, &what),
    )
    .await?;
    let outcome = call
        .site
        .registry
        .remove_team(&request.actor, name, team)
        .await;
    request.told(outcome).await?;
    Ok(noted(&request.actor, None, done()))
}

/// `["user"]`.
pub(super) async fn team_members(call: &Call<'_>, name: &str, which: &str) -> Answer {
    let team = team(call, name, which).await?;
    Ok(json(&json!(team.members)))
}

/// Puts a member into a team, or takes one out.
pub(super) async fn in_team(
    call: &Call<'_>,
    name: &str,
    team: &str,
    body: Body,
    inside: bool,
) -> Answer {
    call.actor().await?;
    let Someone { user, .. } = read_json(body).await?;
    let verb = if inside { "joins" } else { "leaves" };
    let what = format!("{user:?} {verb} the team {team:?}");
    let request = Request::of(
        call.site,
        call.headers,
        wanted(Act::ManageTeams, &[], name, &what),
    )
    .await?;
    let outcome = call
        .site
        .registry
        .set_team_member(&request.actor, name, team, &user, inside)
        .await;
    request.told(outcome).await?;
    Ok(noted(&request.actor, None, json(&json!({}))))
}

/// The packages that belong to the organisation's teams: `{package: "read"|"write"}`.
pub(super) async fn packages(call: &Call<'_>, name: &str) -> Answer {
    let found = detail(call, name).await?;
    let mut packages: Map<String, Value> = found
        .projects
        .iter()
        .filter(|project| project.ecosystem == Ecosystem::Npm)
        .map(|project| (project.name.clone(), "write".into()))
        .collect();
    for team in &found.teams {
        for (package, may) in of_team(team) {
            packages.entry(package).or_insert(may);
        }
    }
    Ok(json(&Value::Object(packages)))
}

/// The same, of one team.
pub(super) async fn team_packages(call: &Call<'_>, name: &str, which: &str) -> Answer {
    let team = team(call, name, which).await?;
    let packages: Map<String, Value> = of_team(&team).collect();
    Ok(json(&Value::Object(packages)))
}

fn of_team(team: &Team) -> impl Iterator<Item = (String, Value)> {
    team.roles
        .iter()
        .filter(|role| role.ecosystem == Ecosystem::Npm && !role.namespace)
        .map(|role| (role.on.clone(), permission([role.role]).into()))
}

/// Lets a team publish and manage releases of a package.
pub(super) async fn grant(call: &Call<'_>, name: &str, team: &str, body: Body) -> Answer {
    call.actor().await?;
    let Granted {
        package,
        permissions,
    } = read_json(body).await?;
    if permissions.as_deref() != Some("read-write") {
        let error = Error::new(
            Kind::Rejected,
            "npm-access-read",
            "No role here only reads: whoever may read this registry reads all its packages.",
        );
        return Err(Refusal::npm(
            error.remedy("Grant read-write, which makes the team a maintainer."),
        ));
    }
    role_of_team(call, name, team, &package, Some(Role::Maintainer)).await
}

/// Takes a team's role on a package away.
pub(super) async fn revoke(call: &Call<'_>, name: &str, team: &str, body: Body) -> Answer {
    call.actor().await?;
    let Granted { package, .. } = read_json(body).await?;
    role_of_team(call, name, team, &package, None).await
}

async fn role_of_team(
    call: &Call<'_>,
    organisation: &str,
    which: &str,
    package: &str,
    role: Option<Role>,
) -> Answer {
    let name =
        PackageName::parse(package).map_err(|rejection| Refusal::npm(Error::from(rejection)))?;
    let change = role.map_or("loses the role".to_owned(), |role| {
        format!("becomes {}", role.as_str())
    });
    let wanted = Wanted {
        act: Act::ManageRoles,
        also: &[],
        on: Some((Ecosystem::Npm, name.to_string())),
        subject: format!("pkg:npm/{name}: the team {which:?} of {organisation:?} {change}"),
    };
    let request = Request::of(call.site, call.headers, wanted).await?;
    let outcome = call
        .site
        .registry
        .set_role_of_team(
            &request.actor,
            Ecosystem::Npm,
            name.as_str(),
            organisation,
            which,
            role,
        )
        .await;
    request.told(outcome).await?;
    Ok(noted(&request.actor, Some(&name), done()))
}
