//! Approvals, and how a program gets its owner's consent to what a token alone may not do.
//!
//! A program sends its request with `Countersign-Approval: ask`. Where the token is enough, that changes nothing. Where a
//! session would be needed, the refusal holds a request for an approval: the page at which a person answers it with a
//! passkey, and where the program learns of the answer. Then the program repeats the request with the approval's id in
//! the header. What was consented to is compared to the letter, so the id is good for this request alone, once.

use axum::body::Body;
use axum::extract::{Path, State};
use axum::response::IntoResponse;
use countersign_registry::model::Actor;
use countersign_registry::{Approval, Error, Kind, Wanted};
use http::{HeaderMap, HeaderName, StatusCode};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::view::Problem;
use super::{Answer, body, json};
use crate::error::Refusal;
use crate::site::Site;

/// `ask`, or the id of a granted approval.
pub(crate) const APPROVAL: HeaderName = HeaderName::from_static("countersign-approval");

/// Where a person answers.
const PAGE: &str = "/account/approvals";

/// A request for an approval.
#[derive(Serialize, ToSchema)]
pub(super) struct ApprovalView {
    id: String,
    /// What a person compares.
    code: String,
    /// The act's word in the table of permissions.
    act: String,
    /// The act in words.
    what: String,
    /// On what exactly.
    on: String,
    /// SHA-256 of the bytes concerned, where there are any.
    digest: Option<String>,
    /// `session`, or the token that asked.
    asked_by: String,
    created: String,
    /// Until when it can be answered.
    expires: String,
    /// `waiting`, `granted`, `refused`, `used` or `expired`.
    state: &'static str,
    /// Until when it can be used.
    granted_until: Option<String>,
    /// Where a person answers it with a passkey.
    url: String,
    /// Where the program asks how far it is.
    status_url: String,
}

/// Requests for approvals.
#[derive(Serialize, ToSchema)]
pub(super) struct Approvals {
    items: Vec<ApprovalView>,
}

fn view(site: &Site, approval: Approval) -> ApprovalView {
    ApprovalView {
        status_url: format!("{}/api/v1/approvals/{}", site.url(), approval.id),
        url: format!("{}{PAGE}", site.url()),
        id: approval.id,
        code: approval.code,
        act: approval.act,
        what: approval.what,
        on: approval.purl,
        digest: approval.digest,
        asked_by: approval.asked_by,
        created: approval.created.rfc3339(),
        expires: approval.expires.rfc3339(),
        state: approval.state,
        granted_until: approval.granted_until.map(|until| until.rfc3339()),
    }
}

/// A request that may take its owner's consent: who makes it, and what it does in words that are compared to the letter.
pub(super) struct Request<'a> {
    site: &'a Site,
    wanted: Wanted,
    asks: bool,
    pub(super) actor: Actor,
}

impl<'a> Request<'a> {
    /// Reads who asks. An approval that the request names is used up here.
    pub(super) async fn of(
        site: &'a Site,
        headers: &HeaderMap,
        wanted: Wanted,
    ) -> Result<Self, Refusal> {
        let actor = site.actor(headers).await.map_err(Refusal::problem)?;
        let mut given = headers.get_all(APPROVAL).iter();
        let (first, more) = (given.next(), given.next());
        let text = first.map(|value| value.to_str().unwrap_or_default().trim());
        let actor = match text {
            _ if more.is_some() => return Err(unreadable()),
            None | Some("ask") => actor,
            Some("") => return Err(unreadable()),
            Some(id) => site
                .registry
                .consented(actor, id, &wanted)
                .await
                .map_err(Refusal::problem)?,
        };
        Ok(Self {
            site,
            wanted,
            asks: text == Some("ask"),
            actor,
        })
    }

