//! `admin issuer`, `admin publisher`, and what a project asks of its publishers.

use std::fs::File;
use std::io::Read;
use std::path::Path;

use countersign_formats::Ecosystem;
use countersign_registry::model::Actor;
use countersign_registry::oidc::{MAX_TOKEN_BYTES, Provider};
use countersign_registry::{
    NewIssuer, NewPublisher, PolicyChange, ProjectPolicy, PublisherSummary, TokenTest,
};
use serde_json::json;

use super::{day, done, open, settled};
use crate::cli::{Common, Issuer, NewPublisherFlags, ProjectName, Publisher, Stores};
use crate::failure::{Exit, Failure, told};
use crate::report;

/// The longest file of certificate authorities that is read, in bytes.
const MAX_CA_BYTES: usize = 256 * 1024;

pub(super) async fn issuer(common: &Common, command: &Issuer) -> Result<(), Failure> {
    match command {
        Issuer::Add {
            name,
            url,
            preset,
            ca,
            stores,
        } => {
            let ca_pem = ca
                .as_deref()
                .map(|path| read_text(path, MAX_CA_BYTES, "certificate authority"))
                .transpose()?;
            let registry = open(common, stores).await?;
            let wish = NewIssuer {
                name: name.clone(),
                url: url.clone(),
                provider: *preset,
                ca_pem,
            };
            let made = registry.add_issuer(&Actor::operator(), wish).await?;
            settled(&registry).await;
            if common.json {
                report::json(&json!(made));
                return Ok(());
            }
            report::line(&format!(
                "Tokens of {} are taken now, with the claims of {}.",
                made.url,
                made.provider.title()
            ));
            report::line(&format!(
                "Let a workflow publish: countersignd admin publisher add PROJECT --issuer {} …   ({})",
                made.name,
                required_fields(made.provider)
            ));
        }
        Issuer::List(stores) => {
            let registry = open(common, stores).await?;
            let issuers = registry.issuers(&Actor::operator()).await?;
            if common.json {
                report::json(&json!(issuers));
                return Ok(());
            }
            let rows: Vec<_> = issuers
                .iter()
                .map(|issuer| {
                    vec![
                        issuer.name.clone(),
                        issuer.provider.as_str().to_owned(),
                        if issuer.private_ca {
                            "private"
                        } else {
                            "public"
                        }
                        .to_owned(),
                        match issuer.created {
                            _ if issuer.builtin => "built in".to_owned(),
                            Some(created) => day(created),
                            None => String::new(),
                        },
                        issuer.url.clone(),
                    ]
                })
                .collect();
            report::table(&["NAME", "PROVIDER", "CA", "SINCE", "URL"], &rows);
        }
        Issuer::Remove { name, stores } => {
            let registry = open(common, stores).await?;
            registry.remove_issuer(&Actor::operator(), name).await?;
            settled(&registry).await;
            done(
                common,
                format!("No more tokens of {name} are taken, and its publishers can not publish."),
            );
        }
    }
    Ok(())
}

