//! What npm's clients ask about trust: the keys of the registry's signatures, attestations, trusted publishing, staged
//! publications, and the second factor. Below `/npm/`, and at the root, where clients ask that drop the path.
//!
//! Names stand in addresses in every encoding, so each address is read as it came ([`Place`]).

mod attested;
mod stage;
pub(crate) mod step_up;

use std::collections::BTreeMap;

use axum::Json;
use axum::body::Body;
use axum::response::{IntoResponse, Response};
use countersign_formats::npm::name::{PackageName, decode};
use countersign_formats::npm::trust;
use countersign_formats::{Ecosystem, purl};
use countersign_registry::model::{CallerOrigin, Permits};
use countersign_registry::oidc::{Rule, Test};
use countersign_registry::{Act, Error, Kind, NewPublisher, PublisherSummary, Wanted};
use http::header::{AUTHORIZATION, CACHE_CONTROL, CONTENT_TYPE};
use http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode};
use serde_json::{Value, json};

use crate::body::whole;
use crate::error::{self, Refusal, notify_npm};
use crate::request_log::Noted;
use crate::site::Site;
use step_up::Request;

const NO_STORE: (HeaderName, HeaderValue) = (CACHE_CONTROL, HeaderValue::from_static("no-store"));
const JSON: (HeaderName, HeaderValue) =
    (CONTENT_TYPE, HeaderValue::from_static("application/json"));

/// What an address names, of what is answered here.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Place<'p> {
    /// `-/npm/v1/keys`
    Keys,
    /// `-/npm/v1/attestations/{name}@{version}`
    Attestations(PackageName, String),
    /// `-/npm/v1/oidc/token/exchange/package/{name}`
    Exchange(PackageName),
    /// `-/v1/done/{id}`
    Done(&'p str),
    /// `-/package/{name}/trust`
    Trust(PackageName),
    /// `-/package/{name}/trust/{id}`
    TrustedOne(PackageName, String),
    /// `-/stage`
    Staged,
    /// `-/stage/package/{name}`
    Stage(PackageName),
    /// `-/stage/{id}`
    StagedOne(String),
    /// `-/stage/{id}/approve`
    Approve(String),
    /// `-/stage/{id}/tarball`
    StagedTarball(String),
}

impl<'p> Place<'p> {
    /// Reads a raw path without its first slash and without the place of the registry. `None`: it is not answered here.
    pub(crate) fn read(raw: &'p str) -> Option<Self> {
        let rest = raw.strip_prefix("-/")?;
        if let Some(rest) = rest.strip_prefix("npm/v1/") {
            if let Some(release) = rest.strip_prefix("attestations/") {
                return Self::release(release);
            }
            if let Some(name) = rest.strip_prefix("oidc/token/exchange/package/") {
                let (name, rest) = PackageName::from_path(name).ok()?;
                return rest
                    .is_none_or(str::is_empty)
                    .then_some(Self::Exchange(name));
            }
            return (rest == "keys").then_some(Self::Keys);
        }
        if let Some(id) = rest.strip_prefix("v1/done/") {
            return (!id.is_empty() && !id.contains('/')).then_some(Self::Done(id));
        }
        if let Some(rest) = rest.strip_prefix("package/") {
            let (name, rest) = PackageName::from_path(rest).ok()?;
            let parts: Vec<&str> = rest?.split('/').collect();
            return match parts[..] {
                ["trust"] => Some(Self::Trust(name)),
                ["trust", id] => Some(Self::TrustedOne(name, decode(id).ok()?)),
                _ => None,
            };
        }
        let parts = rest.strip_prefix("stage")?;
        if let Some(name) = parts.strip_prefix("/package/") {
            let (name, rest) = PackageName::from_path(name).ok()?;
            return rest.is_none_or(str::is_empty).then_some(Self::Stage(name));
        }
        let parts: Vec<&str> = parts.split('/').collect();
        match parts[..] {
            [""] | ["", ""] => Some(Self::Staged),
            ["", id] => Some(Self::StagedOne(decode(id).ok()?)),
            ["", id, "approve"] => Some(Self::Approve(decode(id).ok()?)),
            ["", id, "tarball"] => Some(Self::StagedTarball(decode(id).ok()?)),
            _ => None,
        }
    }

