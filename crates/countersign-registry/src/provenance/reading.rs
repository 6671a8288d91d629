//! What is served of provenance.

use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;
use countersign_formats::{Ecosystem, format, purl};
use countersign_trust::digest::Sha256;
use countersign_trust::sigstore::Provenance;
use serde_json::Value;

use super::unknown_file;
use crate::Registry;
use crate::error::{Error, Kind, Result};
use crate::fetch::Document;
use crate::model::{
    AttestationDetail, ChangeKind, FileProvenance, Maker, ReleaseStanding, SourceState, SourceTuple,
};
use crate::policy::provenance::{Likeness, likeness};
use crate::store::{AttestationRow, AttestedFile, CheckedSource};

/// Digests that one question may have, files that are looked up for them, and bytes of attestations in one answer.
const DIGESTS_AT_MOST: usize = 100;
const FILES_AT_MOST: u32 = 200;
const BYTES_AT_MOST: u64 = 8 << 20;

/// A loss is written down in the transaction that makes the release, a moment after it in rows.
const SAME_MOMENT: i64 = 60;

impl Registry {
    /// What is known of a file's build. Serves what is served: withheld files are unknown here too.
    ///
    /// # Errors
    /// `file-unknown`.
    pub async fn file_provenance(&self, purl: &str) -> Result<FileProvenance> {
        let found = self.inner.store.attested_file(purl).await?;
        let file = self
            .unveiled_maybe(found)
            .await?
            .ok_or_else(|| unknown_file(purl))?;
        self.with_attestations(vec![file])
            .await?
            .pop()
            .ok_or_else(|| unknown_file(purl))
    }

    /// The same for every file of a release.
    ///
    /// # Errors
    /// `release-unknown`.
    pub async fn release_provenance(
        &self,
        ecosystem: Ecosystem,
        project: &str,
        version: &str,
    ) -> Result<Vec<FileProvenance>> {
        let files = self.release_files(ecosystem, project, version).await?;
        self.with_attestations(files).await
    }

    /// A part of that, and how many files there are in all.
    ///
    /// # Errors
    /// `release-unknown`.
    pub async fn release_provenance_part(
        &self,
        ecosystem: Ecosystem,
        project: &str,
        version: &str,
        offset: usize,
        limit: usize,
    ) -> Result<(Vec<FileProvenance>, usize)> {
        let files = self.release_files(ecosystem, project, version).await?;
        let total = files.len();
        let part = files.into_iter().skip(offset).take(limit).collect();
        Ok((self.with_attestations(part).await?, total))
    }

    async fn release_files(
        &self,
        ecosystem: Ecosystem,
        project: &str,
        version: &str,
    ) -> Result<Vec<AttestedFile>> {
        let key = format(ecosystem).name_key(project)?;
        let version = format(ecosystem).version(version)?;
        let files = self
            .inner
            .store
            .attested_files(ecosystem.as_str(), key.as_str(), version.key())
            .await?;
        let files = self.unveiled_all(files).await?;
        if files.is_empty() {
            return Err(Error::new(
                Kind::NotFound,
                "release-unknown",
                format!(
                    "No file of a release {} of {key} is served here.",
                    version.canonical()
                ),
            )
            .remedy("The releases that there are stand on the project's page."));
        }
        Ok(files)
    }

