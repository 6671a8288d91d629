//! Tiles: read, outgrown, and proofs from them.

use super::*;

impl Registry {
    /// Partial tiles and bundles whose full one now exists are deleted, as tlog-tiles allows; a failure costs room only.
    pub(crate) fn drop_outgrown(&self, log: &LogId, partial: &[TileId], new_size: u64) {
        let outgrown: Vec<TileId> = partial
            .iter()
            .filter(|id| {
                TileId::in_tree(id.level, id.index, new_size).is_some_and(|now| !now.is_partial())
            })
            .copied()
            .collect();
        if outgrown.is_empty() {
            return;
        }
        let (registry, log) = (self.clone(), log.clone());
        tokio::spawn(async move {
            for id in outgrown {
                let mut folders = vec![format!("{}.p", log.path(&id.full().path()))];
                if id.level == 0 {
                    let bundle = EntriesId {
                        index: id.index,
                        width: tlog::TILE_WIDTH,
                    };
                    folders.push(format!("{}.p", log.path(&bundle.path())));
                }
                for folder in folders {
                    let mut found = registry.inner.blobs.list(&folder);
                    while let Some(Ok((path, _, _))) = found.next().await {
                        if let Err(error) = registry.inner.blobs.delete(&path).await {
                            tracing::warn!(%error, path, "an outgrown partial tile could not be deleted");
                        }
                    }
                }
            }
        });
    }

    /// The offline proof of a leaf under a head.
    pub(crate) async fn prove(&self, served: &Served, index: u64, body: &str) -> Result<TlogProof> {
        let log = LogId::Shard(served.head.shard);
        let hashes = self
            .inclusion(&log, served.head.size, &served.edge, index)
            .await?;
        Ok(TlogProof {
            extra: Some(body.as_bytes().to_vec()),
            index,
            hashes,
            checkpoint: served.head.checkpoint.clone(),
        })
    }

    /// What proves that leaf `index` is in the tree of `size` leaves. `edge` are tiles at hand.
    pub(crate) async fn inclusion(
        &self,
        log: &LogId,
        size: u64,
        edge: &HashMap<TileId, Bytes>,
        index: u64,
    ) -> Result<Vec<Sha256>> {
        let mut tiles: HashMap<TileId, Bytes> = HashMap::new();
        for id in tlog::tiles_needed_for_inclusion(index, size) {
            let bytes = match edge.get(&id).or_else(|| edge.get(&id.full())) {
                Some(bytes) => bytes.clone(),
                None => self.cached_tile(log, id).await?.ok_or_else(|| {
                    Error::unavailable(
                        "tile-missing",
                        format!("The log's tile {} is missing.", id.path()),
                    )
                })?,
            };
            tiles.insert(id, bytes);
        }
        tlog::inclusion_proof(index, size, &tiles)
            .map_err(|source| Error::internal("a proof can not be made", source))
    }
}

/// A tile's bytes from the blob store: itself, or the beginning of the full one that took its place.
pub(crate) async fn read_tile(blobs: &Blobs, log: &LogId, id: TileId) -> Result<Option<Bytes>> {
    let length = id.byte_length();
    if let Some(bytes) = blobs.get(&log.path(&id.path()), 8_192).await?
        && bytes.len() == length
    {
        return Ok(Some(bytes));
    }
    if !id.is_partial() {
        return Ok(None);
    }
    let full = blobs.get(&log.path(&id.full().path()), 8_192).await?;
    Ok(full
        .filter(|bytes| bytes.len() >= length)
        .map(|bytes| bytes.slice(..length)))
}
