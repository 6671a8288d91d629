//! Our own JSON API below `/api/v1/`, described by OpenAPI at `/api/v1/openapi.json`.
//!
//! Reading needs no credential on a public instance; changes need a token (`Authorization: Bearer TOKEN`).
//! Errors are RFC 9457 problems with our code and the way out beside the standard members.

mod account;
mod advisories;
mod approvals;
mod attestations;
mod change;
mod device;
mod incidents;
mod leaks;
mod log;
mod me;
mod moderation;
mod names;
mod operator;
mod organisation;
mod people;
mod provenance;
mod publisher;
mod read;
mod recovery;
mod service;
mod view;

pub(crate) use change::is_private;

use std::sync::LazyLock;

use axum::Router;
use axum::body::Body;
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use countersign_formats::{Ecosystem, format, purl};
use countersign_registry::{Error, Kind};
use http::StatusCode;
use http::header::{CACHE_CONTROL, CONTENT_TYPE};
use serde::Serialize;
use serde::de::DeserializeOwned;
use utoipa::openapi::security::{ApiKey, ApiKeyValue, HttpAuthScheme, HttpBuilder, SecurityScheme};
use utoipa::{Modify, OpenApi};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::body::whole;
use crate::error::Refusal;
use crate::site::Site;

/// Longest JSON body of a request, in bytes.
const LONGEST_BODY: usize = 64 << 10;

#[derive(OpenApi)]
#[openapi(
    info(
        title = "Countersign",
        description = "The registry's own API. Installers and publishing clients speak their own protocols; this is for \
                       everything those lack: search, history, yanking, deleting, roles, tokens, trusted publishers.",
        license(name = "Apache-2.0", identifier = "Apache-2.0")
    ),
    modifiers(&Credentials),
    tags(
        (name = "projects", description = "What is published"),
        (name = "curation", description = "Yanking, deleting, status"),
        (name = "people", description = "Who may what on a project"),
        (name = "organisations", description = "Organisations, teams, invitations"),
        (name = "approvals", description = "Consent by passkey to what a token alone may not do. Send such a request with the header \
                       Countersign-Approval: ask; the refusal says where a person consents; then repeat it with the approval's id in the header."),
        (name = "publishers", description = "Trusted publishing: workflows that publish without a stored secret"),
        (name = "provenance", description = "How files were built, and who vouches for that; it is no judgement of the code"),
        (name = "advisories", description = "What is known to be bad about versions of packages, in the form of OSV"),
        (name = "log", description = "What happened"),
        (name = "account", description = "The caller"),
        (name = "moderation", description = "Reports, and what is withheld"),
        (name = "recovery", description = "Getting back into an account"),
        (name = "services", description = "For registries elsewhere, each with a token of its own"),
        (name = "operator", description = "For operators, signed in just now with a passkey")
    )
)]
struct Description;

struct Credentials;

impl Modify for Credentials {
    fn modify(&self, openapi: &mut utoipa::openapi::OpenApi) {
        let scheme = HttpBuilder::new()
            .scheme(HttpAuthScheme::Bearer)
            .description(Some("A token of this registry (csgn_…)"))
            .build();
        let cookie = ApiKeyValue::with_description(
            "__Host-countersign",
            "The session of somebody who signed in with a browser, with the form's token in the header X-Countersign-Form. No token may.",
        );
        let components = openapi.components.get_or_insert_default();
        components.add_security_scheme("token", SecurityScheme::Http(scheme));
        components.add_security_scheme("session", SecurityScheme::ApiKey(ApiKey::Cookie(cookie)));
    }
}

