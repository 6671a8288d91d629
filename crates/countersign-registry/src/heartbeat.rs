//! The heartbeat: the one writer of log, documents and TUF metadata of our own index.
//!
//! It starts at once when there is work and takes with it whatever was committed meanwhile. One beat:
//!
//! 1. **number**: in one transaction, give the committed events of the outbox their leaves and indices. From here on
//!    the tree is fixed: index and text of a leaf never change. *Crash after it*: the next beat finds leaves beyond the
//!    served head and goes on with step 2, over the same bytes.
//! 2. **tiles**: write the entry bundles and tiles that the growth needs, and the index documents of the projects that
//!    gain a file, content-addressed. Nobody is pointed at them yet. *Crash*: the next beat writes the same bytes.
//! 3. **sign** the checkpoint, and have it cosigned by a quorum of the witnesses, where a policy names some (`witnessed`).
//!    *Crash*: the signatures are lost, the next beat signs the same tree, and witnesses cosign it again.
//! 4. **publish**: in one transaction, compare-and-swap the head, turn the files live, point to the documents, publish the
//!    TUF metadata that lists them (`signing`). *Crash after it*: all is served; [`Registry::open`] writes the copy of the
//!    checkpoint beside the tiles.
//! 5. **show**: copy the checkpoint beside the tiles, swap the memory's view, wake the waiting publishers.
//!
//! Two heartbeats at once are harmless: the primary key of the leaves and the swap of the head refuse the second,
//! which then forgets its state and reads it anew.

mod record;
mod render;
mod signing;
mod tiles;
mod tree;
mod witnessed;

