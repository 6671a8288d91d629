//! Artifacts: paths with lengths and digests. Requests that arrive while a commit is under way share the next one.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use countersign_trust::tuf::repository::check_target;
use countersign_trust::tuf::{Envelope, Extra, Key, Limits, TargetFile, Targets};
use serde_json::{Value, json};
use tokio::sync::oneshot;

use super::request::{names, strict, wrong};
use super::{
    DAY, Done, FINISHED, ServiceDesk, ServiceTask, custom, days_of, delegations, is_online,
    not_ready, refused_request, repository_of,
};
use crate::Registry;
use crate::error::{Error, Result};
use crate::store::{PendingRow, ServiceRow, WRITE_CONFLICT};
use crate::tuf::{Contents, TargetChange, Writer, refused};

/// Artifacts that one request may name.
const MOST: usize = 10_000;
/// Artifacts that one commit takes, over all who wait.
const AT_ONCE: usize = 20_000;
/// How often a commit is tried again when another process was a moment earlier.
const RACES: usize = 20;

/// A request that waits for the next commit.
struct Job {
    task: ServiceTask,
    done: Done,
    changes: Vec<TargetChange>,
    /// Changes that wait no longer once this is published.
    deferred: Vec<String>,
    answer: oneshot::Sender<Result<()>>,
}

/// Who waits for the next commit of a service.
#[derive(Default)]
pub(crate) struct Queue {
    waiting: Mutex<Vec<Job>>,
}

impl Queue {
    /// The next ones, in the order in which they came: as many as one commit takes, at least one.
    fn take(&self) -> Vec<Job> {
        let mut waiting = self.waiting.lock().unwrap_or_else(PoisonError::into_inner);
        let mut sum = 0;
        let fit = waiting.iter().take_while(|job| {
            sum += job.changes.len();
            sum <= AT_ONCE
        });
        let count = fit.count().max(1).min(waiting.len());
        waiting.drain(..count).collect()
    }
}

fn artifact(item: &Value, task: Option<&str>) -> Result<(String, TargetFile)> {
    let path = item
        .get("path")
        .and_then(Value::as_str)
        .ok_or_else(|| wrong("an artifact has no `path`"))?;
    let mut info = item
        .get("info")
        .filter(|info| info.is_object())
        .cloned()
        .ok_or_else(|| wrong(&format!("the artifact {:?} has no `info`", cut(path))))?;
    let mut custom = info.get("custom").filter(|value| !value.is_null()).cloned();
    if let Some(id) = task {
        let mut object = custom.unwrap_or_else(|| json!({}));
        object["added_by_task_id"] = json!(id);
        custom = Some(object);
    }
    if let Some(info) = info.as_object_mut() {
        info.retain(|name, _| name == "length" || name == "hashes");
        if let Some(custom) = custom.filter(|custom| custom != &json!({})) {
            if !custom.is_object() || custom.to_string().len() > 4_096 {
                return Err(wrong("`custom` is no object, or longer than 4096 bytes"));
            }
            info.insert("custom".to_owned(), custom);
        }
    }
    let file = TargetFile::from_json(path, &info.to_string()).map_err(refused_request)?;
    check_target(path, &file).map_err(refused_request)?;
    Ok((path.to_owned(), file))
}

fn cut(path: &str) -> String {
    path.chars().take(80).collect()
}

fn flag(request: &Value, name: &str, default: bool) -> Result<bool> {
    match request.get(name) {
        None | Some(Value::Null) => Ok(default),
        Some(Value::Bool(value)) => Ok(*value),
        Some(_) => Err(wrong(&format!("`{name}` is not true or false"))),
    }
}

