//! Builders of crates and npm packages, good by default: what they make is taken by the real clients.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Map, Value, json};
use sha1::Sha1;
use sha2::{Digest as _, Sha512};

use super::Package;
use super::tar::TarArchive;

/// Builder of a crate as `cargo package` leaves it.
#[derive(Debug, Clone)]
pub struct Crate {
    name: String,
    version: String,
    lines: String,
    files: Vec<(String, Vec<u8>)>,
}

impl Crate {
    /// A library with one function.
    pub fn new(name: &str, version: &str) -> Self {
        Self {
            name: name.into(),
            version: version.into(),
            lines: String::new(),
            files: vec![(
                "src/lib.rs".into(),
                format!("pub fn version() -> &'static str {{ {version:?} }}\n").into_bytes(),
            )],
        }
    }

    /// Lines of `Cargo.toml` after the package's own: dependencies, features.
    #[must_use]
    pub fn manifest(mut self, lines: &str) -> Self {
        self.lines.push_str(lines);
        self.lines.push('\n');
        self
    }

    /// Another file, or other contents of one.
    #[must_use]
    pub fn file(mut self, path: &str, data: impl Into<Vec<u8>>) -> Self {
        self.files.retain(|(known, _)| known != path);
        self.files.push((path.into(), data.into()));
        self
    }

    /// The file.
    pub fn build(&self) -> Package {
        let folder = format!("{}-{}", self.name, self.version);
        let toml = format!(
            "[package]\nname = {:?}\nversion = {:?}\nedition = \"2021\"\ndescription = \"A crate\"\nlicense = \"MIT\"\n{}",
            self.name, self.version, self.lines
        );
        let mut archive =
            TarArchive::default().file(format!("{folder}/Cargo.toml"), toml.as_bytes());
        for (path, data) in &self.files {
            archive = archive.file(format!("{folder}/{path}"), data);
        }
        Package {
            filename: format!("{folder}.crate"),
            bytes: archive.end().gzip(),
            project: self.name.clone(),
            version: self.version.clone(),
        }
    }

    /// What cargo says of it when it publishes; without dependencies and features, which are then taken from the archive.
    pub fn request(&self) -> Value {
        json!({"name": self.name, "vers": self.version})
    }

    /// The body of cargo's publish request.
    pub fn body(&self) -> Vec<u8> {
        framed(&self.request(), &self.build().bytes)
    }
}

/// A publish request in cargo's framing.
pub fn framed(request: &Value, archive: &[u8]) -> Vec<u8> {
    let json = request.to_string();
    let length = |bytes: usize| u32::try_from(bytes).expect("small").to_le_bytes();
    [
        &length(json.len()),
        json.as_bytes(),
        &length(archive.len()),
        archive,
    ]
    .concat()
}

/// Builder of an npm package as `npm pack` leaves it.
#[derive(Debug, Clone)]
pub struct NpmPackage {
    manifest: Map<String, Value>,
    files: Vec<(String, Vec<u8>)>,
}

impl NpmPackage {
    /// A package with one module.
    pub fn new(name: &str, version: &str) -> Self {
        let mut manifest = Map::new();
        manifest.insert("name".into(), json!(name));
        manifest.insert("version".into(), json!(version));
        manifest.insert("description".into(), json!("A package"));
        manifest.insert("license".into(), json!("MIT"));
        manifest.insert("main".into(), json!("index.js"));
        Self {
            manifest,
            files: vec![(
                "index.js".into(),
                format!("module.exports = {version:?}\n").into_bytes(),
            )],
        }
    }

    /// A key of `package.json`.
    #[must_use]
    pub fn set(mut self, key: &str, value: Value) -> Self {
        self.manifest.insert(key.into(), value);
        self
    }

    /// Another file, or other contents of one.
    #[must_use]
    pub fn file(mut self, path: &str, data: impl Into<Vec<u8>>) -> Self {
        self.files.retain(|(known, _)| known != path);
        self.files.push((path.into(), data.into()));
        self
    }

    fn text(&self, key: &str) -> &str {
        self.manifest
            .get(key)
            .and_then(Value::as_str)
            .unwrap_or_default()
    }

    /// The tarball.
    pub fn build(&self) -> Package {
        let json = Value::Object(self.manifest.clone()).to_string();
        let mut archive = TarArchive::default().file("package/package.json", json.as_bytes());
        for (path, data) in &self.files {
            archive = archive.file(format!("package/{path}"), data);
        }
        let (name, version) = (self.text("name"), self.text("version"));
        let base = name.rsplit('/').next().unwrap_or(name);
        Package {
            filename: format!("{base}-{version}.tgz"),
            bytes: archive.end().gzip(),
            project: name.into(),
            version: version.into(),
        }
    }

    /// The body of npm's publish request; a test bends it.
    pub fn request(&self, tag: &str) -> Value {
        let package = self.build();
        let (name, version) = (&package.project, &package.version);
        let mut manifest = self.manifest.clone();
        manifest.insert("_id".into(), json!(format!("{name}@{version}")));
        manifest.insert(
            "dist".into(),
            json!({
                "integrity": format!("sha512-{}", STANDARD.encode(Sha512::digest(&package.bytes))),
                "shasum": hex::encode(Sha1::digest(&package.bytes)),
                "tarball": format!("http://localhost/{name}/-/{}", package.filename),
            }),
        );
        json!({
            "_id": name, "name": name, "dist-tags": {tag: version}, "access": null,
            "versions": {version.as_str(): manifest},
            "_attachments": {format!("{name}-{version}.tgz"): {
                "content_type": "application/octet-stream",
                "data": STANDARD.encode(&package.bytes), "length": package.bytes.len(),
            }},
        })
    }
}
