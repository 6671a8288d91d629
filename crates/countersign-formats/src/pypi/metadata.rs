//! Core metadata (METADATA of wheels, PKG-INFO of sdists): mail-like headers, then the description.

use std::str::FromStr;

use super::classifiers::{Standing, standing};
use crate::{Dependency, Limits, Rejection, pypi::requirement, rejection::quoted};

/// Most header fields of one file.
const MAX_FIELDS: usize = 20_000;
/// Longest value of a field that is one line by its nature.
const MAX_LINE: usize = 16 << 10;
/// What old build tools write where they know nothing.
const UNKNOWN: &str = "UNKNOWN";
const VERSIONS: &[&str] = &[
    "1.0", "1.1", "1.2", "2.0", "2.1", "2.2", "2.3", "2.4", "2.5",
];

/// Fields that may stand only once.
const SINGLE: &[&str] = &[
    "metadata-version",
    "name",
    "version",
    "summary",
    "description",
    "description-content-type",
    "keywords",
    "home-page",
    "download-url",
    "author",
    "author-email",
    "maintainer",
    "maintainer-email",
    "license",
    "license-expression",
    "requires-python",
];
/// Fields that may stand any number of times.
const REPEATED: &[&str] = &[
    "platform",
    "supported-platform",
    "classifier",
    "requires-dist",
    "provides-dist",
    "obsoletes-dist",
    "requires-external",
    "project-url",
    "provides-extra",
    "dynamic",
    "license-file",
    "requires",
    "provides",
    "obsoletes",
    "import-name",
    "import-namespace",
];
/// Fields whose line breaks matter.
const MULTILINE: &[&str] = &["description", "license"];

/// Parsed core metadata. Fields have lower-case names and keep their order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CoreMetadata {
    fields: Vec<(String, String)>,
    body: Option<String>,
    /// What is odd but accepted.
    pub warnings: Vec<String>,
}

impl CoreMetadata {
    /// Parses and judges METADATA or PKG-INFO.
    ///
    /// # Errors
    /// Refuses files over `limits.max_metadata`, that are not UTF-8, have a malformed line, a field
    /// twice that may stand once, or values that installers cannot read: name, version,
    /// requires-python, requirements.
    pub fn parse(bytes: &[u8], limits: &Limits) -> Result<Self, Rejection> {
        if bytes.len() as u64 > limits.max_metadata {
            return Err(Rejection::new(
                "metadata-too-large",
                format!(
                    "The metadata has {} bytes; at most {} are accepted.",
                    bytes.len(),
                    limits.max_metadata
                ),
            )
            .with_remedy("Shorten the long description."));
        }
        let text = std::str::from_utf8(bytes).map_err(|error| {
            Rejection::new(
                "metadata-encoding",
                format!("The metadata is not UTF-8 at byte {}.", error.valid_up_to()),
            )
        })?;
        let text = text.replace("\r\n", "\n");
        let (head, body) = match text.split_once("\n\n") {
            Some((head, body)) => (head, body),
            None => (text.as_str(), ""),
        };
        let body = (!body.trim().is_empty()).then(|| body.to_owned());
        let mut metadata = Self {
            fields: headers(head)?,
            body,
            warnings: Vec::new(),
        };
        metadata.judge()?;
        Ok(metadata)
    }

    /// The value of a field; `UNKNOWN` and empty values count as missing.
    pub fn get(&self, name: &str) -> Option<&str> {
        self.all(name).next()
    }

