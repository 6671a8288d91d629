//! Reads a tarball and says what it is.

use std::collections::BTreeSet;

use serde_json::{Map, Value};

use super::{
    name::PackageName,
    package::{self, Package, Seen},
    version,
};
use crate::{
    Artifact, Details, Ecosystem, Limits, Manifest, Rejection,
    archive::{self, MemberKind, read_member, tar},
    rejection::quoted,
};

/// What npm's tarballs are allowed beyond the strictest tar: folders of a packager whose disk shares
/// them by group, the commit that `git archive` notes, and harmless habits of tools that
/// packages have which everybody needs (`underscore`, `nopt`, `agent-base`). No links: npm leaves
/// them out, others do not.
const RULES: tar::Rules = tar::Rules {
    inner_symlinks: false,
    setgid_directories: true,
    global_comment: true,
    dot_parts: true,
    node_notes: true,
    zero_padding: true,
    same_twice: true,
};

/// The name under which a tarball is published, read from the `package.json` in it: files from elsewhere are named
/// otherwise (`npm pack` leaves out the slash of a scope, downloads leave out the scope).
///
/// # Errors
/// Refuses what can not be read as far as that, and what is no package.
pub fn tarball_name(artifact: &mut Artifact<'_>, limits: &Limits) -> Result<String, Rejection> {
    artifact.check_size(limits)?;
    let mut metadata = None;
    tar::check(
        artifact.bytes,
        artifact.size,
        limits,
        RULES,
        &mut |member, reader| {
            let is_metadata = member.kind == MemberKind::File
                && member
                    .path
                    .split_once('/')
                    .is_some_and(|(_, below)| below == "package.json");
            if is_metadata {
                metadata = Some(read_member(member, reader, limits.max_metadata)?);
            }
            Ok(())
        },
    )?;
    let metadata = metadata.ok_or_else(no_metadata)?;
    let written = package::read(&metadata, limits, &mut Vec::new())?;
    let text = |key: &str| {
        written
            .get(key)
            .and_then(Value::as_str)
            .map(str::trim)
            .unwrap_or_default()
    };
    let version = version::parse(text("version"))?;
    Ok(PackageName::parse(text("name"))?.tarball(version.canonical()))
}

fn no_metadata() -> Rejection {
    Rejection::new(
        "package-json-missing",
        "The tarball has no package.json in its top folder.",
    )
    .with_remedy("Pack it with `npm pack`.")
}

/// See [`crate::Format::inspect`]. The package's folder may have any name, mostly `package`.
pub(super) fn inspect(artifact: &mut Artifact<'_>, limits: &Limits) -> Result<Manifest, Rejection> {
    artifact.check_size(limits)?;
    let mut metadata = None;
    let mut readme: Option<(String, Vec<u8>)> = None;
    let mut files = BTreeSet::new();
    let mut warnings = Vec::new();
    let summary = tar::check(
        artifact.bytes,
        artifact.size,
        limits,
        RULES,
        &mut |member, reader| {
            let Some((_, below)) = member.path.split_once('/') else {
                return Ok(());
            };
            if member.kind != MemberKind::File {
                return Ok(());
            }
            if below == "package.json" {
                metadata = Some(read_member(member, reader, limits.max_metadata)?);
            } else if is_readme(below)
                && readme
                    .as_ref()
                    .is_none_or(|(known, _)| preferred(below, known))
            {
                if member.size <= limits.max_metadata {
                    readme = Some((
                        below.to_owned(),
                        read_member(member, reader, limits.max_metadata)?,
                    ));
                } else {
                    warnings.push(format!(
                        "The file {} is too large to be shown.",
                        quoted(below)
                    ));
                }
            }
            files.insert(below.to_owned());
            Ok(())
        },
    )?;
    archive::refuse_zip_at_end(artifact)?;
    let metadata = metadata.ok_or_else(no_metadata)?;
    let written = package::read(&metadata, limits, &mut warnings)?;
    let text = |key: &str| {
        written
            .get(key)
            .and_then(Value::as_str)
            .map(str::trim)
            .unwrap_or_default()
    };
    let name = PackageName::parse(text("name"))?;
    let written_version = text("version").to_owned();
    let version = version::parse(&written_version)?;
    if version.canonical() != written_version {
        warnings.push(format!(
            "The version {} is published as {version}, as npm does.",
            quoted(&written_version)
        ));
    }
    let expected = name.tarball(version.canonical());
    if artifact.filename != expected {
        return Err(Rejection::new(
            "npm-filename",
            format!(
                "The tarball of {name} {version} is named {}, not {}.",
                quoted(artifact.filename),
                quoted(&expected)
            ),
        ));
    }
    let seen = Seen {
        gyp: files
            .iter()
            .any(|path| path.ends_with(".gyp") && !path.contains('/')),
    };
    let mut manifest = package::mend(written, &files, &seen)?;
    manifest.insert("name".to_owned(), Value::String(name.as_str().to_owned()));
    manifest.insert(
        "version".to_owned(),
        Value::String(version.canonical().to_owned()),
    );
    let mut package = Package {
        has_install_script: false,
        has_shrinkwrap: files.contains("npm-shrinkwrap.json"),
        file_count: files.len() as u64,
        seen,
        readme_filename: readme.as_ref().map(|(path, _)| path.clone()),
        manifest,
    };
    package.has_install_script = !package.install_scripts().is_empty();
    for path in missing_programs(&package.manifest, &files) {
        warnings.push(format!(
            "bin names the file {}, which is not in the tarball.",
            quoted(&path)
        ));
    }
    Ok(Manifest {
        warnings,
        unpacked_size: summary.unpacked,
        member_count: summary.members,
        ..common(
            artifact.filename,
            &name,
            written_version,
            &version,
            package,
            readme,
            metadata,
        )
    })
}

