//! The command line. What each command means stands here, where `--help` shows it.

mod exchange;
mod incident;
mod log;
mod names;
mod people;
mod trusted;
mod tuf;

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand};
use countersign_formats::Ecosystem;
use countersign_registry::model::{Action, ProjectStatus, Role, TrustLevel};
use url::Url;

pub use exchange::{Exchange, ServicePublisher};
pub use incident::{Drill, Incident, IncidentUpdate, When};
pub use log::{Logs, Service as LogService};
pub use names::Names;
pub use people::{
    Breached, Critical, FactorChange, Factors, Mail, Namespace, Organisation, Policy, Recovery,
    Sessions, User,
};
pub use trusted::{Issuer, NewPublisherFlags, Publisher};
pub use tuf::{
    Believed as TufBelieved, Ceremony as TufCeremony, Namespace as TufNamespace,
    NamespaceChange as TufNamespaceChange, Service as TufService, Sign as TufSign, Tuf, TufKey,
};

use crate::config::{Overrides, Span, public_url};

/// The end of `countersignd scan --help`.
const YARA_IN_THIS_BUILD: &str = if crate::scan_worker::YARA {
    "This build takes YARA rules."
} else {
    "This build has no YARA: its rules are those of docs/spec/scan-rules.md. Build with --features yara for both."
};

/// The Countersign package registry: every file in a public log, and nobody has to be believed.
#[derive(Debug, Parser)]
#[command(
    name = "countersignd",
    version,
    after_help = "\
Begin:
  countersignd demo                                 see it work, in seconds, with real clients; leaves nothing behind
  countersignd serve                                a registry on this machine, at http://localhost:8417
  countersignd admin user create ada --email ada@example.org
  countersignd admin token create --user ada        prints the token for uv, twine or pip

For others to use:
  countersignd init --url https://packages.example.org
  countersignd serve --url https://packages.example.org --listen 0.0.0.0:443 --tls-cert FILE --tls-key FILE

Exit codes: 0 good, 1 a bug or the environment, 2 usage, 3 verification failed, 4 refused by the registry, 5 unreachable."
)]
pub struct Cli {
    /// Options that every command takes.
    #[command(flatten)]
    pub common: Common,
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

/// Options that every command takes.
#[derive(Args, Clone, Debug)]
pub struct Common {
    /// Directory of everything that has no place of its own: configuration, database, blobs, keys.
    #[arg(
        long,
        global = true,
        value_name = "DIR",
        default_value = "./countersign-data"
    )]
    pub data: PathBuf,
    /// Configuration file [default: DIR/countersign.toml]
    #[arg(long, global = true, value_name = "FILE")]
    pub config: Option<PathBuf>,
    /// Print results as JSON on standard output, and errors as JSON on standard error.
    #[arg(long, global = true)]
    pub json: bool,
}

/// Where the parts of the instance are.
#[derive(Args, Clone, Debug, Default)]
pub struct Place {
    /// Public base URL, as clients write it [default: http://localhost:8417]
    #[arg(long, value_name = "URL", value_parser = public_url)]
    pub url: Option<Url>,
    /// Address and port to accept connections on; port 0 takes a free one [default: 127.0.0.1:8417]
    #[arg(long, value_name = "ADDR")]
    pub listen: Option<String>,
    /// Database: sqlite://PATH or postgres://… [default: SQLite in DIR]
    #[arg(long, value_name = "URL")]
    pub database: Option<String>,
    /// Artifacts and log tiles: a directory or s3://BUCKET/PREFIX [default: DIR/blobs]
    #[arg(long, value_name = "URL")]
    pub blobs: Option<String>,
    /// Certificate chain in PEM
    #[arg(long, value_name = "FILE")]
    pub tls_cert: Option<PathBuf>,
    /// Private key in PEM
    #[arg(long, value_name = "FILE")]
    pub tls_key: Option<PathBuf>,
}

impl Place {
    /// As the configuration takes them.
    pub fn overrides(&self) -> Overrides {
        Overrides {
            url: self.url.clone(),
            listen: self.listen.clone(),
            database: self.database.clone(),
            blobs: self.blobs.clone(),
            tls_cert: self.tls_cert.clone(),
            tls_key: self.tls_key.clone(),
        }
    }
}

/// Database and blobs, for commands that neither listen nor make links.
#[derive(Args, Clone, Debug, Default)]
pub struct Stores {
    /// Database: sqlite://PATH or postgres://… [default: SQLite in DIR]
    #[arg(long, global = true, value_name = "URL")]
    pub database: Option<String>,
    /// Artifacts and log tiles: a directory or s3://BUCKET/PREFIX [default: DIR/blobs]
    #[arg(long, global = true, value_name = "URL")]
    pub blobs: Option<String>,
}

