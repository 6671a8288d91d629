//! Options of the commands that look at what a project uses: `audit`, `sbom`, `fix`, `install-check`.

use std::path::PathBuf;

use clap::{Args, ValueEnum};
use countersign::exposure::Ignore;

/// Where advisories come from.
#[derive(Args, Debug)]
pub struct Advisories {
    /// A database of advisories in OSV's form: a file (.zip or .json), a folder, or an address. May be given several times. What was read
    /// is kept as an index, and read again when it changed; what was fetched, after a day [default: the pinned registry's own feed]
    #[arg(
        long,
        value_name = "FILE|DIR|URL",
        env = "COUNTERSIGN_ADVISORIES",
        value_delimiter = ','
    )]
    pub advisories: Vec<String>,
    /// Use no network: what was fetched before is good enough.
    #[arg(long)]
    pub offline: bool,
    /// Read and fetch everything again.
    #[arg(long, conflicts_with = "offline")]
    pub refresh: bool,
    /// Pass over an advisory, for a reason, until a day: ID:REASON:YYYY-MM-DD. May be given several times.
    #[arg(long, value_name = "ID:REASON:UNTIL")]
    pub ignore: Vec<Ignore>,
}

/// Options of `audit`.
#[derive(Args, Debug)]
#[command(after_help = "\
Examples:
  countersign audit                                       the lock files here, by the pinned registry's advisories
  countersign audit --advisories advisories/ uv.lock      by a folder with OSV's all.zip files, offline
  countersign audit --ignore 'CVE-2026-1:we parse no XML:2027-01-31'
  countersign audit --sarif > audit.sarif                 for code scanners
  countersign audit --reach                               and whether the code gets at what is flawed

Flaws are matched by each ecosystem's own order of versions. What can not be compared is told as unknown, never passed over. No
severity is no zero: it is told as unrated. Warnings are about the lock file itself: entries from another host, from a repository, without
a digest. `countersign log audit` is something else: it checks a registry's log.
Lock files that are read: requirements, uv.lock, pylock.toml, poetry.lock, Pipfile.lock, package-lock.json, npm-shrinkwrap.json,
pnpm-lock.yaml, yarn.lock, Cargo.lock.
Exit codes: 0 nothing known, 2 usage, 3 something is vulnerable (with --strict: or odd, or unknown), 5 the database is out of reach.")]
pub struct Audit {
    /// Lock files [default: those in this folder]
    #[arg(value_name = "LOCKFILE")]
    pub lockfiles: Vec<PathBuf>,
    /// Where advisories come from.
    #[command(flatten)]
    pub advisories: Advisories,
    /// Print the result as SARIF 2.1.0 on standard output, as code scanners read it.
    #[arg(long, conflicts_with = "json")]
    pub sarif: bool,
    /// Also write an OpenVEX document: what is affected, what is passed over and why, what is not certain.
    #[arg(long, value_name = "FILE")]
    pub vex: Option<PathBuf>,
    /// A host whose registry the lock files may name. May be given several times [default: the one that most entries name]
    #[arg(long, value_name = "HOST")]
    pub host: Vec<String>,
    /// Warnings and what is unknown end with exit code 3 too.
    #[arg(long)]
    pub strict: bool,
    /// Look whether the project's code gets at each flaw: by the text of its sources and of the packages' sources on this machine. What it
    /// does not get at comes last; it is never left out.
    #[arg(long)]
    pub reach: bool,
    /// A folder with the sources of packages, beside the usual ones: a site-packages, a node_modules, vendored crates. May be given several
    /// times.
    #[arg(long, value_name = "DIR", requires = "reach")]
    pub packages: Vec<PathBuf>,
}

/// The form of a bill of materials.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum SbomForm {
    /// CycloneDX 1.6, JSON.
    Cyclonedx,
    /// SPDX 2.3, JSON.
    Spdx,
}

