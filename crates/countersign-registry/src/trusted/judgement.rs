//! Does a genuine token fit a publisher? Pure: publisher, claims and time are handed in.

use std::collections::{BTreeMap, BTreeSet};

use countersign_trust::oidc::{self, Claims, Difference, Provider, Rule, Test};

use super::issuers::Issuer;
use crate::error::{Error, Kind};
use crate::model::Time;
use crate::store::PublisherRow;

/// What became of one publisher.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    /// It may publish.
    Fits,
    /// A claim differs.
    Differs,
    /// It was never used within the time in which its immutable ids could be learnt.
    PinExpired,
    /// It was pending for too long.
    PendingExpired,
    /// Its project's name was taken by somebody else.
    Lost,
    /// The account that would own its project is disabled.
    Disabled,
}

/// A publisher, judged.
#[derive(Clone, Debug)]
pub(super) struct Judged {
    pub(super) verdict: Verdict,
    /// One for each rule and each pinned id, matched or not.
    pub(super) outcomes: Vec<Difference>,
    /// There are pinned ids, and the token has the same.
    pub(super) ids_match: bool,
}

impl Judged {
    /// The code of the refusal that this verdict leads to.
    pub(super) fn code(&self) -> &'static str {
        match self.verdict {
            Verdict::Fits => "",
            Verdict::Differs => "publisher-mismatch",
            Verdict::PinExpired => "publisher-pin-expired",
            Verdict::PendingExpired => "pending-publisher-expired",
            Verdict::Lost => "pending-publisher-lost",
            Verdict::Disabled => "account-disabled",
        }
    }

    /// What was wrong, in a sentence.
    pub(super) fn message(&self, row: &PublisherRow) -> String {
        let (label, project) = (&row.registration.label, &row.project_name);
        match self.verdict {
            Verdict::Fits => format!("The token fits the publisher {label} of {project}."),
            Verdict::Differs => {
                let claims: Vec<&str> = self
                    .outcomes
                    .iter()
                    .filter(|outcome| !outcome.matched)
                    .map(|outcome| outcome.claim.as_str())
                    .collect();
                let (claims, differ) = if claims.len() == 1 {
                    (claims[0].to_owned(), "differs")
                } else {
                    (claims.join(", "), "differ")
                };
                format!(
                    "The identity token does not fit the publisher {label} of {project}: {claims} {differ}."
                )
            }
            Verdict::PinExpired => format!(
                "The publisher {label} of {project} was not used in time: its repository's immutable ids were to be learnt from its first token."
            ),
            Verdict::PendingExpired => {
                format!("The pending publisher {label} of {project} has lapsed.")
            }
            Verdict::Lost => lost_message(project),
            Verdict::Disabled => {
                format!(
                    "The account that registered the pending publisher of {project} is disabled."
                )
            }
        }
    }
}

/// Holds a token's claims against a publisher's rules and pinned ids.
pub(super) fn judge(row: &PublisherRow, claims: &Claims, now: Time) -> Judged {
    let mut outcomes = oidc::evaluate(&row.registration.rules, claims);
    let ids: Vec<Rule> = row
        .pinned
        .iter()
        .map(|(claim, id)| Rule {
            claim: claim.clone(),
            test: Test::Equal(id.clone()),
        })
        .collect();
    let mut ids = oidc::evaluate(&ids, claims);
    // An id that is not told at all is another matter, and has its own advice.
    let another = |outcome: &&mut Difference| !outcome.matched && outcome.seen.is_some();
    for outcome in ids.iter_mut().filter(another) {
        outcome.advice = Some(
            "This id never changes while an account or repository lives: it was deleted and made again, or moved to another owner. \
             If that is meant, an owner of the project removes this publisher and registers it anew."
                .to_owned(),
        );
    }
    // Forgejo tells the ids to whoever asks, and only its newer versions put them into tokens.
    if row.registration.provider == Provider::Forgejo {
        ids.retain(|outcome| outcome.seen.is_some());
    }
    let ids_match = oidc::matches(&ids);
    let fits = oidc::matches(&outcomes) && ids.iter().all(|outcome| outcome.matched);
    outcomes.extend(ids);
    let waiting = row.project.is_none();
    let verdict = if matches!(&row.removed, Some((_, why)) if why == "lost") {
        Verdict::Lost
    } else if row.removed.is_some() || !fits {
        Verdict::Differs
    } else if waiting && row.pending_until.is_none_or(|until| until <= now) {
        Verdict::PendingExpired
    } else if waiting && row.account_disabled.is_some() {
        Verdict::Disabled
    } else if row.pin_by.is_some_and(|by| by <= now) {
        Verdict::PinExpired
    } else {
        Verdict::Fits
    };
    // A publisher that lost its name is only worth a word to its own workflow.
    let verdict = if verdict == Verdict::Lost && !fits {
        Verdict::Differs
    } else {
        verdict
    };
    Judged {
        verdict,
        outcomes,
        ids_match,
    }
}

