//! `countersign policy`.

use std::path::{Path, PathBuf};

use countersign::evidence::Source;
use countersign::examine::Verdict;
use countersign::inquire::{self, Change, Inquiry};
use countersign::trusted::TrustFile;
use countersign::verify::Proofs;
use countersign::{Exit, Failure, bundle, trusted};
use countersign_trust::sigstore::{PolicyFile, Wanted};
use serde_json::json;

use super::verify::{ended, looked_at};
use super::{line, remote, trust_path};
use crate::cli::{Common, Policy};

/// Where a policy is, where nothing else is said.
const POLICY: &str = "countersign-policy.toml";
/// Lock files that are looked for in the current folder.
const LOCKS: [&str; 7] = [
    "uv.lock",
    "pylock.toml",
    "requirements.txt",
    "package-lock.json",
    "pnpm-lock.yaml",
    "yarn.lock",
    "Cargo.lock",
];

/// Runs a command about policies.
pub fn run(common: &Common, what: &Policy) -> Result<(), Failure> {
    match what {
        Policy::Init(options) => {
            let to = options.output.clone();
            let to = to.unwrap_or_else(|| PathBuf::from(POLICY));
            let lock = lock_file(options.lockfile.as_deref())?;
            init(
                common,
                &lock,
                &to,
                options.replace,
                options.trusted_root.as_deref(),
            )
        }
        Policy::Check(options) => {
            let lock = lock_file(options.lockfile.as_deref())?;
            let from = options.policy.clone();
            let from = from.unwrap_or_else(|| PathBuf::from(POLICY));
            check(common, &lock, &from, options.trusted_root.as_deref())
        }
    }
}

/// The lock file that is named, or the only one in the current folder.
fn lock_file(named: Option<&Path>) -> Result<PathBuf, Failure> {
    if let Some(path) = named {
        return Ok(path.to_owned());
    }
    let there: Vec<&str> = LOCKS
        .into_iter()
        .filter(|name| Path::new(name).is_file())
        .collect();
    match there.as_slice() {
        [only] => Ok(PathBuf::from(only)),
        [] => Err(Failure::new(
            Exit::Usage,
            "no-lock",
            format!("There is no lock file here: none of {}.", LOCKS.join(", ")),
        )
        .remedy("Name one: countersign policy init LOCKFILE")),
        several => Err(Failure::new(
            Exit::Usage,
            "which-lock",
            format!("There are several lock files here: {}.", several.join(", ")),
        )
        .remedy("Name the one that is meant: countersign policy init LOCKFILE")),
    }
}

fn init(
    common: &Common,
    path: &Path,
    to: &Path,
    replace: bool,
    root: Option<&Path>,
) -> Result<(), Failure> {
    if to.exists() && !replace {
        return Err(Failure::new(
            Exit::Usage,
            "policy-exists",
            format!("{} is there already.", to.display()),
        )
        .remedy("See what changed since with `countersign policy check`; --replace writes it anew, and forgets what you corrected in it."));
    }
    let lock = inquire::lock_file(path)?;
    let trust = TrustFile::load(&trust_path(common)?)?;
    let pinned = trust.registry(common.registry.as_ref())?;
    let roots = bundle::trust_root(root)?;
    let inquiry = Inquiry {
        trust: &trust,
        proofs: &Proofs::default(),
        registry: Some(pinned),
        roots: &roots,
        policy: None,
        indices: None,
    };
    let remote = remote(common, &pinned.url)?;
    let entries = looked_at(common, &inquiry, &Source::Registry(&remote), &lock)?;
    let policy = inquire::policy_of(&entries, pinned)?;
    trusted::write_whole(to, policy.render().as_bytes())?;
    let skipped = entries
        .iter()
        .filter(|entry| policy.project(&entry.purl).is_none())
        .count();
    if common.json {
        line(&json!({"policy": to.display().to_string(), "projects": policy.projects, "local": skipped}).to_string());
    } else {
        written(&policy, to, skipped);
    }
    Ok(())
}

fn written(policy: &PolicyFile, to: &Path, skipped: usize) {
    for project in &policy.projects {
        let said = match (project.provenance, &project.from) {
            (Wanted::Required, _) => {
                let signers = &project.signers.allowed;
                let of: Vec<&str> = signers
                    .iter()
                    .filter_map(|one| one.repository.as_deref().or(one.subject.as_deref()))
                    .collect();
                format!("✓ {}  built by {}", project.purl, of.join(", "))
            }
            (Wanted::None, Some(from)) => {
                format!(
                    "– {}  from {from}, past the registry: not checked",
                    project.purl
                )
            }
            (Wanted::None, None) => format!("– {}  no provenance", project.purl),
        };
        line(&countersign::failure::plain(&said));
    }
    let required = policy.projects.iter();
    let required = required.filter(|project| project.provenance == Wanted::Required);
    let local = match skipped {
        0 => String::new(),
        count => format!("; {count} on this machine left out"),
    };
    line(&format!(
        "Wrote {}: {} projects with provenance, {} without{local}.",
        to.display(),
        required.clone().count(),
        policy.projects.len() - required.count()
    ));
    line(
        "This is trust on first use: what is there today is what will be expected. Read it before you rely on it.",
    );
}

fn check(common: &Common, path: &Path, from: &Path, root: Option<&Path>) -> Result<(), Failure> {
    let policy = inquire::policy(from)?;
    let lock = inquire::lock_file(path)?;
    let trust = TrustFile::load(&trust_path(common)?)?;
    let pinned = trust.registry(common.registry.as_ref())?;
    let roots = bundle::trust_root(root)?;
    let inquiry = Inquiry {
        trust: &trust,
        proofs: &Proofs::default(),
        registry: Some(pinned),
        roots: &roots,
        policy: Some(&policy),
        indices: None,
    };
    let remote = remote(common, &pinned.url)?;
    let entries = looked_at(common, &inquiry, &Source::Registry(&remote), &lock)?;
    let changes = inquire::changes(&entries, &policy);
    if common.json {
        let holds = entries.iter().all(|entry| entry.verdict != Verdict::Failed);
        let all = json!({"policy": from.display().to_string(), "holds": holds, "changes": changes});
        line(&all.to_string());
    } else if changes.is_empty() {
        line(&format!(
            "✓ {} entries are as {} says.",
            entries.len(),
            from.display()
        ));
    } else {
        for change in &changes {
            line(&shown(change));
            for text in &change.differences {
                line(&format!("      {text}"));
            }
        }
    }
    ended(path, &entries)
}

fn shown(change: &Change) -> String {
    let mark = match change.kind {
        "gone" | "gained" => "–",
        _ => "✗",
    };
    let kind = match change.kind {
        "new" => "not in the policy",
        "gone" => "gone",
        "signer" => "built by somebody else",
        "lost" => "provenance lost",
        "gained" => "has provenance now; `policy init --replace` takes it up",
        _ => "does not verify",
    };
    format!("{mark} {}  {kind}: {}", change.project, change.reason)
}
