//! The client's workflow (sections 5.3 to 5.7 of the specification) as a state machine.
//!
//! ```text
//! begin → wanted → fetch → give → wanted → … → nothing is wanted: refreshed
//!       → look(path) → Fetch → give → look(path) → … → Found or Absent
//! ```
//!
//! [`Client::wanted`] says what to fetch and how long it may be; [`Client::give`] takes it. What is refused changes nothing:
//! the caller may try the same request at another mirror. Two things are the caller's: to stop at the length that a request
//! names, and to give up on who answers too slowly.
//!
//! One client is one moment: its time is fixed when it begins, and all that it looks up is of one snapshot. For a newer
//! state begin another one with [`Client::trusted`].

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use super::documents::{Document, MetaFile, Root, Snapshot, Targets, Timestamp};
use super::envelope::{Delegator, Envelope};
use super::{Fault, Limits, Refusal, TargetFile, file_stem};

/// What a client trusts, as its caller keeps it: the newest documents, byte for byte as they came. It is verified
/// again, from the root on, when a client begins; the root in it is believed.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Trusted {
    /// The newest root.
    pub root: Vec<u8>,
    /// The newest timestamp.
    pub timestamp: Option<Vec<u8>>,
    /// The newest snapshot.
    pub snapshot: Option<Vec<u8>>,
    /// The newest targets documents by role, `targets` among them.
    pub targets: BTreeMap<String, Vec<u8>>,
}

impl Trusted {
    /// Trust in a root alone.
    #[must_use]
    pub fn root(root: Vec<u8>) -> Self {
        Self {
            root,
            ..Self::default()
        }
    }

    /// The document of a role.
    #[must_use]
    pub fn document(&self, role: &str) -> Option<&[u8]> {
        match role {
            "root" => Some(&self.root),
            "timestamp" => self.timestamp.as_deref(),
            "snapshot" => self.snapshot.as_deref(),
            _ => self.targets.get(role).map(Vec::as_slice),
        }
    }

    /// Puts back the document of a role that was kept.
    pub fn put(&mut self, role: &str, bytes: Vec<u8>) {
        match role {
            "root" => self.root = bytes,
            "timestamp" => self.timestamp = Some(bytes),
            "snapshot" => self.snapshot = Some(bytes),
            _ => {
                self.targets.insert(role.to_owned(), bytes);
            }
        }
    }
}

/// What is to be fetched.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Request {
    /// The role.
    pub role: String,
    /// The version, where it is part of the name.
    pub version: Option<u64>,
    /// The file's name below the metadata's address, percent-encoded.
    pub file: String,
    /// The longest answer that is taken, in bytes: stop there.
    pub most: u64,
}

impl Request {
    fn new(role: &str, version: Option<u64>, most: u64) -> Self {
        let stem = file_stem(role);
        Self {
            role: role.to_owned(),
            version,
            file: match version {
                Some(version) => format!("{version}.{stem}.json"),
                None => format!("{stem}.json"),
            },
            most,
        }
    }
}

/// What looking for a target came to.
#[derive(Clone, Debug, PartialEq)]
pub enum Look {
    /// Fetch this, give it, and look again.
    Fetch(Request),
    /// A role that may speak for the path lists it.
    Found {
        /// Length and digests.
        target: TargetFile,
        /// Who lists it.
        role: String,
    },
    /// No role that may speak for the path lists it.
    Absent,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    Roots { followed: u64 },
    Timestamp,
    Snapshot,
    Targets,
    Ready,
}

/// A client at one moment.
#[derive(Clone, Debug)]
pub struct Client {
    limits: Limits,
    now: i64,
    stage: Stage,
    trusted: Trusted,
    changed: BTreeSet<String>,
    root: Root,
    timestamp: Option<Timestamp>,
    snapshot: Option<Snapshot>,
    /// The targets documents that are of this snapshot and in time, by role. Whose word they are is asked for each
    /// delegator.
    roles: BTreeMap<String, Envelope<Targets>>,
    /// Which role was found to be the word of which delegator.
    vouched: BTreeSet<(String, String)>,
}

