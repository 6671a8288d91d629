//! What npm's clients ask about trust: the keys of the registry's signatures, attestations, trusted publishing, staged
//! publications, and the second factor. Below `/npm/`, and at the root, where clients ask that drop the path.
//!
//! Names stand in addresses in every encoding, so each address is read as it came ([`raw_after`]).

mod attested;
mod stage;
pub(crate) mod step_up;

use std::collections::BTreeMap;

use axum::body::Body;
use axum::extract::{Extension, State};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::{Json, Router};
use countersign_formats::npm::name::{PackageName, decode};
use countersign_formats::npm::trust;
use countersign_formats::{Ecosystem, format, purl};
use countersign_registry::model::{CallerOrigin, Permits, Presented};
use countersign_registry::oidc::{Rule, Test};
use countersign_registry::{Act, Error, Kind, NewPublisher, PublisherSummary, Wanted};
use http::header::{CACHE_CONTROL, CONTENT_TYPE};
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode, Uri};
use serde_json::{Value, json};

use crate::body::whole;
use crate::caller;
use crate::error::{Refusal, no_such_page};
use crate::request_log::Noted;
use crate::site::Site;
use step_up::{Request, Untold, notify};

const NO_STORE: (HeaderName, HeaderValue) = (CACHE_CONTROL, HeaderValue::from_static("no-store"));
const JSON: (HeaderName, HeaderValue) =
    (CONTENT_TYPE, HeaderValue::from_static("application/json"));

pub(super) fn routes() -> Router<Site> {
    let mut routes = Router::new();
    for place in ["/npm", ""] {
        let at = |path: &str| format!("{place}/-/{path}");
        routes = routes
            .route(&at("npm/v1/keys"), get(keys))
            .route(&at("npm/v1/attestations/{*release}"), get(attested::serve))
            .route(
                &at("npm/v1/oidc/token/exchange/package/{*name}"),
                post(exchange),
            )
            .route(&at("v1/done/{id}"), get(step_up::done))
            // A name with its scope is one segment or two, as the client writes it.
            .route(&at("package/{name}/trust"), get(list).post(add))
            .route(&at("package/{name}/trust/{id}"), axum::routing::delete(end))
            .route(&at("package/{name}/{base}/trust"), get(list).post(add))
            .route(
                &at("package/{name}/{base}/trust/{id}"),
                axum::routing::delete(end),
            );
        routes = stage::routes(routes, &at);
    }
    routes
}

/// Whether a restricted instance answers this to callers without a token of ours: the handlers ask for what they need.
pub(crate) fn is_open(path: &str) -> bool {
    let Some(rest) = path.strip_prefix("/npm/-/").or(path.strip_prefix("/-/")) else {
        return false;
    };
    rest.starts_with("npm/v1/oidc/token/exchange/package/") || rest.starts_with("v1/done/")
}

/// The raw path behind a word of it.
fn raw_after<'u>(uri: &'u Uri, word: &str) -> &'u str {
    let path = uri.path();
    path.find(word)
        .and_then(|at| path.get(at + word.len()..))
        .unwrap_or_default()
}

/// The package that the raw rest of an address begins with, and what stands behind it.
fn package(raw: &str) -> Result<(PackageName, Option<&str>), Refusal> {
    PackageName::from_path(raw).map_err(Refusal::npm)
}

/// The keys that versions are signed with.
async fn keys(State(site): State<Site>) -> Result<Response, Refusal> {
    let document = site
        .registry
        .npm_keys_document()
        .await
        .map_err(Refusal::npm)?;
    let kept = (
        CACHE_CONTROL,
        HeaderValue::from_static("public, max-age=300"),
    );
    Ok(([JSON, kept], document).into_response())
}

