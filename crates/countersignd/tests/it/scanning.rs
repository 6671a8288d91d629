//! The scanner as a process: fenced in before it reads a byte, and what waits for it is served by its end alone.

use std::io::{Read, Write};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use countersign_testkit::imitations;
#[cfg(feature = "yara")]
use countersign_testkit::packages::NpmPackage;
use countersign_testkit::packages::{Package, Wheel};
use countersign_testkit::server::{ServerOptions, TestServer};

use crate::machine::Desk;

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
    // Rules that break while it serves: what is published meanwhile waits, and loses nothing by it.
    let rules = server.data().join("scan-rules");
    std::fs::create_dir_all(&rules).unwrap();
    std::fs::write(rules.join("mine.toml"), "[[rule]]\nid = 'x'\n").unwrap();
    until("nobody is told of the rules", || {
        server.logs().contains("mine.toml: missing field")
    });
    let third = Wheel::new("thing", "3.0").build();
    server
        .publish(&third, &token)
        .unwrap()
        .expect_status(200)
        .unwrap();
    assert!(!listed("3.0"));
    std::fs::remove_file(rules.join("mine.toml")).unwrap();
    until("what waited is never scanned", || listed("3.0"));
    assert!(!server.logs().contains("a scan failed"));
}

/// A desk whose scanner has rules of its own.
fn desk(name: &str, rules: &str) -> Desk {
    let desk = Desk::new();
    let configuration = "[scan]\nenabled = true\nrules = \"../rules\"\n";
    desk.write("data/countersign.toml", configuration);
    desk.write(&format!("rules/{name}"), rules);
    desk
}

#[test]
fn every_imitation_is_found_in_the_fence_and_what_is_harmless_is_let_go() {
    let desk = Desk::new();
    let all = imitations::all();
    let mut files = vec!["--json".to_owned(), "scan".to_owned()];
    for (at, imitation) in all.iter().enumerate() {
        let (name, bytes) = imitation.archive();
        let path = desk.path(&format!("{at}/{name}"));
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(&path, bytes).unwrap();
        files.push(path.to_str().unwrap().to_owned());
    }
    let arguments: Vec<&str> = files.iter().map(String::as_str).collect();
    let told = desk
        .run(&arguments)
        .expect(4, &["would be withheld"])
        .json();
    for (imitation, file) in all.iter().zip(told["files"].as_array().unwrap()) {
        let found = file["findings"].as_array().unwrap();
        let found = found.iter().find(|one| one["rule"] == imitation.rule);
        assert!(
            found.is_some_and(|one| one["line"].as_u64() > Some(0)),
            "{}: {file}",
            imitation.what
        );
    }
    let good = Wheel::new("thing", "1.0").build();
    let good = good.write_to(desk.path("").as_path()).unwrap();
    desk.run(&["scan", good.to_str().unwrap()])
        .expect(0, &["  0  ", "0 would be withheld"]);
    // What can not be looked at is never good.
    let cut = desk.write("cut-1.0-py3-none-any.whl", "no zip");
    desk.run(&["scan", cut.to_str().unwrap(), good.to_str().unwrap()])
        .expect(3, &["1 of 2 files could not be looked at"]);
    let odd = desk.write("thing.exe", "");
    desk.run(&["scan", odd.to_str().unwrap()])
        .expect(2, &["its name is none of a package", ".crate"]);
}

#[test]
fn rules_that_can_not_be_used_keep_the_server_from_starting() {
    let bad = "[[rule]]\nid='x'\ntitle='t'\nwords=[['abc']]\nshape='('\n";
    let good = "[[rule]]\nid='x'\ntitle='t'\nscore=90\nwords=[['never so']]\n";
    let desk = desk("good.toml", good);
    // Where they are looked for unless the configuration says otherwise.
    desk.write("data/scan-rules/mine.toml", bad);
    let elsewhere = desk.write("elsewhere.toml", "[scan]\nenabled = true\n");
    let elsewhere = elsewhere.to_str().unwrap();
    let told = ["the rule x can not be used", "scan-rules"];
    desk.run(&["--config", elsewhere, "serve", "--listen", "127.0.0.1:0"])
        .expect(2, &told);
    assert!(!desk.data().join("countersign.db").exists());
    std::fs::remove_dir_all(desk.data().join("scan-rules")).unwrap();
    desk.run(&["init"]).expect(0, &[]);
    let told = desk.run(&["--json", "doctor"]).json();
    let checks = told["checks"].as_array().unwrap();
    let scanner = checks
        .iter()
        .find(|check| check["id"] == "scanner")
        .unwrap();
    assert_eq!(scanner["ok"], true, "{scanner}");
    assert!(
        scanner["what"].as_str().unwrap().contains("1 files in"),
        "{scanner}"
    );
}

