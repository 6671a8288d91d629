//! The settings of the face, already checked. The binary reads them from its TOML file.

use std::sync::Arc;
use std::time::Duration;

use jiff::civil::Date;

use crate::assessment::AssessmentSource;
use crate::policies::Policies;

/// The slowest request body that is still read: `bytes` must arrive in every `window` of waiting for the client.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SlowestBody {
    /// Fewest bytes per window.
    pub bytes: u64,
    /// Length of a window; only time spent waiting for the client counts.
    pub window: Duration,
}

/// What `/.well-known/security.txt` says besides its contacts (RFC 9116, section 2.5).
#[derive(Clone, Debug)]
pub struct SecurityTxt {
    /// The day with whose beginning (UTC) it expires; none: half a year after it is asked for.
    pub expires: Option<Date>,
    /// Languages in which reports are read, as their tags.
    pub languages: Vec<String>,
    /// Where the key for encrypted reports is.
    pub encryption: Option<String>,
    /// Where those who reported are thanked.
    pub acknowledgments: Option<String>,
}

impl Default for SecurityTxt {
    fn default() -> Self {
        Self {
            expires: None,
            languages: vec!["en".to_owned()],
            encryption: None,
            acknowledgments: None,
        }
    }
}

/// How the face behaves; what it shows comes from the registry.
#[derive(Clone, Debug)]
pub struct FaceSettings {
    /// Where to report a vulnerability (`mailto:` or `https:` URIs), for `/.well-known/security.txt`.
    /// Empty: the file is not served.
    pub security_contact: Vec<String>,
    /// What else that file says.
    pub security_txt: SecurityTxt,
    /// The registry's policies.
    pub policies: Policies,
    /// Who runs the registry, as its policies name them.
    pub operator: Option<String>,
    /// What `/assessment` shows. None: it says that nothing was published.
    pub assessments: Option<Arc<dyn AssessmentSource>>,
    /// Write one line per request (target `request`, level INFO).
    pub request_log: bool,
    /// A proxy of ours stands in front: the last entry of `X-Forwarded-For` is the caller's address.
    pub behind_proxy: bool,
    /// Uploads received at the same time; more wait up to `upload_wait`, then get 503.
    pub max_uploads: usize,
    /// How long an upload waits for a place.
    pub upload_wait: Duration,
    /// Connections open at the same time; more wait in the listener's queue.
    pub max_connections: usize,
    /// A TLS handshake must be over after this long.
    pub handshake_timeout: Duration,
    /// A request's head must have arrived after this long; also the longest idle time between two requests.
    pub header_timeout: Duration,
    /// Largest request head, in bytes (at least 8 KiB).
    pub max_head: usize,
    /// The slowest request body.
    pub slowest_body: SlowestBody,
    /// A client that takes nothing of an answer for this long is cut off.
    pub write_timeout: Duration,
    /// After the shutdown signal, requests under way have this long to finish.
    pub drain_timeout: Duration,
}

impl Default for FaceSettings {
    fn default() -> Self {
        Self {
            security_contact: Vec::new(),
            security_txt: SecurityTxt::default(),
            policies: Policies::default(),
            operator: None,
            assessments: None,
            request_log: true,
            behind_proxy: false,
            max_uploads: 64,
            upload_wait: Duration::from_secs(10),
            max_connections: 8_192,
            handshake_timeout: Duration::from_secs(10),
            header_timeout: Duration::from_secs(30),
            max_head: 64 << 10,
            slowest_body: SlowestBody {
                bytes: 8 << 10,
                window: Duration::from_secs(20),
            },
            write_timeout: Duration::from_secs(60),
            drain_timeout: Duration::from_secs(60),
        }
    }
}
