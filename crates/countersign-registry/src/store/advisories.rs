//! Rows of advisories. What is said about a package stands in rows of its own, so that a question needs one look-up; which releases
//! are meant is judged when somebody asks, and never stored: it can not be out of date.

use std::collections::HashMap;

use countersign_formats::Ecosystem;
use countersign_formats::source_health::SourceHealth;
use sqlx::any::AnyRow;

use super::{
    Store, Tx, built, ecosystem, failed, maybe_text, maybe_time, number, places, signed, text,
    time, unsigned, value_rows,
};
use crate::error::{Error, Result};
use crate::model::{AccountId, FileId, ProjectId, Time};

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

/// Something that is served in spite of an advisory.
#[derive(Clone, Debug)]
pub(crate) struct ExemptionRow {
    pub(crate) id: String,
    pub(crate) ecosystem: Ecosystem,
    pub(crate) key: String,
    /// Empty: all.
    pub(crate) version: String,
    pub(crate) advisory: String,
    pub(crate) reason: String,
    pub(crate) made: Time,
    /// When it ends by itself.
    pub(crate) until: Option<Time>,
}

const EXEMPTION: &str = "SELECT id, ecosystem, name_key, version, advisory_id, reason, made_at, until_at FROM advisory_exemptions";

fn exemption(row: &AnyRow) -> Result<ExemptionRow> {
    Ok(ExemptionRow {
        id: text(row, "id")?,
        ecosystem: ecosystem(&text(row, "ecosystem")?)?,
        key: text(row, "name_key")?,
        version: text(row, "version")?,
        advisory: text(row, "advisory_id")?,
        reason: text(row, "reason")?,
        made: time(row, "made_at")?,
        until: maybe_time(row, "until_at")?,
    })
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

    /// When something was said about a source project last.
    pub(crate) async fn source_health_changed(&self) -> Result<Option<Time>> {
        let row = sqlx::query("SELECT max(imported_at) AS at FROM source_health")
            .fetch_one(&self.near)
            .await
            .map_err(failed)?;
        maybe_time(&row, "at")
    }

    /// What is said about repositories, by repository and source.
    pub(crate) async fn source_health(&self, repositories: &[String]) -> Result<Vec<SourceHealth>> {
        let mut found = Vec::new();
        for repositories in repositories.chunks(MOST_NAMES) {
            let mut query = sqlx::query(built(format!(
                "SELECT said FROM source_health WHERE repository IN ({}) ORDER BY repository, source",
                places(repositories.len(), 1)
            )));
            for repository in repositories {
                query = query.bind(repository.clone());
            }
            for row in &query.fetch_all(&self.near).await.map_err(failed)? {
                let said = text(row, "said")?;
                found.push(serde_json::from_str(&said).map_err(|source| {
                    Error::internal("a stored result on a source can not be read", source)
                })?);
            }
        }
        Ok(found)
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

impl Store {
    /// Which state of a feed's files was read last, and why it was refused, if it was.
    pub(crate) async fn advisory_source(
        &self,
        feed: &str,
    ) -> Result<Option<(String, Option<String>)>> {
        let row = sqlx::query("SELECT mark, problem FROM advisory_sources WHERE feed = $1")
            .bind(feed.to_owned())
            .fetch_optional(&self.near)
            .await
            .map_err(failed)?;
        row.map(|row| Ok((text(&row, "mark")?, maybe_text(&row, "problem")?)))
            .transpose()
    }

    /// Feeds whose newest files were refused, why, and since when.
    pub(crate) async fn advisory_problems(&self) -> Result<Vec<(String, String, Time)>> {
        let rows = sqlx::query("SELECT feed, problem, looked_at FROM advisory_sources WHERE problem IS NOT NULL ORDER BY feed")
            .fetch_all(&self.near)
            .await
            .map_err(failed)?;
        rows.iter()
            .map(|row| {
                Ok((
                    text(row, "feed")?,
                    text(row, "problem")?,
                    time(row, "looked_at")?,
                ))
            })
            .collect()
    }

    /// A number that is another one after every exemption that was made or ended.
    pub(crate) async fn exemptions_changed(&self) -> Result<u64> {
        let row = sqlx::query("SELECT count(*) + count(ended_at) AS n FROM advisory_exemptions")
            .fetch_one(&self.near)
            .await
            .map_err(failed)?;
        unsigned(&row, "n")
    }

    /// Exemptions that hold, the newest first.
    pub(crate) async fn exemptions(&self) -> Result<Vec<ExemptionRow>> {
        let rows = sqlx::query(built(format!(
            "{EXEMPTION} WHERE ended_at IS NULL ORDER BY made_at DESC, id DESC"
        )))
        .fetch_all(&self.read)
        .await
        .map_err(failed)?;
        rows.iter().map(exemption).collect()
    }

    /// Exemptions of a version that hold now, the newest first. One whose time is over holds no longer, whether or not it was ended.
    pub(crate) async fn exemptions_of(
        &self,
        ecosystem: Ecosystem,
        key: &str,
        version: &str,
        now: Time,
    ) -> Result<Vec<ExemptionRow>> {
        let rows = sqlx::query(built(format!(
            "{EXEMPTION} WHERE ecosystem = $1 AND name_key = $2 AND version IN ('', $3) AND ended_at IS NULL \
             AND (until_at IS NULL OR until_at > $4) ORDER BY made_at DESC, id DESC"
        )))
        .bind(ecosystem.as_str())
        .bind(key.to_owned())
        .bind(version.to_owned())
        .bind(now.0)
        .fetch_all(&self.near)
        .await
        .map_err(failed)?;
        rows.iter().map(exemption).collect()
    }

    /// Ids of exemptions that hold, and whose time is over.
    pub(crate) async fn exemptions_over(&self, now: Time) -> Result<Vec<String>> {
        let rows = sqlx::query("SELECT id FROM advisory_exemptions WHERE ended_at IS NULL AND until_at <= $1 ORDER BY id")
            .bind(now.0)
            .fetch_all(&self.near)
            .await
            .map_err(failed)?;
        rows.iter().map(|row| text(row, "id")).collect()
    }

    /// Every file that a project ever had, private or withheld, with its version.
    pub(crate) async fn every_file_of(
        &self,
        ecosystem: Ecosystem,
        key: &str,
    ) -> Result<Vec<(FileId, String)>> {
        let rows = sqlx::query(
            "SELECT f.id, r.version FROM files f JOIN releases r ON r.id = f.release_id JOIN projects p ON p.id = f.project_id \
             WHERE p.ecosystem = $1 AND p.key = $2 ORDER BY f.id",
        )
        .bind(ecosystem.as_str())
        .bind(key.to_owned())
        .fetch_all(&self.read)
        .await
        .map_err(failed)?;
        rows.iter()
            .map(|row| Ok((FileId(text(row, "id")?), text(row, "version")?)))
            .collect()
    }

    /// Forgets who downloaded what before the day of this time, and who was told before it. The number of downloads.
    pub(crate) async fn forget_downloaders(&self, before: Time) -> Result<u64> {
        let gone = sqlx::query("DELETE FROM downloaders WHERE day < $1")
            .bind(before.day())
            .execute(&self.write)
            .await
            .map_err(failed)?
            .rows_affected();
        sqlx::query("DELETE FROM download_warnings WHERE warned_at < $1")
            .bind(before.0)
            .execute(&self.write)
            .await
            .map_err(failed)?;
        Ok(gone)
    }
}

impl Tx {
    /// Remembers which state of a feed's files was read, and why it was refused.
    pub(crate) async fn put_advisory_source(
        &mut self,
        feed: &str,
        mark: &str,
        problem: Option<&str>,
        now: Time,
    ) -> Result<()> {
        sqlx::query(
            "INSERT INTO advisory_sources (feed, mark, looked_at, problem) VALUES ($1, $2, $3, $4) \
             ON CONFLICT (feed) DO UPDATE SET mark = excluded.mark, looked_at = excluded.looked_at, problem = excluded.problem",
        )
        .bind(feed.to_owned())
        .bind(mark.to_owned())
        .bind(now.0)
        .bind(problem.map(str::to_owned))
        .execute(&mut *self.inner)
        .await
        .map_err(failed)?;
        Ok(())
    }

    /// A feed was imported: what was wrong with it before is no matter any more.
    pub(crate) async fn mend_advisory_source(&mut self, feed: &str) -> Result<()> {
        sqlx::query("UPDATE advisory_sources SET problem = NULL WHERE feed = $1")
            .bind(feed.to_owned())
            .execute(&mut *self.inner)
            .await
            .map_err(failed)?;
        Ok(())
    }

    /// The record of an advisory of the registry's own.
    pub(crate) async fn own_advisory(&mut self, id: &str) -> Result<Option<String>> {
        let row = sqlx::query("SELECT record FROM advisories WHERE id = $1 AND feed = $2")
            .bind(id.to_owned())
            .bind(OWN_FEED)
            .fetch_optional(&mut *self.inner)
            .await
            .map_err(failed)?;
        row.map(|row| text(&row, "record")).transpose()
    }

    /// The advisory that tells of a case.
    pub(crate) async fn advisory_of_case(&mut self, case: &str) -> Result<Option<String>> {
        let row = sqlx::query("SELECT advisory_id FROM cases WHERE id = $1")
            .bind(case.to_owned())
            .fetch_optional(&mut *self.inner)
            .await
            .map_err(failed)?;
        match row {
            Some(row) => maybe_text(&row, "advisory_id"),
            None => Ok(None),
        }
    }

    /// Notes which advisory tells of a case.
    pub(crate) async fn set_advisory_of_case(&mut self, case: &str, id: &str) -> Result<()> {
        sqlx::query("UPDATE cases SET advisory_id = $2 WHERE id = $1")
            .bind(case.to_owned())
            .bind(id.to_owned())
            .execute(&mut *self.inner)
            .await
            .map_err(failed)?;
        Ok(())
    }

    /// Is a project for its own people only?
    pub(crate) async fn is_private(&mut self, project: &ProjectId) -> Result<bool> {
        let row = sqlx::query("SELECT private_at FROM projects WHERE id = $1")
            .bind(project.0.clone())
            .fetch_one(&mut *self.inner)
            .await
            .map_err(failed)?;
        Ok(maybe_time(&row, "private_at")?.is_some())
    }

    /// Makes an exemption.
    pub(crate) async fn insert_exemption(&mut self, row: &ExemptionRow) -> Result<()> {
        sqlx::query(
            "INSERT INTO advisory_exemptions (id, ecosystem, name_key, version, advisory_id, reason, made_at, until_at) VALUES ($1, $2, $3, $4, $5, $6, $7, $8)",
        )
        .bind(row.id.clone())
        .bind(row.ecosystem.as_str())
        .bind(row.key.clone())
        .bind(row.version.clone())
        .bind(row.advisory.clone())
        .bind(row.reason.clone())
        .bind(row.made.0)
        .bind(row.until.map(|until| until.0))
        .execute(&mut *self.inner)
        .await
        .map_err(failed)?;
        Ok(())
    }

    /// Ends an exemption; false where none of this id holds.
    pub(crate) async fn end_exemption(&mut self, id: &str, now: Time) -> Result<bool> {
        let done = sqlx::query(
            "UPDATE advisory_exemptions SET ended_at = $2 WHERE id = $1 AND ended_at IS NULL",
        )
        .bind(id.to_owned())
        .bind(now.0)
        .execute(&mut *self.inner)
        .await
        .map_err(failed)?;
        Ok(done.rows_affected() > 0)
    }

    /// Notes a download; not of an account that was erased meanwhile.
    pub(crate) async fn insert_downloader(
        &mut self,
        account: &AccountId,
        file: &FileId,
        day: i64,
    ) -> Result<()> {
        sqlx::query(
            "INSERT INTO downloaders (account_id, file_id, day) SELECT a.id, f.id, CAST($3 AS BIGINT) FROM accounts a, files f \
             WHERE a.id = $1 AND f.id = $2 AND a.name_key NOT LIKE 'erased:%' ON CONFLICT (account_id, file_id, day) DO NOTHING",
        )
        .bind(account.0.clone())
        .bind(file.0.clone())
        .bind(day)
        .execute(&mut *self.inner)
        .await
        .map_err(failed)?;
        Ok(())
    }

    /// Accounts that downloaded any of these files, with their names.
    pub(crate) async fn downloaders_of(
        &mut self,
        files: &[FileId],
    ) -> Result<Vec<(AccountId, String)>> {
        let mut found: Vec<(AccountId, String)> = Vec::new();
        for files in files.chunks(MOST_NAMES) {
            let mut query = sqlx::query(built(format!(
                "SELECT a.id, a.name FROM accounts a WHERE EXISTS (SELECT 1 FROM downloaders d WHERE d.account_id = a.id AND d.file_id IN ({}))",
                places(files.len(), 1)
            )));
            for file in files {
                query = query.bind(file.0.clone());
            }
            for row in &query.fetch_all(&mut *self.inner).await.map_err(failed)? {
                found.push((AccountId(text(row, "id")?), text(row, "name")?));
            }
        }
        found.sort_by(|a, b| a.1.cmp(&b.1));
        found.dedup();
        Ok(found)
    }

    /// Accounts that were told of an advisory because of what they had downloaded.
    pub(crate) async fn warned_of(&mut self, advisory: &str) -> Result<Vec<AccountId>> {
        let rows = sqlx::query("SELECT account_id FROM download_warnings WHERE advisory_id = $1")
            .bind(advisory.to_owned())
            .fetch_all(&mut *self.inner)
            .await
            .map_err(failed)?;
        rows.iter()
            .map(|row| Ok(AccountId(text(row, "account_id")?)))
            .collect()
    }

    /// Notes that an account was told.
    pub(crate) async fn note_warned(
        &mut self,
        advisory: &str,
        account: &AccountId,
        now: Time,
    ) -> Result<()> {
        sqlx::query("INSERT INTO download_warnings (advisory_id, account_id, warned_at) VALUES ($1, $2, $3) ON CONFLICT (advisory_id, account_id) DO NOTHING")
            .bind(advisory.to_owned())
            .bind(account.0.clone())
            .bind(now.0)
            .execute(&mut *self.inner)
            .await
            .map_err(failed)?;
        Ok(())
    }

    /// Puts what a source says about a repository in the place of what it said before; not of what is newer.
    pub(crate) async fn put_source_health(
        &mut self,
        health: &SourceHealth,
        now: Time,
    ) -> Result<()> {
        // Text and numbers only: this can not fail.
        let said = serde_json::to_string(health).unwrap_or_default();
        sqlx::query(
            "INSERT INTO source_health (repository, source, said_at, said, imported_at) VALUES ($1, $2, $3, $4, $5) \
             ON CONFLICT (repository, source) DO UPDATE SET said_at = excluded.said_at, said = excluded.said, imported_at = excluded.imported_at \
             WHERE source_health.said_at <= excluded.said_at",
        )
        .bind(health.repository.clone())
        .bind(health.source.clone())
        .bind(health.date.clone())
        .bind(said)
        .bind(now.0)
        .execute(&mut *self.inner)
        .await
        .map_err(failed)?;
        Ok(())
    }
}
