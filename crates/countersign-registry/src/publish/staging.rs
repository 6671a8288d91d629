//! Staged publishing: a workflow or a token sends a version, a person lets it pass.
//!
//! Staging goes through every step of a publish, up to the transaction, which is rehearsed and taken back: what could not
//! be published now is refused now. What is kept is a row and the bytes; nothing is logged, nothing is served, no name is
//! taken. Approving goes through the same steps again, with the same bytes and the same sender, as things stand then; the
//! person's word is a passkey's, given to this version with this digest, and the row ends in the transaction that
//! publishes.
//!
//! *Crash after the bytes, before the row*: they are swept after a day. *After the row*: it is staged, the sender may
//! learn it by sending the same again. *Crash within an approval*: either nothing happened, or it is published and the
//! row says so; approving again then leads to the receipt.

use std::collections::BTreeMap;
use std::sync::Arc;

use bytes::Bytes;
use countersign_formats::npm::changes::{Change, changes};
use countersign_formats::{Ecosystem, Manifest};
use futures::StreamExt;
use futures::stream::BoxStream;
use serde::{Deserialize, Serialize};
use serde_json::json;

use super::{Form, Publication, Staged, Way};
use crate::Registry;
use crate::accounts::new_id;
use crate::blobs::{Found, artifact_path};
use crate::error::{Error, Kind, Result};
use crate::fetch::latest_of;
use crate::model::{
    AccountId, Actor, FileId, Identity, ProjectId, PublisherId, Receipt, Roles, Strength, Time,
    Workflow,
};
use crate::policy::{self, Act, On};
use crate::store::{StagedRow, Tx, retried};
use crate::texts::NoticeKind;

/// How long a staged publication waits, in seconds.
const WAITS: i64 = 14 * 86_400;

/// How long one that ended is kept for whoever asks what became of it, in seconds.
const KEPT: i64 = 30 * 86_400;

/// How often a staging that lost a race against another is tried again.
const RACES: usize = 5;

/// Staged publications of one project.
const AT_MOST: usize = 50;

impl StagedPublication {
    /// What comes with it when it is let pass, besides its bytes, in words.
    #[must_use]
    pub fn along(&self) -> String {
        let tags = match &*self.tags {
            [] => "with no tag".to_owned(),
            tags => format!("as {}", tags.join(", ")),
        };
        match &self.access {
            Some(access) => format!("{tags}, with {access} access"),
            None => tags,
        }
    }
}

/// The bytes of a staged publication as they come.
pub type StagedBytes = BoxStream<'static, std::io::Result<Bytes>>;

/// Who approves, and what.
pub(super) struct Approved {
    row: StagedRow,
    approver: Actor,
}

/// What the request said besides the archive.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
struct Said {
    tags: Vec<String>,
    /// `public`, `restricted`, or nothing.
    access: Option<String>,
}

/// A workflow as its staged publication keeps it.
#[derive(Serialize, Deserialize)]
struct KeptWorkflow {
    label: String,
    provider: String,
    issuer: String,
    publishers: Vec<String>,
    claims: BTreeMap<String, String>,
}

/// A publication that waits for a person's word.
#[derive(Clone, Debug)]
pub struct StagedPublication {
    /// Its id.
    pub id: String,
    /// The project's name.
    pub project: String,
    /// The version.
    pub version: String,
    /// The file's name.
    pub filename: String,
    /// The identifier that it would have.
    pub purl: String,
    /// Hex.
    pub sha256: String,
    /// Hex.
    pub sha1: String,
    /// Hex.
    pub sha512: String,
    /// Bytes.
    pub size: u64,
    /// Tags that would point to it.
    pub tags: Vec<String>,
    /// `public` or `restricted`, where the sender said so.
    pub access: Option<String>,
    /// What its archive says.
    pub manifest: Manifest,
    /// There is provenance, and it was verified.
    pub attested: bool,
    /// Who sent it: a user name, or a workflow in words.
    pub by: String,
    /// A workflow did.
    pub by_workflow: bool,
    /// What its identity token said, where a workflow sent it.
    pub claims: BTreeMap<String, String>,
    /// When.
    pub created: Time,
    /// Until when it waits.
    pub expires: Time,
    /// `waiting`, `approved`, `rejected` or `expired`; `bytes-lost` where a restore found no bytes of it.
    pub state: String,
}

