//! The sparse index: one line of JSON a version, and `config.json`. Rendered for cargo, and read back.
//!
//! Cargo ignores keys that it does not know, so each line also says where its leaf stands in the log.

use std::collections::{BTreeMap, HashSet};

use serde::{Deserialize, Serialize};

use super::{
    CrateDependency, Kind, OwnIndex, Source,
    features::{self, Features},
    inspect::filename,
    name, platform, version,
};
use crate::{Limits, Manifest, Promise, Rejection, pypi::documents::rfc3339, rejection::quoted};

/// Newest form of lines that is written, and read.
const NEWEST_FORM: u32 = 2;
/// Largest `config.json`, and longest address in it.
const MAX_CONFIG: usize = 16 << 10;
const MAX_URL: usize = 1024;

/// One version as the index shows it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Entry {
    /// The crate's name, as it was first written.
    pub name: String,
    /// The version, with its build metadata.
    pub version: String,
    /// Dependencies of all kinds, with the registry of each said outright.
    pub dependencies: Vec<CrateDependency>,
    /// All features.
    pub features: Features,
    /// The native library that this crate alone links.
    pub links: Option<String>,
    /// Oldest Rust that the author promises.
    pub rust_version: Option<String>,
    /// What the registry adds.
    pub published: Published,
}

/// What the registry, and not the crate, says of a version.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Published {
    /// SHA-256 of the `.crate`, in lower-case hex.
    pub sha256: String,
    /// Its length in bytes.
    pub size: Option<u64>,
    /// Whether new lock files should avoid it.
    pub yanked: bool,
    /// When it was published, in microseconds since 1970 UTC; shown in whole seconds.
    pub time: Option<i64>,
    /// Index of the file's leaf in the log.
    pub leaf_index: Option<u64>,
    /// URL of the offline proof that the log holds the file.
    pub proof_url: Option<String>,
}

/// An index of one crate.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct IndexFile {
    /// The registry whose index it is.
    pub own: OwnIndex,
    /// The versions, oldest first.
    pub entries: Vec<Entry>,
}

impl Entry {
    /// From a crate's manifest; none, when it is no crate's.
    pub fn new(manifest: &Manifest, published: Published) -> Option<Self> {
        let details = manifest.details.cargo()?;
        Some(Self {
            name: manifest.name.clone(),
            version: manifest.version_canonical.clone(),
            dependencies: details.dependencies.clone(),
            features: details.features.clone(),
            links: details.links.clone(),
            rust_version: details.rust_version.clone(),
            published,
        })
    }

    /// The line of this version in the index at `own`, without a line end. To be kept and handed to
    /// [`from_lines`].
    pub fn line(&self, own: &OwnIndex) -> String {
        let (features, features2) = features::split(&self.features);
        let deps = self
            .dependencies
            .iter()
            .map(|dependency| LineDependency {
                // The index has it the other way round than Cargo.toml: `name` is the program's name.
                name: dependency.name_in_toml().to_owned(),
                req: dependency.req.clone(),
                features: dependency.features.clone(),
                optional: dependency.optional,
                default_features: dependency.default_features,
                target: dependency.target.clone(),
                kind: Some(dependency.kind),
                registry: dependency.source.in_index_of(own).map(str::to_owned),
                package: dependency
                    .alias
                    .is_some()
                    .then(|| dependency.package.clone()),
            })
            .collect();
        let published = &self.published;
        let countersign = Countersign {
            leaf: published.leaf_index,
            proof: published.proof_url.clone(),
            size: published.size,
        };
        let line = Line {
            name: self.name.clone(),
            vers: self.version.clone(),
            deps,
            cksum: published.sha256.clone(),
            features,
            v: (!features2.is_empty()).then_some(NEWEST_FORM),
            features2: (!features2.is_empty()).then_some(features2),
            yanked: Some(published.yanked),
            links: self.links.clone(),
            rust_version: self.rust_version.clone(),
            pubtime: published.time.map(pubtime),
            countersign: (countersign != Countersign::default()).then_some(countersign),
        };
        serde_json::to_string(&line).expect("texts, numbers and maps with texts as keys serialise")
    }

    /// Reads a line of the index at `own`.
    ///
    /// # Errors
    /// Refuses what is not as cargo's documentation has it, and forms newer than the second, which
    /// may mean something else than they seem to.
    pub fn parse(line: &str, own: &OwnIndex) -> Result<Self, Rejection> {
        Line::parse(line)?.into_entry(own)
    }
}

/// The time as cargo's minimum age reads it: whole seconds.
fn pubtime(micros: i64) -> String {
    format!("{}Z", &rfc3339(micros)[..19])
}

