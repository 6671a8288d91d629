//! Where the sources of packages are on this machine, by what names they are imported, and what is in them.

use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::fs;
use std::path::{Path, PathBuf};

use countersign_formats::lock::Entry;
use countersign_formats::{Ecosystem, format};
use serde_json::Value;

use super::source::{self, Language, MAX_FILE, Source};
use crate::bundle;

/// Folders of a project that hold no code of its own.
const SKIPPED: [&str; 9] = [
    "target",
    "node_modules",
    "bower_components",
    "venv",
    "env",
    "__pycache__",
    "site-packages",
    "vendor",
    "dist",
];
/// Folders whose code only tests run.
const TESTS: [&str; 7] = [
    "tests",
    "test",
    "__tests__",
    "testing",
    "spec",
    "specs",
    "benches",
];
/// How deep folders are followed.
const MOST_DEPTH: usize = 24;
/// The most entries of folders that are looked at for packages.
const MOST_LISTED: usize = 400_000;
/// The longest manifest, in bytes.
const MOST_MANIFEST: usize = 4 << 20;
/// The longest file of settings that is looked into, in bytes.
const MOST_SETTINGS: usize = 256 << 10;

/// What may still be read, of all packages together.
#[derive(Debug)]
pub struct Budget {
    /// Files.
    pub files: usize,
    /// Bytes.
    pub bytes: u64,
}

impl Default for Budget {
    fn default() -> Self {
        Self {
            files: 60_000,
            bytes: 512 << 20,
        }
    }
}

/// A file that was read.
#[derive(Debug)]
pub struct File {
    /// Its path, from the project's folder or the package's.
    pub path: String,
    /// Whether only tests run it.
    pub test: bool,
    /// What it says.
    pub source: Source,
}

/// The code of a project or a package.
#[derive(Debug, Default)]
pub struct Code {
    /// Its files.
    pub files: Vec<File>,
    /// Why something in it may have been missed.
    pub gaps: Vec<String>,
    /// By what other name its manifest lets packages be imported: the name, and the package's.
    pub renamed: Vec<(String, String)>,
    /// Names at which the paths of its own modules begin.
    pub own: HashSet<String>,
    /// Literals of its settings, with the file.
    pub settings: Vec<(String, String)>,
}

/// A package on this machine.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Installed {
    root: PathBuf,
    /// The files, where a list says which; else those below the root.
    files: Option<Vec<PathBuf>>,
    /// By what it is imported.
    pub modules: Vec<Vec<String>>,
}

/// Where the packages of an ecosystem are.
#[derive(Debug, Default)]
pub struct Places {
    /// By key and version.
    found: BTreeMap<(String, String), Installed>,
}

impl Language {
    /// In which the packages of an ecosystem are written.
    #[must_use]
    pub fn of(ecosystem: Ecosystem) -> Self {
        match ecosystem {
            Ecosystem::Pypi => Self::Python,
            Ecosystem::Npm => Self::JavaScript,
            Ecosystem::Cargo => Self::Rust,
        }
    }

    /// Whether a file is of it, and whether its grammar is known only in part.
    fn takes(self, name: &str) -> Option<bool> {
        let end = name.rsplit_once('.')?.1;
        match (self, end) {
            (Self::Python, "py" | "pyw") | (Self::Rust, "rs") => Some(false),
            (Self::JavaScript, "js" | "mjs" | "cjs" | "jsx") => Some(false),
            (Self::Python, "pyx" | "ipynb") => Some(true),
            // Declarations run nothing.
            (Self::JavaScript, "ts") if name.ends_with(".d.ts") => None,
            (Self::JavaScript, "ts" | "tsx" | "mts" | "cts" | "vue" | "svelte" | "astro") => {
                Some(true)
            }
            _ => None,
        }
    }
}

fn list(folder: &Path, left: &mut usize) -> Vec<(String, PathBuf, bool)> {
    let Ok(entries) = fs::read_dir(folder) else {
        return Vec::new();
    };
    let mut all: Vec<(String, PathBuf, bool)> = entries
        .filter_map(|entry| {
            *left = left.checked_sub(1)?;
            let entry = entry.ok()?;
            // Links are not followed: they may lead anywhere, and round.
            let kind = entry.file_type().ok()?;
            let name = entry.file_name().into_string().ok()?;
            (kind.is_dir() || kind.is_file()).then(|| (name, entry.path(), kind.is_dir()))
        })
        .collect();
    all.sort();
    all
}

