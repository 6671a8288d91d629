//! The first third of a restore: the backup is checked, then its rows, bytes and keys go to their empty places.

use std::path::Path;

use bytes::BytesMut;
use countersign_trust::digest::{Hasher, Sha256};
use serde_json::Value;

use super::container::{Reader, damaged};
use super::restore::{Progress, Restore};
use super::{FORMAT, Manifest, is_key_file};
use crate::blobs::Spooled;
use crate::error::{Error, Kind, Result};
use crate::store::{Column, Store, TABLES};

/// Most bytes of a manifest.
const MANIFEST: u64 = 4 << 20;

/// Most bytes of one piece of rows: a piece ends with the row that fills it, and a row holds at most one metadata text.
const ROWS: u64 = 256 << 20;

/// Artifacts up to this size pass through memory.
const IN_MEMORY: u64 = 1 << 20;

/// Steps 1 and 2.
pub(super) async fn load(plan: &Restore<'_>, file: &Path, progress: Progress<'_>) -> Result<()> {
    Reader::check(file, &mut |done, all| {
        progress("checking the backup", done, all)
    })?;
    let mut reader = Reader::open(file)?;
    let manifest = match reader.next()? {
        Some((name, size)) if name == "manifest.json" => {
            let bytes = reader.whole(size, MANIFEST)?;
            serde_json::from_slice::<Manifest>(&bytes).map_err(|source| {
                reader.damaged(&format!("its manifest can not be read: {source}"))
            })?
        }
        _ => return Err(reader.damaged("it does not begin with a manifest")),
    };
    fits(&manifest, file)?;

    let again = prepare(plan, file).await?;
    if !again && !plan.replay && !plan.blobs.is_empty().await? {
        return Err(Error::new(Kind::Conflict, "not-empty", format!("The blob store {} is not empty.", plan.blobs.place()))
            .remedy("If it survived and belongs to this registry, add --replay: what its log holds is then kept. Else give an empty one."));
    }
    let rows: u64 = manifest.tables.iter().map(|table| table.rows).sum();
    let (mut done, mut artifacts) = (0, 0);
    while let Some((name, size)) = reader.next()? {
        if let Some(rest) = name.strip_prefix("tables/") {
            let table = rest.split('/').next().unwrap_or_default();
            let Some(described) = manifest.tables.iter().find(|known| known.name == table) else {
                return Err(reader.damaged("it holds a table that its manifest does not name"));
            };
            let bytes = reader.whole(size, ROWS)?;
            done += load_rows(plan.store, table, &described.columns, &bytes, file).await?;
            progress("rows", done, rows);
        } else if let Some(hex) = name
            .strip_prefix("artifacts/")
            .and_then(|rest| rest.get(3..))
        {
            let digest: Sha256 = hex
                .parse()
                .map_err(|_| reader.damaged("an artifact has no digest for a name"))?;
            load_artifact(plan, &mut reader, digest, size).await?;
            artifacts += 1;
            progress("artifacts", artifacts, manifest.artifacts);
        } else if let Some(key) = name.strip_prefix("keys/") {
            let bytes = reader.whole(size, 64 << 10)?;
            load_key(plan.keys_folder, key, &bytes, file)?;
        } else if name != "seal" {
            return Err(reader.damaged("it holds a member of a kind that no backup has"));
        }
    }
    if done != rows {
        return Err(reader.damaged("it holds another number of rows than its manifest says"));
    }
    Ok(())
}

fn fits(manifest: &Manifest, file: &Path) -> Result<()> {
    if manifest.format != FORMAT {
        return Err(damaged(
            file,
            "its format is not one that this version reads",
        ));
    }
    if manifest.schema != Store::schema() {
        return Err(Error::new(
            Kind::Rejected,
            "backup-version",
            format!(
                "The backup was made by version {} with {} migrations; this is version {} with {}.",
                manifest.software,
                manifest.schema,
                env!("CARGO_PKG_VERSION"),
                Store::schema()
            ),
        )
        .remedy("Restore it with the version that made it, then migrate."));
    }
    let names: Vec<&str> = manifest
        .tables
        .iter()
        .map(|table| table.name.as_str())
        .collect();
    let ours: Vec<&str> = TABLES.iter().map(|(table, _)| *table).collect();
    if names != ours {
        return Err(damaged(file, "its tables are not those of a registry"));
    }
    Ok(())
}

