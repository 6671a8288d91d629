//! What a source file says about names: which modules it imports, what it calls of them, and where nobody can say. Text only: nothing is
//! run. Names are resolved within the file; what can not be resolved is kept as a name, so that nothing is missed for being unclear.

use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::ops::ControlFlow;

use tree_sitter::{Node, ParseOptions, Parser, Tree};

use super::{javascript, python, rust};

/// The longest file that is parsed, in bytes. Longer ones are searched as text.
pub const MAX_FILE: usize = 1 << 20;
/// The most nodes of one file.
const MAX_NODES: u64 = 600_000;
/// The most different mentions of one file.
const MAX_MENTIONS: usize = 100_000;
/// The longest literal that may be a name, in bytes.
const MAX_LITERAL: usize = 120;
/// The longest path of names.
const MAX_PATH: usize = 32;
/// How deep names are looked for in an import or a chain of members.
pub(super) const MAX_DEPTH: usize = 24;

/// A language whose files are read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Language {
    /// Python 3.
    Python,
    /// JavaScript, JSX among it.
    JavaScript,
    /// Rust.
    Rust,
}

/// How something is mentioned.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Kind {
    /// Imported: a module, or a name of one.
    Import,
    /// All names of a module are imported, or handed on.
    Star,
    /// Used by a path that begins at a module.
    Path,
    /// A member of something: nobody knows of what.
    Member,
    /// A name by itself, which no import of the file brings.
    Plain,
    /// A literal that may be a name.
    Text,
    /// A module whose name is made at run time is imported.
    AnyModule,
    /// A member whose name is made at run time is taken of what the path says.
    AnyMember,
    /// Text is run as code.
    AnyCode,
}

/// A mention of a name.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Mention {
    /// How.
    pub kind: Kind,
    /// The names, a module's first.
    pub path: Vec<String>,
    /// The line of the first one, from 1.
    pub line: u32,
    /// Whether only tests do it.
    pub test: bool,
    /// In which of the file's items.
    pub item: usize,
}

/// A function, method or macro that the file defines; the first one is the file itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Item {
    /// Its name.
    pub name: String,
    /// The line, from 1.
    pub line: u32,
    /// Whether it may run without being named: a module's own code, an implementation of a trait, what is decorated.
    pub implicit: bool,
}

/// What a file says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Source {
    /// In order of the lines.
    pub mentions: Vec<Mention>,
    /// What it defines.
    pub items: Vec<Item>,
    /// The text, where it could not be understood as a whole.
    pub text: Option<String>,
}

/// Reads a file. `foreign` says that it is of a dialect that the language's grammar knows only in part, so that its text is kept.
#[must_use]
pub fn read(language: Language, text: &str, foreign: bool) -> Source {
    let kept = || Source {
        mentions: Vec::new(),
        items: vec![Item::whole()],
        text: Some(text.to_owned()),
    };
    if text.len() > MAX_FILE {
        return kept();
    }
    let Some(tree) = parse(language, text) else {
        return kept();
    };
    let mut gathered = Gathered::new(text, language == Language::Rust);
    let whole = match language {
        Language::Python => walk(&tree, &mut python::Reader::new(&mut gathered)),
        Language::JavaScript => walk(&tree, &mut javascript::Reader::new(&mut gathered)),
        Language::Rust => walk(&tree, &mut rust::Reader::new(&mut gathered)),
    };
    let whole = whole && !gathered.full && !foreign && !tree.root_node().has_error();
    let mut source = gathered.finish();
    source.text = (!whole).then(|| text.to_owned());
    source
}

fn parse(language: Language, text: &str) -> Option<Tree> {
    let mut parser = Parser::new();
    let grammar = match language {
        Language::Python => tree_sitter_python::LANGUAGE,
        Language::JavaScript => tree_sitter_javascript::LANGUAGE,
        Language::Rust => tree_sitter_rust::LANGUAGE,
    };
    parser.set_language(&grammar.into()).ok()?;
    // Steps and not seconds: of the same text the same comes. What is no source at all can take very long.
    let mut left = 20_000 + text.len() as u64;
    let mut progress = |_: &tree_sitter::ParseState| {
        left = left.saturating_sub(1);
        match left {
            0 => ControlFlow::Break(()),
            _ => ControlFlow::Continue(()),
        }
    };
    let options = ParseOptions::new().progress_callback(&mut progress);
    let bytes = text.as_bytes();
    parser.parse_with_options(
        &mut |at, _| bytes.get(at..).unwrap_or_default(),
        None,
        Some(options),
    )
}

