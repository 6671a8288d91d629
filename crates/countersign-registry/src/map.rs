//! The map: what the log says of each identifier and each project, kept as tiles and committed to in the log
//! (`docs/spec/map.md`).
//!
//! A step takes the leaves since the last one: it folds them into the states of their projects, writes the tiles that
//! change, and moves the one row of the map's state on, with the event of the new commitment. The next beat logs that. No
//! publisher waits for it. A step of one process that comes too late is refused by the row, and loses nothing but work.
//!
//! *Crash*: tiles are content-addressed, so those that were written before the row moved disturb nobody, and the root that
//! was committed keeps all of its own for a day. They are written without syncs: whoever misses one, because the machine
//! lost its power or the blob store its contents, says so, and the next step makes the map as a whole from the rows. So
//! does a step with very much to do, since a tile is then written once instead of once for each part.
//!
//! Bounded: a step holds a batch of leaves and the tiles on their way; the whole is made a 256th at a time, out of a
//! spool file.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::io::{Read, Seek, SeekFrom, Write};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use bytes::Bytes;
use countersign_trust::completeness::{Completeness, MAX_COMPLETENESS_BYTES, Place, read_map_root};
use countersign_trust::digest::Sha256;
use countersign_trust::leaf::{LeafKind, identifier_hash};
use countersign_trust::map::{
    EMPTY_MAP, Entry, MAX_TILE_BYTES, MapProof, ProjectState, TileId, Walk, Whole, project_key,
    project_of,
};
use countersign_trust::tlog;
use futures::{StreamExt, TryStreamExt};
use tokio::sync::Notify;

use crate::Registry;
use crate::accounts::new_id;
use crate::error::{Error, Kind, Result};
use crate::fetch::Document;
use crate::heartbeat::{Change, Served};
use crate::model::{Actor, ProjectId, Time};
use crate::store::{Backend, LogPlace, MapState, MappedLeaf, WRITE_CONFLICT};

/// Most leaves of one step.
const BATCH: u64 = 4_096;

/// With more leaves than this to do, the map is made as a whole.
const MANY: u64 = 4 * BATCH;

/// A busy registry commits to its map this often, in microseconds, and not more often.
const PACE: i64 = 1_000_000;

/// The map may take this share of the time at most: one in so many.
const SHARE: u32 = 20;

/// The longest rest after a step: one that waited for the database for a minute must not let the map stand still for twenty.
const LONGEST_REST: Duration = Duration::from_secs(20);

/// A map at rest looks this often whether another process, such as an operator's command, logged something: nobody calls for that.
const LOOK: Duration = Duration::from_secs(2);

/// Tiles that only older roots need stay this long, in seconds.
const KEEP: i64 = 86_400;

/// Bytes of tiles kept in memory: the two upper levels of a large map, which every step reads, and the ways of late.
const MEMORY: u64 = 8 << 20;

/// Lists of superseded tiles that are cleared away at once.
const LISTS: u64 = 64;

/// What a process keeps of the map.
pub(crate) struct Keeper {
    wake: Notify,
    tiles: moka::sync::Cache<TileId, Bytes>,
    /// Somebody missed a tile.
    torn: AtomicBool,
    /// One step at a time in one process.
    turn: tokio::sync::Mutex<()>,
}

impl Default for Keeper {
    fn default() -> Self {
        Self {
            wake: Notify::new(),
            tiles: moka::sync::Cache::builder()
                .max_capacity(MEMORY)
                .weigher(|_, bytes: &Bytes| u32::try_from(bytes.len() + 128).unwrap_or(u32::MAX))
                .build(),
            torn: AtomicBool::new(false),
            turn: tokio::sync::Mutex::default(),
        }
    }
}

/// What a step came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MapStep {
    /// The log has nothing that the map does not cover.
    AtRest,
    /// The map moved on; there is more.
    Moved,
    /// A new root is on its way into the log.
    Committed,
}

/// What changes in the map, from leaves in their order.
#[derive(Default)]
struct Changes {
    projects: HashMap<Sha256, ProjectState>,
    identifiers: BTreeMap<Sha256, Sha256>,
}

