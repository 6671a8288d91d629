//! Build provenance: what stands behind a file, kept, shown, and never silently lost (`docs/spec/provenance.md`).
//!
//! `vetting` is the step of a publish that verifies what was sent; `changes` is what owners say beforehand; `roots` and
//! `tuf` are whose Sigstore is believed; `notary` is what the registry attests itself; `recheck` looks again later;
//! `reading` is what is served.

mod changes;
mod keyring;
mod notary;
mod npm_keys;
mod reading;
mod recheck;
mod roots;
mod tuf;
mod vetting;

use countersign_formats::{Ecosystem, NameKey, format, purl};
use countersign_trust::leaf::{Change as Way, LeafKind};
use countersign_trust::sigstore::{Refusal, Step};
use serde::Serialize;
use serde_json::json;

use crate::Registry;
use crate::accounts::new_id;
use crate::error::{Error, Kind, Result};
use crate::heartbeat::Change;
use crate::model::{
    Actor, ChangeKind, EventId, Identity, Maker, ProjectStatus, SourceTuple, TrustLevel,
};
use crate::policy::provenance::{Likeness, likeness};
use crate::policy::{self, Act, Passed};
use crate::store::{ChangeRow, ProjectFacts, Tx};
use crate::texts::NoticeKind;

pub(crate) use keyring::{ATTESTATIONS, Keyring, NPM, key_problem};
pub(crate) use npm_keys::NpmSigner;
pub(crate) use roots::RootRoom;
pub(crate) use vetting::{Candidate, Vetted};

/// An exception to open.
#[derive(Clone, Debug)]
pub struct NewException {
    /// The level that may be published while it is open.
    pub level: TrustLevel,
    /// How long, in hours: 1 to 168.
    pub hours: u32,
    /// Why; shown to everybody.
    pub reason: String,
}

/// A move to declare.
#[derive(Clone, Debug)]
pub struct NewMove {
    /// Where to.
    pub to: SourceTuple,
    /// How long the first publication from there may take to come, in hours: 1 to 720.
    pub hours: u32,
    /// Why; shown to everybody.
    pub reason: String,
}

/// An identity whose attestations are taken with API tokens.
#[derive(Clone, Debug)]
pub struct NewIdentity {
    /// The issuer's URL.
    pub issuer: String,
    /// The repository's URL.
    pub repository: String,
    /// The path of the build file, where one is demanded.
    pub workflow: Option<String>,
}

/// What adding attestations to a file did.
#[derive(Clone, Debug, Serialize)]
pub struct Added {
    /// The file.
    pub purl: String,
    /// SHA-256 of each attestation that was sent, hex.
    pub digests: Vec<String>,
    /// Index of the leaf that names those which were new; `None` where all were there already.
    pub leaf: Option<u64>,
}

/// A refused attestation in words: the step that failed, what was expected and what was seen.
fn refused(refusal: &Refusal) -> Error {
    let mut error = Error::new(
        Kind::Rejected,
        refusal.code,
        format!("Invalid attestations supplied during upload: {refusal}."),
    )
    .remedy(match refusal.step {
        Step::Parse | Step::Statement => {
            "Send attestations as pypi-attestations, uv and the publishing action make them."
        }
        Step::Time | Step::Chain | Step::Sct | Step::LogInclusion | Step::LogCheckpoint
        | Step::LogEntry => {
            "Sign again, with an instance of Sigstore that this registry trusts: its trust roots are listed at its help page on provenance."
        }
        Step::Signature => "The attestation was changed after it was signed: sign again.",
        Step::Subject => "Sign the very files that you upload, after they were built, and upload each with its own attestation.",
        Step::Predicate => "Send publish attestations and SLSA provenance.",
        Step::Identity => "Sign and upload in the same run of the workflow that is the project's trusted publisher.",
        Step::CrossCheck => "Let the build's own generator write the provenance, and do not change it.",
    });
    error.differences.clone_from(&refusal.differences);
    if error.differences.is_empty()
        && let (Some(expected), seen) = (&refusal.expected, &refusal.seen)
    {
        error.differences.push(countersign_trust::oidc::Difference {
            claim: refusal.step.as_str().to_owned(),
            expected: expected.clone(),
            seen: seen.clone(),
            matched: false,
            advice: None,
        });
    }
    error
}

