//! The transparency log as C2SP tlog-tiles reads it: plain files, cacheable.

use axum::Router;
use axum::body::Body;
use axum::extract::{Path, State};
use axum::response::Response;
use axum::routing::get;
use countersign_registry::{Document, Error, Kind};
use http::{HeaderMap, HeaderValue, Method};

use crate::answer::{Keep, Stored};
use crate::error::{Refusal, shown};
use crate::request_log::Noted;
use crate::site::Site;

/// Longest tile path: level, seven groups of three digits, width.
const LONGEST_TILE: usize = 64;

pub(super) fn routes() -> Router<Site> {
    Router::new()
        .route("/log/{shard}/checkpoint", get(checkpoint))
        .route("/log/{shard}/tile/{*tile}", get(tile))
        .route("/log/{shard}/leaf/{proof}", get(leaf_proof))
        .route("/log/{shard}/map/head.tlog-proof", get(map_head))
        .route("/log/{shard}/map/{level}/{folder}/{root}", get(map_tile))
}

async fn checkpoint(
    State(site): State<Site>,
    Path(shard): Path<String>,
    method: Method,
    headers: HeaderMap,
) -> Result<Response, Refusal> {
    let document = site
        .registry
        .checkpoint(shard_of(&shard)?)
        .await
        .map_err(Refusal::text)?;
    Ok(newest(&site, &document, &method, &headers))
}

async fn tile(
    State(site): State<Site>,
    Path((shard, tile)): Path<(String, String)>,
    method: Method,
    headers: HeaderMap,
) -> Result<Response, Refusal> {
    let path = tile_named(&tile)?;
    let document = site
        .registry
        .tile(shard_of(&shard)?, &path)
        .await
        .map_err(Refusal::text)?;
    Ok(served(
        &site,
        &document,
        "application/octet-stream",
        Keep::Forever,
        &method,
        &headers,
    ))
}

/// The path of a tile below its log, from what stands after `tile/` in an address.
pub(super) fn tile_named(tile: &str) -> Result<String, Refusal> {
    let fits = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'/' | b'.');
    if tile.len() > LONGEST_TILE || !tile.bytes().all(fits) || tile.contains("..") {
        let message = format!("There is no tile {} in the log.", shown(tile));
        return Err(Refusal::text(Error::new(
            Kind::NotFound,
            "tile-unknown",
            message,
        )));
    }
    Ok(format!("tile/{tile}"))
}

async fn leaf_proof(
    State(site): State<Site>,
    Path((shard, proof)): Path<(String, String)>,
    method: Method,
    headers: HeaderMap,
) -> Result<Response, Refusal> {
    let shard = shard_of(&shard)?;
    let Some(index) = proof.strip_suffix(".tlog-proof").and_then(number) else {
        let message = format!("There is no proof {} in the log.", shown(&proof));
        let error = Error::new(Kind::NotFound, "leaf-unknown", message);
        return Err(Refusal::text(
            error.remedy("Proofs are at /log/1/leaf/INDEX.tlog-proof."),
        ));
    };
    let document = site
        .registry
        .leaf_proof(shard, index)
        .await
        .map_err(Refusal::text)?;
    let mut response = served(
        &site,
        &document,
        "text/plain; charset=utf-8",
        Keep::Minutes,
        &method,
        &headers,
    );
    response.extensions_mut().insert(Noted {
        leaf: Some(index),
        ..Noted::default()
    });
    Ok(response)
}

/// The newest commitment to the map: its leaf is the extra data of its proof.
async fn map_head(
    State(site): State<Site>,
    Path(shard): Path<String>,
    method: Method,
    headers: HeaderMap,
) -> Result<Response, Refusal> {
    let document = site
        .registry
        .map_head(shard_of(&shard)?)
        .await
        .map_err(Refusal::text)?;
    Ok(newest(&site, &document, &method, &headers))
}

/// A tile of the map. All logs of a registry have one map, so a tile is the same below each of them.
async fn map_tile(
    State(site): State<Site>,
    Path((shard, level, folder, root)): Path<(String, String, String, String)>,
    method: Method,
    headers: HeaderMap,
) -> Result<Response, Refusal> {
    shard_of(&shard)?;
    let document = site
        .registry
        .map_tile(&format!("map/{level}/{folder}/{root}"))
        .await
        .map_err(Refusal::text)?;
    Ok(served(
        &site,
        &document,
        "application/octet-stream",
        Keep::Forever,
        &method,
        &headers,
    ))
}

fn shard_of(text: &str) -> Result<u64, Refusal> {
    number(text).ok_or_else(|| {
        let message = format!("There is no log {} here.", shown(text));
        Refusal::text(
            Error::new(Kind::NotFound, "log-unknown", message).remedy("The log is at /log/1/."),
        )
    })
}

/// A number in its one canonical spelling, so that each tile has one address.
pub(super) fn number(text: &str) -> Option<u64> {
    let number: u64 = text.parse().ok()?;
    (number.to_string() == text).then_some(number)
}

/// A note that the next one replaces: the checkpoint, and the proof of the map's newest root.
fn newest(site: &Site, document: &Document, method: &Method, headers: &HeaderMap) -> Response {
    let text = "text/plain; charset=utf-8";
    served(site, document, text, Keep::Seconds, method, headers)
}

pub(super) fn served(
    site: &Site,
    document: &Document,
    content_type: &'static str,
    keep: Keep,
    method: &Method,
    headers: &HeaderMap,
) -> Response {
    Stored {
        bytes: document.bytes.clone(),
        etag: &document.etag,
        content_type: HeaderValue::from_static(content_type),
        keep,
        negotiated: false,
        public: site.is_public(),
    }
    .answer(method, headers)
    .map(Body::from)
}
