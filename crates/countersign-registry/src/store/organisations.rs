//! Organisations, teams, namespaces, invitations, proposals, approvals.

use countersign_formats::Ecosystem;
use countersign_trust::digest::Sha256;
use sqlx::any::AnyRow;

use super::publishing::NamespaceFacts;
use super::{
    Backend, Seen, Store, Tx, built, failed, maybe_text, maybe_time, number, text, time, unsigned,
};
use crate::error::{Error, Result};
use crate::model::{AccountId, Membership, OrganisationId, ProjectId, Role, Roles, TeamId, Time};

/// An organisation.
#[derive(Clone, Debug)]
pub struct OrganisationRow {
    /// Its id.
    pub id: OrganisationId,
    /// Its name.
    pub name: String,
    /// Its name for people.
    pub display: String,
    /// When it was made.
    pub created: Time,
}

/// A member of an organisation.
#[derive(Clone, Debug)]
pub struct MemberRow {
    /// The user name.
    pub name: String,
    /// The standing.
    pub standing: Membership,
    /// Since when.
    pub since: Time,
}

/// A team.
#[derive(Clone, Debug)]
pub struct TeamRow {
    /// Its id.
    pub id: TeamId,
    /// Its name.
    pub name: String,
}

/// A role that a team has, on a project or a namespace.
#[derive(Clone, Debug)]
pub struct TeamGrantRow {
    /// The team.
    pub team: TeamId,
    /// The ecosystem.
    pub ecosystem: Ecosystem,
    /// The project's name or the namespace's prefix.
    pub name: String,
    /// True for a namespace.
    pub namespace: bool,
    /// The role.
    pub role: Role,
}

/// A project that an organisation owns, or on which somebody has roles.
#[derive(Clone, Debug)]
pub struct OwnedProject {
    /// Its id.
    pub id: ProjectId,
    /// The ecosystem.
    pub ecosystem: Ecosystem,
    /// Its name as written.
    pub name: String,
    /// Its key.
    pub key: String,
}

/// A namespace.
#[derive(Clone, Debug)]
pub struct NamespaceRow {
    /// Its id.
    pub id: String,
    /// The ecosystem.
    pub ecosystem: Ecosystem,
    /// The prefix.
    pub key: String,
    /// Whose it is.
    pub organisation: Option<OrganisationId>,
    /// Since when.
    pub reserved: Option<Time>,
}

/// An invitation.
#[derive(Clone, Debug)]
pub struct InvitationRow {
    /// Its id.
    pub id: String,
    /// The organisation.
    pub organisation: OrganisationId,
    /// Its name.
    pub organisation_name: String,
    /// Who is invited.
    pub account: AccountId,
    /// The user name.
    pub account_name: String,
    /// As what.
    pub standing: Membership,
    /// By whom.
    pub by: Option<String>,
    /// When.
    pub created: Time,
    /// Until when.
    pub expires: Time,
    /// When accepted.
    pub accepted: Option<Time>,
    /// When declined or taken back.
    pub ended: Option<Time>,
}

/// What a proposal wants.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ProposalKind {
    /// An owner is to go, though no strong one remains.
    RemoveOwner,
    /// A project is to go to somebody else.
    Transfer,
}

impl ProposalKind {
    fn as_str(self) -> &'static str {
        match self {
            Self::RemoveOwner => "remove-owner",
            Self::Transfer => "transfer",
        }
    }
}

impl std::str::FromStr for ProposalKind {
    type Err = String;

    fn from_str(text: &str) -> std::result::Result<Self, String> {
        match text {
            "remove-owner" => Ok(Self::RemoveOwner),
            "transfer" => Ok(Self::Transfer),
            other => Err(format!("{other:?} is no kind of proposal")),
        }
    }
}

/// A proposal.
#[derive(Clone, Debug)]
pub struct ProposalRow {
    /// Its id.
    pub id: String,
    /// What it wants.
    pub kind: ProposalKind,
    /// About this project,
    pub project: Option<ProjectId>,
    /// or about this organisation.
    pub about: Option<OrganisationId>,
    /// Who goes, or gets it.
    pub account: Option<AccountId>,
    /// The user name.
    pub account_name: Option<String>,
    /// The organisation that gets it.
    pub organisation: Option<OrganisationId>,
    /// Its name.
    pub organisation_name: Option<String>,
    /// Who asked for it.
    pub by: AccountId,
    /// The user name.
    pub by_name: String,
    /// When.
    pub created: Time,
    /// From when the waiting is over.
    pub ripe: Time,
    /// Until when it holds.
    pub expires: Time,
    /// When it was done.
    pub confirmed: Option<Time>,
    /// When it was stopped.
    pub cancelled: Option<Time>,
}

/// An approval.
#[derive(Clone, Debug)]
pub struct ApprovalRow {
    /// Its id.
    pub id: String,
    /// What people type to find it.
    pub code: String,
    /// Whose.
    pub account: AccountId,
    /// The act's word.
    pub act: String,
    /// On what.
    pub purl: String,
    /// Its SHA-256, or empty.
    pub digest: String,
    /// Hint or kind of the credential that asked.
    pub asked_by: String,
    /// When asked.
    pub created: Time,
    /// Until when it can be answered.
    pub expires: Time,
    /// Until when it can be used, once granted.
    pub granted_until: Option<Time>,
    /// When refused.
    pub refused: Option<Time>,
    /// When used.
    pub used: Option<Time>,
}

const INVITATION: &str = "SELECT i.id, i.organisation_id, o.name AS organisation_name, i.account_id, a.name AS account_name, i.role, \
     b.name AS by_name, i.created_at, i.expires_at, i.accepted_at, i.ended_at FROM invitations i \
     JOIN organisations o ON o.id = i.organisation_id JOIN accounts a ON a.id = i.account_id \
     LEFT JOIN accounts b ON b.id = i.invited_by";

const WHICH_INVITATION: &str = "(i.secret_hash = $1 OR i.id = $1 OR i.id IN \
     (SELECT subject FROM mail_secrets WHERE purpose = 'invitation' AND secret_hash = $1)) AND o.removed_at IS NULL";

const PROPOSAL: &str = "SELECT q.id, q.kind, q.project_id, q.for_organisation_id, q.account_id, a.name AS account_name, q.organisation_id, \
     o.name AS organisation_name, q.by_account_id, b.name AS by_name, q.created_at, q.ripe_at, q.expires_at, q.confirmed_at, q.cancelled_at \
     FROM proposals q JOIN accounts b ON b.id = q.by_account_id LEFT JOIN accounts a ON a.id = q.account_id \
     LEFT JOIN organisations o ON o.id = q.organisation_id";

const APPROVAL: &str = "SELECT id, code, account_id, act, purl, digest, asked_by, created_at, expires_at, granted_until, refused_at, used_at \
     FROM approvals";

fn ecosystem(row: &AnyRow) -> Result<Ecosystem> {
    text(row, "ecosystem")?
        .parse()
        .map_err(|_| Error::internal("a stored ecosystem is unknown", "ecosystem"))
}

