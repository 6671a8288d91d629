//! By the kernel's own record: when a publish is acknowledged, nothing of it is only in memory.

use std::collections::{HashMap, HashSet};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, ensure};
use countersign_testkit::packages::{Package, Wheel};
use countersign_testkit::server::{ServerOptions, TestServer};
use countersign_testkit::strace::SystemCall;

/// Whether a file can be made again from the database's rows and so need not be on disk when a publish is acknowledged:
/// documents, tiles of the map, partial tiles and the copy of the checkpoint. [`what_a_power_cut_may_take_is_made_again`] holds this to
/// its word.
fn is_derived(path: &Path, data: &Path) -> bool {
    let Ok(path) = path.strip_prefix(data.join("blobs")) else {
        return false;
    };
    let part_says = |says: fn(&str) -> bool| {
        path.components()
            .any(|part| says(&part.as_os_str().to_string_lossy()))
    };
    let in_log = path.starts_with("log")
        && part_says(|part| part.ends_with(".p") || part.starts_with("checkpoint"));
    path.starts_with("documents") || path.starts_with("map") || in_log
}

/// What is not on disk for certain when the call that begins at `at` begins: files written and not synced since, and
/// folders with a new entry and not synced since. Only what stands below `data` and matters after a crash.
fn only_in_memory(calls: &[SystemCall], at: usize, data: &Path) -> Vec<String> {
    let matters = |path: &str| {
        let below = Path::new(path).strip_prefix(data).ok();
        // Uploads under way are thrown away after a crash; the shared memory index of SQLite is rebuilt.
        below.is_some_and(|path| !path.starts_with("spool"))
            && !path.ends_with("-shm")
            && !path.contains(" (deleted)")
            && !is_derived(Path::new(path), data)
    };
    let mut dirty: HashMap<String, usize> = HashMap::new();
    let mut seen: HashSet<String> = HashSet::new();
    for call in calls
        .iter()
        .filter(|call| call.finished_at < at && call.result >= 0)
    {
        let parent = |path: &str| {
            Path::new(path)
                .parent()
                .map(|parent| parent.to_string_lossy().into_owned())
        };
        match call.name.as_str() {
            "write" | "pwrite64" | "writev" | "pwritev" | "ftruncate" => {
                if let Some(path) = call.target().filter(|path| matters(path)) {
                    dirty.insert(path.to_owned(), call.finished_at);
                }
            }
            "copy_file_range" | "sendfile" | "splice" => {
                for path in quoted_or_described(&call.arguments)
                    .into_iter()
                    .filter(|path| matters(path))
                {
                    dirty.insert(path, call.finished_at);
                }
            }
            "fsync" | "fdatasync" => {
                // What was written while the sync ran is not covered by it.
                if let Some(path) = call.target()
                    && dirty
                        .get(path)
                        .is_some_and(|written| *written < call.began_at)
                {
                    dirty.remove(path);
                }
            }
            "openat" if call.arguments.contains("O_CREAT") => {
                for path in paths(call)
                    .into_iter()
                    .filter(|path| matters(path) && seen.insert(path.clone()))
                {
                    dirty.extend(parent(&path).map(|folder| (folder, call.finished_at)));
                }
            }
            "rename" | "renameat" | "renameat2" | "link" | "linkat" => {
                let named = paths(call);
                let (Some(from), Some(to)) = (named.first(), named.last()) else {
                    continue;
                };
                if let Some(written) = dirty.remove(from) {
                    dirty.insert(to.clone(), written);
                }
                if matters(to) {
                    dirty.extend(parent(to).map(|folder| (folder, call.finished_at)));
                }
            }
            "mkdir" | "mkdirat" => {
                for path in paths(call).into_iter().filter(|path| matters(path)) {
                    dirty.extend(parent(&path).map(|folder| (folder, call.finished_at)));
                }
            }
            "unlink" | "unlinkat" => {
                for path in paths(call) {
                    dirty.remove(&path);
                }
            }
            _ => {}
        }
    }
    let mut left: Vec<String> = dirty.into_keys().collect();
    left.sort();
    left
}

/// The paths in quotes, made absolute by the folder descriptor before them.
fn paths(call: &SystemCall) -> Vec<String> {
    let mut found = Vec::new();
    let mut parts = call.arguments.split('"');
    let mut base = parts.next().unwrap_or_default();
    while let (Some(path), Some(after)) = (parts.next(), parts.next()) {
        let folder = base
            .rsplit_once('<')
            .and_then(|(_, rest)| rest.split('>').next())
            .unwrap_or_default();
        found.push(Path::new(folder).join(path).to_string_lossy().into_owned());
        base = after;
    }
    found
}

