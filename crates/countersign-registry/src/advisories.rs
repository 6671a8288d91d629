//! Advisories: what is known to be bad about which versions of which packages.
//!
//! A feed is read as a whole before the first of its records is written: one that is cut off, or has lost much, changes nothing. A
//! record stands under its identifier, and the newest of several counts. Which releases an advisory means is judged by the
//! ecosystem's own order of versions whenever somebody asks, and stored nowhere: no publication waits for it, and no match is old.

mod block;
mod downloads;
mod feeds;
mod own;

use std::collections::{BTreeMap, HashMap, HashSet};
use std::fs::File;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use countersign_formats::osv::{
    Advisory, Finding, Grade, Record, Rule, Rules, Verdict, ecosystem_of, import, package_key,
};
use countersign_formats::pypi::documents::{Vulnerability, with_vulnerabilities};
use countersign_formats::{Ecosystem, Rejection};
use serde_json::json;
use tokio::sync::mpsc;

use crate::Registry;
use crate::accounts::new_id;
use crate::error::{Error, Kind, Result};
use crate::fetch::{Document, DocumentKey};
use crate::model::{Actor, Time};
use crate::policy;
use crate::store::{AdvisoryRow, FeedRow, OWN_FEED};

pub use block::{AdvisoryExemption, AdvisoryStanding, NewExemption};
pub use downloads::DownloadWarning;
pub use feeds::FeedProblem;
pub use own::NewAdvisory;

/// Records of one transaction: a publication waits for no more.
const BATCH: usize = 200;
/// The longest name key of a package that an advisory is about, in bytes.
const LONGEST_KEY: usize = 500;
/// A feed that lost more than this part of its records is not believed.
const SHRINKAGE: u64 = 10;
/// The most reasons that a report holds.
const MOST_REASONS: usize = 100;

/// A feed to import.
#[derive(Clone, Debug)]
pub struct AdvisoryFeed {
    /// Its name: records that the feed of this name no longer holds are forgotten.
    pub name: String,
    /// A zip, a JSON document, or a folder with such below it.
    pub path: PathBuf,
    /// Believe it even if it lost much.
    pub accept_shrinkage: bool,
}

impl AdvisoryFeed {
    /// Can a feed have this name?
    #[must_use]
    pub fn may_be_called(name: &str) -> bool {
        !name.is_empty()
            && name != OWN_FEED
            && name.len() <= 100
            && !name.contains(char::is_control)
    }
}

/// What came of an import.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct AdvisoryImport {
    /// Records about packages of the ecosystems here.
    pub records: u64,
    /// Those among them that were withdrawn: they are kept, and match nothing.
    pub withdrawn: u64,
    /// Records about other ecosystems alone; they are not kept.
    pub elsewhere: u64,
    /// Records that were new or newer, and were written.
    pub written: u64,
    /// Records that the feed no longer has, and were forgotten.
    pub gone: u64,
    /// Records that could not be used.
    pub refused: u64,
    /// Where and why, for the first hundred.
    pub reasons: Vec<(String, String)>,
}

/// How a feed stood when it was read last.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AdvisoryFeedState {
    /// Its name.
    pub name: String,
    /// Records about packages of the ecosystems here.
    pub records: u64,
    /// Those that were withdrawn.
    pub withdrawn: u64,
    /// Records that could not be used.
    pub refused: u64,
    /// When it was imported, or changed, last.
    pub imported: Time,
}

/// An advisory that concerns a version, or may.
#[derive(Clone, Debug, PartialEq)]
pub struct Concern {
    /// The advisory.
    pub advisory: Advisory,
    /// Whether the version is meant for sure.
    pub certain: bool,
    /// The first version after it without the flaw, where one is named.
    pub fixed: Option<String>,
}

impl Concern {
    fn of(finding: &Finding<'_>) -> Self {
        Self {
            advisory: finding.rule.advisory.clone(),
            certain: finding.verdict == Verdict::Affected,
            fixed: finding.fixed.clone(),
        }
    }
}

/// A release here that an advisory means.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AffectedRelease {
    /// Its ecosystem.
    pub ecosystem: Ecosystem,
    /// The project's key.
    pub project: String,
    /// The version.
    pub version: String,
    /// The advisory.
    pub advisory: String,
    /// How bad.
    pub severity: Grade,
}