    /// How a release stands to what its project published before.
    ///
    /// # Errors
    /// `release-unknown`, `project-unknown`.
    pub async fn release_standing(
        &self,
        ecosystem: Ecosystem,
        project: &str,
        version: &str,
    ) -> Result<ReleaseStanding> {
        let files = self.release_files(ecosystem, project, version).await?;
        let Some(first) = files.first() else {
            return Ok(ReleaseStanding::default());
        };
        let (highest, known) = self
            .inner
            .store
            .published_before(&first.project, first.release_created)
            .await?;
        // Files from before levels were kept say nothing either way.
        let lowest = files.iter().filter_map(|file| file.level).min();
        let lost = highest
            .zip(lowest)
            .filter(|(highest, lowest)| lowest < highest);
        let moved = known.and_then(|known| {
            let other =
                |offered: &&SourceTuple| matches!(likeness(&known, offered), Likeness::Other(_));
            let offered = files.iter().filter_map(|file| file.source.as_ref());
            offered
                .clone()
                .find(other)
                .cloned()
                .map(|to| (known.clone(), to))
        });
        if lost.is_none() && moved.is_none() {
            return Ok(ReleaseStanding::default());
        }
        let changes = self
            .inner
            .store
            .provenance_changes(&first.project, self.now())
            .await?;
        let reason = changes
            .iter()
            .filter(|change| {
                let grace = if change.kind == ChangeKind::Loss {
                    SAME_MOMENT
                } else {
                    0
                };
                change.opened <= first.release_created.plus_seconds(grace)
                    && change
                        .used
                        .is_some_and(|used| used >= first.release_created)
            })
            .find(|change| match change.kind {
                ChangeKind::Exception => lost.is_some(),
                ChangeKind::Loss => true,
                ChangeKind::Move => moved.as_ref().is_some_and(|(_, to)| {
                    change
                        .to
                        .as_ref()
                        .is_some_and(|said| !matches!(likeness(said, to), Likeness::Other(_)))
                }),
                ChangeKind::Rename => false,
            })
            .map(|change| change.reason.clone());
        Ok(ReleaseStanding {
            lost,
            moved,
            reason,
        })
    }

    /// The bytes of an attestation of a file that is served, as received, by their own SHA-256.
    ///
    /// # Errors
    /// `attestation-unknown`.
    pub async fn attestation_bytes(&self, digest: &Sha256) -> Result<Document> {
        let found = self
            .inner
            .store
            .attestation_body(&digest.to_string())
            .await?;
        let body = self.unveiled_maybe(found).await?.ok_or_else(|| {
            Error::new(
                Kind::NotFound,
                "attestation-unknown",
                format!("There is no attestation with the SHA-256 {digest} here."),
            )
            .remedy(
                "To ask by the digest of a file, send a POST to /api/v1/attestations/by-digest.",
            )
        })?;
        Ok(Document::new(Bytes::from(body), 0))
    }

    /// The same by SHA-256, for those of the digests that are files here; at most 100 at a time.
    ///
    /// # Errors
    /// `too-many-digests`.
    pub async fn provenance_by_digest(&self, digests: &[Sha256]) -> Result<Vec<FileProvenance>> {
        if digests.len() > DIGESTS_AT_MOST {
            return Err(Error::new(
                Kind::Rejected,
                "too-many-digests",
                format!(
                    "{} digests were asked for; at most {DIGESTS_AT_MOST} are answered at a time.",
                    digests.len()
                ),
            )
            .remedy("Ask in several parts."));
        }
        let digests: Vec<String> = digests.iter().map(ToString::to_string).collect();
        let files = self
            .inner
            .store
            .files_by_digest(&digests, FILES_AT_MOST)
            .await?;
        let files = self.unveiled_all(files).await?;
        let ids: Vec<_> = files.iter().map(|file| file.id.clone()).collect();
        let bytes = self.inner.store.attestation_bytes(&ids).await?;
        if bytes > BYTES_AT_MOST {
            return Err(Error::new(
                Kind::Rejected,
                "too-many-digests",
                format!(
                    "The attestations of these files are {bytes} bytes; at most {BYTES_AT_MOST} are answered at a time."
                ),
            )
            .remedy("Ask in several parts."));
        }
        self.with_attestations(files).await
    }

    /// A file's provenance object of the Python integrity API (PEP 740), its attestations byte for byte as received.
    ///
    /// # Errors
    /// `file-unknown`, `provenance-none`.
    pub async fn integrity_document(
        &self,
        project: &str,
        version: &str,
        filename: &str,
    ) -> Result<Document> {
        self.provenance_document(Ecosystem::Pypi, project, version, filename)
            .await
    }

