//! Build provenance: attestations, trust roots, what projects are remembered for, what became of sources.

use std::collections::BTreeMap;

use countersign_trust::oidc::Forge;
use serde::Serialize;
use serde::de::DeserializeOwned;
use sqlx::any::AnyRow;

use super::{
    Backend, Store, Tx, Veiled, built, failed, maybe_text, maybe_time, places, text, time,
    unsigned, value_rows,
};
use crate::error::{Error, Result};
use crate::model::{
    AccountId, AttestationForm, ChangeKind, EventId, FileId, FileOrigin, Maker, ProjectId,
    ShownProvenance, SourceTuple, Time, TrustLevel, Verdict,
};

/// What [`crate::policy`] asks of a change that holds now.
#[derive(Clone, Debug)]
pub struct ChangeFacts {
    /// Its id.
    pub id: String,
    /// Exception or move.
    pub kind: ChangeKind,
    /// The level that an exception reaches down to.
    pub level: Option<TrustLevel>,
    /// Where a move goes.
    pub to: Option<SourceTuple>,
}

/// A change of what a project is remembered for.
#[derive(Clone, Debug)]
pub(crate) struct ChangeRow {
    pub(crate) id: String,
    pub(crate) project: ProjectId,
    pub(crate) kind: ChangeKind,
    pub(crate) level: Option<TrustLevel>,
    pub(crate) from: Option<SourceTuple>,
    pub(crate) to: Option<SourceTuple>,
    pub(crate) reason: String,
    pub(crate) opened_by: Option<AccountId>,
    /// Read, never written.
    pub(crate) opener: Option<String>,
    pub(crate) opened: Time,
    pub(crate) starts: Time,
    pub(crate) ends: Time,
    /// Read, never written.
    pub(crate) confirmer: Option<String>,
    pub(crate) closed: Option<Time>,
    pub(crate) used: Option<Time>,
    pub(crate) uses: u64,
}

/// An attestation.
#[derive(Clone, Debug)]
pub(crate) struct AttestationRow {
    pub(crate) id: String,
    pub(crate) file: FileId,
    pub(crate) maker: Maker,
    pub(crate) form: AttestationForm,
    pub(crate) digest: String,
    pub(crate) predicate_type: String,
    pub(crate) statement_digest: String,
    pub(crate) verdict: Verdict,
    pub(crate) claims: BTreeMap<String, String>,
    pub(crate) shown: ShownProvenance,
    pub(crate) source: Option<CheckedSource>,
    /// As the Python integrity API shows it (JSON).
    pub(crate) publisher: Option<String>,
    pub(crate) signed: Time,
    pub(crate) root_digest: Option<String>,
    pub(crate) event: Option<EventId>,
    pub(crate) created: Time,
    pub(crate) body: String,
    pub(crate) rechecked: Option<Time>,
    pub(crate) recheck_problem: Option<String>,
}

/// What is looked for from time to time.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, serde::Deserialize)]
pub(crate) struct CheckedSource {
    pub(crate) forge: Forge,
    pub(crate) repository: String,
    pub(crate) commit: String,
    /// Path of the build file; '' where none is named.
    pub(crate) workflow: String,
}

impl CheckedSource {
    /// The page that shows the commit.
    pub(crate) fn commit_page(&self) -> String {
        self.forge.commit(&self.repository, &self.commit)
    }

    /// The page that shows the build file at that commit, where one is named.
    pub(crate) fn build_file_page(&self) -> Option<String> {
        self.forge
            .file(&self.repository, &self.commit, &self.workflow)
    }
}

impl AttestationRow {
    /// Does the Python integrity API serve it? Its clients refuse a whole document for one statement of a type, or one
    /// publisher of a kind, that they do not know.
    pub(crate) fn has_place_in_index(&self) -> bool {
        self.maker == Maker::Uploader
            && self.form == AttestationForm::Pep740
            && self.verdict == Verdict::Confirmed
            && self.publisher.is_some()
    }
}

/// What the last looks at a source found.
#[derive(Clone, Debug)]
pub(crate) struct SourceCheckRow {
    pub(crate) source: CheckedSource,
    pub(crate) state: String,
    pub(crate) detail: String,
    pub(crate) checked: Option<Time>,
    pub(crate) failing_since: Option<Time>,
    pub(crate) failures: u64,
    pub(crate) due: Time,
}

/// A file as attestations see it.
#[derive(Clone, Debug)]
pub(crate) struct AttestedFile {
    pub(crate) id: FileId,
    pub(crate) project: ProjectId,
    pub(crate) project_name: String,
    pub(crate) project_key: String,
    pub(crate) ecosystem: String,
    pub(crate) version: String,
    pub(crate) filename: String,
    pub(crate) purl: String,
    pub(crate) sha256: String,
    /// Where the ecosystem's clients hold files against it.
    pub(crate) sha512: Option<String>,
    pub(crate) level: Option<TrustLevel>,
    pub(crate) source: Option<SourceTuple>,
    pub(crate) release_created: Time,
}

impl AttestedFile {
    /// Its digests by the names of their algorithms; SHA-256 first.
    pub(crate) fn digests(&self) -> Vec<(String, String)> {
        named_digests(self.sha256.clone(), self.sha512.clone())
    }
}

fn named_digests(sha256: String, sha512: Option<String>) -> Vec<(String, String)> {
    std::iter::once(("sha256".to_owned(), sha256))
        .chain(sha512.map(|hex| ("sha512".to_owned(), hex)))
        .collect()
}

/// An identity whose attestations are taken with API tokens.
#[derive(Clone, Debug)]
pub(crate) struct IdentityRow {
    pub(crate) id: String,
    pub(crate) issuer: String,
    pub(crate) repository: String,
    pub(crate) workflow: Option<String>,
    pub(crate) account: Option<AccountId>,
    /// Read, never written.
    pub(crate) by: Option<String>,
    pub(crate) created: Time,
}

/// A file that the registry attests itself.
#[derive(Clone, Debug)]
pub(crate) struct OwnSubject {
    pub(crate) file: FileId,
    pub(crate) project: ProjectId,
    pub(crate) ecosystem: String,
    pub(crate) project_key: String,
    pub(crate) version: String,
    pub(crate) filename: String,
    pub(crate) sha256: String,
    pub(crate) level: Option<TrustLevel>,
}

