//! What is said about a release's source project, on its page: by whom and on which day, never as a verdict.

use countersign_formats::source_health::{Signal, SourceHealth, repository_key};
use countersign_registry::model::{ProjectDetail, Time};
use countersign_registry::{Registry, Result};

use super::phrase::Day;
use super::release::Facts;

/// A year, in seconds.
const YEAR: i64 = 365 * 86_400;
/// Signals of one source on a page.
const SHOWN: usize = 24;

/// What is said, by others and by the registry's own records.
pub(super) struct Health {
    pub(super) said: Vec<Said>,
    pub(super) today: Day,
    pub(super) newest: Option<Day>,
    pub(super) recent: usize,
    pub(super) licence: Option<String>,
    /// Whether a workflow of that repository published the release.
    pub(super) verified: bool,
}

/// What one source says.
pub(super) struct Said {
    pub(super) source: String,
    pub(super) repository: String,
    pub(super) date: String,
    pub(super) signals: Vec<Signal>,
}

impl From<SourceHealth> for Said {
    fn from(health: SourceHealth) -> Self {
        let mut signals = health.signals;
        signals.truncate(SHOWN);
        Self {
            source: health.source,
            repository: health.repository,
            date: health.date,
            signals,
        }
    }
}

impl Health {
    /// What is known about the repositories that a release's own links name; nothing, where nobody says anything.
    pub(super) async fn of(
        registry: &Registry,
        project: &ProjectDetail,
        facts: &Facts,
    ) -> Result<Option<Self>> {
        let addresses: Vec<&str> = facts
            .links
            .iter()
            .map(|link| link.address.as_str())
            .collect();
        let found = registry.source_health(&addresses).await?;
        if found.is_empty() {
            return Ok(None);
        }
        let verified = facts
            .links
            .iter()
            .filter(|link| link.verified)
            .filter_map(|link| repository_key(&link.address));
        let verified: Vec<String> = verified.collect();
        let verified = found
            .iter()
            .all(|health| verified.contains(&health.repository));
        let now = registry.now();
        Ok(Some(Self::new(project, facts, found, verified, now)))
    }

    fn new(
        project: &ProjectDetail,
        facts: &Facts,
        found: Vec<SourceHealth>,
        verified: bool,
        now: Time,
    ) -> Self {
        let newest = project.releases.iter().map(|release| release.created).max();
        let recent = project
            .releases
            .iter()
            .filter(|release| now.seconds() - release.created.seconds() < YEAR)
            .count();
        Self {
            said: found.into_iter().map(Said::from).collect(),
            today: Day(now),
            newest: newest.map(Day),
            recent,
            licence: facts.licence.clone(),
            verified,
        }
    }
}

#[cfg(test)]
impl Health {
    /// One of each.
    pub(super) fn sample(project: &ProjectDetail, facts: &Facts) -> Option<Self> {
        let said = |source: &str, signals: &[(&str, &str, &str)]| SourceHealth {
            repository: "github.com/example/left".to_owned(),
            source: source.to_owned(),
            date: "2026-01-31".to_owned(),
            signals: signals
                .iter()
                .map(|(name, value, note)| Signal {
                    name: (*name).to_owned(),
                    value: (*value).to_owned(),
                    note: (*note).to_owned(),
                })
                .collect(),
        };
        let found = vec![
            said(
                "OpenSSF Scorecard",
                &[
                    ("Score", "7.4 of 10", ""),
                    ("Maintained", "10 of 10", "30 commits in the last 90 days"),
                ],
            ),
            said("a survey", &[("Last commit", "2025-12-01", "")]),
        ];
        Some(Self::new(project, facts, found, false, project.created))
    }
}
