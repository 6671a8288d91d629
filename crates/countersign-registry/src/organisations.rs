//! Organisations: members, teams, invitations, namespaces. What takes two persons is in `proposals`.
//!
//! An owner of an organisation owns its projects; everybody else in it has what the teams have. The view
//! `effective_roles` is the one place that says who has which role, so that nothing is left behind when an edge goes.

mod proposals;

use std::collections::BTreeMap;

use countersign_formats::{Ecosystem, format};
use countersign_trust::token::{Token, TokenKind};
use serde::Serialize;
use serde_json::{Value, json};

pub use self::proposals::{Proposal, Wish};
use crate::Registry;
use crate::accounts::{Owned, new_id, user_key};
use crate::error::{Error, Kind, Result};
use crate::model::{
    AccountId, Actor, Identity, Level, Membership, OrganisationId, ProjectId, Role, Roles, TeamId,
    Time,
};
use crate::policy::{self, Act, On};
use crate::store::{
    InvitationRow, OrganisationRow, OwnedProject, Seen, TeamRow, Tx, WRITE_CONFLICT,
};
use crate::texts::{Data, MailKind, NoticeKind};

/// How long an invitation holds, in seconds.
const INVITED_FOR: i64 = 7 * 86_400;

/// Invitations that one organisation gives within a day.
const INVITED_A_DAY: u64 = 100;

/// Organisations that one account may own. A bound against floods, not against use.
const OWNED_AT_MOST: i64 = 50;

/// An organisation in a list.
#[derive(Clone, Debug, Serialize)]
pub struct OrganisationSummary {
    /// Its name, in the one name space of users and organisations.
    pub name: String,
    /// Its name for people.
    pub display_name: String,
    /// When it was made.
    pub created: Time,
    /// The caller's standing in it.
    pub standing: Option<Membership>,
}

/// An organisation as its members see it.
#[derive(Clone, Debug, Serialize)]
pub struct OrganisationDetail {
    /// The organisation.
    pub organisation: OrganisationSummary,
    /// Who is in it, owners first.
    pub members: Vec<Member>,
    /// Its teams.
    pub teams: Vec<Team>,
    /// Its projects.
    pub projects: Vec<ProjectName>,
    /// Its namespaces.
    pub namespaces: Vec<Namespace>,
    /// Open invitations.
    pub invitations: Vec<Invitation>,
    /// Open requests for the removal of an owner.
    pub proposals: Vec<Proposal>,
}

/// A member.
#[derive(Clone, Debug, Serialize)]
pub struct Member {
    /// User name.
    pub user: String,
    /// Standing.
    pub standing: Membership,
    /// Since when.
    pub since: Time,
}

/// A team.
#[derive(Clone, Debug, Serialize)]
pub struct Team {
    /// Its name.
    pub name: String,
    /// User names of who is in it.
    pub members: Vec<String>,
    /// Its roles.
    pub roles: Vec<TeamRole>,
}

/// A role of a team.
#[derive(Clone, Debug, Serialize)]
pub struct TeamRole {
    /// The ecosystem.
    pub ecosystem: Ecosystem,
    /// A project's name, or a namespace's prefix.
    pub on: String,
    /// True for a namespace.
    pub namespace: bool,
    /// The role.
    pub role: Role,
}

/// A team with a role on a project.
#[derive(Clone, Debug, Serialize)]
pub struct TeamOn {
    /// The organisation that owns the project.
    pub organisation: String,
    /// The team.
    pub team: String,
    /// Its role.
    pub role: Role,
}

/// A project by its name.
#[derive(Clone, Debug, Serialize)]
pub struct ProjectName {
    /// The ecosystem.
    pub ecosystem: Ecosystem,
    /// Its name as written.
    pub name: String,
    /// The caller's roles, where they were asked for.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub roles: Vec<Role>,
}

/// A namespace of an organisation: a name and all that begin with it and `-`.
#[derive(Clone, Debug, Serialize)]
pub struct Namespace {
    /// The ecosystem.
    pub ecosystem: Ecosystem,
    /// The prefix.
    pub prefix: String,
    /// Since when.
    pub since: Option<Time>,
}

/// An invitation.
#[derive(Clone, Debug, Serialize)]
pub struct Invitation {
    /// Its id.
    pub id: String,
    /// The organisation's name.
    pub organisation: String,
    /// Who is invited.
    pub user: String,
    /// As what.
    pub standing: Membership,
    /// By whom; `None`: by the operator.
    pub by: Option<String>,
    /// When.
    pub created: Time,
    /// Until when it holds.
    pub expires: Time,
}

fn invitation_view(row: InvitationRow) -> Invitation {
    Invitation {
        id: row.id,
        organisation: row.organisation_name,
        user: row.account_name,
        standing: row.standing,
        by: row.by,
        created: row.created,
        expires: row.expires,
    }
}

fn unknown_organisation(name: &str) -> Error {
    let shown: String = name.chars().take(80).collect();
    Error::new(
        Kind::NotFound,
        "organisation-unknown",
        format!("There is no organisation {shown:?} here."),
    )
    .remedy("Check its name.")
}

fn unknown_team(name: &str) -> Error {
    let shown: String = name.chars().take(80).collect();
    Error::new(
        Kind::NotFound,
        "team-unknown",
        format!("The organisation has no team {shown:?}."),
    )
    .remedy("Look at the organisation's page for its teams.")
}

fn unknown_invitation() -> Error {
    Error::new(
        Kind::NotFound,
        "invitation-unknown",
        "This invitation is not for you, was used, was taken back, or is over.",
    )
    .remedy("Ask for another one.")
}

fn not_member(user: &str, organisation: &str) -> Error {
    Error::new(
        Kind::NotFound,
        "member-unknown",
        format!("{user} is no member of {organisation}."),
    )
    .remedy("Invite them first.")
}

/// Only what it says to people; names of projects and persons have their own rules.
fn display_name(text: &str) -> Result<String> {
    let text = text.trim();
    if text.is_empty() || text.len() > 100 || text.chars().any(char::is_control) {
        return Err(Error::new(
            Kind::Rejected,
            "organisation-name",
            "The name for people is one line of 1 to 100 bytes.",
        )
        .remedy("Shorten it."));
    }
    Ok(text.to_owned())
}