    /// The same for a file of any ecosystem whose attestations are sent in that form.
    ///
    /// # Errors
    /// `file-unknown`, `provenance-none`.
    pub async fn provenance_document(
        &self,
        ecosystem: Ecosystem,
        project: &str,
        version: &str,
        filename: &str,
    ) -> Result<Document> {
        let key = format(ecosystem).name_key(project)?;
        let version = format(ecosystem).version(version)?;
        let identifier = purl::file_purl(ecosystem, &key, version.canonical(), filename);
        let found = self.inner.store.attested_file(&identifier).await?;
        let file = self
            .unveiled_maybe(found)
            .await?
            .ok_or_else(|| unknown_file(&identifier))?;
        let rows = self.inner.store.attestations_of(&[file.id]).await?;
        let mut bundles: Vec<(Value, Vec<&[u8]>)> = Vec::new();
        for row in rows.iter().filter(|row| row.has_place_in_index()) {
            let Some(publisher) = &row.publisher else {
                continue;
            };
            let publisher: Value = serde_json::from_str(publisher)
                .map_err(|source| Error::internal("a stored publisher is malformed", source))?;
            match bundles.iter_mut().find(|(other, _)| *other == publisher) {
                Some((_, list)) => list.push(row.body.as_bytes()),
                None => bundles.push((publisher, vec![row.body.as_bytes()])),
            }
        }
        if bundles.is_empty() {
            return Err(Error::new(
                Kind::NotFound,
                "provenance-none",
                format!("No provenance available for {filename}."),
            )
            .remedy("Its publisher sent none. The registry's own attestations are at /api/v1/attestations/."));
        }
        let body = Provenance::render(&bundles).map_err(|refusal| {
            Error::internal("a stored attestation is malformed", refusal.to_string())
        })?;
        Ok(Document::new(Bytes::from(body), 0))
    }

    async fn with_attestations(&self, files: Vec<AttestedFile>) -> Result<Vec<FileProvenance>> {
        let ids: Vec<_> = files.iter().map(|file| file.id.clone()).collect();
        let rows = self.inner.store.attestations_of(&ids).await?;
        let sources: BTreeSet<&CheckedSource> =
            rows.iter().filter_map(|row| row.source.as_ref()).collect();
        let sources: Vec<CheckedSource> = sources.into_iter().cloned().collect();
        let states: BTreeMap<CheckedSource, SourceState> = self
            .inner
            .store
            .source_checks(&sources)
            .await?
            .into_iter()
            .map(|row| {
                let state = SourceState {
                    state: row.state,
                    detail: row.detail,
                    checked: row.checked,
                };
                (row.source, state)
            })
            .collect();
        files
            .into_iter()
            .map(|file| {
                let attestations = rows
                    .iter()
                    .filter(|row| row.file == file.id && !is_superseded(row, &rows))
                    .map(|row| detail(row, &states))
                    .collect();
                Ok(FileProvenance {
                    ecosystem: crate::store::ecosystem(&file.ecosystem)?,
                    project: file.project_name,
                    key: file.project_key,
                    version: file.version,
                    filename: file.filename,
                    purl: file.purl,
                    sha256: file.sha256,
                    level: file.level,
                    source: file.source,
                    attestations,
                })
            })
            .collect()
    }
}

/// Did the registry say the same again later, by its newest key or of more attestations? Then the newest counts.
fn is_superseded(row: &AttestationRow, all: &[AttestationRow]) -> bool {
    row.maker == Maker::Registry
        && all.iter().any(|other| {
            other.maker == Maker::Registry
                && other.file == row.file
                && other.predicate_type == row.predicate_type
                && (other.created, &other.id) > (row.created, &row.id)
        })
}

fn detail(
    row: &AttestationRow,
    states: &BTreeMap<CheckedSource, SourceState>,
) -> AttestationDetail {
    let source_state = row
        .source
        .as_ref()
        .and_then(|source| states.get(source).cloned());
    AttestationDetail {
        digest: row.digest.clone(),
        maker: row.maker,
        form: row.form,
        predicate_type: row.predicate_type.clone(),
        statement_digest: row.statement_digest.clone(),
        verdict: row.verdict,
        claims: row.claims.clone(),
        shown: row.shown.clone(),
        signed: row.signed,
        taken: row.created,
        root_digest: row.root_digest.clone(),
        rechecked: row.rechecked,
        recheck_problem: row.recheck_problem.clone(),
        source_state,
        body: row.body.clone(),
        publisher: row.publisher.clone(),
    }
}
