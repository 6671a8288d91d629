//! What `restore` and `doctor` ask of the rows, and what `restore` mends in them.

use std::collections::HashMap;

use countersign_formats::Ecosystem;
use sqlx::Row;

use super::{
    Backend, Store, Tx, built, failed, maybe_unsigned, number, places, signed, text, unsigned,
};
use crate::error::Result;
use crate::model::{EventId, FileId, FileState, ProjectId, ReleaseId, Time};

/// A file's row as it is held against its leaf and its bytes.
#[derive(Clone, Debug)]
pub(crate) struct FileCheck {
    pub(crate) id: FileId,
    pub(crate) project: ProjectId,
    pub(crate) identifier: String,
    pub(crate) filename: String,
    pub(crate) purl: String,
    pub(crate) sha256: String,
    pub(crate) size: u64,
    pub(crate) state: FileState,
    pub(crate) leaf: Option<u64>,
    pub(crate) leaf_shard: Option<u64>,
}

/// Where the publication of an identifier stands in the log.
#[derive(Clone, Debug)]
pub(crate) struct PublishedLeaf {
    pub(crate) event: EventId,
    pub(crate) shard: u64,
    pub(crate) index: u64,
    pub(crate) at: Time,
    /// The log says later that it was deleted or withheld.
    pub(crate) withdrawn: bool,
    /// SHA-256 of the attestations that it names, hex.
    pub(crate) attestations: Vec<String>,
}

const CHECK: &str = "SELECT f.id, f.project_id, f.identifier, f.filename, f.purl, f.sha256, f.size, f.state, f.leaf, f.leaf_shard FROM files f";

fn check(row: &sqlx::any::AnyRow) -> Result<FileCheck> {
    Ok(FileCheck {
        id: FileId(text(row, "id")?),
        project: ProjectId(text(row, "project_id")?),
        identifier: text(row, "identifier")?,
        filename: text(row, "filename")?,
        purl: text(row, "purl")?,
        sha256: text(row, "sha256")?,
        size: unsigned(row, "size")?,
        state: super::parsed(row, "state")?,
        leaf: maybe_unsigned(row, "leaf")?,
        leaf_shard: maybe_unsigned(row, "leaf_shard")?,
    })
}

impl Store {
    /// The number of the log that is written: the one whose key `serve` needs.
    ///
    /// # Errors
    /// Where the database can not be read.
    pub async fn newest_shard(&self) -> Result<Option<u64>> {
        if self.is_empty().await? {
            return Ok(None);
        }
        let row = sqlx::query("SELECT max(shard) AS n FROM log_head")
            .fetch_one(&self.read)
            .await
            .map_err(failed)?;
        maybe_unsigned(&row, "n")
    }

    /// Digests of identifiers, by identifier.
    pub(crate) async fn identifier_digests(
        &self,
        identifiers: &[String],
    ) -> Result<HashMap<String, String>> {
        let mut digests = HashMap::with_capacity(identifiers.len());
        for chunk in identifiers.chunks(1_000) {
            let sql = format!(
                "SELECT identifier, sha256 FROM identifiers WHERE identifier IN ({})",
                places(chunk.len(), 1)
            );
            let mut query = sqlx::query(built(sql));
            for identifier in chunk {
                query = query.bind(identifier.clone());
            }
            for row in &query.fetch_all(&self.read).await.map_err(failed)? {
                digests.insert(text(row, "identifier")?, text(row, "sha256")?);
            }
        }
        Ok(digests)
    }

    /// Files by identifier.
    pub(crate) async fn files_by_identifier(
        &self,
        identifiers: &[String],
    ) -> Result<Vec<FileCheck>> {
        let mut files = Vec::new();
        for chunk in identifiers.chunks(1_000) {
            let sql = format!("{CHECK} WHERE f.identifier IN ({})", places(chunk.len(), 1));
            let mut query = sqlx::query(built(sql));
            for identifier in chunk {
                query = query.bind(identifier.clone());
            }
            for row in &query.fetch_all(&self.read).await.map_err(failed)? {
                files.push(check(row)?);
            }
        }
        Ok(files)
    }

    /// Files that are not removed, by id, after one.
    pub(crate) async fn files_after(&self, after: &str, limit: u64) -> Result<Vec<FileCheck>> {
        let rows = sqlx::query(built(format!(
            "{CHECK} WHERE f.id > $1 AND f.state <> 'removed' ORDER BY f.id LIMIT $2"
        )))
        .bind(after.to_owned())
        .bind(signed(limit))
        .fetch_all(&self.read)
        .await
        .map_err(failed)?;
        rows.iter().map(check).collect()
    }

