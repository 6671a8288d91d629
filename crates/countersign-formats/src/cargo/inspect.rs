//! Reads a `.crate` and says what it is.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use super::{
    dependency::{CrateDependency, Kind},
    features::{self, Features},
    manifest::{CargoToml, Readme},
    name, version,
};
use crate::{
    Artifact, Dependency, Details, Ecosystem, Limits, Manifest, Rejection,
    archive::{self, MemberKind, Summary, read_member, tar},
    rejection::quoted,
};

/// Largest `.cargo_vcs_info.json`.
const MAX_VCS: u64 = 64 << 10;
/// Most files called README that are held while the manifest is not yet known.
const MAX_READMES: usize = 8;

/// What a crate says beyond the common fields of a [`Manifest`].
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct CrateDetails {
    /// Edition of the language.
    pub edition: Option<String>,
    /// Oldest Rust that the author promises.
    pub rust_version: Option<String>,
    /// The native library that this crate alone links.
    pub links: Option<String>,
    /// Features, as written.
    pub features: Features,
    /// Dependencies of all kinds, with the registry of each said outright.
    pub dependencies: Vec<CrateDependency>,
    /// Whether other crates can use it.
    pub library: bool,
    /// Whether it runs inside the compiler of whoever uses it.
    pub proc_macro: bool,
    /// Whether it runs a program while it is built.
    pub build_script: bool,
    /// Names of its programs.
    pub binaries: Vec<String>,
    /// Path of the file that the description was read from.
    pub readme_file: Option<String>,
    /// The commit that cargo noted when it packaged. The packager's word, no proof.
    pub vcs: Option<Vcs>,
}

/// What `.cargo_vcs_info.json` says.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Vcs {
    /// The commit, in hex.
    pub sha1: String,
    /// Whether the tree had changes that were not in the commit.
    pub dirty: bool,
    /// Where in the repository the crate is; empty for its root.
    pub path_in_vcs: String,
}

/// See [`crate::Format::inspect`].
pub(super) fn inspect(artifact: &mut Artifact<'_>, limits: &Limits) -> Result<Manifest, Rejection> {
    artifact.check_size(limits)?;
    let Some(stem) = artifact.filename.strip_suffix(".crate") else {
        return Err(wrong_filename(artifact.filename));
    };
    if artifact.filename.len() > limits.max_filename {
        return Err(wrong_filename(artifact.filename));
    }
    let mut contents = Contents::default();
    let summary = tar::check(
        artifact.bytes,
        artifact.size,
        limits,
        tar::Rules::STRICT,
        &mut |member, reader| {
            let Some((top, below)) = member.path.split_once('/') else {
                if member.kind == MemberKind::Directory && member.path == stem {
                    return Ok(());
                }
                return Err(outside(member.path, stem));
            };
            if top != stem {
                return Err(outside(member.path, stem));
            }
            if member.kind == MemberKind::File {
                contents.add(below, member, reader, limits)?;
            }
            Ok(())
        },
    )?;
    archive::refuse_zip_at_end(artifact)?;
    let bytes = contents.manifest.take().ok_or_else(|| {
        let near = contents
            .files
            .iter()
            .find(|file| file.eq_ignore_ascii_case("Cargo.toml"));
        let why = match near {
            Some(file) => format!("The crate has {} and not Cargo.toml.", quoted(file)),
            None => format!("The crate lacks {}.", quoted(&format!("{stem}/Cargo.toml"))),
        };
        Rejection::new("manifest-missing", why).with_remedy("Make it with `cargo package`.")
    })?;
    let toml = CargoToml::parse(&bytes)?;
    if artifact.filename != filename(&toml.name, &toml.version) {
        return Err(Rejection::new(
            "crate-name",
            format!(
                "Cargo.toml says {} {}, the file name and the folder say {}.",
                quoted(&toml.name),
                toml.version,
                quoted(stem)
            ),
        )
        .with_remedy("Make it with `cargo package`, and do not rename it."));
    }
    let readme = contents.readme(artifact, &toml, stem, limits)?;
    manifest(artifact.filename, toml, bytes, contents, readme, &summary)
}

/// The file name of a crate.
pub(crate) fn filename(name: &str, version: &str) -> String {
    format!("{name}-{version}.crate")
}

fn wrong_filename(filename: &str) -> Rejection {
    Rejection::new(
        "crate-filename",
        format!("{} is no file name of a crate.", quoted(filename)),
    )
    .with_remedy("Name it NAME-VERSION.crate, as `cargo package` does.")
}

fn outside(path: &str, stem: &str) -> Rejection {
    Rejection::new(
        "archive-top-directory",
        format!("{} is not in the folder {}.", quoted(path), quoted(stem)),
    )
    .with_remedy("Make the crate with `cargo package`.")
}

/// What one pass over the archive collects. Paths are below the top folder.
#[derive(Default)]
struct Contents {
    manifest: Option<Vec<u8>>,
    vcs: Option<Vec<u8>>,
    /// Files called README, unless larger than the limit.
    readmes: BTreeMap<String, Vec<u8>>,
    files: BTreeSet<String>,
}

