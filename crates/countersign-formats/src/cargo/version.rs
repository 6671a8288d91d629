//! Versions (Semantic Versioning 2.0.0) and requirements, as cargo reads them.

use crate::{Rejection, Version, VersionOrder, rejection::quoted};

/// Longest version text.
const MAX_VERSION: usize = 150;
/// Longest text of a requirement; real ones have up to four comparators.
const MAX_REQUIREMENT: usize = 512;

/// Parses a version: three numbers, with pre-release and build metadata. Versions that differ in the
/// build metadata only are the same, since cargo keeps one of them.
///
/// # Errors
/// Refuses everything else, and what is longer than 150 bytes.
pub fn parse(text: &str) -> Result<Version, Rejection> {
    if text.is_empty() {
        return Err(Rejection::new("version-missing", "The version is empty."));
    }
    if text.len() > MAX_VERSION {
        return Err(Rejection::new(
            "version-too-long",
            format!(
                "The version is {} bytes long; at most {MAX_VERSION} are allowed.",
                text.len()
            ),
        ));
    }
    let version = semver::Version::parse(text).map_err(|error| {
        Rejection::new(
            "version-invalid",
            format!("{} is no version: {error}.", quoted(text)),
        )
        .with_remedy("Use a version such as 1.2.3 or 1.2.3-rc.1 (Semantic Versioning).")
    })?;
    let key = semver::Version {
        build: semver::BuildMetadata::EMPTY,
        ..version.clone()
    };
    Ok(Version {
        canonical: version.to_string(),
        key: key.to_string(),
        order: VersionOrder::Semver(version),
    })
}

/// A requirement in the form in which cargo writes it: `1.0` becomes `^1.0`.
///
/// # Errors
/// Refuses what cargo cannot read, and texts beyond 512 bytes.
pub(super) fn requirement(text: &str) -> Result<String, Rejection> {
    if text.len() > MAX_REQUIREMENT {
        return Err(Rejection::new(
            "dependency-requirement",
            format!("A version requirement of {} bytes is too long.", text.len()),
        ));
    }
    let parsed = semver::VersionReq::parse(text).map_err(|error| {
        Rejection::new(
            "dependency-requirement",
            format!("{} is no version requirement: {error}.", quoted(text)),
        )
        .with_remedy("Write a requirement such as \"1.2\" or \">=1.2, <3\".")
    })?;
    Ok(parsed.to_string())
}

/// Whether `text` is a version of Rust as `rust-version` has it: up to three numbers, no more.
pub(super) fn is_rust_version(text: &str) -> bool {
    let parts: Vec<_> = text.split('.').collect();
    let number = |part: &&str| {
        !part.is_empty()
            && part.len() <= 9
            && part.bytes().all(|b| b.is_ascii_digit())
            && (*part == "0" || !part.starts_with('0'))
    };
    parts.len() <= 3 && parts.iter().all(number)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::cmp::Ordering;

    #[test]
    fn build_metadata_does_not_count() {
        let (plain, built) = (parse("1.0.0").unwrap(), parse("1.0.0+a.b").unwrap());
        assert_eq!(plain, built);
        assert_eq!(built.key(), "1.0.0");
        assert_eq!(built.canonical(), "1.0.0+a.b");
        assert!(!built.is_prerelease());
        assert!(parse("1.0.0-a+b").unwrap().is_prerelease());
        assert_eq!(parse("1.0.0-a+b").unwrap().key(), "1.0.0-a");
    }

    #[test]
    fn odd_versions_are_refused() {
        for (text, code) in [
            ("", "version-missing"),
            ("1", "version-invalid"),
            ("1.0", "version-invalid"),
            ("v1.0.0", "version-invalid"),
            ("=1.0.0", "version-invalid"),
            ("01.0.0", "version-invalid"),
            ("1.0.0-01", "version-invalid"),
            ("1.0.0-", "version-invalid"),
            ("1.0.0+", "version-invalid"),
            (" 1.0.0", "version-invalid"),
            ("1.0.0\n", "version-invalid"),
            ("1.0.0/../2", "version-invalid"),
            ("1.0.0-a/b", "version-invalid"),
            ("1.0.\u{0661}", "version-invalid"),
            ("18446744073709551616.0.0", "version-invalid"),
        ] {
            assert_eq!(parse(text).unwrap_err().code, code, "{text:?}");
        }
        let long = format!("1.0.0-{}", "a".repeat(145));
        assert_eq!(parse(&long).unwrap_err().code, "version-too-long");
        assert!(parse(&long[..150]).is_ok());
    }

    #[test]
    fn requirements_come_back_as_cargo_writes_them() {
        for (text, expected) in [
            ("1", "^1"),
            ("1.0", "^1.0"),
            ("=1.2.3", "=1.2.3"),
            (">=1.0,<2", ">=1.0, <2"),
            ("~1.2", "~1.2"),
            ("1.*", "1.*"),
            ("*", "*"),
        ] {
            assert_eq!(requirement(text).unwrap(), expected, "{text:?}");
        }
        for text in ["", "one", "1.0.0 - 2", ">=1.0 <2", "^", "1.0.0\n#"] {
            assert_eq!(
                requirement(text).unwrap_err().code,
                "dependency-requirement",
                "{text:?}"
            );
        }
        assert!(requirement(&">=1, ".repeat(200)).is_err());
    }

    #[test]
    fn rust_versions_are_up_to_three_numbers() {
        for text in ["1", "1.85", "1.85.0", "0.0.0"] {
            assert!(is_rust_version(text), "{text}");
        }
        for text in [
            "",
            "1.",
            "1.2.3.4",
            "^1",
            "1.85-nightly",
            "01.2",
            "1.x",
            " 1.2",
            "1.+2",
        ] {
            assert!(!is_rust_version(text), "{text}");
        }
    }

    #[test]
    fn orders_as_the_reference_vectors_say() {
        let file = concat!(
            env!("CARGO_MANIFEST_DIR"),
            "/../../../shared/vectors/versions/semver-versions.txt"
        );
        let mut compared = 0;
        for line in std::fs::read_to_string(file).unwrap().lines() {
            let words: Vec<_> = line.split_whitespace().collect();
            let [a, sign, b] = words[..] else { continue };
            let (Ok(a), Ok(b)) = (parse(a), parse(b)) else {
                continue;
            };
            let expected = match sign {
                "<" => Ordering::Less,
                ">" => Ordering::Greater,
                "==" | "=" => Ordering::Equal,
                _ => continue,
            };
            assert_eq!(a.cmp(&b), expected, "{line}");
            assert_eq!(a.key() == b.key(), a == b, "{line}");
            compared += 1;
        }
        assert!(compared > 20, "{compared}");
    }

    proptest! {
        #[test]
        fn equal_versions_and_only_they_share_a_key(
            a in "[0-2]\\.[0-2]\\.[0-2](-[a-b0]{1,2})?(\\+[a-b]{1})?",
            b in "[0-2]\\.[0-2]\\.[0-2](-[a-b0]{1,2})?(\\+[a-b]{1})?",
        ) {
            if let (Ok(a), Ok(b)) = (parse(&a), parse(&b)) {
                prop_assert_eq!(a == b, a.key() == b.key());
            }
        }

        #[test]
        fn parsing_never_panics(text in "\\PC{0,40}") {
            let _ = parse(&text);
            let _ = requirement(&text);
            let _ = is_rust_version(&text);
        }
    }
}
