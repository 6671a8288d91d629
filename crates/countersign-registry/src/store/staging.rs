//! Staged publications: kept until a person answers, or their time is over.

use countersign_formats::{Ecosystem, Manifest};
use sqlx::any::AnyRow;

use super::{
    Backend, Store, Tx, built, failed, maybe_text, maybe_time, signed, text, time, unsigned,
};
use crate::error::{Error, Result};
use crate::model::{AccountId, FileId, PublisherId, Time};

/// A publication that waits, or waited.
#[derive(Clone, Debug)]
pub(crate) struct StagedRow {
    pub(crate) id: String,
    pub(crate) ecosystem: Ecosystem,
    pub(crate) project_name: String,
    pub(crate) project_key: String,
    pub(crate) version: String,
    pub(crate) filename: String,
    pub(crate) purl: String,
    /// Hex, as the other digests.
    pub(crate) sha256: String,
    pub(crate) sha1: String,
    pub(crate) sha512: String,
    pub(crate) size: u64,
    /// What the archive says; without the readme.
    pub(crate) manifest: Manifest,
    /// What the request said besides, JSON.
    pub(crate) form: String,
    pub(crate) bundle: Option<String>,
    /// Whose token sent it…
    pub(crate) account: Option<AccountId>,
    pub(crate) account_name: Option<String>,
    pub(crate) account_disabled: Option<Time>,
    /// …or which workflow did, JSON.
    pub(crate) workflow: Option<String>,
    pub(crate) publisher: Option<PublisherId>,
    pub(crate) created: Time,
    pub(crate) expires: Time,
    pub(crate) ended: Option<(Time, String)>,
}

const STAGED: &str = "SELECT s.id, s.ecosystem, s.project_name, s.project_key, s.version, s.filename, s.purl, s.sha256, s.sha1, s.sha512, s.size, \
     s.manifest, s.form, s.bundle, s.account_id, s.workflow, s.publisher_id, s.created_at, s.expires_at, s.ended_at, s.ended_why, \
     a.name AS account_name, a.disabled_at FROM staged_publications s LEFT JOIN accounts a ON a.id = s.account_id";

fn staged(row: &AnyRow) -> Result<StagedRow> {
    let ended = match maybe_time(row, "ended_at")? {
        None => None,
        Some(at) => Some((at, maybe_text(row, "ended_why")?.unwrap_or_default())),
    };
    Ok(StagedRow {
        id: text(row, "id")?,
        ecosystem: super::ecosystem(&text(row, "ecosystem")?)?,
        project_name: text(row, "project_name")?,
        project_key: text(row, "project_key")?,
        version: text(row, "version")?,
        filename: text(row, "filename")?,
        purl: text(row, "purl")?,
        sha256: text(row, "sha256")?,
        sha1: text(row, "sha1")?,
        sha512: text(row, "sha512")?,
        size: unsigned(row, "size")?,
        manifest: serde_json::from_str(&text(row, "manifest")?)
            .map_err(|source| Error::internal("a stored manifest is malformed", source))?,
        form: text(row, "form")?,
        bundle: maybe_text(row, "bundle")?,
        account: maybe_text(row, "account_id")?.map(AccountId),
        account_name: maybe_text(row, "account_name")?,
        account_disabled: maybe_time(row, "disabled_at")?,
        workflow: maybe_text(row, "workflow")?,
        publisher: maybe_text(row, "publisher_id")?.map(PublisherId),
        created: time(row, "created_at")?,
        expires: time(row, "expires_at")?,
        ended,
    })
}

impl Store {
    /// A staged publication by its id, ended or not.
    pub(crate) async fn staged(&self, id: &str) -> Result<Option<StagedRow>> {
        let row = sqlx::query(built(format!("{STAGED} WHERE s.id = $1")))
            .bind(id.to_owned())
            .fetch_optional(&self.read)
            .await
            .map_err(failed)?;
        row.as_ref().map(staged).transpose()
    }

    /// What waits on the projects on which an account has a role, and what it staged itself; the newest first.
    pub(crate) async fn staged_for(
        &self,
        account: &AccountId,
        now: Time,
    ) -> Result<Vec<StagedRow>> {
        let rows = sqlx::query(built(format!(
            "{STAGED} WHERE s.ended_at IS NULL AND s.expires_at > $2 AND (s.account_id = $1 OR EXISTS (SELECT 1 FROM projects p \
             JOIN effective_roles e ON e.project_id = p.id AND e.account_id = $1 \
             WHERE p.ecosystem = s.ecosystem AND p.key = s.project_key)) ORDER BY s.id DESC LIMIT 1000"
        )))
        .bind(account.0.clone())
        .bind(now.0)
        .fetch_all(&self.read)
        .await
        .map_err(failed)?;
        rows.iter().map(staged).collect()
    }

    /// What waits, in pages: ids after one, at most `limit`.
    pub(crate) async fn waiting_after(&self, after: &str, limit: i64) -> Result<Vec<StagedRow>> {
        let rows = sqlx::query(built(format!(
            "{STAGED} WHERE s.ended_at IS NULL AND s.id > $1 ORDER BY s.id LIMIT $2"
        )))
        .bind(after.to_owned())
        .bind(limit)
        .fetch_all(&self.read)
        .await
        .map_err(failed)?;
        rows.iter().map(staged).collect()
    }

