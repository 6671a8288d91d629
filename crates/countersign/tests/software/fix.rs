//! `countersign fix` and `countersign install-check`. Tools that resolve are real, or stand-ins that say what they were asked.

use std::os::unix::fs::PermissionsExt;

use serde_json::{Value, json};

use crate::{Desk, advisory};

fn read(desk: &Desk, name: &str) -> String {
    std::fs::read_to_string(desk.folder.path().join(name)).unwrap()
}

/// A program of the user's `PATH` that is a script.
pub(crate) fn tool(desk: &Desk, name: &str, script: &str) {
    let path = desk.tools().join(name);
    std::fs::write(&path, format!("#!/bin/sh\n{script}\n")).unwrap();
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o755)).unwrap();
}

#[test]
fn requirements_are_edited_to_the_smallest_version_without_a_flaw() {
    let desk = Desk::new();
    let first = advisory(
        "P-1",
        "PyPI",
        "thing",
        &json!([{"introduced": "0"}, {"fixed": "1.1"}]),
    );
    // The mend of the first has a flaw of its own.
    let second = advisory(
        "P-2",
        "PyPI",
        "thing",
        &json!([{"introduced": "1.1"}, {"fixed": "1.3"}]),
    );
    let never = advisory("P-3", "PyPI", "lost", &json!([{"introduced": "0"}]));
    desk.write("db.json", json!([first, second]).to_string());
    let text = "# ours\nThing==1.0 ; python_version > '3'  # pinned\nother==1.0\n";
    desk.write("requirements.txt", text);
    let fix = [
        "--json",
        "fix",
        "--advisories",
        "db.json",
        "requirements.txt",
    ];
    let told = desk.json(0, &fix);
    let one = &told["fixed"][0];
    assert_eq!(one["steps"][0]["to"], "1.3");
    assert_eq!(
        one["changes"],
        json!([{"project": "thing", "before": ["1.0"], "after": ["1.3"]}])
    );
    assert_eq!(
        (&one["written"], read(&desk, "requirements.txt")),
        (&json!(false), text.to_owned())
    );
    desk.text(
        0,
        &[
            "fix",
            "--apply",
            "--advisories",
            "db.json",
            "requirements.txt",
        ],
    );
    assert_eq!(
        read(&desk, "requirements.txt"),
        "# ours\nThing==1.3 ; python_version > '3'  # pinned\nother==1.0\n"
    );
    desk.text(0, &["audit", "--advisories", "db.json", "requirements.txt"]);
    // What nobody mended is said, and fails.
    desk.write("db.json", json!([never]).to_string());
    desk.write("requirements.txt", "lost==1.0\n");
    let told = desk.json(3, &fix);
    assert_eq!(
        told["fixed"][0]["stuck"][0]["reason"],
        "no version without the flaw is known"
    );
}

