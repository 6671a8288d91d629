//! Reads a wheel or sdist and says what it is.

use std::{
    collections::{BTreeMap, BTreeSet},
    io::{Read, SeekFrom},
};

use sha2::{Digest, Sha256, Sha384, Sha512};

use super::{
    filename::{self, DistFilename, SdistFilename, WheelFilename},
    metadata::CoreMetadata,
    name, record,
    record::{Algorithm, Found},
    version,
};
use crate::{
    Artifact, Details, Ecosystem, Limits, Manifest, Rejection,
    archive::{self, Member, MemberKind, Summary, read_member, tar, zip},
    rejection::quoted,
};

/// See [`crate::Format::inspect`].
pub(super) fn inspect(artifact: &mut Artifact<'_>, limits: &Limits) -> Result<Manifest, Rejection> {
    artifact.check_size(limits)?;
    match filename::parse(artifact.filename, limits)? {
        DistFilename::Wheel(parts) => wheel(artifact, &parts, limits),
        DistFilename::Sdist(parts) => sdist(artifact, &parts, limits),
    }
}

// Wheels.

/// What one pass over a wheel collects.
#[derive(Default)]
struct WheelContents {
    /// SHA-256 and size of every file.
    files: BTreeMap<String, ([u8; 32], u64)>,
    /// Top directories that end in `.dist-info` in any case.
    dist_infos: BTreeSet<String>,
    /// Files of dist-info that are read: path → bytes.
    control: BTreeMap<String, Vec<u8>>,
}

fn wheel(
    artifact: &mut Artifact<'_>,
    parts: &WheelFilename,
    limits: &Limits,
) -> Result<Manifest, Rejection> {
    refuse_tar_in_front(artifact)?;
    let mut contents = WheelContents::default();
    let summary = zip::check(
        artifact.bytes,
        artifact.size,
        limits,
        zip::Rules::default(),
        &mut |member, reader| contents.add(member, reader, limits),
    )?;
    let info = contents.dist_info(parts)?;
    let metadata_bytes = contents.take(&info, "METADATA")?;
    let wheel_bytes = contents.take(&info, "WHEEL")?;
    let record_bytes = contents.take(&info, "RECORD")?;
    let metadata = CoreMetadata::parse(&metadata_bytes, limits)?;
    let named = Named {
        name_key: parts.name_key.as_str(),
        version: &parts.version,
    };
    named.check(&metadata, "METADATA")?;
    let mut warnings = check_wheel_file(&wheel_bytes, parts)?;
    if let Some(bytes) = contents.control.get(&format!("{info}/entry_points.txt")) {
        check_entry_points(bytes)?;
    }
    let licences = |path: &str| {
        let below = format!("{info}/licenses/{path}");
        let flat = format!("{info}/{}", path.rsplit('/').next().unwrap_or(path));
        [below, format!("{info}/{path}"), flat]
            .iter()
            .any(|path| contents.files.contains_key(path))
    };
    check_licence_files(&metadata, licences, &mut warnings)?;
    check_record(artifact, &contents, &info, &record_bytes, limits)?;
    Ok(manifest(
        artifact.filename,
        &DistFilename::Wheel(parts.clone()),
        metadata,
        metadata_bytes,
        warnings,
        &summary,
    ))
}

impl WheelContents {
    fn add(
        &mut self,
        member: &Member<'_>,
        reader: &mut dyn Read,
        limits: &Limits,
    ) -> Result<(), Rejection> {
        let (top, below) = member.path.split_once('/').unwrap_or((member.path, ""));
        let in_info = top.to_ascii_lowercase().ends_with(".dist-info");
        if in_info && (member.kind == MemberKind::Directory || !below.is_empty()) {
            self.dist_infos.insert(top.to_owned());
        }
        if member.kind != MemberKind::File {
            return Ok(());
        }
        let wanted = match below {
            "METADATA" => Some(limits.max_metadata),
            "WHEEL" | "RECORD" | "entry_points.txt" => Some(limits.max_control_file),
            _ => None,
        };
        let digest: [u8; 32] = match wanted.filter(|_| in_info) {
            Some(max) => {
                let bytes = read_member(member, reader, max)?;
                let digest = Sha256::digest(&bytes).into();
                self.control.insert(member.path.to_owned(), bytes);
                digest
            }
            None => digest::<Sha256>(reader)?
                .try_into()
                .map_err(|_| no_digest())?,
        };
        self.files
            .insert(member.path.to_owned(), (digest, member.size));
        Ok(())
    }

