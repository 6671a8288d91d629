//! A ceremony as one file: all documents that wait for people's signatures, of all repositories, with what they follow.
//!
//! The file travels between people and machines without a network. Whoever has a key signs a copy; copies are merged in any
//! order. The file is checked whenever it is read: nothing in it is believed because it stands there, except the roots that it
//! says are in use ([`Part::before`]), which whoever signs can hold against a root that they know.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Map, Value, json};

use super::ceremony::{Change, Pending, Status, changes};
use super::documents::{Document, Root, Targets};
use super::envelope::{Delegator, Envelope};
use super::key::Key;
use super::scope::Scope;
use super::target::TargetFile;
use super::{Fault, Limits, Refusal, keyless};
use crate::oidc::{quoted, strict_object_within};
use crate::sigstore::{Signs, TrustRoot};

/// What stands as the file's `format`.
pub const FORMAT: &str = "countersign-tuf-ceremony/1";
/// The longest file, in bytes.
pub const MAX_BYTES: usize = 32 << 20;
/// How many repositories one ceremony may be for.
const MAX_REPOSITORIES: usize = 256;

/// One repository's share of a ceremony.
#[derive(Clone, Debug, PartialEq)]
pub struct Part {
    before: Option<Envelope<Root>>,
    targets_before: Option<Envelope<Targets>>,
    root: Option<Pending<Root>>,
    targets: Option<Pending<Targets>>,
    roles: BTreeMap<String, Share>,
}

/// A role that the top-level targets hand on to, and that people sign: its next document, and the one in use.
#[derive(Clone, Debug, PartialEq)]
struct Share {
    before: Option<Envelope<Targets>>,
    next: Pending<Targets>,
}

impl Share {
    fn checked(role: &str, before: Option<&[u8]>, next: Pending<Targets>) -> Result<Self, Refusal> {
        let limits = Limits::default();
        let before = before.map(|bytes| Envelope::<Targets>::parse(role, bytes, &limits));
        let before = before.transpose()?;
        follows(role, next.document(), before.as_ref())?;
        Ok(Self { before, next })
    }

    /// Which targets are new, other ones, or no targets any more; a line each.
    fn changes(&self) -> Vec<String> {
        let none = BTreeMap::new();
        let old = self
            .before
            .as_ref()
            .map_or(&none, |old| &old.document.targets);
        let new = &self.next.document().targets;
        let digest = |file: &TargetFile| file.digest().unwrap_or_default().to_owned();
        let mut lines = Vec::new();
        for (path, file) in new {
            match old.get(path) {
                None => lines.push(format!("+ {path} {}", digest(file))),
                Some(was) if was != file => {
                    lines.push(format!("~ {path} {} (was {})", digest(file), digest(was)));
                }
                Some(_) => {}
            }
        }
        for path in old.keys().filter(|path| !new.contains_key(*path)) {
            lines.push(format!("- {path}"));
        }
        lines
    }
}

/// The next document of a role that the top-level targets hand on to.
#[derive(Clone, Debug)]
pub struct RoleDocument<'a> {
    /// The role.
    pub role: String,
    /// Its file in use, if there is one.
    pub before: Option<&'a [u8]>,
    /// What is to be signed.
    pub next: Targets,
}

impl Part {
    /// A new root, a new top-level targets document, or both. `before` and `targets_before` are the files in use now.
    ///
    /// # Errors
    /// Where a file in use can not be read, or something new does not follow it; [`Fault::Missing`] where nothing is new, or
    /// there are targets and no root to name their keys.
    pub fn new(
        before: Option<&[u8]>,
        targets_before: Option<&[u8]>,
        root: Option<Root>,
        targets: Option<Targets>,
    ) -> Result<Self, Refusal> {
        Self::with_roles(before, targets_before, root, targets, Vec::new())
    }

