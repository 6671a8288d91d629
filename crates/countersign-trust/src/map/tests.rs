use std::collections::{BTreeMap, HashMap};

use proptest::prelude::*;

use super::*;
use crate::leaf::{Leaf, LeafKind, identifier_hash};
use crate::tlog::leaf_hash;

/// The definition, word for word: split at the first bit in which the keys differ.
fn naive_root(entries: &[Entry]) -> Sha256 {
    match entries {
        [] => EMPTY_MAP,
        [entry] => entry.node(),
        entries => {
            let bit = (0..=255)
                .find(|bit| {
                    entries
                        .iter()
                        .any(|entry| bit_of(&entry.key, *bit) != bit_of(&entries[0].key, *bit))
                })
                .unwrap();
            let (left, right): (Vec<Entry>, Vec<Entry>) = entries
                .iter()
                .copied()
                .partition(|entry| !bit_of(&entry.key, bit));
            inner_node(bit, &naive_root(&left), &naive_root(&right))
        }
    }
}

/// Tiles on a disk.
#[derive(Default)]
struct Disk {
    tiles: HashMap<TileId, Vec<u8>>,
}

impl Disk {
    fn walk(&self, root: Sha256, keys: impl IntoIterator<Item = Sha256>) -> Walk {
        self.try_walk(root, keys).unwrap()
    }

    fn try_walk(
        &self,
        root: Sha256,
        keys: impl IntoIterator<Item = Sha256>,
    ) -> Result<Walk, WalkError> {
        let mut walk = Walk::new(root, keys);
        loop {
            let wanted = walk.wanted();
            if wanted.is_empty() {
                return Ok(walk);
            }
            for (id, prefix) in wanted {
                walk.supply(
                    id,
                    &prefix,
                    self.tiles.get(&id).ok_or(WalkError::Missing(id))?,
                )?;
            }
        }
    }

    fn apply(&mut self, root: Sha256, entries: &BTreeMap<Sha256, Sha256>) -> Sha256 {
        let applied = self
            .walk(root, entries.keys().copied())
            .apply(entries)
            .unwrap();
        self.tiles.extend(applied.written);
        for id in applied.superseded {
            self.tiles.remove(&id).unwrap();
        }
        applied.root
    }
}

fn entries_of(map: &BTreeMap<Sha256, Sha256>) -> Vec<Entry> {
    map.iter()
        .map(|(key, value)| Entry {
            key: *key,
            value: *value,
        })
        .collect()
}

fn built_root(map: &BTreeMap<Sha256, Sha256>) -> Sha256 {
    let mut builder = RootBuilder::default();
    for entry in entries_of(map) {
        builder.push(entry).unwrap();
    }
    builder.root()
}

/// Keys that share whole bytes as often as keys that do not, so that tiles lie below tiles.
fn key() -> impl Strategy<Value = Sha256> {
    let near = (0_usize..32, any::<u8>()).prop_map(|(at, byte)| {
        let mut key = [7; 32];
        key[at] = byte;
        Sha256(key)
    });
    prop_oneof![near, any::<[u8; 32]>().prop_map(Sha256)]
}

