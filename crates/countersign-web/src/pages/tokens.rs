//! Tokens of an account: list, make, revoke; and the page where a program elsewhere is let in.

use std::time::Duration;

use askama::Template;
use axum::Router;
use axum::body::Body;
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use countersign_registry::model::{Action, Network, Scope, Time};
use countersign_registry::{Error, Kind, NewToken, TokenSummary};

use super::ask;
use super::guest::{Fields, Member, go, refused};
use super::phrase::{Told as _, counted};
use super::visit::Frame;
use crate::Site;
use crate::error::Refusal;

pub(super) fn routes() -> Router<Site> {
    Router::new()
        .route("/account/tokens", get(show).post(make))
        .route("/account/tokens/revoke", post(revoke))
        .route("/login/device", get(device).post(decide))
        // What cargo prints: its API's address with `/me` behind it.
        .route("/me", get(cargo))
        .route("/cargo/me", get(cargo))
}

/// A token as its row shows it.
struct Row {
    id: String,
    label: String,
    hint: String,
    limits: String,
    created: Time,
    expires: Option<Time>,
    revoked: Option<Time>,
    last_used: Option<Time>,
}

impl From<TokenSummary> for Row {
    fn from(token: TokenSummary) -> Self {
        Self {
            id: token.id.0,
            label: token.label,
            hint: token.hint,
            limits: token.scope.as_ref().map_or_else(String::new, limits),
            created: token.created,
            expires: token.expires,
            revoked: token.revoked,
            last_used: token.last_used,
        }
    }
}

/// The limits of a token as a sentence.
fn limits(scope: &Scope) -> String {
    let what = action(scope.action);
    let place = match (&scope.project, scope.ecosystem) {
        (Some(project), _) => format!("{project} only"),
        (None, Some(system)) => format!("everything of yours in {system}"),
        (None, None) => "everything of yours".to_owned(),
    };
    let place = match &scope.namespace {
        Some(namespace) => format!("names that begin with {namespace}"),
        None => place,
    };
    let from: Vec<String> = scope.networks.iter().map(ToString::to_string).collect();
    if from.is_empty() {
        return format!("{what}; {place}.");
    }
    format!("{what}; {place}; from {} only.", from.join(", "))
}

fn action(action: Action) -> &'static str {
    match action {
        Action::Read => "Reads",
        Action::Publish => "Publishes",
        Action::Manage => "Publishes, yanks and manages",
    }
}

#[derive(Template)]
#[template(path = "account/tokens.html")]
struct TokensPage<'a> {
    frame: &'a Frame,
    place: &'static str,
    said: Option<&'static str>,
    tokens: Vec<Row>,
}

async fn show(member: Member) -> Result<Response, Refusal> {
    let tokens = member
        .site
        .registry
        .tokens(&member.actor, Some(&member.name))
        .await
        .map_err(refused)?;
    Ok(member.page(&TokensPage {
        frame: &member.frame,
        place: "/account/tokens",
        said: member.said(),
        tokens: tokens.into_iter().map(Row::from).collect(),
    }))
}

#[derive(Template)]
#[template(path = "account/token_made.html")]
struct MadePage<'a> {
    frame: &'a Frame,
    place: &'static str,
    label: &'a str,
    secret: &'a str,
}

fn malformed(why: &str) -> Error {
    Error::new(
        Kind::Rejected,
        "form-malformed",
        format!("The form can not be read: {why}."),
    )
    .remedy("Correct it and send it again.")
}

/// The token that a form asks for.
fn wanted(form: &Fields, user: &str) -> Result<NewToken, Error> {
    let days: u64 = form
        .get("days")
        .parse()
        .map_err(|_| malformed("the days are a number"))?;
    let networks = form
        .get("networks")
        .split([' ', ','])
        .filter(|word| !word.is_empty())
        .map(str::parse::<Network>)
        .collect::<Result<Vec<_>, _>>();
    let action = form.get("action").parse::<Action>();
    Ok(NewToken {
        user: user.to_owned(),
        ecosystem: None,
        project: form.some("project").map(str::to_owned),
        namespace: form.some("namespace").map(str::to_owned),
        networks: networks.map_err(|why| malformed(&why))?,
        action: action.map_err(|why| malformed(&why))?,
        expires: Duration::from_secs(days.saturating_mul(86_400)),
        label: form.get("label").to_owned(),
    })
}

async fn make(member: Member, body: Body) -> Result<Response, Refusal> {
    let form = member.fields(body).await?;
    let new = match wanted(&form, &member.name) {
        Ok(new) => new,
        Err(error) => return member.not_done(error, "/account/tokens").await,
    };
    let label = new.label.clone();
    match member.site.registry.create_token(&member.actor, new).await {
        Ok((secret, _)) => Ok(member.page(&MadePage {
            frame: &member.frame,
            place: "/account/tokens",
            label: &label,
            secret: &secret,
        })),
        Err(error) => member.not_done(error, "/account/tokens").await,
    }
}

