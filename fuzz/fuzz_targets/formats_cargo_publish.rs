//! Publish bodies of cargo, cut in two places, and their JSON held against a fixed crate.
#![no_main]

use countersign_formats::{
    Artifact, Ecosystem, Limits, Manifest,
    cargo::{
        OwnIndex, api,
        publish::{Framing, PublishRequest, compare},
    },
    format,
};
use libfuzzer_sys::fuzz_target;
use std::{io::Cursor, sync::OnceLock};

static BODY: &[u8] = include_bytes!("../seeds/formats_cargo_publish/body");

fn whole(body: &[u8], chunk: usize) -> Option<(Vec<u8>, PublishRequest)> {
    let mut framing = Framing::new(1 << 20);
    let mut krate = Vec::new();
    for piece in body.chunks(chunk) {
        krate.extend_from_slice(framing.push(piece).ok()?);
    }
    Some((krate, framing.finish().ok()?))
}

fn manifest() -> &'static Manifest {
    static MANIFEST: OnceLock<Manifest> = OnceLock::new();
    MANIFEST.get_or_init(|| {
        let (krate, request) = whole(BODY, 64).expect("a good body");
        let mut artifact =
            Artifact { filename: &request.filename(), size: krate.len() as u64, bytes: &mut Cursor::new(&krate) };
        format(Ecosystem::Cargo).inspect(&mut artifact, &Limits::default()).expect("a good crate")
    })
}

fuzz_target!(|data: &[u8]| {
    let own = OwnIndex::new("sparse+https://reg.example/cargo/index/").expect("an address");
    assert_eq!(whole(data, 3), whole(data, 1000));
    let requests = [whole(data, 64).map(|(_, request)| request), PublishRequest::parse(data).ok()];
    for request in requests.into_iter().flatten() {
        if compare(&request, manifest(), &own).is_ok() {
            assert_eq!((request.name.as_str(), request.vers.as_str()), ("leaf-a", "1.0.0"));
        }
    }
    let _ = api::owners_request(data);
    let _ = api::exchange_request(data);
});
