//! From a file, an identifier or the entries of a lock file to their checks: gets the evidence, has it examined, and
//! writes a policy of what was found.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

use countersign_formats::lock::{Digest, Entry, LockFile, LockedFile, Origin};
use countersign_formats::purl;
use countersign_trust::sigstore::{
    Allowed, IdentityPolicy, PolicyFile, PolicyRegistry, ProjectPolicy, Said, TrustRoot,
    TrustedKeys, Unlisted, Wanted,
};
use serde::Serialize;

use crate::evidence::{FileEvidence, Source};
use crate::examine::{About, Examiner, Report, Row, Verdict};
use crate::failure::{Exit, Failure, Result, plain};
use crate::indices::Indices;
use crate::trusted::{Pinned, TrustFile};
use crate::verify::{self, Bytes, Proofs};

/// Entries of a lock file that are looked at at a time.
const AT_A_TIME: usize = 8;

/// What everything is held against.
pub struct Inquiry<'a> {
    /// The pinned registries.
    pub trust: &'a TrustFile,
    /// What proofs have shown already.
    pub proofs: &'a Proofs,
    /// The registry whose log must hold the files; any pinned one, where it is not said.
    pub registry: Option<&'a Pinned>,
    /// The Sigstore instances that are believed.
    pub roots: &'a TrustRoot,
    /// Whom the user allows to sign.
    pub policy: Option<&'a PolicyFile>,
    /// The indices that the registry signs now; none where no network may be used.
    pub indices: Option<&'a Indices>,
}

