//! Bills of materials from lock files: CycloneDX 1.6 and SPDX 2.3. Of the same lock files, answers and time the same bytes are made.
//!
//! Digests and links between packages are the lock file's. What a registry adds (addresses, licence, source, proof in the log) is taken only
//! for files whose digest is the one in the lock file, and stands there as a reference that anyone can check.

use std::collections::{BTreeMap, BTreeSet};

use countersign_formats::lock::{Digest, Entry, Graph, LockFile, Origin};
use countersign_formats::{Ecosystem, purl};
use serde::Deserialize;
use serde_json::{Map, Value, json};
use sha1::{Digest as _, Sha1};

use crate::failure::Result;
use crate::remote::Remote;

/// The longest answer about a release, in bytes.
const MOST_ANSWER: usize = 8 << 20;
/// The namespace of our identifiers: UUID version 5 of the URL namespace and this project's word for bills.
const NAMESPACE: [u8; 16] = [
    0x6b, 0xa7, 0xb8, 0x11, 0x9d, 0xad, 0x11, 0xd1, 0x80, 0xb4, 0x00, 0xc0, 0x4f, 0xd4, 0x30, 0xc8,
];

/// The form of a bill.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Form {
    /// CycloneDX 1.6, JSON.
    CycloneDx,
    /// SPDX 2.3, JSON.
    Spdx,
}

/// What the bill is of.
#[derive(Debug, Clone)]
pub struct Subject {
    /// The project's name.
    pub name: String,
    /// Its version, where it has one.
    pub version: Option<String>,
    /// When the bill is made, RFC 3339 in UTC.
    pub time: String,
}

/// A bill that is being put together.
#[derive(Debug, Default)]
pub struct Bill {
    components: BTreeMap<String, Component>,
    requires: BTreeMap<String, BTreeSet<String>>,
    direct: BTreeSet<String>,
    /// Whether every lock file says who asks for whom.
    complete: bool,
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct Component {
    ecosystem: Ecosystem,
    name: String,
    version: Option<String>,
    files: BTreeMap<String, Listed>,
    /// An address past any registry.
    elsewhere: Option<String>,
    /// An SPDX expression.
    expression: Option<String>,
    /// A licence in other words.
    license: Option<String>,
    /// A repository.
    source: Option<String>,
}

/// A file that may be installed, by its digest.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Listed {
    filename: Option<String>,
    sha512: bool,
    url: Option<String>,
    proof: Option<String>,
    attestations: Option<String>,
}

/// A release as the registry tells it, as far as it is used.
#[derive(Deserialize)]
struct Told {
    license: Option<String>,
    license_expression: Option<String>,
    #[serde(default)]
    artifacts: Vec<ToldFile>,
}

#[derive(Deserialize)]
struct ToldFile {
    filename: String,
    purl: String,
    url: String,
    sha256: String,
    sha512: Option<String>,
    proof_url: String,
    origin: Option<ToldOrigin>,
}

#[derive(Deserialize)]
struct ToldOrigin {
    source: Option<ToldSource>,
}

#[derive(Deserialize)]
struct ToldSource {
    repository: String,
    commit: Option<String>,
}

fn escaped(text: &str) -> String {
    url::form_urlencoded::byte_serialize(text.as_bytes())
        .collect::<String>()
        .replace('+', "%20")
}

fn reference(entry: &Entry) -> String {
    let bare = match &entry.version {
        Some(version) => purl::release_purl(entry.ecosystem, &entry.name_key, version),
        None => purl::project_purl(entry.ecosystem, &entry.name_key),
    };
    match &entry.origin {
        // Not the registry's: whoever reads it must not take it for that.
        Origin::Elsewhere(address) if address.starts_with("git") => {
            format!("{bare}?vcs_url={}", escaped(address))
        }
        Origin::Elsewhere(address) => format!("{bare}?download_url={}", escaped(address)),
        _ => bare,
    }
}

impl Bill {
    /// A bill with nothing on it.
    #[must_use]
    pub fn new() -> Self {
        Self {
            complete: true,
            ..Self::default()
        }
    }

