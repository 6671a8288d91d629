//! Whatever a registry answers to its probes, and whatever stands in a profile or an earlier assessment.
#![no_main]

use countersign_assess::assessment::{Assessment, plan};
use countersign_assess::profile::Profile;
use countersign_assess::run::{Run, consents};
use countersign_assess::script::{Answer, Reply, Target};
use libfuzzer_sys::fuzz_target;

const NOW: i64 = 1_795_000_000;

fuzz_target!(|bytes: &[u8]| {
    if let Ok(text) = std::str::from_utf8(bytes) {
        let _ = Profile::parse(text, NOW);
    }
    let _ = consents(bytes, "a token of sixteen characters", NOW);
    if let Ok(earlier) = Assessment::parse(bytes) {
        let _ = countersign_assess::report::markdown(&earlier, &[], None);
        let _ = earlier.at(NOW);
    }
    let mut profile = Profile::countersign();
    for place in [&mut profile.places.attestation, &mut profile.places.package_page, &mut profile.places.vulnerable_page] {
        *place = Some("/place".to_owned());
    }
    let target = Target {
        site: "https://packages.example.org".to_owned(),
        profile,
        now: NOW,
        seed: [7; 32],
    };
    let mut run = Run::new(target.clone(), plan(&target, true));
    while run.step().is_some() {
        let answer = Answer {
            status: 200,
            body: bytes.to_vec(),
            ..Answer::default()
        };
        run.record(Reply::Answer(answer), NOW);
    }
});
