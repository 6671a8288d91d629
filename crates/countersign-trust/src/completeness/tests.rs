use std::collections::{BTreeMap, HashMap};

use super::*;
use crate::checkpoint::{self, Checkpoint};
use crate::map::{EMPTY_MAP, Replay, Walk};
use crate::note::{KeyName, SignerKey};
use crate::tlog::{Frontier, grow, inclusion_proof, leaf_hash};

const ORIGIN: &str = "packages.example/log/1";
const PROJECT: &str = "pkg:pypi/sample-project";

fn key() -> SignerKey {
    SignerKey::generate(KeyName::new(ORIGIN).unwrap(), [1; 32])
}

fn policy() -> Policy {
    Policy::parse(format!("log {}\nquorum none\n", key().verifier()).as_bytes()).unwrap()
}

/// A log in memory, which numbers leaves as a registry does and commits to whatever map it likes.
#[derive(Default)]
struct Log {
    entries: Vec<String>,
    chains: HashMap<String, (u64, u64)>,
}

impl Log {
    fn push(&mut self, text: String) -> u64 {
        self.entries.push(text);
        self.entries.len() as u64 - 1
    }

    fn add(&mut self, kind: LeafKind, subject: &str) -> u64 {
        let index = self.entries.len() as u64;
        let project = project_of(subject).to_owned();
        let before = self.chains.get(&project).copied();
        let (sequence, previous) = (before.map_or(1, |(s, _)| s + 1), before.map(|(_, at)| at));
        let leaf = match kind {
            LeafKind::FilePublished => {
                let digest = Sha256::of(subject.as_bytes());
                Leaf::file_published(subject, digest, 1, 5, sequence, previous)
            }
            kind => Leaf::about(kind, subject, 5, sequence, previous),
        };
        self.chains.insert(project, (sequence, index));
        self.push(leaf.to_text().unwrap())
    }

    fn publish(&mut self, version: u64) -> u64 {
        self.add(LeafKind::FilePublished, &file(version))
    }

    fn replay(&self) -> Replay {
        let mut replay = Replay::default();
        for entry in &self.entries {
            if let ParsedLeaf::Known(leaf) = leaf::parse(entry.as_bytes()).unwrap() {
                replay.add(&leaf, &leaf_hash(entry.as_bytes())).unwrap();
            }
        }
        replay
    }

    /// Commits to the map over all leaves so far; says where.
    fn commit(&mut self) -> Map {
        let covers = self.entries.len() as u64;
        let entries = self.replay().entries().unwrap();
        let entries: BTreeMap<Sha256, Sha256> =
            entries.into_iter().map(|e| (e.key, e.value)).collect();
        let applied = Walk::new(EMPTY_MAP, entries.keys().copied())
            .apply(&entries)
            .unwrap();
        let index = self.push(Leaf::map_root(covers, applied.root, 6).to_text().unwrap());
        Map {
            index,
            covers,
            root: applied.root,
            tiles: applied.written.into_iter().collect(),
        }
    }

    fn checkpoint(&self) -> (Checkpoint, HashMap<crate::tlog::TileId, Vec<u8>>) {
        let hashes: Vec<Sha256> = self
            .entries
            .iter()
            .map(|entry| leaf_hash(entry.as_bytes()))
            .collect();
        let none: HashMap<_, Vec<u8>> = HashMap::new();
        let tiles = grow(0, &hashes, &none).unwrap().into_iter().collect();
        let mut frontier = Frontier::empty();
        hashes.iter().for_each(|hash| frontier.append(*hash));
        (
            Checkpoint::new(ORIGIN, hashes.len() as u64, frontier.root()),
            tiles,
        )
    }