/// What goes through a tree.
pub(super) trait Visitor {
    /// Comes to a node, as a field of its parent; whether to go into it.
    fn enter(&mut self, node: Node<'_>, field: Option<&str>) -> bool;
    /// Leaves a node that was gone into.
    fn leave(&mut self, node: Node<'_>);
}

/// Goes through a tree without recursion; false where it has too many nodes.
fn walk(tree: &Tree, visitor: &mut impl Visitor) -> bool {
    let mut cursor = tree.walk();
    let mut left = MAX_NODES;
    loop {
        let Some(less) = left.checked_sub(1) else {
            return false;
        };
        left = less;
        let node = cursor.node();
        let into = visitor.enter(node, cursor.field_name());
        if into && cursor.goto_first_child() {
            continue;
        }
        if into {
            visitor.leave(node);
        }
        loop {
            if cursor.goto_next_sibling() {
                break;
            }
            if !cursor.goto_parent() {
                return true;
            }
            visitor.leave(cursor.node());
        }
    }
}

/// What a reader has found so far. Names are resolved at the end, when all imports are known.
pub(super) struct Gathered<'t> {
    text: &'t str,
    found: BTreeSet<(Kind, Vec<String>, bool, usize)>,
    lines: BTreeMap<(Kind, Vec<String>, bool, usize), u32>,
    /// Paths that were met, so that each is kept once.
    raw: HashSet<(Vec<String>, bool, usize)>,
    /// Paths as they are written, with their lines.
    paths: Vec<(Vec<String>, u32, bool, usize)>,
    /// Members taken by a name made at run time: of what.
    any_members: Vec<(Vec<String>, u32, bool, usize)>,
    /// What a name stands for by an import of this file. Several imports may bring one name: then each counts.
    aliases: BTreeMap<String, Vec<Vec<String>>>,
    /// Names at which a path begins that is no module's.
    local: HashSet<String>,
    /// Whether a path may begin at a module that no import names.
    bare_modules: bool,
    items: Vec<Item>,
    stack: Vec<usize>,
    tests: usize,
    full: bool,
}

impl Item {
    fn whole() -> Self {
        Self {
            name: String::new(),
            line: 1,
            implicit: true,
        }
    }
}

impl<'t> Gathered<'t> {
    fn new(text: &'t str, bare_modules: bool) -> Self {
        Self {
            text,
            found: BTreeSet::new(),
            lines: BTreeMap::new(),
            raw: HashSet::new(),
            paths: Vec::new(),
            any_members: Vec::new(),
            aliases: BTreeMap::new(),
            local: HashSet::new(),
            bare_modules,
            items: vec![Item::whole()],
            stack: Vec::new(),
            tests: 0,
            full: false,
        }
    }

