//! Leaves: one text for each.
#![no_main]

use countersign_trust::leaf::{self, ParsedBorrowed, ParsedLeaf};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    if let Ok(ParsedLeaf::Known(read)) = leaf::parse(data) {
        assert_eq!(
            read.to_text()
                .expect("a leaf that was read can be written")
                .as_bytes(),
            data
        );
    }
    if let Ok(ParsedBorrowed::Known(read)) = leaf::parse_borrowed(data) {
        assert_eq!(ParsedLeaf::Known(Box::new(read.into_leaf())), leaf::parse(data).expect("both read it"));
    }
    if let Ok(text) = std::str::from_utf8(data) {
        let _ = leaf::check_subject(text);
        if let Some(micros) = leaf::parse_time(text) {
            assert_eq!(leaf::format_time(micros).as_deref(), Some(text));
        }
    }
});
