//! Packuments and tarballs.

use std::collections::HashMap;

use axum::body::Body;
use axum::response::Response;
use bytes::Bytes;
use countersign_formats::Ecosystem;
use countersign_formats::npm::name::PackageName;
use countersign_registry::model::Actor;
use countersign_registry::{Document, DocumentKey, Error, Kind};
use http::header::ACCEPT;
use http::{HeaderMap, HeaderValue, Method};
use serde::Deserialize;
use serde_json::Value;
use serde_json::value::RawValue;
use tokio::sync::Semaphore;

use super::access::unknown;
use super::{Answer, Call, noted, told};
use crate::answer::{Keep, Stored};
use crate::error::{Refusal, quality_of, shown};
use crate::protocols::files;
use crate::request_log::Noted;
use crate::site::Site;

/// The type of abbreviated packuments, as a whole and in its two parts.
const ABBREVIATED: (&str, &str, &str) = (
    "application/vnd.npm.install-v1+json",
    "application",
    "vnd.npm.install-v1+json",
);

/// How many packuments are taken apart at one time.
static PLACES: Semaphore = Semaphore::const_new(4);

/// Which packument.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kept {
    /// What installers go by.
    Abbreviated,
    /// What people and tools ask for.
    Full,
}

impl Kept {
    /// What a client wants: the abbreviated one where it names its type and does not prefer plain JSON.
    fn wanted(headers: &HeaderMap) -> Self {
        let accept = headers
            .get(ACCEPT)
            .and_then(|value| value.to_str().ok())
            .unwrap_or_default();
        // The cheap look first: most who name the type are installers.
        if !accept.contains(ABBREVIATED.2) {
            return Self::Full;
        }
        let abbreviated = quality_of(accept, ABBREVIATED.1, ABBREVIATED.2);
        if abbreviated > 0 && abbreviated >= quality_of(accept, "application", "json") {
            Self::Abbreviated
        } else {
            Self::Full
        }
    }

    fn key(self, name: &PackageName) -> DocumentKey {
        let key = name.key().as_str().to_owned();
        match self {
            Self::Abbreviated => DocumentKey::Index(Ecosystem::Npm, key),
            Self::Full => DocumentKey::Packument(key),
        }
    }

    fn answer(
        self,
        site: &Site,
        document: &Document,
        method: &Method,
        headers: &HeaderMap,
    ) -> http::Response<Bytes> {
        Stored {
            bytes: document.bytes.clone(),
            etag: &document.etag,
            content_type: HeaderValue::from_static(match self {
                Self::Abbreviated => ABBREVIATED.0,
                Self::Full => "application/json",
            }),
            keep: Keep::Asking,
            negotiated: true,
            public: site.is_public(),
        }
        .answer(method, headers)
    }
}

/// The packument that the client wants when it lies in memory.
pub(super) fn packument_from_memory(
    site: &Site,
    name: &PackageName,
    method: &Method,
    headers: &HeaderMap,
) -> Option<http::Response<Bytes>> {
    let kept = Kept::wanted(headers);
    let document = site.registry.cached_document(&kept.key(name))?;
    (*document.name == *name.as_str()).then(|| kept.answer(site, &document, method, headers))
}

/// A packument. Who is about to change something (`?write=true`) sees the own star in it, and nobody's else.
pub(super) async fn packument(call: &Call<'_>, name: &PackageName) -> Answer {
    let site = call.site;
    let actor = site.viewer(call.headers).await.map_err(Refusal::npm)?;
    let kept = Kept::wanted(call.headers);
    let document = document(site, kept, name).await?;
    let writes = call.asked("write").as_deref() == Some("true");
    if writes && kept == Kept::Full {
        let starred = site
            .registry
            .has_starred(&actor, Ecosystem::Npm, name.as_str())
            .await
            .map_err(Refusal::npm)?;
        if starred {
            let answer = told(with_star(&document, &actor)?);
            return Ok(noted(&actor, Some(name), answer));
        }
    }
    let answer = kept.answer(site, &document, call.method, call.headers);
    Ok(noted(&actor, Some(name), answer.map(Body::from)))
}

fn with_star(document: &Document, actor: &Actor) -> Result<String, Refusal> {
    let mut packument: Value = serde_json::from_slice(&document.bytes).map_err(broken)?;
    packument["users"] = serde_json::json!({ actor.name(): true });
    Ok(packument.to_string())
}

/// The document, under the spelling that its owners gave it.
async fn document(
    site: &Site,
    kept: Kept,
    name: &PackageName,
) -> Result<std::sync::Arc<Document>, Refusal> {
    let document = site
        .registry
        .document(&kept.key(name))
        .await
        .map_err(|error| site.missing(Ecosystem::Npm, &name.key(), error))
        .map_err(|error| match &*error.code {
            "project-unknown" => Refusal::npm(unknown(name)),
            _ => Refusal::npm(error),
        })?;
    if *document.name != *name.as_str() {
        return Err(Refusal::npm(unknown(name)));
    }
    Ok(document)
}

