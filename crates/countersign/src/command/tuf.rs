//! The entry point of the TUF conformance suite.

use std::time::{SystemTime, UNIX_EPOCH};

use countersign::remote::Remote;
use countersign::tuf::{Folder, Updater};
use countersign::{Exit, Failure};
use countersign_trust::tuf::client::{Client, Trusted};
use countersign_trust::tuf::{Limits, file_stem};
use url::Url;

use super::{authorities, line};
use crate::cli::{Common, ConformanceTuf, TufStep};

/// `conformance tuf`: one step of the suite's protocol, which knows success and 1.
pub fn conformance(common: &Common, options: &ConformanceTuf) -> Result<(), Failure> {
    step(common, options).map_err(|failure| Failure {
        exit: Exit::Environment,
        ..failure
    })
}

fn step(common: &Common, options: &ConformanceTuf) -> Result<(), Failure> {
    let folder = Folder::new(&options.metadata_dir);
    if let TufStep::Init { trusted_root } = &options.step {
        let root = std::fs::read(trusted_root).map_err(|error| {
            Failure::new(
                Exit::Usage,
                "root-unreadable",
                format!("{} can not be read: {error}.", trusted_root.display()),
            )
        })?;
        Client::begin(Trusted::root(root.clone()), 0, Limits::default())?;
        return folder.keep("root", &root);
    }
    let ca = authorities(common)?;
    let remote = |url: Option<&Url>, option: &str| {
        let url = url.ok_or_else(|| {
            Failure::new(
                Exit::Usage,
                "option-missing",
                format!("--{option} is missing."),
            )
        })?;
        Remote::new(url, None, ca.as_deref())
    };
    let now = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .ok()
        .and_then(|since| i64::try_from(since.as_secs()).ok())
        .ok_or_else(|| Failure::new(Exit::Environment, "clock", "The clock stands before 1970."))?;
    let metadata = remote(options.metadata_url.as_ref(), "metadata-url")?;
    let mut updater = Updater::refresh(&folder, &metadata, now)?;
    if matches!(options.step, TufStep::Refresh) {
        return Ok(());
    }
    let targets = remote(options.target_base_url.as_ref(), "target-base-url")?;
    let into = options
        .target_dir
        .as_ref()
        .ok_or_else(|| Failure::new(Exit::Usage, "option-missing", "--target-dir is missing."))?;
    for name in &options.target_name {
        let Some(target) = updater.look(name)? else {
            return Err(Failure::unverified(
                "tuf-target-unknown",
                "Nobody who may speak for the target lists it.",
            ));
        };
        let file = into.join(file_stem(name));
        updater.download(name, &target, &targets, &file)?;
        line(&file.display().to_string());
    }
    Ok(())
}