impl Stores {
    /// As the configuration takes them.
    pub fn overrides(&self) -> Overrides {
        Overrides {
            database: self.database.clone(),
            blobs: self.blobs.clone(),
            ..Overrides::default()
        }
    }
}

/// The commands.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Show the whole promise at work: publish, install, verify, tamper, refuse. Leaves nothing behind.
    ///
    /// Starts a registry on a free loopback port in a temporary directory, publishes a sample package with a real
    /// client (uv or twine), installs it with pip from that registry alone, verifies its proof offline, then changes
    /// the stored file and shows that pip and the verifier refuse it.
    Demo(Demo),
    /// Create a new registry: directories, keys, the log's first entry. Refuses if anything is there.
    Init(Place),
    /// Run the registry.
    ///
    /// Prints one line with its address when it is ready to answer. SIGTERM and SIGINT end it gracefully: publishes
    /// that are under way finish first; a second signal ends it at once. SIGHUP reads the certificate files again.
    Serve(Serve),
    /// Bring the database to this version's form.
    Migrate(Stores),
    /// Look for what is wrong, and say what to do about it. Exit code 1 when something is.
    Doctor(Doctor),
    /// Look at files as the scanner would, with its rules and in its fence. Nothing is published or kept.
    ///
    /// Prints the score of each file and what was found in it. Exit code 4 where a file would be withheld (scan.hold_at), 3 where one
    /// could not be looked at.
    #[command(after_help = YARA_IN_THIS_BUILD)]
    Scan(ScanFiles),
    /// Look at one file from standard input, fenced in; the server starts it.
    #[command(hide = true)]
    ScanWorker(ScanWorker),
    /// Write a backup to a new file, consistent while a server runs.
    ///
    /// It holds database, log and artifacts; the log's signing keys only with --with-keys.
    Backup(Backup),
    /// Bring a registry back from a backup into empty places, proving it on the way.
    ///
    /// Every log entry and digest is checked. Files whose bytes or rows are lacking are withheld. When nothing proves
    /// that the backup is the newest state that anybody has seen, the old log is closed and a new one begins, because
    /// two continuations of one log would be a fork.
    Restore(RestoreFrom),
    /// Publish a folder of wheels and sdists as the operator, with the same checks as an upload.
    ///
    /// Files that are there already with the same bytes count as done, so an interrupted import can be run again.
    Import(Import),
    /// What is known to be bad: import it, issue it, and see what of it is here.
    #[command(subcommand)]
    Advisories(Advisories),
    /// Check the configuration, or print a sample.
    #[command(subcommand)]
    Config(ConfigCommand),
    /// Ceremonies of TUF: what people sign, with their keys; and services for registries elsewhere.
    #[command(subcommand)]
    Tuf(Box<Tuf>),
    /// Logs that are kept for registries elsewhere.
    #[command(subcommand)]
    Log(Box<Logs>),
    /// Identity tokens that are judged for registries elsewhere.
    #[command(subcommand)]
    Exchange(Box<Exchange>),
    /// Hold this registry against the Principles for Package Repository Security.
    ///
    /// Accounts and packages are made on a staging copy: this program with this configuration, in a temporary folder and in
    /// a world of its own. Nothing of it touches the registry itself, whose pages are read at its address.
    Assess(Assess),
    /// What an operator does when something went wrong: trace, freeze, revoke, take back, and tell.
    #[command(subcommand)]
    Incident(Box<Incident>),
    /// Play incidents on a staging copy, and see which controls answer, and after how long.
    ///
    /// The copy is this program with this configuration, in a temporary folder and in a world of its own; nothing of it touches the
    /// registry itself. Exit code 4 where a control did not answer.
    Drill(Drill),
    /// Users, tokens, projects, rules, recoveries, quarantine.
    #[command(subcommand)]
    Admin(Admin),
}

/// Options of `assess`.
#[derive(Args, Debug)]
pub struct Assess {
    /// Where this registry is [default: the url of the configuration]
    #[arg(long, value_name = "URL", value_parser = public_url)]
    pub url: Option<Url>,
    /// What you attest, and documents that say what no program can see (docs/assessment.md).
    #[arg(long, value_name = "FILE")]
    pub profile: Option<PathBuf>,
    /// Run only the canaries of these checks; again for each.
    #[arg(long, value_name = "CHECK")]
    pub only: Vec<String>,
    /// Write a report in Markdown.
    #[arg(long, value_name = "FILE")]
    pub markdown: Option<PathBuf>,
    /// Write a badge in SVG.
    #[arg(long, value_name = "FILE")]
    pub badge: Option<PathBuf>,
    /// Write what was asked and answered, so that the probes can be run over it again.
    #[arg(long, value_name = "FILE")]
    pub recordings: Option<PathBuf>,
    /// Tell what changed since an earlier run, whose JSON this is.
    #[arg(long, value_name = "FILE")]
    pub since: Option<PathBuf>,
    /// Tell what to do next, in the order of what it brings for what it costs.
    #[arg(long)]
    pub roadmap: bool,
    /// Keep it in the data directory, and show it at /assessment from now on.
    #[arg(long, conflicts_with = "only")]
    pub store: bool,
}

