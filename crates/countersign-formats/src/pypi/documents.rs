//! Index documents of Python projects: pure rendering (PEP 503, 592, 629, 658, 691, 700, 714, 740,
//! 792; API version 1.4).
//!
//! The JSON document of a project is the one that is signed. It is put together from one fragment
//! per file, so that a new file costs one fragment and not a new rendering of a thousand; the HTML
//! page is derived from the JSON text ([`super::html::project_html`]).

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

use crate::{Manifest, NameKey};

/// Version of the simple API that the documents speak.
pub const API_VERSION: &str = "1.4";

/// Whether a project can be relied on (PEP 792).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ProjectStatus {
    /// As usual.
    #[default]
    Active,
    /// No further releases are expected.
    Archived,
    /// Withheld as dangerous: the document lists no files.
    Quarantined,
    /// Superseded.
    Deprecated,
}

impl ProjectStatus {
    /// The word in documents.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Active => "active",
            Self::Archived => "archived",
            Self::Quarantined => "quarantined",
            Self::Deprecated => "deprecated",
        }
    }
}

/// One file as an index document shows it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct FileView {
    /// File name.
    pub filename: String,
    /// Where it is, absolute or relative to the document; percent-encoded, without a fragment.
    pub url: String,
    /// Lower-case hex.
    pub sha256: String,
    /// Length in bytes.
    pub size: u64,
    /// When it was published, in microseconds since 1970 UTC.
    pub upload_time: i64,
    /// Which Pythons it runs on.
    pub requires_python: Option<String>,
    /// Present when yanked; the reason may be empty.
    pub yanked: Option<String>,
    /// Digest of the `.metadata` sibling, lower-case hex.
    pub metadata_sha256: Option<String>,
    /// URL of the provenance (PEP 740).
    pub provenance: Option<String>,
    /// URL of the offline proof that the log holds the file.
    pub proof_url: Option<String>,
    /// Index of the file's leaf in the log.
    pub leaf_index: u64,
}

/// What stands above the files in a project's document.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ProjectHead {
    /// The project's key; the `name` in the document.
    pub name_key: NameKey,
    /// The name as its owners write it; for pages and the legacy JSON.
    pub display_name: String,
    /// Whether it can be relied on.
    pub status: ProjectStatus,
    /// Why it has this status.
    pub status_reason: Option<String>,
    /// All versions that have files, in normal form.
    pub versions: Vec<String>,
    /// A number that grows with every change.
    pub last_serial: u64,
}

/// A project as its index document shows it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ProjectView {
    /// What stands above the files.
    pub head: ProjectHead,
    /// The files, in the order of the document.
    pub files: Vec<FileView>,
}

/// The JSON object of one file, to be kept and handed to [`project_json_from_fragments`].
pub fn file_fragment(file: &FileView) -> String {
    #[derive(Serialize)]
    #[serde(rename_all = "kebab-case")]
    struct Fragment<'a> {
        filename: &'a str,
        url: &'a str,
        hashes: Hashes<'a>,
        requires_python: Option<&'a str>,
        size: u64,
        upload_time: String,
        yanked: Value,
        core_metadata: Value,
        data_dist_info_metadata: Value,
        provenance: Option<&'a str>,
        #[serde(rename = "_countersign")]
        countersign: Countersign<'a>,
    }
    #[derive(Serialize)]
    struct Hashes<'a> {
        sha256: &'a str,
    }
    #[derive(Serialize)]
    struct Countersign<'a> {
        leaf: u64,
        #[serde(skip_serializing_if = "Option::is_none")]
        proof: Option<&'a str>,
    }
    let metadata = match &file.metadata_sha256 {
        Some(sha256) => json!({ "sha256": sha256 }),
        None => Value::Bool(false),
    };
    text(&Fragment {
        filename: &file.filename,
        url: &file.url,
        hashes: Hashes {
            sha256: &file.sha256,
        },
        requires_python: file.requires_python.as_deref(),
        size: file.size,
        upload_time: rfc3339(file.upload_time),
        yanked: yanked(file.yanked.as_deref()),
        core_metadata: metadata.clone(),
        data_dist_info_metadata: metadata,
        provenance: file.provenance.as_deref(),
        countersign: Countersign {
            leaf: file.leaf_index,
            proof: file.proof_url.as_deref(),
        },
    })
}

/// PEP 691 has `false`, or the reason; an empty reason is falsy for clients, hence `true`.
fn yanked(reason: Option<&str>) -> Value {
    match reason {
        None => Value::Bool(false),
        Some("") => Value::Bool(true),
        Some(reason) => Value::String(reason.to_owned()),
    }
}

