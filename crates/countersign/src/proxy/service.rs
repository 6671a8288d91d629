//! The proxy over HTTP, in the dialects of the clients. A refusal is shown by each client in another way: npm prints the
//! `error` of a JSON body, cargo the body, uv and pnpm the reason behind the status, pip nothing of an index that it can
//! not read but its content type.

use std::convert::Infallible;
use std::io::Read;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use countersign_formats::negotiate::{SimpleType, simple_type};
use countersign_formats::npm::name::PackageName;
use countersign_formats::{Ecosystem, Limits, cargo, format, pypi};
use countersign_trust::digest::Hasher;
use hyper::body::{Body as HttpBody, Bytes, Frame, Incoming, SizeHint};
use hyper::ext::ReasonPhrase;
use hyper::header::{
    ACCEPT, AUTHORIZATION, CACHE_CONTROL, CONTENT_TYPE, ETAG, HeaderValue, IF_NONE_MATCH,
    USER_AGENT, VARY, WWW_AUTHENTICATE,
};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::server::graceful::GracefulShutdown;
use serde_json::json;
use tokio::net::TcpListener;
use tokio::sync::{Semaphore, mpsc};

use super::page::{Entry, LeftOut};
use super::session::Trouble;
use super::{Bytestream, Proxy, Refused, Served, whose};
use crate::failure::{Exit, Failure, plain};

/// Connections at a time.
const MOST_CONNECTIONS: usize = 256;
/// For a request's head.
const HEAD: Duration = Duration::from_secs(20);
/// For what has begun, once the end has come.
const GRACE: Duration = Duration::from_secs(3);
/// The bytes that are held back until all are verified.
const HELD_BACK: usize = 64 << 10;

/// A body that is there, or comes.
pub enum Body {
    /// All of it.
    Whole(Option<Bytes>),
    /// Piece by piece; an error ends the connection, so that no client takes what it got for a file.
    Pieces(mpsc::Receiver<std::io::Result<Bytes>>, Option<u64>),
}

impl HttpBody for Body {
    type Data = Bytes;
    type Error = std::io::Error;

    fn poll_frame(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, std::io::Error>>> {
        match self.get_mut() {
            Self::Whole(bytes) => Poll::Ready(bytes.take().map(|bytes| Ok(Frame::data(bytes)))),
            Self::Pieces(pieces, _) => pieces
                .poll_recv(context)
                .map(|piece| piece.map(|piece| piece.map(Frame::data))),
        }
    }

    fn is_end_stream(&self) -> bool {
        matches!(self, Self::Whole(None))
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            Self::Whole(bytes) => {
                SizeHint::with_exact(bytes.as_ref().map_or(0, |bytes| bytes.len() as u64))
            }
            Self::Pieces(_, Some(length)) => SizeHint::with_exact(*length),
            Self::Pieces(_, None) => SizeHint::default(),
        }
    }
}

type Answer = Response<Body>;

/// What is asked for.
#[derive(Debug, PartialEq, Eq)]
enum Ask {
    About,
    Healthy,
    Config,
    Page(Ecosystem, String),
    /// A file of a project by its name; its digest, where the address has it; whether its metadata is meant.
    File(Ecosystem, String, String, Option<String>, bool),
}

