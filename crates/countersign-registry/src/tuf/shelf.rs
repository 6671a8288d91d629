//! What is served of the repositories. A timestamp is in memory, and believed for as long as this process watches for
//! others' commits; every other file never changes under its name.

use std::collections::HashMap;
use std::sync::{Arc, PoisonError, RwLock};

use bytes::Bytes;
use countersign_formats::Ecosystem;

use super::{OWN, ROOTS};
use crate::Registry;
use crate::error::{Error, Kind, Result};
use crate::fetch::{Document, DocumentKey};
use crate::model::Time;
use crate::store::TufPublication;

/// The one file that is replaced.
const TIMESTAMP: &str = "timestamp.json";

/// Bytes of files kept in memory, over all repositories.
const FILES: u64 = 48 << 20;

/// What everybody who asks for a repository's timestamp gets.
#[derive(Clone)]
struct Newest {
    version: u64,
    timestamp: Arc<Document>,
    /// The version of its newest root: each client asks for the one after it.
    root: u64,
    /// When this was last known to be the newest.
    checked: Time,
}

/// What memory holds of all repositories.
pub(crate) struct Shelf {
    newest: RwLock<HashMap<String, Newest>>,
    files: moka::sync::Cache<(String, String), Arc<Document>>,
}

impl Default for Shelf {
    fn default() -> Self {
        Self {
            newest: RwLock::default(),
            files: moka::sync::Cache::builder()
                .max_capacity(FILES)
                .weigher(|(_, file): &(String, String), document: &Arc<Document>| {
                    // Packed it is a third as long again, at most.
                    let bytes = document.bytes.len() / 3 * 4;
                    u32::try_from(bytes + file.len() + 256).unwrap_or(u32::MAX)
                })
                .build(),
        }
    }
}

impl Shelf {
    /// Shows a commit of this process.
    pub(super) fn take(&self, name: &str, publication: &TufPublication, now: Time) {
        let mut root = None;
        let mut timestamp = None;
        for file in &publication.files {
            let bytes = Bytes::from(file.body.clone());
            let document = Arc::new(Document::new(bytes, file.version));
            match file.role.as_str() {
                "timestamp" => {
                    timestamp = Some(document);
                    continue;
                }
                "root" => root = root.max(Some(file.version)),
                _ => {}
            }
            self.files
                .insert((name.to_owned(), file.file.clone()), document);
        }
        let mut newest = self.newest.write().unwrap_or_else(PoisonError::into_inner);
        let known = newest.get(name).cloned();
        let later = known
            .as_ref()
            .is_some_and(|known| known.version > publication.version);
        let root = root.or(known.map(|known| known.root));
        if let (Some(timestamp), Some(root), false) = (timestamp, root, later) {
            let shown = Newest {
                version: publication.version,
                timestamp,
                root,
                checked: now,
            };
            newest.insert(name.to_owned(), shown);
        }
    }

    fn newest(&self, name: &str) -> Option<Newest> {
        let newest = self.newest.read().unwrap_or_else(PoisonError::into_inner);
        newest.get(name).cloned()
    }

    /// These are the newest versions now; returns those that memory does not have.
    fn compare(&self, versions: &[(String, u64)], now: Time) -> Vec<String> {
        let mut newest = self.newest.write().unwrap_or_else(PoisonError::into_inner);
        let mut behind = Vec::new();
        for (name, version) in versions {
            match newest.get_mut(name) {
                Some(known) if known.version >= *version => known.checked = known.checked.max(now),
                // What nobody asked for yet is read when somebody does.
                None => {}
                Some(_) => behind.push(name.clone()),
            }
        }
        behind
    }
}

impl Registry {
    /// Looks whether another process published. Part of the watch.
    pub(crate) async fn watch_tuf(&self) -> Result<()> {
        let began = self.now();
        let versions = self.inner.store.tuf_versions().await?;
        for name in self.inner.tuf.shelf.compare(&versions, began) {
            self.read_newest(&name).await?;
        }
        Ok(())
    }

    async fn read_newest(&self, name: &str) -> Result<Option<Newest>> {
        let (store, now) = (&self.inner.store, self.now());
        let Some(row) = store.tuf_file(name, TIMESTAMP).await? else {
            return Ok(None);
        };
        // After the timestamp: a commit between both looks makes the root newer, never older, than what it needs.
        let root = store.tuf_newest(name, "root").await?;
        let shown = Newest {
            version: row.version,
            timestamp: Arc::new(Document::new(row.body.into(), row.version)),
            root: root.map_or(0, |root| root.version),
            checked: now,
        };
        let mut newest = self
            .inner
            .tuf
            .shelf
            .newest
            .write()
            .unwrap_or_else(PoisonError::into_inner);
        let known = newest.entry(name.to_owned()).or_insert(shown.clone());
        if shown.version >= known.version {
            *known = shown;
        }
        Ok(Some(known.clone()))
    }

