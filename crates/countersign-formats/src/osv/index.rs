//! What there is about a package, found by its name. One text, a line a package, sorted: it is kept in a file as it is in memory, and only
//! the lines that are asked for are read.

use std::collections::HashMap;

use serde::{Deserialize, Serialize};

use crate::rejection::printable;
use crate::{Ecosystem, Rejection};

use super::judge::{Asked, Judge, Verdict};
use super::record::{Range, Record};
use super::severity::Rating;
use super::{ecosystem_name, package_key};

/// The first line of an index.
const HEADER: &str = "countersign-advisories/v1";
/// The longest summary that is kept, in characters.
const MAX_SUMMARY: usize = 240;
/// The most aliases that are kept of a record.
const MAX_ALIASES: usize = 50;

/// An advisory as the index keeps it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Advisory {
    /// Identifier.
    pub id: String,
    /// When it was changed last.
    pub modified: String,
    /// Other identifiers.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub aliases: Vec<String>,
    /// One line.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub summary: String,
    /// How bad.
    pub rating: Rating,
    /// Whether it is about software that was made to do harm.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub malware: bool,
    /// Whether it tells of something other than a flaw, such as that nobody maintains the package (RustSec's `informational`).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub informational: Option<String>,
    /// Where to read on.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub url: Option<String>,
}

/// What one advisory says about one package.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Rule {
    /// The advisory.
    pub advisory: Advisory,
    /// Ranges of versions.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub ranges: Vec<Range>,
    /// Single versions.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub versions: Vec<String>,
    /// Functions that have the flaw, as paths.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub functions: Vec<String>,
}

impl Rule {
    /// Every version that an advisory calls mended, as it writes them.
    #[must_use]
    pub fn fixes(&self) -> Vec<String> {
        let events = self.ranges.iter().flat_map(|range| &range.events);
        let mut fixes: Vec<String> = events.filter_map(|event| event.fixed.clone()).collect();
        fixes.sort_unstable();
        fixes.dedup();
        fixes
    }

    /// What a record says, package by package, each under its [`package_key`]; nothing where it was withdrawn.
    #[must_use]
    pub fn all_of(record: &Record) -> Vec<(String, Self)> {
        let mut rules = Vec::new();
        if record.is_withdrawn() {
            return rules;
        }
        for affected in &record.affected {
            let Some(key) = affected.key() else { continue };
            let mut ranges = affected.ranges.clone();
            ranges.retain(|range| range.kind != "GIT");
            for range in &mut ranges {
                range.extra.clear();
                range.repo = None;
            }
            // Commits alone name no version; elsewhere they would only blur.
            if ranges.is_empty() && affected.versions.is_empty() && !affected.ranges.is_empty() {
                continue;
            }
            let informational = affected
                .extra
                .get("database_specific")
                .and_then(|specific| specific.get("informational")?.as_str())
                .map(|word| printable(word, 40));
            let url = record
                .references
                .iter()
                .find(|reference| reference.kind == "ADVISORY")
                .or_else(|| record.references.first())
                .map(|reference| printable(&reference.url, 1000))
                .filter(|url| url.starts_with("https://") || url.starts_with("http://"));
            let mut functions = affected.functions();
            functions.extend(affected.symbols());
            rules.push((
                key,
                Rule {
                    advisory: Advisory {
                        id: record.id.clone(),
                        modified: record.modified.clone(),
                        aliases: record.aliases.iter().take(MAX_ALIASES).cloned().collect(),
                        summary: printable(summary(record), MAX_SUMMARY),
                        rating: Rating::of(record, affected),
                        malware: record.is_malware(),
                        informational,
                        url,
                    },
                    ranges,
                    versions: affected.versions.clone(),
                    functions,
                },
            ));
        }
        rules
    }
}

/// Gathers records into an [`Index`].
#[derive(Debug, Default)]
pub struct Builder {
    lines: HashMap<String, Vec<Rule>>,
}

impl Builder {
    /// Takes a record in. One that was withdrawn leaves nothing.
    pub fn add(&mut self, record: &Record) {
        for (key, rule) in Rule::all_of(record) {
            self.lines.entry(key).or_default().push(rule);
        }
    }

    /// The index. The same records give the same bytes, in whatever order they came; of one identifier the newest counts.
    #[must_use]
    pub fn finish(self) -> Index {
        let mut lines: Vec<(String, Vec<Rule>)> = self.lines.into_iter().collect();
        lines.sort_unstable_by(|(a, _), (b, _)| a.cmp(b));
        let mut text = format!("{HEADER}\n");
        for (key, mut rules) in lines {
            rules.sort_by(|a, b| {
                let (a, b) = (&a.advisory, &b.advisory);
                a.id.cmp(&b.id).then_with(|| b.modified.cmp(&a.modified))
            });
            let mut newest: Vec<Rule> = Vec::with_capacity(rules.len());
            for rule in rules {
                // A record may name a package several times; an older copy of the record is dropped.
                let older = newest.last().is_some_and(|last| {
                    last.advisory.id == rule.advisory.id
                        && (last.advisory.modified != rule.advisory.modified || *last == rule)
                });
                if !older {
                    newest.push(rule);
                }
            }
            text.push_str(&key);
            text.push('\t');
            // Text and numbers only: this can not fail.
            text.push_str(&serde_json::to_string(&newest).unwrap_or_default());
            text.push('\n');
        }
        Index { text }
    }
}

