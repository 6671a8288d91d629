//! Fetch hands out bytes that were rendered when something changed.
//!
//! Memory first. A serving process asks ten times a second whether another one changed anything that is served; as long
//! as none did, memory is right: what this process changes, it changes in memory too, at its commit. After a foreign
//! change each entry is asked for once more, by its project's serial; so is an entry older than [`FRESH`] where nobody
//! watches. Whether a file may be served is decided here and nowhere else.

mod log;
mod pages;

use std::collections::{HashMap, HashSet};
use std::io::Write as _;
use std::ops::Range;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use bytes::Bytes;
use countersign_formats::npm::documents::{About, Person};
use countersign_formats::pypi::documents::{self, LegacyFile, LegacyRelease};
use countersign_formats::pypi::{html, metadata};
use countersign_formats::{Ecosystem, NameKey, format, purl};
use countersign_trust::digest::Sha256;
use countersign_trust::tlog::{EntriesId, TileId};
use futures::stream::BoxStream;
use futures::{StreamExt, TryStreamExt};

use crate::Registry;
use crate::error::{Error, Kind, Result};
use crate::heartbeat::{
    Shown, document_path, file_url, file_view, newer, project_head, render_index, render_packument,
    simple_path, tile_path,
};
use crate::model::{
    AccountId, FileDetail, FileId, FileOrigin, FileState, Health, LoggedEvent, Page, ProjectDetail,
    ProjectId, ProjectStatus, ProjectSummary, ReleaseDetail, ReleaseSummary, Role, Time,
};
use crate::settings::{AdvisoryBlock, Settings};
use crate::store::{FileRow, ProjectState, ReleaseRow, Store};

/// How long memory is believed without asking the database, in microseconds.
pub(crate) const FRESH: i64 = 200_000;

/// How often a serving process looks for foreign changes, in milliseconds.
const WATCH: u64 = 100;

/// The list of all names may lag behind by this much, in microseconds: it is large, and installers never read it.
const INDEX_LAG: i64 = 10_000_000;

/// Files up to this size are served from memory.
const SMALL: u64 = 64 << 10;

/// How hard documents are packed: the snapshot of a large TUF repository is a new one with each commit.
const PACKING: flate2::Compression = flate2::Compression::new(5);

/// A complete response body with its validator.
#[derive(Clone, Debug)]
pub struct Document {
    /// The bytes.
    pub bytes: Bytes,
    /// A strong entity tag over the bytes, quoted.
    pub etag: String,
    /// The serial that it shows.
    pub serial: u64,
    /// Whose it is, as its owners write the name; empty where it is nobody's. Some clients take another spelling for
    /// another project.
    pub name: Arc<str>,
    pub(crate) sha256: Sha256,
    /// Packed by gzip, once somebody asked for that.
    packed: OnceLock<Bytes>,
}

impl Document {
    /// Bytes that belong to no project.
    pub fn rendered(bytes: Bytes) -> Self {
        Self::new(bytes, 0)
    }

    pub(crate) fn new(bytes: Bytes, serial: u64) -> Self {
        let sha256 = Sha256::of(&bytes);
        Self {
            etag: format!("\"{}\"", &sha256.to_hex()[..32]),
            bytes,
            serial,
            name: Arc::default(),
            sha256,
            packed: OnceLock::new(),
        }
    }

    /// The bytes packed by gzip. The first call packs them, some 30 MB in a second; where that fails they stay as they are,
    /// and there is nothing.
    pub fn packed(&self) -> Option<Bytes> {
        let packed = self.packed.get_or_init(|| {
            let mut packer = flate2::write::GzEncoder::new(Vec::new(), PACKING);
            let done = packer.write_all(&self.bytes).and_then(|()| packer.finish());
            done.map(Bytes::from).unwrap_or_default()
        });
        (!packed.is_empty()).then(|| packed.clone())
    }

    /// Is there a packed form already?
    pub fn is_packed(&self) -> bool {
        self.packed.get().is_some()
    }

    pub(crate) fn of(mut self, name: &str) -> Self {
        self.name = name.into();
        self
    }
}