/// Options of `demo`.
#[derive(Args, Debug)]
pub struct Demo {
    /// Keep the temporary directory and say where it is.
    #[arg(long)]
    pub keep: bool,
    /// The Python that makes the virtual environments.
    #[arg(long, value_name = "FILE", default_value = "python3")]
    pub python: String,
}

/// Options of `serve`.
#[derive(Args, Debug)]
pub struct Serve {
    /// Where the parts of the instance are.
    #[command(flatten)]
    pub place: Place,
    /// Refuse to start instead of migrating an older database.
    #[arg(long)]
    pub no_migrate: bool,
}

/// Options of `scan-worker`.
#[derive(Args, Debug)]
pub struct ScanWorker {
    /// Files of rules besides those that come along.
    #[arg(long, value_name = "FILE")]
    pub rules: Vec<PathBuf>,
    /// Say whether these rules can be used, and write what YARA's were compiled to.
    #[arg(long)]
    pub prepare: bool,
    /// So many bytes of what was prepared stand before the file's.
    #[arg(long, value_name = "BYTES", default_value_t = 0)]
    pub prepared: u64,
}

/// Options of `scan`.
#[derive(Args, Debug)]
pub struct ScanFiles {
    /// Wheels, sdists, crates and npm's tarballs, by their names as they are published.
    #[arg(required = true, value_name = "FILE")]
    pub files: Vec<PathBuf>,
}

/// Options of `doctor`.
#[derive(Args, Debug)]
pub struct Doctor {
    /// Also read every artifact and check its digest.
    #[arg(long)]
    pub deep: bool,
    /// Where database and blobs are.
    #[command(flatten)]
    pub stores: Stores,
}

/// Options of `backup`.
#[derive(Args, Debug)]
pub struct Backup {
    /// The file to write; it must not be there yet.
    pub file: PathBuf,
    /// Put the log's signing keys into it too. Whoever reads such a backup can sign in the log's name.
    #[arg(long)]
    pub with_keys: bool,
    /// Where database and blobs are.
    #[command(flatten)]
    pub stores: Stores,
}

/// Options of `restore`.
#[derive(Args, Debug)]
pub struct RestoreFrom {
    /// The backup.
    pub file: Option<PathBuf>,
    /// The blobs survived and may be ahead of the backup: put back what their tiles hold.
    #[arg(long)]
    pub replay: bool,
    /// A signed checkpoint of the log from somebody who watches it: proof of what the newest state is.
    #[arg(long, value_name = "FILE")]
    pub checkpoint: Option<PathBuf>,
    /// Where database and blobs are.
    #[command(flatten)]
    pub stores: Stores,
}

/// Options of `import`.
#[derive(Args, Debug)]
pub struct Import {
    /// Folder of packages (*.whl, *.tar.gz, *.zip, *.crate, *.tgz); subfolders are searched too.
    pub dir: PathBuf,
    /// Only those of one ecosystem: pypi, cargo or npm.
    #[arg(long, value_name = "E")]
    pub ecosystem: Option<Ecosystem>,
    /// User who will own the projects that this creates.
    #[arg(long, value_name = "NAME")]
    pub owner: Option<String>,
    /// How many files at one time.
    #[arg(long, value_name = "N", default_value_t = 4, value_parser = clap::value_parser!(u16).range(1..=64))]
    pub parallel: u16,
    /// Where database and blobs are.
    #[command(flatten)]
    pub stores: Stores,
}

