//! What counts in the end: flag over environment over file over default.

use std::net::{IpAddr, SocketAddr, ToSocketAddrs};
use std::path::{Path, PathBuf};
use std::time::Duration;

use countersign_formats::Limits;
use countersign_registry::model::{EmailAddress, Visibility};
use countersign_registry::{
    AdvisorySettings, DeletePolicy, LogPolicy, LossRule, Moderation, ReportRule, RootRepository,
    ScanPartner, ScanSettings, Settings, SignIn, SignInProvider, TrustedPublishing,
};
use countersign_web::SecurityTxt;
use url::Url;

use super::{File, LogFormat};
use crate::failure::Failure;

/// What the flags of the command line say.
#[derive(Clone, Debug, Default)]
pub struct Overrides {
    /// `--url`
    pub url: Option<Url>,
    /// `--listen`
    pub listen: Option<String>,
    /// `--database`
    pub database: Option<String>,
    /// `--blobs`
    pub blobs: Option<String>,
    /// `--tls-cert`
    pub tls_cert: Option<PathBuf>,
    /// `--tls-key`
    pub tls_key: Option<PathBuf>,
}

/// Certificate files.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tls {
    /// Certificate chain, PEM.
    pub cert: PathBuf,
    /// Private key, PEM.
    pub key: PathBuf,
}

/// The service that is asked about breached passwords unless the file says otherwise.
const BREACH_SERVICE: &str = "https://api.pwnedpasswords.com/range/";

/// What counts.
#[derive(Clone, Debug)]
pub struct Config {
    /// The data directory.
    pub data: PathBuf,
    /// The file that was read, if there was one.
    pub file: Option<PathBuf>,
    /// Public base URL.
    pub url: Url,
    /// Did a flag or the file give the URL? If not, it takes the port that was really bound.
    pub url_given: bool,
    /// Where to accept connections.
    pub listen: SocketAddr,
    /// Database URL, perhaps with a password: show it through [`shown_without_password`].
    pub database: String,
    /// The SQLite file, when the database is one.
    pub sqlite_file: Option<PathBuf>,
    /// A directory or an `s3://` URL.
    pub blobs: Blobs,
    /// Directory of the log's keys.
    pub keys: PathBuf,
    /// Where uploads wait.
    pub spool: PathBuf,
    /// Who may read.
    pub visibility: Visibility,
    /// Who runs the registry.
    pub operator: Option<String>,
    /// Directory of the operator's own policies.
    pub policies: PathBuf,
    /// For security.txt and policies.
    pub security_contact: Vec<String>,
    /// What else security.txt says.
    pub security_txt: SecurityTxt,
    /// May accounts take free names?
    pub open_creation: bool,
    /// Who may delete.
    pub delete: DeletePolicy,
    /// What happens to what may be harmful.
    pub moderation: Moderation,
    /// What is scanned.
    pub scan: ScanSettings,
    /// Directory of the scanner's rules of the operator's own.
    pub scan_rules: PathBuf,
    /// What is done with advisories.
    pub advisories: AdvisorySettings,
    /// Names that nobody may take.
    pub prohibited_names: Vec<String>,
    /// Names that others must not resemble.
    pub protected_names: Vec<String>,
    /// When releases close.
    pub release_open: Option<Duration>,
    /// How long publishers wait for the log.
    pub log_wait: Duration,
    /// Longest life of a token.
    pub token_longest: Duration,
    /// Bytes of memory for the cache.
    pub memory_cache: u64,
    /// A proxy ends TLS.
    pub tls_terminated_by_proxy: bool,
    /// TLS of our own.
    pub tls: Option<Tls>,
    /// Limits of inspection.
    pub limits: Limits,
    /// Which identity tokens of workflows are taken.
    pub trusted_publishing: TrustedPublishing,
    /// How people sign in.
    pub sign_in: SignIn,
    /// How mail goes out, where it is set up.
    pub mail: Option<Mail>,
    /// Must an account have a proved main address to publish?
    pub verified_address_to_publish: bool,
    /// How long addresses of clients are kept.
    pub keep_client_addresses: Duration,
    /// What happens where provenance would be lost.
    pub provenance_loss: LossRule,
    /// The built-in trust roots that are believed.
    pub trust_roots: Vec<String>,
    /// Are sources looked for?
    pub check_sources: bool,
    /// Are the built-in trust roots kept fresh?
    pub refresh_trust_roots: bool,
    /// Other Cargo registries whose crates stand here.
    pub cargo_aliases: Vec<String>,
    /// Are npm's clients told of attestations?
    pub npm_attestations: bool,
    /// Whose reports of leaked tokens are taken.
    pub scan_partners: Vec<ScanPartner>,
    /// Who must cosign the log's checkpoints.
    pub log_policy: Option<LogPolicy>,
    /// Is the log's map kept?
    pub log_map: bool,
    /// One line per request?
    pub log_requests: bool,
    /// How log lines look.
    pub log_format: LogFormat,
    /// What is logged.
    pub log_filter: String,
}

