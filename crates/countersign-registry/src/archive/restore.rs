//! Restore: an instance from a backup, proven while it is written.
//!
//! 1. The backup is read once and held against its seal; nothing is written before that.
//! 2. Rows go into an empty database under a mark (`instance.restoring`); while it stands nothing serves. Bytes go
//!    into the blob store under the digest that they have.
//! 3. Every log is audited: the leaves give the signed root, each identifier and file row says what its leaf says.
//! 4. Is this the newest state that anyone has seen? Only the blob store's own checkpoint or one from outside can say
//!    so. If it is, the log goes on, after a replay where the tiles are ahead. If nothing says so, the log is closed
//!    and a new one begins that names it: two different continuations of one log would be a fork.
//! 5. Files that lack their bytes, or whose row differs from its leaf, are withheld, each with its leaf;
//!    what is staged and lacks its bytes ends. Then the mark goes.
//!
//! *Crash anywhere*: the mark stands; the same command again wipes what was written and starts anew.

use std::path::Path;

use bytes::Bytes;
use countersign_formats::Ecosystem;
use countersign_trust::checkpoint;
use countersign_trust::leaf::{self, Leaf, LeafKind, Predecessor, identifier_hash};
use countersign_trust::note::VerifierKey;
use serde::Serialize;
use serde_json::json;

use super::load::load;
use super::replay::{self, Replayed};
use crate::audit::{self, Fault};
use crate::blobs::artifact_path;
use crate::error::{Error, Kind, Result};
use crate::fetch::latest_of;
use crate::heartbeat::{Change, WITNESSES_MISSING, tile_path};
use crate::keys::verifier_key_name;
use crate::model::{Actor, FileId, FileState, LogId, ProjectId};
use crate::opening::start_shard;
use crate::provenance::{ATTESTATIONS, NPM, key_problem};
use crate::settings::Settings;
use crate::store::{Head, LeafFacts, Store};
use crate::tuf::{LIFT, lift_after};
use crate::{Blobs, LogKeys, Registry, Seams};

/// Where to restore from and to.
pub struct Restore<'a> {
    /// The backup; `None`: the database is there, set back to an older state, and only the replay is wanted.
    pub file: Option<&'a Path>,
    /// Settings of the instance.
    pub settings: &'a Settings,
    /// Its database: empty, or with the rest of a restore that broke off.
    pub store: &'a Store,
    /// Its blob store: empty, or with `replay` the one that survived.
    pub blobs: &'a Blobs,
    /// The folder of its keys.
    pub keys_folder: &'a Path,
    /// Time and randomness.
    pub seams: &'a Seams,
    /// A signed checkpoint of the log from someone who watches it: proof of what the newest state is.
    pub newest_checkpoint: Option<Vec<u8>>,
    /// The blob store survived: put back what its tiles hold.
    pub replay: bool,
}

/// How the log goes on.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Continued {
    /// The same log: this was proven to be its newest state.
    SameLog,
    /// The old log is closed, a new one begins.
    NewLog {
        /// Origin of the closed log.
        predecessor: String,
        /// Why the old one could not go on.
        why: String,
    },
}

/// What a restore did.
#[derive(Clone, Debug, Serialize)]
pub struct Restored {
    /// Origin of the log that is written now.
    pub origin: String,
    /// Its number.
    pub shard: u64,
    /// How it goes on.
    pub continued: Continued,
    /// Leaves of the closed or continued log, all verified.
    pub leaves: u64,
    /// Of them, those that came from the tiles.
    pub replayed: u64,
    /// Names of files that are withheld, with the reason.
    pub withheld: Vec<(String, String)>,
    /// Identifiers that the log knows and the rows did not; they stand for their digest and no other, for ever.
    pub tombstones: u64,
    /// What the operator should look at.
    pub notes: Vec<String>,
}

/// Told what is being done, how much of it is done, and how much there is.
pub type Progress<'p> = &'p mut (dyn FnMut(&str, u64, u64) + Send);

