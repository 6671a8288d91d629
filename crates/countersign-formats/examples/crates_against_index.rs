//! Inspects real `.crate` files, and holds the index line that is made of each against the one that
//! the public registry made of it, as cargo keeps it.
//!
//! `cargo run --example crates_against_index -- CARGO_HOME/registry/cache/X CARGO_HOME/registry/index/X/.cache`
#![allow(clippy::unwrap_used)]

use std::{collections::BTreeMap, fs, path::Path};

use countersign_formats::{
    Artifact, Ecosystem, Limits,
    cargo::{
        OwnIndex,
        dependency::CRATES_IO_SPARSE,
        index::{Entry, Published, promises},
        name,
    },
    format,
};

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [crates, index] = &arguments[..] else {
        eprintln!("usage: crates_against_index CRATES INDEX");
        std::process::exit(2);
    };
    let public = OwnIndex::new(CRATES_IO_SPARSE).unwrap();
    let limits = Limits::default();
    let mut count: BTreeMap<String, usize> = BTreeMap::new();
    for file in fs::read_dir(crates).unwrap() {
        let path = file.unwrap().path();
        let filename = path.file_name().unwrap().to_str().unwrap().to_owned();
        let mut bytes = fs::File::open(&path).unwrap();
        let mut artifact = Artifact {
            filename: &filename,
            size: bytes.metadata().unwrap().len(),
            bytes: &mut bytes,
        };
        let manifest = match format(Ecosystem::Cargo).inspect(&mut artifact, &limits) {
            Ok(manifest) => manifest,
            Err(rejection) => {
                println!("{filename}: {} {rejection}", rejection.code);
                *count.entry(rejection.code.to_owned()).or_default() += 1;
                continue;
            }
        };
        for warning in &manifest.warnings {
            println!("{filename}: warning: {warning}");
        }
        *count.entry("accepted".to_owned()).or_default() += 1;
        let cached = Path::new(index).join(name::index_path(&manifest.name).unwrap());
        let Ok(cached) = fs::read(cached) else {
            *count
                .entry("not in the cached index".to_owned())
                .or_default() += 1;
            continue;
        };
        // Cargo's cache: a header, then version and line in turn, each closed by a NUL.
        let texts: Vec<&[u8]> = cached.split(|b| *b == 0).collect();
        let line = texts
            .windows(2)
            .find(|pair| pair[0] == manifest.version.as_bytes() && pair[1].starts_with(b"{"))
            .map(|pair| std::str::from_utf8(pair[1]).unwrap());
        let Some(line) = line else {
            *count
                .entry("not in the cached index".to_owned())
                .or_default() += 1;
            continue;
        };
        let mut theirs = Entry::parse(line, &public).unwrap();
        let mut ours = Entry::new(&manifest, theirs.published.clone()).unwrap();
        assert_eq!(
            ours.published,
            Published {
                ..theirs.published.clone()
            }
        );
        for entry in [&mut theirs, &mut ours] {
            entry.dependencies.sort();
        }
        if ours == theirs {
            *count.entry("same line".to_owned()).or_default() += 1;
        } else {
            *count.entry("other line".to_owned()).or_default() += 1;
            println!(
                "{filename}:\n  {}\n  {}",
                theirs.line(&public),
                ours.line(&public)
            );
        }
        let value = |line: &str| serde_json::from_str::<serde_json::Value>(line).unwrap();
        let (theirs, ours) = (value(&theirs.line(&public)), value(line));
        if theirs["features"] != ours["features"] || theirs.get("v") != ours.get("v") {
            println!("{filename}: other features: {line}");
        }
        let all = texts
            .iter()
            .filter(|text| text.starts_with(b"{"))
            .map(|text| [text, &b"\n"[..]].concat())
            .collect::<Vec<_>>()
            .concat();
        if let Err(rejection) = promises(&all, &limits) {
            println!("{filename}: index: {rejection}");
            *count.entry("unreadable index".to_owned()).or_default() += 1;
        }
    }
    println!("{count:#?}");
}
