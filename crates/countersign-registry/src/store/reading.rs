//! What pages, documents and downloads ask.

use std::collections::HashMap;

use countersign_formats::{Ecosystem, Manifest};
use sqlx::any::AnyRow;

use super::{
    Store, Tx, built, failed, maybe_text, maybe_time, maybe_unsigned, number, places, signed, text,
    time, unsigned,
};
use crate::error::{Error, Result};
use crate::model::{
    FileId, FileOrigin, FileState, LoggedEvent, Page, ProjectId, ProjectSummary, ReleaseId, Time,
};
use crate::store::ProjectState;
use crate::store::beats::PROJECT_STATE;
use crate::store::{Seen, Veiled};

/// Up to so many files are asked for where the answer is near.
const FEW: usize = 16;

/// A file with what its release adds to it.
#[derive(Clone, Debug)]
pub struct FileRow {
    /// Its id.
    pub id: FileId,
    /// Its project.
    pub project: ProjectId,
    /// The release's version.
    pub version: String,
    /// The release's yank.
    pub yanked: Option<(Time, String)>,
    /// Why the release should not be used any more (npm).
    pub deprecated: Option<String>,
    /// File name.
    pub filename: String,
    /// The identifier.
    pub purl: String,
    /// Size in bytes.
    pub size: u64,
    /// Hex.
    pub sha256: String,
    /// Hex.
    pub blake2b_256: String,
    /// Hex.
    pub md5: String,
    /// `bdist_wheel` or `sdist`.
    pub filetype: String,
    /// Python tag or `source`.
    pub python_tag: String,
    /// `Requires-Python`.
    pub requires_python: Option<String>,
    /// Hex; where the ecosystem's clients hold files against it.
    pub sha512: Option<String>,
    /// Hex; where the ecosystem's clients hold files against it.
    pub sha1: Option<String>,
    /// SHA-256 of the metadata text, hex.
    pub metadata_sha256: String,
    /// The one-line summary in its metadata.
    pub summary: String,
    /// State now.
    pub state: FileState,
    /// When it was accepted.
    pub staged: Time,
    /// When it went live.
    pub live: Option<Time>,
    /// Index of its leaf.
    pub leaf: Option<u64>,
    /// The log that this leaf is in.
    pub leaf_shard: Option<u64>,
    /// Why it is withheld.
    pub withheld_reason: Option<String>,
    /// User name of the uploader.
    pub uploader: Option<String>,
    /// Since when it has attestations of its uploader.
    pub attested: Option<Time>,
}

/// What the documents of crates and npm packages show of a file besides its row.
#[derive(Clone, Debug)]
pub struct FileExtras {
    /// What its archive says; without the readme.
    pub manifest: Manifest,
    /// The registry's signatures over it, as key id and signature.
    pub signatures: Vec<(String, String)>,
    /// The provider and the registration of the trusted publisher that published it.
    pub trusted: Option<(String, String)>,
    /// Who let it pass, where it was staged.
    pub approver: Option<String>,
    /// Predicate types of the attestations that its uploader sent.
    pub attested: Vec<String>,
}

/// A tag of an npm package.
#[derive(Clone, Debug)]
pub struct DistTag {
    /// Its name.
    pub tag: String,
    /// The version that it points to.
    pub version: String,
    /// The version to show as long as that one is not served: what the tag pointed to before, while the newer one waits for
    /// the log, and for `latest` always.
    pub before: Option<String>,
}

/// A release in a list.
#[derive(Clone, Debug)]
pub struct ReleaseRow {
    /// Its id.
    pub id: ReleaseId,
    /// Version, canonical.
    pub version: String,
    /// When its first file was published.
    pub created: Time,
    /// Its yank.
    pub yanked: Option<(Time, String)>,
    /// Why it should not be used any more.
    pub deprecated: Option<String>,
    /// Installers skip it unless asked.
    pub prerelease: bool,
    /// Live files.
    pub files: u64,
}

