//! What to do next: the gaps in the order of what they bring for what they cost, each as a piece of work that somebody
//! could fund.

use serde::Serialize;

use crate::assessment::{Assessment, Checked, Outcome};
use crate::principles::{self, Check};

/// One gap.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Step {
    /// Its place, from 1.
    pub rank: usize,
    /// The check.
    pub id: String,
    /// Its title.
    pub title: String,
    /// How it stands.
    pub result: Outcome,
    /// What it stops, 1 to 5.
    pub impact: u8,
    /// Weeks of one engineer.
    pub effort_weeks: u8,
    /// Whether the level of the track waits for this one.
    pub holds_level: bool,
    /// The work, written so that it can be put into an application for funding.
    pub improvement: String,
}

/// The gaps of an assessment: what holds a level first, then by impact for effort.
pub fn steps(assessment: &Assessment) -> Vec<Step> {
    let mut steps: Vec<(Step, f64)> = assessment
        .checks
        .iter()
        .filter(|checked| checked.result.is_gap())
        .filter_map(|checked| Some((checked, principles::find(&checked.id)?)))
        .map(|(checked, check)| {
            let level = assessment
                .tracks
                .get(check.track().letters())
                .and_then(|track| track.level)
                .unwrap_or(0);
            // What is only not shown yet costs less than what is missing.
            let weeks = match checked.result {
                Outcome::Unknown => f64::from(check.effort).min(1.0),
                Outcome::Partial => f64::from(check.effort) / 2.0,
                _ => f64::from(check.effort),
            };
            let step = Step {
                rank: 0,
                id: check.id.clone(),
                title: check.title.clone(),
                result: checked.result,
                impact: check.impact,
                effort_weeks: weeks.ceil() as u8,
                holds_level: check.level == level + 1,
                improvement: improvement(check, checked, weeks.ceil() as u8),
            };
            (step, f64::from(check.impact) / weeks.max(0.5))
        })
        .collect();
    steps.sort_by(|(one, value), (other, others)| {
        other
            .holds_level
            .cmp(&one.holds_level)
            .then(others.total_cmp(value))
            .then_with(|| one.id.cmp(&other.id))
    });
    steps
        .into_iter()
        .enumerate()
        .map(|(at, (step, _))| Step {
            rank: at + 1,
            ..step
        })
        .collect()
}

fn improvement(check: &Check, checked: &Checked, weeks: u8) -> String {
    let state = match checked.result {
        Outcome::Unknown => "Nothing shows yet whether this is so",
        Outcome::Partial => "This is so in part",
        _ => "This is not so today",
    };
    let work = match checked.result {
        Outcome::Unknown => format!(
            "Show it by {}, or else: {}",
            check
                .grades
                .first()
                .map_or("evidence", |grade| grade.words()),
            check.improve
        ),
        _ => check.improve.clone(),
    };
    let weeks = if weeks == 1 {
        "week".to_owned()
    } else {
        format!("{weeks} weeks")
    };
    format!(
        "{} ({}, level {} of {}). The demand: {} {state}. The work: {work} It takes about one engineer's {weeks}. It is done when the check {} passes.",
        check.title,
        check.id,
        check.level,
        check.track().name(),
        check.statement,
        check.id
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::assessment::{Finding, conclude};
    use crate::principles::Grade;
    use crate::profile::Profile;
    use crate::script::{Target, Verdict};

    #[test]
    fn what_holds_a_level_comes_first_and_what_brings_more_for_less_before_the_rest() {
        let target = Target {
            site: "https://packages.example.org".to_owned(),
            profile: Profile::default(),
            now: 1_795_000_000,
            seed: [0; 32],
        };
        let missing = ["AZ2.1", "GC2.3", "GC2.2a", "GC3.2"];
        let findings: Vec<Finding> = principles::all()
            .iter()
            .map(|check| Finding {
                check: check.id.clone(),
                grade: Grade::Canary,
                verdict: Verdict {
                    result: if missing.contains(&check.id.as_str()) {
                        Outcome::Fail
                    } else {
                        Outcome::Pass
                    },
                    ..Verdict::unknown("")
                },
            })
            .collect();
        let steps = steps(&conclude(&target, None, &findings));
        let order: Vec<&str> = steps.iter().map(|step| step.id.as_str()).collect();
        assert_eq!(order, ["GC2.2a", "AZ2.1", "GC2.3", "GC3.2"]);
        assert!(!steps[3].holds_level && steps[0].rank == 1);
        assert!(
            steps[0].improvement.contains("GC2.2a") && steps[0].improvement.contains("2 weeks")
        );
    }
}