fn unknown(id: &str) -> Error {
    let shown: String = id.chars().take(80).collect();
    Error::new(
        Kind::NotFound,
        "stage-unknown",
        format!("Nothing is staged as {shown:?}."),
    )
    .remedy("`npm stage list` shows what waits.")
}

fn over(state: &str) -> Error {
    Error::new(
        Kind::Conflict,
        "stage-over",
        format!("This staged version waits no more: {state}."),
    )
    .remedy("Stage it again if it is still wanted.")
}

fn unreadable(source: impl std::fmt::Display) -> Error {
    Error::internal("a staged publication can not be read", source.to_string())
}

fn state_of(row: &StagedRow, now: Time) -> &str {
    match &row.ended {
        Some((_, why)) => why,
        None if row.expires <= now => "expired",
        None => "waiting",
    }
}

fn said(row: &StagedRow) -> Result<Said> {
    serde_json::from_str(&row.form).map_err(unreadable)
}

fn workflow_of(text: &str) -> Result<Workflow> {
    let kept: KeptWorkflow = serde_json::from_str(text).map_err(unreadable)?;
    Ok(Workflow {
        label: kept.label,
        provider: kept.provider.parse().map_err(unreadable)?,
        issuer: kept.issuer,
        publishers: kept.publishers.into_iter().map(PublisherId).collect(),
        claims: kept.claims,
    })
}

fn view(row: StagedRow, now: Time) -> Result<StagedPublication> {
    let said = said(&row)?;
    let state = state_of(&row, now).to_owned();
    let workflow = row.workflow.as_deref().map(workflow_of).transpose()?;
    let by_workflow = workflow.is_some();
    let (by, claims) = match workflow {
        Some(workflow) => (workflow.label, workflow.claims),
        None => (row.account_name.unwrap_or_default(), BTreeMap::new()),
    };
    Ok(StagedPublication {
        id: row.id,
        project: row.project_name,
        version: row.version,
        filename: row.filename,
        purl: row.purl,
        sha256: row.sha256,
        sha1: row.sha1,
        sha512: row.sha512,
        size: row.size,
        tags: said.tags,
        access: said.access,
        manifest: row.manifest,
        attested: row.bundle.is_some(),
        by,
        by_workflow,
        claims,
        created: row.created,
        expires: row.expires,
        state,
    })
}

/// The sender as it was; what it may is asked anew.
fn sender(row: &StagedRow) -> Result<Actor> {
    let (identity, strength) = match (&row.workflow, &row.account, &row.account_name) {
        (Some(text), ..) => (
            Identity::Workflow(Arc::new(workflow_of(text)?)),
            Strength::Workflow,
        ),
        (None, Some(id), Some(name)) => (
            Identity::Account {
                id: id.clone(),
                name: name.clone(),
            },
            Strength::Token,
        ),
        _ => return Err(unreadable("nobody sent it")),
    };
    Ok(Actor {
        identity,
        strength,
        ..Actor::anonymous()
    })
}

/// May this caller answer a staged publication? On a name that is new (no roles), whoever staged it may.
fn answers(
    actor: &Actor,
    row: &StagedRow,
    act: Act,
    project: Option<(Roles, bool)>,
    now: Time,
) -> Result<()> {
    let Some((roles, critical)) = project else {
        policy::may(act, actor, On::Ecosystem(row.ecosystem), now)?;
        return match (&actor.identity, &row.account) {
            (Identity::Account { id, .. }, Some(sender)) if id == sender => Ok(()),
            _ => Err(unknown(&row.id)),
        };
    };
    let on = On::Project {
        ecosystem: row.ecosystem,
        key: &row.project_key,
        roles,
        critical,
    };
    policy::may(act, actor, on, now)
}

