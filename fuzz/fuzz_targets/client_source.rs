//! Source files whose reachability is judged: any bytes are survived in each language, and every mention lies in the file.
#![no_main]

#[path = "../../crates/countersign/src/reach/javascript.rs"]
mod javascript;
#[path = "../../crates/countersign/src/reach/python.rs"]
mod python;
#[path = "../../crates/countersign/src/reach/rust.rs"]
mod rust;
#[allow(dead_code)]
#[path = "../../crates/countersign/src/reach/source.rs"]
mod source;

use libfuzzer_sys::fuzz_target;
use source::Language;

fuzz_target!(|data: &[u8]| {
    let Some((language, data)) = data.split_first() else {
        return;
    };
    let languages = [Language::Python, Language::JavaScript, Language::Rust];
    let text = String::from_utf8_lossy(data);
    let read = source::read(languages[usize::from(language % 3)], &text, language % 2 == 0);
    let lines = text.split('\n').count();
    assert!(!read.items.is_empty());
    for mention in &read.mentions {
        assert!(mention.item < read.items.len());
        assert!(mention.line >= 1 && mention.line as usize <= lines);
    }
});
