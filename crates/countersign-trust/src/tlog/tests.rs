use std::cell::RefCell;
use std::collections::{BTreeSet, HashMap};
use std::path::{Path, PathBuf};

use proptest::prelude::*;

use super::*;

/// Everything is tried for each size up to this one: beyond two tiles, so that levels 0 and 1 have full, partial and
/// missing tiles.
const LARGEST: u64 = 600;

type Tiles = HashMap<TileId, Vec<u8>>;

fn leaf(index: u64) -> Sha256 {
    leaf_hash(&index.to_be_bytes())
}

/// MTH of RFC 6962 section 2.1, word for word.
fn naive_root(leaves: &[Sha256]) -> Sha256 {
    match leaves {
        [] => Sha256::of(b""),
        [leaf] => *leaf,
        _ => {
            let mut split = 1;
            while split * 2 < leaves.len() {
                split *= 2;
            }
            node_hash(&naive_root(&leaves[..split]), &naive_root(&leaves[split..]))
        }
    }
}

fn leaves(size: u64) -> Vec<Sha256> {
    static LEAVES: std::sync::LazyLock<Vec<Sha256>> =
        std::sync::LazyLock::new(|| (0..4000).map(leaf).collect());
    LEAVES[..size as usize].to_vec()
}

/// The tiles of a tree of `size` leaves alone, made in one step from nothing.
fn tiles_of(size: u64) -> Tiles {
    grow(0, &leaves(size), &Tiles::new())
        .unwrap()
        .into_iter()
        .collect()
}

/// Notes which tiles are read.
struct Recording<'a> {
    tiles: &'a Tiles,
    read: RefCell<BTreeSet<TileId>>,
}

impl TileSource for Recording<'_> {
    fn tile(&self, id: TileId) -> Option<&[u8]> {
        self.read.borrow_mut().insert(id);
        self.tiles.tile(id)
    }
}

#[test]
fn frontier_tiles_and_the_naive_definition_agree_on_every_root() {
    let mut frontier = Frontier::empty();
    for size in 0..=LARGEST {
        let tiles = tiles_of(size);
        let expected = naive_root(&leaves(size));
        assert_eq!(frontier.root(), expected, "frontier of {size}");
        assert_eq!(root(size, &tiles).unwrap(), expected, "tiles of {size}");
        assert_eq!(Frontier::from_tiles(size, &tiles).unwrap(), frontier);
        let stored = Frontier::from_parts(frontier.size(), frontier.hashes().to_vec());
        assert_eq!(stored.as_ref(), Some(&frontier));
        frontier.append(leaf(size));
    }
    assert_eq!(Frontier::from_parts(3, vec![leaf(0)]), None);
    assert_eq!(EMPTY_ROOT, Sha256::of(b""));
}

/// Every leaf of every size, in an order that jumps about; each proof also with what is wrong with it, before and after the
/// tree knows its path.
#[test]
fn a_tree_that_remembers_accepts_and_refuses_what_a_plain_check_does() {
    for size in (1..=70).chain([255, 256, 257, LARGEST]) {
        let tiles = tiles_of(size);
        let root = root(size, &tiles).unwrap();
        let mut tree = ProvenTree::new(size, root);
        for step in 0..2 * size {
            let index = step * 37 % size;
            let good = inclusion_proof(index, size, &tiles).unwrap();
            let mut tried = vec![(index, leaf(index), good.clone())];
            tried.push((index, leaf(index + 1), good.clone()));
            tried.push((index + 1, leaf(index), good.clone()));
            tried.push((size, leaf(index), good.clone()));
            tried.push((u64::MAX, leaf(index), good.clone()));
            tried.push((index, leaf(index), [&good[..], &[root]].concat()));
            tried.push((index, leaf(index), [&[root], &good[..]].concat()));
            for wrong in 0..good.len() {
                let mut bad = good.clone();
                bad[wrong].0[31] ^= 1;
                tried.push((index, leaf(index), bad));
                let mut short = good.clone();
                short.remove(wrong);
                tried.push((index, leaf(index), short));
            }
            // What is wrong comes first for some, so that nothing of it may be remembered.
            if step % 2 == 0 {
                tried.reverse();
            }
            for (index, hash, proof) in tried {
                let plain = verify_inclusion(hash, index, size, &proof, root);
                let remembered = tree.verify_inclusion(hash, index, &proof);
                assert_eq!(
                    plain.is_ok(),
                    remembered.is_ok(),
                    "{index} of {size}: {plain:?}, {remembered:?}"
                );
            }
        }
    }
}