impl Changes {
    fn entries(&self) -> BTreeMap<Sha256, Sha256> {
        let projects = self
            .projects
            .iter()
            .map(|(key, state)| (*key, state.value()));
        self.identifiers
            .iter()
            .map(|(key, value)| (*key, *value))
            .chain(projects)
            .collect()
    }
}

impl Registry {
    /// Keeps the map up with the log as long as the process serves.
    pub(crate) async fn keep_map(&self) {
        if !self.inner.settings.keep_map {
            return;
        }
        loop {
            let began = Instant::now();
            let pause = match self.map_step_apart().await {
                Ok(MapStep::Moved) => Duration::ZERO,
                Ok(MapStep::Committed) => {
                    let share = began.elapsed().saturating_mul(SHARE);
                    share.clamp(Duration::from_micros(PACE.unsigned_abs()), LONGEST_REST)
                }
                Ok(MapStep::AtRest) => {
                    // Called or not: it looks.
                    let called = self.inner.map.wake.notified();
                    let _ = tokio::time::timeout(LOOK, called).await;
                    // Another server may have committed less than a moment ago.
                    let state = self.inner.store.map_state().await;
                    let since = self.now().0 - state.map_or(0, |state| state.committed.0);
                    Duration::from_micros((PACE - since).clamp(0, PACE).unsigned_abs())
                }
                // Another server is at it.
                Err(error) if error.code == WRITE_CONFLICT => Duration::from_secs(1),
                Err(error) => {
                    tracing::warn!(%error, source = ?error.source, "the map does not move on; it is tried again");
                    Duration::from_secs(10)
                }
            };
            tokio::time::sleep(pause).await;
        }
    }

    /// The log grew.
    pub(crate) fn log_grew(&self) {
        self.inner.map.wake.notify_one();
    }

    /// [`Registry::map_step`] where it holds nobody up: SQLite answers in the thread that asks.
    async fn map_step_apart(&self) -> Result<MapStep> {
        if self.inner.store.backend() == Backend::Postgres {
            return self.map_step().await;
        }
        let (registry, runtime) = (self.clone(), tokio::runtime::Handle::current());
        tokio::task::spawn_blocking(move || runtime.block_on(registry.map_step()))
            .await
            .map_err(|source| Error::internal("a task broke off", source))?
    }

    /// Looks at start-up whether the map's first tile is there: where it is not, the blob store lost the map. Whatever else
    /// is missing is noticed when it is needed.
    pub(crate) async fn look_at_map(&self) -> Result<()> {
        let state = self.inner.store.map_state().await?;
        let top = TileId {
            level: 0,
            root: state.root,
        };
        let lost =
            state.root != EMPTY_MAP && self.inner.blobs.stat(&top.to_string()).await?.is_none();
        if lost {
            self.inner.map.torn.store(true, Ordering::Release);
        }
        Ok(())
    }

    /// One step: takes leaves that the map does not cover yet, and commits to it when there are no more.
    ///
    /// # Errors
    /// `write-conflict` where another process was first; where database or blob store fail.
    pub async fn map_step(&self) -> Result<MapStep> {
        let _turn = self.inner.map.turn.lock().await;
        let state = self.inner.store.map_state().await?;
        let torn = self.inner.map.torn.load(Ordering::Acquire);
        let cut_off = state.folded != state.covers;
        if cut_off || self.inner.store.leaves_since(state.covers).await? > MANY {
            return self.make_whole(&state, true).await;
        }
        if torn {
            return self.make_whole(&state, false).await;
        }
        let leaves = self.inner.store.leaves_to_map(state.covers, BATCH).await?;
        let full = leaves.len() as u64 == BATCH;
        let Some(last) = leaves.last() else {
            return self.commit_to_new_log(&state).await;
        };
        // A commitment alone is no reason for another one: else there would be no end. Two are: where a beat was slow, both
        // came into the log after what they cover, and neither covers all but itself.
        if let [only] = &leaves[..]
            && only.kind == LeafKind::MapRoot.as_str()
        {
            return Ok(MapStep::AtRest);
        }
        let covers = LogPlace {
            shard: last.place.shard,
            index: last.place.index + 1,
        };
        let changes = self.changes_of(&leaves).await?;
        let entries = changes.entries();
        let walk = match self.walk(state.root, entries.keys().copied()).await {
            Ok(walk) => walk,
            Err(error) if error.code == "map-torn" => return self.make_whole(&state, false).await,
            Err(error) => return Err(error),
        };
        let applied = walk
            .apply(&entries)
            .map_err(|source| Error::internal("the map can not be changed", source))?;
        // *Crash after it*: tiles that no root names.
        self.write_tiles(applied.written, true).await?;
        let to = MapState {
            covers,
            root: applied.root,
            folded: covers,
            committed: self.now(),
        };
        let superseded: Vec<String> = applied.superseded.iter().map(ToString::to_string).collect();
        self.move_on(&state, &to, &changes.projects, &superseded, !full)
            .await
    }