fn organisation(row: &AnyRow) -> Result<OrganisationRow> {
    Ok(OrganisationRow {
        id: OrganisationId(text(row, "id")?),
        name: text(row, "name")?,
        display: text(row, "display_name")?,
        created: time(row, "created_at")?,
    })
}

fn owned_project(row: &AnyRow) -> Result<OwnedProject> {
    Ok(OwnedProject {
        id: ProjectId(text(row, "id")?),
        ecosystem: ecosystem(row)?,
        name: text(row, "name")?,
        key: text(row, "key")?,
    })
}

fn namespace(row: &AnyRow) -> Result<NamespaceRow> {
    Ok(NamespaceRow {
        id: text(row, "id")?,
        ecosystem: ecosystem(row)?,
        key: text(row, "key")?,
        organisation: maybe_text(row, "organisation_id")?.map(OrganisationId),
        reserved: maybe_time(row, "reserved_at")?,
    })
}

fn invitation(row: &AnyRow) -> Result<InvitationRow> {
    Ok(InvitationRow {
        id: text(row, "id")?,
        organisation: OrganisationId(text(row, "organisation_id")?),
        organisation_name: text(row, "organisation_name")?,
        account: AccountId(text(row, "account_id")?),
        account_name: text(row, "account_name")?,
        standing: super::parsed(row, "role")?,
        by: maybe_text(row, "by_name")?,
        created: time(row, "created_at")?,
        expires: time(row, "expires_at")?,
        accepted: maybe_time(row, "accepted_at")?,
        ended: maybe_time(row, "ended_at")?,
    })
}

fn proposal(row: &AnyRow) -> Result<ProposalRow> {
    Ok(ProposalRow {
        id: text(row, "id")?,
        kind: super::parsed(row, "kind")?,
        project: maybe_text(row, "project_id")?.map(ProjectId),
        about: maybe_text(row, "for_organisation_id")?.map(OrganisationId),
        account: maybe_text(row, "account_id")?.map(AccountId),
        account_name: maybe_text(row, "account_name")?,
        organisation: maybe_text(row, "organisation_id")?.map(OrganisationId),
        organisation_name: maybe_text(row, "organisation_name")?,
        by: AccountId(text(row, "by_account_id")?),
        by_name: text(row, "by_name")?,
        created: time(row, "created_at")?,
        ripe: time(row, "ripe_at")?,
        expires: time(row, "expires_at")?,
        confirmed: maybe_time(row, "confirmed_at")?,
        cancelled: maybe_time(row, "cancelled_at")?,
    })
}

fn approval(row: &AnyRow) -> Result<ApprovalRow> {
    Ok(ApprovalRow {
        id: text(row, "id")?,
        code: text(row, "code")?,
        account: AccountId(text(row, "account_id")?),
        act: text(row, "act")?,
        purl: text(row, "purl")?,
        digest: text(row, "digest")?,
        asked_by: text(row, "asked_by")?,
        created: time(row, "created_at")?,
        expires: time(row, "expires_at")?,
        granted_until: maybe_time(row, "granted_until")?,
        refused: maybe_time(row, "refused_at")?,
        used: maybe_time(row, "used_at")?,
    })
}

impl Store {
    /// The organisation of this name, unless it was removed.
    pub(crate) async fn organisation(&self, key: &str) -> Result<Option<OrganisationRow>> {
        let row = sqlx::query("SELECT id, name, display_name, created_at FROM organisations WHERE name_key = $1 AND removed_at IS NULL")
            .bind(key.to_owned())
            .fetch_optional(&self.read)
            .await
            .map_err(failed)?;
        row.as_ref().map(organisation).transpose()
    }

    /// The organisations of an account with its standing; of nobody in particular: all of them.
    pub(crate) async fn organisations(
        &self,
        account: Option<&AccountId>,
    ) -> Result<Vec<(OrganisationRow, Option<Membership>)>> {
        let rows = sqlx::query(
            "SELECT o.id, o.name, o.display_name, o.created_at, m.role FROM organisations o \
             LEFT JOIN organisation_members m ON m.organisation_id = o.id AND m.account_id = $1 \
             WHERE o.removed_at IS NULL AND ($1 = '' OR m.role IS NOT NULL) ORDER BY o.name_key",
        )
        .bind(account.map_or("", |id| id.0.as_str()).to_owned())
        .fetch_all(&self.read)
        .await
        .map_err(failed)?;
        rows.iter()
            .map(|row| {
                let standing = match maybe_text(row, "role")? {
                    Some(_) => Some(super::parsed(row, "role")?),
                    None => None,
                };
                Ok((organisation(row)?, standing))
            })
            .collect()
    }

    /// The members of an organisation, owners first.
    pub(crate) async fn members(&self, organisation: &OrganisationId) -> Result<Vec<MemberRow>> {
        let rows = sqlx::query(
            "SELECT a.name, m.role, m.since FROM organisation_members m JOIN accounts a ON a.id = m.account_id \
             WHERE m.organisation_id = $1 ORDER BY CASE m.role WHEN 'owner' THEN 0 WHEN 'manager' THEN 1 ELSE 2 END, a.name_key",
        )
        .bind(organisation.0.clone())
        .fetch_all(&self.read)
        .await
        .map_err(failed)?;
        rows.iter()
            .map(|row| {
                Ok(MemberRow {
                    name: text(row, "name")?,
                    standing: super::parsed(row, "role")?,
                    since: time(row, "since")?,
                })
            })
            .collect()
    }

    /// The teams of an organisation.
    pub(crate) async fn teams(&self, organisation: &OrganisationId) -> Result<Vec<TeamRow>> {
        let rows = sqlx::query("SELECT id, name FROM teams WHERE organisation_id = $1 AND removed_at IS NULL ORDER BY name_key")
            .bind(organisation.0.clone())
            .fetch_all(&self.read)
            .await
            .map_err(failed)?;
        rows.iter()
            .map(|row| {
                Ok(TeamRow {
                    id: TeamId(text(row, "id")?),
                    name: text(row, "name")?,
                })
            })
            .collect()
    }

    /// Who is in the teams of an organisation: team and user name.
    pub(crate) async fn team_members(
        &self,
        organisation: &OrganisationId,
    ) -> Result<Vec<(TeamId, String)>> {
        let rows = sqlx::query(
            "SELECT m.team_id, a.name FROM team_members m JOIN teams t ON t.id = m.team_id AND t.removed_at IS NULL \
             JOIN accounts a ON a.id = m.account_id WHERE t.organisation_id = $1 ORDER BY a.name_key",
        )
        .bind(organisation.0.clone())
        .fetch_all(&self.read)
        .await
        .map_err(failed)?;
        rows.iter()
            .map(|row| Ok((TeamId(text(row, "team_id")?), text(row, "name")?)))
            .collect()
    }