impl Registry {
    /// Lists artifacts. When this returns they are in the metadata that is served, unless they were to wait
    /// (`publish_artifacts` false), or belong to a role that people sign. The paths, and the task.
    ///
    /// # Errors
    /// `tuf-service-request` for one that can not be listed: none is then. `tuf-service-not-ready`.
    pub async fn add_tuf_artifacts(
        &self,
        desk: &ServiceDesk,
        body: &[u8],
    ) -> Result<(ServiceTask, Vec<String>)> {
        let request = strict(body)?;
        let items = request.get("artifacts").and_then(Value::as_array);
        let items = items
            .filter(|items| (1..=MOST).contains(&items.len()))
            .ok_or_else(|| wrong("`artifacts` is no list of 1 to 10000 artifacts"))?;
        let task = self.task();
        let marked = flag(&request, "add_task_id_to_custom", false)?.then_some(task.id.as_str());
        let mut changes = BTreeMap::new();
        for item in items {
            let (path, file) = artifact(item, marked)?;
            changes.insert(path, Some(file));
        }
        let paths: Vec<String> = changes.keys().cloned().collect();
        let done = Done::new(
            "add_artifacts",
            "Artifact(s) Added",
            json!({"added_artifacts": paths, "invalid_paths": []}),
        );
        let publish = flag(&request, "publish_artifacts", true)?;
        let task = self
            .change_artifacts(desk, task, done, changes, publish)
            .await?;
        Ok((task, paths))
    }

    /// Lists artifacts no longer. As [`Registry::add_tuf_artifacts`].
    ///
    /// # Errors
    /// As [`Registry::add_tuf_artifacts`].
    pub async fn remove_tuf_artifacts(
        &self,
        desk: &ServiceDesk,
        body: &[u8],
    ) -> Result<(ServiceTask, Vec<String>)> {
        let request = strict(body)?;
        let paths = names(&request, "/artifacts")?;
        if !(1..=MOST).contains(&paths.len()) {
            return Err(wrong("`artifacts` is no list of 1 to 10000 paths"));
        }
        let plain = TargetFile::of(b"");
        for path in &paths {
            check_target(path, &plain).map_err(refused_request)?;
        }
        let repository = repository_of(&desk.name);
        let known = self
            .inner
            .store
            .tuf_known_paths(&repository, &paths)
            .await?;
        let (deleted, missing): (Vec<&String>, Vec<&String>) =
            paths.iter().partition(|path| known.contains(path));
        let done = Done::new(
            "remove_artifacts",
            "Artifact(s) removed",
            json!({"deleted_artifacts": deleted, "not_found_artifacts": missing}),
        );
        let publish = flag(&request, "publish_artifacts", true)?;
        let changes = paths.iter().map(|path| (path.clone(), None)).collect();
        let task = self
            .change_artifacts(desk, self.task(), done, changes, publish)
            .await?;
        Ok((task, paths))
    }

    /// Publishes all that was to wait.
    ///
    /// # Errors
    /// `tuf-service-not-ready`.
    pub async fn publish_tuf_artifacts(&self, desk: &ServiceDesk) -> Result<ServiceTask> {
        let waiting = self.inner.store.tuf_service_deferred(&desk.name).await?;
        let mut changes = BTreeMap::new();
        for (path, info) in waiting {
            let file = match info {
                None => None,
                Some(info) => Some(TargetFile::from_json(&path, &info).map_err(refused)?),
            };
            changes.insert(path, file);
        }
        let paths: Vec<String> = changes.keys().cloned().collect();
        let done = Done::new(
            "publish_artifacts",
            "Publish artifacts processed",
            json!({"artifacts": paths.len()}),
        );
        self.publish_changes(desk, self.task(), done, changes, paths)
            .await
    }

    async fn change_artifacts(
        &self,
        desk: &ServiceDesk,
        task: ServiceTask,
        done: Done,
        changes: BTreeMap<String, Option<TargetFile>>,
        publish: bool,
    ) -> Result<ServiceTask> {
        if publish {
            return self
                .publish_changes(desk, task, done, changes, Vec::new())
                .await;
        }
        if self.service(&desk.name).await?.state != FINISHED {
            return Err(not_ready(&desk.name));
        }
        let rows = changes
            .into_iter()
            .map(|(path, file)| (path, file.map(|file| file.to_json())))
            .collect();
        let mut tx = self.inner.store.write().await?;
        tx.defer_tuf_changes(&desk.name, &rows, task.at).await?;
        tx.insert_tuf_tasks(&desk.name, &[done.row(&task.id, task.at)], task.at)
            .await?;
        tx.commit().await?;
        Ok(task)
    }

