//! What withholding and restoring change.

use countersign_formats::Ecosystem;

use super::{Tx, built, failed, places, text};
use crate::error::{Error, Result};
use crate::model::{FileId, FileState, ProjectId, ProjectStatus, ReleaseId, Time};

/// A project as a change of it sees it, its row locked.
#[derive(Clone, Debug)]
pub struct CuratedProject {
    /// Its id.
    pub id: ProjectId,
    /// Name as written.
    pub name: String,
    /// Normalised name.
    pub key: String,
    /// Status.
    pub status: ProjectStatus,
    /// The status that a quarantine took the place of.
    pub before: Option<ProjectStatus>,
    /// Since when its own people withhold it.
    pub own_quarantine: Option<Time>,
    /// Since when its owners must be harder to phish.
    pub critical: Option<Time>,
    /// Since when only those with a role see it.
    pub private: Option<Time>,
}

/// A release as a change of it sees it.
#[derive(Clone, Debug)]
pub(crate) struct CuratedRelease {
    pub(crate) id: ReleaseId,
    pub(crate) version: String,
    pub(crate) yanked: Option<Time>,
    pub(crate) deprecated: Option<String>,
    /// Since when it is withheld as a whole, and since when by its own people.
    pub(crate) quarantined: Option<Time>,
    pub(crate) own_quarantine: Option<Time>,
}

/// A file as a change of it sees it.
#[derive(Clone, Debug)]
pub(crate) struct CuratedFile {
    pub(crate) id: FileId,
    pub(crate) release: ReleaseId,
    pub(crate) filename: String,
    pub(crate) purl: String,
    pub(crate) state: FileState,
    pub(crate) live: Option<Time>,
    pub(crate) own_quarantine: Option<Time>,
    /// Since when it is withheld with its release.
    pub(crate) with_release: Option<Time>,
}

impl CuratedFile {
    /// Is it withheld, whether or not it was ever served?
    pub(crate) fn withheld(&self) -> bool {
        matches!(self.state, FileState::Quarantined | FileState::Held)
    }

    /// What it is once nobody withholds it: one that never reached the log goes back to waiting for it, not past it.
    pub(crate) fn served_again(&self) -> FileState {
        match self.live {
            Some(_) => FileState::Live,
            None => FileState::Staged,
        }
    }
}

impl Tx {
    /// The visible project of this key, its row locked until the transaction ends.
    pub(crate) async fn curated_project(
        &mut self,
        ecosystem: Ecosystem,
        key: &str,
    ) -> Result<Option<CuratedProject>> {
        let lock = match self.backend {
            super::Backend::Sqlite => "",
            super::Backend::Postgres => " FOR UPDATE",
        };
        let row = sqlx::query(built(format!(
            "SELECT id, name, key, status, status_before, own_quarantine_at, critical_at, private_at FROM projects WHERE ecosystem = $1 AND key = $2 AND removed_at IS NULL{lock}"
        )))
        .bind(ecosystem.as_str())
        .bind(key.to_owned())
        .fetch_optional(&mut *self.inner)
        .await
        .map_err(failed)?;
        row.map(|row| {
            Ok(CuratedProject {
                id: ProjectId(text(&row, "id")?),
                name: text(&row, "name")?,
                key: text(&row, "key")?,
                status: super::parsed(&row, "status")?,
                own_quarantine: super::maybe_time(&row, "own_quarantine_at")?,
                critical: super::maybe_time(&row, "critical_at")?,
                private: super::maybe_time(&row, "private_at")?,
                before: super::maybe_text(&row, "status_before")?
                    .map(|word| {
                        word.parse().map_err(|source: String| {
                            Error::internal("a stored word is unknown", source)
                        })
                    })
                    .transpose()?,
            })
        })
        .transpose()
    }

    /// A release by the key of its version.
    pub(crate) async fn curated_release(
        &mut self,
        project: &ProjectId,
        version_key: &str,
    ) -> Result<Option<CuratedRelease>> {
        let row = sqlx::query("SELECT id, version, yanked_at, deprecated_reason, quarantined_at, own_quarantine_at FROM releases WHERE project_id = $1 AND version_key = $2 AND removed_at IS NULL")
            .bind(project.0.clone())
            .bind(version_key.to_owned())
            .fetch_optional(&mut *self.inner)
            .await
            .map_err(failed)?;
        row.map(|row| {
            Ok(CuratedRelease {
                id: ReleaseId(text(&row, "id")?),
                version: text(&row, "version")?,
                yanked: super::maybe_time(&row, "yanked_at")?,
                deprecated: super::maybe_text(&row, "deprecated_reason")?,
                quarantined: super::maybe_time(&row, "quarantined_at")?,
                own_quarantine: super::maybe_time(&row, "own_quarantine_at")?,
            })
        })
        .transpose()
    }

