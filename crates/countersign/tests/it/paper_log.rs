//! A log in a folder, as a registry would have served it: leaves of projects with files, tiles, bundles, a signed
//! checkpoint. Shared with the example that writes long ones for measuring.

use std::collections::HashMap;
use std::fs;
use std::path::Path;

use countersign_trust::checkpoint::Checkpoint;
use countersign_trust::digest::Sha256;
use countersign_trust::leaf::Leaf;
use countersign_trust::note::{KeyName, SignerKey};
use countersign_trust::tlog::{self, EntriesId, TileId, encode_entries, grow};

pub const ORIGIN: &str = "packages.example/log/1";

/// Entries of a log that keeps all promises: a genesis, then releases of projects in turn, each a wheel.
pub fn entries(count: u64, projects: u64) -> impl Iterator<Item = Vec<u8>> {
    const BEGIN: i64 = 1_763_700_000_000_000;
    (0..count).map(move |index| {
        let time = BEGIN + index as i64 * 1_000_003;
        let leaf = if index == 0 {
            Leaf::log_genesis(None, time)
        } else {
            let (project, release) = ((index - 1) % projects, (index - 1) / projects);
            let subject = format!(
                "pkg:pypi/project-{project}@{release}.0?file_name=project_{project}-{release}.0-py3-none-any.whl"
            );
            let digest = Sha256::of(&index.to_be_bytes());
            let previous = index.checked_sub(projects).filter(|previous| *previous > 0);
            Leaf::file_published(subject, digest, 1000 + index, time, release + 1, previous)
        };
        leaf.to_text().unwrap().into_bytes()
    })
}

/// The key that signs all of these logs.
pub fn key() -> SignerKey {
    SignerKey::generate(KeyName::new(ORIGIN).unwrap(), [1; 32])
}

/// Writes a log with its checkpoint into a folder; what is there already is written over.
pub fn write(folder: &Path, entries: impl Iterator<Item = Vec<u8>>) -> Checkpoint {
    let put = |name: &str, bytes: &[u8]| {
        let path = folder.join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, bytes).unwrap();
    };
    let (mut hashes, mut bundle) = (Vec::new(), Vec::new());
    for entry in entries {
        hashes.push(tlog::leaf_hash(&entry));
        bundle.push(entry);
        if bundle.len() == 256 {
            let id = EntriesId {
                index: hashes.len() as u64 / 256 - 1,
                width: 256,
            };
            put(&id.path(), &encode_entries(&bundle).unwrap());
            bundle.clear();
        }
    }
    let size = hashes.len() as u64;
    if let Some(id) = EntriesId::in_log(size / 256, size) {
        put(&id.path(), &encode_entries(&bundle).unwrap());
    }
    let none: HashMap<TileId, Vec<u8>> = HashMap::new();
    let tiles: HashMap<TileId, Vec<u8>> = grow(0, &hashes, &none).unwrap().into_iter().collect();
    for (id, bytes) in &tiles {
        put(&id.path(), bytes);
    }
    let checkpoint = Checkpoint::new(ORIGIN, size, tlog::root(size, &tiles).unwrap());
    put("checkpoint", checkpoint.sign(&key(), None).as_bytes());
    checkpoint
}

/// A trust file that pins it.
pub fn trust() -> String {
    format!(
        "[[registry]]\nurl = \"http://127.0.0.1:1/\"\norigin = \"{ORIGIN}\"\nlog = \"/log/1/\"\nkeys = [\"{}\"]\n",
        key().verifier()
    )
}