/// Reads an address.
fn ask(path: &str) -> Result<Option<Ask>, Failure> {
    let wrong = |refused: countersign_formats::Rejection| {
        Failure::new(Exit::Usage, refused.code, refused.message)
    };
    let decode = |text: &str| countersign_formats::npm::name::decode(text).map_err(wrong);
    Ok(Some(match path {
        "/" => Ask::About,
        "/healthz" => Ask::Healthy,
        "/cargo/index/config.json" => Ask::Config,
        _ => {
            if let Some(name) = path.strip_prefix("/pypi/simple/") {
                let name = name.strip_suffix('/').unwrap_or(name);
                if name.is_empty() || name.contains('/') {
                    return Ok(None);
                }
                let key = format(Ecosystem::Pypi)
                    .name_key(&decode(name)?)
                    .map_err(wrong)?;
                Ask::Page(Ecosystem::Pypi, key.to_string())
            } else if let Some(rest) = path.strip_prefix("/files/") {
                let Some((sha256, name)) = rest.split_once('/') else {
                    return Ok(None);
                };
                let name = decode(&name.replace("%2B", "+").replace("%2b", "+"))?;
                let (name, metadata) = match name.strip_suffix(".metadata") {
                    Some(name) => (name.to_owned(), true),
                    None => (name, false),
                };
                // What a registry takes is its own choice; here only the project is read off.
                let limits = Limits {
                    strict_sdist_name: false,
                    allow_plain_linux: true,
                    ..Limits::default()
                };
                let parsed = pypi::filename::parse(&name, &limits).map_err(wrong)?;
                let key = parsed.name_key().to_string();
                Ask::File(
                    Ecosystem::Pypi,
                    key,
                    name,
                    Some(sha256.to_owned()),
                    metadata,
                )
            } else if let Some(rest) = path.strip_prefix("/cargo/dl/") {
                let mut parts = rest.split('/');
                let (Some(name), Some(version), Some("download"), None) =
                    (parts.next(), parts.next(), parts.next(), parts.next())
                else {
                    return Ok(None);
                };
                let key = format(Ecosystem::Cargo).name_key(name).map_err(wrong)?;
                let file = format!("{name}-{}.crate", version.replace("%2B", "+"));
                Ask::File(Ecosystem::Cargo, key.to_string(), file, None, false)
            } else if let Some(place) = path.strip_prefix("/cargo/index/") {
                let Some(name) = cargo::name::of_index_path(place) else {
                    return Ok(None);
                };
                let key = format(Ecosystem::Cargo).name_key(name).map_err(wrong)?;
                Ask::Page(Ecosystem::Cargo, key.to_string())
            } else if let Some(raw) = path.strip_prefix("/npm/") {
                if raw.starts_with('-') {
                    return Ok(None);
                }
                let (name, rest) = PackageName::from_path(raw).map_err(wrong)?;
                let key = name.key().to_string();
                match rest.filter(|rest| !rest.is_empty()) {
                    None => Ask::Page(Ecosystem::Npm, key),
                    Some(rest) => match rest.strip_prefix("-/") {
                        Some(file) if !file.contains('/') => {
                            Ask::File(Ecosystem::Npm, key, decode(file)?, None, false)
                        }
                        _ => return Ok(None),
                    },
                }
            } else {
                return Ok(None);
            }
        }
    }))
}