fn json(path: &Path) -> Option<Value> {
    serde_json::from_slice(&bundle::read(path, MOST_MANIFEST).ok()?).ok()
}

fn toml(path: &Path) -> Option<toml::Table> {
    let bytes = bundle::read(path, MOST_MANIFEST).ok()?;
    toml::from_str(std::str::from_utf8(&bytes).ok()?).ok()
}

impl Places {
    /// Looks where packages usually are: beside the lock file, in the user's folders, and in `further` ones. `names` are the keys of those that
    /// are asked for: cargo keeps all crates of all projects in one folder.
    #[must_use]
    pub fn of(
        ecosystem: Ecosystem,
        project: &Path,
        further: &[PathBuf],
        names: &HashSet<&str>,
    ) -> Self {
        let mut places = Self::default();
        let mut left = MOST_LISTED;
        match ecosystem {
            Ecosystem::Npm => {
                for folder in further {
                    places.node(folder, 0, &mut left);
                }
                places.node(&project.join("node_modules"), 0, &mut left);
            }
            Ecosystem::Pypi => {
                let mut folders = further.to_vec();
                let active = std::env::var_os("VIRTUAL_ENV").map(PathBuf::from);
                for base in [
                    Some(project.join(".venv")),
                    Some(project.join("venv")),
                    active,
                ] {
                    let Some(base) = base else { continue };
                    for (name, path, is_folder) in list(&base.join("lib"), &mut left) {
                        if is_folder && name.starts_with("python") {
                            folders.push(path.join("site-packages"));
                        }
                    }
                }
                for folder in folders {
                    places.python(&folder, &mut left);
                }
            }
            Ecosystem::Cargo => {
                let mut folders = further.to_vec();
                folders.push(project.join("vendor"));
                let home = std::env::var_os("CARGO_HOME")
                    .map(PathBuf::from)
                    .or_else(|| {
                        std::env::var_os("HOME").map(|home| PathBuf::from(home).join(".cargo"))
                    });
                if let Some(home) = home {
                    let sources = list(&home.join("registry/src"), &mut left);
                    folders.extend(sources.into_iter().map(|(_, path, _)| path));
                }
                for folder in folders {
                    places.rust(&folder, names, &mut left);
                }
            }
        }
        places
    }

    /// Where an entry's package is.
    #[must_use]
    pub fn find(&self, entry: &Entry) -> Option<&Installed> {
        let version = entry.version.clone()?;
        self.found.get(&(entry.name_key.to_string(), version))
    }

    fn add(&mut self, ecosystem: Ecosystem, name: &str, version: &str, installed: Installed) {
        let format = format(ecosystem);
        if let (Ok(key), Ok(version)) = (format.name_key(name), format.version(version)) {
            let place = (key.to_string(), version.canonical().to_owned());
            self.found.entry(place).or_insert(installed);
        }
    }

    /// A `node_modules`, those within its packages, and pnpm's.
    fn node(&mut self, folder: &Path, depth: usize, left: &mut usize) {
        if depth > MOST_DEPTH {
            return;
        }
        for (name, path, is_folder) in list(folder, left) {
            if !is_folder {
                continue;
            }
            if name == ".pnpm" {
                for (_, path, _) in list(&path, left) {
                    self.node(&path.join("node_modules"), depth + 1, left);
                }
            } else if name.starts_with('@') {
                for (inner, path, is_folder) in list(&path, left) {
                    if is_folder {
                        self.node_package(&format!("{name}/{inner}"), path, depth, left);
                    }
                }
            } else if !name.starts_with('.') {
                self.node_package(&name, path, depth, left);
            }
        }
    }

    fn node_package(&mut self, name: &str, root: PathBuf, depth: usize, left: &mut usize) {
        if let Some(manifest) = json(&root.join("package.json")) {
            let called = manifest["name"].as_str().unwrap_or(name).to_owned();
            let installed = Installed {
                root: root.clone(),
                files: None,
                modules: vec![vec![called.clone()]],
            };
            let version = manifest["version"].as_str().unwrap_or_default();
            self.add(Ecosystem::Npm, &called, version, installed);
        }
        let inner = root.join("node_modules");
        if inner.is_dir() {
            self.node(&inner, depth + 1, left);
        }
    }

