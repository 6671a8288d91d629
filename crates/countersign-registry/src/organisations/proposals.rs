//! What takes two persons or a waiting time: the removal of the last owner who is hard to phish, and transfers.
//!
//! Asked for by an owner with a passkey; every owner is told and can stop it. A removal is confirmed by another owner, one
//! who was an owner for three days already, or after three days by whoever asked. A transfer is accepted by whoever gets
//! the project, after three days and not before. What is confirmed is decided by who owns the project at that moment.

use countersign_formats::{Ecosystem, format};
use serde::Serialize;
use serde_json::json;

use crate::Registry;
use crate::accounts::{is_settled, new_id, user_key};
use crate::error::{Error, Kind, Result};
use crate::model::{
    AccountId, Actor, Identity, Level, Membership, OrganisationId, ProjectId, Role, Time,
};
use crate::policy::{self, Act, On};
use crate::store::{OwnedProject, ProposalKind, ProposalRow, Tx};
use crate::texts::NoticeKind;

/// How long a proposal waits before whoever asked for it may go on alone, in seconds.
const WAITS: i64 = 72 * 3_600;

/// How long a proposal holds, in seconds.
const HOLDS: i64 = 14 * 86_400;

/// What an owner wants that takes more than one owner's word.
#[derive(Clone, Debug)]
pub enum Wish {
    /// This user is to be an owner no longer.
    RemoveOwner(String),
    /// The project is to belong to this user or organisation.
    TransferTo(String),
}

/// A request that waits for a second person or for its time.
#[derive(Clone, Debug, Serialize)]
pub struct Proposal {
    /// Its id.
    pub id: String,
    /// `remove-owner` or `transfer`.
    pub kind: &'static str,
    /// The project or organisation that it is about.
    pub about: String,
    /// Who goes, or who gets it.
    pub target: String,
    /// Who asked.
    pub by: String,
    /// When.
    pub created: Time,
    /// When the waiting is over.
    pub ripe: Time,
    /// Until when it holds.
    pub expires: Time,
}

pub(super) fn view(row: ProposalRow, about: String) -> Proposal {
    Proposal {
        id: row.id,
        kind: match row.kind {
            ProposalKind::RemoveOwner => "remove-owner",
            ProposalKind::Transfer => "transfer",
        },
        about,
        target: row
            .account_name
            .or(row.organisation_name)
            .unwrap_or_default(),
        by: row.by_name,
        created: row.created,
        ripe: row.ripe,
        expires: row.expires,
    }
}

fn unknown_proposal() -> Error {
    Error::new(
        Kind::NotFound,
        "proposal-unknown",
        "There is no such request, or it was done, stopped or is over.",
    )
    .remedy("Look at the settings of the project or organisation for those that wait.")
}

fn void() -> Error {
    Error::new(
        Kind::Conflict,
        "proposal-void",
        "Who asked for this is an owner no longer, or it makes no sense any more.",
    )
    .remedy("Stop it, and ask anew if it is still meant.")
}

fn too_early(ripe: Time) -> Error {
    Error::new(
        Kind::Denied,
        "proposal-too-early",
        format!(
            "This waits until {}, so that every owner can stop it.",
            ripe.rfc3339()
        ),
    )
    .remedy("Come back then; a removal is also confirmed by another owner of some days' standing.")
}

/// The account of a caller, for what only persons do.
fn person(actor: &Actor) -> Result<(&AccountId, &str)> {
    match &actor.identity {
        Identity::Account { id, name } => Ok((id, name)),
        _ => Err(Error::new(
            Kind::Denied,
            "account-needed",
            "This is for owners, not for the operator.",
        )
        .remedy("Sign in as an owner. The operator changes roles directly.")),
    }
}

