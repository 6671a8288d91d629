//! One wide line per request, through `tracing`'s target `request`. Paths are logged without their query, headers
//! other than the user agent not at all, and secrets never.

use std::borrow::Cow;
use std::net::IpAddr;
use std::time::Duration;

use http::header::USER_AGENT;
use http::{HeaderMap, Method, Response};
use http_body::Body as _;

use crate::body::AnswerBody;

/// Longest user agent logged, in bytes.
const LONGEST_AGENT: usize = 200;

/// What a handler knows about its request; handlers put it into the extensions of their response.
#[derive(Clone, Debug, Default)]
pub(crate) struct Noted {
    /// The caller's user name.
    pub(crate) actor: Option<String>,
    /// The ecosystem asked about.
    pub(crate) ecosystem: Option<&'static str>,
    /// The project asked about.
    pub(crate) project: Option<String>,
    /// The file asked about.
    pub(crate) filename: Option<String>,
    /// The error's code.
    pub(crate) code: Option<String>,
    /// The leaf that was made.
    pub(crate) leaf: Option<u64>,
}

/// `text` with the random part of everything that looks like a token of ours (`csgn_`, a kind, `_`, letters and digits)
/// left out: links and mistaken addresses carry them. A hint, whose random part is cut already, stays as it is.
pub(crate) fn masked(text: &str) -> Cow<'_, str> {
    const MARK: &str = "csgn_";
    let mut out = String::new();
    let mut rest = text;
    while let Some(at) = rest.find(MARK) {
        let (before, from) = rest.split_at(at + MARK.len());
        out.push_str(before);
        rest = from;
        let [kind, b'_', secret @ ..] = from.as_bytes() else {
            continue;
        };
        if !kind.is_ascii_alphanumeric() || !secret.first().is_some_and(u8::is_ascii_alphanumeric) {
            continue;
        }
        let (kind, secret) = from.split_at(2);
        out.push_str(kind);
        out.push('…');
        // Over underscores too, or a second token glued to the first would stay.
        rest = secret.trim_start_matches(|c: char| c.is_ascii_alphanumeric() || c == '_');
    }
    if out.is_empty() {
        return Cow::Borrowed(text);
    }
    out.push_str(rest);
    Cow::Owned(out)
}

/// Whether a text holds what looks like a whole token.
pub(crate) fn holds_token(text: &str) -> bool {
    masked(text) != text
}

/// All that stands in the line.
pub(crate) struct Line<'a> {
    pub(crate) id: &'a str,
    pub(crate) method: &'a Method,
    pub(crate) path: &'a str,
    pub(crate) headers: &'a HeaderMap,
    pub(crate) address: Option<IpAddr>,
    pub(crate) response: &'a Response<AnswerBody>,
    pub(crate) took: Duration,
    pub(crate) noted: Noted,
}

/// Whether anybody listens; asked once per request, costs an atomic read.
pub(crate) fn is_on() -> bool {
    tracing::enabled!(target: "request", tracing::Level::INFO)
}

/// Writes the line. `bytes` is the length announced; `micros` ends when the answer's head is ready.
pub(crate) fn write(line: &Line<'_>) {
    let agent = line.headers.get(USER_AGENT).map(|agent| {
        let agent = agent.as_bytes();
        String::from_utf8_lossy(&agent[..agent.len().min(LONGEST_AGENT)]).into_owned()
    });
    let Noted {
        actor,
        ecosystem,
        project,
        filename,
        code,
        leaf,
    } = &line.noted;
    let bytes = line.response.body().size_hint().exact();
    let micros = u64::try_from(line.took.as_micros()).unwrap_or(u64::MAX);
    tracing::info!(
        target: "request",
        id = line.id,
        method = line.method.as_str(),
        path = &*masked(line.path),
        status = line.response.status().as_u16(),
        bytes,
        micros,
        remote = line.address.map(tracing::field::display),
        agent = agent.as_deref(),
        actor = actor.as_deref(),
        ecosystem = *ecosystem,
        project = project.as_deref().map(masked).as_deref(),
        filename = filename.as_deref().map(masked).as_deref(),
        code = code.as_deref(),
        leaf = *leaf,
    );
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tokens_are_masked_wherever_they_stand_and_hints_are_not() {
        for (text, expected) in [
            ("/enrol/csgn_s_Abc123", "/enrol/csgn_s_…"),
            ("csgn_u_Abc123csgn_w_x/9", "csgn_u_…/9"),
            ("/a/csgn_u_A1/csgn_w_B2?é", "/a/csgn_u_…/csgn_w_…?é"),
            ("csgn_csgn_u_A1", "csgn_csgn_u_…"),
            ("csgn_u_…x7Qa", "csgn_u_…x7Qa"),
            ("csgn_", "csgn_"),
            ("csgn_é_a", "csgn_é_a"),
            ("/project/pypi/csgn/", "/project/pypi/csgn/"),
        ] {
            assert_eq!(masked(text), expected);
            assert_eq!(holds_token(text), text != expected, "{text}");
        }
    }
}
