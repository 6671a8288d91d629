//! Names, versions, tags and promises of npm.
#![no_main]

use countersign_formats::{
    Limits,
    npm::{name::PackageName, promises, range, tags, version},
    purl,
};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    let _ = promises(data, &Limits::default());
    let _ = tags::read_version(data, &Limits::default());
    let Ok(text) = std::str::from_utf8(data) else { return };
    if let Ok((name, _)) = PackageName::from_path(text) {
        let escaped = name.escaped();
        let again = PackageName::from_path(&escaped).expect("its own encoding");
        assert_eq!(again, (name.clone(), None));
        let tarball = name.tarball_path("1.0.0");
        assert_eq!(PackageName::from_path(&tarball).expect("its own path").0, name);
        let url = purl::project_purl(countersign_formats::Ecosystem::Npm, &name.key());
        assert_eq!(purl::parse(&url).expect("our own purl").name_key, name.key());
    }
    if let Ok(found) = version::parse(text) {
        assert!(version::is_canonical(found.canonical()));
        assert!(range::is_range(found.canonical()));
    }
    if tags::check(text).is_ok() {
        assert!(!range::is_range(text) && version::parse(text).is_err());
    }
});
