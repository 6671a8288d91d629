//! The four kinds of documents, and the delegations of targets.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::canonical::{self, Fields, Text};
use super::key::Key;
use super::scope::Scope;
use super::target::{TargetCheck, TargetFile, hashes};
use super::{Fault, Refusal, TOP_LEVEL, format_time, parse_time};
use crate::digest::Sha256;

/// What is written as `spec_version`.
const SPEC_VERSION: &str = "1.0.34";
/// How many keys a document may list, and how many delegated roles: 4096 hash bins by prefix exist.
const MOST_KEYS: usize = 1024;
const MOST_ROLES: usize = 8192;
/// The finest division into succinct bins that TAP 15 knows.
const MOST_BITS: u8 = 32;

/// Fields that the specification does not know. They are kept, and are signed with the rest.
#[derive(Clone, Debug, PartialEq, Default, Serialize)]
#[serde(transparent)]
pub struct Extra(BTreeMap<String, Value>);

impl<'de> Deserialize<'de> for Extra {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let map = BTreeMap::<String, Value>::deserialize(deserializer)?;
        Self::of("extra", map).map_err(serde::de::Error::custom)
    }
}

impl Extra {
    fn of(what: &str, map: impl IntoIterator<Item = (String, Value)>) -> Result<Self, Refusal> {
        let mut extra = Self::default();
        for (name, value) in map {
            extra
                .insert(&name, value)
                .map_err(|refusal| Refusal::malformed(what, refusal.sentence))?;
        }
        Ok(extra)
    }

    /// Sets a field.
    ///
    /// # Errors
    /// [`Fault::Malformed`] where the value has a number that is no integer of 64 bits: no two writers agree on those.
    pub fn insert(&mut self, name: &str, value: Value) -> Result<(), Refusal> {
        if canonical::canonical_json(&value).is_none() {
            return Err(Refusal::malformed(
                name,
                "a number that is no integer can not be signed",
            ));
        }
        self.0.insert(name.to_owned(), value);
        Ok(())
    }

    /// A field.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<&Value> {
        self.0.get(name)
    }

    /// No field?
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub(super) fn map(&self) -> &BTreeMap<String, Value> {
        &self.0
    }
}

/// An object that is taken apart field by field; what is left over is extra.
pub(super) struct Object<'a> {
    what: &'a str,
    map: Map<String, Value>,
}

impl<'a> Object<'a> {
    pub(super) fn of(what: &'a str, value: Value) -> Result<Self, Refusal> {
        match value {
            Value::Object(map) => Ok(Self { what, map }),
            _ => Err(Refusal::malformed(what, "an object is missing")),
        }
    }

    fn malformed(&self, name: &str, wanted: &str) -> Refusal {
        Refusal::malformed(self.what, format!("`{name}` is not {wanted}"))
    }

    fn take(&mut self, name: &str) -> Option<Value> {
        self.map.remove(name)
    }

