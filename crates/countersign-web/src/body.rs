//! Bodies: answers that lie in memory or stream, and requests that may not crawl.

use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use countersign_registry::{Error, Kind};
use futures::Stream;
use http_body::{Body, Frame, SizeHint};
use tokio::time::{Instant, Sleep};

use crate::settings::SlowestBody;

type BoxError = Box<dyn std::error::Error + Send + Sync>;

/// The body of an answer.
pub enum AnswerBody {
    /// Complete, in memory.
    Ready(Bytes),
    /// Whatever a handler made.
    Routed(axum::body::Body),
}

impl Body for AnswerBody {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        match self.get_mut() {
            Self::Ready(bytes) if bytes.is_empty() => Poll::Ready(None),
            Self::Ready(bytes) => Poll::Ready(Some(Ok(Frame::data(std::mem::take(bytes))))),
            Self::Routed(body) => Pin::new(body).poll_frame(context),
        }
    }

    fn is_end_stream(&self) -> bool {
        match self {
            Self::Ready(bytes) => bytes.is_empty(),
            Self::Routed(body) => body.is_end_stream(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            Self::Ready(bytes) => SizeHint::with_exact(bytes.len() as u64),
            Self::Routed(body) => body.size_hint(),
        }
    }
}

/// A stream of a known length. Ends with an error when the stream gives another number of bytes, so that a client
/// never takes a cut file for a whole one.
pub(crate) struct SizedStream<S> {
    stream: S,
    left: u64,
}

impl<S> SizedStream<S> {
    pub(crate) fn new(stream: S, length: u64) -> Self {
        Self {
            stream,
            left: length,
        }
    }
}

impl<S: Stream<Item = std::io::Result<Bytes>> + Unpin> Body for SizedStream<S> {
    type Data = Bytes;
    type Error = std::io::Error;

    fn poll_frame(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<std::io::Result<Frame<Bytes>>>> {
        let this = self.get_mut();
        match Pin::new(&mut this.stream).poll_next(context) {
            Poll::Ready(Some(Ok(bytes))) => match this.left.checked_sub(bytes.len() as u64) {
                Some(left) => {
                    this.left = left;
                    Poll::Ready(Some(Ok(Frame::data(bytes))))
                }
                None => Poll::Ready(Some(Err(std::io::Error::other(
                    "the stored file is longer than its record",
                )))),
            },
            Poll::Ready(None) if this.left > 0 => {
                let error = format!("the stored file ends {} bytes too early", this.left);
                this.left = 0;
                Poll::Ready(Some(Err(std::io::Error::other(error))))
            }
            Poll::Ready(end) => Poll::Ready(end.map(|outcome| outcome.map(Frame::data))),
            Poll::Pending => Poll::Pending,
        }
    }

    fn is_end_stream(&self) -> bool {
        self.left == 0
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.left)
    }
}

/// A request body as a whole, in memory.
///
/// # Errors
/// `json-too-large` where it has more than `most` bytes, `upload-cut-short` where it does not come to its end.
pub(crate) async fn whole(body: axum::body::Body, most: usize) -> Result<Bytes, Error> {
    use http_body_util::BodyExt as _;
    match http_body_util::Limited::new(body, most).collect().await {
        Ok(collected) => Ok(collected.to_bytes()),
        Err(error) if error.is::<http_body_util::LengthLimitError>() => {
            let message = format!("The request body has more than {most} bytes.");
            let error = Error::new(Kind::TooLarge, "json-too-large", message);
            Err(error.remedy("Send what belongs here, and nothing else."))
        }
        Err(error) => {
            let message = "The request body did not come to its end.";
            let refusal = Error::new(Kind::Rejected, "upload-cut-short", message).because(error);
            Err(refusal.remedy("Nothing was done. Send it again."))
        }
    }
}

/// How a request body has fared so far.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fate {
    /// Nobody has asked for it yet.
    Untouched,
    /// More may come.
    Arriving,
    /// All of it arrived.
    Complete,
    /// The client was slower than [`SlowestBody`].
    TooSlow,
    /// The connection broke.
    Broken,
}

