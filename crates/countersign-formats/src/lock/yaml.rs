//! As much of YAML as pnpm and Yarn write into lock files: mappings by indentation, one-line mappings and lists, quoted
//! and plain texts, blocks of text. Anything else is refused with its line. Everything is text; what stands twice in a
//! mapping is refused.

use std::collections::BTreeMap;

/// How deep values may be nested.
const MAX_DEPTH: usize = 16;

/// A value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Node {
    Text(String),
    Map(BTreeMap<String, Node>),
    List(Vec<Node>),
}

impl Node {
    pub(super) fn get(&self, key: &str) -> Option<&Node> {
        match self {
            Self::Map(map) => map.get(key),
            Self::Text(_) | Self::List(_) => None,
        }
    }

    pub(super) fn text(&self, key: &str) -> Option<&str> {
        match self.get(key) {
            Some(Self::Text(text)) => Some(text),
            _ => None,
        }
    }

    pub(super) fn map(&self) -> Option<&BTreeMap<String, Node>> {
        match self {
            Self::Map(map) => Some(map),
            Self::Text(_) | Self::List(_) => None,
        }
    }
}

struct Line<'a> {
    number: usize,
    indent: usize,
    text: &'a str,
}

/// Reads a document that is a mapping.
pub(super) fn parse(text: &str) -> Result<Node, String> {
    let mut lines = Vec::new();
    for (at, raw) in text.lines().enumerate() {
        let bare = raw.trim_end();
        let content = bare.trim_start_matches(' ');
        lines.push(Line {
            number: at + 1,
            indent: bare.len() - content.len(),
            text: content,
        });
    }
    let mut reader = Reader { lines, at: 0 };
    reader.skip();
    if reader.peek().is_some_and(|line| line.text == "---") {
        reader.at += 1;
    }
    let node = reader.mapping(0, 0)?;
    reader.skip();
    match reader.peek() {
        None => Ok(node),
        Some(line) => Err(format!("line {}: it is not understood", line.number)),
    }
}

struct Reader<'a> {
    lines: Vec<Line<'a>>,
    at: usize,
}

impl<'a> Reader<'a> {
    /// Over empty lines and comments.
    fn skip(&mut self) {
        while self
            .lines
            .get(self.at)
            .is_some_and(|line| line.text.is_empty() || line.text.starts_with('#'))
        {
            self.at += 1;
        }
    }

    fn peek(&self) -> Option<&Line<'a>> {
        self.lines.get(self.at)
    }

    fn mapping(&mut self, indent: usize, depth: usize) -> Result<Node, String> {
        let mut map = BTreeMap::new();
        loop {
            self.skip();
            let Some(line) = self.peek() else { break };
            let (number, text) = (line.number, line.text);
            if line.indent < indent {
                break;
            }
            let refuse = |why: &str| format!("line {number}: {why}");
            if line.indent > indent || text.contains('\t') || text.starts_with("- ") {
                return Err(refuse("it is not indented as a mapping"));
            }
            if depth > MAX_DEPTH {
                return Err(refuse("it is nested too deep"));
            }
            self.at += 1;
            let (key, rest) = if let Some(long) = text.strip_prefix("? ") {
                // A key that is too long for one line with its value: `? KEY` and then `: VALUE` or `:`.
                let (key, rest) = scalar(long).map_err(refuse)?;
                self.skip();
                let next = self.peek().filter(|next| next.indent == indent);
                let value = next.and_then(|next| next.text.strip_prefix(':'));
                let value = value.ok_or_else(|| refuse("the key has no value"))?;
                if !rest.trim().is_empty() {
                    return Err(refuse("something stands after the key"));
                }
                self.at += 1;
                (key, value.trim())
            } else {
                let (key, rest) = scalar(text).map_err(refuse)?;
                let rest = rest
                    .strip_prefix(':')
                    .ok_or_else(|| refuse("it is no key with a value"))?;
                if !rest.is_empty() && !rest.starts_with(' ') {
                    return Err(refuse("it is no key with a value"));
                }
                (key, rest.trim())
            };
            let value = self.value(rest, indent, depth).map_err(|why| {
                if why.starts_with("line ") {
                    why
                } else {
                    refuse(&why)
                }
            })?;
            if map.insert(key, value).is_some() {
                return Err(refuse("the key stands there twice"));
            }
        }
        Ok(Node::Map(map))
    }

    fn value(&mut self, rest: &str, indent: usize, depth: usize) -> Result<Node, String> {
        if rest.is_empty() {
            self.skip();
            return match self.peek() {
                Some(line) if line.text == "-" || line.text.starts_with("- ") => {
                    let at = line.indent;
                    if at < indent {
                        return Ok(Node::Text(String::new()));
                    }
                    self.list(at)
                }
                Some(line) if line.indent > indent => {
                    let at = line.indent;
                    self.mapping(at, depth + 1)
                }
                _ => Ok(Node::Text(String::new())),
            };
        }
        if rest.starts_with(['|', '>']) {
            return Ok(Node::Text(self.block(indent)));
        }
        if rest.starts_with(['{', '[']) {
            let (node, rest) = flow(rest, depth)?;
            return match rest.trim() {
                "" => Ok(node),
                _ => Err("something stands after the value".to_owned()),
            };
        }
        if rest.starts_with(['&', '*', '!', '@', '`', '%']) {
            return Err("values of this kind are not read".to_owned());
        }
        if rest.starts_with(['"', '\'']) {
            let (text, rest) = scalar(rest)?;
            return match rest.trim() {
                "" => Ok(Node::Text(text)),
                rest if rest.starts_with('#') => Ok(Node::Text(text)),
                _ => Err("something stands after the value".to_owned()),
            };
        }
        let text = rest.split_once(" #").map_or(rest, |(text, _)| text).trim();
        Ok(Node::Text(text.to_owned()))
    }

    /// Texts of several lines; how they are folded matters to nobody here.
    fn block(&mut self, indent: usize) -> String {
        let mut text = String::new();
        while let Some(line) = self.peek() {
            if !line.text.is_empty() && line.indent <= indent {
                break;
            }
            text.push_str(line.text);
            text.push('\n');
            self.at += 1;
        }
        text
    }

    /// Lists stand in lock files only where nothing of ours is: one text to a line.
    fn list(&mut self, indent: usize) -> Result<Node, String> {
        let mut items = Vec::new();
        loop {
            self.skip();
            let Some(line) = self.peek() else { break };
            let number = line.number;
            let Some(item) = line
                .text
                .strip_prefix('-')
                .filter(|_| line.indent == indent)
            else {
                if line.indent > indent {
                    return Err(format!("line {number}: lists of mappings are not read"));
                }
                break;
            };
            items.push(Node::Text(item.trim().to_owned()));
            self.at += 1;
        }
        Ok(Node::List(items))
    }
}

