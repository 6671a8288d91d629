//! Personal data: where it stands, how it is handed out, and what becomes of it when an account is erased.

use countersign_trust::digest::Sha256;
use futures::TryStreamExt;
use serde_json::{Map, Value};
use sqlx::Row;

use super::{Column, Store, Tx, built, failed, number, text};
use crate::error::Result;
use crate::model::{AccountId, ProjectId, Time};

/// What an erasure does with an account's rows of a table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fate {
    /// They go.
    Delete,
    /// They stay: they name the account by its id alone, and by then that id leads to nobody.
    Keep,
    /// The module empties the columns that tell of a person.
    Empty(&'static str),
}

/// A table with rows of accounts.
pub(crate) struct Personal {
    pub(crate) table: &'static str,
    /// Which rows are an account's, `$1`.
    pub(crate) whose: &'static str,
    pub(crate) fate: Fate,
}

const fn personal(table: &'static str, whose: &'static str, fate: Fate) -> Personal {
    Personal { table, whose, fate }
}

/// Every table with rows of accounts, in the order in which they can be deleted. A test finds tables that are missing.
pub(crate) const PERSONAL: &[Personal] = &[
    personal("mail_secrets", "account_id = $1", Fate::Delete),
    personal("mails", "account_id = $1", Fate::Delete),
    personal("account_notices", "account_id = $1", Fate::Delete),
    personal("pending_addresses", "account_id = $1", Fate::Delete),
    personal("account_emails", "account_id = $1", Fate::Delete),
    personal(
        "recovery_cases",
        "account_id = $1",
        Fate::Empty(
            "address = '', secret_hash = id, origin_address = NULL, origin_agent = NULL, stopped_at = COALESCE(stopped_at, finished_at, opened_at)",
        ),
    ),
    personal("passwords", "account_id = $1", Fate::Delete),
    personal("factors", "account_id = $1", Fate::Delete),
    personal("recovery_codes", "account_id = $1", Fate::Delete),
    personal("sessions", "account_id = $1", Fate::Delete),
    personal("ceremonies", "account_id = $1", Fate::Delete),
    personal("devices", "account_id = $1", Fate::Delete),
    personal("linked_identities", "account_id = $1", Fate::Delete),
    personal("device_logins", "account_id = $1", Fate::Delete),
    personal("team_members", "account_id = $1", Fate::Delete),
    personal("organisation_members", "account_id = $1", Fate::Delete),
    personal("invitations", "account_id = $1", Fate::Delete),
    personal("approvals", "account_id = $1", Fate::Delete),
    personal("stars", "account_id = $1", Fate::Delete),
    personal("downloaders", "account_id = $1", Fate::Delete),
    personal("download_warnings", "account_id = $1", Fate::Delete),
    personal(
        "proposals",
        "account_id = $1 OR by_account_id = $1",
        Fate::Keep,
    ),
    personal(
        "credentials",
        "account_id = $1",
        Fate::Empty("label = '', hint = ''"),
    ),
    personal("grants", "account_id = $1", Fate::Keep),
    personal("publishers", "account_id = $1", Fate::Keep),
    personal("attestation_identities", "account_id = $1", Fate::Keep),
    personal(
        "provenance_changes",
        "opened_by = $1 OR confirmed_by = $1",
        Fate::Keep,
    ),
    personal("files", "uploader_id = $1 OR approver_id = $1", Fate::Keep),
    personal(
        "staged_publications",
        "account_id = $1 OR approver_id = $1",
        Fate::Keep,
    ),
    personal("trusted_reporters", "account_id = $1", Fate::Delete),
    personal(
        "reports",
        "account_id = $1",
        Fate::Empty("account_id = NULL, text = '', evidence = ''"),
    ),
    personal("freezes", "account_id = $1", Fate::Keep),
    personal("cases", "appealed_by = $1", Fate::Keep),
    personal(
        "events",
        "(actor_kind = 'account' AND actor_id = $1) OR account_id = $1",
        Fate::Keep,
    ),
    personal(
        "accounts",
        "id = $1",
        Fate::Empty(
            // No user name may have a colon, so nobody can take it beforehand.
            "name = 'erased:' || id, name_key = 'erased:' || id, display_name = NULL, operator_since = NULL",
        ),
    ),
];

