//! Rendering in the beat: a new file costs its project one fragment and one hash.

use super::*;

pub(super) struct RenderedPage {
    pub(super) row: DocumentRow,
    pub(super) status: crate::model::ProjectStatus,
    pub(super) ecosystem: Ecosystem,
    pub(super) key: String,
    pub(super) fragments: Arc<Fragments>,
    pub(super) latest: Option<(String, String)>,
    pub(super) document: Document,
}

/// A project's index document in parts, so that a new file costs one fragment.
pub(super) struct Fragments {
    pub(super) serial: u64,
    pub(super) versions: Vec<String>,
    pub(super) fragments: Vec<Arc<str>>,
    pub(super) latest: String,
}

impl Registry {
    /// Renders the documents of the projects that gain a file with these leaves.
    pub(super) async fn render_gaining(
        &self,
        leaves: &[NumberedLeaf],
        now: Time,
    ) -> Result<Vec<RenderedPage>> {
        let mut gaining: Vec<ProjectId> = Vec::new();
        let mut seen: HashSet<&ProjectId> = HashSet::new();
        let mut files: HashMap<FileId, u64> = HashMap::new();
        for leaf in leaves
            .iter()
            .filter(|leaf| leaf.kind == LeafKind::FilePublished.as_str())
        {
            let (Some(project), Some(file)) = (&leaf.project, &leaf.file) else {
                return Err(Error::internal(
                    "a published leaf has no file",
                    leaf.index.to_string(),
                ));
            };
            files.insert(file.clone(), leaf.index);
            if seen.insert(project) {
                gaining.push(project.clone());
            }
        }
        if gaining.is_empty() {
            return Ok(Vec::new());
        }
        let ids: Vec<FileId> = files.keys().cloned().collect();
        let mut fresh: HashMap<ProjectId, Vec<FileRow>> = HashMap::new();
        for mut row in self.inner.store.files_by_id(&ids).await? {
            row.leaf = files.get(&row.id).copied();
            row.leaf_shard = Some(self.inner.shard);
            row.live = Some(now);
            // Withheld between commit and beat: it has its leaf and is not shown.
            if row.state == crate::model::FileState::Staged {
                fresh.entry(row.project.clone()).or_default().push(row);
            }
        }
        let mut pages = Vec::with_capacity(gaining.len());
        for state in self.inner.store.project_states(&gaining).await? {
            let known = match self
                .inner
                .beat
                .projects
                .get(&state.id)
                .filter(|known| known.serial == state.serial)
            {
                Some(known) => known,
                None => Arc::new(Fragments::of(
                    state.serial,
                    &self.inner.store.files_of(&state.id).await?,
                    self.inner.settings.site(),
                )),
            };
            let mut added = fresh.remove(&state.id).unwrap_or_default();
            added.sort_by_key(|row| row.leaf);
            let ecosystem = crate::store::ecosystem(&state.ecosystem)?;
            let (fragments, latest) = known.with(
                state.serial + 1,
                ecosystem,
                &added,
                self.inner.settings.site(),
            );
            let head = project_head(&state, fragments.versions.clone(), state.serial + 1)?;
            let body = documents::project_json_from_fragments(&head, &fragments.fragments);
            let document = Document::new(Bytes::from(body), state.serial + 1);
            pages.push(RenderedPage {
                row: DocumentRow {
                    path: simple_path(ecosystem, &state.key),
                    project: state.id.clone(),
                    digest: document.sha256.to_string(),
                    size: document.bytes.len() as u64,
                    serial: state.serial + 1,
                },
                status: state.status,
                ecosystem,
                key: state.key.clone(),
                fragments: Arc::new(fragments),
                latest,
                document,
            });
        }
        Ok(pages)
    }
}

impl Fragments {
    pub(super) fn of(serial: u64, files: &[FileRow], site: &str) -> Self {
        let empty = Self {
            serial,
            versions: Vec::new(),
            fragments: Vec::new(),
            latest: String::new(),
        };
        empty.with(serial, Ecosystem::Pypi, files, site).0
    }