    /// What came of the request. A refusal that consent would overcome says how to get it.
    pub(super) async fn told<T>(
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
            return Err(Refusal::problem(error));
        }
        let word = self.wanted.act.permission().what;
        let needed = Error::new(
            Kind::Denied,
            "approval-needed",
            format!(
                "To {word} {} takes your passkey's consent, or a session.",
                self.wanted.subject
            ),
        );
        if !self.asks {
            return Err(Refusal::problem(needed.remedy(
                "Send the same request with the header Countersign-Approval: ask; the answer says where to consent. Or do it at this registry's pages.",
            )));
        }
        let approval = self
            .site
            .registry
            .request_consent(&self.actor, &self.wanted)
            .await
            .map_err(Refusal::problem)?;
        let approval = view(self.site, approval);
        let remedy = format!(
            "Open {} and approve {} with your passkey; then repeat the request within two minutes, with the header Countersign-Approval: {}.",
            approval.url, approval.code, approval.id
        );
        let told = serde_json::to_value(&approval).map_err(|source| {
            Refusal::problem(Error::internal(
                "an answer could not be written as JSON",
                source,
            ))
        })?;
        let mut refusal = Refusal::problem(needed.remedy(remedy));
        refusal.approval = Some(Box::new(told));
        Err(refusal)
    }
}

fn unreadable() -> Refusal {
    let error = Error::new(
        Kind::Rejected,
        "approval-unknown",
        "The header Countersign-Approval holds neither the word ask nor the id of an approval.",
    );
    Refusal::problem(error.remedy("Send it once, with one of these."))
}

/// What is to be approved.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct ApprovalBody {
    /// The act's word: `delete-project` or `publish-exception`.
    act: String,
    /// On what.
    purl: String,
    /// SHA-256 of the bytes concerned, in lower-case hex.
    digest: Option<String>,
}

/// Ask the account of this token for an approval
#[utoipa::path(post, path = "/api/v1/approvals", tag = "approvals", security(("token" = [])),
    request_body = ApprovalBody,
    responses((status = CREATED, body = ApprovalView), (status = "default", body = Problem, content_type = "application/problem+json")))]
pub(super) async fn request(State(site): State<Site>, headers: HeaderMap, content: Body) -> Answer {
    let actor = site.actor(&headers).await.map_err(Refusal::problem)?;
    let ApprovalBody { act, purl, digest } = body(content).await?;
    let approval = site
        .registry
        .request_approval(&actor, &act, &purl, digest.as_deref())
        .await
        .map_err(Refusal::problem)?;
    let mut answer = json(&site, &view(&site, approval))?;
    *answer.status_mut() = StatusCode::CREATED;
    Ok(answer)
}

/// The approvals of the last day; in a session
#[utoipa::path(get, path = "/api/v1/approvals", tag = "approvals", security(("session" = [])),
    responses((status = OK, body = Approvals), (status = "default", body = Problem, content_type = "application/problem+json")))]
pub(super) async fn list(State(site): State<Site>, headers: HeaderMap) -> Answer {
    let actor = site.actor(&headers).await.map_err(Refusal::problem)?;
    let approvals = site
        .registry
        .approvals(&actor)
        .await
        .map_err(Refusal::problem)?;
    let items = approvals
        .into_iter()
        .map(|approval| view(&site, approval))
        .collect();
    json(&site, &Approvals { items })
}

/// How far an approval is
#[utoipa::path(get, path = "/api/v1/approvals/{id}", tag = "approvals", security(("token" = [])),
    params(("id" = String, Path)),
    responses((status = OK, body = ApprovalView), (status = "default", body = Problem, content_type = "application/problem+json")))]
pub(super) async fn status(
    State(site): State<Site>,
    Path(id): Path<String>,
    headers: HeaderMap,
) -> Answer {
    let actor = site.actor(&headers).await.map_err(Refusal::problem)?;
    let approval = site
        .registry
        .approval(&actor, &id)
        .await
        .map_err(Refusal::problem)?;
    json(&site, &view(&site, approval))
}

/// Refuse an approval; in a session. Granting takes the page and a passkey
#[utoipa::path(delete, path = "/api/v1/approvals/{id}", tag = "approvals", security(("session" = [])),
    params(("id" = String, Path)),
    responses((status = NO_CONTENT, description = "Refused"), (status = "default", body = Problem, content_type = "application/problem+json")))]
pub(super) async fn refuse(
    State(site): State<Site>,
    Path(id): Path<String>,
    headers: HeaderMap,
) -> Answer {
    let actor = site.actor(&headers).await.map_err(Refusal::problem)?;
    site.registry
        .refuse_approval(&actor, &id)
        .await
        .map_err(Refusal::problem)?;
    Ok(StatusCode::NO_CONTENT.into_response())
}