    fn object(&mut self, name: &str) -> Result<Object<'a>, Refusal> {
        match self.take(name) {
            Some(Value::Object(map)) => Ok(Object {
                what: self.what,
                map,
            }),
            _ => Err(self.malformed(name, "an object")),
        }
    }

    fn string(&mut self, name: &str) -> Result<String, Refusal> {
        match self.take(name) {
            Some(Value::String(text)) => Ok(text),
            _ => Err(self.malformed(name, "a string")),
        }
    }

    pub(super) fn number(&mut self, name: &str) -> Result<u64, Refusal> {
        self.optional_number(name)?
            .ok_or_else(|| self.malformed(name, "a number"))
    }

    fn optional_number(&mut self, name: &str) -> Result<Option<u64>, Refusal> {
        match self.take(name) {
            None => Ok(None),
            Some(value) => match value.as_u64() {
                Some(number) => Ok(Some(number)),
                None => Err(self.malformed(name, "a number that is not negative")),
            },
        }
    }

    /// A number above zero.
    fn positive(&mut self, name: &str) -> Result<u64, Refusal> {
        match self.number(name)? {
            0 => Err(self.malformed(name, "a number above zero")),
            number => Ok(number),
        }
    }

    fn strings(&mut self, name: &str) -> Result<Option<Vec<String>>, Refusal> {
        let Some(value) = self.take(name) else {
            return Ok(None);
        };
        let wrong = || self.malformed(name, "a list of strings");
        let Value::Array(items) = value else {
            return Err(wrong());
        };
        let texts = items.into_iter().map(|item| match item {
            Value::String(text) => Ok(text),
            _ => Err(wrong()),
        });
        texts.collect::<Result<Vec<String>, Refusal>>().map(Some)
    }

    pub(super) fn hashes(
        &mut self,
        name: &str,
    ) -> Result<Option<BTreeMap<String, String>>, Refusal> {
        let Some(value) = self.take(name) else {
            return Ok(None);
        };
        let wrong = || self.malformed(name, "an object of strings");
        let Value::Object(map) = value else {
            return Err(wrong());
        };
        let hashes = map
            .into_iter()
            .map(|(algorithm, hash)| match hash {
                Value::String(hash) => Ok((algorithm, hash)),
                _ => Err(wrong()),
            })
            .collect::<Result<BTreeMap<String, String>, Refusal>>()?;
        if hashes.is_empty() {
            return Err(self.malformed(name, "with any hash"));
        }
        Ok(Some(hashes))
    }

    fn keys(&mut self) -> Result<BTreeMap<String, Key>, Refusal> {
        let keys = self.object("keys")?;
        if keys.map.len() > MOST_KEYS {
            return Err(Refusal::new(Fault::Limit, self.what, "too many keys"));
        }
        keys.map
            .into_iter()
            .map(|(id, key)| Ok((id, Key::read(self.what, &key)?)))
            .collect()
    }

    pub(super) fn rest(self) -> Result<Extra, Refusal> {
        Extra::of(self.what, self.map)
    }
}

/// A document that is signed.
pub trait Document: Sized {
    /// What stands as its `_type`.
    const TYPE: &'static str;

    /// Reads the signed part. `what` is the role, for messages.
    ///
    /// # Errors
    /// [`Fault::Malformed`], [`Fault::Limit`].
    fn read(what: &str, signed: Map<String, Value>) -> Result<Self, Refusal>;

    /// Writes the signed part: the canonical bytes if `canonical`, else as JSON.
    fn write(&self, out: &mut String, canonical: bool);

    /// The version.
    fn version(&self) -> u64;

    /// When its time ends, in seconds since 1970 UTC.
    fn expires(&self) -> i64;
}

/// The fields that all documents have.
struct Head {
    version: u64,
    expires: i64,
}

fn head(object: &mut Object<'_>, kind: &str) -> Result<Head, Refusal> {
    let found = object.string("_type")?;
    if found != kind {
        return Err(Refusal::malformed(
            object.what,
            format!(
                "it is of type {} instead of `{kind}`",
                crate::oidc::quoted(&found)
            ),
        ));
    }
    let spec = object.string("spec_version")?;
    let numbers: Vec<&str> = spec.split('.').collect();
    let decimal = |text: &&str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    if !(2..=3).contains(&numbers.len()) || !numbers.iter().all(decimal) || numbers[0] != "1" {
        return Err(Refusal::malformed(
            object.what,
            format!(
                "its `spec_version` is {} instead of one of 1",
                crate::oidc::quoted(&spec)
            ),
        ));
    }
    let version = object.positive("version")?;
    let text = object.string("expires")?;
    let expires = parse_time(&text)
        .ok_or_else(|| object.malformed("expires", "a time as 2026-11-21T00:00:00Z"))?;
    Ok(Head { version, expires })
}

fn begin(extra: &Extra, kind: &str, version: u64, expires: i64, how: Text) -> Fields {
    let mut fields = Fields::with(extra.map(), how);
    fields.string("_type", kind);
    fields.string("spec_version", SPEC_VERSION);
    fields.number("version", version);
    // A time that can not be written is no time, and nobody trusts a document without one. Ceremonies and the writer refuse
    // to begin one.
    fields.string("expires", &format_time(expires).unwrap_or_default());
    fields
}

fn how(canonical: bool) -> Text {
    if canonical {
        Text::Canonical
    } else {
        Text::Json
    }
}

/// Whose signatures a role needs, and how many.
#[derive(Clone, Debug, PartialEq, Default)]
pub struct RoleKeys {
    /// The ids of its keys, none twice.
    pub keyids: Vec<String>,
    /// How many of them must sign, at least one.
    pub threshold: u64,
    /// What else stands there.
    pub extra: Extra,
}