fn value() -> impl Strategy<Value = Sha256> {
    any::<[u8; 32]>().prop_map(Sha256)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    #[test]
    fn tiles_builder_and_the_naive_definition_agree_on_every_root(
        batches in prop::collection::vec(prop::collection::btree_map(key(), value(), 0..12), 1..6),
        strangers in prop::collection::vec(key(), 4),
    ) {
        let (mut disk, mut map, mut root) = (Disk::default(), BTreeMap::new(), EMPTY_MAP);
        for batch in batches {
            root = disk.apply(root, &batch);
            map.extend(batch);
            prop_assert_eq!(root, naive_root(&entries_of(&map)));
            prop_assert_eq!(root, built_root(&map));
            // Made at once it is the same, to the last tile.
            let (mut whole, mut tiles) = (Whole::default(), HashMap::new());
            for part in entries_of(&map).chunk_by(|a, b| a.key.0[0] == b.key.0[0]) {
                tiles.extend(whole.add(part[0].key.0[0], part).unwrap());
            }
            let (made, top) = whole.finish();
            tiles.extend(top);
            prop_assert_eq!(made, root);
            prop_assert_eq!(&tiles, &disk.tiles);
            for key in map.keys().chain(&strangers) {
                let proof = disk.walk(root, [*key]).prove(key).unwrap();
                prop_assert_eq!(MapProof::parse(proof.to_string().as_bytes()).unwrap(), proof.clone());
                prop_assert_eq!(proof.verify(&root, key).unwrap(), map.get(key).copied());
            }
        }
        // What is left on the disk is this map and no more.
        let mut fresh = Disk::default();
        prop_assert_eq!(fresh.apply(EMPTY_MAP, &map), root);
        prop_assert_eq!(disk.tiles, fresh.tiles);
    }

    #[test]
    fn entries_added_together_make_the_root_that_they_make_one_by_one(
        map in prop::collection::btree_map(key(), value(), 0..300),
        cuts in prop::collection::vec(any::<prop::sample::Index>(), 0..6),
        alone in 0_usize..4,
    ) {
        let entries = entries_of(&map);
        let mut cuts: Vec<usize> = cuts.iter().map(|cut| cut.index(entries.len() + 1)).collect();
        cuts.extend([0, entries.len()]);
        cuts.sort_unstable();
        let mut builder = RootBuilder::default();
        for part in cuts.windows(2).map(|cut| &entries[cut[0]..cut[1]]) {
            let (single, rest) = part.split_at(alone.min(part.len()));
            for entry in single {
                builder.push(*entry).unwrap();
            }
            builder.extend(rest).unwrap();
            let so_far = &entries[..entries.partition_point(|entry| part.last().is_some_and(|last| entry.key <= last.key))];
            if !part.is_empty() {
                prop_assert_eq!(builder.root(), naive_root(so_far));
            }
        }
        prop_assert_eq!(builder.root(), built_root(&map));
        // An entry that does not follow is refused wherever it comes.
        if let [.., one, other] = entries.as_slice() {
            for late in [[*other, *one], [*other, *other]] {
                let key = late[1].key;
                prop_assert_eq!(RootBuilder::default().extend(&late), Err(OutOfOrder { key }));
                let mut builder = RootBuilder::default();
                builder.push(late[0]).unwrap();
                prop_assert_eq!(builder.extend(&late[1..]), Err(OutOfOrder { key }));
            }
        }
    }

    #[test]
    fn a_proof_with_any_part_changed_proves_nothing(
        map in prop::collection::btree_map(key(), value(), 2..20),
        stranger in key(),
        lie in value(),
        flipped in any::<u8>(),
    ) {
        let mut disk = Disk::default();
        let root = disk.apply(EMPTY_MAP, &map);
        for key in map.keys().chain([&stranger]) {
            let good = disk.walk(root, [*key]).prove(key).unwrap();
            let truth = map.get(key).copied();
            let mut changed = Vec::new();
            for at in 0..good.path.len() {
                let mut proof = good.clone();
                proof.path[at].1 = lie;
                changed.push(proof);
                let mut proof = good.clone();
                proof.path[at].0 = flipped;
                changed.push(proof);
                let mut proof = good.clone();
                proof.path.remove(at);
                changed.push(proof);
            }
            let found = good.found.unwrap();
            changed.push(MapProof { found: Some(Entry { value: lie, ..found }), ..good.clone() });
            changed.push(MapProof { found: Some(Entry { key: stranger, ..found }), ..good.clone() });
            changed.push(MapProof { found: None, ..good.clone() });
            for proof in changed {
                if proof != good {
                    // Whatever still holds says the truth.
                    if let Ok(said) = proof.verify(&root, key) {
                        prop_assert_eq!(said, truth);
                    }
                }
            }
        }
    }

    #[test]
    fn a_proof_for_one_key_hides_no_other(map in prop::collection::btree_map(key(), value(), 2..20)) {
        let mut disk = Disk::default();
        let root = disk.apply(EMPTY_MAP, &map);
        for key in map.keys() {
            let proof = disk.walk(root, [*key]).prove(key).unwrap();
            for other in map.keys().filter(|other| *other != key) {
                prop_assert!(proof.verify(&root, other).is_err(), "{} is hidden by the proof of {}", other, key);
            }
        }
    }

    #[test]
    fn with_a_changed_tile_a_walk_breaks_off_or_says_the_truth(
        map in prop::collection::btree_map(key(), value(), 1..20),
        which in any::<prop::sample::Index>(),
        at in any::<prop::sample::Index>(),
        byte in 1_u8..=255,
        stranger in key(),
    ) {
        let mut disk = Disk::default();
        let root = disk.apply(EMPTY_MAP, &map);
        let mut names: Vec<TileId> = disk.tiles.keys().copied().collect();
        names.sort();
        let changed = names[which.index(names.len())];
        let bytes = disk.tiles.get_mut(&changed).unwrap();
        let at = at.index(bytes.len());
        bytes[at] ^= byte;
        for key in map.keys().chain([&stranger]) {
            if let Ok(walk) = disk.try_walk(root, [*key]) {
                let said = walk.prove(key).unwrap().verify(&root, key).unwrap();
                prop_assert_eq!(said, map.get(key).copied());
                let entries = BTreeMap::from([(*key, Sha256([9; 32]))]);
                let mut grown = map.clone();
                grown.extend(entries.clone());
                prop_assert_eq!(walk.apply(&entries).unwrap().root, naive_root(&entries_of(&grown)));
            }
        }
    }

    #[test]
    fn tiles_are_read_as_they_were_written_and_not_when_cut_or_lengthened(
        map in prop::collection::btree_map(key(), value(), 1..20),
        cut in any::<prop::sample::Index>(),
    ) {
        let mut disk = Disk::default();
        let root = disk.apply(EMPTY_MAP, &map);
        let mut walk = Walk::new(root, map.keys().copied());
        loop {
            let wanted = walk.wanted();
            if wanted.is_empty() {
                break;
            }
            for (id, prefix) in wanted {
                let good = &disk.tiles[&id];
                prop_assert!(Tile::parse(id, &prefix, &good[..cut.index(good.len())]).is_err());
                prop_assert!(Tile::parse(id, &prefix, &[good.as_slice(), &[0]].concat()).is_err());
                let tile = Tile::parse(id, &prefix, good).unwrap();
                prop_assert_eq!(&tile.to_bytes(), good);
                prop_assert_eq!(tile.id(), id);
                walk.supply(id, &prefix, good).unwrap();
            }
        }
    }
}

