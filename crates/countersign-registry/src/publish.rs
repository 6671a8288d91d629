//! Publish, from top to bottom:
//!
//! stage (spool, cap, hash; policy is asked first whether this caller may send bytes at all) → inspect (believe the
//! bytes, not the request) → verify attestations (held against the bytes, the trust roots and the caller) → store the
//! blob (immutable first) → one transaction (facts, policy, rows, event) → wait until the heartbeat has it in the log →
//! receipt with proof.
//!
//! Each step takes the type that only the step before can make. No network while the transaction is open. Idempotent
//! by identifier and digest: the retry after a lost answer gets the same receipt, other bytes get `file-exists`.

mod staging;

use std::collections::VecDeque;
use std::io::{Cursor, Write};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use countersign_formats::npm::publish::Access;
use countersign_formats::pypi::upload;
use countersign_formats::{Artifact, Ecosystem, Manifest, cargo, format, npm, purl};
use countersign_trust::digest::{Digests, Hasher, Sha256};
use countersign_trust::leaf::{Algorithm, LeafKind, identifier_hash};
use futures::{Stream, StreamExt};
use serde_json::json;
use tokio::sync::oneshot;

use crate::Registry;
use crate::accounts::new_id;
use crate::blobs::{Found, Spooled};
use crate::error::{Error, Kind, Result};
use crate::fetch::latest_of;
use crate::heartbeat::{Change, Logged};
use crate::model::{
    AccountId, Actor, EventId, FileId, FileState, Identity, ProjectId, Receipt, ReleaseId,
    Strength, TrustLevel, Visibility,
};
use crate::policy::{self, Act, Decision, Offer, On};
use crate::provenance::{Candidate, NpmSigner, Vetted};
pub use staging::{StagedBytes, StagedPublication};

use crate::store::{
    Backend, NamespaceFacts, NewFile, NewProject, NoticeRow, ProjectFacts, PublishFacts, Tx,
    WRITE_CONFLICT, retried,
};
use crate::texts::NoticeKind;

/// Uploads up to this size stay in memory; larger ones wait in a spool file.
const IN_MEMORY: usize = 1 << 20;

/// How often a transaction that lost a race is tried again before the caller is told to.
const RACES: usize = 8;

/// Bytes that arrived, were capped and hashed. Nothing is believed of them yet.
pub struct Staged {
    ecosystem: Ecosystem,
    filename: String,
    bytes: Spooled,
    digests: Digests,
    size: u64,
}

impl Staged {
    /// What the bytes hash to.
    pub fn digests(&self) -> &Digests {
        &self.digests
    }

    /// How many there are.
    pub fn size(&self) -> u64 {
        self.size
    }

    /// The same bytes under the name that they shall have: npm's clients say it behind them.
    #[must_use]
    pub fn named(self, filename: &str) -> Self {
        Self {
            filename: filename.to_owned(),
            ..self
        }
    }
}

/// What the request says about the bytes; held against what they say themselves.
pub enum Form {
    /// The form of Python's upload API.
    Pypi(Box<upload::UploadForm>),
    /// What cargo says of a crate.
    Cargo(Box<cargo::publish::PublishRequest>),
    /// What npm's clients say of a version, with the provenance that may stand beside its tarball.
    Npm(Box<npm::publish::Publish>),
    /// What was held against the bytes when they were staged: the tags, and the provenance beside them.
    Approved {
        /// Tags that shall point to the release.
        tags: Vec<String>,
        /// A project that it founds shall be private.
        private: bool,
        /// The bundle, as it was sent.
        bundle: Option<String>,
    },
    /// Nothing: an operator's import.
    Nothing,
}

/// Bytes that are what their name says.
struct Inspected {
    staged: Staged,
    manifest: Manifest,
    metadata: String,
    readme: Option<String>,
    /// Tags that shall point to the release (npm).
    tags: Vec<String>,
    /// A project that this founds shall be private.
    private: bool,
    filename_key: String,
    warnings: Vec<String>,
}

/// One publish that is ready to be committed.
pub(crate) struct Publication {
    actor: Actor,
    inspected: Inspected,
    /// What was sent beside the bytes, verified.
    vetted: Vetted,
    purl: String,
    /// Signs the version for npm's clients.
    signer: Option<NpmSigner>,
    way: Way,
}

/// How a publication comes about.
enum Way {
    /// At once.
    AtOnce,
    /// It is tried whether it could be, for a person to approve it later; nothing of it is kept.
    Rehearsed,
    /// It was staged, and a person lets it pass.
    Approved(Box<staging::Approved>),
}

/// What the transaction of a publish wrote.
pub(crate) struct Recorded {
    /// The event whose leaf answers the publisher.
    event: EventId,
    /// The bytes were here before.
    repeated: bool,
    /// The event of attestations that a file, known before, got now.
    added: Option<EventId>,
    /// What is served changed without a beat: bytes that were known from the log alone came home, or attestations came.
    served_anew: bool,
    /// What the publisher should know besides.
    nudge: Option<String>,
    /// Where the beat tells of the leaf.
    told: Option<oneshot::Receiver<Logged>>,
}

type Waiting = (Arc<Publication>, oneshot::Sender<Result<Recorded>>);

