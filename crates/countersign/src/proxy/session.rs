//! What a registry's TUF repositories say at one moment: refreshed over the network, or, where nobody answers, taken from
//! what was kept, as long as that is in time.

use std::path::PathBuf;
use std::time::Instant;

use countersign_formats::Ecosystem;
use countersign_trust::tuf::client::{Client, Look, Request, Trusted};
use countersign_trust::tuf::{Limits, Refusal, TargetFile, file_stem};
use reqwest::header::HeaderValue;

use super::evidence::{Seen, Step};
use super::upstream::Upstream;
use crate::failure::{Exit, Failure, Result};
use crate::trusted::{PinnedTuf, write_whole};
use crate::tuf::Folder;

/// The longest index document, in bytes.
const MOST_DOCUMENT: u64 = 64 << 20;

/// The path of the target that is a project's index document.
pub fn target_path(ecosystem: Ecosystem, key: &str) -> String {
    let name = match ecosystem {
        Ecosystem::Pypi => "index.json",
        Ecosystem::Npm => "packument.json",
        Ecosystem::Cargo => "index.jsonl",
    };
    format!("{ecosystem}/{key}/{name}")
}

/// A request, the target that was looked for, and the answer.
type Answered<'a> = (&'a Request, Option<&'a str>, Option<&'a [u8]>);
/// The bytes of a target, where they are at hand.
pub type AtHand<'a> = &'a (dyn Fn(&TargetFile) -> Option<Vec<u8>> + Sync);

/// Why something of a repository is not passed on, with what proves it where something does.
pub struct Trouble {
    /// What is wrong.
    pub failure: Failure,
    /// What was seen, for an evidence file.
    pub seen: Option<Box<Seen>>,
}

impl From<Failure> for Trouble {
    fn from(failure: Failure) -> Self {
        Self {
            failure,
            seen: None,
        }
    }
}

/// A repository, and where this user keeps what is trusted of it.
pub struct Repository<'a> {
    /// The registry.
    pub upstream: &'a Upstream,
    /// What is pinned.
    pub tuf: &'a PinnedTuf,
    /// The folder of all repositories of this registry.
    pub state: PathBuf,
    /// Take what is over its time, as long as it held when it was fetched.
    pub allow_expired: bool,
    /// Seconds since 1970 UTC.
    pub now: i64,
    /// What a reader of private projects sends.
    pub login: Option<HeaderValue>,
}

/// One moment of one repository.
pub struct Session {
    client: Client,
    folder: Folder,
    metadata: String,
    /// When it began.
    pub begun: Instant,
    /// Why it is from what was kept; `None` where the registry answered.
    pub offline: Option<String>,
    /// Whether its time is over, which is allowed.
    pub expired: bool,
}

fn kept_at(folder: &std::path::Path) -> PathBuf {
    folder.join("refreshed")
}

