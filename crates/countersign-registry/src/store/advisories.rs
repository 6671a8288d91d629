//! Rows of advisories. What is said about a package stands in rows of its own, so that a question needs one look-up; which releases
//! are meant is judged when somebody asks, and never stored: it can not be out of date.

use std::collections::HashMap;

use countersign_formats::Ecosystem;

use super::{
    Store, Tx, built, failed, maybe_time, number, places, signed, text, time, unsigned, value_rows,
};
use crate::error::Result;
use crate::model::Time;

/// An advisory with what it says about packages of ours.
#[derive(Clone, Debug)]
pub(crate) struct AdvisoryRow {
    pub(crate) id: String,
    pub(crate) feed: String,
    /// A text whose order is the order of time.
    pub(crate) modified: String,
    pub(crate) withdrawn: bool,
    /// As JSON.
    pub(crate) record: String,
    /// Ecosystem, name key, rule as JSON; none of one that was withdrawn.
    pub(crate) rules: Vec<(Ecosystem, String, String)>,
}

/// Where advisories come from, and how it stood when it was read last.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct FeedRow {
    pub(crate) name: String,
    pub(crate) records: u64,
    pub(crate) withdrawn: u64,
    pub(crate) refused: u64,
    pub(crate) imported: Time,
}

/// The most packages of one look-up.
const MOST_NAMES: usize = 400;

impl Store {
    /// When an advisory came, changed or went last.
    pub(crate) async fn advisories_changed(&self) -> Result<Option<Time>> {
        let row = sqlx::query("SELECT max(imported_at) AS at FROM advisory_feeds")
            .fetch_one(&self.near)
            .await
            .map_err(failed)?;
        maybe_time(&row, "at")
    }

    /// All feeds, by name.
    pub(crate) async fn advisory_feeds(&self) -> Result<Vec<FeedRow>> {
        let rows = sqlx::query("SELECT name, records, withdrawn, refused, imported_at FROM advisory_feeds ORDER BY name")
            .fetch_all(&self.near)
            .await
            .map_err(failed)?;
        rows.iter()
            .map(|row| {
                Ok(FeedRow {
                    name: text(row, "name")?,
                    records: unsigned(row, "records")?,
                    withdrawn: unsigned(row, "withdrawn")?,
                    refused: unsigned(row, "refused")?,
                    imported: time(row, "imported_at")?,
                })
            })
            .collect()
    }

    /// Identifier, time of change and feed of every advisory.
    pub(crate) async fn advisory_versions(&self) -> Result<HashMap<String, (String, String)>> {
        let rows = sqlx::query("SELECT id, modified, feed FROM advisories")
            .fetch_all(&self.read)
            .await
            .map_err(failed)?;
        rows.iter()
            .map(|row| {
                Ok((
                    text(row, "id")?,
                    (text(row, "modified")?, text(row, "feed")?),
                ))
            })
            .collect()
    }

    /// A record, as JSON.
    pub(crate) async fn advisory(&self, id: &str) -> Result<Option<String>> {
        let row = sqlx::query("SELECT record FROM advisories WHERE id = $1")
            .bind(id)
            .fetch_optional(&self.near)
            .await
            .map_err(failed)?;
        row.map(|row| text(&row, "record")).transpose()
    }

    /// What is said about packages of an ecosystem: name key and rule, rules of a package one after the other.
    pub(crate) async fn advisory_rules(
        &self,
        ecosystem: Ecosystem,
        names: &[&str],
    ) -> Result<Vec<(String, String)>> {
        let mut found = Vec::new();
        for names in names.chunks(MOST_NAMES) {
            let mut query = sqlx::query(built(format!(
                "SELECT name_key, rule FROM advisory_rules WHERE ecosystem = $1 AND name_key IN ({}) ORDER BY name_key, advisory_id, position",
                places(names.len(), 2)
            )))
            .bind(ecosystem.as_str());
            for name in names {
                query = query.bind((*name).to_owned());
            }
            let rows = query.fetch_all(&self.near).await.map_err(failed)?;
            for row in &rows {
                found.push((text(row, "name_key")?, text(row, "rule")?));
            }
        }
        Ok(found)
    }