fn documented() -> OpenApiRouter<Site> {
    OpenApiRouter::with_openapi(Description::openapi())
        .routes(routes!(read::search))
        .routes(routes!(read::project, change::delete_project))
        .routes(routes!(read::release, change::delete_release))
        .routes(routes!(read::file, change::delete_file))
        .routes(routes!(read::events))
        .routes(routes!(change::yank, change::unyank))
        .routes(routes!(change::set_status))
        .routes(routes!(change::set_visibility))
        .routes(routes!(people::roles))
        .routes(routes!(people::set_role, people::remove_role))
        .routes(routes!(people::set_team_role, people::remove_team_role))
        .routes(routes!(people::proposals, people::propose))
        .routes(routes!(people::confirm))
        .routes(routes!(people::cancel))
        .routes(routes!(organisation::list, organisation::create))
        .routes(routes!(organisation::show, organisation::remove))
        .routes(routes!(organisation::invite))
        .routes(routes!(organisation::accept))
        .routes(routes!(organisation::end_invitation))
        .routes(routes!(
            organisation::set_member,
            organisation::remove_member
        ))
        .routes(routes!(organisation::propose))
        .routes(routes!(
            organisation::create_team,
            organisation::remove_team
        ))
        .routes(routes!(
            organisation::add_to_team,
            organisation::take_from_team
        ))
        .routes(routes!(
            organisation::set_namespace_role,
            organisation::remove_namespace_role
        ))
        .routes(routes!(approvals::list, approvals::request))
        .routes(routes!(approvals::status, approvals::refuse))
        .routes(routes!(log::events))
        .routes(routes!(log::completeness))
        .routes(routes!(account::whoami))
        .routes(routes!(account::tokens, account::create_token))
        .routes(routes!(account::revoke_token))
        .routes(routes!(account::end_token))
        .routes(routes!(me::me))
        .routes(routes!(me::sessions, me::end_other_sessions))
        .routes(routes!(me::end_session))
        .routes(routes!(me::factors))
        .routes(routes!(me::rename_factor, me::remove_factor))
        .routes(routes!(me::remove_password))
        .routes(routes!(me::unlink_identity))
        .routes(routes!(me::addresses, me::add_address))
        .routes(routes!(me::remove_address))
        .routes(routes!(me::main_address))
        .routes(routes!(me::notices))
        .routes(routes!(me::see_notice))
        .routes(routes!(organisation::own_projects))
        .routes(routes!(organisation::invitations))
        .routes(routes!(organisation::transfers))
        .routes(routes!(me::export))
        .routes(routes!(me::erase))
        .routes(routes!(recovery::stop))
        .routes(routes!(recovery::policy, recovery::begin))
        .routes(routes!(recovery::reset_password))
        .routes(routes!(recovery::status))
        .routes(routes!(recovery::vouch))
        .routes(routes!(operator::users, operator::create_user))
        .routes(routes!(operator::freeze))
        .routes(routes!(
            operator::factor_policy,
            operator::set_factor_policy
        ))
        .routes(routes!(operator::mark_critical))
        .routes(routes!(operator::recoveries))
        .routes(routes!(operator::approve_recovery))
        .routes(routes!(operator::namespaces))
        .routes(routes!(operator::reserve_namespace))
        .routes(routes!(names::name_rules))
        .routes(routes!(names::missing_names))
        .routes(routes!(names::check_name))
        .routes(routes!(names::prohibit_name))
        .routes(routes!(names::allow_name))
        .routes(routes!(change::deletion))
        .routes(routes!(moderation::report))
        .routes(routes!(moderation::report_state))
        .routes(routes!(moderation::cases_of))
        .routes(routes!(moderation::findings_of))
        .routes(routes!(moderation::appeal))
        .routes(routes!(moderation::cases))
        .routes(routes!(moderation::answer_case))
        .routes(routes!(moderation::quarantine))
        .routes(routes!(moderation::reports))
        .routes(routes!(moderation::judge_report))
        .routes(routes!(moderation::trust_reporter))
        .routes(routes!(incidents::incidents))
        .routes(routes!(incidents::incident))
        .routes(routes!(incidents::open))
        .routes(routes!(incidents::change))
        .routes(routes!(incidents::evidence))
        .routes(routes!(incidents::trace))
        .routes(routes!(incidents::frozen, incidents::freeze))
        .routes(routes!(incidents::revoke))
        .routes(routes!(incidents::rewind))
        .routes(routes!(leaks::report))
        .routes(routes!(device::begin))
        .routes(routes!(device::poll))
        .routes(routes!(publisher::providers))
        .routes(routes!(publisher::issuers))
        .routes(routes!(publisher::publishers, publisher::add_publisher))
        .routes(routes!(publisher::test_token))
        .routes(routes!(publisher::failures))
        .routes(routes!(publisher::remove_publisher))
        .routes(routes!(publisher::check_publisher))
        .routes(routes!(publisher::pending))
        .routes(routes!(publisher::policy, publisher::set_policy))
        .routes(routes!(publisher::notices))
        .routes(routes!(publisher::dismiss_notice))
        .routes(routes!(attestations::of_purl, attestations::add))
        .routes(routes!(attestations::by_digest))
        .routes(routes!(attestations::bytes))
        .routes(routes!(provenance::remembered))
        .routes(routes!(provenance::open_exception))
        .routes(routes!(provenance::declare_move))
        .routes(routes!(provenance::confirm))
        .routes(routes!(provenance::close))
        .routes(routes!(provenance::trust_identity))
        .routes(routes!(provenance::distrust_identity))
        .routes(routes!(provenance::trust_roots))
        .routes(routes!(service::append))
        .routes(routes!(service::audience, service::exchange))
        .routes(routes!(advisories::record))
        .routes(routes!(advisories::query))
        .routes(routes!(advisories::exemptions, advisories::exempt))
        .routes(routes!(advisories::end_exemption))
        .routes(routes!(advisories::warn_downloaders))
}