    /// These with more files; where the newest version changed, that version and its summary.
    pub(super) fn with(
        &self,
        serial: u64,
        ecosystem: Ecosystem,
        files: &[FileRow],
        site: &str,
    ) -> (Self, Option<(String, String)>) {
        let mut next = Self {
            serial,
            versions: self.versions.clone(),
            fragments: self.fragments.clone(),
            latest: self.latest.clone(),
        };
        let mut changed = None;
        for file in files {
            next.fragments
                .push(documents::file_fragment(&file_view(file, site)).into());
            if !next.versions.contains(&file.version) {
                next.versions.push(file.version.clone());
            }
            let takes_over =
                next.latest.is_empty() || newer(ecosystem, &file.version, &next.latest);
            if (takes_over && file.yanked.is_none()) || file.version == next.latest {
                next.latest.clone_from(&file.version);
                changed = Some((file.version.clone(), file.summary.clone()));
            }
        }
        (next, changed)
    }
}

/// Is `a` what a list should show rather than `b`? Releases come before pre-releases, then the higher version.
pub(crate) fn newer(ecosystem: Ecosystem, a: &str, b: &str) -> bool {
    match (format(ecosystem).version(a), format(ecosystem).version(b)) {
        (Ok(a), Ok(b)) => (!a.is_prerelease(), a) > (!b.is_prerelease(), b),
        (Ok(_), Err(_)) => true,
        _ => false,
    }
}

/// A file as the index document shows it. Links are root-relative: they hold wherever the registry is reached. Only that of
/// its provenance is whole, as PEP 740 demands.
pub(crate) fn file_view(file: &FileRow, site: &str) -> FileView {
    let url = file_url(&file.sha256, &file.filename);
    FileView {
        filename: file.filename.clone(),
        proof_url: Some(format!("{url}.tlog-proof")),
        url,
        sha256: file.sha256.clone(),
        size: file.size,
        upload_time: file.live.unwrap_or(file.staged).0,
        requires_python: file.requires_python.clone(),
        yanked: file.yanked.as_ref().map(|(_, reason)| reason.clone()),
        metadata_sha256: (file.filetype == "bdist_wheel").then(|| file.metadata_sha256.clone()),
        provenance: file
            .attested
            .map(|_| format!("{site}{}", provenance_path(file))),
        leaf_index: file.leaf.unwrap_or(0),
    }
}

/// Path of a file's provenance object below the site.
fn provenance_path(file: &FileRow) -> String {
    let key = purl::parse(&file.purl)
        .map(|parsed| parsed.name_key.as_str().to_owned())
        .unwrap_or_default();
    format!(
        "/pypi/integrity/{key}/{}/{}/provenance",
        file.version,
        file.filename.replace('+', "%2B")
    )
}

/// Path of an artifact below the site. File names hold only characters that stand for themselves in a path, but `+`.
pub(crate) fn file_url(sha256: &str, filename: &str) -> String {
    format!("/files/{sha256}/{}", filename.replace('+', "%2B"))
}

pub(crate) fn project_head(
    state: &crate::store::ProjectState,
    versions: Vec<String>,
    serial: u64,
) -> Result<ProjectHead> {
    use crate::model::ProjectStatus as Ours;
    use documents::ProjectStatus as Theirs;
    Ok(ProjectHead {
        name_key: NameKey::from_stored(state.key.clone()),
        display_name: state.name.clone(),
        status: match state.status {
            Ours::Active => Theirs::Active,
            Ours::Archived => Theirs::Archived,
            Ours::Quarantined => Theirs::Quarantined,
            Ours::Deprecated => Theirs::Deprecated,
        },
        status_reason: state.status_reason.clone(),
        versions,
        last_serial: serial,
    })
}

/// Path of a document's bytes in the blob store.
pub(crate) fn document_path(digest: &str) -> String {
    format!("documents/{}/{digest}", digest.get(..2).unwrap_or("00"))
}

/// Logical path of a project's simple index document.
pub(crate) fn simple_path(ecosystem: Ecosystem, key: &str) -> String {
    format!("{ecosystem}/simple/{key}")
}
