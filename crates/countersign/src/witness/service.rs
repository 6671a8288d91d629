//! The witness's HTTP: small, bounded, and every signature on a thread that may block.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use countersign_trust::witness::{AddCheckpoint, MAX_REQUEST_BYTES, Refusal, SignSubtree};
use http_body_util::{BodyExt, Full, LengthLimitError, Limited};
use hyper::body::{Bytes, Incoming};
use hyper::header::{ALLOW, CACHE_CONTROL, CONTENT_TYPE, HeaderValue};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::server::graceful::GracefulShutdown;
use serde::Serialize;
use tokio::net::TcpListener;
use tokio::sync::Semaphore;
use tokio::task::spawn_blocking;

use super::state::{States, Unsigned};

/// How many connections there are at most; further ones wait.
const MOST_CONNECTIONS: usize = 512;
/// How many signatures are made at once.
const MOST_AT_WORK: usize = 16;
/// How long a client may take for a request's head, and for the next one on a connection that is kept.
const HEAD: Duration = Duration::from_secs(30);
/// How long a client may take for a request's body.
const BODY: Duration = Duration::from_secs(10);
/// How long requests that have begun may take after the end was asked for.
const GRACE: Duration = Duration::from_secs(10);

const TEXT: &str = "text/plain; charset=utf-8";

/// What happened to one request of a log.
#[derive(Debug, Serialize)]
pub struct Record {
    /// Seconds since 1970 UTC.
    pub time: u64,
    /// What was asked: `add-checkpoint` or `sign-subtree`.
    pub call: &'static str,
    /// The log, as far as the request was understood.
    pub origin: Option<String>,
    /// Size of the checkpoint, as far as the request was understood.
    pub size: Option<u64>,
    /// The HTTP status.
    pub status: u16,
    /// Why not, where it was refused.
    pub why: Option<String>,
    /// How long it took.
    pub milliseconds: u64,
}

/// Hears about each request.
pub type Hear = Arc<dyn Fn(&Record) + Send + Sync>;

struct Service {
    states: States,
    hear: Hear,
    at_work: Arc<Semaphore>,
}

type Answer = Response<Full<Bytes>>;

/// Answers until `end` is done, then finishes what has begun.
pub async fn serve(
    listener: TcpListener,
    states: States,
    hear: Hear,
    end: impl Future<Output = ()>,
) {
    let service = Arc::new(Service {
        states,
        hear,
        at_work: Arc::new(Semaphore::new(MOST_AT_WORK)),
    });
    let places = Arc::new(Semaphore::new(MOST_CONNECTIONS));
    let graceful = GracefulShutdown::new();
    let mut end = std::pin::pin!(end);
    loop {
        let accepted = async {
            // A place first: who has to wait waits in the system's queue. It is never closed.
            let place = places.clone().acquire_owned().await.ok();
            (listener.accept().await, place)
        };
        let (accepted, place) = tokio::select! {
            accepted = accepted => accepted,
            () = &mut end => break,
        };
        let stream = match accepted {
            Ok((stream, _)) => stream,
            Err(_) => {
                // Out of file descriptors, or a connection that is gone already: not a reason to stop.
                tokio::time::sleep(Duration::from_millis(50)).await;
                continue;
            }
        };
        // Answers are one short packet each; that it can not be switched off costs time only.
        let _ = stream.set_nodelay(true);
        let service = service.clone();
        let answer = service_fn(move |request| {
            let service = service.clone();
            async move { Ok::<_, Infallible>(service.answer(request).await) }
        });
        let connection = http1::Builder::new()
            .timer(TokioTimer::new())
            .header_read_timeout(HEAD)
            .max_buf_size(64 << 10)
            .serve_connection(TokioIo::new(stream), answer);
        let connection = graceful.watch(connection);
        tokio::spawn(async move {
            // How a connection ends is the client's matter.
            let _ = connection.await;
            drop(place);
        });
    }
    drop(listener);
    tokio::select! {
        () = graceful.shutdown() => {}
        () = tokio::time::sleep(GRACE) => {}
    }
}

impl Service {
    async fn answer(self: Arc<Self>, request: Request<Incoming>) -> Answer {
        let path = request.uri().path().to_owned();
        let reads = matches!(*request.method(), Method::GET | Method::HEAD);
        let call = match path.as_str() {
            "/add-checkpoint" => "add-checkpoint",
            "/sign-subtree" if self.states.witness().signs_subtrees() => "sign-subtree",
            _ if !reads => return text(StatusCode::NOT_FOUND, "no such call\n".to_owned()),
            "/" => return text(StatusCode::OK, self.about()),
            "/healthz" => return text(StatusCode::OK, "ok\n".to_owned()),
            path => return self.latest(path),
        };
        if *request.method() != Method::POST {
            let mut answer = text(StatusCode::METHOD_NOT_ALLOWED, "POST it\n".to_owned());
            answer
                .headers_mut()
                .insert(ALLOW, HeaderValue::from_static("POST"));
            return answer;
        }
        let began = Instant::now();
        let (mut record, answer) = match read(request).await {
            Ok(body) => self.clone().decided(call, body).await,
            Err((status, why)) => (
                Record::new(call, status, Some(why.clone())),
                text(status, format!("{why}\n")),
            ),
        };
        record.milliseconds = u64::try_from(began.elapsed().as_millis()).unwrap_or(u64::MAX);
        (self.hear)(&record);
        answer
    }

