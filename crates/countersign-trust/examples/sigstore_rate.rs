//! How many bundles a core verifies in a second, beside the bare cost of the signatures in them. Run by
//! `cargo xtask bench --only sigstore`, which compares other libraries in the same minute.
//!
//! `sigstore_rate ROOT BUNDLE DIGEST SECONDS` prints one JSON line.
#![allow(
    clippy::disallowed_methods,
    reason = "this measures; the crate itself knows no clock"
)]

use std::error::Error;
use std::sync::LazyLock;
use std::time::{Duration, Instant};

use aws_lc_rs::signature::{
    ECDSA_P256_SHA256_ASN1, ECDSA_P256_SHA256_ASN1_SIGNING, ECDSA_P384_SHA384_ASN1,
    ECDSA_P384_SHA384_ASN1_SIGNING, EcdsaKeyPair, EcdsaSigningAlgorithm, KeyPair as _,
    UnparsedPublicKey, VerificationAlgorithm,
};
use countersign_trust::sigstore::{Bundle, Demands, Subject, TrustRoot, verify};

/// Seconds of the processor that this thread has had, so that strangers on the machine do not count; of the clock where
/// the system does not say.
fn spent() -> f64 {
    static BEGIN: LazyLock<Instant> = LazyLock::new(Instant::now);
    let said = std::fs::read_to_string("/proc/thread-self/schedstat").ok();
    said.and_then(|text| text.split(' ').next()?.parse::<f64>().ok())
        .map_or_else(|| BEGIN.elapsed().as_secs_f64(), |nanos| nanos / 1e9)
}

/// How much is signed, in bytes: in the measured bundle 311 of the envelope, 4894 of the promise, 94 of the checkpoint and
/// about 1500 each of the certificate and its promise.
const MESSAGE: usize = 1700;

/// How often `work` is done in a second of this thread's own time, from the best of several runs.
fn rate(budget: Duration, mut work: impl FnMut()) -> f64 {
    const RUNS: u32 = 5;
    let mut best = 0.0_f64;
    for _ in 0..RUNS {
        let (begin, mut count) = (spent(), 0_u32);
        while spent() - begin < (budget / RUNS).as_secs_f64() {
            // The clock is a file: not after each.
            for _ in 0..16 {
                work();
            }
            count += 16;
        }
        best = best.max(f64::from(count) / (spent() - begin));
    }
    best
}

/// Checks of one signature in a second: the same algorithm as in the bundle, over a message as long as those of the bundle are on average.
fn bare(
    budget: Duration,
    signing: &'static EcdsaSigningAlgorithm,
    checking: &'static dyn VerificationAlgorithm,
) -> Result<f64, Box<dyn Error>> {
    let random = aws_lc_rs::rand::SystemRandom::new();
    let key = EcdsaKeyPair::generate(signing)?;
    let message = vec![7; MESSAGE];
    let signature = key.sign(&random, &message)?;
    // As the libraries do: from the key's bytes each time.
    let spki = aws_lc_rs::encoding::AsDer::as_der(key.public_key())?;
    let spki: &[u8] = spki.as_ref();
    let good = UnparsedPublicKey::new(checking, spki)
        .verify(&message, signature.as_ref())
        .is_ok();
    assert!(good, "a fresh signature holds");
    Ok(rate(budget, || {
        let result = UnparsedPublicKey::new(checking, spki).verify(&message, signature.as_ref());
        assert!(std::hint::black_box(result).is_ok());
    }))
}

fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [root, bundle, digest, seconds] = arguments.as_slice() else {
        return Err("give ROOT BUNDLE DIGEST SECONDS".into());
    };
    let budget = Duration::from_secs_f64(seconds.parse()?);
    let (json, bytes) = (std::fs::read(root)?, std::fs::read(bundle)?);
    let root = TrustRoot::from_json("root", &json)?;
    let demands = Demands::default();
    let subject = Subject::digest(digest)?;
    let one = || -> Result<(), Box<dyn Error>> {
        let bundle = Bundle::parse(&bytes, &demands.limits)?;
        verify(&bundle, &subject, &root, &demands)?;
        Ok(())
    };
    one()?;
    let warm = rate(budget, || assert!(one().is_ok()));
    let cold = rate(budget, || {
        let root = TrustRoot::from_json("root", &json);
        let bundle = Bundle::parse(&bytes, &demands.limits);
        let done = root
            .and_then(|root| bundle.and_then(|bundle| verify(&bundle, &subject, &root, &demands)));
        assert!(done.is_ok());
    });
    let parse = rate(budget, || {
        assert!(std::hint::black_box(Bundle::parse(&bytes, &demands.limits)).is_ok());
    });
    let p256 = bare(
        budget,
        &ECDSA_P256_SHA256_ASN1_SIGNING,
        &ECDSA_P256_SHA256_ASN1,
    )?;
    let p384 = bare(
        budget,
        &ECDSA_P384_SHA384_ASN1_SIGNING,
        &ECDSA_P384_SHA384_ASN1,
    )?;
    println!(
        r#"{{"warm":{warm:.1},"cold":{cold:.1},"parse":{parse:.1},"p256":{p256:.1},"p384":{p384:.1}}}"#
    );
    Ok(())
}
