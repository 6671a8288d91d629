//! npm's way in: the web login of `npm login --auth-type=web` (pnpm and yarn do it alike), `npm whoami` and `npm logout`.
//! Below `/npm/`, where npm's registry is, and at the root, where clients ask that drop a path.
//!
//! npm asks by an address whether somebody said yes, and addresses are kept by logs and proxies. So what stands in it is
//! no token: it fetches one, once. `npm logout` has its token in the address too; that token ends by it.

use axum::extract::{Extension, Path, State};
use axum::response::{IntoResponse, Response};
use axum::routing::{delete, get, post, put};
use axum::{Json, Router};
use countersign_registry::model::{Action, Actor, CallerOrigin, Identity, Presented};
use countersign_registry::{Error, Fetched, Kind};
use http::header::{CACHE_CONTROL, RETRY_AFTER, USER_AGENT};
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode};
use serde_json::json;

use crate::error::Refusal;
use crate::request_log::Noted;
use crate::site::Site;

const NO_STORE: (HeaderName, HeaderValue) = (CACHE_CONTROL, HeaderValue::from_static("no-store"));

/// Where npm's registry is, and the root.
const PLACES: [&str; 2] = ["/npm", ""];

pub(super) fn routes() -> Router<Site> {
    let mut routes = Router::new();
    for place in PLACES {
        let at = |path: &str| format!("{place}/-/{path}");
        routes = routes
            .route(&at("v1/login"), post(begin))
            .route(&at("v1/login/{secret}"), get(fetch))
            .route(&at("whoami"), get(whoami))
            .route(&at("user/token/{token}"), delete(logout))
            .route(&at("user/{who}"), put(by_password));
    }
    routes
}

/// Whether whoever has no token yet asks here.
pub(crate) fn is_login(path: &str) -> bool {
    let Some(rest) = path.strip_prefix("/npm/-/").or(path.strip_prefix("/-/")) else {
        return false;
    };
    rest == "v1/login" || rest.starts_with("v1/login/") || rest.starts_with("user/")
}

/// The client by the first word of what it calls itself, such as `npm/11.19.1`.
fn client(headers: &HeaderMap) -> String {
    let agent = headers
        .get(USER_AGENT)
        .and_then(|agent| agent.to_str().ok())
        .and_then(|agent| agent.split_whitespace().next())
        .unwrap_or("npm");
    let agent: String = agent.chars().take(40).collect();
    format!("{agent}, by its login")
}

/// `{"loginUrl", "doneUrl"}`: where a person says yes, and where the client asks how far it is. The token publishes; what
/// manages is for `countersign login` and the pages.
async fn begin(
    State(site): State<Site>,
    Extension(origin): Extension<CallerOrigin>,
    headers: HeaderMap,
) -> Result<Response, Refusal> {
    let login = site
        .registry
        .begin_web_login(&client(&headers), Action::Publish, &origin)
        .await
        .map_err(Refusal::npm)?;
    let body = json!({
        "loginUrl": format!("{}{}", site.url(), login.path),
        "doneUrl": format!("{}/npm/-/v1/login/{}", site.url(), login.device_code),
    });
    Ok(([NO_STORE], Json(body)).into_response())
}

/// 202 with `Retry-After` while nobody has decided, 200 with the token once. What is over is 200 as well, with an error
/// and no token: at any status from 400 on npm asks for user name and password instead.
async fn fetch(
    State(site): State<Site>,
    Extension(origin): Extension<CallerOrigin>,
    Path(secret): Path<String>,
) -> Result<Response, Refusal> {
    let waits = (
        StatusCode::ACCEPTED,
        [NO_STORE, (RETRY_AFTER, HeaderValue::from_static("5"))],
        Json(json!({})),
    );
    match site.registry.fetch_login(&secret, &origin).await {
        Ok(Fetched::Token(token)) => {
            Ok(([NO_STORE], Json(json!({ "token": token }))).into_response())
        }
        Ok(Fetched::Waiting) => Ok(waits.into_response()),
        Err(error) if error.code == "login-too-fast" => Ok(waits.into_response()),
        Err(error) if matches!(&*error.code, "login-denied" | "login-unknown") => {
            let body = json!({"error": error.text(), "code": error.code});
            Ok(([NO_STORE], Json(body)).into_response())
        }
        Err(error) => Err(Refusal::npm(error)),
    }
}

/// `{"username"}`.
async fn whoami(State(site): State<Site>, headers: HeaderMap) -> Result<Response, Refusal> {
    let actor = site.actor(&headers).await.map_err(Refusal::npm)?;
    let body = json!({ "username": actor.name() });
    Ok(noted(&actor, ([NO_STORE], Json(body)).into_response()))
}

/// Ends the token in the address: whoever holds a token may end it.
async fn logout(State(site): State<Site>, Path(token): Path<String>) -> Result<Response, Refusal> {
    let actor = site
        .registry
        .authenticate(Presented::Token(token))
        .await
        .map_err(Refusal::npm)?;
    site.registry
        .end_token(&actor)
        .await
        .map_err(Refusal::npm)?;
    Ok(noted(
        &actor,
        ([NO_STORE], Json(json!({"ok": true}))).into_response(),
    ))
}

/// The old login with user name and password. The body is not even read.
async fn by_password() -> Refusal {
    let error = Error::new(
        Kind::Denied,
        "login-password",
        "This registry gives no token for a user name and a password.",
    );
    Refusal::npm(error.remedy(
        "Log in by the browser: npm login --auth-type=web (with npm older than 9.5, make a token at this registry's page of tokens and put it into .npmrc as _authToken).",
    ))
}

fn noted(actor: &Actor, mut response: Response) -> Response {
    if !matches!(actor.identity, Identity::Anonymous) {
        response.extensions_mut().insert(Noted {
            actor: Some(actor.name().to_owned()),
            ..Noted::default()
        });
    }
    response
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_login_is_open_to_those_without_a_token() {
        for open in [
            "/npm/-/v1/login",
            "/-/v1/login",
            "/npm/-/v1/login/csgn_u_x",
            "/-/user/org.couchdb.user:ada",
            "/npm/-/user/token/csgn_u_x",
        ] {
            assert!(is_login(open), "{open}");
        }
        for other in [
            "/npm/-/whoami",
            "/npm/-/v1/loginx",
            "/npm/left-pad",
            "/-/",
            "/npm/-/v1/../whoami",
        ] {
            assert!(!is_login(other), "{other}");
        }
    }

    #[test]
    fn a_client_is_called_by_the_first_word_of_its_agent() {
        let mut headers = HeaderMap::new();
        assert_eq!(client(&headers), "npm, by its login");
        headers.insert(
            USER_AGENT,
            HeaderValue::from_static("npm/11.19.1 node/v22 linux"),
        );
        assert_eq!(client(&headers), "npm/11.19.1, by its login");
    }
}
