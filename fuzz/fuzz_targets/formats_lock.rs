//! Lock files: any bytes are survived under each name, and what is read is bounded and of the form that look-ups need.
#![no_main]

use countersign_formats::pypi::lock;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    let Some((kind, data)) = data.split_first() else {
        return;
    };
    let name = ["requirements.txt", "uv.lock", "pylock.toml", "other"][usize::from(kind % 4)];
    if let Ok(read) = lock::parse(name, data) {
        for entry in &read.entries {
            assert!(!entry.name_key.as_str().is_empty());
            assert!(entry.unhashed || !entry.files.is_empty());
            for file in &entry.files {
                assert_eq!(file.sha256.len(), 64);
                if let Some(name) = &file.filename {
                    assert!(!name.contains('/') && !name.is_empty());
                }
            }
        }
    }
});
