//! Rows of the logs that are kept for registries elsewhere, and of services' tokens.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use countersign_trust::digest::Sha256;
use std::collections::HashMap;

use super::{
    Backend, Store, Tx, WRITE_CONFLICT, built, failed, maybe_text, maybe_time, number, signed,
    text, time, unsigned,
};
use crate::error::{Error, Kind, Result};
use crate::model::{LogId, Time};

/// A service's log.
#[derive(Clone, Debug)]
pub(crate) struct LogServiceRow {
    pub(crate) name: String,
    pub(crate) origin: String,
    /// Lines.
    pub(crate) verifier_keys: String,
    pub(crate) interval_ms: u64,
    /// Each entry has an identifier that stands for it alone.
    pub(crate) identifiers: bool,
    /// A tlog-policy file; nothing: as the registry's own log; empty: nobody cosigns.
    pub(crate) policy: Option<String>,
    /// Entries that have a place.
    pub(crate) numbered: u64,
    pub(crate) frozen: Option<Time>,
}

/// What is shown of a service's log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct LogServiceHead {
    pub(crate) size: u64,
    pub(crate) root: Sha256,
    /// A signed note.
    pub(crate) checkpoint: String,
    pub(crate) signed: Time,
}

const LOG_SERVICE: &str =
    "name, origin, verifier_keys, interval_ms, identifiers, policy, numbered, frozen_at";

fn log_service(row: &sqlx::any::AnyRow) -> Result<LogServiceRow> {
    Ok(LogServiceRow {
        name: text(row, "name")?,
        origin: text(row, "origin")?,
        verifier_keys: text(row, "verifier_keys")?,
        interval_ms: unsigned(row, "interval_ms")?,
        identifiers: number(row, "identifiers")? != 0,
        policy: maybe_text(row, "policy")?,
        numbered: unsigned(row, "numbered")?,
        frozen: maybe_time(row, "frozen_at")?,
    })
}

fn entry(row: &sqlx::any::AnyRow) -> Result<(u64, Bytes)> {
    let body = STANDARD
        .decode(text(row, "body")?)
        .map_err(|source| Error::internal("a stored entry is malformed", source))?;
    Ok((unsigned(row, "idx")?, Bytes::from(body)))
}

impl Store {
    /// A service's log.
    pub(crate) async fn log_service(&self, name: &str) -> Result<Option<LogServiceRow>> {
        let row = sqlx::query(built(format!(
            "SELECT {LOG_SERVICE} FROM log_services WHERE name = $1"
        )))
        .bind(name.to_owned())
        .fetch_optional(&self.near)
        .await
        .map_err(failed)?;
        row.as_ref().map(log_service).transpose()
    }

    /// All of them.
    pub(crate) async fn log_services(&self) -> Result<Vec<LogServiceRow>> {
        let rows = sqlx::query(built(format!(
            "SELECT {LOG_SERVICE} FROM log_services ORDER BY name"
        )))
        .fetch_all(&self.near)
        .await
        .map_err(failed)?;
        rows.iter().map(log_service).collect()
    }

    /// What is shown of a service's log.
    pub(crate) async fn log_service_head(&self, name: &str) -> Result<Option<LogServiceHead>> {
        let row = sqlx::query(
            "SELECT size, root, checkpoint, signed_at FROM log_service_heads WHERE service = $1",
        )
        .bind(name.to_owned())
        .fetch_optional(&self.near)
        .await
        .map_err(failed)?;
        row.map(|row| {
            Ok(LogServiceHead {
                size: unsigned(&row, "size")?,
                root: super::beats::hash(&row, "root")?,
                checkpoint: text(&row, "checkpoint")?,
                signed: time(&row, "signed_at")?,
            })
        })
        .transpose()
    }

    /// Logs of services that have entries which nobody is shown yet.
    pub(crate) async fn log_services_behind(&self) -> Result<Vec<String>> {
        let rows = sqlx::query(
            "SELECT l.name FROM log_services l JOIN log_service_heads h ON h.service = l.name \
             WHERE l.numbered > h.size AND l.frozen_at IS NULL",
        )
        .fetch_all(&self.near)
        .await
        .map_err(failed)?;
        rows.iter().map(|row| text(row, "name")).collect()
    }

