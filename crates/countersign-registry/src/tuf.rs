//! TUF repositories: what is signed, published and shown (`docs/spec/tuf.md`).
//!
//! The pure half is `countersign_trust::tuf::repository`. Here a [`Writer`] holds what was published last, as the log's
//! writer does: read from the rows, dropped after any failure, fenced by the version of the timestamp. What it
//! [prepares](Writer::change) is published inside a transaction of its caller ([`crate::store::Tx::publish_tuf`]), with
//! whatever else that holds; so of a commit all is there or nothing, whenever the process dies. Then [`Writer::published`]
//! lets memory follow.
//!
//! - `keys`: where the keys are.
//! - `own`: the repositories of our own index: `pypi`, `npm`, `cargo`, and `roots`, which lists their roots.
//! - `namespaces`: what of those their owners sign, and not this server.
//! - `renewal`: what is signed anew as time passes, and what is deleted.
//! - `service`: what is signed for registries elsewhere.
//! - `shelf`: what is served.

mod ceremonies;
pub(crate) mod keys;
mod namespaces;
pub(crate) mod own;
mod renewal;
mod service;
mod shelf;

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::{Arc, Mutex, PoisonError, RwLock};

use countersign_trust::sigstore::Signs;
use countersign_trust::tuf::repository::{
    Commit, Draft, Lifetimes, OnlineKeys, Published, Repository, Standing, Standings,
};
use countersign_trust::tuf::{
    DelegatedRole, Envelope, Extra, Limits, Refusal, TargetFile, Targets, place,
};
use serde::{Deserialize, Serialize};

use crate::Registry;
use crate::error::{Error, Kind, Result};
use crate::store::{Store, TufFileRow, TufPublication, TufTargetRow};

pub use ceremonies::{TufPosition, TufRoleState};
pub use namespaces::{NamespaceKeys, TufNamespace, TufWaiting};
pub(crate) use own::{OWN, ROOTS, document_name, target_path};
pub use own::{TufRepository, TufTrust};
pub(crate) use renewal::{LIFT, lift_after};
pub use service::{ServiceDesk, ServiceTask, TufServiceSummary};
pub(crate) use shelf::Shelf;

/// Targets that a writer keeps in memory, over all its bins.
const WARM: usize = 50_000;

/// How a repository is run: a row's JSON.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Terms {
    /// Every key lies in the folder of keys, that of the root too: whoever has the folder has all.
    #[serde(default)]
    pub(crate) development: bool,
    /// The source of each role's key that this server may use by itself ([`keys::signer`]): `timestamp`, `snapshot`, `index`,
    /// `bins`, and in development `root` and `targets`.
    pub(crate) keys: BTreeMap<String, String>,
    /// How long documents are good for.
    #[serde(default)]
    pub(crate) lifetimes: Lifetimes,
    /// Are former targets kept for a day, for those who began before? Only where their bytes are here.
    #[serde(default)]
    pub(crate) keep_former: bool,
    /// Does the number of bins stay what it is? Else it grows with the targets.
    #[serde(default)]
    pub(crate) fixed_bins: bool,
    /// Keys that the next root or targets may put in the place of those in use, by role.
    #[serde(default)]
    pub(crate) next: BTreeMap<String, String>,
    /// For how long top-level targets are good where the server has their key, in seconds; else a year.
    #[serde(default)]
    pub(crate) targets_good_for: Option<i64>,
}

impl Terms {
    /// The key of a role.
    fn signer(&self, role: &str, folder: &std::path::Path) -> Result<Box<dyn Signs>> {
        let source = self.keys.get(role).ok_or_else(|| {
            Error::new(
                Kind::Unavailable,
                "tuf-key-missing",
                format!("No key is named for TUF's role `{role}`."),
            )
            .remedy("Name one: see docs/operating-tuf.md.")
        })?;
        keys::signer(source, folder)
    }

    fn to_json(&self) -> Result<String> {
        serde_json::to_string(self)
            .map_err(|source| Error::internal("terms of TUF can not be written", source))
    }
}

/// The keys that sign without a person.
struct Online {
    timestamp: Box<dyn Signs>,
    snapshot: Box<dyn Signs>,
    index: Box<dyn Signs>,
    bins: Box<dyn Signs>,
}