/// A trust root.
#[derive(Clone, Debug)]
pub(crate) struct TrustRootRow {
    pub(crate) id: String,
    pub(crate) name: String,
    pub(crate) kind: String,
    pub(crate) digest: String,
    pub(crate) tuf_url: Option<String>,
    pub(crate) tuf_state: Option<String>,
    pub(crate) created: Time,
    pub(crate) refreshed: Option<Time>,
    pub(crate) problem: Option<String>,
    pub(crate) body: String,
}

const ATTESTATION: &str = "SELECT id, file_id, maker, form, digest, predicate_type, statement_digest, verdict, claims, source, \
     shown, publisher, signed_at, root_digest, event_id, created_at, body, rechecked_at, recheck_problem FROM attestations";

const CHANGE: &str = "SELECT c.id, c.project_id, c.kind, c.level, c.from_source, c.to_source, c.reason, c.opened_by, o.name AS opener, \
     c.opened_at, c.starts_at, c.ends_at, s.name AS confirmer, c.closed_at, c.used_at, c.uses FROM provenance_changes c \
     LEFT JOIN accounts o ON o.id = c.opened_by LEFT JOIN accounts s ON s.id = c.confirmed_by";

const FILE: &str = "SELECT f.id, f.project_id, p.name, p.key, p.ecosystem, p.private_at, r.version, r.created_at, f.filename, f.purl, f.sha256, f.sha512, \
     f.trust_level, f.source FROM files f JOIN projects p ON p.id = f.project_id JOIN releases r ON r.id = f.release_id";

const OWN: &str = "SELECT f.id, f.project_id, p.ecosystem, p.key, r.version, f.filename, f.sha256, f.trust_level FROM files f \
     JOIN projects p ON p.id = f.project_id JOIN releases r ON r.id = f.release_id";

const SOURCE_CHECK: &str = "SELECT forge, repository, commit_hash, workflow, state, detail, checked_at, failing_since, failures, due_at \
     FROM source_checks";

/// Files that anybody is served.
const SERVED: &str = "f.state = 'live' AND p.status <> 'quarantined' AND p.removed_at IS NULL AND f.leaf IS NOT NULL";

fn to_json<T: Serialize>(value: &T) -> Result<String> {
    serde_json::to_string(value)
        .map_err(|source| Error::internal("a row can not be written", source))
}

fn from_json<T: DeserializeOwned>(text: &str) -> Result<T> {
    serde_json::from_str(text)
        .map_err(|source| Error::internal("a stored row is malformed", source))
}

fn maybe_json<T: DeserializeOwned>(row: &AnyRow, column: &str) -> Result<Option<T>> {
    maybe_text(row, column)?
        .map(|text| from_json(&text))
        .transpose()
}

fn maybe_parsed<T: std::str::FromStr<Err = String>>(
    row: &AnyRow,
    column: &str,
) -> Result<Option<T>> {
    maybe_text(row, column)?
        .map(|word| {
            word.parse()
                .map_err(|source: String| Error::internal("a stored word is unknown", source))
        })
        .transpose()
}

/// The source that a row of `projects` or `files` remembers.
pub(super) fn source_of(row: &AnyRow) -> Result<Option<SourceTuple>> {
    maybe_json(row, "source")
}

fn attestation(row: &AnyRow) -> Result<AttestationRow> {
    Ok(AttestationRow {
        id: text(row, "id")?,
        file: FileId(text(row, "file_id")?),
        maker: super::parsed(row, "maker")?,
        form: super::parsed(row, "form")?,
        digest: text(row, "digest")?,
        predicate_type: text(row, "predicate_type")?,
        statement_digest: text(row, "statement_digest")?,
        verdict: super::parsed(row, "verdict")?,
        claims: from_json(&text(row, "claims")?)?,
        shown: from_json(&text(row, "shown")?)?,
        source: maybe_json(row, "source")?,
        publisher: maybe_text(row, "publisher")?,
        signed: time(row, "signed_at")?,
        root_digest: maybe_text(row, "root_digest")?,
        event: maybe_text(row, "event_id")?.map(EventId),
        created: time(row, "created_at")?,
        body: text(row, "body")?,
        rechecked: maybe_time(row, "rechecked_at")?,
        recheck_problem: maybe_text(row, "recheck_problem")?,
    })
}

fn own_subject(row: &AnyRow) -> Result<OwnSubject> {
    Ok(OwnSubject {
        file: FileId(text(row, "id")?),
        project: ProjectId(text(row, "project_id")?),
        ecosystem: text(row, "ecosystem")?,
        project_key: text(row, "key")?,
        version: text(row, "version")?,
        filename: text(row, "filename")?,
        sha256: text(row, "sha256")?,
        level: maybe_parsed(row, "trust_level")?,
    })
}

fn change(row: &AnyRow) -> Result<ChangeRow> {
    Ok(ChangeRow {
        id: text(row, "id")?,
        project: ProjectId(text(row, "project_id")?),
        kind: super::parsed(row, "kind")?,
        level: maybe_parsed(row, "level")?,
        from: maybe_json(row, "from_source")?,
        to: maybe_json(row, "to_source")?,
        reason: text(row, "reason")?,
        opened_by: maybe_text(row, "opened_by")?.map(AccountId),
        opener: maybe_text(row, "opener")?,
        opened: time(row, "opened_at")?,
        starts: time(row, "starts_at")?,
        ends: time(row, "ends_at")?,
        confirmer: maybe_text(row, "confirmer")?,
        closed: maybe_time(row, "closed_at")?,
        used: maybe_time(row, "used_at")?,
        uses: unsigned(row, "uses")?,
    })
}

fn attested_file(row: &AnyRow) -> Result<AttestedFile> {
    Ok(AttestedFile {
        id: FileId(text(row, "id")?),
        project: ProjectId(text(row, "project_id")?),
        project_name: text(row, "name")?,
        project_key: text(row, "key")?,
        ecosystem: text(row, "ecosystem")?,
        version: text(row, "version")?,
        filename: text(row, "filename")?,
        purl: text(row, "purl")?,
        sha256: text(row, "sha256")?,
        sha512: maybe_text(row, "sha512")?,
        level: maybe_parsed(row, "trust_level")?,
        source: source_of(row)?,
        release_created: time(row, "created_at")?,
    })
}

