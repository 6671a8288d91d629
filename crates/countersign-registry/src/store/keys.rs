//! The public halves of the keys that the registry signs with besides the log's.

use super::{Store, Tx, built, failed, maybe_time, text, time, unsigned};
use crate::error::{Error, Result};
use crate::model::Time;

/// Which keys: each kind has a table.
#[derive(Clone, Copy, Debug)]
pub(crate) enum KeyTable {
    /// Those of the registry's own attestations.
    Attestations,
    /// Those of the signatures over npm's versions.
    Npm,
}

impl KeyTable {
    /// The table, and its column of names.
    fn words(self) -> (&'static str, &'static str) {
        match self {
            Self::Attestations => ("attestation_keys", "hint"),
            Self::Npm => ("npm_keys", "keyid"),
        }
    }
}

/// A key that signs, or signed.
#[derive(Clone, Debug)]
pub(crate) struct KeyRow {
    pub(crate) number: u64,
    /// What signatures call it.
    pub(crate) name: String,
    /// SubjectPublicKeyInfo in DER, hex.
    pub(crate) spki: String,
    pub(crate) since: Time,
    pub(crate) until: Option<Time>,
}

impl KeyRow {
    /// Its SubjectPublicKeyInfo.
    pub(crate) fn der(&self) -> Result<Vec<u8>> {
        hex::decode(&self.spki)
            .map_err(|source| Error::internal("a stored key is malformed", source))
    }
}

impl Store {
    /// The keys of a kind, the newest first.
    pub(crate) async fn keys(&self, kind: KeyTable) -> Result<Vec<KeyRow>> {
        let (table, name) = kind.words();
        let rows = sqlx::query(built(format!(
            "SELECT number, {name} AS name, spki, since_at, until_at FROM {table} ORDER BY number DESC"
        )))
        .fetch_all(&self.near)
        .await
        .map_err(failed)?;
        rows.iter()
            .map(|row| {
                Ok(KeyRow {
                    number: unsigned(row, "number")?,
                    name: text(row, "name")?,
                    spki: text(row, "spki")?,
                    since: time(row, "since_at")?,
                    until: maybe_time(row, "until_at")?,
                })
            })
            .collect()
    }
}

impl Tx {
    /// Writes the key that signs from now on; the one before it ends. False where another of its number signs already.
    pub(crate) async fn put_key(&mut self, kind: KeyTable, row: &KeyRow) -> Result<bool> {
        self.end_key(kind, row.since).await?;
        let (table, name) = kind.words();
        let done = sqlx::query(built(format!(
            "INSERT INTO {table} (number, {name}, spki, since_at) VALUES ($1, $2, $3, $4) ON CONFLICT (number) DO NOTHING"
        )))
        .bind(super::signed(row.number))
        .bind(row.name.clone())
        .bind(row.spki.clone())
        .bind(row.since.0)
        .execute(&mut *self.inner)
        .await
        .map_err(failed)?;
        Ok(done.rows_affected() == 1)
    }

    /// The key of a kind signs no more.
    pub(crate) async fn end_key(&mut self, kind: KeyTable, now: Time) -> Result<()> {
        let (table, _) = kind.words();
        sqlx::query(built(format!(
            "UPDATE {table} SET until_at = $1 WHERE until_at IS NULL"
        )))
        .bind(now.0)
        .execute(&mut *self.inner)
        .await
        .map_err(failed)?;
        Ok(())
    }
}