/// The full packument as it is now.
pub(super) async fn full(
    site: &Site,
    name: &PackageName,
) -> Result<std::sync::Arc<Document>, Refusal> {
    document(site, Kept::Full, name).await
}

fn broken(source: serde_json::Error) -> Refusal {
    Refusal::npm(Error::internal("a packument is not JSON", source))
}

/// A packument, taken apart as far as one version needs.
#[derive(Deserialize)]
struct Versions<'d> {
    #[serde(rename = "dist-tags")]
    tags: HashMap<String, String>,
    #[serde(borrow)]
    versions: HashMap<&'d str, &'d RawValue>,
}

/// One version, by its number or a tag.
pub(super) async fn version(call: &Call<'_>, name: &PackageName, wanted: &str) -> Answer {
    let actor = call.site.viewer(call.headers).await.map_err(Refusal::npm)?;
    let document = full(call.site, name).await?;
    // Packuments can be megabytes: taken apart away from the async threads, a few at a time.
    let _place = PLACES
        .acquire()
        .await
        .map_err(|error| Refusal::npm(Error::internal("a semaphore was closed", error)))?;
    let which = wanted.to_owned();
    let found = tokio::task::spawn_blocking(move || one_version(&document.bytes, &which))
        .await
        .map_err(|error| Refusal::npm(Error::internal("reading a packument broke off", error)))?
        .map_err(broken)?;
    let found = found.ok_or_else(|| {
        let message = format!("{name} has neither a version nor a tag {}.", shown(wanted));
        Refusal::npm(
            Error::new(Kind::NotFound, "release-unknown", message)
                .remedy("npm view shows the versions and tags that there are."),
        )
    })?;
    Ok(noted(&actor, Some(name), told(found)))
}

/// One version of a packument, by its number or a tag.
fn one_version(packument: &[u8], wanted: &str) -> serde_json::Result<Option<String>> {
    let known: Versions<'_> = serde_json::from_slice(packument)?;
    let number = known.tags.get(wanted).map_or(wanted, String::as_str);
    let found = known.versions.get(number);
    Ok(found.map(|version| version.get().to_owned()))
}

/// A tarball whose bytes lie in memory.
pub(super) fn tarball_from_memory(
    site: &Site,
    name: &PackageName,
    file: &str,
    method: &Method,
    headers: &HeaderMap,
) -> Option<http::Response<Bytes>> {
    let file = site
        .registry
        .cached_named_file(Ecosystem::Npm, &name.key(), file)?;
    files::from_memory(site, &file, method, headers)
}

/// A tarball by the name of its package.
pub(super) async fn tarball(call: &Call<'_>, name: &PackageName, file: &str) -> Answer {
    let actor = call.site.viewer(call.headers).await.map_err(Refusal::npm)?;
    let found = call
        .site
        .registry
        .named_file(Ecosystem::Npm, &name.key(), file)
        .await
        .map_err(Refusal::npm)?;
    let answer = files::whole_or_part(call.site, &found, call.method, call.headers)
        .await
        .map_err(Refusal::npm)?;
    let mut answer: Response = noted(&actor, Some(name), answer);
    if let Some(noted) = answer.extensions_mut().get_mut::<Noted>() {
        noted.filename = Some(file.to_owned());
    }
    Ok(answer)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_version_is_found_by_its_number_and_by_a_tag() {
        let packument = br#"{"dist-tags":{"latest":"1.0.0","gone":"9.0.0"},"versions":{"1.0.0":{ "name":"x"}}}"#;
        let found = |wanted| one_version(packument, wanted).unwrap();
        for wanted in ["1.0.0", "latest"] {
            assert_eq!(found(wanted).unwrap(), "{ \"name\":\"x\"}");
        }
        assert_eq!((found("gone"), found("2.0.0")), (None, None));
    }

    #[test]
    fn installers_get_the_abbreviated_packument_and_everybody_else_the_full_one() {
        for (accept, kept) in [
            (
                "application/vnd.npm.install-v1+json; q=1.0, application/json; q=0.8, */*",
                Kept::Abbreviated,
            ),
            ("application/vnd.npm.install-v1+json", Kept::Abbreviated),
            (
                "application/vnd.npm.install-v1+json, application/json",
                Kept::Abbreviated,
            ),
            (
                "application/json, application/vnd.npm.install-v1+json;q=0.5",
                Kept::Full,
            ),
            ("application/vnd.npm.install-v1+json;q=0", Kept::Full),
            ("application/json", Kept::Full),
            ("*/*", Kept::Full),
            ("", Kept::Full),
        ] {
            let mut headers = HeaderMap::new();
            headers.insert(ACCEPT, accept.parse().unwrap());
            assert_eq!(Kept::wanted(&headers), kept, "{accept}");
        }
    }
}