    /// All values of a field; `UNKNOWN` and empty ones are left out.
    pub fn all<'a>(&'a self, name: &str) -> impl Iterator<Item = &'a str> {
        self.fields
            .iter()
            .filter(move |(field, value)| field == name && !value.is_empty() && value != UNKNOWN)
            .map(|(_, value)| value.as_str())
    }

    /// The long description, from the body or the header.
    pub fn description(&self) -> Option<&str> {
        self.body.as_deref().or_else(|| self.get("description"))
    }

    /// `(label, URL)` of the project's links.
    pub fn project_urls(&self) -> Vec<(String, String)> {
        self.all("project-url").map(project_url).collect()
    }

    /// The requirements; proven to parse by [`CoreMetadata::parse`].
    pub fn dependencies(&self) -> Vec<Dependency> {
        self.all("requires-dist")
            .filter_map(|line| requirement::parse(line).ok())
            .collect()
    }

    /// Fields that the manifest has no place of its own for.
    pub(crate) fn others(&self) -> Vec<(String, String)> {
        const ELSEWHERE: &[&str] = &[
            "classifier",
            "requires-dist",
            "project-url",
            "provides-extra",
            "license-file",
        ];
        self.fields
            .iter()
            .filter(|(field, _)| {
                let field = field.as_str();
                !SINGLE.contains(&field) && !ELSEWHERE.contains(&field)
            })
            .cloned()
            .collect()
    }

    fn judge(&mut self) -> Result<(), Rejection> {
        for field in SINGLE {
            if self.fields.iter().filter(|(name, _)| name == field).count() > 1 {
                return Err(Rejection::new(
                    "metadata-duplicate-field",
                    format!(
                        "The metadata has the field {} more than once.",
                        quoted(field)
                    ),
                ));
            }
        }
        for required in ["metadata-version", "name", "version"] {
            if !self
                .fields
                .iter()
                .any(|(name, value)| name == required && !value.is_empty())
            {
                return Err(Rejection::new(
                    "metadata-missing-field",
                    format!("The metadata lacks the field {}.", quoted(required)),
                ));
            }
        }
        let version = self.get("metadata-version").unwrap_or_default();
        if !VERSIONS.contains(&version) {
            return Err(Rejection::new(
                "metadata-version",
                format!("The metadata version {} is not known.", quoted(version)),
            )
            .with_remedy(format!("Known: {}.", VERSIONS.join(", "))));
        }
        if self.body.is_some() && self.get("description").is_some() {
            return Err(Rejection::new(
                "metadata-two-descriptions",
                "The metadata has a description both as a field and as its body.",
            ));
        }
        if let Some(text) = self.get("requires-python") {
            requirement::specifiers(text).map_err(|why| {
                Rejection::new(
                    "metadata-requires-python",
                    format!("Requires-Python {} is not valid: {why}.", quoted(text)),
                )
                .with_remedy("Write version specifiers such as >=3.9,<4.")
            })?;
        }
        for line in self.all("requires-dist") {
            requirement::parse(line)?;
        }
        for classifier in self.all("classifier") {
            let parts: Vec<_> = classifier.split(" :: ").collect();
            if parts
                .iter()
                .any(|part| part.is_empty() || part.trim() != *part || part.contains("::"))
            {
                return Err(Rejection::new(
                    "metadata-classifier",
                    format!("The classifier {} is malformed.", quoted(classifier)),
                )
                .with_remedy("Classifiers read like \"Topic :: Security\"."));
            }
        }
        if let Some(expression) = self.get("license-expression") {
            license_expression(expression)?;
        }
        let deprecated: Vec<String> = self
            .all("classifier")
            .filter(|classifier| standing(classifier) == Standing::Deprecated)
            .map(|classifier| format!("The classifier {} is deprecated.", quoted(classifier)))
            .take(20)
            .collect();
        self.warnings.extend(deprecated);
        let unknown: Vec<String> = self
            .fields
            .iter()
            .map(|(name, _)| name.as_str())
            .filter(|name| !SINGLE.contains(name) && !REPEATED.contains(name))
            .map(|name| format!("The metadata has the unknown field {}.", quoted(name)))
            .take(20)
            .collect();
        self.warnings.extend(unknown);
        if let Some(kind) = self.get("description-content-type") {
            let media = kind
                .split(';')
                .next()
                .unwrap_or_default()
                .trim()
                .to_ascii_lowercase();
            if !["text/plain", "text/markdown", "text/x-rst"].contains(&media.as_str()) {
                self.warnings.push(format!(
                    "The description's content type {} is not known; it is shown as plain text.",
                    quoted(kind)
                ));
            }
        }
        Ok(())
    }
}

/// Judges an SPDX expression (PEP 639). Identifiers count regardless of case, as installers and the specification have it.
fn license_expression(expression: &str) -> Result<(), Rejection> {
    let refuse = |why: String| {
        Rejection::new(
            "metadata-license-expression",
            format!(
                "License-Expression {} is not valid SPDX: {why}.",
                quoted(expression)
            ),
        )
        .with_remedy(
            "Write identifiers of the SPDX list joined by AND, OR and WITH, or LicenseRef-….",
        )
    };
    if expression.len() > 1_024 {
        return Err(refuse("it is longer than 1,024 bytes".to_owned()));
    }
    let canonical = spdx::Expression::canonicalize(expression)
        .map_err(|error| refuse(error.reason.to_string()))?;
    spdx::Expression::parse(canonical.as_deref().unwrap_or(expression))
        .map(|_| ())
        .map_err(|error| refuse(error.reason.to_string()))
}

