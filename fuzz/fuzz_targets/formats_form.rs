//! Upload forms from lines of `field=value`, compared with the archive of a fixed sdist.
#![no_main]

use countersign_formats::{
    Artifact, Ecosystem, Limits, Manifest, format,
    pypi::upload::{UploadForm, compare},
};
use libfuzzer_sys::fuzz_target;
use std::{io::Cursor, sync::OnceLock};

static SDIST: &[u8] = include_bytes!("../seeds/formats_tar/sdist");

fn manifest() -> &'static Manifest {
    static MANIFEST: OnceLock<Manifest> = OnceLock::new();
    MANIFEST.get_or_init(|| {
        let mut bytes = Cursor::new(SDIST);
        let mut artifact = Artifact { filename: "a-1.0.tar.gz", size: SDIST.len() as u64, bytes: &mut bytes };
        format(Ecosystem::Pypi).inspect(&mut artifact, &Limits::default()).expect("a good sdist")
    })
}

fuzz_target!(|text: &str| {
    let pairs = text.lines().map(|line| line.split_once('=').unwrap_or((line, "")));
    if let Ok(form) = UploadForm::from_pairs(pairs) {
        let _ = form.digests();
        if compare(&form, manifest()).is_ok() {
            assert!(form.get("summary").is_none_or(|sent| sent == "UNKNOWN" || sent.split_whitespace().eq(["A", "sample"]) || sent.trim().is_empty()));
        }
    }
});
