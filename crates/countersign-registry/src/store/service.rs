//! Rows of the service that signs for registries elsewhere.

use std::collections::BTreeMap;

use super::{Store, Tx, WRITE_CONFLICT, built, failed, maybe_text, places, text, value_rows};
use crate::error::{Error, Kind, Result};
use crate::model::Time;

/// A service.
#[derive(Clone, Debug)]
pub(crate) struct ServiceRow {
    pub(crate) name: String,
    pub(crate) key_source: String,
    pub(crate) next_key: Option<String>,
    pub(crate) state: String,
    /// JSON.
    pub(crate) settings: String,
    pub(crate) task_id: Option<String>,
}

/// A document that waits for signatures.
#[derive(Clone, Debug)]
pub(crate) struct PendingRow {
    pub(crate) role: String,
    pub(crate) body: String,
    /// JSON.
    pub(crate) about: String,
}

/// What was asked for and what came of it.
#[derive(Clone, Debug)]
pub(crate) struct TaskRow {
    pub(crate) id: String,
    pub(crate) state: String,
    /// JSON.
    pub(crate) result: String,
}

fn service(row: &sqlx::any::AnyRow) -> Result<ServiceRow> {
    Ok(ServiceRow {
        name: text(row, "name")?,
        key_source: text(row, "key_source")?,
        next_key: maybe_text(row, "next_key")?,
        state: text(row, "state")?,
        settings: text(row, "settings")?,
        task_id: maybe_text(row, "task_id")?,
    })
}

/// A change of one row that was still as it was read; else `write-conflict`, in these words.
fn still_there(done: &sqlx::any::AnyQueryResult, lost: &'static str) -> Result<()> {
    match done.rows_affected() {
        1 => Ok(()),
        _ => Err(Error::new(Kind::Conflict, WRITE_CONFLICT, lost)),
    }
}

impl Store {
    /// A service.
    pub(crate) async fn tuf_service(&self, name: &str) -> Result<Option<ServiceRow>> {
        let row = sqlx::query(
            "SELECT name, key_source, next_key, state, settings, task_id FROM tuf_services WHERE name = $1",
        )
        .bind(name.to_owned())
        .fetch_optional(&self.near)
        .await
        .map_err(failed)?;
        row.as_ref().map(service).transpose()
    }

    /// All services.
    pub(crate) async fn tuf_services(&self) -> Result<Vec<ServiceRow>> {
        let rows = sqlx::query(
            "SELECT name, key_source, next_key, state, settings, task_id FROM tuf_services ORDER BY name",
        )
        .fetch_all(&self.near)
        .await
        .map_err(failed)?;
        rows.iter().map(service).collect()
    }

    /// The documents of a service that wait for signatures.
    pub(crate) async fn tuf_service_pending(&self, name: &str) -> Result<Vec<PendingRow>> {
        let rows = sqlx::query(
            "SELECT role, body, about FROM tuf_service_pending WHERE service = $1 ORDER BY role",
        )
        .bind(name.to_owned())
        .fetch_all(&self.near)
        .await
        .map_err(failed)?;
        rows.iter()
            .map(|row| {
                Ok(PendingRow {
                    role: text(row, "role")?,
                    body: text(row, "body")?,
                    about: text(row, "about")?,
                })
            })
            .collect()
    }

    /// The changes of a service that wait to be published: JSON by path, nothing for what is to go.
    pub(crate) async fn tuf_service_deferred(
        &self,
        name: &str,
    ) -> Result<BTreeMap<String, Option<String>>> {
        let rows = sqlx::query("SELECT path, info FROM tuf_service_deferred WHERE service = $1")
            .bind(name.to_owned())
            .fetch_all(&self.read)
            .await
            .map_err(failed)?;
        rows.iter()
            .map(|row| Ok((text(row, "path")?, maybe_text(row, "info")?)))
            .collect()
    }