    /// The row moves on, and the commitment with it. *Crash after it*: the event waits in the outbox for the next beat.
    async fn move_on(
        &self,
        from: &MapState,
        to: &MapState,
        projects: &HashMap<Sha256, ProjectState>,
        superseded: &[String],
        commit: bool,
    ) -> Result<MapStep> {
        let mut tx = self.inner.store.write().await?;
        tx.swap_map_state(from, to).await?;
        tx.set_mapped_projects(projects).await?;
        if !superseded.is_empty() {
            tx.supersede_tiles(&new_id(), to.committed, &superseded.join("\n"))
                .await?;
        }
        if commit {
            // What an earlier log's leaves end with, the map of this log's first leaf begins with.
            let covers = if to.covers.shard == self.inner.shard {
                to.covers.index
            } else {
                0
            };
            let nobody = Actor::anonymous();
            let change = Change::map_root(&nobody, covers, to.root);
            self.record(&mut tx, change, serde_json::Value::Null)
                .await?;
        }
        tx.commit().await?;
        if !commit {
            return Ok(MapStep::Moved);
        }
        self.inner.beat.wake();
        Ok(MapStep::Committed)
    }

    /// Where nothing is to be covered: a log that was opened after another one begins with what that one ended with.
    async fn commit_to_new_log(&self, state: &MapState) -> Result<MapStep> {
        let earlier = state.covers.shard < self.inner.shard;
        if !earlier
            || self
                .inner
                .store
                .newest_map_root(self.inner.shard)
                .await?
                .is_some()
        {
            return Ok(MapStep::AtRest);
        }
        let to = MapState {
            committed: self.now(),
            ..state.clone()
        };
        self.move_on(state, &to, &HashMap::new(), &[], true).await
    }

    /// What these leaves change, given the states of their projects before.
    async fn changes_of(&self, leaves: &[MappedLeaf]) -> Result<Changes> {
        let about = || leaves.iter().filter(|leaf| !leaf.subject.is_empty());
        let keys: HashSet<Sha256> = about()
            .map(|leaf| project_key(project_of(&leaf.subject)))
            .collect();
        let keys: Vec<Sha256> = keys.into_iter().collect();
        let mut changes = Changes {
            projects: self.inner.store.mapped_projects(&keys).await?,
            ..Changes::default()
        };
        for leaf in about() {
            let state = changes
                .projects
                .entry(project_key(project_of(&leaf.subject)))
                .or_insert(ProjectState::NONE);
            *state = state.followed_by(&leaf.hash);
            if leaf.kind == LeafKind::FilePublished.as_str() {
                changes
                    .identifiers
                    .insert(identifier_hash(&leaf.subject), leaf.hash);
            }
        }
        Ok(changes)
    }

    async fn write_tiles(&self, tiles: Vec<(TileId, Vec<u8>)>, keep: bool) -> Result<()> {
        futures::stream::iter(tiles)
            .map(|(id, bytes)| async move {
                let bytes = Bytes::from(bytes);
                if keep {
                    self.inner.map.tiles.insert(id, bytes.clone());
                }
                self.inner.blobs.put_quick(&id.to_string(), bytes).await
            })
            .buffer_unordered(16)
            .try_collect()
            .await
    }

