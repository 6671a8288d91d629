//! Events, the outbox, the leaves and what the heartbeat writes.

use std::collections::HashMap;

use countersign_trust::digest::Sha256;
use serde::{Deserialize, Serialize};
use sqlx::any::{AnyQueryResult, AnyRow};

use super::{
    Store, Tx, built, failed, maybe_text, maybe_time, maybe_unsigned, places, signed, text, time,
    unsigned, value_rows,
};
use crate::error::{Error, Kind, Result};
use crate::model::{
    AccountId, Actor, EventId, FileId, Identity, ProjectId, ProjectStatus, Strength, Time,
};

/// An event to write, with the facts of its leaf.
pub(crate) struct NewEvent<'a> {
    pub(crate) id: &'a EventId,
    pub(crate) at: Time,
    pub(crate) project: Option<&'a ProjectId>,
    pub(crate) file: Option<&'a FileId>,
    pub(crate) actor: &'a Actor,
    pub(crate) account: Option<&'a AccountId>,
    pub(crate) detail: serde_json::Value,
    pub(crate) actor_salt: [u8; 32],
    pub(crate) account_salt: [u8; 32],
    pub(crate) leaf: LeafFacts,
}

/// What the leaf of an event will say, besides its place in the log and in its project's chain.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct LeafFacts {
    /// The leaf kind's word.
    pub kind: String,
    /// The subject's purl, for kinds that have one.
    pub subject: Option<String>,
    /// `(algorithm, hex)` in the order of the grammar; empty for kinds without bytes.
    pub digests: Vec<(String, String)>,
    /// Size in bytes.
    pub size: Option<u64>,
    /// Which way something changed.
    pub change: Option<String>,
    /// The role concerned.
    pub role: Option<String>,
    /// Commitment to the actor.
    pub actor: Option<Sha256>,
    /// Commitment to an affected account.
    pub account: Option<Sha256>,
    /// SHA-256 of attestations, hex, ascending.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub attestations: Vec<String>,
    /// For a commitment to the map: how many leaves it covers, and its root.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub map: Option<(u64, Sha256)>,
}

/// An event that waits for its place in the log.
#[derive(Clone, Debug)]
pub struct OutboxRow {
    /// The event.
    pub event: EventId,
    /// When it happened.
    pub at: Time,
    /// Its project.
    pub project: Option<ProjectId>,
    /// Its file.
    pub file: Option<FileId>,
    /// The facts of its leaf.
    pub leaf: LeafFacts,
    /// The project's next sequence number before this batch.
    pub sequence: Option<u64>,
    /// The project's last leaf before this batch.
    pub previous: Option<u64>,
}

/// A leaf with its place, committed but perhaps not yet under a served checkpoint.
#[derive(Clone, Debug)]
pub struct NumberedLeaf {
    /// Index in the shard.
    pub index: u64,
    /// The event.
    pub event: EventId,
    /// Its project.
    pub project: Option<ProjectId>,
    /// Its file, for leaves that publish one.
    pub file: Option<FileId>,
    /// The leaf kind's word.
    pub kind: String,
    /// The subject's purl.
    pub subject: String,
    /// When it happened.
    pub at: Time,
    /// The leaf's text.
    pub body: String,
    /// Its Merkle leaf hash.
    pub hash: Sha256,
}

/// The served head of one shard.
#[derive(Clone, Debug)]
pub struct Head {
    /// The shard.
    pub shard: u64,
    /// The log's origin line.
    pub origin: String,
    /// Served size.
    pub size: u64,
    /// Served root.
    pub root: Sha256,
    /// The served checkpoint, a signed note.
    pub checkpoint: String,
    /// When it was signed.
    pub signed: Time,
    /// When the shard was closed for ever.
    pub frozen: Option<Time>,
}

/// What the heartbeat needs of a project to render it.
#[derive(Clone, Debug)]
pub struct ProjectState {
    /// Its id.
    pub id: ProjectId,
    /// Its ecosystem's word.
    pub ecosystem: String,
    /// Name as written.
    pub name: String,
    /// Normalised name.
    pub key: String,
    /// Status.
    pub status: ProjectStatus,
    /// Why.
    pub status_reason: Option<String>,
    /// Its serial after this write.
    pub serial: u64,
    /// Newest version, as shown in lists.
    pub latest: String,
    /// When it was founded.
    pub created: Time,
    /// When it last gained a file.
    pub updated: Time,
    /// Since when only those with a role see it.
    pub private: Option<Time>,
}

