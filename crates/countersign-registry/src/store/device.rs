//! Rows of programs that wait to be let in.

use countersign_trust::digest::Sha256;
use sqlx::any::AnyRow;

use super::{Store, Tx, failed, maybe_text, maybe_time, text, time, unsigned};
use crate::error::{Error, Result};
use crate::model::{AccountId, Action, Time};

/// A program that waits, or waited.
#[derive(Clone, Debug)]
pub(crate) struct DeviceRow {
    pub(crate) secret_hash: String,
    pub(crate) hint: String,
    pub(crate) user_code: String,
    pub(crate) client: String,
    pub(crate) address: String,
    pub(crate) action: Action,
    pub(crate) created: Time,
    pub(crate) expires: Time,
    /// When somebody decided.
    pub(crate) decided: Option<Time>,
    /// Who let it in; of one decided without, nobody did.
    pub(crate) account: Option<AccountId>,
    /// Whether its secret fetches a token, once, instead of becoming one.
    pub(crate) fetches: bool,
    /// When it was last told how far it is.
    pub(crate) polled: Option<Time>,
}

const DEVICE: &str = "SELECT secret_hash, hint, user_code, client, address, action, created_at, expires_at, decided_at, account_id, fetches, polled_at \
     FROM device_logins";

fn device(row: &AnyRow) -> Result<DeviceRow> {
    Ok(DeviceRow {
        secret_hash: text(row, "secret_hash")?,
        hint: text(row, "hint")?,
        user_code: text(row, "user_code")?,
        client: text(row, "client")?,
        address: text(row, "address")?,
        action: text(row, "action")?
            .parse()
            .map_err(|why: String| Error::internal("a stored action is none", why))?,
        created: time(row, "created_at")?,
        expires: time(row, "expires_at")?,
        decided: maybe_time(row, "decided_at")?,
        account: maybe_text(row, "account_id")?.map(AccountId),
        fetches: unsigned(row, "fetches")? == 1,
        polled: maybe_time(row, "polled_at")?,
    })
}

impl Store {
    /// The program that holds this secret and has not lapsed.
    pub(crate) async fn device_by_secret(
        &self,
        hash: Sha256,
        now: Time,
    ) -> Result<Option<DeviceRow>> {
        let row = sqlx::query(super::built(format!(
            "{DEVICE} WHERE secret_hash = $1 AND expires_at > $2"
        )))
        .bind(hash.to_string())
        .bind(now.0)
        .fetch_optional(&self.read)
        .await
        .map_err(failed)?;
        row.as_ref().map(device).transpose()
    }

    /// The program that shows this code, waits, and has not lapsed.
    pub(crate) async fn device_by_code(&self, code: &str, now: Time) -> Result<Option<DeviceRow>> {
        let row = sqlx::query(super::built(format!(
            "{DEVICE} WHERE user_code = $1 AND expires_at > $2 AND decided_at IS NULL"
        )))
        .bind(code.to_owned())
        .bind(now.0)
        .fetch_optional(&self.read)
        .await
        .map_err(failed)?;
        row.as_ref().map(device).transpose()
    }

    /// Notes that a program was told how far it is, unless it was told after `since`; whether it was noted.
    pub(crate) async fn note_poll(
        &self,
        secret_hash: &str,
        since: Time,
        now: Time,
    ) -> Result<bool> {
        let done = sqlx::query(
            "UPDATE device_logins SET polled_at = $3 WHERE secret_hash = $1 AND (polled_at IS NULL OR polled_at <= $2)",
        )
        .bind(secret_hash.to_owned())
        .bind(since.0)
        .bind(now.0)
        .execute(&self.write)
        .await
        .map_err(failed)?;
        Ok(done.rows_affected() == 1)
    }

    /// Forgets programs that lapsed.
    pub(crate) async fn purge_devices(&self, now: Time) -> Result<u64> {
        let done = sqlx::query("DELETE FROM device_logins WHERE expires_at <= $1")
            .bind(now.0)
            .execute(&self.write)
            .await
            .map_err(failed)?;
        Ok(done.rows_affected())
    }
}

impl Tx {
    /// A program begins to wait.
    pub(crate) async fn insert_device(&mut self, row: &DeviceRow) -> Result<()> {
        sqlx::query(
            "INSERT INTO device_logins (secret_hash, hint, user_code, client, address, action, created_at, expires_at, fetches) \
             VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9)",
        )
        .bind(row.secret_hash.clone())
        .bind(row.hint.clone())
        .bind(row.user_code.clone())
        .bind(row.client.clone())
        .bind(row.address.clone())
        .bind(row.action.as_str())
        .bind(row.created.0)
        .bind(row.expires.0)
        .bind(i64::from(row.fetches))
        .execute(&mut *self.inner)
        .await
        .map_err(failed)?;
        Ok(())
    }

    /// Somebody decides about the program that shows this code; false where it waits no longer.
    pub(crate) async fn decide_device(
        &mut self,
        code: &str,
        account: Option<&AccountId>,
        now: Time,
    ) -> Result<bool> {
        let done = sqlx::query(
            "UPDATE device_logins SET decided_at = $2, account_id = $3 WHERE user_code = $1 AND decided_at IS NULL AND expires_at > $2",
        )
        .bind(code.to_owned())
        .bind(now.0)
        .bind(account.map(|id| id.0.clone()))
        .execute(&mut *self.inner)
        .await
        .map_err(failed)?;
        Ok(done.rows_affected() == 1)
    }

    /// A program that was let in fetches its token: it waits no longer. False where another one was quicker.
    pub(crate) async fn end_device(&mut self, secret_hash: &str) -> Result<bool> {
        let done = sqlx::query(
            "DELETE FROM device_logins WHERE secret_hash = $1 AND fetches = 1 AND account_id IS NOT NULL",
        )
        .bind(secret_hash.to_owned())
        .execute(&mut *self.inner)
        .await
        .map_err(failed)?;
        Ok(done.rows_affected() == 1)
    }
}
