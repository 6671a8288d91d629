//! Making a registry and opening one.
//!
//! A log is made by [`Registry::create`] and never by opening: an unmounted volume must not fork it. Opening compares
//! what the database holds with the checkpoint that lies beside the tiles. Where the tiles are ahead, the database was
//! put back to an older state; nothing may be signed until what the tiles hold is in the database again.

use std::collections::HashMap;
use std::sync::Arc;

use bytes::Bytes;
use countersign_trust::checkpoint::{self, Checkpoint};
use countersign_trust::digest::Sha256;
use countersign_trust::leaf::{Leaf, Predecessor};
use countersign_trust::tlog::{self, EntriesId, Frontier, TileId};
use serde::Serialize;

use crate::accounts::new_id;
use crate::error::{Error, Kind, Result};
use crate::heartbeat::{Pulse, WITNESSES_MISSING, read_tile, tile_path};
use crate::keys::verifier_key_name;
use crate::model::{Actor, EventId, LogId, WitnessHealth};
use crate::provenance::{ATTESTATIONS, Keyring, NPM};
use crate::settings::Settings;
use crate::store::{Head, LeafFacts, NewEvent, NumberedLeaf, Store, Tx};
use crate::witnesses::Witnesses;
use crate::{Blobs, Inner, LogKeys, Registry, Seams, fetch};

/// How others recognise the log.
#[derive(Clone, Debug, Serialize)]
pub struct LogIdentity {
    /// The origin line of its checkpoints.
    pub origin: String,
    /// Its verifier keys; the first is Ed25519.
    pub verifier_keys: Vec<String>,
    /// Path of the log below the site.
    pub log_path: String,
    /// Closed logs before this one: path and origin.
    pub earlier: Vec<(String, String)>,
    /// The policy under which its checkpoints are shown (c2sp.org/tlog-policy), with this log's keys; `None`: they wait for
    /// no witness.
    pub policy: Option<String>,
}

impl Registry {
    /// Makes a registry: migrates the database, writes the log's first leaf and first checkpoint.
    ///
    /// # Errors
    /// `log-exists` where the database or the blob store holds a log already.
    pub async fn create(
        settings: &Settings,
        store: &Store,
        blobs: &Blobs,
        keys: &LogKeys,
        seams: &Seams,
    ) -> Result<()> {
        let exists = |place: String| {
            Error::new(
                Kind::Conflict,
                "log-exists",
                format!("{place} holds a registry already."),
            )
            .remedy("Use `countersignd serve` for it, or another place for a new registry.")
        };
        if blobs
            .get(&tile_path(1, "checkpoint"), 1 << 20)
            .await?
            .is_some()
        {
            return Err(exists(format!("The blob store {}", blobs.place())));
        }
        store.migrate().await?;
        if store.head(1).await?.is_some() {
            return Err(exists("The database".into()));
        }
        let now = seams.clock.now();
        let mut tx = store.write().await?;
        let detail = serde_json::json!({"url": settings.site()});
        start_shard(&mut tx, 1, keys, None, detail, seams).await?;
        tx.set_instance("created_at", &now.rfc3339()).await?;
        tx.commit().await?;
        // *Crash here*: `open` finds the genesis leaf beyond the served head and publishes it.
        //
        // The first leaf is shown without witnesses: none can know this log before its keys exist.
        let unwitnessed = Settings {
            log_policy: None,
            ..settings.clone()
        };
        Self::open(
            unwitnessed,
            store.clone(),
            blobs.clone(),
            LogKeys::clone_for_start(keys)?,
            seams.clone(),
        )
        .await?
        .found_tuf_if_missing()
        .await
    }