impl Registry {
    /// Asks for the removal of an owner of a project, or for its transfer. Every owner is told.
    ///
    /// # Errors
    /// `project-unknown`, `role-missing`, `session-needed`, `passkey-needed`, `step-up-needed`, `user-unknown`,
    /// `proposal-void` where there is nothing to do, `proposal-exists`.
    pub async fn propose(
        &self,
        actor: &Actor,
        ecosystem: Ecosystem,
        project: &str,
        wish: Wish,
    ) -> Result<Proposal> {
        let key = format(ecosystem).name_key(project)?;
        let now = self.now();
        let mut tx = self.inner.store.write().await?;
        let project = self
            .project_for_change(&mut tx, actor, ecosystem, &key, Act::Propose)
            .await?;
        let (by, by_name) = person(actor)?;
        let (kind, account, organisation) = match &wish {
            Wish::RemoveOwner(user) => {
                let account = self.account(user).await?;
                if tx.own_role(&project.id, &account).await? != Some(Role::Owner) {
                    return Err(void());
                }
                (
                    ProposalKind::RemoveOwner,
                    Some((account, user.clone())),
                    None,
                )
            }
            Wish::TransferTo(name) => {
                let wanted = user_key(name)?;
                let organisation = self.inner.store.organisation(&wanted).await?;
                match organisation {
                    Some(row) => {
                        if tx.owning_organisation(&project.id).await?.as_ref() == Some(&row.id) {
                            return Err(void());
                        }
                        (ProposalKind::Transfer, None, Some((row.id, row.name)))
                    }
                    None => {
                        let account = self.account(name).await?;
                        if tx.owner_accounts(&project.id).await? == [account.clone()]
                            && tx.own_role(&project.id, &account).await? == Some(Role::Owner)
                        {
                            return Err(void());
                        }
                        (ProposalKind::Transfer, Some((account, name.clone())), None)
                    }
                }
            }
        };
        let row = ProposalRow {
            id: new_id(),
            kind,
            project: Some(project.id.clone()),
            about: None,
            account: account.as_ref().map(|(id, _)| id.clone()),
            account_name: account.map(|(_, name)| name),
            organisation: organisation.as_ref().map(|(id, _)| id.clone()),
            organisation_name: organisation.map(|(_, name)| name),
            by: by.clone(),
            by_name: by_name.to_owned(),
            created: now,
            ripe: now.plus_seconds(WAITS),
            expires: now.plus_seconds(HOLDS),
            confirmed: None,
            cancelled: None,
        };
        let there = self
            .inner
            .store
            .proposals(Some(&project.id), None, now)
            .await?;
        self.put_proposal(&mut tx, actor, &row, &there, &project.name)
            .await?;
        let told = match kind {
            ProposalKind::RemoveOwner => NoticeKind::RemovalAsked,
            ProposalKind::Transfer => NoticeKind::TransferAsked,
        };
        self.tell_of_proposal(&mut tx, actor, &row, &project.id, &project.name, told)
            .await?;
        tx.commit().await?;
        Ok(view(row, project.name))
    }

    /// Asks for the removal of an owner of an organisation. Every owner is told.
    ///
    /// # Errors
    /// `organisation-unknown`, `membership-missing`, `session-needed`, `passkey-needed`, `step-up-needed`,
    /// `user-unknown`, `proposal-void`, `proposal-exists`.
    pub async fn propose_leaving(
        &self,
        actor: &Actor,
        organisation: &str,
        user: &str,
    ) -> Result<Proposal> {
        let now = self.now();
        let account = self.account(user).await;
        let mut tx = self.inner.store.write().await?;
        let about = self
            .organisation_for_change(&mut tx, actor, organisation, Act::ManageManagers)
            .await?;
        let (by, by_name) = person(actor)?;
        let account = account?;
        if tx.standing(&about.id, &account).await? != Some(Membership::Owner) {
            return Err(void());
        }
        let row = ProposalRow {
            id: new_id(),
            kind: ProposalKind::RemoveOwner,
            project: None,
            about: Some(about.id.clone()),
            account: Some(account),
            account_name: Some(user.to_owned()),
            organisation: None,
            organisation_name: None,
            by: by.clone(),
            by_name: by_name.to_owned(),
            created: now,
            ripe: now.plus_seconds(WAITS),
            expires: now.plus_seconds(HOLDS),
            confirmed: None,
            cancelled: None,
        };
        let there = self
            .inner
            .store
            .proposals(None, Some(&about.id), now)
            .await?;
        self.put_proposal(&mut tx, actor, &row, &there, &about.name)
            .await?;
        let until = row.ripe.rfc3339();
        let data = [
            ("who", actor.name()),
            ("target", user),
            ("project", &about.name),
            ("until", &until),
        ];
        for head in tx.heads(&about.id).await? {
            self.notify(&mut tx, &head, NoticeKind::RemovalAsked, &data, None)
                .await?;
        }
        tx.commit().await?;
        Ok(view(row, about.name))
    }

