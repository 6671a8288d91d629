//! `tuf status`, `tuf publish`, `tuf rotate-online`: what touches a registry.

use std::collections::BTreeMap;
use std::path::Path;

use countersign_registry::model::Actor;
use countersign_registry::{Clock, Registry, SystemClock, TufPosition, TufRoleState};
use countersign_trust::sigstore::TrustRoot;
use countersign_trust::tuf::bundle::{Bundle, Part, short};
use countersign_trust::tuf::ceremony::RootPlan;
use countersign_trust::tuf::repository::INDEX;
use countersign_trust::tuf::{Delegated, Key};
use serde_json::{Value, json};

use super::plan::parsed;
use super::{agreed, describe, read_bundle, refused, time, write_file};
use crate::cli::{Common, Stores};
use crate::failure::{Exit, Failure};
use crate::report;

/// A day in seconds.
pub(super) const DAY: i64 = 86_400;

pub(super) async fn open(common: &Common, stores: &Stores) -> Result<Registry, Failure> {
    crate::admin::open(common, stores).await
}

pub(super) fn now() -> i64 {
    SystemClock.now().seconds()
}

/// What is to be done about a role, in words.
fn advice(position: &TufPosition, role: &TufRoleState) -> &'static str {
    match (role.due, role.people, role.expires <= now()) {
        (_, true, true) => "EXPIRED: hold a ceremony now",
        (_, false, true) => "EXPIRED: the server signs it when it runs",
        (true, true, _) => "due: hold a ceremony",
        (true, false, _) => "due: the server signs it by itself",
        _ if position.development && ["root", "targets"].contains(&role.role.as_str()) => {
            "development"
        }
        _ => "",
    }
}

pub(super) async fn status(common: &Common, stores: &Stores) -> Result<(), Failure> {
    let registry = open(common, stores).await?;
    let positions = registry.tuf_positions().await?;
    if common.json {
        let of = |position: &TufPosition| json!({"name": position.name, "development": position.development, "roles": position.roles});
        let list: Vec<Value> = positions.iter().map(of).collect();
        let development = positions.iter().any(|position| position.development);
        report::json(&json!({"development": development, "repositories": list}));
        return Ok(());
    }
    let mut lines = Vec::new();
    for position in &positions {
        for role in &position.roles {
            let mut keys: Vec<&str> = role.keys.iter().map(|id| short(id)).collect();
            keys.extend(role.identities.iter().map(String::as_str));
            lines.push(vec![
                position.name.clone(),
                role.role.clone(),
                role.version.to_string(),
                time(role.expires),
                format!("{} of {}", role.threshold, role.keys.len()),
                keys.join(" "),
                if role.people { "people" } else { "server" }.to_owned(),
                advice(position, role).to_owned(),
            ]);
        }
    }
    let heads = [
        "repository",
        "role",
        "version",
        "good until",
        "threshold",
        "keys",
        "signed by",
        "",
    ];
    report::table(&heads, &lines);
    let development: Vec<&str> = positions
        .iter()
        .filter(|position| position.development)
        .map(|position| position.name.as_str())
        .collect();
    if !development.is_empty() {
        report::line(&format!(
            "DEVELOPMENT MODE: {}. Every key lies with this server: whoever has it can sign anything. Before others rely on \
             it: countersignd tuf ceremony --bundle FILE",
            development.join(", ")
        ));
    }
    Ok(())
}

pub(super) async fn publish(
    common: &Common,
    stores: &Stores,
    path: &Path,
    at_once: bool,
    yes: bool,
    sigstore: &TrustRoot,
) -> Result<(), Failure> {
    let bundle = read_bundle(path, sigstore)?;
    let ready = bundle.finish(now()).map_err(|why| refused(&why))?;
    let registry = open(common, stores).await?;
    if !common.json {
        describe(&bundle);
    }
    agreed("Publish this?", yes)?;
    let published = registry
        .publish_tuf_ceremony(&Actor::operator(), &ready, at_once)
        .await?;
    crate::admin::settled(&registry).await;
    if common.json {
        report::json(&json!({"published": published}));
    } else if published.is_empty() {
        report::line("All of it was published already.");
    } else {
        report::line(&format!("Published: {}.", published.join(", ")));
    }
    Ok(())
}

