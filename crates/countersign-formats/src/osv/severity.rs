//! How bad: what the scales of a record say, as one number and one word.

use std::str::FromStr;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::record::{Affected, Record, Severity};

/// The longest vector that is read, in bytes.
const MAX_VECTOR: usize = 512;

/// A word for a severity. The order is that of urgency; what nobody rated stands above what was rated low, since nobody knows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Grade {
    /// Rated, at zero.
    None,
    /// Below 4.0.
    Low,
    /// Nobody said.
    Unrated,
    /// Below 7.0.
    Medium,
    /// Below 9.0.
    High,
    /// From 9.0; and software that was made to do harm.
    Critical,
}

impl Grade {
    /// The word.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::None => "none",
            Self::Low => "low",
            Self::Unrated => "unrated",
            Self::Medium => "medium",
            Self::High => "high",
            Self::Critical => "critical",
        }
    }

    fn of_score(score: f64) -> Self {
        match score {
            s if s >= 9.0 => Self::Critical,
            s if s >= 7.0 => Self::High,
            s if s >= 4.0 => Self::Medium,
            s if s > 0.0 => Self::Low,
            _ => Self::None,
        }
    }

    /// The word that databases write (`MODERATE`, `HIGH`).
    fn of_word(word: &str) -> Option<Self> {
        match word.to_ascii_lowercase().as_str() {
            "none" => Some(Self::None),
            "low" | "negligible" => Some(Self::Low),
            "medium" | "moderate" => Some(Self::Medium),
            "high" | "important" => Some(Self::High),
            "critical" => Some(Self::Critical),
            _ => None,
        }
    }
}

/// A severity.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Rating {
    /// The word.
    pub grade: Grade,
    /// The number from 0 to 10, where a vector gave one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub score: Option<f64>,
    /// The vector.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub vector: Option<String>,
}

impl Rating {
    /// Nobody said.
    pub const UNRATED: Self = Self {
        grade: Grade::Unrated,
        score: None,
        vector: None,
    };

    /// The severity of a record for one of its packages: the highest score of the newest scale that can be read, else the word that the
    /// database gives, else unrated.
    #[must_use]
    pub fn of(record: &Record, affected: &Affected) -> Self {
        let rated = Self::of_vectors(&affected.severity)
            .or_else(|| Self::of_vectors(&record.severity))
            .or_else(|| {
                let said = |extra: &serde_json::Map<String, Value>| {
                    let word = extra.get("database_specific")?.get("severity")?.as_str()?;
                    Grade::of_word(word)
                };
                let grade = said(&affected.extra).or_else(|| said(&record.extra))?;
                Some(Self {
                    grade,
                    ..Self::UNRATED
                })
            });
        match rated {
            Some(rated) => rated,
            None if record.is_malware() => Self {
                grade: Grade::Critical,
                ..Self::UNRATED
            },
            None => Self::UNRATED,
        }
    }

    fn of_vectors(severities: &[Severity]) -> Option<Self> {
        ["CVSS_V4", "CVSS_V3", "CVSS_V2"]
            .into_iter()
            .find_map(|scale| {
                severities
                    .iter()
                    .filter(|severity| severity.scale == scale)
                    .filter_map(|severity| Self::of_vector(&severity.score))
                    .max_by(|a, b| {
                        let score = |rating: &Self| rating.score.unwrap_or_default();
                        score(a).total_cmp(&score(b))
                    })
            })
    }

    /// The rating of a CVSS vector of version 2, 3 or 4. None for what is no vector.
    #[must_use]
    pub fn of_vector(vector: &str) -> Option<Self> {
        if vector.len() > MAX_VECTOR || !vector.is_ascii() {
            return None;
        }
        let score = cvss::Cvss::from_str(vector).ok()?.score();
        score.is_finite().then(|| Self {
            grade: Grade::of_score(score),
            score: Some(score),
            vector: Some(vector.to_owned()),
        })
    }
}
