//! Lists of names, the best known first, one a line: what an operator protects from look-alikes.

use std::collections::HashSet;

use crate::{Ecosystem, NameKey, Rejection, format, rejection::quoted};

/// The longest list, in bytes.
pub const MAX_BYTES: usize = 64 << 20;
/// The most names of one list.
pub const MAX_NAMES: usize = 1_000_000;
/// The longest line, in bytes.
const MAX_LINE: usize = 1_000;

/// Reads a list: of each line the first field (up to a comma, a tab or a blank) is a name. Empty lines, and what follows a
/// `#` at the beginning of a line, say nothing. A name that stands there twice counts where it stands first.
///
/// # Errors
/// `name-list-malformed`, with the line: what is no name of the ecosystem, no UTF-8, or too long; too many names, or none.
pub fn parse(ecosystem: Ecosystem, bytes: &[u8]) -> Result<Vec<NameKey>, Rejection> {
    let malformed = |why: String| {
        Rejection::new("name-list-malformed", why)
            .with_remedy("Give one name a line, the best known first; nothing was imported.")
    };
    if bytes.len() > MAX_BYTES {
        return Err(malformed(format!(
            "The list has {} bytes; {MAX_BYTES} are the most.",
            bytes.len()
        )));
    }
    let bytes = bytes.strip_prefix(b"\xef\xbb\xbf").unwrap_or(bytes);
    let rules = format(ecosystem);
    let (mut names, mut seen) = (Vec::new(), HashSet::new());
    for (index, line) in bytes.split(|byte| *byte == b'\n').enumerate() {
        let number = index + 1;
        if line.len() > MAX_LINE {
            return Err(malformed(format!(
                "Line {number} of the list has {} bytes; {MAX_LINE} are the most.",
                line.len()
            )));
        }
        let Ok(line) = std::str::from_utf8(line) else {
            return Err(malformed(format!(
                "Line {number} of the list is no UTF-8 text."
            )));
        };
        let line = line.trim();
        if line.is_empty() || line.starts_with('#') {
            continue;
        }
        let name = line
            .split([',', '\t', ' '])
            .next()
            .unwrap_or_default()
            .trim_matches('"');
        let key = rules.name_key(name).map_err(|rejection| {
            malformed(format!(
                "Line {number} of the list: {} is no name of {ecosystem}. {}",
                quoted(name),
                rejection.message
            ))
        })?;
        if seen.insert(key.clone()) {
            names.push(key);
        }
        if names.len() > MAX_NAMES {
            return Err(malformed(format!(
                "The list has more than {MAX_NAMES} names, from line {number} on."
            )));
        }
    }
    if names.is_empty() {
        return Err(malformed("The list has no name in it.".to_owned()));
    }
    Ok(names)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn keys(ecosystem: Ecosystem, text: &str) -> Vec<String> {
        let names = parse(ecosystem, text.as_bytes()).unwrap();
        names.iter().map(ToString::to_string).collect()
    }

    #[test]
    fn names_are_read_in_their_order_and_once() {
        let text =
            "\u{feff}# the top\r\nRequests\r\n\n\"numpy\",123\nscikit_learn\t7\nrequests 4\n";
        assert_eq!(
            keys(Ecosystem::Pypi, text),
            ["requests", "numpy", "scikit-learn"]
        );
        assert_eq!(
            keys(Ecosystem::Npm, "@scope/x\nlodash"),
            ["@scope/x", "lodash"]
        );
    }

    #[test]
    fn a_line_that_is_wrong_is_named_and_nothing_is_taken() {
        let long = "a".repeat(MAX_LINE + 1);
        let huge = "a".repeat(MAX_BYTES + 1);
        for (bytes, told) in [
            (b"good\nbad/name\n".as_slice(), "Line 2"),
            (b"good\n\n\xff\xfe\n", "Line 3"),
            (b"good\np\xd0\xb0ndas\n", "Line 2"),
            (long.as_bytes(), "Line 1"),
            (huge.as_bytes(), "bytes"),
            (b"", "no name"),
            (b"# nothing\n", "no name"),
            (b"a\0b\n", "Line 1"),
        ] {
            let refused = parse(Ecosystem::Pypi, bytes).unwrap_err();
            assert_eq!(refused.code, "name-list-malformed");
            assert!(refused.message.contains(told), "{}", refused.message);
            assert!(refused.message.len() < 500, "{}", refused.message);
        }
    }
}