    /// The honest text about a project, after so many of its leaves.
    fn text(&self, map: &Map, project: &str, after: u64) -> Completeness {
        let (checkpoint, tiles) = self.checkpoint();
        let place = |index| Place {
            index,
            hashes: inclusion_proof(index, checkpoint.size, &tiles).unwrap(),
        };
        let mut text = Completeness {
            project: project.to_owned(),
            after: ProjectState::NONE,
            root_place: place(map.index),
            root_leaf: self.entries[map.index as usize].clone(),
            proof: map.prove(project),
            covered: Vec::new(),
            newer: Vec::new(),
            checkpoint: checkpoint.sign(&key(), None),
        };
        let mut number = 0;
        for (index, entry) in self.entries.iter().enumerate() {
            let ParsedLeaf::Known(leaf) = leaf::parse(entry.as_bytes()).unwrap() else {
                continue;
            };
            if leaf.subject.as_deref().map(project_of) != Some(project) {
                continue;
            }
            number += 1;
            if number <= after {
                text.after = text.after.followed_by(&leaf_hash(entry.as_bytes()));
            } else if (index as u64) < map.covers {
                text.covered.push(entry.clone());
            } else {
                text.newer.push((place(index as u64), entry.clone()));
            }
        }
        text
    }
}

struct Map {
    index: u64,
    covers: u64,
    root: Sha256,
    tiles: HashMap<crate::map::TileId, Vec<u8>>,
}

impl Map {
    fn prove(&self, project: &str) -> MapProof {
        let key = project_key(project);
        let mut walk = Walk::new(self.root, [key]);
        loop {
            let wanted = walk.wanted();
            if wanted.is_empty() {
                return walk.prove(&key).unwrap();
            }
            for (id, prefix) in wanted {
                walk.supply(id, &prefix, &self.tiles[&id]).unwrap();
            }
        }
    }
}

fn file(version: u64) -> String {
    format!("{PROJECT}@{version}.0?file_name=sample_project-{version}.0.tar.gz")
}

/// Three leaves that a map covers, two newer ones, and those of others between them.
fn scene() -> (Log, Map) {
    let mut log = Log::default();
    log.push(Leaf::log_genesis(None, 1).to_text().unwrap());
    log.publish(1);
    log.add(
        LeafKind::FilePublished,
        "pkg:pypi/other@1?file_name=other-1.tar.gz",
    );
    log.publish(2);
    log.add(LeafKind::Yanked, &format!("{PROJECT}@1.0"));
    let map = log.commit();
    log.publish(3);
    log.add(LeafKind::Deprecated, "pkg:pypi/other");
    log.add(LeafKind::Unyanked, &format!("{PROJECT}@1.0"));
    (log, map)
}

fn judge(text: &Completeness) -> Result<Complete, CompletenessError> {
    judge_knowing(text, None)
}

fn judge_knowing(
    text: &Completeness,
    known: Option<&ProjectState>,
) -> Result<Complete, CompletenessError> {
    let read = Completeness::parse(text.to_string().as_bytes())?;
    assert_eq!(&read, text, "it reads as it was written");
    read.verify_by(&policy(), ORIGIN, PROJECT, known)
}

#[test]
fn all_leaves_of_a_project_are_proven_with_their_order_and_places() {
    let (log, map) = scene();
    let complete = judge(&log.text(&map, PROJECT, 0)).unwrap();
    let places: Vec<(u64, Option<u64>, bool)> = complete
        .leaves
        .iter()
        .map(|listed| (listed.number, listed.index, listed.covered))
        .collect();
    // The last that is covered learns its place from the first that is newer.
    let expected = [
        (1, Some(1), true),
        (2, Some(3), true),
        (3, Some(4), true),
        (4, Some(6), false),
        (5, Some(8), false),
    ];
    assert_eq!(places, expected);
    assert_eq!((complete.covers, complete.index, complete.time), (5, 5, 6));
    assert_eq!(complete.map_root, map.root);
    assert!(complete.exists());
    // A leaf of another project lies beyond the map: it might have been one of this project.
    assert!(!complete.is_exact());
    let files: Vec<String> = complete.files().map(|(purl, _)| purl.to_owned()).collect();
    assert_eq!(files, [file(1), file(2), file(3)]);
    for (purl, digest) in complete.files() {
        assert_eq!(digest, Sha256::of(purl.as_bytes()));
    }
    let root = log.text(&map, PROJECT, 0).root_proof();
    let leaf = root.extra.clone().unwrap();
    assert!(policy().verify(&root, &leaf, ORIGIN).is_ok());
}

