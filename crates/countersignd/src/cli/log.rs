//! `log …`: the logs that are kept for registries elsewhere.

use std::path::PathBuf;

use clap::Subcommand;

use super::Stores;

/// `log …`
#[derive(Debug, Subcommand)]
pub enum Logs {
    /// Logs of registries elsewhere, each with keys and tokens of its own.
    #[command(subcommand)]
    Service(Service),
}

/// `log service …`
#[derive(Debug, Subcommand)]
pub enum Service {
    /// Begin a log for a registry elsewhere. Prints its verifier keys.
    Create {
        /// Its name: lower-case letters, digits and hyphens.
        name: String,
        /// Milliseconds that lie between two checkpoints at least.
        #[arg(long, value_name = "N", default_value_t = 1000, value_parser = clap::value_parser!(u64).range(50..=60_000))]
        interval_ms: u64,
        /// Each entry has an identifier, which stands for one digest, for ever.
        #[arg(long)]
        identifiers: bool,
        /// The tlog-policy file that says who must have cosigned its checkpoints [default: that of the registry's own log]
        #[arg(long, value_name = "FILE", conflicts_with = "unwitnessed")]
        policy: Option<PathBuf>,
        /// Nobody cosigns its checkpoints, whatever the registry's own policy is.
        #[arg(long)]
        unwitnessed: bool,
        /// Where database and blobs are.
        #[command(flatten)]
        stores: Stores,
    },
    /// Make a token that may append to one log and do nothing else; prints it.
    Token {
        /// The service.
        name: String,
        /// What the token is for.
        #[arg(long, default_value = "log")]
        label: String,
        /// Where database and blobs are.
        #[command(flatten)]
        stores: Stores,
    },
    /// Close a log for ever: it takes no more entries, and stays readable.
    Close {
        /// The service.
        name: String,
        /// Where database and blobs are.
        #[command(flatten)]
        stores: Stores,
    },
    /// List them, with size and what keeps them from moving.
    List(Stores),
}
