//! Writes what a private Sigstore is for unmodified clients by hand: `private_sigstore SEED FOLDER FILE…` puts
//! `trusted_root.json`, and beside each file its `.publish.attestation`, `.slsa.attestation` and `.sigstore.json`, of a
//! workflow of GitHub's, into the folder.

use std::fs;
use std::path::Path;

use anyhow::{Context as _, Result};
use countersign_testkit::claims;
use countersign_testkit::sigstore::{Identity, Logged, PrivateSigstore, statements};

fn main() -> Result<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [seed, folder, files @ ..] = &arguments[..] else {
        anyhow::bail!("private_sigstore SEED FOLDER FILE…");
    };
    let folder = Path::new(folder);
    let sigstore = PrivateSigstore::new(seed);
    sigstore.write_trusted_root(folder)?;
    let identity = Identity::github(
        "https://token.actions.githubusercontent.com",
        "https://github.com",
        &claims::github("octo/sample", "release.yml"),
    );
    for file in files {
        let bytes = fs::read(file)?;
        let name = Path::new(file)
            .file_name()
            .and_then(|name| name.to_str())
            .context("a file has a name")?;
        let publish = statements::pypi_publish(name, &bytes);
        let slsa = statements::slsa_v1(name, &bytes, &identity);
        let newer = sigstore.signing(&identity).logged(Logged::V2);
        for (suffix, document) in [
            (
                "publish.attestation",
                sigstore.sign_attestation(&identity, &publish),
            ),
            (
                "slsa.attestation",
                sigstore.sign_attestation(&identity, &slsa),
            ),
            (
                "sigstore.json",
                sigstore.sign_statement(&identity, &publish),
            ),
            ("v2.sigstore.json", newer.statement(&publish)),
        ] {
            fs::write(
                folder.join(format!("{name}.{suffix}")),
                document.to_string(),
            )?;
        }
    }
    Ok(())
}
