//! Who asks for whom in a lock file, where it says so. What can not be followed is left out: this explains, it decides nothing.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use serde::Deserialize;
use serde_json::Value;

use super::yaml::{self, Node};
use super::{LockFile, LockKind, Origin};
use crate::npm::name::PackageName;
use crate::{Ecosystem, NameKey, format};

/// The most links that are followed.
const MAX_LINKS: usize = 400_000;

/// The links between the entries of a lock file, by their places in [`LockFile::entries`].
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Graph {
    /// What each entry asks for, in order.
    pub requires: Vec<BTreeSet<usize>>,
    /// What the project itself asks for, where the file says it.
    pub direct: BTreeSet<usize>,
    /// Whether the file has links at all: requirements have none.
    pub known: bool,
}

impl Graph {
    /// The shortest way from the project to an entry, both ends included but for the project; the entry alone where none is known.
    #[must_use]
    pub fn way(&self, to: usize) -> Vec<usize> {
        let mut before: HashMap<usize, usize> = HashMap::new();
        let mut seen: BTreeSet<usize> = self.direct.clone();
        let mut now: Vec<usize> = self.direct.iter().copied().collect();
        while !now.is_empty() && !seen.contains(&to) {
            let mut next = Vec::new();
            for from in now {
                for required in self.requires.get(from).into_iter().flatten() {
                    if seen.insert(*required) {
                        before.insert(*required, from);
                        next.push(*required);
                    }
                }
            }
            now = next;
        }
        let mut way = vec![to];
        let mut at = to;
        while let Some(from) = before.get(&at) {
            way.push(*from);
            at = *from;
        }
        way.reverse();
        way
    }

    /// The entries that ask for one.
    #[must_use]
    pub fn parents(&self, of: usize) -> Vec<usize> {
        let each = self.requires.iter().enumerate();
        each.filter(|(_, required)| required.contains(&of))
            .map(|(at, _)| at)
            .collect()
    }
}

/// Reads the links of a lock file that was read before; `bytes` are the same ones.
#[must_use]
pub fn graph(lock: &LockFile, bytes: &[u8]) -> Graph {
    let mut links = Links::new(lock);
    let Ok(text) = std::str::from_utf8(bytes) else {
        return links.graph;
    };
    let followed = match lock.kind {
        LockKind::Cargo => cargo(text, &mut links),
        LockKind::Uv => uv(text, &mut links),
        LockKind::Pylock => pylock(text, &mut links),
        LockKind::Poetry => poetry(text, &mut links),
        LockKind::Npm => package_lock(text, &mut links),
        LockKind::Pnpm => pnpm(text, &mut links),
        LockKind::YarnClassic => classic(text, &mut links),
        LockKind::YarnBerry => berry(text, &mut links),
        LockKind::Requirements | LockKind::Pipenv => None,
    };
    links.finish(lock, followed.is_some())
}

struct Links {
    ecosystem: Ecosystem,
    /// By name, and then by version.
    places: HashMap<NameKey, Vec<(Option<String>, usize)>>,
    graph: Graph,
    count: usize,
}

impl Links {
    fn new(lock: &LockFile) -> Self {
        let mut places: HashMap<NameKey, Vec<(Option<String>, usize)>> = HashMap::new();
        for (at, entry) in lock.entries.iter().enumerate() {
            let versions = places.entry(entry.name_key.clone()).or_default();
            versions.push((entry.version.clone(), at));
        }
        let ecosystem = lock.kind.ecosystem();
        Self {
            ecosystem,
            places,
            graph: Graph {
                requires: vec![BTreeSet::new(); lock.entries.len()],
                ..Graph::default()
            },
            count: 0,
        }
    }

    /// The entry with that name and version; the only one of the name where no version is said.
    fn place(&self, name: &str, version: Option<&str>) -> Option<usize> {
        let format = format(self.ecosystem);
        let key = format.name_key(name).ok()?;
        let versions = self.places.get(&key)?;
        let Some(wanted) = version else {
            return match versions[..] {
                [(_, at)] => Some(at),
                _ => None,
            };
        };
        let exactly = versions
            .iter()
            .find(|(version, _)| version.as_deref() == Some(wanted));
        let found = exactly.or_else(|| {
            let normal = format.version(wanted).ok()?;
            versions
                .iter()
                .find(|(version, _)| version.as_deref() == Some(normal.canonical()))
        });
        found.map(|(_, at)| *at)
    }

