//! `doctor`: looks for what is wrong and says what to do about it.

use std::os::unix::fs::PermissionsExt;
use std::time::{SystemTime, UNIX_EPOCH};

use serde_json::json;

use crate::cli::{Common, Stores};
use crate::config::Config;
use crate::failure::{Exit, Failure};
use crate::{instance, report, tls};

/// One thing that was looked at.
struct Finding {
    check: &'static str,
    /// `None`: good. Otherwise what is wrong and what to do.
    problem: Option<(String, String)>,
    note: String,
}

impl Finding {
    fn good(check: &'static str, note: impl Into<String>) -> Self {
        Self {
            check,
            problem: None,
            note: note.into(),
        }
    }

    fn bad(check: &'static str, what: impl Into<String>, way_out: impl Into<String>) -> Self {
        Self {
            check,
            problem: Some((what.into(), way_out.into())),
            note: String::new(),
        }
    }
}

/// Looks at everything.
///
/// # Errors
/// Exit 1 when anything is wrong.
pub async fn run(common: &Common, stores: &Stores) -> Result<(), Failure> {
    // A configuration that does not even parse is the first diagnosis.
    let config = Config::load(&common.data, common.config.as_deref(), &stores.overrides())?;
    let mut findings = vec![
        match config.refuse_plain_http_off_loopback() {
            Ok(()) => Finding::good("transport", format!("{} on {}", config.url, config.listen)),
            Err(failure) => Finding::bad(
                "transport",
                failure.message,
                failure.remedy.unwrap_or_default(),
            ),
        },
        key_files(&config),
    ];
    findings.extend(certificate(&config));
    let mut identity = None;
    match instance::open(&config, false).await {
        Ok(registry) => {
            let site = registry.site_keys();
            let health = registry.health().await;
            findings.push(if health.ok {
                Finding::good(
                    "log",
                    format!(
                        "{} entries, {} waiting, origin {}",
                        health.log_size, health.log_backlog, site.origin
                    ),
                )
            } else {
                Finding::bad(
                    "log",
                    health.problems.join(" "),
                    "Publishing waits until this is mended; reading goes on.",
                )
            });
            identity = Some(site);
        }
        Err(failure) => findings.push(Finding::bad(
            "registry",
            failure.message,
            failure.remedy.unwrap_or_default(),
        )),
    }
    let wrong = findings
        .iter()
        .filter(|finding| finding.problem.is_some())
        .count();
    if common.json {
        let checks: Vec<_> = findings
            .iter()
            .map(|finding| match &finding.problem {
                None => json!({"check": finding.check, "ok": true, "note": finding.note}),
                Some((what, way_out)) => {
                    json!({"check": finding.check, "ok": false, "problem": what, "remedy": way_out})
                }
            })
            .collect();
        report::json(&json!({
            "ok": wrong == 0, "checks": checks,
            "origin": identity.as_ref().map(|site| &site.origin),
            "verifier_keys": identity.as_ref().map(|site| &site.verifier_keys),
        }));
    } else {
        for finding in &findings {
            match &finding.problem {
                None => report::line(&format!("✓ {}: {}", finding.check, finding.note)),
                Some((what, way_out)) => report::line(&format!(
                    "✗ {}: {}\n    {}",
                    finding.check,
                    what,
                    way_out.replace('\n', "\n    ")
                )),
            }
        }
        for key in identity.iter().flat_map(|site| &site.verifier_keys) {
            report::line(&format!("  verifier key   {key}"));
        }
    }
    if wrong == 0 {
        return Ok(());
    }
    Err(Failure::new(
        Exit::Environment,
        "unwell",
        format!("{wrong} of {} checks found a problem.", findings.len()),
    ))
}

fn key_files(config: &Config) -> Finding {
    let entries = match std::fs::read_dir(&config.keys)
        .and_then(Iterator::collect::<Result<Vec<_>, _>>)
    {
        Ok(entries) => entries,
        Err(error) => {
            return Finding::bad(
                "keys",
                format!("{} can not be read: {error}.", config.keys.display()),
                "Mount the volume or correct `keys` in the configuration; without its key this log can not go on.",
            );
        }
    };
    for entry in entries {
        match entry.metadata() {
            Ok(meta) if meta.permissions().mode() & 0o077 == 0 => {}
            Ok(meta) => {
                return Finding::bad(
                    "keys",
                    format!(
                        "{} may be read by others (mode {:o}).",
                        entry.path().display(),
                        meta.permissions().mode() & 0o777
                    ),
                    format!(
                        "chmod go= {}; whoever may have read it can sign in this log's name.",
                        entry.path().display()
                    ),
                );
            }
            Err(error) => {
                return Finding::bad(
                    "keys",
                    format!("{}: {error}.", entry.path().display()),
                    "Let this user read it.",
                );
            }
        }
    }
    Finding::good(
        "keys",
        format!("{} is readable by this user alone", config.keys.display()),
    )
}

fn certificate(config: &Config) -> Option<Finding> {
    let files = config.tls.as_ref()?;
    Some(
        match tls::Certificate::load(files).and_then(|_| tls::validity(&files.cert)) {
            Err(failure) => Finding::bad(
                "certificate",
                failure.message,
                failure.remedy.unwrap_or_default(),
            ),
            Ok(validity) => {
                let now = SystemTime::now()
                    .duration_since(UNIX_EPOCH)
                    .map_or(0, |since| {
                        i64::try_from(since.as_secs()).unwrap_or(i64::MAX)
                    });
                let days = (validity.not_after - now) / 86_400;
                if days < 14 {
                    Finding::bad(
                        "certificate",
                        format!("{} expires in {days} days.", files.cert.display()),
                        "Renew it, then send the server SIGHUP.",
                    )
                } else {
                    Finding::good("certificate", format!("good for {days} more days"))
                }
            }
        },
    )
}
