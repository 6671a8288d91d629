//! This registry held against the Principles, with canaries on a staging copy.

use crate::machine::Desk;

/// What canaries show of a registry that scans, and is otherwise set up by default.
const SHOWN: &[&str] = &[
    "AN1.1", "AN1.2", "AN1.3", "AN1.4", "AN1.5", "AN2.1", "AN2.2", "AN2.3", "AN2.4a", "AN2.4b",
    "AN3.1", "AN3.3a", "AZ1.1", "AZ1.2", "AZ2.1", "AZ3.1", "AZ3.2b", "GC1.2", "GC2.1a", "GC2.1b",
    "GC2.2a", "GC2.2c", "GC2.3", "GC2.4", "GC3.2", "GC3.3",
];

/// What only an operator can attest.
const UNKNOWN: &[&str] = &["AN3.3b", "GC1.1b", "AZ3.2a", "GC3.1"];

#[test]
fn canaries_show_what_a_fresh_registry_does_and_nothing_is_taken_from_the_operator_unsaid() {
    let desk = Desk::new();
    desk.run(&["init"]).expect(0, &[]);
    let with_scanner = desk.write("with-scanner.toml", "[scan]\nenabled = true\n");
    let config = with_scanner.to_str().unwrap();
    let made = desk
        .run(&["--json", "--config", config, "assess", "--store"])
        .expect(0, &[])
        .json();
    let checks = made["checks"].as_array().unwrap();
    assert_eq!(checks.len(), 39);
    let check = |id: &str| checks.iter().find(|check| check["id"] == id).unwrap();
    for id in SHOWN {
        let check = check(id);
        assert_eq!(check["result"], "pass", "{check:#}");
        assert!(!check["evidence"].as_array().unwrap().is_empty(), "{id}");
    }
    for id in UNKNOWN {
        assert_eq!(check(id)["result"], "unknown", "{id}");
    }
    assert!(made["tracks"]["AN"]["level"].is_number());
    // The run is kept, for /assessment.
    let mut kept: Vec<_> = std::fs::read_dir(desk.data().join("assessments"))
        .unwrap()
        .map(|file| file.unwrap().path())
        .collect();
    assert_eq!(kept.len(), 1);
    let kept: serde_json::Value =
        serde_json::from_slice(&std::fs::read(kept.remove(0)).unwrap()).unwrap();
    assert_eq!(kept, made);
    // Nothing of the canaries is left in the registry itself.
    let users = desk
        .run(&["--json", "admin", "user", "list"])
        .expect(0, &[]);
    assert!(
        !users.out.contains("canary") && !users.out.contains("ann-"),
        "{}",
        users.out
    );
}