    /// Waits for its turn with others, and for the commit that has it.
    async fn publish_changes(
        &self,
        desk: &ServiceDesk,
        task: ServiceTask,
        done: Done,
        changes: BTreeMap<String, Option<TargetFile>>,
        deferred: Vec<String>,
    ) -> Result<ServiceTask> {
        let row = self.service(&desk.name).await?;
        if row.state != FINISHED {
            return Err(not_ready(&desk.name));
        }
        let queue = {
            let mut queues = self
                .inner
                .tuf
                .services
                .queues
                .lock()
                .unwrap_or_else(PoisonError::into_inner);
            queues.entry(desk.name.clone()).or_default().clone()
        };
        let (answer, answered) = oneshot::channel();
        let changes = changes
            .into_iter()
            .map(|(path, file)| TargetChange { path, file })
            .collect();
        let job = Job {
            task: task.clone(),
            done,
            changes,
            deferred,
            answer,
        };
        queue
            .waiting
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .push(job);
        // In a task of its own: a caller who goes away must not take with it those who wait beside it.
        tokio::spawn(self.clone().commit_next(row.name, queue));
        answered
            .await
            .map_err(|source| Error::internal("a commit of artifacts broke off", source))??;
        Ok(task)
    }

    /// Whoever gets the turn commits for all who wait by then; for those who come after it somebody else will.
    async fn commit_next(self, name: String, queue: Arc<Queue>) {
        let repository = repository_of(&name);
        let mut writer = match self.tuf_writer(&repository).await {
            Ok(writer) => Some(writer),
            Err(error) => {
                for job in queue.take() {
                    answer(job, Err(error.without_source()));
                }
                return;
            }
        };
        let jobs = queue.take();
        if jobs.is_empty() {
            if let Some(writer) = writer {
                writer.keep();
            }
            return;
        }
        let together = self.commit_jobs(&name, &jobs, writer.take()).await;
        match together {
            Ok(()) => {
                for job in jobs {
                    answer(job, Ok(()));
                }
            }
            // One of them can not be published: each by itself, so that the others do not suffer for it.
            Err(error) if jobs.len() > 1 && error.code != "database-unreachable" => {
                for job in jobs {
                    let outcome = self
                        .commit_jobs(&name, std::slice::from_ref(&job), None)
                        .await;
                    answer(job, outcome);
                }
            }
            Err(error) => {
                for job in jobs {
                    answer(job, Err(error.without_source()));
                }
            }
        }
    }

    async fn commit_jobs(&self, name: &str, jobs: &[Job], writer: Option<Writer>) -> Result<()> {
        let mut writer = writer;
        let mut races = 0;
        loop {
            let turn = match writer.take() {
                Some(writer) => writer,
                None => self.tuf_writer(&repository_of(name)).await?,
            };
            match self.commit_once(name, jobs, turn).await {
                Err(error) if error.code == WRITE_CONFLICT && races < RACES => races += 1,
                other => return other,
            }
        }
    }

