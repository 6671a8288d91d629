//! The writer's half: from what changed to signed files, in the order in which they may be written.
//!
//! ```text
//! root ─▶ timestamp, snapshot                          online, each its own key
//!      └▶ targets (offline) ─▶ roles of namespaces     their own keys, first, terminating
//!                           └▶ index (online) ─▶ succinct hash bins (online)
//! ```
//!
//! A [`Repository`] is what was published last. A [`Draft`] collects what is to change, signs it, and ends as a [`Commit`]:
//! files in order, the timestamp last, and the next [`Repository`]. Until the caller has written all of them nothing has
//! happened: the same repository drafts the same versions again. So a caller must see to it that of two commits that
//! follow the same one only one is published ([`Commit::follows`]).
//!
//! Versions are counted from what was published, never from files that lie about. What a snapshot listed once stays
//! listed, since a client takes a missing entry for an attack: bins of an earlier division keep their last version.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::documents::{
    Delegated, DelegatedRole, Delegations, Document, Extra, MetaFile, RoleKeys, Root, Snapshot,
    SuccinctRoles, Targets, Timestamp,
};
use super::envelope::{Authority, Delegator, Envelope};
use super::key::Key;
use super::scope::Scope;
use super::target::{ALGORITHMS, TargetFile};
use super::{Fault, Limits, Refusal, file_stem, format_time, role_of_stem};
use crate::digest::Sha256;
use crate::oidc::quoted;
use crate::sigstore::Signs;

/// The role between `targets` and the bins.
pub const INDEX: &str = "index";
/// What the names of bins begin with. It is the same for every division, so that few names are left over by a new one.
pub const BINS: &str = "bins";
/// The longest path of a target, in bytes.
pub const MAX_PATH: usize = 1024;
/// The finest division that fits into the snapshots that clients take: 16,384 bins.
pub const MAX_BITS: u8 = 14;
/// The longest file that every client can count: JavaScript's numbers end there.
const MAX_LENGTH: u64 = (1 << 53) - 1;

const HOUR: i64 = 3_600;
const DAY: i64 = 24 * HOUR;

/// The keys that sign without a person, each role its own.
#[derive(Clone, Copy)]
pub struct OnlineKeys<'a> {
    /// Signs timestamps.
    pub timestamp: &'a dyn Signs,
    /// Signs snapshots.
    pub snapshot: &'a dyn Signs,
    /// Signs the index.
    pub index: &'a dyn Signs,
    /// Signs bins.
    pub bins: &'a dyn Signs,
}

/// How long a document is good for, and how long before its end it is signed anew; in seconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Lifetime {
    /// From the signing to the end.
    pub good_for: i64,
    /// From the renewal to the end.
    pub renew_before: i64,
}

/// How long documents are good for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Lifetimes {
    /// Of timestamps: how long a mirror can show an old state without being found out.
    pub timestamp: Lifetime,
    /// Of snapshots.
    pub snapshot: Lifetime,
    /// Of the index.
    pub index: Lifetime,
    /// Of bins.
    pub bins: Lifetime,
    /// By how much the lives of bins differ, so that their renewals do not come at once; in seconds.
    pub bins_spread: i64,
    /// How long before their end people are asked for what is signed offline.
    pub offline_before: i64,
}

impl Default for Lifetimes {
    fn default() -> Self {
        let life = |good_for, renew_before| Lifetime {
            good_for,
            renew_before,
        };
        Self {
            timestamp: life(DAY, 23 * HOUR),
            snapshot: life(7 * DAY, 3 * DAY),
            index: life(30 * DAY, 10 * DAY),
            bins: life(40 * DAY, 10 * DAY),
            bins_spread: 20 * DAY,
            offline_before: 90 * DAY,
        }
    }
}

impl Lifetimes {
    /// When a bin that is signed now ends: each name has its own place within the spread.
    fn end_of_bin(&self, name: &str, now: i64) -> i64 {
        let digest = Sha256::of(name.as_bytes());
        let place = digest
            .as_bytes()
            .iter()
            .take(4)
            .fold(0i64, |number, byte| number << 8 | i64::from(*byte));
        let earlier = place.checked_rem(self.bins_spread).unwrap_or(0);
        now.saturating_add(self.bins.good_for - earlier)
    }
}

/// How a published document stands: what a snapshot must list of it, and what decides when it is signed anew.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Standing {
    /// Version, and for all but bins length and digest.
    pub meta: MetaFile,
    /// When it ends, in seconds since 1970 UTC.
    pub expires: i64,
    /// The ids of the keys that signed it.
    pub signed_by: Vec<String>,
}

/// How roles stand, by name. Each commit begins with a copy of it, which is cheap, whatever the number of bins.
pub type Standings = BTreeMap<Arc<str>, Arc<Standing>>;

/// Why a document is to be signed anew.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Why {
    /// Its end comes near, or has come.
    Expiry,
    /// It is signed by a key that is not the one in use.
    Key,
}

/// A document that is to be signed anew.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Due {
    /// The role.
    pub role: String,
    /// Why.
    pub why: Why,
    /// When it ends.
    pub expires: i64,
    /// Does it take people with offline keys?
    pub offline: bool,
}

/// A file to write.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Write {
    /// Its name below the metadata's address.
    pub file: String,
    /// The role.
    pub role: String,
    /// The version.
    pub version: u64,
    /// What is in it.
    pub bytes: Vec<u8>,
}

