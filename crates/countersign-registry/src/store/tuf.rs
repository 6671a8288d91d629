//! Rows of TUF repositories: their files, how their roles stand, their targets.

use std::collections::BTreeMap;
use std::ops::Range;

use countersign_trust::digest::Sha256;
use countersign_trust::tuf::TargetFile;
use sqlx::any::AnyRow;

use super::{
    Store, Tx, WRITE_CONFLICT, built, failed, maybe_text, number, places, signed, text, unsigned,
    value_rows,
};
use crate::error::{Error, Kind, Result};
use crate::model::Time;

/// All places that targets have.
pub(crate) const ALL_PLACES: Range<u64> = 0..1 << 32;

/// A repository as its row has it.
#[derive(Clone, Debug)]
pub(crate) struct TufRepositoryRow {
    /// The version of its timestamp.
    pub(crate) version: u64,
    /// JSON.
    pub(crate) terms: String,
}

/// A file of a repository.
#[derive(Clone, Debug)]
pub(crate) struct TufFileRow {
    pub(crate) file: String,
    pub(crate) role: String,
    pub(crate) version: u64,
    pub(crate) body: String,
}

/// A target as metadata lists it.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct TufTargetRow {
    pub(crate) path: String,
    /// The digest that its file's name begins with.
    pub(crate) digest: String,
    /// The first 32 bits of the path's SHA-256.
    pub(crate) place: u64,
    pub(crate) length: u64,
    /// JSON; nothing where all that is said are length and SHA-256.
    pub(crate) info: Option<String>,
}

/// All that one commit of a repository changes.
#[derive(Clone, Debug, Default)]
pub(crate) struct TufPublication {
    pub(crate) repository: String,
    /// The version of the timestamp that must be the newest still; 0: there is no repository yet.
    pub(crate) follows: u64,
    /// The version of the new timestamp.
    pub(crate) version: u64,
    /// New terms, where they change.
    pub(crate) terms: Option<String>,
    pub(crate) files: Vec<TufFileRow>,
    /// Files that nobody who begins from now on asks for.
    pub(crate) superseded: Vec<String>,
    /// Roles that stand differently now, JSON.
    pub(crate) standings: Vec<(String, String)>,
    /// Roles that no snapshot lists any more.
    pub(crate) gone: Vec<String>,
    /// Targets that are new or changed.
    pub(crate) put: Vec<TufTargetRow>,
    /// Paths that are no targets any more.
    pub(crate) removed: Vec<String>,
    /// Are former targets kept for those who began before?
    pub(crate) keep_former: bool,
}

fn file(row: &AnyRow) -> Result<TufFileRow> {
    Ok(TufFileRow {
        file: text(row, "file")?,
        role: text(row, "role")?,
        version: unsigned(row, "version")?,
        body: text(row, "body")?,
    })
}

impl TufTargetRow {
    /// As metadata says it.
    pub(crate) fn target(&self) -> Result<TargetFile> {
        let malformed = |source: String| Error::internal("a stored target is malformed", source);
        match &self.info {
            None => {
                let digest: Sha256 = self
                    .digest
                    .parse()
                    .map_err(|_| malformed(self.digest.clone()))?;
                Ok(TargetFile::new(self.length, digest))
            }
            Some(info) => {
                TargetFile::from_json(&self.path, info).map_err(|why| malformed(why.to_string()))
            }
        }
    }
}

/// A project as TUF's namespaces see it.
#[derive(Clone, Debug)]
pub(crate) struct DocumentOf {
    /// Its key.
    pub(crate) key: String,
    /// Digest, length and time of the rendering that is served; nothing while it is made anew.
    pub(crate) document: Option<(String, u64, Time)>,
}