/// The least that changes who may make whom what: appointing and removing owners and managers is the owners' alone.
fn appointing(before: Option<Membership>, after: Option<Membership>) -> Act {
    let plain = |standing: Option<Membership>| {
        standing.is_none_or(|standing| standing == Membership::Member)
    };
    if plain(before) && plain(after) {
        Act::ManageMembers
    } else {
        Act::ManageManagers
    }
}

impl Registry {
    /// Makes an organisation; the caller, or for the operator the named user, is its first owner.
    ///
    /// # Errors
    /// `session-needed`, `step-up-needed`, `user-name`, `name-taken`, `organisation-name`, `too-many-organisations`,
    /// `user-unknown`.
    pub async fn create_organisation(
        &self,
        actor: &Actor,
        name: &str,
        display: &str,
        owner: Option<&str>,
    ) -> Result<OrganisationSummary> {
        let now = self.now();
        policy::may(Act::CreateOrganisation, actor, On::Own, now)?;
        let owner = match (owner, &actor.identity) {
            (Some(owner), _) => {
                policy::may_operate(actor, "make organisations for others")?;
                self.account(owner).await?
            }
            (None, Identity::Account { id, .. }) => id.clone(),
            (None, _) => {
                return Err(Error::new(
                    Kind::Rejected,
                    "owner-needed",
                    "Somebody must own the organisation.",
                )
                .remedy("Name a user as its owner."));
            }
        };
        let key = user_key(name)?;
        let row = OrganisationRow {
            id: OrganisationId(new_id()),
            name: name.to_owned(),
            display: display_name(display)?,
            created: now,
        };
        let taken = || {
            Error::new(
                Kind::Conflict,
                "name-taken",
                format!("A user or an organisation has the name {name} already, or had it once."),
            )
            .remedy("Choose another name.")
        };
        let mut tx = self.inner.store.write().await?;
        tx.lock_name(&key).await?;
        let retired = tx.name_is_retired(&key).await?;
        if retired || tx.is_account_name(&key).await? || tx.is_organisation_name(&key).await? {
            return Err(taken());
        }
        if !policy::operates(actor) && tx.owned_organisations(&owner).await? >= OWNED_AT_MOST {
            return Err(Error::new(
                Kind::Limited,
                "too-many-organisations",
                format!("An account owns up to {OWNED_AT_MOST} organisations."),
            )
            .remedy("Remove one that is no longer used, or ask the operator of this registry."));
        }
        tx.insert_organisation(&row, &key).await.map_err(|error| {
            if error.code == WRITE_CONFLICT {
                taken()
            } else {
                error
            }
        })?;
        tx.set_standing(&row.id, &owner, Some(Membership::Owner), now)
            .await?;
        self.note_organisation(
            &mut tx,
            actor,
            "organisation-made",
            &row,
            Some(&owner),
            json!({}),
        )
        .await?;
        tx.commit().await?;
        Ok(OrganisationSummary {
            name: row.name,
            display_name: row.display,
            created: row.created,
            standing: Some(Membership::Owner),
        })
    }

    /// Ends an organisation that owns no project. Its name stays taken.
    ///
    /// # Errors
    /// `organisation-unknown`, `membership-missing`, `organisation-owns-projects`.
    pub async fn remove_organisation(&self, actor: &Actor, name: &str) -> Result<()> {
        let now = self.now();
        let mut tx = self.inner.store.write().await?;
        let row = self
            .organisation_for_change(&mut tx, actor, name, Act::RemoveOrganisation)
            .await?;
        if !self
            .inner
            .store
            .organisation_projects(&row.id, &Seen::All)
            .await?
            .is_empty()
        {
            return Err(Error::new(
                Kind::Conflict,
                "organisation-owns-projects",
                format!("{} owns projects still.", row.name),
            )
            .remedy("Transfer or delete them first."));
        }
        tx.remove_organisation(&row.id, now).await?;
        self.note_organisation(
            &mut tx,
            actor,
            "organisation-removed",
            &row,
            None,
            json!({}),
        )
        .await?;
        tx.commit().await
    }

    /// The caller's organisations; all of them for the operator.
    ///
    /// # Errors
    /// `token-action`, `account-needed`.
    pub async fn organisations(&self, actor: &Actor) -> Result<Vec<OrganisationSummary>> {
        policy::may(Act::SeeTokens, actor, On::Own, self.now())?;
        let account = match &actor.identity {
            Identity::Account { id, .. } if !policy::operates(actor) => Some(id),
            _ => {
                policy::may_operate(actor, "list all organisations")?;
                None
            }
        };
        let rows = self.inner.store.organisations(account).await?;
        Ok(rows
            .into_iter()
            .map(|(row, standing)| OrganisationSummary {
                name: row.name,
                display_name: row.display,
                created: row.created,
                standing,
            })
            .collect())
    }

    /// The projects on which the caller has a role, by whatever way.
    ///
    /// # Errors
    /// `token-action`, `account-needed`.
    pub async fn own_projects(&self, actor: &Actor) -> Result<Vec<ProjectName>> {
        policy::may(Act::SeeTokens, actor, On::Own, self.now())?;
        let Identity::Account { id, .. } = &actor.identity else {
            return Ok(Vec::new());
        };
        let rows = self.inner.store.projects_of(id).await?;
        Ok(rows
            .into_iter()
            .map(|(project, roles)| ProjectName {
                ecosystem: project.ecosystem,
                name: project.name,
                roles: roles.iter().collect(),
            })
            .collect())
    }