impl Write {
    /// Is this the one file that is replaced? All others are new under their name. It must be replaced in one step (written
    /// beside its place and moved there): a reader that finds half of it believes that it is attacked.
    #[must_use]
    pub fn replaces(&self) -> bool {
        self.role == "timestamp"
    }
}

/// What a draft came to.
#[derive(Clone, Debug)]
pub struct Commit {
    /// The version of the timestamp that this follows (0: none). Publish only if that is the newest still.
    pub follows: u64,
    /// The files, in the order in which they are to be written; those taken from the draft before come before these.
    pub writes: Vec<Write>,
    /// Files that nobody who begins after this asks for. Those who began before may, for as long as one refresh and what
    /// it looks up takes; after that they can be deleted.
    pub superseded: Vec<String>,
    /// What is published once all files are written.
    pub repository: Repository,
}

/// What was published last.
#[derive(Clone, Debug, PartialEq)]
pub struct Repository {
    root: Envelope<Root>,
    targets: Option<Envelope<Targets>>,
    index: Option<Targets>,
    /// All that snapshots list: `targets`, the index, namespaces, bins, and what was one of them.
    roles: Standings,
    snapshot: Option<Standing>,
    timestamp: Option<Standing>,
}

/// The bytes of what was published last.
#[derive(Clone, Copy, Debug)]
pub struct Published<'a> {
    /// The root.
    pub root: &'a [u8],
    /// The top-level targets.
    pub targets: &'a [u8],
    /// The index, where there is one.
    pub index: Option<&'a [u8]>,
    /// The snapshot.
    pub snapshot: &'a [u8],
    /// The timestamp.
    pub timestamp: &'a [u8],
}

impl Repository {
    /// A repository of which only the root is there. It must be signed by enough of its keys.
    ///
    /// # Errors
    /// As the root's reading and verification; [`Fault::Malformed`] for one without consistent snapshots, since only with
    /// them a reader never mixes two states.
    pub fn new(root: &[u8]) -> Result<Self, Refusal> {
        let root = Envelope::<Root>::parse("root", root, &Limits::default())?;
        root.document.must_delegate("root")?.verify("root", &root)?;
        Ok(Self {
            root: consistent(root)?,
            targets: None,
            index: None,
            roles: BTreeMap::new(),
            snapshot: None,
            timestamp: None,
        })
    }

    /// What was published, read from its files. `standings` are those of the other roles (bins, namespaces, former ones),
    /// as the caller kept them from the last [`Repository::standings`].
    ///
    /// # Errors
    /// Where a document does not verify, or a standing is missing or of another version than the snapshot's.
    pub fn open(published: &Published<'_>, standings: Standings) -> Result<Self, Refusal> {
        let limits = Limits::default();
        let mut repository = Self::new(published.root)?;
        let timestamp = Envelope::<Timestamp>::parse("timestamp", published.timestamp, &limits)?;
        let snapshot = Envelope::<Snapshot>::parse("snapshot", published.snapshot, &limits)?;
        let targets = Envelope::<Targets>::parse("targets", published.targets, &limits)?;
        let root = &repository.root.document;
        let by_timestamp = signers(root, "timestamp", &timestamp)?;
        let by_snapshot = signers(root, "snapshot", &snapshot)?;
        signers(root, "targets", &targets)?;
        timestamp
            .document
            .snapshot
            .check("snapshot", published.snapshot)?;
        let index = match published.index {
            None => None,
            Some(bytes) => {
                let index = Envelope::<Targets>::parse(INDEX, bytes, &limits)?;
                signers(&targets.document, INDEX, &index)?;
                Some(index.document)
            }
        };
        for (file, meta) in &snapshot.document.meta {
            let role = file.strip_suffix(".json").unwrap_or(file);
            if standings.get(role).is_none_or(|kept| kept.meta != *meta) {
                return Err(Refusal::new(
                    Fault::Version,
                    role,
                    "the snapshot lists it, and what was kept of it is missing or another version",
                ));
            }
        }
        if snapshot.document.meta.len() != standings.len() {
            return Err(Refusal::new(
                Fault::Version,
                "snapshot",
                "it does not list all that was kept",
            ));
        }
        repository.timestamp = Some(Standing {
            meta: MetaFile::of(timestamp.document.version, published.timestamp),
            expires: timestamp.document.expires,
            signed_by: by_timestamp,
        });
        repository.snapshot = Some(Standing {
            meta: timestamp.document.snapshot.clone(),
            expires: snapshot.document.expires,
            signed_by: by_snapshot,
        });
        repository.targets = Some(targets);
        repository.index = index;
        repository.roles = standings;
        Ok(repository)
    }

    /// The root in use.
    #[must_use]
    pub fn root(&self) -> &Root {
        &self.root.document
    }

    /// The top-level targets, once they are there.
    #[must_use]
    pub fn targets(&self) -> Option<&Targets> {
        self.targets.as_ref().map(|envelope| &envelope.document)
    }

    /// How everything that snapshots list stands, by role; to be kept.
    #[must_use]
    pub fn standings(&self) -> &Standings {
        &self.roles
    }

    /// The version of the timestamp; 0 before the first.
    #[must_use]
    pub fn version(&self) -> u64 {
        self.timestamp
            .as_ref()
            .map_or(0, |standing| standing.meta.version)
    }