fn quoted_or_described(arguments: &str) -> Vec<String> {
    arguments
        .split('<')
        .skip(1)
        .filter_map(|part| part.split('>').next())
        .map(str::to_owned)
        .collect()
}

#[test]
fn every_sync_of_a_publish_precedes_its_acknowledgement() {
    let options = ServerOptions {
        record_system_calls: true,
        ..ServerOptions::default()
    };
    let mut server = TestServer::start(options).unwrap();
    let token = server.publisher("ada").unwrap();
    let data = server.data().canonicalize().unwrap();
    // Small ones are held in memory until they are stored, large ones in the spool.
    let mut packages: Vec<Package> = (0..5)
        .map(|number| {
            let text = "x".repeat(50_000);
            Wheel::new("durable", &format!("1.{number}"))
                .file("durable/data.txt", text)
                .build()
        })
        .collect();
    packages.push(crate::large("durable", 5, 12_000_000));
    for package in &packages {
        server
            .publish(package, &token)
            .unwrap()
            .expect_status(200)
            .unwrap();
    }
    server.stop().unwrap();
    let calls = server.system_calls().unwrap();
    let acknowledged: Vec<&SystemCall> = calls
        .iter()
        .filter(|call| {
            call.arguments.contains("\"HTTP/1.1 200")
                && call.target().is_some_and(|to| to.starts_with("TCP"))
        })
        .collect();
    assert_eq!(
        acknowledged.len(),
        packages.len(),
        "each publish is answered once"
    );
    let mut before = 0;
    for (package, answer) in packages.iter().zip(&acknowledged) {
        let left = only_in_memory(&calls, answer.began_at, &data);
        assert!(
            left.is_empty(),
            "{} was acknowledged while this was not on disk: {left:?}",
            package.filename
        );
        // The rule above is empty if nothing is written, so say what must have been synced in between.
        let synced: HashSet<&str> = calls
            .iter()
            .filter(|call| {
                call.is_sync() && call.began_at > before && call.finished_at < answer.began_at
            })
            .filter_map(SystemCall::target)
            .collect();
        assert!(
            synced.iter().any(|path| path.ends_with("-wal")),
            "no sync of the write-ahead log: {synced:?}"
        );
        let blobs = data.join("blobs");
        let blob = synced
            .iter()
            .filter(|path| Path::new(path).starts_with(&blobs));
        assert!(
            blob.count() >= 2,
            "file and folder of the blob were not synced: {synced:?}"
        );
        before = answer.finished_at;
    }
}

/// Every file below a folder for which `wanted` holds.
fn files_below(folder: &Path, wanted: &dyn Fn(&Path) -> bool) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(folder)
        .into_iter()
        .flatten()
        .flatten()
        .map(|entry| entry.path());
    entries
        .flat_map(|path| {
            if path.is_dir() {
                files_below(&path, wanted)
            } else {
                vec![path]
            }
        })
        .filter(|path| wanted(path))
        .collect()
}

/// What a power cut makes of files that were written and not synced.
#[derive(Debug, Clone, Copy)]
enum Damage {
    Missing,
    Empty,
    Zeros,
}

fn damage(path: &Path, damage: Damage) {
    match damage {
        Damage::Missing => std::fs::remove_file(path).unwrap(),
        Damage::Empty => std::fs::write(path, "").unwrap(),
        Damage::Zeros => {
            let length = usize::try_from(std::fs::metadata(path).unwrap().len()).unwrap();
            std::fs::write(path, vec![0; length]).unwrap();
        }
    }
}

/// Publishes, damages the derived files whose path contains `part`, and says what a client then sees that is not as
/// before.
fn after_power_cut(part: &str, kind: Damage) -> Result<()> {
    let mut server = TestServer::start(ServerOptions::default())?;
    let token = server.publisher("ada")?;
    let packages: Vec<Package> = (0..3)
        .map(|number| Wheel::new("derived", &format!("1.{number}")).build())
        .collect();
    for package in &packages {
        server.publish(package, &token)?.expect_status(200)?;
    }
    let paths = [
        "/pypi/simple/derived/",
        "/pypi/simple/",
        "/log/1/checkpoint",
        "/pypi/derived/json",
    ];
    let bodies = |server: &TestServer| -> Result<Vec<Vec<u8>>> {
        paths
            .iter()
            .map(|path| Ok(server.get(path)?.expect_status(200).context(*path)?.body))
            .collect()
    };
    server.rest()?;
    let before = bodies(&server)?;
    server.kill()?;
    let data = server.data();
    let derived = files_below(&data.join("blobs"), &|path| {
        is_derived(path, &data) && path.to_string_lossy().contains(part)
    });
    ensure!(!derived.is_empty(), "no file is {part}");
    derived.iter().for_each(|path| damage(path, kind));
    server.serve()?;
    for (path, (now, before)) in paths.iter().zip(bodies(&server)?.iter().zip(&before)) {
        ensure!(
            now == before,
            "{path} changed: {:.100}",
            String::from_utf8_lossy(now)
        );
    }
    let log = server.checked_log()?;
    for package in &packages {
        let proof = format!(
            "/files/{}/{}.tlog-proof",
            package.sha256(),
            package.filename
        );
        log.check_proof(&server.get(&proof)?.expect_status(200)?.text())?;
    }
    // Documents are rendered again for whoever asks, and stored again when the project next changes; until then
    // `doctor` names those that are missing.
    let next = Wheel::new("derived", "2.0").build();
    server.publish(&next, &token)?.expect_status(200)?;
    server.rest()?;
    server
        .get("/api/v1/log/completeness/pypi/derived")?
        .expect_status(200)?;
    server.run(&["doctor"]).map(drop)
}