/// Answers until `end` is done, then finishes what has begun. `base` is the address without a slash at the end.
pub async fn serve(
    listener: TcpListener,
    proxy: Arc<Proxy>,
    base: String,
    end: impl Future<Output = ()>,
) {
    let places = Arc::new(Semaphore::new(MOST_CONNECTIONS));
    let graceful = GracefulShutdown::new();
    let base: Arc<str> = base.into();
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
        let Ok((stream, _)) = accepted else {
            // Out of file descriptors, or a connection that is gone already: not a reason to stop.
            tokio::time::sleep(Duration::from_millis(50)).await;
            continue;
        };
        // That it can not be switched off costs time only.
        let _ = stream.set_nodelay(true);
        let (proxy, base) = (proxy.clone(), base.clone());
        let answer = service_fn(move |request| {
            let (proxy, base) = (proxy.clone(), base.clone());
            async move { Ok::<_, Infallible>(answer(proxy, &base, request).await) }
        });
        let connection = http1::Builder::new()
            .timer(TokioTimer::new())
            .header_read_timeout(HEAD)
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

/// The names by which a loopback address may be asked: a page in a browser that makes a name of its own point here must
/// not read through the proxy.
fn is_meant(request: &Request<Incoming>, base: &str) -> bool {
    let host = request.headers().get(hyper::header::HOST);
    let Some(host) = host.and_then(|host| host.to_str().ok()) else {
        return false;
    };
    let bare = host.rsplit_once(':').map_or(host, |(host, _)| host);
    let own = base.split_once("://").map_or(base, |(_, rest)| rest);
    host == own || ["localhost", "127.0.0.1", "[::1]"].contains(&bare)
}

async fn answer(proxy: Arc<Proxy>, base: &str, request: Request<Incoming>) -> Answer {
    let path = request.uri().path().to_owned();
    if !is_meant(&request, base) {
        return text(StatusCode::FORBIDDEN, "this address is not the proxy's\n");
    }
    if !matches!(*request.method(), Method::GET | Method::HEAD) {
        return text(
            StatusCode::METHOD_NOT_ALLOWED,
            "the proxy is for reading; publish to the registry itself\n",
        );
    }
    let head = *request.method() == Method::HEAD;
    let login = request.headers().get(AUTHORIZATION).cloned();
    let answer = match ask(&path) {
        Ok(Some(ask)) => answered(&proxy, base, &request, ask, login.as_ref(), head).await,
        Ok(None) => {
            return text(
                StatusCode::NOT_FOUND,
                "the proxy does not pass this on: nothing signs it\n",
            );
        }
        Err(failure) => Err(failure.into()),
    };
    answer.unwrap_or_else(|trouble: Trouble| {
        let refused = proxy.refuse(&path, trouble);
        refusal(&path, &request, &refused)
    })
}

async fn answered(
    proxy: &Arc<Proxy>,
    base: &str,
    request: &Request<Incoming>,
    ask: Ask,
    login: Option<&HeaderValue>,
    head: bool,
) -> Result<Answer, Trouble> {
    match ask {
        Ask::About => Ok(text(
            StatusCode::OK,
            &format!(
                "A verifying proxy of {}.\npip and uv: {base}/pypi/simple/\nnpm, pnpm, yarn: {base}/npm/\ncargo: sparse+{base}/cargo/index/\n",
                proxy.pinned().url
            ),
        )),
        Ask::Healthy => Ok(text(StatusCode::OK, "ok\n")),
        Ask::Config => {
            let config = json!({"dl": format!("{base}/cargo/dl/{{crate}}/{{version}}/download")});
            Ok(with_type(
                Bytes::from(config.to_string()),
                "application/json",
            ))
        }
        Ask::Page(ecosystem, key) => {
            let served = proxy.page(ecosystem, &key, base, login).await?;
            shown(request, ecosystem, &served)
        }
        Ask::File(ecosystem, key, filename, sha256, metadata) => {
            let served = proxy.page(ecosystem, &key, base, login).await?;
            let mut entries = served.page.entries.iter();
            let listed = entries.find(|entry| {
                entry.filename == filename
                    && sha256.as_ref().is_none_or(|sha256| entry.sha256 == *sha256)
            });
            let Some(entry) = listed.cloned() else {
                let left_out = served
                    .page
                    .left_out
                    .iter()
                    .find(|left_out| left_out.filename == filename);
                // A lock file names it still.
                let gone = served.page.gone.get(&filename);
                return Err(match (left_out, gone) {
                    (Some(left_out), _) => Failure::new(
                        Exit::Verification,
                        left_out.code,
                        format!("{filename} is left out: {}.", left_out.why),
                    ),
                    (None, Some(why)) => {
                        Failure::new(Exit::Verification, "gone", format!("{filename} is {why}."))
                    }
                    (None, None) => Failure::unverified(
                        "unknown-project",
                        format!("The signed index of {ecosystem}:{key} lists no {filename}."),
                    ),
                }
                .into());
            };
            // Metadata is asked for of much that is not taken in the end.
            let warnings = match metadata {
                true => Vec::new(),
                false => proxy.warnings(ecosystem, &key, &entry.version).await?,
            };
            let mut answer = file(proxy, served, entry, metadata, login, head).await?;
            warned(&mut answer, ecosystem, &warnings);
            Ok(answer)
        }
    }
}

/// Tells what is known in the headers: of all clients npm alone shows one.
fn warned(answer: &mut Answer, ecosystem: Ecosystem, warnings: &[String]) {
    if warnings.is_empty() {
        return;
    }
    let Ok(value) = HeaderValue::from_str(&ascii(&warnings.join("; "))) else {
        return;
    };
    let headers = answer.headers_mut();
    if ecosystem == Ecosystem::Npm {
        headers.insert("npm-notice", value.clone());
        // npm shows no notice of what it puts into its cache.
        headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    }
    headers.insert("countersign-warning", value);
}

/// Text as a header or a reason has it.
fn ascii(text: &str) -> String {
    let shown = |c: char| match c {
        c if c.is_ascii() && !c.is_ascii_control() => c,
        _ => '?',
    };
    text.chars().map(shown).take(400).collect()
}

/// A page in the form that the client asks for.
fn shown(
    request: &Request<Incoming>,
    ecosystem: Ecosystem,
    served: &Served,
) -> Result<Answer, Trouble> {
    let header = |name| {
        let value: Option<&HeaderValue> = request.headers().get(name);
        value.and_then(|value| value.to_str().ok())
    };
    if header(IF_NONE_MATCH).is_some_and(|tags| tags.split(", ").any(|tag| tag == served.etag)) {
        let mut answer = Response::new(Body::Whole(None));
        *answer.status_mut() = StatusCode::NOT_MODIFIED;
        tagged(&mut answer, served);
        return Ok(answer);
    }
    let (body, kind) = match ecosystem {
        Ecosystem::Pypi => match simple_type(header(ACCEPT)) {
            Some(SimpleType::Json) => (served.page.body.clone(), SimpleType::Json.content_type()),
            other => {
                let kind = other.unwrap_or(SimpleType::PlainHtml);
                let json = String::from_utf8_lossy(&served.page.body);
                let html = pypi::html::project_html(&json)
                    .map_err(|refused| Failure::unverified(refused.code, refused.message))?;
                (html.into_bytes(), kind.content_type())
            }
        },
        Ecosystem::Npm => (
            served.page.body.clone(),
            "application/vnd.npm.install-v1+json",
        ),
        Ecosystem::Cargo => (served.page.body.clone(), "text/plain; charset=utf-8"),
    };
    let mut answer = with_type(Bytes::from(body), kind);
    tagged(&mut answer, served);
    let (page, mut notes) = (&served.page, Vec::new());
    for (code, why) in [
        ("too-new", "newer than the minimum release age"),
        ("quarantined", "withheld, as the log says"),
    ] {
        let so = |left_out: &&LeftOut| left_out.code == code;
        let count = page.left_out.iter().filter(so).count();
        if count > 0 {
            notes.push(format!("{count} files left out: {why}"));
        }
    }
    notes.extend(page.waiting.clone());
    if let (false, Ok(note)) = (notes.is_empty(), HeaderValue::from_str(&notes.join("; "))) {
        answer.headers_mut().insert("countersign-note", note);
    }
    Ok(answer)
}

fn tagged(answer: &mut Answer, served: &Served) {
    let headers = answer.headers_mut();
    if let Ok(tag) = HeaderValue::from_str(&served.etag) {
        headers.insert(ETAG, tag);
    }
    // Asked again each time: the proxy is near, and knows.
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-cache"));
    headers.insert(VARY, HeaderValue::from_static("accept"));
}

async fn file(
    proxy: &Arc<Proxy>,
    served: Arc<Served>,
    entry: Entry,
    metadata: bool,
    login: Option<&HeaderValue>,
    head: bool,
) -> Result<Answer, Trouble> {
    const KIND: &str = "application/octet-stream";
    let from = proxy.file(&served, &entry, metadata, login).await?;
    let (sender, receiver) = mpsc::channel(8);
    let length = match &from {
        Bytestream::Whole(bytes) => Some(bytes.len() as u64),
        Bytestream::Cached(_, length) => Some(*length),
        Bytestream::Fetched(_, size) => *size,
    };
    let body = match from {
        Bytestream::Whole(bytes) => Body::Whole(Some(Bytes::from(bytes))),
        _ if head => Body::Whole(None),
        Bytestream::Cached(mut file, _) => {
            let (proxy, whose) = (proxy.clone(), whose(login));
            tokio::task::spawn_blocking(move || {
                let mut held = Held::new(sender);
                let mut piece = vec![0; 256 << 10];
                loop {
                    match file.read(&mut piece) {
                        Ok(0) => break,
                        Ok(count) => {
                            if !held.blocking(&piece[..count]) {
                                return;
                            }
                        }
                        Err(error) => {
                            held.fail_blocking(&error.to_string());
                            return;
                        }
                    }
                }
                if held.digest() == entry.sha256 {
                    held.finish_blocking();
                } else {
                    proxy.cache().drop(&whose, &entry.sha256);
                    proxy.say(&format!("{} was damaged in the cache", entry.filename));
                    held.fail_blocking("it was damaged in the cache");
                }
            });
            Body::Pieces(receiver, length)
        }
        Bytestream::Fetched(pieces, size) => {
            let (proxy, whose) = (proxy.clone(), whose(login));
            tokio::spawn(async move {
                stream(&proxy, &served, &entry, pieces, size, sender, &whose).await;
            });
            Body::Pieces(receiver, length)
        }
    };
    let mut answer = Response::new(body);
    let headers = answer.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static(KIND));
    // One name has one digest for ever, but whether it may still be had is asked each time.
    headers.insert(
        CACHE_CONTROL,
        HeaderValue::from_static("private, max-age=300"),
    );
    if head && let Some(length) = length {
        headers.insert(hyper::header::CONTENT_LENGTH, HeaderValue::from(length));
    }
    Ok(answer)
}