#[test]
fn an_empty_map_proves_that_there_is_nothing() {
    let key = identifier_hash("pkg:pypi/a@1?file_name=a-1.tar.gz");
    let proof = Walk::new(EMPTY_MAP, [key]).prove(&key).unwrap();
    assert_eq!(proof.to_string(), "countersign-map-proof/v1\nnone\n");
    assert_eq!(proof.verify(&EMPTY_MAP, &key), Ok(None));
    assert!(matches!(
        proof.verify(&Sha256([1; 32]), &key),
        Err(MapProofError::Root { .. })
    ));
    let applied = Walk::new(EMPTY_MAP, []).apply(&BTreeMap::new()).unwrap();
    assert_eq!((applied.root, applied.written.len()), (EMPTY_MAP, 0));
}

#[test]
fn a_walk_that_is_not_at_its_end_says_which_tile_it_lacks() {
    let (root, key) = (Sha256([1; 32]), Sha256([2; 32]));
    let walk = Walk::new(root, [key]);
    let id = TileId { level: 0, root };
    assert_eq!(walk.prove(&key), Err(WalkError::Missing(id)));
    assert_eq!(
        walk.apply(&BTreeMap::from([(key, key)])),
        Err(WalkError::Missing(id))
    );
}

#[test]
fn texts_that_are_no_proofs_are_refused_with_a_reason() {
    let hash = "0".repeat(64);
    for (text, reason) in [
        (String::new(), "not UTF-8 lines"),
        ("countersign-map-proof/v2\nnone\n".into(), "the first line"),
        ("countersign-map-proof/v1\n".into(), "missing"),
        ("countersign-map-proof/v1\nnobody\n".into(), "neither"),
        (
            format!("countersign-map-proof/v1\nentry {hash}\n"),
            "neither",
        ),
        (
            format!("countersign-map-proof/v1\nnone\nnode 1 {hash}\n"),
            "no nodes",
        ),
        (
            format!(
                "countersign-map-proof/v1\nentry {hash} {hash}\nnode 2 {hash}\nnode 2 {hash}\n"
            ),
            "do not ascend",
        ),
        (
            format!("countersign-map-proof/v1\nentry {hash} {hash}\nnode 256 {hash}\n"),
            "`node`",
        ),
        (
            format!("countersign-map-proof/v1\nentry {hash} {hash}\nnode 01 {hash}\n"),
            "`node`",
        ),
        ("x".repeat(MAX_MAP_PROOF_BYTES + 1), "32 KiB"),
    ] {
        let error = MapProof::parse(text.as_bytes()).unwrap_err().to_string();
        assert!(error.contains(reason), "{text:?}: {error}");
    }
}

