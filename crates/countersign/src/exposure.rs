//! What a lock file is exposed to: known flaws of what it names, by whatever way it came in; and ways in which the file itself leads past
//! the registry.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::str::FromStr;

use countersign_formats::lock::{self, Entry, Graph, LockFile, Origin};
use countersign_formats::osv::{Advisory, Verdict};
use countersign_formats::{Ecosystem, purl};
use serde_json::{Value, json};
use url::Url;

use crate::advisories::Database;
use crate::bundle;
use crate::failure::{Exit, Failure, Result, plain};
use crate::reach::{self, Answer, Reach};

/// The names under which lock files are looked for.
pub const NAMES: [&str; 11] = [
    "Cargo.lock",
    "uv.lock",
    "poetry.lock",
    "Pipfile.lock",
    "pylock.toml",
    "requirements.txt",
    "package-lock.json",
    "npm-shrinkwrap.json",
    "pnpm-lock.yaml",
    "yarn.lock",
    "requirements.lock",
];

/// A flaw that is to be passed over, with a reason, until a day.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ignore {
    /// The advisory, or one of its aliases.
    pub id: String,
    /// Why.
    pub reason: String,
    /// The last day on which it holds, `YYYY-MM-DD`.
    pub until: String,
}

impl FromStr for Ignore {
    type Err = String;

    fn from_str(text: &str) -> std::result::Result<Self, String> {
        let parts = text
            .split_once(':')
            .and_then(|(id, rest)| Some((id, rest.rsplit_once(':')?)));
        let Some((id, (reason, until))) = parts else {
            return Err(
                "write ID:REASON:UNTIL, such as 'CVE-2026-1:we do not parse XML:2027-01-31'"
                    .to_owned(),
            );
        };
        if id.is_empty() || reason.trim().is_empty() {
            return Err(
                "an advisory is passed over for a reason: write ID:REASON:UNTIL".to_owned(),
            );
        }
        if until.parse::<jiff::civil::Date>().is_err() || until.len() != 10 {
            return Err(format!("{until} is no day: write it as 2027-01-31"));
        }
        Ok(Self {
            id: id.to_owned(),
            reason: reason.trim().to_owned(),
            until: until.to_owned(),
        })
    }
}

/// A flaw that an entry has, or may have.
#[derive(Debug, Clone)]
pub struct Found {
    /// Which entry.
    pub entry: usize,
    /// The advisory; where several tell of the same, the most urgent one, with the others' identifiers.
    pub advisory: Advisory,
    /// Whether it is affected, or nobody can say.
    pub verdict: Verdict,
    /// The first version after it without the flaw.
    pub fixed: Option<String>,
    /// Functions that have the flaw.
    pub functions: Vec<String>,
    /// Why it is passed over, and until when.
    pub ignored: Option<Ignore>,
    /// Whether the project's code gets at it, where that was asked.
    pub reach: Option<Reach>,
}

impl Found {
    /// All names of it, its own first.
    pub fn ids(&self) -> impl Iterator<Item = &str> {
        std::iter::once(self.advisory.id.as_str())
            .chain(self.advisory.aliases.iter().map(String::as_str))
    }

    /// Whether it is less urgent: the code does not get at it, as far as text tells.
    #[must_use]
    pub fn is_unreachable(&self) -> bool {
        let reach = self.reach.as_ref();
        reach.is_some_and(|reach| reach.answer == Answer::Unreachable)
    }

    /// Whether it says something about safety: RustSec also tells of what is unmaintained.
    #[must_use]
    pub fn counts(&self) -> bool {
        let told = self.advisory.informational.as_deref();
        self.ignored.is_none() && !matches!(told, Some("unmaintained" | "notice"))
    }
}

/// Something about the lock file itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Warning {
    /// Which entry.
    pub entry: usize,
    /// A stable word: `git-dependency`, `past-the-registry`, `other-host`, `in-the-clear`, `no-integrity`.
    pub code: &'static str,
    /// In words.
    pub text: String,
}