    /// An organisation as its members see it.
    ///
    /// # Errors
    /// `organisation-unknown`, `membership-missing`.
    pub async fn organisation(&self, actor: &Actor, name: &str) -> Result<OrganisationDetail> {
        let now = self.now();
        let (row, standing) = {
            let mut tx = self.inner.store.write().await?;
            let row = self
                .organisation_for_change(&mut tx, actor, name, Act::SeeOrganisation)
                .await?;
            let standing = self.standing_of(&mut tx, actor, &row.id).await?;
            (row, standing)
        };
        let store = &self.inner.store;
        let insiders = store.team_members(&row.id).await?;
        // A member without a role on a private project does not see it here either.
        let seen = self.seen().await?;
        let grants = store.team_grants(&row.id, &seen).await?;
        let teams = store
            .teams(&row.id)
            .await?
            .into_iter()
            .map(|team| Team {
                members: insiders
                    .iter()
                    .filter(|(id, _)| *id == team.id)
                    .map(|(_, user)| user.clone())
                    .collect(),
                roles: grants
                    .iter()
                    .filter(|grant| grant.team == team.id)
                    .map(|grant| TeamRole {
                        ecosystem: grant.ecosystem,
                        on: grant.name.clone(),
                        namespace: grant.namespace,
                        role: grant.role,
                    })
                    .collect(),
                name: team.name,
            })
            .collect();
        let members = store
            .members(&row.id)
            .await?
            .into_iter()
            .map(|member| Member {
                user: member.name,
                standing: member.standing,
                since: member.since,
            });
        let projects = store.organisation_projects(&row.id, &seen).await?;
        let projects = projects.into_iter();
        let namespaces = store.namespaces(Some(&row.id)).await?.into_iter();
        let invitations = store.invitations(None, Some(&row.id), now).await?;
        let proposals = store.proposals(None, Some(&row.id), now).await?;
        Ok(OrganisationDetail {
            members: members.collect(),
            teams,
            projects: projects
                .map(|project| ProjectName {
                    ecosystem: project.ecosystem,
                    name: project.name,
                    roles: Vec::new(),
                })
                .collect(),
            namespaces: namespaces
                .map(|namespace| Namespace {
                    ecosystem: namespace.ecosystem,
                    prefix: namespace.key,
                    since: namespace.reserved,
                })
                .collect(),
            invitations: invitations.into_iter().map(invitation_view).collect(),
            proposals: proposals
                .into_iter()
                .map(|proposal| proposals::view(proposal, row.name.clone()))
                .collect(),
            organisation: OrganisationSummary {
                name: row.name,
                display_name: row.display,
                created: row.created,
                standing,
            },
        })
    }

    /// Invites a user. The answer's secret is good once, for a week, and for that user alone.
    ///
    /// # Errors
    /// `organisation-unknown`, `membership-missing` (only owners invite owners and managers), `step-up-needed`,
    /// `user-unknown`, `member-exists`.
    pub async fn invite(
        &self,
        actor: &Actor,
        organisation: &str,
        user: &str,
        standing: Membership,
    ) -> Result<(String, Invitation)> {
        let now = self.now();
        let account = self.account(user).await;
        let secret = Token::from_random(TokenKind::Staged, self.inner.seams.random.bytes32());
        let mut tx = self.inner.store.write().await?;
        let row = self
            .organisation_for_change(
                &mut tx,
                actor,
                organisation,
                appointing(None, Some(standing)),
            )
            .await?;
        let account = account?;
        if tx.standing(&row.id, &account).await?.is_some() {
            return Err(Error::new(
                Kind::Conflict,
                "member-exists",
                format!("{user} is a member of {} already.", row.name),
            )
            .remedy("Change their standing instead."));
        }
        let by = match &actor.identity {
            Identity::Account { id, name } => Some((id, name.clone())),
            _ => None,
        };
        let invitation = InvitationRow {
            id: new_id(),
            organisation: row.id.clone(),
            organisation_name: row.name.clone(),
            account: account.clone(),
            account_name: user.to_owned(),
            standing,
            by: by.as_ref().map(|(_, name)| name.clone()),
            created: now,
            expires: now.plus_seconds(INVITED_FOR),
            accepted: None,
            ended: None,
        };
        let recent = now.plus_seconds(-86_400);
        let (to_them, by_us) = tx.invitations_since(&row.id, &account, recent).await?;
        if by_us >= INVITED_A_DAY {
            return Err(Error::new(
                Kind::Limited,
                "too-many-invitations",
                format!("{} invited {by_us} times within a day.", row.name),
            )
            .remedy("Go on tomorrow."));
        }
        tx.insert_invitation(&invitation, secret.hash(), by.as_ref().map(|(id, _)| *id))
            .await?;
        let detail = json!({"invitation": invitation.id, "standing": standing});
        self.note_organisation(&mut tx, actor, "invited", &row, Some(&account), detail)
            .await?;
        // Inviting somebody again makes a new secret, not another mail: nobody floods anybody's mailbox this way.
        if to_them == 0 {
            // The mail's own link leads to the invitation by its id; the secret is the inviter's to hand over.
            let data: Data = [
                ("who", actor.name()),
                ("role", standing.as_str()),
                ("organisation", &row.name),
            ]
            .into_iter()
            .map(|(name, value)| (name.to_owned(), value.to_owned()))
            .collect();
            self.notify_by(
                &mut tx,
                &account,
                NoticeKind::InvitationReceived,
                &data,
                None,
                (MailKind::Invitation, &invitation.id),
            )
            .await?;
        }
        tx.commit().await?;
        Ok((secret.reveal(), invitation_view(invitation)))
    }

    /// The caller's open invitations.
    ///
    /// # Errors
    /// `session-needed`.
    pub async fn invitations(&self, actor: &Actor) -> Result<Vec<Invitation>> {
        policy::may(Act::SeeTokens, actor, On::Own, self.now())?;
        let Identity::Account { id, .. } = &actor.identity else {
            return Ok(Vec::new());
        };
        let rows = self
            .inner
            .store
            .invitations(Some(id), None, self.now())
            .await?;
        Ok(rows.into_iter().map(invitation_view).collect())
    }

