//! Places for entries, and the beats that show them.
//!
//! *Crash after places were given*: the entries are rows, and the next beat of any process shows them. *Crash after the tiles
//! were written, or while witnesses are asked*: the next beat writes the same bytes and signs the same tree or a longer one.
//! *Crash after the head was moved*: all is shown; the copy of the checkpoint follows with the next beat.

use countersign_trust::entry::{MAX_IDENTIFIER_BYTES, digest_entry};
use tokio::sync::oneshot;
use tokio::time::Instant;

use super::*;
use crate::heartbeat::WITNESSES_MISSING;
use crate::store::{Backend, WRITE_CONFLICT, retried};

/// The most entries that get places in one transaction, and that one beat shows.
const BATCH: usize = 16_384;
/// Entries kept in memory between their place and their beat; what is beyond is read from the rows.
const KEPT: usize = 2 * BATCH;
/// Entries of requests that wait for their turn in this process.
const MOST_WAITING: usize = 4 * BATCH;
/// How often somebody else's being a moment earlier is taken with patience.
const RACES: usize = 20;
/// How often it is looked whether something is left that nobody shows, as after a crash.
const LOOK: Duration = Duration::from_secs(1);

/// An entry to append.
#[derive(Clone, Debug)]
pub struct LogEntry {
    /// Its bytes: 1 to [`LONGEST_ENTRY`].
    pub data: Bytes,
    /// What it is about: stands for these bytes and no others, where the service has identifiers.
    pub identifier: Option<String>,
}

impl LogEntry {
    /// The entry that logs a digest: [`digest_entry`].
    ///
    /// # Errors
    /// `log-entry-identifier`.
    pub fn of_digest(digest: Sha256, identifier: Option<String>) -> Result<Self> {
        let text = digest_entry(digest, identifier.as_deref()).ok_or_else(|| {
            rejected(
                "log-entry-identifier",
                format!("The identifier {identifier:?} stands on no line of an entry."),
                "An identifier has 1 to 1024 bytes and no control characters.",
            )
        })?;
        Ok(Self {
            data: text.into(),
            identifier,
        })
    }
}

/// Where an entry is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PlacedEntry {
    /// Its index in the log.
    pub index: u64,
    /// Its Merkle leaf hash.
    pub hash: Sha256,
    /// Was it there before?
    pub repeated: bool,
}

/// An entry with what it is found by.
struct Hashed {
    leaf: Sha256,
    hash: String,
    data: Bytes,
    /// SHA-256 of the identifier, hex.
    identifier: Option<String>,
}

/// What one request sent.
pub(super) struct Job {
    entries: Vec<Hashed>,
    answer: oneshot::Sender<Placed>,
}

/// Places of one request's entries, or why it gets none.
type Placed = Result<Vec<PlacedEntry>>;

/// Takes no more for now.
fn full(why: String) -> Error {
    Error::unavailable("log-service-full", why)
        .remedy("Send the same request again later. `countersignd log service list` says what keeps a log from moving.")
}

fn rejected(code: &'static str, sentence: String, remedy: &str) -> Error {
    Error::new(Kind::Rejected, code, sentence).remedy(remedy)
}

/// Checks what was sent, and finds out what it is found by.
fn hashed(entries: Vec<LogEntry>, identifiers: bool) -> Result<Vec<Hashed>> {
    if !(1..=MOST_ENTRIES).contains(&entries.len()) {
        return Err(rejected(
            "log-entries-count",
            format!("{} entries were sent.", entries.len()),
            "Send 1 to 1000 at a time.",
        ));
    }
    let identifier = |why: String, remedy: &str| rejected("log-entry-identifier", why, remedy);
    let check = |(position, entry): (usize, LogEntry)| {
        let bytes = entry.data.len();
        if !(1..=LONGEST_ENTRY).contains(&bytes) {
            return Err(rejected(
                "log-entry-size",
                format!("Entry {position} has {bytes} bytes."),
                "An entry has 1 to 4096 bytes. For longer things, send a digest.",
            ));
        }
        match &entry.identifier {
            Some(text) if text.is_empty() || text.len() > MAX_IDENTIFIER_BYTES => {
                return Err(identifier(
                    format!(
                        "The identifier of entry {position} has {} bytes.",
                        text.len()
                    ),
                    "An identifier has 1 to 1024 bytes.",
                ));
            }
            Some(_) if !identifiers => {
                return Err(identifier(
                    format!("Entry {position} has an identifier, and this log keeps none."),
                    "Leave it out, or make a log with `countersignd log service create NAME --identifiers`.",
                ));
            }
            None if identifiers => {
                return Err(identifier(
                    format!("Entry {position} has no identifier."),
                    "In this log each entry has one, which stands for it alone.",
                ));
            }
            _ => {}
        }
        let leaf = tlog::leaf_hash(&entry.data);
        Ok(Hashed {
            leaf,
            hash: leaf.to_hex(),
            data: entry.data,
            identifier: entry
                .identifier
                .map(|text| Sha256::of(text.as_bytes()).to_hex()),
        })
    };
    entries.into_iter().enumerate().map(check).collect()
}

