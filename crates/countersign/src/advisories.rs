//! Databases of advisories on this machine: read once from files, folders, addresses or a registry's own feed, and kept as an index in the
//! user's folder, so that the next question is answered at once and without a network.

use std::fs::{self, File};
use std::io::{Read, Write};
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use countersign_formats::osv::{self, Builder, Finding, Index, import};
use countersign_formats::{Ecosystem, Rejection};
use countersign_trust::digest::Sha256;
use serde::{Deserialize, Serialize};
use url::Url;

use crate::bundle;
use crate::failure::{Exit, Failure, Result};
use crate::remote::Remote;
use crate::trusted;

/// How old what was fetched may be before it is fetched again.
const FRESH: Duration = Duration::from_secs(24 * 60 * 60);
/// The largest file that is fetched, in bytes.
const MOST_FETCHED: u64 = 8 << 30;
/// The largest index that is read back, in bytes.
const MOST_INDEX: usize = 4 << 30;
/// The most files of a folder.
const MOST_FILES: usize = 3_000_000;
/// How deep folders are followed.
const MOST_DEPTH: usize = 8;

/// Where advisories come from, and what may be asked.
pub struct Wanted<'a> {
    /// Files, folders, addresses, as the user wrote them.
    pub sources: &'a [String],
    /// A registry whose own feed is read too.
    pub registry: Option<&'a Remote>,
    /// Certificates of further authorities.
    pub authorities: Option<&'a [u8]>,
    /// Which ecosystems are needed, of databases that come in parts.
    pub ecosystems: &'a [Ecosystem],
    /// Use no network: what was fetched before is good enough.
    pub offline: bool,
    /// Read everything anew.
    pub refresh: bool,
}

/// What is known of one part of a database.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct About {
    /// Where it comes from.
    pub source: String,
    /// When it was read, in seconds since 1970.
    pub read: u64,
    /// When the newest of its records was changed.
    pub newest: String,
    /// Records, those included that were withdrawn.
    pub records: u64,
    /// Records that were withdrawn.
    pub withdrawn: u64,
    /// Records that could not be used.
    pub refused: u64,
    /// Where and why, of the first of them.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub reasons: Vec<(String, String)>,
    /// What the source looked like, for what lies on this machine.
    fingerprint: String,
    /// The length of the index, in bytes.
    length: u64,
}

/// Databases, ready to be asked.
pub struct Database {
    parts: Vec<(About, Index)>,
    /// What people should know about it.
    pub notes: Vec<String>,
}

impl Database {
    /// Opens what is wanted; reads it where it was not read before, or has changed.
    ///
    /// # Errors
    /// Exit 2 where there is nothing to read or it can not be used; those of fetching.
    pub fn open(wanted: &Wanted<'_>) -> Result<Self> {
        let folder = trusted::folder("XDG_CACHE_HOME", ".cache")?.join("advisories");
        fs::create_dir_all(&folder).map_err(|error| unwritable(&folder, &error.to_string()))?;
        let mut database = Self {
            parts: Vec::new(),
            notes: Vec::new(),
        };
        for source in wanted.sources {
            if source.starts_with("https://") || source.starts_with("http://") {
                database.address(&folder, source, wanted)?;
            } else {
                database.local(&folder, Path::new(source), wanted.refresh)?;
            }
        }
        if let Some(remote) = wanted.registry {
            let place = format!("{}/osv/all.zip", remote.site());
            database.fetched(&folder, &place, remote, "/osv/all.zip", wanted)?;
        }
        if database.parts.is_empty() {
            return Err(Failure::new(
                Exit::Usage,
                "no-advisories",
                "There are no advisories to look into.",
            )
            .remedy("Name a database with --advisories: an OSV all.zip, a folder of such, or an address. A registry's own feed is read where it has one."));
        }
        Ok(database)
    }

    /// What each part is.
    pub fn about(&self) -> impl Iterator<Item = &About> {
        self.parts.iter().map(|(about, _)| about)
    }

