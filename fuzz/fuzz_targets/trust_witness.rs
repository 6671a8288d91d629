//! Requests to a witness and its files: one text for each request, and nothing is signed that its log did not sign.
#![no_main]

use countersign_trust::note::{KeyName, SignerKey};
use countersign_trust::witness::{AddCheckpoint, KnownLogs, SignSubtree, Witness};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    // The key of the log is nobody's, so each acceptance would be a forgery.
    let key = SignerKey::generate(KeyName::new("log.example/1").expect("a name"), [1; 32]);
    let name = KeyName::new("w.example/1").expect("a name");
    if let Ok(request) = AddCheckpoint::parse(data) {
        assert_eq!(request.to_string().as_bytes(), data);
        let mut logs = KnownLogs::new();
        let origin = request.checkpoint().origin.clone();
        if logs.add(&origin, key.verifier()).is_ok() {
            let log = logs.get(&origin).expect("just added");
            assert!(request.authenticate(log).is_err(), "a forged checkpoint");
        }
    }
    if let Ok(request) = SignSubtree::parse(data) {
        assert_eq!(request.to_string().as_bytes(), data);
        let subtree = request.subtree();
        assert!(subtree.start < subtree.end && subtree.end <= request.checkpoint().size);
        let witness = Witness::generate(&name, [2; 32], [3; 32]);
        let mut logs = KnownLogs::new();
        let origin = request.checkpoint().origin.clone();
        if logs.add(&origin, key.verifier()).is_ok() {
            let log = logs.get(&origin).expect("just added");
            assert!(witness.sign_subtree(log, &request).is_err(), "a forged cosignature");
        }
    }
    // No panic on what an operator hands in either; and what is read of a list is what it says.
    let mut logs = KnownLogs::new();
    if logs.read(data).is_ok() {
        for log in logs.iter() {
            assert!(!log.origin().is_empty() && !log.keys().is_empty());
        }
    }
    if let Ok(text) = std::str::from_utf8(data)
        && let Ok(witness) = Witness::parse_private(text)
    {
        assert!(!witness.verifiers().is_empty());
        let again = Witness::parse_private(&witness.private_text()).expect("its own text");
        assert_eq!(again.verifiers(), witness.verifiers());
    }
});
