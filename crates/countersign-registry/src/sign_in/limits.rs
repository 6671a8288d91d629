//! Limits on guessing. An attempt is counted in the database before it is looked at, in one statement, and given back
//! when it turns out good. What has reached its limit is refused after a read alone: guessing costs others no writes.

use countersign_trust::digest::Sha256;

use crate::Registry;
use crate::error::{Error, Kind, Result};
use crate::model::{AccountId, CallerOrigin};

/// Subject, span in seconds, most attempts in it.
pub(super) type Counter = (String, i64, i64);

/// Wrong codes in a row after which the factor is locked…
pub(super) const WRONG_IN_A_ROW: i64 = 10;
/// …for this long, in seconds.
pub(super) const LOCKED: i64 = 3_600;

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
        let network = format!("password network {network}");
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

impl Registry {
    /// Counts one attempt, or refuses it.
    pub(super) async fn count(&self, counters: &[Counter]) -> Result<()> {
        let now = self.now();
        let store = &self.inner.store;
        let over = match store.first_exhausted(counters, now).await? {
            Some(until) => Some(until),
            None => store.count_attempt(counters, now).await?,
        };
        match over {
            None => Ok(()),
            Some(until) => Err(Error::new(
                Kind::Limited,
                "too-many-attempts",
                format!(
                    "There were too many attempts. The next is possible {}.",
                    until.rfc3339()
                ),
            )
            .remedy("Wait, or sign in with a passkey: it is never limited.")),
        }
    }
}