    /// The files of a project that are not removed.
    pub(crate) async fn curated_files(&mut self, project: &ProjectId) -> Result<Vec<CuratedFile>> {
        let rows = sqlx::query(
            "SELECT f.id, f.release_id, f.filename, f.purl, f.state, f.live_at, f.own_quarantine_at, f.withheld_with_release_at FROM files f WHERE f.project_id = $1 AND f.state <> 'removed' ORDER BY f.id",
        )
        .bind(project.0.clone())
        .fetch_all(&mut *self.inner)
        .await
        .map_err(failed)?;
        rows.iter()
            .map(|row| {
                Ok(CuratedFile {
                    id: FileId(text(row, "id")?),
                    release: ReleaseId(text(row, "release_id")?),
                    filename: text(row, "filename")?,
                    purl: text(row, "purl")?,
                    state: super::parsed(row, "state")?,
                    live: super::maybe_time(row, "live_at")?,
                    own_quarantine: super::maybe_time(row, "own_quarantine_at")?,
                    with_release: super::maybe_time(row, "withheld_with_release_at")?,
                })
            })
            .collect()
    }

    /// Notes whether it was the project's own people who withhold a file, or the project.
    pub(crate) async fn set_own_quarantine(
        &mut self,
        project: &ProjectId,
        file: Option<&FileId>,
        at: Option<Time>,
    ) -> Result<()> {
        let (text, id) = match file {
            Some(file) => (
                "UPDATE files SET own_quarantine_at = $2 WHERE id = $1",
                file.0.clone(),
            ),
            None => (
                "UPDATE projects SET own_quarantine_at = $2 WHERE id = $1",
                project.0.clone(),
            ),
        };
        sqlx::query(text)
            .bind(id)
            .bind(at.map(|at| at.0))
            .execute(&mut *self.inner)
            .await
            .map_err(failed)?;
        Ok(())
    }

    /// Sets or lifts a release's yank.
    pub(crate) async fn set_yank(
        &mut self,
        release: &ReleaseId,
        yank: Option<(Time, &str)>,
    ) -> Result<()> {
        sqlx::query("UPDATE releases SET yanked_at = $2, yanked_reason = $3 WHERE id = $1")
            .bind(release.0.clone())
            .bind(yank.map(|(at, _)| at.0))
            .bind(yank.map(|(_, reason)| reason.to_owned()))
            .execute(&mut *self.inner)
            .await
            .map_err(failed)?;
        Ok(())
    }

    /// Sets or lifts the message that a release should not be used any more.
    pub(crate) async fn set_deprecation(
        &mut self,
        release: &ReleaseId,
        message: Option<(Time, &str)>,
    ) -> Result<()> {
        sqlx::query("UPDATE releases SET deprecated_at = $2, deprecated_reason = $3 WHERE id = $1")
            .bind(release.0.clone())
            .bind(message.map(|(at, _)| at.0))
            .bind(message.map(|(_, reason)| reason.to_owned()))
            .execute(&mut *self.inner)
            .await
            .map_err(failed)?;
        Ok(())
    }

    /// Moves files to another state with its time and reason.
    pub(crate) async fn set_files_state(
        &mut self,
        files: &[FileId],
        state: FileState,
        reason: Option<&str>,
        now: Time,
    ) -> Result<()> {
        let column = match state {
            FileState::Staged => "staged_at",
            FileState::Held => "held_at",
            FileState::Live => "live_at",
            FileState::Quarantined => "quarantined_at",
            FileState::Removed => "removed_at",
        };
        for chunk in files.chunks(1_000) {
            // Going live again keeps the first live_at: installers order by it.
            let stamp = if state == FileState::Live {
                "live_at = COALESCE(live_at, $2)".to_owned()
            } else {
                format!("{column} = $2")
            };
            let sql = format!(
                "UPDATE files SET state = $1, {stamp}, withheld_reason = $3 WHERE id IN ({})",
                places(chunk.len(), 4)
            );
            let mut query = sqlx::query(built(sql))
                .bind(state.as_str())
                .bind(now.0)
                .bind(reason.map(str::to_owned));
            for file in chunk {
                query = query.bind(file.0.clone());
            }
            query.execute(&mut *self.inner).await.map_err(failed)?;
        }
        Ok(())
    }

    /// Marks a release removed. Its version stays reserved.
    pub(crate) async fn remove_release(&mut self, release: &ReleaseId, now: Time) -> Result<()> {
        sqlx::query("UPDATE releases SET removed_at = $2 WHERE id = $1")
            .bind(release.0.clone())
            .bind(now.0)
            .execute(&mut *self.inner)
            .await
            .map_err(failed)?;
        Ok(())
    }

    /// Marks a project removed. Its name stays reserved.
    pub(crate) async fn remove_project(&mut self, project: &ProjectId, now: Time) -> Result<()> {
        sqlx::query("UPDATE projects SET removed_at = $2 WHERE id = $1")
            .bind(project.0.clone())
            .bind(now.0)
            .execute(&mut *self.inner)
            .await
            .map_err(failed)?;
        Ok(())
    }

    /// Sets a project's status.
    pub(crate) async fn set_project_status(
        &mut self,
        project: &ProjectId,
        status: ProjectStatus,
        reason: Option<&str>,
        now: Time,
    ) -> Result<()> {
        sqlx::query(
            "UPDATE projects SET status = $2, status_reason = $3, status_at = $4, status_before = \
             CASE WHEN $2 = 'quarantined' AND status <> 'quarantined' THEN status END WHERE id = $1",
        )
        .bind(project.0.clone())
        .bind(status.as_str())
        .bind(reason.map(str::to_owned))
        .bind(now.0)
        .execute(&mut *self.inner)
        .await
        .map_err(failed)?;
        Ok(())
    }
}
