//! Who sees a project that is private: those with a role on it, and nobody else can tell it from one that is not there.
//!
//! A *reader* is whoever a request speaks for. The face says so once for each request ([`reading_as`]), as it says the
//! caller's address; whoever says nothing reads as nobody in particular, so that what forgets to say who reads shows too
//! little and never too much. The store hands out what may be private under a veil, and [`Registry::unveiled`] lifts it.
//! Who the reader is, is found out when the first private thing is asked for: what is public costs nothing.

use std::future::Future;
use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use countersign_formats::{Ecosystem, NameKey, format, purl};
use countersign_trust::leaf::{self, LeafKind};
use serde_json::json;
use tokio::sync::OnceCell;

use crate::Registry;
use crate::error::{Kind, Result};
use crate::heartbeat::Change;
use crate::model::{AccountId, Actor, Identity, Presented, ProjectId, Role, Roles};
use crate::policy::{self, Act, On};
use crate::store::{CuratedProject, PrivateProject, Seen, Tx, Veiled};
use crate::texts::NoticeKind;

tokio::task_local! {
    static READER: Reader;
}

/// Whom a request reads for. Cheap to clone; clones are one reader.
#[derive(Clone)]
pub struct Reader {
    inner: Arc<Reading>,
}

struct Reading {
    presented: Presented,
    from: Option<IpAddr>,
    actor: OnceCell<Actor>,
    saw_private: AtomicBool,
}

impl Reader {
    /// Whoever this credential, sent from this address, turns out to belong to. It is looked up when it is first needed;
    /// one that is not good makes the reader nobody in particular.
    pub fn with(presented: Presented, from: Option<IpAddr>) -> Self {
        Self {
            inner: Arc::new(Reading {
                presented,
                from,
                actor: OnceCell::new(),
                saw_private: AtomicBool::new(false),
            }),
        }
    }

    /// Somebody who is known.
    pub fn known(actor: Actor) -> Self {
        Self {
            inner: Arc::new(Reading {
                presented: Presented::Nothing,
                from: None,
                actor: OnceCell::new_with(Some(actor)),
                saw_private: AtomicBool::new(false),
            }),
        }
    }

    /// Whether anything was shown to this reader that not everybody may see: then no cache may keep the answer.
    pub fn saw_private(&self) -> bool {
        self.inner.saw_private.load(Ordering::Acquire)
    }

    fn sees_private(&self) {
        self.inner.saw_private.store(true, Ordering::Release);
    }
}

/// Reads for somebody, within this future and nowhere else: a task that it starts reads for nobody.
pub async fn reading_as<F: Future>(reader: Reader, reading: F) -> F::Output {
    READER.scope(reader, reading).await
}

/// Whether the reader, whoever it is, was shown anything private so far ([`Reader::saw_private`]).
pub fn saw_private() -> bool {
    reader().is_some_and(|reader| reader.saw_private())
}

fn reader() -> Option<Reader> {
    READER.try_with(Clone::clone).ok()
}

impl Registry {
    /// Lifts the veil for the reader; `None` where the reader is to see nothing there.
    pub(crate) async fn unveiled<T>(&self, veiled: Veiled<T>) -> Result<Option<T>> {
        let Some(private) = veiled.private() else {
            return Ok(Some(veiled.lifted()));
        };
        let Some(reader) = reader() else {
            return Ok(None);
        };
        let actor = self.actor_of(&reader).await?;
        if !self.sees(actor, private).await? {
            return Ok(None);
        }
        reader.sees_private();
        Ok(Some(veiled.lifted()))
    }

    /// [`Registry::unveiled`] of what may be nothing at all.
    pub(crate) async fn unveiled_maybe<T>(&self, veiled: Option<Veiled<T>>) -> Result<Option<T>> {
        match veiled {
            Some(veiled) => self.unveiled(veiled).await,
            None => Ok(None),
        }
    }

    /// What of a list the reader is to see.
    pub(crate) async fn unveiled_all<T>(&self, veiled: Vec<Veiled<T>>) -> Result<Vec<T>> {
        let mut shown = Vec::with_capacity(veiled.len());
        for veiled in veiled {
            shown.extend(self.unveiled(veiled).await?);
        }
        Ok(shown)
    }

    /// The projects that lists show to the reader.
    pub(crate) async fn seen(&self) -> Result<Seen> {
        let Some(reader) = reader() else {
            return Ok(Seen::Public);
        };
        let actor = self.actor_of(&reader).await?;
        if policy::operates(actor) {
            reader.sees_private();
            return Ok(Seen::All);
        }
        let Identity::Account { id, .. } = &actor.identity else {
            return Ok(Seen::Public);
        };
        let mut seen = Vec::new();
        for (project, roles) in self.inner.store.private_projects_of(id).await? {
            if self.may_see(actor, &project, roles) {
                seen.push(project.id);
            }
        }
        if seen.is_empty() {
            return Ok(Seen::Public);
        }
        reader.sees_private();
        Ok(Seen::Also(seen))
    }

