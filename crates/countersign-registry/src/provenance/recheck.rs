//! Looking again: are the sources that attestations name still there, and do attestations hold against today's roots?
//!
//! Nothing is ever deleted for what is found; it is shown with its date. A look that fails is repeated, and only three
//! failures over 72 hours make a source count as gone: forges have bad days.

use std::time::Duration;

use countersign_trust::sigstore::{Attestation, Bundle, Demands, Limits, Subject, verify};

use crate::Registry;
use crate::error::Result;
use crate::model::{AttestationForm, Time};
use crate::seams::{OutsideError, OutsideRequest};
use crate::store::{AttestationRow, CheckedSource, SourceCheckRow};

/// How often a source that is there, and one that fails, is looked at, in seconds.
const EVERY: i64 = 7 * 86_400;
const AGAIN: i64 = 86_400;

/// A source is gone after so many failures in a row, over so many seconds.
const FAILURES: u64 = 3;
const OVER: i64 = 72 * 3_600;

/// Sources in one go, so that a forge is not flooded.
const SOURCES: i64 = 30;

/// Attestations in one go.
const ATTESTATIONS: i64 = 500;

/// How often an attestation is held against today's roots, in seconds.
const HOLD_EVERY: i64 = 86_400;

/// A page of a forge is read up to this much; that it answers is what counts.
const PAGE: usize = 8 << 20;

/// What one look found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Look {
    There,
    /// The forge answers, and says that it has no such thing.
    Gone(String),
    /// The forge does not answer: nothing is learnt of the source.
    Unanswered(String),
}

/// What a row becomes by a look.
pub(super) fn judged(before: &SourceCheckRow, look: &Look, now: Time) -> SourceCheckRow {
    let mut row = before.clone();
    row.checked = Some(now);
    match look {
        Look::There => {
            row.state = "there".to_owned();
            row.detail = "Repository, commit and build file are there.".to_owned();
            row.failing_since = None;
            row.failures = 0;
            row.due = now.plus_seconds(EVERY);
        }
        Look::Gone(why) => {
            let since = before.failing_since.unwrap_or(now);
            row.failing_since = Some(since);
            row.failures = before.failures + 1;
            row.due = now.plus_seconds(AGAIN);
            if row.failures >= FAILURES && now >= since.plus_seconds(OVER) {
                row.state = "gone".to_owned();
                row.detail = why.clone();
            } else if row.state != "gone" {
                row.detail = format!("{why} It is looked at again before it counts as gone.");
            }
        }
        // Whoever is unreachable has not said that anything is gone: what was known stays known.
        Look::Unanswered(why) => {
            row.detail = format!("The last look had no answer: {why}.");
            row.due = now.plus_seconds(AGAIN);
        }
    }
    row
}

/// The pages that show a source: its commit, and its build file at that commit.
fn pages(source: &CheckedSource) -> Vec<(&'static str, String)> {
    let host = source
        .repository
        .strip_prefix("https://")
        .and_then(|rest| rest.split('/').next())
        .unwrap_or_default();
    let CheckedSource {
        repository,
        commit,
        workflow,
    } = source;
    let gitlab = host.contains("gitlab");
    let (commits, files) = match gitlab {
        true => ("/-/commit/", "/-/raw/"),
        false if host == "codeberg.org" => ("/commit/", "/src/commit/"),
        false => ("/commit/", "/blob/"),
    };
    let mut pages = vec![("commit", format!("{repository}{commits}{commit}"))];
    let plain = !workflow.is_empty()
        && workflow
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || b"/._-".contains(&byte))
        && !workflow.split('/').any(|part| part == "..");
    if plain {
        pages.push((
            "build file",
            format!("{repository}{files}{commit}/{workflow}"),
        ));
    }
    pages
}

impl Registry {
    /// Looks whether the sources that are due are still there; the number looked at. Does nothing where the operator
    /// switched it off.
    ///
    /// # Errors
    /// Where the database fails.
    pub async fn recheck_sources(&self) -> Result<u64> {
        if !self.inner.settings.check_sources {
            return Ok(0);
        }
        let due = self.inner.store.sources_due(self.now(), SOURCES).await?;
        let mut looked = 0;
        for row in due {
            let look = self.look_at(&row.source).await;
            let after = judged(&row, &look, self.now());
            let mut tx = self.inner.store.write().await?;
            tx.set_source_check(&after).await?;
            tx.commit().await?;
            looked += 1;
        }
        Ok(looked)
    }

