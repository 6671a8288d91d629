use std::collections::BTreeSet;

use proptest::prelude::*;

use super::*;

mod plain;

const TIME: i64 = 1_795_238_880_000_000;
const FILE: &str = "pkg:pypi/sample@1.0?file_name=sample-1.0-py3-none-any.whl";

fn published() -> Leaf {
    Leaf::file_published(FILE, Sha256::of(b"file"), 4, TIME, 1, None)
}

fn text_of(leaf: &Leaf) -> String {
    leaf.to_text().unwrap()
}

fn read(text: &str) -> Result<Leaf, LeafError> {
    parse(text.as_bytes()).map(|leaf| leaf.known().unwrap())
}

#[test]
fn a_published_file_has_exactly_these_lines() {
    let expected = format!(
        "countersign-leaf/v1\nkind file-published\nsubject {FILE}\ndigest sha256:{}\nsize 4\n\
         time 2026-11-21T05:28:00.000000Z\nsequence 1\n",
        Sha256::of(b"file")
    );
    assert_eq!(text_of(&published()), expected);
    assert_eq!(read(&expected).unwrap(), published());
    assert_eq!(published().sha256(), Some(Sha256::of(b"file")));
}

#[test]
fn unknown_kinds_are_skipped_and_other_entries_are_not_leaves() {
    let future = "countersign-leaf/v1\nkind moon-landing\nwhatever else\n";
    assert_eq!(
        parse(future.as_bytes()),
        Ok(ParsedLeaf::Skipped {
            kind: "moon-landing".into()
        })
    );
    assert_eq!(parse(future.as_bytes()).unwrap().known(), None);
    assert!(matches!(
        parse(b"countersign-leaf/v2\nkind yanked\n"),
        Err(LeafError::Header { .. })
    ));
    assert!(matches!(
        parse(b"countersign-leaf/v1\n"),
        Err(LeafError::Line { line: 2, .. })
    ));
    assert!(matches!(
        parse(b"countersign-leaf/v1\nkind Moon\n"),
        Err(LeafError::Line { line: 2, .. })
    ));
    for text in [
        "",
        "\n",
        "countersign-leaf/v1",
        "countersign-leaf/v1\n\nkind yanked\n",
        "countersign-leaf/v1\nkind m\nä\n",
    ] {
        assert_eq!(parse(text.as_bytes()), Err(LeafError::NotText), "{text:?}");
    }
    assert_eq!(
        parse(&vec![b'x'; 4097]),
        Err(LeafError::TooLong { found: 4097 })
    );
}

#[test]
fn every_other_spelling_of_a_leaf_is_refused() {
    let good = text_of(&published());
    let hash = Sha256::of(b"file").to_hex();
    for (from, to) in [
        ("size 4", "size 04"),
        ("size 4", "size  4"),
        ("size 4", "size 4 "),
        ("size 4", "size\t4"),
        ("size 4\n", "size 4\r\n"),
        ("size 4\n", ""),
        ("size 4\n", "size 4\nsize 4\n"),
        ("size 4\n", "size 4\nnote hello\n"),
        ("sequence 1", "sequence 0"),
        ("sequence 1\n", ""),
        ("sequence 1\n", "sequence 1\nprevious 0\n"),
        ("sequence 1\n", "previous 7\nsequence 2\n"),
        ("sequence 1\n", "sequence 1\nchange added\n"),
        ("sequence 1\n", "sequence 1\nrole owner\n"),
        ("sequence 1\n", &format!("sequence 1\naccount {hash}\n")),
        ("sequence 1\n", &format!("sequence 1\ndetail {hash}\n")),
        (
            "sequence 1\n",
            &format!("sequence 1\nkey-added sha256:{hash}\n"),
        ),
        ("sequence 1\n", "sequence 1\nsuccessor-origin b.example\n"),
        (
            "sequence 1\n",
            &format!("sequence 1\ncovers 1\nroot {hash}\n"),
        ),
        (
            "sequence 1\n",
            &format!("sequence 1\nattestation sha256:{hash}\nattestation sha256:{hash}\n"),
        ),
        ("digest sha256", "digest SHA256"),
        ("digest sha256", "digest sha512"),
        (&format!("digest sha256:{hash}\n"), ""),
        (
            &format!("digest sha256:{hash}\n"),
            &format!("digest md5:{}\ndigest sha256:{hash}\n", &hash[..32]),
        ),
        (
            &format!("digest sha256:{hash}\n"),
            &format!("digest md5:{}\n", &hash[..32]),
        ),
        (&hash, &hash.to_uppercase()),
        (".000000Z", "Z"),
        ("kind file-published", "kind yanked"),
        ("?file_name=sample-1.0-py3-none-any.whl", ""),
        ("pypi/sample", "pypi/Sample"),
    ] {
        let bad = good.replace(from, to);
        assert_ne!(bad, good, "{from:?}");
        assert!(parse(bad.as_bytes()).is_err(), "{to:?}");
    }
}

