//! The settings of an instance, already checked. The binary reads them from its TOML file.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use countersign_formats::cargo::OwnIndex;
use countersign_formats::osv::Grade;
use countersign_formats::{Limits, Rejection};
use countersign_trust::digest::Sha256;
use countersign_trust::note::VerifierKey;
use countersign_trust::oidc::Provider;
use countersign_trust::policy::{Policy, PolicyError};
use serde::{Deserialize, Serialize};
use url::Url;

use crate::error::{Error, Kind, Result};
use crate::model::{Level, Time, Visibility};

/// Who may delete, and how long after publishing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DeletePolicy {
    /// Only the operator.
    Never,
    /// Owners, until this long after the file went live.
    Within(Duration),
    /// Owners, always.
    Always,
    /// Owners, where nobody depends on it, and later where few use it.
    Rules(DeletionRules),
}

/// Rules for deletion by owners: never what others here depend on; for a while after publishing else; later what one account
/// owns and few download.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DeletionRules {
    /// So long after publishing downloads and owners do not matter.
    pub within: Duration,
    /// Later the project must have been downloaded fewer times than this…
    pub fewer_downloads: u64,
    /// …in so many days.
    pub days: u32,
}

impl DeletePolicy {
    /// A policy by its name: `npm-like`, `crates-like` or `immutable`.
    pub fn preset(name: &str) -> Option<Self> {
        let rules = |fewer_downloads, days| {
            Self::Rules(DeletionRules {
                within: Duration::from_secs(72 * 3_600),
                fewer_downloads,
                days,
            })
        };
        match name {
            "npm-like" => Some(rules(300, 7)),
            "crates-like" => Some(rules(1_000, 30)),
            "immutable" => Some(Self::Never),
            _ => None,
        }
    }
}

/// What happens to a publication below the level, or from another source, than its project is known for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LossRule {
    /// It is refused, unless an owner opened an exception or declared the move beforehand.
    Refuse,
    /// It passes; its publisher and the owners are told, and it is shown.
    Warn,
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

/// Who must have cosigned a checkpoint before it is shown: a tlog-policy file (c2sp.org/tlog-policy). The same text serves
/// clients, proxies and monitors.
#[derive(Clone, Debug)]
pub struct LogPolicy {
    text: Arc<str>,
    policy: Arc<Policy>,
}

impl LogPolicy {
    /// Reads a policy.
    ///
    /// # Errors
    /// [`PolicyError`] with the line.
    pub fn parse(text: &str) -> std::result::Result<Self, PolicyError> {
        Ok(Self {
            policy: Arc::new(Policy::parse(text.as_bytes())?),
            text: text.into(),
        })
    }

    /// The file.
    pub fn text(&self) -> &str {
        &self.text
    }

    /// What it says.
    pub fn policy(&self) -> &Policy {
        &self.policy
    }

    /// Could the witnesses that have an address be a quorum? Otherwise nothing could ever be shown.
    pub fn reachable(&self) -> bool {
        let witnesses = self.policy.witnesses().iter();
        let named = witnesses.filter(|witness| witness.url.is_some());
        self.policy
            .quorum_met(named.map(|witness| witness.name.as_str()))
    }