/// Which document.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum DocumentKey {
    /// Python's list of projects, JSON.
    SimpleIndexJson,
    /// Python's list of projects, HTML.
    SimpleIndexHtml,
    /// A project's index by name key, the one rendering that is signed: Python's in JSON, Cargo's lines, npm's abbreviated
    /// packument.
    Index(Ecosystem, String),
    /// A project's index by name key, HTML, derived from the JSON.
    SimpleHtml(Ecosystem, String),
    /// npm's full packument by name key.
    Packument(String),
    /// The legacy JSON of a project by name key.
    LegacyJson(String),
    /// The legacy JSON of a release by name key and version.
    LegacyRelease(String, String),
}

impl DocumentKey {
    fn project(&self) -> Option<(Ecosystem, &str)> {
        match self {
            Self::SimpleIndexJson | Self::SimpleIndexHtml => None,
            Self::Index(ecosystem, key) | Self::SimpleHtml(ecosystem, key) => {
                Some((*ecosystem, key))
            }
            Self::LegacyJson(key) | Self::LegacyRelease(key, _) => Some((Ecosystem::Pypi, key)),
            Self::Packument(key) => Some((Ecosystem::Npm, key)),
        }
    }
}

/// A file that may be served.
#[derive(Debug)]
pub struct ServedFile {
    /// File name.
    pub filename: String,
    /// Size in bytes.
    pub size: u64,
    /// SHA-256, hex.
    pub sha256: String,
    /// The bytes, for small files; they were checked against the digest when they were read.
    pub memory: Option<Bytes>,
    id: FileId,
    project: ProjectId,
}

impl ServedFile {
    pub(crate) fn id(&self) -> &FileId {
        &self.id
    }
}

struct Entry<T> {
    value: Arc<T>,
    checked: AtomicI64,
}

/// What memory holds.
pub(crate) struct Cache {
    documents: moka::sync::Cache<DocumentKey, Arc<Entry<Document>>>,
    files: moka::sync::Cache<(String, String), Arc<Entry<ServedFile>>>,
    /// The digests of files that clients ask for by name. A name has one digest for ever, so nothing here goes stale;
    /// whether the file may be had is asked of `files`.
    named: moka::sync::Cache<(Ecosystem, String, String), String>,
    tiles: moka::sync::Cache<String, Bytes>,
    downloads: Mutex<HashMap<(FileId, ProjectId), u64>>,
    /// Who downloaded what on which day, where that is kept.
    downloaders: Mutex<HashSet<(AccountId, FileId, i64)>>,
    /// Grows with every [`Cache::forget`]: what was read before one may not be kept after it.
    epoch: AtomicU64,
    /// When the last look for foreign changes began that found memory right.
    watched: AtomicI64,
    /// When a foreign change was last noticed: older entries are in doubt.
    changed: AtomicI64,
    /// The same of what withholds: lists, which may lag behind what is published, must not show what was hidden.
    withheld: AtomicI64,
}

impl Cache {
    pub(crate) fn new(capacity: u64) -> Self {
        Self {
            documents: moka::sync::Cache::builder()
                .max_capacity(capacity / 2)
                .weigher(|_, entry: &Arc<Entry<Document>>| {
                    u32::try_from(entry.value.bytes.len() + 256).unwrap_or(u32::MAX)
                })
                .build(),
            files: moka::sync::Cache::builder()
                .max_capacity(capacity / 2)
                .weigher(|_, entry: &Arc<Entry<ServedFile>>| {
                    u32::try_from(entry.value.memory.as_ref().map_or(0, Bytes::len) + 512)
                        .unwrap_or(u32::MAX)
                })
                .build(),
            named: moka::sync::Cache::builder().max_capacity(200_000).build(),
            tiles: moka::sync::Cache::builder()
                .max_capacity((capacity / 16).max(1 << 20))
                .weigher(|_, bytes: &Bytes| u32::try_from(bytes.len() + 128).unwrap_or(u32::MAX))
                .build(),
            downloads: Mutex::default(),
            downloaders: Mutex::default(),
            epoch: AtomicU64::new(0),
            watched: AtomicI64::new(i64::MIN),
            changed: AtomicI64::new(i64::MIN),
            withheld: AtomicI64::new(i64::MIN),
        }
    }

    /// May an entry that was checked then be handed out now?
    fn is_fresh(&self, checked: i64, now: Time) -> bool {
        let unwatched = now.0.saturating_sub(self.watched.load(Ordering::Acquire));
        if (0..2 * FRESH).contains(&unwatched) {
            return checked <= now.0 && checked > self.changed.load(Ordering::Acquire);
        }
        (0..FRESH).contains(&now.0.saturating_sub(checked))
            && checked > self.changed.load(Ordering::Acquire)
    }