/// A text at the beginning, quoted or up to a colon; and what follows it.
fn scalar(text: &str) -> Result<(String, &str), &'static str> {
    let Some(quote) = text.chars().next().filter(|c| matches!(c, '"' | '\'')) else {
        let end = text
            .char_indices()
            .find(|(at, c)| {
                *c == ':' && text[at + 1..].chars().next().is_none_or(|next| next == ' ')
            })
            .map_or(text.len(), |(at, _)| at);
        let (plain, rest) = text.split_at(end);
        if plain.is_empty() || plain.starts_with(['{', '[', '&', '*', '!', '|', '>', '@', '%']) {
            return Err("it is no key");
        }
        return Ok((plain.trim_end().to_owned(), rest));
    };
    let mut out = String::new();
    let mut chars = text.char_indices().skip(1).peekable();
    while let Some((at, c)) = chars.next() {
        if c == quote {
            if quote == '\'' && chars.peek().is_some_and(|(_, next)| *next == '\'') {
                chars.next();
                out.push('\'');
                continue;
            }
            return Ok((out, &text[at + 1..]));
        }
        if c == '\\' && quote == '"' {
            match chars.next() {
                Some((_, c @ ('"' | '\\' | '/'))) => out.push(c),
                Some((_, 'n')) => out.push('\n'),
                Some((_, 't')) => out.push('\t'),
                _ => return Err("the text has an escape that is not read"),
            }
            continue;
        }
        out.push(c);
    }
    Err("the text has no end")
}

/// A mapping or list on one line; and what follows it.
fn flow(text: &str, depth: usize) -> Result<(Node, &str), String> {
    if depth > MAX_DEPTH {
        return Err("it is nested too deep".to_owned());
    }
    let (open, close) = match text.chars().next() {
        Some('{') => ('{', '}'),
        Some('[') => ('[', ']'),
        _ => {
            let end = text.find([',', '}', ']']).unwrap_or(text.len());
            if text.starts_with(['"', '\'']) {
                let (value, rest) = scalar(text)?;
                return Ok((Node::Text(value), rest));
            }
            let (value, rest) = text.split_at(end);
            return Ok((Node::Text(value.trim().to_owned()), rest));
        }
    };
    let (mut map, mut list) = (BTreeMap::new(), Vec::new());
    let mut rest = text[1..].trim_start();
    loop {
        if let Some(after) = rest.strip_prefix(close) {
            let node = match open {
                '{' => Node::Map(map),
                _ => Node::List(list),
            };
            return Ok((node, after));
        }
        if open == '{' {
            let (key, after) = scalar(rest)?;
            let after = after.strip_prefix(':').ok_or("a key has no value")?;
            let (value, after) = flow(after.trim_start(), depth + 1)?;
            if map.insert(key, value).is_some() {
                return Err("a key stands there twice".to_owned());
            }
            rest = after.trim_start();
        } else {
            let (value, after) = flow(rest, depth + 1)?;
            list.push(value);
            rest = after.trim_start();
        }
        if let Some(after) = rest.strip_prefix(',') {
            rest = after.trim_start();
        } else if !rest.starts_with(close) {
            return Err("it has no end on its line".to_owned());
        }
    }
}