    /// What an invitation to the caller would make them, by its secret, by the link that was mailed, or by its id.
    ///
    /// # Errors
    /// `session-needed`, `invitation-unknown`, also for the invitations of others.
    pub async fn invitation(&self, actor: &Actor, which: &str) -> Result<Invitation> {
        policy::may(Act::SeeTokens, actor, On::Own, self.now())?;
        let Identity::Account { id: account, .. } = &actor.identity else {
            return Err(unknown_invitation());
        };
        let found = self.inner.store.invitation(&lookup(which)).await?;
        found
            .filter(|row| {
                row.account == *account
                    && row.accepted.is_none()
                    && row.ended.is_none()
                    && row.expires > self.now()
            })
            .map(invitation_view)
            .ok_or_else(unknown_invitation)
    }

    /// Accepts an invitation by its secret, by the link that was mailed, or one of the caller's own by its id. It takes a
    /// second factor.
    ///
    /// # Errors
    /// `session-needed`, `step-up-needed`, `second-factor-needed`, `invitation-unknown`.
    pub async fn accept_invitation(
        &self,
        actor: &Actor,
        secret: &str,
    ) -> Result<OrganisationSummary> {
        let now = self.now();
        let account = self.may_answer(actor, now)?;
        if actor.level().is_none_or(|level| level < Level::TwoFactor) {
            return Err(Error::new(
                Kind::Denied,
                "second-factor-needed",
                "Members of organisations sign in with a second factor or a passkey.",
            )
            .remedy("Add one at the account's security page, sign in with it, and accept again."));
        }
        let mut tx = self.inner.store.write().await?;
        let invitation = self.own_invitation(&mut tx, &account, secret).await?;
        let key = tx
            .organisation_key(&invitation.organisation)
            .await?
            .ok_or_else(unknown_invitation)?;
        let row = tx
            .locked_organisation(&key)
            .await?
            .ok_or_else(unknown_invitation)?;
        if !tx.end_invitation(&invitation.id, true, now).await? {
            return Err(unknown_invitation());
        }
        tx.end_mail_secrets(MailKind::Invitation, &invitation.id)
            .await?;
        let before = tx.all_roles(None, Some(&row.id)).await?;
        tx.set_standing(&row.id, &account, Some(invitation.standing), now)
            .await?;
        let after = tx.all_roles(None, Some(&row.id)).await?;
        let detail = json!({"invitation": invitation.id, "standing": invitation.standing});
        self.note_organisation(&mut tx, actor, "joined", &row, Some(&account), detail)
            .await?;
        let told = Some(invitation.standing);
        self.tell_of_standing(&mut tx, &row, (&account, actor.name()), told)
            .await?;
        self.record_roles(&mut tx, actor, &before, &after).await?;
        tx.commit().await?;
        self.inner.beat.wake();
        Ok(OrganisationSummary {
            name: row.name,
            display_name: row.display,
            created: row.created,
            standing: Some(invitation.standing),
        })
    }

    /// Declines an invitation of one's own, or takes one back as an owner or manager of the organisation.
    ///
    /// # Errors
    /// `session-needed`, `invitation-unknown`.
    pub async fn end_invitation(&self, actor: &Actor, which: &str) -> Result<()> {
        let now = self.now();
        let mut tx = self.inner.store.write().await?;
        let found = tx.invitation(&lookup(which)).await?;
        let Some(invitation) = found else {
            return Err(unknown_invitation());
        };
        let invited =
            matches!(&actor.identity, Identity::Account { id, .. } if *id == invitation.account);
        let key = tx
            .organisation_key(&invitation.organisation)
            .await?
            .ok_or_else(unknown_invitation)?;
        let row = if invited {
            self.may_answer(actor, now)?;
            tx.locked_organisation(&key).await?
        } else {
            // Who may not change members does not learn from this which invitations there are.
            self.organisation_for_change(&mut tx, actor, &key, Act::ManageMembers)
                .await
                .map_err(|error| match error.code.as_ref() {
                    "membership-missing" => unknown_invitation(),
                    _ => error,
                })
                .map(Some)?
        };
        let Some(row) = row else {
            return Err(unknown_invitation());
        };
        if !tx.end_invitation(&invitation.id, false, now).await? {
            return Err(unknown_invitation());
        }
        tx.end_mail_secrets(MailKind::Invitation, &invitation.id)
            .await?;
        let detail = json!({"invitation": invitation.id});
        self.note_organisation(
            &mut tx,
            actor,
            "invitation-ended",
            &row,
            Some(&invitation.account),
            detail,
        )
        .await?;
        tx.commit().await
    }

    /// Changes a member's standing; with none they go, and their teams' roles with them. Anybody may leave. The last
    /// owner stays, and the last one with a passkey takes a second person ([`Registry::propose`]).
    ///
    /// # Errors
    /// `organisation-unknown`, `membership-missing`, `step-up-needed`, `member-unknown`, `last-owner`,
    /// `second-person-needed`.
    pub async fn set_standing(
        &self,
        actor: &Actor,
        organisation: &str,
        user: &str,
        standing: Option<Membership>,
    ) -> Result<()> {
        let now = self.now();
        let account = self.account(user).await;
        let own = matches!((&actor.identity, &account), (Identity::Account { id, .. }, Ok(account)) if id == account);
        let mut tx = self.inner.store.write().await?;
        let key = user_key(organisation)?;
        let Some(row) = tx.locked_organisation(&key).await? else {
            return Err(unknown_organisation(organisation));
        };
        let before = match &account {
            Ok(account) => tx.standing(&row.id, account).await?,
            Err(_) => None,
        };
        let act = if own && standing.is_none() {
            Act::LeaveOrganisation
        } else {
            appointing(before, standing)
        };
        self.may_in(&mut tx, actor, &row, act).await?;
        let account = account?;
        if before.is_none() {
            return Err(not_member(user, &row.name));
        }
        if before == standing {
            return Ok(());
        }
        let heads = tx.heads(&row.id).await?;
        let headed_since = tx.head_since(&row.id, &account).await?;
        let roles_before = tx.all_roles(None, Some(&row.id)).await?;
        // Whoever takes this back has to know them.
        let teams = match standing {
            None => tx.teams_with(&row.id, &account).await?,
            Some(_) => Vec::new(),
        };
        tx.set_standing(&row.id, &account, standing, now).await?;
        if before == Some(Membership::Owner) {
            let owned = Owned::Organisation(&row.id, &row.name);
            self.owners_remain(
                &mut tx,
                actor,
                owned,
                &heads,
                (&account, user, headed_since),
            )
            .await?;
        }
        // Who may no longer invite leaves no invitation behind.
        tx.end_invitations_by(&row.id, &account, now).await?;
        let roles_after = tx.all_roles(None, Some(&row.id)).await?;
        let detail = json!({"before": before, "after": standing, "teams": teams});
        self.note_organisation(
            &mut tx,
            actor,
            "standing-changed",
            &row,
            Some(&account),
            detail,
        )
        .await?;
        self.tell_of_standing(&mut tx, &row, (&account, user), standing)
            .await?;
        self.record_roles(&mut tx, actor, &roles_before, &roles_after)
            .await?;
        tx.commit().await?;
        self.inner.beat.wake();
        Ok(())
    }