impl Registry {
    /// Stages a publication: everything that a publish would check is checked, and it is kept for a person to approve.
    /// The same again leads to the same.
    ///
    /// # Errors
    /// Those of [`Registry::publish`]; `publisher-publishes-only`; `stage-exists` where other bytes of that version wait;
    /// `too-many-staged`; `stage-published` for a version that is out already.
    pub async fn stage_publication(
        &self,
        actor: &Actor,
        staged: Staged,
        form: Form,
    ) -> Result<StagedPublication> {
        let (said, bundle) = match &form {
            Form::Npm(form) => (
                Said {
                    tags: form.tags.clone(),
                    access: form
                        .access
                        .map(|access| format!("{access:?}").to_ascii_lowercase()),
                },
                form.bundle.clone(),
            ),
            _ => (Said::default(), None),
        };
        let ready = self.ready(actor, staged, form, Way::Rehearsed).await?;
        let sha256 = ready.inspected.staged.digests.sha256;
        let bytes = &ready.inspected.staged.bytes;
        self.rehearse(&ready).await?;
        let found = self.inner.blobs.put_artifact(sha256, bytes).await?;
        let row = self.keep_staged(&ready, said, bundle).await?;
        if found == Found::Before {
            // Bytes that lay here unclaimed may have been swept up in between. Now nothing sweeps them.
            self.inner.blobs.put_artifact(sha256, bytes).await?;
        }
        view(row, self.now())
    }

    /// Tries the transaction of the publication, and takes it back.
    async fn rehearse(&self, ready: &Publication) -> Result<()> {
        // Somebody else published or staged at the same moment: what is tried then is tried on what they left.
        retried(RACES, || self.rehearse_once(ready)).await
    }

    async fn rehearse_once(&self, ready: &Publication) -> Result<()> {
        let mut tx = self.inner.store.write().await?;
        let recorded = self.record_publication(&mut tx, ready).await?;
        if recorded.repeated {
            return Err(Error::new(
                Kind::Conflict,
                "stage-published",
                format!("{} is published already, with these bytes.", ready.purl),
            )
            .remedy("There is nothing left to approve."));
        }
        // Dropped, and with it everything that was written.
        Ok(())
    }

    async fn keep_staged(
        &self,
        ready: &Publication,
        said: Said,
        bundle: Option<String>,
    ) -> Result<StagedRow> {
        let (actor, manifest) = (&ready.actor, &ready.inspected.manifest);
        let staged = &ready.inspected.staged;
        let now = self.now();
        let (account, name, workflow, publisher) = match &actor.identity {
            Identity::Account { id, name } => (Some(id.clone()), Some(name.clone()), None, None),
            Identity::Workflow(workflow) => {
                let kept = KeptWorkflow {
                    label: workflow.label.clone(),
                    provider: workflow.provider.as_str().to_owned(),
                    issuer: workflow.issuer.clone(),
                    publishers: workflow.publishers.iter().map(|id| id.0.clone()).collect(),
                    claims: workflow.claims.clone(),
                };
                let text = serde_json::to_string(&kept).map_err(unreadable)?;
                (None, None, Some(text), workflow.publishers.first().cloned())
            }
            _ => {
                return Err(Error::new(
                    Kind::Denied,
                    "account-needed",
                    "Only accounts and workflows stage.",
                )
                .remedy("Publish at once: whoever has the machine needs nobody's approval."));
            }
        };
        let row = StagedRow {
            id: new_id(),
            ecosystem: manifest.ecosystem,
            project_name: manifest.name.clone(),
            project_key: manifest.name_key.to_string(),
            version: manifest.version_canonical.clone(),
            filename: manifest.filename.clone(),
            purl: ready.purl.clone(),
            sha256: staged.digests.sha256.to_string(),
            sha1: staged.digests.sha1_hex().unwrap_or_default(),
            sha512: staged.digests.sha512_hex().unwrap_or_default(),
            size: staged.size,
            manifest: manifest.clone(),
            form: serde_json::to_string(&said).map_err(unreadable)?,
            bundle,
            account,
            account_name: name,
            account_disabled: None,
            workflow,
            publisher,
            created: now,
            expires: now.plus_seconds(WAITS),
            ended: None,
        };
        // The fence is an index: who comes second looks again, and finds what the first one staged.
        retried(RACES, || self.insert_staged(actor, &row)).await
    }

