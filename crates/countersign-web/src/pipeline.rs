//! The way of a request. What lies in memory on a public instance is answered first, without a task switch, a
//! database or the router. Everything else: gate, router, wording of errors, headers, one log line.

use std::convert::Infallible;
use std::future::Future;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::{Duration, Instant};

use axum::Router;
use axum::body::Body;
use bytes::Bytes;
use countersign_formats::Ecosystem;
use countersign_registry::model::{Actor, CallerOrigin, Presented};
use countersign_registry::{Kind, Reader, Registry, reading_as};
use futures::future::Either;
use http::header::{
    ACCESS_CONTROL_ALLOW_ORIGIN, ALLOW, AUTHORIZATION, CACHE_CONTROL, CONTENT_SECURITY_POLICY,
    COOKIE, EXPECT, HOST, ORIGIN, REFERRER_POLICY, STRICT_TRANSPORT_SECURITY, USER_AGENT, VARY,
    X_CONTENT_TYPE_OPTIONS, X_FRAME_OPTIONS,
};
use http::{HeaderMap, HeaderName, HeaderValue, Method, Request, Response, StatusCode};
use tower::Service as _;

use crate::body::{AnswerBody, Fate, RequestBody};
use crate::caller;
use crate::error::{self, Dialect, Refusal};
use crate::metering::RouteClass;
use crate::request_log::{self, Line, Noted};
use crate::settings::FaceSettings;
use crate::site::Site;
use crate::{api, operation, pages, protocols, session};

/// What is read away of a refused upload so that its sender gets to see why.
const DRAIN_BYTES: u64 = 128 << 20;
const DRAIN_TIME: Duration = Duration::from_secs(20);

const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");
const FETCH_SITE: HeaderName = HeaderName::from_static("sec-fetch-site");

/// The id of a request: in its log line, in the `X-Request-Id` header and in every error body.
/// Handlers find it in the request's extensions.
#[derive(Clone, Debug)]
pub struct RequestId(pub Arc<str>);

/// The service that answers requests. Cheap to clone.
#[derive(Clone)]
pub struct App {
    inner: Arc<Inner>,
}

struct Inner {
    site: Site,
    router: Router,
    public: bool,
    /// What every answer carries that says nothing else.
    guards: Vec<(HeaderName, HeaderValue)>,
    /// The site as a browser names it in `Origin`.
    origin: String,
}

/// The face of `registry`.
pub fn app(registry: Registry, face: FaceSettings) -> App {
    let site = Site::new(registry, face);
    let router = Router::new()
        .merge(protocols::routes())
        .merge(api::routes())
        .merge(operation::routes())
        .merge(pages::routes())
        .fallback(async |request: Request<Body>| {
            let path = request.uri().path();
            Refusal::new(
                error::no_such_page(path),
                dialect_of(request.method(), path),
            )
        })
        .with_state(site.clone());
    let public = site.is_public();
    let guards = guards(site.url().starts_with("https:"));
    let origin = site.registry.settings().url.origin().ascii_serialization();
    App {
        inner: Arc::new(Inner {
            site,
            router,
            public,
            guards,
            origin,
        }),
    }
}

impl App {
    /// Answers one request that came from `remote`.
    pub fn handle<B>(
        &self,
        request: Request<B>,
        remote: Option<SocketAddr>,
    ) -> impl Future<Output = Result<Response<AnswerBody>, Infallible>> + Send + use<B>
    where
        B: http_body::Body<Data = Bytes> + Send + 'static,
        B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
    {
        let started = Instant::now();
        let logged = self.inner.site.face.request_log && request_log::is_on();
        if let Some(response) = self.inner.at_once(&request) {
            let class = RouteClass::of(request.uri().path());
            self.inner.site.meters.request(class, response.status());
            let mut response = response.map(AnswerBody::Ready);
            self.inner.secure(response.headers_mut());
            if logged {
                let id = new_id();
                stamp(&mut response, &id);
                self.inner.log(
                    &id,
                    started,
                    request.method(),
                    request.uri().path(),
                    request.headers(),
                    remote,
                    &response,
                    Noted::default(),
                );
            }
            return Either::Left(std::future::ready(Ok(response)));
        }
        let this = Arc::clone(&self.inner);
        Either::Right(Box::pin(async move {
            let address = this.address(request.headers(), remote);
            Ok(caller::at(address, this.route(request, remote, started, logged)).await)
        }))
    }

