//! A visit of a page that is somebody's own: who visits, the form's token, and answers that nobody keeps.
//!
//! Handlers take a [`Guest`] (anybody, signed in or not) or a [`Member`] (signed in). A form's fields are read by
//! [`Guest::fields`], which asks for the form's token; so no form can be taken without it.

use std::net::{IpAddr, Ipv4Addr};

use askama::Template;
use axum::body::Body;
use axum::extract::FromRequestParts;
use axum::response::{Html, IntoResponse, Response};
use countersign_registry::model::{Actor, CallerOrigin, Identity, Presented};
use countersign_registry::{Error, Kind};
use http::header::{self, HeaderMap, HeaderValue};
use http::request::Parts;
use http::{Method, StatusCode};
use uuid::Uuid;

use super::visit::{Frame, Page};
use super::words;
use crate::Site;
use crate::body::whole;
use crate::error::Refusal;
use crate::session::{Cookie, FORM_TOKEN, forged, form_token, is_form_token, own_path};

/// Longest form, in bytes.
const LONGEST_FORM: usize = 64 << 10;

/// What a browser may load on somebody's own pages: what other pages may, and our script, which talks to us alone.
const CONTENT_SECURITY_POLICY: &str = "default-src 'none'; style-src 'self'; img-src 'self'; script-src 'self'; \
     connect-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'";

/// A visitor of a page of somebody's own.
pub(super) struct Guest {
    pub(super) site: Site,
    pub(super) frame: Frame,
    /// Anonymous, or the holder of the session.
    pub(super) actor: Actor,
    /// The cookie of the session, where there is a good one.
    pub(super) session: Option<String>,
    /// Which device this is, where somebody signed in with it before.
    pub(super) device: Option<String>,
    /// Where the request comes from.
    pub(super) origin: CallerOrigin,
    /// The query.
    pub(super) query: Fields,
    /// Path and query, to come back to.
    pub(super) here: String,
    /// The cookie that the form's token rests on before there is a session.
    visit: String,
    /// It is new and must be set.
    unmarked: bool,
    secure: bool,
    headers: HeaderMap,
    method: Method,
}

/// A visitor who is signed in.
pub(super) struct Member {
    pub(super) guest: Guest,
    /// The user name.
    pub(super) name: String,
}

impl std::ops::Deref for Member {
    type Target = Guest;

    fn deref(&self) -> &Guest {
        &self.guest
    }
}

/// What a form or a query holds, by name; of several values of a name the last, or all.
#[derive(Clone, Debug, Default)]
pub(super) struct Fields(Vec<(String, String)>);

impl Fields {
    fn parse(text: &[u8]) -> Self {
        let pairs = url::form_urlencoded::parse(text).into_owned();
        Self(pairs.take(200).collect())
    }

    /// The value, without blanks around it; empty where there is none.
    pub(super) fn get(&self, name: &str) -> &str {
        self.raw(name).trim()
    }

    /// The value as it was typed.
    pub(super) fn raw(&self, name: &str) -> &str {
        self.0
            .iter()
            .rev()
            .find(|(key, _)| key == name)
            .map_or("", |(_, value)| value)
    }

    /// The value, where it is not empty.
    pub(super) fn some(&self, name: &str) -> Option<&str> {
        Some(self.get(name)).filter(|value| !value.is_empty())
    }

    /// Whether a box was ticked.
    pub(super) fn ticked(&self, name: &str) -> bool {
        !self.get(name).is_empty()
    }

    /// All that was given, by name.
    pub(super) fn pairs(&self) -> impl Iterator<Item = (&str, &str)> {
        self.0
            .iter()
            .map(|(name, value)| (name.as_str(), value.as_str()))
    }
}

/// An error for whoever reads pages.
pub(super) fn refused(error: impl Into<Error>) -> Refusal {
    Refusal::text(error)
}

impl FromRequestParts<Site> for Guest {
    type Rejection = Refusal;