fn veiled_file(row: &AnyRow) -> Result<Veiled<AttestedFile>> {
    Veiled::by_row(row, attested_file(row)?)
}

fn source_check(row: &AnyRow) -> Result<SourceCheckRow> {
    Ok(SourceCheckRow {
        source: CheckedSource {
            forge: from_json(&text(row, "forge")?)?,
            repository: text(row, "repository")?,
            commit: text(row, "commit_hash")?,
            workflow: text(row, "workflow")?,
        },
        state: text(row, "state")?,
        detail: text(row, "detail")?,
        checked: maybe_time(row, "checked_at")?,
        failing_since: maybe_time(row, "failing_since")?,
        failures: unsigned(row, "failures")?,
        due: time(row, "due_at")?,
    })
}

impl Store {
    /// The served file of an identifier.
    pub(crate) async fn attested_file(&self, purl: &str) -> Result<Option<Veiled<AttestedFile>>> {
        let row = sqlx::query(built(format!("{FILE} WHERE f.purl = $1 AND {SERVED}")))
            .bind(purl.to_owned())
            .fetch_optional(&self.read)
            .await
            .map_err(failed)?;
        row.map(|row| veiled_file(&row)).transpose()
    }

    /// The served files of a release, by its version's key.
    pub(crate) async fn attested_files(
        &self,
        ecosystem: &str,
        project_key: &str,
        version_key: &str,
    ) -> Result<Vec<Veiled<AttestedFile>>> {
        let rows = sqlx::query(built(format!(
            "{FILE} WHERE p.ecosystem = $1 AND p.key = $2 AND r.version_key = $3 AND {SERVED} ORDER BY f.filename"
        )))
        .bind(ecosystem.to_owned())
        .bind(project_key.to_owned())
        .bind(version_key.to_owned())
        .fetch_all(&self.read)
        .await
        .map_err(failed)?;
        rows.iter().map(veiled_file).collect()
    }

    /// The served files with these digests.
    pub(crate) async fn files_by_digest(
        &self,
        digests: &[String],
        limit: u32,
    ) -> Result<Vec<Veiled<AttestedFile>>> {
        if digests.is_empty() {
            return Ok(Vec::new());
        }
        let sql = format!(
            "{FILE} WHERE f.sha256 IN ({}) AND {SERVED} ORDER BY f.sha256, f.purl LIMIT {limit}",
            places(digests.len(), 1)
        );
        let mut query = sqlx::query(built(sql));
        for digest in digests {
            query = query.bind(digest.clone());
        }
        let rows = query.fetch_all(&self.read).await.map_err(failed)?;
        rows.iter().map(veiled_file).collect()
    }

    /// The attestations of some files, in the order in which they were taken.
    pub(crate) async fn attestations_of(&self, files: &[FileId]) -> Result<Vec<AttestationRow>> {
        let mut found = Vec::new();
        for chunk in files.chunks(500) {
            let sql = format!(
                "{ATTESTATION} WHERE file_id IN ({}) ORDER BY maker DESC, created_at, id",
                places(chunk.len(), 1)
            );
            let mut query = sqlx::query(built(sql));
            for file in chunk {
                query = query.bind(file.0.clone());
            }
            for row in &query.fetch_all(&self.near).await.map_err(failed)? {
                found.push(attestation(row)?);
            }
        }
        Ok(found)
    }

    /// What stood behind the files that a project published before a moment, outside one release: the highest level, and
    /// the last source that was known.
    pub(crate) async fn published_before(
        &self,
        project: &ProjectId,
        release_created: Time,
    ) -> Result<(Option<TrustLevel>, Option<SourceTuple>)> {
        let earlier = "FROM files f JOIN releases r ON r.id = f.release_id WHERE f.project_id = $1 AND f.leaf IS NOT NULL \
             AND r.created_at < $2";
        let levels = sqlx::query(built(format!(
            "SELECT DISTINCT f.trust_level {earlier} AND f.trust_level IS NOT NULL"
        )))
        .bind(project.0.clone())
        .bind(release_created.0)
        .fetch_all(&self.read)
        .await
        .map_err(failed)?;
        let levels: Vec<Option<TrustLevel>> = levels
            .iter()
            .map(|row| maybe_parsed(row, "trust_level"))
            .collect::<Result<_>>()?;
        let source = sqlx::query(built(format!(
            "SELECT f.source {earlier} AND f.source IS NOT NULL ORDER BY r.created_at DESC, f.live_at DESC LIMIT 1"
        )))
        .bind(project.0.clone())
        .bind(release_created.0)
        .fetch_optional(&self.read)
        .await
        .map_err(failed)?;
        let source = source.map(|row| source_of(&row)).transpose()?.flatten();
        Ok((levels.into_iter().flatten().max(), source))
    }

    /// The bytes of an attestation of a served file, by their digest.
    pub(crate) async fn attestation_body(&self, digest: &str) -> Result<Option<Veiled<String>>> {
        // Of a public file, where one has it.
        let row = sqlx::query(built(format!(
            "SELECT a.body, f.project_id, p.ecosystem, p.key, p.private_at FROM attestations a \
             JOIN files f ON f.id = a.file_id JOIN projects p ON p.id = f.project_id \
             WHERE a.digest = $1 AND {SERVED} ORDER BY CASE WHEN p.private_at IS NULL THEN 0 ELSE 1 END, f.id LIMIT 1"
        )))
        .bind(digest.to_owned())
        .fetch_optional(&self.read)
        .await
        .map_err(failed)?;
        row.map(|row| Veiled::by_row(&row, text(&row, "body")?))
            .transpose()
    }

    /// How many bytes the attestations of some files have in all.
    pub(crate) async fn attestation_bytes(&self, files: &[FileId]) -> Result<u64> {
        let mut bytes = 0;
        for chunk in files.chunks(500) {
            let sql = format!(
                "SELECT COALESCE(SUM(LENGTH(body)), 0) AS bytes FROM attestations WHERE file_id IN ({})",
                places(chunk.len(), 1)
            );
            let mut query = sqlx::query(built(sql));
            for file in chunk {
                query = query.bind(file.0.clone());
            }
            let row = query.fetch_one(&self.read).await.map_err(failed)?;
            bytes += unsigned(&row, "bytes")?;
        }
        Ok(bytes)
    }

