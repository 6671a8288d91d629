//! Which factors accounts need: the rule, which only goes up unless an operator overrides it in the log, and which
//! projects are critical.

use countersign_formats::{Ecosystem, format, purl};
use countersign_trust::leaf::{self, LeafKind};
use serde::Serialize;
use serde_json::json;

use crate::Registry;
use crate::error::{Error, Kind, Result};
use crate::heartbeat::Change;
use crate::model::{AccountId, Actor, Identity, ProjectId, Time};
use crate::policy;
pub use crate::settings::{FactorNeed, FactorPolicy};
use crate::store::{FactorFacts, Store, Tx};
use crate::texts::NoticeKind;

/// Under this name the instance's own table keeps the rule.
const POLICY: &str = "factor_policy";

/// Under this name stands when critical projects were last looked for.
const FOUND_CRITICAL: &str = "critical_found_at";

/// Downloads of so many days say how much a project is used.
const DAYS: i64 = 90;

/// What an account needs and does not have.
#[derive(Clone, Debug, Serialize)]
pub struct Demand {
    /// What it needs.
    pub need: FactorNeed,
    /// From when on it is refused what needs it.
    pub by: Time,
    /// Why, as a clause.
    pub why: String,
}

impl FactorPolicy {
    /// The rule of the registry whose database this is.
    ///
    /// # Errors
    /// Where the database can not be read.
    pub async fn of(store: &Store) -> Result<Self> {
        match store.instance(POLICY).await? {
            None => Ok(Self::default()),
            Some(text) => serde_json::from_str(&text)
                .map_err(|source| Error::internal("the rule on factors can not be read", source)),
        }
    }
}

impl Registry {
    /// The rule on factors.
    ///
    /// # Errors
    /// Where the database can not be read.
    pub async fn factor_policy(&self) -> Result<FactorPolicy> {
        FactorPolicy::of(&self.inner.store).await
    }

    /// Changes the rule on factors. Upward at will; downward only with a reason, and the log shows it.
    ///
    /// # Errors
    /// `operator-needed`, `factor-policy-down`.
    pub async fn set_factor_policy(
        &self,
        actor: &Actor,
        new: FactorPolicy,
        override_reason: Option<&str>,
    ) -> Result<FactorPolicy> {
        policy::may_operate(actor, "change the rule on factors")?;
        let now = self.now();
        let mut tx = self.inner.store.write().await?;
        let before = match tx.instance(POLICY).await? {
            None => FactorPolicy::default(),
            Some(text) => serde_json::from_str(&text)
                .map_err(|source| Error::internal("the rule on factors can not be read", source))?,
        };
        let upward = policy::is_upward(&before, &new);
        let reason = override_reason.map(str::trim).filter(|why| !why.is_empty());
        if !upward && reason.is_none() {
            return Err(Error::new(
                Kind::Denied,
                "factor-policy-down",
                "The rule on factors goes upward only.",
            )
            .remedy(
                "To lower it, give a reason; that stands in the log as an operator's override.",
            ));
        }
        let raised = if new.maintainers > before.maintainers || new.critical > before.critical {
            now
        } else {
            before.raised
        };
        let new = FactorPolicy { raised, ..new };
        let text = serde_json::to_string(&new)
            .map_err(|source| Error::internal("the rule on factors can not be written", source))?;
        tx.set_instance(POLICY, &text).await?;
        let detail = json!({"before": before, "after": new, "reason": reason});
        if upward {
            tx.note_event(
                &crate::accounts::new_id(),
                now,
                "factor-policy-raised",
                actor,
                None,
                detail,
            )
            .await?;
        } else {
            let change = Change::registry(actor, LeafKind::OperatorOverride);
            self.record(&mut tx, change, detail).await?;
        }
        tx.commit().await?;
        self.inner.beat.wake();
        Ok(new)
    }

    /// Has the account of this caller what it needs to change a project, or to make one? Others than accounts have
    /// nothing to show.
    pub(crate) async fn demands_met(
        &self,
        tx: &mut Tx,
        actor: &Actor,
        project: Option<&ProjectId>,
    ) -> Result<()> {
        let Identity::Account { id, .. } = &actor.identity else {
            return Ok(());
        };
        // Nothing is asked beyond this, so there is no need to look at roles and rule.
        if tx.holds_phishproof(id).await? {
            return Ok(());
        }
        let Some(facts) = tx.factor_facts(id).await? else {
            return Ok(());
        };
        let rule = match tx.instance(POLICY).await? {
            None => FactorPolicy::default(),
            Some(text) => serde_json::from_str(&text)
                .map_err(|source| Error::internal("the rule on factors can not be read", source))?,
        };
        let critical = match project {
            Some(project) => tx.critical_since(project).await?,
            None => None,
        };
        policy::meets_demands(&rule, &facts, critical, self.now())
    }

