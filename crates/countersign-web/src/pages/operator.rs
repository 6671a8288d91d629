//! The operator's console. Every verb asks for a fresh session with a passkey; the page itself does too.

use askama::Template;
use axum::Router;
use axum::body::Body;
use axum::response::Response;
use axum::routing::{get, post};
use countersign_formats::Ecosystem;
use countersign_registry::model::Health;
use countersign_registry::oidc::Provider;
use countersign_registry::{
    Error, IssuerSummary, Kind, MailState, NewIssuer, RecoveryCase, UserSummary,
};

use super::guest::{Member, refused};
use super::phrase::Told as _;
use super::visit::Frame;
use crate::Site;
use crate::error::Refusal;

/// The page.
const HERE: &str = "/operator";

pub(super) fn routes() -> Router<Site> {
    Router::new()
        .route("/operator", get(show))
        .route("/operator/users", post(create_user))
        .route("/operator/users/disable", post(disable))
        .route("/operator/users/open", post(open_again))
        .route("/operator/recoveries/agree", post(agree))
        .route("/operator/quarantine", post(quarantine))
        .route("/operator/critical", post(critical))
        .route("/operator/issuers", post(add_issuer))
        .route("/operator/issuers/remove", post(remove_issuer))
}

#[derive(Template)]
#[template(path = "account/operator.html")]
struct OperatorPage<'a> {
    frame: &'a Frame,
    place: &'static str,
    said: Option<&'static str>,
    health: Health,
    mail: MailState,
    users: Vec<UserSummary>,
    enrolment: Option<String>,
    recoveries: Vec<RecoveryCase>,
    issuers: Vec<IssuerSummary>,
    presets: Vec<(&'static str, &'static str)>,
}

async fn page(member: &Member, enrolment: Option<String>) -> Result<Response, Error> {
    let (registry, actor) = (&member.site.registry, &member.actor);
    Ok(member.page(&OperatorPage {
        frame: &member.frame,
        place: HERE,
        said: member.said(),
        users: registry.users(actor).await?,
        mail: registry.mail_state(actor).await?,
        recoveries: registry.recoveries(actor).await?,
        health: registry.health().await,
        enrolment,
        issuers: registry.issuers(actor).await?,
        presets: Provider::ALL
            .iter()
            .map(|provider| (provider.as_str(), provider.title()))
            .collect(),
    }))
}

async fn show(member: Member) -> Result<Response, Refusal> {
    match page(&member, None).await {
        Ok(response) => Ok(response),
        Err(error) => member.not_done(error, HERE).await,
    }
}

async fn create_user(member: Member, body: Body) -> Result<Response, Refusal> {
    let form = member.fields(body).await?;
    let made = member
        .site
        .registry
        .create_user(
            &member.actor,
            form.get("user"),
            form.some("email"),
            form.ticked("operator"),
        )
        .await;
    let made = match made {
        Ok(made) => made,
        Err(error) => return member.not_done(error, HERE).await,
    };
    let link = made
        .enrolment
        .map(|secret| format!("{}/enrol/{secret}", member.frame.site));
    page(&member, link).await.map_err(refused)
}

async fn set_disabled(member: Member, body: Body, disabled: bool) -> Result<Response, Refusal> {
    let form = member.fields(body).await?;
    let outcome = member
        .site
        .registry
        .disable_user(&member.actor, form.get("user"), disabled)
        .await;
    let word = if disabled {
        "user-disabled"
    } else {
        "user-enabled"
    };
    member.done(outcome, HERE, word).await
}

async fn disable(member: Member, body: Body) -> Result<Response, Refusal> {
    set_disabled(member, body, true).await
}

async fn open_again(member: Member, body: Body) -> Result<Response, Refusal> {
    set_disabled(member, body, false).await
}

async fn agree(member: Member, body: Body) -> Result<Response, Refusal> {
    let form = member.fields(body).await?;
    let outcome = member
        .site
        .registry
        .approve_recovery(&member.actor, form.get("user"))
        .await;
    member.done(outcome, HERE, "confirmed-request").await
}

async fn quarantine(member: Member, body: Body) -> Result<Response, Refusal> {
    let form = member.fields(body).await?;
    let (registry, actor) = (&member.site.registry, &member.actor);
    let (project, file) = (form.get("project"), form.some("file"));
    if form.get("do") == "release" {
        let outcome = registry
            .release_quarantine(actor, Ecosystem::Pypi, project, file)
            .await;
        return member.done(outcome, HERE, "released").await;
    }
    let outcome = registry
        .quarantine(actor, Ecosystem::Pypi, project, file, form.get("why"))
        .await;
    member.done(outcome, HERE, "withheld").await
}

async fn critical(member: Member, body: Body) -> Result<Response, Refusal> {
    let form = member.fields(body).await?;
    let outcome = member
        .site
        .registry
        .mark_critical(
            &member.actor,
            Ecosystem::Pypi,
            form.get("project"),
            form.get("do") != "unmark",
        )
        .await;
    member.done(outcome, HERE, "critical-set").await
}

async fn add_issuer(member: Member, body: Body) -> Result<Response, Refusal> {
    let form = member.fields(body).await?;
    let provider = form.get("provider").parse::<Provider>().map_err(|why| {
        refused(Error::new(
            Kind::Rejected,
            "form-malformed",
            format!("The form can not be read: {why}."),
        ))
    })?;
    let outcome = member
        .site
        .registry
        .add_issuer(
            &member.actor,
            NewIssuer {
                name: form.get("name").to_owned(),
                url: form.get("url").to_owned(),
                provider,
                ca_pem: None,
            },
        )
        .await;
    member.done(outcome, HERE, "issuer-added").await
}

async fn remove_issuer(member: Member, body: Body) -> Result<Response, Refusal> {
    let form = member.fields(body).await?;
    let outcome = member
        .site
        .registry
        .remove_issuer(&member.actor, form.get("name"))
        .await;
    member.done(outcome, HERE, "issuer-removed").await
}
