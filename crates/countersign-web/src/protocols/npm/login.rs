//! npm's way in: the web login of `npm login --auth-type=web` (pnpm and yarn do it alike) and `npm logout`.
//!
//! npm asks by an address whether somebody said yes, and addresses are kept by logs and proxies. So what stands in it is
//! no token: it fetches one, once. `npm logout` has its token in the address too; that token ends by it.

use axum::Json;
use axum::response::IntoResponse;
use countersign_registry::model::{Action, Presented};
use countersign_registry::{Error, Fetched, Kind};
use http::header::{RETRY_AFTER, USER_AGENT};
use http::{HeaderMap, HeaderValue, StatusCode};
use serde_json::json;

use super::{Answer, Call, NO_STORE, noted};
use crate::error::Refusal;

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
pub(super) async fn begin(call: &Call<'_>) -> Answer {
    let site = call.site;
    let login = site
        .registry
        .begin_web_login(&client(call.headers), Action::Publish, call.origin)
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
pub(super) async fn fetch(call: &Call<'_>, secret: &str) -> Answer {
    let waits = (
        StatusCode::ACCEPTED,
        [NO_STORE, (RETRY_AFTER, HeaderValue::from_static("5"))],
        Json(json!({})),
    );
    match call.site.registry.fetch_login(secret, call.origin).await {
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

/// Ends the token in the address: whoever holds a token may end it.
pub(super) async fn logout(call: &Call<'_>, token: &str) -> Answer {
    let registry = &call.site.registry;
    let actor = registry
        .authenticate(Presented::Token(token.to_owned()))
        .await
        .map_err(Refusal::npm)?;
    registry.end_token(&actor).await.map_err(Refusal::npm)?;
    Ok(noted(&actor, None, super::done()))
}

/// The old login with user name and password. The body is not even read.
pub(super) fn by_password() -> Refusal {
    let error = Error::new(
        Kind::Denied,
        "login-password",
        "This registry gives no token for a user name and a password.",
    );
    Refusal::npm(error.remedy(
        "Log in by the browser: npm login --auth-type=web (with npm older than 9.5, make a token at this registry's page of tokens and put it into .npmrc as _authToken).",
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

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
