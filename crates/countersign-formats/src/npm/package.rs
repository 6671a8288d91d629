//! `package.json`: read from the tarball, brought into the form in which packuments show it.
//!
//! npm itself mends what people write (`bin` as a text, dependencies as a list, bundled ones under a
//! misspelt key) before it posts a manifest, and its installers mend again what they get. So the
//! same mending is done here, by one function for what the tarball holds and for what is posted.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

use super::{
    hosted::Hosted,
    json::{self, Duplicates},
    name::{self, PackageName},
};
use crate::{Limits, NameKey, Rejection, manifest::Dependency, rejection::quoted};

/// Most dependencies, scripts or programs of a package, and longest specifier of a dependency.
const MAX_ENTRIES: usize = 10_000;
const MAX_SPECIFIER: usize = 4096;

/// The kinds of dependencies, and what a [`Dependency`]'s marker says for them.
pub(super) const KINDS: &[(&str, &str)] = &[
    ("dependencies", ""),
    ("optionalDependencies", "optional"),
    ("peerDependencies", "peer"),
    ("devDependencies", "dev"),
];

/// Keys of a version's manifest that are the registry's to say, whatever `package.json` holds.
const OURS: &[&str] = &[
    "deprecated",
    "dist",
    "hasInstallScript",
    "maintainers",
    "readme",
    "readmeFilename",
    "time",
    "users",
    "versions",
];

/// What a tarball says about its package beyond the common fields of a [`crate::Manifest`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Package {
    /// `package.json` in the form in which packuments show it; without what is the registry's to say.
    pub manifest: Map<String, Value>,
    /// Whether an installer runs something of the package.
    pub has_install_script: bool,
    /// Whether the package pins its own dependencies with an `npm-shrinkwrap.json`.
    pub has_shrinkwrap: bool,
    /// Number of files.
    pub file_count: u64,
    /// What npm may add to a manifest that it posts, from files that it sees.
    pub seen: Seen,
    /// Name of the README in the package's folder.
    pub readme_filename: Option<String>,
}

/// Files that npm reads a meaning from.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Seen {
    /// `*.gyp` in the package's folder: something is compiled at install.
    pub gyp: bool,
}

impl Package {
    /// The repository's address for a browser, where it is on a well-known host or says so itself.
    pub fn repository(&self) -> Option<String> {
        let url = self.manifest.get("repository")?.get("url")?.as_str()?;
        if let Some(hosted) = Hosted::parse(url) {
            return Some(hosted.https());
        }
        let url = url.strip_prefix("git+").unwrap_or(url);
        web_address(url).map(|url| url.strip_suffix(".git").unwrap_or(url).to_owned())
    }

    /// Which of `preinstall`, `install` and `postinstall` an installer runs.
    pub fn install_scripts(&self) -> Vec<(&str, &str)> {
        ["preinstall", "install", "postinstall"]
            .into_iter()
            .filter_map(|stage| Some((stage, self.manifest.get("scripts")?.get(stage)?.as_str()?)))
            .filter(|(_, command)| !command.trim().is_empty())
            .collect()
    }
}

/// A text that is an address of the web.
fn web_address(text: &str) -> Option<&str> {
    let plain = (text.starts_with("https://") || text.starts_with("http://"))
        && text.len() < 2048
        && text
            .bytes()
            .all(|b| b.is_ascii_graphic() && !matches!(b, b'"' | b'<' | b'>' | b'\\' | b'`'));
    plain.then_some(text)
}

/// Reads the bytes of a `package.json`.
pub(super) fn read(
    bytes: &[u8],
    limits: &Limits,
    warnings: &mut Vec<String>,
) -> Result<Map<String, Value>, Rejection> {
    // npm takes a byte order mark, as editors on Windows write it.
    let bytes = bytes.strip_prefix(b"\xef\xbb\xbf").unwrap_or(bytes);
    let (value, twice) =
        json::read(bytes, limits.max_metadata, Duplicates::LastWins).map_err(|fault| {
            Rejection::new(
                "package-json",
                format!("package.json can not be read. {}", fault.message),
            )
            .with_remedy("Mend it (`npm pkg fix` finds much), and pack again.")
        })?;
    let Value::Object(map) = value else {
        return Err(Rejection::new(
            "package-json",
            "package.json holds no object.",
        ));
    };
    for key in twice {
        // Which of two names or lists of dependencies counts is nothing to be unsure about.
        let important = ["name", "version", "scripts", "bin"].contains(&key.as_str())
            || KINDS.iter().any(|(kind, _)| *kind == key);
        let message = format!(
            "package.json has the key {} twice; the last one counts.",
            quoted(&key)
        );
        if important {
            return Err(Rejection::new("package-json-duplicate-key", message)
                .with_remedy("Remove one of them."));
        }
        warnings.push(message);
    }
    Ok(map)
}

