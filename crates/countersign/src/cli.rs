//! The command line.

mod software;

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand, ValueEnum};
use countersign::publisher::ProjectName;
use countersign_trust::note::{KeyName, VerifierKey};
use countersign_trust::oidc::Rule;
use url::Url;

pub use software::{Advisories, Audit, Fix, InstallCheck, Sbom, SbomForm};

/// Checks what package registries say, instead of believing them, and publishes without stored secrets.
#[derive(Debug, Parser)]
#[command(
    name = "countersign",
    version,
    after_help = "\
Begin:
  countersign trust add https://packages.example.org      pins its log's keys, once, after asking
  countersign verify dist/thing-1.0-py3-none-any.whl      is it what the registry published?
  countersign policy init                                 writes down who built what a lock file uses today
  countersign proxy run -- pip install thing              installs nothing that does not verify
  countersign audit                                       what is known to be bad about what you use
  countersign log audit                                   checks every entry of the log
  countersign login https://packages.example.org          a browser, a passkey, and no secret to copy
  countersign publish dist/*                              from a CI job with an identity, or as who is logged in
  countersign publisher list mypackage                    which CI identities may publish it

Exit codes: 0 good, 1 a bug or the environment, 2 usage, 3 verification failed, 4 refused by the registry, 5 unreachable.
COUNTERSIGN_TOKEN: a token, to publish and manage with and for registries that are not public; it goes before a login."
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
#[derive(Args, Debug)]
pub struct Common {
    /// The registry that is meant; not needed when just one is pinned.
    #[arg(long, global = true, value_name = "URL", env = "COUNTERSIGN_REGISTRY")]
    pub registry: Option<Url>,
    /// The file of pinned registries [default: countersign/trust.toml in the user's configuration]
    #[arg(long, global = true, value_name = "FILE")]
    pub trust: Option<PathBuf>,
    /// PEM certificates of authorities to believe besides those of this machine, for a registry or a CI system whose
    /// certificate no public authority signed.
    #[arg(long, global = true, value_name = "FILE", env = "COUNTERSIGN_CA")]
    pub ca: Option<PathBuf>,
    /// Print results as JSON on standard output, and errors as JSON on standard error.
    #[arg(long, global = true)]
    pub json: bool,
}

/// The commands.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Whom to trust.
    #[command(subcommand)]
    Trust(Trust),
    /// Check files, releases and lock files: log, attestations, and who built them.
    Verify(Verify),
    /// Look up what lock files name in advisories: known flaws, malware, and odd entries.
    Audit(Audit),
    /// Write a bill of materials of what lock files name: CycloneDX or SPDX.
    Sbom(Sbom),
    /// Show the smallest updates that leave known flaws behind, and make them.
    Fix(Fix),
    /// Tell what is known about what would be installed, before it is.
    InstallCheck(InstallCheck),
    /// Whom you expect to have built what you use.
    #[command(subcommand)]
    Policy(Policy),
    /// Read and audit a registry's log.
    #[command(subcommand)]
    Log(Log),
    /// Publish wheels, sdists, crates and npm's tarballs, and check the proof of each.
    Publish(Publish),
    /// Which CI identities may publish a project.
    #[command(subcommand)]
    Publisher(Publisher),
    /// Log in by a browser, here or on another machine, and keep a token for later commands.
    Login(Login),
    /// Revoke the token of a login, and forget it.
    Logout(Logout),
    /// Who you are at a registry, and by which credential.
    Whoami,
    /// Your tokens.
    #[command(subcommand)]
    Token(Token),
    /// Who has which role on a project.
    #[command(subcommand)]
    Owner(Owner),
    /// Organisations: members, teams, namespaces.
    #[command(subcommand)]
    Org(Org),
    /// Tell a registry's operator about something in it that does harm or breaks the rules.
    Report(Report),
    /// Be a witness: cosign the checkpoints of logs that only grow.
    #[command(subcommand)]
    Witness(Witness),
    /// Be a registry on this machine that passes on only what it verified, for pip, uv, npm, pnpm, yarn and cargo.
    #[command(subcommand)]
    Proxy(ProxyCommand),
    /// How far a registry is with the Principles for Package Repository Security, by evidence.
    Assess(Assess),
    /// Speak to conformance suites.
    #[command(subcommand, hide = true)]
    Conformance(Conformance),
}

/// `assess …`: a registry, this one or any other, held against the 39 checks of the Principles.
#[derive(Args, Debug)]
#[command(
    args_conflicts_with_subcommands = true,
    after_help = "\
Examples:
  countersign assess https://packages.example.org
  countersign assess https://packages.example.org --profile registry.toml --markdown report.md --badge badge.svg
  countersign assess https://packages.example.org --json > today.json
  countersign assess https://packages.example.org --since last-month.json --roadmap
  countersign assess explain AN2.1

It reads at most one page a second. What nobody can see from outside is unknown until the operator says more: in the
profile (docs/assessment.md), or by `countersignd assess`, which makes accounts and packages on a copy of the registry.
With --allow-canary they are made on the registry itself, if it consents at /.well-known/registry-assessment.json to the
token in COUNTERSIGN_ASSESS_TOKEN."
)]
pub struct Assess {
    /// What to do instead.
    #[command(subcommand)]
    pub what: Option<AssessCommand>,
    /// The registry.
    #[arg(required = true)]
    pub url: Option<Url>,
    /// What you know of the registry: its kind, its places, attestations.
    #[arg(long, value_name = "FILE")]
    pub profile: Option<PathBuf>,
    /// Make accounts and packages on it; it must consent.
    #[arg(long)]
    pub allow_canary: bool,
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
    /// Sign the assessment: a file with a private key of the form that `witness init` and notes use.
    #[arg(long, value_name = "FILE", requires = "signature")]
    pub sign: Option<PathBuf>,
    /// Where the signed note goes, which names the assessment by its digest.
    #[arg(long, value_name = "FILE", requires = "sign")]
    pub signature: Option<PathBuf>,
}

/// `assess …`, but for a registry.
#[derive(Debug, Subcommand)]
pub enum AssessCommand {
    /// What a check is about, what shows it, and what to do; without one, all of them.
    Explain {
        /// The check, such as AN2.1.
        id: Option<String>,
    },
}

/// `report PURL`
///
/// No account is needed; with a login or a token the report counts for more. Prints a ticket, and where its state is told.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  countersign report pkg:pypi/evil --kind malware --evidence https://example.org/analysis --text 'setup.py sends the environment away'
  countersign report --ticket 019a…")]
pub struct Report {
    /// What: the package URL of a project, a release or a file.
    #[arg(value_name = "PURL", required_unless_present = "ticket")]
    pub purl: Option<String>,
    /// What is wrong: malware, spam, dependency-confusion, abuse or other.
    #[arg(long, required_unless_present = "ticket")]
    pub kind: Option<String>,
    /// Where it can be seen: an https:// address. Malware needs one.
    #[arg(long, value_name = "URL", default_value = "")]
    pub evidence: String,
    /// In your words.
    #[arg(long, required_unless_present = "ticket")]
    pub text: Option<String>,
    /// What became of an earlier report.
    #[arg(long, conflicts_with_all = ["purl", "kind", "text"])]
    pub ticket: Option<String>,
}

/// `witness …`: a witness of transparency logs (c2sp.org/tlog-witness).
///
/// It signs what a log shows it only if that continues everything it signed of this log before. So a log that has a
/// quorum of witnesses can not show one history to some and another one to others.
#[derive(Debug, Subcommand)]
#[command(after_help = "\
Examples:
  countersign witness init --name witness.example.org/w1 --key witness.key --state witness
  countersign witness serve --key witness.key --state witness --log-key 'packages.example.org/log/1+1a2b3c4d+AQ…'
  countersign witness serve --key witness.key --state witness --log policy.txt --listen 0.0.0.0:8418
  countersign witness keys --key witness.key

The state is what makes a witness worth anything: keep it on a disk that does not lose it, one state for one key. After
a state was lost or restored from a backup, begin anew with another key. TLS is for a proxy before it.")]
pub enum Witness {
    /// Make keys and an empty state, and print the public keys.
    Init(WitnessInit),
    /// Answer logs and monitors until interrupted.
    Serve(WitnessServe),
    /// Print the public keys.
    Keys {
        /// The file with the private keys.
        #[arg(long, value_name = "FILE")]
        key: PathBuf,
    },
}

/// Options of `witness init`.
#[derive(Args, Debug)]
pub struct WitnessInit {
    /// The witness's name: by convention an address without scheme. It stands in each of its signatures.
    #[arg(long, required_unless_present = "existing_key")]
    pub name: Option<KeyName>,
    /// Where the private keys go; readable for nobody else.
    #[arg(long, value_name = "FILE")]
    pub key: PathBuf,
    /// Where the state goes.
    #[arg(long, value_name = "DIR")]
    pub state: PathBuf,
    /// Use the keys that are in the file. Only for keys that never signed with another state: a key with two states
    /// signs two histories.
    #[arg(long, conflicts_with = "name")]
    pub existing_key: bool,
}

/// Options of `witness serve`.
#[derive(Args, Debug)]
pub struct WitnessServe {
    /// Where to listen.
    #[arg(long, value_name = "ADDR", default_value = "127.0.0.1:8418")]
    pub listen: std::net::SocketAddr,
    /// The folder with the state, as `init` made it.
    #[arg(long, value_name = "DIR")]
    pub state: PathBuf,
    /// The file with the private keys.
    #[arg(long, value_name = "FILE")]
    pub key: PathBuf,
    /// A file that names logs to witness: a policy (c2sp.org/tlog-policy) or a list of the witness network (logs/v0);
    /// again for each.
    #[arg(long = "log", value_name = "FILE")]
    pub logs: Vec<PathBuf>,
    /// The key of a log to witness; again for each.
    #[arg(long = "log-key", value_name = "VKEY")]
    pub log_keys: Vec<VerifierKey>,
    /// Witness the logs of the registries that are pinned.
    #[arg(long)]
    pub pinned: bool,
}

/// `proxy …`: a registry on this machine, in front of a pinned one.
///
/// Each index comes from the registry's TUF repository, current and not rolled back; each file of it is in the log, and
/// nothing that the log published is missing; each file's bytes are those that are signed. What does not hold is refused
/// with a reason, and written down as evidence that anyone can check: countersign verify --evidence FILE.
#[derive(Debug, Subcommand)]
#[command(after_help = "\
Examples:
  countersign proxy run -- pip install thing
  countersign proxy run --min-age 3d -- npm ci
  countersign proxy run --policy countersign-policy.toml -- uv sync
  countersign proxy run -- cargo build
  countersign proxy serve --listen 127.0.0.1:8420

`run` starts a proxy on a free port, sets the clients' variables (PIP_INDEX_URL, UV_DEFAULT_INDEX, npm_config_registry,
pnpm_config_registry, YARN_NPM_REGISTRY_SERVER; cargo gets its sources replaced by --config), and changes nothing on disk. A
project's own configuration may still name other registries; scopes of npm, for example. So may a lock file that has addresses of
files (uv.lock, pylock.toml): `countersign verify LOCKFILE` checks what those name.
Exit codes of `run`: those of the command. Of `serve`: 0 when it was told to end.")]
pub enum ProxyCommand {
    /// Run a command with all clients pointed to a proxy of its own.
    Run(ProxyRun),
    /// Serve until interrupted.
    Serve(ProxyServe),
}

/// What a proxy demands.
#[derive(Args, Debug)]
pub struct ProxyOptions {
    /// Who may sign, by project: a file as `countersign policy init` writes it.
    #[arg(long, value_name = "FILE")]
    pub policy: Option<PathBuf>,
    /// A trusted_root.json to hold attestations against [default: the public-good instance and GitHub's]
    #[arg(long, value_name = "FILE")]
    pub trusted_root: Option<PathBuf>,
    /// Leave out files that were published less than this ago, as the log says: 3d, 12h, 30m, 90s.
    #[arg(long, value_name = "AGE", value_parser = age, conflicts_with = "without_completeness")]
    pub min_age: Option<std::time::Duration>,
    /// For how long an answer about what is current is good: 60s, 5m.
    #[arg(long, value_name = "TIME", value_parser = age, default_value = "60s")]
    pub fresh: std::time::Duration,
    /// How long the registry may say nothing, or next to nothing.
    #[arg(long, value_name = "TIME", value_parser = age, default_value = "10s")]
    pub patience: std::time::Duration,
    /// Where the registry can not be reached, take what was kept although its time is over. It may be old and withdrawn.
    #[arg(long)]
    pub allow_expired: bool,
    /// Do without the proof that no release is hidden, for registries whose log has no map. Each file is then held
    /// against the log by itself.
    #[arg(long)]
    pub without_completeness: bool,
    /// A database of advisories in OSV's form, to look up what passes: a file (.zip or .json), a folder, or an address. May be given several
    /// times [default: the registry's own feed]
    #[arg(
        long,
        value_name = "FILE|DIR|URL",
        env = "COUNTERSIGN_ADVISORIES",
        value_delimiter = ','
    )]
    pub advisories: Vec<String>,
    /// Refuse files with a known flaw of this grade or higher, instead of telling of them: malware, critical, high, medium, low, any. What
    /// nobody rated is refused from low on. Nothing passes while the advisories can not be read.
    #[arg(long, value_name = "GRADE")]
    pub refuse_known: Option<countersign::proxy::known::Least>,
    /// Pass over an advisory, for a reason, until a day: ID:REASON:YYYY-MM-DD. May be given several times.
    #[arg(long, value_name = "ID:REASON:UNTIL")]
    pub ignore: Vec<countersign::exposure::Ignore>,
    /// Look nothing up in advisories.
    #[arg(long, conflicts_with_all = ["refuse_known", "ignore"])]
    pub without_advisories: bool,
    /// The most that is kept of verified files, in MiB.
    #[arg(long, value_name = "MIB", default_value_t = 4096)]
    pub cache_size: u64,
    /// Where verified files are kept [default: countersign/verified in the user's cache]
    #[arg(long, value_name = "DIR")]
    pub cache: Option<PathBuf>,
    /// Where evidence of what was refused goes [default: countersign/evidence in the user's state]
    #[arg(long, value_name = "DIR")]
    pub evidence: Option<PathBuf>,
}

/// Options of `proxy run`.
#[derive(Args, Debug)]
pub struct ProxyRun {
    /// What it demands.
    #[command(flatten)]
    pub options: ProxyOptions,
    /// Let cargo find crates.io's crates at this registry too, and nowhere else.
    #[arg(long)]
    pub crates_io: bool,
    /// The command and its arguments.
    #[arg(trailing_var_arg = true, required = true, value_name = "COMMAND")]
    pub command: Vec<std::ffi::OsString>,
}

/// Options of `proxy serve`.
#[derive(Args, Debug)]
pub struct ProxyServe {
    /// What it demands.
    #[command(flatten)]
    pub options: ProxyOptions,
    /// Where to listen. Others than this machine get in only by the very address.
    #[arg(long, value_name = "ADDR", default_value = "127.0.0.1:8420")]
    pub listen: std::net::SocketAddr,
}

/// A span of time: a number and d, h, m or s.
fn age(text: &str) -> Result<std::time::Duration, String> {
    let wrong = || format!("{text:?} is no span of time; write 3d, 12h, 30m or 90s");
    let last = text.chars().last().ok_or_else(wrong)?;
    let seconds: u64 = match last {
        'd' => 86_400,
        'h' => 3600,
        'm' => 60,
        's' => 1,
        _ => return Err(wrong()),
    };
    let number: u64 = text
        .strip_suffix(last)
        .and_then(|number| number.parse().ok())
        .ok_or_else(wrong)?;
    // Beyond a century nobody means what they write.
    Some(number.saturating_mul(seconds))
        .filter(|seconds| *seconds <= 100 * 365 * 86_400)
        .map(std::time::Duration::from_secs)
        .ok_or_else(wrong)
}

/// `conformance …`: the entry points of the conformance suites of Sigstore and TUF.
#[derive(Debug, Subcommand)]
pub enum Conformance {
    /// Verify a bundle for an identity or a key.
    VerifyBundle(ConformanceVerify),
    /// Be a TUF client.
    Tuf(ConformanceTuf),
}

/// Options of `conformance tuf`, as the suite's protocol names them.
#[derive(Args, Debug)]
pub struct ConformanceTuf {
    /// The folder with what is trusted.
    #[arg(long, value_name = "DIR")]
    pub metadata_dir: PathBuf,
    /// Where the repository's metadata is.
    #[arg(long, value_name = "URL")]
    pub metadata_url: Option<Url>,
    /// A target to download.
    #[arg(long, value_name = "PATH")]
    pub target_name: Vec<String>,
    /// Where the repository's targets are.
    #[arg(long, value_name = "URL")]
    pub target_base_url: Option<Url>,
    /// The folder that targets are downloaded to.
    #[arg(long, value_name = "DIR")]
    pub target_dir: Option<PathBuf>,
    /// What to do.
    #[command(subcommand)]
    pub step: TufStep,
}

/// The steps of the TUF suite's protocol.
#[derive(Debug, Subcommand)]
pub enum TufStep {
    /// Trust a root.
    Init {
        /// The root.
        trusted_root: PathBuf,
    },
    /// Bring what is trusted up to date.
    Refresh,
    /// The same, and download the targets.
    Download,
}

/// Options of `conformance verify-bundle`, as the suite's protocol names them.
#[derive(Args, Debug)]
pub struct ConformanceVerify {
    /// The staging instance; its root must be given, since this version knows it not.
    #[arg(long, requires = "trusted_root")]
    pub staging: bool,
    /// The bundle.
    #[arg(long, value_name = "FILE")]
    pub bundle: PathBuf,
    /// The name in the certificate.
    #[arg(long, value_name = "NAME", requires = "certificate_oidc_issuer")]
    pub certificate_identity: Option<String>,
    /// The issuer in the certificate.
    #[arg(long, value_name = "URL", requires = "certificate_identity")]
    pub certificate_oidc_issuer: Option<String>,
    /// A public key in PEM, instead of a certificate.
    #[arg(
        long,
        value_name = "FILE",
        conflicts_with = "certificate_identity",
        required_unless_present = "certificate_identity"
    )]
    pub key: Option<PathBuf>,
    /// The trust root [default: the public-good instance]
    #[arg(long, value_name = "FILE")]
    pub trusted_root: Option<PathBuf>,
    /// The file, or sha256:HEX.
    pub artifact: String,
}

/// Options of `login`.
///
/// The page shows the code, what asks and from where; a passkey says yes. So it works on a machine without a browser
/// too: open the page on another one. Publishing from CI needs no login: see `countersign publish --help`.
#[derive(Args, Debug)]
#[command(after_help = "\
Examples:
  countersign login https://packages.example.org
  countersign login --action publish --name 'laptop of ada'
  countersign --json login --no-browser             for scripts: page and code on standard error

The token is kept in countersign/logins.toml in the user's configuration, readable for nobody else, and is sent to that
registry only. Logging in again takes the place of the login of before, whose token is revoked.
Exit codes: 4 when the answer was no or nobody answered in time (ten minutes), 5 when the registry is out of reach.")]
pub struct Login {
    /// The registry [default: as --registry]
    pub url: Option<Url>,
    /// What the token shall be good for.
    #[arg(long, value_name = "ACTION", default_value = "manage")]
    pub action: Action,
    /// How this program is called on the page [default: countersign on HOST]
    #[arg(long, value_name = "NAME")]
    pub name: Option<String>,
    /// Open no browser; only show the page's address.
    #[arg(long)]
    pub no_browser: bool,
}

/// What a token is good for; each includes those before it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Action {
    /// Read.
    Read,
    /// Publish your projects.
    Publish,
    /// Yank, delete, and change owners and publishers.
    Manage,
}

impl Action {
    /// Its word.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Read => "read",
            Self::Publish => "publish",
            Self::Manage => "manage",
        }
    }
}

/// Options of `logout`.
#[derive(Args, Debug)]
pub struct Logout {
    /// The registry [default: as --registry]
    pub url: Option<Url>,
    /// Forget the login even where the registry can not be told; its token stays good until it is revoked there.
    #[arg(long)]
    pub forget: bool,
}

/// `token …`: takes a login, or COUNTERSIGN_TOKEN with the manage action.
#[derive(Debug, Subcommand)]
#[command(after_help = "\
Examples:
  countersign token list
  countersign token create --action publish --project pypi:mypackage --days 7
  countersign token revoke csgn_u_Ab12")]
pub enum Token {
    /// Your tokens: hints, scopes and dates, never a secret.
    List,
    /// Make a token and print it, once. You approve it with your passkey on the page that is shown.
    Create(NewToken),
    /// Revoke a token, with effect at once.
    Revoke {
        /// Its id or its hint, as `list` shows them; never the token itself.
        which: String,
    },
}

/// Options of `token create`.
#[derive(Args, Debug)]
#[command(after_help = "\
Examples:
  countersign token create --label 'release box' --action publish --project pypi:mypackage
  countersign token create --action read --network 192.0.2.0/24 --days 90 > token.txt

On standard output stands the token and nothing else. For CI there is something better than a token that is stored:
countersign publisher add --help")]
pub struct NewToken {
    /// What it shall be good for.
    #[arg(long, value_name = "ACTION", default_value = "publish")]
    pub action: Action,
    /// How you call it.
    #[arg(long, value_name = "TEXT")]
    pub label: Option<String>,
    /// Good for this project only.
    #[arg(long, conflicts_with_all = ["namespace", "ecosystem"])]
    pub project: Option<ProjectName>,
    /// Good for this namespace only: ECOSYSTEM:PREFIX.
    #[arg(long, value_name = "NAMESPACE", conflicts_with = "ecosystem")]
    pub namespace: Option<ProjectName>,
    /// Good for this ecosystem only.
    #[arg(long, value_name = "ECOSYSTEM")]
    pub ecosystem: Option<countersign_formats::Ecosystem>,
    /// Good from this network only, such as 192.0.2.0/24; again for each.
    #[arg(long = "network", value_name = "NETWORK")]
    pub networks: Vec<String>,
    /// How many days it lives [default: 30, and at most what the operator allows]
    #[arg(long, value_name = "DAYS", value_parser = clap::value_parser!(u32).range(1..))]
    pub days: Option<u32>,
}

/// `owner …`: takes a login, or COUNTERSIGN_TOKEN with the manage action.
///
/// What a token alone may not do waits for your passkey: the page is shown, and the command goes on by itself.
#[derive(Debug, Subcommand)]
#[command(after_help = "\
PROJECT is ECOSYSTEM:PROJECT, or just PROJECT for pypi.
Roles: owner (everything), maintainer (releases), publisher (uploads and nothing else), security (withholds files).
Examples:
  countersign owner list mypackage
  countersign owner add mypackage grace --role maintainer
  countersign owner transfer mypackage my-organisation

The last owner can not go. Removing another owner by force of two: remove --propose, then confirm by a second owner.")]
pub enum Owner {
    /// Who has which role on a project; without a project, your own projects.
    List {
        /// The project.
        project: Option<ProjectName>,
    },
    /// Give somebody a role.
    Add {
        /// The project.
        project: ProjectName,
        /// The user name.
        user: String,
        /// The role.
        #[arg(long, default_value = "owner")]
        role: Role,
    },
    /// Change somebody's role.
    Role {
        /// The project.
        project: ProjectName,
        /// The user name.
        user: String,
        /// The role.
        role: Role,
    },
    /// Take somebody's role away.
    Remove {
        /// The project.
        project: ProjectName,
        /// The user name.
        user: String,
        /// Ask for the removal of an owner, which another owner confirms, or which waits some days so that it can be
        /// stopped.
        #[arg(long)]
        propose: bool,
    },
    /// Give up your own role.
    Leave {
        /// The project.
        project: ProjectName,
    },
    /// Ask for a transfer to an organisation or another user; it waits some days, and every owner can stop it.
    Transfer {
        /// The project.
        project: ProjectName,
        /// The organisation or user.
        to: String,
    },
    /// What waits about a project; without one, transfers that wait for you.
    Pending {
        /// The project.
        project: Option<ProjectName>,
    },
    /// Confirm a removal as the second owner, or take over a project that is transferred to you.
    Confirm {
        /// The id, as `pending` shows it.
        id: String,
    },
    /// Stop a removal or a transfer.
    Stop {
        /// The id, as `pending` shows it.
        id: String,
    },
}

/// A role on a project.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Role {
    /// Everything.
    Owner,
    /// Releases.
    Maintainer,
    /// Uploads and nothing else.
    Publisher,
    /// Withholds files in an incident.
    Security,
}

impl Role {
    /// Its word.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Owner => "owner",
            Self::Maintainer => "maintainer",
            Self::Publisher => "publisher",
            Self::Security => "security",
        }
    }
}

/// A role that a team may have, or none.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum TeamRole {
    /// Releases.
    Maintainer,
    /// Uploads and nothing else.
    Publisher,
    /// Withholds files in an incident.
    Security,
    /// None any longer.
    None,
}

impl TeamRole {
    /// Its word.
    pub fn word(self) -> Option<&'static str> {
        match self {
            Self::Maintainer => Some("maintainer"),
            Self::Publisher => Some("publisher"),
            Self::Security => Some("security"),
            Self::None => None,
        }
    }
}

/// A standing in an organisation.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Standing {
    /// Owns the organisation and its projects.
    Owner,
    /// Manages members and teams.
    Manager,
    /// Has what their teams have.
    Member,
}

impl Standing {
    /// Its word.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Owner => "owner",
            Self::Manager => "manager",
            Self::Member => "member",
        }
    }
}

/// `org …`: takes a login, or COUNTERSIGN_TOKEN with the manage action.
///
/// Organisations are governed by people who are there: most of this waits for your passkey on the page that is shown.
#[derive(Debug, Subcommand)]
#[command(after_help = "\
Examples:
  countersign org create acme --display-name 'Acme Ltd'
  countersign org invite acme grace --standing member
  countersign org team add acme releases
  countersign org team join acme releases grace
  countersign org namespace acme pypi:acme releases publisher
  countersign owner transfer mypackage acme")]
pub enum Org {
    /// Your organisations.
    List,
    /// Make an organisation. Its name is taken for ever.
    Create {
        /// Its name in addresses.
        name: String,
        /// Its name in words.
        #[arg(long, value_name = "TEXT")]
        display_name: Option<String>,
    },
    /// Members, teams, projects, namespaces, and what waits.
    Show {
        /// The organisation.
        name: String,
    },
    /// End an organisation that has no projects. Its name stays taken.
    Remove {
        /// The organisation.
        name: String,
    },
    /// Invite somebody.
    Invite {
        /// The organisation.
        name: String,
        /// The user name.
        user: String,
        /// As what.
        #[arg(long, default_value = "member")]
        standing: Standing,
    },
    /// Invitations that wait for you.
    Invitations,
    /// Accept an invitation.
    Accept {
        /// Its id, as `invitations` shows it.
        id: String,
    },
    /// Decline an invitation, or take back one of your organisation's.
    Decline {
        /// Its id, as `invitations` or `show` shows it.
        id: String,
    },
    /// Change what somebody is, or end it.
    Member {
        /// The organisation.
        name: String,
        /// The user name.
        user: String,
        /// What they are from now on.
        #[arg(required_unless_present = "remove")]
        standing: Option<Standing>,
        /// End it.
        #[arg(long, conflicts_with = "standing")]
        remove: bool,
        /// With --remove, for an owner: ask for it, and another owner confirms (countersign owner confirm).
        #[arg(long, requires = "remove")]
        propose: bool,
    },
    /// Leave an organisation.
    Leave {
        /// The organisation.
        name: String,
    },
    /// Teams and who is in them.
    #[command(subcommand)]
    Team(Team),
    /// Give a team a role on every project of a namespace of the organisation.
    Namespace {
        /// The organisation.
        name: String,
        /// ECOSYSTEM:PREFIX, or just PREFIX for pypi.
        namespace: ProjectName,
        /// The team.
        team: String,
        /// The role, or none.
        #[arg(value_name = "ROLE|none")]
        role: TeamRole,
    },
    /// Give a team a role on one project of the organisation.
    Project {
        /// The project.
        project: ProjectName,
        /// The team.
        team: String,
        /// The role, or none.
        #[arg(value_name = "ROLE|none")]
        role: TeamRole,
    },
}

/// `org team …`
#[derive(Debug, Subcommand)]
pub enum Team {
    /// Make a team.
    Add {
        /// The organisation.
        name: String,
        /// The team.
        team: String,
    },
    /// End a team, and with it the roles that it gave.
    Remove {
        /// The organisation.
        name: String,
        /// The team.
        team: String,
    },
    /// Put a member into a team.
    Join {
        /// The organisation.
        name: String,
        /// The team.
        team: String,
        /// The user name.
        user: String,
    },
    /// Take a member out of a team.
    Part {
        /// The organisation.
        name: String,
        /// The team.
        team: String,
        /// The user name.
        user: String,
    },
}

/// `trust …`
#[derive(Debug, Subcommand)]
pub enum Trust {
    /// Show a registry's origin and keys, and pin them after asking.
    Add {
        /// Address of the registry.
        url: Url,
        /// Do not ask.
        #[arg(long)]
        yes: bool,
        /// Replace keys that are pinned for the same log.
        #[arg(long)]
        replace: bool,
    },
    /// List what is pinned.
    List,
}

/// Options of `verify`.
///
/// One line for each check, with its reason: what was confirmed, what failed, and what could not be checked and why.
#[derive(Args, Debug)]
#[command(after_help = "\
Examples:
  countersign verify thing-1.0-py3-none-any.whl                  fetches proof and attestations
  countersign verify pkg:pypi/thing@1.0                          fetches and checks every file of the release
  countersign verify uv.lock --policy countersign-policy.toml    everything that a lock file names
  countersign verify thing-1.0.tar.gz --save evidence            keeps what is needed to check it again ...
  countersign verify thing-1.0.tar.gz --offline=evidence         ... without any network

Files of other registries, given their evidence (no log of theirs is asked):
  countersign verify FILE --provenance FILE.provenance           a Python index's provenance object (PEP 740)
  countersign verify FILE --bundle FILE.sigstore.json            a Sigstore bundle
  countersign verify FILE.tgz --bundle attestations.json --keys keys.json --purl pkg:npm/%40scope/name@1.0.0

Checks: digest and log (the file is what the registry's log holds, under a head signed by the pinned keys), witnesses,
attestations (all that the log names are here), attestation and statement (each of them), identity and provenance
(against --policy), release and summary (the registry's own, by the pinned attestation keys).
Lock files that are read: requirements with
hashes, uv.lock, pylock.toml, package-lock.json, pnpm-lock.yaml, yarn.lock, Cargo.lock.
Exit codes: 0 nothing failed, 2 usage, 3 a check failed, 4 refused by the registry, 5 the registry is out of reach.")]
pub struct Verify {
    /// Wheels, sdists, crates, identifiers (pkg:pypi/NAME@VERSION), or one lock file; with --bundle any one file.
    #[arg(value_name = "FILE|PURL|LOCKFILE", required_unless_present_any = ["bundle", "provenance", "evidence"])]
    pub targets: Vec<PathBuf>,
    /// Who may sign, by project: a file as `countersign policy init` writes it.
    #[arg(long, value_name = "FILE")]
    pub policy: Option<PathBuf>,
    /// A Sigstore bundle (0.1 to 0.3) or an npm registry's attestations document: check its cryptography and its logs for
    /// the file or --digest, offline. Who signed is told, and judged only with --policy.
    #[arg(long, value_name = "FILE", conflicts_with_all = ["proof", "provenance", "save", "offline"])]
    pub bundle: Option<PathBuf>,
    /// A provenance object of a Python index (PEP 740): check its attestations for the file or --digest, offline.
    #[arg(long, value_name = "FILE", conflicts_with_all = ["proof", "save", "offline"])]
    pub provenance: Option<PathBuf>,
    /// The digest that the evidence must be about, instead of a file: sha256:HEX or sha512:HEX.
    #[arg(long, value_name = "DIGEST", conflicts_with = "targets")]
    pub digest: Option<String>,
    /// A trusted_root.json to hold attestations against [default: the public-good instance and GitHub's, as this version
    /// knows them]
    #[arg(long, value_name = "FILE")]
    pub trusted_root: Option<PathBuf>,
    /// Keys whose signatures count besides certificates: a list as npm registries serve it, or one public key in PEM.
    #[arg(long, value_name = "FILE", requires = "bundle")]
    pub keys: Option<PathBuf>,
    /// Its proof, a file or an address [default: FILE.tlog-proof, or else asked of the registry]
    #[arg(long, value_name = "FILE|URL")]
    pub proof: Option<String>,
    /// The identifier that it must have, such as 'pkg:pypi/thing@1.0?file_name=thing-1.0.tar.gz'
    /// [default: what its own metadata say]
    #[arg(long)]
    pub purl: Option<String>,
    /// Check evidence again that a proxy wrote when it refused something, offline.
    #[arg(long, value_name = "FILE", conflicts_with_all = ["targets", "bundle", "provenance", "proof", "save", "offline"])]
    pub evidence: Option<PathBuf>,
    /// For a lock file, print the result as SARIF 2.1.0 on standard output, as code scanners read it.
    #[arg(long, conflicts_with = "json")]
    pub sarif: bool,
    /// Keep the evidence in a folder, to check it again without a network.
    #[arg(long, value_name = "DIR", conflicts_with = "offline")]
    pub save: Option<PathBuf>,
    /// Use no network at all: the evidence is in DIR, or stands beside the file.
    #[arg(long, value_name = "DIR", num_args = 0..=1, require_equals = true)]
    pub offline: Option<Option<PathBuf>>,
}

/// `policy …`: whom you expect to have built what you use.
#[derive(Debug, Subcommand)]
#[command(after_help = "\
Examples:
  countersign policy init                       from the lock file here; writes countersign-policy.toml
  countersign policy init uv.lock --output ci/policy.toml
  countersign policy check                      what is different from what the policy says
  countersign verify uv.lock --policy countersign-policy.toml

A policy is trust on first use, written down: what is there today is what will be expected. Projects without provenance
are named as such. Its form is docs/spec/policy.md. Lock files that are read: requirements with hashes, uv.lock, pylock.toml.
Exit codes: 0 as the policy says, 2 usage, 3 something is not, 5 the registry is out of reach.")]
pub enum Policy {
    /// Write a policy from what a lock file uses today.
    Init(PolicyInit),
    /// Say what changed since: new projects, other signers, provenance that is lost or gained.
    Check(PolicyCheck),
}

/// Options of `policy init`.
#[derive(Args, Debug)]
pub struct PolicyInit {
    /// The lock file [default: uv.lock, pylock.toml or requirements.txt, whichever is here]
    pub lockfile: Option<PathBuf>,
    /// Where to write [default: countersign-policy.toml]
    #[arg(long, value_name = "FILE")]
    pub output: Option<PathBuf>,
    /// Write it although it is there already.
    #[arg(long)]
    pub replace: bool,
    /// A trusted_root.json, as for `verify`.
    #[arg(long, value_name = "FILE")]
    pub trusted_root: Option<PathBuf>,
}

/// Options of `policy check`.
#[derive(Args, Debug)]
pub struct PolicyCheck {
    /// The lock file [default: uv.lock, pylock.toml or requirements.txt, whichever is here]
    pub lockfile: Option<PathBuf>,
    /// The policy [default: countersign-policy.toml]
    #[arg(long, value_name = "FILE")]
    pub policy: Option<PathBuf>,
    /// A trusted_root.json, as for `verify`.
    #[arg(long, value_name = "FILE")]
    pub trusted_root: Option<PathBuf>,
}

/// `log …`
#[derive(Debug, Subcommand)]
pub enum Log {
    /// Fetch every entry and tile; check tree, signature, one digest per file, and that the log only grew. What an
    /// earlier audit on this machine has read is not read again, and one that was cut off goes on where it was.
    Audit {
        /// Read everything again.
        #[arg(long)]
        full: bool,
        /// Audit a copy of the log in a folder (`checkpoint`, `tile/…`), against the pinned keys; it may be older than
        /// the registry's.
        #[arg(long, value_name = "DIR")]
        mirror: Option<PathBuf>,
        /// How many threads read and check [default: 8 for a registry, one for each core for a folder]
        #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=64))]
        threads: Option<u16>,
        /// Audit another log instead, as one that is kept for a registry elsewhere: the tlog-policy with its keys and
        /// witnesses. All of it is read each time.
        #[arg(long, value_name = "FILE", conflicts_with_all = ["full", "threads"])]
        log_policy: Option<PathBuf>,
        /// Where that log is (`checkpoint` and `tile/…` below it), as https://registry.example/service/log/NAME/.
        #[arg(
            long,
            value_name = "URL",
            requires = "log_policy",
            conflicts_with = "mirror"
        )]
        log_url: Option<Url>,
    },
    /// Show entries, each proved against the signed root. The newest by default.
    Show {
        /// Only this one: its index, or the purl of a file or release whose publications are shown.
        #[arg(value_name = "INDEX|PURL", conflicts_with_all = ["from", "count"])]
        which: Option<String>,
        /// Index of the first entry.
        #[arg(long, value_name = "INDEX")]
        from: Option<u64>,
        /// How many.
        #[arg(long, default_value_t = 20)]
        count: u64,
    },
    /// Tell every publish and every change of rights of your projects, out of the log.
    Monitor(Box<LogMonitor>),
    /// Check offline that a file is in a log, any log whose tlog-policy you have: such as one that is kept for a registry
    /// elsewhere.
    Verify(LogVerify),
}

/// Options of `log verify`.
#[derive(Args, Debug)]
pub struct LogVerify {
    /// The file whose SHA-256 is in the log.
    pub file: PathBuf,
    /// The identifier that it is logged under.
    #[arg(long, conflicts_with = "raw")]
    pub identifier: Option<String>,
    /// The file is the entry itself, byte for byte.
    #[arg(long)]
    pub raw: bool,
    /// The proof, as …/proof/INDEX.tlog-proof answers it.
    #[arg(long, value_name = "FILE")]
    pub proof: PathBuf,
    /// The log's keys, and who must have cosigned (c2sp.org/tlog-policy).
    #[arg(long, value_name = "FILE")]
    pub log_policy: PathBuf,
}

/// Options of `log monitor`.
///
/// The log proves that these are all leaves of a project; the whole log is not read. What was told is remembered, and
/// nothing is remembered before every output took it. The first time, only what happens from then on is told.
#[derive(Args, Debug)]
#[command(after_help = "\
Examples:
  countersign log monitor pkg:pypi/sample pkg:npm/%40me/tool            tells on the terminal, every 5 minutes
  countersign --json log monitor --once pkg:cargo/sample                one line of JSON each, for a timer or a CI job
  countersign log monitor --once --webhook https://chat.example/hook --atom feed.xml pkg:pypi/sample
  countersign log monitor --mail me@example.org --smtp smtps://USER:PASSWORD@mail.example.org pkg:pypi/sample

It ends with 3 where the log lied, hides a leaf, takes one back or stands still against what its witnesses say; webhook and
mail are told that too.")]
pub struct LogMonitor {
    /// Purls of projects.
    #[arg(required = true, value_name = "PURL")]
    pub projects: Vec<String>,
    /// Look once, and end.
    #[arg(long)]
    pub once: bool,
    /// How often to look.
    #[arg(long, value_name = "TIME", value_parser = age, default_value = "5m")]
    pub every: std::time::Duration,
    /// Tell what happened before the first look, too.
    #[arg(long)]
    pub from_start: bool,
    /// Where to keep what was seen [default: among this user's state, a file for each log]
    #[arg(long, value_name = "FILE")]
    pub state: Option<PathBuf>,
    /// How old may be the newest map of a log that went on since, and what the pinned witnesses said last.
    #[arg(long, value_name = "TIME", value_parser = age, default_value = "1h")]
    pub max_age: std::time::Duration,
    /// Post what is new there, as JSON.
    #[arg(long, value_name = "URL")]
    pub webhook: Option<Url>,
    /// Mail what is new.
    #[arg(long, value_name = "ADDRESS")]
    pub mail: Option<String>,
    /// From whom the mail is [default: the same address]
    #[arg(long, value_name = "ADDRESS", requires = "mail")]
    pub mail_from: Option<String>,
    /// The mail server, such as smtps://USER:PASSWORD@HOST [default: this machine's sendmail]
    #[arg(
        long,
        value_name = "URL",
        requires = "mail",
        env = "COUNTERSIGN_SMTP",
        hide_env_values = true
    )]
    pub smtp: Option<String>,
    /// Keep an Atom feed there.
    #[arg(long, value_name = "FILE")]
    pub atom: Option<PathBuf>,
}

/// Options of `publish`.
///
/// In a CI job the identity of the job is exchanged for a token that lives for minutes and is given back at the end,
/// whatever happened. No secret is stored anywhere. A repeated run is safe: what is published already is not
/// published twice.
#[derive(Args, Debug)]
#[command(after_help = "\
Examples:
  countersign publish --registry https://packages.example.org dist/*
  countersign publish --dry-run dist/*              which CI, which claims, which files; sends no file
  countersign publish --skip-existing dist/*        passes over file names that are taken
  countersign publish --id-token-file token.jwt dist/*
  countersign publish --tag next mypackage-2.0.0-rc.1.tgz      what npm pack made, with its bundle beside it

Where the identity comes from, the first that is there:
  --id-token-file FILE                              a token of any provider
  COUNTERSIGN_ID_TOKEN                              the same as a variable; in GitLab, a name below `id_tokens`
  GitHub Actions                                    `permissions: id-token: write` in the job
  Forgejo Actions                                   `enable-openid-connect: true` in the workflow
  GitLab CI                                         PYPI_ID_TOKEN or NPM_ID_TOKEN, or the one named for the audience
  CircleCI                                          `circleci run oidc get`
  Buildkite                                         `buildkite-agent oidc request-token`
Elsewhere, and where the registry takes no identities, COUNTERSIGN_TOKEN is used, or else the login (countersign login).

Attestations that a signing tool left beside a file (FILE.publish.attestation, FILE.slsa.attestation: attestation
objects, one for each predicate type) are sent with it, and the registry verifies them. For npm's tarballs that is one
bundle of Sigstore, FILE.sigstore or FILE.sigstore.json, with the provenance that npm's own client makes.

Proofs are verified where the registry's key is pinned (countersign trust add URL, or --trust FILE with a file that is
kept beside the source).")]
pub struct Publish {
    /// The files: wheels and sdists, or crates, or npm's tarballs. Their attestations are found beside them; proofs and signatures are passed over.
    #[arg(required = true)]
    pub files: Vec<PathBuf>,
    /// Say what would happen, and send no file.
    #[arg(long)]
    pub dry_run: bool,
    /// Pass over a file whose name is taken by other bytes, instead of failing.
    #[arg(long)]
    pub skip_existing: bool,
    /// Send no attestations, although some stand beside the files.
    #[arg(long)]
    pub no_attestations: bool,
    /// The tag that shall point to a version of an npm package [default: latest]
    #[arg(long, value_name = "TAG")]
    pub tag: Option<String>,
    /// A file with an identity token for this registry; - for standard input.
    #[arg(long, value_name = "FILE|-")]
    pub id_token_file: Option<PathBuf>,
    /// In whose name: the job's identity, or the token of COUNTERSIGN_TOKEN or the login [default: the identity where
    /// there is one]
    #[arg(long, value_name = "WHICH")]
    pub credential: Option<CredentialKind>,
}

/// In whose name files are published.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum CredentialKind {
    /// The identity of the CI job.
    Identity,
    /// The token in COUNTERSIGN_TOKEN, or else that of the login.
    Token,
}

/// `publisher …`: takes a login, or COUNTERSIGN_TOKEN with the manage action, of an owner.
#[derive(Debug, Subcommand)]
#[command(after_help = "\
PROJECT is ECOSYSTEM:PROJECT, or just PROJECT for pypi.
It takes a login (countersign login), or COUNTERSIGN_TOKEN with the manage action; tokens of CI identities can not
change publishers.")]
pub enum Publisher {
    /// Who may publish a project; without a project, your publishers of projects that do not exist yet.
    List {
        /// The project.
        project: Option<ProjectName>,
    },
    /// Let a CI workflow publish a project, without a stored secret.
    Add(AddPublisher),
    /// What each provider asks for when a publisher is added.
    Fields {
        /// Only this provider: github, gitlab, google, circleci, buildkite, forgejo, activestate or generic.
        provider: Option<countersign_trust::oidc::Provider>,
    },
    /// Say rule by rule whether an identity token would be let in. The token is not used up. Exit code 4 if it is not.
    #[command(after_help = "\
Example, in a job that has an identity:
  countersign publisher test mypackage --token-file token.jwt")]
    Test {
        /// The project.
        project: ProjectName,
        /// A file with the token; - for standard input. Not an argument, because others can see those.
        #[arg(long, value_name = "FILE|-")]
        token_file: PathBuf,
    },
    /// Ask issuer and provider again whether a publisher is as it was registered. Exit code 4 if it is not.
    Check {
        /// The project.
        project: ProjectName,
        /// The publisher's id, as `list` shows it.
        id: String,
    },
    /// Take a publisher away. Tokens that were minted for it stop at once.
    Remove {
        /// The project.
        project: ProjectName,
        /// The publisher's id, as `list` shows it.
        id: String,
    },
    /// The last exchanges that were refused, claim by claim.
    Failures {
        /// The project.
        project: ProjectName,
    },
    /// What a project asks of its publications; with options, change it.
    #[command(after_help = "\
Examples:
  countersign publisher policy mypackage
  countersign publisher policy mypackage --trusted-only on --environment release
  countersign publisher policy mypackage --environment none")]
    Policy {
        /// The project.
        project: ProjectName,
        /// Refuse stored tokens: only CI identities may publish.
        #[arg(long, value_name = "on|off")]
        trusted_only: Option<Switch>,
        /// The environment that each identity must come from; none for no such demand.
        #[arg(long, value_name = "NAME|none")]
        environment: Option<String>,
        /// The least that stands behind a publication.
        #[arg(long, value_name = "none|token|workflow|provenance")]
        minimum_trust: Option<String>,
    },
    /// What the registry wants the project's owners to know.
    Notices {
        /// The project.
        project: ProjectName,
        /// Take this notice off the list.
        #[arg(long, value_name = "ID")]
        dismiss: Option<String>,
    },
}

/// On or off.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Switch {
    /// On.
    On,
    /// Off.
    Off,
}

/// Options of `publisher add`.
#[derive(Args, Debug)]
#[command(after_help = "\
Examples:
  countersign publisher add mypackage --issuer github --owner octo --repository sample --workflow release.yml \\
      --environment release
  countersign publisher add mypackage --issuer gitlab --field namespace=group --field project=sample \\
      --field workflow=.gitlab-ci.yml
  countersign publisher add newpackage --issuer github --owner octo --repository sample --workflow release.yml --pending
  countersign publisher add tool --issuer builds --claim 'sub=service:release' --claim 'ref~refs/tags/v*'

Which fields a provider asks for: countersign publisher fields [PROVIDER]

Rules for what no field covers:
  --claim 'NAME=VALUE'         the claim is exactly VALUE
  --claim 'NAME=ONE|TWO'       it is exactly one of these
  --claim 'NAME~PATTERN'       it fits PATTERN, in which * is any run of characters
  --claim 'NAME!=ONE|TWO'      where the claim is there, it fits none of these patterns
A token that lacks a claim of the first three kinds is refused.")]
pub struct AddPublisher {
    /// The project.
    pub project: ProjectName,
    /// The issuer: the word for a built-in one (github, gitlab, …), the name an operator gave it, or its URL.
    #[arg(long, value_name = "NAME")]
    pub issuer: String,
    /// User or organisation that owns the repository.
    #[arg(long, value_name = "NAME")]
    pub owner: Option<String>,
    /// The repository's name.
    #[arg(long, value_name = "NAME")]
    pub repository: Option<String>,
    /// The workflow file that is started, such as release.yml.
    #[arg(long, value_name = "FILE")]
    pub workflow: Option<String>,
    /// The reusable workflow that it calls and that asks for the token: OWNER/REPOSITORY/PATH[@REF].
    #[arg(long, value_name = "WORKFLOW")]
    pub called_workflow: Option<String>,
    /// The deployment environment of the job. Recommended: its protection rules decide who may release.
    #[arg(long, value_name = "NAME")]
    pub environment: Option<String>,
    /// Pattern of branches or tags, such as refs/tags/v*.
    #[arg(long = "ref", value_name = "PATTERN")]
    pub reference: Option<String>,
    /// Which runners may do it: github-hosted, self-hosted or any.
    #[arg(long, value_name = "KIND")]
    pub runner: Option<String>,
    /// Any field by its name; again for each.
    #[arg(long = "field", value_name = "NAME=VALUE", value_parser = field)]
    pub fields: Vec<(String, String)>,
    /// A further rule about a claim of the token; again for each.
    #[arg(long = "claim", value_name = "RULE")]
    pub claims: Vec<Rule>,
    /// The project may not exist yet; it is yours once its first release makes it. The name is not reserved.
    #[arg(long)]
    pub pending: bool,
}

impl AddPublisher {
    /// The fields that were given, by options of their own or by `--field`; `Err` names one that was given twice.
    pub fn fields(&self) -> Result<std::collections::BTreeMap<String, String>, String> {
        let named = [
            ("owner", &self.owner),
            ("repository", &self.repository),
            ("workflow", &self.workflow),
            ("called_workflow", &self.called_workflow),
            ("environment", &self.environment),
            ("ref", &self.reference),
            ("runner", &self.runner),
        ];
        let given = named
            .into_iter()
            .filter_map(|(name, value)| Some((name.to_owned(), value.clone()?)))
            .chain(self.fields.iter().cloned());
        let mut fields = std::collections::BTreeMap::new();
        for (name, value) in given {
            if fields.insert(name.clone(), value).is_some() {
                return Err(name);
            }
        }
        Ok(fields)
    }
}

fn field(text: &str) -> Result<(String, String), String> {
    match text.split_once('=') {
        Some((name, value)) if !name.is_empty() => Ok((name.to_owned(), value.to_owned())),
        _ => Err("write NAME=VALUE".to_owned()),
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