    async fn look_at(&self, source: &CheckedSource) -> Look {
        for (what, url) in pages(source) {
            let request = OutsideRequest {
                url: &url,
                most: PAGE,
                timeout: Duration::from_secs(5),
                ca_pem: None,
                accept: "*/*",
                headers: &[],
            };
            match self.inner.seams.outside.get(request).await {
                // A page that is larger than we read is there.
                Ok(_) | Err(OutsideError::TooLarge(_)) => {}
                Err(OutsideError::Status(status @ (401 | 403 | 404 | 410 | 451))) => {
                    return Look::Gone(format!(
                        "Its {what} can not be seen any more: {url} answers with the status {status}."
                    ));
                }
                Err(OutsideError::Redirected(to)) => {
                    return Look::Gone(format!(
                        "Its {what} is no longer at {url}, which leads to {to}."
                    ));
                }
                Err(other) => return Look::Unanswered(other.to_string()),
            }
        }
        Look::There
    }

    /// Holds attestations that are due against the roots of today; the number held. What no longer holds says so with its
    /// date, and stays.
    ///
    /// # Errors
    /// Where the database fails.
    pub async fn reverify_attestations(&self) -> Result<u64> {
        let roots = self.roots().await?;
        let mut held = 0;
        loop {
            let now = self.now();
            let due = self
                .inner
                .store
                .attestations_due(now.plus_seconds(-HOLD_EVERY), ATTESTATIONS)
                .await?;
            if due.is_empty() {
                return Ok(held);
            }
            let mut outcomes = Vec::with_capacity(due.len());
            for (row, _, sha256) in &due {
                outcomes.push((row.id.clone(), hold(row, sha256, &roots.all)));
                tokio::task::yield_now().await;
            }
            let mut tx = self.inner.store.write().await?;
            for (id, problem) in &outcomes {
                tx.set_rechecked(id, problem.as_deref(), now).await?;
            }
            tx.commit().await?;
            for ((row, filename, _), (_, problem)) in due.iter().zip(&outcomes) {
                if let Some(problem) = problem
                    && row.recheck_problem.is_none()
                {
                    tracing::warn!(
                        file = filename,
                        digest = row.digest,
                        problem,
                        "an attestation does not hold any more"
                    );
                }
            }
            held += due.len() as u64;
        }
    }
}

/// Why an attestation does not hold against these roots; `None` where it does.
fn hold(
    row: &AttestationRow,
    sha256: &str,
    roots: &countersign_trust::sigstore::TrustRoot,
) -> Option<String> {
    let limits = Limits::default();
    let bundle = match row.form {
        AttestationForm::Pep740 => Attestation::parse(row.body.as_bytes(), &limits)
            .map(|attestation| attestation.to_bundle().clone()),
        AttestationForm::Bundle => Bundle::parse(row.body.as_bytes(), &limits),
    };
    let outcome = bundle.and_then(|bundle| {
        let subject = Subject::digest(&format!("sha256:{sha256}"))?;
        verify(&bundle, &subject, roots, &Demands::default())
    });
    outcome.err().map(|refusal| refusal.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row() -> SourceCheckRow {
        SourceCheckRow {
            source: CheckedSource {
                repository: "https://github.com/octo/demo".to_owned(),
                commit: "0".repeat(40),
                workflow: ".github/workflows/release.yml".to_owned(),
            },
            state: "there".to_owned(),
            detail: String::new(),
            checked: None,
            failing_since: None,
            failures: 0,
            due: Time(0),
        }
    }

    #[test]
    fn a_source_is_gone_after_three_failures_over_seventy_two_hours_and_not_before() {
        let gone = Look::Gone("It is away.".to_owned());
        let hour = |hours: i64| Time(0).plus_seconds(hours * 3_600);
        // Three failures in a row, but too close together.
        let mut quick = row();
        for hours in [0, 1, 2, 3] {
            quick = judged(&quick, &gone, hour(hours));
            assert_eq!(quick.state, "there");
        }
        // Over three days, but only two.
        let two = judged(&judged(&row(), &gone, hour(0)), &gone, hour(100));
        assert_eq!(two.state, "there");
        let three = judged(&two, &gone, hour(101));
        assert_eq!(three.state, "gone");
        // And back.
        let back = judged(&three, &Look::There, hour(102));
        assert_eq!((back.state.as_str(), back.failures), ("there", 0));
        assert_eq!(back.failing_since, None);
    }

    #[test]
    fn a_forge_that_does_not_answer_says_nothing() {
        let silent = Look::Unanswered("it can not be reached".to_owned());
        let mut state = row();
        for days in 0..10 {
            state = judged(&state, &silent, Time(0).plus_seconds(days * 86_400));
        }
        assert_eq!((state.state.as_str(), state.failures), ("there", 0));
        assert!(state.due > Time(0).plus_seconds(9 * 86_400));
    }

    #[test]
    fn pages_of_a_source_never_leave_its_repository() {
        let mut source = row().source;
        assert_eq!(
            pages(&source)[1].1,
            format!(
                "https://github.com/octo/demo/blob/{}/.github/workflows/release.yml",
                source.commit
            )
        );
        source.workflow = "../../../evil".to_owned();
        assert_eq!(pages(&source).len(), 1);
        source.workflow = "a?b".to_owned();
        assert_eq!(pages(&source).len(), 1);
    }
}
