//! Artifacts and what stands beside them: metadata and offline proof.

use std::ops::Range;
use std::sync::Arc;

use axum::Router;
use axum::body::Body;
use axum::extract::{Path, State};
use axum::response::Response;
use axum::routing::get;
use bytes::Bytes;
use countersign_formats::Ecosystem;
use countersign_registry::{Error, Kind, ServedFile};
use http::header::{
    ACCEPT_RANGES, CACHE_CONTROL, CONTENT_LENGTH, CONTENT_RANGE, ETAG, IF_RANGE, RANGE,
};
use http::{HeaderMap, HeaderValue, Method, StatusCode};

use crate::answer::{Keep, Stored};
use crate::body::SizedStream;
use crate::error::{Refusal, shown};
use crate::request_log::Noted;
use crate::site::Site;

/// Longest `Range` header looked at, in bytes.
const LONGEST_RANGE: usize = 256;

pub(super) fn routes() -> Router<Site> {
    Router::new().route("/files/{sha256}/{filename}", get(file))
}

/// The file of `rest` (`sha256/filename`) when its bytes lie in memory.
pub(crate) fn file_from_memory(
    site: &Site,
    rest: &str,
    method: &Method,
    headers: &HeaderMap,
) -> Option<http::Response<Bytes>> {
    let (sha256, filename) = rest.split_once('/')?;
    // Encoded names take the long way, where the router decodes them.
    if filename.is_empty() || filename.contains(['/', '%']) {
        return None;
    }
    let file = site.registry.cached_file(sha256, filename)?;
    from_memory(site, &file, method, headers)
}

/// A file when its bytes lie in memory.
pub(super) fn from_memory(
    site: &Site,
    file: &ServedFile,
    method: &Method,
    headers: &HeaderMap,
) -> Option<http::Response<Bytes>> {
    let bytes = file.memory.clone()?;
    let (response, range) = head(site, file, method, headers);
    count(site, file, method, &response);
    Some(response.map(|_| body_of(&bytes, range)))
}

async fn file(
    State(site): State<Site>,
    Path((sha256, filename)): Path<(String, String)>,
    method: Method,
    headers: HeaderMap,
) -> Result<Response, Refusal> {
    if !names_a_file(&sha256, &filename) {
        return Err(Refusal::text(unknown(&filename)));
    }
    let mut noted = Noted {
        filename: Some(filename.clone()),
        ..Noted::default()
    };
    let mut response = if let Some(of) = filename.strip_suffix(".metadata") {
        let document = site
            .registry
            .metadata(&sha256, of)
            .await
            .map_err(Refusal::text)?;
        // Installers take it for text whatever it is called, browsers must not take it for anything else.
        let stored = beside(&site, &document, "text/plain; charset=utf-8", Keep::Forever);
        stored.answer(&method, &headers).map(Body::from)
    } else if let Some(of) = filename.strip_suffix(".tlog-proof") {
        let document = site
            .registry
            .proof(&sha256, of)
            .await
            .map_err(Refusal::text)?;
        // The proof stays good for ever, but a later rendering may carry more cosignatures.
        let stored = beside(&site, &document, "text/plain; charset=utf-8", Keep::Minutes);
        stored.answer(&method, &headers).map(Body::from)
    } else {
        let file = site
            .registry
            .file(&sha256, &filename)
            .await
            .map_err(Refusal::text)?;
        noted.ecosystem = Ecosystem::of_filename(&filename).map(Ecosystem::as_str);
        whole_or_part(&site, &file, &method, &headers)
            .await
            .map_err(Refusal::text)?
    };
    response.extensions_mut().insert(noted);
    Ok(response)
}

/// Whether an address can be one of ours: a digest as we write them, and a name that a database takes for text.
fn names_a_file(sha256: &str, filename: &str) -> bool {
    sha256.len() == 64
        && sha256
            .bytes()
            .all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'))
        && !filename.chars().any(char::is_control)
}

fn unknown(filename: &str) -> Error {
    let message = format!(
        "There is no file {} with this digest here.",
        shown(filename)
    );
    Error::new(Kind::NotFound, "file-unknown", message).remedy(
        "Take the link from the project's index: /files/, 64 lower-case hexadecimal digits, the file's name.",
    )
}