/// Where publications wait for the one writer of SQLite.
#[derive(Default)]
pub(crate) struct Desk {
    queue: Mutex<VecDeque<Waiting>>,
    turn: Arc<tokio::sync::Mutex<()>>,
}

impl Desk {
    fn queue(&self) -> MutexGuard<'_, VecDeque<Waiting>> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Registry {
    /// May this caller send bytes at all? Faces ask before they read a body; [`Registry::stage`] asks again.
    ///
    /// # Errors
    /// Policy's refusals.
    pub fn may_upload(&self, actor: &Actor, ecosystem: Ecosystem) -> Result<()> {
        policy::may_upload(actor, ecosystem, self.now())
    }

    /// Takes the bytes in: asks policy whether this caller may send any, caps and hashes while they arrive.
    ///
    /// # Errors
    /// Policy's refusals; `file-too-large`; `upload-cut-short` where the body ends in an error; `disk-full`.
    pub async fn stage<S, E>(
        &self,
        actor: &Actor,
        ecosystem: Ecosystem,
        filename: &str,
        mut body: S,
    ) -> Result<Staged>
    where
        S: Stream<Item = Result<Bytes, E>> + Unpin,
        E: Into<Box<dyn std::error::Error + Send + Sync>>,
    {
        policy::may_upload(actor, ecosystem, self.now())?;
        self.registry_runs(actor).await?;
        if self.inner.settings.verified_address_to_publish
            && let Identity::Account { id, .. } = &actor.identity
        {
            policy::has_proved_address(self.inner.store.has_proved_main(id).await?)?;
        }
        let most = self.inner.settings.limits.max_file_size;
        let mut hasher = match ecosystem {
            Ecosystem::Npm => Hasher::for_npm(),
            Ecosystem::Pypi | Ecosystem::Cargo => Hasher::new(false),
        };
        let mut size = 0_u64;
        let mut memory = BytesMut::new();
        let mut spool: Option<tempfile::NamedTempFile> = None;
        while let Some(piece) = body.next().await {
            let piece = piece.map_err(|source| {
                let source = source.into();
                Error::new(
                    Kind::Rejected,
                    "upload-cut-short",
                    format!("The upload ended before it was whole: {source}."),
                )
                .remedy("Nothing was kept. Send it again.")
                .because(source)
            })?;
            size += piece.len() as u64;
            if size > most {
                return Err(Error::new(
                    Kind::TooLarge,
                    "file-too-large",
                    format!("{filename} is larger than the {most} bytes a file may have here."),
                )
                .remedy(
                    "Publish a smaller file, or ask the operator to raise limits.max_file_size.",
                ));
            }
            hasher.update(&piece);
            if spool.is_none() && memory.len() + piece.len() > IN_MEMORY {
                let mut file = tempfile::NamedTempFile::new_in(&self.inner.settings.spool)
                    .map_err(spool_failed)?;
                file.write_all(&memory).map_err(spool_failed)?;
                memory = BytesMut::new();
                spool = Some(file);
            }
            match &mut spool {
                // A write into the page cache: short, and bounded by the size of a piece.
                Some(file) => file.write_all(&piece).map_err(spool_failed)?,
                None => memory.extend_from_slice(&piece),
            }
        }
        let (digests, _) = hasher.finish();
        let bytes = match spool {
            Some(mut file) => {
                file.flush().map_err(spool_failed)?;
                Spooled::File { file, size }
            }
            None => Spooled::Memory(memory.freeze()),
        };
        Ok(Staged {
            ecosystem,
            filename: filename.to_owned(),
            bytes,
            digests,
            size,
        })
    }

    /// Publishes staged bytes. Returns when the file is in the log and served.
    ///
    /// # Errors
    /// Rejections of the archive or the form, policy's refusals, `file-exists`, and `log-stands-still` (503) where the
    /// log did not move in time: the file then stays pending and the identical retry gets its receipt.
    pub async fn publish(&self, actor: &Actor, staged: Staged, form: Form) -> Result<Receipt> {
        let ready = self.ready(actor, staged, form, Way::AtOnce).await?;
        self.carry_out(ready).await
    }

    /// Inspects and verifies.
    async fn ready(
        &self,
        actor: &Actor,
        staged: Staged,
        form: Form,
        way: Way,
    ) -> Result<Publication> {
        let attestations = match &form {
            Form::Pypi(form) => form.attestations().map(str::to_owned),
            Form::Npm(form) => form.bundle.clone(),
            Form::Approved { bundle, .. } => bundle.clone(),
            Form::Cargo(request) => request.attestations.clone(),
            Form::Nothing => None,
        };
        let inspected = self.inspect(staged, form).await?;
        let purl = purl::file_purl(
            inspected.manifest.ecosystem,
            &inspected.manifest.name_key,
            &inspected.manifest.version_canonical,
            &inspected.manifest.filename,
        );

        let candidate = Candidate {
            ecosystem: inspected.manifest.ecosystem,
            key: &inspected.manifest.name_key,
            project: &inspected.manifest.name,
            filename: &inspected.manifest.filename,
            version: &inspected.manifest.version_canonical,
            purl: &purl,
            repository: inspected
                .manifest
                .details
                .npm()
                .and_then(|package| package.repository()),
            digests: inspected.staged.digests.named(),
        };
        let vetted = self.vet(actor, &candidate, attestations.as_deref()).await?;
        let signer = self.signer_for(inspected.manifest.ecosystem).await;
        Ok(Publication {
            actor: actor.clone(),
            inspected,
            vetted,
            purl,
            signer,
            way,
        })
    }

