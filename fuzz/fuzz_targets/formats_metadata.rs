//! Core metadata: what is accepted has readable requirements and no control characters in its name.
#![no_main]

use countersign_formats::{Limits, pypi::metadata::CoreMetadata};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    if let Ok(metadata) = CoreMetadata::parse(data, &Limits::default()) {
        assert_eq!(metadata.dependencies().len(), metadata.all("requires-dist").count());
        assert!(metadata.get("summary").is_none_or(|summary| !summary.contains(['\n', '\r'])));
        let _ = (metadata.description(), metadata.project_urls());
    }
});
