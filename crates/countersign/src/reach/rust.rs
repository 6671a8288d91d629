//! Rust. Paths are read off the words one after another, within macros as elsewhere: what a macro makes of them nobody knows, but whoever it
//! calls is named in it.

use tree_sitter::Node;

use super::source::{Gathered, Kind, MAX_DEPTH, Visitor, children, line};

/// Reads Rust.
pub(super) struct Reader<'g, 't> {
    out: &'g mut Gathered<'t>,
    items: Vec<usize>,
    tests: Vec<usize>,
    /// Whether what comes next is for tests only, as an attribute before it says.
    test_next: bool,
    /// Implementations of traits that were gone into.
    traits: Vec<usize>,
    path: Vec<String>,
    /// Whether the path goes on.
    more: bool,
    /// Whether the path is of something unnamed: after a dot, or after `>::`.
    member: bool,
    /// The line on which the path begins.
    line: u32,
    before: &'t str,
}

impl<'g, 't> Reader<'g, 't> {
    pub(super) fn new(out: &'g mut Gathered<'t>) -> Self {
        Self {
            out,
            items: Vec::new(),
            tests: Vec::new(),
            test_next: false,
            traits: Vec::new(),
            path: Vec::new(),
            more: false,
            member: false,
            line: 1,
            before: "",
        }
    }

    fn flush(&mut self) {
        let mut path = std::mem::take(&mut self.path);
        self.more = false;
        if path.is_empty() {
            return;
        }
        if self.member {
            for name in path.drain(..) {
                self.out.mention(Kind::Member, vec![name], self.line);
            }
        } else {
            self.out.path(path, self.line);
        }
    }

    fn word(&mut self, node: Node<'_>) {
        let text = self.out.text(node);
        let named = text
            .trim_start_matches("r#")
            .chars()
            .next()
            .is_some_and(|c| c.is_alphabetic() || c == '_');
        if named && self.before == "fn" {
            // What it is called is no mention of it.
            self.flush();
            self.before = text;
        } else if named {
            if !self.more {
                self.flush();
                self.line = line(node);
                self.member = matches!(self.before, "." | "?.") || self.before == ">::";
            }
            self.more = false;
            self.path
                .push(text.strip_prefix("r#").unwrap_or(text).to_owned());
            self.before = text;
        } else if text == "::" {
            if self.path.is_empty() {
                self.before = if self.before == ">" { ">::" } else { "::" };
            } else {
                self.more = true;
                self.before = text;
            }
        } else {
            self.flush();
            self.before = text;
        }
    }

    /// The names of a `use`, with what they stand for.
    fn used(&mut self, node: Node<'_>, base: &[String], depth: usize) {
        if depth > MAX_DEPTH {
            return;
        }
        let part = |reader: &Self, node: Node<'_>| -> Vec<String> {
            let text = reader.out.text(node);
            let parts = text.split("::").map(str::trim);
            let parts = parts.filter(|part| !part.is_empty());
            parts
                .map(|part| part.trim_start_matches("r#").to_owned())
                .collect()
        };
        match node.kind() {
            "use_list" => {
                for child in children(node) {
                    self.used(child, base, depth + 1);
                }
            }
            "scoped_use_list" => {
                let path = node.child_by_field_name("path");
                let path = path.map_or_else(Vec::new, |path| part(self, path));
                let base = [base, &path].concat();
                if let Some(list) = node.child_by_field_name("list") {
                    self.used(list, &base, depth + 1);
                }
            }
            "use_as_clause" => {
                let (Some(path), Some(alias)) = (
                    node.child_by_field_name("path"),
                    node.child_by_field_name("alias"),
                ) else {
                    return;
                };
                let path = self.joined(base, part(self, path));
                let alias = self.out.text(alias);
                self.imported(path, alias, node);
            }
            "use_wildcard" => {
                let inner = children(node).first().map(|path| part(self, *path));
                let path = self.joined(base, inner.unwrap_or_default());
                self.out.mention(Kind::Star, path, line(node));
            }
            _ => {
                let path = self.joined(base, part(self, node));
                if let Some(name) = path.last().cloned() {
                    self.imported(path, &name, node);
                }
            }
        }
    }

    /// `self` at the end of a path is the path.
    fn joined(&self, base: &[String], mut path: Vec<String>) -> Vec<String> {
        if !base.is_empty() && path == ["self"] {
            path.clear();
        }
        [base, &path].concat()
    }

    fn imported(&mut self, path: Vec<String>, alias: &str, node: Node<'_>) {
        let own = matches!(path[..], [ref first, ..] if ["crate", "self", "super"].contains(&first.as_str()));
        self.out.alias(alias, path.clone());
        if own {
            let last = path.last().cloned().unwrap_or_default();
            self.out.mention(Kind::Member, vec![last], line(node));
        } else {
            self.out.mention(Kind::Import, path, line(node));
        }
    }
}

