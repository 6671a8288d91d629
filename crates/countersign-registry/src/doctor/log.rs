//! Is the log in the database the one that was signed, and does the blob store hold the same?

use std::collections::HashMap;

use bytes::Bytes;
use countersign_trust::checkpoint;
use countersign_trust::digest::Sha256;
use countersign_trust::map;
use countersign_trust::tlog::{self, EntriesId, TileId};

use super::{Diagnosis, Patient, Severity, some, verifiers};
use crate::audit::{self, Fault};
use crate::error::{Error, Result};
use crate::heartbeat::tile_path;
use crate::store::Head;

pub(super) async fn log(patient: &Patient<'_>, head: &Head) -> Result<Vec<Diagnosis>> {
    let keys = verifiers(patient, head).await?;
    let audited = audit::audit(patient.store, head, &keys, &mut |_, _| {}).await?;
    let (mut broken, mut claims, mut rows) = (Vec::new(), Vec::new(), Vec::new());
    for fault in audited.faults {
        match fault {
            Fault::Broken(what) => broken.push(what),
            Fault::OtherDigest { purl, row } => claims.push(format!(
                "{purl} is claimed for sha256:{row}, the log says otherwise"
            )),
            Fault::Unclaimed { purl, .. } => {
                claims.push(format!("{purl} is in the log and not claimed"))
            }
            Fault::RowDiffers {
                filename,
                what,
                state,
                ..
            } => rows.push(format!("{filename} ({}): {what}", state.as_str())),
        }
    }
    let mut found = Vec::new();
    found.push(if broken.is_empty() {
        Diagnosis::good("log", format!("{}: {} leaves give the signed root", head.origin, head.size))
    } else {
        Diagnosis::bad("log", Severity::Error, format!("{}: {}.", head.origin, some(&broken)), "The database no longer holds the log that was signed; proofs would fail, and signing on would fork it.", "Stop the server, keep this database for inspection, and restore the newest backup with `countersignd restore --replay FILE`.")
    });
    found.push(if rows.is_empty() {
        Diagnosis::good("files-leaves", "every file's row says what its leaf says")
    } else {
        Diagnosis::bad("files-leaves", Severity::Error, format!("These rows differ from their leaves in: {}.", some(&rows)), "The index would show what the log does not; clients that verify refuse it.", "Somebody changed the database. Quarantine these files, then restore the newest backup.")
    });
    let unclaimed = patient.store.unclaimed_files(100).await?;
    claims.extend(
        unclaimed
            .into_iter()
            .map(|file| format!("{file} has no claim for its digest")),
    );
    found.push(if claims.is_empty() {
        Diagnosis::good("identifiers", "every identifier stands for the one digest in the log")
    } else {
        Diagnosis::bad("identifiers", Severity::Error, format!("{}.", some(&claims)), "An identifier that is not claimed could be given other bytes.", "Somebody changed the database. Restore the newest backup with `countersignd restore --replay FILE`.")
    });
    Ok(found)
}

