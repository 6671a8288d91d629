//! The nouns. Ids are UUIDv7 text behind newtypes; times are microseconds since 1970 UTC behind [`Time`];
//! a fact that happened is stored as its time, not as a flag.

use std::collections::BTreeMap;
use std::fmt;
use std::net::IpAddr;
use std::sync::Arc;

use countersign_formats::{Ecosystem, Manifest};
use countersign_trust::digest::Sha256;
use countersign_trust::oidc::Provider;
use countersign_trust::oidc::source::Source;
use serde::{Deserialize, Serialize};

mod moderation;
mod provenance;

pub use moderation::{
    Case, Cause, FoundIn, Order, Portion, Report, ReportKind, ReporterFacts, Reporting, ScannedFile,
};
pub use provenance::{
    AttestationDetail, AttestationForm, ChangeKind, FileProvenance, Maker, ProjectProvenance,
    ProvenanceChange, RegistryKey, ReleaseStanding, ShownProvenance, SourceState, SourceTuple,
    TrustRootSummary, TrustedIdentity, Verdict,
};

/// Microseconds since 1970-01-01T00:00:00Z.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Time(pub i64);

impl Time {
    /// This time plus a number of seconds.
    #[must_use]
    pub fn plus_seconds(self, seconds: i64) -> Self {
        Self(self.0.saturating_add(seconds.saturating_mul(1_000_000)))
    }

    /// Whole seconds since 1970.
    pub fn seconds(self) -> i64 {
        self.0.div_euclid(1_000_000)
    }

    /// Days since 1970, the unit of download counts.
    pub fn day(self) -> i64 {
        self.seconds().div_euclid(86_400)
    }

    /// `YYYY-MM-DDTHH:MM:SS.ffffffZ`.
    pub fn rfc3339(self) -> String {
        // Civil-from-days after the proleptic Gregorian calendar; exact for every i64 day we can hold.
        let (days, second_of_day) = (self.day(), self.seconds().rem_euclid(86_400));
        let shifted = days + 719_468;
        let era = shifted.div_euclid(146_097);
        let day_of_era = shifted.rem_euclid(146_097);
        let year_of_era =
            (day_of_era - day_of_era / 1_460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
        let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
        let month_shifted = (5 * day_of_year + 2) / 153;
        let day = day_of_year - (153 * month_shifted + 2) / 5 + 1;
        let month = if month_shifted < 10 {
            month_shifted + 3
        } else {
            month_shifted - 9
        };
        let year = year_of_era + era * 400 + i64::from(month <= 2);
        format!(
            "{year:04}-{month:02}-{day:02}T{:02}:{:02}:{:02}.{:06}Z",
            second_of_day / 3_600,
            second_of_day / 60 % 60,
            second_of_day % 60,
            self.0.rem_euclid(1_000_000)
        )
    }
}

macro_rules! id {
    ($($(#[$doc:meta])* $name:ident),* $(,)?) => {$(
        $(#[$doc])*
        #[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[serde(transparent)]
        pub struct $name(pub String);

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }
    )*};
}
id!(
    /// A person or a machine account.
    AccountId,
    /// A stored credential.
    CredentialId,
    /// A project.
    ProjectId,
    /// A release.
    ReleaseId,
    /// A file.
    FileId,
    /// An event.
    EventId,
    /// A trusted publisher.
    PublisherId,
    /// A session of a person who signed in.
    SessionId,
    /// A passkey, a security key, or an app that makes one-time codes.
    FactorId,
    /// An organisation.
    OrganisationId,
    /// A team of an organisation.
    TeamId,
);

/// Where a request came from, as the face in front saw it. Personal data: kept in account tables only, for a set time.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CallerOrigin {
    /// The client's address, behind whatever proxies the operator trusts.
    pub address: IpAddr,
    /// What it calls itself (`User-Agent`), cut short.
    pub agent: String,
}

impl CallerOrigin {
    /// The network that limits count: the /24 of an IPv4 address, the /56 of an IPv6 one.
    pub fn network(&self) -> String {
        match self.address.to_canonical() {
            IpAddr::V4(address) => {
                let [a, b, c, _] = address.octets();
                format!("{a}.{b}.{c}.0/24")
            }
            IpAddr::V6(address) => {
                let [a, b, c, d, ..] = address.segments();
                format!("{a:x}:{b:x}:{c:x}:{:x}::/56", d & 0xff00)
            }
        }
    }
}

/// An e-mail address that can stand in a mail's header: ASCII, no blanks, quotes or control characters, one `@`.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize)]
#[serde(transparent)]
pub struct EmailAddress(String);

impl EmailAddress {
    /// Reads an address; `None` for what is not one.
    pub fn parse(text: &str) -> Option<Self> {
        let (local, domain) = text.split_once('@')?;
        let atom = |c: u8| c.is_ascii_alphanumeric() || b"!#$%&'*+-/=?^_`{|}~.".contains(&c);
        let local_fits = !local.is_empty()
            && local.len() <= 64
            && local.bytes().all(atom)
            && !local.starts_with('.')
            && !local.ends_with('.')
            && !local.contains("..");
        let label_fits = |label: &str| {
            !label.is_empty()
                && label.len() <= 63
                && label
                    .bytes()
                    .all(|c| c.is_ascii_alphanumeric() || c == b'-')
                && !label.starts_with('-')
                && !label.ends_with('-')
        };
        let fits = text.len() <= 254 && local_fits && domain.split('.').all(label_fits);
        fits.then(|| Self(text.to_owned()))
    }

