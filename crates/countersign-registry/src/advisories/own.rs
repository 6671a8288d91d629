//! Advisories of the registry's own: issued by an operator, or by a case about malware. They are the feed at `/osv/`.

use countersign_formats::osv::{Record, ecosystem_name};
use countersign_formats::{Ecosystem, NameKey, format, purl};
use serde_json::json;

use super::{row_of, rules_of, unknown};
use crate::Registry;
use crate::accounts::new_id;
use crate::error::{Error, Kind, Result};
use crate::model::{Actor, ProjectId, Time};
use crate::policy;
use crate::store::{FeedRow, OWN_FEED, Tx};

/// An advisory that this registry is to issue.
#[derive(Clone, Debug)]
pub struct NewAdvisory {
    /// The project's ecosystem.
    pub ecosystem: Ecosystem,
    /// The project, in any spelling. It need not be here any longer.
    pub project: String,
    /// Versions that are meant; empty: all.
    pub versions: Vec<String>,
    /// One line.
    pub summary: String,
    /// Markdown.
    pub details: String,
    /// Whether it was made to do harm.
    pub malware: bool,
}

/// The version of OSV's schema that records are written for.
const SCHEMA: &str = "1.7.5";
/// The longest part of an identifier that the host makes up, in bytes.
const LONGEST_HOST: usize = 100;
/// The longest summary, and the longest details, of an own advisory, in bytes.
const LONGEST_SUMMARY: usize = 300;
const LONGEST_DETAILS: usize = 64 << 10;

/// What is said, checked.
struct Said<'a> {
    ecosystem: Ecosystem,
    key: &'a NameKey,
    versions: &'a [String],
    summary: &'a str,
    details: &'a str,
    malware: bool,
}

impl Registry {
    /// Issues an advisory of the registry's own; it counts and is in the feed from then on. Gives its identifier.
    ///
    /// # Errors
    /// `operator-needed`, `advisory-malformed`; refused names and versions.
    pub async fn issue_advisory(&self, actor: &Actor, new: &NewAdvisory) -> Result<String> {
        policy::may_operate(actor, "issue an advisory")?;
        let summary = new.summary.trim();
        if summary.is_empty()
            || summary.len() > LONGEST_SUMMARY
            || summary.contains(char::is_control)
        {
            return Err(malformed(format!(
                "The summary {summary:?} is empty, has more than {LONGEST_SUMMARY} bytes, or holds control characters."
            )));
        }
        if new.details.len() > LONGEST_DETAILS {
            return Err(malformed(format!(
                "The details have more than {LONGEST_DETAILS} bytes."
            )));
        }
        let key = format(new.ecosystem).name_key(&new.project)?;
        let mut versions = Vec::new();
        for version in &new.versions {
            let version = format(new.ecosystem).version(version)?;
            versions.push(version.canonical().to_owned());
        }
        let said = Said {
            ecosystem: new.ecosystem,
            key: &key,
            versions: &versions,
            summary,
            details: &new.details,
            malware: new.malware,
        };
        let mut tx = self.inner.store.write().await?;
        let id = self.issue_in(&mut tx, actor, &said).await?;
        tx.commit().await?;
        self.inner.fetch.doubt(self.now());
        Ok(id)
    }

    async fn issue_in(&self, tx: &mut Tx, actor: &Actor, said: &Said<'_>) -> Result<String> {
        let at = seconds(self.now());
        let prefix = self.own_prefix(at.get(..4).unwrap_or_default());
        // Whoever issues at the same time waits at this row, and counts what is then there.
        self.note_own_feed(tx).await?;
        let number = tx.next_own_advisory(&prefix).await?;
        let id = format!("{prefix}{number}");
        let mut affected = json!({
            "package": {
                "ecosystem": ecosystem_name(said.ecosystem),
                "name": said.key.as_str(),
                "purl": purl::project_purl(said.ecosystem, said.key),
            },
            "database_specific": { "malware": said.malware },
        });
        if said.versions.is_empty() {
            let kind = if said.ecosystem == Ecosystem::Pypi {
                "ECOSYSTEM"
            } else {
                "SEMVER"
            };
            affected["ranges"] = json!([{ "type": kind, "events": [{ "introduced": "0" }] }]);
        } else {
            affected["versions"] = json!(said.versions);
        }
        let mut record = json!({
            "schema_version": SCHEMA,
            "id": id,
            "published": at,
            "modified": at,
            "summary": said.summary,
            "affected": [affected],
            "database_specific": { "malware": said.malware },
        });
        if !said.details.is_empty() {
            record["details"] = json!(said.details);
        }
        if said.malware {
            record["database_specific"]["severity"] = json!("CRITICAL");
        }
        let record = Record::from_value(record)?;
        self.put_own(tx, actor, &record, "advisory-issued").await?;
        Ok(id)
    }

