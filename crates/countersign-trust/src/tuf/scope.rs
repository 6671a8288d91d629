//! Which targets a delegated role may speak for.

use crate::digest::Sha256;

/// The paths of a delegation: patterns, or beginnings of digests.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Scope {
    /// Patterns of shell style, matched part by part between slashes: `*`, `?`, `[abc]`, `[!a-z]`.
    Paths(Vec<String>),
    /// Beginnings of the hexadecimal SHA-256 of the path.
    HashPrefixes(Vec<String>),
}

impl Scope {
    /// Every path: 16 beginnings of one digit. A pattern can not say that, since `*` ends at a slash.
    #[must_use]
    pub fn everything() -> Self {
        Self::HashPrefixes((0..16).map(|digit| format!("{digit:x}")).collect())
    }

    /// Is this path in the scope?
    #[must_use]
    pub fn holds(&self, path: &str) -> bool {
        match self {
            Self::Paths(patterns) => patterns.iter().any(|pattern| matches(pattern, path)),
            Self::HashPrefixes(prefixes) => {
                let digest = Sha256::of(path.as_bytes()).to_hex();
                prefixes.iter().any(|prefix| digest.starts_with(prefix))
            }
        }
    }
}

/// A pattern against a path: as many parts, and each part fits.
fn matches(pattern: &str, path: &str) -> bool {
    let (mut patterns, mut parts) = (pattern.split('/'), path.split('/'));
    loop {
        match (patterns.next(), parts.next()) {
            (None, None) => return true,
            (Some(pattern), Some(part)) if part_matches(pattern, part) => {}
            _ => return false,
        }
    }
}

/// One piece of a pattern.
#[derive(Debug)]
enum Piece {
    Any,
    One,
    Exactly(char),
    Set {
        not: bool,
        ranges: Vec<(char, char)>,
    },
}

/// The pieces of a pattern. A bracket that does not close is a bracket, and `]` stands first to be itself.
fn pieces(pattern: &str) -> Vec<Piece> {
    let text: Vec<char> = pattern.chars().collect();
    let mut pieces = Vec::new();
    let mut at = 0;
    while let Some(&character) = text.get(at) {
        at += 1;
        let piece = match character {
            '*' => Piece::Any,
            '?' => Piece::One,
            '[' => match set(&text, at) {
                Some((piece, after)) => {
                    at = after;
                    piece
                }
                None => Piece::Exactly('['),
            },
            other => Piece::Exactly(other),
        };
        // Two stars are as one, and cost as one.
        if !(matches!(piece, Piece::Any) && matches!(pieces.last(), Some(Piece::Any))) {
            pieces.push(piece);
        }
    }
    pieces
}

/// A set that begins behind a bracket, and where the text goes on after it.
fn set(text: &[char], begin: usize) -> Option<(Piece, usize)> {
    let not = text.get(begin) == Some(&'!');
    let first = begin + usize::from(not);
    // The first character is of the set even where it is a closing bracket.
    let end = (first + 1..text.len()).find(|&at| text[at] == ']')?;
    let inside = &text[first..end];
    let mut ranges = Vec::new();
    let mut at = 0;
    while let Some(&low) = inside.get(at) {
        match (inside.get(at + 1), inside.get(at + 2)) {
            (Some('-'), Some(&high)) => {
                ranges.push((low, high));
                at += 3;
            }
            _ => {
                ranges.push((low, low));
                at += 1;
            }
        }
    }
    Some((Piece::Set { not, ranges }, end + 1))
}

fn part_matches(pattern: &str, part: &str) -> bool {
    let (pieces, text): (Vec<Piece>, Vec<char>) = (pieces(pattern), part.chars().collect());
    // Where the last star stood, and how much of the text it took: what does not fit gives the star one more.
    let mut star: Option<(usize, usize)> = None;
    let (mut piece, mut at) = (0, 0);
    loop {
        let fits = match (pieces.get(piece), text.get(at)) {
            (None, None) => return true,
            (Some(Piece::Any), _) => {
                star = Some((piece, at));
                piece += 1;
                continue;
            }
            (Some(Piece::One), Some(_)) => true,
            (Some(Piece::Exactly(wanted)), Some(found)) => wanted == found,
            (Some(Piece::Set { not, ranges }), Some(found)) => {
                ranges
                    .iter()
                    .any(|(low, high)| (low..=high).contains(&found))
                    != *not
            }
            (None, Some(_)) | (Some(_), None) => false,
        };
        if fits {
            piece += 1;
            at += 1;
            continue;
        }
        match star {
            Some((of, taken)) if taken < text.len() => {
                star = Some((of, taken + 1));
                piece = of + 1;
                at = taken + 1;
            }
            _ => return false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns_match_part_by_part_as_the_reference_implementation_does() {
        for (pattern, path, fits) in [
            ("*", "file", true),
            ("*", "folder/file", false),
            ("*/*", "folder/file", true),
            ("releases/*/*", "releases/x/x_v1", true),
            ("releases/*/*", "releases/x", false),
            ("foo-?.tgz", "foo-1.tgz", true),
            ("foo-?.tgz", "foo-alpha.tgz", false),
            ("*.md", "README.MD", false),
            ("foo-version-[!0-4].tgz", "foo-version-5.tgz", true),
            ("foo-version-[!0-4].tgz", "foo-version-3.tgz", false),
            ("a[]x]b", "a]b", true),
            ("a[b", "a[b", true),
            ("*a*b*c", "xxaxxbxxc", true),
            ("*a*b*c", "xxaxxbxx", false),
            ("", "", true),
            ("folder/", "folder", false),
            ("a**b", "ab", true),
            ("*?", "", false),
        ] {
            assert_eq!(matches(pattern, path), fits, "{pattern} on {path}");
        }
    }

    #[test]
    fn a_pattern_of_many_stars_takes_no_exponential_time() {
        assert!(!matches(&"*a".repeat(500), &"a".repeat(499)));
        assert!(!matches(
            &format!("{}b", "*a".repeat(500)),
            &"a".repeat(4000)
        ));
    }

    #[test]
    fn everything_holds_every_path() {
        for path in ["", "a", "a/b/c", "ünï"] {
            assert!(Scope::everything().holds(path));
        }
    }
}
