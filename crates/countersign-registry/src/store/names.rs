//! Rows of names: protected lists, prohibitions, exceptions, and what a new name is held against.

use std::collections::HashSet;

use countersign_formats::Ecosystem;
use futures::TryStreamExt;

use super::{
    Store, Tx, built, failed, maybe_text, number, places, signed, text, time, unsigned, value_rows,
};
use crate::checks::lookalikes::{Hit, Tier};
use crate::error::Result;
use crate::model::{AccountId, FileId, ProjectId, Time};

/// What a new name is judged by, read in the transaction that will take it.
#[derive(Clone, Debug, Default)]
pub struct NameFacts {
    /// Names of other projects whose look-alike skeleton is the same; empty for private ones.
    pub lookalikes: Vec<String>,
    /// Why the operator prohibits it, or one that reads the same.
    pub prohibited: Option<String>,
    /// Protected names that it looks like, without those that are the caller's own or excepted.
    pub hits: Vec<Hit>,
}

/// A list of protected names.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NameList {
    /// Of which ecosystem.
    pub ecosystem: Ecosystem,
    /// What it is called.
    pub name: String,
    /// The most that looking like one of it leads to.
    pub tier: Tier,
    /// How many names it has.
    pub names: u64,
    /// When it was imported.
    pub imported: Time,
}

/// A name that nobody may take.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ProhibitedName {
    /// Of which ecosystem.
    pub ecosystem: Ecosystem,
    /// Its key.
    pub key: String,
    /// Why.
    pub reason: String,
    /// Since when.
    pub since: Time,
}

/// Two names that may stand beside each other.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NameException {
    /// Of which ecosystem.
    pub ecosystem: Ecosystem,
    /// The key of the name that looks like the other.
    pub key: String,
    /// The key of the other.
    pub other: String,
    /// Why.
    pub reason: String,
    /// Since when.
    pub since: Time,
}

/// A name that is asked for, and that no project ever had.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MissingName {
    /// Of which ecosystem.
    pub ecosystem: Ecosystem,
    /// What a project of it would be known by.
    pub key: String,
    /// How often it was asked for within the last thirty days, at least.
    pub asked: u64,
    /// On how many of them.
    pub days: u64,
    /// The last of them.
    pub last: Time,
    /// Nobody may take it.
    pub prohibited: bool,
}

/// Where a sweep over all names stands: a live project with one of its files.
#[derive(Clone, Debug)]
pub(crate) struct NamedProject {
    pub(crate) id: ProjectId,
    pub(crate) ecosystem: Ecosystem,
    pub(crate) key: String,
    pub(crate) file: Option<FileId>,
}

impl Store {
    /// Every protected name of the lists that count: ecosystem, key and tier, the best known of a list first.
    pub(crate) async fn protected_names(
        &self,
        take: &mut (dyn FnMut(Ecosystem, String, Tier) + Send),
    ) -> Result<()> {
        for list in self.name_list_ids().await? {
            let (id, ecosystem, tier) = list;
            let mut rows =
                sqlx::query("SELECT key FROM protected_names WHERE list_id = $1 ORDER BY rank")
                    .bind(id)
                    .fetch(&self.read);
            while let Some(row) = rows.try_next().await.map_err(failed)? {
                take(ecosystem, text(&row, "key")?, tier);
            }
        }
        Ok(())
    }

    async fn name_list_ids(&self) -> Result<Vec<(String, Ecosystem, Tier)>> {
        let rows = sqlx::query(
            "SELECT id, ecosystem, tier FROM name_lists WHERE imported_at IS NOT NULL ORDER BY ecosystem, name",
        )
        .fetch_all(&self.read)
        .await
        .map_err(failed)?;
        rows.iter()
            .map(|row| {
                Ok((
                    text(row, "id")?,
                    super::ecosystem(&text(row, "ecosystem")?)?,
                    super::parsed(row, "tier")?,
                ))
            })
            .collect()
    }