impl Visitor for Reader<'_, '_> {
    fn enter(&mut self, node: Node<'_>, _: Option<&str>) -> bool {
        match node.kind() {
            "line_comment" | "block_comment" => return false,
            "string_literal" | "raw_string_literal" => {
                self.flush();
                self.before = "\"";
                let text = self.out.text(node).trim_matches(['r', '#', 'b', '"']);
                self.out.literal(text, line(node));
                return false;
            }
            "char_literal" | "float_literal" | "integer_literal" | "lifetime" | "label" => {
                self.flush();
                self.before = "0";
                return false;
            }
            "use_declaration" => {
                self.flush();
                if let Some(argument) = node.child_by_field_name("argument") {
                    self.used(argument, &[], 0);
                }
                return false;
            }
            "extern_crate_declaration" => {
                self.flush();
                if let Some(name) = node.child_by_field_name("name") {
                    let name = self.out.text(name).to_owned();
                    let alias = node.child_by_field_name("alias");
                    let alias = alias.map_or(name.clone(), |alias| self.out.text(alias).to_owned());
                    self.out.alias(&alias, vec![name.clone()]);
                    self.out
                        .mention(Kind::Import, vec![name.clone()], line(node));
                    // `#[macro_use]` brings all macros without naming them.
                    self.out.mention(Kind::Star, vec![name], line(node));
                }
                return false;
            }
            "attribute_item" => {
                let text: String = self.out.text(node).split_whitespace().collect();
                self.test_next |= text.contains("cfg(test)") || text == "#[test]";
            }
            "mod_item" | "function_item" | "macro_definition" | "impl_item" | "struct_item"
            | "enum_item" | "const_item" | "static_item" | "trait_item" => {
                self.flush();
                if std::mem::take(&mut self.test_next) {
                    self.tests.push(node.id());
                    self.out.begin_test();
                }
                let name = node.child_by_field_name("name");
                let name = name.map_or("", |name| self.out.text(name));
                match node.kind() {
                    "mod_item" => self.out.own(name),
                    "impl_item" if node.child_by_field_name("trait").is_some() => {
                        self.traits.push(node.id());
                    }
                    "function_item" | "macro_definition" => {
                        let implicit = !self.traits.is_empty() || name == "main";
                        self.out.begin(name, implicit, line(node));
                        self.items.push(node.id());
                    }
                    _ => {}
                }
            }
            _ if node.child_count() == 0 => {
                self.word(node);
                return false;
            }
            _ => {}
        }
        true
    }

    fn leave(&mut self, node: Node<'_>) {
        let ends = |stack: &mut Vec<usize>| {
            let last = stack.last() == Some(&node.id());
            if last {
                stack.pop();
            }
            last
        };
        if ends(&mut self.items) {
            self.flush();
            self.out.end();
        }
        if ends(&mut self.tests) {
            self.flush();
            self.out.end_test();
        }
        ends(&mut self.traits);
    }
}