impl Online {
    fn open(terms: &Terms, folder: &std::path::Path) -> Result<Self> {
        Ok(Self {
            timestamp: terms.signer("timestamp", folder)?,
            snapshot: terms.signer("snapshot", folder)?,
            index: terms.signer("index", folder)?,
            bins: terms.signer("bins", folder)?,
        })
    }

    fn keys(&self) -> OnlineKeys<'_> {
        OnlineKeys {
            timestamp: &*self.timestamp,
            snapshot: &*self.snapshot,
            index: &*self.index,
            bins: &*self.bins,
        }
    }
}

type Contents = BTreeMap<String, TargetFile>;

/// What was published last, as the writer remembers it.
struct State {
    /// The version of the timestamp in the rows; 0 for a repository that is yet to be made.
    version: u64,
    repository: Repository,
    terms: Terms,
    online: Arc<Online>,
    /// How many targets there are.
    targets: u64,
    /// Bins that were written or asked for lately.
    warm: HashMap<String, Contents>,
}

/// A change of a target.
#[derive(Clone, Debug)]
pub(crate) struct TargetChange {
    /// The path.
    pub(crate) path: String,
    /// The file; nothing where the path is to be a target no longer.
    pub(crate) file: Option<TargetFile>,
}

/// A commit that is signed and not published yet.
pub(crate) struct Prepared {
    /// What [`crate::store::Tx::publish_tuf`] writes.
    pub(crate) publication: TufPublication,
    next: Box<State>,
}

/// The writer's memory of one repository; none after a failure.
type Turn = tokio::sync::Mutex<Option<Box<State>>>;

/// What a process remembers of all repositories.
#[derive(Default)]
pub(crate) struct Room {
    writers: Mutex<HashMap<String, Arc<Turn>>>,
    pub(crate) shelf: Shelf,
    services: service::ServiceRoom,
    /// The roles of each repository that people sign: of what this process read or published last.
    people: RwLock<HashMap<String, Arc<Vec<DelegatedRole>>>>,
}

impl Room {
    fn people(&self, name: &str) -> Option<Arc<Vec<DelegatedRole>>> {
        let people = self.people.read().unwrap_or_else(PoisonError::into_inner);
        people.get(name).cloned()
    }

    fn note_people(&self, name: &str, repository: &Repository) {
        let roles = repository.targets().map(namespaces::people_of);
        let mut people = self.people.write().unwrap_or_else(PoisonError::into_inner);
        match roles.filter(|roles| !roles.is_empty()) {
            Some(roles) => people.insert(name.to_owned(), Arc::new(roles)),
            None => people.remove(name),
        };
    }
}

/// A stored document of targets, read. What it is signed with was looked at when it was published.
fn listed(role: &str, body: &str) -> Result<Targets> {
    let read = Envelope::<Targets>::parse(role, body.as_bytes(), &Limits::default());
    let read =
        read.map_err(|why| Error::internal("a stored role is malformed", why.to_string()))?;
    Ok(read.document)
}

/// The one writer of a repository in this process. Of other processes it is kept apart by the version that it follows.
///
/// What it remembers is gone unless [`Writer::published`] or [`Writer::keep`] gives it back: after a failure nothing in
/// memory is believed.
pub(crate) struct Writer {
    name: String,
    guard: tokio::sync::OwnedMutexGuard<Option<Box<State>>>,
    state: Box<State>,
}

/// A refusal of the pure half: what was to be published would not hold.
pub(crate) fn refused(source: Refusal) -> Error {
    Error::new(
        Kind::Conflict,
        "tuf-refused",
        format!("TUF metadata can not be signed: {source}."),
    )
    .remedy("Look at `countersignd tuf status`.")
}

/// The row of a target.
fn row(path: &str, file: &TargetFile) -> Result<TufTargetRow> {
    let digest = file
        .digest()
        .ok_or_else(|| Error::internal("a target has no digest", path.to_owned()))?;
    let plain =
        file.extra.is_empty() && file.hashes.len() == 1 && file.hashes.contains_key("sha256");
    Ok(TufTargetRow {
        path: path.to_owned(),
        digest: digest.to_owned(),
        place: place(path),
        length: file.length,
        info: (!plain).then(|| file.to_json()),
    })
}

impl Registry {
    fn key_folder(&self) -> &std::path::Path {
        &self.inner.settings.sign_in.key_folder
    }

