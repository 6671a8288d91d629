//! Versions (PEP 440): which may be published, their normal form and order.

use std::str::FromStr;

use crate::{Rejection, Version, VersionOrder, rejection::quoted};

/// Longest version text. Longer ones exist in no real package.
const MAX_VERSION: usize = 128;

/// Parses a version that may be published: PEP 440, ASCII, no local part (`+…`).
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
    // The parser trims white space and would read look-alike digits differently than Python does.
    if let Some(c) = text.chars().find(|c| !c.is_ascii_graphic()) {
        return Err(Rejection::new(
            "version-invalid",
            format!(
                "The version {} holds the character U+{:04X}.",
                quoted(text),
                u32::from(c)
            ),
        )
        .with_remedy("Use a version such as 1.2.3 (PEP 440)."));
    }
    let version = pep440_rs::Version::from_str(text).map_err(|error| {
        Rejection::new(
            "version-invalid",
            format!("{} is no version: {error}.", quoted(text)),
        )
        .with_remedy("Use a version such as 1.2.3 or 1.2rc1 (PEP 440).")
    })?;
    if version.is_local() {
        return Err(Rejection::new(
            "version-local",
            format!(
                "The version {} has a local part (after the +), which is for private builds.",
                quoted(text)
            ),
        )
        .with_remedy("Publish it without the + part."));
    }
    Ok(from_pep440(version))
}

/// Whether two texts are the same version; `false` when either is none.
pub(crate) fn equal(a: &str, b: &str) -> bool {
    matches!(
        (pep440_rs::Version::from_str(a), pep440_rs::Version::from_str(b)),
        (Ok(a), Ok(b)) if a == b
    )
}

fn from_pep440(version: pep440_rs::Version) -> Version {
    let release = version.release();
    let significant = release
        .iter()
        .rposition(|&part| part != 0)
        .map_or(1, |last| last + 1);
    let key = version
        .clone()
        .with_release(release[..significant].iter().copied())
        .to_string();
    Version {
        canonical: version.to_string(),
        key,
        order: VersionOrder::Pep440(version),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn normal_form_keeps_zeros_and_key_drops_them() {
        let version = parse("1.0-RC1").unwrap();
        assert_eq!((version.canonical(), version.key()), ("1.0rc1", "1rc1"));
        assert_eq!(parse("1.0").unwrap(), parse("1.0.0").unwrap());
        assert_eq!(parse("0.0").unwrap().key(), "0");
        assert_eq!(parse("v1!2.0-1").unwrap().canonical(), "1!2.0.post1");
        assert!(parse("1.0.dev1").unwrap().is_prerelease());
    }

    #[test]
    fn refuses_local_long_blank_and_foreign_versions() {
        for (text, code) in [
            ("", "version-missing"),
            ("1.0+cu118", "version-local"),
            (" 1.0", "version-invalid"),
            ("1.0\n", "version-invalid"),
            ("1.\u{0661}", "version-invalid"),
            ("one", "version-invalid"),
        ] {
            assert_eq!(parse(text).unwrap_err().code, code, "{text:?}");
        }
        assert_eq!(
            parse(&"1".repeat(10_000_000)).unwrap_err().code,
            "version-too-long"
        );
    }

    #[test]
    fn orders_as_the_reference_vectors_say() {
        let folder = concat!(
            env!("CARGO_MANIFEST_DIR"),
            "/../../../shared/vectors/versions/"
        );
        let mut compared = 0;
        for file in ["pypi-versions.txt", "pypi-versions-generated.txt"] {
            let text = std::fs::read_to_string(format!("{folder}{file}")).unwrap();
            for line in text.lines() {
                let words: Vec<_> = line.split_whitespace().collect();
                let [a, sign, b] = words[..] else { continue };
                let (Ok(a), Ok(b)) = (parse(a), parse(b)) else {
                    continue;
                };
                let holds = match sign {
                    "<" => a < b,
                    ">" => a > b,
                    "==" => a == b,
                    _ => continue,
                };
                assert!(holds, "{line}");
                assert_eq!(a.key() == b.key(), a == b, "{line}");
                compared += 1;
            }
        }
        assert!(compared > 10_000, "{compared}");
    }
}