    /// The one dist-info directory, named for the wheel.
    fn dist_info(&self, parts: &WheelFilename) -> Result<String, Rejection> {
        let mut found = self.dist_infos.iter();
        let (Some(info), None) = (found.next(), found.next()) else {
            let names: Vec<_> = self
                .dist_infos
                .iter()
                .map(|name| quoted(name))
                .take(3)
                .collect();
            return Err(Rejection::new(
                "wheel-dist-info",
                format!(
                    "A wheel has exactly one .dist-info directory; this one has {}{}{}.",
                    self.dist_infos.len(),
                    if names.is_empty() { "" } else { ": " },
                    names.join(", ")
                ),
            ));
        };
        let fits = info
            .strip_suffix(".dist-info")
            .and_then(|stem| stem.rsplit_once('-'))
            .is_some_and(|(name, version)| {
                name::key(name).is_ok_and(|key| key == parts.name_key)
                    && version::parse(version).is_ok_and(|version| version == parts.version)
            });
        if !fits {
            return Err(Rejection::new(
                "wheel-dist-info",
                format!(
                    "The directory {} does not belong to {} {}, for which the wheel is named.",
                    quoted(info),
                    parts.name_key,
                    parts.version
                ),
            ));
        }
        Ok(info.clone())
    }

    fn take(&mut self, info: &str, file: &str) -> Result<Vec<u8>, Rejection> {
        self.control
            .remove(&format!("{info}/{file}"))
            .ok_or_else(|| {
                Rejection::new(
                    "wheel-missing-file",
                    format!("The wheel lacks {}.", quoted(&format!("{info}/{file}"))),
                )
            })
    }
}

fn no_digest() -> Rejection {
    Rejection::new("wheel-record", "A digest has an impossible length.")
}

fn digest<D: Digest>(reader: &mut dyn Read) -> Result<Vec<u8>, Rejection> {
    let mut hasher = D::new();
    let mut buffer = [0; 32 << 10];
    loop {
        let read = reader
            .read(&mut buffer)
            .map_err(|error| archive::read_rejection(&error))?;
        if read == 0 {
            return Ok(hasher.finalize().to_vec());
        }
        hasher.update(&buffer[..read]);
    }
}

fn check_record(
    artifact: &mut Artifact<'_>,
    contents: &WheelContents,
    info: &str,
    bytes: &[u8],
    limits: &Limits,
) -> Result<(), Rejection> {
    let rows = record::parse(bytes)?;
    // SHA-256 was computed on the first pass; the others are rare enough for a second one.
    let other = |path: &str| {
        rows.get(path)
            .and_then(Option::as_ref)
            .map(|row| row.algorithm)
            .filter(|algorithm| *algorithm != Algorithm::Sha256)
    };
    let mut long: BTreeMap<String, Vec<u8>> = BTreeMap::new();
    if contents.files.keys().any(|path| other(path).is_some()) {
        zip::check(
            artifact.bytes,
            artifact.size,
            limits,
            zip::Rules::default(),
            &mut |member, reader| {
                let digest = match other(member.path) {
                    Some(Algorithm::Sha384) => digest::<Sha384>(reader)?,
                    Some(Algorithm::Sha512) => digest::<Sha512>(reader)?,
                    Some(Algorithm::Sha256) | None => return Ok(()),
                };
                long.insert(member.path.to_owned(), digest);
                Ok(())
            },
        )?;
    }
    let found = |path: &str, algorithm: Algorithm| {
        let (sha256, size) = contents.files.get(path)?;
        let digest = match algorithm {
            Algorithm::Sha256 => sha256.to_vec(),
            Algorithm::Sha384 | Algorithm::Sha512 => long.get(path)?.clone(),
        };
        Some(Found {
            digest,
            size: *size,
        })
    };
    record::verify(
        &rows,
        &format!("{info}/RECORD"),
        contents.files.keys().map(String::as_str),
        found,
    )
}