    /// A task of a service.
    pub(crate) async fn tuf_service_task(&self, name: &str, id: &str) -> Result<Option<TaskRow>> {
        let row = sqlx::query(
            "SELECT id, state, result FROM tuf_service_tasks WHERE id = $1 AND service = $2",
        )
        .bind(id.to_owned())
        .bind(name.to_owned())
        .fetch_optional(&self.near)
        .await
        .map_err(failed)?;
        row.map(|row| {
            Ok(TaskRow {
                id: text(&row, "id")?,
                state: text(&row, "state")?,
                result: text(&row, "result")?,
            })
        })
        .transpose()
    }

    /// Which of these paths are targets of a repository.
    pub(crate) async fn tuf_known_paths(
        &self,
        repository: &str,
        paths: &[String],
    ) -> Result<Vec<String>> {
        let mut known = Vec::new();
        for chunk in paths.chunks(1_000) {
            let sql = format!(
                "SELECT path FROM tuf_targets WHERE repository = $1 AND superseded_at IS NULL AND path IN ({})",
                places(chunk.len(), 2)
            );
            let mut query = sqlx::query(built(sql)).bind(repository.to_owned());
            for path in chunk {
                query = query.bind(path.clone());
            }
            let rows = query.fetch_all(&self.read).await.map_err(failed)?;
            for row in &rows {
                known.push(text(row, "path")?);
            }
        }
        Ok(known)
    }
}

impl Tx {
    /// Makes a service. Was there none of this name?
    pub(crate) async fn insert_tuf_service(
        &mut self,
        name: &str,
        key_source: &str,
        now: Time,
    ) -> Result<bool> {
        let done = sqlx::query(
            "INSERT INTO tuf_services (name, key_source, state, settings, created_at) VALUES ($1, $2, 'none', '{}', $3) \
             ON CONFLICT (name) DO NOTHING",
        )
        .bind(name.to_owned())
        .bind(key_source.to_owned())
        .bind(now.0)
        .execute(&mut *self.inner)
        .await
        .map_err(failed)?;
        Ok(done.rows_affected() == 1)
    }

    /// Puts a service into its next state, if it still is as it was read: `write-conflict` where it is not.
    pub(crate) async fn set_tuf_service(
        &mut self,
        before: &ServiceRow,
        after: &ServiceRow,
    ) -> Result<()> {
        let done = sqlx::query(
            "UPDATE tuf_services SET key_source = $1, next_key = $2, state = $3, settings = $4, task_id = $5 \
             WHERE name = $6 AND state = $7 AND settings = $8",
        )
        .bind(after.key_source.clone())
        .bind(after.next_key.clone())
        .bind(after.state.clone())
        .bind(after.settings.clone())
        .bind(after.task_id.clone())
        .bind(before.name.clone())
        .bind(before.state.clone())
        .bind(before.settings.clone())
        .execute(&mut *self.inner)
        .await
        .map_err(failed)?;
        still_there(
            &done,
            "Somebody else changed this service at the same moment.",
        )
    }

    /// Keeps a document that waits for signatures, in place of an earlier one of its role.
    pub(crate) async fn put_tuf_pending(
        &mut self,
        name: &str,
        pending: &PendingRow,
        now: Time,
    ) -> Result<()> {
        sqlx::query(
            "INSERT INTO tuf_service_pending (service, role, body, about, created_at) VALUES ($1, $2, $3, $4, $5) \
             ON CONFLICT (service, role) DO UPDATE SET body = excluded.body, about = excluded.about",
        )
        .bind(name.to_owned())
        .bind(pending.role.clone())
        .bind(pending.body.clone())
        .bind(pending.about.clone())
        .bind(now.0)
        .execute(&mut *self.inner)
        .await
        .map_err(failed)?;
        Ok(())
    }

