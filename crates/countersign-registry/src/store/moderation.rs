//! Rows of cases, freezes and reports.

use countersign_formats::Ecosystem;
use sqlx::any::AnyRow;

use super::{Store, Tx, built, failed, maybe_text, maybe_time, number, places, text, time};
use crate::error::Result;
use crate::model::{
    AccountId, Case, FileId, ProjectId, PublisherId, ReleaseId, Report, ReportKind, ReporterFacts,
    Time,
};

const CASE: &str = "SELECT c.id, c.subject, c.version, c.filename, c.cause, c.reason, c.held_at, c.opened_at, c.review_by, c.overdue_at, \
     c.appeal, c.appealed_at, c.answer, c.answered_at, c.closed_at, c.outcome, p.ecosystem, p.name, \
     (SELECT count(*) FROM freezes z WHERE z.case_id = c.id AND z.lifted_at IS NULL) AS frozen \
     FROM cases c JOIN projects p ON p.id = c.project_id";

const REPORT: &str = "SELECT r.id, r.subject, r.kind, r.evidence, r.text, r.trusted_at, r.made_at, r.verdict, r.answer, r.decided_at, \
     p.ecosystem, p.name, a.name AS reporter FROM reports r JOIN projects p ON p.id = r.project_id LEFT JOIN accounts a ON a.id = r.account_id";

fn case(row: &AnyRow) -> Result<Case> {
    let named = |column: &str| -> Result<Option<String>> {
        Ok(Some(text(row, column)?).filter(|name| !name.is_empty()))
    };
    Ok(Case {
        id: text(row, "id")?,
        ecosystem: super::ecosystem(&text(row, "ecosystem")?)?,
        project: text(row, "name")?,
        subject: text(row, "subject")?,
        version: named("version")?,
        file: named("filename")?,
        cause: text(row, "cause")?,
        reason: text(row, "reason")?,
        held: maybe_time(row, "held_at")?,
        opened: time(row, "opened_at")?,
        review_by: time(row, "review_by")?,
        overdue: maybe_time(row, "overdue_at")?,
        appeal: maybe_text(row, "appeal")?,
        appealed: maybe_time(row, "appealed_at")?,
        answer: maybe_text(row, "answer")?,
        answered: maybe_time(row, "answered_at")?,
        closed: maybe_time(row, "closed_at")?,
        outcome: maybe_text(row, "outcome")?,
        frozen: super::unsigned(row, "frozen")?,
    })
}

fn report(row: &AnyRow) -> Result<Report> {
    Ok(Report {
        ticket: text(row, "id")?,
        ecosystem: super::ecosystem(&text(row, "ecosystem")?)?,
        project: text(row, "name")?,
        subject: text(row, "subject")?,
        kind: super::parsed(row, "kind")?,
        evidence: text(row, "evidence")?,
        text: text(row, "text")?,
        reporter: maybe_text(row, "reporter")?,
        trusted: maybe_time(row, "trusted_at")?.is_some(),
        made: time(row, "made_at")?,
        verdict: maybe_text(row, "verdict")?,
        answer: maybe_text(row, "answer")?,
        decided: maybe_time(row, "decided_at")?,
    })
}

/// A case to open.
pub(crate) struct NewCase<'a> {
    pub(crate) id: &'a str,
    pub(crate) project: &'a ProjectId,
    pub(crate) subject: &'a str,
    pub(crate) version: &'a str,
    pub(crate) filename: &'a str,
    pub(crate) cause: &'a str,
    pub(crate) reason: &'a str,
    pub(crate) held: bool,
    pub(crate) now: Time,
    pub(crate) review_by: Time,
}

/// A report to keep.
pub(crate) struct NewReport<'a> {
    pub(crate) ticket: &'a str,
    pub(crate) project: &'a ProjectId,
    pub(crate) subject: &'a str,
    pub(crate) kind: ReportKind,
    pub(crate) evidence: &'a str,
    pub(crate) text: &'a str,
    pub(crate) account: Option<&'a AccountId>,
    pub(crate) trusted: Option<Time>,
    pub(crate) now: Time,
}