    /// What the face counts and shows; for tests and the binary.
    pub fn site(&self) -> &Site {
        &self.inner.site
    }
}

impl Inner {
    /// Index pages and small files in memory. A restricted instance has to ask who reads, so it never answers here.
    fn at_once<B>(&self, request: &Request<B>) -> Option<Response<Bytes>> {
        if !self.public || request.uri().query().is_some() {
            return None;
        }
        let (method, headers) = (request.method(), request.headers());
        if method != Method::GET && method != Method::HEAD {
            return None;
        }
        // Where it is kept who downloads what, whoever shows who they are takes the way on which that is found out.
        if self.site.registry.keeps_downloaders()
            && (headers.contains_key(AUTHORIZATION) || headers.contains_key(COOKIE))
        {
            return None;
        }
        let path = request.uri().path();
        if let Some(rest) = path.strip_prefix("/pypi/simple/") {
            return protocols::pypi::project_page_from_memory(&self.site, rest, method, headers);
        }
        if let Some(raw) = path.strip_prefix("/npm/") {
            return protocols::npm::from_memory(&self.site, raw, method, headers);
        }
        if let Some(rest) = path.strip_prefix("/cargo/index/") {
            return protocols::cargo::entries_from_memory(&self.site, rest, method, headers);
        }
        let rest = path.strip_prefix("/files/")?;
        protocols::files::file_from_memory(&self.site, rest, method, headers)
    }