pub(super) async fn publisher(common: &Common, command: &Publisher) -> Result<(), Failure> {
    let actor = Actor::operator();
    match command {
        Publisher::Add(flags) => add(common, flags).await?,
        Publisher::List { project, stores } => {
            let registry = open(common, stores).await?;
            let publishers = match project {
                Some((ecosystem, name)) => registry.publishers(&actor, *ecosystem, name).await?,
                None => registry.pending_publishers(&actor).await?,
            };
            if common.json {
                report::json(&json!(publishers));
                return Ok(());
            }
            let rows: Vec<_> = publishers.iter().map(publisher_row).collect();
            report::table(
                &["ID", "PROJECT", "STATE", "LAST USED", "ISSUER", "PUBLISHER"],
                &rows,
            );
        }
        Publisher::Fields { provider } => fields(common, *provider),
        Publisher::Check { publisher, stores } => {
            let ((ecosystem, name), registry) =
                (&publisher.project.project, open(common, stores).await?);
            let check = registry
                .check_publisher(&actor, *ecosystem, name, &publisher.id)
                .await?;
            settled(&registry).await;
            if common.json {
                report::json(&json!(check));
            } else {
                show(&check.publisher);
                let mark = if check.ok { "✓" } else { "✗" };
                for finding in &check.findings {
                    report::line(&format!("{mark} {finding}"));
                }
            }
            if !check.ok {
                return Err(Failure::new(
                    Exit::Refused,
                    "publisher-check",
                    format!(
                        "The publisher {} can not publish as it stands.",
                        publisher.id
                    ),
                )
                .remedy("Mend what is found above, or remove it and add it anew."));
            }
        }
        Publisher::Test {
            project,
            token_file,
            stores,
        } => {
            // One byte more than a token may have, so that the registry can say that it is too long.
            let token = read_text(token_file, MAX_TOKEN_BYTES + 64, "token")?;
            let ((ecosystem, name), registry) = (&project.project, open(common, stores).await?);
            let test = registry
                .test_token(&actor, *ecosystem, name, token.trim())
                .await?;
            if common.json {
                report::json(&json!(test));
            } else {
                show_test(&test);
            }
            if test.verdict != "would-publish" {
                return Err(refusal(&test, name));
            }
        }
        Publisher::Remove { publisher, stores } => {
            let ((ecosystem, name), registry) =
                (&publisher.project.project, open(common, stores).await?);
            registry
                .remove_publisher(&actor, *ecosystem, name, &publisher.id)
                .await?;
            settled(&registry).await;
            done(
                common,
                format!(
                    "Removed the publisher {} of {name}; tokens that were minted for it are of no use any more.",
                    publisher.id
                ),
            );
        }
        Publisher::Failures { project, stores } => {
            let ((ecosystem, name), registry) = (&project.project, open(common, stores).await?);
            let failures = registry.failed_exchanges(&actor, *ecosystem, name).await?;
            if common.json {
                report::json(&json!(failures));
                return Ok(());
            }
            if failures.is_empty() {
                report::line(&format!("No exchange for {name} was refused."));
            }
            for failure in &failures {
                let times = if failure.times > 1 {
                    format!(", {} times", failure.times)
                } else {
                    String::new()
                };
                report::line(&format!(
                    "{}  {}{times}  {}",
                    failure.at.rfc3339(),
                    failure.code,
                    failure.issuer
                ));
                report::line(&format!("  {}", failure.message));
                for difference in &failure.differences {
                    report::line(&indented(&told(difference)));
                }
            }
        }
    }
    Ok(())
}

async fn add(common: &Common, flags: &NewPublisherFlags) -> Result<(), Failure> {
    let (ecosystem, name) = &flags.project.project;
    let fields = flags.fields().map_err(|field| {
        Failure::usage(
            "field-twice",
            format!("The field {field:?} is given twice."),
        )
        .remedy("Give it once, by its own flag or by --field.")
    })?;
    let registry = open(common, &flags.stores).await?;
    let wish = NewPublisher {
        ecosystem: *ecosystem,
        project: name.clone(),
        issuer: flags.issuer.clone(),
        fields,
        claims: flags.claims.clone(),
        pending_for: flags.pending_for.clone(),
        pending: flags.pending_for.is_some(),
    };
    let made = registry.add_publisher(&Actor::operator(), wish).await?;
    settled(&registry).await;
    if common.json {
        report::json(&json!(made));
        return Ok(());
    }
    report::line(&format!(
        "Added the publisher {} of {}.",
        made.id, made.project
    ));
    show(&made);
    if made.pending.is_none() {
        report::line(&format!(
            "Try it with a token of that workflow: countersignd admin publisher test {}:{} --token-file FILE",
            ecosystem, made.project
        ));
    }
    Ok(())
}