#[test]
fn leaves_whose_fields_do_not_fit_are_not_written() {
    let refused = |leaf: Leaf| leaf.to_text().unwrap_err();
    assert!(matches!(
        refused(Leaf {
            time: -1,
            ..published()
        }),
        LeafError::Line { .. }
    ));
    assert!(matches!(
        refused(Leaf {
            subject: None,
            ..published()
        }),
        LeafError::Fields { .. }
    ));
    assert!(matches!(
        refused(Leaf::about(LeafKind::Yanked, "pkg:pypi/a", TIME, 1, None)),
        LeafError::Fields { .. }
    ));
    assert!(matches!(
        refused(Leaf::about(
            LeafKind::OwnerChanged,
            "pkg:pypi/a",
            TIME,
            1,
            None
        )),
        LeafError::Fields { .. }
    ));
    assert!(matches!(
        refused(Leaf::about_registry(LeafKind::KeyRotated, TIME)),
        LeafError::Fields { .. }
    ));
    let injected = Leaf::about(LeafKind::Yanked, "pkg:pypi/a@1\nsize 3", TIME, 1, None);
    assert!(injected.to_text().is_err());
    let mut attested = published();
    attested.attestations = vec![Sha256([2; 32]), Sha256([1; 32])];
    assert!(attested.to_text().is_err());
    attested.attestations.sort();
    assert!(attested.to_text().is_ok());
    attested.attestations = (0..=MAX_ATTESTATIONS as u8)
        .map(|byte| Sha256([byte; 32]))
        .collect();
    assert!(attested.to_text().is_err());
    let role = Leaf {
        role: Some("a role".into()),
        ..Leaf::about(LeafKind::RoleChanged, "pkg:pypi/a", TIME, 1, None)
    };
    assert!(role.to_text().is_err());
    let freeze = Leaf::log_freeze(Some("a b".into()), TIME);
    assert!(freeze.to_text().is_err());
}

/// The longest leaf of each kind fits: a limit that honest writers could meet would block publishing.
#[test]
fn the_fullest_leaf_fits_into_the_limit() {
    let name = format!("{}-1.0-py3-none-any.whl", "a".repeat(200));
    let mut leaf = published();
    leaf.subject = Some(format!("pkg:pypi/{}@1.0?file_name={name}", "a".repeat(200)));
    leaf.digests.push((Algorithm::Sha512, "0".repeat(128)));
    leaf.digests.push((Algorithm::Blake2b256, "0".repeat(64)));
    leaf.digests.push((Algorithm::Md5, "0".repeat(32)));
    (leaf.size, leaf.sequence, leaf.previous) = (Some(u64::MAX), Some(u64::MAX), Some(u64::MAX));
    leaf.actor = Some(Sha256([1; 32]));
    leaf.attestations = (0..24).map(|byte| Sha256([byte; 32])).collect();
    assert!(text_of(&leaf).len() <= MAX_LEAF_BYTES);
}

#[test]
fn commitments_and_identifiers_are_separated_by_domain() {
    let (a, b) = (commit(&[1; 32], "alice"), commit(&[2; 32], "alice"));
    assert_ne!(a, b);
    assert_ne!(identifier_hash(FILE), Sha256::of(FILE.as_bytes()));
    assert_eq!(
        identifier_hash(FILE),
        Sha256::of(format!("countersign-identifier/v1\n{FILE}").as_bytes())
    );
}

/// The specification's examples are fenced as ```leaf (must be read, and written back byte for byte), ```leaf-skip
/// (an unknown kind) and ```leaf-bad (must be refused).
#[test]
fn the_specification_s_examples_hold() {
    let spec = std::fs::read_to_string(concat!(
        env!("CARGO_MANIFEST_DIR"),
        "/../../docs/spec/leaf.md"
    ))
    .unwrap();
    let mut kinds = BTreeSet::new();
    let (mut skipped, mut bad) = (0, 0);
    for block in spec.split("\n```leaf").skip(1) {
        let (label, rest) = block.split_once('\n').unwrap();
        let text = &rest[..=rest.find("\n```").unwrap()];
        match label {
            "" => {
                let leaf = read(text).unwrap_or_else(|error| panic!("{error}\n{text}"));
                assert_eq!(text_of(&leaf), text);
                kinds.insert(leaf.kind);
            }
            "-skip" => {
                assert!(
                    matches!(parse(text.as_bytes()), Ok(ParsedLeaf::Skipped { .. })),
                    "{text}"
                );
                skipped += 1;
            }
            "-bad" => {
                assert!(parse(text.as_bytes()).is_err(), "{text}");
                bad += 1;
            }
            other => panic!("unknown fence leaf{other}"),
        }
    }
    assert_eq!(
        kinds,
        LeafKind::ALL.iter().copied().collect(),
        "an example of each kind"
    );
    assert!(skipped >= 1 && bad >= 3);
    assert!(
        spec.contains(&commit(&[1; 32], "alice").to_hex()),
        "the worked commitment"
    );
    for kind in LeafKind::ALL {
        assert!(
            spec.contains(&format!("| `{kind}` |")),
            "{kind} stands in the table"
        );
    }
}