impl Inquiry<'_> {
    /// All checks of bytes that are said to be `wanted`. Without evidence only the log is asked.
    ///
    /// # Errors
    /// Exit 2 where no key of the proof's log is pinned.
    pub fn file(
        &self,
        asked: &str,
        bytes: &Bytes<'_>,
        wanted: std::result::Result<&str, String>,
        proof: &[u8],
        evidence: Option<&FileEvidence>,
    ) -> Result<Report> {
        let mut report = Report::new(asked);
        report.sha256 = Some(bytes.sha256.to_hex());
        let (logged, leaf) = match verify::logged(bytes, wanted, proof, self.trust, self.proofs) {
            Ok(found) => found,
            Err(failure) if failure.exit == Exit::Verification => {
                let check = match &*failure.code {
                    "mismatch" => "digest",
                    _ => "log",
                };
                report.checks.push(Row::of(check, failure));
                return Ok(report);
            }
            Err(failure) => return Err(failure),
        };
        report.purl = Some(logged.purl.clone());
        report.checks.push(match bytes.size {
            Some(size) => Row::confirmed(
                "digest",
                format!("sha256:{}, {size} bytes, as the log says", bytes.sha256),
            ),
            None => Row::not_checked(
                "digest",
                format!(
                    "the bytes are not at hand; they must have sha256:{}",
                    bytes.sha256
                ),
            ),
        });
        if let Some(row) = self.other_log(&logged.origin) {
            report.checks.push(row);
            return Ok(report);
        }
        report.checks.push(Row::confirmed(
            "log",
            format!(
                "it is {}, entry {} of {} in the log {}, published {}, signed by {}",
                logged.purl,
                logged.leaf,
                logged.log_size,
                logged.origin,
                logged.published,
                logged.signed_by.join(", ")
            ),
        ));
        report.checks.push(match &logged.witnesses {
            Some(witnesses) => Row::confirmed(
                "witnesses",
                format!("cosigned by {}: the quorum that you pinned", witnesses.join(", ")),
            ),
            None => Row::not_checked(
                "witnesses",
                "no witnesses are pinned for this log; its own key alone vouches that everybody is shown the same log",
            ),
        });
        report.checks.push(match self.indices {
            Some(indices) => indices.row(&logged.origin, &logged.purl, &bytes.sha256.to_hex()),
            None => Row::not_checked(
                "tuf",
                "the registry was not asked for the index that it signs now",
            ),
        });
        let pinned = self.trust.by_origin(&logged.origin);
        let keys = pinned.map_or_else(|| Ok(TrustedKeys::default()), Pinned::attesters)?;
        let examiner = Examiner {
            roots: self.roots,
            keys: &keys,
            registry: pinned,
            policy: self.policy,
            one_subject: true,
        };
        let about = About {
            purl: Some(&logged.purl),
            filename: Some(evidence.map_or(bytes.filename, |evidence| &evidence.filename)),
            // Of the bytes, as they were measured here. What the leaf says they hash to is the registry's word, and
            // npm's provenance names SHA-512 alone: held against the leaf, it would be held against that word.
            digests: std::iter::once(("sha256".to_owned(), bytes.sha256.to_hex()))
                .chain(
                    bytes
                        .sha512
                        .map(|hex| ("sha512".to_owned(), hex.to_owned())),
                )
                .collect(),
        };
        match evidence {
            Some(evidence) if evidence.sha256 != *bytes.sha256 => {
                report.checks.push(Row::failed(
                    "attestations",
                    "mismatch",
                    format!(
                        "what is handed out about it is about sha256:{}",
                        evidence.sha256
                    ),
                ));
            }
            Some(evidence) => examiner.examine(
                &about,
                &evidence.pieces,
                Some(&leaf.attestations),
                &mut report,
            ),
            None => {
                let named = leaf.attestations.len();
                report.checks.push(Row::not_checked(
                    "attestations",
                    format!("the log names {named} for this file; none are at hand"),
                ));
                examiner.examine(&about, &[], None, &mut report);
            }
        }
        report.log = Some(logged);
        Ok(report)
    }

    /// A proof of another log than the one that is meant.
    fn other_log(&self, origin: &str) -> Option<Row> {
        let asked = self.registry.map(|pinned| pinned.origin.as_str());
        let of_policy = self.policy.and_then(|policy| policy.registry.as_ref());
        let of_policy = of_policy.map(|registry| registry.origin.as_str());
        let expected = asked.into_iter().chain(of_policy);
        let other = expected.into_iter().find(|expected| *expected != origin)?;
        Some(Row::failed(
            "log",
            "other-log",
            format!("the proof is from the log {origin}, not from {other}"),
        ))
    }

    /// The entries of a lock file, each with the files that may be installed. `progress` hears how many are done.
    ///
    /// # Errors
    /// As [`Inquiry::file`], and those of the source.
    pub fn lock(
        &self,
        source: &Source<'_>,
        lock: &LockFile,
        progress: &(dyn Fn(u64) + Sync),
    ) -> Result<Vec<EntryReport>> {
        let entries = &lock.entries;
        let (next, done) = (AtomicUsize::new(0), AtomicUsize::new(0));
        let found: Mutex<Vec<(usize, Result<EntryReport>)>> = Mutex::default();
        std::thread::scope(|scope| {
            for _ in 0..AT_A_TIME.min(entries.len()) {
                scope.spawn(|| {
                    loop {
                        let at = next.fetch_add(1, Ordering::Relaxed);
                        let Some(entry) = entries.get(at) else {
                            break;
                        };
                        let outcome = self.entry(source, entry);
                        if outcome.is_err() {
                            // Nobody answers, or nothing is pinned: the others would not fare better.
                            next.store(entries.len(), Ordering::Relaxed);
                        }
                        if let Ok(mut found) = found.lock() {
                            found.push((at, outcome));
                        }
                        progress(done.fetch_add(1, Ordering::Relaxed) as u64 + 1);
                    }
                });
            }
        });
        let mut found = found
            .into_inner()
            .map_err(|error| Failure::new(Exit::Environment, "panicked", error.to_string()))?;
        found.sort_by_key(|(at, _)| *at);
        found.into_iter().map(|(_, outcome)| outcome).collect()
    }

    fn entry(&self, source: &Source<'_>, entry: &Entry) -> Result<EntryReport> {
        let project = purl::project_purl(entry.ecosystem, &entry.name_key);
        let mut report = EntryReport {
            project: entry.name_key.to_string(),
            purl: project.clone(),
            version: entry.version.clone(),
            verdict: Verdict::NotChecked,
            reason: String::new(),
            origin: entry.origin.clone(),
            files: Vec::new(),
        };
        match (&entry.origin, &entry.version) {
            (Origin::Local(place), _) => report.alone(Row::not_checked(
                "origin",
                format!("it is on this machine, at {place}"),
            )),
            (Origin::Elsewhere(place), _) => report.alone(self.past_the_registry(&project, place)),
            (Origin::Index(_), None) => report.alone(Row::failed(
                "origin",
                "lock-versionless",
                "the lock file names no version",
            )),
            (Origin::Index(_), Some(version)) => {
                let release = purl::release_purl(entry.ecosystem, &entry.name_key, version);
                report.files = self.locked(source, entry, &release)?;
                report.sum_up();
                if entry.undigested && report.verdict == Verdict::Confirmed {
                    report.reason.push_str(
                        "; Yarn's checksum is of an archive of its own, and was not compared",
                    );
                }
            }
        }
        Ok(report)
    }

    fn past_the_registry(&self, project: &str, place: &str) -> Row {
        let Some(policy) = self.policy else {
            let why = format!("it comes from {place}, past the registry");
            return Row::not_checked("origin", why);
        };
        let wanted = policy.project(project);
        match wanted.and_then(|wanted| wanted.from.as_deref()) {
            Some(from) if from == place => Row::not_checked(
                "origin",
                format!("it comes from {place}, past the registry, as the policy says"),
            ),
            // What is private is never taken from elsewhere because nothing was said of it.
            None if wanted.is_none()
                && policy.unlisted == Unlisted::Pass
                && policy.private(project).is_none() =>
            {
                Row::not_checked(
                    "origin",
                    format!("it comes from {place}, past the registry; the policy lets such pass"),
                )
            }
            from => Row::failed(
                "origin",
                "lock-elsewhere",
                format!(
                    "it comes from {place}; the policy says {}",
                    from.unwrap_or("nothing but the registry")
                ),
            ),
        }
    }

    /// The checks of each file that a lock file's entry may install.
    fn locked(&self, source: &Source<'_>, entry: &Entry, release: &str) -> Result<Vec<Report>> {
        let mut reports = Vec::new();
        if entry.unhashed && !entry.undigested {
            let mut report = Report::new(release);
            report.checks.push(Row {
                remedy: Some("Write the lock file with hashes of all files.".to_owned()),
                ..Row::failed(
                    "digest",
                    "lock-unhashed",
                    "the lock file names a file without a digest that the log has too",
                )
            });
            reports.push(report);
        }
        if entry.files.is_empty() && !entry.undigested {
            return Ok(reports);
        }
        let known = source.files(release)?;
        if entry.undigested {
            if known.is_empty() {
                reports.push(unknown(release, release, &entry.origin));
            }
            for evidence in &known {
                let mut report = self.in_log(source, evidence, None)?;
                report.checks.push(Row::not_checked(
                    "digest",
                    "the checksum in this kind of lock file is of an archive that Yarn packs itself; Yarn alone can hold it against anything",
                ));
                reports.push(report);
            }
            return Ok(reports);
        }
        for file in &entry.files {
            let mut report = self.locked_file(source, release, file, &entry.origin, &known)?;
            report.sha256.get_or_insert_with(|| file.digest.to_string());
            reports.push(report);
        }
        Ok(reports)
    }

    fn locked_file(
        &self,
        source: &Source<'_>,
        release: &str,
        locked: &LockedFile,
        origin: &Origin,
        known: &[FileEvidence],
    ) -> Result<Report> {
        let asked = locked.filename.as_deref().unwrap_or(release);
        let of_release = |evidence: &&FileEvidence| match &locked.digest {
            Digest::Sha256(hex) => evidence.sha256.to_hex() == *hex,
            // A release of npm is one file; which SHA-512 it has is for the log to say.
            Digest::Sha512(_) => true,
        };
        let Some(evidence) = known.iter().find(of_release) else {
            let mut report = unknown(asked, release, origin);
            if let Some(row) = report.checks.first_mut() {
                row.reason = format!(
                    "the registry knows no file of {release} with {}{}",
                    locked.digest,
                    taken_from(origin)
                );
            }
            return Ok(report);
        };
        if locked
            .filename
            .as_ref()
            .is_some_and(|name| *name != evidence.filename)
        {
            let mut report = Report::new(asked);
            report.checks.push(Row::failed(
                "digest",
                "mismatch",
                format!(
                    "the lock file calls it {asked}, the registry {}",
                    evidence.filename
                ),
            ));
            return Ok(report);
        }
        let sha512 = match &locked.digest {
            Digest::Sha512(hex) => Some(hex.as_str()),
            Digest::Sha256(_) => None,
        };
        self.in_log(source, evidence, sha512)
    }

    /// The checks of a file whose bytes are not here, against the log. `sha512` is what they are said to have besides; the
    /// log must then have said it too.
    fn in_log(
        &self,
        source: &Source<'_>,
        evidence: &FileEvidence,
        sha512: Option<&str>,
    ) -> Result<Report> {
        let ended = |row: Row| {
            let mut report = Report::new(&evidence.filename);
            report.sha256 = Some(evidence.sha256.to_hex());
            report.checks.push(row);
            Ok(report)
        };
        let Some(proof) = source.proof(&evidence.filename, &evidence.sha256)? else {
            return ended(Row::failed(
                "log",
                "no-proof",
                "there is no proof that the log holds it",
            ));
        };
        let mut report = self.file(
            &evidence.filename,
            &Bytes {
                filename: &evidence.filename,
                sha256: &evidence.sha256,
                sha512,
                size: None,
            },
            Ok(&evidence.purl),
            &proof,
            Some(evidence),
        )?;
        if let (Some(sha512), Some(_)) = (sha512, &report.log) {
            let said = verify::sha512_said(&proof);
            report.checks.push(match said.as_deref() {
                Some(said) if said == sha512 => {
                    Row::confirmed("digest", "the log has the SHA-512 that the lock file has")
                }
                said => Row::failed(
                    "digest",
                    "mismatch",
                    format!(
                        "the lock file has sha512:{sha512}, the log {}",
                        said.unwrap_or("no SHA-512 of it")
                    ),
                ),
            });
        }
        Ok(report)
    }
}

