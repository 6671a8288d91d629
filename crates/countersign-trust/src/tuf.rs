//! The Update Framework (TUF 1.0, TAP 15): is what is served current, complete, and what its signers meant?
//! (`docs/spec/tuf.md`)
//!
//! - The documents: [`Root`], [`Timestamp`], [`Snapshot`], [`Targets`], read strictly within [`Limits`] and written
//!   canonically; [`Envelope`] holds one with its signatures.
//! - [`client`]: the client's workflow (sections 5.3 to 5.7 of the specification) as a state machine. It says what to
//!   fetch, takes the bytes, and keeps what it trusts in a plain struct.
//! - [`repository`]: the writer's half. From changes to signed files in the order in which they may be written.
//! - [`ceremony`]: documents of which signatures are still missing, and whose; [`bundle`]: all of a ceremony in a file;
//!   [`keyless`]: signatures of people who are known by an identity (Sigstore), which no threshold counts.
//!
//! Nothing here knows a clock, a network or a store: times are handed in as seconds since 1970 UTC, bytes as bytes.

pub mod bundle;
mod canonical;
pub mod ceremony;
pub mod client;
mod documents;
mod envelope;
mod key;
pub mod keyless;
pub mod repository;
mod scope;
mod target;

#[cfg(test)]
mod tests;

use std::fmt;

pub use canonical::canonical_json;
pub use documents::{
    Delegated, DelegatedRole, Delegations, Document, Extra, MetaFile, RoleKeys, Root, Snapshot,
    SuccinctRoles, Targets, Timestamp, place,
};
pub use envelope::{Authority, Delegator, Envelope, Signature, Verdict};
pub use key::Key;
pub use scope::Scope;
pub use target::{TargetCheck, TargetFile};

use crate::oidc::escaped;

/// The roles that a root names itself.
pub const TOP_LEVEL: [&str; 4] = ["root", "snapshot", "targets", "timestamp"];

/// How much of a stranger's metadata is read. The lengths are those of the other clients.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Limits {
    /// The longest root, in bytes.
    pub root_bytes: u64,
    /// The longest timestamp, in bytes.
    pub timestamp_bytes: u64,
    /// The longest snapshot, in bytes.
    pub snapshot_bytes: u64,
    /// The longest targets metadata, delegated or not, in bytes.
    pub targets_bytes: u64,
    /// How many new roots one refresh follows.
    pub root_rotations: u64,
    /// How many roles are asked for one target, the top one not counted.
    pub delegations: usize,
    /// How deep a document may be nested.
    pub depth: usize,
    /// How many JSON values a document may have.
    pub values: usize,
    /// How many signatures a document may have, and how many keys a role.
    pub signatures: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            root_bytes: 512_000,
            timestamp_bytes: 16_384,
            snapshot_bytes: 2_000_000,
            targets_bytes: 5_000_000,
            root_rotations: 256,
            delegations: 32,
            depth: 24,
            values: 1 << 20,
            signatures: 256,
        }
    }
}

impl Limits {
    /// The longest document of this role.
    #[must_use]
    pub fn bytes_of(&self, role: &str) -> u64 {
        match role {
            "root" => self.root_bytes,
            "timestamp" => self.timestamp_bytes,
            "snapshot" => self.snapshot_bytes,
            _ => self.targets_bytes,
        }
    }
}

/// What is wrong with metadata or a target.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Fault {
    /// It can not be read.
    Malformed,
    /// It is longer, or more, than is taken.
    Limit,
    /// Too few of the keys that must sign it did.
    Unsigned,
    /// It has another version than the one that is named.
    Version,
    /// It is older than what was seen before, or leaves out what was listed.
    Rollback,
    /// Its time is over.
    Expired,
    /// Its length or digest is not the one that is named.
    Mismatch,
    /// The repository does not have it, or does not list it.
    Missing,
    /// It is not what was asked for, or not for this role to say.
    Unasked,
}

impl Fault {
    /// The stable code.
    #[must_use]
    pub fn code(self) -> &'static str {
        match self {
            Self::Malformed => "tuf-malformed",
            Self::Limit => "tuf-limit",
            Self::Unsigned => "tuf-unsigned",
            Self::Version => "tuf-version-mismatch",
            Self::Rollback => "tuf-rollback",
            Self::Expired => "tuf-expired",
            Self::Mismatch => "tuf-digest-mismatch",
            Self::Missing => "tuf-missing",
            Self::Unasked => "tuf-unasked",
        }
    }
}

/// Why something is not trusted, or not written. Foreign text in it is escaped and cut.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refusal {
    /// What kind of fault it is.
    pub fault: Fault,
    /// The role or target that is meant, escaped.
    pub what: String,
    /// What is wrong, as a sentence without its full stop.
    pub sentence: String,
}

impl Refusal {
    pub(crate) fn new(fault: Fault, what: &str, sentence: impl Into<String>) -> Self {
        Self {
            fault,
            what: escaped(what),
            sentence: sentence.into(),
        }
    }

    pub(crate) fn malformed(what: &str, sentence: impl Into<String>) -> Self {
        Self::new(Fault::Malformed, what, sentence)
    }

    /// The stable code of its fault.
    #[must_use]
    pub fn code(&self) -> &'static str {
        self.fault.code()
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "TUF metadata `{}`: {}", self.what, self.sentence)
    }
}

impl std::error::Error for Refusal {}

/// Seconds since 1970 as TUF writes times; `None` before 1970 and after 9999.
#[must_use]
pub fn format_time(seconds: i64) -> Option<String> {
    let text = crate::leaf::format_time(seconds.checked_mul(1_000_000)?)?;
    Some(format!("{}Z", text.get(..19)?))
}

/// Reads exactly what [`format_time`] writes.
#[must_use]
pub fn parse_time(text: &str) -> Option<i64> {
    let seconds = text.strip_suffix('Z').filter(|rest| rest.len() == 19)?;
    Some(crate::leaf::parse_time(&format!("{seconds}.000000Z"))? / 1_000_000)
}

/// The name of a role in file names: all but unreserved characters percent-encoded, so that no name leaves its folder.
#[must_use]
pub fn file_stem(role: &str) -> String {
    let mut out = String::with_capacity(role.len());
    for byte in role.bytes() {
        if byte.is_ascii_alphanumeric() || b"_.-~".contains(&byte) {
            out.push(char::from(byte));
        } else {
            out.push_str(&format!("%{byte:02X}"));
        }
    }
    out
}

/// The role whose files have this stem: the inverse of [`file_stem`], `None` for what it never writes.
#[must_use]
pub fn role_of_stem(stem: &str) -> Option<String> {
    let mut bytes = Vec::with_capacity(stem.len());
    let mut rest = stem.bytes();
    while let Some(byte) = rest.next() {
        bytes.push(match byte {
            b'%' => {
                let (high, low) = (rest.next()?, rest.next()?);
                let digit = |byte: u8| char::from(byte).to_digit(16);
                u8::try_from(digit(high)? * 16 + digit(low)?).ok()?
            }
            plain => plain,
        });
    }
    let role = String::from_utf8(bytes).ok()?;
    (file_stem(&role) == stem).then_some(role)
}
