//! The tree of a log as its writer sees it: this registry's own log, and those that it keeps for registries elsewhere
//! (`log_service`). Rows make entries, entries make tiles; whatever is lost of the tiles is made again from the rows.

use super::*;

/// Path of an object of the registry's own log in the blob store.
pub(crate) fn tile_path(shard: u64, path: &str) -> String {
    LogId::Shard(shard).path(path)
}

/// The tree and its right edge, as far as it was shown.
pub(crate) struct Tree {
    pub(crate) frontier: Frontier,
    /// Partial tiles.
    pub(crate) edge: HashMap<TileId, Bytes>,
    /// The entries of the last, not yet full bundle.
    bundle: Vec<Bytes>,
}

/// What a tree becomes with more entries: nothing of it is shown yet.
pub(crate) struct Growth {
    pub(crate) frontier: Frontier,
    /// New tiles.
    pub(crate) tiles: Vec<(TileId, Bytes)>,
    /// New tiles and bundles: path in the blob store, bytes, and whether they stay for ever.
    pub(crate) objects: Vec<(String, Bytes, bool)>,
    bundle: Vec<Bytes>,
}

/// A bundle of entries, as an object.
fn bundle_object<E: AsRef<[u8]>>(
    log: &LogId,
    id: EntriesId,
    entries: &[E],
) -> Result<(String, Bytes, bool)> {
    let bytes = tlog::encode_entries(entries)
        .map_err(|source| Error::internal("an entry bundle can not be written", source))?;
    let durable = id.width == tlog::TILE_WIDTH;
    Ok((log.path(&id.path()), Bytes::from(bytes), durable))
}

fn misfit(source: impl std::error::Error + Send + Sync + 'static) -> Error {
    Error::internal("the log's tiles do not fit", source)
}

impl Tree {
    /// With these entries after those that it has. `hashes` are their leaf hashes.
    pub(crate) fn grow<'a>(
        &'a self,
        log: &LogId,
        hashes: &[Sha256],
        entries: impl Iterator<Item = &'a [u8]>,
    ) -> Result<Growth> {
        let old_size = self.frontier.size();
        let mut frontier = self.frontier.clone();
        for hash in hashes {
            frontier.append(*hash);
        }
        let tiles: Vec<(TileId, Bytes)> = tlog::grow(old_size, hashes, &self.edge)
            .map_err(misfit)?
            .into_iter()
            .map(|(id, bytes)| (id, Bytes::from(bytes)))
            .collect();
        let mut objects: Vec<(String, Bytes, bool)> = tiles
            .iter()
            .map(|(id, bytes)| (log.path(&id.path()), bytes.clone(), !id.is_partial()))
            .collect();
        let entries: Vec<&[u8]> = self
            .bundle
            .iter()
            .map(AsRef::as_ref)
            .chain(entries)
            .collect();
        let mut rest = entries.as_slice();
        for id in tlog::entries_for_growth(old_size, frontier.size()) {
            let (these, after) = rest.split_at(usize::from(id.width).min(rest.len()));
            objects.push(bundle_object(log, id, these)?);
            if id.width == tlog::TILE_WIDTH {
                rest = after;
            }
        }
        let bundle = rest
            .iter()
            .map(|entry| Bytes::copy_from_slice(entry))
            .collect();
        Ok(Growth {
            frontier,
            tiles,
            objects,
            bundle,
        })
    }

    /// Becomes what it grew to, once that is shown. The right edge to serve from, and partial tiles that may be outgrown.
    pub(crate) fn take(&mut self, growth: Growth) -> (HashMap<TileId, Bytes>, Vec<TileId>) {
        let size = growth.frontier.size();
        let stale = self
            .edge
            .keys()
            .filter(|id| id.is_partial())
            .copied()
            .collect();
        let mut edge: HashMap<TileId, Bytes> = self
            .edge
            .drain()
            .filter(|(id, _)| TileId::in_tree(id.level, id.index, size) == Some(*id))
            .collect();
        edge.extend(growth.tiles);
        // The writer needs the right edge only; full tiles are in the blob store.
        self.edge = edge
            .iter()
            .filter(|(id, _)| id.is_partial())
            .map(|(id, bytes)| (*id, bytes.clone()))
            .collect();
        self.bundle = growth.bundle;
        self.frontier = growth.frontier;
        (edge, stale)
    }
}

impl Registry {
    /// Writes new tiles and bundles. Nobody is pointed at them yet.
    pub(crate) async fn write_objects(&self, objects: Vec<(String, Bytes, bool)>) -> Result<()> {
        futures::stream::iter(objects)
            .map(|(path, bytes, durable)| async move {
                if durable {
                    self.inner.blobs.put(&path, bytes).await
                } else {
                    self.inner.blobs.put_quick(&path, bytes).await
                }
            })
            .buffer_unordered(16)
            .try_collect()
            .await
    }

