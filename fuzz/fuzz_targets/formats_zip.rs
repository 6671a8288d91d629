//! Zip archives and wheels: no panic, and an archive that is accepted has no two members of one name.
#![no_main]

use std::{collections::HashSet, io::Cursor};

use countersign_formats::{
    Artifact, Ecosystem, Limits,
    archive::zip::{Rules, check},
    format,
};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    let limits = Limits { max_unpacked: 1 << 20, ..Limits::default() };
    for data_descriptors in [false, true] {
        let mut names = HashSet::new();
        let mut unpacked = 0;
        let result = check(&mut Cursor::new(data), data.len() as u64, &limits, Rules { data_descriptors }, &mut |member, _| {
            unpacked += member.size;
            assert!(names.insert(member.path.to_lowercase()), "a duplicate");
            assert!(!member.path.contains("..") || !member.path.split('/').any(|part| part == ".."));
            Ok(())
        });
        if let Ok(summary) = result {
            assert_eq!(summary.members, names.len() as u64);
            assert_eq!(summary.unpacked, unpacked);
        }
    }
    let mut bytes = Cursor::new(data);
    let mut artifact = Artifact { filename: "a-1.0-py3-none-any.whl", size: data.len() as u64, bytes: &mut bytes };
    let _ = format(Ecosystem::Pypi).inspect(&mut artifact, &limits);
});