/// What `tuf rotate-online` was asked for.
pub(super) struct Rotation<'a> {
    pub(super) role: &'a str,
    pub(super) repositories: &'a [String],
    pub(super) key: Option<&'a str>,
    pub(super) bundle: Option<&'a Path>,
    pub(super) days: u32,
}

impl<'a> Rotation<'a> {
    /// The file of the ceremony that it takes, if it takes one.
    fn bundle(&self) -> Result<Option<&'a Path>, Failure> {
        match (self.role, self.bundle) {
            ("bins", _) => Ok(None),
            (_, Some(path)) if path.exists() => Err(Failure::usage(
                "tuf-file-exists",
                format!("{} is there already.", path.display()),
            )
            .remedy("Give it another name, or remove it.")),
            (_, Some(path)) => Ok(Some(path)),
            (role, None) => Err(Failure::usage(
                "tuf-bundle",
                format!("People must sign that {role} has another key."),
            )
            .remedy("Name the file of their ceremony: --bundle FILE.")),
        }
    }
}

pub(super) async fn rotate_online(
    common: &Common,
    stores: &Stores,
    rotation: &Rotation<'_>,
) -> Result<(), Failure> {
    let role = rotation.role;
    let file = rotation.bundle()?;
    let registry = open(common, stores).await?;
    let positions = registry.tuf_positions().await?;
    let end = now() + i64::from(rotation.days) * DAY;
    let actor = Actor::operator();
    let (mut parts, mut rotated) = (BTreeMap::new(), Vec::new());
    for position in &positions {
        let asked = if rotation.repositories.is_empty() {
            !position.name.starts_with("service/")
        } else {
            rotation.repositories.contains(&position.name)
        };
        // The root of roots has neither index nor bins; of the others people sign the targets.
        let is_ours = |state: &TufRoleState| state.role == role && !state.people;
        if !asked || !position.roles.iter().any(is_ours) {
            continue;
        }
        let spki = registry
            .rotate_tuf_online_key(&actor, &position.name, role, rotation.key)
            .await?;
        let key = Key::from_spki(&spki).map_err(|why| refused(&why))?;
        rotated.push(json!({"repository": position.name, "key": key.id()}));
        if file.is_some() {
            parts.insert(position.name.clone(), with_key(position, role, &key, end)?);
        }
    }
    if rotated.is_empty() {
        return Err(Failure::new(
            Exit::Refused,
            "tuf-unknown",
            "No repository of this name has this role.",
        )
        .remedy("`countersignd tuf status` lists them."));
    }
    if let Some(path) = file {
        let mut bundle = Bundle::new(parts);
        registry.hand_over_tuf(&actor, &mut bundle).await?;
        if !common.json {
            describe(&bundle);
        }
        write_file(path, &bundle.to_bytes(), true)?;
    }
    crate::admin::settled(&registry).await;
    if common.json {
        report::json(&json!({"role": role, "rotated": rotated, "bundle": file}));
        return Ok(());
    }
    report::line(&match file {
        None => "The new key signs from now on: every bin is signed anew with it.".to_owned(),
        Some(path) => format!(
            "The new keys are ready. They sign once enough people signed {}: countersignd tuf sign, then countersignd tuf publish",
            path.display()
        ),
    });
    Ok(())
}

/// The ceremony that names another online key.
fn with_key(position: &TufPosition, role: &str, key: &Key, end: i64) -> Result<Part, Failure> {
    let (root, mut targets) = parsed(position)?;
    let (mut new_root, mut new_targets) = (None, None);
    if role == INDEX {
        if let Some(delegations) = &mut targets.delegations {
            if let Delegated::Listed(roles) = &mut delegations.roles {
                for listed in roles.iter_mut().filter(|listed| listed.name == INDEX) {
                    listed.keys.keyids = vec![key.id()];
                }
            }
            delegations.keys.insert(key.id(), key.clone());
            delegations.drop_unused_keys();
        }
        targets.version = targets.version.saturating_add(1);
        targets.expires = end;
        new_targets = Some(targets);
    } else {
        let mut plan = RootPlan::of(&root);
        plan.roles.insert(role.to_owned(), (vec![key.clone()], 1));
        plan.expires = end;
        plan.development = position.development;
        new_root = Some(plan.root(Some(&root)).map_err(|why| refused(&why))?);
    }
    let (before, targets_before) = (Some(&*position.root), Some(&*position.targets));
    Part::new(before, targets_before, new_root, new_targets).map_err(|why| refused(&why))
}