    /// The teams with a role on a project: the organisation that owns it, the team, the role.
    pub(crate) async fn teams_on(
        &self,
        project: &ProjectId,
    ) -> Result<Vec<(String, String, Role)>> {
        let rows = sqlx::query(
            "SELECT o.name AS organisation, t.name AS team, g.role FROM grants g \
             JOIN teams t ON t.id = g.team_id AND t.removed_at IS NULL \
             JOIN organisations o ON o.id = t.organisation_id AND o.removed_at IS NULL \
             JOIN grants w ON w.project_id = g.project_id AND w.organisation_id = o.id AND w.ended_at IS NULL \
             WHERE g.project_id = $1 AND g.ended_at IS NULL ORDER BY o.name, t.name",
        )
        .bind(project.0.clone())
        .fetch_all(&self.read)
        .await
        .map_err(failed)?;
        rows.iter()
            .map(|row| {
                Ok((
                    text(row, "organisation")?,
                    text(row, "team")?,
                    super::parsed(row, "role")?,
                ))
            })
            .collect()
    }

    /// What the teams of an organisation may do, where it still is theirs.
    pub(crate) async fn team_grants(
        &self,
        organisation: &OrganisationId,
        seen: &Seen,
    ) -> Result<Vec<TeamGrantRow>> {
        let rows = sqlx::query(super::built(format!(
            "SELECT g.team_id, p.ecosystem, p.name, g.role, 'project' AS over FROM grants g JOIN teams t ON t.id = g.team_id AND t.removed_at IS NULL \
             JOIN projects p ON p.id = g.project_id AND p.removed_at IS NULL WHERE t.organisation_id = $1 AND g.ended_at IS NULL AND {} \
             UNION ALL \
             SELECT g.team_id, n.ecosystem, n.key AS name, g.role, 'namespace' AS over FROM grants g JOIN teams t ON t.id = g.team_id AND t.removed_at IS NULL \
             JOIN namespaces n ON n.id = g.namespace_id AND n.organisation_id = t.organisation_id WHERE t.organisation_id = $1 AND g.ended_at IS NULL",
            seen.condition("p.", 2)
        )))
        .bind(organisation.0.clone());
        let rows = seen
            .bind(rows)
            .fetch_all(&self.read)
            .await
            .map_err(failed)?;
        rows.iter()
            .map(|row| {
                Ok(TeamGrantRow {
                    team: TeamId(text(row, "team_id")?),
                    ecosystem: ecosystem(row)?,
                    name: text(row, "name")?,
                    namespace: text(row, "over")? == "namespace",
                    role: super::parsed(row, "role")?,
                })
            })
            .collect()
    }

    /// The projects that an organisation owns.
    pub(crate) async fn organisation_projects(
        &self,
        organisation: &OrganisationId,
        seen: &Seen,
    ) -> Result<Vec<OwnedProject>> {
        let rows = sqlx::query(super::built(format!(
            "SELECT p.id, p.ecosystem, p.name, p.key FROM grants g JOIN projects p ON p.id = g.project_id \
             WHERE g.organisation_id = $1 AND g.ended_at IS NULL AND p.removed_at IS NULL AND {} ORDER BY p.ecosystem, p.key",
            seen.condition("p.", 2)
        )))
        .bind(organisation.0.clone());
        let rows = seen
            .bind(rows)
            .fetch_all(&self.read)
            .await
            .map_err(failed)?;
        rows.iter().map(owned_project).collect()
    }

    /// The projects on which an account has roles, by whatever way.
    pub(crate) async fn projects_of(
        &self,
        account: &AccountId,
    ) -> Result<Vec<(OwnedProject, Roles)>> {
        let rows = sqlx::query(
            "SELECT DISTINCT p.id, p.ecosystem, p.name, p.key, e.role FROM effective_roles e JOIN projects p ON p.id = e.project_id \
             WHERE e.account_id = $1 AND p.removed_at IS NULL ORDER BY p.ecosystem, p.key, p.id",
        )
        .bind(account.0.clone())
        .fetch_all(&self.read)
        .await
        .map_err(failed)?;
        let mut projects: Vec<(OwnedProject, Roles)> = Vec::new();
        for row in &rows {
            let (project, role) = (owned_project(row)?, super::parsed::<Role>(row, "role")?);
            match projects
                .last_mut()
                .filter(|(last, _)| last.id == project.id)
            {
                Some((_, roles)) => *roles = roles.with(role),
                None => projects.push((project, Roles::NONE.with(role))),
            }
        }
        Ok(projects)
    }

    /// The namespaces of an organisation, or all of them.
    pub(crate) async fn namespaces(
        &self,
        organisation: Option<&OrganisationId>,
    ) -> Result<Vec<NamespaceRow>> {
        let rows = sqlx::query(
            "SELECT id, ecosystem, key, organisation_id, reserved_at FROM namespaces \
             WHERE organisation_id IS NOT NULL AND ($1 = '' OR organisation_id = $1) ORDER BY ecosystem, key",
        )
        .bind(organisation.map_or("", |id| id.0.as_str()).to_owned())
        .fetch_all(&self.read)
        .await
        .map_err(failed)?;
        rows.iter().map(namespace).collect()
    }

    /// An invitation by the hash of its secret, by that of a link that was mailed for it, or by its id.
    pub(crate) async fn invitation(&self, which: &str) -> Result<Option<InvitationRow>> {
        let row = sqlx::query(built(format!("{INVITATION} WHERE {WHICH_INVITATION}")))
            .bind(which.to_owned())
            .fetch_optional(&self.read)
            .await
            .map_err(failed)?;
        row.as_ref().map(invitation).transpose()
    }

    /// The open invitations of an account, or to an organisation.
    pub(crate) async fn invitations(
        &self,
        account: Option<&AccountId>,
        organisation: Option<&OrganisationId>,
        now: Time,
    ) -> Result<Vec<InvitationRow>> {
        let rows = sqlx::query(built(format!(
            "{INVITATION} WHERE ($1 = '' OR i.account_id = $1) AND ($2 = '' OR i.organisation_id = $2) \
             AND i.accepted_at IS NULL AND i.ended_at IS NULL AND i.expires_at > $3 AND o.removed_at IS NULL ORDER BY i.id"
        )))
        .bind(account.map_or("", |id| id.0.as_str()).to_owned())
        .bind(organisation.map_or("", |id| id.0.as_str()).to_owned())
        .bind(now.0)
        .fetch_all(&self.read)
        .await
        .map_err(failed)?;
        rows.iter().map(invitation).collect()
    }

    /// The open proposals about a project or an organisation.
    pub(crate) async fn proposals(
        &self,
        project: Option<&ProjectId>,
        about: Option<&OrganisationId>,
        now: Time,
    ) -> Result<Vec<ProposalRow>> {
        let rows = sqlx::query(built(format!(
            "{PROPOSAL} WHERE (q.project_id = $1 OR q.for_organisation_id = $2) \
             AND q.confirmed_at IS NULL AND q.cancelled_at IS NULL AND q.expires_at > $3 ORDER BY q.id"
        )))
        .bind(project.map_or("", |id| id.0.as_str()).to_owned())
        .bind(about.map_or("", |id| id.0.as_str()).to_owned())
        .bind(now.0)
        .fetch_all(&self.read)
        .await
        .map_err(failed)?;
        rows.iter().map(proposal).collect()
    }