    /// Opens a registry for serving or for administration. Never creates a log.
    ///
    /// # Errors
    /// `not-initialised`, `log-key-wrong`, `log-ahead`, `log-forked`, `log-mismatch`.
    pub async fn open(
        settings: Settings,
        store: Store,
        blobs: Blobs,
        keys: LogKeys,
        seams: Seams,
    ) -> Result<Self> {
        if store.is_empty().await? {
            return Err(Error::new(
                Kind::NotFound,
                "not-initialised",
                "There is no registry in this database yet.",
            )
            .remedy("Run `countersignd init`."));
        }
        if store.instance("restoring").await?.is_some() {
            return Err(Error::new(
                Kind::Unavailable,
                "restore-unfinished",
                "A restore into this database was begun and did not end. Nothing is served from it.",
            )
            .remedy("Run the same `countersignd restore` again; it begins anew by itself."));
        }
        let heads = store.heads().await?;
        let Some(head) = heads.last() else {
            return Err(Error::new(
                Kind::NotFound,
                "not-initialised",
                "This database has no log.",
            )
            .remedy("Run `countersignd init`."));
        };
        if head.origin != keys.origin() {
            return Err(Error::new(
                Kind::Unavailable,
                "log-key-wrong",
                format!(
                    "The log's origin is {}, the key's name is {}.",
                    head.origin,
                    keys.origin()
                ),
            )
            .remedy("Put the key of this log into the keys folder."));
        }
        std::fs::create_dir_all(&settings.spool).map_err(|source| {
            Error::unavailable(
                "spool-unwritable",
                format!(
                    "The spool folder {} can not be made: {source}.",
                    settings.spool.display()
                ),
            )
            .because(source)
        })?;
        let registry = Self::assemble(settings, store, blobs, keys, seams, heads)?;
        registry.guard_against_forks().await?;
        registry.look_at_map().await?;
        registry.refresh_skeletons().await?;
        registry.beat_once_unless_another_does().await?;
        Ok(registry)
    }

    /// The parts put together, nothing checked. `heads` are those of every log, the newest last; there is at least one.
    pub(crate) fn assemble(
        settings: Settings,
        store: Store,
        blobs: Blobs,
        keys: LogKeys,
        seams: Seams,
        mut heads: Vec<Head>,
    ) -> Result<Self> {
        let head = heads
            .pop()
            .expect("a registry is assembled around a log only");
        let closed_leaves = heads.iter().map(|closed| closed.size).sum();
        let earlier = heads
            .into_iter()
            .map(|closed| (format!("/log/{}/", closed.shard), closed.origin))
            .collect();
        let cache = fetch::Cache::new(settings.memory_cache);
        let witnesses = match &settings.log_policy {
            None => None,
            Some(policy) => Some(Arc::new(Witnesses::new(
                keys.origin(),
                policy.for_log(keys.origin(), &keys.verifiers())?,
                seams.outside.clone(),
                seams.clock.clone(),
            ))),
        };
        Ok(Self {
            inner: Arc::new(Inner {
                settings,
                store,
                blobs,
                keys,
                seams,
                shard: head.shard,
                earlier,
                closed_leaves,
                fetch: cache,
                beat: Pulse::new(head),
                map: Default::default(),
                witnesses,
                desk: Default::default(),
                issuers: Default::default(),
                door: Default::default(),
                office: Default::default(),
                keyring: Default::default(),
                notary: Keyring::of(&ATTESTATIONS),
                npm_key: Keyring::of(&NPM),
                roots: Default::default(),
                ways_back: Default::default(),
                diary: Default::default(),
                names: Default::default(),
                tuf: Default::default(),
                log_services: Default::default(),
            }),
        })
    }

    /// Compares the database's head with the checkpoint beside the tiles, before anything is signed.
    pub(crate) async fn guard_against_forks(&self) -> Result<()> {
        let shard = self.inner.shard;
        let mut head = self.inner.beat.served().head.clone();
        let Some(note) = self
            .inner
            .blobs
            .get(&tile_path(shard, "checkpoint"), 1 << 20)
            .await?
        else {
            // The first start, or a blob store that lost the log; the tiles are in the rows.
            return if head.size == 0 {
                Ok(())
            } else {
                self.restore_tiles(&head).await
            };
        };
        // The copy is written without a sync. A power cut may leave it empty or full of zeros, which says no more than
        // a copy that is missing; anything else that is no checkpoint of ours is not for us to write over.
        if note.iter().all(|byte| *byte == 0) {
            return self.restore_tiles(&head).await;
        }
        let seen = checkpoint::open(&note, &self.inner.keys.verifiers(), &head.origin).map_err(|source| {
            Error::unavailable("log-forked", format!("The checkpoint beside the tiles is not one of this log: {source}. Nothing will be signed."))
        })?;
        if seen.size() > head.size
            && let Some(newer) = self.inner.store.head(shard).await?
        {
            // Another process may have published between our two looks.
            head = newer;
        }
        if seen.size() > head.size {
            return self.replay(&head, seen.checkpoint()).await;
        }
        if seen.size() == head.size {
            if seen.root() != head.root {
                return Err(forked(head.size));
            }
            return self.mend_right_edge(&head).await;
        }
        // The copy is older: a crash between commit and copy, or tiles from a backup. It must be a prefix of our log.
        let mut frontier = Frontier::empty();
        self.extend_from_rows(&LogId::Shard(shard), &mut frontier, seen.size())
            .await?;
        if frontier.root() != seen.root() {
            return Err(forked(seen.size()));
        }
        self.restore_tiles(&head).await
    }

