//! `countersignd`: the server binary. It reads flags and configuration, wires core and face, and reports.

#![cfg_attr(test, allow(clippy::unwrap_used))]

mod admin;
mod advisories;
mod archive;
mod assess;
mod cli;
mod config;
mod demo;
mod doctor;
mod domains;
mod drill;
mod exchange;
mod failure;
mod import;
mod incident;
mod instance;
mod log;
mod logging;
mod outside;
mod policies;
mod post;
mod report;
mod sample;
mod scan_files;
mod scan_worker;
mod scanner;
mod serve;
mod tls;
mod tuf;

use std::process::ExitCode;

use clap::Parser;
use serde_json::json;
use tracing_subscriber::filter::LevelFilter;

use crate::cli::{Admin, Cli, Command, Common, ConfigCommand, Place, Stores};
use crate::config::{Config, shown_without_password};
use crate::failure::Failure;

/// Publishing allocates much from many threads; this allocator takes less of its time than the system's.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    let cli = Cli::parse();
    let common = cli.common.clone();
    // Before there is a second thread: what fences a process in fences the thread that asks.
    if let Command::ScanWorker(options) = &cli.command {
        return scan_worker::run(options);
    }
    let outcome = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .map_err(|error| {
            Failure::environment("runtime", format!("The runtime can not start: {error}."))
        })
        .and_then(|runtime| runtime.block_on(run(cli)));
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            if common.json {
                eprintln!("{}", failure.json());
            } else {
                eprintln!("countersignd: {failure}");
            }
            ExitCode::from(failure.exit as u8)
        }
    }
}

async fn run(cli: Cli) -> Result<(), Failure> {
    let common = &cli.common;
    match &cli.command {
        // `serve` starts logging itself, as its configuration says.
        Command::Serve(_) => {}
        // The demo damages a file on purpose, and tells about it itself.
        Command::Demo(_) => logging::start_quietly(LevelFilter::OFF),
        // Canaries guess passwords and forge reports.
        Command::Assess(_) | Command::Drill(_) => logging::start_quietly(LevelFilter::ERROR),
        // What is found out about an issuer stands in the answer.
        Command::Admin(Admin::Issuer(_) | Admin::Publisher(_)) => {
            logging::start_quietly(LevelFilter::ERROR);
        }
        _ => logging::start_quietly(LevelFilter::WARN),
    }
    match &cli.command {
        Command::Demo(options) => demo::run(common, options).await,
        Command::Scan(options) => scan_files::run(common, options).await,
        Command::ScanWorker(_) => Err(Failure::usage(
            "scan-worker",
            "The scanner's worker was started in the wrong place.",
        )),
        Command::Init(place) => init(common, place).await,
        Command::Serve(options) => serve::run(common, options).await,
        Command::Migrate(stores) => migrate(common, stores).await,
        Command::Doctor(options) => doctor::run(common, options).await,
        Command::Backup(options) => archive::backup(common, options).await,
        Command::Restore(options) => archive::restore(common, options).await,
        Command::Import(options) => import::run(common, options).await,
        Command::Advisories(command) => advisories::run(common, command).await,
        Command::Config(ConfigCommand::Sample) => {
            report::line(config::sample().trim_end());
            Ok(())
        }
        Command::Config(ConfigCommand::Policy { name }) => policies::show(common, name.as_deref()),
        Command::Config(ConfigCommand::Check(place)) => check(common, place),
        Command::Tuf(command) => tuf::run(common, command).await,
        Command::Log(command) => log::run(common, command).await,
        Command::Exchange(command) => exchange::run(common, command).await,
        Command::Assess(options) => assess::run(common, options).await,
        Command::Incident(command) => incident::run(common, command).await,
        Command::Drill(options) => drill::run(common, options).await,
        Command::Admin(command) => admin::run(common, command).await,
    }
}

async fn init(common: &Common, place: &Place) -> Result<(), Failure> {
    let config = Config::load(&common.data, common.config.as_deref(), &place.overrides())?;
    let registry = instance::init(&config).await?;
    let written = remember(&config, place)?;
    let identity = registry.site_keys();
    // Folds SQLite's write-ahead log into its file: who copies a fresh registry copies one file.
    registry.store().close().await;
    let site = config.url.as_str().trim_end_matches('/');
    if common.json {
        report::json(&json!({
            "url": site, "data": config.data, "keys": config.keys,
            "origin": identity.origin, "verifier_keys": identity.verifier_keys,
        }));
        return Ok(());
    }
    report::line(&format!(
        "New registry for {site} in {}",
        config.data.display()
    ));
    report::line(&format!(
        "  log origin     {}   (for ever, whatever the URL becomes)",
        identity.origin
    ));
    for key in &identity.verifier_keys {
        report::line(&format!("  verifier key   {}", report::short_key(key)));
    }
    let data = if common.data.as_os_str() == "./countersign-data" {
        String::new()
    } else {
        format!(" --data {}", common.data.display())
    };
    if let Some(file) = &written {
        report::line(&format!(
            "  configuration  {} (what you gave here)",
            file.display()
        ));
    }
    report::line(&format!(
        "Next:\n  Keep a copy of {} in a safe place, apart from the database: without it this log can not go on.\n  \
         countersignd serve{data}\n  \
         countersignd admin user create NAME --email E --operator{data}\n  \
         countersignd admin token create --user NAME{data}",
        config.keys.display()
    ));
    Ok(())
}

