//! The `Cargo.toml` of an archive: what cargo wrote when it packaged, with everything that depends on
//! the packager's machine or workspace resolved. Read by hand and not into cargo's own types, since
//! here each field has a bound and each ambiguity is a refusal.

use std::collections::HashMap;

use toml::{Table, Value};

use super::{
    dependency::{CrateDependency, Kind, Source},
    features::{self, Features},
    name, platform, version,
};
use crate::{Rejection, archive::path, rejection::quoted};

/// Most dependencies of one crate, over all kinds and platforms.
const MAX_DEPENDENCIES: usize = 1_000;
/// Most items of a list of texts such as authors.
const MAX_ITEMS: usize = 1_000;
/// Longest text: a description, an author, an address.
const MAX_TEXT: usize = 10_000;

/// A packaged `Cargo.toml`.
#[derive(Debug, Clone, PartialEq)]
pub struct CargoToml {
    /// The crate's name, as written.
    pub name: String,
    /// The version, as written.
    pub version: String,
    /// One or some lines.
    pub description: Option<String>,
    /// People.
    pub authors: Vec<String>,
    /// Home page; http or https.
    pub homepage: Option<String>,
    /// Documentation; http or https.
    pub documentation: Option<String>,
    /// Source; http or https.
    pub repository: Option<String>,
    /// Licence, mostly an SPDX expression.
    pub license: Option<String>,
    /// Path of the licence's text.
    pub license_file: Option<String>,
    /// Keywords.
    pub keywords: Vec<String>,
    /// Categories of the public registry.
    pub categories: Vec<String>,
    /// Where the long description is.
    pub readme: Readme,
    /// The native library that this crate alone links.
    pub links: Option<String>,
    /// Edition of the language.
    pub edition: Option<String>,
    /// Oldest Rust that the author promises.
    pub rust_version: Option<String>,
    /// Features, as written.
    pub features: Features,
    /// Dependencies of all kinds, in the order of kinds, platforms and names.
    pub dependencies: Vec<CrateDependency>,
    /// Whether there is a library; `None` when only the files say so.
    pub library: Option<bool>,
    /// Whether the library runs inside the compiler.
    pub proc_macro: bool,
    /// Names of the programs that are written down.
    pub binaries: Vec<String>,
    /// Whether further programs are found by their files.
    pub autobins: bool,
    /// The build script: a path, `Some("")` for none, `None` when only the files say so.
    pub build: Option<String>,
    /// What is odd but accepted.
    pub warnings: Vec<String>,
}

/// Where the long description is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Readme {
    /// In the first of the usual files that is there.
    Usual,
    /// Nowhere.
    No,
    /// In this file.
    At(String),
}