/// Passes a large file on while it comes, and keeps it. Its last piece goes out when all was verified.
async fn stream(
    proxy: &Arc<Proxy>,
    served: &Served,
    entry: &Entry,
    mut pieces: super::Pieces,
    size: Option<u64>,
    sender: mpsc::Sender<std::io::Result<Bytes>>,
    whose: &str,
) {
    let mut held = Held::new(sender);
    let most = size.unwrap_or(super::MOST_FILE);
    let mut part = proxy.cache().part().ok();
    loop {
        match pieces.next().await {
            Ok(Some(piece)) => {
                if held.came + piece.len() as u64 > most {
                    let trouble = proxy.wrong(served, entry, "of more bytes than are signed", None);
                    proxy.refuse(&entry.filename, trouble);
                    held.fail("it has more bytes than are signed").await;
                    return;
                }
                if let Some(open) = &mut part
                    && std::io::Write::write_all(&mut open.file, &piece).is_err()
                {
                    part = None;
                }
                if !held.take(&piece).await {
                    return;
                }
            }
            Ok(None) => break,
            Err(failure) => {
                proxy.refuse(&entry.filename, failure.into());
                held.fail("the registry broke off").await;
                return;
            }
        }
    }
    let came = held.digest();
    if came == entry.sha256 {
        if let Some(part) = part
            && let Err(error) = proxy.cache().keep(part, whose, &entry.sha256)
        {
            proxy.say(&format!("the cache can not be written: {error}"));
        }
        held.finish().await;
    } else {
        let trouble = proxy.wrong(served, entry, &came, None);
        proxy.refuse(&entry.filename, trouble);
        held.fail("it has other bytes than are signed").await;
    }
}