    async fn route<B>(
        self: Arc<Self>,
        request: Request<B>,
        remote: Option<SocketAddr>,
        started: Instant,
        logged: bool,
    ) -> Response<AnswerBody>
    where
        B: http_body::Body<Data = Bytes> + Send + 'static,
        B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
    {
        let id = new_id();
        let (mut parts, body) = request.into_parts();
        let (method, uri, headers) = (
            parts.method.clone(),
            parts.uri.clone(),
            parts.headers.clone(),
        );
        let path = uri.path();
        let body = RequestBody::new(body, self.site.face.slowest_body);
        parts.extensions.insert(RequestId(Arc::clone(&id)));
        parts.extensions.insert(CallerOrigin {
            address: self
                .address(&headers, remote)
                .unwrap_or(IpAddr::V4(Ipv4Addr::UNSPECIFIED)),
            agent: agent(&headers),
        });

        let reading = self.reader(&headers, remote);
        let mut noted = Noted::default();
        let host = headers.get(HOST).and_then(|host| host.to_str().ok());
        let host = host.or(uri.authority().map(http::uri::Authority::as_str));
        let passed = match self.refuse_other_sites(&method, &headers, host) {
            Ok(()) => self.gate(&method, path, &headers).await,
            Err(error) => Err(error),
        };
        let mut response = match passed {
            Ok(reader) => {
                noted.actor = reader.map(|actor| actor.name().to_owned());
                let mut router = self.router.clone();
                let call = router.call(Request::from_parts(parts, Body::new(body.clone())));
                let outcome = reading_as(reading.clone(), call).await;
                outcome.unwrap_or_else(|never| match never {})
            }
            Err(error) => axum::response::IntoResponse::into_response(Refusal::new(
                error,
                dialect_of(&method, path),
            )),
        };

        let failed = response.status().is_client_error() || response.status().is_server_error();
        if failed && body.fate() == Fate::TooSlow {
            let slowest = self.site.face.slowest_body;
            let error = countersign_registry::Error::new(
                Kind::Rejected,
                "body-too-slow",
                format!(
                    "The request body came too slowly: fewer than {} bytes in {} seconds.",
                    slowest.bytes,
                    slowest.window.as_secs_f32()
                ),
            )
            .remedy("Nothing was stored. Send it again over a better connection; repeating a publish is safe.");
            response = axum::response::IntoResponse::into_response(Refusal::new(
                error,
                dialect_of(&method, path),
            ));
        }
        if let Some(more) = response.extensions_mut().remove::<Noted>() {
            noted = Noted {
                actor: more.actor.or(noted.actor),
                ..more
            };
        }
        if response.status() == StatusCode::METHOD_NOT_ALLOWED
            && response.extensions().get::<Arc<Refusal>>().is_none()
        {
            let error = error::method_not_allowed(&method, path);
            response
                .extensions_mut()
                .insert(Arc::new(Refusal::new(error, dialect_of(&method, path))));
        }
        if let Some(refusal) = response.extensions_mut().remove::<Arc<Refusal>>() {
            complain(&refusal, &id);
            noted.code = Some(refusal.error.code.to_string());
            // What the answer says besides its error.
            let kept = [ALLOW, error::NPM_NOTICE].map(|name| {
                let value = response.headers_mut().remove(&name);
                (name, value)
            });
            response = error::render(&refusal, self.site.url(), &headers, &id);
            pages::dress(&mut response, &self.site, &headers, &refusal, &id);
            for (name, value) in kept {
                if let Some(value) = value {
                    response.headers_mut().insert(name, value);
                }
            }
            if refusal.dialect == Dialect::Text {
                pages::dress(&mut response, &self.site, &headers, &refusal, &id);
            }
            if method == Method::HEAD {
                *response.body_mut() = Body::empty();
            }
        }
        let waits_for_go_ahead = body.fate() == Fate::Untouched && headers.contains_key(EXPECT);
        if failed && !waits_for_go_ahead && matches!(body.fate(), Fate::Untouched | Fate::Arriving)
        {
            body.drain(DRAIN_BYTES, DRAIN_TIME).await;
        }

        let class = RouteClass::of(path);
        self.site.meters.request(class, response.status());
        if class == RouteClass::Upload && response.status().is_success() {
            self.site.meters.published(started.elapsed());
        }
        let mut response = response.map(AnswerBody::Routed);
        if reading.saw_private() {
            keep_between_us(response.headers_mut());
        }
        self.secure(response.headers_mut());
        stamp(&mut response, &id);
        if logged {
            self.log(
                &id, started, &method, path, &headers, remote, &response, noted,
            );
        }
        response
    }

    /// Who may pass: on a restricted instance only callers with the permission to read, whatever they ask for, known
    /// or not. New routes are therefore closed unless they are named here.
    async fn gate(
        &self,
        method: &Method,
        path: &str,
        headers: &HeaderMap,
    ) -> Result<Option<Actor>, countersign_registry::Error> {
        if self.public || is_open(method, path) {
            return Ok(None);
        }
        if protocols::cargo::reads_with_publishing_token(method, path) {
            return self.site.client(headers, Ecosystem::Cargo).await.map(Some);
        }
        self.site.viewer(headers).await.map(Some)
    }