    async fn put_proposal(
        &self,
        tx: &mut Tx,
        actor: &Actor,
        row: &ProposalRow,
        there: &[ProposalRow],
        about: &str,
    ) -> Result<()> {
        if there.iter().any(|other| {
            other.kind == row.kind
                && other.account == row.account
                && other.organisation == row.organisation
        }) {
            return Err(Error::new(
                Kind::Conflict,
                "proposal-exists",
                format!("The same was asked for {about} already."),
            )
            .remedy("Confirm it or stop it."));
        }
        tx.insert_proposal(row).await?;
        self.note_proposal(tx, actor, "proposed", row).await
    }

    /// The open requests about a project.
    ///
    /// # Errors
    /// `project-unknown`, `role-missing`.
    pub async fn proposals(
        &self,
        actor: &Actor,
        ecosystem: Ecosystem,
        project: &str,
    ) -> Result<Vec<Proposal>> {
        let key = format(ecosystem).name_key(project)?;
        let project = {
            let mut tx = self.inner.store.write().await?;
            self.project_for_change(&mut tx, actor, ecosystem, &key, Act::SeeSettings)
                .await?
        };
        let rows = self
            .inner
            .store
            .proposals(Some(&project.id), None, self.now())
            .await?;
        Ok(rows
            .into_iter()
            .map(|row| view(row, project.name.clone()))
            .collect())
    }

    /// The open transfers to the caller, or to an organisation that the caller owns.
    ///
    /// # Errors
    /// `session-needed`.
    pub async fn transfers_to_me(&self, actor: &Actor) -> Result<Vec<Proposal>> {
        policy::may(Act::SeeTokens, actor, On::Own, self.now())?;
        let (account, _) = person(actor)?;
        let rows = self.inner.store.proposals_to(account, self.now()).await?;
        let mut transfers = Vec::new();
        let mut tx = self.inner.store.write().await?;
        for row in rows {
            if let Some(id) = &row.project
                && let Some(project) = tx.locked_project(id).await?
            {
                transfers.push(view(row, project.name));
            }
        }
        Ok(transfers)
    }

    /// An open request, for those whom it concerns.
    ///
    /// # Errors
    /// `proposal-unknown`.
    pub async fn proposal(&self, actor: &Actor, id: &str) -> Result<Proposal> {
        policy::may(Act::SeeTokens, actor, On::Own, self.now())?;
        let mut tx = self.inner.store.write().await?;
        let row = self.open_proposal(&mut tx, id).await?;
        let about = self
            .concerned(
                &mut tx,
                actor,
                &row,
                (Act::SeeOrganisation, Act::SeePending),
            )
            .await?;
        Ok(view(row, about))
    }

    /// Confirms a request: a removal as another owner or after its time, a transfer as whoever gets the project.
    ///
    /// # Errors
    /// `proposal-unknown`, `proposal-too-early`, `proposal-void`, `second-person-needed`, `role-missing`,
    /// `session-needed`, `passkey-needed`, `step-up-needed`, `second-factor-needed`, `last-owner`.
    pub async fn confirm_proposal(&self, actor: &Actor, id: &str) -> Result<()> {
        let mut tx = self.inner.store.write().await?;
        let row = self.open_proposal(&mut tx, id).await?;
        match (&row.project, &row.about, row.kind) {
            (Some(project), _, ProposalKind::Transfer) => {
                self.accept_transfer(&mut tx, actor, &row, project).await?;
            }
            (Some(project), _, ProposalKind::RemoveOwner) => {
                self.confirm_removal(&mut tx, actor, &row, project).await?;
            }
            (None, Some(about), ProposalKind::RemoveOwner) => {
                self.confirm_leaving(&mut tx, actor, &row, about).await?;
            }
            (None, _, _) => return Err(unknown_proposal()),
        }
        tx.commit().await?;
        self.inner.beat.wake();
        Ok(())
    }

