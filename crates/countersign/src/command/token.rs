//! `countersign token …`.

use countersign::account::{self, NewToken};
use countersign::{Exit, Failure};
use serde_json::json;

use super::person::Person;
use super::{line, notes};
use crate::cli::{self, Common, Token};

/// Lists, makes and revokes tokens.
pub fn run(common: &Common, what: &Token) -> Result<(), Failure> {
    let person = Person::of(common)?;
    person.announce();
    match what {
        Token::List => {
            let answer =
                account::tokens(&person.remote).map_err(|failure| person.explained(failure))?;
            if common.json {
                line(&answer.to_string());
            } else {
                account::describe_tokens(&answer)?
                    .iter()
                    .for_each(|text| line(text));
            }
        }
        Token::Create(options) => {
            let new = new(options);
            let answer = person.approved(|asking| account::create(&person.remote, &new, asking))?;
            if common.json {
                line(&answer.to_string());
                return Ok(());
            }
            let token = answer["token"].as_str().ok_or_else(|| {
                Failure::new(
                    Exit::Unreachable,
                    "answer-malformed",
                    "The registry's answer holds no token.",
                )
            })?;
            let say = notes(common);
            account::describe_token(&answer)?
                .iter()
                .for_each(|text| say(text));
            say("Keep it now; it is never shown again:");
            line(token);
        }
        Token::Revoke { which } => {
            account::revoke(&person.remote, which).map_err(|failure| person.explained(failure))?;
            line(&if common.json {
                json!({"revoked": which}).to_string()
            } else {
                format!("Revoked {which}, with effect at once.")
            });
        }
    }
    Ok(())
}

fn new(options: &cli::NewToken) -> NewToken {
    let ecosystem = [&options.project, &options.namespace]
        .into_iter()
        .flatten()
        .map(|name| name.ecosystem)
        .next()
        .or(options.ecosystem);
    NewToken {
        action: options.action.as_str(),
        label: options.label.clone(),
        ecosystem: ecosystem.map(|ecosystem| ecosystem.to_string()),
        project: options.project.as_ref().map(|project| project.name.clone()),
        namespace: options.namespace.as_ref().map(|name| name.name.clone()),
        networks: options.networks.clone(),
        days: options.days,
    }
}