/// What the rule for reports is asked about a project.
#[derive(Clone, Debug)]
pub(crate) struct ReportedProject {
    pub(crate) id: ProjectId,
    /// When it was made.
    pub(crate) created: Time,
    /// Many depend on it.
    pub(crate) critical: bool,
}

impl Store {
    /// Cases that nobody has closed: those whose time is over first, then the oldest. At most `most`.
    pub(crate) async fn open_cases(&self, most: u32) -> Result<Vec<Case>> {
        let rows = sqlx::query(built(format!(
            "{CASE} WHERE c.closed_at IS NULL ORDER BY CASE WHEN c.overdue_at IS NULL THEN 1 ELSE 0 END, c.opened_at, c.id LIMIT $1"
        )))
        .bind(i64::from(most))
        .fetch_all(&self.read)
        .await
        .map_err(failed)?;
        rows.iter().map(case).collect()
    }

    /// The cases of a project, newest first.
    pub(crate) async fn cases_of(&self, project: &ProjectId, most: u32) -> Result<Vec<Case>> {
        let rows = sqlx::query(built(format!(
            "{CASE} WHERE c.project_id = $1 ORDER BY c.opened_at DESC, c.id DESC LIMIT $2"
        )))
        .bind(project.0.clone())
        .bind(i64::from(most))
        .fetch_all(&self.read)
        .await
        .map_err(failed)?;
        rows.iter().map(case).collect()
    }

    /// Reports that nobody has judged: those of trusted reporters first, then the oldest.
    pub(crate) async fn open_reports(&self, most: u32) -> Result<Vec<Report>> {
        let rows = sqlx::query(built(format!(
            "{REPORT} WHERE r.verdict IS NULL ORDER BY CASE WHEN r.trusted_at IS NULL THEN 1 ELSE 0 END, r.made_at, r.id LIMIT $1"
        )))
        .bind(i64::from(most))
        .fetch_all(&self.read)
        .await
        .map_err(failed)?;
        rows.iter().map(report).collect()
    }

    /// The report with this ticket.
    pub(crate) async fn report(&self, ticket: &str) -> Result<Option<Report>> {
        let row = sqlx::query(built(format!("{REPORT} WHERE r.id = $1")))
            .bind(ticket.to_owned())
            .fetch_optional(&self.read)
            .await
            .map_err(failed)?;
        row.as_ref().map(report).transpose()
    }

    /// Accounts that reported something, with how their reports turned out; trusted ones also without any.
    pub(crate) async fn reporters(&self, most: u32) -> Result<Vec<ReporterFacts>> {
        let rows = sqlx::query(
            "SELECT a.name, t.since, \
             (SELECT count(*) FROM reports r WHERE r.account_id = a.id) AS made, \
             (SELECT count(*) FROM reports r WHERE r.account_id = a.id AND r.verdict = 'confirmed') AS confirmed, \
             (SELECT count(*) FROM reports r WHERE r.account_id = a.id AND r.verdict = 'unfounded') AS unfounded \
             FROM accounts a LEFT JOIN trusted_reporters t ON t.account_id = a.id \
             WHERE t.since IS NOT NULL OR a.id IN (SELECT account_id FROM reports) ORDER BY a.name LIMIT $1",
        )
        .bind(i64::from(most))
        .fetch_all(&self.read)
        .await
        .map_err(failed)?;
        rows.iter()
            .map(|row| {
                Ok(ReporterFacts {
                    name: text(row, "name")?,
                    trusted: maybe_time(row, "since")?,
                    made: super::unsigned(row, "made")?,
                    confirmed: super::unsigned(row, "confirmed")?,
                    unfounded: super::unsigned(row, "unfounded")?,
                })
            })
            .collect()
    }