    /// A name and a version with a sign between them that the name may begin with, too.
    fn release(raw: &str) -> Option<Self> {
        let text = raw.split('/').map(decode).collect::<Result<Vec<_>, _>>();
        let text = text.ok()?.join("/");
        let (name, version) = text.rsplit_once('@')?;
        let name = PackageName::parse(name).ok()?;
        Some(Self::Attestations(name, version.to_owned()))
    }

    /// Whether a restricted instance answers this to callers without a token of ours that reads; the handlers ask for
    /// what they need.
    pub(crate) fn is_open(&self) -> bool {
        matches!(self, Self::Exchange(_) | Self::Done(_) | Self::Stage(_))
    }
}

/// Answers a request for one of these places.
pub(crate) async fn answer(
    site: &Site,
    origin: &CallerOrigin,
    parts: &http::request::Parts,
    place: Place<'_>,
    body: Body,
) -> Result<Response, Refusal> {
    let headers = &parts.headers;
    let method = match parts.method {
        Method::HEAD => &Method::GET,
        ref other => other,
    };
    match (method.as_str(), place) {
        ("GET", Place::Keys) => keys(site).await,
        ("GET", Place::Attestations(name, version)) => attested::serve(site, &name, &version).await,
        ("POST", Place::Exchange(name)) => exchange(site, origin, &name, headers).await,
        ("GET", Place::Done(id)) => step_up::done(site, id).await,
        ("GET", Place::Trust(name)) => list(site, &name, headers).await,
        ("POST", Place::Trust(name)) => add(site, &name, headers, body).await,
        ("DELETE", Place::TrustedOne(name, id)) => end(site, &name, &id, headers).await,
        ("GET", Place::Staged) => stage::list(site, headers, parts.uri.query()).await,
        ("GET", Place::StagedOne(id)) => stage::view(site, headers, &id).await,
        ("DELETE", Place::StagedOne(id)) => stage::reject(site, headers, &id).await,
        ("POST", Place::Approve(id)) => stage::approve(site, headers, &id).await,
        ("GET", Place::StagedTarball(id)) => stage::tarball(site, headers, &id).await,
        _ => Err(Refusal::npm(error::method_not_allowed(
            &parts.method,
            parts.uri.path(),
        ))),
    }
}

/// The keys that versions are signed with.
async fn keys(site: &Site) -> Result<Response, Refusal> {
    let document = site
        .registry
        .npm_keys_document()
        .await
        .map_err(Refusal::npm)?;
    // A client that kept an old answer would call what a new key signed unsigned.
    let kept = (CACHE_CONTROL, HeaderValue::from_static("no-cache"));
    Ok(([JSON, kept], document).into_response())
}

/// An identity token in, a token for one package out. npm says nothing to its user where this fails, and goes on with
/// what it has; so the refusal stands in the header whose text npm prints, too, and the next 401 repeats it.
async fn exchange(
    site: &Site,
    origin: &CallerOrigin,
    name: &PackageName,
    headers: &HeaderMap,
) -> Result<Response, Refusal> {
    // Identity tokens are longer than any credential of ours.
    let identity = headers
        .get(AUTHORIZATION)
        .and_then(|value| value.to_str().ok())
        .and_then(|text| text.split_once(' '))
        .filter(|(scheme, _)| scheme.eq_ignore_ascii_case("bearer"))
        .map(|(_, token)| token);
    let exchanged = match identity {
        Some(token) => {
            site.registry
                .exchange_for(Ecosystem::Npm, name.as_str(), token, origin)
                .await
        }
        None => Err(crate::error::credentials_missing()),
    };
    let minted = match exchanged {
        Ok(minted) => minted,
        Err(error) => {
            let words = format!("No trusted publishing of {name}: {}", in_full(&error));
            let mut response = Refusal::npm(error).into_response();
            notify_npm(&mut response, &words);
            return Ok(response);
        }
    };
    let body = json!({
        "token_type": "oidc",
        "token": minted.token,
        "created": site.registry.now().rfc3339(),
        "expires": minted.expires.rfc3339(),
    });
    let mut response = (StatusCode::CREATED, [NO_STORE], Json(body)).into_response();
    if !minted.warnings.is_empty() {
        notify_npm(&mut response, &minted.warnings.join(" "));
    }
    Ok(noted(response, name))
}