impl Store {
    /// The projects that are shown whose keys begin so, with their index documents.
    pub(crate) async fn documents_beginning(
        &self,
        ecosystem: countersign_formats::Ecosystem,
        head: &str,
        rendered_for: &str,
    ) -> Result<Vec<DocumentOf>> {
        let rows = sqlx::query(
            "SELECT p.key, d.digest, d.size, d.rendered_at FROM projects p \
             LEFT JOIN documents d ON d.path = p.ecosystem || '/simple/' || p.key AND d.rendered_for = $1 \
             WHERE p.ecosystem = $2 AND substr(p.key, 1, $3) = $4 AND p.removed_at IS NULL AND p.visible_at IS NOT NULL",
        )
        .bind(rendered_for.to_owned())
        .bind(ecosystem.as_str())
        .bind(i32::try_from(head.chars().count()).unwrap_or(i32::MAX))
        .bind(head.to_owned())
        .fetch_all(&self.read)
        .await
        .map_err(failed)?;
        rows.iter()
            .map(|row| {
                let document = match maybe_text(row, "digest")? {
                    None => None,
                    Some(digest) => {
                        let rendered = Time(number(row, "rendered_at")?);
                        Some((digest, unsigned(row, "size")?, rendered))
                    }
                };
                Ok(DocumentOf {
                    key: text(row, "key")?,
                    document,
                })
            })
            .collect()
    }

    /// A repository.
    pub(crate) async fn tuf_repository(&self, name: &str) -> Result<Option<TufRepositoryRow>> {
        let row = sqlx::query("SELECT version, terms FROM tuf_repositories WHERE name = $1")
            .bind(name.to_owned())
            .fetch_optional(&self.near)
            .await
            .map_err(failed)?;
        row.map(|row| {
            Ok(TufRepositoryRow {
                version: unsigned(&row, "version")?,
                terms: text(&row, "terms")?,
            })
        })
        .transpose()
    }

    /// Every repository with the version of its timestamp.
    pub(crate) async fn tuf_versions(&self) -> Result<Vec<(String, u64)>> {
        let rows = sqlx::query("SELECT name, version FROM tuf_repositories ORDER BY name")
            .fetch_all(&self.near)
            .await
            .map_err(failed)?;
        rows.iter()
            .map(|row| Ok((text(row, "name")?, unsigned(row, "version")?)))
            .collect()
    }

    /// One file.
    pub(crate) async fn tuf_file(
        &self,
        repository: &str,
        name: &str,
    ) -> Result<Option<TufFileRow>> {
        let row = sqlx::query(
            "SELECT file, role, version, body FROM tuf_metadata WHERE repository = $1 AND file = $2",
        )
        .bind(repository.to_owned())
        .bind(name.to_owned())
        .fetch_optional(&self.near)
        .await
        .map_err(failed)?;
        row.as_ref().map(file).transpose()
    }

    /// The newest file of a role.
    pub(crate) async fn tuf_newest(
        &self,
        repository: &str,
        role: &str,
    ) -> Result<Option<TufFileRow>> {
        let row = sqlx::query(
            "SELECT file, role, version, body FROM tuf_metadata WHERE repository = $1 AND role = $2 AND superseded_at IS NULL \
             ORDER BY version DESC LIMIT 1",
        )
        .bind(repository.to_owned())
        .bind(role.to_owned())
        .fetch_optional(&self.near)
        .await
        .map_err(failed)?;
        row.as_ref().map(file).transpose()
    }

    /// How all roles of a repository stand, JSON by role.
    pub(crate) async fn tuf_standings(&self, repository: &str) -> Result<BTreeMap<String, String>> {
        let rows = sqlx::query("SELECT role, standing FROM tuf_roles WHERE repository = $1")
            .bind(repository.to_owned())
            .fetch_all(&self.read)
            .await
            .map_err(failed)?;
        rows.iter()
            .map(|row| Ok((text(row, "role")?, text(row, "standing")?)))
            .collect()
    }

    /// How many targets a repository has.
    pub(crate) async fn tuf_count(&self, repository: &str) -> Result<u64> {
        let row = sqlx::query(
            "SELECT count(*) AS n FROM tuf_targets WHERE repository = $1 AND superseded_at IS NULL",
        )
        .bind(repository.to_owned())
        .fetch_one(&self.read)
        .await
        .map_err(failed)?;
        unsigned(&row, "n")
    }

