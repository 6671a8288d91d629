//! The same bundles and mutants held by the libraries of PyPI and npm: each verdict that is not ours has its reason.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::process::Command;

use countersign_testkit::clients::Clients;
use serde_json::json;

use super::*;

/// A folder in which another `sigstore` of npm's is installed than the one that the pinned npm brings along.
const JAVASCRIPT: &str = "COUNTERSIGN_TEST_SIGSTORE_JS";

fn script(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("src/sigstore/tests/oracles")
        .join(name)
}

/// All bundles and mutants, as the scripts read them.
fn cases(folder: &Path) -> PathBuf {
    let index = index();
    let all: Vec<_> = index
        .bundles
        .iter()
        .chain(&index.mutants)
        .map(|entry| {
            let digest = entry.digest.clone();
            json!({
                "name": entry.name,
                "bundle": vectors().join(&entry.bundle),
                "root": vectors().join(format!("trusted_root_{}.json", entry.root)),
                "digest": digest.unwrap_or_else(|| message_digest(&entry.bytes())),
                "keys": entry.key.as_ref().map(|_| vectors().join("npm_keys.json")),
            })
        })
        .collect();
    let path = folder.join("cases.json");
    std::fs::write(&path, json!(all).to_string()).unwrap();
    path
}

fn verdicts(command: &mut Command) -> BTreeMap<String, Option<String>> {
    let output = command.output().unwrap();
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{errors}");
    serde_json::from_slice(&output.stdout).unwrap()
}

/// Compares a library's verdicts with ours. `narrower` are parts of names, and of what it says where it refuses what we
/// take, with the reason; `wider` what it takes and we refuse. Each must happen.
fn compare_with(
    theirs: &BTreeMap<String, Option<String>>,
    narrower: &[(&str, &str, &str)],
    wider: &[(&str, &str)],
) {
    let index = index();
    let (mut wrong, mut same) = (Vec::new(), 0);
    let mut happened = vec![false; narrower.len() + wider.len()];
    for entry in index.bundles.iter().chain(&index.mutants) {
        let said = theirs.get(&entry.name).unwrap();
        let listed = match (entry.verify(), said) {
            (Ok(_), None) | (Err(_), Some(_)) => {
                same += 1;
                continue;
            }
            (Ok(_), Some(why)) => narrower
                .iter()
                .position(|(name, part, _)| entry.name.contains(name) && why.contains(part)),
            (Err(_), None) => wider
                .iter()
                .position(|(name, _)| entry.name.contains(name))
                .map(|at| narrower.len() + at),
        };
        match listed {
            Some(at) => happened[at] = true,
            None => wrong.push(format!("{}: {said:?}", entry.name)),
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    assert!(!happened.contains(&false), "{happened:?}");
    assert!(same > 40, "{same}");
}

/// Both libraries take the hash from the checkpoint, where it is signed, and not from beside it.
const ROOT_HASH: &str = "the copy of the root hash beside the checkpoint is not looked at";

#[test]
fn the_python_library_differs_only_where_it_knows_less_or_looks_at_less() {
    let clients = Clients::get().unwrap();
    let folder = std::env::temp_dir().join(format!("countersign-oracle-{}", std::process::id()));
    std::fs::create_dir_all(&folder).unwrap();
    let theirs = verdicts(
        clients
            .command("python")
            .arg(script("oracle.py"))
            .arg(cases(&folder)),
    );
    std::fs::remove_dir_all(&folder).unwrap();
    compare_with(
        &theirs,
        &[
            (
                "",
                "Integrated time only supported",
                "it knows no entries of the kind intoto/0.0.2",
            ),
            (
                "",
                "failed to load bundle",
                "it reads no bundles whose log has only promised (0.1), nor without any log",
            ),
            ("", "expected certificate chain", "it knows no managed keys"),
        ],
        &[(
            "rekor2-logIndex+1",
            "of two copies of the index it looks at the proven one alone",
        )],
    );
}

#[test]
fn the_javascript_library_differs_only_where_it_knows_less_or_looks_at_less() {
    let folder = match std::env::var_os(JAVASCRIPT) {
        Some(folder) => PathBuf::from(folder),
        None => countersign_testkit::node::npm_folder().unwrap(),
    };
    let cases_folder =
        std::env::temp_dir().join(format!("countersign-oracle-js-{}", std::process::id()));
    std::fs::create_dir_all(&cases_folder).unwrap();
    let theirs = verdicts(
        Command::new("node")
            .arg(script("oracle.js"))
            .arg(cases(&cases_folder))
            .arg(folder),
    );
    std::fs::remove_dir_all(&cases_folder).unwrap();
    compare_with(
        &theirs,
        &[
            (
                "rekor2",
                "digest mismatch",
                "version 4 knows no statements in hashedrekord/0.0.2",
            ),
            (
                "cosign-v3-blob",
                "signature verification failed",
                "a signature of a file needs the file, of which there is only the digest",
            ),
        ],
        &[("roothash-bitflip", ROOT_HASH)],
    );
}
