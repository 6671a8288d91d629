//! `tuf ceremony`: from a plan, or from answers, to a file that people sign.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use countersign_registry::model::Actor;
use countersign_registry::{NamespaceKeys, TufPosition};
use countersign_trust::tuf::bundle::{Bundle, Part};
use countersign_trust::tuf::ceremony::{RootPlan, met_by_keys};
use countersign_trust::tuf::repository::INDEX;
use countersign_trust::tuf::{
    Delegated, DelegatedRole, Delegations, Envelope, Extra, Key, Limits, RoleKeys, Root, Scope,
    Targets,
};
use serde_json::json;

use super::instance::{DAY, now};
use super::{agreed, describe, keyless, listed_key, question, read_file, refused, write_file};
use crate::cli::{Common, TufCeremony};
use crate::failure::Failure;
use crate::report;

/// Whose signatures a role takes, and for how long they are good.
#[derive(Debug)]
struct Signers {
    keys: Vec<Key>,
    threshold: u64,
    days: i64,
}

/// Who is to sign.
#[derive(Debug)]
struct Plan {
    root: Option<Signers>,
    targets: Option<Signers>,
    repositories: Vec<String>,
    /// Only where no registry is at hand: timestamp, snapshot and index.
    online: BTreeMap<String, Key>,
    development: bool,
    /// Signers by identity may be among the keys.
    identities: bool,
}

fn wrong(sentence: impl std::fmt::Display) -> Failure {
    Failure::usage("tuf-plan", format!("The plan is not good: {sentence}.")).remedy(
        "`countersignd tuf ceremony --help` and `countersignd tuf namespace add --help` show one.",
    )
}

/// All fields of a table are among these.
fn only(table: &toml::Table, known: &[&str], inside: &str) -> Result<(), Failure> {
    match table.keys().find(|field| !known.contains(&field.as_str())) {
        Some(field) => Err(wrong(format!("`{inside}{field}` is unknown"))),
        None => Ok(()),
    }
}

/// A list of texts.
fn texts(value: &toml::Value, name: &str) -> Result<Vec<String>, Failure> {
    let not = || wrong(format!("`{name}` is no list of texts"));
    let items = value.as_array().ok_or_else(not)?;
    let text = |item: &toml::Value| item.as_str().map(str::to_owned).ok_or_else(not);
    items.iter().map(text).collect()
}

fn section<'a>(table: &'a toml::Table, name: &str) -> Result<Option<&'a toml::Table>, Failure> {
    let value = table.get(name).map(|value| {
        let table = value.as_table();
        table.ok_or_else(|| wrong(format!("`{name}` is no table")))
    });
    value.transpose()
}

fn signers(table: &toml::Table, name: &str) -> Result<Option<Signers>, Failure> {
    let Some(section) = section(table, name)? else {
        return Ok(None);
    };
    only(section, &["keys", "threshold", "days"], &format!("{name}."))?;
    let number = |field: &str, default: i64| match section.get(field) {
        None => Ok(default),
        Some(value) => value
            .as_integer()
            .filter(|number| (1..=3_650).contains(number))
            .ok_or_else(|| wrong(format!("`{name}.{field}` is no number from 1 to 3650"))),
    };
    let keys = section
        .get("keys")
        .ok_or_else(|| wrong(format!("`{name}.keys` is missing")))?;
    let keys = texts(keys, &format!("{name}.keys"))?;
    Ok(Some(Signers {
        keys: keys
            .iter()
            .map(|source| listed_key(source))
            .collect::<Result<_, _>>()?,
        threshold: u64::try_from(number("threshold", 2)?).unwrap_or(1),
        days: number("days", 365)?,
    }))
}

/// Who signs a namespace: the table `namespace` of a plan.
///
/// # Errors
/// A plan that is not good.
pub(super) fn namespace(path: &Path) -> Result<NamespaceKeys, Failure> {
    let table = table(path)?;
    only(&table, &["namespace", "identities"], "")?;
    let signers = signers(&table, "namespace")?;
    let Signers {
        keys,
        threshold,
        days,
    } = signers.ok_or_else(|| wrong("`namespace` is missing"))?;
    met_by_keys(&keys, threshold).map_err(|why| wrong(format!("`namespace` {why}")))?;
    keyless::allowed(&keys, flag(&table, "identities")?)?;
    let ids: BTreeSet<String> = keys.iter().map(Key::id).collect();
    if ids.len() < keys.len() {
        return Err(wrong("`namespace` has one key twice"));
    }
    Ok(NamespaceKeys {
        keys,
        threshold,
        days,
    })
}

