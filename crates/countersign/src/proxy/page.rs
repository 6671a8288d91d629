//! From a project's signed index document to the page that a client gets: every file of it is in the log, nothing that the
//! log published is missing, and its files are to be had from the proxy. Pure.

use std::collections::{BTreeMap, BTreeSet};

use countersign_formats::npm::name::PackageName;
use countersign_formats::{Ecosystem, Limits, NameKey, format, purl, pypi};
use countersign_trust::completeness::{Complete, Completeness};
use countersign_trust::leaf::{Leaf, LeafKind};
use serde_json::{Value, json};

use crate::failure::{Exit, Failure, Result, plain};
use crate::trusted::Pinned;

/// A file that an index lists.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// Its name.
    pub filename: String,
    /// Its version in normal form.
    pub version: String,
    /// Its identifier.
    pub purl: String,
    /// SHA-256, lower-case hex.
    pub sha256: String,
    /// Its length in bytes, where the index says it.
    pub size: Option<u64>,
    /// SHA-256 of its metadata, served beside it.
    pub metadata: Option<String>,
}

/// What the log says of a project, proved.
#[derive(Clone, Debug)]
pub struct Proved {
    /// When each file was published, in microseconds since 1970 UTC, by its identifier.
    pub times: BTreeMap<String, i64>,
    /// How many entries the log had.
    pub log_size: u64,
    /// Files that the index lists though the log says that they are withheld, and why: the owners of a namespace may not have
    /// signed since.
    pub withheld: BTreeMap<String, String>,
    /// Names of files that the index no longer lists, and why, as the log says.
    pub gone: BTreeMap<String, String>,
    /// Files that the log published and the owners of the namespace have not signed yet.
    pub waiting: Vec<String>,
}

/// A page for clients.
#[derive(Clone, Debug)]
pub struct Page {
    /// The body.
    pub body: Vec<u8>,
    /// The files that it lists.
    pub entries: Vec<Entry>,
    /// The files that were left out, and why.
    pub left_out: Vec<LeftOut>,
    /// Why files are not in the index any more, by their names: a lock file may still name them.
    pub gone: BTreeMap<String, String>,
    /// What is in the log and waits for the owners of the namespace, for people; nothing where nothing does.
    pub waiting: Option<String>,
}

/// A file that a signed index lists and that clients are not told of.
#[derive(Clone, Debug)]
pub struct LeftOut {
    /// Its name.
    pub filename: String,
    /// The stable code of the refusal.
    pub code: &'static str,
    /// Why.
    pub why: String,
}

fn unusable(ecosystem: Ecosystem, key: &str, why: &str) -> Failure {
    Failure::unverified(
        "document-invalid",
        format!(
            "The index of {ecosystem}:{key} is not usable: {}.",
            plain(why)
        ),
    )
}

/// A file whose bytes are others than the index signs.
#[must_use]
pub fn other_bytes(entry: &Entry, came: &str) -> Failure {
    Failure::unverified(
        "file-mismatch",
        format!(
            "{} has SHA-256 {came}; signed and logged is {}.",
            plain(&entry.filename),
            entry.sha256
        ),
    )
    .remedy("Somebody between you and the registry changes files, or the registry does. Nothing was installed.")
}

/// The files that an index document lists.
///
/// # Errors
/// Exit 3 for a document that is none of that project, or lists a file without a digest.
pub fn entries(ecosystem: Ecosystem, key: &str, document: &[u8]) -> Result<Vec<Entry>> {
    let refuse = |why: &str| unusable(ecosystem, key, why);
    let limits = Limits::default();
    let rules = format(ecosystem);
    let promises = rules
        .promises(document, &limits)
        .map_err(|refused| refuse(&refused.message))?;
    let (name, metadata, listed) = facts(ecosystem, document).map_err(|why| refuse(&why))?;
    if listed != promises.len() {
        return Err(refuse("it lists a file without a SHA-256"));
    }
    if let Some(name) = &name
        && rules
            .name_key(name)
            .ok()
            .is_none_or(|found| found.as_str() != key)
    {
        return Err(refuse(&format!("it is about {name}")));
    }
    let name_key = NameKey::from_stored(key);
    promises
        .into_iter()
        .map(|promise| {
            let filename = promise.filename;
            let of = |why: &str| refuse(&format!("{filename}: {why}"));
            let written = match ecosystem {
                Ecosystem::Pypi => {
                    let parsed = pypi::filename::parse(&filename, &limits)
                        .map_err(|refused| of(&refused.message))?;
                    if parsed.name_key().as_str() != key {
                        return Err(of("it is of another project"));
                    }
                    parsed.version().canonical().to_owned()
                }
                Ecosystem::Npm => {
                    let name = name.as_deref().unwrap_or_default();
                    let base = name.rsplit('/').next().unwrap_or_default();
                    version_in(&filename, base, ".tgz").ok_or_else(|| of("it has another name"))?
                }
                Ecosystem::Cargo => {
                    let length = name.as_deref().unwrap_or_default().len();
                    let (base, _) = filename.split_at_checked(length).unwrap_or_default();
                    version_in(&filename, base, ".crate")
                        .ok_or_else(|| of("it has another name"))?
                }
            };
            let version = rules
                .version(&written)
                .map_err(|refused| of(&refused.message))?
                .canonical()
                .to_owned();
            Ok(Entry {
                purl: purl::file_purl(ecosystem, &name_key, &version, &filename),
                metadata: metadata.get(&filename).cloned(),
                version,
                sha256: promise.sha256,
                size: promise.size,
                filename,
            })
        })
        .collect()
}

