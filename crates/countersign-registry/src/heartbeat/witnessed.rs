//! The beat and the witnesses: comparing before anything is numbered, cosigning between signature and publication, and
//! the operator's word that lets a log go on without its quorum for a while.
//!
//! *Crash while witnesses are asked*: the leaves are rows, so the next beat signs the same tree, and witnesses that had
//! cosigned it do so again. No transaction is open meanwhile.

use futures::future::BoxFuture;

use super::*;
use crate::model::LogOverride;
use crate::witnesses::{OVERRIDDEN, Outcome, QUORUM, Sighting, Tiles, Witnesses};

/// The code of a log that stands still for want of witnesses: the one fault of the first beat that lets a registry open,
/// since what was shown before may still be read.
pub(crate) const WITNESSES_MISSING: &str = "witnesses-missing";

/// Where the operator's override stands.
pub(crate) const OVERRIDE: &str = "log_override";

/// After this long without a new leaf the witnesses are asked once more, in microseconds.
const RENEWED_AFTER: i64 = 10 * 60 * 1_000_000;

/// What a writer knows of its log's witnesses.
pub(crate) struct Watch {
    /// What this process would sign was compared with what witnesses have seen.
    met: AtomicBool,
    /// What is shown lacks the quorum of the log's policy, as far as it is known.
    lacking: AtomicBool,
    /// When this process last had it cosigned, in microseconds; 0 before the first look.
    cosigned_at: AtomicI64,
}

impl Default for Watch {
    fn default() -> Self {
        Self {
            met: AtomicBool::new(false),
            lacking: AtomicBool::new(true),
            cosigned_at: AtomicI64::new(0),
        }
    }
}

impl Watch {
    /// Does what is shown lack cosignatures, as far as it is known?
    pub(crate) fn lacking(&self) -> bool {
        self.lacking.load(Ordering::Acquire)
    }

    /// What is shown has them.
    pub(crate) fn satisfied(&self) {
        self.lacking.store(false, Ordering::Release);
    }

    /// The witnesses were asked at this time.
    pub(crate) fn asked(&self, now: Time) {
        self.cosigned_at.store(now.0, Ordering::Release);
    }

    /// Has nothing been cosigned for so long that a monitor would soon take the log for one that is held back from it? The
    /// first look begins the count.
    pub(crate) fn is_old(&self, now: Time) -> bool {
        let at = self.cosigned_at.load(Ordering::Acquire);
        if at == 0 {
            self.asked(now);
        }
        at != 0 && now.0 - at >= RENEWED_AFTER
    }
}

/// The tiles of a log: those of the beat at hand, and those in the blob store.
struct OwnTiles {
    registry: Registry,
    log: LogId,
    edge: HashMap<TileId, Bytes>,
}

impl Tiles for OwnTiles {
    fn tile(&self, id: TileId) -> BoxFuture<'_, Result<Bytes>> {
        Box::pin(async move {
            // A partial tile is the beginning of every later one at its place.
            let at_hand = self.edge.iter().find(|(edge, _)| {
                edge.level == id.level && edge.index == id.index && edge.width >= id.width
            });
            if let Some((_, bytes)) = at_hand {
                return Ok(bytes.slice(..id.byte_length()));
            }
            let bytes = self.registry.cached_tile(&self.log, id).await?;
            bytes.ok_or_else(|| {
                Error::unavailable(
                    "tile-missing",
                    format!("The log's tile {} is missing.", id.path()),
                )
            })
        })
    }
}

impl Registry {
    /// Where witnesses' questions about a log that is about to be shown are answered from.
    pub(crate) fn tiles_of(
        &self,
        log: &LogId,
        tree: &Tree,
        fresh: &[(TileId, Bytes)],
    ) -> Arc<dyn Tiles> {
        let mut edge = tree.edge.clone();
        edge.extend(fresh.iter().cloned());
        Arc::new(OwnTiles {
            registry: self.clone(),
            log: log.clone(),
            edge,
        })
    }

    /// Before anything is numbered or signed: no witness may know a log that continues ours by leaves which we lack, as
    /// after an older database was brought back. Done once for a process, with as many witnesses as the quorum asks for.
    pub(crate) async fn meet_witnesses(
        &self,
        witnesses: &Witnesses,
        watch: &Watch,
        log: &LogId,
        tree: &Tree,
    ) -> Result<()> {
        let resting = witnesses.resting();
        if !watch.met.load(Ordering::Acquire) {
            let tiles = self.tiles_of(log, tree, &[]);
            let compared = match &resting {
                Some(why) => Err(why.clone()),
                None => witnesses.compare(&*tiles, tree.frontier.size()).await?,
            };
            self.hold_against_rows(witnesses, log, tree).await?;
            match compared {
                Ok(()) => watch.met.store(true, Ordering::Release),
                Err(why) => {
                    self.unless_overridden(&why).await?;
                    if resting.is_none() {
                        witnesses.rest_long(&why);
                    }
                }
            }
            return Ok(());
        }
        self.hold_against_rows(witnesses, log, tree).await?;
        match resting {
            Some(why) => self.unless_overridden(&why).await,
            None => Ok(()),
        }
    }

