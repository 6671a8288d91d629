//! Publish, from top to bottom:
//!
//! stage (spool, cap, hash; policy is asked first whether this caller may send bytes at all) → inspect (believe the
//! bytes, not the request) → store the blob (immutable first) → one transaction (facts, policy, rows, event) → wait
//! until the heartbeat has it in the log → receipt with proof.
//!
//! Each step takes the type that only the step before can make. No network while the transaction is open. Idempotent
//! by identifier and digest: the retry after a lost answer gets the same receipt, other bytes get `file-exists`.

use std::io::{Cursor, Write};
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use countersign_formats::pypi::{filename, name, upload};
use countersign_formats::{Artifact, Ecosystem, Manifest, format, purl};
use countersign_trust::digest::{Digests, Hasher, Sha256};
use countersign_trust::leaf::{self, Algorithm, LeafKind, identifier_hash};
use futures::{Stream, StreamExt};
use serde_json::json;

use crate::Registry;
use crate::accounts::new_id;
use crate::blobs::Spooled;
use crate::error::{Error, Kind, Result};
use crate::fetch::latest_of;
use crate::heartbeat::{Change, Logged};
use crate::model::{
    AccountId, Actor, EventId, FileId, FileState, Identity, ProjectId, Receipt, ReleaseId, Role,
};
use crate::policy::{self, Decision};
use crate::store::{NewFile, WRITE_CONFLICT};

/// Uploads up to this size stay in memory; larger ones wait in a spool file.
const IN_MEMORY: usize = 1 << 20;

/// How often a transaction that lost a race is tried again before the caller is told to.
const RACES: u32 = 8;

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
}

/// What the request says about the bytes; held against what they say themselves.
pub enum Form {
    /// The form of Python's upload API.
    Pypi(Box<upload::UploadForm>),
    /// Nothing: an operator's import.
    Nothing,
}

/// Bytes that are what their name says.
struct Inspected {
    staged: Staged,
    manifest: Manifest,
    metadata: String,
    filename_key: String,
    warnings: Vec<String>,
}

impl Registry {
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
        policy::may_upload(actor, ecosystem)?;
        let most = self.inner.settings.limits.max_file_size;
        let mut hasher = Hasher::new(false);
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
        let inspected = self.inspect(staged, form).await?;
        let sha256 = inspected.staged.digests.sha256;
        let purl = purl::file_purl(
            inspected.manifest.ecosystem,
            &inspected.manifest.name_key,
            &inspected.manifest.version_canonical,
            &inspected.manifest.filename,
        );

        // Immutable bytes first. A crash after this leaves bytes that nothing points to; the sweep collects them after
        // a day, and the retry finds them in place.
        self.inner
            .blobs
            .put_artifact(sha256, &inspected.staged.bytes)
            .await?;

        // The rows, the claim on the identifier and the event, all or nothing. A crash before the commit leaves the
        // blob alone; a crash after it leaves a staged file with its event in the outbox: the next start logs it, and
        // the publisher's retry finds it.
        let mut races = 0;
        let (event, repeated) = loop {
            match self.commit_publication(actor, &inspected, &purl).await {
                Err(error) if error.code == WRITE_CONFLICT && races < RACES => races += 1,
                other => break other?,
            }
        };

