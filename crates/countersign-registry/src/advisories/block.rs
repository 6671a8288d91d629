//! What is not served because of an advisory, and what is all the same.

use countersign_formats::{Ecosystem, format, purl};
use serde_json::json;

use super::{Concern, unknown};
use crate::Registry;
use crate::accounts::new_id;
use crate::error::{Error, Kind, Result};
use crate::model::{Actor, Time};
use crate::policy;
use crate::settings::AdvisoryBlock;
use crate::store::ExemptionRow;

/// The longest reason for an exemption, in bytes.
const LONGEST_REASON: usize = 500;

/// An exemption that is to be made.
#[derive(Clone, Debug)]
pub struct NewExemption {
    /// The project's ecosystem.
    pub ecosystem: Ecosystem,
    /// The project, in any spelling.
    pub project: String,
    /// One version alone; `None`: all.
    pub version: Option<String>,
    /// The advisory that is not to count.
    pub advisory: String,
    /// Why.
    pub reason: String,
}

/// Something that is served in spite of an advisory.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AdvisoryExemption {
    /// Its id.
    pub id: String,
    /// The project's ecosystem.
    pub ecosystem: Ecosystem,
    /// The project's key.
    pub project: String,
    /// One version alone; `None`: all.
    pub version: Option<String>,
    /// The advisory.
    pub advisory: String,
    /// Why.
    pub reason: String,
    /// When it was made.
    pub made: Time,
}

impl Registry {
    /// Serves a project, or one version of it, in spite of an advisory. Gives the exemption's id.
    ///
    /// # Errors
    /// `operator-needed`, `advisory-unknown`, `reason`; refused names and versions.
    pub async fn exempt_from_advisory(&self, actor: &Actor, new: &NewExemption) -> Result<String> {
        policy::may_operate(actor, "make an exemption")?;
        let key = format(new.ecosystem).name_key(&new.project)?;
        let version = match &new.version {
            None => String::new(),
            Some(version) => {
                let version = format(new.ecosystem).version(version)?;
                version.canonical().to_owned()
            }
        };
        let reason = new.reason.trim();
        if reason.is_empty() || reason.len() > LONGEST_REASON || reason.contains(char::is_control) {
            return Err(Error::new(
                Kind::Rejected,
                "reason",
                format!("A reason is one line of 1 to {LONGEST_REASON} bytes."),
            )
            .remedy("Say in one line why it may be served."));
        }
        if self.inner.store.advisory(&new.advisory).await?.is_none() {
            return Err(unknown(&new.advisory));
        }
        let now = self.now();
        let row = ExemptionRow {
            id: new_id(),
            ecosystem: new.ecosystem,
            key: key.as_str().to_owned(),
            version,
            advisory: new.advisory.clone(),
            reason: reason.to_owned(),
            made: now,
        };
        let mut tx = self.inner.store.write().await?;
        tx.insert_exemption(&row).await?;
        tx.mark_withheld().await?;
        let detail = json!({
            "exemption": row.id, "project": purl::project_purl(new.ecosystem, &key), "version": row.version,
            "advisory": row.advisory, "reason": row.reason,
        });
        tx.note_event(&new_id(), now, "advisory-exempted", actor, None, detail)
            .await?;
        tx.commit().await?;
        self.inner.fetch.doubt(self.now());
        Ok(row.id)
    }

    /// Ends an exemption.
    ///
    /// # Errors
    /// `operator-needed`, `exemption-unknown`.
    pub async fn end_exemption(&self, actor: &Actor, id: &str) -> Result<()> {
        policy::may_operate(actor, "end an exemption")?;
        let now = self.now();
        let mut tx = self.inner.store.write().await?;
        if !tx.end_exemption(id, now).await? {
            let shown: String = id.chars().take(60).collect();
            return Err(Error::new(
                Kind::NotFound,
                "exemption-unknown",
                format!("There is no exemption {shown:?} here that still holds."),
            )
            .remedy("The list of exemptions has their ids."));
        }
        tx.mark_withheld().await?;
        let detail = json!({"exemption": id});
        tx.note_event(
            &new_id(),
            now,
            "advisory-exemption-ended",
            actor,
            None,
            detail,
        )
        .await?;
        tx.commit().await?;
        self.inner.fetch.doubt(self.now());
        Ok(())
    }

    /// Exemptions that hold, the newest first.
    ///
    /// # Errors
    /// `operator-needed`.
    pub async fn advisory_exemptions(&self, actor: &Actor) -> Result<Vec<AdvisoryExemption>> {
        policy::may_operate(actor, "list exemptions")?;
        let rows = self.inner.store.exemptions().await?;
        Ok(rows
            .into_iter()
            .map(|row| AdvisoryExemption {
                id: row.id,
                ecosystem: row.ecosystem,
                project: row.key,
                version: Some(row.version).filter(|version| !version.is_empty()),
                advisory: row.advisory,
                reason: row.reason,
                made: row.made,
            })
            .collect())
    }

    /// The worst advisory because of which a release is not served here.
    ///
    /// # Errors
    /// Where the database fails.
    pub async fn forbidden_by_advisory(
        &self,
        ecosystem: Ecosystem,
        name_key: &str,
        version: &str,
    ) -> Result<Option<Concern>> {
        let block = self.inner.settings.advisories.block;
        if block == AdvisoryBlock::Never {
            return Ok(None);
        }
        let mut concerns = self.concerns(ecosystem, name_key, version).await?;
        concerns.retain(|concern| {
            let told = &concern.advisory;
            // What may be meant is shown, and served.
            concern.certain && block.forbids(told.malware, told.rating.grade)
        });
        if concerns.is_empty() {
            return Ok(None);
        }
        let exempt = self
            .inner
            .store
            .exemptions_of(ecosystem, name_key, version)
            .await?;
        concerns.retain(|concern| !exempt.contains(&concern.advisory.id));
        Ok(concerns.into_iter().next())
    }
}