/// Brings a manifest into the form in which packuments show it; `files` are the paths in the
/// package's folder, empty for a manifest that was posted.
///
/// # Errors
/// Refuses what would harm clients: names of dependencies and programs that are no names, and more
/// entries than any package has.
pub(super) fn mend(
    mut map: Map<String, Value>,
    files: &BTreeSet<String>,
    seen: &Seen,
) -> Result<Map<String, Value>, Rejection> {
    map.retain(|key, _| !key.starts_with('_') && !OURS.contains(&key.as_str()));
    if let Some(Value::String(name)) = map.get_mut("name") {
        *name = name.trim().to_owned();
    }
    bundled(&mut map);
    for (kind, _) in KINDS {
        dependencies(&mut map, kind)?;
    }
    // What is optional is so whether or not it is listed as needed too.
    if let Some(Value::Object(optional)) = map.get("optionalDependencies") {
        let optional: Vec<String> = optional.keys().cloned().collect();
        if let Some(Value::Object(needed)) = map.get_mut("dependencies") {
            needed.retain(|name, _| !optional.contains(name));
        }
    }
    for (kind, _) in KINDS {
        if map
            .get(*kind)
            .and_then(Value::as_object)
            .is_some_and(Map::is_empty)
        {
            map.remove(*kind);
        }
    }
    match map.get_mut("peerDependenciesMeta") {
        Some(Value::Object(meta)) => meta.retain(|_, about| about.is_object()),
        Some(_) => {
            map.remove("peerDependenciesMeta");
        }
        None => {}
    }
    scripts(&mut map, seen)?;
    programs(&mut map, files)?;
    descriptive(&mut map);
    Ok(map)
}

/// `bundleDependencies`: a list of names, whatever was written.
fn bundled(map: &mut Map<String, Value>) {
    let misspelt = map.remove("bundledDependencies");
    let written = map.remove("bundleDependencies").or(misspelt);
    let names: Vec<Value> = match written {
        Some(Value::Bool(true)) => match map.get("dependencies") {
            Some(Value::Object(needed)) => needed.keys().map(|name| json!(name)).collect(),
            _ => Vec::new(),
        },
        Some(Value::Object(entries)) => entries.keys().map(|name| json!(name)).collect(),
        Some(Value::Array(items)) => items
            .into_iter()
            .filter(|item| item.as_str().is_some_and(|name| !name.is_empty()))
            .collect(),
        _ => return,
    };
    map.insert("bundleDependencies".to_owned(), Value::Array(names));
}

/// One kind of dependencies: an object of texts, whatever was written.
fn dependencies(map: &mut Map<String, Value>, kind: &str) -> Result<(), Rejection> {
    let Some(written) = map.remove(kind) else {
        return Ok(());
    };
    let list = match written {
        Value::Object(entries) => {
            let entries: Map<String, Value> = entries
                .into_iter()
                .filter(|(_, value)| value.is_string())
                .collect();
            return check_dependencies(kind, &entries).map(|()| {
                map.insert(kind.to_owned(), Value::Object(entries));
            });
        }
        _ if kind == "peerDependencies" => return Ok(()),
        Value::String(text) => text
            .split([' ', '\t', '\r', '\n', ','])
            .filter(|word| !word.is_empty())
            .map(str::to_owned)
            .collect(),
        Value::Array(items) => items
            .into_iter()
            .filter_map(|item| item.as_str().map(|text| text.trim().to_owned()))
            .collect(),
        _ => Vec::new(),
    };
    let mut entries = Map::new();
    for text in list {
        let end = text
            .find(|c: char| matches!(c, '@' | '>' | '<' | '=') || c.is_whitespace())
            .unwrap_or(text.len());
        let (name, specifier) = text.split_at(end);
        if !name.is_empty() {
            let specifier = specifier.strip_prefix('@').unwrap_or(specifier).trim();
            entries.insert(name.to_owned(), json!(specifier));
        }
    }
    check_dependencies(kind, &entries)?;
    map.insert(kind.to_owned(), Value::Object(entries));
    Ok(())
}