    /// What a witness has seen beyond the served head may be in the rows: of a beat that did not end, or of another
    /// process. If it is not, nothing may be signed any more.
    async fn hold_against_rows(
        &self,
        witnesses: &Witnesses,
        log: &LogId,
        tree: &Tree,
    ) -> Result<()> {
        let Some(seen) = witnesses.beyond() else {
            return Ok(());
        };
        let mut frontier = tree.frontier.clone();
        if seen.size < frontier.size() {
            let tiles = self.tiles_of(log, tree, &[]);
            let root = crate::witnesses::root_at(&*tiles, seen.size).await?;
            if root != seen.root {
                return Err(forked(&seen));
            }
        } else {
            match self.extend_from_rows(log, &mut frontier, seen.size).await {
                Ok(()) if frontier.root() == seen.root => {}
                Ok(()) => return Err(forked(&seen)),
                Err(error) if error.code == "log-mismatch" => {
                    return Err(ahead(&seen, tree.frontier.size()));
                }
                Err(error) => return Err(error),
            }
        }
        witnesses.explained();
        Ok(())
    }

    /// The second half of step 3: the checkpoint with the cosignatures that the policy asks for.
    pub(super) async fn cosigned(
        &self,
        state: &LogState,
        fresh: &[(TileId, Bytes)],
        head: &Head,
    ) -> Result<String> {
        let Some(witnesses) = &self.inner.witnesses else {
            return Ok(head.checkpoint.clone());
        };
        let tiles = self.tiles_of(&state.log, &state.tree, fresh);
        let (registry, unwitnessed) = (self.clone(), head.clone());
        let late = move |note: String| {
            tokio::spawn(async move { registry.add_late(unwitnessed, note).await });
        };
        let note = head.checkpoint.clone();
        self.have_cosigned(witnesses, &self.inner.beat.watch, tiles, note, late)
            .await
    }

    /// A checkpoint that the log signed, with the cosignatures that its policy asks for. `late` gets it with those that come
    /// afterwards.
    ///
    /// # Errors
    /// `witnesses-missing`; a write conflict where a witness has seen more.
    pub(crate) async fn have_cosigned(
        &self,
        witnesses: &Arc<Witnesses>,
        watch: &Watch,
        tiles: Arc<dyn Tiles>,
        note: String,
        late: impl FnOnce(String) + Send + 'static,
    ) -> Result<String> {
        // Whoever let the log go on without its quorum does not want it to wait for one.
        let patience = match watch.lacking() && self.log_override().await?.is_some() {
            true => OVERRIDDEN,
            false => QUORUM,
        };
        match witnesses.gather(tiles, note, patience, late).await {
            Outcome::Quorum(note) => {
                watch.satisfied();
                watch.asked(self.now());
                Ok(note)
            }
            Outcome::Short { note, why } => {
                if witnesses.beyond().is_some() {
                    // Another process went on, or the log is not what it was: the next beat looks.
                    return Err(Error::new(
                        Kind::Conflict,
                        WRITE_CONFLICT,
                        "A witness has seen more of the log than this beat.",
                    ));
                }
                self.unless_overridden(&why).await?;
                watch.lacking.store(true, Ordering::Release);
                Ok(note)
            }
        }
    }

    async fn unless_overridden(&self, why: &str) -> Result<()> {
        if self.log_override().await?.is_some() {
            tracing::warn!(
                why,
                "the log goes on without its witnesses, by the operator's override"
            );
            return Ok(());
        }
        Err(Error::unavailable(
            WITNESSES_MISSING,
            format!("The log's checkpoint lacks the cosignatures that its policy asks for: {why}."),
        )
        .remedy("The log goes on by itself when enough witnesses answer. To go on without them for a while: `countersignd admin log override --until TIME --reason WHY`."))
    }

    /// Is it time to have the registry's own log cosigned again?
    pub(super) fn cosignatures_are_old(&self) -> bool {
        self.inner.witnesses.is_some() && self.inner.beat.watch.is_old(self.now())
    }