    /// The same with documents of roles that the top-level targets hand on to: the new ones, or else those in use.
    ///
    /// # Errors
    /// As [`Part::new`]; [`Fault::Unasked`] for a role that they do not hand on to.
    pub fn with_roles(
        before: Option<&[u8]>,
        targets_before: Option<&[u8]>,
        root: Option<Root>,
        targets: Option<Targets>,
        roles: Vec<RoleDocument<'_>>,
    ) -> Result<Self, Refusal> {
        let limits = Limits::default();
        let before = before.map(|bytes| Envelope::<Root>::parse("root", bytes, &limits));
        let before = before.transpose()?;
        let old_targets =
            targets_before.map(|bytes| Envelope::<Targets>::parse("targets", bytes, &limits));
        let targets_before = old_targets.transpose()?;
        let root = root.map(|root| Pending::root(root, before.as_ref().map(|old| &old.document)));
        let root = root.transpose()?;
        let targets = match targets {
            None => None,
            Some(new) => {
                follows("targets", &new, targets_before.as_ref())?;
                let by = delegator(before.as_ref(), root.as_ref())?;
                let name = format!("root {}", by.version);
                Some(Pending::targets("targets", new, &name, by)?)
            }
        };
        let mut part = Self {
            before,
            targets_before,
            root,
            targets,
            roles: BTreeMap::new(),
        };
        for RoleDocument { role, before, next } in roles {
            let by = part.roles_delegator(&role)?;
            let next = Pending::targets(&role, next, &named(by), by)?;
            let share = Share::checked(&role, before, next)?;
            part.roles.insert(role, share);
        }
        part.not_empty("ceremony")
    }

    fn not_empty(self, name: &str) -> Result<Self, Refusal> {
        if self.root.is_none() && self.targets.is_none() && self.roles.is_empty() {
            return Err(Refusal::new(
                Fault::Missing,
                name,
                "there is nothing to sign",
            ));
        }
        Ok(self)
    }

    /// The top-level targets that name the keys of other roles: the new ones, where there are some.
    fn roles_delegator(&self, role: &str) -> Result<&Targets, Refusal> {
        let before = self.targets_before.as_ref().map(|old| &old.document);
        self.targets().or(before).ok_or_else(|| {
            Refusal::new(
                Fault::Missing,
                role,
                "no targets name the keys of this role",
            )
        })
    }

    fn read(
        name: &str,
        mut map: Map<String, Value>,
        sigstore: &TrustRoot,
    ) -> Result<Self, Refusal> {
        let mut bytes = |field: &str| {
            map.remove(field)
                .map(|value| value.to_string().into_bytes())
        };
        let (before, targets_before) = (bytes("before"), bytes("targets_before"));
        let (root, targets) = (bytes("root"), bytes("targets"));
        let roles = match map.remove("roles") {
            None => Map::new(),
            Some(Value::Object(roles)) => roles,
            Some(_) => return Err(Refusal::malformed(name, "its `roles` are no object")),
        };
        if let Some(field) = map.keys().next() {
            return Err(Refusal::malformed(
                name,
                format!("{} is unknown here", quoted(field)),
            ));
        }
        let limits = Limits::default();
        let parse_root = |bytes: &Vec<u8>| Envelope::<Root>::parse("root", bytes, &limits);
        let before = before.as_ref().map(parse_root).transpose()?;
        let old_targets = targets_before
            .as_ref()
            .map(|bytes| Envelope::<Targets>::parse("targets", bytes, &limits));
        let targets_before = old_targets.transpose()?;
        let root = root
            .map(|bytes| {
                let before = before.as_ref().map(|old| &old.document);
                Pending::read_root(&bytes, before, sigstore)
            })
            .transpose()?;
        let targets = match targets {
            None => None,
            Some(bytes) => {
                let by = delegator(before.as_ref(), root.as_ref())?;
                let named = format!("root {}", by.version);
                let read = Pending::read_targets("targets", &bytes, &named, by, sigstore)?;
                follows("targets", read.document(), targets_before.as_ref())?;
                Some(read)
            }
        };
        let mut part = Self {
            before,
            targets_before,
            root,
            targets,
            roles: BTreeMap::new(),
        };
        for (role, value) in roles {
            let mut share = match value {
                Value::Object(share) => share,
                _ => return Err(Refusal::malformed(&role, "it is no object")),
            };
            let mut bytes = |field: &str| {
                share
                    .remove(field)
                    .map(|value| value.to_string().into_bytes())
            };
            let (before, next) = (bytes("before"), bytes("next"));
            if let Some(field) = share.keys().next() {
                return Err(Refusal::malformed(
                    &role,
                    format!("{} is unknown here", quoted(field)),
                ));
            }
            let next =
                next.ok_or_else(|| Refusal::malformed(&role, "its `next` document is missing"))?;
            let by = part.roles_delegator(&role)?;
            let next = Pending::read_targets(&role, &next, &named(by), by, sigstore)?;
            let share = Share::checked(&role, before.as_deref(), next)?;
            part.roles.insert(role, share);
        }
        part.not_empty(name)
    }

