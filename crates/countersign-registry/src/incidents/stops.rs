//! Stopping: a person, a project, an organisation, or the whole registry can not be changed until an operator says so. What is
//! served goes on being served; to withhold and to lessen rights stays possible, since that is what an incident needs.

use countersign_formats::{format, purl};
use serde::Serialize;
use serde_json::json;

use super::{Subject, unfit, unknown};
use crate::Registry;
use crate::accounts::{new_id, user_key};
use crate::error::{Error, Kind, Result};
use crate::model::{Actor, OrganisationId, ProjectId, Time};
use crate::policy;
use crate::store::{StopRow, Tx};
use crate::texts::NoticeKind;

/// Something that is stopped.
#[derive(Clone, Debug, Serialize)]
pub struct Stop {
    /// `registry`, `organisation`, `project` or `account`.
    pub scope: String,
    /// What it is, by name; empty for the registry.
    pub name: String,
    /// As everybody is told.
    pub reason: String,
    /// Since when.
    pub since: Time,
}

impl From<StopRow> for Stop {
    fn from(row: StopRow) -> Self {
        Self {
            scope: row.scope,
            name: row.name,
            reason: row.reason,
            since: row.since,
        }
    }
}

/// What is stopped now, and which incidents are open, in numbers.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Troubles {
    /// The whole registry takes no changes.
    pub standstill: Option<Stop>,
    /// Organisations that are frozen.
    pub organisations: u64,
    /// Projects that are frozen.
    pub projects: u64,
    /// Accounts that are frozen.
    pub accounts: u64,
    /// Public incidents that are not closed.
    pub incidents: u64,
}

/// What is stopped: its scope, id and name.
struct Stopped {
    scope: &'static str,
    id: String,
    name: String,
}

/// Says no in the operator's words. Clients show a 403 with its text, and try nothing again.
fn refusal(stop: &StopRow) -> Error {
    let (code, what) = match stop.scope.as_str() {
        "registry" => (
            "registry-frozen",
            "This registry takes no changes now".to_owned(),
        ),
        "organisation" => (
            "organisation-frozen",
            format!("The organisation {} is frozen", stop.name),
        ),
        _ => ("project-frozen", format!("{} is frozen", stop.name)),
    };
    // Clients put the way out right behind it.
    let end = match stop.reason.ends_with(['.', '!', '?', '…']) {
        true => "",
        false => ".",
    };
    Error::new(Kind::Denied, code, format!("{what}: {}{end}", stop.reason))
        .remedy("Nothing was changed. What is published stays as it is; look at /incidents, and try again when it is over.")
}

impl Registry {
    /// Is the whole registry stopped? Asked before a body is read.
    pub(crate) async fn registry_runs(&self, actor: &Actor) -> Result<()> {
        if policy::operates(actor) {
            return Ok(());
        }
        match self.inner.store.registry_stop().await? {
            Some(stop) => Err(refusal(&stop)),
            None => Ok(()),
        }
    }

    /// Does anything stop changes of this project or organisation? In the transaction that changes it. Operators go on.
    pub(crate) async fn nothing_stops(
        &self,
        tx: &mut Tx,
        actor: &Actor,
        project: Option<&ProjectId>,
        organisation: Option<&OrganisationId>,
    ) -> Result<()> {
        if policy::operates(actor) {
            return Ok(());
        }
        match tx.stop_on(project, organisation).await? {
            Some(stop) => Err(refusal(&stop)),
            None => Ok(()),
        }
    }

    /// Stops a user, a project, an organisation or the whole registry. False where it is stopped already. Whoever is stopped, or owns
    /// what is, is told.
    ///
    /// # Errors
    /// `operator-needed`, `subject-unknown`, `subject-unfit`, `user-unknown`, `not-yourself`, `text-length`.
    pub async fn freeze(&self, actor: &Actor, subject: &Subject, reason: &str) -> Result<bool> {
        policy::may_operate(actor, "freeze")?;
        let reason = policy::words(reason, 1..=500, "A reason")?;
        let stopped = self.stopped(subject).await?;
        if let Subject::User(name) = subject {
            // First, since it may be refused. Its sessions end, its tokens sleep.
            self.disable_user(actor, name, true).await?;
        }
        let now = self.now();
        let mut tx = self.inner.store.write().await?;
        let named = (stopped.id.as_str(), stopped.name.as_str());
        let fresh = tx
            .stop(&new_id(), stopped.scope, named, &reason, now)
            .await?;
        if fresh {
            let detail = json!({"subject": subject.to_string(), "reason": reason});
            tx.note_event(&new_id(), now, "frozen", actor, None, detail)
                .await?;
            let data = [("what", stopped.name.as_str()), ("why", &reason)];
            self.tell_stopped(&mut tx, &stopped, NoticeKind::Frozen, &data)
                .await?;
        }
        tx.commit().await?;
        self.wake_office();
        Ok(fresh)
    }

