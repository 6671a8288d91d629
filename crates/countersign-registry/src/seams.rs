//! What the outside world lends the core: the time, randomness, and what other hosts publish. Tests lend a clock that
//! they turn and hosts of their own.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use futures::future::BoxFuture;

use crate::model::{EmailAddress, Time};

/// Tells the time.
pub trait Clock: Send + Sync {
    /// The time now.
    fn now(&self) -> Time;
}

/// Gives unpredictable bytes.
pub trait Random: Send + Sync {
    /// 32 bytes from a cryptographic source.
    fn bytes32(&self) -> [u8; 32];
}

/// The machine's clock.
pub struct SystemClock;

impl Clock for SystemClock {
    #[expect(
        clippy::disallowed_methods,
        reason = "the one place where the machine is asked"
    )]
    fn now(&self) -> Time {
        let since = std::time::SystemTime::now()
            .duration_since(std::time::UNIX_EPOCH)
            .expect("the machine's clock stands after 1970");
        Time(
            i64::try_from(since.as_micros())
                .expect("microseconds since 1970 fit 63 bits until the year 294246"),
        )
    }
}

/// The operating system's random source.
pub struct SystemRandom;

impl Random for SystemRandom {
    fn bytes32(&self) -> [u8; 32] {
        let mut bytes = [0; 32];
        rand::TryRngCore::try_fill_bytes(&mut rand::rngs::OsRng, &mut bytes)
            .expect("without the operating system's random source no token may be made");
        bytes
    }
}

/// A document that another host publishes, to be fetched.
#[derive(Clone, Copy, Debug)]
pub struct OutsideRequest<'a> {
    /// Its `https://` address.
    pub url: &'a str,
    /// The most bytes that are taken.
    pub most: usize,
    /// How long all of it may last.
    pub timeout: Duration,
    /// Certificate authorities in PEM that are trusted besides the machine's own.
    pub ca_pem: Option<&'a str>,
    /// Media type asked for.
    pub accept: &'a str,
    /// Further headers.
    pub headers: &'a [(&'a str, &'a str)],
}

/// What a host answered with status 200.
#[derive(Clone, Debug)]
pub struct OutsideAnswer {
    /// The bytes; nothing is believed of them yet.
    pub body: Vec<u8>,
    /// How long its `Cache-Control` lets it be kept.
    pub max_age: Option<Duration>,
}

/// Why there is no answer. Displays as a clause: `it …`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum OutsideError {
    /// No connection, no trust in its certificate, or no answer in time.
    Unreachable(String),
    /// It wanted to send us elsewhere; redirects are never followed.
    Redirected(String),
    /// Another status than 200.
    Status(u16),
    /// More bytes than were asked for.
    TooLarge(usize),
}

impl fmt::Display for OutsideError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unreachable(why) => write!(f, "it can not be reached ({why})"),
            Self::Redirected(to) => {
                write!(f, "it redirects to {to}, and redirects are not followed")
            }
            Self::Status(status) => write!(f, "it answers with the status {status}"),
            Self::TooLarge(most) => write!(f, "it answers with more than {most} bytes"),
        }
    }
}

impl std::error::Error for OutsideError {}

/// What a witness answered, with whatever status.
#[derive(Clone, Debug)]
pub struct WitnessAnswer {
    /// The HTTP status; never a redirect.
    pub status: u16,
    /// Its `Content-Type`, empty where it has none.
    pub content_type: String,
    /// The bytes; nothing is believed of them yet.
    pub body: Vec<u8>,
}

