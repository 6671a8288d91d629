//! What the surviving tiles hold, put back into a database that was set back to an older state.
//!
//! The tree is verified against its signed checkpoint before the first row is written. Each leaf then gets its row,
//! claims what it claims (an identifier for a digest, a name), and takes effect as far as a leaf can say it: deleted,
//! quarantined and yanked stay so. Texts, bytes and people are not in the log; what lacks them stays a tombstone.

use std::collections::{BTreeSet, HashMap};

use countersign_formats::{Ecosystem, format, purl};
use countersign_trust::checkpoint::Checkpoint;
use countersign_trust::leaf::{self, Leaf, LeafKind, identifier_hash};
use countersign_trust::tlog::{self, EntriesId, Frontier};
use futures::StreamExt;

use crate::Blobs;
use crate::accounts::new_id;
use crate::error::{Error, Result};
use crate::heartbeat::tile_path;
use crate::model::{EventId, FileId, FileState, ProjectId, ProjectStatus, Time, TrustLevel};
use crate::store::{Head, NumberedLeaf, Store, Tx};

/// What a replay brought back.
#[derive(Debug, Default)]
pub(super) struct Replayed {
    pub(super) leaves: u64,
    /// Identifiers that the log knows and no file stands behind.
    pub(super) tombstones: u64,
    /// Leaves whose effect a leaf can not tell: owners, roles, tokens, policies.
    pub(super) untold: u64,
    pub(super) projects: BTreeSet<ProjectId>,
}

/// Highest number of entries that lie in the blob store for a shard, signed or not.
pub(super) async fn entries_lying(blobs: &Blobs, shard: u64) -> Result<u64> {
    let prefix = tile_path(shard, "");
    let mut most = 0;
    let mut found = blobs.list(&tile_path(shard, "tile/entries"));
    while let Some(object) = found.next().await {
        let (path, _, _) = object?;
        if let Some(Ok(id)) = path.strip_prefix(&prefix).map(EntriesId::parse_path) {
            most = most.max(id.first_entry() + u64::from(id.width));
        }
    }
    Ok(most)
}

/// The entries of one bundle of a log of `size`, from the bundle itself or a wider one that took its place.
async fn bundle(blobs: &Blobs, shard: u64, index: u64, size: u64) -> Result<Option<Vec<Vec<u8>>>> {
    let Some(wanted) = EntriesId::in_log(index, size) else {
        return Ok(None);
    };
    for width in wanted.width..=tlog::TILE_WIDTH {
        let id = EntriesId { index, width };
        let Some(bytes) = blobs.get(&tile_path(shard, &id.path()), 32 << 20).await? else {
            continue;
        };
        if let Ok(entries) = tlog::decode_entries(&bytes)
            && entries.len() >= usize::from(wanted.width)
        {
            let entries = entries.into_iter().take(usize::from(wanted.width));
            return Ok(Some(entries.map(<[u8]>::to_vec).collect()));
        }
    }
    Ok(None)
}

