//! npm: the registry's signatures over versions.

use super::{Store, Tx, failed, text};
use crate::error::Result;
use crate::model::{FileId, ProjectId};

/// A version whose signature is missing or does not count.
#[derive(Clone, Debug)]
pub(crate) struct Unsigned {
    pub(crate) file: FileId,
    pub(crate) project: ProjectId,
    pub(crate) key: String,
    pub(crate) name: String,
    pub(crate) version: String,
    pub(crate) sha512: String,
}

/// Clients take a signature of an ended key for versions that were published before it ended, by the millisecond.
const UNSIGNED: &str = "SELECT f.id, f.project_id, p.key, p.name, r.version, f.sha512 FROM files f \
     JOIN projects p ON p.id = f.project_id JOIN releases r ON r.id = f.release_id \
     WHERE p.ecosystem = 'npm' AND f.sha512 IS NOT NULL AND f.removed_at IS NULL AND NOT EXISTS (SELECT 1 FROM file_signatures s \
     JOIN npm_keys k ON k.keyid = s.keyid WHERE s.file_id = f.id \
     AND (k.until_at IS NULL OR k.until_at / 1000 > COALESCE(f.live_at, f.staged_at) / 1000)) ORDER BY f.id LIMIT $1";

impl Store {
    /// Versions that no signature which counts stands beside.
    pub(crate) async fn unsigned_versions(&self, limit: i64) -> Result<Vec<Unsigned>> {
        let rows = sqlx::query(UNSIGNED)
            .bind(limit)
            .fetch_all(&self.read)
            .await
            .map_err(failed)?;
        rows.iter()
            .map(|row| {
                Ok(Unsigned {
                    file: FileId(text(row, "id")?),
                    project: ProjectId(text(row, "project_id")?),
                    key: text(row, "key")?,
                    name: text(row, "name")?,
                    version: text(row, "version")?,
                    sha512: text(row, "sha512")?,
                })
            })
            .collect()
    }
}

impl Tx {
    /// Writes the signature of a version in the place of those it had: clients refuse a version when one does not count.
    /// False where this key signs no more.
    pub(crate) async fn sign_version(
        &mut self,
        file: &FileId,
        keyid: &str,
        signature: &str,
    ) -> Result<bool> {
        sqlx::query("DELETE FROM file_signatures WHERE file_id = $1")
            .bind(file.0.clone())
            .execute(&mut *self.inner)
            .await
            .map_err(failed)?;
        let done = sqlx::query(
            "INSERT INTO file_signatures (file_id, keyid, signature) SELECT $1, keyid, $3 FROM npm_keys \
             WHERE keyid = $2 AND until_at IS NULL",
        )
        .bind(file.0.clone())
        .bind(keyid.to_owned())
        .bind(signature.to_owned())
        .execute(&mut *self.inner)
        .await
        .map_err(failed)?;
        Ok(done.rows_affected() == 1)
    }
}
