//! Builders of real Python distributions, crates and npm packages, good by default: what they make installs with pip. Each breakage is a knob,
//! here for the metadata, in [`zip`] and [`tar`] for the containers; [`hostile()`] is the collection of attacks.

pub mod tar;
pub mod zip;

mod hostile;
mod other;

use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use sha2::{Digest as _, Sha256};

pub use self::hostile::hostile;
pub use self::other::{Crate, NpmPackage, framed};
use self::tar::TarArchive;
use self::zip::{ZipArchive, ZipMember};

/// A distribution file as an uploader holds it.
#[derive(Debug, Clone)]
pub struct Package {
    /// The name that the uploader gives it.
    pub filename: String,
    /// The file.
    pub bytes: Vec<u8>,
    /// The project's name, as the upload form states it.
    pub project: String,
    /// The release's version, as the upload form states it.
    pub version: String,
}

impl Package {
    /// Lower-case hex of its SHA-256.
    pub fn sha256(&self) -> String {
        hex::encode(Sha256::digest(&self.bytes))
    }

    /// Writes it into a folder under its name and returns the path.
    pub fn write_to(&self, folder: &Path) -> Result<PathBuf> {
        let path = folder.join(&self.filename);
        std::fs::write(&path, &self.bytes)
            .with_context(|| format!("cannot write {}", path.display()))?;
        Ok(path)
    }

    /// `bdist_wheel` or `sdist`, by the name.
    pub fn filetype(&self) -> &'static str {
        if self.filename.ends_with(".whl") {
            "bdist_wheel"
        } else {
            "sdist"
        }
    }

    /// The least upload form that goes with it; each test adds what it is about.
    pub fn form(&self) -> Vec<(&'static str, String)> {
        let python = if self.filetype() == "sdist" {
            "source"
        } else {
            "py3"
        };
        vec![
            (":action", "file_upload".into()),
            ("protocol_version", "1".into()),
            ("metadata_version", "2.1".into()),
            ("name", self.project.clone()),
            ("version", self.version.clone()),
            ("filetype", self.filetype().into()),
            ("pyversion", python.into()),
            ("sha256_digest", self.sha256()),
        ]
    }
}

/// The core metadata that both kinds of distribution carry.
#[derive(Debug, Clone)]
struct Metadata {
    name: String,
    version: String,
    lines: Vec<String>,
    description: String,
}

impl Metadata {
    fn new(name: &str, version: &str) -> Self {
        Self {
            name: name.into(),
            version: version.into(),
            lines: Vec::new(),
            description: String::new(),
        }
    }

    fn text(&self) -> String {
        let mut text = format!(
            "Metadata-Version: 2.1\nName: {}\nVersion: {}\n",
            self.name, self.version
        );
        for line in &self.lines {
            text.push_str(line);
            text.push('\n');
        }
        if !self.description.is_empty() {
            text.push_str("Description-Content-Type: text/markdown\n\n");
            text.push_str(&self.description);
        }
        text
    }
}

/// Builder of a wheel.
#[derive(Debug, Clone)]
pub struct Wheel {
    metadata: Metadata,
    project: String,
    version: String,
    tag: String,
    files: Vec<(String, Vec<u8>)>,
    dist_info: Option<String>,
    wheel_tag: Option<String>,
    without: Vec<&'static str>,
    record_changes: Vec<(String, Option<String>)>,
}

impl Wheel {
    /// A pure wheel with one module that knows its version.
    pub fn new(name: &str, version: &str) -> Self {
        let module = escape(name);
        Self {
            metadata: Metadata::new(name, version),
            project: name.into(),
            version: version.into(),
            tag: "py3-none-any".into(),
            files: vec![(
                format!("{module}/__init__.py"),
                format!("__version__ = {version:?}\n").into_bytes(),
            )],
            dist_info: None,
            wheel_tag: None,
            without: Vec::new(),
            record_changes: Vec::new(),
        }
    }

    /// Adds a `Requires-Dist`.
    pub fn requires(self, requirement: &str) -> Self {
        self.metadata_line(&format!("Requires-Dist: {requirement}"))
    }

    /// Sets the description, as Markdown.
    pub fn readme(mut self, text: &str) -> Self {
        self.metadata.description = text.into();
        self
    }

    /// Adds a line to METADATA as it is.
    pub fn metadata_line(mut self, line: &str) -> Self {
        self.metadata.lines.push(line.into());
        self
    }

    /// Adds a file; RECORD lists it.
    pub fn file(mut self, path: &str, content: impl Into<Vec<u8>>) -> Self {
        self.files.push((path.into(), content.into()));
        self
    }

    /// The compatibility tag, `py3-none-any` if not set.
    pub fn tag(mut self, tag: &str) -> Self {
        self.tag = tag.into();
        self
    }

    /// The name that METADATA states, if it is not the wheel's.
    pub fn metadata_name(mut self, name: &str) -> Self {
        self.metadata.name = name.into();
        self
    }

    /// The version that METADATA states, if it is not the wheel's.
    pub fn metadata_version(mut self, version: &str) -> Self {
        self.metadata.version = version.into();
        self
    }