/// Splits `Label, URL`; without a comma the whole is the URL.
pub(crate) fn project_url(text: &str) -> (String, String) {
    match text.split_once(',') {
        Some((label, url)) => (label.trim().to_owned(), url.trim().to_owned()),
        None => (String::new(), text.trim().to_owned()),
    }
}

fn headers(head: &str) -> Result<Vec<(String, String)>, Rejection> {
    let mut raw: Vec<(String, Vec<&str>)> = Vec::new();
    for line in head.split('\n') {
        if line.starts_with([' ', '\t']) {
            let (_, lines) = raw.last_mut().ok_or_else(|| malformed(line))?;
            lines.push(line);
            continue;
        }
        if line.is_empty() && raw.is_empty() {
            return Err(Rejection::new(
                "metadata-missing-field",
                "The metadata has no fields.",
            ));
        }
        if line.is_empty() {
            continue; // the line break at the end of a file without a body
        }
        let (name, value) = line.split_once(':').ok_or_else(|| malformed(line))?;
        if name.is_empty()
            || !name
                .bytes()
                .all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_'))
        {
            return Err(malformed(line));
        }
        if raw.len() == MAX_FIELDS {
            return Err(Rejection::new(
                "metadata-too-many-fields",
                format!("The metadata has more than {MAX_FIELDS} fields."),
            ));
        }
        raw.push((name.to_ascii_lowercase(), vec![value]));
    }
    raw.into_iter()
        .map(|(name, lines)| unfold(name, &lines))
        .collect()
}

fn malformed(line: &str) -> Rejection {
    Rejection::new(
        "metadata-line",
        format!(
            "The metadata line {} is not \"Field: value\".",
            quoted(line)
        ),
    )
}

fn unfold(name: String, lines: &[&str]) -> Result<(String, String), Rejection> {
    let multiline = MULTILINE.contains(&name.as_str());
    let value = if multiline {
        let mut value = lines[0].trim().to_owned();
        for line in &lines[1..] {
            value.push('\n');
            // Continuations are marked by eight blanks, or seven and a bar.
            let text = line
                .strip_prefix("       |")
                .or_else(|| line.strip_prefix("        "))
                .unwrap_or_else(|| line.trim_start());
            value.push_str(text);
        }
        value
    } else {
        let words: Vec<&str> = lines
            .iter()
            .map(|line| line.trim())
            .filter(|line| !line.is_empty())
            .collect();
        words.join(" ")
    };
    // A lone CR is a line break to some mail parsers, and other controls belong in no value.
    let control = value
        .chars()
        .find(|c| c.is_control() && !(*c == '\t' || (multiline && matches!(c, '\n' | '\u{c}'))));
    if let Some(c) = control {
        return Err(Rejection::new(
            "metadata-control-character",
            format!(
                "The metadata field {} holds the control character U+{:04X}.",
                quoted(&name),
                u32::from(c)
            ),
        ));
    }
    if !multiline && value.len() > MAX_LINE {
        return Err(Rejection::new(
            "metadata-field-too-long",
            format!(
                "The metadata field {} has {} bytes; at most {MAX_LINE} are accepted.",
                quoted(&name),
                value.len()
            ),
        ));
    }
    Ok((name, value))
}

impl FromStr for CoreMetadata {
    type Err = Rejection;

    /// [`CoreMetadata::parse`] with the default limits.
    fn from_str(text: &str) -> Result<Self, Rejection> {
        Self::parse(text.as_bytes(), &Limits::default())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn with(line: &str) -> Result<CoreMetadata, Rejection> {
        format!("Metadata-Version: 2.4\nName: demo\nVersion: 1\n{line}\n").parse()
    }

    #[test]
    fn license_expressions_are_spdx() {
        for good in [
            "MIT",
            "mit",
            "Apache-2.0 OR BSD-3-Clause",
            "(MIT AND Apache-2.0) OR LicenseRef-Ours",
            "GPL-2.0-or-later WITH Bison-exception-2.2",
        ] {
            assert!(
                with(&format!("License-Expression: {good}")).is_ok(),
                "{good}"
            );
        }
        for bad in ["MIT OR", "Not A Licence", "MIT AND (", "Apache 2"] {
            let rejection = with(&format!("License-Expression: {bad}")).unwrap_err();
            assert_eq!(rejection.code, "metadata-license-expression", "{bad}");
            assert!(rejection.message.contains(bad), "{}", rejection.message);
        }
    }

    #[test]
    fn deprecated_classifiers_earn_a_warning() {
        let metadata = with("Classifier: Natural Language :: Ukranian").unwrap();
        assert!(
            metadata.warnings[0].contains("Ukranian"),
            "{:?}",
            metadata.warnings
        );
    }
}
