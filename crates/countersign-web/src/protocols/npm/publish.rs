//! `PUT` of a package: a new version with its tarball, or a change of what is there.
//!
//! The body is JSON with the tarball in base64 in the middle of it. It is read as it arrives: what of it is tarball goes
//! decoded into the registry's spool, so that nothing large is ever whole in memory.

use axum::body::Body;
use axum::response::Response;
use bytes::Bytes;
use countersign_formats::Ecosystem;
use countersign_formats::npm::name::PackageName;
use countersign_formats::npm::publish::{Access, Body as Read, Publish, PublishReader};
use countersign_formats::npm::update::Update;
use countersign_registry::model::{Actor, Receipt};
use countersign_registry::{Error, Form, Kind, Staged};
use futures::{Stream, StreamExt as _};
use http::HeaderMap;
use http::header::CONTENT_ENCODING;
use serde_json::json;
use tokio::sync::{SemaphorePermit, mpsc};

use super::access::STAYS_IN_THE_LOG;
use super::{Answer, Call, change, created, json, noted};
use crate::error::{Refusal, notify_npm, shown};
use crate::protocols::npm_trust;
use crate::request_log::Noted;
use crate::site::Site;

/// What a body turned out to be.
enum Received {
    Publication(Box<Publish>, Box<Staged>),
    Update(Box<Update>),
}

/// `PUT /{name}`.
pub(super) async fn put(call: &Call<'_>, name: &PackageName, body: Body) -> Answer {
    // Before a byte of the body is asked for: who does not know the way in shall not fill our disk.
    let actor = publisher(call, name).await?;
    // Who may not publish at all may still star; that is a small body and takes no place of those who publish.
    if let Err(refused) = call.site.registry.may_upload(&actor, Ecosystem::Npm) {
        return match change::small_update(call, body).await {
            Ok(update) => change::apply(call, actor, name, &update).await,
            Err(_) => Err(Refusal::npm(refused)),
        };
    }
    let _place = place(call.site).await.map_err(Refusal::npm)?;
    match receive(call, &actor, body).await.map_err(Refusal::npm)? {
        Received::Update(update) => change::apply(call, actor, name, &update).await,
        Received::Publication(form, staged) => publish(call, &actor, name, *form, *staged).await,
    }
}

/// `POST /-/stage/package/{name}`: a version that waits for a person's word.
pub(super) async fn stage(call: &Call<'_>, name: &PackageName, body: Body) -> Answer {
    let actor = publisher(call, name).await?;
    call.site
        .registry
        .may_upload(&actor, Ecosystem::Npm)
        .map_err(Refusal::npm)?;
    let _place = place(call.site).await.map_err(Refusal::npm)?;
    let (form, staged) = match receive(call, &actor, body).await.map_err(Refusal::npm)? {
        Received::Publication(form, staged) => (form, staged),
        Received::Update(_) => {
            let error = Error::new(
                Kind::Rejected,
                "npm-body",
                "The request's body is not usable: it has no tarball.",
            );
            return Err(Refusal::npm(error.remedy("Stage with npm stage publish.")));
        }
    };
    fits(name, &form).map_err(Refusal::npm)?;
    let staged = staged.named(&form.name.tarball(&form.version));
    let (registry, sender) = (call.site.registry.clone(), actor.clone());
    let staging = tokio::spawn(async move {
        registry
            .stage_publication(&sender, staged, Form::Npm(form))
            .await
    });
    let waits = staging
        .await
        .map_err(|error| Refusal::npm(Error::internal("a staging ended in a panic", error)))?
        .map_err(Refusal::npm)?;
    let answer = created(json(&json!({
        "message": format!(
            "{} waits until {} for somebody's approval.",
            waits.purl,
            waits.expires.rfc3339()
        ),
        "stageId": waits.id,
        "sha256": waits.sha256,
    })));
    Ok(noted(&actor, Some(name), answer))
}

/// Who publishes. Where nobody does, and an identity token was refused a moment ago, the refusal says why that was: npm
/// itself says nothing of it.
async fn publisher(call: &Call<'_>, name: &PackageName) -> Result<Actor, Refusal> {
    call.site.actor(call.headers).await.map_err(|error| {
        Refusal::npm(npm_trust::explained(
            call.site,
            call.origin,
            name.as_str(),
            error,
        ))
    })
}

/// The body of the request, as far as it says where it belongs.
fn fits(name: &PackageName, form: &Publish) -> Result<(), Error> {
    if !name.is_spelt(&form.name) {
        let message = format!(
            "The address names {name}, the request publishes {}.",
            form.name
        );
        return Err(Error::new(Kind::Rejected, "npm-body", message)
            .remedy("Publish with npm, pnpm or yarn."));
    }
    Ok(())
}

async fn publish(
    call: &Call<'_>,
    actor: &Actor,
    name: &PackageName,
    form: Publish,
    staged: Staged,
) -> Answer {
    fits(name, &form).map_err(Refusal::npm)?;
    let staged = staged.named(&form.name.tarball(&form.version));
    let version = form.version.clone();
    // npm says `public` wherever nothing else was said: that changes nothing.
    let restricted = form.access == Some(Access::Restricted) && call.site.is_public();
    let (registry, publisher) = (call.site.registry.clone(), actor.clone());
    // In a task of its own: a client that hangs up now must not stop a publish half way.
    let publishing = tokio::spawn(async move {
        registry
            .publish(&publisher, staged, Form::Npm(Box::new(form)))
            .await
    });
    let receipt = publishing
        .await
        .map_err(|error| Refusal::npm(Error::internal("a publish ended in a panic", error)))?
        .map_err(Refusal::npm)?;
    let mut answer = receipt_answer(call.site, name, &version, &receipt);
    answer = noted(actor, Some(name), answer);
    if restricted {
        notify_npm(&mut answer, STAYS_IN_THE_LOG);
    }
    if let Some(noted) = answer.extensions_mut().get_mut::<Noted>() {
        noted.leaf = Some(receipt.leaf);
        noted.filename = Some(name.tarball(&version));
    }
    Ok(answer)
}

