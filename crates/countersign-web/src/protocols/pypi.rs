//! What Python installers read: the simple index and the legacy JSON.

use axum::Router;
use axum::body::Body;
use axum::extract::{Path, State};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use bytes::Bytes;
use countersign_formats::negotiate::{SimpleType, simple_type};
use countersign_formats::{Ecosystem, NameKey, Version, format};
use countersign_registry::{Document, DocumentKey, Error, Kind};
use http::header::{ACCEPT, CONTENT_SECURITY_POLICY, LOCATION};
use http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, Uri};

use crate::answer::{Keep, Stored};
use crate::error::{Refusal, shown};
use crate::request_log::Noted;
use crate::site::Site;

/// The header in which mirrors and caches look for the serial number.
const LAST_SERIAL: HeaderName = HeaderName::from_static("x-pypi-last-serial");

/// The content type of provenance objects.
const INTEGRITY: &str = "application/vnd.pypi.integrity.v1+json";

pub(super) fn routes() -> Router<Site> {
    Router::new()
        .route(
            "/pypi/simple",
            get(async |uri: Uri| redirect("/pypi/simple/", uri.query())),
        )
        .route("/pypi/simple/", get(index_page))
        .route("/pypi/simple/{name}", get(project_page))
        .route("/pypi/simple/{name}/", get(project_page))
        // The second form is for clients that are given the site's `/pypi` as their base.
        .route("/pypi/pypi/{name}/json", get(project_json))
        .route("/pypi/pypi/{name}/{version}/json", get(release_json))
        .route("/pypi/{name}/json", get(project_json))
        .route("/pypi/{name}/{version}/json", get(release_json))
        // The second form is for clients that build the address from the host alone.
        .route(
            "/pypi/integrity/{name}/{version}/{file}/provenance",
            get(integrity),
        )
        .route(
            "/integrity/{name}/{version}/{file}/provenance",
            get(integrity),
        )
}

/// The page of `rest` (`""` or `name/`, already in normal form) when it lies in memory and needs no redirect.
pub(crate) fn project_page_from_memory(
    site: &Site,
    rest: &str,
    method: &Method,
    headers: &HeaderMap,
) -> Option<http::Response<Bytes>> {
    let kind = simple_type(accepted(headers))?;
    let key = if rest.is_empty() {
        index_key(kind)
    } else {
        let name = rest.strip_suffix('/').filter(|name| is_normal(name))?;
        page_key(kind, name.to_owned())
    };
    let document = site.registry.cached_document(&key)?;
    Some(page(site, &document, kind, method, headers))
}

async fn index_page(
    State(site): State<Site>,
    uri: Uri,
    method: Method,
    headers: HeaderMap,
) -> Result<Response, Refusal> {
    let kind = chosen(&uri, &headers)?;
    let document = site
        .registry
        .document(&index_key(kind))
        .await
        .map_err(Refusal::text)?;
    Ok(page(&site, &document, kind, &method, &headers).map(Body::from))
}

async fn project_page(
    State(site): State<Site>,
    Path(name): Path<String>,
    uri: Uri,
    method: Method,
    headers: HeaderMap,
) -> Result<Response, Refusal> {
    let key = key_of(&name)?;
    let address = format!("/pypi/simple/{key}/");
    if uri.path() != address {
        return Ok(redirect(&address, uri.query()));
    }
    let kind = chosen(&uri, &headers)?;
    let document = site
        .registry
        .document(&page_key(kind, key.as_str().to_owned()))
        .await
        .map_err(|error| site.missing(Ecosystem::Pypi, &key, error))
        .map_err(Refusal::text)?;
    Ok(noting(
        page(&site, &document, kind, &method, &headers),
        &key,
    ))
}

async fn project_json(
    State(site): State<Site>,
    Path(name): Path<String>,
    method: Method,
    headers: HeaderMap,
) -> Result<Response, Refusal> {
    let key = key_of(&name)?;
    let document = site
        .registry
        .legacy_json_with_advisories(key.as_str(), None)
        .await
        .map_err(Refusal::text)?;
    Ok(noting(json(&site, &document, &method, &headers), &key))
}