    /// Which of these digests are attestations, sent with it, of the file with this identifier and these bytes.
    pub(crate) async fn known_attestations(
        &self,
        purl: &str,
        sha256: &str,
        digests: &[String],
    ) -> Result<BTreeMap<String, Verdict>> {
        if digests.is_empty() {
            return Ok(BTreeMap::new());
        }
        let sql = format!(
            "SELECT a.digest, a.verdict FROM attestations a JOIN files f ON f.id = a.file_id WHERE f.purl = $1 AND f.sha256 = $2 AND a.maker = 'uploader' AND a.digest IN ({})",
            places(digests.len(), 3)
        );
        let mut query = sqlx::query(built(sql))
            .bind(purl.to_owned())
            .bind(sha256.to_owned());
        for digest in digests {
            query = query.bind(digest.clone());
        }
        let rows = query.fetch_all(&self.read).await.map_err(failed)?;
        rows.iter()
            .map(|row| Ok((text(row, "digest")?, super::parsed(row, "verdict")?)))
            .collect()
    }

    /// Attestations by their ids, after one: id, digest, body.
    pub(crate) async fn attestations_after(
        &self,
        after: &str,
        limit: i64,
    ) -> Result<Vec<(String, String, String)>> {
        let rows = sqlx::query(
            "SELECT id, digest, body FROM attestations WHERE id > $1 ORDER BY id LIMIT $2",
        )
        .bind(after.to_owned())
        .bind(limit)
        .fetch_all(&self.read)
        .await
        .map_err(failed)?;
        rows.iter()
            .map(|row| Ok((text(row, "id")?, text(row, "digest")?, text(row, "body")?)))
            .collect()
    }

    /// What the registry says of some files in its own attestations.
    pub(crate) async fn own_subjects(&self, files: &[FileId]) -> Result<Vec<OwnSubject>> {
        let mut found = Vec::new();
        for chunk in files.chunks(500) {
            let sql = format!("{OWN} WHERE f.id IN ({})", places(chunk.len(), 1));
            let mut query = sqlx::query(built(sql));
            for file in chunk {
                query = query.bind(file.0.clone());
            }
            for row in &query.fetch_all(&self.near).await.map_err(failed)? {
                found.push(own_subject(row)?);
            }
        }
        Ok(found)
    }

    /// Files of which the registry has still to say something itself.
    pub(crate) async fn own_words_due(&self, limit: i64) -> Result<Vec<OwnSubject>> {
        let rows = sqlx::query(built(format!(
            "{OWN} JOIN own_words_due d ON d.file_id = f.id ORDER BY d.file_id LIMIT $1"
        )))
        .bind(limit)
        .fetch_all(&self.read)
        .await
        .map_err(failed)?;
        rows.iter().map(own_subject).collect()
    }

    /// What is known of some sources now; those that were never noted are left out.
    pub(crate) async fn source_checks(
        &self,
        sources: &[CheckedSource],
    ) -> Result<Vec<SourceCheckRow>> {
        let mut found = Vec::with_capacity(sources.len());
        for chunk in sources.chunks(200) {
            let sql = format!(
                "{SOURCE_CHECK} WHERE (repository, commit_hash, workflow) IN (VALUES {})",
                value_rows(chunk.len(), 3, 1)
            );
            let mut query = sqlx::query(built(sql));
            for source in chunk {
                query = query
                    .bind(source.repository.clone())
                    .bind(source.commit.clone())
                    .bind(source.workflow.clone());
            }
            for row in &query.fetch_all(&self.read).await.map_err(failed)? {
                found.push(source_check(row)?);
            }
        }
        Ok(found)
    }

    /// Sources that are due, the longest due first.
    pub(crate) async fn sources_due(&self, now: Time, limit: i64) -> Result<Vec<SourceCheckRow>> {
        let rows = sqlx::query(built(format!(
            "{SOURCE_CHECK} WHERE due_at <= $1 ORDER BY due_at, repository, commit_hash, workflow LIMIT $2"
        )))
        .bind(now.0)
        .bind(limit)
        .fetch_all(&self.read)
        .await
        .map_err(failed)?;
        rows.iter().map(source_check).collect()
    }

    /// Attestations of uploaders that were not held against today's roots since a time, each with its file.
    pub(crate) async fn attestations_due(
        &self,
        before: Time,
        limit: i64,
    ) -> Result<Vec<(AttestationRow, String, Vec<(String, String)>)>> {
        let rows = sqlx::query(
            "SELECT a.id, a.file_id, a.maker, a.form, a.digest, a.predicate_type, a.statement_digest, a.verdict, a.claims, a.source, \
             a.shown, a.publisher, a.signed_at, a.root_digest, a.event_id, a.created_at, a.body, a.rechecked_at, a.recheck_problem, \
             f.filename, f.sha256, f.sha512 FROM attestations a JOIN files f ON f.id = a.file_id WHERE a.maker = 'uploader' \
             AND COALESCE(a.rechecked_at, a.created_at) < $1 ORDER BY COALESCE(a.rechecked_at, a.created_at), a.id LIMIT $2",
        )
        .bind(before.0)
        .bind(limit)
        .fetch_all(&self.read)
        .await
        .map_err(failed)?;
        rows.iter()
            .map(|row| {
                Ok((
                    attestation(row)?,
                    text(row, "filename")?,
                    named_digests(text(row, "sha256")?, maybe_text(row, "sha512")?),
                ))
            })
            .collect()
    }

    /// Level, source and since when, of a project.
    pub(crate) async fn remembered(
        &self,
        project: &ProjectId,
    ) -> Result<(TrustLevel, Option<SourceTuple>, Option<Time>)> {
        let row = sqlx::query("SELECT trust_level, source, source_at FROM projects WHERE id = $1")
            .bind(project.0.clone())
            .fetch_one(&self.read)
            .await
            .map_err(failed)?;
        Ok((
            super::parsed(&row, "trust_level")?,
            source_of(&row)?,
            maybe_time(&row, "source_at")?,
        ))
    }

