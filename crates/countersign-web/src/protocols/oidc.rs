//! Trusted publishing as uv and the well-known publishing action do it: they ask for the audience, get an identity token
//! for it from the CI system they run in, exchange it for an upload token, and give that back at the end. Beside it the
//! discovery of PEP 807 (draft), for clients that do not guess these addresses.
//!
//! Nobody has a token of ours here, so all of it is open on restricted instances too. Nothing here may be kept by a
//! cache or read by another site's script, and no part of a body reaches an error: it holds secrets.
//!
//! There is no limit per client address: all runners of a company or of a cloud may share one, and what a bad token
//! costs is bounded by its size and by one signature check.

use axum::body::Body;
use axum::extract::rejection::QueryRejection;
use axum::extract::{Query, State};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::{Json, Router};
use countersign_formats::Ecosystem;
use countersign_registry::model::{Identity, Presented};
use countersign_registry::oidc::MAX_TOKEN_BYTES;
use countersign_registry::{Error, Kind};
use http::header::{ACCEPT, CACHE_CONTROL, CONTENT_TYPE};
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode, Uri};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::json;

use crate::body::whole;
use crate::error::{Refusal, no_such_page, quality_of, shown};
use crate::request_log::Noted;
use crate::site::Site;

/// Longest request body: the longest token, with room for what stands around it.
const LONGEST_BODY: usize = MAX_TOKEN_BYTES + (4 << 10);
/// What PEP 807 calls tokens that are good for more than one upload. Ours are; others are not to be had.
const MULTI_USE: &str = "multi-use-token";
/// Most features that a request may list.
const MOST_FEATURES: usize = 16;

const NO_STORE: (HeaderName, HeaderValue) = (CACHE_CONTROL, HeaderValue::from_static("no-store"));

pub(super) fn routes() -> Router<Site> {
    Router::new()
        .route("/_/oidc/audience", get(audience))
        .route("/_/oidc/mint-token", post(mint))
        // Where early releases of the publishing action ask, which workflows still pin.
        .route("/_/oidc/github/mint-token", post(mint))
        .route("/_/oidc/burn-token", post(burn))
        .route("/.well-known/pytp", get(discover))
}

/// What is to be published with the token. Python's clients do not say it; ours does for the others.
#[derive(Deserialize)]
struct For {
    ecosystem: Option<String>,
}

fn ecosystem_for(said: Option<&str>) -> Result<Ecosystem, Refusal> {
    said.map_or(Ok(Ecosystem::Pypi), str::parse)
        .map_err(|rejection: countersign_formats::Rejection| Refusal::exchange(rejection))
}

/// `{"audience"}`: what the `aud` claim of an identity token for this registry must be.
async fn audience(
    State(site): State<Site>,
    query: Result<Query<For>, QueryRejection>,
) -> Result<Response, Refusal> {
    let Query(For { ecosystem }) = query.map_err(|rejection| {
        let message = format!("The query can not be read: {}.", rejection.body_text());
        Refusal::exchange(Error::new(Kind::Rejected, "query-malformed", message))
    })?;
    let audience = site
        .registry
        .oidc_audience(ecosystem_for(ecosystem.as_deref())?)
        .map_err(Refusal::exchange)?;
    Ok(([NO_STORE], Json(json!({ "audience": audience }))).into_response())
}

/// No `Debug`: it is a secret.
#[derive(Deserialize)]
struct Mint {
    token: String,
    features: Option<Vec<String>>,
    ecosystem: Option<String>,
}

/// An identity token in, an upload token out.
async fn mint(State(site): State<Site>, body: Body) -> Result<Response, Refusal> {
    // Before the body is read: who is not served anyway shall learn that, and not that its form is wrong.
    site.registry
        .oidc_audience(Ecosystem::Pypi)
        .map_err(Refusal::exchange)?;
    let Mint {
        token,
        features,
        ecosystem,
    } = secret(body).await?;
    check_features(&features.unwrap_or_default())?;
    let ecosystem = ecosystem_for(ecosystem.as_deref())?;
    let minted = site
        .registry
        .exchange(ecosystem, &token)
        .await
        .map_err(Refusal::exchange)?;
    let body = json!({
        "success": true,
        "token": minted.token,
        "expires": minted.expires.seconds(),
        "projects": minted.projects,
        "warnings": minted.warnings,
    });
    let mut response = ([NO_STORE], Json(body)).into_response();
    response.extensions_mut().insert(Noted {
        ecosystem: Some(ecosystem.as_str()),
        project: Some(minted.projects.join(" ")).filter(|projects| !projects.is_empty()),
        ..Noted::default()
    });
    Ok(response)
}

fn check_features(features: &[String]) -> Result<(), Refusal> {
    if features.len() > MOST_FEATURES {
        let message = format!("The request lists more than {MOST_FEATURES} features.");
        return Err(Refusal::exchange(Error::new(
            Kind::Rejected,
            "oidc-feature",
            message,
        )));
    }
    match features.iter().find(|feature| *feature != MULTI_USE) {
        None => Ok(()),
        Some(other) => {
            let message = format!(
                "Tokens with the feature {} are not to be had here.",
                shown(other)
            );
            let error = Error::new(Kind::Rejected, "oidc-feature", message);
            Err(Refusal::exchange(error.remedy(format!(
                "Leave the features out, or ask for {MULTI_USE}."
            ))))
        }
    }
}

