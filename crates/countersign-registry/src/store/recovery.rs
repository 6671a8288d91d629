//! Getting back into an account.

use countersign_trust::digest::Sha256;
use sqlx::any::AnyRow;

use super::{Store, Tx, built, failed, maybe_time, text, time, unsigned};
use crate::error::Result;
use crate::model::{AccountId, CallerOrigin, ProjectId, Time};

/// A case of recovery.
#[derive(Clone, Debug)]
pub(crate) struct RecoveryRow {
    pub(crate) id: String,
    pub(crate) account: AccountId,
    pub(crate) user: String,
    pub(crate) address: String,
    /// How many operators must agree.
    pub(crate) operators: u64,
    pub(crate) opened: Time,
    pub(crate) ready: Option<Time>,
    pub(crate) expires: Time,
}

const CASE: &str = "SELECT r.id, r.account_id, a.name, r.address, r.demands_operators, r.opened_at, r.ready_at, r.expires_at \
     FROM recovery_cases r JOIN accounts a ON a.id = r.account_id \
     WHERE r.stopped_at IS NULL AND r.finished_at IS NULL AND a.disabled_at IS NULL";

const PROOFS: &str =
    "SELECT kind, proof, at FROM recovery_proofs WHERE case_id = $1 ORDER BY at, kind, proof";

fn proof(row: &AnyRow) -> Result<(String, String, Time)> {
    Ok((text(row, "kind")?, text(row, "proof")?, time(row, "at")?))
}

fn case(row: &AnyRow) -> Result<RecoveryRow> {
    Ok(RecoveryRow {
        id: text(row, "id")?,
        account: AccountId(text(row, "account_id")?),
        user: text(row, "name")?,
        address: text(row, "address")?,
        operators: unsigned(row, "demands_operators")?,
        opened: time(row, "opened_at")?,
        ready: maybe_time(row, "ready_at")?,
        expires: time(row, "expires_at")?,
    })
}

impl Store {
    /// Every open case, oldest first.
    pub(crate) async fn recoveries(&self) -> Result<Vec<RecoveryRow>> {
        let rows = sqlx::query(built(format!("{CASE} ORDER BY r.id")))
            .fetch_all(&self.read)
            .await
            .map_err(failed)?;
        rows.iter().map(case).collect()
    }

    /// The open case with this secret's hash.
    pub(crate) async fn recovery_by_secret(&self, hash: Sha256) -> Result<Option<RecoveryRow>> {
        let row = sqlx::query(built(format!("{CASE} AND r.secret_hash = $1")))
            .bind(hash.to_string())
            .fetch_optional(&self.read)
            .await
            .map_err(failed)?;
        row.as_ref().map(case).transpose()
    }

    /// Proofs of a case, with the consent of operators among them: kind, which, and when.
    pub(crate) async fn recovery_proofs(&self, case: &str) -> Result<Vec<(String, String, Time)>> {
        let rows = sqlx::query(PROOFS)
            .bind(case.to_owned())
            .fetch_all(&self.read)
            .await
            .map_err(failed)?;
        rows.iter().map(proof).collect()
    }
}

impl Tx {
    /// The account of a proved address that still counts for recovery, with the address's id and the address as it was
    /// proved: mail goes there, not to another spelling that somebody typed.
    pub(crate) async fn recovery_address(
        &mut self,
        key: &str,
    ) -> Result<Option<(AccountId, String, String)>> {
        let row = sqlx::query(
            "SELECT e.account_id, e.id, e.address FROM account_emails e JOIN accounts a ON a.id = e.account_id \
             WHERE e.address_key = $1 AND e.verified_at IS NOT NULL AND e.abandoned_at IS NULL AND a.disabled_at IS NULL",
        )
        .bind(key.to_owned())
        .fetch_optional(&mut *self.inner)
        .await
        .map_err(failed)?;
        row.map(|row| {
            Ok((
                AccountId(text(&row, "account_id")?),
                text(&row, "id")?,
                text(&row, "address")?,
            ))
        })
        .transpose()
    }

    /// The main address of a user, where it was proved and still counts for recovery.
    pub(crate) async fn recovery_address_of(&mut self, name_key: &str) -> Result<Option<String>> {
        let row = sqlx::query(
            "SELECT e.address FROM account_emails e JOIN accounts a ON a.id = e.account_id \
             WHERE a.name_key = $1 AND e.verified_at IS NOT NULL AND e.abandoned_at IS NULL AND e.primary_at IS NOT NULL \
             AND a.disabled_at IS NULL",
        )
        .bind(name_key.to_owned())
        .fetch_optional(&mut *self.inner)
        .await
        .map_err(failed)?;
        row.map(|row| text(&row, "address")).transpose()
    }

    /// The open case of an account.
    pub(crate) async fn recovery_of(&mut self, account: &AccountId) -> Result<Option<RecoveryRow>> {
        self.one_case("r.account_id = $1", &account.0).await
    }

    /// The open case of a user.
    pub(crate) async fn recovery_of_user(&mut self, name_key: &str) -> Result<Option<RecoveryRow>> {
        self.one_case("a.name_key = $1", name_key).await
    }

