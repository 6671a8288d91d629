//! Distribution tags: names for versions, such as `latest`.

use crate::{
    Limits, Rejection,
    npm::{json, name, range, version},
    rejection::quoted,
};

/// The tag that installs take when nobody names one. It always points somewhere.
pub const LATEST: &str = "latest";
/// Longest tag, and most tags of a package.
const MAX_TAG: usize = 100;
/// Most tags of a package.
pub const MAX_TAGS: usize = 1000;

/// Checks a tag that is to be set.
///
/// # Errors
/// Refuses what clients would take for a version or range, what does not stand in a URL as it is,
/// and members of every JavaScript object.
pub fn check(tag: &str) -> Result<(), Rejection> {
    let refused = |why: &str| {
        Err(Rejection::new(
            "tag-invalid",
            format!("{} can not be a tag: it {why}.", quoted(tag)),
        )
        .with_remedy("Use a word such as next or beta: ASCII letters, digits, '-', '_' and '.'."))
    };
    if tag.is_empty() {
        return refused("is empty");
    }
    if tag.len() > MAX_TAG {
        return refused("is too long");
    }
    if !tag
        .bytes()
        .all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_' | b'.' | b'~'))
    {
        return refused("holds characters that do not stand in a URL");
    }
    if tag.starts_with('.') {
        return refused("begins with a dot");
    }
    if range::is_range(tag) || version::parse(tag).is_ok() {
        return refused("is a range of versions");
    }
    if name::is_object_member(tag) {
        return refused("is a member of every JavaScript object");
    }
    Ok(())
}

/// Checks that a tag may go.
///
/// # Errors
/// Refuses for [`LATEST`].
pub fn check_removal(tag: &str) -> Result<(), Rejection> {
    if tag == LATEST {
        return Err(
            Rejection::new("tag-latest", "The tag latest can not be removed.").with_remedy(
                "Point it to another version with `npm dist-tag add NAME@VERSION latest`.",
            ),
        );
    }
    Ok(())
}

/// The version in the body of a request that sets a tag: a JSON text.
///
/// # Errors
/// Refuses anything else, and versions that are not in normal form.
pub fn read_version(body: &[u8], limits: &Limits) -> Result<String, Rejection> {
    let invalid = |what: &str| {
        Rejection::new("tag-body", format!("The request's body is {what}."))
            .with_remedy("Send the version as a JSON string, such as \"1.2.3\".")
    };
    let (value, _) = json::read(body, limits.max_metadata, json::Duplicates::Refused)?;
    let serde_json::Value::String(text) = value else {
        return Err(invalid("no JSON string"));
    };
    let parsed = version::parse(&text)?;
    if parsed.canonical() != text {
        return Err(invalid(&format!(
            "{}, which is published as {parsed}",
            quoted(&text)
        )));
    }
    Ok(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tags_are_words_and_no_ranges() {
        for tag in [
            "latest",
            "next",
            "beta-2",
            "release_1",
            "v2-lts",
            "es6",
            "1a",
        ] {
            assert!(check(tag).is_ok(), "{tag}");
        }
        for tag in [
            "",
            "1",
            "1.2.3",
            "v1",
            "x",
            "*",
            "a b",
            "a/b",
            "..",
            "__proto__",
            "constructor",
            "toString",
            "\u{e9}",
            "a%20",
            "1.2.3beta",
        ] {
            assert_eq!(check(tag).unwrap_err().code, "tag-invalid", "{tag:?}");
        }
        assert!(check(&"a".repeat(101)).is_err());
        assert!(check_removal("latest").is_err() && check_removal("next").is_ok());
    }

    #[test]
    fn the_body_is_one_json_string() {
        let read = |body: &str| read_version(body.as_bytes(), &Limits::default());
        assert_eq!(read("\"1.2.3\"").unwrap(), "1.2.3");
        for body in [
            "1.2.3",
            "\"v1.2.3\"",
            "\"x\"",
            "{}",
            "[\"1.2.3\"]",
            "\"1.2.3\" \"1.2.4\"",
            "",
        ] {
            assert!(read(body).is_err(), "{body}");
        }
    }
}
