//! Rules on the texts of files: words that stand together, and perhaps a shape. `docs/spec/scan-rules.md`.
//!
//! All words of all rules are one automaton, which goes over a file once; a shape is tried where its rule's words were found.
//! Both take time that grows with the file alone, whatever a rule says.

use aho_corasick::{AhoCorasick, AhoCorasickBuilder};
use countersign_formats::Ecosystem;
use regex::bytes::{Regex, RegexBuilder};
use serde::Deserialize;

use super::{Hit, Weights};

/// The rules that come along.
const OWN: &str = include_str!("rules.toml");

/// A file of rules may have so many bytes…
const LONGEST_FILE: usize = 1 << 20;
/// …so many rules…
const MOST_RULES: usize = 1_000;
/// …each with so many words…
const MOST_WORDS: usize = 200;
/// …of so many bytes.
const LONGEST_WORD: usize = 200;
/// A compiled shape may take so much memory, in bytes.
const SHAPE_SIZE: usize = 1 << 20;

/// Why a file of rules can not be used.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RuleError {
    /// Which rule; empty for the file.
    pub rule: String,
    /// What is wrong with it.
    pub why: String,
}

impl std::fmt::Display for RuleError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        if self.rule.is_empty() {
            write!(f, "the rules can not be used: {}", self.why)
        } else {
            write!(f, "the rule {} can not be used: {}", self.rule, self.why)
        }
    }
}

impl std::error::Error for RuleError {}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    #[serde(default)]
    rule: Vec<Written>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Written {
    id: String,
    title: String,
    /// In a file that is not run by itself.
    #[serde(default)]
    score: u32,
    /// In a file that is run when the package is used; else `score`.
    entry: Option<u32>,
    /// In a file that is run at installation or build; else `entry`.
    install: Option<u32>,
    #[serde(default)]
    ecosystems: Vec<Ecosystem>,
    /// Endings of paths; none: every file.
    #[serde(default)]
    files: Vec<String>,
    /// Of each group one word must stand in the file.
    #[serde(default)]
    words: Vec<Vec<String>>,
    /// A regular expression that must match besides.
    shape: Option<String>,
    /// This often.
    #[serde(default = "once")]
    times: usize,
}

fn once() -> usize {
    1
}

struct Rule {
    id: String,
    title: String,
    weights: Weights,
    ecosystems: Vec<Ecosystem>,
    files: Vec<String>,
    groups: usize,
    shape: Option<Regex>,
    times: usize,
}

/// Rules, ready to be used.
pub struct Rules {
    rules: Vec<Rule>,
    words: AhoCorasick,
    /// For each word the rules and groups that it is in.
    used: Vec<Vec<(usize, usize)>>,
}

impl Rules {
    /// Those that come along.
    ///
    /// # Errors
    /// None that a test would not find.
    pub fn own() -> Result<Self, RuleError> {
        Self::parse(&[])
    }

    /// Those that come along, and the operator's files of rules.
    ///
    /// # Errors
    /// The first rule that can not be used, and why.
    pub fn parse(more: &[&str]) -> Result<Self, RuleError> {
        let wrong = |rule: &str, why: String| RuleError {
            rule: rule.to_owned(),
            why,
        };
        let mut written = Vec::new();
        for text in std::iter::once(&OWN).chain(more) {
            if text.len() > LONGEST_FILE {
                return Err(wrong(
                    "",
                    format!("a file has more than {LONGEST_FILE} bytes"),
                ));
            }
            let file: File =
                toml::from_str(text).map_err(|error| wrong("", error.message().to_owned()))?;
            written.extend(file.rule);
        }
        if written.len() > MOST_RULES {
            return Err(wrong("", format!("there are more than {MOST_RULES}")));
        }
        let (mut rules, mut words, mut used) =
            (Vec::new(), Vec::<Vec<u8>>::new(), Vec::<Vec<_>>::new());
        let mut ids = std::collections::BTreeSet::new();
        for rule in written {
            let why = if rule.id.is_empty()
                || rule.id.len() > 80
                || !rule
                    .id
                    .bytes()
                    .all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-')
            {
                Some("its id is not made of a to z, 0 to 9 and -".to_owned())
            } else if !ids.insert(rule.id.clone()) {
                Some("there are two of this id".to_owned())
            } else if rule.words.is_empty() || rule.words.iter().any(Vec::is_empty) {
                Some(
                    "it has no words, or a group without any: they are what is looked for first"
                        .to_owned(),
                )
            } else if rule.words.iter().map(Vec::len).sum::<usize>() > MOST_WORDS {
                Some(format!("it has more than {MOST_WORDS} words"))
            } else if rule
                .words
                .iter()
                .flatten()
                .any(|word| word.len() < 3 || word.len() > LONGEST_WORD)
            {
                Some(format!(
                    "a word has fewer than 3 or more than {LONGEST_WORD} bytes"
                ))
            } else if [Some(rule.score), rule.entry, rule.install]
                .iter()
                .flatten()
                .any(|score| *score > 100)
            {
                Some("a score is more than 100".to_owned())
            } else {
                None
            };
            if let Some(why) = why {
                return Err(wrong(&rule.id, why));
            }
            let shape = rule
                .shape
                .as_deref()
                .map(|shape| {
                    // Classes of all scripts make it slow; whoever needs them writes (?u:…).
                    RegexBuilder::new(shape)
                        .unicode(false)
                        .size_limit(SHAPE_SIZE)
                        .dfa_size_limit(SHAPE_SIZE)
                        .build()
                        .map_err(|error| {
                            wrong(
                                &rule.id,
                                format!(
                                    "its shape is no regular expression of bounded size: {error}"
                                ),
                            )
                        })
                })
                .transpose()?;
            for (group, members) in rule.words.iter().enumerate() {
                for word in members {
                    let word = word.to_ascii_lowercase().into_bytes();
                    let place = match words.iter().position(|known| *known == word) {
                        Some(place) => place,
                        None => {
                            words.push(word);
                            used.push(Vec::new());
                            words.len() - 1
                        }
                    };
                    used[place].push((rules.len(), group));
                }
            }
            let entry = rule.entry.unwrap_or(rule.score);
            rules.push(Rule {
                weights: Weights {
                    other: rule.score,
                    entry,
                    install: rule.install.unwrap_or(entry),
                },
                id: rule.id,
                title: rule.title,
                ecosystems: rule.ecosystems,
                files: rule.files,
                groups: rule.words.len(),
                shape,
                times: rule.times.max(1),
            });
        }
        let words = AhoCorasickBuilder::new()
            .ascii_case_insensitive(true)
            .build(&words)
            .map_err(|error| wrong("", error.to_string()))?;
        Ok(Self { rules, words, used })
    }

