//! Who the caller is, and the caller's tokens.

use std::time::Duration;

use axum::body::Body;
use countersign_formats::Ecosystem;
use countersign_registry::model::{Action, Actor, Identity, Network, Time};
use countersign_registry::{Act, Error, Kind, NewToken, TokenSummary, Wanted};
use serde::Deserialize;
use serde_json::{Value, json};

use super::{Answer, Call, created, json, noted, read_json, told};
use crate::error::{Refusal, shown};
use crate::protocols::npm_trust::step_up::Request;
use crate::request_log::holds_token;

/// What is here, for whoever looks.
pub(super) fn root(call: &Call<'_>) -> Answer {
    let site = call.site.url();
    Ok(json(&json!({
        "registry": format!("{site}/npm/"),
        "help": format!("{site}/help"),
    })))
}

/// Nothing: that there is an answer says enough.
pub(super) fn ping() -> Answer {
    Ok(told("{}".to_owned()))
}

/// `{"username"}`.
pub(super) async fn whoami(call: &Call<'_>) -> Answer {
    let actor = call.actor().await?;
    let answer = json(&json!({ "username": actor.name() }));
    Ok(noted(&actor, None, answer))
}

/// An account by its name, for `npm owner`, which asks before it sends the names of all owners. It says nothing about who
/// exists: that is found out by whoever may make owners.
pub(super) async fn user(call: &Call<'_>, name: &str) -> Answer {
    let actor = call.actor().await?;
    let fits = (1..=100).contains(&name.len())
        && name
            .bytes()
            .all(|c| c.is_ascii_alphanumeric() || matches!(c, b'-' | b'_' | b'.'));
    if !fits {
        let message = format!("{} is no name of an account.", shown(name));
        return Err(Refusal::npm(
            Error::new(Kind::NotFound, "user-unknown", message).remedy("Check how it is spelt."),
        ));
    }
    let answer = json(&json!({
        "_id": format!("org.couchdb.user:{name}"),
        "name": name,
        // Addresses are nobody else's business; clients expect the key.
        "email": "",
        "type": "user",
        "roles": [],
    }));
    Ok(noted(&actor, None, answer))
}

/// What `npm profile get` shows.
pub(super) async fn profile(call: &Call<'_>) -> Answer {
    let actor = call.actor().await?;
    let answer = json(&json!({
        "name": actor.name(),
        "email": "",
        "email_verified": false,
        "fullname": "",
        "homepage": "",
        "github": "",
        "twitter": "",
        // Which factors an account has is for its own sessions to see.
        "tfa": { "pending": false, "mode": format!("see {}/account", call.site.url()) },
        "cidr_whitelist": Value::Null,
    }));
    Ok(noted(&actor, None, answer))
}

/// Factors, addresses and names are changed by people who are there.
pub(super) fn change_profile() -> Refusal {
    let error = Error::new(
        Kind::Denied,
        "session-needed",
        "No token changes an account's password, factors or addresses.",
    );
    Refusal::npm(error.remedy("Sign in at this registry's pages and do it there."))
}

fn token_view(token: &TokenSummary) -> Value {
    let action = token.scope.as_ref().map(|scope| scope.action);
    let networks: Vec<String> = token
        .scope
        .iter()
        .flat_map(|scope| &scope.networks)
        .map(Network::to_string)
        .collect();
    json!({
        "key": token.id,
        // Enough to tell it from others; npm itself writes an ellipsis after it.
        "token": token.hint.trim_end_matches('…'),
        "name": token.label,
        "readonly": action == Some(Action::Read),
        "permissions": action.map(Action::as_str),
        // npm shows an empty list as one.
        "cidr_whitelist": (!networks.is_empty()).then_some(networks),
        "created": token.created.rfc3339(),
        "updated": token.created.rfc3339(),
        "accessed": token.last_used.map(Time::rfc3339),
        "expires": token.expires.map(Time::rfc3339),
    })
}

