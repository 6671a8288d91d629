//! `doctor`: looks for what is wrong and says what to do about it. Changes nothing but a probe object in the blobs.

use std::path::Path;
use std::time::{SystemTime, UNIX_EPOCH};

use countersign_registry::model::Visibility;
use countersign_registry::{Diagnosis, LogKeys, Patient, Severity, examine};
use serde_json::json;

use crate::admin::people::{List, OLD_LIST};
use crate::cli::{Common, Doctor};
use crate::config::{self, Config};
use crate::failure::{Exit, Failure};
use crate::instance::{self, Survey};
use crate::scanner::Workers;
use crate::{policies, report, tls};

/// Looks at everything.
///
/// # Errors
/// Exit 1 when anything is wrong.
pub async fn run(common: &Common, options: &Doctor) -> Result<(), Failure> {
    // A configuration that does not even parse is a diagnosis by itself.
    let config = Config::load(
        &common.data,
        common.config.as_deref(),
        &options.stores.overrides(),
    )?;
    let mut found = vec![transport(&config)];
    found.extend(certificate(&config));
    found.push(breached(&config));
    found.push(sign_up(&config));
    found.push(scanning(&config).await);
    let today = jiff::Timestamp::now()
        .to_zoned(jiff::tz::TimeZone::UTC)
        .date();
    found.push(policies::contact(&config, today));
    found.push(policies::reviews(&config, today));
    let keys = match look_inside(&config, options.deep, common.json).await {
        Ok((diagnoses, keys)) => {
            found.extend(diagnoses);
            keys
        }
        Err(failure) => {
            found.push(failed("registry", &failure));
            None
        }
    };
    let wrong = found.iter().filter(|diagnosis| !diagnosis.ok).count();
    if common.json {
        report::json(&json!({
            "ok": wrong == 0,
            "checks": found,
            "origin": keys.as_ref().map(LogKeys::origin),
            "verifier_keys": keys.as_ref().map(texts),
        }));
    } else {
        for diagnosis in &found {
            report::line(&told(diagnosis));
        }
        for key in keys.iter().flat_map(texts) {
            report::line(&format!("  verifier key   {}", report::short_key(&key)));
        }
    }
    if wrong == 0 {
        return Ok(());
    }
    Err(Failure::new(
        Exit::Environment,
        "unwell",
        format!("{wrong} of {} checks found a problem.", found.len()),
    ))
}

fn texts(keys: &LogKeys) -> Vec<String> {
    keys.verifiers().iter().map(ToString::to_string).collect()
}

fn told(diagnosis: &Diagnosis) -> String {
    if diagnosis.ok {
        return format!("✓ {}: {}", diagnosis.id, diagnosis.what);
    }
    let mark = if diagnosis.severity == Severity::Error {
        "✗"
    } else {
        "!"
    };
    let mut text = format!("{mark} {}: {}", diagnosis.id, diagnosis.what);
    for more in [&diagnosis.why, &diagnosis.remedy] {
        if !more.is_empty() {
            text.push_str(&format!("\n    {}", more.replace('\n', "\n    ")));
        }
    }
    text
}

pub(crate) fn failed(id: &'static str, failure: &Failure) -> Diagnosis {
    let remedy = failure.remedy.as_deref().unwrap_or_default();
    Diagnosis::bad(id, Severity::Error, &failure.message, "", remedy)
}

async fn look_inside(
    config: &Config,
    deep: bool,
    json: bool,
) -> Result<(Vec<Diagnosis>, Option<LogKeys>), Failure> {
    let survey = Survey::take(config).await?;
    if !survey.is_instance() {
        // Going on would write a probe into what may be an unmounted volume.
        return Err(instance::none_here(config, &survey));
    }
    let (store, blobs, seams) = (
        instance::connect(config).await?,
        instance::open_blobs(config)?,
        instance::seams(config)?,
    );
    let settings = config.settings();
    let mut folders: Vec<&Path> = vec![&config.data];
    if let config::Blobs::Directory(path) = &config.blobs {
        folders.push(path);
    }
    folders.extend(config.sqlite_file.as_deref().and_then(Path::parent));
    let patient = Patient {
        settings: &settings,
        store: &store,
        blobs: &blobs,
        keys_folder: Some(&config.keys),
        folders: &folders,
        seams: &seams,
    };
    let bar = report::bar("files looked at", json);
    let found = examine(&patient, deep, &mut |done, all| {
        report::advance(&bar, done, all)
    })
    .await;
    bar.finish_and_clear();
    let keys = match store.newest_shard().await? {
        // A missing or damaged key is told by the check of keys.
        Some(shard) => LogKeys::load(&config.keys, shard).ok(),
        None => None,
    };
    Ok((found, keys))
}

