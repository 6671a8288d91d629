//! Rows of scans, findings and known digests.

use sqlx::any::AnyRow;

use super::{Store, Tx, built, failed, maybe_text, maybe_time, number, places, signed, text, time};
use crate::checks::scan::{ScanFinding, Traits};
use crate::error::{Error, Result};
use crate::model::{FileId, FoundIn, ProjectId, ScannedFile, Time};

/// A file that is to be scanned.
#[derive(Clone, Debug)]
pub(crate) struct ScanJob {
    pub(crate) file: FileId,
    pub(crate) project: ProjectId,
    pub(crate) ecosystem: String,
    pub(crate) key: String,
    pub(crate) filename: String,
    pub(crate) purl: String,
    pub(crate) filetype: String,
    pub(crate) sha256: String,
    pub(crate) size: u64,
    pub(crate) attempts: u64,
    pub(crate) held: Option<Time>,
}

/// Another file of a release, which was scanned.
#[derive(Clone, Debug)]
pub(crate) struct ScannedBeside {
    pub(crate) file: FileId,
    pub(crate) filetype: String,
    pub(crate) traits: Traits,
}

fn traits(row: &AnyRow) -> Result<Traits> {
    serde_json::from_str(&text(row, "traits")?)
        .map_err(|source| Error::internal("stored traits can not be read", source))
}

fn found(row: &AnyRow) -> Result<FoundIn> {
    Ok(FoundIn {
        purl: text(row, "purl")?,
        state: super::parsed(row, "state")?,
        found: time(row, "found_at")?,
        finding: ScanFinding {
            rule: text(row, "rule")?,
            title: text(row, "title")?,
            score: u32::try_from(number(row, "score")?).unwrap_or(u32::MAX),
            path: text(row, "path")?,
            line: u32::try_from(number(row, "line")?).unwrap_or(0),
            offset: super::unsigned(row, "place")?,
            snippet: text(row, "snippet")?,
            sha256: text(row, "sha256")?,
        },
    })
}

/// The rule of a finding that says that the scan failed for good.
pub(crate) const SCAN_FAILED: &str = "scan-failed";

const FOUND: &str = "SELECT f.purl, f.state, n.rule, n.title, n.score, n.path, n.line, n.place, n.snippet, n.sha256, n.found_at \
     FROM findings n JOIN files f ON f.id = n.file_id";

impl Store {
    /// The heaviest findings that nobody put aside, of files that are there. That nothing could be found, because the scan failed,
    /// is as heavy as any.
    pub(crate) async fn open_findings(&self, least: u32, most: u32) -> Result<Vec<FoundIn>> {
        let rows = sqlx::query(built(format!(
            "{FOUND} WHERE n.dismissed_at IS NULL AND (n.score >= $1 OR n.rule = '{SCAN_FAILED}') AND f.state <> 'removed' \
             ORDER BY CASE WHEN n.rule = '{SCAN_FAILED}' THEN 100 ELSE n.score END DESC, n.found_at DESC, n.id LIMIT $2"
        )))
        .bind(i64::from(least))
        .bind(i64::from(most))
        .fetch_all(&self.read)
        .await
        .map_err(failed)?;
        rows.iter().map(found).collect()
    }

    /// What was found in a project's files.
    pub(crate) async fn findings_of(&self, project: &ProjectId, most: u32) -> Result<Vec<FoundIn>> {
        let rows = sqlx::query(built(format!(
            "{FOUND} WHERE f.project_id = $1 AND n.dismissed_at IS NULL AND n.score > 0 ORDER BY n.found_at DESC, n.score DESC, n.id LIMIT $2"
        )))
        .bind(project.0.clone())
        .bind(i64::from(most))
        .fetch_all(&self.read)
        .await
        .map_err(failed)?;
        rows.iter().map(found).collect()
    }

    /// The scan of a file by its purl.
    pub(crate) async fn scan_of(&self, purl: &str) -> Result<Option<ScannedFile>> {
        let row = sqlx::query(
            "SELECT s.queued_at, s.done_at, s.attempts, s.held_at, s.score, s.problem FROM scans s JOIN files f ON f.id = s.file_id WHERE f.purl = $1",
        )
        .bind(purl.to_owned())
        .fetch_optional(&self.read)
        .await
        .map_err(failed)?;
        row.map(|row| {
            Ok(ScannedFile {
                queued: time(&row, "queued_at")?,
                done: maybe_time(&row, "done_at")?,
                attempts: super::unsigned(&row, "attempts")?,
                held: maybe_time(&row, "held_at")?.is_some(),
                score: super::maybe_unsigned(&row, "score")?,
                problem: maybe_text(&row, "problem")?,
            })
        })
        .transpose()
    }