/// `advisories …`
#[derive(Debug, Subcommand)]
pub enum Advisories {
    /// Import OSV records from a zip, a JSON document, or a folder of such. Needs no network.
    ///
    /// A feed is read as a whole first: one that is damaged, or lost a tenth of its records, changes nothing. Records that can not
    /// be used are left out and told. Run it again with a newer copy; a server that runs shows what is new at once.
    Import(ImportAdvisories),
    /// Print the feeds that were imported, and when.
    Feeds {
        /// Where database and blobs are.
        #[command(flatten)]
        stores: Stores,
    },
    /// Print every public release here that an advisory means.
    Affected {
        /// Where database and blobs are.
        #[command(flatten)]
        stores: Stores,
    },
    /// Issue an advisory of this registry's own, shown everywhere and in the feed at /osv/. Prints its identifier.
    Issue(IssueAdvisory),
    /// Serve a project, or a version of it, in spite of an advisory that `advisories.block` minds. Prints the exemption's id.
    Exempt(ExemptFromAdvisory),
    /// End an exemption.
    EndExemption {
        /// Its id.
        id: String,
        /// Where database and blobs are.
        #[command(flatten)]
        stores: Stores,
    },
    /// Print the exemptions that hold.
    Exemptions {
        /// Where database and blobs are.
        #[command(flatten)]
        stores: Stores,
    },
    /// Tell accounts that downloaded what an advisory about malware means. It needs `advisories.keep_downloaders`.
    ///
    /// Without --apply it only prints whom it would tell. Nobody is told twice of the same advisory.
    Warn {
        /// The advisory.
        id: String,
        /// Tell them, on their page and by mail.
        #[arg(long)]
        apply: bool,
        /// Where database and blobs are.
        #[command(flatten)]
        stores: Stores,
    },
    /// Withdraw an advisory that this registry issued. It stays in the feed, marked, and matches nothing any longer.
    Withdraw {
        /// The identifier.
        id: String,
        /// Where database and blobs are.
        #[command(flatten)]
        stores: Stores,
    },
}

/// Options of `advisories import`.
#[derive(Args, Debug)]
pub struct ImportAdvisories {
    /// The zip, JSON document or folder.
    pub path: PathBuf,
    /// The feed's name: what a later import under the same name no longer holds is forgotten.
    #[arg(long, value_name = "NAME", default_value = "osv")]
    pub feed: String,
    /// Believe the feed even if it lost more than a tenth of its records.
    #[arg(long)]
    pub accept_shrinkage: bool,
    /// Where database and blobs are.
    #[command(flatten)]
    pub stores: Stores,
}

/// Options of `advisories exempt`.
#[derive(Args, Debug)]
pub struct ExemptFromAdvisory {
    /// The project, as ECOSYSTEM:NAME.
    #[arg(value_name = "ECOSYSTEM:PROJECT")]
    pub project: String,
    /// The advisory that is not to count.
    #[arg(long, value_name = "ID")]
    pub advisory: String,
    /// This version alone; without it: all.
    #[arg(long = "affected", value_name = "VERSION")]
    pub version: Option<String>,
    /// Why it may be served; the page of the release says so.
    #[arg(long, value_name = "TEXT")]
    pub reason: String,
    /// After how long it ends by itself, such as 30d; without it, when you end it.
    #[arg(long, value_name = "TIME")]
    pub expires: Option<Span>,
    /// Where database and blobs are.
    #[command(flatten)]
    pub stores: Stores,
}

/// Options of `advisories issue`.
#[derive(Args, Debug)]
pub struct IssueAdvisory {
    /// The project, as ECOSYSTEM:NAME.
    #[arg(value_name = "ECOSYSTEM:PROJECT")]
    pub project: String,
    /// One line on what is wrong.
    #[arg(long, value_name = "TEXT")]
    pub summary: String,
    /// More than that, in Markdown.
    #[arg(long, value_name = "TEXT", default_value = "")]
    pub details: String,
    /// A version that is meant; may be given several times. Without it: all.
    #[arg(long = "affected", value_name = "VERSION")]
    pub versions: Vec<String>,
    /// It was made to do harm.
    #[arg(long)]
    pub malware: bool,
    /// Where database and blobs are.
    #[command(flatten)]
    pub stores: Stores,
}

/// `config …`
#[derive(Debug, Subcommand)]
pub enum ConfigCommand {
    /// Read the configuration and say what counts, with every flag, variable and default weighed in.
    Check(Box<Place>),
    /// Print a configuration file with every key, its meaning and its default.
    Sample,
    /// Print the built-in text of a policy, to be edited and reviewed; without a name, list them.
    #[command(after_help = "Example:
  countersignd config policy acceptable-use > countersign-data/policies/acceptable-use.md
Then read it, change what you do differently, and write the day into its first line.")]
    Policy {
        /// Which.
        name: Option<String>,
    },
}