#[test]
fn the_tool_resolves_in_a_copy_without_code_and_what_it_wrote_is_looked_up_again() {
    let desk = Desk::new();
    desk.write("Cargo.lock", crate::CARGO_LOCK);
    desk.write(
        "Cargo.toml",
        "[package]\nname = \"app\"\nversion = \"0.1.0\"\n",
    );
    desk.write("src/main.rs", "compile_error!(\"it is built\");\n");
    desk.write("build.rs", "compile_error!(\"it is run\");\n");
    let events = json!([{"introduced": "0.0.0-0"}, {"fixed": "1.0.2"}]);
    desk.write(
        "db.json",
        advisory("R-1", "crates.io", "inner", &events).to_string(),
    );
    // It says where it was, what it was asked, and whether there was any code; then it does as it was told.
    tool(
        &desk,
        "cargo",
        "pwd > \"$COUNTERSIGN_HOME/where\"; echo \"$@\" > \"$COUNTERSIGN_HOME/asked\"; cat src/main.rs build.rs > \"$COUNTERSIGN_HOME/code\"; sed -i 's/\"1.0.0\"/\"1.0.2\"/' Cargo.lock",
    );
    let fix = ["--json", "fix", "--advisories", "db.json"];
    let told = desk.json(0, &fix);
    assert_eq!(
        told["fixed"][0]["changes"],
        json!([{"project": "inner", "before": ["1.0.0"], "after": ["1.0.2"]}])
    );
    assert_eq!(read(&desk, "Cargo.lock"), crate::CARGO_LOCK, "shown first");
    let said = |name: &str| std::fs::read_to_string(desk.home().join(name)).unwrap();
    assert_eq!(said("asked"), "update --precise 1.0.2 inner@1.0.0\n");
    assert_eq!(said("code"), "");
    let copy = said("where");
    assert!(
        !std::path::Path::new(copy.trim()).exists(),
        "the copy is gone"
    );
    desk.text(0, &["fix", "--apply", "--advisories", "db.json"]);
    assert!(read(&desk, "Cargo.lock").contains("\"1.0.2\""));
    // A tool that refuses is told with who holds it back; nothing is written.
    desk.write("Cargo.lock", crate::CARGO_LOCK);
    tool(
        &desk,
        "cargo",
        "echo 'required by package outer: inner <1.0.1' >&2; exit 101",
    );
    let told = desk.json(3, &["--json", "fix", "--apply", "--advisories", "db.json"]);
    let reason = told["fixed"][0]["stuck"][0]["reason"].as_str().unwrap();
    assert!(
        reason.contains("inner <1.0.1") && reason.contains("asked for by outer 2.1.0"),
        "{reason}"
    );
    assert_eq!(read(&desk, "Cargo.lock"), crate::CARGO_LOCK);
    // One that does nothing does not pass for a mend.
    tool(&desk, "cargo", "exit 0");
    let told = desk.json(3, &fix);
    assert_eq!(told["fixed"][0]["left"], json!(["inner 1.0.0: R-1"]));
}

#[test]
fn an_install_is_checked_before_it_happens() {
    let desk = Desk::new();
    let events = json!([{"introduced": "0"}, {"fixed": "1.1"}]);
    desk.write(
        "db.json",
        advisory("P-1", "PyPI", "thing", &events).to_string(),
    );
    // As pip does: the report where it is asked for, else an installation.
    let pip = |version: &str| {
        format!(
            "for a in \"$@\"; do [ \"$previous\" = --report ] && report=$a; previous=$a; done\n\
             if [ -n \"$report\" ]; then echo '{{\"install\":[{{\"metadata\":{{\"name\":\"Thing\",\"version\":\"{version}\"}}}}]}}' > \"$report\"; else touch \"$COUNTERSIGN_HOME/installed\"; fi"
        )
    };
    let check = [
        "install-check",
        "--advisories",
        "db.json",
        "--",
        "pip",
        "install",
        "thing",
    ];
    let installed = || desk.home().join("installed").exists();
    tool(&desk, "pip", &pip("1.0"));
    assert!(desk.text(3, &check).contains("P-1"));
    assert!(!installed());
    let warn = [
        "install-check",
        "--warn",
        "--advisories",
        "db.json",
        "--",
        "pip",
        "install",
        "thing",
    ];
    assert!(desk.text(0, &warn).contains("P-1"));
    assert!(installed());
    std::fs::remove_file(desk.home().join("installed")).unwrap();
    tool(&desk, "pip", &pip("1.1"));
    desk.text(0, &check);
    assert!(installed());
    // A tool that can not be asked is no clean answer.
    tool(&desk, "pip", "exit 1");
    desk.text(1, &check);
    // Other commands go by the lock file, and their exit code is passed on.
    desk.write("requirements.txt", "thing==1.1\n");
    tool(&desk, "other", "exit 7");
    desk.text(
        7,
        &[
            "install-check",
            "--advisories",
            "db.json",
            "--",
            "other",
            "sync",
        ],
    );
    desk.write("requirements.txt", "thing==1.0\n");
    let check = ["--json", "install-check", "--advisories", "db.json"];
    let checked: Value = desk.json(3, &check);
    assert_eq!(checked["checked"]["lockfiles"][0]["vulnerable"], 1);
    assert!(checked["checked"]["lockfiles"][0]["findings"][0]["reach"].is_null());
}
