//! Requirements (PEP 508) and version specifiers (PEP 440).
//!
//! The grammar is small and read here; only the specifiers go to `pep440_rs`. The well-known crate
//! for the whole was tried: it panics on names such as `u.`, and turns markers into decision
//! diagrams, whose size a hostile marker can make exponential and which are kept for the life of
//! the process, while a registry needs no more than the text and its `extra`.

use std::str::FromStr;

use crate::{Dependency, Rejection, pypi::name, rejection::quoted};

const MAX_REQUIREMENT: usize = 4096;
/// Deepest nesting of brackets in a marker.
const MAX_DEPTH: usize = 32;

const VARIABLES: &[&str] = &[
    "python_version",
    "python_full_version",
    "os_name",
    "sys_platform",
    "platform_release",
    "platform_system",
    "platform_version",
    "platform_machine",
    "platform_python_implementation",
    "implementation_name",
    "implementation_version",
    "extra",
    "extras",
    "dependency_groups",
    "os.name",
    "sys.platform",
    "platform.version",
    "platform.machine",
    "platform.python_implementation",
    "python_implementation",
];

/// Parses one requirement of a package that is to be published.
///
/// # Errors
/// Refuses what is malformed, and direct references to URLs: what they deliver is recorded nowhere.
pub fn parse(line: &str) -> Result<Dependency, Rejection> {
    let invalid = |why: &str| {
        Rejection::new(
            "metadata-requirement",
            format!("The requirement {} is not valid: {why}.", quoted(line)),
        )
        .with_remedy("Write it like \"name[extra]>=1.0,<2; python_version >= '3.9'\" (PEP 508).")
    };
    if line.len() > MAX_REQUIREMENT {
        return Err(invalid("it is longer than 4096 bytes"));
    }
    if line.contains('@')
        && line
            .split(';')
            .next()
            .is_some_and(|head| head.contains('@'))
    {
        return Err(Rejection::new(
            "metadata-direct-reference",
            format!("The requirement {} points to a URL.", quoted(line)),
        )
        .with_remedy(
            "Depend on a published release: what a URL delivers can change and is logged nowhere.",
        ));
    }
    let (head, marker) = match line.split_once(';') {
        Some((head, marker)) => (head.trim(), Some(marker.trim())),
        None => (line.trim(), None),
    };
    let end = head
        .find(|c: char| !(c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.')))
        .unwrap_or(head.len());
    let (written, rest) = head.split_at(end);
    let name_key =
        name::key(written).map_err(|_| invalid("it does not begin with a project name"))?;
    let specifier = after_extras(rest.trim_start()).map_err(&invalid)?.trim();
    let specifier = match specifier.strip_prefix('(') {
        Some(inner) => inner
            .strip_suffix(')')
            .ok_or_else(|| invalid("a bracket is not closed"))?
            .trim(),
        None => specifier,
    };
    if !specifier.is_empty() {
        specifiers(specifier).map_err(|why| invalid(&why))?;
    }
    let mut extras = Vec::new();
    if let Some(marker) = marker {
        extras = marker_extras(marker).map_err(|why| invalid(&why))?;
    }
    extras.dedup();
    let extra = match extras.as_slice() {
        [one] => Some(one.clone()),
        _ => None,
    };
    Ok(Dependency {
        name_key,
        requirement: line.to_owned(),
        specifier: specifier.to_owned(),
        marker: marker.unwrap_or_default().to_owned(),
        extra,
    })
}

/// What follows `[extra, extra]`.
fn after_extras(text: &str) -> Result<&str, &'static str> {
    let Some(inner) = text.strip_prefix('[') else {
        return Ok(text);
    };
    let (extras, rest) = inner.split_once(']').ok_or("the extras are not closed")?;
    let mut names = extras.split(',').map(str::trim);
    if !extras.trim().is_empty() && names.any(|extra| name::key(extra).is_err()) {
        return Err("an extra is malformed");
    }
    Ok(rest)
}

/// Parses specifiers such as `>=3.9,<4`; empty ones (`>=3.6,`) are ignored as Python's own parser
/// does.
pub(crate) fn specifiers(text: &str) -> Result<Vec<pep440_rs::VersionSpecifier>, String> {
    if text.len() > MAX_REQUIREMENT {
        return Err("it is longer than 4096 bytes".to_owned());
    }
    text.split(',')
        .map(str::trim)
        .filter(|part| !part.is_empty())
        .map(|part| {
            pep440_rs::VersionSpecifier::from_str(part)
                .map_err(|_| format!("{} is no version specifier", quoted(part)))
        })
        .collect()
}

/// Checks a marker and returns the values that it compares `extra` with.
fn marker_extras(marker: &str) -> Result<Vec<String>, String> {
    let mut parser = MarkerParser {
        rest: marker,
        extras: Vec::new(),
    };
    parser.any(0)?;
    parser.blanks();
    if !parser.rest.is_empty() {
        return Err(format!("the marker goes on with {}", quoted(parser.rest)));
    }
    Ok(parser.extras)
}

/// A recursive-descent reader of the marker grammar.
struct MarkerParser<'a> {
    rest: &'a str,
    extras: Vec<String>,
}

