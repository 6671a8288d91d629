//! The record of an incident: what it is about, what was said of it, and when. Once it is public, everybody reads it at `/incidents`
//! beside what the log shows of the same packages since it began. An export holds what somebody needs to prove it elsewhere.

use countersign_formats::purl;
use serde::Serialize;
use serde_json::json;

use super::Touched;
use crate::Registry;
use crate::accounts::new_id;
use crate::error::{Error, Kind, Result};
use crate::fetch::unknown_project;
use crate::model::{Actor, ProjectId, Time};
use crate::policy;
use crate::store::{IncidentRow, Marks, Tx};

/// At most so many incidents are listed.
const LISTED: u32 = 200;
/// At most so many packages of one incident.
const SUBJECTS: usize = 500;
/// At most so many moments of a timeline.
const MOMENTS: usize = 2_000;
/// At most so many events of an export.
const EXPORTED: usize = 20_000;

/// An incident to open.
#[derive(Clone, Debug, Default)]
pub struct NewIncident {
    /// In a line.
    pub title: String,
    /// What is known, in Markdown; may be empty.
    pub summary: String,
    /// Purls of projects, releases or files that it is about.
    pub about: Vec<String>,
    /// From when on; `None`: from now on.
    pub began: Option<Time>,
    /// Everybody may read it from now on.
    pub public: bool,
}

/// What is said further about an incident.
#[derive(Clone, Debug, Default)]
pub struct IncidentChange {
    /// What became known, or was done.
    pub text: String,
    /// More that it is about.
    pub about: Vec<String>,
    /// Everybody may read it from now on.
    pub public: bool,
    /// It is over.
    pub close: bool,
}

/// An incident in a list.
#[derive(Clone, Debug, Serialize)]
pub struct IncidentSummary {
    /// Its id, such as `2026-3`.
    pub id: String,
    /// In a line.
    pub title: String,
    /// From when on it is about.
    pub began: Time,
    /// When it was opened.
    pub opened: Time,
    /// Since when everybody reads it.
    pub public: Option<Time>,
    /// When it was closed.
    pub closed: Option<Time>,
}

/// Something that happened in an incident: an update in the operator's words, or what the log shows.
#[derive(Clone, Debug, Serialize)]
pub struct IncidentMoment {
    /// When.
    pub at: Time,
    /// `update`, or the kind of the leaf.
    pub kind: String,
    /// The operator's words, or the purl of what it happened to.
    pub text: String,
    /// Its index in the log.
    pub leaf: Option<u64>,
}

/// An incident, whole.
#[derive(Clone, Debug, Serialize)]
pub struct Incident {
    /// As in a list.
    #[serde(flatten)]
    pub head: IncidentSummary,
    /// What is known.
    pub summary: String,
    /// What it is about, as purls.
    pub about: Vec<String>,
    /// What happened, oldest first.
    pub timeline: Vec<IncidentMoment>,
}

/// An event of an export, with its leaf and the proof that the log holds it.
#[derive(Clone, Debug, Serialize)]
pub struct EvidenceEvent {
    /// What happened.
    #[serde(flatten)]
    pub event: Touched,
    /// The tlog-proof, with the leaf in it; `None` for what gets no leaf.
    pub proof: Option<String>,
}

/// What somebody needs to look at an incident elsewhere.
#[derive(Clone, Debug, Serialize)]
pub struct IncidentEvidence {
    /// `countersign-incident/v1`.
    pub format: &'static str,
    /// The registry.
    pub registry: String,
    /// The log's origin.
    pub origin: String,
    /// Keys of the log, as notes name them.
    pub keys: Vec<String>,
    /// When it was made.
    pub made: Time,
    /// The incident.
    pub incident: Incident,
    /// Every event of the projects that it is about, since it began, with who acted.
    pub events: Vec<EvidenceEvent>,
    /// There was more than is held.
    pub more: bool,
}

impl From<IncidentRow> for IncidentSummary {
    fn from(row: IncidentRow) -> Self {
        Self {
            id: row.id,
            title: row.title,
            began: row.began,
            opened: row.opened,
            public: row.public,
            closed: row.closed,
        }
    }
}

fn unknown(id: &str) -> Error {
    let shown: String = id.chars().take(40).collect();
    Error::new(
        Kind::NotFound,
        "incident-unknown",
        format!("There is no incident {shown:?} here."),
    )
    .remedy("They are listed at /incidents.")
}

/// Is this purl the subject, or a part of it?
fn within(purl: &str, subject: &str) -> bool {
    purl.strip_prefix(subject)
        .is_some_and(|rest| rest.is_empty() || rest.starts_with(['@', '?']))
}