    /// What is remembered of the last scanned file of a kind in a project, other than this one.
    pub(crate) async fn traits_before(&self, job: &ScanJob) -> Result<Option<Traits>> {
        let row = sqlx::query(
            "SELECT s.traits FROM scans s JOIN files f ON f.id = s.file_id \
             WHERE f.project_id = $1 AND f.filetype = $2 AND f.id < $3 AND s.traits IS NOT NULL ORDER BY f.id DESC LIMIT 1",
        )
        .bind(job.project.0.clone())
        .bind(job.filetype.clone())
        .bind(job.file.0.clone())
        .fetch_optional(&self.read)
        .await
        .map_err(failed)?;
        row.as_ref().map(traits).transpose()
    }

    /// Of these digests, those that are known to be bad, with what they are.
    pub(crate) async fn known_bad(&self, digests: &[String]) -> Result<Vec<(String, String)>> {
        let mut bad = Vec::new();
        for chunk in digests.chunks(500) {
            let sql = format!(
                "SELECT sha256, name FROM bad_digests WHERE withdrawn_at IS NULL AND sha256 IN ({})",
                places(chunk.len(), 1)
            );
            let mut query = sqlx::query(built(sql));
            for digest in chunk {
                query = query.bind(digest.clone());
            }
            for row in &query.fetch_all(&self.read).await.map_err(failed)? {
                bad.push((text(row, "sha256")?, text(row, "name")?));
            }
        }
        Ok(bad)
    }
}

impl Tx {
    /// Has a file scanned.
    pub(crate) async fn queue_scan(&mut self, file: &FileId, held: bool, now: Time) -> Result<()> {
        sqlx::query(
            "INSERT INTO scans (file_id, queued_at, leased_until, attempts, held_at) VALUES ($1, $2, 0, 0, $3) ON CONFLICT (file_id) DO NOTHING",
        )
        .bind(file.0.clone())
        .bind(now.0)
        .bind(held.then_some(now.0))
        .execute(&mut *self.inner)
        .await
        .map_err(failed)?;
        Ok(())
    }

    /// Takes the oldest scan that nobody has in hand, until `until`. A process that dies with it loses it then.
    pub(crate) async fn lease_scan(&mut self, now: Time, until: Time) -> Result<Option<ScanJob>> {
        let lock = match self.backend {
            super::Backend::Sqlite => "",
            super::Backend::Postgres => " FOR UPDATE SKIP LOCKED",
        };
        let row = sqlx::query(built(format!(
            "UPDATE scans SET leased_until = $2, attempts = attempts + 1 WHERE file_id = \
             (SELECT file_id FROM scans WHERE done_at IS NULL AND leased_until <= $1 ORDER BY queued_at, file_id LIMIT 1{lock}) \
             RETURNING file_id, attempts, held_at"
        )))
        .bind(now.0)
        .bind(until.0)
        .fetch_optional(&mut *self.inner)
        .await
        .map_err(failed)?;
        let Some(leased) = row else { return Ok(None) };
        let file = text(&leased, "file_id")?;
        let row = sqlx::query(
            "SELECT f.project_id, p.ecosystem, p.key, f.filename, f.purl, f.filetype, f.sha256, f.size FROM files f JOIN projects p ON p.id = f.project_id WHERE f.id = $1",
        )
        .bind(file.clone())
        .fetch_one(&mut *self.inner)
        .await
        .map_err(failed)?;
        Ok(Some(ScanJob {
            file: FileId(file),
            project: ProjectId(text(&row, "project_id")?),
            ecosystem: text(&row, "ecosystem")?,
            key: text(&row, "key")?,
            filename: text(&row, "filename")?,
            purl: text(&row, "purl")?,
            filetype: text(&row, "filetype")?,
            sha256: text(&row, "sha256")?,
            size: super::unsigned(&row, "size")?,
            attempts: super::unsigned(&leased, "attempts")?,
            held: maybe_time(&leased, "held_at")?,
        }))
    }

    /// What is remembered of the other files of a file's release that are there.
    pub(crate) async fn scanned_beside(&mut self, job: &ScanJob) -> Result<Vec<ScannedBeside>> {
        let rows = sqlx::query(
            "SELECT f.id, f.filetype, s.traits FROM files f JOIN scans s ON s.file_id = f.id \
             WHERE f.release_id = (SELECT release_id FROM files WHERE id = $1) AND f.id <> $1 AND f.state <> 'removed' \
             AND s.traits IS NOT NULL ORDER BY f.id",
        )
        .bind(job.file.0.clone())
        .fetch_all(&mut *self.inner)
        .await
        .map_err(failed)?;
        rows.iter()
            .map(|row| {
                Ok(ScannedBeside {
                    file: FileId(text(row, "id")?),
                    filetype: text(row, "filetype")?,
                    traits: traits(row)?,
                })
            })
            .collect()
    }