    /// A project that is shown: its id.
    pub(crate) async fn shown_project(
        &self,
        ecosystem: &str,
        key: &str,
    ) -> Result<Option<Veiled<ProjectId>>> {
        let row = sqlx::query(
            "SELECT id AS project_id, ecosystem, key, private_at FROM projects \
             WHERE ecosystem = $1 AND key = $2 AND removed_at IS NULL AND visible_at IS NOT NULL",
        )
        .bind(ecosystem.to_owned())
        .bind(key.to_owned())
        .fetch_optional(&self.read)
        .await
        .map_err(failed)?;
        row.map(|row| Veiled::by_row(&row, ProjectId(text(&row, "project_id")?)))
            .transpose()
    }

    /// The changes of a project, newest first: those that hold or wait at `now`, and the last 200.
    pub(crate) async fn provenance_changes(
        &self,
        project: &ProjectId,
        now: Time,
    ) -> Result<Vec<ChangeRow>> {
        let rows = sqlx::query(built(format!(
            "{CHANGE} WHERE c.project_id = $1 AND ((c.kind IN ('exception', 'move') AND c.closed_at IS NULL AND c.ends_at > $2) \
             OR c.id IN (SELECT l.id FROM provenance_changes l WHERE l.project_id = $1 ORDER BY l.opened_at DESC, l.id DESC LIMIT 200)) \
             ORDER BY c.opened_at DESC, c.id DESC"
        )))
        .bind(project.0.clone())
        .bind(now.0)
        .fetch_all(&self.read)
        .await
        .map_err(failed)?;
        rows.iter().map(change).collect()
    }

    /// The identities that a project takes attestations of.
    pub(crate) async fn trusted_identities(&self, project: &ProjectId) -> Result<Vec<IdentityRow>> {
        let rows = sqlx::query(
            "SELECT i.id, i.issuer, i.repository, i.workflow, i.account_id, a.name, i.created_at FROM attestation_identities i \
             LEFT JOIN accounts a ON a.id = i.account_id WHERE i.project_id = $1 AND i.removed_at IS NULL ORDER BY i.created_at, i.id",
        )
        .bind(project.0.clone())
        .fetch_all(&self.read)
        .await
        .map_err(failed)?;
        rows.iter()
            .map(|row| {
                Ok(IdentityRow {
                    id: text(row, "id")?,
                    issuer: text(row, "issuer")?,
                    repository: text(row, "repository")?,
                    workflow: maybe_text(row, "workflow")?,
                    account: maybe_text(row, "account_id")?.map(AccountId),
                    by: maybe_text(row, "name")?,
                    created: time(row, "created_at")?,
                })
            })
            .collect()
    }

    /// The trust roots that were added or refreshed, with their documents.
    pub(crate) async fn trust_root_rows(&self) -> Result<Vec<TrustRootRow>> {
        let rows = sqlx::query(
            "SELECT t.id, t.name, t.kind, t.digest, t.tuf_url, t.tuf_state, t.created_at, t.refreshed_at, t.problem, d.body \
             FROM trust_roots t JOIN trust_root_documents d ON d.digest = t.digest WHERE t.removed_at IS NULL ORDER BY t.name",
        )
        .fetch_all(&self.read)
        .await
        .map_err(failed)?;
        rows.iter()
            .map(|row| {
                Ok(TrustRootRow {
                    id: text(row, "id")?,
                    name: text(row, "name")?,
                    kind: text(row, "kind")?,
                    digest: text(row, "digest")?,
                    tuf_url: maybe_text(row, "tuf_url")?,
                    tuf_state: maybe_text(row, "tuf_state")?,
                    created: time(row, "created_at")?,
                    refreshed: maybe_time(row, "refreshed_at")?,
                    problem: maybe_text(row, "problem")?,
                    body: text(row, "body")?,
                })
            })
            .collect()
    }

    /// What tells whether the trust roots changed: cheap enough to ask before each use.
    pub(crate) async fn trust_roots_state(&self) -> Result<String> {
        let row = sqlx::query(
            "SELECT COALESCE(min(t.id), '') AS first, COALESCE(max(t.id), '') AS last, \
             (SELECT count(*) FROM trust_roots l WHERE l.removed_at IS NULL) AS n, \
             COALESCE(max(t.refreshed_at), 0) AS refreshed, COALESCE(max(t.removed_at), 0) AS removed FROM trust_roots t",
        )
        .fetch_one(&self.read)
        .await
        .map_err(failed)?;
        Ok(format!(
            "{} {} {} {} {}",
            text(&row, "first")?,
            text(&row, "last")?,
            super::number(&row, "n")?,
            super::number(&row, "refreshed")?,
            super::number(&row, "removed")?
        ))
    }

    /// How many attestations were held against each root document.
    pub(crate) async fn root_uses(&self) -> Result<BTreeMap<String, u64>> {
        let rows = sqlx::query(
            "SELECT root_digest, count(*) AS n FROM attestations WHERE root_digest IS NOT NULL GROUP BY root_digest",
        )
        .fetch_all(&self.read)
        .await
        .map_err(failed)?;
        rows.iter()
            .map(|row| Ok((text(row, "root_digest")?, unsigned(row, "n")?)))
            .collect()
    }
}

impl Tx {
    /// Writes what the registry attests itself.
    pub(crate) async fn insert_own_attestations(&mut self, rows: &[AttestationRow]) -> Result<()> {
        for chunk in rows.chunks(200) {
            let sql = format!(
                "INSERT INTO attestations (id, file_id, maker, form, digest, predicate_type, statement_digest, verdict, claims, shown, \
                 signed_at, created_at, body) VALUES {} ON CONFLICT (file_id, digest) DO NOTHING",
                value_rows(chunk.len(), 13, 1)
            );
            let mut query = sqlx::query(built(sql));
            for row in chunk {
                query = query
                    .bind(row.id.clone())
                    .bind(row.file.0.clone())
                    .bind(row.maker.as_str())
                    .bind(row.form.as_str())
                    .bind(row.digest.clone())
                    .bind(row.predicate_type.clone())
                    .bind(row.statement_digest.clone())
                    .bind(row.verdict.as_str())
                    .bind(to_json(&row.claims)?)
                    .bind(to_json(&row.shown)?)
                    .bind(row.signed.0)
                    .bind(row.created.0)
                    .bind(row.body.clone());
            }
            query.execute(&mut *self.inner).await.map_err(failed)?;
        }
        Ok(())
    }