/// What entries and identifiers stand for, and what is added to it.
struct Places {
    next: u64,
    hashes: HashMap<String, u64>,
    identifiers: HashMap<String, (u64, String)>,
    fresh: Vec<(String, Bytes)>,
    fresh_leaves: Vec<Sha256>,
    fresh_identifiers: Vec<(String, u64)>,
}

impl Places {
    /// Places for all entries of a request, or for none.
    fn give(&mut self, entries: &[Hashed]) -> Placed {
        let mut mine: HashMap<&str, &str> = HashMap::new();
        for (position, entry) in entries.iter().enumerate() {
            let Some(identifier) = &entry.identifier else {
                continue;
            };
            if let Some((index, hash)) = self.identifiers.get(identifier)
                && *hash != entry.hash
            {
                return Err(Error::new(
                    Kind::Conflict,
                    "log-identifier-taken",
                    format!(
                        "The identifier of entry {position} stands for other bytes already, at index {index}."
                    ),
                )
                .remedy("An identifier stands for one digest, for ever. Nothing of this request was taken."));
            }
            if mine
                .insert(identifier, &entry.hash)
                .is_some_and(|other| other != entry.hash)
            {
                return Err(rejected(
                    "log-entry-identifier",
                    format!(
                        "The identifier of entry {position} stands before an earlier one too, with other bytes."
                    ),
                    "An identifier stands for one digest, for ever.",
                ));
            }
        }
        let place = |entry: &Hashed| {
            let (index, repeated) = match self.hashes.get(&entry.hash) {
                Some(index) => (*index, true),
                None => {
                    let index = self.next;
                    self.next += 1;
                    self.hashes.insert(entry.hash.clone(), index);
                    self.fresh.push((entry.hash.clone(), entry.data.clone()));
                    self.fresh_leaves.push(entry.leaf);
                    (index, false)
                }
            };
            if let Some(identifier) = &entry.identifier
                && !self.identifiers.contains_key(identifier)
            {
                self.identifiers
                    .insert(identifier.clone(), (index, entry.hash.clone()));
                self.fresh_identifiers.push((identifier.clone(), index));
            }
            PlacedEntry {
                index,
                hash: entry.leaf,
                repeated,
            }
        };
        Ok(entries.iter().map(place).collect())
    }
}

impl Keeper {
    fn numbered(&self) -> std::sync::MutexGuard<'_, BTreeMap<u64, (Sha256, Bytes)>> {
        self.numbered.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn set_problem(&self, problem: Option<String>) {
        *self.problem.lock().unwrap_or_else(PoisonError::into_inner) = problem;
    }

    /// When the next beat may begin; it is then taken as begun.
    fn next_beat(&self) -> Instant {
        let interval = Duration::from_millis(self.row.interval_ms);
        let mut last = self
            .last_beat
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        let now = Instant::now();
        let next = last.map_or(now, |last| now.max(last + interval));
        *last = Some(next);
        next
    }

    /// Is it time to have the resting log cosigned again?
    fn is_due(&self, now: Time) -> bool {
        self.witnesses.is_some() && self.watch.is_old(now)
    }

    /// The jobs whose turn it is.
    fn next_jobs(&self) -> Vec<Job> {
        let mut waiting = self.waiting.lock().unwrap_or_else(PoisonError::into_inner);
        let mut entries = 0;
        let fit = waiting.iter().take_while(|job| {
            let first = entries == 0;
            entries += job.entries.len();
            first || entries <= BATCH
        });
        let count = fit.count();
        waiting.drain(..count).collect()
    }
}