impl Contents {
    fn add(
        &mut self,
        below: &str,
        member: &archive::Member<'_>,
        reader: &mut dyn std::io::Read,
        limits: &Limits,
    ) -> Result<(), Rejection> {
        self.files.insert(below.to_owned());
        let readme = below
            .get(..6)
            .is_some_and(|start| start.eq_ignore_ascii_case("readme"))
            && !below.contains('/');
        match below {
            "Cargo.toml" => self.manifest = Some(read_member(member, reader, limits.max_metadata)?),
            ".cargo_vcs_info.json" if member.size <= MAX_VCS => {
                self.vcs = Some(read_member(member, reader, MAX_VCS)?);
            }
            _ if readme
                && member.size <= limits.max_metadata
                && self.readmes.len() < MAX_READMES =>
            {
                let bytes = read_member(member, reader, limits.max_metadata)?;
                self.readmes.insert(below.to_owned(), bytes);
            }
            _ => {}
        }
        Ok(())
    }

    /// Path and bytes of the file with the long description, when it is there and not too large.
    fn readme(
        &mut self,
        artifact: &mut Artifact<'_>,
        toml: &CargoToml,
        stem: &str,
        limits: &Limits,
    ) -> Result<Option<(String, Vec<u8>)>, Rejection> {
        let path = match &toml.readme {
            Readme::No => return Ok(None),
            Readme::Usual => ["README.md", "README.txt", "README"]
                .into_iter()
                .find(|name| self.files.contains(*name))
                .map(str::to_owned),
            Readme::At(path) => Some(path.clone()),
        };
        let Some(path) = path.filter(|path| self.files.contains(path)) else {
            return Ok(None);
        };
        if let Some(bytes) = self.readmes.remove(&path) {
            return Ok(Some((path, bytes)));
        }
        // Somewhere else in the archive, which was not known when it went by.
        let wanted = format!("{stem}/{path}");
        let mut found = None;
        tar::check(
            artifact.bytes,
            artifact.size,
            limits,
            tar::Rules::STRICT,
            &mut |member, reader| {
                if member.path == wanted && member.size <= limits.max_metadata {
                    found = Some(read_member(member, reader, limits.max_metadata)?);
                }
                Ok(())
            },
        )?;
        Ok(found.map(|bytes| (path, bytes)))
    }
}

/// The description as text; none, with a warning, when it is no text that can be stored and shown.
fn description(bytes: Vec<u8>, path: &str, warnings: &mut Vec<String>) -> Option<String> {
    match String::from_utf8(bytes) {
        Ok(text) if !text.contains('\0') => Some(text),
        _ => {
            warnings.push(format!(
                "{} is not UTF-8 text and is not shown.",
                quoted(path)
            ));
            None
        }
    }
}

fn content_type(path: &str) -> &'static str {
    let extension = path.rsplit_once('.').map_or("", |(_, extension)| extension);
    match extension.to_ascii_lowercase().as_str() {
        "md" | "markdown" | "mdown" | "mkdn" => "text/markdown",
        _ => "text/plain",
    }
}

fn vcs(bytes: &[u8]) -> Option<Vcs> {
    #[derive(Deserialize)]
    struct Info {
        git: Git,
        #[serde(default)]
        path_in_vcs: String,
    }
    #[derive(Deserialize)]
    struct Git {
        sha1: String,
        #[serde(default)]
        dirty: bool,
    }
    let info: Info = serde_json::from_slice(bytes).ok()?;
    let sha1 = info.git.sha1;
    let is_commit = matches!(sha1.len(), 40 | 64) && sha1.bytes().all(|b| b.is_ascii_hexdigit());
    let is_path = info.path_in_vcs.len() <= 1024 && !info.path_in_vcs.chars().any(char::is_control);
    (is_commit && is_path).then(|| Vcs {
        sha1: sha1.to_ascii_lowercase(),
        dirty: info.git.dirty,
        path_in_vcs: info.path_in_vcs,
    })
}

/// The SPDX expression that a licence text is; cargo's own form with a slash counts as `OR`.
fn license_expression(text: &str) -> Option<String> {
    let expression = text.replace('/', " OR ");
    let expression = expression.split_whitespace().collect::<Vec<_>>().join(" ");
    spdx::Expression::parse(&expression)
        .is_ok()
        .then_some(expression)
}

/// Programs that are found by their files: `src/main.rs` and what lies in `src/bin`.
fn found_binaries(files: &BTreeSet<String>, name: &str) -> Vec<String> {
    let mut found = Vec::new();
    if files.contains("src/main.rs") {
        found.push(name.to_owned());
    }
    for file in files.range("src/bin/".to_owned()..) {
        let Some(rest) = file.strip_prefix("src/bin/") else {
            break;
        };
        let program = match rest.split_once('/') {
            Some((folder, "main.rs")) => Some(folder),
            Some(_) => None,
            None => rest.strip_suffix(".rs"),
        };
        found.extend(program.map(str::to_owned));
    }
    found
}

