//! The upload form of the legacy API, and its comparison with what the archive says. The archive is
//! believed; a form that says something else is refused, so that nobody sees other metadata than
//! the installers will.

use std::collections::BTreeSet;

use crate::{
    Manifest, Rejection,
    pypi::{metadata, name, version},
    rejection::quoted,
};

/// Most fields and most bytes of text in a form, attestations included.
const MAX_FIELDS: usize = 20_000;
const MAX_BYTES: usize = 16 << 20;

/// Fields that say something about the release once.
const SCALARS: &[&str] = &[
    "metadata_version",
    "name",
    "version",
    "summary",
    "description",
    "description_content_type",
    "keywords",
    "author",
    "author_email",
    "maintainer",
    "maintainer_email",
    "license",
    "license_expression",
    "requires_python",
    "home_page",
    "download_url",
    "filetype",
    "pyversion",
];
/// Repeated fields, with the metadata field they stand for. Clients mix singular and plural.
const LISTS: &[(&str, &str)] = &[
    ("classifiers", "classifier"),
    ("platform", "platform"),
    ("platforms", "platform"),
    ("supported_platform", "supported-platform"),
    ("supported_platforms", "supported-platform"),
    ("requires_dist", "requires-dist"),
    ("provides_dist", "provides-dist"),
    ("obsoletes_dist", "obsoletes-dist"),
    ("requires_external", "requires-external"),
    ("project_urls", "project-url"),
    ("provides_extra", "provides-extra"),
    ("dynamic", "dynamic"),
    ("license_file", "license-file"),
    ("license_files", "license-file"),
    ("requires", "requires"),
    ("provides", "provides"),
    ("obsoletes", "obsoletes"),
    ("import_name", "import-name"),
    ("import_names", "import-name"),
    ("import_namespace", "import-namespace"),
    ("import_namespaces", "import-namespace"),
];
/// Fields about the request and not about the release.
const ENVELOPE: &[&str] = &[
    ":action",
    "protocol_version",
    "sha256_digest",
    "blake2_256_digest",
    "md5_digest",
    "attestations",
    "gpg_signature",
    "comment",
    "content",
];

/// The text fields of an upload, in order; the file itself is not among them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UploadForm {
    fields: Vec<(String, String)>,
    warnings: Vec<String>,
}

/// Digests of a file in lower-case hex; those that a client sent, or those that were computed.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Digests {
    /// SHA-256.
    pub sha256: Option<String>,
    /// BLAKE2b with 32 bytes.
    pub blake2_256: Option<String>,
    /// MD5.
    pub md5: Option<String>,
}

impl UploadForm {
    /// Takes the form's text fields in the order in which they came.
    ///
    /// # Errors
    /// Refuses forms beyond the limits, actions other than `file_upload`, and fields twice that may
    /// stand once.
    pub fn from_pairs<F, V>(pairs: impl IntoIterator<Item = (F, V)>) -> Result<Self, Rejection>
    where
        F: Into<String>,
        V: Into<String>,
    {
        let mut form = Self {
            fields: Vec::new(),
            warnings: Vec::new(),
        };
        let mut bytes = 0;
        let mut seen = BTreeSet::new();
        for (field, value) in pairs {
            let (field, value) = (field.into(), value.into());
            bytes += field.len() + value.len();
            if form.fields.len() == MAX_FIELDS || bytes > MAX_BYTES {
                return Err(Rejection::new(
                    "form-too-large",
                    format!(
                        "The upload form has more than {MAX_FIELDS} fields or {MAX_BYTES} bytes."
                    ),
                ));
            }
            let listed = LISTS.iter().any(|(known, _)| *known == field);
            let known =
                listed || SCALARS.contains(&field.as_str()) || ENVELOPE.contains(&field.as_str());
            let first = seen.insert(field.clone());
            if !known && first && form.warnings.len() < 20 {
                form.warnings.push(format!(
                    "The upload form has the unknown field {}.",
                    quoted(&field)
                ));
            }
            if known && !listed && !first {
                return Err(Rejection::new(
                    "form-duplicate-field",
                    format!(
                        "The upload form has the field {} more than once.",
                        quoted(&field)
                    ),
                ));
            }
            form.fields.push((field, value));
        }
        if form.get(":action") != Some("file_upload") {
            return Err(Rejection::new(
                "form-action",
                format!(
                    "The action {} is not offered.",
                    quoted(form.get(":action").unwrap_or_default())
                ),
            )
            .with_remedy(
                "Upload with twine, uv or another current client; the action is file_upload.",
            ));
        }
        if form
            .get("protocol_version")
            .is_some_and(|version| version != "1")
        {
            return Err(Rejection::new(
                "form-protocol",
                format!(
                    "The upload protocol {} is not known.",
                    quoted(form.get("protocol_version").unwrap_or_default())
                ),
            )
            .with_remedy("The protocol version is 1."));
        }
        Ok(form)
    }

