//! Lists of names: what is read is names, each once, and reads back as itself.
#![no_main]

use countersign_formats::{Ecosystem, format, name_list};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    for ecosystem in Ecosystem::ALL {
        let Ok(names) = name_list::parse(*ecosystem, bytes) else {
            continue;
        };
        let text: String = names.iter().map(|name| format!("{name}\n")).collect();
        assert_eq!(name_list::parse(*ecosystem, text.as_bytes()).expect("our own list"), names);
        for name in &names {
            assert!(format(*ecosystem).name_key(name.as_str()).is_ok());
        }
    }
});