impl Registry {
    /// Opens an incident; the answer is its id.
    ///
    /// # Errors
    /// `operator-needed`, `text-length`, `purl-invalid`, `project-unknown`, `incident-began`, `incident-subjects`.
    pub async fn open_incident(&self, actor: &Actor, new: &NewIncident) -> Result<String> {
        policy::may_operate(actor, "open an incident")?;
        let title = policy::words(&new.title, 1..=200, "A title")?.replace('\n', " ");
        let summary = match new.summary.trim() {
            "" => String::new(),
            text => policy::words(text, 1..=20_000, "A summary")?,
        };
        let now = self.now();
        let began = new.began.unwrap_or(now);
        if began > now {
            return Err(Error::new(
                Kind::Rejected,
                "incident-began",
                format!(
                    "An incident can not begin later than now; this would at {}.",
                    began.rfc3339()
                ),
            )
            .remedy("Give the time from which on it is about."));
        }
        let about = self.projects_of(&new.about).await?;
        let mut tx = self.inner.store.write().await?;
        let year = now
            .rfc3339()
            .split('-')
            .next()
            .unwrap_or_default()
            .to_owned();
        let number = tx.count_incidents(&format!("{year}-")).await? + 1;
        let id = format!("{year}-{number}");
        tx.insert_incident(&IncidentRow {
            id: id.clone(),
            title,
            summary,
            began,
            opened: now,
            public: new.public.then_some(now),
            closed: None,
        })
        .await?;
        self.add_subjects(&mut tx, &id, &about).await?;
        let detail = json!({"incident": id, "about": new.about, "public": new.public});
        tx.note_event(&new_id(), now, "incident-opened", actor, None, detail)
            .await?;
        tx.commit().await?;
        Ok(id)
    }

    /// Says more about an incident, makes it public, closes it. One that is closed can be said more of.
    ///
    /// # Errors
    /// `operator-needed`, `incident-unknown`, `text-length`, `purl-invalid`, `project-unknown`, `incident-subjects`.
    pub async fn update_incident(
        &self,
        actor: &Actor,
        id: &str,
        change: &IncidentChange,
    ) -> Result<()> {
        policy::may_operate(actor, "update an incident")?;
        let text = policy::words(&change.text, 1..=4_000, "An update")?;
        let row = self.inner.store.incident(id).await?;
        let row = row.ok_or_else(|| unknown(id))?;
        let about = self.projects_of(&change.about).await?;
        let known = self.inner.store.incident_subjects(id).await?.len();
        if known + about.len() > SUBJECTS {
            return Err(too_many());
        }
        let now = self.now();
        let mut tx = self.inner.store.write().await?;
        tx.add_incident_update(&new_id(), &row.id, &text, now)
            .await?;
        self.add_subjects(&mut tx, &row.id, &about).await?;
        tx.mark_incident(&row.id, change.public, change.close, now)
            .await?;
        let kind = match change.close && row.closed.is_none() {
            true => "incident-closed",
            false => "incident-updated",
        };
        let detail = json!({"incident": row.id, "about": change.about, "public": change.public});
        tx.note_event(&new_id(), now, kind, actor, None, detail)
            .await?;
        tx.commit().await
    }

    /// All incidents, newest first: those that are public, and for operators the others too.
    ///
    /// # Errors
    /// Where the database can not be read.
    pub async fn incidents(&self, actor: &Actor) -> Result<Vec<IncidentSummary>> {
        let public = !policy::operates(actor);
        let rows = self.inner.store.incidents(public, LISTED).await?;
        Ok(rows.into_iter().map(IncidentSummary::from).collect())
    }

    /// One incident with its timeline: what operators said, and what the log shows of what it is about since it began. What is
    /// private stays out of it for everybody but operators.
    ///
    /// # Errors
    /// `incident-unknown`, also for one that is not public.
    pub async fn incident(&self, actor: &Actor, id: &str) -> Result<Incident> {
        let operates = policy::operates(actor);
        let row = self.inner.store.incident(id).await?;
        let row = row
            .filter(|row| operates || row.public.is_some())
            .ok_or_else(|| unknown(id))?;
        let subjects: Vec<(String, ProjectId)> = self
            .inner
            .store
            .incident_subjects(&row.id)
            .await?
            .into_iter()
            .filter(|(_, _, private)| operates || !private)
            .map(|(purl, project, _)| (purl, project))
            .collect();
        let (touched, _) = self.of_subjects(&row, &subjects, MOMENTS).await?;
        let mut timeline: Vec<IncidentMoment> = touched
            .into_iter()
            .filter_map(|touched| {
                Some(IncidentMoment {
                    at: touched.at,
                    leaf: Some(touched.leaf?.1),
                    kind: touched.kind,
                    text: touched.purl,
                })
            })
            .collect();
        let updates = self.inner.store.incident_updates(&row.id).await?;
        timeline.extend(updates.into_iter().map(|(at, text)| IncidentMoment {
            at,
            kind: "update".to_owned(),
            text,
            leaf: None,
        }));
        timeline.sort_by_key(|moment| moment.at);
        Ok(Incident {
            summary: row.summary.clone(),
            head: IncidentSummary::from(row),
            about: subjects.into_iter().map(|(purl, _)| purl).collect(),
            timeline,
        })
    }

