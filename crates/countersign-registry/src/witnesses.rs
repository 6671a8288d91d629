//! A log's witnesses (c2sp.org/tlog-witness) under its tlog-policy file: they are asked for cosignatures, all at once,
//! and compared with before anything is signed.
//!
//! What an answer means is decided by [`countersign_trust::witness`]; here the questions are sent, within limits of time
//! and bytes, and it is remembered for each witness which size it cosigned last and what is wrong with it. Nothing here
//! knows a database: proofs are made from [`Tiles`].

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use countersign_trust::checkpoint;
use countersign_trust::digest::Sha256;
use countersign_trust::policy::{Policy, PolicyError};
use countersign_trust::tlog::{self, TileId};
use countersign_trust::witness::{
    AddCheckpoint, Ask, Gathering, Heard, MAX_ANSWER_BYTES, Standing, monitoring_path,
};
use futures::future::BoxFuture;
use tokio::sync::{mpsc, oneshot};
use tokio::time::{Instant, timeout, timeout_at};

use crate::error::{Error, Result};
use crate::model::{Time, WitnessHealth};
use crate::seams::{Clock, Outside, OutsideError, OutsideRequest, WitnessAnswer};
use crate::settings::LogPolicy;

/// How long a witness may take for one answer.
const ANSWER: Duration = Duration::from_secs(4);
/// How long a checkpoint waits for its quorum before the beat is given up and begun anew.
pub(crate) const QUORUM: Duration = Duration::from_secs(9);
/// How long it waits where the operator lets it go on without.
pub(crate) const OVERRIDDEN: Duration = Duration::from_millis(500);
/// After a checkpoint without quorum: so long witnesses are left alone.
const REST: Duration = Duration::from_secs(1);

/// Where the hashes of a log are.
pub(crate) trait Tiles: Send + Sync + 'static {
    /// The bytes of a tile that the log has; an error where they are missing.
    fn tile(&self, id: TileId) -> BoxFuture<'_, Result<Bytes>>;
}

/// A checkpoint of this log, signed by its own key and cosigned by a witness, that is larger than what the log is about
/// to show, or of another history.
#[derive(Clone, Debug)]
pub(crate) struct Sighting {
    /// The witness's name within the policy.
    pub(crate) witness: String,
    /// How much it has seen.
    pub(crate) size: u64,
    /// The root of that.
    pub(crate) root: Sha256,
}

/// What came of asking for cosignatures.
pub(crate) enum Outcome {
    /// The checkpoint with the cosignatures of a quorum: it may be shown.
    Quorum(String),
    /// There are too few.
    Short {
        /// The checkpoint with those that there are.
        note: String,
        /// Which witnesses failed, and how.
        why: String,
    },
}

/// The witnesses of one log.
pub(crate) struct Witnesses {
    origin: String,
    policy: LogPolicy,
    outside: Arc<dyn Outside>,
    clock: Arc<dyn Clock>,
    parties: BTreeMap<String, Party>,
    /// The largest tree that they were asked about: what is smaller need not be asked any more.
    newest: AtomicU64,
    /// What a witness showed that this log does not have; see [`Witnesses::beyond`].
    beyond: Mutex<Option<Sighting>>,
    rest: Mutex<Option<(Instant, String)>>,
}

struct Party {
    url: String,
    /// One question at a time: a witness that is slow is not asked more for it.
    turn: tokio::sync::Mutex<()>,
    known: Mutex<Known>,
}

#[derive(Clone, Default)]
struct Known {
    size: Option<u64>,
    cosigned: Option<Time>,
    problem: Option<String>,
}

impl Party {
    fn note(&self, change: impl FnOnce(&mut Known)) {
        change(&mut self.known.lock().unwrap_or_else(PoisonError::into_inner));
    }

    fn known(&self) -> Known {
        self.known
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }
}

impl Witnesses {
    /// Those of a policy that was completed for this log ([`LogPolicy::for_log`]).
    pub(crate) fn new(
        origin: &str,
        policy: LogPolicy,
        outside: Arc<dyn Outside>,
        clock: Arc<dyn Clock>,
    ) -> Self {
        let parties = policy.policy().witnesses().iter().filter_map(|witness| {
            let party = Party {
                url: witness.url.clone()?.trim_end_matches('/').to_owned(),
                turn: tokio::sync::Mutex::default(),
                known: Mutex::default(),
            };
            Some((witness.name.clone(), party))
        });
        Self {
            origin: origin.to_owned(),
            parties: parties.collect(),
            policy,
            outside,
            clock,
            newest: AtomicU64::new(0),
            beyond: Mutex::default(),
            rest: Mutex::default(),
        }
    }

