//! Package URLs: what is accepted is written back in the one form that stands in the log, and reads as the same.
#![no_main]

use countersign_formats::purl;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|text: &str| {
    let Ok(read) = purl::parse(text) else { return };
    let written = match (&read.version, &read.filename) {
        (Some(version), Some(file)) => purl::file_purl(read.ecosystem, &read.name_key, version, file),
        (Some(version), None) => purl::release_purl(read.ecosystem, &read.name_key, version),
        (None, file) => {
            assert!(file.is_none(), "a file without a version");
            purl::project_purl(read.ecosystem, &read.name_key)
        }
    };
    // Escaping may make it longer than what is read at all; what is read must be the same.
    if let Ok(again) = purl::parse(&written) {
        assert_eq!(again, read);
    }
});
