//! JavaScript, as modules of either kind, with JSX.

use tree_sitter::Node;

use super::source::{Gathered, Kind, MAX_DEPTH, Visitor, children, line};

/// Reads JavaScript.
pub(super) struct Reader<'g, 't> {
    out: &'g mut Gathered<'t>,
    items: Vec<usize>,
}

/// The package that a specifier leads to; what is relative stands for the package itself.
pub(super) fn package_of(specifier: &str) -> String {
    if specifier.starts_with('.') || specifier.starts_with('/') || specifier.starts_with('#') {
        return ".".to_owned();
    }
    let parts = if specifier.starts_with('@') { 2 } else { 1 };
    let parts: Vec<&str> = specifier.split('/').take(parts).collect();
    parts.join("/")
}

impl<'g, 't> Reader<'g, 't> {
    pub(super) fn new(out: &'g mut Gathered<'t>) -> Self {
        Self {
            out,
            items: Vec::new(),
        }
    }

    /// A literal without anything that is put into it at run time.
    fn literal(&self, node: Node<'_>) -> Option<&'t str> {
        match node.kind() {
            "string" => {}
            "template_string" => {
                let parts = children(node);
                if parts
                    .iter()
                    .any(|part| part.kind() == "template_substitution")
                {
                    return None;
                }
            }
            _ => return None,
        }
        let text = self.out.text(node);
        Some(text.trim_matches(['"', '\'', '`']))
    }

    /// The specifier of `require("x")`, `import("x")`, awaited or not.
    fn required(&self, node: Node<'_>) -> Option<&'t str> {
        let mut at = node;
        for _ in 0..MAX_DEPTH {
            match at.kind() {
                "await_expression" | "parenthesized_expression" => at = at.named_child(0)?,
                "call_expression" => {
                    let function = at.child_by_field_name("function")?;
                    let loads = function.kind() == "import" || self.out.text(function) == "require";
                    let arguments = at.child_by_field_name("arguments")?;
                    return self.literal(arguments.named_child(0)?).filter(|_| loads);
                }
                _ => return None,
            }
        }
        None
    }

    /// A chain of members that begins at a name, or at a module that is loaded there; whether it is the latter.
    fn chain(&self, node: Node<'_>) -> Option<(Vec<String>, bool)> {
        let mut names = Vec::new();
        let mut at = node;
        for _ in 0..MAX_DEPTH {
            match at.kind() {
                "identifier" => {
                    names.push(self.out.text(at).to_owned());
                    names.reverse();
                    return Some((names, false));
                }
                "member_expression" => {
                    let property = at.child_by_field_name("property")?;
                    names.push(self.out.text(property).to_owned());
                    at = at.child_by_field_name("object")?;
                }
                "subscript_expression" => {
                    let index = at.child_by_field_name("index")?;
                    names.push(self.literal(index)?.to_owned());
                    at = at.child_by_field_name("object")?;
                }
                _ => {
                    names.push(package_of(self.required(at)?));
                    names.reverse();
                    return Some((names, true));
                }
            }
        }
        None
    }

    fn import(&mut self, node: Node<'_>) {
        let Some(source) = node.child_by_field_name("source") else {
            return;
        };
        let Some(module) = self.literal(source).map(package_of) else {
            return;
        };
        self.mentioned(vec![module.clone()], node);
        let clauses = children(node);
        let clause = clauses.iter().find(|child| child.kind() == "import_clause");
        for child in clause.map(|clause| children(*clause)).unwrap_or_default() {
            match child.kind() {
                "identifier" => {
                    let path = vec![module.clone(), "default".to_owned()];
                    self.out.alias(self.out.text(child), path);
                }
                "namespace_import" => {
                    if let Some(name) = child.named_child(0) {
                        self.out.alias(self.out.text(name), vec![module.clone()]);
                    }
                }
                "named_imports" => self.specifiers(&module, child, true),
                _ => {}
            }
        }
    }

    /// `{a, b as c}` of an import, or of what is handed on.
    fn specifiers(&mut self, module: &str, list: Node<'_>, aliases: bool) {
        for specifier in children(list) {
            let Some(name) = specifier.child_by_field_name("name") else {
                continue;
            };
            let alias = specifier.child_by_field_name("alias").unwrap_or(name);
            let bare = self.out.text(name).trim_matches(['"', '\'']);
            let path = vec![module.to_owned(), bare.to_owned()];
            if aliases {
                self.out.alias(self.out.text(alias), path.clone());
            }
            self.mentioned(path, specifier);
        }
    }

    fn mentioned(&mut self, path: Vec<String>, node: Node<'_>) {
        let own = path.first().is_some_and(|first| first == ".");
        match (own, path.len()) {
            (false, _) => self.out.mention(Kind::Import, path, line(node)),
            (true, 1) => {}
            (true, _) => {
                let last = path.last().cloned().unwrap_or_default();
                self.out.mention(Kind::Member, vec![last], line(node));
            }
        }
    }

    fn export(&mut self, node: Node<'_>) {
        let source = node.child_by_field_name("source");
        let Some(module) = source.and_then(|source| self.literal(source)) else {
            return;
        };
        let module = package_of(module);
        self.mentioned(vec![module.clone()], node);
        let parts = children(node);
        match parts.iter().find(|part| part.kind() == "export_clause") {
            Some(clause) => self.specifiers(&module, *clause, false),
            None if module != "." => self.out.mention(Kind::Star, vec![module], line(node)),
            None => {}
        }
    }

    /// What a pattern takes out of something.
    fn pattern(&mut self, pattern: Node<'_>, of: Option<&[String]>) {
        for part in children(pattern) {
            let (key, local) = match part.kind() {
                "shorthand_property_identifier_pattern" => (part, part),
                "pair_pattern" => match (
                    part.child_by_field_name("key"),
                    part.child_by_field_name("value"),
                ) {
                    (Some(key), Some(value)) => (key, value),
                    _ => continue,
                },
                "object_assignment_pattern" => match part.child_by_field_name("left") {
                    Some(left) => (left, left),
                    None => continue,
                },
                _ => continue,
            };
            let name = self.out.text(key).trim_matches(['"', '\'']).to_owned();
            match of {
                Some(of) => {
                    let path = [of, &[name]].concat();
                    if matches!(
                        local.kind(),
                        "identifier" | "shorthand_property_identifier_pattern"
                    ) {
                        self.out.alias(self.out.text(local), path.clone());
                    }
                    self.mentioned(path, part);
                }
                None => self.out.mention(Kind::Member, vec![name], line(part)),
            }
        }
    }

    /// `x = require("y")`, `{x} = require("y")`, `x = require("y").z`, and `{x} = y`.
    fn bound(&mut self, left: Node<'_>, right: Node<'_>) {
        let Some((path, loaded)) = self.chain(unwrapped(right)) else {
            return;
        };
        match (left.kind(), loaded) {
            ("identifier", true) => self.out.alias(self.out.text(left), path),
            ("object_pattern", true) => self.pattern(left, Some(&path)),
            ("object_pattern", false) => {
                for part in children(left) {
                    let key = part.child_by_field_name("key").unwrap_or(part);
                    let name = self.out.text(key).trim_matches(['"', '\'']).to_owned();
                    self.out
                        .path([path.as_slice(), &[name]].concat(), line(part));
                }
            }
            _ => {}
        }
    }

    fn call(&mut self, node: Node<'_>) {
        let (Some(function), Some(arguments)) = (
            node.child_by_field_name("function"),
            node.child_by_field_name("arguments"),
        ) else {
            return;
        };
        let text = self.out.text(function);
        if function.kind() == "import" || matches!(text, "require" | "require.resolve") {
            let argument = arguments.named_child(0);
            match argument.map(|argument| self.literal(argument)) {
                Some(Some(module)) => self.mentioned(vec![package_of(module)], node),
                Some(None) => self.out.mention(Kind::AnyModule, Vec::new(), line(node)),
                None => {}
            }
        } else if matches!(text, "eval" | "Function" | "createRequire") {
            let kind = match text {
                "createRequire" => Kind::AnyModule,
                _ => Kind::AnyCode,
            };
            self.out.mention(kind, Vec::new(), line(node));
        }
    }

    fn define(&mut self, name: Node<'_>, node: Node<'_>) {
        let text = self.out.text(name);
        let last = text.rsplit('.').next().unwrap_or(text);
        let implicit = last == "constructor";
        self.out.begin(last, implicit, line(node));
        self.items.push(node.id());
    }
}

/// What stands in parentheses or is awaited.
fn unwrapped(node: Node<'_>) -> Node<'_> {
    let mut at = node;
    for _ in 0..MAX_DEPTH {
        match at.kind() {
            "await_expression" | "parenthesized_expression" => match at.named_child(0) {
                Some(inner) => at = inner,
                None => return at,
            },
            _ => return at,
        }
    }
    at
}

fn is_function(node: Option<Node<'_>>) -> bool {
    node.is_some_and(|node| {
        matches!(
            node.kind(),
            "arrow_function" | "function_expression" | "generator_function"
        )
    })
}

impl Visitor for Reader<'_, '_> {
    fn enter(&mut self, node: Node<'_>, field: Option<&str>) -> bool {
        match node.kind() {
            "comment" | "hash_bang_line" | "regex" => return false,
            "import_statement" => {
                self.import(node);
                return false;
            }
            "export_statement" => {
                self.export(node);
                // What is named to be handed on is of the other module.
                return node.child_by_field_name("source").is_none();
            }
            "call_expression" => self.call(node),
            "new_expression" => {
                let made = node.child_by_field_name("constructor");
                if made.is_some_and(|made| self.out.text(made) == "Function") {
                    self.out.mention(Kind::AnyCode, Vec::new(), line(node));
                }
            }
            "string" | "template_string" => {
                if let Some(text) = self.literal(node) {
                    self.out.literal(text, line(node));
                }
            }
            "member_expression" => match self.chain(node) {
                Some((path, false)) => {
                    self.out.path(path, line(node));
                    return false;
                }
                Some((path, true)) => self.mentioned(path, node),
                None => {
                    if let Some(name) = node.child_by_field_name("property") {
                        let name = self.out.text(name).to_owned();
                        self.out.mention(Kind::Member, vec![name], line(node));
                    }
                }
            },
            "subscript_expression" => {
                let (Some(object), Some(index)) = (
                    node.child_by_field_name("object"),
                    node.child_by_field_name("index"),
                ) else {
                    return true;
                };
                match (self.chain(node), self.literal(index)) {
                    (Some((path, false)), _) => self.out.path(path, line(node)),
                    (Some((path, true)), _) => self.mentioned(path, node),
                    (None, Some(name)) => {
                        self.out
                            .mention(Kind::Member, vec![name.to_owned()], line(node));
                    }
                    (None, None) if index.kind() != "number" => {
                        if let Some((path, loaded)) = self.chain(object) {
                            // A module that is loaded on the spot has no name: it stands for itself.
                            if loaded {
                                self.out.alias(&path[0].clone(), vec![path[0].clone()]);
                            }
                            self.out.any_member(path, line(node));
                        }
                    }
                    (None, None) => {}
                }
            }
            "identifier" | "shorthand_property_identifier"
                if !matches!(field, Some("name" | "property")) =>
            {
                let name = self.out.text(node).to_owned();
                self.out.path(vec![name], line(node));
            }
            // A component of JSX, by its name.
            "identifier" if field == Some("name") => {
                let parent = node.parent().map(|parent| parent.kind());
                if parent.is_some_and(|kind| kind.starts_with("jsx_")) {
                    let name = self.out.text(node).to_owned();
                    self.out.path(vec![name], line(node));
                }
            }
            "variable_declarator" => {
                let (name, value) = (
                    node.child_by_field_name("name"),
                    node.child_by_field_name("value"),
                );
                if let (Some(name), Some(value)) = (name, value) {
                    self.bound(name, value);
                    if is_function(Some(value)) && name.kind() == "identifier" {
                        self.define(name, node);
                    }
                }
            }
            "assignment_expression" => {
                let (left, right) = (
                    node.child_by_field_name("left"),
                    node.child_by_field_name("right"),
                );
                if let (Some(left), Some(right)) = (left, right) {
                    self.bound(left, right);
                    let named = matches!(left.kind(), "identifier" | "member_expression");
                    if named && is_function(Some(right)) {
                        self.define(left, node);
                    }
                }
            }
            "object_pattern" => {
                // What comes as an argument may be a module.
                let of = node.parent().map(|parent| parent.kind());
                if !matches!(of, Some("variable_declarator" | "assignment_expression")) {
                    self.pattern(node, None);
                }
            }
            "function_declaration" | "generator_function_declaration" | "method_definition" => {
                if let Some(name) = node.child_by_field_name("name") {
                    self.define(name, node);
                }
            }
            "pair" if is_function(node.child_by_field_name("value")) => {
                if let Some(key) = node.child_by_field_name("key") {
                    self.define(key, node);
                }
            }
            _ => {}
        }
        true
    }

    fn leave(&mut self, node: Node<'_>) {
        if self.items.last() == Some(&node.id()) {
            self.items.pop();
            self.out.end();
        }
    }
}