/// How mail goes out.
#[derive(Clone)]
pub struct Mail {
    /// By which way.
    pub server: MailServer,
    /// From whom.
    pub from: EmailAddress,
    /// User name and password for the server.
    pub login: Option<(String, String)>,
    /// A certificate authority to trust for it.
    pub ca: Option<PathBuf>,
    /// Look after the domains of addresses?
    pub check_domains: bool,
}

impl std::fmt::Debug for Mail {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        // Without the password.
        f.debug_struct("Mail")
            .field("server", &self.server)
            .field("from", &self.from)
            .field("user", &self.login.as_ref().map(|(user, _)| user))
            .finish_non_exhaustive()
    }
}

/// The ways that mail can go.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum MailServer {
    /// TLS from the start: host and port.
    Tls(String, u16),
    /// STARTTLS, required.
    StartTls(String, u16),
    /// In the clear, on this machine alone.
    Plain(String, u16),
    /// One file for each mail.
    Folder(PathBuf),
    /// On standard error.
    Console,
}

impl MailServer {
    /// Reads `mail.server`.
    fn read(text: &str, placed: impl Fn(PathBuf) -> PathBuf) -> Result<Self, Failure> {
        let wrong = |why: String| {
            Failure::usage("config-value", format!("mail.server = {text:?}: {why}."))
                .remedy("Use \"smtps://HOST\", \"smtp://HOST:587\", \"plain://127.0.0.1:25\", \"file:DIRECTORY\" or \"console\".")
        };
        if text == "console" {
            return Ok(Self::Console);
        }
        if let Some(folder) = text.strip_prefix("file:") {
            return Ok(Self::Folder(placed(PathBuf::from(folder))));
        }
        let url = Url::parse(text).map_err(|error| wrong(format!("it is not a URL ({error})")))?;
        if !url.username().is_empty() || url.password().is_some() {
            return Err(wrong(
                "it carries a user name or password; those stand in mail.user and in the environment".to_owned(),
            ));
        }
        if !matches!(url.path(), "" | "/") || url.query().is_some() || url.fragment().is_some() {
            return Err(wrong("it says more than a host and a port".to_owned()));
        }
        let host = url
            .host_str()
            .filter(|host| !host.is_empty())
            .ok_or_else(|| wrong("it names no host".to_owned()))?
            .trim_matches(['[', ']'])
            .to_owned();
        match url.scheme() {
            "smtps" => Ok(Self::Tls(host, url.port().unwrap_or(465))),
            "smtp" => Ok(Self::StartTls(host, url.port().unwrap_or(587))),
            "plain" => {
                let local = host == "localhost"
                    || host
                        .parse()
                        .is_ok_and(|address: IpAddr| address.is_loopback());
                if !local {
                    return Err(wrong(
                        "links that open accounts would cross the network in the clear".to_owned(),
                    ));
                }
                Ok(Self::Plain(host, url.port().unwrap_or(25)))
            }
            other => Err(wrong(format!("{other:?} is no way to send mail"))),
        }
    }
}

/// Reads the policy of the log.
fn log_policy(path: &Path) -> Result<LogPolicy, Failure> {
    let wrong = |why: String| {
        Failure::usage(
            "config-value",
            format!("log.policy = {:?}: {why}.", path.display().to_string()),
        )
        .remedy("Its lines are `witness NAME VKEY URL`, `group NAME all|any|K MEMBER…` and one `quorum NAME`; see c2sp.org/tlog-policy.")
    };
    let text = std::fs::read_to_string(path)
        .map_err(|error| wrong(format!("it can not be read ({error})")))?;
    let policy = LogPolicy::parse(&text).map_err(|error| wrong(error.to_string()))?;
    if !policy.reachable() {
        return Err(wrong(format!(
            "the witnesses that have an address can never be the quorum {:?}",
            policy.policy().quorum()
        )));
    }
    Ok(policy)
}

/// Where blobs are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Blobs {
    /// On this machine.
    Directory(PathBuf),
    /// At an S3-compatible service.
    Remote(String),
}