    /// The open case with this id.
    pub(crate) async fn recovery(&mut self, id: &str) -> Result<Option<RecoveryRow>> {
        self.one_case("r.id = $1", id).await
    }

    async fn one_case(
        &mut self,
        condition: &'static str,
        value: &str,
    ) -> Result<Option<RecoveryRow>> {
        let row = sqlx::query(built(format!("{CASE} AND {condition}")))
            .bind(value.to_owned())
            .fetch_optional(&mut *self.inner)
            .await
            .map_err(failed)?;
        row.as_ref().map(case).transpose()
    }

    /// Opens a case. A second open one of an account is a `write-conflict`.
    pub(crate) async fn insert_recovery(
        &mut self,
        row: &RecoveryRow,
        secret: Sha256,
        origin: Option<&CallerOrigin>,
    ) -> Result<()> {
        sqlx::query(
            "INSERT INTO recovery_cases (id, account_id, secret_hash, address, demands_operators, opened_at, expires_at, origin_address, origin_agent) \
             VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9)",
        )
        .bind(row.id.clone())
        .bind(row.account.0.clone())
        .bind(secret.to_string())
        .bind(row.address.clone())
        .bind(super::signed(row.operators))
        .bind(row.opened.0)
        .bind(row.expires.0)
        .bind(origin.map(|origin| origin.address.to_string()))
        .bind(origin.map(|origin| origin.agent.clone()))
        .execute(&mut *self.inner)
        .await
        .map_err(failed)?;
        Ok(())
    }

    /// Who opens an open case again gets its page; the secret of before is good no longer.
    pub(crate) async fn renew_recovery(&mut self, id: &str, secret: Sha256) -> Result<()> {
        sqlx::query("UPDATE recovery_cases SET secret_hash = $2 WHERE id = $1")
            .bind(id.to_owned())
            .bind(secret.to_string())
            .execute(&mut *self.inner)
            .await
            .map_err(failed)?;
        Ok(())
    }

    /// Adds a proof; false where it was given before.
    pub(crate) async fn insert_recovery_proof(
        &mut self,
        case: &str,
        kind: &str,
        proof: &str,
        now: Time,
    ) -> Result<bool> {
        let done = sqlx::query(
            "INSERT INTO recovery_proofs (case_id, kind, proof, at) VALUES ($1, $2, $3, $4) ON CONFLICT (case_id, kind, proof) DO NOTHING",
        )
        .bind(case.to_owned())
        .bind(kind.to_owned())
        .bind(proof.to_owned())
        .bind(now.0)
        .execute(&mut *self.inner)
        .await
        .map_err(failed)?;
        Ok(done.rows_affected() == 1)
    }

    /// Proofs of a case: kind, what proved it, when.
    pub(crate) async fn recovery_proofs(
        &mut self,
        case: &str,
    ) -> Result<Vec<(String, String, Time)>> {
        let rows = sqlx::query(PROOFS)
            .bind(case.to_owned())
            .fetch_all(&mut *self.inner)
            .await
            .map_err(failed)?;
        rows.iter().map(proof).collect()
    }

    /// There are proofs enough: the waiting time runs. False where it runs already.
    pub(crate) async fn await_recovery(
        &mut self,
        id: &str,
        ready: Time,
        expires: Time,
    ) -> Result<bool> {
        let done = sqlx::query("UPDATE recovery_cases SET ready_at = $2, expires_at = $3 WHERE id = $1 AND ready_at IS NULL")
            .bind(id.to_owned())
            .bind(ready.0)
            .bind(expires.0)
            .execute(&mut *self.inner)
            .await
            .map_err(failed)?;
        Ok(done.rows_affected() == 1)
    }

    /// Its holder is told that the waiting is over; false where they were.
    pub(crate) async fn told_recovery_ready(&mut self, id: &str, now: Time) -> Result<bool> {
        let done = sqlx::query("UPDATE recovery_cases SET told_ready_at = $2 WHERE id = $1 AND told_ready_at IS NULL AND stopped_at IS NULL")
            .bind(id.to_owned())
            .bind(now.0)
            .execute(&mut *self.inner)
            .await
            .map_err(failed)?;
        Ok(done.rows_affected() == 1)
    }

    /// Stops a case; false where it is open no longer.
    pub(crate) async fn stop_recovery(&mut self, id: &str, why: &str, now: Time) -> Result<bool> {
        let done = sqlx::query(
            "UPDATE recovery_cases SET stopped_at = $2, stopped_why = $3 WHERE id = $1 AND stopped_at IS NULL AND finished_at IS NULL",
        )
        .bind(id.to_owned())
        .bind(now.0)
        .bind(why.to_owned())
        .execute(&mut *self.inner)
        .await
        .map_err(failed)?;
        Ok(done.rows_affected() == 1)
    }

