//! The platforms of target dependencies: a triple or a `cfg(…)` expression. Cargo skips a version
//! whose index line it cannot read, so one that it cannot parse must not get there.

/// Longest text, and deepest nesting.
const MAX_LENGTH: usize = 4096;
const MAX_DEPTH: usize = 32;

/// Whether cargo can read `text` as a platform.
pub(super) fn is_valid(text: &str) -> bool {
    if text.is_empty() || text.len() > MAX_LENGTH || !text.is_ascii() {
        return false;
    }
    match text
        .strip_prefix("cfg(")
        .and_then(|rest| rest.strip_suffix(')'))
    {
        Some(expression) => {
            let mut parser = Parser {
                rest: expression.as_bytes(),
            };
            parser.expression(0).is_some() && parser.blanks().is_empty()
        }
        None => text
            .bytes()
            .all(|b| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'-' | b'.')),
    }
}

struct Parser<'a> {
    rest: &'a [u8],
}

impl<'a> Parser<'a> {
    /// Skips blanks; cargo knows no other white space here.
    fn blanks(&mut self) -> &'a [u8] {
        while let [b' ', rest @ ..] = self.rest {
            self.rest = rest;
        }
        self.rest
    }

    fn take(&mut self, sign: u8) -> bool {
        match self.blanks() {
            [first, rest @ ..] if *first == sign => {
                self.rest = rest;
                true
            }
            _ => false,
        }
    }

    fn word(&mut self) -> Option<&'a [u8]> {
        let mut text = self.blanks();
        text = text.strip_prefix(b"r#").unwrap_or(text);
        let length = text
            .iter()
            .take_while(|b| b.is_ascii_alphanumeric() || **b == b'_')
            .count();
        let (word, rest) = text.split_at(length);
        if word.first().is_none_or(u8::is_ascii_digit) {
            return None;
        }
        self.rest = rest;
        Some(word)
    }

    fn expression(&mut self, depth: usize) -> Option<()> {
        if depth > MAX_DEPTH {
            return None;
        }
        let word = self.word()?;
        match word {
            b"all" | b"any" if self.take(b'(') => {
                while !self.take(b')') {
                    self.expression(depth + 1)?;
                    if !self.take(b',') {
                        return self.take(b')').then_some(());
                    }
                }
                Some(())
            }
            b"not" if self.take(b'(') => {
                self.expression(depth + 1)?;
                self.take(b')').then_some(())
            }
            b"all" | b"any" | b"not" => None,
            _ if self.take(b'=') => {
                if !self.take(b'"') {
                    return None;
                }
                let end = self.rest.iter().position(|b| *b == b'"')?;
                let printable = self.rest[..end].iter().all(|b| (b' '..=b'~').contains(b));
                self.rest = &self.rest[end + 1..];
                printable.then_some(())
            }
            _ => Some(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::is_valid;
    use proptest::prelude::*;

    #[test]
    fn triples_and_expressions_are_platforms() {
        for text in [
            "x86_64-unknown-linux-gnu",
            "thumbv8m.main-none-eabi",
            "cfg(unix)",
            "cfg(target_os = \"linux\")",
            "cfg(all(unix, not(target_os = \"macos\"), any(a, b = \"c d\",)))",
            "cfg( any ( ) )",
            "cfg(target_os=\"linux\")",
            "cfg(true)",
            "cfg(r#true)",
        ] {
            assert!(is_valid(text), "{text}");
        }
    }

    #[test]
    fn what_cargo_cannot_read_is_none() {
        let deep = format!("cfg({}a{})", "not(".repeat(40), ")".repeat(40));
        for text in [
            "",
            "cfg()",
            "cfg(unix",
            "cfg(unix))",
            "cfg(not(a, b))",
            "cfg(all)",
            "cfg(a b)",
            "cfg(a = b)",
            "cfg(a = \"b)",
            "cfg(1a)",
            "cfg(a,)",
            "cfg(a\n)",
            "cfg(a = \"\u{1b}\")",
            "cfg(\u{430})",
            "x86 64",
            "../x",
            "a/b",
            &deep,
            &"a".repeat(5000),
        ] {
            assert!(!is_valid(text), "{text}");
        }
    }

    proptest! {
        #[test]
        fn never_panics(text in "cfg\\([a-z(),=\" #]{0,30}\\)|\\PC{0,20}") {
            let _ = is_valid(&text);
        }
    }
}