/// The pointer to a rendered document.
#[derive(Clone, Debug)]
pub struct DocumentRow {
    /// Path of the document, such as `pypi/simple/NAME`.
    pub path: String,
    /// Its project.
    pub project: ProjectId,
    /// SHA-256 of its bytes, hex.
    pub digest: String,
    /// Its size.
    pub size: u64,
    /// The project's serial it shows.
    pub serial: u64,
    /// Under which settings it was rendered: [`crate::Settings::rendered_for`].
    pub rendered_for: String,
}

fn actor_columns(actor: &Actor) -> (&'static str, Option<String>) {
    match &actor.identity {
        Identity::Anonymous => ("anonymous", None),
        Identity::Account { id, .. } => ("account", Some(id.0.clone())),
        // The first publisher that matched; the claims stand with the token and with each file.
        Identity::Workflow(workflow) => (
            "workflow",
            workflow.publishers.first().map(|id| id.0.clone()),
        ),
        Identity::System { name } => ("system", Some((*name).to_owned())),
    }
}

/// The token or session by which somebody acts.
fn means(actor: &Actor) -> Option<String> {
    let session = actor.session.as_ref().map(|session| session.id.0.clone());
    actor.credential.as_ref().map(|id| id.0.clone()).or(session)
}

fn strength_word(strength: Strength) -> &'static str {
    match strength {
        Strength::None => "none",
        Strength::Token => "token",
        Strength::Workflow => "workflow",
        Strength::Phishproof => "phishproof",
        Strength::Operator => "operator",
    }
}

pub(super) fn head(row: &AnyRow) -> Result<Head> {
    Ok(Head {
        shard: unsigned(row, "shard")?,
        origin: text(row, "origin")?,
        size: unsigned(row, "size")?,
        root: hash(row, "root")?,
        checkpoint: text(row, "checkpoint")?,
        signed: time(row, "signed_at")?,
        frozen: maybe_time(row, "frozen_at")?,
    })
}

pub(super) fn hash(row: &AnyRow, column: &str) -> Result<Sha256> {
    text(row, column)?
        .parse()
        .map_err(|_| Error::internal("a stored digest is malformed", column.to_owned()))
}

/// Whether a compare-and-swap of the log's head found it where it was.
fn swapped(done: &AnyQueryResult) -> Result<()> {
    if done.rows_affected() == 1 {
        return Ok(());
    }
    Err(Error::new(
        Kind::Conflict,
        super::WRITE_CONFLICT,
        "Another countersignd moved the log's head first.",
    ))
}

fn numbered(row: &AnyRow) -> Result<NumberedLeaf> {
    Ok(NumberedLeaf {
        index: unsigned(row, "idx")?,
        event: EventId(text(row, "event_id")?),
        project: maybe_text(row, "project_id")?.map(ProjectId),
        file: maybe_text(row, "file_id")?.map(FileId),
        kind: text(row, "kind")?,
        subject: text(row, "subject")?,
        at: time(row, "at")?,
        body: text(row, "body")?,
        hash: hash(row, "hash")?,
    })
}

pub(super) const PROJECT_STATE: &str = "id, id AS project_id, ecosystem, name, key, status, status_reason, serial, latest, created_at, updated_at, private_at";

pub(super) fn project_state(row: &AnyRow) -> Result<ProjectState> {
    Ok(ProjectState {
        id: ProjectId(text(row, "id")?),
        ecosystem: text(row, "ecosystem")?,
        name: text(row, "name")?,
        key: text(row, "key")?,
        status: super::parsed(row, "status")?,
        status_reason: maybe_text(row, "status_reason")?,
        serial: unsigned(row, "serial")?,
        latest: text(row, "latest")?,
        created: time(row, "created_at")?,
        updated: time(row, "updated_at")?,
        private: super::maybe_time(row, "private_at")?,
    })
}

