//! Is this version meant? After OSV's own algorithm, with a third answer for what can not be compared.

use std::cmp::Ordering;

use serde::{Deserialize, Serialize};

use super::order::Point;
use super::record::{Affected, Event, Range};
use super::{base, ecosystem_of};

/// Whether a version has the flaw.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Verdict {
    /// It is not among the versions that are meant.
    NotAffected,
    /// Nobody can say: the version, or one in the advisory, has no place in an order that is known.
    Unknown,
    /// It is meant.
    Affected,
}

/// What happens at a place.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Turn {
    Introduced,
    Fixed,
    LastAffected,
}

/// A range that is ready to be asked.
#[derive(Debug)]
pub(super) struct Span {
    semver: bool,
    /// In order; none is before everything.
    turns: Vec<(Option<Point>, Turn, String)>,
    limits: Vec<Point>,
    /// Whether a place in it is not known, so that it can not say no.
    unclear: bool,
}

/// Why a version is meant, as far as it helps.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Judged {
    pub verdict: Verdict,
    /// The first version after it that does not have the flaw, as the advisory writes it.
    pub fixed: Option<String>,
}

impl Span {
    pub(super) fn of(ecosystem: &str, range: &Range) -> Option<Self> {
        let semver = match range.kind.as_str() {
            "SEMVER" => true,
            "ECOSYSTEM" => false,
            // Commits of a repository say nothing about versions.
            "GIT" => return None,
            _ => {
                return Some(Self {
                    semver: false,
                    turns: Vec::new(),
                    limits: Vec::new(),
                    unclear: true,
                });
            }
        };
        let place = |text: &str| {
            if semver {
                Point::semver(text)
            } else {
                Point::ecosystem(ecosystem, text)
            }
        };
        let mut span = Self {
            semver,
            turns: Vec::new(),
            limits: Vec::new(),
            unclear: false,
        };
        let mut unlimited = false;
        for event in &range.events {
            let (turn, text) = match event {
                Event {
                    introduced: Some(text),
                    ..
                } => (Turn::Introduced, text),
                Event {
                    fixed: Some(text), ..
                } => (Turn::Fixed, text),
                Event {
                    last_affected: Some(text),
                    ..
                } => (Turn::LastAffected, text),
                Event {
                    limit: Some(text), ..
                } => {
                    match place(text) {
                        _ if text == "*" => unlimited = true,
                        Some(limit) => span.limits.push(limit),
                        None => span.unclear = true,
                    }
                    continue;
                }
                _ => {
                    span.unclear = true;
                    continue;
                }
            };
            if turn == Turn::Introduced && text == "0" {
                span.turns.push((None, turn, text.clone()));
                continue;
            }
            match place(text) {
                Some(point) => span.turns.push((Some(point), turn, text.clone())),
                None => span.unclear = true,
            }
        }
        if unlimited {
            span.limits.clear();
        }
        // Stable: what happens at one version happens in the record's order.
        span.turns.sort_by(|(a, ..), (b, ..)| match (a, b) {
            (None, None) => Ordering::Equal,
            (None, Some(_)) => Ordering::Less,
            (Some(_), None) => Ordering::Greater,
            (Some(a), Some(b)) => a.compare(b).unwrap_or(Ordering::Equal),
        });
        Some(span)
    }

    fn judge(&self, asked: &Asked) -> Judged {
        let point = if self.semver {
            &asked.semver
        } else {
            &asked.own
        };
        let unknown = Judged {
            verdict: Verdict::Unknown,
            fixed: None,
        };
        if self.unclear {
            return unknown;
        }
        let Some(point) = point else {
            // "Everything, and never mended" needs no order.
            let all = matches!(self.turns[..], [(None, Turn::Introduced, _)]);
            return if all && self.limits.is_empty() {
                Judged {
                    verdict: Verdict::Affected,
                    fixed: None,
                }
            } else {
                unknown
            };
        };
        let before = |limit: &Point| point.compare(limit) == Some(Ordering::Less);
        if !self.limits.is_empty() && !self.limits.iter().any(before) {
            return Judged {
                verdict: Verdict::NotAffected,
                fixed: None,
            };
        }
        let mut affected = false;
        let mut fixed = None;
        for (at, turn, text) in &self.turns {
            let order = match at {
                None => Ordering::Greater,
                Some(at) => match point.compare(at) {
                    Some(order) => order,
                    None => return unknown,
                },
            };
            match turn {
                Turn::Introduced if order.is_ge() => affected = true,
                Turn::Fixed if order.is_ge() => affected = false,
                Turn::LastAffected if order.is_gt() => affected = false,
                // The first mend after the version.
                Turn::Fixed if affected && fixed.is_none() => fixed = Some(text.clone()),
                _ => {}
            }
        }
        Judged {
            verdict: if affected {
                Verdict::Affected
            } else {
                Verdict::NotAffected
            },
            fixed: fixed.filter(|_| affected),
        }
    }
}