    /// Somebody else changed what is served: entries checked until `now`, the time at which this was noticed, are asked
    /// for once more.
    pub(crate) fn doubt(&self, now: Time) {
        self.changed.fetch_max(now.0, Ordering::AcqRel);
    }

    /// Something was withheld: lists from until `now` are made anew, however young they are.
    pub(crate) fn hide(&self, now: Time) {
        self.withheld.fetch_max(now.0, Ordering::AcqRel);
    }

    /// To be asked before anything is read that will be kept.
    pub(crate) fn epoch(&self) -> u64 {
        self.epoch.load(Ordering::Acquire)
    }

    /// Keeps a document that was read or rendered since `epoch`, unless something was withheld meanwhile.
    pub(crate) fn put(&self, key: DocumentKey, document: Arc<Document>, now: Time, epoch: u64) {
        if self.epoch() != epoch {
            return;
        }
        self.documents.insert(
            key,
            Arc::new(Entry {
                value: document,
                checked: AtomicI64::new(now.0),
            }),
        );
    }

    /// Keeps a download until it is written, while fewer than so many wait.
    pub(crate) fn keep_downloader(&self, seen: (AccountId, FileId, i64), most: usize) {
        let mut waiting = self
            .downloaders
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        if waiting.len() < most {
            waiting.insert(seen);
        }
    }

    /// Hands out the downloads that wait.
    pub(crate) fn take_downloaders(&self) -> HashSet<(AccountId, FileId, i64)> {
        std::mem::take(
            &mut *self
                .downloaders
                .lock()
                .unwrap_or_else(PoisonError::into_inner),
        )
    }

    /// Forgets what memory holds of a project and of some of its files. Called after the commit that withholds.
    pub(crate) fn forget(
        &self,
        ecosystem: Ecosystem,
        key: &str,
        files: impl IntoIterator<Item = (String, String)>,
    ) {
        self.epoch.fetch_add(1, Ordering::AcqRel);
        self.documents
            .invalidate(&DocumentKey::Index(ecosystem, key.to_owned()));
        self.documents
            .invalidate(&DocumentKey::SimpleHtml(ecosystem, key.to_owned()));
        self.documents
            .invalidate(&DocumentKey::LegacyJson(key.to_owned()));
        self.documents
            .invalidate(&DocumentKey::Packument(key.to_owned()));
        for file in files {
            self.files.invalidate(&file);
        }
    }
}

impl Registry {
    /// A document from memory, if it is there and fresh. Synchronous and cheap: the hot path.
    pub fn cached_document(&self, key: &DocumentKey) -> Option<Arc<Document>> {
        // Versions are spelled in many ways, so that a release's document can not be forgotten by its key: its serial is
        // asked for each time.
        if matches!(key, DocumentKey::LegacyRelease(..)) {
            return None;
        }
        let entry = self.inner.fetch.documents.get(key)?;
        let (now, checked) = (self.now(), entry.checked.load(Ordering::Relaxed));
        let fresh = match key.project() {
            Some(_) => self.inner.fetch.is_fresh(checked, now),
            None => {
                (0..INDEX_LAG).contains(&(now.0 - checked))
                    && checked > self.inner.fetch.withheld.load(Ordering::Acquire)
            }
        };
        fresh.then(|| entry.value.clone())
    }

    /// Looks for changes that other processes made to what is served: their beats move the head, their withholding
    /// moves a mark. Where the look fails, memory is soon in doubt by itself.
    pub(crate) async fn watch(&self) {
        let mut known = None;
        loop {
            let began = self.now().0;
            let seen = async {
                let mark = self.inner.store.instance("withheld").await?;
                let head = self.inner.store.head(self.inner.shard).await?;
                Ok::<_, Error>((mark, head.map_or(0, |head| head.size)))
            };
            if let Ok((mark, size)) = seen.await {
                let foreign = size > self.inner.beat.served().head.size;
                if foreign {
                    self.inner.beat.doubt_head();
                    // The process that wrote it may be gone: the map is this one's to keep.
                    self.log_grew();
                }
                if foreign || known.as_ref() != Some(&mark) {
                    // Now, not when the look began: an entry checked meanwhile may be from before the change.
                    self.inner.fetch.doubt(self.now());
                    if known.as_ref() != Some(&mark) {
                        self.inner.fetch.hide(self.now());
                    }
                    known = Some(mark);
                }
                if (!foreign || self.fresh_head(size).await.is_ok())
                    && self.watch_tuf().await.is_ok()
                {
                    self.inner.fetch.watched.store(began, Ordering::Release);
                }
            }
            tokio::time::sleep(std::time::Duration::from_millis(WATCH)).await;
        }
    }