/// `admin …`
#[derive(Debug, Subcommand)]
pub enum Admin {
    /// Users.
    #[command(subcommand)]
    User(User),
    /// API tokens.
    #[command(subcommand)]
    Token(Token),
    /// Sessions of people who are signed in.
    #[command(subcommand)]
    Sessions(Sessions),
    /// Recoveries: people who lost every way into their account.
    #[command(subcommand)]
    Recovery(Recovery),
    /// Rules on how people sign in.
    #[command(subcommand)]
    Policy(Policy),
    /// Critical projects, which ask more of their people.
    #[command(subcommand)]
    Critical(Critical),
    /// Lists of breached passwords.
    #[command(subcommand)]
    Breached(Breached),
    /// Outgoing mail.
    #[command(subcommand)]
    Mail(Mail),
    /// Organisations.
    #[command(subcommand)]
    Organisation(Organisation),
    /// Namespaces that are reserved for organisations.
    #[command(subcommand)]
    Namespace(Namespace),
    /// Names: lists that are protected from look-alikes, names that nobody may take, exceptions, and what would become of one.
    #[command(subcommand)]
    Names(Names),
    /// Projects, their releases and policies.
    #[command(subcommand)]
    Project(Project),
    /// OpenID Connect issuers whose tokens are taken, besides the built-in ones.
    #[command(subcommand)]
    Issuer(Issuer),
    /// Trusted publishers: which workflows may publish a project without a stored secret.
    #[command(subcommand)]
    Publisher(Publisher),
    /// Trust roots: whose Sigstore is believed when attestations are verified.
    #[command(subcommand)]
    TrustRoot(TrustRoot),
    /// What projects are remembered for, exceptions from it, and identities whose attestations they take.
    #[command(subcommand)]
    Provenance(Provenance),
    /// The registry's own keys.
    #[command(subcommand)]
    Key(Key),
    /// Withhold files while somebody looks, and give them back.
    #[command(subcommand)]
    Quarantine(Quarantine),
    /// What was reported, and whose reports count for more.
    #[command(subcommand)]
    Report(Report),
    /// What the scanner found, and digests that are known to do harm.
    #[command(subcommand)]
    Scan(Scan),
    /// What others say about the source projects of packages, shown on the pages of releases with source and day.
    #[command(subcommand)]
    Health(Health),
    /// The transparency log and its witnesses.
    #[command(subcommand)]
    Log(Log),
}

/// `admin log …`
#[derive(Debug, Subcommand)]
pub enum Log {
    /// Show the log, its witnesses as they answer now, and the override, if there is one.
    Show(Stores),
    /// Let the log go on for a while without the cosignatures that its policy asks for. The public log shows it for ever;
    /// clients that pinned the policy go on refusing what its witnesses have not seen.
    #[command(after_help = "Examples:
  countersignd admin log override --until 2h --reason 'witness two moves to another data centre'
  countersignd admin log override --end --reason 'it is back'")]
    Override {
        /// For how long from now, 7d at most.
        #[arg(long, value_name = "SPAN", required_unless_present = "end")]
        until: Option<Span>,
        /// End it now.
        #[arg(long, conflicts_with = "until")]
        end: bool,
        /// Why; kept with the event.
        #[arg(long)]
        reason: String,
        /// Where database and blobs are.
        #[command(flatten)]
        stores: Stores,
    },
}

/// `admin trust-root …`
#[derive(Debug, Subcommand)]
pub enum TrustRoot {
    /// List them: the built-in ones, and private ones that were added.
    List(Stores),
    /// Add a private Sigstore by its trusted_root.json, or replace that of the same name.
    Add {
        /// What to call it.
        name: String,
        /// The file.
        file: PathBuf,
        /// Where database and blobs are.
        #[command(flatten)]
        stores: Stores,
    },
    /// Fetch the newest documents of the built-in ones through TUF.
    Refresh(Stores),
    /// Remove one; a built-in one that was refreshed goes back to the copy inside the program.
    Remove {
        /// Which.
        name: String,
        /// Where database and blobs are.
        #[command(flatten)]
        stores: Stores,
    },
}