    async fn from_request_parts(parts: &mut Parts, site: &Site) -> Result<Self, Refusal> {
        let secure = site.is_secure();
        let cookie = Cookie::Session.value(&parts.headers, secure);
        let (actor, session) = match cookie {
            None => (Actor::anonymous(), None),
            Some(cookie) => match site
                .registry
                .authenticate(Presented::Session(cookie.clone()))
                .await
            {
                Ok(actor) => (actor, Some(cookie)),
                // A session that ended is none.
                Err(error) if error.kind == Kind::Unauthenticated => (Actor::anonymous(), None),
                Err(error) => return Err(refused(error)),
            },
        };
        let known = Cookie::Visit.value(&parts.headers, secure);
        let unmarked = known.is_none();
        let visit = known
            .unwrap_or_else(|| format!("{}{}", Uuid::new_v4().simple(), Uuid::new_v4().simple()));
        let query = parts.uri.query().unwrap_or_default();
        let query: String = query.chars().take(4_096).collect();
        let here = parts
            .uri
            .path_and_query()
            .map_or_else(|| "/".to_owned(), |path| path.as_str().to_owned());
        let holder = session.as_deref().unwrap_or(&visit);
        let frame = Frame {
            token: form_token(holder),
            user: session.is_some().then(|| actor.name().to_owned()),
            operates: actor.session.as_ref().is_some_and(|facts| facts.operator),
            ..Frame::of(site)
        };
        Ok(Self {
            frame,
            site: site.clone(),
            actor,
            session,
            device: Cookie::Device.value(&parts.headers, secure),
            origin: origin_of(parts),
            query: Fields::parse(query.as_bytes()),
            here,
            visit,
            unmarked,
            secure,
            headers: parts.headers.clone(),
            method: parts.method.clone(),
        })
    }
}

/// Where the request comes from, as the pipeline saw it.
pub(crate) fn origin_of(parts: &Parts) -> CallerOrigin {
    parts
        .extensions
        .get::<CallerOrigin>()
        .cloned()
        .unwrap_or(CallerOrigin {
            address: IpAddr::V4(Ipv4Addr::UNSPECIFIED),
            agent: String::new(),
        })
}

/// Why a page that is for members is not shown: to sign in first, or an error.
pub(super) enum Turned {
    /// To the sign-in page, and back from there.
    Away(String),
    /// It failed.
    Back(Refusal),
}

impl IntoResponse for Turned {
    fn into_response(self) -> Response {
        match self {
            Self::Away(path) => go(&path),
            Self::Back(refusal) => refusal.into_response(),
        }
    }
}

impl FromRequestParts<Site> for Member {
    type Rejection = Turned;

    async fn from_request_parts(parts: &mut Parts, site: &Site) -> Result<Self, Turned> {
        let guest = Guest::from_request_parts(parts, site)
            .await
            .map_err(Turned::Back)?;
        match &guest.actor.identity {
            Identity::Account { name, .. } => Ok(Self {
                name: name.clone(),
                guest,
            }),
            _ if guest.method == Method::GET || guest.method == Method::HEAD => {
                Err(Turned::Away(with_return("/sign-in", &guest.here)))
            }
            _ => Err(Turned::Back(refused(
                Error::new(
                    Kind::Unauthenticated,
                    "session-ended",
                    "You are not signed in, or your session has ended.",
                )
                .remedy("Sign in and do it again; nothing was changed."),
            ))),
        }
    }
}

/// An address of ours that leads back to `here` afterwards.
pub(super) fn with_return(path: &str, here: &str) -> String {
    let query = url::form_urlencoded::Serializer::new(String::new())
        .append_pair("return", here)
        .finish();
    let mark = if path.contains('?') { '&' } else { '?' };
    format!("{path}{mark}{query}")
}

/// Whether all that is missing is to prove again who it is.
pub(super) fn is_stale(error: &Error) -> bool {
    matches!(&*error.code, "not-fresh" | "step-up-needed")
}

/// On to another page of ours, by GET.
pub(super) fn go(path: &str) -> Response {
    let mut response = StatusCode::SEE_OTHER.into_response();
    match HeaderValue::try_from(path) {
        Ok(location) if path.starts_with('/') && !path.starts_with("//") => {
            response.headers_mut().insert(header::LOCATION, location);
        }
        _ => *response.status_mut() = StatusCode::NOT_FOUND,
    }
    unkept(response.headers_mut());
    response
}

fn unkept(headers: &mut HeaderMap) {
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    headers.insert(header::VARY, HeaderValue::from_static("Cookie"));
}

impl Member {
    /// Answers a form: back to a page of ours, which says what was done. Who has to prove again that it is them does
    /// that first.
    pub(super) fn done<T>(
        &self,
        outcome: countersign_registry::Result<T>,
        back: &str,
        word: &str,
    ) -> Result<Response, Refusal> {
        match outcome {
            Ok(_) => Ok(go(&format!("{back}?done={word}"))),
            Err(error) => self.not_done(error, back),
        }
    }

    /// Answers a form that failed.
    pub(super) fn not_done(&self, error: Error, back: &str) -> Result<Response, Refusal> {
        if is_stale(&error) {
            return Ok(go(&with_return("/account/confirm", back)));
        }
        Err(refused(error))
    }

    /// What the page before says that it did.
    pub(super) fn said(&self) -> Option<&'static str> {
        words::done(self.query.get("done"))
    }
}