    /// A document.
    ///
    /// # Errors
    /// `project-unknown`, `release-unknown`; a refused name.
    pub async fn document(&self, key: &DocumentKey) -> Result<Arc<Document>> {
        if let Some(document) = self.cached_document(key) {
            return Ok(document);
        }
        let (now, epoch) = (self.now(), self.inner.fetch.epoch());
        let Some((ecosystem, name)) = key.project() else {
            return self.index(key, now).await;
        };
        let Some((state, _)) = self.shown_project(ecosystem, name).await? else {
            return Err(unknown_project(name));
        };
        // Memory answers without asking who reads: nothing private gets or stays there.
        let private = state.private.is_some();
        if !private
            && let Some(entry) = self.inner.fetch.documents.get(key)
            && entry.value.serial == state.serial
        {
            entry.checked.store(now.0, Ordering::Relaxed);
            return Ok(entry.value.clone());
        }
        let document = match key {
            DocumentKey::Index(..) => self.signed_index(&state, ecosystem).await?,
            DocumentKey::Packument(_) => self.packument(&state).await?,
            DocumentKey::SimpleHtml(ecosystem, name) => {
                let json =
                    Box::pin(self.document(&DocumentKey::Index(*ecosystem, name.clone()))).await?;
                let text = std::str::from_utf8(&json.bytes)
                    .map_err(|source| Error::internal("a document is not UTF-8", source))?;
                Document::new(html::project_html(text)?.into(), json.serial)
            }
            DocumentKey::LegacyJson(_) => self.legacy_json(&state, ecosystem, None).await?,
            DocumentKey::LegacyRelease(_, version) => {
                self.legacy_json(&state, ecosystem, Some(version)).await?
            }
            DocumentKey::SimpleIndexJson | DocumentKey::SimpleIndexHtml => {
                return self.index(key, now).await;
            }
        };
        let document = Arc::new(document.of(&state.name));
        if !private {
            self.inner
                .fetch
                .put(key.clone(), document.clone(), now, epoch);
        }
        // Read from the database, it may name leaves that memory's checkpoint does not cover yet.
        self.inner.beat.doubt_head();
        Ok(document)
    }

    /// The project of this key, as far as the reader sees it.
    pub(crate) async fn shown_project(
        &self,
        ecosystem: Ecosystem,
        key: &str,
    ) -> Result<Option<(ProjectState, Time)>> {
        let found = self.inner.store.visible_project(ecosystem, key).await?;
        self.unveiled_maybe(found).await
    }

    /// The stored rendering of a project's index, or, where it is missing, damaged or outdated, a new one from the rows.
    async fn signed_index(&self, state: &ProjectState, ecosystem: Ecosystem) -> Result<Document> {
        if let Some((digest, serial)) = self
            .inner
            .store
            .document_pointer(
                &simple_path(ecosystem, &state.key),
                &self.inner.settings.rendered_for(),
            )
            .await?
            && serial == state.serial
            && let Some(document) = self.stored_document(&digest).await?
        {
            return Ok(Document { serial, ..document });
        }
        let text = rendered_index(&self.inner.store, state, &self.inner.settings).await?;
        Ok(Document::new(text.into(), state.serial))
    }

    /// A stored rendering by its digest; nothing where it is missing or damaged.
    pub(crate) async fn stored_document(&self, digest: &str) -> Result<Option<Document>> {
        let path = document_path(digest);
        let Some(bytes) = self.inner.blobs.get(&path, 1 << 30).await? else {
            return Ok(None);
        };
        let document = Document::new(bytes, 0);
        if document.sha256.to_hex() == digest {
            return Ok(Some(document));
        }
        tracing::warn!(path, "a stored document is damaged and is rendered again");
        Ok(None)
    }