    /// Notes files of which the registry has still to say something itself.
    pub(crate) async fn own_words_due_for(&mut self, files: &[FileId]) -> Result<()> {
        for chunk in files.chunks(1_000) {
            let sql = format!(
                "INSERT INTO own_words_due (file_id) VALUES {} ON CONFLICT (file_id) DO NOTHING",
                value_rows(chunk.len(), 1, 1)
            );
            let mut query = sqlx::query(built(sql));
            for file in chunk {
                query = query.bind(file.0.clone());
            }
            query.execute(&mut *self.inner).await.map_err(failed)?;
        }
        Ok(())
    }

    /// Notes every file that is in the log: what an ended key signed proves nothing any more.
    pub(crate) async fn own_words_due_for_all(&mut self) -> Result<()> {
        sqlx::query(
            "INSERT INTO own_words_due (file_id) SELECT id FROM files WHERE leaf IS NOT NULL ON CONFLICT (file_id) DO NOTHING",
        )
        .execute(&mut *self.inner)
        .await
        .map_err(failed)?;
        Ok(())
    }

    /// Takes files off what is due.
    pub(crate) async fn own_words_said(&mut self, files: &[FileId]) -> Result<()> {
        for chunk in files.chunks(1_000) {
            let sql = format!(
                "DELETE FROM own_words_due WHERE file_id IN ({})",
                places(chunk.len(), 1)
            );
            let mut query = sqlx::query(built(sql));
            for file in chunk {
                query = query.bind(file.0.clone());
            }
            query.execute(&mut *self.inner).await.map_err(failed)?;
        }
        Ok(())
    }

    /// Writes an attestation. A second one with the same bytes on the same file is a `write-conflict`.
    pub(crate) async fn insert_attestation(&mut self, row: &AttestationRow) -> Result<()> {
        sqlx::query(
            "INSERT INTO attestations (id, file_id, maker, form, digest, predicate_type, statement_digest, verdict, claims, source, \
             shown, publisher, signed_at, root_digest, event_id, created_at, body) \
             VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16, $17)",
        )
        .bind(row.id.clone())
        .bind(row.file.0.clone())
        .bind(row.maker.as_str())
        .bind(row.form.as_str())
        .bind(row.digest.clone())
        .bind(row.predicate_type.clone())
        .bind(row.statement_digest.clone())
        .bind(row.verdict.as_str())
        .bind(to_json(&row.claims)?)
        .bind(row.source.as_ref().map(to_json).transpose()?)
        .bind(to_json(&row.shown)?)
        .bind(row.publisher.clone())
        .bind(row.signed.0)
        .bind(row.root_digest.clone())
        .bind(row.event.as_ref().map(|event| event.0.clone()))
        .bind(row.created.0)
        .bind(row.body.clone())
        .execute(&mut *self.inner)
        .await
        .map_err(failed)?;
        if let Some(source) = &row.source {
            // The first look comes after a day: until then the forge has said so itself.
            sqlx::query(
                "INSERT INTO source_checks (repository, commit_hash, workflow, state, detail, failures, due_at, forge) \
                 VALUES ($1, $2, $3, 'unknown', '', 0, $4, $5) ON CONFLICT (repository, commit_hash, workflow) DO NOTHING",
            )
            .bind(source.repository.clone())
            .bind(source.commit.clone())
            .bind(source.workflow.clone())
            .bind(row.created.plus_seconds(86_400).0)
            .bind(to_json(&source.forge)?)
            .execute(&mut *self.inner)
            .await
            .map_err(failed)?;
        }
        Ok(())
    }

    /// The attestations of a file: maker, digest, predicate type, event.
    pub(crate) async fn attestations_there(
        &mut self,
        file: &FileId,
    ) -> Result<Vec<AttestationRow>> {
        let rows = sqlx::query(built(format!(
            "{ATTESTATION} WHERE file_id = $1 ORDER BY created_at, id"
        )))
        .bind(file.0.clone())
        .fetch_all(&mut *self.inner)
        .await
        .map_err(failed)?;
        rows.iter().map(attestation).collect()
    }

    /// A file whose row is there, whatever its state, by its identifier.
    pub(crate) async fn attested_file_here(&mut self, purl: &str) -> Result<Option<AttestedFile>> {
        let row = sqlx::query(built(format!("{FILE} WHERE f.purl = $1")))
            .bind(purl.to_owned())
            .fetch_optional(&mut *self.inner)
            .await
            .map_err(failed)?;
        row.map(|row| attested_file(&row)).transpose()
    }

    /// Writes what stands behind a file.
    pub(crate) async fn set_file_trust(
        &mut self,
        file: &FileId,
        level: TrustLevel,
        source: Option<&SourceTuple>,
        attested: Option<Time>,
    ) -> Result<()> {
        sqlx::query(
            "UPDATE files SET trust_level = $2, source = $3, attested_at = COALESCE(attested_at, $4) WHERE id = $1",
        )
        .bind(file.0.clone())
        .bind(level.as_str())
        .bind(source.map(to_json).transpose()?)
        .bind(attested.map(|at| at.0))
        .execute(&mut *self.inner)
        .await
        .map_err(failed)?;
        Ok(())
    }

    /// The source that a project is remembered for from now on.
    pub(crate) async fn remember_source(
        &mut self,
        project: &ProjectId,
        source: &SourceTuple,
        now: Time,
    ) -> Result<()> {
        sqlx::query("UPDATE projects SET source = $2, source_at = $3 WHERE id = $1")
            .bind(project.0.clone())
            .bind(to_json(source)?)
            .bind(now.0)
            .execute(&mut *self.inner)
            .await
            .map_err(failed)?;
        Ok(())
    }

