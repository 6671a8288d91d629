//! `tuf service …`: repositories that are signed for registries elsewhere.

use std::path::Path;

use base64::Engine as _;
use countersign_registry::model::Actor;
use countersign_trust::tuf::Key;
use serde_json::json;

use super::{refused, write_file};
use crate::cli::{Common, TufService};
use crate::failure::Failure;
use crate::report;

/// PEM as every library reads it: 64 characters a line.
fn pem(spki: &[u8]) -> String {
    let text = base64::engine::general_purpose::STANDARD.encode(spki);
    let mut out = String::from("-----BEGIN PUBLIC KEY-----\n");
    let mut rest = text.as_str();
    while !rest.is_empty() {
        let (line, after) = rest.split_at(rest.len().min(64));
        out.push_str(line);
        out.push('\n');
        rest = after;
    }
    out.push_str("-----END PUBLIC KEY-----\n");
    out
}

pub(super) async fn run(common: &Common, command: &TufService) -> Result<(), Failure> {
    let actor = Actor::operator();
    match command {
        TufService::Create {
            name,
            key,
            public_key,
            stores,
        } => {
            let registry = super::instance::open(common, stores).await?;
            let spki = registry
                .create_tuf_service(&actor, name, key.as_deref())
                .await?;
            told(common, name, &spki, public_key.as_deref())
        }
        TufService::NextKey {
            name,
            key,
            public_key,
            stores,
        } => {
            let registry = super::instance::open(common, stores).await?;
            let spki = registry
                .prepare_tuf_service_key(&actor, name, key.as_deref())
                .await?;
            told(common, name, &spki, public_key.as_deref())
        }
        TufService::Token {
            name,
            label,
            stores,
        } => {
            let registry = super::instance::open(common, stores).await?;
            let token = registry
                .create_tuf_service_token(&actor, name, label)
                .await?;
            if common.json {
                report::json(&json!({"service": name, "token": token}));
            } else {
                report::line(&token);
            }
            Ok(())
        }
        TufService::List(stores) => {
            let registry = super::instance::open(common, stores).await?;
            let list = registry.tuf_services().await?;
            if common.json {
                report::json(&json!({ "services": list }));
                return Ok(());
            }
            let rows: Vec<Vec<String>> = list
                .into_iter()
                .map(|row| {
                    vec![
                        row.name,
                        row.state,
                        row.artifacts.to_string(),
                        row.online_key,
                    ]
                })
                .collect();
            report::table(&["service", "state", "artifacts", "online key"], &rows);
            Ok(())
        }
    }
}

fn told(common: &Common, name: &str, spki: &[u8], file: Option<&Path>) -> Result<(), Failure> {
    let key = Key::from_spki(spki).map_err(|why| refused(&why))?;
    let text = pem(spki);
    if let Some(file) = file {
        write_file(file, text.as_bytes(), true)?;
    }
    if common.json {
        report::json(&json!({"service": name, "keyid": key.id(), "public_key": text}));
    } else if file.is_none() {
        report::line(text.trim_end());
    } else {
        report::line(&key.id());
    }
    Ok(())
}