fn taken_from(origin: &Origin) -> String {
    match origin {
        Origin::Index(Some(index)) => format!("; the lock file takes it from {index}"),
        _ => String::new(),
    }
}

/// What this registry does not have.
fn unknown(asked: &str, release: &str, origin: &Origin) -> Report {
    let mut report = Report::new(asked);
    report.checks.push(Row {
        remedy: Some(
            "Do not install it: this registry never published it, or has removed it.".to_owned(),
        ),
        ..Row::failed(
            "digest",
            "unknown-file",
            format!(
                "the registry knows no file of {release}{}",
                taken_from(origin)
            ),
        )
    });
    report
}

/// One entry of a lock file, and what came of it.
#[derive(Debug, Serialize)]
pub struct EntryReport {
    /// The project.
    pub project: String,
    /// The project as a purl.
    pub purl: String,
    /// The version.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub version: Option<String>,
    /// What came of it.
    pub verdict: Verdict,
    /// Why, on one line.
    pub reason: String,
    #[serde(skip)]
    origin: Origin,
    /// The checks of each of its files.
    pub files: Vec<Report>,
}

impl EntryReport {
    /// An entry of which one thing is to say.
    fn alone(&mut self, row: Row) {
        let mut report = Report::new(self.project.clone());
        report.checks.push(row);
        self.files.push(report);
        self.sum_up();
    }

