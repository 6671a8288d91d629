//! The settings of an instance, already checked. The binary reads them from its TOML file.

use std::path::PathBuf;
use std::time::Duration;

use countersign_formats::Limits;
use countersign_trust::oidc::Provider;
use url::Url;

use crate::model::Visibility;

/// Who may delete, and how long after publishing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DeletePolicy {
    /// Only the operator.
    Never,
    /// Owners, until this long after the file went live.
    Within(Duration),
    /// Owners, always.
    Always,
}

/// Which identity tokens of workflows are taken at all.
#[derive(Clone, Debug)]
pub struct TrustedPublishing {
    /// May anybody publish that way?
    pub enabled: bool,
    /// Providers whose own issuers are admitted without the operator adding them.
    pub builtin: Vec<Provider>,
    /// Days until a pending publisher lapses.
    pub pending_days: u32,
    /// Days within which immutable ids that the provider did not tell are taken from a publisher's first token.
    pub pin_days: u32,
}

impl Default for TrustedPublishing {
    fn default() -> Self {
        Self {
            enabled: true,
            builtin: Provider::ALL
                .iter()
                .copied()
                .filter(|provider| *provider != Provider::Generic)
                .collect(),
            pending_days: 30,
            pin_days: 30,
        }
    }
}

/// A secret scanner that reports leaked tokens in GitHub's partner protocol.
#[derive(Clone, Debug)]
pub struct ScanPartner {
    /// What it is called, to people.
    pub name: String,
    /// The header with the id of its key, in lower case.
    pub key_header: String,
    /// The header with its signature, in lower case.
    pub signature_header: String,
    /// Where it publishes its keys.
    pub keys_url: String,
    /// A certificate authority to trust for that address besides the machine's own.
    pub ca_pem: Option<String>,
}

impl ScanPartner {
    /// GitHub's secret scanning.
    pub fn github() -> Self {
        Self {
            name: "GitHub secret scanning".to_owned(),
            key_header: "github-public-key-identifier".to_owned(),
            signature_header: "github-public-key-signature".to_owned(),
            keys_url: "https://api.github.com/meta/public_keys/secret_scanning".to_owned(),
            ca_pem: None,
        }
    }
}

/// The settings of an instance.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Public base URL, without a trailing slash in its path.
    pub url: Url,
    /// Who may read.
    pub visibility: Visibility,
    /// Limits on archives and metadata.
    pub limits: Limits,
    /// Where uploads wait while they are hashed.
    pub spool: PathBuf,
    /// May an account create a project by publishing to a free name?
    pub open_creation: bool,
    /// Name keys nobody may take.
    pub prohibited_names: Vec<String>,
    /// Name keys that no new name may be one edit away from.
    pub protected_names: Vec<String>,
    /// Who may delete.
    pub delete: DeletePolicy,
    /// A release takes no further files this long after its first one; `None`: never closes.
    pub release_open: Option<Duration>,
    /// How long a publisher waits for the log before a 503.
    pub log_wait: Duration,
    /// Longest life of a token.
    pub token_longest: Duration,
    /// Bytes of documents and small files kept in memory.
    pub memory_cache: u64,
    /// Which identity tokens of workflows are taken.
    pub trusted_publishing: TrustedPublishing,
    /// Whose reports of leaked tokens are taken.
    pub scan_partners: Vec<ScanPartner>,
    /// Must an account have a proved main address to publish?
    pub verified_address_to_publish: bool,
    /// How long addresses and programs of clients are kept.
    pub keep_origins: Duration,
}

impl Settings {
    /// The defaults for an instance at `url` that spools in `spool`.
    pub fn new(url: Url, spool: PathBuf) -> Self {
        Self {
            url,
            visibility: Visibility::Public,
            limits: Limits::default(),
            spool,
            open_creation: true,
            prohibited_names: Vec::new(),
            protected_names: Vec::new(),
            delete: DeletePolicy::Within(Duration::from_secs(72 * 3_600)),
            release_open: Some(Duration::from_secs(14 * 86_400)),
            log_wait: Duration::from_secs(20),
            token_longest: Duration::from_secs(366 * 86_400),
            memory_cache: 256 << 20,
            trusted_publishing: TrustedPublishing::default(),
            scan_partners: vec![ScanPartner::github()],
            verified_address_to_publish: false,
            keep_origins: Duration::from_secs(30 * 86_400),
        }
    }

    /// The base URL as text without a trailing slash.
    pub fn site(&self) -> &str {
        self.url.as_str().trim_end_matches('/')
    }
}