    /// A file of a repository's metadata from memory, if it is there and fresh.
    pub fn cached_tuf_file(&self, repository: &str, file: &str) -> Option<Arc<Document>> {
        let shelf = &self.inner.tuf.shelf;
        if file == TIMESTAMP {
            let newest = shelf.newest(repository)?;
            let age = self.now().0 - newest.checked.0;
            return (0..crate::fetch::FRESH)
                .contains(&age)
                .then_some(newest.timestamp);
        }
        shelf.files.get(&(repository.to_owned(), file.to_owned()))
    }

    /// A file of a repository's metadata.
    ///
    /// # Errors
    /// `tuf-file-unknown`.
    pub async fn tuf_file(&self, repository: &str, file: &str) -> Result<Arc<Document>> {
        if let Some(document) = self.cached_tuf_file(repository, file) {
            return Ok(document);
        }
        let unknown = || {
            let shown: String = file.chars().take(80).collect();
            Error::new(
                Kind::NotFound,
                "tuf-file-unknown",
                format!("There is no {shown:?} in this TUF repository."),
            )
            .remedy("Begin with `timestamp.json`: it names what is current.")
        };
        if file == TIMESTAMP {
            let newest = self.read_newest(repository).await?.ok_or_else(unknown)?;
            return Ok(newest.timestamp);
        }
        // A root after the newest is what every client asks for.
        if let Some(number) = file.strip_suffix(".root.json") {
            let newest = self.newest_fresh(repository).await?.ok_or_else(unknown)?;
            let asked = number.parse::<u64>().map_err(|_| unknown())?;
            if asked > newest.root {
                return Err(unknown());
            }
        }
        if file.len() > 512 {
            return Err(unknown());
        }
        let row = self.inner.store.tuf_file(repository, file).await?;
        let row = row.ok_or_else(unknown)?;
        let document = Arc::new(Document::new(row.body.into(), row.version));
        self.inner
            .tuf
            .shelf
            .files
            .insert((repository.to_owned(), file.to_owned()), document.clone());
        Ok(document)
    }

    async fn newest_fresh(&self, repository: &str) -> Result<Option<Newest>> {
        if let Some(newest) = self.inner.tuf.shelf.newest(repository) {
            let age = self.now().0 - newest.checked.0;
            if (0..crate::fetch::FRESH).contains(&age) {
                return Ok(Some(newest));
            }
        }
        self.read_newest(repository).await
    }

    /// The bytes of a target of our own index, by its path and the name of its file: `pypi/KEY` and `SHA256.index.json`. A
    /// private project's are for those who may read it.
    ///
    /// # Errors
    /// `tuf-target-unknown`; `project-unknown`.
    pub async fn tuf_target(&self, folder: &str, file: &str) -> Result<Arc<Document>> {
        let unknown = || {
            let shown: String = format!("{folder}/{file}").chars().take(160).collect();
            Error::new(
                Kind::NotFound,
                "tuf-target-unknown",
                format!("There is no target {shown:?} here."),
            )
            .remedy("Take its digest from the metadata that is current now.")
        };
        let (digest, name) = file.split_once('.').ok_or_else(unknown)?;
        let hex = |byte: u8| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte);
        if digest.len() != 64 || !digest.bytes().all(hex) {
            return Err(unknown());
        }
        if name == "root.json" {
            return self.listed_root(folder, digest).await?.ok_or_else(unknown);
        }
        let (repository, key) = folder.split_once('/').ok_or_else(unknown)?;
        let ecosystem: Ecosystem = OWN
            .into_iter()
            .find(|ecosystem| ecosystem.as_str() == repository)
            .ok_or_else(unknown)?;
        if name != super::own::document_name(ecosystem) {
            return Err(unknown());
        }
        // Who may read the project may read its documents; memory holds those of public ones only.
        let index = DocumentKey::Index(ecosystem, key.to_owned());
        let cached = self.cached_document(&index);
        if let Some(document) = cached.filter(|document| document.sha256.to_hex() == digest) {
            return Ok(document);
        }
        let path = super::own::target_path(ecosystem, key);
        if self.shown_project(ecosystem, key).await?.is_none() {
            return Err(crate::fetch::unknown_project(key));
        }
        if !self
            .inner
            .store
            .tuf_knows_target(repository, &path, digest)
            .await?
        {
            return Err(unknown());
        }
        if let Some(document) = self.stored_document(digest).await? {
            return Ok(Arc::new(document));
        }
        // A blob store that lost it, or a restored instance: if nothing changed since, the rows make the same bytes.
        let document = self.document(&index).await?;
        if document.sha256.to_hex() == digest {
            return Ok(document);
        }
        Err(unknown())
    }

    /// A root that the root of roots lists, by its digest.
    async fn listed_root(&self, repository: &str, digest: &str) -> Result<Option<Arc<Document>>> {
        if repository == ROOTS || !OWN.iter().any(|own| own.as_str() == repository) {
            return Ok(None);
        }
        let Some(newest) = self.newest_fresh(repository).await? else {
            return Ok(None);
        };
        // The newest is what is listed, or the one before it while a change is under way.
        for version in (1..=newest.root).rev().take(16) {
            let file = self
                .tuf_file(repository, &format!("{version}.root.json"))
                .await?;
            if file.sha256.to_hex() == digest {
                return Ok(Some(file));
            }
        }
        Ok(None)
    }
}