/// What pages and search know of any ecosystem's dependency.
fn common(dependency: &CrateDependency, features: &Features) -> Result<Dependency, Rejection> {
    let kind = match dependency.kind {
        Kind::Normal => None,
        kind => Some(kind.as_str()),
    };
    let marker: Vec<&str> = kind
        .into_iter()
        .chain(dependency.target.as_deref())
        .collect();
    Ok(Dependency {
        name_key: name::key(&dependency.package)?,
        requirement: format!("{} = \"{}\"", dependency.package, dependency.req),
        specifier: dependency.req.clone(),
        marker: marker.join("; "),
        extra: dependency
            .optional
            .then(|| features::only_way_to(features, dependency.name_in_toml()))
            .flatten()
            .map(str::to_owned),
    })
}

fn manifest(
    filename: &str,
    toml: CargoToml,
    bytes: Vec<u8>,
    contents: Contents,
    readme: Option<(String, Vec<u8>)>,
    summary: &Summary,
) -> Result<Manifest, Rejection> {
    let mut warnings = toml.warnings;
    let version = version::parse(&toml.version)?;
    let name_key = name::key(&toml.name)?;
    let dependencies = toml
        .dependencies
        .iter()
        .map(|dependency| common(dependency, &toml.features))
        .collect::<Result<_, _>>()?;
    let (readme_file, readme) = readme.unzip();
    if readme_file.is_none()
        && let Readme::At(path) = &toml.readme
    {
        warnings.push(format!(
            "The readme {} is not in the crate, or too large to be shown.",
            quoted(path)
        ));
    }
    let description_content_type = readme_file.as_deref().map(content_type);
    let description = readme.and_then(|bytes| {
        let path = readme_file.as_deref().unwrap_or_default();
        description(bytes, path, &mut warnings)
    });
    let license_expression = toml.license.as_deref().and_then(license_expression);
    match (&toml.license, &license_expression, &toml.license_file) {
        (Some(text), None, _) => {
            warnings.push(format!(
                "The licence {} is no SPDX expression.",
                quoted(text)
            ));
        }
        (None, _, None) => warnings
            .push("Cargo.toml names no licence: without one, nobody may use the crate.".to_owned()),
        _ => {}
    }
    if let Some(path) = &toml.license_file
        && !contents.files.contains(path.trim_start_matches("./"))
    {
        warnings.push(format!(
            "The licence file {} is not in the crate.",
            quoted(path)
        ));
    }
    if toml
        .description
        .as_deref()
        .unwrap_or_default()
        .trim()
        .is_empty()
    {
        warnings.push("Cargo.toml has no description.".to_owned());
    }
    let vcs = contents.vcs.as_deref().and_then(vcs);
    if contents.vcs.is_some() && vcs.is_none() {
        warnings.push(".cargo_vcs_info.json is not as cargo writes it.".to_owned());
    }
    let mut binaries = toml.binaries;
    if toml.autobins {
        binaries.extend(found_binaries(&contents.files, &toml.name));
    }
    binaries.sort_unstable();
    binaries.dedup();
    let links = [
        ("Homepage", toml.homepage),
        ("Documentation", toml.documentation),
        ("Repository", toml.repository),
    ];
    Ok(Manifest {
        ecosystem: Ecosystem::Cargo,
        name: toml.name,
        name_key,
        version: toml.version,
        version_canonical: version.canonical().to_owned(),
        version_key: version.key().to_owned(),
        filename: filename.to_owned(),
        filetype: "crate".to_owned(),
        python_tag: String::new(),
        metadata_version: String::new(),
        requires_python: None,
        summary: toml.description,
        description_content_type: description
            .as_ref()
            .and(description_content_type)
            .map(str::to_owned),
        description,
        license: match license_expression {
            Some(_) => None,
            None => toml.license,
        },
        license_expression,
        license_files: toml.license_file.into_iter().collect(),
        author: (!toml.authors.is_empty()).then(|| toml.authors.join(", ")),
        author_email: None,
        maintainer: None,
        maintainer_email: None,
        keywords: (!toml.keywords.is_empty()).then(|| toml.keywords.join(",")),
        home_page: None,
        download_url: None,
        classifiers: toml.categories,
        project_urls: links
            .into_iter()
            .filter_map(|(label, url)| Some((label.to_owned(), url?)))
            .collect(),
        dependencies,
        provides_extra: toml.features.keys().cloned().collect(),
        other_fields: Vec::new(),
        metadata_bytes: bytes,
        warnings,
        unpacked_size: summary.unpacked,
        member_count: summary.members,
        details: Details::Cargo(Box::new(CrateDetails {
            edition: toml.edition,
            rust_version: toml.rust_version,
            links: toml.links,
            features: toml.features,
            dependencies: toml.dependencies,
            library: toml
                .library
                .unwrap_or_else(|| contents.files.contains("src/lib.rs")),
            proc_macro: toml.proc_macro,
            build_script: match toml.build.as_deref() {
                Some(path) => !path.is_empty(),
                None => contents.files.contains("build.rs"),
            },
            binaries,
            readme_file,
            vcs,
        })),
    })
}