/// `admin provenance …`
#[derive(Debug, Subcommand)]
pub enum Provenance {
    /// Show what a project is remembered for.
    Show {
        /// The project.
        #[command(flatten)]
        project: ProjectName,
        /// Where database and blobs are.
        #[command(flatten)]
        stores: Stores,
    },
    /// Take files of a lower level for a time.
    #[command(after_help = "Example:
  countersignd admin provenance exception mypackage --level token --hours 4 --reason \"the CI system is down\"")]
    Exception {
        /// The project.
        #[command(flatten)]
        project: ProjectName,
        /// The level that may be published: none, token or workflow.
        #[arg(long)]
        level: TrustLevel,
        /// How long, from 1 to 168 hours.
        #[arg(long, default_value_t = 24)]
        hours: u32,
        /// Why; shown to everybody.
        #[arg(long)]
        reason: String,
        /// Where database and blobs are.
        #[command(flatten)]
        stores: Stores,
    },
    /// Declare that a project's files will come from another source.
    Move {
        /// The project.
        #[command(flatten)]
        project: ProjectName,
        /// The new repository's URL.
        #[arg(long, value_name = "URL")]
        repository: String,
        /// The issuer of its workflows; that of the present source unless given.
        #[arg(long, value_name = "URL")]
        issuer: Option<String>,
        /// The new repository's immutable id, where it is known.
        #[arg(long)]
        repository_id: Option<String>,
        /// Its owner's immutable id, where it is known.
        #[arg(long)]
        owner_id: Option<String>,
        /// How long the first publication may take to come, from 1 to 720 hours.
        #[arg(long, default_value_t = 168)]
        hours: u32,
        /// Why; shown to everybody.
        #[arg(long)]
        reason: String,
        /// Where database and blobs are.
        #[command(flatten)]
        stores: Stores,
    },
    /// Close an exception or a move before its end.
    Close {
        /// Its id, as `show` lists it.
        id: String,
        /// Where database and blobs are.
        #[command(flatten)]
        stores: Stores,
    },
    /// Take attestations of an identity with API tokens, or take that back.
    Policy {
        /// The project.
        #[command(flatten)]
        project: ProjectName,
        /// Trust the workflows of this repository.
        #[arg(long, value_name = "URL", requires = "issuer")]
        trust: Option<String>,
        /// Their issuer.
        #[arg(long, value_name = "URL")]
        issuer: Option<String>,
        /// Only this build file.
        #[arg(long, value_name = "PATH")]
        workflow: Option<String>,
        /// Trust this identity no longer; its id stands in the list.
        #[arg(long, value_name = "ID", conflicts_with = "trust")]
        distrust: Option<String>,
        /// Where database and blobs are.
        #[command(flatten)]
        stores: Stores,
    },
    /// Look now whether the sources that attestations name are still there, and hold attestations against today's roots.
    Recheck(Stores),
}

/// `admin key …`
#[derive(Debug, Subcommand)]
pub enum Key {
    /// List the keys that the registry signs its own attestations and npm's versions with.
    List(Stores),
    /// Sign with a new key from now on. Copy the folder of keys to every server afterwards.
    Rotate {
        /// Which: attestations, or npm (the signatures that `npm audit signatures` verifies).
        #[arg(value_parser = ["attestations", "npm"])]
        which: String,
        /// Where database and blobs are.
        #[command(flatten)]
        stores: Stores,
    },
}

/// `admin token …`
#[derive(Debug, Subcommand)]
pub enum Token {
    /// Create a token and print it, and nothing else, on standard output. It is shown this once.
    #[command(after_help = "Example:
  UV_PUBLISH_TOKEN=$(countersignd admin token create --user ada --project mypackage --expires 30d) \\
    uv publish --publish-url http://localhost:8417/pypi/legacy/ dist/*")]
    Create {
        /// Whose token it is.
        #[arg(long, value_name = "NAME")]
        user: String,
        /// Only for this ecosystem, e.g. pypi.
        #[arg(long, value_parser = ecosystem)]
        ecosystem: Option<Ecosystem>,
        /// Only for this project; the ecosystem is pypi unless given.
        #[arg(long, value_name = "NAME")]
        project: Option<String>,
        /// The most it may do: publish (implies read), manage (implies publish) or read.
        #[arg(long, default_value = "publish")]
        action: Action,
        /// How long it lives.
        #[arg(long, default_value = "30d")]
        expires: Span,
        /// What it is for, to recognise it in lists.
        #[arg(long, default_value = "")]
        label: String,
        /// Where database and blobs are.
        #[command(flatten)]
        stores: Stores,
    },
    /// List tokens: never the secrets, only their hints.
    List {
        /// Only this user's.
        #[arg(long, value_name = "NAME")]
        user: Option<String>,
        /// Where database and blobs are.
        #[command(flatten)]
        stores: Stores,
    },
    /// Revoke a token, at once.
    Revoke {
        /// Its id, or its hint as lists show it.
        token: String,
        /// It got into wrong hands: the log says so too.
        #[arg(long)]
        leaked: bool,
        /// Where database and blobs are.
        #[command(flatten)]
        stores: Stores,
    },
}

/// A project on the command line.
#[derive(Args, Clone, Debug)]
pub struct ProjectName {
    /// ECOSYSTEM:PROJECT, or just PROJECT for pypi.
    #[arg(value_name = "PROJECT", value_parser = project)]
    pub project: (Ecosystem, String),
}

/// Who sees a project.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum Visible {
    /// Everybody who may read the registry.
    Public,
    /// Those with a role on it.
    Private,
}