    /// As written.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The form under which two spellings are the same.
    pub fn key(&self) -> String {
        self.0.to_ascii_lowercase()
    }

    /// What stands behind the `@`, in lower case.
    pub fn domain(&self) -> String {
        self.0
            .rsplit('@')
            .next()
            .unwrap_or_default()
            .to_ascii_lowercase()
    }
}

impl fmt::Display for EmailAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Who may read this instance: index, files, log, TUF, pages, feeds and metrics alike.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Visibility {
    /// Everyone.
    Public,
    /// Authenticated callers with the `read` action.
    Restricted,
}

/// How strongly a caller proved who it is. Ordered: later is stronger.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Strength {
    /// Nothing was proved.
    None,
    /// A long-lived secret (an API token).
    Token,
    /// A short-lived workload identity.
    Workflow,
    /// A phishing-resistant factor used now.
    Phishproof,
    /// The operator at the machine's own command line.
    Operator,
}

/// What a token may do.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Action {
    /// Read a restricted instance.
    Read,
    /// Publish files; implies `Read`.
    Publish,
    /// Yank, delete, change owners; implies `Publish`.
    Manage,
}

impl Action {
    /// The word of the command line and of messages.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Read => "read",
            Self::Publish => "publish",
            Self::Manage => "manage",
        }
    }
}

impl std::str::FromStr for Action {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "read" => Ok(Self::Read),
            "publish" => Ok(Self::Publish),
            "manage" => Ok(Self::Manage),
            other => Err(format!(
                "{other:?} is not an action; use read, publish or manage"
            )),
        }
    }
}

/// The limits of one token. Absent means unlimited in that direction.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Scope {
    /// Only this ecosystem.
    pub ecosystem: Option<Ecosystem>,
    /// Only this project (its name key within `ecosystem`).
    pub project: Option<String>,
    /// Only projects whose key is this or begins with this and `-`, within `ecosystem`.
    pub namespace: Option<String>,
    /// The most it may do.
    pub action: Action,
    /// Only from these networks; empty: from everywhere.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub networks: Vec<Network>,
}

/// A role on a project: a set of acts. What each may do stands in the table of permissions.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Role {
    /// Everything; the only one that gives and takes roles.
    Owner,
    /// Manages releases: publishes and yanks.
    Maintainer,
    /// Uploads and nothing else.
    Publisher,
    /// The security contact: withholds the project's files and sees its settings; uploads nothing.
    Security,
}

