//! Publishing as twine and uv do it: one `multipart/form-data` request, answered when the file is in the log.

use axum::Router;
use axum::body::Body;
use axum::extract::State;
use axum::response::{IntoResponse, Response};
use axum::routing::{any, post};
use bytes::Bytes;
use countersign_formats::Ecosystem;
use countersign_formats::pypi::upload::UploadForm;
use countersign_registry::model::{Actor, Receipt};
use countersign_registry::{Error, Form, Kind, Staged};
use futures::Stream;
use http::header::{ACCEPT, CONTENT_TYPE, LOCATION};
use http::{HeaderMap, HeaderName, HeaderValue, Request, StatusCode};
use serde_json::json;

use super::multipart::{FormError, Multipart, boundary_of};
use crate::error::{Refusal, quality_of, shown};
use crate::request_log::Noted;
use crate::site::Site;

/// Most text fields of a form; real ones have up to a few hundred (classifiers, dependencies).
const MOST_FIELDS: usize = 5_000;
/// Longest text field in bytes; descriptions and attestations are the long ones.
const LONGEST_FIELD: usize = 2 << 20;
/// Longest name of a field in bytes.
const LONGEST_NAME: usize = 100;
/// All text fields together with their names, in bytes.
const LONGEST_FIELDS: usize = 6 << 20;

const LEAF: HeaderName = HeaderName::from_static("x-countersign-leaf");
const PROOF: HeaderName = HeaderName::from_static("x-countersign-proof");

pub(super) fn routes() -> Router<Site> {
    Router::new().route("/pypi/legacy/", post(upload)).route(
        "/pypi/legacy",
        any(async || {
            (
                StatusCode::PERMANENT_REDIRECT,
                [(LOCATION, "/pypi/legacy/")],
            )
        }),
    )
}

async fn upload(State(site): State<Site>, request: Request<Body>) -> Result<Response, Refusal> {
    let (parts, body) = request.into_parts();
    // Before a byte of the body is asked for: who does not know the way in shall not fill our disk.
    let actor = site.actor(&parts.headers).await.map_err(Refusal::upload)?;
    let mut noted = Noted {
        actor: Some(actor.name().to_owned()),
        ecosystem: Some("pypi"),
        ..Noted::default()
    };
    let outcome = receive(&site, &actor, &parts.headers, body, &mut noted).await;
    let mut response = match outcome {
        Ok(receipt) => {
            noted.leaf = Some(receipt.leaf);
            receipt_answer(
                &site,
                &parts.headers,
                &receipt,
                noted.filename.as_deref().unwrap_or_default(),
            )
        }
        Err(error) => Refusal::upload(error).into_response(),
    };
    response.extensions_mut().insert(noted);
    Ok(response)
}

async fn receive(
    site: &Site,
    actor: &Actor,
    headers: &HeaderMap,
    body: Body,
    noted: &mut Noted,
) -> Result<Receipt, Error> {
    let boundary = headers
        .get(CONTENT_TYPE)
        .and_then(|value| value.to_str().ok())
        .and_then(boundary_of);
    let boundary = boundary.ok_or_else(|| {
        Error::new(
            Kind::Rejected,
            "form-malformed",
            "The request is not multipart/form-data with a boundary.",
        )
        .remedy("Publish with uv or twine, or send the form that they send.")
    })?;
    // A place is for those who may publish at all; [`Registry::stage`](countersign_registry::Registry::stage) asks again.
    site.registry.may_upload(actor, Ecosystem::Pypi)?;
    let place = tokio::time::timeout(site.face.upload_wait, site.upload_places.acquire()).await;
    let _place = match place {
        Ok(Ok(place)) => place,
        Ok(Err(_)) | Err(_) => {
            let message = format!(
                "{} uploads are being received already.",
                site.face.max_uploads
            );
            return Err(Error::unavailable("uploads-full", message));
        }
    };
    let mut form = Multipart::new(body.into_data_stream(), &boundary);
    let (staged, fields) = read_form(site, actor, &mut form, noted).await?;
    let form = UploadForm::from_pairs(fields)?;
    let (registry, actor) = (site.registry.clone(), actor.clone());
    // In a task of its own: a client that hangs up now must not stop a publish half way.
    let publishing = tokio::spawn(async move {
        registry
            .publish(&actor, staged, Form::Pypi(Box::new(form)))
            .await
    });
    publishing
        .await
        .map_err(|error| Error::internal("a publish ended in a panic", error))?
}