    fn python(&mut self, folder: &Path, left: &mut usize) {
        for (name, path, is_folder) in list(folder, left) {
            let Some((name, version)) = name
                .strip_suffix(".dist-info")
                .and_then(|name| name.rsplit_once('-'))
                .filter(|_| is_folder)
            else {
                continue;
            };
            let record = bundle::read(&path.join("RECORD"), MOST_MANIFEST).unwrap_or_default();
            let record = String::from_utf8_lossy(&record);
            let files: Vec<&str> = record
                .lines()
                .filter_map(|line| {
                    let path = line.rsplitn(3, ',').nth(2)?.trim_matches('"');
                    let safe = !path.is_empty() && !path.starts_with('/') && !path.contains("..");
                    safe.then_some(path)
                })
                .filter(|path| !path.contains(".dist-info/"))
                .collect();
            let installed = Installed {
                root: folder.to_owned(),
                modules: modules(&files),
                files: Some(files.iter().map(PathBuf::from).collect()),
            };
            if !installed.modules.is_empty() {
                self.add(Ecosystem::Pypi, name, version, installed);
            }
        }
    }

    fn rust(&mut self, folder: &Path, names: &HashSet<&str>, left: &mut usize) {
        for (called, path, is_folder) in list(folder, left) {
            // `name` or `name-version`, where either may have more of that sign.
            let called = called.to_ascii_lowercase().replace('_', "-");
            let mut starts = called.match_indices('-').map(|(at, _)| &called[..at]);
            let asked = names.contains(called.as_str()) || starts.any(|name| names.contains(name));
            let manifest = path.join("Cargo.toml");
            if !is_folder || !asked || !manifest.is_file() {
                continue;
            }
            let Some(table) = toml(&manifest) else {
                continue;
            };
            let text = |table: &toml::Table, outer: &str, key: &str| {
                let value = table.get(outer)?.get(key)?.as_str()?;
                Some(value.to_owned())
            };
            let (Some(name), Some(version)) = (
                text(&table, "package", "name"),
                text(&table, "package", "version"),
            ) else {
                continue;
            };
            let module = text(&table, "lib", "name").unwrap_or_else(|| name.replace('-', "_"));
            let installed = Installed {
                root: path,
                files: None,
                modules: vec![vec![module]],
            };
            self.add(Ecosystem::Cargo, &name, &version, installed);
        }
    }
}

/// The modules at which the files of a distribution begin: the outermost packages, below namespaces that several share.
fn modules(files: &[&str]) -> Vec<Vec<String>> {
    let regular: HashSet<&str> = files
        .iter()
        .filter_map(|file| file.strip_suffix("/__init__.py"))
        .collect();
    let mut found = BTreeSet::new();
    for file in files {
        let name = file.rsplit('/').next().unwrap_or_default();
        let stem = name.split('.').next().unwrap_or_default();
        let code = [".py", ".so", ".pyd"].iter().any(|end| name.ends_with(end));
        if !code || stem.is_empty() {
            continue;
        }
        let package = file
            .match_indices('/')
            .map(|(at, _)| &file[..at])
            .find(|folder| regular.contains(folder));
        let path: Vec<String> = match (package, file.rsplit_once('/')) {
            (Some(package), _) => package.split('/').map(str::to_owned).collect(),
            (None, Some((folder, _))) => {
                let folders = folder.split('/').map(str::to_owned);
                folders.chain([stem.to_owned()]).collect()
            }
            (None, None) => vec![stem.to_owned()],
        };
        found.insert(path);
    }
    found.into_iter().collect()
}

/// Whether only tests run a file, by its path.
fn is_test(path: &str) -> bool {
    let mut parts = path.rsplit('/');
    let name = parts.next().unwrap_or_default();
    let stem = name.split('.').next().unwrap_or_default();
    parts.any(|part| TESTS.contains(&part))
        || stem.starts_with("test_")
        || stem.ends_with("_test")
        || stem == "conftest"
        || name == "tests.rs"
        || name.contains(".test.")
        || name.contains(".spec.")
}

impl Code {
    /// The code of the project in a folder.
    #[must_use]
    pub fn of_project(language: Language, folder: &Path, budget: &mut Budget) -> Self {
        let mut code = Self::default();
        code.walk(language, folder, "", 0, true, budget);
        if code.files.is_empty() {
            code.gaps
                .push("there is no code of the project beside the lock file".to_owned());
        }
        code
    }

