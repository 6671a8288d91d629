//! `countersign log verify`: an entry of any log, offline, under a policy file.

use countersign::verify::hashed;
use countersign::{Exit, Failure, bundle};
use countersign_trust::entry::digest_entry;
use countersign_trust::policy::Policy;
use countersign_trust::proof::{MAX_PROOF_BYTES, TlogProof};
use countersign_trust::tlog::MAX_ENTRY_BYTES;
use serde_json::json;

use super::line;
use crate::cli::{Common, LogVerify};

/// The longest policy file, in bytes.
const LONGEST_POLICY: usize = 1 << 20;

fn usage(code: &'static str, message: String) -> Failure {
    Failure::new(Exit::Usage, code, message)
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
    let policy = bundle::read(&options.log_policy, LONGEST_POLICY)?;
    let policy = Policy::parse(&policy).map_err(|error| {
        let file = options.log_policy.display();
        usage("log-policy", format!("{file} is no tlog-policy: {error}."))
    })?;
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