    async fn carry_out(&self, publication: Publication) -> Result<Receipt> {
        let sha256 = publication.inspected.staged.digests.sha256;
        // Immutable bytes first. A crash after this leaves bytes that nothing points to; the sweep collects them after
        // a day, and the retry finds them in place.
        let found = self
            .inner
            .blobs
            .put_artifact(sha256, &publication.inspected.staged.bytes)
            .await?;

        // The rows, the claim on the identifier and the event, all or nothing. A crash before the commit leaves the
        // blob alone; a crash after it leaves a staged file with its event in the outbox: the next start logs it, and
        // the publisher's retry finds it.
        let publication = Arc::new(publication);
        let recorded = retried(RACES, || self.commit_publication(&publication)).await;
        let recorded = recorded.map_err(|error| {
            if error.code == WRITE_CONFLICT {
                Error::unavailable(
                    "too-many-races",
                    "Others kept changing the same project at the same moment.",
                )
                .because(error)
            } else {
                error
            }
        })?;
        let Publication {
            inspected, purl, ..
        } = &*publication;
        let (event, repeated, told) = (recorded.event, recorded.repeated, recorded.told);
        let mut warnings = inspected.warnings.clone();
        warnings.extend(recorded.nudge);
        if found == Found::Before {
            // Bytes that lay here unclaimed may have been swept up between our look and our claim. Now nothing sweeps them.
            self.inner
                .blobs
                .put_artifact(sha256, &inspected.staged.bytes)
                .await?;
        }

        // From here on nothing can be lost; the answer waits for the log.
        if let Some(added) = &recorded.added {
            self.await_log(added, false, None).await?;
        }
        let logged = self.await_log(&event, repeated, told).await?;
        // The beat has read by now who signs, also where another process changed it.
        let named = &inspected.manifest;
        let (ecosystem, key) = (named.ecosystem, named.name_key.as_str());
        if let Some(role) = self.tuf_people(ecosystem, key) {
            warnings.push(format!(
                "The index of {key} is signed by people (TUF role {role}): what clients of TUF are shown changes when they have \
                 signed this publication."
            ));
        }
        let proof = self
            .prove(&logged.served, logged.index, &logged.body)
            .await?;
        Ok(Receipt {
            purl: purl.clone(),
            sha256,
            leaf: logged.index,
            proof: proof.to_string(),
            warnings,
            repeated,
        })
    }

    /// Reads the archive away from the async threads and holds the form against it.
    async fn inspect(&self, staged: Staged, form: Form) -> Result<Inspected> {
        let limits = self.inner.settings.limits.clone();
        let own = matches!(form, Form::Cargo(_)).then(|| self.inner.settings.own_index());
        // Where everybody who reads here is known, npm's word means what the whole registry is already.
        let open = self.inner.settings.visibility == Visibility::Public;
        let inspect = move || -> Result<Inspected> {
            let rules = format(staged.ecosystem);
            let mut manifest = match &staged.bytes {
                Spooled::Memory(bytes) => {
                    let mut bytes = Cursor::new(&bytes[..]);
                    rules.inspect(
                        &mut Artifact {
                            filename: &staged.filename,
                            size: staged.size,
                            bytes: &mut bytes,
                        },
                        &limits,
                    )?
                }
                Spooled::File { file, .. } => {
                    let mut bytes = file.reopen().map_err(spool_failed)?;
                    rules.inspect(
                        &mut Artifact {
                            filename: &staged.filename,
                            size: staged.size,
                            bytes: &mut bytes,
                        },
                        &limits,
                    )?
                }
            };
            let mut warnings = std::mem::take(&mut manifest.warnings);
            let (mut tags, mut private) = (Vec::new(), false);
            match form {
                Form::Pypi(form) => {
                    let computed = upload::Digests {
                        sha256: Some(staged.digests.sha256_hex()),
                        blake2_256: Some(staged.digests.blake2b_256_hex()),
                        md5: Some(staged.digests.md5_hex()),
                    };
                    form.digests()?.check(&computed)?;
                    warnings.extend(upload::compare(&form, &manifest)?);
                }
                Form::Cargo(request) => {
                    let missing = || Error::internal("a crate met no index of ours", "own");
                    let own = own.ok_or_else(missing)??;
                    cargo::publish::compare(&request, &manifest, &own)?;
                }
                Form::Npm(publish) => {
                    publish.check_digests(&npm_digests(&staged.digests)?)?;
                    hold_npm(&publish, &manifest)?;
                    tags = publish.tags;
                    private = publish.access == Some(Access::Restricted);
                }
                Form::Approved {
                    tags: said,
                    private: wanted,
                    ..
                } => (tags, private) = (said, wanted),
                // A package without `latest` can not be installed; documents then show the newest.
                Form::Nothing => {}
            }
            let metadata = String::from_utf8(std::mem::take(&mut manifest.metadata_bytes))
                .map_err(|source| {
                    Error::new(
                        Kind::Rejected,
                        "metadata-not-utf8",
                        "The metadata in the archive is not UTF-8.",
                    )
                    .remedy("Build the distribution again with a current tool.")
                    .because(source)
                })?;
            if metadata.contains('\0') {
                return Err(Error::new(
                    Kind::Rejected,
                    "metadata-nul",
                    "The metadata in the archive has a NUL character.",
                )
                .remedy("Build the distribution again with a current tool."));
            }
            let filename_key = rules.file_key(&manifest, &limits)?;
            // Python's is a part of the metadata.
            let readme = match manifest.ecosystem {
                Ecosystem::Pypi => None,
                Ecosystem::Cargo | Ecosystem::Npm => manifest
                    .description
                    .take()
                    .map(|text| text.replace('\0', "\u{fffd}")),
            };
            Ok(Inspected {
                staged,
                manifest,
                metadata,
                readme,
                tags,
                private: private && open,
                filename_key,
                warnings,
            })
        };
        tokio::task::spawn_blocking(inspect)
            .await
            .map_err(|source| Error::internal("the inspection of an archive broke off", source))?
    }