    /// How timestamp and snapshot stand, once they are there.
    pub fn heads(&self) -> impl Iterator<Item = (&'static str, &Standing)> {
        let heads = [("timestamp", &self.timestamp), ("snapshot", &self.snapshot)];
        heads
            .into_iter()
            .filter_map(|(role, standing)| Some((role, standing.as_ref()?)))
    }

    /// The bins, where there are any.
    #[must_use]
    pub fn bins(&self) -> Option<&SuccinctRoles> {
        match &self.index.as_ref()?.delegations.as_ref()?.roles {
            Delegated::Succinct(bins) => Some(bins),
            Delegated::Listed(_) => None,
        }
    }

    /// The role that a target belongs to: where clients look for it first.
    ///
    /// # Errors
    /// [`Fault::Unasked`] where no role may speak for the path.
    pub fn role_for(&self, path: &str) -> Result<String, Refusal> {
        let nobody = || Refusal::new(Fault::Unasked, path, "no role may speak for this path");
        let top = self.targets().ok_or_else(nobody)?;
        let Some(delegations) = &top.delegations else {
            return Ok("targets".to_owned());
        };
        let (role, _) = delegations
            .for_path(path)
            .into_iter()
            .next()
            .ok_or_else(nobody)?;
        match self.bins() {
            Some(bins) if role == INDEX => Ok(bins.name(bins.bin_of(path))),
            _ => Ok(role),
        }
    }

    /// Does a target of this path stand in a bin, so that the server signs it? Else it is for a role that people sign.
    #[must_use]
    pub fn in_bins(&self, path: &str) -> bool {
        let roles = self.targets().and_then(|top| top.delegations.as_ref());
        match roles.map(|delegations| &delegations.roles) {
            // As long as the index is alone, there is nothing to compare.
            Some(Delegated::Listed(roles)) => roles
                .iter()
                .take_while(|role| role.name != INDEX)
                .all(|role| !role.scope.holds(path)),
            _ => true,
        }
    }

    /// The state after a loss of newer ones: what is signed next gets versions that are higher by so much, so that clients
    /// who saw the lost ones do not take it for older. All bins and the index must be written anew in the next draft. What
    /// is signed offline keeps its version.
    pub fn lift(&mut self, by: u64) {
        let bins = format!("{BINS}-");
        let ours = |role: &str| role == INDEX || role.starts_with(&bins);
        let roles = self.roles.iter_mut().filter(|(role, _)| ours(role));
        let top = [&mut self.timestamp, &mut self.snapshot];
        for standing in roles
            .map(|(_, standing)| Arc::make_mut(standing))
            .chain(top.into_iter().flatten())
        {
            standing.meta.version = standing.meta.version.saturating_add(by);
        }
    }

    /// Does the current division or delegation know this role? What it does not is listed for clients with a memory only.
    fn is_live(&self, role: &str) -> bool {
        role == "targets"
            || self.bins().is_some_and(|bins| bins.number(role).is_some())
            || self
                .targets()
                .is_some_and(|targets| targets.authority(role).is_some())
    }

    /// What is to be signed anew at this time, the most urgent first. `bins_key` is the id of the key that signs bins.
    #[must_use]
    pub fn due(&self, now: i64, lifetimes: &Lifetimes, bins_key: &str) -> Vec<Due> {
        let mut due = Vec::new();
        let mut ask = |role: &str, expires: i64, before: i64, offline: bool| {
            if expires.saturating_sub(before) <= now {
                due.push(Due {
                    role: role.to_owned(),
                    why: Why::Expiry,
                    expires,
                    offline,
                });
            }
        };
        ask(
            "root",
            self.root.document.expires,
            lifetimes.offline_before,
            true,
        );
        for (role, standing, life) in [
            ("timestamp", &self.timestamp, lifetimes.timestamp),
            ("snapshot", &self.snapshot, lifetimes.snapshot),
        ] {
            if let Some(standing) = standing {
                ask(role, standing.expires, life.renew_before, false);
            }
        }
        let mut by_other_key = Vec::new();
        for (role, standing) in self.roles.iter().filter(|(role, _)| self.is_live(role)) {
            let bin = self.bins().is_some_and(|bins| bins.number(role).is_some());
            let (before, offline) = match &**role {
                INDEX => (lifetimes.index.renew_before, false),
                _ if bin => (lifetimes.bins.renew_before, false),
                _ => (lifetimes.offline_before, true),
            };
            if bin && !standing.signed_by.iter().any(|id| id == bins_key) {
                by_other_key.push(Due {
                    role: role.to_string(),
                    why: Why::Key,
                    expires: standing.expires,
                    offline: false,
                });
            } else {
                ask(role, standing.expires, before, offline);
            }
        }
        due.extend(by_other_key);
        due.sort_by(|one, other| (one.expires, &one.role).cmp(&(other.expires, &other.role)));
        due
    }

    /// When the next document is to be signed anew without a person, in seconds since 1970 UTC.
    #[must_use]
    pub fn next_renewal(&self, lifetimes: &Lifetimes) -> Option<i64> {
        let top = [
            (&self.timestamp, lifetimes.timestamp),
            (&self.snapshot, lifetimes.snapshot),
        ]
        .into_iter()
        .filter_map(|(standing, life)| Some(standing.as_ref()?.expires - life.renew_before));
        let roles = self.roles.iter().filter_map(|(role, standing)| {
            if &**role == INDEX {
                return Some(standing.expires - lifetimes.index.renew_before);
            }
            self.bins()?.number(role)?;
            Some(standing.expires - lifetimes.bins.renew_before)
        });
        top.chain(roles).min()
    }