    /// The policy with the `log` lines of this log. A file that has none for it gets them, so that an operator need not
    /// know the keys before the log is made.
    ///
    /// # Errors
    /// `log-policy` where it has other keys for this log, or can never be met.
    pub(crate) fn for_log(&self, origin: &str, keys: &[VerifierKey]) -> Result<Self> {
        let refuse = |why: String, remedy: &str| {
            Error::new(
                Kind::Rejected,
                "log-policy",
                format!("The policy of the log can not be used: {why}."),
            )
            .remedy(remedy.to_owned())
        };
        if !self.reachable() {
            return Err(refuse(
                format!(
                    "the witnesses that have an address can never be the quorum {:?}",
                    self.policy.quorum()
                ),
                "Give the witnesses their addresses, after their keys.",
            ));
        }
        let mut own = self
            .policy
            .logs()
            .iter()
            .filter(|log| log.key.name().as_str() == origin)
            .peekable();
        if own.peek().is_some() {
            let named: Vec<&VerifierKey> = own.map(|log| &log.key).collect();
            if named.iter().all(|key| keys.contains(key))
                && keys.first().is_some_and(|first| named.contains(&first))
            {
                return Ok(self.clone());
            }
            return Err(refuse(
                format!("its keys for {origin} are not those of this log"),
                "Take its `log` lines out, then this log's keys are put in; or write those that /.well-known/countersign.json names.",
            ));
        }
        let mut text: String = keys.iter().map(|key| format!("log {key}\n")).collect();
        text.push_str(&self.text);
        Self::parse(&text).map_err(|error| refuse(error.to_string(), "Mend the file."))
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

/// How strong a factor an account needs. Ordered.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum FactorNeed {
    /// None.
    Nothing,
    /// Any second factor.
    Second,
    /// A passkey or security key.
    Phishproof,
}

impl FactorNeed {
    /// In words.
    pub fn words(self) -> &'static str {
        match self {
            Self::Nothing => "no factor",
            Self::Second => "a second factor",
            Self::Phishproof => "a passkey or security key",
        }
    }
}

/// Which factors accounts need. Operators always need a passkey or security key; that is no rule but fixed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct FactorPolicy {
    /// Everybody with a role on a project.
    pub maintainers: FactorNeed,
    /// Everybody with a role on a critical project.
    pub critical: FactorNeed,
    /// So many days an account has to comply.
    pub grace_days: u32,
    /// When the rule was last raised.
    pub raised: Time,
}

impl Default for FactorPolicy {
    fn default() -> Self {
        Self {
            maintainers: FactorNeed::Second,
            critical: FactorNeed::Phishproof,
            grace_days: 30,
            raised: Time(0),
        }
    }
}

/// An OpenID provider that people sign in with.
#[derive(Clone)]
pub struct SignInProvider {
    /// What people call it; also a word in URLs.
    pub name: String,
    /// Its URL, byte for byte as in its tokens.
    pub issuer: String,
    /// What this registry is called there.
    pub client_id: String,
    /// The secret that this registry shows it.
    pub client_secret: String,
    /// Certificate authorities in PEM that are trusted for it besides the machine's own.
    pub ca_pem: Option<String>,
    /// What a value of `acr` or `amr` is worth; others are worth a password.
    pub strengths: Vec<(String, Level)>,
}

impl std::fmt::Debug for SignInProvider {
    /// Without the secret.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("SignInProvider")
            .field("name", &self.name)
            .field("issuer", &self.issuer)
            .finish_non_exhaustive()
    }
}

/// How people sign in.
#[derive(Clone, Debug)]
pub struct SignIn {
    /// May anybody with an e-mail address make an account? `None`: where anybody may read, too. See
    /// [`Settings::sign_up_open`].
    pub open: Option<bool>,
    /// Where the key lies that secrets of codes are sealed with: beside the log's keys.
    pub key_folder: PathBuf,
    /// The base of a range service for breached passwords (such as `https://api.pwnedpasswords.com/range/`).
    pub breach_service: Option<String>,
    /// An imported file of breached passwords.
    pub breach_file: Option<PathBuf>,
    /// External providers.
    pub providers: Vec<SignInProvider>,
}

/// Where a built-in trust root is refreshed from.
#[derive(Clone, Debug)]
pub struct RootRepository {
    /// The name of the trust root.
    pub name: String,
    /// The address of the TUF repository.
    pub url: String,
    /// The TUF root metadata that the chain of roots starts from.
    pub root: Vec<u8>,
}

impl RootRepository {
    /// Those of the built-in roots.
    pub fn built_in() -> Vec<Self> {
        let repository = |name: &str, url: &str, root: &[u8]| Self {
            name: name.to_owned(),
            url: url.to_owned(),
            root: root.to_vec(),
        };
        vec![
            repository(
                "public-good",
                "https://tuf-repo-cdn.sigstore.dev",
                include_bytes!("provenance/tuf/public_good.root.json"),
            ),
            repository(
                "github",
                "https://tuf-repo.github.com",
                include_bytes!("provenance/tuf/github.root.json"),
            ),
        ]
    }
}

