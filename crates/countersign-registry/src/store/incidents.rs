//! Rows of incidents: what somebody touched, what is stopped, which credentials a query means, and the records.

use std::collections::BTreeSet;

use countersign_formats::Ecosystem;
use sqlx::any::AnyRow;

use super::{
    Store, Tx, built, failed, maybe_text, maybe_time, maybe_unsigned, number, places, signed, text,
    time,
};
use crate::error::{Error, Result};
use crate::model::{
    AccountId, CredentialId, EventId, OrganisationId, ProjectId, PublisherId, SessionId, Time,
};

/// By what an event is somebody's: who acted, by which credential or session, or on which project.
#[derive(Clone, Debug, Default)]
pub(crate) struct Marks {
    pub(crate) actors: BTreeSet<String>,
    pub(crate) credentials: BTreeSet<String>,
    pub(crate) projects: BTreeSet<String>,
}

/// An event with everything that it names.
#[derive(Clone, Debug)]
pub(crate) struct TraceRow {
    pub(crate) event: EventId,
    pub(crate) at: Time,
    pub(crate) kind: String,
    pub(crate) subject: String,
    /// Id, ecosystem, key, and whether it is still there.
    pub(crate) project: Option<(ProjectId, Ecosystem, String, bool)>,
    pub(crate) filename: Option<String>,
    pub(crate) sha256: Option<String>,
    /// When its release was made.
    pub(crate) release_made: Option<Time>,
    /// Shard and index.
    pub(crate) leaf: Option<(u64, u64)>,
    pub(crate) actor_kind: String,
    pub(crate) actor_id: Option<String>,
    pub(crate) actor_name: Option<String>,
    pub(crate) strength: String,
    pub(crate) credential: Option<String>,
    pub(crate) account: Option<(AccountId, Option<String>)>,
    pub(crate) detail: String,
}

/// How things stand now with what an event changed.
#[derive(Clone, Debug, Default)]
pub(crate) struct Standing {
    pub(crate) there: bool,
    pub(crate) yanked: bool,
    pub(crate) withheld: bool,
}

/// Something that is stopped, or was.
#[derive(Clone, Debug)]
pub(crate) struct StopRow {
    pub(crate) scope: String,
    pub(crate) name: String,
    pub(crate) reason: String,
    pub(crate) since: Time,
}

/// Which credentials are meant. `at`: now; only those that are good then.
#[derive(Clone, Debug)]
pub(crate) struct RevokeWhere<'a> {
    pub(crate) whose: Whose<'a>,
    pub(crate) from: Time,
    pub(crate) until: Time,
    pub(crate) at: Time,
}