    /// Puts somebody back whom another one removed: the same standing, in those of the teams that are still there. For operators, who
    /// take back what somebody did in another's name; nobody else is made a member without a yes.
    ///
    /// # Errors
    /// `operator-needed`, `organisation-unknown`, `user-unknown`.
    pub async fn restore_member(
        &self,
        actor: &Actor,
        organisation: &str,
        user: &str,
        standing: Membership,
        teams: &[TeamId],
    ) -> Result<()> {
        policy::may_operate(actor, "put a member back")?;
        let account = self.account(user).await?;
        let now = self.now();
        let mut tx = self.inner.store.write().await?;
        let Some(row) = tx.locked_organisation(&user_key(organisation)?).await? else {
            return Err(unknown_organisation(organisation));
        };
        if tx.standing(&row.id, &account).await?.is_some() {
            return Ok(());
        }
        let before = tx.all_roles(None, Some(&row.id)).await?;
        tx.set_standing(&row.id, &account, Some(standing), now)
            .await?;
        let there = self.inner.store.teams(&row.id).await?;
        for team in there.iter().filter(|team| teams.contains(&team.id)) {
            tx.set_team_member(&team.id, &account, true, now).await?;
        }
        let after = tx.all_roles(None, Some(&row.id)).await?;
        let detail = json!({"before": null, "after": standing, "teams": teams, "how": "restored"});
        let kind = "standing-changed";
        self.note_organisation(&mut tx, actor, kind, &row, Some(&account), detail)
            .await?;
        self.tell_of_standing(&mut tx, &row, (&account, user), Some(standing))
            .await?;
        self.record_roles(&mut tx, actor, &before, &after).await?;
        tx.commit().await?;
        self.inner.beat.wake();
        Ok(())
    }

    /// Makes a team.
    ///
    /// # Errors
    /// `organisation-unknown`, `membership-missing`, `step-up-needed`, `user-name`, `name-taken`.
    pub async fn create_team(&self, actor: &Actor, organisation: &str, team: &str) -> Result<()> {
        let key = user_key(team)?;
        let now = self.now();
        let mut tx = self.inner.store.write().await?;
        let row = self
            .organisation_for_change(&mut tx, actor, organisation, Act::ManageTeams)
            .await?;
        if tx.team(&row.id, &key).await?.is_some() {
            return Err(Error::new(
                Kind::Conflict,
                "name-taken",
                format!("{} has a team {team} already.", row.name),
            )
            .remedy("Choose another name."));
        }
        let made = TeamRow {
            id: TeamId(new_id()),
            name: team.to_owned(),
        };
        tx.insert_team(&row.id, &made, &key, now).await?;
        self.note_organisation(
            &mut tx,
            actor,
            "team-made",
            &row,
            None,
            json!({"team": made.id}),
        )
        .await?;
        tx.commit().await
    }

    /// Ends a team with all its roles.
    ///
    /// # Errors
    /// `organisation-unknown`, `membership-missing`, `step-up-needed`, `team-unknown`.
    pub async fn remove_team(&self, actor: &Actor, organisation: &str, team: &str) -> Result<()> {
        let now = self.now();
        let mut tx = self.inner.store.write().await?;
        let row = self
            .organisation_for_change(&mut tx, actor, organisation, Act::ManageTeams)
            .await?;
        let team = self.team_of(&mut tx, &row, team).await?;
        let before = tx.all_roles(None, Some(&row.id)).await?;
        tx.remove_team(&team.id, now).await?;
        self.note_organisation(
            &mut tx,
            actor,
            "team-removed",
            &row,
            None,
            json!({"team": team.id}),
        )
        .await?;
        self.settle_roles(&mut tx, actor, &row.id, None, &before)
            .await?;
        tx.commit().await?;
        self.inner.beat.wake();
        Ok(())
    }

    /// Puts a member into a team, or takes them out.
    ///
    /// # Errors
    /// `organisation-unknown`, `membership-missing`, `step-up-needed`, `team-unknown`, `member-unknown`.
    pub async fn set_team_member(
        &self,
        actor: &Actor,
        organisation: &str,
        team: &str,
        user: &str,
        inside: bool,
    ) -> Result<()> {
        let now = self.now();
        let account = self.account(user).await;
        let mut tx = self.inner.store.write().await?;
        let row = self
            .organisation_for_change(&mut tx, actor, organisation, Act::ManageTeams)
            .await?;
        let team = self.team_of(&mut tx, &row, team).await?;
        let account = account?;
        if tx.standing(&row.id, &account).await?.is_none() {
            return Err(not_member(user, &row.name));
        }
        let before = tx.all_roles(None, Some(&row.id)).await?;
        if !tx.set_team_member(&team.id, &account, inside, now).await? {
            return Ok(());
        }
        let detail = json!({"team": team.id, "inside": inside});
        self.note_organisation(
            &mut tx,
            actor,
            "team-member-changed",
            &row,
            Some(&account),
            detail,
        )
        .await?;
        self.settle_roles(&mut tx, actor, &row.id, None, &before)
            .await?;
        tx.commit().await?;
        self.inner.beat.wake();
        Ok(())
    }