    /// The tag that WHEEL states, if it is not the file name's.
    pub fn wheel_tag(mut self, tag: &str) -> Self {
        self.wheel_tag = Some(tag.into());
        self
    }

    /// Another name for the `.dist-info` folder.
    pub fn dist_info_named(mut self, folder: &str) -> Self {
        self.dist_info = Some(folder.into());
        self
    }

    /// Leaves out `METADATA`, `WHEEL` or `RECORD`.
    pub fn without(mut self, name: &'static str) -> Self {
        self.without.push(name);
        self
    }

    /// Takes a path out of RECORD.
    pub fn record_without(mut self, path: &str) -> Self {
        self.record_changes.push((path.into(), None));
        self
    }

    /// Replaces or adds the RECORD entry of a path: `rest` is what follows the path and its comma.
    pub fn record_entry(mut self, path: &str, rest: &str) -> Self {
        self.record_changes.push((path.into(), Some(rest.into())));
        self
    }

    /// `name-version.dist-info`, unless set otherwise.
    pub fn dist_info(&self) -> String {
        match &self.dist_info {
            Some(folder) => folder.clone(),
            None => format!("{}-{}.dist-info", escape(&self.project), self.version),
        }
    }

    /// The archive before it becomes bytes, so that a test can damage it.
    pub fn archive(&self) -> ZipArchive {
        let folder = self.dist_info();
        let mut files = self.files.clone();
        let wheel_tag = self.wheel_tag.as_ref().unwrap_or(&self.tag);
        let wheel = format!(
            "Wheel-Version: 1.0\nGenerator: countersign-testkit\nRoot-Is-Purelib: true\n{}",
            expand_tags(wheel_tag)
        );
        files.push((
            format!("{folder}/METADATA"),
            self.metadata.text().into_bytes(),
        ));
        files.push((format!("{folder}/WHEEL"), wheel.into_bytes()));
        files.retain(|(path, _)| {
            !self
                .without
                .iter()
                .any(|name| *path == format!("{folder}/{name}"))
        });
        let mut lines: Vec<(String, String)> = Vec::new();
        for (path, content) in &files {
            let digest = URL_SAFE_NO_PAD.encode(Sha256::digest(content));
            lines.push((path.clone(), format!("sha256={digest},{}", content.len())));
        }
        for (path, change) in &self.record_changes {
            lines.retain(|(listed, _)| listed != path);
            if let Some(rest) = change {
                lines.push((path.clone(), rest.clone()));
            }
        }
        let mut record = String::new();
        for (path, rest) in &lines {
            let quoted = if path.contains([',', '"']) {
                format!("\"{}\"", path.replace('"', "\"\""))
            } else {
                path.clone()
            };
            let _ = writeln!(record, "{quoted},{rest}");
        }
        let _ = writeln!(record, "{folder}/RECORD,,");
        if !self.without.contains(&"RECORD") {
            files.push((format!("{folder}/RECORD"), record.into_bytes()));
        }
        let members = files.into_iter().map(|(path, content)| {
            // Names beyond ASCII need the flag that says UTF-8.
            ZipMember {
                flags: if path.is_ascii() { 0 } else { 0x0800 },
                ..ZipMember::new(path, content)
            }
        });
        ZipArchive {
            members: members.collect(),
            ..ZipArchive::default()
        }
    }

    /// The file name: `name-version-tag.whl`.
    pub fn filename(&self) -> String {
        format!(
            "{}-{}-{}.whl",
            escape(&self.project),
            self.version,
            self.tag
        )
    }

    /// This wheel's name around other bytes.
    pub fn package(&self, bytes: Vec<u8>) -> Package {
        let (project, version) = (self.project.clone(), self.version.clone());
        Package {
            filename: self.filename(),
            bytes,
            project,
            version,
        }
    }

    /// The wheel.
    pub fn build(&self) -> Package {
        self.package(self.archive().to_bytes())
    }
}

/// Builder of a source distribution.
#[derive(Debug, Clone)]
pub struct Sdist {
    metadata: Metadata,
    project: String,
    version: String,
    files: Vec<(String, Vec<u8>)>,
    without_pkg_info: bool,
}

impl Sdist {
    /// A source distribution that builds without any back end of the network (its `pyproject.toml` names an in-tree
    /// back end that is not there: tests do not build it).
    pub fn new(name: &str, version: &str) -> Self {
        let module = escape(name);
        let project = format!("[project]\nname = {name:?}\nversion = {version:?}\n");
        Self {
            metadata: Metadata::new(name, version),
            project: name.into(),
            version: version.into(),
            files: vec![
                ("pyproject.toml".into(), project.into_bytes()),
                (
                    format!("{module}/__init__.py"),
                    format!("__version__ = {version:?}\n").into_bytes(),
                ),
            ],
            without_pkg_info: false,
        }
    }

    /// Adds a `Requires-Dist`.
    pub fn requires(self, requirement: &str) -> Self {
        self.metadata_line(&format!("Requires-Dist: {requirement}"))
    }

