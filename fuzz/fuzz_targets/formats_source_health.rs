//! What others say about source projects: any bytes are survived, and what is read stays within its bounds.
#![no_main]

use countersign_formats::source_health::{read, repository_key};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    let _ = read(data, &mut |health| {
        assert_eq!(repository_key(&health.repository).as_deref(), Some(health.repository.as_str()));
        assert!(!health.signals.is_empty() && health.date.len() == 10);
    });
    if let Ok(text) = std::str::from_utf8(data) {
        if let Some(key) = repository_key(text) {
            assert_eq!(repository_key(&key).as_deref(), Some(key.as_str()));
        }
    }
});