    /// An npm package's full packument, from the rows.
    async fn packument(&self, state: &ProjectState) -> Result<Document> {
        let store = &self.inner.store;
        let files = store.files_of(&state.id).await?;
        let readme = match latest_of(Ecosystem::Npm, &files) {
            Some(newest) => {
                let manifest = store.manifest(&newest.id).await?;
                let name = manifest
                    .details
                    .npm()
                    .and_then(|package| package.readme_filename.clone());
                manifest
                    .description
                    .map(|text| (name.unwrap_or_else(|| "README.md".to_owned()), text))
            }
            None => None,
        };
        let maintainers = store
            .people_of(&state.id)
            .await?
            .into_iter()
            // Whom npm's `owner` adds and removes; others who may publish are its collaborators.
            .filter(|(_, role)| *role == Role::Owner)
            .map(|(name, _)| Person {
                name,
                email: String::new(),
            })
            .collect();
        let about = About {
            maintainers,
            readme,
            stars: Vec::new(),
        };
        let files = self.shown(Ecosystem::Npm, files).await?;
        let tags = store
            .tags_of(std::slice::from_ref(&state.id))
            .await?
            .remove(&state.id)
            .unwrap_or_default();
        let text = render_packument(state, &files, &tags, &about, &self.inner.settings)?;
        Ok(Document::new(text.into(), state.serial))
    }

    /// A file that a client asks for by project and name. Memory first.
    ///
    /// # Errors
    /// As [`Registry::file`].
    pub async fn named_file(
        &self,
        ecosystem: Ecosystem,
        key: &NameKey,
        filename: &str,
    ) -> Result<Arc<ServedFile>> {
        if let Some(file) = self.cached_named_file(ecosystem, key, filename) {
            return Ok(file);
        }
        let asked = (ecosystem, key.as_str().to_owned(), filename.to_owned());
        let found = self
            .inner
            .store
            .digest_of_name(ecosystem, key.as_str(), filename)
            .await?;
        let sha256 = self.unveiled_maybe(found).await?.ok_or_else(|| {
            let shown: String = filename.chars().take(120).collect();
            Error::new(
                Kind::NotFound,
                "file-unknown",
                format!("There is no file {shown:?} of {key} here."),
            )
            .remedy("Take the link from the project's index.")
        })?;
        self.inner.fetch.named.insert(asked, sha256.clone());
        self.file(&sha256, filename).await
    }

    /// What [`Registry::named_file`] finds in memory: the hot path.
    pub fn cached_named_file(
        &self,
        ecosystem: Ecosystem,
        key: &NameKey,
        filename: &str,
    ) -> Option<Arc<ServedFile>> {
        let asked = (ecosystem, key.as_str().to_owned(), filename.to_owned());
        let sha256 = self.inner.fetch.named.get(&asked)?;
        self.cached_file(&sha256, filename)
    }

    async fn index(&self, key: &DocumentKey, now: Time) -> Result<Arc<Document>> {
        let epoch = self.inner.fetch.epoch();
        let keys = self.inner.store.project_keys(Ecosystem::Pypi).await?;
        let serial = self.inner.closed_leaves + self.inner.beat.served().head.size;
        let json = documents::index_json(keys.iter().map(String::as_str), serial);
        let html = html::index_html(keys.iter().map(|key| (key.as_str(), key.as_str())), serial);
        let (json, html) = (
            Arc::new(Document::new(json.into(), serial)),
            Arc::new(Document::new(html.into(), serial)),
        );
        self.inner
            .fetch
            .put(DocumentKey::SimpleIndexJson, json.clone(), now, epoch);
        self.inner
            .fetch
            .put(DocumentKey::SimpleIndexHtml, html.clone(), now, epoch);
        Ok(if *key == DocumentKey::SimpleIndexJson {
            json
        } else {
            html
        })
    }

