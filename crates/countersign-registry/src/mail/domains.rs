//! Domains of addresses: who buys an abandoned one reads its mail, and could recover the accounts of whoever had it.
//!
//! Each domain is looked at every 30 days, a bad one after a day again. What looks bad twice, a day apart, is acted on:
//! its addresses no longer count for recovery, and their holders are told. A registration that is younger than an
//! address's proof is acted on at once: the domain was dropped and caught. When many domains look bad at once, and so do
//! the well-known ones, the fault is ours, and nothing is done.

use std::collections::BTreeMap;

use serde_json::json;

use crate::Registry;
use crate::accounts::new_id;
use crate::error::Result;
use crate::model::{Actor, Identity, Time};
use crate::seams::DomainReport;
use crate::store::{AddressRow, DomainRow};
use crate::texts::NoticeKind;

/// Domains looked at in one run.
const RUN: usize = 200;

/// Addresses given up in one run; further ones wait for the next.
const GIVEN_UP: usize = 20;

/// A good domain is looked at again after this many seconds, a bad one, and one that could not be looked at, after [`SOON`].
const LATER: i64 = 30 * 86_400;
const SOON: i64 = 86_400;

/// Providers whose domains are not going to be abandoned unnoticed.
const KNOWN: &[&str] = &[
    "gmail.com",
    "googlemail.com",
    "outlook.com",
    "hotmail.com",
    "live.com",
    "icloud.com",
    "me.com",
    "yahoo.com",
    "proton.me",
    "protonmail.com",
    "gmx.de",
    "gmx.net",
    "web.de",
    "qq.com",
    "163.com",
    "fastmail.com",
];

/// What stands against a domain.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Finding {
    what: &'static str,
    /// No second look is needed.
    certain: bool,
}

/// Holds what is known of a domain against when an address in it was proved. Pure. What is not known is no finding.
fn judge(report: &DomainReport, verified: Time) -> Option<Finding> {
    let bad = |what, certain| Some(Finding { what, certain });
    if report.registered.is_some_and(|at| at > verified) {
        return bad("it was registered anew after the address was proved", true);
    }
    if report.exists == Some(false) {
        return bad("it no longer exists", false);
    }
    let status = |word: &str| {
        report
            .statuses
            .iter()
            .any(|status| status.eq_ignore_ascii_case(word))
    };
    if status("redemption period") || status("pending delete") {
        return bad("its registration ran out", false);
    }
    if status("client hold") || status("server hold") || status("inactive") {
        return bad("it is held by its registry", false);
    }
    if report.takes_mail == Some(false) {
        return bad("it takes no mail", false);
    }
    None
}

/// The domain that somebody registers, of an address's domain; `None` for names that nobody can.
fn registrable(address: &str) -> Option<String> {
    let domain = address.rsplit('@').next()?.to_ascii_lowercase();
    psl::domain_str(&domain).map(str::to_owned)
}