    /// Id and reporting facts of a project that is shown.
    pub(crate) async fn reported_project(
        &self,
        ecosystem: Ecosystem,
        key: &str,
    ) -> Result<Option<ReportedProject>> {
        let row = sqlx::query(
            "SELECT id, created_at, critical_at FROM projects WHERE ecosystem = $1 AND key = $2 AND removed_at IS NULL AND visible_at IS NOT NULL",
        )
        .bind(ecosystem.as_str())
        .bind(key.to_owned())
        .fetch_optional(&self.read)
        .await
        .map_err(failed)?;
        row.map(|row| {
            Ok(ReportedProject {
                id: ProjectId(text(&row, "id")?),
                created: time(&row, "created_at")?,
                critical: maybe_time(&row, "critical_at")?.is_some(),
            })
        })
        .transpose()
    }
}

impl Tx {
    /// Opens a case about a subject, or says anew why the open one is; its id.
    pub(crate) async fn open_case(&mut self, new: &NewCase<'_>) -> Result<String> {
        let row = sqlx::query(
            "INSERT INTO cases (id, project_id, subject, version, filename, cause, reason, held_at, opened_at, review_by) \
             VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10) ON CONFLICT (subject) WHERE closed_at IS NULL \
             DO UPDATE SET cause = excluded.cause, reason = excluded.reason RETURNING id",
        )
        .bind(new.id.to_owned())
        .bind(new.project.0.clone())
        .bind(new.subject.to_owned())
        .bind(new.version.to_owned())
        .bind(new.filename.to_owned())
        .bind(new.cause.to_owned())
        .bind(new.reason.to_owned())
        .bind(new.held.then_some(new.now.0))
        .bind(new.now.0)
        .bind(new.review_by.0)
        .fetch_one(&mut *self.inner)
        .await
        .map_err(failed)?;
        text(&row, "id")
    }

    /// The open cases of a project whose subject is this, or lies in it: ids.
    pub(crate) async fn open_cases_in(
        &mut self,
        project: &ProjectId,
        version: Option<&str>,
        filename: Option<&str>,
    ) -> Result<Vec<String>> {
        let rows = sqlx::query(
            "SELECT id FROM cases WHERE project_id = $1 AND closed_at IS NULL \
             AND ($2 = '' OR version = $2) AND ($3 = '' OR filename = $3) ORDER BY id",
        )
        .bind(project.0.clone())
        .bind(version.unwrap_or_default().to_owned())
        .bind(filename.unwrap_or_default().to_owned())
        .fetch_all(&mut *self.inner)
        .await
        .map_err(failed)?;
        rows.iter().map(|row| text(row, "id")).collect()
    }

    /// The open case about this very subject.
    pub(crate) async fn case_about(&mut self, subject: &str) -> Result<Option<Case>> {
        let row = sqlx::query(built(format!(
            "{CASE} WHERE c.subject = $1 AND c.closed_at IS NULL"
        )))
        .bind(subject.to_owned())
        .fetch_optional(&mut *self.inner)
        .await
        .map_err(failed)?;
        row.as_ref().map(case).transpose()
    }

    /// A case with the id of its project.
    pub(crate) async fn case(&mut self, id: &str) -> Result<Option<(ProjectId, Case)>> {
        let project = sqlx::query("SELECT project_id FROM cases WHERE id = $1")
            .bind(id.to_owned())
            .fetch_optional(&mut *self.inner)
            .await
            .map_err(failed)?;
        let Some(project) = project else {
            return Ok(None);
        };
        let row = sqlx::query(built(format!("{CASE} WHERE c.id = $1")))
            .bind(id.to_owned())
            .fetch_one(&mut *self.inner)
            .await
            .map_err(failed)?;
        Ok(Some((
            ProjectId(text(&project, "project_id")?),
            case(&row)?,
        )))
    }