/// Whose credentials.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Whose<'a> {
    Everybody,
    Account(&'a AccountId),
    Organisation(&'a OrganisationId),
    /// Of those with a role on the project, and good for it.
    Project(&'a ProjectId, Ecosystem, &'a str),
    /// Sessions that were begun from this address.
    Address(&'a str),
    Credential(&'a str),
    /// Nobody's but workflows'.
    Workflows,
}

/// A credential that is meant.
#[derive(Clone, Debug)]
pub(crate) enum CredentialMatch {
    Token(CredentialId, AccountId),
    Session(SessionId, AccountId),
}

/// The record of an incident.
#[derive(Clone, Debug)]
pub(crate) struct IncidentRow {
    pub(crate) id: String,
    pub(crate) title: String,
    pub(crate) summary: String,
    pub(crate) began: Time,
    pub(crate) opened: Time,
    pub(crate) public: Option<Time>,
    pub(crate) closed: Option<Time>,
}

fn incident(row: &AnyRow) -> Result<IncidentRow> {
    Ok(IncidentRow {
        id: text(row, "id")?,
        title: text(row, "title")?,
        summary: text(row, "summary")?,
        began: time(row, "began_at")?,
        opened: time(row, "opened_at")?,
        public: maybe_time(row, "public_at")?,
        closed: maybe_time(row, "closed_at")?,
    })
}

const TRACE: &str = "SELECT e.id, e.at, e.kind, e.subject, e.project_id, e.actor_kind, e.actor_id, e.strength, e.account_id, \
     e.credential_id, e.detail, p.ecosystem, p.key, p.removed_at, f.filename, f.sha256, r.created_at AS release_made, l.shard, l.idx, \
     a.name AS actor_name, b.name AS account_name \
     FROM events e LEFT JOIN projects p ON p.id = e.project_id LEFT JOIN files f ON f.id = e.file_id \
     LEFT JOIN releases r ON r.id = f.release_id LEFT JOIN leaves l ON l.event_id = e.id \
     LEFT JOIN accounts a ON a.id = e.actor_id LEFT JOIN accounts b ON b.id = e.account_id";

fn trace_row(row: &AnyRow) -> Result<TraceRow> {
    let project = match (
        maybe_text(row, "project_id")?,
        maybe_text(row, "ecosystem")?,
    ) {
        (Some(id), Some(ecosystem)) => Some((
            ProjectId(id),
            super::ecosystem(&ecosystem)?,
            text(row, "key")?,
            maybe_time(row, "removed_at")?.is_none(),
        )),
        _ => None,
    };
    let leaf = match (maybe_unsigned(row, "shard")?, maybe_unsigned(row, "idx")?) {
        (Some(shard), Some(index)) => Some((shard, index)),
        _ => None,
    };
    Ok(TraceRow {
        event: EventId(text(row, "id")?),
        at: time(row, "at")?,
        kind: text(row, "kind")?,
        subject: text(row, "subject")?,
        project,
        filename: maybe_text(row, "filename")?,
        sha256: maybe_text(row, "sha256")?,
        release_made: maybe_time(row, "release_made")?,
        leaf,
        actor_kind: text(row, "actor_kind")?,
        actor_id: maybe_text(row, "actor_id")?,
        actor_name: maybe_text(row, "actor_name")?,
        strength: text(row, "strength")?,
        credential: maybe_text(row, "credential_id")?,
        account: match maybe_text(row, "account_id")? {
            Some(id) => Some((AccountId(id), maybe_text(row, "account_name")?)),
            None => None,
        },
        detail: text(row, "detail")?,
    })
}

impl Store {
    /// Events by what marks them, from `since` until before `until`, oldest first; of many the first `most`.
    pub(crate) async fn trace(
        &self,
        marks: &Marks,
        since: Time,
        until: Time,
        most: usize,
    ) -> Result<Vec<TraceRow>> {
        let mut found = std::collections::BTreeMap::new();
        for (column, values) in [
            ("actor_id", &marks.actors),
            ("credential_id", &marks.credentials),
            ("project_id", &marks.projects),
        ] {
            let values: Vec<&String> = values.iter().collect();
            for chunk in values.chunks(500) {
                // A row more than is wanted tells that there are more.
                let sql = format!(
                    "{TRACE} WHERE e.at >= $1 AND e.at < $2 AND e.{column} IN ({}) ORDER BY e.at, e.id LIMIT $3",
                    places(chunk.len(), 4)
                );
                let mut query = sqlx::query(built(sql))
                    .bind(since.0)
                    .bind(until.0)
                    .bind(signed(most as u64));
                for value in chunk {
                    query = query.bind((*value).clone());
                }
                for row in &query.fetch_all(&self.read).await.map_err(failed)? {
                    let row = trace_row(row)?;
                    found.insert((row.at, row.event.0.clone()), row);
                }
            }
        }
        Ok(found.into_values().take(most).collect())
    }

    /// Publishers, those that ended too: id, issuer, and the workflow in words.
    pub(crate) async fn every_publisher(&self) -> Result<Vec<(PublisherId, String, String)>> {
        let rows = sqlx::query("SELECT id, issuer, registration FROM publishers ORDER BY id")
            .fetch_all(&self.read)
            .await
            .map_err(failed)?;
        rows.iter()
            .map(|row| {
                let registration: serde_json::Value =
                    serde_json::from_str(&text(row, "registration")?).map_err(|source| {
                        Error::internal("a stored registration is unreadable", source)
                    })?;
                let label = registration["label"]
                    .as_str()
                    .unwrap_or_default()
                    .to_owned();
                Ok((PublisherId(text(row, "id")?), text(row, "issuer")?, label))
            })
            .collect()
    }

    /// Tokens of workflows that are remembered: id, publishers, issuer, and the workflow in words.
    pub(crate) async fn workflow_tokens(
        &self,
        alive_at: Option<Time>,
    ) -> Result<Vec<(CredentialId, Vec<PublisherId>, String, String, Time)>> {
        let rows = sqlx::query(
            "SELECT c.id, c.created_at, w.publishers, w.issuer, w.label FROM workflow_tokens w JOIN credentials c ON c.id = w.credential_id \
             WHERE $1 = 0 OR (c.revoked_at IS NULL AND c.expires_at > $1) ORDER BY c.id",
        )
        .bind(alive_at.map_or(0, |at| at.0))
        .fetch_all(&self.read)
        .await
        .map_err(failed)?;
        rows.iter()
            .map(|row| {
                let publishers =
                    serde_json::from_str(&text(row, "publishers")?).map_err(|source| {
                        Error::internal("stored publishers are unreadable", source)
                    })?;
                Ok((
                    CredentialId(text(row, "id")?),
                    publishers,
                    text(row, "issuer")?,
                    text(row, "label")?,
                    time(row, "created_at")?,
                ))
            })
            .collect()
    }

    /// Sessions that were begun from an address, while that is kept.
    pub(crate) async fn sessions_from(&self, address: &str) -> Result<Vec<SessionId>> {
        let rows = sqlx::query("SELECT id FROM sessions WHERE address = $1 ORDER BY id")
            .bind(address.to_owned())
            .fetch_all(&self.read)
            .await
            .map_err(failed)?;
        rows.iter()
            .map(|row| text(row, "id").map(SessionId))
            .collect()
    }

    /// Is there a session of this id, alive or ended?
    pub(crate) async fn knows_session(&self, id: &str) -> Result<bool> {
        let row = sqlx::query("SELECT count(*) AS n FROM sessions WHERE id = $1")
            .bind(id.to_owned())
            .fetch_one(&self.read)
            .await
            .map_err(failed)?;
        Ok(number(&row, "n")? > 0)
    }

    /// The project of this key, also one that was removed.
    pub(crate) async fn project_of_key(
        &self,
        ecosystem: Ecosystem,
        key: &str,
    ) -> Result<Option<ProjectId>> {
        let row = sqlx::query("SELECT id FROM projects WHERE ecosystem = $1 AND key = $2")
            .bind(ecosystem.as_str())
            .bind(key.to_owned())
            .fetch_optional(&self.read)
            .await
            .map_err(failed)?;
        row.map(|row| text(&row, "id").map(ProjectId)).transpose()
    }

    /// Credentials of persons that are good now: API tokens and sessions.
    pub(crate) async fn credentials_where(
        &self,
        wanted: &RevokeWhere<'_>,
    ) -> Result<Vec<CredentialMatch>> {
        let mut found = Vec::new();
        // The columns of tokens and of sessions differ; what is asked of an account is the same.
        let owner = |table: &str| match wanted.whose {
            Whose::Everybody => Some(("$4 = ''".to_owned(), "")),
            Whose::Account(id) => Some((format!("{table}.account_id = $4"), id.0.as_str())),
            Whose::Organisation(id) => Some((
                format!(
                    "{table}.account_id IN (SELECT m.account_id FROM organisation_members m WHERE m.organisation_id = $4)"
                ),
                id.0.as_str(),
            )),
            Whose::Project(id, ..) => Some((
                format!(
                    "{table}.account_id IN (SELECT x.account_id FROM effective_roles x WHERE x.project_id = $4)"
                ),
                id.0.as_str(),
            )),
            Whose::Credential(id) => Some((format!("{table}.id = $4"), id)),
            Whose::Address(address) => {
                (table == "s").then(|| ("s.address = $4".to_owned(), address))
            }
            Whose::Workflows => None,
        };
        if let Some((condition, value)) = owner("c") {
            let scope = match wanted.whose {
                Whose::Project(_, ecosystem, key) => Some((ecosystem, key)),
                _ => None,
            };
            let rows = sqlx::query(built(format!(
                "SELECT c.id, c.account_id FROM credentials c WHERE c.kind = 'token' AND c.revoked_at IS NULL \
                 AND (c.expires_at IS NULL OR c.expires_at > $3) AND c.created_at >= $1 AND c.created_at < $2 AND {condition} \
                 AND ($5 = '' OR c.ecosystem IS NULL OR c.ecosystem = $5) AND ($6 = '' OR c.project_key IS NULL OR c.project_key = $6) \
                 ORDER BY c.account_id, c.id"
            )))
            .bind(wanted.from.0)
            .bind(wanted.until.0)
            .bind(wanted.at.0)
            .bind(value.to_owned())
            .bind(scope.map_or("", |(ecosystem, _)| ecosystem.as_str()))
            .bind(scope.map_or("", |(_, key)| key).to_owned())
            .fetch_all(&self.read)
            .await
            .map_err(failed)?;
            for row in &rows {
                let account = AccountId(text(row, "account_id")?);
                let id = CredentialId(text(row, "id")?);
                found.push(CredentialMatch::Token(id, account));
            }
        }
        if let Some((condition, value)) = owner("s") {
            let rows = sqlx::query(built(format!(
                "SELECT s.id, s.account_id FROM sessions s WHERE s.ended_at IS NULL AND s.expires_at > $3 \
                 AND s.created_at >= $1 AND s.created_at < $2 AND {condition} ORDER BY s.account_id, s.id"
            )))
            .bind(wanted.from.0)
            .bind(wanted.until.0)
            .bind(wanted.at.0)
            .bind(value.to_owned())
            .fetch_all(&self.read)
            .await
            .map_err(failed)?;
            for row in &rows {
                let account = AccountId(text(row, "account_id")?);
                let id = SessionId(text(row, "id")?);
                found.push(CredentialMatch::Session(id, account));
            }
        }
        Ok(found)
    }

    /// What is stopped now, the oldest first.
    pub(crate) async fn stops(&self) -> Result<Vec<StopRow>> {
        let rows = sqlx::query("SELECT scope, name, reason, stopped_at FROM stops WHERE lifted_at IS NULL ORDER BY stopped_at, id")
            .fetch_all(&self.read)
            .await
            .map_err(failed)?;
        rows.iter().map(stop).collect()
    }

    /// Is the whole registry stopped, and why?
    pub(crate) async fn registry_stop(&self) -> Result<Option<StopRow>> {
        let row = sqlx::query("SELECT scope, name, reason, stopped_at FROM stops WHERE scope = 'registry' AND lifted_at IS NULL")
            .fetch_optional(&self.near)
            .await
            .map_err(failed)?;
        row.as_ref().map(stop).transpose()
    }

    /// Incidents, newest first; of all, or of those that are public.
    pub(crate) async fn incidents(&self, public: bool, most: u32) -> Result<Vec<IncidentRow>> {
        let condition = if public {
            "public_at IS NOT NULL"
        } else {
            "1 = 1"
        };
        let rows = sqlx::query(built(format!(
            "SELECT id, title, summary, began_at, opened_at, public_at, closed_at FROM incidents WHERE {condition} \
             ORDER BY opened_at DESC, id DESC LIMIT $1"
        )))
        .bind(i64::from(most))
        .fetch_all(&self.read)
        .await
        .map_err(failed)?;
        rows.iter().map(incident).collect()
    }

    /// Incidents that are not closed, the oldest first; of all, or of those that are public.
    pub(crate) async fn open_incidents(&self, public: bool) -> Result<Vec<IncidentRow>> {
        let rows = sqlx::query(
            "SELECT id, title, summary, began_at, opened_at, public_at, closed_at FROM incidents \
             WHERE closed_at IS NULL AND ($1 = 0 OR public_at IS NOT NULL) ORDER BY opened_at, id",
        )
        .bind(i64::from(public))
        .fetch_all(&self.read)
        .await
        .map_err(failed)?;
        rows.iter().map(incident).collect()
    }

    /// One incident.
    pub(crate) async fn incident(&self, id: &str) -> Result<Option<IncidentRow>> {
        let row = sqlx::query("SELECT id, title, summary, began_at, opened_at, public_at, closed_at FROM incidents WHERE id = $1")
            .bind(id.to_owned())
            .fetch_optional(&self.read)
            .await
            .map_err(failed)?;
        row.as_ref().map(incident).transpose()
    }

    /// What was said about an incident, oldest first.
    pub(crate) async fn incident_updates(&self, id: &str) -> Result<Vec<(Time, String)>> {
        let rows = sqlx::query(
            "SELECT at, text FROM incident_updates WHERE incident_id = $1 ORDER BY at, id",
        )
        .bind(id.to_owned())
        .fetch_all(&self.read)
        .await
        .map_err(failed)?;
        rows.iter()
            .map(|row| Ok((time(row, "at")?, text(row, "text")?)))
            .collect()
    }

    /// What an incident is about: purl, project, and whether that is private.
    pub(crate) async fn incident_subjects(
        &self,
        id: &str,
    ) -> Result<Vec<(String, ProjectId, bool)>> {
        let rows = sqlx::query(
            "SELECT s.purl, s.project_id, p.private_at FROM incident_subjects s JOIN projects p ON p.id = s.project_id \
             WHERE s.incident_id = $1 ORDER BY s.purl",
        )
        .bind(id.to_owned())
        .fetch_all(&self.read)
        .await
        .map_err(failed)?;
        rows.iter()
            .map(|row| {
                Ok((
                    text(row, "purl")?,
                    ProjectId(text(row, "project_id")?),
                    maybe_time(row, "private_at")?.is_some(),
                ))
            })
            .collect()
    }
}

fn stop(row: &AnyRow) -> Result<StopRow> {
    Ok(StopRow {
        scope: text(row, "scope")?,
        name: text(row, "name")?,
        reason: text(row, "reason")?,
        since: time(row, "stopped_at")?,
    })
}

impl Tx {
    /// Stops something; false where it is stopped already.
    pub(crate) async fn stop(
        &mut self,
        id: &str,
        scope: &str,
        (subject, name): (&str, &str),
        reason: &str,
        now: Time,
    ) -> Result<bool> {
        let done = sqlx::query(
            "INSERT INTO stops (id, scope, subject, name, reason, stopped_at) VALUES ($1, $2, $3, $4, $5, $6) \
             ON CONFLICT (scope, subject) WHERE lifted_at IS NULL DO NOTHING",
        )
        .bind(id.to_owned())
        .bind(scope.to_owned())
        .bind(subject.to_owned())
        .bind(name.to_owned())
        .bind(reason.to_owned())
        .bind(now.0)
        .execute(&mut *self.inner)
        .await
        .map_err(failed)?;
        Ok(done.rows_affected() == 1)
    }

    /// Ends a stop; false where there is none.
    pub(crate) async fn lift_stop(
        &mut self,
        scope: &str,
        subject: &str,
        now: Time,
    ) -> Result<bool> {
        let done = sqlx::query(
            "UPDATE stops SET lifted_at = $3 WHERE scope = $1 AND subject = $2 AND lifted_at IS NULL",
        )
        .bind(scope.to_owned())
        .bind(subject.to_owned())
        .bind(now.0)
        .execute(&mut *self.inner)
        .await
        .map_err(failed)?;
        Ok(done.rows_affected() == 1)
    }

    /// What stops changes of a project, of an organisation, or of everything; the widest first.
    pub(crate) async fn stop_on(
        &mut self,
        project: Option<&ProjectId>,
        organisation: Option<&OrganisationId>,
    ) -> Result<Option<StopRow>> {
        let row = sqlx::query(
            "SELECT scope, name, reason, stopped_at FROM stops WHERE lifted_at IS NULL AND (scope = 'registry' \
             OR (scope = 'project' AND subject = $1) OR (scope = 'organisation' AND (subject = $2 OR subject IN \
             (SELECT g.organisation_id FROM grants g WHERE g.project_id = $1 AND g.organisation_id IS NOT NULL AND g.ended_at IS NULL)))) \
             ORDER BY CASE scope WHEN 'registry' THEN 0 WHEN 'organisation' THEN 1 ELSE 2 END LIMIT 1",
        )
        .bind(project.map_or("", |id| id.0.as_str()).to_owned())
        .bind(organisation.map_or("", |id| id.0.as_str()).to_owned())
        .fetch_optional(&mut *self.inner)
        .await
        .map_err(failed)?;
        row.as_ref().map(stop).transpose()
    }

    /// How a release, or a file of it, stands.
    pub(crate) async fn standing_of_release(
        &mut self,
        project: &ProjectId,
        version: &str,
        filename: Option<&str>,
    ) -> Result<Standing> {
        let row = match filename {
            None => sqlx::query(
                "SELECT yanked_at, quarantined_at AS withheld_at, removed_at FROM releases WHERE project_id = $1 AND version = $2 AND $3 = ''",
            ),
            Some(_) => sqlx::query(
                "SELECT r.yanked_at, CASE WHEN f.state IN ('quarantined', 'held') THEN f.staged_at END AS withheld_at, f.removed_at \
                 FROM files f JOIN releases r ON r.id = f.release_id WHERE f.project_id = $1 AND r.version = $2 AND f.filename = $3",
            ),
        }
        .bind(project.0.clone())
        .bind(version.to_owned())
        .bind(filename.unwrap_or_default().to_owned())
        .fetch_optional(&mut *self.inner)
        .await
        .map_err(failed)?;
        let Some(row) = row else {
            return Ok(Standing::default());
        };
        Ok(Standing {
            there: maybe_time(&row, "removed_at")?.is_none(),
            yanked: maybe_time(&row, "yanked_at")?.is_some(),
            withheld: maybe_time(&row, "withheld_at")?.is_some(),
        })
    }

    /// Is a publisher registered still, and which workflow is it?
    pub(crate) async fn standing_publisher(&mut self, id: &str) -> Result<Option<(bool, String)>> {
        let row = sqlx::query("SELECT removed_at, registration FROM publishers WHERE id = $1")
            .bind(id.to_owned())
            .fetch_optional(&mut *self.inner)
            .await
            .map_err(failed)?;
        row.map(|row| {
            let registration: serde_json::Value =
                serde_json::from_str(&text(&row, "registration")?).map_err(|source| {
                    Error::internal("a stored registration is unreadable", source)
                })?;
            let label = registration["label"]
                .as_str()
                .unwrap_or_default()
                .to_owned();
            Ok((maybe_time(&row, "removed_at")?.is_none(), label))
        })
        .transpose()
    }

    /// Did somebody change the same thing again after an event? Events of this kind that name `id`, and this account where one is given.
    pub(crate) async fn changed_after(
        &mut self,
        last: &TraceRow,
        kind: &str,
        account: Option<&AccountId>,
        id: &str,
    ) -> Result<bool> {
        // Ids of events are in the order of their times.
        let row = sqlx::query(
            "SELECT count(*) AS n FROM events WHERE id > $1 AND kind = $2 AND ($3 = '' OR account_id = $3) AND detail LIKE $4",
        )
        .bind(last.event.0.clone())
        .bind(kind.to_owned())
        .bind(account.map_or(String::new(), |account| account.0.clone()))
        .bind(format!("%\"{id}\"%"))
        .fetch_one(&mut *self.inner)
        .await
        .map_err(failed)?;
        Ok(number(&row, "n")? > 0)
    }

    /// The name of an organisation that is there.
    pub(crate) async fn organisation_name(&mut self, id: &str) -> Result<Option<String>> {
        let row =
            sqlx::query("SELECT name FROM organisations WHERE id = $1 AND removed_at IS NULL")
                .bind(id.to_owned())
                .fetch_optional(&mut *self.inner)
                .await
                .map_err(failed)?;
        row.map(|row| text(&row, "name")).transpose()
    }

    /// Is a token good still?
    pub(crate) async fn token_lives(&mut self, id: &str, now: Time) -> Result<bool> {
        let row = sqlx::query(
            "SELECT count(*) AS n FROM credentials WHERE id = $1 AND revoked_at IS NULL AND (expires_at IS NULL OR expires_at > $2)",
        )
        .bind(id.to_owned())
        .bind(now.0)
        .fetch_one(&mut *self.inner)
        .await
        .map_err(failed)?;
        Ok(number(&row, "n")? > 0)
    }

    /// Opens the record of an incident.
    pub(crate) async fn insert_incident(&mut self, row: &IncidentRow) -> Result<()> {
        sqlx::query(
            "INSERT INTO incidents (id, title, summary, began_at, opened_at, public_at) VALUES ($1, $2, $3, $4, $5, $6)",
        )
        .bind(row.id.clone())
        .bind(row.title.clone())
        .bind(row.summary.clone())
        .bind(row.began.0)
        .bind(row.opened.0)
        .bind(row.public.map(|at| at.0))
        .execute(&mut *self.inner)
        .await
        .map_err(failed)?;
        Ok(())
    }

    /// The number of incidents whose id begins so.
    pub(crate) async fn count_incidents(&mut self, begins: &str) -> Result<i64> {
        let row = sqlx::query("SELECT count(*) AS n FROM incidents WHERE id LIKE $1")
            .bind(format!("{begins}%"))
            .fetch_one(&mut *self.inner)
            .await
            .map_err(failed)?;
        number(&row, "n")
    }

    /// Says more about an incident.
    pub(crate) async fn add_incident_update(
        &mut self,
        id: &str,
        incident: &str,
        words: &str,
        now: Time,
    ) -> Result<()> {
        sqlx::query(
            "INSERT INTO incident_updates (id, incident_id, at, text) VALUES ($1, $2, $3, $4)",
        )
        .bind(id.to_owned())
        .bind(incident.to_owned())
        .bind(now.0)
        .bind(words.to_owned())
        .execute(&mut *self.inner)
        .await
        .map_err(failed)?;
        Ok(())
    }

    /// Adds something that an incident is about.
    pub(crate) async fn add_incident_subject(
        &mut self,
        incident: &str,
        purl: &str,
        project: &ProjectId,
        now: Time,
    ) -> Result<()> {
        sqlx::query(
            "INSERT INTO incident_subjects (incident_id, purl, project_id, added_at) VALUES ($1, $2, $3, $4) \
             ON CONFLICT (incident_id, purl) DO NOTHING",
        )
        .bind(incident.to_owned())
        .bind(purl.to_owned())
        .bind(project.0.clone())
        .bind(now.0)
        .execute(&mut *self.inner)
        .await
        .map_err(failed)?;
        Ok(())
    }

    /// Lets everybody read an incident, and closes it, from now on; what was so already stays as it was.
    pub(crate) async fn mark_incident(
        &mut self,
        id: &str,
        public: bool,
        closed: bool,
        now: Time,
    ) -> Result<()> {
        for (column, wanted) in [("public_at", public), ("closed_at", closed)] {
            if wanted {
                sqlx::query(built(format!(
                    "UPDATE incidents SET {column} = COALESCE({column}, $2) WHERE id = $1"
                )))
                .bind(id.to_owned())
                .bind(now.0)
                .execute(&mut *self.inner)
                .await
                .map_err(failed)?;
            }
        }
        Ok(())
    }
}