    /// Name keys of an ecosystem's public projects that an advisory names, after a key, in order.
    pub(crate) async fn advised_projects(
        &self,
        ecosystem: Ecosystem,
        after: &str,
        most: i64,
    ) -> Result<Vec<String>> {
        let rows = sqlx::query(
            "SELECT p.key FROM projects p WHERE p.ecosystem = $1 AND p.key > $2 AND p.removed_at IS NULL AND p.visible_at IS NOT NULL \
             AND p.private_at IS NULL AND EXISTS (SELECT 1 FROM advisory_rules r WHERE r.ecosystem = p.ecosystem AND r.name_key = p.key) \
             ORDER BY p.key LIMIT $3",
        )
        .bind(ecosystem.as_str())
        .bind(after.to_owned())
        .bind(most)
        .fetch_all(&self.read)
        .await
        .map_err(failed)?;
        rows.iter().map(|row| text(row, "key")).collect()
    }

    /// Versions of public projects of an ecosystem, by name key; those that are served, or withheld.
    pub(crate) async fn versions_of(
        &self,
        ecosystem: Ecosystem,
        names: &[&str],
    ) -> Result<Vec<(String, String)>> {
        let mut found = Vec::new();
        for names in names.chunks(MOST_NAMES) {
            let mut query = sqlx::query(built(format!(
                "SELECT p.key, r.version FROM projects p JOIN releases r ON r.project_id = p.id WHERE p.ecosystem = $1 \
                 AND p.removed_at IS NULL AND p.visible_at IS NOT NULL AND p.private_at IS NULL AND r.removed_at IS NULL \
                 AND EXISTS (SELECT 1 FROM files f WHERE f.release_id = r.id AND f.state IN ('live', 'quarantined')) \
                 AND p.key IN ({}) ORDER BY p.key, r.version",
                places(names.len(), 2)
            )))
            .bind(ecosystem.as_str());
            for name in names {
                query = query.bind((*name).to_owned());
            }
            let rows = query.fetch_all(&self.read).await.map_err(failed)?;
            for row in &rows {
                found.push((text(row, "key")?, text(row, "version")?));
            }
        }
        Ok(found)
    }
}

impl Tx {
    /// Puts advisories in the place of what was there under their identifiers.
    pub(crate) async fn put_advisories(&mut self, rows: &[AdvisoryRow], now: Time) -> Result<()> {
        let ids: Vec<&str> = rows.iter().map(|row| row.id.as_str()).collect();
        self.forget_advisory_rules(&ids).await?;
        for rows in rows.chunks(100) {
            let mut query = sqlx::query(built(format!(
                "INSERT INTO advisories (id, feed, modified, withdrawn, record, imported_at) VALUES {} ON CONFLICT (id) DO UPDATE SET \
                 feed = excluded.feed, modified = excluded.modified, withdrawn = excluded.withdrawn, record = excluded.record, \
                 imported_at = excluded.imported_at",
                value_rows(rows.len(), 6, 1)
            )));
            for row in rows {
                query = query
                    .bind(row.id.clone())
                    .bind(row.feed.clone())
                    .bind(row.modified.clone())
                    .bind(i64::from(row.withdrawn))
                    .bind(row.record.clone())
                    .bind(now.0);
            }
            query.execute(&mut *self.inner).await.map_err(failed)?;
        }
        let rules: Vec<_> = rows
            .iter()
            .flat_map(|row| {
                row.rules
                    .iter()
                    .enumerate()
                    .map(move |(at, rule)| (&row.id, at, rule))
            })
            .collect();
        for rules in rules.chunks(150) {
            let mut query = sqlx::query(built(format!(
                "INSERT INTO advisory_rules (advisory_id, position, ecosystem, name_key, rule) VALUES {}",
                value_rows(rules.len(), 5, 1)
            )));
            for (id, at, (ecosystem, key, rule)) in rules {
                query = query
                    .bind((*id).clone())
                    .bind(signed(*at as u64))
                    .bind(ecosystem.as_str())
                    .bind(key.clone())
                    .bind(rule.clone());
            }
            query.execute(&mut *self.inner).await.map_err(failed)?;
        }
        Ok(())
    }

