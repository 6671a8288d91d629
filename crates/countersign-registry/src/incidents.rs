//! Incidents: what somebody touched, stopping it, ending many credentials at once, taking back what was done, and the record
//! that people read.
//!
//! Nothing here changes what the verbs would not change: a rewind calls them, so that each step leaves its event and its leaf.
//! A trace reads events; what happened before an event kept its credential is found by its account or workflow alone.

mod records;
mod revoking;
mod rewind;
mod stops;

use std::fmt;
use std::net::IpAddr;
use std::str::FromStr;

use countersign_formats::{Ecosystem, format};
use countersign_trust::token::Token;
use serde::Serialize;
use serde_json::Value;

pub use records::{
    EvidenceEvent, Incident, IncidentChange, IncidentEvidence, IncidentMoment, IncidentSummary,
    NewIncident,
};
pub use revoking::Revocation;
pub use rewind::{Rewind, RewindStep, StepState};
pub use stops::{Stop, Troubles};

use crate::Registry;
use crate::error::{Error, Kind, Result};
use crate::model::{Actor, Time};
use crate::policy;
use crate::store::{Marks, TraceRow};

/// At most so many events of one trace.
const TRACED: usize = 20_000;

/// Whose doings, or what, an operator looks at: `user:ann`, `project:pypi:demo`, `registry`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Subject {
    /// An account by its name.
    User(String),
    /// An API token or a minted token: its id, its hint or itself.
    Token(String),
    /// A session by its id.
    Session(String),
    /// A trusted publisher by its id.
    Publisher(String),
    /// Workflows whose words hold this text, such as `OWNER/REPOSITORY`.
    Workflow(String),
    /// All workflows of an issuer, by its URL.
    Issuer(String),
    /// Sessions that were begun from an address, while that is kept.
    Address(IpAddr),
    /// A project.
    Project(Ecosystem, String),
    /// An organisation.
    Organisation(String),
    /// Everything.
    Registry,
}

/// How a subject is written.
const FORMS: &str = "user:NAME, token:ID, session:ID, publisher:ID, workflow:TEXT, issuer:URL, address:IP, project:ECOSYSTEM:NAME, \
     organisation:NAME or registry";

impl FromStr for Subject {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let wrong = || {
            let shown: String = text.chars().take(80).collect();
            format!("{shown:?} is no subject of an incident; write {FORMS}")
        };
        if text == "registry" {
            return Ok(Self::Registry);
        }
        let (kind, value) = text.split_once(':').ok_or_else(wrong)?;
        let value = value.trim();
        if value.is_empty() || value.len() > 512 || value.chars().any(char::is_control) {
            return Err(wrong());
        }
        let own = value.to_owned();
        Ok(match kind {
            "user" => Self::User(own),
            "token" => Self::Token(own),
            "session" => Self::Session(own),
            "publisher" => Self::Publisher(own),
            "workflow" => Self::Workflow(own),
            "issuer" => Self::Issuer(own.trim_end_matches('/').to_owned()),
            "organisation" => Self::Organisation(own),
            "address" => Self::Address(value.parse().map_err(|_| wrong())?),
            "project" => {
                let (ecosystem, name) = value.split_once(':').ok_or_else(wrong)?;
                let ecosystem = ecosystem.parse().map_err(|_| wrong())?;
                Self::Project(ecosystem, name.to_owned())
            }
            _ => return Err(wrong()),
        })
    }
}

impl fmt::Display for Subject {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::User(name) => write!(f, "user:{name}"),
            // A token itself is a secret: it never stands in an event, a page or a log line.
            Self::Token(which) => match Token::parse(which) {
                Ok(token) => write!(f, "token:{}", token.hint()),
                Err(_) => write!(f, "token:{which}"),
            },
            Self::Session(id) => write!(f, "session:{id}"),
            Self::Publisher(id) => write!(f, "publisher:{id}"),
            Self::Workflow(text) => write!(f, "workflow:{text}"),
            Self::Issuer(url) => write!(f, "issuer:{url}"),
            Self::Address(address) => write!(f, "address:{address}"),
            Self::Project(ecosystem, name) => write!(f, "project:{ecosystem}:{name}"),
            Self::Organisation(name) => write!(f, "organisation:{name}"),
            Self::Registry => f.write_str("registry"),
        }
    }
}

/// From when until when.
#[derive(Clone, Copy, Debug)]
pub struct Window {
    /// From this time on.
    pub since: Time,
    /// Until before this time; `None`: until now.
    pub until: Option<Time>,
}

