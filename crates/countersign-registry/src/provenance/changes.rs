//! Exceptions, declared moves and trusted identities: what owners say beforehand.
//!
//! An owner opens them with fresh strong authentication; every owner is told, and any can close them. On a critical
//! project one owner's word is not enough: it holds once another owner has confirmed it, or after three days in which
//! nobody stopped it.

use countersign_formats::{Ecosystem, format, purl};
use countersign_trust::leaf::{Change as Way, LeafKind};
use serde_json::json;
use url::Url;

use super::{NewException, NewIdentity, NewMove};
use crate::Registry;
use crate::accounts::{is_settled, new_id};
use crate::error::{Error, Kind, Result};
use crate::fetch::unknown_project;
use crate::heartbeat::Change;
use crate::model::{
    AccountId, Actor, ChangeKind, Identity, ProjectProvenance, ProvenanceChange, SourceTuple, Time,
    TrustLevel, TrustedIdentity,
};
use crate::policy::{Act, operates};
use crate::store::{ChangeRow, CuratedProject, IdentityRow, Tx};
use crate::texts::NoticeKind;

/// How long a change of a critical project waits for a second owner, in seconds.
const WAITS: i64 = 72 * 3_600;

/// The longest exception and the longest wait for a declared move, in hours.
const EXCEPTION_HOURS: u32 = 168;
const MOVE_HOURS: u32 = 720;

/// Changes of one project that may hold or wait at a time, and identities that it may name.
const AT_MOST: usize = 20;

fn invalid(why: impl Into<String>) -> Error {
    Error::new(Kind::Rejected, "change-invalid", why)
        .remedy("Correct it and ask again; nothing was opened.")
}

fn unknown_change() -> Error {
    Error::new(
        Kind::NotFound,
        "change-unknown",
        "There is no such exception or move, or it is over.",
    )
    .remedy("Look at the project's provenance settings for those that are open.")
}

/// What people wrote, bounded and on one line.
fn reason(text: &str) -> Result<String> {
    let text = text.trim();
    if text.is_empty() || text.len() > 500 || text.chars().any(char::is_control) {
        return Err(invalid(
            "A reason has 1 to 500 bytes and no control characters.",
        ));
    }
    Ok(text.to_owned())
}

fn hours(hours: u32, most: u32) -> Result<i64> {
    if hours == 0 || hours > most {
        return Err(invalid(format!(
            "{hours} hours are not possible here: from 1 to {most} are."
        )));
    }
    Ok(i64::from(hours) * 3_600)
}

/// An address of a repository or issuer as it stands in certificates: `https`, a host, no query, no final slash.
fn plain_url(text: &str, what: &str) -> Result<String> {
    let refuse = || {
        Error::new(
            Kind::Rejected,
            "trusted-identity-invalid",
            format!(
                "{:?} can not be {what}.",
                text.chars().take(120).collect::<String>()
            ),
        )
        .remedy("Give an https:// address without user, query, fragment or final slash.")
    };
    let trimmed = text.trim().trim_end_matches('/');
    let url = Url::parse(trimmed).map_err(|_| refuse())?;
    let plain = url.scheme() == "https"
        && url.host_str().is_some()
        && url.username().is_empty()
        && url.password().is_none()
        && url.query().is_none()
        && url.fragment().is_none()
        && trimmed.len() <= 500
        && trimmed.bytes().all(|byte| byte.is_ascii_graphic())
        && url.as_str().trim_end_matches('/') == trimmed;
    if plain {
        Ok(trimmed.to_owned())
    } else {
        Err(refuse())
    }
}

/// A service account in the place of a repository: `mailto:` and its address, as [`super::vetting`] reads it of tokens.
fn service_account(account: &str) -> Result<String> {
    let fits = account.len() <= 320
        && account.bytes().all(|byte| byte.is_ascii_graphic())
        && account
            .split_once('@')
            .is_some_and(|(name, domain)| !name.is_empty() && domain.contains('.'));
    if fits {
        return Ok(format!("mailto:{account}"));
    }
    Err(invalid(
        "A service account is written mailto: and its address.",
    ))
}

fn id(text: Option<String>, what: &str) -> Result<Option<String>> {
    let Some(text) = text
        .map(|text| text.trim().to_owned())
        .filter(|text| !text.is_empty())
    else {
        return Ok(None);
    };
    if text.len() > 100 || !text.bytes().all(|byte| byte.is_ascii_graphic()) {
        return Err(invalid(format!("The id of the {what} is none.")));
    }
    Ok(Some(text))
}

