//! Scanning: a queue of files, a scanner that the caller lends, and what becomes of its findings.
//!
//! The job is a row of the publish's own transaction. Whoever takes it leases it; a process that dies with it loses it when the
//! lease ends, and another one takes it. A file that waits for its scan is served by the end of that scan alone: a scanner that
//! is killed, starved or missing leaves it held. A finding never deletes anything.

use countersign_formats::Ecosystem;
use futures::future::BoxFuture;
use serde_json::json;

use crate::Registry;
use crate::accounts::new_id;
use crate::checks::scan::{Outcome, ScanFinding, ScanRequest, beside_source};
use crate::error::{Error, Kind, Result};
use crate::heartbeat::Change;
use crate::model::{
    Actor, Cause, FileId, FileState, FoundIn, Order, Portion, ProjectId, ScannedFile,
};
use crate::moderation::Opening;
use crate::policy::{self, Act, ScanTier};
use crate::store::{SCAN_FAILED, ScanJob, Tx};
use countersign_formats::format;
use countersign_trust::digest::Sha256;
use countersign_trust::leaf::LeafKind;

/// A scan is somebody's for so long, in seconds.
const LEASE: i64 = 600;
/// A scan that fails is tried so often.
const ATTEMPTS: u64 = 3;
/// Larger files are not scanned; they are told to the operator.
const LARGEST: u64 = 256 << 20;
/// What a wheel and an sdist are called among file types.
const WHEEL: &str = "bdist_wheel";
const SDIST: &str = "sdist";
/// So many findings are listed.
const LISTED: u32 = 200;
/// Why a file that waits for its scan is not served yet.
const WAITS: &str = "the scanner has not looked at it yet";

/// Why a scan came to nothing. Says nothing about the file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ScanFault(pub String);

/// Looks at bytes, somewhere that they can do no harm.
pub trait Scanner: Send + Sync {
    /// One file, whole.
    fn scan<'a>(
        &'a self,
        request: &'a ScanRequest,
        bytes: bytes::Bytes,
    ) -> BoxFuture<'a, Result<Outcome, ScanFault>>;
}

impl Registry {
    /// Within the publish's transaction, after the event of the publication: whether the file is served at once, and whether it
    /// is scanned. The words are for the publisher.
    pub(crate) async fn screen(
        &self,
        tx: &mut Tx,
        actor: &Actor,
        (project, founded): (&ProjectId, bool),
        file: &FileId,
        (purl, filename): (&str, &str),
        (sha256, waits_for_name): (&str, Option<String>),
    ) -> Result<Option<String>> {
        let settings = &self.inner.settings.scan;
        let now = self.now();
        let known = tx.bad_digest(sha256).await?;
        let waits = settings.enabled && policy::waits_for_scan(settings, founded);
        if settings.enabled {
            tx.queue_scan(file, waits && known.is_none(), now).await?;
        }
        let (why, cause) = match (&known, waits_for_name) {
            (Some(name), _) => (format!("its bytes are known as {name}"), Cause::Feed),
            (None, Some(why)) => (why, Cause::Names),
            (None, None) if waits => (WAITS.to_owned(), Cause::Scan),
            (None, None) => return Ok(None),
        };
        let this = std::slice::from_ref(file);
        tx.set_files_state(this, FileState::Held, Some(&why), now)
            .await?;
        // What waits for its scan alone is served by the scan's end; the rest waits for a person.
        if cause != Cause::Scan {
            let about = Opening {
                project,
                subject: purl,
                version: "",
                filename,
                held: true,
            };
            let order = Order {
                reason: &why,
                cause,
                freeze: false,
            };
            self.open_case(tx, &Actor::system("scanner"), &about, &order, this)
                .await?;
        }
        let change = Change::about(actor, LeafKind::Quarantined, purl.to_owned(), project);
        self.record(
            tx,
            change,
            json!({"reason": why, "cause": cause.as_str(), "held": true}),
        )
        .await?;
        Ok(Some(format!(
            "{filename} is in the log, and is held: {why}. It is served once that is done."
        )))
    }