impl Repository<'_> {
    fn folder(&self, name: &str) -> PathBuf {
        self.state.join(name)
    }

    /// Begins a session of an ecosystem's repository. With an empty state its root comes from the root of roots.
    ///
    /// # Errors
    /// What does not hold, with what was seen; [`Exit::Unreachable`] where nothing that is in time was kept.
    pub async fn begin(&self, ecosystem: Ecosystem) -> std::result::Result<Session, Trouble> {
        let name = ecosystem.as_str();
        self.begin_anew_if_pinned_anew()?;
        if !Folder::new(&self.folder(name)).has_root() {
            let roots = Folder::new(&self.folder("roots"));
            roots.create()?;
            if !roots.has_root() {
                roots.keep("root", &self.tuf.root()?)?;
            }
            let mut session = self.refreshed("roots", &self.tuf.metadata).await?;
            let path = format!("{name}/root.json");
            let Some(root) = session.document(self, &path, None).await? else {
                return Err(Failure::unverified(
                    "tuf-target-unknown",
                    format!("The root of roots lists no root for {name}."),
                )
                .into());
            };
            Client::begin(Trusted::root(root.clone()), 0, Limits::default())
                .map_err(Failure::from)?;
            let folder = Folder::new(&self.folder(name));
            folder.create()?;
            folder.keep("root", &root)?;
        }
        self.refreshed(name, &format!("{}{name}/", self.tuf.metadata))
            .await
    }

    /// Whoever pinned another root on purpose begins with that one.
    fn begin_anew_if_pinned_anew(&self) -> Result<()> {
        let mark = self.state.join("pinned");
        let digest = self.tuf.digest()?.to_hex();
        let state = Folder::new(&self.state);
        state.create()?;
        // Short: nothing is fetched under it.
        let _lock = state.lock()?;
        if std::fs::read_to_string(&mark).is_ok_and(|kept| kept == digest) {
            return Ok(());
        }
        for name in ["roots", "pypi", "npm", "cargo"] {
            let folder = self.folder(name);
            match std::fs::remove_dir_all(&folder) {
                Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                    return Err(Failure::new(
                        Exit::Environment,
                        "tuf-folder",
                        format!("{} can not be removed: {error}.", folder.display()),
                    ));
                }
                Ok(()) | Err(_) => {}
            }
        }
        // A crash before this leaves an empty state, in which the next begins in the same way.
        write_whole(&mark, digest.as_bytes())
    }

    async fn refreshed(&self, name: &str, metadata: &str) -> std::result::Result<Session, Trouble> {
        let path = self.folder(name);
        let folder = Folder::new(&path);
        let lock_at = Folder::new(&path);
        // Another proxy of this user may be at it: to wait for it is not for a thread that serves others.
        let lock = tokio::task::spawn_blocking(move || lock_at.lock()).await;
        let _lock =
            lock.map_err(|error| Failure::new(Exit::Environment, "panicked", error.to_string()))??;
        let before = folder.load()?;
        let client = Client::begin(before.clone(), self.now, Limits::default())
            .map_err(|refusal| self.shown(&before, None, refusal.into()))?;
        let mut session = Session {
            client,
            folder,
            metadata: metadata.to_owned(),
            begun: Instant::now(),
            offline: None,
            expired: false,
        };
        match session.follow(self).await {
            Ok(()) => {
                let time = self.now.to_string();
                write_whole(&kept_at(&path), time.as_bytes())?;
                Ok(session)
            }
            Err(trouble) if trouble.failure.exit == Exit::Unreachable => {
                let why = trouble.failure.message.clone();
                session.take_kept(self, &path, &before, trouble)?;
                session.offline = Some(why);
                Ok(session)
            }
            Err(trouble) => Err(trouble),
        }
    }

    fn shown(&self, before: &Trusted, answer: Option<Answered<'_>>, failure: Failure) -> Trouble {
        let step = match answer {
            None => Step::Refresh,
            Some((request, path, answer)) => Step::metadata(request, path, answer),
        };
        Trouble {
            failure,
            seen: Some(Box::new(Seen::new(self.now, before, step))),
        }
    }
}

impl Session {
    /// Over the network, until nothing more is wanted.
    async fn follow(&mut self, repository: &Repository<'_>) -> std::result::Result<(), Trouble> {
        loop {
            // What is refused changes nothing of what is trusted.
            let wanted = self.client.wanted();
            let shown =
                |refusal: Refusal| repository.shown(self.client.trusted(), None, refusal.into());
            match wanted.map_err(shown)? {
                Some(request) => self.fetch(repository, &request, None).await?,
                None => return Ok(()),
            }
        }
    }

    async fn fetch(
        &mut self,
        repository: &Repository<'_>,
        request: &Request,
        target: Option<&str>,
    ) -> std::result::Result<(), Trouble> {
        let address = format!("{}{}", self.metadata, request.file);
        let login = repository.login.as_ref();
        let upstream = repository.upstream;
        let answer = upstream.get_packed(&address, request.most, login).await?;
        let taken = self.client.give(request, answer.as_deref());
        for role in self.client.take_changed() {
            if let Some(bytes) = self.client.trusted().document(&role) {
                self.folder.keep(&role, bytes)?;
            }
        }
        taken.map_err(|refusal| {
            repository.shown(
                self.client.trusted(),
                Some((request, target, answer.as_deref())),
                refusal.into(),
            )
        })
    }

    /// What was kept, held against the clock once more.
    fn take_kept(
        &mut self,
        repository: &Repository<'_>,
        path: &std::path::Path,
        before: &Trusted,
        trouble: Trouble,
    ) -> std::result::Result<(), Trouble> {
        let Some(timestamp) = before.timestamp.clone() else {
            return Err(trouble);
        };
        let begin = |now: i64| -> std::result::Result<Client, Failure> {
            let mut client = Client::begin(before.clone(), now, Limits::default())?;
            while let Some(request) = client.wanted()? {
                let kept = match request.role.as_str() {
                    "root" => None,
                    "timestamp" => Some(timestamp.as_slice()),
                    role => before.document(role),
                };
                client.give(&request, kept)?;
            }
            Ok(client)
        };
        match begin(repository.now) {
            Ok(client) => {
                self.client = client;
                Ok(())
            }
            Err(late) if late.code == "tuf-expired" && repository.allow_expired => {
                let then = std::fs::read_to_string(kept_at(path))
                    .ok()
                    .and_then(|text| text.trim().parse().ok())
                    .unwrap_or(repository.now);
                self.client = begin(then.min(repository.now))?;
                self.expired = true;
                Ok(())
            }
            Err(late) => Err(Failure {
                remedy: Some(
                    "The registry can not be reached, and what was kept of it is over its time; --allow-expired takes it nevertheless."
                        .to_owned(),
                ),
                ..Failure::new(
                    late.exit,
                    late.code,
                    format!("{} ({})", late.message, trouble.failure.message),
                )
            }
            .into()),
        }
    }

