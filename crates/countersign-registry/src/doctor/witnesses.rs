//! Whether the log's witnesses answer, and whether one knows more of the log than there is.

use std::sync::Arc;

use bytes::Bytes;
use countersign_trust::tlog::TileId;
use futures::future::BoxFuture;

use super::{Diagnosis, Patient, Severity, verifiers};
use crate::blobs::Blobs;
use crate::error::{Error, Result};
use crate::heartbeat::{OVERRIDE, read_tile};
use crate::model::{LogId, LogOverride};
use crate::store::Head;
use crate::witnesses::{Tiles, Witnesses};

const ID: &str = "witnesses";

struct Stored {
    blobs: Blobs,
    log: LogId,
}

impl Tiles for Stored {
    fn tile(&self, id: TileId) -> BoxFuture<'_, Result<Bytes>> {
        Box::pin(async move {
            let bytes = read_tile(&self.blobs, &self.log, id).await?;
            bytes.ok_or_else(|| {
                Error::unavailable(
                    "tile-missing",
                    format!("The log's tile {} is missing.", id.path()),
                )
            })
        })
    }
}

pub(super) async fn witnesses(patient: &Patient<'_>, head: &Head) -> Result<Vec<Diagnosis>> {
    let Some(policy) = &patient.settings.log_policy else {
        return Ok(vec![Diagnosis::good(
            ID,
            "the log has no policy: it waits for no witness",
        )]);
    };
    let policy = policy.for_log(&head.origin, &verifiers(patient, head).await?)?;
    let seams = patient.seams;
    let asked = Witnesses::new(
        &head.origin,
        policy,
        seams.outside.clone(),
        seams.clock.clone(),
    );
    let tiles = Arc::new(Stored {
        blobs: patient.blobs.clone(),
        log: LogId::Shard(head.shard),
    });
    let compared = asked.compare(&*tiles, head.size).await?;
    let mut found = Vec::new();
    // A server that runs may have gone on since the head was read; then its own comparison holds.
    let moved = patient.store.head(head.shard).await?;
    if let Some(seen) = asked.beyond()
        && moved.is_none_or(|moved| moved.size < seen.size || seen.size <= head.size)
    {
        found.push(Diagnosis::bad(
            ID,
            Severity::Error,
            format!(
                "The witness {} has cosigned {} leaves of this log that are not in it; the database holds {}.",
                seen.witness, seen.size, head.size
            ),
            "The database was put back to an older state, or two registries sign with one key. Nothing is signed.",
            "Bring the newest database back, or run `countersignd restore --replay` where the tiles still hold those leaves.",
        ));
    }
    for witness in asked.health() {
        if let Some(problem) = &witness.problem
            && found.is_empty()
        {
            let severity = match &compared {
                Ok(()) => Severity::Warning,
                Err(_) => Severity::Error,
            };
            found.push(Diagnosis::bad(
                ID,
                severity,
                format!("The witness {} fails: {problem}", witness.name),
                "Where too few witnesses cosign, nothing new becomes visible.",
                "Ask who runs it; a policy that needs fewer witnesses than it names bears the loss of some.",
            ));
        }
    }
    let word = match patient.store.instance(OVERRIDE).await? {
        Some(text) => serde_json::from_str::<LogOverride>(&text)
            .map(Some)
            .map_err(|source| Error::internal("a stored override can not be read", source))?,
        None => None,
    };
    if let Some(word) = word.filter(|word| word.until > seams.clock.now()) {
        found.push(Diagnosis::bad(
            ID,
            Severity::Warning,
            format!(
                "The log goes on without its witnesses until {}.",
                word.until.rfc3339()
            ),
            "Clients that pinned its policy refuse what was not cosigned.",
            "End it once the witnesses are back: countersignd admin log override --end --reason WHY",
        ));
    }
    if found.is_empty() {
        let count = asked.health().len();
        found.push(Diagnosis::good(
            ID,
            format!("{count} of the log answer, and none knows more of it than there is"),
        ));
    }
    Ok(found)
}