impl Client {
    /// Begins. `now` is seconds since 1970 UTC, and stays.
    ///
    /// # Errors
    /// Where the trusted root can not be read or is not signed by its own keys.
    pub fn begin(trusted: Trusted, now: i64, limits: Limits) -> Result<Self, Refusal> {
        let envelope = Envelope::<Root>::parse("root", &trusted.root, &limits)?;
        envelope
            .document
            .must_delegate("root")?
            .verify("root", &envelope)?;
        Ok(Self {
            limits,
            now,
            stage: Stage::Roots { followed: 0 },
            trusted,
            changed: BTreeSet::new(),
            root: envelope.document,
            timestamp: None,
            snapshot: None,
            roles: BTreeMap::new(),
            vouched: BTreeSet::new(),
        })
    }

    /// What is trusted by now.
    #[must_use]
    pub fn trusted(&self) -> &Trusted {
        &self.trusted
    }

    /// The roles whose documents changed since this was asked last. Keep them before the next request: what is known is
    /// what protects from being led back.
    pub fn take_changed(&mut self) -> Vec<String> {
        std::mem::take(&mut self.changed).into_iter().collect()
    }

    /// The root in use.
    #[must_use]
    pub fn root(&self) -> &Root {
        &self.root
    }

    /// The timestamp in use, once it is there; fields of others (as a log's root) are in its `extra`.
    #[must_use]
    pub fn timestamp(&self) -> Option<&Timestamp> {
        self.timestamp.as_ref()
    }

    /// The snapshot in use, once it is there.
    #[must_use]
    pub fn snapshot(&self) -> Option<&Snapshot> {
        self.snapshot.as_ref()
    }

    /// Is the refresh complete?
    #[must_use]
    pub fn is_fresh(&self) -> bool {
        self.stage == Stage::Ready
    }

    /// What to fetch next for the refresh; nothing once it is complete.
    ///
    /// # Errors
    /// [`Fault::Limit`] where more new roots were there than one refresh follows (those that were followed are trusted, and
    /// another refresh goes on from them), [`Fault::Expired`].
    pub fn wanted(&mut self) -> Result<Option<Request>, Refusal> {
        if self.stage == Stage::Snapshot && self.adopt_snapshot()? {
            self.stage = Stage::Targets;
        }
        if self.stage == Stage::Targets && self.adopt_role("targets", "root")? {
            self.stage = Stage::Ready;
        }
        Ok(match self.stage {
            Stage::Roots { followed } => {
                if followed >= self.limits.root_rotations {
                    return Err(Refusal::new(
                        Fault::Limit,
                        "root",
                        format!("there are more than {followed} new roots"),
                    ));
                }
                let version = self.root.version.checked_add(1).ok_or_else(|| {
                    Refusal::new(Fault::Version, "root", "its version is the last number")
                })?;
                Some(Request::new("root", Some(version), self.limits.root_bytes))
            }
            Stage::Timestamp => Some(Request::new("timestamp", None, self.limits.timestamp_bytes)),
            Stage::Snapshot => Some(self.request("snapshot", self.snapshot_meta()?)?),
            Stage::Targets => Some(self.request("targets", self.role_meta("targets")?)?),
            Stage::Ready => None,
        })
    }

    /// Takes the answer to a request; `None` where the repository has no such file.
    ///
    /// # Errors
    /// Every [`Fault`]. What was trusted before is trusted still, and the request stands.
    pub fn give(&mut self, request: &Request, answer: Option<&[u8]>) -> Result<(), Refusal> {
        let role = request.role.as_str();
        if let Some(bytes) = answer
            && bytes.len() as u64 > request.most
        {
            return Err(Refusal::new(
                Fault::Limit,
                role,
                format!("it is longer than {} bytes", request.most),
            ));
        }
        let missing = || Refusal::new(Fault::Missing, role, "the repository does not have it");
        match (self.stage, role) {
            (Stage::Roots { followed }, "root") => match answer {
                Some(bytes) => self.take_root(bytes, followed),
                None => self.end_of_roots(),
            },
            (Stage::Timestamp, "timestamp") => self.take_timestamp(answer.ok_or_else(missing)?),
            (Stage::Snapshot, "snapshot") => self.take_snapshot(answer.ok_or_else(missing)?),
            (Stage::Targets, "targets") => {
                self.take_role("targets", "root", answer.ok_or_else(missing)?)?;
                self.stage = Stage::Ready;
                Ok(())
            }
            (Stage::Ready, _) => self.take_delegated(role, answer.ok_or_else(missing)?),
            _ => Err(Refusal::new(
                Fault::Unasked,
                role,
                "it was not asked for now",
            )),
        }
    }

