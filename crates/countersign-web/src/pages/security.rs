//! The security page: passkeys, password, app for codes, recovery codes, providers, sessions.

use askama::Template;
use axum::Router;
use axum::body::Body;
use axum::response::Response;
use axum::routing::{get, post};
use countersign_registry::model::{FactorId, SessionId};
use countersign_registry::{Enrolling, Error, FactorSummary, KeyKind, Security, SessionSummary};
use qrcode::{Color, EcLevel, QrCode};

use super::guest::{Fields, Member, go, refused};
use super::phrase::Told as _;
use super::sign_in::{answer, depart_to, for_script, question};
use super::visit::Frame;
use crate::Site;
use crate::error::Refusal;

/// The page.
const HERE: &str = "/account/security";

pub(super) fn routes() -> Router<Site> {
    Router::new()
        .route("/account/security", get(show))
        .route("/account/security/passkey/options", post(passkey_options))
        .route("/account/security/passkey", post(add_passkey))
        .route("/account/security/rename", post(rename))
        .route("/account/security/remove", post(remove))
        .route("/account/security/password", post(set_password))
        .route("/account/security/password/remove", post(remove_password))
        .route("/account/security/totp", post(begin_totp))
        .route("/account/security/totp/confirm", post(confirm_totp))
        .route("/account/security/codes", post(make_codes))
        .route("/account/security/link", post(link))
        .route("/account/security/unlink", post(unlink))
        .route("/account/security/end", post(end_session))
        .route("/account/security/end-others", post(end_others))
}

#[derive(Template)]
#[template(path = "account/security.html")]
struct SecurityPage<'a> {
    frame: &'a Frame,
    place: &'static str,
    said: Option<&'static str>,
    user: &'a str,
    /// What was typed before proving again who it is.
    typed: &'a str,
    missing: Option<String>,
    keys: Vec<FactorSummary>,
    apps: Vec<FactorSummary>,
    security: Security,
    providers: Vec<(String, String)>,
    sessions: Vec<SessionSummary>,
}

/// A browser in words, by what it says of itself; what says nothing known stays as it is.
fn program(agent: &str) -> String {
    let first = |list: &[(&str, &'static str)]| {
        list.iter()
            .find(|(mark, _)| agent.contains(mark))
            .map(|(_, name)| *name)
    };
    // Each of them claims to be the ones after it, too.
    let browser = first(&[
        ("Edg/", "Edge"),
        ("OPR/", "Opera"),
        ("Firefox/", "Firefox"),
        ("FxiOS/", "Firefox"),
        ("CriOS/", "Chrome"),
        ("Chrome/", "Chrome"),
        ("Safari/", "Safari"),
    ]);
    let system = first(&[
        ("Android", "Android"),
        ("iPhone", "an iPhone"),
        ("iPad", "an iPad"),
        ("Windows", "Windows"),
        ("Mac OS", "a Mac"),
        ("CrOS", "ChromeOS"),
        ("Linux", "Linux"),
    ]);
    match (browser, system) {
        (Some(browser), Some(system)) => format!("{browser} on {system}"),
        (Some(browser), None) => browser.to_owned(),
        _ => agent.to_owned(),
    }
}

async fn show(member: Member) -> Result<Response, Refusal> {
    let (registry, actor) = (&member.site.registry, &member.actor);
    let mut security = registry.security(actor).await.map_err(refused)?;
    let mut sessions = registry.sessions(actor).await.map_err(refused)?;
    for session in &mut sessions {
        session.agent = session.agent.take().map(|agent| program(&agent));
    }
    let (apps, keys) = std::mem::take(&mut security.factors)
        .into_iter()
        .partition(|factor| factor.kind == "totp");
    Ok(member.page(&SecurityPage {
        frame: &member.frame,
        place: HERE,
        said: member.said(),
        user: &member.name,
        typed: member.query.get("label"),
        missing: security.missing.as_ref().map(super::account::demand),
        keys,
        apps,
        security,
        providers: registry
            .sign_in_providers()
            .into_iter()
            .map(|provider| {
                let words = format!("Link {}", provider.name);
                (provider.name, words)
            })
            .collect(),
        sessions,
    }))
}

fn kind(form: &Fields) -> KeyKind {
    match form.get("kind") {
        "security-key" => KeyKind::SecurityKey,
        _ => KeyKind::Passkey,
    }
}

async fn passkey_options(member: Member, body: Body) -> Result<Response, Refusal> {
    let form = member.fields(body).await.map_err(for_script)?;
    let ceremony = member
        .site
        .registry
        .passkey_registration_start(Enrolling::Session(&member.actor), kind(&form))
        .await
        .map_err(Refusal::problem)?;
    Ok(question(ceremony))
}

async fn add_passkey(member: Member, body: Body) -> Result<Response, Refusal> {
    let form = member.fields(body).await?;
    let answer = answer(&form)?;
    let outcome = member
        .site
        .registry
        .passkey_registration_finish(
            Enrolling::Session(&member.actor),
            &answer,
            form.get("label"),
            &member.origin,
            member.device.as_deref(),
        )
        .await;
    member.done(outcome, HERE, "passkey-added").await
}

async fn rename(member: Member, body: Body) -> Result<Response, Refusal> {
    let form = member.fields(body).await?;
    let id = FactorId(form.get("id").to_owned());
    let outcome = member
        .site
        .registry
        .rename_factor(&member.actor, &id, form.get("label"))
        .await;
    member.done(outcome, HERE, "renamed").await
}

async fn remove(member: Member, body: Body) -> Result<Response, Refusal> {
    let form = member.fields(body).await?;
    let id = FactorId(form.get("id").to_owned());
    let outcome = member
        .site
        .registry
        .remove_factor(&member.actor, &id, &member.origin)
        .await;
    member.done(outcome, HERE, "factor-removed").await
}

async fn set_password(member: Member, body: Body) -> Result<Response, Refusal> {
    let form = member.fields(body).await?;
    let outcome = member
        .site
        .registry
        .password_set(
            Enrolling::Session(&member.actor),
            form.raw("password"),
            &member.origin,
            member.device.as_deref(),
        )
        .await;
    member.done(outcome, HERE, "password-set").await
}

async fn remove_password(member: Member, body: Body) -> Result<Response, Refusal> {
    member.fields(body).await?;
    let outcome = member
        .site
        .registry
        .password_remove(&member.actor, &member.origin)
        .await;
    member.done(outcome, HERE, "password-removed").await
}

#[derive(Template)]
#[template(path = "account/totp.html")]
struct TotpPage<'a> {
    frame: &'a Frame,
    place: &'static str,
    id: String,
    secret: String,
    picture: String,
    side: usize,
}