    /// Ends a scan with what was found, once; false where another process did before.
    pub(crate) async fn end_scan(
        &mut self,
        file: &FileId,
        score: u32,
        traits: Option<&Traits>,
        problem: Option<&str>,
        now: Time,
    ) -> Result<bool> {
        let traits = traits
            .map(serde_json::to_string)
            .transpose()
            .map_err(|source| Error::internal("traits can not be written", source))?;
        let done = sqlx::query(
            "UPDATE scans SET done_at = $2, score = $3, traits = $4, problem = $5 WHERE file_id = $1 AND done_at IS NULL",
        )
        .bind(file.0.clone())
        .bind(now.0)
        .bind(i64::from(score))
        .bind(traits)
        .bind(problem.map(str::to_owned))
        .execute(&mut *self.inner)
        .await
        .map_err(failed)?;
        Ok(done.rows_affected() == 1)
    }

    /// Gives a scan back to be tried again at `next`.
    pub(crate) async fn retry_scan(
        &mut self,
        file: &FileId,
        problem: &str,
        next: Time,
    ) -> Result<()> {
        sqlx::query("UPDATE scans SET leased_until = $2, problem = $3 WHERE file_id = $1 AND done_at IS NULL")
            .bind(file.0.clone())
            .bind(next.0)
            .bind(problem.to_owned())
            .execute(&mut *self.inner)
            .await
            .map_err(failed)?;
        Ok(())
    }

    /// Keeps a finding.
    pub(crate) async fn insert_finding(
        &mut self,
        id: &str,
        file: &FileId,
        finding: &ScanFinding,
        now: Time,
    ) -> Result<()> {
        sqlx::query(
            "INSERT INTO findings (id, file_id, rule, title, score, path, line, place, snippet, sha256, found_at) \
             VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11)",
        )
        .bind(id.to_owned())
        .bind(file.0.clone())
        .bind(finding.rule.clone())
        .bind(finding.title.replace('\0', " "))
        .bind(i64::from(finding.score))
        .bind(finding.path.replace('\0', " "))
        .bind(i64::from(finding.line))
        .bind(signed(finding.offset))
        .bind(finding.snippet.replace('\0', " "))
        .bind(finding.sha256.clone())
        .bind(now.0)
        .execute(&mut *self.inner)
        .await
        .map_err(failed)?;
        Ok(())
    }

    /// Puts the findings of a project's file, or of all its files, aside.
    pub(crate) async fn dismiss_findings(&mut self, purl: &str, now: Time) -> Result<u64> {
        let done = sqlx::query(
            "UPDATE findings SET dismissed_at = $2 WHERE dismissed_at IS NULL AND file_id IN (SELECT id FROM files WHERE purl = $1)",
        )
        .bind(purl.to_owned())
        .bind(now.0)
        .execute(&mut *self.inner)
        .await
        .map_err(failed)?;
        Ok(done.rows_affected())
    }

    /// What a digest is known as, where it is known to be bad.
    pub(crate) async fn bad_digest(&mut self, sha256: &str) -> Result<Option<String>> {
        let row =
            sqlx::query("SELECT name FROM bad_digests WHERE sha256 = $1 AND withdrawn_at IS NULL")
                .bind(sha256.to_owned())
                .fetch_optional(&mut *self.inner)
                .await
                .map_err(failed)?;
        row.map(|row| text(&row, "name")).transpose()
    }

    /// Adds digests, or withdraws them where `withdrawn`. Whether one is new is not told.
    pub(crate) async fn set_bad_digests(
        &mut self,
        digests: &[(String, String)],
        source: &str,
        withdrawn: bool,
        now: Time,
    ) -> Result<()> {
        for (sha256, name) in digests {
            sqlx::query(
                "INSERT INTO bad_digests (sha256, name, source, added_at, withdrawn_at) VALUES ($1, $2, $3, $4, $5) \
                 ON CONFLICT (sha256) DO UPDATE SET withdrawn_at = excluded.withdrawn_at",
            )
            .bind(sha256.clone())
            .bind(name.clone())
            .bind(source.to_owned())
            .bind(now.0)
            .bind(withdrawn.then_some(now.0))
            .execute(&mut *self.inner)
            .await
            .map_err(failed)?;
        }
        Ok(())
    }

    /// Files of these bytes that are served or wait, as `ecosystem`, key and file name.
    pub(crate) async fn files_with(
        &mut self,
        sha256: &str,
    ) -> Result<Vec<(String, String, String)>> {
        let rows = sqlx::query(
            "SELECT p.ecosystem, p.key, f.filename FROM files f JOIN projects p ON p.id = f.project_id \
             WHERE f.sha256 = $1 AND f.state IN ('live', 'staged') AND p.removed_at IS NULL ORDER BY f.id",
        )
        .bind(sha256.to_owned())
        .fetch_all(&mut *self.inner)
        .await
        .map_err(failed)?;
        rows.iter()
            .map(|row| {
                Ok((
                    text(row, "ecosystem")?,
                    text(row, "key")?,
                    text(row, "filename")?,
                ))
            })
            .collect()
    }
}