/// A publisher on a few lines.
fn show(publisher: &PublisherSummary) {
    let line = |name: &str, value: &str| report::line(&format!("  {name:<10} {value}"));
    line("publisher", &publisher.label);
    line(
        "issuer",
        &format!("{} ({})", publisher.issuer, publisher.provider.title()),
    );
    if let Some(until) = publisher.pending {
        line(
            "pending",
            &format!(
                "until {}; the first release makes the project, and nothing is reserved until then",
                day(until)
            ),
        );
    }
    for (claim, value) in &publisher.pinned {
        line("pinned", &format!("{claim} {value}"));
    }
    for warning in &publisher.warnings {
        line("warning", warning);
    }
}

fn publisher_row(publisher: &PublisherSummary) -> Vec<String> {
    let state = match publisher.pending {
        Some(_) if publisher.lost => "lost: the name is taken".to_owned(),
        Some(until) => format!("pending until {}", day(until)),
        None => "good".to_owned(),
    };
    vec![
        publisher.id.clone(),
        format!("{}:{}", publisher.ecosystem, publisher.project),
        state,
        publisher.last_used.map_or_else(|| "never".to_owned(), day),
        publisher.issuer.clone(),
        publisher.label.clone(),
    ]
}

fn show_test(test: &TokenTest) {
    if test.publishers.is_empty() && test.refusal.is_none() {
        report::line("The project has no publisher.");
    }
    for publisher in &test.publishers {
        let mark = if publisher.matched { "✓" } else { "✗" };
        report::line(&format!("{mark} {} ({})", publisher.label, publisher.id));
        for rule in &publisher.rules {
            report::line(&indented(&told(rule)));
        }
    }
    if test.verdict == "would-publish" {
        report::line("The token would be let in. It was not used up.");
    }
}

/// Why a tested token would be refused, as the exit of the command.
fn refusal(test: &TokenTest, project: &str) -> Failure {
    match &test.refusal {
        Some(refusal) => {
            let mut failure = Failure::new(Exit::Refused, &refusal.code, refusal.message.clone());
            failure.remedy.clone_from(&refusal.remedy);
            // Where publishers were judged, each claim was told with its rule.
            if test.publishers.is_empty() {
                failure.differences.clone_from(&refusal.differences);
            }
            failure
        }
        None => Failure::new(
            Exit::Refused,
            "publisher-mismatch",
            format!("No publisher of {project} fits this token."),
        )
        .remedy("Change the workflow, or the publisher, where a rule above does not hold."),
    }
}

fn fields(common: &Common, provider: Option<Provider>) {
    let wanted: Vec<Provider> = Provider::ALL
        .into_iter()
        .filter(|known| provider.is_none_or(|wanted| wanted == *known))
        .collect();
    if common.json {
        let all: Vec<_> = wanted
            .iter()
            .map(|provider| {
                json!({
                    "provider": provider, "title": provider.title(), "issuer": provider.issuer(),
                    "fields": provider.fields(),
                })
            })
            .collect();
        report::json(&json!(all));
        return;
    }
    for provider in wanted {
        let issuer = provider
            .issuer()
            .map_or_else(String::new, |url| format!(", {url}"));
        report::line(&format!("{provider}: {}{issuer}", provider.title()));
        for field in provider.fields() {
            let mark = if field.required { '*' } else { ' ' };
            report::line(&format!(
                "  {mark} {:<22}  {} E.g. {}",
                field.name, field.help, field.example
            ));
        }
        if provider.fields().iter().all(|field| !field.required) {
            report::line("    Say with --claim what its tokens must carry.");
        }
    }
    report::line(
        "* can not be left out. Give each with --field NAME=VALUE, or with a flag of its own.",
    );
}

/// The flags that a publisher at this provider can not do without.
fn required_fields(provider: Provider) -> String {
    let names: Vec<_> = provider
        .fields()
        .iter()
        .filter(|field| field.required)
        .map(|field| format!("--field {}=…", field.name))
        .collect();
    if names.is_empty() {
        "with --claim NAME=VALUE".to_owned()
    } else {
        format!("with {}", names.join(" "))
    }
}

