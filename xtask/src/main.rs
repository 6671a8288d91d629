//! Developer tasks, run as `cargo xtask TASK`.

mod crash;

use clap::{Parser, Subcommand};

/// Developer tasks of Countersign.
#[derive(Debug, Parser)]
#[command(name = "cargo xtask", bin_name = "cargo xtask")]
struct Cli {
    #[command(subcommand)]
    task: Task,
}

#[derive(Debug, Subcommand)]
enum Task {
    /// Kill the real server at random moments, again and again, and check that it owes nothing.
    Crash(crash::Options),
}

fn main() -> anyhow::Result<()> {
    match Cli::parse().task {
        Task::Crash(options) => crash::run(&options),
    }
}