impl Registry {
    /// Restores an instance. The module's text says how.
    ///
    /// # Errors
    /// `backup-damaged`, `not-empty`, `restore-unproven` where rows, signatures and log do not fit together, and
    /// `log-forked`; nothing serves after an error before the same restore has succeeded.
    pub async fn restore(plan: &Restore<'_>, progress: Progress<'_>) -> Result<Restored> {
        match plan.file {
            Some(file) => load(plan, file, progress).await?,
            None => {
                may_replay(plan).await?;
                let mut tx = plan.store.write().await?;
                tx.set_instance("restoring", "a replay").await?;
                tx.commit().await?;
            }
        }
        settle(plan, progress).await
    }
}

/// A replay without a backup is for one case only, the one in which `open` says `log-ahead`. A database beside an
/// unmounted blob store must not lose its log to it.
async fn may_replay(plan: &Restore<'_>) -> Result<()> {
    let Some(shard) = plan.store.newest_shard().await? else {
        return Err(Error::new(
            Kind::NotFound,
            "not-initialised",
            "There is no registry in this database, so there is nothing to replay into.",
        )
        .remedy("Give the backup to restore."));
    };
    let Some(head) = plan.store.head(shard).await? else {
        return Err(unproven("the newest log is gone"));
    };
    if plan.store.instance("restoring").await?.is_some() {
        return Ok(());
    }
    let path = tile_path(shard, "checkpoint");
    let ahead = match plan.blobs.get(&path, 1 << 20).await? {
        Some(note) => checkpoint::open(&note, &verifier_keys(plan, &head).await?, &head.origin)
            .is_ok_and(|seen| seen.size() > head.size),
        None => false,
    };
    if ahead {
        return Ok(());
    }
    Err(Error::new(
        Kind::Rejected,
        "nothing-to-replay",
        format!(
            "The blob store {} holds no more of the log {} than the database: there is nothing to replay.",
            plan.blobs.place(),
            head.origin
        ),
    )
    .remedy("Run `countersignd serve`. If the log should be longer, mount the right blob store, or restore a backup."))
}

fn unproven(what: &str) -> Error {
    Error::unavailable(
        "restore-unproven",
        format!(
            "What was restored does not prove itself: {what}. Nothing will be served or signed."
        ),
    )
    .remedy("Restore another backup into empty places.")
}

