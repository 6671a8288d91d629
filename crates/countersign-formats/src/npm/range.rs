//! Ranges of versions, as far as the registry needs them: what Node.js would take for one can be no
//! tag, since clients would look for versions instead.

/// Whether Node.js takes the text for a range of versions. The empty text is one: any version.
pub fn is_range(text: &str) -> bool {
    text.split("||").all(|part| {
        let part = part.trim();
        if let Some((from, to)) = part.split_once(" - ") {
            return is_partial(from.trim()) && is_partial(to.trim());
        }
        // Blanks may stand between an operator and its version.
        let mut pending = false;
        for word in part.split_whitespace() {
            let rest = word.trim_start_matches(['<', '>', '=', '~', '^']);
            if rest.is_empty() {
                pending = true;
            } else if is_partial(rest) {
                pending = false;
            } else {
                return false;
            }
        }
        !pending
            || part
                .chars()
                .all(|c| matches!(c, '<' | '>' | '=' | '~' | '^'))
    })
}

/// `1`, `1.x`, `v1.2.*`, `1.2.3-rc.1+build`.
fn is_partial(text: &str) -> bool {
    let text = text.trim_start_matches(['v', '=']);
    let (text, build) = text
        .split_once('+')
        .map_or((text, None), |(text, build)| (text, Some(build)));
    let (numbers, pre) = text
        .split_once('-')
        .map_or((text, None), |(numbers, pre)| (numbers, Some(pre)));
    let parts: Vec<&str> = numbers.split('.').collect();
    let number = |part: &&str| {
        matches!(*part, "x" | "X" | "*")
            || (!part.is_empty() && part.bytes().all(|b| b.is_ascii_digit()))
    };
    let identifiers = |text: &str| {
        text.split('.').all(|part| {
            !part.is_empty() && part.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-')
        })
    };
    parts.len() <= 3
        && parts.iter().all(number)
        && (parts.len() == 3 || (pre.is_none() && build.is_none()))
        && pre.is_none_or(identifiers)
        && build.is_none_or(identifiers)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn knows_ranges_from_tags() {
        for text in [
            "",
            "*",
            "x",
            "X",
            "1",
            "v1",
            "=1",
            "1.x",
            "1.2.3",
            "v1.2.3",
            "~1.2",
            "^1.2.3",
            ">=1.0.0 <2.0.0",
            "> 1",
            "1 - 2",
            "1.2.3 - 2.0.0",
            "1 || 2",
            "||",
            "1.2.3-rc.1+b",
            "~>1",
            "=v1.2.3",
        ] {
            assert!(is_range(text), "{text:?}");
        }
        for text in [
            "latest",
            "next",
            "beta",
            "v",
            "release-1",
            "1a",
            "1.2.3.4",
            "x1",
            "lts/*",
            "1.x-beta",
            "stable 1",
        ] {
            assert!(!is_range(text), "{text:?}");
        }
    }
}
