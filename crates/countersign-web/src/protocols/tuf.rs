//! TUF: signed metadata and the index documents that it lists, as plain files.
//!
//! `/tuf/pypi/`, `/tuf/npm/` and `/tuf/cargo/` hold the metadata of an ecosystem each, `/tuf/` that of the root of roots, and
//! `/tuf/targets/` the documents, under names that begin with their digests.

use axum::Router;
use axum::body::Body;
use axum::extract::{Path, State};
use axum::response::Response;
use axum::routing::get;
use countersign_registry::{Document, Error, Kind};
use http::{HeaderMap, HeaderValue, Method};

use crate::answer::{Keep, Stored};
use crate::error::{Refusal, shown};
use crate::site::Site;

/// The repository that lists the roots of the others.
const ROOTS: &str = "roots";

pub(super) fn routes() -> Router<Site> {
    Router::new()
        .route("/tuf/{file}", get(of_roots))
        .route("/tuf/{repository}/{file}", get(of_ecosystem))
        .route("/tuf/targets/{*target}", get(target))
}

async fn of_roots(
    State(site): State<Site>,
    Path(file): Path<String>,
    method: Method,
    headers: HeaderMap,
) -> Result<Response, Refusal> {
    metadata(&site, ROOTS, &file, &method, &headers).await
}

async fn of_ecosystem(
    State(site): State<Site>,
    Path((repository, file)): Path<(String, String)>,
    method: Method,
    headers: HeaderMap,
) -> Result<Response, Refusal> {
    if !matches!(repository.as_str(), "pypi" | "npm" | "cargo") {
        let message = format!("There is no TUF repository {} here.", shown(&repository));
        let error = Error::new(Kind::NotFound, "tuf-unknown", message);
        return Err(Refusal::text(
            error.remedy("They are listed at /.well-known/countersign.json."),
        ));
    }
    metadata(&site, &repository, &file, &method, &headers).await
}

async fn metadata(
    site: &Site,
    repository: &str,
    file: &str,
    method: &Method,
    headers: &HeaderMap,
) -> Result<Response, Refusal> {
    let found = site.registry.tuf_file(repository, file).await;
    let document = found.map_err(Refusal::text)?;
    let keep = if file == "timestamp.json" {
        Keep::Asking
    } else {
        Keep::Forever
    };
    Ok(served(site, &document, keep, method, headers))
}

async fn target(
    State(site): State<Site>,
    Path(target): Path<String>,
    method: Method,
    headers: HeaderMap,
) -> Result<Response, Refusal> {
    let (folder, file) = target.rsplit_once('/').unwrap_or(("", &target));
    let found = site.registry.tuf_target(folder, file).await;
    let document = found.map_err(Refusal::text)?;
    Ok(served(&site, &document, Keep::Forever, &method, &headers))
}

/// A document of TUF: metadata or a target, for our own index and for the services.
pub(super) fn served(
    site: &Site,
    document: &Document,
    keep: Keep,
    method: &Method,
    headers: &HeaderMap,
) -> Response {
    Stored {
        bytes: document.bytes.clone(),
        etag: &document.etag,
        content_type: HeaderValue::from_static("application/json"),
        keep,
        negotiated: false,
        public: site.is_public(),
    }
    .answer(method, headers)
    .map(Body::from)
}
