//! What a publish asks and writes.

use countersign_formats::{Ecosystem, Manifest};
use countersign_trust::digest::Sha256;

use super::names::NameFacts;
use super::provenance::ChangeFacts;
use super::trusted::{PolicyFacts, policy_facts};
use super::{Tx, built, failed, maybe_text, maybe_time, signed, text, time, value_rows};
use crate::error::{Error, Result};
use crate::model::{
    AccountId, EventId, FileId, FileState, Identity, OrganisationId, ProjectId, ProjectStatus,
    PublisherId, ReleaseId, Roles, SourceTuple, Time, TrustLevel,
};

/// Everything [`crate::policy`] may ask about a publish, read in the transaction that will write it.
#[derive(Clone, Debug, Default)]
pub struct PublishFacts {
    /// The project, where the name is taken.
    pub project: Option<ProjectFacts>,
    /// The release, where it exists.
    pub release: Option<ReleaseFacts>,
    /// What the identifier names already.
    pub identifier: Option<IdentifierFacts>,
    /// What a new name is judged by; read only for one.
    pub names: NameFacts,
    /// The organisation's namespace that a new name falls into.
    pub namespace: Option<NamespaceFacts>,
    /// An owner approved this very file below the trust that the project demands.
    pub excepted: bool,
    /// Exceptions and declared moves that hold now; read only where something would be lost without them.
    pub open: Vec<ChangeFacts>,
}

/// A namespace as the founding of a project in it sees it.
#[derive(Clone, Debug)]
pub struct NamespaceFacts {
    /// Its id.
    pub id: String,
    /// The prefix.
    pub key: String,
    /// Whose it is.
    pub organisation_id: OrganisationId,
    /// Its name.
    pub organisation: String,
    /// The caller owns the organisation, or is in a team of it that may publish in the namespace.
    pub may_create: bool,
}

/// A project as a publish sees it.
#[derive(Clone, Debug)]
pub struct ProjectFacts {
    /// Its id.
    pub id: ProjectId,
    /// Its name as written.
    pub name: String,
    /// Its status.
    pub status: ProjectStatus,
    /// When it was removed.
    pub removed: Option<Time>,
    /// The caller's roles on it.
    pub roles: Roles,
    /// Many depend on it: its owners must be harder to phish.
    pub critical: bool,
    /// Only those with a role on it see it.
    pub private: bool,
    /// It has shown something.
    pub shown: bool,
    /// Something of it waits because of its name.
    pub name_held: bool,
    /// Of the publishers that the caller's token speaks for, the first that is one of the project.
    pub publisher: Option<PublisherId>,
    /// The project has a publisher.
    pub has_publisher: bool,
    /// What its owners demand.
    pub policy: PolicyFacts,
    /// The highest trust that its publications ever reached.
    pub trust: TrustLevel,
    /// The source that it is remembered for.
    pub source: Option<SourceTuple>,
}

/// A release as a publish sees it.
#[derive(Clone, Debug)]
pub struct ReleaseFacts {
    /// Its id.
    pub id: ReleaseId,
    /// When its first file was published.
    pub created: Time,
    /// When it was removed.
    pub removed: Option<Time>,
    /// Since when it is withheld as a whole.
    pub quarantined: Option<Time>,
    /// The file name of its sdist.
    pub sdist: Option<String>,
    /// Another spelling of this file's name that is taken.
    pub spelling: Option<String>,
}

/// What an identifier names.
#[derive(Clone, Debug)]
pub struct IdentifierFacts {
    /// The bytes it names for ever.
    pub sha256: String,
    /// The file, while its row exists.
    pub file: Option<FileFacts>,
}

/// The file behind an identifier.
#[derive(Clone, Debug)]
pub struct FileFacts {
    /// Its state.
    pub state: FileState,
    /// The event of its publication.
    pub event: EventId,
}

