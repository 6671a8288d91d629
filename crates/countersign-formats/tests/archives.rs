//! Hostile and honest archives against the strict readers.
#![allow(clippy::unwrap_used)]

mod build;

use std::{fs, io::Cursor, path::Path, process::Command};

use build::{Entry, crc, gzip, tar_file, tar_gz, tar_header, verdict, zip};
use countersign_formats::{
    Limits, Rejection,
    archive::{Summary, read_member, tar, zip as reader},
};
use proptest::prelude::*;

const VECTORS: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../../shared/vectors/zip");
const TOOLS: &str = concat!(
    env!("CARGO_MANIFEST_DIR"),
    "/../../../shared/tools/archives"
);

fn check_zip(bytes: &[u8], limits: &Limits) -> Result<Summary, Rejection> {
    check_zip_with(bytes, limits, reader::Rules::default())
}

fn check_zip_with(
    bytes: &[u8],
    limits: &Limits,
    rules: reader::Rules,
) -> Result<Summary, Rejection> {
    reader::check(
        &mut Cursor::new(bytes),
        bytes.len() as u64,
        limits,
        rules,
        &mut |_, _| Ok(()),
    )
}

fn check_tar(bytes: &[u8], rules: tar::Rules) -> Result<Summary, Rejection> {
    tar::check(
        &mut Cursor::new(bytes),
        bytes.len() as u64,
        &Limits::default(),
        rules,
        &mut |_, _| Ok(()),
    )
}

fn files(folder: &Path) -> Vec<(String, Vec<u8>)> {
    let mut files: Vec<_> = fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .map(|path| {
            (
                path.file_name().unwrap().to_str().unwrap().to_owned(),
                fs::read(&path).unwrap(),
            )
        })
        .collect();
    files.sort();
    assert!(!files.is_empty());
    files
}

#[test]
fn all_zip_vectors_to_reject_are_refused() {
    for (name, bytes) in files(&Path::new(VECTORS).join("reject")) {
        for rules in [
            reader::Rules {
                data_descriptors: false,
            },
            reader::Rules {
                data_descriptors: true,
            },
        ] {
            let honest_descriptor = rules.data_descriptors
                && name.starts_with("data_descriptor")
                && !name.contains("bad");
            let result = check_zip_with(&bytes, &Limits::default(), rules);
            assert!(result.is_err() || honest_descriptor, "{name}");
        }
    }
}

#[test]
fn zip_vectors_to_accept_are_accepted_but_for_comment_and_lying_sizes() {
    // A comment can hide a second end record; sizes that lie are read differently by two readers.
    let stricter = ["comment.zip", "short_usize.zip", "short_usize_zip64.zip"];
    for (name, bytes) in files(&Path::new(VECTORS).join("accept")) {
        let result = check_zip(&bytes, &Limits::default());
        assert_eq!(
            result.is_err(),
            stricter.contains(&name.as_str()),
            "{name}: {result:?}"
        );
    }
}

#[test]
fn a_plain_zip_is_accepted_and_its_members_can_be_read() {
    let bytes = zip(&[
        Entry::new("a/", ""),
        Entry::new("a/b.txt", "hello"),
        Entry::new("a/stored", "xyz").with(|entry| entry.deflate = false),
        Entry::new("a/\u{fc}", "u"),
    ]);
    let mut seen = Vec::new();
    let summary = reader::check(
        &mut Cursor::new(&bytes),
        bytes.len() as u64,
        &Limits::default(),
        reader::Rules::default(),
        &mut |member, data| {
            seen.push((member.path.to_owned(), read_member(member, data, 100)?));
            Ok(())
        },
    )
    .unwrap();
    assert_eq!((summary.members, summary.unpacked), (4, 9));
    assert_eq!(seen[1], ("a/b.txt".to_owned(), b"hello".to_vec()));
    assert_eq!(seen[3].0, "a/\u{fc}");
}