/// An error with the claims that differed.
fn in_full(error: &Error) -> String {
    let mut text = error.text();
    for difference in error.differences.iter().filter(|one| !one.matched) {
        text.push_str(&format!(
            " {}: expected {}, seen {}.",
            difference.claim,
            difference.expected,
            difference.seen.as_deref().unwrap_or("nothing")
        ));
    }
    text
}

/// A refusal for want of a credential, with the reason why the exchange before it failed, if one did.
pub(crate) fn explained(site: &Site, origin: &CallerOrigin, package: &str, error: Error) -> Error {
    if error.kind != Kind::Unauthenticated {
        return error;
    }
    match site
        .registry
        .failed_exchange(Ecosystem::Npm, package, origin)
    {
        None => error,
        Some(why) => {
            let remedy = error.remedy.clone().unwrap_or_default();
            error.remedy(format!(
                "The exchange of the workflow's identity token before this was refused: {why} {remedy}"
            ))
        }
    }
}

fn shown(publisher: PublisherSummary) -> Value {
    let contexts = publisher
        .rules
        .iter()
        .filter_map(|rule| match (&rule.test, rule.claim.as_str()) {
            (Test::OneOf(ids), claim @ "oidc.circleci.com/context-ids") => {
                Some((claim.to_owned(), ids.clone()))
            }
            _ => None,
        })
        .collect();
    trust::shown(
        &publisher.id,
        &trust::Publisher {
            kind: publisher.provider.as_str().to_owned(),
            fields: publisher.fields,
            claims: contexts,
            publish: publisher.permits.publish,
            stage: publisher.permits.stage,
        },
    )
}

/// The trusted publishers of a package.
async fn list(site: &Site, name: &PackageName, headers: &HeaderMap) -> Result<Response, Refusal> {
    let wanted = Wanted {
        act: Act::SeeSettings,
        also: &[],
        on: Some((Ecosystem::Npm, name.to_string())),
        subject: format!("{}: its publishers are listed", subject(name)),
    };
    let request = Request::of(site, headers, wanted).await?;
    let outcome = site
        .registry
        .publishers(&request.actor, Ecosystem::Npm, name.as_str())
        .await;
    let publishers = request.told(outcome).await?;
    let items: Vec<Value> = publishers.into_iter().map(shown).collect();
    Ok(noted(([NO_STORE], Json(items)).into_response(), name))
}

/// Registers a publisher.
async fn add(
    site: &Site,
    name: &PackageName,
    headers: &HeaderMap,
    body: Body,
) -> Result<Response, Refusal> {
    site.actor(headers).await.map_err(Refusal::npm)?;
    let bytes = whole(body, trust::MAX_BODY).await.map_err(Refusal::npm)?;
    let asked = trust::read(&bytes).map_err(Refusal::npm)?;
    let permits = Permits {
        publish: asked.publish,
        stage: asked.stage,
    };
    // All of it is part of what an owner consents to.
    let mut words = format!("{}: a publisher of {}", subject(name), asked.kind);
    for (field, value) in &asked.fields {
        words.push_str(&format!(", {field} {value:?}"));
    }
    for (claim, values) in &asked.claims {
        words.push_str(&format!(", {claim:?} {values:?}"));
    }
    words.push_str(match (permits.publish, permits.stage) {
        (true, true) => ", that publishes and stages",
        (true, false) => ", that publishes",
        (false, _) => ", that stages",
    });
    let new = NewPublisher {
        ecosystem: Ecosystem::Npm,
        project: name.as_str().to_owned(),
        issuer: asked.kind,
        fields: asked.fields,
        claims: rules(asked.claims),
        pending: false,
        pending_for: None,
    };
    let wanted = Wanted {
        act: Act::ManagePublishers,
        also: &[],
        on: Some((Ecosystem::Npm, name.to_string())),
        subject: words,
    };
    let request = Request::of(site, headers, wanted).await?;
    let outcome = site
        .registry
        .add_publisher_that(&request.actor, new, permits)
        .await;
    let publisher = request.told(outcome).await?;
    let mut warnings = publisher.warnings.clone();
    warnings.truncate(3);
    let mut response = (
        StatusCode::CREATED,
        [NO_STORE],
        Json(vec![shown(publisher)]),
    )
        .into_response();
    if !warnings.is_empty() {
        notify_npm(&mut response, &warnings.join(" "));
    }
    Ok(noted(response, name))
}