/// A project to write.
pub(crate) struct NewProject<'a> {
    pub(crate) id: &'a ProjectId,
    pub(crate) ecosystem: Ecosystem,
    /// As its first publisher wrote it.
    pub(crate) name: &'a str,
    pub(crate) key: &'a str,
    pub(crate) skeleton: &'a str,
    /// How much stands behind its first publication, and who.
    pub(crate) trust: TrustLevel,
    pub(crate) trust_source: Option<&'a str>,
    /// Only those with a role on it see it.
    pub(crate) private: bool,
    pub(crate) now: Time,
}

/// A file to write.
pub struct NewFile<'a> {
    /// The file's id.
    pub id: &'a FileId,
    /// Its project.
    pub project: &'a ProjectId,
    /// Its release.
    pub release: &'a ReleaseId,
    /// What the archive says.
    pub manifest: &'a Manifest,
    /// What its file name has in common with every other spelling of it.
    pub filename_key: &'a str,
    /// The identifier.
    pub purl: &'a str,
    /// Its hash.
    pub identifier: Sha256,
    /// The identifier is claimed already, for these very bytes (known from the log alone).
    pub known: bool,
    /// Size in bytes.
    pub size: u64,
    /// Its digests.
    pub digests: &'a countersign_trust::digest::Digests,
    /// SHA-256 of the metadata text.
    pub metadata_sha256: Sha256,
    /// The metadata text.
    pub metadata: &'a str,
    /// The readme, where it is a file of its own in the archive.
    pub readme: Option<&'a str>,
    /// The event of its publication.
    pub event: &'a EventId,
    /// Who published it, where it was an account.
    pub uploader: Option<&'a AccountId>,
    /// Now.
    pub now: Time,
}

