//! What differs between two versions of a package, of what whoever lets one pass should see.

use serde_json::Value;

use super::Package;

/// One fact that differs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Change {
    /// Where in `package.json`: `dependencies.left-pad`, `scripts.postinstall`, `license`.
    pub what: String,
    /// What it was; `None` where it is new.
    pub before: Option<String>,
    /// What it is; `None` where it is gone.
    pub after: Option<String>,
}

/// Keys whose members are compared one by one.
const OBJECTS: [&str; 9] = [
    "scripts",
    "bin",
    "dependencies",
    "optionalDependencies",
    "peerDependencies",
    "devDependencies",
    "engines",
    "publishConfig",
    "repository",
];

/// Keys that are compared as a whole.
const WHOLE: [&str; 9] = [
    "main",
    "module",
    "exports",
    "license",
    "os",
    "cpu",
    "libc",
    "bundleDependencies",
    "gypfile",
];

fn text(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        other => other.to_string(),
    }
}

/// What differs, scripts and what is run first.
pub fn changes(before: &Package, after: &Package) -> Vec<Change> {
    let mut found = Vec::new();
    let mut differ = |what: String, before: Option<String>, after: Option<String>| {
        if before != after {
            found.push(Change {
                what,
                before,
                after,
            });
        }
    };
    let yes = |flag: bool| flag.then(|| "yes".to_owned());
    differ(
        "runs something at install".to_owned(),
        yes(before.has_install_script),
        yes(after.has_install_script),
    );
    for key in OBJECTS {
        let members = |package: &Package| {
            package
                .manifest
                .get(key)
                .and_then(Value::as_object)
                .cloned()
                .unwrap_or_default()
        };
        let (old, new) = (members(before), members(after));
        let mut names: Vec<&String> = old.keys().chain(new.keys()).collect();
        names.sort();
        names.dedup();
        for name in names {
            let of = |members: &serde_json::Map<String, Value>| members.get(name).map(text);
            differ(format!("{key}.{name}"), of(&old), of(&new));
        }
    }
    for key in WHOLE {
        let of = |package: &Package| package.manifest.get(key).map(text);
        differ(key.to_owned(), of(before), of(after));
    }
    differ(
        "files".to_owned(),
        Some(before.file_count.to_string()),
        Some(after.file_count.to_string()),
    );
    found
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::super::package::Seen;
    use super::*;

    fn package(manifest: Value, files: u64) -> Package {
        Package {
            manifest: manifest.as_object().cloned().unwrap_or_default(),
            has_install_script: manifest["scripts"]["postinstall"].is_string(),
            has_shrinkwrap: false,
            file_count: files,
            seen: Seen::default(),
            readme_filename: None,
        }
    }

    #[test]
    fn every_difference_that_matters_is_told_and_nothing_else() {
        let before = package(
            json!({"version": "1.0.0", "dependencies": {"a": "1", "b": "1"}, "license": "MIT"}),
            3,
        );
        assert_eq!(changes(&before, &before), []);
        let after = package(
            json!({"version": "1.1.0", "dependencies": {"a": "2", "c": "1"}, "license": "MIT",
                "scripts": {"postinstall": "node x"}}),
            4,
        );
        let told: Vec<(String, Option<String>, Option<String>)> = changes(&before, &after)
            .into_iter()
            .map(|change| (change.what, change.before, change.after))
            .collect();
        let row = |what: &str, before: Option<&str>, after: Option<&str>| {
            (
                what.to_owned(),
                before.map(str::to_owned),
                after.map(str::to_owned),
            )
        };
        assert_eq!(
            told,
            [
                row("runs something at install", None, Some("yes")),
                row("scripts.postinstall", None, Some("node x")),
                row("dependencies.a", Some("1"), Some("2")),
                row("dependencies.b", Some("1"), None),
                row("dependencies.c", None, Some("1")),
                row("files", Some("3"), Some("4")),
            ]
        );
    }
}
