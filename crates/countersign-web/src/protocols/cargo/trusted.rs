//! Trusted publishing as the public Cargo registry does it, so that its action works here with only a URL changed: an
//! identity token becomes a token for minutes, which is given back at the end; and the publishers of a crate are seen
//! and changed under the names that scripts for it know.
//!
//! Its ids of publishers are numbers. Ours are not, so each is shown as a number made from it; a number is looked up
//! among the publishers of the caller's own crates, which are few.

use std::collections::BTreeMap;

use axum::Router;
use axum::body::Body;
use axum::extract::rejection::QueryRejection;
use axum::extract::{Path, Query, State};
use axum::response::{IntoResponse, Response};
use axum::routing::{delete, get, post};
use countersign_formats::cargo::api;
use countersign_registry::model::Actor;
use countersign_registry::oidc::{MAX_TOKEN_BYTES, Provider};
use countersign_registry::{Error, Kind, NewPublisher, PublisherSummary};
use http::{HeaderMap, StatusCode};
use serde::Deserialize;
use serde_json::{Value, json};

use super::{NO_STORE, SYSTEM, done, json as answer, number};
use crate::body::whole;
use crate::error::Refusal;
use crate::request_log::Noted;
use crate::site::Site;

/// Longest request body: the longest token, with room for what stands around it.
const LONGEST: usize = MAX_TOKEN_BYTES + (4 << 10);

pub(super) fn routes() -> Router<Site> {
    let at = |path: &str| format!("/cargo/api/v1/trusted_publishing/{path}");
    Router::new()
        .route(&at("tokens"), post(exchange).delete(end))
        .route(&at("github_configs"), get(github).post(add_github))
        .route(&at("github_configs/{id}"), delete(remove_github))
        .route(&at("gitlab_configs"), get(gitlab).post(add_gitlab))
        .route(&at("gitlab_configs/{id}"), delete(remove_gitlab))
}

/// `{"jwt"}` in, `{"token"}` out.
async fn exchange(State(site): State<Site>, body: Body) -> Result<Response, Refusal> {
    // Before the body is read: who is not served anyway shall learn that, and not that its form is wrong.
    site.registry
        .oidc_audience(SYSTEM)
        .map_err(Refusal::cargo)?;
    let bytes = whole(body, LONGEST).await.map_err(Refusal::cargo)?;
    let token = api::exchange_request(&bytes).map_err(|_| {
        // The parser's own words may repeat a secret.
        let error = Error::new(
            Kind::Rejected,
            "json-malformed",
            "The request body is not a JSON object with a text named jwt.",
        );
        Refusal::cargo(
            error.remedy("Send {\"jwt\": \"…\"} with the identity token of the CI system."),
        )
    })?;
    let minted = site
        .registry
        .exchange(SYSTEM, &token)
        .await
        .map_err(Refusal::cargo)?;
    for warning in &minted.warnings {
        tracing::info!(
            projects = minted.projects.join(" "),
            warning,
            "exchanged with a warning"
        );
    }
    let mut response = answer(api::exchanged(&minted.token));
    response.extensions_mut().insert(Noted {
        ecosystem: Some(SYSTEM.as_str()),
        project: Some(minted.projects.join(" ")).filter(|projects| !projects.is_empty()),
        ..Noted::default()
    });
    Ok(response)
}

/// Ends the token that the request carries.
async fn end(State(site): State<Site>, headers: HeaderMap) -> Result<Response, Refusal> {
    let actor = site.actor(&headers).await.map_err(Refusal::cargo)?;
    site.registry
        .end_token(&actor)
        .await
        .map_err(Refusal::cargo)?;
    Ok((StatusCode::NO_CONTENT, [NO_STORE]).into_response())
}

/// What differs between the CI systems: the words of the public registry, and ours.
struct Dialect {
    provider: Provider,
    /// The member that holds one.
    one: &'static str,
    /// The member that holds several.
    several: &'static str,
    /// Its fields and ours.
    fields: &'static [(&'static str, &'static str)],
    /// Its word for the owner's immutable id, and the claim that we pin.
    owner_id: (&'static str, &'static str),
}

const GITHUB: Dialect = Dialect {
    provider: Provider::Github,
    one: "github_config",
    several: "github_configs",
    fields: &[
        ("repository_owner", "owner"),
        ("repository_name", "repository"),
        ("workflow_filename", "workflow"),
        ("environment", "environment"),
    ],
    owner_id: ("repository_owner_id", "repository_owner_id"),
};

const GITLAB: Dialect = Dialect {
    provider: Provider::Gitlab,
    one: "gitlab_config",
    several: "gitlab_configs",
    fields: &[
        ("namespace", "namespace"),
        ("project", "project"),
        ("workflow_filepath", "workflow"),
        ("environment", "environment"),
    ],
    owner_id: ("namespace_id", "namespace_id"),
};