impl RoleKeys {
    /// A role of these keys.
    #[must_use]
    pub fn new(keyids: Vec<String>, threshold: u64) -> Self {
        Self {
            keyids,
            threshold,
            extra: Extra::default(),
        }
    }

    fn take(object: &mut Object<'_>) -> Result<Self, Refusal> {
        let keyids = object
            .strings("keyids")?
            .ok_or_else(|| object.malformed("keyids", "there"))?;
        if keyids.len() > MOST_KEYS {
            return Err(Refusal::new(Fault::Limit, object.what, "too many keyids"));
        }
        let mut sorted: Vec<&String> = keyids.iter().collect();
        sorted.sort_unstable();
        if sorted.windows(2).any(|pair| pair[0] == pair[1]) {
            return Err(Refusal::malformed(
                object.what,
                "a role lists a keyid twice",
            ));
        }
        Ok(Self {
            threshold: object.positive("threshold")?,
            keyids,
            extra: Extra::default(),
        })
    }

    fn set(&self, fields: &mut Fields) {
        fields.strings("keyids", &self.keyids);
        fields.number("threshold", self.threshold);
    }
}

fn write_keys(keys: &BTreeMap<String, Key>, how: Text) -> String {
    let mut out = String::new();
    canonical::map(&mut out, keys, how, |key, out| {
        out.push_str(&key.written(how));
    });
    out
}

/// The root: which keys speak for the four top-level roles.
#[derive(Clone, Debug, PartialEq)]
pub struct Root {
    /// Its version, counted from 1.
    pub version: u64,
    /// When its time ends, in seconds since 1970 UTC.
    pub expires: i64,
    /// Are files named by version and digest, so that a reader never mixes two states?
    pub consistent_snapshot: bool,
    /// All keys, by id.
    pub keys: BTreeMap<String, Key>,
    /// The roles, by name; the four top-level ones are always there.
    pub roles: BTreeMap<String, RoleKeys>,
    /// What else stands there.
    pub extra: Extra,
}

impl Document for Root {
    const TYPE: &'static str = "root";

    fn read(what: &str, signed: Map<String, Value>) -> Result<Self, Refusal> {
        let mut object = Object { what, map: signed };
        let Head { version, expires } = head(&mut object, Self::TYPE)?;
        let consistent_snapshot = match object.take("consistent_snapshot") {
            None => false,
            Some(Value::Bool(value)) => value,
            Some(_) => return Err(object.malformed("consistent_snapshot", "true or false")),
        };
        let keys = object.keys()?;
        let roles = object.object("roles")?;
        if roles.map.len() > MOST_KEYS {
            return Err(Refusal::new(Fault::Limit, what, "too many roles"));
        }
        let roles = roles
            .map
            .into_iter()
            .map(|(name, value)| {
                let mut object = Object::of(what, value)?;
                let mut role = RoleKeys::take(&mut object)?;
                role.extra = object.rest()?;
                Ok((name, role))
            })
            .collect::<Result<BTreeMap<String, RoleKeys>, Refusal>>()?;
        if let Some(missing) = TOP_LEVEL.iter().find(|name| !roles.contains_key(**name)) {
            return Err(Refusal::malformed(
                what,
                format!("it has no role `{missing}`"),
            ));
        }
        Ok(Self {
            version,
            expires,
            consistent_snapshot,
            keys,
            roles,
            extra: object.rest()?,
        })
    }

    fn write(&self, out: &mut String, canonical: bool) {
        let how = how(canonical);
        let mut fields = begin(&self.extra, Self::TYPE, self.version, self.expires, how);
        fields.value(
            "consistent_snapshot",
            &Value::Bool(self.consistent_snapshot),
        );
        fields.written("keys", write_keys(&self.keys, how));
        let mut roles = String::new();
        canonical::map(&mut roles, &self.roles, how, |role, out| {
            let mut fields = Fields::with(role.extra.map(), how);
            role.set(&mut fields);
            fields.finish(out);
        });
        fields.written("roles", roles);
        fields.finish(out);
    }

    fn version(&self) -> u64 {
        self.version
    }

    fn expires(&self) -> i64 {
        self.expires
    }
}