    /// Their ids.
    pub fn ids(&self) -> impl Iterator<Item = &str> {
        self.rules.iter().map(|rule| rule.id.as_str())
    }

    /// How many there are.
    pub fn count(&self) -> usize {
        self.rules.len()
    }

    /// The rules that match a file, each once, at the word or shape that was found last.
    pub(super) fn matches(&self, ecosystem: Ecosystem, path: &str, bytes: &[u8]) -> Vec<Hit> {
        let mut found: Vec<Option<usize>> = vec![None; self.used.len()];
        let mut missing = found.len();
        for hit in self.words.find_overlapping_iter(bytes) {
            let place = &mut found[hit.pattern().as_usize()];
            if place.is_none() {
                *place = Some(hit.start());
                missing -= 1;
                if missing == 0 {
                    break;
                }
            }
        }
        if missing == found.len() {
            return Vec::new();
        }
        let mut groups: Vec<Vec<Option<usize>>> = self
            .rules
            .iter()
            .map(|rule| vec![None; rule.groups])
            .collect();
        for (word, at) in found.iter().enumerate() {
            let Some(at) = at else { continue };
            for (rule, group) in &self.used[word] {
                let place = &mut groups[*rule][*group];
                *place = Some(place.map_or(*at, |before| before.min(*at)));
            }
        }
        let mut hits = Vec::new();
        for (rule, groups) in self.rules.iter().zip(groups) {
            let there: Option<Vec<usize>> = groups.into_iter().collect();
            let Some(there) = there else { continue };
            let applies = (rule.ecosystems.is_empty() || rule.ecosystems.contains(&ecosystem))
                && (rule.files.is_empty()
                    || rule
                        .files
                        .iter()
                        .any(|ending| path.ends_with(ending.as_str())));
            if !applies {
                continue;
            }
            let at = match &rule.shape {
                None => there.into_iter().max().unwrap_or(0),
                Some(shape) => match shape.find_iter(bytes).nth(rule.times - 1) {
                    Some(found) => found.start(),
                    None => continue,
                },
            };
            hits.push(Hit {
                rule: rule.id.clone(),
                title: rule.title.clone(),
                weights: rule.weights,
                offset: at,
                shown: None,
            });
        }
        hits
    }
}

#[cfg(test)]
mod tests {
    use countersign_testkit::mangled::mangled;

    use super::*;

    #[test]
    fn files_of_rules_that_are_mangled_are_refused_with_a_reason_or_used() {
        let good = "[[rule]]\nid = \"mine\"\ntitle = \"A call\"\nscore = 5\ninstall = 9\necosystems = [\"pypi\"]\n\
                    files = [\".py\"]\nwords = [[\"eval\", \"exec\"]]\nshape = '(eval|exec)\\(.{1,20}'\ntimes = 2\n";
        Rules::parse(&[good]).unwrap();
        let mut refused = 0;
        for bytes in mangled(good.as_bytes(), 400) {
            let text = String::from_utf8_lossy(&bytes);
            if let Err(error) = Rules::parse(&[&text]) {
                assert!(!error.why.is_empty());
                refused += 1;
            }
        }
        assert!(refused > 50, "{refused}");
    }
}
