//! Documents that people sign, on different days and machines: which signatures are still missing, and whose.
//!
//! A pending document travels as what it will be: the document's file with the signatures that it has by now. Whoever has a
//! key adds a signature to a copy; copies are merged again, in any order. Nothing is taken in that does not verify.

use std::collections::{BTreeMap, BTreeSet};

use super::documents::{Document, Extra, RoleKeys, Root, Targets};
use super::envelope::{Authority, Delegator, Envelope, Signature, Verdict};
use super::key::{Key, signed_by};
use super::{Fault, Limits, Refusal, TOP_LEVEL, format_time, keyless};
use crate::oidc::quoted;
use crate::sigstore::{Signs, TrustRoot};

/// Somebody whose keys must sign, in sufficient number.
#[derive(Clone, Debug, PartialEq)]
struct Demand {
    by: String,
    keys: BTreeMap<String, Key>,
    role: RoleKeys,
}

impl Demand {
    fn of(by: String, delegator: &impl Delegator, role: &str) -> Result<Self, Refusal> {
        let authority = delegator.must_delegate(role)?;
        let named = |id: &String| Some((id.clone(), authority.keys.get(id)?.clone()));
        Ok(Self {
            by,
            keys: authority.role.keyids.iter().filter_map(named).collect(),
            role: authority.role.clone(),
        })
    }

    fn authority(&self) -> Authority<'_> {
        Authority {
            keys: &self.keys,
            role: &self.role,
        }
    }
}

/// How far the signing has come.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Status {
    /// Each party that must sign, by name, with those of its keys that did and that did not.
    pub demands: Vec<(String, Verdict)>,
}

impl Status {
    /// Did enough sign, of every party?
    #[must_use]
    pub fn complete(&self) -> bool {
        self.demands.iter().all(|(_, verdict)| verdict.holds())
    }

    /// The keys that have not signed and whose signature would still help.
    #[must_use]
    pub fn missing(&self) -> BTreeSet<&str> {
        self.demands
            .iter()
            .filter(|(_, verdict)| !verdict.holds())
            .flat_map(|(_, verdict)| verdict.missing.iter().map(String::as_str))
            .collect()
    }
}

/// A document that waits for signatures.
#[derive(Clone, Debug, PartialEq)]
pub struct Pending<T> {
    role: String,
    envelope: Envelope<T>,
    demands: Vec<Demand>,
    /// Whose word on identities is believed.
    sigstore: TrustRoot,
}

/// A document whose end can not be written can not be signed.
fn writable(role: &str, document: &impl Document) -> Result<(), Refusal> {
    if format_time(document.expires()).is_some() {
        return Ok(());
    }
    Err(Refusal::malformed(
        role,
        "it ends before 1970 or after the year 9999",
    ))
}

impl Pending<Root> {
    /// A root that follows another one (or is the first): the keys of both must sign.
    ///
    /// # Errors
    /// [`Fault::Version`] where it is not the next version.
    pub fn root(new: Root, before: Option<&Root>) -> Result<Self, Refusal> {
        Self::of_root(Envelope::unsigned(new), before)
    }

    /// The same from a file, with the signatures that it has. `sigstore`: whose word on identities is believed.
    ///
    /// # Errors
    /// As [`Pending::root`] and [`Pending::add`]: a signature that does not verify is refused, not dropped.
    pub fn read_root(
        bytes: &[u8],
        before: Option<&Root>,
        sigstore: &TrustRoot,
    ) -> Result<Self, Refusal> {
        let envelope = Envelope::parse("root", bytes, &Limits::default())?;
        Self::of_root(envelope, before)?.checked(sigstore)
    }

    fn of_root(envelope: Envelope<Root>, before: Option<&Root>) -> Result<Self, Refusal> {
        let new = &envelope.document;
        let wanted = before.map_or(0, |root| root.version).saturating_add(1);
        if new.version != wanted {
            return Err(Refusal::new(
                Fault::Version,
                "root",
                format!("it is version {} instead of {wanted}", new.version),
            ));
        }
        writable("root", new)?;
        let mut demands = Vec::new();
        if let Some(before) = before {
            let by = format!("root {}", before.version);
            demands.push(Demand::of(by, before, "root")?);
        }
        demands.push(Demand::of(format!("root {}", new.version), new, "root")?);
        Ok(Self {
            role: "root".to_owned(),
            envelope,
            demands,
            sigstore: TrustRoot::public_good(),
        })
    }
}

impl Pending<Targets> {
    /// A targets document whose signers that delegator names: a root for `targets`, targets for others. `by` is how the
    /// delegator is called in a status.
    ///
    /// # Errors
    /// [`Fault::Unasked`] where the delegator names nobody.
    pub fn targets(
        role: &str,
        new: Targets,
        by: &str,
        delegator: &impl Delegator,
    ) -> Result<Self, Refusal> {
        Self::of_targets(role, Envelope::unsigned(new), by, delegator)
    }