    /// The open transfers to an account, or to an organisation that it owns.
    pub(crate) async fn proposals_to(
        &self,
        account: &AccountId,
        now: Time,
    ) -> Result<Vec<ProposalRow>> {
        let rows = sqlx::query(built(format!(
            "{PROPOSAL} WHERE q.kind = 'transfer' AND (q.account_id = $1 OR q.organisation_id IN \
             (SELECT m.organisation_id FROM organisation_members m WHERE m.account_id = $1 AND m.role = 'owner')) \
             AND q.confirmed_at IS NULL AND q.cancelled_at IS NULL AND q.expires_at > $2 ORDER BY q.id"
        )))
        .bind(account.0.clone())
        .bind(now.0)
        .fetch_all(&self.read)
        .await
        .map_err(failed)?;
        rows.iter().map(proposal).collect()
    }

    /// The approvals of an account that were asked for since, newest first.
    pub(crate) async fn approvals(
        &self,
        account: &AccountId,
        since: Time,
    ) -> Result<Vec<ApprovalRow>> {
        let rows = sqlx::query(built(format!(
            "{APPROVAL} WHERE account_id = $1 AND created_at >= $2 ORDER BY id DESC"
        )))
        .bind(account.0.clone())
        .bind(since.0)
        .fetch_all(&self.read)
        .await
        .map_err(failed)?;
        rows.iter().map(approval).collect()
    }

    /// An approval by its id or its code.
    pub(crate) async fn approval(&self, which: &str) -> Result<Option<ApprovalRow>> {
        let row = sqlx::query(built(format!("{APPROVAL} WHERE id = $1 OR code = $1")))
            .bind(which.to_owned())
            .fetch_optional(&self.read)
            .await
            .map_err(failed)?;
        row.as_ref().map(approval).transpose()
    }
}

impl Tx {
    /// Locks a name that users and organisations share until the transaction ends; SQLite's one writer has it anyway.
    pub(crate) async fn lock_name(&mut self, key: &str) -> Result<()> {
        if self.backend == Backend::Postgres {
            sqlx::query("SELECT 1 AS n FROM (SELECT pg_advisory_xact_lock(hashtext($1))) AS held")
                .bind(format!("name/{key}"))
                .fetch_one(&mut *self.inner)
                .await
                .map_err(failed)?;
        }
        Ok(())
    }

    /// True where an organisation has, or had, this name.
    pub(crate) async fn is_organisation_name(&mut self, key: &str) -> Result<bool> {
        let row = sqlx::query("SELECT count(*) AS n FROM organisations WHERE name_key = $1")
            .bind(key.to_owned())
            .fetch_one(&mut *self.inner)
            .await
            .map_err(failed)?;
        Ok(number(&row, "n")? > 0)
    }

    /// True where an account has this name, or somebody signs up with it.
    pub(crate) async fn is_account_name(&mut self, key: &str) -> Result<bool> {
        let row = sqlx::query(
            "SELECT (SELECT count(*) FROM accounts WHERE name_key = $1) + (SELECT count(*) FROM sign_ups WHERE name_key = $1) AS n",
        )
            .bind(key.to_owned())
            .fetch_one(&mut *self.inner)
            .await
            .map_err(failed)?;
        Ok(number(&row, "n")? > 0)
    }

    /// Stores an organisation.
    pub(crate) async fn insert_organisation(
        &mut self,
        row: &OrganisationRow,
        key: &str,
    ) -> Result<()> {
        sqlx::query("INSERT INTO organisations (id, name, name_key, display_name, created_at) VALUES ($1, $2, $3, $4, $5)")
            .bind(row.id.0.clone())
            .bind(row.name.clone())
            .bind(key.to_owned())
            .bind(row.display.clone())
            .bind(row.created.0)
            .execute(&mut *self.inner)
            .await
            .map_err(failed)?;
        Ok(())
    }

    /// The organisation of this name, locked with all its projects until the transaction ends: who changes who is in
    /// it, and who acts on one of its projects, stand one behind the other.
    pub(crate) async fn locked_organisation(
        &mut self,
        key: &str,
    ) -> Result<Option<OrganisationRow>> {
        let lock = match self.backend {
            Backend::Sqlite => "",
            Backend::Postgres => " FOR UPDATE",
        };
        let row = sqlx::query(built(format!(
            "SELECT id, name, display_name, created_at FROM organisations WHERE name_key = $1 AND removed_at IS NULL{lock}"
        )))
        .bind(key.to_owned())
        .fetch_optional(&mut *self.inner)
        .await
        .map_err(failed)?;
        let Some(row) = row.as_ref().map(organisation).transpose()? else {
            return Ok(None);
        };
        if self.backend == Backend::Postgres {
            sqlx::query(
                "SELECT p.id FROM projects p WHERE p.id IN (SELECT g.project_id FROM grants g WHERE g.organisation_id = $1 AND g.ended_at IS NULL) \
                 ORDER BY p.id FOR UPDATE",
            )
            .bind(row.id.0.clone())
            .fetch_all(&mut *self.inner)
            .await
            .map_err(failed)?;
        }
        Ok(Some(row))
    }

    /// The name key of an organisation by its id.
    pub(crate) async fn organisation_key(&mut self, id: &OrganisationId) -> Result<Option<String>> {
        let row =
            sqlx::query("SELECT name_key FROM organisations WHERE id = $1 AND removed_at IS NULL")
                .bind(id.0.clone())
                .fetch_optional(&mut *self.inner)
                .await
                .map_err(failed)?;
        row.map(|row| text(&row, "name_key")).transpose()
    }

    /// Ends an organisation: its name stays taken.
    pub(crate) async fn remove_organisation(
        &mut self,
        id: &OrganisationId,
        now: Time,
    ) -> Result<()> {
        for statement in [
            "UPDATE organisations SET removed_at = $2 WHERE id = $1 AND removed_at IS NULL",
            "UPDATE teams SET removed_at = $2 WHERE organisation_id = $1 AND removed_at IS NULL",
            "UPDATE namespaces SET organisation_id = NULL, reserved_at = NULL WHERE organisation_id = $1 AND $2 > 0",
            "UPDATE invitations SET ended_at = $2 WHERE organisation_id = $1 AND accepted_at IS NULL AND ended_at IS NULL",
            "DELETE FROM organisation_members WHERE organisation_id = $1 AND $2 > 0",
        ] {
            sqlx::query(statement)
                .bind(id.0.clone())
                .bind(now.0)
                .execute(&mut *self.inner)
                .await
                .map_err(failed)?;
        }
        Ok(())
    }

    /// An account's standing in an organisation.
    pub(crate) async fn standing(
        &mut self,
        organisation: &OrganisationId,
        account: &AccountId,
    ) -> Result<Option<Membership>> {
        let row = sqlx::query(
            "SELECT role FROM organisation_members WHERE organisation_id = $1 AND account_id = $2",
        )
        .bind(organisation.0.clone())
        .bind(account.0.clone())
        .fetch_optional(&mut *self.inner)
        .await
        .map_err(failed)?;
        row.map(|row| super::parsed(&row, "role")).transpose()
    }