    /// Commits one publication: on PostgreSQL in a transaction of its own, beside others; on SQLite, which has one
    /// writer, together with whatever else came while the last group was committed, so that they share its syncs.
    async fn commit_publication(&self, publication: &Arc<Publication>) -> Result<Recorded> {
        if self.inner.store.backend() == Backend::Postgres {
            let mut tx = self.inner.store.write().await?;
            let mut recorded = self.record_publication(&mut tx, publication).await?;
            self.commit_expecting(tx, [&mut recorded]).await?;
            self.forget_rendered(publication, &recorded);
            return Ok(recorded);
        }
        let desk = &self.inner.desk;
        let (sender, mut answer) = oneshot::channel();
        desk.queue().push_back((publication.clone(), sender));
        let turn = desk.turn.clone().lock_owned().await;
        if let Ok(answer) = answer.try_recv() {
            return answer;
        }
        let group: Vec<_> = desk.queue().drain(..).collect();
        let registry = self.clone();
        // In a task of its own: a publisher that hangs up must not take the others' commit with it. On a thread that may
        // block: SQLite answers in the thread that asks.
        let runtime = tokio::runtime::Handle::current();
        tokio::task::spawn_blocking(move || {
            runtime.block_on(registry.commit_group(group));
            drop(turn);
        });
        let died = || Error::new(Kind::Conflict, WRITE_CONFLICT, "The commit broke off.");
        answer.await.map_err(|_| died())?
    }

    /// Several publications in one transaction, each behind a savepoint: one that is refused leaves the others alone.
    /// *Crash before the commit*: none of them happened. *After it*: all of them did, told or not.
    async fn commit_group(&self, group: Vec<Waiting>) {
        let outcome = async {
            let mut tx = self.inner.store.write().await?;
            let mut answers = Vec::with_capacity(group.len());
            if let [(publication, _)] = &group[..] {
                // Alone: what is refused is rolled back with the whole transaction.
                let mut recorded = self.record_publication(&mut tx, publication).await;
                if let Ok(recorded) = &mut recorded {
                    self.commit_expecting(tx, [recorded]).await?;
                }
                return Ok(vec![recorded]);
            }
            for (publication, _) in &group {
                tx.savepoint().await?;
                let recorded = self.record_publication(&mut tx, publication).await;
                match &recorded {
                    Ok(_) => tx.keep_savepoint().await?,
                    Err(_) => tx.undo_savepoint().await?,
                }
                answers.push(recorded);
            }
            self.commit_expecting(tx, answers.iter_mut().flatten())
                .await?;
            Ok::<_, Error>(answers)
        }
        .await;
        match outcome {
            Ok(answers) => {
                for ((publication, sender), answer) in group.into_iter().zip(answers) {
                    if let Ok(recorded) = &answer {
                        self.forget_rendered(&publication, recorded);
                    }
                    // Whoever hung up in between has nothing to be told; a retry finds the file.
                    drop(sender.send(answer));
                }
            }
            Err(error) => {
                tracing::error!(error = %error, source = ?error.source, "a group of publications was not committed");
                for (_, sender) in group {
                    drop(sender.send(Err(error.without_source())));
                }
            }
        }
    }