#[test]
fn hostile_zips_are_refused_each_for_its_reason() {
    let plain = || Entry::new("p/a.txt", "hello hello hello hello");
    let honest = zip(&[plain()]);
    let end = honest.len() - 22;
    let changed = |at: usize, bytes: &[u8]| {
        let mut copy = honest.clone();
        copy[at..at + bytes.len()].copy_from_slice(bytes);
        copy
    };
    let named = |name: &[u8]| zip(&[Entry::new(name, "x")]);
    let unicode_path = {
        let mut extra = vec![0x75, 0x70, 10, 0, 1];
        extra.extend(crc(b"p/a.txt").to_le_bytes());
        extra.extend(b"p/evl");
        zip(&[plain().with(|entry| entry.central_extra = extra.clone())])
    };
    let zip64 = |size: u64, packed: u64| {
        let mut extra = vec![1, 0, 16, 0];
        extra.extend(size.to_le_bytes());
        extra.extend(packed.to_le_bytes());
        zip(&[Entry::new("p/a", "abc").with(|entry| {
            entry.deflate = false;
            entry.local_extra = extra.clone();
        })])
    };
    let long_part = format!("p/{}", "a".repeat(256));
    let long_path = "p/".repeat(600) + "a";
    let cases: Vec<(&str, Vec<u8>, &str)> = vec![
        ("honest", honest.clone(), "accepted"),
        ("empty file", Vec::new(), "archive-not-zip"),
        (
            "prefix",
            [b"#!/bin/sh\n", honest.as_slice()].concat(),
            "archive-layout",
        ),
        (
            "suffix",
            [honest.as_slice(), b"x"].concat(),
            "archive-not-zip",
        ),
        (
            "comment",
            {
                let mut copy = changed(end + 20, &[1, 0]);
                copy.push(b'c');
                copy
            },
            "archive-not-zip",
        ),
        (
            "two ends",
            [honest.as_slice(), &honest[end..]].concat(),
            "archive-layout",
        ),
        ("two disks", changed(end + 4, &[1, 0]), "archive-layout"),
        (
            "count too high",
            changed(end + 8, &[2, 0, 2, 0]),
            "archive-layout",
        ),
        (
            "count too low",
            changed(end + 8, &[0, 0, 0, 0]),
            "archive-layout",
        ),
        (
            "duplicate",
            zip(&[plain(), plain()]),
            "archive-duplicate-member",
        ),
        (
            "case duplicate",
            zip(&[plain(), Entry::new("p/A.TXT", "x")]),
            "archive-name-collision",
        ),
        (
            "directory case duplicate",
            zip(&[plain(), Entry::new("P/b", "x")]),
            "archive-name-collision",
        ),
        (
            "unicode form duplicate",
            zip(&[Entry::new("p/\u{e9}", "x"), Entry::new("p/e\u{301}", "y")]),
            "archive-name-collision",
        ),
        (
            "file and directory",
            zip(&[plain(), Entry::new("p/a.txt/b", "x")]),
            "archive-name-collision",
        ),
        (
            "file and explicit directory",
            zip(&[plain(), Entry::new("p/a.txt/", "")]),
            "archive-name-collision",
        ),
        (
            "only central",
            zip(&[
                plain(),
                Entry::new("p/b", "").with(|entry| entry.offset = Some(0)),
            ]),
            "archive-layout",
        ),
        (
            "only local",
            zip(&[
                plain().with(|entry| entry.no_central = true),
                Entry::new("p/b", "x"),
            ]),
            "archive-layout",
        ),
        (
            "gap",
            zip(&[
                plain(),
                Entry::new("p/b", "x").with(|entry| entry.gap = b"hidden".to_vec()),
            ]),
            "archive-layout",
        ),
        (
            "overlap",
            zip(&[
                plain(),
                plain().with(|entry| {
                    entry.name = b"p/b".to_vec();
                    entry.offset = Some(0);
                }),
            ]),
            "archive-layout",
        ),
        (
            "local name differs",
            zip(&[plain().with(|entry| entry.local_name = Some(b"p/b.txt".to_vec()))]),
            "archive-header-mismatch",
        ),
        (
            "local checksum differs",
            zip(&[plain().with(|entry| entry.local_crc = Some(1))]),
            "archive-header-mismatch",
        ),
        (
            "wrong checksum",
            zip(&[plain().with(|entry| entry.crc = Some(1))]),
            "archive-corrupt",
        ),
        (
            "size too small",
            zip(&[plain().with(|entry| entry.size = Some(3))]),
            "archive-corrupt",
        ),
        (
            "size too large",
            zip(&[plain().with(|entry| entry.size = Some(99))]),
            "archive-corrupt",
        ),
        (
            "bytes after deflate",
            zip(&[plain().with(|entry| entry.packed_tail = b"zz".to_vec())]),
            "archive-corrupt",
        ),
        (
            "deflate without end",
            zip(&[plain().with(|entry| entry.packed_cut = 1)]),
            "archive-truncated",
        ),
        (
            "stored with two sizes",
            zip(&[plain().with(|entry| {
                entry.deflate = false;
                entry.size = Some(3);
            })]),
            "archive-layout",
        ),
        (
            "lzma",
            zip(&[plain().with(|entry| entry.method = Some(14))]),
            "archive-compression",
        ),
        (
            "deflate64",
            zip(&[plain().with(|entry| entry.method = Some(9))]),
            "archive-compression",
        ),
        (
            "encrypted",
            zip(&[plain().with(|entry| entry.flags = 1)]),
            "archive-flags",
        ),
        (
            "masked headers",
            zip(&[plain().with(|entry| entry.flags = 0x2000)]),
            "archive-flags",
        ),
        (
            "data descriptor",
            zip(&[plain().with(|entry| entry.flags = 8)]),
            "archive-data-descriptor",
        ),
        (
            "symlink",
            zip(&[plain().with(|entry| entry.mode = 0o120_777)]),
            "archive-member-type",
        ),
        (
            "device",
            zip(&[plain().with(|entry| entry.mode = 0o060_644)]),
            "archive-member-type",
        ),
        (
            "directory mode on a file",
            zip(&[plain().with(|entry| entry.mode = 0o040_755)]),
            "archive-member-type",
        ),
        (
            "setuid",
            zip(&[plain().with(|entry| entry.mode = 0o104_755)]),
            "archive-member-mode",
        ),
        (
            "directory with data",
            zip(&[Entry::new("p/", "x").with(|entry| entry.deflate = false)]),
            "archive-layout",
        ),
        (
            "non-ASCII without flag",
            zip(&[Entry::new("p/\u{e9}", "x").with(|entry| entry.flags = 0)]),
            "archive-member-name",
        ),
        ("other unicode path", unicode_path, "archive-layout"),
        ("redundant agreeing zip64", zip64(3, 3), "accepted"),
        ("redundant lying zip64", zip64(3, 4), "archive-layout"),
        (
            "cut extra",
            zip(&[plain().with(|entry| entry.central_extra = vec![1, 0, 8])]),
            "archive-layout",
        ),
        (
            "overrunning extra",
            zip(&[plain().with(|entry| entry.local_extra = vec![9, 9, 8, 0])]),
            "archive-layout",
        ),
        (
            "twice the same extra",
            zip(&[plain().with(|entry| entry.central_extra = vec![9, 9, 0, 0, 9, 9, 0, 0])]),
            "archive-layout",
        ),
        ("not UTF-8", named(b"p/\xff"), "archive-member-name"),
        ("absolute", named(b"/etc/passwd"), "archive-member-name"),
        ("parent", named(b"p/../../x"), "archive-member-name"),
        ("dot", named(b"p/./x"), "archive-member-name"),
        ("empty part", named(b"p//x"), "archive-member-name"),
        ("empty", named(b""), "archive-member-name"),
        ("drive", named(b"C:x"), "archive-member-name"),
        ("UNC", named(b"\\\\host\\x"), "archive-member-name"),
        ("backslash", named(b"p\\x"), "archive-member-name"),
        ("NUL", named(b"p/a\0b"), "archive-member-name"),
        ("escape", named(b"p/a\x1b[2J"), "archive-member-name"),
        (
            "bidi",
            named("p/a\u{202e}txt.exe".as_bytes()),
            "archive-member-name",
        ),
        ("reserved", named(b"p/AUX.py"), "archive-member-name"),
        ("trailing dot", named(b"p/a."), "archive-member-name"),
        (
            "long part",
            named(long_part.as_bytes()),
            "archive-member-name",
        ),
        (
            "long path",
            named(long_path.as_bytes()),
            "archive-member-name",
        ),
    ];
    for (name, bytes, expected) in cases {
        let result = check_zip(&bytes, &Limits::default());
        assert_eq!(verdict(&result), expected, "{name}: {result:?}");
    }
}

