//! `countersign report`.

use countersign::remote::Remote;
use countersign::trusted::TrustFile;
use countersign::{Exit, Failure};
use reqwest::Method;
use serde_json::{Value, json};

use super::{authorities, credential, line, meant, trust_path};
use crate::cli::{Common, Report};

fn word<'a>(answer: &'a Value, name: &str) -> Result<&'a str, Failure> {
    answer[name].as_str().ok_or_else(|| {
        Failure::new(
            Exit::Environment,
            "answer-malformed",
            format!("The registry's answer has no {name}."),
        )
    })
}

/// Reports something, or tells what became of a report.
pub fn report(common: &Common, options: &Report) -> Result<(), Failure> {
    let url = meant(common, &TrustFile::load(&trust_path(common)?)?)?;
    let token = credential(&url)?.map(|credential| credential.token);
    let remote = Remote::new(&url, token, authorities(common)?.as_deref())?;
    let answer = match &options.ticket {
        Some(ticket) => {
            let ticket: String = url::form_urlencoded::byte_serialize(ticket.as_bytes()).collect();
            remote.call(Method::GET, &format!("/api/v1/reports/{ticket}"), None)?
        }
        None => remote.call(
            Method::POST,
            "/api/v1/reports",
            Some(&json!({
                "purl": options.purl,
                "kind": options.kind,
                "evidence": options.evidence,
                "text": options.text,
            })),
        )?,
    };
    if common.json {
        line(&answer.to_string());
        return Ok(());
    }
    line(&format!(
        "{} ({}): {}",
        word(&answer, "purl")?,
        word(&answer, "kind")?,
        word(&answer, "state")?
    ));
    if let Some(words) = answer["answer"].as_str() {
        line(&format!("    {words}"));
    }
    line(&format!("    ticket {}", word(&answer, "ticket")?));
    line(&format!("    {}", word(&answer, "page")?));
    Ok(())
}