    /// The owners of an organisation whose accounts are not disabled.
    pub(crate) async fn heads(&mut self, organisation: &OrganisationId) -> Result<Vec<AccountId>> {
        let rows = sqlx::query(
            "SELECT m.account_id FROM organisation_members m JOIN accounts a ON a.id = m.account_id \
             WHERE m.organisation_id = $1 AND m.role = 'owner' AND a.disabled_at IS NULL ORDER BY m.account_id",
        )
        .bind(organisation.0.clone())
        .fetch_all(&mut *self.inner)
        .await
        .map_err(failed)?;
        rows.iter()
            .map(|row| text(row, "account_id").map(AccountId))
            .collect()
    }

    /// How many organisations an account owns.
    pub(crate) async fn owned_organisations(&mut self, account: &AccountId) -> Result<i64> {
        let row = sqlx::query(
            "SELECT count(*) AS n FROM organisation_members WHERE account_id = $1 AND role = 'owner'",
        )
        .bind(account.0.clone())
        .fetch_one(&mut *self.inner)
        .await
        .map_err(failed)?;
        number(&row, "n")
    }

    /// Sets an account's standing in an organisation; with none it leaves it, and its teams.
    pub(crate) async fn set_standing(
        &mut self,
        organisation: &OrganisationId,
        account: &AccountId,
        standing: Option<Membership>,
        now: Time,
    ) -> Result<()> {
        match standing {
            Some(standing) => {
                sqlx::query(
                    "INSERT INTO organisation_members (organisation_id, account_id, role, since) VALUES ($1, $2, $3, $4) \
                     ON CONFLICT (organisation_id, account_id) DO UPDATE SET role = excluded.role, since = excluded.since",
                )
                .bind(organisation.0.clone())
                .bind(account.0.clone())
                .bind(standing.as_str())
                .bind(now.0)
                .execute(&mut *self.inner)
                .await
                .map_err(failed)?;
            }
            None => {
                for statement in [
                    "DELETE FROM team_members WHERE account_id = $2 AND team_id IN (SELECT t.id FROM teams t WHERE t.organisation_id = $1)",
                    "DELETE FROM organisation_members WHERE organisation_id = $1 AND account_id = $2",
                ] {
                    sqlx::query(statement)
                        .bind(organisation.0.clone())
                        .bind(account.0.clone())
                        .execute(&mut *self.inner)
                        .await
                        .map_err(failed)?;
                }
            }
        }
        Ok(())
    }

    /// Ids of the teams of an organisation that somebody is in.
    pub(crate) async fn teams_with(
        &mut self,
        organisation: &OrganisationId,
        account: &AccountId,
    ) -> Result<Vec<TeamId>> {
        let rows = sqlx::query(
            "SELECT m.team_id FROM team_members m JOIN teams t ON t.id = m.team_id \
             WHERE t.organisation_id = $1 AND t.removed_at IS NULL AND m.account_id = $2 ORDER BY m.team_id",
        )
        .bind(organisation.0.clone())
        .bind(account.0.clone())
        .fetch_all(&mut *self.inner)
        .await
        .map_err(failed)?;
        rows.iter()
            .map(|row| text(row, "team_id").map(TeamId))
            .collect()
    }

    /// Stores a team.
    pub(crate) async fn insert_team(
        &mut self,
        organisation: &OrganisationId,
        team: &TeamRow,
        key: &str,
        now: Time,
    ) -> Result<()> {
        sqlx::query("INSERT INTO teams (id, organisation_id, name, name_key, created_at) VALUES ($1, $2, $3, $4, $5)")
            .bind(team.id.0.clone())
            .bind(organisation.0.clone())
            .bind(team.name.clone())
            .bind(format!("{organisation}/{key}"))
            .bind(now.0)
            .execute(&mut *self.inner)
            .await
            .map_err(failed)?;
        Ok(())
    }

    /// A team of an organisation by the key of its name.
    pub(crate) async fn team(
        &mut self,
        organisation: &OrganisationId,
        key: &str,
    ) -> Result<Option<TeamRow>> {
        let row =
            sqlx::query("SELECT id, name FROM teams WHERE name_key = $1 AND removed_at IS NULL")
                .bind(format!("{organisation}/{key}"))
                .fetch_optional(&mut *self.inner)
                .await
                .map_err(failed)?;
        row.map(|row| {
            Ok(TeamRow {
                id: TeamId(text(&row, "id")?),
                name: text(&row, "name")?,
            })
        })
        .transpose()
    }

    /// Ends a team with all its roles; its name may be used again.
    pub(crate) async fn remove_team(&mut self, team: &TeamId, now: Time) -> Result<()> {
        for statement in [
            "UPDATE grants SET ended_at = $2 WHERE team_id = $1 AND ended_at IS NULL",
            "DELETE FROM team_members WHERE team_id = $1 AND $2 > 0",
            "UPDATE teams SET removed_at = $2, name_key = id WHERE id = $1",
        ] {
            sqlx::query(statement)
                .bind(team.0.clone())
                .bind(now.0)
                .execute(&mut *self.inner)
                .await
                .map_err(failed)?;
        }
        Ok(())
    }

    /// Puts an account into a team or takes it out; true where that changed something.
    pub(crate) async fn set_team_member(
        &mut self,
        team: &TeamId,
        account: &AccountId,
        inside: bool,
        now: Time,
    ) -> Result<bool> {
        let text = if inside {
            "INSERT INTO team_members (team_id, account_id, role, since) VALUES ($1, $2, 'member', $3) ON CONFLICT (team_id, account_id) DO NOTHING"
        } else {
            "DELETE FROM team_members WHERE team_id = $1 AND account_id = $2 AND $3 > 0"
        };
        let done = sqlx::query(text)
            .bind(team.0.clone())
            .bind(account.0.clone())
            .bind(now.0)
            .execute(&mut *self.inner)
            .await
            .map_err(failed)?;
        Ok(done.rows_affected() > 0)
    }

    /// The organisation that owns a project.
    pub(crate) async fn owning_organisation(
        &mut self,
        project: &ProjectId,
    ) -> Result<Option<OrganisationId>> {
        let row = sqlx::query("SELECT organisation_id FROM grants WHERE project_id = $1 AND organisation_id IS NOT NULL AND ended_at IS NULL")
            .bind(project.0.clone())
            .fetch_optional(&mut *self.inner)
            .await
            .map_err(failed)?;
        row.map(|row| text(&row, "organisation_id").map(OrganisationId))
            .transpose()
    }

    /// Makes an organisation the owner of a project.
    pub(crate) async fn grant_organisation(
        &mut self,
        id: &str,
        project: &ProjectId,
        organisation: &OrganisationId,
        namespace: Option<&str>,
        now: Time,
    ) -> Result<()> {
        sqlx::query("INSERT INTO grants (id, organisation_id, project_id, role, created_at) VALUES ($1, $2, $3, 'owner', $4)")
            .bind(id.to_owned())
            .bind(organisation.0.clone())
            .bind(project.0.clone())
            .bind(now.0)
            .execute(&mut *self.inner)
            .await
            .map_err(failed)?;
        sqlx::query("UPDATE projects SET namespace_id = $2 WHERE id = $1")
            .bind(project.0.clone())
            .bind(namespace.map(str::to_owned))
            .execute(&mut *self.inner)
            .await
            .map_err(failed)?;
        Ok(())
    }