    /// The first value of a field; empty ones count as missing.
    pub fn get(&self, field: &str) -> Option<&str> {
        self.all(field).next()
    }

    /// All values of a field that are not empty.
    pub fn all<'a>(&'a self, field: &str) -> impl Iterator<Item = &'a str> {
        self.fields
            .iter()
            .filter(move |(known, value)| known == field && !value.is_empty())
            .map(|(_, value)| value.as_str())
    }

    /// The attestations (PEP 740), a JSON array as text.
    pub fn attestations(&self) -> Option<&str> {
        self.get("attestations")
    }

    /// The digests that the client sent, in lower case.
    ///
    /// # Errors
    /// Refuses malformed digests and forms without any.
    pub fn digests(&self) -> Result<Digests, Rejection> {
        let digest = |field: &str, length: usize| match self.get(field) {
            None => Ok(None),
            Some(text) if text.len() == length && text.bytes().all(|b| b.is_ascii_hexdigit()) => {
                Ok(Some(text.to_ascii_lowercase()))
            }
            Some(text) => Err(Rejection::new(
                "form-digest",
                format!(
                    "The field {field} is {}, not {length} hex digits.",
                    quoted(text)
                ),
            )),
        };
        let digests = Digests {
            sha256: digest("sha256_digest", 64)?,
            blake2_256: digest("blake2_256_digest", 64)?,
            md5: digest("md5_digest", 32)?,
        };
        if digests == Digests::default() {
            return Err(Rejection::new(
                "form-digest",
                "The upload form has no digest of the file.",
            )
            .with_remedy("Send sha256_digest, as all current clients do."));
        }
        Ok(digests)
    }
}

impl Digests {
    /// Holds the digests that a client sent against the computed ones.
    ///
    /// # Errors
    /// Refuses when one that was sent differs, or was not computed.
    pub fn check(&self, computed: &Digests) -> Result<(), Rejection> {
        for (field, sent, computed) in [
            ("sha256_digest", &self.sha256, &computed.sha256),
            ("blake2_256_digest", &self.blake2_256, &computed.blake2_256),
            ("md5_digest", &self.md5, &computed.md5),
        ] {
            if let Some(sent) = sent
                && Some(sent) != computed.as_ref()
            {
                return Err(Rejection::new(
                    "digest-mismatch",
                    format!(
                        "The {field} in the form is {sent}, that of the received file {}.",
                        computed.as_deref().unwrap_or("unknown")
                    ),
                )
                .with_remedy(
                    "The file was damaged on the way or changed meanwhile: upload it again.",
                ));
            }
        }
        Ok(())
    }
}