    /// Begins a draft. `now` is seconds since 1970 UTC.
    #[must_use]
    pub fn draft<'a>(&self, now: i64, lifetimes: &'a Lifetimes, keys: OnlineKeys<'a>) -> Draft<'a> {
        Draft {
            follows: self.version(),
            after: self.clone(),
            now,
            lifetimes,
            keys,
            roots: Vec::new(),
            writes: Vec::new(),
            superseded: Vec::new(),
            changed: BTreeSet::new(),
            resnapshot: self.snapshot.is_none(),
            reindex: false,
            divided: false,
        }
    }

    /// Which of these files nobody needs: versions that are older than the newest and that none of the snapshots lists. The
    /// snapshots are those that a client may still be reading. Roots are needed for ever; what has another form of name is
    /// left alone, and so is what a commit may be writing just now.
    #[must_use]
    pub fn expendable<'f>(
        &self,
        files: impl IntoIterator<Item = &'f str>,
        read: &[&Snapshot],
    ) -> Vec<&'f str> {
        files
            .into_iter()
            .filter(|file| self.is_expendable(file, read) == Some(true))
            .collect()
    }

    fn is_expendable(&self, file: &str, read: &[&Snapshot]) -> Option<bool> {
        let (number, stem) = file.strip_suffix(".json")?.split_once('.')?;
        let version = crate::canonical_decimal(number)?;
        let role = role_of_stem(stem)?;
        let newest = match role.as_str() {
            "root" | "timestamp" => return None,
            "snapshot" => self.snapshot.as_ref()?.meta.version,
            _ => self.roles.get(role.as_str())?.meta.version,
        };
        let listed = read.iter().any(|snapshot| match role.as_str() {
            "snapshot" => snapshot.version == version,
            _ => snapshot.role(&role).map(|meta| meta.version) == Some(version),
        });
        Some(version < newest && !listed)
    }
}

fn consistent(root: Envelope<Root>) -> Result<Envelope<Root>, Refusal> {
    if root.document.consistent_snapshot {
        return Ok(root);
    }
    Err(Refusal::malformed(
        "root",
        "it does not ask for consistent snapshots",
    ))
}

/// Which keys signed a document, where enough did.
fn signers<T: Document>(
    delegator: &impl Delegator,
    role: &str,
    envelope: &Envelope<T>,
) -> Result<Vec<String>, Refusal> {
    // Judged once: a signature is checked in tens of microseconds, and each commit has several.
    delegator.must_delegate(role)?.judge(envelope).demand(role)
}

/// How fine the division should be for so many targets: the power of two that costs somebody with an empty memory who
/// needs 30 targets the fewest bytes, with 125 bytes for a target and 34 for a bin's line in the snapshot; from 16 bins to
/// 16,384.
#[must_use]
pub fn wanted_bits(targets: u64) -> u8 {
    // The square of the best number of bins. Half of its digits, rounded down, is the logarithm of the number, rounded.
    let square = u128::from(targets) * 30 * 125 / 34;
    let bits = (u128::BITS - square.leading_zeros()) / 2;
    u8::try_from(bits).unwrap_or(MAX_BITS).clamp(4, MAX_BITS)
}

/// Is it time for another division? A finer one as soon as it is better; a coarser one only where it is better by much, since
/// names that are left over stay in the snapshot.
#[must_use]
pub fn redivide(bits: u8, targets: u64) -> Option<u8> {
    let wanted = wanted_bits(targets);
    (wanted > bits || wanted.saturating_add(4) <= bits).then_some(wanted)
}

/// The delegations of a top-level targets document: namespaces first, then the index, which may speak for every path.
///
/// # Errors
/// [`Fault::Malformed`] where the index's key is of no known kind, or a namespace has the name of the index or of a bin.
pub fn delegations(
    namespaces: Vec<(DelegatedRole, Vec<Key>)>,
    index: &dyn Signs,
) -> Result<Delegations, Refusal> {
    let key = Key::of(index)?;
    let mut keys = BTreeMap::from([(key.id(), key.clone())]);
    let mut roles = Vec::with_capacity(namespaces.len() + 1);
    for (role, its_keys) in namespaces {
        if role.name == INDEX || role.name.starts_with(&format!("{BINS}-")) {
            return Err(Refusal::malformed(
                &role.name,
                "this name is taken by a role of ours",
            ));
        }
        keys.extend(its_keys.into_iter().map(|key| (key.id(), key)));
        roles.push(role);
    }
    roles.push(DelegatedRole {
        name: INDEX.to_owned(),
        keys: RoleKeys::new(vec![key.id()], 1),
        terminating: true,
        scope: Scope::everything(),
    });
    Ok(Delegations {
        keys,
        roles: Delegated::Listed(roles),
        extra: Extra::default(),
    })
}