impl Registry {
    /// Appends entries, all or none. When this returns they are durable and have their places for ever; what was there
    /// before has the place that it had. [`Registry::shown_entries`] waits until they are under a checkpoint.
    ///
    /// # Errors
    /// `log-entries-count`, `log-entry-size`, `log-entry-identifier`; `log-identifier-taken` (conflict);
    /// `log-service-closed`; `log-service-full` (unavailable) where too many wait for a checkpoint already.
    pub async fn append_entries(
        &self,
        desk: &LogDesk,
        entries: Vec<LogEntry>,
    ) -> Result<Vec<PlacedEntry>> {
        let keeper = self.keeper(&desk.name).await?;
        let entries = hashed(entries, keeper.row.identifiers)?;
        let (answer, answered) = oneshot::channel();
        let job = Job { entries, answer };
        {
            let mut waiting = keeper
                .waiting
                .lock()
                .unwrap_or_else(PoisonError::into_inner);
            let ahead: usize = waiting.iter().map(|job| job.entries.len()).sum();
            if ahead >= MOST_WAITING {
                return Err(full(format!(
                    "{ahead} entries wait to be written, and no more are taken."
                )));
            }
            waiting.push(job);
        }
        // In a task of its own: a caller who goes away must not take with it those who wait beside it.
        tokio::spawn(self.clone().number_waiting(keeper));
        answered
            .await
            .map_err(|source| Error::internal("giving places to entries broke off", source))?
    }

    /// Waits until the entries at these indices are shown: the checkpoint, and with `proofs` what proves each of them in it.
    ///
    /// # Errors
    /// `log-service-late` (unavailable) after 20 seconds: the entries keep their places.
    pub async fn shown_entries(
        &self,
        desk: &LogDesk,
        indices: &[u64],
        proofs: bool,
    ) -> Result<(Document, Vec<Vec<Sha256>>)> {
        let keeper = self.keeper(&desk.name).await?;
        let until = indices.iter().max().map_or(0, |last| last + 1);
        let mut served = keeper.shown.subscribe();
        let reached = served.wait_for(|shown| shown.head.size >= until);
        let waited = tokio::time::timeout(self.inner.settings.log_wait, reached).await;
        let shown = waited.ok().and_then(|shown| Some(shown.ok()?.clone()));
        let Some(shown) = shown else {
            let why = keeper.problem().unwrap_or_default();
            let message =
                format!("The entries have their places, and are not under a checkpoint yet. {why}");
            return Err(Error::unavailable("log-service-late", message.trim_end())
                .remedy("Send the same request again later: the same entries keep their places."));
        };
        let size = shown.head.size;
        let mut paths = Vec::new();
        if proofs {
            for index in indices {
                let path = self.inclusion(&keeper.log, size, &shown.edge, *index);
                paths.push(path.await?);
            }
        }
        let note = shown.head.checkpoint.clone();
        Ok((Document::new(note.into(), size), paths))
    }

    /// Whoever gets the turn gives places to all that wait by then; for those who come after it somebody else will.
    async fn number_waiting(self, keeper: Arc<Keeper>) {
        let _turn = keeper.turn.lock().await;
        let jobs = keeper.next_jobs();
        if jobs.is_empty() {
            return;
        }
        match retried(RACES, || self.number_once(&keeper, &jobs)).await {
            Ok(placed) => {
                self.beat_for(&keeper);
                for (job, placed) in jobs.into_iter().zip(placed) {
                    // Whoever went away finds the same places when they ask again.
                    drop(job.answer.send(placed));
                }
            }
            Err(error) => {
                for job in jobs {
                    drop(job.answer.send(Err(error.without_source())));
                }
            }
        }
    }

