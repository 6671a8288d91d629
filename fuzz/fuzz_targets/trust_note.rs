//! Signed notes and keys: what is read is written back to the same bytes, and nothing verifies by accident.
#![no_main]

use countersign_trust::note::{KeyName, MlDsaKey, SignedNote, SignerKey, VerifierKey};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    let name = KeyName::new("log.example/1").expect("a valid name");
    let key = SignerKey::generate(name, [1; 32]);
    if let Ok(note) = SignedNote::parse(data) {
        assert_eq!(note.to_string().as_bytes(), data);
        assert!(
            note.verify(&[key.verifier()]).is_err(),
            "a forged signature"
        );
    }
    if let Ok(text) = std::str::from_utf8(data) {
        if let Ok(key) = text.parse::<VerifierKey>() {
            assert_eq!(key.to_string(), text);
        }
        if let Ok(key) = SignerKey::parse_private(text) {
            assert_eq!(key.private_text(), text);
        }
        if let Ok(key) = MlDsaKey::parse_private(text) {
            assert_eq!(key.private_text(), text);
        }
    }
});
