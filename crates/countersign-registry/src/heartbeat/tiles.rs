//! Tiles: made again from the rows, read, outgrown, and proofs from them.

use super::*;

impl Registry {
    /// Writes every tile and bundle of the served log again from the rows; the right edge is the answer.
    pub(crate) async fn rebuild_tiles(&self, head: &Head) -> Result<HashMap<TileId, Bytes>> {
        tracing::warn!(
            size = head.size,
            "the log's tiles are written again from the database"
        );
        let mut edge: HashMap<TileId, Bytes> = HashMap::new();
        let mut size = 0;
        while size < head.size {
            // Multiples of 256, so that each bundle is written once.
            let wanted = (head.size - size).min(256 * 16);
            let leaves = self
                .inner
                .store
                .leaves_from(head.shard, size, wanted)
                .await?;
            if leaves.len() as u64 != wanted
                || leaves
                    .iter()
                    .enumerate()
                    .any(|(offset, leaf)| leaf.index != size + offset as u64)
            {
                return Err(Error::unavailable(
                    "log-mismatch",
                    format!(
                        "The database lacks leaves of the log after index {size}. Nothing will be signed."
                    ),
                ));
            }
            let hashes: Vec<Sha256> = leaves
                .iter()
                .map(|leaf| tlog::leaf_hash(leaf.body.as_bytes()))
                .collect();
            let tiles = tlog::grow(size, &hashes, &edge)
                .map_err(|source| Error::internal("the log's tiles do not fit", source))?;
            let mut objects = Vec::new();
            for (id, bytes) in tiles {
                let bytes = Bytes::from(bytes);
                objects.push((
                    tile_path(head.shard, &id.path()),
                    bytes.clone(),
                    !id.is_partial(),
                ));
                edge.insert(id, bytes);
            }
            for chunk in leaves.chunks(256) {
                let id = EntriesId {
                    index: chunk[0].index / 256,
                    width: u16::try_from(chunk.len()).unwrap_or(tlog::TILE_WIDTH),
                };
                let texts: Vec<&str> = chunk.iter().map(|leaf| leaf.body.as_str()).collect();
                let bytes = tlog::encode_entries(&texts).map_err(|source| {
                    Error::internal("an entry bundle can not be written", source)
                })?;
                objects.push((
                    tile_path(head.shard, &id.path()),
                    Bytes::from(bytes),
                    id.width == tlog::TILE_WIDTH,
                ));
            }
            for (path, bytes, durable) in objects {
                if durable {
                    self.inner.blobs.put(&path, bytes).await?
                } else {
                    self.inner.blobs.put_quick(&path, bytes).await?
                }
            }
            size += wanted;
            edge.retain(|id, _| id.is_partial());
        }
        Ok(edge)
    }

    /// [`read_tile`] of this registry's blobs.
    pub(crate) async fn read_tile(&self, shard: u64, id: TileId) -> Result<Option<Bytes>> {
        read_tile(&self.inner.blobs, shard, id).await
    }

    /// Partial tiles and bundles whose full one now exists are deleted, as tlog-tiles allows; a failure costs room only.
    pub(super) fn drop_outgrown(&self, shard: u64, partial: &[TileId], new_size: u64) {
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
        let registry = self.clone();
        tokio::spawn(async move {
            for id in outgrown {
                let mut folders = vec![format!("{}.p", tile_path(shard, &id.full().path()))];
                if id.level == 0 {
                    let bundle = EntriesId {
                        index: id.index,
                        width: tlog::TILE_WIDTH,
                    };
                    folders.push(format!("{}.p", tile_path(shard, &bundle.path())));
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
        let size = served.head.size;
        let mut tiles: HashMap<TileId, Bytes> = HashMap::new();
        for id in tlog::tiles_needed_for_inclusion(index, size) {
            let bytes = match served.edge.get(&id).or_else(|| served.edge.get(&id.full())) {
                Some(bytes) => bytes.clone(),
                None => self
                    .cached_tile(served.head.shard, id)
                    .await?
                    .ok_or_else(|| {
                        Error::unavailable(
                            "tile-missing",
                            format!("The log's tile {} is missing.", id.path()),
                        )
                    })?,
            };
            tiles.insert(id, bytes);
        }
        let hashes = tlog::inclusion_proof(index, size, &tiles)
            .map_err(|source| Error::internal("a proof can not be made", source))?;
        Ok(TlogProof {
            extra: Some(body.as_bytes().to_vec()),
            index,
            hashes,
            checkpoint: served.head.checkpoint.clone(),
        })
    }
}

/// A tile's bytes from the blob store: itself, or the beginning of the full one that took its place.
pub(crate) async fn read_tile(blobs: &Blobs, shard: u64, id: TileId) -> Result<Option<Bytes>> {
    let length = id.byte_length();
    if let Some(bytes) = blobs.get(&tile_path(shard, &id.path()), 8_192).await?
        && bytes.len() == length
    {
        return Ok(Some(bytes));
    }
    if !id.is_partial() {
        return Ok(None);
    }
    let full = blobs
        .get(&tile_path(shard, &id.full().path()), 8_192)
        .await?;
    Ok(full
        .filter(|bytes| bytes.len() >= length)
        .map(|bytes| bytes.slice(..length)))
}

/// Path of a log object in the blob store.
pub(crate) fn tile_path(shard: u64, path: &str) -> String {
    format!("log/{shard}/{path}")
}