    /// The same from a file, with the signatures that it has. `sigstore`: whose word on identities is believed.
    ///
    /// # Errors
    /// As [`Pending::targets`] and [`Pending::add`].
    pub fn read_targets(
        role: &str,
        bytes: &[u8],
        by: &str,
        delegator: &impl Delegator,
        sigstore: &TrustRoot,
    ) -> Result<Self, Refusal> {
        let envelope = Envelope::parse(role, bytes, &Limits::default())?;
        Self::of_targets(role, envelope, by, delegator)?.checked(sigstore)
    }

    fn of_targets(
        role: &str,
        envelope: Envelope<Targets>,
        by: &str,
        delegator: &impl Delegator,
    ) -> Result<Self, Refusal> {
        writable(role, &envelope.document)?;
        Ok(Self {
            role: role.to_owned(),
            envelope,
            demands: vec![Demand::of(by.to_owned(), delegator, role)?],
            sigstore: TrustRoot::public_good(),
        })
    }
}

impl<T: Document> Pending<T> {
    /// The document.
    #[must_use]
    pub fn document(&self) -> &T {
        &self.envelope.document
    }

    /// The bytes that signatures are of, for keys that are kept elsewhere.
    #[must_use]
    pub fn payload(&self) -> &[u8] {
        self.envelope.payload()
    }

    /// How far the signing has come.
    #[must_use]
    pub fn status(&self) -> Status {
        let judge = |demand: &Demand| (demand.by.clone(), demand.authority().judge(&self.envelope));
        Status {
            demands: self.demands.iter().map(judge).collect(),
        }
    }

    /// Takes a signature. Was it new?
    ///
    /// # Errors
    /// [`Fault::Unasked`] for a key that nobody asked, [`Fault::Unsigned`] for a signature that is not of this document;
    /// [`Fault::Limit`] where the file would be longer with it than clients take.
    pub fn add(&mut self, mut signature: Signature) -> Result<bool, Refusal> {
        self.check(&signature)?;
        self.strip(&mut signature);
        let mut known = self.envelope.signatures.iter();
        if known.any(|other| other.keyid == signature.keyid) {
            return Ok(false);
        }
        self.envelope.signatures.push(signature);
        let most = Limits::default().bytes_of(&self.role);
        if self.to_bytes().len() as u64 > most {
            self.envelope.signatures.pop();
            return Err(Refusal::new(
                Fault::Limit,
                &self.role,
                format!("with this signature it would be longer than {most} bytes"),
            ));
        }
        Ok(true)
    }

    /// A bundle beside the signature of a key is verified by nobody, so it is not handed on.
    fn strip(&self, signature: &mut Signature) {
        let mut keys = self
            .demands
            .iter()
            .filter_map(|demand| demand.keys.get(&signature.keyid));
        if !keys.any(|key| key.identity().is_some()) {
            signature.bundle = None;
        }
    }

    /// Takes the signatures of another copy of the same document. How many were new?
    ///
    /// # Errors
    /// [`Fault::Mismatch`] where it is not the same document; as [`Pending::add`], and then none is taken.
    pub fn merge(&mut self, copy: &[u8]) -> Result<usize, Refusal> {
        let copy = Envelope::<T>::parse(&self.role, copy, &Limits::default())?;
        if copy.payload() != self.envelope.payload() {
            return Err(Refusal::new(
                Fault::Mismatch,
                &self.role,
                "the copy is of another document",
            ));
        }
        for signature in &copy.signatures {
            self.check(signature)?;
        }
        let mut added = 0;
        for signature in copy.signatures {
            added += usize::from(self.add(signature)?);
        }
        Ok(added)
    }

    /// Signs with a key at hand. Was the signature new?
    ///
    /// # Errors
    /// As [`Pending::add`], and where the signer does not sign.
    pub fn sign(&mut self, signer: &dyn Signs) -> Result<bool, Refusal> {
        let sig = signed_by(signer, self.envelope.payload(), &self.role)?;
        self.add(Signature {
            keyid: Key::of(signer)?.id(),
            sig,
            bundle: None,
        })
    }

    /// Takes what the owner of an identity signed, as a Sigstore bundle. Was it new?
    ///
    /// # Errors
    /// As [`Pending::add`]; where it is no bundle.
    pub fn sign_keyless(&mut self, key: &Key, bundle: &[u8]) -> Result<bool, Refusal> {
        self.add(keyless::signature(key, bundle)?)
    }

    /// The file with the signatures that it has by now, for whoever is to sign next.
    #[must_use]
    pub fn to_bytes(&self) -> Vec<u8> {
        self.envelope.to_bytes()
    }