impl Store {
    /// The head of a shard.
    pub(crate) async fn head(&self, shard: u64) -> Result<Option<Head>> {
        let row = sqlx::query("SELECT shard, origin, size, root, checkpoint, signed_at, frozen_at FROM log_head WHERE shard = $1")
            .bind(signed(shard))
            .fetch_optional(&self.near)
            .await
            .map_err(failed)?;
        row.as_ref().map(head).transpose()
    }

    /// Every shard's head, oldest first.
    pub(crate) async fn heads(&self) -> Result<Vec<Head>> {
        let rows = sqlx::query("SELECT shard, origin, size, root, checkpoint, signed_at, frozen_at FROM log_head ORDER BY shard")
            .fetch_all(&self.read)
            .await
            .map_err(failed)?;
        rows.iter().map(head).collect()
    }

    /// Up to `limit` leaves of a shard from index `from` on.
    pub(crate) async fn leaves_from(
        &self,
        shard: u64,
        from: u64,
        limit: u64,
    ) -> Result<Vec<NumberedLeaf>> {
        let rows = sqlx::query(
            "SELECT l.idx, l.event_id, l.project_id, e.file_id, l.kind, l.subject, l.at, l.body, l.hash FROM leaves l \
             LEFT JOIN events e ON e.id = l.event_id WHERE l.shard = $1 AND l.idx >= $2 ORDER BY l.idx LIMIT $3",
        )
        .bind(signed(shard))
        .bind(signed(from))
        .bind(signed(limit))
        .fetch_all(&self.near)
        .await
        .map_err(failed)?;
        rows.iter().map(numbered).collect()
    }

    /// The state of some projects, without raising their serials.
    pub(crate) async fn project_states(&self, projects: &[ProjectId]) -> Result<Vec<ProjectState>> {
        let mut states = Vec::with_capacity(projects.len());
        for chunk in projects.chunks(1_000) {
            let sql = format!(
                "SELECT {PROJECT_STATE} FROM projects WHERE id IN ({})",
                places(chunk.len(), 1)
            );
            let mut query = sqlx::query(built(sql));
            for project in chunk {
                query = query.bind(project.0.clone());
            }
            for row in &query.fetch_all(&self.near).await.map_err(failed)? {
                states.push(project_state(row)?);
            }
        }
        Ok(states)
    }

    /// Committed events that nobody is served yet: those in the outbox, and those that have a leaf beyond the head
    /// because a beat, of whichever process, did not end.
    pub(crate) async fn backlog(&self) -> Result<u64> {
        let waiting = self.count("SELECT count(*) AS n FROM outbox").await?;
        let unserved = self
            .count(
                "SELECT count(*) AS n FROM log_head h JOIN leaves l ON l.shard = h.shard AND l.idx >= h.size \
                 WHERE h.frozen_at IS NULL",
            )
            .await?;
        Ok(u64::try_from(waiting + unserved).unwrap_or(0))
    }

    /// The leaf of an event, where it has one.
    pub(crate) async fn leaf_of_event(&self, event: &EventId) -> Result<Option<(u64, u64)>> {
        let row = sqlx::query("SELECT shard, idx FROM leaves WHERE event_id = $1")
            .bind(event.0.clone())
            .fetch_optional(&self.near)
            .await
            .map_err(failed)?;
        row.map(|row| Ok((unsigned(&row, "shard")?, unsigned(&row, "idx")?)))
            .transpose()
    }
}

/// A project whose index document is to be rendered and signed anew.
#[derive(Clone, Debug)]
pub(crate) struct DueDocument {
    pub(crate) state: ProjectState,
    /// Is there a document at all? Not of what was never seen, or is removed.
    pub(crate) visible: bool,
}

impl Store {
    /// The documents that have been due for longest.
    pub(crate) async fn documents_due(&self, limit: u64) -> Result<Vec<DueDocument>> {
        let rows = sqlx::query(built(format!(
            "SELECT {PROJECT_STATE}, CASE WHEN removed_at IS NULL AND visible_at IS NOT NULL THEN 1 ELSE 0 END AS shown \
             FROM projects JOIN documents_due ON documents_due.project_id = projects.id ORDER BY since_at, id LIMIT $1"
        )))
        .bind(signed(limit))
        .fetch_all(&self.near)
        .await
        .map_err(failed)?;
        rows.iter()
            .map(|row| {
                Ok(DueDocument {
                    state: project_state(row)?,
                    visible: unsigned(row, "shown")? == 1,
                })
            })
            .collect()
    }

