//! Do crates here name this registry's index by an address that it has no more?

use std::collections::{BTreeMap, BTreeSet};

use countersign_formats::cargo::{OwnIndex, Source};
use countersign_formats::{Ecosystem, Manifest};

use super::{Diagnosis, Patient, Severity, some};
use crate::error::Result;

/// How a registry of this software names its index, whatever its host.
const INDEX: &str = "/cargo/index";

/// An index by which crates here name a registry that may have been this one.
#[derive(Default)]
struct Named {
    /// Keys of crates that are wanted from it.
    wanted: BTreeSet<String>,
    /// Crates that want them.
    by: BTreeSet<String>,
}

/// The addresses that a crate's dependencies name and that are not ours, but look like ours, each with the name's key.
fn foreign<'m>(
    manifest: &'m Manifest,
    own: &'m OwnIndex,
) -> impl Iterator<Item = (&'m str, String)> {
    let dependencies = manifest
        .details
        .cargo()
        .map(|details| &details.dependencies);
    dependencies
        .into_iter()
        .flatten()
        .filter_map(|dependency| match &dependency.source {
            Source::Index(url)
                if url.starts_with("sparse+")
                    && url.trim_end_matches('/').ends_with(INDEX)
                    && !own.is(&dependency.source) =>
            {
                let rules = countersign_formats::format(Ecosystem::Cargo);
                let key = rules.name_key(&dependency.package).ok()?;
                Some((url.as_str(), key.to_string()))
            }
            _ => None,
        })
}

pub(super) async fn other_addresses(patient: &Patient<'_>) -> Result<Diagnosis> {
    const ID: &str = "crate-sources";
    let own = patient.settings.own_index()?;
    let mut found: BTreeMap<String, Named> = BTreeMap::new();
    let mut after = String::new();
    loop {
        let page = patient.store.crates_naming(INDEX, &after, 500).await?;
        let Some((last, ..)) = page.last() else { break };
        after.clone_from(last);
        for (_, manifest) in &page {
            for (url, key) in foreign(manifest, &own) {
                let named = found.entry(url.to_owned()).or_default();
                named.wanted.insert(key);
                named.by.insert(manifest.name.clone());
            }
        }
    }
    // Another registry of this kind has crates of its own; what was this one has those that are here.
    let mut before = Vec::new();
    for (url, named) in found {
        let mut here = 0;
        for key in &named.wanted {
            let project = patient.store.visible_project(Ecosystem::Cargo, key).await?;
            here += usize::from(project.is_some());
        }
        if here > 0 {
            let by: Vec<String> = named.by.into_iter().collect();
            before.push(format!(
                "{url}, by {}, for {here} of {} crates that are here",
                some(&by),
                named.wanted.len()
            ));
        }
    }
    Ok(if before.is_empty() {
        Diagnosis::good(
            ID,
            "no crate wants others from an address that this index may have had",
        )
    } else {
        Diagnosis::bad(
            ID,
            Severity::Warning,
            format!(
                "Crates here depend on crates of an index that looks as if it had been this one's: {}.",
                before.join("; ")
            ),
            "Cargo asks that address for them. If this registry was called so before, it finds nothing, or what whoever has that name now puts there.",
            "If that was this registry, add the address to `cargo.stands_in_for` in the configuration; its crates then count as this registry's. If it is another one, nothing needs to be done.",
        )
    })
}