/// An identity token in, a token for one package out. npm says nothing to its user where this fails, and goes on with
/// what it has; so the refusal stands in the header whose text npm prints, too, and the next 401 repeats it.
async fn exchange(
    State(site): State<Site>,
    Extension(origin): Extension<CallerOrigin>,
    uri: Uri,
    headers: HeaderMap,
) -> Result<Response, Refusal> {
    let name = match package(raw_after(&uri, "/exchange/package/"))? {
        (name, None | Some("")) => name,
        _ => return Err(Refusal::npm(no_such_page(uri.path()))),
    };
    let exchanged = match caller::presented(&headers) {
        Presented::Token(token) => {
            let origin = &origin;
            site.registry
                .exchange_for(Ecosystem::Npm, name.as_str(), &token, origin)
                .await
        }
        _ => Err(crate::error::credentials_missing()),
    };
    let minted = match exchanged {
        Ok(minted) => minted,
        Err(error) => {
            let words = format!("No trusted publishing of {name}: {}", in_full(&error));
            let mut response = Refusal::npm(error).into_response();
            notify(&mut response, &words);
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
        notify(&mut response, &minted.warnings.join(" "));
    }
    Ok(noted(response, &name))
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
async fn list(State(site): State<Site>, uri: Uri, headers: HeaderMap) -> Result<Response, Untold> {
    let (name, _) = package(raw_after(&uri, "/-/package/"))?;
    let wanted = Wanted {
        act: Act::SeeSettings,
        also: &[],
        subject: format!("{}: its publishers are listed", subject(&name)?),
    };
    let request = Request::of(&site, &headers, wanted).await?;
    let outcome = site
        .registry
        .publishers(&request.actor, Ecosystem::Npm, name.as_str())
        .await;
    let publishers = request.told(outcome).await?;
    let items: Vec<Value> = publishers.into_iter().map(shown).collect();
    Ok(noted(([NO_STORE], Json(items)).into_response(), &name))
}

/// Registers a publisher.
async fn add(
    State(site): State<Site>,
    uri: Uri,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, Untold> {
    site.actor(&headers).await?;
    let (name, _) = package(raw_after(&uri, "/-/package/"))?;
    let bytes = whole(body, trust::MAX_BODY).await?;
    let asked = trust::read(&bytes).map_err(Error::from)?;
    let permits = Permits {
        publish: asked.publish,
        stage: asked.stage,
    };
    // All of it is part of what an owner consents to.
    let mut words = format!("{}: a publisher of {}", subject(&name)?, asked.kind);
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
        subject: words,
    };
    let request = Request::of(&site, &headers, wanted).await?;
    let outcome = site
        .registry
        .add_publisher_that(&request.actor, new, permits)
        .await;
    let publisher = request.told(outcome).await?;
    let mut warnings = publisher.warnings.clone();
    warnings.truncate(3);
    let mut response =
        (StatusCode::CREATED, [NO_STORE], Json(vec![shown(publisher)])).into_response();
    if !warnings.is_empty() {
        notify(&mut response, &warnings.join(" "));
    }
    Ok(noted(response, &name))
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
async fn end(State(site): State<Site>, uri: Uri, headers: HeaderMap) -> Result<Response, Untold> {
    let (name, rest) = package(raw_after(&uri, "/-/package/"))?;
    let id = rest
        .and_then(|rest| rest.strip_prefix("trust/"))
        .unwrap_or_default();
    let id = decode(id).map_err(Error::from)?;
    let wanted = Wanted {
        act: Act::ManagePublishers,
        also: &[],
        subject: format!("{}: the publisher {id:?} is removed", subject(&name)?),
    };
    let request = Request::of(&site, &headers, wanted).await?;
    let outcome = site
        .registry
        .remove_publisher(&request.actor, Ecosystem::Npm, name.as_str(), &id)
        .await;
    request.told(outcome).await?;
    Ok(noted(
        (StatusCode::NO_CONTENT, [NO_STORE]).into_response(),
        &name,
    ))
}

/// A package as it stands in what a person consents to.
fn subject(name: &PackageName) -> Result<String, Error> {
    let key = format(Ecosystem::Npm).name_key(name.as_str())?;
    Ok(purl::project_purl(Ecosystem::Npm, &key))
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
        for raw in ["@s%2fn", "@s%2Fn", "@s/n", "%40s%2fn"] {
            for place in ["/npm", ""] {
                let uri: Uri = format!("{place}/-/package/{raw}/trust/a").parse().unwrap();
                let (name, rest) = package(raw_after(&uri, "/-/package/")).unwrap();
                assert_eq!((name.as_str(), rest), ("@s/n", Some("trust/a")), "{raw}");
            }
        }
        let none: Uri = "/x".parse().unwrap();
        assert_eq!(raw_after(&none, "/-/package/"), "");
    }

    #[test]
    fn only_what_comes_before_a_token_is_open() {
        assert!(is_open("/-/npm/v1/oidc/token/exchange/package/a"));
        assert!(is_open("/npm/-/v1/done/0197"));
        for closed in [
            "/npm/-/npm/v1/keys",
            "/npm/-/stage",
            "/npm/x",
            "/-/v1/donex",
            "/-/npm/v1/oidc/token/exchange",
        ] {
            assert!(!is_open(closed), "{closed}");
        }
    }
}
