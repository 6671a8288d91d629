//! `countersign`: the client binary.

mod cli;
mod command;

use std::io::IsTerminal;
use std::path::Path;
use std::process::ExitCode;

use clap::Parser;
use countersign::audit::{Source, Which};
use countersign::trusted::{self, Pinned, Seen, TrustFile};
use countersign::{Exit, Failure, audit, failure};
use indicatif::{ProgressBar, ProgressStyle};
use serde_json::json;
use url::Url;

use cli::{Cli, Command, Common, Log, Trust};
use command::{line, remote, trust_path};

fn main() -> ExitCode {
    let cli = Cli::parse();
    let json = cli.common.json;
    let outcome = match &cli.command {
        Command::Trust(Trust::Add { url, yes, replace }) => add(&cli.common, url, *yes, *replace),
        Command::Trust(Trust::List) => list(&cli.common),
        Command::Verify(options) => command::verify::run(&cli.common, options),
        Command::Audit(options) => command::audit::run(&cli.common, options),
        Command::Sbom(options) => command::sbom::run(&cli.common, options),
        Command::Fix(options) => command::fix::run(&cli.common, options),
        Command::InstallCheck(options) => command::install_check::run(&cli.common, options),
        Command::Policy(what) => command::policy::run(&cli.common, what),
        Command::Log(Log::Audit {
            full,
            mirror,
            threads,
            log_policy: None,
            ..
        }) => {
            let options = audit::Options {
                full: *full,
                threads: threads.map(usize::from),
            };
            audit_log(&cli.common, mirror.as_deref(), options)
        }
        Command::Log(Log::Audit {
            mirror,
            log_policy: Some(policy),
            log_url,
            ..
        }) => command::entry::audit(&cli.common, policy, log_url.as_ref(), mirror.as_deref()),
        Command::Log(Log::Show { which, from, count }) => {
            show(&cli.common, which.as_deref(), *from, *count)
        }
        Command::Log(Log::Verify(options)) => command::entry::run(&cli.common, options),
        Command::Log(Log::Monitor(options)) => command::monitor::run(&cli.common, options),
        Command::Publish(options) => command::publish::run(&cli.common, options),
        Command::Publisher(what) => command::publisher::run(&cli.common, what),
        Command::Login(options) => command::session::login(&cli.common, options),
        Command::Logout(options) => command::session::logout(&cli.common, options),
        Command::Proxy(what) => command::proxy::run(&cli.common, what),
        Command::Witness(what) => command::witness::run(&cli.common, what),
        Command::Assess(options) => command::assess::run(&cli.common, options),
        Command::Report(options) => command::report::report(&cli.common, options),
        Command::Whoami => command::session::whoami(&cli.common),
        Command::Token(what) => command::token::run(&cli.common, what),
        Command::Owner(what) => command::owner::run(&cli.common, what),
        Command::Org(what) => command::org::run(&cli.common, what),
        Command::Conformance(cli::Conformance::VerifyBundle(options)) => {
            command::bundle::conformance(options)
        }
        Command::Conformance(cli::Conformance::Tuf(options)) => {
            command::tuf::conformance(&cli.common, options)
        }
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            if json {
                eprintln!("{}", failure.json());
            } else {
                eprintln!("countersign: {failure}");
            }
            ExitCode::from(failure.exit as u8)
        }
    }
}

fn add(common: &Common, url: &Url, yes: bool, replace: bool) -> Result<(), Failure> {
    let path = trust_path(common)?;
    let mut trust = TrustFile::load(&path)?;
    let fresh = trusted::announced(url, &remote(common, url)?)?;
    if !common.json {
        describe(&fresh);
    }
    if !yes && !agreed(&fresh)? {
        return Err(Failure::new(
            Exit::Usage,
            "not-agreed",
            "Nothing was pinned.",
        ));
    }
    trust.pin(fresh.clone(), replace)?;
    trust.save(&path)?;
    if common.json {
        line(&json!({"pinned": fresh, "file": path.display().to_string()}).to_string());
    } else {
        line(&format!("Pinned in {}", path.display()));
    }
    Ok(())
}

fn describe(pinned: &Pinned) {
    line(pinned.url.as_str().trim_end_matches('/'));
    line(&format!("  log origin     {}", pinned.origin));
    for key in &pinned.keys {
        line(&format!("  verifier key   {}", short(key)));
    }
    // A policy was parsed before it came here.
    if let Ok(Some(witnesses)) = pinned.witnesses() {
        line(&format!("  witnesses      {witnesses}"));
    }
    if let Some(tuf) = &pinned.tuf
        && let Ok(digest) = tuf.digest()
    {
        line(&format!("  TUF root       sha256:{digest}"));
    }
    for key in &pinned.attestation_keys {
        let ended = match &key.until {
            Some(until) => format!(" (until {})", failure::plain(until)),
            None => String::new(),
        };
        line(&format!(
            "  attestations   {}{ended}",
            failure::plain(&key.hint)
        ));
    }
}

