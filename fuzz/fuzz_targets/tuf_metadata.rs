//! TUF documents: any bytes are survived; what is read is written as the same document, with the same signed bytes.
#![no_main]

use countersign_trust::tuf::{Document, Envelope, Limits, Root, Snapshot, Targets, Timestamp};
use libfuzzer_sys::fuzz_target;

fn held<T: Document>(role: &str, data: &[u8]) {
    let limits = Limits::default();
    if let Ok(read) = Envelope::<T>::parse(role, data, &limits) {
        let bytes = read.to_bytes();
        // What is written is compact; only a document at the very limit may be longer than what was read.
        if let Ok(again) = Envelope::<T>::parse(role, &bytes, &limits) {
            assert_eq!(again.payload(), read.payload());
            assert_eq!(again.signatures, read.signatures);
            assert_eq!(again.to_bytes(), bytes);
        } else {
            assert!(bytes.len() as u64 > limits.bytes_of(role));
        }
    }
}

fuzz_target!(|data: &[u8]| {
    held::<Root>("root", data);
    held::<Timestamp>("timestamp", data);
    held::<Snapshot>("snapshot", data);
    held::<Targets>("targets", data);
    if let Ok(read) = Envelope::<Targets>::parse("targets", data, &Limits::default())
        && let Some(delegations) = &read.document.delegations
    {
        for path in read.document.targets.keys() {
            for (role, _) in delegations.for_path(path) {
                assert!(delegations.keys_of(&role).is_some());
            }
        }
    }
});