    /// Stops a request: any owner may, who is to be removed, and who would get the project.
    ///
    /// # Errors
    /// `proposal-unknown`.
    pub async fn cancel_proposal(&self, actor: &Actor, id: &str) -> Result<()> {
        let now = self.now();
        let mut tx = self.inner.store.write().await?;
        let row = self.open_proposal(&mut tx, id).await?;
        let about = self
            .concerned(
                &mut tx,
                actor,
                &row,
                (Act::ManageManagers, Act::AnswerInvitation),
            )
            .await?;
        let by = match &actor.identity {
            Identity::Account { id, .. } => Some(id),
            _ => None,
        };
        if !tx.close_proposal(&row.id, by, false, now).await? {
            return Err(unknown_proposal());
        }
        if let Some(project) = &row.project {
            self.tell_of_proposal(
                &mut tx,
                actor,
                &row,
                project,
                &about,
                NoticeKind::TransferStopped,
            )
            .await?;
        }
        self.note_proposal(&mut tx, actor, "proposal-stopped", &row)
            .await?;
        tx.commit().await
    }

    async fn open_proposal(&self, tx: &mut Tx, id: &str) -> Result<ProposalRow> {
        let now = self.now();
        tx.proposal(id)
            .await?
            .filter(|row| row.confirmed.is_none() && row.cancelled.is_none() && now < row.expires)
            .ok_or_else(unknown_proposal)
    }

    pub(super) async fn locked_by_id(
        &self,
        tx: &mut Tx,
        id: &OrganisationId,
    ) -> Result<crate::store::OrganisationRow> {
        let key = tx.organisation_key(id).await?.ok_or_else(void)?;
        tx.locked_organisation(&key).await?.ok_or_else(void)
    }

    async fn may_on(
        &self,
        tx: &mut Tx,
        actor: &Actor,
        project: &OwnedProject,
        act: Act,
    ) -> Result<()> {
        let key = format(project.ecosystem).name_key(&project.key)?;
        self.project_for_change(tx, actor, project.ecosystem, &key, act)
            .await
            .map(|_| ())
    }

    async fn confirm_removal(
        &self,
        tx: &mut Tx,
        actor: &Actor,
        row: &ProposalRow,
        id: &ProjectId,
    ) -> Result<()> {
        let now = self.now();
        let project = tx.locked_project(id).await?.ok_or_else(void)?;
        self.may_on(tx, actor, &project, Act::Confirm)
            .await
            .map_err(hidden)?;
        let (me, _) = person(actor)?;
        let since = tx.owner_since(id, me).await?;
        self.second_person(row, me, since, now)?;
        if !tx.roles_of(id, &row.by).await?.has(Role::Owner) {
            return Err(void());
        }
        let (Some(target), Some(user)) = (&row.account, &row.account_name) else {
            return Err(void());
        };
        if !tx.close_proposal(&row.id, Some(me), true, now).await? {
            return Err(unknown_proposal());
        }
        let before = tx.all_roles(Some(id), None).await?;
        if !tx.end_grants(id, target, now).await? {
            return Err(void());
        }
        if tx.owner_accounts(id).await?.is_empty() {
            return Err(last_owner(user, &project.name));
        }
        let after = tx.all_roles(Some(id), None).await?;
        self.note_proposal(tx, actor, "proposal-confirmed", row)
            .await?;
        let data = [
            ("who", user.as_str()),
            ("before", "owner"),
            ("after", "nothing"),
            ("project", &project.name),
        ];
        self.notify_owners(tx, id, None, NoticeKind::PeopleChanged, &data)
            .await?;
        let data = [("role", "owner"), ("project", project.name.as_str())];
        self.notify(tx, target, NoticeKind::RoleTaken, &data, None)
            .await?;
        self.record_roles(tx, actor, &before, &after).await
    }