    /// Puts another text in the place of a document that waits, if it still is as it was read: `write-conflict` where it is
    /// not.
    pub(crate) async fn replace_tuf_pending(
        &mut self,
        name: &str,
        before: &PendingRow,
        body: &str,
    ) -> Result<()> {
        let done = sqlx::query(
            "UPDATE tuf_service_pending SET body = $1 WHERE service = $2 AND role = $3 AND body = $4",
        )
        .bind(body.to_owned())
        .bind(name.to_owned())
        .bind(before.role.clone())
        .bind(before.body.clone())
        .execute(&mut *self.inner)
        .await
        .map_err(failed)?;
        still_there(
            &done,
            "Somebody else signed this document at the same moment.",
        )
    }

    /// A document waits no longer. Was there one?
    pub(crate) async fn drop_tuf_pending(&mut self, name: &str, role: &str) -> Result<bool> {
        let done = sqlx::query("DELETE FROM tuf_service_pending WHERE service = $1 AND role = $2")
            .bind(name.to_owned())
            .bind(role.to_owned())
            .execute(&mut *self.inner)
            .await
            .map_err(failed)?;
        Ok(done.rows_affected() > 0)
    }

    /// Keeps changes for later; of a path the last word counts.
    pub(crate) async fn defer_tuf_changes(
        &mut self,
        name: &str,
        changes: &BTreeMap<String, Option<String>>,
        now: Time,
    ) -> Result<()> {
        let rows: Vec<_> = changes.iter().collect();
        for chunk in rows.chunks(1_000) {
            let sql = format!(
                "INSERT INTO tuf_service_deferred (service, path, info, created_at) VALUES {} \
                 ON CONFLICT (service, path) DO UPDATE SET info = excluded.info",
                value_rows(chunk.len(), 4, 1)
            );
            let mut query = sqlx::query(built(sql));
            for (path, info) in chunk {
                query = query
                    .bind(name.to_owned())
                    .bind((*path).clone())
                    .bind((*info).clone())
                    .bind(now.0);
            }
            query.execute(&mut *self.inner).await.map_err(failed)?;
        }
        Ok(())
    }

    /// These changes wait no longer.
    pub(crate) async fn drop_tuf_deferred(&mut self, name: &str, paths: &[String]) -> Result<()> {
        for chunk in paths.chunks(1_000) {
            let sql = format!(
                "DELETE FROM tuf_service_deferred WHERE service = $1 AND path IN ({})",
                places(chunk.len(), 2)
            );
            let mut query = sqlx::query(built(sql)).bind(name.to_owned());
            for path in chunk {
                query = query.bind(path.clone());
            }
            query.execute(&mut *self.inner).await.map_err(failed)?;
        }
        Ok(())
    }

    /// Writes down what came of tasks.
    pub(crate) async fn insert_tuf_tasks(
        &mut self,
        name: &str,
        tasks: &[TaskRow],
        now: Time,
    ) -> Result<()> {
        for chunk in tasks.chunks(1_000) {
            let sql = format!(
                "INSERT INTO tuf_service_tasks (id, service, state, result, created_at) VALUES {}",
                value_rows(chunk.len(), 5, 1)
            );
            let mut query = sqlx::query(built(sql));
            for task in chunk {
                query = query
                    .bind(task.id.clone())
                    .bind(name.to_owned())
                    .bind(task.state.clone())
                    .bind(task.result.clone())
                    .bind(now.0);
            }
            query.execute(&mut *self.inner).await.map_err(failed)?;
        }
        Ok(())
    }

    /// Forgets tasks from before `before`.
    pub(crate) async fn purge_tuf_tasks(&mut self, before: Time) -> Result<u64> {
        let done = sqlx::query(
            "DELETE FROM tuf_service_tasks WHERE created_at < $1 \
             AND id NOT IN (SELECT task_id FROM tuf_services WHERE task_id IS NOT NULL)",
        )
        .bind(before.0)
        .execute(&mut *self.inner)
        .await
        .map_err(failed)?;
        Ok(done.rows_affected())
    }
}