fn view(dialect: &Dialect, publisher: &PublisherSummary) -> Value {
    let mut view = json!({
        "id": number(&publisher.id),
        "crate": publisher.project,
        "created_at": publisher.created.rfc3339(),
        "_countersign": publisher.id,
    });
    for (theirs, ours) in dialect.fields {
        let value = publisher
            .fields
            .get(*ours)
            .filter(|value| !value.is_empty());
        view[*theirs] = json!(value);
    }
    let (theirs, claim) = dialect.owner_id;
    // A number there, and so are they in tokens; what is none stays a text.
    let pinned = publisher.pinned.get(claim);
    view[theirs] = match pinned.map(|id| (id, id.parse::<u64>())) {
        Some((_, Ok(id))) => json!(id),
        Some((id, Err(_))) => json!(id),
        None => Value::Null,
    };
    view
}

#[derive(Deserialize)]
struct Of {
    #[serde(rename = "crate")]
    name: Option<String>,
}

type Asked = Result<Query<Of>, QueryRejection>;

async fn github(
    State(site): State<Site>,
    headers: HeaderMap,
    of: Asked,
) -> Result<Response, Refusal> {
    list(&site, &GITHUB, &headers, of).await
}

async fn gitlab(
    State(site): State<Site>,
    headers: HeaderMap,
    of: Asked,
) -> Result<Response, Refusal> {
    list(&site, &GITLAB, &headers, of).await
}

async fn list(
    site: &Site,
    dialect: &Dialect,
    headers: &HeaderMap,
    of: Asked,
) -> Result<Response, Refusal> {
    let actor = site.actor(headers).await.map_err(Refusal::cargo)?;
    let name = crate_of(of)?.ok_or_else(|| {
        let error = Error::new(
            Kind::Rejected,
            "query-malformed",
            "It is not said of which crate the publishers are wanted.",
        );
        Refusal::cargo(error.remedy("Ask with ?crate=NAME."))
    })?;
    let publishers = site
        .registry
        .publishers(&actor, SYSTEM, &name)
        .await
        .map_err(Refusal::cargo)?;
    let views: Vec<Value> = publishers
        .iter()
        .filter(|publisher| publisher.provider == dialect.provider)
        .map(|publisher| view(dialect, publisher))
        .collect();
    let total = views.len();
    let body = json!({ dialect.several: views, "meta": { "total": total, "next_page": null } });
    Ok(done(answer(body.to_string()), actor.name(), &name))
}

fn crate_of(of: Asked) -> Result<Option<String>, Refusal> {
    let Query(Of { name }) = of.map_err(|rejection| {
        let message = format!("The query can not be read: {}.", rejection.body_text());
        Refusal::cargo(Error::new(Kind::Rejected, "query-malformed", message))
    })?;
    Ok(name)
}