    /// Writes the partial tiles and the partial bundle at the right edge again where they are not what the rows say:
    /// they were written without syncs, and a power cut may have taken them though the checkpoint stayed.
    async fn mend_right_edge(&self, head: &Head) -> Result<()> {
        let (shard, width) = (head.shard, u64::from(tlog::TILE_WIDTH));
        let start = head.size / width * width;
        let mut leaves = self.inner.store.leaves_from(shard, start, width).await?;
        leaves.retain(|leaf| leaf.index < head.size);
        let hashes: Vec<u8> = leaves
            .iter()
            .flat_map(|leaf| tlog::leaf_hash(leaf.body.as_bytes()).0)
            .collect();
        let mut edge: HashMap<TileId, Bytes> = HashMap::new();
        for id in tlog::tiles_needed_for_growth(head.size) {
            let bytes = match id.level {
                0 => Some(Bytes::from(hashes.clone())),
                _ => read_tile(&self.inner.blobs, &LogId::Shard(shard), id).await?,
            };
            edge.extend(bytes.map(|bytes| (id, bytes)));
        }
        let whole = Frontier::from_tiles(head.size, &edge)
            .is_ok_and(|frontier| frontier.root() == head.root);
        if !whole {
            return self.restore_tiles(head).await;
        }
        let Some(bundle) = EntriesId::in_log(start / width, head.size) else {
            return Ok(());
        };
        let texts: Vec<&str> = leaves.iter().map(|leaf| leaf.body.as_str()).collect();
        let entries = tlog::encode_entries(&texts)
            .map_err(|source| Error::internal("an entry bundle can not be written", source))?;
        let mut wanted = vec![(bundle.path(), Bytes::from(entries))];
        wanted.extend(
            edge.into_iter()
                .filter(|(id, _)| id.level == 0)
                .map(|(id, bytes)| (id.path(), bytes)),
        );
        for (path, bytes) in wanted {
            let path = tile_path(shard, &path);
            if self.inner.blobs.get(&path, 1 << 22).await?.as_ref() != Some(&bytes) {
                tracing::warn!(path, "a partial tile is written again from the database");
                self.inner.blobs.put_quick(&path, bytes).await?;
            }
        }
        Ok(())
    }

    async fn restore_tiles(&self, head: &Head) -> Result<()> {
        self.rebuild_tiles(&LogId::Shard(head.shard), head.size)
            .await?;
        self.inner
            .blobs
            .put_quick(
                &tile_path(head.shard, "checkpoint"),
                head.checkpoint.clone().into(),
            )
            .await
    }

    /// The tiles are ahead of the database. Signing now could contradict what was published.
    async fn replay(&self, head: &Head, seen: &Checkpoint) -> Result<()> {
        Err(Error::unavailable(
            "log-ahead",
            format!(
                "The log beside the tiles has {} leaves, the database only {}: the database was put back to an older state. Nothing will be signed.",
                seen.size, head.size
            ),
        )
        .remedy("Bring the newest database back, or run `countersignd restore --replay`, which puts back what the tiles hold."))
    }