/// The inverse of [`pubtime`]; none, when it is no such time.
fn parse_pubtime(text: &str) -> Option<i64> {
    let shape = text.bytes().enumerate().all(|(at, b)| match at {
        4 | 7 => b == b'-',
        10 => b == b'T',
        13 | 16 => b == b':',
        19 => b == b'Z',
        _ => b.is_ascii_digit(),
    });
    if !shape || text.len() != 20 {
        return None;
    }
    let number = |from: usize, to: usize| text[from..to].parse::<i64>().ok();
    let (year, month, day) = (number(0, 4)?, number(5, 7)?, number(8, 10)?);
    let (hour, minute, second) = (number(11, 13)?, number(14, 16)?, number(17, 19)?);
    if hour > 23 || minute > 59 || second > 59 {
        return None;
    }
    // Days since 1970, counted in years that begin in March.
    let shifted = year - i64::from(month <= 2);
    let era = shifted.div_euclid(400);
    let year_of_era = shifted.rem_euclid(400);
    let day_of_year = (153 * ((month + 9).rem_euclid(12)) + 2) / 5 + day - 1;
    let day_of_era = year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year;
    let days = era * 146_097 + day_of_era - 719_468;
    let micros = (((days * 24 + hour) * 60 + minute) * 60 + second) * 1_000_000;
    // Months and days that are none come back as others.
    (pubtime(micros) == text).then_some(micros)
}

/// A line as it stands in the index.
#[derive(Serialize, Deserialize)]
struct Line {
    name: String,
    vers: String,
    deps: Vec<LineDependency>,
    cksum: String,
    features: Features,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    features2: Option<Features>,
    yanked: Option<bool>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    links: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    rust_version: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    v: Option<u32>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pubtime: Option<String>,
    #[serde(
        rename = "_countersign",
        default,
        skip_serializing_if = "Option::is_none"
    )]
    countersign: Option<Countersign>,
}

#[derive(Default, PartialEq, Serialize, Deserialize)]
struct Countersign {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    leaf: Option<u64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    proof: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    size: Option<u64>,
}

#[derive(Serialize, Deserialize)]
struct LineDependency {
    name: String,
    req: String,
    features: Vec<String>,
    optional: bool,
    default_features: bool,
    target: Option<String>,
    kind: Option<Kind>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    registry: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    package: Option<String>,
}

fn invalid(why: &str) -> Rejection {
    Rejection::new(
        "document-invalid",
        format!("The index is not usable: {why}."),
    )
}

impl Line {
    /// Reads a line, and proves what becomes part of a file name and an address.
    fn parse(line: &str) -> Result<Self, Rejection> {
        let line: Line = serde_json::from_str(line)
            .map_err(|error| invalid(&format!("a line is not as cargo has it: {error}")))?;
        name::key(&line.name)?;
        version::parse(&line.vers)?;
        let is_digest = line.cksum.len() == 64
            && line
                .cksum
                .bytes()
                .all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'));
        if !is_digest {
            return Err(invalid(&format!(
                "it gives {} as SHA-256 of {} {}",
                quoted(&line.cksum),
                line.name,
                line.vers
            )));
        }
        Ok(line)
    }

    fn into_entry(self, own: &OwnIndex) -> Result<Entry, Rejection> {
        if let Some(form) = self.v
            && !(1..=NEWEST_FORM).contains(&form)
        {
            return Err(invalid(&format!("it has a line of the form {form}")));
        }
        let mut features = self.features;
        for (feature, values) in self.features2.unwrap_or_default() {
            features.entry(feature).or_default().extend(values);
        }
        let dependencies = self
            .deps
            .into_iter()
            .map(|dependency| {
                let (package, alias) = match dependency.package {
                    Some(package) => (package, Some(dependency.name)),
                    None => (dependency.name, None),
                };
                Ok(CrateDependency {
                    package,
                    alias,
                    req: dependency.req,
                    features: dependency.features,
                    optional: dependency.optional,
                    default_features: dependency.default_features,
                    target: dependency
                        .target
                        .map(|text| platform::normal(&text).unwrap_or(text)),
                    kind: dependency.kind.unwrap_or_default(),
                    source: Source::from_index_of(own, dependency.registry.as_deref())?,
                })
            })
            .collect::<Result<_, Rejection>>()?;
        let time = match self.pubtime {
            None => None,
            Some(text) => Some(
                parse_pubtime(&text)
                    .ok_or_else(|| invalid(&format!("{} is no pubtime", quoted(&text))))?,
            ),
        };
        let countersign = self.countersign.unwrap_or_default();
        Ok(Entry {
            name: self.name,
            version: self.vers,
            dependencies,
            features,
            links: self.links,
            rust_version: self.rust_version,
            published: Published {
                sha256: self.cksum,
                size: countersign.size,
                yanked: self.yanked.unwrap_or(false),
                time,
                leaf_index: countersign.leaf,
                proof_url: countersign.proof,
            },
        })
    }
}