#[test]
fn any_cut_of_a_zip_is_refused() {
    let bytes = zip(&[
        Entry::new("p/a", "hello hello hello"),
        Entry::new("p/b", "x"),
    ]);
    for end in 0..bytes.len() {
        assert!(
            check_zip(&bytes[..end], &Limits::default()).is_err(),
            "{end}"
        );
    }
}

#[test]
fn streamed_zips_pass_only_where_data_descriptors_are_allowed_and_agree() {
    let data = b"hello";
    let mut bytes = zip(&[Entry::new("p/a", *data).with(|entry| {
        entry.deflate = false;
        entry.flags = 8;
    })]);
    let mut descriptor = b"PK\x07\x08".to_vec();
    descriptor.extend(crc(data).to_le_bytes());
    descriptor.extend([5, 0, 0, 0, 5, 0, 0, 0]);
    let at = 30 + 3 + 5;
    let tail = bytes.split_off(at);
    bytes.extend(&descriptor);
    bytes.extend(&tail);
    let end = bytes.len() - 6;
    let offset = (at + 16) as u32;
    bytes[end..end + 4].copy_from_slice(&offset.to_le_bytes());
    let allowed = reader::Rules {
        data_descriptors: true,
    };
    let limits = Limits::default();
    assert_eq!(
        verdict(&check_zip(&bytes, &limits)),
        "archive-data-descriptor"
    );
    assert_eq!(
        verdict(&check_zip_with(&bytes, &limits, allowed)),
        "accepted"
    );
    bytes[at + 8] = 6;
    assert_eq!(
        verdict(&check_zip_with(&bytes, &limits, allowed)),
        "archive-header-mismatch"
    );
}

