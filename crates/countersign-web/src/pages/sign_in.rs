//! Ways in: sign-up, enrolment by a link, sign-in by passkey, password and factor or provider, proving again who it is,
//! and signing out.

use askama::Template;
use axum::Router;
use axum::body::Body;
use axum::extract::Path;
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use countersign_registry::{
    Answer as PasskeyAnswer, Ceremony, Departure, Enrolling, Enrolment, Error, HalfSession,
    KeyKind, Kind, ProviderReturn, SecondFactor, SignInStep, SignedIn,
};
use http::{HeaderValue, StatusCode, header};
use serde_json::json;

use super::ask::{Ask, AskPage, ToldPage};
use super::guest::{Fields, Guest, Member, go, refused, with_return};
use super::recovery::told;
use super::visit::Frame;
use super::words;
use crate::Site;
use crate::error::{Refusal, status_of};
use crate::session::own_path;

pub(super) fn routes() -> Router<Site> {
    Router::new()
        .route("/sign-in", get(show).post(by_password))
        .route("/sign-in/passkey/options", post(passkey_options))
        .route("/sign-in/passkey", post(by_passkey))
        .route("/sign-in/factor", get(factor).post(by_code))
        .route("/sign-in/factor/options", post(factor_options))
        .route("/sign-in/factor/key", post(by_key))
        .route("/sign-in/with", post(depart))
        .route("/sign-in/provider", get(by_provider))
        .route("/sign-out", post(sign_out))
        .route("/sign-up", get(show_sign_up).post(sign_up))
        .route("/enrol", get(enrol))
        .route("/enrol/{secret}", get(enrol_by_path))
        .route("/enrol/passkey/options", post(enrol_options))
        .route("/enrol/passkey", post(enrol_passkey))
        .route("/enrol/password", post(enrol_password))
        .route("/account/reset-password", get(reset).post(set_new_password))
        .route("/forgotten", get(show_forgotten).post(forgotten))
        .route("/account/confirm", get(show_confirm).post(confirm))
        .route("/account/confirm/options", post(confirm_options))
        .route("/account/confirm/key", post(confirm_by_key))
}

/// Where somebody is led who just signed in.
const HOME: &str = "/account";

#[derive(Template)]
#[template(path = "account/sign_in.html")]
struct SignInPage<'a> {
    frame: &'a Frame,
    fault: Option<&'a Error>,
    done: Option<&'static str>,
    onward: String,
    user: &'a str,
    /// Whether the browser may offer its passkeys by itself: not to whoever just signed out.
    offer: bool,
    providers: Vec<String>,
    open: bool,
}

fn providers(guest: &Guest) -> Vec<String> {
    guest
        .site
        .registry
        .sign_in_providers()
        .into_iter()
        .map(|provider| provider.name)
        .collect()
}

async fn show(guest: Guest) -> Response {
    let onward = guest.onward(HOME);
    if guest.session.is_some() {
        return go(&onward);
    }
    guest.page(&SignInPage {
        frame: &guest.frame,
        fault: None,
        done: words::done(guest.query.get("done")),
        onward,
        user: "",
        offer: guest.query.some("done").is_none(),
        providers: providers(&guest),
        open: guest.site.registry.settings().sign_up_open(),
    })
}

/// The page again, with what was wrong.
fn again(guest: &Guest, form: &Fields, error: &Error) -> Response {
    let page = SignInPage {
        frame: &guest.frame,
        fault: Some(error),
        done: None,
        onward: own_path(form.some("return"), HOME),
        user: form.get("user"),
        offer: true,
        providers: providers(guest),
        open: guest.site.registry.settings().sign_up_open(),
    };
    limited(guest.page_as(status_of(error), &page), error)
}

/// What is limited says when to come back.
fn limited(mut response: Response, error: &Error) -> Response {
    if error.kind == Kind::Limited {
        response
            .headers_mut()
            .insert(header::RETRY_AFTER, HeaderValue::from_static("300"));
    }
    response
}

/// Errors that are the visitor's own to mend: the page says them and shows the form again.
fn mendable(error: &Error) -> bool {
    matches!(
        error.kind,
        Kind::Unauthenticated | Kind::Denied | Kind::Rejected | Kind::Conflict | Kind::Limited
    )
}

