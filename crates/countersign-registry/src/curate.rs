//! Curate: yank, delete, quarantine and their opposites. Withholding acts at the commit and is logged after it.

mod together;

use countersign_formats::npm::tags;
use countersign_formats::{Ecosystem, NameKey, format, purl};
use countersign_trust::leaf::{self, LeafKind};
use serde_json::json;

use crate::Registry;
use crate::error::{Error, Kind, Result};
use crate::fetch::{latest_of, unknown_project};
use crate::heartbeat::{Change, served_tags};
use crate::model::{
    Actor, FileId, FileState, Identity, Order, Portion, ProjectStatus, Roles, Time,
};
use crate::moderation::Opening;
use crate::policy::{self, Act, On};
use crate::store::{CuratedFile, CuratedProject, Tx};
use crate::texts::NoticeKind;

/// What to delete.
#[derive(Clone, Debug)]
pub enum Deletion<'a> {
    /// One file by its name.
    File(&'a str),
    /// A release with all its files.
    Release(&'a str),
    /// A project with everything in it.
    Project,
}

/// Reasons are shown to everyone; they are text of limited length without control characters.
fn reason(text: &str) -> Result<&str> {
    let text = text.trim();
    if text.len() > 500 || text.chars().any(char::is_control) {
        return Err(Error::new(
            Kind::Rejected,
            "reason",
            "A reason is one line of at most 500 bytes.",
        )
        .remedy("Shorten it, and link to more."));
    }
    Ok(text)
}

/// What the operator withheld is the operator's; a project's own people serve only what they withheld themselves.
fn keeps_to_own(operator: bool, withheld: bool, own: Option<Time>) -> Result<()> {
    if operator || !withheld || own.is_some() {
        return Ok(());
    }
    Err(Error::new(
        Kind::Denied,
        "operator-needed",
        "The operator withheld this; only the operator may change that.",
    )
    .remedy("Ask the operator of this registry."))
}

/// Messages of deprecations are shown by clients as they are; longer than reasons, since they mostly say what to do instead.
fn deprecation(text: &str) -> Result<&str> {
    let text = text.trim();
    if text.is_empty() || text.len() > 2_000 || text.chars().any(char::is_control) {
        return Err(Error::new(
            Kind::Rejected,
            "reason",
            "A deprecation's message is one line of 1 to 2,000 bytes.",
        )
        .remedy("Shorten it, and link to more."));
    }
    Ok(text)
}

fn unknown_release(version: &str, project: &str) -> Error {
    Error::new(
        Kind::NotFound,
        "release-unknown",
        format!("There is no version {version} of {project} here."),
    )
    .remedy("Look at the project's page for its versions.")
}

fn not_quarantined(what: &str) -> Error {
    Error::new(
        Kind::Rejected,
        "not-quarantined",
        format!("{what} is not in quarantine."),
    )
    .remedy("There is nothing to release.")
}

impl Registry {
    /// Marks a release as one that installers should not choose by themselves (PEP 592).
    ///
    /// # Errors
    /// `role-missing`, `project-unknown`, `release-unknown`, `reason`.
    pub async fn yank(
        &self,
        actor: &Actor,
        ecosystem: Ecosystem,
        name: &str,
        version: &str,
        why: &str,
    ) -> Result<()> {
        self.set_yank(actor, ecosystem, name, version, Some(reason(why)?))
            .await
    }

    /// Takes a yank back.
    ///
    /// # Errors
    /// `role-missing`, `project-unknown`, `release-unknown`.
    pub async fn unyank(
        &self,
        actor: &Actor,
        ecosystem: Ecosystem,
        name: &str,
        version: &str,
    ) -> Result<()> {
        self.set_yank(actor, ecosystem, name, version, None).await
    }

    async fn set_yank(
        &self,
        actor: &Actor,
        ecosystem: Ecosystem,
        name: &str,
        version: &str,
        why: Option<&str>,
    ) -> Result<()> {
        let rules = format(ecosystem);
        let (key, version) = (rules.name_key(name)?, rules.version(version)?);
        let now = self.now();
        let mut tx = self.inner.store.write().await?;
        let project = self
            .project_for_change(&mut tx, actor, ecosystem, &key, Act::Yank)
            .await?;
        let Some(release) = tx.curated_release(&project.id, version.key()).await? else {
            return Err(unknown_release(version.canonical(), &project.name));
        };
        if release.yanked.is_some() == why.is_some() && why.is_none() {
            return Ok(());
        }
        if why.is_some() && release.yanked.is_none() {
            self.count_yank(&mut tx, actor, &project.id, &project.name)
                .await?;
        }
        tx.set_yank(&release.id, why.map(|why| (now, why))).await?;
        let kind = if why.is_some() {
            LeafKind::Yanked
        } else {
            LeafKind::Unyanked
        };
        let subject = purl::release_purl(ecosystem, &key, &release.version);
        self.record(
            &mut tx,
            Change::about(actor, kind, subject, &project.id),
            json!({"reason": why}),
        )
        .await?;
        self.finish(tx, ecosystem, &project, &[]).await
    }

    /// Says that a release should not be used any more, in words that whoever installs it is shown; `None` takes it back.
    ///
    /// # Errors
    /// `role-missing`, `project-unknown`, `release-unknown`, `reason`.
    pub async fn deprecate(
        &self,
        actor: &Actor,
        ecosystem: Ecosystem,
        name: &str,
        version: &str,
        message: Option<&str>,
    ) -> Result<()> {
        let mut tx = self.inner.store.write().await?;
        let changed = self
            .deprecate_in(&mut tx, actor, ecosystem, name, version, message)
            .await?;
        match changed {
            Some(project) => self.finish(tx, ecosystem, &project, &[]).await,
            None => Ok(()),
        }
    }

    /// Within a transaction; `None` where nothing changes.
    async fn deprecate_in(
        &self,
        tx: &mut Tx,
        actor: &Actor,
        ecosystem: Ecosystem,
        name: &str,
        version: &str,
        message: Option<&str>,
    ) -> Result<Option<CuratedProject>> {
        let rules = format(ecosystem);
        let (key, version) = (rules.name_key(name)?, rules.version(version)?);
        let message = message.map(deprecation).transpose()?;
        let now = self.now();
        let project = self
            .project_for_change(tx, actor, ecosystem, &key, Act::Deprecate)
            .await?;
        let Some(release) = tx.curated_release(&project.id, version.key()).await? else {
            return Err(unknown_release(version.canonical(), &project.name));
        };
        if release.deprecated.as_deref() == message {
            return Ok(None);
        }
        tx.set_deprecation(&release.id, message.map(|message| (now, message)))
            .await?;
        let subject = purl::release_purl(ecosystem, &key, &release.version);
        let change = Change::about(actor, LeafKind::Deprecated, subject, &project.id);
        let change = match message {
            Some(_) => change,
            None => change.way(leaf::Change::Removed, None),
        };
        self.record(tx, change, json!({"message": message})).await?;
        Ok(Some(project))
    }

    /// The tags of an npm package, each with its version; those that are served alone.
    ///
    /// # Errors
    /// `project-unknown`; a refused name.
    pub async fn dist_tags(&self, name: &str) -> Result<Vec<(String, String)>> {
        let key = format(Ecosystem::Npm).name_key(name)?;
        let Some((state, _)) = self.shown_project(Ecosystem::Npm, key.as_str()).await? else {
            return Err(unknown_project(name));
        };
        let files = self.inner.store.files_of(&state.id).await?;
        let stored = self
            .inner
            .store
            .tags_of(std::slice::from_ref(&state.id))
            .await?
            .remove(&state.id)
            .unwrap_or_default();
        let versions: Vec<&str> = files.iter().map(|file| file.version.as_str()).collect();
        Ok(served_tags(&versions, &stored))
    }

    /// Points a tag of an npm package to a version.
    ///
    /// # Errors
    /// `role-missing`, `project-unknown`, `release-unknown`, `tag-invalid`, `tags-too-many`.
    pub async fn set_dist_tag(
        &self,
        actor: &Actor,
        name: &str,
        tag: &str,
        version: &str,
    ) -> Result<()> {
        self.change_tag(actor, name, tag, Some(version)).await
    }

    /// Takes a tag of an npm package away.
    ///
    /// # Errors
    /// `role-missing`, `project-unknown`, `tag-latest`, `tag-unknown`.
    pub async fn remove_dist_tag(&self, actor: &Actor, name: &str, tag: &str) -> Result<()> {
        self.change_tag(actor, name, tag, None).await
    }

    async fn change_tag(
        &self,
        actor: &Actor,
        name: &str,
        tag: &str,
        version: Option<&str>,
    ) -> Result<()> {
        let mut tx = self.inner.store.write().await?;
        let changed = self
            .change_tag_in(&mut tx, actor, name, tag, version)
            .await?;
        match changed {
            Some(project) => self.finish(tx, Ecosystem::Npm, &project, &[]).await,
            None => Ok(()),
        }
    }

    /// Within a transaction; `None` where nothing changes.
    async fn change_tag_in(
        &self,
        tx: &mut Tx,
        actor: &Actor,
        name: &str,
        tag: &str,
        version: Option<&str>,
    ) -> Result<Option<CuratedProject>> {
        match version {
            Some(_) => tags::check(tag)?,
            None => tags::check_removal(tag)?,
        }
        let rules = format(Ecosystem::Npm);
        let key = rules.name_key(name)?;
        let now = self.now();
        let project = self
            .project_for_change(tx, actor, Ecosystem::Npm, &key, Act::Tag)
            .await?;
        let (count, before) = tx.tag_facts(&project.id, tag).await?;
        let version = match version {
            Some(version) => {
                let version = rules.version(version)?;
                let Some(release) = tx.curated_release(&project.id, version.key()).await? else {
                    return Err(unknown_release(version.canonical(), &project.name));
                };
                if before.as_deref() == Some(release.version.as_str()) {
                    return Ok(None);
                }
                policy::may_set_tag(&project.name, count, before.as_deref())?;
                tx.set_tag(&project.id, tag, &release.id, now).await?;
                Some(release.version)
            }
            None => {
                if !tx.drop_tag(&project.id, tag).await? {
                    return Err(Error::new(
                        Kind::NotFound,
                        "tag-unknown",
                        format!("{} has no tag {tag}.", project.name),
                    )
                    .remedy("`npm dist-tag ls` shows the tags that there are."));
                }
                None
            }
        };
        // Where `latest` points decides what is installed: it is in the log like every other rule.
        let change = Change::about(
            actor,
            LeafKind::PolicyChanged,
            purl::project_purl(Ecosystem::Npm, &key),
            &project.id,
        )
        .way(leaf::Change::Replaced, None);
        self.record(
            tx,
            change,
            json!({"tag": tag, "before": before, "version": version}),
        )
        .await?;
        Ok(Some(project))
    }

    /// Deletes under the instance's policy. Names, versions and file names stay taken for ever.
    ///
    /// # Errors
    /// `role-missing`, `deletion-too-late`, `deletion-closed`, `project-unknown`, `release-unknown`, `file-unknown`.
    pub async fn delete(
        &self,
        actor: &Actor,
        ecosystem: Ecosystem,
        name: &str,
        what: Deletion<'_>,
    ) -> Result<()> {
        let mut tx = self.inner.store.write().await?;
        let (project, doomed) = self
            .delete_in(&mut tx, actor, ecosystem, name, what)
            .await?;
        self.finish(tx, ecosystem, &project, &doomed).await
    }

    /// Within a transaction; the project, and the files that are gone.
    async fn delete_in(
        &self,
        tx: &mut Tx,
        actor: &Actor,
        ecosystem: Ecosystem,
        name: &str,
        what: Deletion<'_>,
    ) -> Result<(CuratedProject, Vec<CuratedFile>)> {
        let rules = format(ecosystem);
        let key = rules.name_key(name)?;
        let now = self.now();
        let act = match what {
            Deletion::Project => Act::DeleteProject,
            Deletion::File(_) | Deletion::Release(_) => Act::Delete,
        };
        let project = self
            .project_for_change(tx, actor, ecosystem, &key, act)
            .await?;
        let files = tx.curated_files(&project.id).await?;
        let (doomed, subject, closes): (Vec<CuratedFile>, String, (Option<String>, Option<&str>)) =
            match what {
                Deletion::File(filename) => {
                    let found: Vec<_> = files
                        .iter()
                        .filter(|file| file.filename == filename)
                        .cloned()
                        .collect();
                    let Some(file) = found.first() else {
                        return Err(Error::new(
                            Kind::NotFound,
                            "file-unknown",
                            format!("There is no file {filename} in {} here.", project.name),
                        )
                        .remedy("Look at the project's page for its files."));
                    };
                    let subject = file.purl.clone();
                    (found, subject, (None, Some(filename)))
                }
                Deletion::Release(version) => {
                    let version = rules.version(version)?;
                    let Some(release) = tx.curated_release(&project.id, version.key()).await?
                    else {
                        return Err(unknown_release(version.canonical(), &project.name));
                    };
                    tx.remove_release(&release.id, now).await?;
                    let subject = purl::release_purl(ecosystem, &key, &release.version);
                    (
                        files
                            .iter()
                            .filter(|file| file.release == release.id)
                            .cloned()
                            .collect(),
                        subject,
                        (Some(release.version), None),
                    )
                }
                Deletion::Project => {
                    tx.remove_project(&project.id, now).await?;
                    (
                        files.clone(),
                        purl::project_purl(ecosystem, &key),
                        (None, None),
                    )
                }
            };
        self.close_removed(tx, &project.id, closes.0.as_deref(), closes.1)
            .await?;
        let facts = self.deletion_facts(tx, &project.id).await?;
        for file in &doomed {
            policy::may_delete(
                self.inner.settings.delete,
                &facts,
                actor,
                file.live,
                now,
                &file.filename,
            )?;
        }
        self.use_approval(tx, actor, act, &subject, "").await?;
        let ids: Vec<FileId> = doomed.iter().map(|file| file.id.clone()).collect();
        tx.set_files_state(&ids, FileState::Removed, None, now)
            .await?;
        let emptied: std::collections::HashSet<_> =
            doomed.iter().map(|file| file.release.clone()).collect();
        for release in emptied {
            if files
                .iter()
                .filter(|file| file.release == release)
                .all(|file| ids.contains(&file.id))
            {
                tx.remove_release(&release, now).await?;
            }
        }
        let names: Vec<&str> = doomed.iter().map(|file| file.filename.as_str()).collect();
        let data = [("subject", subject.as_str()), ("who", actor.name())];
        self.notify_owners(tx, &project.id, None, NoticeKind::ProjectDeleted, &data)
            .await?;
        self.record(
            tx,
            Change::about(actor, LeafKind::Deleted, subject, &project.id),
            json!({"files": names}),
        )
        .await?;
        Ok((project, doomed))
    }

    /// Would [`Registry::delete`] delete this now? Nothing is changed.
    ///
    /// # Errors
    /// Those that the deletion itself would end in, but for a missing approval.
    pub async fn may_delete(
        &self,
        actor: &Actor,
        ecosystem: Ecosystem,
        name: &str,
        what: Deletion<'_>,
    ) -> Result<Vec<String>> {
        let rules = format(ecosystem);
        let key = rules.name_key(name)?;
        let act = match what {
            Deletion::Project => Act::DeleteProject,
            Deletion::File(_) | Deletion::Release(_) => Act::Delete,
        };
        // Dropped in the end, and with it whatever was locked.
        let mut tx = self.inner.store.write().await?;
        let project = self
            .project_for_change(&mut tx, actor, ecosystem, &key, act)
            .await?;
        let files = tx.curated_files(&project.id).await?;
        let doomed: Vec<CuratedFile> = match what {
            Deletion::Project => files,
            Deletion::File(filename) => files
                .into_iter()
                .filter(|file| file.filename == filename)
                .collect(),
            Deletion::Release(version) => {
                let version = rules.version(version)?;
                let Some(release) = tx.curated_release(&project.id, version.key()).await? else {
                    return Err(unknown_release(version.canonical(), &project.name));
                };
                files
                    .into_iter()
                    .filter(|file| file.release == release.id)
                    .collect()
            }
        };
        let facts = self.deletion_facts(&mut tx, &project.id).await?;
        for file in &doomed {
            let settings = &self.inner.settings;
            policy::may_delete(
                settings.delete,
                &facts,
                actor,
                file.live,
                self.now(),
                &file.filename,
            )?;
        }
        Ok(doomed.into_iter().map(|file| file.filename).collect())
    }

    /// Withholds a file, or a whole project: the operator any, owners and security contacts their own.
    ///
    /// # Errors
    /// As [`Registry::withhold`].
    pub async fn quarantine(
        &self,
        actor: &Actor,
        ecosystem: Ecosystem,
        name: &str,
        file: Option<&str>,
        why: &str,
    ) -> Result<()> {
        let portion = file.map_or(Portion::Project, Portion::File);
        self.withhold(actor, ecosystem, name, portion, Order::because(why))
            .await
    }

    /// Serves a withheld file or project again; what the operator withheld, only the operator serves.
    ///
    /// # Errors
    /// As [`Registry::serve_again`].
    pub async fn release_quarantine(
        &self,
        actor: &Actor,
        ecosystem: Ecosystem,
        name: &str,
        file: Option<&str>,
    ) -> Result<()> {
        let portion = file.map_or(Portion::Project, Portion::File);
        self.serve_again(actor, ecosystem, name, portion).await
    }

    /// Withholds a project, a release or a file at once: the operator any, owners and security contacts their own. What an
    /// operator or a rule withholds is a case, which waits for a decision; it may freeze those who published it.
    ///
    /// # Errors
    /// `role-missing`, `operator-needed` where the operator has withheld it already, or where somebody else would freeze;
    /// `project-unknown`, `release-unknown`, `file-unknown`, `reason`.
    pub async fn withhold(
        &self,
        actor: &Actor,
        ecosystem: Ecosystem,
        name: &str,
        portion: Portion<'_>,
        order: Order<'_>,
    ) -> Result<()> {
        let order = Order {
            reason: reason(order.reason)?,
            ..order
        };
        if order.freeze {
            policy::may_operate(actor, "freeze those who publish")?;
        }
        self.set_quarantine(actor, ecosystem, name, portion, Some(order))
            .await
    }

    /// Serves again what is withheld or held; what the operator withheld, only the operator serves. Whom the case froze is
    /// free again.
    ///
    /// # Errors
    /// `role-missing`, `operator-needed`, `project-unknown`, `release-unknown`, `file-unknown`, `not-quarantined`.
    pub async fn serve_again(
        &self,
        actor: &Actor,
        ecosystem: Ecosystem,
        name: &str,
        portion: Portion<'_>,
    ) -> Result<()> {
        self.set_quarantine(actor, ecosystem, name, portion, None)
            .await
    }

    async fn set_quarantine(
        &self,
        actor: &Actor,
        ecosystem: Ecosystem,
        name: &str,
        portion: Portion<'_>,
        order: Option<Order<'_>>,
    ) -> Result<()> {
        let rules = format(ecosystem);
        let key = rules.name_key(name)?;
        let now = self.now();
        let mut tx = self.inner.store.write().await?;
        let project = self
            .project_for_change(&mut tx, actor, ecosystem, &key, Act::Quarantine)
            .await?;
        let operator = policy::operates(actor);
        let why = order.map(|order| order.reason);
        let kind = if why.is_some() {
            LeafKind::Quarantined
        } else {
            LeafKind::Released
        };
        let files = tx.curated_files(&project.id).await?;
        let own = why.is_some() && !operator;
        let ids = |files: &[&CuratedFile]| -> Vec<FileId> {
            files.iter().map(|file| file.id.clone()).collect()
        };
        let (subject, version, filename, concerned) = match portion {
            Portion::Project => {
                keeps_to_own(
                    operator,
                    project.status == ProjectStatus::Quarantined,
                    project.own_quarantine,
                )?;
                let status = match (why, project.status) {
                    (Some(_), _) => ProjectStatus::Quarantined,
                    (None, ProjectStatus::Quarantined) => {
                        project.before.unwrap_or(ProjectStatus::Active)
                    }
                    (None, _) => return Err(not_quarantined(&project.name)),
                };
                tx.set_project_status(&project.id, status, why, now).await?;
                tx.set_own_quarantine(&project.id, None, own.then_some(now))
                    .await?;
                let all: Vec<&CuratedFile> = files.iter().collect();
                (
                    purl::project_purl(ecosystem, &key),
                    String::new(),
                    "",
                    ids(&all),
                )
            }
            Portion::Release(version) => {
                let version = rules.version(version)?;
                let Some(release) = tx.curated_release(&project.id, version.key()).await? else {
                    return Err(unknown_release(version.canonical(), &project.name));
                };
                keeps_to_own(
                    operator,
                    release.quarantined.is_some(),
                    release.own_quarantine,
                )?;
                if why.is_none() && release.quarantined.is_none() {
                    return Err(not_quarantined(&format!(
                        "Version {} of {}",
                        release.version, project.name
                    )));
                }
                let within: Vec<&CuratedFile> = files
                    .iter()
                    .filter(|file| file.release == release.id)
                    .collect();
                if let Some(why) = why {
                    // A file that was withheld by itself stays so when the release comes back.
                    let served: Vec<&CuratedFile> = within
                        .iter()
                        .filter(|file| !file.withheld())
                        .copied()
                        .collect();
                    let served = ids(&served);
                    tx.set_files_state(&served, FileState::Quarantined, Some(why), now)
                        .await?;
                    tx.set_withheld_with_release(&served, Some(now)).await?;
                } else {
                    for state in [FileState::Live, FileState::Staged] {
                        let back: Vec<&CuratedFile> = within
                            .iter()
                            .filter(|file| {
                                file.with_release.is_some()
                                    && file.withheld()
                                    && file.served_again() == state
                            })
                            .copied()
                            .collect();
                        tx.set_files_state(&ids(&back), state, None, now).await?;
                    }
                    tx.set_withheld_with_release(&ids(&within), None).await?;
                }
                tx.set_release_quarantine(&release.id, why.map(|why| (now, why)), own)
                    .await?;
                let within = ids(&within);
                (
                    purl::release_purl(ecosystem, &key, &release.version),
                    release.version,
                    "",
                    within,
                )
            }
            Portion::File(filename) => {
                let Some(file) = files.iter().find(|file| file.filename == filename) else {
                    return Err(Error::new(
                        Kind::NotFound,
                        "file-unknown",
                        format!("There is no file {filename} in {} here.", project.name),
                    )
                    .remedy("Look at the project's page for its files."));
                };
                // What its release is withheld with is judged there.
                keeps_to_own(operator, file.withheld(), file.own_quarantine)?;
                if why.is_none() && !file.withheld() {
                    return Err(not_quarantined(filename));
                }
                let state = match why {
                    Some(_) => FileState::Quarantined,
                    None => file.served_again(),
                };
                let this = std::slice::from_ref(&file.id);
                tx.set_files_state(this, state, why, now).await?;
                tx.set_withheld_with_release(this, None).await?;
                tx.set_own_quarantine(&project.id, Some(&file.id), own.then_some(now))
                    .await?;
                (
                    file.purl.clone(),
                    String::new(),
                    filename,
                    vec![file.id.clone()],
                )
            }
        };
        match &order {
            Some(order) if operator => {
                let about = Opening {
                    project: &project.id,
                    subject: &subject,
                    version: &version,
                    filename,
                    held: false,
                };
                self.open_case(&mut tx, actor, &about, order, &concerned)
                    .await?;
            }
            Some(_) => {}
            None => self.close_case(&mut tx, actor, &subject).await?,
        }
        if let Some(why) = why {
            let data = [("subject", subject.as_str()), ("why", why)];
            self.notify_owners(
                &mut tx,
                &project.id,
                None,
                NoticeKind::ProjectWithheld,
                &data,
            )
            .await?;
        }
        let cause = order.map(|order| order.cause.as_str());
        self.record(
            &mut tx,
            Change::about(actor, kind, subject, &project.id),
            json!({"reason": why, "cause": cause}),
        )
        .await?;
        self.finish(tx, ecosystem, &project, &files).await
    }

    /// Sets a project's status (PEP 792). Owners archive, deprecate and reactivate; quarantine is the operator's.
    ///
    /// # Errors
    /// `role-missing`, `operator-needed`, `project-unknown`, `reason`.
    pub async fn set_status(
        &self,
        actor: &Actor,
        ecosystem: Ecosystem,
        name: &str,
        status: ProjectStatus,
        why: Option<&str>,
    ) -> Result<()> {
        if status == ProjectStatus::Quarantined {
            return self
                .quarantine(actor, ecosystem, name, None, why.unwrap_or_default())
                .await;
        }
        let key = format(ecosystem).name_key(name)?;
        let why = why.map(reason).transpose()?;
        let now = self.now();
        let mut tx = self.inner.store.write().await?;
        let project = self
            .project_for_change(&mut tx, actor, ecosystem, &key, Act::SetStatus)
            .await?;
        let withheld = project.status == ProjectStatus::Quarantined;
        keeps_to_own(policy::operates(actor), withheld, project.own_quarantine)?;
        tx.set_own_quarantine(&project.id, None, None).await?;
        tx.set_project_status(&project.id, status, why, now).await?;
        let subject = purl::project_purl(ecosystem, &key);
        if withheld {
            self.close_case(&mut tx, actor, &subject).await?;
        }
        let change = match (project.status, status) {
            (ProjectStatus::Quarantined, _) => {
                Change::about(actor, LeafKind::Released, subject, &project.id)
            }
            (_, ProjectStatus::Deprecated) => {
                Change::about(actor, LeafKind::Deprecated, subject, &project.id)
            }
            _ => Change::about(actor, LeafKind::PolicyChanged, subject, &project.id)
                .way(countersign_trust::leaf::Change::Replaced, None),
        };
        let told = format!("its status is {} now", status.as_str());
        let data = [("project", project.name.as_str()), ("change", &told)];
        self.notify_owners(&mut tx, &project.id, None, NoticeKind::PolicyChanged, &data)
            .await?;
        self.record(
            &mut tx,
            change,
            json!({"status": status.as_str(), "reason": why}),
        )
        .await?;
        self.finish(tx, ecosystem, &project, &[]).await
    }

    /// The project, its row locked, if this caller may do this to it.
    pub(crate) async fn project_for_change(
        &self,
        tx: &mut Tx,
        actor: &Actor,
        ecosystem: Ecosystem,
        key: &NameKey,
        act: Act,
    ) -> Result<CuratedProject> {
        self.in_good_standing(tx, actor, act, key.as_str()).await?;
        let Some(project) = tx.curated_project(ecosystem, key.as_str()).await? else {
            return Err(unknown_project(key.as_str()));
        };
        let roles = match &actor.identity {
            Identity::Account { id, .. } => tx.roles_of(&project.id, id).await?,
            _ => Roles::NONE,
        };
        if !self.stands_before(actor, ecosystem, &project, roles) {
            return Err(unknown_project(key.as_str()));
        }
        let on = On::Project {
            ecosystem,
            key: key.as_str(),
            roles,
            critical: project.critical.is_some(),
        };
        policy::may(act, actor, on, self.now())?;
        // Looking, withholding, stopping and leaving are never made to wait for a factor.
        let free = [
            Act::SeeSettings,
            Act::Quarantine,
            Act::Cancel,
            Act::LeaveProject,
        ];
        if !free.contains(&act) && !policy::operates(actor) {
            self.nothing_stops(tx, actor, Some(&project.id), None)
                .await?;
            self.demands_met(tx, actor, Some(&project.id)).await?;
        }
        Ok(project)
    }

    /// Raises the serial, drops the outdated documents, commits, and makes memory forget. *Crash before the commit*:
    /// nothing happened. *After it*: it is withheld; the event waits in the outbox for the next beat.
    pub(crate) async fn finish(
        &self,
        mut tx: Tx,
        ecosystem: Ecosystem,
        project: &CuratedProject,
        files: &[CuratedFile],
    ) -> Result<()> {
        let now = self.now();
        tx.raise_serials(std::slice::from_ref(&project.id), now, false)
            .await?;
        tx.drop_documents(&project.id, now).await?;
        let left = tx.live_files(&project.id).await?;
        let (latest, summary) = latest_of(ecosystem, &left)
            .map(|file| (file.version.clone(), file.summary.clone()))
            .unwrap_or_default();
        tx.set_latest(&[(project.id.clone(), latest, summary)])
            .await?;
        let digests = tx.digests_of(&project.id).await?;
        tx.commit().await?;
        let names: Vec<(String, String)> = digests
            .into_iter()
            .filter(|(_, name)| files.is_empty() || files.iter().any(|file| file.filename == *name))
            .collect();
        self.inner.fetch.forget(ecosystem, &project.key, names);
        self.inner.fetch.hide(self.now());
        self.inner.beat.wake();
        self.wake_office();
        Ok(())
    }
}