    /// The targets whose places are in one of these ranges. Of ranges that ascend, in the order of their places.
    pub(crate) async fn tuf_targets(
        &self,
        repository: &str,
        ranges: &[Range<u64>],
    ) -> Result<Vec<TufTargetRow>> {
        let mut targets = Vec::new();
        for chunk in ranges.chunks(200) {
            // A question for each, so that each is looked up in the index: of one condition with many ranges PostgreSQL makes a
            // scan of the whole table.
            let wanted: Vec<_> = (0..chunk.len())
                .map(|n| {
                    let (low, high) = (2 * n + 2, 2 * n + 3);
                    format!(
                        "SELECT path, digest, place, length, info FROM tuf_targets \
                         WHERE repository = $1 AND place >= ${low} AND place < ${high} AND superseded_at IS NULL"
                    )
                })
                .collect();
            let mut query = sqlx::query(built(format!(
                "{} ORDER BY place, path",
                wanted.join(" UNION ALL ")
            )))
            .bind(repository.to_owned());
            for range in chunk {
                query = query.bind(signed(range.start)).bind(signed(range.end));
            }
            for row in query.fetch_all(&self.near).await.map_err(failed)? {
                targets.push(TufTargetRow {
                    path: text(&row, "path")?,
                    digest: text(&row, "digest")?,
                    place: unsigned(&row, "place")?,
                    length: unsigned(&row, "length")?,
                    info: maybe_text(&row, "info")?,
                });
            }
        }
        Ok(targets)
    }

    /// Is, or was until lately, this digest that of this target?
    pub(crate) async fn tuf_knows_target(
        &self,
        repository: &str,
        path: &str,
        digest: &str,
    ) -> Result<bool> {
        let row = sqlx::query(
            "SELECT count(*) AS n FROM tuf_targets WHERE repository = $1 AND path = $2 AND digest = $3",
        )
        .bind(repository.to_owned())
        .bind(path.to_owned())
        .bind(digest.to_owned())
        .fetch_one(&self.near)
        .await
        .map_err(failed)?;
        Ok(number(&row, "n")? > 0)
    }

    /// Digests of all targets of these repositories, those of now and those that were it until `since` or later, since their bytes
    /// are still asked for; and those that people were asked to sign.
    pub(crate) async fn tuf_digests(
        &self,
        repositories: &[&str],
        since: Time,
    ) -> Result<Vec<String>> {
        let sql = format!(
            "SELECT digest FROM tuf_targets WHERE (superseded_at IS NULL OR superseded_at >= $1) AND repository IN ({}) \
             UNION SELECT digest FROM tuf_offered WHERE until_at >= $1",
            places(repositories.len(), 2)
        );
        let mut query = sqlx::query(built(sql)).bind(since.0);
        for repository in repositories {
            query = query.bind((*repository).to_owned());
        }
        let rows = query.fetch_all(&self.read).await.map_err(failed)?;
        rows.iter().map(|row| text(row, "digest")).collect()
    }

    /// Deletes up to `limit` files and as many former targets that were superseded before `before`, and snapshots longer
    /// than `long` bytes that were superseded before `before_long`. How many files and targets went.
    pub(crate) async fn purge_tuf(
        &self,
        before: Time,
        before_long: Time,
        long: u64,
        limit: u64,
    ) -> Result<u64> {
        let mut tx = self.write().await?;
        let files = sqlx::query(
            "DELETE FROM tuf_metadata WHERE (repository, file) IN (SELECT repository, file FROM tuf_metadata \
             WHERE superseded_at IS NOT NULL AND role NOT IN ('root', 'timestamp') AND (superseded_at < $1 \
             OR (superseded_at < $2 AND role = 'snapshot' AND length(body) > $3)) LIMIT $4)",
        )
        .bind(before.0)
        .bind(before_long.0)
        .bind(signed(long))
        .bind(signed(limit))
        .execute(&mut *tx.inner)
        .await
        .map_err(failed)?;
        let targets = sqlx::query(
            "DELETE FROM tuf_targets WHERE (repository, path, digest) IN (SELECT repository, path, digest FROM tuf_targets \
             WHERE superseded_at IS NOT NULL AND superseded_at < $1 LIMIT $2)",
        )
        .bind(before.0)
        .bind(signed(limit))
        .execute(&mut *tx.inner)
        .await
        .map_err(failed)?;
        sqlx::query("DELETE FROM tuf_offered WHERE until_at < $1")
            .bind(before.0)
            .execute(&mut *tx.inner)
            .await
            .map_err(failed)?;
        tx.commit().await?;
        Ok(files.rows_affected() + targets.rows_affected())
    }
}