    fn link(&mut self, from: usize, to: usize) {
        if from != to && self.count < MAX_LINKS {
            self.count += 1;
            self.graph.requires[from].insert(to);
        }
    }

    /// What an entry of a Python lock asks for, as far as the lock has it.
    fn require(&mut self, from: usize, required: impl IntoIterator<Item = Required>) {
        for required in required {
            if let Some(to) = self.place(&required.name, required.version.as_deref()) {
                self.link(from, to);
            }
        }
    }

    fn finish(mut self, lock: &LockFile, known: bool) -> Graph {
        self.graph.known = known;
        if known && self.graph.direct.is_empty() {
            // What the project's own packages ask for; else what nobody else asks for.
            let local = |at: &usize| matches!(lock.entries[*at].origin, Origin::Local(_));
            let own: Vec<usize> = (0..lock.entries.len()).filter(local).collect();
            for at in &own {
                let asked = self.graph.requires[*at].iter().filter(|to| !local(to));
                self.graph.direct.extend(asked.copied().collect::<Vec<_>>());
            }
            if own.is_empty() {
                let asked: BTreeSet<usize> =
                    self.graph.requires.iter().flatten().copied().collect();
                self.graph.direct = (0..lock.entries.len())
                    .filter(|at| !asked.contains(at))
                    .collect();
            }
        }
        self.graph
    }
}

// ---- Rust ----

fn cargo(text: &str, links: &mut Links) -> Option<()> {
    #[derive(Deserialize)]
    struct Lock {
        #[serde(default)]
        package: Vec<Package>,
    }
    #[derive(Deserialize)]
    struct Package {
        name: String,
        version: String,
        #[serde(default)]
        dependencies: Vec<String>,
    }
    let lock: Lock = toml::from_str(text).ok()?;
    for package in lock.package {
        let Some(from) = links.place(&package.name, Some(&package.version)) else {
            continue;
        };
        for dependency in &package.dependencies {
            // `name`, `name version`, `name version (source)`.
            let mut words = dependency.split(' ');
            let name = words.next().unwrap_or_default();
            if let Some(to) = links.place(name, words.next()) {
                links.link(from, to);
            }
        }
    }
    Some(())
}

// ---- Python ----

#[derive(Deserialize)]
struct Required {
    name: String,
    version: Option<String>,
}

fn uv(text: &str, links: &mut Links) -> Option<()> {
    #[derive(Deserialize)]
    #[serde(rename_all = "kebab-case")]
    struct Package {
        name: String,
        version: Option<String>,
        #[serde(default)]
        dependencies: Vec<Required>,
        #[serde(default)]
        optional_dependencies: BTreeMap<String, Vec<Required>>,
        #[serde(default)]
        dev_dependencies: BTreeMap<String, Vec<Required>>,
    }
    #[derive(Deserialize)]
    struct Lock {
        #[serde(default)]
        package: Vec<Package>,
    }
    let lock: Lock = toml::from_str(text).ok()?;
    for package in lock.package {
        let Some(from) = links.place(&package.name, package.version.as_deref()) else {
            continue;
        };
        let more = package.optional_dependencies.into_values();
        let more = more.chain(package.dev_dependencies.into_values()).flatten();
        links.require(from, package.dependencies.into_iter().chain(more));
    }
    Some(())
}

fn pylock(text: &str, links: &mut Links) -> Option<()> {
    #[derive(Deserialize)]
    struct Package {
        name: String,
        version: Option<String>,
        #[serde(default)]
        dependencies: Vec<Required>,
    }
    #[derive(Deserialize)]
    struct Lock {
        #[serde(default)]
        packages: Vec<Package>,
    }
    let lock: Lock = toml::from_str(text).ok()?;
    // Most tools leave the links out.
    if lock.packages.iter().all(|p| p.dependencies.is_empty()) {
        return None;
    }
    for package in lock.packages {
        let Some(from) = links.place(&package.name, package.version.as_deref()) else {
            continue;
        };
        links.require(from, package.dependencies);
    }
    Some(())
}

