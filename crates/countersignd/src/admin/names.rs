//! `admin names …`: protected lists, prohibitions, exceptions, and what would become of a name.

use std::io::Read as _;

use countersign_formats::name_list;
use countersign_registry::NameVerdict;
use countersign_registry::model::Actor;
use serde_json::json;

use super::{day, done, open, settled};
use crate::cli::{Common, Names, Namespace, Stores};
use crate::failure::Failure;
use crate::report;

pub(super) async fn names(common: &Common, command: &Names) -> Result<(), Failure> {
    let actor = Actor::operator();
    match command {
        Names::Check {
            name: (ecosystem, name),
            stores,
        } => {
            let registry = open(common, stores).await?;
            let opinion = registry.check_name(&actor, *ecosystem, name).await?;
            if common.json {
                report::json(&json!(opinion));
                return Ok(());
            }
            let told = match opinion.verdict {
                NameVerdict::Free => "is free, and nothing speaks against it",
                NameVerdict::Flagged => "is free; what is found would be shown to operators",
                NameVerdict::Held => "is free; what is published under it would be held",
                NameVerdict::Taken => "is taken",
                NameVerdict::Refused => "would be refused",
            };
            report::line(&format!("{}:{} {told}", opinion.ecosystem, opinion.name));
            for reason in &opinion.reasons {
                report::line(&format!("  {}: {}", reason.code, reason.why));
            }
        }
        Names::List(stores) => list(common, stores).await?,
        Names::Missing(stores) => missing(common, stores).await?,
        Names::Import {
            file,
            ecosystem,
            list,
            tier,
            stores,
        } => {
            let unreadable = |error: std::io::Error| {
                Failure::usage(
                    "name-list-unreadable",
                    format!("{} can not be read: {error}.", file.display()),
                )
                .remedy("Give a file with one name a line.")
            };
            let mut bytes = Vec::new();
            // One byte more than may be, so that what is too long is refused as such.
            std::fs::File::open(file)
                .and_then(|opened| {
                    let most = name_list::MAX_BYTES as u64 + 1;
                    opened.take(most).read_to_end(&mut bytes)
                })
                .map_err(unreadable)?;
            let registry = open(common, stores).await?;
            let count = registry
                .import_names(&actor, *ecosystem, list, *tier, bytes)
                .await?;
            if common.json {
                report::json(&json!({
                    "ecosystem": ecosystem, "list": list, "tier": tier, "names": count,
                }));
            } else {
                report::line(&format!(
                    "{count} names of {ecosystem} are protected by the list {list}: looking like one leads to {tier} at most."
                ));
            }
        }
        Names::Forget {
            list,
            ecosystem,
            stores,
        } => {
            let registry = open(common, stores).await?;
            registry.drop_name_list(&actor, *ecosystem, list).await?;
            done(
                common,
                format!("The list {list} of {ecosystem} is forgotten."),
            );
        }
        Names::Allow {
            name: (ecosystem, name),
            other,
            reason,
            stores,
            ..
        } => {
            let registry = open(common, stores).await?;
            let reason = reason.as_deref();
            let served = registry
                .allow_name(&actor, *ecosystem, name, other, reason)
                .await?;
            settled(&registry).await;
            if common.json {
                report::json(&json!({
                    "ecosystem": ecosystem, "name": name, "other": other,
                    "allowed": reason.is_some(), "served": served,
                }));
                return Ok(());
            }
            report::line(&match reason {
                Some(_) => format!("{name} may stand beside {other} now."),
                None => format!("{name} may no longer stand beside {other} unnoticed."),
            });
            for file in &served {
                report::line(&format!("{file} is served now."));
            }
        }
        Names::Prohibit {
            name: (ecosystem, name),
            reason,
            stores,
            ..
        } => {
            let registry = open(common, stores).await?;
            registry
                .prohibit_name(&actor, *ecosystem, name, reason.as_deref())
                .await?;
            done(
                common,
                match reason {
                    Some(_) => format!("Nobody takes the name {name} of {ecosystem} any more."),
                    None => format!("The name {name} of {ecosystem} is prohibited no longer."),
                },
            );
        }
        Names::Reserve {
            prefix,
            organisation,
            stores,
        } => {
            let command = Namespace::Reserve {
                prefix: prefix.clone(),
                organisation: organisation.clone(),
                stores: stores.clone(),
            };
            super::people::namespace(common, &command).await?;
        }
    }
    Ok(())
}