/// Fetches what other hosts publish, and trades codes at sign-in providers: over HTTPS only, no redirects followed.
pub trait Outside: Send + Sync + 'static {
    /// One GET.
    fn get<'a>(
        &'a self,
        request: OutsideRequest<'a>,
    ) -> BoxFuture<'a, Result<OutsideAnswer, OutsideError>>;

    /// One POST of a form (`application/x-www-form-urlencoded`).
    fn post<'a>(
        &'a self,
        request: OutsideRequest<'a>,
        form: &'a str,
    ) -> BoxFuture<'a, Result<OutsideAnswer, OutsideError>>;

    /// One request to a witness of the log: a POST of `body`, or a GET without one. Plain HTTP is spoken too: what is
    /// sent is public, and what comes back is signed. A way that knows no witnesses reaches none.
    fn witness<'a>(
        &'a self,
        _request: OutsideRequest<'a>,
        _body: Option<&'a str>,
    ) -> BoxFuture<'a, Result<WitnessAnswer, OutsideError>> {
        Box::pin(std::future::ready(Err(OutsideError::Unreachable(
            "there is no way to witnesses".to_owned(),
        ))))
    }
}

/// A mail as it goes out. Subject and addresses can hold no line break: see [`Message::new`].
#[derive(Clone)]
pub struct Message {
    id: String,
    to: EmailAddress,
    subject: String,
    /// The plain text.
    pub text: String,
    /// The same in HTML.
    pub html: String,
}

impl Message {
    /// A mail. Control characters in the subject become blanks, so that nothing put into it can begin another header.
    pub fn new(id: String, to: EmailAddress, subject: &str, text: String, html: String) -> Self {
        let subject = subject
            .chars()
            .map(|c| if c.is_control() { ' ' } else { c })
            .take(200)
            .collect();
        Self {
            id,
            to,
            subject,
            text,
            html,
        }
    }

    /// The same at every try, for the `Message-ID`.
    pub fn id(&self) -> &str {
        &self.id
    }

    /// To whom.
    pub fn to(&self) -> &EmailAddress {
        &self.to
    }

    /// The subject, on one line.
    pub fn subject(&self) -> &str {
        &self.subject
    }
}

/// Why a mail did not go out. Displays without address or text of the mail.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PostError {
    /// Trying again later may help.
    Later(String),
    /// It never will: the address is refused.
    Never(String),
}

impl fmt::Display for PostError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Later(why) | Self::Never(why) => f.write_str(why),
        }
    }
}

impl std::error::Error for PostError {}

/// Sends mail.
pub trait Post: Send + Sync + 'static {
    /// Hands one mail to the next server. `Ok` only once that server has taken it.
    fn send<'a>(&'a self, message: &'a Message) -> BoxFuture<'a, Result<(), PostError>>;
}

/// What is publicly known of a domain.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct DomainReport {
    /// The name service knows it; `None` where it did not answer.
    pub exists: Option<bool>,
    /// It names a host that takes mail; `None` where it is not known.
    pub takes_mail: Option<bool>,
    /// Since when the present holder has it, where its registry tells.
    pub registered: Option<Time>,
    /// What its registry says of it (RFC 8056), such as `redemption period`.
    pub statuses: Vec<String>,
}

/// Looks up domains of e-mail addresses.
pub trait DomainIntel: Send + Sync + 'static {
    /// What is known of a registrable domain now.
    fn look_up<'a>(&'a self, domain: &'a str) -> BoxFuture<'a, Result<DomainReport, OutsideError>>;
}

/// All of them together.
#[derive(Clone)]
pub struct Seams {
    /// The time.
    pub clock: Arc<dyn Clock>,
    /// Randomness.
    pub random: Arc<dyn Random>,
    /// Other hosts.
    pub outside: Arc<dyn Outside>,
    /// Mail; `None` where the operator set none up: mail then waits.
    pub post: Option<Arc<dyn Post>>,
    /// Domains of addresses; `None` where they are not looked up.
    pub domains: Option<Arc<dyn DomainIntel>>,
}

impl Seams {
    /// The machine's own clock and randomness, and the way outside that the caller has.
    pub fn system(outside: Arc<dyn Outside>) -> Self {
        Self {
            clock: Arc::new(SystemClock),
            random: Arc::new(SystemRandom),
            outside,
            post: None,
            domains: None,
        }
    }
}