/// A whole index file.
pub fn document(file: &IndexFile) -> String {
    from_lines(file.entries.iter().map(|entry| entry.line(&file.own)))
}

/// A whole index file from its lines, each with a line end: the same bytes as [`document`].
pub fn from_lines(lines: impl IntoIterator<Item = impl AsRef<str>>) -> String {
    let mut document = String::new();
    for line in lines {
        document.push_str(line.as_ref());
        document.push('\n');
    }
    document
}

/// The lines of a document that is not too large.
fn lines<'a>(
    document: &'a [u8],
    limits: &Limits,
) -> Result<impl Iterator<Item = &'a str>, Rejection> {
    if document.len() > limits.max_document {
        return Err(Rejection::new(
            "document-too-large",
            format!(
                "The index document has {} bytes; at most {} are read.",
                document.len(),
                limits.max_document
            ),
        ));
    }
    let text = std::str::from_utf8(document).map_err(|_| invalid("it is not UTF-8"))?;
    Ok(text.split('\n').filter(|line| !line.trim().is_empty()))
}

/// Each version once, whatever the build metadata, and all of one crate.
#[derive(Default)]
struct Distinct {
    name: Option<String>,
    versions: HashSet<String>,
}

impl Distinct {
    fn see(&mut self, name: &str, version: &str) -> Result<(), Rejection> {
        let first = self.name.get_or_insert_with(|| name.to_owned());
        if !first.eq_ignore_ascii_case(name) {
            return Err(invalid(&format!(
                "it holds {} and {}",
                quoted(first),
                quoted(name)
            )));
        }
        if !self
            .versions
            .insert(version::parse(version)?.key().to_owned())
        {
            return Err(invalid(&format!("it has the version {version} twice")));
        }
        Ok(())
    }
}

/// Reads an index file of the registry at `own`.
///
/// # Errors
/// As [`Entry::parse`]; refuses documents over the limit, of several crates, and with a version twice.
pub fn parse(document: &[u8], own: &OwnIndex, limits: &Limits) -> Result<Vec<Entry>, Rejection> {
    let mut distinct = Distinct::default();
    lines(document, limits)?
        .map(|line| {
            let entry = Entry::parse(line, own)?;
            distinct.see(&entry.name, &entry.version)?;
            Ok(entry)
        })
        .collect()
}

/// The files that an index promises. Their addresses are relative to the document, as this registry
/// lays them out (`index/` beside `api/`); for others, see [`Config::download_url`].
///
/// # Errors
/// Refuses documents over the limit, lines that are not as cargo has them, and versions twice.
pub fn promises(document: &[u8], limits: &Limits) -> Result<Vec<Promise>, Rejection> {
    let mut distinct = Distinct::default();
    lines(document, limits)?
        .map(|line| {
            let line = Line::parse(line)?;
            distinct.see(&line.name, &line.vers)?;
            let up = name::index_path(&line.name)?.matches('/').count() + 1;
            let countersign = line.countersign.unwrap_or_default();
            Ok(Promise {
                filename: filename(&line.name, &line.vers),
                url: format!(
                    "{}api/v1/crates/{}/{}/download",
                    "../".repeat(up),
                    line.name,
                    line.vers
                ),
                sha256: line.cksum,
                size: countersign.size,
                leaf_index: countersign.leaf,
                proof_url: countersign.proof,
            })
        })
        .collect()
}

/// `config.json` at the root of the index.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Config {
    /// Where crates are; may hold markers such as `{crate}`.
    pub dl: String,
    /// Root of the web API; none, when the registry takes no requests.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub api: Option<String>,
    /// Whether even reading takes a token.
    #[serde(
        rename = "auth-required",
        default,
        skip_serializing_if = "std::ops::Not::not"
    )]
    pub auth_required: bool,
}

impl Config {
    /// The document.
    pub fn render(&self) -> String {
        serde_json::to_string(self).expect("two texts and a truth value serialise")
    }