/// What a timestamp or snapshot says of another document.
#[derive(Clone, Debug, PartialEq, Default, Serialize, Deserialize)]
pub struct MetaFile {
    /// Its version.
    pub version: u64,
    /// Its length in bytes, where that is said.
    pub length: Option<u64>,
    /// Its digests by algorithm; may be empty.
    pub hashes: BTreeMap<String, String>,
    /// What else stands there.
    pub extra: Extra,
}

impl MetaFile {
    /// A document by its version alone.
    #[must_use]
    pub fn version(version: u64) -> Self {
        Self {
            version,
            ..Self::default()
        }
    }

    /// A document with length and SHA-256.
    #[must_use]
    pub fn of(version: u64, bytes: &[u8]) -> Self {
        Self {
            version,
            length: Some(bytes.len() as u64),
            hashes: BTreeMap::from([("sha256".to_owned(), Sha256::of(bytes).to_hex())]),
            extra: Extra::default(),
        }
    }

    /// Holds bytes against length and digests, as far as these are said.
    ///
    /// # Errors
    /// [`Fault::Mismatch`].
    pub fn check(&self, what: &str, bytes: &[u8]) -> Result<(), Refusal> {
        let length = self.length.unwrap_or(bytes.len() as u64);
        let mut check = TargetCheck::against(what, length, &self.hashes, false)?;
        check.take(bytes)?;
        check.finish()
    }

    fn read(what: &str, value: Value) -> Result<Self, Refusal> {
        let mut object = Object::of(what, value)?;
        Ok(Self {
            version: object.positive("version")?,
            length: object.optional_number("length")?,
            hashes: object.hashes("hashes")?.unwrap_or_default(),
            extra: object.rest()?,
        })
    }

    fn write(&self, out: &mut String, how: Text) {
        // Snapshots have thousands of these, nearly all with a version only.
        if self.extra.is_empty() && self.hashes.is_empty() && self.length.is_none() {
            out.push_str("{\"version\":");
            out.push_str(&self.version.to_string());
            out.push('}');
            return;
        }
        let mut fields = Fields::with(self.extra.map(), how);
        fields.number("version", self.version);
        if let Some(length) = self.length {
            fields.number("length", length);
        }
        if !self.hashes.is_empty() {
            let mut text = String::new();
            hashes(&mut text, &self.hashes, how);
            fields.written("hashes", text);
        }
        fields.finish(out);
    }
}

/// The timestamp: which snapshot is the newest.
#[derive(Clone, Debug, PartialEq)]
pub struct Timestamp {
    /// Its version, counted from 1.
    pub version: u64,
    /// When its time ends, in seconds since 1970 UTC.
    pub expires: i64,
    /// The snapshot.
    pub snapshot: MetaFile,
    /// What else stands there, as our map root.
    pub extra: Extra,
}

const SNAPSHOT_FILE: &str = "snapshot.json";

impl Document for Timestamp {
    const TYPE: &'static str = "timestamp";

    fn read(what: &str, signed: Map<String, Value>) -> Result<Self, Refusal> {
        let mut object = Object { what, map: signed };
        let Head { version, expires } = head(&mut object, Self::TYPE)?;
        let mut meta = object.object("meta")?;
        let snapshot = meta
            .take(SNAPSHOT_FILE)
            .ok_or_else(|| Refusal::malformed(what, "it names no snapshot"))?;
        Ok(Self {
            version,
            expires,
            snapshot: MetaFile::read(what, snapshot)?,
            extra: object.rest()?,
        })
    }

    fn write(&self, out: &mut String, canonical: bool) {
        let how = how(canonical);
        let mut fields = begin(&self.extra, Self::TYPE, self.version, self.expires, how);
        let mut meta = format!("{{\"{SNAPSHOT_FILE}\":");
        self.snapshot.write(&mut meta, how);
        meta.push('}');
        fields.written("meta", meta);
        fields.finish(out);
    }

    fn version(&self) -> u64 {
        self.version
    }

    fn expires(&self) -> i64 {
        self.expires
    }
}

/// The snapshot: which version of each targets document belongs together.
#[derive(Clone, Debug, PartialEq)]
pub struct Snapshot {
    /// Its version, counted from 1.
    pub version: u64,
    /// When its time ends, in seconds since 1970 UTC.
    pub expires: i64,
    /// The documents by file name, as `targets.json`.
    pub meta: BTreeMap<String, MetaFile>,
    /// What else stands there.
    pub extra: Extra,
}

