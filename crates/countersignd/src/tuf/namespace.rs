//! `tuf namespace …`: who signs which part of the index, and the files that they sign.

use std::collections::BTreeMap;
use std::path::Path;

use countersign_formats::Ecosystem;
use countersign_registry::model::Actor;
use countersign_registry::{Registry, TufNamespace};
use countersign_trust::tuf::bundle::{Bundle, Part, short};
use serde_json::json;

use super::{agreed, describe, instance, plan, time, write_file};
use crate::cli::{Common, TufNamespace as Namespace, TufNamespaceChange as NamespaceChange};
use crate::failure::Failure;
use crate::report;

/// Runs `tuf namespace …`.
///
/// # Errors
/// What is wrong with files or keys, and as the registry says.
pub(super) async fn run(common: &Common, command: &Namespace) -> Result<(), Failure> {
    match command {
        Namespace::Add { change, plan } => {
            let owners = plan::namespace(plan)?;
            let registry = instance::open(common, &change.stores).await?;
            let (actor, days) = (Actor::operator(), i64::from(change.days));
            let part = registry
                .add_tuf_namespace(&actor, change.ecosystem, &change.pattern, &owners, days)
                .await?;
            begun(common, &registry, change, part).await
        }
        Namespace::Remove { change } => {
            let registry = instance::open(common, &change.stores).await?;
            let (actor, days) = (Actor::operator(), i64::from(change.days));
            let part = registry
                .remove_tuf_namespace(&actor, change.ecosystem, &change.pattern, days)
                .await?;
            begun(common, &registry, change, part).await
        }
        Namespace::Status {
            ecosystem: named,
            pattern,
            bundle,
            days,
            stores,
        } => {
            let registry = instance::open(common, stores).await?;
            if let (Some(named), Some(pattern), Some(file)) = (named, pattern, bundle) {
                let actor = Actor::operator();
                let part = registry
                    .next_tuf_namespace(&actor, *named, pattern, i64::from(*days))
                    .await?;
                return asked(common, *named, file, part);
            }
            let mut namespaces = registry.tuf_namespaces().await?;
            if let (Some(named), Some(pattern)) = (named, pattern) {
                namespaces.retain(|known| {
                    known.repository == named.as_str() && known.pattern == *pattern
                });
            }
            show(common, &namespaces);
            Ok(())
        }
    }
}

/// A ceremony of one repository into its file.
async fn begun(
    common: &Common,
    registry: &Registry,
    change: &NamespaceChange,
    part: Part,
) -> Result<(), Failure> {
    let name = change.ecosystem.as_str().to_owned();
    let mut bundle = Bundle::new(BTreeMap::from([(name, part)]));
    if !common.json {
        describe(&bundle);
    }
    agreed("Is this what people are to sign?", change.yes)?;
    // In development the server itself signs the targets.
    let handed = registry
        .hand_over_tuf(&Actor::operator(), &mut bundle)
        .await?;
    written(common, &change.bundle, &bundle, handed)
}

/// What the owners of a namespace are to sign next.
fn asked(
    common: &Common,
    ecosystem: Ecosystem,
    file: &Path,
    part: Option<Part>,
) -> Result<(), Failure> {
    let Some(part) = part else {
        if common.json {
            report::json(&json!({"bundle": null}));
        } else {
            report::line("Nothing waits: all of it is signed as it is served.");
        }
        return Ok(());
    };
    let bundle = Bundle::new(BTreeMap::from([(ecosystem.as_str().to_owned(), part)]));
    if !common.json {
        describe(&bundle);
    }
    written(common, file, &bundle, 0)
}

fn written(common: &Common, file: &Path, bundle: &Bundle, handed: usize) -> Result<(), Failure> {
    write_file(file, &bundle.to_bytes(), true)?;
    if common.json {
        let complete = bundle.complete();
        report::json(&json!({"bundle": file, "signed_here": handed, "complete": complete}));
        return Ok(());
    }
    let file = file.display();
    report::line(&format!(
        "Wrote {file}. Next: countersignd tuf sign --bundle {file} --key KEY, by each who has one; then countersignd tuf publish --bundle {file}"
    ));
    Ok(())
}

fn show(common: &Common, namespaces: &[TufNamespace]) {
    if common.json {
        report::json(&json!({"namespaces": namespaces}));
        return;
    }
    if namespaces.is_empty() {
        report::line("The server signs every namespace itself.");
        return;
    }
    let mut lines = Vec::new();
    for namespace in namespaces {
        let mut keys: Vec<&str> = namespace.keys.iter().map(|id| short(id)).collect();
        keys.extend(namespace.identities.iter().map(String::as_str));
        lines.push(vec![
            namespace.repository.clone(),
            namespace.pattern.clone(),
            namespace.role.clone(),
            namespace.version.to_string(),
            time(namespace.expires),
            format!("{} of {}", namespace.threshold, namespace.keys.len()),
            keys.join(" "),
            namespace.signed.to_string(),
            namespace.waiting.len().to_string(),
            match (namespace.expires <= instance::now(), namespace.due) {
                (true, _) => "EXPIRED: clients of TUF refuse it until its owners sign",
                (false, true) => "due: its owners sign anew",
                _ => "",
            }
            .to_owned(),
        ]);
    }
    let heads = [
        "repository",
        "namespace",
        "role",
        "version",
        "good until",
        "threshold",
        "keys",
        "signed",
        "waiting",
        "",
    ];
    report::table(&heads, &lines);
    for namespace in namespaces {
        for waiting in &namespace.waiting {
            let since = waiting.since.map(|since| time(since.seconds()));
            let since = since.map_or_else(
                || "is not there any more".to_owned(),
                |since| format!("since {since}"),
            );
            report::line(&format!("waits: {} {since}", waiting.path));
        }
    }
}
