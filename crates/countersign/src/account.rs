//! The user's account through the registry's own API: who it is, and its tokens; and what people are shown of the
//! answers.

use reqwest::Method;
use serde::Deserialize;
use serde_json::{Value, json};

use crate::approval::{self, Asking};
use crate::failure::{Result, plain};
use crate::publisher::{Items, printable, read, segment};
use crate::remote::Remote;

#[derive(Deserialize)]
struct Caller {
    kind: String,
    name: String,
    scope: Option<Scope>,
}

#[derive(Deserialize)]
struct Scope {
    action: String,
    ecosystem: Option<String>,
    namespace: Option<String>,
    project: Option<String>,
    #[serde(default)]
    networks: Vec<String>,
}

impl Scope {
    fn in_words(&self) -> String {
        let mut text = self.action.clone();
        for (what, name) in [
            ("ecosystem", &self.ecosystem),
            ("namespace", &self.namespace),
            ("project", &self.project),
        ] {
            if let Some(name) = name {
                text.push_str(&format!(", {what} {name} only"));
            }
        }
        if !self.networks.is_empty() {
            text.push_str(&format!(", only from {}", self.networks.join(" or ")));
        }
        text
    }
}

#[derive(Deserialize)]
struct Token {
    id: String,
    hint: String,
    label: String,
    scope: Option<Scope>,
    created: String,
    expires: Option<String>,
    revoked: Option<String>,
    last_used: Option<String>,
}

/// The user's tokens.
///
/// # Errors
/// As [`Remote::call`].
pub fn tokens(remote: &Remote) -> Result<Value> {
    remote.call(Method::GET, "/api/v1/tokens", None)
}

/// What a new token is to be good for.
pub struct NewToken {
    /// `read`, `publish` or `manage`.
    pub action: &'static str,
    /// What people call it.
    pub label: Option<String>,
    /// Good for this ecosystem only.
    pub ecosystem: Option<String>,
    /// Good for this project of the ecosystem only.
    pub project: Option<String>,
    /// Good for this namespace of the ecosystem only.
    pub namespace: Option<String>,
    /// Good from these networks only.
    pub networks: Vec<String>,
    /// How many days it lives.
    pub days: Option<u32>,
}

/// Makes a token; the answer holds it, and nothing else ever does.
///
/// # Errors
/// As [`approval::act`].
pub fn create(remote: &Remote, new: &NewToken, ask: Asking<'_>) -> Result<Value> {
    let mut body = json!({"action": new.action});
    for (name, value) in [
        ("label", &new.label),
        ("ecosystem", &new.ecosystem),
        ("project", &new.project),
        ("namespace", &new.namespace),
    ] {
        if let Some(value) = value {
            body[name] = json!(value);
        }
    }
    if !new.networks.is_empty() {
        body["networks"] = json!(new.networks);
    }
    if let Some(days) = new.days {
        body["days"] = json!(days);
    }
    approval::act(remote, &Method::POST, "/api/v1/tokens", Some(&body), ask)
}

/// Revokes a token by its id or hint.
///
/// # Errors
/// As [`Remote::call`].
pub fn revoke(remote: &Remote, which: &str) -> Result<()> {
    let path = format!("/api/v1/tokens/{}", segment(which));
    remote.call(Method::DELETE, &path, None).map(drop)
}

/// The caller for people.
///
/// # Errors
/// Exit 5 for an answer of another shape.
pub fn describe_caller(answer: &Value) -> Result<Vec<String>> {
    let caller: Caller = read(answer)?;
    let mut lines = vec![plain(
        &if caller.kind == "user" || caller.kind == "account" {
            caller.name
        } else {
            format!("{} ({})", caller.name, caller.kind)
        },
    )];
    if let Some(scope) = caller.scope {
        lines.push(plain(&format!("    may {}", scope.in_words())));
    }
    Ok(lines)
}

/// Tokens for people.
///
/// # Errors
/// Exit 5 for an answer of another shape.
pub fn describe_tokens(answer: &Value) -> Result<Vec<String>> {
    let Items { items } = read::<Items<Token>>(answer)?;
    if items.is_empty() {
        return Ok(vec!["No token.".to_owned()]);
    }
    Ok(printable(items.iter().flat_map(token_lines).collect()))
}

/// One token for people.
///
/// # Errors
/// Exit 5 for an answer of another shape.
pub fn describe_token(answer: &Value) -> Result<Vec<String>> {
    Ok(printable(token_lines(&read(answer)?)))
}

fn token_lines(token: &Token) -> Vec<String> {
    let state = match (&token.revoked, &token.expires) {
        (Some(at), _) => format!("revoked {at}"),
        (None, Some(at)) => format!("until {at}"),
        (None, None) => "without end".to_owned(),
    };
    let mut lines = vec![
        format!("{}  {}", token.hint, token.label),
        format!("    id {}, {state}", token.id),
    ];
    if let Some(scope) = &token.scope {
        lines.push(format!("    may {}", scope.in_words()));
    }
    lines.push(match &token.last_used {
        Some(at) => format!("    made {}, used last {at}", token.created),
        None => format!("    made {}, never used", token.created),
    });
    lines
}