/// Every tile, bundle and the checkpoint in the blob store against the rows.
pub(super) async fn tiles(patient: &Patient<'_>, head: &Head) -> Result<Diagnosis> {
    let mut wrong: Vec<String> = Vec::new();
    let (mut size, mut edge) = (0, HashMap::<TileId, Bytes>::new());
    while size < head.size {
        // Whole tiles, so that each is made once.
        let wanted = (head.size - size).min(4_096);
        let leaves = patient.store.leaves_from(head.shard, size, wanted).await?;
        if leaves.len() as u64 != wanted {
            return Ok(Diagnosis::bad(
                "tiles",
                Severity::Error,
                "The tiles can not be held against the rows: leaves are lacking.",
                "See `log`.",
                "See `log`.",
            ));
        }
        let hashes: Vec<Sha256> = leaves
            .iter()
            .map(|leaf| tlog::leaf_hash(leaf.body.as_bytes()))
            .collect();
        let made = tlog::grow(size, &hashes, &edge)
            .map_err(|source| Error::internal("the log's tiles do not fit", source))?;
        let mut objects: Vec<(String, Bytes)> = Vec::new();
        for (id, bytes) in made {
            let bytes = Bytes::from(bytes);
            if TileId::in_tree(id.level, id.index, head.size) == Some(id) {
                objects.push((id.path(), bytes.clone()));
            }
            edge.insert(id, bytes);
        }
        edge.retain(|id, _| id.is_partial());
        for chunk in leaves.chunks(usize::from(tlog::TILE_WIDTH)) {
            let texts: Vec<&str> = chunk.iter().map(|leaf| leaf.body.as_str()).collect();
            let bytes = tlog::encode_entries(&texts)
                .map_err(|source| Error::internal("an entry bundle can not be written", source))?;
            let width = u16::try_from(chunk.len()).unwrap_or(tlog::TILE_WIDTH);
            let id = EntriesId {
                index: chunk[0].index / u64::from(tlog::TILE_WIDTH),
                width,
            };
            objects.push((id.path(), Bytes::from(bytes)));
        }
        for (path, bytes) in objects {
            match patient
                .blobs
                .get(&tile_path(head.shard, &path), 32 << 20)
                .await?
            {
                Some(there) if there == bytes => {}
                Some(_) => wrong.push(format!("{path} is changed")),
                // A log that grew since: the wider one took its place.
                None if path.contains(".p/") => {
                    let now = patient
                        .store
                        .head(head.shard)
                        .await?
                        .map_or(0, |now| now.size);
                    if now == head.size {
                        wrong.push(format!("{path} is missing"));
                    }
                }
                None => wrong.push(format!("{path} is missing")),
            }
        }
        size += wanted;
    }
    match patient
        .blobs
        .get(&tile_path(head.shard, "checkpoint"), 1 << 20)
        .await?
    {
        None => wrong.push("checkpoint is missing".to_owned()),
        Some(note) => match checkpoint::open(&note, &verifiers(patient, head).await?, &head.origin)
        {
            Ok(seen) if seen.size() == head.size && seen.root() != head.root => {
                wrong.push("checkpoint is of another log".to_owned())
            }
            Ok(seen) if seen.size() > head.size => {
                // Served meanwhile, or the database was set back.
                let now = patient
                    .store
                    .head(head.shard)
                    .await?
                    .map_or(0, |now| now.size);
                if seen.size() > now {
                    return Ok(Diagnosis::bad(
                        "tiles",
                        Severity::Error,
                        format!(
                            "The blob store's log has {} leaves, the database {now}.",
                            seen.size()
                        ),
                        "The database was put back to an older state; signing on would fork the log.",
                        "Run `countersignd restore --replay`, which puts back what the tiles hold.",
                    ));
                }
            }
            Ok(_) => {}
            Err(error) => wrong.push(format!("checkpoint can not be believed ({error})")),
        },
    }
    Ok(if wrong.is_empty() {
        Diagnosis::good(
            "tiles",
            format!("{}: the blob store holds the same log", head.origin),
        )
    } else {
        Diagnosis::bad(
            "tiles",
            Severity::Error,
            format!("{}: {}.", head.origin, some(&wrong)),
            "Readers of the log get bytes that do not fit its checkpoint.",
            "Delete the changed objects under log/ in the blob store together with its checkpoint, and start the server: it writes them again from the database.",
        )
    })
}

/// Every tile of the map, from the top down: is it there, and does it hold what the log says, by number?
pub(super) async fn map(patient: &Patient<'_>) -> Result<Diagnosis> {
    let state = patient.store.map_state().await?;
    let behind = patient.store.leaves_since(state.covers).await?;
    let (mut wrong, mut entries) = (Vec::new(), 0_u64);
    let top = map::TileId {
        level: 0,
        root: state.root,
    };
    let mut next: Vec<(map::TileId, Vec<u8>)> = Vec::new();
    if state.root != map::EMPTY_MAP {
        next.push((top, Vec::new()));
    }
    while let Some((id, prefix)) = next.pop() {
        let found = patient
            .blobs
            .get(&id.to_string(), map::MAX_TILE_BYTES as u64)
            .await?;
        let Some(bytes) = found else {
            wrong.push(format!("{id} is missing"));
            continue;
        };
        match map::Tile::parse(id, &prefix, &bytes) {
            Err(error) => wrong.push(format!("{id} is changed ({error})")),
            Ok(tile) => {
                entries += tile.entries() as u64;
                next.extend(
                    tile.below().map(|(byte, below)| {
                        (below, prefix.iter().copied().chain([byte]).collect())
                    }),
                );
            }
        }
    }
    // A registry that publishes meanwhile moves the map on under our eyes; what was missing then is looked for the next time.
    if patient.store.map_state().await? != state {
        return Ok(Diagnosis::good("map", "it moved on while it was looked at"));
    }
    let (projects, files) = patient.store.map_counts().await?;
    if wrong.is_empty() && behind == 0 && entries != projects + files {
        wrong.push(format!(
            "it has {entries} entries, the log {files} files of {projects} projects"
        ));
    }
    Ok(if wrong.is_empty() {
        let covered = if behind < 1_000 {
            "its tiles are whole".to_owned()
        } else {
            format!("its tiles are whole; {behind} leaves are still to be covered")
        };
        Diagnosis::good("map", format!("{covered}, with {entries} entries"))
    } else {
        Diagnosis::bad(
            "map",
            Severity::Error,
            format!("{}.", some(&wrong)),
            "Readers can not prove what the map says of some projects: clients that ask for completeness refuse them.",
            "Delete the tile at the top (named by the newest root) and start the server: it makes the map again from the log.",
        )
    })
}