/// Reads a small text file, or standard input for `-`.
pub(super) fn read_text(path: &Path, most: usize, what: &str) -> Result<String, Failure> {
    let place = if path == Path::new("-") {
        "standard input".to_owned()
    } else {
        path.display().to_string()
    };
    let wrong = |why: String| {
        Failure::usage(
            "file-unreadable",
            format!("The {what} in {place} can not be read: {why}."),
        )
    };
    let mut bytes = Vec::new();
    let limit = most as u64 + 1;
    let read = if path == Path::new("-") {
        std::io::stdin().lock().take(limit).read_to_end(&mut bytes)
    } else {
        File::open(path).and_then(|file| file.take(limit).read_to_end(&mut bytes))
    };
    read.map_err(|error| wrong(error.to_string()))?;
    if bytes.len() > most {
        return Err(wrong(format!("it has more than {most} bytes"))
            .remedy("Give the file that holds it and nothing else."));
    }
    String::from_utf8(bytes).map_err(|_| wrong("it is not text".to_owned()))
}

/// What the project asks, after the change that the flags ask for.
pub(super) async fn policy(
    common: &Common,
    project: &ProjectName,
    change: PolicyChange,
    stores: &Stores,
) -> Result<(), Failure> {
    let ((ecosystem, name), actor) = (&project.project, Actor::operator());
    let registry = open(common, stores).await?;
    let changes = change.trusted_only.is_some()
        || change.environment.is_some()
        || change.minimum_trust.is_some();
    let policy = if changes {
        let policy = registry
            .set_project_policy(&actor, *ecosystem, name, change)
            .await?;
        settled(&registry).await;
        policy
    } else {
        registry.project_policy(&actor, *ecosystem, name).await?
    };
    if common.json {
        report::json(&json!(policy));
    } else {
        show_policy(*ecosystem, name, &policy);
    }
    Ok(())
}

fn show_policy(ecosystem: Ecosystem, name: &str, policy: &ProjectPolicy) {
    report::line(&format!("{ecosystem}:{name}"));
    let line = |name: &str, value: &str| report::line(&format!("  {name:<14} {value}"));
    line(
        "API tokens",
        if policy.trusted_only {
            "refused: only trusted publishers publish"
        } else {
            "may publish"
        },
    );
    line(
        "environment",
        policy.environment.as_deref().unwrap_or("none is asked for"),
    );
    line("minimum trust", policy.minimum_trust.as_str());
    if let Some(changed) = policy.changed {
        line("changed", &changed.rfc3339());
    }
}

pub(super) async fn notices(
    common: &Common,
    project: &ProjectName,
    dismiss: Option<&str>,
    stores: &Stores,
) -> Result<(), Failure> {
    let ((ecosystem, name), actor) = (&project.project, Actor::operator());
    let registry = open(common, stores).await?;
    if let Some(id) = dismiss {
        registry
            .dismiss_notice(&actor, *ecosystem, name, id)
            .await?;
        settled(&registry).await;
        done(common, format!("Put the notice {id} away."));
        return Ok(());
    }
    let notices = registry.notices(&actor, *ecosystem, name).await?;
    if common.json {
        report::json(&json!(notices));
        return Ok(());
    }
    if notices.is_empty() {
        report::line(&format!("There is nothing to say about {name}."));
    }
    for notice in &notices {
        report::line(&format!(
            "{}  {}  {}",
            notice.id,
            notice.at.rfc3339(),
            notice.kind
        ));
        report::line(&format!("  {}\n  {}", notice.text, notice.advice));
    }
    Ok(())
}

fn indented(text: &str) -> String {
    format!("  {}", text.replace('\n', "\n  "))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_that_is_missing_too_long_or_not_text_is_named() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("t");
        let fault = || read_text(&path, 4, "token").unwrap_err().to_string();
        assert!(fault().contains(&path.display().to_string()));
        std::fs::write(&path, "12345").unwrap();
        assert!(fault().contains("more than 4 bytes"));
        std::fs::write(&path, b"\xff").unwrap();
        assert!(fault().contains("not text"));
        std::fs::write(&path, "1234").unwrap();
        assert_eq!(read_text(&path, 4, "token").unwrap(), "1234");
    }
}
