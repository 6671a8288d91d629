//! What others say about the project behind a source repository: results of OpenSSF Scorecard, and signals of further sources. It is
//! kept with its source and its day, and is nobody's verdict.
//!
//! A result of Scorecard is read as that program writes it (`--format json`). Other sources write
//! `{"repository": URL, "source": NAME, "date": DAY, "signals": [{"name", "value", "note"}]}`.

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::Rejection;
use crate::rejection::{printable, quoted};

/// The longest document that is read, in bytes.
pub const MAX_DOCUMENT: usize = 256 << 20;
/// The most signals of one result.
const MAX_SIGNALS: usize = 64;
/// The longest text of a signal, in characters.
const MAX_TEXT: usize = 300;
/// The longest address of a repository, in bytes.
const MAX_ADDRESS: usize = 500;
/// So many of those that can not be used are told.
const MAX_TOLD: usize = 100;
/// How Scorecard is called on pages.
const SCORECARD: &str = "OpenSSF Scorecard";

/// What one source says about one repository.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct SourceHealth {
    /// Host and path, in lower case: see [`repository_key`].
    pub repository: String,
    /// Who says so.
    pub source: String,
    /// On which day, `2026-01-31`.
    pub date: String,
    /// What is said.
    pub signals: Vec<Signal>,
}

/// One thing that a source says.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Signal {
    /// What about.
    pub name: String,
    /// A number, a word or a day.
    pub value: String,
    /// Why, in a sentence.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub note: String,
}

/// What came of reading a document.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Report {
    /// Results that were handed on.
    pub taken: u64,
    /// Results that can not be used.
    pub refused: u64,
    /// The first of those: which, and why.
    pub reasons: Vec<(String, String)>,
}

#[derive(Deserialize)]
struct Scorecard {
    date: String,
    repo: Repository,
    score: f64,
    #[serde(default)]
    checks: Vec<Check>,
}

#[derive(Deserialize)]
struct Repository {
    name: String,
}

#[derive(Deserialize)]
struct Check {
    name: String,
    score: i64,
    #[serde(default)]
    reason: String,
}

#[derive(Deserialize)]
struct Other {
    repository: String,
    source: String,
    date: String,
    signals: Vec<Signal>,
}

/// Under what a repository is found: host, owner and name in lower case. `None`: the address leads to none.
#[must_use]
pub fn repository_key(address: &str) -> Option<String> {
    if address.len() > MAX_ADDRESS {
        return None;
    }
    let address = address.trim().to_ascii_lowercase();
    let address = address.strip_prefix("git+").unwrap_or(&address);
    let rest = address
        .split_once("://")
        .map_or(address, |(_, rest)| rest)
        .trim_start_matches("git@")
        .trim_start_matches("www.");
    let mut parts = rest.split(['/', '?', '#']).filter(|part| !part.is_empty());
    let (host, owner, name) = (parts.next()?, parts.next()?, parts.next()?);
    let name = name.trim_end_matches(".git");
    let plain = |part: &str| {
        !part.is_empty()
            && part
                .bytes()
                .all(|b| b.is_ascii_alphanumeric() || b"-_.~".contains(&b))
    };
    (host.contains('.') && [host, owner, name].into_iter().all(plain))
        .then(|| format!("{host}/{owner}/{name}"))
}

impl SourceHealth {
    /// Reads one result.
    ///
    /// # Errors
    /// `health-malformed`.
    pub fn from_value(value: Value) -> Result<Self, Rejection> {
        let read = if value.get("repo").is_some() {
            serde_json::from_value(value).map(Self::of_scorecard)
        } else {
            serde_json::from_value(value).map(Self::of_other)
        };
        read.map_err(|error| malformed(&error.to_string()))?
    }

    fn of_scorecard(read: Scorecard) -> Result<Self, Rejection> {
        let known = |score: f64| (0.0..=10.0).contains(&score);
        let mut signals = Vec::new();
        // Minus one stands for what could not be found out.
        if known(read.score) {
            signals.push(Signal {
                name: "Score".to_owned(),
                value: format!("{:.1} of 10", read.score),
                note: String::new(),
            });
        }
        for check in read.checks {
            if (0..=10).contains(&check.score) {
                signals.push(Signal {
                    name: check.name,
                    value: format!("{} of 10", check.score),
                    note: check.reason,
                });
            }
        }
        Self::checked(&read.repo.name, SCORECARD, &read.date, signals)
    }

    fn of_other(read: Other) -> Result<Self, Rejection> {
        Self::checked(&read.repository, &read.source, &read.date, read.signals)
    }

    fn checked(
        address: &str,
        source: &str,
        date: &str,
        mut signals: Vec<Signal>,
    ) -> Result<Self, Rejection> {
        let Some(repository) = repository_key(address) else {
            return Err(malformed(&format!(
                "{} is no address of a repository",
                quoted(address)
            )));
        };
        let day = date.get(..10).filter(|day| is_day(day));
        let Some(day) = day else {
            return Err(malformed(&format!("{} is no day", quoted(date))));
        };
        let source = source.trim();
        if source.is_empty() || source.len() > 100 {
            return Err(malformed("it does not say who says so"));
        }
        if signals.is_empty() {
            return Err(malformed("it says nothing"));
        }
        signals.truncate(MAX_SIGNALS);
        for signal in &mut signals {
            for text in [&mut signal.name, &mut signal.value, &mut signal.note] {
                *text = printable(text.trim(), MAX_TEXT);
            }
        }
        Ok(Self {
            repository,
            source: printable(source, 100),
            date: day.to_owned(),
            signals,
        })
    }
}

