//! One wide line per request, through `tracing`'s target `request`. Paths are logged without their query, headers
//! other than the user agent not at all, and secrets never.

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
        path = line.path,
        status = line.response.status().as_u16(),
        bytes,
        micros,
        remote = line.address.map(tracing::field::display),
        agent = agent.as_deref(),
        actor = actor.as_deref(),
        ecosystem = *ecosystem,
        project = project.as_deref(),
        filename = filename.as_deref(),
        code = code.as_deref(),
        leaf = *leaf,
    );
}