    /// Finishes a case; false where it is open no longer.
    pub(crate) async fn finish_recovery(&mut self, id: &str, now: Time) -> Result<bool> {
        let done = sqlx::query(
            "UPDATE recovery_cases SET finished_at = $2 WHERE id = $1 AND stopped_at IS NULL AND finished_at IS NULL",
        )
        .bind(id.to_owned())
        .bind(now.0)
        .execute(&mut *self.inner)
        .await
        .map_err(failed)?;
        Ok(done.rows_affected() == 1)
    }

    /// Ends every way into an account: tokens, sessions, password, factors, codes, links of other providers.
    pub(crate) async fn close_every_door(
        &mut self,
        account: &AccountId,
        why: &str,
        now: Time,
    ) -> Result<()> {
        for sql in [
            "UPDATE credentials SET revoked_at = $2, revoked_why = $3 WHERE account_id = $1 AND revoked_at IS NULL",
            "UPDATE sessions SET ended_at = $2, ended_why = $3 WHERE account_id = $1 AND ended_at IS NULL",
        ] {
            sqlx::query(sql)
                .bind(account.0.clone())
                .bind(now.0)
                .bind(why.to_owned())
                .execute(&mut *self.inner)
                .await
                .map_err(failed)?;
        }
        sqlx::query(
            "UPDATE factors SET removed_at = $2, secret = '' WHERE account_id = $1 AND removed_at IS NULL",
        )
        .bind(account.0.clone())
        .bind(now.0)
        .execute(&mut *self.inner)
        .await
        .map_err(failed)?;
        for sql in [
            "DELETE FROM passwords WHERE account_id = $1",
            "DELETE FROM recovery_codes WHERE account_id = $1",
            "DELETE FROM devices WHERE account_id = $1",
            "DELETE FROM linked_identities WHERE account_id = $1",
            "DELETE FROM mail_secrets WHERE account_id = $1",
        ] {
            sqlx::query(sql)
                .bind(account.0.clone())
                .execute(&mut *self.inner)
                .await
                .map_err(failed)?;
        }
        Ok(())
    }

    /// Ends the open enrolments of an account under a label.
    pub(crate) async fn revoke_enrolments(
        &mut self,
        account: &AccountId,
        label: &str,
        now: Time,
    ) -> Result<()> {
        sqlx::query(
            "UPDATE credentials SET revoked_at = $3, revoked_why = 'replaced' \
             WHERE account_id = $1 AND kind = 'enrolment' AND label = $2 AND revoked_at IS NULL",
        )
        .bind(account.0.clone())
        .bind(label.to_owned())
        .bind(now.0)
        .execute(&mut *self.inner)
        .await
        .map_err(failed)?;
        Ok(())
    }

    /// The account came back by recovery.
    pub(crate) async fn mark_recovered(&mut self, account: &AccountId, now: Time) -> Result<()> {
        sqlx::query("UPDATE accounts SET recovered_at = $2 WHERE id = $1")
            .bind(account.0.clone())
            .bind(now.0)
            .execute(&mut *self.inner)
            .await
            .map_err(failed)?;
        Ok(())
    }

    /// When an account last came back by recovery.
    pub(crate) async fn recovered_at(&mut self, account: &AccountId) -> Result<Option<Time>> {
        let row = sqlx::query("SELECT recovered_at FROM accounts WHERE id = $1")
            .bind(account.0.clone())
            .fetch_optional(&mut *self.inner)
            .await
            .map_err(failed)?;
        match row {
            Some(row) => maybe_time(&row, "recovered_at"),
            None => Ok(None),
        }
    }

    /// Does an account own a project that many depend on?
    pub(crate) async fn owns_critical(&mut self, account: &AccountId) -> Result<bool> {
        let row = sqlx::query(
            "SELECT count(*) AS n FROM effective_roles g JOIN projects p ON p.id = g.project_id \
             WHERE g.account_id = $1 AND g.role = 'owner' AND p.critical_at IS NOT NULL AND p.removed_at IS NULL",
        )
        .bind(account.0.clone())
        .fetch_one(&mut *self.inner)
        .await
        .map_err(failed)?;
        Ok(unsigned(&row, "n")? > 0)
    }

    /// Whoever owns a project together with an account, and one such project for each.
    pub(crate) async fn co_owners(
        &mut self,
        account: &AccountId,
    ) -> Result<Vec<(AccountId, ProjectId, String)>> {
        let rows = sqlx::query(
            "SELECT o.account_id, min(p.id) AS project_id, min(p.name) AS project FROM effective_roles g \
             JOIN effective_roles o ON o.project_id = g.project_id AND o.role = 'owner' AND o.account_id <> g.account_id \
             JOIN projects p ON p.id = g.project_id JOIN accounts a ON a.id = o.account_id \
             WHERE g.account_id = $1 AND g.role = 'owner' AND a.disabled_at IS NULL \
             GROUP BY o.account_id ORDER BY o.account_id",
        )
        .bind(account.0.clone())
        .fetch_all(&mut *self.inner)
        .await
        .map_err(failed)?;
        rows.iter()
            .map(|row| {
                Ok((
                    AccountId(text(row, "account_id")?),
                    ProjectId(text(row, "project_id")?),
                    text(row, "project")?,
                ))
            })
            .collect()
    }
}