/// What is known about a dependency of a release.
#[derive(Clone, Debug, PartialEq)]
pub struct DependencyConcern {
    /// The dependency's key.
    pub project: String,
    /// How many of its releases here are meant by an advisory.
    pub affected: usize,
    /// How many releases it has here.
    pub releases: usize,
    /// The advisories, the worst first.
    pub advisories: Vec<Advisory>,
}

impl Registry {
    /// Imports a feed. `progress` is told how many records were read, and how many there are once that is known.
    ///
    /// # Errors
    /// `advisories-unreadable`, `advisories-shrank`, `osv-malformed` and the codes of damaged archives: then nothing was
    /// changed. `operator-needed`.
    pub async fn import_advisories(
        &self,
        actor: &Actor,
        feed: &AdvisoryFeed,
        progress: &mut (dyn FnMut(u64, u64) + Send),
    ) -> Result<AdvisoryImport> {
        policy::may_operate(actor, "import advisories")?;
        let (store, name) = (&self.inner.store, feed.name.as_str());
        if !AdvisoryFeed::may_be_called(name) {
            return Err(Error::new(
                Kind::Rejected,
                "advisories-feed",
                format!("A feed can not be called {name:?}."),
            )
            .remedy("Take a short name; `own` is that of what this registry issues."));
        }
        // First look: is it whole, and how much does it hold? Of each record its identifier and time are remembered.
        let files = files_of(&feed.path)?;
        let first = files.clone();
        let (mut report, newest) = tokio::task::spawn_blocking(move || survey(&first))
            .await
            .map_err(|source| Error::internal("reading advisories broke off", source))??;
        let whole = newest.len() as u64;
        let before = store.advisory_feeds().await?;
        let before = before.iter().find(|state| state.name == name);
        if let Some(before) = before
            && !feed.accept_shrinkage
            && whole * 100 < before.records * (100 - SHRINKAGE)
        {
            return Err(Error::new(
                Kind::Rejected,
                "advisories-shrank",
                format!(
                    "The feed {name:?} had {} records and has {whole} now; such a loss is mostly a fault, so the former ones stay.",
                    before.records
                ),
            )
            .remedy("Fetch it again. If it is meant, import with --accept-shrinkage."));
        }
        let known = store.advisory_versions().await?;
        let mut due: HashMap<String, String> = HashMap::new();
        for (id, modified) in &newest {
            let current = known.get(id).is_some_and(|(had, whose)| {
                whose == OWN_FEED || had > modified || (had == modified && whose == name)
            });
            if !current {
                due.insert(id.clone(), modified.clone());
            }
        }
        let gone: Vec<&str> = known
            .iter()
            .filter(|(id, (_, whose))| whose == name && !newest.contains_key(*id))
            .map(|(id, _)| id.as_str())
            .collect();
        // Second look: what is new is written, in portions that keep no publication waiting for long.
        let all = due.len() as u64;
        let (to_us, mut records) = mpsc::channel(4);
        let owner = name.to_owned();
        let reading = tokio::task::spawn_blocking(move || rows(&files, due, &owner, &to_us));
        while let Some(batch) = records.recv().await {
            let mut tx = store.write().await?;
            tx.put_advisories(&batch, self.now()).await?;
            tx.commit().await?;
            report.written += batch.len() as u64;
            progress(report.written, all);
        }
        reading
            .await
            .map_err(|source| Error::internal("reading advisories broke off", source))??;
        for ids in gone.chunks(BATCH) {
            let mut tx = store.write().await?;
            tx.drop_advisories(ids).await?;
            tx.commit().await?;
        }
        report.gone = gone.len() as u64;
        let now = self.now();
        let mut tx = store.write().await?;
        tx.put_advisory_feed(&FeedRow {
            name: name.to_owned(),
            records: whole,
            withdrawn: report.withdrawn,
            refused: report.refused,
            imported: now,
        })
        .await?;
        let detail = json!({"feed": name, "records": whole, "written": report.written, "gone": report.gone, "refused": report.refused});
        tx.note_event(&new_id(), now, "advisories-imported", actor, None, detail)
            .await?;
        tx.mend_advisory_source(name).await?;
        let changed = report.written + report.gone > 0;
        if changed {
            tx.mark_withheld().await?;
        }
        tx.commit().await?;
        if changed {
            self.inner.fetch.doubt(self.now());
        }
        report.records = whole;
        Ok(report)
    }