    /// Closes a case.
    pub(crate) async fn close_case(&mut self, id: &str, outcome: &str, now: Time) -> Result<()> {
        sqlx::query(
            "UPDATE cases SET closed_at = $2, outcome = $3 WHERE id = $1 AND closed_at IS NULL",
        )
        .bind(id.to_owned())
        .bind(now.0)
        .bind(outcome.to_owned())
        .execute(&mut *self.inner)
        .await
        .map_err(failed)?;
        Ok(())
    }

    /// Writes an owner's appeal; one before it gives way.
    pub(crate) async fn appeal(
        &mut self,
        id: &str,
        account: Option<&AccountId>,
        words: &str,
        now: Time,
    ) -> Result<()> {
        sqlx::query("UPDATE cases SET appeal = $2, appealed_at = $3, appealed_by = $4, answer = NULL, answered_at = NULL WHERE id = $1")
            .bind(id.to_owned())
            .bind(words.to_owned())
            .bind(now.0)
            .bind(account.map(|account| account.0.clone()))
            .execute(&mut *self.inner)
            .await
            .map_err(failed)?;
        Ok(())
    }

    /// Writes the operator's answer to an appeal, and by when the case is looked at again.
    pub(crate) async fn answer_case(
        &mut self,
        id: &str,
        words: &str,
        now: Time,
        review_by: Time,
    ) -> Result<()> {
        sqlx::query("UPDATE cases SET answer = $2, answered_at = $3, review_by = $4, overdue_at = NULL WHERE id = $1")
            .bind(id.to_owned())
            .bind(words.to_owned())
            .bind(now.0)
            .bind(review_by.0)
            .execute(&mut *self.inner)
            .await
            .map_err(failed)?;
        Ok(())
    }

    /// Open cases whose time is over and of which nobody was reminded; they are marked.
    pub(crate) async fn mark_overdue(&mut self, now: Time) -> Result<Vec<(ProjectId, String)>> {
        let rows = sqlx::query(
            "UPDATE cases SET overdue_at = $1 WHERE closed_at IS NULL AND overdue_at IS NULL AND review_by <= $1 RETURNING project_id, subject",
        )
        .bind(now.0)
        .fetch_all(&mut *self.inner)
        .await
        .map_err(failed)?;
        rows.iter()
            .map(|row| Ok((ProjectId(text(row, "project_id")?), text(row, "subject")?)))
            .collect()
    }

    /// Accounts and publishers that published these files.
    pub(crate) async fn uploaders_of(
        &mut self,
        files: &[FileId],
    ) -> Result<(Vec<AccountId>, Vec<PublisherId>)> {
        let (mut accounts, mut publishers) = (Vec::new(), Vec::new());
        for chunk in files.chunks(1_000) {
            for (sql, column) in [
                (
                    format!(
                        "SELECT DISTINCT uploader_id AS who FROM files WHERE uploader_id IS NOT NULL AND id IN ({}) ORDER BY who",
                        places(chunk.len(), 1)
                    ),
                    0,
                ),
                (
                    format!(
                        "SELECT DISTINCT publisher_id AS who FROM file_origins WHERE file_id IN ({}) ORDER BY who",
                        places(chunk.len(), 1)
                    ),
                    1,
                ),
            ] {
                let mut query = sqlx::query(built(sql));
                for file in chunk {
                    query = query.bind(file.0.clone());
                }
                for row in &query.fetch_all(&mut *self.inner).await.map_err(failed)? {
                    let who = text(row, "who")?;
                    if column == 0 {
                        accounts.push(AccountId(who));
                    } else {
                        publishers.push(PublisherId(who));
                    }
                }
            }
        }
        accounts.sort_by(|a, b| a.0.cmp(&b.0));
        accounts.dedup_by(|a, b| a.0 == b.0);
        publishers.sort_by(|a, b| a.0.cmp(&b.0));
        publishers.dedup_by(|a, b| a.0 == b.0);
        Ok((accounts, publishers))
    }