/// Columns that an export leaves out: they are good for attacks and tell their holder nothing.
const SECRET: &[&str] = &[
    "secret_hash",
    "hash",
    "secret",
    "state",
    "code_hash",
    "device_hash",
];

/// Columns that hold where a client came from, with the time by which they age: table, columns, time.
const ORIGINS: &[(&str, &str, &str)] = &[
    (
        "account_notices",
        "origin_address = NULL, origin_agent = NULL",
        "at",
    ),
    (
        "recovery_cases",
        "origin_address = NULL, origin_agent = NULL",
        "opened_at",
    ),
    (
        "sessions",
        "address = NULL, network = NULL, agent = NULL",
        "seen_at",
    ),
];

impl Store {
    /// Everything that the account's rows say, table by table, without what is good for attacks.
    pub(crate) async fn export(&self, account: &AccountId) -> Result<Map<String, Value>> {
        let mut export = Map::new();
        let mut snapshot = self.snapshot().await?;
        for Personal { table, whose, .. } in PERSONAL {
            let columns: Vec<Column> = snapshot
                .columns(table)
                .await?
                .into_iter()
                .filter(|column| !SECRET.contains(&column.name.as_str()))
                .collect();
            let rows = snapshot.rows_of(table, whose, &account.0, &columns).await?;
            export.insert((*table).to_owned(), Value::Array(rows));
        }
        Ok(export)
    }

    /// Forgets where clients came from, before that time. The number of rows that told it.
    pub(crate) async fn forget_origins(&self, before: Time) -> Result<u64> {
        let mut forgotten = 0;
        for (table, columns, time) in ORIGINS {
            let first = columns.split(' ').next().unwrap_or_default();
            let sql =
                format!("UPDATE {table} SET {columns} WHERE {time} < $1 AND {first} IS NOT NULL");
            forgotten += sqlx::query(built(sql))
                .bind(before.0)
                .execute(&self.write)
                .await
                .map_err(failed)?
                .rows_affected();
        }
        Ok(forgotten)
    }
}

/// How a name that is gone is remembered.
fn name_hash(key: &str) -> String {
    Sha256::of(format!("countersign-name/v1 {key}").as_bytes()).to_string()
}

impl super::whole::Snapshot {
    async fn rows_of(
        &mut self,
        table: &str,
        whose: &str,
        value: &str,
        columns: &[Column],
    ) -> Result<Vec<Value>> {
        let names: Vec<&str> = columns.iter().map(|column| column.name.as_str()).collect();
        let sql = format!("SELECT {} FROM {table} WHERE {whose}", names.join(", "));
        let mut found = Vec::new();
        let mut rows = sqlx::query(built(sql))
            .bind(value.to_owned())
            .fetch(self.connection());
        while let Some(row) = rows.try_next().await.map_err(failed)? {
            let mut object = Map::new();
            for column in columns {
                let name = column.name.as_str();
                let value = if column.number {
                    row.try_get::<Option<i64>, _>(name)
                        .map_err(failed)?
                        .map(Value::from)
                } else {
                    row.try_get::<Option<String>, _>(name)
                        .map_err(failed)?
                        .map(Value::from)
                };
                object.insert(name.to_owned(), value.unwrap_or(Value::Null));
            }
            found.push(Value::Object(object));
        }
        Ok(found)
    }
}

impl Tx {
    /// Does with every row of an account what its table's fate is, and forgets the salts of its commitments: what the
    /// log says of the account can then be tied to nobody.
    pub(crate) async fn erase(&mut self, account: &AccountId, now: Time) -> Result<()> {
        for Personal { table, whose, fate } in PERSONAL {
            let sql = match fate {
                Fate::Delete => format!("DELETE FROM {table} WHERE {whose}"),
                Fate::Empty(columns) => format!("UPDATE {table} SET {columns} WHERE {whose}"),
                Fate::Keep => continue,
            };
            sqlx::query(built(sql))
                .bind(account.0.clone())
                .execute(&mut *self.inner)
                .await
                .map_err(failed)?;
        }
        for sql in [
            "UPDATE events SET actor_salt = NULL WHERE actor_kind = 'account' AND actor_id = $1",
            "UPDATE events SET account_salt = NULL WHERE account_id = $1",
        ] {
            sqlx::query(sql)
                .bind(account.0.clone())
                .execute(&mut *self.inner)
                .await
                .map_err(failed)?;
        }
        for sql in [
            "UPDATE accounts SET erased_at = $2, disabled_at = COALESCE(disabled_at, $2) WHERE id = $1",
            "UPDATE grants SET ended_at = $2 WHERE account_id = $1 AND ended_at IS NULL",
        ] {
            sqlx::query(sql)
                .bind(account.0.clone())
                .bind(now.0)
                .execute(&mut *self.inner)
                .await
                .map_err(failed)?;
        }
        Ok(())
    }

