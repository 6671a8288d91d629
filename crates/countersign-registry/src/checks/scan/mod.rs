//! What is in an archive that an honest one has not: rules on its files, what it would run by itself, what is new since the
//! release before, secrets of others. Pure; it reads bytes and says what it found, with the place and a piece of the text.
//!
//! Nothing here decides. A score is how much a person should want to look: see [`Outcome::score`].

mod members;
mod rules;
mod secrets;
mod source;

use std::collections::{BTreeMap, BTreeSet};
use std::io::Read;

use countersign_formats::archive::{self, Member, MemberKind, tar, zip};
use countersign_formats::{Ecosystem, Limits, ReadSeek, Rejection};
use countersign_trust::digest::Sha256;
use serde::{Deserialize, Serialize};

pub use members::Role;
pub use rules::{RuleError, Rules};
pub use source::beside_source;

/// Of one member so many bytes are looked at.
const MOST_OF_A_MEMBER: u64 = 16 << 20;
/// So many findings are told; those that weigh most.
const MOST_FINDINGS: usize = 100;
/// So many members are named by their digests.
const MOST_DIGESTS: usize = 4_000;
/// So many files of a kind are remembered for the next release.
const MOST_REMEMBERED: usize = 200;
/// So many hits are kept of a member, for each [`Role`] that it may have.
const MOST_HITS: usize = 50;
/// The longest piece of a text that is shown, in characters.
const SNIPPET: usize = 200;

/// What is to be looked at.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ScanRequest {
    /// Which rules of layout it follows.
    pub ecosystem: Ecosystem,
    /// Its name: wheels are zips.
    pub filename: String,
    /// How many bytes follow.
    pub size: u64,
    /// What was seen in the release before.
    pub previous: Option<Traits>,
    /// The most that it may unpack to, in bytes.
    pub max_unpacked: u64,
}

/// Something that was found.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ScanFinding {
    /// The rule, or the heuristic.
    pub rule: String,
    /// In words.
    pub title: String,
    /// From 0 (for the record) to 100.
    pub score: u32,
    /// The member; empty for the archive as a whole.
    pub path: String,
    /// The line, from 1; 0 where there is none.
    pub line: u32,
    /// Offset in bytes within the member.
    pub offset: u64,
    /// A piece of the text there, of at most 200 characters. Secrets are not in it.
    pub snippet: String,
    /// SHA-256 of the member, hex; empty for the archive as a whole.
    pub sha256: String,
}

/// What the next release is compared with.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Traits {
    /// What is run by itself: at installation, at build, at the start of an interpreter.
    pub hooks: BTreeSet<String>,
    /// Compiled programs and libraries.
    pub binaries: BTreeSet<String>,
    /// Rules that matched.
    pub rules: BTreeSet<String>,
    /// Unpacked size in bytes.
    pub unpacked: u64,
    /// The modules of a Python distribution: the beginning of each one's SHA-256, and its path. Empty where there are too many.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub modules: BTreeMap<String, String>,
}

/// What a match weighs, from 0 (for the record, or nothing: see [`Weights::of`]) to 100, by what runs the file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Weights {
    /// In a file that nothing runs by itself.
    pub other: u32,
    /// In a file that is run when the package is used.
    pub entry: u32,
    /// In a file that is run at installation or build.
    pub install: u32,
}

impl Weights {
    /// The same wherever it stands.
    pub const fn alike(weight: u32) -> Self {
        Self {
            other: weight,
            entry: weight,
            install: weight,
        }
    }

    /// The weight in a file of this role; `None` where a match says nothing there.
    pub fn of(self, role: Role) -> Option<u32> {
        let weight = match role {
            Role::Other => self.other,
            Role::Entry => self.entry,
            Role::Install => self.install,
        };
        (weight > 0).then_some(weight)
    }
}

/// A match in a member, before it is known what runs that one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Hit {
    /// The rule.
    pub rule: String,
    /// In words.
    pub title: String,
    /// What it weighs.
    pub weights: Weights,
    /// Where, in bytes from the member's beginning.
    pub offset: usize,
    /// What is shown in place of the text there.
    pub shown: Option<String>,
}

/// Another engine, with rules of its own, that looks at every member beside [`Rules`].
pub trait Matcher {
    /// What it finds in a member, given by its path below the archive's top directory; each rule once.
    ///
    /// # Errors
    /// Why it could not look at all of it. Then nothing is said of the archive.
    fn matches(
        &mut self,
        ecosystem: Ecosystem,
        path: &str,
        bytes: &[u8],
    ) -> Result<Vec<Hit>, String>;
}

/// Why nothing is said of an archive.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Unscanned {
    /// The ecosystem's reader refuses it.
    Archive(Rejection),
    /// A [`Matcher`] could not look at all of it.
    Matcher(String),
}

impl std::fmt::Display for Unscanned {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Archive(refused) => &refused.message,
            Self::Matcher(why) => why,
        })
    }
}