#[test]
fn inclusion_proofs_from_tiles_verify_for_every_leaf_of_every_size() {
    for size in 1..=LARGEST {
        let (tiles, root) = (tiles_of(size), naive_root(&leaves(size)));
        // Every leaf of small trees, a sample of larger ones that still visits each residue.
        let step = if size <= 40 { 1 } else { 89 };
        for index in (0..size).filter(|index| index % step == size % step || *index + 1 == size) {
            let source = Recording {
                tiles: &tiles,
                read: RefCell::default(),
            };
            let proof = inclusion_proof(index, size, &source).unwrap();
            verify_inclusion(leaf(index), index, size, &proof, root).unwrap();
            let read: Vec<TileId> = source.read.into_inner().into_iter().collect();
            assert_eq!(read, tiles_needed_for_inclusion(index, size));
            assert!(verify_inclusion(leaf(index + 1), index, size, &proof, root).is_err());
        }
    }
}

#[test]
fn consistency_proofs_from_tiles_verify_between_all_sizes() {
    let roots: Vec<Sha256> = (0..=LARGEST)
        .map(|size| naive_root(&leaves(size)))
        .collect();
    for new in 1..=LARGEST {
        let tiles = tiles_of(new);
        let step = if new <= 40 { 1 } else { 97 };
        for old in (1..=new).filter(|old| old % step == new % step) {
            let source = Recording {
                tiles: &tiles,
                read: RefCell::default(),
            };
            let proof = consistency_proof(old, new, &source).unwrap();
            verify_consistency(old, roots[old as usize], new, roots[new as usize], &proof).unwrap();
            let read: Vec<TileId> = source.read.into_inner().into_iter().collect();
            assert_eq!(read, tiles_needed_for_consistency(old, new));
            if old != new {
                assert!(
                    verify_consistency(
                        old,
                        roots[old as usize - 1],
                        new,
                        roots[new as usize],
                        &proof
                    )
                    .is_err()
                );
            }
        }
        assert_eq!(consistency_proof(0, new, &tiles), Ok(Vec::new()));
        assert!(matches!(
            consistency_proof(new + 1, new, &tiles),
            Err(TileError::Range { .. })
        ));
    }
}

#[test]
fn subtree_proofs_from_tiles_verify() {
    for size in [1, 2, 3, 7, 8, 13, 33, 256, 300] {
        let (tiles, all) = (tiles_of(size), leaves(size));
        for length in (1..=size).filter(|length| size < 40 || length % 7 == size % 7) {
            let align = length.next_power_of_two();
            for start in (0..=size - length).step_by(align as usize) {
                let end = start + length;
                let proof = subtree_proof(start, end, size, &tiles).unwrap();
                let subtree = naive_root(&all[start as usize..end as usize]);
                verify_subtree_consistency(start, end, size, &proof, subtree, naive_root(&all))
                    .unwrap();
            }
        }
        assert!(subtree_proof(1, 3, size, &tiles).is_err());
    }
}