    /// The teams with a role on a project.
    ///
    /// # Errors
    /// `project-unknown`; a refused name.
    pub async fn teams_on(&self, ecosystem: Ecosystem, project: &str) -> Result<Vec<TeamOn>> {
        let key = format(ecosystem).name_key(project)?;
        let (state, _) = self
            .shown_project(ecosystem, key.as_str())
            .await?
            .ok_or_else(|| crate::fetch::unknown_project(project))?;
        let rows = self.inner.store.teams_on(&state.id).await?;
        Ok(rows
            .into_iter()
            .map(|(organisation, team, role)| TeamOn {
                organisation,
                team,
                role,
            })
            .collect())
    }

    /// [`Registry::set_team_role`] for a team that is named with its organisation.
    ///
    /// # Errors
    /// The same; `project-elsewhere` where another organisation owns the project.
    pub async fn set_role_of_team(
        &self,
        actor: &Actor,
        ecosystem: Ecosystem,
        project: &str,
        organisation: &str,
        team: &str,
        role: Option<Role>,
    ) -> Result<()> {
        self.change_team_role(actor, ecosystem, project, Some(organisation), team, role)
            .await
    }

    /// Gives a team of the organisation that owns a project a role on it, or takes it away.
    ///
    /// # Errors
    /// `project-unknown`, `role-missing`, `step-up-needed`, `team-owner`, `organisation-unknown`, `project-elsewhere`,
    /// `team-unknown`.
    pub async fn set_team_role(
        &self,
        actor: &Actor,
        ecosystem: Ecosystem,
        project: &str,
        team: &str,
        role: Option<Role>,
    ) -> Result<()> {
        self.change_team_role(actor, ecosystem, project, None, team, role)
            .await
    }

    async fn change_team_role(
        &self,
        actor: &Actor,
        ecosystem: Ecosystem,
        project: &str,
        named: Option<&str>,
        team: &str,
        role: Option<Role>,
    ) -> Result<()> {
        let key = format(ecosystem).name_key(project)?;
        let now = self.now();
        let mut tx = self.inner.store.write().await?;
        let project = self
            .project_for_change(&mut tx, actor, ecosystem, &key, Act::ManageRoles)
            .await?;
        team_may_have(role)?;
        let Some(organisation) = tx.owning_organisation(&project.id).await? else {
            return Err(Error::new(
                Kind::Rejected,
                "project-elsewhere",
                format!("No organisation owns {}, so it has no teams.", project.name),
            )
            .remedy("Transfer the project to the organisation first."));
        };
        let owner = tx
            .organisation_key(&organisation)
            .await?
            .ok_or_else(|| unknown_organisation(&organisation.0))?;
        if let Some(named) = named
            && user_key(named)? != owner
        {
            return Err(Error::new(
                Kind::Rejected,
                "project-elsewhere",
                format!("{} is not owned by the organisation {named}.", project.name),
            )
            .remedy(format!(
                "Only teams of {owner}, which owns it, can have a role on it."
            )));
        }
        let team = tx
            .team(&organisation, &user_key(team)?)
            .await?
            .ok_or_else(|| unknown_team(team))?;
        tracing::debug!(organisation = owner, "a team's role changes");
        let before = tx.all_roles(Some(&project.id), None).await?;
        tx.grant_team(&new_id(), &team.id, Some(&project.id), None, role, now)
            .await?;
        let detail = json!({"team": team.id, "project": project.id, "role": role});
        tx.note_event(&new_id(), now, "team-role-changed", actor, None, detail)
            .await?;
        self.settle_roles(&mut tx, actor, &organisation, Some(&project.id), &before)
            .await?;
        tx.commit().await?;
        self.inner.beat.wake();
        Ok(())
    }

    /// Gives a team a role on a namespace of its organisation, or takes it away.
    ///
    /// # Errors
    /// `organisation-unknown`, `membership-missing`, `step-up-needed`, `team-owner`, `team-unknown`,
    /// `namespace-unknown`.
    pub async fn set_namespace_role(
        &self,
        actor: &Actor,
        organisation: &str,
        ecosystem: Ecosystem,
        prefix: &str,
        team: &str,
        role: Option<Role>,
    ) -> Result<()> {
        let key = format(ecosystem).namespace_key(prefix)?;
        let now = self.now();
        let mut tx = self.inner.store.write().await?;
        let row = self
            .organisation_for_change(&mut tx, actor, organisation, Act::ManageNamespaces)
            .await?;
        team_may_have(role)?;
        let team = self.team_of(&mut tx, &row, team).await?;
        let namespace = tx.namespace(ecosystem, key.as_str()).await?;
        let Some(namespace) =
            namespace.filter(|namespace| namespace.organisation.as_ref() == Some(&row.id))
        else {
            return Err(Error::new(
                Kind::NotFound,
                "namespace-unknown",
                format!("{} has no namespace {key}.", row.name),
            )
            .remedy("Ask the operator of this registry to reserve it."));
        };
        let before = tx.all_roles(None, Some(&row.id)).await?;
        tx.grant_team(&new_id(), &team.id, None, Some(&namespace.id), role, now)
            .await?;
        let detail = json!({"team": team.id, "namespace": namespace.id, "role": role});
        self.note_organisation(&mut tx, actor, "team-role-changed", &row, None, detail)
            .await?;
        self.settle_roles(&mut tx, actor, &row.id, None, &before)
            .await?;
        tx.commit().await?;
        self.inner.beat.wake();
        Ok(())
    }