    /// Ends what nobody answered in time, and forgets what ended long ago; how many ended.
    pub(crate) async fn end_expired_staged(&self, now: Time, forget: Time) -> Result<u64> {
        let mut tx = self.write().await?;
        let done = sqlx::query(
            "UPDATE staged_publications SET ended_at = $1, ended_why = 'expired' WHERE ended_at IS NULL AND expires_at <= $1",
        )
        .bind(now.0)
        .execute(&mut *tx.inner)
        .await
        .map_err(failed)?;
        sqlx::query("DELETE FROM staged_publications WHERE ended_at < $1")
            .bind(forget.0)
            .execute(&mut *tx.inner)
            .await
            .map_err(failed)?;
        tx.commit().await?;
        Ok(done.rows_affected())
    }
}

impl Tx {
    /// Lets one staging of a project at a time through to the end of the transaction, so that those that come together
    /// are counted; SQLite's one writer sees to that by itself.
    pub(crate) async fn lock_staging(&mut self, ecosystem: Ecosystem, key: &str) -> Result<()> {
        if self.backend == Backend::Postgres {
            sqlx::query("SELECT 1 AS n FROM (SELECT pg_advisory_xact_lock(hashtext($1))) AS held")
                .bind(format!("staging/{ecosystem}/{key}"))
                .fetch_one(&mut *self.inner)
                .await
                .map_err(failed)?;
        }
        Ok(())
    }

    /// What waits on a project.
    pub(crate) async fn staged_on(
        &mut self,
        ecosystem: Ecosystem,
        key: &str,
    ) -> Result<Vec<StagedRow>> {
        let rows = sqlx::query(built(format!(
            "{STAGED} WHERE s.ecosystem = $1 AND s.project_key = $2 AND s.ended_at IS NULL ORDER BY s.id"
        )))
        .bind(ecosystem.as_str())
        .bind(key.to_owned())
        .fetch_all(&mut *self.inner)
        .await
        .map_err(failed)?;
        rows.iter().map(staged).collect()
    }

    /// Ends what waited too long under an identifier.
    pub(crate) async fn end_expired_staged_of(&mut self, purl: &str, now: Time) -> Result<()> {
        sqlx::query(
            "UPDATE staged_publications SET ended_at = $1, ended_why = 'expired' WHERE purl = $2 AND ended_at IS NULL AND expires_at <= $1",
        )
        .bind(now.0)
        .bind(purl.to_owned())
        .execute(&mut *self.inner)
        .await
        .map_err(failed)?;
        Ok(())
    }

    /// Keeps a staged publication. Where another waits under its identifier that is a `write-conflict`.
    pub(crate) async fn insert_staged(&mut self, row: &StagedRow) -> Result<()> {
        let mut slim = row.manifest.clone();
        slim.description = None;
        let manifest = serde_json::to_string(&slim)
            .map_err(|source| Error::internal("a manifest can not be written", source))?;
        sqlx::query(
            "INSERT INTO staged_publications (id, ecosystem, project_name, project_key, version, filename, purl, sha256, sha1, sha512, size, \
             manifest, form, bundle, account_id, workflow, publisher_id, created_at, expires_at) \
             VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16, $17, $18, $19)",
        )
        .bind(row.id.clone())
        .bind(row.ecosystem.as_str())
        .bind(row.project_name.clone())
        .bind(row.project_key.clone())
        .bind(row.version.clone())
        .bind(row.filename.clone())
        .bind(row.purl.clone())
        .bind(row.sha256.clone())
        .bind(row.sha1.clone())
        .bind(row.sha512.clone())
        .bind(signed(row.size))
        .bind(manifest)
        .bind(row.form.clone())
        .bind(row.bundle.clone())
        .bind(row.account.as_ref().map(|id| id.0.clone()))
        .bind(row.workflow.clone())
        .bind(row.publisher.as_ref().map(|id| id.0.clone()))
        .bind(row.created.0)
        .bind(row.expires.0)
        .execute(&mut *self.inner)
        .await
        .map_err(failed)?;
        Ok(())
    }

    /// Ends a staged publication; false where it had ended before.
    pub(crate) async fn end_staged(
        &mut self,
        id: &str,
        why: &str,
        by: Option<&AccountId>,
        now: Time,
    ) -> Result<bool> {
        let done = sqlx::query(
            "UPDATE staged_publications SET ended_at = $1, ended_why = $2, approver_id = $3 WHERE id = $4 AND ended_at IS NULL AND expires_at > $1",
        )
        .bind(now.0)
        .bind(why.to_owned())
        .bind(by.map(|id| id.0.clone()))
        .bind(id.to_owned())
        .execute(&mut *self.inner)
        .await
        .map_err(failed)?;
        Ok(done.rows_affected() == 1)
    }

    /// Keeps who let a file pass.
    pub(crate) async fn set_approver(&mut self, file: &FileId, approver: &AccountId) -> Result<()> {
        sqlx::query("UPDATE files SET approver_id = $1 WHERE id = $2")
            .bind(approver.0.clone())
            .bind(file.0.clone())
            .execute(&mut *self.inner)
            .await
            .map_err(failed)?;
        Ok(())
    }
}
