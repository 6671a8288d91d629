//! npm's registry, as npm, pnpm and both yarns speak to it: below `/npm/`, and for what stands below `/-/` also at the
//! root, where clients ask that drop a path.
//!
//! [`place`] reads what a raw path names, [`dispatch`] gives it to its handler. Errors are JSON with `error`, which npm
//! prints, whatever they are.

mod access;
mod account;
mod audit;
mod change;
mod login;
mod organisation;
mod place;
mod publish;
mod read;
mod search;

use axum::Router;
use axum::body::Body;
use axum::extract::{Extension, State};
use axum::response::{IntoResponse, Response};
use axum::routing::any;
use bytes::Bytes;
use countersign_formats::npm::name::PackageName;
use countersign_registry::model::{Actor, CallerOrigin, Identity};
use countersign_registry::{Error, Kind};
use http::header::{ALLOW, CACHE_CONTROL, CONTENT_TYPE};
use http::{HeaderMap, HeaderName, HeaderValue, Method, Request, StatusCode};
use serde::de::DeserializeOwned;
use serde_json::Value;

use crate::body::whole;
use crate::error::{self, Refusal};
use crate::protocols::npm_trust;
use crate::request_log::Noted;
use crate::site::Site;

use place::Place;

const NO_STORE: (HeaderName, HeaderValue) = (CACHE_CONTROL, HeaderValue::from_static("no-store"));

/// Longest body of a request that is no publication, in bytes.
const LONGEST_BODY: usize = 64 << 10;

type Answer = Result<Response, Refusal>;

pub(super) fn routes() -> Router<Site> {
    Router::new()
        .route("/npm", any(dispatch))
        .route("/npm/", any(dispatch))
        .route("/npm/{*rest}", any(dispatch))
        .route("/-/{*rest}", any(dispatch))
}

/// A request, as handlers see it.
pub(super) struct Call<'a> {
    pub(super) site: &'a Site,
    pub(super) method: &'a Method,
    pub(super) headers: &'a HeaderMap,
    pub(super) query: Option<&'a str>,
    pub(super) origin: &'a CallerOrigin,
}

impl Call<'_> {
    /// Who acts: there must be a good credential.
    async fn actor(&self) -> Result<Actor, Refusal> {
        self.site.actor(self.headers).await.map_err(Refusal::npm)
    }

    /// A value of the query, decoded; the first of its name.
    fn asked(&self, name: &str) -> Option<String> {
        let query = self.query?;
        url::form_urlencoded::parse(query.as_bytes())
            .find(|(key, _)| key == name)
            .map(|(_, value)| value.into_owned())
    }
}

/// The path below the registry's place.
fn below(path: &str) -> Option<&str> {
    if let Some(rest) = path.strip_prefix("/npm/") {
        return Some(rest);
    }
    match path {
        "/npm" => Some(""),
        _ => path.strip_prefix('/').filter(|rest| rest.starts_with("-/")),
    }
}

/// Whether whoever has no credential that reads may ask here: for one, to give it back, or with one that publishes and
/// reads nothing. The handlers ask for what they need.
pub(crate) fn is_open(method: &Method, path: &str) -> bool {
    let Some(raw) = below(path) else {
        return false;
    };
    if let Some(place) = npm_trust::Place::read(raw) {
        return place.is_open();
    }
    match Place::read(raw).ok() {
        Some(Place::Login | Place::LoginDone(_) | Place::Logout(_) | Place::User(_)) => true,
        Some(Place::Package(_)) => method == Method::PUT,
        _ => false,
    }
}

/// A packument or tarball that lies in memory.
pub(crate) fn from_memory(
    site: &Site,
    raw: &str,
    method: &Method,
    headers: &HeaderMap,
) -> Option<http::Response<Bytes>> {
    match Place::read(raw).ok()? {
        Place::Package(name) => read::packument_from_memory(site, &name, method, headers),
        Place::Tarball(name, file) => {
            read::tarball_from_memory(site, &name, &file, method, headers)
        }
        _ => None,
    }
}