#[test]
fn a_project_that_does_not_exist_is_proven_not_to() {
    let (log, map) = scene();
    let nobody = "pkg:pypi/nobody";
    let text = log.text(&map, nobody, 0);
    let complete = text.verify_by(&policy(), ORIGIN, nobody, None).unwrap();
    assert_eq!(
        (complete.state, complete.exists()),
        (ProjectState::NONE, false)
    );
    // The same proof says nothing of a project that does.
    assert!(matches!(
        judge(&text),
        Err(CompletenessError::Project { .. })
    ));
    let mut renamed = text;
    renamed.project = PROJECT.to_owned();
    assert!(judge(&renamed).is_err());
    // One that a newer leaf founds is there, though the map does not know it yet.
    let mut log = Log::default();
    log.push(Leaf::log_genesis(None, 1).to_text().unwrap());
    let map = log.commit();
    log.publish(1);
    let complete = judge(&log.text(&map, PROJECT, 0)).unwrap();
    assert_eq!((complete.state.count, complete.exists()), (0, true));
    assert!(complete.is_exact());
}

#[test]
fn what_is_known_need_not_be_sent_again_and_can_not_be_changed() {
    let (log, map) = scene();
    let whole = log.text(&map, PROJECT, 0);
    let known = log.text(&map, PROJECT, 2).after;
    assert_eq!(known.count, 2);
    let rest = log.text(&map, PROJECT, 2);
    let complete = judge_knowing(&rest, Some(&known)).unwrap();
    let numbers: Vec<u64> = complete.leaves.iter().map(|listed| listed.number).collect();
    assert_eq!(numbers, [3, 4, 5]);
    assert_eq!(complete.state, judge(&whole).unwrap().state);
    // Whoever knows something may be sent everything; the past must be the one that they know.
    assert_eq!(judge_knowing(&whole, Some(&known)).unwrap().leaves.len(), 5);
    let other = ProjectState {
        chain: Sha256([9; 32]),
        ..known
    };
    for text in [&whole, &rest] {
        let refused = judge_knowing(text, Some(&other));
        assert!(
            matches!(refused, Err(CompletenessError::Known { .. })),
            "{refused:?}"
        );
    }
    // Whoever knows nothing does not take a text that leaves out the beginning.
    assert!(matches!(judge(&rest), Err(CompletenessError::Known { .. })));
    // And an older state of the map is no answer to who knows a newer one.
    let newer = ProjectState { count: 4, ..known };
    let refused = judge_knowing(&whole, Some(&newer));
    assert!(
        matches!(refused, Err(CompletenessError::Known { .. })),
        "{refused:?}"
    );
}

#[test]
fn no_change_of_a_single_byte_survives() {
    let (log, map) = scene();
    let text = log.text(&map, PROJECT, 0).to_string().into_bytes();
    let policy = policy();
    let holds = |text: &[u8]| {
        Completeness::parse(text)
            .is_ok_and(|read| read.verify_by(&policy, ORIGIN, PROJECT, None).is_ok())
    };
    assert!(holds(&text));
    for position in 0..text.len() {
        for change in [0x01, 0x02, 0x20, 0x80] {
            let mut bad = text.clone();
            bad[position] ^= change;
            assert!(!holds(&bad), "byte {position} changed by {change:#x}");
        }
        let mut shorter = text.clone();
        shorter.remove(position);
        assert!(!holds(&shorter), "byte {position} removed");
        assert!(!holds(&text[..position]), "cut off at {position}");
    }
}

