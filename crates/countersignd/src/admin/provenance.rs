//! `admin trust-root`, `admin provenance`, `admin key`.

use countersign_registry::model::{Actor, ProjectProvenance, SourceTuple, TrustRootSummary};
use countersign_registry::{NewException, NewIdentity, NewMove};
use serde_json::json;

use super::trusted::read_text;
use super::{day, open, settled};
use crate::cli::{Common, Key, Provenance, TrustRoot};
use crate::failure::{Exit, Failure};
use crate::report;

/// The longest trusted_root.json that is read, in bytes.
const MAX_ROOT_BYTES: usize = 1024 * 1024;

fn answer(common: &Common, value: serde_json::Value, text: &str) {
    if common.json {
        report::json(&value);
    } else {
        report::line(text);
    }
}

pub(super) async fn trust_root(common: &Common, command: &TrustRoot) -> Result<(), Failure> {
    match command {
        TrustRoot::List(stores) => {
            let registry = open(common, stores).await?;
            roots(common, &registry.trust_roots().await?);
        }
        TrustRoot::Add { name, file, stores } => {
            let text = read_text(file, MAX_ROOT_BYTES, "trust root")?;
            let registry = open(common, stores).await?;
            let made = registry
                .add_trust_root(&Actor::operator(), name, &text)
                .await?;
            settled(&registry).await;
            answer(
                common,
                json!(made),
                &format!(
                    "Attestations of {} are believed now (sha256 {}).",
                    made.name, made.digest
                ),
            );
        }
        TrustRoot::Refresh(stores) => {
            let registry = open(common, stores).await?;
            let list = registry.refresh_trust_roots(&Actor::operator()).await?;
            settled(&registry).await;
            roots(common, &list);
            let failed: Vec<String> = list
                .iter()
                .filter_map(|root| Some(format!("{}: {}", root.name, root.problem.as_ref()?)))
                .collect();
            if !failed.is_empty() {
                return Err(Failure::new(
                    Exit::Environment,
                    "trust-root-stale",
                    format!("Not refreshed: {}", failed.join(" ")),
                )
                .remedy("The documents from before go on being used. Try again later."));
            }
        }
        TrustRoot::Remove { name, stores } => {
            let registry = open(common, stores).await?;
            registry.remove_trust_root(&Actor::operator(), name).await?;
            settled(&registry).await;
            answer(
                common,
                json!({"removed": name}),
                &format!("{name} is no longer believed; what was held against it stays."),
            );
        }
    }
    Ok(())
}

fn roots(common: &Common, list: &[TrustRootSummary]) {
    if common.json {
        report::json(&json!(list));
        return;
    }
    let rows: Vec<_> = list
        .iter()
        .map(|root| {
            vec![
                root.name.clone(),
                root.kind.clone(),
                root.digest.chars().take(16).collect(),
                root.refreshed
                    .map_or_else(|| "inside the program".to_owned(), day),
                root.attestations.to_string(),
                root.problem.clone().unwrap_or_default(),
            ]
        })
        .collect();
    report::table(
        &[
            "NAME",
            "KIND",
            "SHA256",
            "REFRESHED",
            "ATTESTATIONS",
            "PROBLEM",
        ],
        &rows,
    );
}