fn hash() -> impl Strategy<Value = Sha256> {
    any::<[u8; 32]>().prop_map(Sha256)
}

fn hashes(least: usize) -> impl Strategy<Value = Vec<Sha256>> {
    prop::collection::btree_set(hash(), least..5).prop_map(|set| set.into_iter().collect())
}

/// A leaf of any kind that its rules allow.
fn any_leaf() -> impl Strategy<Value = Leaf> {
    let basics = (
        prop::sample::select(LeafKind::ALL),
        0..253_402_300_800_000_000i64,
        1..u64::MAX,
        any::<u64>(),
        hash(),
    );
    let names = (
        "[a-z0-9]{1,9}(-[a-z0-9]{1,5}){0,2}",
        "[0-9]{1,3}(\\.[0-9]{1,3}){0,3}((a|rc|\\.post|\\.dev)[0-9])?",
    );
    let extra = (
        any::<Option<[u8; 32]>>(),
        any::<Option<u64>>(),
        hashes(1),
        prop::bool::ANY,
        "[a-z][a-z0-9-]{0,20}",
    );
    (basics, names, extra).prop_map(
        |((kind, time, sequence, number, hash), (name, version), extra)| {
            let (maybe, previous, list, flag, word) = extra;
            let maybe = maybe.map(Sha256);
            let project = format!("pkg:pypi/{name}");
            let release = format!("{project}@{version}");
            let file = format!("{release}?file_name={name}-{version}.tar.gz");
            let previous = previous.filter(|_| sequence > 1);
            let about = |subject| Leaf {
                actor: maybe,
                ..Leaf::about(kind, subject, time, sequence, previous)
            };
            match kind {
                LeafKind::FilePublished => {
                    let published =
                        Leaf::file_published(file, hash, number, time, sequence, previous);
                    Leaf {
                        actor: maybe,
                        attestations: if flag { list } else { Vec::new() },
                        ..published
                    }
                }
                LeafKind::AttestationAdded => Leaf {
                    attestations: list,
                    ..about(file)
                },
                LeafKind::Yanked | LeafKind::Unyanked => about(if flag { release } else { file }),
                LeafKind::Deprecated
                | LeafKind::Deleted
                | LeafKind::Quarantined
                | LeafKind::Released => Leaf {
                    detail: Some(hash),
                    ..about(if flag { release } else { project })
                },
                LeafKind::OwnerChanged => Leaf {
                    change: Some(Change::Added),
                    account: Some(hash),
                    ..about(project)
                },
                LeafKind::RoleChanged => Leaf {
                    change: Some(Change::Removed),
                    role: Some(word),
                    account: Some(hash),
                    ..about(project)
                },
                LeafKind::PublisherChanged | LeafKind::VisibilityChanged => Leaf {
                    change: Some(Change::Replaced),
                    detail: maybe,
                    ..about(project)
                },
                LeafKind::PolicyChanged if flag => Leaf {
                    change: Some(Change::Replaced),
                    ..about(project)
                },
                LeafKind::PolicyChanged => Leaf {
                    change: Some(Change::Added),
                    ..Leaf::about_registry(kind, time)
                },
                LeafKind::TokenRevokedLeaked | LeafKind::OperatorOverride => Leaf {
                    account: maybe,
                    ..Leaf::about_registry(kind, time)
                },
                LeafKind::KeyRotated if flag => Leaf {
                    keys_added: list,
                    ..Leaf::about_registry(kind, time)
                },
                LeafKind::KeyRotated => Leaf {
                    keys_added: list.clone(),
                    keys_removed: list,
                    ..Leaf::about_registry(kind, time)
                },
                LeafKind::LogGenesis => {
                    let predecessor = Predecessor {
                        origin: format!("{name}.example/log/1"),
                        size: number,
                        root: hash,
                    };
                    Leaf::log_genesis(flag.then_some(predecessor), time)
                }
                LeafKind::LogFreeze => {
                    Leaf::log_freeze(flag.then(|| format!("{name}.example/log/2")), time)
                }
                LeafKind::MapRoot => Leaf::map_root(number, hash, time),
            }
        },
    )
}