pub(super) fn change_view(row: ChangeRow, now: Time) -> ProvenanceChange {
    let state = if row.closed.is_some() {
        "closed"
    } else if now >= row.ends || (row.kind == ChangeKind::Move && row.uses > 0) {
        "over"
    } else if now < row.starts {
        "waiting"
    } else {
        "open"
    };
    let by = match (row.kind, row.opener) {
        (ChangeKind::Rename | ChangeKind::Loss, _) => "registry".to_owned(),
        (_, Some(name)) => name,
        (_, None) => "operator".to_owned(),
    };
    ProvenanceChange {
        id: row.id,
        kind: row.kind,
        level: row.level,
        from: row.from,
        to: row.to,
        reason: row.reason,
        by,
        opened: row.opened,
        starts: row.starts,
        ends: row.ends,
        confirmed_by: row.confirmer,
        closed: row.closed,
        uses: row.uses,
        used: row.used,
        state,
    }
}

fn identity_view(row: IdentityRow) -> TrustedIdentity {
    TrustedIdentity {
        id: row.id,
        issuer: row.issuer,
        repository: row.repository,
        workflow: row.workflow,
        created: row.created,
        by: row.by.unwrap_or_else(|| "operator".to_owned()),
    }
}

fn account(actor: &Actor) -> Option<AccountId> {
    match &actor.identity {
        Identity::Account { id, .. } => Some(id.clone()),
        _ => None,
    }
}

impl Registry {
    /// What a project is remembered for. Public: whoever installs should see it.
    ///
    /// # Errors
    /// `project-unknown`.
    pub async fn project_provenance(
        &self,
        ecosystem: Ecosystem,
        project: &str,
    ) -> Result<ProjectProvenance> {
        let key = format(ecosystem).name_key(project)?;
        let store = &self.inner.store;
        let found = store
            .shown_project(ecosystem.as_str(), key.as_str())
            .await?;
        let id = self
            .unveiled_maybe(found)
            .await?
            .ok_or_else(|| unknown_project(key.as_str()))?;
        let now = self.now();
        let (level, source, source_since) = store.remembered(&id).await?;
        let changes = store.provenance_changes(&id, now).await?;
        let identities = store.trusted_identities(&id).await?;
        Ok(ProjectProvenance {
            level,
            source,
            source_since,
            changes: changes
                .into_iter()
                .map(|row| change_view(row, now))
                .collect(),
            identities: identities.into_iter().map(identity_view).collect(),
        })
    }

    /// Opens a time in which the project takes files of a lower level.
    ///
    /// # Errors
    /// `project-unknown`, `role-missing`, `session-needed`, `passkey-needed`, `step-up-needed`, `change-invalid`,
    /// `change-exists`.
    pub async fn open_exception(
        &self,
        actor: &Actor,
        ecosystem: Ecosystem,
        project: &str,
        new: NewException,
    ) -> Result<ProvenanceChange> {
        let length = hours(new.hours, EXCEPTION_HOURS)?;
        let row = ChangeRow {
            kind: ChangeKind::Exception,
            level: Some(new.level),
            ..self.new_change(&new.reason)?
        };
        self.open_change(actor, ecosystem, project, row, length)
            .await
    }

    /// Declares that the project's files will come from another source.
    ///
    /// # Errors
    /// As [`Registry::open_exception`]; `trusted-identity-invalid`.
    pub async fn declare_move(
        &self,
        actor: &Actor,
        ecosystem: Ecosystem,
        project: &str,
        new: NewMove,
    ) -> Result<ProvenanceChange> {
        let length = hours(new.hours, MOVE_HOURS)?;
        let to = SourceTuple {
            issuer: plain_url(&new.to.issuer, "an issuer")?,
            repository: match new.to.repository.trim().strip_prefix("mailto:") {
                Some(account) => service_account(account)?,
                None => plain_url(&new.to.repository, "a repository")?,
            },
            repository_id: id(new.to.repository_id, "repository")?,
            owner_id: id(new.to.owner_id, "owner")?,
        };
        let row = ChangeRow {
            kind: ChangeKind::Move,
            to: Some(to),
            ..self.new_change(&new.reason)?
        };
        self.open_change(actor, ecosystem, project, row, length)
            .await
    }

    fn new_change(&self, text: &str) -> Result<ChangeRow> {
        let now = self.now();
        Ok(ChangeRow {
            id: new_id(),
            project: crate::model::ProjectId(String::new()),
            kind: ChangeKind::Exception,
            level: None,
            from: None,
            to: None,
            reason: reason(text)?,
            opened_by: None,
            opener: None,
            opened: now,
            starts: now,
            ends: now,
            confirmer: None,
            closed: None,
            used: None,
            uses: 0,
        })
    }