    /// Makes the whole map from the rows: first, where it shall also move on, the states of the projects, batch by batch,
    /// then all tiles, part by part. *Crash in between*: the row says how far the states are, and the next step goes on from
    /// there.
    async fn make_whole(&self, found: &MapState, moves_on: bool) -> Result<MapStep> {
        let mut state = found.clone();
        loop {
            let leaves = match moves_on {
                true => self.inner.store.leaves_to_map(state.folded, BATCH).await?,
                false => Vec::new(),
            };
            let Some(last) = leaves.last() else { break };
            let folded = LogPlace {
                shard: last.place.shard,
                index: last.place.index + 1,
            };
            let changes = self.changes_of(&leaves).await?;
            let to = MapState {
                folded,
                ..state.clone()
            };
            self.move_on(&state, &to, &changes.projects, &[], false)
                .await?;
            state = to;
        }
        tracing::info!("the map is made as a whole from the leaves");
        let (mut parts, lengths) = self.spool_identifiers(state.folded).await?;
        let (mut whole, mut tiles) = (Whole::default(), HashSet::new());
        for byte in 0..=u8::MAX {
            let mut entries = read_part(&mut parts, &lengths, byte)?;
            let projects = self.inner.store.mapped_projects_below(byte).await?;
            entries.extend(projects.into_iter().map(|(key, state)| Entry {
                key,
                value: state.value(),
            }));
            entries.sort_unstable();
            let made = whole.add(byte, &entries).map_err(|source| {
                Error::internal("two leaves of the log publish one identifier", source)
            })?;
            tiles.extend(made.iter().map(|(id, _)| *id));
            self.write_tiles(made, false).await?;
        }
        let (root, top) = whole.finish();
        tiles.extend(top.iter().map(|(id, _)| *id));
        self.write_tiles(top.into_iter().collect(), true).await?;
        self.inner.map.torn.store(false, Ordering::Release);
        let same = root == found.root && state.folded == found.covers;
        let to = MapState {
            covers: state.folded,
            root,
            folded: state.folded,
            committed: if same { state.committed } else { self.now() },
        };
        let step = self
            .move_on(&state, &to, &HashMap::new(), &[], !same)
            .await?;
        self.sweep_tiles(&tiles).await?;
        Ok(step)
    }

    /// The identifiers of all leaves before a place, with their values, sorted into 256 parts of a spool file; says where
    /// each entry's part is by lengths of the pieces, in the order in which they were written.
    async fn spool_identifiers(&self, until: LogPlace) -> Result<(std::fs::File, Vec<(u8, u32)>)> {
        let broken = |source| Error::internal("the spool can not be written", source);
        let mut file = tempfile::tempfile_in(&self.inner.settings.spool).map_err(broken)?;
        let (mut pieces, mut from) = (Vec::new(), LogPlace::START);
        let mut parts: BTreeMap<u8, Vec<u8>> = BTreeMap::new();
        let mut waiting = 0;
        loop {
            let leaves = self.inner.store.leaves_to_map(from, BATCH).await?;
            let end = leaves.last().is_none_or(|last| last.place >= until);
            for leaf in &leaves {
                from = LogPlace {
                    shard: leaf.place.shard,
                    index: leaf.place.index + 1,
                };
                if leaf.place < until && leaf.kind == LeafKind::FilePublished.as_str() {
                    let key = identifier_hash(&leaf.subject);
                    let part = parts.entry(key.as_bytes()[0]).or_default();
                    part.extend_from_slice(key.as_bytes());
                    part.extend_from_slice(leaf.hash.as_bytes());
                    waiting += 64;
                }
            }
            if end || waiting > 4 << 20 {
                waiting = 0;
                for (byte, part) in std::mem::take(&mut parts) {
                    let length = u32::try_from(part.len())
                        .map_err(|source| Error::internal("a part is too long", source))?;
                    file.write_all(&part).map_err(broken)?;
                    pieces.push((byte, length));
                }
            }
            if end {
                return Ok((file, pieces));
            }
        }
    }

    /// Old tiles that are not among those of the whole map are superseded from now on, whoever left them behind.
    async fn sweep_tiles(&self, needed: &HashSet<TileId>) -> Result<()> {
        let (now, mut list) = (self.now(), Vec::new());
        let mut found = self.inner.blobs.list("map");
        loop {
            let object = found.next().await.transpose()?;
            let end = object.is_none();
            if let Some((path, _, changed)) = object
                && changed < now.seconds() - KEEP
                && TileId::parse(&path).is_some_and(|id| !needed.contains(&id))
            {
                list.push(path);
            }
            if (end && !list.is_empty()) || list.len() >= 10_000 {
                let mut tx = self.inner.store.write().await?;
                tx.supersede_tiles(&new_id(), now, &list.join("\n")).await?;
                tx.commit().await?;
                list.clear();
            }
            if end {
                return Ok(());
            }
        }
    }