    /// One commit for all of them. Bins come first, then roles under the online key, each in a transaction; the tasks are
    /// in the last one. A crash between the two leaves what is published, and requests that nobody answered: sent again
    /// they end the same way.
    async fn commit_once(&self, name: &str, jobs: &[Job], mut writer: Writer) -> Result<()> {
        let now = self.now();
        let row = self.service(name).await?;
        let store = &self.inner.store;
        let (mut bins, mut roles) = (Vec::new(), BTreeMap::<String, Vec<TargetChange>>::new());
        let known = custom(writer.repository().targets());
        for change in jobs.iter().flat_map(|job| &job.changes) {
            let role = writer
                .repository()
                .role_for(&change.path)
                .map_err(refused)?;
            if known.iter().any(|custom| custom.name == role) {
                roles.entry(role).or_default().push(change.clone());
            } else {
                bins.push(change.clone());
            }
        }
        let mut prepared = writer
            .change(store, &bins, now.seconds(), Extra::default())
            .await?;
        let mut waiting = Vec::new();
        if !roles.is_empty() {
            if let Some(first) = prepared.take() {
                self.publish_tuf_alone(writer, first).await?;
                writer = self.tuf_writer(&repository_of(name)).await?;
            }
            let signer = self.service_signer(&row.key_source)?;
            let online = Key::of(signer.as_ref()).map_err(refused)?;
            let mut contents = Vec::new();
            for role in known {
                let Some(changes) = roles.remove(&role.name) else {
                    continue;
                };
                if is_online(&role, &online) {
                    let mut held = writer.role_contents(store, &role.name).await?;
                    if apply(&mut held, changes) {
                        contents.push((role, held));
                    }
                    continue;
                }
                waiting.extend(self.people_to_sign(&writer, &row, &role, changes).await?);
            }
            if !contents.is_empty() {
                prepared = Some(writer.draft(now.seconds(), Extra::default(), |draft| {
                    for (role, held) in contents {
                        let life = days_of(&role) * DAY;
                        draft.sign_role(&role.name, held, life, &[signer.as_ref()])?;
                    }
                    Ok(())
                })?);
            }
        }
        let tasks: Vec<_> = jobs
            .iter()
            .map(|job| job.done.row(&job.task.id, now))
            .collect();
        let mut tx = store.write().await?;
        for pending in &waiting {
            tx.put_tuf_pending(name, pending, now).await?;
        }
        for job in jobs.iter().filter(|job| !job.deferred.is_empty()) {
            tx.drop_tuf_deferred(name, &job.deferred).await?;
        }
        tx.insert_tuf_tasks(name, &tasks, now).await?;
        if let Some(prepared) = &prepared {
            tx.publish_tuf(&prepared.publication, now).await?;
        }
        tx.commit().await?;
        match prepared {
            Some(prepared) => writer.published(self, prepared),
            None => writer.keep(),
        }
        Ok(())
    }

    /// The next document of a role that people sign, with these changes on top of what waits already: signatures of that do
    /// not count any more.
    async fn people_to_sign(
        &self,
        writer: &Writer,
        row: &ServiceRow,
        role: &countersign_trust::tuf::DelegatedRole,
        changes: Vec<TargetChange>,
    ) -> Result<Option<PendingRow>> {
        let store = &self.inner.store;
        let pending = store.tuf_service_pending(&row.name).await?;
        let mut held = match pending.iter().find(|pending| pending.role == role.name) {
            Some(pending) => {
                let read = Envelope::<Targets>::parse(
                    &role.name,
                    pending.body.as_bytes(),
                    &Limits::default(),
                );
                read.map_err(|why| {
                    Error::internal("a pending document is damaged", why.to_string())
                })?
                .document
                .targets
            }
            None => writer.role_contents(store, &role.name).await?,
        };
        if !apply(&mut held, changes) {
            return Ok(None);
        }
        let by = writer
            .repository()
            .targets()
            .ok_or_else(|| not_ready(&row.name))?;
        let standing = writer.repository().standings().get(role.name.as_str());
        let version = standing.map_or(0, |standing| standing.meta.version) + 1;
        let now = self.now().seconds();
        delegations::contents_pending(role, by, held, version, now).map(Some)
    }
}

/// Did anything change?
fn apply(held: &mut Contents, changes: Vec<TargetChange>) -> bool {
    let mut changed = false;
    for change in changes {
        match change.file {
            Some(file) => {
                changed |= held.get(&change.path) != Some(&file) && {
                    held.insert(change.path, file);
                    true
                }
            }
            None => changed |= held.remove(&change.path).is_some(),
        }
    }
    changed
}

fn answer(job: Job, outcome: Result<()>) {
    if job.answer.send(outcome).is_err() {
        tracing::debug!("whoever asked for a commit of artifacts went away");
    }
}