/// A verifier key as it fits on a line; those of lattices have thousands of characters, and a digest tells them apart.
fn short(key: &str) -> String {
    if key.len() <= 160 {
        return key.to_owned();
    }
    let begin: String = key.chars().take(100).collect();
    let digest = countersign_trust::digest::Sha256::of(key.as_bytes());
    format!("{begin}… (sha256 of the whole key: {digest})")
}

fn agreed(pinned: &Pinned) -> Result<bool, Failure> {
    if !std::io::stdin().is_terminal() {
        return Err(Failure::new(
            Exit::Usage,
            "no-terminal",
            "There is nobody to ask whether to trust these keys.",
        )
        .remedy(
            "Compare them with what the registry's operators publish elsewhere, then add --yes.",
        ));
    }
    eprint!(
        "Compare these with what the operators of {} publish elsewhere. Trust them? [y/N] ",
        pinned.url.host_str().unwrap_or("it")
    );
    let mut answer = String::new();
    std::io::stdin()
        .read_line(&mut answer)
        .map_err(|error| Failure::new(Exit::Environment, "terminal", error.to_string()))?;
    Ok(matches!(answer.trim(), "y" | "Y" | "yes"))
}

fn list(common: &Common) -> Result<(), Failure> {
    let trust = TrustFile::load(&trust_path(common)?)?;
    if common.json {
        line(&json!({"registries": trust.registries}).to_string());
    } else {
        trust.registries.iter().for_each(describe);
    }
    Ok(())
}

fn audit_log(
    common: &Common,
    mirror: Option<&Path>,
    options: audit::Options,
) -> Result<(), Failure> {
    let trust = TrustFile::load(&trust_path(common)?)?;
    let pinned = trust.registry(common.registry.as_ref())?;
    let source = match mirror {
        Some(folder) => Source::Folder(folder.to_owned()),
        None => Source::registry(pinned, remote(common, &pinned.url)?),
    };
    let bar = ProgressBar::new(0);
    bar.set_style(
        ProgressStyle::with_template("{bar:32} {pos}/{len} entries  {per_sec}  {eta} left")
            .expect("a fixed template parses"),
    );
    let progress = |done, all| {
        bar.set_length(all);
        bar.set_position(done);
    };
    let outcome = audit::audit(
        pinned,
        &source,
        &Seen::of(&pinned.origin)?,
        options,
        &progress,
    );
    bar.finish_and_clear();
    let audited = outcome?;
    if common.json {
        line(&json!({"audited": audited}).to_string());
        return Ok(());
    }
    line(&format!(
        "✓ The log {} holds: {} entries, root {}",
        audited.origin, audited.size, audited.root
    ));
    line(&format!(
        "    {} files, one digest for each; every tile is what the entries make; signed by the pinned key",
        audited.files
    ));
    if audited.read_before > 0 {
        line(&format!(
            "    {} entries were read by an earlier audit, {} now",
            audited.read_before,
            audited.size - audited.read_before
        ));
    }
    match audited.continues {
        Some(size) => line(&format!("    it continues what you saw at {size} entries")),
        None => line("    seen for the first time; the next audit holds it to this"),
    }
    match (
        &audited.map.covers,
        &audited.map.root,
        audited.map.unchecked,
    ) {
        (Some(covers), Some(root), _) => line(&format!(
            "    the map over {covers} entries is the one that they make, root {root}"
        )),
        (_, _, why) => line(&format!(
            "    no map was compared: {}",
            why.unwrap_or_default()
        )),
    }
    if audited.skipped > 0 {
        line(&format!(
            "    {} entries are of kinds that this version does not know",
            audited.skipped
        ));
    }
    Ok(())
}

fn show(
    common: &Common,
    which: Option<&str>,
    from: Option<u64>,
    count: u64,
) -> Result<(), Failure> {
    let trust = TrustFile::load(&trust_path(common)?)?;
    let pinned = trust.registry(common.registry.as_ref())?;
    let remote = remote(common, &pinned.url)?;
    let source = Source::registry(pinned, remote.clone());
    let which = match (which, from) {
        (Some(which), _) => match which.parse() {
            Ok(index) => Which::From(index, 1),
            Err(_) => Which::Published(audit::published(&remote, which)?),
        },
        (None, Some(from)) => Which::From(from, count),
        (None, None) => Which::Newest(count),
    };
    let seen = Seen::of(&pinned.origin)?;
    let (checkpoint, entries) = audit::entries(pinned, &source, &seen, &which)?;
    if common.json {
        line(&json!({"origin": pinned.origin, "size": checkpoint.size(), "root": checkpoint.root(), "entries": entries}).to_string());
        return Ok(());
    }
    line(&format!(
        "{}: {} entries, root {}",
        pinned.origin,
        checkpoint.size(),
        checkpoint.root()
    ));
    for entry in entries {
        line(&format!("\n{}", entry.index));
        // An entry is foreign text: only what its grammar allows goes to the terminal.
        for text in entry.text.lines() {
            line(&format!(
                "    {}",
                text.chars().filter(|c| !c.is_control()).collect::<String>()
            ));
        }
    }
    Ok(())
}