/// The body of a request, shared by the handler that reads it and the pipeline that reads away the rest.
#[derive(Clone)]
pub(crate) struct RequestBody(Arc<Mutex<Guarded>>);

struct Guarded {
    inner: Pin<Box<dyn Body<Data = Bytes, Error = BoxError> + Send>>,
    slowest: SlowestBody,
    fate: Fate,
    /// Bytes in the current window.
    bytes: u64,
    /// Time of the current window spent waiting for the client.
    waited: Duration,
    /// Since when we wait.
    since: Option<Instant>,
    alarm: Option<Pin<Box<Sleep>>>,
}

/// The client sends too slowly.
#[derive(Debug, thiserror::Error)]
#[error("less than {} bytes arrived in {:?}", .0.bytes, .0.window)]
struct TooSlow(SlowestBody);

impl RequestBody {
    pub(crate) fn new<B>(inner: B, slowest: SlowestBody) -> Self
    where
        B: Body<Data = Bytes> + Send + 'static,
        B::Error: Into<BoxError>,
    {
        use http_body_util::BodyExt as _;
        let fate = if inner.is_end_stream() {
            Fate::Complete
        } else {
            Fate::Untouched
        };
        Self(Arc::new(Mutex::new(Guarded {
            inner: Box::pin(inner.map_err(Into::into)),
            slowest,
            fate,
            bytes: 0,
            waited: Duration::ZERO,
            since: None,
            alarm: None,
        })))
    }

    pub(crate) fn fate(&self) -> Fate {
        self.lock().fate
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Guarded> {
        // A panic in a body's poll leaves nothing half written that matters; the connection dies with it.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Reads away what is left, so that closing the connection does not reset it before the client has read our
    /// answer. Gives up after `most` bytes or `longest` time.
    pub(crate) async fn drain(&self, most: u64, longest: Duration) {
        use http_body_util::BodyExt as _;
        let mut body = self.clone();
        let mut left = most;
        let reading = async {
            while let Some(Ok(frame)) = body.frame().await {
                let got = frame.data_ref().map_or(0, |data| data.len() as u64);
                let Some(rest) = left.checked_sub(got) else {
                    return;
                };
                left = rest;
            }
        };
        // Running out of time is one of the two ways to give up.
        let _ = tokio::time::timeout(longest, reading).await;
    }
}

impl Guarded {
    fn poll(&mut self, context: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        match self.fate {
            Fate::Complete => return Poll::Ready(None),
            Fate::TooSlow => return Poll::Ready(Some(Err(TooSlow(self.slowest).into()))),
            Fate::Broken => return Poll::Ready(Some(Err("the connection broke".into()))),
            Fate::Untouched => self.fate = Fate::Arriving,
            Fate::Arriving => {}
        }
        match self.inner.as_mut().poll_frame(context) {
            Poll::Ready(outcome) => {
                if let Some(since) = self.since.take() {
                    self.waited += since.elapsed();
                    self.alarm = None;
                }
                match &outcome {
                    Some(Ok(frame)) => {
                        self.bytes += frame.data_ref().map_or(0, |data| data.len() as u64);
                        if self.waited >= self.slowest.window {
                            if self.bytes < self.slowest.bytes {
                                return self.too_slow();
                            }
                            self.waited = Duration::ZERO;
                            self.bytes = 0;
                        }
                    }
                    Some(Err(_)) => self.fate = Fate::Broken,
                    None => self.fate = Fate::Complete,
                }
                Poll::Ready(outcome)
            }
            Poll::Pending => {
                let (waited, window) = (self.waited, self.slowest.window);
                self.since.get_or_insert_with(Instant::now);
                let alarm = self.alarm.get_or_insert_with(|| {
                    Box::pin(tokio::time::sleep(window.saturating_sub(waited)))
                });
                if alarm.as_mut().poll(context).is_pending() {
                    return Poll::Pending;
                }
                if self.bytes < self.slowest.bytes {
                    return self.too_slow();
                }
                // The window was good; the next one begins now.
                self.waited = Duration::ZERO;
                self.bytes = 0;
                self.since = Some(Instant::now());
                let mut alarm = Box::pin(tokio::time::sleep(window));
                if alarm.as_mut().poll(context).is_ready() {
                    context.waker().wake_by_ref();
                }
                self.alarm = Some(alarm);
                Poll::Pending
            }
        }
    }

    fn too_slow(&mut self) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        self.fate = Fate::TooSlow;
        Poll::Ready(Some(Err(TooSlow(self.slowest).into())))
    }
}

impl Body for RequestBody {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        self.lock().poll(context)
    }