/// `admin project …`
#[derive(Debug, Subcommand)]
pub enum Project {
    /// Tell installers to leave a release alone unless it is pinned exactly.
    Yank {
        /// The project.
        #[command(flatten)]
        project: ProjectName,
        /// The version.
        version: String,
        /// Why; shown to installers.
        #[arg(long, default_value = "")]
        reason: String,
        /// Where database and blobs are.
        #[command(flatten)]
        stores: Stores,
    },
    /// Take a yank back.
    Unyank {
        /// The project.
        #[command(flatten)]
        project: ProjectName,
        /// The version.
        version: String,
        /// Where database and blobs are.
        #[command(flatten)]
        stores: Stores,
    },
    /// Delete a file, a release, or with --all the whole project. Names and digests stay reserved for ever.
    Delete {
        /// The project.
        #[command(flatten)]
        project: ProjectName,
        /// The version to delete.
        #[arg(required_unless_present_any = ["file", "all"], conflicts_with_all = ["file", "all"])]
        version: Option<String>,
        /// Delete this file alone.
        #[arg(long, value_name = "FILENAME", conflicts_with = "all")]
        file: Option<String>,
        /// Delete the whole project.
        #[arg(long)]
        all: bool,
        /// Where database and blobs are.
        #[command(flatten)]
        stores: Stores,
    },
    /// Set the status: active, archived, quarantined or deprecated.
    Status {
        /// The project.
        #[command(flatten)]
        project: ProjectName,
        /// The status.
        status: ProjectStatus,
        /// Why.
        #[arg(long)]
        reason: Option<String>,
        /// Where database and blobs are.
        #[command(flatten)]
        stores: Stores,
    },
    /// Make a project private, so that only those with a role on it see it, or public. Its name, versions and digests stand
    /// in the public log for ever.
    Visibility {
        /// The project.
        #[command(flatten)]
        project: ProjectName,
        /// Who sees it.
        visibility: Visible,
        /// Where database and blobs are.
        #[command(flatten)]
        stores: Stores,
    },
    /// Give a user a role on a project, or take it away.
    Role {
        /// The project.
        #[command(flatten)]
        project: ProjectName,
        /// The user.
        user: String,
        /// owner, maintainer or none.
        #[arg(value_parser = role)]
        role: RoleOrNone,
        /// Where database and blobs are.
        #[command(flatten)]
        stores: Stores,
    },
    /// Show what the project asks of those who publish to it, and change it.
    #[command(after_help = "Examples:
  countersignd admin project policy mypackage                        shows it
  countersignd admin project policy mypackage --trusted-only on      refuses API tokens from now on
  countersignd admin project policy mypackage --environment release  takes only tokens of that deployment environment
  countersignd admin project policy mypackage --environment none     takes that back")]
    Policy {
        /// The project.
        #[command(flatten)]
        project: ProjectName,
        /// Refuse API tokens: only trusted publishers may publish.
        #[arg(long, value_name = "on|off", value_parser = on_or_off)]
        trusted_only: Option<bool>,
        /// The deployment environment that a workflow's token must carry, or none.
        #[arg(long, value_name = "NAME|none", value_parser = environment)]
        environment: Option<EnvironmentOrNone>,
        /// The least that must stand behind a publication: none, token, workflow or provenance.
        #[arg(long, value_name = "LEVEL")]
        minimum_trust: Option<TrustLevel>,
        /// Where database and blobs are.
        #[command(flatten)]
        stores: Stores,
    },
    /// Show what the owners should know about how the project is published.
    Notices {
        /// The project.
        #[command(flatten)]
        project: ProjectName,
        /// Put this notice away; its id stands in the list.
        #[arg(long, value_name = "ID")]
        dismiss: Option<String>,
        /// Where database and blobs are.
        #[command(flatten)]
        stores: Stores,
    },
}

/// The name of a deployment environment, or `none`.
#[derive(Clone, Debug)]
pub struct EnvironmentOrNone(pub Option<String>);

/// `owner`, `maintainer` or `none`.
#[derive(Clone, Copy, Debug)]
pub struct RoleOrNone(pub Option<Role>);