/// Steps 3 to 5.
async fn settle(plan: &Restore<'_>, progress: Progress<'_>) -> Result<Restored> {
    let (store, now) = (plan.store, plan.seams.clock.now());
    let mut notes = Vec::new();
    let mut withheld: Vec<(FileId, ProjectId, String, String)> = Vec::new();
    let mut tombstones = 0;
    let heads = store.heads().await?;
    let Some(newest) = heads.last().cloned() else {
        return Err(unproven("there is no log in it"));
    };
    let mut keys_of_newest = Vec::new();
    let mut tree = None;
    for head in &heads {
        let keys = verifier_keys(plan, head).await?;
        let audited = audit::audit(store, head, &keys, &mut |done, all| {
            progress(&format!("auditing the log {}", head.origin), done, all);
        })
        .await?;
        if let Some(what) = audited.broken() {
            return Err(unproven(&format!("log {}: {what}", head.origin)));
        }
        for fault in audited.faults {
            match fault {
                Fault::Unclaimed { purl, sha256, at } => {
                    let named = countersign_formats::purl::parse(&purl)?;
                    let mut tx = store.write().await?;
                    tx.claim_identifier(
                        identifier_hash(&purl),
                        &purl,
                        &sha256.to_hex(),
                        named.name_key.as_str(),
                        at,
                    )
                    .await?;
                    tx.commit().await?;
                    tombstones += 1;
                }
                Fault::RowDiffers {
                    file,
                    project,
                    filename,
                    state,
                    what,
                } => {
                    if state == FileState::Live {
                        withheld.push((
                            file,
                            project,
                            filename,
                            format!("restore: {what} in its row is not what its leaf says"),
                        ));
                    }
                }
                Fault::Broken(_) | Fault::OtherDigest { .. } => {}
            }
        }
        if head.shard == newest.shard {
            keys_of_newest = keys;
            tree = audited.frontier;
        }
    }
    let Some(tree) = tree else {
        return Err(unproven("the newest log is not whole"));
    };

    // 4. What do others say?
    let (proof, replayed) = newest_state(plan, &newest, &keys_of_newest, &tree, &mut notes).await?;
    tombstones += replayed.tombstones;
    if replayed.untold > 0 {
        notes.push(format!(
            "{} changes of owners, roles, policies or tokens stand in the log and not in the rows: look through `log show`, and set them again.",
            replayed.untold
        ));
    }
    let Some(head) = store.head(newest.shard).await? else {
        return Err(unproven("the newest log is gone"));
    };
    let (keys, continued) = match proof {
        Ok(()) => {
            let keys = LogKeys::load(plan.keys_folder, head.shard)?;
            if keys.origin() != head.origin
                || !keys
                    .verifiers()
                    .iter()
                    .any(|key| keys_of_newest.contains(key))
            {
                return Err(Error::unavailable(
                    "log-key-wrong",
                    format!(
                        "The keys in {} are not those of the log {}.",
                        plan.keys_folder.display(),
                        head.origin
                    ),
                )
                .remedy(
                    "Put the key of this log into the keys folder and run the same restore again.",
                ));
            }
            (keys, Continued::SameLog)
        }
        Err(why) => {
            notes.push("Tokens that were revoked, roles that were taken away and trusted publishers that were removed after this backup was made count again: look through them.".to_owned());
            let keys = begin_new_log(plan, &head).await?;
            (
                keys,
                Continued::NewLog {
                    predecessor: head.origin.clone(),
                    why,
                },
            )
        }
    };
    let mut tx = store.write().await?;
    tx.drop_all_documents().await?;
    tx.commit().await?;

    // 5. What lacks its bytes is not served.
    lacking_bytes(plan, &mut withheld, progress).await?;
    notes.extend(staged_without_bytes(plan).await?);
    for file in store.live_without_leaf().await? {
        withheld.push((
            file.id,
            file.project,
            file.filename,
            "restore: it is not in the log".to_owned(),
        ));
    }
    withheld.sort();
    withheld.dedup_by(|next, kept| next.0 == kept.0);
    let heads = store.heads().await?;
    let Some(served) = heads.last().cloned() else {
        return Err(unproven("the newest log is gone"));
    };
    let shard = served.shard;
    let registry = Registry::assemble(
        plan.settings.clone(),
        store.clone(),
        plan.blobs.clone(),
        keys,
        plan.seams.clone(),
        heads.clone(),
    )?;
    let mut touched: Vec<ProjectId> = replayed.projects.into_iter().collect();
    for (file, project, _, why) in &withheld {
        registry.withhold_unproven(file, why).await?;
        touched.push(project.clone());
    }
    touched.sort();
    touched.dedup();
    for project in &touched {
        registry.refresh_project(project).await?;
    }
    // Tiles of every log; of the newest the next start writes them where they lack.
    for head in &heads {
        if head.size > 0 {
            registry
                .rebuild_tiles(&LogId::Shard(head.shard), head.size)
                .await?;
            plan.blobs
                .put(
                    &tile_path(head.shard, "checkpoint"),
                    Bytes::from(head.checkpoint.clone()),
                )
                .await?;
        }
    }
    for name in registry.settle_service_logs(plan.file.is_some()).await? {
        notes.push(format!(
            "The log of the service {name} is closed: nothing proves that the backup has all that was shown of it, and two continuations of one log would be a fork. Make another with `countersignd log service create`."
        ));
    }
    let folder = &plan.settings.sign_in.key_folder;
    let problem = key_problem(store, folder, &ATTESTATIONS).await?;
    let npm_problem = key_problem(store, folder, &NPM).await?;
    let mut tx = store.write().await?;
    if let Some(problem) = npm_problem {
        tx.end_key(NPM.table, now).await?;
        notes.push(format!("{problem} Another key signs npm's versions from now on; what the one before signed stays good."));
    }
    if let Some(problem) = problem {
        tx.end_key(ATTESTATIONS.table, now).await?;
        tx.own_words_due_for_all().await?;
        notes.push(format!("{problem} Another key signs the registry's attestations from now on; it is made within the hour, or with the next file."));
    }
    tx.set_instance(LIFT, &lift_after(newest.signed, now).to_string())
        .await?;
    tx.unset_instance("restoring").await?;
    tx.set_instance("restored_at", &now.rfc3339()).await?;
    // Which identity tokens were exchanged after the backup is not known any more: none issued before now is taken.
    tx.set_instance("identity_tokens_since", &now.seconds().to_string())
        .await?;
    tx.commit().await?;
    // From here on it is an instance like any other: what waits gets its leaves.
    registry.guard_against_forks().await?;
    loop {
        match registry.beat().await {
            Ok(0) => break,
            Ok(_) => {}
            // A log that was just begun is not known to witnesses yet.
            Err(error) if error.code == WITNESSES_MISSING => {
                notes.push(format!(
                    "{} What was restored is shown once they answer.",
                    error.message
                ));
                break;
            }
            Err(error) => return Err(error),
        }
    }
    Ok(Restored {
        origin: registry.inner.keys.origin().to_owned(),
        shard,
        continued,
        leaves: head.size,
        replayed: replayed.leaves,
        withheld: withheld
            .into_iter()
            .map(|(_, _, filename, why)| (filename, why))
            .collect(),
        tombstones,
        notes,
    })
}

