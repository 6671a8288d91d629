//! Limits on guessing. An attempt is counted in the database before it is looked at, in one statement, and given back
//! when it turns out good. What has reached its limit is refused after a read alone: guessing costs others no writes.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};

use countersign_trust::digest::Sha256;

use crate::Registry;
use crate::error::{Error, Kind, Result};
use crate::model::{AccountId, CallerOrigin, Time};

/// Subject, span in seconds, most attempts in it.
pub(super) type Counter = (String, i64, i64);

/// Wrong codes in a row after which the factor is locked…
pub(super) const WRONG_IN_A_ROW: i64 = 10;
/// …for this long, in seconds.
pub(super) const LOCKED: i64 = 3_600;

/// So many subjects are remembered as exhausted; beyond that the database is asked.
const REMEMBERED: usize = 10_000;

/// Subjects that have reached a limit, and until when, so that refusing them again costs not even a read. A limit that
/// was reached stays so until its span ends, because what is refused can not turn out good.
#[derive(Default)]
pub(super) struct Exhausted(Mutex<HashMap<String, Time>>);

impl Exhausted {
    /// Until when the longest of these is exhausted, as far as this process knows.
    fn until<'a>(&self, subjects: impl Iterator<Item = &'a str>, now: Time) -> Option<Time> {
        let known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        subjects
            .filter_map(|subject| known.get(subject).copied())
            .filter(|until| *until > now)
            .max()
    }

    fn remember(&self, exhausted: Vec<(String, Time)>, now: Time) {
        let mut known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if known.len() + exhausted.len() > REMEMBERED {
            known.retain(|_, until| *until > now);
        }
        for (subject, until) in exhausted {
            if known.len() < REMEMBERED {
                let kept = known.entry(subject).or_insert(until);
                *kept = until.max(*kept);
            }
        }
    }
}

/// The subject of attempts at passwords from a network.
fn network_subject(origin: &CallerOrigin) -> String {
    format!("password network {}", origin.network())
}

/// From where a password is tried, as far as the account knows it.
pub(super) enum From<'a> {
    /// A browser that the account was used from.
    Device(&'a AccountId, Sha256),
    /// A network that it was used from.
    Place(&'a AccountId),
    /// Anywhere else, or no account of that name.
    Nowhere,
}

/// Counters of one attempt at a password: few at once, and few in a day, however slowly and from however many networks.
/// A browser that the account knows has its own, and so has a network that it knows, so that the guesses of others can
/// not keep its holder out.
pub(super) fn password(login: &str, from: &From<'_>, origin: &CallerOrigin) -> Vec<Counter> {
    let network = origin.network();
    let subject = match from {
        From::Device(account, device) => format!("password device {account} {device}"),
        From::Place(account) => format!("password place {account} {network}"),
        From::Nowhere => format!("password login {}", Sha256::of(login.as_bytes())),
    };
    let mut counters: Vec<Counter> = [(300, 10), (3_600, 40), (86_400, 100)]
        .into_iter()
        .map(|(span, most)| (subject.clone(), span, most))
        .collect();
    if !matches!(from, From::Device(..)) {
        let network = network_subject(origin);
        counters.push((network.clone(), 300, 10));
        counters.push((network, 3_600, 60));
    }
    counters
}

/// Counters of one attempt at a second factor.
pub(super) fn second_factor(
    account: &AccountId,
    known: Option<Sha256>,
    origin: &CallerOrigin,
) -> Vec<Counter> {
    let subject = match known {
        Some(device) => format!("code device {account} {device}"),
        None => format!("code account {account}"),
    };
    let mut counters: Vec<Counter> = [(300, 5), (3_600, 20), (86_400, 50)]
        .into_iter()
        .map(|(span, most)| (subject.clone(), span, most))
        .collect();
    if known.is_none() {
        let network = format!("code network {}", origin.network());
        counters.push((network.clone(), 300, 10));
        counters.push((network, 3_600, 50));
    }
    counters
}

/// Counters of one sign-up.
pub(super) fn sign_up(address_key: &str, origin: &CallerOrigin) -> Vec<Counter> {
    vec![
        (
            format!("sign-up address {}", Sha256::of(address_key.as_bytes())),
            86_400,
            5,
        ),
        (format!("sign-up network {}", origin.network()), 3_600, 20),
    ]
}

/// So many questions may be begun within five minutes by one network or session: each is a row.
const QUESTIONS: i64 = 300;

impl Registry {
    /// Counts a question to a browser, by who begins it.
    pub(super) async fn count_question(&self, who: &str) -> Result<()> {
        self.count(&[(format!("question {who}"), 300, QUESTIONS)])
            .await
            .map_err(|error| error.remedy("Wait until then, and begin again."))
    }

    /// Counts what anybody may ask for and what costs writes or mail, by the network that asks.
    pub(crate) async fn count_asked(
        &self,
        what: &str,
        most: i64,
        origin: &CallerOrigin,
    ) -> Result<()> {
        self.count(&[(format!("{what} {}", origin.network()), 600, most)])
            .await
            .map_err(|error| error.remedy("Wait until then, and ask again."))
    }

    /// Refuses what comes from an exhausted network, before anybody is looked up; not for a browser that may be known.
    pub(super) fn network_may_try(
        &self,
        origin: &CallerOrigin,
        device: Option<&str>,
    ) -> Result<()> {
        if device.is_some() {
            return Ok(());
        }
        let subject = network_subject(origin);
        let exhausted = &self.inner.door.exhausted;
        match exhausted.until(std::iter::once(subject.as_str()), self.now()) {
            None => Ok(()),
            Some(until) => Err(too_many(until)),
        }
    }

    /// Counts one attempt, or refuses it.
    pub(super) async fn count(&self, counters: &[Counter]) -> Result<()> {
        let now = self.now();
        let (store, known) = (&self.inner.store, &self.inner.door.exhausted);
        let subjects = counters.iter().map(|(subject, _, _)| subject.as_str());
        if let Some(until) = known.until(subjects, now) {
            return Err(too_many(until));
        }
        let exhausted = store.exhausted(counters, now).await?;
        if let Some(until) = exhausted.iter().map(|(_, until)| *until).max() {
            known.remember(exhausted, now);
            return Err(too_many(until));
        }
        match store.count_attempt(counters, now).await? {
            None => Ok(()),
            Some(until) => Err(too_many(until)),
        }
    }
}

fn too_many(until: Time) -> Error {
    Error::new(
        Kind::Limited,
        "too-many-attempts",
        format!(
            "There were too many attempts. The next is possible {}.",
            until.rfc3339()
        ),
    )
    .remedy("Wait, or sign in with a passkey: it is never limited.")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_exhausted_is_remembered_until_its_span_ends_and_never_without_bound() {
        let exhausted = Exhausted::default();
        let (now, later) = (Time(1_000_000), Time(9_000_000));
        let one = |subject: &'static str, now: Time| exhausted.until([subject].into_iter(), now);
        exhausted.remember(vec![("ann".to_owned(), later)], now);
        exhausted.remember(vec![("ann".to_owned(), Time(5_000_000))], now);
        assert_eq!(one("ann", now), Some(later));
        assert_eq!(one("ann", later), None);
        assert_eq!(one("bob", now), None);
        for n in 0..2 * REMEMBERED {
            exhausted.remember(vec![(format!("user-{n}"), later)], now);
        }
        assert!(exhausted.0.lock().unwrap().len() <= REMEMBERED);
        // What has ended makes room.
        exhausted.remember(vec![("carl".to_owned(), Time(20_000_000))], later);
        assert_eq!(one("carl", later), Some(Time(20_000_000)));
    }
}