/// Can this target be listed so that every client understands the same? The path is a relative one without empty parts
/// and without `.` and `..`, of at most [`MAX_PATH`] bytes, of characters that all clients sort the same way; the length
/// is one that all clients can count; the hashes are of known algorithms and as long as these make them.
///
/// # Errors
/// [`Fault::Malformed`].
pub fn check_target(path: &str, target: &TargetFile) -> Result<(), Refusal> {
    let refuse = |sentence: &str| Err(Refusal::malformed(path, sentence));
    if path.is_empty() || path.len() > MAX_PATH {
        return refuse("a path has from 1 to 1024 bytes");
    }
    // Clients in JavaScript sort names by 16-bit units, which differs above U+FFFF; `?`, `#` and `%` change addresses.
    if path.chars().any(|character| {
        character.is_control() || character > '\u{ffff}' || "\\?#%".contains(character)
    }) {
        return refuse("a path has no control characters, none above U+FFFF, and none of \\ ? # %");
    }
    if path
        .split('/')
        .any(|part| part.is_empty() || part == "." || part == "..")
    {
        return refuse("a path is relative and has no empty parts, no `.` and no `..`");
    }
    if target.length > MAX_LENGTH {
        return refuse("a length is at most 2^53 - 1");
    }
    if target.hashes.is_empty() {
        return refuse("a target has at least one hash");
    }
    for (algorithm, hash) in &target.hashes {
        let Some((_, bytes)) = ALGORITHMS.iter().find(|(name, _)| name == algorithm) else {
            return refuse("a hash is by sha256, sha384, sha512, blake2b or blake2b-256");
        };
        let hexadecimal = hash
            .bytes()
            .all(|byte| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte));
        if hash.len() != bytes * 2 || !hexadecimal {
            return refuse(
                "a hash is not as many lower-case hexadecimal digits as its algorithm makes",
            );
        }
    }
    Ok(())
}

/// The next state, as it is put together.
pub struct Draft<'a> {
    follows: u64,
    after: Repository,
    now: i64,
    lifetimes: &'a Lifetimes,
    keys: OnlineKeys<'a>,
    roots: Vec<Write>,
    writes: Vec<Write>,
    superseded: Vec<String>,
    changed: BTreeSet<String>,
    /// Does the snapshot change?
    resnapshot: bool,
    /// Is the index to be signed anew, whatever is in it?
    reindex: bool,
    /// Was the division changed?
    divided: bool,
}