/// When reports of malware withhold a project by themselves.
#[derive(Clone, Debug)]
pub struct ReportRule {
    /// Do they ever?
    pub enabled: bool,
    /// A project younger than this is withheld on the word of one trusted reporter.
    pub young: Duration,
    /// So many distinct observers it takes else…
    pub observers: u32,
    /// …of whom so many are trusted.
    pub trusted: u32,
}

impl Default for ReportRule {
    fn default() -> Self {
        Self {
            enabled: true,
            young: Duration::from_secs(86_400),
            observers: 2,
            trusted: 1,
        }
    }
}

/// What happens to what may be harmful.
#[derive(Clone, Debug)]
pub struct Moderation {
    /// Somebody must have looked at a case after this long.
    pub review: Duration,
    /// The rule for reports.
    pub reports: ReportRule,
    /// Does the rule freeze those who published what it withholds?
    pub freeze: bool,
}

impl Default for Moderation {
    fn default() -> Self {
        Self {
            review: Duration::from_secs(3 * 86_400),
            reports: ReportRule::default(),
            freeze: false,
        }
    }
}

/// Which new files are served only after their scan.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ScanHold {
    /// None.
    Never,
    /// Those that found a project.
    NewProjects,
    /// All.
    Always,
}

/// What is scanned, and what follows.
#[derive(Clone, Debug)]
pub struct ScanSettings {
    /// Is what is published scanned?
    pub enabled: bool,
    /// What is served only after its scan.
    pub wait: ScanHold,
    /// From this score on a file is withheld until somebody decides.
    pub hold_at: u32,
    /// From this score on operators are shown what was found.
    pub flag_at: u32,
}

impl Default for ScanSettings {
    fn default() -> Self {
        Self {
            enabled: false,
            wait: ScanHold::Never,
            hold_at: 80,
            flag_at: 30,
        }
    }
}

/// What an advisory must say about a release for its files not to be served.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum AdvisoryBlock {
    /// Nothing it says has that effect.
    #[default]
    Never,
    /// That it was made to do harm.
    Malware,
    /// That, or that it is at least this bad.
    From(Grade),
}

impl AdvisoryBlock {
    /// As it is configured.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Never => "never",
            Self::Malware => "malware",
            Self::From(least) => least.as_str(),
        }
    }

    /// Is a release not served of which an advisory says this?
    pub fn forbids(self, malware: bool, grade: Grade) -> bool {
        match self {
            Self::Never => false,
            Self::Malware => malware,
            Self::From(least) => malware || grade >= least,
        }
    }
}

/// What is done with advisories besides showing them.
#[derive(Clone, Debug, Default)]
pub struct AdvisorySettings {
    /// Feeds that are read again whenever their files change: name and path.
    pub feeds: Vec<(String, PathBuf)>,
    /// What is not served.
    pub block: AdvisoryBlock,
    /// How long it is kept which account downloaded what, so that it can be warned; `None`: not at all.
    pub keep_downloaders: Option<Duration>,
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
    /// What happens to what may be harmful.
    pub moderation: Moderation,
    /// What is scanned.
    pub scan: ScanSettings,
    /// What is done with advisories.
    pub advisories: AdvisorySettings,
    /// A release takes no further files this long after its first one; `None`: never closes.
    pub release_open: Option<Duration>,
    /// How long a publisher waits for the log before a 503.
    pub log_wait: Duration,
    /// So many entries of a service's log may wait for a checkpoint; further ones are refused with 503.
    pub most_unshown: u64,
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
    /// How people sign in.
    pub sign_in: SignIn,
    /// What happens where provenance would be lost.
    pub provenance_loss: LossRule,
    /// The built-in instances of Sigstore that are believed: `public-good`, `github`.
    pub builtin_trust_roots: Vec<String>,
    /// Where those are refreshed from.
    pub root_repositories: Vec<RootRepository>,
    /// Are the built-in trust roots refreshed daily through TUF?
    pub refresh_trust_roots: bool,
    /// Is the map made and committed to in the log?
    pub keep_map: bool,
    /// Is it looked at from time to time whether the sources that attestations name still exist?
    pub check_sources: bool,
    /// Addresses of other Cargo registries whose crates stand here: a dependency on them is one on this registry.
    pub cargo_aliases: Vec<String>,
    /// Packuments tell npm's clients where attestations are. They then verify those against the public Sigstore, and fail
    /// where another one made them.
    pub npm_attestations: bool,
    /// Who must have cosigned a checkpoint before it is shown; `None`: nobody.
    pub log_policy: Option<LogPolicy>,
}