use std::collections::{HashMap, HashSet};
use std::sync::atomic::{AtomicBool, AtomicI64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use arc_swap::ArcSwap;
use bytes::Bytes;
use countersign_formats::pypi::documents::{self, FileView, ProjectHead};
use countersign_formats::{Ecosystem, NameKey, format, purl};
use countersign_trust::checkpoint::Checkpoint;
use countersign_trust::digest::Sha256;
use countersign_trust::leaf::{self, Algorithm, Leaf, LeafKind};
use countersign_trust::proof::TlogProof;
use countersign_trust::tlog::{self, EntriesId, Frontier, TileId};
use countersign_trust::tuf::TargetFile;
use futures::{StreamExt, TryStreamExt};
use serde_json::Value;
use tokio::sync::{Notify, oneshot};

use crate::accounts::{commitment, new_id};
use crate::error::{Error, Kind, Result};
use crate::fetch::{Document, DocumentKey};
use crate::model::{AccountId, Actor, EventId, FileId, Identity, LogId, ProjectId, Time};
use crate::store::{
    AttestationRow, Backend, DocumentRow, FileRow, Head, LeafFacts, NewEvent, NumberedLeaf, Tx,
    WRITE_CONFLICT,
};
use crate::tuf::{TargetChange, target_path};
use crate::{Blobs, Registry};

pub(crate) use record::Change;
use record::leaf_of;
use render::Fragments;
pub(crate) use render::{
    Shown, document_path, file_url, file_view, newer, project_head, render_index, render_packument,
    served_tags, simple_path,
};
pub(crate) use tiles::read_tile;
pub(crate) use tree::{Tree, tile_path};
pub(crate) use witnessed::{OVERRIDE, WITNESSES_MISSING, Watch};

/// Most leaves in one beat: a burst is cut so that its first publishers do not wait for its last.
const BATCH: u64 = 1_000;

/// How often the outbox is looked at without being called: for events that another process committed.
const IDLE: Duration = Duration::from_millis(400);

/// Rendered fragments kept of projects that were published to lately.
const FRAGMENTS: u64 = 48 << 20;

/// What the heartbeat shares with the rest.
pub(crate) struct Pulse {
    wake: Notify,
    stopping: AtomicBool,
    waiters: Mutex<HashMap<EventId, Vec<oneshot::Sender<Logged>>>>,
    head: ArcSwap<Served>,
    head_checked: AtomicI64,
    state: tokio::sync::Mutex<Option<LogState>>,
    projects: moka::sync::Cache<ProjectId, Arc<Fragments>>,
    problem: Mutex<Option<String>>,
    watch: Watch,
    /// Why TUF metadata can not be signed, if it can not.
    unsigned: Mutex<Option<String>>,
}

/// The head that readers see, with the tiles at its right edge.
pub(crate) struct Served {
    pub(crate) head: Head,
    pub(crate) edge: HashMap<TileId, Bytes>,
}

/// Where an event's leaf came to stand.
#[derive(Clone)]
pub(crate) struct Logged {
    pub(crate) index: u64,
    pub(crate) served: Arc<Served>,
    pub(crate) body: String,
}

/// The writer's own memory of the log; dropped and read anew after every failure.
struct LogState {
    shard: u64,
    log: LogId,
    origin: String,
    tree: Tree,
    /// Leaves were numbered beyond the served head, by a beat that did not end.
    unfinished: bool,
}

impl Pulse {
    pub(crate) fn new(head: Head) -> Self {
        Self {
            wake: Notify::new(),
            stopping: AtomicBool::new(false),
            waiters: Mutex::default(),
            head: ArcSwap::from_pointee(Served {
                head,
                edge: HashMap::new(),
            }),
            head_checked: AtomicI64::new(0),
            state: tokio::sync::Mutex::default(),
            projects: moka::sync::Cache::builder()
                .max_capacity(FRAGMENTS)
                .weigher(|_, project: &Arc<Fragments>| {
                    let bytes: usize = project
                        .fragments
                        .iter()
                        .map(|fragment| fragment.json.len() + fragment.version.len() + 64)
                        .sum();
                    u32::try_from(bytes + 512).unwrap_or(u32::MAX)
                })
                .build(),
            problem: Mutex::default(),
            watch: Watch::default(),
            unsigned: Mutex::default(),
        }
    }

    /// There is work.
    pub(crate) fn wake(&self) {
        self.wake.notify_one();
    }

    /// Asks to be told when this event is in the log. A beat that ended before this was called is found by the look
    /// into the database that follows.
    pub(crate) fn expect(&self, event: &EventId) -> oneshot::Receiver<Logged> {
        let (sender, receiver) = oneshot::channel();
        self.waiters
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .entry(event.clone())
            .or_default()
            .push(sender);
        receiver
    }

    /// Nobody waits for this event any longer.
    pub(crate) fn forget(&self, event: &EventId) {
        let mut waiters = self.waiters.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(list) = waiters.get_mut(event) {
            list.retain(|sender| !sender.is_closed());
            if list.is_empty() {
                waiters.remove(event);
            }
        }
    }

    fn tell(&self, event: &EventId, logged: &Logged) {
        let list = self
            .waiters
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .remove(event);
        for sender in list.into_iter().flatten() {
            // A publisher that hung up in between has nothing to be told; its retry finds the file.
            drop(sender.send(logged.clone()));
        }
    }

    /// Shows a head, unless a later one is shown already: readers never see the log shrink.
    fn show(&self, next: &Arc<Served>) {
        self.head.rcu(|shown| {
            let later = (shown.head.shard, shown.head.size) > (next.head.shard, next.head.size);
            if later { shown.clone() } else { next.clone() }
        });
    }

    /// Shows the same tree under a checkpoint with more cosignatures.
    fn recosign(&self, next: Head) {
        self.head.rcu(|shown| {
            if (shown.head.shard, shown.head.size) == (next.shard, next.size) {
                Arc::new(Served {
                    head: next.clone(),
                    edge: shown.edge.clone(),
                })
            } else {
                shown.clone()
            }
        });
    }

    /// The head as last seen.
    pub(crate) fn served(&self) -> Arc<Served> {
        self.head.load_full()
    }

    /// The next reader of the checkpoint asks the database.
    pub(crate) fn doubt_head(&self) {
        self.head_checked.store(0, Ordering::Release);
    }

    /// What keeps the log from moving, if anything.
    pub(crate) fn problem(&self) -> Option<String> {
        self.problem
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }

    /// What keeps TUF metadata from being signed, if anything.
    pub(crate) fn unsigned(&self) -> Option<String> {
        self.unsigned
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }

    fn set_unsigned(&self, problem: Option<String>) {
        *self.unsigned.lock().unwrap_or_else(PoisonError::into_inner) = problem;
    }

    pub(crate) fn set_problem(&self, problem: Option<String>) {
        *self.problem.lock().unwrap_or_else(PoisonError::into_inner) = problem;
    }
}

/// The running heartbeat of a serving process.
pub struct Beating {
    registry: Registry,
    task: tokio::task::JoinHandle<()>,
    chores: tokio::task::JoinHandle<()>,
}

impl Beating {
    /// Logs what is committed, then stops. Call it when no publisher is waiting any more.
    pub async fn stop(self) {
        self.registry
            .inner
            .beat
            .stopping
            .store(true, Ordering::Release);
        self.registry.inner.beat.wake();
        self.chores.abort();
        if let Err(error) = self.task.await {
            tracing::error!(%error, "the heartbeat did not end by itself");
        }
        self.registry.flush_downloads().await;
    }
}

impl Registry {
    /// Starts the heartbeat and the chores of a serving process.
    pub fn start(&self) -> Beating {
        let registry = self.clone();
        let task = tokio::spawn(async move {
            let mut ready = false;
            loop {
                let beat = &registry.inner.beat;
                if !ready {
                    // Where it fails the log goes on, and it is tried again before the next beat.
                    match registry.ready_to_sign().await {
                        Ok(()) => {
                            ready = true;
                            beat.set_unsigned(None);
                        }
                        Err(error) => {
                            tracing::error!(%error, "TUF metadata can not be signed yet");
                            beat.set_unsigned(Some(error.message));
                        }
                    }
                }
                let called = tokio::time::timeout(IDLE, beat.wake.notified())
                    .await
                    .is_ok();
                let stopping = beat.stopping.load(Ordering::Acquire);
                // After a fault the log is tried again even if nobody waits: `healthz` must not stay red for ever.
                let troubled = beat.problem().is_some();
                let lacking = registry.lacks_witnesses() || registry.cosignatures_are_old();
                if called || stopping || troubled || lacking || registry.has_backlog().await {
                    registry.beat_apart().await;
                }
                if stopping {
                    return;
                }
            }
        });
        let registry = self.clone();
        let chores = tokio::spawn(async move {
            tokio::join!(
                registry.chores(),
                registry.watch(),
                registry.office(),
                registry.keep_map(),
                registry.keep_service_logs()
            );
        });
        Beating {
            registry: self.clone(),
            task,
            chores,
        }
    }

    async fn has_backlog(&self) -> bool {
        let waiting = async {
            let events = self.inner.store.backlog().await?;
            Ok::<_, Error>(events + self.inner.store.documents_due_count().await?)
        };
        match waiting.await {
            Ok(waiting) => waiting > 0,
            Err(error) => {
                self.inner.beat.set_problem(Some(error.message.clone()));
                false
            }
        }
    }

    /// [`Registry::beat_until_done`] where it holds nobody up: SQLite answers in the thread that asks.
    async fn beat_apart(&self) {
        if self.inner.store.backend() == Backend::Postgres {
            return self.beat_until_done().await;
        }
        let (registry, runtime) = (self.clone(), tokio::runtime::Handle::current());
        let beats =
            tokio::task::spawn_blocking(move || runtime.block_on(registry.beat_until_done()));
        if let Err(error) = beats.await {
            tracing::error!(%error, "a beat broke off");
        }
    }

    /// Beats until nothing is left to log, or until it fails; the failure is kept for `healthz` and tried again later.
    pub(crate) async fn beat_until_done(&self) {
        let mut races = 0;
        loop {
            let beat = async {
                let logged = self.beat().await?;
                // Those that gained no file: at once after the leaf that tells of their change.
                Ok::<_, Error>((logged, self.settle_documents().await?))
            };
            match beat.await {
                Ok((0, 0)) => {
                    self.inner.beat.set_problem(None);
                    return;
                }
                Ok((logged, _)) => {
                    races = 0;
                    self.inner.beat.set_problem(None);
                    // A cheap look spares the writers a transaction that would find nothing.
                    if logged > 0 && !self.has_backlog().await {
                        return;
                    }
                }
                Err(error) if error.code == WRITE_CONFLICT && races < 20 => races += 1,
                Err(error) => {
                    // Once for each fault: it is tried again as long as it lasts.
                    if self.inner.beat.problem().as_ref() != Some(&error.message) {
                        tracing::error!(error = %error, source = ?error.source, "the log stands still");
                    }
                    self.inner.beat.set_problem(Some(error.message.clone()));
                    return;
                }
            }
        }
    }

    /// One beat; the number of leaves that it added to what is served.
    pub(crate) async fn beat(&self) -> Result<usize> {
        let mut guard = self.inner.beat.state.lock().await;
        let mut state = match guard.take() {
            Some(state) => state,
            None => self.load_state().await?,
        };
        // `guard` stays empty unless all went well: after a failure nothing in memory is believed.
        if let Some(witnesses) = &self.inner.witnesses {
            let watch = &self.inner.beat.watch;
            self.meet_witnesses(witnesses, watch, &state.log, &state.tree)
                .await?;
        }
        let shard = state.shard;
        let unserved = |size| self.inner.store.leaves_from(shard, size, BATCH);
        let mut leaves = Vec::new();
        if state.unfinished {
            leaves = unserved(state.tree.frontier.size()).await?;
            state.unfinished = !leaves.is_empty();
        }
        if leaves.is_empty() {
            leaves = self.number(&state).await?;
        }
        if leaves.is_empty() {
            // What a process that died meanwhile had numbered.
            leaves = unserved(state.tree.frontier.size()).await?;
        }
        if leaves.is_empty() {
            self.cosign_what_is_shown(&state).await?;
            *guard = Some(state);
            return Ok(0);
        }
        let count = leaves.len();
        self.integrate(&mut state, leaves).await?;
        *guard = Some(state);
        Ok(count)
    }

    /// Step 1.
    async fn number(&self, state: &LogState) -> Result<Vec<NumberedLeaf>> {
        let mut tx = self.inner.store.write().await?;
        let rows = tx.outbox(BATCH).await?;
        if rows.is_empty() {
            return Ok(Vec::new());
        }
        let mut chains: HashMap<ProjectId, (u64, u64)> = HashMap::new();
        let mut leaves = Vec::with_capacity(rows.len());
        for (index, row) in (state.tree.frontier.size()..).zip(rows) {
            let place = match &row.project {
                None => None,
                Some(project) => {
                    let (sequence, previous) = match chains.get(project) {
                        Some((sequence, last)) => (sequence + 1, Some(*last)),
                        None => (row.sequence.unwrap_or(0) + 1, row.previous),
                    };
                    chains.insert(project.clone(), (sequence, index));
                    Some((sequence, previous))
                }
            };
            let body = leaf_of(&row.leaf, row.at, place)?
                .to_text()
                .map_err(|source| Error::internal("a leaf can not be written", source))?;
            leaves.push(NumberedLeaf {
                index,
                hash: tlog::leaf_hash(body.as_bytes()),
                event: row.event,
                project: row.project,
                file: row.file,
                kind: row.leaf.kind,
                subject: row.leaf.subject.unwrap_or_default(),
                at: row.at,
                body,
            });
        }
        tx.number_leaves(state.shard, &leaves, &chains).await?;
        tx.commit().await?;
        Ok(leaves)
    }

    /// Steps 2 to 5. The recovery of an unfinished beat runs this very code over the leaves read back.
    async fn integrate(&self, state: &mut LogState, leaves: Vec<NumberedLeaf>) -> Result<()> {
        let old_size = state.tree.frontier.size();
        let epoch = self.inner.fetch.epoch();
        if leaves
            .iter()
            .enumerate()
            .any(|(offset, leaf)| leaf.index != old_size + offset as u64)
        {
            return Err(Error::internal(
                "the log's rows have a gap",
                format!("after index {old_size}"),
            ));
        }
        let hashes: Vec<Sha256> = leaves.iter().map(|leaf| leaf.hash).collect();

        // 2. Tiles and bundles, then documents. Full ones for ever; partial ones can be made again from the rows.
        let entries = leaves.iter().map(|leaf| leaf.body.as_bytes());
        let mut growth = state.tree.grow(&state.log, &hashes, entries)?;
        let new_size = growth.frontier.size();
        let mut objects = std::mem::take(&mut growth.objects);
        let now = self.now();
        let rendered = self.render_gaining(&leaves, now).await?;
        objects.extend(rendered.iter().map(|page| {
            (
                document_path(&page.row.digest),
                page.document.bytes.clone(),
                false,
            )
        }));
        self.write_objects(objects).await?;

        let (attested, unattested) = self.own_words(&leaves, now).await?;

        // 3. The signature. Only this tree can follow: its leaves are committed rows.
        let root = growth.frontier.root();
        let signed = self.signed(&state.origin, new_size, root, now);
        let mut head = Head {
            shard: state.shard,
            origin: state.origin.clone(),
            size: new_size,
            root,
            checkpoint: signed,
            signed: now,
            frozen: None,
        };
        head.checkpoint = self.cosigned(state, &growth.tiles, &head).await?;

        let changes = rendered
            .iter()
            .map(|page| {
                let file = TargetFile::new(page.row.size, page.document.sha256);
                let path = target_path(page.ecosystem, &page.key);
                (
                    page.ecosystem,
                    TargetChange {
                        path,
                        file: Some(file),
                    },
                )
            })
            .collect();
        let signing = self.sign_targets(changes, now).await?;

        // 4. From here on it is served.
        let mut tx = self.inner.store.write().await?;
        tx.swap_head(old_size, &head).await?;
        let files: Vec<(FileId, u64)> = leaves
            .iter()
            .filter(|leaf| leaf.kind == LeafKind::FilePublished.as_str())
            .filter_map(|leaf| Some((leaf.file.clone()?, leaf.index)))
            .collect();
        let projects: Vec<ProjectId> = rendered
            .iter()
            .map(|page| page.row.project.clone())
            .collect();
        // Projects before files: whoever withholds something locks them in this order too.
        let states = tx.raise_serials(&projects, now, true).await?;
        tx.files_live(state.shard, &files, now).await?;
        tx.insert_own_attestations(&attested).await?;
        tx.own_words_due_for(&unattested).await?;
        for page in &rendered {
            let current = states.iter().find(|state| state.id == page.row.project);
            if current.is_none_or(|current| {
                current.serial != page.row.serial || current.status != page.status
            }) {
                // Somebody yanked, withheld or renamed between rendering and now: once more, from the rows.
                self.inner.beat.projects.invalidate(&page.row.project);
                return Err(Error::new(
                    Kind::Conflict,
                    WRITE_CONFLICT,
                    "A project changed while it was rendered.",
                ));
            }
        }
        let rows: Vec<DocumentRow> = rendered.iter().map(|page| page.row.clone()).collect();
        tx.point_documents(&rows, now).await?;
        let latest: Vec<_> = rendered
            .iter()
            .filter_map(|page| {
                page.latest
                    .clone()
                    .map(|(version, summary)| (page.row.project.clone(), version, summary))
            })
            .collect();
        tx.set_latest(&latest).await?;
        match &signing {
            Some(signing) => signing.publish(&mut tx, now).await?,
            None => tx.note_due(&projects, now).await?,
        }
        tx.commit().await?;

        // 5. Memory follows at once, then the copy beside the tiles; then the publishers hear of it.
        let (edge, stale) = state.tree.take(growth);
        self.drop_outgrown(&state.log, &stale, new_size);
        let served = Arc::new(Served { head, edge });
        if self.inner.beat.served().head.size < old_size {
            // Another process's beats lie between what memory showed and this one.
            self.inner.fetch.doubt(self.now());
        }
        self.inner.beat.show(&served);
        self.inner.beat.head_checked.store(now.0, Ordering::Release);
        let rights = [LeafKind::OwnerChanged, LeafKind::RoleChanged].map(LeafKind::as_str);
        if leaves
            .iter()
            .any(|leaf| rights.contains(&leaf.kind.as_str()))
        {
            // npm's packuments name owners: whoever reads one next asks for its serial.
            self.inner.fetch.doubt(self.now());
        }
        let mut epoch = epoch;
        for page in rendered {
            // What is derived from the document is derived anew: a receipt's file is in every rendering.
            self.inner.fetch.forget(page.ecosystem, &page.key, []);
            epoch += 1;
            // Memory answers without asking who reads.
            if !page.private {
                self.inner.fetch.put(
                    DocumentKey::Index(page.ecosystem, page.key),
                    Arc::new(page.document),
                    now,
                    epoch,
                );
            }
            self.inner
                .beat
                .projects
                .insert(page.row.project, page.fragments);
        }
        // After the documents: whoever learns of the new ones finds them.
        if let Some(signing) = signing {
            signing.show(self);
        }
        // The leaves are served since the commit: a copy that fails is no reason to tell publishers otherwise, and the
        // next beat or start writes it.
        let copy = Bytes::from(served.head.checkpoint.clone());
        if let Err(error) = self
            .inner
            .blobs
            .put_quick(&tile_path(state.shard, "checkpoint"), copy)
            .await
        {
            tracing::warn!(%error, "the copy of the checkpoint beside the tiles is old");
        }
        for leaf in leaves {
            self.inner.beat.tell(
                &leaf.event,
                &Logged {
                    index: leaf.index,
                    served: served.clone(),
                    body: leaf.body,
                },
            );
        }
        self.log_grew();
        Ok(())
    }

    /// A checkpoint under the log's own signatures.
    fn signed(&self, origin: &str, size: u64, root: Sha256, now: Time) -> String {
        self.inner
            .keys
            .sign(&Checkpoint::new(origin, size, root), now)
    }

    /// What the registry attests itself of the files that these leaves publish or attest. Where it has no key the log goes
    /// on: the files are noted, a chore makes up for it, and `doctor` says so.
    async fn own_words(
        &self,
        leaves: &[NumberedLeaf],
        now: Time,
    ) -> Result<(Vec<AttestationRow>, Vec<FileId>)> {
        let of_kind = |kind: LeafKind| {
            leaves
                .iter()
                .filter(move |leaf| leaf.kind == kind.as_str())
                .filter_map(|leaf| leaf.file.clone())
        };
        let fresh: HashSet<FileId> = of_kind(LeafKind::FilePublished).collect();
        let again = of_kind(LeafKind::AttestationAdded).collect::<Vec<_>>();
        if fresh.is_empty() && again.is_empty() {
            return Ok((Vec::new(), Vec::new()));
        }
        let mut files: Vec<FileId> = fresh.iter().cloned().chain(again).collect();
        files.sort();
        files.dedup();
        let notary = match self.notary().await {
            Ok(notary) => notary,
            Err(error) => {
                tracing::error!(%error, "the registry can not attest what it publishes; it is made up for later");
                return Ok((Vec::new(), files));
            }
        };
        let subjects = self.inner.store.own_subjects(&files).await?;
        let theirs: Vec<FileId> = leaves
            .iter()
            .filter(|leaf| leaf.body.contains("\nattestation "))
            .filter_map(|leaf| leaf.file.clone())
            .collect();
        let theirs = self.inner.store.attestations_of(&theirs).await?;
        let made = self
            .own_attestations(
                notary,
                subjects,
                |subject| fresh.contains(&subject.file),
                &theirs,
                now,
            )
            .await?;
        Ok((made, Vec::new()))
    }

    /// Reads the writer's memory of the log from the rows, and the tiles at the right edge from the blob store; makes
    /// them again where the blob store lost them.
    async fn load_state(&self) -> Result<LogState> {
        let shard = self.inner.shard;
        let Some(head) = self.inner.store.head(shard).await? else {
            return Err(Error::unavailable(
                "log-missing",
                "The registry has no log.",
            ));
        };
        if head.frozen.is_some() {
            return Err(Error::unavailable(
                "log-frozen",
                format!("The log {} was closed for ever.", head.origin),
            ));
        }
        // What this process served is out in the world, whatever somebody made of the database since.
        let served = self.inner.beat.served();
        let before = &served.head;
        if (before.shard, before.size) > (shard, head.size)
            || (before.shard, before.size) == (shard, head.size) && before.root != head.root
        {
            return Err(Error::unavailable(
                "log-ahead",
                format!(
                    "This server has served {} leaves of the log, and the database says {}: it was changed under it. Nothing will be signed.",
                    before.size, head.size
                ),
            )
            .remedy("Stop the server, keep this database for inspection, and restore the newest backup with `countersignd restore --replay FILE`."));
        }
        let log = LogId::Shard(shard);
        let (tree, unfinished) = self.load_tree(&log, head.size, head.root).await?;
        Ok(LogState {
            shard,
            log,
            origin: head.origin,
            tree,
            unfinished,
        })
    }

    /// The served head, read again from the database when the last look is older than `FRESH`.
    pub(crate) async fn fresh_head(&self, at_least: u64) -> Result<Arc<Served>> {
        let (now, served) = (self.now(), self.inner.beat.served());
        let age = now.0 - self.inner.beat.head_checked.load(Ordering::Acquire);
        if served.head.size >= at_least && (0..crate::fetch::FRESH).contains(&age) {
            return Ok(served);
        }
        let Some(head) = self.inner.store.head(self.inner.shard).await? else {
            return Err(Error::unavailable(
                "log-missing",
                "The registry has no log.",
            ));
        };
        self.inner.beat.head_checked.store(now.0, Ordering::Release);
        if head.size > served.head.size {
            // Another process published: what memory holds was right before, and is in doubt now.
            self.inner.fetch.doubt(self.now());
            let served = Arc::new(Served {
                head,
                edge: HashMap::new(),
            });
            self.inner.beat.show(&served);
            return Ok(self.inner.beat.served());
        }
        if head.size == served.head.size && head.checkpoint != served.head.checkpoint {
            // Another process got more cosignatures for the same tree.
            self.inner.beat.recosign(head);
            return Ok(self.inner.beat.served());
        }
        Ok(served)
    }
}