fn check_dependencies(kind: &str, entries: &Map<String, Value>) -> Result<(), Rejection> {
    too_many(kind, entries.len())?;
    for (name, specifier) in entries {
        let bad = |why: &str| {
            Rejection::new(
                "package-json-dependency",
                format!(
                    "{kind} in package.json has the entry {}: {why}.",
                    quoted(name)
                ),
            )
        };
        PackageName::parse(name).map_err(|_| bad("that is no package name"))?;
        let specifier = specifier.as_str().unwrap_or_default();
        if specifier.len() > MAX_SPECIFIER
            || specifier
                .chars()
                .any(|c| c.is_control() && c != '\n' && c != '\t' && c != '\r')
        {
            return Err(bad("its specifier is too long or holds control characters"));
        }
    }
    Ok(())
}

fn too_many(what: &str, count: usize) -> Result<(), Rejection> {
    if count > MAX_ENTRIES {
        return Err(Rejection::new(
            "package-json-too-large",
            format!(
                "package.json has {count} entries in {what}; at most {MAX_ENTRIES} are accepted."
            ),
        ));
    }
    Ok(())
}

/// What npm compiles with when a package has something to compile and does not say how.
pub(super) const GYP: &str = "node-gyp rebuild";

/// `scripts`: an object of texts; with what npm runs for a package that has something to compile.
fn scripts(map: &mut Map<String, Value>, seen: &Seen) -> Result<(), Rejection> {
    let mut entries = match map.remove("scripts") {
        Some(Value::Object(entries)) => entries,
        _ => Map::new(),
    };
    entries.retain(|_, command| command.is_string());
    too_many("scripts", entries.len())?;
    let refused = map.get("gypfile") == Some(&Value::Bool(false));
    let said = |stage: &str| {
        entries
            .get(stage)
            .and_then(Value::as_str)
            .is_some_and(|command| !command.is_empty())
    };
    if seen.gyp && !refused && !said("install") && !said("preinstall") {
        entries.insert("install".to_owned(), json!(GYP));
        map.insert("gypfile".to_owned(), json!(true));
    }
    if !entries.is_empty() {
        map.insert("scripts".to_owned(), Value::Object(entries));
    }
    Ok(())
}

/// `bin`: names of programs with paths in the package's folder.
fn programs(map: &mut Map<String, Value>, files: &BTreeSet<String>) -> Result<(), Rejection> {
    let written: Vec<(String, String)> = match map.remove("bin") {
        Some(Value::String(path)) if !path.is_empty() => {
            let name = map.get("name").and_then(Value::as_str).unwrap_or_default();
            vec![(name.to_owned(), path)]
        }
        Some(Value::Array(paths)) => paths
            .into_iter()
            .filter_map(|path| {
                path.as_str()
                    .map(|path| (base_name(path).to_owned(), path.to_owned()))
            })
            .collect(),
        Some(Value::Object(entries)) => entries
            .into_iter()
            .filter_map(|(name, path)| path.as_str().map(|path| (name, path.to_owned())))
            .collect(),
        _ => {
            let folder = map
                .get("directories")
                .and_then(|folders| folders.get("bin"))
                .and_then(Value::as_str)
                .map(inside)
                .unwrap_or_default();
            programs_in(folder.trim_end_matches('/'), files)
        }
    };
    too_many("bin", written.len())?;
    let mut entries = Map::new();
    for (name, path) in written {
        let (name, path) = (inside(&name), inside(&path));
        let name = base_name(&name);
        if name.is_empty() || path.is_empty() {
            continue;
        }
        if name.chars().chain(path.chars()).any(char::is_control)
            || name::is_object_member(name)
            || name == ".."
        {
            return Err(Rejection::new(
                "package-json-bin",
                format!(
                    "bin in package.json has the entry {}, which can be no program.",
                    quoted(name)
                ),
            ));
        }
        entries.insert(name.to_owned(), json!(path));
    }
    if !entries.is_empty() {
        map.insert("bin".to_owned(), Value::Object(entries));
    }
    Ok(())
}

