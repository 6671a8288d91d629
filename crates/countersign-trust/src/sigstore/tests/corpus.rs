//! Every bundle of the corpus has the verdict that its source gives it.

use super::*;

#[test]
fn the_roots_inside_the_program_are_usable() {
    for (root, name) in [
        (TrustRoot::public_good(), "public-good"),
        (TrustRoot::github(), "github"),
    ] {
        assert_eq!(root.used().len(), 1);
        assert_eq!(root.used()[0].name, name);
        assert_eq!(root.used()[0].digest, root.digest().to_hex());
    }
}

#[test]
fn every_real_bundle_has_its_verdict() {
    let mut wrong = Vec::new();
    let (mut passed, mut failed) = (0, 0);
    for entry in index().bundles {
        let result = entry.verify();
        if result.is_ok() {
            passed += 1;
        } else {
            failed += 1;
        }
        if result.is_ok() != (entry.expect == "pass") {
            wrong.push(format!(
                "{}: expected {}, seen {}",
                entry.name,
                entry.expect,
                result.map_or_else(|refusal| refusal.to_string(), |_| "pass".to_owned())
            ));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    assert_eq!((passed, failed), (87, 6));
}

#[test]
fn every_mutant_of_a_single_field_is_refused() {
    let mutants = index().mutants;
    assert_eq!(mutants.len(), 24);
    let accepted: Vec<String> = mutants
        .iter()
        .filter(|mutant| mutant.verify().is_ok())
        .map(|mutant| mutant.name.clone())
        .collect();
    assert_eq!(accepted, Vec::<String>::new());
}
