//! Developer tasks, run as `cargo xtask TASK`.

#![cfg_attr(test, allow(clippy::unwrap_used))]

mod arch;
mod asvs;
mod bench;
mod corpus;
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
    /// Hold the sources against the rules of the architecture.
    Arch,
    /// Measure what the project promises, beside nginx, pypiserver and devpi.
    Bench(bench::Options),
    /// Fetch the real distributions that the tests publish.
    Corpus(corpus::Options),
    /// Kill the real server at random moments, again and again, and check that it owes nothing.
    Crash(crash::Options),
}

fn main() -> anyhow::Result<()> {
    match Cli::parse().task {
        Task::Arch => arch::run(),
        Task::Bench(options) => bench::run(&options),
        Task::Corpus(options) => corpus::run(&options),
        Task::Crash(options) => crash::run(&options),
    }
}