        // From here on nothing can be lost; the answer waits for the log.
        let logged = self.await_log(&event, repeated).await?;
        let proof = self
            .prove(&logged.served, logged.index, &logged.body)
            .await?;
        Ok(Receipt {
            purl,
            sha256,
            leaf: logged.index,
            proof: proof.to_string(),
            warnings: inspected.warnings,
            repeated,
        })
    }

    /// Reads the archive away from the async threads and holds the form against it.
    async fn inspect(&self, staged: Staged, form: Form) -> Result<Inspected> {
        let limits = self.inner.settings.limits.clone();
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
            if let Form::Pypi(form) = form {
                let computed = upload::Digests {
                    sha256: Some(staged.digests.sha256_hex()),
                    blake2_256: Some(staged.digests.blake2b_256_hex()),
                    md5: Some(staged.digests.md5_hex()),
                };
                form.digests()?.check(&computed)?;
                warnings.extend(upload::compare(&form, &manifest)?);
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
            let filename_key = filename::parse(&staged.filename, &limits)?.key();
            Ok(Inspected {
                staged,
                manifest,
                metadata,
                filename_key,
                warnings,
            })
        };
        tokio::task::spawn_blocking(inspect)
            .await
            .map_err(|source| Error::internal("the inspection of an archive broke off", source))?
    }

    /// One transaction: gather facts, ask policy, write rows and event. Returns the event whose leaf is the answer.
    async fn commit_publication(
        &self,
        actor: &Actor,
        inspected: &Inspected,
        purl: &str,
    ) -> Result<(EventId, bool)> {
        let (manifest, staged) = (&inspected.manifest, &inspected.staged);
        let identifier = identifier_hash(purl);
        let account = match &actor.identity {
            Identity::Account { id, .. } => Some(id),
            _ => None,
        };
        let skeleton = name::skeleton(&manifest.name_key);
        let now = self.now();
        let mut tx = self.inner.store.write().await?;
        let facts = tx
            .publish_facts(
                manifest,
                identifier,
                &inspected.filename_key,
                &skeleton,
                account,
            )
            .await?;
        let sha256 = staged.digests.sha256.to_string();
        if let Decision::Repeat(file) =
            policy::may_publish(&self.inner.settings, actor, &facts, manifest, &sha256, now)?
        {
            return Ok((file.event, true));
        }
        let project = match &facts.project {
            Some(project) => {
                if project.removed.is_some() {
                    tx.revive_project(&project.id, now).await?;
                }
                project.id.clone()
            }
            None => {
                self.create_project(&mut tx, actor, account, manifest, &skeleton)
                    .await?
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
                self.record(&mut tx, change, json!({"reason": "the bytes came home"}))
                    .await?;
            }
            tx.raise_serials(std::slice::from_ref(&project), now, !home.withdrawn)
                .await?;
            tx.drop_documents(&project).await?;
            let left = tx.live_files(&project).await?;
            if let Some(newest) = latest_of(manifest.ecosystem, &left) {
                let latest = (project.clone(), newest.version.clone(), newest.summary.clone());
                tx.set_latest(&[latest]).await?;
            }
            tx.commit().await?;
            self.inner
                .fetch
                .forget(manifest.ecosystem, manifest.name_key.as_str(), []);
            return Ok((event, true));
        }
        let digests = vec![
            (Algorithm::Sha256, sha256),
            (Algorithm::Blake2b256, staged.digests.blake2b_256_hex()),
            (Algorithm::Md5, staged.digests.md5_hex()),
        ];
        let change = Change::about(actor, LeafKind::FilePublished, purl.to_owned(), &project)
            .file(&file)
            .bytes(digests, staged.size);
        self.record_as(&mut tx, &event, change, json!({})).await?;
        tx.commit().await?;
        Ok((event, false))
    }

    async fn create_project(
        &self,
        tx: &mut crate::store::Tx,
        actor: &Actor,
        account: Option<&AccountId>,
        manifest: &Manifest,
        skeleton: &str,
    ) -> Result<ProjectId> {
        let (id, now) = (ProjectId(new_id()), self.now());
        tx.insert_project(&id, manifest, skeleton, now).await?;
        if let Some(account) = account {
            tx.insert_grant(&new_id(), &id, account, Role::Owner, now)
                .await?;
            let subject = purl::project_purl(manifest.ecosystem, &manifest.name_key);
            let change = Change::about(actor, LeafKind::OwnerChanged, subject, &id)
                .affecting(account)
                .way(leaf::Change::Added, None);
            self.record(tx, change, json!({"after": Role::Owner.as_str()}))
                .await?;
        }
        Ok(id)
    }

    /// Waits until an event's leaf is under the served checkpoint, at most as long as the settings say.
    async fn await_log(&self, event: &EventId, repeated: bool) -> Result<Logged> {
        let beat = &self.inner.beat;
        let mut told = beat.expect(event);
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