    /// How many are due.
    pub(crate) async fn documents_due_count(&self) -> Result<u64> {
        let count = self
            .count("SELECT count(*) AS n FROM documents_due")
            .await?;
        Ok(u64::try_from(count).unwrap_or(0))
    }

    /// Notes as due every document of an ecosystem that is missing, shows another serial, was rendered under other settings,
    /// or is not what TUF lists. How many there are. `document` is the last part of their targets' paths.
    pub(crate) async fn note_outdated_documents(
        &self,
        ecosystem: countersign_formats::Ecosystem,
        document: &str,
        rendered_for: &str,
        now: Time,
    ) -> Result<u64> {
        let mut tx = self.write().await?;
        let done = sqlx::query(
            "INSERT INTO documents_due (project_id, since_at) SELECT p.id, $1 FROM projects p \
             LEFT JOIN documents d ON d.path = p.ecosystem || '/simple/' || p.key AND d.rendered_for = $2 \
             LEFT JOIN tuf_targets t ON t.repository = p.ecosystem AND t.path = p.ecosystem || '/' || p.key || '/' || $3 \
             AND t.superseded_at IS NULL WHERE p.ecosystem = $4 AND CASE \
             WHEN p.removed_at IS NULL AND p.visible_at IS NOT NULL THEN d.serial IS NULL OR d.serial <> p.serial \
             OR t.digest IS NULL OR t.digest <> d.digest ELSE t.digest IS NOT NULL END \
             ON CONFLICT (project_id) DO NOTHING",
        )
        .bind(now.0)
        .bind(rendered_for.to_owned())
        .bind(document.to_owned())
        .bind(ecosystem.as_str())
        .execute(&mut *tx.inner)
        .await
        .map_err(failed)?;
        tx.commit().await?;
        Ok(done.rows_affected())
    }
}

impl Tx {
    /// Notes documents as due.
    pub(crate) async fn note_due(&mut self, projects: &[ProjectId], now: Time) -> Result<()> {
        for project in projects {
            sqlx::query(
                "INSERT INTO documents_due (project_id, since_at) VALUES ($1, $2) ON CONFLICT (project_id) DO NOTHING",
            )
            .bind(project.0.clone())
            .bind(now.0)
            .execute(&mut *self.inner)
            .await
            .map_err(failed)?;
        }
        Ok(())
    }

    /// These are due no longer.
    pub(crate) async fn settle_documents(&mut self, projects: &[ProjectId]) -> Result<()> {
        for chunk in projects.chunks(1_000) {
            let sql = format!(
                "DELETE FROM documents_due WHERE project_id IN ({})",
                places(chunk.len(), 1)
            );
            let mut query = sqlx::query(built(sql));
            for project in chunk {
                query = query.bind(project.0.clone());
            }
            query.execute(&mut *self.inner).await.map_err(failed)?;
        }
        Ok(())
    }

    /// The state of projects, which nobody else changes until this transaction ends.
    pub(crate) async fn lock_projects(
        &mut self,
        projects: &[ProjectId],
    ) -> Result<Vec<ProjectState>> {
        let mut states = Vec::with_capacity(projects.len());
        for chunk in projects.chunks(1_000) {
            let sql = format!(
                "UPDATE projects SET serial = serial WHERE id IN ({}) RETURNING {PROJECT_STATE}",
                places(chunk.len(), 1)
            );
            let mut query = sqlx::query(built(sql));
            for project in chunk {
                query = query.bind(project.0.clone());
            }
            for row in &query.fetch_all(&mut *self.inner).await.map_err(failed)? {
                states.push(project_state(row)?);
            }
        }
        Ok(states)
    }