    /// The file, complete and in time at `now` (seconds since 1970 UTC).
    ///
    /// # Errors
    /// [`Fault::Unsigned`] where keys still miss, with their ids; [`Fault::Expired`].
    pub fn finish(&self, now: i64) -> Result<Vec<u8>, Refusal> {
        let status = self.status();
        if !status.complete() {
            let missing: Vec<&str> = status.missing().into_iter().collect();
            return Err(Refusal::new(
                Fault::Unsigned,
                &self.role,
                format!(
                    "signatures of these keys still miss: {}",
                    missing.join(", ")
                ),
            ));
        }
        if self.envelope.document.expires() <= now {
            return Err(Refusal::new(
                Fault::Expired,
                &self.role,
                "its time was over before enough keys signed",
            ));
        }
        Ok(self.to_bytes())
    }

    fn checked(mut self, sigstore: &TrustRoot) -> Result<Self, Refusal> {
        self.sigstore = sigstore.clone();
        let mut signatures = std::mem::take(&mut self.envelope.signatures);
        for signature in &mut signatures {
            self.check(signature)?;
            self.strip(signature);
        }
        self.envelope.signatures = signatures;
        Ok(self)
    }

    fn check(&self, signature: &Signature) -> Result<(), Refusal> {
        let keys = self
            .demands
            .iter()
            .filter(|demand| demand.role.keyids.contains(&signature.keyid))
            .filter_map(|demand| demand.keys.get(&signature.keyid));
        let mut refusal = Refusal::new(
            Fault::Unasked,
            &self.role,
            format!("nobody asked the key {}", quoted(&signature.keyid)),
        );
        for key in keys {
            let payload = self.envelope.payload();
            if key.identity().is_some() {
                match keyless::verify(key, payload, signature, &self.sigstore) {
                    Ok(()) => return Ok(()),
                    Err(why) => {
                        refusal = Refusal {
                            what: refusal.what,
                            ..why
                        };
                    }
                }
            } else if key.verifies(payload, &signature.sig) {
                return Ok(());
            } else {
                refusal = Refusal::new(
                    Fault::Unsigned,
                    &self.role,
                    format!(
                        "the signature of {} is not of this document",
                        quoted(&signature.keyid)
                    ),
                );
            }
        }
        Err(refusal)
    }
}

/// Is a threshold met by keys that every client counts, without the signers by identity among them?
///
/// # Errors
/// The rest of a sentence about the role, with the way out.
pub fn met_by_keys(keys: &[Key], threshold: u64) -> Result<(), String> {
    let counted = keys.iter().filter(|key| key.identity().is_none()).count();
    if (1..=counted as u64).contains(&threshold) {
        return Ok(());
    }
    let way_out = if counted < keys.len() {
        ". Identities are no keys to other clients: add keys, or ask for fewer"
    } else {
        ""
    };
    Err(format!(
        "has {counted} keys, and {threshold} must sign{way_out}"
    ))
}

/// What a root is to say: for each of the four roles its keys and threshold.
#[derive(Clone, Debug, PartialEq)]
pub struct RootPlan {
    /// When it ends, in seconds since 1970 UTC.
    pub expires: i64,
    /// The roles by name: keys and threshold.
    pub roles: BTreeMap<String, (Vec<Key>, u64)>,
    /// For trying things out: one key may be enough for the root, and one key may have several roles.
    pub development: bool,
}

impl RootPlan {
    /// The plan that a root followed, to be changed.
    #[must_use]
    pub fn of(root: &Root) -> Self {
        let keys = |role: &RoleKeys| {
            let keys = role.keyids.iter();
            keys.filter_map(|id| root.keys.get(id).cloned()).collect()
        };
        Self {
            expires: root.expires,
            roles: root
                .roles
                .iter()
                .map(|(name, role)| (name.clone(), (keys(role), role.threshold)))
                .collect(),
            development: false,
        }
    }

