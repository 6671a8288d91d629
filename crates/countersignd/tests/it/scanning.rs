//! The scanner as a process: fenced in before it reads a byte, and what waits for it is served by its end alone.

use std::io::{Read, Write};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use countersign_testkit::packages::{Package, Wheel};
use countersign_testkit::server::{ServerOptions, TestServer};

fn evil(version: &str) -> Package {
    Wheel::new("thing", version)
        .file(
            "thing_init.pth",
            "import os, subprocess; subprocess.Popen(['true'])\n",
        )
        .build()
}

fn worker(arguments: &[&str]) -> Child {
    Command::new(env!("CARGO_BIN_EXE_countersignd"))
        .arg("scan-worker")
        .args(arguments)
        .env_clear()
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap()
}

fn request(package: &Package) -> String {
    format!(
        "{{\"ecosystem\":\"pypi\",\"filename\":{:?},\"size\":{},\"previous\":null,\"max_unpacked\":536870912}}\n",
        package.filename,
        package.bytes.len()
    )
}

/// Waits for a condition of another process.
fn until(what: &str, mut holds: impl FnMut() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(60);
    while !holds() {
        assert!(Instant::now() < deadline, "{what}");
        std::thread::sleep(Duration::from_millis(20));
    }
}

fn ended(worker: Child) -> (Option<i32>, String, String) {
    let output = worker.wait_with_output().unwrap();
    (
        output.status.code(),
        String::from_utf8(output.stdout).unwrap(),
        String::from_utf8(output.stderr).unwrap(),
    )
}

#[test]
fn the_worker_is_fenced_in_before_it_reads_and_finds_what_it_is_for() {
    let package = evil("1.0");
    let mut process = worker(&[]);
    let status = format!("/proc/{}/status", process.id());
    until("the worker is not fenced in", || {
        std::fs::read_to_string(&status)
            .is_ok_and(|text| text.contains("Seccomp:\t2") && text.contains("NoNewPrivs:\t1"))
    });
    let limits = std::fs::read_to_string(format!("/proc/{}/limits", process.id())).unwrap();
    let bounded = |name: &str, most: &str| {
        let line = limits.lines().find(|line| line.starts_with(name)).unwrap();
        assert!(line.contains(most), "{line}");
    };
    bounded("Max address space", "2147483648");
    bounded("Max file size", " 0 ");
    let mut input = process.stdin.take().unwrap();
    input.write_all(request(&package).as_bytes()).unwrap();
    input.write_all(&package.bytes).unwrap();
    drop(input);
    let (code, out, err) = ended(process);
    assert_eq!(code, Some(0), "{err}");
    let outcome: serde_json::Value = serde_json::from_str(&out).unwrap();
    let rules: Vec<&str> = outcome["findings"]
        .as_array()
        .unwrap()
        .iter()
        .map(|finding| finding["rule"].as_str().unwrap())
        .collect();
    assert!(rules.contains(&"pth-runs-code"), "{out}");
}

#[test]
fn a_worker_says_what_is_wrong_and_nothing_of_a_file_that_was_cut_off() {
    let package = evil("1.0");
    // Starved in mid-file.
    let mut process = worker(&[]);
    let mut input = process.stdin.take().unwrap();
    input.write_all(request(&package).as_bytes()).unwrap();
    input
        .write_all(&package.bytes[..package.bytes.len() / 2])
        .unwrap();
    drop(input);
    let (code, out, _) = ended(process);
    assert_eq!((code, out.as_str()), (Some(12), ""));
    // Killed in mid-file.
    let mut process = worker(&[]);
    let mut input = process.stdin.take().unwrap();
    input.write_all(request(&package).as_bytes()).unwrap();
    input.write_all(&package.bytes[..10]).unwrap();
    process.kill().unwrap();
    drop(input);
    let (code, out, _) = ended(process);
    assert_eq!((code, out.as_str()), (None, ""));
    // Rules that can not be used: no file is read with half of them.
    let folder = tempfile::tempdir().unwrap();
    let rules = folder.path().join("bad.toml");
    std::fs::write(
        &rules,
        "[[rule]]\nid='x'\ntitle='t'\nwords=[['abc']]\nshape='('\n",
    )
    .unwrap();
    let mut process = worker(&["--rules", rules.to_str().unwrap()]);
    drop(process.stdin.take());
    let mut err = String::new();
    process
        .stderr
        .take()
        .unwrap()
        .read_to_string(&mut err)
        .unwrap();
    assert_eq!(process.wait().unwrap().code(), Some(11));
    assert!(err.contains("the rule x can not be used"), "{err}");
    // No archive at all.
    let mut process = worker(&[]);
    let mut input = process.stdin.take().unwrap();
    let not = Package {
        bytes: b"not a wheel".to_vec(),
        ..package
    };
    input.write_all(request(&not).as_bytes()).unwrap();
    input.write_all(&not.bytes).unwrap();
    drop(input);
    assert_eq!(ended(process).0, Some(13));
}

#[test]
fn a_server_serves_what_waits_once_it_was_scanned_and_holds_what_is_bad() {
    let options = ServerOptions {
        configuration: "[scan]\nenabled = true\nwait = \"always\"\n".to_owned(),
        ..ServerOptions::default()
    };
    let server = TestServer::start(options).unwrap();
    let token = server.publisher("ada").unwrap();
    let (good, bad) = (Wheel::new("thing", "1.0").build(), evil("2.0"));
    for package in [&good, &bad] {
        server
            .publish(package, &token)
            .unwrap()
            .expect_status(200)
            .unwrap();
    }
    let listed = |version: &str| {
        let index = server.project("thing").unwrap().unwrap();
        index["files"]
            .to_string()
            .contains(&format!("thing-{version}"))
    };
    until("what is good is never served", || listed("1.0"));
    let findings = || server.run(&["admin", "scan", "findings"]).unwrap();
    until("nothing is found", || {
        String::from_utf8(findings().stdout)
            .unwrap()
            .contains("pth-runs-code")
    });
    assert!(!listed("2.0"));
    let cases = server.run(&["admin", "quarantine", "list"]).unwrap();
    assert!(
        String::from_utf8(cases.stdout)
            .unwrap()
            .contains("pkg:pypi/thing@2.0")
    );
}