/// A lock file, and what it is exposed to.
pub struct Exposure {
    /// Where it is.
    pub path: PathBuf,
    /// Its bytes.
    pub bytes: Vec<u8>,
    /// What it says.
    pub lock: LockFile,
    /// Who asks for whom.
    pub graph: Graph,
    /// Flaws, the most urgent first.
    pub found: Vec<Found>,
    /// What is odd about the file.
    pub warnings: Vec<Warning>,
}

/// Reads a lock file.
///
/// # Errors
/// Exit 2 for a file that can not be read or is no lock file of a known kind.
pub fn read(path: &Path) -> Result<(Vec<u8>, LockFile, Graph)> {
    let bytes = bundle::read(path, lock::MAX_LOCK)?;
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    let lock = lock::parse(&name, &bytes).map_err(|refused| {
        let failure = Failure::new(
            Exit::Usage,
            refused.code,
            format!("{}: {}", path.display(), refused.message),
        );
        match refused.remedy {
            Some(remedy) => failure.remedy(remedy),
            None => failure,
        }
    })?;
    let graph = lock::graph(&lock, &bytes);
    Ok((bytes, lock, graph))
}

impl Exposure {
    /// Looks a lock file up. `hosts` are those of the registries that it may name; without any, the one that most entries name. `today`
    /// is a day as [`Ignore::until`] has it.
    ///
    /// # Errors
    /// Those of [`read`].
    pub fn of(
        path: &Path,
        database: &Database,
        hosts: &[String],
        ignores: &[Ignore],
        today: &str,
    ) -> Result<Self> {
        let (bytes, lock, graph) = read(path)?;
        let mut found = findings(&lock, database);
        for found in &mut found {
            found.ignored = ignores
                .iter()
                .find(|ignore| {
                    ignore.until.as_str() >= today && found.ids().any(|id| id == ignore.id)
                })
                .cloned();
        }
        let warnings = warnings(&lock, hosts);
        Ok(Self {
            path: path.to_owned(),
            bytes,
            lock,
            graph,
            found,
            warnings,
        })
    }

    /// Looks whether the project's code gets at each flaw, see [`reach`]. What it does not get at comes last; nothing is left out. `further`
    /// are folders with the packages' sources, beside the usual ones.
    pub fn survey(&mut self, further: &[PathBuf]) {
        let folder = self.path.parent().unwrap_or(Path::new("")).to_owned();
        self.survey_from(&folder, further);
    }

    /// The same for a project in another folder than the lock file's.
    pub fn survey_from(&mut self, folder: &Path, further: &[PathBuf]) {
        let reached = reach::survey(self, folder, further);
        for (found, reach) in self.found.iter_mut().zip(reached) {
            found.reach = Some(reach);
        }
        self.found.sort_by_key(Found::is_unreachable);
    }

    /// Flaws that are not passed over and are certain.
    pub fn counted(&self) -> impl Iterator<Item = &Found> {
        self.found
            .iter()
            .filter(|found| found.counts() && found.verdict == Verdict::Affected)
    }

    /// An entry as people name it.
    #[must_use]
    pub fn named(&self, entry: usize) -> String {
        let entry = &self.lock.entries[entry];
        match &entry.version {
            Some(version) => format!("{} {}", entry.name_key, plain(version)),
            None => entry.name_key.to_string(),
        }
    }

    /// The package URL of an entry.
    #[must_use]
    pub fn purl(&self, entry: usize) -> String {
        purl_of(&self.lock, entry)
    }

    /// The way from the project to an entry, in words; none where the file has no links.
    #[must_use]
    pub fn way(&self, entry: usize) -> Option<String> {
        if !self.graph.known {
            return None;
        }
        let way = self.graph.way(entry);
        (way.len() > 1).then(|| {
            let named: Vec<String> = way.iter().map(|at| self.named(*at)).collect();
            named.join(" > ")
        })
    }