/// A QR code as the path of an SVG, and the length of its side with the quiet zone.
fn picture(text: &str) -> countersign_registry::Result<(String, usize)> {
    let code = QrCode::with_error_correction_level(text, EcLevel::M)
        .map_err(|error| Error::internal("a QR code could not be made", error))?;
    let width = code.width();
    let mut path = String::with_capacity(width * width * 6);
    for (at, color) in code.to_colors().into_iter().enumerate() {
        if color == Color::Dark {
            path.push_str(&format!("M{} {}h1v1h-1z", at % width, at / width));
        }
    }
    Ok((path, width + 8))
}

async fn begin_totp(member: Member, body: Body) -> Result<Response, Refusal> {
    member.fields(body).await?;
    let setup = match member.site.registry.totp_start(&member.actor).await {
        Ok(setup) => setup,
        Err(error) => return member.not_done(error, HERE).await,
    };
    let (picture, side) = picture(&setup.url).map_err(refused)?;
    Ok(member.page(&TotpPage {
        frame: &member.frame,
        place: HERE,
        id: setup.id.0,
        secret: setup.secret,
        picture,
        side,
    }))
}

async fn confirm_totp(member: Member, body: Body) -> Result<Response, Refusal> {
    let form = member.fields(body).await?;
    let id = FactorId(form.get("id").to_owned());
    let outcome = member
        .site
        .registry
        .totp_confirm(&member.actor, &id, form.get("code"), &member.origin)
        .await;
    member.done(outcome, HERE, "totp-on").await
}

#[derive(Template)]
#[template(path = "account/codes.html")]
struct CodesPage<'a> {
    frame: &'a Frame,
    place: &'static str,
    codes: Vec<String>,
}

async fn make_codes(member: Member, body: Body) -> Result<Response, Refusal> {
    member.fields(body).await?;
    let outcome = member
        .site
        .registry
        .recovery_codes(&member.actor, &member.origin)
        .await;
    match outcome {
        Ok(made) => Ok(member.page(&CodesPage {
            frame: &member.frame,
            place: HERE,
            codes: made.codes,
        })),
        Err(error) => member.not_done(error, HERE).await,
    }
}

async fn link(member: Member, body: Body) -> Result<Response, Refusal> {
    let form = member.fields(body).await?;
    match depart_to(&member, form.get("provider"), true).await {
        Ok(response) => Ok(response),
        Err(error) => member.not_done(error, HERE).await,
    }
}

async fn unlink(member: Member, body: Body) -> Result<Response, Refusal> {
    let form = member.fields(body).await?;
    let outcome = member
        .site
        .registry
        .unlink_identity(&member.actor, form.get("id"), &member.origin)
        .await;
    member.done(outcome, HERE, "unlinked").await
}

async fn end_session(member: Member, body: Body) -> Result<Response, Refusal> {
    let form = member.fields(body).await?;
    let id = SessionId(form.get("id").to_owned());
    let own = member
        .actor
        .session
        .as_ref()
        .is_some_and(|session| session.id == id);
    let outcome = member
        .site
        .registry
        .revoke_session(&member.actor, &id)
        .await;
    if own && outcome.is_ok() {
        return Ok(go("/sign-in?done=signed-out"));
    }
    member.done(outcome, HERE, "session-ended").await
}

async fn end_others(member: Member, body: Body) -> Result<Response, Refusal> {
    member.fields(body).await?;
    let outcome = member
        .site
        .registry
        .revoke_other_sessions(&member.actor)
        .await;
    member.done(outcome, HERE, "sessions-ended").await
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn browsers_are_named_as_people_name_them() {
        for (agent, words) in [
            (
                "Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/140.0 Safari/537.36",
                "Chrome on Linux",
            ),
            (
                "Mozilla/5.0 (iPhone; CPU iPhone OS 18_0 like Mac OS X) AppleWebKit/605.1 Version/18.0 Mobile Safari/604.1",
                "Safari on an iPhone",
            ),
            (
                "Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 Chrome/140.0 Safari/537.36 Edg/140.0",
                "Edge on Windows",
            ),
            ("countersign/0.1", "countersign/0.1"),
        ] {
            assert_eq!(program(agent), words);
        }
    }
}