const FILE: &str = "SELECT f.id, f.project_id, r.version, r.yanked_at, r.yanked_reason, r.deprecated_reason, f.filename, f.purl, f.size, f.sha256, \
     f.blake2b_256, f.md5, f.sha512, f.sha1, f.filetype, f.python_tag, f.requires_python, f.metadata_sha256, f.summary, f.state, f.staged_at, f.live_at, f.leaf, f.leaf_shard, \
     f.withheld_reason, f.attested_at, a.name AS uploader FROM files f JOIN releases r ON r.id = f.release_id LEFT JOIN accounts a ON a.id = f.uploader_id";

fn yank(row: &AnyRow) -> Result<Option<(Time, String)>> {
    Ok(match maybe_time(row, "yanked_at")? {
        None => None,
        Some(at) => Some((at, maybe_text(row, "yanked_reason")?.unwrap_or_default())),
    })
}

fn file(row: &AnyRow) -> Result<FileRow> {
    Ok(FileRow {
        id: FileId(text(row, "id")?),
        project: ProjectId(text(row, "project_id")?),
        version: text(row, "version")?,
        yanked: yank(row)?,
        deprecated: maybe_text(row, "deprecated_reason")?,
        filename: text(row, "filename")?,
        purl: text(row, "purl")?,
        size: unsigned(row, "size")?,
        sha256: text(row, "sha256")?,
        blake2b_256: text(row, "blake2b_256")?,
        md5: text(row, "md5")?,
        sha512: maybe_text(row, "sha512")?,
        sha1: maybe_text(row, "sha1")?,
        filetype: text(row, "filetype")?,
        python_tag: text(row, "python_tag")?,
        requires_python: maybe_text(row, "requires_python")?,
        metadata_sha256: text(row, "metadata_sha256")?,
        summary: text(row, "summary")?,
        state: super::parsed(row, "state")?,
        staged: time(row, "staged_at")?,
        live: maybe_time(row, "live_at")?,
        leaf: maybe_unsigned(row, "leaf")?,
        leaf_shard: maybe_unsigned(row, "leaf_shard")?,
        withheld_reason: maybe_text(row, "withheld_reason")?,
        uploader: maybe_text(row, "uploader")?,
        attested: maybe_time(row, "attested_at")?,
    })
}

fn summary(row: &AnyRow) -> Result<ProjectSummary> {
    Ok(ProjectSummary {
        ecosystem: ecosystem(&text(row, "ecosystem")?)?,
        name: text(row, "name")?,
        key: text(row, "key")?,
        summary: text(row, "summary")?,
        latest: text(row, "latest")?,
        updated: time(row, "updated_at")?,
        private: maybe_time(row, "private_at")?.is_some(),
    })
}

/// The ecosystem of a stored word.
pub(crate) fn ecosystem(word: &str) -> Result<Ecosystem> {
    word.parse()
        .map_err(|source: countersign_formats::Rejection| {
            Error::internal("a stored ecosystem is unknown", source.to_string())
        })
}

impl Tx {
    /// The live files of a project in the order of the log, as this transaction sees them.
    pub(crate) async fn live_files(&mut self, project: &ProjectId) -> Result<Vec<FileRow>> {
        let sql = built(format!(
            "{FILE} WHERE f.project_id = $1 AND f.state = 'live' ORDER BY f.leaf_shard, f.leaf"
        ));
        let rows = sqlx::query(sql)
            .bind(project.0.clone())
            .fetch_all(&mut *self.inner)
            .await
            .map_err(failed)?;
        rows.iter().map(file).collect()
    }

    /// Digest and name of every file of a project.
    pub(crate) async fn digests_of(
        &mut self,
        project: &ProjectId,
    ) -> Result<Vec<(String, String)>> {
        let rows = sqlx::query("SELECT sha256, filename FROM files WHERE project_id = $1")
            .bind(project.0.clone())
            .fetch_all(&mut *self.inner)
            .await
            .map_err(failed)?;
        rows.iter()
            .map(|row| Ok((text(row, "sha256")?, text(row, "filename")?)))
            .collect()
    }
}

impl Store {
    /// Where the files of a release came from, those that a workflow published.
    pub(crate) async fn origins_of_release(
        &self,
        release: &ReleaseId,
    ) -> Result<HashMap<FileId, FileOrigin>> {
        let rows = sqlx::query(
            "SELECT o.file_id, o.issuer, o.provider, o.label, o.claims FROM file_origins o JOIN files f ON f.id = o.file_id \
             WHERE f.release_id = $1",
        )
        .bind(release.0.clone())
        .fetch_all(&self.read)
        .await
        .map_err(failed)?;
        rows.iter()
            .map(|row| Ok((FileId(text(row, "file_id")?), super::trusted::origin(row)?)))
            .collect()
    }

