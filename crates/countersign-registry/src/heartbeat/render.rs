//! Rendering in the beat: a new file costs its project one fragment and one hash.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use countersign_formats::cargo::OwnIndex;
use countersign_formats::cargo::index::{self, Entry, Published};
use countersign_formats::npm::documents::{
    self as npm, About, Attestations, Dist, Fragment, PackageHead, Person, Publisher, Signature,
    TrustedPublisher, VersionView,
};
use countersign_formats::npm::name::PackageName;
use countersign_formats::npm::tags::LATEST;
use countersign_trust::sigstore::PredicateKind;

use super::*;
use crate::settings::Settings;
use crate::store::{DistTag, FileExtras, ProjectState, Store};

pub(super) struct RenderedPage {
    pub(super) row: DocumentRow,
    pub(super) status: crate::model::ProjectStatus,
    pub(super) ecosystem: Ecosystem,
    pub(super) key: String,
    /// Not everybody may see it.
    pub(super) private: bool,
    pub(super) fragments: Arc<Fragments>,
    pub(super) latest: Option<(String, String)>,
    pub(super) document: Document,
}

/// A project's index document in parts, so that a new file costs one fragment.
pub(super) struct Fragments {
    pub(super) serial: u64,
    pub(super) versions: Vec<String>,
    pub(super) fragments: Vec<Fragment>,
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
        let states = self.inner.store.project_states(&gaining).await?;
        let npm: Vec<ProjectId> = states
            .iter()
            .filter(|state| state.ecosystem == Ecosystem::Npm.as_str())
            .map(|state| state.id.clone())
            .collect();
        let mut tags = self.inner.store.tags_of(&npm).await?;
        for state in states {
            let ecosystem = crate::store::ecosystem(&state.ecosystem)?;
            let known = match self
                .inner
                .beat
                .projects
                .get(&state.id)
                .filter(|known| known.serial == state.serial)
            {
                Some(known) => known,
                None => {
                    let files = self.inner.store.files_of(&state.id).await?;
                    let rows = self.shown(ecosystem, files).await?;
                    let (all, _) = Fragments::empty(state.serial).with(
                        state.serial,
                        ecosystem,
                        &rows,
                        &self.inner.settings,
                    )?;
                    Arc::new(all)
                }
            };
            let mut added = fresh.remove(&state.id).unwrap_or_default();
            added.sort_by_key(|row| row.leaf);
            let added = self.shown(ecosystem, added).await?;
            let (fragments, latest) =
                known.with(state.serial + 1, ecosystem, &added, &self.inner.settings)?;
            let next = ProjectState {
                serial: state.serial + 1,
                updated: now,
                ..state.clone()
            };
            let tags = tags.remove(&state.id).unwrap_or_default();
            let body = fragments.document(&next, ecosystem, &tags)?;
            let document = Document::new(Bytes::from(body), next.serial).of(&state.name);
            pages.push(RenderedPage {
                row: DocumentRow {
                    path: simple_path(ecosystem, &state.key),
                    project: state.id.clone(),
                    digest: document.sha256.to_string(),
                    size: document.bytes.len() as u64,
                    serial: next.serial,
                    rendered_for: self.inner.settings.rendered_for(),
                },
                status: state.status,
                ecosystem,
                key: state.key.clone(),
                private: state.private.is_some(),
                fragments: Arc::new(fragments),
                latest,
                document,
            });
        }
        Ok(pages)
    }

    /// Rows with what their ecosystem's documents show besides.
    pub(crate) async fn shown(
        &self,
        ecosystem: Ecosystem,
        files: Vec<FileRow>,
    ) -> Result<Vec<Shown>> {
        Shown::read(&self.inner.store, ecosystem, files).await
    }
}

/// A file with all that documents show of it.
pub(crate) struct Shown {
    pub(crate) row: FileRow,
    /// Nothing for Python, whose rows hold everything.
    pub(crate) extras: Option<FileExtras>,
}

impl Shown {
    /// Reads what the rows lack.
    pub(crate) async fn read(
        store: &Store,
        ecosystem: Ecosystem,
        files: Vec<FileRow>,
    ) -> Result<Vec<Shown>> {
        let mut extras = match ecosystem {
            Ecosystem::Pypi => HashMap::new(),
            Ecosystem::Cargo | Ecosystem::Npm => {
                let ids: Vec<FileId> = files.iter().map(|file| file.id.clone()).collect();
                store.extras_of(&ids).await?
            }
        };
        Ok(files
            .into_iter()
            .map(|row| Shown {
                extras: extras.remove(&row.id),
                row,
            })
            .collect())
    }