    /// The root that the ceremony follows, as the file claims.
    #[must_use]
    pub fn before(&self) -> Option<&Root> {
        self.before.as_ref().map(|envelope| &envelope.document)
    }

    /// The bytes of that root.
    #[must_use]
    pub fn before_bytes(&self) -> Option<Vec<u8>> {
        self.before.as_ref().map(Envelope::to_bytes)
    }

    /// Is this the root that the ceremony follows? Signatures and the order of fields do not matter.
    ///
    /// # Errors
    /// Where the bytes are no root.
    pub fn follows_root(&self, known: &[u8]) -> Result<bool, Refusal> {
        let known = Envelope::<Root>::parse("root", known, &Limits::default())?;
        Ok(self
            .before
            .as_ref()
            .is_some_and(|before| before.payload() == known.payload()))
    }

    /// The new root.
    #[must_use]
    pub fn root(&self) -> Option<&Root> {
        self.root.as_ref().map(Pending::document)
    }

    /// The new top-level targets.
    #[must_use]
    pub fn targets(&self) -> Option<&Targets> {
        self.targets.as_ref().map(Pending::document)
    }

    /// In what the new root differs from the one in use.
    #[must_use]
    pub fn root_changes(&self) -> Vec<Change> {
        let before = self.before();
        self.root()
            .map_or_else(Vec::new, |root| changes(before, root))
    }

    /// Which roles the new targets hand on to, and which they hand on to no longer or otherwise.
    #[must_use]
    pub fn delegation_changes(&self) -> Vec<String> {
        let Some(new) = self.targets() else {
            return Vec::new();
        };
        let old = self.targets_before.as_ref().map(|old| &old.document);
        let (before, after) = (old.map(delegated).unwrap_or_default(), delegated(new));
        let mut lines = Vec::new();
        for (role, what) in &after {
            match before.get(role) {
                None => lines.push(format!("hands on to {role}: {what}")),
                Some(was) if was != what => {
                    lines.push(format!("hands on to {role}: {what} (was: {was})"));
                }
                Some(_) => {}
            }
        }
        for role in before.keys().filter(|role| !after.contains_key(*role)) {
            lines.push(format!("hands on to {role} no longer"));
        }
        lines
    }

    /// The roles that people sign a document of, each with the targets in which it differs from the one in use, a line each.
    #[must_use]
    pub fn role_changes(&self) -> Vec<(&str, &Targets, Vec<String>)> {
        self.roles
            .iter()
            .map(|(role, share)| (role.as_str(), share.next.document(), share.changes()))
            .collect()
    }

