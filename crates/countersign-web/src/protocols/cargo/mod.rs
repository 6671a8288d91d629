//! Cargo's registry: the sparse index below `/cargo/index/`, the web API below `/cargo/api/v1/`.
//!
//! Clients configure `sparse+SITE/cargo/index/`, or `sparse+SITE/cargo/private/` for private crates of a public instance. The index's `config.json` says where the rest is: `api` is `SITE/cargo`, behind
//! which cargo appends `/api/v1/…`; `dl` names files by their digest, so that downloads come from the same memory as
//! everybody else's.

mod manage;
mod owners;
mod publish;
mod trusted;

use axum::Router;
use axum::body::Body;
use axum::extract::{Path, State};
use axum::response::{IntoResponse, Response};
use axum::routing::{delete, get, put};
use bytes::Bytes;
use countersign_formats::cargo::{index, name};
use countersign_formats::{Ecosystem, NameKey, format};
use countersign_registry::{Document, DocumentKey, Error, Kind};
use countersign_trust::digest::Sha256;
use http::header::{CACHE_CONTROL, CONTENT_TYPE};
use http::{HeaderMap, HeaderName, HeaderValue, Method};

use crate::answer::{Keep, Stored};
use crate::error::{Refusal, shown};
use crate::request_log::Noted;
use crate::site::Site;

const SYSTEM: Ecosystem = Ecosystem::Cargo;

const NO_STORE: (HeaderName, HeaderValue) = (CACHE_CONTROL, HeaderValue::from_static("no-store"));

pub(super) fn routes() -> Router<Site> {
    Router::new()
        .route("/cargo/index/config.json", get(config))
        .route("/cargo/index/{*path}", get(entries))
        .route("/cargo/private/config.json", get(private_config))
        .route("/cargo/private/{*path}", get(private_entries))
        .route("/cargo/api/v1/crates", get(manage::search))
        .route("/cargo/api/v1/crates/new", put(publish::publish))
        .route(
            "/cargo/api/v1/crates/{name}/{version}/download",
            get(download),
        )
        .route(
            "/cargo/api/v1/crates/{name}/{version}/yank",
            delete(manage::yank),
        )
        .route(
            "/cargo/api/v1/crates/{name}/{version}/unyank",
            put(manage::unyank),
        )
        .route(
            "/cargo/api/v1/crates/{name}/{version}/provenance",
            get(manage::provenance),
        )
        .route(
            "/cargo/api/v1/crates/{name}/owners",
            get(owners::list).put(owners::add).delete(owners::remove),
        )
        .merge(trusted::routes())
}

/// Whether a path belongs to cargo's dialect, errors included. The page of `cargo login` is one of ours.
pub(crate) fn speaks(path: &str) -> bool {
    path.starts_with("/cargo/") && path != "/cargo/me"
}

/// Whether a restricted instance lets a request in without asking who reads: what has a check of its own.
pub(crate) fn checks_itself(method: &Method, path: &str) -> bool {
    match path {
        "/cargo/api/v1/crates/new" => method == Method::PUT,
        "/cargo/api/v1/trusted_publishing/tokens" => {
            matches!(*method, Method::POST | Method::DELETE)
        }
        _ => false,
    }
}

/// Whether this is what cargo reads while it publishes, with the one token that it has for a registry: the index and
/// the crates.
pub(crate) fn reads_with_publishing_token(method: &Method, path: &str) -> bool {
    matches!(*method, Method::GET | Method::HEAD)
        && (path.starts_with("/cargo/index/")
            || path.starts_with("/cargo/private/")
            || (path.starts_with("/cargo/api/v1/crates/") && path.ends_with("/download")))
}

/// Where `cargo login` sends people.
pub(crate) fn login_url(site: &str) -> String {
    format!("{site}/cargo/me")
}

/// The index's `config.json`.
async fn config(State(site): State<Site>, method: Method, headers: HeaderMap) -> Response {
    configured(&site, site.is_public(), &method, &headers)
}

/// The same of the index for those who have a token: cargo sends one to an index whose `config.json` says so, and to no
/// other, and whatever it asks for there it asks with the token. So private crates of a public instance are read here.
/// Whoever has none is asked for it whatever the address names, so that nobody learns what is there.
async fn private_config(
    State(site): State<Site>,
    method: Method,
    headers: HeaderMap,
) -> Result<Response, Refusal> {
    site.client(&headers, SYSTEM)
        .await
        .map_err(Refusal::cargo)?;
    Ok(configured(&site, false, &method, &headers))
}

