//! Sockets: HTTP/1.1 and HTTP/2, plain or TLS, limits on slow and greedy clients, and an orderly end.

use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::task::{Context, Poll};
use std::time::Duration;

use hyper::Request;
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto;
use hyper_util::server::graceful::{GracefulShutdown, Watcher};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio::time::Sleep;
use tokio_rustls::TlsAcceptor;

use crate::pipeline::App;

/// How long to wait before accepting again when the system has no descriptors or memory for a connection.
const BREATHER: Duration = Duration::from_millis(50);

/// Answers on `listeners` until `shutdown` is ready, then takes no new connections, lets requests under way finish
/// (at most [`drain_timeout`](crate::FaceSettings::drain_timeout)) and returns.
///
/// With `tls`, ALPN offers HTTP/2 and HTTP/1.1 unless the configuration names its own protocols; HTTP/1.1 must be among
/// them, because only it carries the reason phrase that publishing clients print.
///
/// # Errors
/// When there is no listener, or one of them can not tell its address.
pub async fn serve(
    app: App,
    listeners: Vec<TcpListener>,
    tls: Option<Arc<rustls::ServerConfig>>,
    shutdown: impl Future<Output = ()>,
) -> io::Result<()> {
    if listeners.is_empty() {
        return Err(io::Error::new(
            io::ErrorKind::InvalidInput,
            "there is no address to listen on",
        ));
    }
    for listener in &listeners {
        listener.local_addr()?;
    }
    let tls = tls.map(|config| {
        let mut config = (*config).clone();
        if config.alpn_protocols.is_empty() {
            config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
        }
        TlsAcceptor::from(Arc::new(config))
    });
    let face = Arc::clone(&app.site().face);
    let places = Arc::new(Semaphore::new(
        face.max_connections.clamp(1, Semaphore::MAX_PERMITS),
    ));
    let http = Arc::new(http(&app));
    let graceful = GracefulShutdown::new();
    let mut shutdown = pin!(shutdown);
    loop {
        let accepted = async {
            let place = Arc::clone(&places)
                .acquire_owned()
                .await
                .expect("this semaphore is never closed");
            (place, accept(&listeners).await)
        };
        let (place, (stream, remote)) = tokio::select! {
            accepted = accepted => accepted,
            () = &mut shutdown => break,
        };
        let (app, http, tls, watcher) = (
            app.clone(),
            Arc::clone(&http),
            tls.clone(),
            graceful.watcher(),
        );
        tokio::spawn(async move {
            converse(app, &http, tls, watcher, stream, remote).await;
            drop(place);
        });
    }
    drop(listeners);
    if tokio::time::timeout(face.drain_timeout, graceful.shutdown())
        .await
        .is_err()
    {
        tracing::warn!(target: "countersign", "some connections did not finish in {:?} and are cut", face.drain_timeout);
    }
    Ok(())
}

/// The next connection on any listener. Failures (too many open files, a client gone already) are told to the log
/// and waited out: they pass.
async fn accept(listeners: &[TcpListener]) -> (TcpStream, SocketAddr) {
    loop {
        let next = std::future::poll_fn(|context| {
            for listener in listeners {
                if let Poll::Ready(outcome) = listener.poll_accept(context) {
                    return Poll::Ready(outcome);
                }
            }
            Poll::Pending
        });
        match next.await {
            Ok(accepted) => return accepted,
            Err(error) => {
                tracing::warn!(target: "countersign", %error, "a connection could not be accepted");
                tokio::time::sleep(BREATHER).await;
            }
        }
    }
}

/// One connection from its first byte to its last. Errors end it and interest nobody but whoever debugs.
async fn converse(
    app: App,
    http: &auto::Builder<TokioExecutor>,
    tls: Option<TlsAcceptor>,
    watcher: Watcher,
    stream: TcpStream,
    remote: SocketAddr,
) {
    if let Err(error) = stream.set_nodelay(true) {
        tracing::debug!(target: "countersign", %error, %remote, "TCP_NODELAY could not be set");
    }
    let face = Arc::clone(&app.site().face);
    let heard = Arc::new(AtomicBool::new(false));
    let stream = Unstuck::new(
        stream,
        face.write_timeout,
        face.header_timeout,
        Arc::clone(&heard),
    );
    let service = service_fn(move |request: Request<Incoming>| {
        heard.store(true, Relaxed);
        app.handle(request, Some(remote))
    });
    let outcome = match tls {
        None => {
            watcher
                .watch(http.serve_connection(TokioIo::new(stream), service))
                .await
        }
        Some(tls) => match tokio::time::timeout(face.handshake_timeout, tls.accept(stream)).await {
            Ok(Ok(stream)) => {
                watcher
                    .watch(http.serve_connection(TokioIo::new(stream), service))
                    .await
            }
            Ok(Err(error)) => Err(error.into()),
            Err(_) => Err("the TLS handshake took too long".into()),
        },
    };
    if let Err(error) = outcome {
        tracing::debug!(target: "countersign", error, %remote, "a connection ended in an error");
    }
}