/// One thing that happened.
#[derive(Clone, Debug, Serialize)]
pub struct Touched {
    /// The event's id.
    pub event: String,
    /// When.
    pub at: Time,
    /// What, as a word.
    pub kind: String,
    /// What it is about, as a purl; empty for what is about no package.
    pub purl: String,
    /// The project, as `ECOSYSTEM:KEY`.
    pub project: Option<String>,
    /// The file.
    pub file: Option<String>,
    /// Its SHA-256, hex.
    pub sha256: Option<String>,
    /// Where it stands in the log: shard and index; `None` for what gets no leaf.
    pub leaf: Option<(u64, u64)>,
    /// `account`, `workflow`, `system` or `anonymous`.
    pub by: String,
    /// The user name, or the id of the publisher, or the system's part.
    pub actor: Option<String>,
    /// How strongly it was proved.
    pub strength: String,
    /// The token or session that was used.
    pub credential: Option<String>,
    /// The account that it was done to.
    pub account: Option<String>,
    /// What else the event says.
    pub detail: Value,
}

/// What somebody touched.
#[derive(Clone, Debug, Serialize)]
pub struct Trace {
    /// Who, or what.
    pub subject: String,
    /// From when on.
    pub since: Time,
    /// Until when.
    pub until: Time,
    /// What happened, oldest first.
    pub events: Vec<Touched>,
    /// Projects that were touched, as `ECOSYSTEM:KEY`.
    pub projects: Vec<String>,
    /// There was more than is listed; take a shorter time.
    pub more: bool,
}

impl From<&TraceRow> for Touched {
    fn from(row: &TraceRow) -> Self {
        Self {
            event: row.event.0.clone(),
            at: row.at,
            kind: row.kind.clone(),
            purl: row.subject.clone(),
            project: row
                .project
                .as_ref()
                .map(|(_, ecosystem, key, _)| format!("{ecosystem}:{key}")),
            file: row.filename.clone(),
            sha256: row.sha256.clone(),
            leaf: row.leaf,
            by: row.actor_kind.clone(),
            actor: row.actor_name.clone().or_else(|| row.actor_id.clone()),
            strength: row.strength.clone(),
            credential: row.credential.clone(),
            account: row
                .account
                .as_ref()
                .map(|(id, name)| name.clone().unwrap_or_else(|| id.0.clone())),
            detail: serde_json::from_str(&row.detail).unwrap_or_default(),
        }
    }
}

fn unknown(what: &Subject) -> Error {
    Error::new(
        Kind::NotFound,
        "subject-unknown",
        format!("There is no {what} here."),
    )
    .remedy("Look it up first; users, tokens and publishers are listed by `countersignd admin`.")
}

fn unfit(what: &Subject, why: &str) -> Error {
    Error::new(
        Kind::Rejected,
        "subject-unfit",
        format!("{what} can not be meant here: {why}."),
    )
    .remedy(format!("Subjects are written {FORMS}."))
}

impl Registry {
    /// Everything that a credential, a person, a publisher or a workflow did in a time, or that happened to a project: also what
    /// got no leaf.
    ///
    /// # Errors
    /// `operator-needed`, `step-up-needed`, `subject-unknown`, `subject-unfit`.
    pub async fn trace(&self, actor: &Actor, subject: &Subject, window: Window) -> Result<Trace> {
        policy::may_operate(actor, "trace what somebody did")?;
        let (mut rows, until) = self.traced(subject, window).await?;
        let more = rows.len() > TRACED;
        rows.truncate(TRACED);
        let events: Vec<Touched> = rows.iter().map(Touched::from).collect();
        let mut projects: Vec<String> = events
            .iter()
            .filter_map(|touched| touched.project.clone())
            .collect();
        projects.sort();
        projects.dedup();
        Ok(Trace {
            subject: subject.to_string(),
            since: window.since,
            until,
            events,
            projects,
            more,
        })
    }

    async fn traced(&self, subject: &Subject, window: Window) -> Result<(Vec<TraceRow>, Time)> {
        // What happens in this very moment belongs to it.
        let until = window.until.unwrap_or_else(|| self.now().plus_seconds(1));
        let marks = self.marks(subject).await?;
        let rows = self
            .inner
            .store
            .trace(&marks, window.since, until, TRACED + 1)
            .await?;
        Ok((rows, until))
    }

