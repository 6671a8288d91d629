//! A visit of a page that is somebody's own: who visits, the form's token, and answers that nobody keeps.
//!
//! Handlers take a [`Guest`] (anybody, signed in or not) or a [`Member`] (signed in). A form's fields are read by
//! [`Guest::fields`], which asks for the form's token; so no form can be taken without it.

use std::net::{IpAddr, Ipv4Addr};
use std::sync::OnceLock;

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

use super::refill::{Again, is_secret, refill};
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
    /// A form to be shown as it was typed, on the page that this visit is of.
    again: Option<Again>,
    /// The form that this visit sent, and whether it was held before.
    sent: OnceLock<(Fields, bool)>,
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
    pub(super) fn parse(text: &[u8]) -> Self {
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

    /// Whether there is a value of this name, be it empty.
    pub(super) fn has(&self, name: &str) -> bool {
        self.0.iter().any(|(key, _)| key == name)
    }

    /// Whether nothing was given.
    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Those that may be kept for a while, and whether a secret had to be left out.
    fn without_secrets(&self) -> (Self, bool) {
        let open = |(name, _): &&(String, String)| !is_secret(name);
        let kept: Vec<_> = self.0.iter().filter(open).cloned().collect();
        let lost = self
            .0
            .iter()
            .any(|(name, value)| is_secret(name) && name != "form" && !value.is_empty());
        (Self(kept), lost)
    }

    fn written(&self) -> String {
        url::form_urlencoded::Serializer::new(String::new())
            .extend_pairs(&self.0)
            .finish()
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
        let query = Fields::parse(query.as_bytes());
        let again = match query
            .some("held")
            .filter(|_| parts.method == Method::GET && !query.has("onto"))
        {
            Some(held) if session.is_some() => {
                typed_before(site, &actor, parts.uri.path(), held).await?
            }
            _ => None,
        };
        Ok(Self {
            frame,
            site: site.clone(),
            actor,
            session,
            device: Cookie::Device.value(&parts.headers, secure),
            origin: origin_of(parts),
            query,
            again,
            sent: OnceLock::new(),
            here,
            visit,
            unmarked,
            secure,
            headers: parts.headers.clone(),
            method: parts.method.clone(),
        })
    }
}

/// Under which name a form is held that is shown again on a page.
fn shown_on(path: &str) -> String {
    format!("shown on {path}")
}

