//! The registry as the proxy reaches it: bounded in length, and given up on where it is slow.

use std::time::{Duration, Instant};

use reqwest::header::{AUTHORIZATION, HeaderValue};
use reqwest::{Client, Response, StatusCode, redirect};
use url::Url;

use crate::failure::{Exit, Failure, Result, plain};
use crate::remote::{authorities, innermost, is_loopback, not_in_the_clear, too_long};

/// The slowest that is waited for, in bytes a second over the time of one patience.
const SLOWEST: u64 = 1 << 10;

/// The registry.
#[derive(Clone)]
pub struct Upstream {
    base: Url,
    client: Client,
    /// How long nothing, or next to nothing, may come.
    patience: Duration,
    /// This user's own token, for requests that bring none.
    own: Option<String>,
}

/// An answer that is read piece by piece.
pub struct Pieces {
    answer: Response,
    address: String,
    patience: Duration,
    since: Instant,
    came: u64,
}

fn unreachable(address: &str, why: &str) -> Failure {
    Failure::new(
        Exit::Unreachable,
        "unreachable",
        format!("{address} can not be fetched: {why}."),
    )
}

fn slow(address: &str) -> Failure {
    Failure::new(
        Exit::Unreachable,
        "slow",
        format!("{address} answers too slowly."),
    )
}

impl Upstream {
    /// The registry at `base`. `ca` are PEM certificates to believe besides those of this machine.
    ///
    /// # Errors
    /// Where TLS can not be set up, and for a token that would cross a network in the clear.
    pub fn new(
        base: &Url,
        own: Option<String>,
        ca: Option<&[u8]>,
        patience: Duration,
    ) -> Result<Self> {
        if own.is_some() {
            not_in_the_clear(base, "The token")?;
        }
        let certificates = ca.map(authorities).transpose()?.unwrap_or_default();
        let mut builder = Client::builder()
            .user_agent(concat!("countersign-proxy/", env!("CARGO_PKG_VERSION")))
            .connect_timeout(Duration::from_secs(10))
            // What a request carries is for the pinned registry alone.
            .redirect(redirect::Policy::none())
            .tls_certs_merge(certificates);
        if is_loopback(base) {
            builder = builder.no_proxy();
        }
        let client = builder.build().map_err(|error| {
            Failure::new(
                Exit::Environment,
                "http-client",
                format!("HTTP can not be set up: {error}."),
            )
        })?;
        Ok(Self {
            base: base.clone(),
            client,
            patience,
            own,
        })
    }

    /// Its address without a slash at the end.
    pub fn site(&self) -> &str {
        self.base.as_str().trim_end_matches('/')
    }

    /// Begins to fetch a path; `None` for what is not there (404, 410). `login` is what the client sent as its
    /// authorization.
    ///
    /// # Errors
    /// [`Exit::Unreachable`]; [`Exit::Refused`] where the registry says no.
    pub async fn begin(&self, path: &str, login: Option<&HeaderValue>) -> Result<Option<Pieces>> {
        let address = format!("{}{path}", self.site());
        let mut request = self.client.get(&address);
        if let Some(login) = login {
            not_in_the_clear(&self.base, "The login")?;
            request = request.header(AUTHORIZATION, login.clone());
        } else if let Some(own) = &self.own {
            request = request.bearer_auth(own);
        }
        let answer = match tokio::time::timeout(self.patience, request.send()).await {
            Ok(Ok(answer)) => answer,
            Ok(Err(error)) => return Err(unreachable(&address, &innermost(&error))),
            Err(_) => return Err(slow(&address)),
        };
        match answer.status() {
            StatusCode::OK => Ok(Some(Pieces {
                answer,
                address,
                patience: self.patience,
                since: Instant::now(),
                came: 0,
            })),
            StatusCode::NOT_FOUND | StatusCode::GONE => Ok(None),
            status if status.is_client_error() => {
                let unauthenticated = status == StatusCode::UNAUTHORIZED;
                let mut failure = Failure::new(
                    Exit::Refused,
                    "refused",
                    format!("{} answers {status} for {}.", self.site(), plain(path)),
                );
                failure.unauthenticated = unauthenticated;
                Err(failure)
            }
            status => Err(unreachable(&address, &format!("the answer is {status}"))),
        }
    }

    /// Fetches a path whole; `None` for what is not there.
    ///
    /// # Errors
    /// As [`Upstream::begin`], and for more than `most` bytes.
    pub async fn get(
        &self,
        path: &str,
        most: u64,
        login: Option<&HeaderValue>,
    ) -> Result<Option<Vec<u8>>> {
        let Some(mut pieces) = self.begin(path, login).await? else {
            return Ok(None);
        };
        let mut body = Vec::new();
        while let Some(piece) = pieces.next().await? {
            if body.len() as u64 + piece.len() as u64 > most {
                let most = usize::try_from(most).unwrap_or(usize::MAX);
                return Err(too_long(&pieces.address, most));
            }
            body.extend_from_slice(&piece);
        }
        Ok(Some(body))
    }
}

impl Pieces {
    /// The next piece; `None` at the end.
    ///
    /// # Errors
    /// [`Exit::Unreachable`] where it breaks off or is too slow.
    pub async fn next(&mut self) -> Result<Option<hyper::body::Bytes>> {
        let piece = match tokio::time::timeout(self.patience, self.answer.chunk()).await {
            Ok(Ok(piece)) => piece,
            Ok(Err(error)) => return Err(unreachable(&self.address, &innermost(&error))),
            Err(_) => return Err(slow(&self.address)),
        };
        self.came += piece.as_ref().map_or(0, |piece| piece.len() as u64);
        let waited = self.since.elapsed();
        if piece.is_some() && waited >= self.patience {
            // One byte at a time is as good as nothing.
            if self.came < SLOWEST.saturating_mul(waited.as_secs().max(1)) {
                return Err(slow(&self.address));
            }
            self.since = Instant::now();
            self.came = 0;
        }
        Ok(piece)
    }
}