/// A question for the script: its id and what the browser is asked.
pub(super) fn question(ceremony: Ceremony) -> Response {
    let Ceremony { id, mut options } = ceremony;
    let public_key = match options.get_mut("publicKey") {
        Some(inner) => inner.take(),
        None => options,
    };
    let body = json!({"ceremony": id, "publicKey": public_key}).to_string();
    let headers = [
        (header::CONTENT_TYPE, "application/json"),
        (header::CACHE_CONTROL, "no-store"),
    ];
    (headers, body).into_response()
}

/// The browser's answer, out of a form.
pub(super) fn answer(form: &Fields) -> Result<PasskeyAnswer, Refusal> {
    let credential = serde_json::from_str(form.get("credential")).map_err(|_| {
        let error = Error::new(
            Kind::Rejected,
            "form-malformed",
            "The form holds no answer of a passkey.",
        );
        refused(error.remedy("Passkeys need JavaScript. Load the page again and try once more."))
    })?;
    Ok(PasskeyAnswer {
        ceremony: form.get("ceremony").to_owned(),
        credential,
    })
}

/// In with a new session: on, or to a new password first.
fn inside(guest: &Guest, signed_in: &SignedIn, onward: &str) -> Response {
    let path = if signed_in.must_change_password {
        "/account/security"
    } else {
        onward
    };
    guest.enter(path, &signed_in.cookie, signed_in.device.as_deref())
}

async fn passkey_options(guest: Guest, body: Body) -> Result<Response, Refusal> {
    guest.fields(body).await.map_err(for_script)?;
    let ceremony = guest
        .site
        .registry
        .passkey_sign_in_start(&guest.origin)
        .await
        .map_err(Refusal::problem)?;
    Ok(question(ceremony))
}

/// Our script reads errors as JSON.
pub(super) fn for_script(refusal: Refusal) -> Refusal {
    Refusal::problem(*refusal.error)
}

async fn by_passkey(guest: Guest, body: Body) -> Result<Response, Refusal> {
    let form = guest.fields(body).await?;
    let answer = answer(&form)?;
    let outcome = guest
        .site
        .registry
        .passkey_sign_in_finish(&answer, &guest.origin, guest.device.as_deref())
        .await;
    match outcome {
        Ok(signed_in) => {
            end_before(&guest).await;
            Ok(inside(
                &guest,
                &signed_in,
                &own_path(form.some("return"), HOME),
            ))
        }
        Err(error) if mendable(&error) => Ok(again(&guest, &form, &error)),
        Err(error) => Err(refused(error)),
    }
}

/// The session that this browser had before ends when another one takes its place.
async fn end_before(guest: &Guest) {
    if guest.session.is_some()
        && let Err(error) = guest.site.registry.sign_out(&guest.actor).await
    {
        tracing::warn!(%error, "the session before could not be ended; it ends by itself");
    }
}

async fn by_password(guest: Guest, body: Body) -> Result<Response, Refusal> {
    let form = guest.fields(body).await?;
    let onward = own_path(form.some("return"), HOME);
    let outcome = guest
        .site
        .registry
        .password_sign_in(
            form.get("user"),
            form.raw("password"),
            &guest.origin,
            guest.device.as_deref(),
        )
        .await;
    match outcome {
        Ok(SignInStep::Done(signed_in)) => {
            end_before(&guest).await;
            Ok(inside(&guest, &signed_in, &onward))
        }
        Ok(SignInStep::SecondFactor(half)) => Ok(guest.halfway(
            &with_return(&format!("/sign-in/factor?{}", ways(&half)), &onward),
            &half.secret,
        )),
        Err(error) if mendable(&error) => Ok(again(&guest, &form, &error)),
        Err(error) => Err(refused(error)),
    }
}

/// Which factors the page offers; it decides nothing.
fn ways(half: &HalfSession) -> String {
    let letter = |yes: bool, letter: &'static str| if yes { letter } else { "" };
    format!(
        "ways={}{}{}",
        letter(half.key, "k"),
        letter(half.totp, "t"),
        letter(half.recovery_code, "r")
    )
}

#[derive(Template)]
#[template(path = "account/factor.html")]
struct FactorPage<'a> {
    frame: &'a Frame,
    fault: Option<&'a Error>,
    onward: String,
    here: String,
    passkeys: bool,
    totp: bool,
    recovery_codes: bool,
}

fn factor_page<'a>(
    guest: &'a Guest,
    ways: &str,
    onward: String,
    fault: Option<&'a Error>,
) -> FactorPage<'a> {
    FactorPage {
        frame: &guest.frame,
        fault,
        onward,
        here: ways.to_owned(),
        passkeys: ways.contains('k'),
        totp: ways.contains('t'),
        recovery_codes: ways.contains('r'),
    }
}