async fn missing(common: &Common, stores: &Stores) -> Result<(), Failure> {
    let registry = open(common, stores).await?;
    let found = registry.missing_names(&Actor::operator()).await?;
    if common.json {
        report::json(&json!({"missing": found.iter().map(|one| json!({
            "ecosystem": one.ecosystem, "name": one.key, "asked": one.asked, "days": one.days, "last": day(one.last),
            "prohibited": one.prohibited,
        })).collect::<Vec<_>>()}));
        return Ok(());
    }
    if found.is_empty() {
        report::line(
            "Nobody asked for a name that does not exist. A server that runs writes down every minute what it was asked for.",
        );
        return Ok(());
    }
    let rows: Vec<Vec<String>> = found
        .iter()
        .map(|one| {
            let prohibited = if one.prohibited { "prohibited" } else { "" };
            vec![
                format!("{}:{}", one.ecosystem, one.key),
                one.asked.to_string(),
                one.days.to_string(),
                day(one.last),
                prohibited.to_owned(),
            ]
        })
        .collect();
    report::table(&["NAME", "ASKED", "DAYS", "LAST", ""], &rows);
    Ok(())
}

async fn list(common: &Common, stores: &Stores) -> Result<(), Failure> {
    let (actor, registry) = (Actor::operator(), open(common, stores).await?);
    let lists = registry.name_lists(&actor).await?;
    let prohibited = registry.prohibited_names(&actor).await?;
    let exceptions = registry.name_exceptions(&actor).await?;
    let namespaces = registry.namespaces(&actor).await?;
    if common.json {
        report::json(&json!({
            "lists": lists.iter().map(|list| json!({
                "ecosystem": list.ecosystem, "list": list.name, "tier": list.tier, "names": list.names,
                "imported": list.imported.rfc3339(),
            })).collect::<Vec<_>>(),
            "prohibited": prohibited.iter().map(|name| json!({
                "ecosystem": name.ecosystem, "name": name.key, "reason": name.reason, "since": name.since.rfc3339(),
            })).collect::<Vec<_>>(),
            "exceptions": exceptions.iter().map(|one| json!({
                "ecosystem": one.ecosystem, "name": one.key, "other": one.other, "reason": one.reason,
                "since": one.since.rfc3339(),
            })).collect::<Vec<_>>(),
            "namespaces": namespaces,
        }));
        return Ok(());
    }
    let mut rows = Vec::new();
    rows.extend(lists.iter().map(|list| {
        vec![
            "list".to_owned(),
            format!("{}:{}", list.ecosystem, list.name),
            day(list.imported),
            format!("{} names, {}", list.names, list.tier),
        ]
    }));
    rows.extend(prohibited.iter().map(|name| {
        vec![
            "prohibited".to_owned(),
            format!("{}:{}", name.ecosystem, name.key),
            day(name.since),
            name.reason.clone(),
        ]
    }));
    rows.extend(exceptions.iter().map(|one| {
        vec![
            "allowed".to_owned(),
            format!("{}:{} beside {}", one.ecosystem, one.key, one.other),
            day(one.since),
            one.reason.clone(),
        ]
    }));
    rows.extend(namespaces.iter().map(|one| {
        vec![
            "reserved".to_owned(),
            format!("{}:{}", one.ecosystem, one.prefix),
            one.since.map_or_else(String::new, day),
            String::new(),
        ]
    }));
    if rows.is_empty() {
        report::line("There is no list, no prohibition, no exception and no reservation.");
    } else {
        report::table(&["WHAT", "NAMES", "SINCE", "WHY"], &rows);
    }
    Ok(())
}
