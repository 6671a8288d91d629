//! Statements about files, as the clients and build systems of the ecosystems make them, all of them plain JSON that a
//! test may change.

use serde_json::{Value, json};
use sha2::{Digest as _, Sha256, Sha512};

use super::identity::Identity;

/// The statement's type that is in use, and the one before it, which npm's clients still send.
pub const STATEMENT_V1: &str = "https://in-toto.io/Statement/v1";
/// See [`STATEMENT_V1`].
pub const STATEMENT_V01: &str = "https://in-toto.io/Statement/v0.1";

/// The predicate types of the kit's statements.
pub const SLSA_V1: &str = "https://slsa.dev/provenance/v1";
/// The older provenance, which GitLab's jobs and npm's clients there make.
pub const SLSA_V02: &str = "https://slsa.dev/provenance/v0.2";
/// What a registry states of its own verification.
pub const VSA_V1: &str = "https://slsa.dev/verification_summary/v1";
/// What npm's registry states of a publication.
pub const NPM_PUBLISH_V01: &str = "https://github.com/npm/attestation/tree/main/specs/publish/v0.1";
/// What any registry may state of a release.
pub const RELEASE_V02: &str = "https://in-toto.io/attestation/release/v0.2";
/// What a Python publisher states; a name that clients know by heart, not an address that anybody asks.
pub const PYPI_PUBLISH_V1: &str = concat!("https://docs.", "pypi.org/attestations/publish/v1");

/// A statement of any predicate about one file, by its SHA-256.
pub fn about(name: &str, bytes: &[u8], predicate_type: &str, predicate: Value) -> Value {
    let digest = json!({"sha256": hex::encode(Sha256::digest(bytes))});
    of_digest(STATEMENT_V1, name, digest, predicate_type, predicate)
}

/// A statement of any type about one subject.
pub fn of_digest(
    statement_type: &str,
    name: &str,
    digest: Value,
    predicate_type: &str,
    predicate: Value,
) -> Value {
    json!({
        "_type": statement_type,
        "subject": [{"name": name, "digest": digest}],
        "predicateType": predicate_type,
        "predicate": predicate,
    })
}

/// What `pypi-attestations sign` states of a distribution.
pub fn pypi_publish(file_name: &str, bytes: &[u8]) -> Value {
    about(file_name, bytes, PYPI_PUBLISH_V1, Value::Null)
}

/// SLSA provenance v1 of a file, as GitHub's `attest-build-provenance` words it, in agreement with the identity.
pub fn slsa_v1(file_name: &str, bytes: &[u8], identity: &Identity) -> Value {
    about(file_name, bytes, SLSA_V1, slsa_v1_predicate(identity))
}

/// The predicate of [`slsa_v1`].
pub fn slsa_v1_predicate(identity: &Identity) -> Value {
    let said = |number: u8| identity.extension(number);
    let path = workflow_path(identity);
    json!({
        "buildDefinition": {
            "buildType": "https://actions.github.io/buildtypes/workflow/v1",
            "externalParameters": {
                "workflow": {"ref": said(14), "repository": said(12), "path": path},
            },
            "internalParameters": {
                "github": {
                    "event_name": said(20),
                    "repository_id": said(15),
                    "repository_owner_id": said(17),
                    "runner_environment": said(11),
                },
            },
            "resolvedDependencies": [{
                "uri": format!("git+{}@{}", said(12), said(14)),
                "digest": {"gitCommit": said(13)},
            }],
        },
        "runDetails": {
            "builder": {"id": said(9)},
            "metadata": {"invocationId": said(21)},
        },
    })
}

/// SLSA provenance v0.2 of a file, as the SLSA generators of GitHub word it, in agreement with the identity.
pub fn slsa_v02(file_name: &str, bytes: &[u8], identity: &Identity) -> Value {
    let digest = json!({"sha256": hex::encode(Sha256::digest(bytes))});
    let predicate = slsa_v02_predicate(identity);
    of_digest(STATEMENT_V01, file_name, digest, SLSA_V02, predicate)
}

/// The predicate of [`slsa_v02`].
pub fn slsa_v02_predicate(identity: &Identity) -> Value {
    let said = |number: u8| identity.extension(number);
    let uri = format!("git+{}@{}", said(12), said(14));
    json!({
        "builder": {"id": said(9)},
        "buildType": "https://github.com/slsa-framework/slsa-github-generator/generic@v1",
        "invocation": {
            "configSource": {
                "uri": uri,
                "digest": {"sha1": said(13)},
                "entryPoint": workflow_path(identity),
            },
            "parameters": {},
            "environment": {},
        },
        "metadata": {"buildInvocationID": said(21)},
        "materials": [{"uri": uri, "digest": {"sha1": said(13)}}],
    })
}

/// What npm's command line states of a package with `--provenance`: SLSA v1 about the package's URL and SHA-512.
pub fn npm_provenance(purl: &str, tarball: &[u8], identity: &Identity) -> Value {
    let predicate = slsa_v1_predicate(identity);
    of_digest(STATEMENT_V1, purl, sha512(tarball), SLSA_V1, predicate)
}

/// What npm's registry states of a publication.
pub fn npm_publish(purl: &str, name: &str, version: &str, registry: &str, tarball: &[u8]) -> Value {
    let predicate = json!({"name": name, "version": version, "registry": registry});
    let digest = sha512(tarball);
    of_digest(STATEMENT_V01, purl, digest, NPM_PUBLISH_V01, predicate)
}

fn sha512(bytes: &[u8]) -> Value {
    json!({"sha512": hex::encode(Sha512::digest(bytes))})
}

/// `.github/workflows/release.yml` of the build configuration's URI.
fn workflow_path(identity: &Identity) -> String {
    let configuration = identity.extension(18);
    let path = configuration
        .strip_prefix(identity.extension(12))
        .unwrap_or(configuration)
        .trim_start_matches('/');
    let end = path.find('@').unwrap_or(path.len());
    path[..end].to_owned()
}