/// One line on a record.
fn summary(record: &Record) -> &str {
    let said = record.summary.as_deref().or(record.details.as_deref());
    said.unwrap_or_default()
        .lines()
        .find(|line| !line.trim().is_empty())
        .unwrap_or_default()
}

/// Advisories by package.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Index {
    text: String,
}

impl Index {
    /// Takes an index that was written before.
    ///
    /// # Errors
    /// `osv-index` for other bytes.
    pub fn from_bytes(bytes: Vec<u8>) -> Result<Self, Rejection> {
        let refuse = || {
            Rejection::new("osv-index", "The index of advisories is not one.")
                .with_remedy("Remove it; it is made again from the advisories.")
        };
        let text = String::from_utf8(bytes).map_err(|_| refuse())?;
        if !text.starts_with(&format!("{HEADER}\n")) || !text.ends_with('\n') {
            return Err(refuse());
        }
        Ok(Self { text })
    }

    /// The bytes to keep.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8] {
        self.text.as_bytes()
    }

    /// The number of packages that something is known about.
    #[must_use]
    pub fn packages(&self) -> usize {
        self.text.lines().count().saturating_sub(1)
    }

    /// What is known about a package; none where there is nothing.
    #[must_use]
    pub fn package(&self, ecosystem: &str, name: &str) -> Option<Rules> {
        let key = package_key(ecosystem, name);
        let line = self.line(&key)?;
        let rules: Vec<Rule> = serde_json::from_str(line).ok()?;
        Some(Rules::new(super::base(ecosystem), rules))
    }

    /// As [`Index::package`], for one of our ecosystems.
    #[must_use]
    pub fn project(&self, ecosystem: Ecosystem, name_key: &str) -> Option<Rules> {
        self.package(ecosystem_name(ecosystem), name_key)
    }

    /// The rest of the line of a key, by halving.
    fn line(&self, key: &str) -> Option<&str> {
        let bytes = self.text.as_bytes();
        let (mut low, mut high) = (HEADER.len() + 1, bytes.len());
        while low < high {
            let middle = low + (high - low) / 2;
            let start = bytes[low..middle]
                .iter()
                .rposition(|b| *b == b'\n')
                .map_or(low, |at| low + at + 1);
            let end = bytes[start..high]
                .iter()
                .position(|b| *b == b'\n')
                .map_or(high, |at| start + at);
            let line = self.text.get(start..end)?;
            let (found, rest) = line.split_once('\t')?;
            match found.cmp(key) {
                std::cmp::Ordering::Equal => return Some(rest),
                std::cmp::Ordering::Less => low = end + 1,
                std::cmp::Ordering::Greater => high = start,
            }
        }
        None
    }
}

/// What is known about one package, ready to be asked for many versions.
#[derive(Debug)]
pub struct Rules {
    ecosystem: String,
    rules: Vec<(Rule, Judge)>,
}

/// An advisory that a version has to do with.
#[derive(Debug, Clone, PartialEq)]
pub struct Finding<'a> {
    /// What the advisory says.
    pub rule: &'a Rule,
    /// [`Verdict::Affected`] or [`Verdict::Unknown`].
    pub verdict: Verdict,
    /// The first version after it without the flaw, where the advisory names one.
    pub fixed: Option<String>,
}

impl Rules {
    /// What is known about a package of one of our ecosystems.
    #[must_use]
    pub fn of(ecosystem: Ecosystem, rules: Vec<Rule>) -> Self {
        Self::new(ecosystem_name(ecosystem), rules)
    }

    fn new(ecosystem: &str, rules: Vec<Rule>) -> Self {
        let rules = rules
            .into_iter()
            .map(|rule| {
                let judge = Judge::of(ecosystem, &rule.ranges, &rule.versions);
                (rule, judge)
            })
            .collect();
        Self {
            ecosystem: ecosystem.to_owned(),
            rules,
        }
    }

    /// What concerns a version, or may concern it. An advisory that names the package twice is told once, by the surer word.
    #[must_use]
    pub fn findings(&self, version: &str) -> Vec<Finding<'_>> {
        let asked = Asked::new(&self.ecosystem, version);
        let mut findings: Vec<Finding<'_>> = Vec::new();
        for (rule, judge) in &self.rules {
            let judged = judge.judge(&asked);
            if judged.verdict == Verdict::NotAffected {
                continue;
            }
            let finding = Finding {
                rule,
                verdict: judged.verdict,
                fixed: judged.fixed,
            };
            match findings.last_mut() {
                Some(last) if last.rule.advisory.id == rule.advisory.id => {
                    if finding.verdict > last.verdict {
                        *last = finding;
                    }
                }
                _ => findings.push(finding),
            }
        }
        findings
    }

    /// Everything that is said about the package.
    pub fn rules(&self) -> impl Iterator<Item = &Rule> {
        self.rules.iter().map(|(rule, _)| rule)
    }
}
