//! npm's second factor by way of the browser: 401 with two addresses. A person opens one and consents with a passkey; the
//! client asks the other until it hands out what npm calls a one-time password, and repeats its request with it.
//!
//! What is handed out is the id of an approval ([`Wanted`]): good for this very request, by the very token that asked,
//! once, for two minutes. So it is no secret, and the address can be asked by whoever knows it.

use axum::extract::{Path, State};
use axum::response::{IntoResponse, Response};
use countersign_formats::npm::registry::step_up;
use countersign_registry::model::Actor;
use countersign_registry::{Error, Kind, Wanted};
use http::header::{CACHE_CONTROL, CONTENT_TYPE, RETRY_AFTER, WWW_AUTHENTICATE};
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode};
use serde_json::json;

use crate::error::Refusal;
use crate::site::Site;

/// What npm calls a one-time password.
const OTP: HeaderName = HeaderName::from_static("npm-otp");
/// `web` where the client knows how to open a browser.
const AUTH_TYPE: HeaderName = HeaderName::from_static("npm-auth-type");
/// What npm prints of any answer.
const NOTICE: HeaderName = HeaderName::from_static("npm-notice");

/// Why a request was not done, in npm's form.
pub(crate) enum Untold {
    /// It is refused.
    Refused(Refusal),
    /// A person has to consent first.
    StepUp(Box<Response>),
}

impl From<Error> for Untold {
    fn from(error: Error) -> Self {
        Self::Refused(Refusal::npm(error))
    }
}

impl From<Refusal> for Untold {
    fn from(refusal: Refusal) -> Self {
        Self::Refused(refusal)
    }
}

impl IntoResponse for Untold {
    fn into_response(self) -> Response {
        match self {
            Self::Refused(refusal) => refusal.into_response(),
            Self::StepUp(response) => *response,
        }
    }
}

/// A request that may take its owner's consent.
pub(crate) struct Request<'a> {
    site: &'a Site,
    wanted: Wanted,
    by_browser: bool,
    /// Who makes it; with what a person consented to, where the request brings that along.
    pub(crate) actor: Actor,
}

impl<'a> Request<'a> {
    /// Reads who asks. An approval that the request names is used up here.
    pub(crate) async fn of(
        site: &'a Site,
        headers: &HeaderMap,
        wanted: Wanted,
    ) -> Result<Self, Untold> {
        let mut actor = site.actor(headers).await?;
        let given = headers
            .get(OTP)
            .and_then(|value| value.to_str().ok())
            .map(str::trim)
            .filter(|given| !given.is_empty());
        if let Some(given) = given {
            actor = site.registry.consented(actor, given, &wanted).await?;
        }
        let by_browser = headers.get(AUTH_TYPE).is_none_or(|kind| kind != "legacy");
        Ok(Self {
            site,
            wanted,
            by_browser,
            actor,
        })
    }

    /// What came of the request. A refusal that consent would overcome asks for it.
    pub(crate) async fn told<T>(
        &self,
        outcome: countersign_registry::Result<T>,
    ) -> Result<T, Untold> {
        let error = match outcome {
            Ok(done) => return Ok(done),
            Err(error) => error,
        };
        let by_token = self.actor.credential.is_some() && self.actor.session.is_none();
        let overcome = matches!(&*error.code, "session-needed" | "approval-needed");
        if !by_token || !overcome || self.actor.consent.is_some() {
            return Err(error.into());
        }
        let approval = self
            .site
            .registry
            .request_consent(&self.actor, &self.wanted)
            .await?;
        let url = self.site.url();
        let page = format!("{url}/account/approvals");
        let done = format!("{url}/npm/-/v1/done/{}", approval.id);
        let notice = format!(
            "To {} takes your passkey: approve {} at {page} (then --otp={}, if this client does not go on by itself)",
            self.wanted.act.permission().what,
            approval.code,
            approval.id
        );
        let (kind, body) = if self.by_browser {
            ("application/json", step_up(&page, &done))
        } else {
            // Old clients look for these words, and ask for what they call a one-time password.
            let text = format!(
                "This needs a one-time password, which is had like this: approve {} at {page} with your passkey, then repeat the command with --otp={}\n",
                approval.code, approval.id
            );
            ("text/plain; charset=utf-8", text)
        };
        let mut response = (StatusCode::UNAUTHORIZED, body).into_response();
        let out = response.headers_mut();
        out.insert(CONTENT_TYPE, HeaderValue::from_static(kind));
        out.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
        out.insert(WWW_AUTHENTICATE, HeaderValue::from_static("OTP"));
        notify(&mut response, &notice);
        Err(Untold::StepUp(Box::new(response)))
    }
}

/// Lets npm print a line.
pub(super) fn notify(response: &mut Response, text: &str) {
    let plain: String = text
        .chars()
        .map(|c| {
            if matches!(c, ' '..='~') {
                c
            } else {
                ' '
            }
        })
        .take(1_000)
        .collect();
    if let Ok(value) = HeaderValue::from_str(&plain) {
        response.headers_mut().insert(NOTICE, value);
    }
}

/// 202 while nobody answered, 200 with the id once somebody consented, an error when it is over.
pub(super) async fn done(
    State(site): State<Site>,
    Path(id): Path<String>,
) -> Result<Response, Refusal> {
    let state = site
        .registry
        .approval_state(&id)
        .await
        .map_err(Refusal::npm)?;
    let no_store = (CACHE_CONTROL, HeaderValue::from_static("no-store"));
    match state {
        "waiting" => Ok((
            StatusCode::ACCEPTED,
            [no_store, (RETRY_AFTER, HeaderValue::from_static("2"))],
            axum::Json(json!({})),
        )
            .into_response()),
        "granted" => Ok(([no_store], axum::Json(json!({ "token": id }))).into_response()),
        state => {
            let error = Error::new(
                Kind::Denied,
                "approval-over",
                format!("The request for an approval is {state}."),
            );
            Err(Refusal::npm(
                error.remedy("Repeat the command: it asks for another one."),
            ))
        }
    }
}