/// The WHEEL file: a known version, and the tags of the file name.
fn check_wheel_file(bytes: &[u8], parts: &WheelFilename) -> Result<Vec<String>, Rejection> {
    let text = std::str::from_utf8(bytes)
        .map_err(|_| Rejection::new("wheel-file", "The WHEEL file is not UTF-8."))?;
    let fields: Vec<(String, &str)> = text
        .lines()
        .filter_map(|line| line.split_once(':'))
        .map(|(name, value)| (name.trim().to_ascii_lowercase(), value.trim()))
        .collect();
    let values = |field: &'static str| {
        fields
            .iter()
            .filter(move |(name, _)| name == field)
            .map(|(_, value)| *value)
    };
    let version = values("wheel-version").next().unwrap_or_default();
    if version.split('.').next() != Some("1") {
        return Err(Rejection::new(
            "wheel-file",
            format!(
                "The wheel's format version {} is not known.",
                quoted(version)
            ),
        )
        .with_remedy("The WHEEL file should have \"Wheel-Version: 1.0\"."));
    }
    let mut tags = BTreeSet::new();
    for tag in values("tag") {
        // Old tools write compressed sets here too.
        let sets: Vec<Vec<&str>> = tag.split('-').map(|set| set.split('.').collect()).collect();
        let [python, abi, platform] = sets.as_slice() else {
            return Err(Rejection::new(
                "wheel-file",
                format!("The WHEEL file has the malformed tag {}.", quoted(tag)),
            ));
        };
        if python.len() * abi.len() * platform.len() > 4096 || tags.len() > 4096 {
            return Err(Rejection::new(
                "wheel-file",
                "The WHEEL file has too many tags.",
            ));
        }
        for python in python {
            for abi in abi {
                tags.extend(
                    platform
                        .iter()
                        .map(|platform| format!("{python}-{abi}-{platform}").to_ascii_lowercase()),
                );
            }
        }
    }
    let named = parts.tags();
    if tags == named {
        return Ok(Vec::new());
    }
    let list = |tags: &BTreeSet<String>| tags.iter().cloned().collect::<Vec<_>>().join(", ");
    let message = format!(
        "The WHEEL file has the tags {}, the file name {}.",
        list(&tags),
        list(&named)
    );
    // Wheels that carry ready-made programs are built as pure ones and renamed for the platform.
    // Installers go by the file name, so that a name which promises less than WHEEL is harmless.
    let covered = |tag: &String| {
        tag.rsplit_once('-')
            .is_some_and(|(rest, _)| tags.contains(&format!("{rest}-any")))
    };
    if named.iter().all(|tag| tags.contains(tag) || covered(tag)) {
        return Ok(vec![message]);
    }
    Err(Rejection::new("wheel-tags", message)
        .with_remedy("Rename wheels with `wheel tags`, which changes both."))
}

/// entry_points.txt: sections of `name = module:attribute`. Names of scripts become file names.
fn check_entry_points(bytes: &[u8]) -> Result<(), Rejection> {
    let bad = |line: &str, why: &str| {
        Rejection::new(
            "wheel-entry-points",
            format!("The line {} of entry_points.txt {why}.", quoted(line)),
        )
    };
    let text = std::str::from_utf8(bytes)
        .map_err(|_| Rejection::new("wheel-entry-points", "entry_points.txt is not UTF-8."))?;
    let mut section: Option<&str> = None;
    let mut names = BTreeSet::new();
    let mut in_value = false;
    for line in text.lines() {
        let trimmed = line.trim();
        if trimmed.is_empty() || trimmed.starts_with(['#', ';']) {
            continue;
        }
        if let Some(name) = trimmed.strip_prefix('[') {
            let name = name
                .strip_suffix(']')
                .ok_or_else(|| bad(line, "has no closing bracket"))?;
            section = Some(name.trim());
            in_value = false;
            continue;
        }
        if line.starts_with([' ', '\t']) && in_value {
            continue; // the value goes on
        }
        let section = section.ok_or_else(|| bad(line, "stands before any section"))?;
        let (name, value) = trimmed
            .split_once('=')
            .ok_or_else(|| bad(line, "is not \"name = module:attribute\""))?;
        let (name, value) = (name.trim(), value.trim());
        if name.is_empty() {
            return Err(bad(line, "has no name"));
        }
        in_value = true;
        if !names.insert((section, name)) {
            return Err(bad(line, "names an entry point for the second time"));
        }
        if section == "console_scripts" || section == "gui_scripts" {
            let plain = |c: char| !c.is_control() && !matches!(c, '/' | '\\' | ':');
            if !name.chars().all(plain) || name.starts_with('.') {
                return Err(bad(line, "has a script name that is no plain file name"));
            }
            if !is_object_reference(value) {
                return Err(bad(line, "does not point to module:attribute"));
            }
        }
    }
    Ok(())
}

