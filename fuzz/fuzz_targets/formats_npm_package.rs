//! `package.json` in a tarball: what is accepted shows no key of the registry's own, agrees with
//! itself, and is rendered to a packument that can be read back.
#![no_main]

use std::io::{Cursor, Write};

use countersign_formats::{
    Artifact, Details, Ecosystem, Limits, format,
    npm::{
        compare::compare,
        documents::{Dist, PackageHead, PackageView, VersionView, abbreviated},
        name::PackageName,
        promises,
    },
};
use flate2::{Compression, write::GzEncoder};
use libfuzzer_sys::fuzz_target;

fn tarball(json: &[u8]) -> Vec<u8> {
    let mut block = vec![0; 512];
    block[..20].copy_from_slice(b"package/package.json");
    block[100..108].copy_from_slice(b"0000644\0");
    block[124..136].copy_from_slice(format!("{:011o}\0", json.len()).as_bytes());
    block[148..156].fill(b' ');
    block[156] = b'0';
    block[257..265].copy_from_slice(b"ustar\x0000");
    let sum: u32 = block.iter().map(|byte| u32::from(*byte)).sum();
    block[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
    block.extend(json);
    block.resize(block.len().next_multiple_of(512) + 1024, 0);
    let mut encoder = GzEncoder::new(Vec::new(), Compression::none());
    encoder.write_all(&block).expect("a Vec takes all");
    encoder.finish().expect("a Vec takes all")
}

fuzz_target!(|json: &[u8]| {
    let bytes = tarball(json);
    let mut cursor = Cursor::new(&bytes);
    let mut artifact = Artifact { filename: "a-1.0.0.tgz", size: bytes.len() as u64, bytes: &mut cursor };
    let Ok(manifest) = format(Ecosystem::Npm).inspect(&mut artifact, &Limits::default()) else { return };
    let Details::Npm(package) = manifest.details else { panic!("no details") };
    for key in ["dist", "deprecated", "hasInstallScript", "_id", "__proto__"] {
        assert!(!package.manifest.contains_key(key));
    }
    compare(&package.manifest, &package).expect("it agrees with itself");
    let posted = serde_json::from_slice::<serde_json::Map<_, _>>(json.strip_prefix(b"\xef\xbb\xbf").unwrap_or(json));
    compare(&posted.expect("it was read"), &package).expect("it agrees with what it was made from");
    assert!(PackageName::parse(&manifest.name).is_ok());
    let view = PackageView {
        head: PackageHead {
            name: manifest.name,
            tags: vec![("latest".to_owned(), manifest.version_canonical)],
            created: 0,
            modified: 0,
            quarantined: false,
            serial: 0,
        },
        versions: vec![VersionView {
            package: *package,
            dist: Dist {
                tarball: "https://a.example/a-1.0.0.tgz".to_owned(),
                shasum: String::new(),
                integrity: String::new(),
                sha256: "0".repeat(64),
                size: bytes.len() as u64,
                unpacked_size: manifest.unpacked_size,
                signatures: Vec::new(),
                attestations: None,
                leaf_index: 0,
                proof_url: None,
            },
            deprecated: None,
            published: 0,
            publisher: None,
        }],
    };
    let found = promises(abbreviated(&view).as_bytes(), &Limits::default()).expect("our own document");
    assert_eq!(found.len(), 1);
});