    fn sum_up(&mut self) {
        let failed = self.files.iter().find_map(Report::first_failed);
        if let Some(row) = failed {
            self.verdict = Verdict::Failed;
            self.reason = format!("{}: {}", row.check, row.reason);
            return;
        }
        let rows = |check: &str, verdict: Verdict| {
            let rows = self.files.iter().flat_map(|file| &file.checks);
            let rows = rows.filter(|row| row.check == check && row.verdict == verdict);
            rows.map(|row| row.reason.clone()).collect::<BTreeSet<_>>()
        };
        let logged = self.files.iter().filter(|file| file.log.is_some()).count();
        if logged < self.files.len() || logged == 0 {
            self.verdict = Verdict::NotChecked;
            let origin = rows("origin", Verdict::NotChecked);
            self.reason = origin.into_iter().next().unwrap_or_default();
            return;
        }
        let several = |texts: BTreeSet<String>| texts.into_iter().collect::<Vec<_>>().join("; ");
        let known = rows("identity", Verdict::Confirmed);
        let unjudged = rows("identity", Verdict::NotChecked);
        let none = rows("provenance", Verdict::NotChecked);
        let said = match (known.is_empty(), unjudged.is_empty(), none.is_empty()) {
            (false, ..) => several(known),
            (true, false, _) => several(unjudged),
            (true, true, false) => several(none),
            (true, true, true) => "no attestations".to_owned(),
        };
        self.verdict = Verdict::Confirmed;
        self.reason = format!("{logged} in the log; {said}");
    }