fn rules(claims: BTreeMap<String, Vec<String>>) -> Vec<Rule> {
    claims
        .into_iter()
        .map(|(claim, values)| Rule {
            claim,
            test: Test::OneOf(values),
        })
        .collect()
}

/// Removes a publisher; its tokens end at once.
async fn end(
    site: &Site,
    name: &PackageName,
    id: &str,
    headers: &HeaderMap,
) -> Result<Response, Refusal> {
    let wanted = Wanted {
        act: Act::ManagePublishers,
        also: &[],
        on: Some((Ecosystem::Npm, name.to_string())),
        subject: format!("{}: the publisher {id:?} is removed", subject(name)),
    };
    let request = Request::of(site, headers, wanted).await?;
    let outcome = site
        .registry
        .remove_publisher(&request.actor, Ecosystem::Npm, name.as_str(), id)
        .await;
    request.told(outcome).await?;
    Ok(noted(
        (StatusCode::NO_CONTENT, [NO_STORE]).into_response(),
        name,
    ))
}

/// A package as it stands in what a person consents to.
fn subject(name: &PackageName) -> String {
    purl::project_purl(Ecosystem::Npm, &name.key())
}

fn noted(mut response: Response, name: &PackageName) -> Response {
    response.extensions_mut().insert(Noted {
        ecosystem: Some("npm"),
        project: Some(name.as_str().to_owned()),
        ..Noted::default()
    });
    response
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_read_from_the_address_as_it_came() {
        let name = PackageName::parse("@s/n").unwrap();
        for raw in ["@s%2fn", "@s%2Fn", "@s/n", "%40s%2fn"] {
            let read = |text: String| Place::read(text.leak());
            assert_eq!(
                read(format!("-/package/{raw}/trust")),
                Some(Place::Trust(name.clone()))
            );
            assert_eq!(
                read(format!("-/package/{raw}/trust/a")),
                Some(Place::TrustedOne(name.clone(), "a".to_owned()))
            );
            assert_eq!(
                read(format!("-/npm/v1/oidc/token/exchange/package/{raw}")),
                Some(Place::Exchange(name.clone()))
            );
            assert_eq!(
                read(format!("-/stage/package/{raw}")),
                Some(Place::Stage(name.clone()))
            );
            assert_eq!(
                read(format!("-/npm/v1/attestations/{raw}@1.0.0-a")),
                Some(Place::Attestations(name.clone(), "1.0.0-a".to_owned()))
            );
        }
        for other in [
            "",
            "-/",
            "-/package/x/dist-tags",
            "-/package/x",
            "-/stagex",
            "-/stage/a/b",
            "-/npm/v1/user",
            "-/npm/v1/keysx",
            "-/npm/v1/attestations/x",
            "-/v1/done/",
            "x",
            "-/npm/v1/oidc/token/exchange/package/a/b",
        ] {
            assert_eq!(Place::read(other), None, "{other}");
        }
    }

    #[test]
    fn only_what_comes_before_a_token_is_open() {
        let open = |raw| Place::read(raw).is_some_and(|place| place.is_open());
        assert!(open("-/npm/v1/oidc/token/exchange/package/a"));
        assert!(open("-/v1/done/0197"));
        for closed in ["-/npm/v1/keys", "-/stage", "x"] {
            assert!(!open(closed), "{closed}");
        }
    }
}
