//! The settings of the face, already checked. The binary reads them from its TOML file.

use std::time::Duration;

/// The slowest request body that is still read: `bytes` must arrive in every `window` of waiting for the client.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SlowestBody {
    /// Fewest bytes per window.
    pub bytes: u64,
    /// Length of a window; only time spent waiting for the client counts.
    pub window: Duration,
}

/// How the face behaves; what it shows comes from the registry.
#[derive(Clone, Debug)]
pub struct FaceSettings {
    /// Where to report a vulnerability (`mailto:` or `https:` URIs), for `/.well-known/security.txt`.
    /// Empty: the file is not served.
    pub security_contact: Vec<String>,
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