async fn dispatch(
    State(site): State<Site>,
    Extension(origin): Extension<CallerOrigin>,
    request: Request<Body>,
) -> Answer {
    let (parts, body) = request.into_parts();
    let path = parts.uri.path();
    let call = Call {
        site: &site,
        method: &parts.method,
        headers: &parts.headers,
        query: parts.uri.query(),
        origin: &origin,
    };
    let raw = below(path).ok_or_else(|| Refusal::npm(error::no_such_page(path)))?;
    if let Some(place) = npm_trust::Place::read(raw) {
        if let (&Method::POST, npm_trust::Place::Stage(name)) = (&parts.method, &place) {
            return publish::stage(&call, name, body).await;
        }
        return npm_trust::answer(&site, &origin, &parts, place, body).await;
    }
    let place = Place::read(raw).map_err(Refusal::npm)?;
    let method = match parts.method {
        Method::HEAD => &Method::GET,
        ref other => other,
    };
    match (method.as_str(), place) {
        ("GET", Place::Root) => account::root(&call),
        ("GET", Place::Ping) => account::ping(),
        ("GET", Place::Whoami) => account::whoami(&call).await,
        ("POST", Place::Login) => login::begin(&call).await,
        ("GET", Place::LoginDone(secret)) => login::fetch(&call, secret).await,
        ("DELETE", Place::Logout(token)) => login::logout(&call, token).await,
        ("PUT", Place::User(_)) => Err(login::by_password()),
        ("GET", Place::User(name)) => account::user(&call, &name).await,
        ("GET", Place::UserPackages(name)) => access::packages_of_user(&call, &name).await,
        ("GET", Place::Profile) => account::profile(&call).await,
        ("POST", Place::Profile) => Err(account::change_profile()),
        ("GET", Place::Tokens) => account::tokens(&call).await,
        ("POST", Place::Tokens) => account::create_token(&call, body).await,
        ("DELETE", Place::Token(key)) => account::revoke_token(&call, &key).await,
        ("POST", Place::Advisories) => audit::advisories(&call, body).await,
        ("POST", Place::Audit) => audit::audit(&call, body).await,
        ("GET", Place::Search) => search::search(&call).await,
        ("GET", Place::Starred) => account::starred(&call).await,
        ("GET", Place::Tags(name)) => change::tags(&call, &name).await,
        ("PUT" | "POST", Place::Tag(name, tag)) => change::set_tag(&call, &name, &tag, body).await,
        ("DELETE", Place::Tag(name, tag)) => change::remove_tag(&call, &name, &tag).await,
        ("POST" | "PUT", Place::Access(name)) => access::set(&call, &name, body).await,
        ("GET", Place::Visibility(name)) => access::visibility(&call, &name).await,
        ("GET", Place::Collaborators(name)) => access::collaborators(&call, &name).await,
        ("GET", Place::OrgUsers(name)) => organisation::members(&call, &name).await,
        ("PUT", Place::OrgUsers(name)) => organisation::set_member(&call, &name, body).await,
        ("DELETE", Place::OrgUsers(name)) => organisation::remove_member(&call, &name, body).await,
        ("GET", Place::OrgTeams(name)) => organisation::teams(&call, &name).await,
        ("PUT", Place::OrgTeams(name)) => organisation::create_team(&call, &name, body).await,
        ("GET", Place::OrgPackages(name)) => organisation::packages(&call, &name).await,
        ("DELETE", Place::Team(name, team)) => organisation::remove_team(&call, &name, &team).await,
        ("GET", Place::TeamUsers(name, team)) => {
            organisation::team_members(&call, &name, &team).await
        }
        ("PUT", Place::TeamUsers(name, team)) => {
            organisation::in_team(&call, &name, &team, body, true).await
        }
        ("DELETE", Place::TeamUsers(name, team)) => {
            organisation::in_team(&call, &name, &team, body, false).await
        }
        ("GET", Place::TeamPackages(name, team)) => {
            organisation::team_packages(&call, &name, &team).await
        }
        ("PUT", Place::TeamPackages(name, team)) => {
            organisation::grant(&call, &name, &team, body).await
        }
        ("DELETE", Place::TeamPackages(name, team)) => {
            organisation::revoke(&call, &name, &team, body).await
        }
        ("GET", Place::Package(name)) => read::packument(&call, &name).await,
        ("PUT", Place::Package(name)) => publish::put(&call, &name, body).await,
        ("PUT", Place::PackageAt(name, revision)) => {
            change::put(&call, &name, &revision, body).await
        }
        ("DELETE", Place::PackageAt(name, revision)) => {
            change::remove_all(&call, &name, &revision).await
        }
        ("GET", Place::Tarball(name, file)) => read::tarball(&call, &name, &file).await,
        ("DELETE", Place::TarballAt(name, file)) => {
            change::remove_tarball(&call, &name, &file).await
        }
        ("GET", Place::Version(name, version)) => read::version(&call, &name, &version).await,
        (_, place) => Ok(not_allowed(&parts.method, path, &place)),
    }
}