    async fn insert_staged(&self, actor: &Actor, row: &StagedRow) -> Result<StagedRow> {
        let (ecosystem, key, now) = (row.ecosystem, row.project_key.as_str(), row.created);
        let mut tx = self.inner.store.write().await?;
        tx.lock_staging(ecosystem, key).await?;
        // One that waited too long and was not swept yet would stand in the way of the index.
        tx.end_expired_staged_of(&row.purl, now).await?;
        let waiting = tx.staged_on(ecosystem, key).await?;
        let waiting: Vec<StagedRow> = waiting
            .into_iter()
            .filter(|row| row.expires > now)
            .collect();
        if let Some(same) = waiting.iter().find(|other| other.purl == row.purl) {
            // The sender's retry: its first answer was lost.
            let retried = same.sha256 == row.sha256
                && same.form == row.form
                && same.bundle == row.bundle
                && same.account == row.account
                && same.publisher == row.publisher;
            if retried {
                return Ok(same.clone());
            }
            return Err(Error::new(
                Kind::Conflict,
                "stage-exists",
                format!(
                    "{} {} is staged already and waits for an answer ({}).",
                    row.project_name, row.version, same.id
                ),
            )
            .remedy("Approve or reject that one first: `npm stage list`."));
        }
        if waiting.len() >= AT_MOST {
            return Err(Error::new(
                Kind::Limited,
                "too-many-staged",
                format!("{AT_MOST} versions of {} wait already.", row.project_name),
            )
            .remedy("Approve or reject some of them first: `npm stage list`."));
        }
        tx.insert_staged(row).await?;
        let detail = json!({"stage": row.id, "purl": row.purl, "sha256": row.sha256});
        tx.note_event(
            &new_id(),
            now,
            "staged",
            actor,
            row.account.as_ref(),
            detail,
        )
        .await?;
        if let Some(project) = tx.curated_project(ecosystem, key).await? {
            let data = [
                ("who", actor.name()),
                ("project", row.project_name.as_str()),
                ("version", &row.version),
            ];
            self.notify_owners(&mut tx, &project.id, None, NoticeKind::Staged, &data)
                .await?;
        }
        tx.commit().await?;
        Ok(row.clone())
    }

    /// What waits and the caller may see, the newest first.
    ///
    /// # Errors
    /// `account-needed` for others than accounts.
    pub async fn staged_publications(&self, actor: &Actor) -> Result<Vec<StagedPublication>> {
        let now = self.now();
        let Identity::Account { id, .. } = &actor.identity else {
            policy::may(Act::SeeStaged, actor, On::Ecosystem(Ecosystem::Npm), now)?;
            return Err(Error::new(
                Kind::Denied,
                "account-needed",
                "What waits for an approval is shown to accounts.",
            )
            .remedy("Use a token of a person."));
        };
        let rows = self.inner.store.staged_for(id, now).await?;
        let mut shown = Vec::with_capacity(rows.len());
        for row in rows {
            // A token for some projects shows those.
            if self
                .may_do_staged(actor, &row, Act::SeeStaged)
                .await
                .is_ok()
            {
                shown.push(view(row, now)?);
            }
        }
        Ok(shown)
    }

    /// How what waits differs from the newest version that is served: that version, and what differs. `None`: there is
    /// none yet.
    ///
    /// # Errors
    /// Where the database fails.
    pub async fn staged_changes(
        &self,
        staged: &StagedPublication,
    ) -> Result<Option<(String, Vec<Change>)>> {
        let (ecosystem, key) = (staged.manifest.ecosystem, &staged.manifest.name_key);
        let store = &self.inner.store;
        let Some((state, _)) = self.shown_project(ecosystem, key.as_str()).await? else {
            return Ok(None);
        };
        let files = store.files_of(&state.id).await?;
        let Some(newest) = latest_of(ecosystem, &files) else {
            return Ok(None);
        };
        let before = store.manifest(&newest.id).await?;
        let differing = match (before.details.npm(), staged.manifest.details.npm()) {
            (Some(before), Some(after)) => changes(before, after),
            _ => Vec::new(),
        };
        Ok(Some((newest.version.clone(), differing)))
    }

