//! Advisories: any bytes are survived as a record, a document, a zip and an index; what is read is written back the same, and a
//! version is always judged.
#![no_main]

use std::io::Cursor;

use countersign_formats::osv::{Builder, Index, Rating, Record, import};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    let mut builder = Builder::default();
    let _ = import::document("fuzz", data, &mut |record| {
        let back = Record::parse(record.to_json().as_bytes()).expect("what was read is read again");
        assert_eq!(back, record);
        for affected in &record.affected {
            let _ = affected.judge("1.0.0");
            let _ = Rating::of(&record, affected);
        }
        builder.add(&record);
        Ok(())
    });
    let index = builder.finish();
    let index = Index::from_bytes(index.as_bytes().to_vec()).expect("our own index");
    if let Some(rules) = index.package("PyPI", "a") {
        let _ = rules.findings("1.0");
    }
    let _ = import::archive(&mut Cursor::new(data), data.len() as u64, &mut |_| Ok(()));
    if let Ok(index) = Index::from_bytes(data.to_vec()) {
        let _ = index.package("npm", "a");
    }
});