/// `admin quarantine …`
#[derive(Debug, Subcommand)]
pub enum Quarantine {
    /// Withhold a project, a release or a file of it, at once.
    Add {
        /// The project.
        #[command(flatten)]
        project: ProjectName,
        /// This release alone.
        #[arg(long, value_name = "VERSION", conflicts_with = "file")]
        release: Option<String>,
        /// This file alone.
        #[arg(long, value_name = "FILENAME")]
        file: Option<String>,
        /// Why; shown to whoever asks for it.
        #[arg(long)]
        reason: String,
        /// It does harm for sure: an advisory tells everybody, and is withdrawn when it is served again.
        #[arg(long)]
        malware: bool,
        /// Freeze the accounts and workflows that published it, until it is served again.
        #[arg(long)]
        freeze: bool,
        /// Where database and blobs are.
        #[command(flatten)]
        stores: Stores,
    },
    /// Serve it again, and free whom that had frozen.
    Release {
        /// The project.
        #[command(flatten)]
        project: ProjectName,
        /// This release alone.
        #[arg(long, value_name = "VERSION", conflicts_with = "file")]
        release: Option<String>,
        /// This file alone.
        #[arg(long, value_name = "FILENAME")]
        file: Option<String>,
        /// Where database and blobs are.
        #[command(flatten)]
        stores: Stores,
    },
    /// What is withheld and waits for a decision, what is overdue first.
    List {
        /// Where database and blobs are.
        #[command(flatten)]
        stores: Stores,
    },
    /// Answer the people of something withheld; it stays so.
    Answer {
        /// The id of the case.
        case: String,
        /// What they are told.
        #[arg(long)]
        text: String,
        /// Where database and blobs are.
        #[command(flatten)]
        stores: Stores,
    },
}

/// `admin health …`
#[derive(Debug, Subcommand)]
pub enum Health {
    /// Import results of OpenSSF Scorecard (its JSON), or of other sources: one, a list, or one a line.
    Import {
        /// The file.
        file: PathBuf,
        /// Where database and blobs are.
        #[command(flatten)]
        stores: Stores,
    },
}

/// `admin scan …`
#[derive(Debug, Subcommand)]
pub enum Scan {
    /// What was found and nobody put aside, what weighs most first.
    Findings {
        /// Where database and blobs are.
        #[command(flatten)]
        stores: Stores,
    },
    /// Put the findings of a file aside.
    Dismiss {
        /// The file's package URL.
        purl: String,
        /// Where database and blobs are.
        #[command(flatten)]
        stores: Stores,
    },
    /// Learn digests of files that do harm: a SHA-256 a line, then a blank and what it is. What is served with one is withheld.
    Digests {
        /// The list.
        file: PathBuf,
        /// Where it comes from.
        #[arg(long, default_value = "file")]
        source: String,
        /// They do no harm after all: hold nothing more for them. What is withheld stays so until somebody serves it again.
        #[arg(long)]
        withdraw: bool,
        /// Where database and blobs are.
        #[command(flatten)]
        stores: Stores,
    },
}

/// `admin report …`
#[derive(Debug, Subcommand)]
pub enum Report {
    /// Reports that wait, those of trusted reporters first.
    List {
        /// Where database and blobs are.
        #[command(flatten)]
        stores: Stores,
    },
    /// Judge one.
    Judge {
        /// Its ticket.
        ticket: String,
        /// `confirmed`, `unfounded` or `duplicate`.
        #[arg(long)]
        verdict: String,
        /// What its reporter is told.
        #[arg(long, default_value = "")]
        answer: String,
        /// Where database and blobs are.
        #[command(flatten)]
        stores: Stores,
    },
    /// Trust somebody's reports of malware: they can withhold a project by themselves.
    Trust {
        /// The user.
        user: String,
        /// No more.
        #[arg(long)]
        off: bool,
        /// Where database and blobs are.
        #[command(flatten)]
        stores: Stores,
    },
}

fn ecosystem(text: &str) -> Result<Ecosystem, String> {
    text.parse::<Ecosystem>().map_err(|error| error.to_string())
}

fn project(text: &str) -> Result<(Ecosystem, String), String> {
    let (system, name) = match text.split_once(':') {
        Some((system, name)) => (ecosystem(system)?, name),
        None => (Ecosystem::Pypi, text),
    };
    if name.is_empty() {
        Err("the project's name is missing".to_owned())
    } else {
        Ok((system, name.to_owned()))
    }
}

fn on_or_off(text: &str) -> Result<bool, String> {
    match text {
        "on" => Ok(true),
        "off" => Ok(false),
        other => Err(format!("{other:?} is neither on nor off")),
    }
}

fn environment(text: &str) -> Result<EnvironmentOrNone, String> {
    match text {
        "" => Err("the environment's name is missing; write none to ask for none".to_owned()),
        "none" => Ok(EnvironmentOrNone(None)),
        name => Ok(EnvironmentOrNone(Some(name.to_owned()))),
    }
}

fn role(text: &str) -> Result<RoleOrNone, String> {
    match text {
        "none" => Ok(RoleOrNone(None)),
        text => text
            .parse()
            .map(|role| RoleOrNone(Some(role)))
            .map_err(|error: String| error.replace("or maintainer", "maintainer or none")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory;

    #[test]
    fn the_command_line_is_consistent() {
        Cli::command().debug_assert();
    }
}