    async fn open_change(
        &self,
        actor: &Actor,
        ecosystem: Ecosystem,
        project: &str,
        row: ChangeRow,
        length: i64,
    ) -> Result<ProvenanceChange> {
        let key = format(ecosystem).name_key(project)?;
        let now = self.now();
        let mut tx = self.inner.store.write().await?;
        let project = self
            .project_for_change(&mut tx, actor, ecosystem, &key, Act::OpenDeparture)
            .await?;
        let (level, source, _) = self.inner.store.remembered(&project.id).await?;
        if row.kind == ChangeKind::Exception && row.level.is_none_or(|to| to >= level) {
            return Err(invalid(format!(
                "{} reached the level {}; an exception is for a lower one.",
                project.name,
                level.as_str()
            )));
        }
        if row.kind == ChangeKind::Move && source.is_none() {
            return Err(invalid(format!(
                "{} is not remembered for any source, so there is nothing to move from.",
                project.name
            )));
        }
        let there = self
            .inner
            .store
            .provenance_changes(&project.id, now)
            .await?;
        let live = |other: &&ChangeRow| {
            other.closed.is_none()
                && other.ends > now
                && (other.kind != ChangeKind::Move || other.uses == 0)
        };
        if let Some(same) = there
            .iter()
            .filter(live)
            .find(|other| other.kind == row.kind && other.level == row.level && other.to == row.to)
        {
            return Err(Error::new(
                Kind::Conflict,
                "change-exists",
                format!("The same is open already, until {}.", same.ends.rfc3339()),
            )
            .remedy("Close it first to open it anew."));
        }
        if there
            .iter()
            .filter(live)
            .filter(|other| matches!(other.kind, ChangeKind::Exception | ChangeKind::Move))
            .count()
            >= AT_MOST
        {
            return Err(invalid(format!(
                "{} has {AT_MOST} open changes already.",
                project.name
            )));
        }
        let waits = project.critical.is_some() && !operates(actor);
        let starts = if waits { now.plus_seconds(WAITS) } else { now };
        let row = ChangeRow {
            project: project.id.clone(),
            from: (row.kind == ChangeKind::Move).then_some(source).flatten(),
            opened_by: account(actor),
            opener: account(actor).map(|_| actor.name().to_owned()),
            starts,
            ends: starts.plus_seconds(length),
            ..row
        };
        tx.insert_provenance_change(&row).await?;
        self.log_change(
            &mut tx,
            actor,
            &project,
            ecosystem,
            &row,
            Way::Added,
            "opened",
        )
        .await?;
        tx.commit().await?;
        self.inner.beat.wake();
        Ok(change_view(row, now))
    }

    /// Confirms, as another owner, a change that waits: it holds from now on.
    ///
    /// # Errors
    /// `change-unknown`, `second-person-needed`, and those of the permission.
    pub async fn confirm_change(&self, actor: &Actor, id: &str) -> Result<ProvenanceChange> {
        let now = self.now();
        let mut tx = self.inner.store.write().await?;
        let (row, project, ecosystem) = self.change_of(&mut tx, actor, id, Act::Confirm).await?;
        let me = account(actor).ok_or_else(|| {
            Error::new(
                Kind::Denied,
                "account-needed",
                "This is for owners, not for the operator.",
            )
            .remedy("Sign in as an owner.")
        })?;
        if row.starts <= now {
            return Err(Error::new(
                Kind::Conflict,
                "change-open",
                "It holds already; there is nothing to confirm.",
            )
            .remedy("Publish, or close it."));
        }
        let since = tx.owner_since(&project.id, &me).await?;
        if row.opened_by.as_ref() == Some(&me) || !is_settled(since, now) {
            return Err(Error::new(
                Kind::Denied,
                "second-person-needed",
                "The second person is another owner, and one for three days at least.",
            )
            .remedy(format!(
                "Let another owner confirm, or wait until {}.",
                row.starts.rfc3339()
            )));
        }
        tx.confirm_provenance_change(&row.id, &me, now).await?;
        self.log_change(
            &mut tx,
            actor,
            &project,
            ecosystem,
            &row,
            Way::Replaced,
            "confirmed",
        )
        .await?;
        let row = tx
            .provenance_change(&row.id)
            .await?
            .ok_or_else(unknown_change)?;
        tx.commit().await?;
        self.inner.beat.wake();
        Ok(change_view(row, now))
    }