    /// How the identifiers of this registry's own advisories begin in a year: as OSV has it for databases that it does not gather,
    /// and with the host, so that no two registries give out the same.
    fn own_prefix(&self, year: &str) -> String {
        let host = self.inner.settings.url.host_str().unwrap_or("registry");
        let host: String = host
            .chars()
            .filter(|c| c.is_ascii_alphanumeric() || ".-:".contains(*c))
            .map(|c| if c == ':' { '.' } else { c })
            .take(LONGEST_HOST)
            .collect();
        format!("x_{host}-{year}-")
    }

    /// Withdraws an advisory that this registry issued. The second time changes nothing.
    ///
    /// # Errors
    /// `operator-needed`, `advisory-unknown`.
    pub async fn withdraw_advisory(&self, actor: &Actor, id: &str) -> Result<()> {
        policy::may_operate(actor, "withdraw an advisory")?;
        let mut tx = self.inner.store.write().await?;
        if !self.withdraw_in(&mut tx, actor, id).await? {
            return Err(unknown(id));
        }
        tx.commit().await?;
        self.inner.fetch.doubt(self.now());
        Ok(())
    }

    /// False: there is none.
    async fn withdraw_in(&self, tx: &mut Tx, actor: &Actor, id: &str) -> Result<bool> {
        let Some(record) = tx.own_advisory(id).await? else {
            return Ok(false);
        };
        let mut record = Record::parse(record.as_bytes())?;
        if !record.is_withdrawn() {
            let mut at = seconds(self.now());
            if at <= record.modified {
                // Whoever has the former one must see that this is newer, and OSV's times have whole seconds.
                at = seconds(self.now().plus_seconds(1));
            }
            record.withdrawn = Some(at.clone());
            record.modified = at;
            self.put_own(tx, actor, &record, "advisory-withdrawn")
                .await?;
        }
        Ok(true)
    }

    /// Issues an advisory about what a case withholds as malware, once. In the transaction that withholds; nothing is said of
    /// projects that not everybody may see.
    pub(crate) async fn advise_of_case(
        &self,
        tx: &mut Tx,
        actor: &Actor,
        case: &str,
        project: &ProjectId,
        (subject, reason): (&str, &str),
    ) -> Result<()> {
        if tx.advisory_of_case(case).await?.is_some() || tx.is_private(project).await? {
            return Ok(());
        }
        let named = purl::parse(subject)?;
        let versions: Vec<String> = named.version.iter().cloned().collect();
        let reason: String = reason.chars().take(LONGEST_SUMMARY / 2).collect();
        let mut summary = format!("Withheld as malware: {reason}");
        if reason.is_empty() {
            "Withheld as malware".clone_into(&mut summary);
        }
        // A character may have several bytes.
        while summary.len() > LONGEST_SUMMARY {
            summary.pop();
        }
        let said = Said {
            ecosystem: named.ecosystem,
            key: &named.name_key,
            versions: &versions,
            summary: &summary,
            details: &format!("`{subject}` was withheld."),
            malware: true,
        };
        let id = self.issue_in(tx, actor, &said).await?;
        tx.set_advisory_of_case(case, &id).await
    }

    /// Withdraws what was said because of a case. In the transaction that serves again.
    pub(crate) async fn withdraw_advice_of_case(
        &self,
        tx: &mut Tx,
        actor: &Actor,
        case: &str,
    ) -> Result<()> {
        if let Some(id) = tx.advisory_of_case(case).await? {
            self.withdraw_in(tx, actor, &id).await?;
        }
        Ok(())
    }

    /// Identifier, time of change and record of every advisory that this registry issued, withdrawn ones among them.
    ///
    /// # Errors
    /// Where the database fails.
    pub async fn own_advisories(&self) -> Result<Vec<(String, String, String)>> {
        let rows = self.inner.store.own_advisories().await?;
        let mut own = Vec::with_capacity(rows.len());
        for (id, _, text) in rows {
            let modified = Record::parse(text.as_bytes())?.modified;
            own.push((id, modified, text));
        }
        Ok(own)
    }

    async fn put_own(&self, tx: &mut Tx, actor: &Actor, record: &Record, kind: &str) -> Result<()> {
        let rules = rules_of(record).map_err(malformed)?;
        let row = row_of(record, rules, OWN_FEED);
        let now = self.now();
        tx.put_advisories(std::slice::from_ref(&row), now).await?;
        self.note_own_feed(tx).await?;
        tx.mark_withheld().await?;
        let detail = json!({"id": row.id, "record": row.record});
        tx.note_event(&new_id(), now, kind, actor, None, detail)
            .await
    }

    async fn note_own_feed(&self, tx: &mut Tx) -> Result<()> {
        let feed = FeedRow {
            name: OWN_FEED.to_owned(),
            records: tx.own_advisory_count().await?,
            withdrawn: 0,
            refused: 0,
            imported: self.now(),
        };
        tx.put_advisory_feed(&feed).await
    }
}

fn malformed(why: String) -> Error {
    Error::new(Kind::Rejected, "advisory-malformed", why)
        .remedy("Say in one line what is wrong, and the rest in the details.")
}

/// As OSV writes times.
fn seconds(time: Time) -> String {
    let text = time.rfc3339();
    text.get(..19)
        .map_or_else(|| text.clone(), |second| format!("{second}Z"))
}