/// A way to damage a text.
#[derive(Debug, Clone)]
enum Damage {
    Byte(u8),
    Insert(&'static str),
    Remove,
    RepeatLine,
    DropLine,
    SwapLines,
    Cut,
}

fn damage() -> impl Strategy<Value = Damage> {
    let pieces = [
        "\n",
        " ",
        "0",
        "%41",
        "%2B",
        "@",
        "?",
        "/",
        "-",
        "!",
        "size 4\n",
        "previous 3\n",
        "change added\n",
        "role a\n",
        "digest md5:00000000000000000000000000000000\n",
        "covers 3\n",
        "\u{e4}",
        "\u{7f}",
    ];
    prop_oneof![
        (0_u8..=255).prop_map(Damage::Byte),
        (0x20_u8..0x7f).prop_map(Damage::Byte),
        prop::sample::select(pieces.to_vec()).prop_map(Damage::Insert),
        Just(Damage::Remove),
        Just(Damage::RepeatLine),
        Just(Damage::DropLine),
        Just(Damage::SwapLines),
        Just(Damage::Cut),
    ]
}

impl Damage {
    fn apply(self, bytes: &mut Vec<u8>, position: prop::sample::Index) {
        let at = position.index(bytes.len() + 1);
        let mut lines: Vec<Vec<u8>> = bytes
            .split_inclusive(|byte| *byte == b'\n')
            .map(<[u8]>::to_vec)
            .collect();
        if bytes.is_empty() || lines.is_empty() {
            return;
        }
        let line = position.index(lines.len());
        match self {
            Self::Byte(byte) => {
                let at = at.min(bytes.len() - 1);
                bytes[at] = byte;
                return;
            }
            Self::Insert(piece) => {
                let start: usize = lines[..line].iter().map(Vec::len).sum();
                let at = if piece.ends_with('\n') { start } else { at };
                bytes.splice(at..at, piece.bytes());
                return;
            }
            Self::Remove => {
                bytes.remove(at.min(bytes.len() - 1));
                return;
            }
            Self::Cut => {
                bytes.truncate(at);
                return;
            }
            Self::RepeatLine => lines.insert(line, lines[line].clone()),
            Self::DropLine => drop(lines.remove(line)),
            Self::SwapLines => lines.swap(line, 0),
        }
        *bytes = lines.concat();
    }
}

proptest! {
    #[test]
    fn every_leaf_round_trips(leaf in any_leaf()) {
        let text = text_of(&leaf);
        prop_assert_eq!(read(&text).unwrap(), leaf);
    }

    /// Whatever is read is written back to the same bytes, also after damage that happens to leave a valid leaf.
    #[test]
    fn there_is_one_text_for_each_leaf(leaf in any_leaf(), position: prop::sample::Index, byte in 0x20u8..0x7f) {
        let mut bytes = text_of(&leaf).into_bytes();
        let position = position.index(bytes.len());
        bytes[position] = byte;
        if let Ok(ParsedLeaf::Known(read)) = parse(&bytes) {
            prop_assert_eq!(text_of(&read).into_bytes(), bytes);
        }
    }

    /// Both readers say the same of a leaf and of what it becomes by small damage, to the word of the refusal.
    #[test]
    fn the_reader_that_copies_nothing_reads_what_the_plain_one_reads(
        leaf in any_leaf(),
        damage in prop::collection::vec((any::<prop::sample::Index>(), damage()), 0..4),
    ) {
        let mut bytes = text_of(&leaf).into_bytes();
        for (position, damage) in damage {
            damage.apply(&mut bytes, position);
        }
        prop_assert_eq!(parse(&bytes), plain::parse(&bytes));
    }

    #[test]
    fn any_bytes_are_survived(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
        let _ = parse(&bytes);
        let mut headed = HEADER.as_bytes().to_vec();
        headed.extend(bytes);
        let _ = parse(&headed);
    }
}

#[test]
fn a_deprecation_is_said_without_a_change_and_taken_back_by_one() {
    let subject = "pkg:npm/old@1.0.0".to_owned();
    let mut leaf = Leaf::about(LeafKind::Deprecated, subject, 1_000_000, 2, Some(0));
    assert_eq!(read(&leaf.to_text().unwrap()).unwrap(), leaf);
    leaf.change = Some(Change::Removed);
    assert_eq!(read(&leaf.to_text().unwrap()).unwrap(), leaf);
    for other in [Change::Added, Change::Replaced] {
        leaf.change = Some(other);
        assert!(leaf.to_text().is_err());
    }
}