    /// The source that a project is remembered for.
    pub(crate) async fn source_remembered(
        &mut self,
        project: &ProjectId,
    ) -> Result<Option<SourceTuple>> {
        let row = sqlx::query("SELECT source FROM projects WHERE id = $1")
            .bind(project.0.clone())
            .fetch_one(&mut *self.inner)
            .await
            .map_err(failed)?;
        source_of(&row)
    }

    /// The workflow that the newest file of a project came from that came from one.
    pub(crate) async fn newest_origin(
        &mut self,
        project: &ProjectId,
    ) -> Result<Option<FileOrigin>> {
        let row = sqlx::query(
            "SELECT o.issuer, o.provider, o.label, o.claims FROM file_origins o JOIN files f ON f.id = o.file_id \
             WHERE f.project_id = $1 ORDER BY f.id DESC LIMIT 1",
        )
        .bind(project.0.clone())
        .fetch_optional(&mut *self.inner)
        .await
        .map_err(failed)?;
        row.map(|row| super::trusted::origin(&row)).transpose()
    }

    /// Raises the highest trust that a project's publications reached, where it is lower.
    pub(crate) async fn raise_trust(
        &mut self,
        project: &ProjectId,
        level: TrustLevel,
        source: &str,
        now: Time,
    ) -> Result<()> {
        let row = sqlx::query("SELECT trust_level FROM projects WHERE id = $1")
            .bind(project.0.clone())
            .fetch_one(&mut *self.inner)
            .await
            .map_err(failed)?;
        let before: TrustLevel = super::parsed(&row, "trust_level")?;
        if before < level {
            self.reach_trust(project, level, source, now).await?;
        }
        Ok(())
    }

    /// The exceptions and moves of a project that hold now. A move is for the first publication from there and no more:
    /// whoever takes the name of the new source later has not moved there. Who is no owner any more opened nothing.
    pub(crate) async fn open_changes(
        &mut self,
        project: &ProjectId,
        now: Time,
    ) -> Result<Vec<ChangeFacts>> {
        let rows = sqlx::query(
            "SELECT id, kind, level, to_source FROM provenance_changes WHERE project_id = $1 AND kind IN ('exception', 'move') \
             AND closed_at IS NULL AND starts_at <= $2 AND ends_at > $2 AND (kind <> 'move' OR uses = 0) \
             AND (opened_by IS NULL OR EXISTS (SELECT 1 FROM effective_roles e WHERE e.project_id = $1 \
               AND e.account_id = provenance_changes.opened_by AND e.role = 'owner')) ORDER BY opened_at, id",
        )
        .bind(project.0.clone())
        .bind(now.0)
        .fetch_all(&mut *self.inner)
        .await
        .map_err(failed)?;
        rows.iter()
            .map(|row| {
                Ok(ChangeFacts {
                    id: text(row, "id")?,
                    kind: super::parsed(row, "kind")?,
                    level: maybe_parsed(row, "level")?,
                    to: maybe_json(row, "to_source")?,
                })
            })
            .collect()
    }

    /// A change, its row locked.
    pub(crate) async fn provenance_change(&mut self, id: &str) -> Result<Option<ChangeRow>> {
        if self.backend == Backend::Postgres {
            sqlx::query("SELECT id FROM provenance_changes WHERE id = $1 FOR UPDATE")
                .bind(id.to_owned())
                .fetch_optional(&mut *self.inner)
                .await
                .map_err(failed)?;
        }
        let row = sqlx::query(built(format!("{CHANGE} WHERE c.id = $1")))
            .bind(id.to_owned())
            .fetch_optional(&mut *self.inner)
            .await
            .map_err(failed)?;
        row.map(|row| change(&row)).transpose()
    }

    /// Writes a change.
    pub(crate) async fn insert_provenance_change(&mut self, row: &ChangeRow) -> Result<()> {
        sqlx::query(
            "INSERT INTO provenance_changes (id, project_id, kind, level, from_source, to_source, reason, opened_by, opened_at, \
             starts_at, ends_at, used_at, uses) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13)",
        )
        .bind(row.id.clone())
        .bind(row.project.0.clone())
        .bind(row.kind.as_str())
        .bind(row.level.map(|level| level.as_str().to_owned()))
        .bind(row.from.as_ref().map(to_json).transpose()?)
        .bind(row.to.as_ref().map(to_json).transpose()?)
        .bind(row.reason.clone())
        .bind(row.opened_by.as_ref().map(|id| id.0.clone()))
        .bind(row.opened.0)
        .bind(row.starts.0)
        .bind(row.ends.0)
        .bind(row.used.map(|at| at.0))
        .bind(super::signed(row.uses))
        .execute(&mut *self.inner)
        .await
        .map_err(failed)?;
        Ok(())
    }

    /// A publication used a change.
    pub(crate) async fn use_provenance_change(&mut self, id: &str, now: Time) -> Result<()> {
        sqlx::query("UPDATE provenance_changes SET used_at = $2, uses = uses + 1 WHERE id = $1")
            .bind(id.to_owned())
            .bind(now.0)
            .execute(&mut *self.inner)
            .await
            .map_err(failed)?;
        Ok(())
    }

    /// Another owner confirmed a change: it holds from now on.
    pub(crate) async fn confirm_provenance_change(
        &mut self,
        id: &str,
        by: &AccountId,
        now: Time,
    ) -> Result<()> {
        sqlx::query(
            "UPDATE provenance_changes SET confirmed_by = $2, confirmed_at = $3, starts_at = $3, \
             ends_at = $3 + (ends_at - starts_at) WHERE id = $1",
        )
        .bind(id.to_owned())
        .bind(by.0.clone())
        .bind(now.0)
        .execute(&mut *self.inner)
        .await
        .map_err(failed)?;
        Ok(())
    }

    /// Closes a change before its end; false where it is closed or over.
    pub(crate) async fn close_provenance_change(&mut self, id: &str, now: Time) -> Result<bool> {
        let done = sqlx::query(
            "UPDATE provenance_changes SET closed_at = $2 WHERE id = $1 AND closed_at IS NULL AND ends_at > $2",
        )
        .bind(id.to_owned())
        .bind(now.0)
        .execute(&mut *self.inner)
        .await
        .map_err(failed)?;
        Ok(done.rows_affected() == 1)
    }

