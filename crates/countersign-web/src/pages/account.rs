//! An account's own page: addresses, notices, and what is missing.

use askama::Template;
use axum::Router;
use axum::body::Body;
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use countersign_registry::{AccountNotice, AddressSummary, Demand, Error, MailKind};
use http::header;

use super::ask::{AskPage, ToldPage};
use super::guest::{Guest, Member, refused};
use super::phrase::{Told as _, counted, moment_in_words};
use super::visit::Frame;
use crate::Site;
use crate::error::Refusal;

pub(super) fn routes() -> Router<Site> {
    Router::new()
        .route("/account", get(show))
        .route("/account/addresses", post(add_address))
        .route("/account/addresses/again", post(add_address))
        .route("/account/addresses/primary", post(make_primary))
        .route("/account/addresses/remove", post(remove_address))
        .route("/account/notices", get(notices).post(see_notice))
        .route("/account/verify-address", get(show_verify).post(verify))
        .route("/account/data", get(data))
        .route("/account/data/export", post(export))
        .route("/account/data/erase", post(erase))
}

#[derive(Template)]
#[template(path = "account/account.html")]
struct AccountPage<'a> {
    frame: &'a Frame,
    place: &'static str,
    said: Option<&'static str>,
    user: &'a str,
    unseen: usize,
    unseen_words: String,
    missing: Option<String>,
    addresses: Vec<AddressSummary>,
}

async fn show(member: Member) -> Result<Response, Refusal> {
    let registry = &member.site.registry;
    let notices = registry
        .account_notices(&member.actor)
        .await
        .map_err(refused)?;
    let unseen = notices
        .iter()
        .filter(|notice| notice.seen.is_none())
        .count();
    let security = registry.security(&member.actor).await.map_err(refused)?;
    let addresses = registry.addresses(&member.actor).await.map_err(refused)?;
    Ok(member.page(&AccountPage {
        frame: &member.frame,
        place: "/account",
        said: member.said(),
        user: &member.name,
        unseen,
        unseen_words: counted(unseen as u64, "new notice", "new notices"),
        missing: security.missing.as_ref().map(demand),
        addresses,
    }))
}

async fn add_address(member: Member, body: Body) -> Result<Response, Refusal> {
    let form = member.fields(body).await?;
    let outcome = member
        .site
        .registry
        .add_address(&member.actor, form.get("address"))
        .await;
    member.done(outcome, "/account", "address-added").await
}

async fn make_primary(member: Member, body: Body) -> Result<Response, Refusal> {
    let form = member.fields(body).await?;
    let outcome = member
        .site
        .registry
        .make_primary(&member.actor, form.get("id"), Some(&member.origin))
        .await;
    member.done(outcome, "/account", "address-primary").await
}

async fn remove_address(member: Member, body: Body) -> Result<Response, Refusal> {
    let form = member.fields(body).await?;
    let outcome = member
        .site
        .registry
        .remove_address(&member.actor, form.get("id"), Some(&member.origin))
        .await;
    member.done(outcome, "/account", "address-removed").await
}

#[derive(Template)]
#[template(path = "account/notices.html")]
struct NoticesPage<'a> {
    frame: &'a Frame,
    place: &'static str,
    said: Option<&'static str>,
    notices: Vec<AccountNotice>,
}

async fn notices(member: Member) -> Result<Response, Refusal> {
    let notices = member
        .site
        .registry
        .account_notices(&member.actor)
        .await
        .map_err(refused)?;
    Ok(member.page(&NoticesPage {
        frame: &member.frame,
        place: "/account/notices",
        said: member.said(),
        notices,
    }))
}

async fn see_notice(member: Member, body: Body) -> Result<Response, Refusal> {
    let form = member.fields(body).await?;
    let outcome = member
        .site
        .registry
        .see_account_notice(&member.actor, form.get("id"))
        .await;
    member
        .done(outcome, "/account/notices", "notice-seen")
        .await
}

/// What an account needs and lacks, in words.
pub(super) fn demand(demand: &Demand) -> String {
    format!(
        "You need {}, since {}. From {} on you can not act without it.",
        demand.need.words(),
        demand.why,
        moment_in_words(demand.by)
    )
}

/// `GET /account/verify-address?secret=…`: asks; programs that read mail open links too.
async fn show_verify(guest: Guest) -> Result<Response, Refusal> {
    let secret = guest.query.get("secret");
    let link = guest
        .site
        .registry
        .mail_link(MailKind::VerifyAddress, secret)
        .await
        .map_err(refused)?;
    let mut facts = vec![("Address", link.address)];
    facts.extend(link.user.map(|user| ("Account", user)));
    Ok(guest.page(&AskPage {
        title: "Is this your address?",
        text: "Say yes only if the account is yours.".to_owned(),
        facts,
        hidden: vec![("secret", secret.to_owned())],
        action: "/account/verify-address",
        label: "Yes, it is mine",
        ..AskPage::new(&guest.frame)
    }))
}

async fn verify(guest: Guest, body: Body) -> Result<Response, Refusal> {
    let form = guest.fields(body).await?;
    let address = guest
        .site
        .registry
        .verify_address(form.get("secret"), Some(&guest.origin))
        .await
        .map_err(refused)?;
    Ok(guest.page(&ToldPage {
        frame: &guest.frame,
        title: "Thank you",
        text: format!("{} is proved.", address.address),
        link: "/account",
        label: "Your account",
        strong: true,
    }))
}

#[derive(Template)]
#[template(path = "account/data.html")]
struct DataPage<'a> {
    frame: &'a Frame,
    place: &'static str,
}

async fn data(member: Member) -> Response {
    member.page(&DataPage {
        frame: &member.frame,
        place: "/account/data",
    })
}

async fn export(member: Member, body: Body) -> Result<Response, Refusal> {
    member.fields(body).await?;
    let export = match member.site.registry.export_account(&member.actor).await {
        Ok(export) => export,
        Err(error) => return member.not_done(error, "/account/data").await,
    };
    let text = serde_json::to_vec_pretty(&export)
        .map_err(|error| refused(Error::internal("an export could not be written", error)))?;
    let headers = [
        (header::CONTENT_TYPE, "application/json"),
        (
            header::CONTENT_DISPOSITION,
            "attachment; filename=\"account.json\"",
        ),
        (header::CACHE_CONTROL, "no-store"),
    ];
    Ok((headers, text).into_response())
}

async fn erase(member: Member, body: Body) -> Result<Response, Refusal> {
    let form = member.fields(body).await?;
    let outcome = member
        .site
        .registry
        .erase_account(&member.actor, form.get("name"))
        .await;
    match outcome {
        Ok(()) => Ok(member.leave("/sign-in?done=erased")),
        Err(error) => member.not_done(error, "/account/data").await,
    }
}