const PROJECT: &str = "pkg:pypi/sample-project";

fn published(version: u64, sequence: u64) -> Leaf {
    let subject = format!("{PROJECT}@{version}?file_name=sample_project-{version}.tar.gz");
    Leaf::file_published(
        subject,
        Sha256([0xab; 32]),
        20,
        1_000_000,
        sequence,
        (sequence > 1).then(|| sequence - 2),
    )
}

#[test]
fn leaves_make_the_map_that_the_specification_describes() {
    let mut replay = Replay::default();
    let mut state = ProjectState::NONE;
    let mut map = BTreeMap::new();
    for (at, version) in (1_u64..).zip([1, 2, 3]) {
        let leaf = published(version, at);
        let hash = leaf_hash(leaf.to_text().unwrap().as_bytes());
        replay.add(&leaf, &hash).unwrap();
        state = state.followed_by(&hash);
        map.insert(identifier_hash(leaf.subject.as_deref().unwrap()), hash);
    }
    let yanked = Leaf::about(
        LeafKind::Yanked,
        format!("{PROJECT}@1"),
        2_000_000,
        4,
        Some(2),
    );
    let hash = leaf_hash(yanked.to_text().unwrap().as_bytes());
    replay.add(&yanked, &hash).unwrap();
    state = state.followed_by(&hash);
    map.insert(project_key(PROJECT), state.value());
    assert_eq!(replay.project(PROJECT), state);
    assert_eq!(replay.project("pkg:pypi/another"), ProjectState::NONE);
    assert_eq!(replay.entries().unwrap(), entries_of(&map));
    assert_eq!(replay.root().unwrap(), naive_root(&entries_of(&map)));
}

#[test]
fn a_hidden_leaf_and_a_second_digest_for_an_identifier_make_no_map() {
    let mut replay = Replay::default();
    let hash = Sha256([1; 32]);
    replay.add(&published(1, 1), &hash).unwrap();
    assert_eq!(
        replay.add(&published(2, 3), &hash),
        Err(ReplayError::Sequence {
            project: PROJECT.into(),
            count: 1,
            found: 3
        })
    );
    replay.add(&published(1, 2), &Sha256([2; 32])).unwrap();
    assert!(matches!(replay.root(), Err(ReplayError::Twice { .. })));
}

/// More than are planned at once, whose keys share their first bytes more often than chance would have it.
#[test]
fn a_long_map_added_together_has_the_root_of_its_tiles() {
    let map: BTreeMap<Sha256, Sha256> = (0..40_000_u32)
        .map(|number| {
            let mut key = Sha256::of(&number.to_be_bytes());
            key.0[0] %= 3;
            (key, Sha256([number as u8; 32]))
        })
        .collect();
    let mut builder = RootBuilder::default();
    builder.extend(&entries_of(&map)).unwrap();
    assert_eq!(builder.root(), built_root(&map));
    assert_eq!(builder.root(), naive_root(&entries_of(&map)));
}