    async fn forget_advisory_rules(&mut self, ids: &[&str]) -> Result<()> {
        for ids in ids.chunks(MOST_NAMES) {
            let mut query = sqlx::query(built(format!(
                "DELETE FROM advisory_rules WHERE advisory_id IN ({})",
                places(ids.len(), 1)
            )));
            for id in ids {
                query = query.bind((*id).to_owned());
            }
            query.execute(&mut *self.inner).await.map_err(failed)?;
        }
        Ok(())
    }

    /// Takes advisories away that their feed has no longer.
    pub(crate) async fn drop_advisories(&mut self, ids: &[&str]) -> Result<()> {
        self.forget_advisory_rules(ids).await?;
        for ids in ids.chunks(MOST_NAMES) {
            let mut query = sqlx::query(built(format!(
                "DELETE FROM advisories WHERE id IN ({})",
                places(ids.len(), 1)
            )));
            for id in ids {
                query = query.bind((*id).to_owned());
            }
            query.execute(&mut *self.inner).await.map_err(failed)?;
        }
        Ok(())
    }

    /// Remembers how a feed stood. The time only grows, so that whoever compares it notices every change.
    pub(crate) async fn put_advisory_feed(&mut self, feed: &FeedRow) -> Result<()> {
        sqlx::query(
            "INSERT INTO advisory_feeds (name, records, withdrawn, refused, imported_at) VALUES ($1, $2, $3, $4, $5) \
             ON CONFLICT (name) DO UPDATE SET records = excluded.records, withdrawn = excluded.withdrawn, refused = excluded.refused, \
             imported_at = CASE WHEN excluded.imported_at > advisory_feeds.imported_at THEN excluded.imported_at \
             ELSE advisory_feeds.imported_at + 1 END",
        )
        .bind(feed.name.clone())
        .bind(signed(feed.records))
        .bind(signed(feed.withdrawn))
        .bind(signed(feed.refused))
        .bind(feed.imported.0)
        .execute(&mut *self.inner)
        .await
        .map_err(failed)?;
        Ok(())
    }

    /// The next number of an advisory of our own in a year.
    pub(crate) async fn next_own_advisory(&mut self, prefix: &str) -> Result<i64> {
        let row =
            sqlx::query("SELECT count(*) AS n FROM advisories WHERE feed = $1 AND id LIKE $2")
                .bind(OWN_FEED)
                .bind(format!("{prefix}%"))
                .fetch_one(&mut *self.inner)
                .await
                .map_err(failed)?;
        Ok(number(&row, "n")? + 1)
    }

    /// How many advisories are the registry's own.
    pub(crate) async fn own_advisory_count(&mut self) -> Result<u64> {
        let row = sqlx::query("SELECT count(*) AS n FROM advisories WHERE feed = $1")
            .bind(OWN_FEED)
            .fetch_one(&mut *self.inner)
            .await
            .map_err(failed)?;
        unsigned(&row, "n")
    }
}

/// The feed of what this registry itself says.
pub(crate) const OWN_FEED: &str = "own";

impl Store {
    /// Identifier, order of change and record of the registry's own advisories, by identifier.
    pub(crate) async fn own_advisories(&self) -> Result<Vec<(String, String, String)>> {
        let rows =
            sqlx::query("SELECT id, modified, record FROM advisories WHERE feed = $1 ORDER BY id")
                .bind(OWN_FEED)
                .fetch_all(&self.read)
                .await
                .map_err(failed)?;
        rows.iter()
            .map(|row| {
                Ok((
                    text(row, "id")?,
                    text(row, "modified")?,
                    text(row, "record")?,
                ))
            })
            .collect()
    }
}
