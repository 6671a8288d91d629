//! Audits of logs that keep their promises, and of each way to break them.

use std::collections::HashMap;
use std::fs;
use std::path::PathBuf;

use countersign_trust::digest::Sha256;
use countersign_trust::leaf::{self, Leaf, LeafKind};
use countersign_trust::map::{Replay, project_of};
use countersign_trust::tlog::{EntriesId, TileId, leaf_hash};
use serde_json::Value;

use crate::paper_log;
use crate::user::{Ran, User};

/// A user who has pinned the log that lies in a folder.
struct Auditor {
    user: User,
}

impl Auditor {
    fn new() -> Self {
        let user = User::new();
        fs::create_dir_all(user.path("home")).unwrap();
        fs::write(user.path("home/trust.toml"), paper_log::trust()).unwrap();
        Self { user }
    }

    fn write(&self, entries: impl Iterator<Item = Vec<u8>>) {
        paper_log::write(&self.user.path("log"), entries);
    }

    fn audit(&self, more: &[&str]) -> Ran {
        let arguments = [&["--json", "log", "audit", "--mirror", "log"], more].concat();
        self.user.run(&arguments)
    }

    #[track_caller]
    fn good(&self, more: &[&str]) -> Value {
        let ran = self.audit(more).expect(0, &[]);
        let said: Value = serde_json::from_str(&ran.out).unwrap();
        said["audited"].clone()
    }

    #[track_caller]
    fn bad(&self, code: &str, more: &[&str]) -> String {
        let ran = self.audit(more).expect(3, &[]);
        let said: Value = serde_json::from_str(ran.err.trim()).unwrap();
        assert_eq!(said["error"]["code"], code, "{ran:#?}");
        said["error"]["message"].as_str().unwrap().to_owned()
    }

    fn file(&self, path: &str) -> PathBuf {
        self.user.path("log").join(path)
    }
}

#[test]
fn logs_of_every_shape_hold_and_the_next_audit_reads_only_what_is_new() {
    let auditor = Auditor::new();
    let all: Vec<Vec<u8>> = paper_log::entries(65_600, 40).collect();
    let first = |size: usize| all[..size].iter().cloned();
    let mut before = 0;
    for size in [1, 2, 255, 256, 257, 300, 512, 65_535, 65_536, 65_537] {
        auditor.write(first(size));
        let said = auditor.good(&[]);
        assert_eq!(said["size"], size);
        assert_eq!(said["files"], size - 1);
        assert_eq!(said["projects"], (size - 1).min(40));
        assert_eq!(said["read_before"], before - before % 256, "{size}");
        before = size;
    }
    for threads in ["1", "3", "16"] {
        let said = auditor.good(&["--full", "--threads", threads]);
        assert_eq!(
            (&said["read_before"], &said["continues"]),
            (&0.into(), &before.into())
        );
    }
    // An older copy is no rollback; it is held against the keys, and what is remembered stays.
    auditor.write(first(300));
    let said = auditor.good(&[]);
    assert_eq!(
        (&said["size"], &said["continues"]),
        (&300.into(), &Value::Null)
    );
    auditor.write(first(65_600));
    assert_eq!(auditor.good(&[])["continues"], 65_537);
}

#[test]
fn an_audit_that_was_cut_off_goes_on_where_it_was() {
    let auditor = Auditor::new();
    auditor.write(paper_log::entries(5_000, 7));
    let gone = auditor.file(
        &EntriesId {
            index: 12,
            width: 256,
        }
        .path(),
    );
    let bundle = fs::read(&gone).unwrap();
    fs::remove_file(&gone).unwrap();
    auditor.audit(&[]).expect(5, &["can not be read"]);
    fs::write(&gone, &bundle).unwrap();
    let said = auditor.good(&[]);
    assert_eq!(
        (&said["read_before"], &said["files"]),
        (&(12 * 256).into(), &4_999.into())
    );

    // A memory that was damaged or cut is no memory.
    let folder = auditor.user.path("home/audits");
    let place = fs::read_dir(&folder)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .find(|path| {
            path.extension()
                .is_some_and(|extension| extension == "audit")
        })
        .unwrap();
    let memory = fs::read(&place).unwrap();
    let mut flipped = memory.clone();
    flipped[200] ^= 1;
    for bad in [&memory[..memory.len() - 1], &memory[..40], &[], &flipped] {
        fs::write(&place, bad).unwrap();
        assert_eq!(auditor.good(&[])["read_before"], 0);
    }
    assert_eq!(auditor.good(&[])["read_before"], 4_864);
}

