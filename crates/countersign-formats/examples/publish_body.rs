//! What a registry makes of a publish body of cargo: the index line, and a note for people.
//!
//! `cargo run --example publish_body -- INDEX_URL BODY_FILE CRATE_FILE`: takes the body apart, inspects
//! the crate, holds both against each other, writes the `.crate` and prints the line.
#![allow(clippy::unwrap_used)]

use std::{fs, io::Cursor, process::ExitCode};

use countersign_formats::{
    Artifact, Ecosystem, Limits, Rejection,
    cargo::{
        OwnIndex,
        index::{Entry, Published},
        publish::{Framing, compare},
    },
    format,
};
use sha2::{Digest, Sha256};

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [own, body, output] = &arguments[..] else {
        eprintln!("usage: publish_body INDEX_URL BODY_FILE CRATE_FILE");
        return ExitCode::from(2);
    };
    match line(own, &fs::read(body).unwrap(), output) {
        Ok(line) => {
            println!("{line}");
            ExitCode::SUCCESS
        }
        Err(rejection) => {
            println!("{}: {rejection}", rejection.code);
            ExitCode::from(4)
        }
    }
}

fn line(own: &str, body: &[u8], output: &str) -> Result<String, Rejection> {
    let own = OwnIndex::new(own)?;
    let limits = Limits::default();
    let mut framing = Framing::new(limits.max_file_size);
    let mut krate = Vec::new();
    for chunk in body.chunks(8192) {
        krate.extend_from_slice(framing.push(chunk)?);
    }
    let request = framing.finish()?;
    let manifest = format(Ecosystem::Cargo).inspect(
        &mut Artifact {
            filename: &request.filename(),
            size: krate.len() as u64,
            bytes: &mut Cursor::new(&krate),
        },
        &limits,
    )?;
    compare(&request, &manifest, &own)?;
    for warning in &manifest.warnings {
        eprintln!("warning: {warning}");
    }
    fs::write(output, &krate).unwrap();
    let sha256 = Sha256::digest(&krate)
        .iter()
        .map(|byte| format!("{byte:02x}"))
        .collect();
    let published = Published {
        sha256,
        size: Some(krate.len() as u64),
        yanked: false,
        time: Some(1_700_000_000_000_000),
        leaf_index: Some(7),
        proof_url: Some("/log/1/proof/7".to_owned()),
    };
    Ok(Entry::new(&manifest, published).unwrap().line(&own))
}
