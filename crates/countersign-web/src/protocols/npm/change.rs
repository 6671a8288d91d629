//! Changes of what is there: tags, deprecations, owners, stars, removals. npm sends most of them as a whole packument
//! that it has changed; what it wants is the difference to the present one.

use std::collections::{BTreeMap, BTreeSet};

use axum::body::Body;
use countersign_formats::npm::name::PackageName;
use countersign_formats::npm::update::{Change, Present, Update};
use countersign_formats::npm::{publish, registry, tags};
use countersign_formats::{Ecosystem, Limits};
use countersign_registry::model::Actor;
use countersign_registry::{Act, Deletion, Document, Error, Kind, Wanted};
use serde::Deserialize;

use super::publish::place as publish_place;
use super::{Answer, Call, created, done, noted, read, told};
use crate::body::whole;
use crate::error::{Refusal, shown};
use crate::protocols::npm_trust::step_up::Request;

/// Longest body of a request that changes a package: its whole packument.
const LONGEST_PACKUMENT: usize = 16 << 20;

/// `{tag: version}`.
pub(super) async fn tags(call: &Call<'_>, name: &PackageName) -> Answer {
    let actor = call.site.viewer(call.headers).await.map_err(Refusal::npm)?;
    let present = present(call, &actor, name).await?.0;
    let tags: Vec<(String, String)> = present.tags.into_iter().collect();
    Ok(noted(&actor, Some(name), told(registry::tags(&tags))))
}

/// Points a tag to the version in the body.
pub(super) async fn set_tag(call: &Call<'_>, name: &PackageName, tag: &str, body: Body) -> Answer {
    let actor = call.actor().await?;
    let bytes = whole(body, super::LONGEST_BODY)
        .await
        .map_err(Refusal::npm)?;
    let limits = &call.site.registry.settings().limits;
    let version = tags::read_version(&bytes, limits).map_err(Refusal::npm)?;
    spelt(call, name).await?;
    call.site
        .registry
        .set_dist_tag(&actor, name.as_str(), tag, &version)
        .await
        .map_err(Refusal::npm)?;
    Ok(noted(&actor, Some(name), created(done())))
}

/// Takes a tag away.
pub(super) async fn remove_tag(call: &Call<'_>, name: &PackageName, tag: &str) -> Answer {
    let actor = call.actor().await?;
    spelt(call, name).await?;
    call.site
        .registry
        .remove_dist_tag(&actor, name.as_str(), tag)
        .await
        .map_err(Refusal::npm)?;
    Ok(noted(&actor, Some(name), done()))
}

/// Old names with capitals answer to their own spelling only.
async fn spelt(call: &Call<'_>, name: &PackageName) -> Result<(), Refusal> {
    read::full(call.site, name).await.map(|_| ())
}

/// A packument, taken apart as far as changes need.
#[derive(Deserialize)]
struct Packument {
    #[serde(rename = "_rev")]
    rev: String,
    #[serde(rename = "dist-tags")]
    tags: BTreeMap<String, String>,
    versions: BTreeMap<String, VersionOf>,
    maintainers: Vec<PersonOf>,
}

#[derive(Deserialize)]
struct VersionOf {
    deprecated: Option<String>,
}

#[derive(Deserialize)]
struct PersonOf {
    name: String,
}

/// What is there now, and the revision that says so.
async fn present(
    call: &Call<'_>,
    actor: &Actor,
    name: &PackageName,
) -> Result<(Present, String), Refusal> {
    let document = read::full(call.site, name).await?;
    let starred = call
        .site
        .registry
        .has_starred(actor, Ecosystem::Npm, name.as_str())
        .await
        .map_err(Refusal::npm)?;
    taken_apart(&document, starred.then(|| actor.name()))
        .map_err(|source| Refusal::npm(Error::internal("a packument is not JSON", source)))
}

fn taken_apart(
    document: &Document,
    star: Option<&str>,
) -> Result<(Present, String), serde_json::Error> {
    let packument: Packument = serde_json::from_slice(&document.bytes)?;
    let versions = packument
        .versions
        .into_iter()
        .map(|(number, version)| (number, version.deprecated))
        .collect();
    let owners: BTreeSet<String> = packument
        .maintainers
        .into_iter()
        .map(|person| person.name)
        .collect();
    let present = Present {
        versions,
        owners,
        tags: packument.tags,
        stars: star.map(str::to_owned).into_iter().collect(),
    };
    Ok((present, packument.rev))
}