impl Role {
    /// Every role, the widest first.
    pub const ALL: [Self; 4] = [
        Self::Owner,
        Self::Maintainer,
        Self::Publisher,
        Self::Security,
    ];

    /// The stored and shown word.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Owner => "owner",
            Self::Maintainer => "maintainer",
            Self::Publisher => "publisher",
            Self::Security => "security",
        }
    }
}

impl std::str::FromStr for Role {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        Self::ALL
            .into_iter()
            .find(|role| role.as_str() == text)
            .ok_or_else(|| {
                format!("{text:?} is not a role; use owner, maintainer, publisher or security")
            })
    }
}

/// The roles that somebody has on a project, by whatever way.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Roles(u8);

impl Roles {
    /// None at all.
    pub const NONE: Self = Self(0);

    /// These and one more.
    #[must_use]
    pub fn with(self, role: Role) -> Self {
        Self(self.0 | 1 << role as u8)
    }

    /// Is this one among them?
    pub fn has(self, role: Role) -> bool {
        self.0 & 1 << role as u8 != 0
    }

    /// True where there is none.
    pub fn is_empty(self) -> bool {
        self.0 == 0
    }

    /// Each, the widest first.
    pub fn iter(self) -> impl Iterator<Item = Role> {
        Role::ALL.into_iter().filter(move |role| self.has(*role))
    }
}

impl FromIterator<Role> for Roles {
    fn from_iter<T: IntoIterator<Item = Role>>(roles: T) -> Self {
        roles.into_iter().fold(Self::NONE, Self::with)
    }
}

/// Somebody's standing in an organisation.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Membership {
    /// Owns the organisation's projects and says who else does.
    Owner,
    /// Manages members and teams.
    Manager,
    /// Has the roles that the teams have.
    Member,
}

impl Membership {
    /// Every standing, the widest first.
    pub const ALL: [Self; 3] = [Self::Owner, Self::Manager, Self::Member];

    /// The stored and shown word.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Owner => "owner",
            Self::Manager => "manager",
            Self::Member => "member",
        }
    }
}

impl std::str::FromStr for Membership {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        Self::ALL
            .into_iter()
            .find(|standing| standing.as_str() == text)
            .ok_or_else(|| {
                format!("{text:?} is no standing in an organisation; use owner, manager or member")
            })
    }
}

/// Addresses that start with the same bits, such as `192.0.2.0/24`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Network {
    address: IpAddr,
    bits: u8,
}

impl Network {
    /// Is this address in it? An IPv4 address that came in IPv6's clothes is itself.
    pub fn holds(&self, address: IpAddr) -> bool {
        let same = |ours: u128, theirs: u128, width: u32| {
            let free = width - u32::from(self.bits);
            ours.checked_shr(free).unwrap_or(0) == theirs.checked_shr(free).unwrap_or(0)
        };
        match (self.address, address.to_canonical()) {
            (IpAddr::V4(ours), IpAddr::V4(theirs)) => {
                same(u128::from(ours.to_bits()), u128::from(theirs.to_bits()), 32)
            }
            (IpAddr::V6(ours), IpAddr::V6(theirs)) => same(ours.to_bits(), theirs.to_bits(), 128),
            _ => false,
        }
    }
}

impl fmt::Display for Network {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.address, self.bits)
    }
}

impl std::str::FromStr for Network {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let refuse =
            || format!("{text:?} is not a network; write it as 192.0.2.0/24 or 2001:db8::/32");
        let (address, bits) = match text.split_once('/') {
            Some((address, bits)) => (address, Some(bits)),
            None => (text, None),
        };
        let address: IpAddr = address.parse().map_err(|_| refuse())?;
        let width = if address.is_ipv4() { 32 } else { 128 };
        let bits: u8 = match bits {
            None => width,
            Some(bits) => bits.parse().map_err(|_| refuse())?,
        };
        if bits > width {
            return Err(refuse());
        }
        Ok(Self { address, bits })
    }
}

impl Serialize for Network {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Network {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?
            .parse()
            .map_err(serde::de::Error::custom)
    }
}