    /// Reserves a name, and all that begin with it and `-` (or a scope of npm, `@name`, and all in it), for an organisation; or frees it (`None`). Projects that are
    /// there already stay whose they are.
    ///
    /// # Errors
    /// `operator-needed`, `organisation-unknown`, `namespace-taken`, a refused name.
    pub async fn reserve_namespace(
        &self,
        actor: &Actor,
        ecosystem: Ecosystem,
        prefix: &str,
        organisation: Option<&str>,
    ) -> Result<()> {
        policy::may_operate(actor, "reserve namespaces")?;
        let key = format(ecosystem).namespace_key(prefix)?;
        let now = self.now();
        let mut tx = self.inner.store.write().await?;
        let there = tx.namespace(ecosystem, key.as_str()).await?;
        let holder = there.as_ref().and_then(|row| row.organisation.clone());
        let row = match organisation {
            None => None,
            Some(name) => Some(
                tx.locked_organisation(&user_key(name)?)
                    .await?
                    .ok_or_else(|| unknown_organisation(name))?,
            ),
        };
        if let (Some(row), Some(holder)) = (&row, &holder)
            && row.id != *holder
        {
            return Err(Error::new(
                Kind::Conflict,
                "namespace-taken",
                format!("The namespace {key} belongs to another organisation."),
            )
            .remedy("Free it first."));
        }
        let about = row.as_ref().map(|row| row.id.clone()).or(holder);
        let before = tx.all_roles(None, about.as_ref()).await?;
        let id = there.map_or_else(new_id, |row| row.id);
        tx.set_namespace(
            &id,
            ecosystem,
            key.as_str(),
            row.as_ref().map(|row| &row.id),
            now,
        )
        .await?;
        let after = tx.all_roles(None, about.as_ref()).await?;
        let detail = json!({"namespace": id, "organisation": row.map(|row| row.id)});
        tx.note_event(&new_id(), now, "namespace-changed", actor, None, detail)
            .await?;
        if let Some(about) = &about {
            self.tell_of_roles(&mut tx, about, &before, &after).await?;
        }
        self.record_roles(&mut tx, actor, &before, &after).await?;
        tx.commit().await?;
        self.inner.beat.wake();
        Ok(())
    }

    /// Every reserved namespace, with its organisation's name.
    ///
    /// # Errors
    /// `operator-needed`.
    pub async fn namespaces(&self, actor: &Actor) -> Result<Vec<Namespace>> {
        policy::may_operate(actor, "list all namespaces")?;
        let rows = self.inner.store.namespaces(None).await?;
        Ok(rows
            .into_iter()
            .map(|row| Namespace {
                ecosystem: row.ecosystem,
                prefix: row.key,
                since: row.reserved,
            })
            .collect())
    }

    /// The organisation, locked with its projects, if this caller may do this to it.
    async fn organisation_for_change(
        &self,
        tx: &mut Tx,
        actor: &Actor,
        name: &str,
        act: Act,
    ) -> Result<OrganisationRow> {
        let Some(row) = tx.locked_organisation(&user_key(name)?).await? else {
            return Err(unknown_organisation(name));
        };
        self.may_in(tx, actor, &row, act).await?;
        Ok(row)
    }

    async fn may_in(
        &self,
        tx: &mut Tx,
        actor: &Actor,
        row: &OrganisationRow,
        act: Act,
    ) -> Result<()> {
        self.in_good_standing(tx, actor, act, &row.name).await?;
        let on = On::Organisation {
            name: &row.name,
            standing: self.standing_of(tx, actor, &row.id).await?,
        };
        policy::may(act, actor, on, self.now())?;
        // Looking and leaving are never made to wait.
        let free = [Act::LeaveOrganisation, Act::SeeOrganisation];
        if free.contains(&act) {
            return Ok(());
        }
        self.nothing_stops(tx, actor, None, Some(&row.id)).await
    }

    async fn standing_of(
        &self,
        tx: &mut Tx,
        actor: &Actor,
        organisation: &OrganisationId,
    ) -> Result<Option<Membership>> {
        match &actor.identity {
            Identity::Account { id, .. } => tx.standing(organisation, id).await,
            _ => Ok(None),
        }
    }

    async fn team_of(&self, tx: &mut Tx, row: &OrganisationRow, team: &str) -> Result<TeamRow> {
        tx.team(&row.id, &user_key(team)?)
            .await?
            .ok_or_else(|| unknown_team(team))
    }

    fn may_answer(&self, actor: &Actor, now: Time) -> Result<AccountId> {
        policy::may(Act::AnswerInvitation, actor, On::Own, now)?;
        match &actor.identity {
            Identity::Account { id, .. } => Ok(id.clone()),
            _ => Err(unknown_invitation()),
        }
    }

    /// An open invitation of this account, by secret or id; to everybody else it is not there.
    async fn own_invitation(
        &self,
        tx: &mut Tx,
        account: &AccountId,
        which: &str,
    ) -> Result<InvitationRow> {
        let found = tx.invitation(&lookup(which)).await?;
        found
            .filter(|invitation| {
                invitation.account == *account
                    && invitation.accepted.is_none()
                    && invitation.ended.is_none()
            })
            .ok_or_else(unknown_invitation)
    }

    /// Tells and records whose roles are other ones now than `before`: on one project, or on all of the organisation's.
    async fn settle_roles(
        &self,
        tx: &mut Tx,
        actor: &Actor,
        organisation: &OrganisationId,
        project: Option<&ProjectId>,
        before: &[(OwnedProject, AccountId, Roles)],
    ) -> Result<()> {
        let whole = project.is_none().then_some(organisation);
        let after = tx.all_roles(project, whole).await?;
        self.tell_of_roles(tx, organisation, before, &after).await?;
        self.record_roles(tx, actor, before, &after).await
    }