/// A field that is true or false; false where it is missing.
fn flag(table: &toml::Table, name: &str) -> Result<bool, Failure> {
    table.get(name).map_or(Ok(false), |value| {
        let value = value.as_bool();
        value.ok_or_else(|| wrong(format!("`{name}` is not true or false")))
    })
}

fn table(path: &Path) -> Result<toml::Table, Failure> {
    let text = String::from_utf8(read_file(path)?).map_err(|_| wrong("it is not UTF-8"))?;
    text.parse().map_err(wrong)
}

impl Plan {
    fn read(path: &Path) -> Result<Self, Failure> {
        let table = table(path)?;
        let known = [
            "root",
            "targets",
            "repositories",
            "online",
            "development",
            "identities",
        ];
        only(&table, &known, "")?;
        let mut online = BTreeMap::new();
        if let Some(section) = section(&table, "online")? {
            only(section, &["timestamp", "snapshot", INDEX], "online.")?;
            for (role, source) in section {
                let source = source.as_str();
                let source = source.ok_or_else(|| wrong(format!("`online.{role}` is no text")))?;
                let key = listed_key(source)?;
                met_by_keys(std::slice::from_ref(&key), 1)
                    .map_err(|why| wrong(format!("`online.{role}` {why}")))?;
                online.insert(role.clone(), key);
            }
        }
        let repositories = table.get("repositories");
        let repositories = repositories.map(|value| texts(value, "repositories"));
        Ok(Self {
            root: signers(&table, "root")?,
            targets: signers(&table, "targets")?,
            repositories: repositories.transpose()?.unwrap_or_default(),
            online,
            development: flag(&table, "development")?,
            identities: flag(&table, "identities")?,
        })
    }

    /// By questions.
    fn ask() -> Result<Self, Failure> {
        Ok(Self {
            root: Some(ask_for("the root")?),
            targets: Some(ask_for("the top-level targets")?),
            repositories: Vec::new(),
            online: BTreeMap::new(),
            development: false,
            identities: false,
        })
    }
}

fn ask_for(what: &str) -> Result<Signers, Failure> {
    eprintln!(
        "Who signs {what}? The file of a public key, or a key's source, one at a time; nothing to end."
    );
    let mut keys: Vec<Key> = Vec::new();
    loop {
        let source = question(&format!("  key {}:", keys.len() + 1))?;
        if source.is_empty() {
            break;
        }
        match listed_key(&source) {
            Ok(key) => {
                eprintln!("    {} {}", key.id(), key.kind());
                keys.push(key);
            }
            Err(failure) => eprintln!("    {failure}"),
        }
    }
    let number = |text: &str, default: u64| -> Result<u64, Failure> {
        let typed = question(&format!("{text} [{default}]:"))?;
        if typed.is_empty() {
            return Ok(default);
        }
        let number = typed
            .parse()
            .ok()
            .filter(|number| (1..=3_650).contains(number));
        number.ok_or_else(|| wrong(format!("{typed:?} is no number from 1 to 3650")))
    };
    let threshold = number(&format!("  How many of these {} must sign?", keys.len()), 2)?;
    let days = number("  For how many days is it good?", 365)?;
    Ok(Signers {
        keys,
        threshold,
        days: i64::try_from(days).unwrap_or(365),
    })
}

/// Top-level targets that hand all on to the index.
fn first_targets(index: &Key, expires: i64) -> Targets {
    let role = DelegatedRole {
        name: INDEX.to_owned(),
        keys: RoleKeys::new(vec![index.id()], 1),
        terminating: true,
        scope: Scope::everything(),
    };
    Targets {
        delegations: Some(Delegations {
            keys: BTreeMap::from([(index.id(), index.clone())]),
            roles: Delegated::Listed(vec![role]),
            extra: Extra::default(),
        }),
        ..Targets::empty(1, expires)
    }
}

pub(super) fn parsed(position: &TufPosition) -> Result<(Root, Targets), Failure> {
    let limits = Limits::default();
    let root = Envelope::<Root>::parse("root", &position.root, &limits);
    let targets = Envelope::<Targets>::parse("targets", &position.targets, &limits);
    Ok((
        root.map_err(|why| refused(&why))?.document,
        targets.map_err(|why| refused(&why))?.document,
    ))
}