#[test]
fn a_hidden_replaced_or_foreign_leaf_is_noticed() {
    let (log, map) = scene();
    let good = log.text(&map, PROJECT, 0);
    let changed = |change: &dyn Fn(&mut Completeness)| {
        let mut text = good.clone();
        change(&mut text);
        judge(&text).unwrap_err()
    };
    let hidden = changed(&|text| drop(text.covered.remove(1)));
    assert!(
        matches!(hidden, CompletenessError::Chain { number: 2, .. }),
        "{hidden}"
    );
    let newest = changed(&|text| drop(text.covered.pop()));
    assert!(
        matches!(newest, CompletenessError::State { found: 2 }),
        "{newest}"
    );
    let all = changed(&|text| text.covered.clear());
    assert!(
        matches!(all, CompletenessError::State { found: 0 }),
        "{all}"
    );
    let first = changed(&|text| drop(text.covered.remove(0)));
    assert!(
        matches!(first, CompletenessError::Chain { number: 1, .. }),
        "{first}"
    );
    let between = changed(&|text| drop(text.newer.remove(0)));
    assert!(
        matches!(between, CompletenessError::Chain { number: 4, .. }),
        "{between}"
    );
    let replaced = changed(&|text| {
        let leaf = Leaf::file_published(file(2), Sha256([8; 32]), 1, 5, 2, Some(1));
        text.covered[1] = leaf.to_text().unwrap();
    });
    assert!(
        matches!(replaced, CompletenessError::State { found: 3 }),
        "{replaced}"
    );
    let forged = changed(&|text| {
        let leaf = Leaf::file_published(file(3), Sha256([8; 32]), 1, 5, 4, Some(4));
        text.newer[0].1 = leaf.to_text().unwrap();
    });
    assert!(
        matches!(forged, CompletenessError::Inclusion { index: 6, .. }),
        "{forged}"
    );
    let foreign = changed(&|text| text.covered[0] = log.entries[2].clone());
    assert!(
        matches!(foreign, CompletenessError::Chain { number: 1, .. }),
        "{foreign}"
    );
    let twice = changed(&|text| {
        let leaf = Leaf::file_published(file(1), Sha256([8; 32]), 1, 5, 2, Some(1));
        text.covered[1] = leaf.to_text().unwrap();
    });
    assert!(
        matches!(twice, CompletenessError::Chain { number: 2, .. }),
        "{twice}"
    );
    // What the map covers is no newer leaf: else one could be moved there and another one be hidden in its place.
    let moved = changed(&|text| {
        let last = text.covered.pop().unwrap();
        let (_, tiles) = log.checkpoint();
        let hashes = inclusion_proof(4, 9, &tiles).unwrap();
        text.newer.insert(0, (Place { index: 4, hashes }, last));
    });
    assert!(matches!(moved, CompletenessError::State { .. }), "{moved}");
    let nowhere = changed(&|text| text.proof = map.prove("pkg:pypi/nobody"));
    assert!(
        matches!(
            nowhere,
            CompletenessError::Absent { .. } | CompletenessError::Map(_)
        ),
        "{nowhere}"
    );
}

#[test]
fn a_wrong_map_is_no_map() {
    let (mut log, map) = scene();
    let good = log.text(&map, PROJECT, 0);
    // A root that the log never committed to.
    let mut other = good.clone();
    other.root_leaf = Leaf::map_root(5, Sha256([7; 32]), 6).to_text().unwrap();
    assert!(matches!(
        judge(&other),
        Err(CompletenessError::Inclusion { index: 5, .. })
    ));
    // Another leaf of the log in the place of the commitment.
    let mut other = good;
    other.root_leaf.clone_from(&log.entries[4]);
    let (checkpoint, tiles) = log.checkpoint();
    other.root_place = Place {
        index: 4,
        hashes: inclusion_proof(4, checkpoint.size, &tiles).unwrap(),
    };
    assert!(matches!(
        judge(&other),
        Err(CompletenessError::MapRoot { index: 4, .. })
    ));
    // A commitment to leaves that are not there yet.
    let index = log.push(Leaf::map_root(99, map.root, 7).to_text().unwrap());
    let ahead = Map { index, ..map };
    assert!(matches!(
        judge(&log.text(&ahead, PROJECT, 0)),
        Err(CompletenessError::MapRoot { .. })
    ));
    // A map without the newest release: what is committed wrongly, the leaves themselves contradict.
    let mut log = Log::default();
    log.push(Leaf::log_genesis(None, 1).to_text().unwrap());
    log.publish(1);
    log.publish(2);
    let hidden = log.entries.pop().unwrap();
    let map = log.commit();
    log.entries.insert(2, hidden);
    log.entries[3] = Leaf::map_root(3, map.root, 6).to_text().unwrap();
    let wrong = Map {
        index: 3,
        covers: 3,
        ..map
    };
    let refused = judge(&log.text(&wrong, PROJECT, 0)).unwrap_err();
    assert!(
        matches!(refused, CompletenessError::State { .. }),
        "{refused}"
    );
}