    async fn legacy_json(
        &self,
        state: &ProjectState,
        ecosystem: Ecosystem,
        version: Option<&str>,
    ) -> Result<Document> {
        let files = if state.status == ProjectStatus::Quarantined {
            Vec::new()
        } else {
            self.inner.store.files_of(&state.id).await?
        };
        let site = self.inner.settings.site();
        let mut releases: Vec<LegacyRelease> = Vec::new();
        for file in &files {
            let mut view = file_view(file, site);
            view.url = format!("{site}{}", view.url);
            let legacy = LegacyFile {
                view,
                filetype: file.filetype.clone(),
                python_tag: file.python_tag.clone(),
                md5: Some(file.md5.clone()),
                blake2_256: Some(file.blake2b_256.clone()),
            };
            match releases
                .iter_mut()
                .find(|release| release.version == file.version)
            {
                Some(release) => release.files.push(legacy),
                None => releases.push(LegacyRelease {
                    version: file.version.clone(),
                    files: vec![legacy],
                }),
            }
        }
        let wanted = match version {
            None => state.latest.clone(),
            Some(version) => format(ecosystem).version(version)?.canonical().to_owned(),
        };
        let key = format(ecosystem)
            .version(&wanted)
            .map(|version| version.key().to_owned());
        let same = |other: &str| {
            key.as_ref().is_ok_and(|key| {
                format(ecosystem)
                    .version(other)
                    .is_ok_and(|other| other.key() == key)
            })
        };
        let Some(shown) = files
            .iter()
            .filter(|file| same(&file.version))
            .max_by_key(|file| file.filetype == "bdist_wheel")
        else {
            return Err(Error::new(
                Kind::NotFound,
                "release-unknown",
                format!("There is no version {wanted} of {} here.", state.name),
            )
            .remedy("Look at the project's page for its versions."));
        };
        let manifest = self.full_manifest(&shown.id).await?;
        let pages = format!("{site}/project/{ecosystem}/{}", state.key);
        let head = project_head(
            state,
            releases
                .iter()
                .map(|release| release.version.clone())
                .collect(),
            state.serial,
        )?;
        let text = match version {
            None => documents::project_legacy_json(&head, &manifest, &releases, &pages),
            Some(_) => {
                let release = releases
                    .iter()
                    .find(|release| release.version == shown.version);
                let release = release.ok_or_else(|| {
                    Error::internal("a release lost its files", shown.version.clone())
                })?;
                documents::release_legacy_json(&head, &manifest, release, &pages)
            }
        };
        Ok(Document::new(text.into(), state.serial))
    }

    /// What an archive says, with the long description: Python's is read again from its metadata.
    async fn full_manifest(&self, id: &FileId) -> Result<countersign_formats::Manifest> {
        let mut manifest = self.inner.store.manifest(id).await?;
        if manifest.ecosystem != Ecosystem::Pypi {
            return Ok(manifest);
        }
        let parsed =
            metadata::CoreMetadata::parse(&manifest.metadata_bytes, &self.inner.settings.limits)?;
        manifest.description = parsed.description().map(str::to_owned);
        Ok(manifest)
    }

    /// A file from memory, if it is there and fresh: the hot path.
    pub fn cached_file(&self, sha256: &str, filename: &str) -> Option<Arc<ServedFile>> {
        let entry = self
            .inner
            .fetch
            .files
            .get(&(sha256.to_owned(), filename.to_owned()))?;
        let checked = entry.checked.load(Ordering::Relaxed);
        let fresh = self.inner.fetch.is_fresh(checked, self.now());
        fresh.then(|| entry.value.clone())
    }

    /// A file that may be served.
    ///
    /// # Errors
    /// `file-unknown`, `file-quarantined`, `file-removed`, `file-pending`, `blob-missing`.
    pub async fn file(&self, sha256: &str, filename: &str) -> Result<Arc<ServedFile>> {
        if let Some(file) = self.cached_file(sha256, filename) {
            return Ok(file);
        }
        let (now, epoch) = (self.now(), self.inner.fetch.epoch());
        let key = (sha256.to_owned(), filename.to_owned());
        let (row, private) = self.servable(sha256, filename).await?;
        // Memory answers without asking who reads: nothing private gets or stays there.
        if private {
            self.inner.fetch.files.invalidate(&key);
        } else if let Some(entry) = self.inner.fetch.files.get(&key) {
            entry.checked.store(now.0, Ordering::Relaxed);
            return Ok(entry.value.clone());
        }
        let memory = if row.size <= SMALL {
            let bytes = self
                .inner
                .blobs
                .get(crate::blobs::artifact_path(sha256).as_ref(), SMALL)
                .await?
                .ok_or_else(|| missing_blob(filename))?;
            if Sha256::of(&bytes).to_hex() != row.sha256 {
                return Err(Error::unavailable(
                    "blob-damaged",
                    format!(
                        "The stored bytes of {filename} are not those that were published; they are not served."
                    ),
                )
                .remedy(RESTORE));
            }
            Some(bytes)
        } else {
            None
        };
        let file = Arc::new(ServedFile {
            filename: row.filename,
            size: row.size,
            sha256: row.sha256,
            memory,
            id: row.id,
            project: row.project,
        });
        if !private && self.inner.fetch.epoch() == epoch {
            let entry = Entry {
                value: file.clone(),
                checked: AtomicI64::new(now.0),
            };
            self.inner.fetch.files.insert(key, Arc::new(entry));
        }
        Ok(file)
    }

