//! Fetching from a registry: bounded, and told apart by what a person can do about a failure.

use std::io::Read;
use std::time::Duration;

use reqwest::StatusCode;
use reqwest::blocking::Client;
use url::Url;

use crate::failure::{Exit, Failure, Result};

/// The most bytes of an error answer that are shown.
const SHOWN: usize = 300;

/// A registry on the network.
pub struct Remote {
    base: Url,
    client: Client,
    token: Option<String>,
}

impl Remote {
    /// The registry at `base`. `token` is sent along, for instances that are not public.
    ///
    /// # Errors
    /// Where TLS can not be set up, and for plain HTTP to another machine: a token must not cross a network in the clear.
    pub fn new(base: &Url, token: Option<String>) -> Result<Self> {
        let loopback = match base.host() {
            Some(url::Host::Domain(name)) => name == "localhost" || name.ends_with(".localhost"),
            Some(url::Host::Ipv4(address)) => address.is_loopback(),
            Some(url::Host::Ipv6(address)) => address.is_loopback(),
            None => false,
        };
        if token.is_some() && base.scheme() != "https" && !loopback {
            return Err(Failure::new(
                Exit::Usage,
                "plain-http",
                format!("The token would go to {base} in the clear."),
            )
            .remedy("Use the https:// address of the registry, or unset COUNTERSIGN_TOKEN."));
        }
        let mut builder =
            Client::builder().user_agent(concat!("countersign/", env!("CARGO_PKG_VERSION")));
        builder = builder
            .connect_timeout(Duration::from_secs(10))
            .timeout(Duration::from_secs(120));
        if loopback {
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
            token,
        })
    }

    /// The registry's address without a trailing slash.
    pub fn site(&self) -> &str {
        self.base.as_str().trim_end_matches('/')
    }

    /// Fetches a path of this registry; `None` for what is not there (404, 410).
    ///
    /// # Errors
    /// [`Exit::Unreachable`], or [`Exit::Refused`] when the registry says no.
    pub fn find(&self, path: &str, most: usize) -> Result<Option<Vec<u8>>> {
        let address = format!("{}{path}", self.site());
        let mut request = self.client.get(&address);
        if let Some(token) = &self.token {
            request = request.bearer_auth(token);
        }
        let unreachable = |why: String| {
            Failure::new(Exit::Unreachable, "unreachable", format!("{address} can not be fetched: {why}."))
                .remedy("Check the address and the network; `verify --offline` needs neither once the proof is there.")
        };
        let answer = request
            .send()
            .map_err(|error| unreachable(innermost(&error)))?;
        let status = answer.status();
        let mut body = Vec::new();
        answer
            .take(most as u64 + 1)
            .read_to_end(&mut body)
            .map_err(|error| unreachable(error.to_string()))?;
        match status {
            StatusCode::OK if body.len() <= most => Ok(Some(body)),
            StatusCode::OK => Err(Failure::new(
                Exit::Unreachable,
                "answer-too-long",
                format!("{address} answers with more than {most} bytes."),
            )),
            StatusCode::NOT_FOUND | StatusCode::GONE => Ok(None),
            status if status.is_client_error() => {
                let text: String = String::from_utf8_lossy(&body)
                    .chars()
                    .filter(|c| !c.is_control())
                    .take(SHOWN)
                    .collect();
                let failure = Failure::new(
                    Exit::Refused,
                    "refused",
                    format!("{address} answers {status}: {text}"),
                );
                Err(if status == StatusCode::UNAUTHORIZED {
                    failure.remedy("This registry is not public: set COUNTERSIGN_TOKEN to a token with the read action.")
                } else {
                    failure
                })
            }
            status => Err(Failure::new(
                Exit::Unreachable,
                "unreachable",
                format!("{address} answers {status}."),
            )
            .remedy("Try again later.")),
        }
    }

    /// Fetches a path of this registry that must be there.
    ///
    /// # Errors
    /// As [`Remote::find`], and [`Exit::Unreachable`] when it is not there.
    pub fn get(&self, path: &str, most: usize) -> Result<Vec<u8>> {
        self.find(path, most)?.ok_or_else(|| {
            Failure::new(
                Exit::Unreachable,
                "not-there",
                format!("{}{path} is not there.", self.site()),
            )
            .remedy("Is this the address of a Countersign registry?")
        })
    }
}

/// The cause that says most; reqwest's own sentence only repeats the address.
fn innermost(error: &dyn std::error::Error) -> String {
    let mut cause = error;
    while let Some(inner) = cause.source() {
        cause = inner;
    }
    cause.to_string()
}
