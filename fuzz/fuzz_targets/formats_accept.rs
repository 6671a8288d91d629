//! Accept headers: any text gets an answer, and an exact wish is granted.
#![no_main]

use countersign_formats::negotiate::{SimpleType, simple_type};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|text: &str| {
    let _ = simple_type(Some(text));
    let wish = "application/vnd.pypi.simple.v1+json";
    assert_eq!(simple_type(Some(wish)), Some(SimpleType::Json));
});