    /// Within a transaction that changes a project: it is there for this caller. Whoever does not see it is told what is
    /// said of one that is not there.
    pub(crate) fn stands_before(
        &self,
        actor: &Actor,
        ecosystem: Ecosystem,
        project: &CuratedProject,
        roles: Roles,
    ) -> bool {
        let private = PrivateProject {
            id: project.id.clone(),
            ecosystem,
            key: project.key.clone(),
        };
        project.private.is_none() || self.may_see(actor, &private, roles)
    }

    /// The account that reads, where one does.
    pub(crate) async fn reading_account(&self) -> Option<AccountId> {
        let reader = reader()?;
        match &self.actor_of(&reader).await.ok()?.identity {
            Identity::Account { id, .. } => Some(id.clone()),
            _ => None,
        }
    }

    async fn actor_of<'a>(&self, reader: &'a Reader) -> Result<&'a Actor> {
        let Reading {
            presented,
            from,
            actor,
            ..
        } = &*reader.inner;
        let known = async || match self.authenticate_from(presented.clone(), *from).await {
            // Clients send what they have for a host, good or not; who reads what is public is not asked either.
            Err(error) if matches!(error.kind, Kind::Unauthenticated | Kind::Denied) => {
                Ok(Actor::anonymous())
            }
            outcome => outcome,
        };
        actor.get_or_try_init(known).await
    }

    /// Does this caller see a private project?
    pub(crate) async fn sees(&self, actor: &Actor, project: &PrivateProject) -> Result<bool> {
        let store = &self.inner.store;
        let roles = match &actor.identity {
            Identity::Account { id, .. } => store.roles_on(&project.id, id).await?,
            // A workflow has what its publisher gives: the releases, and no more.
            Identity::Workflow(workflow)
                if store
                    .publishes_here(&project.id, &workflow.publishers)
                    .await? =>
            {
                Roles::NONE.with(Role::Maintainer)
            }
            Identity::Workflow(_) | Identity::Anonymous | Identity::System { .. } => Roles::NONE,
        };
        Ok(self.may_see(actor, project, roles))
    }

    fn may_see(&self, actor: &Actor, project: &PrivateProject, roles: Roles) -> bool {
        let on = On::Project {
            ecosystem: project.ecosystem,
            key: &project.key,
            roles,
            critical: false,
        };
        policy::may(Act::SeePrivate, actor, on, self.now()).is_ok()
    }

    /// Makes a project private or public. To everybody without a role a project that becomes private is gone like a deleted
    /// one, so the registry's rule for deletion says whether its owners still may: who builds on what was published for
    /// long can go on building. What the log says of it stays public for ever: name, versions, digests.
    ///
    /// # Errors
    /// `role-missing`, `project-unknown`, `visibility-too-late`, `deletion-closed`; what the table demands.
    pub async fn set_private(
        &self,
        actor: &Actor,
        ecosystem: Ecosystem,
        name: &str,
        private: bool,
    ) -> Result<()> {
        let key = format(ecosystem).name_key(name)?;
        let now = self.now();
        let mut tx = self.inner.store.write().await?;
        let project = self
            .project_for_change(&mut tx, actor, ecosystem, &key, Act::SetVisibility)
            .await?;
        if project.private.is_some() == private {
            return Ok(());
        }
        if private {
            let facts = self.deletion_facts(&mut tx, &project.id).await?;
            for file in tx.curated_files(&project.id).await? {
                policy::may_withdraw(
                    self.inner.settings.delete,
                    &facts,
                    actor,
                    file.live,
                    now,
                    &project.name,
                )?;
            }
        }
        tx.set_private(&project.id, private.then_some(now)).await?;
        let told = match private {
            true => "only those with a role on it see it now",
            false => "everybody who may read this registry sees it now",
        };
        let data = [("project", project.name.as_str()), ("change", told)];
        self.notify_owners(&mut tx, &project.id, None, NoticeKind::PolicyChanged, &data)
            .await?;
        self.record_visibility(&mut tx, actor, ecosystem, &key, &project.id, private)
            .await?;
        self.finish(tx, ecosystem, &project, &[]).await
    }

    /// Writes the event of a visibility, and with it its leaf: a registry that is restored from a backup and the log shows
    /// nobody what became private after the backup.
    pub(crate) async fn record_visibility(
        &self,
        tx: &mut Tx,
        actor: &Actor,
        ecosystem: Ecosystem,
        key: &NameKey,
        project: &ProjectId,
        private: bool,
    ) -> Result<()> {
        let way = match private {
            true => leaf::Change::Added,
            false => leaf::Change::Removed,
        };
        let subject = purl::project_purl(ecosystem, key);
        let change =
            Change::about(actor, LeafKind::VisibilityChanged, subject, project).way(way, None);
        self.record(tx, change, json!({"private": private})).await?;
        Ok(())
    }
}