/// Options of `sbom`.
#[derive(Args, Debug)]
#[command(after_help = "\
Examples:
  countersign sbom > sbom.json                            CycloneDX 1.6 of the lock files here
  countersign sbom --form spdx Cargo.lock --output sbom.spdx.json
  countersign sbom --ask                                  with licences, proofs and provenance from the pinned registry

Of the same lock files the same bill is made: entries are sorted, the serial number is made from the content, and SOURCE_DATE_EPOCH sets
the time. What the registry adds is taken only for files whose digest is the one in the lock file.
Exit codes: 0 good, 2 usage, 5 the registry is out of reach.")]
pub struct Sbom {
    /// Lock files [default: those in this folder]
    #[arg(value_name = "LOCKFILE")]
    pub lockfiles: Vec<PathBuf>,
    /// The form.
    #[arg(long, value_enum, default_value = "cyclonedx")]
    pub form: SbomForm,
    /// Where to write [default: standard output]
    #[arg(long, value_name = "FILE")]
    pub output: Option<PathBuf>,
    /// What it is a bill of [default: the name of the folder with the first lock file]
    #[arg(long)]
    pub name: Option<String>,
    /// The version of what it is a bill of.
    #[arg(long)]
    pub project_version: Option<String>,
    /// Ask the pinned registry about each release: addresses, licence, source, proof in the log, attestations.
    #[arg(long)]
    pub ask: bool,
}

/// Options of `fix`.
#[derive(Args, Debug)]
#[command(after_help = "\
Examples:
  countersign fix                                         what would be changed in the lock files here
  countersign fix --apply Cargo.lock                      the same, and writes it

For each package with a known flaw the smallest version without one is looked for. The ecosystem's own tool resolves it (cargo, npm, uv;
requirements.txt is edited here, with the digests of the index), in a copy of the project without its code: no script of the project is run
and no source is built. What comes out is read and looked up again. Other lock files are told what to do, and not written.
Exit codes: 0 no known flaw is left, 1 the tool is missing, 2 usage, 3 some stay, and why is told, 5 out of reach.")]
pub struct Fix {
    /// Lock files [default: those in this folder]
    #[arg(value_name = "LOCKFILE")]
    pub lockfiles: Vec<PathBuf>,
    /// Where advisories come from.
    #[command(flatten)]
    pub advisories: Advisories,
    /// Write the lock files.
    #[arg(long)]
    pub apply: bool,
}

/// Options of `install-check`.
#[derive(Args, Debug)]
#[command(after_help = "\
Examples:
  countersign install-check                               the lock files here
  countersign install-check -- pip install thing          what pip would install; then installs it if nothing is known
  countersign install-check --warn -- npm install         tells what is known, and installs all the same

What would be installed is asked of the tool itself, without installing: pip by a dry run, of wheels only, npm by a lock file in a copy.
Other commands are checked by the lock files here. Beside advisories the pinned registry is asked what it holds back (quarantine).
Exit codes: 0 nothing known, or what the command gave; 2 usage, 3 something is known and nothing was installed, 5 out of reach.")]
pub struct InstallCheck {
    /// Lock files [default: those in this folder, unless a command is given that can be asked]
    #[arg(value_name = "LOCKFILE")]
    pub lockfiles: Vec<PathBuf>,
    /// Where advisories come from.
    #[command(flatten)]
    pub advisories: Advisories,
    /// Only tell, and run the command all the same.
    #[arg(long)]
    pub warn: bool,
    /// Look whether the project's code gets at each flaw, as `audit --reach`. It counts in any case: nothing is installed sooner for it.
    #[arg(long)]
    pub reach: bool,
    /// A folder with the sources of packages, beside the usual ones. May be given several times.
    #[arg(long, value_name = "DIR", requires = "reach")]
    pub packages: Vec<PathBuf>,
    /// The command that installs.
    #[arg(last = true, value_name = "COMMAND")]
    pub command: Vec<String>,
}