    /// Up to `limit` entries of a log from index `from` on.
    pub(crate) async fn entries(
        &self,
        log: &LogId,
        from: u64,
        limit: u64,
    ) -> Result<Vec<(u64, Bytes)>> {
        let name = match log {
            LogId::Shard(shard) => {
                let leaves = self.leaves_from(*shard, from, limit).await?;
                let leaves = leaves.into_iter();
                return Ok(leaves
                    .map(|leaf| (leaf.index, Bytes::from(leaf.body)))
                    .collect());
            }
            LogId::Service(name) => name,
        };
        let rows = sqlx::query(
            "SELECT idx, body FROM log_service_entries WHERE service = $1 AND idx >= $2 ORDER BY idx LIMIT $3",
        )
        .bind(name.clone())
        .bind(signed(from))
        .bind(signed(limit))
        .fetch_all(&self.read)
        .await
        .map_err(failed)?;
        rows.iter().map(entry).collect()
    }

    /// The service that a token was made for, unless it was revoked.
    pub(crate) async fn service_of_token(&self, part: &str, hash: &str) -> Result<Option<String>> {
        let row = sqlx::query(
            "SELECT service FROM service_tokens WHERE hash = $1 AND part = $2 AND revoked_at IS NULL",
        )
        .bind(hash.to_owned())
        .bind(part.to_owned())
        .fetch_optional(&self.near)
        .await
        .map_err(failed)?;
        row.map(|row| text(&row, "service")).transpose()
    }
}

/// A list of words without commas, as one value.
fn list<'a>(words: impl Iterator<Item = &'a str>) -> String {
    words.collect::<Vec<_>>().join(",")
}

impl Tx {
    /// Keeps a token of a service by its hash.
    pub(crate) async fn insert_service_token(
        &mut self,
        id: &str,
        (part, service): (&str, &str),
        (hash, hint): (&str, &str),
        label: &str,
        now: Time,
    ) -> Result<()> {
        sqlx::query(
            "INSERT INTO service_tokens (id, part, service, hash, hint, label, created_at) VALUES ($1, $2, $3, $4, $5, $6, $7)",
        )
        .bind(id.to_owned())
        .bind(part.to_owned())
        .bind(service.to_owned())
        .bind(hash.to_owned())
        .bind(hint.to_owned())
        .bind(label.to_owned())
        .bind(now.0)
        .execute(&mut *self.inner)
        .await
        .map_err(failed)?;
        Ok(())
    }

    /// Makes a service's log, empty. Was there none of this name?
    pub(crate) async fn insert_log_service(
        &mut self,
        row: &LogServiceRow,
        head: &LogServiceHead,
        now: Time,
    ) -> Result<bool> {
        let done = sqlx::query(
            "INSERT INTO log_services (name, origin, verifier_keys, interval_ms, identifiers, policy, numbered, created_at) \
             VALUES ($1, $2, $3, $4, $5, $6, 0, $7) ON CONFLICT (name) DO NOTHING",
        )
        .bind(row.name.clone())
        .bind(row.origin.clone())
        .bind(row.verifier_keys.clone())
        .bind(signed(row.interval_ms))
        .bind(i64::from(row.identifiers))
        .bind(row.policy.clone())
        .bind(now.0)
        .execute(&mut *self.inner)
        .await
        .map_err(failed)?;
        if done.rows_affected() != 1 {
            return Ok(false);
        }
        sqlx::query(
            "INSERT INTO log_service_heads (service, size, root, checkpoint, signed_at) VALUES ($1, $2, $3, $4, $5)",
        )
        .bind(row.name.clone())
        .bind(signed(head.size))
        .bind(head.root.to_hex())
        .bind(head.checkpoint.clone())
        .bind(head.signed.0)
        .execute(&mut *self.inner)
        .await
        .map_err(failed)?;
        Ok(true)
    }