/// Every file below a folder is a program, unless it or a folder on the way is hidden.
fn programs_in(folder: &str, files: &BTreeSet<String>) -> Vec<(String, String)> {
    if folder.is_empty() {
        return Vec::new();
    }
    files
        .iter()
        .filter_map(|path| {
            let below = path.strip_prefix(folder)?.strip_prefix('/')?;
            let hidden = below.split('/').any(|part| part.starts_with('.'));
            (!hidden).then(|| (base_name(below).to_owned(), path.clone()))
        })
        .collect()
}

/// A path as npm takes it: below the package's folder whatever it says. Empty when it is the folder.
fn inside(path: &str) -> String {
    let path = path.replace(['\\', ':'], "/");
    let mut parts: Vec<&str> = Vec::new();
    for part in path.split('/') {
        match part {
            "" | "." => {}
            ".." => {
                parts.pop();
            }
            part => parts.push(part),
        }
    }
    let mut out = parts.join("/");
    if !out.is_empty() && path.ends_with('/') {
        out.push('/');
    }
    out
}

fn base_name(path: &str) -> &str {
    let path = path.trim_end_matches('/');
    path.rsplit('/').next().unwrap_or(path)
}

/// What is read by people only.
fn descriptive(map: &mut Map<String, Value>) {
    for key in ["description", "homepage"] {
        if map.get(key).is_some_and(|value| !value.is_string()) {
            map.remove(key);
        }
    }
    match map.get("keywords") {
        Some(Value::String(text)) => {
            let words: Vec<&str> = text
                .split(',')
                .map(str::trim)
                .filter(|word| !word.is_empty())
                .collect();
            let words = json!(words);
            map.insert("keywords".to_owned(), words);
        }
        Some(Value::Array(words)) => {
            let words: Vec<Value> = words
                .iter()
                .filter(|word| word.as_str().is_some_and(|word| !word.is_empty()))
                .cloned()
                .collect();
            map.insert("keywords".to_owned(), Value::Array(words));
        }
        Some(_) => {
            map.remove("keywords");
        }
        None => {}
    }
    if let Some(Value::Array(all)) = map.get("repositories")
        && let Some(first) = all.first().cloned()
        && !map.contains_key("repository")
    {
        map.insert("repository".to_owned(), first);
    }
    match map.get("repository") {
        Some(Value::String(url)) => {
            let object = json!({ "type": "git", "url": url });
            map.insert("repository".to_owned(), object);
        }
        Some(Value::Object(_)) | None => {}
        Some(_) => {
            map.remove("repository");
        }
    }
    if let Some(Value::String(text)) = map.get("bugs") {
        let object = match text.contains("://") {
            true => json!({ "url": text }),
            false => json!({ "email": text }),
        };
        map.insert("bugs".to_owned(), object);
    }
    if let Some(Value::String(url)) = map.get("funding") {
        let object = json!({ "url": url });
        map.insert("funding".to_owned(), object);
    }
    if let Some(author) = map.get("author") {
        match person(author) {
            Some(author) => map.insert("author".to_owned(), author),
            None => map.remove("author"),
        };
    }
    if let Some(Value::Array(people)) = map.get("contributors") {
        let people: Vec<Value> = people.iter().filter_map(person).collect();
        map.insert("contributors".to_owned(), Value::Array(people));
    }
}

/// `Name <address> (page)`, or an object of the three.
fn person(written: &Value) -> Option<Value> {
    let mut out = Map::new();
    let mut put = |key: &str, text: &str| {
        let text = text.trim();
        if !text.is_empty() {
            out.insert(key.to_owned(), json!(text));
        }
    };
    match written {
        Value::String(text) => {
            put("name", text.split(['<', '(']).next().unwrap_or_default());
            let between = |open: char, close: char| {
                let (_, rest) = text.split_once(open)?;
                rest.split_once(close).map(|(inner, _)| inner)
            };
            put("email", between('<', '>').unwrap_or_default());
            put("url", between('(', ')').unwrap_or_default());
        }
        Value::Object(fields) => {
            let text = |keys: [&str; 2]| {
                keys.iter()
                    .find_map(|key| fields.get(*key).and_then(Value::as_str))
                    .unwrap_or_default()
            };
            put("name", text(["name", "name"]));
            put("email", text(["email", "mail"]));
            put("url", text(["url", "web"]));
        }
        _ => return None,
    }
    (!out.is_empty()).then_some(Value::Object(out))
}

