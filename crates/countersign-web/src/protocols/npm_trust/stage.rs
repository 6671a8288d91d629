//! Staged publications, as `npm stage` speaks of them.

use axum::Json;
use axum::body::Body;
use axum::response::{IntoResponse, Response};
use countersign_formats::Ecosystem;
use countersign_registry::{Act, StagedPublication, Wanted};
use http::header::{CONTENT_LENGTH, CONTENT_TYPE};
use http::{HeaderMap, HeaderValue, StatusCode};
use serde_json::{Value, json};

use super::NO_STORE;
use super::step_up::Request;
use crate::error::Refusal;
use crate::request_log::Noted;
use crate::site::Site;

/// Most items of a page.
const PER_PAGE: usize = 100;

fn item(staged: &StagedPublication) -> Value {
    json!({
        "id": staged.id,
        "packageName": staged.project,
        "version": staged.version,
        "tag": staged.tags.first(),
        "createdAt": staged.created.rfc3339(),
        "expiresAt": staged.expires.rfc3339(),
        "actor": staged.by,
        "actorType": if staged.by_workflow { "oidc" } else { "user" },
        "access": staged.access,
        "shasum": staged.sha1,
        "sha256": staged.sha256,
        "sha512": staged.sha512,
        "size": staged.size,
        "provenance": staged.attested,
        "state": staged.state,
    })
}

/// What waits, by pages.
pub(super) async fn list(
    site: &Site,
    headers: &HeaderMap,
    query: Option<&str>,
) -> Result<Response, Refusal> {
    let actor = site.actor(headers).await.map_err(Refusal::npm)?;
    let asked = |name: &str| {
        url::form_urlencoded::parse(query.unwrap_or_default().as_bytes())
            .find(|(key, _)| key == name)
            .map(|(_, value)| value.into_owned())
    };
    let number = |name: &str, other: usize| {
        asked(name)
            .and_then(|text| text.parse::<usize>().ok())
            .unwrap_or(other)
    };
    let (page, per_page) = (number("page", 0), number("perPage", 10).clamp(1, PER_PAGE));
    let only = asked("package");
    let all = site
        .registry
        .staged_publications(&actor)
        .await
        .map_err(Refusal::npm)?;
    let fitting: Vec<&StagedPublication> = all
        .iter()
        .filter(|staged| only.as_ref().is_none_or(|name| *name == staged.project))
        .collect();
    let items: Vec<Value> = fitting
        .iter()
        .skip(page.saturating_mul(per_page))
        .take(per_page)
        .map(|staged| item(staged))
        .collect();
    let body = json!({"items": items, "page": page, "perPage": per_page, "total": fitting.len()});
    Ok(([NO_STORE], Json(body)).into_response())
}

/// One of them.
pub(super) async fn view(site: &Site, headers: &HeaderMap, id: &str) -> Result<Response, Refusal> {
    let actor = site.actor(headers).await.map_err(Refusal::npm)?;
    let staged = site
        .registry
        .staged_publication(&actor, id)
        .await
        .map_err(Refusal::npm)?;
    Ok(([NO_STORE], Json(item(&staged))).into_response())
}

/// Its tarball.
pub(super) async fn tarball(
    site: &Site,
    headers: &HeaderMap,
    id: &str,
) -> Result<Response, Refusal> {
    let actor = site.actor(headers).await.map_err(Refusal::npm)?;
    let (staged, bytes) = site
        .registry
        .staged_bytes(&actor, id)
        .await
        .map_err(Refusal::npm)?;
    let kind = HeaderValue::from_static("application/octet-stream");
    let mut response = ([NO_STORE, (CONTENT_TYPE, kind)], Body::from_stream(bytes)).into_response();
    response
        .headers_mut()
        .insert(CONTENT_LENGTH, HeaderValue::from(staged.size));
    Ok(response)
}

/// Publishes it. The person consents to this version with this digest.
pub(super) async fn approve(
    site: &Site,
    headers: &HeaderMap,
    id: &str,
) -> Result<Response, Refusal> {
    let actor = site.actor(headers).await.map_err(Refusal::npm)?;
    let staged = site
        .registry
        .staged_publication(&actor, id)
        .await
        .map_err(Refusal::npm)?;
    let wanted = Wanted {
        act: Act::ApproveStaged,
        also: &[],
        on: Some((Ecosystem::Npm, staged.project.clone())),
        subject: format!(
            "{} {}, with sha256:{}, staged by {} ({id})",
            staged.purl,
            staged.along(),
            staged.sha256,
            staged.by
        ),
    };
    let request = Request::of(site, headers, wanted).await?;
    let (registry, approver) = (site.registry.clone(), request.actor.clone());
    let (which, digest) = (id.to_owned(), staged.sha256.clone());
    // In a task of its own: a client that hangs up now must not stop a publish half way.
    let approving = tokio::spawn(async move {
        registry
            .approve_staged(&approver, &which, Some(&digest))
            .await
    });
    let outcome = approving.await.map_err(|error| {
        Refusal::npm(countersign_registry::Error::internal(
            "an approval ended in a panic",
            error,
        ))
    })?;
    let receipt = request.told(outcome).await?;
    let body = json!({
        "message": format!("{} is published.", receipt.purl),
        "purl": receipt.purl,
        "sha256": receipt.sha256.to_string(),
        "leaf": receipt.leaf,
        "proof": receipt.proof,
        "warnings": receipt.warnings,
        "repeated": receipt.repeated,
    });
    let mut response = (StatusCode::CREATED, [NO_STORE], Json(body)).into_response();
    response.extensions_mut().insert(Noted {
        ecosystem: Some("npm"),
        project: Some(staged.project),
        leaf: Some(receipt.leaf),
        ..Noted::default()
    });
    Ok(response)
}

/// Ends it unpublished.
pub(super) async fn reject(
    site: &Site,
    headers: &HeaderMap,
    id: &str,
) -> Result<Response, Refusal> {
    let actor = site.actor(headers).await.map_err(Refusal::npm)?;
    let staged = site
        .registry
        .staged_publication(&actor, id)
        .await
        .map_err(Refusal::npm)?;
    let wanted = Wanted {
        act: Act::RejectStaged,
        also: &[],
        on: Some((Ecosystem::Npm, staged.project.clone())),
        subject: format!("the staged publication {id:?}"),
    };
    let request = Request::of(site, headers, wanted).await?;
    let outcome = site.registry.reject_staged(&request.actor, id).await;
    request.told(outcome).await?;
    Ok((StatusCode::NO_CONTENT, [NO_STORE]).into_response())
}
