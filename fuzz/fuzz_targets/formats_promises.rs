//! Index documents as clients read them: promises have whole digests and distinct names.
#![no_main]

use std::collections::HashSet;

use countersign_formats::{
    Limits,
    pypi::{html::project_html, promises},
};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    if let Ok(found) = promises(data, &Limits::default()) {
        let names: HashSet<_> = found.iter().map(|promise| &promise.filename).collect();
        assert_eq!(names.len(), found.len());
        assert!(found.iter().all(|promise| promise.sha256.len() == 64));
    }
    if let Ok(text) = std::str::from_utf8(data) {
        let _ = project_html(text);
    }
});
