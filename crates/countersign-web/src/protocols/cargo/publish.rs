//! `cargo publish`: lengths, JSON and the `.crate` in one body, answered when the crate is in the log, so that the
//! index which cargo then looks at has it.

use std::pin::Pin;
use std::task::{Context, Poll};

use axum::body::{Body, BodyDataStream};
use axum::extract::State;
use axum::response::Response;
use bytes::Bytes;
use countersign_formats::cargo::api;
use countersign_formats::cargo::publish::{Framing, PublishRequest};
use countersign_registry::model::{Actor, Receipt};
use countersign_registry::{Error, Form, Kind};
use futures::{Stream, StreamExt as _};
use http::Request;
use serde_json::{Value, json};

use super::{SYSTEM, json as answer};
use crate::error::Refusal;
use crate::request_log::Noted;
use crate::site::Site;

/// Receives one crate.
pub(super) async fn publish(
    State(site): State<Site>,
    request: Request<Body>,
) -> Result<Response, Refusal> {
    let (parts, body) = request.into_parts();
    // Before a byte of the body is asked for: who does not know the way in shall not fill our disk.
    let actor = site.actor(&parts.headers).await.map_err(Refusal::cargo)?;
    let mut noted = Noted {
        actor: Some(actor.name().to_owned()),
        ecosystem: Some(SYSTEM.as_str()),
        ..Noted::default()
    };
    let outcome = receive(&site, &actor, body, &mut noted).await;
    let mut response = match outcome {
        Ok(receipt) => {
            noted.leaf = Some(receipt.leaf);
            let filename = noted.filename.as_deref().unwrap_or_default();
            answer(receipt_text(&site, &receipt, filename).map_err(Refusal::cargo)?)
        }
        Err(error) => axum::response::IntoResponse::into_response(Refusal::cargo(error)),
    };
    response.extensions_mut().insert(noted);
    Ok(response)
}

async fn receive(
    site: &Site,
    actor: &Actor,
    body: Body,
    noted: &mut Noted,
) -> Result<Receipt, Error> {
    // A place is for those who may publish at all; staging asks again.
    site.registry.may_upload(actor, SYSTEM)?;
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
    let most = site.registry.settings().limits.max_file_size;
    let mut arriving = Arriving::new(body.into_data_stream(), most);
    let request = arriving.request().await?;
    let filename = request.filename();
    noted.project = Some(request.name.clone());
    noted.filename = Some(filename.clone());
    let staged = site
        .registry
        .stage(actor, SYSTEM, &filename, &mut arriving)
        .await;
    if let Some(trouble) = arriving.trouble.take() {
        return Err(trouble);
    }
    let staged = staged?;
    let request = arriving.framing.finish()?;
    let (registry, actor) = (site.registry.clone(), actor.clone());
    // In a task of its own: a client that hangs up now must not stop a publish half way.
    let publishing = tokio::spawn(async move {
        registry
            .publish(&actor, staged, Form::Cargo(Box::new(request)))
            .await
    });
    publishing
        .await
        .map_err(|error| Error::internal("a publish ended in a panic", error))?
}

/// A body on its way: the stream of the bytes of the `.crate` in it, once the JSON before them was taken out.
struct Arriving {
    body: BodyDataStream,
    framing: Framing,
    /// The bytes of the `.crate` that came in one piece with the JSON.
    first: Bytes,
    /// Why the stream broke off, in the words of the body's form.
    trouble: Option<Error>,
}

impl Arriving {
    fn new(body: BodyDataStream, most: u64) -> Self {
        Self {
            body,
            framing: Framing::new(most),
            first: Bytes::new(),
            trouble: None,
        }
    }

    /// The JSON part, read before anything of the `.crate` is stored.
    async fn request(&mut self) -> Result<PublishRequest, Error> {
        loop {
            if let Some(json) = self.framing.json() {
                return Ok(PublishRequest::parse(json)?);
            }
            let Some(piece) = self.body.next().await else {
                return Err(cut_short(None));
            };
            let piece = piece.map_err(|error| cut_short(Some(error)))?;
            let of_crate = self.framing.push(&piece)?;
            self.first = piece.slice_ref(of_crate);
        }
    }
}

fn cut_short(source: Option<axum::Error>) -> Error {
    let error = Error::new(
        Kind::Rejected,
        "upload-truncated",
        "The upload ended before it was whole.",
    )
    .remedy("Nothing was stored. Send it again; repeating a publish is safe.");
    match source {
        Some(source) => error.because(source),
        None => error,
    }
}

/// What the core hears where the body is not as it should be; what was wrong stands in [`Arriving::trouble`].
#[derive(Debug, thiserror::Error)]
#[error("the body is not as cargo sends it")]
struct Broken;

impl Stream for Arriving {
    type Item = Result<Bytes, Broken>;

    fn poll_next(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let this = self.get_mut();
        if !this.first.is_empty() {
            return Poll::Ready(Some(Ok(std::mem::take(&mut this.first))));
        }
        loop {
            let piece = match this.body.poll_next_unpin(context) {
                Poll::Pending => return Poll::Pending,
                Poll::Ready(None) => return Poll::Ready(None),
                Poll::Ready(Some(Ok(piece))) => piece,
                Poll::Ready(Some(Err(error))) => {
                    this.trouble = Some(cut_short(Some(error)));
                    return Poll::Ready(Some(Err(Broken)));
                }
            };
            match this.framing.push(&piece) {
                // The rest of a length, or of the attestations.
                Ok([]) => {}
                Ok(of_crate) => return Poll::Ready(Some(Ok(piece.slice_ref(of_crate)))),
                Err(rejection) => {
                    this.trouble = Some(rejection.into());
                    return Poll::Ready(Some(Err(Broken)));
                }
            }
        }
    }
}

/// What cargo prints the warnings of. It does not look at the receipt beside them, which our own client reads.
fn receipt_text(site: &Site, receipt: &Receipt, filename: &str) -> Result<String, Error> {
    let mut body: Value = serde_json::from_str(&api::published(&receipt.warnings))
        .map_err(|error| Error::internal("an answer could not be written as JSON", error))?;
    body["_countersign"] = json!({
        "purl": receipt.purl,
        "sha256": receipt.sha256.to_string(),
        "leaf": receipt.leaf,
        "proof": receipt.proof,
        "proof_url": format!("{}/files/{}/{filename}.tlog-proof", site.url(), receipt.sha256),
        "warnings": receipt.warnings,
        "repeated": receipt.repeated,
    });
    Ok(body.to_string())
}
