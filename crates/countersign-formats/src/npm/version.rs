//! Versions: semantic versioning as Node.js reads it, old loose spellings included.

use crate::{Rejection, Version, VersionOrder, rejection::quoted};

/// Longest version, and largest number in it: what JavaScript holds exactly.
const MAX_VERSION: usize = 256;
const MAX_NUMBER: u64 = (1 << 53) - 1;

/// Parses a version. The normal form drops `v` and `=` in front, zeros in front of numbers and build
/// metadata, and puts the hyphen before a pre-release that lacks it (`1.0.0beta`): npm publishes
/// under that form, whatever `package.json` says. So versions that differ in build metadata only
/// are one version.
///
/// # Errors
/// Refuses what no version of npm takes for a version.
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
    let invalid = || {
        Rejection::new(
            "version-invalid",
            format!("{} is no version.", quoted(text)),
        )
        .with_remedy("Use a version such as 1.2.3 or 1.2.3-rc.1 (semver.org).")
    };
    let version = loose(text).ok_or_else(invalid)?;
    let canonical = version.to_string();
    Ok(Version {
        key: canonical.clone(),
        canonical,
        order: VersionOrder::Semver(version),
    })
}

/// Whether the text is already in normal form.
pub fn is_canonical(text: &str) -> bool {
    parse(text).is_ok_and(|version| version.canonical() == text)
}

fn loose(text: &str) -> Option<semver::Version> {
    let text = text.trim_matches([' ', '\t']);
    let mut rest = text.trim_start_matches(['v', '=', ' ', '\t']);
    let mut numbers = [0; 3];
    for (at, number) in numbers.iter_mut().enumerate() {
        if at > 0 {
            rest = rest.strip_prefix('.')?;
        }
        let length = rest.bytes().take_while(u8::is_ascii_digit).count();
        let digits = &rest[..length];
        *number = digits.parse().ok().filter(|number| *number <= MAX_NUMBER)?;
        rest = &rest[length..];
    }
    let (pre, build) = match rest.split_once('+') {
        Some((pre, build)) => (pre, Some(build)),
        None => (rest, None),
    };
    let identifiers = |text: &str| {
        text.split('.').all(|part| {
            !part.is_empty() && part.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-')
        })
    };
    if build.is_some_and(|build| !identifiers(build)) {
        return None;
    }
    // Node.js takes one hyphen as the separator only when something follows that can stand alone:
    // `1.0.0--1` has the pre-release `-1`.
    let pre = pre.strip_prefix('-').map_or(pre, |after| after);
    if pre.is_empty() && rest.starts_with('-') {
        return None;
    }
    if !pre.is_empty() && !identifiers(pre) {
        return None;
    }
    let pre: Vec<&str> = pre
        .split('.')
        .map(|part| match part.trim_start_matches('0') {
            _ if !part.bytes().all(|b| b.is_ascii_digit()) => part,
            "" if !part.is_empty() => "0",
            trimmed => trimmed,
        })
        .collect();
    Some(semver::Version {
        major: numbers[0],
        minor: numbers[1],
        patch: numbers[2],
        pre: semver::Prerelease::new(&pre.join(".")).ok()?,
        build: semver::BuildMetadata::EMPTY,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn loose_spellings_have_one_normal_form() {
        for (text, canonical) in [
            ("1.2.3", "1.2.3"),
            ("v1.2.3", "1.2.3"),
            ("= v 1.2.3", "1.2.3"),
            (" 1.2.3 ", "1.2.3"),
            ("01.02.03", "1.2.3"),
            ("1.2.3beta", "1.2.3-beta"),
            ("1.2.3beta.01", "1.2.3-beta.1"),
            ("1.2.3-0", "1.2.3-0"),
            ("1.2.3-00", "1.2.3-0"),
            ("1.2.3--1", "1.2.3--1"),
            ("1.2.3-rc.1+build.5", "1.2.3-rc.1"),
            ("1.2.3+build", "1.2.3"),
            (
                "1.2.3-20230101120000123456789",
                "1.2.3-20230101120000123456789",
            ),
            ("9007199254740991.0.0", "9007199254740991.0.0"),
        ] {
            assert_eq!(parse(text).unwrap().canonical(), canonical, "{text:?}");
        }
        assert_eq!(
            parse("1.0.0+a").unwrap().key(),
            parse("1.0.0+b").unwrap().key()
        );
        assert!(parse("1.0.0-a").unwrap().is_prerelease());
        assert!(is_canonical("1.0.0-a") && !is_canonical("v1.0.0"));
    }

    #[test]
    fn refuses_what_is_no_version() {
        for text in [
            "1",
            "1.2",
            "1.2.3.4",
            "1.2.x",
            "latest",
            "1.2.3-",
            "1.2.3+",
            "1.2.3-a..b",
            "1.2.3-a_b",
            "1.2.3 beta",
            "1.2.3\n",
            "1.2.3\u{a0}",
            "1.2.\u{0663}",
            "9007199254740992.0.0",
            "-1.2.3",
            "1.2.3-+x",
            "__proto__",
        ] {
            assert_eq!(parse(text).unwrap_err().code, "version-invalid", "{text:?}");
        }
        assert_eq!(parse("").unwrap_err().code, "version-missing");
        assert_eq!(
            parse(&"1".repeat(10_000_000)).unwrap_err().code,
            "version-too-long"
        );
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
            let holds = match sign {
                "<" => a < b,
                ">" => a > b,
                "=" | "==" => a == b,
                _ => continue,
            };
            assert!(holds, "{line}");
            assert_eq!(a.key() == b.key(), a == b, "{line}");
            compared += 1;
        }
        assert!(compared > 30, "{compared}");
    }

    proptest! {
        #[test]
        fn normal_forms_are_fixed_points(text in "[v=]{0,2}[0-9]{1,4}\\.[0-9]{1,4}\\.[0-9]{1,4}-?([a-z0-9-]{1,6}(\\.[a-z0-9-]{1,6}){0,2})?(\\+[a-z0-9]{1,4})?") {
            if let Ok(version) = parse(&text) {
                prop_assert!(is_canonical(version.canonical()), "{} of {}", version.canonical(), text);
                prop_assert_eq!(parse(version.canonical()).unwrap(), version);
            }
        }

        #[test]
        fn any_text_is_answered(text in "\\PC{0,20}") {
            let _ = parse(&text);
        }
    }
}
