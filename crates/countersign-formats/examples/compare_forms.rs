//! Holds recorded upload forms against the archives they came with, to see that no real client's
//! upload would be refused. First argument: a file of JSON lines, each with `filename` and `pairs`
//! (field and value, in order); then the folders with the archives.

use std::{error::Error, fs::File, io::BufRead, path::PathBuf};

use countersign_formats::{
    Artifact, Ecosystem, Limits, format,
    pypi::upload::{UploadForm, compare},
};
use serde::Deserialize;

#[derive(Deserialize)]
struct Recorded {
    filename: String,
    pairs: Vec<(String, String)>,
}

fn main() -> Result<(), Box<dyn Error>> {
    let mut args = std::env::args_os().skip(1);
    let log = args.next().ok_or("name the file of recorded forms")?;
    let folders: Vec<PathBuf> = args.map(PathBuf::from).collect();
    let (mut agreed, mut refused) = (0, 0);
    for line in std::io::BufReader::new(File::open(log)?).lines() {
        let recorded: Recorded = serde_json::from_str(&line?)?;
        match check(recorded.pairs, &recorded.filename, &folders) {
            Ok(()) => agreed += 1,
            Err(error) => {
                refused += 1;
                println!("{}: {error}", recorded.filename);
            }
        }
    }
    println!("{agreed} agree, {refused} are refused");
    if refused > 0 {
        Err("some are refused".into())
    } else {
        Ok(())
    }
}

fn check(
    pairs: Vec<(String, String)>,
    filename: &str,
    folders: &[PathBuf],
) -> Result<(), Box<dyn Error>> {
    let path = folders
        .iter()
        .map(|folder| folder.join(filename))
        .find(|path| path.exists())
        .ok_or("is in none of the folders")?;
    let mut file = File::open(path)?;
    let size = file.metadata()?.len();
    let mut artifact = Artifact {
        filename,
        size,
        bytes: &mut file,
    };
    let manifest = format(Ecosystem::Pypi).inspect(&mut artifact, &Limits::default())?;
    let form = UploadForm::from_pairs(pairs)?;
    form.digests()?;
    for warning in compare(&form, &manifest)? {
        println!("{filename}: warning: {warning}");
    }
    Ok(())
}