    /// One of them.
    ///
    /// # Errors
    /// `stage-unknown`, also for those who may not see it.
    pub async fn staged_publication(&self, actor: &Actor, id: &str) -> Result<StagedPublication> {
        let row = self.visible_staged(actor, id).await?;
        view(row, self.now())
    }

    /// Its bytes, as long as it waits.
    ///
    /// # Errors
    /// `stage-unknown`, `stage-over`.
    pub async fn staged_bytes(
        &self,
        actor: &Actor,
        id: &str,
    ) -> Result<(StagedPublication, StagedBytes)> {
        let row = self.visible_staged(actor, id).await?;
        // Once it is out, or will never be, the bytes are the published file's business: that may be quarantined or
        // deleted, and must not be had here all the same.
        match state_of(&row, self.now()) {
            "waiting" => {}
            state => return Err(over(state)),
        }
        let bytes = self.bytes_of(&row).await?;
        Ok((view(row, self.now())?, bytes))
    }

    async fn bytes_of(&self, row: &StagedRow) -> Result<StagedBytes> {
        let path = artifact_path(&row.sha256);
        match self.inner.blobs.stream(path.as_ref(), None).await? {
            Some(stream) => Ok(stream
                .map(|piece| piece.map_err(std::io::Error::other))
                .boxed()),
            None => Err(over(state_of(row, self.now()))),
        }
    }

    async fn visible_staged(&self, actor: &Actor, id: &str) -> Result<StagedRow> {
        // Who may see nothing anyway is told so before it is looked for.
        let on = On::Ecosystem(Ecosystem::Npm);
        policy::may(Act::SeeStaged, actor, on, self.now())?;
        let Some(row) = self.inner.store.staged(id).await? else {
            return Err(unknown(id));
        };
        match self.may_do_staged(actor, &row, Act::SeeStaged).await {
            Ok(()) => Ok(row),
            // Whoever has no role there does not learn that there is anything.
            Err(error) if error.code == "role-missing" => Err(unknown(id)),
            Err(error) => Err(error),
        }
    }

    /// Publishes what was staged: all checks once more, then rows, log and documents as in a publish. `sha256` is what
    /// the person was shown.
    ///
    /// # Errors
    /// `stage-unknown`, `stage-over`, `stage-differs`; `session-needed`, `passkey-needed`, `step-up-needed`,
    /// `role-missing`; those of [`Registry::publish`] for the one who staged it.
    pub async fn approve_staged(
        &self,
        actor: &Actor,
        id: &str,
        sha256: Option<&str>,
    ) -> Result<Receipt> {
        let row = self.visible_staged(actor, id).await?;
        // Before anything is read; the transaction asks again.
        self.may_do_staged(actor, &row, Act::ApproveStaged).await?;
        if sha256.is_some_and(|seen| seen != row.sha256) {
            return Err(Error::new(
                Kind::Conflict,
                "stage-differs",
                "The digest that was approved is not that of the staged version.",
            )
            .remedy("Look at it again: it may have been staged anew."));
        }
        let sender = sender(&row)?;
        let repeated = match state_of(&row, self.now()) {
            "waiting" => false,
            // The answer to the first approval was lost.
            "approved" => true,
            state => return Err(over(state)),
        };
        if row.account_disabled.is_some() {
            return Err(Error::new(
                Kind::Denied,
                "account-disabled",
                "The account that staged this version is disabled.",
            )
            .remedy("Reject it, and let somebody else stage it."));
        }
        let stream = self.bytes_of(&row).await?;
        let staged = self
            .stage(&sender, row.ecosystem, &row.filename, stream)
            .await?;
        if staged.digests.sha256.to_string() != row.sha256 {
            return Err(Error::internal(
                "staged bytes are not those of their digest",
                row.id.clone(),
            ));
        }
        let said = said(&row)?;
        let form = Form::Approved {
            tags: said.tags,
            private: said.access.as_deref() == Some("restricted"),
            bundle: row.bundle.clone(),
        };
        let way = match repeated {
            true => Way::Rehearsed,
            false => Way::Approved(Box::new(Approved {
                row,
                approver: actor.clone(),
            })),
        };
        let ready = self.ready(&sender, staged, form, way).await?;
        self.carry_out(ready).await
    }