impl Tx {
    /// Gathers [`PublishFacts`]. On PostgreSQL the project's row is locked, so that two publishes to one project, or a
    /// publish and a removal, stand one behind the other as they do on SQLite.
    pub(crate) async fn publish_facts(
        &mut self,
        manifest: &Manifest,
        identifier: Sha256,
        filename_key: &str,
        identity: &Identity,
    ) -> Result<PublishFacts> {
        let account = match identity {
            Identity::Account { id, .. } => Some(id),
            _ => None,
        };
        let mut facts = PublishFacts::default();
        if self.backend == super::Backend::Postgres {
            // A statement of its own: the one below then sees what was committed while this one waited.
            sqlx::query("SELECT id FROM projects WHERE ecosystem = $1 AND key = $2 FOR UPDATE")
                .bind(manifest.ecosystem.as_str())
                .bind(manifest.name_key.as_str().to_owned())
                .fetch_optional(&mut *self.inner)
                .await
                .map_err(failed)?;
        }
        let row = sqlx::query(
            "SELECT p.id, p.name, p.status, p.removed_at, p.trust_level, p.trusted_only_at, p.required_environment, p.minimum_trust, p.policy_at, p.critical_at, p.private_at, p.visible_at, p.source, \
             (SELECT min(c.id) FROM cases c WHERE c.project_id = p.id AND c.cause = 'names' AND c.closed_at IS NULL) AS name_case, \
             (SELECT min(t.id) FROM publishers t WHERE t.project_id = p.id AND t.removed_at IS NULL) AS publisher, r.id AS release_id, r.created_at, r.removed_at AS release_removed_at, r.quarantined_at AS release_quarantined_at, \
             (SELECT f.filename FROM files f WHERE f.release_id = r.id AND f.filetype = 'sdist' AND f.removed_at IS NULL) AS sdist, \
             (SELECT f.filename FROM files f WHERE f.release_id = r.id AND f.filename_key = $4 AND f.identifier <> $5) AS spelling \
             FROM projects p LEFT JOIN releases r ON r.project_id = p.id AND r.version_key = $3 \
             WHERE p.ecosystem = $1 AND p.key = $2",
        )
        .bind(manifest.ecosystem.as_str())
        .bind(manifest.name_key.as_str().to_owned())
        .bind(manifest.version_key.clone())
        .bind(filename_key.to_owned())
        .bind(identifier.to_string())
        .fetch_optional(&mut *self.inner)
        .await
        .map_err(failed)?;
        if let Some(row) = row {
            let id = ProjectId(text(&row, "id")?);
            let publisher = match identity {
                Identity::Workflow(workflow) => {
                    self.publisher_of(&id, &workflow.publishers).await?
                }
                _ => None,
            };
            let roles = match account {
                Some(account) => self.roles_of(&id, account).await?,
                None => Roles::NONE,
            };
            facts.project = Some(ProjectFacts {
                id,
                publisher,
                has_publisher: maybe_text(&row, "publisher")?.is_some(),
                policy: policy_facts(&row)?,
                trust: super::parsed(&row, "trust_level")?,
                source: super::provenance::source_of(&row)?,
                name: text(&row, "name")?,
                status: super::parsed(&row, "status")?,
                removed: maybe_time(&row, "removed_at")?,
                critical: maybe_time(&row, "critical_at")?.is_some(),
                private: maybe_time(&row, "private_at")?.is_some(),
                shown: maybe_time(&row, "visible_at")?.is_some(),
                name_held: maybe_text(&row, "name_case")?.is_some(),
                roles,
            });
            if let Some(id) = maybe_text(&row, "release_id")? {
                facts.release = Some(ReleaseFacts {
                    id: ReleaseId(id),
                    created: time(&row, "created_at")?,
                    removed: maybe_time(&row, "release_removed_at")?,
                    quarantined: maybe_time(&row, "release_quarantined_at")?,
                    sdist: maybe_text(&row, "sdist")?,
                    spelling: maybe_text(&row, "spelling")?,
                });
            }
        } else {
            facts.namespace = self
                .namespace_over(manifest.ecosystem, manifest.name_key.as_str(), account)
                .await?;
        }
        let row = sqlx::query(
            "SELECT i.sha256, f.id, f.state, f.event_id FROM identifiers i \
             LEFT JOIN files f ON f.identifier = i.identifier WHERE i.identifier = $1",
        )
        .bind(identifier.to_string())
        .fetch_optional(&mut *self.inner)
        .await
        .map_err(failed)?;
        if let Some(row) = row {
            let file = match maybe_text(&row, "id")? {
                None => None,
                Some(_) => Some(FileFacts {
                    state: super::parsed(&row, "state")?,
                    event: EventId(text(&row, "event_id")?),
                }),
            };
            facts.identifier = Some(IdentifierFacts {
                sha256: text(&row, "sha256")?,
                file,
            });
        }
        Ok(facts)
    }

    /// Writes a new project, invisible until its first file is in the log.
    pub(crate) async fn insert_project(&mut self, new: &NewProject<'_>) -> Result<()> {
        sqlx::query(
            "INSERT INTO projects (id, ecosystem, name, key, skeleton, status, status_at, trust_level, trust_source, trust_at, summary, \
             latest, serial, sequence, created_at, updated_at, private_at) \
             VALUES ($1, $2, $3, $4, $5, 'active', $6, $7, $8, $6, '', '', 0, 0, $6, $6, $9)",
        )
        .bind(new.id.0.clone())
        .bind(new.ecosystem.as_str())
        .bind(new.name.to_owned())
        .bind(new.key.to_owned())
        .bind(new.skeleton.to_owned())
        .bind(new.now.0)
        .bind(new.trust.as_str())
        .bind(new.trust_source.map(str::to_owned))
        .bind(new.private.then_some(new.now.0))
        .execute(&mut *self.inner)
        .await
        .map_err(failed)?;
        Ok(())
    }