/// Whether a file in the package's folder is its README.
fn is_readme(path: &str) -> bool {
    let stem = path.split('.').next().unwrap_or(path);
    !path.contains('/') && stem.eq_ignore_ascii_case("readme")
}

/// Markdown before others, then by name, so that the order in the archive does not matter.
fn preferred(path: &str, known: &str) -> bool {
    let rank = |path: &str| (!is_markdown(path), path.to_owned());
    rank(path) < rank(known)
}

/// A text as a list shows it: control characters, of which a database takes not all, are blanks.
fn one_line(text: &str) -> String {
    let plain: String = text
        .chars()
        .map(|c| if c.is_control() { ' ' } else { c })
        .collect();
    plain.trim().to_owned()
}

fn is_markdown(path: &str) -> bool {
    path.rsplit_once('.').is_some_and(|(_, end)| {
        ["md", "markdown", "mkd", "mdown"]
            .iter()
            .any(|known| end.eq_ignore_ascii_case(known))
    })
}

fn missing_programs(manifest: &Map<String, Value>, files: &BTreeSet<String>) -> Vec<String> {
    let Some(Value::Object(programs)) = manifest.get("bin") else {
        return Vec::new();
    };
    programs
        .values()
        .filter_map(Value::as_str)
        .filter(|path| {
            // Node.js finds `cli` as `cli.js` and as `cli/index.js` too.
            let path = path.trim_end_matches('/');
            !files.contains(path)
                && !files.contains(&format!("{path}.js"))
                && !files.contains(&format!("{path}/index.js"))
        })
        .take(10)
        .map(str::to_owned)
        .collect()
}

fn common(
    filename: &str,
    name: &PackageName,
    written_version: String,
    version: &crate::Version,
    package: Package,
    readme: Option<(String, Vec<u8>)>,
    metadata_bytes: Vec<u8>,
) -> Manifest {
    let map = &package.manifest;
    let text = |key: &str| map.get(key).and_then(Value::as_str).map(str::to_owned);
    let author = |key: &str| {
        map.get("author")
            .and_then(|author| author.get(key))
            .and_then(Value::as_str)
            .map(str::to_owned)
    };
    let keywords: Vec<&str> = match map.get("keywords") {
        Some(Value::Array(words)) => words.iter().filter_map(Value::as_str).collect(),
        _ => Vec::new(),
    };
    let licence = package::licence(map);
    let is_expression = licence
        .as_deref()
        .is_some_and(|text| spdx::Expression::parse(text).is_ok());
    let repository = package.repository();
    let content_type =
        readme
            .as_ref()
            .map(|(path, _)| match is_markdown(path) || !path.contains('.') {
                true => "text/markdown",
                false => "text/plain",
            });
    Manifest {
        ecosystem: Ecosystem::Npm,
        name: name.as_str().to_owned(),
        name_key: name.key(),
        version: written_version,
        version_canonical: version.canonical().to_owned(),
        version_key: version.key().to_owned(),
        filename: filename.to_owned(),
        filetype: "npm".to_owned(),
        python_tag: String::new(),
        metadata_version: String::new(),
        requires_python: None,
        // One line. What stands in package.json is kept as it is, escaped in JSON.
        summary: text("description").map(|text| one_line(&text)),
        description: readme.map(|(_, bytes)| String::from_utf8_lossy(&bytes).into_owned()),
        description_content_type: content_type.map(str::to_owned),
        license: licence.clone().filter(|_| !is_expression),
        license_expression: licence.filter(|_| is_expression),
        license_files: Vec::new(),
        author: author("name"),
        author_email: author("email"),
        maintainer: None,
        maintainer_email: None,
        keywords: (!keywords.is_empty()).then(|| keywords.join(",")),
        home_page: text("homepage"),
        download_url: None,
        classifiers: Vec::new(),
        project_urls: package::links(map, repository.as_deref()),
        dependencies: package::all_dependencies(map),
        provides_extra: Vec::new(),
        other_fields: Vec::new(),
        metadata_bytes,
        warnings: Vec::new(),
        unpacked_size: 0,
        member_count: 0,
        details: Details::Npm(Box::new(package)),
    }
}
