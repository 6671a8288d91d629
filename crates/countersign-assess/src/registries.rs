//! What is known of ten public registries, each state with its date, and the survey of 2022, as data.
//!
//! States are a reading of public statements, not results of probes: they say where each registry stood when it was
//! read, and since when where that is known.

use std::collections::BTreeMap;
use std::sync::LazyLock;

use serde::Deserialize;

use crate::assessment::{Outcome, level};
use crate::principles::{self, Track};

/// How one registry stood with one check.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct State {
    /// How it stood.
    pub result: Outcome,
    /// A sentence about it; may be empty.
    #[serde(default)]
    pub note: String,
    /// Since when, as far as it is known: a year, or a year and a month.
    pub since: Option<String>,
    /// No source was read for it.
    #[serde(default)]
    pub from_memory: bool,
}

/// A public registry.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Known {
    /// A short name for files and anchors.
    pub id: String,
    /// Its name.
    pub name: String,
    /// What was read.
    pub source: String,
    /// How it stands, by check.
    pub states: BTreeMap<String, State>,
}

impl Known {
    /// The level of a track by these states.
    pub fn level(&self, track: Track) -> Option<u8> {
        let of: Vec<(u8, Outcome)> = principles::all()
            .iter()
            .filter(|check| check.track() == track)
            .filter_map(|check| Some((check.level, self.states.get(&check.id)?.result)))
            .collect();
        level(&of)
    }

    /// How many checks it meets or delegates, and how many apply.
    pub fn met(&self) -> (usize, usize) {
        let met = self
            .states
            .values()
            .filter(|state| state.result.counts())
            .count();
        let apply = self
            .states
            .values()
            .filter(|state| state.result != Outcome::NotApplicable)
            .count();
        (met, apply)
    }
}

/// What a registry promised in public.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Commitment {
    /// The registry's id.
    pub registry: String,
    /// What was promised.
    pub what: String,
    /// `done`, `partly` or `open`.
    pub state: String,
    /// What became of it; may be empty.
    pub note: String,
}

/// The whole table.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Comparison {
    /// When it was read: a year and a month.
    pub read: String,
    /// How it was made.
    pub note: String,
    /// When the commitments were made.
    pub commitments_made: String,
    /// Where.
    pub commitments_at: String,
    /// What was promised, and what became of it.
    pub commitments: Vec<Commitment>,
    /// The registries.
    pub registries: Vec<Known>,
}

/// One question of the survey.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Question {
    /// The question in our words.
    pub question: String,
    /// The answers, in the order of the repositories: `yes`, `no`, `planned`, `exploring`, `not-applicable`, `unclear`.
    pub answers: Vec<String>,
}

/// The survey of eleven repositories.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Survey {
    /// Its year.
    pub year: u16,
    /// Where it is from and how it was reduced.
    pub note: String,
    /// Who answered.
    pub repositories: Vec<String>,
    /// What was asked.
    pub questions: Vec<Question>,
}

/// The known state of ten registries.
pub fn comparison() -> &'static Comparison {
    static DATA: LazyLock<Comparison> = LazyLock::new(|| {
        serde_json::from_str(include_str!("../data/registries.json"))
            .expect("the table of registries is part of this program")
    });
    &DATA
}

/// The survey of 2022.
pub fn survey() -> &'static Survey {
    static DATA: LazyLock<Survey> = LazyLock::new(|| {
        serde_json::from_str(include_str!("../data/survey-2022.json"))
            .expect("the table of the survey is part of this program")
    });
    &DATA
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ten_registries_have_a_state_for_each_check_and_nobody_has_them_all() {
        let comparison = comparison();
        assert_eq!(comparison.registries.len(), 10);
        for known in &comparison.registries {
            for check in principles::all() {
                assert!(
                    known.states.contains_key(&check.id),
                    "{} {}",
                    known.id,
                    check.id
                );
            }
            assert_eq!(known.states.len(), 39);
            let (met, apply) = known.met();
            assert!(met < apply, "{}", known.id);
        }
        let go = comparison
            .registries
            .iter()
            .find(|known| known.id == "go")
            .unwrap();
        assert_eq!(go.level(Track::Authentication), None);
        // Nobody can be reported by command line yet.
        assert!(
            comparison
                .registries
                .iter()
                .all(|known| !known.states["GC2.2b"].result.counts())
        );
        for commitment in &comparison.commitments {
            assert!(
                comparison
                    .registries
                    .iter()
                    .any(|known| known.id == commitment.registry)
            );
        }
    }

    #[test]
    fn the_survey_has_an_answer_of_each_repository_to_each_question() {
        let survey = survey();
        assert_eq!(survey.repositories.len(), 11);
        assert!(survey.questions.len() >= 30);
        let words = [
            "yes",
            "no",
            "planned",
            "exploring",
            "not-applicable",
            "unclear",
        ];
        for question in &survey.questions {
            assert_eq!(question.answers.len(), 11, "{}", question.question);
            assert!(
                question
                    .answers
                    .iter()
                    .all(|answer| words.contains(&answer.as_str()))
            );
        }
    }
}