    /// Reads a foreign registry's.
    ///
    /// # Errors
    /// Refuses what is no such document, and addresses that are not http or https.
    pub fn parse(bytes: &[u8]) -> Result<Self, Rejection> {
        if bytes.len() > MAX_CONFIG {
            return Err(invalid("its config.json is too large"));
        }
        let config: Config = serde_json::from_slice(bytes).map_err(|error| {
            invalid(&format!("its config.json is not as cargo has it: {error}"))
        })?;
        for url in std::iter::once(&config.dl).chain(&config.api) {
            let is_web = url.starts_with("https://") || url.starts_with("http://");
            if !is_web || url.len() > MAX_URL || !url.bytes().all(|b| b.is_ascii_graphic()) {
                return Err(invalid(&format!(
                    "its config.json has the address {}",
                    quoted(url)
                )));
            }
        }
        Ok(config)
    }

    /// Where a version is, as cargo works it out.
    pub fn download_url(&self, name: &str, version: &str, sha256: &str) -> String {
        let lower = name.to_ascii_lowercase();
        let values = BTreeMap::from([
            ("{crate}", name.to_owned()),
            ("{version}", version.to_owned()),
            ("{prefix}", name::prefix(name)),
            ("{lowerprefix}", name::prefix(&lower)),
            ("{sha256-checksum}", sha256.to_owned()),
        ]);
        if !values.keys().any(|marker| self.dl.contains(marker)) {
            return format!("{}/{name}/{version}/download", self.dl);
        }
        // One pass, so that a value is never searched for markers.
        let mut url = String::new();
        let mut rest = self.dl.as_str();
        while let Some(at) = rest.find('{') {
            url.push_str(&rest[..at]);
            rest = &rest[at..];
            match values.iter().find(|(marker, _)| rest.starts_with(**marker)) {
                Some((marker, value)) => {
                    url.push_str(value);
                    rest = &rest[marker.len()..];
                }
                None => {
                    url.push('{');
                    rest = &rest[1..];
                }
            }
        }
        url.push_str(rest);
        url
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_have_whole_seconds_and_come_back() {
        for (micros, text) in [
            (0, "1970-01-01T00:00:00Z"),
            (1_700_000_000_999_999, "2023-11-14T22:13:20Z"),
            (951_782_400_000_000, "2000-02-29T00:00:00Z"),
            (-1, "1969-12-31T23:59:59Z"),
        ] {
            assert_eq!(pubtime(micros), text);
            assert_eq!(
                parse_pubtime(text),
                Some(micros.div_euclid(1_000_000) * 1_000_000)
            );
        }
        for text in [
            "",
            "2023-02-29T00:00:00Z",
            "2023-13-01T00:00:00Z",
            "2023-00-01T00:00:00Z",
            "2023-01-01T24:00:00Z",
            "2023-01-01T00:00:00.5Z",
            "2023-01-01T00:00:00+00:00",
            "2023-01-01 00:00:00Z",
            "２023-01-01T00:00:00Z",
        ] {
            assert_eq!(parse_pubtime(text), None, "{text}");
        }
    }

    #[test]
    fn download_addresses_are_those_of_cargo() {
        let at = |dl: &str| {
            let config = Config {
                dl: dl.to_owned(),
                api: None,
                auth_required: false,
            };
            config.download_url("Serde_{x}", "1.0.0+b", "ab12")
        };
        assert_eq!(
            at("https://x.example/c"),
            "https://x.example/c/Serde_{x}/1.0.0+b/download"
        );
        assert_eq!(
            at(
                "https://x.example/{prefix}/{lowerprefix}/{crate}/{version}/{sha256-checksum}/{other}"
            ),
            "https://x.example/Se/rd/se/rd/Serde_{x}/1.0.0+b/ab12/{other}"
        );
    }

    #[test]
    fn configs_come_back_and_odd_ones_are_refused() {
        let config = Config {
            dl: "https://x.example/cargo/api/v1/crates".to_owned(),
            api: Some("https://x.example/cargo".to_owned()),
            auth_required: true,
        };
        assert_eq!(
            config.render(),
            r#"{"dl":"https://x.example/cargo/api/v1/crates","api":"https://x.example/cargo","auth-required":true}"#
        );
        assert_eq!(Config::parse(config.render().as_bytes()).unwrap(), config);
        assert!(Config::parse(br#"{"dl":"https://x.example","api":null}"#).is_ok());
        for text in [
            "",
            "{}",
            r#"{"dl":"file:///x"}"#,
            r#"{"dl":"https://x.example\n"}"#,
            r#"{"dl":"https://x.example","dl":"https://y.example"}"#,
            r#"{"dl":"https://x.example","api":"javascript:x"}"#,
        ] {
            assert_eq!(
                Config::parse(text.as_bytes()).unwrap_err().code,
                "document-invalid"
            );
        }
    }
}