    /// Writes a new release.
    pub(crate) async fn insert_release(
        &mut self,
        id: &ReleaseId,
        project: &ProjectId,
        manifest: &Manifest,
        prerelease: bool,
        now: Time,
    ) -> Result<()> {
        sqlx::query(
            "INSERT INTO releases (id, project_id, version, version_key, prerelease, created_at) VALUES ($1, $2, $3, $4, $5, $6)",
        )
        .bind(id.0.clone())
        .bind(project.0.clone())
        .bind(manifest.version_canonical.clone())
        .bind(manifest.version_key.clone())
        .bind(i64::from(prerelease))
        .bind(now.0)
        .execute(&mut *self.inner)
        .await
        .map_err(failed)?;
        Ok(())
    }

    /// Writes the file as `staged`, claims its identifier for ever, and keeps its metadata.
    pub(crate) async fn insert_file(&mut self, file: &NewFile<'_>) -> Result<()> {
        if !file.known {
            self.claim_identifier(
                file.identifier,
                file.purl,
                &file.digests.sha256.to_string(),
                file.manifest.name_key.as_str(),
                file.now,
            )
            .await?;
        }
        let fresh = sqlx::query("INSERT INTO metadata_texts (sha256, body) VALUES ($1, $2) ON CONFLICT (sha256) DO NOTHING")
            .bind(file.metadata_sha256.to_string())
            .bind(file.metadata.to_owned())
            .execute(&mut *self.inner)
            .await
            .map_err(failed)?
            .rows_affected()
            == 1;
        if fresh {
            self.insert_dependencies(file).await?;
        }
        let mut readme = None;
        if let Some(body) = file.readme {
            let digest = Sha256::of(body.as_bytes()).to_string();
            sqlx::query("INSERT INTO metadata_texts (sha256, body) VALUES ($1, $2) ON CONFLICT (sha256) DO NOTHING")
                .bind(digest.clone())
                .bind(body.to_owned())
                .execute(&mut *self.inner)
                .await
                .map_err(failed)?;
            readme = Some(digest);
        }
        // The long description stands among the metadata texts; here it would be kept once per file.
        let mut slim = file.manifest.clone();
        slim.description = None;
        let manifest = serde_json::to_string(&slim)
            .map_err(|source| Error::internal("a manifest can not be written", source))?;
        sqlx::query(
            "INSERT INTO files (id, project_id, release_id, filename, purl, identifier, size, sha256, blake2b_256, md5, filetype, \
             python_tag, requires_python, metadata_sha256, summary, manifest, state, staged_at, event_id, uploader_id, filename_key, sha512, sha1, readme_sha256) \
             VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16, 'staged', $17, $18, $19, $20, $21, $22, $23)",
        )
        .bind(file.id.0.clone())
        .bind(file.project.0.clone())
        .bind(file.release.0.clone())
        .bind(file.manifest.filename.clone())
        .bind(file.purl.to_owned())
        .bind(file.identifier.to_string())
        .bind(signed(file.size))
        .bind(file.digests.sha256.to_string())
        .bind(hex::encode(file.digests.blake2b_256))
        .bind(hex::encode(file.digests.md5))
        .bind(file.manifest.filetype.clone())
        .bind(file.manifest.python_tag.clone())
        .bind(file.manifest.requires_python.clone())
        .bind(file.metadata_sha256.to_string())
        .bind(file.manifest.summary.clone().unwrap_or_default())
        .bind(manifest)
        .bind(file.now.0)
        .bind(file.event.0.clone())
        .bind(file.uploader.map(|id| id.0.clone()))
        .bind(file.filename_key.to_owned())
        .bind(file.digests.sha512_hex())
        .bind(file.digests.sha1_hex())
        .bind(readme)
        .execute(&mut *self.inner)
        .await
        .map_err(failed)?;
        Ok(())
    }

    /// Points a tag of a package to a release of it.
    pub(crate) async fn set_tag(
        &mut self,
        project: &ProjectId,
        tag: &str,
        release: &ReleaseId,
        now: Time,
    ) -> Result<()> {
        sqlx::query(
            "INSERT INTO dist_tags (project_id, tag, release_id, set_at) VALUES ($1, $2, $3, $4) \
             ON CONFLICT (project_id, tag) DO UPDATE SET set_at = excluded.set_at, release_id = excluded.release_id, \
             before_id = CASE WHEN dist_tags.release_id = excluded.release_id THEN dist_tags.before_id ELSE dist_tags.release_id END",
        )
        .bind(project.0.clone())
        .bind(tag.to_owned())
        .bind(release.0.clone())
        .bind(now.0)
        .execute(&mut *self.inner)
        .await
        .map_err(failed)?;
        Ok(())
    }