    /// The code of a package, without its tests.
    #[must_use]
    pub fn of_package(language: Language, installed: &Installed, budget: &mut Budget) -> Self {
        let mut code = Self::default();
        match &installed.files {
            None => code.walk(language, &installed.root, "", 0, false, budget),
            Some(files) => {
                for file in files {
                    let path = file.to_string_lossy().into_owned();
                    let full = installed.root.join(file);
                    // Links are not followed, here neither.
                    let regular = fs::symlink_metadata(&full).is_ok_and(|about| about.is_file());
                    if regular && !is_test(&path) {
                        code.file(language, &full, path, budget);
                    }
                }
            }
        }
        code
    }

    fn gap(&mut self, why: &str) {
        if !self.gaps.iter().any(|gap| gap == why) {
            self.gaps.push(why.to_owned());
        }
    }

    fn walk(
        &mut self,
        language: Language,
        folder: &Path,
        below: &str,
        depth: usize,
        project: bool,
        budget: &mut Budget,
    ) {
        if depth > MOST_DEPTH {
            self.gap("its folders are too deep to be read");
            return;
        }
        let mut left = MOST_LISTED;
        for (name, path, is_folder) in list(folder, &mut left) {
            let shown = match below {
                "" => name.clone(),
                below => format!("{below}/{name}"),
            };
            if is_folder {
                let skipped = name.starts_with('.')
                    || name == "node_modules"
                    || (project && SKIPPED.contains(&name.as_str()))
                    || (!project && TESTS.contains(&name.as_str()));
                if !skipped {
                    self.walk(language, &path, &shown, depth + 1, project, budget);
                }
                continue;
            }
            match (language, name.as_str()) {
                (Language::Rust, "Cargo.toml") => self.cargo(&path, project, depth),
                (Language::JavaScript, "package.json") => {
                    self.package(&path, &shown, project, depth)
                }
                (Language::JavaScript, name)
                    if project && is_settings(name) && !crate::exposure::NAMES.contains(&name) =>
                {
                    self.set(&path, &shown);
                }
                _ => {}
            }
            if project || !is_test(&shown) {
                self.file(language, &path, shown, budget);
            }
        }
    }

    fn file(&mut self, language: Language, path: &Path, shown: String, budget: &mut Budget) {
        let name = shown.rsplit('/').next().unwrap_or_default().to_owned();
        let Some(foreign) = language.takes(&name) else {
            return;
        };
        let length = fs::metadata(path).map_or(0, |about| about.len());
        let (files, bytes) = (
            budget.files.checked_sub(1),
            budget.bytes.checked_sub(length),
        );
        let (Some(files), Some(bytes)) = (files, bytes) else {
            self.gap("there is more code than is read");
            return;
        };
        *budget = Budget { files, bytes };
        // What is too long to be parsed may still be searched.
        let Ok(read) = bundle::read(path, 16 * MAX_FILE) else {
            self.gap(&format!("{shown} can not be read"));
            return;
        };
        let text = String::from_utf8_lossy(&read);
        let stem = name.split('.').next().unwrap_or_default();
        self.own.insert(stem.to_owned());
        if let Some((folders, _)) = shown.rsplit_once('/') {
            self.own.extend(folders.split('/').map(str::to_owned));
        }
        self.files.push(File {
            test: is_test(&shown),
            path: shown,
            source: source::read(language, &text, foreign),
        });
    }

    /// What a `Cargo.toml` renames, and whether it leads out of the project.
    fn cargo(&mut self, path: &Path, project: bool, depth: usize) {
        let Some(table) = toml(path) else {
            self.gap("a Cargo.toml of it can not be read");
            return;
        };
        let mut tables: Vec<&toml::Table> = Vec::new();
        let kinds = ["dependencies", "dev-dependencies", "build-dependencies"];
        let mut outer = vec![&table];
        outer.extend(table.get("workspace").and_then(toml::Value::as_table));
        let targets = table.get("target").and_then(toml::Value::as_table);
        outer.extend(
            targets
                .iter()
                .flat_map(|t| t.values().filter_map(toml::Value::as_table)),
        );
        for outer in outer {
            tables.extend(kinds.iter().filter_map(|kind| outer.get(*kind)?.as_table()));
        }
        for (name, wanted) in tables.into_iter().flatten() {
            if let Some(package) = wanted.get("package").and_then(toml::Value::as_str) {
                self.renamed
                    .push((name.replace('-', "_"), package.to_owned()));
            }
            let place = wanted.get("path").and_then(toml::Value::as_str);
            if project && place.is_some_and(|place| leads_out(place, depth)) {
                self.gap("it has code outside of the lock file's folder");
            }
        }
    }

