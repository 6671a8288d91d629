//! A ceremony's file, which travels between people: it is read or refused; what is read is written and read again as the same, can
//! be merged with itself without a new signature, and says of itself who signed.
#![no_main]

use countersign_trust::sigstore::TrustRoot;
use countersign_trust::tuf::bundle::Bundle;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    let sigstore = TrustRoot::public_good();
    let Ok(bundle) = Bundle::parse(data, &sigstore) else {
        return;
    };
    let bytes = bundle.to_bytes();
    let mut again = Bundle::parse(&bytes, &sigstore).expect("what was written is read");
    assert_eq!(again, bundle);
    assert_eq!(again.merge(&bytes, &sigstore), Ok(0));
    assert_eq!(again.to_bytes(), bytes);
    for part in bundle.parts().values() {
        let _ = (
            part.root_changes(),
            part.delegation_changes(),
            part.role_changes().len(),
        );
    }
    let complete = bundle.rows().iter().all(|row| row.status.complete());
    assert_eq!(complete, bundle.complete());
    if bundle.finish(0).is_ok() {
        assert!(complete);
    }
});