    /// The root after `before`, or the first.
    ///
    /// # Errors
    /// [`Fault::Malformed`] where a role is missing, has one key twice, or fewer keys that every client counts than must sign; where
    /// a role that signs without a person names an identity; where the root asks for one signature only, or a key that signs
    /// without a person is one of those that take one (unless for development).
    pub fn root(&self, before: Option<&Root>) -> Result<Root, Refusal> {
        let refuse = |sentence: String| Refusal::malformed("root", sentence);
        let mut keys = BTreeMap::new();
        let mut roles = BTreeMap::new();
        let mut uses: BTreeMap<&[u8], BTreeSet<&str>> = BTreeMap::new();
        let mut identities = BTreeSet::new();
        let online = ["snapshot", "timestamp"];
        for name in TOP_LEVEL {
            let (of_role, threshold) = self
                .roles
                .get(name)
                .ok_or_else(|| refuse(format!("nobody is named for `{name}`")))?;
            for key in of_role {
                if let Some((identity, _)) = key.identity() {
                    if online.contains(&name) {
                        return Err(refuse(format!(
                            "{} can not sign `{name}`: no person is asked for that; give it a key",
                            quoted(identity)
                        )));
                    }
                    if !identities.insert((name, key.id())) {
                        return Err(refuse(format!("`{name}` has {} twice", quoted(identity))));
                    }
                    keys.insert(key.id(), key.clone());
                    continue;
                }
                let spki = key
                    .spki()
                    .ok_or_else(|| refuse(format!("a key of `{name}` is of no known kind")))?;
                if !uses.entry(spki).or_default().insert(name) {
                    return Err(refuse(format!("`{name}` has one key twice")));
                }
                keys.insert(key.id(), key.clone());
            }
            met_by_keys(of_role, *threshold).map_err(|why| refuse(format!("`{name}` {why}")))?;
            let ids = of_role.iter().map(Key::id).collect();
            roles.insert(name.to_owned(), RoleKeys::new(ids, *threshold));
        }
        if !self.development {
            if roles.get("root").is_some_and(|role| role.threshold < 2) {
                return Err(refuse(
                    "one signature would be enough to replace it; ask for two at least".to_owned(),
                ));
            }
            let both = |names: &&BTreeSet<&str>| {
                names.iter().any(|name| online.contains(name))
                    && names.iter().any(|name| !online.contains(name))
            };
            if uses.values().any(|names| both(&names)) {
                return Err(refuse(
                    "a key that signs without a person is also one of the root or the targets"
                        .to_owned(),
                ));
            }
        }
        Ok(Root {
            version: before.map_or(0, |root| root.version).saturating_add(1),
            expires: self.expires,
            consistent_snapshot: true,
            keys,
            roles,
            extra: Extra::default(),
        })
    }
}

/// One thing in which a root differs from the one before, for people who are to sign it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Change {
    /// A key speaks for a role now.
    KeyAdded {
        /// The role.
        role: String,
        /// The key's id.
        keyid: String,
    },
    /// A key speaks no longer for a role.
    KeyRemoved {
        /// The role.
        role: String,
        /// The key's id.
        keyid: String,
    },
    /// The same id stands for another key.
    KeyReplaced {
        /// The key's id.
        keyid: String,
    },
    /// More or fewer must sign.
    Threshold {
        /// The role.
        role: String,
        /// How many before; 0 for a role that was not there.
        from: u64,
        /// How many now.
        to: u64,
    },
    /// It ends at another time, in seconds since 1970 UTC.
    Expires {
        /// Before.
        from: Option<i64>,
        /// Now.
        to: i64,
    },
    /// Consistent snapshots were switched on or off.
    ConsistentSnapshot(bool),
}

/// In what a root differs from the one before.
#[must_use]
pub fn changes(before: Option<&Root>, after: &Root) -> Vec<Change> {
    let mut changes = Vec::new();
    let none = RoleKeys::default();
    let old_roles = before.map(|root| &root.roles);
    let names: BTreeSet<&String> = old_roles
        .into_iter()
        .flat_map(BTreeMap::keys)
        .chain(after.roles.keys())
        .collect();
    for role in names {
        let old = old_roles.and_then(|roles| roles.get(role)).unwrap_or(&none);
        let new = after.roles.get(role).unwrap_or(&none);
        for keyid in new.keyids.iter().filter(|id| !old.keyids.contains(id)) {
            changes.push(Change::KeyAdded {
                role: role.clone(),
                keyid: keyid.clone(),
            });
        }
        for keyid in old.keyids.iter().filter(|id| !new.keyids.contains(id)) {
            changes.push(Change::KeyRemoved {
                role: role.clone(),
                keyid: keyid.clone(),
            });
        }
        if old.threshold != new.threshold {
            changes.push(Change::Threshold {
                role: role.clone(),
                from: old.threshold,
                to: new.threshold,
            });
        }
    }
    if let Some(before) = before {
        let replaced = after.keys.iter().filter(|(id, key)| {
            let old = before.keys.get(*id);
            old.is_some_and(|old| old != *key)
        });
        changes.extend(replaced.map(|(id, _)| Change::KeyReplaced { keyid: id.clone() }));
    }
    let from = before.map(|root| root.expires);
    if from != Some(after.expires) {
        changes.push(Change::Expires {
            from,
            to: after.expires,
        });
    }
    if before.is_none_or(|root| root.consistent_snapshot != after.consistent_snapshot) {
        changes.push(Change::ConsistentSnapshot(after.consistent_snapshot));
    }
    changes
}