    /// Deletes tiles that only roots older than a day need. Part of the chores.
    ///
    /// # Errors
    /// Where database or blob store fail; it goes on from there the next time.
    pub async fn clear_superseded_tiles(&self) -> Result<u64> {
        let (before, mut cleared) = (Time(self.now().0 - KEEP * 1_000_000), 0);
        loop {
            let lists = self.inner.store.superseded_before(before, LISTS).await?;
            if lists.is_empty() {
                return Ok(cleared);
            }
            for (id, tiles) in lists {
                for tile in tiles.lines().filter(|tile| TileId::parse(tile).is_some()) {
                    self.inner.blobs.delete(tile).await?;
                    cleared += 1;
                }
                // *Crash before it*: they are deleted once more, which changes nothing.
                let mut tx = self.inner.store.write().await?;
                tx.forget_superseded(&id).await?;
                tx.commit().await?;
            }
        }
    }

    /// A tile's bytes, from memory or the blob store.
    async fn map_tile_bytes(&self, id: TileId) -> Result<Option<Bytes>> {
        if let Some(bytes) = self.inner.map.tiles.get(&id) {
            return Ok(Some(bytes));
        }
        let bytes = self
            .inner
            .blobs
            .get(&id.to_string(), MAX_TILE_BYTES as u64)
            .await?;
        if let Some(bytes) = &bytes {
            self.inner.map.tiles.insert(id, bytes.clone());
        }
        Ok(bytes)
    }

    /// Goes to the end of a walk. `map-torn`: a tile is missing or is not what it is called.
    async fn walk(&self, root: Sha256, keys: impl IntoIterator<Item = Sha256>) -> Result<Walk> {
        let mut walk = Walk::new(root, keys);
        loop {
            let wanted = walk.wanted();
            if wanted.is_empty() {
                return Ok(walk);
            }
            let torn = |id: TileId| {
                tracing::warn!(%id, "a tile of the map is missing or damaged; the map is made again");
                self.inner.map.tiles.invalidate(&id);
                self.inner.map.torn.store(true, Ordering::Release);
                self.inner.map.wake.notify_one();
                Error::unavailable(
                    "map-torn",
                    format!("The tile {id} of the map is missing; the map is made again."),
                )
                .remedy("Try again in a moment.")
            };
            let found: Vec<_> = futures::stream::iter(wanted)
                .map(|(id, prefix)| async move {
                    Ok::<_, Error>((id, prefix, self.map_tile_bytes(id).await?))
                })
                .buffer_unordered(16)
                .try_collect()
                .await?;
            for (id, prefix, bytes) in found {
                let bytes = bytes.ok_or_else(|| torn(id))?;
                walk.supply(id, &prefix, &bytes).map_err(|_| torn(id))?;
            }
        }
    }

    /// A tile of the map by its address below that of the log (`map/LEVEL/xx/ROOT`).
    ///
    /// # Errors
    /// `map-tile-unknown`.
    pub async fn map_tile(&self, address: &str) -> Result<Document> {
        let unknown = || {
            Error::new(
                Kind::NotFound,
                "map-tile-unknown",
                "The map has no such tile, or no longer.",
            )
            .remedy("Begin at the root in map/head.tlog-proof; tiles of older ones go after a day.")
        };
        let id = TileId::parse(address).ok_or_else(unknown)?;
        let bytes = self.map_tile_bytes(id).await?.ok_or_else(unknown)?;
        Ok(Document::new(bytes, 0))
    }

    /// The newest commitment to the map: a proof file with the leaf as its extra data.
    ///
    /// # Errors
    /// `log-unknown`; `map-pending` before the first one.
    pub async fn map_head(&self, shard: u64) -> Result<Document> {
        let served = self.shard_head(shard, 0).await?;
        let (index, body) = self.newest_commitment(shard).await?;
        let served = if served.head.size > index {
            served
        } else {
            self.shard_head(shard, index + 1).await?
        };
        let proof = self.prove(&served, index, &body).await?;
        Ok(Document::new(proof.to_string().into(), served.head.size))
    }