    /// Publishes what a crash left numbered but unserved. Another process may be doing just that; then its work is fine.
    async fn beat_once_unless_another_does(&self) -> Result<()> {
        match self.beat().await {
            Ok(_) => Ok(()),
            Err(error) if error.code == crate::store::WRITE_CONFLICT => Ok(()),
            // What was shown before is read meanwhile; what is new waits for the witnesses.
            Err(error) if error.code == WITNESSES_MISSING => {
                tracing::error!(error = %error, "the log stands still");
                self.inner.beat.set_problem(Some(error.message));
                Ok(())
            }
            Err(error) => Err(error),
        }
    }

    /// The settings.
    pub fn settings(&self) -> &Settings {
        &self.inner.settings
    }

    /// The database.
    pub fn store(&self) -> &Store {
        &self.inner.store
    }

    /// How others recognise the log.
    pub fn site_keys(&self) -> LogIdentity {
        LogIdentity {
            origin: self.inner.keys.origin().to_owned(),
            verifier_keys: self
                .inner
                .keys
                .verifiers()
                .iter()
                .map(ToString::to_string)
                .collect(),
            log_path: format!("/log/{}/", self.inner.shard),
            earlier: self.inner.earlier.clone(),
            policy: self
                .inner
                .witnesses
                .as_ref()
                .map(|witnesses| witnesses.policy().text().to_owned()),
        }
    }

    /// How the log's witnesses are, as this process knows it.
    pub fn witness_health(&self) -> Vec<WitnessHealth> {
        self.inner
            .witnesses
            .as_ref()
            .map_or_else(Vec::new, |witnesses| witnesses.health())
    }
}

fn forked(size: u64) -> Error {
    Error::unavailable("log-forked", format!("At {size} leaves the database and the tiles hold different logs. Nothing will be signed."))
        .remedy("One of the two belongs to another registry or was changed. Bring the right one back.")
}

/// Begins a log in the caller's transaction: its first leaf, and the head of the empty log. The first beat makes the
/// tiles and signs size 1, by the code of every beat.
pub(crate) async fn start_shard(
    tx: &mut Tx,
    shard: u64,
    keys: &LogKeys,
    predecessor: Option<Predecessor>,
    detail: serde_json::Value,
    seams: &Seams,
) -> Result<()> {
    let now = seams.clock.now();
    let body = Leaf::log_genesis(predecessor, now.0)
        .to_text()
        .map_err(|source| Error::internal("the first leaf can not be written", source))?;
    let leaf = genesis(&body, now);
    let salt = seams.random.bytes32();
    tx.record_event(&NewEvent {
        id: &leaf.event,
        at: now,
        project: None,
        file: None,
        actor: &Actor::operator(),
        account: None,
        detail,
        actor_salt: salt,
        account_salt: salt,
        leaf: LeafFacts {
            kind: leaf.kind.clone(),
            subject: None,
            digests: Vec::new(),
            size: None,
            change: None,
            role: None,
            actor: None,
            account: None,
            attestations: Vec::new(),
            map: None,
        },
    })
    .await?;
    tx.number_leaves(shard, std::slice::from_ref(&leaf), &HashMap::new())
        .await?;
    let empty = Checkpoint::new(keys.origin(), 0, tlog::EMPTY_ROOT);
    tx.insert_head(&Head {
        shard,
        origin: keys.origin().to_owned(),
        size: 0,
        root: tlog::EMPTY_ROOT,
        checkpoint: keys.sign(&empty, now),
        signed: now,
        frozen: None,
    })
    .await?;
    // Backups carry the verifier keys from here: closed logs keep being checked when their signing keys are long gone.
    let verifiers: Vec<String> = keys.verifiers().iter().map(ToString::to_string).collect();
    tx.set_instance(&verifier_key_name(shard), &verifiers.join("\n"))
        .await?;
    tx.set_instance("origin", keys.origin()).await
}

fn genesis(body: &str, now: crate::model::Time) -> NumberedLeaf {
    let hash: Sha256 = tlog::leaf_hash(body.as_bytes());
    NumberedLeaf {
        index: 0,
        event: EventId(new_id()),
        project: None,
        file: None,
        kind: "log-genesis".to_owned(),
        subject: String::new(),
        at: now,
        body: body.to_owned(),
        hash,
    }
}
