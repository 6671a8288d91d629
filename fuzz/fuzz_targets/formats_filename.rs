//! File names, names, versions and purls: what is accepted is plain ASCII and reads back as itself.
#![no_main]

use countersign_formats::{
    Ecosystem, Limits, format, purl,
    pypi::filename::{self, DistFilename},
};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|text: &str| {
    let format = format(Ecosystem::Pypi);
    if let Ok(name) = filename::parse(text, &Limits::default()) {
        assert!(text.is_ascii() && !text.contains(['/', '\\']));
        if let DistFilename::Wheel(wheel) = &name {
            assert!(!wheel.tags().is_empty());
        }
        let url = purl::file_purl(Ecosystem::Pypi, name.name_key(), name.version().canonical(), text);
        let read = purl::parse(&url).expect("our own purl");
        assert_eq!(read.filename.as_deref(), Some(text));
        assert_eq!(&read.name_key, name.name_key());
    }
    if let Ok(key) = format.name_key(text) {
        assert_eq!(format.name_key(key.as_str()), Ok(key));
    }
    if let Ok(version) = format.version(text) {
        let again = format.version(version.canonical()).expect("a normal form");
        assert_eq!(again, version);
        assert_eq!(again.key(), version.key());
        assert_eq!(format.version(version.key()).expect("a key is a version"), version);
    }
    let _ = purl::parse(text);
});