    async fn newest_commitment(&self, shard: u64) -> Result<(u64, String)> {
        self.inner
            .store
            .newest_map_root(shard)
            .await?
            .ok_or_else(|| {
                Error::unavailable("map-pending", "The log does not commit to a map yet.")
                    .remedy("Try again in a moment.")
            })
    }

    /// All leaves of a project with what proves that there are no others (`docs/spec/completeness.md`), without the first
    /// `after`, if the map covers so many.
    ///
    /// # Errors
    /// `map-pending`, `map-torn`; `completeness-long` for a project with too many leaves.
    pub(crate) async fn completeness_of(
        &self,
        project: &ProjectId,
        purl: &str,
        after: u64,
    ) -> Result<(Completeness, u64)> {
        let shard = self.inner.shard;
        let (index, root_leaf) = self.newest_commitment(shard).await?;
        let served = self.shard_head(shard, index + 1).await?;
        let size = served.head.size;
        let commitment = read_map_root(root_leaf.as_bytes(), index)
            .map_err(|source| Error::internal("a stored commitment can not be read", source))?;
        let key = project_key(purl);
        let proof: MapProof = self
            .walk(commitment.root, [key])
            .await?
            .prove(&key)
            .map_err(|source| Error::internal("the map can not be proven", source))?;
        let long = || {
            Error::new(
                Kind::Rejected,
                "completeness-long",
                "The project has more leaves than fit into one answer.",
            )
            .remedy("Ask for those `after` what is known, or read the log itself.")
        };
        let below = LogPlace { shard, index: size };
        let room = MAX_COMPLETENESS_BYTES as u64 / 4 * 3;
        let leaves = self
            .inner
            .store
            .leaves_of_project(project, below, room)
            .await?
            .ok_or_else(long)?;
        let edge = LogPlace {
            shard,
            index: commitment.covers,
        };
        let count = leaves.iter().filter(|leaf| leaf.place < edge).count() as u64;
        let mut begin = ProjectState::NONE;
        let left_out = if after <= count { after } else { 0 };
        let (mut covered, mut newer) = (Vec::new(), Vec::new());
        for (number, leaf) in (1..).zip(leaves) {
            if number <= left_out {
                begin = begin.followed_by(&tlog::leaf_hash(leaf.body.as_bytes()));
            } else if leaf.place < edge {
                covered.push(leaf.body);
            } else {
                let place = self.place(&served, leaf.place.index, &leaf.body).await?;
                newer.push((place, leaf.body));
            }
        }
        let text = Completeness {
            project: purl.to_owned(),
            after: begin,
            root_place: self.place(&served, index, &root_leaf).await?,
            root_leaf,
            proof,
            covered,
            newer,
            checkpoint: served.head.checkpoint.clone(),
        };
        Ok((text, size))
    }

    async fn place(&self, served: &Served, index: u64, body: &str) -> Result<Place> {
        let proof = self.prove(served, index, body).await?;
        Ok(Place {
            index: proof.index,
            hashes: proof.hashes,
        })
    }
}

/// One part out of the spool file.
fn read_part(file: &mut std::fs::File, pieces: &[(u8, u32)], byte: u8) -> Result<Vec<Entry>> {
    let broken = |source| Error::internal("the spool can not be read", source);
    let (mut entries, mut at) = (Vec::new(), 0);
    for (part, length) in pieces {
        if *part == byte {
            let mut bytes = vec![0; usize::try_from(*length).unwrap_or_default()];
            file.seek(SeekFrom::Start(at)).map_err(broken)?;
            file.read_exact(&mut bytes).map_err(broken)?;
            let (records, _) = bytes.as_chunks::<64>();
            entries.extend(records.iter().filter_map(|record| {
                Some(Entry {
                    key: Sha256(*record.first_chunk()?),
                    value: Sha256(*record.last_chunk()?),
                })
            }));
        }
        at += u64::from(*length);
    }
    Ok(entries)
}
