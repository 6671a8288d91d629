//! Logs that are kept for registries elsewhere (`docs/operating-log-service.md`), as C2SP tlog-tiles reads them: below
//! `/service/log/NAME/` stands what our own log has below `/log/1/`.

use axum::Router;
use axum::extract::{Path, State};
use axum::response::Response;
use axum::routing::get;
use countersign_registry::{Error, Kind};
use http::{HeaderMap, Method};

use super::log::{number, served, tile_named};
use crate::answer::Keep;
use crate::error::{Refusal, shown};
use crate::site::Site;

const TEXT: &str = "text/plain; charset=utf-8";

pub(super) fn routes() -> Router<Site> {
    Router::new()
        .route("/service/log/{name}/checkpoint", get(checkpoint))
        .route("/service/log/{name}/policy", get(policy))
        .route("/service/log/{name}/tile/{*tile}", get(tile))
        .route("/service/log/{name}/proof/{proof}", get(proof))
}

async fn checkpoint(
    State(site): State<Site>,
    Path(name): Path<String>,
    method: Method,
    headers: HeaderMap,
) -> Result<Response, Refusal> {
    let document = site.registry.log_service_checkpoint(&name).await;
    let document = document.map_err(Refusal::text)?;
    Ok(served(
        &site,
        &document,
        TEXT,
        Keep::Asking,
        &method,
        &headers,
    ))
}

/// A tlog-policy file: the log's keys, and who must have cosigned its checkpoints. Whoever trusts it on first sight pins it.
async fn policy(
    State(site): State<Site>,
    Path(name): Path<String>,
    method: Method,
    headers: HeaderMap,
) -> Result<Response, Refusal> {
    let document = site.registry.log_service_policy(&name).await;
    let document = document.map_err(Refusal::text)?;
    let keep = Keep::Minutes;
    Ok(served(&site, &document, TEXT, keep, &method, &headers))
}

async fn tile(
    State(site): State<Site>,
    Path((name, tile)): Path<(String, String)>,
    method: Method,
    headers: HeaderMap,
) -> Result<Response, Refusal> {
    let path = tile_named(&tile)?;
    let document = site.registry.log_service_tile(&name, &path).await;
    let document = document.map_err(Refusal::text)?;
    let binary = "application/octet-stream";
    let keep = Keep::Forever;
    Ok(served(&site, &document, binary, keep, &method, &headers))
}

async fn proof(
    State(site): State<Site>,
    Path((name, proof)): Path<(String, String)>,
    method: Method,
    headers: HeaderMap,
) -> Result<Response, Refusal> {
    let index = proof.strip_suffix(".tlog-proof").and_then(number);
    let index = index.ok_or_else(|| {
        let message = format!("There is no proof {} in the log.", shown(&proof));
        let error = Error::new(Kind::NotFound, "leaf-unknown", message);
        Refusal::text(error.remedy("Proofs are at …/proof/INDEX.tlog-proof."))
    })?;
    let document = site.registry.log_service_proof(&name, index).await;
    let document = document.map_err(Refusal::text)?;
    Ok(served(
        &site,
        &document,
        TEXT,
        Keep::Minutes,
        &method,
        &headers,
    ))
}