    /// Scans the next file that waits; false where none does.
    ///
    /// # Errors
    /// Where the database or the store of bytes fails. What the scanner does wrong is noted, and tried again.
    pub async fn scan_next(&self, scanner: &dyn Scanner) -> Result<bool> {
        let now = self.now();
        let mut tx = self.inner.store.write().await?;
        let job = tx.lease_scan(now, now.plus_seconds(LEASE)).await?;
        tx.commit().await?;
        let Some(job) = job else { return Ok(false) };
        let ecosystem = crate::store::ecosystem(&job.ecosystem)?;
        let outcome = match self.scanned(scanner, &job, ecosystem).await? {
            Ok(outcome) => Ok(outcome),
            Err(fault) if job.attempts < ATTEMPTS => {
                tracing::warn!(file = %job.purl, why = %fault.0, "a scan failed; it is tried again");
                let mut tx = self.inner.store.write().await?;
                let wait = 60 * i64::try_from(job.attempts).unwrap_or(1);
                tx.retry_scan(&job.file, &fault.0, now.plus_seconds(wait))
                    .await?;
                tx.commit().await?;
                return Ok(true);
            }
            Err(fault) => Err(fault),
        };
        self.judge_scan(&job, ecosystem, outcome).await?;
        Ok(true)
    }

    async fn scanned(
        &self,
        scanner: &dyn Scanner,
        job: &ScanJob,
        ecosystem: Ecosystem,
    ) -> Result<Result<Outcome, ScanFault>> {
        if job.size > LARGEST {
            let why = format!("it has more than {LARGEST} bytes");
            return Ok(Err(ScanFault(why)));
        }
        let path = crate::blobs::artifact_path(&job.sha256);
        let Some(bytes) = self.inner.blobs.get(path.as_ref(), LARGEST).await? else {
            return Ok(Err(ScanFault("its bytes are not there".to_owned())));
        };
        if Sha256::of(&bytes).to_hex() != job.sha256 {
            return Ok(Err(ScanFault("its stored bytes are damaged".to_owned())));
        }
        let request = ScanRequest {
            ecosystem,
            filename: job.filename.clone(),
            size: job.size,
            previous: self.inner.store.traits_before(job).await?,
            max_unpacked: self.inner.settings.limits.max_unpacked,
        };
        Ok(scanner.scan(&request, bytes).await)
    }

