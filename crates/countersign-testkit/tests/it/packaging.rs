//! What is shipped besides the programs: units of systemd, and the Containerfile.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use countersign_testkit::clients::both_outputs;
use countersign_testkit::server;

fn packaging() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../packaging")
}

fn unit(name: &str) -> String {
    fs::read_to_string(packaging().join("systemd").join(name)).unwrap()
}

fn settings<'t>(text: &'t str, key: &str) -> Vec<&'t str> {
    text.lines()
        .filter_map(|line| line.strip_prefix(key)?.strip_prefix('='))
        .collect()
}

/// The commands of the unit and of the container, run as they stand, with their places below a folder.
#[test]
fn the_units_run_commands_that_work_on_a_registry_at_their_places() {
    let folder = tempfile::tempdir().unwrap();
    let (data, etc) = (folder.path().join("data"), folder.path().join("etc"));
    fs::create_dir(&etc).unwrap();
    fs::write(etc.join("countersign.toml"), "listen = \"127.0.0.1:0\"\n").unwrap();
    let run = |line: &str| {
        let line = line
            .replace("/var/lib/countersign", data.to_str().unwrap())
            .replace("/etc/countersign", etc.to_str().unwrap());
        let mut words = line.split_whitespace();
        assert_eq!(words.next(), Some("/usr/bin/countersignd"));
        let output = Command::new(server::program("countersignd").unwrap())
            .args(words)
            .output()
            .unwrap();
        assert!(output.status.success(), "{line}: {}", both_outputs(&output));
    };
    let serve = unit("countersignd.service");
    let [begin] = settings(&serve, "ExecStart")[..] else {
        panic!("one ExecStart")
    };
    let init = begin.strip_suffix(" serve").unwrap();
    run(&format!("{init} init"));
    for line in settings(&serve, "ExecStartPre") {
        run(line);
    }
    for line in settings(&unit("countersignd-doctor.service"), "ExecStart") {
        run(line);
    }
    let container = fs::read_to_string(packaging().join("Containerfile")).unwrap();
    assert!(
        container.contains(
            "ENTRYPOINT [\"/usr/bin/countersignd\", \"--data\", \"/var/lib/countersign\"]"
        )
    );
    assert!(container.contains("\nUSER 65532:65532\n") && container.contains("/healthz"));
}

/// As far as this machine has systemd: its own reading of the units, and its own measure of how shut in they are.
#[test]
fn systemd_finds_no_fault_in_the_units_and_little_exposure() {
    if Command::new("systemd-analyze")
        .arg("--version")
        .output()
        .is_err()
    {
        eprintln!("no systemd-analyze here");
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let program = server::program("countersignd").unwrap();
    let names = [
        "countersignd.service",
        "countersignd-doctor.service",
        "countersignd-doctor.timer",
    ];
    for name in names {
        let text = unit(name).replace("/usr/bin/countersignd", program.to_str().unwrap());
        fs::write(folder.path().join(name), text).unwrap();
    }
    let analyze = |arguments: &[&str]| {
        let output = Command::new("systemd-analyze")
            .args(arguments)
            .current_dir(folder.path())
            .output()
            .unwrap();
        (output.status.success(), both_outputs(&output))
    };
    let files: Vec<_> = names.iter().map(|name| format!("./{name}")).collect();
    let mut verify = vec!["verify", "--man=no"];
    verify.extend(files.iter().map(String::as_str));
    let (good, said) = analyze(&verify);
    assert!(
        good && !said.contains(".service:") && !said.contains(".timer:"),
        "{said}"
    );
    for file in &files[..2] {
        let (good, said) = analyze(&[
            "security",
            "--offline=true",
            "--threshold=20",
            "--no-pager",
            file,
        ]);
        assert!(good, "{said}");
    }
}
