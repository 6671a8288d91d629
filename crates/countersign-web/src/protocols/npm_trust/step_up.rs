//! npm's second factor by way of the browser: 401 with two addresses. A person opens one and consents with a passkey; the
//! client asks the other until it hands out what npm calls a one-time password, and repeats its request with it.
//!
//! What is handed out is the id of an approval ([`Wanted`]): good for this very request, by the very token that asked,
//! once, for two minutes. So it is no secret, and the address can be asked by whoever knows it.

use axum::response::{IntoResponse, Response};
use countersign_registry::model::Actor;
use countersign_registry::{Error, Kind, Wanted};
use http::header::{CACHE_CONTROL, RETRY_AFTER};
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode};
use serde_json::json;

use crate::error::Refusal;
use crate::site::Site;

/// What npm calls a one-time password.
const OTP: HeaderName = HeaderName::from_static("npm-otp");
/// `web` where the client knows how to open a browser.
const AUTH_TYPE: HeaderName = HeaderName::from_static("npm-auth-type");

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
    ) -> Result<Self, Refusal> {
        let mut actor = site.actor(headers).await.map_err(Refusal::npm)?;
        let given = headers
            .get(OTP)
            .and_then(|value| value.to_str().ok())
            .map(str::trim)
            .filter(|given| !given.is_empty());
        if let Some(given) = given {
            let consented = site.registry.consented(actor, given, &wanted).await;
            actor = consented.map_err(Refusal::npm)?;
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
    ) -> Result<T, Refusal> {
        let error = match outcome {
            Ok(done) => return Ok(done),
            Err(error) => error,
        };
        let by_token = self.actor.credential.is_some() && self.actor.session.is_none();
        let overcome = matches!(&*error.code, "session-needed" | "approval-needed");
        if !by_token || !overcome || self.actor.consent.is_some() {
            return Err(Refusal::npm(error));
        }
        let approval = self
            .site
            .registry
            .request_consent(&self.actor, &self.wanted)
            .await
            .map_err(Refusal::npm)?;
        let url = self.site.url();
        let page = format!("{url}/account/approvals");
        let what = self.wanted.act.permission().what;
        let needed = Error::new(
            Kind::Denied,
            "approval-needed",
            format!(
                "To {what} {} takes your passkey's consent.",
                self.wanted.subject
            ),
        );
        // Old clients look for "one-time pass", and ask for what they call so.
        let remedy = format!(
            "Approve {} at {page} with your passkey; where this client does not go on by itself, repeat the command with --otp={}, which is the one-time password.",
            approval.code, approval.id
        );
        let mut refusal = Refusal::npm(needed.remedy(remedy));
        refusal.approval = Some(Box::new(json!({
            "authUrl": page,
            "doneUrl": format!("{url}/npm/-/v1/done/{}", approval.id),
            "byBrowser": self.by_browser,
        })));
        Err(refusal)
    }
}

/// 202 while nobody answered, 200 with the id once somebody consented, an error when it is over.
pub(super) async fn done(site: &Site, id: &str) -> Result<Response, Refusal> {
    let state = site
        .registry
        .approval_state(id)
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