fn beside<'a>(
    site: &Site,
    document: &'a countersign_registry::Document,
    content_type: &'static str,
    keep: Keep,
) -> Stored<'a> {
    Stored {
        bytes: document.bytes.clone(),
        etag: &document.etag,
        content_type: HeaderValue::from_static(content_type),
        keep,
        negotiated: false,
        public: site.is_public(),
    }
}

/// A file, or the part of it that `Range` asks for.
pub(super) async fn whole_or_part(
    site: &Site,
    file: &Arc<ServedFile>,
    method: &Method,
    headers: &HeaderMap,
) -> Result<Response, Error> {
    let (response, range) = head(site, file, method, headers);
    if count(site, file, method, &response) {
        site.registry.note_downloader(file).await;
    }
    let body = match (range, &file.memory) {
        (None, _) => Body::empty(),
        (range, Some(bytes)) => Body::from(body_of(bytes, range)),
        (Some(range), None) => {
            let length = range.end - range.start;
            let stream = site.registry.open_file(file, range).await?;
            Body::new(SizedStream::new(stream, length))
        }
    };
    Ok(response.map(|_| body))
}

fn body_of(bytes: &Bytes, range: Option<Range<u64>>) -> Bytes {
    let place = |at: u64| usize::try_from(at).unwrap_or(usize::MAX).min(bytes.len());
    range.map_or_else(Bytes::new, |range| {
        bytes.slice(place(range.start)..place(range.end))
    })
}

/// The answer's head, and the bytes that its body must hold (`None`: no body).
fn head(
    site: &Site,
    file: &ServedFile,
    method: &Method,
    headers: &HeaderMap,
) -> (http::Response<Bytes>, Option<Range<u64>>) {
    let mut etag = String::with_capacity(66);
    etag.push('"');
    etag.push_str(&file.sha256);
    etag.push('"');
    let stored = Stored {
        bytes: Bytes::new(),
        etag: &etag,
        // Whatever it is: no browser shall show or unpack it.
        content_type: HeaderValue::from_static("application/octet-stream"),
        keep: Keep::Forever,
        negotiated: false,
        public: site.is_public(),
    };
    let mut response = stored.answer(method, headers);
    let not_modified = response.status() == StatusCode::NOT_MODIFIED;
    // RFC 9110 gives `Range` a meaning for GET only.
    let asked = if not_modified || method != Method::GET {
        Asked::Whole
    } else {
        asked(headers, &etag, file.size)
    };
    let out = response.headers_mut();
    out.insert(ACCEPT_RANGES, HeaderValue::from_static("bytes"));
    let range = match asked {
        _ if not_modified => return (response, None),
        Asked::Whole => {
            out.insert(CONTENT_LENGTH, HeaderValue::from(file.size));
            0..file.size
        }
        Asked::Part(range) => {
            let place = format!("bytes {}-{}/{}", range.start, range.end - 1, file.size);
            out.insert(
                CONTENT_RANGE,
                HeaderValue::from_str(&place).expect("digits and punctuation"),
            );
            out.insert(CONTENT_LENGTH, HeaderValue::from(range.end - range.start));
            *response.status_mut() = StatusCode::PARTIAL_CONTENT;
            range
        }
        Asked::Unsatisfiable => {
            let size = format!("bytes */{}", file.size);
            out.insert(
                CONTENT_RANGE,
                HeaderValue::from_str(&size).expect("digits and punctuation"),
            );
            out.insert(CONTENT_LENGTH, HeaderValue::from(0));
            // This refusal is not the file: nobody shall keep it in the file's place.
            out.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
            out.remove(ETAG);
            *response.status_mut() = StatusCode::RANGE_NOT_SATISFIABLE;
            return (response, None);
        }
    };
    let range = (method != Method::HEAD).then_some(range);
    (response, range)
}

/// Counts whole downloads; parts are installers looking at an archive's directory. Whether it was one.
fn count<B>(site: &Site, file: &ServedFile, method: &Method, response: &http::Response<B>) -> bool {
    let whole = method == Method::GET && response.status() == StatusCode::OK;
    if whole {
        site.registry.count_download(file);
        site.meters.downloaded();
    }
    whole
}

