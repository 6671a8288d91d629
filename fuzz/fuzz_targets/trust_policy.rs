//! Policies: any bytes are survived, and signing by all witnesses always meets the quorum.
#![no_main]

use countersign_trust::policy::Policy;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    if let Ok(policy) = Policy::parse(data) {
        assert!(policy.quorum_met(policy.witnesses().iter().map(|witness| &witness.name)));
        assert_eq!(
            policy.quorum_met(Vec::<String>::new()),
            policy.quorum() == "none"
        );
    }
});