    /// Adds what a lock file names. The project's own packages are the subject, not components.
    pub fn add(&mut self, lock: &LockFile, graph: &Graph) {
        self.complete &= graph.known;
        let references: Vec<Option<String>> = lock
            .entries
            .iter()
            .map(|entry| (!matches!(entry.origin, Origin::Local(_))).then(|| reference(entry)))
            .collect();
        for (at, entry) in lock.entries.iter().enumerate() {
            let Some(reference) = &references[at] else {
                continue;
            };
            let component = self
                .components
                .entry(reference.clone())
                .or_insert_with(|| Component {
                    ecosystem: entry.ecosystem,
                    name: entry.name_key.as_str().to_owned(),
                    version: entry.version.clone(),
                    files: BTreeMap::new(),
                    elsewhere: match &entry.origin {
                        Origin::Elsewhere(address) => Some(address.clone()),
                        _ => None,
                    },
                    expression: None,
                    license: None,
                    source: None,
                });
            for file in &entry.files {
                let (hex, sha512) = match &file.digest {
                    Digest::Sha256(hex) => (hex, false),
                    Digest::Sha512(hex) => (hex, true),
                };
                let listed = component.files.entry(hex.clone()).or_insert(Listed {
                    filename: None,
                    sha512,
                    url: None,
                    proof: None,
                    attestations: None,
                });
                listed.filename = listed.filename.take().or_else(|| file.filename.clone());
            }
            let required = self.requires.entry(reference.clone()).or_default();
            required.extend(
                graph.requires[at]
                    .iter()
                    .filter_map(|to| references[*to].clone()),
            );
            let direct = !graph.known || graph.direct.contains(&at);
            if direct {
                self.direct.insert(reference.clone());
            }
        }
    }

    /// The number of components.
    #[must_use]
    pub fn len(&self) -> usize {
        self.components.len()
    }

    /// Whether there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.components.is_empty()
    }

    /// Asks a registry about what is on the bill. What it does not know stays as it is. Returns how many components it knows.
    ///
    /// # Errors
    /// Those of asking.
    pub fn ask(&mut self, remote: &Remote) -> Result<usize> {
        let mut known = 0;
        for component in self.components.values_mut() {
            let (Some(version), None) = (&component.version, &component.elsewhere) else {
                continue;
            };
            let path = format!(
                "/api/v1/projects/{}/{}/releases/{}",
                component.ecosystem,
                escaped(&component.name),
                escaped(version)
            );
            let Some(body) = remote.find(&path, MOST_ANSWER)? else {
                continue;
            };
            let Ok(told) = serde_json::from_slice::<Told>(&body) else {
                continue;
            };
            known += usize::from(component.learn(remote.site(), told));
        }
        Ok(known)
    }

    /// The document.
    #[must_use]
    pub fn document(&self, form: Form, subject: &Subject) -> Value {
        match form {
            Form::CycloneDx => self.cyclonedx(subject),
            Form::Spdx => self.spdx(subject),
        }
    }

    /// A name for the content, whenever it was made.
    fn identity(&self, subject: &Subject, form: &str) -> String {
        let mut hasher = Sha1::new();
        hasher.update(NAMESPACE);
        hasher.update(format!(
            "countersign sbom\n{form}\n{}\n{:?}\n{:?}\n{:?}\n{:?}",
            subject.name, subject.version, self.components, self.requires, self.direct
        ));
        let mut bytes = [0; 16];
        bytes.copy_from_slice(&hasher.finalize()[..16]);
        bytes[6] = bytes[6] & 0x0f | 0x50;
        bytes[8] = bytes[8] & 0x3f | 0x80;
        let hex = hex::encode(bytes);
        format!(
            "{}-{}-{}-{}-{}",
            &hex[..8],
            &hex[8..12],
            &hex[12..16],
            &hex[16..20],
            &hex[20..]
        )
    }

    // ---- CycloneDX ----

    fn cyclonedx(&self, subject: &Subject) -> Value {
        let components: Vec<Value> = self
            .components
            .iter()
            .map(|(reference, component)| component.cyclonedx(reference))
            .collect();
        let mut root =
            json!({"type": "application", "bom-ref": "the-project", "name": subject.name});
        if let Some(version) = &subject.version {
            root["version"] = json!(version);
        }
        let mut dependencies = vec![json!({"ref": "the-project", "dependsOn": self.direct})];
        if self.complete {
            dependencies.extend(
                self.requires
                    .iter()
                    .map(|(from, to)| json!({"ref": from, "dependsOn": to})),
            );
        }
        let aggregate = if self.complete {
            "complete"
        } else {
            "incomplete"
        };
        json!({
            "$schema": "http://cyclonedx.org/schema/bom-1.6.schema.json",
            "bomFormat": "CycloneDX", "specVersion": "1.6",
            "serialNumber": format!("urn:uuid:{}", self.identity(subject, "cyclonedx")), "version": 1,
            "metadata": {
                "timestamp": subject.time, "lifecycles": [{"phase": "pre-build"}],
                "tools": {"components": [{"type": "application", "name": "countersign", "version": env!("CARGO_PKG_VERSION")}]},
                "component": root,
            },
            "components": components, "dependencies": dependencies,
            "compositions": [{"aggregate": aggregate, "dependencies": ["the-project"]}],
        })
    }

    // ---- SPDX ----

    fn spdx(&self, subject: &Subject) -> Value {
        let id = |reference: &str| {
            let text: String = reference
                .chars()
                .map(|c| {
                    if c.is_ascii_alphanumeric() || c == '.' {
                        c
                    } else {
                        '-'
                    }
                })
                .collect();
            // Two references may look the same without their marks.
            let digest = countersign_trust::digest::Sha256::of(reference.as_bytes()).to_hex();
            format!("SPDXRef-{text}-{}", &digest[..8])
        };
        let mut packages = vec![json!({
            "SPDXID": "SPDXRef-the-project", "name": subject.name, "versionInfo": subject.version.as_deref().unwrap_or("NOASSERTION"),
            "downloadLocation": "NOASSERTION", "filesAnalyzed": false, "licenseConcluded": "NOASSERTION",
            "licenseDeclared": "NOASSERTION", "copyrightText": "NOASSERTION", "primaryPackagePurpose": "APPLICATION",
        })];
        let mut relationships = vec![relationship(
            "SPDXRef-DOCUMENT",
            "DESCRIBES",
            "SPDXRef-the-project",
        )];
        for reference in &self.direct {
            relationships.push(relationship(
                "SPDXRef-the-project",
                "DEPENDS_ON",
                &id(reference),
            ));
        }
        for (reference, component) in &self.components {
            packages.push(component.spdx(reference, &id(reference)));
            for to in self.requires.get(reference).into_iter().flatten() {
                relationships.push(relationship(&id(reference), "DEPENDS_ON", &id(to)));
            }
        }
        json!({
            "spdxVersion": "SPDX-2.3", "dataLicense": "CC0-1.0", "SPDXID": "SPDXRef-DOCUMENT", "name": subject.name,
            "documentNamespace": format!("https://spdx.org/spdxdocs/countersign-{}", self.identity(subject, "spdx")),
            "creationInfo": {"created": subject.time, "creators": [format!("Tool: countersign-{}", env!("CARGO_PKG_VERSION"))]},
            "documentDescribes": ["SPDXRef-the-project"],
            "packages": packages, "relationships": relationships,
        })
    }
}