async fn private_entries(
    State(site): State<Site>,
    path: Path<String>,
    method: Method,
    headers: HeaderMap,
) -> Result<Response, Refusal> {
    site.client(&headers, SYSTEM)
        .await
        .map_err(Refusal::cargo)?;
    let mut answer = entries(State(site), path, method, headers).await?;
    // The same lines as at the open address, but not for everybody.
    answer
        .headers_mut()
        .insert(CACHE_CONTROL, HeaderValue::from_static("no-cache, private"));
    Ok(answer)
}

fn configured(site: &Site, open: bool, method: &Method, headers: &HeaderMap) -> Response {
    let url = site.url();
    let config = index::Config {
        // Where cargo has a token, it is asked for at cargo's own addresses.
        dl: if open {
            format!("{url}/files/{{sha256-checksum}}/{{crate}}-{{version}}.crate")
        } else {
            format!("{url}/cargo/api/v1/crates")
        },
        api: Some(format!("{url}/cargo")),
        auth_required: !open,
    };
    let bytes = Bytes::from(config.render());
    let etag = format!("\"{}\"", &Sha256::of(&bytes).to_hex()[..32]);
    let mut response = Stored {
        bytes,
        etag: &etag,
        content_type: HeaderValue::from_static("application/json"),
        keep: Keep::Minutes,
        negotiated: false,
        public: open,
    }
    .answer(method, headers);
    response
        .headers_mut()
        .insert(CACHE_CONTROL, HeaderValue::from_static("no-cache"));
    response.map(Body::from)
}

/// The index file at `path` when it lies in memory.
pub(crate) fn entries_from_memory(
    site: &Site,
    path: &str,
    method: &Method,
    headers: &HeaderMap,
) -> Option<http::Response<Bytes>> {
    let lower = name::of_index_path(path)?;
    let key = name::key(lower).ok()?;
    let key = DocumentKey::Index(SYSTEM, key.as_str().to_owned());
    let document = site.registry.cached_document(&key)?;
    is_index_of(&document, lower).then(|| lines(site, &document, method, headers))
}

async fn entries(
    State(site): State<Site>,
    Path(path): Path<String>,
    method: Method,
    headers: HeaderMap,
) -> Result<Response, Refusal> {
    let unknown = || {
        let error = Error::new(
            Kind::NotFound,
            "project-unknown",
            format!("There is no crate whose index is at {}.", shown(&path)),
        );
        Refusal::cargo(error.remedy("Crates are at the place that cargo works out from the name."))
    };
    let lower = name::of_index_path(&path).ok_or_else(unknown)?;
    let key = name::key(lower).map_err(Refusal::cargo)?;
    let document = site
        .registry
        .document(&DocumentKey::Index(SYSTEM, key.as_str().to_owned()))
        .await
        .map_err(|error| site.missing(SYSTEM, &key, error))
        .map_err(Refusal::cargo)?;
    if !is_index_of(&document, lower) {
        return Err(unknown());
    }
    Ok(noting(
        lines(&site, &document, &method, &headers).map(Body::from),
        key.as_str(),
    ))
}

/// Whether these are the lines of a crate of that very spelling: `a-b` and `a_b` are one crate, of which there is one
/// index. What has no lines is no crate for cargo.
fn is_index_of(document: &Document, lower: &str) -> bool {
    const BEGIN: &[u8] = b"{\"name\":\"";
    document
        .bytes
        .strip_prefix(BEGIN)
        .and_then(|rest| rest.get(..lower.len() + 1))
        .is_some_and(|rest| {
            rest.ends_with(b"\"") && rest[..lower.len()].eq_ignore_ascii_case(lower.as_bytes())
        })
}

fn lines(
    site: &Site,
    document: &Document,
    method: &Method,
    headers: &HeaderMap,
) -> http::Response<Bytes> {
    let mut response = Stored {
        bytes: document.bytes.clone(),
        etag: &document.etag,
        content_type: HeaderValue::from_static("text/plain; charset=utf-8"),
        keep: Keep::Minutes,
        negotiated: false,
        public: site.is_public(),
    }
    .answer(method, headers);
    // cargo asks again by the tag each time; a cache in between must too, or a publisher waits for its own version.
    response
        .headers_mut()
        .insert(CACHE_CONTROL, HeaderValue::from_static("no-cache"));
    response
}