/// Who a caller is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Identity {
    /// Nobody in particular.
    Anonymous,
    /// An account.
    Account {
        /// Its id.
        id: AccountId,
        /// Its user name.
        name: String,
    },
    /// A run of a workflow, by a token that was minted for its identity token.
    Workflow(Arc<Workflow>),
    /// The operator at the command line, or the registry itself.
    System {
        /// `operator` or the name of the part that acts.
        name: &'static str,
    },
}

/// Whom a minted token speaks for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Workflow {
    /// In words: repository, workflow, environment.
    pub label: String,
    /// Where it runs.
    pub provider: Provider,
    /// Who said so.
    pub issuer: String,
    /// The publishers that matched when the token was minted. What they may do is asked anew at each use.
    pub publishers: Vec<PublisherId>,
    /// The claims kept of its identity token.
    pub claims: BTreeMap<String, String>,
}

/// What the tokens of a publisher may.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Permits {
    /// Publish at once.
    pub publish: bool,
    /// Stage, for a person to approve.
    pub stage: bool,
}

impl Permits {
    /// Everything.
    pub const BOTH: Self = Self {
        publish: true,
        stage: true,
    };
    /// Nothing.
    pub const NONE: Self = Self {
        publish: false,
        stage: false,
    };

    /// As a publisher's row keeps it; what is not said is everything.
    pub(crate) fn of(word: Option<&str>) -> Self {
        word.map_or(Self::BOTH, |words| Self {
            publish: words.split(' ').any(|word| word == "publish"),
            stage: words.split(' ').any(|word| word == "stage"),
        })
    }

    /// The same, to be kept.
    pub(crate) fn word(self) -> Option<&'static str> {
        match self {
            Self::BOTH => None,
            Self {
                publish: true,
                stage: false,
            } => Some("publish"),
            Self {
                publish: false,
                stage: true,
            } => Some("stage"),
            Self::NONE => Some(""),
        }
    }
}

/// How much stands behind the publications of a project. Ordered: later is more.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum TrustLevel {
    /// Nothing is known.
    None,
    /// An account's API token.
    Token,
    /// A workflow's identity (trusted publishing).
    Workflow,
    /// A workflow's identity and verified provenance.
    Provenance,
}

impl TrustLevel {
    /// The stored and shown word.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::None => "none",
            Self::Token => "token",
            Self::Workflow => "workflow",
            Self::Provenance => "provenance",
        }
    }
}

impl std::str::FromStr for TrustLevel {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        Ok(match text {
            "none" => Self::None,
            "token" => Self::Token,
            "workflow" => Self::Workflow,
            "provenance" => Self::Provenance,
            other => {
                return Err(format!(
                    "{other:?} is not a trust level; use none, token, workflow or provenance"
                ));
            }
        })
    }
}

/// What a caller presented; untrusted until [`crate::Registry::authenticate`] has seen it. No `Debug`: it is a secret.
#[derive(Clone)]
pub enum Presented {
    /// No credential at all.
    Nothing,
    /// A token, whichever way it came (Basic password, Bearer, bare).
    Token(String),
    /// The value of a session's cookie.
    Session(String),
}

/// How a person signed in. Ordered: later is stronger.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Level {
    /// A password alone.
    Password,
    /// A password and a code, or an external provider that vouches for as much.
    TwoFactor,
    /// A passkey or security key, bound to this site's name.
    Phishproof,
}

impl Level {
    /// The stored word.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Password => "password",
            Self::TwoFactor => "two-factor",
            Self::Phishproof => "phishproof",
        }
    }
}

impl std::str::FromStr for Level {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        Ok(match text {
            "password" => Self::Password,
            "two-factor" => Self::TwoFactor,
            "phishproof" => Self::Phishproof,
            other => return Err(format!("{other:?} is not a level of sign-in")),
        })
    }
}

/// What a session adds to who its holder is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SessionFacts {
    /// The session.
    pub id: SessionId,
    /// How its holder signed in.
    pub level: Level,
    /// Until when its holder counts as having proved themselves just now; `None` once that time is over.
    pub fresh_until: Option<Time>,
    /// The account is an operator's.
    pub operator: bool,
}

