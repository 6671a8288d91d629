//! The part of YAML that our own CI files are written in: mappings, sequences, quoted and plain scalars, literal and
//! folded blocks, lists in brackets. Anything else, and a name that stands twice, fails the test.

use serde_json::{Map, Value};

struct Reader<'a> {
    lines: Vec<&'a str>,
    at: usize,
}

/// One document.
pub fn parse(text: &str) -> Value {
    let mut reader = Reader {
        lines: text.lines().collect(),
        at: 0,
    };
    let value = reader.node(0);
    assert!(reader.peek().is_none(), "unread: {:?}", reader.peek());
    value
}

impl<'a> Reader<'a> {
    /// The next line that says something: its indentation and its text.
    fn peek(&mut self) -> Option<(usize, &'a str)> {
        while let Some(line) = self.lines.get(self.at) {
            let text = line.trim_start();
            if !text.is_empty() && !text.starts_with('#') {
                return Some((line.len() - text.len(), text));
            }
            self.at += 1;
        }
        None
    }

    fn node(&mut self, least: usize) -> Value {
        match self.peek() {
            Some((indent, text)) if indent >= least && text.starts_with("- ") => {
                self.sequence(indent)
            }
            Some((indent, _)) if indent >= least => self.mapping(indent, None),
            _ => Value::Null,
        }
    }

    fn sequence(&mut self, indent: usize) -> Value {
        let mut items = Vec::new();
        while let Some((at, text)) = self
            .peek()
            .filter(|(at, text)| *at == indent && text.starts_with("- "))
        {
            self.at += 1;
            let text = &text[2..];
            items.push(if entry(text).is_some() {
                self.mapping(at + 2, Some(text))
            } else {
                self.value(at, text)
            });
        }
        Value::Array(items)
    }

    fn mapping(&mut self, indent: usize, first: Option<&'a str>) -> Value {
        let mut map = Map::new();
        let mut next = first;
        loop {
            let text = match next.take() {
                Some(text) => text,
                None => match self.peek().filter(|(at, _)| *at == indent) {
                    Some((_, text)) => {
                        self.at += 1;
                        text
                    }
                    None => break,
                },
            };
            let (name, rest) = entry(text).unwrap_or_else(|| panic!("no entry: {text}"));
            let value = if rest.is_empty() {
                self.node(indent + 1)
            } else {
                self.value(indent, rest)
            };
            let name = scalar(name);
            let name = name.as_str().unwrap();
            assert!(
                map.insert(name.to_owned(), value).is_none(),
                "{name} stands twice"
            );
        }
        Value::Object(map)
    }

    fn value(&mut self, indent: usize, text: &str) -> Value {
        match text {
            "|" => Value::String(self.block(indent).join("\n") + "\n"),
            ">-" => Value::String(self.block(indent).join(" ")),
            _ if text.starts_with('[') => {
                let inner = text.trim_start_matches('[').trim_end_matches(']');
                Value::Array(inner.split(',').map(|item| scalar(item.trim())).collect())
            }
            text => scalar(text),
        }
    }

    /// The lines of a block, without the indentation of its first.
    fn block(&mut self, parent: usize) -> Vec<&'a str> {
        let mut block = Vec::new();
        let mut strip = None;
        while let Some(line) = self.lines.get(self.at).copied() {
            let indent = line.len() - line.trim_start().len();
            if !line.trim().is_empty() && indent <= parent {
                break;
            }
            let strip = *strip.get_or_insert(indent);
            block.push(line.get(strip..).unwrap_or_default());
            self.at += 1;
        }
        while block.last().is_some_and(|line| line.is_empty()) {
            block.pop();
        }
        block
    }
}

/// `name: rest` or `name:`, with the name in quotes or not.
fn entry(text: &str) -> Option<(&str, &str)> {
    let from = match text.strip_prefix('"') {
        Some(rest) => rest.find('"')? + 2,
        None => 0,
    };
    let colon = from + text[from..].find(':')?;
    let rest = &text[colon + 1..];
    (rest.is_empty() || rest.starts_with(' ')).then(|| (&text[..colon], rest.trim()))
}

fn scalar(text: &str) -> Value {
    let text = text.trim();
    let quoted = text
        .strip_prefix('"')
        .and_then(|text| text.strip_suffix('"'));
    if let Some(inner) = quoted {
        assert!(!inner.contains(['"', '\\']), "escapes: {text}");
        return Value::String(inner.to_owned());
    }
    assert!(
        !text.contains(" #")
            && !text.contains(": ")
            && !text.starts_with(['{', '&', '*', '!', '\'']),
        "{text}"
    );
    Value::String(text.to_owned())
}
