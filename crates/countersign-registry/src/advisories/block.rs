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
    /// When it ends by itself; `None`: when an operator ends it.
    pub until: Option<Time>,
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
    /// When it ends by itself; `None`: when an operator ends it.
    pub until: Option<Time>,
}

impl From<ExemptionRow> for AdvisoryExemption {
    fn from(row: ExemptionRow) -> Self {
        Self {
            id: row.id,
            ecosystem: row.ecosystem,
            project: row.key,
            version: Some(row.version).filter(|version| !version.is_empty()),
            advisory: row.advisory,
            reason: row.reason,
            made: row.made,
            until: row.until,
        }
    }
}

/// How a release stands to what this registry does not serve because of advisories.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct AdvisoryStanding {
    /// The advisories because of which it is not served, the worst first.
    pub blocked: Vec<Concern>,
    /// Those because of which it would not be served, with the exemption that lets it be.
    pub exempt: Vec<(Concern, AdvisoryExemption)>,
}

impl Registry {
    /// Serves a project, or one version of it, in spite of an advisory. Gives the exemption's id.
    ///
    /// # Errors
    /// `operator-needed`, `advisory-unknown`, `reason`, `exemption-until`; refused names and versions.
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
        let now = self.now();
        if let Some(until) = new.until
            && until <= now
        {
            return Err(Error::new(
                Kind::Rejected,
                "exemption-until",
                format!("{} is over already.", until.rfc3339()),
            )
            .remedy("Give a time that is still to come, or none: then it holds until an operator ends it."));
        }
        if self.inner.store.advisory(&new.advisory).await?.is_none() {
            return Err(unknown(&new.advisory));
        }
        let row = ExemptionRow {
            id: new_id(),
            ecosystem: new.ecosystem,
            key: key.as_str().to_owned(),
            version,
            advisory: new.advisory.clone(),
            reason: reason.to_owned(),
            made: now,
            until: new.until,
        };
        let mut tx = self.inner.store.write().await?;
        tx.insert_exemption(&row).await?;
        tx.mark_withheld().await?;
        let detail = json!({
            "exemption": row.id, "project": purl::project_purl(new.ecosystem, &key), "version": row.version,
            "advisory": row.advisory, "reason": row.reason, "until": row.until.map(Time::rfc3339),
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
        if !self.end_all(actor, &[id.to_owned()]).await? {
            let shown: String = id.chars().take(60).collect();
            return Err(Error::new(
                Kind::NotFound,
                "exemption-unknown",
                format!("There is no exemption {shown:?} here that still holds."),
            )
            .remedy("The list of exemptions has their ids."));
        }
        Ok(())
    }

    /// Ends the exemptions whose time is over. Part of the chores.
    ///
    /// # Errors
    /// Where the database fails.
    pub async fn end_exemptions_that_are_over(&self) -> Result<()> {
        let over = self.inner.store.exemptions_over(self.now()).await?;
        if !over.is_empty() {
            self.end_all(&Actor::system("advisories"), &over).await?;
        }
        Ok(())
    }

    /// False: none of them held any longer.
    async fn end_all(&self, actor: &Actor, ids: &[String]) -> Result<bool> {
        let now = self.now();
        let mut tx = self.inner.store.write().await?;
        let mut ended = false;
        for id in ids {
            if tx.end_exemption(id, now).await? {
                ended = true;
                let (kind, detail) = ("advisory-exemption-ended", json!({"exemption": id}));
                tx.note_event(&new_id(), now, kind, actor, None, detail)
                    .await?;
            }
        }
        if ended {
            tx.mark_withheld().await?;
            tx.commit().await?;
            self.inner.fetch.doubt(self.now());
        }
        Ok(ended)
    }

    /// Exemptions that hold, the newest first.
    ///
    /// # Errors
    /// `operator-needed`.
    pub async fn advisory_exemptions(&self, actor: &Actor) -> Result<Vec<AdvisoryExemption>> {
        policy::may_operate(actor, "list exemptions")?;
        let rows = self.inner.store.exemptions().await?;
        Ok(rows.into_iter().map(AdvisoryExemption::from).collect())
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
        let standing = self.advisory_standing(ecosystem, name_key, version).await?;
        Ok(standing.blocked.into_iter().next())
    }

    /// Because of which advisories a release is not served here, and which of them do not count.
    ///
    /// # Errors
    /// Where the database fails.
    pub async fn advisory_standing(
        &self,
        ecosystem: Ecosystem,
        name_key: &str,
        version: &str,
    ) -> Result<AdvisoryStanding> {
        let mut standing = AdvisoryStanding::default();
        let block = self.inner.settings.advisories.block;
        if block == AdvisoryBlock::Never {
            return Ok(standing);
        }
        let mut concerns = self.concerns(ecosystem, name_key, version).await?;
        concerns.retain(|concern| {
            let told = &concern.advisory;
            // What may be meant is shown, and served.
            concern.certain && block.forbids(told.malware, told.rating.grade)
        });
        if concerns.is_empty() {
            return Ok(standing);
        }
        let exemptions = self
            .inner
            .store
            .exemptions_of(ecosystem, name_key, version, self.now())
            .await?;
        for concern in concerns {
            let exempt = exemptions
                .iter()
                .find(|row| row.advisory == concern.advisory.id);
            match exempt {
                Some(row) => standing.exempt.push((concern, row.clone().into())),
                None => standing.blocked.push(concern),
            }
        }
        Ok(standing)
    }
}
