//! Logs for registries elsewhere (`docs/operating-log-service.md`): each has an origin, keys and witnesses of its own, and is
//! read as ours is, below `/service/log/NAME/`. An entry is whatever bytes the other registry sends.
//!
//! What is sent gets its place at once, in one transaction with all that waits (`writer`); from then on it is durable. A beat of
//! the service's own follows: tiles, signature, witnesses, head, as in `heartbeat` and by the same code. Beats come no faster than
//! the service's interval, and take with them all that was numbered meanwhile. A log that can not move holds up nobody else's.

mod writer;

use std::collections::{BTreeMap, HashMap};
use std::sync::atomic::{AtomicBool, AtomicI64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use countersign_trust::checkpoint::{self, Checkpoint};
use countersign_trust::digest::Sha256;
use countersign_trust::note::VerifierKey;
use countersign_trust::proof::TlogProof;
use countersign_trust::tlog::{self, TileId};
use serde_json::json;
use tokio::sync::watch;

use crate::Registry;
use crate::accounts::new_id;
use crate::error::{Error, Kind, Result};
use crate::fetch::{Document, FRESH};
use crate::heartbeat::{Tree, Watch};
use crate::keys::LogKeys;
use crate::model::{Actor, LogId, Time};
use crate::policy;
use crate::services::{Part, check_name};
use crate::settings::LogPolicy;
use crate::store::{LogServiceHead, LogServiceRow};
use crate::witnesses::Witnesses;

pub use writer::{LogEntry, PlacedEntry};

/// The longest entry, in bytes.
pub const LONGEST_ENTRY: usize = 4_096;
/// The most entries of one request.
pub const MOST_ENTRIES: usize = 1_000;

/// A caller who may append to one log: only [`Registry::log_service_desk`] makes one.
#[derive(Clone, Debug)]
pub struct LogDesk {
    name: String,
}

/// How a service's log is to be.
#[derive(Clone, Debug)]
pub struct NewLogService {
    /// Its name: lower-case letters, digits and hyphens.
    pub name: String,
    /// Checkpoints come no faster than this.
    pub interval: Duration,
    /// Must each entry have an identifier, which stands for it alone, for ever?
    pub identifiers: bool,
    /// A tlog-policy file; `None`: that of the registry's own log; empty: nobody cosigns.
    pub policy: Option<String>,
}

/// A service's log, for people and programs.
#[derive(Clone, Debug, serde::Serialize)]
pub struct LogServiceSummary {
    /// Its name.
    pub name: String,
    /// The origin of its checkpoints.
    pub origin: String,
    /// Its verifier keys; the first is Ed25519.
    pub verifier_keys: Vec<String>,
    /// A tlog-policy file: its keys, and who must have cosigned what it shows.
    pub policy: String,
    /// Entries shown.
    pub size: u64,
    /// Entries that have a place, shown or not yet.
    pub numbered: u64,
    /// When that was signed.
    pub signed: Time,
    /// Checkpoints come no faster than this, in milliseconds.
    pub interval_ms: u64,
    /// Does each entry have an identifier of its own?
    pub identifiers: bool,
    /// Closed for ever since.
    pub frozen: Option<Time>,
    /// What keeps it from moving, as far as this process knows.
    pub problem: Option<String>,
}

/// The logs of services that this process has open.
#[derive(Default)]
pub(crate) struct Room {
    open: tokio::sync::Mutex<HashMap<String, Arc<Keeper>>>,
}

/// What readers see of a service's log, with the tiles at its right edge.
pub(crate) struct Shown {
    pub(crate) head: LogServiceHead,
    edge: HashMap<TileId, Bytes>,
}

/// A service's log in this process.
pub(crate) struct Keeper {
    row: LogServiceRow,
    log: LogId,
    keys: tokio::sync::OnceCell<LogKeys>,
    witnesses: Option<Arc<Witnesses>>,
    watch: Watch,
    shown: watch::Sender<Arc<Shown>>,
    /// When the database was last asked for the head.
    asked: AtomicI64,
    /// What was sent and has no place yet.
    waiting: Mutex<Vec<writer::Job>>,
    /// One of this process gives places at a time.
    turn: tokio::sync::Mutex<()>,
    /// Entries that this process gave places to and that are not shown yet; only a shortcut past the rows.
    numbered: Mutex<BTreeMap<u64, (Sha256, Bytes)>>,
    /// The writer's own memory; dropped and read anew after every failure.
    tree: tokio::sync::Mutex<Option<Tree>>,
    /// The copy of the checkpoint beside the tiles was looked at.
    compared: AtomicBool,
    /// Somebody beats.
    beating: AtomicBool,
    last_beat: Mutex<Option<tokio::time::Instant>>,
    problem: Mutex<Option<String>>,
}

impl Keeper {
    /// What is shown, as last seen.
    fn served(&self) -> Arc<Shown> {
        self.shown.borrow().clone()
    }

    /// Shows a head, unless a later one is shown already.
    fn show(&self, head: LogServiceHead, edge: Option<HashMap<TileId, Bytes>>) {
        self.shown.send_if_modified(|shown| {
            let later = head.size > shown.head.size
                || (head.size == shown.head.size && head.checkpoint != shown.head.checkpoint);
            if later {
                let edge = edge.unwrap_or_else(|| {
                    if head.size == shown.head.size {
                        shown.edge.clone()
                    } else {
                        HashMap::new()
                    }
                });
                *shown = Arc::new(Shown { head, edge });
            }
            later
        });
    }

    fn policy_text(&self) -> String {
        match &self.witnesses {
            Some(witnesses) => witnesses.policy().text().to_owned(),
            None => self
                .row
                .verifier_keys
                .lines()
                .map(|key| format!("log {key}\n"))
                .chain(["quorum none\n".to_owned()])
                .collect(),
        }
    }

    fn problem(&self) -> Option<String> {
        self.problem
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }
}

fn unknown(name: &str) -> Error {
    let shown: String = name.chars().take(64).collect();
    Error::new(
        Kind::NotFound,
        "log-service-unknown",
        format!("There is no log of a service {shown:?} here."),
    )
    .remedy("`countersignd log service list` lists them.")
}

impl Registry {
    /// The origin that the log of a service has: beside that of the registry's own log, and for ever as that.
    fn service_origin(&self, name: &str) -> String {
        let own = self.inner.keys.origin();
        let host = own.rfind("/log/").map_or(own, |at| &own[..at]);
        format!("{host}/service/log/{name}")
    }

    /// Makes a log for a service, with keys of its own in the folder of keys, and shows its empty tree.
    ///
    /// # Errors
    /// `service-name`, `log-service-exists`, `log-service-interval`, `log-policy`; as keys are had. For operators alone.
    pub async fn create_log_service(
        &self,
        actor: &Actor,
        new: &NewLogService,
    ) -> Result<LogServiceSummary> {
        policy::may_operate(actor, "create logs of services")?;
        check_name(&new.name)?;
        let interval_ms = u64::try_from(new.interval.as_millis()).unwrap_or(u64::MAX);
        if !(50..=60_000).contains(&interval_ms) {
            return Err(Error::new(
                Kind::Rejected,
                "log-service-interval",
                format!("{interval_ms} milliseconds is no interval between checkpoints."),
            )
            .remedy("Give one of 50 to 60000 milliseconds."));
        }
        let exists = || {
            Error::new(
                Kind::Conflict,
                "log-service-exists",
                format!("There is a log of a service {:?} already.", new.name),
            )
            .remedy("Choose another name: a log is never begun anew.")
        };
        if self.inner.store.log_service(&new.name).await?.is_some() {
            return Err(exists());
        }
        // The keys first: a crash after it leaves files that the next attempt takes.
        let folder = &self.inner.settings.sign_in.key_folder;
        let origin = self.service_origin(&new.name);
        let stem = key_stem(&new.name);
        let keys = match LogKeys::load_named(folder, &stem) {
            Ok(keys) => keys,
            Err(error) if error.code == "log-key-missing" => {
                let keys = LogKeys::generate(&origin, &*self.inner.seams.random)?;
                keys.save_named(folder, &stem)?;
                keys
            }
            Err(error) => return Err(error),
        };
        if keys.origin() != origin {
            return Err(key_of_another(&keys, &origin));
        }
        let now = self.now();
        let verifiers = keys.verifiers();
        let row = LogServiceRow {
            name: new.name.clone(),
            origin: origin.clone(),
            verifier_keys: verifiers.iter().map(|key| format!("{key}\n")).collect(),
            interval_ms,
            identifiers: new.identifiers,
            policy: new.policy.clone(),
            numbered: 0,
            frozen: None,
        };
        self.service_policy(&row)?;
        // Nobody cosigns the empty tree: witnesses can not know this log before its keys exist.
        let head = LogServiceHead {
            size: 0,
            root: tlog::EMPTY_ROOT,
            checkpoint: keys.sign(&Checkpoint::new(&origin, 0, tlog::EMPTY_ROOT), now),
            signed: now,
        };
        let mut tx = self.inner.store.write().await?;
        if !tx.insert_log_service(&row, &head, now).await? {
            return Err(exists());
        }
        let detail = json!({"service": row.name, "origin": row.origin});
        tx.note_event(&new_id(), now, "log-service-created", actor, None, detail)
            .await?;
        tx.commit().await?;
        self.log_service_summary(&new.name).await
    }

    /// Makes a token that is good for appending to one log and for nothing else.
    ///
    /// # Errors
    /// `log-service-unknown`. For operators alone.
    pub async fn create_log_service_token(
        &self,
        actor: &Actor,
        name: &str,
        label: &str,
    ) -> Result<String> {
        policy::may_operate(actor, "make tokens of services' logs")?;
        self.keeper(name).await?;
        self.service_token(actor, Part::Log, name, label).await
    }

    /// Closes a log for ever: it takes no more entries, and stays readable.
    ///
    /// # Errors
    /// `log-service-unknown`. For operators alone.
    pub async fn close_log_service(&self, actor: &Actor, name: &str) -> Result<()> {
        policy::may_operate(actor, "close logs of services")?;
        self.keeper(name).await?;
        let now = self.now();
        let mut tx = self.inner.store.write().await?;
        tx.freeze_log_service(name, now).await?;
        let detail = json!({ "service": name });
        tx.note_event(&new_id(), now, "log-service-closed", actor, None, detail)
            .await?;
        tx.commit().await
    }

    /// All logs of services.
    ///
    /// # Errors
    /// Where the database fails.
    pub async fn log_services(&self) -> Result<Vec<LogServiceSummary>> {
        let mut list = Vec::new();
        for row in self.inner.store.log_services().await? {
            list.push(self.log_service_summary(&row.name).await?);
        }
        Ok(list)
    }

    /// What keeps logs of services from moving, as far as this process knows: name and reason.
    pub async fn standing_service_logs(&self) -> Vec<(String, String)> {
        let open = self.inner.log_services.open.lock().await;
        open.iter()
            .filter_map(|(name, keeper)| Some((name.clone(), keeper.problem()?)))
            .collect()
    }

    /// One of them.
    ///
    /// # Errors
    /// `log-service-unknown`.
    pub async fn log_service_summary(&self, name: &str) -> Result<LogServiceSummary> {
        let shown = self.service_head(name, 0).await?;
        let keeper = self.keeper(name).await?;
        let row = self.inner.store.log_service(name).await?;
        let row = row.ok_or_else(|| unknown(name))?;
        let keys = row.verifier_keys.lines().map(str::to_owned).collect();
        Ok(LogServiceSummary {
            name: row.name,
            origin: row.origin,
            verifier_keys: keys,
            policy: keeper.policy_text(),
            size: shown.head.size,
            numbered: row.numbered,
            signed: shown.head.signed,
            interval_ms: row.interval_ms,
            identifiers: row.identifiers,
            frozen: row.frozen,
            problem: keeper.problem(),
        })
    }

    /// Lets the holder of a token for a log in.
    ///
    /// # Errors
    /// `service-token`.
    pub async fn log_service_desk(&self, token: Option<&str>) -> Result<LogDesk> {
        let name = self.service_of_token(Part::Log, token).await?;
        let name = name.ok_or_else(|| {
            Error::new(
                Kind::Unauthenticated,
                "service-token",
                "This takes the token of a service's log.",
            )
            .remedy("Make one with `countersignd log service token NAME`, and send it as `Authorization: Bearer TOKEN`.")
        })?;
        Ok(LogDesk { name })
    }

    /// After a restore: writes the tiles of every service's log again, and closes those of which the blob store does not
    /// prove that the rows are their newest state; their names.
    pub(crate) async fn settle_service_logs(&self, from_backup: bool) -> Result<Vec<String>> {
        let (store, blobs) = (&self.inner.store, &self.inner.blobs);
        let mut closed = Vec::new();
        for row in store.log_services().await? {
            let log = LogId::Service(row.name.clone());
            let head = store.log_service_head(&row.name).await?;
            let head = head.ok_or_else(|| unknown(&row.name))?;
            let copy = blobs.get(&log.path("checkpoint"), 1 << 20).await?;
            let newest = copy.is_some_and(|note| {
                checkpoint::open(&note, &verifiers(&row), &row.origin)
                    .is_ok_and(|seen| (seen.size(), seen.root()) == (head.size, head.root))
            });
            if newest || !from_backup {
                continue;
            }
            if head.size > 0 {
                self.rebuild_tiles(&log, head.size).await?;
            }
            let note = Bytes::from(head.checkpoint);
            blobs.put(&log.path("checkpoint"), note).await?;
            if row.frozen.is_none() {
                let mut tx = store.write().await?;
                tx.freeze_log_service(&row.name, self.now()).await?;
                tx.commit().await?;
                closed.push(row.name);
            }
        }
        Ok(closed)
    }

    /// Who must cosign a service's log.
    fn service_policy(&self, row: &LogServiceRow) -> Result<Option<LogPolicy>> {
        let refuse = |why: String| {
            Error::new(
                Kind::Rejected,
                "log-policy",
                format!("The policy of the log can not be used: {why}."),
            )
            .remedy("Give a tlog-policy file.")
        };
        let policy = match row.policy.as_deref() {
            None => match &self.inner.settings.log_policy {
                Some(policy) => policy.clone(),
                None => return Ok(None),
            },
            Some("") => return Ok(None),
            Some(text) => LogPolicy::parse(text).map_err(|error| refuse(error.to_string()))?,
        };
        policy.for_log(&row.origin, &verifiers(row)).map(Some)
    }

    /// A service's log in this process.
    async fn keeper(&self, name: &str) -> Result<Arc<Keeper>> {
        if check_name(name).is_err() {
            return Err(unknown(name));
        }
        let mut open = self.inner.log_services.open.lock().await;
        if let Some(keeper) = open.get(name) {
            return Ok(keeper.clone());
        }
        let store = &self.inner.store;
        let row = store.log_service(name).await?;
        let row = row.ok_or_else(|| unknown(name))?;
        let head = store.log_service_head(name).await?;
        let head = head.ok_or_else(|| unknown(name))?;
        let witnesses = self.service_policy(&row)?.map(|policy| {
            Arc::new(Witnesses::new(
                &row.origin,
                policy,
                self.inner.seams.outside.clone(),
                self.inner.seams.clock.clone(),
            ))
        });
        let shown = Shown {
            head,
            edge: HashMap::new(),
        };
        let keeper = Arc::new(Keeper {
            log: LogId::Service(row.name.clone()),
            row,
            keys: tokio::sync::OnceCell::new(),
            witnesses,
            watch: Watch::default(),
            shown: watch::Sender::new(Arc::new(shown)),
            asked: AtomicI64::new(0),
            waiting: Mutex::default(),
            turn: tokio::sync::Mutex::default(),
            numbered: Mutex::default(),
            tree: tokio::sync::Mutex::default(),
            compared: AtomicBool::new(false),
            beating: AtomicBool::new(false),
            last_beat: Mutex::default(),
            problem: Mutex::default(),
        });
        open.insert(name.to_owned(), keeper.clone());
        Ok(keeper)
    }

    /// What is shown of a service's log; the database is asked where the last look is old, or where less was seen.
    pub(crate) async fn service_head(&self, name: &str, at_least: u64) -> Result<Arc<Shown>> {
        let keeper = self.keeper(name).await?;
        let now = self.now();
        let age = now.0 - keeper.asked.load(Ordering::Acquire);
        let shown = keeper.served();
        if shown.head.size >= at_least && (0..FRESH).contains(&age) {
            return Ok(shown);
        }
        if let Some(head) = self.inner.store.log_service_head(name).await? {
            keeper.asked.store(now.0, Ordering::Release);
            keeper.show(head, None);
        }
        Ok(keeper.served())
    }

    /// The newest checkpoint of a service's log, a signed note.
    ///
    /// # Errors
    /// `log-service-unknown`.
    pub async fn log_service_checkpoint(&self, name: &str) -> Result<Document> {
        let shown = self.service_head(name, 0).await?;
        let note = shown.head.checkpoint.clone();
        Ok(Document::new(note.into(), shown.head.size))
    }

    /// A tlog-policy file (c2sp.org/tlog-policy): the keys of a service's log, and who must have cosigned what it shows.
    ///
    /// # Errors
    /// `log-service-unknown`.
    pub async fn log_service_policy(&self, name: &str) -> Result<Document> {
        let keeper = self.keeper(name).await?;
        Ok(Document::new(keeper.policy_text().into(), 0))
    }

    /// A tile or entry bundle of a service's log by its path.
    ///
    /// # Errors
    /// `log-service-unknown`, `tile-path`, `tile-unknown`.
    pub async fn log_service_tile(&self, name: &str, path: &str) -> Result<Document> {
        let shown = self.service_head(name, 0).await?;
        let log = LogId::Service(name.to_owned());
        self.tile_of(&log, shown.head.size, &shown.edge, path).await
    }

    /// The offline proof of an entry, with its bytes as extra data, under the newest checkpoint.
    ///
    /// # Errors
    /// `log-service-unknown`, `leaf-unknown`.
    pub async fn log_service_proof(&self, name: &str, index: u64) -> Result<Document> {
        let shown = self.service_head(name, index.saturating_add(1)).await?;
        let log = LogId::Service(name.to_owned());
        let none = || {
            Error::new(
                Kind::NotFound,
                "leaf-unknown",
                format!("The log has no entry {index}."),
            )
            .remedy("The checkpoint says how many it has.")
        };
        if shown.head.size <= index {
            return Err(none());
        }
        let entry = self.inner.store.entries(&log, index, 1).await?.pop();
        let (_, body) = entry.filter(|(at, _)| *at == index).ok_or_else(none)?;
        let hashes = self
            .inclusion(&log, shown.head.size, &shown.edge, index)
            .await?;
        let proof = TlogProof {
            extra: Some(body.to_vec()),
            index,
            hashes,
            checkpoint: shown.head.checkpoint.clone(),
        };
        Ok(Document::new(proof.to_string().into(), shown.head.size))
    }
}

/// The keys that a log's checkpoints are checked with.
pub(crate) fn verifiers(row: &LogServiceRow) -> Vec<VerifierKey> {
    let lines = row.verifier_keys.lines();
    lines.filter_map(|line| line.parse().ok()).collect()
}

/// Files of a service's keys are named for it.
pub(crate) fn key_stem(name: &str) -> String {
    format!("service-{name}")
}

fn key_of_another(keys: &LogKeys, origin: &str) -> Error {
    Error::new(
        Kind::Unavailable,
        "log-key-wrong",
        format!(
            "The log's origin is {origin}, the key's name is {}.",
            keys.origin()
        ),
    )
    .remedy("Put the key of this log into the keys folder.")
}