/// Writes the flags of `init` into the configuration file, unless there is one: otherwise a later `serve` without
/// them would serve this registry under another URL, or look for it elsewhere.
fn remember(config: &Config, place: &Place) -> Result<Option<std::path::PathBuf>, Failure> {
    if config.file.is_some() {
        return Ok(None);
    }
    let text = config::remembered(config, &place.overrides());
    if text.is_empty() {
        return Ok(None);
    }
    let path = config.data.join("countersign.toml");
    instance::write_private(&path, &text)?;
    Ok(Some(path))
}

async fn migrate(common: &Common, stores: &Stores) -> Result<(), Failure> {
    let config = Config::load(&common.data, common.config.as_deref(), &stores.overrides())?;
    let survey = instance::Survey::take(&config).await?;
    if !survey.is_instance() {
        return Err(instance::none_here(&config, &survey));
    }
    let store = instance::connect(&config).await?;
    let pending = store.pending_migrations().await?;
    store.migrate().await?;
    if common.json {
        report::json(&json!({"applied": pending}));
    } else if pending == 0 {
        report::line("The database is up to date.");
    } else {
        report::line(&format!("Applied {pending} migrations."));
    }
    Ok(())
}

fn check(common: &Common, place: &Place) -> Result<(), Failure> {
    let config = Config::load(&common.data, common.config.as_deref(), &place.overrides())?;
    config.refuse_plain_http_off_loopback()?;
    if let Some(files) = &config.tls {
        tls::Certificate::load(files)?;
    }
    let policies = policies::load(&config)?;
    let file = config.file.as_ref().map(|file| file.display().to_string());
    let rows = [
        ("url", config.url.as_str().trim_end_matches('/').to_owned()),
        ("listen", config.listen.to_string()),
        ("database", shown_without_password(&config.database)),
        ("blobs", config.blobs.to_string()),
        ("keys", config.keys.display().to_string()),
        ("spool", config.spool.display().to_string()),
        (
            "visibility",
            format!("{:?}", config.visibility).to_lowercase(),
        ),
        (
            "tls",
            config.tls.as_ref().map_or_else(
                || "none".to_owned(),
                |files| files.cert.display().to_string(),
            ),
        ),
        (
            "log policy",
            match &config.log_policy {
                Some(policy) => format!(
                    "{} witnesses, quorum {}",
                    policy.policy().witnesses().len(),
                    policy.policy().quorum()
                ),
                None => "none: the log waits for no witness".to_owned(),
            },
        ),
        ("trusted publishing", trusted_publishing(&config)),
        (
            "policies",
            format!(
                "{} of your own in {}",
                policies.all().iter().filter(|policy| policy.own).count(),
                config.policies.display()
            ),
        ),
        (
            "max file size",
            format!("{} bytes", config.limits.max_file_size),
        ),
    ];
    if common.json {
        let values: serde_json::Map<_, _> = rows
            .into_iter()
            .map(|(name, value)| (name.replace(' ', "_"), json!(value)))
            .collect();
        report::json(&json!({"ok": true, "file": file, "counts": values}));
        return Ok(());
    }
    report::line(&match file {
        Some(file) => format!("{file} is good. What counts, with flags, environment and defaults:"),
        None => format!(
            "There is no configuration file at {}; the defaults count:",
            config.data.join("countersign.toml").display()
        ),
    });
    for (name, value) in rows {
        report::line(&format!("  {name:<18} {value}"));
    }
    Ok(())
}

/// From whom identity tokens are taken, in a line.
fn trusted_publishing(config: &Config) -> String {
    let settings = &config.trusted_publishing;
    if !settings.enabled {
        return "off".to_owned();
    }
    let names: Vec<_> = settings
        .builtin
        .iter()
        .map(|provider| provider.as_str())
        .collect();
    if names.is_empty() {
        "on, with issuers of your own alone".to_owned()
    } else {
        format!("on: {}", names.join(", "))
    }
}
