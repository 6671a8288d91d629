//! Getting back into an account: the steps of a case. The policy is one of [`super::policies`].

use axum::Router;
use axum::body::Body;
use axum::response::Response;
use axum::routing::{get, post};
use countersign_registry::{Error, MailKind, RecoveryCase};

use super::ask::{Ask, AskPage, Button, ToldPage};
use super::guest::{Guest, Member, go, refused};
use super::phrase::moment_in_words;
use super::sign_in::{departing, look_at_your_mail};
use crate::Site;
use crate::error::Refusal;

pub(super) fn routes() -> Router<Site> {
    Router::new()
        .route("/recover", get(show).post(begin))
        .route("/recovery/begin", get(show_opening).post(open))
        .route("/recovery/case", get(case))
        .route("/recovery/ask", post(ask_proof))
        .route("/recovery/identity", post(identity))
        .route("/recovery/proof", get(show_proof).post(proof))
        .route("/recovery/stop", get(show_stop).post(stop))
        .route("/recovery/finish", get(show_finish).post(finish))
        .route("/recovery/vouch", get(show_vouch).post(vouch))
}

async fn show(guest: Guest) -> Response {
    guest.page(&AskPage {
        title: "Get back in",
        text: "When you have lost every way to sign in: two proofs, a waiting time, and everybody concerned is told."
            .to_owned(),
        asks: vec![Ask::who()],
        action: "/recover",
        label: "Begin",
        other: Some(("I only forgot my password", "/forgotten")),
        ..AskPage::new(&guest.frame)
    })
}

async fn begin(guest: Guest, body: Body) -> Result<Response, Refusal> {
    let form = guest.fields(body).await?;
    guest
        .site
        .registry
        .begin_recovery(form.get("who"), &guest.origin)
        .await
        .map_err(refused)?;
    Ok(look_at_your_mail(
        &guest,
        "If there is such an account, a link to begin with is on its way to its address. It is the first of two proofs.",
    ))
}

/// What a mailed link would do; looking uses nothing up.
async fn link_page(
    guest: &Guest,
    kind: MailKind,
    (title, text, label): (&'static str, &'static str, &'static str),
    action: &'static str,
) -> Result<Response, Refusal> {
    let secret = guest.query.get("secret");
    let link = guest
        .site
        .registry
        .mail_link(kind, secret)
        .await
        .map_err(refused)?;
    let mut facts = Vec::new();
    facts.extend(link.user.map(|user| ("Account", user)));
    facts.push(("Address", link.address));
    facts.push(("Good until", moment_in_words(link.expires)));
    Ok(guest.page(&AskPage {
        title,
        text: text.to_owned(),
        facts,
        hidden: vec![("secret", secret.to_owned())],
        action,
        label,
        ..AskPage::new(&guest.frame)
    }))
}

async fn show_opening(guest: Guest) -> Result<Response, Refusal> {
    let words = (
        "Begin the recovery?",
        "You are told at once, at all your addresses; those who own projects with you are told when there are proofs enough and the waiting time begins.",
        "Begin",
    );
    link_page(&guest, MailKind::RecoveryBegin, words, "/recovery/begin").await
}

async fn open(guest: Guest, body: Body) -> Result<Response, Refusal> {
    let form = guest.fields(body).await?;
    let (secret, _) = guest
        .site
        .registry
        .open_recovery(form.get("secret"), Some(&guest.origin))
        .await
        .map_err(refused)?;
    let query = url::form_urlencoded::Serializer::new(String::new())
        .append_pair("case", &secret)
        .finish();
    Ok(go(&format!("/recovery/case?{query}")))
}

async fn case(guest: Guest) -> Result<Response, Refusal> {
    let secret = guest.query.get("case");
    let case = guest
        .site
        .registry
        .recovery_case(secret)
        .await
        .map_err(refused)?;
    Ok(guest.page(&case_page(&guest, secret, case)))
}

fn case_page<'a>(guest: &'a Guest, secret: &str, case: RecoveryCase) -> AskPage<'a> {
    let given = case
        .proofs
        .iter()
        .map(|(kind, at)| format!("{} ({})", proof_in_words(kind), moment_in_words(*at)))
        .collect::<Vec<_>>()
        .join(", ");
    let mut facts = vec![
        ("Account", case.user.clone()),
        ("Proofs given", given),
        ("Needed", case.needed.to_string()),
        ("Lapses", moment_in_words(case.expires)),
    ];
    if case.operators.0 > 0 {
        facts.push((
            "Operators who agreed",
            format!("{} of {}", case.operators.1, case.operators.0),
        ));
    }
    if let Some(ready) = case.ready {
        facts.push(("Opens", moment_in_words(ready)));
    }
    let waits = case.proofs.len() >= case.needed;
    AskPage {
        title: if waits {
            "Now it waits"
        } else {
            "One proof more"
        },
        text: if waits {
            "When the waiting time is over, a link to register a new passkey is mailed to you. Keep this page's address to look again."
                .to_owned()
        } else {
            format!(
                "Another address of the account, or somebody who owns a project with you: ask them to open {}/recovery/vouch. Keep this page's address.",
                guest.frame.site
            )
        },
        facts,
        hidden: vec![("case", secret.to_owned())],
        asks: if waits {
            Vec::new()
        } else {
            vec![Ask {
                name: "address",
                label: "Another address of the account",
                kind: "email",
                hint: "A link that is the proof is mailed to it.",
                more: "autocomplete=\"email\" maxlength=\"254\" required",
                ..Ask::default()
            }]
        },
        buttons: if waits {
            Vec::new()
        } else {
            guest
                .site
                .registry
                .sign_in_providers()
                .into_iter()
                .map(|provider| Button {
                    label: format!("Sign in at {}, if that is linked", provider.name),
                    hidden: vec![("case", secret.to_owned()), ("provider", provider.name)],
                    action: "/recovery/identity",
                })
                .collect()
        },
        action: "/recovery/ask",
        label: if waits { "Look again" } else { "Send the link" },
        ..AskPage::new(&guest.frame)
    }
}