/// An authenticated caller. Made only by [`crate::Registry::authenticate`] and [`Actor::operator`].
#[derive(Clone, Debug)]
pub struct Actor {
    /// Who.
    pub identity: Identity,
    /// How strongly proved.
    pub strength: Strength,
    /// The limits of the credential used; `None` for anonymous callers and for the operator.
    pub scope: Option<Scope>,
    /// The credential, where there is one.
    pub credential: Option<CredentialId>,
    /// The session, for people who signed in.
    pub session: Option<SessionFacts>,
    /// What the person consented to with a passkey for this very request, where a token makes it.
    pub consent: Option<Consent>,
}

/// A passkey's consent to one request of a token. Made where an approval is used up
/// ([`crate::Registry::consented`]), and gone with the request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Consent {
    /// The approval's id.
    pub approval: String,
    /// What the request does, by the words of the table of permissions.
    pub(crate) acts: Vec<&'static str>,
}

impl Actor {
    /// Nobody in particular.
    pub fn anonymous() -> Self {
        Self {
            identity: Identity::Anonymous,
            strength: Strength::None,
            scope: None,
            credential: None,
            session: None,
            consent: None,
        }
    }

    /// The operator at the machine's own command line: whoever can open the database is the operator.
    pub fn operator() -> Self {
        Self {
            identity: Identity::System { name: "operator" },
            strength: Strength::Operator,
            scope: None,
            credential: None,
            session: None,
            consent: None,
        }
    }

    /// A part of the system that acts under a rule of the operator's.
    pub(crate) fn system(name: &'static str) -> Self {
        Self {
            identity: Identity::System { name },
            ..Self::operator()
        }
    }

    /// How strongly its holder is known to be there: by the session, or by the passkey that consented to this request.
    pub(crate) fn level(&self) -> Option<Level> {
        let consented = self.consent.as_ref().map(|_| Level::Phishproof);
        self.session
            .as_ref()
            .map(|session| session.level)
            .or(consented)
    }

    /// The account's user name, or the workflow in words, or `anonymous`, or the system's part.
    pub fn name(&self) -> &str {
        match &self.identity {
            Identity::Anonymous => "anonymous",
            Identity::Account { name, .. } => name,
            Identity::Workflow(workflow) => &workflow.label,
            Identity::System { name } => name,
        }
    }
}

/// Where a file is in its life. The times at which each began stand beside it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum FileState {
    /// Accepted, not yet in the log; nobody is served it.
    Staged,
    /// Waiting for a person's decision.
    Held,
    /// In the log and served.
    Live,
    /// In the log, withheld.
    Quarantined,
    /// In the log, gone; name and digest stay reserved for ever.
    Removed,
}

impl FileState {
    /// The stored word.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Staged => "staged",
            Self::Held => "held",
            Self::Live => "live",
            Self::Quarantined => "quarantined",
            Self::Removed => "removed",
        }
    }
}

impl std::str::FromStr for FileState {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        Ok(match text {
            "staged" => Self::Staged,
            "held" => Self::Held,
            "live" => Self::Live,
            "quarantined" => Self::Quarantined,
            "removed" => Self::Removed,
            other => return Err(format!("{other:?} is not a file state")),
        })
    }
}

/// The state of a project (PEP 792's words).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ProjectStatus {
    /// Normal.
    Active,
    /// Read only, by its owners' wish.
    Archived,
    /// Withheld.
    Quarantined,
    /// Discouraged by its owners.
    Deprecated,
}

impl ProjectStatus {
    /// The stored and served word.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Active => "active",
            Self::Archived => "archived",
            Self::Quarantined => "quarantined",
            Self::Deprecated => "deprecated",
        }
    }
}

impl std::str::FromStr for ProjectStatus {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        Ok(match text {
            "active" => Self::Active,
            "archived" => Self::Archived,
            "quarantined" => Self::Quarantined,
            "deprecated" => Self::Deprecated,
            other => {
                return Err(format!(
                    "{other:?} is not a project status; use active, archived, quarantined or deprecated"
                ));
            }
        })
    }
}

