//! How many proofs a core checks in a second: each with a checkpoint of its own (one signature of the log, one of a witness), and
//! under a checkpoint that was verified before. `cargo run --release --example proofs [LOG_SIZE]`

#![allow(clippy::unwrap_used)]

use std::collections::HashMap;
use std::hint::black_box;
use std::time::Instant;

use countersign_trust::checkpoint::Checkpoint;
use countersign_trust::cosignature::sign_ed25519;
use countersign_trust::digest::Sha256;
use countersign_trust::leaf::{self, Leaf};
use countersign_trust::note::{Ed25519Role, KeyName, SignedNote, SignerKey};
use countersign_trust::policy::Policy;
use countersign_trust::proof::TlogProof;
use countersign_trust::tlog::{self, TileId, grow};

const ORIGIN: &str = "packages.example/log/1";

fn main() {
    let size: u64 = std::env::args()
        .nth(1)
        .map_or(1 << 20, |text| text.parse().unwrap());
    let entry = |index: u64| {
        let subject =
            format!("pkg:pypi/project-{index}@1.0?file_name=project_{index}-1.0-py3-none-any.whl");
        let digest = Sha256::of(&index.to_be_bytes());
        let time = 1_763_700_000_000_000 + i64::try_from(index).unwrap();
        Leaf::file_published(subject, digest, 1000, time, 1, None)
            .to_text()
            .unwrap()
    };
    let hashes: Vec<Sha256> = (0..size)
        .map(|index| tlog::leaf_hash(entry(index).as_bytes()))
        .collect();
    let none: HashMap<TileId, Vec<u8>> = HashMap::new();
    let tiles: HashMap<TileId, Vec<u8>> = grow(0, &hashes, &none).unwrap().into_iter().collect();
    let root = tlog::root(size, &tiles).unwrap();
    let log = SignerKey::generate(KeyName::new(ORIGIN).unwrap(), [1; 32]);
    let name = KeyName::new("witness.example/w1").unwrap();
    let witness = SignerKey::from_seed(name, Ed25519Role::Cosigner, [2; 32]);
    let checkpoint = Checkpoint::new(ORIGIN, size, root);
    let mut note = SignedNote::parse(checkpoint.sign(&log, None).as_bytes()).unwrap();
    let cosigned = sign_ed25519(&witness, &checkpoint, 1_763_700_000).unwrap();
    note.add_signature(cosigned).unwrap();
    let policy = format!(
        "log {}\nwitness w1 {}\nquorum w1\n",
        log.verifier(),
        witness.verifier()
    );
    let policy = Policy::parse(policy.as_bytes()).unwrap();

    let count = 20_000.min(size);
    let bundles: Vec<Vec<u8>> = (0..count)
        .map(|number| {
            let index = number * (size / count);
            let proof = TlogProof {
                extra: Some(entry(index).into_bytes()),
                index,
                hashes: tlog::inclusion_proof(index, size, &tiles).unwrap(),
                checkpoint: note.to_string(),
            };
            proof.to_string().into_bytes()
        })
        .collect();
    let measured = |what: &str, check: &dyn Fn(&[u8])| {
        let begun = Instant::now();
        bundles.iter().for_each(|bundle| check(bundle));
        let each = begun.elapsed() / u32::try_from(count).unwrap();
        println!(
            "{what}: {:.0} per second ({each:?} each)",
            1.0 / each.as_secs_f64()
        );
    };
    measured("with a checkpoint of its own", &|bundle| {
        let proof = TlogProof::parse(bundle).unwrap();
        let entry = proof.extra.as_deref().unwrap();
        black_box(leaf::parse(entry).unwrap());
        black_box(policy.verify(&proof, entry, ORIGIN).unwrap());
    });
    let verified = policy.open(note.to_string().as_bytes(), ORIGIN).unwrap();
    measured("under a verified checkpoint, parsed", &|bundle| {
        let proof = TlogProof::parse(bundle).unwrap();
        let entry = proof.extra.as_deref().unwrap();
        black_box(leaf::parse(entry).unwrap());
        tlog::verify_inclusion(
            tlog::leaf_hash(entry),
            proof.index,
            verified.size(),
            &proof.hashes,
            verified.root(),
        )
        .unwrap();
    });
    let parsed: Vec<TlogProof> = bundles
        .iter()
        .map(|bundle| TlogProof::parse(bundle).unwrap())
        .collect();
    let begun = Instant::now();
    for proof in &parsed {
        let entry = proof.extra.as_deref().unwrap();
        tlog::verify_inclusion(
            tlog::leaf_hash(entry),
            proof.index,
            verified.size(),
            &proof.hashes,
            verified.root(),
        )
        .unwrap();
    }
    let each = begun.elapsed() / u32::try_from(count).unwrap();
    println!(
        "under a verified checkpoint, the proof alone: {:.0} per second ({each:?} each)",
        1.0 / each.as_secs_f64()
    );
}