    /// Keys of public projects that an organisation owns or many depend on, in order.
    pub(crate) async fn own_names(&self) -> Result<Vec<(Ecosystem, String)>> {
        let rows = sqlx::query(
            "SELECT p.ecosystem, p.key FROM projects p WHERE p.removed_at IS NULL AND p.private_at IS NULL AND p.visible_at IS NOT NULL \
             AND p.status <> 'quarantined' AND (p.critical_at IS NOT NULL OR EXISTS (SELECT 1 FROM grants g \
             WHERE g.project_id = p.id AND g.organisation_id IS NOT NULL AND g.ended_at IS NULL)) ORDER BY p.ecosystem, p.key",
        )
        .fetch_all(&self.read)
        .await
        .map_err(failed)?;
        rows.iter()
            .map(|row| {
                Ok((
                    super::ecosystem(&text(row, "ecosystem")?)?,
                    text(row, "key")?,
                ))
            })
            .collect()
    }

    /// The lists that count.
    pub(crate) async fn name_lists(&self) -> Result<Vec<NameList>> {
        let rows = sqlx::query(
            "SELECT ecosystem, name, tier, names, imported_at FROM name_lists WHERE imported_at IS NOT NULL ORDER BY ecosystem, name",
        )
        .fetch_all(&self.read)
        .await
        .map_err(failed)?;
        rows.iter()
            .map(|row| {
                Ok(NameList {
                    ecosystem: super::ecosystem(&text(row, "ecosystem")?)?,
                    name: text(row, "name")?,
                    tier: super::parsed(row, "tier")?,
                    names: unsigned(row, "names")?,
                    imported: time(row, "imported_at")?,
                })
            })
            .collect()
    }

    /// All prohibited names.
    pub(crate) async fn prohibited_names(&self) -> Result<Vec<ProhibitedName>> {
        let rows = sqlx::query(
            "SELECT ecosystem, key, reason, made_at FROM prohibited_names ORDER BY ecosystem, key",
        )
        .fetch_all(&self.read)
        .await
        .map_err(failed)?;
        rows.iter()
            .map(|row| {
                Ok(ProhibitedName {
                    ecosystem: super::ecosystem(&text(row, "ecosystem")?)?,
                    key: text(row, "key")?,
                    reason: text(row, "reason")?,
                    since: time(row, "made_at")?,
                })
            })
            .collect()
    }

    /// Which of these names a project has, or had, whoever sees it.
    pub(crate) async fn known_keys(
        &self,
        ecosystem: Ecosystem,
        keys: &[&str],
    ) -> Result<HashSet<String>> {
        let mut known = HashSet::new();
        for keys in keys.chunks(400) {
            let sql = format!(
                "SELECT key FROM projects WHERE ecosystem = $1 AND key IN ({})",
                places(keys.len(), 2)
            );
            let mut query = sqlx::query(built(sql)).bind(ecosystem.as_str());
            for key in keys {
                query = query.bind((*key).to_owned());
            }
            for row in &query.fetch_all(&self.read).await.map_err(failed)? {
                known.insert(text(row, "key")?);
            }
        }
        Ok(known)
    }