fn poetry(text: &str, links: &mut Links) -> Option<()> {
    #[derive(Deserialize)]
    struct Package {
        name: String,
        version: String,
        #[serde(default)]
        dependencies: BTreeMap<String, toml::Value>,
    }
    #[derive(Deserialize)]
    struct Lock {
        #[serde(default)]
        package: Vec<Package>,
    }
    let lock: Lock = toml::from_str(text).ok()?;
    for package in lock.package {
        let Some(from) = links.place(&package.name, Some(&package.version)) else {
            continue;
        };
        for name in package.dependencies.keys() {
            if let Some(to) = links.place(name, None) {
                links.link(from, to);
            }
        }
    }
    Some(())
}

// ---- JavaScript ----

fn package_lock(text: &str, links: &mut Links) -> Option<()> {
    let lock: Value = serde_json::from_str(text).ok()?;
    let packages = lock.get("packages")?.as_object()?;
    let place = |links: &Links, at: &str| {
        let package = packages.get(at)?;
        let (_, named) = at.rsplit_once("node_modules/")?;
        let name = package.get("name").and_then(Value::as_str).unwrap_or(named);
        links.place(name, package.get("version").and_then(Value::as_str))
    };
    for (at, package) in packages {
        // The project and its workspaces stand outside `node_modules`.
        let own = !at.contains("node_modules/");
        let from = place(links, at);
        if from.is_none() && !own {
            continue;
        }
        let kinds = [
            "dependencies",
            "optionalDependencies",
            "peerDependencies",
            "devDependencies",
        ];
        for kind in kinds {
            for name in package
                .get(kind)
                .and_then(Value::as_object)
                .into_iter()
                .flat_map(serde_json::Map::keys)
            {
                // As Node.js looks: here, then in each folder above.
                let mut folder = at.as_str();
                let found = loop {
                    let inner = match folder {
                        "" => format!("node_modules/{name}"),
                        folder => format!("{folder}/node_modules/{name}"),
                    };
                    if packages.contains_key(&inner) {
                        break Some(inner);
                    }
                    if folder.is_empty() {
                        break None;
                    }
                    folder = folder.rsplit_once("node_modules/").map_or("", |(up, _)| up);
                    folder = folder.trim_end_matches('/');
                };
                let Some(to) = found.and_then(|found| place(links, &found)) else {
                    continue;
                };
                match from {
                    Some(from) => links.link(from, to),
                    None => {
                        links.graph.direct.insert(to);
                    }
                }
            }
        }
    }
    Some(())
}

/// `name@1.0.0(peer@2.0.0)`, with a slash in front in form 6, as name and version.
fn pnpm_key(key: &str) -> Option<(&str, &str)> {
    let bare = key.strip_prefix('/').unwrap_or(key);
    let bare = bare.split_once('(').map_or(bare, |(bare, _)| bare);
    let at = bare.char_indices().skip(1).find(|(_, c)| *c == '@')?.0;
    Some((&bare[..at], &bare[at + 1..]))
}

fn pnpm(text: &str, links: &mut Links) -> Option<()> {
    let lock = yaml::parse(text).ok()?;
    let none = BTreeMap::new();
    let map = |node: Option<&Node>| node.and_then(Node::map).cloned().unwrap_or_default();
    let kinds = ["dependencies", "optionalDependencies", "devDependencies"];
    let resolve = |links: &Links, name: &str, version: &str| {
        // An alias says the whole key instead of a version.
        if let Some((real, version)) = pnpm_key(version)
            && PackageName::parse(real).is_ok()
        {
            return links.place(real, Some(version));
        }
        let bare = version.split_once('(').map_or(version, |(bare, _)| bare);
        links.place(name, Some(bare))
    };
    let snapshots = lock.get("snapshots").or_else(|| lock.get("packages"));
    for (key, package) in snapshots.and_then(Node::map).unwrap_or(&none) {
        let Some(from) = pnpm_key(key).and_then(|(name, version)| links.place(name, Some(version)))
        else {
            continue;
        };
        for kind in &kinds[..2] {
            for (name, version) in map(package.get(kind)) {
                if let Node::Text(version) = version
                    && let Some(to) = resolve(links, &name, &version)
                {
                    links.link(from, to);
                }
            }
        }
    }
    let importers = map(lock.get("importers"));
    let single = importers.is_empty().then_some(&lock);
    for importer in importers.values().chain(single) {
        for kind in kinds {
            for (name, said) in map(importer.get(kind)) {
                let version = match &said {
                    Node::Text(version) => Some(version.as_str()),
                    said => said.text("version"),
                };
                if let Some(to) = version.and_then(|version| resolve(links, &name, version)) {
                    links.graph.direct.insert(to);
                }
            }
        }
    }
    Some(())
}

