//! Project names (PEP 508 grammar, PEP 503 key), ASCII only and by bytes, so that no Unicode case
//! folding can let a look-alike such as U+212A KELVIN SIGN through.

use crate::{NameKey, Rejection, rejection::quoted};

/// Longest project name.
pub const MAX_NAME: usize = 214;

/// The PEP 503 key: lower case, runs of `-`, `_` and `.` become one `-`.
///
/// # Errors
/// Refuses what does not begin and end with an ASCII letter or digit, or holds anything but these
/// and `-_.`, or is longer than [`MAX_NAME`].
pub fn key(name: &str) -> Result<NameKey, Rejection> {
    if name.is_empty() {
        return Err(Rejection::new("name-missing", "The project name is empty."));
    }
    if name.len() > MAX_NAME {
        return Err(Rejection::new(
            "name-too-long",
            format!(
                "The project name {} has {} bytes.",
                quoted(name),
                name.len()
            ),
        )
        .with_remedy(format!("Use at most {MAX_NAME}.")));
    }
    let bytes = name.as_bytes();
    let inner = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_' | b'.');
    let edges = bytes[0].is_ascii_alphanumeric() && bytes[bytes.len() - 1].is_ascii_alphanumeric();
    if !edges || !bytes.iter().all(|&b| inner(b)) {
        return Err(Rejection::new(
            "name-invalid",
            format!("{} is no project name.", quoted(name)),
        )
        .with_remedy(
            "Use ASCII letters, digits, '-', '_' and '.', with a letter or digit at both ends.",
        ));
    }
    Ok(normalise(name))
}

/// The PEP 503 key of text that is known to be a name.
fn normalise(name: &str) -> NameKey {
    let mut key = String::with_capacity(name.len());
    for b in name.bytes() {
        match b {
            b'-' | b'_' | b'.' if key.ends_with('-') => {}
            b'-' | b'_' | b'.' => key.push('-'),
            _ => key.push(char::from(b.to_ascii_lowercase())),
        }
    }
    NameKey(key)
}

/// A coarser key for similarity only: separators gone, and letters and digits that look alike made
/// one (`0`/`o`, `1`/`l`/`i`). Two projects with one skeleton are likely to be confused.
pub fn skeleton(key: &NameKey) -> String {
    key.as_str()
        .bytes()
        .filter(|b| *b != b'-')
        .map(|b| match b {
            b'0' => 'o',
            b'1' | b'i' => 'l',
            other => char::from(other),
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn normalises_as_pep_503() {
        for (name, expected) in [
            ("Friendly-Bard", "friendly-bard"),
            ("FRIENDLY.bard", "friendly-bard"),
            ("friendly--_.bard", "friendly-bard"),
            ("zope.interface", "zope-interface"),
            ("a", "a"),
            ("0", "0"),
        ] {
            assert_eq!(key(name).unwrap().as_str(), expected);
        }
    }

    #[test]
    fn refuses_look_alikes_and_odd_edges() {
        for name in [
            "\u{212a}ivy",
            "\u{130}stanbul",
            "\u{17f}ix",
            "p\u{430}ndas",
            "name\n",
            " name",
            "..",
            ".",
            "-a",
            "a-",
            "a_",
            "_a",
            "a/b",
            "a\\b",
            "a b",
            "a\0",
            "a%2fb",
            "ﬀ",
        ] {
            assert_eq!(key(name).unwrap_err().code, "name-invalid", "{name:?}");
        }
        assert_eq!(key("").unwrap_err().code, "name-missing");
        assert_eq!(key(&"a".repeat(215)).unwrap_err().code, "name-too-long");
    }

    #[test]
    fn skeleton_folds_look_alikes() {
        assert_eq!(
            skeleton(&key("py-y4ml_1").unwrap()),
            skeleton(&key("pyy4mlI").unwrap())
        );
    }

    proptest! {
        #[test]
        fn keys_are_fixed_points(name in "[A-Za-z0-9][A-Za-z0-9._-]{0,20}[A-Za-z0-9]") {
            let once = key(&name).unwrap();
            prop_assert_eq!(key(once.as_str()).unwrap(), once);
        }

        #[test]
        fn only_ascii_makes_a_key(name in "\\PC{0,12}") {
            if let Ok(key) = key(&name) {
                prop_assert!(name.is_ascii() && key.as_str().is_ascii());
            }
        }
    }
}