impl std::fmt::Display for Blobs {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Directory(path) => write!(f, "{}", path.display()),
            Self::Remote(url) => f.write_str(url),
        }
    }
}

/// The port that is used when nothing else is said.
const DEFAULT_PORT: u16 = 8417;

impl Config {
    /// Reads the configuration: `file` if given, else `DATA/countersign.toml` if it is there.
    ///
    /// # Errors
    /// Usage failures that name file, line, key and value.
    pub fn load(data: &Path, file: Option<&Path>, overrides: &Overrides) -> Result<Self, Failure> {
        let data = &std::path::absolute(data).map_err(|error| {
            Failure::usage(
                "data-directory",
                format!("--data {}: {error}.", data.display()),
            )
        })?;
        let default_path = data.join("countersign.toml");
        let path = file.unwrap_or(&default_path);
        let text = match std::fs::read_to_string(path) {
            Ok(text) => Some(text),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound && file.is_none() => None,
            Err(error) => {
                return Err(Failure::usage("config-unreadable", format!("{}: the configuration file can not be read: {error}.", path.display()))
                    .remedy("Give another one with --config FILE, or write one: countersignd config sample > FILE"));
            }
        };
        let parsed = match &text {
            Some(text) => File::parse(text, path)?,
            None => File::default(),
        };
        let environment = |name: &str| std::env::var(name).ok().filter(|value| !value.is_empty());
        Self::resolve(
            parsed,
            data,
            text.is_some().then(|| path.to_owned()),
            overrides,
            &environment,
        )
    }