    /// The failure's code, where it fails.
    pub fn code(&self) -> Option<&str> {
        let row = self.files.iter().find_map(Report::first_failed);
        row.and_then(|row| row.code.as_deref())
    }

    /// The claims that differ, of the first check of each file that failed; the same line once.
    pub fn differences(&self) -> Vec<String> {
        let rows = self.files.iter().filter_map(Report::first_failed);
        let mut lines: Vec<String> = Vec::new();
        for text in rows.flat_map(Row::lines) {
            if !lines.contains(&text) && lines.len() < 20 {
                lines.push(text);
            }
        }
        lines
    }

    /// Whether it has provenance that holds.
    pub fn has_provenance(&self) -> bool {
        self.files.iter().any(|file| !file.signed.is_empty())
    }
}

/// A policy of what a lock file's entries have today: trust on first use, written down. What is local has no entry.
///
/// # Errors
/// Exit 3 where an entry does not verify: what does not hold today is not what to expect tomorrow.
pub fn policy_of(entries: &[EntryReport], registry: &Pinned) -> Result<PolicyFile> {
    let failed: Vec<String> = entries
        .iter()
        .filter(|entry| entry.verdict == Verdict::Failed)
        .map(|entry| format!("{}: {}", entry.project, entry.reason))
        .collect();
    if !failed.is_empty() {
        return Err(Failure::unverified(
            "lock-unverified",
            format!(
                "{} of {} entries do not verify, so no policy is written:\n  {}",
                failed.len(),
                entries.len(),
                failed.join("\n  ")
            ),
        ));
    }
    let mut projects: BTreeMap<&str, Vec<&EntryReport>> = BTreeMap::new();
    for entry in entries {
        if !matches!(entry.origin, Origin::Local(_)) {
            projects.entry(&entry.purl).or_default().push(entry);
        }
    }
    let projects = projects
        .into_iter()
        .map(|(purl, entries)| expected(purl, &entries));
    let registry = PolicyRegistry {
        url: registry.url.as_str().trim_end_matches('/').to_owned(),
        origin: registry.origin.clone(),
    };
    PolicyFile::new(Some(registry), projects.collect()).map_err(|error| {
        Failure::new(
            Exit::Environment,
            "policy",
            format!("No policy can be written of this: {error}."),
        )
    })
}