#[test]
fn many_keys_and_chains_are_those_made_one_by_one() {
    let purls: Vec<String> = (0..11)
        .map(|number| format!("pkg:pypi/{}", "a".repeat(number * 9 + 1)))
        .collect();
    let mut keys = Vec::new();
    project_keys(purls.iter().map(String::as_str), |key| keys.push(key));
    assert!(
        keys.iter()
            .zip(&purls)
            .all(|(key, purl)| *key == project_key(purl))
    );
    assert_eq!(keys.len(), purls.len());
    let states: Vec<ProjectState> = keys
        .iter()
        .zip(0..)
        .map(|(key, count)| ProjectState { count, chain: *key })
        .collect();
    let mut followed = Vec::new();
    ProjectState::each_followed_by(states.iter().zip(&keys), |state| followed.push(state));
    let expected: Vec<ProjectState> = states
        .iter()
        .zip(&keys)
        .map(|(state, hash)| state.followed_by(hash))
        .collect();
    assert_eq!(followed, expected);
}

#[test]
fn a_subject_belongs_to_its_project_in_every_ecosystem() {
    for (subject, project) in [
        ("pkg:pypi/a@1?file_name=a-1.tar.gz", "pkg:pypi/a"),
        ("pkg:npm/%40scope/name@1.0.0", "pkg:npm/%40scope/name"),
        ("pkg:cargo/serde", "pkg:cargo/serde"),
    ] {
        assert_eq!(project_of(subject), project);
    }
}

#[test]
fn entries_out_of_order_are_refused() {
    let entry = |byte| Entry {
        key: Sha256([byte; 32]),
        value: Sha256([0; 32]),
    };
    let mut builder = RootBuilder::default();
    builder.push(entry(2)).unwrap();
    for late in [1, 2] {
        let key = Sha256([late; 32]);
        assert_eq!(builder.push(entry(late)), Err(OutOfOrder { key }));
    }
}

/// The specification's own example, read from its text.
#[test]
fn the_example_of_the_specification_holds() {
    let map: BTreeMap<Sha256, Sha256> = [(0x00, 1), (0x40, 2), (0x80, 3)]
        .map(|(key, value)| (Sha256([key; 32]), Sha256([value; 32])))
        .into();
    let root = built_root(&map);
    let text = include_str!("../../../../docs/spec/map.md");
    assert!(
        text.contains(&format!("each) the root is `{root}`.")),
        "{root}"
    );
}

#[test]
fn the_whole_map_is_made_of_ascending_parts_only() {
    let entry = |first: u8, last: u8| {
        let mut key = [0; 32];
        (key[0], key[31]) = (first, last);
        Entry {
            key: Sha256(key),
            value: Sha256([1; 32]),
        }
    };
    let mut whole = Whole::default();
    assert!(whole.add(3, &[]).unwrap().is_empty());
    whole.add(3, &[entry(3, 1), entry(3, 2)]).unwrap();
    for (byte, entries) in [
        (2, vec![entry(2, 1)]),
        (3, vec![entry(3, 3)]),
        (4, vec![entry(5, 1)]),
        (4, vec![entry(4, 2), entry(4, 1)]),
        (4, vec![entry(4, 1), entry(4, 1)]),
    ] {
        assert!(whole.add(byte, &entries).is_err(), "{byte} {entries:?}");
    }
    assert_eq!(Whole::default().finish(), (EMPTY_MAP, None));
}

#[test]
fn each_tile_has_one_address() {
    let id = TileId {
        level: 2,
        root: Sha256([0xab; 32]),
    };
    let address = id.to_string();
    assert_eq!(TileId::parse(&address), Some(id));
    for bad in [
        address.replace("/ab/", "/aB/"),
        address.replace("/ab/", "/ac/"),
        address.replace("map/2", "map/02"),
        address.replace("map/2", "map/32"),
        address.replace("map/2", "/map/2"),
        address.to_uppercase(),
        format!("{address}/"),
        format!("{address}/x"),
        address.replace("abab", "../"),
        address[..address.len() - 1].to_owned(),
        String::new(),
    ] {
        assert_eq!(TileId::parse(&bad), None, "{bad}");
    }
}