    /// Sets the description, as Markdown.
    pub fn readme(mut self, text: &str) -> Self {
        self.metadata.description = text.into();
        self
    }

    /// Adds a line to PKG-INFO as it is.
    pub fn metadata_line(mut self, line: &str) -> Self {
        self.metadata.lines.push(line.into());
        self
    }

    /// Adds a file below the top folder.
    pub fn file(mut self, path: &str, content: impl Into<Vec<u8>>) -> Self {
        self.files.push((path.into(), content.into()));
        self
    }

    /// The name that PKG-INFO states, if it is not the file's.
    pub fn metadata_name(mut self, name: &str) -> Self {
        self.metadata.name = name.into();
        self
    }

    /// The version that PKG-INFO states, if it is not the file's.
    pub fn metadata_version(mut self, version: &str) -> Self {
        self.metadata.version = version.into();
        self
    }

    /// Leaves out PKG-INFO.
    pub fn without_pkg_info(mut self) -> Self {
        self.without_pkg_info = true;
        self
    }

    /// The one folder at the top.
    pub fn top(&self) -> String {
        format!("{}-{}", escape(&self.project), self.version)
    }

    /// The archive without its end, so that a test can add to it.
    pub fn archive(&self) -> TarArchive {
        let top = self.top();
        let mut archive = TarArchive::default();
        if !self.without_pkg_info {
            archive = archive.file(format!("{top}/PKG-INFO"), self.metadata.text().as_bytes());
        }
        for (path, content) in &self.files {
            archive = archive.file(format!("{top}/{path}"), content);
        }
        archive
    }

    /// The file name: `name-version.tar.gz`.
    pub fn filename(&self) -> String {
        format!("{}.tar.gz", self.top())
    }

    /// This distribution's name around other bytes.
    pub fn package(&self, bytes: Vec<u8>) -> Package {
        let (project, version) = (self.project.clone(), self.version.clone());
        Package {
            filename: self.filename(),
            bytes,
            project,
            version,
        }
    }

    /// The source distribution.
    pub fn build(&self) -> Package {
        self.package(self.archive().end().gzip())
    }
}

/// A project's name as it stands in file names: lower case, runs of `-_.` as one underscore.
pub fn escape(name: &str) -> String {
    let mut out = String::new();
    for letter in name.chars() {
        match letter {
            '-' | '_' | '.' => {
                if !out.ends_with('_') {
                    out.push('_');
                }
            }
            other => out.push(other.to_ascii_lowercase()),
        }
    }
    out
}

/// The `Tag:` lines of WHEEL for a compressed tag set.
fn expand_tags(tag: &str) -> String {
    let parts: Vec<Vec<&str>> = tag
        .splitn(3, '-')
        .map(|part| part.split('.').collect())
        .collect();
    let [python, abi, platform] = parts.as_slice() else {
        return format!("Tag: {tag}\n");
    };
    let mut lines = String::new();
    for p in python {
        for a in abi {
            for l in platform {
                let _ = writeln!(lines, "Tag: {p}-{a}-{l}");
            }
        }
    }
    lines
}

#[cfg(test)]
mod tests {
    use std::process::Command;

    use super::*;
    use crate::machine::run;

    #[test]
    fn the_same_builder_makes_the_same_bytes() {
        let wheel = Wheel::new("Good.Thing", "1.0")
            .requires("other>=2")
            .readme("# Hello\n");
        assert_eq!(wheel.build().bytes, wheel.build().bytes);
        assert_eq!(wheel.build().filename, "good_thing-1.0-py3-none-any.whl");
        assert_eq!(
            Sdist::new("Good.Thing", "1.0").build().bytes,
            Sdist::new("Good.Thing", "1.0").build().bytes
        );
    }

    #[test]
    fn python_reads_what_the_builders_write() {
        let folder = tempfile::tempdir().unwrap();
        let wheel = Wheel::new("good-thing", "1.0")
            .file("good_thing/data.txt", "x".repeat(5000))
            .build();
        let sdist = Sdist::new("good-thing", "1.0")
            .file(&"d/".repeat(60), "")
            .build();
        let (wheel, sdist) = (
            wheel.write_to(folder.path()).unwrap(),
            sdist.write_to(folder.path()).unwrap(),
        );
        let script = "import sys, zipfile, tarfile\n\
                      z = zipfile.ZipFile(sys.argv[1]); assert z.testzip() is None; print(len(z.namelist()))\n\
                      t = tarfile.open(sys.argv[2]); print(sorted(t.getnames())[0])";
        let output = run(Command::new("python3")
            .args(["-c", script])
            .arg(wheel)
            .arg(sdist))
        .unwrap();
        assert_eq!(
            String::from_utf8(output.stdout).unwrap(),
            "5\ngood_thing-1.0/PKG-INFO\n"
        );
    }

    #[test]
    fn tag_sets_are_written_out_in_wheel() {
        assert_eq!(
            expand_tags("py2.py3-none-any"),
            "Tag: py2-none-any\nTag: py3-none-any\n"
        );
    }
}