#[derive(Debug, PartialEq, Eq)]
enum Asked {
    Whole,
    Part(Range<u64>),
    Unsatisfiable,
}

/// What `Range` and `If-Range` ask of a file of `size` bytes. Several ranges, other units and what can not be read
/// get the whole file, as RFC 9110 allows.
fn asked(headers: &HeaderMap, etag: &str, size: u64) -> Asked {
    let Some(range) = headers.get(RANGE).and_then(|value| value.to_str().ok()) else {
        return Asked::Whole;
    };
    // A date or another tag: the client's part may be of another file.
    if headers
        .get(IF_RANGE)
        .is_some_and(|condition| condition.as_bytes() != etag.as_bytes())
    {
        return Asked::Whole;
    }
    if range.len() > LONGEST_RANGE {
        return Asked::Whole;
    }
    parse_range(range, size).unwrap_or(Asked::Whole)
}

fn parse_range(range: &str, size: u64) -> Option<Asked> {
    let (unit, set) = range.split_once('=')?;
    if !unit.trim().eq_ignore_ascii_case("bytes") || set.contains(',') {
        return None;
    }
    let (first, last) = set.trim().split_once('-')?;
    let number = |digits: &str| -> Option<u64> {
        // More digits than u64 holds is beyond any file.
        let all_digits = !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit());
        all_digits.then(|| digits.parse().unwrap_or(u64::MAX))
    };
    let (first, last) = (first.trim(), last.trim());
    let part = if first.is_empty() {
        let suffix = number(last)?;
        size.saturating_sub(suffix)..size
    } else {
        let first = number(first)?;
        let last = if last.is_empty() {
            u64::MAX
        } else {
            number(last)?
        };
        if last < first {
            return None;
        }
        first..last.saturating_add(1).min(size)
    };
    Some(if part.start < part.end {
        Asked::Part(part)
    } else {
        Asked::Unsatisfiable
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn single_ranges_are_served_and_everything_else_is_the_whole_file() {
        for (range, expected) in [
            ("bytes=0-0", Asked::Part(0..1)),
            ("bytes=0-99", Asked::Part(0..100)),
            ("bytes=0-1000", Asked::Part(0..100)),
            ("bytes=99-", Asked::Part(99..100)),
            ("bytes=-1", Asked::Part(99..100)),
            ("bytes=-1000", Asked::Part(0..100)),
            ("BYTES = 5 - 6", Asked::Part(5..7)),
            ("bytes=5-99999999999999999999999", Asked::Part(5..100)),
            ("bytes=100-", Asked::Unsatisfiable),
            ("bytes=99999999999999999999999-", Asked::Unsatisfiable),
            ("bytes=-0", Asked::Unsatisfiable),
            ("bytes=0-1,5-6", Asked::Whole),
            ("bytes=6-5", Asked::Whole),
            ("bytes=-", Asked::Whole),
            ("bytes=a-b", Asked::Whole),
            ("bytes=+1-2", Asked::Whole),
            ("lines=0-1", Asked::Whole),
            ("", Asked::Whole),
        ] {
            assert_eq!(
                parse_range(range, 100).unwrap_or(Asked::Whole),
                expected,
                "{range}"
            );
        }
        assert_eq!(parse_range("bytes=0-", 0), Some(Asked::Unsatisfiable));
    }

    #[test]
    fn a_range_of_another_version_gets_the_whole_file() {
        let mut headers = HeaderMap::new();
        headers.insert(RANGE, "bytes=0-1".parse().unwrap());
        for (condition, expected) in [
            ("\"a\"", Asked::Part(0..2)),
            ("\"b\"", Asked::Whole),
            ("W/\"a\"", Asked::Whole),
            ("Sat, 21 Nov 2026 00:00:00 GMT", Asked::Whole),
        ] {
            headers.insert(IF_RANGE, condition.parse().unwrap());
            assert_eq!(asked(&headers, "\"a\"", 100), expected, "{condition}");
        }
    }
}