    /// Names that were asked for since this day, and that no project has or had, those first that were asked for most.
    pub(crate) async fn missing_names(&self, since: i64, most: u32) -> Result<Vec<MissingName>> {
        let rows = sqlx::query(
            "SELECT m.ecosystem, m.name_key, CAST(sum(m.asked) AS BIGINT) AS asked, count(*) AS days, max(m.day) AS last_day, \
             (SELECT count(*) FROM prohibited_names q WHERE q.ecosystem = m.ecosystem AND q.key = m.name_key) AS prohibited \
             FROM missing_names m WHERE m.day >= $1 \
             AND NOT EXISTS (SELECT 1 FROM projects p WHERE p.ecosystem = m.ecosystem AND p.key = m.name_key) \
             GROUP BY m.ecosystem, m.name_key ORDER BY asked DESC, m.ecosystem, m.name_key LIMIT $2",
        )
        .bind(since)
        .bind(i64::from(most))
        .fetch_all(&self.read)
        .await
        .map_err(failed)?;
        rows.iter()
            .map(|row| {
                Ok(MissingName {
                    ecosystem: super::ecosystem(&text(row, "ecosystem")?)?,
                    key: text(row, "name_key")?,
                    asked: unsigned(row, "asked")?,
                    days: unsigned(row, "days")?,
                    last: Time(0).plus_seconds(number(row, "last_day")? * 86_400),
                    prohibited: number(row, "prohibited")? > 0,
                })
            })
            .collect()
    }

    /// All exceptions.
    pub(crate) async fn name_exceptions(&self) -> Result<Vec<NameException>> {
        let rows = sqlx::query(
            "SELECT ecosystem, key, other, reason, made_at FROM name_exceptions ORDER BY ecosystem, key, other",
        )
        .fetch_all(&self.read)
        .await
        .map_err(failed)?;
        rows.iter()
            .map(|row| {
                Ok(NameException {
                    ecosystem: super::ecosystem(&text(row, "ecosystem")?)?,
                    key: text(row, "key")?,
                    other: text(row, "other")?,
                    reason: text(row, "reason")?,
                    since: time(row, "made_at")?,
                })
            })
            .collect()
    }

    /// Live projects after an id, in its order, each with its first file that is there.
    pub(crate) async fn named_projects(&self, after: &str, most: u32) -> Result<Vec<NamedProject>> {
        let rows = sqlx::query(
            "SELECT p.id, p.ecosystem, p.key, (SELECT min(f.id) FROM files f WHERE f.project_id = p.id AND f.state <> 'removed') AS file \
             FROM projects p WHERE p.id > $1 AND p.removed_at IS NULL ORDER BY p.id LIMIT $2",
        )
        .bind(after.to_owned())
        .bind(i64::from(most))
        .fetch_all(&self.read)
        .await
        .map_err(failed)?;
        rows.iter()
            .map(|row| {
                Ok(NamedProject {
                    id: ProjectId(text(row, "id")?),
                    ecosystem: super::ecosystem(&text(row, "ecosystem")?)?,
                    key: text(row, "key")?,
                    file: maybe_text(row, "file")?.map(FileId),
                })
            })
            .collect()
    }

    /// Projects after an id, in its order, with ecosystem, key and skeleton; removed ones too.
    pub(crate) async fn skeletons(
        &self,
        after: &str,
        most: u32,
    ) -> Result<Vec<(ProjectId, Ecosystem, String, String)>> {
        let rows = sqlx::query(
            "SELECT id, ecosystem, key, skeleton FROM projects WHERE id > $1 ORDER BY id LIMIT $2",
        )
        .bind(after.to_owned())
        .bind(i64::from(most))
        .fetch_all(&self.read)
        .await
        .map_err(failed)?;
        rows.iter()
            .map(|row| {
                Ok((
                    ProjectId(text(row, "id")?),
                    super::ecosystem(&text(row, "ecosystem")?)?,
                    text(row, "key")?,
                    text(row, "skeleton")?,
                ))
            })
            .collect()
    }
}

impl Tx {
    /// Adds to how often names were asked for on a day.
    pub(crate) async fn add_missing_names(
        &mut self,
        day: i64,
        counted: &[(Ecosystem, String, u64)],
    ) -> Result<()> {
        for counted in counted.chunks(500) {
            let sql = format!(
                "INSERT INTO missing_names (ecosystem, name_key, day, asked) VALUES {} \
                 ON CONFLICT (ecosystem, name_key, day) DO UPDATE SET asked = missing_names.asked + excluded.asked",
                value_rows(counted.len(), 4, 1)
            );
            let mut query = sqlx::query(built(sql));
            for (ecosystem, key, asked) in counted {
                query = query
                    .bind(ecosystem.as_str())
                    .bind(key.clone())
                    .bind(day)
                    .bind(signed(*asked));
            }
            query.execute(&mut *self.inner).await.map_err(failed)?;
        }
        Ok(())
    }

