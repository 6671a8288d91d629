//! Python.

use tree_sitter::Node;

use super::source::{Gathered, Kind, MAX_DEPTH, Visitor, children, line};

/// Reads Python.
pub(super) struct Reader<'g, 't> {
    out: &'g mut Gathered<'t>,
    /// Nodes of definitions that were gone into.
    items: Vec<usize>,
}

impl<'g, 't> Reader<'g, 't> {
    pub(super) fn new(out: &'g mut Gathered<'t>) -> Self {
        Self {
            out,
            items: Vec::new(),
        }
    }

    fn dotted(&self, node: Node<'_>) -> Vec<String> {
        let text = self.out.text(node);
        text.split('.').map(|part| part.trim().to_owned()).collect()
    }

    /// A name, or a chain of members that begins at one.
    fn chain(&self, node: Node<'_>) -> Option<Vec<String>> {
        let mut names = Vec::new();
        let mut at = node;
        for _ in 0..MAX_DEPTH {
            match at.kind() {
                "identifier" => {
                    names.push(self.out.text(at).to_owned());
                    names.reverse();
                    return Some(names);
                }
                "attribute" => {
                    let attribute = at.child_by_field_name("attribute")?;
                    names.push(self.out.text(attribute).to_owned());
                    at = at.child_by_field_name("object")?;
                }
                _ => return None,
            }
        }
        None
    }

    fn import(&mut self, node: Node<'_>) {
        for child in children(node) {
            match child.kind() {
                "dotted_name" => {
                    let path = self.dotted(child);
                    self.out.alias(&path[0].clone(), vec![path[0].clone()]);
                    self.out.mention(Kind::Import, path, line(child));
                }
                "aliased_import" => {
                    let (Some(name), Some(alias)) = (
                        child.child_by_field_name("name"),
                        child.child_by_field_name("alias"),
                    ) else {
                        continue;
                    };
                    let path = self.dotted(name);
                    self.out.alias(self.out.text(alias), path.clone());
                    self.out.mention(Kind::Import, path, line(child));
                }
                _ => {}
            }
        }
    }

    fn import_from(&mut self, node: Node<'_>) {
        let Some(module) = node.child_by_field_name("module_name") else {
            return;
        };
        let own = module.kind() == "relative_import";
        let base = match own {
            // Wherever it leads, it is the package itself.
            true => vec![".".to_owned()],
            false => self.dotted(module),
        };
        if !own {
            self.out.mention(Kind::Import, base.clone(), line(node));
        }
        for child in children(node) {
            if child.id() == module.id() {
                continue;
            }
            let (name, alias) = match child.kind() {
                "wildcard_import" => {
                    if !own {
                        self.out.mention(Kind::Star, base.clone(), line(child));
                    }
                    continue;
                }
                "dotted_name" => (child, child),
                "aliased_import" => match (
                    child.child_by_field_name("name"),
                    child.child_by_field_name("alias"),
                ) {
                    (Some(name), Some(alias)) => (name, alias),
                    _ => continue,
                },
                _ => continue,
            };
            let path = [base.clone(), self.dotted(name)].concat();
            self.out.alias(self.out.text(alias), path.clone());
            if own {
                let last = path.last().cloned().unwrap_or_default();
                self.out.mention(Kind::Member, vec![last], line(child));
            } else {
                self.out.mention(Kind::Import, path, line(child));
            }
        }
    }

    /// A string without anything that is put into it at run time.
    fn literal(&self, node: Node<'_>) -> Option<&'t str> {
        if node.kind() != "string" {
            return None;
        }
        let parts = children(node);
        let content: Vec<Node<'_>> = parts
            .iter()
            .filter(|part| part.kind() == "string_content")
            .copied()
            .collect();
        let put_in = parts.iter().any(|part| part.kind() == "interpolation");
        match content[..] {
            [only] if !put_in => Some(self.out.text(only)),
            _ => None,
        }
    }

    /// Calls that take names as text.
    fn call(&mut self, node: Node<'_>) {
        let (Some(function), Some(arguments)) = (
            node.child_by_field_name("function"),
            node.child_by_field_name("arguments"),
        ) else {
            return;
        };
        let Some(chain) = self.chain(function) else {
            return;
        };
        let called = chain.last().map(String::as_str).unwrap_or_default();
        let arguments = children(arguments);
        let literal = |at: usize| arguments.get(at).and_then(|node| self.literal(*node));
        match (called, chain.len()) {
            ("__import__", 1) | ("import_module", _) | ("run_module", _) => match literal(0) {
                Some(name) => {
                    let path: Vec<String> = name.split('.').map(str::to_owned).collect();
                    if !name.starts_with('.') {
                        self.out.mention(Kind::Import, path, line(node));
                    }
                }
                None => self.out.mention(Kind::AnyModule, Vec::new(), line(node)),
            },
            ("eval" | "exec", 1) => self.out.mention(Kind::AnyCode, Vec::new(), line(node)),
            ("getattr" | "attrgetter" | "methodcaller", _) => {
                let of = arguments.first().and_then(|node| self.chain(*node));
                let at = usize::from(called == "getattr");
                match literal(at).map(str::to_owned) {
                    Some(name) => {
                        let last = name.rsplit('.').next().unwrap_or_default().to_owned();
                        self.out.mention(Kind::Member, vec![last], line(node));
                        if let Some(mut of) = of.filter(|_| at == 1) {
                            of.push(name);
                            self.out.path(of, line(node));
                        }
                    }
                    None => self.out.any_member(of.unwrap_or_default(), line(node)),
                }
            }
            ("globals", 1) => self.out.any_member(Vec::new(), line(node)),
            _ => {}
        }
    }
}

impl Visitor for Reader<'_, '_> {
    fn enter(&mut self, node: Node<'_>, field: Option<&str>) -> bool {
        match node.kind() {
            "comment" => return false,
            "import_statement" => {
                self.import(node);
                return false;
            }
            "import_from_statement" => {
                self.import_from(node);
                return false;
            }
            "future_import_statement" => return false,
            "call" => self.call(node),
            "string" => {
                if let Some(text) = self.literal(node) {
                    self.out.literal(text, line(node));
                }
            }
            "attribute" => match self.chain(node) {
                Some(path) => {
                    self.out.path(path, line(node));
                    return false;
                }
                None => {
                    if let Some(name) = node.child_by_field_name("attribute") {
                        let name = self.out.text(name).to_owned();
                        self.out.mention(Kind::Member, vec![name], line(node));
                    }
                }
            },
            "identifier" if !matches!(field, Some("attribute" | "name")) => {
                let name = self.out.text(node).to_owned();
                self.out.path(vec![name], line(node));
            }
            "function_definition" => {
                let name = node.child_by_field_name("name");
                let name = name.map_or("", |name| self.out.text(name));
                let decorated = node
                    .parent()
                    .is_some_and(|parent| parent.kind() == "decorated_definition");
                let dunder = name.starts_with("__") && name.ends_with("__");
                self.out.begin(name, decorated || dunder, line(node));
                self.items.push(node.id());
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