    /// The witnesses say once more that the tree which is shown is the whole log. Where they do not, what is shown is as good
    /// as before, and they are asked again as much later.
    async fn renew_cosignatures(&self, state: &LogState, witnesses: &Arc<Witnesses>) -> Result<()> {
        self.inner.beat.watch.asked(self.now());
        let shown = self.fresh_head(0).await?.head.clone();
        if shown.size != state.tree.frontier.size()
            || shown.size == 0
            || witnesses.resting().is_some()
        {
            return Ok(());
        }
        let tiles = self.tiles_of(&state.log, &state.tree, &[]);
        let note = self.signed(&shown.origin, shown.size, shown.root, self.now());
        let (registry, unwitnessed) = (self.clone(), shown.clone());
        let late = move |note: String| {
            tokio::spawn(async move { registry.add_late(unwitnessed, note).await });
        };
        match witnesses.gather(tiles, note, QUORUM, late).await {
            Outcome::Quorum(note) => self.replace_checkpoint(&shown, note).await,
            Outcome::Short { why, .. } => {
                tracing::warn!(why, "the witnesses did not cosign the resting log again");
                Ok(())
            }
        }
    }

    /// Nothing grew, but what is shown lacks what the policy asks for: the policy is new, or an override let it pass. Or it was
    /// cosigned long ago.
    pub(super) async fn cosign_what_is_shown(&self, state: &LogState) -> Result<()> {
        let Some(witnesses) = &self.inner.witnesses else {
            return Ok(());
        };
        let beat = &self.inner.beat;
        if !beat.watch.lacking() {
            if self.cosignatures_are_old() {
                return self.renew_cosignatures(state, witnesses).await;
            }
            return Ok(());
        }
        // Another process may have had it cosigned.
        beat.doubt_head();
        let shown = self.fresh_head(0).await?.head.clone();
        if shown.size != state.tree.frontier.size() || shown.size == 0 {
            return Ok(());
        }
        if witnesses.satisfied_by(&shown.checkpoint) {
            beat.watch.satisfied();
            return Ok(());
        }
        if let Some(why) = witnesses.resting() {
            return self.unless_overridden(&why).await;
        }
        let signed = self.signed(&shown.origin, shown.size, shown.root, self.now());
        let unwitnessed = Head {
            checkpoint: signed,
            ..shown.clone()
        };
        let cosigned = self.cosigned(state, &[], &unwitnessed).await?;
        if beat.watch.lacking() {
            return Ok(());
        }
        self.replace_checkpoint(&shown, cosigned).await
    }

    /// Cosignatures that came after the quorum. Dropped where the log went on, since the next checkpoint has its own.
    async fn add_late(&self, published: Head, note: String) {
        let shown = self.inner.beat.served();
        if (shown.head.shard, shown.head.size) != (published.shard, published.size) {
            return;
        }
        if let Err(error) = self.replace_checkpoint(&shown.head, note).await
            && error.code != WRITE_CONFLICT
        {
            tracing::warn!(%error, "cosignatures that came late are not kept");
        }
    }

    /// The same tree under more cosignatures. *Crash between row and copy*: `open` writes the copy.
    async fn replace_checkpoint(&self, shown: &Head, note: String) -> Result<()> {
        let mut tx = self.inner.store.write().await?;
        tx.swap_checkpoint(shown, &note).await?;
        tx.commit().await?;
        let next = Head {
            checkpoint: note,
            ..shown.clone()
        };
        let copy = Bytes::from(next.checkpoint.clone());
        self.inner.beat.recosign(next);
        let path = tile_path(shown.shard, "checkpoint");
        if self.inner.beat.served().head.size == shown.size
            && let Err(error) = self.inner.blobs.put_quick(&path, copy).await
        {
            tracing::warn!(%error, "the copy of the checkpoint beside the tiles is old");
        }
        Ok(())
    }

    /// Does what is shown lack cosignatures?
    pub(super) fn lacks_witnesses(&self) -> bool {
        self.inner.witnesses.is_some() && self.inner.beat.watch.lacking()
    }

    /// The operator's word that the log goes on without its quorum, while it holds.
    ///
    /// # Errors
    /// Where the database can not be asked.
    pub async fn log_override(&self) -> Result<Option<LogOverride>> {
        let Some(text) = self.inner.store.instance(OVERRIDE).await? else {
            return Ok(None);
        };
        let word: LogOverride = serde_json::from_str(&text)
            .map_err(|source| Error::internal("a stored override can not be read", source))?;
        Ok((word.until > self.now()).then_some(word))
    }
}

fn ahead(seen: &Sighting, ours: u64) -> Error {
    Error::unavailable(
        "log-ahead",
        format!(
            "The witness {} has cosigned {} leaves of this log, the database holds {ours}: the database was put back to an older state. Nothing will be signed.",
            seen.witness, seen.size
        ),
    )
    .remedy("Bring the newest database back, or run `countersignd restore --replay` where the tiles still hold those leaves. What nothing holds any more is lost: `countersignd restore` into empty places begins the next log, which names this one.")
}

fn forked(seen: &Sighting) -> Error {
    Error::unavailable(
        "log-forked",
        format!(
            "The witness {} has cosigned another history of this log, at {} leaves, signed with this log's key. Nothing will be signed.",
            seen.witness, seen.size
        ),
    )
    .remedy("Either two registries sign with one key, or the database is not the one that the log was made from. Find out which, before anything is signed.")
}
