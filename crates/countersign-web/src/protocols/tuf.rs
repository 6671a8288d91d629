//! TUF: signed metadata and the index documents that it lists, as plain files.
//!
//! `/tuf/pypi/`, `/tuf/npm/` and `/tuf/cargo/` hold the metadata of an ecosystem each, `/tuf/` that of the root of roots, and
//! `/tuf/targets/` the documents, under names that begin with their digests. Metadata is packed by gzip for those who take it
//! so: a snapshot of thousands of bins is a sixth of its length then.

use std::sync::Arc;

use axum::Router;
use axum::body::Body;
use axum::extract::{Path, State};
use axum::response::Response;
use axum::routing::get;
use countersign_registry::{Document, Error, Kind};
use http::header::{ACCEPT_ENCODING, CONTENT_ENCODING, VARY};
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
    metadata_served(site, document, keep, method, headers).await
}

/// Shorter ones are not worth the packing.
const WORTH_PACKING: usize = 1_024;

/// Longer ones take milliseconds, which others must not wait for.
const LONG: usize = 64 << 10;

/// A file of metadata, packed where that is welcome.
pub(super) async fn metadata_served(
    site: &Site,
    document: Arc<Document>,
    keep: Keep,
    method: &Method,
    headers: &HeaderMap,
) -> Result<Response, Refusal> {
    let worth = document.bytes.len() >= WORTH_PACKING;
    let packed = if !worth || !takes_gzip(headers) {
        None
    } else if document.bytes.len() < LONG || document.is_packed() {
        document.packed()
    } else {
        let document = document.clone();
        let packing = tokio::task::spawn_blocking(move || document.packed());
        packing.await.unwrap_or(None)
    };
    let mut response = match packed {
        None => served(site, &document, keep, method, headers),
        Some(bytes) => {
            // Other bytes, so another tag.
            let etag = format!("{}-gzip\"", document.etag.trim_end_matches('"'));
            let stored = Stored {
                bytes,
                etag: &etag,
                content_type: HeaderValue::from_static("application/json"),
                keep,
                negotiated: false,
                public: site.is_public(),
            };
            let mut response = stored.answer(method, headers).map(Body::from);
            let gzip = HeaderValue::from_static("gzip");
            response.headers_mut().insert(CONTENT_ENCODING, gzip);
            response
        }
    };
    if worth {
        let encoding = HeaderValue::from_static("Accept-Encoding");
        response.headers_mut().append(VARY, encoding);
    }
    Ok(response)
}

/// Does the client take gzip?
fn takes_gzip(headers: &HeaderMap) -> bool {
    let lists = headers.get_all(ACCEPT_ENCODING).iter();
    lists
        .filter_map(|value| value.to_str().ok())
        .flat_map(|list| list.split(',').take(32))
        .any(|item| {
            let (name, weight) = item.split_once(';').unwrap_or((item, ""));
            let weight = weight.trim().trim_start_matches("q=");
            let refused = !weight.is_empty() && weight.parse::<f32>().is_ok_and(|q| q <= 0.0);
            name.trim().eq_ignore_ascii_case("gzip") && !refused
        })
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_who_names_gzip_gets_it() {
        for (list, takes) in [
            ("gzip", true),
            ("GZIP", true),
            ("br, gzip;q=0.5", true),
            ("identity;q=1, gzip; q=1.0", true),
            ("gzip;q=0", false),
            ("gzip;q=0.000", false),
            ("identity", false),
            ("*", false),
            ("", false),
        ] {
            let mut headers = HeaderMap::new();
            headers.insert(ACCEPT_ENCODING, list.parse().unwrap());
            assert_eq!(takes_gzip(&headers), takes, "{list}");
        }
        assert!(!takes_gzip(&HeaderMap::new()));
    }
}