    fn is_end_stream(&self) -> bool {
        self.lock().fate == Fate::Complete
    }

    fn size_hint(&self) -> SizeHint {
        self.lock().inner.size_hint()
    }
}

#[cfg(test)]
mod tests {
    use http_body_util::{BodyExt as _, Full, StreamBody};

    use super::*;

    const SLOWEST: SlowestBody = SlowestBody {
        bytes: 100,
        window: Duration::from_secs(10),
    };

    fn dripping(pieces: usize, size: usize, pause: Duration) -> RequestBody {
        let stream = futures::stream::unfold(0, move |sent| async move {
            if sent == pieces {
                return None;
            }
            tokio::time::sleep(pause).await;
            Some((
                Ok::<_, std::io::Error>(Frame::data(Bytes::from(vec![0; size]))),
                sent + 1,
            ))
        });
        RequestBody::new(StreamBody::new(stream), SLOWEST)
    }

    #[tokio::test(start_paused = true)]
    async fn a_body_that_drips_is_given_up() {
        let body = dripping(1_000, 5, Duration::from_secs(1));
        let started = Instant::now();
        assert!(body.clone().collect().await.is_err());
        assert_eq!(body.fate(), Fate::TooSlow);
        assert!(started.elapsed() < Duration::from_secs(12));
    }

    #[tokio::test(start_paused = true)]
    async fn a_body_that_is_slow_but_steady_enough_arrives() {
        let body = dripping(100, 11, Duration::from_secs(1));
        assert_eq!(
            body.clone().collect().await.unwrap().to_bytes().len(),
            1_100
        );
        assert_eq!(body.fate(), Fate::Complete);
    }

    #[tokio::test(start_paused = true)]
    async fn time_in_which_we_do_not_read_does_not_count_against_the_client() {
        let mut body = dripping(20, 50, Duration::from_millis(10));
        let mut got = 0;
        while let Some(frame) = body.frame().await {
            got += frame.unwrap().into_data().unwrap().len();
            tokio::time::sleep(Duration::from_secs(60)).await;
        }
        assert_eq!(got, 1_000);
    }

    #[tokio::test(start_paused = true)]
    async fn draining_stops_at_its_limits() {
        let endless = RequestBody::new(
            StreamBody::new(futures::stream::repeat_with(|| {
                Ok::<_, std::io::Error>(Frame::data(Bytes::from_static(&[0; 1024])))
            })),
            SLOWEST,
        );
        endless.drain(1 << 20, Duration::from_secs(5)).await;
        assert_eq!(endless.fate(), Fate::Arriving);
        let short = RequestBody::new(Full::new(Bytes::from_static(b"abc")), SLOWEST);
        assert_eq!(short.fate(), Fate::Untouched);
        short.drain(10, Duration::from_secs(5)).await;
        assert_eq!(short.fate(), Fate::Complete);
    }

    #[tokio::test]
    async fn a_stored_file_that_ends_early_is_an_error_and_not_a_short_answer() {
        let stream = futures::stream::iter([Ok(Bytes::from_static(b"abc"))]);
        assert!(SizedStream::new(stream, 5).collect().await.is_err());
        let stream = futures::stream::iter([Ok(Bytes::from_static(b"abcdef"))]);
        assert!(SizedStream::new(stream, 5).collect().await.is_err());
        let stream = futures::stream::iter([Ok(Bytes::from_static(b"abcde"))]);
        assert_eq!(
            SizedStream::new(stream, 5)
                .collect()
                .await
                .unwrap()
                .to_bytes(),
            "abcde"
        );
    }
}