/// Bytes on their way out, the last ones held back.
struct Held {
    sender: mpsc::Sender<std::io::Result<Bytes>>,
    hasher: Hasher,
    back: Vec<u8>,
    came: u64,
}

impl Held {
    fn new(sender: mpsc::Sender<std::io::Result<Bytes>>) -> Self {
        Self {
            sender,
            hasher: Hasher::new(false),
            back: Vec::new(),
            came: 0,
        }
    }

    /// What may go out now that these came.
    fn next(&mut self, piece: &[u8]) -> Option<Bytes> {
        self.hasher.update(piece);
        self.came += piece.len() as u64;
        self.back.extend_from_slice(piece);
        let out = self
            .back
            .len()
            .checked_sub(HELD_BACK)
            .filter(|out| *out > 0)?;
        let rest = self.back.split_off(out);
        Some(Bytes::from(std::mem::replace(&mut self.back, rest)))
    }

    /// False where nobody listens any more.
    async fn take(&mut self, piece: &[u8]) -> bool {
        match self.next(piece) {
            Some(out) => self.sender.send(Ok(out)).await.is_ok(),
            None => true,
        }
    }

    fn blocking(&mut self, piece: &[u8]) -> bool {
        match self.next(piece) {
            Some(out) => self.sender.blocking_send(Ok(out)).is_ok(),
            None => true,
        }
    }