    /// The result as `--json` prints it.
    #[must_use]
    pub fn json(&self) -> Value {
        let found: Vec<Value> = self
            .found
            .iter()
            .map(|found| self.found_json(found))
            .collect();
        let warnings: Vec<Value> = self
            .warnings
            .iter()
            .map(|warning| {
                json!({"purl": self.purl(warning.entry), "code": warning.code, "message": warning.text})
            })
            .collect();
        json!({
            "path": self.path.display().to_string(), "kind": self.lock.kind.as_str(),
            "entries": self.lock.entries.len(), "vulnerable": self.counted().count(),
            "findings": found, "warnings": warnings,
        })
    }

    fn found_json(&self, found: &Found) -> Value {
        let entry = &self.lock.entries[found.entry];
        let way: Option<Vec<String>> = self.graph.known.then(|| {
            let way = self.graph.way(found.entry);
            way.iter().map(|at| self.purl(*at)).collect()
        });
        json!({
            "id": found.advisory.id, "aliases": found.advisory.aliases, "summary": found.advisory.summary,
            "severity": found.advisory.rating.grade.as_str(), "score": found.advisory.rating.score,
            "vector": found.advisory.rating.vector, "malware": found.advisory.malware,
            "informational": found.advisory.informational, "modified": found.advisory.modified,
            "url": found.advisory.url, "verdict": found.verdict, "fixed": found.fixed,
            "project": entry.name_key, "version": entry.version, "purl": self.purl(found.entry), "way": way,
            "ignored": found.ignored.as_ref().map(|ignore| json!({"reason": ignore.reason, "until": ignore.until})),
            "reach": found.reach.as_ref().map(Reach::json),
        })
    }
}

/// The package URL of an entry of a lock file.
#[must_use]
pub fn purl_of(lock: &LockFile, entry: usize) -> String {
    let entry = &lock.entries[entry];
    match &entry.version {
        Some(version) => purl::release_purl(entry.ecosystem, &entry.name_key, version),
        None => purl::project_purl(entry.ecosystem, &entry.name_key),
    }
}

/// The flaws of everything in a lock file, the most urgent first; what several databases tell of the same counts once.
#[must_use]
pub fn findings(lock: &LockFile, database: &Database) -> Vec<Found> {
    let mut all = Vec::new();
    let mut seen = BTreeSet::new();
    for (at, entry) in lock.entries.iter().enumerate() {
        // The project itself, and what lies beside it, is nobody's release.
        let Some(version) = entry
            .version
            .as_deref()
            .filter(|_| !matches!(entry.origin, Origin::Local(_)))
        else {
            continue;
        };
        if !seen.insert((entry.name_key.clone(), version)) {
            continue;
        }
        all.extend(of_release(
            at,
            entry.ecosystem,
            entry.name_key.as_str(),
            version,
            database,
        ));
    }
    all.sort_by(|a, b| {
        let key = |found: &Found| (found.verdict, found.advisory.rating.grade);
        key(b)
            .cmp(&key(a))
            .then_with(|| a.entry.cmp(&b.entry))
            .then_with(|| a.advisory.id.cmp(&b.advisory.id))
    });
    all
}

/// The flaws of one release.
pub fn of_release(
    entry: usize,
    ecosystem: Ecosystem,
    name_key: &str,
    version: &str,
    database: &Database,
) -> Vec<Found> {
    let mut found: Vec<Found> = Vec::new();
    database.findings(ecosystem, name_key, version, &mut |finding| {
        let new = Found {
            entry,
            advisory: finding.rule.advisory.clone(),
            verdict: finding.verdict,
            fixed: finding.fixed.clone(),
            functions: finding.rule.functions.clone(),
            ignored: None,
            reach: None,
        };
        let same = found.iter_mut().find(|old| {
            let ids: BTreeSet<&str> = old.ids().collect();
            new.ids().any(|id| ids.contains(id))
        });
        match same {
            Some(old) => *old = joined(old, &new),
            None => found.push(new),
        }
    });
    found
}