impl Guest {
    /// The cookie that forms rest on.
    fn holder(&self) -> &str {
        self.session.as_deref().unwrap_or(&self.visit)
    }

    /// Where to go on to: what the query says, if that is a path of ours.
    pub(super) fn onward(&self, instead: &'static str) -> String {
        own_path(self.query.some("return"), instead)
    }

    /// Reads a form that this visitor was shown.
    pub(super) async fn fields(&self, body: Body) -> Result<Fields, Refusal> {
        let kind = self
            .headers
            .get(header::CONTENT_TYPE)
            .and_then(|kind| kind.to_str().ok())
            .unwrap_or_default();
        if !kind
            .to_ascii_lowercase()
            .starts_with("application/x-www-form-urlencoded")
        {
            return Err(refused(Error::new(
                Kind::Rejected,
                "form-malformed",
                "A form of this page is sent as application/x-www-form-urlencoded.",
            )));
        }
        let fields = Fields::parse(&whole(body, LONGEST_FORM).await.map_err(refused)?);
        let header = self
            .headers
            .get(FORM_TOKEN)
            .and_then(|token| token.to_str().ok());
        let given = header.unwrap_or_else(|| fields.get("form"));
        if (self.session.is_none() && self.unmarked) || !is_form_token(self.holder(), given) {
            return Err(refused(forged()));
        }
        Ok(fields)
    }

    /// The page, which nobody keeps.
    pub(super) fn page(&self, view: &impl Template) -> Response {
        self.page_as(StatusCode::OK, view)
    }

    /// The page with another status.
    pub(super) fn page_as(&self, status: StatusCode, view: &impl Template) -> Response {
        let page = match Page::render(view) {
            Ok(page) => page,
            Err(error) => return refused(error).into_response(),
        };
        let mut response = (status, Html(page.html)).into_response();
        let headers = response.headers_mut();
        headers.insert(
            header::CONTENT_SECURITY_POLICY,
            HeaderValue::from_static(CONTENT_SECURITY_POLICY),
        );
        // The address may hold a secret of the visitor; our own forms must still say where they come from.
        headers.insert(
            header::REFERRER_POLICY,
            HeaderValue::from_static("same-origin"),
        );
        unkept(headers);
        if self.unmarked && self.session.is_none() {
            append(headers, Cookie::Visit.set(&self.visit, self.secure));
        }
        response
    }

    /// On to a page of ours as the holder of a new session, whose cookie takes the place of the one before.
    pub(super) fn enter(&self, path: &str, session: &str, device: Option<&str>) -> Response {
        let mut response = go(path);
        let headers = response.headers_mut();
        append(headers, Cookie::Session.set(session, self.secure));
        append(headers, Cookie::Visit.clear(self.secure));
        append(headers, Cookie::Half.clear(self.secure));
        append(headers, Cookie::Away.clear(self.secure));
        if let Some(device) = device {
            append(headers, Cookie::Device.set(device, self.secure));
        }
        response
    }

    /// This browser's own secret, or a new one for it.
    pub(super) fn device_or_new(&self) -> String {
        self.site.registry.device_secret(self.device.as_deref())
    }

    /// Keeps that.
    pub(super) fn keep_device(&self, response: &mut Response, device: &str) {
        append(
            response.headers_mut(),
            Cookie::Device.set(device, self.secure),
        );
    }

    /// The secret of a sign-in that owes its second factor.
    pub(super) fn half(&self) -> Option<String> {
        Cookie::Half.value(&self.headers, self.secure)
    }

    /// What this browser keeps of a trip to a sign-in provider.
    pub(super) fn away(&self) -> Option<String> {
        Cookie::Away.value(&self.headers, self.secure)
    }

    /// Keeps that.
    pub(super) fn keep_away(&self, response: &mut Response, browser: &str) {
        append(
            response.headers_mut(),
            Cookie::Away.set(browser, self.secure),
        );
    }

    /// On to a page of ours with a sign-in that owes its second factor.
    pub(super) fn halfway(&self, path: &str, half: &str) -> Response {
        let mut response = go(path);
        append(response.headers_mut(), Cookie::Half.set(half, self.secure));
        response
    }

    /// On to a page of ours as nobody.
    pub(super) fn leave(&self, path: &str) -> Response {
        let mut response = go(path);
        let headers = response.headers_mut();
        append(headers, Cookie::Session.clear(self.secure));
        append(headers, Cookie::Visit.clear(self.secure));
        headers.insert(
            "clear-site-data",
            HeaderValue::from_static("\"cache\", \"storage\""),
        );
        response
    }
}

fn append(headers: &mut HeaderMap, cookie: Option<HeaderValue>) {
    if let Some(cookie) = cookie {
        headers.append(header::SET_COOKIE, cookie);
    }
}