    async fn confirm_leaving(
        &self,
        tx: &mut Tx,
        actor: &Actor,
        row: &ProposalRow,
        about: &OrganisationId,
    ) -> Result<()> {
        let now = self.now();
        let about = self.locked_by_id(tx, about).await?;
        self.may_in(tx, actor, &about, Act::ManageManagers)
            .await
            .map_err(hidden)?;
        let (me, _) = person(actor)?;
        let since = tx.head_since(&about.id, me).await?;
        self.second_person(row, me, since, now)?;
        if tx.standing(&about.id, &row.by).await? != Some(Membership::Owner) {
            return Err(void());
        }
        let (Some(target), Some(user)) = (&row.account, &row.account_name) else {
            return Err(void());
        };
        if tx.standing(&about.id, target).await? != Some(Membership::Owner) {
            return Err(void());
        }
        if !tx.close_proposal(&row.id, Some(me), true, now).await? {
            return Err(unknown_proposal());
        }
        let before = tx.all_roles(None, Some(&about.id)).await?;
        tx.set_standing(&about.id, target, None, now).await?;
        tx.end_invitations_by(&about.id, target, now).await?;
        if tx.heads(&about.id).await?.is_empty() {
            return Err(last_owner(user, &about.name));
        }
        let after = tx.all_roles(None, Some(&about.id)).await?;
        self.note_proposal(tx, actor, "proposal-confirmed", row)
            .await?;
        let data = [
            ("who", user.as_str()),
            ("organisation", about.name.as_str()),
        ];
        self.notify(tx, target, NoticeKind::OrganisationLeft, &data, None)
            .await?;
        for head in tx.heads(&about.id).await? {
            self.notify(tx, &head, NoticeKind::OrganisationLeft, &data, None)
                .await?;
        }
        self.record_roles(tx, actor, &before, &after).await
    }

    /// Another owner of some standing, or whoever asked, once the time is over. Somebody who was made an owner for the
    /// purpose is nobody's second person.
    fn second_person(
        &self,
        row: &ProposalRow,
        me: &AccountId,
        since: Option<Time>,
        now: Time,
    ) -> Result<()> {
        if now >= row.ripe {
            return Ok(());
        }
        if *me == row.by {
            return Err(too_early(row.ripe));
        }
        if !is_settled(since, now) {
            return Err(Error::new(
                Kind::Denied,
                "second-person-needed",
                "Who became an owner only lately can not be the second person.",
            )
            .remedy("Let an owner of longer standing confirm, or wait until the time is over."));
        }
        Ok(())
    }

    /// The name of what an open request is about, for those whom it concerns: the owners, and who is to go or to get it.
    /// Those last need a credential that is good for `in_person`, not only to be who they are.
    async fn concerned(
        &self,
        tx: &mut Tx,
        actor: &Actor,
        row: &ProposalRow,
        (in_organisation, in_person): (Act, Act),
    ) -> Result<String> {
        let mine = match &actor.identity {
            Identity::Account { id, .. } => {
                row.account.as_ref() == Some(id)
                    || match &row.organisation {
                        Some(to) => tx.standing(to, id).await? == Some(Membership::Owner),
                        None => false,
                    }
            }
            _ => false,
        };
        let now = self.now();
        let or_own = |refusal| match mine {
            true => policy::may(in_person, actor, On::Own, now),
            false => Err(hidden(refusal)),
        };
        match (&row.project, &row.about) {
            (Some(id), _) => {
                let project = tx.locked_project(id).await?.ok_or_else(unknown_proposal)?;
                let owns = self.may_on(tx, actor, &project, Act::Cancel).await;
                owns.or_else(or_own)?;
                Ok(project.name)
            }
            (None, Some(about)) => {
                let about = self.locked_by_id(tx, about).await?;
                let heads = self.may_in(tx, actor, &about, in_organisation).await;
                heads.or_else(or_own)?;
                Ok(about.name)
            }
            (None, None) => Err(unknown_proposal()),
        }
    }

