//! The log as static bytes: checkpoints, tiles, entries, proofs.

use super::*;
use crate::heartbeat::read_tile;
use crate::model::LogId;

impl Registry {
    /// The offline proof of a file, under the newest checkpoint.
    ///
    /// # Errors
    /// As [`Registry::file`]. A withheld file keeps its proof: what was published stays provable.
    pub async fn proof(&self, sha256: &str, filename: &str) -> Result<Document> {
        let found = self.inner.store.file_by_digest(sha256, filename).await?;
        let row = self.unveiled_maybe(found).await?;
        let place = row.and_then(|row| row.leaf_shard.zip(row.leaf));
        let (shard, leaf) = place.ok_or_else(|| {
            Error::new(
                Kind::NotFound,
                "file-unknown",
                format!("There is no file {filename} with this digest in the log."),
            )
            .remedy("Take the link from the project's index.")
        })?;
        self.leaf_proof(shard, leaf).await
    }

    /// The offline proof of any leaf.
    ///
    /// # Errors
    /// `leaf-unknown`.
    pub async fn leaf_proof(&self, shard: u64, index: u64) -> Result<Document> {
        let unknown = || {
            Error::new(
                Kind::NotFound,
                "leaf-unknown",
                format!("The log has no leaf {index}."),
            )
            .remedy("Look at /log/ for its size.")
        };
        let served = self.shard_head(shard, index.saturating_add(1)).await?;
        if served.head.size <= index {
            return Err(unknown());
        }
        let leaf = self
            .inner
            .store
            .leaves_from(shard, index, 1)
            .await?
            .pop()
            .filter(|leaf| leaf.index == index)
            .ok_or_else(unknown)?;
        let proof = self.prove(&served, index, &leaf.body).await?;
        Ok(Document::new(proof.to_string().into(), served.head.size))
    }

    /// All leaves of a project, with what proves that there are no others (`docs/spec/completeness.md`), as one text.
    /// Whoever proved some before may ask for those `after`.
    ///
    /// # Errors
    /// `project-unknown`; `map-pending` and `map-torn` until the map is made; `completeness-long`.
    pub async fn completeness(
        &self,
        ecosystem: Ecosystem,
        name: &str,
        after: u64,
    ) -> Result<Document> {
        let (state, _) = self.visible(ecosystem, name).await?;
        let key = format(ecosystem).name_key(&state.name)?;
        let purl = purl::project_purl(ecosystem, &key);
        let (text, size) = self.completeness_of(&state.id, &purl, after).await?;
        Ok(Document::new(text.to_string().into(), size))
    }

    pub(crate) async fn shard_head(
        &self,
        shard: u64,
        at_least: u64,
    ) -> Result<Arc<crate::heartbeat::Served>> {
        if shard == self.inner.shard {
            return self.fresh_head(at_least).await;
        }
        match self.inner.store.head(shard).await? {
            Some(head) => Ok(Arc::new(crate::heartbeat::Served {
                head,
                edge: HashMap::new(),
            })),
            None => Err(Error::new(
                Kind::NotFound,
                "log-unknown",
                format!("There is no log {shard} here."),
            )
            .remedy("See /.well-known/countersign.json for the logs.")),
        }
    }

    /// The newest checkpoint of a shard, a signed note.
    ///
    /// # Errors
    /// `log-unknown`.
    pub async fn checkpoint(&self, shard: u64) -> Result<Document> {
        let served = self.shard_head(shard, 0).await?;
        Ok(Document::new(
            served.head.checkpoint.clone().into(),
            served.head.size,
        ))
    }

    /// A tile or entry bundle by its path (`tile/0/x001/067.p/3`, `tile/entries/000`).
    ///
    /// # Errors
    /// `tile-path`, `tile-unknown`.
    pub async fn tile(&self, shard: u64, path: &str) -> Result<Document> {
        let served = self.shard_head(shard, 0).await?;
        let log = LogId::Shard(shard);
        self.tile_of(&log, served.head.size, &served.edge, path)
            .await
    }

    /// A tile or entry bundle of a log of `size` entries; `edge` are tiles at hand.
    pub(crate) async fn tile_of(
        &self,
        log: &LogId,
        size: u64,
        edge: &HashMap<TileId, Bytes>,
        path: &str,
    ) -> Result<Document> {
        let unknown = || {
            Error::new(
                Kind::NotFound,
                "tile-unknown",
                format!("The log has no {path}."),
            )
            .remedy("Ask for tiles that the checkpoint's size implies.")
        };
        if path.starts_with("tile/entries/") {
            let id = EntriesId::parse_path(path)
                .map_err(|source| Error::new(Kind::NotFound, "tile-path", source.to_string()))?;
            let within = EntriesId::in_log(id.index, size).is_some_and(|now| now.width >= id.width);
            if !within {
                return Err(unknown());
            }
            if let Some(bytes) = self.inner.blobs.get(&log.path(path), 32 << 20).await? {
                return Ok(Document::new(bytes, size));
            }
            // An outgrown partial bundle was deleted: its entries are still in the rows.
            let rows = self
                .inner
                .store
                .entries(log, id.first_entry(), u64::from(id.width))
                .await?;
            let entries: Vec<&[u8]> = rows.iter().map(|(_, entry)| entry.as_ref()).collect();
            let bytes = countersign_trust::tlog::encode_entries(&entries)
                .map_err(|source| Error::internal("an entry bundle can not be written", source))?;
            return Ok(Document::new(bytes.into(), size));
        }
        let id = TileId::parse_path(path)
            .map_err(|source| Error::new(Kind::NotFound, "tile-path", source.to_string()))?;
        let within =
            TileId::in_tree(id.level, id.index, size).is_some_and(|now| now.width >= id.width);
        if !within {
            return Err(unknown());
        }
        if let Some(bytes) = edge.get(&id) {
            return Ok(Document::new(bytes.clone(), size));
        }
        let bytes = self.cached_tile(log, id).await?.ok_or_else(unknown)?;
        Ok(Document::new(bytes, size))
    }

    pub(crate) async fn cached_tile(&self, log: &LogId, id: TileId) -> Result<Option<Bytes>> {
        let path = log.path(&id.path());
        if let Some(bytes) = self.inner.fetch.tiles.get(&path) {
            return Ok(Some(bytes));
        }
        let bytes = read_tile(&self.inner.blobs, log, id).await?;
        if let Some(bytes) = &bytes
            && !id.is_partial()
        {
            self.inner.fetch.tiles.insert(path, bytes.clone());
        }
        Ok(bytes)
    }
}
