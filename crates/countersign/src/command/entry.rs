//! `countersign log verify` and `log audit --log-policy`: any log whose policy one has, such as one that is kept for a registry
//! elsewhere.

use std::path::Path;

use countersign::audit::{Source, audit_service};
use countersign::trusted::Seen;
use countersign::verify::hashed;
use countersign::{Exit, Failure, bundle};
use countersign_trust::entry::digest_entry;
use countersign_trust::policy::Policy;
use countersign_trust::proof::{MAX_PROOF_BYTES, TlogProof};
use countersign_trust::tlog::MAX_ENTRY_BYTES;
use indicatif::{ProgressBar, ProgressStyle};
use serde_json::json;
use url::Url;

use super::{line, remote};
use crate::cli::{Common, LogVerify};

/// The longest policy file, in bytes.
const LONGEST_POLICY: usize = 1 << 20;

fn usage(code: &'static str, message: String) -> Failure {
    Failure::new(Exit::Usage, code, message)
}

fn read_policy(path: &Path) -> Result<Policy, Failure> {
    let policy = bundle::read(path, LONGEST_POLICY)?;
    Policy::parse(&policy).map_err(|error| {
        let file = path.display();
        usage("log-policy", format!("{file} is no tlog-policy: {error}."))
    })
}

/// What stands in the log about a file, or the file itself.
fn entry(options: &LogVerify) -> Result<Vec<u8>, Failure> {
    if options.raw {
        return bundle::read(&options.file, MAX_ENTRY_BYTES);
    }
    let (_, digests, _) = hashed(&options.file)?;
    let text = digest_entry(digests.sha256, options.identifier.as_deref()).ok_or_else(|| {
        usage(
            "identifier-malformed",
            "An identifier has 1 to 1024 bytes and no control characters.".to_owned(),
        )
    })?;
    Ok(text.into_bytes())
}

/// Checks it, and says where it stands.
pub fn run(common: &Common, options: &LogVerify) -> Result<(), Failure> {
    let policy = read_policy(&options.log_policy)?;
    let entry = entry(options)?;
    let proof = bundle::read(&options.proof, MAX_PROOF_BYTES)?;
    let unverified = |why: String| Failure::unverified("entry-unproven", why);
    let proof = TlogProof::parse(&proof)
        .map_err(|error| unverified(format!("The proof can not be read: {error}.")))?;
    // Which of the policy's logs: a name that the policy has no keys for is refused by it.
    let origin = proof
        .checkpoint
        .lines()
        .next()
        .unwrap_or_default()
        .to_owned();
    let open = policy.verify(&proof, &entry, &origin).map_err(|error| {
        unverified(format!(
            "The entry is not proved to be in the log: {error}."
        ))
    })?;
    let witnesses = policy.witnesses_of(&open);
    if common.json {
        let told = json!({"origin": origin, "index": proof.index, "size": open.size(), "witnesses": witnesses});
        line(&told.to_string());
        return Ok(());
    }
    line(&format!(
        "in the log {origin} at index {} of {}, cosigned by {}",
        proof.index,
        open.size(),
        if witnesses.is_empty() {
            "nobody".to_owned()
        } else {
            witnesses.join(", ")
        }
    ));
    Ok(())
}

/// Audits the log of a policy, at its address or in a folder.
pub fn audit(
    common: &Common,
    policy: &Path,
    log_url: Option<&Url>,
    mirror: Option<&Path>,
) -> Result<(), Failure> {
    let file = policy.display();
    let policy = read_policy(policy)?;
    let logs = policy.logs().iter();
    let mut origins: Vec<String> = logs.map(|log| log.key.name().to_string()).collect();
    origins.dedup();
    let [origin] = &origins[..] else {
        let message = format!(
            "{file} is for {} logs, and one is audited at a time.",
            origins.len()
        );
        return Err(usage("log-policy", message));
    };
    let source = match (mirror, log_url) {
        (Some(folder), _) => Source::Folder(folder.to_owned()),
        (None, Some(url)) => {
            let mut path = url.path().to_owned();
            if !path.ends_with('/') {
                path.push('/');
            }
            let mut site = url.clone();
            site.set_path("/");
            let remote = remote(common, &site)?;
            Source::Registry { remote, path }
        }
        (None, None) => {
            let failure = usage("log-url", "It is not said where the log is.".to_owned());
            return Err(failure.remedy("Give its address with --log-url, or a copy with --mirror."));
        }
    };
    let bar = ProgressBar::new(0);
    if let Ok(style) = ProgressStyle::with_template("{bar:32} {pos}/{len} entries  {per_sec}") {
        bar.set_style(style);
    }
    let progress = |done, all| {
        bar.set_length(all);
        bar.set_position(done);
    };
    let outcome = audit_service(&policy, origin, &source, &Seen::of(origin)?, &progress);
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
        "    {} identifiers, one digest for each; every tile is what the entries make; cosigned by {}",
        audited.identifiers,
        match &audited.witnesses[..] {
            [] => "nobody".to_owned(),
            witnesses => witnesses.join(", "),
        }
    ));
    match audited.continues {
        Some(size) => line(&format!("    it continues what you saw at {size} entries")),
        None => line("    seen for the first time; the next audit holds it to this"),
    }
    Ok(())
}