    /// Everything about an incident, with the log's proofs, for operators: it names who acted.
    ///
    /// # Errors
    /// `operator-needed`, `incident-unknown`; `log-stands-still` where the log has not caught up.
    pub async fn incident_evidence(&self, actor: &Actor, id: &str) -> Result<IncidentEvidence> {
        policy::may_operate(actor, "export an incident")?;
        let incident = self.incident(actor, id).await?;
        let row = self.inner.store.incident(id).await?;
        let row = row.ok_or_else(|| unknown(id))?;
        let subjects: Vec<(String, ProjectId)> = self
            .inner
            .store
            .incident_subjects(id)
            .await?
            .into_iter()
            .map(|(purl, project, _)| (purl, project))
            .collect();
        let (touched, more) = self.of_subjects(&row, &subjects, EXPORTED).await?;
        let mut events = Vec::with_capacity(touched.len());
        for event in touched {
            let proof = match event.leaf {
                Some((shard, index)) => {
                    let proof = self.leaf_proof(shard, index).await?;
                    Some(String::from_utf8_lossy(&proof.bytes).into_owned())
                }
                None => None,
            };
            events.push(EvidenceEvent { event, proof });
        }
        let keys = self.site_keys();
        Ok(IncidentEvidence {
            format: "countersign-incident/v1",
            registry: self.inner.settings.site().to_owned(),
            origin: keys.origin,
            keys: keys.verifier_keys,
            made: self.now(),
            incident,
            events,
            more,
        })
    }

    /// Events about what an incident is about, from when it began until it was closed.
    async fn of_subjects(
        &self,
        row: &IncidentRow,
        subjects: &[(String, ProjectId)],
        most: usize,
    ) -> Result<(Vec<Touched>, bool)> {
        let marks = Marks {
            projects: subjects.iter().map(|(_, id)| id.0.clone()).collect(),
            ..Marks::default()
        };
        let until = row.closed.unwrap_or_else(|| self.now()).plus_seconds(1);
        let rows = self
            .inner
            .store
            .trace(&marks, row.began, until, EXPORTED + 1)
            .await?;
        let mut touched: Vec<Touched> = rows
            .iter()
            .map(Touched::from)
            .filter(|touched| {
                subjects.iter().any(|(subject, _)| {
                    within(&touched.purl, subject) || within(subject, &touched.purl)
                })
            })
            .collect();
        let more = rows.len() > EXPORTED || touched.len() > most;
        touched.truncate(most);
        Ok((touched, more))
    }

    async fn projects_of(&self, about: &[String]) -> Result<Vec<(String, ProjectId)>> {
        if about.len() > SUBJECTS {
            return Err(too_many());
        }
        let mut found = Vec::with_capacity(about.len());
        for text in about {
            let named = purl::parse(text)?;
            let key = named.name_key.as_str();
            let project = self
                .inner
                .store
                .project_of_key(named.ecosystem, key)
                .await?
                .ok_or_else(|| unknown_project(key))?;
            let (ecosystem, key) = (named.ecosystem, &named.name_key);
            let written = match (&named.version, &named.filename) {
                (Some(version), Some(file)) => purl::file_purl(ecosystem, key, version, file),
                (Some(version), None) => purl::release_purl(ecosystem, key, version),
                _ => purl::project_purl(ecosystem, key),
            };
            found.push((written, project));
        }
        Ok(found)
    }

    async fn add_subjects(
        &self,
        tx: &mut Tx,
        id: &str,
        about: &[(String, ProjectId)],
    ) -> Result<()> {
        for (purl, project) in about {
            tx.add_incident_subject(id, purl, project, self.now())
                .await?;
        }
        Ok(())
    }
}

fn too_many() -> Error {
    Error::new(
        Kind::Rejected,
        "incident-subjects",
        format!("An incident is about {SUBJECTS} packages at most."),
    )
    .remedy("Name projects instead of their releases, or open a second one.")
}

#[cfg(test)]
mod tests {
    use super::within;

    #[test]
    fn a_release_is_within_its_project_and_not_within_one_whose_name_begins_alike() {
        assert!(within("pkg:pypi/demo@1.0", "pkg:pypi/demo"));
        assert!(within(
            "pkg:pypi/demo@1.0?file_name=a.whl",
            "pkg:pypi/demo@1.0"
        ));
        assert!(!within("pkg:pypi/demo-two@1.0", "pkg:pypi/demo"));
        assert!(!within("pkg:pypi/demo@1.0.1", "pkg:pypi/demo@1.0"));
    }
}
