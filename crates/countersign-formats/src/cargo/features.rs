//! Features: which cargo can read, and on which of the two lists of an index line they stand.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};

use super::CrateDependency;
use crate::{Rejection, rejection::quoted};

/// Most features, and most values of all of them. The largest real crates have some two thousand.
const MAX_FEATURES: usize = 5_000;
const MAX_VALUES: usize = 50_000;
/// Longest name of a feature, and longest value, which may name a crate too.
const MAX_FEATURE: usize = 128;
const MAX_VALUE: usize = 256;

/// Features by name, with what each turns on.
pub type Features = BTreeMap<String, Vec<String>>;

/// A value as cargo takes it apart.
enum Value<'a> {
    /// `feature`, or the optional dependency of that name.
    Feature(&'a str),
    /// `dep:name`
    Dependency(&'a str),
    /// `name/feature`, or `name?/feature`, which is weak.
    Of {
        name: &'a str,
        feature: &'a str,
        weak: bool,
    },
}

impl<'a> Value<'a> {
    fn new(text: &'a str) -> Self {
        match text.split_once('/') {
            Some((name, feature)) => match name.strip_suffix('?') {
                Some(name) => Value::Of {
                    name,
                    feature,
                    weak: true,
                },
                None => Value::Of {
                    name,
                    feature,
                    weak: false,
                },
            },
            None => match text.strip_prefix("dep:") {
                Some(name) => Value::Dependency(name),
                None => Value::Feature(text),
            },
        }
    }
}

/// Whether `name` can be a feature. Cargo allows letters of all scripts; we do not, as in names.
pub(super) fn is_name(name: &str) -> bool {
    let first = |b: &u8| b.is_ascii_alphanumeric() || *b == b'_';
    name.len() <= MAX_FEATURE
        && name.as_bytes().first().is_some_and(first)
        && name
            .bytes()
            .all(|b| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'-' | b'+' | b'.'))
}

/// Holds features against the dependencies as cargo does when it reads an index line: what it would
/// not understand would be a version that nobody can use.
pub(super) fn check(
    features: &Features,
    dependencies: &[CrateDependency],
) -> Result<(), Rejection> {
    let values: usize = features.values().map(Vec::len).sum();
    if features.len() > MAX_FEATURES || values > MAX_VALUES {
        return Err(Rejection::new(
            "features-too-many",
            format!(
                "The crate has more than {MAX_FEATURES} features, or {MAX_VALUES} values of them."
            ),
        ));
    }
    if let Some(name) = features.keys().find(|name| !is_name(name)) {
        return Err(Rejection::new(
            "feature-name",
            format!("{} cannot be the name of a feature.", quoted(name)),
        )
        .with_remedy(
            "Use ASCII letters, digits, '_', '-', '+' and '.', with a letter, digit or '_' first.",
        ));
    }
    // Whether a dependency of that name is optional anywhere.
    let mut optional: HashMap<&str, bool> = HashMap::new();
    for dependency in dependencies {
        *optional.entry(dependency.name_in_toml()).or_default() |= dependency.optional;
    }
    let named: HashSet<&str> = features
        .values()
        .flatten()
        .filter_map(|value| match Value::new(value) {
            Value::Dependency(name) => Some(name),
            _ => None,
        })
        .collect();
    // An optional dependency is a feature by itself unless something says `dep:` or has its name.
    let implicit = |name: &str| {
        optional.get(name) == Some(&true) && !named.contains(name) && !features.contains_key(name)
    };
    let mut reached: BTreeSet<&str> = named.iter().copied().collect();
    for (feature, values) in features {
        for value in values {
            let bad = |why: &str| {
                Rejection::new(
                    "feature-value",
                    format!(
                        "The feature {} includes {}, {why}.",
                        quoted(feature),
                        quoted(value)
                    ),
                )
            };
            if value.len() > MAX_VALUE {
                return Err(bad("which is too long"));
            }
            match Value::new(value) {
                Value::Feature(name) => {
                    if !features.contains_key(name) && !implicit(name) {
                        return Err(bad(
                            "which is neither a feature nor an optional dependency with a feature of its own",
                        ));
                    }
                }
                Value::Dependency(name) => {
                    if optional.get(name) != Some(&true) {
                        return Err(bad("which is no optional dependency"));
                    }
                }
                Value::Of {
                    name,
                    feature,
                    weak,
                } => {
                    if !is_name(feature) {
                        return Err(bad("which names no possible feature"));
                    }
                    match optional.get(name) {
                        None => return Err(bad("which names no dependency")),
                        Some(false) if weak => {
                            return Err(bad("with '?', but the dependency is not optional"));
                        }
                        Some(_) => {}
                    }
                    reached.insert(name);
                }
            }
        }
    }
    let lost = dependencies
        .iter()
        .filter(|dependency| dependency.optional)
        .map(CrateDependency::name_in_toml)
        .find(|name| !reached.contains(name) && !implicit(name));
    if let Some(name) = lost {
        return Err(Rejection::new(
            "feature-value",
            format!(
                "The optional dependency {} is included in no feature.",
                quoted(name)
            ),
        )
        .with_remedy(format!("Add \"dep:{name}\" to a feature.")));
    }
    Ok(())
}