#[cfg(not(feature = "yara"))]
#[test]
fn a_build_without_yara_refuses_its_rules_and_names_the_way_out() {
    let desk = desk("mine.yar", "rule a { condition: true }");
    let way_out = ["mine.yar: this build has no YARA", "--features yara"];
    desk.run(&["serve", "--listen", "127.0.0.1:0"])
        .expect(2, &way_out);
    let good = Wheel::new("thing", "1.0").build();
    let good = good.write_to(desk.path("").as_path()).unwrap();
    desk.run(&["scan", good.to_str().unwrap()])
        .expect(2, &way_out);
    desk.run(&["scan", "--help"])
        .expect(0, &["This build has no YARA"]);
}

#[cfg(feature = "yara")]
mod yara {
    use super::*;

    #[test]
    fn rules_of_the_operator_are_compiled_once_and_find_in_the_fence() {
        let desk = desk(
            "mine.yar",
            "rule Greets { meta: description = \"It greets\" severity = \"high\" score = 85\n\
             strings: $a = \"good morning\" nocase condition: $a and filename endswith \".py\" }\n",
        );
        desk.run(&["scan", "--help"])
            .expect(0, &["This build takes YARA rules"]);
        let package = Wheel::new("thing", "1.0")
            .file("thing/hello.py", "\n\nx = 'Good Morning'\n")
            .build();
        let path = package.write_to(desk.path("").as_path()).unwrap();
        let told = desk
            .run(&["--json", "scan", path.to_str().unwrap()])
            .expect(4, &[])
            .json();
        let found = &told["files"][0]["findings"][0];
        assert_eq!(found["rule"], "yara:mine.Greets");
        assert_eq!(found["title"], "It greets (severity high)");
        assert_eq!(
            (&found["line"], &found["offset"], &found["score"]),
            (&3.into(), &7.into(), &85.into())
        );
        assert!(found["snippet"].as_str().unwrap().contains("Good Morning"));
        desk.run(&["init"]).expect(0, &[]);
        let told = desk.run(&["--json", "doctor"]).json().to_string();
        assert!(
            told.contains("1 files in") && told.contains("with YARA"),
            "{told}"
        );
    }

    #[test]
    fn rules_that_do_not_compile_are_refused_at_start_with_their_line() {
        let desk = desk("mine.yar", "rule a {\n  condition:\n    nothing_such\n}\n");
        desk.run(&["serve", "--listen", "127.0.0.1:0"])
            .expect(2, &["mine.yar:3:5:", "nothing_such", "Mend the file"]);
    }

    #[test]
    fn a_rule_that_loops_leaves_the_file_unscanned() {
        let desk = desk(
            "loops.yar",
            "rule loops { condition: filename == \"big.js\" and for all i in (0..filesize) : ( for all j in (0..filesize) : ( uint8(i) + uint8(j) >= 0 ) ) }",
        );
        let package = NpmPackage::new("thing", "1.0.0")
            .file("big.js", "a".repeat(4 << 20))
            .build();
        let path = package.write_to(desk.path("").as_path()).unwrap();
        desk.run(&["scan", path.to_str().unwrap()]).expect(
            3,
            &["more than 10 seconds for big.js", "could not be looked at"],
        );
    }

    #[test]
    fn what_was_prepared_is_used_in_the_fence_and_nothing_else_is() {
        let mut process = worker(&["--prepare"]);
        drop(process.stdin.take());
        let output = process.wait_with_output().unwrap();
        assert!(output.status.success() && output.stdout.len() > 1_000);
        let package = evil("1.0");
        let size = output.stdout.len().to_string();
        let mut process = worker(&["--prepared", &size]);
        let mut input = process.stdin.take().unwrap();
        input.write_all(request(&package).as_bytes()).unwrap();
        input.write_all(&output.stdout).unwrap();
        input.write_all(&package.bytes).unwrap();
        drop(input);
        let (code, out, err) = ended(process);
        assert_eq!(code, Some(0), "{err}");
        assert!(out.contains("pth-runs-code"), "{out}");
        // What somebody else prepared, or nobody, is refused.
        let mut process = worker(&["--prepared", "8"]);
        let mut input = process.stdin.take().unwrap();
        input.write_all(request(&package).as_bytes()).unwrap();
        input.write_all(b"YARA-X\0\0").unwrap();
        input.write_all(&package.bytes).unwrap();
        drop(input);
        assert_eq!(ended(process).0, Some(11));
    }
}