    /// Live files whose leaf is not there, not served, or another's.
    pub(crate) async fn live_without_leaf(&self) -> Result<Vec<FileCheck>> {
        let rows = sqlx::query(built(format!(
            "{CHECK} LEFT JOIN leaves l ON l.shard = f.leaf_shard AND l.idx = f.leaf LEFT JOIN log_head h ON h.shard = f.leaf_shard \
             WHERE f.state = 'live' AND (l.idx IS NULL OR h.size IS NULL OR h.size <= f.leaf OR l.kind <> 'file-published' \
             OR l.subject <> f.purl) ORDER BY f.id LIMIT 100000"
        )))
        .fetch_all(&self.read)
        .await
        .map_err(failed)?;
        rows.iter().map(check).collect()
    }

    /// Names of files whose identifier is not claimed for their digest.
    pub(crate) async fn unclaimed_files(&self, limit: u64) -> Result<Vec<String>> {
        let rows = sqlx::query(
            "SELECT f.filename FROM files f LEFT JOIN identifiers i ON i.identifier = f.identifier \
             WHERE i.identifier IS NULL OR i.sha256 <> f.sha256 OR i.purl <> f.purl ORDER BY f.id LIMIT $1",
        )
        .bind(signed(limit))
        .fetch_all(&self.read)
        .await
        .map_err(failed)?;
        rows.iter().map(|row| text(row, "filename")).collect()
    }

    /// When the oldest event that waits for the log happened, and how many wait.
    pub(crate) async fn oldest_waiting(&self) -> Result<Option<(Time, u64)>> {
        let row = sqlx::query(
            "SELECT min(e.at) AS oldest, count(*) AS n FROM outbox o JOIN events e ON e.id = o.event_id",
        )
        .fetch_one(&self.read)
        .await
        .map_err(failed)?;
        let oldest = row.try_get::<Option<i64>, _>("oldest").map_err(failed)?;
        let waiting = unsigned(&row, "n")?;
        Ok(oldest.map(|at| (Time(at), waiting)))
    }

    /// The newest time in the events.
    pub(crate) async fn newest_event(&self) -> Result<Option<Time>> {
        let row = sqlx::query("SELECT max(at) AS newest FROM events")
            .fetch_one(&self.read)
            .await
            .map_err(failed)?;
        Ok(row
            .try_get::<Option<i64>, _>("newest")
            .map_err(failed)?
            .map(Time))
    }

    /// The database's own clock; on SQLite that is the machine's, to the second.
    pub(crate) async fn clock(&self) -> Result<Time> {
        let sql = match self.backend {
            Backend::Sqlite => "SELECT CAST(strftime('%s', 'now') AS INTEGER) * 1000000 AS n",
            Backend::Postgres => {
                "SELECT CAST(extract(epoch FROM clock_timestamp()) * 1000000 AS BIGINT) AS n"
            }
        };
        let row = sqlx::query(sql)
            .fetch_one(&self.read)
            .await
            .map_err(failed)?;
        number(&row, "n").map(Time)
    }

    /// Which of the settings that make a commit durable are not as they must be.
    pub(crate) async fn weak_settings(&self) -> Result<Vec<String>> {
        let mut weak = Vec::new();
        match self.backend {
            Backend::Sqlite => {
                let row = sqlx::query("PRAGMA journal_mode")
                    .fetch_one(&self.write)
                    .await
                    .map_err(failed)?;
                let mode = row.try_get::<String, _>(0).map_err(failed)?;
                if mode != "wal" {
                    weak.push(format!("journal_mode is {mode} instead of wal"));
                }
                let row = sqlx::query("PRAGMA synchronous")
                    .fetch_one(&self.write)
                    .await
                    .map_err(failed)?;
                let level = row.try_get::<i64, _>(0).map_err(failed)?;
                if level < 2 {
                    weak.push(format!("synchronous is {level} instead of 2 (FULL)"));
                }
            }
            Backend::Postgres => {
                for setting in ["fsync", "synchronous_commit", "full_page_writes"] {
                    let row = sqlx::query("SELECT current_setting($1) AS value")
                        .bind(setting)
                        .fetch_one(&self.write)
                        .await
                        .map_err(failed)?;
                    let value = text(&row, "value")?;
                    if value == "off" || value == "local" {
                        weak.push(format!("{setting} is {value}"));
                    }
                }
            }
        }
        Ok(weak)
    }

    /// Labels and ends of tokens that are not revoked and end before a time.
    pub(crate) async fn tokens_ending(
        &self,
        now: Time,
        before: Time,
    ) -> Result<Vec<(String, String, Time)>> {
        let rows = sqlx::query(
            "SELECT c.hint, c.label, c.expires_at FROM credentials c WHERE c.kind = 'token' AND c.revoked_at IS NULL \
             AND c.expires_at > $1 AND c.expires_at < $2 ORDER BY c.expires_at LIMIT 100",
        )
        .bind(now.0)
        .bind(before.0)
        .fetch_all(&self.read)
        .await
        .map_err(failed)?;
        rows.iter()
            .map(|row| {
                Ok((
                    text(row, "hint")?,
                    text(row, "label")?,
                    super::time(row, "expires_at")?,
                ))
            })
            .collect()
    }