    /// Feeds and when they were imported last.
    ///
    /// # Errors
    /// Where the database fails.
    pub async fn advisory_feeds(&self) -> Result<Vec<AdvisoryFeedState>> {
        let rows = self.inner.store.advisory_feeds().await?;
        Ok(rows
            .into_iter()
            .map(|row| AdvisoryFeedState {
                name: row.name,
                records: row.records,
                withdrawn: row.withdrawn,
                refused: row.refused,
                imported: row.imported,
            })
            .collect())
    }

    /// A number that is another one after every change of what advisories say, of what is served in spite of them, or of what others say
    /// about source projects.
    ///
    /// # Errors
    /// Where the database fails.
    pub async fn advisories_state(&self) -> Result<u64> {
        let advised = self.inner.store.advisories_changed().await?;
        let health = self.inner.store.source_health_changed().await?;
        let exempt = self.inner.store.exemptions_changed().await?;
        let number = |at: Option<Time>| at.map_or(0, |at| at.0.unsigned_abs());
        // All of them only grow.
        Ok(number(advised)
            .wrapping_add(number(health))
            .wrapping_add(exempt))
    }

    /// A record, as JSON in OSV's form.
    ///
    /// # Errors
    /// `advisory-unknown`.
    pub async fn advisory(&self, id: &str) -> Result<String> {
        let found = self.inner.store.advisory(id).await?;
        found.ok_or_else(|| unknown(id))
    }

    /// What is known about packages of an ecosystem, by name key. Packages of which nothing is known are left out; nothing tells
    /// whether there is a project of that name here.
    ///
    /// # Errors
    /// Where the database fails.
    pub async fn advisory_rules(
        &self,
        ecosystem: Ecosystem,
        names: &[&str],
    ) -> Result<HashMap<String, Rules>> {
        let rows = self.inner.store.advisory_rules(ecosystem, names).await?;
        let mut gathered: HashMap<String, Vec<Rule>> = HashMap::new();
        for (key, rule) in rows {
            let rule = serde_json::from_str(&rule)
                .map_err(|source| Error::internal("a stored rule can not be read", source))?;
            gathered.entry(key).or_default().push(rule);
        }
        Ok(gathered
            .into_iter()
            .map(|(key, rules)| (key, Rules::of(ecosystem, rules)))
            .collect())
    }

    /// What concerns one version of a package, the worst first.
    ///
    /// # Errors
    /// Where the database fails.
    pub async fn concerns(
        &self,
        ecosystem: Ecosystem,
        name_key: &str,
        version: &str,
    ) -> Result<Vec<Concern>> {
        let rules = self.advisory_rules(ecosystem, &[name_key]).await?;
        let mut concerns: Vec<Concern> = rules
            .get(name_key)
            .map(|rules| rules.findings(version).iter().map(Concern::of).collect())
            .unwrap_or_default();
        concerns.sort_by(|a, b| {
            b.certain
                .cmp(&a.certain)
                .then_with(|| b.advisory.rating.grade.cmp(&a.advisory.rating.grade))
                .then_with(|| a.advisory.id.cmp(&b.advisory.id))
        });
        Ok(concerns)
    }

