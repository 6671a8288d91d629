//! Backup: one state of all rows and the bytes they name, in one file, taken while the registry serves.
//!
//! The log's tiles are not in it: they are made again from the leaves, byte for byte. What `restore` does with such a
//! file is in [`restore`].

mod container;
mod load;
mod replay;
mod restore;

use std::collections::BTreeSet;
use std::path::Path;

use countersign_trust::digest::Sha256;
use futures::TryStreamExt;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use sha2::Digest;

pub use restore::{Continued, Restore, Restored};

use crate::Registry;
use crate::blobs::artifact_path;
use crate::error::{Error, Result};
use crate::keys::verifier_key_name;
use crate::store::{Column, Store, TABLES};
use container::Writer;

/// First words of a manifest.
const FORMAT: &str = "countersign-backup/v1";

/// Rows are written in pieces of about this many bytes.
const PIECE: usize = 1 << 20;

/// What a backup says about itself.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Manifest {
    format: String,
    /// RFC 3339.
    made_at: String,
    /// The version of this software that wrote it.
    software: String,
    /// How many migrations its tables had.
    schema: usize,
    logs: Vec<LogManifest>,
    tables: Vec<TableManifest>,
    /// Different artifacts that its files name, and what is staged and waits.
    artifacts: u64,
    /// The log's signing keys are in it.
    keys: bool,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct LogManifest {
    shard: u64,
    origin: String,
    size: u64,
    root: String,
    checkpoint: String,
    frozen: bool,
    verifier_keys: Vec<String>,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct TableManifest {
    name: String,
    columns: Vec<Column>,
    rows: u64,
}

/// What a backup came to hold.
#[derive(Clone, Debug, Serialize)]
pub struct Summary {
    /// Origin of the log that is written.
    pub origin: String,
    /// Its size in leaves.
    pub log_size: u64,
    /// Rows of all tables.
    pub rows: u64,
    /// Different artifacts.
    pub artifacts: u64,
    /// Size of the backup in bytes.
    pub bytes: u64,
    /// Digests of artifacts whose bytes are missing or wrong in the blob store; `restore` will withhold their files, and end
    /// what is staged with them.
    pub lacking: Vec<String>,
}

impl Registry {
    /// Writes a backup to `file`, which must not be there yet, consistent while serving: first under `FILE.partial`,
    /// then synced and renamed. The log's keys go with it only where `with_keys` names their folder. `progress` is
    /// told steps done and steps in all (rows and artifacts).
    ///
    /// # Errors
    /// `backup-exists`, `backup-unwritten`; where database or blob store fail.
    pub async fn backup(
        &self,
        file: &Path,
        with_keys: Option<&Path>,
        progress: &mut (dyn FnMut(u64, u64) + Send),
    ) -> Result<Summary> {
        let now = self.now();
        let mut out = Writer::create(file, u64::try_from(now.seconds()).unwrap_or(0))?;
        let mut snapshot = self.inner.store.snapshot().await?;

        let mut tables = Vec::with_capacity(TABLES.len());
        for (table, _) in TABLES {
            tables.push(TableManifest {
                name: (*table).to_owned(),
                columns: snapshot.columns(table).await?,
                rows: snapshot.count(table).await?,
            });
        }
        let mut logs = Vec::new();
        for head in snapshot.heads().await? {
            let stored = snapshot.instance(&verifier_key_name(head.shard)).await?;
            let verifier_keys = match stored {
                Some(text) => text.lines().map(str::to_owned).collect(),
                None if head.shard == self.inner.shard => self.site_keys().verifier_keys,
                None => Vec::new(),
            };
            logs.push(LogManifest {
                shard: head.shard,
                origin: head.origin,
                size: head.size,
                root: head.root.to_string(),
                checkpoint: head.checkpoint,
                frozen: head.frozen.is_some(),
                verifier_keys,
            });
        }
        // The digests first, so that the manifest can count them: 32 bytes each. What is staged and waits is among them: an
        // approval after a restore needs its bytes.
        let mut digests: BTreeSet<(Sha256, u64)> = BTreeSet::new();
        let column = |name: &str, number: bool| Column {
            name: name.into(),
            number,
        };
        let wanted = [
            column("sha256", false),
            column("size", true),
            column("ended_at", true),
        ];
        for (table, columns) in [("files", &wanted[..2]), ("staged_publications", &wanted)] {
            snapshot
                .each_row(table, "id", columns, &mut |row| {
                    if row.get(2).is_some_and(|ended| !ended.is_null()) {
                        return Ok(());
                    }
                    let digest = row[0].as_str().and_then(|hex| hex.parse().ok());
                    let digest = digest.ok_or_else(|| {
                        Error::internal("a stored digest is malformed", row[0].to_string())
                    })?;
                    digests.insert((digest, row[1].as_u64().unwrap_or(0)));
                    Ok(())
                })
                .await?;
        }
        let rows: u64 = tables.iter().map(|table| table.rows).sum();
        let steps = rows + digests.len() as u64;
        let manifest = Manifest {
            format: FORMAT.to_owned(),
            made_at: now.rfc3339(),
            software: env!("CARGO_PKG_VERSION").to_owned(),
            schema: Store::schema(),
            logs,
            tables,
            artifacts: digests.len() as u64,
            keys: with_keys.is_some(),
        };
        let text = serde_json::to_vec_pretty(&manifest)
            .map_err(|source| Error::internal("the manifest can not be written", source))?;
        out.member("manifest.json", &text)?;

        let mut done = 0;
        for ((table, order), described) in TABLES.iter().zip(&manifest.tables) {
            let mut lines: Vec<u8> = Vec::new();
            let mut number = 0;
            let mut take = |row: &[Value]| {
                serde_json::to_writer(&mut lines, row)
                    .map_err(|source| Error::internal("a row can not be written", source))?;
                lines.push(b'\n');
                done += 1;
                if lines.len() >= PIECE {
                    out.member(&format!("tables/{table}/{number:08}.jsonl"), &lines)?;
                    lines.clear();
                    number += 1;
                    progress(done, steps);
                }
                Ok(())
            };
            snapshot
                .each_row(table, order, &described.columns, &mut take)
                .await?;
            if !lines.is_empty() {
                out.member(&format!("tables/{table}/{number:08}.jsonl"), &lines)?;
            }
            progress(done, steps);
        }
        // Bytes never change and are never collected while a row names them: no snapshot is needed for them. Staged ones
        // may go when they are answered meanwhile; they are then told as lacking, and a restore ends their row.
        drop(snapshot);

        let mut lacking = Vec::new();
        for (digest, size) in &digests {
            if !self.archive_artifact(&mut out, *digest, *size).await? {
                lacking.push(digest.to_string());
            }
            done += 1;
            progress(done, steps);
        }
        if let Some(folder) = with_keys {
            archive_keys(&mut out, folder)?;
        }
        let bytes = out.finish()?;
        let served = manifest.logs.last();
        Ok(Summary {
            origin: served.map(|log| log.origin.clone()).unwrap_or_default(),
            log_size: served.map_or(0, |log| log.size),
            rows,
            artifacts: manifest.artifacts,
            bytes,
            lacking,
        })
    }

    /// One artifact; false where its bytes are missing or not those of its digest.
    async fn archive_artifact(&self, out: &mut Writer, digest: Sha256, size: u64) -> Result<bool> {
        let path = artifact_path(&digest.to_string());
        match self.inner.blobs.stat(path.as_ref()).await? {
            Some(stat) if stat.size == size => {}
            _ => return Ok(false),
        }
        let Some(mut stream) = self.inner.blobs.stream(path.as_ref(), None).await? else {
            return Ok(false);
        };
        out.begin(path.as_ref(), size)?;
        let mut hash = sha2::Sha256::new();
        loop {
            match stream.try_next().await {
                Ok(Some(piece)) => {
                    hash.update(&piece);
                    out.piece(&piece)?;
                }
                Ok(None) => break,
                Err(source) => {
                    return Err(Error::unavailable(
                        "blobs-unreachable",
                        format!("The bytes of sha256:{digest} can not be read."),
                    )
                    .because(source));
                }
            }
        }
        if out.wanting() > 0 {
            return Err(Error::unavailable(
                "blobs-unreachable",
                format!("The bytes of sha256:{digest} broke off while they were read."),
            ));
        }
        out.end()?;
        // Damaged bytes are in the backup now; `restore` sees that they are not what they are named, and leaves them.
        Ok(Sha256(hash.finalize().into()) == digest)
    }
}

fn archive_keys(out: &mut Writer, folder: &Path) -> Result<()> {
    let failed = |source: std::io::Error| {
        Error::unavailable(
            "log-key-missing",
            format!(
                "The keys in {} can not be read: {source}.",
                folder.display()
            ),
        )
        .because(source)
    };
    let mut names = Vec::new();
    for entry in std::fs::read_dir(folder).map_err(failed)? {
        let name = entry.map_err(failed)?.file_name();
        if let Some(name) = name.to_str().filter(|name| is_key_file(name)) {
            names.push(name.to_owned());
        }
    }
    names.sort();
    for name in names {
        let bytes = std::fs::read(folder.join(&name)).map_err(failed)?;
        out.member(&format!("keys/{name}"), &bytes)?;
    }
    Ok(())
}

/// `log-N.ed25519`, `log-N.ml-dsa-44` and `tuf-…`, and nothing that could lead elsewhere.
fn is_key_file(name: &str) -> bool {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b".-".contains(&byte);
    if name.starts_with("tuf-") {
        return name.len() <= 100 && name.bytes().all(plain) && !name.contains("..");
    }
    let Some((shard, kind)) = name
        .strip_prefix("log-")
        .and_then(|rest| rest.split_once('.'))
    else {
        return false;
    };
    shard
        .parse::<u64>()
        .is_ok_and(|number| number.to_string() == shard)
        && matches!(kind, "ed25519" | "ml-dsa-44")
}
