//! Who downloaded what, as long as the operator keeps that, so that they can be warned of what turned out to do harm.

use std::collections::{BTreeSet, HashMap};

use countersign_formats::Ecosystem;
use countersign_formats::osv::{Record, Rule, Rules, Verdict};
use serde_json::json;

use super::{rules_of, unknown};
use crate::Registry;
use crate::accounts::new_id;
use crate::error::{Error, Kind, Result};
use crate::fetch::ServedFile;
use crate::model::Actor;
use crate::policy;
use crate::texts::NoticeKind;

/// Releases that a warning names.
const NAMED: usize = 10;
/// Downloads that wait to be written; beyond them further ones are not kept.
const WAITING: usize = 200_000;

/// Whom an advisory concerns because of what they downloaded.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DownloadWarning {
    /// The releases that it means, as `pypi:demo 1.0`.
    pub releases: Vec<String>,
    /// Names of the accounts that are to be told, or were now.
    pub accounts: Vec<String>,
    /// How many were told before.
    pub before: u64,
}

impl Registry {
    /// Is it kept who downloads what?
    #[must_use]
    pub fn keeps_downloaders(&self) -> bool {
        self.inner.settings.advisories.keep_downloaders.is_some()
    }

    /// Notes that whoever reads downloads a file, where that is kept and they are an account. Written by a chore.
    pub async fn note_downloader(&self, file: &ServedFile) {
        if !self.keeps_downloaders() {
            return;
        }
        if let Some(account) = self.reading_account().await {
            let seen = (account, file.id().clone(), self.now().day());
            self.inner.fetch.keep_downloader(seen, WAITING);
        }
    }

    /// Writes down who downloaded what since it was done last. Part of the chores.
    ///
    /// # Errors
    /// Where the database fails; it is tried again.
    pub async fn flush_downloaders(&self) -> Result<()> {
        let seen = self.inner.fetch.take_downloaders();
        if seen.is_empty() {
            return Ok(());
        }
        let written = async {
            let mut tx = self.inner.store.write().await?;
            for (account, file, day) in &seen {
                tx.insert_downloader(account, file, *day).await?;
            }
            tx.commit().await
        };
        let written = written.await;
        if written.is_err() {
            for one in seen {
                self.inner.fetch.keep_downloader(one, WAITING);
            }
        }
        written
    }

    /// Forgets who downloaded what, once that was kept as long as the operator set; at once where it is not kept. Part of the
    /// chores.
    ///
    /// # Errors
    /// Where the database fails.
    pub async fn forget_downloaders(&self) -> Result<u64> {
        let now = self.now();
        let before = match self.inner.settings.advisories.keep_downloaders {
            Some(keep) => {
                let keep = i64::try_from(keep.as_secs()).unwrap_or(i64::MAX);
                now.plus_seconds(keep.saturating_neg())
            }
            None => now.plus_seconds(86_400),
        };
        self.inner.store.forget_downloaders(before).await
    }

    /// Whom an advisory about malware concerns because of what they downloaded; they are told, each once, if `tell` says so.
    ///
    /// # Errors
    /// `operator-needed`, `advisory-unknown`, `advisory-not-malware`, `downloaders-not-kept`.
    pub async fn warn_downloaders(
        &self,
        actor: &Actor,
        id: &str,
        tell: bool,
    ) -> Result<DownloadWarning> {
        policy::may_operate(actor, "warn those who downloaded something")?;
        if !self.keeps_downloaders() {
            return Err(Error::new(
                Kind::Rejected,
                "downloaders-not-kept",
                "This registry does not keep who downloads what.",
            )
            .remedy("Set advisories.keep_downloaders in the configuration; what was downloaded before is not known."));
        }
        let store = &self.inner.store;
        let record = store.advisory(id).await?.ok_or_else(|| unknown(id))?;
        let record = Record::parse(record.as_bytes())?;
        if record.is_withdrawn() || !record.is_malware() {
            let why = if record.is_withdrawn() {
                "was withdrawn"
            } else {
                "is about a flaw, not about software that was made to do harm"
            };
            return Err(Error::new(
                Kind::Rejected,
                "advisory-not-malware",
                format!("The advisory {id} {why}."),
            )
            .remedy("Warn of an advisory about malware; of flaws the clients' own audits tell."));
        }
        self.flush_downloaders().await?;
        let rules = rules_of(&record).map_err(|why| Error::internal("a stored advisory", why))?;
        let mut by_package: HashMap<(Ecosystem, String), Vec<Rule>> = HashMap::new();
        for (ecosystem, key, rule) in rules {
            by_package.entry((ecosystem, key)).or_default().push(rule);
        }
        let (mut releases, mut files) = (BTreeSet::new(), Vec::new());
        for ((ecosystem, key), rules) in by_package {
            let rules = Rules::of(ecosystem, rules);
            for (file, version) in store.every_file_of(ecosystem, &key).await? {
                let findings = rules.findings(&version);
                if findings.iter().any(|one| one.verdict == Verdict::Affected) {
                    releases.insert(format!("{ecosystem}:{key} {version}"));
                    files.push(file);
                }
            }
        }
        let releases: Vec<String> = releases.into_iter().collect();
        let mut tx = store.write().await?;
        let concerned = tx.downloaders_of(&files).await?;
        let told = tx.warned_of(id).await?;
        let (known, due): (Vec<_>, Vec<_>) = concerned
            .into_iter()
            .partition(|(account, _)| told.contains(account));
        let warning = DownloadWarning {
            releases,
            accounts: due.iter().map(|(_, name)| name.clone()).collect(),
            before: known.len() as u64,
        };
        if !tell || due.is_empty() {
            return Ok(warning);
        }
        let now = self.now();
        let named: Vec<&str> = warning
            .releases
            .iter()
            .take(NAMED)
            .map(String::as_str)
            .collect();
        let mut named = named.join(", ");
        if warning.releases.len() > NAMED {
            named.push_str(&format!(" and {} more", warning.releases.len() - NAMED));
        }
        let data = [("releases", named.as_str()), ("advisory", id)];
        for (account, _) in &due {
            self.notify(&mut tx, account, NoticeKind::DownloadedMalware, &data, None)
                .await?;
            tx.note_warned(id, account, now).await?;
        }
        let detail = json!({"advisory": id, "accounts": due.len()});
        tx.note_event(&new_id(), now, "downloaders-warned", actor, None, detail)
            .await?;
        tx.commit().await?;
        self.wake_office();
        Ok(warning)
    }
}