    /// Notes whom a case froze.
    pub(crate) async fn note_freeze(
        &mut self,
        id: &str,
        case: &str,
        account: Option<&AccountId>,
        publisher: Option<&PublisherId>,
        now: Time,
    ) -> Result<()> {
        sqlx::query("INSERT INTO freezes (id, case_id, account_id, publisher_id, frozen_at) VALUES ($1, $2, $3, $4, $5)")
            .bind(id.to_owned())
            .bind(case.to_owned())
            .bind(account.map(|account| account.0.clone()))
            .bind(publisher.map(|publisher| publisher.0.clone()))
            .bind(now.0)
            .execute(&mut *self.inner)
            .await
            .map_err(failed)?;
        Ok(())
    }

    /// Ends the freezes of a case. Accounts and publishers that no other case keeps frozen are the ones to open again.
    pub(crate) async fn lift_freezes(
        &mut self,
        case: &str,
        now: Time,
    ) -> Result<(Vec<AccountId>, Vec<PublisherId>)> {
        let rows = sqlx::query(
            "UPDATE freezes SET lifted_at = $2 WHERE case_id = $1 AND lifted_at IS NULL RETURNING account_id, publisher_id",
        )
        .bind(case.to_owned())
        .bind(now.0)
        .fetch_all(&mut *self.inner)
        .await
        .map_err(failed)?;
        let (mut accounts, mut publishers) = (Vec::new(), Vec::new());
        for row in &rows {
            for column in ["account_id", "publisher_id"] {
                let Some(who) = maybe_text(row, column)? else {
                    continue;
                };
                let others = sqlx::query(built(format!(
                    "SELECT count(*) AS n FROM freezes WHERE {column} = $1 AND lifted_at IS NULL"
                )))
                .bind(who.clone())
                .fetch_one(&mut *self.inner)
                .await
                .map_err(failed)?;
                if number(&others, "n")? > 0 {
                    continue;
                }
                if column == "account_id" {
                    accounts.push(AccountId(who));
                } else {
                    publishers.push(PublisherId(who));
                }
            }
        }
        Ok((accounts, publishers))
    }

    /// Freezes a publisher, or opens it again; false where it was so before.
    pub(crate) async fn freeze_publisher(
        &mut self,
        publisher: &PublisherId,
        at: Option<Time>,
    ) -> Result<bool> {
        let sql = match at {
            Some(_) => "UPDATE publishers SET frozen_at = $2 WHERE id = $1 AND frozen_at IS NULL",
            None => {
                "UPDATE publishers SET frozen_at = NULL WHERE id = $1 AND frozen_at IS NOT NULL AND $2 = 0"
            }
        };
        let done = sqlx::query(sql)
            .bind(publisher.0.clone())
            .bind(at.map_or(0, |at| at.0))
            .execute(&mut *self.inner)
            .await
            .map_err(failed)?;
        Ok(done.rows_affected() == 1)
    }

    /// Withholds a release, or serves it again.
    pub(crate) async fn set_release_quarantine(
        &mut self,
        release: &ReleaseId,
        why: Option<(Time, &str)>,
        own: bool,
    ) -> Result<()> {
        sqlx::query("UPDATE releases SET quarantined_at = $2, quarantine_reason = $3, own_quarantine_at = $4 WHERE id = $1")
            .bind(release.0.clone())
            .bind(why.map(|(at, _)| at.0))
            .bind(why.map(|(_, reason)| reason.to_owned()))
            .bind(why.filter(|_| own).map(|(at, _)| at.0))
            .execute(&mut *self.inner)
            .await
            .map_err(failed)?;
        Ok(())
    }

    /// Notes which files are withheld with their release, or that they are so no more.
    pub(crate) async fn set_withheld_with_release(
        &mut self,
        files: &[FileId],
        at: Option<Time>,
    ) -> Result<()> {
        for chunk in files.chunks(1_000) {
            let sql = format!(
                "UPDATE files SET withheld_with_release_at = $1 WHERE id IN ({})",
                places(chunk.len(), 2)
            );
            let mut query = sqlx::query(built(sql)).bind(at.map(|at| at.0));
            for file in chunk {
                query = query.bind(file.0.clone());
            }
            query.execute(&mut *self.inner).await.map_err(failed)?;
        }
        Ok(())
    }