    /// Decides on a thread that may wait for a lock and for the disk.
    async fn decided(self: Arc<Self>, call: &'static str, body: Bytes) -> (Record, Answer) {
        let failed = |why: String| {
            let status = StatusCode::INTERNAL_SERVER_ERROR;
            (
                Record::new(call, status, Some(why)),
                text(status, "the witness failed; ask again\n".to_owned()),
            )
        };
        // Never closed; and were it, there would be no signature.
        let Ok(permit) = self.at_work.clone().acquire_owned().await else {
            return failed("no longer at work".to_owned());
        };
        let service = self.clone();
        let work = spawn_blocking(move || {
            // Held until the work is done, whether or not the client still waits for it.
            let _permit = permit;
            match call {
                "sign-subtree" => service.subtree(&body),
                _ => service.checkpoint(&body),
            }
        });
        match work.await {
            Ok(decided) => decided,
            Err(error) => failed(error.to_string()),
        }
    }

    fn checkpoint(&self, body: &[u8]) -> (Record, Answer) {
        const CALL: &str = "add-checkpoint";
        let request = match AddCheckpoint::parse(body) {
            Ok(request) => request,
            Err(refusal) => return refused(CALL, None, &refusal),
        };
        let about = Some((
            request.checkpoint().origin.as_str(),
            request.checkpoint().size,
        ));
        match self.states.add_checkpoint(&request, seconds) {
            Ok(lines) => signed(CALL, about, lines),
            Err(Unsigned::Refused(refusal)) => refused(CALL, about, &refusal),
            Err(Unsigned::NotWritten(error)) => {
                let status = StatusCode::INTERNAL_SERVER_ERROR;
                let why = format!("the state can not be written: {error}");
                (
                    Record::new(CALL, status, Some(why)).about(about),
                    text(status, "the state can not be written\n".to_owned()),
                )
            }
        }
    }

    fn subtree(&self, body: &[u8]) -> (Record, Answer) {
        const CALL: &str = "sign-subtree";
        let request = match SignSubtree::parse(body) {
            Ok(request) => request,
            Err(refusal) => return refused(CALL, None, &refusal),
        };
        let about = Some((
            request.checkpoint().origin.as_str(),
            request.checkpoint().size,
        ));
        match self.states.sign_subtree(&request) {
            Ok(line) => signed(CALL, about, line),
            Err(refusal) => refused(CALL, about, &refusal),
        }
    }

    fn latest(&self, path: &str) -> Answer {
        let hash = path
            .strip_prefix('/')
            .and_then(|path| path.strip_suffix("/checkpoint"));
        match hash.and_then(|hash| self.states.latest(hash)) {
            Some(latest) => text(StatusCode::OK, latest.note().to_owned()),
            None => text(StatusCode::NOT_FOUND, "nothing was cosigned\n".to_owned()),
        }
    }

    fn about(&self) -> String {
        let keys = self.states.witness().verifiers();
        let keys: String = keys.iter().map(|key| format!("{key}\n")).collect();
        format!(
            "A witness of {} logs (c2sp.org/tlog-witness). Its keys:\n{keys}",
            self.states.logs()
        )
    }
}

impl Record {
    fn new(call: &'static str, status: StatusCode, why: Option<String>) -> Self {
        Self {
            time: seconds(),
            call,
            origin: None,
            size: None,
            status: status.as_u16(),
            why,
            milliseconds: 0,
        }
    }

    fn about(self, about: Option<(&str, u64)>) -> Self {
        Self {
            origin: about.map(|(origin, _)| origin.chars().take(255).collect()),
            size: about.map(|(_, size)| size),
            ..self
        }
    }
}

fn signed(call: &'static str, about: Option<(&str, u64)>, lines: String) -> (Record, Answer) {
    let record = Record::new(call, StatusCode::OK, None).about(about);
    (record, text(StatusCode::OK, lines))
}

fn refused(call: &'static str, about: Option<(&str, u64)>, refusal: &Refusal) -> (Record, Answer) {
    let status =
        StatusCode::from_u16(refusal.status()).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    let record = Record::new(call, status, Some(refusal.to_string())).about(about);
    let mut answer = text(status, refusal.body());
    let kind = HeaderValue::from_static(refusal.content_type());
    answer.headers_mut().insert(CONTENT_TYPE, kind);
    (record, answer)
}

async fn read(request: Request<Incoming>) -> Result<Bytes, (StatusCode, String)> {
    let body = Limited::new(request.into_body(), MAX_REQUEST_BYTES).collect();
    match tokio::time::timeout(BODY, body).await {
        Ok(Ok(body)) => Ok(body.to_bytes()),
        Ok(Err(error)) if error.is::<LengthLimitError>() => Err((
            StatusCode::PAYLOAD_TOO_LARGE,
            format!("longer than {MAX_REQUEST_BYTES} bytes"),
        )),
        Ok(Err(error)) => Err((
            StatusCode::BAD_REQUEST,
            format!("the body broke off: {error}"),
        )),
        Err(_) => Err((
            StatusCode::REQUEST_TIMEOUT,
            format!("the body took longer than {} s", BODY.as_secs()),
        )),
    }
}

fn text(status: StatusCode, body: String) -> Answer {
    let mut answer = Response::new(Full::new(Bytes::from(body)));
    *answer.status_mut() = status;
    let headers = answer.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static(TEXT));
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-cache"));
    answer
}

/// Seconds since 1970 UTC; 0, with which nothing is signed, for a clock before that.
fn seconds() -> u64 {
    SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .map_or(0, |since| since.as_secs())
}