async fn release_json(
    State(site): State<Site>,
    Path((name, version)): Path<(String, String)>,
    method: Method,
    headers: HeaderMap,
) -> Result<Response, Refusal> {
    let key = key_of(&name)?;
    let parsed = version_of(&name, &version)?;
    let document = site
        .registry
        .legacy_json_with_advisories(key.as_str(), Some(parsed.canonical()))
        .await
        .map_err(Refusal::text)?;
    Ok(noting(json(&site, &document, &method, &headers), &key))
}

/// The provenance object of a file (PEP 740).
async fn integrity(
    State(site): State<Site>,
    Path((name, version, file)): Path<(String, String, String)>,
    method: Method,
    headers: HeaderMap,
) -> Result<Response, Refusal> {
    let wanted = accepted(&headers).unwrap_or("*/*");
    let fits = wanted.split(',').any(|range| {
        let media = range.split(';').next().unwrap_or_default().trim();
        [INTEGRITY, "application/json", "application/*", "*/*"].contains(&media)
    });
    if !fits {
        let error = Error::new(
            Kind::Rejected,
            "not-acceptable",
            format!("Provenance is not available as {}.", shown(wanted)),
        );
        return Err(Refusal::text(
            error.remedy(format!("It is available as {INTEGRITY}.")),
        ));
    }
    let key = key_of(&name)?;
    let version = version_of(&name, &version)?;
    let document = site
        .registry
        .integrity_document(key.as_str(), version.canonical(), &file)
        .await
        .map_err(Refusal::text)?;
    let response = Stored {
        bytes: document.bytes.clone(),
        etag: &document.etag,
        content_type: HeaderValue::from_static(INTEGRITY),
        keep: Keep::Minutes,
        negotiated: false,
        public: site.is_public(),
    }
    .answer(&method, &headers);
    Ok(noting(response, &key))
}

fn index_key(kind: SimpleType) -> DocumentKey {
    match kind {
        SimpleType::Json => DocumentKey::SimpleIndexJson,
        SimpleType::Html | SimpleType::PlainHtml => DocumentKey::SimpleIndexHtml,
    }
}

fn page_key(kind: SimpleType, key: String) -> DocumentKey {
    match kind {
        SimpleType::Json => DocumentKey::Index(Ecosystem::Pypi, key),
        SimpleType::Html | SimpleType::PlainHtml => DocumentKey::SimpleHtml(Ecosystem::Pypi, key),
    }
}

fn page(
    site: &Site,
    document: &Document,
    kind: SimpleType,
    method: &Method,
    headers: &HeaderMap,
) -> http::Response<Bytes> {
    let mut response = Stored {
        bytes: document.bytes.clone(),
        etag: &document.etag,
        content_type: HeaderValue::from_static(kind.content_type()),
        keep: Keep::Minutes,
        negotiated: true,
        public: site.is_public(),
    }
    .answer(method, headers);
    response
        .headers_mut()
        .insert(LAST_SERIAL, HeaderValue::from(document.serial));
    if kind == SimpleType::PlainHtml {
        let nothing = HeaderValue::from_static("default-src 'none'; frame-ancestors 'none'");
        response
            .headers_mut()
            .insert(CONTENT_SECURITY_POLICY, nothing);
    }
    response
}

fn json(
    site: &Site,
    document: &Document,
    method: &Method,
    headers: &HeaderMap,
) -> http::Response<Bytes> {
    let mut response = Stored {
        bytes: document.bytes.clone(),
        etag: &document.etag,
        content_type: HeaderValue::from_static("application/json"),
        keep: Keep::Minutes,
        negotiated: false,
        public: site.is_public(),
    }
    .answer(method, headers);
    response
        .headers_mut()
        .insert(LAST_SERIAL, HeaderValue::from(document.serial));
    response
}

fn noting(response: http::Response<Bytes>, key: &NameKey) -> Response {
    let mut response = response.map(Body::from);
    response.extensions_mut().insert(Noted {
        ecosystem: Some(Ecosystem::Pypi.as_str()),
        project: Some(key.as_str().to_owned()),
        ..Noted::default()
    });
    response
}

