//! One visit of a page: the gate, the frame around every page, and the answer with its caching.
//!
//! Errors leave as [`Refusal`]s like everywhere in the face; the pipeline words them, for browsers as a page
//! ([`super::dress`]). Handlers take a [`Visit`], and a `Visit` only exists once the visitor may read; so no page of a restricted
//! instance can be shown by forgetting to ask.

use std::sync::Arc;
use std::time::Duration;

use askama::Template;
use axum::extract::FromRequestParts;
use axum::response::{Html, IntoResponse, Response};
use bytes::Bytes;
use countersign_registry::{Error, Result, saw_private};
use countersign_trust::digest::Sha256;
use http::StatusCode;
use http::header::{self, HeaderMap, HeaderName, HeaderValue};
use http::request::Parts;

use super::assets;
use crate::Site;
use crate::error::Refusal;

/// What a browser may load on our pages: our style sheet and our pictures, nothing else.
pub(super) const CONTENT_SECURITY_POLICY: &str = "default-src 'none'; style-src 'self'; img-src 'self'; \
     form-action 'self'; base-uri 'none'; frame-ancestors 'none'";

/// Bytes of rendered pages kept in memory.
const CACHED_BYTES: u64 = 32 << 20;
/// How long a rendered page may lag behind what has no serial (download counts, people).
const CACHED_FOR: Duration = Duration::from_secs(10);

/// What surrounds every page.
#[derive(Debug, Clone)]
pub(super) struct Frame {
    /// Public base URL without a trailing slash.
    pub(super) site: String,
    /// Host (and port) of it.
    pub(super) host: String,
    /// Origin of the log.
    pub(super) origin: String,
    /// Path of the log below the site, with a slash at its end.
    pub(super) log: String,
    /// Whether only authenticated callers may read.
    pub(super) restricted: bool,
    /// What the search box holds.
    pub(super) query: String,
    /// Path of the style sheet.
    pub(super) css: &'static str,
    /// The token of forms; empty on pages that are the same for everybody.
    pub(super) token: String,
    /// Who is signed in; on pages of their own only.
    pub(super) user: Option<String>,
    /// Whether that is an operator.
    pub(super) operates: bool,
    /// Path of the script.
    pub(super) js: &'static str,
    /// Path of the icon.
    pub(super) icon: &'static str,
}

impl Frame {
    pub(super) fn of(site: &Site) -> Self {
        let settings = site.registry.settings();
        let identity = site.registry.site_keys();
        let host = settings.url.host_str().unwrap_or_default();
        Self {
            site: settings.site().to_owned(),
            host: settings
                .url
                .port()
                .map_or_else(|| host.to_owned(), |port| format!("{host}:{port}")),
            origin: identity.origin,
            log: identity.log_path,
            restricted: !site.is_public(),
            query: String::new(),
            css: assets::css().path(),
            token: String::new(),
            user: None,
            operates: false,
            js: assets::js().path(),
            icon: assets::icon().path(),
        }
    }
}

impl Frame {
    /// Places of whoever is signed in: path and name.
    pub(super) fn places(&self) -> Vec<(&'static str, &'static str)> {
        let mut places = vec![
            ("/account", "Account"),
            ("/account/security", "Security"),
            ("/account/tokens", "Tokens"),
            ("/account/projects", "Projects"),
            ("/account/approvals", "Approvals"),
            ("/account/staged", "Staged"),
            ("/account/notices", "Notices"),
            ("/account/data", "Your data"),
        ];
        if self.operates {
            places.push(("/operator", "Operator"));
        }
        places
    }
}

/// A rendered page.
#[derive(Debug)]
pub(super) struct Page {
    pub(super) html: Bytes,
    etag: HeaderValue,
}

impl Page {
    /// Renders a view.
    pub(super) fn render(view: &impl Template) -> Result<Self> {
        let html = view
            .render()
            .map_err(|error| Error::internal("a page could not be rendered", error))?;
        let digest = Sha256::of(html.as_bytes()).to_string();
        let etag = HeaderValue::try_from(format!("\"{}\"", &digest[..32]))
            .map_err(|error| Error::internal("a page's tag is no header value", error))?;
        Ok(Self {
            html: Bytes::from(html),
            etag,
        })
    }
}

/// What a page's handler came to.
pub(super) enum Answer {
    /// A page.
    Page(Arc<Page>),
    /// The page has another address, a path of this site.
    Moved(String),
}

impl From<Page> for Answer {
    fn from(page: Page) -> Self {
        Self::Page(Arc::new(page))
    }
}

/// Rendered pages by path and by the serial of what they show.
#[derive(Clone)]
pub(super) struct PageCache(moka::sync::Cache<(String, u64), Arc<Page>>);

impl PageCache {
    pub(super) fn new() -> Self {
        let weigh = |(path, _): &(String, u64), page: &Arc<Page>| {
            u32::try_from(path.len() + page.html.len() + 128).unwrap_or(u32::MAX)
        };
        Self(
            moka::sync::Cache::builder()
                .max_capacity(CACHED_BYTES)
                .weigher(weigh)
                .time_to_live(CACHED_FOR)
                .build(),
        )
    }
}