/// The dependencies of a mended manifest, one after the other.
pub(super) fn all_dependencies(map: &Map<String, Value>) -> Vec<Dependency> {
    let mut out = Vec::new();
    for (kind, marker) in KINDS {
        let Some(Value::Object(entries)) = map.get(*kind) else {
            continue;
        };
        for (name, specifier) in entries {
            let specifier = specifier.as_str().unwrap_or_default();
            let Some(name_key) = target(name, specifier) else {
                continue;
            };
            let optional_peer = *kind == "peerDependencies"
                && map
                    .get("peerDependenciesMeta")
                    .and_then(|meta| meta.get(name)?.get("optional"))
                    == Some(&Value::Bool(true));
            out.push(Dependency {
                name_key,
                requirement: format!("{name}@{specifier}"),
                specifier: specifier.to_owned(),
                marker: if optional_peer {
                    "peer optional"
                } else {
                    marker
                }
                .to_owned(),
                extra: None,
            });
        }
    }
    out
}

/// Whom an entry needs: its name, or the one behind an alias (`npm:other@^1`).
fn target(name: &str, specifier: &str) -> Option<NameKey> {
    let aliased = specifier
        .get(..4)
        .filter(|scheme| scheme.eq_ignore_ascii_case("npm:"))
        .map(|_| {
            let alias = &specifier[4..];
            match alias.get(1..).and_then(|rest| rest.find('@')) {
                Some(at) => &alias[..=at],
                None => alias,
            }
        });
    let parsed = PackageName::parse(aliased.unwrap_or(name)).ok()?;
    Some(parsed.key())
}

/// The licence as one text: an SPDX expression, or what old packages write.
pub(super) fn licence(map: &Map<String, Value>) -> Option<String> {
    let one = |value: &Value| match value {
        Value::String(text) => Some(text.clone()),
        Value::Object(fields) => fields
            .get("type")
            .or_else(|| fields.get("name"))
            .and_then(Value::as_str)
            .map(str::to_owned),
        _ => None,
    };
    let written = map
        .get("license")
        .or_else(|| map.get("licence"))
        .or_else(|| map.get("licenses"))?;
    match written {
        Value::Array(items) => {
            let all: Vec<String> = items.iter().filter_map(one).collect();
            (!all.is_empty()).then(|| all.join(" OR "))
        }
        other => one(other).filter(|text| !text.trim().is_empty()),
    }
}

/// Pages that a mended manifest names.
pub(super) fn links(map: &Map<String, Value>, repository: Option<&str>) -> Vec<(String, String)> {
    let url = |key: &str| match map.get(key) {
        Some(Value::String(url)) => web_address(url),
        Some(other) => other
            .get("url")
            .and_then(Value::as_str)
            .and_then(web_address),
        None => None,
    };
    let mut out = Vec::new();
    for (label, found) in [
        ("Homepage", url("homepage")),
        ("Repository", repository),
        ("Bugs", url("bugs")),
        ("Funding", url("funding")),
    ] {
        if let Some(found) = found {
            out.push((label.to_owned(), found.to_owned()));
        }
    }
    out
}