/// The answer to a publish: the file is in the log, at this place, and here is the proof.
#[derive(Clone, Debug, Serialize)]
pub struct Receipt {
    /// The identifier that now names these bytes for ever.
    pub purl: String,
    /// SHA-256 of the bytes.
    pub sha256: Sha256,
    /// Index of the file's leaf in the log.
    pub leaf: u64,
    /// The `.tlog-proof` text (c2sp.org/tlog-proof@v1).
    pub proof: String,
    /// Remarks that did not stop the publish.
    pub warnings: Vec<String>,
    /// True when these very bytes were published before and nothing was changed now.
    pub repeated: bool,
}

/// One row of a list of projects.
#[derive(Clone, Debug, Serialize)]
pub struct ProjectSummary {
    /// The ecosystem.
    pub ecosystem: Ecosystem,
    /// Name as its first publisher wrote it.
    pub name: String,
    /// Normalised name.
    pub key: String,
    /// The one-line summary of the newest release.
    pub summary: String,
    /// The newest version that is not yanked (pre-releases only if there is nothing else).
    pub latest: String,
    /// When its newest file went live.
    pub updated: Time,
    /// Only those with a role on it see it.
    pub private: bool,
}

/// A page of a list.
#[derive(Clone, Debug, Serialize)]
pub struct Page<T> {
    /// The rows.
    pub items: Vec<T>,
    /// How many there are in all.
    pub total: u64,
    /// First row's number, from 0.
    pub offset: u64,
    /// Page size asked for.
    pub limit: u64,
}

/// What a project's page shows.
#[derive(Clone, Debug, Serialize)]
pub struct ProjectDetail {
    /// The ecosystem.
    pub ecosystem: Ecosystem,
    /// Name as written.
    pub name: String,
    /// Normalised name.
    pub key: String,
    /// Status.
    pub status: ProjectStatus,
    /// Why it has that status.
    pub status_reason: Option<String>,
    /// When the project was created.
    pub created: Time,
    /// Changes with every change of what is served; part of every ETag.
    pub serial: u64,
    /// Owners and maintainers by user name.
    pub people: Vec<(String, Role)>,
    /// Releases, newest version first.
    pub releases: Vec<ReleaseSummary>,
    /// Tags and the versions they point to (npm).
    pub tags: Vec<(String, String)>,
    /// Downloads in the last 30 days.
    pub downloads_30d: u64,
    /// Only those with a role on it see it.
    pub private: bool,
}

/// One release in a list.
#[derive(Clone, Debug, Serialize)]
pub struct ReleaseSummary {
    /// The version as written.
    pub version: String,
    /// When its first file was published.
    pub created: Time,
    /// Yanked: when, and why (may be empty).
    pub yanked: Option<(Time, String)>,
    /// Why it should not be used any more, where its people say so (npm).
    pub deprecated: Option<String>,
    /// True for pre-releases and development releases.
    pub prerelease: bool,
    /// Number of live files.
    pub files: u64,
}

/// What a release's page shows.
#[derive(Clone, Debug, Serialize)]
pub struct ReleaseDetail {
    /// The release in short.
    pub release: ReleaseSummary,
    /// The metadata of the release, from its newest wheel or else its sdist.
    pub manifest: Manifest,
    /// Where the dependencies of a crate come from, one for each of the manifest's, in its order; empty where an
    /// ecosystem knows one place alone.
    pub sources: Vec<DependencySource>,
    /// Its files.
    pub files: Vec<FileDetail>,
}

/// Where a crate gets a dependency from, and what it calls it.
#[derive(Clone, Debug, Serialize)]
pub struct DependencySource {
    /// The name, as it is written there.
    pub package: String,
    /// Another name that the crate itself uses.
    pub alias: Option<String>,
    /// The address of another registry's index; `None`: this registry.
    pub registry: Option<String>,
}