    pub(super) fn text(&self, node: Node<'_>) -> &'t str {
        self.text.get(node.byte_range()).unwrap_or_default()
    }

    fn item(&self) -> usize {
        self.stack.last().copied().unwrap_or_default()
    }

    pub(super) fn mention(&mut self, kind: Kind, path: Vec<String>, line: u32) {
        let (test, item) = (self.tests > 0, self.item());
        self.keep(kind, path, line, test, item);
    }

    fn keep(&mut self, kind: Kind, mut path: Vec<String>, line: u32, test: bool, item: usize) {
        if self.found.len() >= MAX_MENTIONS {
            self.full = true;
            return;
        }
        path.truncate(MAX_PATH);
        let key = (kind, path, test, item);
        if self.found.insert(key.clone()) {
            self.lines.insert(key, line);
        }
    }

    /// A path as it is written; what it means is known at the end.
    pub(super) fn path(&mut self, path: Vec<String>, line: u32) {
        let (test, item) = (self.tests > 0, self.item());
        if self.raw.len() >= MAX_MENTIONS {
            self.full = true;
        } else if self.raw.insert((path.clone(), test, item)) {
            self.paths.push((path, line, test, item));
        }
    }

    /// A member of a path, by a name made at run time.
    pub(super) fn any_member(&mut self, path: Vec<String>, line: u32) {
        if self.any_members.len() >= MAX_MENTIONS {
            self.full = true;
            return;
        }
        let (test, item) = (self.tests > 0, self.item());
        self.any_members.push((path, line, test, item));
    }

    /// A literal, if it may be a name.
    pub(super) fn literal(&mut self, text: &str, line: u32) {
        let name = |c: char| c.is_alphanumeric() || "_-./@:#$".contains(c);
        if !text.is_empty() && text.len() <= MAX_LITERAL && text.chars().all(name) {
            self.mention(Kind::Text, vec![text.to_owned()], line);
        }
    }

    /// From now on a name stands for a path.
    pub(super) fn alias(&mut self, name: &str, path: Vec<String>) {
        let all = self.aliases.entry(name.to_owned()).or_default();
        if all.len() < 8 && !all.contains(&path) {
            all.push(path);
        }
    }

    /// Paths that begin with this name are the file's own.
    pub(super) fn own(&mut self, name: &str) {
        self.local.insert(name.to_owned());
    }

    /// Goes into something that is defined.
    pub(super) fn begin(&mut self, name: &str, implicit: bool, line: u32) {
        self.items.push(Item {
            name: name.to_owned(),
            line,
            implicit,
        });
        self.stack.push(self.items.len() - 1);
    }

    pub(super) fn end(&mut self) {
        self.stack.pop();
    }

    pub(super) fn begin_test(&mut self) {
        self.tests += 1;
    }

    pub(super) fn end_test(&mut self) {
        self.tests = self.tests.saturating_sub(1);
    }

    /// Whether a path is of the project itself: relative, or what it stands for is.
    fn is_own(path: &[String]) -> bool {
        path.first().is_some_and(|first| {
            matches!(first.as_str(), "crate" | "self" | "super" | "Self") || first.starts_with('.')
        })
    }

    fn finish(mut self) -> Source {
        for (path, line, test, item) in std::mem::take(&mut self.paths) {
            let Some(first) = path.first() else { continue };
            let aliased = self.aliases.get(first).cloned().unwrap_or_default();
            for stands_for in &aliased {
                let full: Vec<String> = [stands_for.as_slice(), &path[1..]].concat();
                if Self::is_own(&full) {
                    // Handed on by another file of the same: by what name it goes there is what is known.
                    let name = full.last().cloned().unwrap_or_default();
                    self.keep(Kind::Member, vec![name], line, test, item);
                } else {
                    self.keep(Kind::Path, full, line, test, item);
                }
            }
            if !aliased.is_empty() {
                continue;
            }
            if path.len() == 1 {
                self.keep(Kind::Plain, path, line, test, item);
                continue;
            }
            // What begins at nothing that was imported is of something local, or in Rust of a crate by its name.
            let module = self.bare_modules && !first.starts_with(char::is_uppercase);
            if module && !Self::is_own(&path) && !self.local.contains(first) {
                self.keep(Kind::Path, path, line, test, item);
            } else {
                for name in &path[1..] {
                    self.keep(Kind::Member, vec![name.clone()], line, test, item);
                }
            }
        }
        for (path, line, test, item) in std::mem::take(&mut self.any_members) {
            let aliased = path.first().and_then(|first| self.aliases.get(first));
            for stands_for in aliased.cloned().unwrap_or_else(|| vec![Vec::new()]) {
                let rest = path.get(1..).unwrap_or_default();
                let full = [stands_for.as_slice(), rest].concat();
                self.keep(Kind::AnyMember, full, line, test, item);
            }
        }
        let mut mentions: Vec<Mention> = self
            .lines
            .into_iter()
            .map(|((kind, path, test, item), line)| Mention {
                kind,
                path,
                line,
                test,
                item,
            })
            .collect();
        mentions.sort_by(|a, b| (a.line, a.kind, &a.path).cmp(&(b.line, b.kind, &b.path)));
        Source {
            mentions,
            items: self.items,
            text: None,
        }
    }
}

/// The line of a node, from 1.
pub(super) fn line(node: Node<'_>) -> u32 {
    u32::try_from(node.start_position().row).map_or(u32::MAX, |row| row.saturating_add(1))
}

/// The children of a node that have names.
pub(super) fn children<'t>(node: Node<'t>) -> Vec<Node<'t>> {
    let mut cursor = node.walk();
    node.named_children(&mut cursor).collect()
}

/// The line of a text on which a word stands, from 1, if any does.
#[must_use]
pub fn line_of_word(text: &str, word: &str) -> Option<u32> {
    let part = |c: char| c.is_alphanumeric() || c == '_';
    let (at, _) = text.match_indices(word).find(|(at, found)| {
        let before = text[..*at].chars().next_back();
        let after = text[at + found.len()..].chars().next();
        !before.is_some_and(part) && !after.is_some_and(part)
    })?;
    let lines = text[..at].bytes().filter(|b| *b == b'\n').count();
    Some(u32::try_from(lines).map_or(u32::MAX, |line| line.saturating_add(1)))
}