    /// Weighs flag, environment, file and default. Pure: the environment is handed in.
    pub(super) fn resolve(
        file: File,
        data: &Path,
        path: Option<PathBuf>,
        overrides: &Overrides,
        environment: &dyn Fn(&str) -> Option<String>,
    ) -> Result<Self, Failure> {
        // Paths of the file count from the file's directory, those of flags from where the person stands.
        let base = path
            .as_deref()
            .and_then(Path::parent)
            .unwrap_or(data)
            .to_owned();
        let placed = |path: PathBuf| {
            if path.is_absolute() {
                path
            } else {
                base.join(path)
            }
        };

        let listen_text = overrides
            .listen
            .clone()
            .or(file.listen)
            .unwrap_or_else(|| format!("127.0.0.1:{DEFAULT_PORT}"));
        let listen = listen_address(&listen_text)?;
        let database = match (
            &overrides.database,
            environment("COUNTERSIGN_DATABASE_URL"),
            file.database,
        ) {
            (Some(flag), _, _) => flag.clone(),
            (None, Some(secret), _) => secret,
            (None, None, Some(line)) => match line.strip_prefix("sqlite://") {
                Some(relative) => format!("sqlite://{}", placed(PathBuf::from(relative)).display()),
                None => line,
            },
            (None, None, None) => format!("sqlite://{}", data.join("countersign.db").display()),
        };
        let sqlite_file = match database.split_once("://") {
            Some(("sqlite", path)) => Some(PathBuf::from(path.split('?').next().unwrap_or(path))),
            Some(("postgres" | "postgresql", _)) => None,
            _ => {
                return Err(Failure::usage(
                    "database-url",
                    format!(
                        "The database {:?} is of no known kind.",
                        shown_without_password(&database)
                    ),
                )
                .remedy("Use sqlite://PATH or postgres://USER:PASSWORD@HOST/NAME."));
            }
        };
        let blobs = match (&overrides.blobs, file.blobs) {
            (Some(flag), _) => blobs_place(flag, |path| PathBuf::from(path))?,
            (None, Some(line)) => blobs_place(&line, |path| placed(PathBuf::from(path)))?,
            (None, None) => Blobs::Directory(data.join("blobs")),
        };
        let cert = overrides.tls_cert.clone().or(file.tls_cert.map(&placed));
        let key = overrides.tls_key.clone().or(file.tls_key.map(&placed));
        let tls = match (cert, key) {
            (Some(cert), Some(key)) => Some(Tls { cert, key }),
            (None, None) => None,
            (Some(_), None) => {
                return Err(half_tls("tls.cert (--tls-cert)", "tls.key (--tls-key)"));
            }
            (None, Some(_)) => {
                return Err(half_tls("tls.key (--tls-key)", "tls.cert (--tls-cert)"));
            }
        };
        let given = overrides.url.clone().or(file.url);
        let url_given = given.is_some();
        let url = match given {
            Some(url) => url,
            None => local_url(
                tls.is_some(),
                if listen.port() == 0 {
                    DEFAULT_PORT
                } else {
                    listen.port()
                },
            ),
        };
        let login = match (&file.mail_user, environment("COUNTERSIGN_SMTP_PASSWORD")) {
            (Some(user), Some(password)) => Some((user.clone(), password)),
            (None, _) => None,
            (Some(user), None) => {
                return Err(Failure::usage(
                    "config-value",
                    format!("mail.user = {user:?}, and there is no password for it."),
                )
                .remedy("Set COUNTERSIGN_SMTP_PASSWORD in the environment, or remove mail.user."));
            }
        };
        let mail = match (&file.mail_server, &file.mail_from) {
            (None, None) => None,
            (Some(server), Some(from)) => Some(Mail {
                server: MailServer::read(server, placed)?,
                from: EmailAddress::parse(from).ok_or_else(|| {
                    Failure::usage(
                        "config-value",
                        format!("mail.from = {from:?} is not an e-mail address."),
                    )
                    .remedy("Write it as \"no-reply@packages.example.org\", without a name.")
                })?,
                login,
                ca: file.mail_ca.map(&placed),
                check_domains: file.mail_check_domains.unwrap_or(true),
            }),
            (Some(_), None) => return Err(half_mail("mail.server", "mail.from")),
            (None, Some(_)) => return Err(half_mail("mail.from", "mail.server")),
        };
        let defaults = Settings::new(url.clone(), PathBuf::new());
        let standard = Limits::default();
        let limits = Limits {
            max_file_size: file
                .max_file_size
                .map_or(standard.max_file_size, |bytes| bytes.0),
            max_unpacked: file
                .max_unpacked
                .map_or(standard.max_unpacked, |bytes| bytes.0),
            ratio_floor: file
                .ratio_floor
                .map_or(standard.ratio_floor, |bytes| bytes.0),
            max_ratio: file.max_ratio.map_or(standard.max_ratio, |count| count.0),
            max_entries: file.max_entries.map_or(standard.max_entries, |count| {
                usize::try_from(count.0).unwrap_or(usize::MAX)
            }),
            max_metadata: file
                .max_metadata
                .map_or(standard.max_metadata, |bytes| bytes.0),
            strict_sdist_name: file.strict_sdist_name.unwrap_or(standard.strict_sdist_name),
            allow_plain_linux: file.allow_plain_linux.unwrap_or(standard.allow_plain_linux),
            ..standard
        };
        let keys = file.keys.map_or_else(|| data.join("keys"), &placed);
        let mut providers = Vec::new();
        for line in file.sign_in_providers.map_or_else(Vec::new, |list| list.0) {
            let secret = placed(line.secret);
            let text = std::fs::read_to_string(&secret).map_err(|source| {
                Failure::usage(
                    "config-value",
                    format!(
                        "The secret of the sign-in provider {} can not be read from {}: {source}.",
                        line.name,
                        secret.display()
                    ),
                )
                .remedy("Put the secret that the provider gave you into that file, readable by the server alone.")
            })?;
            let ca_pem = line
                .ca
                .map(|ca| certificate_authority(&line.name, &placed(ca)))
                .transpose()?;
            providers.push(SignInProvider {
                name: line.name,
                issuer: line.issuer,
                client_id: line.client_id,
                client_secret: text.trim().to_owned(),
                ca_pem,
                strengths: line.strengths,
            });
        }
        let sign_in = SignIn {
            open: file.sign_up_open,
            key_folder: keys.clone(),
            breach_service: match file.breach_service.as_deref() {
                None => Some(BREACH_SERVICE.to_owned()),
                Some("off") => None,
                Some(base) => Some(base.to_owned()),
            },
            // A list that was imported counts without another word.
            breach_file: file
                .breach_file
                .map(&placed)
                .or_else(|| Some(data.join("breached")).filter(|path| path.exists())),
            providers,
        };
        Ok(Self {
            sign_in,
            data: data.to_owned(),
            file: path.clone(),
            url,
            url_given,
            listen,
            database,
            sqlite_file,
            blobs,
            keys,
            spool: file.spool.map_or_else(|| data.join("spool"), &placed),
            visibility: file.visibility.unwrap_or(defaults.visibility),
            operator: file.operator,
            policies: file.policies.map_or_else(|| data.join("policies"), &placed),
            security_contact: file
                .security_contact
                .map_or_else(Vec::new, |contacts| contacts.0),
            security_txt: SecurityTxt {
                expires: file.security_expires.map(|day| day.0),
                languages: file
                    .security_languages
                    .map_or_else(|| SecurityTxt::default().languages, |tags| tags.0),
                encryption: file.security_encryption.map(|address| address.0),
                acknowledgments: file.security_acknowledgments.map(|address| address.0),
            },
            open_creation: file.open_creation.unwrap_or(defaults.open_creation),
            delete: file.delete.unwrap_or(defaults.delete),
            moderation: Moderation {
                review: file
                    .review
                    .map_or(defaults.moderation.review, |span| span.0),
                reports: ReportRule {
                    enabled: file
                        .reports_withhold
                        .unwrap_or(defaults.moderation.reports.enabled),
                    ..defaults.moderation.reports.clone()
                },
                freeze: file.reports_freeze.unwrap_or(defaults.moderation.freeze),
            },
            scan_rules: file
                .scan_rules
                .map_or_else(|| data.join("scan-rules"), &placed),
            scan: ScanSettings {
                enabled: file.scan_enabled.unwrap_or(defaults.scan.enabled),
                wait: file.scan_wait.unwrap_or(defaults.scan.wait),
                hold_at: file.scan_hold_at.map_or(defaults.scan.hold_at, |count| {
                    u32::try_from(count.0).unwrap_or(u32::MAX)
                }),
                flag_at: file.scan_flag_at.map_or(defaults.scan.flag_at, |count| {
                    u32::try_from(count.0).unwrap_or(u32::MAX)
                }),
            },
            advisories: AdvisorySettings {
                feeds: file.advisory_feeds.map_or_else(Vec::new, |lines| {
                    let feeds = lines.0.into_iter();
                    feeds.map(|(name, path)| (name, placed(path))).collect()
                }),
                block: file.advisories_block.unwrap_or(defaults.advisories.block),
                keep_downloaders: file.keep_downloaders.map(|span| span.0),
            },
            release_open: match file.release_open_days {
                Some(days) => days
                    .0
                    .map(|days| Duration::from_secs(days.saturating_mul(86_400))),
                None => defaults.release_open,
            },
            prohibited_names: file
                .prohibited_names
                .map_or(defaults.prohibited_names, |names| names.0),
            protected_names: file
                .protected_names
                .map_or(defaults.protected_names, |names| names.0),
            log_wait: file.log_wait.map_or(defaults.log_wait, |span| span.0),
            token_longest: file
                .token_longest
                .map_or(defaults.token_longest, |span| span.0),
            memory_cache: file
                .memory_cache
                .map_or(defaults.memory_cache, |bytes| bytes.0),
            tls_terminated_by_proxy: file.tls_terminated_by_proxy.unwrap_or(false),
            tls,
            limits,
            trusted_publishing: TrustedPublishing {
                enabled: file
                    .trusted_enabled
                    .unwrap_or(defaults.trusted_publishing.enabled),
                builtin: file
                    .builtin_issuers
                    .map_or(defaults.trusted_publishing.builtin, |list| list.0),
                pending_days: file
                    .pending_days
                    .map_or(defaults.trusted_publishing.pending_days, |days| days.0),
                pin_days: file
                    .pin_days
                    .map_or(defaults.trusted_publishing.pin_days, |days| days.0),
            },
            mail,
            verified_address_to_publish: file
                .verified_address_to_publish
                .unwrap_or(defaults.verified_address_to_publish),
            keep_client_addresses: file
                .keep_client_addresses
                .map_or(defaults.keep_origins, |span| span.0),
            provenance_loss: file.provenance_loss.unwrap_or(defaults.provenance_loss),
            trust_roots: file
                .trust_roots
                .map_or(defaults.builtin_trust_roots, |roots| roots.0),
            check_sources: file.check_sources.unwrap_or(defaults.check_sources),
            refresh_trust_roots: file
                .refresh_trust_roots
                .unwrap_or(defaults.refresh_trust_roots),
            npm_attestations: file
                .npm_advertise_attestations
                .unwrap_or(defaults.npm_attestations),
            cargo_aliases: file
                .cargo_stands_in_for
                .map_or(defaults.cargo_aliases, |indexes| indexes.0),
            scan_partners: if file.secret_scanning_github.unwrap_or(true) {
                defaults.scan_partners
            } else {
                Vec::new()
            },
            log_policy: file
                .log_policy
                .map(|path| log_policy(&placed(path)))
                .transpose()?,
            log_map: file.log_map.unwrap_or(defaults.keep_map),
            log_requests: file.log_requests.unwrap_or(true),
            log_format: file.log_format.unwrap_or(LogFormat::Auto),
            log_filter: file.log_filter.unwrap_or_else(|| "info".to_owned()),
        })
    }

