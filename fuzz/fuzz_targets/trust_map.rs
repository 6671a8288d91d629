//! Proofs and tiles of the map: one text for each, and none holds by accident.
#![no_main]

use countersign_trust::digest::Sha256;
use countersign_trust::map::{EMPTY_MAP, MapProof, Tile, TileError, TileId};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    let forged = Sha256([7; 32]);
    if let Ok(proof) = MapProof::parse(data) {
        assert_eq!(proof.to_string().as_bytes(), data);
        for key in [Sha256([0; 32]), Sha256([255; 32])] {
            assert!(proof.verify(&forged, &key).is_err(), "a forged proof");
            assert_eq!(proof.verify(&EMPTY_MAP, &key).is_ok(), proof.found.is_none());
        }
    }
    let Some((level, bytes)) = data.split_first() else {
        return;
    };
    let prefix = vec![0; usize::from(*level)];
    let id = |root| TileId {
        level: *level,
        root,
    };
    // A tile of another root says which it is; asked for by that one, it is taken, and written as it was read.
    if let Err(TileError::Root { found, .. }) = Tile::parse(id(forged), &prefix, bytes) {
        let tile = Tile::parse(id(found), &prefix, bytes).expect("its own root");
        assert_eq!(tile.to_bytes(), bytes);
    }
});