    /// One transaction for all of them; a request that is refused takes nothing from the others.
    async fn number_once(&self, keeper: &Arc<Keeper>, jobs: &[Job]) -> Result<Vec<Placed>> {
        let name = &keeper.row.name;
        let entries = || jobs.iter().flat_map(|job| &job.entries);
        let hashes: Vec<String> = entries().map(|entry| entry.hash.clone()).collect();
        let identifiers: Vec<String> = entries()
            .filter_map(|entry| entry.identifier.clone())
            .collect();
        let mut tx = self.inner.store.write().await?;
        let Some(from) = tx.lock_log_service(name).await? else {
            return Err(Error::new(
                Kind::Conflict,
                "log-service-closed",
                format!("The log {} is closed for ever.", keeper.row.origin),
            )
            .remedy("Ask the operator for another one."));
        };
        let most = self.inner.settings.most_unshown;
        if from.saturating_sub(keeper.served().head.size) >= most {
            // Another process may have shown them; it is not asked while a transaction is open.
            drop(tx);
            let unshown = from.saturating_sub(self.service_head(name, from).await?.head.size);
            if unshown >= most {
                self.beat_for(keeper);
                let why = keeper.problem().unwrap_or_default();
                let message = format!(
                    "{unshown} entries wait for a checkpoint, and no more are taken. {why}"
                );
                return Err(full(message.trim_end().to_owned()));
            }
            return Err(Error::new(
                Kind::Conflict,
                WRITE_CONFLICT,
                "More was shown meanwhile.",
            ));
        }
        let mut places = Places {
            next: from,
            hashes: tx.places_of_hashes(name, &hashes).await?,
            identifiers: HashMap::new(),
            fresh: Vec::new(),
            fresh_leaves: Vec::new(),
            fresh_identifiers: Vec::new(),
        };
        if !identifiers.is_empty() {
            places.identifiers = tx.places_of_identifiers(name, &identifiers).await?;
        }
        let placed: Vec<Placed> = jobs.iter().map(|job| places.give(&job.entries)).collect();
        if places.fresh.is_empty() && places.fresh_identifiers.is_empty() {
            return Ok(placed);
        }
        if !places.fresh.is_empty() {
            tx.number_entries(name, from, &places.fresh).await?;
        }
        tx.insert_log_identifiers(name, &places.fresh_identifiers)
            .await?;
        tx.commit().await?;
        let mut numbered = keeper.numbered();
        if numbered.len() < KEPT {
            let bodies = places.fresh.into_iter().map(|(_, body)| body);
            let entries = places.fresh_leaves.into_iter().zip(bodies);
            numbered.extend((from..).zip(entries));
        }
        Ok(placed)
    }

    /// Sees to it that somebody beats for this log until all is shown.
    fn beat_for(&self, keeper: &Arc<Keeper>) {
        if !keeper.beating.swap(true, Ordering::AcqRel) {
            tokio::spawn(self.clone().beats_of(keeper.clone()));
        }
    }

    async fn beats_of(self, keeper: Arc<Keeper>) {
        let mut races = 0;
        loop {
            tokio::time::sleep_until(keeper.next_beat()).await;
            match self.service_beat_apart(&keeper).await {
                Ok(0) => {
                    keeper.set_problem(None);
                    keeper.beating.store(false, Ordering::Release);
                    // What got its place between the look and this line is somebody's to show.
                    let left = !keeper.numbered().is_empty();
                    if !left || keeper.beating.swap(true, Ordering::AcqRel) {
                        return;
                    }
                }
                Ok(_) => {
                    races = 0;
                    keeper.set_problem(None);
                }
                Err(error) if error.code == WRITE_CONFLICT && races < RACES => races += 1,
                Err(error) => {
                    // Once for each fault: it is tried again as long as it lasts, by the next entry or the next look.
                    if keeper.problem().as_ref() != Some(&error.message) {
                        tracing::error!(log = keeper.row.origin, error = %error, source = ?error.source, "the log of a service stands still");
                    }
                    keeper.set_problem(Some(error.message));
                    keeper.beating.store(false, Ordering::Release);
                    return;
                }
            }
        }
    }

    /// A beat where it holds nobody up: SQLite answers in the thread that asks.
    async fn service_beat_apart(&self, keeper: &Arc<Keeper>) -> Result<usize> {
        if self.inner.store.backend() == Backend::Postgres {
            return self.service_beat(keeper).await;
        }
        let (registry, keeper) = (self.clone(), keeper.clone());
        let runtime = tokio::runtime::Handle::current();
        let beat =
            tokio::task::spawn_blocking(move || runtime.block_on(registry.service_beat(&keeper)));
        beat.await
            .map_err(|source| Error::internal("a beat broke off", source))?
    }

