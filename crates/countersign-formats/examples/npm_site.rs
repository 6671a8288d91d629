//! Renders packuments of real tarballs, for real clients to install from. Reads JSON lines with
//! `path`, `filename`, `url`, `sha1`, `sha256`, `sha512` (hex), and perhaps `keyid` and `sig`; writes
//! `NAME.full.json` and `NAME.abbreviated.json` (names escaped) into the folder that is the argument,
//! and `keys.json` if a second argument gives a public key in hex (DER).

use std::{collections::BTreeMap, error::Error, fs, fs::File, io::BufRead, path::Path};

use countersign_formats::{
    Artifact, Ecosystem, Limits, format,
    npm::{
        documents::{
            About, Dist, PackageHead, PackageView, Signature, VersionView, abbreviated,
            full_fragment, full_from_fragments,
        },
        name::PackageName,
        publish::Digests,
        registry::{Key, keys},
    },
};
use serde::Deserialize;

#[derive(Deserialize)]
struct Line {
    path: String,
    filename: String,
    url: String,
    sha1: String,
    sha256: String,
    sha512: String,
    keyid: Option<String>,
    sig: Option<String>,
}

fn main() -> Result<(), Box<dyn Error>> {
    let mut args = std::env::args().skip(1);
    let out = args.next().ok_or("name the folder to write to")?;
    if let Some(key) = args.next() {
        let key = Key {
            der: unhex(&key)?,
            expires: None,
        };
        fs::write(Path::new(&out).join("keys.json"), keys(&[key])?)?;
    }
    let mut packages: BTreeMap<String, PackageView> = BTreeMap::new();
    for line in std::io::stdin().lock().lines() {
        let line: Line = serde_json::from_str(&line?)?;
        let (name, version) = match view(&line) {
            Ok(found) => found,
            Err(error) => {
                println!("{}: {error}", line.filename);
                continue;
            }
        };
        let package = packages.entry(name.clone()).or_insert_with(|| PackageView {
            head: PackageHead {
                name,
                tags: Vec::new(),
                created: 1_600_000_000_000_000,
                modified: 1_700_000_000_000_000,
                quarantined: false,
                serial: 1,
            },
            versions: Vec::new(),
        });
        package.versions.push(version);
    }
    for (name, package) in &mut packages {
        let rules = format(Ecosystem::Npm);
        let number = |view: &VersionView| {
            view.package.manifest["version"]
                .as_str()
                .unwrap_or_default()
                .to_owned()
        };
        package
            .versions
            .sort_by_cached_key(|view| rules.version(&number(view)).ok());
        let newest = package.versions.last().map(number).unwrap_or_default();
        package.head.tags = vec![("latest".to_owned(), newest)];
        let file = PackageName::parse(name)?.escaped();
        let fragments: Vec<_> = package.versions.iter().map(full_fragment).collect();
        fs::write(
            Path::new(&out).join(format!("{file}.full.json")),
            full_from_fragments(&package.head, &About::default(), &fragments),
        )?;
        fs::write(
            Path::new(&out).join(format!("{file}.abbreviated.json")),
            abbreviated(package),
        )?;
    }
    println!("{} packages", packages.len());
    Ok(())
}

fn view(line: &Line) -> Result<(String, VersionView), Box<dyn Error>> {
    let mut bytes = File::open(&line.path)?;
    let size = bytes.metadata()?.len();
    let mut artifact = Artifact {
        filename: &line.filename,
        size,
        bytes: &mut bytes,
    };
    let manifest = format(Ecosystem::Npm).inspect(&mut artifact, &Limits::default())?;
    let digests = Digests {
        sha1: unhex(&line.sha1)?.try_into().map_err(|_| "sha1")?,
        sha256: unhex(&line.sha256)?.try_into().map_err(|_| "sha256")?,
        sha512: unhex(&line.sha512)?.try_into().map_err(|_| "sha512")?,
    };
    let signatures = match (&line.keyid, &line.sig) {
        (Some(keyid), Some(sig)) => vec![Signature {
            keyid: keyid.clone(),
            sig: sig.clone(),
        }],
        _ => Vec::new(),
    };
    let package = manifest.details.npm().ok_or("no details")?.clone();
    let version = VersionView {
        dist: Dist {
            tarball: line.url.clone(),
            shasum: digests.shasum(),
            integrity: digests.integrity(),
            sha256: digests.sha256_hex(),
            size,
            unpacked_size: manifest.unpacked_size,
            signatures,
            attestations: None,
            leaf_index: 0,
            proof_url: None,
        },
        package,
        deprecated: None,
        published: 1_650_000_000_000_000,
        publisher: None,
    };
    Ok((manifest.name, version))
}

fn unhex(text: &str) -> Result<Vec<u8>, Box<dyn Error>> {
    (0..text.len())
        .step_by(2)
        .map(|at| {
            Ok(u8::from_str_radix(
                text.get(at..at + 2).ok_or("odd hex")?,
                16,
            )?)
        })
        .collect()
}