    /// What the rules for deletion weigh: downloads of a project since a day, and other projects whose live files need it.
    pub(crate) async fn deletion_facts(
        &mut self,
        project: &ProjectId,
        since_day: i64,
    ) -> Result<(u64, u64)> {
        let row = sqlx::query(
            "SELECT (SELECT CAST(coalesce(sum(d.count), 0) AS BIGINT) FROM downloads d WHERE d.project_id = p.id AND d.day >= $2) AS downloads, \
             (SELECT count(DISTINCT f.project_id) FROM dependencies x JOIN files f ON f.metadata_sha256 = x.metadata_sha256 \
              WHERE x.ecosystem = p.ecosystem AND x.name_key = p.key AND f.state = 'live' AND f.project_id <> p.id) AS dependents \
             FROM projects p WHERE p.id = $1",
        )
        .bind(project.0.clone())
        .bind(since_day)
        .fetch_one(&mut *self.inner)
        .await
        .map_err(failed)?;
        Ok((
            super::unsigned(&row, "downloads")?,
            super::unsigned(&row, "dependents")?,
        ))
    }

    /// How often releases of a project were yanked since then.
    pub(crate) async fn yanks_since(&mut self, project: &ProjectId, since: Time) -> Result<u64> {
        let row = sqlx::query(
            "SELECT count(*) AS n FROM events WHERE project_id = $1 AND kind = 'yanked' AND at >= $2",
        )
        .bind(project.0.clone())
        .bind(since.0)
        .fetch_one(&mut *self.inner)
        .await
        .map_err(failed)?;
        super::unsigned(&row, "n")
    }

    /// Keeps a report.
    pub(crate) async fn insert_report(&mut self, new: &NewReport<'_>) -> Result<()> {
        sqlx::query(
            "INSERT INTO reports (id, project_id, subject, kind, evidence, text, account_id, trusted_at, made_at) \
             VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9)",
        )
        .bind(new.ticket.to_owned())
        .bind(new.project.0.clone())
        .bind(new.subject.to_owned())
        .bind(new.kind.as_str())
        .bind(new.evidence.to_owned())
        .bind(new.text.to_owned())
        .bind(new.account.map(|account| account.0.clone()))
        .bind(new.trusted.map(|at| at.0))
        .bind(new.now.0)
        .execute(&mut *self.inner)
        .await
        .map_err(failed)?;
        Ok(())
    }

    /// Is this account a trusted reporter, and when was it made?
    pub(crate) async fn reporter(&mut self, account: &AccountId) -> Result<(Option<Time>, Time)> {
        let row = sqlx::query(
            "SELECT a.created_at, t.since FROM accounts a LEFT JOIN trusted_reporters t ON t.account_id = a.id WHERE a.id = $1",
        )
        .bind(account.0.clone())
        .fetch_one(&mut *self.inner)
        .await
        .map_err(failed)?;
        Ok((maybe_time(&row, "since")?, time(&row, "created_at")?))
    }

    /// Trusts an account's reports, or no more; false where it was so before.
    pub(crate) async fn trust_reporter(
        &mut self,
        account: &AccountId,
        since: Option<Time>,
    ) -> Result<bool> {
        let done = match since {
            Some(since) => sqlx::query(
                "INSERT INTO trusted_reporters (account_id, since) VALUES ($1, $2) ON CONFLICT (account_id) DO NOTHING",
            )
            .bind(account.0.clone())
            .bind(since.0)
            .execute(&mut *self.inner)
            .await,
            None => sqlx::query("DELETE FROM trusted_reporters WHERE account_id = $1")
                .bind(account.0.clone())
                .execute(&mut *self.inner)
                .await,
        }
        .map_err(failed)?;
        Ok(done.rows_affected() == 1)
    }