fn http(app: &App) -> auto::Builder<TokioExecutor> {
    let face = &app.site().face;
    let mut builder = auto::Builder::new(TokioExecutor::new());
    builder
        .http1()
        .timer(TokioTimer::new())
        .header_read_timeout(face.header_timeout)
        .max_buf_size(face.max_head.max(8 << 10))
        // Publishing clients half-close nothing; a half-closed connection is a client that went away.
        .half_close(false)
        // Aggregated flushes would copy every body into one buffer, and let it grow without bound for slow readers.
        .pipeline_flush(false);
    builder
        .http2()
        .timer(TokioTimer::new())
        .max_header_list_size(u32::try_from(face.max_head).unwrap_or(u32::MAX))
        .max_concurrent_streams(128)
        .keep_alive_interval(face.header_timeout)
        .keep_alive_timeout(face.header_timeout)
        // Uploads over a long fat line need more than the 64 KiB that the protocol starts with.
        .initial_stream_window_size(1 << 20)
        .initial_connection_window_size(4 << 20);
    builder
}

/// A stream that fails when the other side takes nothing for too long, or has sent no whole request when its time for
/// the first one is over, instead of holding its memory and its place for ever. The HTTP layer's own limit on slow heads
/// begins only when it knows the version, which is after the first bytes.
struct Unstuck<S> {
    stream: S,
    longest: Duration,
    alarm: Option<Pin<Box<Sleep>>>,
    /// Whether a request has arrived.
    heard: Arc<AtomicBool>,
    /// When the first one must have.
    deadline: Option<Pin<Box<Sleep>>>,
}

impl<S> Unstuck<S> {
    fn new(stream: S, longest: Duration, first: Duration, heard: Arc<AtomicBool>) -> Self {
        Self {
            stream,
            longest,
            alarm: None,
            heard,
            deadline: Some(Box::pin(tokio::time::sleep(first))),
        }
    }

    fn watch<T>(
        &mut self,
        context: &mut Context<'_>,
        outcome: Poll<io::Result<T>>,
    ) -> Poll<io::Result<T>> {
        if outcome.is_ready() {
            self.alarm = None;
            return outcome;
        }
        let alarm = self
            .alarm
            .get_or_insert_with(|| Box::pin(tokio::time::sleep(self.longest)));
        match alarm.as_mut().poll(context) {
            Poll::Ready(()) => Poll::Ready(Err(io::Error::new(
                io::ErrorKind::TimedOut,
                "the client takes no data",
            ))),
            Poll::Pending => Poll::Pending,
        }
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Unstuck<S> {
    fn poll_read(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        into: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        let outcome = Pin::new(&mut this.stream).poll_read(context, into);
        if outcome.is_pending()
            && let Some(deadline) = &mut this.deadline
        {
            if this.heard.load(Relaxed) {
                this.deadline = None;
            } else if deadline.as_mut().poll(context).is_ready() {
                return Poll::Ready(Err(io::Error::new(
                    io::ErrorKind::TimedOut,
                    "the client sends no request",
                )));
            }
        }
        outcome
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Unstuck<S> {
    fn poll_write(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        let outcome = Pin::new(&mut this.stream).poll_write(context, bytes);
        this.watch(context, outcome)
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        pieces: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        let outcome = Pin::new(&mut this.stream).poll_write_vectored(context, pieces);
        this.watch(context, outcome)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        let outcome = Pin::new(&mut this.stream).poll_flush(context);
        this.watch(context, outcome)
    }

    fn poll_shutdown(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        let outcome = Pin::new(&mut this.stream).poll_shutdown(context);
        this.watch(context, outcome)
    }
}
