//! Which accounts need which factors. Pure.

use super::denied;
use crate::error::Result;
use crate::model::Time;
use crate::settings::{FactorNeed, FactorPolicy};
use crate::store::FactorFacts;

/// What an account needs now or soon.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Need {
    /// How much.
    pub(crate) need: FactorNeed,
    /// From when on it is refused what needs it.
    pub(crate) by: Time,
    /// Why.
    pub(crate) why: Why,
}

/// Why an account needs a factor.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Why {
    /// It has a role on a project.
    Maintains,
    /// One of its projects is critical.
    Critical,
    /// It is an operator's.
    Operator,
}

impl Why {
    /// As the end of a sentence.
    pub(crate) fn words(self) -> &'static str {
        match self {
            Self::Maintains => "it has a role on a project",
            Self::Critical => "one of its projects is critical",
            Self::Operator => "it is an operator's",
        }
    }
}

fn has(facts: &FactorFacts) -> FactorNeed {
    if facts.phishproof {
        FactorNeed::Phishproof
    } else if facts.second {
        FactorNeed::Second
    } else {
        FactorNeed::Nothing
    }
}

/// Everything that is asked of an account, whether or not it has it.
fn needs(policy: &FactorPolicy, facts: &FactorFacts) -> Vec<Need> {
    let grace = i64::from(policy.grace_days).saturating_mul(86_400);
    // A rule that was raised gives everybody its time again.
    let by = |since: Time| since.max(policy.raised).plus_seconds(grace);
    let mut needs = Vec::new();
    if let Some(since) = facts.maintains_since {
        needs.push(Need {
            need: policy.maintainers,
            by: by(since),
            why: Why::Maintains,
        });
    }
    if let Some(since) = facts.critical_since {
        needs.push(Need {
            need: policy.critical,
            by: by(since),
            why: Why::Critical,
        });
    }
    if facts.operator {
        needs.push(Need {
            need: FactorNeed::Phishproof,
            by: Time(0),
            why: Why::Operator,
        });
    }
    needs
}

/// What an account lacks that it needs first.
pub(crate) fn missing(policy: &FactorPolicy, facts: &FactorFacts) -> Option<Need> {
    needs(policy, facts)
        .into_iter()
        .filter(|need| need.need > has(facts))
        .min_by_key(|need| (need.by, std::cmp::Reverse(need.need)))
}

/// May an account whose needs are these act on a project? `critical`: since when that one is critical.
pub(crate) fn meets_demands(
    policy: &FactorPolicy,
    facts: &FactorFacts,
    critical: Option<Time>,
    now: Time,
) -> Result<()> {
    let facts = FactorFacts {
        // Whoever makes their first project has a role from now on.
        maintains_since: facts.maintains_since.or(Some(now)),
        critical_since: critical,
        // Operators need theirs to operate, not to publish.
        operator: false,
        ..facts.clone()
    };
    let late = needs(policy, &facts)
        .into_iter()
        .find(|need| need.need > has(&facts) && need.by <= now);
    match late {
        None => Ok(()),
        Some(need) => Err(denied(
            "factor-needed",
            format!(
                "This account needs {} because {}, and has none.",
                need.need.words(),
                need.why.words()
            ),
            "Sign in in a browser and add one on the security page; a passkey takes a minute. Then the same token works again.",
        )),
    }
}

/// May an account do without a factor, when `second` and `phishproof` say what is left?
pub(crate) fn may_do_without(
    policy: &FactorPolicy,
    facts: &FactorFacts,
    second: bool,
    phishproof: bool,
) -> Result<()> {
    let left = FactorFacts {
        second,
        phishproof,
        ..facts.clone()
    };
    // What it lacked before is no reason: only what it would lack by this.
    let before = has(facts);
    let lost = needs(policy, &left)
        .into_iter()
        .find(|need| need.need > has(&left) && need.need <= before);
    match lost {
        None => Ok(()),
        Some(need) => Err(denied(
            "factor-demanded",
            format!(
                "This account needs {} because {}.",
                need.need.words(),
                need.why.words()
            ),
            "Add another one first.",
        )),
    }
}

/// May the rule become this without an override? Only upward.
pub(crate) fn is_upward(before: &FactorPolicy, after: &FactorPolicy) -> bool {
    after.maintainers >= before.maintainers
        && after.critical >= before.critical
        && after.grace_days <= before.grace_days
}