/// The description of the API, as served and as committed in `docs/openapi.json`.
pub fn openapi_json() -> &'static str {
    static TEXT: LazyLock<String> = LazyLock::new(|| {
        let mut text = documented()
            .into_openapi()
            .to_pretty_json()
            .expect("the description holds only plain data");
        text.push('\n');
        text
    });
    &TEXT
}

pub(crate) fn routes() -> Router<Site> {
    let description = async || {
        (
            [
                (CONTENT_TYPE, "application/json"),
                (CACHE_CONTROL, "max-age=300"),
            ],
            openapi_json(),
        )
    };
    let (router, _) = documented().split_for_parts();
    router
        .route("/api/v1/openapi.json", get(description))
        .route("/_/secrets/disclose-token", post(leaks::disclose))
}

type Answer = Result<Response, Refusal>;

fn ecosystem(text: &str) -> Result<Ecosystem, Refusal> {
    text.parse()
        .map_err(|rejection: countersign_formats::Rejection| {
            let mut error = Error::from(rejection);
            error.kind = Kind::NotFound;
            Refusal::problem(error)
        })
}

/// A word that is none of those that belong here.
fn malformed(why: String) -> Refusal {
    Refusal::problem(Error::new(
        Kind::Rejected,
        "json-malformed",
        format!("{why}."),
    ))
}

/// An ecosystem, and the purl of a project in it, the one way to write it.
fn project_named(system: &str, name: &str) -> Result<(Ecosystem, String), Refusal> {
    let system = ecosystem(system)?;
    let key = format(system).name_key(name).map_err(Refusal::problem)?;
    Ok((system, purl::project_purl(system, &key)))
}

/// A foreign name as it stands in what a person consents to: quoted, unless nothing in it could be taken for more than a name.
fn named(name: &str) -> String {
    let plain = |c: u8| c.is_ascii_alphanumeric() || matches!(c, b'-' | b'_' | b'.' | b'+' | b'!');
    if !name.is_empty() && name.bytes().all(plain) {
        return name.to_owned();
    }
    format!("{name:?}")
}

fn json<T: Serialize>(site: &Site, body: &T) -> Answer {
    let text = serde_json::to_vec(body).map_err(|error| {
        Refusal::problem(Error::internal(
            "an answer could not be written as JSON",
            error,
        ))
    })?;
    // Answers hold the state of this moment; whoever caches them shows a yank too late.
    let keep = if site.is_public() {
        "no-cache"
    } else {
        "no-store"
    };
    Ok((
        [(CONTENT_TYPE, "application/json"), (CACHE_CONTROL, keep)],
        text,
    )
        .into_response())
}

