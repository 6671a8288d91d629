//! Inspects distributions named on the command line: one line each, exit code 1 if any is refused.

use std::{fs::File, path::Path, process::ExitCode};

use countersign_formats::{Artifact, Ecosystem, Limits, Manifest, Rejection, format};

fn main() -> ExitCode {
    let (mut accepted, mut refused) = (0, 0);
    for path in std::env::args().skip(1) {
        match inspect(Path::new(&path)) {
            Ok(manifest) => {
                accepted += 1;
                println!(
                    "accepted {}: {} members, {} bytes unpacked {}",
                    manifest.filename,
                    manifest.member_count,
                    manifest.unpacked_size,
                    manifest.warnings.join(" ")
                );
            }
            Err(rejection) => {
                refused += 1;
                println!("refused {path}: {}: {rejection}", rejection.code);
            }
        }
    }
    println!("{accepted} accepted, {refused} refused");
    if refused == 0 {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    }
}

fn inspect(path: &Path) -> Result<Manifest, Rejection> {
    let mut file = File::open(path).map_err(|error| Rejection::unreadable(&error))?;
    let size = file
        .metadata()
        .map_err(|error| Rejection::unreadable(&error))?
        .len();
    let filename = path
        .file_name()
        .and_then(|name| name.to_str())
        .unwrap_or_default();
    format(Ecosystem::Pypi).inspect(
        &mut Artifact {
            filename,
            size,
            bytes: &mut file,
        },
        &Limits::default(),
    )
}
