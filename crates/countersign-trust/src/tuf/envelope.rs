//! A document with its signatures.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Map, Value};

use super::canonical::{self, Text};
use super::documents::{Document, RoleKeys, Root, Targets};
use super::key::{Key, signed_by};
use super::{Fault, Limits, Refusal};
use crate::oidc::{quoted, strict_object_within};
use crate::sigstore::Signs;

/// A signature as it stands in an envelope.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Signature {
    /// The id of the key that is said to have made it.
    pub keyid: String,
    /// The signature in hexadecimal; may be anything.
    pub sig: String,
    /// The Sigstore bundle that a signature by an identity comes with, an object; may be anything else.
    pub bundle: Option<Value>,
}

/// A document with its signatures. Having one says nothing of whether they are good: [`Authority`] does.
#[derive(Clone, Debug, PartialEq)]
pub struct Envelope<T> {
    /// The document.
    pub document: T,
    /// Its signatures, of different keys.
    pub signatures: Vec<Signature>,
    /// The canonical bytes that were signed.
    payload: Vec<u8>,
    /// The same as JSON, where that is not the same.
    json: Option<String>,
}

impl<T: Document> Envelope<T> {
    /// Reads a document. `role` is its role, for limits and messages.
    ///
    /// # Errors
    /// [`Fault::Limit`], [`Fault::Malformed`]: also where a name stands twice in an object, a keyid twice among the
    /// signatures, or a number is no integer of 64 bits.
    pub fn parse(role: &str, bytes: &[u8], limits: &Limits) -> Result<Self, Refusal> {
        if bytes.len() as u64 > limits.bytes_of(role) {
            return Err(Refusal::new(
                Fault::Limit,
                role,
                format!("it is longer than {} bytes", limits.bytes_of(role)),
            ));
        }
        let mut envelope = strict_object_within(bytes, limits.depth, limits.values)
            .map_err(|why| Refusal::malformed(role, why))?;
        let signatures = signatures(role, envelope.remove("signatures"), limits)?;
        let Some(Value::Object(signed)) = envelope.remove("signed") else {
            return Err(Refusal::malformed(role, "it has no object `signed`"));
        };
        Self::read(role, signed, signatures)
    }

    fn read(
        role: &str,
        signed: Map<String, Value>,
        signatures: Vec<Signature>,
    ) -> Result<Self, Refusal> {
        let number = || Refusal::malformed(role, "a number in it is no integer of 64 bits");
        let mut payload = String::new();
        canonical::object(&mut payload, &signed, Text::Canonical).ok_or_else(number)?;
        let json = if is_json(&payload) {
            None
        } else {
            let mut json = String::new();
            canonical::object(&mut json, &signed, Text::Json).ok_or_else(number)?;
            Some(json)
        };
        Ok(Self {
            document: T::read(role, signed)?,
            signatures,
            payload: payload.into_bytes(),
            json,
        })
    }

    /// A document without signatures yet.
    #[must_use]
    pub fn unsigned(document: T) -> Self {
        let mut payload = String::new();
        document.write(&mut payload, true);
        let json = (!is_json(&payload)).then(|| {
            let mut json = String::new();
            document.write(&mut json, false);
            json
        });
        Self {
            document,
            signatures: Vec::new(),
            payload: payload.into_bytes(),
            json,
        }
    }

    /// The bytes that signatures are of.
    #[must_use]
    pub fn payload(&self) -> &[u8] {
        &self.payload
    }

    /// Signs, in place of an earlier signature of the same key.
    ///
    /// # Errors
    /// [`Fault::Unsigned`] where the signer does not sign, [`Fault::Malformed`] where its key is of no known kind.
    pub fn sign(&mut self, role: &str, signer: &dyn Signs) -> Result<(), Refusal> {
        let keyid = Key::of(signer)?.id();
        let sig = signed_by(signer, &self.payload, role)?;
        self.signatures.retain(|other| other.keyid != keyid);
        self.signatures.push(Signature {
            keyid,
            sig,
            bundle: None,
        });
        Ok(())
    }

    /// The file: compact JSON. What is signed in it are the same bytes, unless a string has control characters.
    #[must_use]
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut out = String::with_capacity(256);
        out.push_str("{\"signatures\":[");
        for (at, signature) in self.signatures.iter().enumerate() {
            if at > 0 {
                out.push(',');
            }
            out.push_str("{\"keyid\":");
            canonical::string(&mut out, &signature.keyid, Text::Json);
            out.push_str(",\"sig\":");
            canonical::string(&mut out, &signature.sig, Text::Json);
            if let Some(bundle) = &signature.bundle {
                out.push_str(",\"bundle\":");
                out.push_str(&bundle.to_string());
            }
            out.push('}');
        }
        out.push_str("],\"signed\":");
        let signed = self
            .json
            .as_ref()
            .map_or(self.payload.as_slice(), |json| json.as_bytes());
        let mut out = out.into_bytes();
        out.reserve_exact(signed.len() + 1);
        out.extend_from_slice(signed);
        out.push(b'}');
        out
    }
}

/// Is canonical text JSON as well? Unless a control character stands in it.
fn is_json(canonical: &str) -> bool {
    canonical.bytes().all(|byte| byte >= b' ')
}