fn relationship(from: &str, kind: &str, to: &str) -> Value {
    json!({"spdxElementId": from, "relationshipType": kind, "relatedSpdxElement": to})
}

/// An expression that others parse: what is older, such as `MIT/Apache-2.0`, is told as words.
fn is_expression(text: &str) -> bool {
    !text.is_empty()
        && text.len() <= 500
        && text.split(' ').all(|word| {
            let word = word.trim_matches(['(', ')']);
            !word.is_empty()
                && word
                    .bytes()
                    .all(|b| b.is_ascii_alphanumeric() || b"-.+:".contains(&b))
        })
        && (!text.contains(' ')
            || [" AND ", " OR ", " WITH "]
                .iter()
                .any(|sign| text.contains(sign)))
}

impl Component {
    /// Takes what a registry tells; whether one of the files is one of ours.
    fn learn(&mut self, site: &str, told: Told) -> bool {
        let mut ours = false;
        for file in told.artifacts {
            let known = [Some(&file.sha256), file.sha512.as_ref()];
            let mut known = known.into_iter().flatten();
            let Some(hex) = known.find(|hex| self.files.contains_key(*hex)).cloned() else {
                continue;
            };
            let Some(listed) = self.files.get_mut(&hex) else {
                continue;
            };
            ours = true;
            let address = |text: &str| {
                (text.starts_with("https://") || text.starts_with("http://"))
                    .then(|| text.to_owned())
            };
            listed.filename.get_or_insert(file.filename);
            listed.url = address(&file.url);
            listed.proof = address(&file.proof_url);
            if let Some(origin) = file.origin {
                listed.attestations = Some(format!(
                    "{site}/api/v1/attestations/{}",
                    escaped(&file.purl)
                ));
                if let Some(source) = origin.source {
                    let at = source
                        .commit
                        .map_or(String::new(), |commit| format!("@{commit}"));
                    self.source = address(&source.repository).map(|url| format!("{url}{at}"));
                }
            }
        }
        if ours {
            let said = told.license_expression.or_else(|| told.license.clone());
            match said {
                Some(text) if is_expression(&text) => self.expression = Some(text),
                Some(text) if !text.trim().is_empty() => {
                    self.license = Some(text.chars().take(200).collect());
                }
                _ => {}
            }
        }
        ours
    }