    /// What this account needs first and does not have.
    pub(crate) async fn what_is_missing(&self, account: &AccountId) -> Result<Option<Demand>> {
        let rule = self.factor_policy().await?;
        let facts = self.inner.store.factor_facts(account).await?;
        let need = facts.and_then(|facts: FactorFacts| policy::missing(&rule, &facts));
        Ok(need.map(|need| Demand {
            need: need.need,
            by: need.by,
            why: need.why.words().to_owned(),
        }))
    }

    /// Marks a project as critical, or takes the mark away (which the log shows as an override).
    ///
    /// # Errors
    /// `operator-needed`, `project-unknown`.
    pub async fn mark_critical(
        &self,
        actor: &Actor,
        ecosystem: Ecosystem,
        project: &str,
        critical: bool,
    ) -> Result<()> {
        policy::may_operate(actor, "say which projects are critical")?;
        let key = format(ecosystem).name_key(project)?;
        let mut tx = self.inner.store.write().await?;
        let Some(found) = tx.curated_project(ecosystem, key.as_str()).await? else {
            return Err(Error::new(
                Kind::NotFound,
                "project-unknown",
                format!("There is no project {project} here."),
            )
            .remedy("Look for its name with the search."));
        };
        let now = self.now();
        let mark = critical.then_some((now, "marked"));
        if !tx.set_critical(&found.id, mark).await? {
            return Ok(());
        }
        let subject = purl::project_purl(ecosystem, &key);
        let detail = json!({"critical": critical, "why": "marked"});
        let change = if critical {
            Change::about(actor, LeafKind::PolicyChanged, subject, &found.id)
                .way(leaf::Change::Added, None)
        } else {
            Change::registry(actor, LeafKind::OperatorOverride)
        };
        self.record(&mut tx, change, detail).await?;
        if critical {
            let rule = self.factor_policy().await?;
            let until = now
                .plus_seconds(i64::from(rule.grace_days) * 86_400)
                .rfc3339();
            let why = format!(
                "{} is critical now, so its owners need a passkey or security key.",
                found.name
            );
            self.notify_owners(
                &mut tx,
                &found.id,
                None,
                NoticeKind::FactorDemanded,
                &[("why", &why), ("until", &until)],
            )
            .await?;
        }
        tx.commit().await?;
        self.inner.beat.wake();
        self.wake_office();
        Ok(())
    }

    /// [`Registry::find_critical`] where nobody did for a day, whichever server it was and however often they restart.
    ///
    /// # Errors
    /// Where the database fails.
    pub async fn find_critical_if_due(&self) -> Result<u64> {
        let now = self.now();
        let mut tx = self.inner.store.write().await?;
        let last = tx.instance(FOUND_CRITICAL).await?;
        let due = last
            .and_then(|at| at.parse().ok())
            .is_none_or(|at: i64| Time(at).plus_seconds(86_400) <= now);
        if !due {
            return Ok(0);
        }
        // A crash after this leaves today's look undone; tomorrow's makes up for it.
        tx.set_instance(FOUND_CRITICAL, &now.0.to_string()).await?;
        tx.commit().await?;
        self.find_critical().await
    }

    /// Finds the projects that are critical by use; how many changed.
    ///
    /// # Errors
    /// Where the database fails.
    pub async fn find_critical(&self) -> Result<u64> {
        let now = self.now();
        let uses = self.inner.store.uses(now.day() - DAYS).await?;
        let figures: Vec<(u64, u64, bool)> = uses
            .iter()
            .map(|one| (one.downloads, one.dependents, one.critical_why.is_some()))
            .collect();
        let mut changed = 0;
        for (one, critical) in uses.iter().zip(policy::critical(&figures)) {
            // What an operator marked stays marked.
            if one.critical_why.as_deref() == Some("marked")
                || critical == one.critical_why.is_some()
            {
                continue;
            }
            let mut tx = self.inner.store.write().await?;
            if tx
                .set_critical(&one.project, critical.then_some((now, "use")))
                .await?
            {
                changed += 1;
                let actor = Actor {
                    identity: Identity::System { name: "chores" },
                    ..Actor::anonymous()
                };
                let detail = json!({"project": one.project, "critical": critical, "why": "use"});
                let id = crate::accounts::new_id();
                tx.note_event(&id, now, "critical-by-use", &actor, None, detail)
                    .await?;
                if critical {
                    let why = format!(
                        "{} ({}) is among the most used projects here, so its owners need a passkey or security key.",
                        one.key, one.ecosystem
                    );
                    let rule = self.factor_policy().await?;
                    let until = now
                        .plus_seconds(i64::from(rule.grace_days) * 86_400)
                        .rfc3339();
                    self.notify_owners(
                        &mut tx,
                        &one.project,
                        None,
                        NoticeKind::FactorDemanded,
                        &[("why", &why), ("until", &until)],
                    )
                    .await?;
                }
            }
            tx.commit().await?;
        }
        self.wake_office();
        Ok(changed)
    }
}