/// Which projects are critical: the top hundredth by downloads or by dependents, at least one of a hundred, none of
/// fewer. What is critical stays so until it has left the top fiftieth, so that nothing swings to and fro.
pub(crate) fn critical(uses: &[(u64, u64, bool)]) -> Vec<bool> {
    let top = |share: usize, value: &dyn Fn(&(u64, u64, bool)) -> u64| -> u64 {
        let count = uses.len() / share;
        let mut values: Vec<u64> = uses.iter().map(value).collect();
        values.sort_unstable_by(|a, b| b.cmp(a));
        match count {
            0 => u64::MAX,
            count => values[count - 1].max(1),
        }
    };
    let by_downloads = |one: &(u64, u64, bool)| one.0;
    let by_dependents = |one: &(u64, u64, bool)| one.1;
    let (enter_downloads, enter_dependents) = (top(100, &by_downloads), top(100, &by_dependents));
    let (stay_downloads, stay_dependents) = (top(50, &by_downloads), top(50, &by_dependents));
    uses.iter()
        .map(|(downloads, dependents, now)| {
            let enters = *downloads >= enter_downloads || *dependents >= enter_dependents;
            let stays = *downloads >= stay_downloads || *dependents >= stay_dependents;
            enters || (*now && stays)
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const DAY: i64 = 86_400_000_000;

    fn facts() -> FactorFacts {
        FactorFacts {
            maintains_since: Some(Time(10 * DAY)),
            ..FactorFacts::default()
        }
    }

    #[test]
    fn a_maintainer_has_the_time_of_grace_and_no_more() {
        let policy = FactorPolicy::default();
        let grace = i64::from(policy.grace_days);
        let ends = Time((10 + grace) * DAY);
        assert!(meets_demands(&policy, &facts(), None, Time(ends.0 - 1)).is_ok());
        let error = meets_demands(&policy, &facts(), None, ends).unwrap_err();
        assert_eq!(error.code, "factor-needed");
        let with = FactorFacts {
            second: true,
            ..facts()
        };
        assert!(meets_demands(&policy, &with, None, ends).is_ok());
        assert!(meets_demands(&policy, &with, Some(Time(10 * DAY)), ends).is_err());
        let key = FactorFacts {
            phishproof: true,
            second: true,
            ..facts()
        };
        assert!(meets_demands(&policy, &key, Some(Time(10 * DAY)), ends).is_ok());
        // A rule that is raised later gives time anew.
        let raised = FactorPolicy {
            raised: ends,
            ..policy
        };
        assert!(meets_demands(&raised, &facts(), None, ends).is_ok());
    }

    #[test]
    fn who_has_no_role_yet_has_the_same_time_from_now_on() {
        let stranger = FactorFacts::default();
        let now = Time(10 * DAY);
        let policy = FactorPolicy::default();
        assert!(meets_demands(&policy, &stranger, None, now).is_ok());
        let at_once = FactorPolicy {
            grace_days: 0,
            ..policy
        };
        let error = meets_demands(&at_once, &stranger, None, now).unwrap_err();
        assert_eq!(error.code, "factor-needed");
        let with = FactorFacts {
            second: true,
            ..stranger
        };
        assert!(meets_demands(&at_once, &with, None, now).is_ok());
    }

    #[test]
    fn nothing_is_taken_away_that_is_needed() {
        let policy = FactorPolicy::default();
        let with = FactorFacts {
            second: true,
            ..facts()
        };
        assert!(may_do_without(&policy, &with, false, false).is_err());
        assert!(may_do_without(&policy, &with, true, false).is_ok());
        let nobody = FactorFacts {
            second: true,
            ..FactorFacts::default()
        };
        assert!(may_do_without(&policy, &nobody, false, false).is_ok());
        let operator = FactorFacts {
            second: true,
            phishproof: true,
            operator: true,
            ..FactorFacts::default()
        };
        assert!(may_do_without(&policy, &operator, true, false).is_err());
    }

    #[test]
    fn critical_is_the_top_hundredth_and_does_not_swing() {
        let mut uses: Vec<(u64, u64, bool)> = (0..200).map(|n| (n, 0, false)).collect();
        let marked = critical(&uses);
        assert_eq!(marked.iter().filter(|one| **one).count(), 2);
        assert!(marked[199] && marked[198]);
        uses[197].2 = true;
        assert!(critical(&uses)[197]);
        uses[100].2 = true;
        assert!(!critical(&uses)[100]);
        uses[5].1 = 9;
        assert!(critical(&uses)[5]);
        // A registry with few projects has none that are critical by use.
        assert!(critical(&[(1_000_000, 5, false)]).iter().all(|one| !one));
        // What nobody uses is not critical.
        assert!(critical(&vec![(0, 0, false); 300]).iter().all(|one| !one));
    }
}