    /// Shows what has a place; how many entries that added.
    async fn service_beat(&self, keeper: &Arc<Keeper>) -> Result<usize> {
        let (name, log) = (&keeper.row.name, &keeper.log);
        let mut guard = keeper.tree.lock().await;
        let head = self.inner.store.log_service_head(name).await?;
        let head = head.ok_or_else(|| unknown(name))?;
        // Another process may have shown more.
        keeper.show(head.clone(), None);
        let known = guard
            .take()
            .filter(|tree| tree.frontier.size() == head.size && tree.frontier.root() == head.root);
        let mut tree = match known {
            Some(tree) => tree,
            None => {
                self.compare_with_copy(keeper, &head).await?;
                self.load_tree(log, head.size, head.root).await?.0
            }
        };
        // `guard` stays empty unless all went well: after a failure nothing in memory is believed.
        if let Some(witnesses) = &keeper.witnesses {
            self.meet_witnesses(witnesses, &keeper.watch, log, &tree)
                .await?;
        }
        let entries = self.unserved(keeper, head.size).await?;
        // A log that rests is cosigned again now and then; what is shown is as good as before where that fails.
        let again = keeper.is_due(self.now()) && head.size > 0;
        let lacks = lacks_cosignatures(keeper, &head);
        if entries.is_empty() && !lacks && !again {
            *guard = Some(tree);
            return Ok(0);
        }
        let hashes: Vec<Sha256> = entries.iter().map(|(hash, _)| *hash).collect();
        let bodies = entries.iter().map(|(_, body)| body.as_ref());
        let mut growth = tree.grow(log, &hashes, bodies)?;
        self.write_objects(std::mem::take(&mut growth.objects))
            .await?;
        let now = self.now();
        let (size, root) = (growth.frontier.size(), growth.frontier.root());
        let keys = self.service_keys(keeper).await?;
        let mut next = LogServiceHead {
            size,
            root,
            checkpoint: keys.sign(&Checkpoint::new(&keeper.row.origin, size, root), now),
            signed: now,
        };
        if let Some(witnesses) = &keeper.witnesses {
            keeper.watch.asked(now);
            let tiles = self.tiles_of(log, &tree, &growth.tiles);
            let (registry, whose) = (self.clone(), keeper.clone());
            let late = move |note: String| {
                tokio::spawn(registry.service_cosigned_late(whose, size, note));
            };
            let note = next.checkpoint.clone();
            let cosigned = self.have_cosigned(witnesses, &keeper.watch, tiles, note, late);
            match cosigned.await {
                Ok(note) => next.checkpoint = note,
                Err(error) if error.code == WITNESSES_MISSING && entries.is_empty() && !lacks => {
                    tracing::warn!(log = keeper.row.origin, %error, "the witnesses did not cosign the resting log again");
                    *guard = Some(tree);
                    return Ok(0);
                }
                Err(error) => return Err(error),
            }
        }
        let mut tx = self.inner.store.write().await?;
        tx.swap_log_service_head(name, &head, &next).await?;
        tx.commit().await?;
        let (edge, stale) = tree.take(growth);
        self.drop_outgrown(log, &stale, size);
        keeper.asked.store(now.0, Ordering::Release);
        let copy = Bytes::from(next.checkpoint.clone());
        keeper.show(next, Some(edge));
        let path = log.path("checkpoint");
        if let Err(error) = self.inner.blobs.put_quick(&path, copy).await {
            tracing::warn!(%error, "the copy of the checkpoint beside the tiles is old");
        }
        *guard = Some(tree);
        Ok(entries.len())
    }

    /// Entries that have places and are not shown: from memory where it has the next one, else from the rows.
    async fn unserved(&self, keeper: &Keeper, size: u64) -> Result<Vec<(Sha256, Bytes)>> {
        let mut entries = Vec::new();
        {
            let mut numbered = keeper.numbered();
            let kept = numbered.split_off(&size);
            *numbered = kept;
            for (expected, (index, entry)) in (size..).zip(numbered.iter()) {
                if *index != expected || entries.len() == BATCH {
                    break;
                }
                entries.push(entry.clone());
            }
        }
        if !entries.is_empty() {
            return Ok(entries);
        }
        let rows = self
            .inner
            .store
            .entries(&keeper.log, size, BATCH as u64)
            .await?;
        for (expected, (index, body)) in (size..).zip(rows) {
            if index != expected {
                return Err(Error::unavailable(
                    "log-mismatch",
                    format!(
                        "The database lacks the log's entry {expected}. Nothing will be signed."
                    ),
                ));
            }
            entries.push((tlog::leaf_hash(&body), body));
        }
        Ok(entries)
    }