/// Links by what was asked for, as both of Yarn's kinds name their entries: `name@range`.
fn by_request(
    links: &mut Links,
    entries: &[(Vec<String>, Option<usize>)],
    asks: &[(usize, String)],
) {
    let by: HashMap<&str, usize> = entries
        .iter()
        .filter_map(|(heads, at)| Some((heads, (*at)?)))
        .flat_map(|(heads, at)| heads.iter().map(move |head| (head.as_str(), at)))
        .collect();
    for (from, request) in asks {
        if let Some(to) = by.get(request.as_str()) {
            links.link(*from, *to);
        }
    }
}

fn classic(text: &str, links: &mut Links) -> Option<()> {
    let mut entries: Vec<(Vec<String>, Option<usize>)> = Vec::new();
    let mut asks: Vec<(usize, String)> = Vec::new();
    // Asked for by the entry whose version was not read yet.
    let (mut section, mut pending) = (false, Vec::new());
    for line in text.lines().map(str::trim_end) {
        let content = line.trim_start();
        if content.is_empty() || content.starts_with('#') {
            continue;
        }
        match line.len() - content.len() {
            0 => {
                let heads = content.trim_end_matches(':').split(", ");
                let heads = heads.map(|head| head.trim_matches('"').to_owned());
                entries.push((heads.collect(), None));
                (section, pending) = (false, Vec::new());
            }
            2 => {
                section = matches!(content, "dependencies:" | "optionalDependencies:");
                let (heads, at) = entries.last_mut()?;
                if let Some(version) = content.strip_prefix("version ") {
                    let head = heads.first()?;
                    let (name, range) = request(head)?;
                    let name = match range.strip_prefix("npm:") {
                        Some(real) => request(real).map_or(real, |(name, _)| name),
                        None => name,
                    };
                    *at = links.place(name, Some(version.trim_matches('"')));
                }
            }
            _ if section => {
                let (name, range) = content.split_once(' ')?;
                pending.push(format!(
                    "{}@{}",
                    name.trim_matches('"'),
                    range.trim_matches('"')
                ));
                if let Some((_, Some(from))) = entries.last() {
                    asks.extend(pending.drain(..).map(|request| (*from, request)));
                }
            }
            _ => {}
        }
    }
    by_request(links, &entries, &asks);
    Some(())
}

/// `name@range`, with a scope's `@` in front.
fn request(text: &str) -> Option<(&str, &str)> {
    let at = text.char_indices().skip(1).find(|(_, c)| *c == '@')?.0;
    Some((&text[..at], &text[at + 1..]))
}

fn berry(text: &str, links: &mut Links) -> Option<()> {
    let lock = yaml::parse(text).ok()?;
    let mut entries = Vec::new();
    let mut asks = Vec::new();
    for (key, package) in lock.map()? {
        let resolution = package.text("resolution").unwrap_or_default();
        let at =
            request(resolution).and_then(|(name, _)| links.place(name, package.text("version")));
        let heads: Vec<String> = key.split(", ").map(str::to_owned).collect();
        entries.push((heads, at));
        let (Some(from), Some(Node::Map(dependencies))) = (at, package.get("dependencies")) else {
            continue;
        };
        for (name, range) in dependencies {
            let Node::Text(range) = range else { continue };
            asks.push((from, format!("{name}@{range}")));
            if !range.contains(':') {
                asks.push((from, format!("{name}@npm:{range}")));
            }
        }
    }
    by_request(links, &entries, &asks);
    Some(())
}
