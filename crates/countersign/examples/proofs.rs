//! How many proofs a core checks in a second: each with a checkpoint of its own (one signature of the log, one of a witness), and
//! under a checkpoint that was verified before. Run by `cargo xtask bench --only proofs`.
//!
//! `cargo run --release --example proofs [LOG_SIZE]` prints one JSON line of rates, in seconds of this thread's own time.

#![allow(clippy::unwrap_used)]

use std::collections::HashMap;
use std::hint::black_box;
use std::sync::LazyLock;
use std::time::Instant;

use countersign_trust::checkpoint::Checkpoint;
use countersign_trust::cosignature::sign_ed25519;
use countersign_trust::digest::Sha256;
use countersign_trust::leaf::{self, Leaf};
use countersign_trust::note::{Ed25519Role, KeyName, SignedNote, SignerKey};
use countersign_trust::policy::{Policy, Proofs};
use countersign_trust::proof::TlogProof;
use countersign_trust::tlog::{self, TileId, grow};

const ORIGIN: &str = "packages.example/log/1";

/// Seconds of the processor that this thread has had, so that strangers on the machine do not count; of the clock where
/// the system does not say.
fn spent() -> f64 {
    static BEGIN: LazyLock<Instant> = LazyLock::new(Instant::now);
    let said = std::fs::read_to_string("/proc/thread-self/schedstat").ok();
    said.and_then(|text| text.split(' ').next()?.parse::<f64>().ok())
        .map_or_else(|| BEGIN.elapsed().as_secs_f64(), |nanos| nanos / 1e9)
}

/// How many of these are done in a second of this thread's own time, from the best of several rounds.
fn rate<T>(of: &[T], check: impl Fn(&T)) -> f64 {
    rate_of_rounds(of, || &check)
}

/// The same; each round begins with nothing remembered of the one before.
fn rate_of_rounds<T, F: FnMut(&T)>(of: &[T], begin: impl Fn() -> F) -> f64 {
    let mut best = 0.0_f64;
    for _ in 0..5 {
        let before = spent();
        of.iter().for_each(begin());
        best = best.max(of.len() as f64 / (spent() - before));
    }
    best
}

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
    let fresh = rate(&bundles[..bundles.len().min(4_000)], |bundle| {
        let proof = TlogProof::parse(bundle).unwrap();
        let entry = proof.extra.as_deref().unwrap();
        black_box(leaf::parse(entry).unwrap());
        black_box(policy.verify(&proof, entry, ORIGIN).unwrap());
    });
    let verified = policy.open(note.to_string().as_bytes(), ORIGIN).unwrap();
    let held = |proof: &TlogProof| {
        let entry = proof.extra.as_deref().unwrap();
        tlog::verify_inclusion(
            tlog::leaf_hash(entry),
            proof.index,
            verified.size(),
            &proof.hashes,
            verified.root(),
        )
        .unwrap();
    };
    // As a client does that has many of them under one checkpoint: each round knows nothing of the one before.
    let parsed = rate_of_rounds(&bundles, || {
        let mut proofs = Proofs::new(policy.clone(), ORIGIN.to_owned());
        move |bundle: &Vec<u8>| {
            let proof = TlogProof::parse(bundle).unwrap();
            let entry = proof.extra.as_deref().unwrap();
            black_box(leaf::parse(entry).unwrap());
            black_box(proofs.verify(&proof, entry).unwrap());
        }
    });
    let plain = rate(&bundles, |bundle| {
        let proof = TlogProof::parse(bundle).unwrap();
        black_box(leaf::parse(proof.extra.as_deref().unwrap()).unwrap());
        held(&proof);
    });
    let proofs: Vec<TlogProof> = bundles
        .iter()
        .map(|bundle| TlogProof::parse(bundle).unwrap())
        .collect();
    let alone = rate(&proofs, held);
    let reading = rate(&bundles, |bundle| {
        black_box(TlogProof::parse(bundle).unwrap());
    });
    println!(
        r#"{{"fresh":{fresh:.0},"verified":{parsed:.0},"verified_each_alone":{plain:.0},"proof_alone":{alone:.0},"reading_alone":{reading:.0},"log_size":{size}}}"#
    );
}