    /// Forgets names that were asked for before a day, and of this day those that were asked for least, if there are more than `most`.
    pub(crate) async fn trim_missing_names(
        &mut self,
        day: i64,
        most: u32,
        before: i64,
    ) -> Result<()> {
        sqlx::query("DELETE FROM missing_names WHERE day < $1")
            .bind(before)
            .execute(&mut *self.inner)
            .await
            .map_err(failed)?;
        // Where there are fewer, nothing is less than nothing.
        sqlx::query(
            "DELETE FROM missing_names WHERE day = $1 \
             AND asked <= (SELECT asked FROM missing_names WHERE day = $1 ORDER BY asked DESC LIMIT 1 OFFSET $2)",
        )
        .bind(day)
        .bind(i64::from(most))
        .execute(&mut *self.inner)
        .await
        .map_err(failed)?;
        Ok(())
    }

    /// Names of other projects whose look-alike skeleton is the same as that of a new name, removed ones too, empty for private
    /// ones, without those that an exception lets it stand beside; and whether the name is prohibited. Two new names that look
    /// alike stand one behind the other from here to the end of the transaction; SQLite's one writer sees to that by itself.
    pub(crate) async fn name_facts(
        &mut self,
        ecosystem: Ecosystem,
        key: &str,
        skeleton: &str,
    ) -> Result<NameFacts> {
        if self.backend == super::Backend::Postgres {
            sqlx::query("SELECT 1 AS n FROM (SELECT pg_advisory_xact_lock(hashtext($1))) AS held")
                .bind(format!("{ecosystem}/{skeleton}"))
                .fetch_one(&mut *self.inner)
                .await
                .map_err(failed)?;
        }
        let rows = sqlx::query(
            "SELECT CASE WHEN private_at IS NULL THEN name ELSE '' END AS name FROM projects \
             WHERE ecosystem = $1 AND skeleton = $2 AND key <> $3 \
             AND key NOT IN (SELECT other FROM name_exceptions WHERE ecosystem = $1 AND key = $3) \
             ORDER BY CASE WHEN private_at IS NULL THEN 0 ELSE 1 END, key",
        )
        .bind(ecosystem.as_str())
        .bind(skeleton.to_owned())
        .bind(key.to_owned())
        .fetch_all(&mut *self.inner)
        .await
        .map_err(failed)?;
        let prohibited = sqlx::query(
            "SELECT reason FROM prohibited_names WHERE ecosystem = $1 AND skeleton = $2 ORDER BY key LIMIT 1",
        )
        .bind(ecosystem.as_str())
        .bind(skeleton.to_owned())
        .fetch_optional(&mut *self.inner)
        .await
        .map_err(failed)?;
        Ok(NameFacts {
            lookalikes: rows
                .iter()
                .map(|row| text(row, "name"))
                .collect::<Result<_>>()?,
            prohibited: prohibited.map(|row| text(&row, "reason")).transpose()?,
            hits: Vec::new(),
        })
    }