impl CargoToml {
    /// Reads the manifest of a packaged crate.
    ///
    /// # Errors
    /// Refuses what is no TOML, lacks name or version, leaves something to a workspace or to the
    /// configuration of the packager's cargo, says that it must not be published, and what cargo
    /// could not use from an index.
    pub fn parse(bytes: &[u8]) -> Result<Self, Rejection> {
        let text = std::str::from_utf8(bytes)
            .map_err(|_| Rejection::new("manifest-invalid", "Cargo.toml is not UTF-8."))?;
        let root: Table = toml::from_str(text).map_err(|error| {
            Rejection::new(
                "manifest-invalid",
                format!("Cargo.toml is not TOML: {}.", error.message()),
            )
        })?;
        let root = Section {
            table: &root,
            path: String::new(),
        };
        let package = match (root.table("package")?, root.table("project")?) {
            (Some(package), None) => package,
            // What cargo called it until 2015; such crates are still there.
            (None, Some(project)) => project,
            (Some(_), Some(_)) => {
                return Err(invalid("it has both [package] and [project]"));
            }
            (None, None) => return Err(invalid("it has no [package]")),
        };
        let required = |key: &str| {
            package
                .text(key)?
                .ok_or_else(|| invalid(&format!("[package] has no {key}")))
        };
        refuse_private(&package)?;
        let name = required("name")?;
        let version = required("version")?;
        name::key(&name)?;
        version::parse(&version)?;
        let mut warnings = Vec::new();
        let dependencies = dependencies(&root, &mut warnings)?;
        let features = root.features()?;
        features::check(&features, &dependencies)?;
        let lib = root.table("lib")?;
        let link = |key: &str| -> Result<Option<String>, Rejection> {
            match package.text(key)? {
                Some(url) if url.is_empty() => Ok(None),
                Some(url) if is_web_address(&url) => Ok(Some(url)),
                Some(url) => Err(Rejection::new(
                    "metadata-url",
                    format!("{key} = {} is no http or https address.", quoted(&url)),
                )
                .with_remedy("Write an address that begins with https://, or leave it out.")),
                None => Ok(None),
            }
        };
        Ok(Self {
            description: package.text("description")?,
            authors: package.texts("authors")?,
            homepage: link("homepage")?,
            documentation: link("documentation")?,
            repository: link("repository")?,
            license: package.text("license")?.filter(|text| !text.is_empty()),
            license_file: package
                .either("license-file", "license_file")
                .and_then(|key| package.text(key))?
                .filter(|text| !text.is_empty()),
            keywords: package.texts("keywords")?,
            categories: package.texts("categories")?,
            readme: readme(&package)?,
            links: links(&package)?,
            edition: package.text("edition")?,
            rust_version: rust_version(&package)?,
            library: lib.as_ref().map(|_| true).or(
                // Since 2024 cargo writes down what there is, and says that nothing is to be found.
                match package.flag("autolib")? {
                    Some(false) => Some(false),
                    _ => None,
                },
            ),
            proc_macro: match &lib {
                Some(lib) => lib.is_proc_macro()?,
                None => false,
            },
            binaries: root.binaries()?,
            autobins: package.flag("autobins")?.unwrap_or(true),
            build: match package.get("build") {
                None | Some(Value::Boolean(true)) => None,
                Some(Value::Boolean(false)) => Some(String::new()),
                // A list of scripts is a nightly feature.
                Some(Value::Array(list)) => Some(
                    list.first()
                        .and_then(Value::as_str)
                        .unwrap_or_default()
                        .to_owned(),
                ),
                Some(_) => package.text("build")?,
            },
            name,
            version,
            features,
            dependencies,
            warnings,
        })
    }
}

fn invalid(why: &str) -> Rejection {
    Rejection::new(
        "manifest-invalid",
        format!("Cargo.toml is not usable: {why}."),
    )
    .with_remedy("Package the crate with `cargo package`, which writes a complete Cargo.toml.")
}

/// `publish = false` is a promise of the author to themselves that the crate stays where it is.
fn refuse_private(package: &Section<'_>) -> Result<(), Rejection> {
    let private = match package.get("publish") {
        Some(Value::Boolean(may)) => !may,
        Some(Value::Array(registries)) => registries.is_empty(),
        Some(_) => return Err(invalid("publish is neither a truth value nor a list")),
        None => false,
    };
    if private {
        return Err(Rejection::new(
            "crate-private",
            "Cargo.toml says publish = false: the crate must not be published.",
        )
        .with_remedy("Remove the line if the crate is meant to be published."));
    }
    Ok(())
}

fn readme(package: &Section<'_>) -> Result<Readme, Rejection> {
    Ok(match package.get("readme") {
        None | Some(Value::Boolean(true)) => Readme::Usual,
        Some(Value::Boolean(false)) => Readme::No,
        Some(_) => match package.text("readme")? {
            Some(path) => Readme::At(path.strip_prefix("./").unwrap_or(&path).to_owned()),
            None => Readme::Usual,
        },
    })
}