    /// Closes a change before its end.
    ///
    /// # Errors
    /// `change-unknown`, and those of the permission.
    pub async fn close_change(&self, actor: &Actor, id: &str) -> Result<()> {
        let now = self.now();
        let mut tx = self.inner.store.write().await?;
        let (row, project, ecosystem) = self.change_of(&mut tx, actor, id, Act::Cancel).await?;
        if !tx.close_provenance_change(&row.id, now).await? {
            return Err(unknown_change());
        }
        self.log_change(
            &mut tx,
            actor,
            &project,
            ecosystem,
            &row,
            Way::Removed,
            "closed",
        )
        .await?;
        tx.commit().await?;
        self.inner.beat.wake();
        Ok(())
    }

    /// An open change and its project, if this caller may do this to it. To strangers there is none.
    async fn change_of(
        &self,
        tx: &mut Tx,
        actor: &Actor,
        id: &str,
        act: Act,
    ) -> Result<(ChangeRow, CuratedProject, Ecosystem)> {
        let now = self.now();
        let row = tx
            .provenance_change(id)
            .await?
            .filter(|row| {
                row.closed.is_none()
                    && row.ends > now
                    && matches!(row.kind, ChangeKind::Exception | ChangeKind::Move)
            })
            .ok_or_else(unknown_change)?;
        let owned = tx
            .locked_project(&row.project)
            .await?
            .ok_or_else(unknown_change)?;
        let key = format(owned.ecosystem).name_key(&owned.key)?;
        let project = self
            .project_for_change(tx, actor, owned.ecosystem, &key, act)
            .await
            .map_err(|error| match error.code.as_ref() {
                "role-missing" => unknown_change(),
                _ => error,
            })?;
        Ok((row, project, owned.ecosystem))
    }