    /// Writes an event and puts it in the outbox.
    pub(crate) async fn record_event(&mut self, event: &NewEvent<'_>) -> Result<()> {
        let (actor_kind, actor_id) = actor_columns(event.actor);
        sqlx::query(
            "INSERT INTO events (id, at, kind, subject, project_id, file_id, actor_kind, actor_id, strength, account_id, detail, \
             actor_salt, account_salt, credential_id) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14)",
        )
        .bind(event.id.0.clone())
        .bind(event.at.0)
        .bind(event.leaf.kind.clone())
        .bind(event.leaf.subject.clone().unwrap_or_default())
        .bind(event.project.map(|id| id.0.clone()))
        .bind(event.file.map(|id| id.0.clone()))
        .bind(actor_kind)
        .bind(actor_id)
        .bind(strength_word(event.actor.strength))
        .bind(event.account.map(|id| id.0.clone()))
        .bind(event.detail.to_string())
        .bind(hex::encode(event.actor_salt))
        .bind(event.account.map(|_| hex::encode(event.account_salt)))
        .bind(means(event.actor))
        .execute(&mut *self.inner)
        .await
        .map_err(failed)?;
        let leaf = serde_json::to_string(&event.leaf)
            .map_err(|source| Error::internal("leaf facts can not be written", source))?;
        sqlx::query(
            "INSERT INTO outbox (event_id, project_id, file_id, leaf) VALUES ($1, $2, $3, $4)",
        )
        .bind(event.id.0.clone())
        .bind(event.project.map(|id| id.0.clone()))
        .bind(event.file.map(|id| id.0.clone()))
        .bind(leaf)
        .execute(&mut *self.inner)
        .await
        .map_err(failed)?;
        Ok(())
    }

    /// Writes an event that gets no leaf.
    pub(crate) async fn note_event(
        &mut self,
        id: &str,
        at: Time,
        kind: &str,
        actor: &Actor,
        account: Option<&AccountId>,
        detail: serde_json::Value,
    ) -> Result<()> {
        let (actor_kind, actor_id) = actor_columns(actor);
        sqlx::query(
            "INSERT INTO events (id, at, kind, subject, actor_kind, actor_id, strength, account_id, detail, credential_id) \
             VALUES ($1, $2, $3, '', $4, $5, $6, $7, $8, $9)",
        )
        .bind(id.to_owned())
        .bind(at.0)
        .bind(kind.to_owned())
        .bind(actor_kind)
        .bind(actor_id)
        .bind(strength_word(actor.strength))
        .bind(account.map(|id| id.0.clone()))
        .bind(detail.to_string())
        .bind(means(actor))
        .execute(&mut *self.inner)
        .await
        .map_err(failed)?;
        Ok(())
    }

    /// The next events without a place, oldest first, each with its project's place in its own chain.
    pub(crate) async fn outbox(&mut self, limit: u64) -> Result<Vec<OutboxRow>> {
        let rows = sqlx::query(
            "SELECT o.event_id, e.at, o.project_id, o.file_id, o.leaf, p.sequence, p.last_leaf FROM outbox o \
             JOIN events e ON e.id = o.event_id LEFT JOIN projects p ON p.id = o.project_id ORDER BY o.event_id LIMIT $1",
        )
        .bind(signed(limit))
        .fetch_all(&mut *self.inner)
        .await
        .map_err(failed)?;
        rows.iter()
            .map(|row| {
                Ok(OutboxRow {
                    event: EventId(text(row, "event_id")?),
                    at: time(row, "at")?,
                    project: maybe_text(row, "project_id")?.map(ProjectId),
                    file: maybe_text(row, "file_id")?.map(FileId),
                    leaf: serde_json::from_str(&text(row, "leaf")?).map_err(|source| {
                        Error::internal("stored leaf facts are malformed", source)
                    })?,
                    sequence: maybe_unsigned(row, "sequence")?,
                    previous: maybe_unsigned(row, "last_leaf")?,
                })
            })
            .collect()
    }

