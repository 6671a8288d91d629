//! One record, as OSV's schema has it.

use serde::de::DeserializeOwned;
use serde::{Deserialize, Deserializer, Serialize};
use serde_json::{Map, Value};

use crate::rejection::quoted;
use crate::{Ecosystem, Rejection};

use super::ecosystem_name;

/// The longest record that is read, in bytes.
pub const MAX_RECORD: usize = 16 << 20;
/// The longest identifier, in bytes.
pub const MAX_ID: usize = 200;
/// The most packages that one record names.
const MAX_AFFECTED: usize = 20_000;
/// The most ranges of one package.
const MAX_RANGES: usize = 2_000;
/// The most events of one range.
const MAX_EVENTS: usize = 10_000;
/// The most versions that are listed of one package.
const MAX_VERSIONS: usize = 100_000;
/// The most aliases and the like of one record.
const MAX_LIST: usize = 10_000;
/// The longest name, version or address, in bytes.
const MAX_TEXT: usize = 4096;

/// What stands there as `null` is as good as absent: some exporters write it for empty lists.
fn or_default<'de, D, T>(deserializer: D) -> Result<T, D::Error>
where
    D: Deserializer<'de>,
    T: DeserializeOwned + Default,
{
    Ok(Option::<T>::deserialize(deserializer)?.unwrap_or_default())
}

/// An advisory.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct Record {
    /// The schema's version that it was written for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub schema_version: Option<String>,
    /// Its identifier, such as `PYSEC-2024-1`.
    pub id: String,
    /// When it was changed last: RFC 3339, in UTC.
    pub modified: String,
    /// When it was published first.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub published: Option<String>,
    /// Since when it does not hold any longer.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub withdrawn: Option<String>,
    /// Other identifiers of the same.
    #[serde(
        default,
        deserialize_with = "or_default",
        skip_serializing_if = "Vec::is_empty"
    )]
    pub aliases: Vec<String>,
    /// Identifiers of what it was made from.
    #[serde(
        default,
        deserialize_with = "or_default",
        skip_serializing_if = "Vec::is_empty"
    )]
    pub upstream: Vec<String>,
    /// Identifiers of what is akin.
    #[serde(
        default,
        deserialize_with = "or_default",
        skip_serializing_if = "Vec::is_empty"
    )]
    pub related: Vec<String>,
    /// One line.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub summary: Option<String>,
    /// Markdown.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub details: Option<String>,
    /// How bad it is, by several scales.
    #[serde(
        default,
        deserialize_with = "or_default",
        skip_serializing_if = "Vec::is_empty"
    )]
    pub severity: Vec<Severity>,
    /// Which packages, and which of their versions.
    #[serde(
        default,
        deserialize_with = "or_default",
        skip_serializing_if = "Vec::is_empty"
    )]
    pub affected: Vec<Affected>,
    /// Where to read on.
    #[serde(
        default,
        deserialize_with = "or_default",
        skip_serializing_if = "Vec::is_empty"
    )]
    pub references: Vec<Reference>,
    /// Who found it.
    #[serde(
        default,
        deserialize_with = "or_default",
        skip_serializing_if = "Vec::is_empty"
    )]
    pub credits: Vec<Credit>,
    /// Everything else, `database_specific` among it.
    #[serde(flatten)]
    pub extra: Map<String, Value>,
}

/// A severity as it stands in a record; [`super::Rating`] is what it means.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Severity {
    /// The scale: `CVSS_V2`, `CVSS_V3`, `CVSS_V4`, `Ubuntu` and others.
    #[serde(rename = "type")]
    pub scale: String,
    /// The vector, or a word of that scale.
    pub score: String,
}

/// A package, and which of its versions are meant.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct Affected {
    /// Absent where only a repository's commits are meant.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub package: Option<Package>,
    /// A severity that holds for this package only.
    #[serde(
        default,
        deserialize_with = "or_default",
        skip_serializing_if = "Vec::is_empty"
    )]
    pub severity: Vec<Severity>,
    /// Ranges of versions.
    #[serde(
        default,
        deserialize_with = "or_default",
        skip_serializing_if = "Vec::is_empty"
    )]
    pub ranges: Vec<Range>,
    /// Single versions.
    #[serde(
        default,
        deserialize_with = "or_default",
        skip_serializing_if = "Vec::is_empty"
    )]
    pub versions: Vec<String>,
    /// Everything else, `ecosystem_specific` and `database_specific` among it.
    #[serde(flatten)]
    pub extra: Map<String, Value>,
}

/// A package's name.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct Package {
    /// OSV's name of the ecosystem.
    pub ecosystem: String,
    /// The package, as its ecosystem spells it.
    pub name: String,
    /// The same as a purl, without a version.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub purl: Option<String>,
    /// Everything else.
    #[serde(flatten)]
    pub extra: Map<String, Value>,
}