    fn cyclonedx(&self, reference: &str) -> Value {
        let mut component = Map::new();
        component.insert("type".to_owned(), json!("library"));
        component.insert("bom-ref".to_owned(), json!(reference));
        match self.name.split_once('/') {
            Some((group, name)) => {
                component.insert("group".to_owned(), json!(group));
                component.insert("name".to_owned(), json!(name));
            }
            None => {
                component.insert("name".to_owned(), json!(self.name));
            }
        }
        if let Some(version) = &self.version {
            component.insert("version".to_owned(), json!(version));
        }
        component.insert("scope".to_owned(), json!("required"));
        let hash = |hex: &str, file: &Listed| json!({"alg": if file.sha512 { "SHA-512" } else { "SHA-256" }, "content": hex});
        // Of several files any one may be installed: then each digest stands with its file.
        if let (1, Some((hex, file))) = (self.files.len(), self.files.iter().next()) {
            component.insert("hashes".to_owned(), json!([hash(hex, file)]));
        }
        match (&self.expression, &self.license) {
            (Some(expression), _) => {
                component.insert("licenses".to_owned(), json!([{"expression": expression}]));
            }
            (None, Some(name)) => {
                component.insert("licenses".to_owned(), json!([{"license": {"name": name}}]));
            }
            (None, None) => {}
        }
        component.insert("purl".to_owned(), json!(reference));
        let mut references = Vec::new();
        for (hex, file) in &self.files {
            let hashes = json!([hash(hex, file)]);
            let place = file.url.clone().or_else(|| file.filename.clone());
            if let Some(place) = place {
                references.push(
                    json!({"type": "distribution", "url": escaped_path(&place), "hashes": hashes}),
                );
            }
            if let Some(proof) = &file.proof {
                references.push(json!({"type": "evidence", "url": proof, "comment": "proof that the registry's transparency log holds the file (tlog-proof)"}));
            }
            if let Some(attestations) = &file.attestations {
                references.push(
                    json!({"type": "attestation", "url": attestations, "comment": "provenance"}),
                );
            }
        }
        if let Some(address) = &self.elsewhere {
            references.push(json!({"type": "vcs", "url": escaped_path(address)}));
        } else if let Some(source) = &self.source {
            references.push(json!({"type": "vcs", "url": escaped_path(source)}));
        }
        if !references.is_empty() {
            component.insert("externalReferences".to_owned(), json!(references));
        }
        Value::Object(component)
    }

    fn spdx(&self, reference: &str, id: &str) -> Value {
        let mut references = vec![json!({
            "referenceCategory": "PACKAGE-MANAGER", "referenceType": "purl", "referenceLocator": reference,
        })];
        let mut checksums = Vec::new();
        let mut places = Vec::new();
        for (hex, file) in &self.files {
            checksums.push(json!({
                "algorithm": if file.sha512 { "SHA512" } else { "SHA256" }, "checksumValue": hex,
            }));
            places.extend(file.url.clone());
            for (kind, url) in [
                ("tlog-proof", &file.proof),
                ("attestation", &file.attestations),
            ] {
                if let Some(url) = url {
                    references.push(json!({"referenceCategory": "OTHER", "referenceType": kind, "referenceLocator": url}));
                }
            }
        }
        let place = match (&self.elsewhere, &places[..]) {
            (Some(address), _) => escaped_path(address),
            (None, [only]) => only.clone(),
            _ => "NOASSERTION".to_owned(),
        };
        let mut package = json!({
            "SPDXID": id, "name": self.name, "versionInfo": self.version.as_deref().unwrap_or("NOASSERTION"),
            "downloadLocation": place, "filesAnalyzed": false, "licenseConcluded": "NOASSERTION",
            "licenseDeclared": self.expression.as_deref().unwrap_or("NOASSERTION"), "copyrightText": "NOASSERTION",
            "externalRefs": references, "primaryPackagePurpose": "LIBRARY",
        });
        if !checksums.is_empty() {
            package["checksums"] = json!(checksums);
        }
        if let Some(license) = &self.license {
            package["licenseComments"] = json!(format!("The package says: {license}"));
        }
        if let Some(source) = &self.source {
            package["sourceInfo"] =
                json!(format!("built from {source}, by what the registry tells"));
        }
        package
    }
}

/// An address or file name as a reference (RFC 3987): blanks and the like escaped.
fn escaped_path(text: &str) -> String {
    let mut out = String::new();
    for b in text.bytes() {
        match b {
            b'!'
            | b'#'
            | b'$'
            | b'&'..=b';'
            | b'='
            | b'?'..=b'Z'
            | b'_'
            | b'a'..=b'z'
            | b'~'
            | b'%' => {
                out.push(char::from(b));
            }
            b => out.push_str(&format!("%{b:02X}")),
        }
    }
    out
}