    /// Gives leaves their places, moves the projects' chains on, empties the outbox of them. The primary key of
    /// `leaves` refuses a second writer's numbers: `write-conflict`.
    pub(crate) async fn number_leaves(
        &mut self,
        shard: u64,
        leaves: &[NumberedLeaf],
        chains: &HashMap<ProjectId, (u64, u64)>,
    ) -> Result<()> {
        for chunk in leaves.chunks(1_000) {
            let sql = format!(
                "INSERT INTO leaves (shard, idx, event_id, project_id, kind, subject, at, body, hash) VALUES {}",
                value_rows(chunk.len(), 9, 1)
            );
            let mut query = sqlx::query(built(sql));
            for leaf in chunk {
                query = query
                    .bind(signed(shard))
                    .bind(signed(leaf.index))
                    .bind(leaf.event.0.clone())
                    .bind(leaf.project.as_ref().map(|id| id.0.clone()))
                    .bind(leaf.kind.clone())
                    .bind(leaf.subject.clone())
                    .bind(leaf.at.0)
                    .bind(leaf.body.clone())
                    .bind(leaf.hash.to_string());
            }
            query.execute(&mut *self.inner).await.map_err(failed)?;
            let sql = format!(
                "DELETE FROM outbox WHERE event_id IN ({})",
                places(chunk.len(), 1)
            );
            let mut query = sqlx::query(built(sql));
            for leaf in chunk {
                query = query.bind(leaf.event.0.clone());
            }
            query.execute(&mut *self.inner).await.map_err(failed)?;
        }
        let chains: Vec<_> = chains.iter().collect();
        for chunk in chains.chunks(1_000) {
            let sql = format!(
                "UPDATE projects SET sequence = v.column2, last_leaf = v.column3 FROM (VALUES {}) AS v WHERE projects.id = v.column1",
                value_rows(chunk.len(), 3, 1)
            );
            let mut query = sqlx::query(built(sql));
            for (project, (sequence, last)) in chunk {
                query = query
                    .bind(project.0.clone())
                    .bind(signed(*sequence))
                    .bind(signed(*last));
            }
            query.execute(&mut *self.inner).await.map_err(failed)?;
        }
        Ok(())
    }

    /// Opens a shard.
    pub(crate) async fn insert_head(&mut self, head: &Head) -> Result<()> {
        sqlx::query("INSERT INTO log_head (shard, origin, size, root, checkpoint, signed_at) VALUES ($1, $2, $3, $4, $5, $6)")
            .bind(signed(head.shard))
            .bind(head.origin.clone())
            .bind(signed(head.size))
            .bind(head.root.to_string())
            .bind(head.checkpoint.clone())
            .bind(head.signed.0)
            .execute(&mut *self.inner)
            .await
            .map_err(failed)?;
        Ok(())
    }

    /// Moves a shard's head on, if it still stands at `from`: the compare-and-swap that makes two leaders harmless.
    pub(crate) async fn swap_head(&mut self, from: u64, to: &Head) -> Result<()> {
        let done = sqlx::query(
            "UPDATE log_head SET size = $3, root = $4, checkpoint = $5, signed_at = $6 WHERE shard = $1 AND size = $2 AND frozen_at IS NULL",
        )
        .bind(signed(to.shard))
        .bind(signed(from))
        .bind(signed(to.size))
        .bind(to.root.to_string())
        .bind(to.checkpoint.clone())
        .bind(to.signed.0)
        .execute(&mut *self.inner)
        .await
        .map_err(failed)?;
        swapped(&done)
    }

    /// Gives the same tree a checkpoint with other cosignatures, if it still is what is shown.
    pub(crate) async fn swap_checkpoint(&mut self, shown: &Head, checkpoint: &str) -> Result<()> {
        let done = sqlx::query(
            "UPDATE log_head SET checkpoint = $4 WHERE shard = $1 AND size = $2 AND checkpoint = $3 AND frozen_at IS NULL",
        )
        .bind(signed(shown.shard))
        .bind(signed(shown.size))
        .bind(shown.checkpoint.clone())
        .bind(checkpoint.to_owned())
        .execute(&mut *self.inner)
        .await
        .map_err(failed)?;
        swapped(&done)
    }

    /// Turns staged files live at their leaves.
    pub(crate) async fn files_live(
        &mut self,
        shard: u64,
        files: &[(FileId, u64)],
        now: Time,
    ) -> Result<()> {
        for chunk in files.chunks(1_000) {
            let sql = format!(
                "UPDATE files SET leaf = v.column2, leaf_shard = $2, live_at = $1, \
                 state = CASE state WHEN 'staged' THEN 'live' ELSE state END FROM (VALUES {}) AS v WHERE files.id = v.column1",
                value_rows(chunk.len(), 2, 3)
            );
            let mut query = sqlx::query(built(sql)).bind(now.0).bind(signed(shard));
            for (file, leaf) in chunk {
                query = query.bind(file.0.clone()).bind(signed(*leaf));
            }
            query.execute(&mut *self.inner).await.map_err(failed)?;
        }
        Ok(())
    }

