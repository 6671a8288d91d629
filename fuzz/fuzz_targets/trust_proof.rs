//! Proof files: one text for each, and none verifies by accident. The verifiers also see any numbers.
#![no_main]

use countersign_trust::digest::Sha256;
use countersign_trust::note::{KeyName, SignerKey};
use countersign_trust::proof::TlogProof;
use countersign_trust::tlog;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    if let Ok(proof) = TlogProof::parse(data) {
        assert_eq!(proof.to_string().as_bytes(), data);
        let key = SignerKey::generate(
            KeyName::new("log.example/1").expect("a valid name"),
            [1; 32],
        );
        assert!(
            proof
                .verify(b"leaf", &[key.verifier()], "log.example/1")
                .is_err(),
            "a forged proof"
        );
    }
    let Some((numbers, hashes)) = data.split_first_chunk::<24>() else {
        return;
    };
    let number =
        |at: usize| u64::from_be_bytes(numbers[at..at + 8].try_into().expect("eight bytes"));
    let proof: Vec<Sha256> = hashes
        .as_chunks::<32>()
        .0
        .iter()
        .copied()
        .map(Sha256)
        .collect();
    let (a, b, c) = (number(0), number(8), number(16));
    let (one, two) = (Sha256([1; 32]), Sha256([2; 32]));
    assert!(tlog::verify_inclusion(one, a, b, &proof, two).is_err());
    assert!(tlog::verify_consistency(a, one, b, two, &proof).is_err());
    assert!(tlog::verify_subtree_inclusion(one, a, b, c, &proof, two).is_err());
    assert!(tlog::verify_subtree_consistency(a, b, c, &proof, one, two).is_err());
});