/// The share of a repository that publishes already.
fn next(plan: &Plan, position: &TufPosition, now: i64) -> Result<Part, Failure> {
    let (root, targets) = parsed(position)?;
    let mut root_plan = RootPlan::of(&root);
    root_plan.development = plan.development;
    let mut new_targets = None;
    if let Some(signers) = &plan.root {
        root_plan.expires = now + signers.days * DAY;
        let role = (signers.keys.clone(), signers.threshold);
        root_plan.roles.insert("root".to_owned(), role);
    }
    // The root of roots lists files whose digests are known only when people have signed them: its targets stay the
    // server's. So do those of services.
    let people = position.name != "roots" && !position.name.starts_with("service/");
    if let Some(signers) = plan.targets.as_ref().filter(|_| people) {
        let role = (signers.keys.clone(), signers.threshold);
        root_plan.roles.insert("targets".to_owned(), role);
        new_targets = Some(Targets {
            version: targets.version.saturating_add(1),
            expires: now + signers.days * DAY,
            ..targets
        });
    }
    let new_root = root_plan.root(Some(&root)).map_err(|why| refused(&why))?;
    let (before, targets_before) = (Some(&*position.root), Some(&*position.targets));
    Part::new(before, targets_before, Some(new_root), new_targets).map_err(|why| refused(&why))
}

/// The share of a repository that is yet to be made.
fn first(plan: &Plan, now: i64) -> Result<Part, Failure> {
    let online = |role: &str| {
        let key = plan.online.get(role).cloned();
        let missing = || {
            wrong(format!(
                "`online.{role}` is missing, and no registry is at hand to say it"
            ))
        };
        key.ok_or_else(missing)
    };
    let mut roles = BTreeMap::new();
    let mut ends = BTreeMap::new();
    for (name, signers) in [("root", &plan.root), ("targets", &plan.targets)] {
        let signers = signers.as_ref();
        let signers = signers.ok_or_else(|| wrong(format!("`{name}` is missing")))?;
        roles.insert(name.to_owned(), (signers.keys.clone(), signers.threshold));
        ends.insert(name, now + signers.days * DAY);
    }
    for name in ["timestamp", "snapshot"] {
        roles.insert(name.to_owned(), (vec![online(name)?], 1));
    }
    let root = RootPlan {
        expires: ends.get("root").copied().unwrap_or(now),
        roles,
        development: plan.development,
    };
    let root = root.root(None).map_err(|why| refused(&why))?;
    let end = ends.get("targets").copied().unwrap_or(now);
    let targets = first_targets(&online(INDEX)?, end);
    Part::new(None, None, Some(root), Some(targets)).map_err(|why| refused(&why))
}

/// `tuf ceremony`.
///
/// # Errors
/// A plan that is not good; as the registry says.
pub(super) async fn ceremony(common: &Common, options: &TufCeremony) -> Result<(), Failure> {
    let plan = match &options.plan {
        Some(path) => Plan::read(path)?,
        None => Plan::ask()?,
    };
    let now = now();
    let mut parts = BTreeMap::new();
    let mut registry = None;
    if options.offline {
        let mut names = plan.repositories.clone();
        if names.is_empty() {
            names.push("repository".to_owned());
        }
        for name in names {
            parts.insert(name, first(&plan, now)?);
        }
    } else {
        let opened = super::instance::open(common, &options.stores).await?;
        for position in opened.tuf_positions().await? {
            let asked = if plan.repositories.is_empty() {
                !position.name.starts_with("service/")
            } else {
                plan.repositories.contains(&position.name)
            };
            if asked {
                parts.insert(position.name.clone(), next(&plan, &position, now)?);
            }
        }
        let mut missing = plan.repositories.iter();
        if let Some(name) = missing.find(|name| !parts.contains_key(*name)) {
            return Err(wrong(format!("there is no repository {name:?} here")));
        }
        registry = Some(opened);
    }
    let signers = [&plan.root, &plan.targets].into_iter().flatten();
    keyless::allowed(signers.flat_map(|role| &role.keys), plan.identities)?;
    if plan.development {
        eprintln!(
            "DEVELOPMENT: one key may be enough, and one key may have several roles. Nobody should rely on this."
        );
    }
    let mut bundle = Bundle::new(parts);
    if !common.json {
        describe(&bundle);
    }
    agreed("Is this what people are to sign?", options.yes)?;
    let mut handed = 0;
    if let Some(registry) = &registry {
        handed = registry
            .hand_over_tuf(&Actor::operator(), &mut bundle)
            .await?;
    }
    write_file(&options.bundle, &bundle.to_bytes(), true)?;
    if common.json {
        let complete = bundle.complete();
        report::json(
            &json!({"bundle": options.bundle, "signed_here": handed, "complete": complete}),
        );
        return Ok(());
    }
    if handed > 0 {
        report::line(&format!(
            "This server gave {handed} signatures of its own keys, which the new root takes out of its hands."
        ));
    }
    let file = options.bundle.display();
    report::line(&format!(
        "Wrote {file}. Next: countersignd tuf sign --bundle {file} --key KEY, by each who has one"
    ));
    Ok(())
}