async fn factor(guest: Guest) -> Response {
    if guest.half().is_none() {
        return go("/sign-in");
    }
    let onward = guest.onward(HOME);
    guest.page(&factor_page(&guest, guest.query.get("ways"), onward, None))
}

fn half(guest: &Guest) -> Result<String, Refusal> {
    guest.half().ok_or_else(|| {
        let error = Error::new(
            Kind::Unauthenticated,
            "session-ended",
            "There is no sign-in under way in this browser.",
        );
        refused(error.remedy("Begin again with your password, or use a passkey."))
    })
}

async fn factor_options(guest: Guest, body: Body) -> Result<Response, Refusal> {
    guest.fields(body).await.map_err(for_script)?;
    let half = half(&guest).map_err(for_script)?;
    let ceremony = guest
        .site
        .registry
        .second_factor_start(&half)
        .await
        .map_err(Refusal::problem)?;
    Ok(question(ceremony))
}

async fn by_key(guest: Guest, body: Body) -> Result<Response, Refusal> {
    let form = guest.fields(body).await?;
    let answer = answer(&form)?;
    give_factor(&guest, &form, SecondFactor::Key(&answer)).await
}

async fn by_code(guest: Guest, body: Body) -> Result<Response, Refusal> {
    let form = guest.fields(body).await?;
    let code = form.get("code");
    let factor = match form.get("kind") {
        "recovery" => SecondFactor::RecoveryCode(code),
        _ => SecondFactor::Totp(code),
    };
    give_factor(&guest, &form, factor).await
}

async fn give_factor(
    guest: &Guest,
    form: &Fields,
    factor: SecondFactor<'_>,
) -> Result<Response, Refusal> {
    let half = half(guest)?;
    let onward = own_path(form.some("return"), HOME);
    let outcome = guest
        .site
        .registry
        .second_factor(&half, factor, &guest.origin, guest.device.as_deref())
        .await;
    match outcome {
        Ok(signed_in) => {
            end_before(guest).await;
            Ok(inside(guest, &signed_in, &onward))
        }
        Err(error) if error.code == "session-over" => Err(refused(error)),
        Err(error) if mendable(&error) => {
            let page = factor_page(guest, form.get("ways"), onward, Some(&error));
            Ok(limited(guest.page_as(status_of(&error), &page), &error))
        }
        Err(error) => Err(refused(error)),
    }
}

async fn depart(guest: Guest, body: Body) -> Result<Response, Refusal> {
    let form = guest.fields(body).await?;
    depart_to(&guest, form.get("provider"), false)
        .await
        .map_err(refused)
}

/// The page before a trip to a provider. A form may only lead within this site, so the way there is a link.
pub(super) async fn depart_to(
    guest: &Guest,
    provider: &str,
    link: bool,
) -> countersign_registry::Result<Response> {
    let actor = link.then_some(&guest.actor);
    let registry = &guest.site.registry;
    let departure = registry
        .provider_start(provider, actor, &guest.origin)
        .await?;
    Ok(departing(guest, provider, &departure))
}

/// Names the provider and leads there.
pub(super) fn departing(guest: &Guest, provider: &str, departure: &Departure) -> Response {
    let mut response = guest.page(&ToldPage {
        frame: &guest.frame,
        title: "On to your provider",
        text: format!(
            "{provider} asks you who you are and sends you back here. It is told that you use this registry, and nothing more."
        ),
        link: &departure.url,
        label: "Go on",
        strong: true,
    });
    guest.keep_away(&mut response, &departure.browser);
    response
}

/// `GET /sign-in/provider`: somebody comes back from there.
async fn by_provider(guest: Guest) -> Result<Response, Refusal> {
    let query = &guest.query;
    if let Some(word) = query.some("error") {
        let shown: String = word
            .chars()
            .filter(char::is_ascii_graphic)
            .take(60)
            .collect();
        let error = Error::new(
            Kind::Denied,
            "provider-refused",
            format!("The provider said no: {shown}."),
        );
        return Err(refused(error.remedy("Try again, or sign in another way.")));
    }
    let actor = guest.session.is_some().then_some(&guest.actor);
    let outcome = guest
        .site
        .registry
        .provider_finish(
            query.get("state"),
            query.get("code"),
            &guest.away().unwrap_or_default(),
            actor,
            &guest.origin,
            guest.device.as_deref(),
        )
        .await
        .map_err(refused)?;
    Ok(match outcome {
        ProviderReturn::Linked => go("/account/security?done=linked"),
        ProviderReturn::Proved => told(
            &guest,
            "Thank you",
            "It counts as a proof. Look again at the page of the recovery, where you began."
                .to_owned(),
        ),
        ProviderReturn::SignedIn(SignInStep::Done(signed_in)) => {
            end_before(&guest).await;
            inside(&guest, &signed_in, HOME)
        }
        ProviderReturn::SignedIn(SignInStep::SecondFactor(half)) => {
            guest.halfway(&format!("/sign-in/factor?{}", ways(&half)), &half.secret)
        }
    })
}