    /// Raises the serials of projects whose documents change now and returns their state. Locks their rows.
    pub(crate) async fn raise_serials(
        &mut self,
        projects: &[ProjectId],
        now: Time,
        visible: bool,
    ) -> Result<Vec<ProjectState>> {
        let mut states = Vec::with_capacity(projects.len());
        for chunk in projects.chunks(1_000) {
            let sql = format!(
                "UPDATE projects SET serial = serial + 1, updated_at = CASE $2 WHEN 1 THEN $1 ELSE updated_at END, \
                 visible_at = CASE $2 WHEN 1 THEN COALESCE(visible_at, $1) ELSE visible_at END \
                 WHERE id IN ({}) RETURNING {PROJECT_STATE}",
                places(chunk.len(), 3)
            );
            let mut query = sqlx::query(built(sql)).bind(now.0).bind(i64::from(visible));
            for project in chunk {
                query = query.bind(project.0.clone());
            }
            for row in &query.fetch_all(&mut *self.inner).await.map_err(failed)? {
                states.push(project_state(row)?);
            }
        }
        Ok(states)
    }

    /// Sets what lists show of projects: newest version and its summary.
    pub(crate) async fn set_latest(
        &mut self,
        projects: &[(ProjectId, String, String)],
    ) -> Result<()> {
        for chunk in projects.chunks(1_000) {
            let sql = format!(
                "UPDATE projects SET latest = v.column2, summary = v.column3 FROM (VALUES {}) AS v WHERE projects.id = v.column1",
                value_rows(chunk.len(), 3, 1)
            );
            let mut query = sqlx::query(built(sql));
            for (project, latest, summary) in chunk {
                query = query
                    .bind(project.0.clone())
                    .bind(latest.clone())
                    .bind(summary.clone());
            }
            query.execute(&mut *self.inner).await.map_err(failed)?;
        }
        Ok(())
    }

    /// Forgets where a project's documents are: they no longer show what is so, and readers render them anew until the next
    /// beat did.
    pub(crate) async fn drop_documents(&mut self, project: &ProjectId, now: Time) -> Result<()> {
        self.note_due(std::slice::from_ref(project), now).await?;
        sqlx::query("DELETE FROM documents WHERE project_id = $1")
            .bind(project.0.clone())
            .execute(&mut *self.inner)
            .await
            .map_err(failed)?;
        self.mark_withheld().await
    }

    /// Moves the mark by which other processes see that their memory may be wrong.
    pub(crate) async fn mark_withheld(&mut self) -> Result<()> {
        sqlx::query(
            "INSERT INTO instance (key, value) VALUES ('withheld', '1') ON CONFLICT (key) DO UPDATE \
             SET value = CAST(CAST(instance.value AS BIGINT) + 1 AS TEXT)",
        )
        .execute(&mut *self.inner)
        .await
        .map_err(failed)?;
        Ok(())
    }

    /// Points the documents' paths at their newest bytes. What was rendered again to the same bytes keeps its time.
    pub(crate) async fn point_documents(
        &mut self,
        documents: &[DocumentRow],
        now: Time,
    ) -> Result<()> {
        for chunk in documents.chunks(1_000) {
            let sql = format!(
                "INSERT INTO documents (path, project_id, digest, size, serial, rendered_at, rendered_for) VALUES {} ON CONFLICT (path) DO UPDATE \
                 SET rendered_at = CASE WHEN documents.digest = excluded.digest THEN documents.rendered_at ELSE excluded.rendered_at END, \
                 digest = excluded.digest, size = excluded.size, serial = excluded.serial, \
                 rendered_for = excluded.rendered_for",
                value_rows(chunk.len(), 7, 1)
            );
            let mut query = sqlx::query(built(sql));
            for document in chunk {
                query = query
                    .bind(document.path.clone())
                    .bind(document.project.0.clone())
                    .bind(document.digest.clone())
                    .bind(signed(document.size))
                    .bind(signed(document.serial))
                    .bind(now.0)
                    .bind(document.rendered_for.clone());
            }
            query.execute(&mut *self.inner).await.map_err(failed)?;
        }
        Ok(())
    }
}