/// A range: what happened at which version.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct Range {
    /// `SEMVER`, `ECOSYSTEM`, `GIT`, or what comes after these.
    #[serde(rename = "type")]
    pub kind: String,
    /// The repository, for `GIT`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub repo: Option<String>,
    /// In any order.
    #[serde(default, deserialize_with = "or_default")]
    pub events: Vec<Event>,
    /// Everything else.
    #[serde(flatten)]
    pub extra: Map<String, Value>,
}

/// One event of a range. Exactly one of them is there.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Event {
    /// The first version with the flaw; `0` is before all.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub introduced: Option<String>,
    /// The first version without it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub fixed: Option<String>,
    /// The last version with it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_affected: Option<String>,
    /// The first version of which nothing is said.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub limit: Option<String>,
    /// What comes after these.
    #[serde(flatten)]
    pub extra: Map<String, Value>,
}

/// A link.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Reference {
    /// `ADVISORY`, `FIX`, `WEB` and others.
    #[serde(rename = "type")]
    pub kind: String,
    /// The address.
    pub url: String,
}

/// Who found, reported or mended it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Credit {
    /// Name.
    pub name: String,
    /// Everything else.
    #[serde(flatten)]
    pub extra: Map<String, Value>,
}

impl Record {
    /// Reads one record.
    ///
    /// # Errors
    /// `osv-malformed` for what is no record, or an absurd one: without an identifier or a time, with a range that begins
    /// nowhere, with more than any real one has.
    pub fn parse(bytes: &[u8]) -> Result<Self, Rejection> {
        if bytes.len() > MAX_RECORD {
            return Err(malformed(
                "",
                &format!("it has more than {MAX_RECORD} bytes"),
            ));
        }
        let record: Self =
            serde_json::from_slice(bytes).map_err(|error| malformed("", &error.to_string()))?;
        record.check()?;
        Ok(record)
    }

    /// A record that was read as part of something else.
    ///
    /// # Errors
    /// As [`Record::parse`].
    pub fn from_value(value: Value) -> Result<Self, Rejection> {
        let record: Self =
            serde_json::from_value(value).map_err(|error| malformed("", &error.to_string()))?;
        record.check()?;
        Ok(record)
    }

    /// Holds a record against the bounds and against what makes no sense.
    ///
    /// # Errors
    /// `osv-malformed`, with the reason.
    pub fn check(&self) -> Result<(), Rejection> {
        let id = &self.id;
        let refuse = |why: &str| Err(malformed(id, why));
        let named = |text: &str| {
            text.len() <= MAX_ID
                && text.starts_with(|c: char| c.is_ascii_alphanumeric())
                && text
                    .bytes()
                    .all(|b| b.is_ascii_alphanumeric() || b"-_.:+".contains(&b))
        };
        if !named(id) {
            return refuse("its identifier is none");
        }
        for (name, time) in [
            ("modified", Some(&self.modified)),
            ("published", self.published.as_ref()),
            ("withdrawn", self.withdrawn.as_ref()),
        ] {
            if time.is_some_and(|time| order_of_time(time).is_none()) {
                return refuse(&format!("its time of `{name}` is no time in UTC"));
            }
        }
        if self.affected.len() > MAX_AFFECTED {
            return refuse(&format!("it names more than {MAX_AFFECTED} packages"));
        }
        let lists = [
            self.aliases.len(),
            self.upstream.len(),
            self.related.len(),
            self.references.len(),
            self.credits.len(),
            self.severity.len(),
        ];
        if lists.iter().any(|length| *length > MAX_LIST) {
            return refuse(&format!(
                "one of its lists has more than {MAX_LIST} entries"
            ));
        }
        self.affected
            .iter()
            .try_for_each(|affected| affected.check().or_else(|why| refuse(&why)))
    }

    /// Whether it was taken back. Such a record is kept, and matches nothing.
    #[must_use]
    pub fn is_withdrawn(&self) -> bool {
        self.withdrawn.is_some()
    }

    /// Whether it speaks of software that was made to do harm, rather than of a flaw.
    #[must_use]
    pub fn is_malware(&self) -> bool {
        let malicious = |id: &str| id.starts_with("MAL-");
        // Registries of this kind say it by a field, under identifiers of their own.
        let said = || {
            let specific = self.extra.get("database_specific");
            specific.and_then(|specific| specific.get("malware")) == Some(&Value::Bool(true))
        };
        malicious(&self.id) || self.aliases.iter().any(|alias| malicious(alias)) || said()
    }

    /// A text whose order is the order of `modified`, whatever fraction of a second was written.
    #[must_use]
    pub fn modified_order(&self) -> String {
        order_of_time(&self.modified).unwrap_or_default()
    }

    /// The packages of one of our ecosystems under one name.
    pub fn about<'a>(
        &'a self,
        ecosystem: Ecosystem,
        name_key: &'a str,
    ) -> impl Iterator<Item = &'a Affected> {
        let wanted = super::package_key(ecosystem_name(ecosystem), name_key);
        self.affected
            .iter()
            .filter(move |affected| affected.key().is_some_and(|key| key == wanted))
    }

    /// The record as JSON.
    #[must_use]
    pub fn to_json(&self) -> String {
        // Text, numbers and maps with text as keys: this can not fail.
        serde_json::to_string(self).unwrap_or_default()
    }
}

