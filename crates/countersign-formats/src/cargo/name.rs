//! Crate names: which there are, which may be new, when two are one, and where their index stands.
//! By bytes and ASCII only, so that no Unicode case folding lets a look-alike through.

use crate::{NameKey, Rejection, rejection::quoted};

/// Longest crate name.
pub const MAX_NAME: usize = 64;

/// Names that no new crate gets: crates and paths that stand in every Rust program without being
/// declared, and the tools themselves. As keys.
const RESERVED: &[&str] = &[
    "alloc",
    "compiler-builtins",
    "core",
    "crate",
    "proc-macro",
    "rust",
    "rustc",
    "rustdoc",
    "self",
    "std",
    "super",
    "test",
];

/// Keywords: a crate with such a name cannot be named in a program. As keys.
const KEYWORDS: &[&str] = &[
    "abstract", "as", "async", "await", "become", "box", "break", "const", "continue", "do", "dyn",
    "else", "enum", "extern", "false", "final", "fn", "for", "gen", "if", "impl", "in", "let",
    "loop", "macro", "match", "mod", "move", "mut", "override", "priv", "pub", "ref", "return",
    "static", "struct", "trait", "true", "try", "type", "typeof", "unsafe", "unsized", "use",
    "virtual", "where", "while", "yield",
];

/// The key: lower case, `_` is `-` but at the beginning, where no name has a `-`: so that each key is a name, and its own key. Unlike
/// in Python, runs are not folded, since cargo does not.
///
/// # Errors
/// Refuses what cargo does not take for a name anywhere, or is longer than [`MAX_NAME`].
pub fn key(name: &str) -> Result<NameKey, Rejection> {
    check(name)?;
    Ok(NameKey(
        name.bytes()
            .enumerate()
            .map(|(at, b)| match b {
                b'_' if at > 0 => '-',
                _ => char::from(b.to_ascii_lowercase()),
            })
            .collect(),
    ))
}

fn check(name: &str) -> Result<(), Rejection> {
    if name.is_empty() {
        return Err(Rejection::new("name-missing", "The crate name is empty."));
    }
    if name.len() > MAX_NAME {
        return Err(Rejection::new(
            "name-too-long",
            format!("The crate name {} has {} bytes.", quoted(name), name.len()),
        )
        .with_remedy(format!("Use at most {MAX_NAME}.")));
    }
    let bytes = name.as_bytes();
    let fits = (bytes[0].is_ascii_alphanumeric() || bytes[0] == b'_')
        && bytes
            .iter()
            .all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_'));
    if !fits {
        return Err(Rejection::new(
            "name-invalid",
            format!("{} is no crate name.", quoted(name)),
        )
        .with_remedy("Use ASCII letters, digits, '-' and '_', with a letter at the beginning."));
    }
    Ok(())
}

/// The key of a name for a new crate.
///
/// # Errors
/// Refuses also what does not begin with a letter, and names that are reserved, keywords, or devices
/// on Windows, where no folder can be named so.
pub fn new(name: &str) -> Result<NameKey, Rejection> {
    let key = key(name)?;
    if !name.as_bytes()[0].is_ascii_alphabetic() {
        return Err(Rejection::new(
            "name-invalid",
            format!("{} does not begin with a letter.", quoted(name)),
        )
        .with_remedy("Use ASCII letters, digits, '-' and '_', with a letter at the beginning."));
    }
    let reserved = |why: &str| {
        Rejection::new(
            "name-reserved",
            format!("The name {} is reserved: {why}.", quoted(name)),
        )
        .with_remedy("Choose another name.")
    };
    if RESERVED.contains(&key.as_str()) {
        return Err(reserved("it belongs to Rust itself"));
    }
    if KEYWORDS.contains(&key.as_str()) {
        return Err(reserved("it is a keyword of Rust"));
    }
    if crate::archive::path::is_reserved_on_windows(key.as_str()) {
        return Err(reserved("it is a device on Windows"));
    }
    Ok(key)
}

/// Holds the spelling of a later version against the crate's first one. They must be equal: cargo
/// looks for the index under the spelling, so that another one would be another file of the index.
///
/// # Errors
/// Refuses another spelling.
pub fn same_spelling(first: &str, now: &str) -> Result<(), Rejection> {
    if first == now {
        return Ok(());
    }
    Err(Rejection::new(
        "name-spelling",
        format!(
            "The crate is named {}, and this version {}.",
            quoted(first),
            quoted(now)
        ),
    )
    .with_remedy(format!("Write name = {} in Cargo.toml.", quoted(first))))
}

/// Where the index of a crate stands below the root of a sparse index: `se/rd/serde`. The name is
/// lower-cased, `-` and `_` stay.
///
/// # Errors
/// Refuses what is no name.
pub fn index_path(name: &str) -> Result<String, Rejection> {
    check(name)?;
    let name = name.to_ascii_lowercase();
    Ok(format!("{}/{name}", prefix(&name)))
}