/// Replays the leaves from `head.size` to `seen.size`. `tree` is the verified tree of the rows.
pub(super) async fn replay(
    store: &Store,
    blobs: &Blobs,
    head: &Head,
    tree: &Frontier,
    seen: &Checkpoint,
    note: String,
    now: Time,
) -> Result<Replayed> {
    let width = u64::from(tlog::TILE_WIDTH);
    let lacking = |index: u64| {
        Error::unavailable(
            "log-tiles-missing",
            format!("The blob store lacks the log's entry bundle {index}, which its checkpoint of {} leaves covers.", seen.size),
        )
        .remedy("Bring the whole blob store back, or restore into an empty one: that starts a new log.")
    };
    let bundles = head.size / width..=(seen.size - 1) / width;
    // First everything is verified, then anything is written.
    let mut frontier = tree.clone();
    for index in bundles.clone() {
        let entries = bundle(blobs, head.shard, index, seen.size)
            .await?
            .ok_or_else(|| lacking(index))?;
        for (at, entry) in (index * width..).zip(&entries) {
            if at >= head.size {
                frontier.append(tlog::leaf_hash(entry));
            }
        }
    }
    if frontier.root() != seen.root {
        return Err(Error::unavailable(
            "log-forked",
            format!("The entries in the blob store do not give the root of its checkpoint of {} leaves. Nothing will be signed.", seen.size),
        )
        .remedy("The database and the blob store are of different registries, or one was changed. Bring the right one back."));
    }
    let mut replayed = Replayed::default();
    for index in bundles {
        let entries = bundle(blobs, head.shard, index, seen.size)
            .await?
            .ok_or_else(|| lacking(index))?;
        let mut tx = store.write().await?;
        let waiting: HashMap<(String, String, i64), (EventId, Option<FileId>)> = tx
            .outbox(100_000)
            .await?
            .into_iter()
            .map(|row| {
                let subject = row.leaf.subject.unwrap_or_default();
                ((row.leaf.kind, subject, row.at.0), (row.event, row.file))
            })
            .collect();
        let known = store.leaves_from(head.shard, index * width, width).await?;
        let mut fresh = Vec::new();
        let mut chains: HashMap<ProjectId, (u64, u64)> = HashMap::new();
        for (at, entry) in (index * width..).zip(entries) {
            if at < head.size {
                continue;
            }
            let body = String::from_utf8(entry)
                .map_err(|source| Error::internal("a logged entry is not text", source))?;
            let parsed = leaf::parse(body.as_bytes())
                .map_err(|source| Error::internal("a logged entry is no leaf", source))?
                .known();
            if let Some(row) = known.iter().find(|row| row.index == at) {
                // Numbered before the backup, served after it.
                if row.body != body {
                    return Err(Error::unavailable(
                        "log-forked",
                        format!(
                            "Leaf {at} is another one in the database than in the blob store. Nothing will be signed."
                        ),
                    ));
                }
                if let (Some(file), Some(LeafKind::FilePublished)) =
                    (&row.file, parsed.as_ref().map(|leaf| leaf.kind))
                {
                    tx.files_live(head.shard, &[(file.clone(), at)], row.at)
                        .await?;
                }
                replayed.projects.extend(row.project.clone());
                continue;
            }
            let (kind, subject, time) = match &parsed {
                Some(leaf) => (
                    leaf.kind.as_str().to_owned(),
                    leaf.subject.clone().unwrap_or_default(),
                    Time(leaf.time),
                ),
                None => ("unknown".to_owned(), String::new(), now),
            };
            let waited = waiting
                .get(&(kind.clone(), subject.clone(), time.0))
                .cloned();
            let project = match &parsed {
                Some(leaf) => project_of(&mut tx, leaf).await?,
                None => None,
            };
            let event = match &waited {
                Some((event, _)) => event.clone(),
                None => {
                    let event = EventId(new_id());
                    tx.insert_known_event(&event, time, &kind, &subject, project.as_ref())
                        .await?;
                    event
                }
            };
            if let Some(leaf) = &parsed {
                if let (Some(project), Some(sequence)) = (&project, leaf.sequence) {
                    chains.insert(project.clone(), (sequence, at));
                    replayed.projects.insert(project.clone());
                }
                // What waited in the outbox took effect when it was committed.
                let told = waited.is_none() || leaf.kind == LeafKind::FilePublished;
                if told {
                    take_effect(
                        &mut tx,
                        head.shard,
                        at,
                        leaf,
                        project.as_ref(),
                        &mut replayed,
                    )
                    .await?;
                }
            }
            fresh.push(NumberedLeaf {
                index: at,
                event,
                project,
                file: None,
                kind,
                subject,
                at: time,
                hash: tlog::leaf_hash(body.as_bytes()),
                body,
            });
            replayed.leaves += 1;
        }
        tx.number_leaves(head.shard, &fresh, &chains).await?;
        // *Crash here*: the leaves stand beyond the head as if numbered and not served; the next replay passes them.
        tx.commit().await?;
    }
    let mut tx = store.write().await?;
    let next = Head {
        size: seen.size,
        root: seen.root,
        checkpoint: note,
        signed: now,
        ..head.clone()
    };
    tx.swap_head(head.size, &next).await?;
    tx.commit().await?;
    Ok(replayed)
}

/// The project a leaf is about; a name that only the log knows is taken now.
async fn project_of(tx: &mut Tx, leaf: &Leaf) -> Result<Option<ProjectId>> {
    let Some(subject) = &leaf.subject else {
        return Ok(None);
    };
    let named = purl::parse(subject)?;
    let key = named.name_key.as_str();
    if let Some(project) = tx.project_of_key(named.ecosystem, key).await? {
        return Ok(Some(project));
    }
    let project = ProjectId(new_id());
    let skeleton = format(named.ecosystem).skeleton(&named.name_key);
    tx.insert_known_project(&project, named.ecosystem, key, &skeleton, Time(leaf.time))
        .await?;
    Ok(Some(project))
}