#[test]
fn growing_in_steps_makes_the_same_tiles_as_growing_at_once() {
    for steps in [
        vec![1; 520],
        vec![255, 1, 1, 255, 2],
        vec![256, 256],
        vec![300, 0, 300],
        vec![7; 80],
    ] {
        let (mut tiles, mut size) = (Tiles::new(), 0);
        for step in steps {
            let new_leaves: Vec<Sha256> = (size..size + step).map(leaf).collect();
            // Only what is named may be needed.
            let needed: Tiles = tiles_needed_for_growth(size)
                .into_iter()
                .map(|id| (id, tiles[&id].clone()))
                .collect();
            let made = grow(size, &new_leaves, &needed).unwrap();
            let names: Vec<TileId> = made.iter().map(|(id, _)| *id).collect();
            assert_eq!(names, tiles_for_growth(size, size + step));
            assert!(
                made.iter()
                    .all(|(id, bytes)| bytes.len() == id.byte_length())
            );
            tiles.extend(made);
            size += step;
            assert_eq!(root(size, &tiles).unwrap(), naive_root(&leaves(size)));
        }
        for (id, bytes) in tiles_of(size) {
            assert_eq!(tiles[&id], bytes, "{}", id.path());
        }
    }
}

#[test]
fn the_specification_s_examples_of_sizes_have_the_tiles_it_says() {
    let of_level = |tiles: &[TileId], level| {
        let full = tiles
            .iter()
            .filter(|id| id.level == level && !id.is_partial())
            .count();
        let partial = tiles
            .iter()
            .find(|id| id.level == level && id.is_partial())
            .map(|id| id.width);
        (full, partial)
    };
    let tiles = tiles_for_growth(0, 70_000);
    assert_eq!(of_level(&tiles, 0), (273, Some(112)));
    assert_eq!(of_level(&tiles, 1), (1, Some(17)));
    assert_eq!(of_level(&tiles, 2), (0, Some(1)));
    let tiles = tiles_for_growth(255, 256);
    assert_eq!(
        tiles.iter().map(TileId::path).collect::<Vec<_>>(),
        ["tile/0/000", "tile/1/000.p/1"]
    );
    assert_eq!(tiles_for_growth(5, 5), []);
    assert_eq!(tiles_for_growth(6, 5), []);
    assert_eq!(entries_for_growth(5, 5), []);
    let bundles: Vec<String> = entries_for_growth(250, 600)
        .iter()
        .map(EntriesId::path)
        .collect();
    assert_eq!(
        bundles,
        [
            "tile/entries/000",
            "tile/entries/001",
            "tile/entries/002.p/88"
        ]
    );
}

#[test]
fn full_tiles_stand_in_for_partial_ones_and_damaged_ones_are_noticed() {
    let full = tiles_of(256);
    let only_full: Tiles = full
        .iter()
        .filter(|(id, _)| !id.is_partial())
        .map(|(id, b)| (*id, b.clone()))
        .collect();
    let proof = inclusion_proof(3, 70, &only_full).unwrap();
    verify_inclusion(leaf(3), 3, 70, &proof, naive_root(&leaves(70))).unwrap();
    let id = TileId {
        level: 0,
        index: 0,
        width: 70,
    };
    assert_eq!(
        inclusion_proof(3, 70, &Tiles::new()),
        Err(TileError::Missing(id))
    );
    let short: Tiles = [(id, vec![0; 69 * 32])].into();
    assert_eq!(
        inclusion_proof(3, 70, &short),
        Err(TileError::Length { id, found: 69 * 32 })
    );
    assert!(matches!(
        inclusion_proof(70, 70, &full),
        Err(TileError::Range { .. })
    ));
    assert!(matches!(
        inclusion_proof(u64::MAX, u64::MAX, &full),
        Err(TileError::Range { .. })
    ));
}

