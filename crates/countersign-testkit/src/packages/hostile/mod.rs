//! The attacks: distributions that a registry must refuse, each named for what it does.
//!
//! Every one is a good distribution but for its one fault (RECORD lists what the attack adds, the upload form agrees
//! with the metadata), so that a refusal is for the right reason.

mod metadata;
mod tars;
mod zips;

use super::{Package, Sdist, Wheel};

/// Every attack by name. Each has a project of its own, `hostile-` and the attack's name, so that a test can see that
/// nothing of it was left behind.
pub fn hostile() -> Vec<(&'static str, Package)> {
    let mut attacks = zips::attacks();
    attacks.extend(tars::attacks());
    attacks.extend(metadata::attacks());
    attacks
}

/// The good wheel that an attack starts from.
fn wheel(attack: &str) -> Wheel {
    Wheel::new(&format!("hostile-{attack}"), "1.0")
}

/// The good source distribution that an attack starts from.
fn sdist(attack: &str) -> Sdist {
    Sdist::new(&format!("hostile-{attack}"), "1.0")
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn there_are_many_attacks_each_with_a_name_and_a_project_of_its_own() {
        let attacks = hostile();
        assert!(attacks.len() >= 45, "{}", attacks.len());
        let names: HashSet<_> = attacks.iter().map(|(name, _)| *name).collect();
        assert_eq!(names.len(), attacks.len());
        for (name, package) in &attacks {
            assert!(
                name.bytes().all(|letter| letter.is_ascii_lowercase()
                    || letter.is_ascii_digit()
                    || letter == b'-'),
                "{name}"
            );
            assert_eq!(package.project, format!("hostile-{name}"));
        }
    }

    #[test]
    fn the_zip_and_tar_polyglot_is_read_by_both_readers() {
        let package = hostile()
            .into_iter()
            .find(|(name, _)| *name == "zip-that-is-also-a-tar")
            .unwrap()
            .1;
        let folder = tempfile::tempdir().unwrap();
        let path = package.write_to(folder.path()).unwrap();
        let script = "import sys, zipfile, tarfile\n\
                      assert zipfile.ZipFile(sys.argv[1]).testzip() is None\n\
                      assert len(tarfile.open(sys.argv[1], 'r:').getnames()) == 1";
        crate::machine::run(
            std::process::Command::new("python3")
                .args(["-c", script])
                .arg(path),
        )
        .unwrap();
    }
}
