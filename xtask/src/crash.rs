//! `cargo xtask crash`: the long form of the crash test that CI runs with a few kills.

use std::time::{Duration, Instant};

use anyhow::Result;
use clap::Args;
use countersign_testkit::crash::{self, CrashPlan};
use countersign_testkit::server::Database;

/// Options of `crash`.
#[derive(Debug, Args)]
pub struct Options {
    /// How many times to kill the server.
    #[arg(long, value_name = "N", default_value_t = 200, value_parser = clap::value_parser!(u32).range(1..))]
    kills: u32,
    /// sqlite or postgres.
    #[arg(long, value_name = "WHICH", default_value = "sqlite")]
    database: Database,
    /// How many publish at the same time.
    #[arg(long, value_name = "N", default_value_t = 6, value_parser = clap::value_parser!(u32).range(1..=64))]
    publishers: u32,
    /// Seed of the random moments; the same seed tries the same moments.
    #[arg(long, value_name = "N", default_value_t = 1)]
    seed: u64,
    /// The longest time that the server runs between two kills, in milliseconds.
    #[arg(long, value_name = "MS", default_value_t = 400, value_parser = clap::value_parser!(u64).range(1..))]
    longest_run: u64,
}

/// Runs it and prints what happened as one JSON line on standard output and as a sentence on standard error.
///
/// # Errors
/// The first broken promise.
pub fn run(options: &Options) -> Result<()> {
    let plan = CrashPlan {
        publishers: options.publishers,
        seed: options.seed,
        longest_run: Duration::from_millis(options.longest_run),
        ..CrashPlan::new(options.database, options.kills)
    };
    let begin = Instant::now();
    let report = crash::run(&plan, &mut |line| {
        eprintln!("[{:>4} s] {line}", begin.elapsed().as_secs())
    })?;
    eprintln!("{report}");
    println!(
        "{}",
        serde_json::json!({
            "test": "crash",
            "database": format!("{:?}", options.database).to_lowercase(),
            "seed": options.seed,
            "kills": report.kills,
            "kills_while_starting": report.kills_while_starting,
            "acknowledged": report.acknowledged,
            "lost": 0,
            "cut_off": report.cut_off,
            "leaves": report.leaves,
            "checkpoints": report.checkpoints,
            "start_median_s": report.median_start.as_secs_f64(),
            "start_longest_s": report.longest_start.as_secs_f64(),
            "seconds": begin.elapsed().as_secs_f64(),
        })
    );
    Ok(())
}