/// The address is right and the method is not.
fn not_allowed(method: &Method, path: &str, place: &Place<'_>) -> Response {
    let allowed = match place {
        Place::Root
        | Place::Ping
        | Place::Whoami
        | Place::LoginDone(_)
        | Place::UserPackages(_)
        | Place::Search
        | Place::Starred
        | Place::Tags(_)
        | Place::Visibility(_)
        | Place::Collaborators(_)
        | Place::OrgPackages(_)
        | Place::Tarball(..)
        | Place::Version(..) => "GET, HEAD",
        Place::Login | Place::Advisories | Place::Audit => "POST",
        Place::Logout(_) | Place::Token(_) | Place::Team(..) | Place::TarballAt(..) => "DELETE",
        Place::User(_) => "GET, HEAD, PUT",
        Place::Profile | Place::Tokens => "GET, HEAD, POST",
        Place::Tag(..) => "PUT, POST, DELETE",
        Place::Access(_) => "POST, PUT",
        Place::OrgUsers(_) | Place::TeamUsers(..) | Place::TeamPackages(..) => {
            "GET, HEAD, PUT, DELETE"
        }
        Place::OrgTeams(_) | Place::Package(_) => "GET, HEAD, PUT",
        Place::PackageAt(..) => "PUT, DELETE",
    };
    let mut response = Refusal::npm(error::method_not_allowed(method, path)).into_response();
    response
        .headers_mut()
        .insert(ALLOW, HeaderValue::from_static(allowed));
    response
}

/// An answer of this moment, for whoever asked alone.
fn json(body: &Value) -> Response {
    told(body.to_string())
}

/// The same, of a text that is JSON already.
fn told(body: String) -> Response {
    (
        [
            NO_STORE,
            (CONTENT_TYPE, HeaderValue::from_static("application/json")),
        ],
        body,
    )
        .into_response()
}

/// Done, and nothing else to say.
fn done() -> Response {
    told("{\"ok\":true,\"success\":true}".to_owned())
}

fn created(mut response: Response) -> Response {
    *response.status_mut() = StatusCode::CREATED;
    response
}

/// Reads a small JSON body; none at all is an empty object.
async fn read_json<T: DeserializeOwned>(body: Body) -> Result<T, Refusal> {
    let bytes = whole(body, LONGEST_BODY).await.map_err(Refusal::npm)?;
    let bytes: &[u8] = if bytes.iter().all(u8::is_ascii_whitespace) {
        b"{}"
    } else {
        &bytes
    };
    // Where it is, and nothing of what stands there: it may be a password.
    serde_json::from_slice(bytes).map_err(|error| {
        let message = format!(
            "The request body is not the JSON that belongs here (line {}, column {}).",
            error.line(),
            error.column()
        );
        Refusal::npm(Error::new(Kind::Rejected, "json-malformed", message))
    })
}

/// What the log's line says of a request that somebody made about a package.
fn noted(actor: &Actor, package: Option<&PackageName>, mut response: Response) -> Response {
    let known = !matches!(actor.identity, Identity::Anonymous);
    response.extensions_mut().insert(Noted {
        actor: known.then(|| actor.name().to_owned()),
        ecosystem: Some("npm"),
        project: package.map(|name| name.as_str().to_owned()),
        ..Noted::default()
    });
    response
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_login_and_publishing_are_open_to_those_who_may_not_read() {
        for (method, open) in [
            (Method::POST, "/npm/-/v1/login"),
            (Method::GET, "/-/v1/login"),
            (Method::GET, "/npm/-/v1/login/csgn_u_x"),
            (Method::PUT, "/-/user/org.couchdb.user:ada"),
            (Method::DELETE, "/npm/-/user/token/csgn_u_x"),
            (Method::PUT, "/npm/left-pad"),
            (Method::PUT, "/npm/@s%2fn"),
        ] {
            assert!(is_open(&method, open), "{open}");
        }
        for (method, other) in [
            (Method::GET, "/npm/-/whoami"),
            (Method::GET, "/npm/-/v1/loginx"),
            (Method::GET, "/npm/left-pad"),
            (Method::GET, "/npm/@s%2fn"),
            (Method::PUT, "/npm/left-pad/-rev/1"),
            (Method::GET, "/-/"),
            (Method::PUT, "/left-pad"),
            (Method::GET, "/npm/-/v1/../whoami"),
        ] {
            assert!(!is_open(&method, other), "{other}");
        }
    }
}