    /// Gives a team a role on a project or a namespace, in the place of the one it had.
    pub(crate) async fn grant_team(
        &mut self,
        id: &str,
        team: &TeamId,
        project: Option<&ProjectId>,
        namespace: Option<&str>,
        role: Option<Role>,
        now: Time,
    ) -> Result<()> {
        sqlx::query(
            "UPDATE grants SET ended_at = $4 WHERE team_id = $1 AND (project_id = $2 OR namespace_id = $3) AND ended_at IS NULL",
        )
        .bind(team.0.clone())
        .bind(project.map_or("", |id| id.0.as_str()).to_owned())
        .bind(namespace.unwrap_or_default().to_owned())
        .bind(now.0)
        .execute(&mut *self.inner)
        .await
        .map_err(failed)?;
        if let Some(role) = role {
            sqlx::query("INSERT INTO grants (id, team_id, project_id, namespace_id, role, created_at) VALUES ($1, $2, $3, $4, $5, $6)")
                .bind(id.to_owned())
                .bind(team.0.clone())
                .bind(project.map(|id| id.0.clone()))
                .bind(namespace.map(str::to_owned))
                .bind(role.as_str())
                .bind(now.0)
                .execute(&mut *self.inner)
                .await
                .map_err(failed)?;
        }
        Ok(())
    }

    /// Ends every role that anybody has on a project, and takes it out of its namespace.
    pub(crate) async fn end_all_grants(&mut self, project: &ProjectId, now: Time) -> Result<()> {
        for statement in [
            "UPDATE grants SET ended_at = $2 WHERE project_id = $1 AND ended_at IS NULL",
            "UPDATE projects SET namespace_id = NULL WHERE id = $1 AND $2 > 0",
        ] {
            sqlx::query(statement)
                .bind(project.0.clone())
                .bind(now.0)
                .execute(&mut *self.inner)
                .await
                .map_err(failed)?;
        }
        Ok(())
    }

    /// Who has which roles on a project, or on all projects of an organisation: to be held against the same afterwards.
    pub(crate) async fn all_roles(
        &mut self,
        project: Option<&ProjectId>,
        organisation: Option<&OrganisationId>,
    ) -> Result<Vec<(OwnedProject, AccountId, Roles)>> {
        let rows = sqlx::query(
            "SELECT DISTINCT p.id, p.ecosystem, p.name, p.key, e.account_id, e.role FROM effective_roles e JOIN projects p ON p.id = e.project_id \
             WHERE (p.id = $1 OR p.id IN (SELECT g.project_id FROM grants g WHERE g.organisation_id = $2 AND g.ended_at IS NULL)) \
             AND p.removed_at IS NULL ORDER BY p.id, e.account_id",
        )
        .bind(project.map_or("", |id| id.0.as_str()).to_owned())
        .bind(organisation.map_or("", |id| id.0.as_str()).to_owned())
        .fetch_all(&mut *self.inner)
        .await
        .map_err(failed)?;
        let mut all: Vec<(OwnedProject, AccountId, Roles)> = Vec::new();
        for row in &rows {
            let project = owned_project(row)?;
            let account = AccountId(text(row, "account_id")?);
            let role = super::parsed::<Role>(row, "role")?;
            match all
                .last_mut()
                .filter(|(last, who, _)| last.id == project.id && *who == account)
            {
                Some((_, _, roles)) => *roles = roles.with(role),
                None => all.push((project, account, Roles::NONE.with(role))),
            }
        }
        Ok(all)
    }

    /// Of these accounts, those with a passkey or security key.
    pub(crate) async fn strong_among(&mut self, accounts: &[AccountId]) -> Result<Vec<AccountId>> {
        let mut strong = Vec::new();
        for account in accounts {
            if self.has_phishproof(account).await? {
                strong.push(account.clone());
            }
        }
        Ok(strong)
    }

    /// The longest namespace that a name falls into, as its founding sees it.
    pub(crate) async fn namespace_over(
        &mut self,
        ecosystem: Ecosystem,
        key: &str,
        account: Option<&AccountId>,
    ) -> Result<Option<NamespaceFacts>> {
        let row = sqlx::query(
            "SELECT n.id, n.key, n.organisation_id, o.name, \
             CASE WHEN EXISTS (SELECT 1 FROM organisation_members m WHERE m.organisation_id = o.id AND m.account_id = $3 AND m.role = 'owner') \
               OR EXISTS (SELECT 1 FROM grants g JOIN teams t ON t.id = g.team_id AND t.organisation_id = o.id AND t.removed_at IS NULL \
                 JOIN team_members w ON w.team_id = t.id AND w.account_id = $3 \
                 JOIN organisation_members m ON m.organisation_id = o.id AND m.account_id = $3 \
                 WHERE g.namespace_id = n.id AND g.ended_at IS NULL AND g.role IN ('maintainer', 'publisher')) \
             THEN 'yes' ELSE 'no' END AS may \
             FROM namespaces n JOIN organisations o ON o.id = n.organisation_id AND o.removed_at IS NULL \
             WHERE n.ecosystem = $1 AND (n.key = $2 OR substr($2, 1, length(n.key) + 1) = n.key || CASE WHEN substr(n.key, 1, 1) = '@' THEN '/' ELSE '-' END) \
             ORDER BY length(n.key) DESC LIMIT 1",
        )
        .bind(ecosystem.as_str())
        .bind(key.to_owned())
        .bind(account.map_or("", |id| id.0.as_str()).to_owned())
        .fetch_optional(&mut *self.inner)
        .await
        .map_err(failed)?;
        row.map(|row| {
            Ok(NamespaceFacts {
                id: text(&row, "id")?,
                key: text(&row, "key")?,
                organisation_id: OrganisationId(text(&row, "organisation_id")?),
                organisation: text(&row, "name")?,
                may_create: text(&row, "may")? == "yes",
            })
        })
        .transpose()
    }

    /// A namespace by its prefix.
    pub(crate) async fn namespace(
        &mut self,
        ecosystem: Ecosystem,
        key: &str,
    ) -> Result<Option<NamespaceRow>> {
        let row = sqlx::query("SELECT id, ecosystem, key, organisation_id, reserved_at FROM namespaces WHERE ecosystem = $1 AND key = $2")
            .bind(ecosystem.as_str())
            .bind(key.to_owned())
            .fetch_optional(&mut *self.inner)
            .await
            .map_err(failed)?;
        row.as_ref().map(namespace).transpose()
    }