    /// Looks for a target among the roles that may speak for its path: first ones first, deep before wide. A role that the
    /// search needs and that is not here is to be fetched and given; then look again.
    ///
    /// # Errors
    /// [`Fault::Unasked`] before the refresh is complete; [`Fault::Limit`] where too many roles would be asked, which is
    /// not the same as that nobody lists it; what is wrong with a role that the search can not go around.
    pub fn look(&mut self, path: &str) -> Result<Look, Refusal> {
        if self.stage != Stage::Ready {
            return Err(Refusal::new(
                Fault::Unasked,
                path,
                "the refresh is not complete",
            ));
        }
        let mut to_visit = vec![("targets".to_owned(), "root".to_owned())];
        let mut visited: BTreeSet<String> = BTreeSet::new();
        while let Some((role, delegator)) = to_visit.pop() {
            if visited.contains(&role) {
                continue;
            }
            if visited.len() > self.limits.delegations {
                return Err(Refusal::new(
                    Fault::Limit,
                    path,
                    format!(
                        "more than {} roles would be asked for it",
                        self.limits.delegations
                    ),
                ));
            }
            if !self.adopt_role(&role, &delegator)? {
                let request = self.request(&role, self.role_meta(&role)?)?;
                return Ok(Look::Fetch(request));
            }
            let Some(targets) = self.roles.get(&role).map(|envelope| &envelope.document) else {
                return Err(Refusal::new(Fault::Missing, &role, "it is not here"));
            };
            if let Some(target) = targets.targets.get(path) {
                return Ok(Look::Found {
                    target: target.clone(),
                    role,
                });
            }
            if let Some(delegations) = &targets.delegations {
                let mut children = Vec::new();
                for (child, terminating) in delegations.for_path(path) {
                    children.push((child, role.clone()));
                    if terminating {
                        to_visit.clear();
                        break;
                    }
                }
                to_visit.extend(children.into_iter().rev());
            }
            visited.insert(role);
        }
        Ok(Look::Absent)
    }

    /// Is this a role that the top-level targets hand on to themselves, besides the index: a namespace, whose documents its
    /// owners sign, and not the server? What it lists may be older than what the registry has.
    #[must_use]
    pub fn is_namespace(&self, role: &str) -> bool {
        let top = self.roles.get("targets").map(|top| &top.document);
        role != super::repository::INDEX && top.is_some_and(|top| top.authority(role).is_some())
    }

    /// The names under which a found target may be fetched, below the targets' address and not encoded; the first is
    /// the one that every repository has.
    #[must_use]
    pub fn names_of(&self, path: &str, target: &TargetFile) -> Vec<String> {
        target.names(path, self.root.consistent_snapshot)
    }

    fn keep(&mut self, role: &str, bytes: &[u8]) {
        self.trusted.put(role, bytes.to_vec());
        self.changed.insert(role.to_owned());
    }

    fn in_time(&self, role: &str, document: &impl Document) -> Result<(), Refusal> {
        if self.now < document.expires() {
            return Ok(());
        }
        let at = super::format_time(document.expires()).unwrap_or_default();
        Err(Refusal::new(
            Fault::Expired,
            role,
            format!(
                "version {} is good until {at} only, and there is no newer one",
                document.version()
            ),
        ))
    }

    /// A document that the root speaks for.
    fn top_level<T: Document>(&self, role: &str, bytes: &[u8]) -> Result<T, Refusal> {
        let envelope = Envelope::<T>::parse(role, bytes, &self.limits)?;
        self.root.must_delegate(role)?.verify(role, &envelope)?;
        Ok(envelope.document)
    }

    /// Section 5.3: each root is signed by enough keys of the one before and of its own, and is its next version.
    fn take_root(&mut self, bytes: &[u8], followed: u64) -> Result<(), Refusal> {
        let envelope = Envelope::<Root>::parse("root", bytes, &self.limits)?;
        self.root.must_delegate("root")?.verify("root", &envelope)?;
        let own = envelope.document.must_delegate("root")?;
        own.verify("root", &envelope)?;
        let (found, wanted) = (
            envelope.document.version,
            self.root.version.saturating_add(1),
        );
        if found != wanted {
            let fault = if found < wanted {
                Fault::Rollback
            } else {
                Fault::Version
            };
            return Err(Refusal::new(
                fault,
                "root",
                format!("it is version {found} instead of {wanted}"),
            ));
        }
        self.keep("root", bytes);
        self.root = envelope.document;
        self.stage = Stage::Roots {
            followed: followed + 1,
        };
        Ok(())
    }