    /// Waits until nobody else of this process writes to a repository, and reads what was published last if memory does not
    /// have it. Whoever needs several repositories asks for them in the order of their names, and none while a transaction is
    /// open.
    ///
    /// # Errors
    /// `tuf-unknown` where there is none of this name; `tuf-key-missing`; `tuf-damaged`.
    pub(crate) async fn tuf_writer(&self, name: &str) -> Result<Writer> {
        let mut guard = self.tuf_turn(name).await;
        let state = match guard.take() {
            Some(state) => state,
            None => Box::new(self.load_tuf(name).await?),
        };
        Ok(Writer {
            name: name.to_owned(),
            guard,
            state,
        })
    }

    async fn tuf_turn(&self, name: &str) -> tokio::sync::OwnedMutexGuard<Option<Box<State>>> {
        let turn = {
            let mut writers = self
                .inner
                .tuf
                .writers
                .lock()
                .unwrap_or_else(PoisonError::into_inner);
            writers.entry(name.to_owned()).or_default().clone()
        };
        turn.lock_owned().await
    }

    /// Signs the first commit of a repository: this root, and what `edit` puts under it. To be published as any other.
    ///
    /// # Errors
    /// `tuf-refused`, `tuf-key-missing`.
    pub(crate) async fn found_tuf(
        &self,
        name: &str,
        terms: Terms,
        root: &[u8],
        edit: impl FnOnce(&mut Draft<'_>) -> Result<(), Refusal>,
        targets: Vec<(String, TargetFile)>,
    ) -> Result<(Writer, Prepared)> {
        let guard = self.tuf_turn(name).await;
        let repository = Repository::new(root).map_err(refused)?;
        let online = Arc::new(Online::open(&terms, self.key_folder())?);
        let state = Box::new(State {
            version: 0,
            repository,
            terms,
            online,
            targets: 0,
            warm: HashMap::new(),
        });
        let mut writer = Writer {
            name: name.to_owned(),
            guard,
            state,
        };
        let now = self.now().seconds();
        let mut prepared = writer.draft(now, Extra::default(), edit)?;
        let publication = &mut prepared.publication;
        publication.terms = Some(writer.state.terms.to_json()?);
        let version = prepared.next.repository.root().version;
        publication.files.insert(
            0,
            file_row(
                format!("{version}.root.json"),
                "root",
                version,
                root.to_vec(),
            )?,
        );
        for (path, file) in &targets {
            publication.put.push(row(path, file)?);
        }
        prepared.next.targets = targets.len() as u64;
        Ok((writer, prepared))
    }

    /// Reads what was published last. The rows are of several tables: where somebody published between two looks, it is
    /// looked again.
    async fn load_tuf(&self, name: &str) -> Result<State> {
        let store = &self.inner.store;
        let mut looks = 0;
        loop {
            looks += 1;
            let unknown = || {
                Error::new(
                    Kind::NotFound,
                    "tuf-unknown",
                    format!("There is no TUF repository {name:?} here."),
                )
                .remedy("Start the server once: it makes those of the registry's own index.")
            };
            let before = store.tuf_repository(name).await?.ok_or_else(unknown)?;
            let read = read_repository(store, name).await;
            let targets = store.tuf_count(name).await?;
            let after = store.tuf_repository(name).await?.ok_or_else(unknown)?;
            if after.version != before.version && looks < 20 {
                continue;
            }
            let repository = read?;
            self.inner.tuf.note_people(name, &repository);
            let terms: Terms = serde_json::from_str(&after.terms)
                .map_err(|source| Error::internal("stored terms of TUF are malformed", source))?;
            let online = Arc::new(Online::open(&terms, self.key_folder())?);
            return Ok(State {
                version: after.version,
                repository,
                terms,
                online,
                targets,
                warm: HashMap::new(),
            });
        }
    }

    /// Publishes a commit in a transaction of its own and shows it.
    ///
    /// # Errors
    /// `write-conflict` where another process published first.
    pub(crate) async fn publish_tuf_alone(&self, writer: Writer, prepared: Prepared) -> Result<()> {
        let mut tx = self.inner.store.write().await?;
        tx.publish_tuf(&prepared.publication, self.now()).await?;
        tx.commit().await?;
        writer.published(self, prepared);
        Ok(())
    }
}

async fn read_repository(store: &Store, name: &str) -> Result<Repository> {
    let damaged = |what: String| {
        Error::unavailable(
            "tuf-damaged",
            format!("The TUF repository {name:?} is damaged: {what}."),
        )
        .remedy("Nothing is signed. Bring back the database from a backup.")
    };
    let mut standings = Standings::new();
    for (role, text) in store.tuf_standings(name).await? {
        let standing: Standing =
            serde_json::from_str(&text).map_err(|source| damaged(source.to_string()))?;
        standings.insert(role.into(), Arc::new(standing));
    }
    let newest = async |role: &str| {
        let row = store.tuf_newest(name, role).await?;
        Ok::<_, Error>(row.map(|row| row.body.into_bytes()))
    };
    let must = |role: &str, found: Option<Vec<u8>>| {
        found.ok_or_else(|| damaged(format!("its {role} is missing")))
    };
    let root = must("root", newest("root").await?)?;
    let targets = must("targets", newest("targets").await?)?;
    let snapshot = must("snapshot", newest("snapshot").await?)?;
    let timestamp = must("timestamp", newest("timestamp").await?)?;
    let index = newest(countersign_trust::tuf::repository::INDEX).await?;
    let published = Published {
        root: &root,
        targets: &targets,
        index: index.as_deref(),
        snapshot: &snapshot,
        timestamp: &timestamp,
    };
    Repository::open(&published, standings).map_err(|source| damaged(source.to_string()))
}

fn file_row(file: String, role: &str, version: u64, bytes: Vec<u8>) -> Result<TufFileRow> {
    Ok(TufFileRow {
        file,
        role: role.to_owned(),
        version,
        body: String::from_utf8(bytes)
            .map_err(|source| Error::internal("TUF metadata is not UTF-8", source))?,
    })
}

impl Writer {
    /// What was published last.
    pub(crate) fn repository(&self) -> &Repository {
        &self.state.repository
    }