impl Registry {
    /// Looks at the domains that are due; the number of addresses that no longer count. Part of the chores.
    ///
    /// # Errors
    /// Where the database fails. A domain that can not be looked at is tried again the next day.
    pub async fn check_domains(&self) -> Result<u64> {
        let Some(intel) = &self.inner.seams.domains else {
            return Ok(0);
        };
        let now = self.now();
        let seen: BTreeMap<String, DomainRow> = self
            .inner
            .store
            .mail_domains()
            .await?
            .into_iter()
            .map(|row| (row.domain.clone(), row))
            .collect();
        let mut due: BTreeMap<String, Vec<AddressRow>> = BTreeMap::new();
        for row in self.inner.store.proved_addresses().await? {
            if let Some(domain) = registrable(&row.address)
                && !KNOWN.contains(&domain.as_str())
                && seen.get(&domain).is_none_or(|row| row.next <= now)
            {
                due.entry(domain).or_default().push(row);
            }
        }
        let (mut looked, mut bad) = (0_usize, 0_usize);
        let mut doomed: Vec<(AddressRow, &'static str)> = Vec::new();
        for (domain, addresses) in due.into_iter().take(RUN) {
            let before = seen.get(&domain).and_then(|row| row.bad.clone());
            let report = match intel.look_up(&domain).await {
                Ok(report) => report,
                Err(error) => {
                    tracing::warn!(%error, "a domain of addresses could not be looked up");
                    let row = DomainRow {
                        domain,
                        next: now.plus_seconds(SOON),
                        bad: before,
                    };
                    self.inner.store.put_mail_domain(&row, now).await?;
                    continue;
                }
            };
            looked += 1;
            let mut worst: Option<Finding> = None;
            for address in addresses {
                let verified = address.verified.unwrap_or(now);
                let Some(finding) = judge(&report, verified) else {
                    continue;
                };
                let again = before
                    .as_ref()
                    .is_some_and(|(since, _)| since.plus_seconds(SOON) <= now);
                if finding.certain || again {
                    doomed.push((address, finding.what));
                }
                worst = Some(finding);
            }
            bad += usize::from(worst.is_some());
            let row = DomainRow {
                domain,
                next: now.plus_seconds(if worst.is_some() { SOON } else { LATER }),
                bad: worst.map(|finding| {
                    let since = before.map_or(now, |(since, _)| since);
                    (since, finding.what.to_owned())
                }),
            };
            self.inner.store.put_mail_domain(&row, now).await?;
        }
        // So many at once may be our own name service's fault: then it gets wrong what everybody knows, too.
        if bad > 3 && bad * 20 > looked && !self.gets_known_domains_right().await {
            tracing::error!(
                bad,
                looked,
                "too many domains of addresses look abandoned at once, well-known ones too: nothing is done; is the name service well?"
            );
            return Ok(0);
        }
        let mut done = 0;
        for (address, why) in doomed.into_iter().take(GIVEN_UP) {
            done += u64::from(self.abandon(&address, why).await?);
        }
        Ok(done)
    }

    /// Do most of the domains that are certainly not abandoned look so?
    async fn gets_known_domains_right(&self) -> bool {
        let Some(intel) = &self.inner.seams.domains else {
            return false;
        };
        let long_ago = self.now().plus_seconds(-LATER);
        let mut good = 0;
        for domain in &KNOWN[..3] {
            let report = intel.look_up(domain).await;
            good += usize::from(report.is_ok_and(|report| judge(&report, long_ago).is_none()));
        }
        good >= 2
    }

    async fn abandon(&self, row: &AddressRow, why: &str) -> Result<bool> {
        let now = self.now();
        let actor = Actor {
            identity: Identity::System { name: "domains" },
            ..Actor::anonymous()
        };
        let mut tx = self.inner.store.write().await?;
        if !tx.abandon_address(&row.id, why, now).await? {
            return Ok(false);
        }
        let detail = json!({"address": row.id, "why": why});
        tx.note_event(
            &new_id(),
            now,
            "address-abandoned",
            &actor,
            Some(&row.account),
            detail,
        )
        .await?;
        let data = [("address", row.address.as_str()), ("why", why)];
        self.notify(
            &mut tx,
            &row.account,
            NoticeKind::AddressAbandoned,
            &data,
            None,
        )
        .await?;
        tx.commit().await?;
        self.wake_office();
        Ok(true)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_not_known_of_a_domain_is_held_against_nobody() {
        assert_eq!(judge(&DomainReport::default(), Time(5)), None);
        let older = DomainReport {
            registered: Some(Time(4)),
            ..DomainReport::default()
        };
        assert_eq!(judge(&older, Time(5)), None);
        assert!(judge(&older, Time(3)).unwrap().certain);
        let gone = DomainReport {
            exists: Some(false),
            ..DomainReport::default()
        };
        assert!(!judge(&gone, Time(5)).unwrap().certain);
        for status in ["redemption period", "Pending Delete", "client hold"] {
            let report = DomainReport {
                statuses: vec![status.to_owned()],
                ..DomainReport::default()
            };
            assert!(judge(&report, Time(5)).is_some(), "{status}");
        }
    }

    #[test]
    fn the_domain_that_is_registered_is_looked_at() {
        assert_eq!(
            registrable("a@mail.Example.co.uk").as_deref(),
            Some("example.co.uk")
        );
        assert_eq!(registrable("a@com"), None);
    }
}