    /// Takes the port that was really bound into the default URL.
    pub fn bound(&mut self, address: SocketAddr) {
        self.listen = address;
        if !self.url_given {
            self.url = local_url(self.tls.is_some(), address.port());
        }
    }

    /// The settings of the core.
    pub fn settings(&self) -> Settings {
        Settings {
            url: self.url.clone(),
            visibility: self.visibility,
            limits: self.limits.clone(),
            spool: self.spool.clone(),
            open_creation: self.open_creation,
            delete: self.delete,
            moderation: self.moderation.clone(),
            scan: self.scan.clone(),
            advisories: self.advisories.clone(),
            prohibited_names: self.prohibited_names.clone(),
            protected_names: self.protected_names.clone(),
            release_open: self.release_open,
            log_wait: self.log_wait,
            token_longest: self.token_longest,
            memory_cache: self.memory_cache,
            trusted_publishing: self.trusted_publishing.clone(),
            sign_in: self.sign_in.clone(),
            scan_partners: self.scan_partners.clone(),
            verified_address_to_publish: self.verified_address_to_publish,
            keep_origins: self.keep_client_addresses,
            provenance_loss: self.provenance_loss,
            builtin_trust_roots: self.trust_roots.clone(),
            root_repositories: RootRepository::built_in(),
            check_sources: self.check_sources,
            keep_map: self.log_map,
            refresh_trust_roots: self.refresh_trust_roots,
            cargo_aliases: self.cargo_aliases.clone(),
            npm_attestations: self.npm_attestations,
            log_policy: self.log_policy.clone(),
            // What has no option.
            ..Settings::new(self.url.clone(), self.spool.clone())
        }
    }