fn unknown_file(purl: &str) -> Error {
    let shown: String = purl.chars().take(200).collect();
    Error::new(
        Kind::NotFound,
        "file-unknown",
        format!("There is no file {shown:?} here."),
    )
    .remedy("Check its name against the project's page.")
}

impl Registry {
    /// Adds attestations to a file that is published: a JSON list as the upload form has it. For who may publish to the
    /// project, from the source that the file came from (or, where it came from none, that the project is remembered
    /// for), while the release is open.
    ///
    /// # Errors
    /// `file-unknown`, `attestation-exists`, `attestations-too-many`, `attestation-not-yours`, `release-closed`; those of
    /// the verification (`attestation-…`) and of who may publish.
    pub async fn add_attestations(
        &self,
        actor: &Actor,
        subject: &str,
        attestations: &str,
    ) -> Result<Added> {
        let found = self.inner.store.attested_file(subject).await?;
        let file = self
            .unveiled_maybe(found)
            .await?
            .ok_or_else(|| unknown_file(subject))?;
        let ecosystem = crate::store::ecosystem(&file.ecosystem)?;
        self.may_upload_attestations(actor, ecosystem)?;
        let key = NameKey::from_stored(file.project_key.clone());
        let repository = match ecosystem {
            Ecosystem::Npm => {
                let manifest = self.inner.store.manifest(&file.id).await?;
                let package = manifest.details.npm();
                package.and_then(|package| package.repository())
            }
            Ecosystem::Pypi | Ecosystem::Cargo => None,
        };
        let candidate = Candidate {
            ecosystem,
            key: &key,
            project: &file.project_name,
            filename: &file.filename,
            version: &file.version,
            purl: &file.purl,
            repository,
            digests: file.digests(),
        };
        let vetted = self.vet(actor, &candidate, Some(attestations)).await?;
        let mut tx = self.inner.store.write().await?;
        self.still_good(&mut tx, actor).await?;
        let project = match &actor.identity {
            Identity::Workflow(workflow) => {
                let locked = tx
                    .curated_project(ecosystem, key.as_str())
                    .await?
                    .ok_or_else(|| unknown_file(subject))?;
                let publisher = tx
                    .publisher_of(&locked.id, &workflow.publishers)
                    .await?
                    .ok_or_else(|| policy::not_a_publisher_here(workflow, &locked.name))?;
                if vetted
                    .publisher
                    .as_ref()
                    .is_some_and(|vetted| *vetted != publisher)
                {
                    return Err(policy::not_a_publisher_here(workflow, &locked.name));
                }
                locked
            }
            _ => {
                self.project_for_change(&mut tx, actor, ecosystem, &key, Act::Publish)
                    .await?
            }
        };
        if !matches!(
            project.status,
            ProjectStatus::Active | ProjectStatus::Deprecated
        ) {
            return Err(Error::new(
                Kind::Denied,
                "project-archived",
                format!("The project {} takes nothing new.", project.name),
            )
            .remedy("An owner can set its status back to active."));
        }
        let demanded = tx.policy_of(&project.id).await?;
        policy::meets_policy(actor, &demanded, &project.name, vetted.level)?;
        let added = self.add_vetted(&mut tx, actor, &vetted, &file.purl).await?;
        tx.commit().await?;
        let leaf = match added {
            None => None,
            Some(event) => {
                self.inner.fetch.forget(ecosystem, key.as_str(), []);
                Some(self.await_log(&event, false, None).await?.index)
            }
        };
        Ok(Added {
            purl: file.purl,
            digests: vetted.digests(),
            leaf,
        })
    }

    fn may_upload_attestations(&self, actor: &Actor, ecosystem: Ecosystem) -> Result<()> {
        policy::may_upload(actor, ecosystem, self.now())
    }

