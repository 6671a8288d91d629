//! When do reports alone withhold a project?

use crate::model::Time;
use crate::settings::ReportRule;

/// What is known about a project that was reported as malware.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Reported {
    /// When it was made.
    pub(crate) created: Time,
    /// Many depend on it.
    pub(crate) critical: bool,
    /// Distinct trusted accounts that reported it.
    pub(crate) trusted: u64,
    /// Distinct accounts that count as observers: trusted ones, and those that are old enough.
    pub(crate) observers: u64,
}

/// One trusted observer is enough for a project younger than a day; else several are needed, some of them trusted.
/// Whatever a crowd of new accounts says, it withholds nothing, and a critical project takes two who are trusted.
pub(crate) fn reports_withhold(rule: &ReportRule, project: &Reported, now: Time) -> bool {
    if !rule.enabled || project.trusted == 0 {
        return false;
    }
    let age = now.seconds().saturating_sub(project.created.seconds());
    let young = age < i64::try_from(rule.young.as_secs()).unwrap_or(i64::MAX);
    if young && !project.critical {
        return true;
    }
    let trusted = if project.critical {
        rule.trusted.max(2)
    } else {
        rule.trusted
    };
    project.trusted >= u64::from(trusted) && project.observers >= u64::from(rule.observers)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_crowd_withholds_nothing_and_two_observers_with_a_trusted_one_do() {
        let rule = ReportRule::default();
        let now = Time(100 * 86_400_000_000);
        let old = Time(0);
        let young = now.plus_seconds(-3_600);
        // created, critical, trusted, observers, withheld
        let table = [
            (old, false, 0, 3, false),
            (old, false, 0, 1_000, false),
            (old, false, 1, 1, false),
            (old, false, 1, 2, true),
            (old, true, 1, 2, false),
            (old, true, 2, 2, true),
            (young, false, 0, 9, false),
            (young, false, 1, 1, true),
            (young, true, 1, 1, false),
            (now.plus_seconds(-86_400), false, 1, 1, false),
        ];
        for (created, critical, trusted, observers, withheld) in table {
            let project = Reported {
                created,
                critical,
                trusted,
                observers,
            };
            assert_eq!(
                reports_withhold(&rule, &project, now),
                withheld,
                "{project:?}"
            );
            let off = ReportRule {
                enabled: false,
                ..rule.clone()
            };
            assert!(!reports_withhold(&off, &project, now));
        }
    }
}