#[test]
fn zip_bombs_are_refused_while_they_expand() {
    let zeros = vec![0; 80 << 20];
    let bomb = zip(&[Entry::new("p/zeros", zeros)]);
    assert_eq!(
        verdict(&check_zip(&bomb, &Limits::default())),
        "archive-ratio"
    );
    let small = Limits {
        max_unpacked: 1 << 20,
        ..Limits::default()
    };
    assert_eq!(verdict(&check_zip(&bomb, &small)), "archive-too-large");
}

#[test]
fn zips_with_too_many_members_are_refused() {
    let entries: Vec<Entry> = (0..60_000)
        .map(|n| Entry::new(format!("p/{n}"), ""))
        .collect();
    assert_eq!(
        verdict(&check_zip(&zip(&entries), &Limits::default())),
        "archive-too-many-members"
    );
    let fewer = Limits {
        max_directory: 1 << 10,
        ..Limits::default()
    };
    assert_eq!(
        verdict(&check_zip(&zip(&entries[..1000]), &fewer)),
        "archive-directory-too-large"
    );
}

#[test]
fn generated_hostile_tars_are_refused_and_honest_ones_accepted() {
    let folder = tempfile::tempdir().unwrap();
    for kind in ["accept", "reject"] {
        fs::create_dir_all(folder.path().join("tardata").join(kind)).unwrap();
    }
    let status = Command::new("python3")
        .arg(Path::new(TOOLS).join("make_malicious_tars.py"))
        .current_dir(folder.path())
        .status()
        .unwrap();
    assert!(status.success());
    let accept = files(&folder.path().join("tardata/accept"));
    let reject = files(&folder.path().join("tardata/reject"));
    assert_eq!((accept.len(), reject.len()), (5, 48));
    for (name, bytes) in &accept {
        assert_eq!(
            verdict(&check_tar(bytes, tar::Rules::STRICT)),
            "accepted",
            "{name}"
        );
    }
    for (name, bytes) in &reject {
        let result = check_tar(bytes, tar::Rules::STRICT);
        assert!(result.is_err(), "{name}: {result:?}");
    }
    // What Python's sdists are allowed on top lets only the harmless link through.
    let loose = tar::Rules {
        inner_symlinks: true,
        setgid_directories: true,
        global_comment: true,
        ..tar::Rules::STRICT
    };
    for (name, bytes) in &reject {
        let result = check_tar(bytes, loose);
        assert_eq!(
            result.is_ok(),
            name.starts_with("symlink_inside"),
            "{name}: {result:?}"
        );
    }
}

