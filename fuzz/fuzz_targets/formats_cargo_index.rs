//! Index files, their configuration and paths, and addresses of registries, as clients read them.
#![no_main]

use std::collections::HashSet;

use countersign_formats::{
    Limits,
    cargo::{
        OwnIndex, Source,
        index::{Config, IndexFile, document, parse, promises},
        name,
    },
};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    let limits = Limits::default();
    let own = OwnIndex::new("sparse+https://reg.example/cargo/index/").expect("an address");
    let promised = promises(data, &limits);
    if let Ok(entries) = parse(data, &own, &limits) {
        let promised = promised.as_ref().expect("entries are promises");
        assert_eq!(entries.len(), promised.len());
        let names: HashSet<_> = promised.iter().map(|promise| &promise.filename).collect();
        assert_eq!(names.len(), promised.len());
        let again = document(&IndexFile { own: own.clone(), entries: entries.clone() });
        assert_eq!(parse(again.as_bytes(), &own, &limits), Ok(entries));
    }
    for promise in promised.iter().flatten() {
        assert_eq!(promise.sha256.len(), 64);
        assert!(!promise.filename.contains('/'));
    }
    if let Ok(config) = Config::parse(data) {
        let url = config.download_url("Serde", "1.0.0", "ab");
        assert!(url.starts_with("http"));
    }
    if let Ok(text) = std::str::from_utf8(data) {
        if let Some(name) = name::of_index_path(text) {
            assert_eq!(name::index_path(name).as_deref(), Ok(text));
        }
        if let Ok(source) = Source::parse(text) {
            assert_eq!(Source::from_index_of(&own, source.in_index_of(&own)).map(|again| own.is(&again)), Ok(own.is(&source)));
        }
    }
});