impl Tx {
    /// Keeps the bytes of these documents until then at least.
    pub(crate) async fn offer_tuf_documents(
        &mut self,
        digests: &[String],
        until: Time,
    ) -> Result<()> {
        for digest in digests {
            sqlx::query(
                "INSERT INTO tuf_offered (digest, until_at) VALUES ($1, $2) ON CONFLICT (digest) DO UPDATE \
                 SET until_at = excluded.until_at",
            )
            .bind(digest.clone())
            .bind(until.0)
            .execute(&mut *self.inner)
            .await
            .map_err(failed)?;
        }
        Ok(())
    }

    /// Publishes a commit, if the timestamp that it follows is the newest still: `write-conflict` where it is not. All of it
    /// is seen at once, with whatever else the transaction holds.
    pub(crate) async fn publish_tuf(&mut self, new: &TufPublication, now: Time) -> Result<()> {
        let (name, version) = (new.repository.clone(), signed(new.version));
        let done = if new.follows == 0 {
            sqlx::query("INSERT INTO tuf_repositories (name, version, terms, created_at) VALUES ($1, $2, $3, $4) ON CONFLICT (name) DO NOTHING")
                .bind(name)
                .bind(version)
                .bind(new.terms.clone().unwrap_or_default())
                .bind(now.0)
                .execute(&mut *self.inner)
                .await
        } else {
            sqlx::query("UPDATE tuf_repositories SET version = $3, terms = COALESCE($4, terms) WHERE name = $1 AND version = $2")
                .bind(name)
                .bind(signed(new.follows))
                .bind(version)
                .bind(new.terms.clone())
                .execute(&mut *self.inner)
                .await
        }
        .map_err(failed)?;
        if done.rows_affected() != 1 {
            return Err(Error::new(
                Kind::Conflict,
                WRITE_CONFLICT,
                "Another countersignd signed TUF metadata at the same moment.",
            ));
        }
        self.supersede_tuf_files(new, now).await?;
        self.insert_tuf_files(new).await?;
        self.set_tuf_standings(new).await?;
        self.set_tuf_targets(new, now).await
    }

    async fn supersede_tuf_files(&mut self, new: &TufPublication, now: Time) -> Result<()> {
        for chunk in new.superseded.chunks(1_000) {
            let sql = format!(
                "UPDATE tuf_metadata SET superseded_at = $1 WHERE repository = $2 AND file IN ({})",
                places(chunk.len(), 3)
            );
            let mut query = sqlx::query(built(sql))
                .bind(now.0)
                .bind(new.repository.clone());
            for file in chunk {
                query = query.bind(file.clone());
            }
            query.execute(&mut *self.inner).await.map_err(failed)?;
        }
        Ok(())
    }