/// A visitor who may read, and what a page needs to answer him.
pub(super) struct Visit {
    pub(super) site: Site,
    pub(super) frame: Frame,
    /// The path asked for.
    pub(super) path: String,
    head: Head,
    cache: PageCache,
}

/// What of a request shapes the answer around the page.
struct Head {
    if_none_match: Option<HeaderValue>,
    restricted: bool,
}

impl FromRequestParts<Site> for Visit {
    type Rejection = Refusal;

    async fn from_request_parts(parts: &mut Parts, site: &Site) -> Result<Self, Refusal> {
        let frame = Frame::of(site);
        site.viewer(&parts.headers).await.map_err(Refusal::text)?;
        let cache = parts
            .extensions
            .get::<PageCache>()
            .cloned()
            .ok_or_else(|| {
                let cause = std::io::Error::other("no page cache in the request's extensions");
                Refusal::text(Error::internal("the pages are wired wrongly", cause))
            })?;
        let head = Head {
            if_none_match: parts.headers.get(header::IF_NONE_MATCH).cloned(),
            restricted: frame.restricted,
        };
        Ok(Self {
            site: site.clone(),
            frame,
            path: parts.uri.path().to_owned(),
            head,
            cache,
        })
    }
}

impl Visit {
    /// The page at this path in the state `serial`, from memory or freshly rendered.
    pub(super) async fn cached(
        &self,
        serial: u64,
        render: impl Future<Output = Result<Page>>,
    ) -> Result<Answer> {
        // What shows a private project is for its reader: it neither comes from what all share nor goes there.
        let key = (self.path.clone(), serial);
        if !saw_private()
            && let Some(page) = self.cache.0.get(&key)
        {
            return Ok(Answer::Page(page));
        }
        let page = Arc::new(render.await?);
        if !saw_private() {
            self.cache.0.insert(key, Arc::clone(&page));
        }
        Ok(Answer::Page(page))
    }

    /// The response for what a handler came to.
    pub(super) fn answer(&self, outcome: Result<Answer>) -> Response {
        match outcome {
            Ok(Answer::Page(page)) => self.head.page(&page),
            Ok(Answer::Moved(path)) => self.head.moved(&path),
            Err(error) => Refusal::text(error).into_response(),
        }
    }
}

impl Head {
    fn page(&self, page: &Page) -> Response {
        let mut response = if self.knows(&page.etag) {
            StatusCode::NOT_MODIFIED.into_response()
        } else {
            Html(page.html.clone()).into_response()
        };
        response
            .headers_mut()
            .insert(header::ETAG, page.etag.clone());
        self.guard(response.headers_mut());
        response
    }

    fn moved(&self, path: &str) -> Response {
        let mut response = StatusCode::MOVED_PERMANENTLY.into_response();
        match HeaderValue::try_from(path) {
            Ok(location) => {
                response.headers_mut().insert(header::LOCATION, location);
            }
            // Paths are percent-encoded before they come here; a path that is no header value leads nowhere.
            Err(_) => *response.status_mut() = StatusCode::NOT_FOUND,
        }
        self.guard(response.headers_mut());
        response
    }

    fn guard(&self, headers: &mut HeaderMap) {
        let fixed: [(HeaderName, &'static str); 4] = [
            (header::CONTENT_SECURITY_POLICY, CONTENT_SECURITY_POLICY),
            (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
            (header::REFERRER_POLICY, "same-origin"),
            (
                header::CACHE_CONTROL,
                if self.restricted {
                    "private, no-cache"
                } else {
                    "public, no-cache"
                },
            ),
        ];
        for (name, value) in fixed {
            headers.insert(name, HeaderValue::from_static(value));
        }
        if self.restricted {
            headers.insert(
                header::VARY,
                HeaderValue::from_static("Authorization, Cookie"),
            );
        }
    }

    /// Whether the browser holds this page already (weak comparison, as for every GET).
    fn knows(&self, etag: &HeaderValue) -> bool {
        let Some(Ok(known)) = self.if_none_match.as_ref().map(HeaderValue::to_str) else {
            return false;
        };
        let Ok(etag) = etag.to_str() else {
            return false;
        };
        known
            .split(',')
            .map(str::trim)
            .any(|tag| tag == "*" || tag.trim_start_matches("W/") == etag)
    }
}

#[cfg(test)]
impl Frame {
    /// The frame of sample pages.
    pub(super) fn sample() -> Self {
        Self {
            site: "https://packages.example.org".to_owned(),
            host: "packages.example.org".to_owned(),
            origin: "packages.example.org/log/1".to_owned(),
            log: "/log/1/".to_owned(),
            restricted: false,
            query: String::new(),
            css: assets::css().path(),
            token: String::new(),
            user: None,
            operates: false,
            js: assets::js().path(),
            icon: assets::icon().path(),
        }
    }
}