impl std::error::Error for Unscanned {}

/// What came of it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Outcome {
    /// What was found, what weighs most first.
    pub findings: Vec<ScanFinding>,
    /// For the next release.
    pub traits: Traits,
    /// SHA-256 of members that hold code, hex, with their paths: for lists of known ones.
    pub digests: Vec<(String, String)>,
    /// Unpacked bytes that were looked at.
    pub scanned: u64,
}

impl Outcome {
    /// How much a person should want to look, from 0 to 100: the heaviest finding, and a tenth of each other rule's.
    pub fn score(&self) -> u32 {
        let mut seen = BTreeSet::new();
        let mut scores: Vec<u32> = self
            .findings
            .iter()
            .filter(|finding| seen.insert(finding.rule.as_str()))
            .map(|finding| finding.score)
            .collect();
        scores.sort_unstable_by(|a, b| b.cmp(a));
        match scores.split_first() {
            None => 0,
            Some((most, others)) => (most + others.iter().sum::<u32>() / 10).min(100),
        }
    }
}

/// A member in which something was found.
struct Seen {
    path: String,
    sha256: String,
    hits: Vec<(Hit, u32, String)>,
}

/// Of very many hits in a member those that weigh most, whatever runs it: nobody hides one among others.
fn keep_heaviest(hits: &mut Vec<Hit>) {
    if hits.len() <= MOST_HITS {
        return;
    }
    let mut kept = BTreeSet::new();
    for role in [Role::Other, Role::Entry, Role::Install] {
        let mut places: Vec<usize> = (0..hits.len()).collect();
        places.sort_by_key(|at| std::cmp::Reverse(hits[*at].weights.of(role)));
        kept.extend(places.into_iter().take(MOST_HITS));
    }
    let mut at = 0..;
    hits.retain(|_| at.next().is_some_and(|at| kept.contains(&at)));
}

/// Looks at an archive, with `also` beside the rules.
///
/// # Errors
/// Refuses what the ecosystem's reader refuses, and what `also` could not look at; then nothing is known of it.
pub fn scan(
    rules: &Rules,
    mut also: Option<&mut dyn Matcher>,
    request: &ScanRequest,
    bytes: &mut dyn ReadSeek,
) -> Result<Outcome, Unscanned> {
    let limits = Limits {
        max_unpacked: request.max_unpacked,
        ..Limits::default()
    };
    let mut outcome = Outcome::default();
    let mut roles = members::Roles::new(request.ecosystem, &request.filename);
    let mut modules = source::Modules::new(request.ecosystem);
    let mut seen: Vec<Seen> = Vec::new();
    let mut buffer = Vec::new();
    let mut unlooked = None;
    let mut visit = |member: &Member<'_>, reader: &mut dyn Read| -> Result<(), Rejection> {
        if member.kind != MemberKind::File {
            return Ok(());
        }
        buffer.clear();
        reader
            .take(MOST_OF_A_MEMBER)
            .read_to_end(&mut buffer)
            .map_err(|error| archive::read_rejection(&error))?;
        outcome.traits.unpacked += member.size;
        outcome.scanned += buffer.len() as u64;
        let path = members::below_top(request.ecosystem, &request.filename, member.path);
        roles.note(path, &buffer);
        let program = members::is_binary_program(&buffer);
        let mut hits = Vec::new();
        if program {
            if outcome.traits.binaries.len() < MOST_REMEMBERED {
                outcome.traits.binaries.insert(without_version(path));
            }
        } else {
            hits = rules.matches(request.ecosystem, path, &buffer);
            secrets::find(path, &buffer, &mut hits);
        }
        if let Some(also) = also.as_deref_mut() {
            match also.matches(request.ecosystem, path, &buffer) {
                // What both engines know by one name counts once.
                Ok(mut more) => {
                    more.retain(|hit| hits.iter().all(|known| known.rule != hit.rule));
                    hits.append(&mut more);
                    keep_heaviest(&mut hits);
                }
                Err(why) => {
                    // Stops the reader; what is told is the reason that stands beside.
                    let stopped = Rejection::new(Rejection::UNREADABLE, &why);
                    unlooked = Some(why);
                    return Err(stopped);
                }
            }
        }
        let code = !program && members::is_code(path);
        if !code && hits.is_empty() {
            return Ok(());
        }
        let sha256 = Sha256::of(&buffer).to_hex();
        modules.note(path, buffer.len(), &sha256);
        if code && outcome.digests.len() < MOST_DIGESTS {
            outcome.digests.push((path.to_owned(), sha256.clone()));
        }
        if !hits.is_empty() {
            seen.push(Seen {
                path: path.to_owned(),
                sha256,
                hits: hits
                    .into_iter()
                    .map(|mut hit| {
                        let (line, text) = place(&buffer, hit.offset);
                        let snippet = hit.shown.take().unwrap_or(text);
                        (hit, line, snippet)
                    })
                    .collect(),
            });
        }
        Ok(())
    };
    let read = if request.filename.ends_with(".whl") || request.filename.ends_with(".zip") {
        let rules = zip::Rules::default();
        zip::check(bytes, request.size, &limits, rules, &mut visit).map(drop)
    } else {
        tar::check(bytes, request.size, &limits, lenient(), &mut visit).map(drop)
    };
    if let Some(why) = unlooked {
        return Err(Unscanned::Matcher(why));
    }
    read.map_err(Unscanned::Archive)?;
    outcome.traits.modules = modules.all();
    outcome.traits.hooks = roles.hooks();
    outcome.traits.hooks = std::mem::take(&mut outcome.traits.hooks)
        .into_iter()
        .take(MOST_REMEMBERED)
        .collect();
    let mut findings = Vec::new();
    for member in seen {
        let role = roles.of(&member.path);
        for (hit, line, snippet) in member.hits {
            let Some(score) = hit.weights.of(role) else {
                continue;
            };
            outcome.traits.rules.insert(hit.rule.clone());
            findings.push(ScanFinding {
                rule: hit.rule,
                title: hit.title,
                score,
                path: member.path.clone(),
                line,
                offset: hit.offset as u64,
                snippet,
                sha256: member.sha256.clone(),
            });
        }
    }
    compare(request.previous.as_ref(), &outcome.traits, &mut findings);
    findings.sort_by(|a, b| {
        (b.score, &a.rule, &a.path, a.offset).cmp(&(a.score, &b.rule, &b.path, b.offset))
    });
    findings.truncate(MOST_FINDINGS);
    outcome.findings = findings;
    Ok(outcome)
}