fn version_in(filename: &str, base: &str, end: &str) -> Option<String> {
    let rest = filename.strip_prefix(base)?.strip_prefix('-')?;
    Some(rest.strip_suffix(end)?.to_owned())
}

type Facts = (Option<String>, BTreeMap<String, String>, usize);

/// The name that a document says it is about, digests of metadata by file name, and how many files it lists.
fn facts(ecosystem: Ecosystem, document: &[u8]) -> std::result::Result<Facts, String> {
    if ecosystem == Ecosystem::Cargo {
        let text = std::str::from_utf8(document).map_err(|error| error.to_string())?;
        let mut name: Option<String> = None;
        let mut count = 0;
        for line in text.lines() {
            let line: Value = serde_json::from_str(line).map_err(|error| error.to_string())?;
            let said = line["name"].as_str().ok_or("a line has no name")?;
            if name.get_or_insert_with(|| said.to_owned()) != said {
                return Err("its lines are about several crates".to_owned());
            }
            count += 1;
        }
        return Ok((name, BTreeMap::new(), count));
    }
    let value: Value = serde_json::from_slice(document).map_err(|error| error.to_string())?;
    let name = value["name"].as_str().ok_or("it has no name")?.to_owned();
    let mut metadata = BTreeMap::new();
    let count = match ecosystem {
        Ecosystem::Npm => value["versions"]
            .as_object()
            .map_or(0, serde_json::Map::len),
        _ => {
            let files = value["files"].as_array().ok_or("it lists no files")?;
            for file in files {
                if let (Some(filename), Some(digest)) = (
                    file["filename"].as_str(),
                    file["core-metadata"]["sha256"].as_str(),
                ) {
                    metadata.insert(filename.to_owned(), digest.to_owned());
                }
            }
            files.len()
        }
    };
    Ok((Some(name), metadata, count))
}

/// For how long a map of a log that has grown since may be the newest there is, in seconds: a registry that is at work
/// commits to a new one every few seconds, and one at rest has one that covers all.
const MAP_GOOD: i64 = 15 * 60;

/// Holds an index document against a text that proves all leaves of the project: what the index lists is in the log, and
/// what the log published is in the index, or was taken out by an entry of the log. `now` is seconds since 1970 UTC. `owners`: the
/// namespace, where its owners sign the index and not the registry; what the log published since waits for them then.
///
/// # Errors
/// Exit 3 with what does not hold.
pub fn complete(
    ecosystem: Ecosystem,
    key: &str,
    document: &[u8],
    text: &[u8],
    pinned: &Pinned,
    now: i64,
    owners: Option<&str>,
) -> Result<Proved> {
    let project = purl::project_purl(ecosystem, &NameKey::from_stored(key));
    let refuse = |why: String| {
        Failure::unverified(
            "completeness",
            format!(
                "What the log has of {project} is not proved: {}.",
                plain(&why)
            ),
        )
    };
    let given = Completeness::parse(text).map_err(|error| refuse(error.to_string()))?;
    let checkpoint = pinned.open_checkpoint(given.checkpoint.as_bytes())?;
    let proved = given
        .verify(&checkpoint, &project, None)
        .map_err(|error| refuse(error.to_string()))?;
    let made = proved.time / 1_000_000;
    if !proved.is_exact() && made < now.saturating_sub(MAP_GOOD) {
        let time = countersign_trust::leaf::format_time(proved.time).unwrap_or_default();
        return Err(Failure::unverified(
            "completeness-stale",
            format!(
                "The log has grown since the map of {time} by which {project} is shown: what came after may be hidden."
            ),
        ));
    }
    let listed = entries(ecosystem, key, document)?;
    held(&project, &listed, &proved, owners.is_some())
}