    /// The one place where it is decided whether a file's bytes may go out, and whether to everybody (`false`) or to this
    /// reader.
    async fn servable(&self, sha256: &str, filename: &str) -> Result<(FileRow, bool)> {
        let found = self.inner.store.file_by_digest(sha256, filename).await?;
        let private = found
            .as_ref()
            .is_some_and(|found| found.private().is_some());
        let row = self.unveiled_maybe(found).await?.ok_or_else(|| {
            Error::new(
                Kind::NotFound,
                "file-unknown",
                format!("There is no file {filename} with this digest here."),
            )
            .remedy("Take the link from the project's index.")
        })?;
        let gone = |code: &'static str, message: String, remedy: &str| {
            Err(Error::new(Kind::NotFound, code, message).remedy(remedy.to_owned()))
        };
        // Withheld, not absent: whoever asks is told why.
        let withheld = |code: &'static str, message: String, remedy: &str| {
            Err(Error::new(Kind::Denied, code, message).remedy(remedy.to_owned()))
        };
        let reason = row
            .withheld_reason
            .as_deref()
            .map(|reason| format!(" Reason: {reason}"))
            .unwrap_or_default();
        match row.state {
            FileState::Live if row.leaf.is_some() => {}
            FileState::Held if row.leaf.is_some() => {
                return withheld(
                    "file-held",
                    format!("{filename} waits for a review before it is served.{reason}"),
                    "Choose another version, or ask again later.",
                );
            }
            FileState::Live | FileState::Staged | FileState::Held => {
                return gone(
                    "file-pending",
                    format!("{filename} is not in the transparency log yet."),
                    "Try again in a moment.",
                );
            }
            FileState::Quarantined => {
                return withheld(
                    "file-quarantined",
                    format!("{filename} is in quarantine.{reason}"),
                    "Choose another version.",
                );
            }
            FileState::Removed => {
                return gone(
                    "file-removed",
                    format!("{filename} was deleted.{reason}"),
                    "Choose another version.",
                );
            }
        }
        if self.inner.store.project_withheld(&row.project).await? {
            return withheld(
                "project-quarantined",
                format!("The project of {filename} is in quarantine."),
                "Choose another project.",
            );
        }
        if self.inner.settings.advisories.block == AdvisoryBlock::Never {
            return Ok((row, private));
        }
        let named = purl::parse(&row.purl)?;
        let forbidden = self
            .forbidden_by_advisory(named.ecosystem, named.name_key.as_str(), &row.version)
            .await?;
        if let Some(concern) = forbidden {
            let told = &concern.advisory;
            let what = match (told.malware, told.summary.as_str()) {
                (true, "") => "malware".to_owned(),
                (true, summary) => format!("malware: {summary}"),
                (false, "") => format!("severity {}", told.rating.grade.as_str()),
                (false, summary) => format!("{summary} (severity {})", told.rating.grade.as_str()),
            };
            let choice = match &concern.fixed {
                Some(fixed) => format!("Choose version {fixed} or a later one"),
                None => "Choose another version".to_owned(),
            };
            return withheld(
                "release-advised-against",
                format!("{filename} is not served here: {} says {what}.", told.id),
                &format!("{choice}, or ask the operator of this registry for an exemption."),
            );
        }
        Ok((row, private))
    }

    /// Streams a range of a file's bytes.
    ///
    /// # Errors
    /// `blob-missing`, `blobs-unreachable`.
    pub async fn open_file(
        &self,
        file: &ServedFile,
        range: Range<u64>,
    ) -> Result<BoxStream<'static, std::io::Result<Bytes>>> {
        let whole = range == (0..file.size);
        let range = if whole { None } else { Some(range) };
        let stream = self
            .inner
            .blobs
            .stream(crate::blobs::artifact_path(&file.sha256).as_ref(), range)
            .await?;
        let stream = stream.ok_or_else(|| missing_blob(&file.filename))?;
        Ok(stream.map_err(std::io::Error::other).boxed())
    }

    /// The `.metadata` sibling of a wheel.
    ///
    /// # Errors
    /// As [`Registry::file`]; `metadata-unknown` for sdists.
    pub async fn metadata(&self, sha256: &str, filename: &str) -> Result<Document> {
        let (row, _) = self.servable(sha256, filename).await?;
        let text = match row.filetype.as_str() {
            "bdist_wheel" => self.inner.store.metadata_text(&row.metadata_sha256).await?,
            _ => None,
        };
        let text = text.ok_or_else(|| {
            Error::new(
                Kind::NotFound,
                "metadata-unknown",
                format!("{filename} has no metadata sibling; only wheels do."),
            )
        })?;
        Ok(Document::new(text.into(), row.leaf.unwrap_or(0)))
    }

    /// Counts a download; written to the database by a chore.
    pub fn count_download(&self, file: &ServedFile) {
        let mut downloads = self
            .inner
            .fetch
            .downloads
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        *downloads
            .entry((file.id.clone(), file.project.clone()))
            .or_insert(0) += 1;
    }

    pub(crate) async fn flush_downloads(&self) {
        let counted: HashMap<_, _> = std::mem::take(
            &mut *self
                .inner
                .fetch
                .downloads
                .lock()
                .unwrap_or_else(PoisonError::into_inner),
        );
        if counted.is_empty() {
            return;
        }
        let mut rows: Vec<_> = counted
            .into_iter()
            .map(|((file, project), count)| (file, project, count))
            .collect();
        // In one order everywhere, so that two servers never wait for each other's rows.
        rows.sort_by(|a, b| a.0.cmp(&b.0));
        if let Err(error) = self
            .inner
            .store
            .add_downloads(self.now().day(), &rows)
            .await
        {
            tracing::warn!(%error, files = rows.len(), "download counts could not be written; they are tried again");
            let mut downloads = self
                .inner
                .fetch
                .downloads
                .lock()
                .unwrap_or_else(PoisonError::into_inner);
            for (file, project, count) in rows {
                *downloads.entry((file, project)).or_insert(0) += count;
            }
        }
    }
}