impl Snapshot {
    /// What it says of a role.
    #[must_use]
    pub fn role(&self, name: &str) -> Option<&MetaFile> {
        self.meta.get(&format!("{name}.json"))
    }
}

impl Document for Snapshot {
    const TYPE: &'static str = "snapshot";

    fn read(what: &str, signed: Map<String, Value>) -> Result<Self, Refusal> {
        let mut object = Object { what, map: signed };
        let Head { version, expires } = head(&mut object, Self::TYPE)?;
        let meta = object
            .object("meta")?
            .map
            .into_iter()
            .map(|(name, value)| Ok((name, MetaFile::read(what, value)?)))
            .collect::<Result<_, Refusal>>()?;
        Ok(Self {
            version,
            expires,
            meta,
            extra: object.rest()?,
        })
    }

    fn write(&self, out: &mut String, canonical: bool) {
        let how = how(canonical);
        let mut fields = begin(&self.extra, Self::TYPE, self.version, self.expires, how);
        let mut meta = String::with_capacity(self.meta.len() * 40);
        canonical::map(&mut meta, &self.meta, how, |file, out| file.write(out, how));
        fields.written("meta", meta);
        fields.finish(out);
    }

    fn version(&self) -> u64 {
        self.version
    }

    fn expires(&self) -> i64 {
        self.expires
    }
}

/// A role that is delegated by name.
#[derive(Clone, Debug, PartialEq)]
pub struct DelegatedRole {
    /// Its name: not empty, and none of the top-level ones.
    pub name: String,
    /// Whose signatures it needs.
    pub keys: RoleKeys,
    /// Does the search for a target of its scope end with it, found or not?
    pub terminating: bool,
    /// Which targets it may speak for.
    pub scope: Scope,
}

/// Hash bins that are delegated by a rule instead of one by one (TAP 15). All are terminating.
#[derive(Clone, Debug, PartialEq)]
pub struct SuccinctRoles {
    /// Whose signatures each bin needs.
    pub keys: RoleKeys,
    /// How many bits of the path's digest tell the bin: from 1 to 32.
    pub bit_length: u8,
    /// What stands before the number in a bin's name.
    pub name_prefix: String,
}

/// The place of a path among all: the first 32 bits of its SHA-256. A bin holds neighbours.
#[must_use]
pub fn place(path: &str) -> u64 {
    let digest = Sha256::of(path.as_bytes());
    let first = digest.as_bytes().iter().take(4);
    first.fold(0, |number, byte| number << 8 | u64::from(*byte))
}

impl SuccinctRoles {
    /// How many bins there are.
    #[must_use]
    pub fn count(&self) -> u64 {
        1 << self.bit_length
    }

    /// The name of a bin by its number: prefix, hyphen, and the number in as many hexadecimal digits as the last has.
    #[must_use]
    pub fn name(&self, bin: u64) -> String {
        let width = usize::from(self.bit_length.div_ceil(4));
        format!("{}-{bin:0width$x}", self.name_prefix)
    }

    /// The bin that a path belongs to: the first bits of its SHA-256.
    #[must_use]
    pub fn bin_of(&self, path: &str) -> u64 {
        place(path) >> (32 - u32::from(self.bit_length))
    }

    /// The places of a bin: from the first to before the last, of those that [`place`] gives.
    #[must_use]
    pub fn places(&self, bin: u64) -> std::ops::Range<u64> {
        let wide = 32 - u32::from(self.bit_length);
        bin << wide..(bin + 1) << wide
    }

    /// The number of the bin of this name.
    #[must_use]
    pub fn number(&self, name: &str) -> Option<u64> {
        let digits = name.strip_prefix(&self.name_prefix)?.strip_prefix('-')?;
        let number = u64::from_str_radix(digits, 16).ok()?;
        (number < self.count() && self.name(number) == name).then_some(number)
    }
}

/// The roles that targets metadata hands paths on to.
#[derive(Clone, Debug, PartialEq)]
pub enum Delegated {
    /// One by one, the first ones more trusted.
    Listed(Vec<DelegatedRole>),
    /// Hash bins by a rule.
    Succinct(SuccinctRoles),
}