#[test]
fn paths_follow_the_specification() {
    for (path, level, index, width) in [
        ("tile/0/x001/x234/067", 0, 1_234_067, 256),
        ("tile/0/x001/067.p/70", 0, 1_067, 70),
        ("tile/63/000.p/1", 63, 0, 1),
        ("tile/2/x001/000", 2, 1000, 256),
        ("tile/0/x018/x446/x744/x073/x709/x551/615", 0, u64::MAX, 256),
    ] {
        let id = TileId {
            level,
            index,
            width,
        };
        assert_eq!(
            (id.path().as_str(), TileId::parse_path(path)),
            (path, Ok(id))
        );
    }
    for bad in [
        "tile/0/67",
        "tile/64/067",
        "tile/00/067",
        "tile/0/x000/067",
        "tile/0/001/067",
        "tile/0/x067",
        "tile/0/067.p/0",
        "tile/0/067.p/256",
        "tile/0/067.p/07",
        "tile/0/067.p/",
        "tile/0/+67",
        "tile/0/067/",
        "tile/0//067",
        "tile/0/x018/x446/x744/x073/x709/x551/616",
        "tile/0/x999/x999/x999/x999/x999/x999/x999/x999/999",
        "tile/entries/067",
        "",
    ] {
        assert!(TileId::parse_path(bad).is_err(), "{bad}");
    }
    assert_eq!(
        EntriesId::parse_path("tile/entries/x001/067.p/9")
            .unwrap()
            .path(),
        "tile/entries/x001/067.p/9"
    );
    assert!(EntriesId::parse_path("tile/0/067").is_err());
}

#[test]
fn bundles_round_trip_and_damage_is_refused() {
    let longest = vec![7; MAX_ENTRY_BYTES];
    let entries: [&[u8]; 3] = [b"one", b"", &longest];
    let bundle = encode_entries(&entries).unwrap();
    assert_eq!(decode_entries(&bundle).unwrap(), entries);
    assert_eq!(
        decode_entries(&bundle[..bundle.len() - 1]),
        Err(EntriesError::Truncated { position: 2 })
    );
    assert_eq!(
        decode_entries(&bundle[..6]),
        Err(EntriesError::Truncated { position: 1 })
    );
    assert_eq!(decode_entries(&[]), Err(EntriesError::Count));
    assert_eq!(decode_entries(&[0; 2 * 257]), Err(EntriesError::Count));
    assert_eq!(decode_entries(&[0; 2 * 256]).unwrap().len(), 256);
    assert_eq!(encode_entries::<&[u8]>(&[]), Err(EntriesError::Count));
    assert_eq!(encode_entries(&[b""; 257]), Err(EntriesError::Count));
    let too_long = vec![0; MAX_ENTRY_BYTES + 1];
    assert_eq!(
        encode_entries(&[&too_long]),
        Err(EntriesError::TooLong {
            position: 0,
            bytes: 65_536
        })
    );
}

fn vector_files(folder: &Path, found: &mut Vec<PathBuf>) {
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            vector_files(&path, found);
        } else if path
            .extension()
            .is_some_and(|extension| extension == "json")
        {
            found.push(path);
        }
    }
}

/// The vectors hold some "roots" that are not 32 bytes long, which the types here cannot hold. Each is replaced by a
/// digest of its own: equal ones stay equal, different ones different, and none is a hash of a tree.
fn vector_root(value: &serde_json::Value) -> Sha256 {
    let bytes = crate::base64_decode(value.as_str().unwrap_or_default()).unwrap();
    <[u8; 32]>::try_from(bytes.as_slice())
        .map_or_else(|_| Sha256::of_parts(&[b"stand-in", &bytes]), Sha256)
}

/// Leaf and proof hashes of another length cannot reach the verifiers: they are refused where they are read.
fn vector_hash(value: &serde_json::Value) -> Option<Sha256> {
    crate::base64_hash(value.as_str().unwrap_or_default())
}

