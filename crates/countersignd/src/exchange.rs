//! `exchange …`: identity tokens that are judged for registries elsewhere.

use countersign_registry::NewServicePublisher;
use countersign_registry::model::Actor;
use serde_json::json;

use crate::cli::{Common, Exchange, ServicePublisher};
use crate::failure::Failure;
use crate::{admin, report};

pub async fn run(common: &Common, command: &Exchange) -> Result<(), Failure> {
    let actor = Actor::operator();
    match command {
        Exchange::Token {
            service,
            label,
            stores,
        } => {
            let registry = admin::open(common, stores).await?;
            let token = registry
                .create_exchange_service_token(&actor, service, label)
                .await?;
            if common.json {
                report::json(&json!({"service": service, "token": token}));
            } else {
                report::line(&token);
            }
        }
        Exchange::Publisher(ServicePublisher::Add(flags)) => {
            let registry = admin::open(common, &flags.stores).await?;
            let wish = NewServicePublisher {
                service: flags.service.clone(),
                project: flags.project.clone(),
                issuer: flags.issuer.clone(),
                fields: flags.fields.iter().cloned().collect(),
                claims: flags.claims.clone(),
            };
            let made = registry.add_service_publisher(&actor, wish).await?;
            if common.json {
                report::json(&json!(made));
                return Ok(());
            }
            report::line(&format!("{}  {}", made.id, made.label));
            for warning in &made.warnings {
                report::line(&format!("  {warning}"));
            }
        }
        Exchange::Publisher(ServicePublisher::List { service, stores }) => {
            let registry = admin::open(common, stores).await?;
            let list = registry.service_publishers(&actor, service).await?;
            if common.json {
                report::json(&json!({ "publishers": list }));
                return Ok(());
            }
            let rows: Vec<Vec<String>> = list
                .into_iter()
                .map(|row| vec![row.id, row.project, row.issuer, row.label])
                .collect();
            report::table(&["id", "project", "issuer", "workflow"], &rows);
        }
        Exchange::Publisher(ServicePublisher::Remove {
            service,
            id,
            stores,
        }) => {
            let registry = admin::open(common, stores).await?;
            registry
                .remove_service_publisher(&actor, service, id)
                .await?;
            if common.json {
                report::json(&json!({"service": service, "removed": id}));
            } else {
                report::line(&format!("Removed {id}."));
            }
        }
    }
    Ok(())
}