/// What the publish let pass was read by the strict reader already.
fn lenient() -> tar::Rules {
    tar::Rules {
        inner_symlinks: true,
        setgid_directories: true,
        global_comment: true,
        dot_parts: true,
        node_notes: true,
        zero_padding: true,
        same_twice: true,
    }
}

/// The same file of the next version should have the same name.
fn without_version(path: &str) -> String {
    path.chars().filter(|c| !c.is_ascii_digit()).collect()
}

/// What is new since the release before. A rule that matched there already says less: that is what the project does.
fn compare(previous: Option<&Traits>, now: &Traits, findings: &mut Vec<ScanFinding>) {
    let Some(before) = previous else {
        return;
    };
    for finding in findings.iter_mut() {
        if before.rules.contains(&finding.rule) {
            finding.score = finding.score * 6 / 10;
        }
    }
    let mut new = |rule: &str, title: &str, score: u32, what: String| {
        findings.push(ScanFinding {
            rule: rule.to_owned(),
            title: title.to_owned(),
            score,
            path: String::new(),
            line: 0,
            offset: 0,
            snippet: shortened(&what),
            sha256: String::new(),
        });
    };
    let hooks: Vec<&str> = now
        .hooks
        .difference(&before.hooks)
        .map(String::as_str)
        .collect();
    if !hooks.is_empty() {
        let score = if before.hooks.is_empty() { 40 } else { 25 };
        new(
            "new-install-hook",
            "Something runs by itself that did not in the release before",
            score,
            hooks.join("; "),
        );
    }
    let binaries: Vec<&str> = now
        .binaries
        .difference(&before.binaries)
        .map(String::as_str)
        .collect();
    if !binaries.is_empty() && before.binaries.is_empty() {
        new(
            "new-binary",
            "Compiled programs, and none in the release before",
            20,
            binaries.join("; "),
        );
    }
    if before.unpacked > 0
        && now.unpacked > (1 << 20)
        && now.unpacked > before.unpacked.saturating_mul(5)
    {
        new(
            "size-jump",
            "More than five times the size of the release before",
            15,
            format!("{} bytes, after {}", now.unpacked, before.unpacked),
        );
    }
}

/// A piece of a text for people: one line, without control characters, at most 200 characters.
fn shortened(text: &str) -> String {
    text.chars()
        .map(|c| {
            if c.is_control() || is_invisible(c) {
                ' '
            } else {
                c
            }
        })
        .take(SNIPPET)
        .collect()
}

/// Does a character hide, or turn the order of others?
fn is_invisible(c: char) -> bool {
    matches!(c, '\u{200b}'..='\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2060}'..='\u{2069}' | '\u{fe00}'..='\u{fe0f}' | '\u{e0000}'..='\u{e01ef}')
}

/// The line of an offset, from 1, and the text around it.
fn place(bytes: &[u8], offset: usize) -> (u32, String) {
    let offset = offset.min(bytes.len());
    let line = bytes[..offset]
        .iter()
        .filter(|byte| **byte == b'\n')
        .count()
        + 1;
    let from = offset.saturating_sub(60);
    let to = (offset + 140).min(bytes.len());
    let text = String::from_utf8_lossy(&bytes[from..to]);
    (u32::try_from(line).unwrap_or(u32::MAX), shortened(&text))
}

#[cfg(test)]
mod tests;
