//! What a token alone may not do: the registry asks the person behind it for a passkey, and the client waits and asks
//! again.

use std::time::{Duration, Instant};

use reqwest::Method;
use serde::Deserialize;
use serde_json::Value;

use crate::failure::{Exit, Failure, Result, plain};
use crate::publisher::{read, segment};
use crate::remote::Remote;

/// The header that asks for an approval, or names one.
const HEADER: &str = "countersign-approval";
/// Between two questions.
const INTERVAL: Duration = Duration::from_secs(3);
/// The longest that a person may take, whatever the registry says.
const PATIENCE: Duration = Duration::from_secs(15 * 60);

/// A request that waits for a person.
#[derive(Clone, Deserialize)]
pub struct Request {
    id: String,
    /// What the person compares.
    pub code: String,
    /// The act in words.
    pub what: String,
    /// On what.
    pub on: String,
    /// SHA-256 of the bytes that it is about, where there are any.
    pub digest: Option<String>,
    /// Where the person answers.
    pub url: String,
}

/// What is told while somebody is waited for.
pub enum News<'a> {
    /// Here is what to approve, and where.
    Asked(&'a Request),
    /// There is trouble on the way, and it goes on.
    Trouble(&'a str),
    /// The person has answered, or nobody has in time.
    Over,
}

/// Hears the news.
pub type Asking<'a> = &'a dyn Fn(News<'_>);

/// Asks the registry to do something. Where that takes a person's approval, `ask` hears where it is given; once it is,
/// the same request is sent again with it.
///
/// # Errors
/// As [`Remote::call`]; exit 4 where the person refuses or nobody answers in time.
pub fn act(
    remote: &Remote,
    method: &Method,
    path: &str,
    body: Option<&Value>,
    ask: Asking<'_>,
) -> Result<Value> {
    let send = |header| remote.call_with(method.clone(), path, body, Some((HEADER, header)));
    let failure = match send("ask") {
        Ok(answer) => return Ok(answer),
        Err(failure) => failure,
    };
    let Some(approval) = failure.approval.as_deref() else {
        return Err(failure);
    };
    let mut request: Request = read(approval)?;
    for text in [
        &mut request.code,
        &mut request.what,
        &mut request.on,
        &mut request.url,
    ] {
        *text = plain(text);
    }
    request.digest = request.digest.as_deref().map(plain);
    if !request.id.bytes().all(|byte| byte.is_ascii_graphic()) {
        return Err(failure);
    }
    ask(News::Asked(&request));
    let answered = wait(remote, &request, ask);
    ask(News::Over);
    answered?;
    send(&request.id)
}

fn wait(remote: &Remote, request: &Request, ask: Asking<'_>) -> Result<()> {
    let path = format!("/api/v1/approvals/{}", segment(&request.id));
    let deadline = Instant::now() + PATIENCE;
    let mut troubled = false;
    while Instant::now() < deadline {
        std::thread::sleep(INTERVAL);
        let answer = match remote.call(Method::GET, &path, None) {
            Ok(answer) => answer,
            Err(failure) if failure.exit == Exit::Unreachable => {
                if !troubled {
                    ask(News::Trouble(&failure.message));
                }
                troubled = true;
                continue;
            }
            Err(failure) => return Err(failure),
        };
        troubled = false;
        match answer["state"].as_str() {
            Some("granted") => return Ok(()),
            Some("waiting") => {}
            Some("refused") => {
                return Err(Failure::new(
                    Exit::Refused,
                    "approval-refused",
                    "The person at the browser refused. Nothing was changed.",
                ));
            }
            _ => break,
        }
    }
    Err(Failure::new(
        Exit::Refused,
        "approval-expired",
        "Nobody approved it in time. Nothing was changed.",
    )
    .remedy("Begin anew; a request waits ten minutes, and an approval two for its use."))
}