    /// By what the events of a subject are known.
    async fn marks(&self, subject: &Subject) -> Result<Marks> {
        let store = &self.inner.store;
        let mut marks = Marks::default();
        match subject {
            Subject::User(name) => {
                marks.actors.insert(self.account(name).await?.0);
            }
            Subject::Token(which) => {
                marks
                    .credentials
                    .insert(self.credential_named(which).await?);
            }
            Subject::Session(id) => {
                if !store.knows_session(id).await? {
                    return Err(unknown(subject));
                }
                marks.credentials.insert(id.clone());
            }
            Subject::Address(address) => {
                let sessions = store.sessions_from(&address.to_string()).await?;
                marks
                    .credentials
                    .extend(sessions.into_iter().map(|id| id.0));
            }
            Subject::Publisher(_) | Subject::Workflow(_) | Subject::Issuer(_) => {
                for (id, issuer, label) in store.every_publisher().await? {
                    if fits(subject, std::slice::from_ref(&id), &issuer, &label) {
                        marks.actors.insert(id.0);
                    }
                }
                for (id, publishers, issuer, label, _) in store.workflow_tokens(None).await? {
                    if fits(subject, &publishers, &issuer, &label) {
                        marks.credentials.insert(id.0);
                    }
                }
                if marks.actors.is_empty() && marks.credentials.is_empty() {
                    return Err(unknown(subject));
                }
            }
            Subject::Project(ecosystem, name) => {
                let key = format(*ecosystem).name_key(name)?;
                let project = store.project_of_key(*ecosystem, key.as_str()).await?;
                let project = project.ok_or_else(|| unknown(subject))?;
                marks.projects.insert(project.0);
            }
            Subject::Organisation(_) | Subject::Registry => {
                return Err(unfit(
                    subject,
                    "name whose doings it is, or one project that they were done to",
                ));
            }
        }
        Ok(marks)
    }

    /// The id of a token that is named by its id, its hint or itself; also one of a workflow, and one that has ended.
    async fn credential_named(&self, which: &str) -> Result<String> {
        let store = &self.inner.store;
        let missing = || unknown(&Subject::Token(which.to_owned()));
        if let Ok(token) = Token::parse(which) {
            if let Some(row) = store.credential_by_hash(token.hash()).await? {
                return Ok(row.id.0);
            }
            let row = store.workflow_token_by_hash(token.hash()).await?;
            return row.map(|row| row.id.0).ok_or_else(missing);
        }
        let mut ids: Vec<String> = store
            .credentials(None)
            .await?
            .into_iter()
            .filter(|row| row.id.0 == which || row.hint == which)
            .map(|row| row.id.0)
            .collect();
        if ids.is_empty() {
            let tokens = store.workflow_tokens(None).await?;
            ids.extend(
                tokens
                    .into_iter()
                    .filter(|(id, ..)| id.0 == which)
                    .map(|(id, ..)| id.0),
            );
        }
        if ids.len() > 1 {
            return Err(Error::new(
                Kind::Rejected,
                "token-ambiguous",
                format!("{} tokens have the hint {which}.", ids.len()),
            )
            .remedy("Give the token's id."));
        }
        ids.pop().ok_or_else(missing)
    }
}

/// Is this publisher, or what was minted for it, meant?
fn fits(
    subject: &Subject,
    publishers: &[crate::model::PublisherId],
    issuer: &str,
    label: &str,
) -> bool {
    match subject {
        Subject::Publisher(id) => publishers.iter().any(|known| known.0 == *id),
        Subject::Workflow(text) => label.to_lowercase().contains(&text.to_lowercase()),
        Subject::Issuer(url) => issuer.trim_end_matches('/') == url,
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_subject_is_written_as_it_is_read_and_never_shows_a_token() {
        for text in [
            "user:ann",
            "session:0190",
            "project:npm:@scope/name",
            "issuer:https://forge.example",
            "address:2001:db8::1",
            "registry",
        ] {
            assert_eq!(text.parse::<Subject>().unwrap().to_string(), text);
        }
        for text in [
            "",
            "user:",
            "ann",
            "project:demo",
            "address:ann",
            "user:a\nb",
        ] {
            assert!(text.parse::<Subject>().is_err(), "{text:?}");
        }
        let token = Token::from_random(countersign_trust::token::TokenKind::User, [7; 32]);
        let subject: Subject = format!("token:{}", token.reveal()).parse().unwrap();
        assert_eq!(subject.to_string(), format!("token:{}", token.hint()));
    }
}