    /// Commits, and asks beforehand to be told of the leaves: a beat may take the events up the moment after.
    async fn commit_expecting<'a>(
        &self,
        tx: Tx,
        recorded: impl IntoIterator<Item = &'a mut Recorded>,
    ) -> Result<()> {
        let beat = &self.inner.beat;
        let mut fresh: Vec<&mut Recorded> = recorded
            .into_iter()
            .filter(|recorded| !recorded.repeated)
            .collect();
        for recorded in &mut fresh {
            recorded.told = Some(beat.expect(&recorded.event));
        }
        let done = tx.commit().await;
        if done.is_err() {
            for recorded in fresh {
                recorded.told = None;
                beat.forget(&recorded.event);
            }
        }
        done
    }

    /// Where what is served changed without a beat, memory must not go on showing what was.
    fn forget_rendered(&self, publication: &Publication, recorded: &Recorded) {
        if recorded.served_anew {
            let manifest = &publication.inspected.manifest;
            self.inner
                .fetch
                .forget(manifest.ecosystem, manifest.name_key.as_str(), []);
        }
    }

    /// Within one transaction: gather facts, ask policy, write rows and event. Names the event whose leaf is the answer.
    async fn record_publication(&self, tx: &mut Tx, publication: &Publication) -> Result<Recorded> {
        let Publication {
            actor,
            inspected,
            vetted,
            purl,
            signer,
            way,
        } = publication;
        let (manifest, staged) = (&inspected.manifest, &inspected.staged);
        let identifier = identifier_hash(purl);
        let account = match &actor.identity {
            Identity::Account { id, .. } => Some(id),
            _ => None,
        };
        let now = self.now();
        // An upload may have taken hours since its token was looked at.
        self.still_good(tx, actor).await?;
        let mut facts = tx
            .publish_facts(
                manifest,
                identifier,
                &inspected.filename_key,
                &actor.identity,
            )
            .await?;
        if facts.project.is_none() {
            let (ecosystem, key) = (manifest.ecosystem, &manifest.name_key);
            facts.names = self.name_facts(tx, ecosystem, key, account).await?;
        }
        let project = facts.project.as_ref().map(|project| &project.id);
        let organisation = facts.namespace.as_ref().map(|known| &known.organisation_id);
        self.nothing_stops(tx, actor, project, organisation).await?;
        self.demands_met(tx, actor, project).await?;
        if let Some(project) = &mut facts.project
            && project.source.is_none()
            && project.trust >= TrustLevel::Workflow
            && let Some(source) = self.source_from_before(tx, &project.id).await?
        {
            project.source = Some(source);
        }
        if let (Identity::Workflow(workflow), Some(project)) = (&actor.identity, &facts.project) {
            let permits = tx.permits_of(&project.id, &workflow.publishers).await?;
            let at_once = matches!(way, Way::AtOnce);
            policy::may_pass(permits, at_once, workflow, project)?;
        }
        let critical = facts.project.as_ref().is_some_and(|known| known.critical);
        if let Way::Approved(approved) = way {
            let project = facts.project.as_ref().map(|known| (&known.id, critical));
            self.may_approve(tx, approved, project).await?;
        }
        let sha256 = staged.digests.sha256.to_string();
        let settings = &self.inner.settings;
        let offer = Offer {
            level: vetted.level,
            source: vetted.source.as_ref(),
        };
        let judge = |facts: &PublishFacts| {
            policy::may_publish(settings, actor, facts, manifest, &sha256, offer, now)
        };
        // The retry of what is here already, with nothing beside it, changes nothing, whatever is demanded today.
        facts.excepted = vetted.is_empty()
            && facts
                .identifier
                .as_ref()
                .is_some_and(|named| named.sha256 == sha256 && named.file.is_some());
        let mut decision = judge(&facts);
        // What owners opened beforehand is read where something would be lost, also where a loss only brings a warning.
        if let Some(project) = &facts.project
            && policy::loses(&decision)
        {
            facts.open = tx.open_changes(&project.id, now).await?;
            decision = judge(&facts);
        }
        if let (Err(refusal), Some(known)) = (&decision, &facts.project)
            && policy::is_below_trust(refusal, known.critical)
            && self
                .is_excepted(tx, actor, &facts, manifest, purl, &sha256)
                .await?
        {
            facts.excepted = true;
            decision = judge(&facts);
        }
        if let (Ok(_), Some(vetted_for), Some(project)) =
            (&decision, &vetted.publisher, &facts.project)
            && project.publisher.as_ref() != Some(vetted_for)
        {
            // Publishers changed between the verification and now.
            return Err(Error::unavailable(
                "too-many-races",
                "The publishers of the project changed at the same moment.",
            ));
        }
        let passed = match decision? {
            Decision::Repeat(file) => {
                let added = self.add_vetted(tx, actor, vetted, purl).await?;
                // The same bytes came by another way while these waited; there is nothing left to answer.
                if let Way::Approved(approved) = way {
                    self.end_approved(tx, approved, None).await?;
                }
                return Ok(Recorded {
                    event: file.event,
                    repeated: true,
                    served_anew: added.is_some(),
                    added,
                    nudge: None,
                    told: None,
                });
            }
            Decision::New(passed) => passed,
        };
        let project = match &facts.project {
            Some(project) => {
                policy::fits_visibility(project, inspected.private)?;
                if project.removed.is_some() {
                    tx.revive_project(&project.id, now).await?;
                }
                if inspected.private && !project.private {
                    tx.set_private(&project.id, Some(now)).await?;
                    let (ecosystem, key) = (manifest.ecosystem, &manifest.name_key);
                    self.record_visibility(tx, actor, ecosystem, key, &project.id, true)
                        .await?;
                }
                project.id.clone()
            }
            None => {
                let namespace = facts.namespace.as_ref();
                let made = self
                    .create_project(tx, actor, account, inspected, namespace)
                    .await?;
                tx.reach_trust(&made, vetted.level, &source_of(actor), now)
                    .await?;
                made
            }
        };
        let release = match &facts.release {
            Some(release) => release.id.clone(),
            None => {
                let id = ReleaseId(new_id());
                let prerelease = format(manifest.ecosystem)
                    .version(&manifest.version_canonical)
                    .is_ok_and(|version| version.is_prerelease());
                tx.insert_release(&id, &project, manifest, prerelease, now)
                    .await?;
                id
            }
        };
        let (file, mut event) = (FileId(new_id()), EventId(new_id()));
        // Known from the log alone, after a restore: the same bytes come home to the leaf that they have already. A
        // second leaf would publish one identifier twice.
        let home = if facts.identifier.is_some() {
            let around = [
                purl.to_owned(),
                purl::release_purl(
                    manifest.ecosystem,
                    &manifest.name_key,
                    &manifest.version_canonical,
                ),
                purl::project_purl(manifest.ecosystem, &manifest.name_key),
            ];
            tx.published_leaf(&project, purl, &around).await?
        } else {
            None
        };
        if let Some(home) = &home {
            event = home.event.clone();
        }
        tx.insert_file(&NewFile {
            id: &file,
            project: &project,
            release: &release,
            manifest,
            filename_key: &inspected.filename_key,
            purl,
            identifier,
            known: facts.identifier.is_some(),
            size: staged.size,
            digests: &staged.digests,
            metadata_sha256: Sha256::of(inspected.metadata.as_bytes()),
            metadata: &inspected.metadata,
            readme: inspected.readme.as_deref(),
            event: &event,
            uploader: account,
            now,
        })
        .await?;
        if let Some(home) = home {
            tx.files_live(home.shard, &[(file.clone(), home.index)], home.at)
                .await?;
            tx.tie_event(&event, &file).await?;
            if home.withdrawn {
                let why = "restore: withdrawn in the log";
                let file = std::slice::from_ref(&file);
                tx.set_files_state(file, FileState::Quarantined, Some(why), now)
                    .await?;
            } else {
                let change = Change::about(actor, LeafKind::Released, purl.to_owned(), &project);
                self.record(tx, change, json!({"reason": "the bytes came home"}))
                    .await?;
            }
            tx.raise_serials(std::slice::from_ref(&project), now, !home.withdrawn)
                .await?;
            tx.drop_documents(&project, now).await?;
            let left = tx.live_files(&project).await?;
            if let Some(newest) = latest_of(manifest.ecosystem, &left) {
                let latest = (
                    project.clone(),
                    newest.version.clone(),
                    newest.summary.clone(),
                );
                tx.set_latest(&[latest]).await?;
            }
            let named = home.attestations.clone();
            vetted.write(tx, &file, &named, &event, now).await?;
            let attested = vetted.indexed(&named).then_some(now);
            tx.set_file_trust(&file, vetted.level, vetted.source.as_ref(), attested)
                .await?;
            // The project's rows may be older than this file: what it reached then it has reached.
            let reached = if home.attestations.is_empty() {
                vetted.level
            } else {
                TrustLevel::Provenance
            };
            tx.raise_trust(&project, reached, &source_of(actor), now)
                .await?;
            if let (None, Some(source)) = (tx.source_remembered(&project).await?, &vetted.source) {
                tx.remember_source(&project, source, now).await?;
            }
            let added = self.add_vetted(tx, actor, vetted, purl).await?;
            if let Way::Approved(approved) = way {
                self.end_approved(tx, approved, Some(&file)).await?;
            }
            return Ok(Recorded {
                event,
                repeated: true,
                served_anew: true,
                added,
                nudge: None,
                told: None,
            });
        }
        let digests_sent = vetted.digests();
        vetted.write(tx, &file, &digests_sent, &event, now).await?;
        let attested = vetted.indexed(&digests_sent).then_some(now);
        tx.set_file_trust(&file, vetted.level, vetted.source.as_ref(), attested)
            .await?;
        let nudge = match &facts.project {
            Some(known) => {
                let told = self
                    .note_passage(
                        tx,
                        actor,
                        known,
                        manifest.ecosystem,
                        vetted,
                        &passed,
                        facts.release.is_none(),
                    )
                    .await?;
                let nudge = self
                    .note_trust(tx, actor, known, &file, vetted.level)
                    .await?;
                told.or(nudge)
            }
            None => {
                if let Some(source) = &passed.remember {
                    tx.remember_source(&project, source, now).await?;
                }
                None
            }
        };
        for tag in &inspected.tags {
            let (count, before) = tx.tag_facts(&project, tag).await?;
            policy::may_set_tag(&manifest.name, count, before.as_deref())?;
            tx.set_tag(&project, tag, &release, now).await?;
        }
        if let (Some(signer), Some(sha512)) = (signer, staged.digests.sha512_hex()) {
            let (name, version) = (&manifest.name, &manifest.version_canonical);
            self.sign_published(tx, signer, &file, name, version, &sha512)
                .await?;
        }
        if let Way::Approved(approved) = way {
            self.end_approved(tx, approved, Some(&file)).await?;
        }
        // Those that the ecosystem's clients know a file by.
        let mut digests = vec![(Algorithm::Sha256, sha256.clone())];
        match manifest.ecosystem {
            Ecosystem::Pypi => digests.extend([
                (Algorithm::Blake2b256, staged.digests.blake2b_256_hex()),
                (Algorithm::Md5, staged.digests.md5_hex()),
            ]),
            Ecosystem::Npm => digests.extend(
                staged
                    .digests
                    .sha512_hex()
                    .map(|hex| (Algorithm::Sha512, hex)),
            ),
            Ecosystem::Cargo => {}
        }
        let change = Change::about(actor, LeafKind::FilePublished, purl.to_owned(), &project)
            .file(&file)
            .bytes(digests, staged.size)
            .attested(digests_sent);
        self.record_as(tx, &event, change, json!({})).await?;
        // A project that has shown nothing yet may have been founded without a file, by a publisher's first token. What an
        // operator founds was looked at by one.
        let held_before = facts.project.as_ref().is_some_and(|known| known.name_held);
        let unshown = facts.project.as_ref().is_none_or(|known| !known.shown);
        let mut waits_for_name = None;
        if (unshown || held_before) && actor.strength != Strength::Operator {
            let (ecosystem, key) = (manifest.ecosystem, &manifest.name_key);
            let asked = facts.project.is_none();
            let known = asked.then(|| std::mem::take(&mut facts.names.hits));
            let note = self
                .weigh_name(tx, ecosystem, key, account, known, held_before)
                .await?;
            self.note_name(tx, key, &file, &note).await?;
            waits_for_name = note.held;
        }
        self.note_dependencies(tx, &project, &file, manifest)
            .await?;
        // After its publication in the log, so that whoever walks the log sees it withheld, not missing.
        let held = self
            .screen(
                tx,
                actor,
                (&project, facts.project.is_none()),
                &file,
                (purl, &manifest.filename),
                (&sha256, waits_for_name),
            )
            .await?;
        Ok(Recorded {
            event,
            repeated: false,
            added: None,
            served_anew: false,
            nudge: held.or(nudge),
            told: None,
        })
    }

    /// Did an owner, who is the caller, approve this very file below the demanded trust? Uses the approval up.
    async fn is_excepted(
        &self,
        tx: &mut Tx,
        actor: &Actor,
        facts: &PublishFacts,
        manifest: &Manifest,
        purl: &str,
        sha256: &str,
    ) -> Result<bool> {
        let Some(project) = &facts.project else {
            return Ok(false);
        };
        let on = On::Project {
            ecosystem: manifest.ecosystem,
            key: manifest.name_key.as_str(),
            roles: project.roles,
            critical: project.critical,
        };
        let act = Act::PublishException;
        if policy::may(act, actor, on, self.now()).is_err() {
            return Ok(false);
        }
        match self.use_approval(tx, actor, act, purl, sha256).await {
            Ok(()) => Ok(true),
            Err(error) if error.code == "approval-needed" => Ok(false),
            Err(error) => Err(error),
        }
    }

    /// Keeps where a workflow's file came from and the trust that the project reached; tells the owners of a publication
    /// that a trusted publisher could have made.
    async fn note_trust(
        &self,
        tx: &mut Tx,
        actor: &Actor,
        project: &ProjectFacts,
        file: &FileId,
        level: TrustLevel,
    ) -> Result<Option<String>> {
        let now = self.now();
        if level > project.trust {
            tx.reach_trust(&project.id, level, &source_of(actor), now)
                .await?;
        }
        if let (Identity::Workflow(workflow), Some(publisher)) =
            (&actor.identity, &project.publisher)
        {
            tx.insert_origin(file, publisher, workflow).await?;
        }
        let Some(credential) = actor
            .credential
            .as_ref()
            .filter(|_| project.has_publisher && level < TrustLevel::Workflow)
        else {
            return Ok(None);
        };
        let notice = NoticeRow {
            id: new_id(),
            kind: "token-used-beside-publisher".to_owned(),
            subject: credential.0.clone(),
            at: now,
            user: None,
            detail: std::collections::BTreeMap::new(),
        };
        if tx.put_notice(&project.id, &notice).await? {
            let data = [("who", actor.name()), ("project", project.name.as_str())];
            self.notify_owners(tx, &project.id, None, NoticeKind::WeakerPublish, &data)
                .await?;
        }
        Ok(Some(format!(
            "{} has a trusted publisher, and this upload used an API token. Publish from the workflow instead, and revoke the token.",
            project.name
        )))
    }

    async fn create_project(
        &self,
        tx: &mut crate::store::Tx,
        actor: &Actor,
        account: Option<&AccountId>,
        inspected: &Inspected,
        namespace: Option<&NamespaceFacts>,
    ) -> Result<ProjectId> {
        let (id, now) = (ProjectId(new_id()), self.now());
        let manifest = &inspected.manifest;
        tx.insert_project(&NewProject {
            id: &id,
            ecosystem: manifest.ecosystem,
            name: &manifest.name,
            key: manifest.name_key.as_str(),
            skeleton: &format(manifest.ecosystem).skeleton(&manifest.name_key),
            trust: policy::trust_of(actor),
            trust_source: Some(&source_of(actor)),
            private: inspected.private,
            now,
        })
        .await?;
        if inspected.private {
            let (ecosystem, key) = (manifest.ecosystem, &manifest.name_key);
            self.record_visibility(tx, actor, ecosystem, key, &id, true)
                .await?;
        }
        let lost = tx
            .lose_pending(manifest.ecosystem, manifest.name_key.as_str(), now)
            .await?;
        if lost > 0 {
            let detail = json!({"project": id, "publishers": lost});
            tx.note_event(
                &new_id(),
                now,
                "pending-publishers-lost",
                actor,
                None,
                detail,
            )
            .await?;
        }
        self.settle_owner(tx, actor, &id, account, namespace)
            .await?;
        Ok(id)
    }

    /// Waits until an event's leaf is under the served checkpoint, at most as long as the settings say. `told` is where the
    /// beat tells of it, if it was asked before the event was committed.
    pub(crate) async fn await_log(
        &self,
        event: &EventId,
        repeated: bool,
        told: Option<oneshot::Receiver<Logged>>,
    ) -> Result<Logged> {
        let beat = &self.inner.beat;
        let mut told = told.unwrap_or_else(|| beat.expect(event));
        beat.wake();
        let deadline = tokio::time::Instant::now() + self.inner.settings.log_wait;
        // A repeated publish, or one that another process logs, is found in the database.
        let mut look = if repeated {
            Duration::ZERO
        } else {
            Duration::from_millis(150)
        };
        let logged = loop {
            tokio::select! {
                biased;
                logged = &mut told => match logged {
                    Ok(logged) => break Some(logged),
                    Err(_) => told = beat.expect(event),
                },
                () = tokio::time::sleep(look) => {
                    match self.logged(event).await {
                        Ok(Some(logged)) => break Some(logged),
                        Ok(None) => {}
                        Err(error) => {
                            drop(told);
                            beat.forget(event);
                            return Err(error);
                        }
                    }
                    look = Duration::from_millis(250);
                }
                () = tokio::time::sleep_until(deadline) => break None,
            }
        };
        drop(told);
        beat.forget(event);
        logged.ok_or_else(|| {
            let why = beat
                .problem()
                .map(|problem| format!(" {problem}"))
                .unwrap_or_default();
            Error::unavailable(
                "log-stands-still",
                format!("The file is safe, but the transparency log did not take it in time.{why}"),
            )
        })
    }

    /// Where an event's leaf stands, if it is served.
    async fn logged(&self, event: &EventId) -> Result<Option<Logged>> {
        let Some((shard, index)) = self.inner.store.leaf_of_event(event).await? else {
            return Ok(None);
        };
        let served = if shard == self.inner.shard {
            self.fresh_head(index + 1).await?
        } else {
            match self.inner.store.head(shard).await? {
                Some(head) => std::sync::Arc::new(crate::heartbeat::Served {
                    head,
                    edge: std::collections::HashMap::new(),
                }),
                None => return Ok(None),
            }
        };
        if served.head.size <= index {
            return Ok(None);
        }
        let body = self
            .inner
            .store
            .leaves_from(shard, index, 1)
            .await?
            .pop()
            .map(|leaf| leaf.body)
            .unwrap_or_default();
        Ok(Some(Logged {
            index,
            served,
            body,
        }))
    }
}

