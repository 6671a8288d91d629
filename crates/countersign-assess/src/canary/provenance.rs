//! Provenance: a file with an attestation of how it was built, by a Sigstore of the canaries' own.
//!
//! Neither it nor its key is anywhere: the attestation and the root that vouches for it were made once, by `tests/provenance.rs`, and are data
//! of this program. So the file is the same one on every registry.

use serde::Deserialize;
use serde_json::Value;
use serde_json::value::RawValue;

use super::packages::Wheel;
use super::publishing::{must, owner};
use crate::script::{Script, Stop, Told, World};

const RECORDED: &str = include_str!("../../data/provenance.json");

const PROJECT: &str = "canary-az33-thing";

/// Where the canaries' workflows have their identity from.
pub const ISSUER: &str = "https://token.canary.test";

/// Where the canaries' sources are.
pub const REPOSITORY: &str = "https://forge.canary.test/canary-owner/sample";

/// What was made once.
#[derive(Deserialize)]
struct Recorded {
    /// `trusted_root.json` of the canaries' Sigstore.
    trusted_root: Box<RawValue>,
    /// The attestation of [`attested_file`], an object of PEP 740.
    attestation: Box<RawValue>,
}

fn attested() -> Wheel {
    Wheel::new(PROJECT, "1.1", "a = 2")
}

/// The file that the recorded attestation is about: its name and its bytes.
pub fn attested_file() -> (String, Vec<u8>) {
    let wheel = attested();
    (wheel.filename, wheel.bytes)
}

pub(super) fn attestations_are_carried(script: &mut Script<'_>) -> Told<()> {
    let recorded: Recorded = serde_json::from_str(RECORDED)
        .map_err(|error| Stop::Unknown(format!("The canaries' attestation is damaged: {error}")))?;
    let root = script.world(World::Write {
        name: "canaries-root.json".to_owned(),
        body: recorded.trusted_root.get().as_bytes().to_vec(),
    })?;
    let (code, _) = script.operator(&["admin", "trust-root", "add", "canaries", root])?;
    if !script.hold("the operator says whose Sigstore is believed", code == 0) {
        return Ok(());
    }
    let (_, token) = owner(script, "ann")?;
    must(script, &Wheel::new(PROJECT, "1.0", "a = 1"), &token)?;
    let (code, _) = script.operator(&[
        "admin",
        "provenance",
        "policy",
        &format!("pypi:{PROJECT}"),
        "--trust",
        REPOSITORY,
        "--issuer",
        ISSUER,
    ])?;
    if !script.hold("a project names the workflows that build it", code == 0) {
        return Ok(());
    }
    let list = format!("[{}]", recorded.attestation.get());
    let other = Wheel::new(PROJECT, "1.2", "import os");
    let refused = other.publish_with(script, &token, &list)?.refused();
    script.hold("an attestation of another file is refused", refused);
    let wheel = attested();
    let taken = wheel.publish_with(script, &token, &list)?.good();
    if !script.hold("a file is published with its attestation", taken) {
        return Ok(());
    }
    let served = script.get(&format!(
        "/integrity/{PROJECT}/{}/{}/provenance",
        wheel.version, wheel.filename
    ))?;
    let sent: Value = serde_json::from_str(recorded.attestation.get()).unwrap_or_default();
    let same = served.json()["attestation_bundles"]
        .as_array()
        .into_iter()
        .flatten()
        .filter_map(|bundle| bundle["attestations"].as_array())
        .flatten()
        .any(|one| *one == sent && !sent.is_null());
    script.hold(
        "everybody can get it, as it was sent",
        served.good() && same,
    );
    let page = script.get(&format!("/project/pypi/{PROJECT}/{}/", wheel.version))?;
    script.hold(
        "the page of the release names the sources that it proves",
        page.text().contains("canary-owner/sample"),
    );
    Ok(())
}
