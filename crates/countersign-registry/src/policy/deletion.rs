//! What owners may delete, and when. Whoever deletes takes something from those who build on it: age, downloads, dependents and
//! owners are weighed, as the guide of the working group for package repositories says. Operators may always delete; a name,
//! a version and a file name stay taken whoever did.

use crate::error::Result;
use crate::model::{Actor, Time};
use crate::policy::{denied, operates};
use crate::settings::{DeletePolicy, DeletionRules};

/// What is known of something that is to be deleted.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct DeletionFacts {
    /// Downloads of the project in the span that the rules name.
    pub(crate) downloads: u64,
    /// Other projects here whose released versions need it.
    pub(crate) dependents: u64,
    /// Accounts that own it.
    pub(crate) owners: u64,
}

/// May what went live at `live` be deleted by an owner?
pub(crate) fn may_delete(
    policy: DeletePolicy,
    facts: &DeletionFacts,
    actor: &Actor,
    live: Option<Time>,
    now: Time,
    what: &str,
) -> Result<()> {
    if operates(actor) {
        return Ok(());
    }
    let Some(live) = live else {
        return match policy {
            DeletePolicy::Never => Err(closed()),
            _ => Ok(()),
        };
    };
    let age = now.seconds().saturating_sub(live.seconds());
    let within =
        |span: std::time::Duration| age <= i64::try_from(span.as_secs()).unwrap_or(i64::MAX);
    match policy {
        DeletePolicy::Always => Ok(()),
        DeletePolicy::Never => Err(closed()),
        DeletePolicy::Within(window) if within(window) => Ok(()),
        DeletePolicy::Within(window) => Err(denied(
            "deletion-too-late",
            format!(
                "{what} went live {}; owners may delete within {} hours only.",
                live.rfc3339(),
                window.as_secs() / 3_600
            ),
            "Yank it instead, or ask the operator of this registry.",
        )),
        DeletePolicy::Rules(rules) => by_rules(&rules, facts, within(rules.within), live, what),
    }
}

fn closed() -> crate::error::Error {
    denied(
        "deletion-closed",
        "Only the operator of this registry deletes.".to_owned(),
        "Yank it instead, or ask the operator.",
    )
}

fn by_rules(
    rules: &DeletionRules,
    facts: &DeletionFacts,
    young: bool,
    live: Time,
    what: &str,
) -> Result<()> {
    let too_late = |why: String| {
        Err(denied(
            "deletion-too-late",
            format!("{what} went live {}, and {why}.", live.rfc3339()),
            "Yank or deprecate it instead, or ask the operator of this registry. /policies/deletion says what holds here.",
        ))
    };
    if facts.dependents > 0 {
        return Err(denied(
            "deletion-depended-on",
            format!(
                "{} other {} here on the project of {what}.",
                facts.dependents,
                if facts.dependents == 1 {
                    "project depends"
                } else {
                    "projects depend"
                }
            ),
            "Yank or deprecate it instead, or ask the operator of this registry. /policies/deletion says what holds here.",
        ));
    }
    if young {
        return Ok(());
    }
    if facts.downloads >= rules.fewer_downloads {
        return too_late(format!(
            "its project was downloaded {} times in {} days; after {} hours it must be fewer than {}",
            facts.downloads,
            rules.days,
            rules.within.as_secs() / 3_600,
            rules.fewer_downloads
        ));
    }
    if facts.owners > 1 {
        return too_late(format!(
            "its project has {} owners; after {} hours it must have one",
            facts.owners,
            rules.within.as_secs() / 3_600
        ));
    }
    Ok(())
}

/// The policy in sentences, for the page that tells of it.
pub(crate) fn in_words(policy: DeletePolicy) -> Vec<String> {
    let mut said = match policy {
        DeletePolicy::Never => vec!["Owners do not delete here; the operator does, where the law or somebody's safety asks for it.".to_owned()],
        DeletePolicy::Always => vec!["Owners delete their files, releases and projects at any time.".to_owned()],
        DeletePolicy::Within(window) => vec![format!(
            "Owners delete their files, releases and projects within {} hours after they were published; after that the operator does.",
            window.as_secs() / 3_600
        )],
        DeletePolicy::Rules(rules) => vec![
            "Nothing is deleted by its owners while other projects here depend on it.".to_owned(),
            format!(
                "Else owners delete their files, releases and projects within {} hours after they were published.",
                rules.within.as_secs() / 3_600
            ),
            format!(
                "Later they do as long as the project has one owner and was downloaded fewer than {} times in {} days.",
                rules.fewer_downloads, rules.days
            ),
        ],
    };
    said.push("Names, versions and names of files are never used again, by whomever and whyever something was deleted, and the public log keeps that it was there.".to_owned());
    said.push("A release can be yanked or deprecated at any time, with a reason; both are taken back at any time.".to_owned());
    said
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::settings::DeletePolicy as P;

    #[test]
    fn the_presets_weigh_age_downloads_dependents_and_owners() {
        let now = Time(1_000 * 86_400_000_000);
        let owner = Actor::anonymous();
        let facts = |downloads, dependents, owners| DeletionFacts {
            downloads,
            dependents,
            owners,
        };
        let (npm, cargo) = (P::preset("npm-like"), P::preset("crates-like"));
        let (npm, cargo) = (npm.unwrap(), cargo.unwrap());
        assert_eq!(P::preset("immutable"), Some(P::Never));
        assert_eq!(P::preset("other"), None);
        // policy, days of age, facts, refusal
        let table = [
            (npm, 1, facts(9_999, 0, 5), ""),
            (npm, 1, facts(0, 1, 1), "deletion-depended-on"),
            (npm, 4, facts(299, 0, 1), ""),
            (npm, 4, facts(300, 0, 1), "deletion-too-late"),
            (npm, 4, facts(0, 0, 2), "deletion-too-late"),
            (cargo, 4, facts(999, 0, 1), ""),
            (cargo, 4, facts(1_000, 0, 1), "deletion-too-late"),
            (cargo, 4, facts(0, 3, 1), "deletion-depended-on"),
            (P::Never, 0, facts(0, 0, 1), "deletion-closed"),
        ];
        for (policy, days, facts, code) in table {
            let live = Some(now.plus_seconds(-days * 86_400));
            let told = may_delete(policy, &facts, &owner, live, now, "x")
                .map_or_else(|error| error.code.into_owned(), |()| String::new());
            assert_eq!(told, code, "{policy:?} {days} {facts:?}");
            may_delete(policy, &facts, &Actor::operator(), live, now, "x").unwrap();
            let words = in_words(policy).join(" ");
            assert!(words.contains("never used again"));
        }
        assert!(
            in_words(npm)
                .join(" ")
                .contains("fewer than 300 times in 7 days")
        );
    }
}