    /// Calls `each` with everything that concerns a version, or may concern it.
    pub fn findings(
        &self,
        ecosystem: Ecosystem,
        name_key: &str,
        version: &str,
        each: &mut dyn FnMut(&Finding<'_>),
    ) {
        for (_, index) in &self.parts {
            if let Some(rules) = index.project(ecosystem, name_key) {
                rules.findings(version).iter().for_each(&mut *each);
            }
        }
    }

    fn local(&mut self, folder: &Path, path: &Path, refresh: bool) -> Result<()> {
        let source = path.display().to_string();
        let unusable = |why: String| {
            Failure::new(
                Exit::Usage,
                "advisories-unreadable",
                format!("The advisories in {source} can not be read: {why}."),
            )
        };
        let mut files = Vec::new();
        gather(path, 0, &mut files).map_err(unusable)?;
        files.sort();
        let mut print = String::new();
        for (path, length, changed) in &files {
            print.push_str(&format!("{}\n{length}\n{changed}\n", path.display()));
        }
        let fingerprint = Sha256::of(print.as_bytes()).to_string();
        let absolute = fs::canonicalize(path).unwrap_or_else(|_| path.to_owned());
        let key = key(&absolute.display().to_string());
        if !refresh
            && let Some((about, index)) = kept(folder, &key)
            && about.fingerprint == fingerprint
        {
            self.take(about, index);
            return Ok(());
        }
        if files.is_empty() {
            return Err(unusable("there is no .json or .zip in it".to_owned()));
        }
        let paths: Vec<PathBuf> = files.into_iter().map(|(path, ..)| path).collect();
        let (about, index) = read(&source, &paths, fingerprint)?;
        keep(folder, &key, &about, &index)?;
        self.take(about, index);
        Ok(())
    }

    fn take(&mut self, about: About, index: Index) {
        if about.refused > 0 {
            let first = about
                .reasons
                .first()
                .map(|(place, why)| format!("; first {place}: {why}"))
                .unwrap_or_default();
            self.notes.push(format!(
                "{} advisories of {} can not be used{first}",
                about.refused, about.source
            ));
        }
        self.parts.push((about, index));
    }

    fn address(&mut self, folder: &Path, source: &str, wanted: &Wanted<'_>) -> Result<()> {
        let url = Url::parse(source).map_err(|error| {
            Failure::new(
                Exit::Usage,
                "advisories-address",
                format!("{source} is no address: {error}."),
            )
        })?;
        let mut site = url.clone();
        site.set_path("");
        site.set_query(None);
        site.set_fragment(None);
        let remote = Remote::new(&site, None, wanted.authorities)?;
        let whole = [".zip", ".json", ".jsonl"]
            .iter()
            .any(|end| url.path().ends_with(end));
        if whole {
            return self.fetched(
                folder,
                source,
                &remote,
                &url[url::Position::BeforePath..],
                wanted,
            );
        }
        // A database in parts, as OSV hands it out.
        for ecosystem in wanted.ecosystems {
            let name = osv::ecosystem_name(*ecosystem);
            let path = format!("{}/{name}/all.zip", url.path().trim_end_matches('/'));
            let place = format!("{}{path}", remote.site());
            self.fetched(folder, &place, &remote, &path, wanted)?;
        }
        Ok(())
    }

    fn fetched(
        &mut self,
        folder: &Path,
        place: &str,
        remote: &Remote,
        path: &str,
        wanted: &Wanted<'_>,
    ) -> Result<()> {
        let key = key(place);
        let before = kept(folder, &key);
        let now = now();
        let fresh = before
            .as_ref()
            .is_some_and(|(about, _)| now.saturating_sub(about.read) < FRESH.as_secs());
        if let Some((about, index)) = before {
            if wanted.offline || (fresh && !wanted.refresh) {
                self.take(about, index);
                return Ok(());
            }
            let again = download(folder, &key, place, remote, path);
            let old = |database: &mut Self, why: String| {
                database.notes.push(format!(
                    "{place}: {why}; the copy of {} days ago is used",
                    now.saturating_sub(about.read) / 86_400
                ));
                database.take(about.clone(), index.clone());
            };
            match again {
                // Somebody who can cut the line, or a database that lost its half, must not make flaws vanish.
                Ok(Some((new, _)))
                    if !wanted.refresh && new.records < about.records - about.records / 10 =>
                {
                    old(
                        self,
                        format!(
                            "it had {} records and has {} now (--refresh takes them)",
                            about.records, new.records
                        ),
                    );
                }
                Ok(Some((new, index))) => {
                    keep(folder, &key, &new, &index)?;
                    self.take(new, index);
                }
                Ok(None) => old(self, "it is not there any more".to_owned()),
                Err(failure) => old(self, failure.message),
            }
            return Ok(());
        }
        if wanted.offline {
            self.notes.push(format!(
                "{place} was never fetched, and --offline forbids it"
            ));
            return Ok(());
        }
        match download(folder, &key, place, remote, path)? {
            Some((about, index)) => {
                keep(folder, &key, &about, &index)?;
                self.take(about, index);
            }
            None => self.notes.push(format!("{place} is not there")),
        }
        Ok(())
    }
}

fn unwritable(path: &Path, why: &str) -> Failure {
    Failure::new(
        Exit::Environment,
        "advisories-cache",
        format!("{} can not be written: {why}.", path.display()),
    )
}

fn key(source: &str) -> String {
    Sha256::of(source.as_bytes()).to_string()[..32].to_owned()
}

fn now() -> u64 {
    SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .map_or(0, |since| since.as_secs())
}

/// The files below a path with advisories in them: path, length, time of change.
fn gather(
    path: &Path,
    depth: usize,
    files: &mut Vec<(PathBuf, u64, u128)>,
) -> std::result::Result<(), String> {
    // What was named itself may be a link; below it links are not followed.
    let about = if depth == 0 {
        fs::metadata(path)
    } else {
        fs::symlink_metadata(path)
    };
    let about = about.map_err(|error| error.to_string())?;
    if about.is_dir() {
        if depth > MOST_DEPTH {
            return Ok(());
        }
        for entry in fs::read_dir(path).map_err(|error| error.to_string())? {
            let entry = entry.map_err(|error| error.to_string())?;
            if entry.file_name().to_string_lossy().starts_with('.') {
                continue;
            }
            gather(&entry.path(), depth + 1, files)?;
        }
        return Ok(());
    }
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    let known = [".json", ".jsonl", ".zip"]
        .iter()
        .any(|end| name.ends_with(end));
    if !about.is_file() || (depth > 0 && !known) {
        return Ok(());
    }
    if files.len() >= MOST_FILES {
        return Err(format!("there are more than {MOST_FILES} files"));
    }
    let changed = about
        .modified()
        .ok()
        .and_then(|time| time.duration_since(UNIX_EPOCH).ok())
        .map_or(0, |since| since.as_nanos());
    files.push((path.to_owned(), about.len(), changed));
    Ok(())
}

/// Reads files into an index.
fn read(source: &str, paths: &[PathBuf], fingerprint: String) -> Result<(About, Index)> {
    let mut builder = Builder::default();
    let mut newest = String::new();
    let mut report = import::Report::default();
    for path in paths {
        let refused = |refused: Rejection| {
            Failure::new(
                Exit::Usage,
                refused.code,
                format!("{}: {}", path.display(), refused.message),
            )
            .remedy("Fetch it again; what was read before is kept until then.")
        };
        let mut each = |record: osv::Record| {
            newest = std::mem::take(&mut newest).max(record.modified.clone());
            builder.add(&record);
            Ok(())
        };
        let unreadable = |error: std::io::Error| {
            Failure::new(
                Exit::Usage,
                "advisories-unreadable",
                format!("{} can not be read: {error}.", path.display()),
            )
        };
        let mut file = File::open(path).map_err(unreadable)?;
        let mut magic = [0; 2];
        let begun = file.read(&mut magic).map_err(unreadable)?;
        if &magic[..begun] == b"PK" {
            let size = file.metadata().map_err(unreadable)?.len();
            report.add(import::archive(&mut file, size, &mut each).map_err(refused)?);
            continue;
        }
        let bytes = bundle::read(path, import::MAX_DOCUMENT)?;
        let place = path.file_name().unwrap_or_default().to_string_lossy();
        match import::document(&place, &bytes, &mut each) {
            Ok(part) => report.add(part),
            // One of many files is told, and does not hide the others.
            Err(refused) if paths.len() > 1 => {
                report.refused += 1;
                if report.reasons.len() < 100 {
                    report.reasons.push((place.into_owned(), refused.message));
                }
            }
            Err(rejection) => return Err(refused(rejection)),
        }
    }
    let index = builder.finish();
    let about = About {
        source: source.to_owned(),
        read: now(),
        newest,
        records: report.records,
        withdrawn: report.withdrawn,
        refused: report.refused,
        reasons: report.reasons,
        fingerprint,
        length: index.as_bytes().len() as u64,
    };
    Ok((about, index))
}

fn download(
    folder: &Path,
    key: &str,
    place: &str,
    remote: &Remote,
    path: &str,
) -> Result<Option<(About, Index)>> {
    let spool = folder.join(format!(".{key}.{}", std::process::id()));
    let mut file = File::create(&spool).map_err(|error| unwritable(&spool, &error.to_string()))?;
    let outcome = remote
        .download(path, MOST_FETCHED, &mut |piece| {
            file.write_all(piece)
                .map_err(|error| unwritable(&spool, &error.to_string()))
        })
        .and_then(|there| match there {
            true => read(place, std::slice::from_ref(&spool), String::new()).map(Some),
            false => Ok(None),
        });
    // A spool that stays is only room.
    let _ = fs::remove_file(&spool);
    outcome
}

/// An index of before, if it is whole.
fn kept(folder: &Path, key: &str) -> Option<(About, Index)> {
    let about = bundle::read(&folder.join(format!("{key}.json")), 1 << 20).ok()?;
    let about: About = serde_json::from_slice(&about).ok()?;
    let bytes = bundle::read(&folder.join(format!("{key}.index")), MOST_INDEX).ok()?;
    if bytes.len() as u64 != about.length {
        return None;
    }
    Some((about, Index::from_bytes(bytes).ok()?))
}

/// The index first, then what vouches for its length: a crash between leaves a pair that does not fit, which is read anew.
fn keep(folder: &Path, key: &str, about: &About, index: &Index) -> Result<()> {
    // Numbers and text only.
    let told = serde_json::to_vec(about).unwrap_or_default();
    for (name, bytes) in [
        (format!("{key}.index"), index.as_bytes()),
        (format!("{key}.json"), told.as_slice()),
    ] {
        trusted::write_whole(&folder.join(&name), bytes)?;
    }
    Ok(())
}
