//! Commands on names.

use std::path::PathBuf;

use clap::Subcommand;
use countersign_formats::Ecosystem;
use countersign_registry::lookalikes::Tier;

use super::Stores;

/// `admin names …`
#[derive(Debug, Subcommand)]
pub enum Names {
    /// Say what would become of a name if somebody founded a project of it now, and why.
    Check {
        /// ECOSYSTEM:NAME, or just NAME for pypi.
        #[arg(value_name = "NAME", value_parser = super::project)]
        name: (Ecosystem, String),
        /// Where database and blobs are.
        #[command(flatten)]
        stores: Stores,
    },
    /// Show the lists, what is prohibited, and the exceptions.
    List(Stores),
    /// Print the names that installers ask for and that do not exist, those first that are asked for most.
    ///
    /// Such names are misspelt, private elsewhere, or made up by programs that write code; whoever founds one is installed by
    /// everybody who asks. Servers write their counts down every minute; they are of the last thirty days, and never too high.
    #[command(after_help = "Examples:
  countersignd admin names missing
  countersignd admin names prohibit npm:made-up --reason \"it never existed, and is asked for\"")]
    Missing(Stores),
    /// Import a list of names to protect, in the place of the one of that name.
    ///
    /// The file has one name a line, the best known first; what follows a comma, a tab or a blank is passed over, so that a
    /// table of downloads will do. It is imported whole or not at all. Who has a role on a project of the list, or owns it,
    /// is no look-alike of it.
    #[command(after_help = "Examples:
  countersignd admin names import top-5000.txt --ecosystem pypi --list top
  countersignd admin names import ours.txt --ecosystem npm --list ours --tier refuse")]
    Import {
        /// The file.
        file: PathBuf,
        /// Of which ecosystem the names are.
        #[arg(long, value_parser = super::ecosystem)]
        ecosystem: Ecosystem,
        /// What the list is called.
        #[arg(long, default_value = "top")]
        list: String,
        /// The most that looking like one of them leads to: flag, hold or refuse.
        #[arg(long, default_value = "hold")]
        tier: Tier,
        /// Where database and blobs are.
        #[command(flatten)]
        stores: Stores,
    },
    /// Forget a list.
    Forget {
        /// What it is called.
        list: String,
        /// Of which ecosystem it is.
        #[arg(long, value_parser = super::ecosystem)]
        ecosystem: Ecosystem,
        /// Where database and blobs are.
        #[command(flatten)]
        stores: Stores,
    },
    /// Let a name stand beside another one that it looks like. What waited because of its name is served.
    Allow {
        /// ECOSYSTEM:NAME, or just NAME for pypi: the one that looks like the other.
        #[arg(value_name = "NAME", value_parser = super::project)]
        name: (Ecosystem, String),
        /// The other name.
        other: String,
        /// Why; kept with the exception.
        #[arg(long, required_unless_present = "end")]
        reason: Option<String>,
        /// End the exception. What is published stays as it is.
        #[arg(long, conflicts_with = "reason")]
        end: bool,
        /// Where database and blobs are.
        #[command(flatten)]
        stores: Stores,
    },
    /// Prohibit a name, and those that read the same, to everybody but operators. A project that has it keeps it.
    Prohibit {
        /// ECOSYSTEM:NAME, or just NAME for pypi.
        #[arg(value_name = "NAME", value_parser = super::project)]
        name: (Ecosystem, String),
        /// Why; whoever tries it is told.
        #[arg(long, required_unless_present = "end")]
        reason: Option<String>,
        /// Take the prohibition back.
        #[arg(long, conflicts_with = "reason")]
        end: bool,
        /// Where database and blobs are.
        #[command(flatten)]
        stores: Stores,
    },
    /// Reserve a name, and every name that begins with it and `-` (or a scope of npm), for an organisation; as `admin namespace reserve`.
    Reserve {
        /// ECOSYSTEM:PREFIX, or just PREFIX for pypi.
        #[arg(value_name = "PREFIX", value_parser = super::project)]
        prefix: (Ecosystem, String),
        /// The organisation.
        #[arg(long, value_name = "NAME")]
        organisation: String,
        /// Where database and blobs are.
        #[command(flatten)]
        stores: Stores,
    },
}