    fn to_value(&self) -> Value {
        let mut map = Map::new();
        // What is written by an envelope is JSON.
        let mut set = |name: &str, bytes: Option<Vec<u8>>| {
            let value = bytes.and_then(|bytes| serde_json::from_slice(&bytes).ok());
            if let Some(value) = value {
                map.insert(name.to_owned(), value);
            }
        };
        set("before", self.before_bytes());
        set(
            "targets_before",
            self.targets_before.as_ref().map(Envelope::to_bytes),
        );
        set("root", self.root.as_ref().map(Pending::to_bytes));
        set("targets", self.targets.as_ref().map(Pending::to_bytes));
        let json = |bytes: &[u8]| serde_json::from_slice(bytes).unwrap_or(Value::Null);
        let mut roles = Map::new();
        for (role, share) in &self.roles {
            let mut fields = Map::new();
            if let Some(before) = &share.before {
                fields.insert("before".to_owned(), json(&before.to_bytes()));
            }
            fields.insert("next".to_owned(), json(&share.next.to_bytes()));
            roles.insert(role.clone(), Value::Object(fields));
        }
        if !roles.is_empty() {
            map.insert("roles".to_owned(), Value::Object(roles));
        }
        Value::Object(map)
    }
}

/// The root whose keys sign the targets: the new one, where there is one.
fn delegator<'a>(
    before: Option<&'a Envelope<Root>>,
    root: Option<&'a Pending<Root>>,
) -> Result<&'a Root, Refusal> {
    root.map(Pending::document)
        .or(before.map(|before| &before.document))
        .ok_or_else(|| Refusal::new(Fault::Missing, "root", "no root names the keys of targets"))
}

/// What top-level targets are called where somebody's keys are asked for.
fn named(by: &Targets) -> String {
    format!("targets {}", by.version)
}

fn follows(role: &str, new: &Targets, before: Option<&Envelope<Targets>>) -> Result<(), Refusal> {
    let wanted = before
        .map_or(0, |old| old.document.version)
        .saturating_add(1);
    if new.version == wanted {
        return Ok(());
    }
    Err(Refusal::new(
        Fault::Version,
        role,
        format!("it is version {} instead of {wanted}", new.version),
    ))
}

/// Roles that targets hand on to, with keys and threshold in a line.
fn delegated(targets: &Targets) -> BTreeMap<String, String> {
    let Some(delegations) = &targets.delegations else {
        return BTreeMap::new();
    };
    let names: Vec<String> = match &delegations.roles {
        super::Delegated::Listed(roles) => roles.iter().map(|role| role.name.clone()).collect(),
        super::Delegated::Succinct(bins) => vec![format!("{}-*", bins.name_prefix)],
    };
    let of = |name: &str| match &delegations.roles {
        super::Delegated::Listed(roles) => {
            let role = roles.iter().find(|role| role.name == name);
            match role.map(|role| &role.scope) {
                Some(Scope::Paths(paths)) => format!(" for {}", paths.join(", ")),
                _ => String::new(),
            }
        }
        super::Delegated::Succinct(_) => String::new(),
    };
    let keys = |name: &str| match &delegations.roles {
        super::Delegated::Succinct(bins) => Some(bins.keys.clone()),
        super::Delegated::Listed(_) => targets.authority(name).map(|by| by.role.clone()),
    };
    names
        .into_iter()
        .filter_map(|name| {
            let role = keys(&name)?;
            // Signers by identity stand in brackets: nobody counts them.
            let shown = role.keyids.iter().map(|id| match delegations.keys.get(id) {
                Some(key) if key.identity().is_some() => format!("({})", short(id)),
                _ => short(id).to_owned(),
            });
            let shown: Vec<String> = shown.collect();
            let line = format!("{} of {}{}", role.threshold, shown.join(", "), of(&name));
            Some((name, line))
        })
        .collect()
}

/// The beginning of a key's id, enough for people to tell keys apart.
#[must_use]
pub fn short(keyid: &str) -> &str {
    keyid.get(..12).unwrap_or(keyid)
}

/// How a document of a ceremony stands.
#[derive(Clone, Debug)]
pub struct Row {
    /// The repository.
    pub repository: String,
    /// `root`, `targets`, or a role that the targets hand on to.
    pub role: String,
    /// Its version.
    pub version: u64,
    /// When it ends, in seconds since 1970 UTC.
    pub expires: i64,
    /// Who signed, and who has not.
    pub status: Status,
}