pub(super) async fn provenance(common: &Common, command: &Provenance) -> Result<(), Failure> {
    let operator = Actor::operator();
    match command {
        Provenance::Show { project, stores } => {
            let registry = open(common, stores).await?;
            let known = registry
                .project_provenance(project.project.0, &project.project.1)
                .await?;
            show(common, &known);
        }
        Provenance::Exception {
            project,
            level,
            hours,
            reason,
            stores,
        } => {
            let registry = open(common, stores).await?;
            let new = NewException {
                level: *level,
                hours: *hours,
                reason: reason.clone(),
            };
            let made = registry
                .open_exception(&operator, project.project.0, &project.project.1, new)
                .await?;
            settled(&registry).await;
            answer(
                common,
                json!(made),
                &format!(
                    "Files of the level {} are taken until {} (id {}).",
                    level.as_str(),
                    made.ends.rfc3339(),
                    made.id
                ),
            );
        }
        Provenance::Move {
            project,
            repository,
            issuer,
            repository_id,
            owner_id,
            hours,
            reason,
            stores,
        } => {
            let registry = open(common, stores).await?;
            let issuer = match issuer {
                Some(issuer) => issuer.clone(),
                None => registry
                    .project_provenance(project.project.0, &project.project.1)
                    .await?
                    .source
                    .map(|source| source.issuer)
                    .ok_or_else(|| {
                        Failure::new(
                            Exit::Usage,
                            "move-without-source",
                            "The project is not remembered for any source, so there is nothing to move from.",
                        )
                        .remedy("Publish; the source of the first workflow is taken as it comes.")
                    })?,
            };
            let new = NewMove {
                to: SourceTuple {
                    issuer,
                    repository: repository.clone(),
                    repository_id: repository_id.clone(),
                    owner_id: owner_id.clone(),
                },
                hours: *hours,
                reason: reason.clone(),
            };
            let made = registry
                .declare_move(&operator, project.project.0, &project.project.1, new)
                .await?;
            settled(&registry).await;
            answer(
                common,
                json!(made),
                &format!(
                    "A publication from {repository} is taken until {}, and is what the project is known for from then on (id {}).",
                    made.ends.rfc3339(),
                    made.id
                ),
            );
        }
        Provenance::Close { id, stores } => {
            let registry = open(common, stores).await?;
            registry.close_change(&operator, id).await?;
            settled(&registry).await;
            answer(common, json!({"closed": id}), "It is closed.");
        }
        Provenance::Policy {
            project,
            trust,
            issuer,
            workflow,
            distrust,
            stores,
        } => {
            let registry = open(common, stores).await?;
            if let (Some(repository), Some(issuer)) = (trust, issuer) {
                let new = NewIdentity {
                    issuer: issuer.clone(),
                    repository: repository.clone(),
                    workflow: workflow.clone(),
                };
                registry
                    .trust_identity(&operator, project.project.0, &project.project.1, new)
                    .await?;
                settled(&registry).await;
            }
            if let Some(id) = distrust {
                registry
                    .distrust_identity(&operator, project.project.0, &project.project.1, id)
                    .await?;
                settled(&registry).await;
            }
            let known = registry
                .project_provenance(project.project.0, &project.project.1)
                .await?;
            if common.json {
                report::json(&json!(known.identities));
                return Ok(());
            }
            let rows: Vec<_> = known
                .identities
                .into_iter()
                .map(|one| {
                    vec![
                        one.id,
                        one.repository,
                        one.workflow.unwrap_or_default(),
                        one.issuer,
                        one.by,
                        day(one.created),
                    ]
                })
                .collect();
            report::table(
                &["ID", "REPOSITORY", "BUILD FILE", "ISSUER", "BY", "SINCE"],
                &rows,
            );
        }
        Provenance::Recheck(stores) => {
            let registry = open(common, stores).await?;
            let sources = registry.recheck_sources().await?;
            let attestations = registry.reverify_attestations().await?;
            let made = registry.attest_unattested().await?;
            answer(
                common,
                json!({"sources": sources, "attestations": attestations, "attested": made}),
                &format!(
                    "Looked at {sources} sources, held {attestations} attestations against today's roots, attested {made} files."
                ),
            );
        }
    }
    Ok(())
}

fn show(common: &Common, known: &ProjectProvenance) {
    if common.json {
        report::json(&json!(known));
        return;
    }
    report::line(&format!("Level: {}", known.level.as_str()));
    if let Some(source) = &known.source {
        report::line(&format!(
            "Source: {} (id {}, owner {}), by {}",
            source.repository,
            source.repository_id.as_deref().unwrap_or("not told"),
            source.owner_id.as_deref().unwrap_or("not told"),
            source.issuer
        ));
    }
    let rows: Vec<_> = known
        .changes
        .iter()
        .map(|change| {
            let what = match (&change.level, &change.to) {
                (_, Some(to)) => to.repository.clone(),
                (Some(level), None) => level.as_str().to_owned(),
                (None, None) => String::new(),
            };
            vec![
                change.id.clone(),
                change.kind.as_str().to_owned(),
                what,
                change.state.to_owned(),
                change.ends.rfc3339(),
                change.uses.to_string(),
                change.by.clone(),
                change.reason.clone(),
            ]
        })
        .collect();
    if !rows.is_empty() {
        report::table(
            &["ID", "KIND", "TO", "STATE", "ENDS", "USES", "BY", "REASON"],
            &rows,
        );
    }
}

pub(super) async fn key(common: &Common, command: &Key) -> Result<(), Failure> {
    let (registry, made) = match command {
        Key::List(stores) => (open(common, stores).await?, None),
        Key::Rotate { which, stores } => {
            let registry = open(common, stores).await?;
            let made = match which.as_str() {
                "npm" => registry.rotate_npm_key(&Actor::operator()).await?,
                _ => registry.rotate_attestation_key(&Actor::operator()).await?,
            };
            settled(&registry).await;
            (registry, Some(made))
        }
    };
    if let (Some(made), false) = (&made, common.json) {
        report::line(&format!("{} signs from now on.", made.hint));
        report::line("Copy the folder of keys to every server, and to where you keep its backup.");
        return Ok(());
    }
    let attestations = registry.attestation_keys().await?.into_iter();
    let npm = registry.npm_keys().await?.into_iter();
    let keys = attestations
        .map(|key| ("attestations", key))
        .chain(npm.map(|key| ("npm", key)));
    if common.json {
        let keys: Vec<_> = keys
            .map(|(signs, key)| {
                let mut shown = json!(key);
                shown["signs"] = json!(signs);
                shown
            })
            .collect();
        report::json(&json!(keys));
        return Ok(());
    }
    let rows: Vec<_> = keys
        .map(|(signs, key)| {
            vec![
                signs.to_owned(),
                key.hint,
                day(key.since),
                key.until.map(day).unwrap_or_else(|| "signs".to_owned()),
            ]
        })
        .collect();
    report::table(&["SIGNS", "KEY", "SINCE", "UNTIL"], &rows);
    Ok(())
}