fn links(package: &Section<'_>) -> Result<Option<String>, Rejection> {
    let links = package.text("links")?;
    if let Some(links) = &links
        && (links.is_empty() || links.len() > 256 || !links.bytes().all(|b| b.is_ascii_graphic()))
    {
        return Err(invalid(&format!(
            "links = {} names no native library",
            quoted(links)
        )));
    }
    Ok(links)
}

fn rust_version(package: &Section<'_>) -> Result<Option<String>, Rejection> {
    let rust_version = package.text("rust-version")?;
    if let Some(text) = &rust_version
        && !version::is_rust_version(text)
    {
        return Err(Rejection::new(
            "manifest-rust-version",
            format!("rust-version = {} is no version of Rust.", quoted(text)),
        )
        .with_remedy("Write up to three numbers, such as \"1.85\"."));
    }
    Ok(rust_version)
}

/// An address that may become a link on a page.
fn is_web_address(url: &str) -> bool {
    let rest = ["https://", "http://"].iter().find_map(|scheme| {
        let start = url.get(..scheme.len())?;
        start
            .eq_ignore_ascii_case(scheme)
            .then(|| &url[scheme.len()..])
    });
    rest.is_some_and(|rest| !rest.is_empty())
        && !url
            .chars()
            .any(|c| c.is_control() || c.is_whitespace() || path::is_direction_mark(c))
}

// Dependencies.

const KINDS: [(Kind, &str, &str); 3] = [
    (Kind::Normal, "dependencies", "dependencies"),
    (Kind::Dev, "dev-dependencies", "dev_dependencies"),
    (Kind::Build, "build-dependencies", "build_dependencies"),
];

fn dependencies(
    root: &Section<'_>,
    warnings: &mut Vec<String>,
) -> Result<Vec<CrateDependency>, Rejection> {
    let mut found = Vec::new();
    of_section(root, None, &mut found, warnings)?;
    if let Some(targets) = root.table("target")? {
        for platform in targets.table.keys() {
            let Some(section) = targets.table(platform)? else {
                continue;
            };
            let Some(normal) = platform::normal(platform) else {
                if section.table.is_empty() {
                    continue;
                }
                return Err(Rejection::new(
                    "dependency-target",
                    format!("{} is no platform that cargo can read.", quoted(platform)),
                )
                .with_remedy("Write a target triple or cfg(…)."));
            };
            of_section(&section, Some(&normal), &mut found, warnings)?;
        }
    }
    one_source_each(&found)?;
    Ok(found)
}

/// Cargo refuses a manifest in which one name stands for crates of two registries.
fn one_source_each(dependencies: &[CrateDependency]) -> Result<(), Rejection> {
    let mut sources = HashMap::new();
    for dependency in dependencies {
        let name = dependency.name_in_toml();
        let first = sources.entry(name).or_insert(&dependency.source);
        if **first != dependency.source {
            return Err(Rejection::new(
                "dependency-two-sources",
                format!(
                    "The dependency {} comes from {} and from {}.",
                    quoted(name),
                    first.url(),
                    dependency.source.url()
                ),
            )
            .with_remedy("Give one of them another name, with package = \"…\"."));
        }
    }
    Ok(())
}

fn of_section(
    section: &Section<'_>,
    target: Option<&str>,
    found: &mut Vec<CrateDependency>,
    warnings: &mut Vec<String>,
) -> Result<(), Rejection> {
    for (kind, dashed, underscored) in KINDS {
        let Some(table) = section.table(section.either(dashed, underscored)?)? else {
            continue;
        };
        for name in table.table.keys() {
            if found.len() == MAX_DEPENDENCIES {
                return Err(Rejection::new(
                    "dependencies-too-many",
                    format!("The crate has more than {MAX_DEPENDENCIES} dependencies."),
                ));
            }
            found.extend(dependency(&table, name, kind, target, warnings)?);
        }
    }
    Ok(())
}