fn transport(config: &Config) -> Diagnosis {
    match config.refuse_plain_http_off_loopback() {
        Ok(()) => Diagnosis::good(
            "transport",
            format!(
                "{} on {}",
                config.url.as_str().trim_end_matches('/'),
                config.listen
            ),
        ),
        Err(failure) => failed("transport", &failure),
    }
}

/// Against what are passwords held?
fn breached(config: &Config) -> Diagnosis {
    let service = config.sign_in.breach_service.is_some();
    let Some(path) = &config.sign_in.breach_file else {
        return if service {
            Diagnosis::good("breached-passwords", "a service is asked")
        } else {
            Diagnosis::bad(
                "breached-passwords",
                Severity::Warning,
                "Passwords are held against a few built-in words only.",
                "People can choose passwords that are known to be stolen.",
                "Import a list with `countersignd admin breached import FILE`, or set sign_in.breach_service.",
            )
        };
    };
    match List::look(path) {
        Err(failure) => failed("breached-passwords", &failure),
        Ok(list) if list.days > OLD_LIST && !service => Diagnosis::bad(
            "breached-passwords",
            Severity::Warning,
            format!("The list {} is {} days old.", path.display(), list.days),
            "Passwords that were stolen since are not known here.",
            "Import a newer one with `countersignd admin breached import FILE`.",
        ),
        Ok(list) => Diagnosis::good(
            "breached-passwords",
            format!("{} passwords in {}", list.passwords, path.display()),
        ),
    }
}

/// Does the scanner work, with the rules that are there?
async fn scanning(config: &Config) -> Diagnosis {
    if !config.scan.enabled {
        return Diagnosis::good("scanner", "what is published is not scanned (scan.enabled)");
    }
    let yara = if crate::scan_worker::YARA {
        "with YARA"
    } else {
        "without YARA"
    };
    match Workers::new(config).check().await {
        Err(failure) => failed("scanner", &failure),
        Ok(0) => Diagnosis::good("scanner", format!("the rules that come along, {yara}")),
        Ok(files) => Diagnosis::good(
            "scanner",
            format!(
                "the rules that come along and {files} files in {}, {yara}",
                config.scan_rules.display()
            ),
        ),
    }
}

/// Who may make an account. Not wrong either way, but on a restricted registry something to know.
fn sign_up(config: &Config) -> Diagnosis {
    let settings = config.settings();
    let what = match (settings.sign_up_open(), settings.visibility) {
        (false, _) => "accounts are made by the operator alone",
        (true, Visibility::Public) => "anybody with an e-mail address can make an account",
        (true, Visibility::Restricted) => {
            "anybody with an e-mail address can make an account and then read this restricted registry, because sign_in.open says so"
        }
    };
    Diagnosis::good("sign-up", what)
}

fn certificate(config: &Config) -> Option<Diagnosis> {
    let files = config.tls.as_ref()?;
    let loaded = tls::Certificate::load(files).and_then(|_| tls::validity(&files.cert));
    Some(match loaded {
        Err(failure) => failed("certificate", &failure),
        Ok(validity) => {
            let now = SystemTime::now()
                .duration_since(UNIX_EPOCH)
                .map_or(0, |since| {
                    i64::try_from(since.as_secs()).unwrap_or(i64::MAX)
                });
            let days = (validity.not_after - now) / 86_400;
            if days < 14 {
                Diagnosis::bad(
                    "certificate",
                    Severity::Warning,
                    format!("{} expires in {days} days.", files.cert.display()),
                    "After that clients refuse to connect.",
                    "Renew it, then send the server SIGHUP.",
                )
            } else {
                Diagnosis::good("certificate", format!("good for {days} more days"))
            }
        }
    })
}