    /// Reserves a namespace for an organisation, or frees it.
    pub(crate) async fn set_namespace(
        &mut self,
        id: &str,
        ecosystem: Ecosystem,
        key: &str,
        organisation: Option<&OrganisationId>,
        now: Time,
    ) -> Result<()> {
        sqlx::query(
            "INSERT INTO namespaces (id, ecosystem, name, key, kind, organisation_id, reserved_at, created_at) VALUES ($1, $2, $3, $3, 'prefix', $4, $5, $6) \
             ON CONFLICT (ecosystem, key) DO UPDATE SET organisation_id = excluded.organisation_id, reserved_at = excluded.reserved_at",
        )
        .bind(id.to_owned())
        .bind(ecosystem.as_str())
        .bind(key.to_owned())
        .bind(organisation.map(|id| id.0.clone()))
        .bind(organisation.map(|_| now.0))
        .bind(now.0)
        .execute(&mut *self.inner)
        .await
        .map_err(failed)?;
        Ok(())
    }

    /// Stores an invitation; an open one of the same account ends.
    pub(crate) async fn insert_invitation(
        &mut self,
        row: &InvitationRow,
        secret: Sha256,
        by: Option<&AccountId>,
    ) -> Result<()> {
        sqlx::query("UPDATE invitations SET ended_at = $3 WHERE organisation_id = $1 AND account_id = $2 AND accepted_at IS NULL AND ended_at IS NULL")
            .bind(row.organisation.0.clone())
            .bind(row.account.0.clone())
            .bind(row.created.0)
            .execute(&mut *self.inner)
            .await
            .map_err(failed)?;
        sqlx::query(
            "INSERT INTO invitations (id, organisation_id, account_id, role, secret_hash, invited_by, created_at, expires_at) \
             VALUES ($1, $2, $3, $4, $5, $6, $7, $8)",
        )
        .bind(row.id.clone())
        .bind(row.organisation.0.clone())
        .bind(row.account.0.clone())
        .bind(row.standing.as_str())
        .bind(secret.to_string())
        .bind(by.map(|id| id.0.clone()))
        .bind(row.created.0)
        .bind(row.expires.0)
        .execute(&mut *self.inner)
        .await
        .map_err(failed)?;
        Ok(())
    }

    /// How many invitations an organisation gave since then: to this account, and to all.
    pub(crate) async fn invitations_since(
        &mut self,
        organisation: &OrganisationId,
        account: &AccountId,
        since: Time,
    ) -> Result<(u64, u64)> {
        let row = sqlx::query(
            "SELECT count(*) AS all_of_them, CAST(coalesce(sum(CASE WHEN account_id = $2 THEN 1 ELSE 0 END), 0) AS BIGINT) AS theirs \
             FROM invitations WHERE organisation_id = $1 AND created_at > $3",
        )
        .bind(organisation.0.clone())
        .bind(account.0.clone())
        .bind(since.0)
        .fetch_one(&mut *self.inner)
        .await
        .map_err(failed)?;
        Ok((unsigned(&row, "theirs")?, unsigned(&row, "all_of_them")?))
    }

    /// The organisations that an account is in, in the order in which they are locked.
    pub(crate) async fn organisations_of(
        &mut self,
        account: &AccountId,
    ) -> Result<Vec<OrganisationId>> {
        let rows = sqlx::query(
            "SELECT m.organisation_id FROM organisation_members m JOIN organisations o ON o.id = m.organisation_id \
             WHERE m.account_id = $1 AND o.removed_at IS NULL ORDER BY m.organisation_id",
        )
        .bind(account.0.clone())
        .fetch_all(&mut *self.inner)
        .await
        .map_err(failed)?;
        rows.iter()
            .map(|row| Ok(OrganisationId(text(row, "organisation_id")?)))
            .collect()
    }

    /// The projects that an account has a role on, in the order in which they are locked.
    pub(crate) async fn projects_of(&mut self, account: &AccountId) -> Result<Vec<ProjectId>> {
        let rows = sqlx::query(
            "SELECT DISTINCT project_id FROM effective_roles WHERE account_id = $1 ORDER BY project_id",
        )
        .bind(account.0.clone())
        .fetch_all(&mut *self.inner)
        .await
        .map_err(failed)?;
        rows.iter()
            .map(|row| Ok(ProjectId(text(row, "project_id")?)))
            .collect()
    }

    /// An invitation by the hash of its secret, by that of a link that was mailed for it, or by its id.
    pub(crate) async fn invitation(&mut self, which: &str) -> Result<Option<InvitationRow>> {
        let row = sqlx::query(built(format!("{INVITATION} WHERE {WHICH_INVITATION}")))
            .bind(which.to_owned())
            .fetch_optional(&mut *self.inner)
            .await
            .map_err(failed)?;
        row.as_ref().map(invitation).transpose()
    }

    /// Uses an invitation up, or ends it; false where that was done before.
    pub(crate) async fn end_invitation(
        &mut self,
        id: &str,
        accepted: bool,
        now: Time,
    ) -> Result<bool> {
        let text = if accepted {
            "UPDATE invitations SET accepted_at = $2 WHERE id = $1 AND accepted_at IS NULL AND ended_at IS NULL AND expires_at > $2"
        } else {
            "UPDATE invitations SET ended_at = $2 WHERE id = $1 AND accepted_at IS NULL AND ended_at IS NULL"
        };
        let done = sqlx::query(text)
            .bind(id.to_owned())
            .bind(now.0)
            .execute(&mut *self.inner)
            .await
            .map_err(failed)?;
        Ok(done.rows_affected() == 1)
    }

    /// Ends the open invitations that an account has to an organisation, or gave for it.
    pub(crate) async fn end_invitations_by(
        &mut self,
        organisation: &OrganisationId,
        account: &AccountId,
        now: Time,
    ) -> Result<()> {
        sqlx::query(
            "UPDATE invitations SET ended_at = $3 WHERE organisation_id = $1 AND (account_id = $2 OR invited_by = $2) \
             AND accepted_at IS NULL AND ended_at IS NULL",
        )
        .bind(organisation.0.clone())
        .bind(account.0.clone())
        .bind(now.0)
        .execute(&mut *self.inner)
        .await
        .map_err(failed)?;
        Ok(())
    }

    /// Since when an account owns a project: the latest link of its oldest chain.
    pub(crate) async fn owner_since(
        &mut self,
        project: &ProjectId,
        account: &AccountId,
    ) -> Result<Option<Time>> {
        let row = sqlx::query(
            "SELECT min(since) AS since FROM effective_roles WHERE project_id = $1 AND account_id = $2 AND role = 'owner'",
        )
        .bind(project.0.clone())
        .bind(account.0.clone())
        .fetch_one(&mut *self.inner)
        .await
        .map_err(failed)?;
        maybe_time(&row, "since")
    }

    /// Since when an account owns an organisation.
    pub(crate) async fn head_since(
        &mut self,
        organisation: &OrganisationId,
        account: &AccountId,
    ) -> Result<Option<Time>> {
        let row = sqlx::query(
            "SELECT min(since) AS since FROM organisation_members WHERE organisation_id = $1 AND account_id = $2 AND role = 'owner'",
        )
        .bind(organisation.0.clone())
        .bind(account.0.clone())
        .fetch_one(&mut *self.inner)
        .await
        .map_err(failed)?;
        maybe_time(&row, "since")
    }