    fn digest(&mut self) -> String {
        let hasher = std::mem::replace(&mut self.hasher, Hasher::new(false));
        hasher.finish().0.sha256.to_hex()
    }

    async fn finish(self) {
        // Nobody may listen any more.
        let _ = self.sender.send(Ok(Bytes::from(self.back))).await;
    }

    fn finish_blocking(self) {
        let _ = self.sender.blocking_send(Ok(Bytes::from(self.back)));
    }

    async fn fail(self, why: &str) {
        let _ = self
            .sender
            .send(Err(std::io::Error::other(why.to_owned())))
            .await;
    }

    fn fail_blocking(self, why: &str) {
        let _ = self
            .sender
            .blocking_send(Err(std::io::Error::other(why.to_owned())));
    }
}

fn with_type(body: Bytes, kind: &'static str) -> Answer {
    let mut answer = Response::new(Body::Whole(Some(body)));
    answer
        .headers_mut()
        .insert(CONTENT_TYPE, HeaderValue::from_static(kind));
    answer
}

fn text(status: StatusCode, body: &str) -> Answer {
    let mut answer = with_type(Bytes::from(body.to_owned()), "text/plain; charset=utf-8");
    *answer.status_mut() = status;
    answer
        .headers_mut()
        .insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    answer
}