    /// Closes logs of services for ever: entries are no longer taken.
    pub(crate) async fn freeze_log_service(&mut self, name: &str, now: Time) -> Result<()> {
        sqlx::query("UPDATE log_services SET frozen_at = $1 WHERE name = $2 AND frozen_at IS NULL")
            .bind(now.0)
            .bind(name.to_owned())
            .execute(&mut *self.inner)
            .await
            .map_err(failed)?;
        Ok(())
    }

    /// Takes the turn to give places in a service's log, until this transaction ends. How many are given; `None` where the
    /// log is closed.
    pub(crate) async fn lock_log_service(&mut self, name: &str) -> Result<Option<u64>> {
        let row = sqlx::query(
            "UPDATE log_services SET numbered = numbered WHERE name = $1 AND frozen_at IS NULL RETURNING numbered",
        )
        .bind(name.to_owned())
        .fetch_optional(&mut *self.inner)
        .await
        .map_err(failed)?;
        row.map(|row| unsigned(&row, "numbered")).transpose()
    }

    /// Where entries with these leaf hashes are, of those that are in a log.
    pub(crate) async fn places_of_hashes(
        &mut self,
        name: &str,
        hashes: &[String],
    ) -> Result<HashMap<String, u64>> {
        let rows = sqlx::query(match self.backend {
            Backend::Postgres => {
                "SELECT hash AS word, idx FROM log_service_entries WHERE service = $1 AND hash = ANY(string_to_array($2, ','))"
            }
            Backend::Sqlite => {
                "SELECT hash AS word, idx FROM log_service_entries WHERE service = $1 AND hash IN (SELECT value FROM json_each($2))"
            }
        })
        .bind(name.to_owned())
        .bind(self.words(hashes)?)
        .fetch_all(&mut *self.inner)
        .await
        .map_err(failed)?;
        rows.iter()
            .map(|row| Ok((text(row, "word")?, unsigned(row, "idx")?)))
            .collect()
    }

    /// What these identifiers, by their SHA-256 in hex, stand for: index and leaf hash.
    pub(crate) async fn places_of_identifiers(
        &mut self,
        name: &str,
        identifiers: &[String],
    ) -> Result<HashMap<String, (u64, String)>> {
        let rows = sqlx::query(match self.backend {
            Backend::Postgres => {
                "SELECT i.identifier AS word, i.idx, e.hash FROM log_service_identifiers i \
                 JOIN log_service_entries e ON e.service = i.service AND e.idx = i.idx \
                 WHERE i.service = $1 AND i.identifier = ANY(string_to_array($2, ','))"
            }
            Backend::Sqlite => {
                "SELECT i.identifier AS word, i.idx, e.hash FROM log_service_identifiers i \
                 JOIN log_service_entries e ON e.service = i.service AND e.idx = i.idx \
                 WHERE i.service = $1 AND i.identifier IN (SELECT value FROM json_each($2))"
            }
        })
        .bind(name.to_owned())
        .bind(self.words(identifiers)?)
        .fetch_all(&mut *self.inner)
        .await
        .map_err(failed)?;
        rows.iter()
            .map(|row| {
                Ok((
                    text(row, "word")?,
                    (unsigned(row, "idx")?, text(row, "hash")?),
                ))
            })
            .collect()
    }

    fn words(&self, words: &[String]) -> Result<String> {
        match self.backend {
            Backend::Postgres => Ok(list(words.iter().map(String::as_str))),
            Backend::Sqlite => serde_json::to_string(words)
                .map_err(|source| Error::internal("a list can not be written", source)),
        }
    }

