//! The whole database at once: what backup reads and restore writes, row by row and alike for both databases.

use futures::TryStreamExt;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use sqlx::{Any, Row};

use super::{Backend, MIGRATOR, Store, Tx, built, failed, text, value_rows};
use crate::error::{Error, Result};

/// Every table that a backup holds, so ordered that none points to a later one, each with its order of rows. Rendered
/// documents are not among them: they are made again from the rows. Nor are sessions: one that was ended since must not
/// come back; people sign in again.
pub(crate) const TABLES: &[(&str, &str)] = &[
    ("instance", "key"),
    ("accounts", "id"),
    ("account_emails", "id"),
    ("pending_addresses", "id"),
    ("mail_domains", "domain"),
    ("mails", "id"),
    ("mail_secrets", "secret_hash"),
    ("account_notices", "id"),
    ("recovery_cases", "id"),
    ("recovery_proofs", "case_id, kind, proof"),
    ("retired_names", "name_hash"),
    ("organisations", "id"),
    ("organisation_members", "organisation_id, account_id"),
    ("teams", "id"),
    ("team_members", "team_id, account_id"),
    ("credentials", "id"),
    ("leak_reports", "id"),
    ("sign_ups", "id"),
    ("passwords", "account_id"),
    ("factors", "id"),
    ("recovery_codes", "code_hash"),
    ("devices", "account_id, device_hash"),
    ("linked_identities", "id"),
    ("device_logins", "secret_hash"),
    ("namespaces", "id"),
    ("projects", "id"),
    ("grants", "id"),
    ("invitations", "id"),
    ("proposals", "id"),
    ("approvals", "id"),
    ("stars", "account_id, project_id"),
    ("releases", "id"),
    ("metadata_texts", "sha256"),
    ("dependencies", "metadata_sha256, position"),
    ("files", "id"),
    ("dist_tags", "project_id, tag"),
    ("file_signatures", "file_id, keyid"),
    ("issuers", "id"),
    ("publishers", "id"),
    ("oidc_replays", "issuer, token_key"),
    ("workflow_tokens", "credential_id"),
    ("file_origins", "file_id"),
    ("staged_publications", "id"),
    ("cases", "id"),
    ("freezes", "id"),
    ("trusted_reporters", "account_id"),
    ("reports", "id"),
    ("scans", "file_id"),
    ("findings", "id"),
    ("bad_digests", "sha256"),
    ("name_lists", "id"),
    ("protected_names", "list_id, rank"),
    ("prohibited_names", "ecosystem, key"),
    ("name_exceptions", "ecosystem, key, other"),
    ("missing_names", "ecosystem, name_key, day"),
    ("failed_exchanges", "publisher_id, code"),
    ("notices", "id"),
    ("attestation_keys", "number"),
    ("npm_keys", "number"),
    ("trust_root_documents", "digest"),
    ("trust_roots", "id"),
    ("attestations", "id"),
    ("provenance_changes", "id"),
    ("own_words_due", "file_id"),
    ("attestation_identities", "id"),
    ("source_checks", "repository, commit_hash, workflow"),
    ("identifiers", "identifier"),
    ("downloads", "file_id, day"),
    ("events", "id"),
    ("outbox", "event_id"),
    ("leaves", "shard, idx"),
    ("log_head", "shard"),
    ("jobs", "id"),
    ("tuf_repositories", "name"),
    ("tuf_metadata", "repository, file"),
    ("tuf_roles", "repository, role"),
    ("tuf_targets", "repository, path, digest"),
    ("tuf_offered", "digest"),
    ("tuf_services", "name"),
    ("tuf_service_pending", "service, role"),
    ("tuf_service_deferred", "service, path"),
    ("tuf_service_tasks", "id"),
    ("service_tokens", "id"),
    ("service_publishers", "id"),
    ("log_services", "name"),
    ("log_service_heads", "service"),
    ("log_service_entries", "service, idx"),
    ("log_service_identifiers", "service, identifier"),
    ("advisories", "id"),
    ("advisory_rules", "advisory_id, position"),
    ("advisory_feeds", "name"),
    ("advisory_sources", "feed"),
    ("advisory_exemptions", "id"),
    ("downloaders", "account_id, file_id, day"),
    ("download_warnings", "advisory_id, account_id"),
    ("source_health", "repository, source"),
    ("stops", "id"),
    ("incidents", "id"),
    ("incident_subjects", "incident_id, purl"),
    ("incident_updates", "id"),
];

/// A column as a backup names it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Column {
    pub(crate) name: String,
    /// A BIGINT; else a TEXT. There is nothing else.
    pub(crate) number: bool,
}

/// One state of all tables, whatever is written meanwhile.
pub(crate) struct Snapshot {
    inner: sqlx::Transaction<'static, Any>,
    backend: Backend,
}