async fn revoke(member: Member, body: Body) -> Result<Response, Refusal> {
    let form = member.fields(body).await?;
    let outcome = member
        .site
        .registry
        .revoke_token(&member.actor, form.get("id"), false)
        .await;
    member
        .done(outcome, "/account/tokens", "token-revoked")
        .await
}

#[derive(Template)]
#[template(path = "account/cargo.html")]
struct CargoPage<'a> {
    frame: &'a Frame,
    /// What people would call this registry in cargo's configuration.
    name: String,
    /// The lines of that configuration.
    config: String,
}

/// `GET /me`: where `cargo login` sends people for a token.
async fn cargo(member: Member) -> Response {
    member
        .page(&CargoPage {
            frame: &member.frame,
            config: configuration(&member.frame),
            name: registry_name(&member.frame.host),
        })
        .into_response()
}

/// What cargo's configuration says of this registry. Who keeps the tokens must be said where reading takes one: cargo
/// does not guess it.
fn configuration(frame: &Frame) -> String {
    let keeper = if frame.restricted {
        "[registry]\nglobal-credential-providers = [\"cargo:token\"]\n\n"
    } else {
        ""
    };
    format!(
        "{keeper}[registries.{}]\nindex = \"sparse+{}/cargo/index/\"",
        registry_name(&frame.host),
        frame.site
    )
}

/// A host as a bare key of TOML, which names of registries are.
fn registry_name(host: &str) -> String {
    host.chars()
        .map(|c| if c.is_ascii_alphanumeric() { c } else { '-' })
        .collect()
}

/// `GET /login/device`: asks for the code, or shows what waits under it.
async fn device(member: Member) -> Result<Response, Refusal> {
    let Some(code) = member.query.some("code") else {
        return Ok(member.page(&ask::AskPage {
            title: "Let a program in",
            text: "It shows a code of eight letters. Type it here.".to_owned(),
            asks: vec![ask::Ask {
                name: "code",
                label: "Code",
                kind: "text",
                more: "class=\"code\" autocomplete=\"off\" autocapitalize=\"characters\" spellcheck=\"false\" maxlength=\"20\" required",
                ..ask::Ask::default()
            }],
            action: "/login/device",
            label: "Go on",
            ..ask::AskPage::new(&member.frame)
        }));
    };
    let waiting = member
        .site
        .registry
        .waiting_device(&member.actor, code)
        .await
        .map_err(refused)?;
    let life = counted(waiting.days, "day", "days");
    Ok(member.page(&ask::AskPage {
        title: "Let this program in?",
        text: format!(
            "It would act as {} until its token ends. Say yes only if you started it yourself, just now, and it shows this very code.",
            member.name
        ),
        facts: vec![
            ("Code", waiting.user_code.clone()),
            ("It calls itself", waiting.client),
            ("It asks from", waiting.address),
            ("It asked", super::phrase::moment_in_words(waiting.created)),
            ("It will be able to", limits_of(waiting.action)),
            ("For", life),
        ],
        hidden: vec![("code", waiting.user_code), ("decision", "yes".to_owned())],
        action: "/login/device",
        label: "Yes, let it in",
        second: Some(("decision", "no", "No")),
        ..ask::AskPage::new(&member.frame)
    }))
}

fn limits_of(action: Action) -> String {
    match action {
        Action::Read => "read".to_owned(),
        Action::Publish => "publish your projects".to_owned(),
        Action::Manage => "publish, yank and manage your projects".to_owned(),
    }
}

async fn decide(member: Member, body: Body) -> Result<Response, Refusal> {
    let form = member.fields(body).await?;
    let code = form.get("code");
    let here = format!(
        "/login/device?{}",
        url::form_urlencoded::Serializer::new(String::new())
            .append_pair("code", code)
            .finish()
    );
    let yes = match form.get("decision") {
        "yes" => true,
        "no" => false,
        _ => return Ok(go(&here)),
    };
    let outcome = member
        .site
        .registry
        .decide_device(&member.actor, code, yes, &member.origin)
        .await;
    match outcome {
        Ok(_) => {}
        // The page of a code that nothing waits under any more could not show the form again.
        Err(error) if error.kind == Kind::NotFound => return Err(refused(error)),
        Err(error) => return member.not_done(error, &here).await,
    }
    let (title, text) = if yes {
        ("It is in", "Go back to the program; it goes on by itself.")
    } else {
        ("It stays out", "The program is told.")
    };
    Ok(member
        .page(&ask::ToldPage {
            frame: &member.frame,
            title,
            text: text.to_owned(),
            link: "/account/tokens",
            label: "Your tokens",
            strong: false,
        })
        .into_response())
}