    /// What documents show of these files besides their rows. Read when a project's documents are rendered from nothing,
    /// and for the new files of a beat.
    pub(crate) async fn extras_of(&self, ids: &[FileId]) -> Result<HashMap<FileId, FileExtras>> {
        let mut extras = HashMap::with_capacity(ids.len());
        for chunk in ids.chunks(1_000) {
            let some = places(chunk.len(), 1);
            let read = async |sql: String| {
                let mut query = sqlx::query(built(sql));
                for id in chunk {
                    query = query.bind(id.0.clone());
                }
                if chunk.len() > FEW {
                    query.fetch_all(&self.read).await.map_err(failed)
                } else {
                    query.fetch_all(&self.near).await.map_err(failed)
                }
            };
            for row in &read(format!(
                "SELECT f.id, f.manifest, o.provider, o.publisher_id, a.name AS approver FROM files f LEFT JOIN file_origins o ON o.file_id = f.id \
                 LEFT JOIN accounts a ON a.id = f.approver_id WHERE f.id IN ({some})"
            ))
            .await?
            {
                let manifest = serde_json::from_str(&text(row, "manifest")?)
                    .map_err(|source| Error::internal("a stored manifest is malformed", source))?;
                let trusted = maybe_text(row, "provider")?.zip(maybe_text(row, "publisher_id")?);
                extras.insert(
                    FileId(text(row, "id")?),
                    FileExtras {
                        manifest,
                        signatures: Vec::new(),
                        trusted,
                        approver: maybe_text(row, "approver")?,
                        attested: Vec::new(),
                    },
                );
            }
            for row in &read(format!(
                "SELECT file_id, keyid, signature FROM file_signatures WHERE file_id IN ({some}) ORDER BY file_id, keyid"
            ))
            .await?
            {
                if let Some(extra) = extras.get_mut(&FileId(text(row, "file_id")?)) {
                    extra
                        .signatures
                        .push((text(row, "keyid")?, text(row, "signature")?));
                }
            }
            for row in &read(format!(
                "SELECT file_id, predicate_type FROM attestations WHERE maker = 'uploader' AND file_id IN ({some}) ORDER BY file_id, predicate_type"
            ))
            .await?
            {
                if let Some(extra) = extras.get_mut(&FileId(text(row, "file_id")?)) {
                    extra.attested.push(text(row, "predicate_type")?);
                }
            }
        }
        Ok(extras)
    }

    /// The tags of npm packages, by project; whether what they point to is served is for the renderer to see.
    pub(crate) async fn tags_of(
        &self,
        projects: &[ProjectId],
    ) -> Result<HashMap<ProjectId, Vec<DistTag>>> {
        let mut tags: HashMap<ProjectId, Vec<DistTag>> = HashMap::new();
        for chunk in projects.chunks(1_000) {
            let sql = built(format!(
                "SELECT t.project_id, t.tag, r.version, CASE WHEN t.tag = 'latest' \
                 OR EXISTS (SELECT 1 FROM files f WHERE f.release_id = r.id AND f.state = 'staged') THEN b.version END AS before \
                 FROM dist_tags t JOIN releases r ON r.id = t.release_id \
                 LEFT JOIN releases b ON b.id = t.before_id \
                 WHERE (r.removed_at IS NULL OR t.tag = 'latest') AND t.project_id IN ({}) ORDER BY t.tag",
                places(chunk.len(), 1)
            ));
            let mut query = sqlx::query(sql);
            for project in chunk {
                query = query.bind(project.0.clone());
            }
            for row in &query.fetch_all(&self.near).await.map_err(failed)? {
                tags.entry(ProjectId(text(row, "project_id")?))
                    .or_default()
                    .push(DistTag {
                        tag: text(row, "tag")?,
                        version: text(row, "version")?,
                        before: maybe_text(row, "before")?,
                    });
            }
        }
        Ok(tags)
    }