impl Store {
    /// How many migrations this version has.
    pub(crate) fn schema() -> usize {
        MIGRATOR.iter().count()
    }

    /// Opens a snapshot. Writers go on beside it.
    pub(crate) async fn snapshot(&self) -> Result<Snapshot> {
        let begin = match self.backend {
            Backend::Sqlite => "BEGIN",
            Backend::Postgres => "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY",
        };
        let inner = self.read.begin_with(begin).await.map_err(failed)?;
        let mut snapshot = Snapshot {
            inner,
            backend: self.backend,
        };
        // On SQLite the first look is what fixes the state.
        snapshot.count("instance").await?;
        Ok(snapshot)
    }

    /// The first table that holds a row, of those that a backup holds.
    pub(crate) async fn first_filled_table(&self) -> Result<Option<&'static str>> {
        for (table, _) in TABLES {
            let row = sqlx::query(built(format!(
                "SELECT count(*) AS n FROM (SELECT 1 FROM {table} LIMIT 1) AS t"
            )))
            .fetch_one(&self.read)
            .await
            .map_err(failed)?;
            if row.try_get::<i64, _>("n").map_err(failed)? > 0 {
                return Ok(Some(table));
            }
        }
        Ok(None)
    }
}

/// Columns of a table in the database's own order.
fn columns_query(backend: Backend) -> &'static str {
    match backend {
        Backend::Sqlite => {
            "SELECT CAST(name AS TEXT) AS name, CAST(lower(type) AS TEXT) AS type FROM pragma_table_info($1) ORDER BY cid"
        }
        Backend::Postgres => {
            "SELECT CAST(column_name AS TEXT) AS name, CAST(data_type AS TEXT) AS type FROM information_schema.columns \
             WHERE table_name = $1 AND table_schema = ANY (current_schemas(false)) ORDER BY ordinal_position"
        }
    }
}

fn column(row: &sqlx::any::AnyRow) -> Result<Column> {
    Ok(Column {
        name: text(row, "name")?,
        number: match text(row, "type")?.as_str() {
            "text" => false,
            "bigint" => true,
            other => {
                return Err(Error::internal(
                    "a column is neither TEXT nor BIGINT",
                    other.to_owned(),
                ));
            }
        },
    })
}

impl Snapshot {
    /// To read by.
    pub(super) fn connection(&mut self) -> &mut sqlx::AnyConnection {
        &mut self.inner
    }

    /// Columns of a table.
    pub(crate) async fn columns(&mut self, table: &str) -> Result<Vec<Column>> {
        let rows = sqlx::query(columns_query(self.backend))
            .bind(table.to_owned())
            .fetch_all(&mut *self.inner)
            .await
            .map_err(failed)?;
        rows.iter().map(column).collect()
    }

    /// Number of rows of a table.
    pub(crate) async fn count(&mut self, table: &str) -> Result<u64> {
        let row = sqlx::query(built(format!("SELECT count(*) AS n FROM {table}")))
            .fetch_one(&mut *self.inner)
            .await
            .map_err(failed)?;
        super::unsigned(&row, "n")
    }

    /// Hands out every row of a table as a JSON array, one at a time.
    pub(crate) async fn each_row(
        &mut self,
        table: &str,
        order: &str,
        columns: &[Column],
        take: &mut (dyn FnMut(&[Value]) -> Result<()> + Send),
    ) -> Result<()> {
        let names: Vec<&str> = columns.iter().map(|column| column.name.as_str()).collect();
        let sql = format!("SELECT {} FROM {table} ORDER BY {order}", names.join(", "));
        let mut rows = sqlx::query(built(sql)).fetch(&mut *self.inner);
        let mut values = Vec::with_capacity(columns.len());
        while let Some(row) = rows.try_next().await.map_err(failed)? {
            values.clear();
            for (at, column) in columns.iter().enumerate() {
                let value = if column.number {
                    let value = row.try_get::<Option<i64>, _>(at).map_err(failed)?;
                    value.map(Value::from)
                } else {
                    let value = row.try_get::<Option<String>, _>(at).map_err(failed)?;
                    value.map(Value::from)
                };
                values.push(value.unwrap_or(Value::Null));
            }
            take(&values)?;
        }
        Ok(())
    }

    /// The heads of every log, oldest first.
    pub(crate) async fn heads(&mut self) -> Result<Vec<super::Head>> {
        let rows = sqlx::query("SELECT shard, origin, size, root, checkpoint, signed_at, frozen_at FROM log_head ORDER BY shard")
            .fetch_all(&mut *self.inner)
            .await
            .map_err(failed)?;
        rows.iter().map(super::beats::head).collect()
    }

