//! The core of Countersign. It knows no HTTP.
//!
//! Nouns are in [`model`]; the verbs are methods of [`Registry`], one module each: `publish`, `fetch`, `curate`,
//! `accounts`, `trusted` (publishing), `heartbeat`, `archive` (backup and restore), `doctor`. `policy` and `checks` decide and
//! know neither database nor clock; `store` holds all SQL; `blobs` the bytes.

#![cfg_attr(test, allow(clippy::unwrap_used))]

mod accounts;
mod advisories;
mod approvals;
mod archive;
mod audit;
mod blobs;
mod checks;
mod chores;
mod console;
mod curate;
mod device;
mod doctor;
mod error;
mod fetch;
mod heartbeat;
mod incidents;
pub mod keys;
mod leaks;
mod log_service;
mod mail;
mod map;
pub mod model;
mod moderation;
mod names;
mod notices;
mod opening;
mod organisations;
mod oversight;
mod policy;
mod privacy;
mod provenance;
mod publish;
mod recovery;
mod scanning;
mod seams;
mod services;
mod settings;
mod sign_in;
pub mod signers;
mod source_health;
mod stars;
mod store;
mod texts;
mod trusted;
mod tuf;
mod visibility;
mod witnesses;

use std::sync::Arc;

pub use accounts::{NewToken, TokenSummary, UserSummary};
pub use advisories::{
    AdvisoryExemption, AdvisoryFeed, AdvisoryFeedState, AdvisoryImport, AdvisoryStanding,
    AffectedRelease, Concern, DependencyConcern, DownloadWarning, FeedProblem, NewAdvisory,
    NewExemption, advisory_key,
};
pub use approvals::{Approval, Wanted};
pub use archive::{Continued, Restore, Restored, Summary};
pub use blobs::Blobs;
pub use checks::{lookalikes, scan};
pub use console::Chore;
pub use countersign_trust::oidc;
pub use curate::Deletion;
pub use device::{DeviceLogin, DeviceProgress, Fetched, WaitingDevice};
pub use doctor::{Diagnosis, Patient, Severity, examine};
pub use error::{Error, Kind, Result};
pub use fetch::{Document, DocumentKey, ServedFile};
pub use heartbeat::Beating;
pub use incidents::{
    EvidenceEvent, Incident, IncidentChange, IncidentEvidence, IncidentMoment, IncidentSummary,
    NewIncident, Revocation, Rewind, RewindStep, StepState, Stop, Subject, Touched, Trace,
    Troubles, Window,
};
pub use keys::LogKeys;
pub use leaks::LeakAnswer;
pub use log_service::{
    LONGEST_ENTRY, LogDesk, LogEntry, LogServiceSummary, MOST_ENTRIES, NewLogService, PlacedEntry,
};
pub use mail::{AddressSummary, MailLink, MailState};
pub use map::MapStep;
pub use names::{NameOpinion, NameReason, NameVerdict};
pub use notices::AccountNotice;
pub use opening::LogIdentity;
pub use organisations::{
    Invitation, Member, Namespace, OrganisationDetail, OrganisationSummary, ProjectName, Proposal,
    Team, TeamOn, TeamRole, Wish,
};
pub use oversight::{CriticalProject, UserDetail};
pub use policy::permissions::page as permissions_page;
pub use policy::{Act, Need, PERMISSIONS, Permission, Who};
pub use provenance::{Added, NewException, NewIdentity, NewMove};
pub use publish::{Form, Staged, StagedBytes, StagedPublication};
pub use recovery::{RecoveryCase, RecoveryPolicy};
pub use scanning::{ScanFault, Scanner};
pub use seams::{
    Clock, DomainIntel, DomainReport, Message, Outside, OutsideAnswer, OutsideError,
    OutsideRequest, Post, PostError, Random, Seams, SystemClock, SystemRandom, WitnessAnswer,
};
pub use settings::{
    AdvisoryBlock, AdvisorySettings, DeletePolicy, DeletionRules, LogPolicy, LossRule, Moderation,
    ReportRule, RootRepository, ScanHold, ScanPartner, ScanSettings, Settings, SignIn,
    SignInProvider, TrustedPublishing,
};
pub use sign_in::{
    Answer, Ceremony, Demand, Departure, Enrolling, Enrolment, FactorNeed, FactorPolicy,
    FactorSummary, HalfSession, KeyKind, LinkedIdentity, ProviderReturn, ProviderSummary,
    RecoveryCodes, SecondFactor, Security, SessionSummary, SignInStep, SignedIn, TotpSetup,
    import_breached,
};
pub use store::{
    Backend, LeakReport, MissingName, NameException, NameList, ProhibitedName, Store, Tampering,
    Withheld,
};
pub use texts::{MailKind, NoticeKind};
pub use trusted::{
    ExchangeDesk, FailedExchange, IssuerSummary, JudgedPublisher, Minted, NewIssuer, NewPublisher,
    NewServicePublisher, Notice, PolicyChange, ProjectPolicy, PublisherCheck, PublisherSummary,
    Refusal, ServiceJudgement, ServicePublisher, TokenTest,
};
pub use tuf::{
    NamespaceKeys, ServiceDesk, ServiceTask, TufNamespace, TufPosition, TufRepository,
    TufRoleState, TufServiceSummary, TufTrust, TufWaiting,
};
pub use visibility::{Reader, reading_as, saw_private};

/// The one handle. Cheap to clone.
#[derive(Clone)]
pub struct Registry {
    inner: Arc<Inner>,
}

struct Inner {
    settings: Settings,
    store: Store,
    blobs: Blobs,
    keys: LogKeys,
    seams: Seams,
    /// The log that is written; earlier ones are closed.
    shard: u64,
    /// Closed logs before it: path and origin.
    earlier: Vec<(String, String)>,
    /// Leaves in them: serials of the whole registry go on where they ended.
    closed_leaves: u64,
    fetch: fetch::Cache,
    beat: heartbeat::Pulse,
    map: map::Keeper,
    names: names::Guard,
    /// Who must cosign what the log shows; `None`: nobody.
    witnesses: Option<Arc<witnesses::Witnesses>>,
    desk: publish::Desk,
    issuers: trusted::Issuers,
    door: sign_in::Door,
    office: mail::Office,
    keyring: leaks::Keyring,
    notary: provenance::Keyring,
    npm_key: provenance::Keyring,
    roots: provenance::RootRoom,
    ways_back: recovery::WaysBack,
    diary: console::Diary,
    tuf: tuf::Room,
    log_services: log_service::Room,
}