    /// Gives entries their places, from `from` on, which [`Tx::lock_log_service`] answered: leaf hashes and bytes.
    pub(crate) async fn number_entries(
        &mut self,
        name: &str,
        from: u64,
        entries: &[(String, Bytes)],
    ) -> Result<()> {
        // As many to a statement as keep it below a few megabytes.
        for (piece, chunk) in entries.chunks(4_096).enumerate() {
            let first = from + piece as u64 * 4_096;
            let bodies: Vec<String> = chunk
                .iter()
                .map(|(_, body)| STANDARD.encode(body))
                .collect();
            let hashes: Vec<&str> = chunk.iter().map(|(hash, _)| hash.as_str()).collect();
            let (sql, hashes, bodies) = match self.backend {
                Backend::Postgres => (
                    "INSERT INTO log_service_entries (service, idx, hash, body) SELECT $1, $2 + v.n - 1, v.hash, v.body \
                     FROM unnest(string_to_array($3, ','), string_to_array($4, ',')) WITH ORDINALITY AS v (hash, body, n)",
                    list(hashes.into_iter()),
                    list(bodies.iter().map(String::as_str)),
                ),
                Backend::Sqlite => (
                    "INSERT INTO log_service_entries (service, idx, hash, body) \
                     SELECT $1, $2 + v.key, json_extract(v.value, '$[0]'), json_extract(v.value, '$[1]') \
                     FROM json_each($3) AS v WHERE $4 = ''",
                    serde_json::to_string(&hashes.iter().zip(&bodies).collect::<Vec<_>>())
                        .map_err(|source| Error::internal("a list can not be written", source))?,
                    String::new(),
                ),
            };
            sqlx::query(sql)
                .bind(name.to_owned())
                .bind(signed(first))
                .bind(hashes)
                .bind(bodies)
                .execute(&mut *self.inner)
                .await
                .map_err(failed)?;
        }
        sqlx::query("UPDATE log_services SET numbered = $1 WHERE name = $2")
            .bind(signed(from + entries.len() as u64))
            .bind(name.to_owned())
            .execute(&mut *self.inner)
            .await
            .map_err(failed)?;
        Ok(())
    }

    /// These identifiers stand for these entries, for ever.
    pub(crate) async fn insert_log_identifiers(
        &mut self,
        name: &str,
        identifiers: &[(String, u64)],
    ) -> Result<()> {
        for chunk in identifiers.chunks(4_096) {
            let sql = match self.backend {
                Backend::Postgres => {
                    "INSERT INTO log_service_identifiers (service, identifier, idx) SELECT $1, v.identifier, CAST(v.idx AS BIGINT) \
                     FROM unnest(string_to_array($2, ','), string_to_array($3, ',')) AS v (identifier, idx)"
                }
                Backend::Sqlite => {
                    "INSERT INTO log_service_identifiers (service, identifier, idx) \
                     SELECT $1, json_extract(v.value, '$[0]'), json_extract(v.value, '$[1]') \
                     FROM json_each($2) AS v WHERE $3 = ''"
                }
            };
            let (first, second) = match self.backend {
                Backend::Postgres => (
                    list(chunk.iter().map(|(identifier, _)| identifier.as_str())),
                    chunk
                        .iter()
                        .map(|(_, index)| index.to_string())
                        .collect::<Vec<_>>()
                        .join(","),
                ),
                Backend::Sqlite => (
                    serde_json::to_string(chunk)
                        .map_err(|source| Error::internal("a list can not be written", source))?,
                    String::new(),
                ),
            };
            sqlx::query(sql)
                .bind(name.to_owned())
                .bind(first)
                .bind(second)
                .execute(&mut *self.inner)
                .await
                .map_err(failed)?;
        }
        Ok(())
    }

    /// Shows more of a service's log, if its size still is as it was read, or the same under more cosignatures, if its
    /// checkpoint is: `write-conflict` where it is not.
    pub(crate) async fn swap_log_service_head(
        &mut self,
        name: &str,
        before: &LogServiceHead,
        after: &LogServiceHead,
    ) -> Result<()> {
        let done = sqlx::query(
            "UPDATE log_service_heads SET size = $1, root = $2, checkpoint = $3, signed_at = $4 \
             WHERE service = $5 AND size = $6 AND ($7 = '' OR checkpoint = $7)",
        )
        .bind(signed(after.size))
        .bind(after.root.to_hex())
        .bind(after.checkpoint.clone())
        .bind(after.signed.0)
        .bind(name.to_owned())
        .bind(signed(before.size))
        .bind(if after.size > before.size {
            String::new()
        } else {
            before.checkpoint.clone()
        })
        .execute(&mut *self.inner)
        .await
        .map_err(failed)?;
        if done.rows_affected() == 1 {
            return Ok(());
        }
        Err(Error::new(
            Kind::Conflict,
            WRITE_CONFLICT,
            "Another countersignd moved the log's head first.",
        ))
    }
}
