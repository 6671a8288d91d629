//! `advisories …`: what is known to be bad about packages.

use countersign_formats::Ecosystem;
use countersign_registry::model::Actor;
use countersign_registry::{AdvisoryFeed, NewAdvisory, NewExemption};
use serde_json::json;

use crate::admin::{day, open};
use crate::cli::{Advisories, Common, ExemptFromAdvisory, ImportAdvisories, IssueAdvisory};
use crate::failure::Failure;
use crate::report;

/// Carries out one command.
///
/// # Errors
/// What the registry refuses (exit 4), and instances that are not there.
pub async fn run(common: &Common, command: &Advisories) -> Result<(), Failure> {
    match command {
        Advisories::Import(options) => import(common, options).await,
        Advisories::Issue(options) => issue(common, options).await,
        Advisories::Feeds { stores } => {
            let feeds = open(common, stores).await?.advisory_feeds().await?;
            if common.json {
                report::json(&json!({"feeds": feeds.iter().map(|feed| json!({
                    "name": feed.name, "records": feed.records, "withdrawn": feed.withdrawn,
                    "refused": feed.refused, "imported": feed.imported.rfc3339(),
                })).collect::<Vec<_>>()}));
                return Ok(());
            }
            let rows: Vec<Vec<String>> = feeds
                .iter()
                .map(|feed| {
                    vec![
                        feed.name.clone(),
                        feed.records.to_string(),
                        feed.imported.rfc3339(),
                    ]
                })
                .collect();
            report::table(&["FEED", "RECORDS", "IMPORTED"], &rows);
            Ok(())
        }
        Advisories::Affected { stores } => {
            let registry = open(common, stores).await?;
            let (mut found, as_json) = (0_u64, common.json);
            registry
                .affected_releases(&mut |release| {
                    found += 1;
                    let (project, version) = (&release.project, &release.version);
                    let (ecosystem, severity) = (release.ecosystem, release.severity.as_str());
                    if as_json {
                        report::json(&json!({
                            "ecosystem": ecosystem.as_str(), "project": project, "version": version,
                            "advisory": release.advisory, "severity": severity,
                        }));
                    } else {
                        report::line(&format!(
                            "{ecosystem}:{project} {version}  {}  {severity}",
                            release.advisory
                        ));
                    }
                })
                .await?;
            if !as_json {
                report::line(&format!("{found} found"));
            }
            Ok(())
        }
        Advisories::Exempt(options) => exempt(common, options).await,
        Advisories::EndExemption { id, stores } => {
            let registry = open(common, stores).await?;
            registry.end_exemption(&Actor::operator(), id).await?;
            if common.json {
                report::json(&json!({"id": id, "ended": true}));
            } else {
                report::line("It holds no longer");
            }
            Ok(())
        }
        Advisories::Exemptions { stores } => {
            let registry = open(common, stores).await?;
            let found = registry.advisory_exemptions(&Actor::operator()).await?;
            if common.json {
                report::json(&json!({"exemptions": found.iter().map(|one| json!({
                    "id": one.id, "ecosystem": one.ecosystem.as_str(), "project": one.project, "version": one.version,
                    "advisory": one.advisory, "reason": one.reason, "made": one.made.rfc3339(),
                    "until": one.until.map(|until| until.rfc3339()),
                })).collect::<Vec<_>>()}));
                return Ok(());
            }
            if found.is_empty() {
                report::line("Nothing is served in spite of an advisory.");
                return Ok(());
            }
            let rows: Vec<Vec<String>> = found
                .iter()
                .map(|one| {
                    let version = one.version.as_deref().unwrap_or("all");
                    vec![
                        one.id.clone(),
                        format!("{}:{} {version}", one.ecosystem, one.project),
                        one.advisory.clone(),
                        one.until.map_or_else(|| "ended".to_owned(), day),
                        one.reason.clone(),
                    ]
                })
                .collect();
            report::table(&["ID", "WHAT", "ADVISORY", "UNTIL", "WHY"], &rows);
            Ok(())
        }
        Advisories::Warn { id, apply, stores } => {
            let registry = open(common, stores).await?;
            let warning = registry
                .warn_downloaders(&Actor::operator(), id, *apply)
                .await?;
            if common.json {
                report::json(&json!({
                    "advisory": id, "releases": warning.releases, "accounts": warning.accounts,
                    "told_before": warning.before, "told": *apply,
                }));
                return Ok(());
            }
            let (accounts, releases) = (warning.accounts.len(), warning.releases.len());
            let told = if *apply { "told" } else { "to be told" };
            report::line(&format!(
                "{accounts} accounts that downloaded any of {releases} releases {told}; {} were told before",
                warning.before
            ));
            for name in &warning.accounts {
                report::line(&format!("  {name}"));
            }
            if !*apply && accounts > 0 {
                report::line("Nobody was told: add --apply");
            }
            Ok(())
        }
        Advisories::Withdraw { id, stores } => {
            let registry = open(common, stores).await?;
            registry.withdraw_advisory(&Actor::operator(), id).await?;
            if common.json {
                report::json(&json!({"id": id, "withdrawn": true}));
            } else {
                report::line(&format!("{id} is withdrawn"));
            }
            Ok(())
        }
    }
}