fn held(project: &str, entries: &[Entry], proved: &Complete, by_owners: bool) -> Result<Proved> {
    let logged: BTreeMap<&str, _> = proved.files().collect();
    for entry in entries {
        match logged.get(entry.purl.as_str()) {
            None => {
                return Err(Failure::unverified(
                    "not-in-log",
                    format!(
                        "The index lists {}, which the log never published.",
                        entry.purl
                    ),
                ));
            }
            Some(digest) if digest.to_hex() != entry.sha256 => {
                return Err(Failure::unverified(
                    "index-differs",
                    format!(
                        "The index has SHA-256 {} for {}, the log {digest}.",
                        entry.sha256, entry.purl
                    ),
                ));
            }
            Some(_) => {}
        }
    }
    // What the newest word on a subject is: withheld or gone, or not.
    let mut out: BTreeMap<&str, &Leaf> = BTreeMap::new();
    for leaf in proved.known() {
        let Some(subject) = leaf.subject.as_deref() else {
            continue;
        };
        match leaf.kind {
            LeafKind::Deleted | LeafKind::Quarantined => {
                out.insert(subject, leaf);
            }
            LeafKind::Released => {
                out.remove(subject);
            }
            _ => {}
        }
    }
    if let Some(leaf) = out.get(project)
        && leaf.kind == LeafKind::Quarantined
    {
        let since = countersign_trust::leaf::format_time(leaf.time).unwrap_or_default();
        return Err(Failure::unverified(
            "quarantined",
            format!("{project} is quarantined since {since}, as the log says."),
        ));
    }
    let said_of = |purl: &str| {
        let release = purl.split('?').next().unwrap_or_default();
        [purl, release, project]
            .iter()
            .find_map(|subject| out.get(subject).copied())
    };
    let why = |leaf: &Leaf| {
        let since = countersign_trust::leaf::format_time(leaf.time).unwrap_or_default();
        let what = if leaf.kind == LeafKind::Deleted {
            "deleted"
        } else {
            "quarantined"
        };
        format!("{what} since {since}, as the log says")
    };
    let mut withheld = BTreeMap::new();
    // The registry's own index leaves out what is withheld, or says it.
    for entry in entries.iter().filter(|_| by_owners) {
        if let Some(leaf) = said_of(&entry.purl) {
            withheld.insert(entry.purl.clone(), why(leaf));
        }
    }
    let mut waiting = Vec::new();
    let mut gone = BTreeMap::new();
    let listed: BTreeSet<&str> = entries.iter().map(|entry| entry.purl.as_str()).collect();
    for purl in logged.keys().filter(|purl| !listed.contains(*purl)) {
        if let Some(leaf) = said_of(purl) {
            if let Some(filename) = purl::parse(purl).ok().and_then(|file| file.filename) {
                gone.insert(filename, why(leaf));
            }
            continue;
        }
        if by_owners {
            waiting.push((*purl).to_owned());
        } else {
            return Err(Failure::unverified(
                "release-hidden",
                format!(
                    "The log published {purl}, and the index hides it without an entry of the log that says why."
                ),
            ));
        }
    }
    let times = proved
        .known()
        .filter(|leaf| leaf.kind == LeafKind::FilePublished)
        .filter_map(|leaf| Some((leaf.subject.clone()?, leaf.time)))
        .collect();
    Ok(Proved {
        times,
        log_size: proved.checkpoint.size(),
        withheld,
        gone,
        waiting,
    })
}

/// What of an index may go to clients, and where its files are.
pub struct Rules<'a> {
    /// The proxy's own address without a slash at the end.
    pub base: &'a str,
    /// The youngest that a file may be, in microseconds.
    pub min_age: Option<i64>,
    /// Microseconds since 1970 UTC.
    pub now: i64,
    /// The namespace, where its owners sign the index.
    pub owners: Option<&'a str>,
}

/// The page for clients.
///
/// # Errors
/// Exit 3 for a document that is none; for a project of which nothing is old enough.
pub fn page(
    ecosystem: Ecosystem,
    key: &str,
    document: &[u8],
    proved: Option<&Proved>,
    rules: &Rules<'_>,
) -> Result<Page> {
    let mut entries = entries(ecosystem, key, document)?;
    let mut left_out = Vec::new();
    if let Some(least) = rules.min_age {
        entries.retain(|entry| {
            let time = proved.and_then(|proved| proved.times.get(&entry.purl));
            let old = time.is_some_and(|time| rules.now.saturating_sub(*time) >= least);
            if !old {
                let time = time.and_then(|time| countersign_trust::leaf::format_time(*time));
                let why = match time {
                    Some(time) => format!("published {time}, which is too new"),
                    None => "nothing says when it was published".to_owned(),
                };
                left_out.push(LeftOut {
                    filename: entry.filename.clone(),
                    code: "too-new",
                    why,
                });
            }
            old
        });
        if entries.is_empty() && !left_out.is_empty() {
            return Err(Failure::new(
                Exit::Verification,
                "too-new",
                format!(
                    "All files of {ecosystem}:{key} are newer than the minimum release age allows."
                ),
            ));
        }
    }
    if let Some(proved) = proved {
        entries.retain(|entry| {
            let why = proved.withheld.get(&entry.purl);
            left_out.extend(why.map(|why| LeftOut {
                filename: entry.filename.clone(),
                code: "quarantined",
                why: why.clone(),
            }));
            why.is_none()
        });
    }
    let waiting = proved.map_or(&[][..], |proved| &proved.waiting);
    let waiting = rules
        .owners
        .filter(|_| !waiting.is_empty())
        .map(|owners| {
            format!(
                "{} files are in the log and not signed by the owners of the namespace (TUF role {owners}) yet, as {}",
                waiting.len(),
                waiting.last().map_or("", String::as_str)
            )
        });
    let keep: BTreeSet<&str> = entries
        .iter()
        .map(|entry| entry.filename.as_str())
        .collect();
    let body = match ecosystem {
        Ecosystem::Pypi => python(document, &keep),
        Ecosystem::Npm => npm(document, &keep, rules.base),
        Ecosystem::Cargo => cargo(document, &entries, left_out.is_empty()),
    };
    Ok(Page {
        body: body.map_err(|why| unusable(ecosystem, key, &why))?,
        entries,
        left_out,
        gone: proved.map(|proved| proved.gone.clone()).unwrap_or_default(),
        waiting,
    })
}

