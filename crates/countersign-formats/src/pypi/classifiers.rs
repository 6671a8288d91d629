//! The known trove classifiers.

use std::collections::HashMap;
use std::sync::LazyLock;

/// Classifier → is it deprecated?
static KNOWN: LazyLock<HashMap<&'static str, bool>> = LazyLock::new(|| {
    include_str!("classifiers.txt")
        .lines()
        .filter(|line| !line.starts_with('#'))
        .map(|line| match line.strip_prefix('!') {
            Some(deprecated) => (deprecated, true),
            None => (line, false),
        })
        .collect()
});

/// What is known of a classifier.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Standing {
    /// In use.
    Known,
    /// Superseded by another.
    Deprecated,
    /// Not on the list.
    Unknown,
}

/// What is known of a classifier. `Private ::` ones are for registries like this and are known; so are Python minor
/// versions younger than the list.
pub fn standing(classifier: &str) -> Standing {
    match KNOWN.get(classifier) {
        Some(true) => Standing::Deprecated,
        Some(false) => Standing::Known,
        None => {
            let minor = classifier.strip_prefix("Programming Language :: Python :: 3.");
            let young = minor.is_some_and(|minor| {
                (1..=3).contains(&minor.len()) && minor.bytes().all(|byte| byte.is_ascii_digit())
            });
            if young || classifier.starts_with("Private :: ") {
                Standing::Known
            } else {
                Standing::Unknown
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_list_is_read_and_private_and_younger_ones_pass() {
        assert!(KNOWN.len() > 800);
        for (classifier, expected) in [
            ("License :: OSI Approved :: MIT License", Standing::Known),
            ("Programming Language :: Python :: 3.99", Standing::Known),
            ("Private :: Do Not Upload", Standing::Known),
            ("Natural Language :: Ukranian", Standing::Deprecated),
            ("Topic :: Nonsense", Standing::Unknown),
            ("Programming Language :: Python :: 3.x", Standing::Unknown),
        ] {
            assert_eq!(standing(classifier), expected, "{classifier}");
        }
    }
}
