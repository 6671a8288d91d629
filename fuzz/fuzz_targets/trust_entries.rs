//! Bundles of entries and paths of tiles: one form for each.
#![no_main]

use countersign_trust::tlog::{EntriesId, TileId, decode_entries, encode_entries};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    if let Ok(entries) = decode_entries(data) {
        assert_eq!(
            encode_entries(&entries).expect("entries that were read can be written"),
            data
        );
    }
    if let Ok(text) = std::str::from_utf8(data) {
        if let Ok(id) = TileId::parse_path(text) {
            assert_eq!(id.path(), text);
        }
        if let Ok(id) = EntriesId::parse_path(text) {
            assert_eq!(id.path(), text);
        }
    }
});