/// The signed rendering of a project's index from its rows. The heartbeat's spliced one has the same bytes.
pub(crate) async fn rendered_index(
    store: &Store,
    state: &ProjectState,
    settings: &Settings,
) -> Result<String> {
    let ecosystem = crate::store::ecosystem(&state.ecosystem)?;
    let files = store.files_of(&state.id).await?;
    let files = Shown::read(store, ecosystem, files).await?;
    let tags = match ecosystem {
        Ecosystem::Npm => store
            .tags_of(std::slice::from_ref(&state.id))
            .await?
            .remove(&state.id)
            .unwrap_or_default(),
        Ecosystem::Pypi | Ecosystem::Cargo => Vec::new(),
    };
    render_index(state, &files, &tags, settings)
}

/// The newest version that is not yanked; where all are, the newest.
pub(crate) fn latest_of<'a>(ecosystem: Ecosystem, files: &'a [FileRow]) -> Option<&'a FileRow> {
    let best = |files: &mut dyn Iterator<Item = &'a FileRow>| {
        files.fold(None::<&FileRow>, |best, file| match best {
            Some(best) if !newer(ecosystem, &file.version, &best.version) => Some(best),
            _ => Some(file),
        })
    };
    best(&mut files.iter().filter(|file| file.yanked.is_none())).or_else(|| best(&mut files.iter()))
}

pub(crate) fn unknown_project(name: &str) -> Error {
    let shown: String = name.chars().take(120).collect();
    Error::new(
        Kind::NotFound,
        "project-unknown",
        format!("There is no project {shown:?} here."),
    )
    .remedy("Check the spelling, or search for it.")
}

fn missing_blob(filename: &str) -> Error {
    Error::unavailable(
        "blob-missing",
        format!("The stored bytes of {filename} are missing."),
    )
    .remedy(RESTORE)
}

/// What helps against bytes that are lost or damaged.
const RESTORE: &str = "Tell the operator: `countersignd doctor --deep` finds every such file, and a backup brings the bytes back.";