fn signatures(
    role: &str,
    value: Option<Value>,
    limits: &Limits,
) -> Result<Vec<Signature>, Refusal> {
    let Some(Value::Array(items)) = value else {
        return Err(Refusal::malformed(role, "it has no list `signatures`"));
    };
    if items.len() > limits.signatures {
        return Err(Refusal::new(Fault::Limit, role, "too many signatures"));
    }
    let mut seen = BTreeSet::new();
    let mut signatures = Vec::with_capacity(items.len());
    for item in items {
        let text = |name: &str| item.get(name).and_then(Value::as_str).map(str::to_owned);
        let (Some(keyid), Some(sig)) = (text("keyid"), text("sig")) else {
            return Err(Refusal::malformed(
                role,
                "a signature has no `keyid` and `sig`",
            ));
        };
        if !seen.insert(keyid.clone()) {
            return Err(Refusal::malformed(role, "two signatures are of one keyid"));
        }
        // Nobody reads other fields. What has numbers that are no integers is no bundle, and not written twice alike.
        let bundle = item.get("bundle").filter(|bundle| bundle.is_object());
        let bundle = bundle.filter(|bundle| canonical::canonical_json(bundle).is_some());
        signatures.push(Signature {
            keyid,
            sig,
            bundle: bundle.cloned(),
        });
    }
    Ok(signatures)
}

/// Whose word a role is: its keys, and how many of them it takes.
#[derive(Clone, Copy, Debug)]
pub struct Authority<'a> {
    /// Keys by id, of this role and others.
    pub keys: &'a BTreeMap<String, Key>,
    /// The role's keys and threshold.
    pub role: &'a RoleKeys,
}

/// Which keys of a role signed a document.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Verdict {
    /// How many must.
    pub threshold: u64,
    /// The ids of those that did, no key counted twice.
    pub signed: Vec<String>,
    /// The ids of those that did not.
    pub missing: Vec<String>,
    /// The ids of signers by identity, who are in neither list and count for nothing, and whether there is a signature of theirs.
    /// Whether it is good says [`super::keyless::verify`].
    pub identities: Vec<(String, bool)>,
}

impl Verdict {
    /// Did enough sign?
    #[must_use]
    pub fn holds(&self) -> bool {
        self.signed.len() as u64 >= self.threshold
    }

    /// The ids of those that signed, where that is enough. `what` is the role.
    ///
    /// # Errors
    /// [`Fault::Unsigned`].
    pub fn demand(self, what: &str) -> Result<Vec<String>, Refusal> {
        if self.holds() {
            return Ok(self.signed);
        }
        Err(Refusal::new(
            Fault::Unsigned,
            what,
            format!(
                "{} of its keys signed it, and {} must",
                self.signed.len(),
                self.threshold
            ),
        ))
    }
}

impl Authority<'_> {
    /// Which of its keys signed. One key that is listed under two ids counts once.
    #[must_use]
    pub fn judge<T: Document>(&self, envelope: &Envelope<T>) -> Verdict {
        let mut counted: BTreeSet<&[u8]> = BTreeSet::new();
        let (mut signed, mut missing) = (Vec::new(), Vec::new());
        let mut identities = Vec::new();
        for id in &self.role.keyids {
            let key = self.keys.get(id);
            if key.is_some_and(|key| key.identity().is_some()) {
                let there = envelope.signatures.iter().any(|sig| sig.keyid == *id);
                identities.push((id.clone(), there));
                continue;
            }
            let good = key.is_some_and(|key| {
                let mut of_it = envelope.signatures.iter().filter(|sig| sig.keyid == *id);
                of_it.any(|signature| key.verifies(envelope.payload(), &signature.sig))
            });
            match key.and_then(Key::spki) {
                Some(spki) if good && counted.insert(spki) => signed.push(id.clone()),
                _ => missing.push(id.clone()),
            }
        }
        Verdict {
            threshold: self.role.threshold,
            signed,
            missing,
            identities,
        }
    }

    /// Did enough of its keys sign?
    ///
    /// # Errors
    /// [`Fault::Unsigned`].
    pub fn verify<T: Document>(&self, what: &str, envelope: &Envelope<T>) -> Result<(), Refusal> {
        self.judge(envelope).demand(what).map(|_| ())
    }
}

/// A document that says whose word other roles are.
pub trait Delegator {
    /// Whose word that role is, if it is for this document to say.
    fn authority(&self, role: &str) -> Option<Authority<'_>>;

    /// As [`Delegator::authority`], where there must be one.
    ///
    /// # Errors
    /// [`Fault::Unasked`].
    fn must_delegate(&self, role: &str) -> Result<Authority<'_>, Refusal> {
        self.authority(role).ok_or_else(|| {
            Refusal::new(
                Fault::Unasked,
                role,
                format!("nobody is named for the role {}", quoted(role)),
            )
        })
    }
}

impl Delegator for Root {
    fn authority(&self, role: &str) -> Option<Authority<'_>> {
        Some(Authority {
            keys: &self.keys,
            role: self.roles.get(role)?,
        })
    }
}

impl Delegator for Targets {
    fn authority(&self, role: &str) -> Option<Authority<'_>> {
        let delegations = self.delegations.as_ref()?;
        Some(Authority {
            keys: &delegations.keys,
            role: delegations.keys_of(role)?,
        })
    }
}