    /// What is known about what a release needs: of each dependency with an advisory, how many of its releases here are meant.
    ///
    /// # Errors
    /// Where the database fails.
    pub async fn dependency_concerns(
        &self,
        ecosystem: Ecosystem,
        needed: &[&str],
    ) -> Result<Vec<DependencyConcern>> {
        let mut names = needed.to_vec();
        names.sort_unstable();
        names.dedup();
        let rules = self.advisory_rules(ecosystem, &names).await?;
        let names: Vec<&str> = names
            .into_iter()
            .filter(|name| rules.contains_key(*name))
            .collect();
        let versions = self.inner.store.versions_of(ecosystem, &names).await?;
        let mut concerns = Vec::new();
        for name in names {
            let Some(rules) = rules.get(name) else {
                continue;
            };
            let own: Vec<&str> = versions
                .iter()
                .filter(|(key, _)| key == name)
                .map(|(_, version)| version.as_str())
                .collect();
            let mut advisories: BTreeMap<&str, &Advisory> = BTreeMap::new();
            let mut affected = 0;
            for version in &own {
                let findings = rules.findings(version);
                affected += usize::from(
                    findings
                        .iter()
                        .any(|finding| finding.verdict == Verdict::Affected),
                );
                for finding in &findings {
                    advisories.insert(&finding.rule.advisory.id, &finding.rule.advisory);
                }
            }
            // Of a package that is not here, everything that is said about it.
            if own.is_empty() {
                for rule in rules.rules() {
                    advisories.insert(&rule.advisory.id, &rule.advisory);
                }
            }
            if advisories.is_empty() {
                continue;
            }
            let mut advisories: Vec<Advisory> = advisories.into_values().cloned().collect();
            advisories.sort_by(|a, b| b.rating.grade.cmp(&a.rating.grade).then(a.id.cmp(&b.id)));
            concerns.push(DependencyConcern {
                project: name.to_owned(),
                affected,
                releases: own.len(),
                advisories,
            });
        }
        Ok(concerns)
    }

    /// The legacy JSON of a Python project, or of one release, with what is known about the release that it shows.
    ///
    /// # Errors
    /// As [`Registry::document`].
    pub async fn legacy_json_with_advisories(
        &self,
        name_key: &str,
        version: Option<&str>,
    ) -> Result<Arc<Document>> {
        let key = match version {
            None => DocumentKey::LegacyJson(name_key.to_owned()),
            Some(version) => DocumentKey::LegacyRelease(name_key.to_owned(), version.to_owned()),
        };
        let document = self.document(&key).await?;
        let rules = self.advisory_rules(Ecosystem::Pypi, &[name_key]).await?;
        let Some(rules) = rules.get(name_key) else {
            return Ok(document);
        };
        let shown = match version {
            Some(version) => version.to_owned(),
            None => shown_version(&document.bytes)?,
        };
        let known: Vec<Vulnerability> = rules
            .findings(&shown)
            .iter()
            // A client has no word for "perhaps", and would rather be warned.
            .map(|finding| {
                let advisory = &finding.rule.advisory;
                Vulnerability {
                    id: advisory.id.clone(),
                    aliases: advisory.aliases.clone(),
                    summary: advisory.summary.clone(),
                    details: advisory.summary.clone(),
                    fixed_in: finding.rule.fixes(),
                    link: advisory.url.clone(),
                    source: "osv".to_owned(),
                }
            })
            .collect();
        let text = std::str::from_utf8(&document.bytes)
            .map_err(|source| Error::internal("a document is not UTF-8", source))?;
        let text = with_vulnerabilities(text, &known)
            .ok_or_else(|| Error::internal("a document has no place for advisories", shown))?;
        let told = Document::new(text.into(), document.serial).of(&document.name);
        Ok(Arc::new(told))
    }

    /// Every public release here that an advisory means for sure. `each` is given them project by project.
    ///
    /// # Errors
    /// Where the database fails.
    pub async fn affected_releases(
        &self,
        each: &mut (dyn FnMut(AffectedRelease) + Send),
    ) -> Result<()> {
        for ecosystem in Ecosystem::ALL.iter().copied() {
            let mut after = String::new();
            loop {
                let store = &self.inner.store;
                let keys = store.advised_projects(ecosystem, &after, 400).await?;
                let Some(last) = keys.last() else { break };
                after.clone_from(last);
                let names: Vec<&str> = keys.iter().map(String::as_str).collect();
                let rules = self.advisory_rules(ecosystem, &names).await?;
                for (key, version) in store.versions_of(ecosystem, &names).await? {
                    let Some(rules) = rules.get(&key) else {
                        continue;
                    };
                    for finding in rules.findings(&version) {
                        if finding.verdict == Verdict::Affected {
                            each(AffectedRelease {
                                ecosystem,
                                project: key.clone(),
                                version: version.clone(),
                                advisory: finding.rule.advisory.id.clone(),
                                severity: finding.rule.advisory.rating.grade,
                            });
                        }
                    }
                }
            }
        }
        Ok(())
    }
}