    async fn service_keys<'k>(&self, keeper: &'k Keeper) -> Result<&'k LogKeys> {
        let load = || async {
            let folder = &self.inner.settings.sign_in.key_folder;
            let keys = LogKeys::load_named(folder, &key_stem(&keeper.row.name))?;
            if keys.origin() != keeper.row.origin {
                return Err(key_of_another(&keys, &keeper.row.origin));
            }
            Ok(keys)
        };
        keeper.keys.get_or_try_init(load).await
    }

    /// Once for a process, before anything is signed: where the checkpoint beside the tiles is ahead of the database or of
    /// another history, the database was put back, and signing would fork the log.
    async fn compare_with_copy(&self, keeper: &Keeper, head: &LogServiceHead) -> Result<()> {
        if keeper.compared.load(Ordering::Acquire) {
            return Ok(());
        }
        let origin = &keeper.row.origin;
        let path = keeper.log.path("checkpoint");
        let copy = self.inner.blobs.get(&path, 1 << 20).await?;
        // A power cut may leave the copy empty or full of zeros, which says no more than one that is missing.
        if let Some(note) = copy.filter(|note| note.iter().any(|byte| *byte != 0)) {
            let seen = checkpoint::open(&note, &verifiers(&keeper.row), origin).map_err(|source| {
                Error::unavailable("log-forked", format!("The checkpoint beside the tiles of {origin} is not one of this log: {source}. Nothing will be signed."))
            })?;
            let mut head = head.clone();
            // Another process may have shown more since the head was read.
            if seen.size() > head.size
                && let Some(newer) = self.inner.store.log_service_head(&keeper.row.name).await?
            {
                head = newer;
            }
            if seen.size() > head.size {
                return Err(Error::unavailable(
                    "log-ahead",
                    format!(
                        "The log {origin} beside its tiles has {} entries, the database only {}: the database was put back to an older state. Nothing will be signed.",
                        seen.size(),
                        head.size
                    ),
                )
                .remedy("Bring the newest database back, or close this log with `countersignd log service close NAME` and begin another."));
            }
            if seen.size() == head.size && seen.root() != head.root {
                return Err(Error::unavailable(
                    "log-forked",
                    format!(
                        "At {} entries the database and the tiles of {origin} hold different logs. Nothing will be signed.",
                        head.size
                    ),
                )
                .remedy("One of the two belongs to another registry or was changed. Bring the right one back."));
            }
        }
        keeper.compared.store(true, Ordering::Release);
        Ok(())
    }

    /// Cosignatures that came after the quorum. Dropped where the log went on, since the next checkpoint has its own.
    async fn service_cosigned_late(self, keeper: Arc<Keeper>, size: u64, note: String) {
        let shown = keeper.served();
        if shown.head.size != size {
            return;
        }
        let next = LogServiceHead {
            checkpoint: note,
            ..shown.head.clone()
        };
        let kept = async {
            let mut tx = self.inner.store.write().await?;
            tx.swap_log_service_head(&keeper.row.name, &shown.head, &next)
                .await?;
            tx.commit().await
        };
        match kept.await {
            Ok(()) => keeper.show(next, None),
            Err(error) if error.code == WRITE_CONFLICT => {}
            Err(error) => tracing::warn!(%error, "cosignatures that came late are not kept"),
        }
    }

    /// As long as the process serves: shows what another one that died had given places to, tries again after faults, and has
    /// what was shown without its quorum, or rests for long, cosigned by the witnesses that are there.
    pub(crate) async fn keep_service_logs(&self) {
        loop {
            tokio::time::sleep(LOOK).await;
            match self.inner.store.log_services_behind().await {
                Ok(behind) => {
                    for name in behind {
                        match self.keeper(&name).await {
                            Ok(keeper) => self.beat_for(&keeper),
                            Err(error) => {
                                tracing::error!(%error, name, "the log of a service can not be opened");
                            }
                        }
                    }
                }
                Err(error) => tracing::debug!(%error, "services' logs can not be looked at"),
            }
            let open = self.inner.log_services.open.lock().await;
            for keeper in open.values() {
                // Whoever waits here may wait for what another process showed.
                let waited_for = keeper.shown.receiver_count() > 0;
                let again = keeper.is_due(self.now());
                if waited_for || again || lacks_cosignatures(keeper, &keeper.served().head) {
                    self.beat_for(keeper);
                }
            }
        }
    }
}

/// Does what is shown lack what the policy asks for?
fn lacks_cosignatures(keeper: &Keeper, head: &LogServiceHead) -> bool {
    let Some(witnesses) = &keeper.witnesses else {
        return false;
    };
    if head.size == 0 || !keeper.watch.lacking() {
        return false;
    }
    if witnesses.satisfied_by(&head.checkpoint) {
        keeper.watch.satisfied();
        return false;
    }
    true
}