    /// A browser keeps Basic credentials and sends them along with whatever any page makes it send here. What changes
    /// things is therefore taken from this site's own pages and from programs, which say nothing of where they come from.
    fn refuse_other_sites(
        &self,
        method: &Method,
        headers: &HeaderMap,
        host: Option<&str>,
    ) -> Result<(), countersign_registry::Error> {
        if matches!(*method, Method::GET | Method::HEAD | Method::OPTIONS) {
            return Ok(());
        }
        let scheme = self
            .origin
            .split_once("://")
            .map_or("", |(scheme, _)| scheme);
        let ours = |origin: &HeaderValue| {
            let Ok(origin) = origin.to_str() else {
                return false;
            };
            // The name under which the browser asked is this site's too, whatever its URL says.
            let asked = origin
                .split_once("://")
                .filter(|(with, _)| with.eq_ignore_ascii_case(scheme))
                .map(|(_, authority)| authority);
            origin.eq_ignore_ascii_case(&self.origin)
                || asked
                    .zip(host)
                    .is_some_and(|(asked, host)| asked.eq_ignore_ascii_case(host))
        };
        let elsewhere = headers.get_all(ORIGIN).iter().find(|origin| !ours(origin));
        let said = |value: &HeaderValue| error::shown(&String::from_utf8_lossy(value.as_bytes()));
        let from = match elsewhere {
            Some(origin) => format!("the site {}", said(origin)),
            None if headers
                .get_all(FETCH_SITE)
                .iter()
                .any(|site| site == "cross-site" || site == "same-site") =>
            {
                "another site".to_owned()
            }
            None => return Ok(()),
        };
        Err(countersign_registry::Error::new(
            Kind::Denied,
            "cross-site",
            format!("A page of {from} made a browser send this, so it was not done."),
        )
        .remedy("Send it from a program, or from this registry's own pages."))
    }

    fn secure(&self, headers: &mut HeaderMap) {
        for (name, value) in &self.guards {
            headers.entry(name).or_insert_with(|| value.clone());
        }
    }

    #[expect(
        clippy::too_many_arguments,
        reason = "the one wide line is made of all of them"
    )]
    fn log(
        &self,
        id: &str,
        started: Instant,
        method: &Method,
        path: &str,
        headers: &HeaderMap,
        remote: Option<SocketAddr>,
        response: &Response<AnswerBody>,
        noted: Noted,
    ) {
        let address = self.address(headers, remote);
        request_log::write(&Line {
            id,
            method,
            path,
            headers,
            address,
            response,
            took: started.elapsed(),
            noted,
        });
    }

    /// Whom the request reads for, whatever it does besides: what a cookie or a token of it shows is for whoever has that.
    fn reader(&self, headers: &HeaderMap, remote: Option<SocketAddr>) -> Reader {
        let presented = session::presented(&Method::GET, headers, self.site.is_secure());
        Reader::with(
            presented.unwrap_or(Presented::Nothing),
            self.address(headers, remote),
        )
    }

    fn address(&self, headers: &HeaderMap, remote: Option<SocketAddr>) -> Option<IpAddr> {
        let peer = remote.map(|remote| remote.ip());
        if !self.site.face.behind_proxy {
            return peer;
        }
        // The last entry is the one our own proxy wrote; earlier ones are whatever the client claims.
        let forwarded = headers
            .get_all("x-forwarded-for")
            .iter()
            .next_back()
            .and_then(|value| value.to_str().ok());
        forwarded
            .and_then(|list| list.rsplit(',').next())
            .and_then(|last| last.trim().parse().ok())
            .or(peer)
    }
}

/// An answer that shows what not everybody may see is kept by nobody and shown to no other site's scripts, whatever its
/// handler says of such answers in general.
fn keep_between_us(headers: &mut HeaderMap) {
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("private, no-store"));
    headers.append(VARY, HeaderValue::from_static("Authorization, Cookie"));
    headers.remove(ACCESS_CONTROL_ALLOW_ORIGIN);
}

/// What the client calls itself, cut short and without control characters.
fn agent(headers: &HeaderMap) -> String {
    let agent = headers
        .get(USER_AGENT)
        .map_or(&b""[..], HeaderValue::as_bytes);
    let agent = String::from_utf8_lossy(&agent[..agent.len().min(200)]).into_owned();
    agent
        .chars()
        .map(|c| if c.is_control() { ' ' } else { c })
        .collect()
}