    /// The tree of `size` entries with this root, read from the rows, and the tiles at the right edge from the blob store;
    /// makes them again where the blob store lost them. Whether there are rows beyond, too.
    ///
    /// # Errors
    /// `log-mismatch` where the rows do not give the root.
    pub(crate) async fn load_tree(
        &self,
        log: &LogId,
        size: u64,
        root: Sha256,
    ) -> Result<(Tree, bool)> {
        let width = u64::from(tlog::TILE_WIDTH);
        let start = size / width * width;
        let mut tail = self.inner.store.entries(log, start, width + 1).await?;
        let unfinished = tail.last().is_some_and(|(last, _)| *last >= size);
        tail.retain(|(index, _)| *index < size);
        let mut edge: HashMap<TileId, Bytes> = HashMap::new();
        let mut lost = tail.len() as u64 != size - start;
        for id in tlog::tiles_needed_for_growth(size) {
            if id.level == 0 {
                let hashes = tail
                    .iter()
                    .flat_map(|(_, entry)| tlog::leaf_hash(entry).0)
                    .collect::<Vec<u8>>();
                edge.insert(id, Bytes::from(hashes));
            } else if let Some(bytes) = read_tile(&self.inner.blobs, log, id).await? {
                edge.insert(id, bytes);
            } else {
                lost = true;
            }
        }
        let right = |edge: &HashMap<TileId, Bytes>| {
            let frontier = Frontier::from_tiles(size, edge).ok();
            frontier.filter(|frontier| frontier.root() == root)
        };
        let mut frontier = right(&edge).filter(|_| !lost);
        if frontier.is_none() {
            edge = self.rebuild_tiles(log, size).await?;
            frontier = right(&edge);
        }
        let frontier = frontier.ok_or_else(|| {
            Error::unavailable(
                "log-mismatch",
                "The log's rows do not give the root that was signed. Nothing will be signed.",
            )
        })?;
        let bundle = tail.into_iter().map(|(_, entry)| entry).collect();
        Ok((
            Tree {
                frontier,
                edge,
                bundle,
            },
            unfinished,
        ))
    }

    /// Appends entries from the rows until the tree has so many.
    ///
    /// # Errors
    /// `log-mismatch` where one is missing.
    pub(crate) async fn extend_from_rows(
        &self,
        log: &LogId,
        frontier: &mut Frontier,
        until: u64,
    ) -> Result<()> {
        while frontier.size() < until {
            let wanted = (until - frontier.size()).min(4_096);
            let rows = self
                .inner
                .store
                .entries(log, frontier.size(), wanted)
                .await?;
            if rows
                .first()
                .is_none_or(|(index, _)| *index != frontier.size())
            {
                return Err(Error::unavailable(
                    "log-mismatch",
                    format!(
                        "The database lacks the log's leaf {}. Nothing will be signed.",
                        frontier.size()
                    ),
                ));
            }
            for (_, entry) in rows {
                frontier.append(tlog::leaf_hash(&entry));
            }
        }
        Ok(())
    }

    /// Writes every tile and bundle of a log of `until` entries again from the rows; the right edge is the answer.
    pub(crate) async fn rebuild_tiles(
        &self,
        log: &LogId,
        until: u64,
    ) -> Result<HashMap<TileId, Bytes>> {
        tracing::warn!(
            size = until,
            ?log,
            "the log's tiles are written again from the database"
        );
        let mut edge: HashMap<TileId, Bytes> = HashMap::new();
        let mut size = 0;
        while size < until {
            // Multiples of 256, so that each bundle is written once.
            let wanted = (until - size).min(256 * 16);
            let rows = self.inner.store.entries(log, size, wanted).await?;
            let whole = rows.len() as u64 == wanted
                && rows
                    .iter()
                    .enumerate()
                    .all(|(offset, (index, _))| *index == size + offset as u64);
            if !whole {
                return Err(Error::unavailable(
                    "log-mismatch",
                    format!(
                        "The database lacks leaves of the log after index {size}. Nothing will be signed."
                    ),
                ));
            }
            let hashes: Vec<Sha256> = rows
                .iter()
                .map(|(_, entry)| tlog::leaf_hash(entry))
                .collect();
            let mut objects = Vec::new();
            for (id, bytes) in tlog::grow(size, &hashes, &edge).map_err(misfit)? {
                let bytes = Bytes::from(bytes);
                objects.push((log.path(&id.path()), bytes.clone(), !id.is_partial()));
                edge.insert(id, bytes);
            }
            for chunk in rows.chunks(256) {
                let id = EntriesId {
                    index: chunk[0].0 / 256,
                    width: u16::try_from(chunk.len()).unwrap_or(tlog::TILE_WIDTH),
                };
                let entries: Vec<&[u8]> = chunk.iter().map(|(_, entry)| entry.as_ref()).collect();
                objects.push(bundle_object(log, id, &entries)?);
            }
            self.write_objects(objects).await?;
            size += wanted;
            edge.retain(|id, _| id.is_partial());
        }
        Ok(edge)
    }
}
