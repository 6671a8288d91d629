//! Tar archives and sdists: the input as a gzip file, and as a tar that is compressed here.
#![no_main]

use std::io::{Cursor, Write};

use countersign_formats::{
    Artifact, Ecosystem, Limits,
    archive::tar::{Rules, check},
    format,
};
use flate2::{Compression, write::GzEncoder};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::none());
    encoder.write_all(data).expect("a Vec takes all");
    let compressed = encoder.finish().expect("a Vec takes all");
    let limits = Limits { max_unpacked: 1 << 20, ..Limits::default() };
    let loose = Rules {
        inner_symlinks: true,
        setgid_directories: true,
        global_comment: true,
        dot_parts: true,
        node_notes: true,
        zero_padding: true,
        same_twice: true,
    };
    for bytes in [data, &compressed] {
        let strict = check(&mut Cursor::new(bytes), bytes.len() as u64, &limits, Rules::STRICT, &mut |_, _| Ok(()));
        let mut top = None;
        let tolerant = check(&mut Cursor::new(bytes), bytes.len() as u64, &limits, loose, &mut |member, _| {
            let first = member.path.split('/').next().expect("split yields one part").to_owned();
            assert_eq!(*top.get_or_insert_with(|| first.clone()), first);
            assert!(!member.path.split('/').any(|part| part == ".."));
            Ok(())
        });
        if let Ok(summary) = strict {
            assert_eq!(tolerant, Ok(summary), "looser rules refuse");
        }
        let mut cursor = Cursor::new(bytes);
        let mut artifact = Artifact { filename: "a-1.0.tar.gz", size: bytes.len() as u64, bytes: &mut cursor };
        let _ = format(Ecosystem::Pypi).inspect(&mut artifact, &limits);
        let mut artifact = Artifact { filename: "a-1.0.0.tgz", ..artifact };
        let _ = format(Ecosystem::Npm).inspect(&mut artifact, &limits);
    }
});