    /// The policy.
    pub(crate) fn policy(&self) -> &LogPolicy {
        &self.policy
    }

    /// Has a checkpoint what the policy asks for?
    pub(crate) fn satisfied_by(&self, note: &str) -> bool {
        let opened = self.policy.policy().open(note.as_bytes(), &self.origin);
        opened.is_ok()
    }

    /// How each witness is.
    pub(crate) fn health(&self) -> Vec<WitnessHealth> {
        let each = self.parties.iter().map(|(name, party)| {
            let known = party.known();
            WitnessHealth {
                name: name.clone(),
                url: party.url.clone(),
                size: known.size,
                cosigned: known.cosigned,
                problem: known.problem,
            }
        });
        each.collect()
    }

    /// What a witness showed that this log does not have. The caller looks whether it has it after all, as where another
    /// process of the same log went on; [`Witnesses::explained`] then.
    pub(crate) fn beyond(&self) -> Option<Sighting> {
        self.beyond
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }

    /// What was seen beyond this log is in it.
    pub(crate) fn explained(&self) {
        *self.beyond.lock().unwrap_or_else(PoisonError::into_inner) = None;
    }

    /// Why witnesses are left alone for the moment, after they failed.
    pub(crate) fn resting(&self) -> Option<String> {
        let rest = self.rest.lock().unwrap_or_else(PoisonError::into_inner);
        rest.as_ref()
            .filter(|(until, _)| Instant::now() < *until)
            .map(|(_, why)| why.clone())
    }

    fn rest(&self, why: &str) {
        *self.rest.lock().unwrap_or_else(PoisonError::into_inner) =
            Some((Instant::now() + REST, why.to_owned()));
    }

    /// What fails, for people: each witness that has a problem.
    fn failures(&self) -> String {
        let failing: Vec<String> = self
            .parties
            .iter()
            .filter_map(|(name, party)| Some(format!("{name}: {}", party.known().problem?)))
            .collect();
        if failing.is_empty() {
            "no witness that has an address is enough for it".to_owned()
        } else {
            failing.join("; ")
        }
    }

    /// Asks every witness what it has seen of this log and compares it with the tree of `size` leaves. Signs nothing.
    ///
    /// `Ok(Ok(()))`: witnesses enough for the quorum answered, and none knows more. `Ok(Err(why))`: too few answered.
    /// What one has seen beyond, or otherwise, is in [`Witnesses::beyond`].
    ///
    /// # Errors
    /// Tiles that can not be read.
    pub(crate) async fn compare(
        &self,
        tiles: &dyn Tiles,
        size: u64,
    ) -> Result<std::result::Result<(), String>> {
        let mut looks = Vec::with_capacity(self.parties.len());
        for name in self.parties.keys() {
            looks.push(async move { (name, self.look(name).await) });
        }
        let looks = futures::future::join_all(looks).await;
        let mut met = Vec::new();
        for (name, seen) in looks {
            let stands = match seen {
                // It has seen nothing of this log, or does not show it; then its answers to checkpoints tell.
                Ok(None) => Ok(None),
                Ok(Some(note)) => self.stand(name, &note, tiles, size).await?.map(Some),
                Err(why) => Err(why),
            };
            let party = &self.parties[name];
            match stands {
                Ok(stands) => {
                    party.note(|known| {
                        known.problem = None;
                        known.size = stands.as_ref().map(|(_, sighting)| sighting.size);
                    });
                    if let Some((Standing::Ahead { .. } | Standing::Forked { .. }, sighting)) =
                        stands
                    {
                        self.saw_beyond(sighting);
                    }
                    met.push(name.as_str());
                }
                Err(why) => party.note(|known| known.problem = Some(why)),
            }
        }
        if self.policy.policy().quorum_met(&met) {
            return Ok(Ok(()));
        }
        let why = self.failures();
        self.rest(&why);
        Ok(Err(why))
    }

    fn saw_beyond(&self, sighting: Sighting) {
        self.parties[&sighting.witness].note(|known| {
            known.problem = Some(format!(
                "it has seen {} leaves of this log that are not in it",
                sighting.size
            ));
        });
        *self.beyond.lock().unwrap_or_else(PoisonError::into_inner) = Some(sighting);
    }

    /// What a witness serves of this log; `None` where it has nothing of it.
    async fn look(&self, name: &str) -> std::result::Result<Option<Vec<u8>>, String> {
        let url = format!(
            "{}/{}",
            self.parties[name].url,
            monitoring_path(&self.origin)
        );
        let answer = self.send(&url, None).await.map_err(|why| why.to_string())?;
        match answer.status {
            200 => Ok(Some(answer.body)),
            404 => Ok(None),
            status => Err(format!("it answers with the status {status}")),
        }
    }