    /// Does the public URL name this machine alone?
    pub fn url_is_loopback(&self) -> bool {
        match self.url.host() {
            Some(url::Host::Domain(name)) => name == "localhost" || name.ends_with(".localhost"),
            Some(url::Host::Ipv4(address)) => address.is_loopback(),
            Some(url::Host::Ipv6(address)) => address.is_loopback(),
            None => false,
        }
    }

    /// Refuses what would send tokens in the clear over a network.
    ///
    /// # Errors
    /// A usage failure that names the three ways out.
    pub fn refuse_plain_http_off_loopback(&self) -> Result<(), Failure> {
        if self.tls_terminated_by_proxy {
            return Ok(());
        }
        let ways_out = "Give it a certificate (--tls-cert FILE --tls-key FILE), or listen on 127.0.0.1 behind a proxy on this machine,\n\
                        or, when a proxy elsewhere ends TLS, write tls_terminated_by_proxy = true into the configuration file.";
        if self.tls.is_none() && !is_loopback(self.listen.ip()) {
            return Err(Failure::usage(
                "plain-http",
                format!("Listening on {} without TLS would send tokens and packages in the clear over the network.", self.listen),
            )
            .remedy(ways_out));
        }
        if self.url.scheme() == "http" && !self.url_is_loopback() {
            return Err(Failure::usage(
                "plain-http",
                format!(
                    "The public URL {} is plain HTTP, and its host is not this machine alone.",
                    self.url.as_str().trim_end_matches('/')
                ),
            )
            .remedy(format!("Use https:// in the URL. {ways_out}")));
        }
        if self.tls.is_some() && self.url.scheme() == "http" && self.url_given {
            return Err(Failure::usage(
                "plain-http",
                format!(
                    "There is a certificate, but the public URL {} says http.",
                    self.url.as_str().trim_end_matches('/')
                ),
            )
            .remedy("Write https:// in the URL; documents and links are made from it."));
        }
        Ok(())
    }
}

fn half_mail(there: &str, missing: &str) -> Failure {
    Failure::usage(
        "config-value",
        format!("{there} is set and {missing} is not."),
    )
    .remedy("Mail needs both; set the other one, or remove this one.")
}

/// `http://localhost:PORT`: a name and not an address, because passkeys need one.
fn local_url(tls: bool, port: u16) -> Url {
    let scheme = if tls { "https" } else { "http" };
    Url::parse(&format!("{scheme}://localhost:{port}"))
        .expect("a URL made of a fixed host and a number parses")
}

fn is_loopback(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(address) => address.is_loopback(),
        IpAddr::V6(address) => {
            address.is_loopback()
                || address
                    .to_ipv4_mapped()
                    .is_some_and(|inner| inner.is_loopback())
        }
    }
}