async fn take_effect(
    tx: &mut Tx,
    shard: u64,
    index: u64,
    leaf: &Leaf,
    project: Option<&ProjectId>,
    replayed: &mut Replayed,
) -> Result<()> {
    let (Some(subject), Some(project)) = (&leaf.subject, project) else {
        replayed.untold += u64::from(leaf.kind != LeafKind::MapRoot);
        return Ok(());
    };
    let named = purl::parse(subject)?;
    let at = Time(leaf.time);
    if !leaf.attestations.is_empty() {
        // What it was remembered for is in rows that are gone; the log still knows that it had provenance. Too much asked
        // for can be excepted, too little would be a loss that nobody sees.
        tx.raise_trust(project, TrustLevel::Provenance, "restored from the log", at)
            .await?;
    }
    if leaf.kind == LeafKind::FilePublished {
        return published(tx, shard, index, leaf, &named, replayed).await;
    }
    let why = format!("restore: {} in the log, leaf {index}", leaf.kind);
    let release = match &named.version {
        Some(version) => release_of(tx, project, named.ecosystem, version).await?,
        None => None,
    };
    // Which files of ours it is about.
    let files: Vec<FileId> = match (&named.filename, &release, &named.version) {
        (Some(_), ..) => {
            let identifier = identifier_hash(subject).to_string();
            let found = tx.file_of_identifier(&identifier).await?;
            found.map(|(file, ..)| file).into_iter().collect()
        }
        (None, Some(release), _) => tx.files_in_release(release).await?,
        (None, None, Some(_)) => Vec::new(),
        (None, _, None) => {
            let files = tx.curated_files(project).await?;
            files.into_iter().map(|file| file.id).collect()
        }
    };
    let whole_project = named.version.is_none();
    match leaf.kind {
        LeafKind::Deleted => {
            tx.set_files_state(&files, FileState::Removed, Some(&why), at)
                .await?;
            if let (Some(release), None) = (&release, &named.filename) {
                tx.remove_release(release, at).await?;
            }
            if whole_project {
                tx.remove_project(project, at).await?;
            }
        }
        LeafKind::Quarantined if whole_project => {
            tx.set_project_status(project, ProjectStatus::Quarantined, Some(&why), at)
                .await?;
        }
        LeafKind::Quarantined => {
            tx.set_files_state(&files, FileState::Quarantined, Some(&why), at)
                .await?;
        }
        LeafKind::Released if whole_project => {
            tx.set_project_status(project, ProjectStatus::Active, None, at)
                .await?;
        }
        LeafKind::Released => {
            tx.set_files_state(&files, FileState::Live, None, at)
                .await?;
        }
        LeafKind::Deprecated if whole_project => {
            tx.set_project_status(project, ProjectStatus::Deprecated, Some(&why), at)
                .await?;
        }
        LeafKind::VisibilityChanged => {
            let private = leaf.change != Some(leaf::Change::Removed);
            tx.set_private(project, private.then_some(at)).await?;
        }
        LeafKind::Yanked => {
            if let Some(release) = &release {
                tx.set_yank(release, Some((at, &why))).await?;
            }
        }
        LeafKind::Unyanked => {
            if let Some(release) = &release {
                tx.set_yank(release, None).await?;
            }
        }
        _ => replayed.untold += 1,
    }
    Ok(())
}

async fn release_of(
    tx: &mut Tx,
    project: &ProjectId,
    ecosystem: Ecosystem,
    version: &str,
) -> Result<Option<crate::model::ReleaseId>> {
    let version = format(ecosystem).version(version)?;
    let found = tx.curated_release(project, version.key()).await?;
    Ok(found.map(|release| release.id))
}

/// A published file: its row goes live where it waited, else its identifier is claimed and stands for these bytes alone.
async fn published(
    tx: &mut Tx,
    shard: u64,
    index: u64,
    leaf: &Leaf,
    named: &purl::Purl,
    replayed: &mut Replayed,
) -> Result<()> {
    let (Some(subject), Some(sha256)) = (&leaf.subject, leaf.sha256()) else {
        return Err(Error::internal(
            "a published leaf has no digest",
            index.to_string(),
        ));
    };
    let (identifier, digest) = (identifier_hash(subject), sha256.to_hex());
    match tx.digest_of_identifier(&identifier.to_string()).await? {
        None => {
            tx.claim_identifier(
                identifier,
                subject,
                &digest,
                named.name_key.as_str(),
                Time(leaf.time),
            )
            .await?;
        }
        Some(known) if known == digest => {}
        // Accepted and never logged before the backup; the log, which others have seen, decides.
        Some(known) => {
            return Err(Error::unavailable(
                "log-mismatch",
                format!("{subject} is sha256:{digest} in the log and sha256:{known} in the database. Nothing will be signed."),
            )
            .remedy("The database was changed by hand or belongs to another registry. Restore another backup."));
        }
    }
    match tx.file_of_identifier(&identifier.to_string()).await? {
        Some((file, ..)) => {
            tx.files_live(shard, &[(file, index)], Time(leaf.time))
                .await?;
        }
        None => replayed.tombstones += 1,
    }
    Ok(())
}