fn expected(purl: &str, entries: &[&EntryReport]) -> ProjectPolicy {
    let none = |from: Option<String>| ProjectPolicy {
        purl: purl.to_owned(),
        provenance: Wanted::None,
        statements: BTreeSet::new(),
        from,
        signers: IdentityPolicy::default(),
    };
    for entry in entries {
        if let Origin::Elsewhere(place) = &entry.origin {
            return none(Some(place.clone()));
        }
    }
    let files: Vec<&Report> = entries.iter().flat_map(|entry| &entry.files).collect();
    let mut signers: Vec<Allowed> = Vec::new();
    let mut common: Option<BTreeSet<Said>> = None;
    for file in &files {
        let said: BTreeSet<Said> = file
            .signed
            .iter()
            .filter_map(|signed| Said::of(signed.kind))
            .collect();
        common = Some(match common {
            Some(common) => common.intersection(&said).copied().collect(),
            None => said,
        });
        for signer in file
            .signed
            .iter()
            .filter_map(|signed| Allowed::of(&signed.claims))
        {
            if !signers.contains(&signer) {
                signers.push(signer);
            }
        }
    }
    // Files of which some have it and some have not: what is used today must pass.
    let statements = common.unwrap_or_default();
    if statements.is_empty() || signers.is_empty() {
        return none(None);
    }
    ProjectPolicy {
        purl: purl.to_owned(),
        provenance: Wanted::Required,
        statements,
        from: None,
        signers: IdentityPolicy { allowed: signers },
    }
}

/// What differs between a policy and what a lock file uses now.
#[derive(Debug, PartialEq, Eq, Serialize)]
pub struct Change {
    /// `new`, `gone`, `signer`, `lost`, `gained`, `broken`.
    pub kind: &'static str,
    /// The project.
    pub project: String,
    /// What is different.
    pub reason: String,
    /// The claims that differ, one line each, where claims were compared.
    pub differences: Vec<String>,
}

/// What changed since a policy was written, from the entries as they were judged by it.
pub fn changes(entries: &[EntryReport], policy: &PolicyFile) -> Vec<Change> {
    let mut changes = Vec::new();
    for entry in entries {
        let kind = match entry.code() {
            Some("policy-unlisted" | "lock-elsewhere") => "new",
            Some("attestation-identity-mismatch") => "signer",
            Some("provenance-lost" | "attestation-withheld") => "lost",
            Some(_) => "broken",
            None => {
                let wanted = policy.project(&entry.purl);
                let none = wanted.is_some_and(|wanted| wanted.provenance == Wanted::None);
                if none && entry.has_provenance() {
                    "gained"
                } else {
                    continue;
                }
            }
        };
        changes.push(Change {
            kind,
            project: entry.project.clone(),
            reason: entry.reason.clone(),
            differences: entry.differences(),
        });
    }
    let used: BTreeSet<&str> = entries.iter().map(|entry| entry.purl.as_str()).collect();
    for project in &policy.projects {
        if !used.contains(project.purl.as_str()) {
            changes.push(Change {
                kind: "gone",
                project: project.purl.clone(),
                reason: "the lock file does not use it any more".to_owned(),
                differences: Vec::new(),
            });
        }
    }
    changes
}

/// Reads a policy.
///
/// # Errors
/// Exit 2 for a file that can not be read or is no policy.
pub fn policy(path: &std::path::Path) -> Result<PolicyFile> {
    let bytes = crate::bundle::read(path, countersign_trust::sigstore::MAX_POLICY)?;
    PolicyFile::parse(&bytes).map_err(|error| {
        Failure::new(
            Exit::Usage,
            "policy-malformed",
            format!(
                "The policy {} can not be used: {}.",
                path.display(),
                plain(&error.to_string())
            ),
        )
        .remedy("docs/spec/policy.md has its form; `countersign policy init` writes one.")
    })
}

/// Reads a lock file.
///
/// # Errors
/// Exit 2 for a file that can not be read or is no lock file of a known kind.
pub fn lock_file(path: &std::path::Path) -> Result<LockFile> {
    crate::exposure::read(path).map(|(_, lock, _)| lock)
}