fn half_tls(given: &str, missing: &str) -> Failure {
    Failure::usage(
        "tls-half",
        format!("TLS needs a certificate and its key, but only {given} is given."),
    )
    .remedy(format!("Give {missing} too."))
}

fn listen_address(text: &str) -> Result<SocketAddr, Failure> {
    let wrong = |why: String| {
        Failure::usage(
            "listen-address",
            format!("The listen address {text:?} is not usable: {why}."),
        )
        .remedy("Write address and port, such as 127.0.0.1:8417, [::1]:8417 or 0.0.0.0:443.")
    };
    if let Ok(address) = text.parse::<SocketAddr>() {
        return Ok(address);
    }
    if !text.contains(':') {
        return Err(wrong("it has no port".to_owned()));
    }
    let mut found = text
        .to_socket_addrs()
        .map_err(|error| wrong(error.to_string()))?
        .collect::<Vec<_>>();
    // `localhost` names both families; the older one is where clients look first.
    found.sort_by_key(SocketAddr::is_ipv6);
    found
        .first()
        .copied()
        .ok_or_else(|| wrong("its name has no address".to_owned()))
}

/// Reads the certificate authority of a sign-in provider.
fn certificate_authority(provider: &str, path: &Path) -> Result<String, Failure> {
    let wrong = |why: String| {
        Failure::usage(
            "config-value",
            format!(
                "The certificate authority of the sign-in provider {provider} in {}: {why}.",
                path.display()
            ),
        )
        .remedy("Give a file with its certificate in PEM.")
    };
    let text = std::fs::read_to_string(path).map_err(|source| wrong(source.to_string()))?;
    if !text.contains("-----BEGIN CERTIFICATE-----") {
        return Err(wrong("it holds no certificate in PEM".to_owned()));
    }
    Ok(text)
}

fn blobs_place(text: &str, placed: impl Fn(&str) -> PathBuf) -> Result<Blobs, Failure> {
    match text.split_once("://") {
        None => Ok(Blobs::Directory(placed(text))),
        Some(("file", path)) => Ok(Blobs::Directory(placed(path))),
        Some(("s3", _)) => Ok(Blobs::Remote(text.to_owned())),
        Some((scheme, _)) => Err(Failure::usage(
            "blobs-url",
            format!("Blobs at {text:?}: {scheme:?} is of no known kind."),
        )
        .remedy("Give a directory, or s3://BUCKET/PREFIX.")),
    }
}

