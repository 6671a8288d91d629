//! The command line.

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand};
use url::Url;

/// Checks what package registries say, instead of believing them.
#[derive(Debug, Parser)]
#[command(
    name = "countersign",
    version,
    after_help = "\
Begin:
  countersign trust add https://packages.example.org      pins its log's keys, once, after asking
  countersign verify dist/thing-1.0-py3-none-any.whl      is it what the registry published?
  countersign log audit                                   checks every entry of the log

Exit codes: 0 good, 1 a bug or the environment, 2 usage, 3 verification failed, 4 refused by the registry, 5 unreachable.
COUNTERSIGN_TOKEN: a token for registries that are not public."
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
    /// The pinned registry that is meant; needed only when several are pinned.
    #[arg(long, global = true, value_name = "URL")]
    pub registry: Option<Url>,
    /// The file of pinned registries [default: countersign/trust.toml in the user's configuration]
    #[arg(long, global = true, value_name = "FILE")]
    pub trust: Option<PathBuf>,
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
    /// Check a file against its proof and the pinned keys.
    Verify(Verify),
    /// Read and audit a registry's log.
    #[command(subcommand)]
    Log(Log),
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
#[derive(Args, Debug)]
pub struct Verify {
    /// The file: a wheel or an sdist.
    pub file: PathBuf,
    /// Its proof, a file or an address [default: FILE.tlog-proof, or else asked of the registry]
    #[arg(long, value_name = "FILE|URL")]
    pub proof: Option<String>,
    /// The identifier that it must have, such as 'pkg:pypi/thing@1.0?file_name=thing-1.0.tar.gz'
    /// [default: what its own metadata say]
    #[arg(long)]
    pub purl: Option<String>,
    /// Use no network at all.
    #[arg(long)]
    pub offline: bool,
}

/// `log …`
#[derive(Debug, Subcommand)]
pub enum Log {
    /// Fetch every entry and tile; check tree, signature, one digest per file, and that the log only grew.
    Audit,
    /// Show entries, each proved against the signed root. The newest by default.
    Show {
        /// Index of the first entry.
        #[arg(long, value_name = "INDEX")]
        from: Option<u64>,
        /// How many.
        #[arg(long, default_value_t = 20)]
        count: u64,
    },
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