#[test]
fn a_history_that_was_changed_behind_what_was_read_is_found() {
    let auditor = Auditor::new();
    auditor.write(paper_log::entries(1_000, 7));
    auditor.good(&[]);
    // The same log with another beginning, signed with its key, longer than what was seen.
    let forked = || {
        let mut all: Vec<Vec<u8>> = paper_log::entries(2_000, 7).collect();
        let leaf = Leaf::log_genesis(None, 5);
        all[0] = leaf.to_text().unwrap().into_bytes();
        all
    };
    auditor.write(forked().into_iter());
    let why = auditor.bad("forked", &[]);
    assert!(why.contains("not the continuation"), "{why}");
    // To who never saw a checkpoint, but remembers what was read, the upper tiles and the root say it, and then nothing is remembered.
    fs::remove_dir_all(auditor.user.path("home/checkpoints")).unwrap();
    auditor.bad("tile", &[]);
    assert_eq!(auditor.good(&[])["read_before"], 0);
}

#[test]
fn each_broken_promise_is_named_with_the_entry_that_breaks_it() {
    const AT: usize = 700;
    let text = |leaf: Leaf| leaf.to_text().unwrap().into_bytes();
    let parsed = |entry: &[u8]| {
        countersign_trust::leaf::parse(entry)
            .unwrap()
            .known()
            .unwrap()
    };
    type Change<'a> = &'a dyn Fn(&mut Vec<Vec<u8>>);
    let cases: [(&str, &str, Change<'_>); 9] = [
        ("two-digests", "Entry 700", &|all| {
            // The file of entry 3 again, with another digest, in its place of the chain.
            let (first, here) = (parsed(&all[3]), parsed(&all[AT]));
            let mut leaf = parsed(&all[AT]);
            leaf.subject = first.subject;
            leaf.sequence = here.sequence;
            all[AT] = text(leaf);
        }),
        (
            "chain",
            "number 101 of its project, after number 99",
            &|all| {
                let mut leaf = parsed(&all[AT]);
                leaf.sequence = leaf.sequence.map(|number| number + 1);
                all[AT] = text(leaf);
            },
        ),
        ("chain", "Entry 700", &|all| {
            let mut leaf = parsed(&all[AT]);
            leaf.previous = Some(1);
            all[AT] = text(leaf);
        }),
        ("chain", "Entry 700", &|all| {
            // A leaf that was left out: everything after it moves up.
            all.remove(AT - 6);
        }),
        ("chain", "as the one before", &|all| {
            let leaf = Leaf::about(LeafKind::Yanked, "pkg:pypi/new@1.0", 5, 2, Some(4));
            all[AT] = text(leaf);
        }),
        ("genesis", "Entry 700", &|all| all[AT] = all[0].clone()),
        ("genesis", "Entry 0", &|all| {
            let leaf = Leaf::about_registry(LeafKind::PolicyChanged, 5);
            let mut leaf = leaf;
            leaf.change = Some(countersign_trust::leaf::Change::Added);
            all[0] = text(leaf);
        }),
        ("leaf", "Entry 700", &|all| all[AT] = b"hello\n".to_vec()),
        ("leaf", "Entry 700", &|all| all[AT].push(b'\n')),
    ];
    for (code, why, change) in cases {
        let auditor = Auditor::new();
        let mut all: Vec<Vec<u8>> = paper_log::entries(1_000, 7).collect();
        change(&mut all);
        auditor.write(all.into_iter());
        for threads in ["1", "4"] {
            let said = auditor.bad(code, &["--threads", threads]);
            assert!(said.contains(why), "{code}: {said}");
        }
    }
    // Of an unknown kind is no broken promise.
    let auditor = Auditor::new();
    let mut all: Vec<Vec<u8>> = paper_log::entries(1_000, 7).collect();
    all.push(b"countersign-leaf/v1\nkind something-new\nx y\n".to_vec());
    auditor.write(all.into_iter());
    assert_eq!(auditor.good(&[])["skipped"], 1);
}

#[test]
fn files_of_the_log_that_do_not_fit_together_are_named() {
    let auditor = Auditor::new();
    auditor.write(paper_log::entries(66_000, 7));
    let flip = |path: &str, at: usize| {
        let mut bytes = fs::read(auditor.file(path)).unwrap();
        bytes[at] ^= 1;
        fs::write(auditor.file(path), bytes).unwrap();
    };
    let size = 66_000;
    for (level, index) in [(0, 0), (0, 257), (1, 0), (1, 1), (2, 0)] {
        let id = TileId::in_tree(level, index, size).unwrap();
        flip(&id.path(), 40 % id.byte_length());
        let said = auditor.bad("tile", &["--full"]);
        assert!(said.contains(&id.path()), "{said}");
        flip(&id.path(), 40 % id.byte_length());
    }
    auditor.write(paper_log::entries(600, 7));
    for (index, code) in [(0, "leaf"), (2, "tile")] {
        let id = EntriesId::in_log(index, 600).unwrap();
        let bytes = fs::read(auditor.file(&id.path())).unwrap();
        // A digit of a digest: a leaf still, but another one. Or a byte of the header.
        let at = if code == "leaf" {
            5
        } else {
            bytes.windows(7).position(|w| w == b"sha256:").unwrap() + 9
        };
        let mut bad = bytes.clone();
        bad[at] = if bad[at] == b'0' { b'1' } else { b'0' };
        fs::write(auditor.file(&id.path()), &bad).unwrap();
        // The tile is held against the bytes before they are parsed.
        auditor.bad("tile", &["--full"]);
        fs::write(auditor.file(&id.path()), &bytes[..bytes.len() - 3]).unwrap();
        auditor.bad("bundle", &["--full"]);
        fs::write(
            auditor.file(&id.path()),
            [&bytes[..], &[0, 1, b'x']].concat(),
        )
        .unwrap();
        auditor.bad("bundle", &["--full"]);
        fs::write(auditor.file(&id.path()), &bytes).unwrap();
    }
    // Partial tiles and bundles of older sizes may be gone; a full one stands for them.
    auditor.good(&["--full"]);
    auditor.write(paper_log::entries(768, 7));
    auditor.good(&["--full"]);
    let note = fs::read_to_string(auditor.file("checkpoint")).unwrap();
    fs::write(auditor.file("checkpoint"), note.replacen("768", "767", 1)).unwrap();
    auditor.bad("checkpoint", &[]);
}

/// The entries, and after each so many of them a commitment to the map that they make. `wrong` changes what is committed.
fn mapped(count: u64, every: usize, wrong: impl Fn(u64, Sha256) -> (u64, Sha256)) -> Vec<Vec<u8>> {
    let (mut all, mut chains, mut replay) = (Vec::new(), HashMap::new(), Replay::default());
    for (number, entry) in paper_log::entries(count, 7).enumerate() {
        // The commitments move the indices, so each leaf names anew where the one before stands.
        let mut leaf = leaf::parse(&entry).unwrap().known().unwrap();
        if let Some(subject) = &leaf.subject {
            let project = project_of(subject).to_owned();
            leaf.previous = chains.insert(project, all.len() as u64);
        }
        let entry = leaf.to_text().unwrap().into_bytes();
        replay.add(&leaf, &leaf_hash(&entry)).unwrap();
        all.push(entry);
        if number % every == every - 1 {
            let (covers, root) = wrong(all.len() as u64, replay.root().unwrap());
            let root = Leaf::map_root(covers, root, leaf.time);
            all.push(root.to_text().unwrap().into_bytes());
        }
    }
    all
}

#[test]
fn the_map_is_made_again_and_a_wrong_one_is_noticed() {
    let auditor = Auditor::new();
    // First no map at all, then maps after each 100 entries, the log growing under the auditor's memory.
    let all = mapped(1_000, 100, |covers, root| (covers, root));
    let newest = |size: usize| {
        let maps = all[..size].iter().rev();
        maps.filter_map(|entry| leaf::parse(entry).unwrap().known().unwrap().map)
            .next()
    };
    for size in [50, 101, 256, 300, 400, 900, all.len(), all.len()] {
        auditor.write(all[..size].iter().cloned());
        let said = auditor.good(&[]);
        match newest(size) {
            None => assert!(said["map"]["unchecked"].is_string(), "{said}"),
            Some(map) => {
                assert_eq!(said["map"]["covers"], map.covers, "{said}");
                assert_eq!(said["map"]["root"], map.root.to_hex());
            }
        }
    }
    // A root that the entries do not make: a release hidden from the map, say.
    for wrong in [
        mapped(300, 150, |covers, _| (covers, Sha256([7; 32]))),
        mapped(300, 150, |covers, root| (covers - 1, root)),
        mapped(300, 150, |covers, root| (covers + 1, root)),
    ] {
        let auditor = Auditor::new();
        auditor.write(wrong.into_iter());
        auditor.bad("map-root", &[]);
        auditor.bad("map-root", &["--full"]);
    }
}