    /// Of these protected names those that a name may look like: an exception says so, or the account has a role on the
    /// project of that name.
    pub(crate) async fn names_beside(
        &mut self,
        ecosystem: Ecosystem,
        key: &str,
        others: &[&str],
        account: Option<&AccountId>,
    ) -> Result<Vec<String>> {
        if others.is_empty() {
            return Ok(Vec::new());
        }
        let sql = format!(
            "SELECT other FROM name_exceptions WHERE ecosystem = $1 AND key = $2 AND other IN ({0}) \
             UNION SELECT p.key AS other FROM projects p JOIN effective_roles e ON e.project_id = p.id AND e.account_id = $3 \
             WHERE p.ecosystem = $1 AND p.key IN ({0})",
            places(others.len(), 4)
        );
        let mut query = sqlx::query(built(sql))
            .bind(ecosystem.as_str())
            .bind(key.to_owned())
            .bind(account.map_or("", |id| id.0.as_str()).to_owned());
        for other in others {
            query = query.bind((*other).to_owned());
        }
        let rows = query.fetch_all(&mut *self.inner).await.map_err(failed)?;
        rows.iter().map(|row| text(row, "other")).collect()
    }

    /// Of these protected names those that an owner of the project owns, or that an exception lets it stand beside.
    pub(crate) async fn names_of_owners(
        &mut self,
        project: &NamedProject,
        others: &[&str],
    ) -> Result<Vec<String>> {
        if others.is_empty() {
            return Ok(Vec::new());
        }
        let sql = format!(
            "SELECT other FROM name_exceptions WHERE ecosystem = $1 AND key = $2 AND other IN ({0}) \
             UNION SELECT p.key AS other FROM projects p JOIN effective_roles e ON e.project_id = p.id AND e.role = 'owner' \
             JOIN effective_roles o ON o.account_id = e.account_id AND o.project_id = $3 AND o.role = 'owner' \
             WHERE p.ecosystem = $1 AND p.key IN ({0})",
            places(others.len(), 4)
        );
        let mut query = sqlx::query(built(sql))
            .bind(project.ecosystem.as_str())
            .bind(project.key.clone())
            .bind(project.id.0.clone());
        for other in others {
            query = query.bind((*other).to_owned());
        }
        let rows = query.fetch_all(&mut *self.inner).await.map_err(failed)?;
        rows.iter().map(|row| text(row, "other")).collect()
    }

    /// Names that the last file of a project before this one depends on.
    pub(crate) async fn dependencies_before(
        &mut self,
        project: &ProjectId,
        file: &FileId,
    ) -> Result<Vec<String>> {
        let rows = sqlx::query(
            "SELECT DISTINCT name_key FROM dependencies WHERE metadata_sha256 IN (SELECT f.metadata_sha256 FROM files f \
             WHERE f.project_id = $1 AND f.id <> $2 ORDER BY f.id DESC LIMIT 1)",
        )
        .bind(project.0.clone())
        .bind(file.0.clone())
        .fetch_all(&mut *self.inner)
        .await
        .map_err(failed)?;
        rows.iter().map(|row| text(row, "name_key")).collect()
    }

    /// Does a finding of this rule with this text stand about a file, put aside or not?
    pub(crate) async fn has_finding(
        &mut self,
        file: &FileId,
        rule: &str,
        snippet: &str,
    ) -> Result<bool> {
        let row = sqlx::query(
            "SELECT count(*) AS n FROM findings WHERE file_id = $1 AND rule = $2 AND snippet = $3",
        )
        .bind(file.0.clone())
        .bind(rule.to_owned())
        .bind(snippet.to_owned())
        .fetch_one(&mut *self.inner)
        .await
        .map_err(failed)?;
        Ok(number(&row, "n")? > 0)
    }

    /// Puts the findings of a rule about a project's files aside whose text ends so.
    pub(crate) async fn dismiss_name_findings(
        &mut self,
        project: &ProjectId,
        rule: &str,
        ending: &str,
        now: Time,
    ) -> Result<()> {
        sqlx::query(
            "UPDATE findings SET dismissed_at = $4 WHERE dismissed_at IS NULL AND rule = $2 \
             AND substr(snippet, length(snippet) - length($3) + 1) = $3 AND file_id IN (SELECT id FROM files WHERE project_id = $1)",
        )
        .bind(project.0.clone())
        .bind(rule.to_owned())
        .bind(ending.to_owned())
        .bind(now.0)
        .execute(&mut *self.inner)
        .await
        .map_err(failed)?;
        Ok(())
    }