    /// Ends a stop; false where there is none. An account that a case keeps frozen stays so.
    ///
    /// # Errors
    /// As [`Registry::freeze`].
    pub async fn unfreeze(&self, actor: &Actor, subject: &Subject) -> Result<bool> {
        policy::may_operate(actor, "end a freeze")?;
        let stopped = self.stopped(subject).await?;
        let now = self.now();
        let mut tx = self.inner.store.write().await?;
        let ended = tx.lift_stop(stopped.scope, &stopped.id, now).await?;
        if ended {
            let detail = json!({"subject": subject.to_string()});
            tx.note_event(&new_id(), now, "unfrozen", actor, None, detail)
                .await?;
            let data = [("what", stopped.name.as_str())];
            self.tell_stopped(&mut tx, &stopped, NoticeKind::Unfrozen, &data)
                .await?;
        }
        let held = match subject {
            Subject::User(_) => {
                let account = crate::model::AccountId(stopped.id.clone());
                tx.is_frozen(&account).await?
            }
            _ => true,
        };
        tx.commit().await?;
        if let (Subject::User(name), true, false) = (subject, ended, held) {
            self.disable_user(actor, name, false).await?;
        }
        self.wake_office();
        Ok(ended)
    }

    /// Everything that is stopped, the oldest first.
    ///
    /// # Errors
    /// `operator-needed`, `step-up-needed`.
    pub async fn frozen(&self, actor: &Actor) -> Result<Vec<Stop>> {
        policy::may_operate(actor, "list what is frozen")?;
        let rows = self.inner.store.stops().await?;
        Ok(rows.into_iter().map(Stop::from).collect())
    }

    /// Whether the whole registry takes no changes, and why: everybody may know.
    ///
    /// # Errors
    /// Where the database can not be read.
    pub async fn standstill(&self) -> Result<Option<Stop>> {
        Ok(self.inner.store.registry_stop().await?.map(Stop::from))
    }

    /// How much is stopped and told now, in numbers: for those who watch over the instance. Nothing is named, and incidents that only
    /// operators see are not counted.
    ///
    /// # Errors
    /// Where the database can not be read.
    pub async fn troubles(&self) -> Result<Troubles> {
        let store = &self.inner.store;
        let mut troubles = Troubles::default();
        for stop in store.stops().await? {
            match stop.scope.as_str() {
                "registry" => troubles.standstill = Some(stop.into()),
                "organisation" => troubles.organisations += 1,
                "project" => troubles.projects += 1,
                _ => troubles.accounts += 1,
            }
        }
        troubles.incidents = store.open_incidents(true).await?.len() as u64;
        Ok(troubles)
    }

    async fn stopped(&self, subject: &Subject) -> Result<Stopped> {
        let store = &self.inner.store;
        Ok(match subject {
            Subject::Registry => Stopped {
                scope: "registry",
                id: String::new(),
                name: String::new(),
            },
            Subject::User(name) => Stopped {
                scope: "account",
                id: self.account(name).await?.0,
                name: name.clone(),
            },
            Subject::Organisation(name) => {
                let row = store.organisation(&user_key(name)?).await?;
                let row = row.ok_or_else(|| unknown(subject))?;
                Stopped {
                    scope: "organisation",
                    id: row.id.0,
                    name: row.name,
                }
            }
            Subject::Project(ecosystem, name) => {
                let key = format(*ecosystem).name_key(name)?;
                let id = store.project_of_key(*ecosystem, key.as_str()).await?;
                Stopped {
                    scope: "project",
                    id: id.ok_or_else(|| unknown(subject))?.0,
                    name: purl::project_purl(*ecosystem, &key),
                }
            }
            _ => {
                return Err(unfit(
                    subject,
                    "what can be frozen is a user, a project, an organisation or the registry",
                ));
            }
        })
    }

    async fn tell_stopped(
        &self,
        tx: &mut Tx,
        stopped: &Stopped,
        kind: NoticeKind,
        data: &[(&str, &str)],
    ) -> Result<()> {
        match stopped.scope {
            "project" => {
                let project = ProjectId(stopped.id.clone());
                self.notify_owners(tx, &project, None, kind, data).await
            }
            "organisation" => {
                let organisation = OrganisationId(stopped.id.clone());
                for head in tx.heads(&organisation).await? {
                    self.notify(tx, &head, kind, data, None).await?;
                }
                Ok(())
            }
            // Accounts are told by what disables them; a standstill of everything is on the page of incidents.
            _ => Ok(()),
        }
    }
}