    /// A value of the instance's own table.
    pub(crate) async fn instance(&mut self, key: &str) -> Result<Option<String>> {
        let row = sqlx::query("SELECT value FROM instance WHERE key = $1")
            .bind(key.to_owned())
            .fetch_optional(&mut *self.inner)
            .await
            .map_err(failed)?;
        row.map(|row| text(&row, "value")).transpose()
    }
}

impl Tx {
    /// Columns of a table.
    pub(crate) async fn columns(&mut self, table: &str) -> Result<Vec<Column>> {
        let rows = sqlx::query(columns_query(self.backend))
            .bind(table.to_owned())
            .fetch_all(&mut *self.inner)
            .await
            .map_err(failed)?;
        rows.iter().map(column).collect()
    }

    /// Writes rows as [`Snapshot::each_row`] handed them out. `None`: a value is not of its column's type.
    pub(crate) async fn insert_rows(
        &mut self,
        table: &str,
        columns: &[Column],
        rows: &[Vec<Value>],
    ) -> Result<Option<()>> {
        let names: Vec<&str> = columns.iter().map(|column| column.name.as_str()).collect();
        // The own table of the instance holds the mark of this very restore.
        let clash = if table == "instance" {
            " ON CONFLICT (key) DO NOTHING"
        } else {
            ""
        };
        for chunk in rows.chunks((30_000 / columns.len().max(1)).min(500)) {
            let sql = format!(
                "INSERT INTO {table} ({}) VALUES {}{clash}",
                names.join(", "),
                value_rows(chunk.len(), columns.len(), 1)
            );
            let mut query = sqlx::query(built(sql));
            for row in chunk {
                if row.len() != columns.len() {
                    return Ok(None);
                }
                for (column, value) in columns.iter().zip(row) {
                    query = match (column.number, value) {
                        (true, Value::Null) => query.bind(None::<i64>),
                        (false, Value::Null) => query.bind(None::<String>),
                        (true, value) => match value.as_i64() {
                            Some(number) => query.bind(Some(number)),
                            None => return Ok(None),
                        },
                        (false, Value::String(text)) => query.bind(Some(text.clone())),
                        (false, _) => return Ok(None),
                    };
                }
            }
            query.execute(&mut *self.inner).await.map_err(failed)?;
        }
        Ok(Some(()))
    }

    /// Empties every table that a backup holds: what a restore that broke off had written. The mark stays.
    pub(crate) async fn wipe(&mut self) -> Result<()> {
        for rendered in ["DELETE FROM documents", "DELETE FROM documents_due"] {
            sqlx::query(rendered)
                .execute(&mut *self.inner)
                .await
                .map_err(failed)?;
        }
        self.forget_map().await?;
        for (table, _) in TABLES.iter().rev() {
            let keep = if *table == "instance" {
                " WHERE key <> 'restoring'"
            } else {
                ""
            };
            sqlx::query(built(format!("DELETE FROM {table}{keep}")))
                .execute(&mut *self.inner)
                .await
                .map_err(failed)?;
        }
        Ok(())
    }

    /// Removes a value of the instance's own table.
    pub(crate) async fn unset_instance(&mut self, key: &str) -> Result<()> {
        sqlx::query("DELETE FROM instance WHERE key = $1")
            .bind(key.to_owned())
            .execute(&mut *self.inner)
            .await
            .map_err(failed)?;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_table_is_in_a_backup_and_none_points_to_a_later_one() {
        let mut seen: Vec<&str> = Vec::new();
        let tables: Vec<&str> = TABLES.iter().map(|(table, _)| *table).collect();
        let schema: String = MIGRATOR
            .iter()
            .map(|step| step.sql.as_str().to_owned())
            .collect();
        for definition in schema.split("CREATE TABLE ").skip(1) {
            let name = definition.split_whitespace().next().unwrap();
            // Documents are made again; sessions that have ended must not come back with a backup, and what was asked
            // of a browser or counted before it means nothing after it. The map is a function of the leaves.
            if [
                "documents",
                "documents_due",
                "map_state",
                "map_projects",
                "map_superseded",
                "sessions",
                "ceremonies",
                "attempts",
            ]
            .contains(&name)
                || schema.contains(&format!("DROP TABLE {name};"))
            {
                continue;
            }
            let place = tables.iter().position(|table| *table == name);
            let place = place.unwrap_or_else(|| panic!("{name} would be lacking in every backup"));
            let body = definition.split(");").next().unwrap();
            for reference in body.split("REFERENCES ").skip(1) {
                let target = reference.split([' ', '(']).next().unwrap();
                let target = tables.iter().position(|table| *table == target).unwrap();
                assert!(target < place, "{name} stands before what it points to");
            }
            seen.push(name);
        }
        assert_eq!(seen.len(), tables.len());
    }
}