    async fn send(
        &self,
        url: &str,
        body: Option<&str>,
    ) -> std::result::Result<WitnessAnswer, OutsideError> {
        let request = OutsideRequest {
            url,
            most: MAX_ANSWER_BYTES,
            timeout: ANSWER,
            ca_pem: None,
            accept: "text/plain",
            headers: &[],
        };
        // The time limit is the way's; this one is for a way that does not keep it.
        timeout(ANSWER * 2, self.outside.witness(request, body))
            .await
            .unwrap_or_else(|_| Err(OutsideError::Unreachable("it does not answer".to_owned())))
    }

    /// How what a witness serves stands to the tree of `size` leaves; `Err` within for what proves nothing.
    async fn stand(
        &self,
        name: &str,
        note: &[u8],
        tiles: &dyn Tiles,
        size: u64,
    ) -> Result<std::result::Result<(Standing, Sighting), String>> {
        let policy = self.policy.policy();
        let seen = policy
            .keys_for(&self.origin)
            .and_then(|keys| Ok(checkpoint::open(note, &keys, &self.origin)?));
        let seen = match seen {
            Ok(seen) => seen,
            Err(error) => return Ok(Err(format!("what it serves does not verify: {error}"))),
        };
        let ours = match seen.size() <= size {
            true => root_at(tiles, seen.size()).await?,
            false => tlog::EMPTY_ROOT,
        };
        let standing = countersign_trust::witness::compare::<PolicyError>(
            policy,
            &self.origin,
            name,
            note,
            size,
            |_| Ok(ours),
        );
        let sighting = Sighting {
            witness: name.to_owned(),
            size: seen.size(),
            root: seen.root(),
        };
        Ok(standing
            .map(|standing| (standing, sighting))
            .map_err(|error| format!("what it serves does not verify: {error}")))
    }

    /// Asks all witnesses for their cosignatures of a checkpoint that the log signed, and answers as soon as they are a
    /// quorum, or can not become one within `patience`. The others are waited for in the background; `late` gets the
    /// checkpoint with what they added.
    pub(crate) async fn gather(
        self: &Arc<Self>,
        tiles: Arc<dyn Tiles>,
        note: String,
        patience: Duration,
        late: impl FnOnce(String) + Send + 'static,
    ) -> Outcome {
        let (told, outcome) = oneshot::channel();
        let deadline = Instant::now() + patience;
        tokio::spawn(
            self.clone()
                .collect(tiles, note.clone(), deadline, told, late),
        );
        let outcome = outcome.await.unwrap_or_else(|_| Outcome::Short {
            note,
            why: "asking the witnesses broke off".to_owned(),
        });
        match &outcome {
            Outcome::Short { why, .. } => self.rest(why),
            Outcome::Quorum(_) => {
                *self.rest.lock().unwrap_or_else(PoisonError::into_inner) = None;
            }
        }
        outcome
    }

    async fn collect(
        self: Arc<Self>,
        tiles: Arc<dyn Tiles>,
        note: String,
        deadline: Instant,
        told: oneshot::Sender<Outcome>,
        late: impl FnOnce(String) + Send + 'static,
    ) {
        let known: BTreeMap<String, u64> = self
            .parties
            .iter()
            .filter_map(|(name, party)| Some((name.clone(), party.known().size?)))
            .collect();
        // The gathering borrows the policy, which therefore must live here.
        let policy: LogPolicy = self.policy.clone();
        let policy: &Policy = policy.policy();
        let mut gathering = match Gathering::begin(policy, &self.origin, &note, &known) {
            Ok(gathering) => gathering,
            Err(error) => {
                let why = format!("the log's own checkpoint does not verify: {error}");
                // Nobody to tell: then the beat is gone too.
                drop(told.send(Outcome::Short { note, why }));
                return;
            }
        };
        let size = gathering.checkpoint().size;
        self.newest.fetch_max(size, Ordering::AcqRel);
        let (answers, mut heard) = mpsc::unbounded_channel();
        let mut told = Some(told);
        let mut shown = note.clone();
        let mut open = BTreeSet::new();
        loop {
            for ask in gathering.asks() {
                open.insert(ask.witness.clone());
                let (witnesses, tiles) = (self.clone(), tiles.clone());
                let (note, answers) = (note.clone(), answers.clone());
                tokio::spawn(async move {
                    let answer = witnesses.ask(&*tiles, &note, size, &ask).await;
                    // Nobody listens any longer once the time is over.
                    drop(answers.send((ask, answer)));
                });
            }
            if told.is_some()
                && let Ok((cosigned, _)) = gathering.done()
            {
                shown.clone_from(&cosigned);
                if let Some(told) = told.take() {
                    drop(told.send(Outcome::Quorum(cosigned)));
                }
            }
            if open.is_empty() {
                break;
            }
            let Ok(Some((ask, answer))) = timeout_at(deadline, heard.recv()).await else {
                break;
            };
            open.remove(&ask.witness);
            self.weigh(&mut gathering, &*tiles, size, &ask, answer)
                .await;
        }
        for name in open {
            self.parties[&name].note(|known| {
                known.problem = Some("it does not answer in time".to_owned());
            });
        }
        let all = gathering.note();
        match told {
            Some(told) => {
                let why = self.failures();
                drop(told.send(Outcome::Short { note: all, why }));
            }
            None if all != shown => late(all),
            None => {}
        }
    }