/// Two that tell of the same, as one.
fn joined(a: &Found, b: &Found) -> Found {
    let urgent = |found: &Found| (found.verdict, found.advisory.rating.grade);
    let (first, other) = if urgent(b) > urgent(a) {
        (b, a)
    } else {
        (a, b)
    };
    let mut one = first.clone();
    let others: BTreeSet<String> = other
        .ids()
        .chain(first.ids())
        .filter(|id| *id != first.advisory.id)
        .map(str::to_owned)
        .collect();
    one.advisory.aliases = others.into_iter().collect();
    one.fixed = first.fixed.clone().or_else(|| other.fixed.clone());
    one.functions.extend(other.functions.clone());
    one.functions.sort();
    one.functions.dedup();
    one.advisory.malware |= other.advisory.malware;
    one
}

fn host(address: &str) -> Option<String> {
    let bare = ["sparse+", "registry+", "git+"]
        .iter()
        .find_map(|start| address.strip_prefix(start))
        .unwrap_or(address);
    Url::parse(bare).ok()?.host_str().map(str::to_owned)
}

/// What is odd about a lock file: somebody who may change it can lead an installer elsewhere without touching a version.
#[must_use]
pub fn warnings(lock: &LockFile, hosts: &[String]) -> Vec<Warning> {
    let mut counts: BTreeMap<String, usize> = BTreeMap::new();
    for entry in &lock.entries {
        if let Origin::Index(Some(address)) = &entry.origin
            && let Some(host) = host(address)
        {
            *counts.entry(host).or_default() += 1;
        }
    }
    let usual = counts
        .iter()
        .max_by_key(|(_, count)| **count)
        .map(|(host, _)| host.clone());
    let expected: Vec<&String> = match hosts {
        [] => usual.iter().collect(),
        hosts => hosts.iter().collect(),
    };
    let usual_files = usual_hosts_of_files(lock);
    let mut warnings = Vec::new();
    for (at, entry) in lock.entries.iter().enumerate() {
        let mut warn = |code: &'static str, text: String| {
            warnings.push(Warning {
                entry: at,
                code,
                text,
            });
        };
        match &entry.origin {
            Origin::Local(_) => continue,
            Origin::Elsewhere(address) => {
                let git = address.starts_with("git")
                    || address.contains(".git#")
                    || address.ends_with(".git");
                let code = if git {
                    "git-dependency"
                } else {
                    "past-the-registry"
                };
                warn(code, format!("it comes past any registry, from {address}"));
                if address.contains("http://") {
                    warn("in-the-clear", format!("{address} is not encrypted"));
                }
                continue;
            }
            Origin::Index(Some(address)) => {
                let machine = host(address);
                if address.contains("http://") && !machine.as_deref().is_some_and(is_loopback) {
                    warn("in-the-clear", format!("{address} is not encrypted"));
                }
                if let Some(machine) = machine
                    && !expected.contains(&&machine)
                {
                    let others = expected.iter().map(|host| host.as_str());
                    let others: Vec<&str> = others.collect();
                    warn(
                        "other-host",
                        format!("it comes from {machine}, not from {}", others.join(" or ")),
                    );
                }
            }
            Origin::Index(None) => {}
        }
        // An index names where its files are; a lock file may name another place, and another digest with it.
        for file in &entry.files {
            let Some(address) = &file.url else { continue };
            let machine = host(address);
            if address.starts_with("http://") && !machine.as_deref().is_some_and(is_loopback) {
                warn("in-the-clear", format!("{address} is not encrypted"));
            }
            let usual = usual_files.get(&index_of(entry));
            if let (Some(machine), Some(usual)) = (machine, usual)
                && machine != *usual
                && index_of(entry).and_then(host).as_ref() != Some(&machine)
                && !hosts.contains(&machine)
            {
                warn(
                    "other-host",
                    format!(
                        "a file of it comes from {machine}, others of the same index from {usual}"
                    ),
                );
            }
        }
        if entry.unhashed && !entry.undigested {
            warn(
                "no-integrity",
                "the file names no digest that its bytes could be held against".to_owned(),
            );
        }
    }
    warnings
}

