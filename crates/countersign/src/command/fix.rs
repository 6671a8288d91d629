//! `countersign fix`.

use countersign::exposure::Exposure;
use countersign::failure::plain;
use countersign::remedy::{self, Mended, Plan};
use countersign::remote::Remote;
use countersign::trusted::{self, TrustFile};
use countersign::{Exit, Failure, bundle};
use countersign_formats::lock;
use serde_json::{Value, json};

use super::audit::{exposures, named};
use super::{authorities, line, remote, trust_path};
use crate::cli::{Common, Fix};

/// Shows the smallest updates that leave known flaws behind, and makes them where that is asked for.
pub fn run(common: &Common, options: &Fix) -> Result<(), Failure> {
    let paths = named(&options.lockfiles)?;
    let (database, exposures) = exposures(common, &options.advisories, &paths, &[])?;
    let ca = authorities(common)?;
    let elsewhere = |url: &url::Url| Remote::new(url, None, ca.as_deref());
    let trust = TrustFile::load(&trust_path(common)?)?;
    let pinned = trust.registry(common.registry.as_ref()).ok();
    let registry = pinned
        .map(|pinned| remote(common, &pinned.url))
        .transpose()?;
    let mut told = Vec::new();
    let mut left = 0;
    for exposure in &exposures {
        let plan = remedy::plan(exposure, &database);
        let mended = remedy::mend(
            exposure,
            &plan,
            &database,
            Some(&elsewhere),
            registry.as_ref(),
        )?;
        left += mended.left.len();
        let written = options.apply && mended.bytes != exposure.bytes;
        if written {
            apply(exposure, &mended)?;
        }
        if common.json {
            told.push(json(exposure, &plan, &mended, written));
        } else {
            show(exposure, &plan, &mended, written);
        }
    }
    if common.json {
        line(&json!({"fixed": told}).to_string());
    }
    if left > 0 {
        return Err(Failure::unverified(
            "vulnerable",
            format!("{left} known vulnerabilities stay."),
        )
        .remedy("Why is told above. A wider update of what holds them back may help."));
    }
    Ok(())
}

/// Writes the lock file, if it still is the one that was read.
fn apply(exposure: &Exposure, mended: &Mended) -> Result<(), Failure> {
    let now = bundle::read(&exposure.path, lock::MAX_LOCK)?;
    if now != exposure.bytes {
        return Err(Failure::new(
            Exit::Environment,
            "lock-changed",
            format!("{} was changed meanwhile.", exposure.path.display()),
        )
        .remedy("Nothing was written; run it again."));
    }
    trusted::write_whole(&exposure.path, &mended.bytes)
}

fn show(exposure: &Exposure, plan: &Plan, mended: &Mended, written: bool) {
    let path = plain(&exposure.path.display().to_string());
    if plan.steps.is_empty() && mended.stuck.is_empty() {
        line(&format!("✓ {path}: nothing to mend"));
        return;
    }
    line(&path);
    for step in &plan.steps {
        line(&format!(
            "  {} {} → {}: {}",
            step.name,
            plain(&step.from),
            plain(&step.to),
            step.ids
                .iter()
                .map(|id| plain(id))
                .collect::<Vec<_>>()
                .join(", ")
        ));
    }
    if !mended.changes.is_empty() {
        line("  In the lock file:");
    }
    for change in &mended.changes {
        for version in &change.before {
            line(&format!("    - {} {}", change.name, plain(version)));
        }
        for version in &change.after {
            line(&format!("    + {} {}", change.name, plain(version)));
        }
    }
    for stuck in &mended.stuck {
        line(&format!(
            "  ✗ {}: {} ({})",
            stuck.name,
            plain(&stuck.reason),
            stuck
                .ids
                .iter()
                .map(|id| plain(id))
                .collect::<Vec<_>>()
                .join(", ")
        ));
    }
    for left in &mended.left {
        line(&format!("  still there: {}", plain(left)));
    }
    if written {
        line(&format!(
            "  Written. Install from {path} and run your tests."
        ));
    } else if !mended.changes.is_empty() {
        line("  Nothing was written; --apply does.");
    }
}

fn json(exposure: &Exposure, plan: &Plan, mended: &Mended, written: bool) -> Value {
    let steps: Vec<Value> = plan
        .steps
        .iter()
        .map(|step| {
            json!({"project": step.name, "from": step.from, "to": step.to, "advisories": step.ids, "asked_by": step.asked_by})
        })
        .collect();
    let changes: Vec<Value> = mended
        .changes
        .iter()
        .map(|change| json!({"project": change.name, "before": change.before, "after": change.after}))
        .collect();
    let stuck: Vec<Value> = mended
        .stuck
        .iter()
        .map(
            |stuck| json!({"package": stuck.name, "advisories": stuck.ids, "reason": stuck.reason}),
        )
        .collect();
    json!({
        "path": exposure.path.display().to_string(), "steps": steps, "changes": changes, "stuck": stuck,
        "left": mended.left, "written": written,
    })
}