/// What [`Settings::most_unshown`] is unless said otherwise: more than a minute of 10,000 a second, the longest interval between
/// checkpoints.
const MOST_UNSHOWN: u64 = 1_000_000;

impl Settings {
    /// The defaults for an instance at `url` that spools in `spool`.
    pub fn new(url: Url, spool: PathBuf) -> Self {
        let sign_in = SignIn {
            open: None,
            key_folder: spool.with_file_name("keys"),
            breach_service: None,
            breach_file: None,
            providers: Vec::new(),
        };
        Self {
            sign_in,
            url,
            visibility: Visibility::Public,
            limits: Limits::default(),
            spool,
            open_creation: true,
            prohibited_names: Vec::new(),
            protected_names: Vec::new(),
            delete: DeletePolicy::Within(Duration::from_secs(72 * 3_600)),
            moderation: Moderation::default(),
            scan: ScanSettings::default(),
            advisories: AdvisorySettings::default(),
            release_open: Some(Duration::from_secs(14 * 86_400)),
            log_wait: Duration::from_secs(20),
            most_unshown: MOST_UNSHOWN,
            token_longest: Duration::from_secs(366 * 86_400),
            memory_cache: 256 << 20,
            trusted_publishing: TrustedPublishing::default(),
            scan_partners: vec![ScanPartner::github()],
            verified_address_to_publish: false,
            keep_origins: Duration::from_secs(30 * 86_400),
            provenance_loss: LossRule::Refuse,
            builtin_trust_roots: vec!["public-good".to_owned(), "github".to_owned()],
            root_repositories: RootRepository::built_in(),
            refresh_trust_roots: true,
            keep_map: true,
            check_sources: true,
            cargo_aliases: Vec::new(),
            npm_attestations: false,
            log_policy: None,
        }
    }

    /// What of the settings stands in index documents. A document that was rendered under others is not served.
    pub(crate) fn rendered_for(&self) -> String {
        let mut parts: Vec<&str> = vec![self.site()];
        parts.extend(self.cargo_aliases.iter().map(String::as_str));
        if self.npm_attestations {
            parts.push("npm attestations");
        }
        Sha256::of(parts.join("\n").as_bytes()).to_hex()
    }

    /// This registry's Cargo index, as the crates in it name it, with the registries that it stands in for.
    ///
    /// # Errors
    /// `dependency-registry` where the public URL or an alias is no address of an index.
    pub fn own_index(&self) -> std::result::Result<OwnIndex, Rejection> {
        // The other address is the same index for those who have a token.
        let mut own = OwnIndex::new(&format!("sparse+{}/cargo/index/", self.site()))?
            .with_alias(&format!("sparse+{}/cargo/private/", self.site()))?;
        for alias in &self.cargo_aliases {
            own = own.with_alias(alias)?;
        }
        Ok(own)
    }

    /// May anybody with an e-mail address make an account? On a restricted instance every account may read, so there
    /// it takes the operator's word.
    pub fn sign_up_open(&self) -> bool {
        self.sign_in
            .open
            .unwrap_or(self.visibility == Visibility::Public)
    }

    /// The base URL as text without a trailing slash.
    pub fn site(&self) -> &str {
        self.url.as_str().trim_end_matches('/')
    }
}