/// An empty database under the mark. True where a restore broke off here before.
async fn prepare(plan: &Restore<'_>, file: &Path) -> Result<bool> {
    plan.store.migrate().await?;
    let again = plan.store.instance("restoring").await?.is_some();
    if !again && let Some(table) = plan.store.first_filled_table().await? {
        return Err(Error::new(Kind::Conflict, "not-empty", format!("The database is not empty: it has rows in {table}."))
            .remedy("Restore into a new database. To put back only what the blob store's log holds, run `countersignd restore --replay` without a file."));
    }
    let mut tx = plan.store.write().await?;
    tx.set_instance("restoring", &file.display().to_string())
        .await?;
    tx.wipe().await?;
    tx.commit().await?;
    Ok(again)
}

async fn load_rows(
    store: &Store,
    table: &str,
    columns: &[Column],
    lines: &[u8],
    file: &Path,
) -> Result<u64> {
    let wrong = || damaged(file, &format!("its table {table} can not be read"));
    let mut rows: Vec<Vec<Value>> = Vec::new();
    for line in lines
        .split(|byte| *byte == b'\n')
        .filter(|line| !line.is_empty())
    {
        rows.push(serde_json::from_slice(line).map_err(|source| wrong().because(source))?);
    }
    let mut tx = store.write().await?;
    if tx.columns(table).await? != columns {
        return Err(damaged(
            file,
            &format!("its table {table} has other columns than ours"),
        ));
    }
    tx.insert_rows(table, columns, &rows)
        .await?
        .ok_or_else(wrong)?;
    tx.commit().await?;
    Ok(rows.len() as u64)
}

/// Bytes go where their digest says, whatever they were named: damaged ones are left out, and their file is withheld.
async fn load_artifact(
    plan: &Restore<'_>,
    reader: &mut Reader,
    digest: Sha256,
    size: u64,
) -> Result<()> {
    let spool_failed = |source: std::io::Error| {
        Error::unavailable(
            "spool-unwritable",
            format!(
                "The spool folder {} can not be written: {source}.",
                plan.settings.spool.display()
            ),
        )
        .because(source)
    };
    let mut hasher = Hasher::new(false);
    let mut buffer = vec![0; 256 << 10];
    let spooled = if size <= IN_MEMORY {
        let mut memory = BytesMut::new();
        loop {
            let read = reader.read(&mut buffer)?;
            if read == 0 {
                break;
            }
            hasher.update(&buffer[..read]);
            memory.extend_from_slice(&buffer[..read]);
        }
        Spooled::Memory(memory.freeze())
    } else {
        std::fs::create_dir_all(&plan.settings.spool).map_err(spool_failed)?;
        let mut file =
            tempfile::NamedTempFile::new_in(&plan.settings.spool).map_err(spool_failed)?;
        loop {
            let read = reader.read(&mut buffer)?;
            if read == 0 {
                break;
            }
            hasher.update(&buffer[..read]);
            std::io::Write::write_all(&mut file, &buffer[..read]).map_err(spool_failed)?;
        }
        Spooled::File { file, size }
    };
    if hasher.finish().0.sha256 == digest {
        plan.blobs.put_artifact(digest, &spooled).await?;
    }
    Ok(())
}

fn load_key(folder: &Path, name: &str, bytes: &[u8], backup: &Path) -> Result<()> {
    if !is_key_file(name) {
        return Err(damaged(backup, "a key in it has a name that no key has"));
    }
    let path = folder.join(name);
    let failed = |source: std::io::Error| {
        Error::unavailable(
            "log-key-unwritten",
            format!("The key {} can not be written: {source}.", path.display()),
        )
        .because(source)
    };
    match std::fs::read(&path) {
        Ok(there) if there == bytes => return Ok(()),
        Ok(_) => {
            return Err(Error::new(
                Kind::Conflict,
                "log-key-exists",
                format!("{} holds another key than the backup.", path.display()),
            )
            .remedy("Give an empty keys folder."));
        }
        Err(source) if source.kind() == std::io::ErrorKind::NotFound => {}
        Err(source) => return Err(failed(source)),
    }
    let mut builder = std::fs::DirBuilder::new();
    builder.recursive(true);
    #[cfg(unix)]
    std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
    builder.create(folder).map_err(failed)?;
    let mut options = std::fs::OpenOptions::new();
    options.write(true).create_new(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    let mut file = options.open(&path).map_err(failed)?;
    std::io::Write::write_all(&mut file, bytes)
        .and_then(|()| file.sync_all())
        .map_err(failed)
}