/// A project's JSON document from the fragments of its files. A quarantined project shows none.
pub fn project_json_from_fragments(head: &ProjectHead, fragments: &[impl AsRef<str>]) -> String {
    #[derive(Serialize)]
    #[serde(rename_all = "kebab-case")]
    struct Head<'a> {
        meta: Meta,
        name: &'a str,
        project_status: Status<'a>,
        versions: &'a [String],
    }
    #[derive(Serialize)]
    struct Status<'a> {
        status: &'static str,
        #[serde(skip_serializing_if = "Option::is_none")]
        reason: Option<&'a str>,
    }
    let mut document = text(&Head {
        meta: Meta::new(head.last_serial),
        name: head.name_key.as_str(),
        project_status: Status {
            status: head.status.as_str(),
            reason: head.status_reason.as_deref(),
        },
        versions: &head.versions,
    });
    document.pop(); // the closing brace
    let fragments = match head.status {
        ProjectStatus::Quarantined => &[],
        _ => fragments,
    };
    let size: usize = fragments.iter().map(|f| f.as_ref().len() + 1).sum();
    document.reserve(size + 16);
    document.push_str(",\"files\":[");
    for (index, fragment) in fragments.iter().enumerate() {
        if index > 0 {
            document.push(',');
        }
        document.push_str(fragment.as_ref());
    }
    document.push_str("]}");
    document
}

/// A project's JSON document: the same bytes as [`project_json_from_fragments`] of its files.
pub fn project_json(project: &ProjectView) -> String {
    let fragments: Vec<String> = project.files.iter().map(file_fragment).collect();
    project_json_from_fragments(&project.head, &fragments)
}

/// The JSON list of all projects; `names` are display names.
pub fn index_json<'a>(names: impl IntoIterator<Item = &'a str>, last_serial: u64) -> String {
    #[derive(Serialize)]
    struct Name<'a> {
        name: &'a str,
    }
    #[derive(Serialize)]
    struct Head {
        meta: Meta,
    }
    let mut document = text(&Head {
        meta: Meta::new(last_serial),
    });
    document.pop(); // the closing brace
    document.push_str(",\"projects\":[");
    for (index, name) in names.into_iter().enumerate() {
        if index > 0 {
            document.push(',');
        }
        document.push_str(&text(&Name { name }));
    }
    document.push_str("]}");
    document
}

#[derive(Serialize)]
struct Meta {
    #[serde(rename = "api-version")]
    api_version: &'static str,
    #[serde(rename = "_last-serial")]
    last_serial: u64,
}

impl Meta {
    fn new(last_serial: u64) -> Self {
        Self {
            api_version: API_VERSION,
            last_serial,
        }
    }
}

/// One file as the legacy JSON shows it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LegacyFile {
    /// As in the simple index; `url` should be absolute here.
    pub view: FileView,
    /// `bdist_wheel` or `sdist`.
    pub filetype: String,
    /// `py3`, `source`.
    pub python_tag: String,
    /// Lower-case hex, where it is known.
    pub md5: Option<String>,
    /// Lower-case hex, where it is known.
    pub blake2_256: Option<String>,
}

/// One release as the legacy JSON shows it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LegacyRelease {
    /// In normal form.
    pub version: String,
    /// Its files.
    pub files: Vec<LegacyFile>,
}

/// The legacy per-project JSON (`/pypi/NAME/json`): `info` of `newest`, all releases, and the files
/// of the newest. `pages` is the absolute URL of the project's page, without a slash at the end.
pub fn project_legacy_json(
    head: &ProjectHead,
    newest: &Manifest,
    releases: &[LegacyRelease],
    pages: &str,
) -> String {
    let all: Map<String, Value> = releases
        .iter()
        .map(|release| (release.version.clone(), files(release)))
        .collect();
    let urls = releases
        .iter()
        .find(|release| release.version == newest.version_canonical);
    text(&json!({
        "info": info(head, newest, urls, pages),
        "last_serial": head.last_serial,
        "releases": all,
        "urls": urls.map_or_else(|| json!([]), files),
        "vulnerabilities": [],
    }))
}

/// The legacy per-release JSON (`/pypi/NAME/VERSION/json`).
pub fn release_legacy_json(
    head: &ProjectHead,
    manifest: &Manifest,
    release: &LegacyRelease,
    pages: &str,
) -> String {
    text(&json!({
        "info": info(head, manifest, Some(release), pages),
        "last_serial": head.last_serial,
        "urls": files(release),
        "vulnerabilities": [],
    }))
}

/// A vulnerability as the legacy JSON lists it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Vulnerability {
    /// The advisory.
    pub id: String,
    /// Its other identifiers.
    pub aliases: Vec<String>,
    /// One line.
    pub summary: String,
    /// More than that.
    pub details: String,
    /// Versions without the flaw.
    pub fixed_in: Vec<String>,
    /// Where to read on.
    pub link: Option<String>,
    /// Who says so.
    pub source: String,
}

/// A legacy JSON, as it was written by this module, with what is known of the release that it shows. `None` for other texts.
#[must_use]
pub fn with_vulnerabilities(document: &str, vulnerabilities: &[Vulnerability]) -> Option<String> {
    // It is the last member, so that nothing has to be parsed.
    let before = document.strip_suffix("\"vulnerabilities\":[]}")?;
    let list: Vec<Value> = vulnerabilities
        .iter()
        .map(|one| {
            json!({
                "id": one.id,
                "aliases": one.aliases,
                "summary": one.summary,
                "details": one.details,
                "fixed_in": one.fixed_in,
                "link": one.link,
                "source": one.source,
                "withdrawn": null,
            })
        })
        .collect();
    Some(format!(
        "{before}\"vulnerabilities\":{}}}",
        text(&Value::Array(list))
    ))
}