    /// Ecosystem, project, digest and serial of every rendered document.
    pub(crate) async fn rendered(
        &self,
        rendered_for: &str,
    ) -> Result<Vec<(String, ProjectId, String, u64)>> {
        let rows = sqlx::query(
            "SELECT path, project_id, digest, serial FROM documents WHERE project_id IS NOT NULL AND rendered_for = $1 ORDER BY path",
        )
        .bind(rendered_for.to_owned())
        .fetch_all(&self.read)
        .await
        .map_err(failed)?;
        rows.iter()
            .map(|row| {
                Ok((
                    text(row, "path")?,
                    ProjectId(text(row, "project_id")?),
                    text(row, "digest")?,
                    unsigned(row, "serial")?,
                ))
            })
            .collect()
    }
}

impl Tx {
    /// The project of a name, removed or not.
    pub(crate) async fn project_of_key(
        &mut self,
        ecosystem: Ecosystem,
        key: &str,
    ) -> Result<Option<ProjectId>> {
        let row = sqlx::query("SELECT id FROM projects WHERE ecosystem = $1 AND key = $2")
            .bind(ecosystem.as_str())
            .bind(key.to_owned())
            .fetch_optional(&mut *self.inner)
            .await
            .map_err(failed)?;
        row.map(|row| Ok(ProjectId(text(&row, "id")?))).transpose()
    }

    /// Takes a name that only the log knows: nobody sees it, nobody has a role on it, nobody else gets it.
    pub(crate) async fn insert_known_project(
        &mut self,
        id: &ProjectId,
        ecosystem: Ecosystem,
        key: &str,
        skeleton: &str,
        now: Time,
    ) -> Result<()> {
        sqlx::query(
            "INSERT INTO projects (id, ecosystem, name, key, skeleton, status, status_at, trust_level, trust_at, summary, latest, \
             serial, sequence, created_at, updated_at) VALUES ($1, $2, $3, $3, $4, 'active', $5, 'none', $5, '', '', 0, 0, $5, $5)",
        )
        .bind(id.0.clone())
        .bind(ecosystem.as_str())
        .bind(key.to_owned())
        .bind(skeleton.to_owned())
        .bind(now.0)
        .execute(&mut *self.inner)
        .await
        .map_err(failed)?;
        Ok(())
    }

    /// An event of which only the leaf is known.
    pub(crate) async fn insert_known_event(
        &mut self,
        id: &EventId,
        at: Time,
        kind: &str,
        subject: &str,
        project: Option<&ProjectId>,
    ) -> Result<()> {
        sqlx::query(
            "INSERT INTO events (id, at, kind, subject, project_id, actor_kind, actor_id, strength, detail) \
             VALUES ($1, $2, $3, $4, $5, 'system', 'restore', 'none', '{\"known\":\"from the log alone\"}')",
        )
        .bind(id.0.clone())
        .bind(at.0)
        .bind(kind.to_owned())
        .bind(subject.to_owned())
        .bind(project.map(|id| id.0.clone()))
        .execute(&mut *self.inner)
        .await
        .map_err(failed)?;
        Ok(())
    }

    /// A file by its identifier: id, digest, state.
    pub(crate) async fn file_of_identifier(
        &mut self,
        identifier: &str,
    ) -> Result<Option<(FileId, String, FileState)>> {
        let row = sqlx::query("SELECT id, sha256, state FROM files WHERE identifier = $1")
            .bind(identifier.to_owned())
            .fetch_optional(&mut *self.inner)
            .await
            .map_err(failed)?;
        row.map(|row| {
            Ok((
                FileId(text(&row, "id")?),
                text(&row, "sha256")?,
                super::parsed(&row, "state")?,
            ))
        })
        .transpose()
    }

    /// The digest that an identifier stands for.
    pub(crate) async fn digest_of_identifier(
        &mut self,
        identifier: &str,
    ) -> Result<Option<String>> {
        let row = sqlx::query("SELECT sha256 FROM identifiers WHERE identifier = $1")
            .bind(identifier.to_owned())
            .fetch_optional(&mut *self.inner)
            .await
            .map_err(failed)?;
        row.map(|row| text(&row, "sha256")).transpose()
    }