    /// Only the last root has to be in time. What was kept and is not signed by the keys that it names is no floor
    /// any more: that is how a repository recovers from versions that a thief ran forward (5.3.11).
    fn end_of_roots(&mut self) -> Result<(), Refusal> {
        self.in_time("root", &self.root)?;
        self.timestamp = self
            .trusted
            .timestamp
            .as_ref()
            .and_then(|bytes| self.top_level("timestamp", bytes).ok());
        self.snapshot = self
            .trusted
            .snapshot
            .as_ref()
            .and_then(|bytes| self.top_level("snapshot", bytes).ok());
        self.stage = Stage::Timestamp;
        Ok(())
    }

    /// Section 5.4. An expired one that was kept still is a floor.
    fn take_timestamp(&mut self, bytes: &[u8]) -> Result<(), Refusal> {
        let new: Timestamp = self.top_level("timestamp", bytes)?;
        if let Some(old) = &self.timestamp {
            let (version, snapshot) = (new.version, new.snapshot.version);
            if version < old.version {
                return Err(Refusal::new(
                    Fault::Rollback,
                    "timestamp",
                    format!("version {version} is older than {}", old.version),
                ));
            }
            // The same version again is no news, whatever stands in it.
            if version == old.version {
                self.in_time("timestamp", old)?;
                self.stage = Stage::Snapshot;
                return Ok(());
            }
            if snapshot < old.snapshot.version {
                return Err(Refusal::new(
                    Fault::Rollback,
                    "timestamp",
                    format!(
                        "it names version {snapshot} of the snapshot, older than {}",
                        old.snapshot.version
                    ),
                ));
            }
        }
        self.in_time("timestamp", &new)?;
        self.keep("timestamp", bytes);
        self.timestamp = Some(new);
        self.stage = Stage::Snapshot;
        Ok(())
    }

    fn snapshot_meta(&self) -> Result<&MetaFile, Refusal> {
        self.timestamp
            .as_ref()
            .map(|timestamp| &timestamp.snapshot)
            .ok_or_else(|| Refusal::new(Fault::Missing, "timestamp", "it is not here"))
    }

    fn role_meta(&self, role: &str) -> Result<&MetaFile, Refusal> {
        self.snapshot
            .as_ref()
            .and_then(|snapshot| snapshot.role(role))
            .ok_or_else(|| {
                Refusal::new(
                    Fault::Missing,
                    role,
                    "it is delegated to, and the snapshot does not list it",
                )
            })
    }

    fn request(&self, role: &str, meta: &MetaFile) -> Result<Request, Refusal> {
        let most = self.limits.bytes_of(role);
        if meta.length.is_some_and(|length| length > most) {
            return Err(Refusal::new(
                Fault::Limit,
                role,
                format!("it is said to be longer than {most} bytes"),
            ));
        }
        let version = self.root.consistent_snapshot.then_some(meta.version);
        Ok(Request::new(role, version, meta.length.unwrap_or(most)))
    }

    /// Is the snapshot that was kept the one that the timestamp names? Then nothing is fetched.
    fn adopt_snapshot(&mut self) -> Result<bool, Refusal> {
        let meta = self.snapshot_meta()?;
        let (Some(snapshot), Some(bytes)) = (&self.snapshot, &self.trusted.snapshot) else {
            return Ok(false);
        };
        if snapshot.version != meta.version || meta.check("snapshot", bytes).is_err() {
            return Ok(false);
        }
        self.in_time("snapshot", snapshot)?;
        Ok(true)
    }