/// The package has changed since the client looked.
fn check_rev(sent: &str, now: &str) -> Result<(), Refusal> {
    if sent == now {
        return Ok(());
    }
    let message = format!(
        "The package has changed: its _rev is no longer {}.",
        shown(sent)
    );
    Err(Refusal::npm(
        Error::new(Kind::Conflict, "npm-rev", message).remedy("Fetch it again and repeat."),
    ))
}

/// `PUT /{name}/-rev/{revision}`: a change that began at a revision.
pub(super) async fn put(call: &Call<'_>, name: &PackageName, revision: &str, body: Body) -> Answer {
    let actor = call.actor().await?;
    let core = &call.site.registry;
    // Only who may publish sends whole packuments, and a few at a time.
    let may_upload = core.may_upload(&actor, Ecosystem::Npm).is_ok();
    let _place = match may_upload {
        true => Some(publish_place(call.site).await.map_err(Refusal::npm)?),
        false => None,
    };
    let mut update = match may_upload {
        true => {
            let bytes = whole(body, LONGEST_PACKUMENT).await.map_err(Refusal::npm)?;
            read_update(&bytes, &core.settings().limits).map_err(Refusal::npm)?
        }
        false => small_update(call, body).await.map_err(Refusal::npm)?,
    };
    // The address says it; what the body says must be the same.
    match &update.rev {
        Some(rev) => check_rev(rev, revision)?,
        None => update.rev = Some(revision.to_owned()),
    }
    apply(call, actor, name, &update).await
}

/// A change in a small body, such as a star.
pub(super) async fn small_update(call: &Call<'_>, body: Body) -> Result<Update, Error> {
    let bytes = whole(body, super::LONGEST_BODY).await?;
    read_update(&bytes, &call.site.registry.settings().limits)
}

fn read_update(bytes: &[u8], limits: &Limits) -> Result<Update, Error> {
    let mut reader = publish::PublishReader::new(limits);
    reader.push(bytes, &mut |_| Ok(()))?;
    match reader.finish()? {
        publish::Body::Update(update) => Ok(*update),
        publish::Body::Publish(_) => Err(Error::new(
            Kind::Rejected,
            "npm-update",
            "A new version is not published at a revision.",
        )
        .remedy("Publish with npm, pnpm or yarn.")),
    }
}

/// Does what the difference to the present package amounts to.
pub(super) async fn apply(
    call: &Call<'_>,
    actor: Actor,
    name: &PackageName,
    update: &Update,
) -> Answer {
    if let Some(named) = &update.name
        && !name.is_spelt(named)
    {
        let message = format!("The address names {name}, the request is about {named}.");
        return Err(Refusal::npm(
            Error::new(Kind::Rejected, "npm-update", message)
                .remedy("Use the client's own commands: npm deprecate, owner, unpublish."),
        ));
    }
    let (present, rev) = present(call, &actor, name).await?;
    if let Some(sent) = &update.rev {
        check_rev(sent, &rev)?;
    }
    let changes = update
        .changes(&present, actor.name())
        .map_err(Refusal::npm)?;
    let core = &call.site.registry;
    // One transaction: what is refused leaves everything as it was.
    match wanted(name, &changes) {
        Some(wanted) => {
            let request = Request::of(call.site, call.headers, wanted).await?;
            let outcome = core
                .change_package(&request.actor, name.as_str(), &changes)
                .await;
            request
                .told(outcome.map_err(|error| whole_request(error, &changes)))
                .await?;
        }
        None => core
            .change_package(&actor, name.as_str(), &changes)
            .await
            .map_err(|error| Refusal::npm(whole_request(error, &changes)))?,
    }
    // With its last version the package itself may be gone.
    let rev = match self::present(call, &actor, name).await {
        Ok((_, rev)) => rev,
        Err(refusal) if refusal.error.code == "project-unknown" => rev,
        Err(refusal) => return Err(refusal),
    };
    let answer = created(told(registry::ok(name.as_str(), &rev)));
    Ok(noted(&actor, Some(name), answer))
}

/// The refusal of one of several changes says that none was made.
fn whole_request(error: Error, changes: &[Change]) -> Error {
    if changes.len() < 2 {
        return error;
    }
    let remedy = error.remedy.clone().unwrap_or_default();
    let count = changes.len();
    error.remedy(format!(
        "None of the {count} changes of this request was made. {remedy}"
    ))
}

fn in_words(change: &Change) -> String {
    match change {
        Change::Deprecate(version, _) => format!("deprecate {version}"),
        Change::Undeprecate(version) => format!("undeprecate {version}"),
        Change::Unpublish(version) => format!("remove {version}"),
        Change::SetTag(tag, version) => format!("tag {version} as {tag}"),
        Change::RemoveTag(tag) => format!("remove the tag {tag}"),
        Change::AddOwner(user) => format!("{user:?} becomes owner"),
        Change::RemoveOwner(user) => format!("{user:?} loses the role"),
        Change::Star(_) => "star".to_owned(),
        Change::Unstar(_) => "unstar".to_owned(),
    }
}