/// Holds a form against the archive and returns warnings about harmless oddities. Fields that the
/// form leaves out say nothing and are taken from the archive.
///
/// White space, line breaks and `UNKNOWN` are not told apart, since clients unfold and trim mail
/// headers each in their own way; names and versions are compared as such.
///
/// # Errors
/// Refuses the first field that differs, naming it and both values.
pub fn compare(form: &UploadForm, manifest: &Manifest) -> Result<Vec<String>, Rejection> {
    for &field in SCALARS {
        let Some(sent) = form.get(field).filter(|value| *value != "UNKNOWN") else {
            continue;
        };
        let held = scalar(manifest, field);
        let same = match field {
            "name" => name::key(sent)? == manifest.name_key,
            "version" => version::equal(sent, &manifest.version),
            "keywords" => keywords(sent) == keywords(held),
            "description" => loose_text(sent) == loose_text(held),
            _ => loose(sent) == loose(held),
        };
        if !same {
            return Err(mismatch(field, sent, held));
        }
    }
    for &(field, metadata_field) in LISTS {
        let sent: BTreeSet<String> = form
            .all(field)
            .map(|value| list_item(field, value))
            .collect();
        if sent.is_empty() {
            continue;
        }
        let held: BTreeSet<String> = list(manifest, metadata_field)
            .iter()
            .map(|value| list_item(field, value))
            .collect();
        if let Some(extra) = sent.difference(&held).next() {
            return Err(mismatch(field, extra, "nothing like it"));
        }
        if let Some(missing) = held.difference(&sent).next() {
            return Err(mismatch(field, "nothing like it", missing));
        }
    }
    Ok(form.warnings.clone())
}

fn mismatch(field: &str, sent: &str, held: &str) -> Rejection {
    Rejection::new(
        "form-mismatch",
        format!(
            "The upload form's {field} is {}, but the archive has {}.",
            quoted(sent),
            quoted(held)
        ),
    )
    .with_remedy(
        "Upload the archive as it was built, with a current client, which reads the form from it.",
    )
}

/// The archive's value for a scalar of the form.
fn scalar<'a>(m: &'a Manifest, field: &str) -> &'a str {
    let optional = match field {
        "metadata_version" => return &m.metadata_version,
        "name" => return &m.name,
        "version" => return &m.version,
        "filetype" => return &m.filetype,
        "pyversion" => return &m.python_tag,
        "summary" => &m.summary,
        "description" => &m.description,
        "description_content_type" => &m.description_content_type,
        "keywords" => &m.keywords,
        "author" => &m.author,
        "author_email" => &m.author_email,
        "maintainer" => &m.maintainer,
        "maintainer_email" => &m.maintainer_email,
        "license" => &m.license,
        "license_expression" => &m.license_expression,
        "requires_python" => &m.requires_python,
        "home_page" => &m.home_page,
        "download_url" => &m.download_url,
        _ => &None,
    };
    optional.as_deref().unwrap_or_default()
}

/// The archive's values for a repeated field of the metadata.
fn list(m: &Manifest, field: &str) -> Vec<String> {
    match field {
        "classifier" => m.classifiers.clone(),
        "requires-dist" => m
            .dependencies
            .iter()
            .map(|d| d.requirement.clone())
            .collect(),
        "project-url" => m
            .project_urls
            .iter()
            .map(|(label, url)| format!("{label},{url}"))
            .collect(),
        "provides-extra" => m.provides_extra.clone(),
        "license-file" => m.license_files.clone(),
        other => m
            .other_fields
            .iter()
            .filter(|(name, value)| name == other && !value.is_empty())
            .map(|(_, value)| value.clone())
            .collect(),
    }
}

fn list_item(field: &str, value: &str) -> String {
    match field {
        "project_urls" => {
            let (label, url) = metadata::project_url(value);
            format!("{}, {}", loose(&label), loose(&url))
        }
        _ => loose(value),
    }
}

/// Runs of white space as one blank.
fn loose(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

/// A description without the marks of folded header lines.
fn loose_text(text: &str) -> String {
    let lines: Vec<&str> = text
        .lines()
        .map(|line| line.trim_start().trim_start_matches('|'))
        .collect();
    loose(&lines.join("\n"))
}

fn keywords(text: &str) -> Vec<String> {
    text.split(',')
        .map(loose)
        .filter(|word| !word.is_empty())
        .collect()
}