async fn sign_out(guest: Guest, body: Body) -> Result<Response, Refusal> {
    guest.fields(body).await?;
    if guest.session.is_some() {
        guest
            .site
            .registry
            .sign_out(&guest.actor)
            .await
            .map_err(refused)?;
    }
    Ok(guest.leave("/sign-in?done=signed-out"))
}

#[derive(Template)]
#[template(path = "account/sign_up.html")]
struct SignUpPage<'a> {
    frame: &'a Frame,
    fault: Option<&'a Error>,
    user: &'a str,
    email: &'a str,
}

async fn show_sign_up(guest: Guest) -> Response {
    guest.page(&SignUpPage {
        frame: &guest.frame,
        fault: None,
        user: "",
        email: "",
    })
}

/// Says the same whether or not the address is known: what is true is mailed to it.
async fn sign_up(guest: Guest, body: Body) -> Result<Response, Refusal> {
    let form = guest.fields(body).await?;
    let (user, email) = (form.get("user"), form.get("email"));
    let outcome = guest
        .site
        .registry
        .sign_up(user, email, &guest.origin)
        .await;
    match outcome {
        Ok(()) => Ok(look_at_your_mail(
            &guest,
            "Open the link in it to go on. If nothing comes within a few minutes, look into the folder for junk.",
        )),
        Err(error) if mendable(&error) => {
            let page = SignUpPage {
                frame: &guest.frame,
                fault: Some(&error),
                user,
                email,
            };
            Ok(limited(guest.page_as(status_of(&error), &page), &error))
        }
        Err(error) => Err(refused(error)),
    }
}

/// The one answer to everybody who asked for a mail.
pub(super) fn look_at_your_mail(guest: &Guest, text: &str) -> Response {
    guest.page(&ToldPage {
        frame: &guest.frame,
        title: "Look into your mail",
        text: text.to_owned(),
        link: "/",
        label: "Front page",
        strong: false,
    })
}

#[derive(Template)]
#[template(path = "account/enrol.html")]
struct EnrolPage<'a> {
    frame: &'a Frame,
    fault: Option<&'a Error>,
    title: String,
    text: &'static str,
    secret: &'a str,
    user: &'a str,
    passwords: bool,
    passkey_action: &'static str,
    passkey_options: &'static str,
    password_action: &'static str,
}

fn enrol_page(
    guest: &Guest,
    secret: &str,
    enrolment: &Enrolment,
    fault: Option<&Error>,
) -> Response {
    let page = EnrolPage {
        frame: &guest.frame,
        fault,
        title: format!("Welcome, {}", enrolment.user),
        text: "Choose how you will sign in. This link is a secret of yours, and good once.",
        secret,
        user: &enrolment.user,
        passwords: true,
        passkey_action: "/enrol/passkey",
        passkey_options: "/enrol/passkey/options",
        password_action: "/enrol/password",
    };
    match fault {
        None => guest.page(&page),
        Some(error) => limited(guest.page_as(status_of(error), &page), error),
    }
}

/// `GET /enrol?secret=…`: looking uses nothing up, since programs that read mail open links too.
async fn enrol(guest: Guest) -> Result<Response, Refusal> {
    let secret = guest.query.get("secret").to_owned();
    show_enrolment(&guest, &secret).await
}

/// `GET /enrol/{secret}`: the link that the command line prints.
async fn enrol_by_path(guest: Guest, Path(secret): Path<String>) -> Result<Response, Refusal> {
    show_enrolment(&guest, &secret).await
}

async fn show_enrolment(guest: &Guest, secret: &str) -> Result<Response, Refusal> {
    let enrolment = guest
        .site
        .registry
        .enrolment(secret)
        .await
        .map_err(refused)?;
    if enrolment.password_only {
        return Ok(go(&with_secret("/account/reset-password", secret)));
    }
    Ok(enrol_page(guest, secret, &enrolment, None))
}