/// The keys that a log's checkpoints are checked with: those in the rows, which its own key on disk must not contradict.
async fn verifier_keys(plan: &Restore<'_>, head: &Head) -> Result<Vec<VerifierKey>> {
    let mut keys = Vec::new();
    if let Some(text) = plan.store.instance(&verifier_key_name(head.shard)).await? {
        for line in text.lines() {
            keys.push(
                line.parse()
                    .map_err(|_| unproven("a verifier key in it can not be read"))?,
            );
        }
    }
    if let Ok(own) = LogKeys::load(plan.keys_folder, head.shard) {
        if keys.is_empty() {
            keys = own.verifiers();
        } else if own.verifiers() != keys {
            return Err(Error::unavailable(
                "log-key-wrong",
                format!(
                    "The key of log {} in {} is not the one that the backup names.",
                    head.shard,
                    plan.keys_folder.display()
                ),
            )
            .remedy("Put the key of this log into the keys folder, or none."));
        }
    }
    if keys.is_empty() {
        return Err(Error::unavailable(
            "log-key-missing",
            format!(
                "Nothing says with which key the log {} was signed.",
                head.origin
            ),
        )
        .remedy("Put the key of this log into the keys folder and run the same restore again."));
    }
    Ok(keys)
}

/// Whether the restored log is the newest that anyone has seen (`Err`: why that is not known), after replaying what
/// the tiles hold.
async fn newest_state(
    plan: &Restore<'_>,
    head: &Head,
    keys: &[VerifierKey],
    tree: &countersign_trust::tlog::Frontier,
    notes: &mut Vec<String>,
) -> Result<(std::result::Result<(), String>, Replayed)> {
    let forked = |place: &str, size: u64| {
        Error::unavailable("log-forked", format!("At {size} leaves {place} is another log than the restored one. Nothing will be signed."))
            .remedy("They belong to different registries, or one was changed. Bring the right ones together.")
    };
    let mut replayed = Replayed::default();
    let mut newest = (head.size, head.root);
    let mut proof = Err("nothing outside the backup shows how far the log had come".to_owned());
    let note = plan
        .blobs
        .get(&tile_path(head.shard, "checkpoint"), 1 << 20)
        .await?;
    // The copy is written without a sync: all zeros after a power cut are no copy.
    if let Some(note) = note.filter(|note| plan.replay && note.iter().any(|byte| *byte != 0)) {
        let seen = checkpoint::open(&note, keys, &head.origin).map_err(|source| {
            Error::unavailable("log-forked", format!("The checkpoint in the blob store is not one of this log: {source}. Nothing will be signed."))
                .remedy("Give the blob store of this registry, or an empty one.")
        })?;
        if seen.size() < head.size {
            let then = audit::tree_of_rows(plan.store, head.shard, seen.size()).await?;
            if then.is_none_or(|then| then.root() != seen.root()) {
                return Err(forked("the blob store", seen.size()));
            }
            proof = Err("the blob store is older than the backup".to_owned());
        } else {
            if seen.size() == head.size && seen.root() != head.root {
                return Err(forked("the blob store", seen.size()));
            }
            if seen.size() > head.size {
                let text = String::from_utf8(note.to_vec())
                    .map_err(|_| forked("the blob store", seen.size()))?;
                replayed = replay::replay(
                    plan.store,
                    plan.blobs,
                    head,
                    tree,
                    seen.checkpoint(),
                    text,
                    plan.seams.clock.now(),
                )
                .await?;
                newest = (seen.size(), seen.root());
            }
            let lying = replay::entries_lying(plan.blobs, head.shard).await?;
            proof = if lying > seen.size() {
                // A beat had begun; its checkpoint may have been seen although its copy did not get here.
                Err(format!(
                    "the blob store holds {lying} entries and a checkpoint over {} only",
                    seen.size()
                ))
            } else {
                Ok(())
            };
        }
    }
    if let Some(note) = &plan.newest_checkpoint {
        let outside = checkpoint::open(note, keys, &head.origin).map_err(|source| {
            Error::new(
                Kind::Rejected,
                "checkpoint-wrong",
                format!(
                    "The given newest checkpoint is not one of the log {}: {source}.",
                    head.origin
                ),
            )
            .remedy("Give the checkpoint file that a monitor or client of this log has kept.")
        })?;
        match outside.size().cmp(&newest.0) {
            std::cmp::Ordering::Equal if outside.root() != newest.1 => {
                return Err(forked("the given checkpoint", newest.0));
            }
            std::cmp::Ordering::Equal => proof = Ok(()),
            std::cmp::Ordering::Greater => {
                proof = Err(format!(
                    "the given checkpoint shows {} leaves, the restored log has {}",
                    outside.size(),
                    newest.0
                ));
            }
            std::cmp::Ordering::Less => {
                let then = audit::tree_of_rows(plan.store, head.shard, outside.size()).await?;
                if then.is_none_or(|then| then.root() != outside.root()) {
                    return Err(forked("the given checkpoint", outside.size()));
                }
                notes.push(format!("The given checkpoint is older ({} leaves) than what was restored ({}); it proves nothing about the newest state.", outside.size(), newest.0));
            }
        }
    }
    Ok((proof, replayed))
}