    async fn accept_transfer(
        &self,
        tx: &mut Tx,
        actor: &Actor,
        row: &ProposalRow,
        id: &ProjectId,
    ) -> Result<()> {
        let now = self.now();
        policy::may(Act::AnswerInvitation, actor, On::Own, now)?;
        let (me, _) = person(actor)?;
        // The organisation first, then the project: the order in which everybody locks them.
        let to = match &row.organisation {
            Some(to) => Some(self.locked_by_id(tx, to).await?),
            None => None,
        };
        let mine = match &to {
            Some(to) => tx.standing(&to.id, me).await? == Some(Membership::Owner),
            None => row.account.as_ref() == Some(me),
        };
        if !mine {
            return Err(unknown_proposal());
        }
        let project = tx.locked_project(id).await?.ok_or_else(void)?;
        let key = format(project.ecosystem).name_key(&project.key)?;
        let critical = tx
            .curated_project(project.ecosystem, key.as_str())
            .await?
            .is_some_and(|project| project.critical.is_some());
        let needed = if critical {
            Level::Phishproof
        } else {
            Level::TwoFactor
        };
        if actor.level().is_none_or(|level| level < needed) {
            return Err(Error::new(
                Kind::Denied,
                "second-factor-needed",
                "To take a project over you must have signed in with a second factor, or for a critical one with a passkey.",
            )
            .remedy("Add one at the account's security page, sign in with it, and accept again."));
        }
        if now < row.ripe {
            return Err(too_early(row.ripe));
        }
        if !tx.roles_of(id, &row.by).await?.has(Role::Owner) {
            return Err(void());
        }
        if !tx.close_proposal(&row.id, Some(me), true, now).await? {
            return Err(unknown_proposal());
        }
        let target = row
            .account_name
            .clone()
            .or(row.organisation_name.clone())
            .unwrap_or_default();
        let data = [("project", project.name.as_str()), ("target", &target)];
        self.notify_owners(tx, id, None, NoticeKind::TransferDone, &data)
            .await?;
        let before = tx.all_roles(Some(id), None).await?;
        tx.end_all_grants(id, now).await?;
        tx.stop_proposals(id, now).await?;
        match &to {
            Some(to) => {
                let namespace = tx
                    .namespace_over(project.ecosystem, &project.key, None)
                    .await?
                    .filter(|namespace| namespace.organisation_id == to.id)
                    .map(|namespace| namespace.id);
                tx.grant_organisation(&new_id(), id, &to.id, namespace.as_deref(), now)
                    .await?;
            }
            None => {
                tx.insert_grant(&new_id(), id, me, Role::Owner, now).await?;
            }
        }
        let after = tx.all_roles(Some(id), None).await?;
        if after.iter().all(|(_, _, roles)| !roles.has(Role::Owner)) {
            return Err(void());
        }
        self.note_proposal(tx, actor, "transferred", row).await?;
        self.record_roles(tx, actor, &before, &after).await
    }

    async fn tell_of_proposal(
        &self,
        tx: &mut Tx,
        actor: &Actor,
        row: &ProposalRow,
        project: &ProjectId,
        name: &str,
        kind: NoticeKind,
    ) -> Result<()> {
        let until = row.ripe.rfc3339();
        let target = row
            .account_name
            .as_deref()
            .or(row.organisation_name.as_deref())
            .unwrap_or_default();
        let data = [
            ("who", actor.name()),
            ("target", target),
            ("project", name),
            ("until", &until),
        ];
        self.notify_owners(tx, project, None, kind, &data).await?;
        // Whoever would get it is told too; who is to go is an owner and was told.
        if row.kind == ProposalKind::Transfer {
            let mut others = Vec::from_iter(row.account.clone());
            if let Some(to) = &row.organisation {
                others.extend(tx.heads(to).await?);
            }
            let owners = tx.owner_accounts(project).await?;
            for other in others.iter().filter(|other| !owners.contains(other)) {
                self.notify(tx, other, kind, &data, None).await?;
            }
        }
        Ok(())
    }

    async fn note_proposal(
        &self,
        tx: &mut Tx,
        actor: &Actor,
        kind: &str,
        row: &ProposalRow,
    ) -> Result<()> {
        let detail = json!({
            "proposal": row.id, "project": row.project, "about": row.about, "to": row.organisation,
        });
        tx.note_event(
            &new_id(),
            self.now(),
            kind,
            actor,
            row.account.as_ref(),
            detail,
        )
        .await
    }
}

fn last_owner(user: &str, of: &str) -> Error {
    Error::new(
        Kind::Rejected,
        "last-owner",
        format!("{user} is the last owner of {of}."),
    )
    .remedy("Make somebody else an owner first.")
}

/// To who has nothing to do with a request, it is not there.
fn hidden(error: Error) -> Error {
    match error.code.as_ref() {
        "role-missing" | "membership-missing" | "project-unknown" => unknown_proposal(),
        _ => error,
    }
}