/// A database URL as it may be shown: the password is replaced.
pub fn shown_without_password(url: &str) -> String {
    match Url::parse(url) {
        Ok(mut parsed) if parsed.password().is_some() => match parsed.set_password(Some("…")) {
            Ok(()) => parsed.to_string().replace("%E2%80%A6", "…"),
            Err(()) => format!("{}://…", parsed.scheme()),
        },
        _ => url.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use countersign_registry::oidc::Provider;

    fn resolved(
        file: &str,
        overrides: &Overrides,
        environment: &[(&str, &str)],
    ) -> Result<Config, Failure> {
        let file = File::parse(file, Path::new("/etc/c/countersign.toml"))?;
        let find = |name: &str| {
            environment
                .iter()
                .find(|(key, _)| *key == name)
                .map(|(_, value)| (*value).to_owned())
        };
        Config::resolve(
            file,
            Path::new("/data"),
            Some(PathBuf::from("/etc/c/countersign.toml")),
            overrides,
            &find,
        )
    }

    #[test]
    fn a_flag_beats_the_environment_which_beats_the_file_which_beats_the_default() {
        let line = "database = \"postgres://file@h/d\"";
        let environment = [("COUNTERSIGN_DATABASE_URL", "postgres://env@h/d")];
        let flag = Overrides {
            database: Some("postgres://flag@h/d".to_owned()),
            ..Overrides::default()
        };
        let nothing = Overrides::default();
        assert_eq!(
            resolved(line, &flag, &environment).unwrap().database,
            "postgres://flag@h/d"
        );
        assert_eq!(
            resolved(line, &nothing, &environment).unwrap().database,
            "postgres://env@h/d"
        );
        assert_eq!(
            resolved(line, &nothing, &[]).unwrap().database,
            "postgres://file@h/d"
        );
        assert_eq!(
            resolved("", &nothing, &[]).unwrap().database,
            "sqlite:///data/countersign.db"
        );
    }

    #[test]
    fn relative_paths_of_the_file_count_from_its_directory() {
        let config = resolved(
            "blobs = \"b\"\nkeys = \"../k\"\ndatabase = \"sqlite://x.db\"",
            &Overrides::default(),
            &[],
        )
        .unwrap();
        assert_eq!(config.blobs, Blobs::Directory(PathBuf::from("/etc/c/b")));
        assert_eq!(config.keys, PathBuf::from("/etc/c/../k"));
        assert_eq!(config.sqlite_file, Some(PathBuf::from("/etc/c/x.db")));
    }

    #[test]
    fn the_default_url_follows_the_port_and_a_given_one_does_not() {
        let mut config = resolved("listen = \"127.0.0.1:0\"", &Overrides::default(), &[]).unwrap();
        config.bound("127.0.0.1:4242".parse().unwrap());
        assert_eq!(config.url.as_str(), "http://localhost:4242/");
        let mut config = resolved(
            "url = \"https://p.example.org\"",
            &Overrides::default(),
            &[],
        )
        .unwrap();
        config.bound("127.0.0.1:4242".parse().unwrap());
        assert_eq!(config.url.as_str(), "https://p.example.org/");
    }

    #[test]
    fn plain_http_is_allowed_on_loopback_or_behind_a_named_proxy_only() {
        let tls = "[tls]\ncert = \"c\"\nkey = \"k\"";
        for (file, allowed) in [
            ("".to_owned(), true),
            ("listen = \"[::1]:1\"".to_owned(), true),
            ("listen = \"0.0.0.0:80\"".to_owned(), false),
            (
                "listen = \"192.0.2.1:80\"\nurl = \"https://p.example.org\"".to_owned(),
                false,
            ),
            (
                "listen = \"0.0.0.0:80\"\ntls_terminated_by_proxy = true".to_owned(),
                true,
            ),
            ("url = \"https://p.example.org\"".to_owned(), true),
            ("url = \"http://p.example.org\"".to_owned(), false),
            (
                "url = \"http://p.example.org\"\ntls_terminated_by_proxy = true".to_owned(),
                true,
            ),
            (
                format!("listen = \"0.0.0.0:443\"\nurl = \"https://p.example.org\"\n{tls}"),
                true,
            ),
            (format!("url = \"http://localhost:8417\"\n{tls}"), false),
        ] {
            let config = resolved(&file, &Overrides::default(), &[]).unwrap();
            assert_eq!(
                config.refuse_plain_http_off_loopback().is_ok(),
                allowed,
                "{file}"
            );
        }
    }

    #[test]
    fn trusted_publishing_reaches_the_settings_of_the_core() {
        let text = "[trusted_publishing]\nenabled = false\nbuiltin_issuers = [\"gitlab\"]\npending_days = 3\npin_days = 4";
        let config = resolved(text, &Overrides::default(), &[]).unwrap();
        let settings = config.settings().trusted_publishing;
        assert!(!settings.enabled);
        assert_eq!(settings.builtin, [Provider::Gitlab]);
        assert_eq!((settings.pending_days, settings.pin_days), (3, 4));
        let silent = resolved("", &Overrides::default(), &[]).unwrap();
        assert!(silent.settings().trusted_publishing.enabled);
        let none = resolved(
            "[trusted_publishing]\nbuiltin_issuers = []",
            &Overrides::default(),
            &[],
        )
        .unwrap();
        assert!(none.settings().trusted_publishing.builtin.is_empty());
    }

    #[test]
    fn half_a_tls_pair_a_bad_listen_address_and_foreign_schemes_are_refused() {
        for (file, phrase) in [
            ("[tls]\ncert = \"c\"", "Give tls.key"),
            ("listen = \"8417\"", "it has no port"),
            ("listen = \"127.0.0.1:99999\"", "127.0.0.1:99999"),
            ("database = \"mysql://h/d\"", "sqlite://PATH or postgres://"),
            ("blobs = \"gs://bucket\"", "s3://BUCKET/PREFIX"),
            ("security_contact = \"me\"", "mailto:"),
        ] {
            let text = resolved(file, &Overrides::default(), &[])
                .unwrap_err()
                .to_string();
            assert!(text.contains(phrase), "{file} gave {text}");
        }
    }

    #[test]
    fn a_password_is_never_shown() {
        assert_eq!(
            shown_without_password("postgres://u:secret@h/d"),
            "postgres://u:…@h/d"
        );
        assert_eq!(shown_without_password("sqlite:///x.db"), "sqlite:///x.db");
    }
}