/// What of a repository is ready to be published.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ready {
    /// The repository.
    pub repository: String,
    /// The new root, signed.
    pub root: Option<Vec<u8>>,
    /// The new top-level targets, signed.
    pub targets: Option<Vec<u8>>,
    /// The new documents of roles that the targets hand on to, signed, by role.
    pub roles: BTreeMap<String, Vec<u8>>,
}

/// All that is signed together.
#[derive(Clone, Debug, PartialEq, Default)]
pub struct Bundle {
    parts: BTreeMap<String, Part>,
}

impl Bundle {
    /// A ceremony for these repositories.
    #[must_use]
    pub fn new(parts: BTreeMap<String, Part>) -> Self {
        Self { parts }
    }

    /// Reads a file, and checks all that is in it. `sigstore`: whose word on identities is believed.
    ///
    /// # Errors
    /// [`Fault::Limit`], [`Fault::Malformed`]; signatures that are not of their document, or of nobody who was asked.
    pub fn parse(bytes: &[u8], sigstore: &TrustRoot) -> Result<Self, Refusal> {
        if bytes.len() > MAX_BYTES {
            return Err(Refusal::new(
                Fault::Limit,
                "ceremony",
                format!("it is longer than {MAX_BYTES} bytes"),
            ));
        }
        let limits = Limits::default();
        let malformed = |why: String| Refusal::malformed("ceremony", why);
        let mut file =
            strict_object_within(bytes, limits.depth + 6, limits.values).map_err(malformed)?;
        match file.remove("format") {
            Some(Value::String(format)) if format == FORMAT => {}
            _ => {
                return Err(malformed(format!("its `format` is not `{FORMAT}`")));
            }
        }
        let Some(Value::Object(repositories)) = file.remove("repositories") else {
            return Err(malformed("it has no object `repositories`".to_owned()));
        };
        if let Some(field) = file.keys().next() {
            return Err(malformed(format!("{} is unknown here", quoted(field))));
        }
        if repositories.is_empty() || repositories.len() > MAX_REPOSITORIES {
            return Err(Refusal::new(
                Fault::Limit,
                "ceremony",
                format!("it is for none, or for more than {MAX_REPOSITORIES} repositories"),
            ));
        }
        let parts = repositories
            .into_iter()
            .map(|(name, value)| match value {
                Value::Object(map) => Ok((name.clone(), Part::read(&name, map, sigstore)?)),
                _ => Err(Refusal::malformed(&name, "it is no object")),
            })
            .collect::<Result<_, Refusal>>()?;
        Ok(Self { parts })
    }

    /// The repositories with their shares.
    #[must_use]
    pub fn parts(&self) -> &BTreeMap<String, Part> {
        &self.parts
    }

    /// The file, for people to look into.
    #[must_use]
    pub fn to_bytes(&self) -> Vec<u8> {
        let parts: Map<String, Value> = self
            .parts
            .iter()
            .map(|(name, part)| (name.clone(), part.to_value()))
            .collect();
        let file = json!({"format": FORMAT, "repositories": parts});
        let mut text = format!("{file:#}");
        text.push('\n');
        text.into_bytes()
    }

    /// Signs all that asks for this key and does not have its signature yet. Which documents those are: repository and role.
    ///
    /// # Errors
    /// [`Fault::Unasked`] where nothing asks for the key; where the signer does not sign.
    pub fn sign(&mut self, signer: &dyn Signs) -> Result<Vec<(String, String)>, Refusal> {
        let keyid = Key::of(signer)?.id();
        let mut asked = false;
        let mut signed = Vec::new();
        for (name, part) in &mut self.parts {
            if let Some(root) = part.root.as_mut().filter(|root| asks(root, &keyid)) {
                asked = true;
                if root.sign(signer)? {
                    signed.push((name.clone(), "root".to_owned()));
                }
            }
            if let Some(targets) = part.targets.as_mut().filter(|new| asks(new, &keyid)) {
                asked = true;
                if targets.sign(signer)? {
                    signed.push((name.clone(), "targets".to_owned()));
                }
            }
            for (role, share) in &mut part.roles {
                if asks(&share.next, &keyid) {
                    asked = true;
                    if share.next.sign(signer)? {
                        signed.push((name.clone(), role.clone()));
                    }
                }
            }
        }
        if !asked {
            return Err(Refusal::new(
                Fault::Unasked,
                "ceremony",
                format!("nothing in it asks for the key {keyid}"),
            ));
        }
        Ok(signed)
    }