/// Reads the form: text fields into memory, the file into the registry's spool. They come in any order.
async fn read_form<S, E>(
    site: &Site,
    actor: &Actor,
    form: &mut Multipart<S>,
    noted: &mut Noted,
) -> Result<(Staged, Vec<(String, String)>), Error>
where
    S: Stream<Item = Result<Bytes, E>> + Unpin + Send,
    E: Into<Box<dyn std::error::Error + Send + Sync>>,
{
    let mut fields: Vec<(String, String)> = Vec::new();
    let mut staged = None;
    let mut total = 0;
    while let Some(part) = form.next_part().await.map_err(unreadable)? {
        if part.name != "content" {
            total += part.name.len();
            if part.name.len() > LONGEST_NAME || total > LONGEST_FIELDS {
                return Err(names_too_long(&part.name));
            }
            let room = LONGEST_FIELD.min(LONGEST_FIELDS - total);
            let value = text_field(form, &part.name, room).await?;
            total += value.len();
            if fields.len() == MOST_FIELDS {
                let message = format!("The form has more than {MOST_FIELDS} fields.");
                return Err(Error::new(Kind::TooLarge, "form-too-large", message));
            }
            check_field(&part.name, &value)?;
            if part.name == "name" {
                noted.project = Some(value.chars().take(100).collect());
            }
            fields.push((part.name, value));
            continue;
        }
        if staged.is_some() {
            return Err(Error::new(
                Kind::Rejected,
                "form-malformed",
                "The form has two parts named content.",
            )
            .remedy("Publish one file per request."));
        }
        let filename = part.filename.ok_or_else(|| {
            Error::new(
                Kind::Rejected,
                "form-malformed",
                "The part named content has no file name.",
            )
        })?;
        noted.filename = Some(filename.chars().take(255).collect());
        let mut content = form.content();
        let outcome = site
            .registry
            .stage(actor, Ecosystem::Pypi, &filename, &mut content)
            .await;
        if let Some(trouble) = content.trouble() {
            return Err(unreadable(trouble));
        }
        staged = Some(outcome?);
    }
    if !fields.iter().any(|(name, _)| name == ":action") {
        check_field(":action", "")?;
    }
    let staged = staged.ok_or_else(|| {
        Error::new(
            Kind::Rejected,
            "form-malformed",
            "The form has no part named content, so there is no file in it.",
        )
        .remedy("Publish with uv or twine, or send the file in a part named content.")
    })?;
    Ok((staged, fields))
}

fn names_too_long(name: &str) -> Error {
    let message = format!(
        "The field name {} is longer than allowed, or the names together are.",
        shown(name)
    );
    Error::new(Kind::TooLarge, "form-too-large", message).remedy(format!(
        "A field's name may have {LONGEST_NAME} bytes, all fields with their names {LONGEST_FIELDS}."
    ))
}

async fn text_field<S, E>(
    form: &mut Multipart<S>,
    name: &str,
    longest: usize,
) -> Result<String, Error>
where
    S: Stream<Item = Result<Bytes, E>> + Unpin,
    E: Into<Box<dyn std::error::Error + Send + Sync>>,
{
    let mut value = Vec::new();
    while let Some(chunk) = std::future::poll_fn(|context| form.poll_chunk(context))
        .await
        .map_err(unreadable)?
    {
        if value.len() + chunk.len() > longest {
            let message = format!(
                "The field {} makes the form's text longer than allowed.",
                shown(name)
            );
            return Err(
                Error::new(Kind::TooLarge, "form-too-large", message).remedy(format!(
                    "One field may have {LONGEST_FIELD} bytes, all together {LONGEST_FIELDS}."
                )),
            );
        }
        value.extend_from_slice(&chunk);
    }
    String::from_utf8(value).map_err(|_| {
        Error::new(
            Kind::Rejected,
            "form-malformed",
            format!("The field {} is not UTF-8.", shown(name)),
        )
    })
}