/// Reads one dependency; none, when it only holds on the packager's machine and cargo leaves it out.
fn dependency(
    table: &Section<'_>,
    name: &str,
    kind: Kind,
    target: Option<&str>,
    warnings: &mut Vec<String>,
) -> Result<Option<CrateDependency>, Rejection> {
    let bad =
        |code, why: &str| Rejection::new(code, format!("The dependency {} {why}.", quoted(name)));
    let normalise = "Package the crate with `cargo package`, which resolves that.";
    let plain;
    let detail = match table.get(name) {
        Some(Value::String(req)) => {
            plain = Table::from_iter([("version".to_owned(), Value::String(req.clone()))]);
            Section {
                table: &plain,
                path: table.under(name),
            }
        }
        _ => table
            .table(name)?
            .ok_or_else(|| bad("dependency-invalid", "is neither a text nor a table"))?,
    };
    if detail.get("workspace").is_some() {
        return Err(bad("dependency-inherited", "is left to a workspace").with_remedy(normalise));
    }
    if detail.get("artifact").is_some() {
        return Err(bad(
            "dependency-artifact",
            "is an artifact dependency, which no stable cargo can use",
        ));
    }
    if detail.get("registry").is_some() {
        // The name means something in the packager's configuration only; guessing which registry
        // is meant is how a private name comes to be taken from the public one.
        return Err(bad(
            "dependency-registry-name",
            "names its registry by a word of the packager's own configuration",
        )
        .with_remedy(normalise));
    }
    let local = detail.get("path").is_some() || detail.get("git").is_some();
    let Some(written) = detail.text("version")? else {
        if local && kind == Kind::Dev {
            return Ok(None);
        }
        return Err(bad("dependency-wildcard", "has no version requirement")
            .with_remedy(format!("Write {name} = \"1.2\", say.")));
    };
    let req = version::requirement(&written)?;
    if req == "*" {
        return Err(bad(
            "dependency-wildcard",
            "takes any version (\"*\"), also one that breaks or harms it",
        )
        .with_remedy(format!("Write {name} = \"1.2\", say.")));
    }
    if local {
        warnings.push(format!(
            "The dependency {} stands with a path or git repository; from the registry it is taken by its version.",
            quoted(name)
        ));
    }
    let source = match detail.text("registry-index")? {
        // In a manifest, and only there, silence is crates.io.
        None => Source::CratesIo,
        Some(url) => Source::parse(&url)?,
    };
    let package = detail.text("package")?;
    name::key(name)?;
    if let Some(package) = &package {
        name::key(package)?;
    }
    let features = detail.texts("features")?;
    if let Some(feature) = features.iter().find(|feature| !is_asked_feature(feature)) {
        return Err(bad(
            "dependency-feature",
            &format!(
                "asks for the feature {}, which cannot exist",
                quoted(feature)
            ),
        ));
    }
    let optional = detail.flag("optional")?.unwrap_or(false);
    if optional && kind == Kind::Dev {
        return Err(bad(
            "dependency-invalid",
            "is a dev-dependency and optional",
        ));
    }
    let default_features = detail
        .either("default-features", "default_features")
        .and_then(|key| detail.flag(key))?
        .unwrap_or(true);
    Ok(Some(CrateDependency {
        alias: package.is_some().then(|| name.to_owned()),
        package: package.unwrap_or_else(|| name.to_owned()),
        req,
        features,
        optional,
        default_features,
        target: target.map(str::to_owned),
        kind,
        source,
    }))
}

/// A feature that a dependency is asked for: `name`, or `crate/name` as some old crates wrote.
pub(super) fn is_asked_feature(feature: &str) -> bool {
    let (first, rest) = feature.split_once('/').unwrap_or((feature, "x"));
    features::is_name(first.strip_suffix('?').unwrap_or(first)) && features::is_name(rest)
}

// TOML, with its places for messages.

/// A table and where it stands.
struct Section<'a> {
    table: &'a Table,
    path: String,
}