/// What targets metadata hands on, and to whose keys.
#[derive(Clone, Debug, PartialEq)]
pub struct Delegations {
    /// The keys, by id.
    pub keys: BTreeMap<String, Key>,
    /// The roles.
    pub roles: Delegated,
    /// What else stands there.
    pub extra: Extra,
}

impl Delegations {
    /// The roles that may speak for a path, in order, each with whether the search ends with it.
    #[must_use]
    pub fn for_path(&self, path: &str) -> Vec<(String, bool)> {
        match &self.roles {
            Delegated::Succinct(bins) => vec![(bins.name(bins.bin_of(path)), true)],
            Delegated::Listed(roles) => roles
                .iter()
                .filter(|role| role.scope.holds(path))
                .map(|role| (role.name.clone(), role.terminating))
                .collect(),
        }
    }

    /// The keys of a role, if it is delegated here.
    #[must_use]
    pub fn keys_of(&self, role: &str) -> Option<&RoleKeys> {
        match &self.roles {
            Delegated::Succinct(bins) => bins.number(role).map(|_| &bins.keys),
            Delegated::Listed(roles) => roles
                .iter()
                .find(|listed| listed.name == role)
                .map(|listed| &listed.keys),
        }
    }

    /// Takes a listed role out, with those of its keys that no other role needs. Was it there?
    pub fn remove(&mut self, role: &str) -> bool {
        let Delegated::Listed(roles) = &mut self.roles else {
            return false;
        };
        let before = roles.len();
        roles.retain(|listed| listed.name != role);
        let removed = roles.len() < before;
        self.drop_unused_keys();
        removed
    }

    /// Drops keys that no role needs.
    pub fn drop_unused_keys(&mut self) {
        let used: Vec<&String> = match &self.roles {
            Delegated::Succinct(bins) => bins.keys.keyids.iter().collect(),
            Delegated::Listed(roles) => roles.iter().flat_map(|role| &role.keys.keyids).collect(),
        };
        self.keys.retain(|id, _| used.contains(&id));
    }

    fn read(object: Object<'_>) -> Result<Self, Refusal> {
        let mut object = object;
        let what = object.what;
        let keys = object.keys()?;
        let roles = match (object.take("roles"), object.take("succinct_roles")) {
            (Some(Value::Array(items)), None) => {
                if items.len() > MOST_ROLES {
                    return Err(Refusal::new(Fault::Limit, what, "too many delegated roles"));
                }
                let roles = items
                    .into_iter()
                    .map(|item| listed(what, item))
                    .collect::<Result<Vec<_>, Refusal>>()?;
                let mut names: Vec<&String> = roles.iter().map(|role| &role.name).collect();
                names.sort_unstable();
                if names.windows(2).any(|pair| pair[0] == pair[1]) {
                    return Err(Refusal::malformed(what, "it delegates to one role twice"));
                }
                Delegated::Listed(roles)
            }
            (None, Some(value)) => Delegated::Succinct(succinct(what, value)?),
            _ => {
                return Err(Refusal::malformed(
                    what,
                    "its delegations have not one of `roles` and `succinct_roles`",
                ));
            }
        };
        Ok(Self {
            keys,
            roles,
            extra: object.rest()?,
        })
    }

    fn write(&self, how: Text) -> String {
        let mut fields = Fields::with(self.extra.map(), how);
        fields.written("keys", write_keys(&self.keys, how));
        match &self.roles {
            Delegated::Listed(roles) => {
                let mut out = String::from("[");
                for (at, role) in roles.iter().enumerate() {
                    if at > 0 {
                        out.push(',');
                    }
                    let mut fields = Fields::with(role.keys.extra.map(), how);
                    role.keys.set(&mut fields);
                    fields.string("name", &role.name);
                    fields.value("terminating", &Value::Bool(role.terminating));
                    match &role.scope {
                        Scope::Paths(patterns) => fields.strings("paths", patterns),
                        Scope::HashPrefixes(prefixes) => {
                            fields.strings("path_hash_prefixes", prefixes);
                        }
                    }
                    fields.finish(&mut out);
                }
                out.push(']');
                fields.written("roles", out);
            }
            Delegated::Succinct(bins) => {
                let mut inner = Fields::with(bins.keys.extra.map(), how);
                bins.keys.set(&mut inner);
                inner.number("bit_length", u64::from(bins.bit_length));
                inner.string("name_prefix", &bins.name_prefix);
                let mut out = String::new();
                inner.finish(&mut out);
                fields.written("succinct_roles", out);
            }
        }
        let mut out = String::new();
        fields.finish(&mut out);
        out
    }
}