    #[expect(
        clippy::too_many_arguments,
        reason = "one place for leaf, event and notices of a change"
    )]
    async fn log_change(
        &self,
        tx: &mut Tx,
        actor: &Actor,
        project: &CuratedProject,
        ecosystem: Ecosystem,
        row: &ChangeRow,
        way: Way,
        what: &str,
    ) -> Result<()> {
        let name = format(ecosystem).name_key(&project.key)?;
        let subject = purl::project_purl(ecosystem, &name);
        let detail = json!({
            "provenance": what, "change": row.id, "kind": row.kind, "level": row.level, "from": row.from, "to": row.to,
            "reason": row.reason, "starts": row.starts, "ends": row.ends,
        });
        let sentence = match (row.kind, row.level, &row.to) {
            (ChangeKind::Exception, Some(level), _) => format!(
                "an exception for publications of the level {} was {what} (it holds from {} to {}; {})",
                level.as_str(),
                row.starts.rfc3339(),
                row.ends.rfc3339(),
                row.reason
            ),
            (_, _, Some(to)) => format!(
                "a move to the source {} was {what} (it holds from {} to {}; {})",
                to.repository,
                row.starts.rfc3339(),
                row.ends.rfc3339(),
                row.reason
            ),
            _ => what.to_owned(),
        };
        let data = [
            ("project", project.name.as_str()),
            ("change", sentence.as_str()),
        ];
        self.notify_owners(tx, &project.id, None, NoticeKind::PolicyChanged, &data)
            .await?;
        let change =
            Change::about(actor, LeafKind::PolicyChanged, subject, &project.id).way(way, None);
        self.record(tx, change, detail).await?;
        Ok(())
    }

    /// From now on attestations of this identity are taken with API tokens.
    ///
    /// # Errors
    /// `project-unknown`, `trusted-identity-invalid`, `trusted-identity-exists`, and those of the permission.
    pub async fn trust_identity(
        &self,
        actor: &Actor,
        ecosystem: Ecosystem,
        project: &str,
        new: NewIdentity,
    ) -> Result<TrustedIdentity> {
        let key = format(ecosystem).name_key(project)?;
        let workflow = new
            .workflow
            .map(|path| path.trim().trim_start_matches('/').to_owned())
            .filter(|path| !path.is_empty());
        if let Some(path) = &workflow
            && (path.len() > 255 || path.contains('@') || path.chars().any(char::is_control))
        {
            return Err(Error::new(
                Kind::Rejected,
                "trusted-identity-invalid",
                "The path of a build file has at most 255 bytes, no @ and no control characters.",
            )
            .remedy(
                "Give it as it stands in the repository, such as .github/workflows/release.yml.",
            ));
        }
        let row = IdentityRow {
            id: new_id(),
            issuer: plain_url(&new.issuer, "an issuer")?,
            repository: plain_url(&new.repository, "a repository")?,
            workflow,
            account: account(actor),
            by: account(actor).map(|_| actor.name().to_owned()),
            created: self.now(),
        };
        let mut tx = self.inner.store.write().await?;
        let project = self
            .project_for_change(&mut tx, actor, ecosystem, &key, Act::ManagePolicy)
            .await?;
        let there = self.inner.store.trusted_identities(&project.id).await?;
        if there.len() >= AT_MOST {
            return Err(invalid(format!(
                "{} names {AT_MOST} identities already.",
                project.name
            )));
        }
        if there.iter().any(|other| {
            other.issuer == row.issuer
                && other.repository.eq_ignore_ascii_case(&row.repository)
                && other.workflow == row.workflow
        }) {
            return Err(Error::new(
                Kind::Conflict,
                "trusted-identity-exists",
                format!("{} trusts this identity already.", project.name),
            )
            .remedy("Nothing needs to be done."));
        }
        tx.insert_identity(&project.id, &row).await?;
        self.log_identity(&mut tx, actor, &project, ecosystem, &row, Way::Added)
            .await?;
        tx.commit().await?;
        self.inner.beat.wake();
        Ok(identity_view(row))
    }

    /// No longer.
    ///
    /// # Errors
    /// `trusted-identity-unknown`, and those of the permission.
    pub async fn distrust_identity(
        &self,
        actor: &Actor,
        ecosystem: Ecosystem,
        project: &str,
        id: &str,
    ) -> Result<()> {
        let key = format(ecosystem).name_key(project)?;
        let mut tx = self.inner.store.write().await?;
        let project = self
            .project_for_change(&mut tx, actor, ecosystem, &key, Act::ManagePolicy)
            .await?;
        let there = self.inner.store.trusted_identities(&project.id).await?;
        let found = there.into_iter().find(|row| row.id == id);
        let gone = tx.remove_identity(&project.id, id, self.now()).await?;
        let Some(row) = found.filter(|_| gone) else {
            return Err(Error::new(
                Kind::NotFound,
                "trusted-identity-unknown",
                format!("{} trusts no such identity.", project.name),
            )
            .remedy("Look at the project's provenance settings."));
        };
        self.log_identity(&mut tx, actor, &project, ecosystem, &row, Way::Removed)
            .await?;
        tx.commit().await?;
        self.inner.beat.wake();
        Ok(())
    }

    async fn log_identity(
        &self,
        tx: &mut Tx,
        actor: &Actor,
        project: &CuratedProject,
        ecosystem: Ecosystem,
        row: &IdentityRow,
        way: Way,
    ) -> Result<()> {
        let name = format(ecosystem).name_key(&project.key)?;
        let subject = purl::project_purl(ecosystem, &name);
        let verb = match way {
            Way::Removed => "are no longer taken",
            _ => "are taken from now on",
        };
        let sentence = format!(
            "attestations of {}{} {verb} with API tokens",
            row.repository,
            row.workflow
                .as_ref()
                .map(|path| format!(" ({path})"))
                .unwrap_or_default()
        );
        let data = [
            ("project", project.name.as_str()),
            ("change", sentence.as_str()),
        ];
        self.notify_owners(tx, &project.id, None, NoticeKind::PolicyChanged, &data)
            .await?;
        let detail = json!({
            "attestation_identity": row.id, "issuer": row.issuer, "repository": row.repository, "workflow": row.workflow,
        });
        let change =
            Change::about(actor, LeafKind::PolicyChanged, subject, &project.id).way(way, None);
        self.record(tx, change, detail).await?;
        Ok(())
    }
}

/// A departure that the registry itself writes down: a rename by the same ids, or a loss that was only warned of.
pub(crate) fn noted(
    project: &crate::model::ProjectId,
    kind: ChangeKind,
    level: Option<TrustLevel>,
    from: Option<&SourceTuple>,
    to: Option<&SourceTuple>,
    reason: &str,
    now: Time,
) -> ChangeRow {
    ChangeRow {
        id: new_id(),
        project: project.clone(),
        kind,
        level,
        from: from.cloned(),
        to: to.cloned(),
        reason: reason.chars().take(500).collect(),
        opened_by: None,
        opener: None,
        opened: now,
        starts: now,
        ends: now,
        confirmer: None,
        closed: None,
        used: Some(now),
        uses: 1,
    }
}