/// Closes the log for ever and begins the next, which names it.
async fn begin_new_log(plan: &Restore<'_>, old: &Head) -> Result<LogKeys> {
    let shard = old.shard + 1;
    let host = old
        .origin
        .strip_suffix(&format!("/log/{}", old.shard))
        .unwrap_or(&old.origin);
    let origin = format!("{host}/log/{shard}");
    // Keys first. *Crash after it*: the next try finds and takes them.
    let keys = match LogKeys::load(plan.keys_folder, shard) {
        Ok(keys) if keys.origin() == origin => keys,
        Ok(keys) => {
            return Err(Error::new(
                Kind::Conflict,
                "log-key-exists",
                format!(
                    "{} holds keys of log {shard} for {}, not for {origin}.",
                    plan.keys_folder.display(),
                    keys.origin()
                ),
            )
            .remedy("Give the keys folder of this registry."));
        }
        Err(_) => {
            let keys = LogKeys::generate(&origin, plan.seams.random.as_ref())?;
            keys.save(plan.keys_folder, shard)?;
            keys
        }
    };
    let now = plan.seams.clock.now();
    let unserved = plan.store.leaves_from(old.shard, old.size, 100_000).await?;
    let mut tx = plan.store.write().await?;
    for row in &unserved {
        let parsed = leaf::parse(row.body.as_bytes())
            .map_err(|source| Error::internal("a stored leaf can not be read", source))?;
        let Some(leaf) = parsed.known() else { continue };
        let facts = serde_json::to_string(&facts_of(&leaf))
            .map_err(|source| Error::internal("leaf facts can not be written", source))?;
        tx.take_back(old.shard, &row.event, &facts).await?;
    }
    tx.drop_waiting_map_roots().await?;
    tx.freeze(old.shard, now).await?;
    let predecessor = Predecessor {
        origin: old.origin.clone(),
        size: old.size,
        root: old.root,
    };
    start_shard(
        &mut tx,
        shard,
        &keys,
        Some(predecessor),
        json!({"restored": true}),
        plan.seams,
    )
    .await?;
    tx.commit().await?;
    Ok(keys)
}

fn facts_of(leaf: &Leaf) -> LeafFacts {
    LeafFacts {
        kind: leaf.kind.as_str().to_owned(),
        subject: leaf.subject.clone(),
        digests: leaf
            .digests
            .iter()
            .map(|(algorithm, hex)| (algorithm.as_str().to_owned(), hex.clone()))
            .collect(),
        size: leaf.size,
        change: leaf.change.map(|change| change.as_str().to_owned()),
        role: leaf.role.clone(),
        actor: leaf.actor,
        account: leaf.account,
        attestations: leaf.attestations.iter().map(ToString::to_string).collect(),
        map: leaf.map.map(|map| (map.covers, map.root)),
    }
}