fn listed(what: &str, value: Value) -> Result<DelegatedRole, Refusal> {
    let mut object = Object::of(what, value)?;
    let name = object.string("name")?;
    if name.is_empty() || TOP_LEVEL.contains(&name.as_str()) {
        return Err(Refusal::malformed(
            what,
            format!(
                "it delegates to a role of the name {}",
                crate::oidc::quoted(&name)
            ),
        ));
    }
    let mut keys = RoleKeys::take(&mut object)?;
    let terminating = match object.take("terminating") {
        Some(Value::Bool(value)) => value,
        _ => return Err(object.malformed("terminating", "true or false")),
    };
    let scope = match (
        object.strings("paths")?,
        object.strings("path_hash_prefixes")?,
    ) {
        (Some(patterns), None) => Scope::Paths(patterns),
        (None, Some(prefixes)) => Scope::HashPrefixes(prefixes),
        _ => {
            return Err(Refusal::malformed(
                what,
                "a delegated role has not one of `paths` and `path_hash_prefixes`",
            ));
        }
    };
    keys.extra = object.rest()?;
    Ok(DelegatedRole {
        name,
        keys,
        terminating,
        scope,
    })
}

fn succinct(what: &str, value: Value) -> Result<SuccinctRoles, Refusal> {
    let mut object = Object::of(what, value)?;
    let mut keys = RoleKeys::take(&mut object)?;
    let bits = object.positive("bit_length")?;
    let bit_length = u8::try_from(bits)
        .ok()
        .filter(|bits| *bits <= MOST_BITS)
        .ok_or_else(|| object.malformed("bit_length", "from 1 to 32"))?;
    let name_prefix = object.string("name_prefix")?;
    keys.extra = object.rest()?;
    Ok(SuccinctRoles {
        keys,
        bit_length,
        name_prefix,
    })
}

/// Targets: files, and roles that speak for others. The top-level one and all delegated ones.
#[derive(Clone, Debug, PartialEq)]
pub struct Targets {
    /// Its version, counted from 1.
    pub version: u64,
    /// When its time ends, in seconds since 1970 UTC.
    pub expires: i64,
    /// The files by path.
    pub targets: BTreeMap<String, TargetFile>,
    /// What is handed on.
    pub delegations: Option<Delegations>,
    /// What else stands there.
    pub extra: Extra,
}

impl Targets {
    /// Metadata without anything in it.
    #[must_use]
    pub fn empty(version: u64, expires: i64) -> Self {
        Self {
            version,
            expires,
            targets: BTreeMap::new(),
            delegations: None,
            extra: Extra::default(),
        }
    }
}

impl Document for Targets {
    const TYPE: &'static str = "targets";

    fn read(what: &str, signed: Map<String, Value>) -> Result<Self, Refusal> {
        let mut object = Object { what, map: signed };
        let Head { version, expires } = head(&mut object, Self::TYPE)?;
        let targets = object
            .object("targets")?
            .map
            .into_iter()
            .map(|(path, value)| {
                let file = TargetFile::read(what, &path, value)?;
                Ok((path, file))
            })
            .collect::<Result<_, Refusal>>()?;
        let delegations = match object.take("delegations") {
            None => None,
            Some(Value::Object(map)) => Some(Delegations::read(Object { what, map })?),
            Some(_) => return Err(object.malformed("delegations", "an object")),
        };
        Ok(Self {
            version,
            expires,
            targets,
            delegations,
            extra: object.rest()?,
        })
    }

    fn write(&self, out: &mut String, canonical: bool) {
        let how = how(canonical);
        let mut fields = begin(&self.extra, Self::TYPE, self.version, self.expires, how);
        let mut targets = String::with_capacity(self.targets.len() * 160);
        canonical::map(&mut targets, &self.targets, how, |file, out| {
            file.write(out, how);
        });
        fields.written("targets", targets);
        if let Some(delegations) = &self.delegations {
            fields.written("delegations", delegations.write(how));
        }
        fields.finish(out);
    }

    fn version(&self) -> u64 {
        self.version
    }

    fn expires(&self) -> i64 {
        self.expires
    }
}