    /// What the repository says of a target; `None` where nobody who may speak for it lists it.
    ///
    /// # Errors
    /// As [`Repository::begin`].
    pub async fn look(
        &mut self,
        repository: &Repository<'_>,
        path: &str,
    ) -> std::result::Result<Option<TargetFile>, Trouble> {
        loop {
            let look = self.client.look(path);
            let shown =
                |refusal: Refusal| repository.shown(self.client.trusted(), None, refusal.into());
            match look.map_err(shown)? {
                Look::Fetch(request) if self.offline.is_some() => {
                    return Err(Failure::new(
                        Exit::Unreachable,
                        "offline",
                        format!(
                            "{} is not among what was kept ({}).",
                            request.file,
                            self.offline.as_deref().unwrap_or_default()
                        ),
                    )
                    .into());
                }
                Look::Fetch(request) => self.fetch(repository, &request, Some(path)).await?,
                Look::Found { target, .. } => return Ok(Some(target)),
                Look::Absent => return Ok(None),
            }
        }
    }

    /// The namespace that a target which was found is of, where its owners sign it, and not the registry.
    pub fn namespace_of(&mut self, path: &str) -> Option<String> {
        match self.client.look(path) {
            Ok(Look::Found { role, .. }) => self.client.is_namespace(&role).then_some(role),
            _ => None,
        }
    }

    /// What is trusted now, for evidence.
    pub fn trusted(&self) -> &Trusted {
        self.client.trusted()
    }

    /// The bytes of a target: those at hand if they are the signed ones, else fetched and held against what is signed.
    ///
    /// # Errors
    /// As [`Session::look`]; for bytes that are not the signed ones, with them.
    pub async fn document(
        &mut self,
        repository: &Repository<'_>,
        path: &str,
        at_hand: Option<AtHand<'_>>,
    ) -> std::result::Result<Option<Vec<u8>>, Trouble> {
        let Some(target) = self.look(repository, path).await? else {
            return Ok(None);
        };
        if let Some(bytes) = at_hand.and_then(|at_hand| at_hand(&target))
            && target.check(path, &bytes).is_ok()
        {
            return Ok(Some(bytes));
        }
        if let Some(why) = &self.offline {
            return Err(Failure::new(
                Exit::Unreachable,
                "offline",
                format!("{path} is not among what was kept ({why})."),
            )
            .into());
        }
        if target.length > MOST_DOCUMENT {
            return Err(Failure::unverified(
                "tuf-limit",
                format!("{path} has more than {MOST_DOCUMENT} bytes."),
            )
            .into());
        }
        for name in self.client.names_of(path, &target) {
            let parts: Vec<String> = name.split('/').map(file_stem).collect();
            let address = format!("{}{}", repository.tuf.targets, parts.join("/"));
            let login = repository.login.as_ref();
            // One byte more than is signed: that a longer answer is wrong is then seen, and it is not read on.
            let answer = repository.upstream.begin(&address, login).await?;
            let Some(mut pieces) = answer else { continue };
            let mut bytes = Vec::new();
            while let Some(piece) = pieces.next().await? {
                bytes.extend_from_slice(&piece);
                if bytes.len() as u64 > target.length {
                    break;
                }
            }
            return match target.check(path, &bytes) {
                Ok(()) => Ok(Some(bytes)),
                Err(refusal) => Err(Trouble {
                    failure: refusal.into(),
                    seen: Some(Box::new(Seen::new(
                        repository.now,
                        self.client.trusted(),
                        Step::target(path, &bytes),
                    ))),
                }),
            };
        }
        Err(Failure::new(
            Exit::Unreachable,
            "tuf-target-missing",
            format!(
                "{} signs {path} and does not hand it out.",
                repository.upstream.site()
            ),
        )
        .into())
    }
}