/// The `.crate` of a version, for those who do not take it by its digest.
async fn download(
    State(site): State<Site>,
    Path((name, version)): Path<(String, String)>,
    method: Method,
    headers: HeaderMap,
) -> Result<Response, Refusal> {
    let key = key_of(&name)?;
    let filename = format!("{name}-{version}.crate");
    let file = site
        .registry
        .named_file(SYSTEM, &key, &filename)
        .await
        .map_err(Refusal::cargo)?;
    let response = super::files::whole_or_part(&site, &file, &method, &headers)
        .await
        .map_err(Refusal::cargo)?;
    let mut response = noting(response, &name);
    // The address does not name the bytes.
    response
        .headers_mut()
        .insert(CACHE_CONTROL, HeaderValue::from_static("no-cache"));
    Ok(response)
}

/// The key of a name that somebody asks for; what is no name is not here.
fn key_of(name: &str) -> Result<NameKey, Refusal> {
    format(SYSTEM).name_key(name).map_err(|rejection| {
        let error = Error::new(
            Kind::NotFound,
            "project-unknown",
            format!("There is no crate {} here.", shown(name)),
        );
        Refusal::cargo(error.remedy(rejection.to_string()))
    })
}

/// The number that stands for one of our texts where cargo's clients want one: 31 bits, since they read it as such.
fn number(text: &str) -> u32 {
    let digest = Sha256::of(text.as_bytes());
    digest.as_bytes()[..4]
        .iter()
        .fold(0_u32, |number, byte| (number << 8) | u32::from(*byte))
        & 0x7fff_ffff
}

/// An answer of the web API.
fn json(body: String) -> Response {
    let kind = (CONTENT_TYPE, HeaderValue::from_static("application/json"));
    ([kind, NO_STORE], body).into_response()
}

fn noting(mut response: Response, project: &str) -> Response {
    response.extensions_mut().insert(Noted {
        ecosystem: Some(SYSTEM.as_str()),
        project: Some(project.to_owned()),
        ..Noted::default()
    });
    response
}

/// The response with what the log line says of it.
fn done(mut response: Response, actor: &str, project: &str) -> Response {
    response.extensions_mut().insert(Noted {
        actor: Some(actor.to_owned()),
        ecosystem: Some(SYSTEM.as_str()),
        project: Some(project.to_owned()),
        ..Noted::default()
    });
    response
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_the_same_each_time_and_fit_31_bits() {
        assert_eq!(number("a"), number("a"));
        assert_ne!(number("a"), number("b"));
        for id in 0..1_000 {
            assert!(i32::try_from(number(&id.to_string())).is_ok());
        }
    }

    #[test]
    fn only_what_asks_for_itself_passes_the_gate() {
        let new = "/cargo/api/v1/crates/new";
        assert!(checks_itself(&Method::PUT, new));
        assert!(!checks_itself(&Method::GET, new));
        let tokens = "/cargo/api/v1/trusted_publishing/tokens";
        assert!(checks_itself(&Method::POST, tokens));
        assert!(checks_itself(&Method::DELETE, tokens));
        assert!(!checks_itself(&Method::GET, tokens));
        for path in [
            "/cargo/index/config.json",
            "/cargo/api/v1/crates",
            "/cargo/api/v1/crates/new/1.0.0/yank",
            "/cargo/api/v1/trusted_publishing/github_configs",
        ] {
            for method in [Method::GET, Method::PUT, Method::POST, Method::DELETE] {
                assert!(!checks_itself(&method, path), "{method} {path}");
            }
        }
    }

    #[test]
    fn a_publishing_token_reads_the_index_and_crates_alone() {
        let reads = |path: &str| reads_with_publishing_token(&Method::GET, path);
        assert!(reads("/cargo/index/config.json"));
        assert!(reads("/cargo/index/se/rd/serde"));
        assert!(reads("/cargo/private/se/rd/serde"));
        assert!(reads("/cargo/api/v1/crates/serde/1.0.0/download"));
        for path in [
            "/cargo/api/v1/crates",
            "/cargo/api/v1/crates/serde/owners",
            "/cargo/api/v1/crates/serde/1.0.0/provenance",
            "/files/00/serde-1.0.0.crate",
            "/pypi/simple/",
            "/",
        ] {
            assert!(!reads(path), "{path}");
        }
        assert!(!reads_with_publishing_token(
            &Method::POST,
            "/cargo/index/config.json"
        ));
    }
}