    /// Who reported malware in a project since then, each account once: trusted ones, and others older than `settled`.
    pub(crate) async fn malware_observers(
        &mut self,
        project: &ProjectId,
        since: Time,
        settled: Time,
    ) -> Result<(u64, u64)> {
        let row = sqlx::query(
            "SELECT count(DISTINCT CASE WHEN t.account_id IS NOT NULL THEN r.account_id END) AS trusted, \
             count(DISTINCT CASE WHEN t.account_id IS NOT NULL OR a.created_at <= $3 THEN r.account_id END) AS observers \
             FROM reports r JOIN accounts a ON a.id = r.account_id AND a.disabled_at IS NULL \
             LEFT JOIN trusted_reporters t ON t.account_id = r.account_id \
             WHERE r.project_id = $1 AND r.kind = 'malware' AND r.made_at >= $2 AND (r.verdict IS NULL OR r.verdict = 'confirmed')",
        )
        .bind(project.0.clone())
        .bind(since.0)
        .bind(settled.0)
        .fetch_one(&mut *self.inner)
        .await
        .map_err(failed)?;
        Ok((
            super::unsigned(&row, "trusted")?,
            super::unsigned(&row, "observers")?,
        ))
    }

    /// How many reports about a project wait for a judgement.
    pub(crate) async fn reports_waiting(&mut self, project: &ProjectId) -> Result<u64> {
        let row = sqlx::query(
            "SELECT count(*) AS n FROM reports WHERE project_id = $1 AND verdict IS NULL",
        )
        .bind(project.0.clone())
        .fetch_one(&mut *self.inner)
        .await
        .map_err(failed)?;
        super::unsigned(&row, "n")
    }

    /// Judges a report; `None` where there is no such open one, else its reporter.
    pub(crate) async fn judge_report(
        &mut self,
        ticket: &str,
        verdict: &str,
        answer: &str,
        now: Time,
    ) -> Result<Option<(ProjectId, Option<AccountId>)>> {
        let row = sqlx::query(
            "UPDATE reports SET verdict = $2, answer = $3, decided_at = $4 WHERE id = $1 AND verdict IS NULL RETURNING project_id, account_id",
        )
        .bind(ticket.to_owned())
        .bind(verdict.to_owned())
        .bind(answer.to_owned())
        .bind(now.0)
        .fetch_optional(&mut *self.inner)
        .await
        .map_err(failed)?;
        row.map(|row| {
            Ok((
                ProjectId(text(&row, "project_id")?),
                maybe_text(&row, "account_id")?.map(AccountId),
            ))
        })
        .transpose()
    }

    /// When something of the project was last served again after a case.
    pub(crate) async fn last_released(&mut self, project: &ProjectId) -> Result<Option<Time>> {
        let row = sqlx::query(
            "SELECT max(closed_at) AS at FROM cases WHERE project_id = $1 AND outcome = 'released'",
        )
        .bind(project.0.clone())
        .fetch_one(&mut *self.inner)
        .await
        .map_err(failed)?;
        maybe_time(&row, "at")
    }

    /// Does a case keep this account frozen?
    pub(crate) async fn is_frozen(&mut self, account: &AccountId) -> Result<bool> {
        let row = sqlx::query(
            "SELECT count(*) AS n FROM freezes WHERE account_id = $1 AND lifted_at IS NULL",
        )
        .bind(account.0.clone())
        .fetch_one(&mut *self.inner)
        .await
        .map_err(failed)?;
        Ok(number(&row, "n")? > 0)
    }

    /// The accounts that operate.
    pub(crate) async fn operators(&mut self) -> Result<Vec<AccountId>> {
        let rows = sqlx::query("SELECT id FROM accounts WHERE operator_since IS NOT NULL AND disabled_at IS NULL ORDER BY id")
            .fetch_all(&mut *self.inner)
            .await
            .map_err(failed)?;
        rows.iter()
            .map(|row| Ok(AccountId(text(row, "id")?)))
            .collect()
    }
}