/// `None`: refused before any verifier was asked.
fn judge(vector: &serde_json::Value) -> Option<Result<(), VerifyError>> {
    let number = |key: &str| vector[key].as_u64().unwrap();
    let root = |key: &str| vector_root(&vector[key]);
    let no_proof = Vec::new();
    let proof = vector["proof"].as_array().unwrap_or(&no_proof);
    let proof: Vec<Sha256> = proof.iter().map(vector_hash).collect::<Option<_>>()?;
    Some(if vector.get("size1").is_some() {
        verify_consistency(
            number("size1"),
            root("root1"),
            number("size2"),
            root("root2"),
            &proof,
        )
    } else if vector.get("treeSize").is_some() {
        let leaf = vector_hash(&vector["leafHash"])?;
        verify_inclusion(
            leaf,
            number("leafIdx"),
            number("treeSize"),
            &proof,
            root("root"),
        )
    } else if vector.get("leafIdx").is_some() {
        let leaf = vector_hash(&vector["leafHash"])?;
        let (start, end) = (number("start"), number("end"));
        verify_subtree_inclusion(leaf, number("leafIdx"), start, end, &proof, root("root"))
    } else {
        let (start, end, size) = (number("start"), number("end"), number("size"));
        verify_subtree_consistency(start, end, size, &proof, root("root1"), root("root2"))
    })
}

#[test]
fn every_published_vector_is_judged_as_expected() {
    let folder = Path::new(concat!(
        env!("CARGO_MANIFEST_DIR"),
        "/../../../shared/vectors/merkle/testdata"
    ));
    let mut files = Vec::new();
    vector_files(folder, &mut files);
    let (mut good, mut bad) = (0, 0);
    for file in &files {
        let vector: serde_json::Value =
            serde_json::from_slice(&std::fs::read(file).unwrap()).unwrap();
        let result = judge(&vector);
        let want_error = vector["wantErr"].as_bool().unwrap();
        let refused = !matches!(result, Some(Ok(())));
        assert_eq!(
            refused,
            want_error,
            "{}: {} gave {result:?}",
            file.display(),
            vector["desc"]
        );
        if want_error { bad += 1 } else { good += 1 }
    }
    assert!(
        good + bad > 400 && good >= 30,
        "{good} good and {bad} bad vectors: are all there?"
    );
}

proptest! {
    #[test]
    fn tile_paths_round_trip(level in 0u8..64, index: u64, width in 1u16..=256) {
        let id = TileId { level, index, width };
        prop_assert_eq!(TileId::parse_path(&id.path()), Ok(id));
        let id = EntriesId { index, width };
        prop_assert_eq!(EntriesId::parse_path(&id.path()), Ok(id));
    }

    #[test]
    fn verifiers_survive_any_numbers(a: u64, b: u64, c: u64, hashes in 0usize..70) {
        let proof = vec![leaf(0); hashes];
        let _ = verify_inclusion(leaf(0), a, b, &proof, leaf(1));
        let _ = verify_consistency(a, leaf(0), b, leaf(1), &proof);
        let _ = verify_subtree_inclusion(leaf(0), a, b, c, &proof, leaf(1));
        let _ = verify_subtree_consistency(a, b, c, &proof, leaf(0), leaf(1));
        let _ = inclusion_proof(a, b, &Tiles::new());
        let _ = consistency_proof(a, b, &Tiles::new());
        let _ = tiles_needed_for_subtree(a, b, c);
        let _ = tiles_needed_for_root(a);
    }

    #[test]
    fn proofs_of_random_growth_verify(sizes in prop::collection::vec(1u64..200, 1..4), pick: u64) {
        let (mut tiles, mut size) = (Tiles::new(), 0);
        for step in sizes {
            let new_leaves: Vec<Sha256> = (size..size + step).map(leaf).collect();
            let made = grow(size, &new_leaves, &tiles).unwrap();
            tiles.extend(made);
            let (old, new) = (size, size + step);
            let (old_root, new_root) = (naive_root(&leaves(old)), naive_root(&leaves(new)));
            if old > 0 {
                let proof = consistency_proof(old, new, &tiles).unwrap();
                prop_assert_eq!(verify_consistency(old, old_root, new, new_root, &proof), Ok(()));
            }
            let index = pick % new;
            let proof = inclusion_proof(index, new, &tiles).unwrap();
            prop_assert_eq!(verify_inclusion(leaf(index), index, new, &proof, new_root), Ok(()));
            size = new;
        }
    }
}