impl Draft<'_> {
    /// Takes the next root, signed by enough keys of the one before and of its own. It is written first.
    ///
    /// What is published by now must hold under it, so that no client fails between this file and the next ones: to change an
    /// online key, list old and new in one root, publish with the new one, then take the old one out in another root. After
    /// a theft that is not wanted: `at_once` allows it, and all that does not hold any more is signed anew in this draft.
    ///
    /// # Errors
    /// [`Fault::Unsigned`], [`Fault::Version`], [`Fault::Expired`]; [`Fault::Unasked`] where something published would not
    /// hold.
    pub fn root(&mut self, bytes: &[u8], at_once: bool) -> Result<(), Refusal> {
        let new = Envelope::<Root>::parse("root", bytes, &Limits::default())?;
        let before = &self.after.root.document;
        before.must_delegate("root")?.verify("root", &new)?;
        new.document.must_delegate("root")?.verify("root", &new)?;
        if Some(new.document.version) != before.version.checked_add(1) {
            return Err(Refusal::new(
                Fault::Version,
                "root",
                format!(
                    "it is version {} and follows version {}",
                    new.document.version, before.version
                ),
            ));
        }
        self.not_over("root", new.document.expires)?;
        let new = consistent(new)?;
        let holds = |role: &str, standing: &Option<Standing>| {
            standing
                .as_ref()
                .is_none_or(|standing| stands(&new.document, role, before, &standing.signed_by))
        };
        let snapshot_holds = holds("snapshot", &self.after.snapshot);
        let targets_hold = match &self.after.targets {
            None => true,
            Some(targets) => new
                .document
                .must_delegate("targets")?
                .judge(targets)
                .holds(),
        };
        for (role, fine) in [
            ("timestamp", holds("timestamp", &self.after.timestamp)),
            ("snapshot", snapshot_holds),
            ("targets", targets_hold),
        ] {
            if !fine && !at_once {
                return Err(Refusal::new(
                    Fault::Unasked,
                    role,
                    "what is published would not hold under the new root",
                ));
            }
        }
        if !snapshot_holds {
            // Clients begin with a new memory then: this is when what is left over can go.
            let dead: Vec<Arc<str>> = self
                .after
                .roles
                .keys()
                .filter(|role| !self.after.is_live(role))
                .cloned()
                .collect();
            for role in dead {
                self.after.roles.remove(&role);
            }
            self.resnapshot = true;
        }
        self.roots.push(Write {
            file: format!("{}.root.json", new.document.version),
            role: "root".to_owned(),
            version: new.document.version,
            bytes: bytes.to_vec(),
        });
        self.after.root = new;
        Ok(())
    }

    /// Takes the next top-level targets document, signed by enough of the keys that the root names.
    ///
    /// # Errors
    /// [`Fault::Unsigned`], [`Fault::Version`], [`Fault::Expired`], and as [`check_target`].
    pub fn targets(&mut self, bytes: &[u8]) -> Result<(), Refusal> {
        let new = Envelope::<Targets>::parse("targets", bytes, &Limits::default())?;
        let signed_by = signers(&self.after.root.document, "targets", &new)?;
        self.offline("targets", &new.document, bytes, signed_by)?;
        self.after.targets = Some(new);
        Ok(())
    }

    /// Takes the next document of a role that the top-level targets delegate to, signed by enough of its keys.
    ///
    /// # Errors
    /// As [`Draft::targets`]; [`Fault::Unasked`] for a role that is not delegated, and for the index, which is ours to
    /// write.
    pub fn role(&mut self, role: &str, bytes: &[u8]) -> Result<(), Refusal> {
        let new = Envelope::<Targets>::parse(role, bytes, &Limits::default())?;
        let top = self.after.targets().filter(|_| role != INDEX);
        let top = top.ok_or_else(|| {
            Refusal::new(
                Fault::Unasked,
                role,
                "it is not for others to write this role",
            )
        })?;
        let signed_by = signers(top, role, &new)?;
        self.offline(role, &new.document, bytes, signed_by)
    }

    /// Signs the next document of a delegated role, where its keys are at hand.
    ///
    /// # Errors
    /// As [`Draft::role`].
    pub fn sign_role(
        &mut self,
        role: &str,
        contents: BTreeMap<String, TargetFile>,
        good_for: i64,
        signers: &[&dyn Signs],
    ) -> Result<(), Refusal> {
        let document = Targets {
            targets: contents,
            ..Targets::empty(self.next_version(role)?, self.now.saturating_add(good_for))
        };
        let mut envelope = Envelope::unsigned(document);
        for signer in signers {
            envelope.sign(role, *signer)?;
        }
        self.role(role, &envelope.to_bytes())
    }

    /// Divides anew into 2 to the power of `bits` bins. All of them must be written then, in this draft.
    ///
    /// # Errors
    /// [`Fault::Limit`] for less than 1 and more than [`MAX_BITS`].
    pub fn divide(&mut self, bits: u8) -> Result<(), Refusal> {
        if !(1..=MAX_BITS).contains(&bits) {
            return Err(Refusal::new(
                Fault::Limit,
                INDEX,
                format!("a division has from 1 to {MAX_BITS} bits"),
            ));
        }
        let begun = format!("{BINS}-");
        if self.changed.iter().any(|role| role.starts_with(&begun)) {
            return Err(Refusal::new(
                Fault::Unasked,
                INDEX,
                "a division comes before the bins of the same draft",
            ));
        }
        let bins = SuccinctRoles {
            keys: RoleKeys::new(Vec::new(), 1),
            bit_length: bits,
            name_prefix: BINS.to_owned(),
        };
        let mut index = Targets::empty(0, 0);
        let keys = self
            .after
            .index
            .take()
            .and_then(|index| Some(index.delegations?.keys))
            .unwrap_or_default();
        index.delegations = Some(Delegations {
            keys,
            roles: Delegated::Succinct(bins),
            extra: Extra::default(),
        });
        self.after.index = Some(index);
        self.reindex = true;
        self.divided = true;
        Ok(())
    }

    /// Signs the index anew, though nothing in it changes.
    pub fn renew_index(&mut self) {
        self.reindex = true;
    }

    /// Signs a bin with all that is in it now.
    ///
    /// # Errors
    /// [`Fault::Unasked`] for a name that is no bin's and for targets that belong elsewhere; as [`check_target`];
    /// [`Fault::Limit`] for more than clients take.
    pub fn bin(
        &mut self,
        name: &str,
        contents: BTreeMap<String, TargetFile>,
    ) -> Result<(), Refusal> {
        let known = self.after.bins().and_then(|bins| bins.number(name));
        if known.is_none() {
            return Err(Refusal::new(Fault::Unasked, name, "there is no such bin"));
        }
        for path in contents.keys() {
            let role = self.after.role_for(path)?;
            if role != name {
                return Err(Refusal::new(
                    Fault::Unasked,
                    path,
                    format!("it belongs to {}", quoted(&role)),
                ));
            }
        }
        let document = Targets {
            targets: contents,
            ..Targets::empty(
                self.next_version(name)?,
                self.lifetimes.end_of_bin(name, self.now),
            )
        };
        let key = Key::of(self.keys.bins)?;
        let (envelope, bytes) = self.signed(name, document, self.keys.bins)?;
        // Versions alone: 16,384 digests would make the snapshot longer than clients take.
        let meta = MetaFile::version(envelope.document.version);
        self.put(name, &envelope.document, meta, bytes, vec![key.id()])
    }

    /// Takes the files that are ready, so that a draft of all bins need not be held in memory. All of them are new under
    /// their names, so they may be written at any time before those of the commit.
    pub fn take_writes(&mut self) -> Vec<Write> {
        std::mem::take(&mut self.writes)
    }

    /// Ends: index, snapshot and timestamp are signed as far as they change. `extra` are fields of the timestamp.
    ///
    /// # Errors
    /// [`Fault::Missing`] where there is no top-level targets document, or a bin or role that clients would look for was never
    /// written; [`Fault::Unsigned`] where a key at hand is not the one that is named for its role.
    pub fn finish(mut self, extra: Extra) -> Result<Commit, Refusal> {
        match &self.after.targets {
            // As it stood under this root when it was read or published.
            Some(_) if self.roots.is_empty() && !self.changed.contains("targets") => Vec::new(),
            Some(targets) => signers(&self.after.root.document, "targets", targets)?,
            None => {
                return Err(Refusal::new(
                    Fault::Missing,
                    "targets",
                    "there is no top-level document",
                ));
            }
        };
        self.write_index()?;
        self.check_listed()?;
        let due = |standing: &Option<Standing>, life: Lifetime| {
            standing
                .as_ref()
                .is_none_or(|standing| standing.expires - life.renew_before <= self.now)
        };
        if self.resnapshot || due(&self.after.snapshot, self.lifetimes.snapshot) {
            self.write_snapshot()?;
        }
        self.write_timestamp(extra)?;
        let mut writes = self.roots;
        writes.append(&mut self.writes);
        Ok(Commit {
            follows: self.follows,
            writes,
            superseded: self.superseded,
            repository: self.after,
        })
    }

    /// Every role that the top-level targets delegate to was written, by keys that they name.
    fn check_listed(&self) -> Result<(), Refusal> {
        let Some(top) = self.after.targets() else {
            return Ok(());
        };
        let Some(Delegations {
            roles: Delegated::Listed(listed),
            keys,
            ..
        }) = &top.delegations
        else {
            return Ok(());
        };
        for role in listed {
            let standing = self.after.roles.get(role.name.as_str()).ok_or_else(|| {
                Refusal::new(
                    Fault::Missing,
                    &role.name,
                    "it is delegated to and was never written",
                )
            })?;
            let authority = Authority {
                keys,
                role: &role.keys,
            };
            if !signed_enough(&authority, &standing.signed_by) {
                return Err(Refusal::new(
                    Fault::Unsigned,
                    &role.name,
                    "what is published of it would not hold under the keys that are named now",
                ));
            }
        }
        Ok(())
    }

    /// The index names the key that signs bins now, and those that signed bins which still stand: so a key can be changed
    /// bin by bin, and drops out with the last.
    fn write_index(&mut self) -> Result<(), Refusal> {
        let Some(bins) = self.after.bins().cloned() else {
            return Ok(());
        };
        let now_key = Key::of(self.keys.bins)?;
        let mut ids = BTreeSet::from([now_key.id()]);
        // As long as one key signed them all, there is no need to ask each of thousands.
        if self.divided || bins.keys.keyids != [now_key.id()] {
            for number in 0..bins.count() {
                let name = bins.name(number);
                match self.after.roles.get(name.as_str()) {
                    // A bin that stood under another division holds other targets: it must be written.
                    Some(standing) if !self.divided || self.changed.contains(&name) => {
                        ids.extend(standing.signed_by.iter().cloned());
                    }
                    _ => {
                        return Err(Refusal::new(
                            Fault::Missing,
                            &name,
                            "the division was changed and this bin was not written",
                        ));
                    }
                }
            }
        }
        let mut keys = self
            .after
            .index
            .as_ref()
            .and_then(|index| Some(index.delegations.as_ref()?.keys.clone()))
            .unwrap_or_default();
        keys.insert(now_key.id(), now_key);
        keys.retain(|id, _| ids.contains(id));
        let new = Delegations {
            keys,
            roles: Delegated::Succinct(SuccinctRoles {
                keys: RoleKeys::new(ids.into_iter().collect(), 1),
                ..bins
            }),
            extra: Extra::default(),
        };
        let same = self
            .after
            .index
            .as_ref()
            .is_some_and(|index| index.delegations.as_ref() == Some(&new));
        let standing = self.after.roles.get(INDEX);
        let stands = standing.is_some_and(|standing| {
            standing.expires - self.lifetimes.index.renew_before > self.now
                && self.after.targets().is_some_and(|top| {
                    top.authority(INDEX)
                        .is_some_and(|authority| signed_enough(&authority, &standing.signed_by))
                })
        });
        if same && stands && !self.reindex {
            return Ok(());
        }
        let document = Targets {
            delegations: Some(new),
            ..Targets::empty(
                self.next_version(INDEX)?,
                self.now.saturating_add(self.lifetimes.index.good_for),
            )
        };
        let (envelope, bytes) = self.signed(INDEX, document, self.keys.index)?;
        let top = self.after.targets().ok_or_else(|| {
            Refusal::new(Fault::Missing, "targets", "there is no top-level document")
        })?;
        let signed_by = signers(top, INDEX, &envelope)?;
        let meta = MetaFile::of(envelope.document.version, &bytes);
        self.put(INDEX, &envelope.document, meta, bytes, signed_by)?;
        self.after.index = Some(envelope.document);
        Ok(())
    }

    fn write_snapshot(&mut self) -> Result<(), Refusal> {
        let version = next(self.after.snapshot.as_ref(), "snapshot")?;
        let document = Snapshot {
            version,
            expires: self.now.saturating_add(self.lifetimes.snapshot.good_for),
            meta: self
                .after
                .roles
                .iter()
                .map(|(role, standing)| (format!("{role}.json"), standing.meta.clone()))
                .collect(),
            extra: Extra::default(),
        };
        let (envelope, bytes) = self.signed("snapshot", document, self.keys.snapshot)?;
        let signed_by = signers(&self.after.root.document, "snapshot", &envelope)?;
        if let Some(before) = &self.after.snapshot {
            self.superseded
                .push(format!("{}.snapshot.json", before.meta.version));
        }
        self.after.snapshot = Some(Standing {
            meta: MetaFile::of(version, &bytes),
            expires: envelope.document.expires,
            signed_by,
        });
        self.writes.push(Write {
            file: format!("{version}.snapshot.json"),
            role: "snapshot".to_owned(),
            version,
            bytes,
        });
        Ok(())
    }

    fn write_timestamp(&mut self, extra: Extra) -> Result<(), Refusal> {
        let snapshot = self.after.snapshot.as_ref();
        let snapshot =
            snapshot.ok_or_else(|| Refusal::new(Fault::Missing, "snapshot", "there is none"))?;
        let version = next(self.after.timestamp.as_ref(), "timestamp")?;
        let document = Timestamp {
            version,
            expires: self.now.saturating_add(self.lifetimes.timestamp.good_for),
            snapshot: snapshot.meta.clone(),
            extra,
        };
        let (envelope, bytes) = self.signed("timestamp", document, self.keys.timestamp)?;
        let signed_by = signers(&self.after.root.document, "timestamp", &envelope)?;
        self.after.timestamp = Some(Standing {
            meta: MetaFile::of(version, &bytes),
            expires: envelope.document.expires,
            signed_by,
        });
        self.writes.push(Write {
            file: "timestamp.json".to_owned(),
            role: "timestamp".to_owned(),
            version,
            bytes,
        });
        Ok(())
    }

    fn next_version(&self, role: &str) -> Result<u64, Refusal> {
        next(self.after.roles.get(role).map(|standing| &**standing), role)
    }

    fn not_over(&self, role: &str, expires: i64) -> Result<(), Refusal> {
        if expires > self.now && format_time(expires).is_some() {
            return Ok(());
        }
        Err(Refusal::new(
            Fault::Expired,
            role,
            "it would be over already, or ends after the year 9999",
        ))
    }

    /// A document that was signed elsewhere.
    fn offline(
        &mut self,
        role: &str,
        new: &Targets,
        bytes: &[u8],
        signed_by: Vec<String>,
    ) -> Result<(), Refusal> {
        let wanted = self.next_version(role)?;
        if new.version != wanted {
            return Err(Refusal::new(
                Fault::Version,
                role,
                format!("it is version {} instead of {wanted}", new.version),
            ));
        }
        let meta = MetaFile::of(new.version, bytes);
        self.put(role, new, meta, bytes.to_vec(), signed_by)
    }

    fn signed<T: Document>(
        &self,
        role: &str,
        document: T,
        signer: &dyn Signs,
    ) -> Result<(Envelope<T>, Vec<u8>), Refusal> {
        self.not_over(role, document.expires())?;
        let mut envelope = Envelope::unsigned(document);
        envelope.sign(role, signer)?;
        let (bytes, most) = (envelope.to_bytes(), Limits::default().bytes_of(role));
        if bytes.len() as u64 > most {
            return Err(Refusal::new(
                Fault::Limit,
                role,
                format!("it would be longer than the {most} bytes that clients take"),
            ));
        }
        Ok((envelope, bytes))
    }

    fn put(
        &mut self,
        role: &str,
        document: &Targets,
        meta: MetaFile,
        bytes: Vec<u8>,
        signed_by: Vec<String>,
    ) -> Result<(), Refusal> {
        self.not_over(role, document.expires)?;
        for (path, target) in &document.targets {
            check_target(path, target)?;
        }
        // A version that was drafted and not published is drafted over, never published twice.
        if !self.changed.insert(role.to_owned()) {
            return Err(Refusal::new(
                Fault::Version,
                role,
                "it was written in this draft already",
            ));
        }
        let stem = file_stem(role);
        let before = self.after.roles.insert(
            role.into(),
            Arc::new(Standing {
                meta,
                expires: document.expires,
                signed_by,
            }),
        );
        if let Some(before) = before {
            self.superseded
                .push(format!("{}.{stem}.json", before.meta.version));
        }
        self.writes.push(Write {
            file: format!("{}.{stem}.json", document.version),
            role: role.to_owned(),
            version: document.version,
            bytes,
        });
        self.resnapshot = true;
        Ok(())
    }
}

/// The version after this one; the first is 1.
fn next(standing: Option<&Standing>, role: &str) -> Result<u64, Refusal> {
    standing
        .map_or(0, |standing| standing.meta.version)
        .checked_add(1)
        .ok_or_else(|| Refusal::new(Fault::Version, role, "there is no version after the last"))
}

/// Would signatures of these keys be enough?
fn signed_enough(authority: &Authority<'_>, signed_by: &[String]) -> bool {
    let keys: BTreeSet<&[u8]> = authority
        .role
        .keyids
        .iter()
        .filter(|id| signed_by.contains(id))
        .filter_map(|id| authority.keys.get(id)?.spki())
        .collect();
    keys.len() as u64 >= authority.role.threshold
}

/// Does what these keys of the old root signed hold under the new one too? The same id must be the same key.
fn stands(new: &Root, role: &str, old: &Root, signed_by: &[String]) -> bool {
    let same: Vec<String> = signed_by
        .iter()
        .filter(|id| {
            let spki = |root: &Root| Some(root.keys.get(*id)?.spki()?.to_vec());
            spki(new).is_some() && spki(new) == spki(old)
        })
        .cloned()
        .collect();
    new.authority(role)
        .is_some_and(|authority| signed_enough(&authority, &same))
}