    /// Ends a staged publication without publishing it. Its bytes are swept.
    ///
    /// # Errors
    /// `stage-unknown`, `stage-over`, `role-missing`.
    pub async fn reject_staged(&self, actor: &Actor, id: &str) -> Result<()> {
        let row = self.visible_staged(actor, id).await?;
        self.may_do_staged(actor, &row, Act::RejectStaged).await?;
        let now = self.now();
        let mut tx = self.inner.store.write().await?;
        self.still_good(&mut tx, actor).await?;
        let account = Self::account_of(actor);
        if !tx.end_staged(id, "rejected", account, now).await? {
            return Err(over(state_of(&row, now)));
        }
        let detail = json!({"stage": row.id, "purl": row.purl, "sha256": row.sha256});
        tx.note_event(&new_id(), now, "stage-rejected", actor, account, detail)
            .await?;
        tx.commit().await
    }

    /// May this caller do this with what waits?
    async fn may_do_staged(&self, actor: &Actor, row: &StagedRow, act: Act) -> Result<()> {
        let account = Self::account_of(actor);
        let found = self
            .inner
            .store
            .managed_project(row.ecosystem, &row.project_key, account)
            .await?;
        let project = found.map(|found| (found.roles, found.critical));
        answers(actor, row, act, project, self.now())
    }

    /// Within the transaction of an approval: may this person still let it pass?
    pub(super) async fn may_approve(
        &self,
        tx: &mut Tx,
        approved: &Approved,
        project: Option<(&ProjectId, bool)>,
    ) -> Result<()> {
        let Approved { row, approver } = approved;
        self.in_good_standing(tx, approver, Act::ApproveStaged, &row.project_key)
            .await?;
        let known = match (project, Self::account_of(approver)) {
            (Some((project, critical)), Some(account)) => {
                Some((tx.roles_of(project, account).await?, critical))
            }
            (Some((_, critical)), None) => Some((Roles::NONE, critical)),
            (None, _) => None,
        };
        answers(approver, row, Act::ApproveStaged, known, self.now())?;
        let project = project.map(|(project, _)| project);
        self.demands_met(tx, approver, project).await
    }

    /// Within the transaction of an approval: the row ends with it, once. `file` is what came of it; none where the same
    /// bytes had been published by another way meanwhile.
    pub(super) async fn end_approved(
        &self,
        tx: &mut Tx,
        approved: &Approved,
        file: Option<&FileId>,
    ) -> Result<()> {
        let Approved { row, approver } = approved;
        let now = self.now();
        let account: Option<&AccountId> = Self::account_of(approver);
        if !tx.end_staged(&row.id, "approved", account, now).await? {
            return Err(over("somebody else answered it meanwhile"));
        }
        if let (Some(account), Some(file)) = (account, file) {
            tx.set_approver(file, account).await?;
        }
        let detail = json!({"stage": row.id, "purl": row.purl, "sha256": row.sha256});
        tx.note_event(&new_id(), now, "stage-approved", approver, account, detail)
            .await
    }

    /// Ends what nobody answered in time. Part of the chores.
    ///
    /// # Errors
    /// Where the database fails.
    pub async fn expire_staged(&self) -> Result<u64> {
        let now = self.now();
        self.inner
            .store
            .end_expired_staged(now, now.plus_seconds(-KEPT))
            .await
    }
}