    /// What the owner of an identity is to sign: repository, role and the bytes, of all that asks for that and does not have it.
    #[must_use]
    pub fn asked_of(&self, key: &Key) -> Vec<(String, String, Vec<u8>)> {
        let keyid = key.id();
        let mut asked = Vec::new();
        for (name, part) in &self.parts {
            let mut ask = |role: &str, lacking: bool, payload: &[u8]| {
                if lacking {
                    asked.push((name.clone(), role.to_owned(), payload.to_vec()));
                }
            };
            if let Some(root) = &part.root {
                ask("root", lacks(root, &keyid), root.payload());
            }
            if let Some(targets) = &part.targets {
                ask("targets", lacks(targets, &keyid), targets.payload());
            }
            for (role, share) in &part.roles {
                ask(role, lacks(&share.next, &keyid), share.next.payload());
            }
        }
        asked
    }

    /// Takes a Sigstore bundle of the owner of an identity into the documents that it is of and that lack it. Which those are:
    /// repository and role.
    ///
    /// # Errors
    /// [`Fault::Unasked`] where nothing asks for the identity any more, or another one signed; [`Fault::Unsigned`] where the bundle is
    /// of none of the documents; [`Fault::Malformed`] where it is no bundle.
    pub fn sign_keyless(
        &mut self,
        key: &Key,
        bundle: &[u8],
    ) -> Result<Vec<(String, String)>, Refusal> {
        let signature = keyless::signature(key, bundle)?;
        let keyid = &signature.keyid;
        let (mut signed, mut refusal) = (Vec::new(), None);
        for (name, part) in &mut self.parts {
            let mut took = |role: &str, taken: Result<bool, Refusal>| match taken {
                Ok(_) => signed.push((name.clone(), role.to_owned())),
                Err(why) => refusal = refusal.take().or(Some(why)),
            };
            if let Some(root) = part.root.as_mut().filter(|root| lacks(root, keyid)) {
                took("root", root.add(signature.clone()));
            }
            if let Some(targets) = part.targets.as_mut().filter(|new| lacks(new, keyid)) {
                took("targets", targets.add(signature.clone()));
            }
            for (role, share) in &mut part.roles {
                if lacks(&share.next, keyid) {
                    took(role, share.next.add(signature.clone()));
                }
            }
        }
        match (signed.is_empty(), refusal) {
            (false, _) => Ok(signed),
            (true, Some(why)) => Err(Refusal {
                what: "ceremony".to_owned(),
                sentence: format!(
                    "the bundle is of no document that asks for it: {}",
                    why.sentence
                ),
                ..why
            }),
            (true, None) => Err(Refusal::new(
                Fault::Unasked,
                "ceremony",
                format!("nothing in it asks for the identity {}", short(keyid)),
            )),
        }
    }