    /// Files of a project that wait because of its name: file names.
    pub(crate) async fn held_for_name(&mut self, project: &ProjectId) -> Result<Vec<String>> {
        let rows = sqlx::query(
            "SELECT filename FROM cases WHERE project_id = $1 AND cause = 'names' AND closed_at IS NULL AND filename <> '' ORDER BY id",
        )
        .bind(project.0.clone())
        .fetch_all(&mut *self.inner)
        .await
        .map_err(failed)?;
        rows.iter().map(|row| text(row, "filename")).collect()
    }

    /// Begins a list that does not count yet.
    pub(crate) async fn begin_name_list(
        &mut self,
        id: &str,
        ecosystem: Ecosystem,
        name: &str,
        tier: Tier,
        now: Time,
    ) -> Result<()> {
        sqlx::query("INSERT INTO name_lists (id, ecosystem, name, tier, names, begun_at) VALUES ($1, $2, $3, $4, 0, $5)")
            .bind(id.to_owned())
            .bind(ecosystem.as_str())
            .bind(name.to_owned())
            .bind(tier.as_str())
            .bind(now.0)
            .execute(&mut *self.inner)
            .await
            .map_err(failed)?;
        Ok(())
    }

    /// Writes names of a list; the first of them has this rank.
    pub(crate) async fn insert_protected(
        &mut self,
        list: &str,
        rank: u64,
        keys: &[String],
    ) -> Result<()> {
        for (chunk, keys) in keys.chunks(1_000).enumerate() {
            let sql = format!(
                "INSERT INTO protected_names (list_id, rank, key) VALUES {}",
                value_rows(keys.len(), 3, 1)
            );
            let mut query = sqlx::query(built(sql));
            for (at, key) in keys.iter().enumerate() {
                query = query
                    .bind(list.to_owned())
                    .bind(signed(rank + (chunk * 1_000 + at) as u64))
                    .bind(key.clone());
            }
            query.execute(&mut *self.inner).await.map_err(failed)?;
        }
        Ok(())
    }

    /// Lets a list count from now on, in the place of the one of that name; its id, if there was one.
    pub(crate) async fn finish_name_list(
        &mut self,
        id: &str,
        ecosystem: Ecosystem,
        name: &str,
        names: u64,
        now: Time,
    ) -> Result<()> {
        self.drop_name_list(ecosystem, name).await?;
        sqlx::query("UPDATE name_lists SET imported_at = $2, names = $3 WHERE id = $1")
            .bind(id.to_owned())
            .bind(now.0)
            .bind(signed(names))
            .execute(&mut *self.inner)
            .await
            .map_err(failed)?;
        Ok(())
    }

    /// Lets a list count no longer; whether there was one. Its rows are cleared afterwards.
    pub(crate) async fn drop_name_list(
        &mut self,
        ecosystem: Ecosystem,
        name: &str,
    ) -> Result<bool> {
        let done = sqlx::query(
            "UPDATE name_lists SET imported_at = NULL, begun_at = 0 WHERE ecosystem = $1 AND name = $2 AND imported_at IS NOT NULL",
        )
        .bind(ecosystem.as_str())
        .bind(name.to_owned())
        .execute(&mut *self.inner)
        .await
        .map_err(failed)?;
        Ok(done.rows_affected() > 0)
    }