fn with_secret(path: &str, secret: &str) -> String {
    let query = url::form_urlencoded::Serializer::new(String::new())
        .append_pair("secret", secret)
        .finish();
    format!("{path}?{query}")
}

async fn enrol_options(guest: Guest, body: Body) -> Result<Response, Refusal> {
    let form = guest.fields(body).await.map_err(for_script)?;
    let ceremony = guest
        .site
        .registry
        .passkey_registration_start(Enrolling::Link(form.get("secret")), KeyKind::Passkey)
        .await
        .map_err(Refusal::problem)?;
    Ok(question(ceremony))
}

async fn enrol_passkey(guest: Guest, body: Body) -> Result<Response, Refusal> {
    let form = guest.fields(body).await?;
    let answer = answer(&form)?;
    let outcome = guest
        .site
        .registry
        .passkey_registration_finish(
            Enrolling::Link(form.get("secret")),
            &answer,
            form.get("label"),
            &guest.origin,
            guest.device.as_deref(),
        )
        .await;
    enrolled(&guest, &form, outcome).await
}

async fn enrol_password(guest: Guest, body: Body) -> Result<Response, Refusal> {
    let form = guest.fields(body).await?;
    let device = guest.device_or_new();
    let outcome = guest
        .site
        .registry
        .password_set(
            Enrolling::Link(form.get("secret")),
            form.raw("password"),
            &guest.origin,
            Some(&device),
        )
        .await;
    let mut response = enrolled(&guest, &form, outcome).await?;
    guest.keep_device(&mut response, &device);
    Ok(response)
}

async fn enrolled(
    guest: &Guest,
    form: &Fields,
    outcome: countersign_registry::Result<Option<SignedIn>>,
) -> Result<Response, Refusal> {
    match outcome {
        Ok(Some(signed_in)) => {
            end_before(guest).await;
            Ok(inside(guest, &signed_in, HOME))
        }
        Ok(None) => Ok(go("/sign-in?done=password-set")),
        Err(error) if mendable(&error) => {
            let secret = form.get("secret");
            let enrolment = guest
                .site
                .registry
                .enrolment(secret)
                .await
                .map_err(refused)?;
            Ok(enrol_page(guest, secret, &enrolment, Some(&error)))
        }
        Err(error) => Err(refused(error)),
    }
}

fn reset_page(guest: &Guest, secret: &str, user: String, fault: Option<&Error>) -> Response {
    let page = AskPage {
        title: "Choose a new password",
        text: format!(
            "For the account {user}. Your second factor stays as it is, and your sessions end."
        ),
        fault,
        hidden: vec![("secret", secret.to_owned())],
        asks: vec![Ask {
            name: "password",
            label: "New password",
            kind: "password",
            hint: "At least eight characters; a sentence is best.",
            more: "autocomplete=\"new-password\" minlength=\"8\" maxlength=\"1024\" required",
            ..Ask::default()
        }],
        action: "/account/reset-password",
        label: "Set it",
        ..AskPage::new(&guest.frame)
    };
    match fault {
        None => guest.page(&page),
        Some(error) => guest.page_as(status_of(error), &page),
    }
}

async fn reset(guest: Guest) -> Result<Response, Refusal> {
    let secret = guest.query.get("secret");
    let enrolment = guest
        .site
        .registry
        .enrolment(secret)
        .await
        .map_err(refused)?;
    Ok(reset_page(&guest, secret, enrolment.user, None))
}

async fn set_new_password(guest: Guest, body: Body) -> Result<Response, Refusal> {
    let form = guest.fields(body).await?;
    let secret = form.get("secret");
    let registry = &guest.site.registry;
    let enrolment = registry.enrolment(secret).await.map_err(refused)?;
    let device = guest.device_or_new();
    let outcome = registry
        .password_set(
            Enrolling::Link(secret),
            form.raw("password"),
            &guest.origin,
            Some(&device),
        )
        .await;
    match outcome {
        Ok(Some(signed_in)) => Ok(inside(&guest, &signed_in, HOME)),
        Ok(None) => {
            let mut response = go("/sign-in?done=password-set");
            guest.keep_device(&mut response, &device);
            Ok(response)
        }
        Err(error) if mendable(&error) => {
            Ok(reset_page(&guest, secret, enrolment.user, Some(&error)))
        }
        Err(error) => Err(refused(error)),
    }
}

