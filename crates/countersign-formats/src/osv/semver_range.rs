//! What an advisory says about a package of npm, as a range that npm's clients read.

use std::cmp::Ordering;

use super::index::Rule;
use super::order::Point;

/// The most single versions that are written into a range.
const MAX_VERSIONS: usize = 2_000;

impl Rule {
    /// The versions that are meant, as a range of `node-semver` (`>=1.0.0 <1.2.3 || =2.0.0`). `also` are versions that are known to be
    /// meant whatever the range says.
    #[must_use]
    pub fn semver_range(&self, also: &[&str]) -> String {
        let mut parts: Vec<String> = Vec::new();
        for range in &self.ranges {
            if !["SEMVER", "ECOSYSTEM"].contains(&range.kind.as_str()) {
                continue;
            }
            parts.extend(spans(range));
        }
        let single = self
            .versions
            .iter()
            .map(String::as_str)
            .filter(|_| parts.is_empty())
            .chain(also.iter().copied())
            .filter_map(written)
            .take(MAX_VERSIONS);
        let mut singles: Vec<String> = single.collect();
        singles.sort_unstable();
        singles.dedup();
        parts.extend(singles);
        if parts.is_empty() {
            // An advisory that names neither means all.
            return if self.ranges.is_empty() && self.versions.is_empty() {
                "*".to_owned()
            } else {
                "<0.0.0-0".to_owned()
            };
        }
        parts.join(" || ")
    }
}

/// A version that can stand in a range: nothing in it means more there than a version.
fn written(version: &str) -> Option<String> {
    let plain = version
        .bytes()
        .all(|b| b.is_ascii_alphanumeric() || b".-+".contains(&b));
    (plain && Point::semver(version).is_some()).then(|| version.to_owned())
}

/// The stretches of one range, in order.
fn spans(range: &super::Range) -> Vec<String> {
    enum Turn {
        On,
        Off(&'static str),
    }
    let mut turns: Vec<(Option<Point>, Turn, String)> = Vec::new();
    for event in &range.events {
        let (turn, version) = if let Some(version) = &event.introduced {
            (Turn::On, version)
        } else if let Some(version) = &event.fixed {
            (Turn::Off("<"), version)
        } else if let Some(version) = &event.last_affected {
            (Turn::Off("<="), version)
        } else {
            continue;
        };
        if version == "0" {
            turns.push((None, turn, String::new()));
        } else if let (Some(point), Some(text)) = (Point::semver(version), written(version)) {
            turns.push((Some(point), turn, text));
        }
    }
    turns.sort_by(|(a, ..), (b, ..)| match (a, b) {
        (None, None) => Ordering::Equal,
        (None, Some(_)) => Ordering::Less,
        (Some(_), None) => Ordering::Greater,
        (Some(a), Some(b)) => a.compare(b).unwrap_or(Ordering::Equal),
    });
    let mut parts = Vec::new();
    let mut open: Option<String> = None;
    for (_, turn, version) in turns {
        match turn {
            Turn::On => {
                open.get_or_insert_with(|| match version.as_str() {
                    "" => String::new(),
                    version => format!(">={version}"),
                });
            }
            Turn::Off(sign) => {
                if let Some(from) = open.take() {
                    parts.push(format!("{from} {sign}{version}").trim_start().to_owned());
                }
            }
        }
    }
    match open.as_deref() {
        Some("") => parts.push("*".to_owned()),
        Some(from) => parts.push(from.to_owned()),
        None => {}
    }
    parts
}

#[cfg(test)]
mod tests {
    use crate::osv::{Record, Rule};

    fn range(events: &str, versions: &str) -> String {
        let text = format!(
            r#"{{"id":"X-1","modified":"2026-01-01T00:00:00Z","affected":[{{"package":{{"ecosystem":"npm","name":"a"}},
            "ranges":[{{"type":"SEMVER","events":{events}}}],"versions":{versions}}}]}}"#
        );
        let record = Record::parse(text.as_bytes()).unwrap();
        Rule::all_of(&record)[0].1.semver_range(&[])
    }

    #[test]
    fn events_become_the_stretches_between_them_in_whatever_order_they_stand() {
        for (events, wanted) in [
            (r#"[{"introduced":"0"}]"#, "*"),
            (r#"[{"introduced":"0"},{"fixed":"1.2.0"}]"#, "<1.2.0"),
            (
                r#"[{"introduced":"1.0.0"},{"last_affected":"1.2.0"}]"#,
                ">=1.0.0 <=1.2.0",
            ),
            (
                r#"[{"fixed":"2.1.0"},{"introduced":"0"},{"introduced":"2.0.0"},{"fixed":"1.5.0"}]"#,
                "<1.5.0 || >=2.0.0 <2.1.0",
            ),
        ] {
            assert_eq!(range(events, "[]"), wanted);
        }
    }

    #[test]
    fn what_is_no_version_adds_nothing_to_a_range() {
        assert_eq!(range(r#"[{"introduced":"1.0.0 || *"}]"#, "[]"), "<0.0.0-0");
    }
}