fn proof_in_words(kind: &str) -> &'static str {
    match kind {
        "address" => "an address",
        "owner" => "a co-owner",
        "identity" => "a sign-in provider",
        _ => "a proof",
    }
}

async fn ask_proof(guest: Guest, body: Body) -> Result<Response, Refusal> {
    let form = guest.fields(body).await?;
    let secret = form.get("case");
    if let Some(address) = form.some("address") {
        guest
            .site
            .registry
            .ask_recovery_proof(secret, address)
            .await
            .map_err(refused)?;
    }
    let query = url::form_urlencoded::Serializer::new(String::new())
        .append_pair("case", secret)
        .finish();
    Ok(go(&format!("/recovery/case?{query}")))
}

/// A sign-in at a linked provider as a proof.
async fn identity(guest: Guest, body: Body) -> Result<Response, Refusal> {
    let form = guest.fields(body).await?;
    let name = form.get("provider");
    let departure = guest
        .site
        .registry
        .provider_start_for_recovery(name, form.get("case"), &guest.origin)
        .await
        .map_err(refused)?;
    Ok(departing(&guest, name, &departure))
}

async fn show_proof(guest: Guest) -> Result<Response, Refusal> {
    let words = (
        "Give this proof?",
        "It lets whoever recovers the account go on. Only do it if that is you.",
        "Yes, it is me",
    );
    link_page(&guest, MailKind::RecoveryProof, words, "/recovery/proof").await
}

pub(super) fn told(guest: &Guest, title: &'static str, text: String) -> Response {
    guest.page(&ToldPage {
        frame: &guest.frame,
        title,
        text,
        link: "/",
        label: "Front page",
        strong: false,
    })
}

async fn proof(guest: Guest, body: Body) -> Result<Response, Refusal> {
    let form = guest.fields(body).await?;
    let case = guest
        .site
        .registry
        .give_recovery_proof(form.get("secret"))
        .await
        .map_err(refused)?;
    let text = match case.ready {
        Some(ready) => format!(
            "The waiting time ends {}. You get a mail then.",
            moment_in_words(ready)
        ),
        None => "It counts. More is needed still; look at the page where you began.".to_owned(),
    };
    Ok(told(&guest, "Thank you", text))
}

async fn show_stop(guest: Guest) -> Result<Response, Refusal> {
    let words = (
        "Stop this recovery?",
        "Do it if you do not know for certain that the holder of the account asked for it.",
        "Stop it",
    );
    link_page(&guest, MailKind::RecoveryStop, words, "/recovery/stop").await
}

async fn stop(guest: Guest, body: Body) -> Result<Response, Refusal> {
    let form = guest.fields(body).await?;
    guest
        .site
        .registry
        .stop_recovery(form.get("secret"))
        .await
        .map_err(refused)?;
    Ok(told(
        &guest,
        "It is stopped",
        "Everybody concerned is told.".to_owned(),
    ))
}

async fn show_finish(guest: Guest) -> Result<Response, Refusal> {
    let words = (
        "Open the account again?",
        "You register a new passkey. At that moment all older ways to sign in, all sessions and all tokens end.",
        "Go on",
    );
    link_page(&guest, MailKind::RecoveryReady, words, "/recovery/finish").await
}

async fn finish(guest: Guest, body: Body) -> Result<Response, Refusal> {
    let form = guest.fields(body).await?;
    let secret = guest
        .site
        .registry
        .finish_recovery(form.get("secret"))
        .await
        .map_err(refused)?;
    let query = url::form_urlencoded::Serializer::new(String::new())
        .append_pair("secret", &secret)
        .finish();
    Ok(go(&format!("/enrol?{query}")))
}

fn vouch_page<'a>(member: &'a Member, fault: Option<&'a Error>) -> AskPage<'a> {
    AskPage {
        title: "Vouch for somebody",
        text: "Say that somebody who owns a project with you is really getting back into their own account. Ask them by another way first: by voice, or in person."
            .to_owned(),
        fault,
        asks: vec![Ask {
            name: "user",
            label: "Their user name",
            kind: "text",
            more: "autocapitalize=\"none\" autocomplete=\"off\" spellcheck=\"false\" maxlength=\"64\" required",
            ..Ask::default()
        }],
        action: "/recovery/vouch",
        label: "It is really them",
        ..AskPage::new(&member.frame)
    }
}

async fn show_vouch(member: Member) -> Response {
    member.page(&vouch_page(&member, None))
}

async fn vouch(member: Member, body: Body) -> Result<Response, Refusal> {
    let form = member.fields(body).await?;
    let outcome = member
        .site
        .registry
        .vouch_for_recovery(&member.actor, form.get("user"))
        .await;
    match outcome {
        Ok(()) => Ok(told(
            &member,
            "Thank you",
            "Your word counts as one of the two proofs.".to_owned(),
        )),
        Err(error) => member.not_done(error, "/recovery/vouch").await,
    }
}