    /// The digest of a project's file of this name. There is at most one for ever: names are never used twice.
    pub(crate) async fn digest_of_name(
        &self,
        ecosystem: Ecosystem,
        key: &str,
        filename: &str,
    ) -> Result<Option<Veiled<String>>> {
        let row = sqlx::query(
            "SELECT f.sha256, f.project_id, p.ecosystem, p.key, p.private_at FROM files f JOIN projects p ON p.id = f.project_id \
             WHERE p.ecosystem = $1 AND p.key = $2 AND f.filename = $3",
        )
        .bind(ecosystem.as_str())
        .bind(key.to_owned())
        .bind(filename.to_owned())
        .fetch_optional(&self.read)
        .await
        .map_err(failed)?;
        row.map(|row| Veiled::by_row(&row, text(&row, "sha256")?))
            .transpose()
    }

    /// Some files by id, in the order of the log.
    pub(crate) async fn files_by_id(&self, ids: &[FileId]) -> Result<Vec<FileRow>> {
        let mut files = Vec::with_capacity(ids.len());
        for chunk in ids.chunks(1_000) {
            let sql = built(format!(
                "{FILE} WHERE f.id IN ({}) ORDER BY f.leaf_shard, f.leaf",
                places(chunk.len(), 1)
            ));
            let mut query = sqlx::query(sql);
            for id in chunk {
                query = query.bind(id.0.clone());
            }
            for row in &query.fetch_all(&self.near).await.map_err(failed)? {
                files.push(file(row)?);
            }
        }
        Ok(files)
    }
}

impl Store {
    /// A project that has something to show, by its key.
    pub(crate) async fn visible_project(
        &self,
        ecosystem: Ecosystem,
        key: &str,
    ) -> Result<Option<Veiled<(ProjectState, Time)>>> {
        let row = sqlx::query(built(format!(
            "SELECT {PROJECT_STATE} FROM projects \
             WHERE ecosystem = $1 AND key = $2 AND removed_at IS NULL AND visible_at IS NOT NULL"
        )))
        .bind(ecosystem.as_str())
        .bind(key.to_owned())
        .fetch_optional(&self.near)
        .await
        .map_err(failed)?;
        row.map(|row| {
            let state = super::beats::project_state(&row)?;
            Veiled::by_row(&row, (state, time(&row, "created_at")?))
        })
        .transpose()
    }

    /// Where a document's newest bytes are: digest and serial.
    pub(crate) async fn document_pointer(
        &self,
        path: &str,
        rendered_for: &str,
    ) -> Result<Option<(String, u64)>> {
        let row = sqlx::query(
            "SELECT digest, serial FROM documents WHERE path = $1 AND rendered_for = $2",
        )
        .bind(path.to_owned())
        .bind(rendered_for.to_owned())
        .fetch_optional(&self.near)
        .await
        .map_err(failed)?;
        row.map(|row| Ok((text(&row, "digest")?, unsigned(&row, "serial")?)))
            .transpose()
    }

    /// The pointers of every document, for collection and for `doctor`.
    pub(crate) async fn document_digests(&self) -> Result<Vec<(String, String)>> {
        let rows = sqlx::query("SELECT path, digest FROM documents ORDER BY path")
            .fetch_all(&self.read)
            .await
            .map_err(failed)?;
        rows.iter()
            .map(|row| Ok((text(row, "path")?, text(row, "digest")?)))
            .collect()
    }

    /// The file of this digest and name. There is at most one: the name holds project and version, and with them the identifier.
    pub(crate) async fn file_by_digest(
        &self,
        sha256: &str,
        filename: &str,
    ) -> Result<Option<Veiled<FileRow>>> {
        let sql = built(format!(
            "{FILE} WHERE f.sha256 = $1 AND f.filename = $2 ORDER BY f.id LIMIT 1"
        ));
        let row = sqlx::query(sql)
            .bind(sha256.to_owned())
            .bind(filename.to_owned())
            .fetch_optional(&self.read)
            .await
            .map_err(failed)?;
        let Some(row) = row.as_ref().map(file).transpose()? else {
            return Ok(None);
        };
        let project = row.project.clone();
        self.veil(&project, row).await.map(Some)
    }

