//! Every attack is refused with a reason, in each of the places where clients look for it, and leaves nothing.

use std::path::{Path, PathBuf};

use countersign_testkit::packages::{Sdist, Wheel, hostile};
use countersign_testkit::server::{ServerOptions, TestServer};

fn files_below(folder: &Path) -> Vec<PathBuf> {
    let Ok(entries) = std::fs::read_dir(folder) else {
        return Vec::new();
    };
    entries
        .flatten()
        .flat_map(|entry| {
            if entry.path().is_dir() {
                files_below(&entry.path())
            } else {
                vec![entry.path()]
            }
        })
        .collect()
}

#[test]
fn every_attack_is_refused_with_a_reason_and_leaves_nothing() {
    let server = TestServer::start(ServerOptions::default()).unwrap();
    let token = server.publisher("mallory").unwrap();
    let leaves = server.checked_log().unwrap().entries.len();
    let mut faults = Vec::new();
    for (attack, package) in hostile() {
        let answer = server.publish(&package, &token).unwrap();
        let mut fault = |what: String| faults.push(format!("{attack}: {what}"));
        if !matches!(answer.status, 400 | 413) {
            fault(format!(
                "answered {} {}: {:.200}",
                answer.status,
                answer.reason,
                answer.text()
            ));
            continue;
        }
        // pip and twine print the reason phrase, uv the body.
        if answer.reason.len() < 20 || answer.reason.chars().any(char::is_control) {
            fault(format!("reason phrase {:?}", answer.reason));
        }
        match answer.json() {
            Ok(body)
                if body["message"]
                    .as_str()
                    .is_some_and(|message| message.len() >= 20) => {}
            _ => fault(format!("body {:.200}", answer.text())),
        }
        if server.project(&package.project).unwrap().is_some() {
            fault("its project is there".into());
        }
        let name = package.filename.replace(['/', '\\'], "%2F");
        if name.is_ascii()
            && server
                .get(&format!("/files/{}/{name}", package.sha256()))
                .unwrap()
                .status
                == 200
        {
            fault("its file is served".into());
        }
        if files_below(&server.data())
            .iter()
            .any(|path| path.to_string_lossy().contains(&package.sha256()))
        {
            fault("its bytes are stored".into());
        }
    }
    assert!(
        faults.is_empty(),
        "{} faults:\n{}",
        faults.len(),
        faults.join("\n")
    );
    assert_eq!(server.projects().unwrap(), Vec::<String>::new());
    assert_eq!(
        server.checked_log().unwrap().entries.len(),
        leaves,
        "an attack reached the log"
    );
    assert_eq!(
        files_below(&server.data().join("spool")),
        Vec::<PathBuf>::new()
    );

    // What the attacks start from is accepted, so each was refused for its fault alone.
    for package in [
        Wheel::new("hostile-none", "1.0").build(),
        Sdist::new("hostile-none", "1.0").build(),
    ] {
        server
            .publish(&package, &token)
            .unwrap()
            .expect_status(200)
            .unwrap();
    }
    server.run(&["doctor"]).unwrap();
}