/// The fields that say what the request wants, checked as they come: twine and uv send them before the file.
fn check_field(name: &str, value: &str) -> Result<(), Error> {
    match name {
        ":action" if value != "file_upload" => {
            let message = format!("The action {} is not available.", shown(value));
            let advice = match value {
                "submit" | "verify" => {
                    "Projects come into being by publishing a first file; there is no registering."
                }
                "doc_upload" => {
                    "Documentation is not hosted here; link to it from the project's metadata."
                }
                _ => "Publish with :action=file_upload.",
            };
            Err(Error::new(Kind::Rejected, "form-action", message).remedy(advice))
        }
        "protocol_version" if value != "1" => {
            let message = format!(
                "The upload protocol version {} is not available.",
                shown(value)
            );
            Err(Error::new(Kind::Rejected, "form-protocol", message)
                .remedy("Send protocol_version=1."))
        }
        _ => Ok(()),
    }
}

fn unreadable(error: FormError) -> Error {
    match error {
        FormError::Malformed(what) => Error::new(
            Kind::Rejected,
            "form-malformed",
            format!("The form can not be read: {what}."),
        ),
        FormError::Truncated => Error::new(
            Kind::Rejected,
            "upload-truncated",
            "The upload ended before its closing boundary.",
        )
        .remedy("Nothing was stored. Send it again; repeating a publish is safe."),
        FormError::Body(source) => Error::new(
            Kind::Rejected,
            "upload-truncated",
            "The connection broke during the upload.",
        )
        .remedy("Nothing was stored. Send it again; repeating a publish is safe.")
        .because(source),
    }
}

fn receipt_answer(site: &Site, headers: &HeaderMap, receipt: &Receipt, filename: &str) -> Response {
    let proof = format!(
        "{}/files/{}/{}.tlog-proof",
        site.url(),
        receipt.sha256,
        filename
    );
    let accept = headers
        .get(ACCEPT)
        .and_then(|value| value.to_str().ok())
        .unwrap_or_default();
    let wants_json =
        quality_of(accept, "application", "json") > quality_of(accept, "text", "plain");
    let (content_type, body) = if wants_json {
        let body = json!({
            "purl": receipt.purl,
            "sha256": receipt.sha256.to_string(),
            "leaf": receipt.leaf,
            "proof": receipt.proof,
            "proof_url": proof,
            "warnings": receipt.warnings,
            "repeated": receipt.repeated,
        });
        ("application/json", body.to_string())
    } else {
        let deed = if receipt.repeated {
            "Already published"
        } else {
            "Published"
        };
        let mut text = format!(
            "{deed}: {}\nLeaf: {}\nProof: {proof}\n",
            receipt.purl, receipt.leaf
        );
        for warning in &receipt.warnings {
            text.push_str(&format!("Warning: {warning}\n"));
        }
        ("text/plain; charset=utf-8", text)
    };
    let mut response = ([(CONTENT_TYPE, content_type)], body).into_response();
    let out = response.headers_mut();
    out.insert(LEAF, HeaderValue::from(receipt.leaf));
    if let Ok(proof) = HeaderValue::from_str(&proof) {
        out.insert(PROOF, proof);
    }
    response
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn other_actions_are_refused_with_advice() {
        for (action, advice) in [
            ("submit", "first file"),
            ("doc_upload", "link to it"),
            ("", "file_upload"),
        ] {
            let error = check_field(":action", action).unwrap_err();
            assert!(error.text().contains(advice), "{}", error.text());
        }
        assert!(check_field(":action", "file_upload").is_ok());
        assert!(check_field("protocol_version", "2").is_err());
        assert!(check_field("name", "anything").is_ok());
    }
}