fn receipt_answer(site: &Site, name: &PackageName, version: &str, receipt: &Receipt) -> Response {
    let file = name.tarball(version);
    let proof = format!("{}/files/{}/{file}.tlog-proof", site.url(), receipt.sha256);
    let mut answer = created(json(&json!({
        "ok": true,
        "success": true,
        "id": format!("{name}@{version}"),
        "purl": receipt.purl,
        "sha256": receipt.sha256.to_string(),
        "leaf": receipt.leaf,
        "proof": receipt.proof,
        "proof_url": proof,
        "warnings": receipt.warnings,
        "repeated": receipt.repeated,
    })));
    let mut words = receipt.warnings.clone();
    if receipt.repeated {
        words.insert(
            0,
            "These very bytes were published before; nothing changed.".to_owned(),
        );
    }
    if !words.is_empty() {
        notify_npm(&mut answer, &words.join(" "));
    }
    answer
}

/// A place among those who upload, held until the publish has ended. For those who may publish at all; the core asks again.
pub(super) async fn place(site: &Site) -> Result<SemaphorePermit<'_>, Error> {
    let place = tokio::time::timeout(site.face.upload_wait, site.upload_places.acquire()).await;
    match place {
        Ok(Ok(place)) => Ok(place),
        Ok(Err(_)) | Err(_) => {
            let message = format!(
                "{} uploads are being received already.",
                site.face.max_uploads
            );
            Err(Error::unavailable("uploads-full", message))
        }
    }
}

/// Reads a body into what it is. What is tarball of it goes to the registry's spool.
async fn receive(call: &Call<'_>, actor: &Actor, body: Body) -> Result<Received, Error> {
    let site = call.site;
    plain(call.headers)?;
    let limits = &site.registry.settings().limits;
    let mut reader = PublishReader::new(limits);
    let mut body = body.into_data_stream();
    // Up to the first bytes of the tarball, if there is one.
    let mut first = Vec::new();
    while first.is_empty() {
        let Some(piece) = next(&mut body).await? else {
            return Ok(match reader.finish()? {
                Read::Update(update) => Received::Update(update),
                Read::Publish(_) => return Err(empty()),
            });
        };
        reader.push(&piece, &mut |bytes| {
            first.extend_from_slice(bytes);
            Ok(())
        })?;
    }
    let (sender, receiver) = mpsc::channel::<Bytes>(4);
    let decoded = futures::stream::unfold(receiver, |mut receiver| async {
        let piece = receiver.recv().await?;
        Some((Ok::<_, std::io::Error>(piece), receiver))
    });
    let mut decoded = Box::pin(decoded);
    // Its name comes behind it, or in front; npm's clients do as they like.
    let staging = site
        .registry
        .stage(actor, Ecosystem::Npm, "the tarball", &mut decoded);
    let feeding = async {
        let mut piece = first;
        loop {
            if !piece.is_empty() && sender.send(Bytes::from(piece)).await.is_err() {
                // Whoever stages has given up, and says why.
                return std::future::pending().await;
            }
            piece = Vec::new();
            let Some(more) = next(&mut body).await? else {
                drop(sender);
                return reader.finish().map_err(Error::from);
            };
            reader.push(&more, &mut |bytes| {
                piece.extend_from_slice(bytes);
                Ok(())
            })?;
        }
    };
    match tokio::try_join!(staging, feeding)? {
        (staged, Read::Publish(form)) => Ok(Received::Publication(form, Box::new(staged))),
        (_, Read::Update(_)) => Err(empty()),
    }
}

fn empty() -> Error {
    Error::new(
        Kind::Rejected,
        "npm-attachment",
        "The tarball in the request has no bytes.",
    )
    .remedy("Publish with npm, pnpm or yarn.")
}

async fn next<S, E>(body: &mut S) -> Result<Option<Bytes>, Error>
where
    S: Stream<Item = Result<Bytes, E>> + Unpin,
    E: Into<Box<dyn std::error::Error + Send + Sync>>,
{
    body.next().await.transpose().map_err(|source| {
        Error::new(
            Kind::Rejected,
            "upload-truncated",
            "The connection broke during the upload.",
        )
        .remedy("Nothing was stored. Send it again; repeating a publish is safe.")
        .because(source)
    })
}

/// No client packs a publication, and what is packed would have to be unpacked without end.
fn plain(headers: &HeaderMap) -> Result<(), Error> {
    let encoding = headers
        .get(CONTENT_ENCODING)
        .map_or(&b""[..], |value| value.as_bytes())
        .trim_ascii();
    if encoding.is_empty() || encoding.eq_ignore_ascii_case(b"identity") {
        return Ok(());
    }
    let message = format!(
        "The request body is encoded as {}, which is not understood here.",
        shown(&String::from_utf8_lossy(encoding))
    );
    Err(Error::new(Kind::Rejected, "content-encoding", message)
        .remedy("Send a publication as it is."))
}
