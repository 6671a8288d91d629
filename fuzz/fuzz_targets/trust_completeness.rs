//! Texts of completeness: one text for each, and none holds under a head that it does not lead to.
#![no_main]

use countersign_trust::completeness::{Completeness, read_map_root};
use countersign_trust::policy::Policy;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    // Nobody holds the key of this log.
    let policy = Policy::parse(
        b"log packages.example/log/1+f8f02efb+AYqI49dUUWvXhQ/p2WU8jXaP5AfRs7mhW9yc5uXkEmYC\nquorum none\n",
    );
    if let Ok(read) = Completeness::parse(data) {
        assert_eq!(read.to_string().as_bytes(), data);
        if let Ok(policy) = policy {
            let held = read.verify_by(&policy, "packages.example/log/1", &read.project, Some(&read.after));
            assert!(held.is_err(), "a forged text");
        }
    }
    if let Ok(commitment) = read_map_root(data, 1 << 40) {
        assert!(commitment.covers <= 1 << 40);
    }
});