    /// New files; the timestamp takes the place of the one before. Any other file that is there already would be a second
    /// text under one name: the primary key refuses it.
    async fn insert_tuf_files(&mut self, new: &TufPublication) -> Result<()> {
        let (timestamps, fresh): (Vec<_>, Vec<_>) =
            new.files.iter().partition(|file| file.role == "timestamp");
        for chunk in fresh.chunks(500) {
            let sql = format!(
                "INSERT INTO tuf_metadata (repository, file, role, version, body) VALUES {}",
                value_rows(chunk.len(), 5, 1)
            );
            let mut query = sqlx::query(built(sql));
            for file in chunk {
                query = query
                    .bind(new.repository.clone())
                    .bind(file.file.clone())
                    .bind(file.role.clone())
                    .bind(signed(file.version))
                    .bind(file.body.clone());
            }
            query.execute(&mut *self.inner).await.map_err(failed)?;
        }
        for file in timestamps {
            sqlx::query(
                "INSERT INTO tuf_metadata (repository, file, role, version, body) VALUES ($1, $2, $3, $4, $5) \
                 ON CONFLICT (repository, file) DO UPDATE SET version = excluded.version, body = excluded.body",
            )
            .bind(new.repository.clone())
            .bind(file.file.clone())
            .bind(file.role.clone())
            .bind(signed(file.version))
            .bind(file.body.clone())
            .execute(&mut *self.inner)
            .await
            .map_err(failed)?;
        }
        Ok(())
    }

    async fn set_tuf_standings(&mut self, new: &TufPublication) -> Result<()> {
        for chunk in new.standings.chunks(1_000) {
            let sql = format!(
                "INSERT INTO tuf_roles (repository, role, standing) VALUES {} \
                 ON CONFLICT (repository, role) DO UPDATE SET standing = excluded.standing",
                value_rows(chunk.len(), 3, 1)
            );
            let mut query = sqlx::query(built(sql));
            for (role, standing) in chunk {
                query = query
                    .bind(new.repository.clone())
                    .bind(role.clone())
                    .bind(standing.clone());
            }
            query.execute(&mut *self.inner).await.map_err(failed)?;
        }
        for chunk in new.gone.chunks(1_000) {
            let sql = format!(
                "DELETE FROM tuf_roles WHERE repository = $1 AND role IN ({})",
                places(chunk.len(), 2)
            );
            let mut query = sqlx::query(built(sql)).bind(new.repository.clone());
            for role in chunk {
                query = query.bind(role.clone());
            }
            query.execute(&mut *self.inner).await.map_err(failed)?;
        }
        Ok(())
    }

    async fn set_tuf_targets(&mut self, new: &TufPublication, now: Time) -> Result<()> {
        let changed = new.put.iter().map(|target| &target.path);
        let leaving: Vec<&String> = changed.chain(&new.removed).collect();
        for chunk in leaving.chunks(1_000) {
            let list = places(chunk.len(), 3);
            let sql = if new.keep_former {
                format!(
                    "UPDATE tuf_targets SET superseded_at = $1 WHERE repository = $2 AND superseded_at IS NULL AND path IN ({list})"
                )
            } else {
                // The time is bound in both forms, so that the places are the same.
                format!(
                    "DELETE FROM tuf_targets WHERE $1 > 0 AND repository = $2 AND path IN ({list})"
                )
            };
            let mut query = sqlx::query(built(sql))
                .bind(now.0)
                .bind(new.repository.clone());
            for path in chunk {
                query = query.bind((*path).clone());
            }
            query.execute(&mut *self.inner).await.map_err(failed)?;
        }
        for chunk in new.put.chunks(1_000) {
            let sql = format!(
                "INSERT INTO tuf_targets (repository, path, digest, place, length, info) VALUES {} \
                 ON CONFLICT (repository, path, digest) DO UPDATE \
                 SET length = excluded.length, info = excluded.info, superseded_at = NULL",
                value_rows(chunk.len(), 6, 1)
            );
            let mut query = sqlx::query(built(sql));
            for target in chunk {
                query = query
                    .bind(new.repository.clone())
                    .bind(target.path.clone())
                    .bind(target.digest.clone())
                    .bind(signed(target.place))
                    .bind(signed(target.length))
                    .bind(target.info.clone());
            }
            query.execute(&mut *self.inner).await.map_err(failed)?;
        }
        Ok(())
    }
}