    /// Takes the signatures of another copy. How many were new? `sigstore`: whose word on identities is believed.
    ///
    /// # Errors
    /// [`Fault::Mismatch`] where it is not the same ceremony; as [`Bundle::parse`]. Nothing is taken then.
    pub fn merge(&mut self, copy: &[u8], sigstore: &TrustRoot) -> Result<usize, Refusal> {
        let copy = Self::parse(copy, sigstore)?;
        let other =
            |name: &str| Refusal::new(Fault::Mismatch, name, "the copy is of another ceremony");
        let names = |bundle: &Self| bundle.parts.keys().cloned().collect::<BTreeSet<String>>();
        if names(self) != names(&copy) {
            return Err(other("ceremony"));
        }
        let mut merged = self.clone();
        let mut added = 0;
        for (name, theirs) in &copy.parts {
            let Some(ours) = merged.parts.get_mut(name) else {
                return Err(other(name));
            };
            let payload =
                |of: &Option<Envelope<Root>>| of.as_ref().map(|old| old.payload().to_vec());
            if payload(&ours.before) != payload(&theirs.before)
                || ours.root.is_some() != theirs.root.is_some()
                || ours.targets.is_some() != theirs.targets.is_some()
                || !ours.roles.keys().eq(theirs.roles.keys())
            {
                return Err(other(name));
            }
            if let (Some(ours), Some(theirs)) = (&mut ours.root, &theirs.root) {
                added += ours.merge(&theirs.to_bytes())?;
            }
            if let (Some(ours), Some(theirs)) = (&mut ours.targets, &theirs.targets) {
                added += ours.merge(&theirs.to_bytes())?;
            }
            for (ours, theirs) in ours.roles.values_mut().zip(theirs.roles.values()) {
                added += ours.next.merge(&theirs.next.to_bytes())?;
            }
        }
        *self = merged;
        Ok(added)
    }

    /// How each document stands.
    #[must_use]
    pub fn rows(&self) -> Vec<Row> {
        let mut rows = Vec::new();
        for (name, part) in &self.parts {
            if let Some(root) = &part.root {
                rows.push(row(name, "root", root));
            }
            if let Some(targets) = &part.targets {
                rows.push(row(name, "targets", targets));
            }
            for (role, share) in &part.roles {
                rows.push(row(name, role, &share.next));
            }
        }
        rows
    }

    /// Did everybody sign that must?
    #[must_use]
    pub fn complete(&self) -> bool {
        self.rows().iter().all(|row| row.status.complete())
    }

    /// What is to be published, at `now` (seconds since 1970 UTC).
    ///
    /// # Errors
    /// [`Fault::Unsigned`] with the keys that still miss, [`Fault::Expired`].
    pub fn finish(&self, now: i64) -> Result<Vec<Ready>, Refusal> {
        let of = |name: &str, refusal: Refusal| Refusal {
            what: format!("{name}: {}", refusal.what),
            ..refusal
        };
        self.parts
            .iter()
            .map(|(name, part)| {
                let root = part.root.as_ref().map(|root| root.finish(now)).transpose();
                let targets = part.targets.as_ref().map(|new| new.finish(now)).transpose();
                let roles = part.roles.iter().map(|(role, share)| {
                    let next = share.next.finish(now);
                    Ok((role.clone(), next.map_err(|refusal| of(name, refusal))?))
                });
                Ok(Ready {
                    repository: name.clone(),
                    root: root.map_err(|refusal| of(name, refusal))?,
                    targets: targets.map_err(|refusal| of(name, refusal))?,
                    roles: roles.collect::<Result<_, Refusal>>()?,
                })
            })
            .collect()
    }
}

fn asks<T: Document>(pending: &Pending<T>, keyid: &str) -> bool {
    let status = pending.status();
    let mut demands = status.demands.iter().map(|(_, verdict)| verdict);
    demands.any(|verdict| {
        let mut ids = verdict.signed.iter().chain(&verdict.missing);
        ids.any(|id| id == keyid)
    })
}

/// Does a document ask for this signer by identity, and not have its signature?
fn lacks<T: Document>(pending: &Pending<T>, keyid: &str) -> bool {
    let status = pending.status();
    let mut demands = status.demands.iter();
    demands.any(|(_, verdict)| {
        let mut identities = verdict.identities.iter();
        identities.any(|(id, there)| id == keyid && !there)
    })
}

fn row<T: Document>(name: &str, role: &str, pending: &Pending<T>) -> Row {
    Row {
        repository: name.to_owned(),
        role: role.to_owned(),
        version: pending.document().version(),
        expires: pending.document().expires(),
        status: pending.status(),
    }
}