impl<'a> Section<'a> {
    fn get(&self, key: &str) -> Option<&'a Value> {
        self.table.get(key)
    }

    fn under(&self, key: &str) -> String {
        if self.path.is_empty() {
            key.to_owned()
        } else {
            format!("{}.{key}", self.path)
        }
    }

    fn wrong(&self, key: &str, expected: &str) -> Rejection {
        let inherited = self
            .get(key)
            .and_then(Value::as_table)
            .is_some_and(|table| table.contains_key("workspace"));
        if inherited {
            return invalid(&format!("{} is left to a workspace", self.under(key)));
        }
        invalid(&format!("{} is not {expected}", self.under(key)))
    }

    fn table(&self, key: &str) -> Result<Option<Section<'a>>, Rejection> {
        match self.get(key) {
            None => Ok(None),
            Some(Value::Table(table)) => Ok(Some(Section {
                table,
                path: self.under(key),
            })),
            Some(_) => Err(self.wrong(key, "a table")),
        }
    }

    fn text(&self, key: &str) -> Result<Option<String>, Rejection> {
        match self.get(key) {
            None => Ok(None),
            Some(Value::String(text)) => {
                if text.len() > MAX_TEXT {
                    return Err(self.wrong(key, "a text of at most 10,000 bytes"));
                }
                if text
                    .chars()
                    .any(|c| c.is_control() && !matches!(c, '\n' | '\r' | '\t'))
                {
                    return Err(self.wrong(key, "free of control characters"));
                }
                Ok(Some(text.clone()))
            }
            Some(_) => Err(self.wrong(key, "a text")),
        }
    }

    fn flag(&self, key: &str) -> Result<Option<bool>, Rejection> {
        match self.get(key) {
            None => Ok(None),
            Some(Value::Boolean(flag)) => Ok(Some(*flag)),
            Some(_) => Err(self.wrong(key, "true or false")),
        }
    }

    fn texts(&self, key: &str) -> Result<Vec<String>, Rejection> {
        let list = match self.get(key) {
            None => return Ok(Vec::new()),
            Some(Value::Array(list)) => list,
            Some(_) => return Err(self.wrong(key, "a list of texts")),
        };
        if list.len() > MAX_ITEMS {
            return Err(self.wrong(key, "a list of at most 1,000 texts"));
        }
        list.iter().map(|value| self.item(key, value)).collect()
    }

    fn item(&self, key: &str, value: &Value) -> Result<String, Rejection> {
        match value {
            Value::String(text)
                if text.len() <= MAX_TEXT
                    && !text
                        .chars()
                        .any(|c| c.is_control() && !matches!(c, '\n' | '\r' | '\t')) =>
            {
                Ok(text.clone())
            }
            _ => Err(self.wrong(key, "a list of plain texts")),
        }
    }

    /// Which of two spellings of a key is there. Cargo takes the first and warns; which one counts
    /// has changed over its versions, so both together are refused.
    fn either(
        &self,
        dashed: &'static str,
        underscored: &'static str,
    ) -> Result<&'static str, Rejection> {
        let both =
            dashed != underscored && self.get(dashed).is_some() && self.get(underscored).is_some();
        if both {
            return Err(invalid(&format!(
                "it has both {} and {}",
                self.under(dashed),
                self.under(underscored)
            )));
        }
        Ok(if self.get(underscored).is_some() {
            underscored
        } else {
            dashed
        })
    }

    fn features(&self) -> Result<Features, Rejection> {
        let Some(section) = self.table("features")? else {
            return Ok(Features::new());
        };
        section
            .table
            .iter()
            .map(|(name, values)| {
                let Value::Array(values) = values else {
                    return Err(section.wrong(name, "a list of texts"));
                };
                let values = values.iter().map(|value| section.item(name, value));
                Ok((name.clone(), values.collect::<Result<_, _>>()?))
            })
            .collect()
    }

    fn is_proc_macro(&self) -> Result<bool, Rejection> {
        let key = self.either("proc-macro", "proc_macro")?;
        let types = self.texts(self.either("crate-type", "crate_type")?)?;
        Ok(self.flag(key)?.unwrap_or(false) || types.iter().any(|kind| kind == "proc-macro"))
    }

    fn binaries(&self) -> Result<Vec<String>, Rejection> {
        let list = match self.get("bin") {
            None => return Ok(Vec::new()),
            Some(Value::Array(list)) => list,
            Some(_) => return Err(self.wrong("bin", "a list of tables")),
        };
        if list.len() > MAX_ITEMS {
            return Err(self.wrong("bin", "a list of at most 1,000 tables"));
        }
        let mut names = Vec::new();
        for program in list {
            let Value::Table(program) = program else {
                return Err(self.wrong("bin", "a list of tables"));
            };
            let program = Section {
                table: program,
                path: self.under("bin"),
            };
            names.extend(program.text("name")?);
        }
        Ok(names)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn parse(rest: &str) -> Result<CargoToml, Rejection> {
        CargoToml::parse(format!("[package]\nname = \"a\"\nversion = \"1.0.0\"\n{rest}").as_bytes())
    }

    fn code(rest: &str) -> &'static str {
        match parse(rest) {
            Ok(_) => "accepted",
            Err(rejection) => rejection.code,
        }
    }

    #[test]
    fn every_way_to_write_a_dependency_is_read_as_cargo_reads_it() {
        let base = CrateDependency {
            package: "b".to_owned(),
            alias: None,
            req: "^1.2".to_owned(),
            features: Vec::new(),
            optional: false,
            default_features: true,
            target: None,
            kind: Kind::Normal,
            source: Source::CratesIo,
        };
        let elsewhere = Source::Index("sparse+https://else.example/index/".to_owned());
        // Each choice on its own line of TOML, with what it changes; all combinations are tried.
        type Choice = (&'static str, fn(&mut CrateDependency));
        let choices: [&[Choice]; 6] = [
            &[
                ("", |_| {}),
                (
                    "registry-index = \"https://github.com/rust-lang/crates.io-index\"",
                    |_| {},
                ),
                (
                    "registry-index = \"sparse+https://else.example/index/\"",
                    |d| {
                        d.source = Source::Index("sparse+https://else.example/index/".to_owned());
                    },
                ),
            ],
            &[
                ("", |_| {}),
                ("package = \"real\"", |d| {
                    d.alias = Some("b".to_owned());
                    d.package = "real".to_owned();
                }),
            ],
            &[
                ("", |_| {}),
                ("optional = true", |d| d.optional = true),
                ("optional = false", |_| {}),
            ],
            &[
                ("", |_| {}),
                ("default-features = false", |d| d.default_features = false),
                ("default_features = false", |d| d.default_features = false),
                ("default-features = true", |_| {}),
            ],
            &[
                ("", |_| {}),
                ("features = [\"x\", \"y\"]", |d| {
                    d.features = vec!["x".to_owned(), "y".to_owned()];
                }),
            ],
            &[
                ("dependencies", |_| {}),
                ("dev-dependencies", |d| d.kind = Kind::Dev),
                ("dev_dependencies", |d| d.kind = Kind::Dev),
                ("build-dependencies", |d| d.kind = Kind::Build),
                ("build_dependencies", |d| d.kind = Kind::Build),
                ("target.'cfg(unix)'.dependencies", |d| {
                    d.target = Some("cfg(unix)".to_owned());
                }),
                ("target.x86_64-pc-windows-msvc.build-dependencies", |d| {
                    d.target = Some("x86_64-pc-windows-msvc".to_owned());
                    d.kind = Kind::Build;
                }),
            ],
        ];
        let total: usize = choices.iter().map(|choice| choice.len()).product();
        let mut foreign = 0;
        for number in 0..total {
            let mut rest = number;
            let picked: Vec<&Choice> = choices
                .iter()
                .map(|choice| {
                    let pick = &choice[rest % choice.len()];
                    rest /= choice.len();
                    pick
                })
                .collect();
            let mut expected = base.clone();
            let mut text = format!("[{}.b]\nversion = \"1.2\"\n", picked[5].0);
            for (line, change) in &picked {
                change(&mut expected);
                if !line.contains("dependencies") {
                    text.push_str(line);
                    text.push('\n');
                }
            }
            let found = parse(&text);
            if expected.optional && expected.kind == Kind::Dev {
                assert_eq!(found.unwrap_err().code, "dependency-invalid", "{text}");
                continue;
            }
            assert_eq!(found.unwrap().dependencies, [expected.clone()], "{text}");
            foreign += usize::from(expected.source == elsewhere);
        }
        assert_eq!(total, 3 * 2 * 3 * 4 * 2 * 7);
        assert!(foreign > 200, "{foreign}");
    }

    #[test]
    fn what_only_the_packager_could_resolve_is_refused() {
        for (text, expected) in [
            (
                "[dependencies]\nb = { version = \"1\", registry = \"private\" }",
                "dependency-registry-name",
            ),
            (
                "[dependencies]\nb = { workspace = true }",
                "dependency-inherited",
            ),
            ("[dependencies]\nb.workspace = true", "dependency-inherited"),
            (
                "[dependencies]\nb = { path = \"../b\" }",
                "dependency-wildcard",
            ),
            (
                "[dependencies]\nb = { git = \"https://x.example/b\" }",
                "dependency-wildcard",
            ),
            ("[build-dependencies]\nb = {}", "dependency-wildcard"),
            ("[dependencies]\nb = \"*\"", "dependency-wildcard"),
            (
                "[dependencies]\nb = { version = \"1\", artifact = \"bin\" }",
                "dependency-artifact",
            ),
            (
                "[dependencies]\nb = { version = \"1\", registry-index = \"private\" }",
                "dependency-registry",
            ),
            (
                "[dependencies]\nb = { version = \"1\", registry-index = \"file:///x\" }",
                "dependency-registry",
            ),
            (
                "[dependencies]\nb = { version = \"1\", registry-index = \"https://u:p@x.example/\" }",
                "dependency-registry",
            ),
            (
                "[dependencies]\nb = { version = \"one\" }",
                "dependency-requirement",
            ),
            ("[dependencies]\nb = { version = 1 }", "manifest-invalid"),
            ("[dependencies]\nb = 1", "manifest-invalid"),
            ("[dependencies]\n\"b/c\" = \"1\"", "name-invalid"),
            ("[dependencies]\n\"\u{430}\" = \"1\"", "name-invalid"),
            (
                "[dependencies]\nb = { version = \"1\", package = \"../b\" }",
                "name-invalid",
            ),
            (
                "[dependencies]\nb = { version = \"1\", features = [\"x y\"] }",
                "dependency-feature",
            ),
            (
                "[dependencies]\nb = { version = \"1\", features = \"x\" }",
                "manifest-invalid",
            ),
            (
                "[dependencies]\nb = { version = \"1\", default-features = false, default_features = true }",
                "manifest-invalid",
            ),
            ("[dev-dependencies]\n[dev_dependencies]", "manifest-invalid"),
            (
                "[target.'cfg('.dependencies]\nb = \"1\"",
                "dependency-target",
            ),
            ("[target.'cfg(']", "accepted"),
            ("[dev-dependencies]\nb = { path = \"../b\" }", "accepted"),
            (
                "[dependencies]\nb = { path = \"../b\", version = \"1\" }",
                "accepted",
            ),
            (
                "[dependencies]\nb = \"1\"\n[dev-dependencies]\nb = { version = \"1\", registry-index = \"https://x.example/\" }",
                "dependency-two-sources",
            ),
            (
                "[dependencies]\nb = \"1\"\n[dev-dependencies]\nb = \"2\"",
                "accepted",
            ),
            ("version.workspace = true", "manifest-invalid"),
            ("description = { workspace = true }", "manifest-invalid"),
            ("publish = false", "crate-private"),
            ("publish = []", "crate-private"),
            ("publish = [\"mine\"]", "accepted"),
            ("publish = \"no\"", "manifest-invalid"),
            ("homepage = \"javascript:alert(1)\"", "metadata-url"),
            ("homepage = \"https://\"", "metadata-url"),
            ("repository = \"https://x.example/a b\"", "metadata-url"),
            ("repository = \"HTTPS://x.example/\"", "accepted"),
            ("description = \"a\\u0000b\"", "manifest-invalid"),
            ("authors = [\"a\\u001bb\"]", "manifest-invalid"),
            ("rust-version = \"^1\"", "manifest-rust-version"),
            ("links = \"\"", "manifest-invalid"),
            ("[project]\nname = \"b\"", "manifest-invalid"),
            ("[features]\na = [\"gone\"]", "feature-value"),
            ("[features]\na = \"b\"", "manifest-invalid"),
            ("name = \"twice\"", "manifest-invalid"),
            (
                "[lib]\nproc-macro = true\nproc_macro = false",
                "manifest-invalid",
            ),
            ("[[bin]]\nname = 1", "manifest-invalid"),
        ] {
            assert_eq!(code(text), expected, "{text}");
        }
    }

    #[test]
    fn name_and_version_are_demanded_and_checked() {
        for (text, expected) in [
            ("", "manifest-invalid"),
            ("[package]\nname = \"a\"", "manifest-invalid"),
            ("[package]\nversion = \"1.0.0\"", "manifest-invalid"),
            ("package = 1", "manifest-invalid"),
            (
                "[package]\nname = \"a/b\"\nversion = \"1.0.0\"",
                "name-invalid",
            ),
            (
                "[package]\nname = \"a\"\nversion = \"1.0\"",
                "version-invalid",
            ),
            ("[project]\nname = \"a\"\nversion = \"1.0.0\"", "accepted"),
            (
                "\u{feff}[package]\nname = \"a\"\nversion = \"1.0.0\"",
                "accepted",
            ),
        ] {
            let found = CargoToml::parse(text.as_bytes());
            assert_eq!(
                found.map_or_else(|rejection| rejection.code, |_| "accepted"),
                expected,
                "{text}"
            );
        }
        assert_eq!(
            CargoToml::parse(b"\xff").unwrap_err().code,
            "manifest-invalid"
        );
    }

    #[test]
    fn depth_and_numbers_are_bounded() {
        let deep = format!("x = {}1{}", "[".repeat(50_000), "]".repeat(50_000));
        assert_eq!(code(&deep), "manifest-invalid");
        let many: String = (0..1_001).map(|n| format!("d{n} = \"1\"\n")).collect();
        assert_eq!(
            code(&format!("[dependencies]\n{many}")),
            "dependencies-too-many"
        );
        let long = format!("description = \"{}\"", "a".repeat(10_001));
        assert_eq!(code(&long), "manifest-invalid");
        let authors = format!("authors = [{}]", "\"a\",".repeat(1_001));
        assert_eq!(code(&authors), "manifest-invalid");
    }

    #[test]
    fn targets_are_read() {
        let found = parse(
            "autobins = false\nbuild = false\nautolib = false\n[lib]\ncrate-type = [\"proc-macro\"]\n[[bin]]\nname = \"tool\"\n",
        )
        .unwrap();
        assert_eq!(found.library, Some(true));
        assert!(found.proc_macro && !found.autobins);
        assert_eq!(found.binaries, ["tool"]);
        assert_eq!(found.build.as_deref(), Some(""));
        let found = parse("build = \"gen/build.rs\"\nautolib = false").unwrap();
        assert_eq!(found.library, Some(false));
        assert_eq!(found.build.as_deref(), Some("gen/build.rs"));
    }

    proptest! {
        #[test]
        fn never_panics(text in "\\PC{0,60}") {
            let _ = parse(&text);
            let _ = CargoToml::parse(text.as_bytes());
        }
    }
}