async fn show_forgotten(guest: Guest) -> Response {
    guest.page(&AskPage {
        title: "A new password",
        text: "We mail a link to the address of your account. Your second factor is asked for as ever."
            .to_owned(),
        asks: vec![Ask::who()],
        action: "/forgotten",
        label: "Send me the link",
        other: Some(("I lost my passkey or second factor", "/recover")),
        ..AskPage::new(&guest.frame)
    })
}

async fn forgotten(guest: Guest, body: Body) -> Result<Response, Refusal> {
    let form = guest.fields(body).await?;
    guest
        .site
        .registry
        .begin_password_reset(form.get("who"), &guest.origin)
        .await
        .map_err(refused)?;
    Ok(look_at_your_mail(
        &guest,
        "If there is such an account, a link to choose a new password is on its way to its address.",
    ))
}

#[derive(Template)]
#[template(path = "account/confirm.html")]
struct ConfirmPage<'a> {
    frame: &'a Frame,
    fault: Option<&'a Error>,
    user: &'a str,
    onward: String,
    /// What waits for the proof: its secret and where it leads; both empty where nothing does.
    held: &'a str,
    onto: String,
    waits: &'static str,
    passkeys: bool,
    password: bool,
    totp: bool,
}

async fn confirm_page(
    member: &Member,
    asked: &Fields,
    fault: Option<&Error>,
) -> Result<Response, Refusal> {
    let security = member
        .site
        .registry
        .security(&member.actor)
        .await
        .map_err(refused)?;
    let passkeys = security
        .factors
        .iter()
        .any(|factor| factor.kind != "totp" && factor.cloned.is_none());
    let held = asked.get("held");
    let page = ConfirmPage {
        frame: &member.frame,
        fault,
        user: &member.name,
        onward: own_path(asked.some("return"), HOME),
        held,
        onto: own_path(asked.some("onto"), ""),
        waits: if held.is_empty() { "" } else { words::HELD },
        passkeys,
        password: !passkeys && security.password_changed.is_some(),
        totp: security.factors.iter().any(|factor| factor.kind == "totp"),
    };
    Ok(match fault {
        None => member.page(&page),
        Some(error) => limited(member.page_as(status_of(error), &page), error),
    })
}

async fn show_confirm(member: Member) -> Result<Response, Refusal> {
    confirm_page(&member, &member.query, None).await
}

async fn confirm_options(member: Member, body: Body) -> Result<Response, Refusal> {
    member.fields(body).await.map_err(for_script)?;
    let ceremony = member
        .site
        .registry
        .step_up_start(&member.actor)
        .await
        .map_err(Refusal::problem)?;
    Ok(question(ceremony))
}

async fn confirm_by_key(member: Member, body: Body) -> Result<Response, Refusal> {
    let form = member.fields(body).await?;
    let answer = answer(&form)?;
    let cookie = member.session.clone().unwrap_or_default();
    let outcome = member
        .site
        .registry
        .step_up_finish(&cookie, &answer, &member.origin)
        .await;
    confirmed(&member, &form, outcome).await
}

async fn confirm(member: Member, body: Body) -> Result<Response, Refusal> {
    let form = member.fields(body).await?;
    let cookie = member.session.clone().unwrap_or_default();
    let outcome = member
        .site
        .registry
        .step_up_with_password(
            &cookie,
            form.raw("password"),
            form.some("code"),
            &member.origin,
            member.device.as_deref(),
        )
        .await;
    confirmed(&member, &form, outcome).await
}

async fn confirmed(
    member: &Member,
    form: &Fields,
    outcome: countersign_registry::Result<SignedIn>,
) -> Result<Response, Refusal> {
    match outcome {
        Ok(signed_in) => {
            let onto = own_path(form.some("onto"), "");
            let waits = !onto.is_empty() && form.some("held").is_some();
            let onward = own_path(form.some("return"), HOME);
            let path = if waits { &onto } else { &onward };
            let mut response = member.enter(path, &signed_in.cookie, signed_in.device.as_deref());
            if waits {
                // The browser sends this very form on, and what was held is taken in place of it.
                *response.status_mut() = StatusCode::TEMPORARY_REDIRECT;
            }
            Ok(response)
        }
        Err(error) if error.code != "session-over" && mendable(&error) => {
            confirm_page(member, form, Some(&error)).await
        }
        Err(error) => Err(refused(error)),
    }
}