fn unknown(id: &str) -> Error {
    let shown: String = id.chars().take(80).collect();
    Error::new(
        Kind::NotFound,
        "advisory-unknown",
        format!("There is no advisory {shown:?} here."),
    )
    .remedy("Check how it is spelt, or look at the database that issued it.")
}

/// The zips and documents below a path, in order. Links are not followed: a folder from elsewhere must not decide what is read here.
fn files_of(path: &Path) -> Result<Vec<PathBuf>> {
    let kind = std::fs::metadata(path).map_err(|source| unreadable(path, source))?;
    if !kind.is_dir() {
        return Ok(vec![path.to_owned()]);
    }
    let (mut found, mut open) = (Vec::new(), vec![path.to_owned()]);
    while let Some(folder) = open.pop() {
        for entry in std::fs::read_dir(&folder).map_err(|source| unreadable(&folder, source))? {
            let entry = entry.map_err(|source| unreadable(&folder, source))?;
            let (kind, path) = (entry.file_type(), entry.path());
            let kind = kind.map_err(|source| unreadable(&path, source))?;
            let wanted = path
                .extension()
                .is_some_and(|ending| ending == "zip" || ending == "json");
            if kind.is_dir() {
                open.push(path);
            } else if kind.is_file() && wanted {
                found.push(path);
            }
        }
    }
    found.sort_unstable();
    if found.is_empty() {
        return Err(Error::new(
            Kind::Rejected,
            "advisories-unreadable",
            format!("{} holds no advisories (*.zip, *.json).", path.display()),
        )
        .remedy(
            "Give a zip of OSV records, such as an ecosystem's all.zip, or a folder of such.",
        ));
    }
    Ok(found)
}

fn unreadable(path: &Path, source: std::io::Error) -> Error {
    Error::new(
        Kind::Rejected,
        "advisories-unreadable",
        format!("{} can not be read: {source}.", path.display()),
    )
    .remedy("Give a zip of OSV records, such as an ecosystem's all.zip, or a folder of such.")
    .because(source)
}

/// Reads every record of these files.
fn read(
    files: &[PathBuf],
    each: &mut dyn FnMut(Record) -> std::result::Result<(), Rejection>,
) -> Result<import::Report> {
    let mut report = import::Report::default();
    for path in files {
        let mut file = File::open(path).map_err(|source| unreadable(path, source))?;
        let length = file
            .metadata()
            .map_err(|source| unreadable(path, source))?
            .len();
        let of_file = if path.extension().is_some_and(|ending| ending == "zip") {
            import::archive(&mut file, length, each)
        } else if length > import::MAX_DOCUMENT as u64 {
            Err(Rejection::new(
                "osv-malformed",
                format!("It has more than {} bytes.", import::MAX_DOCUMENT),
            ))
        } else {
            let bytes = std::fs::read(path).map_err(|source| unreadable(path, source))?;
            let place = path.display().to_string();
            match files.len() {
                1 => import::document(&place, &bytes, each),
                _ => import::part(&place, &bytes, each),
            }
        };
        let of_file = of_file.map_err(|rejection| {
            let mut error = Error::from(rejection);
            error.message = format!("{}: {}", path.display(), error.message);
            error.remedy.get_or_insert_with(|| {
                "Fetch it again; if it stays so, tell whoever made it.".to_owned()
            });
            error
        })?;
        report.add(of_file);
    }
    Ok(report)
}

/// What a record says about packages of ours; `Err` where it can not be kept.
fn rules_of(record: &Record) -> std::result::Result<Vec<(Ecosystem, String, Rule)>, String> {
    let mut rules = Vec::new();
    for (key, rule) in Rule::all_of(record) {
        let Some((base, name)) = key.split_once('\u{1f}') else {
            continue;
        };
        let Some(ecosystem) = ecosystem_of(base) else {
            continue;
        };
        if name.len() > LONGEST_KEY {
            return Err(format!(
                "a package's name has more than {LONGEST_KEY} bytes"
            ));
        }
        rules.push((ecosystem, name.to_owned(), rule));
    }
    Ok(rules)
}