    /// Stops every open proposal about a project.
    pub(crate) async fn stop_proposals(&mut self, project: &ProjectId, now: Time) -> Result<()> {
        sqlx::query(
            "UPDATE proposals SET cancelled_at = $2 WHERE project_id = $1 AND confirmed_at IS NULL AND cancelled_at IS NULL",
        )
        .bind(project.0.clone())
        .bind(now.0)
        .execute(&mut *self.inner)
        .await
        .map_err(failed)?;
        Ok(())
    }

    /// Stores a proposal.
    pub(crate) async fn insert_proposal(&mut self, row: &ProposalRow) -> Result<()> {
        sqlx::query(
            "INSERT INTO proposals (id, kind, project_id, for_organisation_id, account_id, organisation_id, by_account_id, created_at, ripe_at, expires_at) \
             VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10)",
        )
        .bind(row.id.clone())
        .bind(row.kind.as_str())
        .bind(row.project.as_ref().map(|id| id.0.clone()))
        .bind(row.about.as_ref().map(|id| id.0.clone()))
        .bind(row.account.as_ref().map(|id| id.0.clone()))
        .bind(row.organisation.as_ref().map(|id| id.0.clone()))
        .bind(row.by.0.clone())
        .bind(row.created.0)
        .bind(row.ripe.0)
        .bind(row.expires.0)
        .execute(&mut *self.inner)
        .await
        .map_err(failed)?;
        Ok(())
    }

    /// A proposal by its id.
    pub(crate) async fn proposal(&mut self, id: &str) -> Result<Option<ProposalRow>> {
        let row = sqlx::query(built(format!("{PROPOSAL} WHERE q.id = $1")))
            .bind(id.to_owned())
            .fetch_optional(&mut *self.inner)
            .await
            .map_err(failed)?;
        row.as_ref().map(proposal).transpose()
    }

    /// Closes a proposal: done or stopped. False where it was closed before.
    pub(crate) async fn close_proposal(
        &mut self,
        id: &str,
        by: Option<&AccountId>,
        done: bool,
        now: Time,
    ) -> Result<bool> {
        let text = if done {
            "UPDATE proposals SET confirmed_at = $2, confirmed_by = $3 WHERE id = $1 AND confirmed_at IS NULL AND cancelled_at IS NULL AND expires_at > $2"
        } else {
            "UPDATE proposals SET cancelled_at = $2, cancelled_by = $3 WHERE id = $1 AND confirmed_at IS NULL AND cancelled_at IS NULL"
        };
        let closed = sqlx::query(text)
            .bind(id.to_owned())
            .bind(now.0)
            .bind(by.map(|id| id.0.clone()))
            .execute(&mut *self.inner)
            .await
            .map_err(failed)?;
        Ok(closed.rows_affected() == 1)
    }

    /// The project of this id, its row locked.
    pub(crate) async fn locked_project(&mut self, id: &ProjectId) -> Result<Option<OwnedProject>> {
        let lock = match self.backend {
            Backend::Sqlite => "",
            Backend::Postgres => " FOR UPDATE",
        };
        let row = sqlx::query(built(format!(
            "SELECT id, ecosystem, name, key FROM projects WHERE id = $1 AND removed_at IS NULL{lock}"
        )))
        .bind(id.0.clone())
        .fetch_optional(&mut *self.inner)
        .await
        .map_err(failed)?;
        row.as_ref().map(owned_project).transpose()
    }

    /// Stores a request for an approval.
    pub(crate) async fn insert_approval(&mut self, row: &ApprovalRow) -> Result<()> {
        sqlx::query(
            "INSERT INTO approvals (id, code, account_id, act, purl, digest, asked_by, created_at, expires_at) \
             VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9)",
        )
        .bind(row.id.clone())
        .bind(row.code.clone())
        .bind(row.account.0.clone())
        .bind(row.act.clone())
        .bind(row.purl.clone())
        .bind(row.digest.clone())
        .bind(row.asked_by.clone())
        .bind(row.created.0)
        .bind(row.expires.0)
        .execute(&mut *self.inner)
        .await
        .map_err(failed)?;
        Ok(())
    }

    /// How many requests of an account wait for an answer.
    pub(crate) async fn waiting_approvals(
        &mut self,
        account: &AccountId,
        now: Time,
    ) -> Result<i64> {
        let row = sqlx::query(
            "SELECT count(*) AS n FROM approvals WHERE account_id = $1 AND granted_at IS NULL AND refused_at IS NULL AND expires_at > $2",
        )
        .bind(account.0.clone())
        .bind(now.0)
        .fetch_one(&mut *self.inner)
        .await
        .map_err(failed)?;
        number(&row, "n")
    }

    /// Answers a request: granted until then, or refused. False where it was answered before or is too old.
    pub(crate) async fn answer_approval(
        &mut self,
        id: &str,
        until: Option<Time>,
        now: Time,
    ) -> Result<bool> {
        let done = sqlx::query(
            "UPDATE approvals SET granted_at = CASE WHEN $2 > 0 THEN $3 ELSE NULL END, granted_until = CASE WHEN $2 > 0 THEN $2 ELSE NULL END, \
             refused_at = CASE WHEN $2 > 0 THEN NULL ELSE $3 END \
             WHERE id = $1 AND granted_at IS NULL AND refused_at IS NULL AND expires_at > $3",
        )
        .bind(id.to_owned())
        .bind(until.map_or(0, |until| until.0))
        .bind(now.0)
        .execute(&mut *self.inner)
        .await
        .map_err(failed)?;
        Ok(done.rows_affected() == 1)
    }

    /// Is there a granted approval for exactly this, unused and in time?
    pub(crate) async fn granted_approval(
        &mut self,
        account: &AccountId,
        act: &str,
        purl: &str,
        digest: &str,
        now: Time,
    ) -> Result<Option<String>> {
        let row = sqlx::query(
            "SELECT id FROM approvals WHERE account_id = $1 AND act = $2 AND purl = $3 AND digest = $4 \
             AND used_at IS NULL AND granted_until > $5 ORDER BY id LIMIT 1",
        )
        .bind(account.0.clone())
        .bind(act.to_owned())
        .bind(purl.to_owned())
        .bind(digest.to_owned())
        .bind(now.0)
        .fetch_optional(&mut *self.inner)
        .await
        .map_err(failed)?;
        row.map(|row| text(&row, "id")).transpose()
    }

    /// Uses an approval up; false where somebody else did so first, or its time is over.
    pub(crate) async fn use_approval(&mut self, id: &str, now: Time) -> Result<bool> {
        let done = sqlx::query(
            "UPDATE approvals SET used_at = $2 WHERE id = $1 AND used_at IS NULL AND granted_until > $2",
        )
        .bind(id.to_owned())
        .bind(now.0)
        .execute(&mut *self.inner)
        .await
        .map_err(failed)?;
        Ok(done.rows_affected() == 1)
    }
}
