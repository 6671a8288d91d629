//! The configuration: one TOML file whose every key is documented where it is defined, below.
//!
//! [`File`] is what the file says, [`Config`] what counts after flags, environment and defaults are weighed in.

mod resolve;
mod value;

use std::path::{Path, PathBuf};

use countersign_registry::model::Visibility;
use countersign_registry::{AdvisoryBlock, DeletePolicy, LossRule, ScanHold};
use toml::de::{DeTable, DeValue};
use url::Url;

pub use resolve::{Blobs, Config, Mail, MailServer, Overrides, Tls, shown_without_password};
pub use value::{
    Bytes, CargoIndexes, Contacts, Count, Day, Days, FeedLines, Languages, LogFormat, Names,
    OpenDays, Providers, SecurityAddress, Setting, SignInProviders, Span, TrustRoots, public_url,
};

use crate::failure::Failure;

/// One key of the file.
pub struct Key {
    /// Dotted path, `limits.max_file_size`.
    pub path: &'static str,
    /// What it means, line by line.
    pub doc: &'static [&'static str],
    /// Its default as TOML, or an example where there is no default.
    pub shown: &'static str,
}

macro_rules! keys {
    ($( $(#[doc = $doc:literal])+ $path:literal => $field:ident: $kind:ty = $shown:literal; )+) => {
        /// What the configuration file says. `None`: it says nothing and the default counts.
        #[derive(Clone, Debug, Default)]
        pub struct File {
            $( $(#[doc = $doc])+ pub $field: Option<$kind>, )+
        }

        /// Every key there is, in the order of the sample.
        pub const KEYS: &[Key] = &[$( Key { path: $path, doc: &[$($doc),+], shown: $shown } ),+];

        impl File {
            /// Sets one key. `None`: there is no such key. `Err`: what is wrong with the value, and what was expected.
            fn set(&mut self, path: &str, value: &DeValue<'_>) -> Option<Result<(), (String, &'static str)>> {
                Some(match path {
                    $( $path => <$kind as Setting>::read(value)
                        .map(|read| self.$field = Some(read))
                        .map_err(|wrong| (wrong, <$kind as Setting>::EXPECTED)), )+
                    _ => return None,
                })
            }
        }
    };
}

keys! {
    /// The public address of this registry, as clients write it. Links, documents and the log's name at
    /// `init` are made from it. No path: some package clients drop path prefixes.
    "url" => url: Url = "\"http://localhost:8417\"";
    /// Where to accept connections: address and port. Port 0 takes a free one and says which.
    "listen" => listen: String = "\"127.0.0.1:8417\"";
    /// The database: "sqlite://PATH" or "postgres://USER@HOST/NAME". Default: countersign.db in the data directory.
    /// A password is better given in the environment: COUNTERSIGN_DATABASE_URL replaces this whole line.
    "database" => database: String = "\"postgres://countersign@db.internal/countersign\"";
    /// Where the artifacts and the log's tiles are: a directory, or "s3://BUCKET/PREFIX". Default: blobs in the data directory.
    /// S3 credentials come from the environment alone: COUNTERSIGN_S3_ACCESS_KEY_ID, COUNTERSIGN_S3_SECRET_ACCESS_KEY
    /// (or AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY), COUNTERSIGN_S3_REGION and COUNTERSIGN_S3_ENDPOINT.
    "blobs" => blobs: String = "\"s3://packages/countersign\"";
    /// The directory of the log's signing keys. Keep it, and its backup, apart from the database.
    /// Default: keys in the data directory.
    "keys" => keys: PathBuf = "\"/etc/countersign/keys\"";
    /// Where uploads wait while they are hashed and inspected; needs room for the largest file times the
    /// uploads at one time. Default: spool in the data directory.
    "spool" => spool: PathBuf = "\"/var/tmp/countersign\"";
    /// Who may read: "public" (everyone) or "restricted" (callers whose token has the read action). It covers index,
    /// files, log, pages, feeds and metrics alike; public and private packages live on separate instances.
    "visibility" => visibility: Visibility = "\"public\"";
    /// Who runs this registry, as its policies name them.
    "operator" => operator: String = "\"the Example Foundation\"";
    /// The directory of policies of your own: NAME.md is shown at /policies/NAME, in place of the built-in text or beside
    /// those. `countersignd config policy` prints what to begin with. Default: policies in the data directory.
    "policies" => policies: PathBuf = "\"/etc/countersign/policies\"";
    /// Whom to tell about security problems, shown in /.well-known/security.txt and in the policies: a mailto: or https:
    /// address, or a list of them in the order in which you like them used.
    "security_contact" => security_contact: Contacts = "\"mailto:security@example.org\"";
    /// May an account take a free project name by publishing to it?
    "open_creation" => open_creation: bool = "true";
    /// Who may delete what they published: "never" (only the operator), "always", or how long after publishing.
    /// "npm-like", "crates-like" and "immutable" weigh downloads, dependents and owners too: /policies/deletion tells how.
    /// Names and digests stay reserved for ever, whichever it is.
    "delete" => delete: DeletePolicy = "\"72h\"";
    /// Days after its first file during which a release takes further files, or "always".
    "release_open_days" => release_open_days: OpenDays = "14";
    /// Project names that nobody may take, in their normalised form.
    "prohibited_names" => prohibited_names: Names = "[]";
    /// Project names, in their normalised form, that no new name may be one edit away from.
    "protected_names" => protected_names: Names = "[]";
    /// How long a publisher waits for the log before it is asked to try again.
    "log_wait" => log_wait: Span = "\"20s\"";
    /// The longest life of a token.
    "token_longest" => token_longest: Span = "\"366d\"";
    /// Memory for documents and small files that are asked for often.
    "memory_cache" => memory_cache: Bytes = "\"256 MiB\"";
    /// True when a proxy in front ends TLS. Without TLS of its own and without this line, the server
    /// listens on loopback addresses only, because tokens would cross the network in the clear.
    "tls_terminated_by_proxy" => tls_terminated_by_proxy: bool = "false";
    /// Somebody must have looked at what is withheld after this long; it stays withheld, and the operators are told.
    "moderation.review" => review: Span = "\"3d\"";
    /// May reports of malware withhold a project by themselves, by the rule of docs/operating-abuse.md?
    "moderation.reports_withhold" => reports_withhold: bool = "true";
    /// Does that freeze those who published it?
    "moderation.reports_freeze" => reports_freeze: bool = "false";
    /// Is what is published scanned for what attackers do? It takes Linux with Landlock and seccomp.
    "scan.enabled" => scan_enabled: bool = "false";
    /// The directory of rules of your own: *.toml, and where countersignd was built with YARA *.yar and *.yara
    /// (docs/spec/scan-rules.md). Default: scan-rules in the data directory.
    "scan.rules" => scan_rules: PathBuf = "\"/etc/countersign/scan-rules\"";
    /// Which new files are served only after their scan: "never", "new-projects" or "always".
    "scan.wait" => scan_wait: ScanHold = "\"never\"";
    /// From this score on, of 100, a file is withheld until somebody decides; 101 withholds none.
    "scan.hold_at" => scan_hold_at: Count = "80";
    /// From this score on operators are shown what was found.
    "scan.flag_at" => scan_flag_at: Count = "30";
    /// Feeds of advisories that are read again whenever their files change, one a text: a name, and a file or folder as
    /// `countersignd advisories import` takes it. Something else has to fetch them.
    "advisories.feeds" => advisory_feeds: FeedLines = "[]";
    /// Which releases are not served because of an advisory that means them for sure: "never", "malware", or from a severity
    /// on ("critical", "high", "medium", "low"), malware included. `countersignd advisories exempt` makes exceptions.
    "advisories.block" => advisories_block: AdvisoryBlock = "\"never\"";
    /// How long it is kept which account downloaded which file on which day, so that `countersignd advisories warn` can tell
    /// those who downloaded what turned out to do harm. Without this line it is not kept, and what was kept is deleted.
    "advisories.keep_downloaders" => keep_downloaders: Span = "\"90d\"";
    /// The certificate chain in PEM, the server's own certificate first. SIGHUP reads both files again.
    "tls.cert" => tls_cert: PathBuf = "\"/etc/countersign/tls/fullchain.pem\"";
    /// The certificate's private key in PEM.
    "tls.key" => tls_key: PathBuf = "\"/etc/countersign/tls/privkey.pem\"";
    /// The largest artifact.
    "limits.max_file_size" => max_file_size: Bytes = "\"1 GiB\"";
    /// The most that an archive may unpack to.
    "limits.max_unpacked" => max_unpacked: Bytes = "\"512 MiB\"";
    /// Up to this unpacked size an archive may be as dense as it likes.
    "limits.ratio_floor" => ratio_floor: Bytes = "\"64 MiB\"";
    /// Above that, unpacked size divided by packed size from which an archive counts as a bomb.
    "limits.max_ratio" => max_ratio: Count = "50";
    /// The most members of an archive.
    "limits.max_entries" => max_entries: Count = "50000";
    /// The largest METADATA or PKG-INFO.
    "limits.max_metadata" => max_metadata: Bytes = "\"1 MiB\"";
    /// Require that an sdist is named exactly by PEP 625; otherwise older spellings of the same name will do.
    "limits.strict_sdist_name" => strict_sdist_name: bool = "false";
    /// Accept wheels tagged plain linux_x86_64 and the like, which do not say which C library they need.
    "limits.allow_plain_linux" => allow_plain_linux: bool = "false";
    /// The day on which security.txt expires: by then somebody has looked at it again. Without it the file always expires in
    /// half a year, and nobody notices a contact that has gone.
    "security.expires" => security_expires: Day = "\"2027-06-30\"";
    /// Languages in which reports are read.
    "security.languages" => security_languages: Languages = "[\"en\"]";
    /// Where the key for encrypted reports is.
    "security.encryption" => security_encryption: SecurityAddress = "\"https://example.org/security-key.asc\"";
    /// Where those who reported something are thanked.
    "security.acknowledgments" => security_acknowledgments: SecurityAddress = "\"https://example.org/thanks\"";
    /// May workflows publish with identity tokens of their CI system, without a stored secret (trusted publishing)?
    "trusted_publishing.enabled" => trusted_enabled: bool = "true";
    /// Which issuers are known from the start. Any other, such as a GitLab of your own, is added with
    /// `countersignd admin issuer add`.
    "trusted_publishing.builtin_issuers" => builtin_issuers: Providers = "[\"github\", \"gitlab\", \"google\", \"circleci\", \"buildkite\", \"forgejo\", \"activestate\"]";
    /// Days after which a pending publisher, which waits for the first release of its project, lapses.
    "trusted_publishing.pending_days" => pending_days: Days = "30";
    /// Days within which a publisher takes the ids of its owner and repository from its first token, where the provider
    /// could not be asked for them. After that it must be registered again, so that nobody picks up a name that was left.
    "trusted_publishing.pin_days" => pin_days: Days = "30";
    /// May anybody with an e-mail address make an account? Otherwise the operator makes them. Default: where anybody may
    /// read. Every account may read a restricted registry, so to open that one to everybody you say true here.
    "sign_in.open" => sign_up_open: bool = "true";
    /// The base of a service that knows breached passwords, in the protocol of Have I Been Pwned: it is sent the first five
    /// digits of a password's SHA-1, never more. For a registry without a way outside, set it to "off" and import a list.
    "sign_in.breach_service" => breach_service: String = "\"https://api.pwnedpasswords.com/range/\"";
    /// A file of breached passwords, as `countersignd admin breached import` makes it. Default: breached in the data
    /// directory, once something was imported.
    "sign_in.breach_file" => breach_file: PathBuf = "\"/var/lib/countersign/breached\"";
    /// OpenID providers that people sign in with, one a text: name, issuer, client id, the file with the client secret, and
    /// what its words for how it checked a person are worth (password, two-factor, phishproof). With ca=FILE among them a
    /// certificate authority in PEM is trusted for that provider besides the machine's own.
    "sign_in.providers" => sign_in_providers: SignInProviders = "[\"company https://login.example.org countersign /etc/countersign/company.secret mfa=two-factor phr=phishproof\"]";
    /// How mail goes out: "smtps://HOST" (TLS from the start), "smtp://HOST:587" (STARTTLS, which must succeed),
    /// "plain://127.0.0.1:25" (a server on this machine), "file:DIRECTORY" or "console" (for development: nothing is sent).
    /// Without it mail waits and nobody can recover an account or prove an address. The server's certificate is checked.
    "mail.server" => mail_server: String = "\"smtp://mail.example.org:587\"";
    /// The address that mail comes from.
    "mail.from" => mail_from: String = "\"no-reply@packages.example.org\"";
    /// The user name for the mail server. Its password comes from the environment alone: COUNTERSIGN_SMTP_PASSWORD.
    "mail.user" => mail_user: String = "\"countersign\"";
    /// A certificate authority in PEM to trust for the mail server, besides the machine's own.
    "mail.ca" => mail_ca: PathBuf = "\"/etc/countersign/mail-ca.pem\"";
    /// Look daily whether domains of addresses are abandoned (DNS, and RDAP over HTTPS); such addresses recover no account.
    "mail.check_domains" => mail_check_domains: bool = "true";
    /// Must an account have a proved main address to publish?
    "accounts.verified_address_to_publish" => verified_address_to_publish: bool = "false";
    /// How long addresses and programs of clients are kept with sessions and notices.
    "accounts.keep_client_addresses" => keep_client_addresses: Span = "\"30d\"";
    /// What happens to a publication with less behind it, or from another source, than its project is known for:
    /// "refuse" (unless an owner opened an exception or declared the move) or "warn".
    "provenance.loss" => provenance_loss: LossRule = "\"refuse\"";
    /// The built-in instances of Sigstore that are believed; private ones: `countersignd admin trust-root add`.
    "provenance.trust_roots" => trust_roots: TrustRoots = "[\"public-good\", \"github\"]";
    /// Look weekly (over HTTPS) whether the sources that attestations name still exist.
    "provenance.check_sources" => check_sources: bool = "true";
    /// Keep the built-in trust roots fresh by asking their TUF repositories daily.
    "provenance.refresh_trust_roots" => refresh_trust_roots: bool = "true";
    /// Indexes of other Cargo registries whose crates stand here: a crate's dependency on one of them is one on this
    /// registry. Set it to the public registry's for a mirror of that, and to this one's own old address
    /// after it moved; indices are rendered anew when it changes. Empty, dependencies on others stay dependencies on others.
    "cargo.stands_in_for" => cargo_stands_in_for: CargoIndexes = "[]";
    /// Tell npm's clients (dist.attestations) where a version's provenance is. `npm audit signatures` then verifies it
    /// against the public Sigstore, which it has to reach, and calls what a private one made invalid: so only for
    /// registries of public packages. It is served at /npm/-/npm/v1/attestations/ in any case.
    "npm.advertise_attestations" => npm_advertise_attestations: bool = "false";
    /// Take signed reports of leaked tokens from GitHub's secret scanning at /_/secrets/disclose-token?
    "secret_scanning.github" => secret_scanning_github: bool = "true";
    /// A tlog-policy file: witnesses, and which of them must have cosigned a checkpoint of the transparency log before it is
    /// shown. Without it the log waits for nobody. This log's own keys need not stand in it.
    "log.policy" => log_policy: PathBuf = "\"/etc/countersign/log-policy\"";
    /// Keep the map of the transparency log and commit to it. Without it nobody can prove that no release is kept back.
    "log.map" => log_map: bool = "true";
    /// Write one line per request.
    "log.requests" => log_requests: bool = "true";
    /// How log lines look: "auto" (for people on a terminal, JSON otherwise), "human" or "json".
    "log.format" => log_format: LogFormat = "\"auto\"";
    /// What is logged, in the syntax of tracing's filters; RUST_LOG replaces it.
    "log.filter" => log_filter: String = "\"info\"";
}

/// Keys whose sample shows an example, because the default depends on other things or is "nothing".
const EXAMPLES_ONLY: &[&str] = &[
    "database",
    "blobs",
    "keys",
    "spool",
    "operator",
    "policies",
    "scan.rules",
    "security_contact",
    "security.expires",
    "security.encryption",
    "security.acknowledgments",
    "advisories.keep_downloaders",
    // Its default is that of another key.
    "sign_in.open",
    "tls.cert",
    "tls.key",
    "sign_in.breach_file",
    "sign_in.providers",
    "mail.server",
    "mail.from",
    "mail.user",
    "mail.ca",
    "log.policy",
];

impl File {
    /// Parses a configuration file. `path` is for messages only.
    ///
    /// # Errors
    /// The first fault, with file, line, key and value, and the way out.
    pub fn parse(text: &str, path: &Path) -> Result<Self, Failure> {
        let at = |offset: usize| {
            let line = text.get(..offset).unwrap_or(text).matches('\n').count() + 1;
            format!("{}:{line}", path.display())
        };
        let table = DeTable::parse(text).map_err(|error| {
            let place = at(error.span().map_or(0, |span| span.start));
            Failure::usage("config-syntax", format!("{place}: not valid TOML: {}.", error.message()))
                .remedy("Strings stand in double quotes; `countersignd config sample` prints a whole file to start from.")
        })?;
        let mut file = Self::default();
        // Sections are one deep, so that a flat list of dotted paths is all there is to know.
        let mut entries = Vec::new();
        for (key, value) in table.get_ref() {
            match value.get_ref().as_table() {
                Some(section) => {
                    let name = key.get_ref();
                    let prefix = format!("{name}.");
                    if !KEYS.iter().any(|known| known.path.starts_with(&prefix)) {
                        let sections: Vec<_> = KEYS
                            .iter()
                            .filter_map(|known| known.path.split_once('.'))
                            .map(|(section, _)| section)
                            .collect();
                        return Err(unknown(&at(key.span().start), "section", name, &sections));
                    }
                    entries.extend(section.iter().map(|(inner, value)| {
                        (
                            format!("{prefix}{}", inner.get_ref()),
                            inner.span().start,
                            value,
                        )
                    }));
                }
                None => entries.push((key.get_ref().to_string(), key.span().start, value)),
            }
        }
        entries.sort_by_key(|(_, offset, _)| *offset);
        for (key, offset, value) in entries {
            match file.set(&key, value.get_ref()) {
                Some(Ok(())) => {}
                Some(Err((wrong, expected))) => {
                    let shown = text.get(value.span()).unwrap_or("?").trim();
                    let wrong = if wrong.is_empty() {
                        String::new()
                    } else {
                        format!(" {wrong};")
                    };
                    return Err(Failure::usage(
                        "config-value",
                        format!(
                            "{}: {key} = {shown}:{wrong} expected {expected}.",
                            at(offset)
                        ),
                    )
                    .remedy("`countersignd config sample` shows every key with its default."));
                }
                None => {
                    let paths: Vec<_> = KEYS.iter().map(|known| known.path).collect();
                    return Err(unknown(&at(offset), "key", &key, &paths));
                }
            }
        }
        Ok(file)
    }
}

/// An unknown key or section, with the nearest known one.
fn unknown(place: &str, what: &str, name: &str, known: &[&str]) -> Failure {
    // A key that only stands in the wrong section is nearest to its namesake.
    let last = |path: &str| path.rsplit('.').next().unwrap_or(path).to_owned();
    let nearest = known
        .iter()
        .map(|known| {
            (
                strsim::normalized_damerau_levenshtein(name, known)
                    .max(strsim::normalized_damerau_levenshtein(&last(name), &last(known)) - 0.01),
                known,
            )
        })
        .filter(|(likeness, _)| *likeness > 0.5)
        .max_by(|a, b| a.0.total_cmp(&b.0))
        .map(|(_, known)| format!(" Did you mean {known:?}?"));
    Failure::usage("config-unknown-key", format!("{place}: unknown {what} {name:?}.{}", nearest.unwrap_or_default()))
        .remedy("Unknown keys are refused so that a slip of the pen never turns a protection off. `countersignd config sample` shows every key.")
}

/// A whole configuration file with every key, its meaning and its default, all commented out.
pub fn sample() -> String {
    let mut out = String::from(
        "# Configuration of countersignd. Every key is here with its default; remove the `#` before a key to change it.\n\
         # Flags of the command line come first, then the environment (secrets only), then this file.\n\
         # Relative paths count from the directory of this file. `countersignd config check` reads it and says what counts.\n",
    );
    let mut section = "";
    for key in KEYS {
        let (this, name) = key.path.split_once('.').unwrap_or(("", key.path));
        if this != section {
            section = this;
            out.push_str(&format!("\n[{section}]\n"));
        }
        out.push('\n');
        for line in key.doc {
            out.push_str(&format!("#{line}\n"));
        }
        let note = if EXAMPLES_ONLY.contains(&key.path) {
            "   # an example"
        } else {
            ""
        };
        out.push_str(&format!("#{name} = {}{note}\n", key.shown));
    }
    out
}

/// The flags that were given, as lines of a configuration file; paths are made absolute, since flags count from where
/// the person stood. Empty when none was given.
pub fn remembered(config: &Config, given: &Overrides) -> String {
    let mut lines = Vec::new();
    let mut line =
        |key: &str, value: String| lines.push(format!("{key} = {}\n", toml::Value::String(value)));
    let whole = |path: &Path| {
        std::path::absolute(path)
            .unwrap_or_else(|_| path.to_owned())
            .display()
            .to_string()
    };
    if let Some(url) = &given.url {
        line("url", url.as_str().trim_end_matches('/').to_owned());
    }
    if let Some(listen) = &given.listen {
        line("listen", listen.clone());
    }
    if given.database.is_some() {
        let database = config
            .sqlite_file
            .as_ref()
            .map(|file| format!("sqlite://{}", whole(file)));
        line(
            "database",
            database.unwrap_or_else(|| config.database.clone()),
        );
    }
    if given.blobs.is_some() {
        line(
            "blobs",
            match &config.blobs {
                Blobs::Directory(path) => whole(path),
                Blobs::Remote(url) => url.clone(),
            },
        );
    }
    if let Some(tls) = &config.tls {
        line("tls.cert", whole(&tls.cert));
        line("tls.key", whole(&tls.key));
    }
    if lines.is_empty() {
        return String::new();
    }
    format!(
        "# Written by `countersignd init`. `countersignd config sample` shows every key.\n{}",
        lines.concat()
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fault(text: &str) -> String {
        File::parse(text, Path::new("countersign.toml"))
            .unwrap_err()
            .to_string()
    }

    #[test]
    fn the_sample_parses_as_it_is_and_with_every_key_uncommented() {
        let sample = sample();
        File::parse(&sample, Path::new("s")).unwrap();
        let keys: Vec<_> = KEYS
            .iter()
            .map(|key| format!("#{} = ", key.path.rsplit('.').next().unwrap()))
            .collect();
        let uncommented: String = sample
            .lines()
            .map(|line| {
                if keys.iter().any(|key| line.starts_with(key)) {
                    &line[1..]
                } else {
                    line
                }
            })
            .map(|line| format!("{line}\n"))
            .collect();
        let file = File::parse(&uncommented, Path::new("s")).unwrap();
        assert!(
            file.url.is_some()
                && file.log_filter.is_some()
                && file.max_ratio.is_some()
                && file.tls_key.is_some()
                && file.builtin_issuers.is_some()
        );
    }

    #[test]
    fn what_the_sample_calls_a_default_is_the_default() {
        let shown = |path: &str| KEYS.iter().find(|key| key.path == path).unwrap().shown;
        let text: String = KEYS
            .iter()
            .filter(|key| !EXAMPLES_ONLY.contains(&key.path))
            .map(|key| format!("{} = {}\n", key.path, shown(key.path)))
            .collect();
        let spelled = Config::resolve(
            File::parse(&text, Path::new("d/countersign.toml")).unwrap(),
            Path::new("d"),
            None,
            &Overrides::default(),
            &|_| None,
        )
        .unwrap();
        let silent = Config::resolve(
            File::default(),
            Path::new("d"),
            None,
            &Overrides::default(),
            &|_| None,
        )
        .unwrap();
        assert_eq!(
            format!(
                "{:?}",
                Config {
                    url_given: false,
                    ..spelled
                }
            ),
            format!("{silent:?}")
        );
    }

    #[test]
    fn an_unknown_key_is_refused_with_its_line_and_the_nearest_known_key() {
        let text = fault("# comment\nurl = \"http://localhost:1\"\nvisibilty = \"public\"\n");
        assert!(
            text.starts_with(
                "countersign.toml:3: unknown key \"visibilty\". Did you mean \"visibility\"?"
            ),
            "{text}"
        );
        let text = fault("[limits]\nmax_file = 3\n");
        assert!(text.contains("countersign.toml:2: unknown key \"limits.max_file\". Did you mean \"limits.max_file_size\"?"), "{text}");
        let text = fault("max_ratio = 3\n");
        assert!(
            text.contains("Did you mean \"limits.max_ratio\"?"),
            "{text}"
        );
        let text = fault("[limit]\nmax_ratio = 3\n");
        assert!(
            text.contains(":1: unknown section \"limit\". Did you mean \"limits\"?"),
            "{text}"
        );
        let text = fault("qqqqqqqq = 1\n");
        assert!(!text.contains("Did you mean"), "{text}");
    }

    #[test]
    fn a_wrong_value_is_named_with_line_key_value_and_what_was_expected() {
        for (line, phrases) in [
            (
                "visibility = \"secret\"",
                &[
                    "visibility = \"secret\"",
                    "expected \"public\" or \"restricted\"",
                ][..],
            ),
            (
                "listen = 8417",
                &["listen = 8417", "a string in double quotes"],
            ),
            (
                "open_creation = \"yes\"",
                &["true or false, without quotes"],
            ),
            (
                "memory_cache = \"256 Mib\"",
                &["\"Mib\" is not a unit", "256 MiB"],
            ),
            ("log_wait = \"20\"", &["has no unit; write 20s"]),
            ("delete = \"sometimes\"", &["\"never\", \"always\""]),
            (
                "url = \"https://example.org/packages\"",
                &["has a path", "host of its own"],
            ),
            ("url = \"ftp://example.org\"", &["scheme is \"ftp\""]),
            (
                "url = \"https://user:pw@example.org\"",
                &["user name or password"],
            ),
            ("release_open_days = 0", &["it is 0", "above 0"]),
            ("release_open_days = \"never\"", &["or \"always\""]),
            (
                "trusted_publishing.pin_days = 0",
                &["it is 0", "from 1 to 366"],
            ),
            (
                "trusted_publishing.pending_days = 367",
                &["it is 367", "from 1 to 366"],
            ),
            (
                "trusted_publishing.builtin_issuers = [\"githup\"]",
                &["githup", "[\"github\", \"gitlab\"]"],
            ),
            (
                "trusted_publishing.builtin_issuers = [\"generic\"]",
                &["has no issuer of its own", "admin issuer add"],
            ),
            (
                "trusted_publishing.builtin_issuers = [\"github\", \"github\"]",
                &["\"github\" stands in it twice"],
            ),
            (
                "security_contact = \"security@example.org\"",
                &["is not an address that RFC 9116 allows", "mailto:"],
            ),
            ("security_contact = []", &["leave the line out"]),
            (
                "security.expires = \"2027-02-30\"",
                &["is no day", "\"2027-06-30\""],
            ),
            ("security.languages = [\"e\"]", &["\"e\" is no tag"]),
            ("security.encryption = \"http://x\"", &["https://"]),
            (
                "prohibited_names = [\"Some_Name\"]",
                &["\"Some_Name\" is not normalised", "some-name"],
            ),
        ] {
            let text = fault(&format!("\n\n{line}\n"));
            assert!(text.starts_with("countersign.toml:3: "), "{text}");
            for phrase in phrases {
                assert!(text.contains(phrase), "{line} gave {text}");
            }
        }
    }

    #[test]
    fn what_init_was_given_reads_back_as_the_same_configuration() {
        let given = Overrides {
            url: Some("https://p.example.org".parse().unwrap()),
            listen: Some("127.0.0.1:9".to_owned()),
            database: Some("sqlite://rel.db".to_owned()),
            blobs: Some("it's \"here\"".to_owned()),
            tls_cert: Some("c.pem".into()),
            tls_key: Some("/k.pem".into()),
        };
        let first =
            Config::resolve(File::default(), Path::new("/d"), None, &given, &|_| None).unwrap();
        let text = remembered(&first, &given);
        let file = File::parse(&text, Path::new("/d/countersign.toml")).unwrap();
        let second = Config::resolve(file, Path::new("/d"), None, &Overrides::default(), &|_| {
            None
        })
        .unwrap();
        let here = std::env::current_dir().unwrap();
        assert_eq!(
            (&second.url, second.listen, second.url_given),
            (&first.url, first.listen, true)
        );
        assert_eq!(second.sqlite_file, Some(here.join("rel.db")));
        assert_eq!(second.blobs, Blobs::Directory(here.join("it's \"here\"")));
        assert_eq!(
            second.tls,
            Some(Tls {
                cert: here.join("c.pem"),
                key: "/k.pem".into()
            })
        );
        assert_eq!(
            remembered(&first, &Overrides::default()).lines().count(),
            3,
            "TLS alone"
        );
    }

    #[test]
    fn broken_toml_and_doubled_keys_are_refused_with_the_line() {
        assert!(fault("url = \"x\nlisten = 3").starts_with("countersign.toml:1: not valid TOML"));
        assert!(
            fault("open_creation = true\nopen_creation = true\n")
                .starts_with("countersign.toml:2: not valid TOML")
        );
    }
}