/// What was typed into a form of this page, if that is held under this secret.
async fn typed_before(
    site: &Site,
    actor: &Actor,
    path: &str,
    held: &str,
) -> Result<Option<Again>, Refusal> {
    let taken = site.registry.take_held(actor, &shown_on(path), held).await;
    let content = match taken {
        Ok(content) => content,
        // It was shown already; a reload shows the page as it is.
        Err(error) if error.code == "form-over" => return Ok(None),
        Err(error) => return Err(refused(error)),
    };
    let held = Fields::parse(content.as_bytes());
    Ok(Some(Again {
        action: held.get("action").to_owned(),
        fields: Fields::parse(held.raw("fields").as_bytes()),
        message: held.get("message").to_owned(),
        remedy: held.get("remedy").to_owned(),
        code: held.get("code").to_owned(),
    }))
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
    pub(super) async fn done<T>(
        &self,
        outcome: countersign_registry::Result<T>,
        back: &str,
        word: &str,
    ) -> Result<Response, Refusal> {
        match outcome {
            Ok(_) => Ok(go(&format!("{back}?done={word}"))),
            Err(error) => self.not_done(error, back).await,
        }
    }

    /// Answers a form that failed: to the page that asks for proof, after which what was sent is done; or back to the
    /// page, with what went wrong and what was typed.
    pub(super) async fn not_done(&self, error: Error, back: &str) -> Result<Response, Refusal> {
        if self.lacks_proof(&error).await? {
            return self.prove_first(back).await;
        }
        let mendable = matches!(
            error.kind,
            Kind::Rejected | Kind::Conflict | Kind::NotFound | Kind::Limited
        ) || error.code == "factor-policy-down";
        let Some((fields, _)) = self.sent.get().filter(|_| mendable) else {
            return Err(refused(error));
        };
        match self.show_again(back, fields, Some(&error)).await? {
            Some(path) => Ok(go(&path)),
            None => Err(refused(error)),
        }
    }

    /// Whether all that is missing is to prove again who it is. Whoever did so for this very form proved too little.
    async fn lacks_proof(&self, error: &Error) -> Result<bool, Refusal> {
        if self.sent.get().is_some_and(|(_, held)| *held) {
            return Ok(false);
        }
        match &*error.code {
            "step-up-needed" => Ok(true),
            // Signed in by password; where the account has a key, it can be shown now.
            "passkey-needed" => {
                let has = self.site.registry.has_key(&self.actor).await;
                has.map_err(refused)
            }
            _ => Ok(false),
        }
    }

    /// To the page that asks for proof, with what was sent to be done afterwards.
    async fn prove_first(&self, back: &str) -> Result<Response, Refusal> {
        let nothing = || Ok(go(&with_return("/account/confirm", back)));
        let Some((fields, _)) = self.sent.get() else {
            return nothing();
        };
        let (kept, lost) = fields.without_secrets();
        if lost {
            // It can not be done without what is never kept: the form is shown again then.
            let back = self.show_again(back, &kept, None).await?;
            return match back {
                Some(back) => Ok(go(&with_return("/account/confirm", &back))),
                None => nothing(),
            };
        }
        let path = self.path();
        let held = self
            .site
            .registry
            .hold(&self.actor, path, &kept.written())
            .await
            .map_err(refused)?;
        let Some(held) = held else { return nothing() };
        let query = url::form_urlencoded::Serializer::new(String::new())
            .append_pair("return", back)
            .append_pair("held", &held)
            .append_pair("onto", path)
            .finish();
        Ok(go(&format!("/account/confirm?{query}")))
    }

    /// To the page of approvals, with what was sent to be done once this one is granted.
    pub(super) async fn approve_first(
        &self,
        approvals: &str,
        id: &str,
    ) -> Result<Response, Refusal> {
        let Some((fields, _)) = self.sent.get() else {
            return Ok(go(approvals));
        };
        let path = self.path();
        let (kept, lost) = fields.without_secrets();
        let held = self
            .site
            .registry
            .hold(&self.actor, path, &kept.written())
            .await
            .map_err(refused)?;
        let Some(held) = held.filter(|_| !lost) else {
            return Ok(go(approvals));
        };
        let query = url::form_urlencoded::Serializer::new(String::new())
            .append_pair("for", id)
            .append_pair("held", &held)
            .append_pair("onto", path)
            .finish();
        Ok(go(&format!("{approvals}?{query}")))
    }

    /// The address of a page of ours that shows the form as it was typed.
    async fn show_again(
        &self,
        back: &str,
        fields: &Fields,
        fault: Option<&Error>,
    ) -> Result<Option<String>, Refusal> {
        let (kept, _) = fields.without_secrets();
        let remedy = fault.and_then(|fault| fault.remedy.as_deref());
        let message = fault.map_or(words::TYPE_AGAIN, |fault| &fault.message);
        let content = url::form_urlencoded::Serializer::new(String::new())
            .append_pair("action", self.path())
            .append_pair("fields", &kept.written())
            .append_pair("message", message)
            .append_pair("remedy", remedy.unwrap_or_default())
            .append_pair("code", fault.map_or("", |fault| &fault.code))
            .finish();
        let path = back.split('?').next().unwrap_or(back);
        let held = self
            .site
            .registry
            .hold(&self.actor, &shown_on(path), &content)
            .await
            .map_err(refused)?;
        let mark = if back.contains('?') { '&' } else { '?' };
        Ok(held.map(|held| format!("{back}{mark}held={held}")))
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

    /// The path of this visit.
    fn path(&self) -> &str {
        self.here.split('?').next().unwrap_or(&self.here)
    }

    /// Reads a form that this visitor was shown, or one that was held for them until they had proved who they are.
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
        // What is held was sent with its token, is bound to this session and this path, and is found once.
        if let Some(held) = fields.some("held").filter(|_| fields.has("onto"))
            && self.session.is_some()
            && fields.get("onto") == self.path()
        {
            let content = self
                .site
                .registry
                .take_held(&self.actor, self.path(), held)
                .await
                .map_err(refused)?;
            let fields = Fields::parse(content.as_bytes());
            self.sent.get_or_init(|| (fields.clone(), true));
            return Ok(fields);
        }
        let header = self
            .headers
            .get(FORM_TOKEN)
            .and_then(|token| token.to_str().ok());
        let given = header.unwrap_or_else(|| fields.get("form"));
        if (self.session.is_none() && self.unmarked) || !is_form_token(self.holder(), given) {
            return Err(refused(forged()));
        }
        self.sent.get_or_init(|| (fields.clone(), false));
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
        let html = match &self.again {
            None => page.html,
            Some(again) => refill(&String::from_utf8_lossy(&page.html), again).into(),
        };
        let mut response = (status, Html(html)).into_response();
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
