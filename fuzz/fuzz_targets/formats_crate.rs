//! Crates: the input as a `.crate`, as the tar in one, and as the `Cargo.toml` in that. What is accepted makes an
//! index line that says the same.
#![no_main]

use std::io::{Cursor, Write};

use countersign_formats::{
    Artifact, Ecosystem, Limits,
    cargo::{
        OwnIndex,
        index::{Entry, Published},
        manifest::CargoToml,
    },
    format,
};
use flate2::{Compression, write::GzEncoder};
use libfuzzer_sys::fuzz_target;

fn gzip(data: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::none());
    encoder.write_all(data).expect("a Vec takes all");
    encoder.finish().expect("a Vec takes all")
}

fn tar(data: &[u8]) -> Vec<u8> {
    let mut block = vec![0; 512];
    block[..18].copy_from_slice(b"a-1.0.0/Cargo.toml");
    block[100..108].copy_from_slice(b"0000644\0");
    block[124..136].copy_from_slice(format!("{:011o}\0", data.len()).as_bytes());
    block[136..148].copy_from_slice(b"00000000000\0");
    block[148..156].fill(b' ');
    block[156] = b'0';
    block[257..265].copy_from_slice(b"ustar\x0000");
    let sum: u32 = block.iter().map(|byte| u32::from(*byte)).sum();
    block[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
    block.extend(data);
    block.resize(block.len().next_multiple_of(512) + 1024, 0);
    block
}

fuzz_target!(|data: &[u8]| {
    let own = OwnIndex::new("sparse+https://reg.example/cargo/index/").expect("an address");
    let limits = Limits { max_unpacked: 1 << 20, ..Limits::default() };
    let parsed = CargoToml::parse(data);
    for bytes in [data, &gzip(data), &gzip(&tar(data))] {
        let mut cursor = Cursor::new(bytes);
        let mut artifact = Artifact { filename: "a-1.0.0.crate", size: bytes.len() as u64, bytes: &mut cursor };
        let Ok(manifest) = format(Ecosystem::Cargo).inspect(&mut artifact, &limits) else {
            continue;
        };
        assert_eq!((manifest.name.as_str(), manifest.version.as_str()), ("a", "1.0.0"));
        let published = Published { sha256: "ab".repeat(32), ..Published::default() };
        let entry = Entry::new(&manifest, published).expect("a crate's manifest");
        let line = entry.line(&own);
        assert!(!line.contains('\n'));
        assert_eq!(Entry::parse(&line, &own).as_ref(), Ok(&entry));
    }
    if let Ok(parsed) = parsed {
        for dependency in &parsed.dependencies {
            assert!(dependency.package.is_ascii() && dependency.req != "*");
        }
    }
});