/// What a restricted instance answers to everyone: its health, whom to tell about a vulnerability, its policies and style sheet,
/// what an enrolment link is good for, and the exchange of identity tokens, which is how a workflow gets a token.
/// Publishing has its own check, whose refusals must be 403.
fn is_open(method: &Method, path: &str) -> bool {
    match path {
        "/healthz" | "/.well-known/security.txt" | "/.well-known/pytp" => true,
        "/_/oidc/audience"
        | "/_/oidc/mint-token"
        | "/_/oidc/github/mint-token"
        | "/_/oidc/burn-token" => true,
        "/pypi/legacy" | "/pypi/legacy/" => method == Method::POST,
        // A workflow's token reads nothing and can still be given back; the handler asks for it.
        "/api/v1/token" => method == Method::DELETE,
        // Who found a token, or has none yet.
        "/leaked" => true,
        "/_/secrets/disclose-token"
        | "/api/v1/secrets/report"
        | "/api/v1/login"
        | "/api/v1/login/poll"
        | "/api/v1/recovery"
        | "/api/v1/recovery/password"
        | "/api/v1/recovery/status" => method == Method::POST,
        // Whoever comes in, or gets back in, has nothing to show yet. Pages of one's own ask for themselves.
        "/sign-in" | "/sign-up" | "/sign-out" | "/forgotten" | "/recover" | "/enrol" => true,
        "/account" | "/operator" | "/invitation" | "/login/device" | "/help/recovery" | "/me"
        | "/cargo/me" => true,
        // Policies, by which a stranger learns where to report a fault.
        "/policies" => true,
        _ if protocols::npm::is_open(method, path) => true,
        _ if protocols::cargo::checks_itself(method, path) => true,
        _ => [
            "/static/",
            "/enrol/",
            "/sign-in/",
            "/recovery/",
            "/account/",
            "/policies/",
            // Signed for others: the calls ask for a token of their own, the metadata is for everybody.
            "/service/tuf/",
            "/service/log/",
            "/api/v1/service/",
        ]
        .iter()
        .any(|open| path.starts_with(open)),
    }
}

/// The dialect in which errors are told to a request.
fn dialect_of(method: &Method, path: &str) -> Dialect {
    if method == Method::POST && (path == "/pypi/legacy" || path == "/pypi/legacy/") {
        Dialect::Upload
    } else if path.starts_with("/_/oidc/") {
        Dialect::Exchange
    } else if path.starts_with("/api/")
        || path.starts_with("/_/secrets/")
        || path == "/.well-known/pytp"
    {
        Dialect::Problem
    } else if protocols::cargo::speaks(path) {
        Dialect::Cargo
    } else if path == "/npm" || path.starts_with("/npm/") || path.starts_with("/-/") {
        Dialect::Npm
    } else {
        Dialect::Text
    }
}

/// Made once: answers from memory take them by the hundred thousand per second.
fn guards(https: bool) -> Vec<(HeaderName, HeaderValue)> {
    let mut guards = vec![
        (X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (
            CONTENT_SECURITY_POLICY,
            "default-src 'none'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
        ),
        (REFERRER_POLICY, "same-origin"),
        (X_FRAME_OPTIONS, "DENY"),
    ];
    if https {
        guards.push((STRICT_TRANSPORT_SECURITY, "max-age=31536000"));
    }
    guards
        .into_iter()
        .map(|(name, value)| (name, HeaderValue::from_static(value)))
        .collect()
}

fn new_id() -> Arc<str> {
    uuid::Uuid::now_v7()
        .hyphenated()
        .encode_lower(&mut uuid::Uuid::encode_buffer())
        .into()
}

fn stamp<B>(response: &mut Response<B>, id: &str) {
    if let Ok(value) = HeaderValue::from_str(id) {
        response.headers_mut().insert(REQUEST_ID, value);
    }
}

/// Tells the log about errors that are ours, with their causes, which the answer never shows.
fn complain(refusal: &Refusal, id: &str) {
    let error: &countersign_registry::Error = &refusal.error;
    if !matches!(error.kind, Kind::Internal | Kind::Unavailable) {
        return;
    }
    let mut causes = String::new();
    let mut cause = std::error::Error::source(error);
    while let Some(next) = cause {
        if !causes.is_empty() {
            causes.push_str(": ");
        }
        causes.push_str(&next.to_string());
        cause = next.source();
    }
    tracing::error!(target: "countersign", request = id, code = %error.code, causes, "{}", error.message);
}
