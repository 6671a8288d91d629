//! `backup` and `restore`.

use countersign_registry::{Continued, Registry, Restore};
use serde_json::json;

use crate::cli::{Backup, Common, RestoreFrom};
use crate::config::Config;
use crate::failure::{Exit, Failure};
use crate::instance;
use crate::report;

/// Writes a backup, while a server runs or not.
///
/// # Errors
/// A file that is there already or can not be written, an instance that does not open.
pub async fn backup(common: &Common, options: &Backup) -> Result<(), Failure> {
    let config = Config::load(
        &common.data,
        common.config.as_deref(),
        &options.stores.overrides(),
    )?;
    let registry = instance::open(&config, false).await?;
    let keys = options.with_keys.then_some(config.keys.as_path());
    let bar = report::bar("rows and files", common.json);
    let summary = registry
        .backup(&options.file, keys, &mut |done, all| {
            report::advance(&bar, done, all);
        })
        .await;
    bar.finish_and_clear();
    let summary = summary?;
    if common.json {
        report::json(
            &json!({"file": options.file, "with_keys": options.with_keys, "backup": summary}),
        );
    } else {
        report::line(&format!(
            "Wrote {}: {} bytes, {} files, {} rows, log {} with {} entries.",
            options.file.display(),
            summary.bytes,
            summary.artifacts,
            summary.rows,
            summary.origin,
            summary.log_size
        ));
        report::line(if options.with_keys {
            "It holds the log's signing keys: whoever can read it can sign in this log's name."
        } else {
            "The log's signing keys are not in it; keep a copy of them apart (or give --with-keys)."
        });
        for digest in &summary.lacking {
            report::line(&format!(
                "! The bytes of {digest} are missing or wrong in the blobs; a restore will withhold their file."
            ));
        }
    }
    Ok(())
}

/// Brings an instance back from a backup, proving it on the way.
///
/// # Errors
/// Exit 4 for places that are not empty, exit 3 for a backup that does not prove itself.
pub async fn restore(common: &Common, options: &RestoreFrom) -> Result<(), Failure> {
    if options.file.is_none() && !options.replay {
        return Err(
            Failure::usage("nothing-to-restore", "There is neither a backup to restore nor --replay.").remedy(
                "Give the FILE that `countersignd backup` wrote, or --replay to put back what the surviving blobs hold.",
            ),
        );
    }
    let config = Config::load(
        &common.data,
        common.config.as_deref(),
        &options.stores.overrides(),
    )?;
    let newest_checkpoint = match &options.checkpoint {
        Some(path) => Some(std::fs::read(path).map_err(|error| {
            Failure::usage(
                "checkpoint-unreadable",
                format!("{} can not be read: {error}.", path.display()),
            )
        })?),
        None => None,
    };
    instance::make_directories(&config)?;
    let (settings, seams) = (config.settings(), instance::seams(&config)?);
    let (store, blobs) = (
        instance::connect(&config).await?,
        instance::open_blobs(&config)?,
    );
    let plan = Restore {
        file: options.file.as_deref(),
        settings: &settings,
        store: &store,
        blobs: &blobs,
        keys_folder: &config.keys,
        seams: &seams,
        newest_checkpoint,
        replay: options.replay,
    };
    let bar = report::bar("", common.json);
    let restored = Registry::restore(&plan, &mut |what, done, all| {
        bar.set_message(what.to_owned());
        report::advance(&bar, done, all);
    })
    .await;
    bar.finish_and_clear();
    let restored = restored.map_err(|error| {
        let unproven = ["backup-damaged", "restore-unproven", "log-forked"].contains(&&*error.code);
        let mut failure = Failure::from(error);
        if unproven {
            failure.exit = Exit::Verification;
        }
        failure
    })?;
    if common.json {
        report::json(&json!({"restored": restored}));
        return Ok(());
    }
    report::line(&format!(
        "Restored {} entries of the log, each verified; {} of them came from the tiles.",
        restored.leaves, restored.replayed
    ));
    match &restored.continued {
        Continued::SameLog => report::line(&format!("The log {} goes on.", restored.origin)),
        Continued::NewLog { predecessor, why } => {
            report::line(&format!("A new log begins: {}.", restored.origin));
            report::line(&format!("    {predecessor} is closed: {why}"));
            report::line(
                "    Tell whoever pinned its keys; `countersignd doctor` shows the new ones.",
            );
        }
    }
    for (file, why) in &restored.withheld {
        report::line(&format!("! {file} is withheld: {why}"));
    }
    if restored.tombstones > 0 {
        report::line(&format!(
            "{} identifiers are known from the log alone; they stay reserved.",
            restored.tombstones
        ));
    }
    for note in &restored.notes {
        report::line(&format!("! {note}"));
    }
    report::line("Next: countersignd doctor --deep, then countersignd serve");
    Ok(())
}