    /// Clears some names of lists that do not count and were begun before then, and such lists without names; false where
    /// nothing is left to clear.
    pub(crate) async fn clear_name_lists(&mut self, before: Time) -> Result<bool> {
        let row = sqlx::query(
            "SELECT id, (SELECT min(n.rank) FROM protected_names n WHERE n.list_id = l.id) AS least FROM name_lists l \
             WHERE imported_at IS NULL AND begun_at < $1 ORDER BY id LIMIT 1",
        )
        .bind(before.0)
        .fetch_optional(&mut *self.inner)
        .await
        .map_err(failed)?;
        let Some(row) = row else { return Ok(false) };
        let id = text(&row, "id")?;
        let sql = match super::maybe_unsigned(&row, "least")? {
            Some(least) => {
                let most = signed(least.saturating_add(10_000));
                sqlx::query("DELETE FROM protected_names WHERE list_id = $1 AND rank < $2")
                    .bind(id)
                    .bind(most)
            }
            None => sqlx::query("DELETE FROM name_lists WHERE id = $1").bind(id),
        };
        sql.execute(&mut *self.inner).await.map_err(failed)?;
        Ok(true)
    }

    /// Prohibits a name, or says anew why.
    pub(crate) async fn prohibit_name(
        &mut self,
        ecosystem: Ecosystem,
        key: &str,
        skeleton: &str,
        reason: &str,
        now: Time,
    ) -> Result<()> {
        sqlx::query(
            "INSERT INTO prohibited_names (ecosystem, key, skeleton, reason, made_at) VALUES ($1, $2, $3, $4, $5) \
             ON CONFLICT (ecosystem, key) DO UPDATE SET reason = excluded.reason",
        )
        .bind(ecosystem.as_str())
        .bind(key.to_owned())
        .bind(skeleton.to_owned())
        .bind(reason.to_owned())
        .bind(now.0)
        .execute(&mut *self.inner)
        .await
        .map_err(failed)?;
        Ok(())
    }

    /// Takes a prohibition back; whether there was one.
    pub(crate) async fn permit_name(&mut self, ecosystem: Ecosystem, key: &str) -> Result<bool> {
        let done = sqlx::query("DELETE FROM prohibited_names WHERE ecosystem = $1 AND key = $2")
            .bind(ecosystem.as_str())
            .bind(key.to_owned())
            .execute(&mut *self.inner)
            .await
            .map_err(failed)?;
        Ok(done.rows_affected() > 0)
    }

    /// Lets a name stand beside another, or says anew why.
    pub(crate) async fn allow_name(
        &mut self,
        ecosystem: Ecosystem,
        key: &str,
        other: &str,
        reason: &str,
        now: Time,
    ) -> Result<()> {
        sqlx::query(
            "INSERT INTO name_exceptions (ecosystem, key, other, reason, made_at) VALUES ($1, $2, $3, $4, $5) \
             ON CONFLICT (ecosystem, key, other) DO UPDATE SET reason = excluded.reason",
        )
        .bind(ecosystem.as_str())
        .bind(key.to_owned())
        .bind(other.to_owned())
        .bind(reason.to_owned())
        .bind(now.0)
        .execute(&mut *self.inner)
        .await
        .map_err(failed)?;
        Ok(())
    }

    /// Ends an exception; whether there was one.
    pub(crate) async fn disallow_name(
        &mut self,
        ecosystem: Ecosystem,
        key: &str,
        other: &str,
    ) -> Result<bool> {
        let done = sqlx::query(
            "DELETE FROM name_exceptions WHERE ecosystem = $1 AND key = $2 AND other = $3",
        )
        .bind(ecosystem.as_str())
        .bind(key.to_owned())
        .bind(other.to_owned())
        .execute(&mut *self.inner)
        .await
        .map_err(failed)?;
        Ok(done.rows_affected() > 0)
    }

    /// Writes skeletons anew.
    pub(crate) async fn set_skeletons(&mut self, rows: &[(ProjectId, String)]) -> Result<()> {
        for (project, skeleton) in rows {
            sqlx::query("UPDATE projects SET skeleton = $2 WHERE id = $1")
                .bind(project.0.clone())
                .bind(skeleton.clone())
                .execute(&mut *self.inner)
                .await
                .map_err(failed)?;
        }
        Ok(())
    }
}