/// Whether a record names a package of ours, withdrawn or not.
fn is_ours(record: &Record) -> bool {
    record
        .affected
        .iter()
        .filter_map(|affected| affected.package.as_ref())
        .any(|package| ecosystem_of(&package.ecosystem).is_some())
}

/// Reads a feed without keeping it: what it holds, and the newest time of each record.
fn survey(files: &[PathBuf]) -> Result<(AdvisoryImport, HashMap<String, String>)> {
    let mut newest: HashMap<String, String> = HashMap::new();
    let mut withdrawn: HashSet<String> = HashSet::new();
    let mut found = AdvisoryImport::default();
    let mut long: Vec<(String, String)> = Vec::new();
    let report = read(files, &mut |record| {
        if !is_ours(&record) {
            found.elsewhere += 1;
            return Ok(());
        }
        if let Err(why) = rules_of(&record) {
            long.push((record.id, why));
            return Ok(());
        }
        let modified = record.modified_order();
        if newest.get(&record.id).is_some_and(|had| *had >= modified) {
            return Ok(());
        }
        if record.is_withdrawn() {
            withdrawn.insert(record.id.clone());
        } else {
            withdrawn.remove(&record.id);
        }
        newest.insert(record.id, modified);
        Ok(())
    })?;
    found.withdrawn = withdrawn.len() as u64;
    found.refused = report.refused + long.len() as u64;
    found.reasons = report.reasons;
    found.reasons.extend(long);
    found.reasons.truncate(MOST_REASONS);
    Ok((found, newest))
}

/// Reads a feed again and hands on the rows that are due, in portions.
fn rows(
    files: &[PathBuf],
    mut due: HashMap<String, String>,
    feed: &str,
    to: &mpsc::Sender<Vec<AdvisoryRow>>,
) -> Result<()> {
    let mut batch = Vec::with_capacity(BATCH);
    let stopped = || Rejection::new("osv-malformed", "Nobody takes what is read any longer.");
    read(files, &mut |record| {
        if due.get(&record.id) != Some(&record.modified_order()) || !is_ours(&record) {
            return Ok(());
        }
        let Ok(rules) = rules_of(&record) else {
            return Ok(());
        };
        // A copy of the same record is not taken twice.
        due.remove(&record.id);
        batch.push(row_of(&record, rules, feed));
        if batch.len() == BATCH {
            to.blocking_send(std::mem::take(&mut batch))
                .map_err(|_| stopped())?;
        }
        Ok(())
    })?;
    if !batch.is_empty() {
        to.blocking_send(batch)
            .map_err(|source| Error::internal("advisories were not taken", source))?;
    }
    Ok(())
}

fn row_of(record: &Record, rules: Vec<(Ecosystem, String, Rule)>, feed: &str) -> AdvisoryRow {
    AdvisoryRow {
        id: record.id.clone(),
        feed: feed.to_owned(),
        modified: record.modified_order(),
        withdrawn: record.is_withdrawn(),
        record: record.to_json(),
        rules: rules
            .into_iter()
            .map(|(ecosystem, key, rule)| {
                // Text and numbers only: this can not fail.
                let rule = serde_json::to_string(&rule).unwrap_or_default();
                (ecosystem, key, rule)
            })
            .collect(),
    }
}

/// The version that the legacy JSON of a project shows.
fn shown_version(document: &[u8]) -> Result<String> {
    let document: serde_json::Value = serde_json::from_slice(document)
        .map_err(|source| Error::internal("a document is no JSON", source))?;
    let version = document.pointer("/info/version");
    let version = version.and_then(serde_json::Value::as_str);
    version
        .map(str::to_owned)
        .ok_or_else(|| Error::internal("a document names no version", document.to_string()))
}

/// Under which key an ecosystem's advisories name a package.
#[must_use]
pub fn advisory_key(ecosystem: Ecosystem, name: &str) -> String {
    let key = package_key(countersign_formats::osv::ecosystem_name(ecosystem), name);
    key.split_once('\u{1f}')
        .map_or_else(|| name.to_owned(), |(_, name)| name.to_owned())
}
