//! Runs tarballs through inspection and, where a posted body was recorded, holds it against its
//! tarball, to see that no real client's publication would be refused. Arguments: `.tgz` files
//! and `.json` files with recorded bodies.

use std::{error::Error, fs, io::Cursor, path::Path};

use countersign_formats::{
    Artifact, Ecosystem, Limits, Manifest, Rejection, format,
    npm::{
        compare::compare,
        publish::{Body, PublishReader},
    },
};

fn main() -> Result<(), Box<dyn Error>> {
    let (mut good, mut refused) = (0, 0);
    for path in std::env::args().skip(1) {
        let bytes = fs::read(&path)?;
        let result = match Path::new(&path).extension().and_then(|end| end.to_str()) {
            Some("json") => posted(&bytes),
            _ => tarball(Path::new(&path), &bytes).map(|manifest| {
                for warning in &manifest.warnings {
                    println!(
                        "warning {path}: {}@{}: {warning}",
                        manifest.name, manifest.version
                    );
                }
            }),
        };
        match result {
            Ok(()) => good += 1,
            Err(rejection) => {
                refused += 1;
                println!("{path}: {} {rejection}", rejection.code);
            }
        }
    }
    println!("{good} good, {refused} refused");
    Ok(())
}

/// Inspects under the last part of the file's name behind a tilde: `@scope~name~-~name-1.0.0.tgz`.
fn tarball(path: &Path, bytes: &[u8]) -> Result<Manifest, Rejection> {
    let filename = path
        .file_name()
        .and_then(|name| name.to_str())
        .unwrap_or_default();
    let mut cursor = Cursor::new(bytes);
    let mut artifact = Artifact {
        filename: filename.rsplit('~').next().unwrap_or(filename),
        size: bytes.len() as u64,
        bytes: &mut cursor,
    };
    format(Ecosystem::Npm).inspect(&mut artifact, &Limits::default())
}

fn posted(body: &[u8]) -> Result<(), Rejection> {
    let mut reader = PublishReader::new(&Limits::default());
    let mut bytes = Vec::new();
    for chunk in body.chunks(1021) {
        reader.push(chunk, &mut |part| {
            bytes.extend_from_slice(part);
            Ok(())
        })?;
    }
    let Body::Publish(publish) = reader.finish()? else {
        println!("a change, no publication");
        return Ok(());
    };
    let filename = publish.name.tarball(&publish.version);
    let mut cursor = Cursor::new(&bytes);
    let mut artifact = Artifact {
        filename: &filename,
        size: publish.size,
        bytes: &mut cursor,
    };
    let manifest = format(Ecosystem::Npm).inspect(&mut artifact, &Limits::default())?;
    let package = manifest
        .details
        .npm()
        .ok_or_else(|| Rejection::new("bug", "no details"))?;
    compare(&publish.manifest, package)
}
