//! Looking again: are the sources that attestations name still there, and do attestations hold against today's roots?
//!
//! Nothing is ever deleted for what is found; it is shown with its date. A look that fails is repeated, and only three
//! failures over 72 hours make a source count as gone: forges have bad days.

use std::collections::HashMap;
use std::time::Duration;

use countersign_trust::sigstore::{
    Attestation, Bundle, Demands, Limits, NameRule, Subject, verify,
};
use url::Url;

use crate::Registry;
use crate::error::{Error, Result};
use crate::model::{AttestationForm, Time};
use crate::seams::{OutsideError, OutsideRequest};
use crate::store::{AttestationRow, CheckedSource, SourceCheckRow};

/// How often a source that is there, and one that fails, is looked at, in seconds.
const EVERY: i64 = 7 * 86_400;
const AGAIN: i64 = 86_400;

/// A source is gone after so many failures in a row, over so many seconds.
const FAILURES: u64 = 3;
const OVER: i64 = 72 * 3_600;

/// Sources read from the database in one go, and looked at at the same time.
const SOURCES: i64 = 200;
const AT_ONCE: usize = 4;

/// Looks at one forge in one run, so that it is not flooded.
const A_HOST: u64 = 1_000;

/// A forge that did not answer so many times in a run is left alone until the next one.
const SILENCES: u64 = 3;

/// How long a run goes on, in seconds; what is left is looked at in the next one.
const RUN: i64 = 240;

/// When those come up again that a run left out, in seconds.
const LEFT_OUT: i64 = 1_800;

/// Attestations in one go.
const ATTESTATIONS: i64 = 200;

/// How often an attestation is held against today's roots, in seconds.
const HOLD_EVERY: i64 = 86_400;

/// A page of a forge is read up to this much; that it answers is what counts.
const PAGE: usize = 64 << 10;

/// What a run knows of one forge.
#[derive(Default)]
struct Host {
    looks: u64,
    /// In a row.
    silences: u64,
}

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

/// Where a forge leads those who may not see a page.
fn asks_to_sign_in(to: &str) -> bool {
    Url::parse(to).is_ok_and(|to| {
        ["/users/sign_in", "/user/login", "/login"]
            .iter()
            .any(|path| to.path().trim_end_matches('/') == *path)
    })
}

fn host(url: &str) -> Option<String> {
    Url::parse(url).ok()?.host_str().map(str::to_owned)
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
        let until = self.now().plus_seconds(RUN);
        let mut hosts: HashMap<String, Host> = HashMap::new();
        let mut looked = 0;
        while self.now() < until {
            let due = self.inner.store.sources_due(self.now(), SOURCES).await?;
            if due.is_empty() {
                break;
            }
            for part in due.chunks(AT_ONCE) {
                let mut rows = Vec::with_capacity(part.len());
                let mut looks = Vec::with_capacity(part.len());
                for row in part {
                    let name = host(&row.source.repository).unwrap_or_default();
                    let host = hosts.entry(name.clone()).or_default();
                    if host.looks >= A_HOST || host.silences >= SILENCES {
                        let mut later = row.clone();
                        later.due = self.now().plus_seconds(LEFT_OUT);
                        rows.push(later);
                        continue;
                    }
                    host.looks += 1;
                    looks.push(async move { (row, name, self.look_at(&row.source).await) });
                }
                for (row, name, look) in futures::future::join_all(looks).await {
                    let host = hosts.entry(name).or_default();
                    match look {
                        Look::Unanswered(_) => host.silences += 1,
                        Look::There | Look::Gone(_) => host.silences = 0,
                    }
                    rows.push(judged(row, &look, self.now()));
                    looked += 1;
                }
                let mut tx = self.inner.store.write().await?;
                for row in &rows {
                    tx.set_source_check(row).await?;
                }
                tx.commit().await?;
            }
        }
        Ok(looked)
    }

    async fn look_at(&self, source: &CheckedSource) -> Look {
        let pages = [
            Some(("commit", source.commit_page())),
            source.build_file_page().map(|page| ("build file", page)),
        ];
        for (what, url) in pages.into_iter().flatten() {
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
                Err(OutsideError::Status(401 | 403 | 404 | 410 | 451)) => {
                    return Look::Gone(format!("Its {what} can not be seen any more at {url}."));
                }
                Err(OutsideError::Redirected(to)) if asks_to_sign_in(&to) => {
                    return Look::Gone(format!(
                        "Its {what} can be seen at {url} only by those who sign in there."
                    ));
                }
                // A repository that got another name is still there: its forge leads on to it.
                Err(OutsideError::Redirected(to)) if host(&to) == host(&url) => {}
                Err(OutsideError::Redirected(_)) => {
                    return Look::Gone(format!(
                        "Its {what} is no longer at {url}, which leads to another site."
                    ));
                }
                Err(OutsideError::Status(_)) => {
                    return Look::Unanswered(
                        "the forge answered with an error of its own".to_owned(),
                    );
                }
                Err(_) => return Look::Unanswered("the forge can not be reached".to_owned()),
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
            let number = due.len() as u64;
            let roots = roots.clone();
            let outcomes = tokio::task::spawn_blocking(move || {
                due.into_iter()
                    .map(|(row, filename, digests)| {
                        let problem = hold(&row, digests, &roots.all);
                        (row, filename, problem)
                    })
                    .collect::<Vec<_>>()
            })
            .await
            .map_err(|source| Error::internal("a task broke off", source))?;
            let good: Vec<&str> = outcomes
                .iter()
                .filter(|(_, _, problem)| problem.is_none())
                .map(|(row, ..)| row.id.as_str())
                .collect();
            let mut tx = self.inner.store.write().await?;
            tx.set_rechecked(&good, None, now).await?;
            for (row, _, problem) in &outcomes {
                if problem.is_some() {
                    tx.set_rechecked(&[&row.id], problem.as_deref(), now)
                        .await?;
                }
            }
            tx.commit().await?;
            for (row, filename, problem) in &outcomes {
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
            held += number;
        }
    }
}

/// Why an attestation does not hold against these roots; `None` where it does.
fn hold(
    row: &AttestationRow,
    digests: Vec<(String, String)>,
    roots: &countersign_trust::sigstore::TrustRoot,
) -> Option<String> {
    let limits = Limits::default();
    let bundle = match row.form {
        AttestationForm::Pep740 => Attestation::parse(row.body.as_bytes(), &limits)
            .map(|attestation| attestation.to_bundle().clone()),
        AttestationForm::Bundle => Bundle::parse(row.body.as_bytes(), &limits),
    };
    let outcome = bundle.and_then(|bundle| {
        let subject = Subject {
            name: NameRule::Any,
            digests,
        };
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
                forge: countersign_trust::oidc::Forge::Github,
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
    fn who_is_asked_to_sign_in_sees_nothing() {
        assert!(asks_to_sign_in("https://gitlab.example/users/sign_in"));
        assert!(asks_to_sign_in("https://github.example/login?return_to=x"));
        assert!(!asks_to_sign_in("https://github.com/new/name/commit/0"));
        assert!(!asks_to_sign_in("nothing"));
    }
}