fn index_of(entry: &Entry) -> Option<&str> {
    match &entry.origin {
        Origin::Index(index) => index.as_deref(),
        _ => None,
    }
}

/// For each index, the host that most of its files come from: it need not be the index's own.
fn usual_hosts_of_files(lock: &LockFile) -> BTreeMap<Option<&str>, String> {
    let mut counts: BTreeMap<Option<&str>, BTreeMap<String, usize>> = BTreeMap::new();
    for entry in &lock.entries {
        for file in &entry.files {
            if let (Origin::Index(_), Some(host)) =
                (&entry.origin, file.url.as_deref().and_then(host))
            {
                let of_index = counts.entry(index_of(entry)).or_default();
                *of_index.entry(host).or_default() += 1;
            }
        }
    }
    let most = |hosts: BTreeMap<String, usize>| hosts.into_iter().max_by_key(|(_, count)| *count);
    counts
        .into_iter()
        .filter_map(|(index, hosts)| Some((index, most(hosts)?.0)))
        .collect()
}

fn is_loopback(host: &str) -> bool {
    host == "localhost" || host == "127.0.0.1" || host == "[::1]"
}

/// The lock files of a folder.
#[must_use]
pub fn lock_files(folder: &Path) -> Vec<PathBuf> {
    let there = NAMES.iter().map(|name| match folder {
        folder if folder == Path::new("") => PathBuf::from(name),
        folder => folder.join(name),
    });
    there.filter(|path| path.is_file()).collect()
}

/// The exposures as an OpenVEX document (0.2.0). What is passed over is *not affected* in the user's words; what is not certain is under
/// investigation. `author` is who says so, `time` when, in RFC 3339.
#[must_use]
pub fn vex(exposures: &[Exposure], author: &str, time: &str) -> Value {
    let mut statements: BTreeMap<(String, String), (Value, BTreeSet<String>)> = BTreeMap::new();
    for exposure in exposures {
        for found in &exposure.found {
            let status = match (&found.ignored, found.verdict) {
                (Some(_), _) => "not_affected",
                (None, Verdict::Affected) => "affected",
                (None, _) => "under_investigation",
            };
            let aliases: Vec<&str> = found.ids().skip(1).collect();
            let mut statement = json!({
                "vulnerability": {"name": found.advisory.id, "aliases": aliases},
                "status": status,
            });
            if let Some(reach) = &found.reach {
                statement["status_notes"] = json!(reach.told());
            }
            // What text tells is no proof: it is a justification where the user passed it over, and else a note.
            if found.ignored.is_some() && found.is_unreachable() {
                statement["justification"] = json!("vulnerable_code_not_in_execute_path");
            }
            match (&found.ignored, &found.fixed) {
                (Some(ignore), _) => {
                    statement["impact_statement"] =
                        json!(format!("{} (until {})", ignore.reason, ignore.until));
                }
                (None, Some(fixed)) if status == "affected" => {
                    statement["action_statement"] = json!(format!("Update to {fixed} or later."));
                }
                (None, _) if status == "affected" => {
                    statement["action_statement"] = json!("No fixed version is known.");
                }
                _ => {}
            }
            let slot = statements
                .entry((found.advisory.id.clone(), statement.to_string()))
                .or_insert_with(|| (statement, BTreeSet::new()));
            slot.1.insert(exposure.purl(found.entry));
        }
    }
    let statements: Vec<Value> = statements
        .into_values()
        .map(|(mut statement, purls)| {
            let products: Vec<Value> = purls.iter().map(|purl| json!({"@id": purl})).collect();
            statement["products"] = json!(products);
            statement
        })
        .collect();
    let body = json!(statements).to_string();
    let id = countersign_trust::digest::Sha256::of(body.as_bytes());
    json!({
        "@context": "https://openvex.dev/ns/v0.2.0",
        "@id": format!("https://openvex.dev/docs/public/vex-{id}"),
        "author": author, "timestamp": time, "version": 1, "statements": statements,
    })
}