/// `module.sub:object.attribute [extras]`
fn is_object_reference(value: &str) -> bool {
    let reference = value.split('[').next().unwrap_or_default().trim();
    let dotted = |text: &str| {
        text.split('.').all(|part| {
            !part.is_empty()
                && !part.starts_with(|c: char| c.is_ascii_digit())
                && part.chars().all(|c| c.is_alphanumeric() || c == '_')
        })
    };
    match reference.split_once(':') {
        Some((module, object)) => dotted(module.trim()) && dotted(object.trim()),
        None => dotted(reference),
    }
}

/// A wheel whose first block is a tar header would be a tar archive to other readers.
fn refuse_tar_in_front(artifact: &mut Artifact<'_>) -> Result<(), Rejection> {
    let mut block = Vec::new();
    artifact
        .bytes
        .seek(SeekFrom::Start(0))
        .and_then(|_| artifact.bytes.take(512).read_to_end(&mut block))
        .map_err(|error| Rejection::unreadable(&error))?;
    if block.get(257..262) == Some(b"ustar") {
        return Err(archive::polyglot("tar"));
    }
    Ok(())
}

// Source distributions.

/// What Python's sdists are allowed beyond the strictest tar, since refusing it protects nobody:
/// links within the tree (docutils has some), folders of a packager whose disk shares them by group,
/// and the commit that `git archive` notes.
const SDIST_RULES: tar::Rules = tar::Rules {
    inner_symlinks: true,
    setgid_directories: true,
    global_comment: true,
    ..tar::Rules::STRICT
};

fn sdist(
    artifact: &mut Artifact<'_>,
    parts: &SdistFilename,
    limits: &Limits,
) -> Result<Manifest, Rejection> {
    let mut top = None;
    let mut metadata_bytes = None;
    let mut files = BTreeSet::new();
    let summary = tar::check(
        artifact.bytes,
        artifact.size,
        limits,
        SDIST_RULES,
        &mut |member, reader| {
            let (first, below) = member.path.split_once('/').unwrap_or((member.path, ""));
            top.get_or_insert_with(|| first.to_owned());
            if member.kind == MemberKind::File && below == "PKG-INFO" {
                metadata_bytes = Some(read_member(member, reader, limits.max_metadata)?);
            }
            if member.kind != MemberKind::Directory {
                files.insert(below.to_owned());
            }
            Ok(())
        },
    )?;
    archive::refuse_zip_at_end(artifact)?;
    let top = top.unwrap_or_default();
    let fits = top.rsplit_once('-').is_some_and(|(name, version)| {
        name::key(name).is_ok_and(|key| key == parts.name_key)
            && version::parse(version).is_ok_and(|version| version == parts.version)
    });
    if !fits {
        return Err(Rejection::new(
            "sdist-top-directory",
            format!(
                "The top directory {} does not belong to {} {}, for which the file is named.",
                quoted(&top),
                parts.name_key,
                parts.version
            ),
        ));
    }
    let metadata_bytes = metadata_bytes.ok_or_else(|| {
        Rejection::new(
            "sdist-pkg-info",
            format!(
                "The source distribution lacks {}.",
                quoted(&format!("{top}/PKG-INFO"))
            ),
        )
        .with_remedy(
            "Build it with `python -m build --sdist` or `uv build --sdist`, not with a plain tar.",
        )
    })?;
    let metadata = CoreMetadata::parse(&metadata_bytes, limits)?;
    let named = Named {
        name_key: parts.name_key.as_str(),
        version: &parts.version,
    };
    named.check(&metadata, "PKG-INFO")?;
    let mut warnings = Vec::new();
    check_licence_files(&metadata, |path| files.contains(path), &mut warnings)?;
    Ok(manifest(
        artifact.filename,
        &DistFilename::Sdist(parts.clone()),
        metadata,
        metadata_bytes,
        warnings,
        &summary,
    ))
}

