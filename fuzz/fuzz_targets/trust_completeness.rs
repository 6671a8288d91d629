//! Texts of completeness: one text for each, and none holds under a head that it does not lead to.
#![no_main]

use countersign_trust::completeness::{Completeness, read_map_root};
use countersign_trust::note::{KeyName, SignerKey};
use countersign_trust::policy::Policy;
use libfuzzer_sys::fuzz_target;

const ORIGIN: &str = "packages.example/log/1";

fuzz_target!(|data: &[u8]| {
    if let Ok(read) = Completeness::parse(data) {
        assert_eq!(read.to_string().as_bytes(), data);
        // Nothing was ever signed by this key.
        let name = KeyName::new(ORIGIN).expect("a name");
        let key = SignerKey::generate(name, [7; 32]).verifier();
        let policy = Policy::parse(format!("log {key}\nquorum none\n").as_bytes()).expect("a policy");
        let held = read.verify_by(&policy, ORIGIN, &read.project, Some(&read.after));
        assert!(held.is_err(), "a forged text");
    }
    if let Ok(commitment) = read_map_root(data, 1 << 40) {
        assert!(commitment.covers <= 1 << 40);
    }
});