    /// How it is run.
    pub(crate) fn terms(&self) -> &Terms {
        &self.state.terms
    }

    /// How many targets there are.
    pub(crate) fn targets(&self) -> u64 {
        self.state.targets
    }

    /// Nothing is published: memory stays as it was.
    pub(crate) fn keep(mut self) {
        *self.guard = Some(self.state);
    }

    /// After the commit of the transaction: memory follows, and the new state is shown.
    pub(crate) fn published(mut self, registry: &Registry, prepared: Prepared) {
        registry
            .inner
            .tuf
            .shelf
            .take(&self.name, &prepared.publication, registry.now());
        let mut files = prepared.publication.files.iter();
        if files.any(|file| file.role == "targets") {
            let repository = &prepared.next.repository;
            registry.inner.tuf.note_people(&self.name, repository);
        }
        *self.guard = Some(prepared.next);
    }

    /// Signs a commit in which these targets change; nothing where none does. `extra` are fields of the timestamp. What belongs
    /// to a role that people sign stays as they signed it last, and waits for them.
    ///
    /// # Errors
    /// `tuf-refused`.
    pub(crate) async fn change(
        &mut self,
        store: &Store,
        changes: &[TargetChange],
        now: i64,
        extra: Extra,
    ) -> Result<Option<Prepared>> {
        let mut places = Vec::new();
        for change in changes {
            if self.state.repository.in_bins(&change.path) {
                let bin = self.state.repository.role_for(&change.path);
                places.push((change, bin.map_err(refused)?));
            }
        }
        let names = places.iter().map(|(_, bin)| bin.clone()).collect();
        let mut bins = self.contents_of(store, names).await?;
        // The last word counts where a path is changed twice.
        let mut last: BTreeMap<&str, Option<TufTargetRow>> = BTreeMap::new();
        let mut targets = self.state.targets;
        let mut changed: BTreeSet<String> = BTreeSet::new();
        for (change, bin) in places {
            let Some(contents) = bins.get_mut(&bin) else {
                continue;
            };
            match &change.file {
                Some(file) if contents.get(&change.path) == Some(file) => continue,
                Some(file) => {
                    last.insert(&change.path, Some(row(&change.path, file)?));
                    if contents.insert(change.path.clone(), file.clone()).is_none() {
                        targets += 1;
                    }
                }
                None => {
                    if contents.remove(&change.path).is_none() {
                        continue;
                    }
                    last.insert(&change.path, None);
                    targets = targets.saturating_sub(1);
                }
            }
            changed.insert(bin);
        }
        bins.retain(|bin, _| changed.contains(bin));
        if bins.is_empty() {
            return Ok(None);
        }
        let mut prepared = self.draft(now, extra, |draft| {
            for (bin, contents) in &bins {
                draft.bin(bin, contents.clone())?;
            }
            Ok(())
        })?;
        for (path, row) in last {
            match row {
                Some(row) => prepared.publication.put.push(row),
                None => prepared.publication.removed.push(path.to_owned()),
            }
        }
        prepared.next.targets = targets;
        prepared.next.warm.extend(bins);
        prepared.next.cool();
        Ok(Some(prepared))
    }