    /// Writes an identity.
    pub(crate) async fn insert_identity(
        &mut self,
        project: &ProjectId,
        row: &IdentityRow,
    ) -> Result<()> {
        sqlx::query(
            "INSERT INTO attestation_identities (id, project_id, issuer, repository, workflow, account_id, created_at) \
             VALUES ($1, $2, $3, $4, $5, $6, $7)",
        )
        .bind(row.id.clone())
        .bind(project.0.clone())
        .bind(row.issuer.clone())
        .bind(row.repository.clone())
        .bind(row.workflow.clone())
        .bind(row.account.as_ref().map(|id| id.0.clone()))
        .bind(row.created.0)
        .execute(&mut *self.inner)
        .await
        .map_err(failed)?;
        Ok(())
    }

    /// Removes an identity; false where there is none.
    pub(crate) async fn remove_identity(
        &mut self,
        project: &ProjectId,
        id: &str,
        now: Time,
    ) -> Result<bool> {
        let done = sqlx::query(
            "UPDATE attestation_identities SET removed_at = $3 WHERE project_id = $1 AND id = $2 AND removed_at IS NULL",
        )
        .bind(project.0.clone())
        .bind(id.to_owned())
        .bind(now.0)
        .execute(&mut *self.inner)
        .await
        .map_err(failed)?;
        Ok(done.rows_affected() == 1)
    }

    /// Keeps a trust root's document for ever, by its digest.
    pub(crate) async fn keep_root_document(
        &mut self,
        digest: &str,
        body: &str,
        now: Time,
    ) -> Result<()> {
        sqlx::query(
            "INSERT INTO trust_root_documents (digest, body, created_at) VALUES ($1, $2, $3) ON CONFLICT (digest) DO NOTHING",
        )
        .bind(digest.to_owned())
        .bind(body.to_owned())
        .bind(now.0)
        .execute(&mut *self.inner)
        .await
        .map_err(failed)?;
        Ok(())
    }

    /// The row of a trust root as it stands now: its id, and when it was refreshed.
    pub(crate) async fn trust_root_stands(
        &mut self,
        name: &str,
    ) -> Result<Option<(String, Option<Time>)>> {
        let row = sqlx::query(
            "SELECT id, refreshed_at FROM trust_roots WHERE name = $1 AND removed_at IS NULL",
        )
        .bind(name.to_owned())
        .fetch_optional(&mut *self.inner)
        .await
        .map_err(failed)?;
        row.map(|row| Ok((text(&row, "id")?, maybe_time(&row, "refreshed_at")?)))
            .transpose()
    }

    /// Writes a trust root; the one of the same name is removed first.
    pub(crate) async fn put_trust_root(&mut self, row: &TrustRootRow, now: Time) -> Result<()> {
        self.keep_root_document(&row.digest, &row.body, now).await?;
        self.remove_trust_root(&row.name, now).await?;
        sqlx::query(
            "INSERT INTO trust_roots (id, name, kind, digest, tuf_url, tuf_state, created_at, refreshed_at, problem) \
             VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9)",
        )
        .bind(row.id.clone())
        .bind(row.name.clone())
        .bind(row.kind.clone())
        .bind(row.digest.clone())
        .bind(row.tuf_url.clone())
        .bind(row.tuf_state.clone())
        .bind(row.created.0)
        .bind(row.refreshed.map(|at| at.0))
        .bind(row.problem.clone())
        .execute(&mut *self.inner)
        .await
        .map_err(failed)?;
        Ok(())
    }

    /// Writes what a refresh found that brought no other document.
    pub(crate) async fn note_refresh(&mut self, id: &str, row: &TrustRootRow) -> Result<()> {
        sqlx::query(
            "UPDATE trust_roots SET tuf_state = $2, refreshed_at = $3, problem = $4 WHERE id = $1",
        )
        .bind(id.to_owned())
        .bind(row.tuf_state.clone())
        .bind(row.refreshed.map(|at| at.0))
        .bind(row.problem.clone())
        .execute(&mut *self.inner)
        .await
        .map_err(failed)?;
        Ok(())
    }

    /// Removes a trust root; false where there is none.
    pub(crate) async fn remove_trust_root(&mut self, name: &str, now: Time) -> Result<bool> {
        let done = sqlx::query(
            "UPDATE trust_roots SET removed_at = $2 WHERE name = $1 AND removed_at IS NULL",
        )
        .bind(name.to_owned())
        .bind(now.0)
        .execute(&mut *self.inner)
        .await
        .map_err(failed)?;
        Ok(done.rows_affected() == 1)
    }

    /// Writes what a look at a source found.
    pub(crate) async fn set_source_check(&mut self, row: &SourceCheckRow) -> Result<()> {
        sqlx::query(
            "UPDATE source_checks SET state = $4, detail = $5, checked_at = $6, failing_since = $7, failures = $8, due_at = $9 \
             WHERE repository = $1 AND commit_hash = $2 AND workflow = $3",
        )
        .bind(row.source.repository.clone())
        .bind(row.source.commit.clone())
        .bind(row.source.workflow.clone())
        .bind(row.state.clone())
        .bind(row.detail.clone())
        .bind(row.checked.map(|at| at.0))
        .bind(row.failing_since.map(|at| at.0))
        .bind(super::signed(row.failures))
        .bind(row.due.0)
        .execute(&mut *self.inner)
        .await
        .map_err(failed)?;
        Ok(())
    }

    /// Writes that attestations were held against today's roots, with the same outcome for all of them.
    pub(crate) async fn set_rechecked(
        &mut self,
        ids: &[&str],
        problem: Option<&str>,
        now: Time,
    ) -> Result<()> {
        for chunk in ids.chunks(1_000) {
            let sql = format!(
                "UPDATE attestations SET rechecked_at = $1, recheck_problem = $2 WHERE id IN ({})",
                places(chunk.len(), 3)
            );
            let mut query = sqlx::query(built(sql))
                .bind(now.0)
                .bind(problem.map(str::to_owned));
            for id in chunk {
                query = query.bind((*id).to_owned());
            }
            query.execute(&mut *self.inner).await.map_err(failed)?;
        }
        Ok(())
    }
}
