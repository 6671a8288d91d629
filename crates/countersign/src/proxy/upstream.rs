//! The registry as the proxy reaches it: bounded in length, and given up on where it is slow.

use std::io::{Cursor, Read as _};
use std::time::{Duration, Instant};

use countersign_formats::archive::gzip::GzipReader;
use reqwest::header::{ACCEPT_ENCODING, AUTHORIZATION, CONTENT_ENCODING, HeaderValue};
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
        self.begin_as(path, login, None).await
    }

    async fn begin_as(
        &self,
        path: &str,
        login: Option<&HeaderValue>,
        encoding: Option<HeaderValue>,
    ) -> Result<Option<Pieces>> {
        let address = format!("{}{path}", self.site());
        let mut request = self.client.get(&address);
        if let Some(encoding) = encoding {
            request = request.header(ACCEPT_ENCODING, encoding);
        }
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
        let Some(pieces) = self.begin(path, login).await? else {
            return Ok(None);
        };
        Ok(Some(pieces.whole(most).await?))
    }

    /// Fetches a path whole, packed by gzip where the registry packs it; `None` for what is not there.
    ///
    /// # Errors
    /// As [`Upstream::get`]; `most` is for the bytes that cross the wire, and for those that are in them.
    pub async fn get_packed(
        &self,
        path: &str,
        most: u64,
        login: Option<&HeaderValue>,
    ) -> Result<Option<Vec<u8>>> {
        let gzip = HeaderValue::from_static("gzip");
        let Some(pieces) = self.begin_as(path, login, Some(gzip)).await? else {
            return Ok(None);
        };
        let encoding = pieces.answer.headers().get(CONTENT_ENCODING);
        let packed = encoding.is_some_and(|encoding| encoding == "gzip");
        let address = pieces.address.clone();
        let body = pieces.whole(most).await?;
        if !packed {
            return Ok(Some(body));
        }
        unpacked(&body, most, &address).map(Some)
    }
}

/// What is in a gzip file, if that is at most so much.
fn unpacked(packed: &[u8], most: u64, address: &str) -> Result<Vec<u8>> {
    let damaged = |why: &str| unreachable(address, &format!("its gzip is damaged ({why})"));
    let reader =
        GzipReader::new(Cursor::new(packed), false).map_err(|refusal| damaged(&refusal.message))?;
    let mut body = Vec::new();
    reader
        .take(most.saturating_add(1))
        .read_to_end(&mut body)
        .map_err(|error| damaged(&error.to_string()))?;
    if body.len() as u64 > most {
        return Err(too_long(
            address,
            usize::try_from(most).unwrap_or(usize::MAX),
        ));
    }
    Ok(body)
}

impl Pieces {
    /// All of it.
    async fn whole(self, most: u64) -> Result<Vec<u8>> {
        let mut pieces = self;
        let mut body = Vec::new();
        while let Some(piece) = pieces.next().await? {
            if body.len() as u64 + piece.len() as u64 > most {
                let most = usize::try_from(most).unwrap_or(usize::MAX);
                return Err(too_long(&pieces.address, most));
            }
            body.extend_from_slice(&piece);
        }
        Ok(body)
    }

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

#[cfg(test)]
mod tests {
    use super::*;

    /// A mebibyte of zeros, by gzip.
    fn bomb() -> Vec<u8> {
        use base64::Engine as _;
        let text = format!(
            "H4sIAAAAAAAC/+3BMQEAAADCoPVPbQhfo{}PgMc6jinAAAQAA==",
            "A".repeat(1355)
        );
        base64::engine::general_purpose::STANDARD
            .decode(text)
            .unwrap()
    }

    #[test]
    fn what_is_packed_is_as_long_as_it_may_be_and_no_longer() {
        let packed = bomb();
        let whole = unpacked(&packed, 1 << 20, "http://r.example/x").unwrap();
        assert!(whole.len() == 1 << 20 && whole.iter().all(|byte| *byte == 0));
        let refused = unpacked(&packed, (1 << 20) - 1, "http://r.example/x").unwrap_err();
        assert_eq!(refused.code, "answer-too-long");
    }

    #[test]
    fn damaged_packing_is_no_answer() {
        let packed = bomb();
        let (cut, mut bad) = (&packed[..packed.len() - 1], packed.clone());
        let checksum = bad.len() - 6;
        bad[checksum] ^= 1;
        for bytes in [b"", &b"plain"[..], cut, &bad] {
            let refused = unpacked(bytes, 1 << 21, "http://r.example/x").unwrap_err();
            assert_eq!(refused.code, "unreachable", "{bytes:?}");
        }
    }
}