fn info(head: &ProjectHead, m: &Manifest, release: Option<&LegacyRelease>, pages: &str) -> Value {
    let project_urls: Map<String, Value> = m
        .project_urls
        .iter()
        .map(|(label, url)| (label.clone(), Value::String(url.clone())))
        .collect();
    let others = |field: &str| -> Vec<&str> {
        m.other_fields
            .iter()
            .filter(|(name, _)| name == field)
            .map(|(_, value)| value.as_str())
            .collect()
    };
    let requires: Vec<&str> = m
        .dependencies
        .iter()
        .map(|d| d.requirement.as_str())
        .collect();
    let files = release.map_or(&[][..], |release| &release.files);
    let yanked = !files.is_empty() && files.iter().all(|file| file.view.yanked.is_some());
    let reason = files
        .iter()
        .filter_map(|file| file.view.yanked.as_deref())
        .find(|reason| yanked && !reason.is_empty());
    json!({
        "author": m.author, "author_email": m.author_email, "bugtrack_url": null,
        "classifiers": m.classifiers,
        "description": m.description.as_deref().unwrap_or_default(),
        "description_content_type": m.description_content_type,
        "docs_url": null, "download_url": m.download_url,
        "downloads": { "last_day": -1, "last_month": -1, "last_week": -1 },
        "dynamic": others("dynamic"), "home_page": m.home_page, "keywords": m.keywords,
        "license": m.license, "license_expression": m.license_expression, "license_files": m.license_files,
        "maintainer": m.maintainer, "maintainer_email": m.maintainer_email,
        "name": head.display_name, "package_url": format!("{pages}/"),
        "platform": others("platform").first(), "project_url": format!("{pages}/"),
        "project_urls": if project_urls.is_empty() { Value::Null } else { Value::Object(project_urls) },
        "provides_extra": m.provides_extra,
        "release_url": format!("{pages}/{}/", m.version_canonical),
        "requires_dist": if requires.is_empty() { Value::Null } else { json!(requires) },
        "requires_python": m.requires_python, "summary": m.summary,
        "version": m.version_canonical, "yanked": yanked, "yanked_reason": reason,
    })
}

fn files(release: &LegacyRelease) -> Value {
    let file = |file: &LegacyFile| {
        let view = &file.view;
        let time = rfc3339(view.upload_time);
        let mut digests = Map::new();
        for (name, digest) in [
            ("blake2b_256", file.blake2_256.as_ref()),
            ("md5", file.md5.as_ref()),
            ("sha256", Some(&view.sha256)),
        ] {
            if let Some(digest) = digest {
                digests.insert(name.to_owned(), Value::String(digest.clone()));
            }
        }
        json!({
            "comment_text": null, "digests": digests, "downloads": -1,
            "filename": view.filename, "has_sig": false, "md5_digest": file.md5,
            "packagetype": file.filetype, "python_version": file.python_tag,
            "requires_python": view.requires_python, "size": view.size,
            "upload_time": &time[..19], "upload_time_iso_8601": time,
            "url": view.url, "yanked": view.yanked.is_some(),
            "yanked_reason": view.yanked.as_deref().filter(|reason| !reason.is_empty()),
        })
    };
    Value::Array(release.files.iter().map(file).collect())
}

fn text(value: &impl Serialize) -> String {
    serde_json::to_string(value).expect("structs of texts and numbers always serialise")
}

/// Microseconds since 1970 UTC as `YYYY-MM-DDTHH:MM:SS.ffffffZ`. Times before the year 0 or after
/// 9999 are clamped, as the format has four digits for the year.
pub(crate) fn rfc3339(micros: i64) -> String {
    const YEAR_0: i64 = -62_167_219_200_000_000;
    const YEAR_9999_END: i64 = 253_402_300_799_999_999;
    let micros = micros.clamp(YEAR_0, YEAR_9999_END);
    let (seconds, fraction) = (micros.div_euclid(1_000_000), micros.rem_euclid(1_000_000));
    let (days, second) = (seconds.div_euclid(86_400), seconds.rem_euclid(86_400));
    // Gregorian calendar, counted in eras of 400 years that begin on 1 March.
    let shifted = days + 719_468;
    let (era, day_of_era) = (shifted.div_euclid(146_097), shifted.rem_euclid(146_097));
    let year_of_era =
        (day_of_era - day_of_era / 1_460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let march_month = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * march_month + 2) / 5 + 1;
    let month = if march_month < 10 {
        march_month + 3
    } else {
        march_month - 9
    };
    let year = era * 400 + year_of_era + i64::from(month <= 2);
    format!(
        "{year:04}-{month:02}-{day:02}T{:02}:{:02}:{:02}.{fraction:06}Z",
        second / 3_600,
        second / 60 % 60,
        second % 60
    )
}