    /// Writes what was verified for a file that is here already: those that it has not got yet. Names the event whose leaf
    /// names them; `None` where there was nothing new.
    pub(crate) async fn add_vetted(
        &self,
        tx: &mut Tx,
        actor: &Actor,
        vetted: &Vetted,
        subject: &str,
    ) -> Result<Option<EventId>> {
        if vetted.is_empty() {
            return Ok(None);
        }
        let file = tx
            .attested_file_here(subject)
            .await?
            .ok_or_else(|| unknown_file(subject))?;
        let there = tx.attestations_there(&file.id).await?;
        let theirs: Vec<_> = there
            .iter()
            .filter(|row| row.maker == Maker::Uploader)
            .collect();
        let new: Vec<(&str, &str)> = vetted
            .predicate_types()
            .into_iter()
            .filter(|(digest, _)| !theirs.iter().any(|row| row.digest == *digest))
            .collect();
        if new.is_empty() {
            return Ok(None);
        }
        for (_, predicate_type) in &new {
            if theirs
                .iter()
                .any(|row| vetting::one_of(&row.predicate_type) == vetting::one_of(predicate_type))
            {
                // The words that `twine --skip-existing` and uv look for stand first.
                return Err(Error::new(
                    Kind::Conflict,
                    "attestation-exists",
                    format!(
                        "File already exists ({}) with another attestation of the type {predicate_type}.",
                        file.filename
                    ),
                )
                .remedy("Attestations never change here. Skip existing files, or publish a new version."));
            }
        }
        if theirs.len() + new.len() > vetting::AT_MOST {
            return Err(Error::new(
                Kind::Rejected,
                "attestations-too-many",
                format!(
                    "{} has {} attestations already; it can have {} in all.",
                    file.filename,
                    theirs.len(),
                    vetting::AT_MOST
                ),
            )
            .remedy("Leave the others out."));
        }
        let now = self.now();
        if let Some(open) = self.inner.settings.release_open
            && now.0 - file.release_created.0 > i64::try_from(open.as_micros()).unwrap_or(i64::MAX)
        {
            return Err(Error::new(
                Kind::Rejected,
                "release-closed",
                format!(
                    "Version {} of {} was first published {}; it takes nothing further.",
                    file.version,
                    file.project_name,
                    file.release_created.rfc3339()
                ),
            )
            .remedy("Publish a new version with its attestations."));
        }
        let known = match &file.source {
            Some(source) => Some(source.clone()),
            None => tx.source_remembered(&file.project).await?,
        };
        let same = match (&known, &vetted.source) {
            (Some(known), Some(offered)) => !matches!(likeness(known, offered), Likeness::Other(_)),
            (None, Some(_)) => true,
            (_, None) => false,
        };
        if !same {
            return Err(Error::new(
                Kind::Denied,
                "attestation-not-yours",
                format!(
                    "{} came from {}; these attestations come from {}.",
                    file.filename,
                    known.map_or_else(|| "no known source".to_owned(), |source| source.repository),
                    vetted
                        .source
                        .as_ref()
                        .map_or("no repository", |source| &source.repository)
                ),
            )
            .remedy("Only the source that a file came from attests it."));
        }
        let event = EventId(new_id());
        let digests: Vec<String> = new.iter().map(|(digest, _)| (*digest).to_owned()).collect();
        vetted.write(tx, &file.id, &digests, &event, now).await?;
        let level = file
            .level
            .unwrap_or(TrustLevel::None)
            .max(if vetted.confirms() {
                TrustLevel::Provenance
            } else {
                TrustLevel::None
            });
        let attested = vetted.indexed(&digests).then_some(now);
        tx.set_file_trust(&file.id, level, vetted.source.as_ref(), attested)
            .await?;
        if level == TrustLevel::Provenance {
            tx.raise_trust(&file.project, level, actor.name(), now)
                .await?;
            // A level without a source would take the next publication from anywhere.
            if let (None, Some(source)) =
                (tx.source_remembered(&file.project).await?, &vetted.source)
            {
                tx.remember_source(&file.project, source, now).await?;
            }
        }
        let ecosystem = crate::store::ecosystem(&file.ecosystem)?;
        self.rerender(tx, ecosystem, &file.project).await?;
        let change = Change::about(
            actor,
            LeafKind::AttestationAdded,
            file.purl.clone(),
            &file.project,
        )
        .file(&file.id)
        .attested(digests.clone());
        self.record_as(tx, &event, change, json!({"attestations": digests}))
            .await?;
        Ok(Some(event))
    }