impl Affected {
    /// Under what the package is found, see [`super::package_key`].
    #[must_use]
    pub fn key(&self) -> Option<String> {
        let package = self.package.as_ref()?;
        Some(super::package_key(&package.ecosystem, &package.name))
    }

    /// Functions that have the flaw, as RustSec names them (`affects.functions`): paths such as `crate::Type::method`.
    #[must_use]
    pub fn functions(&self) -> Vec<String> {
        let functions = self
            .extra
            .get("ecosystem_specific")
            .and_then(|specific| specific.get("affects")?.get("functions"));
        match functions {
            Some(Value::Array(paths)) => paths
                .iter()
                .filter_map(Value::as_str)
                .map(str::to_owned)
                .collect(),
            // A map from path to versions, in RustSec's own files.
            Some(Value::Object(paths)) => paths.keys().cloned().collect(),
            _ => Vec::new(),
        }
    }

    /// Modules and symbols that have the flaw, as Go's database and others name them (`imports`).
    #[must_use]
    pub fn symbols(&self) -> Vec<String> {
        let imports = self
            .extra
            .get("ecosystem_specific")
            .and_then(|specific| specific.get("imports"))
            .and_then(Value::as_array);
        let mut symbols = Vec::new();
        for import in imports.into_iter().flatten() {
            let path = import
                .get("path")
                .or_else(|| import.get("module"))
                .and_then(Value::as_str);
            let (Some(path), Some(named)) = (path, import.get("symbols").and_then(Value::as_array))
            else {
                continue;
            };
            symbols.extend(
                named
                    .iter()
                    .filter_map(Value::as_str)
                    .map(|symbol| format!("{path}.{symbol}")),
            );
        }
        symbols
    }

    fn check(&self) -> Result<(), String> {
        let name = self
            .package
            .as_ref()
            .map_or("", |package| package.name.as_str());
        let of = |why: &str| Err(format!("package {}: {why}", quoted(name)));
        if let Some(package) = &self.package {
            let text = |text: &str| {
                !text.is_empty() && text.len() <= MAX_TEXT && !text.contains(char::is_control)
            };
            if !text(&package.name) || !text(&package.ecosystem) {
                return of("its name or ecosystem is none");
            }
        }
        if self.ranges.len() > MAX_RANGES {
            return of(&format!("it has more than {MAX_RANGES} ranges"));
        }
        if self.versions.len() > MAX_VERSIONS {
            return of(&format!("it lists more than {MAX_VERSIONS} versions"));
        }
        if self.versions.iter().any(|version| version.len() > MAX_TEXT) {
            return of("one of its versions is too long");
        }
        for range in &self.ranges {
            if range.events.len() > MAX_EVENTS {
                return of(&format!("a range has more than {MAX_EVENTS} events"));
            }
            let mut begins = false;
            for event in &range.events {
                let known = [
                    &event.introduced,
                    &event.fixed,
                    &event.last_affected,
                    &event.limit,
                ];
                let mut there = known.into_iter().flatten();
                let version = match (there.next(), there.next()) {
                    (Some(version), None) => version,
                    (None, _) if !event.extra.is_empty() => continue,
                    _ => return of("an event of a range is none, or two"),
                };
                if version.is_empty() || version.len() > MAX_TEXT {
                    return of("a version in a range is empty or too long");
                }
                begins |= event.introduced.is_some();
            }
            // Of kinds that are not known nothing is asked.
            if !begins && ["SEMVER", "ECOSYSTEM", "GIT"].contains(&range.kind.as_str()) {
                return of("a range begins nowhere: it has no `introduced`");
            }
        }
        Ok(())
    }
}

/// A time's place in the order of times, if it is one in UTC: the fraction is filled up.
fn order_of_time(time: &str) -> Option<String> {
    let bare = time.strip_suffix(['Z', 'z'])?;
    let (seconds, fraction) = bare.split_once('.').unwrap_or((bare, ""));
    let shape = seconds.len() == 19
        && seconds.bytes().enumerate().all(|(at, b)| match at {
            4 | 7 => b == b'-',
            10 => b == b'T' || b == b't' || b == b' ',
            13 | 16 => b == b':',
            _ => b.is_ascii_digit(),
        });
    let digits = fraction.len() <= 12 && fraction.bytes().all(|b| b.is_ascii_digit());
    (shape && digits).then(|| format!("{seconds}.{fraction:0<12}"))
}

pub(super) fn malformed(id: &str, why: &str) -> Rejection {
    let which = if id.is_empty() {
        "The advisory".to_owned()
    } else {
        format!("The advisory {}", quoted(id))
    };
    Rejection::new("osv-malformed", format!("{which} can not be used: {why}."))
}