    fn extras(&self) -> Result<&FileExtras> {
        self.extras
            .as_ref()
            .ok_or_else(|| Error::internal("a file lost its manifest", self.row.filename.clone()))
    }

    /// The line of a crate in its index.
    fn line(&self, own: &OwnIndex, site: &str) -> Result<String> {
        let row = &self.row;
        let published = Published {
            sha256: row.sha256.clone(),
            size: Some(row.size),
            yanked: row.yanked.is_some(),
            time: Some(row.live.unwrap_or(row.staged).0),
            leaf_index: row.leaf,
            proof_url: Some(format!(
                "{site}{}.tlog-proof",
                file_url(&row.sha256, &row.filename)
            )),
        };
        let entry = Entry::new(&self.extras()?.manifest, published)
            .ok_or_else(|| Error::internal("a crate has no details", row.filename.clone()))?;
        Ok(entry.line(own))
    }

    /// A version of an npm package, as both packuments show it.
    pub(crate) fn npm_version(&self, settings: &Settings) -> Result<VersionView> {
        let (row, extras, site) = (&self.row, self.extras()?, settings.site());
        let broken = |what: &str| Error::internal(what, row.filename.clone());
        let package = extras
            .manifest
            .details
            .npm()
            .ok_or_else(|| broken("an npm package has no details"))?
            .clone();
        let name = PackageName::parse(&extras.manifest.name)?;
        let sha512 = row
            .sha512
            .as_deref()
            .and_then(|text| hex::decode(text).ok())
            .ok_or_else(|| broken("a tarball has no SHA-512"))?;
        let dist = Dist {
            tarball: format!("{site}/npm/{}", name.tarball_path(&row.version)),
            shasum: row.sha1.clone().unwrap_or_default(),
            integrity: format!("sha512-{}", STANDARD.encode(sha512)),
            sha256: row.sha256.clone(),
            size: row.size,
            unpacked_size: extras.manifest.unpacked_size,
            signatures: extras
                .signatures
                .iter()
                .map(|(keyid, sig)| Signature {
                    keyid: keyid.clone(),
                    sig: sig.clone(),
                })
                .collect(),
            attestations: extras
                .attested
                .iter()
                .find(|kind| settings.npm_attestations && PredicateKind::of(kind).is_provenance())
                .map(|kind| Attestations {
                    // Clients take the path alone, and put it behind the registry's host: without our `/npm`.
                    url: format!(
                        "{site}/-/npm/v1/attestations/{}@{}",
                        name.as_str().replacen('/', "%2f", 1),
                        row.version
                    ),
                    predicate_type: kind.clone(),
                }),
            leaf_index: row.leaf.unwrap_or(0),
            proof_url: Some(format!(
                "{site}{}.tlog-proof",
                file_url(&row.sha256, &row.filename)
            )),
        };
        let trusted = extras
            .trusted
            .as_ref()
            .map(|(provider, registration)| TrustedPublisher {
                id: provider.clone(),
                config_id: registration.clone(),
            });
        let person = row.uploader.clone().or_else(|| {
            extras
                .trusted
                .as_ref()
                .map(|(provider, _)| provider.clone())
        });
        Ok(VersionView {
            package,
            dist,
            deprecated: row.deprecated.clone(),
            published: row.live.unwrap_or(row.staged).0,
            // Addresses of people stand in no document.
            publisher: person.map(|name| Publisher {
                person: Person {
                    name,
                    email: String::new(),
                },
                trusted,
                approver: extras.approver.clone().map(|name| Person {
                    name,
                    email: String::new(),
                }),
            }),
        })
    }

    /// `own` is there for a crate.
    fn fragment(
        &self,
        ecosystem: Ecosystem,
        own: Option<&OwnIndex>,
        settings: &Settings,
    ) -> Result<Fragment> {
        let row = &self.row;
        let json = match (ecosystem, own) {
            (Ecosystem::Pypi, _) => documents::file_fragment(&file_view(row, settings.site())),
            (Ecosystem::Cargo, Some(own)) => self.line(own, settings.site())?,
            (Ecosystem::Cargo, None) => {
                return Err(Error::internal("a crate met no index of ours", "own"));
            }
            (Ecosystem::Npm, _) => {
                return Ok(npm::abbreviated_fragment(&self.npm_version(settings)?));
            }
        };
        Ok(Fragment {
            version: row.version.clone(),
            published: row.live.unwrap_or(row.staged).0,
            json: json.into(),
        })
    }
}