/// Parts features into those that every cargo understands and those that need `v: 2` of the index:
/// values with `dep:` or `?/`, and whatever includes such a feature.
pub(super) fn split(features: &Features) -> (Features, Features) {
    let is_new = |value: &String| value.starts_with("dep:") || value.contains("?/");
    let mut included_by: HashMap<&str, Vec<&str>> = HashMap::new();
    for (feature, values) in features {
        for value in values {
            included_by.entry(value).or_default().push(feature);
        }
    }
    let mut waiting: Vec<&str> = features
        .iter()
        .filter(|(_, values)| values.iter().any(is_new))
        .map(|(feature, _)| feature.as_str())
        .collect();
    let mut moved: HashSet<&str> = HashSet::new();
    while let Some(feature) = waiting.pop() {
        if moved.insert(feature) {
            waiting.extend(included_by.get(feature).into_iter().flatten());
        }
    }
    features
        .clone()
        .into_iter()
        .partition(|(feature, _)| !moved.contains(feature.as_str()))
}

/// The one feature that brings in an optional dependency, when there is exactly one.
pub(super) fn only_way_to<'a>(features: &'a Features, name: &'a str) -> Option<&'a str> {
    let mut ways = features
        .iter()
        .filter(|(_, values)| {
            values.iter().any(|value| match Value::new(value) {
                Value::Dependency(dependency) => dependency == name,
                Value::Of {
                    name: dependency,
                    weak,
                    ..
                } => dependency == name && !weak,
                Value::Feature(_) => false,
            })
        })
        .map(|(feature, _)| feature.as_str());
    match (ways.next(), ways.next()) {
        (None, _) => Some(name),
        (Some(way), None) => Some(way),
        (Some(_), Some(_)) => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cargo::{Kind, Source};

    fn features(list: &[(&str, &[&str])]) -> Features {
        list.iter()
            .map(|(name, values)| {
                (
                    (*name).to_owned(),
                    values.iter().map(|value| (*value).to_owned()).collect(),
                )
            })
            .collect()
    }

    fn dependency(name: &str, optional: bool) -> CrateDependency {
        CrateDependency {
            package: name.to_owned(),
            alias: None,
            req: "^1".to_owned(),
            features: Vec::new(),
            optional,
            default_features: true,
            target: None,
            kind: Kind::Normal,
            source: Source::CratesIo,
        }
    }

    #[test]
    fn features_are_held_against_dependencies_as_cargo_does() {
        let deps = [dependency("must", false), dependency("may", true)];
        for (list, good) in [
            (&[][..], true),
            (&[("a", &["b"][..]), ("b", &[])][..], true),
            (&[("a", &["may"])], true),
            (&[("may", &["dep:may"])], true),
            (&[("a", &["dep:may"])], true),
            (&[("a", &["may/x"])], true),
            (&[("a", &["may?/x"])], true),
            (&[("a", &["must/x"])], true),
            (&[("a", &["must"])], false),
            (&[("a", &["gone"])], false),
            (&[("a", &["dep:must"])], false),
            (&[("a", &["dep:gone"])], false),
            (&[("a", &["must?/x"])], false),
            (&[("a", &["gone/x"])], false),
            (&[("a", &["dep:may/x"])], false),
            (&[("a", &["may/x/y"])], false),
            (&[("a", &["may/"])], false),
            (&[("a", &["dep:may"]), ("b", &["may"])], false),
            // A feature with the name of the dependency hides it, and nothing brings it in.
            (&[("may", &[])], false),
            (&[("dep:may", &[])], false),
            (&[("a/b", &[])], false),
            (&[("", &[])], false),
            (&[("\u{430}", &[])], false),
        ] {
            assert_eq!(check(&features(list), &deps).is_ok(), good, "{list:?}");
        }
    }

    #[test]
    fn what_includes_a_new_feature_is_new() {
        let all = features(&[
            ("default", &["std", "fancy"]),
            ("fancy", &["glue"]),
            ("glue", &["dep:glue"]),
            ("std", &["serde/std"]),
            ("weak", &["serde?/std"]),
            ("circle", &["round"]),
            ("round", &["circle", "weak"]),
        ]);
        let (old, new) = split(&all);
        assert_eq!(old.keys().collect::<Vec<_>>(), ["std"]);
        assert_eq!(
            new.keys().collect::<Vec<_>>(),
            ["circle", "default", "fancy", "glue", "round", "weak"]
        );
        assert_eq!(new["default"], ["std", "fancy"]);
    }

    #[test]
    fn too_many_features_are_refused_quickly() {
        let many: Features = (0..5_001)
            .map(|n| (format!("f{n}"), vec![format!("f{}", n + 1)]))
            .collect();
        assert_eq!(check(&many, &[]).unwrap_err().code, "features-too-many");
        let values = features(&[("a", &["a"; 50_001])]);
        assert_eq!(check(&values, &[]).unwrap_err().code, "features-too-many");
    }

    #[test]
    fn the_only_way_to_a_dependency() {
        let all = features(&[("a", &["dep:x", "y/f", "z?/f"]), ("b", &["y/g"])]);
        assert_eq!(only_way_to(&all, "x"), Some("a"));
        assert_eq!(only_way_to(&all, "y"), None);
        assert_eq!(only_way_to(&all, "z"), Some("z"));
    }
}