#[test]
fn what_a_power_cut_may_take_is_made_again() {
    let mut faults = Vec::new();
    for part in ["/documents/", "/map/", ".p/", "/checkpoint", ""] {
        for kind in [Damage::Missing, Damage::Empty, Damage::Zeros] {
            if let Err(fault) = after_power_cut(part, kind) {
                let text: String = format!("{fault:#}")
                    .lines()
                    .filter(|line| !line.contains("\"INFO\""))
                    .collect();
                faults.push(format!("{part:?} {kind:?}: {text}"));
            }
        }
    }
    assert!(
        faults.is_empty(),
        "{} faults:\n{}",
        faults.len(),
        faults.join("\n")
    );
}

/// Each system call by which the server writes fails, at each place of a publish where it is made. The publish is
/// acknowledged or refused in words; what was acknowledged is kept, what was refused can be sent again at once, and
/// nothing is half done, now and after a SIGKILL.
#[test]
fn every_system_call_of_the_writer_may_fail() {
    let mut server = TestServer::start(ServerOptions::default()).unwrap();
    let token = server.publisher("ada").unwrap();
    // `write` is left to the test with a full disk: here it would cut off answers and wake-ups, not files.
    let calls = [
        ("pwrite64", "EIO"),
        ("pwrite64", "ENOSPC"),
        ("fsync", "EIO"),
        ("fdatasync", "EIO"),
        ("openat", "EMFILE"),
        ("rename", "EIO"),
        ("linkat", "EIO"),
        ("mkdir", "ENOSPC"),
        ("unlink", "EIO"),
        ("ftruncate", "EIO"),
    ];
    let (mut published, mut refused) = (Vec::new(), Vec::new());
    for (call, error) in calls {
        for when in ["1", "2", "3", "5", "8", "1+"] {
            let number = published.len();
            let package = Wheel::new("faulty", &format!("1.{number}")).build();
            let fault = format!("{call}:error={error}:when={when}");
            let faults = server.with_faults(&fault).unwrap();
            let answer = server.publish(&package, &token);
            drop(faults);
            assert!(server.is_running(), "{fault} ended the server");
            // Without descriptors there may be no connection at all.
            let said =
                answer.map_or_else(|error| (0, error.to_string()), |it| (it.status, it.text()));
            if said.0 != 200 {
                assert!(
                    matches!(said.0, 0 | 500 | 503) && !said.1.is_empty(),
                    "{fault}: {said:?}"
                );
                refused.push(fault.clone());
            }
            let again = server.publish(&package, &token).unwrap();
            assert_eq!(again.status, 200, "after {fault}: {}", again.text());
            published.push(package);
        }
    }
    for call in ["pwrite64", "fsync", "openat"] {
        let met = refused.iter().any(|fault| fault.starts_with(call));
        assert!(met, "no publish met a fault of {call}: {refused:?}");
    }
    server.run(&["doctor"]).unwrap();
    server.kill().unwrap();
    server.serve().unwrap();
    server.run(&["doctor"]).unwrap();
    let log = server.checked_log().unwrap();
    let document = server.project("faulty").unwrap().unwrap();
    for package in &published {
        let listed = document["files"].as_array().unwrap().iter();
        let listed: Vec<_> = listed
            .filter(|file| file["filename"] == package.filename.as_str())
            .collect();
        assert_eq!(listed.len(), 1, "{}", package.filename);
        let path = format!("/files/{}/{}", package.sha256(), package.filename);
        let body = server.get(&path).unwrap().expect_status(200).unwrap().body;
        assert_eq!(body, package.bytes);
        let proof = server.get(&format!("{path}.tlog-proof")).unwrap();
        log.check_proof(&proof.expect_status(200).unwrap().text())
            .unwrap();
    }
}