/// The caller's tokens that are good.
pub(super) async fn tokens(call: &Call<'_>) -> Answer {
    let actor = call.actor().await?;
    let user = own_name(&actor)?;
    let registry = &call.site.registry;
    let tokens = registry
        .tokens(&actor, Some(user))
        .await
        .map_err(Refusal::npm)?;
    let now = registry.now();
    let good: Vec<Value> = tokens
        .iter()
        .filter(|token| {
            token.revoked.is_none() && token.expires.is_none_or(|expires| now < expires)
        })
        .map(token_view)
        .collect();
    let answer = json(&json!({ "total": good.len(), "urls": {}, "objects": good }));
    Ok(noted(&actor, None, answer))
}

fn own_name(actor: &Actor) -> Result<&str, Refusal> {
    match &actor.identity {
        Identity::Account { name, .. } => Ok(name),
        _ => Err(Refusal::npm(
            Error::new(
                Kind::Denied,
                "account-needed",
                "This is about an account's own things, and the caller is none.",
            )
            .remedy("Use the token of an account."),
        )),
    }
}

/// What `npm token create` sends. The password is not looked at: a passkey says more.
#[derive(Deserialize)]
struct NewTokenBody {
    #[serde(default)]
    name: Option<String>,
    #[serde(default)]
    description: Option<String>,
    #[serde(default)]
    readonly: bool,
    #[serde(default)]
    cidr_whitelist: Option<Vec<String>>,
    #[serde(default)]
    packages: Vec<String>,
    #[serde(default)]
    scopes: Vec<String>,
    #[serde(default)]
    orgs: Vec<String>,
    #[serde(default)]
    packages_and_scopes_permission: Option<String>,
    #[serde(default)]
    expires: Option<u64>,
    #[serde(default)]
    bypass_2fa: bool,
}

impl NewTokenBody {
    /// As a token of ours, which has one action, and reaches everything or one package.
    fn token(self, user: &str) -> Result<NewToken, Error> {
        let refused = |why: &str, way: &str| {
            Err(Error::new(Kind::Rejected, "npm-token", why.to_owned()).remedy(way.to_owned()))
        };
        if !self.scopes.is_empty() || !self.orgs.is_empty() || self.packages.len() > 1 {
            return refused(
                "A token here reaches everything or one package, not several, a scope or an organisation.",
                "Name one with --packages, or make one token for each.",
            );
        }
        if self.bypass_2fa {
            return refused(
                "No token here goes past a passkey.",
                "Leave --bypass-2fa away; publish from workflows by trusted publishing.",
            );
        }
        let read = match self.packages_and_scopes_permission.as_deref() {
            None | Some("read-write") => self.readonly,
            Some("read-only") => true,
            Some(_) => {
                return refused(
                    "A token here reads, or publishes as well.",
                    "Use read-only or read-write.",
                );
            }
        };
        let networks = self
            .cidr_whitelist
            .unwrap_or_default()
            .iter()
            .map(|network| {
                network.parse::<Network>().map_err(|why| {
                    Error::new(Kind::Rejected, "token-networks", format!("{why}."))
                        .remedy("Write networks as 192.0.2.0/24.")
                })
            })
            .collect::<Result<Vec<_>, _>>()?;
        let days = self.expires.unwrap_or(30);
        Ok(NewToken {
            user: user.to_owned(),
            ecosystem: Some(Ecosystem::Npm),
            project: self.packages.into_iter().next(),
            namespace: None,
            networks,
            action: if read { Action::Read } else { Action::Publish },
            expires: Duration::from_secs(days.saturating_mul(86_400)),
            label: self.name.or(self.description).unwrap_or_default(),
        })
    }
}