    /// Files of a release, those that are not removed.
    pub(crate) async fn files_in_release(&mut self, release: &ReleaseId) -> Result<Vec<FileId>> {
        let rows = sqlx::query("SELECT id FROM files WHERE release_id = $1 AND state <> 'removed'")
            .bind(release.0.clone())
            .fetch_all(&mut *self.inner)
            .await
            .map_err(failed)?;
        rows.iter()
            .map(|row| Ok(FileId(text(row, "id")?)))
            .collect()
    }

    /// Closes a log for ever.
    pub(crate) async fn freeze(&mut self, shard: u64, now: Time) -> Result<()> {
        sqlx::query("UPDATE log_head SET frozen_at = $2 WHERE shard = $1 AND frozen_at IS NULL")
            .bind(signed(shard))
            .bind(now.0)
            .execute(&mut *self.inner)
            .await
            .map_err(failed)?;
        // In the next log a project's first leaf has none before it.
        sqlx::query("UPDATE projects SET last_leaf = NULL")
            .execute(&mut *self.inner)
            .await
            .map_err(failed)?;
        Ok(())
    }

    /// Puts back into the outbox what got a place in a log that was closed before it was served there.
    pub(crate) async fn take_back(
        &mut self,
        shard: u64,
        event: &EventId,
        leaf: &str,
    ) -> Result<()> {
        sqlx::query(
            "INSERT INTO outbox (event_id, project_id, file_id, leaf) SELECT id, project_id, file_id, $2 FROM events WHERE id = $1",
        )
        .bind(event.0.clone())
        .bind(leaf.to_owned())
        .execute(&mut *self.inner)
        .await
        .map_err(failed)?;
        sqlx::query(
            "UPDATE projects SET sequence = sequence - 1 WHERE id = (SELECT project_id FROM leaves WHERE event_id = $1)",
        )
        .bind(event.0.clone())
        .execute(&mut *self.inner)
        .await
        .map_err(failed)?;
        sqlx::query("DELETE FROM leaves WHERE shard = $1 AND event_id = $2")
            .bind(signed(shard))
            .bind(event.0.clone())
            .execute(&mut *self.inner)
            .await
            .map_err(failed)?;
        Ok(())
    }

    /// Forgets every rendered document; readers render them anew.
    pub(crate) async fn drop_all_documents(&mut self) -> Result<()> {
        sqlx::query("DELETE FROM documents")
            .execute(&mut *self.inner)
            .await
            .map_err(failed)?;
        Ok(())
    }

    /// Where the publication of `purl` stands in the log, and whether `purl`, or what it belongs to, was withdrawn later.
    pub(crate) async fn published_leaf(
        &mut self,
        project: &ProjectId,
        purl: &str,
        around: &[String],
    ) -> Result<Option<PublishedLeaf>> {
        let row = sqlx::query(
            "SELECT event_id, shard, idx, at, body FROM leaves WHERE project_id = $1 AND kind = 'file-published' AND subject = $2 \
             ORDER BY shard, idx LIMIT 1",
        )
        .bind(project.0.clone())
        .bind(purl.to_owned())
        .fetch_optional(&mut *self.inner)
        .await
        .map_err(failed)?;
        let Some(row) = row else { return Ok(None) };
        let (shard, index) = (unsigned(&row, "shard")?, unsigned(&row, "idx")?);
        let sql = format!(
            "SELECT kind FROM leaves WHERE project_id = $1 AND (shard, idx) > ($2, $3) \
             AND kind IN ('deleted', 'quarantined', 'released') AND subject IN ({}) ORDER BY shard DESC, idx DESC LIMIT 1",
            places(around.len(), 4)
        );
        let mut query = sqlx::query(built(sql))
            .bind(project.0.clone())
            .bind(signed(shard))
            .bind(signed(index));
        for subject in around {
            query = query.bind(subject.clone());
        }
        let last = query
            .fetch_optional(&mut *self.inner)
            .await
            .map_err(failed)?;
        let last = last.map(|row| text(&row, "kind")).transpose()?;
        Ok(Some(PublishedLeaf {
            event: EventId(text(&row, "event_id")?),
            shard,
            index,
            at: super::time(&row, "at")?,
            withdrawn: last.is_some_and(|kind| kind != "released"),
            attestations: text(&row, "body")?
                .lines()
                .filter_map(|line| line.strip_prefix("attestation sha256:"))
                .map(str::to_owned)
                .collect(),
        }))
    }

    /// Ties an event that was known from the log alone to the file that came home.
    pub(crate) async fn tie_event(&mut self, event: &EventId, file: &FileId) -> Result<()> {
        sqlx::query("UPDATE events SET file_id = $2 WHERE id = $1")
            .bind(event.0.clone())
            .bind(file.0.clone())
            .execute(&mut *self.inner)
            .await
            .map_err(failed)?;
        Ok(())
    }
}