/// One file as pages and the API show it.
#[derive(Clone, Debug, Serialize)]
pub struct FileDetail {
    /// The file name.
    pub filename: String,
    /// `pkg:pypi/…`: the identifier in the log.
    pub purl: String,
    /// Path of the file below the site (`/files/…`).
    pub path: String,
    /// Size in bytes.
    pub size: u64,
    /// SHA-256, hex.
    pub sha256: String,
    /// BLAKE2b-256, hex.
    pub blake2b_256: String,
    /// MD5, hex (for old clients; proves nothing).
    pub md5: String,
    /// SHA-512, hex, where the ecosystem's clients go by it (npm).
    pub sha512: Option<String>,
    /// `bdist_wheel` or `sdist`.
    pub filetype: String,
    /// Python tag, or `source`.
    pub python_tag: String,
    /// `Requires-Python`, where given.
    pub requires_python: Option<String>,
    /// SHA-256 of the `.metadata` sibling, for wheels.
    pub metadata_sha256: Option<String>,
    /// When it went live.
    pub uploaded: Time,
    /// By whom: a user name, a workflow in words, or `operator`.
    pub uploaded_by: String,
    /// Index of its leaf.
    pub leaf: u64,
    /// State now.
    pub state: FileState,
    /// Why it is withheld.
    pub withheld_because: Option<String>,
    /// The workflow that published it, where it was one.
    pub origin: Option<FileOrigin>,
}

/// The workflow that published a file, as its issuer vouched for it.
#[derive(Clone, Debug, Serialize)]
pub struct FileOrigin {
    /// Where it ran.
    pub provider: Provider,
    /// Who vouched for it.
    pub issuer: String,
    /// In words: repository, workflow, environment.
    pub label: String,
    /// The claims kept of its identity token.
    pub claims: BTreeMap<String, String>,
    /// Repository, commit and run, where the provider tells them.
    pub source: Option<Source>,
}

/// An event as the log page shows it.
#[derive(Clone, Debug, Serialize)]
pub struct LoggedEvent {
    /// Leaf index.
    pub leaf: u64,
    /// The leaf's kind, in the log's words.
    pub kind: String,
    /// The subject's purl.
    pub subject: String,
    /// When it happened.
    pub at: Time,
    /// The leaf's text, as hashed.
    pub text: String,
}

/// How the registry is; for `/healthz` and `doctor`.
#[derive(Clone, Debug, Serialize)]
pub struct Health {
    /// True when publishing works.
    pub ok: bool,
    /// Sentences saying what is wrong; empty when ok.
    pub problems: Vec<String>,
    /// Size of the log that is served.
    pub log_size: u64,
    /// Events committed but not yet in the log.
    pub log_backlog: u64,
    /// When the served checkpoint was signed.
    pub checkpoint_signed: Option<Time>,
    /// The log's witnesses.
    pub witnesses: Vec<WitnessHealth>,
}

/// Which log. It decides where rows and tiles are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum LogId {
    /// A shard of the registry's own log.
    Shard(u64),
    /// The log of a service, by the service's name.
    Service(String),
}

impl LogId {
    /// Path of one of its objects in the blob store; below the site, it is served at the same one.
    pub(crate) fn path(&self, path: &str) -> String {
        match self {
            Self::Shard(shard) => format!("log/{shard}/{path}"),
            Self::Service(name) => format!("service/log/{name}/{path}"),
        }
    }
}

/// How a witness of the log is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct WitnessHealth {
    /// Its name within the policy.
    pub name: String,
    /// Its address.
    pub url: String,
    /// How much of the log it cosigned last, as far as this process knows.
    pub size: Option<u64>,
    /// When it last cosigned for this process.
    pub cosigned: Option<Time>,
    /// What was wrong the last time that it was asked.
    pub problem: Option<String>,
}

/// The operator's word that the log goes on without the quorum of its policy.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LogOverride {
    /// When it was given.
    pub since: Time,
    /// How long it holds.
    pub until: Time,
    /// Why.
    pub reason: String,
}

/// By this label the enrolment of a recovery is known.
pub(crate) const RECOVERY: &str = "recovery";