/// The folders of the index in which a crate stands: `se/rd`; keeps the case.
pub(super) fn prefix(name: &str) -> String {
    // `check` came before: ASCII, so that every index is a boundary.
    match name.len() {
        0 => String::new(),
        1 => "1".to_owned(),
        2 => "2".to_owned(),
        3 => format!("3/{}", &name[..1]),
        _ => format!("{}/{}", &name[..2], &name[2..4]),
    }
}

/// The lower-cased name whose index stands at `path`, when the path is exactly the one that cargo
/// asks for. Everything else is not found, so that each index has one address.
pub fn of_index_path(path: &str) -> Option<&str> {
    let name = path.rsplit('/').next()?;
    (index_path(name).ok()? == path).then_some(name)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn case_and_dashes_fold_and_nothing_else() {
        for (name, expected) in [
            ("serde", "serde"),
            ("Serde_JSON", "serde-json"),
            ("a--b__c", "a--b--c"),
            ("_hidden_one", "_hidden-one"),
            ("2048", "2048"),
        ] {
            assert_eq!(key(name).unwrap().as_str(), expected);
            assert_eq!(key(expected).unwrap().as_str(), expected);
        }
        assert_ne!(key("ab").unwrap(), key("a-b").unwrap());
        assert_ne!(key("a-b").unwrap(), key("a--b").unwrap());
    }

    #[test]
    fn look_alikes_and_odd_characters_are_no_names() {
        for name in [
            "\u{212a}ivy",
            "\u{17f}erde",
            "p\u{430}nic",
            "name\n",
            " name",
            ".",
            "..",
            "a.b",
            "a/b",
            "a\\b",
            "a b",
            "a\0",
            "a%2fb",
            "a+b",
            "-a",
            "a:b",
            "ﬀ",
            "a@1",
        ] {
            assert_eq!(key(name).unwrap_err().code, "name-invalid", "{name:?}");
            assert_eq!(index_path(name).unwrap_err().code, "name-invalid");
        }
        assert_eq!(key("").unwrap_err().code, "name-missing");
        assert_eq!(key(&"a".repeat(65)).unwrap_err().code, "name-too-long");
        assert!(key(&"a".repeat(64)).is_ok());
    }

    #[test]
    fn new_names_are_neither_reserved_nor_devices_nor_keywords() {
        for name in [
            "std",
            "Core",
            "PROC_MACRO",
            "proc-macro",
            "test",
            "nul",
            "COM1",
            "fn",
            "Async",
            "self",
        ] {
            assert_eq!(new(name).unwrap_err().code, "name-reserved", "{name}");
            assert!(key(name).is_ok(), "old ones are found: {name}");
        }
        for name in ["2048", "_a"] {
            assert_eq!(new(name).unwrap_err().code, "name-invalid", "{name}");
        }
        for name in ["serde", "standard", "com10", "asyncs", "a"] {
            assert!(new(name).is_ok(), "{name}");
        }
    }

    #[test]
    fn a_later_version_keeps_the_spelling() {
        assert!(same_spelling("Foo-bar", "Foo-bar").is_ok());
        for now in ["foo-bar", "Foo_bar", "Foo-bar "] {
            assert_eq!(
                same_spelling("Foo-bar", now).unwrap_err().code,
                "name-spelling"
            );
        }
    }

    #[test]
    fn index_paths_are_those_of_cargo() {
        for (name, path) in [
            ("a", "1/a"),
            ("AB", "2/ab"),
            ("abc", "3/a/abc"),
            ("abcd", "ab/cd/abcd"),
            ("Serde_json", "se/rd/serde_json"),
            ("x-y-z", "x-/y-/x-y-z"),
        ] {
            assert_eq!(index_path(name).unwrap(), path);
            assert_eq!(
                of_index_path(path),
                Some(name.to_ascii_lowercase().as_str())
            );
        }
        for path in [
            "",
            "/",
            "a",
            "1/ab",
            "1/A",
            "1//a",
            "/1/a",
            "1/a/",
            "se/rd/Serde",
            "SE/RD/serde",
            "se/rd/../rd/serde",
            "3/a/ab",
            "ab/cd/abce",
            "config.json",
            "1/.",
            "2/..",
            "se/rd/serde%5fjson",
        ] {
            assert_eq!(of_index_path(path), None, "{path}");
        }
    }

    proptest! {
        #[test]
        fn keys_are_fixed_points_and_ascii(name in "\\PC{0,12}|[A-Za-z0-9_-]{1,20}") {
            if let Ok(once) = key(&name) {
                prop_assert!(name.is_ascii());
                prop_assert!(!once.as_str().bytes().any(|b| b.is_ascii_uppercase()));
                prop_assert!(!once.as_str().bytes().skip(1).any(|b| b == b'_'));
                prop_assert_eq!(&key(once.as_str()).unwrap(), &once);
                let path = index_path(&name).unwrap();
                let lower = name.to_ascii_lowercase();
                prop_assert_eq!(of_index_path(&path), Some(lower.as_str()));
            }
        }
    }
}