#[test]
fn symlinks_are_accepted_only_where_they_plainly_stay_inside() {
    let rules = tar::Rules {
        inner_symlinks: true,
        ..tar::Rules::STRICT
    };
    let link = |path: &str, target: &str| tar_header(path, 0, b'2', 0o777, target);
    let file = tar_file("p-1/d/a", b"x");
    for (path, target, expected) in [
        ("p-1/l", "d/a", "accepted"),
        ("p-1/d/l", "../d/a", "accepted"),
        ("p-1/d/e/l", "../../x", "accepted"),
        ("p-1/l", "../x", "archive-link-outside"),
        ("p-1/d/l", "../../x", "archive-link-outside"),
        ("p-1/l", "d/../../x", "archive-link-outside"),
        ("p-1/l", "/etc/passwd", "archive-link-outside"),
        ("p-1/l", "", "archive-link-outside"),
        ("p-1/l", "..", "archive-link-outside"),
        ("p-1/d/l", "../", "archive-link-outside"),
        ("p-1/l", "C:x", "archive-link-outside"),
        ("l", "x", "archive-link-outside"),
    ] {
        let result = check_tar(&tar_gz(&[file.clone(), link(path, target)]), rules);
        assert_eq!(verdict(&result), expected, "{path} -> {target}: {result:?}");
    }
    let below = tar_gz(&[link("p-1/d", "e"), file.clone()]);
    assert_eq!(verdict(&check_tar(&below, rules)), "archive-name-collision");
    let above = tar_gz(&[file, link("p-1/d", "e")]);
    assert_eq!(verdict(&check_tar(&above, rules)), "archive-name-collision");
}

#[test]
fn gzip_headers_with_room_for_another_format_are_refused() {
    let tar = [tar_file("p-1/a", b"x"), vec![0; 1024]].concat();
    let plain = gzip(&tar);
    let with_header = |flags: u8, between: &[u8]| {
        let mut bytes = plain.clone();
        bytes[3] = flags;
        bytes.splice(10..10, between.iter().copied());
        bytes
    };
    for (name, bytes, expected) in [
        ("plain", plain.clone(), "accepted"),
        ("name", with_header(8, b"a.tar\0"), "accepted"),
        (
            "long name",
            with_header(8, &[b'a'; 5000]),
            "archive-gzip-header",
        ),
        ("extra", with_header(4, b"\x02\0ab"), "archive-gzip-header"),
        ("comment", with_header(16, b"PK\0"), "archive-gzip-header"),
        ("reserved", with_header(0x80, b""), "archive-gzip-header"),
        ("zip", zip(&[Entry::new("a", "x")]), "archive-not-gzip"),
    ] {
        let result = check_tar(&bytes, tar::Rules::STRICT);
        assert_eq!(verdict(&result), expected, "{name}: {result:?}");
    }
    for end in 0..plain.len() {
        assert!(
            check_tar(&plain[..end], tar::Rules::STRICT).is_err(),
            "{end}"
        );
    }
}

proptest! {
    #[test]
    fn readers_never_panic_on_noise(bytes in proptest::collection::vec(any::<u8>(), 0..400)) {
        let _ = check_zip(&bytes, &Limits::default());
        let _ = check_tar(&bytes, tar::Rules::STRICT);
        let _ = check_tar(&gzip(&bytes), tar::Rules::STRICT);
    }

    #[test]
    fn one_changed_byte_never_shows_other_members(at in 0_usize..260, bit in 0_u8..8) {
        let honest = zip(&[Entry::new("p/a", "hello hello hello"), Entry::new("p/b", "x").with(|entry| entry.deflate = false)]);
        let mut bytes = honest.clone();
        let at = at % bytes.len();
        bytes[at] ^= 1 << bit;
        let mut seen = Vec::new();
        let result = reader::check(&mut Cursor::new(&bytes), bytes.len() as u64, &Limits::default(), reader::Rules::default(), &mut |member, data| {
            seen.push((member.path.to_owned(), read_member(member, data, 100)?));
            Ok(())
        });
        // Times, versions and permissions may change; names and contents may not.
        if result.is_ok() {
            prop_assert_eq!(seen, vec![("p/a".to_owned(), b"hello hello hello".to_vec()), ("p/b".to_owned(), b"x".to_vec())]);
        }
    }

    #[test]
    // The dot before the name keeps out what Windows takes for a device (`nul`, `con`), which is refused.
    fn what_is_written_is_read(files in proptest::collection::btree_map("[.][a-z]{1,6}", proptest::collection::vec(any::<u8>(), 0..200), 0..8)) {
        let entries: Vec<Entry> = files.iter().map(|(name, data)| Entry::new(format!("p/{name}"), data.clone())).collect();
        let bytes = zip(&entries);
        let mut seen = Vec::new();
        reader::check(&mut Cursor::new(&bytes), bytes.len() as u64, &Limits::default(), reader::Rules::default(), &mut |member, data| {
            seen.push((member.path[2..].to_owned(), read_member(member, data, 1000)?));
            Ok(())
        }).unwrap();
        prop_assert_eq!(seen, files.into_iter().collect::<Vec<_>>());
    }
}