    /// Section 5.5. No file that was listed may be gone or older.
    fn take_snapshot(&mut self, bytes: &[u8]) -> Result<(), Refusal> {
        let meta = self.snapshot_meta()?;
        meta.check("snapshot", bytes)?;
        let new: Snapshot = self.top_level("snapshot", bytes)?;
        if new.version != meta.version {
            return Err(Refusal::new(
                Fault::Version,
                "snapshot",
                format!("it is version {} instead of {}", new.version, meta.version),
            ));
        }
        if let Some(old) = &self.snapshot {
            for (file, before) in &old.meta {
                let now = new.meta.get(file).map(|meta| meta.version);
                if now.is_none_or(|version| version < before.version) {
                    return Err(Refusal::new(
                        Fault::Rollback,
                        "snapshot",
                        format!(
                            "it lists {} in version {}, and {} was listed before",
                            crate::oidc::quoted(file),
                            now.map_or_else(|| "none".to_owned(), |version| version.to_string()),
                            before.version
                        ),
                    ));
                }
            }
        }
        self.in_time("snapshot", &new)?;
        self.keep("snapshot", bytes);
        self.snapshot = Some(new);
        self.stage = Stage::Targets;
        Ok(())
    }

    /// A role's document, held against the snapshot and the clock.
    fn read_role(&self, role: &str, bytes: &[u8]) -> Result<Envelope<Targets>, Refusal> {
        let meta = self.role_meta(role)?;
        meta.check(role, bytes)?;
        let envelope = Envelope::<Targets>::parse(role, bytes, &self.limits)?;
        if envelope.document.version != meta.version {
            return Err(Refusal::new(
                Fault::Version,
                role,
                format!(
                    "it is version {} instead of {}",
                    envelope.document.version, meta.version
                ),
            ));
        }
        self.in_time(role, &envelope.document)?;
        Ok(envelope)
    }

    /// Is this document the word of that delegator? Being another one's is not enough.
    fn vouch(
        &self,
        role: &str,
        delegator: &str,
        envelope: &Envelope<Targets>,
    ) -> Result<(), Refusal> {
        let authority = if delegator == "root" {
            self.root.must_delegate(role)?
        } else {
            let delegating = self
                .roles
                .get(delegator)
                .ok_or_else(|| Refusal::new(Fault::Missing, delegator, "it is not here"))?;
            delegating.document.must_delegate(role)?
        };
        authority.verify(role, envelope)
    }

    /// Makes a role ready that is here or was kept, for this delegator; false where it has to be fetched.
    fn adopt_role(&mut self, role: &str, delegator: &str) -> Result<bool, Refusal> {
        let pair = (delegator.to_owned(), role.to_owned());
        if self.vouched.contains(&pair) {
            return Ok(true);
        }
        if let Some(envelope) = self.roles.get(role) {
            self.vouch(role, delegator, envelope)?;
            self.vouched.insert(pair);
            return Ok(true);
        }
        self.role_meta(role)?;
        let Some(bytes) = self.trusted.targets.get(role) else {
            return Ok(false);
        };
        // What was kept and does not fit any more is fetched anew, and what is wrong with that is said then.
        let Ok(envelope) = self.read_role(role, bytes) else {
            return Ok(false);
        };
        if self.vouch(role, delegator, &envelope).is_err() {
            return Ok(false);
        }
        self.roles.insert(role.to_owned(), envelope);
        self.vouched.insert(pair);
        Ok(true)
    }

    /// Section 5.6 and 5.6.7.
    fn take_role(&mut self, role: &str, delegator: &str, bytes: &[u8]) -> Result<(), Refusal> {
        let envelope = self.read_role(role, bytes)?;
        self.vouch(role, delegator, &envelope)?;
        self.keep(role, bytes);
        self.roles.insert(role.to_owned(), envelope);
        self.vouched.insert((delegator.to_owned(), role.to_owned()));
        Ok(())
    }

    /// A delegated role: the word of whoever among the roles here delegates to it. Which of them matters is asked again by
    /// the search.
    fn take_delegated(&mut self, role: &str, bytes: &[u8]) -> Result<(), Refusal> {
        let mut last = Refusal::new(Fault::Unasked, role, "nobody here delegates to it");
        let delegators: Vec<String> = self
            .roles
            .iter()
            .filter(|(name, envelope)| {
                name.as_str() != role && envelope.document.authority(role).is_some()
            })
            .map(|(name, _)| name.clone())
            .collect();
        for delegator in delegators {
            match self.take_role(role, &delegator, bytes) {
                Ok(()) => return Ok(()),
                Err(refusal) => last = refusal,
            }
        }
        Err(last)
    }
}