// Both.

/// What the file name says the metadata must say too.
struct Named<'a> {
    name_key: &'a str,
    version: &'a crate::Version,
}

impl Named<'_> {
    fn check(&self, metadata: &CoreMetadata, file: &str) -> Result<(), Rejection> {
        let written = metadata.get("name").unwrap_or_default();
        if name::key(written)?.as_str() != self.name_key {
            return Err(Rejection::new(
                "metadata-name",
                format!(
                    "{file} has the name {}, the file name {}.",
                    quoted(written),
                    quoted(self.name_key)
                ),
            ));
        }
        let written = metadata.get("version").unwrap_or_default();
        if version::parse(written)? != *self.version {
            return Err(Rejection::new(
                "metadata-version-differs",
                format!(
                    "{file} has the version {}, the file name {}.",
                    quoted(written),
                    self.version
                ),
            ));
        }
        Ok(())
    }
}

/// Licence files that the metadata names must be there since metadata 2.4; before, build tools
/// wrote the field without a specification, so that a missing one only earns a warning.
fn check_licence_files(
    metadata: &CoreMetadata,
    exists: impl Fn(&str) -> bool,
    warnings: &mut Vec<String>,
) -> Result<(), Rejection> {
    let specified = !["1.0", "1.1", "1.2", "2.0", "2.1", "2.2", "2.3"]
        .contains(&metadata.get("metadata-version").unwrap_or_default());
    for path in metadata.all("license-file") {
        if exists(path) {
            continue;
        }
        let message = format!(
            "The licence file {} is named in the metadata but not in the archive.",
            quoted(path)
        );
        if specified {
            return Err(Rejection::new("licence-file-missing", message));
        }
        warnings.push(message);
    }
    Ok(())
}

fn manifest(
    filename: &str,
    parts: &DistFilename,
    metadata: CoreMetadata,
    metadata_bytes: Vec<u8>,
    mut warnings: Vec<String>,
    summary: &Summary,
) -> Manifest {
    let one = |field: &str| metadata.get(field).map(str::to_owned);
    let all = |field: &str| metadata.all(field).map(str::to_owned).collect::<Vec<_>>();
    let text = |field: &str| one(field).unwrap_or_default();
    let mut manifest = Manifest {
        ecosystem: Ecosystem::Pypi,
        name: text("name"),
        name_key: parts.name_key().clone(),
        version: text("version"),
        version_canonical: parts.version().canonical().to_owned(),
        version_key: parts.version().key().to_owned(),
        filename: filename.to_owned(),
        filetype: parts.filetype().to_owned(),
        python_tag: parts.python_tag(),
        metadata_version: text("metadata-version"),
        requires_python: one("requires-python"),
        summary: one("summary"),
        description: metadata.description().map(str::to_owned),
        description_content_type: one("description-content-type"),
        license: one("license"),
        license_expression: one("license-expression"),
        license_files: all("license-file"),
        author: one("author"),
        author_email: one("author-email"),
        maintainer: one("maintainer"),
        maintainer_email: one("maintainer-email"),
        keywords: one("keywords"),
        home_page: one("home-page"),
        download_url: one("download-url"),
        classifiers: all("classifier"),
        project_urls: metadata.project_urls(),
        dependencies: metadata.dependencies(),
        provides_extra: all("provides-extra"),
        other_fields: metadata.others(),
        metadata_bytes,
        warnings: Vec::new(),
        unpacked_size: summary.unpacked,
        member_count: summary.members,
        details: Details::None,
    };
    warnings.extend(metadata.warnings);
    manifest.warnings = warnings;
    manifest
}