/// Files whose bytes are missing or, in a blob store that we did not just fill ourselves, not those of their digest.
async fn lacking_bytes(
    plan: &Restore<'_>,
    withheld: &mut Vec<(FileId, ProjectId, String, String)>,
    progress: Progress<'_>,
) -> Result<()> {
    let (mut after, mut done) = (String::new(), 0);
    loop {
        let files = plan.store.files_after(&after, 500).await?;
        let Some(last) = files.last() else { break };
        after = last.id.0.clone();
        for file in files {
            let whole = is_whole(plan, &file.sha256, file.size).await?;
            if !whole && matches!(file.state, FileState::Live | FileState::Staged) {
                withheld.push((
                    file.id,
                    file.project,
                    file.filename,
                    "restore: its bytes are lacking".to_owned(),
                ));
            }
            done += 1;
            progress("checking artifacts", done, done);
        }
    }
    Ok(())
}

/// Whether an artifact's bytes are there; read only where the blob store is not one that we just filled ourselves.
async fn is_whole(plan: &Restore<'_>, sha256: &str, size: u64) -> Result<bool> {
    let stat = plan.blobs.stat(artifact_path(sha256).as_ref()).await?;
    match stat {
        Some(stat) if stat.size != size => Ok(false),
        Some(_) if plan.replay => {
            let digest = plan.blobs.artifact_digest(sha256).await?;
            Ok(digest.is_some_and(|digest| digest.to_hex() == sha256))
        }
        Some(_) => Ok(true),
        None => Ok(false),
    }
}

/// Ends what is staged, waits, and could not be published any more; a note for each.
async fn staged_without_bytes(plan: &Restore<'_>) -> Result<Vec<String>> {
    let now = plan.seams.clock.now();
    let (mut after, mut notes) = (String::new(), Vec::new());
    loop {
        let rows = plan.store.waiting_after(&after, 500).await?;
        let Some(last) = rows.last() else {
            return Ok(notes);
        };
        after.clone_from(&last.id);
        for row in rows {
            if row.expires <= now || is_whole(plan, &row.sha256, row.size).await? {
                continue;
            }
            let mut tx = plan.store.write().await?;
            tx.end_staged(&row.id, "bytes-lost", None, now).await?;
            tx.commit().await?;
            notes.push(format!(
                "The staged version {} {} ({}) lacks its bytes and waits no more: let it be staged again.",
                row.project_name, row.version, row.id
            ));
        }
    }
}

impl Registry {
    /// Withholds a file, with its leaf.
    async fn withhold_unproven(&self, file: &FileId, why: &str) -> Result<()> {
        let rows = self
            .inner
            .store
            .files_by_id(std::slice::from_ref(file))
            .await?;
        let Some(row) = rows.into_iter().next() else {
            return Ok(());
        };
        let actor = Actor::operator();
        let mut tx = self.inner.store.write().await?;
        tx.set_files_state(
            std::slice::from_ref(file),
            FileState::Quarantined,
            Some(why),
            self.now(),
        )
        .await?;
        let change = Change::about(&actor, LeafKind::Quarantined, row.purl, &row.project);
        self.record(&mut tx, change, json!({"reason": why})).await?;
        tx.commit().await
    }

    /// A project's serial and what lists show of it, after its files changed.
    async fn refresh_project(&self, project: &ProjectId) -> Result<()> {
        let mut tx = self.inner.store.write().await?;
        let states = tx
            .raise_serials(std::slice::from_ref(project), self.now(), false)
            .await?;
        let left = tx.live_files(project).await?;
        let ecosystem = match states.first() {
            Some(state) => crate::store::ecosystem(&state.ecosystem)?,
            None => Ecosystem::Pypi,
        };
        let (latest, summary) = latest_of(ecosystem, &left)
            .map(|file| (file.version.clone(), file.summary.clone()))
            .unwrap_or_default();
        tx.set_latest(&[(project.clone(), latest, summary)]).await?;
        tx.commit().await
    }
}