/// A version that is asked about, in the orders that ranges need.
#[derive(Debug)]
pub(super) struct Asked {
    text: String,
    own: Option<Point>,
    semver: Option<Point>,
}

impl Asked {
    pub(super) fn new(ecosystem: &str, version: &str) -> Self {
        Self {
            text: version.to_owned(),
            own: Point::asked(ecosystem, version),
            semver: Point::semver(version),
        }
    }
}

/// What a package's versions are held against, ready to be asked for many.
#[derive(Debug)]
pub(super) struct Judge {
    spans: Vec<Span>,
    /// Listed versions.
    listed: Listed,
    /// Whether it says anything about versions at all.
    silent: bool,
}

#[derive(Debug)]
enum Listed {
    /// As they are written, sorted.
    Texts(Vec<String>),
    /// As they are written, sorted, and, sorted too, their places.
    Places(Vec<String>, Vec<Point>),
}

impl Judge {
    pub(super) fn of(ecosystem: &str, ranges: &[Range], versions: &[String]) -> Self {
        let mut texts = versions.to_vec();
        texts.sort_unstable();
        let listed = if ecosystem_of(ecosystem).is_some() {
            let mut places: Vec<Point> = texts
                .iter()
                .filter_map(|text| Point::ecosystem(ecosystem, text))
                .collect();
            places.sort_by(|a, b| a.compare(b).unwrap_or(Ordering::Equal));
            Listed::Places(texts, places)
        } else {
            Listed::Texts(texts)
        };
        let spans: Vec<Span> = ranges
            .iter()
            .filter_map(|range| Span::of(ecosystem, range))
            .collect();
        Self {
            silent: spans.is_empty() && versions.is_empty(),
            spans,
            listed,
        }
    }

    pub(super) fn judge(&self, asked: &Asked) -> Judged {
        let (Listed::Texts(texts) | Listed::Places(texts, _)) = &self.listed;
        let mut listed = texts.binary_search(&asked.text).is_ok();
        if let (Listed::Places(_, places), Some(point)) = (&self.listed, &asked.own) {
            listed |= places
                .binary_search_by(|place| place.compare(point).unwrap_or(Ordering::Less))
                .is_ok();
        }
        let mut verdict = if listed {
            Verdict::Affected
        } else if self.silent {
            // Only commits, or nothing: it names the package, and no version of it can be ruled out.
            Verdict::Unknown
        } else {
            Verdict::NotAffected
        };
        let mut fixed = None;
        for span in &self.spans {
            let judged = span.judge(asked);
            verdict = verdict.max(judged.verdict);
            fixed = fixed.or(judged.fixed);
        }
        if verdict == Verdict::Affected && fixed.is_none() {
            fixed = self.next_fix(asked);
        }
        Judged {
            verdict,
            fixed: fixed.filter(|_| verdict == Verdict::Affected),
        }
    }

    /// The lowest mend above a version that is only listed.
    fn next_fix(&self, asked: &Asked) -> Option<String> {
        self.spans.iter().find_map(|span| {
            let point = if span.semver {
                asked.semver.as_ref()
            } else {
                asked.own.as_ref()
            }?;
            span.turns.iter().find_map(|(at, turn, text)| {
                let above = at.as_ref()?.compare(point) == Some(Ordering::Greater);
                (*turn == Turn::Fixed && above).then(|| text.clone())
            })
        })
    }
}

impl Affected {
    /// Whether a version of the package is meant. For many versions of one package ask [`super::Rules`].
    #[must_use]
    pub fn judge(&self, version: &str) -> Verdict {
        let ecosystem = self
            .package
            .as_ref()
            .map_or("", |package| base(&package.ecosystem));
        Judge::of(ecosystem, &self.ranges, &self.versions)
            .judge(&Asked::new(ecosystem, version))
            .verdict
    }
}