fn is_day(text: &str) -> bool {
    let number = |part: Option<&str>, low: u32, high: u32| {
        let number = part.and_then(|digits| digits.parse::<u32>().ok());
        number.is_some_and(|number| (low..=high).contains(&number))
    };
    text.bytes().all(|b| b.is_ascii_digit() || b == b'-')
        && text.as_bytes().get(4) == Some(&b'-')
        && text.as_bytes().get(7) == Some(&b'-')
        && number(text.get(..4), 2000, 2200)
        && number(text.get(5..7), 1, 12)
        && number(text.get(8..), 1, 31)
}

fn malformed(why: &str) -> Rejection {
    Rejection::new(
        "health-malformed",
        format!("A result on a source project can not be used: {why}."),
    )
    .with_remedy("Give results of Scorecard as JSON: one, a list, or one a line.")
}

/// Reads a document: one result, a list of them, or one a line. Those that can not be used are told, and the others handed on.
///
/// # Errors
/// `health-malformed` where it is none of these, or is cut off.
pub fn read(bytes: &[u8], each: &mut dyn FnMut(SourceHealth)) -> Result<Report, Rejection> {
    if bytes.len() > MAX_DOCUMENT {
        return Err(malformed(&format!("it has more than {MAX_DOCUMENT} bytes")));
    }
    let mut report = Report::default();
    let mut take = |value: Value| {
        let named = value
            .pointer("/repo/name")
            .or_else(|| value.get("repository"));
        let named = printable(named.and_then(Value::as_str).unwrap_or_default(), 120);
        match SourceHealth::from_value(value) {
            Ok(health) => {
                report.taken += 1;
                each(health);
            }
            Err(refused) => {
                report.refused += 1;
                if report.reasons.len() < MAX_TOLD {
                    report.reasons.push((named, refused.message));
                }
            }
        }
    };
    let broken = |error: serde_json::Error| malformed(&error.to_string());
    if bytes.iter().find(|b| !b.is_ascii_whitespace()) == Some(&b'[') {
        let list: Vec<Value> = serde_json::from_slice(bytes).map_err(broken)?;
        list.into_iter().for_each(&mut take);
    } else {
        for value in serde_json::Deserializer::from_slice(bytes).into_iter::<Value>() {
            take(value.map_err(broken)?);
        }
    }
    if report.taken == 0 {
        let why = report.reasons.first();
        return Err(why.map_or_else(
            || malformed("there is none"),
            |(_, why)| Rejection::new("health-malformed", why),
        ));
    }
    Ok(report)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_repository_has_one_key_however_it_is_written() {
        for address in [
            "https://github.com/Owner/Name",
            "https://www.github.com/owner/name.git",
            "git+https://github.com/owner/name.git#readme",
            "git@github.com/owner/name",
            "github.com/owner/name/tree/main?x=1",
        ] {
            assert_eq!(
                repository_key(address).as_deref(),
                Some("github.com/owner/name"),
                "{address}"
            );
        }
        for address in [
            "",
            "https://example.org/",
            "localhost/a/b",
            "github.com/a",
            "a.b/ /c",
        ] {
            assert_eq!(repository_key(address), None, "{address}");
        }
    }

    #[test]
    fn results_are_read_with_source_and_day_and_bad_ones_told() {
        let scorecard = json!({
            "date": "2026-01-31T10:00:00Z", "repo": {"name": "github.com/o/r", "commit": "abc"},
            "scorecard": {"version": "v5"}, "score": 7.4,
            "checks": [
                {"name": "Maintained", "score": 10, "reason": "30 commits\nin 90 days"},
                {"name": "Packaging", "score": -1, "reason": "not known"},
            ],
        });
        let other = json!({
            "repository": "https://gitlab.com/o/r", "source": "a survey", "date": "2026-02-01",
            "signals": [{"name": "Last commit", "value": "2025-12-01"}],
        });
        let bad =
            json!({"repository": "nowhere", "source": "x", "date": "2026-02-01", "signals": []});
        let list = json!([scorecard, other, bad]).to_string();
        let lines = format!("{scorecard}\n{other}\n{bad}\n");
        for text in [&list, &lines] {
            let mut found = Vec::new();
            let report = read(text.as_bytes(), &mut |health| found.push(health)).unwrap();
            assert_eq!((report.taken, report.refused), (2, 1), "{report:?}");
            assert_eq!(report.reasons[0].0, "nowhere");
            assert_eq!(
                (found[0].source.as_str(), found[0].date.as_str()),
                ("OpenSSF Scorecard", "2026-01-31")
            );
            let values: Vec<&str> = found[0]
                .signals
                .iter()
                .map(|signal| signal.value.as_str())
                .collect();
            assert_eq!(values, ["7.4 of 10", "10 of 10"]);
            assert!(!found[0].signals[1].note.contains('\n'));
            assert_eq!(found[1].repository, "gitlab.com/o/r");
        }
        let cut = &lines[..lines.len() - 20];
        for text in ["", "[", "{}", "7", "[1]", cut] {
            let refused = read(text.as_bytes(), &mut |_| {}).unwrap_err();
            assert_eq!(refused.code, "health-malformed", "{text}");
        }
        for date in ["", "2026-13-01", "yesterday 1", "2026-1-001"] {
            let mut odd = other.clone();
            odd["date"] = json!(date);
            assert!(SourceHealth::from_value(odd).is_err(), "{date}");
        }
    }
}