/// A command without the folder in front that npm strips, as the scripts' path has it anyway.
pub(super) fn bare_command(command: &str) -> &str {
    let rest = command
        .strip_prefix("./")
        .or_else(|| command.strip_prefix(".\\"))
        .unwrap_or(command);
    rest.strip_prefix("node_modules")
        .and_then(|rest| rest.strip_prefix(['/', '\\']))
        .and_then(|rest| rest.strip_prefix(".bin"))
        .and_then(|rest| rest.strip_prefix(['/', '\\']))
        .unwrap_or(command)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mended(value: Value) -> Map<String, Value> {
        with_files(value, &[], &Seen::default())
    }

    fn with_files(value: Value, files: &[&str], seen: &Seen) -> Map<String, Value> {
        let files = files.iter().map(ToString::to_string).collect();
        mend(value.as_object().unwrap().clone(), &files, seen).unwrap()
    }

    #[test]
    fn mends_as_npm_does() {
        for (written, key, expected) in [
            (
                json!({"name": "@s/n", "bin": "./cli.js"}),
                "bin",
                json!({"n": "cli.js"}),
            ),
            (
                json!({"bin": {"../../x": "/etc/../../passwd", "y": 1, "z": ""}}),
                "bin",
                json!({"x": "passwd"}),
            ),
            (
                json!({"bin": ["a/b.js", "c"]}),
                "bin",
                json!({"b.js": "a/b.js", "c": "c"}),
            ),
            (
                json!({"bin": {"a\\b": "c:\\d"}}),
                "bin",
                json!({"b": "c/d"}),
            ),
            (
                json!({"dependencies": ["a", "b@1", "c >=2", 3]}),
                "dependencies",
                json!({"a": "", "b": "1", "c": ">=2"}),
            ),
            (
                json!({"dependencies": "a, b"}),
                "dependencies",
                json!({"a": "", "b": ""}),
            ),
            (
                json!({"dependencies": {"a": "1", "b": false}}),
                "dependencies",
                json!({"a": "1"}),
            ),
            (
                json!({"dependencies": {"a": "1", "b": "1"}, "optionalDependencies": {"a": "2"}}),
                "dependencies",
                json!({"b": "1"}),
            ),
            (
                json!({"dependencies": {"a": "1"}, "bundledDependencies": true}),
                "bundleDependencies",
                json!(["a"]),
            ),
            (
                json!({"bundleDependencies": {"a": "1"}}),
                "bundleDependencies",
                json!(["a"]),
            ),
            (
                json!({"scripts": {"test": "x", "y": 1}}),
                "scripts",
                json!({"test": "x"}),
            ),
            (
                json!({"author": "A B <a@b.example> (https://a.example)"}),
                "author",
                json!({"name": "A B", "email": "a@b.example", "url": "https://a.example"}),
            ),
            (
                json!({"repository": "npm/cli"}),
                "repository",
                json!({"type": "git", "url": "npm/cli"}),
            ),
            (json!({"keywords": "a, b"}), "keywords", json!(["a", "b"])),
            (
                json!({"bugs": "a@b.example"}),
                "bugs",
                json!({"email": "a@b.example"}),
            ),
            (
                json!({"funding": "https://a.example"}),
                "funding",
                json!({"url": "https://a.example"}),
            ),
        ] {
            assert_eq!(
                mended(written.clone()).get(key),
                Some(&expected),
                "{written}"
            );
        }
        for (written, key) in [
            (json!({"bin": {}}), "bin"),
            (json!({"bin": "/"}), "bin"),
            (json!({"dependencies": {}}), "dependencies"),
            (json!({"dependencies": false}), "dependencies"),
            (json!({"scripts": "x"}), "scripts"),
            (json!({"_id": "x"}), "_id"),
            (json!({"dist": {"tarball": "https://evil.example"}}), "dist"),
            (json!({"deprecated": "no"}), "deprecated"),
            (json!({"bundleDependencies": false}), "bundleDependencies"),
        ] {
            assert_eq!(mended(written.clone()).get(key), None, "{written}");
        }
    }

    #[test]
    fn files_mean_something_to_npm() {
        let gyp = Seen { gyp: true };
        let scripts = |value: Value| with_files(value, &[], &gyp).get("scripts").cloned();
        assert_eq!(scripts(json!({})), Some(json!({"install": GYP})));
        assert_eq!(
            scripts(json!({"scripts": {"preinstall": "x"}})),
            Some(json!({"preinstall": "x"}))
        );
        assert_eq!(scripts(json!({"gypfile": false})), None);
        let map = with_files(
            json!({"directories": {"bin": "./bin"}}),
            &["bin/a", "bin/sub/b.js", "bin/.c", "binary/d", "lib/e"],
            &Seen::default(),
        );
        assert_eq!(map["bin"], json!({"a": "bin/a", "b.js": "bin/sub/b.js"}));
    }

    #[test]
    fn mending_twice_changes_nothing() {
        let once = mended(json!({
            "name": " x ", "bin": "x/", "dependencies": ["a@1"], "bundledDependencies": true, "author": "A <b>",
            "repository": "a/b", "keywords": "x,y", "optionalDependencies": {"o": "1"},
        }));
        assert_eq!(
            mend(once.clone(), &BTreeSet::new(), &Seen::default()).unwrap(),
            once
        );
    }

    #[test]
    fn harmful_entries_are_refused() {
        for (value, code) in [
            (
                json!({"dependencies": {"../x": "1"}}),
                "package-json-dependency",
            ),
            (
                json!({"dependencies": {"a": "1\u{0}"}}),
                "package-json-dependency",
            ),
            (
                json!({"peerDependencies": {"a b": "1"}}),
                "package-json-dependency",
            ),
            (json!({"bin": {"constructor": "x"}}), "package-json-bin"),
            (json!({"bin": {"a\u{1b}[2J": "x"}}), "package-json-bin"),
        ] {
            let map = value.as_object().unwrap().clone();
            assert_eq!(
                mend(map, &BTreeSet::new(), &Seen::default())
                    .unwrap_err()
                    .code,
                code,
                "{value}"
            );
        }
        let many: Map<String, Value> = (0..10_001).map(|n| (format!("d{n}"), json!("1"))).collect();
        let map = json!({"dependencies": many}).as_object().unwrap().clone();
        assert_eq!(
            mend(map, &BTreeSet::new(), &Seen::default())
                .unwrap_err()
                .code,
            "package-json-too-large"
        );
    }

    #[test]
    fn two_keys_that_matter_are_refused_others_are_told() {
        let mut warnings = Vec::new();
        let read = |text: &str, warnings: &mut Vec<String>| {
            read(text.as_bytes(), &Limits::default(), warnings)
        };
        assert_eq!(
            read("{\"name\":\"a\",\"name\":\"b\"}", &mut warnings)
                .unwrap_err()
                .code,
            "package-json-duplicate-key"
        );
        assert!(read("\u{feff}{\"x\":1,\"x\":2}", &mut warnings).is_ok());
        assert_eq!(warnings.len(), 1);
        for text in [
            "[]",
            "",
            "{",
            "{\"__proto__\":1}",
            "{\"a\":{\"__proto__\":1}}",
        ] {
            assert_eq!(
                read(text, &mut warnings).unwrap_err().code,
                "package-json",
                "{text}"
            );
        }
    }

    #[test]
    fn dependencies_name_whom_they_mean() {
        let map = mended(json!({
            "dependencies": {"a": "npm:@S/Other@^1", "b": "npm:c", "d": "github:x/y"},
            "peerDependencies": {"p": "*", "q": "*"}, "peerDependenciesMeta": {"q": {"optional": true}},
        }));
        let found: Vec<_> = all_dependencies(&map)
            .iter()
            .map(|d| (d.name_key.to_string(), d.marker.clone()))
            .collect();
        let expected = [
            ("@s/other", ""),
            ("c", ""),
            ("d", ""),
            ("p", "peer"),
            ("q", "peer optional"),
        ];
        assert_eq!(
            found,
            expected.map(|(name, marker)| (name.to_owned(), marker.to_owned()))
        );
    }

    #[test]
    fn old_licences_become_one_text() {
        for (value, expected) in [
            (json!({"license": "MIT"}), Some("MIT")),
            (json!({"license": {"type": "BSD", "url": "x"}}), Some("BSD")),
            (
                json!({"licenses": [{"type": "MIT"}, {"type": "GPL"}]}),
                Some("MIT OR GPL"),
            ),
            (json!({"license": ""}), None),
            (json!({}), None),
        ] {
            assert_eq!(licence(value.as_object().unwrap()).as_deref(), expected);
        }
    }

    #[test]
    fn repositories_become_pages() {
        for (url, expected) in [
            ("npm/cli", Some("https://github.com/npm/cli")),
            (
                "git+https://git.example.org/a/b.git",
                Some("https://git.example.org/a/b"),
            ),
            ("javascript:alert(1)", None),
            ("https://a.example/\"><script>", None),
        ] {
            let package = Package {
                manifest: mended(json!({ "repository": url })),
                has_install_script: false,
                has_shrinkwrap: false,
                file_count: 0,
                seen: Seen::default(),
                readme_filename: None,
            };
            assert_eq!(package.repository().as_deref(), expected);
        }
        assert_eq!(bare_command("./node_modules/.bin/x y"), "x y");
        assert_eq!(bare_command("./node_modules/x"), "./node_modules/x");
    }
}