/// [`judge`] for each of several.
pub(super) fn judge_each(
    rows: Vec<PublisherRow>,
    claims: &Claims,
    now: Time,
) -> Vec<(PublisherRow, Judged)> {
    rows.into_iter()
        .map(|row| {
            let judged = judge(&row, claims, now);
            (row, judged)
        })
        .collect()
}

/// The ids that a publisher has after a fitting token: those that the provider told at registration, and the token's
/// where they were still to be learnt.
pub(super) fn pins(row: &PublisherRow, claims: &Claims) -> BTreeMap<String, String> {
    let mut pinned = row.pinned.clone();
    if row.pin_by.is_some() {
        for claim in row.registration.provider.pinned_claims() {
            if let Some(id) = claims.text(claim) {
                pinned.entry((*claim).to_owned()).or_insert(id);
            }
        }
    }
    pinned
}

/// Names that several accounts want this very token to found.
pub(super) fn disputed(publishers: &[PublisherRow]) -> BTreeSet<String> {
    let waiting = || publishers.iter().filter(|row| row.project.is_none());
    waiting()
        .filter(|row| {
            waiting()
                .any(|other| other.project_key == row.project_key && other.account != row.account)
        })
        .map(|row| row.project_key.clone())
        .collect()
}

/// Two accounts registered the same workflow for the same new project: whom the workflow means can not be known.
pub(super) fn dispute(project: &str) -> Error {
    Error::new(
        Kind::Rejected,
        "pending-publisher-disputed",
        format!("Several accounts wait for this workflow to found {project}, and only one can own it."),
    )
    .remedy("If one of them is not yours, ask the operator of this registry to remove it; else remove all but one.")
}

/// Why no publisher fits, told for the one that came nearest.
pub(super) fn refusal(
    issuer: &Issuer,
    claims: &Claims,
    judged: &[(PublisherRow, Judged)],
) -> Error {
    let nearest = judged.iter().min_by_key(|(row, judged)| {
        let wrong = judged
            .outcomes
            .iter()
            .filter(|outcome| !outcome.matched)
            .count();
        // A live publisher is nearer than one that is gone; one that knows the repository's ids nearer than one that
        // anybody may have registered.
        (
            judged.verdict == Verdict::Differs,
            !judged.ids_match,
            wrong,
            row.removed.is_some(),
        )
    });
    let Some((row, judged)) =
        nearest.filter(|(row, judged)| row.removed.is_none() || judged.verdict == Verdict::Lost)
    else {
        return none(issuer, claims);
    };
    let remedy = match judged.verdict {
        Verdict::Fits | Verdict::Differs => {
            "Change the workflow so that it fits, or let an owner of the project register a publisher that fits it."
        }
        Verdict::PinExpired => {
            "An owner of the project removes this publisher and registers it anew, then publishes within the time shown."
        }
        Verdict::PendingExpired => "Register it anew, and publish before it lapses.",
        Verdict::Lost => LOST_REMEDY,
        Verdict::Disabled => "Ask the operator of this registry.",
    };
    let mut error = Error::new(Kind::Rejected, judged.code(), judged.message(row)).remedy(remedy);
    error.differences = judged
        .outcomes
        .iter()
        .filter(|outcome| !outcome.matched)
        .cloned()
        .collect();
    error
}

const LOST_REMEDY: &str = "Pending publishers reserve no name. Choose another name, or ask the owners of that project to register your workflow.";

fn lost_message(project: &str) -> String {
    format!("There is a project {project} by now, which this pending publisher did not found.")
}

/// A pending publisher came too late.
pub(super) fn lost(project: &str) -> Error {
    Error::new(
        Kind::Rejected,
        "pending-publisher-lost",
        lost_message(project),
    )
    .remedy(LOST_REMEDY)
}

/// Nobody registered anything like this token.
pub(super) fn none(issuer: &Issuer, claims: &Claims) -> Error {
    let whom = issuer
        .provider
        .lookup_claim()
        .and_then(|claim| claims.text(claim).map(|value| format!("{claim} {value:?}")))
        .or_else(|| claims.text("sub").map(|value| format!("sub {value:?}")))
        .unwrap_or_else(|| "this token".to_owned());
    Error::new(
        Kind::Rejected,
        "publisher-none",
        format!(
            "No project here has a trusted publisher of {} with the {whom}.",
            issuer.name
        ),
    )
    .remedy(
        "An owner of the project registers it (`countersign publisher add`), with exactly this spelling. For a project that does not exist yet, register a pending publisher.",
    )
}
