//! `countersign publisher …`.

use countersign::publisher::{self, NewPublisher, PolicyChange};
use countersign::remote::Remote;
use countersign::{Exit, Failure};
use countersign_trust::oidc::Provider;
use serde_json::{Value, json};

use super::line;
use super::person::Person;
use crate::cli::{AddPublisher, Common, Publisher, Switch};

/// Reads or changes who may publish.
pub fn run(common: &Common, what: &Publisher) -> Result<(), Failure> {
    if let Publisher::Fields { provider } = what {
        fields(common, *provider);
        return Ok(());
    }
    let person = Person::of(common)?;
    person.announce();
    done(common, &person.remote, what).map_err(|failure| person.explained(failure))
}

fn done(common: &Common, remote: &Remote, what: &Publisher) -> Result<(), Failure> {
    let show = |answer: Value, describe: fn(&Value) -> Result<Vec<String>, Failure>| {
        if common.json {
            line(&answer.to_string());
        } else {
            describe(&answer)?.iter().for_each(|text| line(text));
        }
        Ok(())
    };
    let gone = |key: &str, id: &str, text: String| {
        line(&if common.json {
            json!({key: id}).to_string()
        } else {
            text
        });
        Ok(())
    };
    match what {
        Publisher::Fields { .. } => Ok(()),
        Publisher::List {
            project: Some(project),
        } => show(publisher::list(remote, project)?, publisher::describe_list),
        Publisher::List { project: None } => {
            show(publisher::pending(remote)?, publisher::describe_list)
        }
        Publisher::Add(options) => show(
            publisher::add(remote, &options.project, &new(options)?)?,
            publisher::describe,
        ),
        Publisher::Remove { project, id } => {
            publisher::remove(remote, project, id)?;
            gone(
                "removed",
                id,
                format!("Removed from {project}. Tokens that were minted for it stopped."),
            )
        }
        Publisher::Check { project, id } => {
            let answer = publisher::check(remote, project, id)?;
            let (ok, lines) = publisher::describe_check(&answer)?;
            if common.json {
                line(&answer.to_string());
            } else {
                lines.iter().for_each(|text| line(text));
            }
            if ok {
                return Ok(());
            }
            Err(Failure::new(
                Exit::Refused,
                "publisher-check-failed",
                format!("The publisher {id} is not as it was registered."),
            )
            .remedy("Where the account or the repository is still yours, remove it and register it again."))
        }
        Publisher::Test {
            project,
            token_file,
        } => {
            let answer = publisher::test(remote, project, token_file)?;
            let (lines, refused) = publisher::describe_test(&answer)?;
            if common.json {
                line(&answer.to_string());
            } else {
                lines.iter().for_each(|text| line(text));
            }
            refused.map_or(Ok(()), Err)
        }
        Publisher::Failures { project } => show(
            publisher::failures(remote, project)?,
            publisher::describe_failures,
        ),
        Publisher::Policy {
            project,
            trusted_only,
            environment,
            minimum_trust,
        } => {
            let change = PolicyChange {
                trusted_only: trusted_only.map(|switch| switch == Switch::On),
                environment: environment
                    .as_ref()
                    .map(|name| Some(name.clone()).filter(|name| name != "none")),
                minimum_trust: minimum_trust.clone(),
            };
            show(
                publisher::policy(remote, project, &change)?,
                publisher::describe_policy,
            )
        }
        Publisher::Notices {
            project,
            dismiss: None,
        } => show(
            publisher::notices(remote, project)?,
            publisher::describe_notices,
        ),
        Publisher::Notices {
            project,
            dismiss: Some(id),
        } => {
            publisher::dismiss(remote, project, id)?;
            gone("dismissed", id, format!("Dismissed from {project}."))
        }
    }
}

fn new(options: &AddPublisher) -> Result<NewPublisher, Failure> {
    let fields = options.fields().map_err(|name| {
        Failure::new(
            Exit::Usage,
            "field-twice",
            format!("The field {name} is given twice."),
        )
        .remedy("Give it once, by its own option or by --field.")
    })?;
    Ok(NewPublisher {
        issuer: options.issuer.clone(),
        fields,
        claims: options.claims.clone(),
        pending: options.pending,
    })
}

fn fields(common: &Common, only: Option<Provider>) {
    let providers = Provider::ALL
        .iter()
        .copied()
        .filter(|provider| only.is_none_or(|only| only == *provider));
    if common.json {
        let all: Vec<_> = providers
            .map(|provider| {
                json!({
                    "provider": provider, "title": provider.title(),
                    "issuer": provider.issuer(), "fields": provider.fields(),
                })
            })
            .collect();
        line(&json!({"providers": all}).to_string());
        return;
    }
    for provider in providers {
        line(&format!(
            "{} (--issuer {})",
            provider.title(),
            provider.as_str()
        ));
        for field in provider.fields() {
            let need = if field.required { "" } else { ", optional" };
            line(&format!("    {}{need}: {}", field.name, field.help));
            line(&format!("        such as {}", field.example));
        }
    }
}
