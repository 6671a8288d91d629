//! Lock files: any bytes are survived under each name, and what is read is bounded and of the form that look-ups need.
#![no_main]

use countersign_formats::lock::{self, Digest};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    let Some((kind, data)) = data.split_first() else {
        return;
    };
    let names = [
        "requirements.txt",
        "uv.lock",
        "pylock.toml",
        "package-lock.json",
        "pnpm-lock.yaml",
        "yarn.lock",
        "Cargo.lock",
        "poetry.lock",
        "Pipfile.lock",
        "other",
    ];
    let name = names[usize::from(kind % 10)];
    if let Ok(read) = lock::parse(name, data) {
        let graph = lock::graph(&read, data);
        assert_eq!(graph.requires.len(), read.entries.len());
        for at in 0..read.entries.len().min(50) {
            assert_eq!(graph.way(at).last(), Some(&at));
        }
        for entry in &read.entries {
            assert!(!entry.name_key.as_str().is_empty());
            assert!(entry.unhashed || !entry.files.is_empty());
            for file in &entry.files {
                match &file.digest {
                    Digest::Sha256(hex) => assert_eq!(hex.len(), 64),
                    Digest::Sha512(hex) => assert_eq!(hex.len(), 128),
                }
                if let Some(name) = &file.filename {
                    assert!(!name.contains('/') && !name.is_empty());
                }
            }
        }
    }
});
