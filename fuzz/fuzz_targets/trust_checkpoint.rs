//! Checkpoints: one text for each, and what is signed is what is opened.
#![no_main]

use countersign_trust::checkpoint::{self, Checkpoint};
use countersign_trust::note::{KeyName, SignerKey};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    let origin = "log.example/1";
    let key = SignerKey::generate(KeyName::new(origin).expect("a valid name"), [1; 32]);
    assert!(
        checkpoint::open(data, &[key.verifier()], origin).is_err(),
        "a forged checkpoint"
    );
    let Ok(text) = std::str::from_utf8(data) else {
        return;
    };
    let Ok(read) = Checkpoint::parse(text) else {
        return;
    };
    assert_eq!(read.to_note_text(), text);
    // A note's text has no control characters, which a checkpoint's does not look for.
    let clean = data.iter().all(|b| *b >= 0x20 || *b == b'\n');
    let opened = checkpoint::open(
        read.sign(&key, None).as_bytes(),
        &[key.verifier()],
        &read.origin,
    );
    assert_eq!(opened.is_ok(), clean && read.origin == origin);
});