/// A project's index document from its rows: what the heartbeat puts together from fragments has the same bytes.
pub(crate) fn render_index(
    state: &ProjectState,
    files: &[Shown],
    tags: &[DistTag],
    settings: &Settings,
) -> Result<String> {
    let ecosystem = crate::store::ecosystem(&state.ecosystem)?;
    let (fragments, _) =
        Fragments::empty(state.serial).with(state.serial, ecosystem, files, settings)?;
    fragments.document(state, ecosystem, tags)
}

/// An npm package's full packument.
pub(crate) fn render_packument(
    state: &ProjectState,
    files: &[Shown],
    tags: &[DistTag],
    about: &About,
    settings: &Settings,
) -> Result<String> {
    let fragments: Vec<Fragment> = files
        .iter()
        .map(|file| Ok(npm::full_fragment(&file.npm_version(settings)?)))
        .collect::<Result<_>>()?;
    let head = package_head(state, &fragments, tags);
    Ok(npm::full_from_fragments(&head, about, &fragments))
}

/// The tags of a package as they are served. A tag that points to what is not served shows what it pointed to before, or
/// nothing; `latest` is always there, since clients install nothing without it.
pub(crate) fn served_tags(versions: &[&str], stored: &[DistTag]) -> Vec<(String, String)> {
    let served = |version: &&String| versions.contains(&version.as_str());
    let mut tags: Vec<(String, String)> = stored
        .iter()
        .filter_map(|tag| {
            let version = Some(&tag.version)
                .filter(served)
                .or(tag.before.as_ref().filter(served))?;
            Some((tag.tag.clone(), version.clone()))
        })
        .collect();
    if !tags.iter().any(|(tag, _)| tag == LATEST) {
        let newest = versions.iter().copied().reduce(|best, version| {
            if newer(Ecosystem::Npm, version, best) {
                version
            } else {
                best
            }
        });
        if let Some(version) = newest {
            tags.push((LATEST.to_owned(), version.to_owned()));
        }
    }
    tags
}

/// What stands above the versions of a packument.
fn package_head(state: &ProjectState, fragments: &[Fragment], tags: &[DistTag]) -> PackageHead {
    let versions: Vec<&str> = fragments
        .iter()
        .map(|fragment| fragment.version.as_str())
        .collect();
    PackageHead {
        name: state.name.clone(),
        tags: served_tags(&versions, tags),
        created: state.created.0,
        modified: state.updated.0,
        quarantined: state.status == crate::model::ProjectStatus::Quarantined,
        serial: state.serial,
    }
}

impl Fragments {
    fn empty(serial: u64) -> Self {
        Self {
            serial,
            versions: Vec::new(),
            fragments: Vec::new(),
            latest: String::new(),
        }
    }

    /// These with more files; where the newest version changed, that version and its summary.
    fn with(
        &self,
        serial: u64,
        ecosystem: Ecosystem,
        files: &[Shown],
        settings: &Settings,
    ) -> Result<(Self, Option<(String, String)>)> {
        let mut next = Self {
            serial,
            versions: self.versions.clone(),
            fragments: self.fragments.clone(),
            latest: self.latest.clone(),
        };
        let mut changed = None;
        let own = match ecosystem {
            Ecosystem::Cargo => Some(settings.own_index()?),
            Ecosystem::Pypi | Ecosystem::Npm => None,
        };
        for shown in files {
            let file = &shown.row;
            next.fragments
                .push(shown.fragment(ecosystem, own.as_ref(), settings)?);
            // Elsewhere every file is a version of its own.
            if ecosystem == Ecosystem::Pypi && !next.versions.contains(&file.version) {
                next.versions.push(file.version.clone());
            }
            let takes_over =
                next.latest.is_empty() || newer(ecosystem, &file.version, &next.latest);
            if (takes_over && file.yanked.is_none()) || file.version == next.latest {
                next.latest.clone_from(&file.version);
                changed = Some((file.version.clone(), file.summary.clone()));
            }
        }
        Ok((next, changed))
    }

    /// The document that they make.
    fn document(
        &self,
        state: &ProjectState,
        ecosystem: Ecosystem,
        tags: &[DistTag],
    ) -> Result<String> {
        Ok(match ecosystem {
            Ecosystem::Pypi => {
                let head = project_head(state, self.versions.clone(), state.serial)?;
                let texts: Vec<&str> = self.fragments.iter().map(|file| &*file.json).collect();
                documents::project_json_from_fragments(&head, &texts)
            }
            Ecosystem::Cargo if state.status == crate::model::ProjectStatus::Quarantined => {
                String::new()
            }
            Ecosystem::Cargo => {
                index::from_lines(self.fragments.iter().map(|version| &*version.json))
            }
            Ecosystem::Npm => {
                let head = package_head(state, &self.fragments, tags);
                npm::abbreviated_from_fragments(&head, &self.fragments)
            }
        })
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