    /// One answer.
    async fn weigh(
        &self,
        gathering: &mut Gathering<'_>,
        tiles: &dyn Tiles,
        size: u64,
        ask: &Ask,
        answer: std::result::Result<WitnessAnswer, String>,
    ) {
        let party = &self.parties[&ask.witness];
        let heard = match answer {
            Ok(answer) => gathering.heard(
                &ask.witness,
                answer.status,
                &answer.content_type,
                &answer.body,
            ),
            Err(why) => Heard::Failed { why },
        };
        let says = match heard {
            Heard::AskAgain => return,
            Heard::Cosigned => {
                let now = self.clock.now();
                party.note(|known| {
                    *known = Known {
                        size: known.size.max(Some(size)),
                        cosigned: Some(now),
                        problem: None,
                    };
                });
                return;
            }
            Heard::Failed { why } => {
                party.note(|known| known.problem = Some(why));
                return;
            }
            Heard::Ahead { size } => format!("it says that it has seen {size} leaves"),
            Heard::Contradicts { why } => format!("it says that this log forked ({why})"),
        };
        // Its word proves nothing. What it serves is signed by this log's own key, or it is a lie.
        let shown = match self.look(&ask.witness).await {
            Ok(Some(note)) => match self.stand(&ask.witness, &note, tiles, size).await {
                Ok(stands) => stands,
                Err(error) => Err(error.message),
            },
            Ok(None) => Err("it serves nothing of this log".to_owned()),
            Err(why) => Err(why),
        };
        match shown {
            Ok((Standing::Within { size }, _)) => party.note(|known| {
                known.size = Some(size);
                known.problem = Some(format!("{says}, but serves {size}, which are in it"));
            }),
            Ok((_, sighting)) => self.saw_beyond(sighting),
            Err(why) => party.note(|known| {
                known.problem = Some(format!("{says}, and does not show it: {why}"));
            }),
        }
    }

    async fn ask(
        &self,
        tiles: &dyn Tiles,
        note: &str,
        size: u64,
        ask: &Ask,
    ) -> std::result::Result<WitnessAnswer, String> {
        let party = &self.parties[&ask.witness];
        let _turn = timeout(ANSWER, party.turn.lock())
            .await
            .map_err(|_| "it is still busy with an earlier checkpoint".to_owned())?;
        if self.newest.load(Ordering::Acquire) > size {
            return Err("it was too slow for an earlier checkpoint".to_owned());
        }
        let proof = proof(tiles, ask.old_size, size)
            .await
            .map_err(|error| error.message)?;
        let body = AddCheckpoint::new(ask.old_size, proof, note.as_bytes())
            .map_err(|refusal| refusal.to_string())?
            .to_string();
        let url = format!("{}/add-checkpoint", party.url);
        let answer = self.send(&url, Some(&body)).await;
        answer.map_err(|why| why.to_string())
    }
}

async fn read(tiles: &dyn Tiles, ids: Vec<TileId>) -> Result<HashMap<TileId, Bytes>> {
    let mut read = HashMap::with_capacity(ids.len());
    for id in ids {
        read.insert(id, tiles.tile(id).await?);
    }
    Ok(read)
}

async fn proof(tiles: &dyn Tiles, old: u64, new: u64) -> Result<Vec<Sha256>> {
    let read = read(tiles, tlog::tiles_needed_for_consistency(old, new)).await?;
    tlog::consistency_proof(old, new, &read)
        .map_err(|source| Error::internal("a consistency proof can not be made", source))
}

/// The root that the log had at a size.
pub(crate) async fn root_at(tiles: &dyn Tiles, size: u64) -> Result<Sha256> {
    if size == 0 {
        return Ok(tlog::EMPTY_ROOT);
    }
    let read = read(tiles, tlog::tiles_needed_for_root(size)).await?;
    tlog::root(size, &read).map_err(|source| Error::internal("a root can not be computed", source))
}
