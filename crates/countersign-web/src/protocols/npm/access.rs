//! Who may read and change a package, as `npm access` shows and sets it.

use axum::body::Body;
use countersign_formats::Ecosystem;
use countersign_formats::npm::name::PackageName;
use countersign_registry::model::{Actor, Identity, ProjectDetail, Role};
use countersign_registry::{Act, Error, Kind, Wanted};
use serde::Deserialize;
use serde_json::{Map, Value, json};

use super::{Answer, Call, done, json, noted, read_json};
use crate::error::{Refusal, notify_npm, shown};
use crate::protocols::npm_trust::step_up::Request;

/// Packages of an account or an organisation, and what one may do with them.
pub(super) fn permission(roles: impl IntoIterator<Item = Role>) -> &'static str {
    let writes = roles
        .into_iter()
        .any(|role| matches!(role, Role::Owner | Role::Maintainer | Role::Publisher));
    if writes { "write" } else { "read" }
}

/// The package, as its owners write it.
async fn project(call: &Call<'_>, name: &PackageName) -> Result<ProjectDetail, Refusal> {
    let found = call
        .site
        .registry
        .project(Ecosystem::Npm, name.as_str())
        .await
        .map_err(Refusal::npm)?;
    // Old names with capitals answer to their own spelling only.
    if found.name != name.as_str() {
        return Err(Refusal::npm(unknown(name)));
    }
    Ok(found)
}

/// There is no such package.
pub(super) fn unknown(name: &PackageName) -> Error {
    Error::new(
        Kind::NotFound,
        "project-unknown",
        format!("There is no package {name} here."),
    )
    .remedy("Check how it is spelt; capitals make a difference.")
}

/// `{"public"}`.
pub(super) async fn visibility(call: &Call<'_>, name: &PackageName) -> Answer {
    let actor = call.site.viewer(call.headers).await.map_err(Refusal::npm)?;
    let project = project(call, name).await?;
    let answer = json(&json!({ "public": call.site.is_public() && !project.private }));
    Ok(noted(&actor, Some(name), answer))
}

/// `{user: "read"|"write"}`.
pub(super) async fn collaborators(call: &Call<'_>, name: &PackageName) -> Answer {
    let actor = call.site.viewer(call.headers).await.map_err(Refusal::npm)?;
    let project = project(call, name).await?;
    let mut people: Map<String, Value> = Map::new();
    for (user, role) in project.people {
        let before = people.get(&user).and_then(Value::as_str);
        if before != Some("write") {
            people.insert(user, permission([role]).into());
        }
    }
    Ok(noted(&actor, Some(name), json(&Value::Object(people))))
}

/// The packages that the caller has a role on.
pub(super) async fn packages_of_user(call: &Call<'_>, user: &str) -> Answer {
    let actor = call.actor().await?;
    let own = matches!(&actor.identity, Identity::Account { name, .. } if name == user);
    if !own {
        let message = format!(
            "{} is neither you nor an organisation of yours.",
            shown(user)
        );
        let error = Error::new(Kind::NotFound, "organisation-unknown", message);
        return Err(Refusal::npm(
            error.remedy("Ask for your own packages: npm access list packages."),
        ));
    }
    let packages = own_packages(call, &actor).await?;
    Ok(noted(&actor, None, json(&Value::Object(packages))))
}

async fn own_packages(call: &Call<'_>, actor: &Actor) -> Result<Map<String, Value>, Refusal> {
    let projects = call
        .site
        .registry
        .own_projects(actor)
        .await
        .map_err(Refusal::npm)?;
    Ok(projects
        .into_iter()
        .filter(|project| project.ecosystem == Ecosystem::Npm)
        .map(|project| (project.name, permission(project.roles).into()))
        .collect())
}

#[derive(Deserialize)]
struct NewAccess {
    access: Option<String>,
    publish_requires_tfa: Option<bool>,
    automation_token_overrides_tfa: Option<bool>,
}

/// What `npm access set` wants: who sees the package, and what publishing takes, which is the project's policy here. Where
/// nobody but those with a credential reads anything, npm's two words mean what the whole registry is.
pub(super) async fn set(call: &Call<'_>, name: &PackageName, body: Body) -> Answer {
    let actor = call.actor().await?;
    let new: NewAccess = read_json(body).await?;
    project(call, name).await?;
    if new.publish_requires_tfa.is_some() || new.automation_token_overrides_tfa.is_some() {
        let error = Error::new(
            Kind::Rejected,
            "npm-access-factor",
            "What publishing takes is not set by npm's levels here: tokens publish what they reach, and people confirm what matters with a passkey anyway.",
        );
        return Err(Refusal::npm(error.remedy(
            "Let the package be published by trusted publishers alone: its settings page, or countersign policy.",
        )));
    }
    let private = match new.access.as_deref() {
        Some("public") => false,
        Some("restricted" | "private") => true,
        _ => {
            return Err(Refusal::npm(Error::new(
                Kind::Rejected,
                "json-malformed",
                "The request says neither public nor restricted.",
            )));
        }
    };
    if !call.site.is_public() {
        // Even where nothing changes: a stranger is not told that it was done.
        call.site
            .registry
            .project_policy(&actor, Ecosystem::Npm, name.as_str())
            .await
            .map_err(Refusal::npm)?;
        return match private {
            true => Ok(noted(&actor, Some(name), done())),
            false => Err(Refusal::npm(never_public())),
        };
    }
    let word = if private { "private" } else { "public" };
    let wanted = Wanted {
        act: Act::SetVisibility,
        also: &[],
        on: Some((Ecosystem::Npm, name.to_string())),
        subject: format!("pkg:npm/{name}: it becomes {word}"),
    };
    let request = Request::of(call.site, call.headers, wanted).await?;
    let outcome = call
        .site
        .registry
        .set_private(&request.actor, Ecosystem::Npm, name.as_str(), private)
        .await;
    request.told(outcome).await?;
    let mut answer = noted(&request.actor, Some(name), done());
    if private {
        notify_npm(&mut answer, STAYS_IN_THE_LOG);
    }
    Ok(answer)
}

/// Whoever makes a package private should know it.
pub(super) const STAYS_IN_THE_LOG: &str = "Private: only those with a role on it see it. Its name, versions and digests stand in this registry's public log for ever.";

fn never_public() -> Error {
    Error::new(
        Kind::Rejected,
        "npm-access",
        "This registry is restricted: only those with a credential read its packages, and one alone can not be public to others.",
    )
    .remedy("Publish with --access restricted. Among those who read here, who sees a package is set on its settings page.")
}
