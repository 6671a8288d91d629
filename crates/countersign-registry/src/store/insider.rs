//! What somebody does who has the database in hand, behind the registry's back: for drills, which do it to a staging copy of their own
//! and then look who notices. Nothing else may call it.

use super::{Store, Tx, failed, signed};
use crate::error::Result;
use countersign_trust::checkpoint::Checkpoint;

/// What an insider does.
#[derive(Clone, Debug)]
pub enum Tampering<'a> {
    /// Takes away what tells that a subject was withheld and served again: entries of the log, and events.
    Forget {
        /// The subject's purl.
        subject: &'a str,
    },
    /// Has a file's row stand for other bytes.
    Swap {
        /// The file's purl.
        file: &'a str,
        /// SHA-256 of the other bytes, hex.
        sha256: &'a str,
    },
    /// Puts the log's head back to one that was signed before.
    SetBack {
        /// The shard.
        shard: u64,
        /// What the older head says.
        head: &'a Checkpoint,
        /// The older head as it was signed.
        note: &'a str,
    },
}

impl Store {
    /// Tampers with the database of a staging copy; how many rows changed.
    ///
    /// # Errors
    /// Where the database fails.
    pub async fn tamper(&self, act: &Tampering<'_>) -> Result<u64> {
        let mut tx = self.write().await?;
        let rows = match act {
            Tampering::Forget { subject } => tx.forget(subject).await?,
            Tampering::Swap { file, sha256 } => tx.swap(file, sha256).await?,
            Tampering::SetBack { shard, head, note } => tx.set_back(*shard, head, note).await?,
        };
        tx.commit().await?;
        Ok(rows)
    }
}

impl Tx {
    async fn forget(&mut self, subject: &str) -> Result<u64> {
        let mut rows = 0;
        for sql in [
            "DELETE FROM leaves WHERE subject = $1 AND kind IN ('quarantined', 'released')",
            "DELETE FROM events WHERE subject = $1 AND kind IN ('quarantined', 'released')",
        ] {
            let done = sqlx::query(sql)
                .bind(subject.to_owned())
                .execute(&mut *self.inner)
                .await
                .map_err(failed)?;
            rows += done.rows_affected();
        }
        Ok(rows)
    }

    async fn swap(&mut self, file: &str, sha256: &str) -> Result<u64> {
        let done = sqlx::query("UPDATE files SET sha256 = $2 WHERE purl = $1")
            .bind(file.to_owned())
            .bind(sha256.to_owned())
            .execute(&mut *self.inner)
            .await
            .map_err(failed)?;
        Ok(done.rows_affected())
    }

    async fn set_back(&mut self, shard: u64, head: &Checkpoint, note: &str) -> Result<u64> {
        let done = sqlx::query(
            "UPDATE log_head SET size = $2, root = $3, checkpoint = $4 WHERE shard = $1",
        )
        .bind(signed(shard))
        .bind(signed(head.size))
        .bind(head.root.to_string())
        .bind(note.to_owned())
        .execute(&mut *self.inner)
        .await
        .map_err(failed)?;
        Ok(done.rows_affected())
    }
}