fn python(document: &[u8], keep: &BTreeSet<&str>) -> std::result::Result<Vec<u8>, String> {
    let mut value: Value = serde_json::from_slice(document).map_err(|error| error.to_string())?;
    let files = value["files"].as_array_mut().ok_or("it lists no files")?;
    files.retain(|file| {
        file["filename"]
            .as_str()
            .is_some_and(|name| keep.contains(name))
    });
    for file in files {
        let (Some(name), Some(sha256)) =
            (file["filename"].as_str(), file["hashes"]["sha256"].as_str())
        else {
            return Err("a file has no name or digest".to_owned());
        };
        let sha256 = sha256.parse().map_err(|_| "a digest is none")?;
        // Root-relative: whatever address the client knows the proxy by.
        file["url"] = json!(crate::verify::file_path(&sha256, name));
        if let Some(file) = file.as_object_mut() {
            file.remove("provenance");
        }
    }
    Ok(value.to_string().into_bytes())
}

fn npm(document: &[u8], keep: &BTreeSet<&str>, base: &str) -> std::result::Result<Vec<u8>, String> {
    let mut value: Value = serde_json::from_slice(document).map_err(|error| error.to_string())?;
    let name = value["name"].as_str().ok_or("it has no name")?;
    let name = PackageName::parse(name).map_err(|refused| refused.message)?;
    let versions = value["versions"]
        .as_object_mut()
        .ok_or("it has no versions")?;
    versions.retain(|version, _| keep.contains(name.tarball(version).as_str()));
    for (version, shown) in versions.iter_mut() {
        shown["dist"]["tarball"] = json!(format!("{base}/npm/{}", name.tarball_path(version)));
    }
    let rules = format(Ecosystem::Npm);
    let newest = versions
        .keys()
        .filter_map(|text| Some((rules.version(text).ok()?, text.clone())))
        .max_by(|(a, _), (b, _)| {
            let stable = |version: &countersign_formats::Version| !version.is_prerelease();
            stable(a).cmp(&stable(b)).then_with(|| a.cmp(b))
        });
    let known: BTreeSet<String> = versions.keys().cloned().collect();
    if let Some(tags) = value["dist-tags"].as_object_mut() {
        let latest_gone = tags
            .get("latest")
            .and_then(Value::as_str)
            .is_some_and(|version| !known.contains(version));
        tags.retain(|_, version| {
            version
                .as_str()
                .is_some_and(|version| known.contains(version))
        });
        if let (true, Some((_, newest))) = (latest_gone, newest) {
            tags.insert("latest".to_owned(), json!(newest));
        }
    }
    if let Some(times) = value["time"].as_object_mut() {
        times.retain(|key, _| {
            ["created", "modified"].contains(&key.as_str()) || known.contains(key)
        });
    }
    Ok(value.to_string().into_bytes())
}

fn cargo(document: &[u8], entries: &[Entry], whole: bool) -> std::result::Result<Vec<u8>, String> {
    if whole {
        return Ok(document.to_vec());
    }
    let digests: BTreeSet<&str> = entries.iter().map(|entry| entry.sha256.as_str()).collect();
    let text = std::str::from_utf8(document).map_err(|error| error.to_string())?;
    let mut kept = String::new();
    for line in text.lines() {
        let value: Value = serde_json::from_str(line).map_err(|error| error.to_string())?;
        if value["cksum"]
            .as_str()
            .is_some_and(|cksum| digests.contains(cksum))
        {
            kept.push_str(line);
            kept.push('\n');
        }
    }
    Ok(kept.into_bytes())
}