/// An answer with a secret in it.
fn kept_by_nobody(status: StatusCode, mut answer: Response) -> Response {
    *answer.status_mut() = status;
    answer.headers_mut().insert(
        http::header::CACHE_CONTROL,
        http::HeaderValue::from_static("no-store"),
    );
    answer.into_response()
}

async fn body<T: DeserializeOwned>(body: Body) -> Result<T, Refusal> {
    let bytes = whole(body, LONGEST_BODY).await.map_err(Refusal::problem)?;
    let bytes: &[u8] = if bytes.iter().all(u8::is_ascii_whitespace) {
        b"{}"
    } else {
        &bytes
    };
    serde_json::from_slice(bytes).map_err(|error| {
        let message = format!("The request body is not the JSON that belongs here: {error}.");
        let error = Error::new(Kind::Rejected, "json-malformed", message);
        Refusal::problem(error.remedy("The form is described at /api/v1/openapi.json."))
    })
}

/// Like [`body`], for bodies that hold a secret: the error says where it is and nothing of what stands there.
async fn secret_body<T: DeserializeOwned>(body: Body) -> Result<T, Refusal> {
    let bytes = whole(body, LONGEST_BODY).await.map_err(Refusal::problem)?;
    serde_json::from_slice(&bytes).map_err(|error| {
        let message = format!(
            "The request body is not the JSON that belongs here (line {}, column {}).",
            error.line(),
            error.column()
        );
        let error = Error::new(Kind::Rejected, "json-malformed", message);
        Refusal::problem(error.remedy("The form is described at /api/v1/openapi.json."))
    })
}

fn query_refused(rejection: &axum::extract::rejection::QueryRejection) -> Refusal {
    let error = Error::new(
        Kind::Rejected,
        "query-malformed",
        format!("The query can not be read: {}.", rejection.body_text()),
    );
    Refusal::problem(error.remedy("The parameters are described at /api/v1/openapi.json."))
}

#[cfg(test)]
mod tests {
    use super::*;

    const COMMITTED: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/openapi.json");

    #[test]
    fn the_committed_description_is_current() {
        if std::env::var_os("UPDATE_OPENAPI").is_some() {
            std::fs::write(COMMITTED, openapi_json()).unwrap();
        }
        let committed = std::fs::read_to_string(COMMITTED).unwrap();
        assert!(
            committed == openapi_json(),
            "docs/openapi.json is old; run this test with UPDATE_OPENAPI=1"
        );
    }

    #[test]
    fn every_operation_says_what_it_is_and_how_it_fails() {
        let description: serde_json::Value = serde_json::from_str(openapi_json()).unwrap();
        let mut operations = 0;
        for (path, item) in description["paths"].as_object().unwrap() {
            for (method, operation) in item.as_object().unwrap() {
                operations += 1;
                assert!(
                    operation["summary"].is_string(),
                    "{method} {path} has no summary"
                );
                let fails = operation["responses"]
                    .as_object()
                    .unwrap()
                    .keys()
                    .any(|status| status == "default");
                assert!(fails, "{method} {path} says nothing about errors");
                // What is asked by those who have no token yet, or found somebody else's.
                let open = path.starts_with("/api/v1/login")
                    || path == "/api/v1/secrets/report"
                    // Questions that are too long for an address.
                    || path == "/api/v1/attestations/by-digest"
                    || path == "/api/v1/advisories/query"
                    || matches!(
                        path.as_str(),
                        "/api/v1/recovery"
                            | "/api/v1/recovery/password"
                            | "/api/v1/recovery/status"
                    );
                if method != "get" && !open {
                    assert!(
                        operation["security"].is_array(),
                        "{method} {path} changes things without a token"
                    );
                }
            }
        }
        assert!(operations >= 27, "{operations}");
    }
}