    /// True where any file, in whatever state, has these bytes, or an identifier stands for them whose file may come home.
    pub(crate) async fn digest_claimed(&self, sha256: &str) -> Result<bool> {
        // The second look has no index; it is for the few objects that no file names.
        for text in [
            "SELECT count(*) AS n FROM files WHERE sha256 = $1",
            "SELECT count(*) AS n FROM identifiers WHERE sha256 = $1",
            "SELECT count(*) AS n FROM staged_publications WHERE sha256 = $1 AND ended_at IS NULL",
        ] {
            let row = sqlx::query(text)
                .bind(sha256.to_owned())
                .fetch_one(&self.read)
                .await
                .map_err(failed)?;
            if number(&row, "n")? > 0 {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// True while a project is withheld or removed as a whole.
    pub(crate) async fn project_withheld(&self, project: &ProjectId) -> Result<bool> {
        let row = sqlx::query("SELECT count(*) AS n FROM projects WHERE id = $1 AND status <> 'quarantined' AND removed_at IS NULL")
            .bind(project.0.clone())
            .fetch_one(&self.read)
            .await
            .map_err(failed)?;
        Ok(number(&row, "n")? == 0)
    }

    /// Every live file of a project, in the order of the log.
    pub(crate) async fn files_of(&self, project: &ProjectId) -> Result<Vec<FileRow>> {
        let sql = built(format!(
            "{FILE} WHERE f.project_id = $1 AND f.state = 'live' ORDER BY f.leaf_shard, f.leaf"
        ));
        let rows = sqlx::query(sql)
            .bind(project.0.clone())
            .fetch_all(&self.read)
            .await
            .map_err(failed)?;
        rows.iter().map(file).collect()
    }

    /// The live and quarantined files of one release.
    pub(crate) async fn files_of_release(&self, release: &ReleaseId) -> Result<Vec<FileRow>> {
        let sql = built(format!(
            "{FILE} WHERE f.release_id = $1 AND f.state IN ('live', 'quarantined') ORDER BY f.leaf_shard, f.leaf"
        ));
        let rows = sqlx::query(sql)
            .bind(release.0.clone())
            .fetch_all(&self.read)
            .await
            .map_err(failed)?;
        rows.iter().map(file).collect()
    }

    /// What a file's archive says, with its readme, where that is a file of its own.
    pub(crate) async fn manifest(&self, id: &FileId) -> Result<Manifest> {
        let row = sqlx::query("SELECT f.manifest, m.body, t.body AS readme FROM files f JOIN metadata_texts m ON m.sha256 = f.metadata_sha256 \
             LEFT JOIN metadata_texts t ON t.sha256 = f.readme_sha256 WHERE f.id = $1",
        )
            .bind(id.0.clone())
            .fetch_one(&self.read)
            .await
            .map_err(failed)?;
        let mut manifest: Manifest = serde_json::from_str(&text(&row, "manifest")?)
            .map_err(|source| Error::internal("a stored manifest is malformed", source))?;
        manifest.metadata_bytes = text(&row, "body")?.into_bytes();
        manifest.description = maybe_text(&row, "readme")?;
        Ok(manifest)
    }

    /// What is served of crates whose manifest holds this text, in pages: ids of files after one, at most `limit`.
    pub(crate) async fn crates_naming(
        &self,
        text_within: &str,
        after: &str,
        limit: i64,
    ) -> Result<Vec<(String, Manifest)>> {
        let rows = sqlx::query(
            "SELECT f.id, f.manifest FROM files f JOIN projects p ON p.id = f.project_id \
             WHERE p.ecosystem = 'cargo' AND f.state = 'live' AND f.id > $1 AND f.manifest LIKE $2 ORDER BY f.id LIMIT $3",
        )
        .bind(after.to_owned())
        .bind(format!("%{text_within}%"))
        .bind(limit)
        .fetch_all(&self.read)
        .await
        .map_err(failed)?;
        rows.iter()
            .map(|row| {
                let manifest = serde_json::from_str(&text(row, "manifest")?)
                    .map_err(|source| Error::internal("a stored manifest is malformed", source))?;
                Ok((text(row, "id")?, manifest))
            })
            .collect()
    }

    /// A metadata text by its digest.
    pub(crate) async fn metadata_text(&self, sha256: &str) -> Result<Option<String>> {
        let row = sqlx::query("SELECT body FROM metadata_texts WHERE sha256 = $1")
            .bind(sha256.to_owned())
            .fetch_optional(&self.read)
            .await
            .map_err(failed)?;
        row.map(|row| text(&row, "body")).transpose()
    }

    /// The releases of a project that have something to show; the caller orders them.
    pub(crate) async fn releases_of(&self, project: &ProjectId) -> Result<Vec<ReleaseRow>> {
        let rows = sqlx::query(
            "SELECT r.id, r.version, r.created_at, r.yanked_at, r.yanked_reason, r.deprecated_reason, r.prerelease, \
             (SELECT count(*) FROM files f WHERE f.release_id = r.id AND f.state = 'live') AS live, \
             (SELECT count(*) FROM files f WHERE f.release_id = r.id AND f.state = 'quarantined') AS withheld \
             FROM releases r WHERE r.project_id = $1 AND r.removed_at IS NULL",
        )
        .bind(project.0.clone())
        .fetch_all(&self.read)
        .await
        .map_err(failed)?;
        let mut releases = Vec::with_capacity(rows.len());
        for row in &rows {
            // A release whose files all still wait for the log does not exist for readers.
            if number(row, "live")? + number(row, "withheld")? > 0 {
                releases.push(ReleaseRow {
                    id: ReleaseId(text(row, "id")?),
                    version: text(row, "version")?,
                    created: time(row, "created_at")?,
                    yanked: yank(row)?,
                    deprecated: maybe_text(row, "deprecated_reason")?,
                    prerelease: number(row, "prerelease")? != 0,
                    files: unsigned(row, "live")?,
                });
            }
        }
        Ok(releases)
    }

    /// Keys of the public projects of an ecosystem, in order: one list for everybody.
    pub(crate) async fn project_keys(&self, ecosystem: Ecosystem) -> Result<Vec<String>> {
        let rows = sqlx::query(
            "SELECT key FROM projects WHERE ecosystem = $1 AND removed_at IS NULL AND visible_at IS NOT NULL AND private_at IS NULL ORDER BY key",
        )
        .bind(ecosystem.as_str())
        .fetch_all(&self.read)
        .await
        .map_err(failed)?;
        rows.iter().map(|row| text(row, "key")).collect()
    }

    /// How many projects of an ecosystem are visible to anybody.
    pub(crate) async fn visible_count(&self, ecosystem: Ecosystem) -> Result<u64> {
        let row = sqlx::query(
            "SELECT count(*) AS n FROM projects WHERE ecosystem = $1 AND removed_at IS NULL AND visible_at IS NOT NULL",
        )
        .bind(ecosystem.as_str())
        .fetch_one(&self.read)
        .await
        .map_err(failed)?;
        super::unsigned(&row, "n")
    }

    /// Visible projects whose name or summary holds `text`, exact and prefix hits of the name first.
    pub(crate) async fn search(
        &self,
        seen: &Seen,
        ecosystem: Option<Ecosystem>,
        wanted: &str,
        offset: u64,
        limit: u64,
    ) -> Result<Page<ProjectSummary>> {
        let escaped = |text: &str| {
            text.replace('\\', "\\\\")
                .replace('%', "\\%")
                .replace('_', "\\_")
        };
        let wanted = wanted.to_lowercase();
        let key = wanted.replace(['.', ' ', '_'], "-");
        let (inside, prefix) = (
            format!("%{}%", escaped(&wanted)),
            format!("{}%", escaped(&key)),
        );
        // A pattern, so that one text serves one ecosystem and all of them.
        let system = ecosystem.map_or("%", Ecosystem::as_str);
        let condition = "removed_at IS NULL AND visible_at IS NOT NULL AND status <> 'quarantined' \
             AND ecosystem LIKE $3 AND (key LIKE $1 ESCAPE '\\' OR key LIKE $2 ESCAPE '\\' OR lower(summary) LIKE $1 ESCAPE '\\')";
        let total = sqlx::query(built(format!(
            "SELECT count(*) AS n FROM projects WHERE {condition} AND {}",
            seen.condition("", 4)
        )))
        .bind(inside.clone())
        .bind(prefix.clone())
        .bind(system);
        let total = seen
            .bind(total)
            .fetch_one(&self.read)
            .await
            .map_err(failed)?;
        let rows = sqlx::query(built(format!(
            "SELECT ecosystem, name, key, summary, latest, updated_at, private_at FROM projects WHERE {condition} AND {} \
             ORDER BY CASE WHEN key = $4 THEN 0 WHEN key LIKE $2 ESCAPE '\\' THEN 1 WHEN key LIKE $1 ESCAPE '\\' THEN 2 ELSE 3 END, key \
             LIMIT $5 OFFSET $6",
            seen.condition("", 7)
        )))
        .bind(inside)
        .bind(prefix)
        .bind(system)
        .bind(key)
        .bind(signed(limit))
        .bind(signed(offset));
        let rows = seen
            .bind(rows)
            .fetch_all(&self.read)
            .await
            .map_err(failed)?;
        Ok(Page {
            items: rows.iter().map(summary).collect::<Result<_>>()?,
            total: unsigned(&total, "n")?,
            offset,
            limit,
        })
    }

    /// The most recently changed visible projects.
    pub(crate) async fn newest(&self, seen: &Seen, limit: u64) -> Result<Vec<ProjectSummary>> {
        let rows = sqlx::query(built(format!(
            "SELECT ecosystem, name, key, summary, latest, updated_at, private_at FROM projects \
             WHERE removed_at IS NULL AND visible_at IS NOT NULL AND status <> 'quarantined' AND {} ORDER BY updated_at DESC LIMIT $1",
            seen.condition("", 2)
        )))
        .bind(signed(limit));
        let rows = seen
            .bind(rows)
            .fetch_all(&self.read)
            .await
            .map_err(failed)?;
        rows.iter().map(summary).collect()
    }

    /// Served leaves of a shard, newest first, before an index, of one project or of all.
    pub(crate) async fn logged_events(
        &self,
        shard: u64,
        project: Option<&ProjectId>,
        before: u64,
        limit: u64,
    ) -> Result<Vec<LoggedEvent>> {
        let condition = if project.is_some() {
            "project_id = $4"
        } else {
            "$4 = ''"
        };
        let rows = sqlx::query(built(format!(
            "SELECT idx, kind, subject, at, body FROM leaves WHERE shard = $1 AND idx < $2 AND {condition} ORDER BY idx DESC LIMIT $3"
        )))
        .bind(signed(shard))
        .bind(signed(before))
        .bind(signed(limit))
        .bind(project.map_or("", |id| id.0.as_str()).to_owned())
        .fetch_all(&self.read)
        .await
        .map_err(failed)?;
        rows.iter()
            .map(|row| {
                Ok(LoggedEvent {
                    leaf: unsigned(row, "idx")?,
                    kind: text(row, "kind")?,
                    subject: text(row, "subject")?,
                    at: time(row, "at")?,
                    text: text(row, "body")?,
                })
            })
            .collect()
    }

    /// Adds counted downloads of a day. One statement for many files.
    pub(crate) async fn add_downloads(
        &self,
        day: i64,
        counts: &[(FileId, ProjectId, u64)],
    ) -> Result<()> {
        for chunk in counts.chunks(1_000) {
            let sql = format!(
                "INSERT INTO downloads (file_id, project_id, day, count) VALUES {} ON CONFLICT (file_id, day) DO UPDATE \
                 SET count = downloads.count + excluded.count",
                super::value_rows(chunk.len(), 4, 1)
            );
            let mut query = sqlx::query(built(sql));
            for (file, project, count) in chunk {
                query = query
                    .bind(file.0.clone())
                    .bind(project.0.clone())
                    .bind(day)
                    .bind(signed(*count));
            }
            query.execute(&self.write).await.map_err(failed)?;
        }
        Ok(())
    }

    /// Downloads of a project since a day.
    pub(crate) async fn downloads_since(&self, project: &ProjectId, day: i64) -> Result<u64> {
        let row = sqlx::query("SELECT CAST(COALESCE(sum(count), 0) AS BIGINT) AS n FROM downloads WHERE project_id = $1 AND day >= $2")
            .bind(project.0.clone())
            .bind(day)
            .fetch_one(&self.read)
            .await
            .map_err(failed)?;
        unsigned(&row, "n")
    }
}