/// One side of a comparison.
enum Operand<'a> {
    Variable(&'a str),
    Text(&'a str),
}

impl<'a> MarkerParser<'a> {
    fn blanks(&mut self) {
        self.rest = self.rest.trim_start_matches([' ', '\t']);
    }

    /// `and` and `or` with their operands; precedence does not matter for checking.
    fn any(&mut self, depth: usize) -> Result<(), String> {
        if depth > MAX_DEPTH {
            return Err("the marker is nested too deeply".to_owned());
        }
        loop {
            self.blanks();
            if let Some(after) = self.rest.strip_prefix('(') {
                self.rest = after;
                self.any(depth + 1)?;
                self.blanks();
                self.rest = self
                    .rest
                    .strip_prefix(')')
                    .ok_or("the marker lacks a closing bracket")?;
            } else {
                self.comparison()?;
            }
            self.blanks();
            match self.word() {
                "and" | "or" => {}
                _ => return Ok(()),
            }
            let length = self.word().len();
            self.rest = &self.rest[length..];
        }
    }

    /// The identifier that comes next.
    fn word(&self) -> &'a str {
        let end = self
            .rest
            .find(|c: char| !(c.is_ascii_alphanumeric() || matches!(c, '_' | '.')))
            .unwrap_or(self.rest.len());
        &self.rest[..end]
    }

    fn comparison(&mut self) -> Result<(), String> {
        let left = self.operand()?;
        self.operator()?;
        let right = self.operand()?;
        match (left, right) {
            (Operand::Variable(variable), Operand::Text(text))
            | (Operand::Text(text), Operand::Variable(variable)) => {
                if variable == "extra" {
                    self.extras.push(text.to_owned());
                }
                Ok(())
            }
            _ => {
                Err("a comparison in the marker needs one variable and one quoted text".to_owned())
            }
        }
    }

    fn operand(&mut self) -> Result<Operand<'a>, String> {
        self.blanks();
        for quote in ['"', '\''] {
            if let Some(after) = self.rest.strip_prefix(quote) {
                let (text, rest) = after
                    .split_once(quote)
                    .ok_or("the marker has an open quotation")?;
                self.rest = rest;
                return Ok(Operand::Text(text));
            }
        }
        let word = self.word();
        if !VARIABLES.contains(&word) {
            return Err(format!(
                "the marker has no variable at {}",
                quoted(self.rest)
            ));
        }
        self.rest = &self.rest[word.len()..];
        Ok(Operand::Variable(word))
    }

    fn operator(&mut self) -> Result<(), String> {
        self.blanks();
        for symbol in ["===", "==", "~=", "!=", "<=", ">=", "<", ">"] {
            if let Some(after) = self.rest.strip_prefix(symbol) {
                self.rest = after;
                return Ok(());
            }
        }
        if self.word() == "not" {
            self.rest = &self.rest[3..];
            self.blanks();
            if self.word() != "in" {
                return Err("the marker has \"not\" without \"in\"".to_owned());
            }
        }
        if self.word() == "in" {
            self.rest = &self.rest[2..];
            return Ok(());
        }
        Err(format!(
            "the marker has no comparison at {}",
            quoted(self.rest)
        ))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn requirements_are_taken_apart() {
        let dependency = parse("Requests[security,Tests] (>=2.8.1, ==2.8.*) ; python_version < '2.7' and (extra == \"Http\" or extra == 'Http')").unwrap();
        assert_eq!(dependency.name_key.as_str(), "requests");
        assert_eq!(dependency.specifier, ">=2.8.1, ==2.8.*");
        assert_eq!(dependency.extra.as_deref(), Some("Http"));
        assert!(dependency.marker.starts_with("python_version"));
    }

    #[test]
    fn real_spellings_are_accepted() {
        for line in [
            "a",
            "a (>=1)",
            "a>=1,<2,",
            "a (>=1,)",
            "a ; sys_platform == \"win32\"",
            "a;'linux' in sys_platform",
            "a; platform_system not in 'Windows'",
            "zope.interface",
            "a===1.0",
            "a~=1.4.2",
            "a; os.name=='nt'",
            "a[x,y]>=1,<2",
        ] {
            assert!(parse(line).is_ok(), "{line}: {}", parse(line).unwrap_err());
        }
    }

    #[test]
    fn bad_requirements_are_refused_and_shown() {
        for line in [
            "",
            "a b",
            "a>=",
            "a; ",
            "a; python_version",
            "a; 'x' == 'y'",
            "a; python_version == '3",
            "a; (os_name == 'nt'",
            "a; shell == 'sh'",
            "u.",
            "a[",
            "a[b",
            "a[b c]",
            "a (>=1",
            "a >=1)",
            "a>=1 <2",
            "a 1.0",
            "a; os_name == 'nt' xor os_name == 'nt'",
            "\u{212a}a",
        ] {
            assert_eq!(
                parse(line).unwrap_err().code,
                "metadata-requirement",
                "{line}"
            );
        }
        assert_eq!(
            parse("a @ https://example.org/a.whl").unwrap_err().code,
            "metadata-direct-reference"
        );
        let deep = format!("a; {}", "(".repeat(4000));
        assert!(parse(&deep).unwrap_err().message.contains("nested"));
    }

    proptest! {
        #[test]
        fn parsing_never_panics(line in "\\PC{0,60}", marker in "[a-z_ ()'\"=<>!~]{0,60}") {
            let _ = parse(&line);
            let _ = parse(&format!("a; {marker}"));
            let _ = specifiers(&line);
        }
    }
}