    /// Tells those whose roles on projects changed through teams, and the organisation's owners: one notice for each
    /// person, however many projects it is.
    async fn tell_of_roles(
        &self,
        tx: &mut Tx,
        organisation: &OrganisationId,
        before: &[(OwnedProject, AccountId, Roles)],
        after: &[(OwnedProject, AccountId, Roles)],
    ) -> Result<()> {
        let mut changed: BTreeMap<(&AccountId, &str), (&str, Roles, Roles)> = BTreeMap::new();
        for (project, account, roles) in before {
            changed.insert(
                (account, &project.id.0),
                (&project.name, *roles, Roles::NONE),
            );
        }
        for (project, account, roles) in after {
            changed
                .entry((account, &project.id.0))
                .or_insert((&project.name, Roles::NONE, Roles::NONE))
                .2 = *roles;
        }
        let mut people: BTreeMap<&AccountId, Vec<(&str, Roles, Roles)>> = BTreeMap::new();
        for ((account, _), change) in changed {
            if change.1 != change.2 {
                people.entry(account).or_default().push(change);
            }
        }
        let words = |roles: Roles| match roles.is_empty() {
            true => "nothing".to_owned(),
            false => roles
                .iter()
                .map(Role::as_str)
                .collect::<Vec<_>>()
                .join(", "),
        };
        let heads = tx.heads(organisation).await?;
        for (account, changes) in people {
            let Some((first, was, is)) = changes.first() else {
                continue;
            };
            let projects = match changes.len() {
                1 => (*first).to_owned(),
                count => format!("{first} and {} more", count - 1),
            };
            let user = tx.account_name(account).await?.unwrap_or_default();
            let (kind, role) = match is.is_empty() {
                true => (NoticeKind::RoleTaken, words(*was)),
                false => (NoticeKind::RoleGiven, words(*is)),
            };
            let data = [("role", role.as_str()), ("project", &projects)];
            self.notify(tx, account, kind, &data, None).await?;
            let (was, is) = (words(*was), words(*is));
            let data = [
                ("who", user.as_str()),
                ("before", &was),
                ("after", &is),
                ("project", &projects),
            ];
            for head in heads.iter().filter(|head| *head != account) {
                self.notify(tx, head, NoticeKind::PeopleChanged, &data, None)
                    .await?;
            }
        }
        Ok(())
    }

    /// Takes an account out of everything that it has a part in, as its own act: leaves, notices and the rule on last
    /// owners are those of leaving each by itself.
    ///
    /// # Errors
    /// `last-owner`, `second-person-needed`.
    pub(crate) async fn leave_everything(
        &self,
        tx: &mut Tx,
        actor: &Actor,
        (account, user): (&AccountId, &str),
    ) -> Result<()> {
        let now = self.now();
        // Organisations first, then projects: the order in which everybody locks them.
        let mut organisations = Vec::new();
        for id in tx.organisations_of(account).await? {
            let row = self.locked_by_id(tx, &id).await?;
            let (heads, since) = (tx.heads(&id).await?, tx.head_since(&id, account).await?);
            organisations.push((row, heads, since));
        }
        let mut projects = Vec::new();
        for id in tx.projects_of(account).await? {
            let Some(project) = tx.locked_project(&id).await? else {
                continue;
            };
            let roles = tx.all_roles(Some(&id), None).await?;
            let owners = tx.owner_accounts(&id).await?;
            let since = tx.owner_since(&id, account).await?;
            projects.push((project, roles, owners, since));
        }
        for (row, _, _) in &organisations {
            tx.set_standing(&row.id, account, None, now).await?;
            tx.end_invitations_by(&row.id, account, now).await?;
        }
        for (project, _, _, _) in &projects {
            tx.end_grants(&project.id, account, now).await?;
        }
        for (row, heads, since) in &organisations {
            let left = tx.heads(&row.id).await?;
            if heads.contains(account) {
                let owned = Owned::Organisation(&row.id, &row.name);
                self.owners_remain(tx, actor, owned, heads, (account, user, *since))
                    .await?;
            }
            let detail = json!({"after": null});
            self.note_organisation(tx, actor, "standing-changed", row, Some(account), detail)
                .await?;
            let data = [("who", user), ("organisation", row.name.as_str())];
            for head in &left {
                self.notify(tx, head, NoticeKind::OrganisationLeft, &data, None)
                    .await?;
            }
        }
        for (project, before, owners, since) in &projects {
            if owners.contains(account) {
                let owned = Owned::Project(&project.id, &project.name);
                self.owners_remain(tx, actor, owned, owners, (account, user, *since))
                    .await?;
            }
            let after = tx.all_roles(Some(&project.id), None).await?;
            let data = [
                ("who", user),
                ("before", "a role"),
                ("after", "nothing, the account was erased"),
                ("project", &project.name),
            ];
            self.notify_owners(
                tx,
                &project.id,
                Some(account),
                NoticeKind::PeopleChanged,
                &data,
            )
            .await?;
            self.record_roles(tx, actor, before, &after).await?;
        }
        Ok(())
    }

    async fn tell_of_standing(
        &self,
        tx: &mut Tx,
        row: &OrganisationRow,
        (account, user): (&AccountId, &str),
        standing: Option<Membership>,
    ) -> Result<()> {
        let kind = match standing {
            Some(_) => NoticeKind::OrganisationJoined,
            None => NoticeKind::OrganisationLeft,
        };
        let data = [
            ("who", user),
            ("role", standing.map_or("", Membership::as_str)),
            ("organisation", &row.name),
        ];
        let mut told = tx.heads(&row.id).await?;
        if !told.contains(account) {
            told.push(account.clone());
        }
        for account in &told {
            self.notify(tx, account, kind, &data, None).await?;
        }
        Ok(())
    }

    /// Writes an event about an organisation. It gets no leaf: what it changes on projects has leaves of its own.
    async fn note_organisation(
        &self,
        tx: &mut Tx,
        actor: &Actor,
        kind: &str,
        row: &OrganisationRow,
        account: Option<&AccountId>,
        mut detail: Value,
    ) -> Result<()> {
        detail["organisation"] = json!(row.id);
        tx.note_event(&new_id(), self.now(), kind, actor, account, detail)
            .await
    }
}

/// Under what an invitation is looked for: the hash of a secret, or its id.
fn lookup(which: &str) -> String {
    Token::parse(which.trim()).map_or_else(
        |_| which.trim().to_owned(),
        |token| token.hash().to_string(),
    )
}

/// Teams never hold the role of an owner: their managers would become owners by it.
fn team_may_have(role: Option<Role>) -> Result<()> {
    if role != Some(Role::Owner) {
        return Ok(());
    }
    Err(Error::new(
        Kind::Rejected,
        "team-owner",
        "A team can not be an owner; the owners of its organisation are.",
    )
    .remedy("Give it the role maintainer, publisher or security."))
}
