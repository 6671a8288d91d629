//! `log service …`: logs that are kept for registries elsewhere.

use std::time::Duration;

use countersign_registry::NewLogService;
use countersign_registry::model::Actor;
use serde_json::json;

use crate::cli::{Common, LogService, Logs};
use crate::failure::Failure;
use crate::{admin, report};

pub async fn run(common: &Common, command: &Logs) -> Result<(), Failure> {
    let Logs::Service(command) = command;
    let actor = Actor::operator();
    match command {
        LogService::Create {
            name,
            interval_ms,
            identifiers,
            policy,
            unwitnessed,
            stores,
        } => {
            let policy = match (policy, unwitnessed) {
                (Some(file), _) => Some(std::fs::read_to_string(file).map_err(|error| {
                    let why = format!("{} can not be read: {error}.", file.display());
                    Failure::environment("file-unreadable", why)
                })?),
                (None, true) => Some(String::new()),
                (None, false) => None,
            };
            let registry = admin::open(common, stores).await?;
            let new = NewLogService {
                name: name.clone(),
                interval: Duration::from_millis(*interval_ms),
                identifiers: *identifiers,
                policy,
            };
            let made = registry.create_log_service(&actor, &new).await?;
            if common.json {
                report::json(&json!(made));
                return Ok(());
            }
            for key in &made.verifier_keys {
                report::line(key);
            }
            Ok(())
        }
        LogService::Token {
            name,
            label,
            stores,
        } => {
            let registry = admin::open(common, stores).await?;
            let token = registry
                .create_log_service_token(&actor, name, label)
                .await?;
            if common.json {
                report::json(&json!({"service": name, "token": token}));
            } else {
                report::line(&token);
            }
            Ok(())
        }
        LogService::Close { name, stores } => {
            let registry = admin::open(common, stores).await?;
            registry.close_log_service(&actor, name).await?;
            if common.json {
                report::json(&json!({"service": name, "closed": true}));
            } else {
                report::line(&format!("The log of {name} is closed. It stays readable."));
            }
            Ok(())
        }
        LogService::List(stores) => {
            let registry = admin::open(common, stores).await?;
            let list = registry.log_services().await?;
            if common.json {
                report::json(&json!({ "services": list }));
                return Ok(());
            }
            let rows: Vec<Vec<String>> = list
                .into_iter()
                .map(|log| {
                    let state = match (&log.frozen, log.problem) {
                        (Some(_), _) => "closed".to_owned(),
                        (None, Some(problem)) => problem,
                        (None, None) => "open".to_owned(),
                    };
                    vec![log.name, log.size.to_string(), log.origin, state]
                })
                .collect();
            report::table(&["service", "entries", "origin", "state"], &rows);
            Ok(())
        }
    }
}