fn accepted(headers: &HeaderMap) -> Option<&str> {
    headers.get(ACCEPT).and_then(|value| value.to_str().ok())
}

/// The content type asked for, by `?format=` (PEP 691) or else by `Accept`.
fn chosen(uri: &Uri, headers: &HeaderMap) -> Result<SimpleType, Refusal> {
    let wanted = uri.query().and_then(|query| {
        query
            .split('&')
            .find_map(|pair| pair.strip_prefix("format="))
            .map(|value| {
                // A plus sign stands for itself in a media type; strict form decoding would make it a space.
                percent_encoding::percent_decode_str(value)
                    .decode_utf8_lossy()
                    .replace(' ', "+")
            })
    });
    let wanted = wanted.as_deref().or_else(|| accepted(headers));
    simple_type(wanted).ok_or_else(|| {
        let error = Error::new(
            Kind::Rejected,
            "not-acceptable",
            format!(
                "The index is not available as {}.",
                shown(wanted.unwrap_or_default())
            ),
        );
        let offers: Vec<&str> = SimpleType::ALL
            .iter()
            .map(|kind| kind.content_type())
            .collect();
        Refusal::text(error.remedy(format!("It is available as {}.", offers.join(", "))))
    })
}

/// A name in normal form (PEP 503): lower-case ASCII letters, digits and single inner dashes.
fn is_normal(name: &str) -> bool {
    let fits = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
    name.bytes().all(fits)
        && !name.is_empty()
        && !name.starts_with('-')
        && !name.ends_with('-')
        && !name.contains("--")
}

/// The key of a name that somebody asks for. What is no name can not be here: 404, which lets installers that know
/// several indexes go on to the next one.
fn key_of(name: &str) -> Result<NameKey, Refusal> {
    format(Ecosystem::Pypi).name_key(name).map_err(|rejection| {
        let error = Error::new(
            Kind::NotFound,
            "project-unknown",
            format!("There is no project {} here.", shown(name)),
        );
        Refusal::text(error.remedy(rejection.to_string()))
    })
}

fn version_of(name: &str, version: &str) -> Result<Version, Refusal> {
    format(Ecosystem::Pypi)
        .version(version)
        .map_err(|rejection| {
            let message = format!("{} has no release {}.", shown(name), shown(version));
            Refusal::text(
                Error::new(Kind::NotFound, "release-unknown", message)
                    .remedy(rejection.to_string()),
            )
        })
}

fn redirect(address: &str, query: Option<&str>) -> Response {
    let target = match query {
        Some(query) => format!("{address}?{query}"),
        None => address.to_owned(),
    };
    match HeaderValue::from_str(&target) {
        Ok(location) => (StatusCode::MOVED_PERMANENTLY, [(LOCATION, location)]).into_response(),
        Err(_) => Refusal::text(crate::error::no_such_page(address)).into_response(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn normal_names_are_told_from_others() {
        for name in ["a", "a-b", "a1-2b", "zope-interface"] {
            assert!(is_normal(name), "{name}");
        }
        for name in [
            "", "-", "a-", "-a", "a--b", "A", "a_b", "a.b", "a%20b", "\u{212a}", "a/b",
        ] {
            assert!(!is_normal(name), "{name}");
        }
    }

    #[test]
    fn the_format_parameter_overrules_the_accept_header() {
        let headers = HeaderMap::new();
        for (uri, kind) in [
            ("/pypi/simple/", SimpleType::PlainHtml),
            (
                "/pypi/simple/?format=application/vnd.pypi.simple.v1+json",
                SimpleType::Json,
            ),
            (
                "/pypi/simple/?x=1&format=application%2Fvnd.pypi.simple.latest%2Bhtml",
                SimpleType::Html,
            ),
        ] {
            assert_eq!(
                chosen(&uri.parse().unwrap(), &headers).ok(),
                Some(kind),
                "{uri}"
            );
        }
        let refusal =
            chosen(&"/pypi/simple/?format=image/png".parse().unwrap(), &headers).unwrap_err();
        assert_eq!(refusal.status(), StatusCode::NOT_ACCEPTABLE);
    }
}
