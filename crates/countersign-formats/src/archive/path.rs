//! Paths of members: refused when any file system or reader could take them for something else.

use std::{borrow::Cow, collections::HashMap};

use unicode_normalization::UnicodeNormalization;

use super::MemberKind;
use crate::{Rejection, rejection::quoted};

/// Longest part of a path, in bytes: what file systems take.
const MAX_PART: usize = 255;

/// Characters that change the direction of text and so hide what a name is.
pub(crate) fn is_direction_mark(c: char) -> bool {
    matches!(c, '\u{61c}' | '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

/// The path without its parts that are a single dot.
pub(super) fn without_dots(raw: &[u8]) -> Vec<u8> {
    let parts: Vec<&[u8]> = raw
        .split(|b| *b == b'/')
        .filter(|part| *part != b".")
        .collect();
    parts.join(&b'/')
}

/// Checks a member's raw name; returns the path without a slash at the end, and whether it had one.
pub(super) fn check(raw: &[u8], max: usize) -> Result<(&str, bool), Rejection> {
    let text = std::str::from_utf8(raw).map_err(|_| {
        Rejection::new(
            "archive-member-name",
            format!(
                "The member name {} is not UTF-8.",
                quoted(&String::from_utf8_lossy(raw))
            ),
        )
    })?;
    let bad = |why: &str| {
        Rejection::new(
            "archive-member-name",
            format!("The member name {} {why}.", quoted(text)),
        )
        .with_remedy("Rename the file in the source tree and build again.")
    };
    let path = text.strip_suffix('/').unwrap_or(text);
    if path.is_empty() {
        return Err(bad("is empty"));
    }
    if text.len() > max {
        return Err(bad("is too long"));
    }
    if text.starts_with('/') || text.contains('\\') || text.as_bytes().get(1) == Some(&b':') {
        return Err(bad("is absolute or holds a backslash"));
    }
    if text.chars().any(|c| c.is_control() || is_direction_mark(c)) {
        return Err(bad("holds control or direction-changing characters"));
    }
    for part in path.split('/') {
        if part.is_empty() || part == "." || part == ".." {
            return Err(bad("has an empty, '.' or '..' part"));
        }
        if part.len() > MAX_PART {
            return Err(bad("has a part of more than 255 bytes"));
        }
        if part.ends_with('.') || part.ends_with(' ') {
            return Err(bad(
                "has a part that ends in a dot or blank, which Windows drops",
            ));
        }
        if is_reserved_on_windows(part) {
            return Err(bad("is the name of a device on Windows"));
        }
    }
    Ok((path, path.len() != text.len()))
}

pub(crate) fn is_reserved_on_windows(part: &str) -> bool {
    let stem = part.split('.').next().unwrap_or(part).trim_end();
    let is = |name: &str| stem.eq_ignore_ascii_case(name);
    if ["con", "prn", "aux", "nul"].into_iter().any(is) {
        return true;
    }
    let port = stem
        .get(..3)
        .is_some_and(|p| p.eq_ignore_ascii_case("com") || p.eq_ignore_ascii_case("lpt"));
    port && stem.len() == 4 && matches!(stem.as_bytes()[3], b'1'..=b'9')
}

/// The form under which careless file systems hold two paths for one.
fn folded(path: &str) -> Cow<'_, str> {
    if path.is_ascii() {
        if path.bytes().any(|b| b.is_ascii_uppercase()) {
            return Cow::Owned(path.to_ascii_lowercase());
        }
        return Cow::Borrowed(path);
    }
    Cow::Owned(path.nfc().collect::<String>().to_lowercase())
}

/// The tree that the members seen so far would make on a disk.
#[derive(Default)]
pub(super) struct Tree {
    /// Folded path → path as first seen, kind, and whether it has a member of its own.
    nodes: HashMap<String, Node>,
}

struct Node {
    path: String,
    kind: MemberKind,
    explicit: bool,
}

impl Tree {
    /// Adds a member.
    ///
    /// # Errors
    /// Refuses duplicates, names that differ only in case or Unicode form, and members below what
    /// is not a directory.
    pub(super) fn insert(&mut self, path: &str, kind: MemberKind) -> Result<(), Rejection> {
        for (at, _) in path.match_indices('/') {
            self.node(&path[..at], MemberKind::Directory, false)?;
        }
        self.node(path, kind, true)
    }

    fn node(&mut self, path: &str, kind: MemberKind, explicit: bool) -> Result<(), Rejection> {
        let key = folded(path);
        let Some(node) = self.nodes.get_mut(key.as_ref()) else {
            let node = Node {
                path: path.to_owned(),
                kind,
                explicit,
            };
            self.nodes.insert(key.into_owned(), node);
            return Ok(());
        };
        if node.path != path {
            return Err(Rejection::new(
                "archive-name-collision",
                format!(
                    "{} and {} are one file where case or Unicode form does not count.",
                    quoted(&node.path),
                    quoted(path)
                ),
            )
            .with_remedy("Rename one of them."));
        }
        if node.kind != kind {
            return Err(Rejection::new(
                "archive-name-collision",
                format!("{} is both a directory and something else.", quoted(path)),
            ));
        }
        if explicit && node.explicit {
            return Err(twice(path));
        }
        node.explicit |= explicit;
        Ok(())
    }
}

/// The refusal of a path that stands in an archive twice.
pub(super) fn twice(path: &str) -> Rejection {
    Rejection::new(
        "archive-duplicate-member",
        format!("{} stands in the archive twice.", quoted(path)),
    )
    .with_remedy(
        "Readers disagree which one counts: build the archive again without the duplicate.",
    )
}