async fn add_github(
    State(site): State<Site>,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, Refusal> {
    add(&site, &GITHUB, &headers, body).await
}

async fn add_gitlab(
    State(site): State<Site>,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, Refusal> {
    add(&site, &GITLAB, &headers, body).await
}

async fn add(
    site: &Site,
    dialect: &Dialect,
    headers: &HeaderMap,
    body: Body,
) -> Result<Response, Refusal> {
    let actor = site.actor(headers).await.map_err(Refusal::cargo)?;
    let bytes = whole(body, LONGEST).await.map_err(Refusal::cargo)?;
    let config = new_config(dialect, &bytes).map_err(Refusal::cargo)?;
    let name = config.name;
    let new = NewPublisher {
        ecosystem: SYSTEM,
        project: name.clone(),
        issuer: config.issuer,
        fields: config.fields,
        claims: Vec::new(),
        pending: false,
        pending_for: None,
    };
    let publisher = site
        .registry
        .add_publisher(&actor, new)
        .await
        .map_err(Refusal::cargo)?;
    let body = json!({ dialect.one: view(dialect, &publisher) });
    Ok(done(answer(body.to_string()), actor.name(), &name))
}

/// What is to be registered.
#[derive(Debug)]
struct NewConfig {
    name: String,
    issuer: String,
    fields: BTreeMap<String, String>,
}

/// Reads `{"github_config": {"crate", …}}` into a crate and our fields. `issuer`, which the public registry does not
/// know, names an issuer of this registry's, such as a GitHub of one's own.
fn new_config(dialect: &Dialect, bytes: &[u8]) -> Result<NewConfig, Error> {
    let wrong = |what: String| {
        let words: Vec<&str> = dialect.fields.iter().map(|(theirs, _)| *theirs).collect();
        Error::new(Kind::Rejected, "json-malformed", what).remedy(format!(
            "Send {{\"{}\": {{\"crate\", {}}}}}, all texts; environment may be null.",
            dialect.one,
            words.join(", ")
        ))
    };
    let body: Value = serde_json::from_slice(bytes)
        .map_err(|error| wrong(format!("The request body is no JSON: {error}.")))?;
    let config = body
        .get(dialect.one)
        .and_then(Value::as_object)
        .ok_or_else(|| wrong(format!("The request body has no object {}.", dialect.one)))?;
    let (mut name, mut fields) = (None, BTreeMap::new());
    let mut issuer = dialect.provider.as_str().to_owned();
    for (key, value) in config {
        let text = match value {
            Value::String(text) => text.clone(),
            Value::Null => continue,
            _ => return Err(wrong(format!("The member {key:?} is no text."))),
        };
        if key == "crate" {
            name = Some(text);
        } else if key == "issuer" {
            issuer = text;
        } else if let Some((_, ours)) = dialect.fields.iter().find(|(theirs, _)| theirs == key) {
            fields.insert((*ours).to_owned(), text);
        } else {
            // Something that is not understood may have been meant as a restriction.
            return Err(wrong(format!("The member {key:?} is not known.")));
        }
    }
    let name = name.ok_or_else(|| wrong("The crate is not named.".to_owned()))?;
    Ok(NewConfig {
        name,
        issuer,
        fields,
    })
}

async fn remove_github(
    State(site): State<Site>,
    Path(id): Path<String>,
    headers: HeaderMap,
    of: Asked,
) -> Result<Response, Refusal> {
    remove(&site, &GITHUB, &id, &headers, of).await
}

async fn remove_gitlab(
    State(site): State<Site>,
    Path(id): Path<String>,
    headers: HeaderMap,
    of: Asked,
) -> Result<Response, Refusal> {
    remove(&site, &GITLAB, &id, &headers, of).await
}

async fn remove(
    site: &Site,
    dialect: &Dialect,
    id: &str,
    headers: &HeaderMap,
    of: Asked,
) -> Result<Response, Refusal> {
    let actor = site.actor(headers).await.map_err(Refusal::cargo)?;
    let found = find(site, dialect, &actor, id, crate_of(of)?)
        .await
        .map_err(Refusal::cargo)?;
    site.registry
        .remove_publisher(&actor, SYSTEM, &found.project, &found.id)
        .await
        .map_err(Refusal::cargo)?;
    let gone = (StatusCode::NO_CONTENT, [NO_STORE]).into_response();
    Ok(done(gone, actor.name(), &found.project))
}

/// The one publisher that a number, or one of our ids, stands for.
async fn find(
    site: &Site,
    dialect: &Dialect,
    actor: &Actor,
    id: &str,
    of: Option<String>,
) -> Result<PublisherSummary, Error> {
    // A token for one crate can not list what its account has, and need not.
    let limited = actor.scope.as_ref().and_then(|scope| scope.project.clone());
    let crates: Vec<String> = match of.or(limited) {
        Some(name) => vec![name],
        None => {
            let own = site.registry.own_projects(actor).await?;
            own.into_iter()
                .filter(|project| project.ecosystem == SYSTEM)
                .map(|project| project.name)
                .collect()
        }
    };
    let mut found = Vec::new();
    for name in crates {
        match site.registry.publishers(actor, SYSTEM, &name).await {
            Ok(publishers) => found.extend(publishers.into_iter().filter(|publisher| {
                publisher.provider == dialect.provider
                    && (publisher.id == id || number(&publisher.id).to_string() == id)
            })),
            // A role that does not see the settings does not change them either.
            Err(error) if error.code == "role-missing" => {}
            Err(error) => return Err(error),
        }
    }
    match (found.pop(), found.is_empty()) {
        (Some(publisher), true) => Ok(publisher),
        (None, _) => Err(Error::new(
            Kind::NotFound,
            "publisher-unknown",
            format!("None of your crates has a publisher {}.", crate::error::shown(id)),
        )
        .remedy("List them with ?crate=NAME.")),
        (Some(_), false) => Err(Error::new(
            Kind::Conflict,
            "publisher-ambiguous",
            format!("Two publishers of your crates have the number {}.", crate::error::shown(id)),
        )
        .remedy("Say which crate is meant with ?crate=NAME, or name the publisher by the id in _countersign.")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_fields_of_the_public_registry_become_ours() {
        let body = br#"{"github_config":{"crate":"demo","repository_owner":"octo","repository_name":"sample","workflow_filename":"release.yml","environment":null}}"#;
        let NewConfig {
            name,
            issuer,
            fields,
        } = new_config(&GITHUB, body).unwrap();
        assert_eq!((&*name, &*issuer), ("demo", "github"));
        let expected = [
            ("owner", "octo"),
            ("repository", "sample"),
            ("workflow", "release.yml"),
        ];
        let expected: BTreeMap<String, String> = expected
            .iter()
            .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()))
            .collect();
        assert_eq!(fields, expected);
    }

    #[test]
    fn what_is_not_understood_is_refused_and_not_left_out() {
        for body in [
            "",
            "[]",
            "{}",
            r#"{"gitlab_config":{"crate":"demo"}}"#,
            r#"{"github_config":{"repository_owner":"octo"}}"#,
            r#"{"github_config":{"crate":1}}"#,
            r#"{"github_config":{"crate":"demo","ref":"refs/tags/v*"}}"#,
        ] {
            let error = new_config(&GITHUB, body.as_bytes()).unwrap_err();
            assert_eq!(error.code, "json-malformed", "{body}");
        }
    }
}