/// Makes a token, which takes consent, and shows it once.
pub(super) async fn create_token(call: &Call<'_>, body: Body) -> Answer {
    let actor = call.actor().await?;
    let new: NewTokenBody = read_json(body).await?;
    let new = new.token(own_name(&actor)?).map_err(Refusal::npm)?;
    // All that limits it is part of what its owner consents to.
    let mut subject = format!(
        "{:?} for {} days: {}, ecosystem npm",
        new.label,
        new.expires.as_secs() / 86_400,
        new.action.as_str()
    );
    if let Some(package) = &new.project {
        subject.push_str(&format!(", package {package:?}"));
    }
    for network in &new.networks {
        subject.push_str(&format!(", from {network}"));
    }
    let wanted = Wanted {
        act: Act::MakeTokens,
        also: &[],
        on: None,
        subject,
    };
    let request = Request::of(call.site, call.headers, wanted).await?;
    let outcome = call.site.registry.create_token(&request.actor, new).await;
    let (secret, summary) = request.told(outcome).await?;
    let mut view = token_view(&summary);
    view["token"] = secret.into();
    Ok(noted(&actor, None, created(json(&view))))
}

/// Ends a token of the caller's, given by its key.
pub(super) async fn revoke_token(call: &Call<'_>, key: &str) -> Answer {
    let actor = call.actor().await?;
    if holds_token(key) {
        let error = Error::new(
            Kind::Rejected,
            "token-in-address",
            "The address holds a token itself; proxies and logs keep addresses. Nothing was revoked.",
        );
        return Err(Refusal::npm(error.remedy(
            "Give its id, which `npm token list` shows; take a new token instead of this one.",
        )));
    }
    call.site
        .registry
        .revoke_token(&actor, key, false)
        .await
        .map_err(Refusal::npm)?;
    Ok(noted(&actor, None, super::done()))
}

/// The packages that an account starred: one's own alone.
pub(super) async fn starred(call: &Call<'_>) -> Answer {
    let actor = call.actor().await?;
    let asked = call.asked("key").unwrap_or_default();
    let asked = asked.trim_matches('"');
    if asked != own_name(&actor)? {
        let error = Error::new(
            Kind::Denied,
            "stars-private",
            format!("What {} starred is for them alone.", shown(asked)),
        );
        return Err(Refusal::npm(
            error.remedy("Ask for your own stars: npm stars."),
        ));
    }
    let starred = call
        .site
        .registry
        .starred(&actor, Ecosystem::Npm)
        .await
        .map_err(Refusal::npm)?;
    let rows: Vec<Value> = starred
        .iter()
        .map(|name| json!({ "key": asked, "value": name }))
        .collect();
    let answer = json(&json!({ "total_rows": rows.len(), "offset": 0, "rows": rows }));
    Ok(noted(&actor, None, answer))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn token(body: Value) -> Result<NewToken, Error> {
        serde_json::from_value::<NewTokenBody>(body)
            .unwrap()
            .token("ada")
    }

    #[test]
    fn what_npm_asks_for_becomes_a_token_of_ours() {
        let made = token(json!({"name": "ci", "password": "x", "packages": ["@s/n"], "expires": 7, "cidr_whitelist": ["192.0.2.0/24"]})).unwrap();
        assert_eq!((made.user.as_str(), made.label.as_str()), ("ada", "ci"));
        assert_eq!(made.project.as_deref(), Some("@s/n"));
        assert_eq!(
            (made.action, made.expires.as_secs()),
            (Action::Publish, 7 * 86_400)
        );
        assert_eq!(made.networks.len(), 1);
        assert_eq!(
            token(json!({"readonly": true})).unwrap().action,
            Action::Read
        );
        let read = json!({"packages_and_scopes_permission": "read-only"});
        assert_eq!(token(read).unwrap().action, Action::Read);
    }

    #[test]
    fn what_our_tokens_can_not_be_is_refused() {
        for body in [
            json!({"packages": ["a", "b"]}),
            json!({"scopes": ["@s"]}),
            json!({"orgs": ["o"]}),
            json!({"bypass_2fa": true}),
            json!({"packages_and_scopes_permission": "no-access"}),
            json!({"cidr_whitelist": ["anywhere"]}),
        ] {
            assert!(token(body.clone()).is_err(), "{body}");
        }
    }
}
