//! What an index document promises: the client's side of [`super::documents`].

use std::collections::HashSet;

use serde::Deserialize;

use crate::{Limits, Promise, Rejection, pypi::html, rejection::quoted};

/// The files that a project's document (JSON or HTML) promises, in order. A file without a SHA-256
/// digest promises nothing and is left out, so that whoever demands a promise refuses it.
///
/// # Errors
/// Refuses documents over `limits.max_document` bytes, that are neither JSON nor UTF-8 HTML, name
/// one file twice, or give a malformed digest.
pub fn promises(document: &[u8], limits: &Limits) -> Result<Vec<Promise>, Rejection> {
    if document.len() > limits.max_document {
        return Err(Rejection::new(
            "document-too-large",
            format!(
                "The index document has {} bytes; at most {} are read.",
                document.len(),
                limits.max_document
            ),
        ));
    }
    let text = std::str::from_utf8(document)
        .map_err(|_| Rejection::new("document-invalid", "The index document is not UTF-8."))?;
    let found = if text.trim_start().starts_with('{') {
        from_json(text)?
    } else {
        from_html(text)?
    };
    let mut names = HashSet::new();
    for promise in &found {
        if promise.sha256.len() != 64
            || !promise
                .sha256
                .bytes()
                .all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'))
        {
            return Err(Rejection::new(
                "document-invalid",
                format!(
                    "The index document gives {} as SHA-256 of {}.",
                    quoted(&promise.sha256),
                    quoted(&promise.filename)
                ),
            ));
        }
        if !names.insert(promise.filename.as_str()) {
            return Err(Rejection::new(
                "document-invalid",
                format!(
                    "The index document lists {} twice.",
                    quoted(&promise.filename)
                ),
            ));
        }
    }
    Ok(found)
}

fn from_json(text: &str) -> Result<Vec<Promise>, Rejection> {
    #[derive(Deserialize)]
    struct Document {
        files: Vec<File>,
    }
    #[derive(Deserialize)]
    struct File {
        filename: String,
        url: String,
        hashes: Hashes,
        size: Option<u64>,
        #[serde(rename = "_countersign", default)]
        countersign: Countersign,
    }
    #[derive(Deserialize)]
    struct Hashes {
        sha256: Option<String>,
    }
    #[derive(Deserialize, Default)]
    struct Countersign {
        leaf: Option<u64>,
        proof: Option<String>,
    }
    let document: Document = serde_json::from_str(text).map_err(|error| {
        Rejection::new(
            "document-invalid",
            format!("The index document is not as PEP 691 has it: {error}."),
        )
    })?;
    Ok(document
        .files
        .into_iter()
        .filter_map(|file| {
            Some(Promise {
                filename: file.filename,
                url: file.url,
                sha256: file.hashes.sha256?,
                size: file.size,
                leaf_index: file.countersign.leaf,
                proof_url: file.countersign.proof,
            })
        })
        .collect())
}

fn from_html(text: &str) -> Result<Vec<Promise>, Rejection> {
    Ok(html::anchors(text)?
        .into_iter()
        .filter_map(|anchor| {
            let (url, fragment) = anchor.get("href")?.split_once('#')?;
            Some(Promise {
                filename: anchor.text.clone(),
                url: url.to_owned(),
                sha256: fragment.strip_prefix("sha256=")?.to_owned(),
                size: None,
                leaf_index: anchor
                    .get("data-countersign-leaf")
                    .and_then(|leaf| leaf.parse().ok()),
                proof_url: anchor.get("data-countersign-proof").map(str::to_owned),
            })
        })
        .collect())
}