    /// What is in these bins.
    ///
    /// # Errors
    /// `tuf-offline-role` for a name that is no bin's.
    async fn contents_of(
        &self,
        store: &Store,
        names: BTreeSet<String>,
    ) -> Result<BTreeMap<String, Contents>> {
        let repository = &self.state.repository;
        let mut held = BTreeMap::new();
        let mut cold = Vec::new();
        for name in names {
            let bins = repository.bins();
            let Some((bins, number)) = bins.and_then(|bins| Some((bins, bins.number(&name)?)))
            else {
                return Err(Error::new(
                    Kind::Denied,
                    "tuf-offline-role",
                    format!("The role `{name}` is signed by people, not by this server."),
                )
                .remedy("Sign its next document with `countersignd tuf sign`."));
            };
            let warm = self.state.warm.get(&name).cloned();
            if warm.is_none() {
                cold.push(bins.places(number));
            }
            held.insert(name, warm.unwrap_or_default());
        }
        // All at once: a question for each would take longer than signing them.
        for row in store.tuf_targets(&self.name, &cold).await? {
            if repository.in_bins(&row.path) {
                let bin = repository.role_for(&row.path).map_err(refused)?;
                let contents: &mut Contents = held.entry(bin).or_default();
                contents.insert(row.path.clone(), row.target()?);
            }
        }
        Ok(held)
    }

    /// Signs a commit of whatever `edit` puts into the draft.
    ///
    /// # Errors
    /// `tuf-refused`.
    pub(crate) fn draft(
        &mut self,
        now: i64,
        extra: Extra,
        edit: impl FnOnce(&mut Draft<'_>) -> Result<(), Refusal>,
    ) -> Result<Prepared> {
        let State {
            repository,
            terms,
            online,
            ..
        } = &*self.state;
        let mut draft = repository.draft(now, &terms.lifetimes, online.keys());
        edit(&mut draft).map_err(refused)?;
        let commit = draft.finish(extra).map_err(refused)?;
        self.prepare(commit)
    }

    fn prepare(&mut self, commit: Commit) -> Result<Prepared> {
        let before = self.state.repository.standings();
        let after = commit.repository.standings();
        let mut standings = Vec::new();
        for write in &commit.writes {
            if let Some(standing) = after.get(write.role.as_str()) {
                let text = serde_json::to_string(&**standing)
                    .map_err(|source| Error::internal("a standing can not be written", source))?;
                standings.push((write.role.clone(), text));
            }
        }
        let gone = if commit.writes.iter().any(|write| write.role == "root") {
            let gone = before.keys().filter(|role| !after.contains_key(*role));
            gone.map(|role| role.to_string()).collect()
        } else {
            Vec::new()
        };
        let files = commit
            .writes
            .into_iter()
            .map(|write| file_row(write.file, &write.role, write.version, write.bytes))
            .collect::<Result<Vec<_>>>()?;
        let publication = TufPublication {
            repository: self.name.clone(),
            follows: self.state.version,
            version: commit.repository.version(),
            terms: None,
            files,
            superseded: commit.superseded,
            standings,
            gone,
            put: Vec::new(),
            removed: Vec::new(),
            keep_former: self.state.terms.keep_former,
        };
        let next = Box::new(State {
            version: commit.repository.version(),
            repository: commit.repository,
            terms: self.state.terms.clone(),
            online: self.state.online.clone(),
            targets: self.state.targets,
            warm: std::mem::take(&mut self.state.warm),
        });
        Ok(Prepared { publication, next })
    }
}

impl State {
    /// Lets go of bins where there are too many.
    fn cool(&mut self) {
        let mut held: usize = self.warm.values().map(|bin| bin.len() + 4).sum();
        while held > WARM {
            let Some(name) = self.warm.keys().next().cloned() else {
                return;
            };
            held -= self.warm.remove(&name).map_or(0, |bin| bin.len() + 4);
        }
    }
}