/// What of the changes may take consent, in words that are compared to the letter.
fn wanted(name: &PackageName, changes: &[Change]) -> Option<Wanted> {
    let mut acts = Vec::new();
    let mut words = Vec::new();
    for change in changes {
        let act = match change {
            Change::Unpublish(_) => Act::Delete,
            Change::AddOwner(_) | Change::RemoveOwner(_) => Act::ManageRoles,
            Change::Deprecate(..)
            | Change::Undeprecate(_)
            | Change::SetTag(..)
            | Change::RemoveTag(_)
            | Change::Star(_)
            | Change::Unstar(_) => continue,
        };
        acts.push(act);
        words.push(in_words(change));
    }
    let act = *acts.first()?;
    Some(Wanted {
        act,
        also: match act {
            Act::Delete if acts.contains(&Act::ManageRoles) => &[Act::ManageRoles],
            Act::ManageRoles if acts.contains(&Act::Delete) => &[Act::Delete],
            _ => &[],
        },
        on: Some((Ecosystem::Npm, name.to_string())),
        subject: format!("pkg:npm/{name}: {}", words.join(", ")),
    })
}

/// `DELETE /{name}/-rev/{revision}`: the whole package.
pub(super) async fn remove_all(call: &Call<'_>, name: &PackageName, revision: &str) -> Answer {
    let actor = call.actor().await?;
    let (_, rev) = present(call, &actor, name).await?;
    check_rev(revision, &rev)?;
    let wanted = Wanted {
        act: Act::DeleteProject,
        also: &[],
        on: Some((Ecosystem::Npm, name.to_string())),
        subject: format!("pkg:npm/{name}"),
    };
    let request = Request::of(call.site, call.headers, wanted).await?;
    let outcome = call
        .site
        .registry
        .delete(
            &request.actor,
            Ecosystem::Npm,
            name.as_str(),
            Deletion::Project,
        )
        .await;
    request.told(outcome).await?;
    Ok(noted(&request.actor, Some(name), done()))
}

/// `DELETE /{name}/-/{file}/-rev/{revision}`: the last step of `npm unpublish NAME@VERSION`, whose version went with the
/// packument already. A tarball never goes without its version.
pub(super) async fn remove_tarball(call: &Call<'_>, name: &PackageName, file: &str) -> Answer {
    let actor = call.actor().await?;
    let (present, _) = present(call, &actor, name).await?;
    if let Some(version) = present
        .versions
        .keys()
        .find(|version| name.tarball(version) == file)
    {
        let error = Error::new(
            Kind::Rejected,
            "npm-update",
            format!("{name} still has the version {version}, whose tarball this is."),
        );
        return Err(Refusal::npm(error.remedy(format!(
            "Remove the version: npm unpublish {name}@{version}."
        ))));
    }
    Ok(noted(&actor, Some(name), done()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_refusal_of_one_of_several_changes_says_that_none_was_made() {
        let error = || Error::new(Kind::Denied, "x", "No.").remedy("Ask.");
        let changes = [
            Change::Unpublish("1.0.0".to_owned()),
            Change::RemoveTag("old".to_owned()),
        ];
        assert_eq!(whole_request(error(), &changes[..1]).text(), "No. Ask.");
        assert_eq!(
            whole_request(error(), &changes).text(),
            "No. None of the 2 changes of this request was made. Ask."
        );
    }

    #[test]
    fn consent_is_asked_for_what_takes_rights_or_bytes_away() {
        let name = PackageName::parse("@s/n").unwrap();
        let text = str::to_owned;
        assert!(
            wanted(
                &name,
                &[
                    Change::Deprecate(text("1.0.0"), text("old")),
                    Change::SetTag(text("latest"), text("1.0.0")),
                    Change::Star(text("ada")),
                ]
            )
            .is_none()
        );
        let both = wanted(
            &name,
            &[
                Change::Unpublish(text("1.0.0")),
                Change::SetTag(text("latest"), text("0.9.0")),
                Change::AddOwner(text("a\u{202e}b")),
            ],
        )
        .unwrap();
        assert_eq!(
            (both.act, both.also),
            (Act::Delete, &[Act::ManageRoles][..])
        );
        assert_eq!(
            both.subject,
            "pkg:npm/@s/n: remove 1.0.0, \"a\\u{202e}b\" becomes owner"
        );
    }
}