#[test]
fn another_logs_checkpoint_and_a_missing_quorum_are_refused() {
    let (log, map) = scene();
    let text = log.text(&map, PROJECT, 0);
    let refused = text.verify_by(&policy(), "other.example/log/1", PROJECT, None);
    assert!(matches!(
        refused,
        Err(CompletenessError::Policy(PolicyError::UnknownLog { .. }))
    ));
    let witness = SignerKey::from_seed(
        KeyName::new("w.example").unwrap(),
        crate::note::Ed25519Role::Cosigner,
        [3; 32],
    );
    let strict = format!(
        "log {}\nwitness w {}\nquorum w\n",
        key().verifier(),
        witness.verifier()
    );
    let strict = Policy::parse(strict.as_bytes()).unwrap();
    let refused = text.verify_by(&strict, ORIGIN, PROJECT, None);
    assert!(matches!(
        refused,
        Err(CompletenessError::Policy(PolicyError::Quorum { .. }))
    ));
    // Places hold under the head that was opened, and under no other.
    let elsewhere = Checkpoint::new(ORIGIN, 9, Sha256([1; 32])).sign(&key(), None);
    let elsewhere = checkpoint::open(elsewhere.as_bytes(), &[key().verifier()], ORIGIN).unwrap();
    let refused = text.verify(&elsewhere, PROJECT, None);
    assert!(matches!(refused, Err(CompletenessError::Inclusion { .. })));
}

#[test]
fn leaves_of_kinds_from_the_future_keep_their_place() {
    let mut log = Log::default();
    log.push(Leaf::log_genesis(None, 1).to_text().unwrap());
    let (one, three) = (log.publish(1), 3);
    let future = log.push("countersign-leaf/v1\nkind blessed\nsubject x\n".to_owned());
    log.chains.insert(PROJECT.to_owned(), (2, future));
    log.publish(2);
    let state = [one, future, three]
        .iter()
        .fold(ProjectState::NONE, |state, at| {
            state.followed_by(&leaf_hash(log.entries[*at as usize].as_bytes()))
        });
    let entries = BTreeMap::from([(project_key(PROJECT), state.value())]);
    let applied = Walk::new(EMPTY_MAP, entries.keys().copied())
        .apply(&entries)
        .unwrap();
    let covers = log.entries.len() as u64;
    let index = log.push(Leaf::map_root(covers, applied.root, 6).to_text().unwrap());
    let tiles = applied.written.into_iter().collect();
    let map = Map {
        index,
        covers,
        root: applied.root,
        tiles,
    };
    let mut text = log.text(&map, PROJECT, 0);
    text.covered.insert(1, log.entries[future as usize].clone());
    let complete = judge(&text).unwrap();
    assert!(matches!(&complete.leaves[1].leaf, ParsedLeaf::Skipped { kind } if kind == "blessed"));
    assert_eq!((complete.leaves.len(), complete.known().count()), (3, 2));
}

#[test]
fn texts_of_another_form_are_refused() {
    let (log, map) = scene();
    let good = log.text(&map, PROJECT, 0).to_string();
    let after = format!("after 2 {}\ncovered 3", Sha256([1; 32]));
    assert!(Completeness::parse(good.replace("covered 3", &after).as_bytes()).is_ok());
    for (from, to) in [
        ("-completeness/v1", "-completeness/v2"),
        ("project pkg:pypi/sample-project\n", ""),
        (
            "project pkg:pypi/sample-project\n",
            "project pkg:pypi/sample-project@1\n",
        ),
        ("covered 3", "covered 03"),
        ("covered 3", "covered 4"),
        ("covered 3", "covered 18446744073709551615"),
        ("newer 2", "newer 2\nnewer 2"),
        ("newer 2", "newer"),
        (
            "covered 3",
            "after 0 0000000000000000000000000000000000000000000000000000000000000000\ncovered 3",
        ),
        ("covered 3", "after 2 00\ncovered 3"),
        ("index 5\n", "index 05\n"),
        ("index 5\n", "index 5\nAAAA\n"),
        ("countersign-map-proof/v1", "countersign-map-proof/v2"),
        ("\n\n", "\n"),
    ] {
        assert!(good.contains(from), "{from}");
        let bad = good.replacen(from, to, 1);
        let held = Completeness::parse(bad.as_bytes())
            .and_then(|read| read.verify_by(&policy(), ORIGIN, PROJECT, None));
        assert!(held.is_err(), "{from} -> {to}");
    }
    assert!(Completeness::parse(b"").is_err());
    assert!(Completeness::parse(&[0xff; 100]).is_err());
}
