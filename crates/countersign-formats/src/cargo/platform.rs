//! The platforms of target dependencies: a triple or a `cfg(…)` expression. Cargo skips a version
//! whose index line it cannot read, so one that it cannot parse must not get there.

/// Longest text, and deepest nesting.
const MAX_LENGTH: usize = 4096;
const MAX_DEPTH: usize = 32;

/// `text` as cargo writes a platform; none, when cargo cannot read it as one. Manifests keep the
/// author's blanks, while cargo's requests and hence the index have one spelling.
pub(super) fn normal(text: &str) -> Option<String> {
    if text.is_empty() || text.len() > MAX_LENGTH || !text.is_ascii() {
        return None;
    }
    let expression = text
        .strip_prefix("cfg(")
        .and_then(|rest| rest.strip_suffix(')'));
    let Some(expression) = expression else {
        let plain = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'-' | b'.');
        return text.bytes().all(plain).then(|| text.to_owned());
    };
    let mut parser = Parser {
        rest: expression,
        out: "cfg(".to_owned(),
    };
    parser.expression(0)?;
    parser.blanks().is_empty().then(|| parser.out + ")")
}

/// Reads an expression and writes it again.
struct Parser<'a> {
    rest: &'a str,
    out: String,
}

impl<'a> Parser<'a> {
    /// Skips blanks; cargo knows no other white space here.
    fn blanks(&mut self) -> &'a str {
        self.rest = self.rest.trim_start_matches(' ');
        self.rest
    }

    fn take(&mut self, sign: char) -> bool {
        match self.blanks().strip_prefix(sign) {
            Some(rest) => {
                self.rest = rest;
                true
            }
            None => false,
        }
    }

    /// A word, with the `r#` of a raw one.
    fn word(&mut self) -> Option<&'a str> {
        let text = self.blanks();
        let raw = if text.starts_with("r#") { 2 } else { 0 };
        let name = &text[raw..];
        let end = name
            .find(|c: char| !c.is_ascii_alphanumeric() && c != '_')
            .unwrap_or(name.len());
        if end == 0 || name.starts_with(|c: char| c.is_ascii_digit()) {
            return None;
        }
        let (word, rest) = text.split_at(raw + end);
        self.rest = rest;
        Some(word)
    }

    fn expression(&mut self, depth: usize) -> Option<()> {
        if depth > MAX_DEPTH {
            return None;
        }
        let word = self.word()?;
        self.out.push_str(word);
        match word {
            "all" | "any" if self.take('(') => {
                self.out.push('(');
                let mut first = true;
                while !self.take(')') {
                    if !std::mem::take(&mut first) {
                        self.out.push_str(", ");
                    }
                    self.expression(depth + 1)?;
                    if !self.take(',') {
                        if !self.take(')') {
                            return None;
                        }
                        break;
                    }
                }
                self.out.push(')');
                Some(())
            }
            "not" if self.take('(') => {
                self.out.push('(');
                self.expression(depth + 1)?;
                self.out.push(')');
                self.take(')').then_some(())
            }
            "all" | "any" | "not" => None,
            _ if self.take('=') => {
                if !self.take('"') {
                    return None;
                }
                let (value, rest) = self.rest.split_once('"')?;
                if value.bytes().any(|b| !(b' '..=b'~').contains(&b)) {
                    return None;
                }
                self.rest = rest;
                self.out.push_str(" = \"");
                self.out.push_str(value);
                self.out.push('"');
                Some(())
            }
            _ => Some(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::normal;
    use proptest::prelude::*;

    #[test]
    fn triples_and_expressions_come_back_as_cargo_writes_them() {
        for (text, expected) in [
            ("x86_64-unknown-linux-gnu", None),
            ("thumbv8m.main-none-eabi", None),
            ("cfg(unix)", None),
            ("cfg(target_os = \"linux\")", None),
            (
                "cfg(target_os=\"linux\")",
                Some("cfg(target_os = \"linux\")"),
            ),
            (
                "cfg(all(unix,not( target_os = \"macos\" ) , any(a, b = \"c d\",)))",
                Some("cfg(all(unix, not(target_os = \"macos\"), any(a, b = \"c d\")))"),
            ),
            ("cfg( any ( ) )", Some("cfg(any())")),
            ("cfg(true)", None),
            ("cfg(r#true)", None),
        ] {
            assert_eq!(normal(text).as_deref(), Some(expected.unwrap_or(text)));
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
            assert_eq!(normal(text), None, "{text}");
        }
    }

    proptest! {
        #[test]
        fn the_normal_form_is_a_fixed_point(text in "cfg\\([a-z(),=\" #]{0,30}\\)|\\PC{0,20}") {
            if let Some(once) = normal(&text) {
                prop_assert_eq!(normal(&once), Some(once.clone()));
            }
        }
    }
}