    /// Keeps what was found, and does what the operator's tiers say. A scan that failed for good is a finding, and no file
    /// that waited for it is served.
    async fn judge_scan(
        &self,
        job: &ScanJob,
        ecosystem: Ecosystem,
        outcome: Result<Outcome, ScanFault>,
    ) -> Result<()> {
        let now = self.now();
        let (mut outcome, problem) = match outcome {
            Ok(outcome) => (outcome, None),
            Err(ScanFault(why)) => {
                let why: String = why.chars().filter(|c| !c.is_control()).take(300).collect();
                (Outcome::default(), Some(why))
            }
        };
        let mut digests: Vec<String> = outcome
            .digests
            .iter()
            .map(|(_, sha256)| sha256.clone())
            .collect();
        digests.push(job.sha256.clone());
        let bad = self.inner.store.known_bad(&digests).await?;
        for (sha256, name) in &bad {
            let member = outcome.digests.iter().find(|(_, digest)| digest == sha256);
            outcome.findings.insert(
                0,
                ScanFinding {
                    rule: "known-bad".to_owned(),
                    title: "These very bytes are known to do harm".to_owned(),
                    score: 100,
                    path: member.map(|(path, _)| path.clone()).unwrap_or_default(),
                    line: 0,
                    offset: 0,
                    snippet: name.chars().take(200).collect(),
                    sha256: sha256.clone(),
                },
            );
        }
        if let Some(why) = &problem {
            outcome.findings.push(ScanFinding {
                rule: SCAN_FAILED.to_owned(),
                title: "The scanner could not look at it".to_owned(),
                score: 0,
                path: String::new(),
                line: 0,
                offset: 0,
                snippet: why.clone(),
                sha256: job.sha256.clone(),
            });
        }
        let actor = Actor::system("scanner");
        let mut tx = self.inner.store.write().await?;
        // The project first, as everywhere: whoever withholds or deletes it now waits, or was before.
        let key = format(ecosystem).name_key(&job.key)?;
        let project = self
            .project_for_change(&mut tx, &actor, ecosystem, &key, Act::Quarantine)
            .await;
        let project = match project {
            Ok(project) => Some(project),
            Err(error) if error.kind == Kind::NotFound => None,
            Err(error) => return Err(error),
        };
        // Under the project's lock: of two files of a release that are scanned at once the later one sees the other.
        let mut about_others = Vec::new();
        if problem.is_none() {
            for beside in tx.scanned_beside(job).await? {
                if job.filetype == WHEEL && beside.filetype == SDIST {
                    let found = beside_source(&outcome.traits, &beside.traits);
                    outcome.findings.extend(found);
                } else if job.filetype == SDIST && beside.filetype == WHEEL {
                    let found = beside_source(&beside.traits, &outcome.traits);
                    about_others.extend(found.map(|found| (beside.file, found)));
                }
            }
        }
        let score = outcome.score();
        let tier = match &problem {
            Some(_) if job.held.is_some() => ScanTier::Hold,
            Some(_) => ScanTier::Flag,
            None => policy::scan_tier(&self.inner.settings.scan, score),
        };
        let traits = problem.is_none().then_some(&outcome.traits);
        if !tx
            .end_scan(&job.file, score, traits, problem.as_deref(), now)
            .await?
        {
            return Ok(());
        }
        for finding in &outcome.findings {
            tx.insert_finding(&new_id(), &job.file, finding, now)
                .await?;
        }
        for (file, finding) in &about_others {
            tx.insert_finding(&new_id(), file, finding, now).await?;
        }
        let count = outcome.findings.len() + about_others.len();
        if count > 0 {
            let detail = json!({"subject": job.purl, "score": score, "findings": count});
            tx.note_event(&new_id(), now, "scanned", &actor, None, detail)
                .await?;
        }
        let files = tx.curated_files(&job.project).await?;
        let file = files.iter().find(|file| file.id == job.file).cloned();
        // Deleted meanwhile, or decided by somebody.
        let (Some(project), Some(file)) = (project, file) else {
            return tx.commit().await;
        };
        let this = std::slice::from_ref(&job.file);
        let open = tx.case_about(&job.purl).await?.is_some();
        let pending = file.state == FileState::Held && job.held.is_some() && !open;
        let reason = match (&problem, outcome.findings.first()) {
            (Some(why), _) => format!("the scanner could not look at it: {why}"),
            (None, Some(first)) => format!("the scanner found something: {}", first.title),
            (None, None) => String::new(),
        };
        let kind = match tier {
            ScanTier::Hold
                if pending || matches!(file.state, FileState::Live | FileState::Staged) =>
            {
                let about = Opening {
                    project: &project.id,
                    subject: &job.purl,
                    version: "",
                    filename: &job.filename,
                    held: pending,
                };
                let order = Order {
                    reason: &reason,
                    cause: Cause::Scan,
                    freeze: false,
                };
                let state = if pending {
                    FileState::Held
                } else {
                    FileState::Quarantined
                };
                tx.set_files_state(this, state, Some(&reason), now).await?;
                self.open_case(&mut tx, &actor, &about, &order, this)
                    .await?;
                Some(LeafKind::Quarantined).filter(|_| !pending)
            }
            ScanTier::Flag | ScanTier::Clear if pending => {
                tx.set_files_state(this, file.served_again(), None, now)
                    .await?;
                Some(LeafKind::Released)
            }
            _ => None,
        };
        let Some(kind) = kind else {
            return tx.commit().await;
        };
        let change = Change::about(&actor, kind, job.purl.clone(), &project.id);
        self.record(&mut tx, change, json!({"reason": reason, "cause": "scan"}))
            .await?;
        self.finish(tx, ecosystem, &project, &files).await
    }