/// Who made a project reach its trust, as its row keeps it: the credential, or the part of the system.
fn source_of(actor: &Actor) -> String {
    match (&actor.identity, &actor.credential) {
        (Identity::Workflow(workflow), _) => format!("{} {}", workflow.issuer, workflow.label),
        (_, Some(credential)) => format!("credential:{credential}"),
        (_, None) => "system".to_owned(),
    }
}

/// The digests that npm's clients send, as they were computed.
fn npm_digests(digests: &Digests) -> Result<npm::publish::Digests> {
    let missing = || Error::internal("a tarball was not hashed as npm asks", "no SHA-512");
    Ok(npm::publish::Digests {
        sha1: digests.sha1.ok_or_else(missing)?,
        sha256: *digests.sha256.as_bytes(),
        sha512: digests.sha512.ok_or_else(missing)?,
    })
}

/// Holds what a client of npm says against what the tarball says.
fn hold_npm(publish: &npm::publish::Publish, manifest: &Manifest) -> Result<()> {
    let Some(package) = manifest.details.npm() else {
        return Err(Error::internal(
            "an npm package has no details",
            manifest.filename.clone(),
        ));
    };
    npm::compare::compare(&publish.manifest, package)?;
    if publish.name.as_str() != manifest.name {
        return Err(Error::new(
            Kind::Rejected,
            "publish-differs",
            format!(
                "The request publishes {}, the package.json in the tarball says {}.",
                publish.name, manifest.name
            ),
        )
        .remedy("Publish with the client that packed it, which takes both from one place."));
    }
    Ok(())
}

fn spool_failed(source: std::io::Error) -> Error {
    if source.raw_os_error() == Some(28) {
        return Error::unavailable("disk-full", "The registry's disk is full.").because(source);
    }
    Error::unavailable(
        "spool-unwritable",
        "The registry can not write to its spool folder.",
    )
    .because(source)
}
