//! Policies of consumers: any bytes are survived, and what is read is written and read again as it was, and lets nobody in
//! by the issuer alone.
#![no_main]

use countersign_trust::sigstore::{PolicyFile, Wanted};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    if let Ok(policy) = PolicyFile::parse(data) {
        for project in &policy.projects {
            let signers = &project.signers.allowed;
            assert_eq!(signers.is_empty(), project.provenance == Wanted::None);
            assert!(signers.iter().all(|signer| signer.is_specific()));
        }
        let again = PolicyFile::parse(policy.render().as_bytes());
        assert_eq!(again.as_ref(), Ok(&policy));
    }
});