    /// The heaviest findings that nobody put aside.
    ///
    /// # Errors
    /// `operator-needed`, `step-up-needed`.
    pub async fn open_findings(&self, actor: &Actor) -> Result<Vec<FoundIn>> {
        policy::may_operate(actor, "list findings")?;
        let least = self.inner.settings.scan.flag_at;
        self.inner.store.open_findings(least, LISTED).await
    }

    /// What was found in a project's files: for its people, and operators.
    ///
    /// # Errors
    /// `role-missing`, `project-unknown`.
    pub async fn findings_of(
        &self,
        actor: &Actor,
        ecosystem: Ecosystem,
        name: &str,
    ) -> Result<Vec<FoundIn>> {
        let key = format(ecosystem).name_key(name)?;
        let project = {
            let mut tx = self.inner.store.write().await?;
            self.project_for_change(&mut tx, actor, ecosystem, &key, Act::SeeSettings)
                .await?
        };
        self.inner.store.findings_of(&project.id, LISTED).await
    }

    /// How the scan of a file went.
    ///
    /// # Errors
    /// `operator-needed`.
    pub async fn scan_of(&self, actor: &Actor, purl: &str) -> Result<Option<ScannedFile>> {
        policy::may_operate(actor, "look at scans")?;
        self.inner.store.scan_of(purl).await
    }

    /// Puts the findings of a file aside.
    ///
    /// # Errors
    /// `operator-needed`.
    pub async fn dismiss_findings(&self, actor: &Actor, purl: &str) -> Result<u64> {
        policy::may_operate(actor, "put findings aside")?;
        let now = self.now();
        let mut tx = self.inner.store.write().await?;
        let count = tx.dismiss_findings(purl, now).await?;
        if count > 0 {
            let detail = json!({"subject": purl, "findings": count});
            tx.note_event(&new_id(), now, "findings-dismissed", actor, None, detail)
                .await?;
        }
        tx.commit().await?;
        Ok(count)
    }

    /// Learns digests of files that are known to do harm, or that they are not. What is served here with such a digest is
    /// withheld as a case; withdrawing one serves nothing again by itself.
    ///
    /// # Errors
    /// `operator-needed`, `bad-digest`.
    pub async fn learn_bad_digests(
        &self,
        actor: &Actor,
        digests: &[(String, String)],
        source: &str,
        withdrawn: bool,
    ) -> Result<u64> {
        policy::may_operate(actor, "import digests")?;
        for (sha256, _) in digests {
            let hex = sha256.len() == 64
                && sha256
                    .bytes()
                    .all(|b| b.is_ascii_digit() || (b'a'..=b'f').contains(&b));
            if !hex {
                let shown: String = sha256.chars().take(80).collect();
                return Err(Error::new(
                    Kind::Rejected,
                    "bad-digest",
                    format!("{shown:?} is no SHA-256 in lower-case hex."),
                )
                .remedy("Give one digest a line, 64 characters, and after a blank what it is."));
            }
        }
        let now = self.now();
        let mut here = Vec::new();
        let mut tx = self.inner.store.write().await?;
        tx.set_bad_digests(digests, source, withdrawn, now).await?;
        if !withdrawn {
            for (sha256, name) in digests {
                for (ecosystem, key, filename) in tx.files_with(sha256).await? {
                    here.push((ecosystem, key, filename, name.clone()));
                }
            }
        }
        let detail = json!({"source": source, "digests": digests.len(), "withdrawn": withdrawn});
        tx.note_event(&new_id(), now, "digests-learnt", actor, None, detail)
            .await?;
        tx.commit().await?;
        let mut withheld = 0;
        for (ecosystem, key, filename, name) in here {
            let reason = format!("its bytes are known as {name}");
            let reason: String = reason
                .chars()
                .filter(|c| !c.is_control())
                .take(200)
                .collect();
            let order = Order {
                reason: &reason,
                cause: Cause::Feed,
                freeze: false,
            };
            let ecosystem = crate::store::ecosystem(&ecosystem)?;
            let portion = Portion::File(&filename);
            self.withhold(&Actor::system("feed"), ecosystem, &key, portion, order)
                .await?;
            withheld += 1;
        }
        Ok(withheld)
    }
}