/// A refusal, so that the client at hand shows why.
fn refusal(path: &str, request: &Request<Incoming>, refused: &Refused) -> Answer {
    let failure = &refused.failure;
    let status = match (failure.exit, &*failure.code) {
        _ if failure.unauthenticated => StatusCode::UNAUTHORIZED,
        // A name that is private elsewhere is not here, whatever the registry says of it.
        (_, "unknown-project" | "private-name") => StatusCode::NOT_FOUND,
        (Exit::Usage, _) => StatusCode::BAD_REQUEST,
        (Exit::Unreachable, _) => StatusCode::GATEWAY_TIMEOUT,
        (Exit::Refused, _) => StatusCode::FORBIDDEN,
        (Exit::Environment, _) => StatusCode::INTERNAL_SERVER_ERROR,
        // Not 403, which uv takes for "log in", nor 409, which pnpm repeats, nor 5xx, which all repeat.
        (Exit::Verification, _) => StatusCode::UNPROCESSABLE_ENTITY,
    };
    let mut why = format!(
        "countersign refuses ({}): {}",
        failure.code, failure.message
    );
    if let Some(remedy) = &failure.remedy {
        why.push(' ');
        why.push_str(remedy);
    }
    if let Some(evidence) = &refused.evidence {
        why.push_str(&format!(" Evidence: {}", evidence.display()));
    }
    let why = plain(&why);
    let ascii = ascii(&why);
    let agent = request.headers().get(USER_AGENT);
    let is_pip = agent.is_some_and(|agent| agent.as_bytes().starts_with(b"pip/"));
    let mut answer = if path.starts_with("/npm/") {
        let body = json!({"error": why, "code": failure.code});
        with_type(Bytes::from(body.to_string()), "application/json")
    } else if path.starts_with("/cargo/") {
        let body = json!({"errors": [{"detail": why}]});
        with_type(Bytes::from(body.to_string()), "application/json")
    } else {
        let body = json!({"title": "refused by countersign", "detail": why, "code": failure.code});
        with_type(Bytes::from(body.to_string()), "application/problem+json")
    };
    *answer.status_mut() = status;
    if let Ok(reason) = ReasonPhrase::try_from(ascii.clone().into_bytes()) {
        answer.extensions_mut().insert(reason);
    }
    let headers = answer.headers_mut();
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    if failure.unauthenticated {
        headers.insert(
            WWW_AUTHENTICATE,
            HeaderValue::from_static("Basic realm=\"registry\""),
        );
    }
    if is_pip && path.starts_with("/pypi/") && status == StatusCode::UNPROCESSABLE_ENTITY {
        // pip passes over an index that it can not have without a word, but names a content type that it does not know.
        // There is nothing in this page that it could install.
        let quoted = ascii.replace(['"', '\\'], "'");
        if let Ok(kind) = HeaderValue::from_str(&format!("text/plain; refused=\"{quoted}\"")) {
            answer.headers_mut().insert(CONTENT_TYPE, kind);
            *answer.status_mut() = StatusCode::OK;
            answer.extensions_mut().remove::<ReasonPhrase>();
            *answer.body_mut() = Body::Whole(Some(Bytes::from(why)));
        }
    }
    answer
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_read_as_the_clients_write_them() {
        let page = |ecosystem, key: &str| Some(Ask::Page(ecosystem, key.to_owned()));
        let digest = "a".repeat(64);
        for (path, expected) in [
            (
                "/pypi/simple/Some_Thing/",
                page(Ecosystem::Pypi, "some-thing"),
            ),
            ("/pypi/simple/", None),
            ("/npm/thing", page(Ecosystem::Npm, "thing")),
            ("/npm/@s%2fthing", page(Ecosystem::Npm, "@s/thing")),
            ("/npm/@s/thing", page(Ecosystem::Npm, "@s/thing")),
            ("/npm/-/ping", None),
            (
                "/cargo/index/th/in/thing_x",
                page(Ecosystem::Cargo, "thing-x"),
            ),
            ("/cargo/index/xx/in/thing_x", None),
            ("/somewhere", None),
            (
                "/npm/@s/thing/-/thing-1.0.0.tgz",
                Some(Ask::File(
                    Ecosystem::Npm,
                    "@s/thing".to_owned(),
                    "thing-1.0.0.tgz".to_owned(),
                    None,
                    false,
                )),
            ),
            (
                "/cargo/dl/Thing_x/1.0.0/download",
                Some(Ask::File(
                    Ecosystem::Cargo,
                    "thing-x".to_owned(),
                    "Thing_x-1.0.0.crate".to_owned(),
                    None,
                    false,
                )),
            ),
        ] {
            assert_eq!(ask(path).unwrap(), expected, "{path}");
        }
        let file = format!("/files/{digest}/thing-1.0-py3-none-linux%5Fx86_64.whl.metadata");
        assert_eq!(
            ask(&file).unwrap(),
            Some(Ask::File(
                Ecosystem::Pypi,
                "thing".to_owned(),
                "thing-1.0-py3-none-linux_x86_64.whl".to_owned(),
                Some(digest),
                true
            ))
        );
        for path in ["/pypi/simple/%2e%2e/", "/npm/%2e%2e", "/files/x/thing.exe"] {
            assert!(ask(path).is_err(), "{path}");
        }
    }
}