    /// The source of a project that published by workflow before sources were remembered: that of its newest file which a
    /// workflow published. It is remembered from here on.
    pub(crate) async fn source_from_before(
        &self,
        tx: &mut Tx,
        project: &crate::model::ProjectId,
    ) -> Result<Option<SourceTuple>> {
        let Some(origin) = tx.newest_origin(project).await? else {
            return Ok(None);
        };
        let source = vetting::source_of_token(origin.provider, &origin.issuer, &origin.claims);
        if let Some(source) = &source {
            tx.remember_source(project, source, self.now()).await?;
        }
        Ok(source)
    }

    /// Drops the documents of a project whose files are shown otherwise from now on.
    async fn rerender(
        &self,
        tx: &mut Tx,
        ecosystem: Ecosystem,
        project: &crate::model::ProjectId,
    ) -> Result<()> {
        let now = self.now();
        tx.raise_serials(std::slice::from_ref(project), now, false)
            .await?;
        tx.drop_documents(project, now).await?;
        let left = tx.live_files(project).await?;
        if let Some(newest) = crate::fetch::latest_of(ecosystem, &left) {
            let latest = (
                project.clone(),
                newest.version.clone(),
                newest.summary.clone(),
            );
            tx.set_latest(&[latest]).await?;
        }
        Ok(())
    }

    /// Keeps how a publication stood to what its project is remembered for: changes that it used, another name of the
    /// same source, and what an operator's rule or an owner's approval let pass. Says what the publisher should know; the
    /// owners are told of a loss once for each release.
    #[expect(
        clippy::too_many_arguments,
        reason = "one place for all that a passage leaves behind"
    )]
    pub(crate) async fn note_passage(
        &self,
        tx: &mut Tx,
        actor: &Actor,
        project: &ProjectFacts,
        ecosystem: Ecosystem,
        vetted: &Vetted,
        passed: &Passed,
        first_of_release: bool,
    ) -> Result<Option<String>> {
        let now = self.now();
        for change in &passed.used {
            tx.use_provenance_change(change, now).await?;
        }
        if let Some(source) = &passed.remember {
            tx.remember_source(&project.id, source, now).await?;
        }
        if let (true, Some(from), Some(to)) = (passed.renamed, &project.source, &passed.remember) {
            let reason = "The immutable ids are the same.";
            let row = changes::noted(
                &project.id,
                ChangeKind::Rename,
                None,
                Some(from),
                Some(to),
                reason,
                now,
            );
            let detail = json!({"provenance": "renamed", "change": row.id, "from": from, "to": to});
            self.record_noted(tx, actor, project, ecosystem, &row, detail)
                .await?;
            let sentence = format!(
                "its source is called {} now; it was {} (the immutable ids are the same)",
                to.repository, from.repository
            );
            let data = [
                ("project", project.name.as_str()),
                ("change", sentence.as_str()),
            ];
            self.notify_owners(tx, &project.id, None, NoticeKind::PolicyChanged, &data)
                .await?;
        }
        if passed.lost.is_empty() {
            return Ok(None);
        }
        let what = passed.lost.join(" ");
        let row = changes::noted(
            &project.id,
            ChangeKind::Loss,
            Some(vetted.level),
            project.source.as_ref(),
            vetted.source.as_ref(),
            &what,
            now,
        );
        let detail = json!({"provenance": "lost", "change": row.id, "lost": what});
        self.record_noted(tx, actor, project, ecosystem, &row, detail)
            .await?;
        if !first_of_release {
            return Ok(Some(what));
        }
        let data = [
            ("who", actor.name()),
            ("project", project.name.as_str()),
            ("what", what.as_str()),
        ];
        self.notify_owners(tx, &project.id, None, NoticeKind::ProvenanceLost, &data)
            .await?;
        Ok(Some(what))
    }

    /// Keeps a change that nobody opened and that a publication made, with its leaf.
    async fn record_noted(
        &self,
        tx: &mut Tx,
        actor: &Actor,
        project: &ProjectFacts,
        ecosystem: Ecosystem,
        row: &ChangeRow,
        detail: serde_json::Value,
    ) -> Result<()> {
        tx.insert_provenance_change(row).await?;
        let key = format(ecosystem).name_key(&project.name)?;
        let subject = purl::project_purl(ecosystem, &key);
        let change = Change::about(actor, LeafKind::PolicyChanged, subject, &project.id)
            .way(Way::Replaced, None);
        self.record(tx, change, detail).await?;
        Ok(())
    }
}
