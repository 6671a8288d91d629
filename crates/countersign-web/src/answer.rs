//! What answers with stored bytes have in common: validators, caching, `HEAD`.

use bytes::Bytes;
use http::header::{
    ACCESS_CONTROL_ALLOW_ORIGIN, CACHE_CONTROL, CONTENT_LENGTH, CONTENT_TYPE, ETAG, IF_NONE_MATCH,
    VARY, X_CONTENT_TYPE_OPTIONS,
};
use http::{HeaderMap, HeaderValue, Method, Response, StatusCode};

/// How long an answer may be kept, and by whom.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Keep {
    /// The address names the bytes: for ever.
    Forever,
    /// Changes when somebody publishes: ten minutes, then ask again with the ETag.
    Minutes,
    /// Changes with every beat: a few seconds.
    Seconds,
    /// Changes when somebody publishes, and whoever reads it goes by it at once: keep it, and ask each time with the ETag.
    Asking,
}

impl Keep {
    /// Shared caches may keep answers of public instances only.
    pub(crate) fn header(self, public: bool) -> HeaderValue {
        HeaderValue::from_static(match (self, public) {
            (Self::Forever, true) => "public, max-age=31536000, immutable",
            (Self::Forever, false) => "private, max-age=31536000, immutable",
            (Self::Minutes, true) => "max-age=600, public",
            (Self::Minutes, false) => "max-age=60, private",
            (Self::Asking, true) => "no-cache, public",
            (Self::Asking, false) => "no-cache, private",
            (Self::Seconds, true) => "max-age=5, public",
            (Self::Seconds, false) => "max-age=5, private",
        })
    }
}

/// The header that says on what else an answer depends; `None`: on nothing.
pub(crate) fn vary(negotiated: bool, public: bool) -> Option<HeaderValue> {
    match (negotiated, public) {
        (true, true) => Some(HeaderValue::from_static("Accept")),
        (true, false) => Some(HeaderValue::from_static("Accept, Authorization")),
        (false, true) => None,
        (false, false) => Some(HeaderValue::from_static("Authorization")),
    }
}

/// Stored bytes about to be served.
pub(crate) struct Stored<'a> {
    pub(crate) bytes: Bytes,
    /// With its quotes.
    pub(crate) etag: &'a str,
    pub(crate) content_type: HeaderValue,
    pub(crate) keep: Keep,
    /// Whether `Accept` chose this rendering.
    pub(crate) negotiated: bool,
    /// Whether everyone may read this instance.
    pub(crate) public: bool,
}

impl Stored<'_> {
    /// 200 with the bytes, or 304 when the client has them.
    pub(crate) fn answer(self, method: &Method, headers: &HeaderMap) -> Response<Bytes> {
        let fresh = client_has(headers, self.etag);
        let mut response = Response::new(Bytes::new());
        *response.headers_mut() = HeaderMap::with_capacity(16);
        let out = response.headers_mut();
        out.insert(CONTENT_TYPE, self.content_type);
        if let Ok(etag) = HeaderValue::from_str(self.etag) {
            out.insert(ETAG, etag);
        }
        out.insert(CACHE_CONTROL, self.keep.header(self.public));
        if let Some(value) = vary(self.negotiated, self.public) {
            out.insert(VARY, value);
        }
        out.insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
        if self.public {
            out.insert(ACCESS_CONTROL_ALLOW_ORIGIN, HeaderValue::from_static("*"));
        }
        if fresh {
            *response.status_mut() = StatusCode::NOT_MODIFIED;
        } else {
            out.insert(CONTENT_LENGTH, HeaderValue::from(self.bytes.len()));
            if method != Method::HEAD {
                *response.body_mut() = self.bytes;
            }
        }
        response
    }
}

/// Whether `If-None-Match` names this entity tag (weak comparison, lists, `*`).
pub(crate) fn client_has(headers: &HeaderMap, etag: &str) -> bool {
    headers
        .get_all(IF_NONE_MATCH)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .any(|value| names_tag(value, etag))
}

fn names_tag(list: &str, etag: &str) -> bool {
    let opaque = |tag: &str| tag.strip_prefix("W/").unwrap_or(tag).to_owned();
    // Our tags hold no comma, so cutting a foreign tag that does can not make one of ours.
    list.trim() == "*"
        || list == etag
        || list
            .split(',')
            .take(100)
            .any(|tag| opaque(tag.trim()) == opaque(etag))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn entity_tags_are_compared_weakly_and_in_lists() {
        for (list, fresh) in [
            ("\"abc\"", true),
            ("W/\"abc\"", true),
            ("\"x\", W/\"abc\" , \"y\"", true),
            ("*", true),
            ("abc", false),
            ("\"ab\"", false),
            ("", false),
            ("\"x,\"", false),
        ] {
            let mut headers = HeaderMap::new();
            headers.insert(IF_NONE_MATCH, list.parse().unwrap());
            assert_eq!(client_has(&headers, "\"abc\""), fresh, "{list}");
        }
        assert!(!client_has(&HeaderMap::new(), "\"abc\""));
    }
}