    /// npm's projects whose packument names an account as who published or approved a version.
    pub(crate) async fn npm_projects_naming(
        &mut self,
        account: &AccountId,
    ) -> Result<Vec<ProjectId>> {
        let rows = sqlx::query(
            "SELECT DISTINCT p.id FROM projects p JOIN files f ON f.project_id = p.id \
             WHERE p.ecosystem = 'npm' AND (f.uploader_id = $1 OR f.approver_id = $1) ORDER BY p.id",
        )
        .bind(account.0.clone())
        .fetch_all(&mut *self.inner)
        .await
        .map_err(failed)?;
        rows.iter()
            .map(|row| text(row, "id").map(ProjectId))
            .collect()
    }

    /// A name that was erased is never given out again.
    pub(crate) async fn retire_name(&mut self, name_key: &str, now: Time) -> Result<()> {
        sqlx::query("INSERT INTO retired_names (name_hash, retired_at) VALUES ($1, $2) ON CONFLICT (name_hash) DO NOTHING")
            .bind(name_hash(name_key))
            .bind(now.0)
            .execute(&mut *self.inner)
            .await
            .map_err(failed)?;
        Ok(())
    }

    /// Was the user or organisation of this name erased?
    pub(crate) async fn name_is_retired(&mut self, name_key: &str) -> Result<bool> {
        let row = sqlx::query("SELECT count(*) AS n FROM retired_names WHERE name_hash = $1")
            .bind(name_hash(name_key))
            .fetch_one(&mut *self.inner)
            .await
            .map_err(failed)?;
        Ok(number(&row, "n")? > 0)
    }

    /// Names of projects and organisations that an account owns with nobody beside it.
    pub(crate) async fn owned_alone(&mut self, account: &AccountId) -> Result<Vec<String>> {
        let rows = sqlx::query(
            "SELECT p.name FROM projects p WHERE p.removed_at IS NULL \
             AND p.id IN (SELECT e.project_id FROM effective_roles e WHERE e.account_id = $1 AND e.role = 'owner') \
             AND NOT EXISTS (SELECT 1 FROM effective_roles e JOIN accounts a ON a.id = e.account_id AND a.disabled_at IS NULL \
               WHERE e.project_id = p.id AND e.role = 'owner' AND e.account_id <> $1) \
             UNION \
             SELECT o.name FROM organisations o JOIN organisation_members m ON m.organisation_id = o.id AND m.role = 'owner' AND m.account_id = $1 \
             WHERE o.removed_at IS NULL AND NOT EXISTS (SELECT 1 FROM organisation_members w JOIN accounts a ON a.id = w.account_id AND a.disabled_at IS NULL \
               WHERE w.organisation_id = o.id AND w.role = 'owner' AND w.account_id <> $1) \
             ORDER BY name",
        )
        .bind(account.0.clone())
        .fetch_all(&mut *self.inner)
        .await
        .map_err(failed)?;
        rows.iter().map(|row| text(row, "name")).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_table_with_rows_of_accounts_is_in_exports_and_erasures() {
        let schema: String = super::super::MIGRATOR
            .iter()
            .map(|step| step.sql.as_str().to_owned())
            .collect();
        let mut found = 0;
        for definition in schema.split("CREATE TABLE ").skip(1) {
            let name = definition.split_whitespace().next().unwrap();
            let body = definition.split(");\n").next().unwrap();
            let personal = body.lines().any(|line| {
                let line = line.trim();
                line.starts_with("account_id ") || line.contains("REFERENCES accounts (id)")
            });
            if personal {
                found += 1;
                assert!(
                    PERSONAL.iter().any(|entry| entry.table == name),
                    "what becomes of {name} when its account is erased?"
                );
            }
        }
        assert!(found > 8);
    }
}