    /// What a `package.json` renames, and what else it names.
    fn package(&mut self, path: &Path, shown: &str, project: bool, depth: usize) {
        let Some(Value::Object(mut manifest)) = json(path) else {
            self.gap("a package.json of it can not be read");
            return;
        };
        for kind in [
            "dependencies",
            "devDependencies",
            "optionalDependencies",
            "peerDependencies",
        ] {
            let Some(Value::Object(wanted)) = manifest.remove(kind) else {
                continue;
            };
            for (name, wanted) in wanted {
                let wanted = wanted.as_str().unwrap_or_default();
                if let Some(real) = wanted.strip_prefix("npm:") {
                    // A scope begins with the sign that comes before a version too.
                    let end = real.match_indices('@').find(|(at, _)| *at > 0);
                    let end = end.map_or(real.len(), |(at, _)| at);
                    self.renamed.push((name, real[..end].to_owned()));
                } else if let Some(place) = ["file:", "link:", "portal:"]
                    .iter()
                    .find_map(|kind| wanted.strip_prefix(kind))
                    && project
                    && leads_out(place, depth)
                {
                    self.gap("it has code outside of the lock file's folder");
                }
            }
        }
        if project {
            for own in ["name", "keywords", "description", "author", "license"] {
                manifest.remove(own);
            }
            self.literals(&Value::Object(manifest), shown, 0);
        }
    }

    fn set(&mut self, path: &Path, shown: &str) {
        let read = bundle::read(path, MOST_SETTINGS).ok();
        let value = read.and_then(|bytes| serde_json::from_slice::<Value>(&bytes).ok());
        if let Some(value) = value {
            self.literals(&value, shown, 0);
        }
    }

    /// Words of settings: tools find what they load by these.
    fn literals(&mut self, value: &Value, shown: &str, depth: usize) {
        if depth > MOST_DEPTH || self.settings.len() > 20_000 {
            return;
        }
        match value {
            Value::String(text) => {
                for word in text.split_whitespace().take(64) {
                    self.settings.push((word.to_owned(), shown.to_owned()));
                }
            }
            Value::Array(values) => {
                for value in values {
                    self.literals(value, shown, depth + 1);
                }
            }
            Value::Object(values) => {
                for (key, value) in values {
                    self.settings.push((key.clone(), shown.to_owned()));
                    self.literals(value, shown, depth + 1);
                }
            }
            _ => {}
        }
    }
}

/// Whether a relative path leads out of the folder that many levels above.
fn leads_out(place: &str, depth: usize) -> bool {
    let mut level = i64::try_from(depth).unwrap_or(i64::MAX);
    if place.starts_with('/') {
        return true;
    }
    for part in place.split('/') {
        match part {
            ".." => level -= 1,
            "" | "." => {}
            _ => level += 1,
        }
        if level < 0 {
            return true;
        }
    }
    false
}

fn is_settings(name: &str) -> bool {
    name.ends_with(".json") || (name.starts_with('.') && name.ends_with("rc"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn modules_are_told_by_the_files_of_a_distribution() {
        let path = |text: &str| text.split('.').map(str::to_owned).collect::<Vec<_>>();
        assert_eq!(
            modules(&[
                "yaml/__init__.py",
                "yaml/loader.py",
                "_yaml/__init__.py",
                "six.py",
                "../bin/x"
            ]),
            [path("_yaml"), path("six"), path("yaml")]
        );
        // A namespace is shared: its name alone is nobody's.
        assert_eq!(
            modules(&[
                "google/cloud/storage/__init__.py",
                "google/cloud/storage/blob.py",
                "google/x.cpython-311.so"
            ]),
            [path("google.cloud.storage"), path("google.x")]
        );
    }

    #[test]
    fn tests_are_told_by_their_paths() {
        for path in [
            "tests/a.py",
            "src/__tests__/a.js",
            "a.test.js",
            "test_a.py",
            "conftest.py",
            "src/tests.rs",
        ] {
            assert!(is_test(path), "{path}");
        }
        for path in ["src/a.py", "latest/a.js", "attest.py", "src/testament.rs"] {
            assert!(!is_test(path), "{path}");
        }
    }

    #[test]
    fn a_path_that_leads_out_is_seen() {
        assert!(!leads_out("../b", 1) && leads_out("../b", 0) && leads_out("a/../../b", 0));
        assert!(leads_out("/b", 3) && !leads_out("a/../b", 0));
    }
}