async fn import(common: &Common, options: &ImportAdvisories) -> Result<(), Failure> {
    let registry = open(common, &options.stores).await?;
    let feed = AdvisoryFeed {
        name: options.feed.clone(),
        path: options.path.clone(),
        accept_shrinkage: options.accept_shrinkage,
    };
    let bar = report::bar("advisories", common.json);
    let outcome = registry
        .import_advisories(&Actor::operator(), &feed, &mut |done, all| {
            report::advance(&bar, done, all);
        })
        .await;
    bar.finish_and_clear();
    let done = outcome?;
    if common.json {
        report::json(&json!({
            "feed": feed.name, "records": done.records, "withdrawn": done.withdrawn, "elsewhere": done.elsewhere,
            "written": done.written, "gone": done.gone, "refused": done.refused,
            "reasons": done.reasons.iter().map(|(place, why)| json!({"record": place, "why": why})).collect::<Vec<_>>(),
        }));
        return Ok(());
    }
    report::line(&format!(
        "{} advisories about packages of the ecosystems here, {} of them withdrawn; {} new or changed, {} gone",
        done.records, done.withdrawn, done.written, done.gone
    ));
    if done.elsewhere > 0 {
        report::line(&format!("{} are about other ecosystems", done.elsewhere));
    }
    if done.refused > 0 {
        report::line(&format!("{} could not be used:", done.refused));
        for (place, why) in &done.reasons {
            report::line(&format!("  {place}: {why}"));
        }
    }
    Ok(())
}

/// Takes ECOSYSTEM:PROJECT apart.
fn named(project: &str) -> Result<(Ecosystem, &str), Failure> {
    let Some((ecosystem, name)) = project.split_once(':') else {
        return Err(Failure::usage(
            "project-malformed",
            format!("{project:?} is no ECOSYSTEM:PROJECT."),
        )
        .remedy("Write it like pypi:demo."));
    };
    let ecosystem: Ecosystem =
        ecosystem
            .parse()
            .map_err(|rejection: countersign_formats::Rejection| {
                Failure::usage("ecosystem-unknown", rejection.message)
            })?;
    Ok((ecosystem, name))
}

async fn exempt(common: &Common, options: &ExemptFromAdvisory) -> Result<(), Failure> {
    let (ecosystem, name) = named(&options.project)?;
    let registry = open(common, &options.stores).await?;
    let until = options.expires.as_ref().map(|span| {
        let seconds = i64::try_from(span.0.as_secs()).unwrap_or(i64::MAX >> 24);
        registry.now().plus_seconds(seconds)
    });
    let new = NewExemption {
        ecosystem,
        project: name.to_owned(),
        version: options.version.clone(),
        advisory: options.advisory.clone(),
        reason: options.reason.clone(),
        until,
    };
    let id = registry
        .exempt_from_advisory(&Actor::operator(), &new)
        .await?;
    if common.json {
        report::json(&json!({"id": id}));
    } else {
        report::line(&id);
    }
    Ok(())
}

async fn issue(common: &Common, options: &IssueAdvisory) -> Result<(), Failure> {
    let (ecosystem, name) = named(&options.project)?;
    let registry = open(common, &options.stores).await?;
    let new = NewAdvisory {
        ecosystem,
        project: name.to_owned(),
        versions: options.versions.clone(),
        summary: options.summary.clone(),
        details: options.details.clone(),
        malware: options.malware,
    };
    let id = registry.issue_advisory(&Actor::operator(), &new).await?;
    if common.json {
        report::json(&json!({"id": id}));
    } else {
        report::line(&id);
    }
    Ok(())
}
