//! `cargo xtask corpus`: fetches the real distributions that the end-to-end tests publish, before somebody needs them.

use anyhow::Result;
use clap::Args;
use countersign_testkit::corpus::{Corpus, real_distributions};

/// Options of `corpus`.
#[derive(Debug, Args)]
pub struct Options {
    /// Only the smaller set that CI uses.
    #[arg(long)]
    small: bool,
}

/// Fetches what is missing and prints one JSON line.
///
/// # Errors
/// Where a file can not be fetched or has another digest than the pinned one.
pub fn run(options: &Options) -> Result<()> {
    let which = if options.small {
        Corpus::Small
    } else {
        Corpus::Whole
    };
    let files = real_distributions(which)?;
    let projects: std::collections::BTreeSet<String> = files
        .iter()
        .map(|file| file.project_and_version().0.to_lowercase())
        .collect();
    println!(
        "{}",
        serde_json::json!({
            "corpus": if options.small { "small" } else { "whole" },
            "files": files.len(),
            "projects": projects.len(),
            "wheels": files.iter().filter(|file| file.is_wheel()).count(),
            "bytes": files.iter().map(|file| file.size).sum::<u64>(),
        })
    );
    Ok(())
}
