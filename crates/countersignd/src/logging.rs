//! Log lines on standard error: for people on a terminal, one JSON object per line otherwise.

use std::io::IsTerminal;

use tracing_subscriber::EnvFilter;
use tracing_subscriber::filter::LevelFilter;

use crate::config::LogFormat;
use crate::failure::Failure;

/// Starts logging for a server.
///
/// # Errors
/// A filter that does not parse, with the part that is wrong.
pub fn start(format: LogFormat, filter: &str, requests: bool) -> Result<(), Failure> {
    let (name, text) = match std::env::var("RUST_LOG") {
        Ok(text) if !text.is_empty() => ("RUST_LOG", text),
        _ => ("log.filter", filter.to_owned()),
    };
    let parsed = EnvFilter::builder()
        .with_default_directive(LevelFilter::INFO.into())
        .parse(&text)
        .map_err(|error| {
            Failure::usage(
                "log-filter",
                format!("{name} = {text:?} is not a filter: {error}."),
            )
            .remedy("Examples: \"info\", \"warn,request=info\", \"debug,sqlx=warn\".")
        })?;
    let switched = if requests {
        parsed
    } else {
        parsed.add_directive("request=off".parse().expect("a fixed directive parses"))
    };
    install(format, switched);
    Ok(())
}

/// Starts logging for a command: `level` is what the person must know beside the results, unless RUST_LOG says more.
pub fn start_quietly(level: LevelFilter) {
    let filter = EnvFilter::builder()
        .with_default_directive(level.into())
        .from_env_lossy();
    install(LogFormat::Auto, filter);
}

fn install(format: LogFormat, filter: EnvFilter) {
    let terminal = std::io::stderr().is_terminal();
    let json = match format {
        LogFormat::Auto => !terminal,
        LogFormat::Human => false,
        LogFormat::Json => true,
    };
    let builder = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr);
    let outcome = if json {
        builder
            .json()
            .flatten_event(true)
            .with_current_span(false)
            .with_span_list(false)
            .try_init()
    } else {
        builder.with_ansi(terminal).compact().try_init()
    };
    if let Err(error) = outcome {
        // Only a second start in one process comes here; the first one goes on working.
        tracing::debug!("logging was started already: {error}");
    }
}