/// No `Debug`: it is a secret.
#[derive(Deserialize)]
struct Burn {
    token: String,
}

/// Ends an upload token that was minted here. Anything else that is sent is left as it is, and answered alike: whoever
/// holds a text learns nothing about it.
async fn burn(State(site): State<Site>, body: Body) -> Result<Response, Refusal> {
    let Burn { token } = secret(body).await?;
    match site.registry.authenticate(Presented::Token(token)).await {
        Ok(actor) if matches!(actor.identity, Identity::Workflow(_)) => {
            site.registry
                .end_token(&actor)
                .await
                .map_err(Refusal::exchange)?;
        }
        Ok(_) => {}
        Err(error) if matches!(error.kind, Kind::Unauthenticated | Kind::Denied) => {}
        Err(error) => return Err(Refusal::exchange(error)),
    }
    Ok((StatusCode::ACCEPTED, [NO_STORE]).into_response())
}

/// The JSON of a body that holds a secret. What `Content-Type` says is not asked: early clients send none, and scripts
/// whatever their tool sends by itself.
async fn secret<T: DeserializeOwned>(body: Body) -> Result<T, Refusal> {
    let bytes = whole(body, LONGEST_BODY).await.map_err(Refusal::exchange)?;
    let refused = |place: String| {
        let message =
            format!("The request body is not a JSON object with a text named token{place}.");
        let error = Error::new(Kind::Rejected, "json-malformed", message);
        Refusal::exchange(
            error.remedy("Send {\"token\": \"…\"} with the identity token of the CI system."),
        )
    };
    // A list would be read as the members in their order.
    if bytes.iter().find(|byte| !byte.is_ascii_whitespace()) != Some(&b'{') {
        return Err(refused(String::new()));
    }
    // The parser's own words repeat what they stumbled over.
    serde_json::from_slice(&bytes).map_err(|error| {
        refused(format!(
            " (line {}, column {})",
            error.line(),
            error.column()
        ))
    })
}

#[derive(Deserialize)]
struct Discover {
    /// Path of the upload address.
    discover: String,
}

/// PEP 807: whether uploads to a path can be published that way, and where the exchange is.
async fn discover(
    State(site): State<Site>,
    uri: Uri,
    headers: HeaderMap,
    query: Result<Query<Discover>, QueryRejection>,
) -> Result<Response, Refusal> {
    const OWN: &str = "application/vnd.pypi.pytp.v1+json";
    let Query(Discover { discover }) = query.map_err(|rejection| {
        let message = format!("The query can not be read: {}.", rejection.body_text());
        let error = Error::new(Kind::Rejected, "query-malformed", message);
        Refusal::problem(
            error.remedy("Send the path of the upload address: ?discover=%2Fpypi%2Flegacy%2F."),
        )
    })?;
    let ours = upload_path(&site);
    let known = discover == ours || Some(discover.as_str()) == ours.strip_suffix('/');
    let offered = match site.registry.oidc_audience(Ecosystem::Pypi) {
        Ok(_) => known,
        Err(error) if error.kind == Kind::Denied => false,
        Err(error) => return Err(Refusal::problem(error)),
    };
    if !offered {
        let message = format!(
            "There is no trusted publishing for uploads to {}.",
            shown(&discover)
        );
        let mut error = no_such_page(uri.path());
        error.message = message;
        return Err(Refusal::problem(
            error.remedy(format!("Uploads go to {}/pypi/legacy/.", site.url())),
        ));
    }
    let content_type = match headers.get(ACCEPT).map(HeaderValue::to_str) {
        None => OWN,
        Some(accept) => {
            let accept = accept.unwrap_or_default();
            let own = quality_of(accept, "application", "vnd.pypi.pytp.v1+json");
            let json = quality_of(accept, "application", "json");
            match own.max(json) {
                0 => return Err(not_acceptable(accept)),
                _ if own >= json => OWN,
                _ => "application/json",
            }
        }
    };
    let url = site.url();
    let body = json!({
        "audience-endpoint": format!("{url}/_/oidc/audience"),
        "token-mint-endpoint": format!("{url}/_/oidc/mint-token"),
        "features": [MULTI_USE],
        "default-features": [MULTI_USE],
    });
    let content_type = (CONTENT_TYPE, HeaderValue::from_static(content_type));
    Ok(([content_type, NO_STORE], body.to_string()).into_response())
}

/// The path of the upload address as clients are given it.
fn upload_path(site: &Site) -> String {
    let base = site.registry.settings().url.path().trim_end_matches('/');
    format!("{base}/pypi/legacy/")
}

fn not_acceptable(accept: &str) -> Refusal {
    let message = format!("The answer is not to be had as {}.", shown(accept));
    let error = Error::new(Kind::Rejected, "not-acceptable", message);
    Refusal::problem(error.remedy("Accept application/vnd.pypi.pytp.v1+json or application/json."))
}