    /// Takes a tag away; whether there was one.
    pub(crate) async fn drop_tag(&mut self, project: &ProjectId, tag: &str) -> Result<bool> {
        let done = sqlx::query("DELETE FROM dist_tags WHERE project_id = $1 AND tag = $2")
            .bind(project.0.clone())
            .bind(tag.to_owned())
            .execute(&mut *self.inner)
            .await
            .map_err(failed)?;
        Ok(done.rows_affected() > 0)
    }

    /// How many tags a package has, and the version of one of them.
    pub(crate) async fn tag_facts(
        &mut self,
        project: &ProjectId,
        tag: &str,
    ) -> Result<(u64, Option<String>)> {
        let rows = sqlx::query(
            "SELECT t.tag, r.version FROM dist_tags t JOIN releases r ON r.id = t.release_id WHERE t.project_id = $1",
        )
        .bind(project.0.clone())
        .fetch_all(&mut *self.inner)
        .await
        .map_err(failed)?;
        let mut version = None;
        for row in &rows {
            if text(row, "tag")? == tag {
                version = Some(text(row, "version")?);
            }
        }
        Ok((rows.len() as u64, version))
    }

    /// Claims an identifier for a digest, for ever. A second claim is a `write-conflict`.
    pub(crate) async fn claim_identifier(
        &mut self,
        identifier: Sha256,
        purl: &str,
        sha256: &str,
        project_key: &str,
        now: Time,
    ) -> Result<()> {
        sqlx::query("INSERT INTO identifiers (identifier, purl, sha256, project_key, created_at) VALUES ($1, $2, $3, $4, $5)")
            .bind(identifier.to_string())
            .bind(purl.to_owned())
            .bind(sha256.to_owned())
            .bind(project_key.to_owned())
            .bind(now.0)
            .execute(&mut *self.inner)
            .await
            .map_err(failed)?;
        Ok(())
    }

    /// Gives a removed project's name back to its former owner.
    pub(crate) async fn revive_project(&mut self, project: &ProjectId, now: Time) -> Result<()> {
        sqlx::query("UPDATE projects SET removed_at = NULL, visible_at = NULL, latest = '', summary = '', updated_at = $2 WHERE id = $1")
            .bind(project.0.clone())
            .bind(now.0)
            .execute(&mut *self.inner)
            .await
            .map_err(failed)?;
        Ok(())
    }

    async fn insert_dependencies(&mut self, file: &NewFile<'_>) -> Result<()> {
        let digest = file.metadata_sha256.to_string();
        // 7 places a row; both databases take at least 32,766 of them in one statement.
        for (chunk, dependencies) in file.manifest.dependencies.chunks(1_000).enumerate() {
            let sql = format!(
                "INSERT INTO dependencies (metadata_sha256, position, ecosystem, name_key, requirement, marker, kind) VALUES {}",
                value_rows(dependencies.len(), 7, 1)
            );
            let mut query = sqlx::query(built(sql));
            for (row, dependency) in dependencies.iter().enumerate() {
                query = query
                    .bind(digest.clone())
                    .bind(signed((chunk * 1_000 + row) as u64))
                    .bind(file.manifest.ecosystem.as_str())
                    .bind(dependency.name_key.as_str().to_owned())
                    .bind(dependency.requirement.clone())
                    .bind(dependency.marker.clone())
                    .bind(if dependency.extra.is_some() {
                        "extra"
                    } else {
                        "runtime"
                    });
            }
            query.execute(&mut *self.inner).await.map_err(failed)?;
        }
        Ok(())
    }
}
